//! What must hold of the chain after every block, whatever happened in it.

use alloy::consensus::{SignableTransaction, TxEnvelope, TxLegacy};
use alloy::eips::Encodable2718;
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, Bytes, TxKind, U256, bytes};
use alloy::signers::local::PrivateKeySigner;

use super::accounts::DEV_KEYS;
use super::chain::{At, Chain, HISTORY_BLOCKS, Mining};

/// Creation code of a contract that copies slot 0 to slot `calldata[0..32]`, sets slot 0 to
/// `calldata[32..64]`, and sends what it got to address 42: `PUSH0 SLOAD PUSH0 CALLDATALOAD SSTORE
/// PUSH1 32 CALLDATALOAD PUSH0 SSTORE PUSH0 PUSH0 PUSH0 PUSH0 CALLVALUE PUSH1 42 GAS CALL STOP`.
const WRITER: Bytes = bytes!("6014600a5f3960145ff35f545f35556020355f555f5f5f5f34602a5af100");

fn sign(index: usize, nonce: u64, to: TxKind, input: Bytes, value: u64) -> Vec<u8> {
    let mut tx = TxLegacy {
        chain_id: Some(1),
        nonce,
        gas_price: 2_000_000_000,
        gas_limit: 300_000,
        to,
        value: U256::from(value),
        input,
    };
    let signer = PrivateKeySigner::from_bytes(&DEV_KEYS[index]).expect("a key");
    let signature = signer.sign_transaction_sync(&mut tx).expect("it signs");
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}

fn words(a: u64, b: u64) -> Bytes {
    [U256::from(a).to_be_bytes::<32>(), U256::from(b).to_be_bytes::<32>()].concat().into()
}

/// Twelve blocks that create, write, clear, pay and change balances from outside.
fn busy_chain() -> Chain {
    let mut chain = Chain::new(1, 30_000_000, Mining::Auto);
    chain.submit(&sign(0, 0, TxKind::Create, WRITER, 0)).expect("it is taken");
    let writer = super::accounts::DEV_ADDRESSES[0].create(0);
    let calls = [(1, 5, 3), (2, 6, 0), (1, 0, 9), (3, 7, 0), (1, 0, 0), (2, 8, 1), (9, 9, 0)];
    for (nonce, (slot, value, wei)) in calls.into_iter().enumerate() {
        let raw = sign(1, nonce as u64, TxKind::Call(writer), words(slot, value), wei);
        chain.submit(&raw).expect("it is taken");
        if nonce == 3 {
            chain.set_balance(Address::repeat_byte(3), U256::from(5));
            chain.mine();
            chain.set_balance(Address::repeat_byte(3), U256::ZERO);
            chain.set_balance(writer, U256::from(77));
        }
    }
    chain.submit(&sign(2, 0, TxKind::Call(Address::repeat_byte(9)), Bytes::new(), 1)).expect("ok");
    chain.mine();
    chain
}

#[test]
fn every_block_commits_to_the_state_that_history_gives_back() {
    let chain = busy_chain();
    assert_eq!(chain.height(), 11);
    for block in &chain.blocks {
        let number = block.header.number;
        let (header, mut state) = chain.at(At::Number(number)).expect("recent blocks are kept");
        assert_eq!(header, block.header);
        assert_eq!(state.root(), block.header.state_root, "block {number}");
        assert!(block.txs.iter().all(|mined| mined.success), "block {number}");
    }
}

#[test]
fn reverting_gives_back_every_state_and_forgets_what_came_after() {
    let mut chain = busy_chain();
    let before = chain.height();
    let root = chain.state.root();
    let snapshot = chain.snapshot();
    let raw = sign(2, 1, TxKind::Create, WRITER, 0);
    let hash = chain.submit(&raw).expect("it is taken");
    chain.set_balance(Address::repeat_byte(3), U256::from(5));
    assert!(chain.mined_tx(&hash).is_some());
    assert!(chain.revert(snapshot));
    assert_eq!((chain.height(), chain.state.root()), (before, root));
    assert!(chain.mined_tx(&hash).is_none());
    let (_, mut past) = chain.at(At::Number(3)).expect("recent blocks are kept");
    assert_eq!(past.root(), chain.blocks[3].header.state_root);
    // The same transaction can be sent again.
    assert_eq!(chain.submit(&raw).expect("it is taken"), hash);
}

#[test]
fn a_revert_below_what_history_keeps_leaves_less_history() {
    let mut chain = busy_chain();
    let snapshot = chain.snapshot();
    for _ in 0..HISTORY_BLOCKS {
        chain.mine();
    }
    assert!(chain.at(At::Number(10)).is_err());
    assert!(chain.at(At::Number(11)).is_ok());
    assert!(chain.revert(snapshot));
    assert!(chain.at(At::Number(11)).is_ok());
    assert!(chain.at(At::Number(10)).is_err());
    chain.mine();
    let (_, mut past) = chain.at(At::Number(11)).expect("one block back");
    assert_eq!(past.root(), chain.blocks[11].header.state_root);
}

#[test]
fn a_pending_block_is_the_next_block_but_for_its_state_root() {
    let mut chain = busy_chain();
    chain.mining.send_replace(Mining::Manual);
    chain.submit(&sign(2, 1, TxKind::Create, WRITER, 0)).expect("it is taken");
    let parent = chain.head().header.timestamp;
    chain.clock.set_next(parent, parent + 50).expect("it is later");
    let pending = chain.pending();
    chain.mine();
    let mut header = chain.head().header.clone();
    assert_eq!(pending.block.txs.len(), 1);
    header.state_root = pending.block.header.state_root;
    assert_eq!(header, pending.block.header);
}
