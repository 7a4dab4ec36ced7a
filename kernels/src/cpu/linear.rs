//! Linear: a panel of 32 rows times a few rows of activations.
//!
//! The dot products of a block fit 32 bits (at most 32 · 128 · 2^15); each is widened once, by the product with its scale, into
//! sums of 64 bits. The importer has proved that they are exact, in any order. `D · (w − 8)` starts the block's sum at `−8 Σ q`.

use super::activations::Activations;
use super::elementwise::count_saturated;
use super::pack::{BLOCK, Bytes, Nibbles, NibblesAndMinima, PANEL, Packed, Packing};
use super::simd::{Kernel, Line, Simd};
use crate::Format;
use crate::fx::sat32;
use std::ops::Range;

/// Most rows of activations that one call takes.
pub(super) const TILE: usize = 8;

/// Blocks whose scales are decoded at once.
const RUN: usize = 16;

/// The exact sums of a panel's rows for up to [`TILE`] rows of activations.
pub(super) type Sums = [[i64; PANEL]; TILE];

/// Computes [`Sums`]; those beyond `rows` keep what they were.
pub(super) struct Accumulate<'a> {
    pub(super) matrix: &'a Packed,
    pub(super) panel: usize,
    pub(super) x: &'a Activations,
    pub(super) rows: Range<usize>,
    pub(super) out: &'a mut Sums,
}

impl Kernel for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.matrix.format {
            // A `Packed` has none of these: `Decoder::check`.
            Format::I32 => {}
            Format::Q8_0 => self.format::<S, Bytes>(simd),
            Format::Q4_0 => self.format::<S, Nibbles>(simd),
            Format::Q4_1 => self.format::<S, NibblesAndMinima>(simd),
        }
    }
}

impl Accumulate<'_> {
    #[inline(always)]
    fn format<S: Simd, F: Packing>(mut self, simd: S) {
        let mut done = 0;
        while !self.rows.is_empty() {
            let n = match self.rows.len() {
                8.. if S::LARGE => self.part::<S, F, 8>(simd, done),
                4.. => self.part::<S, F, 4>(simd, done),
                2.. => self.part::<S, F, 2>(simd, done),
                _ => self.part::<S, F, 1>(simd, done),
            };
            done += n;
            self.rows.start += n;
        }
    }

    /// The next `P` rows of activations; the sums go to `out[at..]`.
    #[inline(always)]
    fn part<S: Simd, F: Packing, const P: usize>(&mut self, simd: S, at: usize) -> usize {
        let panel = self.matrix.panel(self.panel);
        let x = core::array::from_fn(|p| self.x.row(self.rows.start + p));
        let out = &mut self.out[at..at + P];
        if S::LARGE {
            tile::<S, F, P, 2>(simd, panel, 0, x, out);
        } else {
            tile::<S, F, P, 1>(simd, panel, 0, x, out);
            tile::<S, F, P, 1>(simd, panel, 1, x, out);
        }
        P
    }
}

/// `R` vectors of rows from vector `first` of the panel on, times `P` rows of activations.
#[inline(always)]
fn tile<S: Simd, F: Packing, const P: usize, const R: usize>(
    simd: S,
    panel: &[Line],
    first: usize,
    x: [(&[[i32; BLOCK / 2]], &[i32]); P],
    out: &mut [[i64; PANEL]],
) {
    let blocks = x[0].0.len();
    let (scales, rest) = panel.split_at(blocks);
    let (minima, weights) = rest.split_at(if F::MINIMA { blocks } else { 0 });
    let weights = &weights[..blocks * F::LINES];
    let x = x.map(|(x, sums)| (&x[..blocks], &sums[..blocks]));
    let mut wide = [[simd.wide_zero(); R]; P];
    let mut d = [[Line::ZERO; 2]; RUN];
    let mut m = [[Line::ZERO; 2]; RUN];
    for start in (0..blocks).step_by(RUN) {
        let run = start..blocks.min(start + RUN);
        decode(&scales[run.clone()], &mut d);
        if F::MINIMA {
            decode(&minima[run.clone()], &mut m);
        }
        for (b, (d, m)) in run.zip(d.iter().zip(&m)) {
            let weights = &weights[b * F::LINES..][..F::LINES];
            let mut acc: [[S::V; R]; P] =
                core::array::from_fn(|p| [simd.splat(x[p].1[b].wrapping_mul(-F::OFFSET)); R]);
            let x_block: [&[i32; BLOCK / 2]; P] = core::array::from_fn(|p| &x[p].0[b]);
            dots::<S, F, P, R>(simd, weights, first, x_block, &mut acc);
            let scale: [S::H; R] = core::array::from_fn(|r| simd.halves(simd.load(&d[first + r])));
            let minimum: [S::H; R] =
                core::array::from_fn(|r| simd.halves(simd.load(&m[first + r])));
            for p in 0..P {
                for r in 0..R {
                    wide[p][r] = simd.mul_add(wide[p][r], simd.halves(acc[p][r]), scale[r]);
                    if F::MINIMA {
                        let sum = simd.splat_halves(x[p].1[b]);
                        wide[p][r] = simd.mul_add(wide[p][r], sum, minimum[r]);
                    }
                }
            }
        }
    }
    for (wide, out) in wide.into_iter().zip(out) {
        let halves = out.as_chunks_mut::<16>().0;
        for (wide, out) in wide.into_iter().zip(&mut halves[first..]) {
            simd.wide_store(wide, out);
        }
    }
}

/// Adds the products of one block.
#[inline(always)]
fn dots<S: Simd, F: Packing, const P: usize, const R: usize>(
    simd: S,
    weights: &[Line],
    first: usize,
    x: [&[i32; BLOCK / 2]; P],
    acc: &mut [[S::V; R]; P],
) {
    if F::LINES == Bytes::LINES {
        for j in 0..8 {
            let w: [[S::V; 2]; R] =
                core::array::from_fn(|r| simd.bytes(simd.load(&weights[2 * j + first + r])));
            for n in 0..2 {
                step(simd, w.map(|w| w[n]), x, 2 * j + n, acc);
            }
        }
    } else {
        for j in 0..4 {
            let w: [[S::V; 4]; R] =
                core::array::from_fn(|r| simd.nibbles(simd.load(&weights[2 * j + first + r])));
            for n in 0..4 {
                step(simd, w.map(|w| w[n]), x, 4 * j + n, acc);
            }
        }
    }
}

#[inline(always)]
fn step<S: Simd, const P: usize, const R: usize>(
    simd: S,
    w: [S::V; R],
    x: [&[i32; BLOCK / 2]; P],
    pair: usize,
    acc: &mut [[S::V; R]; P],
) {
    for p in 0..P {
        let x = simd.splat(x[p][pair]);
        for r in 0..R {
            acc[p][r] = simd.dot(acc[p][r], w[r], x);
        }
    }
}

/// Scales or minima of some blocks: 32 `f16` become 32 `i32`. Scales are in range, as the importer has
/// seen to; on others the bits are any.
#[inline(always)]
fn decode(lines: &[Line], out: &mut [[Line; 2]; RUN]) {
    for (line, out) in lines.iter().zip(out) {
        let line: &[u16; 32] = bytemuck::cast_ref(line);
        let out: &mut [i32; 32] = bytemuck::cast_mut(out);
        for (out, &bits) in out.iter_mut().zip(line) {
            let bits = u32::from(bits);
            let exponent = bits >> 10 & 31;
            let normal = u32::from(exponent != 0);
            let magnitude = (bits & 1023 | normal << 10).wrapping_shl(exponent - normal);
            let sign = (bits >> 15).wrapping_neg();
            *out = (magnitude ^ sign).wrapping_sub(sign) as i32;
        }
    }
}

/// Fx values of a panel's rows for up to [`TILE`] rows of activations.
pub(super) type Values = [[i32; PANEL]; TILE];

/// Rounds sums to Fx, and adds bias and residual. Yields how many values are saturated.
pub(super) struct Finish<'a> {
    pub(super) sums: &'a Sums,
    /// Of the rows of activations that there are.
    pub(super) shifts: &'a [u8],
    pub(super) bias: Option<&'a [i32; PANEL]>,
    /// Whether `out` holds a residual.
    pub(super) residual: bool,
    pub(super) out: &'a mut Values,
}

impl Kernel for Finish<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> u64 {
        let add = |a: i32, b: i32| sat32(i64::from(a) + i64::from(b));
        let mut count = 0;
        for ((sums, &shift), out) in self.sums.iter().zip(self.shifts).zip(self.out) {
            let shift = 24 - u32::from(shift.min(16));
            let mut values = [0; PANEL];
            for (y, &sum) in values.iter_mut().zip(sums) {
                *y = sat32((sum >> shift).wrapping_add(sum >> (shift - 1) & 1));
            }
            if let Some(bias) = self.bias {
                values.iter_mut().zip(bias).for_each(|(y, &bias)| *y = add(*y, bias));
            }
            if self.residual {
                values.iter_mut().zip(&*out).for_each(|(y, &x)| *y = add(*y, x));
            }
            *out = values;
            count += count_saturated(&values);
        }
        count
    }
}
