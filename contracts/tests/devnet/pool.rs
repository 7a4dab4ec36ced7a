use alloy::consensus::{SignableTransaction, TxEnvelope, TxLegacy};
use alloy::eips::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Bytes, TxKind, U256};
use alloy::providers::{DynProvider, Provider};
use alloy::signers::local::PrivateKeySigner;
use serde_json::json;

use super::support::{NOBODY, ok, provider, refusal, rpc, signer, start};

/// A plain transfer as dev account 0 signs it; tests change what they are about.
fn transfer(nonce: u64) -> TxLegacy {
    TxLegacy {
        chain_id: Some(31337),
        nonce,
        gas_price: 2_000_000_000,
        gas_limit: 21_000,
        to: TxKind::Call(NOBODY),
        value: U256::ONE,
        input: Bytes::new(),
    }
}

fn raw_by(signer: &PrivateKeySigner, mut tx: TxLegacy) -> Bytes {
    let signature = signer.sign_transaction_sync(&mut tx).expect("it signs");
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

async fn send(provider: &DynProvider, tx: TxLegacy) -> Result<(), (i64, String)> {
    match provider.send_raw_transaction(&raw_by(&signer(0), tx)).await {
        Ok(_) => Ok(()),
        refused => Err(refusal(refused.map(|_| ()))),
    }
}

async fn refused(provider: &DynProvider, tx: TxLegacy) -> String {
    let (code, message) = send(provider, tx).await.expect_err("it must be refused");
    assert!(code == -32003 || code == -32000, "{code} {message}");
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_transactions_are_refused_in_words_that_clients_know() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    assert_eq!(send(&provider, transfer(0)).await, Ok(()));
    let starts = |message: String, words: &str| assert!(message.starts_with(words), "{message}");
    starts(refused(&provider, transfer(0)).await, "nonce too low: next nonce 1, tx nonce 0");
    let ether = U256::from(10).pow(U256::from(18));
    let rich = TxLegacy { value: ether * U256::from(20_000), ..transfer(1) };
    starts(refused(&provider, rich).await, "insufficient funds for gas * price + value");
    let poor = TxLegacy { gas_limit: 20_999, ..transfer(1) };
    starts(refused(&provider, poor).await, "intrinsic gas too low");
    let floor = TxLegacy { input: vec![1; 100].into(), gas_limit: 23_000, ..transfer(1) };
    starts(refused(&provider, floor).await, "insufficient gas for floor data gas cost");
    let huge = TxLegacy { gas_limit: 30_000_001, ..transfer(1) };
    starts(refused(&provider, huge).await, "exceeds block gas limit");
    let cheap = TxLegacy { gas_price: 1, ..transfer(1) };
    starts(refused(&provider, cheap).await, "max fee per gas less than block base fee");
    let elsewhere = TxLegacy { chain_id: Some(1), ..transfer(1) };
    starts(refused(&provider, elsewhere).await, "invalid chain id");
    let long = TxLegacy { input: vec![0; 128 * 1024].into(), gas_limit: 29_000_000, ..transfer(1) };
    starts(refused(&provider, long).await, "oversized data");
    let code = TxLegacy {
        to: TxKind::Create,
        input: vec![0; 49_153].into(),
        gas_limit: 29_000_000,
        ..transfer(1)
    };
    starts(refused(&provider, code).await, "max initcode size exceeded");
    // None of them changed anything.
    assert_eq!(provider.get_block_number().await.unwrap(), 1);
    assert_eq!(send(&provider, transfer(1)).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_transaction_are_refused() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let good = raw_by(&signer(0), transfer(0));
    let mut longer = good.to_vec();
    longer.push(0);
    let mut unsigned = good.to_vec();
    let s = unsigned.len() - 32;
    unsigned[s..].fill(0xff);
    for bad in [vec![], vec![0x12, 0x34], vec![0x03, 0xc0], good[..60].to_vec(), longer, unsigned] {
        let raw = json!([Bytes::from(bad)]);
        let (code, message) = refusal(rpc(&provider, "eth_sendRawTransaction", raw).await);
        assert!(code == -32602 || code == -32003, "{code} {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_gap_waits_until_it_is_filled() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    let me = signer(0).address();
    assert_eq!(send(&provider, transfer(2)).await, Ok(()));
    assert_eq!(send(&provider, transfer(1)).await, Ok(()));
    assert_eq!(provider.get_block_number().await.unwrap(), 0);
    assert_eq!(provider.get_transaction_count(me).pending().await.unwrap(), 0);
    assert_eq!(send(&provider, transfer(0)).await, Ok(()));
    assert_eq!(provider.get_transaction_count(me).await.unwrap(), 3);
    let block = provider.get_block_by_number(1.into()).await.unwrap().unwrap();
    assert_eq!(block.transactions.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_pays_a_tenth_more() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    ok(&provider, "evm_setAutomine", json!([false])).await;
    assert_eq!(send(&provider, transfer(0)).await, Ok(()));
    assert_eq!(refused(&provider, transfer(0)).await, "already known");
    let priced = |gas_price: u128| TxLegacy { value: U256::from(5), gas_price, ..transfer(0) };
    let low = refused(&provider, priced(2_199_999_999)).await;
    assert_eq!(low, "replacement transaction underpriced");
    assert_eq!(send(&provider, priced(2_200_000_000)).await, Ok(()));
    ok(&provider, "evm_mine", json!([])).await;
    assert_eq!(provider.get_balance(NOBODY).await.unwrap(), U256::from(5));
    assert_eq!(provider.get_transaction_count(signer(0).address()).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_higher_tip_goes_first() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    ok(&provider, "evm_setAutomine", json!([false])).await;
    for (index, gas_price) in [(0, 2_000_000_000), (1, 4_000_000_000), (2, 3_000_000_000)] {
        let raw = raw_by(&signer(index), TxLegacy { gas_price, ..transfer(0) });
        let _ = provider.send_raw_transaction(&raw).await.unwrap();
    }
    ok(&provider, "evm_mine", json!([])).await;
    let block = provider.get_block_by_number(1.into()).full().await.unwrap().unwrap();
    let senders: Vec<_> = block.transactions.txns().map(|tx| tx.inner.signer()).collect();
    assert_eq!(senders, [signer(1).address(), signer(2).address(), signer(0).address()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_can_no_longer_pay_is_dropped() {
    let devnet = start().await;
    let provider = provider(&devnet, 0);
    ok(&provider, "evm_setAutomine", json!([false])).await;
    assert_eq!(send(&provider, transfer(0)).await, Ok(()));
    ok(&provider, "anvil_setBalance", json!([signer(0).address(), "0x1"])).await;
    ok(&provider, "evm_mine", json!([])).await;
    let block = provider.get_block_by_number(1.into()).await.unwrap().unwrap();
    assert!(block.transactions.is_empty());
    let hash = alloy::primitives::keccak256(raw_by(&signer(0), transfer(0)));
    assert_eq!(provider.get_transaction_by_hash(hash).await.unwrap(), None);
}
