//! Sample, greedy: the index of the largest logit, the lowest on a tie.
//!
//! A maximum over the keys `logit · 2^32 + (2^32 − 1 − i)` (64 bits, all different): the same in any
//! order.

use super::MAX_INIT;

/// Logits of one unit of the fold.
pub const UNIT: usize = 256;

/// Folds one unit whose first logit has the index `first_index`.
#[must_use]
pub fn unit(acc: i128, first_index: u32, logits: &[i32]) -> i128 {
    logits.iter().zip(0u32..).fold(acc, |acc, (&logit, i)| {
        let key = i64::from(logit) << 32 | i64::from(!first_index.wrapping_add(i));
        acc.max(i128::from(key))
    })
}

/// The token.
#[must_use]
pub fn finalize(acc: i128) -> u32 {
    !(acc as u32)
}

/// The token of a whole row of logits.
#[must_use]
pub fn forward(logits: &[i32]) -> u32 {
    finalize(unit(MAX_INIT, 0, logits))
}
