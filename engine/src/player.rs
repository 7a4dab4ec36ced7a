//! Plays a dispute: from its history to the next call of the contract.

use crate::subject::{Player as Own, Subject};
use crate::trace::RunError;
use crate::witness::{self, Paths, WitnessError};
use alloy::primitives::{B256, Bytes, I256};
use alloy::sol_types::SolCall;
use refute_bisection::history::History;
use refute_bisection::merkle::Hash;
use refute_bisection::moves::{Event, Move};
use refute_bisection::player::{Action, Challenger, Defender, Player, PlayerError};
use refute_bisection::position::{Block, Element, Step};
use refute_bisection::rules::Rules;
use refute_bisection::state::{Party, State, Word};
use refute_contracts::bindings::IDisputeGame as Game;

/// Why there's no next call.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The player has no answer.
    #[error(transparent)]
    Player(#[from] PlayerError<RunError>),
    /// The last step's witness can't be built.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// The own computation failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// What to do in a dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It's the other party's turn.
    Wait,
    /// Call the game with this.
    Call {
        /// The function.
        name: &'static str,
        /// Number of the move.
        number: u32,
        /// Encoded call.
        data: Bytes,
    },
    /// The dispute is over.
    Over,
}

/// The next call of `party` in a dispute on `subject`, given its own computation.
///
/// # Errors
/// An own computation that isn't the claim's, or finds nothing wrong with it.
pub fn next(
    party: Party,
    own: &Own,
    subject: &Subject,
    rules: Rules,
    history: &History,
) -> Result<Next, PlayError> {
    match party {
        Party::Defender => play(&Defender::new(own, subject, rules), own, history),
        Party::Challenger => play(&Challenger::new(own, subject, rules), own, history),
    }
}

fn play<P: Player<Trace = Own>>(
    player: &P,
    own: &Own,
    history: &History,
) -> Result<Next, PlayError> {
    let state = history.state();
    let (name, data) = match player.next(history)? {
        Action::Wait => return Ok(Next::Wait),
        Action::Over => return Ok(Next::Over),
        Action::Play(action) => (action.name(), encode(state, action)),
        Action::Decide(state) => {
            let expansion = own.expansion(state.block.0)?;
            let paths = Known { player, history };
            let witness = witness::build(own.run(), &expansion, &state, &paths)?;
            ("step", Game::stepCall { state: state.encode().into(), witness }.abi_encode().into())
        }
    };
    Ok(Next::Call { name, number: state.move_number, data })
}

struct Known<'a, P> {
    player: &'a P,
    history: &'a History,
}

impl<P: Player<Trace = Own>> Paths for Known<'_, P> {
    fn block(&self, block: u32) -> Option<Vec<Hash>> {
        self.player.trace_path(self.history, Block(block)).ok()
    }

    fn step(&self, step: u32) -> Option<Vec<Hash>> {
        self.player.step_path(self.history, Step(step)).ok()
    }
}

/// The call of the game that makes a move on a state.
pub fn encode(state: &State, action: Move) -> Bytes {
    let state = Bytes::from(state.encode());
    let data = match action {
        Move::Reveal { children } => {
            Game::revealCall { state, children: hashes(children) }.abi_encode()
        }
        Move::Expand { step_root, collect_proof, sample_proof, tokens, token_proof, children } => {
            Game::expandCall {
                state,
                stepRoot: step_root.into(),
                collectProof: hashes(collect_proof),
                sampleProof: hashes(sample_proof),
                tokens: tokens.into(),
                tokenProof: hashes(token_proof),
                children: hashes(children),
            }
            .abi_encode()
        }
        Move::Choose { child, hash, path } => {
            Game::chooseCall { state, child, hash: hash.into(), path: hashes(path) }.abi_encode()
        }
        Move::ChooseStep { child, hash, path, d0, d1, descriptor_proof } => Game::chooseStepCall {
            state,
            child,
            hash: hash.into(),
            path: hashes(path),
            d0: d0.into(),
            d1: d1.into(),
            descriptorProof: hashes(descriptor_proof),
        }
        .abi_encode(),
        Move::RevealLeaf { data } => Game::revealLeafCall { state, data: data.into() }.abi_encode(),
        Move::ChooseElement { data, element } => {
            Game::chooseElementCall { state, data: data.into(), element: element.0 }.abi_encode()
        }
        Move::RevealFold { accs } => Game::revealFoldCall { state, accs: words(accs) }.abi_encode(),
        Move::ChooseFold { accs, choice } => {
            Game::chooseFoldCall { state, accs: words(accs), choice }.abi_encode()
        }
    };
    data.into()
}

/// An event of the contract as the game's, with the hash of the state after it (none after the last one). `None` for the
/// opening.
pub fn from_abi(event: &Game::IDisputeGameEvents) -> Option<(Event, Option<Hash>)> {
    use Game::IDisputeGameEvents as E;
    let (event, state) = match event {
        E::DisputeOpened(_) => return None,
        E::Revealed(e) => (Event::Revealed { children: unhash(&e.children) }, e.state),
        E::Chosen(e) => (Event::Chosen { child: e.child, hash: e.hash.0 }, e.state),
        E::StepChosen(e) => {
            let (hash, d0, d1) = (e.hash.0, e.d0.0, e.d1.0);
            (Event::StepChosen { child: e.child, hash, d0, d1 }, e.state)
        }
        E::Expanded(e) => {
            let children = unhash(&e.children);
            (Event::Expanded { step_root: e.stepRoot.0, children }, e.state)
        }
        E::LeafRevealed(e) => (Event::LeafRevealed { data: e.data.to_vec() }, e.state),
        E::ElementChosen(e) => {
            let claimed = e.claimed.to_be_bytes();
            (Event::ElementChosen { element: Element(e.element), claimed }, e.state)
        }
        E::FoldRevealed(e) => {
            let accs = e.accs.iter().map(|a| a.to_be_bytes()).collect();
            (Event::FoldRevealed { accs }, e.state)
        }
        E::FoldChosen(e) => (Event::FoldChosen { choice: e.choice }, e.state),
        E::DisputeResolved(e) => {
            let winner = if e.challengerWon { Party::Challenger } else { Party::Defender };
            return Some((Event::Resolved { winner, by_step: e.byStep }, None));
        }
    };
    Some((event, Some(state.0)))
}

fn hashes(values: Vec<Hash>) -> Vec<B256> {
    values.into_iter().map(B256::from).collect()
}

fn unhash(values: &[B256]) -> Vec<Hash> {
    values.iter().map(|v| v.0).collect()
}

fn words(values: Vec<Word>) -> Vec<I256> {
    values.into_iter().map(I256::from_be_bytes).collect()
}

/// What a dispute has come down to: the claimed value, and the own one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Position.
    pub block: u32,
    /// Step of the program.
    pub step: u32,
    /// Its name.
    pub name: String,
    /// Its op.
    pub op: &'static str,
    /// Element of its tensor.
    pub element: u32,
    /// `whole`, `segment` or `finalize`.
    pub mode: &'static str,
    /// The unit of the fold in dispute, of a segment.
    pub unit: Option<u64>,
    /// What the defender says: the element, or the accumulator after the unit.
    pub claimed: String,
    /// What the own computation gives.
    pub computed: String,
}

/// What a dispute has come down to; `None` before it has an element.
///
/// # Errors
/// An own computation of another claim.
pub fn finding(own: &Own, state: &State) -> Result<Option<Finding>, PlayError> {
    use refute_bisection::state::{Mode, Phase};
    use refute_bisection::trace::{Tensor, Trace};
    let decided =
        matches!(state.phase, Phase::Step | Phase::Over | Phase::FoldReveal | Phase::FoldChoose);
    let Some(step) = own.run().model().program.steps.get(state.step.0 as usize) else {
        return Ok(None);
    };
    if !decided {
        return Ok(None);
    }
    let (block, element) = (state.block, state.element);
    let segment = state.mode == Mode::Segment;
    let (claimed, computed) = if segment {
        let accs = own.accumulators(block, state.step, element, &[state.hi])?;
        (state.acc_hi, accs.first().copied().unwrap_or_default())
    } else {
        let computed = match own.tensor(block, state.step)? {
            Tensor::Roots(roots) => roots.get(element.0 as usize).copied().unwrap_or_default(),
            Tensor::Bytes(bytes) => decode(&step.descriptor, state, &bytes),
        };
        (state.claimed, computed)
    };
    let text = |word: Word| {
        if state.step.0 == own.run().model().program.collect {
            return B256::from(word).to_string();
        }
        I256::from_be_bytes(word).to_string()
    };
    let mode = match state.mode {
        Mode::Whole => "whole",
        Mode::Segment => "segment",
        Mode::Finalize => "finalize",
    };
    Ok(Some(Finding {
        block: block.0,
        step: state.step.0,
        name: step.name.clone(),
        op: step.descriptor.op.name(),
        element: element.0,
        mode,
        unit: segment.then_some(state.lo),
        claimed: text(claimed),
        computed: text(computed),
    }))
}

fn decode(descriptor: &crate::program::Descriptor, state: &State, bytes: &[u8]) -> Word {
    let (offset, _) = descriptor.place(state.block.0, state.element.0);
    let leaf = offset / crate::program::LEAF_BYTES;
    let data = bytes.chunks(crate::program::LEAF_BYTES).nth(leaf).unwrap_or_default();
    let value = descriptor.decode(state.block.0, leaf as u32, state.element.0, data);
    value.map(refute_bisection::state::word_from_i128).unwrap_or_default()
}
