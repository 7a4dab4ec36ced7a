//! One block, step after step.

use super::{Cache, Tensor};
use crate::fault::Fault;
use crate::model::Model;
use crate::program::{Descriptor, Op, Step};
use rayon::prelude::*;
use refute_bisection::merkle::MerkleError;
use refute_kernels::backend::Steps;
use refute_kernels::reference::{
    Sampling, embed, linear, max, mix, probs, quantize, rms_norm, rope, sample, scores, sum, swiglu,
};
use refute_kernels::{Format, Heads};
use std::time::{Duration, Instant};

/// Multiplications that are worth a task of their own.
const TASK_PRODUCTS: usize = 1 << 17;

/// What a block yields.
#[derive(Clone, Debug)]
pub struct BlockRun {
    /// One tensor per step, in order.
    pub tensors: Vec<Tensor>,
    /// Time that `Collect` took: hashing the carried tensors.
    pub hashing: Duration,
}

/// Runs a block, to the end if `is_output`, else to `Collect`, with the reference alone. `position` is the block and the token
/// that it reads, `sampling` the request's. The cache holds the positions before it and gets this one.
///
/// # Errors
/// None for a token of the vocabulary (trees of tensors can't be empty).
pub fn run_block(
    model: &Model,
    cache: &mut Cache,
    position: (u32, u32),
    is_output: bool,
    sampling: Sampling,
    fault: Option<&Fault>,
) -> Result<BlockRun, MerkleError> {
    let cache = Carried::Growing(cache);
    in_pool(|| Runner { model, cache, position, sampling, fault, lent: None }.run(is_output))
}

/// Runs a block again: the cache holds its position as well. What the model's backend computes step by step, it does; the bits
/// are the same.
///
/// # Errors
/// As [`run_block`].
pub fn rerun_block(
    model: &Model,
    cache: &Cache,
    position: (u32, u32),
    is_output: bool,
    sampling: Sampling,
    fault: Option<&Fault>,
) -> Result<Vec<Tensor>, MerkleError> {
    let backend = model.backend();
    let runner =
        |lent| Runner { model, cache: Carried::Whole(cache), position, sampling, fault, lent };
    let run = match backend.as_ref().and_then(|backend| backend.steps()) {
        Some(steps) => runner(Some(Lent { steps, linears: 0 })).run(is_output),
        None => in_pool(|| runner(None).run(is_output)),
    };
    Ok(run?.tensors)
}

/// In the pool from the first step on: else the pool would be woken and waited for at every linear.
fn in_pool<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| run())
}

/// The K and V rows that a block reads.
enum Carried<'a> {
    /// The block's own are appended as they come.
    Growing(&'a mut Cache),
    /// The block's own are there.
    Whole(&'a Cache),
}

impl Carried<'_> {
    fn all(&self) -> &Cache {
        match self {
            Self::Growing(cache) => cache,
            Self::Whole(cache) => cache,
        }
    }
}

/// A backend's hands.
struct Lent<'a> {
    steps: Box<dyn Steps + 'a>,
    /// Linears done: the program has them in the decoder's order.
    linears: usize,
}

/// A block in progress.
struct Runner<'a> {
    model: &'a Model,
    cache: Carried<'a>,
    /// Which block, and the token that it reads.
    position: (u32, u32),
    sampling: Sampling,
    fault: Option<&'a Fault>,
    /// Else the reference computes everything.
    lent: Option<Lent<'a>>,
}

impl Runner<'_> {
    fn run(mut self, is_output: bool) -> Result<BlockRun, MerkleError> {
        let model = self.model;
        let mut hashing = Duration::ZERO;
        let count = model.program.len(is_output) as usize;
        let mut tensors: Vec<Tensor> = Vec::with_capacity(count);
        for (index, step) in model.program.steps[..count].iter().enumerate() {
            let start = Instant::now();
            let mut tensor = self.step(&tensors, step)?;
            if step.descriptor.op == Op::Collect {
                hashing += start.elapsed();
            }
            if let Some(fault) = self.fault.filter(|f| f.hits(self.position.0, index as u32)) {
                fault.corrupt(&step.descriptor, &mut tensor, &model.registration.params.stopIds);
            }
            if let (Carried::Growing(cache), slot @ 1.., Tensor::Quantized { values, shifts }) =
                (&mut self.cache, step.descriptor.slot as usize, &tensor)
            {
                cache.push(slot - 1, values, shifts);
            }
            tensors.push(tensor);
        }
        Ok(BlockRun { tensors, hashing })
    }

    fn step(&mut self, tensors: &[Tensor], step: &Step) -> Result<Tensor, MerkleError> {
        let d = &step.descriptor;
        let input = |i: usize| &tensors[d.inputs[i] as usize];
        Ok(match d.op {
            Op::Linear => self.linear(tensors, step),
            Op::Embed | Op::RmsNorm | Op::Rope => self.weighted(tensors, step),
            Op::Quantize => {
                let (mut values, mut shifts) = (vec![0; d.n as usize], vec![0; d.groups as usize]);
                let groups = d.groups as usize;
                quantize::forward(input(0).ints(), groups, d.c0, &mut values, &mut shifts);
                Tensor::Quantized { values, shifts }
            }
            Op::Scores | Op::Max | Op::Probs | Op::Sum | Op::Mix => self.attention(tensors, d),
            Op::SwiGlu => {
                let (gate, up) = (input(0).ints(), input(1).ints());
                let mut out = vec![0; d.n as usize];
                match &mut self.lent {
                    Some(Lent { steps, .. }) => steps.swiglu(gate, up, &mut out),
                    None => swiglu::forward(gate, up, &mut out),
                }
                Tensor::Ints(out)
            }
            Op::Collect => {
                let root = |step: &u32| Ok(tensors[*step as usize].tree()?.root());
                let roots = self.model.program.carried.iter().map(root);
                Tensor::Roots(roots.collect::<Result<_, MerkleError>>()?)
            }
            Op::Sample => {
                let (t, logits) = (self.position.0, input(0).ints());
                Tensor::Words(vec![sample::forward(self.sampling, t, logits)])
            }
        })
    }

    fn weighted(&self, tensors: &[Tensor], step: &Step) -> Tensor {
        let d = &step.descriptor;
        let weights = &self.model.weights;
        let index = step.weight.unwrap_or_default();
        let (t, token) = self.position;
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
            _ => {
                let (head, rotated) = (d.k as usize, d.c0 as usize);
                let row = weights.ints(index, t as usize);
                rope::forward(input().ints(), head, rotated, row, &mut out);
            }
        }
        Tensor::Ints(out)
    }

    fn linear(&mut self, tensors: &[Tensor], step: &Step) -> Tensor {
        let d = &step.descriptor;
        let mut out = vec![0; d.n as usize];
        let x = tensors[d.inputs[0] as usize].quantized();
        let residual = tensors.get(d.inputs[1] as usize).map(Tensor::ints);
        if let Some(Lent { steps, linears }) = &mut self.lent {
            steps.linear(*linears, x, residual, &mut out);
            *linears += 1;
        } else {
            let weights = &self.model.weights;
            let blocks = weights.blocks(step.weight.unwrap_or_default());
            let bias = step.bias.map(|b| weights.ints(b, 0));
            parallel_linear(d.weight_format(), blocks, x, (bias, residual), &mut out);
        }
        Tensor::Ints(out)
    }

    fn attention(&mut self, tensors: &[Tensor], d: &Descriptor) -> Tensor {
        let positions = self.position.0 as usize + 1;
        let lent = self.lent.as_mut().map(|lent| &mut lent.steps);
        let heads = d.groups as usize;
        let shape = Heads { heads, kv: d.kv as usize, len: d.k as usize };
        let input = |i: usize| &tensors[d.inputs[i] as usize];
        let carried = || self.cache.all().rows(d.c1 as usize, positions);
        match d.op {
            Op::Scores => {
                let mut out = vec![0; heads * positions];
                let (q, q_shifts) = input(0).quantized();
                let (k, k_shifts) = carried();
                match lent {
                    Some(steps) => steps.scores((q, q_shifts), (k, k_shifts), &mut out),
                    None => scores::forward(&shape, d.c0, q, q_shifts, k, k_shifts, &mut out),
                }
                Tensor::Ints(out)
            }
            Op::Max => {
                let mut out = vec![0; heads];
                max::forward(heads, input(0).ints(), &mut out);
                Tensor::Ints(out)
            }
            Op::Probs => {
                let mut out = vec![0; heads * positions];
                let (scores, maxima) = (input(0).ints(), input(1).ints());
                match lent {
                    Some(steps) => steps.probs(scores, maxima, &mut out),
                    None => probs::forward(heads, scores, maxima, &mut out),
                }
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
                let (probs, sums) = (input(0).probs(), input(1).words());
                match lent {
                    Some(steps) => steps.mix(probs, sums, (v, v_shifts), &mut out),
                    None => mix::forward(&shape, probs, sums, v, v_shifts, &mut out),
                }
                Tensor::Ints(out)
            }
        }
    }
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
