//! The steps of a block, for some consecutive positions at once.

use super::activations::Activations;
use super::attention::{Query, ROWS, attend};
use super::cache::{Cache, Layer, RowsRef};
use super::elementwise::{Quantize, RmsNorm, Rope};
use super::matmul::{Run, count_to};
use super::model::{Model, PackedLayer};
use super::sample::Draw;
use super::simd::Isa;
use super::team::Parts;
use super::workspace::{Rows, Workspace};
use crate::backend::Batch;
use crate::decoder::{Decoder, Norm};
use crate::reference::{Sampling, embed};
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;

/// Rows of a task that goes element by element.
const CHUNK: usize = 4;

/// Some positions of a batch.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) isa: Isa,
    pub(super) model: &'a Model,
    pub(super) tokens: &'a [u32],
    /// Of the first token.
    pub(super) position: usize,
    /// The first row that has a head.
    pub(super) first_head: usize,
    pub(super) sampling: Sampling,
}

/// Where a part's results go.
pub(super) struct Yield<'a> {
    pub(super) batch: &'a mut Batch,
    /// The part's first row in the batch.
    pub(super) start: usize,
    /// Heads of the batch before this part.
    pub(super) heads: usize,
}

impl Part<'_> {
    /// Runs the part; the cache holds all positions before it.
    pub(super) fn run(&self, workspace: &mut Workspace, cache: &mut Cache, to: Yield<'_>) {
        let saturations = AtomicU64::new(0);
        let Workspace { team, rows, scratch } = workspace;
        let run = Run { isa: self.isa, team, saturations: &saturations };
        let mut steps = Steps { part: *self, decoder: self.model.decoder(), run, rows };
        let all = 0..self.tokens.len();
        let heads = self.first_head..all.end;
        steps.embed();
        let last = self.model.layers.len().saturating_sub(1);
        for (l, layer) in self.model.layers.iter().enumerate() {
            // In the last layer only what leads to a head goes on after the last V.
            let active = if l == last { heads.clone() } else { all.clone() };
            steps.norm_quant(&steps.decoder.layers[l].attn_norm, all.clone());
            steps.linears_of_attention(layer, active.clone());
            steps.keys_and_values(l, cache, &mut to.batch.carried, to.start);
            if active.is_empty() {
                continue;
            }
            steps.queries(active.clone());
            steps.attention(cache.layer(l), scratch, active.clone());
            steps.feed_forward(l, layer, active);
        }
        if !heads.is_empty() {
            steps.norm_quant(&steps.decoder.output_norm, heads.clone());
            let vocabulary = steps.decoder.vocabulary;
            let logits = if to.batch.logits.is_empty() {
                &mut []
            } else {
                &mut to.batch.logits[to.heads * vocabulary..][..heads.len() * vocabulary]
            };
            let samples = &mut to.batch.samples[to.heads..][..heads.len()];
            let Steps { mut run, rows, .. } = steps;
            let draw = Draw { isa: self.isa, sampling: self.sampling, position: self.position };
            run.head(&self.model.output, &rows.normal, heads, draw, samples, logits);
        }
        to.batch.saturations += saturations.into_inner();
    }
}

/// The steps of a part.
struct Steps<'a> {
    part: Part<'a>,
    decoder: &'a Decoder,
    run: Run<'a>,
    rows: &'a mut Rows,
}

impl Steps<'_> {
    /// Scales in range don't reach saturation here: a weight is below 2^38, so an Fx below 2^26.
    fn embed(&mut self) {
        let matrix = &self.decoder.token_embd;
        let (x, width) = (Parts::new(&mut self.rows.x), self.decoder.width);
        let tokens = self.part.tokens;
        self.run.team.run(tokens.len().div_ceil(CHUNK), &|_, task| {
            for row in chunk(task, &(0..tokens.len())) {
                let token = tokens[row] as usize;
                // SAFETY: every task has rows of its own.
                #[expect(unsafe_code, reason = "parts that tasks write")]
                let x = unsafe { x.part(row * width..(row + 1) * width) };
                embed::forward(matrix.format, matrix.rows(token..token + 1), x);
            }
        });
    }

    /// From `x` to `normal`.
    fn norm_quant(&mut self, norm: &Norm, rows: Range<usize>) {
        let Decoder { width, eps, .. } = *self.decoder;
        let (isa, saturations) = (self.run.isa, self.run.saturations);
        let (x, normal) = (&self.rows.x, self.rows.normal.writer());
        self.run.team.run(rows.len().div_ceil(CHUNK), &|_, task| {
            let mut out = vec![0; width];
            for row in chunk(task, &rows) {
                let x = &x[row * width..][..width];
                let (w, exponent) = (&*norm.weights, norm.exponent);
                count_to(saturations, isa.run(RmsNorm { x, w, eps, exponent, out: &mut out }));
                // SAFETY: every task has rows of its own.
                #[expect(unsafe_code, reason = "parts that tasks write")]
                unsafe {
                    normal.write(isa, row, &out);
                }
            }
        });
    }

    /// K and V of all rows, q of those that go on.
    fn linears_of_attention(&mut self, layer: &PackedLayer, active: Range<usize>) {
        let Rows { k, v, q, normal, .. } = &mut *self.rows;
        let all = 0..self.part.tokens.len();
        let (k, v) = ((&layer.attn_k, &mut k[..]), (&layer.attn_v, &mut v[..]));
        let q = (&layer.attn_q, &mut q[..]);
        if active == all {
            self.run.linear(&mut [k, v, q], normal, all, false);
        } else {
            self.run.linear(&mut [k, v], normal, all, false);
            self.run.linear(&mut [q], normal, active, false);
        }
    }

    /// Rope and Quantize; into the batch, and from there into the cache.
    fn keys_and_values(
        &mut self,
        l: usize,
        cache: &mut Cache,
        carried: &mut [crate::backend::Rows],
        start: usize,
    ) {
        let Decoder { kv, head_len, .. } = *self.decoder;
        let all = 0..self.part.tokens.len();
        let width = kv * head_len;
        let (groups, values) =
            (start * kv..(start + all.len()) * kv, start * width..(start + all.len()) * width);
        let [k_out, v_out] = &mut carried[2 * l..][..2] else { return };
        for (out, x, bits, rope) in
            [(&mut *k_out, &mut self.rows.k, 11, true), (&mut *v_out, &mut self.rows.v, 12, false)]
        {
            let out = Quantized {
                values: Parts::new(&mut out.values[values.clone()]),
                shifts: Parts::new(&mut out.shifts[groups.clone()]),
                groups: kv,
                bits,
            };
            rotate_and_quantize(&mut self.run, &self.part, all.clone(), x, rope, &out);
        }
        let rows = [k_out, v_out].map(|rows| RowsRef {
            values: &rows.values[values.clone()],
            shifts: &rows.shifts[groups.clone()],
        });
        cache.write(self.run.team, l, self.part.position, &rows[0], &rows[1]);
    }

    /// Rope and Quantize of q.
    fn queries(&mut self, rows: Range<usize>) {
        let Rows { q, q_pairs, q_shifts, .. } = &mut *self.rows;
        let out = Quantized {
            values: Parts::new(bytemuck::cast_slice_mut(q_pairs)),
            shifts: Parts::new(q_shifts),
            groups: self.decoder.heads,
            bits: 12,
        };
        rotate_and_quantize(&mut self.run, &self.part, rows, q, true, &out);
    }

    /// From Scores to Mix.
    fn attention(
        &mut self,
        cache: Layer<'_>,
        scratch: &[std::sync::Mutex<super::attention::Scratch>],
        rows: Range<usize>,
    ) {
        let Decoder { heads, kv, head_len, score_scale, .. } = *self.decoder;
        let Rows { q_pairs, q_shifts, mixed, .. } = &mut *self.rows;
        let (q_pairs, q_shifts, mixed) = (&*q_pairs, &*q_shifts, Parts::new(mixed));
        let (isa, saturations) = (self.run.isa, self.run.saturations);
        let (position, group) = (self.part.position, heads / kv);
        // Query rows of one KV head: the group's heads of one position after the other.
        let queries = rows.len() * group;
        let share = (queries * kv).div_ceil(2 * self.run.team.threads());
        let size = share.clamp(1, ROWS);
        let tasks = queries.div_ceil(size);
        self.run.team.run(kv * tasks, &|worker, task| {
            // The last ones see the most positions: they come first.
            let (g, first) = (task % kv, (tasks - 1 - task / kv) * size);
            let range = first..queries.min(first + size);
            let head = |i: usize| (rows.start + i / group) * heads + g * group + i % group;
            let query = |i: usize| Query {
                q: &q_pairs[head(i) * head_len / 2..][..head_len / 2],
                shift: q_shifts[head(i)],
                positions: position + rows.start + i / group + 1,
            };
            let out = |i: usize| {
                // SAFETY: every task has query rows of its own.
                #[expect(unsafe_code, reason = "parts that tasks write")]
                unsafe {
                    mixed.part(head(i) * head_len..(head(i) + 1) * head_len)
                }
            };
            let input: Vec<Query<'_>> = range.clone().map(query).collect();
            let mut output: Vec<&mut [i32]> = range.map(out).collect();
            let mut scratch = scratch[worker].lock().unwrap_or_else(PoisonError::into_inner);
            let scale = score_scale as i32;
            count_to(saturations, attend(isa, cache, g, scale, &input, &mut scratch, &mut output));
        });
    }

    /// From `attn_mix_quant` to `ffn_down`.
    fn feed_forward(&mut self, l: usize, layer: &PackedLayer, rows: Range<usize>) {
        let Decoder { hidden, heads, head_len, .. } = *self.decoder;
        let Rows { x, mixed, mixed_quant, .. } = &mut *self.rows;
        quantize(&mut self.run, mixed, heads * head_len, rows.clone(), mixed_quant);
        self.run.linear(&mut [(&layer.attn_output, x)], mixed_quant, rows.clone(), true);
        self.norm_quant(&self.decoder.layers[l].ffn_norm, rows.clone());
        let Rows { x, product, normal, product_quant, .. } = &mut *self.rows;
        self.run.swiglu(&layer.ffn_gate, &layer.ffn_up, normal, rows.clone(), product);
        quantize(&mut self.run, product, hidden, rows.clone(), product_quant);
        self.run.linear(&mut [(&layer.ffn_down, x)], product_quant, rows, true);
    }
}

/// The rows of a task.
fn chunk(task: usize, rows: &Range<usize>) -> Range<usize> {
    let start = rows.start + task * CHUNK;
    start..rows.end.min(start + CHUNK)
}

fn quantize(run: &mut Run<'_>, x: &[i32], width: usize, rows: Range<usize>, out: &mut Activations) {
    let (isa, out) = (run.isa, out.writer());
    run.team.run(rows.len().div_ceil(CHUNK), &|_, task| {
        for row in chunk(task, &rows) {
            // SAFETY: every task has rows of its own.
            #[expect(unsafe_code, reason = "parts that tasks write")]
            unsafe {
                out.write(isa, row, &x[row * width..][..width]);
            }
        }
    });
}

/// Rows of heads, each quantized by itself.
struct Quantized<'a> {
    values: Parts<'a, i16>,
    shifts: Parts<'a, u8>,
    groups: usize,
    bits: u32,
}

fn rotate_and_quantize(
    run: &mut Run<'_>,
    part: &Part<'_>,
    rows: Range<usize>,
    x: &mut [i32],
    rope: bool,
    out: &Quantized<'_>,
) {
    let Decoder { head_len, rotated, .. } = *part.model.decoder();
    let table = &part.model.decoder().rope;
    let (groups, bits) = (out.groups, out.bits);
    let width = groups * head_len;
    let (isa, saturations, x) = (run.isa, run.saturations, Parts::new(x));
    run.team.run(rows.len().div_ceil(CHUNK), &|_, task| {
        for row in chunk(task, &rows) {
            let range = row * width..(row + 1) * width;
            // SAFETY: every task has rows of its own.
            #[expect(unsafe_code, reason = "parts that tasks write")]
            let (x, values, shifts) = unsafe {
                let shifts = out.shifts.part(row * groups..(row + 1) * groups);
                (x.part(range.clone()), out.values.part(range), shifts)
            };
            if rope {
                let row = &table[(part.position + row) * rotated..][..rotated];
                count_to(saturations, isa.run(Rope { x, head_len, row }));
            }
            let heads = x.chunks_exact(head_len).zip(values.chunks_exact_mut(head_len));
            for ((x, out), shift) in heads.zip(shifts) {
                *shift = isa.run(Quantize { x, bits, out });
            }
        }
    });
}
