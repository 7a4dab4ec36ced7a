//! Sum: what each head's probabilities add up to, in units of 2^-14.
//!
//! Exact: 65,536 positions of at most 2^14 make 2^30. Any order gives the same bits. On other bit
//! patterns the element is the sum modulo 2^32.

use super::per_head;

/// Positions of one unit of the fold, counted from the head's start.
pub const UNIT: usize = 512;

/// Folds one unit.
#[must_use]
pub fn unit(acc: i128, p: &[u16]) -> i128 {
    p.iter().fold(acc, |acc, &p| acc.wrapping_add(i128::from(p)))
}

/// All heads; `probs` is `[head][position]`.
///
/// # Panics
/// If the lengths don't fit together.
pub fn forward(heads: usize, probs: &[u16], out: &mut [u32]) {
    let positions = per_head(heads, probs.len()).max(1);
    assert_eq!(out.len(), heads, "one sum per head");
    out.fill(0);
    for (y, p) in out.iter_mut().zip(probs.chunks_exact(positions)) {
        // Modulo 2^32 at every addition is modulo 2^32 at the end.
        *y = p.iter().fold(0, |sum: u32, &p| sum.wrapping_add(u32::from(p)));
    }
}
