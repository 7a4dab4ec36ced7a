//! The honest players. They send nothing: each is a function of its own trace, the layout and the
//! history, and returns what it would do.

mod challenger;
mod defender;

pub use challenger::{Challenger, Difference};
pub use defender::Defender;

use crate::game::RuleError;
use crate::history::History;
use crate::layout::{Layout, LayoutError};
use crate::merkle::{Hash, MerkleError, Tree};
use crate::moves::Move;
use crate::overlay::OverlayError;
use crate::position::{Block, Step};
use crate::rules::Rules;
use crate::state::{Party, Phase, State};
use crate::trace::Trace;

/// What a player does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It's the other party's turn.
    Wait,
    /// This move. It has been checked against the rules.
    Play(Move),
    /// `step` on this state: the caller knows the model, and builds the witness. Both players
    /// return it: the defender must win on its own clock, the challenger needn't wait for it.
    Decide(Box<State>),
    /// Nothing: the dispute is over.
    Over,
}

/// Why a player has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PlayerError<E: std::error::Error> {
    /// The own computation failed.
    #[error("the own trace failed: {0}")]
    Trace(#[source] E),
    /// The move that the own trace gives is against the rules: the trace isn't the claim's.
    #[error("the own trace gives no valid move: {0}")]
    Rule(#[from] RuleError),
    /// A tree can't be built.
    #[error(transparent)]
    Merkle(#[from] MerkleError),
    /// The model's sizes can't be had.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A path can't be built.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// The challenger finds nothing to disagree with: its choices so far weren't its own, or its
    /// trace isn't what it was.
    #[error("nothing differs from the own trace in phase {phase:?} at {state:?}")]
    NothingDiffers {
        /// Where.
        phase: Phase,
        /// Where exactly.
        state: Box<State>,
    },
    /// The own trace gives something of another size than the layout says.
    #[error("the own trace gives {got} {what}, the layout says {expected}")]
    Size {
        /// Of what.
        what: &'static str,
        /// What the layout says.
        expected: u64,
        /// What the trace gives.
        got: u64,
    },
    /// The history lacks the reveal that a choice answers.
    #[error("the history has no reveal before this choice")]
    NoReveal,
}

/// A result of a player over the trace `T`.
pub type PlayerResult<R, T> = Result<R, PlayerError<<T as Trace>::Error>>;

/// One side of a dispute.
pub trait Player {
    /// Its trace.
    type Trace: Trace;

    /// Which side.
    fn party(&self) -> Party;

    /// What it does now.
    fn next(&self, history: &History) -> PlayerResult<Action, Self::Trace>;

    /// The path of an own block root, up to the trace root of the claim. For witnesses: the block is
    /// before the disputed one.
    fn trace_path(&self, history: &History, block: Block) -> PlayerResult<Vec<Hash>, Self::Trace>;

    /// The path of the root of an own step of the disputed block, up to the defender's step root.
    /// For witnesses: the step is before the disputed one.
    fn step_path(&self, history: &History, step: Step) -> PlayerResult<Vec<Hash>, Self::Trace>;
}

/// What both players look at.
#[derive(Debug)]
struct View<'a, T, L> {
    trace: &'a T,
    layout: &'a L,
    rules: Rules,
}

impl<T: Trace, L: Layout> View<'_, T, L> {
    /// The own trace tree, of the size that the claim has.
    fn trace_tree(&self) -> PlayerResult<Tree, T> {
        let roots = self.trace.block_roots().map_err(PlayerError::Trace)?;
        self.tree(roots, "block roots", self.layout.blocks())
    }

    /// The own step tree of a block.
    fn step_tree(&self, block: Block) -> PlayerResult<Tree, T> {
        let roots = self.trace.step_roots(block).map_err(PlayerError::Trace)?;
        self.tree(roots, "step roots", self.layout.steps(block))
    }

    /// The own tree of the disputed tensor.
    fn tensor_tree(&self, state: &State) -> PlayerResult<Tree, T> {
        let tensor = self.trace.tensor(state.block, state.step).map_err(PlayerError::Trace)?;
        let tree = tensor.tree()?;
        let leaves = state.shape(self.layout)?.leaves;
        same_size("leaves of a tensor", leaves.into(), tree.leaves().into())?;
        Ok(tree)
    }

    /// The own tree that a state in one of the bisected trees is about.
    fn tree_of(&self, state: &State) -> PlayerResult<Tree, T> {
        match state.phase {
            Phase::BlocksReveal | Phase::BlocksChoose => self.trace_tree(),
            Phase::StepsReveal | Phase::StepsChoose => self.step_tree(state.block),
            _ => self.tensor_tree(state),
        }
    }

    fn tree(&self, leaves: Vec<Hash>, what: &'static str, expected: u32) -> PlayerResult<Tree, T> {
        same_size(what, expected.into(), leaves.len() as u64)?;
        Ok(Tree::new(leaves)?)
    }

    /// The own accumulators at the boundaries of this round.
    fn accumulators(&self, state: &State) -> PlayerResult<Vec<[u8; 32]>, T> {
        let boundaries = state.boundaries(self.rules);
        let accs = self
            .trace
            .accumulators(state.block, state.step, state.element, &boundaries)
            .map_err(PlayerError::Trace)?;
        same_size("accumulators", boundaries.len() as u64, accs.len() as u64)?;
        Ok(accs)
    }

    /// A move is tried here before it is returned, so that none is sent that would revert.
    fn checked(&self, state: &State, action: Move) -> PlayerResult<Action, T> {
        state.apply_move(self.layout, self.rules, &action)?;
        Ok(Action::Play(action))
    }
}

fn same_size<E: std::error::Error>(
    what: &'static str,
    expected: u64,
    got: u64,
) -> Result<(), PlayerError<E>> {
    if expected == got { Ok(()) } else { Err(PlayerError::Size { what, expected, got }) }
}
