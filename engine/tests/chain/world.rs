//! A devnet with the contracts, three parties, and the contracts' functions as one-liners.

use std::process::{Child, Command, Stdio};

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::providers::Provider;
use alloy::sol_types::{SolCall, SolValue};
use refute_bisection::merkle::{Tree, leaf_hashes};
use refute_bisection::position::{Block, Element, Index, Level, Step};
use refute_bisection::state::{Mode, Phase, State};
use refute_contracts::bindings::IDisputeGame as G;
use refute_contracts::bindings::IInferenceSettlement as S;
use refute_contracts::bindings::{IModelRegistry as R, Model, ModelParams, RequestParams};
use refute_contracts::devnet::{DEV_ADDRESSES, DEV_KEYS, Devnet, DevnetConfig};
use refute_engine::chain::{
    Call, Chain, ChainError, Deployment, Event, Follower, Receipt, SyncReport, parse_key,
};
use refute_engine::deploy::{Options, deploy};
use refute_engine::program::{Descriptor, Op};
use refute_engine::store::{Binding, Store};

pub(crate) const FEE_WEI: u64 = 1000;

/// Where anvil is. With it, the same tests run on anvil instead of the devnet.
const ANVIL_VARIABLE: &str = "REFUTE_ANVIL";

/// A chain of its own for every test.
pub(crate) enum Node {
    Devnet(Devnet),
    Anvil {
        process: Child,
        port: u16,
        /// What its memory has no room for: it is killed, and cleans up nothing.
        _states: tempfile::TempDir,
    },
}

impl Node {
    pub(crate) async fn start() -> Self {
        let Ok(anvil) = std::env::var(ANVIL_VARIABLE) else {
            return Self::Devnet(Devnet::start(DevnetConfig::default()).await.unwrap());
        };
        // A port that was free a moment ago; anvil itself can't be asked for any.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(anvil);
        let states = tempfile::tempdir().unwrap();
        command.args(["--silent", "--port", &port.to_string(), "--cache-path"]).arg(states.path());
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        let node = Self::Anvil { process, port, _states: states };
        for _ in 0..200 {
            if Chain::connect(&node.url(), None, None).await.is_ok() {
                return node;
            }
        }
        panic!("anvil does not answer");
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Devnet(devnet) => devnet.url(),
            Self::Anvil { port, .. } => format!("http://127.0.0.1:{port}"),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Self::Anvil { process, .. } = self {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

pub(crate) struct World {
    _node: Node,
    pub(crate) url: String,
    pub(crate) deployment: Deployment,
    pub(crate) provider: Chain,
    pub(crate) challenger: Chain,
    pub(crate) requester: Chain,
    pub(crate) model_id: B256,
    pub(crate) folder: tempfile::TempDir,
}

/// A connection with the devnet's account `index`.
pub(crate) async fn party(url: &str, index: usize, deployment: Option<Deployment>) -> Chain {
    let key = parse_key(&DEV_KEYS[index].to_string()).unwrap();
    Chain::connect(url, Some(key), deployment).await.unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(Node::start().await).await
    }

    /// The contracts on a new chain, at the same addresses as on any other.
    pub(crate) async fn on(node: Node) -> Self {
        let url = node.url();
        let deployer = party(&url, 0, None).await;
        let deployment = deploy(&deployer, &Options::default()).await.unwrap().deployment;
        let of = |index| party(&url, index, Some(deployment.clone()));
        let (provider, challenger, requester) = (of(1).await, of(2).await, of(3).await);
        let model = model();
        let model_id = keccak256(model.abi_encode_params());
        let call = R::registerCall { model, program: program().into() }.abi_encode();
        provider.transact(&Call::new(deployment.registry, call)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { _node: node, url, deployment, provider, challenger, requester, model_id, folder }
    }

    pub(crate) fn binding(&self, of: &Chain) -> Binding {
        Binding {
            chain_id: self.deployment.chain_id,
            settlement: self.deployment.settlement,
            key: of.address().unwrap(),
            claim_s: self.deployment.parameters.claim_s,
        }
    }

    /// The store of this name in the test's folder.
    pub(crate) fn store(&self, name: &str, of: &Chain) -> Store {
        Store::open(&self.folder.path().join(name), &self.binding(of)).unwrap()
    }

    /// What a follower knows that reads everything at once, now.
    pub(crate) async fn fresh(&self) -> Store {
        let store = Store::in_memory(&self.binding(&self.provider)).unwrap();
        let report = sync(&self.provider, &store).await.unwrap();
        assert!(report.caught_up);
        store
    }

    pub(crate) async fn rpc(
        &self,
        method: &'static str,
        params: impl serde::Serialize,
    ) -> serde_json::Value {
        let params = serde_json::to_value(params).unwrap();
        self.provider.provider().raw_request(method.into(), params).await.unwrap()
    }

    pub(crate) async fn snapshot(&self) -> serde_json::Value {
        self.rpc("evm_snapshot", ()).await
    }

    pub(crate) async fn revert(&self, snapshot: &serde_json::Value) {
        assert_eq!(self.rpc("evm_revert", (snapshot,)).await, serde_json::Value::Bool(true));
    }

    /// The next block is this many seconds after the newest one, and exists.
    pub(crate) async fn pass_time(&self, seconds: u64) {
        let head = self.provider.head().await.unwrap();
        self.rpc("evm_mine", (head.timestamp_s + seconds,)).await;
    }

    /// The event of a transaction that `pick` finds.
    async fn said<T>(&self, receipt: &Receipt, pick: impl Fn(Event) -> Option<T>) -> T {
        let events = self.provider.events(receipt.block, receipt.block).await.unwrap();
        events.into_iter().find_map(|logged| pick(logged.event)).unwrap()
    }

    pub(crate) async fn request(&self, nonce: u64) -> B256 {
        self.request_until(nonce, 1 << 35).await
    }

    pub(crate) async fn request_until(&self, nonce: u64, deadline_s: u64) -> B256 {
        let call = self.request_call_until(nonce, deadline_s);
        let receipt = self.requester.transact(&call).await.unwrap();
        let pick = |event| match event {
            Event::Requested(e) => Some(e.requestId),
            _ => None,
        };
        self.said(&receipt, pick).await
    }

    pub(crate) fn request_call(&self, nonce: u64) -> Call {
        self.request_call_until(nonce, 1 << 35)
    }

    fn request_call_until(&self, nonce: u64, deadline_s: u64) -> Call {
        let parameters = &self.deployment.parameters;
        let params = RequestParams {
            modelId: self.model_id,
            prompt: tokens(&[7, 8]),
            maxOutput: 1,
            seed: 0,
            temperature: 0,
            bond: parameters.bond_min_wei.to(),
            windowS: parameters.window_min_s,
            deadline: deadline_s,
            callback: Address::ZERO,
            callbackGas: 0,
            nonce: U256::from(nonce),
        };
        let call = S::requestCall { p: params };
        Call::new(self.deployment.settlement, call.abi_encode()).with_value(U256::from(FEE_WEI))
    }

    pub(crate) fn accept_call(&self, request_id: B256) -> Call {
        let payee = self.provider.address().unwrap();
        let call = S::acceptCall { requestId: request_id, payee };
        Call::new(self.deployment.settlement, call.abi_encode())
            .with_value(self.deployment.parameters.bond_min_wei)
    }

    pub(crate) async fn accept(&self, request_id: B256) -> Receipt {
        self.provider.transact(&self.accept_call(request_id)).await.unwrap()
    }

    pub(crate) fn settle(&self, call: impl SolCall) -> Call {
        Call::new(self.deployment.settlement, call.abi_encode())
    }

    pub(crate) async fn release(&self, request_id: B256) {
        let call = self.settle(S::releaseCall { requestId: request_id });
        self.requester.transact(&call).await.unwrap();
    }

    pub(crate) async fn cancel(&self, request_id: B256) {
        let call = self.settle(S::cancelCall { requestId: request_id });
        self.requester.transact(&call).await.unwrap();
    }

    pub(crate) fn claim_call(&self, request_id: B256) -> Call {
        self.settle(S::claimCall {
            requestId: request_id,
            output: tokens(&[9]),
            traceRoot: node(block_root(0), block_root(1)),
        })
    }

    pub(crate) async fn claim(&self, request_id: B256) -> B256 {
        let receipt = self.provider.transact(&self.claim_call(request_id)).await.unwrap();
        let pick = |event| match event {
            Event::Claimed(e) => Some(e.claimId),
            _ => None,
        };
        self.said(&receipt, pick).await
    }

    pub(crate) fn challenge_call(&self, claim_id: B256) -> Call {
        let payee = Address::repeat_byte(0xcc);
        self.settle(S::challengeCall { claimId: claim_id, payee })
            .with_value(self.deployment.parameters.challenger_bond_wei)
    }

    /// The dispute and its first state.
    pub(crate) async fn challenge(&self, claim_id: B256) -> (B256, State) {
        let receipt = self.challenger.transact(&self.challenge_call(claim_id)).await.unwrap();
        let pick = |event| match event {
            Event::DisputeOpened(e) => Some((e.dispute, opened(e.dispute))),
            _ => None,
        };
        self.said(&receipt, pick).await
    }

    pub(crate) fn reveal_call(&self, state: &State) -> Call {
        let children = vec![block_root(0), block_root(1)];
        let call = G::revealCall { state: state.encode().into(), children };
        Call::new(self.deployment.game, call.abi_encode())
    }

    /// The state after the defender's reveal.
    pub(crate) async fn reveal(&self, state: &State) -> State {
        self.provider.transact(&self.reveal_call(state)).await.unwrap();
        revealed(state)
    }

    pub(crate) fn choose_call(&self, state: &State, child: u32) -> Call {
        let path = vec![block_root(1 - child)];
        let state = state.encode().into();
        let call = G::chooseCall { state, child, hash: block_root(child), path };
        Call::new(self.deployment.game, call.abi_encode())
    }

    /// The challenger picks a block.
    pub(crate) async fn choose(&self, state: &State, child: u32) {
        self.challenger.transact(&self.choose_call(state, child)).await.unwrap();
    }

    pub(crate) fn timeout_call(&self, dispute: B256) -> Call {
        Call::new(self.deployment.game, G::timeoutCall { dispute }.abi_encode())
    }

    pub(crate) async fn timeout(&self, dispute: B256) {
        let parameters = &self.deployment.parameters;
        let wait_s = parameters.clock_s + parameters.min_response_s + 1;
        self.pass_time(wait_s.into()).await;
        self.requester.transact(&self.timeout_call(dispute)).await.unwrap();
    }

    pub(crate) fn settle_reward_call(&self, claim_id: B256) -> Call {
        self.settle(S::settleRewardCall { claimId: claim_id, limit: 10 })
    }

    pub(crate) async fn settle_reward(&self, claim_id: B256) {
        self.requester.transact(&self.settle_reward_call(claim_id)).await.unwrap();
    }

    pub(crate) fn finalize_call(&self, claim_id: B256) -> Call {
        self.settle(S::finalizeCall { claimId: claim_id })
    }

    pub(crate) async fn finalize(&self, claim_id: B256) {
        self.pass_time(self.deployment.parameters.window_min_s.into()).await;
        self.requester.transact(&self.finalize_call(claim_id)).await.unwrap();
    }

    /// A request, a claim, a dispute, a reveal, a choice, and the defender's silence.
    pub(crate) async fn convict(&self, nonce: u64) -> (B256, B256, B256) {
        let request_id = self.request(nonce).await;
        self.accept(request_id).await;
        let claim_id = self.claim(request_id).await;
        let (dispute, state) = self.challenge(claim_id).await;
        let state = self.reveal(&state).await;
        self.choose(&state, 1).await;
        self.timeout(dispute).await;
        (request_id, claim_id, dispute)
    }
}

pub(crate) async fn sync(chain: &Chain, store: &Store) -> Result<SyncReport, ChainError> {
    Follower::default().sync(chain, store).await
}

/// Everything that a store knows of the chain, to compare with another one.
pub(crate) fn contents(store: &Store) -> String {
    let claims = store.all_claims().unwrap();
    let requests = store.requests_of(DEV_ADDRESSES[3]).unwrap();
    let disputes = store.all_disputes().unwrap();
    let events: Vec<_> = requests
        .iter()
        .map(|request| store.request_events(request.request_id).unwrap())
        .chain(disputes.iter().map(|d| store.dispute_events(d.dispute).unwrap()))
        .collect();
    format!("{claims:#?}\n{requests:#?}\n{disputes:#?}\n{events:#?}")
}

pub(crate) fn tokens(ids: &[u32]) -> Bytes {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>().into()
}

pub(crate) fn revealed(state: &State) -> State {
    State { phase: Phase::BlocksChoose, move_number: state.move_number + 1, ..*state }
}

/// The first state of a dispute on a claim of two blocks.
pub(crate) fn opened(dispute: B256) -> State {
    State {
        dispute: dispute.0,
        move_number: 0,
        phase: Phase::BlocksReveal,
        node: node(block_root(0), block_root(1)).0,
        level: Level(1),
        index: Index(0),
        block: Block(0),
        step_root: [0; 32],
        step: Step(0),
        d0: [0; 32],
        d1: [0; 32],
        element: Element(0),
        claimed: [0; 32],
        lo: 0,
        hi: 0,
        acc_lo: [0; 32],
        acc_hi: [0; 32],
        pinned: false,
        reveal: [0; 32],
        mode: Mode::Whole,
    }
}

/// The two blocks of a trace whose values nobody asks for.
pub(crate) fn block_root(index: u32) -> B256 {
    B256::repeat_byte(0xb0 + index as u8)
}

fn node(left: B256, right: B256) -> B256 {
    keccak256([&[1], left.as_slice(), right.as_slice()].concat())
}

/// Descriptors of a model that nobody has: no dispute here goes down to a step.
fn program() -> Vec<u8> {
    let step = |op, inputs: &[u16]| {
        let mut d = Descriptor { n: 32, ..Descriptor::new(op) };
        d.inputs[..inputs.len()].copy_from_slice(inputs);
        d
    };
    let quantize = |x, slot| Descriptor { groups: 1, c0: 15, slot, ..step(Op::Quantize, &[x]) };
    let linear = |x, n, w| Descriptor { n, format: 1, k: 32, w, ..step(Op::Linear, &[x]) };
    let steps = [
        Descriptor { format: 1, k: 32, groups: 100, w: 0, ..step(Op::Embed, &[]) },
        Descriptor { w: 100, c0: 1, ..step(Op::RmsNorm, &[0]) },
        quantize(1, 0),
        linear(2, 32, 101),
        quantize(3, 1),
        linear(2, 32, 133),
        quantize(5, 2),
        step(Op::SwiGlu, &[3, 5]),
        Descriptor { n: 2, ..step(Op::Collect, &[]) },
        quantize(7, 0),
        linear(9, 100, 165),
        Descriptor { n: 1, k: 100, ..step(Op::Sample, &[10]) },
    ];
    steps.iter().flat_map(Descriptor::leaf).collect()
}

/// A model of made-up numbers around that program.
fn model() -> Model {
    let leaves = program();
    let leaves = leaves.as_chunks::<64>().0.iter().map(AsRef::as_ref);
    let program_root = Tree::new(leaf_hashes(leaves)).unwrap().root();
    Model {
        numericsVersion: 1,
        programRoot: program_root.into(),
        weightsRoot: B256::repeat_byte(2),
        tokenizerHash: B256::repeat_byte(3),
        params: ModelParams {
            carried: 2,
            context: 64,
            vocabulary: 100,
            promptSteps: 9,
            outputSteps: 12,
            collectStep: 8,
            sampleStep: 11,
            weightLeaves: 265,
            minBond: 0,
            minWindowS: 0,
            stopIds: vec![2],
        },
    }
}
