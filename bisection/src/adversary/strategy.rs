//! What an adversary can do at one of its turns.

use super::falsify::{self, Place};
use super::{Cast, Court, Transaction};
use crate::state::{Party, Phase};

/// What is wrong with a deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nothing: the story itself, to its end.
    Story,
    /// No move any more.
    Silent,
    /// A move in the last second.
    LastSecond,
    /// A move one second after it.
    TooLate,
    /// All time used, of its own clock and, by the other party, of that one's.
    Slow,
    /// The clock called while the other party is still in time, in its last second.
    Hasty,
    /// The other party's move, sent by the adversary.
    Sender,
    /// A move of another phase.
    Phase,
    /// Another child, or one that isn't there.
    Child,
    /// A hash that isn't the node's.
    Hash,
    /// Padding where a real node belongs, garbage where padding does.
    Padding,
    /// Something too long or too short.
    Length,
    /// A false root.
    Root,
    /// A sibling of a path that isn't one.
    Proof,
    /// A descriptor that isn't the step's.
    Descriptor,
    /// A token that wasn't posted.
    Token,
    /// Bytes that aren't the leaf's.
    Leaf,
    /// Another element, or one that isn't there.
    Element,
    /// A false accumulator.
    Accumulator,
    /// Another segment, or one that isn't there.
    Choice,
    /// A field of the state that the move answers.
    State,
    /// A witness that doesn't prove its openings.
    Witness,
    /// The answer of another story.
    Inconsistent,
    /// A move of this dispute, made before.
    OldMove,
    /// A move of another dispute, claim or chain.
    ForeignMove,
}

/// What an adversary does at its turn, instead of going on with its story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Waits for ever.
    Silent,
    /// Makes its move in its last second, then goes on.
    LastSecond,
    /// Makes its move one second later.
    TooLate,
    /// From now on, both parties take all the time that they have.
    Slow,
    /// Sends something else, then goes on with its story, or with another.
    Send {
        /// What is wrong with it.
        kind: Kind,
        /// What is sent.
        transaction: Box<Transaction>,
        /// The story that it goes on with.
        story: usize,
    },
}

impl Strategy {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Silent => Kind::Silent,
            Self::LastSecond => Kind::LastSecond,
            Self::TooLate => Kind::TooLate,
            Self::Slow => Kind::Slow,
            Self::Send { kind, .. } => *kind,
        }
    }
}

/// Everything that the adversary can do at its turn, but for going on with its story. `sent` is
/// what both parties have sent so far.
pub(super) fn deviations<C: Court>(
    court: &C,
    cast: &Cast<'_>,
    sent: &[Transaction],
) -> Vec<Strategy> {
    let answers = *court.history().state();
    let right = cast.right(court);
    let mut strategies = vec![Strategy::Silent];
    let send = |kind, transaction, story| Strategy::Send {
        kind,
        transaction: Box::new(transaction),
        story,
    };
    if let Some(right) = &right {
        // In `Step` it is the defender's clock that runs.
        if answers.phase != Phase::Step || cast.adversary == Party::Defender {
            strategies.extend([Strategy::LastSecond, Strategy::TooLate, Strategy::Slow]);
        }
        let place = Place {
            layout: court.layout(),
            rules: court.rules(),
            state: &answers,
            last: court.history().last(),
        };
        let forms = falsify::transactions(place, right).into_iter();
        strategies.extend(forms.map(|(kind, transaction)| send(kind, transaction, 0)));
    }
    for (other, story) in cast.others.iter().zip(1..) {
        let Ok(call) = other.call(court.history()) else { continue };
        let transaction = Transaction { answers, call };
        if right.as_ref() != Some(&transaction) {
            // Once, or from now on.
            strategies.push(send(Kind::Inconsistent, transaction.clone(), 0));
            strategies.push(send(Kind::Inconsistent, transaction, story));
        }
    }
    let foreign = cast.foreign.iter().filter_map(|game| game.get(sent.len()));
    let old = sent.iter().map(|old| (Kind::OldMove, old));
    for (kind, past) in old.chain(foreign.map(|past| (Kind::ForeignMove, past))) {
        let again = Transaction { answers, call: past.call.clone() };
        for transaction in [past.clone(), again] {
            if right.as_ref() != Some(&transaction) {
                strategies.push(send(kind, transaction, 0));
            }
        }
    }
    strategies
}
