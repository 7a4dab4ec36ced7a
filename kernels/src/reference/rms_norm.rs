//! RmsNorm: `y_i = w_i · x_i / √(mean(x²) + eps)`.
//!
//! The sum of squares is exact (each at most 2^62, so fewer than 2^34 of them stay below 2^96): any
//! order gives the same bits. The finalizer then works on single elements. Its intermediates: `m`
//! 63 bits, `root` 32, `r` 31, `x · r` 62, `u` 31, `u · w` 62; four roundings, each stated at its
//! line.

use crate::fx::{bitlen, isqrt, rshift_round, sat32};

/// Elements of one unit of the fold.
pub const UNIT: usize = 256;

/// Folds one unit: adds the squares.
#[must_use]
pub fn unit(acc: i128, x: &[i32]) -> i128 {
    x.iter().fold(acc, |acc, &x| acc.wrapping_add(i128::from(i64::from(x) * i64::from(x))))
}

/// `1/√(mean + eps)` as a mantissa `r < 2^31` and `h`: the value is `r · 2^(h − 50)`.
pub(crate) fn rsqrt(acc: i128, n: u32, eps: u32) -> (i64, u32) {
    let n = i128::from(n.max(1));
    // Half up. The bounds only matter for an accumulator or an `eps` that no model has.
    let mean = acc.saturating_add(n >> 1).div_euclid(n);
    let m = mean.saturating_add(i128::from(eps)).clamp(1, i128::from(i64::MAX)) as u64;
    let h = (64 - bitlen(m)) >> 1;
    let root = isqrt(m << (2 * h)); // Down. In [2^31, 2^32).
    let r = ((1 << 62) / root).min((1 << 31) - 1); // Down.
    (r as i64, h)
}

fn normalize((r, h): (i64, u32), exponent: i32, x: i32, w: i32) -> i32 {
    let u = sat32(rshift_round(i64::from(x) * r, 42 - h)); // Half up, 20 fractional bits.
    let shift = exponent.saturating_add(8).clamp(0, 63) as u32;
    sat32(rshift_round(i64::from(u) * i64::from(w), shift)) // Half up.
}

/// The element `x` with norm weight `w · 2^-exponent`, given the sum of squares of all `n`.
#[must_use]
pub fn finalize(acc: i128, n: u32, eps: u32, exponent: i32, x: i32, w: i32) -> i32 {
    normalize(rsqrt(acc, n, eps), exponent, x, w)
}

/// The whole row; `eps` in units of 2^-24, `w` mantissas in units of `2^-exponent`.
///
/// # Panics
/// If the lengths differ or don't fit a `u32`.
pub fn forward(x: &[i32], w: &[i32], eps: u32, exponent: i32, out: &mut [i32]) {
    assert!(x.len() == out.len() && w.len() == out.len(), "one weight and one output per element");
    let n = u32::try_from(x.len()).expect("a row is shorter than 2^32");
    let scale = rsqrt(unit(0, x), n, eps);
    for ((y, &x), &w) in out.iter_mut().zip(x).zip(w) {
        *y = normalize(scale, exponent, x, w);
    }
}
