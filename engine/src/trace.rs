//! A run of a model on a request, and the commitments to it (DESIGN words: claim, trace root, block root, step root).
//!
//! The honest path keeps the tokens, the K and V rows and one root per block. Any block can be computed again from them,
//! with all its tensors ([`Run::expand`]).

mod build;
mod commit;

use crate::executor::{Cache, Tensor, rerun_block};
use crate::fault::{Fault, FaultError, FaultSpec};
use crate::fold::Inputs;
use crate::model::Model;
use crate::temperature::Temperature;
use build::Builder;
use rayon::prelude::*;
use refute_bisection::merkle::{self, Hash, MerkleError, Tree};
use refute_kernels::backend::BackendError;
use refute_kernels::reference::Sampling;
use std::sync::Arc;
use std::time::Duration;

/// Tensors that are worth waking a thread for.
const PART_TENSORS: usize = 64;

/// Why a run can't be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No prompt.
    #[error("the prompt has no tokens: give at least one")]
    EmptyPrompt,
    /// No room for an answer.
    #[error("the maximum of output tokens is 0: ask for at least one")]
    EmptyOutput,
    /// Tokens can't be drawn like that.
    #[error(
        "no request can ask for temperature {} with seed {seed}: temperatures end at {}, and a greedy answer has seed 0",
        Temperature(*temperature), Temperature(Sampling::TEMPERATURE_MAX)
    )]
    Sampling {
        /// Key of the noise.
        seed: u64,
        /// In units of 2^-16.
        temperature: u32,
    },
    /// Too long.
    #[error("{prompt} prompt and {output} output tokens don't fit the context of {context}")]
    Context {
        /// Tokens of the prompt.
        prompt: usize,
        /// Most tokens of the output.
        output: u32,
        /// Positions of the model.
        context: u32,
    },
    /// A foreign token.
    #[error("token {token} at position {position} is not in the vocabulary of {vocabulary}")]
    Token {
        /// The id.
        token: u32,
        /// Where.
        position: usize,
        /// Tokens of the model.
        vocabulary: u32,
    },
    /// The fault asked for can't be made.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The backend can't do it, and no other can take over.
    #[error(transparent)]
    Backend(Box<BackendError>),
    /// A claim is wrong: its check ended here.
    #[error("output token {index} is {posted}, should be {expected}")]
    Differs {
        /// Index in the output.
        index: usize,
        /// As claimed.
        posted: u32,
        /// What the model yields.
        expected: u32,
    },
    /// The caller stopped it.
    #[error("the run was stopped")]
    Stopped,
    /// A tree of a size that can't be.
    #[error(transparent)]
    Merkle(#[from] MerkleError),
}

impl From<BackendError> for RunError {
    fn from(error: BackendError) -> Self {
        Self::Backend(Box::new(error))
    }
}

/// Where the time of a run went; of what it shared with other runs, its share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Positions that went through together, or that yield no token.
    pub prefill: Duration,
    /// How many these were.
    pub prefill_positions: usize,
    /// Positions that yield a token and went through alone.
    pub decode: Duration,
    /// How many these were.
    pub decode_positions: usize,
    /// Hashing, mostly beside both.
    pub commit: Duration,
    /// What of it was left when the last block was done.
    pub tail: Duration,
}

impl Timing {
    /// All of it, without the hashing that went beside.
    pub fn spent(&self) -> Duration {
        self.prefill + self.decode + self.tail
    }

    fn add(&mut self, spent: Duration, positions: usize, outputs: usize) {
        let (time, count) = match (positions, outputs) {
            (1, 1) => (&mut self.decode, &mut self.decode_positions),
            _ => (&mut self.prefill, &mut self.prefill_positions),
        };
        *time += spent;
        *count += positions;
    }
}

/// What a request asks of a model: all that its answer depends on, but for the answer's length. A prompt alone asks greedily.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Tokens.
    pub prompt: &'a [u32],
    /// How the answer's tokens are drawn.
    pub sampling: Sampling,
}

impl<'a, T: AsRef<[u32]> + ?Sized> From<&'a T> for Ask<'a> {
    fn from(prompt: &'a T) -> Self {
        Self { prompt: prompt.as_ref(), sampling: Sampling::GREEDY }
    }
}

/// How generation ends.
struct Until<'a> {
    /// Tokens, at most.
    max_output: u32,
    /// Tokens that end it.
    stops: &'a [u32],
    /// Whether the prompt's hashing ends before the answer begins.
    settle: bool,
}

/// A model's answer to a request, or a re-run of one, with its commitments.
#[derive(Debug, Clone)]
pub struct Run {
    model: Arc<Model>,
    prompt: Vec<u32>,
    sampling: Sampling,
    output: Vec<u32>,
    /// What this run's own `Sample` steps yielded, one per output block.
    samples: Vec<u32>,
    fault: Option<Fault>,
    cache: Cache,
    tree: Tree,
    /// Where the time went.
    pub timing: Timing,
    /// What computed it: `cpu`, `gpu` or `reference`; where one took over from another, the last.
    pub backend: &'static str,
    /// The adapter, if it was a GPU.
    pub adapter: Option<String>,
}

/// All tensors of one block, and the tree over them.
#[derive(Debug, Clone)]
pub struct Expansion {
    /// Position.
    pub block: u32,
    /// One per step.
    pub tensors: Vec<Tensor>,
    /// Their trees.
    pub trees: Vec<Tree>,
    /// The tree over their roots; its root is the step root.
    pub tree: Tree,
}

/// Told after every block; `false` stops the run. Gets the number of blocks done and the token of an output block.
pub type OnBlock<'a> = &'a mut dyn FnMut(u32, Option<u32>) -> bool;

impl Run {
    /// Answers a request with at most `max_output` tokens.
    ///
    /// # Errors
    /// Requests that the model can't take, faults that can't be made, and a stop by `on_block`.
    pub fn generate<'a>(
        model: &Arc<Model>,
        ask: impl Into<Ask<'a>>,
        max_output: u32,
        fault: Option<&FaultSpec>,
        on_block: OnBlock<'_>,
    ) -> Result<Self, RunError> {
        let ask = ask.into();
        check(model, ask, max_output)?;
        let fault = match fault {
            Some(spec) => Some(Fault::resolve(spec, model, ask.prompt.len() as u32)?),
            None => None,
        };
        let stops = &model.registration.params.stopIds;
        let until = Until { max_output, stops, settle: false };
        let run = Self::generate_until(model, ask, until, fault, on_block)?;
        if let Some(fault) = &run.fault
            && fault.block >= run.blocks()
        {
            return Err(FaultError::Block { block: fault.block, blocks: run.blocks() }.into());
        }
        Ok(run)
    }

    /// Generates so many tokens and stops at none: for measurements, not an answer that the contract takes. The prompt's hashing
    /// ends before the answer begins, so that the times of both are their own.
    ///
    /// # Errors
    /// Requests that the model can't take.
    pub fn generate_exactly<'a>(
        model: &Arc<Model>,
        ask: impl Into<Ask<'a>>,
        output: u32,
    ) -> Result<Self, RunError> {
        let ask = ask.into();
        check(model, ask, output)?;
        let until = Until { max_output: output, stops: &[], settle: true };
        Self::generate_until(model, ask, until, None, &mut |_, _| true)
    }

    fn generate_until(
        model: &Arc<Model>,
        ask: Ask<'_>,
        Until { max_output, stops, settle }: Until<'_>,
        fault: Option<Fault>,
        on_block: OnBlock<'_>,
    ) -> Result<Self, RunError> {
        let Ask { prompt, sampling } = ask;
        let room = prompt.len() + max_output as usize;
        let mut builder = Builder::new(model, sampling, fault.as_ref(), room)?;
        let mut output = build::known(&mut builder, prompt, 1, (&[], false), on_block)?;
        if settle {
            builder.settle();
        }
        while let Some(last) = output.last().copied()
            && !stops.contains(&last)
            && (output.len() as u32) < max_output
        {
            output.extend(builder.blocks(&[last], 1)?);
            if !on_block((prompt.len() + output.len()) as u32 - 1, output.last().copied()) {
                return Err(RunError::Stopped);
            }
        }
        let samples = output.clone();
        Self::finish(builder, model, ask, (output, samples), fault)
    }

    /// Runs the model over a claim's tokens: all positions at once, as far as the backend can.
    ///
    /// # Errors
    /// Tokens that the model can't take, and a stop by `on_block`.
    pub fn replay<'a>(
        model: &Arc<Model>,
        ask: impl Into<Ask<'a>>,
        output: &[u32],
        fault: Option<Fault>,
        on_block: OnBlock<'_>,
    ) -> Result<Self, RunError> {
        Self::over(model, ask.into(), (output, false), fault, on_block)
    }

    /// As [`Self::replay`], but ends, with [`RunError::Differs`], soon after the first token that the model doesn't yield: what
    /// comes behind it can't change the verdict.
    ///
    /// # Errors
    /// Tokens that the model can't take, a token that it doesn't yield, and a stop by `on_block`.
    pub fn check<'a>(
        model: &Arc<Model>,
        ask: impl Into<Ask<'a>>,
        output: &[u32],
        on_block: OnBlock<'_>,
    ) -> Result<Self, RunError> {
        Self::over(model, ask.into(), (output, true), None, on_block)
    }

    fn over(
        model: &Arc<Model>,
        ask: Ask<'_>,
        (output, halt): (&[u32], bool),
        fault: Option<Fault>,
        on_block: OnBlock<'_>,
    ) -> Result<Self, RunError> {
        let Ask { prompt, sampling } = ask;
        check(model, ask, output.len() as u32)?;
        check_tokens(model, output, prompt.len())?;
        // The last output token is read by no block.
        let tokens = [prompt, &output[..output.len() - 1]].concat();
        let mut builder = Builder::new(model, sampling, fault.as_ref(), tokens.len())?;
        let posted = (output, halt);
        let samples = build::known(&mut builder, &tokens, output.len(), posted, on_block)?;
        Self::finish(builder, model, ask, (output.to_vec(), samples), fault)
    }

    fn finish(
        builder: Builder<'_>,
        model: &Arc<Model>,
        Ask { prompt, sampling }: Ask<'_>,
        (output, samples): (Vec<u32>, Vec<u32>),
        fault: Option<Fault>,
    ) -> Result<Self, RunError> {
        let (backend, adapter) = builder.backend();
        let (roots, cache, timing) = builder.finish()?;
        Ok(Self {
            model: Arc::clone(model),
            prompt: prompt.to_vec(),
            sampling,
            output,
            samples,
            fault,
            cache,
            tree: Tree::new(roots)?,
            timing,
            backend,
            adapter,
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The request that it answers.
    pub fn ask(&self) -> Ask<'_> {
        Ask { prompt: &self.prompt, sampling: self.sampling }
    }

    /// Tokens of the request.
    pub fn prompt(&self) -> &[u32] {
        &self.prompt
    }

    /// How the request wants its tokens drawn.
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// Tokens of the answer: sampled, or as claimed.
    pub fn output(&self) -> &[u32] {
        &self.output
    }

    /// What this run's own `Sample` steps yielded.
    pub fn samples(&self) -> &[u32] {
        &self.samples
    }

    /// The fault in it, if it has one.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Blocks: prompt + output − 1.
    pub fn blocks(&self) -> u32 {
        self.tree.leaves()
    }

    /// The tree over the block roots.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The root over the block roots.
    pub fn trace_root(&self) -> Hash {
        self.tree.root()
    }

    /// Whether a block yields an output token.
    pub fn is_output(&self, block: u32) -> bool {
        block as usize + 1 >= self.prompt.len()
    }

    /// The token that a block reads.
    pub fn token(&self, block: u32) -> u32 {
        let t = block as usize;
        let after = || self.output.get(t - self.prompt.len()).copied();
        self.prompt.get(t).copied().or_else(after).unwrap_or_default()
    }

    /// The carried tensors.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The tree over the roots of a block's carried tensors; its root is the block root.
    ///
    /// # Errors
    /// None for a block of the run.
    pub fn block_tree(&self, block: u32) -> Result<Tree, MerkleError> {
        let slots = 0..self.model.program.carried.len();
        let root = |slot| Ok(self.cache.tensor(slot, block as usize).tree()?.root());
        Tree::new(slots.map(root).collect::<Result<_, MerkleError>>()?)
    }

    /// Computes a block again, with all its tensors and their trees.
    ///
    /// # Errors
    /// A block that the run doesn't have.
    pub fn expand(&self, block: u32) -> Result<Expansion, RunError> {
        if block >= self.blocks() {
            return Err(FaultError::Block { block, blocks: self.blocks() }.into());
        }
        let (position, is_output) = ((block, self.token(block)), self.is_output(block));
        let (sampling, fault) = (self.sampling, self.fault.as_ref());
        let tensors = rerun_block(&self.model, &self.cache, position, is_output, sampling, fault)?;
        let trees = trees(&tensors)?;
        let tree = Tree::new(trees.iter().map(Tree::root).collect())?;
        Ok(Expansion { block, tensors, trees, tree })
    }

    /// What folds of an expanded block read.
    pub fn inputs<'a>(&'a self, expansion: &'a Expansion) -> Inputs<'a> {
        Inputs {
            model: &self.model,
            cache: &self.cache,
            tensors: &expansion.tensors,
            block: expansion.block,
            sampling: self.sampling,
        }
    }

    /// The root of the output's token tree.
    ///
    /// # Errors
    /// None for a run.
    pub fn output_root(&self) -> Result<Hash, MerkleError> {
        merkle::token_root(&self.output)
    }
}

/// The trees of a block's tensors, a part of them on each thread. A part is hashed together: few tensors alone would not fill
/// the lanes.
fn trees(tensors: &[Tensor]) -> Result<Vec<Tree>, MerkleError> {
    let part = tensors.len().div_ceil(rayon::current_num_threads()).max(PART_TENSORS);
    let parts: Result<Vec<_>, _> = tensors.par_chunks(part).map(trees_together).collect();
    Ok(parts?.into_iter().flatten().collect())
}

fn trees_together(tensors: &[Tensor]) -> Result<Vec<Tree>, MerkleError> {
    let hashed = |tensor: &&Tensor| !matches!(tensor, Tensor::Roots(_));
    let bytes: Vec<_> = tensors.iter().filter(hashed).map(Tensor::encode).collect();
    let trees = Tree::many_of_bytes(&bytes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    let mut trees = trees.into_iter();
    let tree = |tensor: &Tensor| match tensor {
        Tensor::Roots(_) => tensor.tree(),
        _ => trees.next().ok_or(MerkleError::Empty),
    };
    tensors.iter().map(tree).collect()
}

/// Whether a model takes a request.
///
/// # Errors
/// Says what is wrong with it.
pub fn check<'a>(model: &Model, ask: impl Into<Ask<'a>>, max_output: u32) -> Result<(), RunError> {
    let Ask { prompt, sampling } = ask.into();
    if !sampling.is_valid() {
        let Sampling { seed, temperature } = sampling;
        return Err(RunError::Sampling { seed, temperature });
    }
    if prompt.is_empty() {
        return Err(RunError::EmptyPrompt);
    }
    if max_output == 0 {
        return Err(RunError::EmptyOutput);
    }
    let context = model.config.context;
    if prompt.len() as u64 + u64::from(max_output) > u64::from(context) {
        return Err(RunError::Context { prompt: prompt.len(), output: max_output, context });
    }
    check_tokens(model, prompt, 0)
}

/// Whether all tokens are in the vocabulary; `first` is the position of the first one, for the message.
///
/// # Errors
/// The first one that isn't.
pub fn check_tokens(model: &Model, tokens: &[u32], first: usize) -> Result<(), RunError> {
    let vocabulary = model.config.vocabulary;
    match tokens.iter().position(|t| *t >= vocabulary) {
        None => Ok(()),
        Some(i) => Err(RunError::Token { token: tokens[i], position: first + i, vocabulary }),
    }
}
