//! Byte-pair encoding: splitting by regular expressions, then merges.

use std::collections::HashSet;
use std::fmt;

use tokenizers::Model;
use tokenizers::models::bpe::{BPE, BpeBuilder, Merges, Vocab as BpeVocab};
use tokenizers::utils::SysRegex;

use crate::gguf::StringArray;

use super::TokenizerError;
use super::vocab::Vocab;

/// GPT-2's words: English contractions, letters, digits, other signs, each with a space before it, and white space.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The names of a pre-tokenizer and its rules.
struct Rules {
    names: &'static [&'static str],
    /// Applied one after the other: each splits the parts that the one before has left, into matches and gaps.
    patterns: &'static [&'static str],
    /// Whether a word that is a token is taken whole, whatever the merges say.
    ignore_merges: bool,
    /// Whether a begin token is added when the file doesn't say.
    add_bos: bool,
}

const RULES: [Rules; 5] = [
    Rules {
        names: &["default"],
        patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"],
        ignore_merges: false,
        add_bos: false,
    },
    Rules { names: &["gpt-2"], patterns: &[GPT2], ignore_merges: false, add_bos: false },
    Rules { names: &["smollm"], patterns: &[r"\p{N}", GPT2], ignore_merges: false, add_bos: false },
    Rules {
        names: &["llama-bpe", "llama-v3", "llama3"],
        patterns: &[
            r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        ignore_merges: true,
        add_bos: true,
    },
    Rules {
        names: &["qwen2"],
        patterns: &[
            r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        ignore_merges: false,
        add_bos: false,
    },
];

/// The names of the pre-tokenizers, for errors.
pub(super) fn supported() -> String {
    let names: Vec<&str> = RULES.iter().flat_map(|rules| rules.names).copied().collect();
    names.join(", ")
}

/// A `gpt2` tokenizer without its special tokens.
pub(super) struct Bpe {
    rules: &'static Rules,
    patterns: Vec<SysRegex>,
    model: BPE,
    /// Which bytes have a token of their own; merges start from these.
    has_byte: [bool; 256],
}

impl Bpe {
    pub(super) fn new(
        vocab: &Vocab,
        pre: &str,
        merges: &StringArray,
    ) -> Result<Bpe, TokenizerError> {
        let rules = (RULES.iter().find(|rules| rules.names.contains(&pre)))
            .ok_or_else(|| TokenizerError::PreTokenizer { found: pre.to_owned() })?;
        let library = |error: Box<dyn std::error::Error + Send + Sync>| {
            TokenizerError::Library(error.to_string())
        };
        let patterns = (rules.patterns.iter().map(|pattern| SysRegex::new(pattern)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(library)?;
        let mut ids = BpeVocab::default();
        for (id, text, _) in vocab.tokens().filter(|(_, text, _)| !text.is_empty()) {
            ids.insert(text.to_owned(), id);
        }
        let has_byte = std::array::from_fn(|byte| {
            ids.contains_key(byte_char(byte as u8).encode_utf8(&mut [0; 4]) as &str)
        });
        let merges = read_merges(&ids, merges)?;
        let model = BpeBuilder::new()
            .vocab_and_merges(ids, merges)
            .ignore_merges(rules.ignore_merges)
            .build()
            .map_err(library)?;
        Ok(Bpe { rules, patterns, model, has_byte })
    }

    /// Whether files with this pre-tokenizer get a begin token if they don't say.
    pub(super) fn adds_bos(&self) -> bool {
        self.rules.add_bos
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        // The library drops characters that it doesn't know, which would change the text.
        if let Some(byte) = text.bytes().find(|&byte| !self.has_byte[usize::from(byte)]) {
            return Err(TokenizerError::NoToken { byte });
        }
        let mut words = vec![text];
        for pattern in &self.patterns {
            words = words.into_iter().flat_map(|word| split(pattern, word)).collect();
        }
        let mut chars = String::new();
        for word in words {
            chars.clear();
            chars.extend(word.bytes().map(byte_char));
            let tokens = (self.model.tokenize(&chars))
                .map_err(|error| TokenizerError::Library(error.to_string()))?;
            ids.extend(tokens.iter().map(|token| token.id));
        }
        Ok(())
    }
}

impl fmt::Debug for Bpe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bpe").field("pre", &self.rules.names[0]).finish_non_exhaustive()
    }
}

/// The merges as pairs, best first. The library indexes with their lengths, so each is checked here.
fn read_merges(ids: &BpeVocab, merges: &StringArray) -> Result<Merges, TokenizerError> {
    let mut pairs = Merges::with_capacity(merges.len());
    let mut seen = HashSet::with_capacity(merges.len());
    for (index, merge) in merges.iter().enumerate() {
        let refused = || TokenizerError::Merge { index, merge: merge.to_owned() };
        // A part may begin with a space, but it has at least one character.
        let skip = merge.chars().next().map_or(0, char::len_utf8);
        let space = merge[skip..].find(' ').ok_or_else(refused)? + skip;
        let (left, right) = (&merge[..space], &merge[space + 1..]);
        let joined = [left, right].concat();
        if !(ids.contains_key(left) && ids.contains_key(right) && ids.contains_key(&joined)) {
            return Err(refused());
        }
        // The first of two equal merges is the one that counts.
        if seen.insert((left, right)) {
            pairs.push((left.to_owned(), right.to_owned()));
        }
    }
    Ok(pairs)
}

/// The matches of `pattern` in `word` and the gaps between them, in order.
fn split<'a>(pattern: &SysRegex, word: &'a str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut end = 0;
    for (from, to) in pattern.find_iter(word) {
        parts.extend([&word[end..from], &word[from..to]]);
        end = to;
    }
    parts.push(&word[end..]);
    parts.retain(|part| !part.is_empty());
    parts
}

/// The printable character that stands for a byte in GPT-2's vocabularies.
fn byte_char(byte: u8) -> char {
    let code = match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => u32::from(byte),
        // The others, in ascending order, are the characters from U+0100 on.
        0..=b' ' => 0x100 + u32::from(byte),
        0x7f..=0xa0 => 0x100 + 33 + u32::from(byte) - 0x7f,
        0xad => 0x100 + 67,
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The bytes of a token's text. Characters that stand for no byte stay what they are.
pub(super) fn text_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for char in text.chars() {
        let code = u32::from(char);
        let byte = match code {
            0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => code,
            0x100..=0x120 => code - 0x100,
            0x121..=0x142 => code - 0x121 + 0x7f,
            0x143 => 0xad,
            _ => {
                bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        bytes.push(byte as u8);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        let chars: HashSet<char> = (0..=255).map(byte_char).collect();
        assert_eq!(chars.len(), 256);
        assert!(chars.iter().all(|char| !char.is_whitespace() && !char.is_control()));
        for byte in 0..=255 {
            assert_eq!(text_bytes(&byte_char(byte).to_string()), [byte]);
        }
        assert_eq!(byte_char(b' '), 'Ġ');
        assert_eq!(byte_char(b'\n'), 'Ċ');
    }
}
