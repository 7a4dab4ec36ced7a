//! Fixed-point primitives: the one rounding rule, the one saturation, and two integer functions.
//!
//! Everything is total. Shift counts beyond the width have the value that the formula has over the
//! mathematical integers, so that a language with wider words computes the same.

/// Shifts right by `s` bits, rounding half up: `(x >> s) + ((x >> (s - 1)) & 1)`, and `x` for 0.
///
/// It can't overflow: for `s ≥ 1` the shifted value has a bit to spare. From 64 bits on the floor
/// is the sign, and the bit below it makes up for it: the result is 0.
#[must_use]
#[inline]
pub fn rshift_round(x: i64, s: u32) -> i64 {
    match s {
        0 => x,
        1..64 => (x >> s) + ((x >> (s - 1)) & 1),
        _ => 0,
    }
}

/// [`rshift_round`] of a value that needs up to 128 bits.
#[must_use]
pub fn rshift_round_i128(x: i128, s: u32) -> i128 {
    match s {
        0 => x,
        1..128 => (x >> s) + ((x >> (s - 1)) & 1),
        _ => 0,
    }
}

/// Clamps to ±(2^31 − 1), the range of Fx. Only finalizers call it, never a reduction.
#[must_use]
#[inline]
pub fn sat32(x: i64) -> i32 {
    x.clamp(i64::from(-i32::MAX), i64::from(i32::MAX)) as i32
}

/// [`sat32`] of a value that needs up to 128 bits.
#[must_use]
pub fn sat32_i128(x: i128) -> i32 {
    x.clamp(i128::from(-i32::MAX), i128::from(i32::MAX)) as i32
}

/// Number of bits without leading zeros; 0 for 0.
#[must_use]
pub fn bitlen(x: u64) -> u32 {
    u64::BITS - x.leading_zeros()
}

/// The integer square root, rounded down.
#[must_use]
pub fn isqrt(x: u64) -> u64 {
    x.isqrt()
}

/// The high half of a 64-bit product: `(a · b) >> 32`.
#[must_use]
#[inline]
pub fn mulhi(a: u32, b: u32) -> u32 {
    ((u64::from(a) * u64::from(b)) >> 32) as u32
}

/// Coefficients `c1 … c6` of the polynomial for `2^f − 1` in Q30.
const EXP2: [u32; 6] = [744_261_108, 257_941_996, 59_588_402, 10_363_966, 1_362_811, 223_531];

/// `2^(f / 2^32)` in Q30, in `[2^30, 2^31)`.
///
/// Horner's rule, truncating at each step. No sum overflows: every partial value is below 2^30,
/// the result below 2^31.
#[must_use]
#[inline]
pub fn exp2(f: u32) -> u32 {
    let [c1, c2, c3, c4, c5, c6] = EXP2;
    let a = [c5, c4, c3, c2, c1].into_iter().fold(c6, |a, c| c + mulhi(a, f));
    (1 << 30) + mulhi(a, f)
}
