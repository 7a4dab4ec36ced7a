//! The challenger chooses the first thing that differs from its own.

use super::{Action, Player, PlayerError, PlayerResult, View, same_size};
use crate::history::History;
use crate::layout::Layout;
use crate::merkle::{Hash, Tree, raise};
use crate::moves::{Event, Move};
use crate::overlay::Overlay;
use crate::position::{Block, Element, Index, Level, Position, Step};
use crate::rules::Rules;
use crate::state::{Party, Phase, State, Word};
use crate::trace::Trace;

/// What in a claim isn't what the own computation gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The posted token of a block isn't the one that its own `Sample` gives.
    Token {
        /// The block.
        block: Block,
        /// The token posted.
        posted: u32,
        /// The token that it should be.
        own: u32,
    },
    /// The tokens are right, but the trace root isn't.
    TraceRoot {
        /// The root claimed.
        claimed: Hash,
        /// The root that it should be.
        own: Hash,
    },
}

/// Whoever disputes a claim, over its own trace of the claim's tokens.
#[derive(Debug)]
pub struct Challenger<'a, T, L> {
    view: View<'a, T, L>,
}

impl<'a, T: Trace, L: Layout> Challenger<'a, T, L> {
    /// The player of a challenger.
    pub fn new(trace: &'a T, layout: &'a L, rules: Rules) -> Self {
        Self { view: View { trace, layout, rules } }
    }

    /// Whether there is anything to challenge. A claim publishes its tokens and its trace root; it
    /// is right iff both are.
    pub fn first_difference(&self) -> PlayerResult<Option<Difference>, T> {
        let layout = self.view.layout;
        if let Some(difference) = self.token_difference(0, layout.blocks())? {
            return Ok(Some(difference));
        }
        let (claimed, own) = (layout.trace_root(), self.view.trace_tree()?.root());
        Ok((claimed != own).then_some(Difference::TraceRoot { claimed, own }))
    }

    /// What is known of the claim's trace tree.
    pub fn trace_overlay(&self, history: &History) -> PlayerResult<Overlay, T> {
        let layout = self.view.layout;
        let overlay = Overlay::new(layout.trace_root(), layout.blocks());
        self.revealed(overlay, history, &[Phase::BlocksReveal])
    }

    /// What is known of the defender's tree over the steps of the disputed block.
    pub fn step_overlay(&self, history: &History) -> PlayerResult<Overlay, T> {
        let state = history.state();
        let overlay = Overlay::new(state.step_root, self.view.layout.steps(state.block));
        self.revealed(overlay, history, &[Phase::Expand, Phase::StepsReveal])
    }

    /// What is known of the defender's tree over the disputed tensor, whose root the history shows;
    /// `None` as long as no step is chosen.
    pub fn tensor_overlay(&self, history: &History) -> PlayerResult<Option<Overlay>, T> {
        let root = history.answers().find_map(|(_, event)| match event {
            Event::StepChosen { hash, .. } => Some(*hash),
            _ => None,
        });
        let Some(root) = root else { return Ok(None) };
        let leaves = history.state().shape(self.view.layout)?.leaves;
        let overlay = Overlay::new(root, leaves);
        self.revealed(overlay, history, &[Phase::LeavesReveal]).map(Some)
    }

    /// Takes in what was revealed in these phases.
    fn revealed(
        &self,
        mut overlay: Overlay,
        history: &History,
        phases: &[Phase],
    ) -> PlayerResult<Overlay, T> {
        let top = Position { level: crate::merkle::depth(overlay.leaves()), index: Index(0) };
        for (state, event) in history.answers().filter(|(state, _)| phases.contains(&state.phase)) {
            let position = match event {
                Event::Revealed { .. } => state.position(),
                Event::Expanded { .. } => top,
                _ => continue,
            };
            let down = self.view.rules.arity_bits().min(position.level.0);
            overlay.reveal(event.revealed(), position, down)?;
        }
        Ok(overlay)
    }

    /// The first block in a range whose own `Sample` isn't the posted token. It need not change any
    /// block root, so it is looked for by itself.
    fn token_difference(&self, first: u32, end: u32) -> PlayerResult<Option<Difference>, T> {
        for block in (first..end).map(Block) {
            let Some(posted) = self.view.layout.posted_token(block) else { continue };
            let own = self.view.trace.sample(block).map_err(PlayerError::Trace)?;
            if own != posted {
                return Ok(Some(Difference::Token { block, posted, own }));
            }
        }
        Ok(None)
    }

    /// The first revealed child that leads to a difference.
    fn choose(&self, state: &State, children: &[Hash]) -> PlayerResult<Move, T> {
        let own = self.view.tree_of(state)?;
        let down = self.view.rules.down(state);
        let ours = own.children(state.position(), down)?;
        same_size("children", ours.len() as u64, children.len() as u64)?;
        let mut child = ours.iter().zip(children).position(|(own, theirs)| own != theirs);
        if state.phase == Phase::BlocksChoose {
            let window = state.position().window(own.leaves(), down)?;
            let reach = |node: u64| (node << window.level.0).min(own.leaves().into()) as u32;
            let first = reach(window.first.0.into());
            let end = reach(u64::from(window.first.0) + u64::from(window.count));
            if let Some(Difference::Token { block, .. }) = self.token_difference(first, end)? {
                let lie = ((block.0 - first) >> window.level.0) as usize;
                child = Some(child.map_or(lie, |differs| differs.min(lie)));
            }
        }
        let child = child.ok_or_else(|| nothing_differs(state))?;
        let below = raise(children.to_vec(), Level(state.level.0 - down), down)?;
        let path = window_path(&below, state.level.0 - down, child);
        let (hash, child) = (children[child], child as u32);
        if state.phase != Phase::StepsChoose || state.level.0 > down {
            return Ok(Move::Choose { child, hash, path });
        }
        let step = Step((state.index.0 << down) + child);
        self.choose_step(child, hash, path, step)
    }

    fn choose_step(
        &self,
        child: u32,
        hash: Hash,
        path: Vec<Hash>,
        step: Step,
    ) -> PlayerResult<Move, T> {
        let layout = self.view.layout;
        let (Some(descriptor), Some(descriptor_proof)) =
            (layout.descriptor(step), layout.program_path(step))
        else {
            let (expected, got) = (layout.program_steps().into(), step.0.into());
            return Err(PlayerError::Size { what: "steps", expected, got });
        };
        let (d0, d1) = (descriptor.d0, descriptor.d1);
        Ok(Move::ChooseStep { child, hash, path, d0, d1, descriptor_proof })
    }

    /// The first element of the leaf that differs.
    fn choose_element(&self, state: &State, data: &[u8]) -> PlayerResult<Move, T> {
        let layout = self.view.layout;
        let tensor = self.view.trace.tensor(state.block, state.step).map_err(PlayerError::Trace)?;
        let ours = tensor.leaf(state.index).ok_or_else(|| nothing_differs(state))?;
        let descriptor = state.descriptor();
        let read = |element: Element, bytes: &[u8]| -> Option<Word> {
            layout.decode(&descriptor, state.block, state.index, element, bytes).ok()
        };
        // Elements of other leaves read as errors, on both sides.
        let element = (0..state.shape(layout)?.elements)
            .map(Element)
            .find(|element| read(*element, data) != read(*element, ours))
            .ok_or_else(|| nothing_differs(state))?;
        Ok(Move::ChooseElement { data: data.to_vec(), element })
    }

    /// The first segment whose end differs, or the finalizer if the last accumulator is right.
    fn choose_fold(&self, state: &State, accs: &[Word]) -> PlayerResult<Move, T> {
        let ours = self.view.accumulators(state)?;
        same_size("accumulators", ours.len() as u64, accs.len() as u64)?;
        let first = ours.iter().zip(accs).position(|(own, theirs)| own != theirs);
        let choice = match first {
            _ if !state.pinned && ours.last() == accs.last() => accs.len(),
            Some(first) => first,
            // All interior ends are right, and the pinned one is wrong since it was chosen.
            None => accs.len(),
        };
        Ok(Move::ChooseFold { accs: accs.to_vec(), choice: choice as u32 })
    }
}

fn nothing_differs<E: std::error::Error>(state: &State) -> PlayerError<E> {
    PlayerError::NothingDiffers { phase: state.phase, state: Box::new(*state) }
}

/// The siblings of a child, from the layers above the children of a reveal; what isn't in a layer
/// is padding.
fn window_path(layers: &[Vec<Hash>], level: u32, child: usize) -> Vec<Hash> {
    let below = &layers[..layers.len() - 1];
    let sibling = |(raised, layer): (usize, &Vec<Hash>)| {
        let padding = || crate::merkle::zero(Level(level + raised as u32));
        layer.get((child >> raised) ^ 1).copied().unwrap_or_else(padding)
    };
    below.iter().enumerate().map(sibling).collect()
}

impl<T: Trace, L: Layout> Player for Challenger<'_, T, L> {
    type Trace = T;

    fn party(&self) -> Party {
        Party::Challenger
    }

    fn next(&self, history: &History) -> PlayerResult<Action, T> {
        let state = history.state();
        let action = match (state.phase, history.last()) {
            (Phase::Step, _) => return Ok(Action::Decide(Box::new(*state))),
            (Phase::Over, _) => return Ok(Action::Over),
            (phase, _) if phase.to_move() == Some(Party::Defender) => return Ok(Action::Wait),
            (_, Some(Event::Revealed { children } | Event::Expanded { children, .. })) => {
                self.choose(state, children)?
            }
            (_, Some(Event::LeafRevealed { data })) => self.choose_element(state, data)?,
            (_, Some(Event::FoldRevealed { accs })) => self.choose_fold(state, accs)?,
            _ => return Err(PlayerError::NoReveal),
        };
        self.view.checked(state, action)
    }

    fn trace_path(&self, history: &History, block: Block) -> PlayerResult<Vec<Hash>, T> {
        let own: Tree = self.view.trace_tree()?;
        Ok(self.trace_overlay(history)?.path(&own, Index(block.0))?)
    }

    fn step_path(&self, history: &History, step: Step) -> PlayerResult<Vec<Hash>, T> {
        let own = self.view.step_tree(history.state().block)?;
        Ok(self.step_overlay(history)?.path(&own, Index(step.0))?)
    }
}
