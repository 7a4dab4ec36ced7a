//! The game's one parameter, how long a game can take, and what no move may ever break.
//!
//! [`check`] is for simulations: it states, apart from the code that makes the moves, what holds
//! before and after each of them. A game that passes it after every move ends, and ends in a step
//! whose surroundings both parties accepted.

use crate::layout::{Layout, LayoutError};
use crate::merkle;
use crate::moves::Event;
use crate::position::Position;
use crate::state::{Mode, Phase, State};
use serde::{Deserialize, Serialize};

/// Deployment parameters of a game.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    arity_bits: u32,
}

/// The most levels of a tree that a reveal can open: 256 nodes, as in the contract.
pub const ARITY_BITS_MAX: u32 = 8;

impl Rules {
    /// A game whose reveals open `arity_bits` levels at once; `None` outside of
    /// `1..=`[`ARITY_BITS_MAX`]. Zero levels would stall for ever on free response time.
    pub fn new(arity_bits: u32) -> Option<Self> {
        (1..=ARITY_BITS_MAX).contains(&arity_bits).then_some(Self { arity_bits })
    }

    /// Levels that a reveal opens, or doublings of a fold's segments.
    pub fn arity_bits(self) -> u32 {
        self.arity_bits
    }

    /// Levels that the next reveal of this state opens: `min(a, level)`.
    pub fn down(self, state: &State) -> u32 {
        self.arity_bits.min(state.level.0)
    }

    /// Rounds, of one reveal and one choice each, that a tree of `leaves` leaves needs.
    pub fn tree_rounds(self, leaves: u32) -> u32 {
        merkle::depth(leaves).0.div_ceil(self.arity_bits)
    }

    /// Rounds that a fold of `units` terms needs at most: a segment is at most the length of the
    /// fold over `2^a`, rounded up.
    pub fn fold_rounds(self, units: u64) -> u32 {
        units.saturating_sub(1).checked_ilog2().map_or(0, |log| log + 1).div_ceil(self.arity_bits)
    }

    /// The most moves of a game that ends in an element of a tensor of `leaves` leaves, by a fold
    /// of `units` terms, in a block of `steps` steps of a claim of `blocks` blocks; `step` not
    /// counted. `expand` is the first reveal of the step tree, hence no term for it.
    pub fn moves_max(self, blocks: u32, steps: u32, leaves: u32, units: u64) -> u32 {
        let leaf_rounds = 1;
        let rounds = self.tree_rounds(blocks)
            + self.tree_rounds(steps)
            + self.tree_rounds(leaves)
            + leaf_rounds
            + self.fold_rounds(units);
        2 * rounds
    }
}

/// A rule that a move has broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The named rule doesn't hold between these states.
    #[error("{rule} broken by {event:?}: {before:?} -> {after:?}")]
    Rule {
        /// Its function.
        rule: &'static str,
        /// The state before the move.
        before: Box<State>,
        /// What happened.
        event: Box<Event>,
        /// The state after it.
        after: Box<State>,
    },
    /// A size that the rules need can't be had.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Checks every rule between two states of a game that one event joins.
pub fn check(
    layout: &impl Layout,
    rules: Rules,
    before: &State,
    event: &Event,
    after: &State,
) -> Result<(), Broken> {
    let holds: [(&'static str, bool); 8] = [
        ("moves_are_counted", moves_are_counted(before, after)),
        ("phases_go_forward", phases_go_forward(before, after)),
        ("every_choice_narrows", every_choice_narrows(rules, before, after)),
        ("what_is_settled_stays", what_is_settled_stays(before, after)),
        ("fold_ends_are_pinned", fold_ends_are_pinned(before, after)),
        ("nothing_comes_early", nothing_comes_early(after)),
        ("no_padding_is_chosen", no_padding_is_chosen(layout, after)?),
        ("reveals_change_nothing_else", reveals_change_nothing_else(before, event, after)),
    ];
    match holds.into_iter().find(|(_, holds)| !holds) {
        None => Ok(()),
        Some((rule, _)) => Err(Broken::Rule {
            rule,
            before: Box::new(*before),
            event: Box::new(event.clone()),
            after: Box::new(*after),
        }),
    }
}

/// A move answers one state of one dispute, and no state hash ever comes back: the number differs.
pub fn moves_are_counted(before: &State, after: &State) -> bool {
    let made = u32::from(after.phase != Phase::Over);
    after.dispute == before.dispute && after.move_number == before.move_number + made
}

/// Blocks, then steps, leaves, one leaf, its fold, one step: nothing is reopened.
pub fn phases_go_forward(before: &State, after: &State) -> bool {
    before.phase != Phase::Over && stage(after.phase) >= stage(before.phase)
}

fn stage(phase: Phase) -> u32 {
    match phase {
        Phase::BlocksReveal | Phase::BlocksChoose => 0,
        Phase::Expand => 1,
        Phase::StepsReveal | Phase::StepsChoose => 2,
        Phase::LeavesReveal | Phase::LeavesChoose => 3,
        Phase::LeafReveal | Phase::LeafChoose => 4,
        Phase::FoldReveal | Phase::FoldChoose => 5,
        Phase::Step => 6,
        Phase::Over => 7,
    }
}

/// Within a stage reveals and choices alternate, and a choice leaves fewer levels, by the full
/// arity, or fewer terms: so a game ends, after at most [`Rules::moves_max`] moves.
pub fn every_choice_narrows(rules: Rules, before: &State, after: &State) -> bool {
    if stage(after.phase) != stage(before.phase) {
        return true;
    }
    match before.phase {
        Phase::BlocksChoose | Phase::StepsChoose | Phase::LeavesChoose => {
            after.phase.code() + 1 == before.phase.code()
                && after.level.0 + rules.down(before) == before.level.0
                && after.level.0 > 0
        }
        Phase::FoldChoose => {
            let most = (before.hi - before.lo).div_ceil(1 << rules.arity_bits());
            let length = after.hi.saturating_sub(after.lo);
            after.phase == Phase::FoldReveal && (2..=most).contains(&length)
        }
        _ => after.phase.code() == before.phase.code() + 1 && after.level == before.level,
    }
}

/// Block, step root, step, descriptor, element and its claimed value are set once.
pub fn what_is_settled_stays(before: &State, after: &State) -> bool {
    let at = stage(before.phase);
    (at < 1 || before.block == after.block)
        && (at < 2 || before.step_root == after.step_root)
        && (at < 3 || (before.step, before.d0, before.d1) == (after.step, after.d0, after.d1))
        && (at < 5 || (before.element, before.claimed) == (after.element, after.claimed))
}

/// A segment stays inside of the one before it, and an end that stays in place keeps its
/// accumulator: or a defender could lie in one reveal and move the end of the lie in the next.
pub fn fold_ends_are_pinned(before: &State, after: &State) -> bool {
    if stage(before.phase) != 5 || after.phase == Phase::Over {
        return true;
    }
    if after.phase == Phase::Step && after.mode == Mode::Finalize {
        return !before.pinned && after.acc_lo == after.acc_hi;
    }
    let inside = before.lo <= after.lo && after.lo < after.hi && after.hi <= before.hi;
    let start = before.lo != after.lo || before.acc_lo == after.acc_lo;
    let end = !before.pinned || before.hi != after.hi || before.acc_hi == after.acc_hi;
    inside && start && end && (after.pinned || !before.pinned)
}

/// Fields not reached yet are 0: or one state would have many hashes.
pub fn nothing_comes_early(after: &State) -> bool {
    let at = stage(after.phase);
    let zero = [0; 32];
    let fold = (after.lo, after.hi, after.pinned) == (0, 0, false) && after.acc_lo == zero;
    (at > 0 || after.block.0 == 0)
        && (at > 1 || after.step_root == zero)
        && (at > 2 || (after.step.0, after.d0, after.d1) == (0, zero, zero))
        && (at > 4 || (after.element.0, after.claimed) == (0, zero))
        && (at > 4 || fold)
        && (at > 5 || after.mode == Mode::Whole)
        && (after.pinned || after.phase >= Phase::Step || after.acc_hi == zero)
        && (after.phase == Phase::FoldChoose || after.phase == Phase::Over || after.reveal == zero)
}

/// The node in dispute has a real leaf below it: or the defender would be asked for the preimage
/// of padding, which nobody has.
pub fn no_padding_is_chosen(layout: &impl Layout, after: &State) -> Result<bool, LayoutError> {
    let leaves = match after.phase {
        Phase::BlocksReveal | Phase::BlocksChoose | Phase::Expand => layout.blocks(),
        Phase::StepsReveal | Phase::StepsChoose => layout.steps(after.block),
        Phase::Over => return Ok(true),
        _ => layout.tensor(&after.descriptor(), after.block)?.leaves,
    };
    let position: Position = after.position();
    Ok(position.window(leaves, 0).is_ok())
}

/// A reveal only hands the move over: what it showed is proven again by the choice.
pub fn reveals_change_nothing_else(before: &State, event: &Event, after: &State) -> bool {
    let handed = State { phase: after.phase, move_number: after.move_number, ..*before };
    match event {
        Event::Revealed { .. } | Event::LeafRevealed { .. } => handed == *after,
        Event::FoldRevealed { .. } => State { reveal: after.reveal, ..handed } == *after,
        _ => true,
    }
}
