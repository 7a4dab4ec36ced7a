//! What both parties and the contract know without being told: the claim, and the sizes of things.

use crate::merkle::{Hash, LEAF_TOKENS};
use crate::position::{Block, Element, Index, Step};
use crate::state::Word;
use serde::{Deserialize, Serialize};

/// A step's packed op descriptor: what a leaf of the program's tree holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Descriptor {
    /// The first word.
    pub d0: Word,
    /// The second word.
    pub d1: Word,
}

impl Descriptor {
    /// The bytes of its leaf, 64 of them.
    pub fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.d0);
        bytes[32..].copy_from_slice(&self.d1);
        bytes
    }
}

/// Shape of a step's output tensor in one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorShape {
    /// Bytes of the tensor; 0 for `Collect`, whose leaves are roots.
    pub byte_len: u32,
    /// Leaves of its tree, at least one.
    pub leaves: u32,
    /// Its elements; for `Collect`, its leaves.
    pub elements: u32,
}

impl TensorShape {
    /// True iff the leaves of its tree are roots (`Collect`), not hashes of bytes.
    pub fn is_roots(&self) -> bool {
        self.byte_len == 0
    }

    /// The exact number of bytes in a leaf; 0 for a leaf that isn't there.
    pub fn leaf_len(&self, leaf: Index) -> u32 {
        let start = u64::from(leaf.0) * u64::from(crate::merkle::LEAF_BYTES);
        let left = u64::from(self.byte_len).saturating_sub(start);
        left.min(crate::merkle::LEAF_BYTES.into()) as u32
    }
}

/// One element's fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fold {
    /// Its terms, at least one.
    pub units: u64,
    /// The accumulator before the first one.
    pub init: Word,
}

/// A size that a layout can't give. The model is malformed, or the question is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The descriptor isn't one that the numerics define.
    #[error("malformed descriptor: {0}")]
    Descriptor(String),
    /// The element isn't in the tensor, or isn't in this leaf.
    #[error("no element {element} in leaf {leaf}")]
    Element {
        /// The element asked for.
        element: Element,
        /// The leaf it was looked for in.
        leaf: Index,
    },
    /// The bytes aren't as long as the leaf.
    #[error("a leaf of {got} bytes, {expected} expected")]
    Length {
        /// Bytes of the leaf.
        expected: u32,
        /// Bytes given.
        got: usize,
    },
}

/// One claim as the game sees it, and the sizes that follow from its model.
///
/// The contract knows all of this by itself, so an opponent can't influence any of it. A claim has
/// at least one prompt token and one output token: the settlement has checked that.
pub trait Layout {
    /// The trace root that the provider claims.
    fn trace_root(&self) -> Hash;
    /// Root of the program's tree.
    fn program_root(&self) -> Hash;
    /// Root of the output's token tree, see [`crate::merkle::token_root`].
    fn output_root(&self) -> Hash;
    /// Tokens of the prompt.
    fn prompt_tokens(&self) -> u32;
    /// The output that the provider claims.
    fn output(&self) -> &[u32];
    /// The step `Collect`, the last one of a prompt block.
    fn collect_step(&self) -> Step;
    /// The step `Sample`, in output blocks.
    fn sample_step(&self) -> Step;
    /// Steps of an output block: the leaves of the program's tree.
    fn program_steps(&self) -> u32;
    /// The descriptor of a step; `None` from [`Self::program_steps`] on.
    fn descriptor(&self, step: Step) -> Option<Descriptor>;
    /// Path of a step's descriptor in the program's tree.
    fn program_path(&self, step: Step) -> Option<Vec<Hash>>;
    /// Shape of the output of a step with this descriptor in this block.
    fn tensor(&self, descriptor: &Descriptor, block: Block) -> Result<TensorShape, LayoutError>;
    /// The fold of one element of it.
    fn fold(
        &self,
        descriptor: &Descriptor,
        block: Block,
        element: Element,
    ) -> Result<Fold, LayoutError>;
    /// The value of an element, read from the bytes of its leaf. An error if the element isn't in
    /// this leaf. Never called for a tensor of roots.
    fn decode(
        &self,
        descriptor: &Descriptor,
        block: Block,
        leaf: Index,
        element: Element,
        data: &[u8],
    ) -> Result<Word, LayoutError>;

    /// Blocks of the claim, prompt + output − 1: the leaves of the trace tree.
    fn blocks(&self) -> u32 {
        let output = u32::try_from(self.output().len()).unwrap_or(u32::MAX);
        self.prompt_tokens().saturating_add(output).saturating_sub(1)
    }

    /// The place of a block's token in the output; `None` for a prompt block before the last.
    fn output_index(&self, block: Block) -> Option<Index> {
        let index = block.0.checked_sub(self.prompt_tokens().checked_sub(1)?)?;
        (block.0 < self.blocks()).then_some(Index(index))
    }

    /// The token that the provider posted for a block; `None` for a prompt block before the last.
    fn posted_token(&self, block: Block) -> Option<u32> {
        self.output().get(self.output_index(block)?.0 as usize).copied()
    }

    /// Steps of a block: the leaves of its step tree.
    fn steps(&self, block: Block) -> u32 {
        match self.output_index(block) {
            Some(_) => self.program_steps(),
            None => self.collect_step().0.saturating_add(1),
        }
    }

    /// Leaves of the output's token tree.
    fn output_leaves(&self) -> u32 {
        u32::try_from(self.output().len()).unwrap_or(u32::MAX).div_ceil(LEAF_TOKENS)
    }
}
