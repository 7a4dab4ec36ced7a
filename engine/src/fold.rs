//! The folds of a block's elements, unit by unit: what a provider reveals and a challenger compares in the Fold phase.

use crate::executor::{Cache, Tensor};
use crate::model::Model;
use crate::program::{Op, SUM_UNIT, Step, UNIT};
use refute_kernels::reference::{Sampling, linear, max, mix, quantize, rms_norm, sample, sum};

/// A block's tensors and where they come from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The model.
    pub model: &'a Model,
    /// Carried tensors of positions `0..=block`.
    pub cache: &'a Cache,
    /// The tensors of the block's steps.
    pub tensors: &'a [Tensor],
    /// Position.
    pub block: u32,
    /// The request's.
    pub sampling: Sampling,
}

impl<'a> Inputs<'a> {
    fn input(&self, step: &Step, i: usize) -> Option<&'a Tensor> {
        self.tensors.get(step.descriptor.inputs[i] as usize)
    }

    /// Values `start..start + len` of the step's first input.
    fn ints(&self, step: &Step, start: usize, len: usize) -> &'a [i32] {
        self.input(step, 0).and_then(|t| t.ints().get(start..start + len)).unwrap_or_default()
    }

    /// The accumulators at `boundaries` (ascending numbers of units folded) of one element.
    pub fn accumulators(&self, step: &Step, element: u32, boundaries: &[u64]) -> Vec<i128> {
        let d = &step.descriptor;
        let Ok((_, init)) = d.fold(self.block) else { return Vec::new() };
        let mut acc = init.value();
        let mut unit = 0;
        let mut values = Vec::with_capacity(boundaries.len());
        for boundary in boundaries {
            while unit < *boundary {
                acc = self.unit(step, element as usize, unit as usize, acc);
                unit += 1;
            }
            values.push(acc);
        }
        values
    }

    /// Folds one unit.
    fn unit(&self, step: &Step, element: usize, unit: usize, acc: i128) -> i128 {
        let d = &step.descriptor;
        let positions = self.block as usize + 1;
        let part = |start: usize, len: usize, size: usize| {
            let from = (unit * size).min(len);
            (start + from, (len - from).min(size))
        };
        match d.op {
            Op::RmsNorm => {
                let (start, len) = part(0, d.n as usize, UNIT);
                rms_norm::unit(acc, self.ints(step, start, len))
            }
            Op::Quantize => {
                let group_len = (d.n / d.groups) as usize;
                let n = d.n as usize;
                let group = element.checked_sub(n).unwrap_or(element / group_len);
                let (start, len) = part(group * group_len, group_len, UNIT);
                quantize::unit(acc, self.ints(step, start, len))
            }
            Op::Linear => {
                let format = d.weight_format();
                let index = step.weight.unwrap_or_default();
                let per_row = format.leaves_per_row(d.k as usize);
                let leaf = self.model.weights.tensor_leaf(index, element * per_row + unit);
                let (start, len) = part(0, d.k as usize, format.leaf_len());
                let (x, _) = self.input(step, 0).map(Tensor::quantized).unwrap_or_default();
                linear::unit(format, &leaf, &x[start..start + len], acc)
            }
            Op::Max => {
                let (start, len) = part(element * positions, positions, UNIT);
                max::unit(acc, self.ints(step, start, len))
            }
            Op::Sum => {
                let (start, len) = part(element * positions, positions, SUM_UNIT);
                let probs = self.input(step, 0).map(Tensor::probs).unwrap_or_default();
                sum::unit(acc, &probs[start..start + len])
            }
            Op::Mix => self.mix_unit(step, element, unit, acc),
            Op::Sample => {
                let (start, len) = part(0, d.k as usize, UNIT);
                let logits = self.ints(step, start, len);
                sample::unit(self.sampling, self.block, acc, start as u32, logits)
            }
            Op::Embed | Op::Rope | Op::Scores | Op::Probs | Op::SwiGlu | Op::Collect => acc,
        }
    }

    fn mix_unit(&self, step: &Step, element: usize, position: usize, acc: i128) -> i128 {
        let d = &step.descriptor;
        let (head, i) = (element / d.k as usize, element % d.k as usize);
        let group = head / (d.groups / d.kv) as usize;
        let probs = self.input(step, 0).map(Tensor::probs).unwrap_or_default();
        let p = probs[head * (self.block as usize + 1) + position];
        let row = self.cache.tensor(d.c1 as usize, position);
        let (values, shifts) = row.quantized();
        mix::unit(acc, p, values[group * d.k as usize + i], shifts[group])
    }
}
