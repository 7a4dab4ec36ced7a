//! Cases with their known answers: what the self-test asks, what the tests compare, what a browser
//! runs.
//!
//! A case is drawn from a seed and a shape. Its answer is computed by `reference`, and its inputs
//! are what honest earlier steps can yield: rows that a Quantize made, weights that the importer
//! accepted. What a kernel must not write holds the same pattern before and after.

mod attention;
mod draw;
mod linear;
mod rows;
mod sized;
mod special;

use super::case::Case;
use super::kernel::{Kernel, Tuning, Variant};
use crate::Format;
use crate::reference::{Sampling, quantize};
use attention::{Attention, Rope};
use draw::{Rng, Scales};
use linear::Linear;
use rows::{Embed, RmsNorm, Sample, SwiGlu};
use std::ops::Range;

pub(super) use sized::Sizes;
pub use special::special;

/// What a written buffer holds before.
const UNWRITTEN: u32 = 0x5eed_0bad;
/// What the count of saturated values is before.
const SATURATED_BEFORE: u32 = 3;

/// The rows of a batch, and those that a case is about.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// Position of the first row.
    first: u32,
    /// Rows.
    count: u32,
    /// First row with a head.
    heads_from: u32,
    /// Only rows with a head are computed.
    heads_only: bool,
}

impl Span {
    /// All rows of a batch that starts at position `first`.
    fn all(first: u32, count: u32) -> Self {
        Self { first, count, heads_from: count, heads_only: false }
    }

    /// Only the rows from `heads_from` on.
    fn heads(first: u32, count: u32, heads_from: u32) -> Self {
        Self { first, count, heads_from, heads_only: true }
    }

    fn random(rng: &mut Rng, first_max: u32, count_max: u32) -> Self {
        let first = if rng.coin() { 0 } else { rng.below(first_max + 1) };
        let count = rng.up_to(count_max);
        Self { first, count, heads_from: rng.below(count), heads_only: rng.coin() }
    }

    /// The rows that are computed.
    fn rows(self) -> Range<usize> {
        let start = if self.heads_only { self.heads_from } else { 0 };
        start as usize..self.count as usize
    }

    /// Positions that the last row sees.
    fn positions(self) -> usize {
        (self.first + self.count) as usize
    }
}

/// The written buffers before and after.
struct Written {
    before: Vec<Vec<u32>>,
    after: Vec<Vec<u32>>,
}

impl Written {
    fn new(before: Vec<u32>, after: Vec<u32>) -> Self {
        Self { before: vec![before], after: vec![after] }
    }

    fn push(&mut self, before: Vec<u32>, after: Vec<u32>) {
        self.before.push(before);
        self.after.push(after);
    }

    /// Rows `y` and how a linear reads them: values, sums and shifts; then the count of saturated
    /// values.
    fn quantized(before: Vec<u32>, y: &[i32], span: Span) -> Self {
        let count = span.count as usize;
        let n = y.len() / count;
        let done = span.rows().start * n..span.rows().end * n;
        let mut expected = before.clone();
        expected[done.clone()].copy_from_slice(&bits(&y[done.clone()]));
        let (mut q, mut shifts) = (vec![0; y.len()], vec![0; count]);
        let rows = q.chunks_mut(n).zip(shifts.chunks_mut(1));
        for ((q, shift), y) in rows.zip(y.chunks(n)).take(span.rows().end) {
            quantize::forward(y, 1, 15, q, shift);
        }
        let mut written = Self::new(before, expected);
        let shifts: Vec<u32> = shifts.into_iter().map(u32::from).collect();
        for (all, per_row) in [(quads(&q), n / 2), (block_sums(&q), n / 32), (shifts, 1)] {
            let before = unwritten(all.len());
            let mut after = before.clone();
            let done = span.rows().start * per_row..span.rows().end * per_row;
            after[done.clone()].copy_from_slice(&all[done]);
            written.push(before, after);
        }
        written.saturated(&y[done]);
        written
    }

    /// The count of saturated values, to which those among `values` are added.
    fn saturated(&mut self, values: &[i32]) {
        let saturated = values.iter().filter(|v| v.unsigned_abs() >= i32::MAX as u32).count();
        self.push(vec![SATURATED_BEFORE], vec![SATURATED_BEFORE + saturated as u32]);
    }
}

fn case(
    name: String,
    variant: Variant,
    span: Span,
    op: Vec<u32>,
    inputs: Vec<Vec<u32>>,
    written: Written,
    groups: [u32; 3],
) -> Case {
    Case {
        name,
        variant,
        batch: [span.first, span.count, span.heads_from, 0],
        op,
        inputs,
        outputs: written.before,
        groups,
        expected: written.after,
    }
}

fn unwritten(words: usize) -> Vec<u32> {
    vec![UNWRITTEN; words]
}

fn bits(values: &[i32]) -> Vec<u32> {
    values.iter().map(|v| *v as u32).collect()
}

/// Bytes as words, with zeros to whole groups of four, as weights are uploaded.
fn table_words(bytes: &[u8]) -> Vec<u32> {
    let word = |b: &[u8]| {
        let mut word = [0; 4];
        word[..b.len()].copy_from_slice(b);
        u32::from_le_bytes(word)
    };
    let mut words: Vec<u32> = bytes.chunks(4).map(word).collect();
    words.resize(words.len().next_multiple_of(4), 0);
    words
}

fn pair(low: i16, high: i16) -> u32 {
    u32::from(low as u16) | u32::from(high as u16) << 16
}

/// Values as a linear reads them, see `shared/activations.wgsl`.
fn quads(values: &[i16]) -> Vec<u32> {
    let (quads, _) = values.as_chunks::<4>();
    quads.iter().flat_map(|q| [pair(q[0], q[2]), pair(q[1], q[3])]).collect()
}

/// `Σ q` of each block of 32.
fn block_sums(values: &[i16]) -> Vec<u32> {
    let sum = |block: &[i16]| block.iter().map(|q| i32::from(*q)).sum::<i32>() as u32;
    values.chunks(32).map(sum).collect()
}

/// Words of a quantized head's values, see `shared/heads.wgsl`.
fn head_words(len: usize) -> usize {
    4 * len.div_ceil(8)
}

/// Words of a position's quantized heads.
fn row_words(heads: usize, len: usize) -> usize {
    (heads * (head_words(len) + 1)).next_multiple_of(4)
}

/// Quantized heads, row after row.
fn head_rows(values: &[i16], shifts: &[u8], heads: usize) -> Vec<u32> {
    let len = values.len() / shifts.len();
    let mut words = Vec::new();
    for (row, shifts) in values.chunks(heads * len).zip(shifts.chunks(heads)) {
        let end = words.len() + row_words(heads, len);
        for head in row.chunks(len) {
            let end = words.len() + head_words(len);
            words.extend(head.as_chunks::<2>().0.iter().map(|p| pair(p[0], p[1])));
            words.resize(end, 0);
        }
        words.extend(shifts.iter().map(|s| u32::from(*s)));
        words.resize(end, UNWRITTEN);
    }
    words
}

/// Head sizes of published models.
const HEAD_LENS: [usize; 5] = [32, 64, 80, 128, 256];
/// Formats of weights.
const FORMATS: [Format; 3] = [Format::Q8_0, Format::Q4_0, Format::Q4_1];

/// A case with random sizes and values, the same for the same seed.
#[must_use]
pub fn random(kernel: Kernel, seed: u64) -> Case {
    let rng = &mut Rng::new(seed);
    let mut case = match kernel {
        Kernel::Embed => random_embed(rng),
        Kernel::RmsNorm => random_rms_norm(rng),
        Kernel::Linear | Kernel::LinearBatch => random_linear(rng, kernel),
        Kernel::Rope => random_rope(rng),
        Kernel::Scores => {
            let (attention, span) = random_attention(rng);
            attention.scores(rng, span)
        }
        Kernel::Mix => {
            let (attention, span) = random_attention(rng);
            attention.mix(rng, span)
        }
        Kernel::MixFinish => {
            let (mut attention, span) = random_attention(rng);
            if !(attention.heads * attention.len).is_multiple_of(32) {
                attention.heads *= 16;
            }
            attention.finish(rng, span)
        }
        Kernel::SwiGlu => {
            let (n, span) = (random_len(rng), Span::random(rng, 4, 4));
            SwiGlu { n, gate: rng.draw(), up: rng.draw() }.case(rng, span)
        }
        Kernel::Sample => {
            let (vocabulary, span) = (rng.up_to(1500) as usize, Span::random(rng, 4, 4));
            let temperature = rng.pick(&[0, 1 << 12, 1 << 16, Sampling::TEMPERATURE_MAX]);
            let sampling = Sampling { seed: rng.next(), temperature };
            let (near, peaks) = (rng.coin(), rng.below(4));
            let greedy = Sample::greedy(vocabulary, rng.draw(), peaks);
            Sample { near, sampling, ..greedy }.case(rng, span)
        }
    };
    if !is_linear(kernel) {
        case = case.tuned(rng.pick(&TUNINGS));
    }
    case.name = format!("seed {seed}: {}", case.name);
    case
}

/// A row of whole blocks.
fn random_len(rng: &mut Rng) -> usize {
    32 * rng.up_to(30) as usize
}

fn random_rms_norm(rng: &mut Rng) -> Case {
    let norm = RmsNorm {
        n: random_len(rng),
        eps: rng.pick(&[1, 168, 16_777, 1 << 24]),
        exponent: rng.below(64) as i32 - 8,
        x: rng.draw(),
        w: rng.draw(),
    };
    let span = Span::random(rng, 4, 4);
    norm.case(rng, span)
}

fn random_embed(rng: &mut Rng) -> Case {
    let vocabulary = rng.up_to(60);
    let first_row = rng.below(vocabulary);
    let rows = rng.up_to(vocabulary - first_row);
    let n = 32 * rng.up_to(20) as usize;
    let scales = rng.pick(&[Scales::Any, Scales::Any, Scales::Small, Scales::Largest]);
    let embed = Embed { format: rng.pick(&FORMATS), n, vocabulary, first_row, rows, scales };
    let span = Span::random(rng, 4, 6);
    embed.case(rng, Span { heads_only: false, ..span })
}

fn random_linear(rng: &mut Rng, kernel: Kernel) -> Case {
    let (format, n) = (rng.pick(&FORMATS), rng.up_to(150) as usize);
    let mut linear = Linear::new(format, n, 32 * rng.up_to(20) as usize);
    let start = if rng.coin() { 0 } else { rng.below(n as u32) as usize };
    linear.piece = start..start + rng.up_to((n - start) as u32) as usize;
    linear.bias = rng.coin();
    linear.residual = rng.coin();
    linear.weights = rng.draw();
    linear.scales = rng.pick(&[Scales::Any, Scales::Any, Scales::Small, Scales::Largest]);
    linear.x = rng.draw();
    let span = Span::random(rng, 4, if kernel == Kernel::Linear { 4 } else { 36 });
    linear.packed = span.heads_only && rng.coin();
    let tuning = rng.pick(&TUNINGS);
    linear.case(rng, span, (kernel, tuning))
}

fn random_rope(rng: &mut Rng) -> Case {
    let heads = rng.up_to(6) as usize;
    let len = if rng.coin() { rng.pick(&HEAD_LENS) } else { 2 * rng.up_to(40) as usize };
    let rotated = match rng.below(4) {
        0 => 0,
        1 => 2 * rng.below(len as u32 / 2 + 1) as usize,
        _ => len,
    };
    let (bits, at_position) = (rng.pick(&[11, 12]), rng.coin());
    let (x, table) = (rng.draw(), rng.draw());
    let rope = Rope { heads, len, rotated, bits, at_position, x, table };
    let span = Span::random(rng, 20, 5);
    rope.case(rng, span)
}

fn random_attention(rng: &mut Rng) -> (Attention, Span) {
    let kv = rng.up_to(3) as usize;
    let heads = kv * rng.up_to(4) as usize;
    let len = if rng.coin() { rng.pick(&HEAD_LENS) } else { 2 * rng.up_to(24) as usize };
    let spare_tiles = rng.below(2) as usize;
    let (x, rows) = (rng.draw(), rng.draw());
    let shift = if rng.coin() { None } else { Some(rng.below(21) as u8) };
    let span = Span::random(rng, 600, 3);
    (Attention { spare_tiles, x, rows, shift, ..Attention::new(heads, kv, len) }, span)
}

/// How kernels are dispatched: on a driver on the CPU, on a GPU, and as neither does.
const TUNINGS: [Tuning; 3] = [
    Tuning::CPU,
    Tuning::GPU,
    Tuning {
        bytes: 0,
        linear_lanes: 32,
        linear_slices: 32,
        row_lanes: 2,
        position_lanes: 8,
        lanes: 8,
        mix_lanes: 16,
    },
];

impl Case {
    /// The same with the constants of another tuning; the dispatch of a linear depends on them, and
    /// stays.
    fn tuned(mut self, tuning: Tuning) -> Self {
        let constants = &self.variant.constants;
        let code = constants.iter().find(|(name, _)| *name == "FORMAT").map(|(_, code)| *code);
        let format = FORMATS.into_iter().find(|f| Some(*f as u32) == code);
        self.variant = match self.variant.kernel {
            Kernel::Mix => Kernel::mix(self.op[2], tuning),
            kernel => kernel.tuned(format, tuning),
        };
        self
    }
}

/// Whether a kernel's dispatch depends on its tuning.
fn is_linear(kernel: Kernel) -> bool {
    matches!(kernel, Kernel::Linear | Kernel::LinearBatch)
}
