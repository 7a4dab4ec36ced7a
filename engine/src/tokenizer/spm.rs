//! SentencePiece's merging: the neighbours whose union has the best score are joined until none is left.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::TokenizerError;
use super::vocab::{TokenKind, Vocab, byte_of};

/// What stands for a space in the vocabulary.
pub(super) const SPACE: char = '▁';

/// A `llama` tokenizer without its special tokens.
#[derive(Debug)]
pub(super) struct Spm {
    /// Pieces of text: id and rank. A better score has a higher rank, equal scores have equal ranks.
    pieces: HashMap<String, (u32, u32)>,
    /// The longest piece in bytes: nothing longer needs to be looked up.
    piece_len_max: usize,
    bytes: [Option<u32>; 256],
}

/// A piece of the text, in a doubly linked list over one vector. A piece that was joined to its left neighbour is empty.
struct Symbol {
    start: usize,
    len: usize,
    prev: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours that would make a piece. The heap gives the best rank first, and of equal ones the leftmost.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    rank: u32,
    left: Reverse<usize>,
    right: usize,
    /// Length of the union when it was found; a difference shows that one of them has changed since.
    len: usize,
}

impl Spm {
    pub(super) fn new(vocab: &Vocab, scores: Option<&[f32]>) -> Result<Spm, TokenizerError> {
        let ranks = match scores {
            Some(scores) => ranks(scores, vocab.len())?,
            None => vec![0; vocab.len() as usize],
        };
        let mut pieces = HashMap::new();
        let mut bytes = [None; 256];
        for (id, text, kind) in vocab.tokens() {
            match kind {
                TokenKind::Byte => {
                    if let Some(byte) = byte_of(text) {
                        bytes[usize::from(byte)].get_or_insert(id);
                    }
                }
                // Text never becomes structure, so these can't be reached by merging.
                TokenKind::Control | TokenKind::Unknown => {}
                _ if text.is_empty() => {}
                _ => {
                    pieces.insert(text.to_owned(), (id, ranks[id as usize]));
                }
            }
        }
        let piece_len_max = pieces.keys().map(String::len).max().unwrap_or(0);
        Ok(Spm { pieces, piece_len_max, bytes })
    }

    /// Appends the tokens of `text`, with a space in front if `prefix`.
    pub(super) fn encode(
        &self,
        text: &str,
        prefix: bool,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let mut escaped = String::with_capacity(text.len() + 3);
        escaped.extend(prefix.then_some(SPACE));
        escaped.extend(text.chars().map(|char| if char == ' ' { SPACE } else { char }));
        for piece in self.merge(&escaped) {
            match self.pieces.get(piece) {
                Some(&(id, _)) => ids.push(id),
                None => {
                    for byte in piece.bytes() {
                        let id = self.bytes[usize::from(byte)];
                        ids.push(id.ok_or(TokenizerError::NoToken { byte })?);
                    }
                }
            }
        }
        Ok(())
    }

    /// The pieces of `text` after all merges.
    fn merge<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let count = text.chars().count();
        let mut symbols: Vec<Symbol> = (text.char_indices().enumerate())
            .map(|(index, (start, char))| Symbol {
                start,
                len: char.len_utf8(),
                prev: index.checked_sub(1),
                next: (index + 1 < count).then_some(index + 1),
            })
            .collect();
        let mut heap = BinaryHeap::new();
        for right in 1..count {
            heap.extend(self.pair(text, &symbols, Some(right - 1), Some(right)));
        }
        while let Some(Pair { left: Reverse(left), right, len, .. }) = heap.pop() {
            let stale = symbols[left].len == 0
                || symbols[right].len == 0
                || symbols[left].len + symbols[right].len != len;
            if stale {
                continue;
            }
            symbols[left].len = len;
            symbols[right].len = 0;
            let next = symbols[right].next;
            symbols[left].next = next;
            if let Some(next) = next {
                symbols[next].prev = Some(left);
            }
            heap.extend(self.pair(text, &symbols, symbols[left].prev, Some(left)));
            heap.extend(self.pair(text, &symbols, Some(left), next));
        }
        symbols
            .iter()
            .filter(|symbol| symbol.len > 0)
            .map(|symbol| &text[symbol.start..symbol.start + symbol.len])
            .collect()
    }

    /// The pair of two neighbours, if their union is a piece.
    fn pair(
        &self,
        text: &str,
        symbols: &[Symbol],
        left: Option<usize>,
        right: Option<usize>,
    ) -> Option<Pair> {
        let (left, right) = (left?, right?);
        let len = symbols[left].len + symbols[right].len;
        if len > self.piece_len_max {
            return None;
        }
        let start = symbols[left].start;
        let &(_, rank) = self.pieces.get(&text[start..start + len])?;
        Some(Pair { rank, left: Reverse(left), right, len })
    }
}

/// Scores as ranks, so that merging compares integers.
fn ranks(scores: &[f32], vocab: u32) -> Result<Vec<u32>, TokenizerError> {
    if scores.len() != vocab as usize {
        let key = "tokenizer.ggml.scores";
        return Err(TokenizerError::Length { key, found: scores.len(), expected: vocab });
    }
    if let Some(id) = scores.iter().position(|score| score.is_nan()) {
        return Err(TokenizerError::Score { id: id as u32 });
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Without NaN every two scores compare; −0 and 0 are equal here, which `total_cmp` would miss.
    order.sort_by(|&a, &b| scores[a].partial_cmp(&scores[b]).unwrap_or(std::cmp::Ordering::Equal));
    let mut ranks = vec![0; scores.len()];
    for pair in order.windows(2) {
        ranks[pair[1]] = ranks[pair[0]] + u32::from(scores[pair[0]] != scores[pair[1]]);
    }
    Ok(ranks)
}
