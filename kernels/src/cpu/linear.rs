//! Linear: a panel of 32 rows times a few rows of activations.
//!
//! The dot products of a block fit 32 bits (at most 32 · 128 · 2^15); each is widened once, by the
//! product with its scale, into sums of 64 bits. The importer has proved that they are exact, in
//! any order. `D · (w − 8)` starts the block's sum at `−8 Σ q`.

use super::activations::{Activations, Group, Pairs};
use super::elementwise::count;
use super::pack::{Bytes, Nibbles, NibblesAndMinima, PANEL, Packed, Packing};
use super::simd::{Kernel, Line, Simd};
use crate::Format;
use crate::fx::sat32;
use std::ops::Range;

/// Most rows of activations that one call takes.
pub(super) const TILE: usize = 8;

/// Lines that are fetched ahead when there is little to compute with each.
const AHEAD: usize = 96;

/// The exact sums of a panel's rows for up to [`TILE`] rows of activations.
pub(super) type Sums = [[i64; PANEL]; TILE];

/// Computes [`Sums`] of consecutive rows of one group; those beyond `rows` keep what they were.
pub(super) struct Accumulate<'a> {
    pub(super) matrix: &'a Packed,
    pub(super) panel: usize,
    pub(super) x: &'a Activations,
    pub(super) rows: Range<usize>,
    /// Whether the panel still comes from memory.
    pub(super) fetch: bool,
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
    fn format<S: Simd, F: Packing>(self, simd: S) {
        let panel = self.matrix.panel(self.panel);
        let (group, first) = self.x.place(self.rows.start);
        let x = self.x.group(group);
        let (n, mut fetch) = (self.rows.len(), self.fetch);
        let mut at = 0;
        while at < n {
            let (first, out) = (first + at, &mut self.out[at..]);
            at += match n - at {
                8.. if S::LARGE => part::<S, F, 8>(simd, panel, x, (first, fetch), out),
                4.. => part::<S, F, 4>(simd, panel, x, (first, fetch), out),
                2.. => part::<S, F, 2>(simd, panel, x, (first, fetch), out),
                _ => part::<S, F, 1>(simd, panel, x, (first, fetch), out),
            };
            fetch = false;
        }
    }
}

/// `P` rows of a group, from `first` on. Yields `P`.
#[inline(always)]
fn part<S: Simd, F: Packing, const P: usize>(
    simd: S,
    panel: &[Line],
    x: Group<'_>,
    (first, fetch): (usize, bool),
    out: &mut [[i64; PANEL]],
) -> usize {
    if S::LARGE {
        tile::<S, F, P, 2>(simd, panel, 0, x, (first, fetch), out);
    } else {
        tile::<S, F, P, 1>(simd, panel, 0, x, (first, fetch), out);
        tile::<S, F, P, 1>(simd, panel, 1, x, (first, false), out);
    }
    P
}

/// `R` vectors of rows from vector `half` of the panel on, times `P` rows of activations.
#[inline(always)]
fn tile<S: Simd, F: Packing, const P: usize, const R: usize>(
    simd: S,
    panel: &[Line],
    half: usize,
    x: Group<'_>,
    (first, fetch): (usize, bool),
    out: &mut [[i64; PANEL]],
) {
    let mut wide = [[simd.wide_zero(); R]; P];
    let x = x.pairs.chunks_exact(x.size).zip(x.sums.chunks_exact(x.size));
    for (lines, (x, sums)) in panel.chunks_exact(F::LINES).zip(x) {
        let weights = &lines[F::LINES - F::WEIGHTS..];
        if fetch {
            // The next panel follows, so this also reaches ahead of the panel's end.
            simd.prefetch(lines, AHEAD);
        }
        let (Some(x), Some(sums)) =
            (x[first..].first_chunk::<P>(), sums[first..].first_chunk::<P>())
        else {
            return;
        };
        let mut acc = [[simd.splat(0); R]; P];
        if F::OFFSET != 0 {
            for p in 0..P {
                acc[p] = [simd.splat(sums[p].wrapping_mul(-F::OFFSET)); R];
            }
        }
        dots::<S, F, P, R>(simd, weights, half, x, &mut acc);
        let d = scales_of::<S, R>(simd, &lines[0], half);
        let m = scales_of::<S, R>(simd, &lines[if F::MINIMA { 1 } else { 0 }], half);
        for p in 0..P {
            let sum = simd.splat_halves(sums[p]);
            for r in 0..R {
                let mut w = simd.mul_add(wide[p][r], simd.halves(acc[p][r]), d[r]);
                if F::MINIMA {
                    w = simd.mul_add(w, sum, m[r]);
                }
                wide[p][r] = w;
            }
        }
    }
    for (wide, out) in wide.into_iter().zip(out) {
        let halves = out.as_chunks_mut::<16>().0;
        for (wide, out) in wide.into_iter().zip(&mut halves[half..]) {
            simd.wide_store(wide, out);
        }
    }
}

/// `R` vectors of a line of scales or minima.
#[inline(always)]
fn scales_of<S: Simd, const R: usize>(simd: S, line: &Line, half: usize) -> [S::H; R] {
    let line: &[[u16; 16]; 2] = bytemuck::cast_ref(line);
    let mut out = [simd.splat_halves(0); R];
    for r in 0..R {
        out[r] = simd.halves(simd.scales(&line[half + r]));
    }
    out
}

/// Adds the products of one block.
#[inline(always)]
fn dots<S: Simd, F: Packing, const P: usize, const R: usize>(
    simd: S,
    weights: &[Line],
    half: usize,
    x: &[Pairs; P],
    acc: &mut [[S::V; R]; P],
) {
    // Spelled out, because the compiler must not leave a loop here: vectors have to stay in
    // registers.
    if F::WEIGHTS == Bytes::WEIGHTS {
        for j in 0..8 {
            let mut w = [[simd.splat(0); R]; 2];
            for r in 0..R {
                [w[0][r], w[1][r]] = simd.bytes(simd.load(&weights[2 * j + half + r]));
            }
            step(simd, w[0], x, 2 * j, acc);
            step(simd, w[1], x, 2 * j + 1, acc);
        }
    } else {
        for j in 0..4 {
            let mut w = [[simd.splat(0); R]; 4];
            for r in 0..R {
                [w[0][r], w[1][r], w[2][r], w[3][r]] =
                    simd.nibbles(simd.load(&weights[2 * j + half + r]));
            }
            step(simd, w[0], x, 4 * j, acc);
            step(simd, w[1], x, 4 * j + 1, acc);
            step(simd, w[2], x, 4 * j + 2, acc);
            step(simd, w[3], x, 4 * j + 3, acc);
        }
    }
}

/// One pair of columns.
#[inline(always)]
fn step<S: Simd, const P: usize, const R: usize>(
    simd: S,
    w: [S::V; R],
    x: &[Pairs; P],
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
        let rows = self.shifts.len();
        let mut peaks = [0; PANEL];
        for ((sums, &shift), out) in self.sums.iter().zip(self.shifts).zip(&mut *self.out) {
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
            for (peak, y) in peaks.iter_mut().zip(&values) {
                *peak = y.unsigned_abs().max(*peak);
            }
            *out = values;
        }
        let saturated = peaks.iter().any(|&peak| peak >= i32::MAX.unsigned_abs());
        if saturated { count(self.out[..rows].as_flattened()) } else { 0 }
    }
}
