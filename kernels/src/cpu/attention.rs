//! From Scores to Mix, for a few query rows that share a head of keys and values.
//!
//! A query row is one query head of one position. Two passes over the positions, as the maximum
//! comes first: dot products of 16 positions at once, then probabilities, then the mix of values
//! (see `mix`).

#![expect(clippy::needless_range_loop, reason = "indices of registers: the loops are unrolled")]

use super::cache::{Layer, UNIT, v_width};
use super::mix::{FinishMix, Mix, Scale};
use super::simd::{Isa, Kernel, Line, Simd};
use crate::fx::exp2;

/// Query rows of one call.
pub(super) const ROWS: usize = 8;

/// Limit of a score.
const LIMIT: i64 = 1 << 30;

/// Probabilities of 32 positions, in pairs.
pub(super) type Block = [i32; UNIT / 2];

/// Working memory for [`ROWS`] query rows.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// `[row][position]`: dot products, then scores.
    scores: Vec<Line>,
    /// `[row][block]`, pairs of positions.
    probs: Vec<Block>,
    /// The same times 2^excess.
    scaled: Vec<Block>,
    /// Whether all rows' scaled probabilities of a block will do.
    fits: Vec<bool>,
    /// `[row][element]`.
    sums: Vec<[i64; 16]>,
}

impl Scratch {
    /// Bytes for `positions` positions.
    pub(super) fn size(positions: usize) -> u64 {
        (positions.div_ceil(UNIT) * UNIT * 8 * ROWS) as u64
    }

    /// Makes room; what is there may stay.
    fn reserve(&mut self, blocks: usize, width: usize) {
        self.scores.resize(self.scores.len().max(ROWS * blocks * 2), Line::ZERO);
        self.probs.resize(self.probs.len().max(ROWS * blocks), [0; UNIT / 2]);
        self.scaled.resize(self.scaled.len().max(ROWS * blocks), [0; UNIT / 2]);
        self.fits.clear();
        self.fits.resize(blocks, true);
        self.sums.resize(self.sums.len().max(ROWS * width), [0; 16]);
    }
}

/// A query row.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    /// Pairs of its elements.
    pub(super) q: &'a [i32],
    pub(super) shift: u8,
    /// Positions that it sees.
    pub(super) positions: usize,
}

/// Attention of up to [`ROWS`] query rows over head `g`; `out` has one row of Fx for each. Yields
/// how many are saturated.
pub(super) fn attend(
    isa: Isa,
    cache: Layer<'_>,
    g: usize,
    scale: i32,
    queries: &[Query<'_>],
    scratch: &mut Scratch,
    out: &mut [&mut [i32]],
) -> u64 {
    let positions = queries.iter().map(|q| q.positions).max().unwrap_or(0);
    let (blocks, width) = (positions.div_ceil(UNIT), v_width(&cache.shape));
    scratch.reserve(blocks, width);
    let Scratch { scores, probs, scaled, fits, sums } = scratch;
    let scores = &mut scores[..queries.len() * blocks * 2];
    let probs = &mut probs[..queries.len() * blocks];
    let scaled = &mut scaled[..queries.len() * blocks];
    let sums = &mut sums[..queries.len() * width];
    isa.run(Dots { cache, g, queries, blocks, out: scores });
    let mut totals = [0; ROWS];
    let rows = scores.chunks_exact_mut(blocks * 2);
    let rows = rows.zip(probs.chunks_exact_mut(blocks)).zip(scaled.chunks_exact_mut(blocks));
    for ((query, total), ((scores, probs), scaled)) in queries.iter().zip(&mut totals).zip(rows) {
        *total = isa.run(Softmax { cache, g, scale, query, scores, probs });
        isa.run(Scale { cache, g, positions, probs, scaled, fits });
    }
    isa.run(Mix { cache, g, positions, blocks, probs, scaled, fits, out: sums });
    let rows = sums.chunks_exact(width).zip(totals).zip(out);
    rows.map(|((sums, total), out)| isa.run(FinishMix { sums: sums.as_flattened(), total, out }))
        .sum()
}

/// Dot products of queries with the keys of all blocks.
struct Dots<'a> {
    cache: Layer<'a>,
    g: usize,
    queries: &'a [Query<'a>],
    blocks: usize,
    /// `[query][block][2]`.
    out: &'a mut [Line],
}

impl Kernel for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        for block in 0..self.blocks {
            let mut at = 0;
            while at < self.queries.len() {
                at += match self.queries.len() - at {
                    8.. if S::LARGE => self.part::<S, 8>(simd, block, at),
                    4.. => self.part::<S, 4>(simd, block, at),
                    3 => self.part::<S, 3>(simd, block, at),
                    2 => self.part::<S, 2>(simd, block, at),
                    _ => self.part::<S, 1>(simd, block, at),
                };
            }
        }
    }
}

impl Dots<'_> {
    #[inline(always)]
    fn part<S: Simd, const P: usize>(&mut self, simd: S, block: usize, at: usize) -> usize {
        if S::LARGE {
            self.tile::<S, P, 2>(simd, block, at, 0);
        } else {
            self.tile::<S, P, 1>(simd, block, at, 0);
            self.tile::<S, P, 1>(simd, block, at, 1);
        }
        P
    }

    #[inline(always)]
    fn tile<S: Simd, const P: usize, const R: usize>(
        &mut self,
        simd: S,
        block: usize,
        at: usize,
        first: usize,
    ) {
        let (keys, _) = self.cache.keys(block, self.g);
        let keys = keys.as_chunks::<2>().0;
        let mut q: [&[i32]; P] = [&[]; P];
        for p in 0..P {
            q[p] = &self.queries[at + p].q[..keys.len()];
        }
        let mut acc = [[simd.splat(0); R]; P];
        for (j, keys) in keys.iter().enumerate() {
            let mut k = [simd.splat(0); R];
            for r in 0..R {
                k[r] = simd.load(&keys[first + r]);
            }
            for p in 0..P {
                let q = simd.splat(q[p][j]);
                for r in 0..R {
                    acc[p][r] = simd.dot(acc[p][r], k[r], q);
                }
            }
        }
        for (p, acc) in acc.into_iter().enumerate() {
            let out = &mut self.out[((at + p) * self.blocks + block) * 2 + first..][..R];
            for (acc, out) in acc.into_iter().zip(out) {
                simd.store(acc, out);
            }
        }
    }
}

/// Scores, maximum, probabilities and their sum of one query row.
struct Softmax<'a> {
    cache: Layer<'a>,
    g: usize,
    scale: i32,
    query: &'a Query<'a>,
    /// Dot products; overwritten.
    scores: &'a mut [Line],
    probs: &'a mut [Block],
}

impl Kernel for Softmax<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> u32 {
        let positions = self.query.positions;
        let scores: &mut [i32] = bytemuck::cast_slice_mut(self.scores);
        let (units, _) = scores.as_chunks_mut::<UNIT>();
        let q_shift = i32::from(self.query.shift.min(20));
        for (block, scores) in units.iter_mut().enumerate() {
            let (_, shifts) = self.cache.keys(block, self.g);
            for (score, &shift) in scores.iter_mut().zip(shifts) {
                *score = finish_score(
                    i64::from(*score) * i64::from(self.scale),
                    38 - q_shift - i32::from(shift),
                );
            }
        }
        let max = scores[..positions].iter().fold(i32::MIN, |max, &s| max.max(s));
        let probs: &mut [u16] = bytemuck::cast_slice_mut(self.probs.as_flattened_mut());
        let mut total = 0u32;
        for (p, &score) in probs[..positions].iter_mut().zip(&scores[..positions]) {
            *p = probability(score, max);
            total = total.wrapping_add(u32::from(*p));
        }
        probs[positions..].fill(0);
        total
    }
}

/// The score, given the scaled dot product, below 2^62, and `e` from -2 on (-1 on quantized
/// values).
#[inline(always)]
pub(super) fn finish_score(p: i64, e: i32) -> i32 {
    // Half up by one bit more, which also covers a shift by 0.
    let rounded = ((p << 1) >> e.max(0)).wrapping_add(1) >> 1;
    let clamped = rounded.clamp(-LIMIT, LIMIT);
    (clamped << (-e).max(0)).clamp(-LIMIT, LIMIT) as i32
}

/// As in the reference; `score` is at most `max`, and less than 2^31 below it or by just as much.
#[inline(always)]
pub(super) fn probability(score: i32, max: i32) -> u16 {
    let d = score.wrapping_sub(max);
    let n = -(d >> 16) as u32;
    // Half up by one bit more; from a count of 31 on nothing is left, and rounds to 0.
    ((exp2((d as u32) << 16) >> (n + 15).min(31)).wrapping_add(1) >> 1) as u16
}
