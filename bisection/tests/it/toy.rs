//! A toy model with its own arithmetic, and a simulated contract that plays disputes about it.

pub mod court;
pub mod program;
pub mod trace;
pub mod verifier;

pub use program::{COLLECT, Op, PROGRAM, SAMPLE};
pub use trace::{Lie, ToyClaim, ToyTrace};

use refute_bisection::game::RuleError;
use refute_bisection::history::History;
use refute_bisection::layout::Layout;
use refute_bisection::moves::{Event, Move};
use refute_bisection::player::{Action, Challenger, Defender, Player};
use refute_bisection::rules::{self, Rules};
use refute_bisection::state::{Party, Phase, State};
use verifier::{Opening, decide, witness};

pub const DISPUTE: [u8; 32] = [0xd1; 32];

/// The contract, and a follower that sees only its events. Every rule is checked after every move.
#[derive(Debug, Clone)]
pub struct Sim<'a> {
    pub claim: &'a ToyClaim,
    pub rules: Rules,
    pub state: State,
    pub history: History,
    pub moves: Vec<Move>,
}

impl<'a> Sim<'a> {
    pub fn open(claim: &'a ToyClaim, arity_bits: u32) -> Self {
        Self::open_as(DISPUTE, claim, arity_bits)
    }

    pub fn open_as(dispute: [u8; 32], claim: &'a ToyClaim, arity_bits: u32) -> Self {
        let rules = Rules::new(arity_bits).unwrap();
        let state = State::open(dispute, claim);
        let history = History::open(dispute, claim);
        Self { claim, rules, state, history, moves: Vec::new() }
    }

    pub fn play(&mut self, action: &Move) -> Result<(), RuleError> {
        let (after, event) = self.state.apply_move(self.claim, self.rules, action)?;
        let followed = self.history.follow(self.claim, self.rules, event.clone(), &after.hash());
        assert_eq!(followed, Ok(&after), "{event:?}");
        rules::check(self.claim, self.rules, &self.state, &event, &after).unwrap();
        self.state = after;
        self.moves.push(action.clone());
        Ok(())
    }

    /// Decides as the contract's `step` does.
    pub fn step(&self, openings: &[Opening]) -> Option<Party> {
        assert_eq!(self.state.phase, Phase::Step);
        decide(self.claim, &self.state, openings).ok()
    }

    /// The bound on the moves of a game that ended where this one did.
    pub fn assert_bounded(&self) {
        let shape = self.state.shape(self.claim).unwrap();
        let (block, element) = (self.state.block, self.state.element);
        let fold = self.claim.fold(&self.state.descriptor(), block, element).unwrap();
        let (blocks, steps) = (self.claim.blocks(), self.claim.steps(block));
        let most = self.rules.moves_max(blocks, steps, shape.leaves, fold.units);
        assert!(self.state.move_number <= most, "{} > {most}", self.state.move_number);
    }
}

/// How a game ended.
#[derive(Debug)]
pub struct End<'a> {
    pub sim: Sim<'a>,
    pub winner: Party,
    pub by_step: bool,
}

/// Plays a dispute between a provider with its trace and an honest challenger. A defender whose
/// trace gives no valid move is out of time.
pub fn play<'a>(
    claim: &'a ToyClaim,
    arity_bits: u32,
    theirs: &ToyTrace,
    own: &ToyTrace,
) -> End<'a> {
    let mut sim = Sim::open(claim, arity_bits);
    let defender = Defender::new(theirs, claim, sim.rules);
    let challenger = Challenger::new(own, claim, sim.rules);
    loop {
        let action = match sim.state.to_move() {
            Some(Party::Challenger) => {
                assert_eq!(defender.next(&sim.history).unwrap(), Action::Wait);
                challenger.next(&sim.history).unwrap()
            }
            _ => match defender.next(&sim.history) {
                Ok(action) => action,
                Err(_) => return End { sim, winner: Party::Challenger, by_step: false },
            },
        };
        match action {
            Action::Play(action) => sim.play(&action).unwrap(),
            Action::Decide(_) => {
                let openings = witness(&challenger, &sim.history, own, claim).unwrap();
                let winner = sim.step(&openings).expect("the challenger's witness proves");
                sim.assert_bounded();
                let event = Event::Resolved { winner, by_step: true };
                sim.history.resolve(claim, sim.rules, event).unwrap();
                assert_eq!(challenger.next(&sim.history).unwrap(), Action::Over);
                return End { sim, winner, by_step: true };
            }
            Action::Wait | Action::Over => panic!("{:?} by {:?}", action, sim.state),
        }
    }
}
