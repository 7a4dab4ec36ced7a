use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::TransactionBuilder;
use alloy::primitives::{B256, U256};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionRequest;
use refute_contracts::devnet::{DEV_ADDRESSES, Devnet, DevnetConfig, DevnetError};
use serde_json::{Value, json};

use super::support::{
    NOBODY, deploy, latest_timestamp, ok, probe_code, provider, refusal, rpc, start,
};

async fn height(provider: &DynProvider) -> u64 {
    provider.get_block_number().await.expect("it answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn time_only_goes_forward_and_where_tests_send_it() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 0).await;
    let start = latest_timestamp(&provider).await;

    let offset = ok(&provider, "evm_increaseTime", json!([1_000_000])).await;
    assert_eq!(offset, json!(1_000_000));
    assert_eq!(ok(&provider, "evm_increaseTime", json!(["0x10"])).await, json!(1_000_016));
    ok(&provider, "evm_mine", json!([])).await;
    let later = latest_timestamp(&provider).await;
    assert!(later >= start + 1_000_016 - 1, "{later} after {start}");

    let next = later + 5_000;
    assert_eq!(ok(&provider, "evm_setNextBlockTimestamp", json!([next])).await, Value::Null);
    // What runs on the pending block sees the promised time, and then the block has it.
    let pending = probe.now_().block(BlockId::pending()).call().await.unwrap();
    assert_eq!(pending.timestamp, U256::from(next));
    ok(&provider, "evm_mine", json!([])).await;
    assert_eq!(latest_timestamp(&provider).await, next);
    let latest = probe.now_().call().await.unwrap();
    assert_eq!((latest.timestamp, latest.number), (U256::from(next), U256::from(3)));

    let past = json!([next]);
    assert_eq!(refusal(rpc(&provider, "evm_setNextBlockTimestamp", past).await).0, -32602);
    let far = json!([u64::MAX]);
    assert_eq!(refusal(rpc(&provider, "evm_increaseTime", far.clone()).await).0, -32602);
    assert_eq!(refusal(rpc(&provider, "evm_setNextBlockTimestamp", far).await).0, -32602);

    ok(&provider, "evm_mine", json!([{ "timestamp": next + 100 }])).await;
    assert_eq!(latest_timestamp(&provider).await, next + 100);
    ok(&provider, "anvil_mine", json!(["0x3", "0xa"])).await;
    let blocks = latest_timestamp(&provider).await - (next + 100);
    assert!(blocks > 20, "{blocks}");
    let before = provider.get_block_by_number(6.into()).await.unwrap().unwrap();
    assert_eq!(before.header.timestamp + 10, latest_timestamp(&provider).await);
    ok(&provider, "hardhat_mine", json!([])).await;
    assert_eq!(height(&provider).await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_one_second_still_have_rising_timestamps() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    ok(&provider, "anvil_mine", json!([20])).await;
    let mut last = 0;
    for number in 0..=20_u64 {
        let block = provider.get_block_by_number(number.into()).await.unwrap().unwrap();
        assert!(block.header.timestamp > last);
        last = block.header.timestamp;
    }
    assert_eq!(refusal(rpc(&provider, "anvil_mine", json!([10_001])).await).0, -32602);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_brings_everything_back() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 5).await;
    let balance = provider.get_balance(DEV_ADDRESSES[0]).await.unwrap();
    let first = ok(&provider, "evm_snapshot", json!([])).await;
    let block = provider.get_block_by_number(Default::default()).await.unwrap().unwrap();

    let sent = probe.set(U256::from(9)).send().await.unwrap().get_receipt().await.unwrap();
    ok(&provider, "anvil_setBalance", json!([NOBODY, "0x10"])).await;
    let second = ok(&provider, "evm_snapshot", json!([])).await;
    ok(&provider, "evm_increaseTime", json!([1_000_000])).await;
    ok(&provider, "evm_mine", json!([])).await;

    assert_eq!(ok(&provider, "evm_revert", json!([first])).await, json!(true));
    assert_eq!(height(&provider).await, 1);
    let latest = provider.get_block_by_number(Default::default()).await.unwrap();
    assert_eq!(latest, Some(block.clone()));
    assert_eq!(probe.value().call().await.unwrap(), U256::from(5));
    assert_eq!(provider.get_balance(DEV_ADDRESSES[0]).await.unwrap(), balance);
    assert_eq!(provider.get_balance(NOBODY).await.unwrap(), U256::ZERO);
    assert_eq!(provider.get_transaction_count(DEV_ADDRESSES[0]).await.unwrap(), 1);
    let gone = provider.get_transaction_receipt(sent.transaction_hash).await.unwrap();
    assert_eq!(gone, None);
    ok(&provider, "evm_mine", json!([])).await;
    assert!(latest_timestamp(&provider).await < block.header.timestamp + 1_000_000);

    // A snapshot is used up, and so is every later one.
    for used in [first, second] {
        assert_eq!(ok(&provider, "evm_revert", json!([used])).await, json!(false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_transactions_at_the_same_time_make_the_same_block() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 5).await;
    let timestamp = latest_timestamp(&provider).await + 100;
    let tx = probe.set(U256::from(9)).nonce(1).gas(100_000).max_fee_per_gas(3_000_000_000);
    let tx = tx.max_priority_fee_per_gas(1);
    let mut hashes = Vec::new();
    for _ in 0..2 {
        let snapshot = ok(&provider, "evm_snapshot", json!([])).await;
        ok(&provider, "evm_setNextBlockTimestamp", json!([timestamp])).await;
        let receipt = tx.clone().send().await.unwrap().get_receipt().await.unwrap();
        hashes.push(receipt.block_hash.unwrap());
        assert_eq!(ok(&provider, "evm_revert", json!([snapshot])).await, json!(true));
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_can_be_read() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 5).await;
    for value in [6, 0, 7] {
        probe.set(U256::from(value)).send().await.unwrap().get_receipt().await.unwrap();
    }
    ok(&provider, "anvil_setBalance", json!([NOBODY, "0x10"])).await;
    ok(&provider, "evm_mine", json!([])).await;

    for (number, value) in [(1, 5), (2, 6), (3, 0), (4, 7), (5, 7)] {
        let at = BlockId::number(number);
        assert_eq!(probe.value().block(at).call().await.unwrap(), U256::from(value));
        assert_eq!(probe.now_().block(at).call().await.unwrap().number, U256::from(number));
        let nonce = provider.get_transaction_count(DEV_ADDRESSES[0]).block_id(at);
        assert_eq!(nonce.await.unwrap(), number.min(4));
        let slot = provider.get_storage_at(*probe.address(), U256::ZERO).block_id(at);
        assert_eq!(slot.await.unwrap(), U256::from(value));
    }
    let code = provider.get_code_at(*probe.address()).block_id(BlockId::earliest());
    assert!(code.await.unwrap().is_empty());
    let balance = |number| provider.get_balance(NOBODY).block_id(BlockId::number(number));
    assert_eq!(balance(4).await.unwrap(), U256::ZERO);
    assert_eq!(balance(5).await.unwrap(), U256::from(0x10));

    let block = provider.get_block_by_number(2.into()).await.unwrap().unwrap();
    let by_hash = BlockId::hash(block.header.hash);
    assert_eq!(probe.value().block(by_hash).call().await.unwrap(), U256::from(6));
    assert_eq!(probe.hashOf(U256::from(2)).call().await.unwrap(), block.header.hash);
    assert_eq!(probe.hashOf(U256::from(99)).call().await.unwrap(), B256::ZERO);

    let future = rpc(&provider, "eth_getBalance", json!([NOBODY, "0x99"])).await;
    assert_eq!(refusal(future).0, -32602);
    let unknown = provider.get_balance(NOBODY).block_id(BlockId::hash(B256::repeat_byte(1))).await;
    assert_eq!(refusal(unknown).0, -32000);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_bounded_with_a_clear_error() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    ok(&provider, "anvil_mine", json!([4_100])).await;
    assert_eq!(ok(&provider, "eth_getBalance", json!([NOBODY, "0x4"])).await, json!("0x0"));
    let gone = rpc(&provider, "eth_getBalance", json!([NOBODY, "0x3"])).await;
    let (code, message) = refusal(gone);
    assert_eq!(code, -32000);
    assert!(message.contains("the state of block 3 is gone"), "{message}");
    // Blocks themselves stay.
    assert!(provider.get_block_by_number(3.into()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_automine_transactions_wait() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 5).await;
    ok(&provider, "evm_setAutomine", json!([false])).await;
    let first = probe.set(U256::from(6)).gas(100_000).send().await.unwrap();
    let second = probe.set(U256::from(8)).gas(100_000).send().await.unwrap();

    assert_eq!(height(&provider).await, 1);
    let hash = *first.tx_hash();
    assert_eq!(provider.get_transaction_receipt(hash).await.unwrap(), None);
    let waiting = provider.get_transaction_by_hash(hash).await.unwrap().unwrap();
    assert_eq!((waiting.block_number, waiting.block_hash), (None, None));
    let sender = DEV_ADDRESSES[0];
    assert_eq!(provider.get_transaction_count(sender).await.unwrap(), 1);
    assert_eq!(provider.get_transaction_count(sender).pending().await.unwrap(), 3);
    assert_eq!(probe.value().call().await.unwrap(), U256::from(5));
    let pending = probe.value().block(BlockId::pending()).call().await.unwrap();
    assert_eq!(pending, U256::from(8));
    let block = provider.get_block_by_number(BlockNumberOrTag::Pending).full().await.unwrap();
    let block = block.unwrap();
    assert_eq!((block.header.number, block.transactions.len()), (2, 2));

    ok(&provider, "evm_mine", json!([])).await;
    let (first, second) = (first.get_receipt().await.unwrap(), second.get_receipt().await.unwrap());
    assert_eq!((first.block_number, second.block_number), (Some(2), Some(2)));
    assert_eq!((first.transaction_index, second.transaction_index), (Some(0), Some(1)));
    assert_eq!(second.inner.cumulative_gas_used(), first.gas_used + second.gas_used);
    assert_eq!(second.logs()[0].log_index, Some(2));
    assert_eq!(probe.value().call().await.unwrap(), U256::from(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_takes_no_more_gas_than_its_limit() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    ok(&provider, "evm_setAutomine", json!([false])).await;
    for _ in 0..3 {
        let tx = TransactionRequest::default().with_deploy_code(probe_code(1));
        let _ = provider.send_transaction(tx.with_gas_limit(12_000_000)).await.unwrap();
    }
    ok(&provider, "evm_mine", json!([])).await;
    let count = |number: u64| {
        let provider = provider.clone();
        async move {
            provider.get_block_by_number(number.into()).await.unwrap().unwrap().transactions.len()
        }
    };
    // Three limits of 12 million fit, because what the first ones did not use is free again.
    assert_eq!(count(1).await, 3);
    for _ in 0..2 {
        let tx = TransactionRequest::default().with_deploy_code(probe_code(1));
        let _ = provider.send_transaction(tx.with_gas_limit(29_900_000)).await.unwrap();
    }
    ok(&provider, "evm_setAutomine", json!([true])).await;
    assert_eq!((count(2).await, count(3).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn interval_mining_makes_blocks_on_its_own() {
    let config = DevnetConfig { block_time_s: Some(1), ..DevnetConfig::default() };
    let devnet = Devnet::start(config).await.unwrap();
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 5).await;
    let receipt = probe.set(U256::from(9)).send().await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.block_number.unwrap() >= 2);
    let now = height(&provider).await;
    for _ in 0..1_200 {
        if height(&provider).await >= now + 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(height(&provider).await >= now + 2, "no blocks came");

    ok(&provider, "evm_setIntervalMining", json!([0])).await;
    let waiting = probe.set(U256::from(3)).send().await.unwrap();
    let hash = *waiting.tx_hash();
    assert_eq!(provider.get_transaction_receipt(hash).await.unwrap(), None);
    ok(&provider, "evm_setIntervalMining", json!([1])).await;
    assert!(waiting.get_receipt().await.unwrap().status());
    devnet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_configurations_are_refused() {
    let devnet = start().await;
    let taken = DevnetConfig { port: devnet.port(), ..DevnetConfig::default() };
    let error = Devnet::start(taken).await.expect_err("the port is taken");
    assert!(matches!(error, DevnetError::Listen { port, .. } if port == devnet.port()));
    let still = DevnetConfig { block_time_s: Some(0), ..DevnetConfig::default() };
    assert!(matches!(Devnet::start(still).await, Err(DevnetError::BlockTime)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_devnet_that_was_shut_down_is_gone() {
    let devnet = start().await;
    let port = devnet.port();
    let provider = provider(&devnet, 0);
    assert_eq!(height(&provider).await, 0);
    devnet.shutdown().await;
    assert!(provider.get_block_number().await.is_err());
    let again = Devnet::start(DevnetConfig { port, ..DevnetConfig::default() }).await.unwrap();
    assert_eq!(again.port(), port);
}
