//! Builds blocks: takes transactions from the pool as long as they fit, executes them, and seals.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;

use alloy::consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy::consensus::{Transaction as _, TxEnvelope, transaction::Recovered};
use alloy::primitives::{Address, B256, TxHash, U256};
use revm::DatabaseRef;
use revm::bytecode::Bytecode;
use revm::context::BlockEnv;
use revm::context::result::InvalidTransaction;
use revm::state::AccountInfo;

use super::block::{Mined, MinedTx, empty_header};
use super::pool::Pool;
use super::tx::to_env;
use crate::evm::Outcome;
use crate::execution::{Checks, Refused, execute};
use crate::state::{State, Undo};

/// What the EVM reads: a state, and the hashes of the blocks below it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) state: &'a State,
    pub(crate) blocks: &'a [Arc<Mined>],
}

impl DatabaseRef for View<'_> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        self.state.basic_ref(address)
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, Infallible> {
        self.state.code_by_hash_ref(code_hash)
    }

    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, Infallible> {
        self.state.storage_ref(address, index)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        let block = usize::try_from(number).ok().and_then(|n| self.blocks.get(n));
        Ok(block.map_or(B256::ZERO, |block| block.hash))
    }
}

/// Everything that a block is built on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Builder<'a> {
    pub(crate) chain_id: u64,
    pub(crate) gas_limit: u64,
    pub(crate) base_fee: u64,
    pub(crate) timestamp: u64,
    /// Blocks so far; never empty.
    pub(crate) blocks: &'a [Arc<Mined>],
    pub(crate) pool: &'a Pool,
}

/// A block that was built, the state after it, and what must leave the pool.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) block: Mined,
    pub(crate) state: State,
    pub(crate) undo: Undo,
    /// Transactions that turned out to be invalid, with the reason.
    pub(crate) dropped: Vec<(TxHash, InvalidTransaction)>,
}

/// What the EVM sees of a header.
pub(crate) fn block_env(header: &alloy::consensus::Header) -> BlockEnv {
    BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        prevrandao: Some(header.mix_hash),
        ..BlockEnv::default()
    }
}

impl Builder<'_> {
    /// The header of the next block while it is empty.
    pub(crate) fn header(&self) -> alloy::consensus::Header {
        let parent_hash = self.blocks.last().map_or(B256::ZERO, |block| block.hash);
        let number = self.blocks.len() as u64;
        empty_header(number, parent_hash, self.timestamp, self.gas_limit, self.base_fee)
    }

    /// Executes what the pool has on top of `state`, and seals it.
    pub(crate) fn build(&self, state: State) -> Built {
        let mut built = self.build_pending(state);
        let mut header = built.block.header;
        header.state_root = built.state.root();
        built.block = Mined::new(header, built.block.txs);
        built
    }

    /// Executes what the pool has on top of `state`. The state root, which is dear, stays zero.
    pub(crate) fn build_pending(&self, mut state: State) -> Built {
        let mut header = self.header();
        let env = block_env(&header);
        let mut txs: Vec<MinedTx> = Vec::new();
        let mut undo = Undo::default();
        let mut dropped = Vec::new();
        let mut passed_over = HashSet::new();
        let mut gas_used = 0_u64;
        let mut log_count = 0_u64;

        while let Some(tx) = self.pool.best(&state, self.base_fee, &passed_over) {
            if tx.gas_limit() > self.gas_limit.saturating_sub(gas_used) {
                passed_over.insert(tx.signer());
                continue;
            }
            let view = View { state: &state, blocks: self.blocks };
            match execute(view, self.chain_id, env.clone(), to_env(tx), Checks::Transaction) {
                Ok(done) => {
                    undo.append(state.commit(done.state));
                    let mined = self.mined(tx, done.result.into(), gas_used, log_count);
                    gas_used = mined.cumulative_gas_used;
                    log_count += mined.logs.len() as u64;
                    txs.push(mined);
                }
                Err(refused) => {
                    passed_over.insert(tx.signer());
                    if let Some(reason) = gone_for_good(refused) {
                        dropped.push((*tx.tx_hash(), reason));
                    }
                }
            }
        }

        header.gas_used = gas_used;
        let envelopes: Vec<&TxEnvelope> = txs.iter().map(|mined| mined.tx.inner()).collect();
        header.transactions_root = calculate_transaction_root(&envelopes);
        let receipts: Vec<_> = txs.iter().map(MinedTx::receipt).collect();
        header.receipts_root = calculate_receipt_root(&receipts);
        header.logs_bloom = txs.iter().flat_map(|mined| &mined.logs).collect();
        Built { block: Mined::new(header, txs), state, undo, dropped }
    }

    fn mined(
        &self,
        tx: &Recovered<TxEnvelope>,
        outcome: Outcome,
        gas_before: u64,
        first_log: u64,
    ) -> MinedTx {
        MinedTx {
            tx: tx.clone(),
            success: outcome.is_success(),
            gas_used: outcome.gas_used,
            cumulative_gas_used: gas_before + outcome.gas_used,
            effective_gas_price: tx.effective_gas_price(Some(self.base_fee)),
            created: tx.kind().is_create().then(|| tx.signer().create(tx.nonce())),
            logs: outcome.logs,
            first_log,
        }
    }
}

/// Why a refused transaction can't ever be mined; none if it only waits for a lower base fee.
fn gone_for_good(refused: Refused<Infallible>) -> Option<InvalidTransaction> {
    match refused {
        Refused::Transaction(InvalidTransaction::GasPriceLessThanBasefee) => None,
        Refused::Transaction(reason) => Some(reason),
        other => Some(InvalidTransaction::Str(other.to_string().into())),
    }
}
