use alloy::network::{EthereumWallet, TransactionBuilder};
use alloy::primitives::{Address, Bytes, U256, hex};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolValue;
use alloy::transports::{RpcError, TransportError};
use refute_contracts::devnet::{DEV_KEYS, Devnet, DevnetConfig};
use serde_json::Value;

alloy::sol!(
    #[sol(rpc, all_derives)]
    "tests/fixtures/IProbe.sol"
);

pub(crate) use IProbe::IProbeInstance;

/// An account that nobody has.
pub(crate) const NOBODY: Address = Address::repeat_byte(0xab);

pub(crate) async fn start() -> Devnet {
    Devnet::start(DevnetConfig::default()).await.expect("a devnet starts")
}

pub(crate) fn signer(index: usize) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&DEV_KEYS[index]).expect("the dev keys are keys")
}

/// A provider that signs with dev account `index`.
pub(crate) fn provider(devnet: &Devnet, index: usize) -> DynProvider {
    let wallet = EthereumWallet::from(signer(index));
    let url = devnet.url().parse().expect("its own URL parses");
    ProviderBuilder::new().wallet(wallet).connect_http(url).erased()
}

/// Creation code of `fixtures/Probe.sol` with its constructor's argument.
pub(crate) fn probe_code(initial: u64) -> Bytes {
    let code = hex::decode(include_str!("../fixtures/Probe.hex")).expect("the fixture is hex");
    [code, U256::from(initial).abi_encode()].concat().into()
}

/// Deploys a probe whose value is `initial`.
pub(crate) async fn deploy(provider: &DynProvider, initial: u64) -> IProbeInstance<DynProvider> {
    let tx = TransactionRequest::default().with_deploy_code(probe_code(initial));
    let sent = provider.send_transaction(tx).await.expect("it is taken");
    let receipt = sent.get_receipt().await.expect("it is mined");
    assert!(receipt.status());
    IProbe::new(receipt.contract_address.expect("it creates"), provider.clone())
}

/// A raw call, whatever it answers.
pub(crate) async fn rpc(
    provider: &DynProvider,
    method: &'static str,
    params: Value,
) -> Result<Value, TransportError> {
    provider.raw_request(method.into(), params).await
}

/// A raw call that must work.
pub(crate) async fn ok(provider: &DynProvider, method: &'static str, params: Value) -> Value {
    rpc(provider, method, params).await.unwrap_or_else(|e| panic!("{method}: {e}"))
}

/// Code and message of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, TransportError>) -> (i64, String) {
    match result.expect_err("it must be refused") {
        RpcError::ErrorResp(payload) => (payload.code, payload.message.into_owned()),
        other => panic!("not an answer: {other}"),
    }
}

/// Timestamp of the latest block.
pub(crate) async fn latest_timestamp(provider: &DynProvider) -> u64 {
    let block = provider.get_block_by_number(Default::default()).await.expect("it answers");
    block.expect("there is a latest block").header.timestamp
}
