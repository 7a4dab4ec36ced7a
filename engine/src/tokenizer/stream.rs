//! Decoding while tokens arrive.

use super::{Tokenizer, TokenizerError};

/// Turns ids into text one by one, and holds back what isn't a whole character yet.
///
/// All pieces together are what [`Tokenizer::decode`] gives for all ids, except that an end token shows as its name.
#[derive(Debug)]
pub struct Stream<'a> {
    tokenizer: &'a Tokenizer,
    /// How many ids came, and the first of them.
    count: usize,
    first: u32,
    /// The beginning of a character: at most three bytes between calls.
    pending: Vec<u8>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Stream<'a> {
        Stream { tokenizer, count: 0, first: 0, pending: Vec::new() }
    }

    /// The text that `id` completes; empty if it ends inside a character.
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        if self.count == 0 {
            self.first = id;
        }
        let piece = self.tokenizer.piece(id, self.count, self.first)?;
        self.count += 1;
        self.pending.extend(piece);
        Ok(self.take_complete())
    }

    /// What is left when no more ids come: U+FFFD for an unfinished character, or nothing.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }

    /// Takes all that can't change any more out of `pending`.
    fn take_complete(&mut self) -> String {
        let keep = match std::str::from_utf8(&self.pending) {
            Ok(_) => 0,
            Err(_) => unfinished_len(&self.pending),
        };
        let rest = self.pending.split_off(self.pending.len() - keep);
        let complete = std::mem::replace(&mut self.pending, rest);
        String::from_utf8_lossy(&complete).into_owned()
    }
}

/// How many bytes at the end are the beginning of a character that may still be completed.
fn unfinished_len(bytes: &[u8]) -> usize {
    let chunk = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    match std::str::from_utf8(chunk) {
        Err(error) if error.error_len().is_none() => chunk.len(),
        _ => 0,
    }
}
