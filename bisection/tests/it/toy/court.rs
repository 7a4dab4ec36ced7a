//! The contract as a court: moves that answer its state, by the party to move, in time.

use super::verifier::{self, decide, witness};
use super::{Sim, ToyClaim, ToyTrace};
use refute_bisection::adversary::{Actor, Call, Court, Opening, Reaction, Transaction};
use refute_bisection::clock::{Clock, Timing};
use refute_bisection::history::History;
use refute_bisection::moves::Event;
use refute_bisection::player::{Action, Player};
use refute_bisection::rules::Rules;
use refute_bisection::state::{Party, Phase};

pub const TIMING: Timing = Timing { clock_s: 60, min_response_s: 7 };
const OPENED_AT: u64 = 1_000;

#[derive(Debug, Clone)]
pub struct ToyCourt<'a> {
    sim: Sim<'a>,
    clock: Clock,
    now: u64,
}

impl<'a> ToyCourt<'a> {
    pub fn open(dispute: [u8; 32], claim: &'a ToyClaim, arity_bits: u32) -> Self {
        let sim = Sim::open_as(dispute, claim, arity_bits);
        let clock = Clock::open(TIMING, sim.state.to_move(), OPENED_AT);
        Self { sim, clock, now: OPENED_AT }
    }

    fn resolve(&mut self, winner: Party, by_step: bool) -> Reaction {
        let event = Event::Resolved { winner, by_step };
        self.sim.history.resolve(self.sim.claim, self.sim.rules, event).unwrap();
        self.clock.to_move = None;
        Reaction::Decided { winner, by_step }
    }
}

impl Court for ToyCourt<'_> {
    type Layout = ToyClaim;

    fn layout(&self) -> &ToyClaim {
        self.sim.claim
    }

    fn rules(&self) -> Rules {
        self.sim.rules
    }

    fn timing(&self) -> Timing {
        TIMING
    }

    fn history(&self) -> &History {
        &self.sim.history
    }

    fn opened_at(&self) -> u64 {
        OPENED_AT
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn wait_until(&mut self, second: u64) {
        assert!(second >= self.now, "time goes forward");
        self.now = second;
    }

    fn deadline(&self) -> u64 {
        self.clock.deadline().unwrap_or(self.now)
    }

    fn send(&mut self, from: Party, transaction: &Transaction) -> Reaction {
        let refused = |why: &str| Reaction::Refused(why.to_owned());
        let phase = self.sim.state.phase;
        if transaction.answers.hash() != self.sim.state.hash() || phase == Phase::Over {
            return refused("another state");
        }
        if phase != Phase::Step && phase.to_move() != Some(from) {
            return refused("another party's turn");
        }
        let mut next = self.sim.clone();
        match &transaction.call {
            Call::Move(action) => {
                if let Err(error) = next.play(action) {
                    return Reaction::Refused(error.to_string());
                }
                match self.clock.after_move(self.now, next.state.to_move()) {
                    Ok(clock) => (self.clock, self.sim) = (clock, next),
                    Err(error) => return Reaction::Refused(error.to_string()),
                }
                Reaction::Moved
            }
            Call::Step(_) if phase != Phase::Step => refused("another phase"),
            Call::Step(_) if self.clock.timed_out(self.now).is_some() => refused("too late"),
            Call::Step(openings) => {
                let openings: Vec<_> = openings.iter().cloned().map(verifier_opening).collect();
                match decide(self.sim.claim, &self.sim.state, &openings) {
                    Ok(winner) => self.resolve(winner, true),
                    Err(_) => refused("no proof"),
                }
            }
        }
    }

    fn timeout(&mut self, _: Party) -> Reaction {
        match self.clock.timed_out(self.now) {
            Some(out) => self.resolve(out.party.other(), false),
            None => Reaction::Refused("still in time".to_owned()),
        }
    }
}

fn verifier_opening(opening: Opening) -> verifier::Opening {
    verifier::Opening { data: opening.data, proof: opening.proof }
}

/// A player over a toy trace, with the witnesses that it builds.
#[derive(Debug)]
pub struct ToyActor<'a, P> {
    pub player: P,
    pub trace: &'a ToyTrace,
    pub claim: &'a ToyClaim,
}

impl<P: Player<Trace = ToyTrace>> Actor for ToyActor<'_, P> {
    fn call(&self, history: &History) -> Result<Call, String> {
        match self.player.next(history).map_err(|error| error.to_string())? {
            Action::Play(action) => Ok(Call::Move(action)),
            Action::Decide(_) => {
                let openings = witness(&self.player, history, self.trace, self.claim);
                let openings = openings.map_err(|error| error.to_string())?.into_iter();
                let opening = |o: verifier::Opening| Opening { data: o.data, proof: o.proof };
                Ok(Call::Step(openings.map(opening).collect()))
            }
            other => Err(format!("{other:?}")),
        }
    }
}
