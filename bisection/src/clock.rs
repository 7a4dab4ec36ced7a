//! The chess clock of a dispute, in seconds of `block.timestamp`.
//!
//! One function decides whether a party is in time, for moves, for timeouts and for views, so that
//! no second belongs to both sides or to none.

use crate::state::Party;
use serde::{Deserialize, Serialize};

/// Deployment parameters of the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Each party's time for a whole dispute, in seconds.
    pub clock_s: u32,
    /// Time that every move gets besides. It can't be saved up.
    pub min_response_s: u32,
}

impl Timing {
    /// A dispute of at most `moves` moves (`step` included) can be resolved by anyone at the
    /// latest this many seconds after it opened, however both parties play: both clocks, the
    /// minimum response times, and the one second by which the last deadline is missed.
    pub fn dispute_s_max(self, moves: u32) -> u64 {
        2 * u64::from(self.clock_s) + u64::from(moves) * u64::from(self.min_response_s) + 1
    }

    /// The latest time, in seconds, at which a claim made at `claimed_at` can be decided:
    /// challenges open before `claimed_at + window_s`, disputes run side by side.
    pub fn decided_at_max(self, claimed_at: u64, window_s: u32, moves: u32) -> u64 {
        let opened_at_max = claimed_at.saturating_add(u64::from(window_s).saturating_sub(1));
        opened_at_max.saturating_add(self.dispute_s_max(moves))
    }
}

/// The party to move is out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {party} is out of time since {deadline}")]
pub struct OutOfTime {
    /// Who.
    pub party: Party,
    /// The last second in which it was in time.
    pub deadline: u64,
}

/// The clocks of one dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// What a move costs.
    pub timing: Timing,
    /// What the defender has left, in seconds.
    pub defender_remaining_s: u32,
    /// What the challenger has left, in seconds.
    pub challenger_remaining_s: u32,
    /// When the last move was made, `block.timestamp`.
    pub last_move_at: u64,
    /// Whose clock runs; nobody's once the dispute is over.
    pub to_move: Option<Party>,
}

impl Clock {
    /// Both clocks full; that of the party to move starts now.
    pub fn open(timing: Timing, to_move: Option<Party>, now: u64) -> Self {
        Self {
            timing,
            defender_remaining_s: timing.clock_s,
            challenger_remaining_s: timing.clock_s,
            last_move_at: now,
            to_move,
        }
    }

    /// What a party has left, in seconds.
    pub fn remaining_s(&self, party: Party) -> u32 {
        match party {
            Party::Defender => self.defender_remaining_s,
            Party::Challenger => self.challenger_remaining_s,
        }
    }

    /// The last second in which the party to move is in time; `None` when nobody's clock runs.
    pub fn deadline(&self) -> Option<u64> {
        let remaining_s = self.remaining_s(self.to_move?);
        let allowed_s = u64::from(remaining_s) + u64::from(self.timing.min_response_s);
        Some(self.last_move_at.saturating_add(allowed_s))
    }

    /// The party that has lost by `timeout`, if the party to move is not in time any more.
    pub fn timed_out(&self, now: u64) -> Option<OutOfTime> {
        let (party, deadline) = (self.to_move?, self.deadline()?);
        (now > deadline).then_some(OutOfTime { party, deadline })
    }

    /// The clocks after a move at `now`, and whose runs next. A `now` before the last move counts
    /// as the same second.
    pub fn after_move(&self, now: u64, next: Option<Party>) -> Result<Self, OutOfTime> {
        if let Some(out) = self.timed_out(now) {
            return Err(out);
        }
        let elapsed_s = now.saturating_sub(self.last_move_at);
        let charged_s = elapsed_s.saturating_sub(self.timing.min_response_s.into());
        // In time, so what is charged isn't above what is left.
        let charge = |left: u32| u32::try_from(u64::from(left).saturating_sub(charged_s));
        let mut clock = Self { last_move_at: now.max(self.last_move_at), to_move: next, ..*self };
        match self.to_move {
            Some(Party::Defender) => {
                clock.defender_remaining_s = charge(self.defender_remaining_s).unwrap_or(0);
            }
            Some(Party::Challenger) => {
                clock.challenger_remaining_s = charge(self.challenger_remaining_s).unwrap_or(0);
            }
            None => {}
        }
        Ok(clock)
    }
}
