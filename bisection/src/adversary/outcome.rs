//! How games end, and how many did.

use super::strategy::{Kind, Strategy};
use crate::layout::LayoutError;
use crate::state::{Party, State};
use std::collections::BTreeMap;

/// How the honest party lost something.
#[derive(Debug, thiserror::Error)]
pub enum LostHow {
    /// The whole game.
    #[error("the game is lost")]
    Game,
    /// It has no move at its turn.
    #[error("the honest party has no move: {0}")]
    Stuck(String),
    /// Its move is refused.
    #[error("the honest party's {0} is refused: {1}")]
    Refused(&'static str, String),
    /// The adversary got through with something that nobody may do.
    #[error("the contract accepts {0}")]
    Accepted(&'static str),
    /// The contract refuses what is right, of the adversary.
    #[error("a move in time is refused: {0}")]
    InTime(String),
    /// More moves than the rules allow.
    #[error("more than {0} moves")]
    Moves(u32),
    /// More seconds.
    #[error("decided {got} s after the opening, not within {most} s")]
    Time {
        /// Seconds it took.
        got: u64,
        /// The bound.
        most: u64,
    },
    /// The bound itself can't be had.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// A game that the honest party didn't win as it must.
#[derive(Debug, thiserror::Error)]
#[error("{how}; the {adversary} did {strategy:?} in {state:?}")]
pub struct Lost {
    /// What went wrong.
    pub how: LostHow,
    /// The side of the adversary.
    pub adversary: Party,
    /// What it did; `None` for its plain story.
    pub strategy: Option<Box<Strategy>>,
    /// Where it did that.
    pub state: Box<State>,
}

/// How many games there were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By what was done in them.
    pub kinds: BTreeMap<Kind, u64>,
    /// Decided by the step.
    pub by_step: u64,
    /// Decided by the clock.
    pub by_clock: u64,
    /// Whose deviation was refused.
    pub refused: u64,
    /// The most moves of a game.
    pub moves_max: u32,
    /// The most seconds.
    pub seconds_max: u64,
}

impl Tally {
    /// All games.
    pub fn games(&self) -> u64 {
        self.by_step + self.by_clock
    }

    /// Takes in another tally.
    pub fn add(&mut self, other: &Self) {
        for (kind, games) in &other.kinds {
            *self.kinds.entry(*kind).or_default() += games;
        }
        self.by_step += other.by_step;
        self.by_clock += other.by_clock;
        self.refused += other.refused;
        self.moves_max = self.moves_max.max(other.moves_max);
        self.seconds_max = self.seconds_max.max(other.seconds_max);
    }

    /// Takes in one game.
    pub(super) fn count(&mut self, kind: Kind, end: &End) {
        *self.kinds.entry(kind).or_default() += 1;
        if end.by_step {
            self.by_step += 1;
        } else {
            self.by_clock += 1;
        }
        self.refused += u64::from(end.refused);
        self.moves_max = self.moves_max.max(end.moves);
        self.seconds_max = self.seconds_max.max(end.seconds);
    }
}

/// One game's end.
pub(super) struct End {
    pub(super) by_step: bool,
    pub(super) refused: bool,
    pub(super) moves: u32,
    pub(super) seconds: u64,
}
