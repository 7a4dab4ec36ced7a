//! Signed transactions: from bytes to what the EVM runs, with every check that needs no execution.

use alloy::consensus::transaction::{Recovered, SignerRecoverable};
use alloy::consensus::{Transaction as _, TxEnvelope, TxType};
use alloy::eips::Decodable2718;
use alloy::primitives::U256;
use revm::context::TxEnv;
use revm::context::result::InvalidTransaction;
use revm::primitives::eip3860::MAX_INITCODE_SIZE;

use super::error::{RpcError, invalid_transaction};
use crate::execution::check_intrinsic_gas;
use crate::state::State;

/// Bytes of the longest transaction that public nodes forward.
pub(crate) const TX_BYTES_MAX: usize = 128 * 1024;

/// Reads a raw transaction and recovers its sender.
pub(crate) fn decode(raw: &[u8]) -> Result<Recovered<TxEnvelope>, RpcError> {
    if raw.len() > TX_BYTES_MAX {
        let len = raw.len();
        return Err(RpcError::rejected(format!(
            "oversized data: transaction size {len}, limit {TX_BYTES_MAX}"
        )));
    }
    let mut rest = raw;
    let tx = TxEnvelope::decode_2718(&mut rest)
        .map_err(|e| RpcError::params(format!("the transaction can't be decoded: {e}")))?;
    if !rest.is_empty() {
        return Err(RpcError::params("the transaction is followed by other bytes"));
    }
    match tx.tx_type() {
        TxType::Legacy | TxType::Eip2930 | TxType::Eip1559 => {}
        TxType::Eip4844 | TxType::Eip7702 => {
            return Err(RpcError::rejected("transaction type not supported"));
        }
    }
    let signer = tx.recover_signer().map_err(|_| RpcError::rejected("invalid sender"))?;
    Ok(Recovered::new_unchecked(tx, signer))
}

/// The transaction as revm takes it.
pub(crate) fn to_env(tx: &Recovered<TxEnvelope>) -> TxEnv {
    TxEnv {
        tx_type: tx.tx_type() as u8,
        caller: tx.signer(),
        gas_limit: tx.gas_limit(),
        gas_price: tx.max_fee_per_gas(),
        gas_priority_fee: tx.max_priority_fee_per_gas(),
        kind: tx.kind(),
        value: tx.value(),
        data: tx.input().clone(),
        nonce: tx.nonce(),
        chain_id: tx.chain_id(),
        access_list: tx.access_list().cloned().unwrap_or_default(),
        ..TxEnv::default()
    }
}

/// What a transaction has to satisfy before it may wait for a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission {
    pub(crate) chain_id: u64,
    pub(crate) block_gas_limit: u64,
    pub(crate) base_fee: u64,
}

impl Admission {
    pub(crate) fn check(&self, tx: &Recovered<TxEnvelope>, state: &State) -> Result<(), RpcError> {
        if tx.chain_id().is_some_and(|id| id != self.chain_id) {
            return Err(refused(InvalidTransaction::InvalidChainId));
        }
        check_intrinsic_gas(&to_env(tx)).map_err(refused)?;
        if tx.gas_limit() > self.block_gas_limit {
            return Err(refused(InvalidTransaction::CallerGasLimitMoreThanBlock));
        }
        if tx.kind().is_create() && tx.input().len() > MAX_INITCODE_SIZE {
            return Err(refused(InvalidTransaction::CreateInitCodeSizeLimit));
        }
        if tx.max_priority_fee_per_gas().is_some_and(|tip| tip > tx.max_fee_per_gas()) {
            return Err(refused(InvalidTransaction::PriorityFeeGreaterThanMaxFee));
        }
        self.check_sender(tx, state)?;
        if tx.max_fee_per_gas() < u128::from(self.base_fee) {
            return Err(refused(InvalidTransaction::GasPriceLessThanBasefee));
        }
        Ok(())
    }

    fn check_sender(&self, tx: &Recovered<TxEnvelope>, state: &State) -> Result<(), RpcError> {
        let nonce = state.nonce(tx.signer_ref());
        if tx.nonce() < nonce {
            return Err(refused(InvalidTransaction::NonceTooLow { tx: tx.nonce(), state: nonce }));
        }
        if tx.nonce() == u64::MAX {
            return Err(refused(InvalidTransaction::NonceOverflowInTransaction));
        }
        let balance = state.balance(tx.signer_ref());
        let gas = U256::from(tx.gas_limit()).saturating_mul(U256::from(tx.max_fee_per_gas()));
        let cost = gas.saturating_add(tx.value());
        if cost > balance {
            let (fee, balance) = (Box::new(cost), Box::new(balance));
            return Err(refused(InvalidTransaction::LackOfFundForMaxFee { fee, balance }));
        }
        Ok(())
    }
}

fn refused(invalid: InvalidTransaction) -> RpcError {
    invalid_transaction(&invalid)
}
