//! Single transactions: trying, pricing, signing, broadcasting, looking for the receipt.

use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256};
use alloy::providers::Provider;
use alloy::rpc::types::{TransactionInput, TransactionRequest};
use alloy::transports::TransportError;
use serde::Deserialize;

use super::error::{execution_failure, is_transient};
use super::{Chain, ChainError};
use crate::store::Attempt;

/// Added to the gas that the node estimated, which is for the state of now: a quarter and this much.
const GAS_MARGIN: u64 = 30_000;
/// Most gas that one transaction may have on a chain with EIP-7825.
const TX_GAS_MAX: u64 = 1 << 24;
/// Tip where the node doesn't propose one, wei per gas.
const DEFAULT_TIP_WEI: u128 = 1_000_000_000;
/// Most wei per gas that are paid unless told otherwise: 500 gwei.
pub(super) const DEFAULT_FEE_CAP_WEI: u128 = 500_000_000_000;
/// How long [`Chain::transact`] waits for a receipt, and how often it asks.
const RECEIPT_WAIT_S: u64 = 180;
const RECEIPT_POLL: Duration = Duration::from_millis(200);

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The contract; `None` creates one.
    pub to: Option<Address>,
    /// Calldata, or creation code.
    pub data: Bytes,
    /// Wei that go with it.
    pub value_wei: U256,
}

impl Call {
    /// A call of a contract without wei.
    pub fn new(to: Address, data: impl Into<Bytes>) -> Self {
        Self { to: Some(to), data: data.into(), value_wei: U256::ZERO }
    }

    /// The same call with this many wei.
    pub fn with_value(self, value_wei: U256) -> Self {
        Self { value_wei, ..self }
    }

    fn kind(&self) -> TxKind {
        self.to.map_or(TxKind::Create, TxKind::Call)
    }

    fn request(&self, from: Address) -> TransactionRequest {
        TransactionRequest {
            from: Some(from),
            to: Some(self.kind()),
            value: Some(self.value_wei),
            input: TransactionInput::new(self.data.clone()),
            ..TransactionRequest::default()
        }
    }
}

/// Where and how a transaction was mined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its hash.
    pub hash: B256,
    /// Number of its block.
    pub block: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// Gas that it used.
    pub gas_used: u64,
    /// Whether it did what it should; else it reverted.
    pub success: bool,
    /// The contract that it created.
    pub created: Option<Address>,
}

/// What anybody's transaction cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxCosts {
    /// Its hash.
    pub hash: B256,
    /// Who paid.
    pub from: Address,
    /// Gas that it used.
    pub gas_used: u64,
    /// Bytes of its calldata.
    pub calldata_bytes: u64,
}

/// Prices of one unit of gas, wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fees {
    pub(super) max_fee_wei: u128,
    pub(super) tip_wei: u128,
}

/// What a node says to a signed transaction.
#[derive(Debug)]
pub(super) enum Broadcast {
    /// It has it, now or already.
    Accepted,
    /// Its nonce is used up.
    NonceTooLow,
    /// The node holds another transaction with this nonce that pays as much.
    Underpriced,
    /// It won't ever take it like that.
    Refused(String),
    /// It didn't say.
    Unreachable(TransportError),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawReceipt {
    transaction_hash: B256,
    block_hash: Option<B256>,
    #[serde(default, with = "alloy::serde::quantity::opt")]
    block_number: Option<u64>,
    #[serde(with = "alloy::serde::quantity")]
    gas_used: u64,
    #[serde(default, with = "alloy::serde::quantity::opt")]
    status: Option<u64>,
    contract_address: Option<Address>,
}

#[derive(Debug, Deserialize)]
struct RawTransaction {
    from: Address,
    input: Bytes,
}

impl Chain {
    /// Tries a transaction without sending it, on the state that it would meet now. Gives the gas to
    /// send it with, or why it would fail.
    ///
    /// # Errors
    /// No answer, no key. A call that would fail is no error here.
    pub async fn dry_run(&self, call: &Call) -> Result<Result<u64, String>, ChainError> {
        let request = call.request(self.address()?);
        let pending = BlockId::Number(BlockNumberOrTag::Pending);
        // The call first: nodes explain its reverts better than those of an estimate.
        if let Err(error) = self.provider().call(request.clone()).block(pending).await {
            return would_fail(error);
        }
        let estimate = match self.provider().estimate_gas(request).block(pending).await {
            Ok(estimate) => estimate,
            Err(error) => return would_fail(error),
        };
        let generous = estimate.saturating_add(estimate / 4).saturating_add(GAS_MARGIN);
        Ok(Ok(generous.min(TX_GAS_MAX.max(estimate))))
    }

    /// Prices for a transaction that shall be mined soon: room for the base fee to double.
    pub(super) async fn fees(&self, cap_wei: u128) -> Result<Fees, ChainError> {
        let base_fee_wei = self.head().await?.base_fee_wei;
        let tip_wei = match self.provider().get_max_priority_fee_per_gas().await {
            Ok(tip_wei) => tip_wei,
            Err(error) if is_transient(&error) => return Err(error.into()),
            Err(_) => DEFAULT_TIP_WEI,
        };
        if base_fee_wei >= cap_wei {
            return Err(ChainError::FeeCap { base_fee_wei, cap_wei });
        }
        let max_fee_wei = base_fee_wei.saturating_mul(2).saturating_add(tip_wei).min(cap_wei);
        Ok(Fees { max_fee_wei, tip_wei: tip_wei.min(max_fee_wei) })
    }

    pub(super) fn sign(
        &self,
        call: &Call,
        nonce: u64,
        gas_limit: u64,
        fees: Fees,
    ) -> Result<Attempt, ChainError> {
        let mut tx = TxEip1559 {
            chain_id: self.chain_id(),
            nonce,
            gas_limit,
            max_fee_per_gas: fees.max_fee_wei,
            max_priority_fee_per_gas: fees.tip_wei,
            to: call.kind(),
            value: call.value_wei,
            input: call.data.clone(),
            ..TxEip1559::default()
        };
        let signature = self.signer()?.sign_transaction_sync(&mut tx)?;
        let signed = TxEnvelope::from(tx.into_signed(signature));
        let Fees { max_fee_wei, tip_wei } = fees;
        let raw = signed.encoded_2718().into();
        Ok(Attempt { hash: *signed.tx_hash(), raw, max_fee_wei, tip_wei })
    }

    pub(super) async fn broadcast(&self, raw: &Bytes) -> Broadcast {
        let params = (hex::encode_prefixed(raw),);
        let sent: Result<B256, TransportError> =
            self.provider().raw_request("eth_sendRawTransaction".into(), params).await;
        match sent {
            Ok(_) => Broadcast::Accepted,
            Err(error) => classify(error),
        }
    }

    /// How many transactions of this key the chain has (`pending`: and those that the node holds).
    pub(super) async fn nonce(&self, pending: bool) -> Result<u64, ChainError> {
        let tag = if pending { BlockNumberOrTag::Pending } else { BlockNumberOrTag::Latest };
        let address = self.address()?;
        let count = self.provider().get_transaction_count(address);
        Ok(count.block_id(BlockId::Number(tag)).await?)
    }

    /// Where and how a transaction was mined; `None` if it isn't.
    ///
    /// # Errors
    /// No answer.
    pub async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        let raw: Option<RawReceipt> =
            self.provider().raw_request("eth_getTransactionReceipt".into(), (hash,)).await?;
        Ok(raw.and_then(|raw| {
            Some(Receipt {
                hash: raw.transaction_hash,
                block: raw.block_number?,
                block_hash: raw.block_hash?,
                gas_used: raw.gas_used,
                success: raw.status? == 1,
                created: raw.contract_address,
            })
        }))
    }

    /// What a mined transaction cost, whoever sent it; `None` if it isn't mined.
    ///
    /// # Errors
    /// No answer.
    pub async fn tx_costs(&self, hash: B256) -> Result<Option<TxCosts>, ChainError> {
        let Some(receipt) = self.receipt(hash).await? else { return Ok(None) };
        let tx: Option<RawTransaction> =
            self.provider().raw_request("eth_getTransactionByHash".into(), (hash,)).await?;
        Ok(tx.map(|tx| TxCosts {
            hash,
            from: tx.from,
            gas_used: receipt.gas_used,
            calldata_bytes: tx.input.len() as u64,
        }))
    }

    /// Sends one transaction and waits until it is mined. For commands that a person runs; a process
    /// that must survive a crash uses a [`Sender`](super::Sender).
    ///
    /// # Errors
    /// Transactions that would fail or did; ones that aren't mined in time.
    pub async fn transact(&self, call: &Call) -> Result<Receipt, ChainError> {
        let gas_limit =
            self.dry_run(call).await?.map_err(|reason| ChainError::Refused { reason })?;
        let fees = self.fees(DEFAULT_FEE_CAP_WEI).await?;
        let attempt = self.sign(call, self.nonce(true).await?, gas_limit, fees)?;
        match self.broadcast(&attempt.raw).await {
            Broadcast::Accepted => self.wait(attempt.hash).await,
            // The answer may have been lost after the transaction was taken.
            Broadcast::Unreachable(error) => match self.receipt(attempt.hash).await {
                Ok(Some(receipt)) => succeeded(receipt),
                _ => Err(error.into()),
            },
            Broadcast::Refused(reason) => Err(ChainError::Refused { reason }),
            Broadcast::NonceTooLow | Broadcast::Underpriced => Err(ChainError::Refused {
                reason: "another transaction took its nonce: try again".to_owned(),
            }),
        }
    }

    /// Broadcasts a transaction that is signed already, and waits until it is mined.
    ///
    /// # Errors
    /// Transactions that the node refuses or that fail; ones that aren't mined in time.
    pub(crate) async fn send_raw(&self, raw: &Bytes) -> Result<Receipt, ChainError> {
        match self.broadcast(raw).await {
            Broadcast::Accepted => self.wait(keccak256(raw)).await,
            Broadcast::Unreachable(error) => Err(error.into()),
            Broadcast::Refused(reason) => Err(ChainError::Refused { reason }),
            Broadcast::NonceTooLow | Broadcast::Underpriced => {
                Err(ChainError::Refused { reason: "its nonce is used up".to_owned() })
            }
        }
    }

    async fn wait(&self, hash: B256) -> Result<Receipt, ChainError> {
        let polls = u128::from(RECEIPT_WAIT_S) * 1000 / RECEIPT_POLL.as_millis();
        for _ in 0..polls {
            if let Some(receipt) = self.receipt(hash).await? {
                return succeeded(receipt);
            }
            tokio::time::sleep(RECEIPT_POLL).await;
        }
        Err(ChainError::NotMined { hash, waited_s: RECEIPT_WAIT_S })
    }
}

fn succeeded(receipt: Receipt) -> Result<Receipt, ChainError> {
    if receipt.success { Ok(receipt) } else { Err(ChainError::Failed { hash: receipt.hash }) }
}

/// A node's limits or silence say nothing about the call: those stay errors.
fn would_fail(error: TransportError) -> Result<Result<u64, String>, ChainError> {
    match error.as_error_resp().and_then(execution_failure) {
        Some(reason) => Ok(Err(reason)),
        None => Err(ChainError::Rpc(Box::new(error))),
    }
}

/// Nodes agree on few words. What none of these match is a refusal only if the node says clearly that
/// it understood the request.
fn classify(error: TransportError) -> Broadcast {
    let Some(response) = error.as_error_resp() else { return Broadcast::Unreachable(error) };
    let message = response.message.to_lowercase();
    let has = |signs: &[&str]| signs.iter().any(|sign| message.contains(sign));
    if has(&["already known", "known transaction", "already imported", "already in pool"]) {
        return Broadcast::Accepted;
    }
    if has(&["nonce too low", "nonce is too low", "old nonce", "oldnonce", "nonce has already"]) {
        return Broadcast::NonceTooLow;
    }
    if has(&["replacement"]) {
        return Broadcast::Underpriced;
    }
    // A gap before it, or a full pool, may close.
    if has(&["nonce too high", "nonce gap", "txpool is full", "pool is full"]) {
        return Broadcast::Unreachable(error);
    }
    if is_transient(&error) {
        return Broadcast::Unreachable(error);
    }
    let reason = execution_failure(response).unwrap_or_else(|| response.message.to_string());
    Broadcast::Refused(reason)
}
