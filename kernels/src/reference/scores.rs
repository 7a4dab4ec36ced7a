//! Scores: the dot products of a query head with its KV head's keys, base 2 with 16 fractional bits.
//!
//! `p = (Σ q·k) · c0`, then by `e = 38 − min(a, 20) − min(b, 20)` bits to the right, clamped to ±2^30.
//! Widths: the dot 32 bits on quantized values, 39 on any bit pattern; `p` 62 or 71. The sum is
//! exact, so any order of the elements gives the same bits.

use super::Heads;
use crate::fx::rshift_round_i128;

const LIMIT: i128 = 1 << 30;

fn finalize(dot: i64, q_shift: u8, k_shift: u8, scale: u32) -> i32 {
    let p = i128::from(dot) * i128::from(scale);
    let shifts = u32::from(q_shift.min(20)) + u32::from(k_shift.min(20));
    let score = match 38u32.checked_sub(shifts) {
        Some(e) => rshift_round_i128(p, e),
        None => p.clamp(-LIMIT, LIMIT) << (shifts - 38),
    };
    score.clamp(-LIMIT, LIMIT) as i32
}

/// One score, of one query head and one position's KV head.
#[must_use]
pub fn score(q: &[i16], q_shift: u8, k: &[i16], k_shift: u8, scale: u32) -> i32 {
    let dot = q.iter().zip(k).map(|(&q, &k)| i64::from(q) * i64::from(k)).sum();
    finalize(dot, q_shift, k_shift, scale)
}

/// The OR of the magnitudes: a bound that vectors compute.
fn magnitude(x: &[i16]) -> u16 {
    x.iter().fold(0, |o, x| o | x.unsigned_abs())
}

/// The dot in `i32`: exact when `|q| < 2^12`, `|k| < 2^11` and at most 256 elements, because
/// 256 · 4095 · 2047 < 2^31. Spelled with wrapping operators because overflow checks would keep the
/// compiler from using vectors.
fn dot_narrow(q: &[i16], k: &[i16]) -> i64 {
    let dot = q
        .iter()
        .zip(k)
        .fold(0i32, |dot, (&q, &k)| dot.wrapping_add(i32::from(q).wrapping_mul(i32::from(k))));
    i64::from(dot)
}

/// All heads over all positions: `q` is `[head][len]`, `k` `[position][kv][len]`, `k_shifts`
/// `[position][kv]`, `out` `[head][position]`.
///
/// # Panics
/// If the lengths don't fit together.
pub fn forward(
    shape: &Heads,
    scale: u32,
    q: &[i16],
    q_shifts: &[u8],
    k: &[i16],
    k_shifts: &[u8],
    out: &mut [i32],
) {
    let Heads { heads, kv, len } = *shape;
    let positions = shape.positions(out.len());
    assert!(q.len() == heads * len && q_shifts.len() == heads, "one query per head");
    assert!(k.len() == positions * kv * len && k_shifts.len() == positions * kv, "all keys");
    let q_narrow = len <= 256 && magnitude(q) < 1 << 12;
    let group = heads / kv;
    for (row, &k_shift) in k_shifts.iter().enumerate() {
        let (position, g) = (row / kv, row % kv);
        let k = &k[row * len..][..len];
        let narrow = q_narrow && magnitude(k) < 1 << 11;
        for h in g * group..(g + 1) * group {
            let q = &q[h * len..][..len];
            out[h * positions + position] = if narrow {
                finalize(dot_narrow(q, k), q_shifts[h], k_shift, scale)
            } else {
                score(q, q_shifts[h], k, k_shift, scale)
            };
        }
    }
}
