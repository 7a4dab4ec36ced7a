//! The rules of every move: what the contract checks, and what it makes of the state.
//!
//! [`State::apply_move`] is the contract. [`State::apply_event`] follows it from its events, which
//! carry no proofs: it checks what an event shows, and the caller compares the hash of the state
//! that comes out with the one that the contract emitted.

use crate::layout::{Descriptor, Layout, LayoutError, TensorShape};
use crate::merkle::{self, Hash, MerkleError, keccak, leaf_hash, verify_path};
use crate::moves::{Event, Move};
use crate::position::{Block, Element, Index, Level, Position, Step, boundary, segments};
use crate::rules::Rules;
use crate::state::{Mode, Phase, State, Word};
use crate::trace::token_leaf_hash;

/// Why a move, or an event, can't follow a state. On chain, the move reverts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The phase waits for something else.
    #[error("{name} can't be made in phase {phase:?}")]
    Phase {
        /// What was tried.
        name: &'static str,
        /// What the dispute waits for.
        phase: Phase,
    },
    /// A reveal isn't exactly the real nodes below the node in dispute.
    #[error(transparent)]
    Reveal(#[from] MerkleError),
    /// The model's sizes don't allow it.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A choice is not among the revealed nodes.
    #[error("child {child} chosen of {count}")]
    Child {
        /// The choice.
        child: u32,
        /// Nodes revealed.
        count: u32,
    },
    /// A path proves nothing: its length, an element of it, or what it should prove is wrong.
    #[error("no proof: {0}")]
    Proof(Proof),
    /// A leaf has an exact number of bytes.
    #[error("a leaf of {got} bytes, {expected} expected")]
    LeafLength {
        /// Bytes of the leaf.
        expected: u32,
        /// Bytes given.
        got: usize,
    },
    /// A leaf or a list of accumulators doesn't hash to what the state says.
    #[error("the data isn't what was committed to")]
    Data,
    /// A fold's reveal has an exact number of accumulators.
    #[error("{got} accumulators revealed, {expected} expected")]
    Accumulators {
        /// Boundaries that are asked for.
        expected: u32,
        /// Accumulators given.
        got: usize,
    },
    /// A choice is neither a segment nor, where it is allowed, the finalizer.
    #[error("choice {choice} of a fold with {segments} segments (ends pinned: {pinned})")]
    Choice {
        /// The choice.
        choice: u32,
        /// Segments of this round.
        segments: u32,
        /// Whether the end is pinned, so that the finalizer can't be chosen any more.
        pinned: bool,
    },
    /// An event isn't what answers the one before it.
    #[error("the event doesn't match what was revealed before it")]
    Event,
    /// More than 2^32 moves, which the game doesn't have.
    #[error("too many moves")]
    Moves,
}

/// What a path was to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Proof {
    /// The chosen child lies below the node that was opened.
    #[error("the chosen child isn't below the opened node")]
    Child,
    /// The leaf `Collect` of the step tree is the block root.
    #[error("the step tree's Collect isn't the block root")]
    Collect,
    /// The leaf `Sample` of the step tree is the posted token.
    #[error("the step tree's Sample isn't the posted token")]
    Sample,
    /// The shown tokens are in the output.
    #[error("the tokens aren't the posted output's")]
    Tokens,
    /// The descriptor is the program's at this step.
    #[error("the descriptor isn't the program's")]
    Descriptor,
}

fn proven(holds: bool, what: Proof) -> Result<(), RuleError> {
    if holds { Ok(()) } else { Err(RuleError::Proof(what)) }
}

/// `keccak(abi.encodePacked(int256[]))`.
pub fn accumulators_hash(accs: &[Word]) -> Hash {
    keccak(accs.as_flattened())
}

impl State {
    /// The state in which a dispute opens.
    pub fn open(dispute: Hash, layout: &impl Layout) -> Self {
        let level = merkle::depth(layout.blocks());
        Self {
            dispute,
            move_number: 0,
            phase: if level.0 == 0 { Phase::Expand } else { Phase::BlocksReveal },
            node: layout.trace_root(),
            level,
            index: Index(0),
            block: Block(0),
            step_root: [0; 32],
            step: Step(0),
            d0: [0; 32],
            d1: [0; 32],
            element: Element(0),
            claimed: [0; 32],
            lo: 0,
            hi: 0,
            acc_lo: [0; 32],
            acc_hi: [0; 32],
            pinned: false,
            reveal: [0; 32],
            mode: Mode::Whole,
        }
    }

    /// Makes a move as the contract does: checks it whole, and returns the state after it and the
    /// event that the contract emits.
    pub fn apply_move(
        &self,
        layout: &impl Layout,
        rules: Rules,
        action: &Move,
    ) -> Result<(Self, Event), RuleError> {
        self.expects(action)?;
        let event = match action {
            Move::Reveal { children } => Event::Revealed { children: children.clone() },
            Move::Expand { step_root, children, .. } => {
                self.check_expand(layout, action)?;
                Event::Expanded { step_root: *step_root, children: children.clone() }
            }
            Move::Choose { child, hash, path } => {
                self.check_child(layout, rules, *child, hash, path)?;
                Event::Chosen { child: *child, hash: *hash }
            }
            Move::ChooseStep { child, hash, path, d0, d1, descriptor_proof } => {
                let index = self.check_child(layout, rules, *child, hash, path)?;
                let leaf = leaf_hash(&Descriptor { d0: *d0, d1: *d1 }.bytes());
                let depth = merkle::depth(layout.program_steps());
                let root = layout.program_root();
                let holds = verify_path(leaf, index, descriptor_proof, depth, root);
                proven(holds, Proof::Descriptor)?;
                Event::StepChosen { child: *child, hash: *hash, d0: *d0, d1: *d1 }
            }
            Move::RevealLeaf { data } => Event::LeafRevealed { data: data.clone() },
            Move::ChooseElement { data, element } => {
                let claimed = self.read_element(layout, data, *element)?;
                Event::ElementChosen { element: *element, claimed }
            }
            Move::RevealFold { accs } => Event::FoldRevealed { accs: accs.clone() },
            Move::ChooseFold { accs, choice } => {
                self.check_accumulators(rules, accs)?;
                return Ok((
                    self.after_fold_choice(rules, accs, *choice)?,
                    Event::FoldChosen { choice: *choice },
                ));
            }
        };
        Ok((self.transition(layout, rules, &event)?, event))
    }

    /// Follows an event of the contract. `last` is the event before it, if there was one: a choice
    /// is checked against what that revealed, and the accumulators that a choice keeps come from
    /// it. Any content gives a state or an error; that the contract has the same state shows in
    /// the hash alone.
    pub fn apply_event(
        &self,
        layout: &impl Layout,
        rules: Rules,
        event: &Event,
        last: Option<&Event>,
    ) -> Result<Self, RuleError> {
        let shown = last.map_or(&[][..], Event::revealed);
        match event {
            Event::Chosen { child, hash } | Event::StepChosen { child, hash, .. }
                if shown.get(*child as usize) != Some(hash) =>
            {
                return Err(RuleError::Event);
            }
            Event::ElementChosen { element, claimed } => {
                let Some(Event::LeafRevealed { data }) = last else {
                    return Err(RuleError::Event);
                };
                if self.phase == Phase::LeafChoose
                    && self.read_element(layout, data, *element)? != *claimed
                {
                    return Err(RuleError::Event);
                }
            }
            Event::FoldChosen { choice } => {
                self.expects_phase("chooseFold", self.phase == Phase::FoldChoose)?;
                self.check_accumulators(rules, shown)?;
                return self.after_fold_choice(rules, shown, *choice);
            }
            _ => {}
        }
        self.transition(layout, rules, event)
    }

    /// The tree that the state is in has this many leaves.
    pub fn tree_leaves(&self, layout: &impl Layout) -> Result<u32, LayoutError> {
        match self.phase {
            Phase::BlocksReveal | Phase::BlocksChoose => Ok(layout.blocks()),
            Phase::Expand | Phase::StepsReveal | Phase::StepsChoose => Ok(layout.steps(self.block)),
            _ => Ok(self.shape(layout)?.leaves),
        }
    }

    /// The shape of the disputed tensor.
    pub fn shape(&self, layout: &impl Layout) -> Result<TensorShape, LayoutError> {
        layout.tensor(&self.descriptor(), self.block)
    }

    /// In a fold phase, the boundaries whose accumulators the reveal of this round consists of.
    pub fn boundaries(&self, rules: Rules) -> Vec<u64> {
        let k = segments(rules.arity_bits(), self.lo, self.hi);
        let last = if self.pinned { k.saturating_sub(1) } else { k };
        (1..=last).map(|i| boundary(self.lo, self.hi, k, i)).collect()
    }

    pub(crate) fn expects_phase(&self, name: &'static str, holds: bool) -> Result<(), RuleError> {
        if holds { Ok(()) } else { Err(RuleError::Phase { name, phase: self.phase }) }
    }

    fn expects(&self, action: &Move) -> Result<(), RuleError> {
        use Phase::*;
        let holds = match action {
            Move::Reveal { .. } => matches!(self.phase, BlocksReveal | StepsReveal | LeavesReveal),
            Move::Expand { .. } => self.phase == Expand,
            Move::Choose { .. } => matches!(self.phase, BlocksChoose | StepsChoose | LeavesChoose),
            Move::ChooseStep { .. } => self.phase == StepsChoose,
            Move::RevealLeaf { .. } => self.phase == LeafReveal,
            Move::ChooseElement { .. } => self.phase == LeafChoose,
            Move::RevealFold { .. } => self.phase == FoldReveal,
            Move::ChooseFold { .. } => self.phase == FoldChoose,
        };
        self.expects_phase(action.name(), holds)
    }

    /// The chosen child is real and lies below the node; its number within its level.
    fn check_child(
        &self,
        layout: &impl Layout,
        rules: Rules,
        child: u32,
        hash: &Hash,
        path: &[Hash],
    ) -> Result<Index, RuleError> {
        let position = self.child(layout, rules, child)?;
        let down = Level(rules.down(self));
        let holds = verify_path(*hash, Index(child), path, down, self.node);
        proven(holds, Proof::Child)?;
        Ok(position.index)
    }

    /// Where a child of the last reveal is in its tree.
    pub(crate) fn child(
        &self,
        layout: &impl Layout,
        rules: Rules,
        child: u32,
    ) -> Result<Position, RuleError> {
        let window = self.position().window(self.tree_leaves(layout)?, rules.down(self))?;
        if child >= window.count {
            return Err(RuleError::Child { child, count: window.count });
        }
        Ok(Position { level: window.level, index: Index(window.first.0 + child) })
    }

    /// The step tree contains the block root and the posted token.
    fn check_expand(&self, layout: &impl Layout, action: &Move) -> Result<(), RuleError> {
        let Move::Expand { step_root, collect_proof, sample_proof, tokens, token_proof, .. } =
            action
        else {
            return self.expects_phase(action.name(), false);
        };
        let depth = merkle::depth(layout.steps(self.block));
        let collect = Index(layout.collect_step().0);
        let holds = verify_path(self.node, collect, collect_proof, depth, *step_root);
        proven(holds, Proof::Collect)?;
        let (Some(index), Some(token)) =
            (layout.output_index(self.block), layout.posted_token(self.block))
        else {
            let empty = sample_proof.is_empty() && tokens.is_empty() && token_proof.is_empty();
            return proven(empty, Proof::Sample);
        };
        // The path proves the bytes, so the token needn't be read from them as the contract does.
        let leaf = Index(index.0 / merkle::LEAF_TOKENS);
        let depth_tokens = merkle::depth(layout.output_leaves());
        let root = layout.output_root();
        let holds = verify_path(leaf_hash(tokens), leaf, token_proof, depth_tokens, root);
        proven(holds, Proof::Tokens)?;
        let sample = Index(layout.sample_step().0);
        let holds = verify_path(token_leaf_hash(token), sample, sample_proof, depth, *step_root);
        proven(holds, Proof::Sample)
    }

    /// The value of an element in the leaf that was revealed.
    fn read_element(
        &self,
        layout: &impl Layout,
        data: &[u8],
        element: Element,
    ) -> Result<Word, RuleError> {
        if leaf_hash(data) != self.node {
            return Err(RuleError::Data);
        }
        Ok(layout.decode(&self.descriptor(), self.block, self.index, element, data)?)
    }

    fn check_accumulators(&self, rules: Rules, accs: &[Word]) -> Result<(), RuleError> {
        self.check_accumulator_count(rules, accs)?;
        if accumulators_hash(accs) == self.reveal { Ok(()) } else { Err(RuleError::Data) }
    }

    pub(crate) fn check_accumulator_count(
        &self,
        rules: Rules,
        accs: &[Word],
    ) -> Result<(), RuleError> {
        let k = segments(rules.arity_bits(), self.lo, self.hi);
        let expected = if self.pinned { k.saturating_sub(1) } else { k };
        if accs.len() != expected as usize {
            return Err(RuleError::Accumulators { expected, got: accs.len() });
        }
        Ok(())
    }
}
