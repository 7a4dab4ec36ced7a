use alloy::eips::BlockNumberOrTag;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::SolEvent;
use serde_json::json;

use super::support::{IProbe, NOBODY, deploy, ok, provider, refusal, rpc, start};

fn values(logs: &[Log]) -> Vec<u64> {
    let value = |log: &Log| IProbe::Noted::decode_log(&log.inner).expect("our event").value.to();
    logs.iter().map(value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_found_by_range_block_address_and_topics() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 0).await;
    let other = deploy(&provider, 0).await;
    // Each call logs (v % 2, v) and (7, v + 1).
    for value in [10, 11, 12] {
        probe.set(U256::from(value)).send().await.unwrap().get_receipt().await.unwrap();
    }
    other.set(U256::from(50)).send().await.unwrap().get_receipt().await.unwrap();

    let get = |filter: Filter| {
        let provider = provider.clone();
        async move { values(&provider.get_logs(&filter).await.unwrap()) }
    };
    let all = Filter::new().from_block(BlockNumberOrTag::Earliest);
    assert_eq!(get(all.clone()).await, [10, 11, 11, 12, 12, 13, 50, 51]);
    assert_eq!(get(all.clone().address(*other.address())).await, [50, 51]);
    let both: Vec<Address> = vec![*probe.address(), *other.address()];
    assert_eq!(get(all.clone().address(both)).await.len(), 8);
    assert_eq!(get(all.clone().address(NOBODY)).await, [0; 0]);
    assert_eq!(get(Filter::new().from_block(4).to_block(5)).await, [11, 12, 12, 13]);
    assert_eq!(get(Filter::new()).await, [50, 51]);
    assert_eq!(get(Filter::new().from_block(5).to_block(4)).await, [0; 0]);

    let event = all.clone().event_signature(IProbe::Noted::SIGNATURE_HASH);
    assert_eq!(get(event.clone().topic2(U256::ONE)).await, [11]);
    let either = vec![B256::from(U256::ZERO), B256::from(U256::ONE)];
    assert_eq!(get(event.clone().topic2(either)).await, [10, 11, 12, 50]);
    assert_eq!(get(event.topic1(NOBODY.into_word())).await, [0; 0]);

    let block = provider.get_block_by_number(4.into()).await.unwrap().unwrap();
    assert_eq!(get(Filter::new().at_block_hash(block.header.hash)).await, [11, 12]);
    let logs = provider.get_logs(&Filter::new().select(block.header.number)).await.unwrap();
    assert_eq!(logs[0].block_hash, Some(block.header.hash));
    assert_eq!(logs[0].block_timestamp, Some(block.header.timestamp));
    assert_eq!((logs[0].log_index, logs[1].log_index), (Some(0), Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_bounded() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    ok(&provider, "anvil_mine", json!([10_000])).await;
    let range =
        |from: u64, to: u64| json!([{ "fromBlock": U256::from(from), "toBlock": U256::from(to) }]);
    assert_eq!(ok(&provider, "eth_getLogs", range(1, 10_000)).await, json!([]));
    let (code, message) = refusal(rpc(&provider, "eth_getLogs", range(0, 10_000)).await);
    assert_eq!(code, -32602);
    assert!(message.contains("longer than 10000 blocks"), "{message}");

    let (code, _) = refusal(rpc(&provider, "eth_getLogs", range(10_001, 10_002)).await);
    assert_eq!(code, -32602);
    let unknown = json!([{ "blockHash": B256::repeat_byte(1) }]);
    let (code, message) = refusal(rpc(&provider, "eth_getLogs", unknown).await);
    assert_eq!((code, message.as_str()), (-32000, "unknown block"));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_report_each_change_once() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 0).await;
    probe.set(U256::from(1)).send().await.unwrap().get_receipt().await.unwrap();

    let filter = Filter::new().address(*probe.address());
    let logs = provider.new_filter(&filter.clone().from_block(0)).await.unwrap();
    let blocks = provider.new_block_filter().await.unwrap();
    assert_ne!(logs, blocks);
    assert!(provider.get_filter_changes::<Log>(logs).await.unwrap().is_empty());

    probe.set(U256::from(20)).send().await.unwrap().get_receipt().await.unwrap();
    probe.set(U256::from(30)).send().await.unwrap().get_receipt().await.unwrap();
    let changes = provider.get_filter_changes::<Log>(logs).await.unwrap();
    assert_eq!(values(&changes), [20, 21, 30, 31]);
    assert!(provider.get_filter_changes::<Log>(logs).await.unwrap().is_empty());
    assert_eq!(values(&provider.get_filter_logs(logs).await.unwrap()), [1, 2, 20, 21, 30, 31]);

    let hashes = provider.get_filter_changes::<B256>(blocks).await.unwrap();
    let head = provider.get_block_by_number(Default::default()).await.unwrap().unwrap();
    assert_eq!(hashes, [head.header.parent_hash, head.header.hash]);

    assert!(provider.uninstall_filter(logs).await.unwrap());
    assert!(!provider.uninstall_filter(logs).await.unwrap());
    let (code, message) = refusal(provider.get_filter_changes::<Log>(logs).await);
    assert_eq!((code, message.as_str()), (-32000, "filter not found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_goes_on_after_a_revert() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 0).await;
    let filter = provider.new_filter(&Filter::new()).await.unwrap();
    let snapshot = ok(&provider, "evm_snapshot", json!([])).await;
    probe.set(U256::from(1)).send().await.unwrap().get_receipt().await.unwrap();
    assert_eq!(values(&provider.get_filter_changes::<Log>(filter).await.unwrap()), [1, 2]);
    assert_eq!(ok(&provider, "evm_revert", json!([snapshot])).await, json!(true));
    assert!(provider.get_filter_changes::<Log>(filter).await.unwrap().is_empty());
    let probe = IProbe::new(*probe.address(), super::support::provider(&devnet, 0));
    probe.set(U256::from(5)).send().await.unwrap().get_receipt().await.unwrap();
    assert_eq!(values(&provider.get_filter_changes::<Log>(filter).await.unwrap()), [5, 6]);
}
