//! A devnet with the contracts, three parties, and the contracts' functions as one-liners.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::providers::Provider;
use alloy::sol_types::{SolCall, SolValue};
use refute_contracts::bindings::IDisputeGame as G;
use refute_contracts::bindings::IInferenceSettlement as S;
use refute_contracts::bindings::{IModelRegistry as R, Model, ModelParams, State};
use refute_contracts::devnet::{DEV_KEYS, Devnet, DevnetConfig};
use refute_engine::chain::{
    Call, Chain, ChainError, DeployParams, Deployment, Event, Follower, Receipt, SyncReport,
    parse_key,
};
use refute_engine::deploy::deploy;
use refute_engine::store::{Binding, Store};

pub(crate) const FEE_WEI: u64 = 1000;

pub(crate) struct World {
    _devnet: Devnet,
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
        Self::on(Devnet::start(DevnetConfig::default()).await.unwrap()).await
    }

    /// The contracts on a new chain, at the same addresses as on any other.
    pub(crate) async fn on(devnet: Devnet) -> Self {
        let url = devnet.url();
        let deployer = party(&url, 0, None).await;
        let deployment = deploy(&deployer, &DeployParams::default()).await.unwrap();
        let of = |index| party(&url, index, Some(deployment.clone()));
        let (provider, challenger, requester) = (of(1).await, of(2).await, of(3).await);
        let model = model();
        let model_id = keccak256(model.abi_encode_params());
        let call = R::registerCall { model }.abi_encode();
        provider.transact(&Call::new(deployment.registry, call)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { _devnet: devnet, url, deployment, provider, challenger, requester, model_id, folder }
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

    async fn on_settlement(&self, who: &Chain, call: impl SolCall, wei: U256) -> Receipt {
        let call = Call::new(self.deployment.settlement, call.abi_encode()).with_value(wei);
        who.transact(&call).await.unwrap()
    }

    pub(crate) async fn on_game(&self, who: &Chain, call: impl SolCall) -> Receipt {
        who.transact(&Call::new(self.deployment.game, call.abi_encode())).await.unwrap()
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
        let call = S::requestCall {
            modelId: self.model_id,
            prompt: tokens(&[7, 8]),
            maxOutput: 1,
            deadline: deadline_s,
            nonce: U256::from(nonce),
        };
        Call::new(self.deployment.settlement, call.abi_encode()).with_value(U256::from(FEE_WEI))
    }

    pub(crate) fn accept_call(&self, request_id: B256) -> Call {
        let payee = self.provider.address().unwrap();
        let call = S::acceptCall { requestId: request_id, payee };
        Call::new(self.deployment.settlement, call.abi_encode())
            .with_value(self.deployment.parameters.provider_bond_wei)
    }

    pub(crate) async fn accept(&self, request_id: B256) -> Receipt {
        self.provider.transact(&self.accept_call(request_id)).await.unwrap()
    }

    pub(crate) async fn release(&self, request_id: B256) {
        let call = S::releaseCall { requestId: request_id };
        self.on_settlement(&self.requester, call, U256::ZERO).await;
    }

    pub(crate) async fn cancel(&self, request_id: B256) {
        let call = S::cancelCall { requestId: request_id };
        self.on_settlement(&self.requester, call, U256::ZERO).await;
    }

    pub(crate) async fn claim(&self, request_id: B256) -> B256 {
        let call = S::claimCall {
            requestId: request_id,
            output: tokens(&[9]),
            traceRoot: node(block_root(0), block_root(1)),
        };
        let receipt = self.on_settlement(&self.provider, call, U256::ZERO).await;
        let pick = |event| match event {
            Event::Claimed(e) => Some(e.claimId),
            _ => None,
        };
        self.said(&receipt, pick).await
    }

    /// The dispute and its first state.
    pub(crate) async fn challenge(&self, claim_id: B256) -> (B256, State) {
        let call = S::challengeCall { claimId: claim_id, payee: Address::repeat_byte(0xcc) };
        let bond = self.deployment.parameters.challenger_bond_wei;
        let receipt = self.on_settlement(&self.challenger, call, bond).await;
        let pick = |event| match event {
            Event::DisputeOpened(e) => Some((e.dispute, e.initial)),
            _ => None,
        };
        self.said(&receipt, pick).await
    }

    pub(crate) fn reveal_call(&self, state: &State) -> Call {
        let children = vec![block_root(0), block_root(1)];
        let call = G::revealCall { s: state.clone(), children };
        Call::new(self.deployment.game, call.abi_encode())
    }

    /// The state after the defender's reveal.
    pub(crate) async fn reveal(&self, state: &State) -> State {
        self.provider.transact(&self.reveal_call(state)).await.unwrap();
        revealed(state)
    }

    /// The challenger picks a block.
    pub(crate) async fn choose(&self, state: &State, child: u32) {
        let sibling = block_root(1 - child);
        let (s, hash) = (state.clone(), block_root(child));
        self.on_game(&self.challenger, G::chooseCall { s, child, hash, path: vec![sibling] }).await;
    }

    pub(crate) async fn timeout(&self, dispute: B256) {
        let parameters = &self.deployment.parameters;
        let wait_s = parameters.clock_s + parameters.min_response_s + 1;
        self.pass_time(wait_s.into()).await;
        self.on_game(&self.requester, G::timeoutCall { dispute }).await;
    }

    pub(crate) async fn settle_reward(&self, claim_id: B256) {
        let call = S::settleRewardCall { claimId: claim_id, limit: 10 };
        self.on_settlement(&self.requester, call, U256::ZERO).await;
    }

    pub(crate) async fn finalize(&self, claim_id: B256) {
        self.pass_time(self.deployment.parameters.window_s.into()).await;
        let call = S::finalizeCall { claimId: claim_id };
        self.on_settlement(&self.requester, call, U256::ZERO).await;
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
    let requests: Vec<_> =
        claims.iter().map(|claim| store.request(claim.request_id).unwrap()).collect();
    let disputes = store.all_disputes().unwrap();
    let events: Vec<_> = claims
        .iter()
        .map(|claim| store.request_events(claim.request_id).unwrap())
        .chain(disputes.iter().map(|d| store.dispute_events(d.dispute).unwrap()))
        .collect();
    let open = store.open_requests(&[store_model()], 0).unwrap();
    format!("{claims:#?}\n{requests:#?}\n{disputes:#?}\n{events:#?}\n{open:#?}")
}

fn store_model() -> B256 {
    keccak256(model().abi_encode_params())
}

pub(crate) fn tokens(ids: &[u32]) -> Bytes {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>().into()
}

pub(crate) fn revealed(state: &State) -> State {
    State { phase: state.phase + 1, r#move: state.r#move + 1, ..state.clone() }
}

/// The two blocks of a trace whose values nobody asks for.
pub(crate) fn block_root(index: u32) -> B256 {
    B256::repeat_byte(0xb0 + index as u8)
}

fn node(left: B256, right: B256) -> B256 {
    keccak256([&[1], left.as_slice(), right.as_slice()].concat())
}

/// A model of made-up numbers: no dispute here goes down to a step.
fn model() -> Model {
    Model {
        numericsVersion: 1,
        programRoot: B256::repeat_byte(1),
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
            weightLeaves: 5,
            stopIds: vec![2],
        },
    }
}
