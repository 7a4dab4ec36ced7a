//! Running the toy program, honestly or with a lie, and the claim that comes out.

use super::program::{CARRIED, COLLECT, Op, PROGRAM, SAMPLE, Source, finalize, unit};
use refute_bisection::layout::{Descriptor, Fold, Layout, LayoutError, TensorShape};
use refute_bisection::merkle::{self, Hash, Tree};
use refute_bisection::position::{Block, Element, Index, Step};
use refute_bisection::state::{Word, word_from_i128};
use refute_bisection::trace::{Tensor, Trace};
use std::convert::Infallible;

/// What a provider does wrong. Everything that follows from it, follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// One element is another: by `delta`, or for `Collect` by one bit of the root.
    Element { block: u32, step: Step, element: u32, delta: i64 },
    /// One unit of one element's fold adds `delta`.
    Unit { block: u32, step: Step, element: u32, unit: u64, delta: i128 },
    /// The carried `Keep` isn't the step's: block root and attention use the false one.
    Carry { block: u32, element: u32, delta: i64 },
}

#[derive(Debug, Clone, Default)]
struct BlockData {
    /// Per step; empty for `Collect`.
    values: Vec<Vec<i64>>,
    /// Per slot, what later blocks read.
    carried: Vec<Vec<i64>>,
    collect: Vec<Hash>,
    step_roots: Vec<Hash>,
}

/// All blocks of one prompt and output.
#[derive(Debug, Clone)]
pub struct ToyTrace {
    pub prompt: Vec<u32>,
    pub output: Vec<u32>,
    lie: Option<Lie>,
    blocks: Vec<BlockData>,
}

pub fn encode(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| (*value as u32).to_le_bytes()).collect()
}

fn tensor_root(values: &[i64]) -> Hash {
    Tree::of_bytes(&encode(values)).unwrap().root()
}

/// Reads what is computed so far.
struct Memory<'a> {
    done: &'a [BlockData],
    block: &'a BlockData,
    token: u32,
    carry_lie: bool,
}

impl Source for Memory<'_> {
    type Error = Infallible;

    fn token(&mut self) -> Result<u32, Infallible> {
        Ok(self.token)
    }

    fn own(&mut self, step: Step, element: u32) -> Result<i64, Infallible> {
        let values = match CARRIED.iter().position(|carried| *carried == step) {
            // Only what comes after `Collect` reads the false one.
            Some(slot) if self.carry_lie && !self.block.collect.is_empty() => {
                &self.block.carried[slot]
            }
            _ => &self.block.values[step.0 as usize],
        };
        Ok(values[element as usize])
    }

    fn carried(&mut self, position: u32, slot: u32, element: u32) -> Result<i64, Infallible> {
        Ok(self.done[position as usize].carried[slot as usize][element as usize])
    }

    fn root(&mut self, slot: u32) -> Result<Hash, Infallible> {
        Ok(self.block.collect[slot as usize])
    }
}

impl ToyTrace {
    /// Generates `output_tokens` tokens.
    pub fn generate(prompt: &[u32], output_tokens: u32, lie: Option<Lie>) -> Self {
        Self::run(prompt, &[], output_tokens, lie)
    }

    /// Runs over the tokens that were posted.
    pub fn check(prompt: &[u32], output: &[u32]) -> Self {
        Self::run(prompt, output, output.len() as u32, None)
    }

    /// Runs over posted tokens, and goes on with its own after them.
    pub fn run(prompt: &[u32], posted: &[u32], output_tokens: u32, lie: Option<Lie>) -> Self {
        let (prompt, output) = (prompt.to_vec(), posted.to_vec());
        let mut trace = Self { prompt, output, lie, blocks: Vec::new() };
        let blocks = trace.prompt.len() as u32 + output_tokens - 1;
        for t in 0..blocks {
            let block = trace.compute(t);
            if t + 1 >= trace.prompt.len() as u32 {
                let index = (t + 1) as usize - trace.prompt.len();
                if index == trace.output.len() {
                    trace.output.push(block.values[SAMPLE.0 as usize][0] as u32);
                }
            }
            trace.blocks.push(block);
        }
        trace
    }

    fn token(&self, t: u32) -> u32 {
        let t = t as usize;
        self.prompt.get(t).copied().unwrap_or_else(|| self.output[t - self.prompt.len()])
    }

    fn carry_lie(&self, t: u32) -> bool {
        matches!(self.lie, Some(Lie::Carry { block, .. }) if block == t)
    }

    fn compute(&self, t: u32) -> BlockData {
        let mut block = BlockData::default();
        let steps = if t + 1 >= self.prompt.len() as u32 { PROGRAM.len() } else { 4 };
        for op in &PROGRAM[..steps] {
            let mut values: Vec<i64> = match op {
                Op::Collect => Vec::new(),
                _ => (0..op.elements())
                    .map(|element| self.element(&block, t, *op, element))
                    .collect(),
            };
            if *op == Op::Collect {
                block.collect = block.carried.iter().map(|values| tensor_root(values)).collect();
            }
            match self.lie {
                Some(Lie::Element { block: at, step, element, delta })
                    if (at, step) == (t, op.step()) =>
                {
                    if *op == Op::Collect {
                        block.collect[element as usize][31] ^= 1;
                    } else {
                        let value = &mut values[element as usize];
                        *value = i64::from((*value + delta) as i32);
                        if *op == Op::Sample {
                            *value = i64::from(*value as u32);
                        }
                    }
                }
                _ => {}
            }
            if CARRIED.contains(&op.step()) {
                block.carried.push(values.clone());
            }
            if let (Some(Lie::Carry { block: at, element, delta }), Op::Keep) = (self.lie, op)
                && at == t
            {
                block.carried[0][element as usize] += delta;
            }
            let root = match op {
                Op::Collect => Tree::new(block.collect.clone()).unwrap().root(),
                _ => tensor_root(&values),
            };
            block.step_roots.push(root);
            block.values.push(values);
        }
        block
    }

    fn memory<'a>(&'a self, block: &'a BlockData, t: u32) -> Memory<'a> {
        let (token, carry_lie) = (self.token(t), self.carry_lie(t));
        Memory { done: &self.blocks, block, token, carry_lie }
    }

    fn element(&self, block: &BlockData, t: u32, op: Op, element: u32) -> i64 {
        let acc = self.fold(block, t, op, element, &[op.units(t)])[0];
        let Ok(value) = finalize(op, element, acc, &mut self.memory(block, t));
        value
    }

    fn fold(&self, block: &BlockData, t: u32, op: Op, element: u32, ends: &[u64]) -> Vec<i128> {
        let mut source = self.memory(block, t);
        let mut acc = op.init();
        let mut accs = Vec::new();
        for u in 0..op.units(t) {
            let Ok(next) = unit(op, t, element, u, acc, &mut source);
            acc = next;
            if let Some(Lie::Unit { block, step, element: e, unit, delta }) = self.lie
                && (block, step, e, unit) == (t, op.step(), element, u)
            {
                acc += delta;
            }
            if ends.contains(&(u + 1)) {
                accs.push(acc);
            }
        }
        accs
    }

    pub fn value(&self, block: Block, step: Step, element: u32) -> i64 {
        self.blocks[block.0 as usize].values[step.0 as usize][element as usize]
    }

    /// Roots of the carried tensors, the leaves of the block tree.
    pub fn collect(&self, block: Block) -> &[Hash] {
        &self.blocks[block.0 as usize].collect
    }

    /// Values that later blocks read.
    pub fn carried(&self, block: Block, slot: u32) -> &[i64] {
        &self.blocks[block.0 as usize].carried[slot as usize]
    }

    /// The claim that this trace makes.
    pub fn claim(&self) -> ToyClaim {
        let root = Tree::new(self.block_roots().unwrap()).unwrap().root();
        ToyClaim::new(&self.prompt, &self.output, root)
    }
}

impl Trace for ToyTrace {
    type Error = Infallible;

    fn block_roots(&self) -> Result<Vec<Hash>, Infallible> {
        Ok(self.blocks.iter().map(|block| block.step_roots[COLLECT.0 as usize]).collect())
    }

    fn step_roots(&self, block: Block) -> Result<Vec<Hash>, Infallible> {
        Ok(self.blocks[block.0 as usize].step_roots.clone())
    }

    fn tensor(&self, block: Block, step: Step) -> Result<Tensor, Infallible> {
        let block = &self.blocks[block.0 as usize];
        Ok(match step {
            COLLECT => Tensor::Roots(block.collect.clone()),
            _ => Tensor::Bytes(encode(&block.values[step.0 as usize])),
        })
    }

    fn accumulators(
        &self,
        block: Block,
        step: Step,
        element: Element,
        boundaries: &[u64],
    ) -> Result<Vec<Word>, Infallible> {
        let (t, op) = (block.0, PROGRAM[step.0 as usize]);
        let accs = self.fold(&self.blocks[t as usize], t, op, element.0, boundaries);
        Ok(accs.into_iter().map(word_from_i128).collect())
    }

    fn sample(&self, block: Block) -> Result<u32, Infallible> {
        Ok(self.blocks[block.0 as usize].values[SAMPLE.0 as usize][0] as u32)
    }
}

/// A claim about the toy program.
#[derive(Debug, Clone)]
pub struct ToyClaim {
    pub prompt: Vec<u32>,
    pub output: Vec<u32>,
    pub root: Hash,
    pub program: Tree,
}

impl ToyClaim {
    pub fn new(prompt: &[u32], output: &[u32], root: Hash) -> Self {
        let leaves = PROGRAM.iter().map(|op| merkle::leaf_hash(&op.descriptor().bytes()));
        let program = Tree::new(leaves.collect()).unwrap();
        Self { prompt: prompt.to_vec(), output: output.to_vec(), root, program }
    }

    pub fn op(descriptor: &Descriptor) -> Result<Op, LayoutError> {
        let known = PROGRAM.iter().find(|op| op.descriptor() == *descriptor);
        known.copied().ok_or_else(|| LayoutError::Descriptor("no toy op".into()))
    }
}

impl Layout for ToyClaim {
    fn trace_root(&self) -> Hash {
        self.root
    }

    fn program_root(&self) -> Hash {
        self.program.root()
    }

    fn output_root(&self) -> Hash {
        merkle::token_root(&self.output).unwrap()
    }

    fn prompt_tokens(&self) -> u32 {
        self.prompt.len() as u32
    }

    fn output(&self) -> &[u32] {
        &self.output
    }

    fn collect_step(&self) -> Step {
        COLLECT
    }

    fn sample_step(&self) -> Step {
        SAMPLE
    }

    fn program_steps(&self) -> u32 {
        PROGRAM.len() as u32
    }

    fn descriptor(&self, step: Step) -> Option<Descriptor> {
        PROGRAM.get(step.0 as usize).map(|op| op.descriptor())
    }

    fn program_path(&self, step: Step) -> Option<Vec<Hash>> {
        self.program.path(Index(step.0))
    }

    fn tensor(&self, descriptor: &Descriptor, _: Block) -> Result<TensorShape, LayoutError> {
        let op = Self::op(descriptor)?;
        let elements = op.elements();
        Ok(match op {
            Op::Collect => TensorShape { byte_len: 0, leaves: elements, elements },
            _ => TensorShape { byte_len: 4 * elements, leaves: elements.div_ceil(256), elements },
        })
    }

    fn fold(&self, descriptor: &Descriptor, block: Block, _: Element) -> Result<Fold, LayoutError> {
        let op = Self::op(descriptor)?;
        Ok(Fold { units: op.units(block.0), init: word_from_i128(op.init()) })
    }

    fn decode(
        &self,
        descriptor: &Descriptor,
        block: Block,
        leaf: Index,
        element: Element,
        data: &[u8],
    ) -> Result<Word, LayoutError> {
        let shape = self.tensor(descriptor, block)?;
        let expected = shape.leaf_len(leaf);
        if data.len() != expected as usize {
            return Err(LayoutError::Length { expected, got: data.len() });
        }
        let outside = LayoutError::Element { element, leaf };
        let first = leaf.0.checked_mul(256).ok_or(outside.clone())?;
        let within = element.0.checked_sub(first).ok_or(outside.clone())? as usize;
        let bytes = data.chunks_exact(4).nth(within).ok_or(outside)?;
        let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let unsigned = Self::op(descriptor)? == Op::Sample;
        Ok(word_from_i128(if unsigned { bits.into() } else { (bits as i32).into() }))
    }
}
