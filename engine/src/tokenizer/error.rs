//! Why a tokenizer, a text or an id was refused.

use crate::gguf::GgufError;

use super::TEXT_BYTES_MAX;

/// Why a tokenizer, a text or an id was refused.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A key is missing or of another type.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// Neither `gpt2` nor `llama`.
    #[error("tokenizer {found:?} is not supported; gpt2 and llama are")]
    Kind {
        /// `tokenizer.ggml.model` in the file.
        found: String,
    },
    /// A pre-tokenizer whose splitting rules are not implemented.
    #[error("pre-tokenizer {found:?} is not supported; {} are", super::bpe::supported())]
    PreTokenizer {
        /// `tokenizer.ggml.pre` in the file.
        found: String,
    },
    /// No token at all.
    #[error("the vocabulary is empty")]
    EmptyVocabulary,
    /// An array that belongs to the vocabulary has another length.
    #[error("{key} has {found} elements for {expected} tokens")]
    Length {
        /// The array's key.
        key: &'static str,
        /// Its length.
        found: usize,
        /// The vocabulary's.
        expected: u32,
    },
    /// Two ids for one text.
    #[error("tokens {first} and {second} are both {text:?}")]
    DuplicateToken {
        /// The text.
        text: String,
        /// The lower id.
        first: u32,
        /// The higher id.
        second: u32,
    },
    /// A byte token that isn't named `<0xNN>`.
    #[error("token {id} is a byte token, but its text is {text:?} instead of <0x00> … <0xFF>")]
    ByteToken {
        /// The token.
        id: u32,
        /// Its text.
        text: String,
    },
    /// A score that can't be ordered.
    #[error("the score of token {id} is not a number")]
    Score {
        /// The token.
        id: u32,
    },
    /// A merge that doesn't join two tokens to a third.
    #[error("merge {index} ({merge:?}) does not join two tokens of the vocabulary to a third")]
    Merge {
        /// Its place in `tokenizer.ggml.merges`.
        index: usize,
        /// The merge in the file.
        merge: String,
    },
    /// A special token outside the vocabulary.
    #[error("{key} is {id}, outside the vocabulary of {vocab} tokens")]
    SpecialId {
        /// The key that names it.
        key: String,
        /// The id.
        id: u32,
        /// The vocabulary's size.
        vocab: u32,
    },
    /// The file asks for a token without naming it.
    #[error(
        "tokenizer.ggml.add_{what}_token is true, but tokenizer.ggml.{what}_token_id is missing"
    )]
    MissingSpecial {
        /// `bos` or `eos`.
        what: &'static str,
    },
    /// More text than is encoded at once.
    #[error("the text has {len} bytes, more than the {TEXT_BYTES_MAX} allowed: split it")]
    TextTooLong {
        /// Its length.
        len: usize,
    },
    /// The vocabulary can't express the text.
    #[error("the vocabulary has no token for byte 0x{byte:02x} of the text")]
    NoToken {
        /// The byte.
        byte: u8,
    },
    /// An id outside the vocabulary.
    #[error("token {id} is outside the vocabulary of {vocab} tokens")]
    Id {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        vocab: u32,
    },
    /// The `tokenizers` crate refused.
    #[error("the tokenizers crate: {0}")]
    Library(String),
}
