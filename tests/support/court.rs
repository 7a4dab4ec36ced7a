//! The deployed contracts as a court of [`refute_bisection::adversary`], and engine runs as its actors.

use crate::arena::{Arena, CHALLENGER, PROVIDER, Parameters, Sent};
use alloy::primitives::{B256, Bytes, U256};
use alloy::sol_types::{SolCall, SolValue};
use refute_bisection::adversary::{Actor, Call, Court, Opening, Reaction, Transaction};
use refute_bisection::clock::Timing;
use refute_bisection::history::History;
use refute_bisection::merkle::Hash;
use refute_bisection::player::{Action, Challenger, Defender, Player as _};
use refute_bisection::rules::Rules;
use refute_bisection::state::{Party, Phase};
use refute_contracts::bindings::{self as abi, IDisputeGame as Game};
use refute_engine::player::{self, Next};
use refute_engine::subject::{Player, Subject};
use std::collections::HashMap;
use std::sync::Mutex;

/// A dispute on the embedded EVM.
#[derive(Clone, Debug)]
pub struct EvmCourt<'a> {
    /// The chain.
    pub arena: Arena,
    /// What the opening cost.
    pub opening_gas: u64,
    /// What the moves cost.
    pub moves: Vec<Sent>,
    dispute: B256,
    subject: &'a Subject,
    history: History,
    opened_at: u64,
    timing: Timing,
}

impl<'a> EvmCourt<'a> {
    /// Opens a dispute on a claim.
    ///
    /// # Panics
    /// If the settlement refuses.
    pub fn open(
        mut arena: Arena,
        parameters: Parameters,
        claim: B256,
        subject: &'a Subject,
    ) -> Self {
        let (dispute, opening_gas) = arena.challenge_for(claim);
        let Parameters { clock_s, min_response_s, .. } = parameters;
        Self {
            history: History::open(dispute.0, subject),
            opened_at: arena.evm.timestamp(),
            timing: Timing { clock_s, min_response_s },
            arena,
            opening_gas,
            moves: Vec::new(),
            dispute,
            subject,
        }
    }

    /// Calls the game, and follows what it says.
    fn call(&mut self, party: Party, name: &'static str, data: &[u8]) -> Reaction {
        let from = if party == Party::Defender { PROVIDER } else { CHALLENGER };
        let game = self.arena.game;
        let outcome = self.arena.evm.call(from, game, data, U256::ZERO);
        let outcome = outcome.expect("the EVM takes the call");
        if !outcome.is_success() {
            return Reaction::Refused(outcome.failure());
        }
        let (gas, calldata) = (outcome.gas_used, data.len());
        self.moves.push(Sent { name, party, gas, calldata });
        match self.arena.follow(&outcome, self.subject, &mut self.history) {
            Some((winner, by_step)) => Reaction::Decided { winner, by_step },
            None => Reaction::Moved,
        }
    }
}

impl Court for EvmCourt<'_> {
    type Layout = Subject;

    fn layout(&self) -> &Subject {
        self.subject
    }

    fn rules(&self) -> Rules {
        self.arena.rules()
    }

    fn timing(&self) -> Timing {
        self.timing
    }

    fn history(&self) -> &History {
        &self.history
    }

    fn opened_at(&self) -> u64 {
        self.opened_at
    }

    fn now(&self) -> u64 {
        self.arena.evm.timestamp()
    }

    fn wait_until(&mut self, second: u64) {
        self.arena.evm.set_timestamp(second);
    }

    fn deadline(&self) -> u64 {
        let call = Game::disputeOfCall { dispute: self.dispute };
        let view = self.arena.evm.view(self.arena.game, &call).expect("an open dispute");
        view.deadline
    }

    fn send(&mut self, from: Party, transaction: &Transaction) -> Reaction {
        let Transaction { answers, call } = transaction;
        let (name, data) = match call {
            Call::Move(action) => (action.name(), player::encode(answers, action.clone())),
            Call::Step(openings) => {
                let openings: Vec<abi::Opening> = openings.iter().map(to_opening).collect();
                let witness = openings.abi_encode().into();
                (
                    "step",
                    Game::stepCall { state: answers.encode().into(), witness }.abi_encode().into(),
                )
            }
        };
        self.call(from, name, &data)
    }

    fn timeout(&mut self, from: Party) -> Reaction {
        let call = Game::timeoutCall { dispute: self.dispute };
        self.call(from, "timeout", &call.abi_encode())
    }
}

fn to_opening(opening: &Opening) -> abi::Opening {
    let proof = opening.proof.iter().map(|hash| B256::from(*hash)).collect();
    abi::Opening { data: Bytes::from(opening.data.clone()), proof }
}

fn from_opening(opening: abi::Opening) -> Opening {
    let proof: Vec<Hash> = opening.proof.iter().map(|hash| hash.0).collect();
    Opening { data: opening.data.to_vec(), proof }
}

/// One side of a dispute over an own run. A state's hash says all that its answer depends on, so answers are remembered.
#[derive(Debug)]
pub struct RunActor<'a> {
    party: Party,
    own: &'a Player,
    subject: &'a Subject,
    rules: Rules,
    answers: Mutex<HashMap<Hash, Result<Call, String>>>,
}

impl<'a> RunActor<'a> {
    /// The player of a side.
    pub fn new(party: Party, own: &'a Player, subject: &'a Subject, rules: Rules) -> Self {
        Self { party, own, subject, rules, answers: Mutex::default() }
    }

    fn compute(&self, history: &History) -> Result<Call, String> {
        let (own, subject, rules) = (self.own, self.subject, self.rules);
        let action = match self.party {
            Party::Defender => Defender::new(own, subject, rules).next(history),
            Party::Challenger => Challenger::new(own, subject, rules).next(history),
        };
        match action.map_err(|error| error.to_string())? {
            Action::Play(action) => Ok(Call::Move(action)),
            Action::Decide(_) => {
                let next = player::next(self.party, own, subject, rules, history);
                let Next::Call { data, .. } = next.map_err(|error| error.to_string())? else {
                    return Err("no step in the last phase".to_owned());
                };
                let call = Game::stepCall::abi_decode(&data).map_err(|error| error.to_string())?;
                let openings = Vec::<abi::Opening>::abi_decode(&call.witness);
                let openings = openings.map_err(|error| error.to_string())?.into_iter();
                Ok(Call::Step(openings.map(from_opening).collect()))
            }
            other => Err(format!("{other:?}")),
        }
    }
}

impl Actor for RunActor<'_> {
    fn call(&self, history: &History) -> Result<Call, String> {
        let state = history.state().hash();
        let lock = || self.answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = lock().get(&state).cloned();
        if let Some(answer) = known {
            return answer;
        }
        let answer = self.compute(history);
        lock().insert(state, answer.clone());
        answer
    }
}

/// Plays to the end; `decider` makes the last step. Gives the winner, and whether the step decided it.
///
/// # Errors
/// A party that has no move, or one that is refused.
pub fn play(
    court: &mut EvmCourt<'_>,
    defender: &dyn Actor,
    challenger: &dyn Actor,
    decider: Party,
) -> Result<(Party, bool), String> {
    loop {
        let answers = *court.history().state();
        let party = match answers.phase {
            Phase::Step => decider,
            _ => answers.to_move().ok_or("the dispute is over")?,
        };
        let actor = if party == Party::Defender { defender } else { challenger };
        let call = actor.call(court.history()).map_err(|e| format!("the {party}: {e}"))?;
        court.wait_until(court.now() + 1);
        match court.send(party, &Transaction { answers, call }) {
            Reaction::Moved => {}
            Reaction::Decided { winner, by_step } => return Ok((winner, by_step)),
            Reaction::Refused(why) => {
                return Err(format!("the {party} in {:?}: {why}", answers.phase));
            }
        }
    }
}
