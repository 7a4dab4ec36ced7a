//! Quantize: a row, or each head of it, as `i16` with one power of two.
//!
//! `o = OR |x_i|`, `s = max(0, bitlen(o) − bits)`, `q_i = clamp(rshift_round(x_i, s), ±(2^bits − 1))`.
//! OR is order-free and needs no division; 32 bits hold it. The clamp is reached when rounding
//! carries into a new bit.

use crate::fx::rshift_round;

/// Elements of one unit of the fold, counted from the group's start.
pub const UNIT: usize = 256;

/// Folds one unit: OR of the magnitudes; `|−2^31|` is 2^31.
#[must_use]
pub fn unit(acc: i128, x: &[i32]) -> i128 {
    acc | i128::from(x.iter().fold(0, |o, x| o | x.unsigned_abs()))
}

/// The group's shift, from its OR.
#[must_use]
pub fn shift(acc: i128, bits: u32) -> u8 {
    (i128::BITS - acc.leading_zeros()).saturating_sub(bits) as u8
}

/// One value under the group's shift; `bits` is at most 15.
#[must_use]
pub fn value(x: i32, shift: u8, bits: u32) -> i16 {
    let limit = (1i64 << bits.min(15)) - 1;
    rshift_round(i64::from(x), u32::from(shift)).clamp(-limit, limit) as i16
}

/// The whole tensor: `groups` groups of equal length, one shift each.
///
/// # Panics
/// If the lengths don't fit together.
pub fn forward(x: &[i32], groups: usize, bits: u32, values: &mut [i16], shifts: &mut [u8]) {
    assert!(groups > 0 && x.len().is_multiple_of(groups), "groups of equal length");
    assert!(values.len() == x.len() && shifts.len() == groups, "one shift per group");
    let len = (x.len() / groups).max(1);
    for ((x, q), s) in x.chunks(len).zip(values.chunks_mut(len)).zip(shifts) {
        *s = shift(unit(0, x), bits);
        for (q, &x) in q.iter_mut().zip(x) {
            *q = value(x, *s, bits);
        }
    }
}
