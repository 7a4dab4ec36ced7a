//! A party's own computation of the claim, as the game asks for it.

use crate::merkle::{Hash, LEAF_BYTES, MerkleError, Tree, leaf_hash};
use crate::position::{Block, Element, Index, Step};
use crate::state::Word;

/// The output of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tensor {
    /// An array, encoded.
    Bytes(Vec<u8>),
    /// The roots of the carried tensors: the output of `Collect`.
    Roots(Vec<Hash>),
}

impl Tensor {
    /// Its tree.
    pub fn tree(&self) -> Result<Tree, MerkleError> {
        match self {
            Self::Bytes(bytes) => Tree::of_bytes(bytes),
            Self::Roots(roots) => Tree::new(roots.clone()),
        }
    }

    /// The bytes of one of its leaves; `None` if there is no such leaf, or if the leaves are roots.
    pub fn leaf(&self, leaf: Index) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => bytes.chunks(LEAF_BYTES as usize).nth(leaf.0 as usize),
            Self::Roots(_) => None,
        }
    }
}

/// What the leaf of `Sample` is for a token.
pub fn token_leaf_hash(token: u32) -> Hash {
    leaf_hash(&token.to_le_bytes())
}

/// The party's own computation over the prompt and the tokens that the claim posted.
///
/// Every call may be as expensive as running a block and may fail; the players ask only for what
/// the move at hand needs, and ask again on the next move, so an implementation should remember
/// the last block. A defender with a fault is just a defender over a faulty trace.
pub trait Trace {
    /// Why the computation failed.
    type Error: std::error::Error;

    /// The roots of all blocks: the leaves of the trace tree.
    fn block_roots(&self) -> Result<Vec<Hash>, Self::Error>;

    /// The roots of the tensors of all steps of a block: the leaves of its step tree. That of
    /// `Collect` is the block root.
    fn step_roots(&self, block: Block) -> Result<Vec<Hash>, Self::Error>;

    /// The output of one step.
    fn tensor(&self, block: Block, step: Step) -> Result<Tensor, Self::Error>;

    /// The accumulators of one element's fold: for each boundary `b`, ascending and between 1 and
    /// the fold's length, the one after units `0 … b − 1`.
    fn accumulators(
        &self,
        block: Block,
        step: Step,
        element: Element,
        boundaries: &[u64],
    ) -> Result<Vec<Word>, Self::Error>;

    /// The token that an output block's `Sample` gives. Not called for other blocks.
    fn sample(&self, block: Block) -> Result<u32, Self::Error>;
}
