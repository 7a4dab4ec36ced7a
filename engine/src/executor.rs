//! The reference executor: runs the program, block after block, with the ops of `refute_kernels::reference`.
//!
//! A block reads its token and the carried tensors of earlier blocks ([`Cache`]) and yields one [`Tensor`] per step. Rows of
//! a linear are spread over threads; integer sums make the split invisible. A block that is run again, for a dispute, takes
//! from the model's backend what that computes step by step.

mod block;

pub use block::{BlockRun, rerun_block, run_block};

use crate::model::Model;
use refute_bisection::merkle::{Hash, MerkleError, Tree};
use refute_kernels::backend::Rows;
use std::ops::Range;

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
