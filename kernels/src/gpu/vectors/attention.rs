//! Cases of the attention's kernels: Rope, Scores, Mix, MixFinish.

use super::draw::{Draw, Rng};
use super::{Span, Written, bits, case, head_rows, row_words, unwritten};
use crate::Heads;
use crate::gpu::buffers::TILE;
use crate::gpu::case::Case;
use crate::gpu::kernel::Kernel;
use crate::reference::{mix, probs, quantize, rope, scores};

/// Rope, if anything is rotated, and Quantize a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rope {
    pub(super) heads: usize,
    pub(super) len: usize,
    pub(super) rotated: usize,
    pub(super) bits: u32,
    /// Rows go to the place of their position, as those of K and V do.
    pub(super) at_position: bool,
    pub(super) x: Draw,
    /// Cosines and sines; honest ones make pairs whose squares sum to 1.
    pub(super) table: Draw,
}

impl Rope {
    pub(super) fn case(self, rng: &mut Rng, span: Span) -> Case {
        let Self { heads, len, rotated, bits: width, at_position, .. } = self;
        let n = heads * len;
        let x: Vec<i32> = (0..span.count).flat_map(|_| rng.fx(n, self.x)).collect();
        let positions = (span.first + span.count) as usize;
        let table = rng.values((positions * rotated).max(4), self.table, 1 << 30);
        let words = row_words(heads, len);
        let rows = if at_position { positions } else { span.count as usize };
        let before = unwritten(rows * words);
        let mut expected = before.clone();
        let mut all = Vec::new();
        for row in span.rows() {
            let position = span.first as usize + row;
            let mut y = vec![0; n];
            let angles = &table[position * rotated..][..rotated];
            rope::forward(&x[row * n..][..n], len, rotated, angles, &mut y);
            let (mut q, mut shifts) = (vec![0; n], vec![0; heads]);
            quantize::forward(&y, heads, width, &mut q, &mut shifts);
            let at = if at_position { position } else { row } * words;
            // The row's end is padding that nobody reads.
            let written = head_rows(&q, &shifts, heads);
            let end = heads * (super::head_words(len) + 1);
            expected[at..at + end].copy_from_slice(&written[..end]);
            if rotated > 0 {
                all.extend(y);
            }
        }
        let mut written = Written::new(before, expected);
        written.saturated(&all);
        let flags = [at_position, span.heads_only].map(u32::from);
        let op = [heads, len, rotated].map(|n| n as u32).into_iter().chain([width]).chain(flags);
        case(
            format!("{self:?}, {span:?}"),
            Kernel::Rope.plain(),
            span,
            op.collect(),
            vec![bits(&x), bits(&table)],
            written,
            [heads as u32, span.rows().len() as u32, 1],
        )
    }
}

/// Scores or Mix: a batch against the K or V rows of all positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    pub(super) heads: usize,
    pub(super) kv: usize,
    pub(super) len: usize,
    /// Constant of Scores.
    pub(super) scale: u32,
    /// Tiles of the buffers beyond those that the batch sees.
    pub(super) spare_tiles: usize,
    /// q in Scores, scores in Mix.
    pub(super) x: Draw,
    /// K or V.
    pub(super) rows: Draw,
    /// The shift of every row, if it isn't drawn.
    pub(super) shift: Option<u8>,
}

impl Attention {
    /// One with random values.
    pub(super) fn new(heads: usize, kv: usize, len: usize) -> Self {
        let scale = (2_399_655_057_223_005_247 / len as u64).isqrt() as u32;
        let (x, rows) = (Draw::Any, Draw::Any);
        Self { heads, kv, len, scale, spare_tiles: 0, x, rows, shift: None }
    }

    fn shape(self) -> Heads {
        Heads { heads: self.heads, kv: self.kv, len: self.len }
    }

    fn tiles(self, span: Span) -> usize {
        span.positions().div_ceil(TILE) + self.spare_tiles
    }

    /// Quantized rows of `heads` heads.
    fn quantized(
        self,
        rng: &mut Rng,
        (rows, heads): (usize, usize),
        draw: Draw,
        bits: u32,
    ) -> (Vec<i16>, Vec<u8>) {
        let mut values = Vec::with_capacity(rows * heads * self.len);
        for _ in 0..rows * heads {
            let bits = if draw == Draw::Any { rng.up_to(bits) } else { bits };
            values.extend(rng.quantized(self.len, draw, bits));
        }
        let largest = 31 - bits;
        let mut shift = || self.shift.map_or_else(|| rng.below(largest + 1), u32::from);
        let shifts = (0..rows * heads).map(|_| shift().min(largest) as u8).collect();
        (values, shifts)
    }

    fn grid(self, span: Span) -> [u32; 3] {
        let queries = span.rows().len() * self.heads / self.kv;
        [span.positions().div_ceil(TILE), queries.div_ceil(4), self.kv].map(|n| n as u32)
    }

    fn op(self, span: Span, scale: Option<u32>) -> Vec<u32> {
        let tiles = self.tiles(span);
        let mut op: Vec<u32> = [self.heads, self.kv, self.len].map(|n| n as u32).to_vec();
        op.extend(scale);
        op.extend([(tiles * TILE) as u32, tiles as u32, span.heads_only.into()]);
        op
    }

    /// Scores.
    pub(super) fn scores(self, rng: &mut Rng, span: Span) -> Case {
        let Self { heads, kv, len, scale, .. } = self;
        let (count, positions, tiles) = (span.count as usize, span.positions(), self.tiles(span));
        let (q, q_shifts) = self.quantized(rng, (count, heads), self.x, 12);
        let (k, k_shifts) = self.quantized(rng, (positions, kv), self.rows, 11);
        let before = [unwritten(count * heads * tiles * TILE), unwritten(count * heads * tiles)];
        let [mut all_scores, mut maxima] = before.clone();
        for row in span.rows() {
            let seen = span.first as usize + row + 1;
            let mut out = vec![0; heads * seen];
            let q = &q[row * heads * len..][..heads * len];
            let q_shifts = &q_shifts[row * heads..][..heads];
            let (k, k_shifts) = (&k[..seen * kv * len], &k_shifts[..seen * kv]);
            scores::forward(&self.shape(), scale, q, q_shifts, k, k_shifts, &mut out);
            for (h, out) in out.chunks_exact(seen).enumerate() {
                let at = (row * heads + h) * tiles;
                all_scores[at * TILE..][..seen].copy_from_slice(&bits(out));
                for (tile, out) in out.chunks(TILE).enumerate() {
                    maxima[at + tile] = out.iter().copied().max().unwrap_or(0) as u32;
                }
            }
        }
        let [s, m] = before;
        let mut written = Written::new(s, all_scores);
        written.push(m, maxima);
        case(
            format!("{self:?}, {span:?}"),
            Kernel::Scores.plain(),
            span,
            self.op(span, Some(scale)),
            vec![head_rows(&q, &q_shifts, heads), head_rows(&k, &k_shifts, kv)],
            written,
            self.grid(span),
        )
    }

    /// Mix.
    pub(super) fn mix(self, rng: &mut Rng, span: Span) -> Case {
        self.mix_of(rng, span, |rng, _, seen| {
            let limit = if self.x == Draw::Any { 1 << rng.up_to(30) } else { 1 << 30 };
            let mut scores = rng.values(seen, self.x, limit);
            if self.x == Draw::Any && rng.coin() {
                // One maximum, anywhere.
                scores.iter_mut().for_each(|score| *score = (*score).min(limit - 1));
                scores[rng.below(seen as u32) as usize] = limit;
            }
            scores
        })
    }

    /// Mix of all differences of scores that have a probability: a head each 2^16 of them.
    pub(super) fn every_fraction(rng: &mut Rng) -> Case {
        let heads = Attention { rows: Draw::Highest, shift: Some(0), ..Self::new(16, 1, 2) };
        heads.mix_of(rng, Span::all(65_535, 1), |_, h, seen| {
            let below = |i: usize| if i == 0 { 0 } else { -((h * seen + i) as i32) };
            (0..seen).map(below).collect()
        })
    }

    /// Mix of what `scores` gives for a head and its number of positions.
    fn mix_of(
        self,
        rng: &mut Rng,
        span: Span,
        mut scores: impl FnMut(&mut Rng, usize, usize) -> Vec<i32>,
    ) -> Case {
        let Self { heads, kv, len, .. } = self;
        let (count, positions, tiles) = (span.count as usize, span.positions(), self.tiles(span));
        let (v, v_shifts) = self.quantized(rng, (positions, kv), self.rows, 12);
        let mut all_scores = unwritten(count * heads * tiles * TILE);
        let mut maxima = unwritten(count * heads * tiles);
        let before = [unwritten(count * heads * tiles), unwritten(2 * count * heads * tiles * len)];
        let [mut sums, mut parts] = before.clone();
        for (row, h) in span.rows().flat_map(|row| (0..heads).map(move |h| (row, h))) {
            let seen = span.first as usize + row + 1;
            let s = scores(rng, h, seen);
            let at = (row * heads + h) * tiles;
            all_scores[at * TILE..][..seen].copy_from_slice(&bits(&s));
            let max = s.iter().copied().max().unwrap_or(0);
            let g = self.shape().kv_of(h);
            for (tile, scores) in s.chunks(TILE).enumerate() {
                maxima[at + tile] = scores.iter().copied().max().unwrap_or(0) as u32;
                let p: Vec<u16> = scores.iter().map(|s| probs::prob(*s, max)).collect();
                sums[at + tile] = p.iter().map(|p| u32::from(*p)).sum();
                let rows = (tile * TILE..).map(|s| s * kv + g);
                let mut acc = vec![0i128; len];
                for (p, row) in p.iter().zip(rows) {
                    for (acc, v) in acc.iter_mut().zip(&v[row * len..][..len]) {
                        *acc = mix::unit(*acc, *p, *v, v_shifts[row]);
                    }
                }
                let words = acc.iter().flat_map(|acc| [*acc as u32, (*acc >> 32) as u32]);
                let at = 2 * (at + tile) * len;
                parts[at..at + 2 * len].copy_from_slice(&words.collect::<Vec<_>>());
            }
        }
        let [s, p] = before;
        let mut written = Written::new(s, sums);
        written.push(p, parts);
        case(
            format!("{self:?}, {span:?}"),
            Kernel::Mix.plain(),
            span,
            self.op(span, None),
            vec![all_scores, maxima, head_rows(&v, &v_shifts, kv)],
            written,
            self.grid(span),
        )
    }

    /// MixFinish, and its Quantize: sums and parts that add up to what Mix can yield.
    pub(super) fn finish(self, rng: &mut Rng, span: Span) -> Case {
        let Self { heads, len, .. } = self;
        let (count, tiles) = (span.count as usize, self.tiles(span));
        let mut sums = unwritten(count * heads * tiles);
        let mut parts = unwritten(2 * count * heads * tiles * len);
        let mut y = vec![0; count * heads * len];
        for (row, h) in span.rows().flat_map(|row| (0..heads).map(move |h| (row, h))) {
            let seen = span.first as usize + row + 1;
            let at = (row * heads + h) * tiles;
            // The largest score has probability 1, which is 2^14.
            let largest = rng.below(seen as u32) as usize / TILE;
            let (mut sum, mut acc) = (0, vec![0i64; len]);
            for tile in 0..seen.div_ceil(TILE) {
                let room = ((seen - tile * TILE).min(TILE) as i32) << 14;
                let most = rng.values(1, self.x, room)[0].unsigned_abs();
                let most = if tile == largest { most.max(1 << 14) } else { most };
                sums[at + tile] = most;
                sum += most;
                let limit = (i64::from(most) * 4095) << 19;
                let values = rng.values(len, self.rows, i32::MAX);
                let shift = if self.rows == Draw::Any { rng.below(31) } else { 0 };
                for (i, v) in values.into_iter().enumerate() {
                    // ±i32::MAX stands for ±limit.
                    let part = (i128::from(v) * i128::from(limit) / i128::from(i32::MAX)) >> shift;
                    let part = part as i64;
                    acc[i] += part;
                    let at = 2 * ((at + tile) * len + i);
                    parts[at..at + 2].copy_from_slice(&[part as u32, (part >> 32) as u32]);
                }
            }
            for (y, acc) in y[(row * heads + h) * len..].iter_mut().zip(acc) {
                *y = mix::finalize(i128::from(acc), sum);
            }
        }
        let written = Written::quantized(unwritten(y.len()), &y, span);
        case(
            format!("{self:?}, {span:?}"),
            Kernel::MixFinish.plain(),
            span,
            vec![heads as u32, len as u32, tiles as u32, span.heads_only.into()],
            vec![sums, parts],
            written,
            [span.rows().len() as u32, 1, 1],
        )
    }
}
