use alloy::consensus::{Transaction as _, constants::ETH_TO_WEI};
use alloy::eips::eip1559::BaseFeeParams;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::TransactionBuilder;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::{SolError, SolEvent};
use refute_contracts::artifact::{Contract, bytecode};
use refute_contracts::bindings::IStepVerifier;
use refute_contracts::devnet::{DEV_ADDRESSES, DEV_KEYS};

use super::support::{IProbe, NOBODY, deploy, provider, signer, start};

#[tokio::test(flavor = "multi_thread")]
async fn the_dev_accounts_are_funded_and_have_their_keys() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    assert_eq!(devnet.dev_keys(), DEV_KEYS);
    for (index, address) in DEV_ADDRESSES.into_iter().enumerate() {
        assert_eq!(signer(index).address(), address);
        let balance = provider.get_balance(address).await.unwrap();
        assert_eq!(balance, U256::from(10_000) * U256::from(ETH_TO_WEI));
    }
    assert_eq!(provider.get_accounts().await.unwrap(), DEV_ADDRESSES);
    assert_eq!(provider.get_chain_id().await.unwrap(), 31337);
    assert_eq!(provider.get_net_version().await.unwrap(), 31337);
    devnet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_is_deployed_called_and_changed() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 5).await;
    assert_eq!(*probe.address(), DEV_ADDRESSES[0].create(0));
    assert_eq!(probe.value().call().await.unwrap(), U256::from(5));

    let receipt = probe.set(U256::from(9)).send().await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    assert_eq!(receipt.block_number, Some(2));
    assert_eq!(receipt.to, Some(*probe.address()));
    assert_eq!(receipt.from, DEV_ADDRESSES[0]);
    let noted = IProbe::Noted::decode_log(&receipt.logs()[0].inner).unwrap();
    assert_eq!((noted.by, noted.value), (DEV_ADDRESSES[0], U256::from(9)));
    assert_eq!(receipt.logs()[1].log_index, Some(1));

    assert_eq!(probe.value().call().await.unwrap(), U256::from(9));
    let slot = provider.get_storage_at(*probe.address(), U256::ZERO).await.unwrap();
    assert_eq!(slot, U256::from(9));
    assert!(!provider.get_code_at(*probe.address()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_has_its_transactions_and_links_to_its_parent() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 5).await;
    let sent = probe.set(U256::from(9)).send().await.unwrap();
    let receipt = sent.get_receipt().await.unwrap();

    let block = provider.get_block_by_number(2.into()).full().await.unwrap().unwrap();
    let parent = provider.get_block_by_number(1.into()).await.unwrap().unwrap();
    assert_eq!(block.header.parent_hash, parent.header.hash);
    assert_eq!(block.header.hash_slow(), block.header.hash);
    assert_eq!(block.header.gas_used, receipt.gas_used);
    assert!(block.header.timestamp > parent.header.timestamp);
    assert_eq!(Some(block.header.hash), receipt.block_hash);

    let txs = block.transactions.as_transactions().unwrap().to_vec();
    assert_eq!(txs.len(), 1);
    assert_eq!(txs[0].inner.tx_hash(), &receipt.transaction_hash);
    assert_eq!(txs[0].block_hash, Some(block.header.hash));
    let envelopes: Vec<_> = txs.iter().map(|tx| tx.inner.inner()).collect();
    let root = alloy::consensus::proofs::calculate_transaction_root(&envelopes);
    assert_eq!(block.header.transactions_root, root);

    let receipts = provider.get_block_receipts(BlockId::number(2)).await.unwrap().unwrap();
    assert_eq!(receipts, std::slice::from_ref(&receipt));
    let envelope = receipt.inner.clone().into_primitives_receipt();
    let root = alloy::consensus::proofs::calculate_receipt_root(&[envelope]);
    assert_eq!(block.header.receipts_root, root);
    assert_eq!(block.header.logs_bloom, *receipt.inner.logs_bloom());

    let by_hash = provider.get_block_by_hash(block.header.hash).full().await.unwrap();
    assert_eq!(by_hash, Some(block));
    let tx = provider.get_transaction_by_hash(receipt.transaction_hash).await.unwrap().unwrap();
    assert_eq!(tx, txs[0]);
    assert_eq!(provider.get_block_by_hash(B256::repeat_byte(1)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_comes_with_its_data() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 5).await;

    let error = probe.refuse(U256::from(77)).call().await.err().unwrap();
    let refused = error.as_decoded_error::<IProbe::Refused>().expect("the data came along");
    assert_eq!(refused.code, U256::from(77));

    let error = probe.say("too late".into()).call().await.err().unwrap();
    let said = error.as_decoded_error::<alloy::sol_types::Revert>().unwrap();
    assert_eq!(said.reason, "too late");
    assert!(error.to_string().contains("execution reverted: too late"), "{error}");

    // Estimating fails in the same way, so such a transaction is never sent by mistake.
    let error = probe.refuse(U256::from(77)).send().await.unwrap_err();
    assert_eq!(
        error.as_revert_data().unwrap(),
        IProbe::Refused { code: U256::from(77) }.abi_encode()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_is_mined_and_pays() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 5).await;
    let before = provider.get_balance(DEV_ADDRESSES[0]).await.unwrap();
    let sent = probe.burn().gas(100_000).send().await.unwrap();
    let receipt = sent.get_receipt().await.unwrap();
    assert!(!receipt.status());
    assert_eq!(receipt.gas_used, 100_000);
    assert!(receipt.logs().is_empty());
    let after = provider.get_balance(DEV_ADDRESSES[0]).await.unwrap();
    let paid = U256::from(receipt.gas_used) * U256::from(receipt.effective_gas_price);
    assert_eq!(before - after, paid);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_is_the_smallest_limit_that_works() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let probe = deploy(&provider, 5).await;
    // A nested call keeps a 64th back at each level, so the limit has to be above the gas used.
    for depth in [0, 1, 7, 40] {
        let call = probe.nest(U256::from(depth));
        let estimate = call.estimate_gas().await.unwrap();
        let enough = call.clone().gas(estimate).call().await;
        assert!(enough.is_ok(), "depth {depth}: {estimate} is not enough");
        let less = call.clone().gas(estimate - 1).call().await;
        assert!(less.is_err(), "depth {depth}: less than {estimate} is enough");
        let receipt = call.send().await.unwrap().get_receipt().await.unwrap();
        assert!(receipt.status(), "depth {depth}");
        assert!(receipt.gas_used <= estimate);
    }
    // Clearing a slot is refunded only at the end.
    let estimate = probe.clear().estimate_gas().await.unwrap();
    let receipt = probe.clear().send().await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    assert!(receipt.gas_used < estimate);

    let transfer = TransactionRequest::default().with_from(DEV_ADDRESSES[0]).with_to(NOBODY);
    assert_eq!(provider.estimate_gas(transfer).await.unwrap(), 21_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn value_moves_and_fees_are_burned_and_paid() {
    let devnet = start().await;
    let provider = provider(&devnet, 3);
    let wei = U256::from(12_345);
    let tx = TransactionRequest::default().with_to(NOBODY).with_value(wei);
    let receipt = provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap();
    assert_eq!(receipt.gas_used, 21_000);
    assert_eq!(provider.get_balance(NOBODY).await.unwrap(), wei);

    let tx = provider.get_transaction_by_hash(receipt.transaction_hash).await.unwrap().unwrap();
    assert!(tx.is_dynamic_fee());
    let block = provider.get_block_by_number(1.into()).await.unwrap().unwrap();
    let base_fee = block.header.base_fee_per_gas.unwrap();
    let tip = tx.inner.effective_tip_per_gas(base_fee).unwrap();
    assert_eq!(receipt.effective_gas_price, u128::from(base_fee) + tip);
    let earned = provider.get_balance(Address::ZERO).await.unwrap();
    assert_eq!(earned, U256::from(tip) * U256::from(receipt.gas_used));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transaction_type_up_to_1559_is_taken() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let to = TransactionRequest::default().with_to(NOBODY);
    let legacy = to.clone().with_gas_price(2_000_000_000);
    let listed = legacy.clone().with_access_list(Default::default());
    let dynamic =
        to.with_max_fee_per_gas(3_000_000_000).with_max_priority_fee_per_gas(1_000_000_000);
    for (kind, tx) in [legacy, listed, dynamic].into_iter().enumerate() {
        let receipt = provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap();
        assert!(receipt.status());
        assert_eq!(receipt.transaction_type() as usize, kind);
    }
    assert_eq!(provider.get_transaction_count(DEV_ADDRESSES[0]).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_base_fee_follows_eip_1559() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    deploy(&provider, 5).await;
    let transfer = TransactionRequest::default().with_to(NOBODY);
    provider.send_transaction(transfer).await.unwrap().get_receipt().await.unwrap();
    let history =
        provider.get_fee_history(10, BlockNumberOrTag::Latest, &[0.0, 50.0]).await.unwrap();
    assert_eq!(history.oldest_block, 0);
    assert_eq!(history.base_fee_per_gas.len(), 4);
    assert_eq!(history.reward.as_ref().unwrap().len(), 3);

    let header = |number: u64| {
        let provider = provider.clone();
        async move { provider.get_block_by_number(number.into()).await.unwrap().unwrap().header.inner }
    };
    let next = header(1).await.next_block_base_fee(BaseFeeParams::ethereum());
    assert_eq!(next, Some(header(2).await.base_fee_per_gas.unwrap()));
    assert_eq!(history.base_fee_per_gas[2], u128::from(next.unwrap()));
    let price = provider.get_gas_price().await.unwrap();
    assert_eq!(price, history.base_fee_per_gas[3] + 1_000_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_verifier_deploys() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let tx = TransactionRequest::default().with_deploy_code(bytecode(Contract::StepVerifier));
    let receipt = provider.send_transaction(tx).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    let verifier = IStepVerifier::new(receipt.contract_address.unwrap(), &provider);
    assert_eq!(verifier.NUMERICS_VERSION().call().await.unwrap(), 1);
}
