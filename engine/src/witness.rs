//! The witness of the last step of a dispute: the opened leaves that the contract needs, in the order of
//! `kernels/README.md`, section *openings*.

use crate::executor::Tensor;
use crate::program::{Descriptor, LEAF_BYTES, Op, SUM_UNIT, Step, UNIT};
use crate::trace::{Expansion, Run};
use alloy::primitives::{B256, Bytes};
use alloy::sol_types::SolValue;
use refute_bisection::merkle::{Hash, MerkleError, Tree, token_leaf, token_tree};
use refute_bisection::position::Index;
use refute_bisection::state::{Mode, State};
use refute_contracts::bindings::Opening;
use std::ops::Range;

/// Tokens under one leaf of a token tree.
const LEAF_TOKENS: u32 = 256;

/// Why a witness can't be built. An honest player at a step that it agreed to never sees one.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The state isn't at a step of this run.
    #[error("step {step} of block {block} is not a step of this run")]
    Step {
        /// Position.
        block: u32,
        /// Step of the program.
        step: u32,
    },
    /// A node of the opponent's tree that was never revealed.
    #[error("no path to {0}: it lies right of the disputed node and was not revealed")]
    Path(&'static str),
    /// Something outside the run.
    #[error("{0} is outside of the run")]
    Outside(&'static str),
    /// A tree of a size that can't be.
    #[error(transparent)]
    Merkle(#[from] MerkleError),
}

/// Paths in the trees that the claim and the dispute commit to: a player's own nodes left of the disputed one, revealed
/// nodes right of it.
pub trait Paths {
    /// Path of a block root to the claim's trace root.
    fn block(&self, block: u32) -> Option<Vec<Hash>>;
    /// Path of a step's tensor root to the defender's step root.
    fn step(&self, step: u32) -> Option<Vec<Hash>>;
}

/// `abi.encode(Opening[])` for the step that the state has come to.
///
/// # Errors
/// A state that isn't at a step of this run.
pub fn build(
    run: &Run,
    expansion: &Expansion,
    state: &State,
    paths: &dyn Paths,
) -> Result<Bytes, WitnessError> {
    let step = run
        .model()
        .program
        .steps
        .get(state.step.0 as usize)
        .ok_or(WitnessError::Step { block: state.block.0, step: state.step.0 })?;
    let mut witness = Witness { run, expansion, paths, openings: Vec::new() };
    let element = state.element.0 as usize;
    let unit = if state.mode == Mode::Segment { state.lo as usize } else { 0 };
    if state.mode != Mode::Finalize {
        witness.unit(step, element, unit)?;
    }
    if state.mode != Mode::Segment {
        witness.finalize(step, element)?;
    }
    Ok(witness.openings.abi_encode().into())
}

struct Witness<'a> {
    run: &'a Run,
    expansion: &'a Expansion,
    paths: &'a dyn Paths,
    openings: Vec<Opening>,
}

impl Witness<'_> {
    fn positions(&self) -> usize {
        self.expansion.block as usize + 1
    }

    /// The leaves that one unit of the element's fold reads.
    fn unit(&mut self, step: &Step, element: usize, unit: usize) -> Result<(), WitnessError> {
        let d = &step.descriptor;
        let within = |start: usize, len: usize, size: usize| {
            start + (unit * size).min(len)..start + ((unit + 1) * size).min(len)
        };
        match d.op {
            Op::RmsNorm | Op::Sample => {
                self.read(d.inputs[0], unit * LEAF_BYTES..unit * LEAF_BYTES + 1)
            }
            Op::Quantize => {
                let len = (d.n / d.groups) as usize;
                let group = element.checked_sub(d.n as usize).unwrap_or(element / len);
                self.read(d.inputs[0], scale(within(group * len, len, UNIT), 4))
            }
            Op::Linear => {
                let per_row = d.weight_format().leaves_per_row(d.k as usize);
                self.weight(d.w as usize + element * per_row + unit)?;
                let columns = within(0, d.k as usize, d.weight_format().leaf_len());
                self.read(d.inputs[0], scale(columns, 2))
            }
            Op::Max => {
                let scores = within(element * self.positions(), self.positions(), UNIT);
                self.read(d.inputs[0], scale(scores, 4))
            }
            Op::Sum => {
                let probs = within(element * self.positions(), self.positions(), SUM_UNIT);
                self.read(d.inputs[0], scale(probs, 2))
            }
            Op::Mix => {
                let (head, i) = (element / d.k as usize, element % d.k as usize);
                let group = head / (d.groups / d.kv) as usize;
                let value = group * d.k as usize + i;
                self.read(d.inputs[0], at(2 * (head * self.positions() + unit), 2))?;
                self.carried(d, d.inputs[2], unit, at(2 * value, 2))?;
                self.carried(d, d.inputs[2], unit, at(shift_place(d, group), 1))
            }
            Op::Embed | Op::Rope | Op::Scores | Op::Probs | Op::SwiGlu | Op::Collect => Ok(()),
        }
    }

    /// The leaves that the element's finalizer reads.
    fn finalize(&mut self, step: &Step, element: usize) -> Result<(), WitnessError> {
        let d = &step.descriptor;
        let k = d.k as usize;
        match d.op {
            Op::Embed => self.embed(d, element),
            Op::RmsNorm => {
                self.read(d.inputs[0], at(4 * element, 4))?;
                self.weight(d.w as usize + element / UNIT)
            }
            Op::Quantize if element < d.n as usize => self.read(d.inputs[0], at(4 * element, 4)),
            Op::Linear => {
                self.read(d.inputs[0], at(2 * k, 1))?;
                if step.bias.is_some() {
                    self.weight(d.b as usize + element / UNIT)?;
                }
                match d.inputs[1] {
                    crate::program::NO_STEP => Ok(()),
                    residual => self.read(residual, at(4 * element, 4)),
                }
            }
            Op::Rope => {
                self.read(d.inputs[0], at(4 * element, 4))?;
                let (rotated, i) = (d.c0 as usize, element % k);
                if i < rotated {
                    let row = self.expansion.block as usize * rotated.div_ceil(UNIT);
                    self.weight(d.w as usize + row + i / UNIT)?;
                }
                Ok(())
            }
            Op::Scores => self.scores(d, element),
            Op::Probs => {
                self.read(d.inputs[0], at(4 * element, 4))?;
                self.read(d.inputs[1], at(4 * (element / self.positions()), 4))
            }
            Op::Mix => self.read(d.inputs[1], at(4 * (element / k), 4)),
            Op::SwiGlu => {
                self.read(d.inputs[0], at(4 * element, 4))?;
                self.read(d.inputs[1], at(4 * element, 4))
            }
            Op::Collect => self.collect(element),
            Op::Quantize | Op::Max | Op::Sum | Op::Sample => Ok(()),
        }
    }

    fn embed(&mut self, d: &Descriptor, element: usize) -> Result<(), WitnessError> {
        let (run, t) = (self.run, self.expansion.block);
        let prompt = run.prompt().len() as u32;
        let (tokens, i) = if t < prompt { (run.prompt(), t) } else { (run.output(), t - prompt) };
        let leaf = Index(i / LEAF_TOKENS);
        let path = token_tree(tokens)?.path(leaf).ok_or(WitnessError::Outside("the token"))?;
        self.push(token_leaf(tokens, leaf), path);
        let format = d.weight_format();
        let row = run.token(t) as usize * format.leaves_per_row(d.k as usize);
        self.weight(d.w as usize + row + element / format.leaf_len())
    }

    fn scores(&mut self, d: &Descriptor, element: usize) -> Result<(), WitnessError> {
        let k = d.k as usize;
        let (head, s) = (element / self.positions(), element % self.positions());
        let group = head / (d.groups / d.kv) as usize;
        let q_shift = 2 * d.groups as usize * k + head;
        self.read(d.inputs[0], 2 * head * k..2 * (head + 1) * k)?;
        self.read(d.inputs[0], at(q_shift, 1))?;
        self.carried(d, d.inputs[1], s, 2 * group * k..2 * (group + 1) * k)?;
        self.carried(d, d.inputs[1], s, at(shift_place(d, group), 1))
    }

    fn collect(&mut self, slot: usize) -> Result<(), WitnessError> {
        let outside = || WitnessError::Outside("the carried tensor");
        let program = &self.run.model().program;
        let step = *program.carried.get(slot).ok_or_else(outside)?;
        let descriptor = &program.steps[step as usize].descriptor;
        let mut data = step.to_le_bytes().to_vec();
        data.extend_from_slice(&descriptor.leaf());
        let path = self.run.model().program_tree().path(Index(step)).ok_or_else(outside)?;
        self.push(data, path);
        let root = self.expansion.trees[step as usize].root();
        let path = self.paths.step(step).ok_or(WitnessError::Path("the carried step"))?;
        self.push(root.to_vec(), path);
        Ok(())
    }

    /// Opens the leaves of a step's tensor that hold these bytes.
    fn read(&mut self, step: u16, bytes: Range<usize>) -> Result<(), WitnessError> {
        let outside = || WitnessError::Outside("an input of the step");
        let tensor = self.expansion.tensors.get(step as usize).ok_or_else(outside)?;
        let up = self.paths.step(step.into()).ok_or(WitnessError::Path("an input of the step"))?;
        self.leaves(tensor, &self.expansion.trees[step as usize], bytes, &up)
    }

    /// Opens the leaves of a carried tensor of position `s` that hold these bytes; of the block itself, its own step's.
    fn carried(
        &mut self,
        d: &Descriptor,
        own: u16,
        s: usize,
        bytes: Range<usize>,
    ) -> Result<(), WitnessError> {
        if s as u32 == self.expansion.block {
            return self.read(own, bytes);
        }
        let outside = || WitnessError::Outside("a carried tensor");
        let slot = d.c1 as usize;
        let tensor = self.run.cache().tensor(slot, s);
        let block = self.run.block_tree(s as u32)?.path(Index(slot as u32));
        let mut up = block.ok_or_else(outside)?;
        let trace = self.paths.block(s as u32);
        up.extend(trace.ok_or(WitnessError::Path("an earlier block"))?);
        let tree = tensor.tree()?;
        self.leaves(&tensor, &tree, bytes, &up)
    }

    fn leaves(
        &mut self,
        tensor: &Tensor,
        tree: &Tree,
        bytes: Range<usize>,
        up: &[Hash],
    ) -> Result<(), WitnessError> {
        let outside = || WitnessError::Outside("a leaf of an input");
        let encoded = tensor.encode();
        for leaf in bytes.start / LEAF_BYTES..bytes.end.div_ceil(LEAF_BYTES) {
            let data = encoded.chunks(LEAF_BYTES).nth(leaf).ok_or_else(outside)?;
            let mut path = tree.path(Index(leaf as u32)).ok_or_else(outside)?;
            path.extend_from_slice(up);
            self.push(data.to_vec(), path);
        }
        Ok(())
    }

    fn weight(&mut self, leaf: usize) -> Result<(), WitnessError> {
        let outside = || WitnessError::Outside("a weight leaf");
        let leaf = u32::try_from(leaf).map_err(|_| outside())?;
        let model = self.run.model();
        let data = model.weights.leaf(leaf).ok_or_else(outside)?.into_owned();
        let path = model.weight_tree().path(Index(leaf)).ok_or_else(outside)?;
        self.push(data, path);
        Ok(())
    }

    fn push(&mut self, data: Vec<u8>, path: Vec<Hash>) {
        let proof = path.into_iter().map(B256::from).collect();
        self.openings.push(Opening { data: data.into(), proof });
    }
}

fn at(start: usize, len: usize) -> Range<usize> {
    start..start + len
}

fn scale(range: Range<usize>, width: usize) -> Range<usize> {
    range.start * width..range.end * width
}

/// Byte of a KV head's shift in a carried tensor.
fn shift_place(d: &Descriptor, group: usize) -> usize {
    2 * (d.kv * d.k) as usize + group
}
