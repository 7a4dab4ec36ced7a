//! The defender reveals what it has.

use super::{Action, Player, PlayerError, PlayerResult, View};
use crate::history::History;
use crate::layout::Layout;
use crate::merkle::{Hash, LEAF_TOKENS, Tree, token_leaf, token_tree};
use crate::moves::Move;
use crate::overlay::OverlayError;
use crate::position::{Block, Index, Position, Step};
use crate::rules::Rules;
use crate::state::{Party, Phase, State};
use crate::trace::Trace;

/// The claim's provider, over the trace that it claimed.
#[derive(Debug)]
pub struct Defender<'a, T, L> {
    view: View<'a, T, L>,
}

impl<'a, T: Trace, L: Layout> Defender<'a, T, L> {
    /// The player of a claim's provider.
    pub fn new(trace: &'a T, layout: &'a L, rules: Rules) -> Self {
        Self { view: View { trace, layout, rules } }
    }

    fn reveal(&self, state: &State) -> PlayerResult<Move, T> {
        let tree = self.view.tree_of(state)?;
        let children = tree.children(state.position(), self.view.rules.down(state))?;
        Ok(Move::Reveal { children })
    }

    fn expand(&self, state: &State) -> PlayerResult<Move, T> {
        let layout = self.view.layout;
        let tree = self.view.step_tree(state.block)?;
        let top = Position { level: tree.depth(), index: Index(0) };
        let down = self.view.rules.arity_bits().min(tree.depth().0);
        let mut sample_proof = Vec::new();
        let mut tokens = Vec::new();
        let mut token_proof = Vec::new();
        if let Some(index) = layout.output_index(state.block) {
            let leaf = Index(index.0 / LEAF_TOKENS);
            sample_proof = leaf_path(&tree, Index(layout.sample_step().0))?;
            tokens = token_leaf(layout.output(), leaf);
            token_proof = leaf_path(&token_tree(layout.output())?, leaf)?;
        }
        Ok(Move::Expand {
            step_root: tree.root(),
            collect_proof: leaf_path(&tree, Index(layout.collect_step().0))?,
            sample_proof,
            tokens,
            token_proof,
            children: tree.children(top, down)?,
        })
    }

    fn reveal_leaf(&self, state: &State) -> PlayerResult<Move, T> {
        let tensor = self.view.trace.tensor(state.block, state.step).map_err(PlayerError::Trace)?;
        let data = tensor.leaf(state.index).ok_or(OverlayError::NoLeaf(state.index))?.to_vec();
        Ok(Move::RevealLeaf { data })
    }
}

fn leaf_path(tree: &Tree, leaf: Index) -> Result<Vec<Hash>, OverlayError> {
    tree.path(leaf).ok_or(OverlayError::NoLeaf(leaf))
}

/// The path of a leaf in an own tree that must be the one claimed.
fn claimed_path(tree: &Tree, root: Hash, leaf: Index) -> Result<Vec<Hash>, OverlayError> {
    if tree.root() == root { leaf_path(tree, leaf) } else { Err(OverlayError::NotAgreed(leaf)) }
}

impl<T: Trace, L: Layout> Player for Defender<'_, T, L> {
    type Trace = T;

    fn party(&self) -> Party {
        Party::Defender
    }

    fn next(&self, history: &History) -> PlayerResult<Action, T> {
        let state = history.state();
        let action = match state.phase {
            Phase::BlocksReveal | Phase::StepsReveal | Phase::LeavesReveal => self.reveal(state)?,
            Phase::Expand => self.expand(state)?,
            Phase::LeafReveal => self.reveal_leaf(state)?,
            Phase::FoldReveal => Move::RevealFold { accs: self.view.accumulators(state)? },
            Phase::Step => return Ok(Action::Decide(Box::new(*state))),
            Phase::Over => return Ok(Action::Over),
            Phase::BlocksChoose
            | Phase::StepsChoose
            | Phase::LeavesChoose
            | Phase::LeafChoose
            | Phase::FoldChoose => return Ok(Action::Wait),
        };
        self.view.checked(state, action)
    }

    fn trace_path(&self, _: &History, block: Block) -> PlayerResult<Vec<Hash>, T> {
        let tree = self.view.trace_tree()?;
        Ok(claimed_path(&tree, self.view.layout.trace_root(), Index(block.0))?)
    }

    fn step_path(&self, history: &History, step: Step) -> PlayerResult<Vec<Hash>, T> {
        let state = history.state();
        let tree = self.view.step_tree(state.block)?;
        Ok(claimed_path(&tree, state.step_root, Index(step.0))?)
    }
}
