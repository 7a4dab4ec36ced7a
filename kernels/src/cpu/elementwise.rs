//! RmsNorm, Quantize, Rope and SwiGlu as loops that the compiler turns into vector code.
//!
//! They compute what `reference` says, in words of 64 bits: where the reference needs more, a
//! product is split at 32 bits, and the lower half gives only its carry, because the bits that
//! decide the rounding lie above. Inputs are Fx within ±(2^31 − 1), which every finalizer sees to.

use super::simd::{Kernel, Simd};
use crate::fx::{exp2, sat32};
use crate::reference::rms_norm::rsqrt;

/// Values at ±(2^31 − 1). There are hardly ever any, so the fast part only looks for one.
#[inline(always)]
pub(super) fn count_saturated(x: &[i32]) -> u64 {
    let peak = x.iter().fold(0, |peak: u32, y| peak.max(y.unsigned_abs()));
    if peak < i32::MAX.unsigned_abs() { 0 } else { count(x) }
}

/// The exact number.
#[cold]
#[inline(never)]
pub(super) fn count(x: &[i32]) -> u64 {
    x.iter().filter(|y| y.unsigned_abs() >= i32::MAX.unsigned_abs()).count() as u64
}

/// `rshift_round` for `1 ≤ s < 64`.
#[inline(always)]
fn round(x: i64, s: u32) -> i64 {
    (x >> s).wrapping_add(x >> (s - 1) & 1)
}

/// `⌊a · b / 2^32⌋` for `|a| < 2^63`, `|b| ≤ 2^31`.
#[inline(always)]
pub(super) fn product_high(a: i64, b: i64) -> i64 {
    let (high, low) = (a >> 32, a & 0xffff_ffff);
    high.wrapping_mul(b).wrapping_add(low.wrapping_mul(b) >> 32)
}

pub(super) struct RmsNorm<'a> {
    pub(super) x: &'a [i32],
    pub(super) w: &'a [i32],
    pub(super) eps: u32,
    pub(super) exponent: i32,
    pub(super) out: &'a mut [i32],
}

impl Kernel for RmsNorm<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> u64 {
        // A row is shorter than 2^32, so neither half of the sum of squares overflows.
        let (mut high, mut low) = (0u64, 0u64);
        for &x in self.x {
            let square = i64::from(x).wrapping_mul(i64::from(x)) as u64;
            high = high.wrapping_add(square >> 32);
            low = low.wrapping_add(square & 0xffff_ffff);
        }
        let sum = (i128::from(high) << 32) + i128::from(low);
        let (r, h) = rsqrt(sum, self.x.len() as u32, self.eps);
        let first = 42 - h;
        let second = self.exponent.saturating_add(8).clamp(0, 63) as u32;
        for ((y, &x), &w) in self.out.iter_mut().zip(self.x).zip(self.w) {
            let u = sat32(round(i64::from(x).wrapping_mul(r), first));
            let y_wide = i64::from(u).wrapping_mul(i64::from(w));
            *y = sat32(if second == 0 { y_wide } else { round(y_wide, second) });
        }
        count_saturated(self.out)
    }
}

/// One group; yields its shift.
pub(super) struct Quantize<'a> {
    pub(super) x: &'a [i32],
    pub(super) bits: u32,
    pub(super) out: &'a mut [i16],
}

impl Kernel for Quantize<'_> {
    type Output = u8;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> u8 {
        let or = self.x.iter().fold(0, |or, x| or | x.unsigned_abs());
        let shift = (u32::BITS - or.leading_zeros()).saturating_sub(self.bits);
        let limit = (1i32 << self.bits) - 1;
        let pairs = self.out.iter_mut().zip(self.x);
        if shift == 0 {
            pairs.for_each(|(q, &x)| *q = x.clamp(-limit, limit) as i16);
        } else {
            pairs.for_each(|(q, &x)| {
                *q = ((x >> shift) + (x >> (shift - 1) & 1)).clamp(-limit, limit) as i16;
            });
        }
        shift as u8
    }
}

/// In place, all heads.
pub(super) struct Rope<'a> {
    pub(super) x: &'a mut [i32],
    pub(super) head_len: usize,
    pub(super) row: &'a [i32],
}

impl Kernel for Rope<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> u64 {
        let product = |a: i32, b: i32| i64::from(a).wrapping_mul(i64::from(b));
        for head in self.x.chunks_exact_mut(self.head_len) {
            let pairs = head.as_chunks_mut().0.iter_mut();
            for (x, &[cos, sin]) in pairs.zip(self.row.as_chunks().0) {
                // The table is within ±2^30, so the sums are below 2^62.
                let [x0, x1] = *x;
                let y0 = product(x0, cos).wrapping_sub(product(x1, sin));
                let y1 = product(x0, sin).wrapping_add(product(x1, cos));
                *x = [sat32(round(y0, 30)), sat32(round(y1, 30))];
            }
        }
        count_saturated(self.x)
    }
}

pub(super) struct SwiGlu<'a> {
    pub(super) gate: &'a [i32],
    pub(super) up: &'a [i32],
    pub(super) out: &'a mut [i32],
}

impl Kernel for SwiGlu<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> u64 {
        for ((y, &gate), &up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            let weighted = i64::from(gate).wrapping_mul(sigmoid(gate));
            *y = sat32(round(product_high(weighted, i64::from(up)), 43 - 32));
        }
        count_saturated(self.out)
    }
}

/// `log2(e)` in Q32, less 1 in Q32: fits 32 bits.
const LOG2_E_LESS_1: u64 = 6_196_328_019 - (1 << 32);

/// As in the reference, without a division.
#[inline(always)]
fn sigmoid(gate: i32) -> i64 {
    let a = u64::from(gate.unsigned_abs());
    let z = (a << 32).wrapping_add(a.wrapping_mul(LOG2_E_LESS_1));
    let fraction = (z >> 12) as u32;
    let n = (z >> 44) + u64::from(fraction != 0);
    // Half up by one bit more: `n ≤ 31` keeps the count in range, and 2^31 >> 32 rounds to 0.
    let doubled = u64::from(exp2(fraction.wrapping_neg())) << 1;
    let e = ((doubled >> n.min(40)) + 1) >> 1;
    let d = (1 << 30) + e;
    // 2^61 / d, down, and the remainder.
    let (quotient, exact) = divide(d);
    let up = quotient + u64::from(!exact);
    // E · 2^31 / d = 2^31 − 2^61 / d, so rounding that down is rounding the quotient up.
    (if gate >= 0 { quotient } else { (1 << 31) - up }) as i64
}

/// `⌊2^61 / d⌋` for `d` in [2^30, 2^31], and whether nothing remains.
#[inline(always)]
fn divide(d: u64) -> (u64, bool) {
    // With t = d / 2^30 in [1, 2]: 24/17 − 8/17 · t is 1/t to within 1/17, and a step of Newton's
    // squares the relative error. In Q31, rounded down: errors of 2^-4, 2^-8, 2^-16, and at last
    // one unit at most (tried for every `d`).
    let mut r = 3_031_741_621u64.wrapping_sub(product(d, 1_010_580_540) >> 30);
    for _ in 0..3 {
        let two_less_t_r = (1u64 << 32).wrapping_sub(product(d, r) >> 30);
        r = product(r, two_less_t_r) >> 31;
    }
    let mut quotient = r.wrapping_sub(1);
    let mut rest = (1u64 << 61).wrapping_sub(product(quotient, d));
    for bit in [1, 0] {
        let more = rest >= d << bit;
        quotient = quotient.wrapping_add(if more { 1 << bit } else { 0 });
        rest = rest.wrapping_sub(if more { d << bit } else { 0 });
    }
    (quotient, rest == 0)
}

/// The product of two `u32`, spelled so that the compiler sees that they are.
#[inline(always)]
fn product(a: u64, b: u64) -> u64 {
    u64::from(a as u32).wrapping_mul(u64::from(b as u32))
}
