//! Cutting special tokens out of a text.

use super::Special;
use super::vocab::{TokenKind, Vocab};

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    /// Text between special tokens, never empty.
    Text(&'a str),
    /// A special token.
    Token(u32),
}

/// Cuts `text` at the special tokens in it.
///
/// As in llama.cpp the tokens take turns, the longest first, and each takes all of its occurrences in what the ones before
/// have left. User-defined tokens are always cut out, control tokens only if `special` says so.
pub(super) fn fragments<'a>(vocab: &Vocab, text: &'a str, special: Special) -> Vec<Fragment<'a>> {
    let mut fragments = Vec::new();
    if !text.is_empty() {
        fragments.push(Fragment::Text(text));
    }
    for &id in vocab.special() {
        let Some((name, kind)) = vocab.token(id) else { continue };
        if special == Special::Text && kind != TokenKind::UserDefined {
            continue;
        }
        let found = |fragment: &Fragment<'_>| match fragment {
            Fragment::Text(text) => text.contains(name),
            Fragment::Token(_) => false,
        };
        if fragments.iter().any(found) {
            fragments =
                fragments.into_iter().flat_map(|fragment| cut(fragment, name, id)).collect();
        }
    }
    fragments
}

/// Cuts one fragment at every occurrence of `name`.
fn cut<'a>(fragment: Fragment<'a>, name: &str, id: u32) -> Vec<Fragment<'a>> {
    let Fragment::Text(text) = fragment else { return vec![fragment] };
    let mut parts = Vec::new();
    for (index, part) in text.split(name).enumerate() {
        if index > 0 {
            parts.push(Fragment::Token(id));
        }
        if !part.is_empty() {
            parts.push(Fragment::Text(part));
        }
    }
    parts
}
