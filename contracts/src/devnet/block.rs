//! Mined blocks, and how they look over JSON-RPC.

use alloy::consensus::{
    Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, TxEnvelope,
    transaction::Recovered,
};
use alloy::eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy::network::primitives::BlockTransactions;
use alloy::primitives::{Address, B256, Log, U256};
use alloy::rlp::Encodable;
use alloy::rpc::types as rpc;

/// A transaction in a block, and what it did.
#[derive(Clone, Debug)]
pub(crate) struct MinedTx {
    pub(crate) tx: Recovered<TxEnvelope>,
    pub(crate) success: bool,
    pub(crate) gas_used: u64,
    /// Gas of the block up to and including this transaction.
    pub(crate) cumulative_gas_used: u64,
    pub(crate) effective_gas_price: u128,
    pub(crate) created: Option<Address>,
    pub(crate) logs: Vec<Log>,
    /// Index in the block of the first log.
    pub(crate) first_log: u64,
}

impl MinedTx {
    /// The receipt as it is hashed into the block.
    pub(crate) fn receipt(&self) -> ReceiptEnvelope {
        self.receipt_with(self.logs.clone())
    }

    fn receipt_with<L>(&self, logs: Vec<L>) -> ReceiptEnvelope<L> {
        let logs_bloom = self.logs.iter().collect();
        let receipt = Receipt {
            status: self.success.into(),
            cumulative_gas_used: self.cumulative_gas_used,
            logs,
        };
        ReceiptEnvelope::from_typed(self.tx.tx_type(), ReceiptWithBloom { receipt, logs_bloom })
    }
}

/// A block with its transactions.
#[derive(Clone, Debug)]
pub(crate) struct Mined {
    pub(crate) header: alloy::consensus::Header,
    pub(crate) hash: B256,
    pub(crate) txs: Vec<MinedTx>,
}

impl Mined {
    /// Seals a header over its transactions.
    pub(crate) fn new(header: alloy::consensus::Header, txs: Vec<MinedTx>) -> Self {
        Self { hash: header.hash_slow(), header, txs }
    }

    /// The block object; transactions whole or as hashes.
    pub(crate) fn to_rpc(&self, full: bool) -> rpc::Block {
        let transactions = if full {
            BlockTransactions::Full((0..self.txs.len()).filter_map(|i| self.tx(i)).collect())
        } else {
            BlockTransactions::Hashes(self.txs.iter().map(|mined| *mined.tx.tx_hash()).collect())
        };
        let header = rpc::Header {
            hash: self.hash,
            inner: self.header.clone(),
            total_difficulty: Some(U256::ZERO),
            size: Some(U256::from(self.size())),
        };
        rpc::Block::new(header, transactions).with_withdrawals(Some(Default::default()))
    }

    /// The transaction object at `index`.
    pub(crate) fn tx(&self, index: usize) -> Option<rpc::Transaction> {
        let mined = self.txs.get(index)?;
        Some(rpc::Transaction {
            inner: mined.tx.clone(),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            transaction_index: Some(index as u64),
            effective_gas_price: Some(mined.effective_gas_price),
            block_timestamp: Some(self.header.timestamp),
        })
    }

    /// The receipt object at `index`.
    pub(crate) fn receipt(&self, index: usize) -> Option<rpc::TransactionReceipt> {
        let mined = self.txs.get(index)?;
        Some(rpc::TransactionReceipt {
            inner: mined.receipt_with(self.tx_logs(index, mined).collect()),
            transaction_hash: *mined.tx.tx_hash(),
            transaction_index: Some(index as u64),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            gas_used: mined.gas_used,
            effective_gas_price: mined.effective_gas_price,
            blob_gas_used: None,
            blob_gas_price: None,
            from: mined.tx.signer(),
            to: mined.tx.to(),
            contract_address: mined.created,
        })
    }

    /// Every log of the block in order.
    pub(crate) fn logs(&self) -> impl Iterator<Item = rpc::Log> {
        self.txs.iter().enumerate().flat_map(|(index, mined)| self.tx_logs(index, mined))
    }

    fn tx_logs<'a>(
        &'a self,
        index: usize,
        mined: &'a MinedTx,
    ) -> impl Iterator<Item = rpc::Log> + 'a {
        mined.logs.iter().zip(mined.first_log..).map(move |(log, log_index)| rpc::Log {
            inner: log.clone(),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            block_timestamp: Some(self.header.timestamp),
            transaction_hash: Some(*mined.tx.tx_hash()),
            transaction_index: Some(index as u64),
            log_index: Some(log_index),
            removed: false,
        })
    }

    /// Bytes of the block's RLP.
    fn size(&self) -> usize {
        let transactions = self.txs.iter().map(|mined| mined.tx.inner()).cloned().collect();
        let body = alloy::consensus::BlockBody {
            transactions,
            ommers: Vec::<alloy::consensus::Header>::new(),
            withdrawals: Some(Default::default()),
        };
        body.into_block(self.header.clone()).length()
    }
}

/// Header of a block without transactions on top of `parent`, with every field that the fork asks for.
pub(crate) fn empty_header(
    number: u64,
    parent_hash: B256,
    timestamp: u64,
    gas_limit: u64,
    base_fee: u64,
) -> alloy::consensus::Header {
    alloy::consensus::Header {
        number,
        parent_hash,
        state_root: B256::ZERO,
        timestamp,
        gas_limit,
        base_fee_per_gas: Some(base_fee),
        // The chain has no beacon; contracts still see a value that changes with every block.
        mix_hash: alloy::primitives::keccak256(parent_hash),
        withdrawals_root: Some(alloy::consensus::constants::EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Default::default()
    }
}
