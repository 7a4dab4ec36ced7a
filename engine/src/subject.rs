//! A claim and a run of it, as the dispute game asks for them.

use crate::executor::Tensor;
use crate::model::Model;
use crate::program::Descriptor as Op;
use crate::trace::{Expansion, Run, RunError};
use refute_bisection::layout::{Descriptor, Fold, Layout, LayoutError, TensorShape};
use refute_bisection::merkle::{self, Hash, MerkleError};
use refute_bisection::position::{Block, Element, Index, Step};
use refute_bisection::state::{Word, word_from_i128};
use refute_bisection::trace as game;
use std::sync::{Arc, Mutex};

/// What a claim says, with the sizes that follow from its model.
#[derive(Clone, Debug)]
pub struct Subject {
    model: Arc<Model>,
    prompt_tokens: u32,
    output: Vec<u32>,
    output_root: Hash,
    trace_root: Hash,
}

impl Subject {
    /// A claim of `output` and `trace_root` for a prompt of this length.
    ///
    /// # Errors
    /// An empty output.
    pub fn new(
        model: Arc<Model>,
        prompt_tokens: u32,
        output: Vec<u32>,
        trace_root: Hash,
    ) -> Result<Self, MerkleError> {
        let output_root = merkle::token_root(&output)?;
        Ok(Self { model, prompt_tokens, output, output_root, trace_root })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }
}

fn read(descriptor: &Descriptor) -> Result<Op, LayoutError> {
    Op::from_words(&descriptor.d0, &descriptor.d1)
        .map_err(|e| LayoutError::Descriptor(e.to_string()))
}

impl Layout for Subject {
    fn trace_root(&self) -> Hash {
        self.trace_root
    }

    fn program_root(&self) -> Hash {
        self.model.program_tree().root()
    }

    fn output_root(&self) -> Hash {
        self.output_root
    }

    fn prompt_tokens(&self) -> u32 {
        self.prompt_tokens
    }

    fn output(&self) -> &[u32] {
        &self.output
    }

    fn collect_step(&self) -> Step {
        Step(self.model.program.collect)
    }

    fn sample_step(&self) -> Step {
        Step(self.model.program.sample)
    }

    fn program_steps(&self) -> u32 {
        self.model.program.steps.len() as u32
    }

    fn descriptor(&self, step: Step) -> Option<Descriptor> {
        let (d0, d1) = self.model.program.steps.get(step.0 as usize)?.descriptor.words();
        Some(Descriptor { d0, d1 })
    }

    fn program_path(&self, step: Step) -> Option<Vec<Hash>> {
        self.model.program_tree().path(Index(step.0))
    }

    fn tensor(&self, descriptor: &Descriptor, block: Block) -> Result<TensorShape, LayoutError> {
        let shape =
            read(descriptor)?.shape(block.0).map_err(|e| LayoutError::Descriptor(e.to_string()))?;
        let (byte_len, leaves, elements) = (shape.byte_len, shape.leaves, shape.elements);
        Ok(TensorShape { byte_len, leaves, elements })
    }

    fn fold(&self, descriptor: &Descriptor, block: Block, _: Element) -> Result<Fold, LayoutError> {
        let (units, init) =
            read(descriptor)?.fold(block.0).map_err(|e| LayoutError::Descriptor(e.to_string()))?;
        Ok(Fold { units, init: word_from_i128(init.value()) })
    }

    fn decode(
        &self,
        descriptor: &Descriptor,
        block: Block,
        leaf: Index,
        element: Element,
        data: &[u8],
    ) -> Result<Word, LayoutError> {
        let value = read(descriptor)?.decode(block.0, leaf.0, element.0, data);
        value.map(word_from_i128).map_err(|_| LayoutError::Element { element, leaf })
    }
}

/// A run, with the block that was expanded last at hand.
#[derive(Debug)]
pub struct Player {
    run: Run,
    last: Mutex<Option<Arc<Expansion>>>,
}

impl Player {
    /// A player's own computation.
    pub fn new(run: Run) -> Self {
        Self { run, last: Mutex::new(None) }
    }

    /// The run.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// All tensors of a block, computed on the first call in a row.
    ///
    /// # Errors
    /// A block that the run doesn't have.
    pub fn expansion(&self, block: u32) -> Result<Arc<Expansion>, RunError> {
        // Another thread's panic leaves at worst an older expansion, which is as good.
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(expansion) = last.as_ref().filter(|e| e.block == block) {
            return Ok(Arc::clone(expansion));
        }
        let expansion = Arc::new(self.run.expand(block)?);
        *last = Some(Arc::clone(&expansion));
        Ok(expansion)
    }
}

impl game::Trace for Player {
    type Error = RunError;

    fn block_roots(&self) -> Result<Vec<Hash>, RunError> {
        let tree = self.run.tree();
        Ok(tree.children(tree_top(tree), tree.depth().0)?)
    }

    fn step_roots(&self, block: Block) -> Result<Vec<Hash>, RunError> {
        Ok(self.expansion(block.0)?.trees.iter().map(|t| t.root()).collect())
    }

    fn tensor(&self, block: Block, step: Step) -> Result<game::Tensor, RunError> {
        let expansion = self.expansion(block.0)?;
        Ok(match expansion.tensors.get(step.0 as usize) {
            Some(Tensor::Roots(roots)) => game::Tensor::Roots(roots.clone()),
            Some(tensor) => game::Tensor::Bytes(tensor.encode()),
            None => game::Tensor::Bytes(Vec::new()),
        })
    }

    fn accumulators(
        &self,
        block: Block,
        step: Step,
        element: Element,
        boundaries: &[u64],
    ) -> Result<Vec<Word>, RunError> {
        let expansion = self.expansion(block.0)?;
        let Some(step) = self.run.model().program.steps.get(step.0 as usize) else {
            return Ok(Vec::new());
        };
        let accs = self.run.inputs(&expansion).accumulators(step, element.0, boundaries);
        Ok(accs.into_iter().map(word_from_i128).collect())
    }

    fn sample(&self, block: Block) -> Result<u32, RunError> {
        let index = (block.0 as usize + 1).checked_sub(self.run.prompt().len());
        let sample = index.and_then(|i| self.run.samples().get(i));
        sample.copied().ok_or(RunError::EmptyOutput)
    }
}

fn tree_top(tree: &merkle::Tree) -> refute_bisection::position::Position {
    refute_bisection::position::Position { level: tree.depth(), index: Index(0) }
}
