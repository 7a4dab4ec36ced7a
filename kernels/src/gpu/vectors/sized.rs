//! Cases in the sizes of a model: few rows of each matrix, with all their columns, and one long
//! context.

use super::attention::{Attention, Rope};
use super::draw::{Draw, Rng, Scales};
use super::linear::Linear;
use super::rows::{Embed, RmsNorm, Sample, SwiGlu};
use super::{FORMATS, Span};
use crate::Format;
use crate::decoder::{self, Decoder};
use crate::gpu::case::Case;
use crate::gpu::kernel::{Kernel, Tuning};
use crate::reference::Sampling;
use std::collections::BTreeSet;

/// Rows of a matrix that are computed: more than a tile of any kernel, and no whole number of them.
const ROWS: usize = 70;
/// Positions of a batch: the same.
const POSITIONS: u32 = 18;
/// Most positions of a context, and most values of its K.
const CONTEXT_MAX: usize = 2048;
const VALUES_MAX: usize = 1 << 20;

/// A matrix of the model. The order is that of the derived comparison and of no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct MatrixSize {
    /// Its code.
    format: u8,
    rows: usize,
    cols: usize,
    bias: bool,
    residual: bool,
    /// It is the head's.
    packed: bool,
}

/// What of a model decides how its kernels are dispatched.
#[derive(Clone, Debug)]
pub(in crate::gpu) struct Sizes {
    width: usize,
    hidden: usize,
    heads: usize,
    kv: usize,
    head_len: usize,
    rotated: usize,
    vocabulary: usize,
    context: usize,
    eps: u32,
    score_scale: u32,
    embedding: Format,
    matrices: BTreeSet<MatrixSize>,
    exponents: BTreeSet<i32>,
}

impl Sizes {
    /// Those of a model.
    pub(in crate::gpu) fn of(d: &Decoder) -> Self {
        let size = |l: &decoder::Linear, residual, packed| MatrixSize {
            format: l.weights.format as u8,
            rows: l.weights.rows,
            cols: l.weights.cols,
            bias: l.bias.is_some(),
            residual,
            packed,
        };
        let mut matrices = BTreeSet::from([size(&d.output, false, true)]);
        let mut exponents = BTreeSet::from([d.output_norm.exponent]);
        for layer in &d.layers {
            let plain =
                [&layer.attn_k, &layer.attn_v, &layer.attn_q, &layer.ffn_gate, &layer.ffn_up];
            matrices.extend(plain.map(|l| size(l, false, false)));
            matrices.extend([&layer.attn_output, &layer.ffn_down].map(|l| size(l, true, false)));
            exponents.extend([layer.attn_norm.exponent, layer.ffn_norm.exponent]);
        }
        Self {
            width: d.width,
            hidden: d.hidden,
            heads: d.heads,
            kv: d.kv,
            head_len: d.head_len,
            rotated: d.rotated,
            vocabulary: d.vocabulary,
            context: d.context,
            eps: d.eps,
            score_scale: d.score_scale,
            embedding: d.token_embd.format,
            matrices,
            exponents,
        }
    }

    /// Small ones, with every format.
    pub(in crate::gpu) fn small() -> Self {
        let matrix = |format: Format| MatrixSize {
            format: format as u8,
            rows: 150,
            cols: 288,
            bias: true,
            residual: true,
            packed: false,
        };
        Self {
            width: 288,
            hidden: 544,
            heads: 6,
            kv: 2,
            head_len: 48,
            rotated: 32,
            vocabulary: 1000,
            context: 600,
            eps: 168,
            score_scale: 1 << 27,
            embedding: Format::Q4_0,
            matrices: FORMATS.map(matrix).into(),
            exponents: [30].into(),
        }
    }

    /// The cases, as a device with this tuning runs them.
    pub(in crate::gpu) fn cases(&self, tuning: Tuning) -> Vec<Case> {
        let rng = &mut Rng::new(0x5e1f_7e57);
        let mut cases = self.rows(rng);
        cases.extend(self.attention(rng));
        cases = cases.into_iter().map(|case| case.tuned(tuning)).collect();
        for matrix in &self.matrices {
            cases.extend(matrix.few(rng, tuning));
            cases.extend(matrix.many(rng, tuning));
        }
        cases
    }

    /// The kernels that work on one row at a time.
    fn rows(&self, rng: &mut Rng) -> Vec<Case> {
        let (one, many) = (Span::all(0, 1), Span::all(5, 9));
        let vocabulary = self.vocabulary as u32;
        let rows = vocabulary.min(5);
        let embed = Embed {
            format: self.embedding,
            n: self.width,
            vocabulary,
            first_row: vocabulary - rows,
            rows,
            scales: Scales::Any,
        };
        let mut cases = vec![embed.case(rng, one), embed.case(rng, many)];
        for &exponent in &self.exponents {
            let any = Draw::Any;
            let norm = RmsNorm { n: self.width, eps: self.eps, exponent, x: any, w: any };
            let highest = RmsNorm { x: Draw::Highest, w: Draw::Highest, ..norm };
            cases.extend([norm.case(rng, one), norm.case(rng, many), highest.case(rng, one)]);
            cases.push(norm.with_mean(rng, 1 << 32));
        }
        let swiglu = SwiGlu { n: self.hidden, gate: Draw::Any, up: Draw::Any };
        let limits = SwiGlu { gate: Draw::Limits, up: Draw::Limits, ..swiglu };
        cases.extend([swiglu.case(rng, one), swiglu.case(rng, many), limits.case(rng, one)]);
        let sample = Sample::greedy(self.vocabulary, Draw::Any, 2);
        cases.push(sample.case(rng, Span::heads(0, 1, 0)));
        cases.push(sample.case(rng, Span::heads(4, 5, 3)));
        for temperature in [1 << 15, 1 << 16, Sampling::TEMPERATURE_MAX] {
            let sample = Sample::drawn(rng, self.vocabulary, temperature);
            cases.push(sample.case(rng, Span::heads(4, 5, 3)));
        }
        cases.extend(Sample::ties());
        cases
    }

    fn attention(&self, rng: &mut Rng) -> Vec<Case> {
        let Self { heads, kv, head_len: len, .. } = *self;
        let (one, many) = (Span::all(0, 1), Span::all(2, 9));
        let mut cases = Vec::new();
        let (x, table) = (Draw::Any, Draw::Any);
        let q = Rope { heads, len, rotated: self.rotated, bits: 12, at_position: false, x, table };
        let k = Rope { heads: kv, bits: 11, at_position: true, ..q };
        let v = Rope { rotated: 0, bits: 12, ..k };
        for rope in [q, k, v] {
            let limits = Rope { x: Draw::Limits, table: Draw::Limits, ..rope };
            cases.extend([rope.case(rng, one), rope.case(rng, many), limits.case(rng, one)]);
        }
        let attention = Attention { scale: self.score_scale, ..Attention::new(heads, kv, len) };
        let limits = Attention { x: Draw::Limits, rows: Draw::Limits, ..attention };
        let highest = Attention { x: Draw::Highest, rows: Draw::Highest, ..attention };
        let longest = self.context.min(CONTEXT_MAX).min(VALUES_MAX / (kv * len)).max(1) as u32;
        for case in [Attention::scores, Attention::mix, Attention::finish] {
            cases.push(case(attention, rng, one));
            cases.push(case(attention, rng, Span::all(longest.saturating_sub(1), 1)));
            let count = longest.min(9);
            cases.push(case(attention, rng, Span::all(longest.min(260) - count, count)));
            cases.extend([limits, highest].map(|a| case(a, rng, one)));
        }
        cases
    }
}

impl MatrixSize {
    /// The last rows, with random weights.
    fn linear(&self) -> Linear {
        let format = Format::try_from_code(self.format).unwrap_or(Format::Q8_0);
        Linear {
            piece: self.rows.saturating_sub(ROWS)..self.rows,
            bias: self.bias,
            residual: self.residual,
            packed: self.packed,
            ..Linear::new(format, self.rows, self.cols)
        }
    }

    /// One position.
    fn few(&self, rng: &mut Rng, tuning: Tuning) -> Vec<Case> {
        let span = if self.packed { Span::heads(3, 1, 0) } else { Span::all(3, 1) };
        let any = self.linear();
        let largest = Linear {
            scales: Scales::Largest,
            weights: Draw::Limits,
            x: Draw::Limits,
            shift: Some(16),
            ..any.clone()
        };
        [any, largest].map(|linear| linear.case(rng, span, (Kernel::Linear, tuning))).into()
    }

    /// A batch.
    fn many(&self, rng: &mut Rng, tuning: Tuning) -> Vec<Case> {
        let all = Span::all(0, POSITIONS);
        let span = if self.packed { Span::heads(0, POSITIONS + 3, 3) } else { all };
        let any = self.linear();
        let highest = Linear { weights: Draw::Highest, x: Draw::Highest, ..any.clone() };
        [any, highest].map(|linear| linear.case(rng, span, (Kernel::LinearBatch, tuning))).into()
    }
}
