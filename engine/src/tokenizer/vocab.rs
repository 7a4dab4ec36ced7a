//! The vocabulary: texts and kinds of the tokens.

use std::collections::HashMap;

use crate::gguf::{Gguf, StringArray};

use super::TokenizerError;

/// What a token is for. The discriminants are the codes in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TokenKind {
    /// Not said.
    Undefined = 0,
    /// A piece of text.
    Normal = 1,
    /// Stands for what can't be expressed.
    Unknown = 2,
    /// Structure, such as the begin of a turn; text only becomes one where it is asked for.
    Control = 3,
    /// A text that always becomes this token.
    UserDefined = 4,
    /// Nothing.
    Unused = 5,
    /// One byte, named `<0xNN>`.
    Byte = 6,
}

impl TokenKind {
    fn from_code(code: i64) -> TokenKind {
        match code {
            1 => TokenKind::Normal,
            2 => TokenKind::Unknown,
            3 => TokenKind::Control,
            4 => TokenKind::UserDefined,
            5 => TokenKind::Unused,
            6 => TokenKind::Byte,
            _ => TokenKind::Undefined,
        }
    }
}

/// Texts and kinds of all tokens.
#[derive(Debug)]
pub(super) struct Vocab {
    texts: StringArray,
    kinds: Vec<TokenKind>,
    /// Tokens that are cut out of a text before it is split: longest text first, then lowest id.
    special: Vec<u32>,
}

impl Vocab {
    pub(super) fn from_gguf(gguf: &Gguf) -> Result<Vocab, TokenizerError> {
        let texts = gguf.strings("tokenizer.ggml.tokens")?.clone();
        if texts.is_empty() {
            return Err(TokenizerError::EmptyVocabulary);
        }
        const KINDS: &str = "tokenizer.ggml.token_type";
        let kinds = match gguf.opt_integers(KINDS)? {
            Some(codes) if codes.len() != texts.len() => {
                let (found, expected) = (codes.len(), texts.len() as u32);
                return Err(TokenizerError::Length { key: KINDS, found, expected });
            }
            Some(codes) => codes.into_iter().map(TokenKind::from_code).collect(),
            None => vec![TokenKind::Normal; texts.len()],
        };
        let mut vocab = Vocab { texts, kinds, special: Vec::new() };
        vocab.check()?;
        vocab.special = vocab.find_special();
        Ok(vocab)
    }

    /// Refuses texts that two tokens share, and byte tokens that name no byte. Empty texts name nothing, so they may
    /// repeat.
    fn check(&self) -> Result<(), TokenizerError> {
        let mut seen = HashMap::with_capacity(self.texts.len());
        for (id, text, kind) in self.tokens() {
            if text.is_empty() {
                continue;
            }
            if let Some(first) = seen.insert(text, id) {
                let text = text.to_owned();
                return Err(TokenizerError::DuplicateToken { text, first, second: id });
            }
            if kind == TokenKind::Byte && byte_of(text).is_none() {
                return Err(TokenizerError::ByteToken { id, text: text.to_owned() });
            }
        }
        Ok(())
    }

    fn find_special(&self) -> Vec<u32> {
        let mut special: Vec<(usize, u32)> = self
            .tokens()
            .filter(|(_, text, kind)| {
                let cut = matches!(
                    kind,
                    TokenKind::Control | TokenKind::Unknown | TokenKind::UserDefined
                );
                cut && !text.is_empty()
            })
            .map(|(id, text, _)| (text.len(), id))
            .collect();
        special.sort_by_key(|&(len, id)| (std::cmp::Reverse(len), id));
        special.into_iter().map(|(_, id)| id).collect()
    }

    /// How many tokens there are. The header's limit keeps it far below 2^32.
    pub(super) fn len(&self) -> u32 {
        self.texts.len() as u32
    }

    /// A token's text and kind.
    pub(super) fn token(&self, id: u32) -> Option<(&str, TokenKind)> {
        Some((self.texts.get(id as usize)?, self.kinds[id as usize]))
    }

    /// Every token with its id.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (u32, &str, TokenKind)> {
        self.texts
            .iter()
            .zip(&self.kinds)
            .enumerate()
            .map(|(id, (text, &kind))| (id as u32, text, kind))
    }

    /// The tokens that are cut out of texts, in the order of their turns.
    pub(super) fn special(&self) -> &[u32] {
        &self.special
    }

    /// The byte that a byte token stands for.
    pub(super) fn byte_value(&self, id: u32) -> Option<u8> {
        byte_of(self.token(id)?.0)
    }
}

/// The byte in a name like `<0x0A>`.
pub(super) fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let plain = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}
