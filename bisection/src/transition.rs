//! What each event makes of the state, once its proofs are checked.

use crate::game::{RuleError, accumulators_hash};
use crate::layout::{Descriptor, Layout};
use crate::merkle::{self, Hash, MerkleError, fold_children, leaf_hash};
use crate::moves::Event;
use crate::position::{Block, Element, Index, Position, Step, boundary, segments};
use crate::rules::Rules;
use crate::state::{Mode, Phase, State, Word};

impl State {
    /// This state after one move that only hands over.
    fn handed(&self, phase: Phase) -> Result<Self, RuleError> {
        let move_number = self.move_number.checked_add(1).ok_or(RuleError::Moves)?;
        Ok(Self { phase, move_number, ..*self })
    }

    /// What an event makes of the state, whoever reports it; everything that the event itself
    /// shows is checked here. Choices in a fold need the accumulators besides.
    pub(crate) fn transition(
        &self,
        layout: &impl Layout,
        rules: Rules,
        event: &Event,
    ) -> Result<Self, RuleError> {
        use Phase::*;
        match (event, self.phase) {
            (Event::Revealed { children }, BlocksReveal | StepsReveal | LeavesReveal) => {
                let (leaves, down) = (self.tree_leaves(layout)?, rules.down(self));
                if fold_children(children, self.position(), down, leaves)? != self.node {
                    return Err(MerkleError::Mismatch.into());
                }
                self.handed(match self.phase {
                    BlocksReveal => BlocksChoose,
                    StepsReveal => StepsChoose,
                    _ => LeavesChoose,
                })
            }
            (Event::Expanded { step_root, children }, Expand) => {
                self.after_expand(layout, rules, step_root, children)
            }
            (Event::Chosen { child, hash }, BlocksChoose | StepsChoose | LeavesChoose) => {
                self.after_choice(layout, rules, *child, hash)
            }
            (Event::StepChosen { child, hash, d0, d1 }, StepsChoose) => {
                let descriptor = Descriptor { d0: *d0, d1: *d1 };
                self.after_step_choice(layout, rules, *child, hash, descriptor)
            }
            (Event::LeafRevealed { data }, LeafReveal) => {
                let expected = self.shape(layout)?.leaf_len(self.index);
                if data.len() != expected as usize {
                    return Err(RuleError::LeafLength { expected, got: data.len() });
                }
                if leaf_hash(data) != self.node {
                    return Err(RuleError::Data);
                }
                self.handed(LeafChoose)
            }
            (Event::ElementChosen { element, claimed }, LeafChoose) => {
                self.after_element(layout, *element, claimed)
            }
            (Event::FoldRevealed { accs }, FoldReveal) => {
                self.check_accumulator_count(rules, accs)?;
                Ok(Self { reveal: accumulators_hash(accs), ..self.handed(FoldChoose)? })
            }
            // The clock can decide in any phase, the step only in its own.
            (Event::Resolved { by_step, .. }, phase)
                if phase != Over && (!by_step || phase == Phase::Step) =>
            {
                Ok(Self { phase: Over, ..*self })
            }
            (event, phase) => Err(RuleError::Phase { name: event.name(), phase }),
        }
    }

    fn after_expand(
        &self,
        layout: &impl Layout,
        rules: Rules,
        step_root: &Hash,
        children: &[Hash],
    ) -> Result<Self, RuleError> {
        let steps = layout.steps(self.block);
        let state = Self {
            step_root: *step_root,
            node: *step_root,
            level: merkle::depth(steps),
            index: Index(0),
            ..self.handed(Phase::StepsChoose)?
        };
        let down = rules.down(&state);
        if fold_children(children, state.position(), down, steps)? != *step_root {
            return Err(MerkleError::Mismatch.into());
        }
        Ok(state)
    }

    fn after_choice(
        &self,
        layout: &impl Layout,
        rules: Rules,
        child: u32,
        hash: &Hash,
    ) -> Result<Self, RuleError> {
        use Phase::*;
        let Position { level, index } = self.child(layout, rules, child)?;
        let chosen = |phase| Ok(Self { node: *hash, level, index, ..self.handed(phase)? });
        match (self.phase, level.0) {
            (BlocksChoose, 0) => Ok(Self { block: Block(index.0), ..chosen(Expand)? }),
            (BlocksChoose, _) => chosen(BlocksReveal),
            // At the bottom of the step tree the descriptor is needed.
            (StepsChoose, 0) => Err(RuleError::Phase { name: "choose", phase: StepsChoose }),
            (StepsChoose, _) => chosen(StepsReveal),
            (LeavesChoose, 0) => chosen(LeafReveal)?.at_leaf(layout),
            (_, _) => chosen(LeavesReveal),
        }
    }

    fn after_step_choice(
        &self,
        layout: &impl Layout,
        rules: Rules,
        child: u32,
        hash: &Hash,
        descriptor: Descriptor,
    ) -> Result<Self, RuleError> {
        let Position { level, index } = self.child(layout, rules, child)?;
        self.expects_phase("chooseStep", level.0 == 0)?;
        let leaves = layout.tensor(&descriptor, self.block)?.leaves;
        if leaves == 0 {
            return Err(MerkleError::Empty.into());
        }
        let state = Self {
            step: Step(index.0),
            d0: descriptor.d0,
            d1: descriptor.d1,
            node: *hash,
            level: merkle::depth(leaves),
            index: Index(0),
            ..self.handed(Phase::LeavesReveal)?
        };
        if state.level.0 > 0 { Ok(state) } else { state.at_leaf(layout) }
    }

    /// At the bottom of a tensor's tree: its bytes come next, but a root is an element by itself.
    fn at_leaf(self, layout: &impl Layout) -> Result<Self, RuleError> {
        if !self.shape(layout)?.is_roots() {
            return Ok(Self { phase: Phase::LeafReveal, ..self });
        }
        Ok(Self {
            element: Element(self.index.0),
            claimed: self.node,
            mode: Mode::Whole,
            phase: Phase::Step,
            ..self
        })
    }

    fn after_element(
        &self,
        layout: &impl Layout,
        element: Element,
        claimed: &Word,
    ) -> Result<Self, RuleError> {
        let fold = layout.fold(&self.descriptor(), self.block, element)?;
        // Below two terms there is nothing to bisect.
        let phase = if fold.units > 1 { Phase::FoldReveal } else { Phase::Step };
        Ok(Self {
            element,
            claimed: *claimed,
            lo: 0,
            hi: fold.units,
            acc_lo: fold.init,
            pinned: false,
            mode: Mode::Whole,
            ..self.handed(phase)?
        })
    }

    pub(crate) fn after_fold_choice(
        &self,
        rules: Rules,
        accs: &[Word],
        choice: u32,
    ) -> Result<Self, RuleError> {
        let k = segments(rules.arity_bits(), self.lo, self.hi);
        let refused = RuleError::Choice { choice, segments: k, pinned: self.pinned };
        if choice == k && !self.pinned {
            let acc = *accs.last().ok_or(refused)?;
            let state = self.handed(Phase::Step)?;
            let mode = Mode::Finalize;
            return Ok(Self { acc_lo: acc, acc_hi: acc, reveal: [0; 32], mode, ..state });
        }
        if choice >= k {
            return Err(refused);
        }
        let before = choice.checked_sub(1).map(|i| i as usize);
        let acc_lo = before.and_then(|i| accs.get(i)).unwrap_or(&self.acc_lo);
        let acc_hi = accs.get(choice as usize).unwrap_or(&self.acc_hi);
        let mut state = Self {
            lo: boundary(self.lo, self.hi, k, choice),
            hi: boundary(self.lo, self.hi, k, choice + 1),
            acc_lo: *acc_lo,
            acc_hi: *acc_hi,
            pinned: true,
            reveal: [0; 32],
            ..self.handed(Phase::FoldReveal)?
        };
        if state.hi - state.lo == 1 {
            state.phase = Phase::Step;
            state.mode = Mode::Segment;
        }
        Ok(state)
    }
}
