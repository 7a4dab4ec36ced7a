use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy};
use alloy::eips::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, Bytes, TxKind, U256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::sol_types::SolCall;
use refute_contracts::create2;
use serde_json::{Map, Value, json};

use super::support::{IProbe, NOBODY, probe_code, rpc, signer, start};

/// An account that gets code, and loses it.
const SOMEBODY: Address = Address::repeat_byte(0x5b);

/// anvil as a process, which ends with the test.
struct Anvil {
    process: Child,
    provider: DynProvider,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where anvil is: `REFUTE_ANVIL`, or where `scripts/contracts.sh` installs it.
fn binary() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/node_modules");
    let package = format!("@foundry-rs/anvil-{}-{}/bin/anvil", os(), arch());
    let candidates = [
        std::env::var_os("REFUTE_ANVIL").map(PathBuf::from),
        // The program itself: the script beside it would leave it running when it is killed.
        Some(installed.join(package)),
        Some(installed.join(".bin/anvil")),
    ];
    candidates.into_iter().flatten().find(|path| path.exists())
}

fn os() -> &'static str {
    if cfg!(target_os = "macos") { "darwin" } else { "linux" }
}

fn arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

async fn spawn(program: &Path) -> Anvil {
    // A port that was free a moment ago; anvil itself can't be asked for any.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = listener.local_addr().expect("it has an address").port();
    drop(listener);
    let process = Command::new(program)
        .args(["--port", &port.to_string(), "--silent"])
        .stdout(Stdio::null())
        .spawn()
        .expect("anvil starts");
    let url = format!("http://127.0.0.1:{port}").parse().expect("the URL parses");
    let anvil = Anvil { process, provider: ProviderBuilder::new().connect_http(url).erased() };
    for _ in 0..300 {
        if anvil.provider.get_chain_id().await.is_ok() {
            return anvil;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("anvil does not answer");
}

/// One line of the script.
struct Line {
    method: &'static str,
    params: Value,
}

fn line(method: &'static str, params: Value) -> Line {
    Line { method, params }
}

fn dynamic(nonce: u64, to: TxKind, input: Bytes, gas_limit: u64, value: u64) -> Line {
    let mut tx = TxEip1559 {
        chain_id: 31337,
        nonce,
        gas_limit,
        max_fee_per_gas: 3_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to,
        value: U256::from(value),
        input,
        ..Default::default()
    };
    let signature = signer(0).sign_transaction_sync(&mut tx).expect("it signs");
    raw(TxEnvelope::from(tx.into_signed(signature)))
}

fn legacy(nonce: u64, gas_price: u128, value: U256, gas_limit: u64) -> Line {
    let mut tx = TxLegacy {
        chain_id: Some(31337),
        nonce,
        gas_price,
        gas_limit,
        to: TxKind::Call(NOBODY),
        value,
        input: Bytes::new(),
    };
    let signature = signer(0).sign_transaction_sync(&mut tx).expect("it signs");
    raw(TxEnvelope::from(tx.into_signed(signature)))
}

fn raw(tx: TxEnvelope) -> Line {
    line("eth_sendRawTransaction", json!([Bytes::from(tx.encoded_2718())]))
}

/// The transaction's hash, which both nodes must give it.
fn hash_of(line: &Line) -> Value {
    let raw: Bytes = serde_json::from_value(line.params[0].clone()).expect("a raw transaction");
    json!(alloy::primitives::keccak256(raw))
}

fn calls(probe: Address) -> Vec<Line> {
    let me = signer(0).address();
    let call = |data: Vec<u8>| json!({ "from": me, "to": probe, "data": Bytes::from(data) });
    let failing = [
        IProbe::refuseCall { code: U256::from(77) }.abi_encode(),
        IProbe::sayCall { text: "too late".into() }.abi_encode(),
        IProbe::divideCall { by: U256::ZERO }.abi_encode(),
        IProbe::burnCall {}.abi_encode(),
        vec![1, 2, 3, 4],
    ];
    let working = [
        IProbe::valueCall {}.abi_encode(),
        IProbe::setCall { v: U256::from(3) }.abi_encode(),
        IProbe::nestCall { depth: U256::from(12) }.abi_encode(),
        IProbe::makeCall {}.abi_encode(),
    ];
    let mut script = Vec::new();
    for data in failing.into_iter().chain(working) {
        script.push(line("eth_call", json!([call(data.clone()), "latest"])));
        script.push(line("eth_estimateGas", json!([call(data)])));
    }
    script.extend([
        line("eth_call", json!([call(IProbe::valueCall {}.abi_encode()), "0x0"])),
        line("eth_call", json!([call(IProbe::valueCall {}.abi_encode()), "0x1"])),
        line("eth_call", json!([call(vec![]), "0x999"])),
        line("eth_call", json!([{ "from": NOBODY, "to": me, "value": "0x1" }, "latest"])),
        line("eth_estimateGas", json!([{ "from": me, "to": NOBODY, "value": "0x1" }])),
        line("eth_estimateGas", json!([{ "from": me, "data": probe_code(4) }])),
        line("eth_estimateGas", json!([{ "to": NOBODY, "gas": "0x5208", "data": "0x01" }])),
    ]);
    script
}

fn reads(probe: Address, txs: &[Value]) -> Vec<Line> {
    let me = signer(0).address();
    let mut script = vec![
        line("eth_chainId", json!([])),
        line("net_version", json!([])),
        line("eth_syncing", json!([])),
        line("eth_accounts", json!([])),
        line("eth_blockNumber", json!([])),
        line("eth_gasPrice", json!([])),
        line("eth_maxPriorityFeePerGas", json!([])),
        line("eth_feeHistory", json!(["0x4", "latest", [10.0, 90.0]])),
        line("eth_getCode", json!([probe, "latest"])),
        line("eth_getCode", json!([NOBODY, "latest"])),
        line("eth_getStorageAt", json!([probe, "0x0", "latest"])),
        line("eth_getStorageAt", json!([probe, "0x0", "0x1"])),
        line("eth_getBalance", json!([NOBODY, "latest"])),
        line("eth_getBalance", json!([me, "latest"])),
        line("eth_getBalance", json!([me, "0x999"])),
        line("eth_getTransactionCount", json!([me, "latest"])),
        line("eth_getTransactionCount", json!([me, "pending"])),
        line("eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": "latest" }])),
        line("eth_getLogs", json!([{ "fromBlock": "0x0", "address": NOBODY }])),
        line("eth_getLogs", json!([{ "fromBlock": "0x3", "toBlock": "0x1" }])),
        line("eth_getLogs", json!([{ "fromBlock": "0x999" }])),
        line("eth_getLogs", json!([{ "blockHash": format!("0x{}", "11".repeat(32)) }])),
        line("eth_getTransactionReceipt", json!([format!("0x{}", "11".repeat(32))])),
        line("eth_getBlockByHash", json!([format!("0x{}", "11".repeat(32)), false])),
        line("eth_getBlockByNumber", json!(["0x999", false])),
        line("eth_getFilterChanges", json!(["0x999"])),
        line("eth_uninstallFilter", json!(["0x999"])),
        line("eth_nothing", json!([])),
        line("eth_getBalance", json!([])),
        line("eth_getBalance", json!(["zz", "latest"])),
    ];
    for tag in ["latest", "earliest", "safe", "finalized", "pending", "0x1", "0x2"] {
        script.push(line("eth_getBlockByNumber", json!([tag, false])));
        script.push(line("eth_getBlockByNumber", json!([tag, true])));
    }
    script.push(line("eth_getBlockReceipts", json!(["0x2"])));
    for tx in txs {
        script.push(line("eth_getTransactionByHash", json!([tx])));
        script.push(line("eth_getTransactionReceipt", json!([tx])));
    }
    script
}

fn control(probe: Address, nonce: u64) -> Vec<Line> {
    let far = 4_000_000_000_u64;
    let value =
        json!([{ "to": probe, "data": Bytes::from(IProbe::valueCall {}.abi_encode()) }, "latest"]);
    let pending =
        json!([{ "to": probe, "data": Bytes::from(IProbe::valueCall {}.abi_encode()) }, "pending"]);
    let set = Bytes::from(IProbe::setCall { v: U256::from(1234) }.abi_encode());
    vec![
        line("evm_increaseTime", json!([100])),
        line("evm_increaseTime", json!(["0x10"])),
        line("evm_mine", json!([])),
        line("evm_setNextBlockTimestamp", json!([far])),
        line("anvil_mine", json!(["0x3", "0xa"])),
        line("evm_setNextBlockTimestamp", json!([5])),
        line("eth_blockNumber", json!([])),
        line("evm_mine", json!([{ "timestamp": far + 1_000 }])),
        line("eth_getBlockByNumber", json!(["latest", false])),
        line("hardhat_mine", json!(["0x2"])),
        line("anvil_setBalance", json!([NOBODY, "0x10"])),
        line("eth_getBalance", json!([NOBODY, "latest"])),
        line("eth_getCode", json!([create2::PROXY, "latest"])),
        line("eth_getCode", json!([create2::PROXY, "0x0"])),
        line("anvil_setCode", json!([SOMEBODY, "0x602a5f5260205ff3"])),
        line("eth_getCode", json!([SOMEBODY, "latest"])),
        line("eth_call", json!([{ "to": SOMEBODY }, "latest"])),
        line("hardhat_setCode", json!([SOMEBODY, "0x"])),
        line("eth_getCode", json!([SOMEBODY, "latest"])),
        line("evm_snapshot", json!([])),
        dynamic(nonce, TxKind::Call(probe), set.clone(), 200_000, 0),
        line("eth_call", value.clone()),
        line("evm_revert", json!(["0x0"])),
        line("evm_revert", json!(["0x0"])),
        line("eth_call", value.clone()),
        line("eth_blockNumber", json!([])),
        line("evm_setAutomine", json!([false])),
        line("anvil_getAutomine", json!([])),
        dynamic(nonce, TxKind::Call(probe), set, 200_000, 0),
        line("eth_call", value.clone()),
        line("eth_call", pending),
        line("eth_getTransactionCount", json!([signer(0).address(), "pending"])),
        line("eth_getTransactionCount", json!([signer(0).address(), "latest"])),
        line("evm_mine", json!([])),
        line("eth_call", value),
        line("evm_setAutomine", json!([true])),
    ]
}

fn refusals(nonce: u64) -> Vec<Line> {
    let gwei = 2_000_000_000;
    let ether = U256::from(10).pow(U256::from(18));
    vec![
        legacy(0, gwei, U256::ONE, 21_000),
        legacy(nonce, gwei, ether * U256::from(20_000), 21_000),
        legacy(nonce, gwei, U256::ONE, 20_000),
        legacy(nonce, 1, U256::ONE, 21_000),
        line("eth_sendRawTransaction", json!(["0x1234"])),
        line("eth_sendRawTransaction", json!(["0x"])),
        line("eth_sendRawTransaction", json!(["xyz"])),
        // A gap: it waits, and can't be sent twice or be replaced for nothing.
        legacy(nonce + 1, gwei, U256::ONE, 21_000),
        legacy(nonce + 1, gwei, U256::ONE, 21_000),
        legacy(nonce + 1, gwei, U256::from(2), 21_000),
        line("eth_blockNumber", json!([])),
        legacy(nonce, gwei, U256::ONE, 21_000),
        line("eth_getTransactionCount", json!([signer(0).address(), "latest"])),
    ]
}

/// What legitimately differs: hashes over timestamps, the timestamps, random values, sizes of headers.
const OPEN_FIELDS: [&str; 9] = [
    "blockHash",
    "blockTimestamp",
    "hash",
    "mixHash",
    "parentHash",
    "size",
    "stateRoot",
    "timestamp",
    "blobGasPrice",
];

/// Replaces what may differ by its kind, and drops what only one of the nodes says.
fn comparable(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            // A transaction's own hash is the same everywhere.
            let is_tx = fields.contains_key("nonce") && fields.contains_key("input");
            let only_here = ["blobGasPrice", "blockTimestamp"];
            let fields = fields.into_iter().filter(|(name, _)| !only_here.contains(&name.as_str()));
            let open = |name: &str| OPEN_FIELDS.contains(&name) && !(is_tx && name == "hash");
            let fields = fields.map(|(name, value)| match open(&name) && !value.is_null() {
                true => (name, json!("any")),
                false => (name, comparable(value)),
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(values) => values.into_iter().map(comparable).collect(),
        other => other,
    }
}

/// A result, or an error's code and data; its words are each node's own.
async fn answer(provider: &DynProvider, line: &Line) -> Value {
    match rpc(provider, line.method, line.params.clone()).await {
        // The offset from a wall clock that runs on while the script does.
        Ok(Value::Number(_)) if line.method == "evm_increaseTime" => json!("a number"),
        Ok(result) => comparable(result),
        Err(error) => {
            let payload = error.as_error_resp().unwrap_or_else(|| panic!("{error}"));
            json!({ "code": payload.code, "data": payload.data })
        }
    }
}

fn script() -> Vec<Line> {
    let probe = signer(0).address().create(0);
    let to = TxKind::Call(probe);
    let encode = |v: u64| Bytes::from(IProbe::setCall { v: U256::from(v) }.abi_encode());
    let txs = vec![
        dynamic(0, TxKind::Create, probe_code(5), 2_000_000, 0),
        dynamic(1, to, encode(9), 100_000, 77),
        dynamic(2, to, IProbe::nestCall { depth: U256::from(5) }.abi_encode().into(), 300_000, 0),
        dynamic(3, to, IProbe::burnCall {}.abi_encode().into(), 100_000, 0),
        dynamic(4, to, IProbe::refuseCall { code: U256::ONE }.abi_encode().into(), 100_000, 0),
        legacy(5, 2_500_000_000, U256::from(3), 50_000),
        dynamic(6, to, vec![7; 3_000].into(), 400_000, 0),
        dynamic(7, to, IProbe::clearCall {}.abi_encode().into(), 100_000, 0),
        dynamic(8, to, IProbe::makeCall {}.abi_encode().into(), 200_000, 0),
        dynamic(9, to, encode(11), 100_000, 0),
    ];
    let nonce = txs.len() as u64;
    let hashes: Vec<Value> = txs.iter().map(hash_of).collect();
    let mut script = vec![line("eth_feeHistory", json!(["0x1", "latest", [50.0]]))];
    script.extend(txs);
    script.extend(calls(probe));
    script.extend(reads(probe, &hashes));
    script.extend(control(probe, nonce));
    script.extend(refusals(nonce + 1));
    script
}

/// How often a read is asked again while anvil mines: two seconds.
const READ_RETRIES: u32 = 40;

/// Whether asking again changes nothing.
fn is_repeatable(line: &Line) -> bool {
    let reads = line.method.starts_with("eth_get") || line.method.starts_with("eth_call");
    (reads && !line.method.contains("Filter")) || line.method == "eth_blockNumber"
}

#[tokio::test(flavor = "multi_thread")]
async fn both_nodes_answer_the_same() {
    let Some(program) = binary() else {
        assert!(
            std::env::var_os("REFUTE_REQUIRE_TOOLS").is_none_or(|required| required != "1"),
            "anvil is required: run scripts/contracts.sh, or set REFUTE_ANVIL"
        );
        eprintln!("SKIPPED both_nodes_answer_the_same: no anvil; scripts/contracts.sh installs it");
        return;
    };
    let anvil = spawn(&program).await;
    let devnet = start().await;
    let url = devnet.url().parse().expect("its own URL parses");
    let ours = ProviderBuilder::new().connect_http(url).erased();

    let mut differences = Vec::new();
    for (index, line) in script().iter().enumerate() {
        let ours = answer(&ours, line).await;
        let mut theirs = answer(&anvil.provider, line).await;
        // Anvil answers a transaction before it has mined it; a read right behind may come too early.
        for _ in 0..READ_RETRIES {
            if ours == theirs || !is_repeatable(line) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            theirs = answer(&anvil.provider, line).await;
        }
        if ours != theirs {
            let params: String = line.params.to_string().chars().take(200).collect();
            differences.push(format!(
                "{index} {} {params}\n  ours  {ours}\n  anvil {theirs}",
                line.method
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
