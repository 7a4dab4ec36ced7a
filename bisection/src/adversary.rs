//! Every strategy of an adversary against the honest player of the other side, for simulations.
//!
//! A strategy is a story and one deviation from it. The story is a player over a false trace: a
//! defender that claimed it, or a challenger that disputes an honest claim by it. The deviations at
//! each of its turns: to be silent, or as late as can be, or a second later; to send each wrong
//! form of its move ([`falsify`]); to answer as another story would; to send an old move again, or
//! one from elsewhere; to move for the other party, or call its clock early. Whatever is accepted,
//! the story goes on from there.
//!
//! [`every_strategy`] plays them all on a [`Court`]: the contract, or a model of it, on which a
//! dispute has been opened. The honest party must win every game, within the bound on moves and
//! seconds that the rules state.

mod duel;
pub mod falsify;
mod outcome;
mod strategy;

pub use duel::{every_strategy, moves_max, record};
pub use outcome::{Lost, LostHow, Tally};
pub use strategy::{Kind, Strategy};

use crate::clock::Timing;
use crate::history::History;
use crate::layout::Layout;
use crate::merkle::Hash;
use crate::moves::Move;
use crate::rules::Rules;
use crate::state::{Party, Phase, State};

/// One opened leaf of the last step's witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The bytes of the leaf.
    pub data: Vec<u8>,
    /// Its path, through all trees up to the root that the contract knows.
    pub proof: Vec<Hash>,
}

/// What a transaction asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A move.
    Move(Move),
    /// The last step, with its witness.
    Step(Vec<Opening>),
}

/// What is sent: a call, and the whole state that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The state.
    pub answers: State,
    /// The call.
    pub call: Call,
}

/// What the contract makes of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing: it reverts, with this reason.
    Refused(String),
    /// A move is made.
    Moved,
    /// The dispute is over.
    Decided {
        /// Who won.
        winner: Party,
        /// Whether the step decided it, not the clock.
        by_step: bool,
    },
}

/// A contract on which one dispute is open. Clones are independent of each other.
pub trait Court: Clone {
    /// What it knows of the claim.
    type Layout: Layout;

    /// What it knows of the claim.
    fn layout(&self) -> &Self::Layout;
    /// Its arity.
    fn rules(&self) -> Rules;
    /// Its clocks.
    fn timing(&self) -> Timing;
    /// The dispute so far, as its events tell.
    fn history(&self) -> &History;
    /// When the dispute was opened, in seconds.
    fn opened_at(&self) -> u64;
    /// The second now.
    fn now(&self) -> u64;
    /// Lets time pass until this second.
    fn wait_until(&mut self, second: u64);
    /// The last second in which the party to move is in time, as the contract's view says.
    fn deadline(&self) -> u64;
    /// A transaction of a party, in this second.
    fn send(&mut self, from: Party, transaction: &Transaction) -> Reaction;
    /// The call that ends a dispute by its clock.
    fn timeout(&mut self, from: Party) -> Reaction;
}

/// Whoever has an answer to a dispute.
pub trait Actor {
    /// What it would call now, or why it has nothing to call.
    fn call(&self, history: &History) -> Result<Call, String>;
}

/// Who plays.
#[derive(Clone, Copy)]
pub struct Cast<'a> {
    /// The side of the adversary.
    pub adversary: Party,
    /// The other one.
    pub honest: &'a dyn Actor,
    /// The adversary's story.
    pub story: &'a dyn Actor,
    /// Stories that it may change to.
    pub others: &'a [&'a dyn Actor],
    /// Games of other disputes, of other claims, on other chains, to replay from.
    pub foreign: &'a [Vec<Transaction>],
}

impl std::fmt::Debug for Cast<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cast").field("adversary", &self.adversary).finish_non_exhaustive()
    }
}

impl Cast<'_> {
    /// What the adversary sends if it goes on with a story: its own, or after that the others.
    fn story<C: Court>(&self, court: &C, story: usize) -> Option<Transaction> {
        let actor = match story.checked_sub(1) {
            None => self.story,
            Some(other) => *self.others.get(other)?,
        };
        let call = actor.call(court.history()).ok()?;
        Some(Transaction { answers: *court.history().state(), call })
    }

    /// What there is to falsify: the story's own move, or the one witness that proves something.
    fn right<C: Court>(&self, court: &C) -> Option<Transaction> {
        let answers = *court.history().state();
        if answers.phase != Phase::Step {
            return self.story(court, 0);
        }
        let call = self.honest.call(court.history()).ok()?;
        Some(Transaction { answers, call })
    }
}
