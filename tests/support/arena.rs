//! The contracts on the embedded EVM, and disputes played to the end between two runs.

use alloy::primitives::{Address, B256, Bytes, U256, address};
use alloy::sol_types::{SolCall, SolEventInterface};
use refute_bisection::history::History;
use refute_bisection::rules::Rules;
use refute_bisection::state::{Party, Phase, State};
use refute_contracts::bindings::{
    GameParams, IDisputeGame as Game, IInferenceSettlement as Settlement, RequestParams, Terms,
};
use refute_contracts::create2;
use refute_contracts::evm::{Evm, Outcome};
use refute_contracts::plan::Plan;
use refute_engine::model::Model;
use refute_engine::player::{self, Next};
use refute_engine::provider::packed;
use refute_engine::subject::{Player, Subject};
use refute_engine::trace::Run;
use refute_kernels::Sampling;
use std::sync::Arc;

/// Who deploys.
pub const DEPLOYER: Address = address!("00000000000000000000000000000000000d0001");
/// Who asks.
pub const REQUESTER: Address = address!("00000000000000000000000000000000000d0002");
/// Who answers.
pub const PROVIDER: Address = address!("00000000000000000000000000000000000d0003");
/// Who disputes.
pub const CHALLENGER: Address = address!("00000000000000000000000000000000000d0004");

/// One ether.
pub const ETHER: u128 = 1_000_000_000_000_000_000;

/// Parameters of a deployment.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    /// Levels of a reveal, and bits of a fold's segments.
    pub arity_bits: u32,
    /// Chess clock of a party, seconds.
    pub clock_s: u32,
    /// Time for a move that isn't counted, seconds.
    pub min_response_s: u32,
    /// Challenge window, seconds.
    pub window_s: u32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { arity_bits: 5, clock_s: 600, min_response_s: 30, window_s: 3600 }
    }
}

/// The deployed contracts.
#[derive(Clone, Debug)]
pub struct Arena {
    /// The chain.
    pub evm: Evm,
    /// `StepVerifier`.
    pub verifier: Address,
    /// `ModelRegistry`.
    pub registry: Address,
    /// `DisputeGame`.
    pub game: Address,
    /// `InferenceSettlement`.
    pub settlement: Address,
    rules: Rules,
    window_s: u32,
    nonce: u64,
}

/// One move of a dispute, as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The contract's function.
    pub name: &'static str,
    /// Who sent it.
    pub party: Party,
    /// Of the transaction.
    pub gas: u64,
    /// Of the call.
    pub calldata: usize,
}

/// How a dispute went.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Who won.
    pub winner: Party,
    /// Whether the step decided it.
    pub by_step: bool,
    /// The state before the step.
    pub last: State,
    /// All moves, the step included.
    pub moves: Vec<Sent>,
}

impl Verdict {
    /// Rounds: reveals (the expansion is one) with their choices.
    pub fn rounds(&self) -> usize {
        self.moves.iter().filter(|m| m.name.starts_with("choose")).count()
    }

    /// Gas of all moves.
    pub fn gas(&self) -> u64 {
        self.moves.iter().map(|m| m.gas).sum()
    }

    /// Gas of the step.
    pub fn step_gas(&self) -> u64 {
        self.moves.last().map_or(0, |m| m.gas)
    }

    /// Bytes of all calls.
    pub fn calldata(&self) -> usize {
        self.moves.iter().map(|m| m.calldata).sum()
    }
}

/// The terms of every arena: what a claim's bond is, and what is done with it.
pub fn terms(window_s: u32) -> Terms {
    Terms {
        bondMin: ETHER,
        bondMax: 100 * ETHER,
        burnBps: 5_000,
        missBps: 1_000,
        challengerBond: ETHER / 10,
        challengerBurnBps: 5_000,
        moveReimbursement: ETHER / 1_000,
        movesReimbursed: 32,
        windowMinS: window_s,
        windowMaxS: window_s.saturating_mul(10),
        claimS: 3600,
        callbackGasMax: 1_000_000,
    }
}

impl Arena {
    /// Deploys the contracts.
    ///
    /// # Panics
    /// If the artifacts don't deploy.
    pub fn new(parameters: Parameters) -> Self {
        Self::on(Evm::new(), parameters)
    }

    /// As [`Arena::new`], on this chain, which must be empty.
    ///
    /// # Panics
    /// If the artifacts don't deploy.
    pub fn on(mut evm: Evm, parameters: Parameters) -> Self {
        evm.set_timestamp(1_000_000);
        for account in [DEPLOYER, REQUESTER, PROVIDER, CHALLENGER] {
            evm.set_balance(account, U256::from(1000 * ETHER));
        }
        evm.set_code(create2::PROXY, create2::PROXY_CODE.clone());
        let Parameters { arity_bits, clock_s, min_response_s, window_s } = parameters;
        let game =
            GameParams { arityBits: arity_bits, clockS: clock_s, minResponseS: min_response_s };
        let chain_id = refute_contracts::evm::DEFAULT_CHAIN_ID;
        let plan = Plan::new(chain_id, B256::ZERO, &game, &terms(window_s)).expect("it deploys");
        for planned in plan.contracts() {
            if let Some(init_code) = &planned.init_code {
                let data = create2::calldata(B256::ZERO, init_code);
                let made = evm.call(DEPLOYER, create2::PROXY, &data, U256::ZERO);
                assert!(made.expect("a call").is_success(), "{}", planned.contract.name());
            }
            assert_eq!(evm.code(planned.address), planned.code, "{}", planned.contract.name());
        }
        let [verifier, registry, settlement, game] = plan.contracts().map(|c| c.address);
        let rules = Rules::new(arity_bits).expect("an arity of 1 to 8 bits");
        Self { evm, verifier, registry, game, settlement, rules, window_s, nonce: 0 }
    }

    /// The rules of this deployment's game.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Registers a model.
    ///
    /// # Panics
    /// If the registry refuses it, or computes another id.
    pub fn register(&mut self, model: &Model) {
        let call = model.register_call();
        let (id, _) =
            self.evm.send(DEPLOYER, self.registry, &call, U256::ZERO).expect("registered");
        assert_eq!(id, model.id, "the registry and the engine agree on the id");
    }

    /// Requests `run`'s prompt with its sampling, accepts, and claims what the run yields. Gives the claim's id.
    ///
    /// # Panics
    /// If the settlement refuses.
    pub fn claim(&mut self, run: &Run) -> B256 {
        self.claim_of(run, run.sampling())
    }

    /// The same, of a request with this sampling, whatever the run's was.
    ///
    /// # Panics
    /// If the settlement refuses.
    pub fn claim_of(&mut self, run: &Run, sampling: Sampling) -> B256 {
        self.nonce += 1;
        let params = RequestParams {
            modelId: run.model().id,
            prompt: packed(run.prompt()),
            maxOutput: run.output().len() as u32,
            seed: sampling.seed,
            temperature: sampling.temperature,
            bond: ETHER,
            windowS: self.window_s,
            deadline: self.evm.timestamp() + 100_000,
            callback: Address::ZERO,
            callbackGas: 0,
            nonce: U256::from(self.nonce),
        };
        let request = Settlement::requestCall { p: params };
        let fee = U256::from(ETHER / 100);
        let request_id = self.settle(REQUESTER, &request, fee);
        let accept = Settlement::acceptCall { requestId: request_id, payee: PROVIDER };
        self.settle(PROVIDER, &accept, U256::from(ETHER));
        let claim = Settlement::claimCall {
            requestId: request_id,
            output: packed(run.output()),
            traceRoot: run.trace_root().into(),
        };
        self.settle(PROVIDER, &claim, U256::ZERO)
    }

    /// Opens a dispute.
    ///
    /// # Panics
    /// If the settlement refuses.
    pub fn challenge(&mut self, claim_id: B256) -> B256 {
        self.challenge_for(claim_id).0
    }

    /// Opens a dispute, and says for how much gas.
    ///
    /// # Panics
    /// If the settlement refuses.
    pub fn challenge_for(&mut self, claim_id: B256) -> (B256, u64) {
        let call = Settlement::challengeCall { claimId: claim_id, payee: CHALLENGER };
        let value = U256::from(ETHER / 10);
        let sent = self.evm.send(CHALLENGER, self.settlement, &call, value);
        let (dispute, outcome) = sent.expect("the settlement accepts");
        (dispute, outcome.gas_used)
    }

    /// Calls the settlement, which must succeed.
    ///
    /// # Panics
    /// If it reverts.
    pub fn settle<C: SolCall>(&mut self, from: Address, call: &C, value: U256) -> C::Return {
        self.evm.send(from, self.settlement, call, value).expect("the settlement accepts").0
    }

    /// Plays a dispute to the end: `defender` made the claim, `challenger` is whoever disputes it, `decider` calls the step.
    ///
    /// # Panics
    /// If a player has no move or the contract refuses one: the message says which.
    pub fn play(
        &mut self,
        dispute: B256,
        defender: &Player,
        challenger: &Player,
        decider: Party,
    ) -> Verdict {
        let subject = subject_of(defender.run());
        let mut history = History::open(dispute.0, &subject);
        let mut moves = Vec::new();
        loop {
            let state = *history.state();
            let party = match state.phase {
                Phase::Step => decider,
                phase => phase.to_move().expect("a dispute that isn't over has somebody to move"),
            };
            let own = if party == Party::Defender { defender } else { challenger };
            let next = player::next(party, own, &subject, self.rules, &history);
            let Next::Call { name, data, .. } = next.unwrap_or_else(|e| panic!("{party}: {e}"))
            else {
                panic!("{party} waits in {:?}", state.phase);
            };
            let outcome = self.send(party, &data);
            assert!(outcome.is_success(), "{name} by the {party}: {}", outcome.failure());
            let (gas, calldata) = (outcome.gas_used, data.len());
            moves.push(Sent { name, party, gas, calldata });
            if let Some((winner, by_step)) = self.follow(&outcome, &subject, &mut history) {
                return Verdict { winner, by_step, last: state, moves };
            }
        }
    }

    /// Sends a call of the game.
    ///
    /// # Panics
    /// If it can't even be tried.
    pub fn send(&mut self, party: Party, data: &Bytes) -> Outcome {
        let from = if party == Party::Defender { PROVIDER } else { CHALLENGER };
        let now = self.evm.timestamp();
        self.evm.set_timestamp(now + 1);
        self.evm.call(from, self.game, data, U256::ZERO).expect("the EVM takes the call")
    }

    /// Takes what the game said in a transaction into the history; the winner once it is decided.
    ///
    /// # Panics
    /// If the contract and the history come to different states.
    pub fn follow(
        &self,
        outcome: &Outcome,
        subject: &Subject,
        history: &mut History,
    ) -> Option<(Party, bool)> {
        for log in outcome.logs.iter().filter(|log| log.address == self.game) {
            let event = Game::IDisputeGameEvents::decode_log(log).expect("an event of the game");
            let Some((event, hash)) = player::from_abi(&event.data) else { continue };
            if let refute_bisection::moves::Event::Resolved { winner, by_step } = event {
                return Some((winner, by_step));
            }
            let hash = hash.expect("moves carry the hash of the state after them");
            history
                .follow(subject, self.rules, event, &hash)
                .expect("the twins agree on every state");
        }
        None
    }
}

/// What a run says when it is claimed.
///
/// # Panics
/// Never for a run, which has output.
pub fn subject_of(run: &Run) -> Subject {
    let prompt = run.prompt().len() as u32;
    Subject::new(Arc::clone(run.model()), prompt, run.output().to_vec(), run.trace_root())
        .expect("a run has output")
}
