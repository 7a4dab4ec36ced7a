//! The tokenizer that a model file describes, with the ids that llama.cpp gives.
//!
//! Two kinds are supported. `gpt2` is byte-pair encoding: text is split into words by the regular expressions of the
//! file's pre-tokenizer, bytes become printable characters, and ranked merges join them (the `tokenizers` crate does the
//! merging). `llama` is SentencePiece: the best-scored pair of neighbours is joined until none is left, and what no token
//! covers falls back to byte tokens. Anything else is refused by name.
//!
//! A tokenizer comes from a stranger's file like the rest: sizes are checked, and no text and no id makes it panic.

mod bpe;
mod error;
mod special;
mod spm;
mod stream;
mod vocab;

use sha3::{Digest, Keccak256};

use crate::gguf::Gguf;

use bpe::Bpe;
use special::Fragment;
use spm::Spm;
use vocab::Vocab;

pub use error::TokenizerError;
pub use stream::Stream;
pub use vocab::TokenKind;

/// The longest text that is encoded at once, in bytes: the regular expressions give up on runs of ten million characters.
pub const TEXT_BYTES_MAX: usize = 8 << 20;

/// Whether text may stand for control tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// The names of control tokens (`<|im_start|>`) in the text become those tokens. For rendered chat templates.
    Parse,
    /// They are text like any other. For what a stranger typed.
    Text,
}

/// A model file's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    vocab: Vocab,
    model: Model,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    add_space_prefix: bool,
    stop_ids: Vec<u32>,
    chat_template: Option<String>,
}

#[derive(Debug)]
enum Model {
    Bpe(Box<Bpe>),
    Spm(Box<Spm>),
}

/// What the kind of a tokenizer implies when the file is silent.
struct Defaults {
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    add_space_prefix: bool,
}

impl Tokenizer {
    /// Builds the tokenizer from the file's `tokenizer.*` metadata.
    pub fn from_gguf(gguf: &Gguf) -> Result<Tokenizer, TokenizerError> {
        let kind = gguf.string("tokenizer.ggml.model")?;
        if !matches!(kind, "gpt2" | "llama") {
            return Err(TokenizerError::Kind { found: kind.to_owned() });
        }
        let vocab = Vocab::from_gguf(gguf)?;
        let (model, defaults) = if kind == "gpt2" {
            let pre = gguf.opt_string("tokenizer.ggml.pre")?.unwrap_or("default");
            let bpe = Bpe::new(&vocab, pre, gguf.strings("tokenizer.ggml.merges")?)?;
            let add_bos = bpe.adds_bos();
            let defaults = Defaults { bos: None, eos: None, add_bos, add_space_prefix: false };
            (Model::Bpe(Box::new(bpe)), defaults)
        } else {
            let spm = Spm::new(&vocab, gguf.opt_f32s("tokenizer.ggml.scores")?)?;
            let id = |id: u32| (id < vocab.len()).then_some(id);
            let (bos, eos) = (id(1), id(2));
            (
                Model::Spm(Box::new(spm)),
                Defaults { bos, eos, add_bos: true, add_space_prefix: true },
            )
        };

        let special = |key| special_id(gguf, key, vocab.len());
        let bos = special("tokenizer.ggml.bos_token_id")?.or(defaults.bos);
        let eos = special("tokenizer.ggml.eos_token_id")?.or(defaults.eos);
        let eot = special("tokenizer.ggml.eot_token_id")?;
        let eom = special("tokenizer.ggml.eom_token_id")?;
        let mut stop_ids: Vec<u32> = [eos, eot, eom].into_iter().flatten().collect();
        stop_ids.sort_unstable();
        stop_ids.dedup();

        let add_bos = gguf.opt_bool("tokenizer.ggml.add_bos_token")?.unwrap_or(defaults.add_bos);
        let add_eos = gguf.opt_bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
        if add_bos && bos.is_none() {
            return Err(TokenizerError::MissingSpecial { what: "bos" });
        }
        if add_eos && eos.is_none() {
            return Err(TokenizerError::MissingSpecial { what: "eos" });
        }
        let add_space_prefix = (gguf.opt_bool("tokenizer.ggml.add_space_prefix")?)
            .unwrap_or(defaults.add_space_prefix)
            && matches!(model, Model::Spm(_));
        let chat_template = gguf.opt_string("tokenizer.chat_template")?.map(str::to_owned);
        Ok(Tokenizer {
            vocab,
            model,
            bos,
            eos,
            add_bos,
            add_eos,
            add_space_prefix,
            stop_ids,
            chat_template,
        })
    }

    /// The tokens of `text`, with the begin and end tokens that the file asks for.
    pub fn encode(&self, text: &str, special: Special) -> Result<Vec<u32>, TokenizerError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenizerError::TextTooLong { len: text.len() });
        }
        let mut ids = Vec::new();
        ids.extend(self.bos.filter(|_| self.add_bos));
        // A fragment of text gets its space in front when nothing or a special token comes before it.
        let mut after_special = true;
        for fragment in special::fragments(&self.vocab, text, special) {
            match (fragment, &self.model) {
                (Fragment::Token(id), _) => ids.push(id),
                (Fragment::Text(text), Model::Bpe(bpe)) => bpe.encode(text, &mut ids)?,
                (Fragment::Text(text), Model::Spm(spm)) => {
                    spm.encode(text, self.add_space_prefix && after_special, &mut ids)?;
                }
            }
            after_special = matches!(fragment, Fragment::Token(_));
        }
        ids.extend(self.eos.filter(|_| self.add_eos));
        Ok(ids)
    }

    /// The text of `ids`, without the begin token, end token and space that [`Tokenizer::encode`] adds. Bytes that are not
    /// UTF-8 become U+FFFD. Control tokens show as their names.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        Ok(String::from_utf8_lossy(&self.decode_bytes(ids)?).into_owned())
    }

    /// The bytes of `ids`; see [`Tokenizer::decode`].
    pub fn decode_bytes(&self, ids: &[u32]) -> Result<Vec<u8>, TokenizerError> {
        let ids = match ids.split_last() {
            Some((last, rest)) if self.add_eos && Some(*last) == self.eos => rest,
            _ => ids,
        };
        let mut bytes = Vec::new();
        for (index, &id) in ids.iter().enumerate() {
            bytes.extend(self.piece(id, index, ids[0])?);
        }
        Ok(bytes)
    }

    /// A decoder that takes one id after the other.
    pub fn stream(&self) -> Stream<'_> {
        Stream::new(self)
    }

    /// What the token at `index` adds to a text whose first token is `first`.
    fn piece(&self, id: u32, index: usize, first: u32) -> Result<Vec<u8>, TokenizerError> {
        let mut bytes = self.token_bytes(id)?;
        let has_bos = self.add_bos && Some(first) == self.bos;
        if index == 0 && has_bos {
            return Ok(Vec::new());
        }
        let starts_text = index == usize::from(has_bos);
        if starts_text && self.add_space_prefix && bytes.first() == Some(&b' ') {
            bytes.remove(0);
        }
        Ok(bytes)
    }

    /// The bytes that a token stands for: part of a character, perhaps. Control tokens give their names.
    pub fn token_bytes(&self, id: u32) -> Result<Vec<u8>, TokenizerError> {
        let Some((text, kind)) = self.vocab.token(id) else {
            return Err(TokenizerError::Id { id, vocab: self.vocab.len() });
        };
        Ok(match (kind, &self.model) {
            (TokenKind::Control | TokenKind::Unknown | TokenKind::UserDefined, _) => {
                text.as_bytes().to_vec()
            }
            (TokenKind::Byte, _) => self.vocab.byte_value(id).into_iter().collect(),
            (TokenKind::Normal, Model::Bpe(_)) => bpe::text_bytes(text),
            (TokenKind::Normal, Model::Spm(_)) => text.replace(spm::SPACE, " ").into_bytes(),
            (TokenKind::Unused | TokenKind::Undefined, _) => Vec::new(),
        })
    }

    /// What kind of token an id is; `None` outside the vocabulary.
    pub fn token_kind(&self, id: u32) -> Option<TokenKind> {
        self.vocab.token(id).map(|(_, kind)| kind)
    }

    /// How many ids there are.
    pub fn vocab_size(&self) -> u32 {
        self.vocab.len()
    }

    /// The token that begins a text, if there is one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, if there is one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The tokens that end a generation (end of text, of turn, of message), ascending, each once.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stop_ids
    }

    /// The name of the begin token, or nothing: `bos_token` in chat templates.
    pub fn bos_text(&self) -> &str {
        self.special_text(self.bos)
    }

    /// The name of the end token, or nothing: `eos_token` in chat templates.
    pub fn eos_text(&self) -> &str {
        self.special_text(self.eos)
    }

    fn special_text(&self, id: Option<u32>) -> &str {
        id.and_then(|id| self.vocab.token(id)).map_or("", |(text, _)| text)
    }

    /// The file's chat template, for [`crate::chat::render`].
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }
}

/// The id under `key`, which must be in the vocabulary.
fn special_id(gguf: &Gguf, key: &str, vocab: u32) -> Result<Option<u32>, TokenizerError> {
    match gguf.opt_u32(key)? {
        Some(id) if id >= vocab => {
            Err(TokenizerError::SpecialId { key: key.to_owned(), id, vocab })
        }
        id => Ok(id),
    }
}

/// Commits to everything that the file says about its tokenizer, the chat template included.
///
/// Keccak-256 over the `tokenizer.*` entries in ascending order of keys; each is key length (u32), key, value type (u32),
/// value length (u64) and the value's bytes as they lie in the file, all numbers little-endian.
pub fn tokenizer_hash(gguf: &Gguf) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    for (key, kind, value) in gguf.raw_metadata("tokenizer.") {
        hasher.update((key.len() as u32).to_le_bytes());
        hasher.update(key);
        hasher.update(kind.to_le_bytes());
        hasher.update((value.len() as u64).to_le_bytes());
        hasher.update(value);
    }
    hasher.finalize().into()
}
