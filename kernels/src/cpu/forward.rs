//! The steps of a block, for some positions of some sequences at once.

use super::activations::Activations;
use super::attention::{Query, ROWS, Scratch, attend};
use super::cache::{self, Layer, RowsRef};
use super::elementwise::{Quantize, RmsNorm, Rope};
use super::matmul::{Run, count_to};
use super::model::{Model, PackedLayer};
use super::queue::Share;
use super::sample::Draw;
use super::simd::Isa;
use super::team::Parts;
use super::workspace::{Rows, Workspace};
use crate::backend::Head;
use crate::decoder::{Decoder, Norm};
use crate::reference::embed;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

/// Rows of a task that goes element by element.
const CHUNK: usize = 4;

/// Where a row of a part comes from.
#[derive(Clone, Copy)]
struct Place {
    token: u32,
    position: usize,
    /// The share, and the index of the token in its job.
    share: usize,
    at: usize,
}

/// Some positions of some sequences, each a row. Those that have a head come last, so that the last
/// layer goes on with one range of rows; a sequence's own stay in order.
pub(super) struct Part<'a> {
    isa: Isa,
    model: &'a Model,
    rows: Vec<Place>,
    /// The first row that has a head.
    first_head: usize,
}

impl<'a> Part<'a> {
    pub(super) fn new(isa: Isa, model: &'a Model, shares: &[Share]) -> Self {
        let places = |has_head: bool| {
            shares.iter().enumerate().flat_map(move |(share, Share { job, taken, .. })| {
                let first_head = job.first_head().clamp(taken.start, taken.end);
                let range = if has_head { first_head..taken.end } else { taken.start..first_head };
                let place = move |at| {
                    let (token, position) = (job.tokens[at], job.position + at);
                    Place { token, position, share, at }
                };
                range.map(place)
            })
        };
        let mut rows: Vec<Place> = places(false).collect();
        let first_head = rows.len();
        rows.extend(places(true));
        Self { isa, model, rows, first_head }
    }

    /// Runs the part; the caches hold all positions before it.
    pub(super) fn run(&self, workspace: &mut Workspace, shares: &mut [Share]) {
        let saturations = AtomicU64::new(0);
        let Workspace { team, rows, scratch } = workspace;
        let run = Run { isa: self.isa, team, saturations: &saturations };
        let mut steps = Forward { part: self, decoder: self.model.decoder(), run, rows };
        let all = 0..self.rows.len();
        let heads = self.first_head..all.end;
        steps.embed();
        let last = self.model.layers.len().saturating_sub(1);
        for (l, layer) in self.model.layers.iter().enumerate() {
            // In the last layer only what leads to a head goes on after the last V.
            let active = if l == last { heads.clone() } else { all.clone() };
            steps.norm_quant(&steps.decoder.layers[l].attn_norm, all.clone());
            steps.linears_of_attention(layer, active.clone());
            steps.keys_and_values(l, shares);
            if active.is_empty() {
                continue;
            }
            steps.queries(active.clone());
            steps.attention(l, shares, scratch, active.clone());
            steps.feed_forward(l, layer, active);
        }
        if !heads.is_empty() {
            steps.norm_quant(&steps.decoder.output_norm, heads);
            steps.head(shares);
        }
        let saturations = saturations.into_inner();
        shares.iter_mut().for_each(|share| share.job.batch.saturations += saturations);
    }
}

/// The steps of a part.
struct Forward<'a> {
    part: &'a Part<'a>,
    decoder: &'a Decoder,
    run: Run<'a>,
    rows: &'a mut Rows,
}

impl Forward<'_> {
    /// Scales in range don't reach saturation here: a weight is below 2^38, so an Fx below 2^26.
    fn embed(&mut self) {
        let matrix = &self.decoder.token_embd;
        let (x, width) = (Parts::new(&mut self.rows.x), self.decoder.width);
        let rows = &self.part.rows;
        self.run.team.run(rows.len().div_ceil(CHUNK), &|_, task| {
            for row in chunk(task, &(0..rows.len())) {
                let token = rows[row].token as usize;
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
        let all = 0..self.part.rows.len();
        let (k, v) = ((&layer.attn_k, &mut k[..]), (&layer.attn_v, &mut v[..]));
        let q = (&layer.attn_q, &mut q[..]);
        if active == all {
            self.run.linear(&mut [k, v, q], normal, all, false);
        } else {
            self.run.linear(&mut [k, v], normal, all, false);
            self.run.linear(&mut [q], normal, active, false);
        }
    }

    /// Rope and Quantize; into the batches, and from there into the caches.
    fn keys_and_values(&mut self, l: usize, shares: &mut [Share]) {
        let Decoder { kv, head_len, .. } = *self.decoder;
        let all = 0..self.part.rows.len();
        let place = |row: usize| {
            let Place { share, at, .. } = self.part.rows[row];
            (share, at)
        };
        for (slot, x, bits, rope) in
            [(2 * l, &mut self.rows.k, 11, true), (2 * l + 1, &mut self.rows.v, 12, false)]
        {
            let carried = shares.iter_mut().map(|share| &mut share.job.batch.carried[slot]);
            let outs = carried.map(|rows| Quantized {
                values: Parts::new(&mut rows.values),
                shifts: Parts::new(&mut rows.shifts),
                groups: kv,
                bits,
            });
            let outs: Vec<Quantized<'_>> = outs.collect();
            rotate_and_quantize(&mut self.run, self.part, all.clone(), x, rope, &outs, &place);
        }
        let writes = shares.iter_mut().map(|Share { job, taken, .. }| {
            let rows =
                |slot: usize| RowsRef::new(&job.batch.carried[slot], taken.clone(), kv, head_len);
            let (k, v) = (rows(2 * l), rows(2 * l + 1));
            cache::Write { cache: &mut job.cache, start: job.position + taken.start, k, v }
        });
        cache::write(self.run.team, l, writes);
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
        rotate_and_quantize(&mut self.run, self.part, rows, q, true, &[out], &|row| (0, row));
    }

    /// From Scores to Mix.
    fn attention(
        &mut self,
        l: usize,
        shares: &[Share],
        scratch: &[Mutex<Scratch>],
        rows: Range<usize>,
    ) {
        let Decoder { heads, kv, head_len, score_scale, .. } = *self.decoder;
        let Rows { q_pairs, q_shifts, mixed, .. } = &mut *self.rows;
        let (q_pairs, q_shifts, mixed) = (&*q_pairs, &*q_shifts, Parts::new(mixed));
        let (isa, saturations) = (self.run.isa, self.run.saturations);
        let (places, group) = (&self.part.rows, heads / kv);
        let layers: Vec<Layer<'_>> = shares.iter().map(|share| share.job.cache.layer(l)).collect();
        // Query rows of one KV head: the group's heads of one position after the other.
        let share = (rows.len() * group * kv).div_ceil(2 * self.run.team.threads());
        let tasks = queries(places, rows, group, share.clamp(1, ROWS));
        self.run.team.run(kv * tasks.len(), &|worker, task| {
            let (g, range) = (task % kv, tasks[task / kv].clone());
            let head = |i: usize| (i / group) * heads + g * group + i % group;
            let query = |i: usize| Query {
                q: &q_pairs[head(i) * head_len / 2..][..head_len / 2],
                shift: q_shifts[head(i)],
                positions: places[i / group].position + 1,
            };
            let out = |i: usize| {
                // SAFETY: every task has query rows of its own.
                #[expect(unsafe_code, reason = "parts that tasks write")]
                unsafe {
                    mixed.part(head(i) * head_len..(head(i) + 1) * head_len)
                }
            };
            let cache = layers[places[range.start / group].share];
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

    /// The tokens of all rows that have a head, and their logits if they are wanted.
    fn head(&mut self, shares: &mut [Share]) {
        let heads = self.part.first_head..self.part.rows.len();
        let places = &self.part.rows[heads.clone()];
        let draw = |place: &Place| {
            let sampling = shares[place.share].job.head.sampling();
            Draw { isa: self.part.isa, sampling, position: place.position }
        };
        let draws: Vec<Draw> = places.iter().map(draw).collect();
        let first = |share: &Share| places[0].at - share.job.first_head();
        let logits = match shares {
            // Who wants logits is alone.
            [share] if matches!(share.job.head, Head::Logits(_)) => {
                let (first, width) = (first(share), self.decoder.vocabulary);
                &mut share.job.batch.logits[first * width..][..heads.len() * width]
            }
            _ => &mut [],
        };
        let output = &self.part.model.output;
        let samples = self.run.head(output, &self.rows.normal, heads, &draws, logits);
        for (place, sample) in places.iter().zip(samples) {
            let job = &mut shares[place.share].job;
            let index = place.at - job.first_head();
            job.batch.samples[index] = sample;
        }
    }
}

/// Query rows that go together: up to `size`, all of one sequence. Number `i` is of row
/// `i / group`. Of a sequence the last ones come first, which see the most positions.
fn queries(places: &[Place], rows: Range<usize>, group: usize, size: usize) -> Vec<Range<usize>> {
    let mut first = rows.start;
    let of_sequences = places[rows].chunk_by(|a, b| (a.share, a.at + 1) == (b.share, b.at));
    let cut = |places: &[Place]| {
        let all = first * group..(first + places.len()) * group;
        first += places.len();
        let starts = all.clone().step_by(size).rev();
        starts.map(|start| start..all.end.min(start + size)).collect::<Vec<_>>()
    };
    of_sequences.flat_map(cut).collect()
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

/// Where rows of heads go, each quantized by itself.
struct Quantized<'a> {
    values: Parts<'a, i16>,
    shifts: Parts<'a, u8>,
    groups: usize,
    bits: u32,
}

/// `place` says to which output a row goes, and which row it is there. All have the same shape.
fn rotate_and_quantize(
    run: &mut Run<'_>,
    part: &Part<'_>,
    rows: Range<usize>,
    x: &mut [i32],
    rope: bool,
    outs: &[Quantized<'_>],
    place: &(dyn Fn(usize) -> (usize, usize) + Sync),
) {
    let Some(&Quantized { groups, bits, .. }) = outs.first() else { return };
    let Decoder { head_len, rotated, .. } = *part.model.decoder();
    let table = &part.model.decoder().rope;
    let width = groups * head_len;
    let (isa, saturations, x) = (run.isa, run.saturations, Parts::new(x));
    run.team.run(rows.len().div_ceil(CHUNK), &|_, task| {
        for row in chunk(task, &rows) {
            let (out, to) = place(row);
            let out = &outs[out];
            // SAFETY: every task has rows of its own, and so their places.
            #[expect(unsafe_code, reason = "parts that tasks write")]
            let (x, values, shifts) = unsafe {
                let values = out.values.part(to * width..(to + 1) * width);
                let shifts = out.shifts.part(to * groups..(to + 1) * groups);
                (x.part(row * width..(row + 1) * width), values, shifts)
            };
            if rope {
                let row = &table[part.rows[row].position * rotated..][..rotated];
                count_to(saturations, isa.run(Rope { x, head_len, row }));
            }
            let heads = x.chunks_exact(head_len).zip(values.chunks_exact_mut(head_len));
            for ((x, out), shift) in heads.zip(shifts) {
                *shift = isa.run(Quantize { x, bits, out });
            }
        }
    });
}
