//! A chain with the contracts, the tiny model, and questions about them.

use alloy::primitives::{Address, B256, U256, address};
use alloy::providers::Provider;
use alloy::sol_types::SolCall;
use refute_contracts::bindings::IDisputeGame::DisputeView;
use refute_contracts::bindings::IInferenceSettlement::{ClaimView, RequestView};
use refute_contracts::bindings::{ClaimStatus, RequestStatus};
use refute_engine::agent::connect;
use refute_engine::chain::{Call, Chain, DeployParams, Deployment, parse_key};
use refute_tests::processes::{ChainKind, Net};
use refute_tests::tiny::Shape;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longest wait for anything: only something broken takes as long.
const WAIT_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Challenge window of every deployment here, seconds. Time moves by `travel`, so it can be long.
pub(crate) const WINDOW_S: u64 = 3600;
/// Clock and free response time of a party, seconds.
pub(crate) const CLOCK_S: u64 = 600;
pub(crate) const MIN_RESPONSE_S: u64 = 60;
/// What a request here pays, wei.
pub(crate) const FEE_WEI: u64 = 1_234_567;

/// Tokens of the prompt: the tiny model's are bytes.
pub(crate) const PROMPT: &str = "Hi there";
pub(crate) const MAX_TOKENS: u32 = 6;

/// The account of what is burned.
const BURN: Address = address!("000000000000000000000000000000000000dEaD");

/// Who has which of the funded keys; the first one deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Watcher = 1,
    Cheat = 2,
    Requester = 3,
    Honest = 4,
    Liar = 5,
}

impl Role {
    pub(crate) const ALL: [Self; 5] =
        [Self::Watcher, Self::Cheat, Self::Requester, Self::Honest, Self::Liar];
}

/// Everything that a test looks at. The folder goes last: the others write into it.
pub(crate) struct World {
    pub(crate) net: Net,
    /// The chain's own address; the processes' may be that of a proxy.
    pub(crate) rpc: String,
    pub(crate) chain: Chain,
    pub(crate) runtime: Runtime,
    /// The model's file.
    pub(crate) model: String,
    folder: TempDir,
}

/// A devnet that makes a block for each transaction.
pub(crate) fn devnet() -> ChainKind {
    ChainKind::Devnet(Vec::new())
}

impl World {
    /// Starts a chain of this kind, with the tiny model.
    pub(crate) fn new(kind: &ChainKind) -> Self {
        Self::with_window(kind, WINDOW_S)
    }

    pub(crate) fn with_window(kind: &ChainKind, window_s: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let model = folder.path().join("tiny.gguf");
        std::fs::write(&model, Shape::default().gguf()).expect("a file");
        Self::with_model(kind, window_s, &model, folder)
    }

    pub(crate) fn with_model(
        kind: &ChainKind,
        window_s: u64,
        model: &Path,
        folder: TempDir,
    ) -> Self {
        let seconds = [window_s, CLOCK_S, MIN_RESPONSE_S].map(|s| s.to_string());
        let deploy =
            ["--window-min", &seconds[0], "--clock", &seconds[1], "--min-response", &seconds[2]];
        let net = Net::start(folder.path(), kind, &deploy).expect("a chain with contracts");
        let runtime = Runtime::new().expect("a runtime");
        let rpc = net.rpc.clone();
        let deployment = deployment_file(folder.path());
        let chain = runtime.block_on(connect(&rpc, None, Some(&deployment))).expect("connected");
        let model = model.display().to_string();
        Self { net, rpc, chain, runtime, model, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn deployment(&self) -> PathBuf {
        deployment_file(self.folder())
    }

    pub(crate) fn database(&self, name: &str) -> String {
        self.folder().join(format!("{name}.db")).display().to_string()
    }

    pub(crate) fn key(&self, role: Role) -> &str {
        &self.net.keys[role as usize]
    }

    pub(crate) fn address(&self, role: Role) -> Address {
        parse_key(self.key(role)).expect("a key").address()
    }

    pub(crate) fn parameters(&self) -> &DeployParams {
        &self.deployed().parameters
    }

    /// What is burned of the bond of a request of `ask` when its claim is rejected.
    pub(crate) fn conviction_burn(&self) -> U256 {
        self.parameters().burned(self.parameters().bond_min_wei)
    }

    pub(crate) fn deployed(&self) -> &Deployment {
        self.chain.deployment().expect("it was connected with one")
    }

    // ------------------------------------------------------------------ commands

    /// `refute request`; gives the request's id.
    pub(crate) fn ask(&self) -> B256 {
        self.ask_for(PROMPT, MAX_TOKENS)
    }

    pub(crate) fn ask_for(&self, prompt: &str, tokens: u32) -> B256 {
        let report = self.try_asking(prompt, tokens, &[]).expect("a request");
        read(&report["request_id"])
    }

    /// `refute request` with more arguments; gives the request's id.
    pub(crate) fn ask_with(&self, args: &[&str]) -> B256 {
        let report = self.try_asking(PROMPT, MAX_TOKENS, args).expect("a request");
        read(&report["request_id"])
    }

    pub(crate) fn try_asking(
        &self,
        prompt: &str,
        tokens: u32,
        more: &[&str],
    ) -> anyhow::Result<Value> {
        let (fee, tokens) = (FEE_WEI.to_string(), tokens.to_string());
        let args = ["request", "--rpc", &self.rpc, "--key", self.key(Role::Requester)];
        let prompt = ["--model", &self.model, "--prompt", prompt, "--max-tokens", &tokens];
        self.net.refute(&[&args[..], &prompt, &["--fee", &fee], more].concat())
    }

    /// `refute output`: fails unless the request is final.
    pub(crate) fn output(&self, request: B256) -> anyhow::Result<Value> {
        let id = request.to_string();
        self.net.refute(&["output", &id, "--rpc", &self.rpc, "--model", &self.model])
    }

    /// `refute run`: what an honest answer is.
    pub(crate) fn honest_answer(&self, prompt: &str, tokens: u32) -> Value {
        let tokens = tokens.to_string();
        let args = ["run", "--model", &self.model, "--prompt", prompt, "--max-tokens", &tokens];
        self.net.refute(&args).expect("a run")
    }

    /// `refute-watcher status`; nothing as long as it has no database.
    pub(crate) fn status(&self, name: &str) -> Value {
        self.net.watcher(&["status", "--db", &self.database(name)]).unwrap_or_default()
    }

    /// `refute-watcher disputes`.
    pub(crate) fn disputes(&self, name: &str) -> Value {
        self.net.watcher(&["disputes", "--db", &self.database(name)]).unwrap_or_default()
    }

    /// `refute-watcher show`.
    pub(crate) fn show(&self, name: &str, dispute: B256) -> Value {
        let (dispute, db) = (dispute.to_string(), self.database(name));
        self.net.watcher(&["show", &dispute, "--db", &db]).expect("a dispute")
    }

    /// `refute-watcher step`: block, step and element that a dispute came down to.
    pub(crate) fn place(&self, name: &str, dispute: B256) -> (u64, String, u64) {
        let (dispute, db) = (dispute.to_string(), self.database(name));
        let args = ["step", &dispute, "--db", &db, "--model", &self.model];
        let found = self.net.watcher(&args).expect("a finding");
        assert_ne!(found["claimed"], found["computed"], "{found}");
        let number = |field: &str| found[field].as_u64().expect("a number");
        (number("block"), read(&found["name"]), number("element"))
    }

    // ------------------------------------------------------------------ views

    pub(crate) fn request(&self, id: B256) -> RequestView {
        let settlement = self.chain.settlement().expect("deployed");
        self.runtime.block_on(settlement.requestOf(id).call().into_future()).expect("a view")
    }

    pub(crate) fn claim(&self, id: B256) -> ClaimView {
        let settlement = self.chain.settlement().expect("deployed");
        self.runtime.block_on(settlement.claimOf(id).call().into_future()).expect("a view")
    }

    pub(crate) fn dispute(&self, id: B256) -> DisputeView {
        let game = self.chain.game().expect("deployed");
        self.runtime.block_on(game.disputeOf(id).call().into_future()).expect("a view")
    }

    pub(crate) fn dispute_at(&self, claim: B256, index: u32) -> B256 {
        let settlement = self.chain.settlement().expect("deployed");
        let call = settlement.disputeAt(claim, index);
        self.runtime.block_on(call.call().into_future()).expect("a view")
    }

    /// Wei that the settlement owes.
    pub(crate) fn owed(&self, role: Role) -> U256 {
        self.runtime.block_on(self.chain.withdrawable(self.address(role))).expect("a view")
    }

    pub(crate) fn balance(&self, account: Address) -> U256 {
        self.runtime.block_on(self.chain.balance(account)).expect("a balance")
    }

    pub(crate) fn burned(&self) -> U256 {
        self.runtime.block_on(self.chain.withdrawable(BURN)).expect("a view")
    }

    /// Wei in the settlement.
    pub(crate) fn held(&self) -> U256 {
        self.balance(self.deployed().settlement)
    }

    /// Transactions of a key: mined ones, or those that wait in the node too.
    pub(crate) fn nonce(&self, role: Role, tag: &str) -> u64 {
        let nonce = self.raw("eth_getTransactionCount", json!([self.address(role), tag]));
        read::<U256>(&nonce).to::<u64>()
    }

    pub(crate) fn has_waiting(&self, role: Role) -> bool {
        self.nonce(role, "pending") > self.nonce(role, "latest")
    }

    // ------------------------------------------------------------------ time

    pub(crate) fn raw(&self, method: &'static str, params: Value) -> Value {
        let call = self.chain.provider().raw_request(method.into(), params);
        self.runtime.block_on(call).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls the settlement with a key.
    pub(crate) fn send<C: SolCall>(&self, role: Role, call: C) {
        let key = parse_key(self.key(role)).expect("a key");
        self.runtime.block_on(async {
            let chain = connect(&self.rpc, Some(key), Some(&self.deployment())).await;
            let call = Call::new(self.deployed().settlement, call.abi_encode());
            chain.expect("connected").transact(&call).await.expect("a transaction");
        });
    }

    /// Makes a block that is so much later than the newest one: blocks that come fast may be ahead of the clock.
    pub(crate) fn travel(&self, seconds: u64) {
        let head = self.runtime.block_on(self.chain.head()).expect("a block");
        self.raw("evm_setNextBlockTimestamp", json!([head.timestamp_s + seconds]));
        self.mine();
    }

    pub(crate) fn mine(&self) {
        self.raw("evm_mine", json!([]));
    }

    /// From now on only `mine` makes blocks; or, again, every transaction has its own.
    pub(crate) fn set_automine(&self, on: bool) {
        self.raw("evm_setAutomine", json!([on]));
    }

    // ------------------------------------------------------------------ waiting

    /// Waits until the request has a claim, and gives the claim's id.
    pub(crate) fn claimed(&self, request: B256) -> B256 {
        eventually("a claim", || {
            let view = self.request(request);
            (view.status == RequestStatus::Claimed).then_some(view.claimId)
        })
    }

    /// Waits until the claim is rejected.
    pub(crate) fn rejected(&self, claim: B256) {
        until("the claim is rejected", || self.claim(claim).status == ClaimStatus::Rejected);
    }

    /// Waits until the request is final.
    pub(crate) fn is_final(&self, request: B256) {
        until("the request is final", || self.request(request).status == RequestStatus::Final);
    }

    /// Waits until a watcher has found so many claims honest.
    pub(crate) fn found_honest(&self, name: &str, count: u64) {
        until("the watcher finds the claim honest", || self.status(name)["honest"] == count);
    }

    /// Waits until a claim has a dispute, and gives its id.
    pub(crate) fn challenged(&self, claim: B256) -> B256 {
        eventually("a challenge", || Some(self.dispute_at(claim, 0)).filter(|id| !id.is_zero()))
    }
}

fn deployment_file(folder: &Path) -> PathBuf {
    folder.join("home/deployments/31337.json")
}

/// A JSON value as what it should be.
pub(crate) fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"))
}

/// Looks again and again until there is something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < WAIT_MAX, "not within {WAIT_MAX:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks again and again until it is so.
pub(crate) fn until(what: &str, mut look: impl FnMut() -> bool) {
    eventually(what, || look().then_some(()));
}
