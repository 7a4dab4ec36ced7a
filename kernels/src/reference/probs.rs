//! Probs: `2^(score − max)` with 14 fractional bits, not yet divided by the sum.
//!
//! `d = min(score − max, 0)` in `i64` (33 bits), split into `−N` and a fraction; `exp2` of the
//! fraction in Q30, shifted right by `N + 16` with rounding. A map: there is no order.

use super::per_head;
use crate::fx::{exp2, rshift_round};

/// One probability; 2^14 is 1.
#[must_use]
pub fn prob(score: i32, max: i32) -> u16 {
    let d = (i64::from(score) - i64::from(max)).min(0);
    let n = -(d >> 16); // At most 2^16.
    let f = ((d & 0xffff) << 16) as u32;
    if n + 16 <= 31 { rshift_round(i64::from(exp2(f)), (n + 16) as u32) as u16 } else { 0 }
}

/// All heads; `scores` and `out` are `[head][position]`.
///
/// # Panics
/// If the lengths don't fit together.
pub fn forward(heads: usize, scores: &[i32], max: &[i32], out: &mut [u16]) {
    let positions = per_head(heads, scores.len()).max(1);
    assert!(max.len() == heads && out.len() == scores.len(), "one probability per score");
    let rows = scores.chunks_exact(positions).zip(out.chunks_exact_mut(positions));
    for ((scores, out), &max) in rows.zip(max) {
        for (p, &score) in out.iter_mut().zip(scores) {
            *p = prob(score, max);
        }
    }
}
