//! Mix: the values of all positions, weighted by their probabilities, for a few query rows that
//! share a head.
//!
//! Probabilities times values of 32 positions fit 32 bits (32 · 2^14 · 4095 < 2^31) if the values
//! have one shift; a product by 2^shift widens the sum. If 32 positions have several shifts, the
//! excess over the least of them goes to the probabilities, as long as these fit 15 bits and their
//! sum times 4095 fits 31. Where it doesn't, each shift takes a turn with the other positions'
//! probabilities masked.

#![expect(clippy::needless_range_loop, reason = "indices of registers: the loops are unrolled")]

use super::attention::Block;
use super::cache::{Layer, UNIT, v_width};
use super::elementwise::{count_saturated, product_high};
use super::simd::{Kernel, Line, Simd};
use crate::fx::{bitlen, sat32};

/// A sum of probabilities of 32 positions that keeps sums of products below 2^31.
const SUM: u32 = (i32::MAX / 4095) as u32;

/// Least shift of the positions of a block.
#[inline(always)]
fn least(shifts: &[u8; UNIT], valid: usize) -> u8 {
    shifts[..valid].iter().fold(u8::MAX, |least, &s| least.min(s))
}

/// Probabilities times 2^(shift − least shift) of one query row, and where they don't fit.
pub(super) struct Scale<'a> {
    pub(super) cache: Layer<'a>,
    pub(super) g: usize,
    /// Of the query that sees the most; probabilities beyond are 0.
    pub(super) positions: usize,
    pub(super) probs: &'a [Block],
    pub(super) scaled: &'a mut [Block],
    pub(super) fits: &'a mut [bool],
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let blocks = self.probs.iter().zip(self.scaled).zip(self.fits);
        for (block, ((probs, scaled), fits)) in blocks.enumerate() {
            let (_, shifts) = self.cache.values(block, self.g);
            let least = least(shifts, (self.positions - block * UNIT).min(UNIT));
            let probs: &[u16; UNIT] = bytemuck::cast_ref(probs);
            let scaled: &mut [u16; UNIT] = bytemuck::cast_mut(scaled);
            let (mut or, mut sum) = (0, 0);
            for ((scaled, &p), &shift) in scaled.iter_mut().zip(probs).zip(shifts) {
                let p = u32::from(p) << shift.saturating_sub(least).min(16);
                or |= p;
                // Only needed if all are below 2^15.
                sum = p.wrapping_add(sum);
                *scaled = p as u16;
            }
            *fits &= or < 1 << 15 && sum <= SUM;
        }
    }
}

/// The sums over all positions of probabilities times values.
pub(super) struct Mix<'a> {
    pub(super) cache: Layer<'a>,
    pub(super) g: usize,
    pub(super) positions: usize,
    pub(super) blocks: usize,
    /// `[query][block]`.
    pub(super) probs: &'a [Block],
    pub(super) scaled: &'a [Block],
    /// By block.
    pub(super) fits: &'a [bool],
    /// `[query][vector of the head]`.
    pub(super) out: &'a mut [[i64; 16]],
}

impl Kernel for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let queries = self.probs.len() / self.blocks;
        let mut at = 0;
        while at < queries {
            at += match queries - at {
                8.. if S::LARGE => self.part::<S, 8>(simd, at),
                4.. => self.part::<S, 4>(simd, at),
                3 => self.part::<S, 3>(simd, at),
                2 => self.part::<S, 2>(simd, at),
                _ => self.part::<S, 1>(simd, at),
            };
        }
    }
}

impl Mix<'_> {
    #[inline(always)]
    fn part<S: Simd, const P: usize>(&mut self, simd: S, at: usize) -> usize {
        let width = v_width(&self.cache.shape);
        let mut vector = 0;
        while S::LARGE && vector + 2 <= width {
            self.tile::<S, P, 2>(simd, at, vector);
            vector += 2;
        }
        while vector < width {
            self.tile::<S, P, 1>(simd, at, vector);
            vector += 1;
        }
        P
    }

    /// Vectors `first..first + R` of the head for queries `at..at + P`.
    #[inline(always)]
    fn tile<S: Simd, const P: usize, const R: usize>(&mut self, simd: S, at: usize, first: usize) {
        let width = v_width(&self.cache.shape);
        let mut wide = [[simd.wide_zero(); R]; P];
        for block in 0..self.blocks {
            let (values, shifts) = self.cache.values(block, self.g);
            let mut rows = [&[0; UNIT / 2]; P];
            let valid = (self.positions - block * UNIT).min(UNIT);
            if self.fits[block] {
                for p in 0..P {
                    rows[p] = &self.scaled[(at + p) * self.blocks + block];
                }
                let shift = least(shifts, valid);
                pass::<S, P, R, true>(simd, values, width, first, rows, u32::MAX, shift, &mut wide);
                continue;
            }
            for p in 0..P {
                rows[p] = &self.probs[(at + p) * self.blocks + block];
            }
            let mut rest = u32::MAX >> (UNIT - valid);
            while rest != 0 {
                let shift = shifts[rest.trailing_zeros() as usize];
                let same = rest & equal(shifts, shift);
                pass::<S, P, R, false>(simd, values, width, first, rows, same, shift, &mut wide);
                rest &= !same;
            }
        }
        for (p, wide) in wide.into_iter().enumerate() {
            for (wide, out) in wide.into_iter().zip(&mut self.out[(at + p) * width + first..]) {
                simd.wide_store(wide, out);
            }
        }
    }
}

/// Adds the products of a block's positions in the set `positions`, or of `ALL`, times 2^shift.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "an inner loop, written once for both callers")]
fn pass<S: Simd, const P: usize, const R: usize, const ALL: bool>(
    simd: S,
    values: &[Line],
    width: usize,
    first: usize,
    probs: [&Block; P],
    positions: u32,
    shift: u8,
    wide: &mut [[S::W; R]; P],
) {
    let mut acc = [[simd.splat(0); R]; P];
    for (s, values) in values.chunks_exact(width).enumerate() {
        let bits = if ALL { 3 } else { positions >> (2 * s) & 3 };
        if bits == 0 {
            continue;
        }
        let mask = ((bits & 1) * 0xffff + (bits >> 1) * 0xffff_0000) as i32;
        let Some(values) = values[first..].first_chunk::<R>() else { return };
        let mut v = [simd.splat(0); R];
        for r in 0..R {
            v[r] = simd.load(&values[r]);
        }
        for p in 0..P {
            let prob = simd.splat(probs[p][s] & mask);
            for r in 0..R {
                acc[p][r] = simd.dot(acc[p][r], v[r], prob);
            }
        }
    }
    let power = simd.splat_halves(1 << shift.min(20));
    for p in 0..P {
        for r in 0..R {
            wide[p][r] = simd.mul_add(wide[p][r], simd.halves(acc[p][r]), power);
        }
    }
}

/// A bit for each position with this shift.
#[inline(always)]
fn equal(shifts: &[u8; UNIT], shift: u8) -> u32 {
    shifts.iter().rev().fold(0, |bits, &s| bits << 1 | u32::from(s == shift))
}

/// Mix's finalizer. Yields how many values are saturated.
pub(super) struct FinishMix<'a> {
    pub(super) sums: &'a [i64],
    pub(super) total: u32,
    pub(super) out: &'a mut [i32],
}

impl Kernel for FinishMix<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> u64 {
        // The largest probability is 2^14, so `c` is at least 14, and all bits that decide lie
        // above bit 32 of the product.
        let z = u64::from(self.total.max(1 << 14));
        let c = bitlen(z) - 1;
        let reciprocal = ((1u64 << (31 + c)) / z) as i64;
        let shift = 31 + c - 32;
        for (y, &sum) in self.out.iter_mut().zip(self.sums) {
            let product = product_high(sum, reciprocal);
            *y = sat32((product >> shift).wrapping_add(product >> (shift - 1) & 1));
        }
        count_saturated(self.out)
    }
}
