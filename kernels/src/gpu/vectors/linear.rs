//! Cases of the two linear kernels.

use super::draw::{Draw, Rng, Scales};
use super::{Span, Written, bits, block_sums, case, quads, table_words, unwritten};
use crate::Format;
use crate::gpu::case::Case;
use crate::gpu::kernel::{Kernel, Tuning};
use crate::reference::linear;
use std::ops::Range;

/// A piece of a matrix, and what its rows get added.
#[derive(Clone, Debug)]
pub(super) struct Linear {
    pub(super) format: Format,
    /// Rows of the whole matrix: the stride of the output.
    pub(super) n: usize,
    /// The piece that is bound.
    pub(super) piece: Range<usize>,
    pub(super) cols: usize,
    pub(super) bias: bool,
    pub(super) residual: bool,
    /// Row 0 of the output is the first row with a head.
    pub(super) packed: bool,
    pub(super) weights: Draw,
    pub(super) scales: Scales,
    pub(super) x: Draw,
    /// The shift of every row, if it isn't drawn: at most 16.
    pub(super) shift: Option<u32>,
    /// Weights and activations of every position, if they aren't drawn.
    pub(super) given: Option<(Vec<u8>, Vec<i16>)>,
}

/// Columns of [`Linear::edges`]: most activations are as large as they can be, a few are small.
const EDGE_COLS: usize = 544;

impl Linear {
    /// One with random values.
    pub(super) fn new(format: Format, n: usize, cols: usize) -> Self {
        Self {
            format,
            n,
            piece: 0..n,
            cols,
            bias: false,
            residual: false,
            packed: false,
            weights: Draw::Any,
            scales: Scales::Any,
            x: Draw::Any,
            shift: None,
            given: None,
        }
    }

    /// Rows whose results are at the limits of 32 bits, and one beside them.
    pub(super) fn edges(format: Format) -> Self {
        // Scales of 2^8 or 2^13 and a shift of 16 make `Σ w·q` or 32 times it the result.
        let (scale, min, weights, unit) = match format {
            Format::Q8_0 => (0x0100u16, None, -128..=127, 1),
            Format::Q4_1 => (0x1000, Some(0x9c00u16), -8..=7, 32),
            _ => (0x1000, None, -8..=7, 32),
        };
        let q = |i: usize| {
            if i < 520 {
                32_767
            } else if i < 532 {
                256
            } else {
                1
            }
        };
        let x: Vec<i16> = (0..EDGE_COLS).map(q).collect();
        let results =
            [-1i64 << 31, (-1 << 31) + unit, (-1 << 31) - unit, 1 << 31, (1 << 31) - unit];
        let mut bytes = Vec::new();
        for result in results {
            let mut rest = result / unit;
            let mut weight = |q: &i16| {
                let w = (rest / i64::from(*q)).clamp(*weights.start(), *weights.end());
                rest -= w * i64::from(*q);
                w
            };
            let row: Vec<i64> = x.iter().map(&mut weight).collect();
            for block in row.as_chunks::<32>().0 {
                bytes.extend(scale.to_le_bytes());
                bytes.extend(min.iter().flat_map(|min| min.to_le_bytes()));
                let nibbles = |j: usize| (block[j] + 8) | ((block[j + 16] + 8) << 4);
                match format {
                    Format::Q8_0 => bytes.extend(block.map(|w| w as u8)),
                    _ => bytes.extend((0..16).map(|j| nibbles(j) as u8)),
                }
            }
        }
        let (shift, given) = (Some(16), Some((bytes, x)));
        Self { shift, given, ..Self::new(format, results.len(), EDGE_COLS) }
    }

    /// The case for [`Kernel::Linear`] or [`Kernel::LinearBatch`].
    pub(super) fn case(
        &self,
        rng: &mut Rng,
        span: Span,
        (kernel, tuning): (Kernel, Tuning),
    ) -> Case {
        let Self { format, n, cols, .. } = *self;
        let rows = self.piece.len();
        let count = span.count as usize;
        let (weights, mut x) = match &self.given {
            Some((weights, x)) => (weights.clone(), x.repeat(count)),
            None => (rng.weights(format, (rows, cols), (self.weights, self.scales)), Vec::new()),
        };
        while x.len() < count * cols {
            let bits = if self.x == Draw::Any { rng.up_to(15) } else { 15 };
            x.extend(rng.quantized(cols, self.x, bits));
        }
        let mut shift = || self.shift.unwrap_or_else(|| rng.below(17));
        let shifts: Vec<u32> = (0..count).map(|_| shift()).collect();
        let bias = self.bias.then(|| rng.fx(n, Draw::Any));
        let residual = self.residual.then(|| rng.fx(count * n, Draw::Any));
        let base = if self.packed { span.heads_from as usize } else { 0 };
        let before = unwritten((count - base) * n);
        let mut expected = before.clone();
        let mut all = Vec::new();
        for row in span.rows() {
            let mut y = vec![0; rows];
            let of =
                |v: &Vec<i32>, at: usize| v[at + self.piece.start..at + self.piece.end].to_vec();
            linear::forward(
                format,
                &weights,
                &x[row * cols..][..cols],
                shifts[row] as u8,
                bias.as_ref().map(|b| of(b, 0)).as_deref(),
                residual.as_ref().map(|r| of(r, row * n)).as_deref(),
                &mut y,
            );
            let at = (row - base) * n + self.piece.start;
            expected[at..at + rows].copy_from_slice(&bits(&y));
            all.extend(y);
        }
        let mut written = Written::new(before, expected);
        written.saturated(&all);
        let absent = vec![0; 4];
        let (flag, piece) = (u32::from, &self.piece);
        let mut op = vec![rows as u32, n as u32, piece.start as u32, cols as u32];
        op.extend([self.bias, self.residual, span.heads_only, self.packed].map(flag));
        let (tile_rows, tile_positions) = tuning.tile(kernel);
        let positions = span.rows().len() as u32;
        let groups = [(rows as u32).div_ceil(tile_rows), positions.div_ceil(tile_positions), 1];
        case(
            format!("{:?}, {span:?}", Self { given: None, ..self.clone() }),
            kernel.tuned(Some(format), tuning),
            span,
            op,
            vec![
                table_words(&weights),
                quads(&x),
                block_sums(&x),
                shifts,
                bias.map_or_else(|| absent.clone(), |b| bits(&b)),
                residual.map_or(absent, |r| bits(&r)),
            ],
            written,
            groups,
        )
    }
}
