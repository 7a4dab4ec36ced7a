//! Mix: the values of all positions, weighted by their probabilities.
//!
//! `acc = Σ p · v · 2^min(b, 20)` over positions, exact (below 2^61 on quantized values, 2^67 on any
//! bit pattern), so any order gives the same bits. Then one division for the head: `R` is a 31-bit
//! reciprocal of the sum, `y = sat32(rshift_round(acc · R, 31 + c))`; the product needs up to 93
//! bits (98).

use super::Heads;
use crate::fx::{bitlen, rshift_round_i128, sat32_i128};

/// Folds one position.
#[must_use]
pub fn unit(acc: i128, p: u16, v: i16, shift: u8) -> i128 {
    acc.wrapping_add(i128::from((i64::from(p) * i64::from(v)) << shift.min(20)))
}

/// The element, given its sum over positions and its head's sum of probabilities.
#[must_use]
pub fn finalize(acc: i128, sum: u32) -> i32 {
    let z = u64::from(sum.max(1));
    let c = bitlen(z) - 1;
    let reciprocal = (1u64 << (31 + c)) / z;
    sat32_i128(rshift_round_i128(acc.wrapping_mul(i128::from(reciprocal)), 31 + c))
}

/// Positions whose terms an `i64` can hold, whatever the bits: a term is below 2^51.
const RUN: usize = 2048;

/// All heads: `probs` is `[head][position]`, `v` `[position][kv][len]`, `v_shifts` `[position][kv]`,
/// `out` `[head][len]`.
///
/// # Panics
/// If the lengths don't fit together.
pub fn forward(
    shape: &Heads,
    probs: &[u16],
    sums: &[u32],
    v: &[i16],
    v_shifts: &[u8],
    out: &mut [i32],
) {
    let Heads { heads, kv, len } = *shape;
    let positions = shape.positions(probs.len());
    assert!(sums.len() == heads && out.len() == heads * len, "one output per head and element");
    assert!(v.len() == positions * kv * len && v_shifts.len() == positions * kv, "all values");
    let mut run = vec![0i64; len];
    let mut acc = vec![0i128; len];
    for h in 0..heads {
        let g = shape.kv_of(h);
        acc.fill(0);
        for start in (0..positions).step_by(RUN) {
            run.fill(0);
            for s in start..positions.min(start + RUN) {
                let row = s * kv + g;
                add(&mut run, probs[h * positions + s], &v[row * len..][..len], v_shifts[row]);
            }
            acc.iter_mut().zip(&run).for_each(|(acc, &run)| *acc += i128::from(run));
        }
        for (y, &acc) in out[h * len..][..len].iter_mut().zip(&acc) {
            *y = finalize(acc, sums[h]);
        }
    }
}

/// Adds one position to all elements. `p · v` fits an `i32` (65535 · 32768 < 2^31). Spelled with
/// wrapping operators because overflow checks would keep the compiler from using vectors.
fn add(run: &mut [i64], p: u16, v: &[i16], shift: u8) {
    if p == 0 {
        return;
    }
    let shift = shift.min(20);
    for (acc, &v) in run.iter_mut().zip(v) {
        let product = i32::from(p).wrapping_mul(i32::from(v));
        *acc = acc.wrapping_add(i64::from(product) << shift);
    }
}
