//! The methods: names to functions.

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::primitives::BlockTransactions;
use alloy::primitives::{Address, B256, Bytes, TxHash, U64, U256};
use alloy::rpc::types as rpc;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::accounts::DEV_ADDRESSES;
use super::build::Built;
use super::chain::{At, Chain};
use super::error::RpcError;
use super::params::{Number, Params};
use super::{control, fees, filters, logs, simulate};
use crate::state::State;

/// A method's result as JSON.
pub(crate) type Answer = Result<Box<RawValue>, RpcError>;

/// What a method needs of the chain.
pub(crate) enum Method {
    /// Only reads it: many at a time.
    Read(fn(&Chain, Params<'_>) -> Answer),
    /// Changes it.
    Write(fn(&mut Chain, Params<'_>) -> Answer),
}

/// A method by its name.
pub(crate) fn method(name: &str) -> Option<Method> {
    use Method::{Read, Write};
    Some(match name {
        "web3_clientVersion" => {
            Read(|_, _| json(concat!("refute-devnet/", env!("CARGO_PKG_VERSION"))))
        }
        "net_version" => Read(|chain, _| json(chain.chain_id.to_string())),
        "net_listening" => Read(|_, _| json(true)),
        "eth_chainId" => Read(|chain, _| json(U64::from(chain.chain_id))),
        "eth_syncing" => Read(|_, _| json(false)),
        "eth_accounts" => Read(|_, _| json(DEV_ADDRESSES)),
        "eth_blockNumber" => Read(|chain, _| json(U64::from(chain.height()))),
        "eth_gasPrice" => Read(|chain, _| json(U256::from(fees::gas_price(chain)))),
        "eth_maxPriorityFeePerGas" => Read(|_, _| json(U256::from(fees::SUGGESTED_TIP))),
        "eth_feeHistory" => Read(fee_history),
        "eth_getBlockByNumber" => Read(block_by_number),
        "eth_getBlockByHash" => Read(block_by_hash),
        "eth_getBlockReceipts" => Read(block_receipts),
        "eth_getBlockTransactionCountByNumber" => Read(block_tx_count),
        "eth_getBalance" => Read(balance),
        "eth_getTransactionCount" => Read(tx_count),
        "eth_getCode" => Read(code),
        "eth_getStorageAt" => Read(storage),
        "eth_getTransactionByHash" => Read(tx_by_hash),
        "eth_getTransactionReceipt" => Read(tx_receipt),
        "eth_call" => Read(call),
        "eth_estimateGas" => Read(estimate_gas),
        "eth_getLogs" => Read(|chain, mut params| json(logs::query(chain, &params.next()?)?)),
        "eth_sendRawTransaction" => {
            Write(|chain, mut params| json(chain.submit(&params.next::<Bytes>()?)?))
        }
        "eth_newFilter" => {
            Write(|chain, mut params| json(filters::new_log_filter(chain, params.next()?)))
        }
        "eth_newBlockFilter" => Write(|chain, _| json(filters::new_block_filter(chain))),
        "eth_getFilterChanges" => {
            Write(|chain, mut params| json(filters::changes(chain, &params.next()?)?))
        }
        "eth_getFilterLogs" => {
            Write(|chain, mut params| json(filters::all_logs(chain, &params.next()?)?))
        }
        "eth_uninstallFilter" => {
            Write(|chain, mut params| json(chain.filters.uninstall(&params.next()?)))
        }
        _ => return control::method(name),
    })
}

/// A result as JSON.
pub(crate) fn json<T: Serialize>(value: T) -> Answer {
    to_raw_value(&value).map_err(|e| RpcError::Internal(e.to_string().into()))
}

/// The state that a request's block parameter names; the latest if there is none.
fn state(chain: &Chain, params: &mut Params<'_>) -> Result<State, RpcError> {
    let id: BlockId = params.optional()?.unwrap_or_default();
    Ok(chain.at(chain.resolve(id)?)?.1)
}

fn fee_history(chain: &Chain, mut params: Params<'_>) -> Answer {
    let Number(count) = params.next()?;
    let newest: BlockNumberOrTag = params.next()?;
    let percentiles: Option<Vec<f64>> = params.optional()?;
    json(fees::history(chain, count, newest, percentiles.as_deref())?)
}

fn block_by_number(chain: &Chain, mut params: Params<'_>) -> Answer {
    let tag: BlockNumberOrTag = params.next()?;
    let full = params.optional()?.unwrap_or(false);
    match chain.number_of(tag) {
        At::Number(number) => json(chain.block(number).map(|block| block.to_rpc(full))),
        At::Pending => json(pending_block(chain.pending(), full)),
    }
}

/// A block that does not exist yet: its transactions are in no block.
fn pending_block(built: Built, full: bool) -> rpc::Block {
    let mut block = built.block.to_rpc(full);
    if let BlockTransactions::Full(txs) = &mut block.transactions {
        for tx in txs {
            *tx = waiting_tx(tx.inner.clone());
        }
    }
    block
}

fn waiting_tx(
    tx: alloy::consensus::transaction::Recovered<alloy::consensus::TxEnvelope>,
) -> rpc::Transaction {
    rpc::Transaction {
        inner: tx,
        block_hash: None,
        block_number: None,
        transaction_index: None,
        effective_gas_price: None,
        block_timestamp: None,
    }
}

fn block_by_hash(chain: &Chain, mut params: Params<'_>) -> Answer {
    let hash: B256 = params.next()?;
    let full = params.optional()?.unwrap_or(false);
    json(chain.block_by_hash(&hash).map(|block| block.to_rpc(full)))
}

fn block_receipts(chain: &Chain, mut params: Params<'_>) -> Answer {
    let block = match params.next()? {
        BlockId::Hash(hash) => chain.block_by_hash(&hash.block_hash),
        BlockId::Number(tag) => match chain.number_of(tag) {
            At::Number(number) => chain.block(number),
            At::Pending => None,
        },
    };
    let receipts = |block: &super::block::Mined| -> Vec<rpc::TransactionReceipt> {
        (0..block.txs.len()).filter_map(|index| block.receipt(index)).collect()
    };
    json(block.map(|block| receipts(block)))
}

fn block_tx_count(chain: &Chain, mut params: Params<'_>) -> Answer {
    let count = match chain.number_of(params.next()?) {
        At::Number(number) => chain.block(number).map(|block| block.txs.len()),
        At::Pending => Some(chain.pending().block.txs.len()),
    };
    json(count.map(U64::from))
}

fn balance(chain: &Chain, mut params: Params<'_>) -> Answer {
    let address: Address = params.next()?;
    json(state(chain, &mut params)?.balance(&address))
}

fn tx_count(chain: &Chain, mut params: Params<'_>) -> Answer {
    let address: Address = params.next()?;
    let id: BlockId = params.optional()?.unwrap_or_default();
    // What waits counts without being executed: the answer stays cheap however full the pool is.
    let nonce = match chain.resolve(id)? {
        At::Pending => chain.pool.next_nonce(&address, &chain.state),
        at => chain.at(at)?.1.nonce(&address),
    };
    json(U64::from(nonce))
}

fn code(chain: &Chain, mut params: Params<'_>) -> Answer {
    let address: Address = params.next()?;
    json(state(chain, &mut params)?.code(&address))
}

fn storage(chain: &Chain, mut params: Params<'_>) -> Answer {
    let address: Address = params.next()?;
    let slot: U256 = params.next()?;
    json(B256::from(state(chain, &mut params)?.slot(&address, &slot)))
}

fn tx_by_hash(chain: &Chain, mut params: Params<'_>) -> Answer {
    let hash: TxHash = params.next()?;
    match chain.mined_tx(&hash) {
        Some((block, index)) => json(block.tx(index)),
        None => json(chain.pool.get(&hash).cloned().map(waiting_tx)),
    }
}

fn tx_receipt(chain: &Chain, mut params: Params<'_>) -> Answer {
    let hash: TxHash = params.next()?;
    json(chain.mined_tx(&hash).and_then(|(block, index)| block.receipt(index)))
}

fn call(chain: &Chain, mut params: Params<'_>) -> Answer {
    let request = params.next()?;
    let id: BlockId = params.optional()?.unwrap_or_default();
    params.end("state and block overrides are not supported")?;
    json(simulate::call(chain, request, chain.resolve(id)?)?)
}

/// Without a block it is the pending one: time goes on while no block is made, and the transaction
/// will not run in the past.
fn estimate_gas(chain: &Chain, mut params: Params<'_>) -> Answer {
    let request = params.next()?;
    let id: BlockId = params.optional()?.unwrap_or(BlockId::pending());
    params.end("state and block overrides are not supported")?;
    json(U64::from(simulate::estimate_gas(chain, request, chain.resolve(id)?)?))
}
