//! The reference executor: runs the program, block after block, with the ops of `refute_kernels::reference`.
//!
//! A block reads its token and the carried tensors of earlier blocks ([`Cache`]) and yields one [`Tensor`] per step. Rows of
//! a linear are spread over threads; integer sums make the split invisible.

use crate::fault::Fault;
use crate::model::Model;
use crate::program::{Descriptor, Op, Step};
use rayon::prelude::*;
use refute_bisection::merkle::{Hash, MerkleError, Tree};
use refute_kernels::backend::Rows;
use refute_kernels::reference::{
    Sampling, embed, linear, max, mix, probs, quantize, rms_norm, rope, sample, scores, sum, swiglu,
};
use refute_kernels::{Format, Heads};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Multiplications that are worth a task of their own.
const TASK_PRODUCTS: usize = 1 << 17;

/// The output of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tensor {
    /// `i32` values: Fx, scores, maxima.
    Ints(Vec<i32>),
    /// Quantized rows: values, then one shift per group.
    Quantized {
        /// `i16` values.
        values: Vec<i16>,
        /// One per group.
        shifts: Vec<u8>,
    },
    /// Probabilities, 14 bits.
    Probs(Vec<u16>),
    /// Sums of probabilities; the sampled token.
    Words(Vec<u32>),
    /// The roots of the carried tensors (`Collect`).
    Roots(Vec<Hash>),
}

impl Tensor {
    /// The tensor's bytes, little-endian; of `Roots`, the roots one after the other.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ints(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Quantized { values, shifts } => {
                let bytes = values.iter().flat_map(|x| x.to_le_bytes());
                bytes.chain(shifts.iter().copied()).collect()
            }
            Self::Probs(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Words(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::Roots(v) => v.as_flattened().to_vec(),
        }
    }

    /// The tree over the tensor's leaves.
    ///
    /// # Errors
    /// None for a tensor of a program, which has an element and fewer than 2^32 leaves.
    pub fn tree(&self) -> Result<Tree, MerkleError> {
        match self {
            Self::Roots(roots) => Tree::new(roots.clone()),
            _ => Tree::of_bytes(&self.encode()),
        }
    }

    /// Elements: values, then shifts.
    pub fn elements(&self) -> usize {
        match self {
            Self::Ints(v) => v.len(),
            Self::Quantized { values, shifts } => values.len() + shifts.len(),
            Self::Probs(v) => v.len(),
            Self::Words(v) => v.len(),
            Self::Roots(v) => v.len(),
        }
    }

    /// The `i32` values; empty for other kinds.
    pub fn ints(&self) -> &[i32] {
        if let Self::Ints(v) = self { v } else { &[] }
    }

    /// Values and shifts of a quantized tensor; empty for other kinds.
    pub fn quantized(&self) -> (&[i16], &[u8]) {
        if let Self::Quantized { values, shifts } = self { (values, shifts) } else { (&[], &[]) }
    }

    /// The probabilities; empty for other kinds.
    pub fn probs(&self) -> &[u16] {
        if let Self::Probs(v) = self { v } else { &[] }
    }

    /// The `u32` values; empty for other kinds.
    pub fn words(&self) -> &[u32] {
        if let Self::Words(v) = self { v } else { &[] }
    }
}

/// One carried tensor of every position so far.
#[derive(Clone, Debug, Default)]
struct Carried {
    values: Vec<i16>,
    shifts: Vec<u8>,
    width: usize,
    groups: usize,
}

/// What later blocks read: the K and V rows of every layer and position, by carried slot.
#[derive(Clone, Debug)]
pub struct Cache {
    slots: Vec<Carried>,
}

impl Cache {
    /// An empty cache of `model`, with room for so many positions.
    pub fn new(model: &Model, positions: usize) -> Self {
        let rows = |step: &u32| {
            let d = &model.program.steps[*step as usize].descriptor;
            let (width, groups) = (d.n as usize, d.groups as usize);
            let values = Vec::with_capacity(positions * width);
            Carried { values, shifts: Vec::with_capacity(positions * groups), width, groups }
        };
        Self { slots: model.program.carried.iter().map(rows).collect() }
    }

    /// Bytes that one position takes.
    pub fn bytes_per_position(&self) -> usize {
        self.slots.iter().map(|r| 2 * r.width + r.groups).sum()
    }

    /// Appends the rows of the next positions.
    pub fn extend(&mut self, carried: &[Rows]) {
        for (rows, new) in self.slots.iter_mut().zip(carried) {
            rows.values.extend_from_slice(&new.values);
            rows.shifts.extend_from_slice(&new.shifts);
        }
    }

    /// The rows of positions `range`, by slot.
    pub fn range(&self, range: Range<usize>) -> Vec<Rows> {
        let cut = |r: &Carried| Rows {
            values: r.values[range.start * r.width..range.end * r.width].to_vec(),
            shifts: r.shifts[range.start * r.groups..range.end * r.groups].to_vec(),
        };
        self.slots.iter().map(cut).collect()
    }

    /// Appends the row of the next position.
    fn push(&mut self, slot: usize, values: &[i16], shifts: &[u8]) {
        self.slots[slot].values.extend_from_slice(values);
        self.slots[slot].shifts.extend_from_slice(shifts);
    }

    /// Values and shifts of positions `0..positions`.
    fn rows(&self, slot: usize, positions: usize) -> (&[i16], &[u8]) {
        let rows = &self.slots[slot];
        (&rows.values[..positions * rows.width], &rows.shifts[..positions * rows.groups])
    }

    /// A copy of positions `0..positions`.
    pub fn prefix(&self, positions: usize) -> Self {
        let cut = |r: &Carried| Carried {
            values: r.values[..positions * r.width].to_vec(),
            shifts: r.shifts[..positions * r.groups].to_vec(),
            ..*r
        };
        Self { slots: self.slots.iter().map(cut).collect() }
    }

    /// The carried tensor of one position, as its step yielded it.
    pub fn tensor(&self, slot: usize, position: usize) -> Tensor {
        let rows = &self.slots[slot];
        let (w, g) = (rows.width, rows.groups);
        Tensor::Quantized {
            values: rows.values[position * w..(position + 1) * w].to_vec(),
            shifts: rows.shifts[position * g..(position + 1) * g].to_vec(),
        }
    }
}

/// What a block yields.
#[derive(Clone, Debug)]
pub struct BlockRun {
    /// One tensor per step, in order.
    pub tensors: Vec<Tensor>,
    /// Time that `Collect` took: hashing the carried tensors.
    pub hashing: Duration,
}

/// Runs block `t` with `token`, to the end if `is_output`, else to `Collect`; `sampling` is the request's. The cache holds
/// positions `0..t` and gets position `t`.
///
/// # Errors
/// None for a token of the vocabulary (trees of tensors can't be empty).
pub fn run_block(
    model: &Model,
    cache: &mut Cache,
    (t, token): (u32, u32),
    is_output: bool,
    sampling: Sampling,
    fault: Option<&Fault>,
) -> Result<BlockRun, MerkleError> {
    // In the pool from the first step on: else the pool would be woken and waited for at every linear.
    rayon::scope(|_| run_steps(model, cache, (t, token), is_output, sampling, fault))
}

fn run_steps(
    model: &Model,
    cache: &mut Cache,
    (t, token): (u32, u32),
    is_output: bool,
    sampling: Sampling,
    fault: Option<&Fault>,
) -> Result<BlockRun, MerkleError> {
    let mut hashing = Duration::ZERO;
    let count = model.program.len(is_output) as usize;
    let mut tensors: Vec<Tensor> = Vec::with_capacity(count);
    for (index, step) in model.program.steps[..count].iter().enumerate() {
        let start = Instant::now();
        let mut tensor = run_step(model, cache, &tensors, step, (t, token), sampling)?;
        if step.descriptor.op == Op::Collect {
            hashing += start.elapsed();
        }
        if let Some(fault) = fault.filter(|f| f.hits(t, index as u32)) {
            fault.corrupt(&step.descriptor, &mut tensor, &model.registration.params.stopIds);
        }
        if let (slot @ 1.., Tensor::Quantized { values, shifts }) =
            (step.descriptor.slot as usize, &tensor)
        {
            cache.push(slot - 1, values, shifts);
        }
        tensors.push(tensor);
    }
    Ok(BlockRun { tensors, hashing })
}

fn run_step(
    model: &Model,
    cache: &Cache,
    tensors: &[Tensor],
    step: &Step,
    (t, token): (u32, u32),
    sampling: Sampling,
) -> Result<Tensor, MerkleError> {
    let d = &step.descriptor;
    let input = |i: usize| &tensors[d.inputs[i] as usize];
    Ok(match d.op {
        Op::Embed | Op::RmsNorm | Op::Linear | Op::Rope => {
            weighted_step(model, tensors, step, t, token)
        }
        Op::Quantize => {
            let (mut values, mut shifts) = (vec![0; d.n as usize], vec![0; d.groups as usize]);
            quantize::forward(input(0).ints(), d.groups as usize, d.c0, &mut values, &mut shifts);
            Tensor::Quantized { values, shifts }
        }
        Op::Scores | Op::Max | Op::Probs | Op::Sum | Op::Mix => {
            attention_step(cache, tensors, d, t as usize + 1)
        }
        Op::SwiGlu => {
            let mut out = vec![0; d.n as usize];
            swiglu::forward(input(0).ints(), input(1).ints(), &mut out);
            Tensor::Ints(out)
        }
        Op::Collect => {
            let root = |step: &u32| Ok(tensors[*step as usize].tree()?.root());
            let roots = model.program.carried.iter().map(root);
            Tensor::Roots(roots.collect::<Result<_, MerkleError>>()?)
        }
        Op::Sample => Tensor::Words(vec![sample::forward(sampling, t, input(0).ints())]),
    })
}

fn weighted_step(model: &Model, tensors: &[Tensor], step: &Step, t: u32, token: u32) -> Tensor {
    let d = &step.descriptor;
    let weights = &model.weights;
    let index = step.weight.unwrap_or_default();
    let mut out = vec![0; d.n as usize];
    let input = || &tensors[d.inputs[0] as usize];
    match d.op {
        Op::Embed => {
            embed::forward(d.weight_format(), weights.row(index, token as usize), &mut out);
        }
        Op::RmsNorm => {
            let w = weights.ints(index, 0);
            rms_norm::forward(input().ints(), w, d.c0, d.c1 as i32, &mut out);
        }
        Op::Rope => {
            let (head, rotated) = (d.k as usize, d.c0 as usize);
            let row = weights.ints(index, t as usize);
            rope::forward(input().ints(), head, rotated, row, &mut out);
        }
        _ => {
            let residual = tensors.get(d.inputs[1] as usize).map(Tensor::ints);
            let bias = step.bias.map(|b| weights.ints(b, 0));
            parallel_linear(
                d.weight_format(),
                weights.blocks(index),
                input().quantized(),
                (bias, residual),
                &mut out,
            );
        }
    }
    Tensor::Ints(out)
}

/// A linear, its rows spread over the thread pool.
fn parallel_linear(
    format: Format,
    weights: &[u8],
    (x, shifts): (&[i16], &[u8]),
    (bias, residual): (Option<&[i32]>, Option<&[i32]>),
    out: &mut [i32],
) {
    let rows = (TASK_PRODUCTS / x.len().max(1)).max(1);
    let row_bytes = format.row_bytes(x.len());
    let shift = shifts.first().copied().unwrap_or_default();
    out.par_chunks_mut(rows).enumerate().for_each(|(i, out)| {
        let range = i * rows..i * rows + out.len();
        linear::forward(
            format,
            &weights[range.start * row_bytes..range.end * row_bytes],
            x,
            shift,
            bias.map(|b| &b[range.clone()]),
            residual.map(|r| &r[range.clone()]),
            out,
        );
    });
}

fn attention_step(cache: &Cache, tensors: &[Tensor], d: &Descriptor, positions: usize) -> Tensor {
    let heads = d.groups as usize;
    let shape = Heads { heads, kv: d.kv as usize, len: d.k as usize };
    let input = |i: usize| &tensors[d.inputs[i] as usize];
    let carried = || cache.rows(d.c1 as usize, positions);
    match d.op {
        Op::Scores => {
            let mut out = vec![0; heads * positions];
            let (q, q_shifts) = input(0).quantized();
            let (k, k_shifts) = carried();
            scores::forward(&shape, d.c0, q, q_shifts, k, k_shifts, &mut out);
            Tensor::Ints(out)
        }
        Op::Max => {
            let mut out = vec![0; heads];
            max::forward(heads, input(0).ints(), &mut out);
            Tensor::Ints(out)
        }
        Op::Probs => {
            let mut out = vec![0; heads * positions];
            probs::forward(heads, input(0).ints(), input(1).ints(), &mut out);
            Tensor::Probs(out)
        }
        Op::Sum => {
            let mut out = vec![0; heads];
            sum::forward(heads, input(0).probs(), &mut out);
            Tensor::Words(out)
        }
        _ => {
            let mut out = vec![0; heads * shape.len];
            let (v, v_shifts) = carried();
            mix::forward(&shape, input(0).probs(), input(1).words(), v, v_shifts, &mut out);
            Tensor::Ints(out)
        }
    }
}
