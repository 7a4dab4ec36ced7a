//! A dispute from its opening on: what a player, or a restarted process, looks at.

use crate::game::RuleError;
use crate::layout::Layout;
use crate::merkle::Hash;
use crate::moves::{Event, Move};
use crate::rules::Rules;
use crate::state::State;
use serde::{Deserialize, Serialize};

/// One event and the state after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// What it made of the state.
    pub state: State,
}

/// Why an event of the chain isn't the next one of this history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The event can't follow.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// It can, but the contract has another state: the history lacks an event, or the chain was
    /// reorganized, or the node that was asked lies.
    #[error("after move {move_number} the contract has another state than this history")]
    Diverged {
        /// The number of the move.
        move_number: u32,
        /// What the contract has.
        contract: Hash,
        /// What the history gives.
        ours: Hash,
    },
}

/// The opening state and everything since. Players are functions of it, so a process that has
/// stored the events, or reads them from the chain again, goes on where it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    initial: State,
    entries: Vec<Entry>,
}

impl History {
    /// The history of a dispute that has just opened.
    pub fn open(dispute: Hash, layout: &impl Layout) -> Self {
        Self { initial: State::open(dispute, layout), entries: Vec::new() }
    }

    /// The state in which the dispute opened.
    pub fn initial(&self) -> &State {
        &self.initial
    }

    /// Everything since, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The state now.
    pub fn state(&self) -> &State {
        self.entries.last().map_or(&self.initial, |entry| &entry.state)
    }

    /// The last event.
    pub fn last(&self) -> Option<&Event> {
        self.entries.last().map(|entry| &entry.event)
    }

    /// Each event with the state that it answered.
    pub fn answers(&self) -> impl Iterator<Item = (&State, &Event)> {
        let states = self.entries.iter().map(|entry| &entry.state);
        let before = std::iter::once(&self.initial).chain(states);
        before.zip(self.entries.iter().map(|entry| &entry.event))
    }

    /// Follows an event of the contract, which says that the hash of the state is now `contract`.
    /// An event that doesn't fit leaves the history as it was.
    pub fn follow(
        &mut self,
        layout: &impl Layout,
        rules: Rules,
        event: Event,
        contract: &Hash,
    ) -> Result<&State, HistoryError> {
        let state = self.state().apply_event(layout, rules, &event, self.last())?;
        let ours = state.hash();
        if ours != *contract {
            let move_number = self.state().move_number;
            return Err(HistoryError::Diverged { move_number, contract: *contract, ours });
        }
        self.entries.push(Entry { event, state });
        Ok(self.state())
    }

    /// Notes that the dispute is decided; the contract has no state after that.
    pub fn resolve(
        &mut self,
        layout: &impl Layout,
        rules: Rules,
        event: Event,
    ) -> Result<&State, HistoryError> {
        let state = self.state().apply_event(layout, rules, &event, self.last())?;
        self.entries.push(Entry { event, state });
        Ok(self.state())
    }

    /// Makes a move here, as the contract would.
    pub fn play(
        &mut self,
        layout: &impl Layout,
        rules: Rules,
        action: &Move,
    ) -> Result<&Event, RuleError> {
        let (state, event) = self.state().apply_move(layout, rules, action)?;
        self.entries.push(Entry { event, state });
        Ok(&self.entries[self.entries.len() - 1].event)
    }
}
