//! Max: the largest score of each head. A maximum is the same in any order.

use super::{MAX_INIT, per_head};

/// Positions of one unit of the fold, counted from the head's start.
pub const UNIT: usize = 256;

/// Folds one unit.
#[must_use]
pub fn unit(acc: i128, x: &[i32]) -> i128 {
    x.iter().fold(acc, |acc, &x| acc.max(i128::from(x)))
}

/// All heads; `scores` is `[head][position]` with at least one position.
///
/// # Panics
/// If the lengths don't fit together.
pub fn forward(heads: usize, scores: &[i32], out: &mut [i32]) {
    let positions = per_head(heads, scores.len());
    assert!(positions > 0 && out.len() == heads, "one maximum per head");
    for (y, scores) in out.iter_mut().zip(scores.chunks_exact(positions)) {
        *y = unit(MAX_INIT, scores) as i32;
    }
}
