//! Gets transactions mined, each exactly once, through crashes, reorganizations, silent nodes and
//! rising fees.
//!
//! A transaction has a name. It is tried first, then signed, written down, and only then broadcast:
//! whatever happens afterwards, the signed bytes are known, and broadcasting them again is harmless.
//! [`Sender::tick`] looks for receipts, broadcasts again, raises fees, and repairs nonces; call it in
//! every round of a process, and once after its start.

mod repair;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use alloy::primitives::{Address, B256, Bytes, U256};
use tokio::sync::Mutex;

use super::tx::{Broadcast, DEFAULT_FEE_CAP_WEI, Fees};
use super::{Call, Chain, ChainError};
use crate::store::{Attempt, Mined, Store, Transaction};

/// Nonces that are tried when others use the same key.
const NONCE_TRIES: u64 = 4;
/// Times that a reverted transaction is sent again under its name, if it would succeed now.
const REVERT_RETRIES_MAX: u64 = 2;
/// How often [`Sender::submit_and_wait`] looks.
const WAIT_POLL: Duration = Duration::from_millis(200);

/// How hard a sender tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderConfig {
    /// Raise the fee of what isn't mined after this many seconds.
    pub bump_after_s: u64,
    /// Broadcast again after this many seconds.
    pub resend_after_s: u64,
    /// Never pay more wei per gas.
    pub fee_cap_wei: u128,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self { bump_after_s: 45, resend_after_s: 15, fee_cap_wei: DEFAULT_FEE_CAP_WEI }
    }
}

/// Where a transaction stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Written down, not mined yet.
    Pending {
        /// Hash of its newest version.
        hash: B256,
    },
    /// In a block; see [`Mined::success`].
    Mined(Mined),
    /// It would fail, or the node refused it: nothing was sent, no gas and no nonce is spent.
    Failed {
        /// The contract's typed error, or the node's words.
        reason: String,
    },
}

/// What one call of [`Sender::tick`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TickReport {
    /// Names of transactions that were found mined.
    pub mined: Vec<(String, Mined)>,
    /// Names of transactions that lost their nonce and would fail now, and why; they are forgotten.
    pub failed: Vec<(String, String)>,
    /// Names of transactions whose fee was raised.
    pub bumped: Vec<String>,
    /// How many are still not mined.
    pub pending: usize,
}

/// The transaction manager of one key; cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Sender {
    chain: Chain,
    store: Store,
    config: SenderConfig,
    /// One decision about nonces at a time.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether everything pending was broadcast since the start.
    resent: bool,
    /// The head at which mined transactions were last looked at again.
    checked: Option<B256>,
}

impl Sender {
    /// A sender for the chain's key. The store must be bound to the same key.
    pub fn new(chain: Chain, store: Store, config: SenderConfig) -> Self {
        Self { chain, store, config, state: Arc::default() }
    }

    /// Sends a transaction unless one of this name is on its way already. Asking again is harmless,
    /// and is how a caller follows up.
    ///
    /// A name stands for one intention. While it isn't mined, other content under the same name
    /// replaces it with the same nonce (after a reorganization the same move may need other bytes).
    /// Mined and reverted, it is sent again if it would succeed now, a few times.
    ///
    /// # Errors
    /// No answer before anything was written down; a name that is mined with other content.
    pub async fn submit(
        &self,
        key: &str,
        to: Address,
        data: impl Into<Bytes>,
        value_wei: U256,
    ) -> Result<Outcome, ChainError> {
        let call = Call::new(to, data).with_value(value_wei);
        let _turn = self.state.lock().await;
        let Some(tx) = self.store.transaction(key)? else {
            return self.send_new(key, &call).await;
        };
        let tx = self.refresh(tx).await?;
        let same = content(&tx) == call;
        match tx.mined {
            None if same => self.pending(key),
            None => self.replace(&tx, &call).await,
            Some(mined) if mined.success && same => Ok(Outcome::Mined(mined)),
            Some(mined) if mined.success => Err(ChainError::KeyReused { key: key.to_owned() }),
            Some(mined) => self.send_reverted(&tx, mined, &call).await,
        }
    }

    /// [`Sender::submit`], then [`Sender::tick`] until it is mined or the time is over.
    ///
    /// # Errors
    /// Those of both.
    pub async fn submit_and_wait(
        &self,
        key: &str,
        call: &Call,
        wait: Duration,
    ) -> Result<Outcome, ChainError> {
        let to = call.to.unwrap_or_default();
        let mut outcome = self.submit(key, to, call.data.clone(), call.value_wei).await?;
        let polls = wait.as_millis() / WAIT_POLL.as_millis();
        for _ in 0..polls {
            let Outcome::Pending { .. } = outcome else { break };
            tokio::time::sleep(WAIT_POLL).await;
            let report = self.tick().await?;
            if let Some((_, reason)) = report.failed.into_iter().find(|(failed, _)| failed == key) {
                return Ok(Outcome::Failed { reason });
            }
            outcome = self.outcome(key)?.unwrap_or(outcome);
        }
        Ok(outcome)
    }

    /// Where a transaction stands, as far as the store knows; `None` if there is none of this name.
    ///
    /// # Errors
    /// Failures of the store.
    pub fn outcome(&self, key: &str) -> Result<Option<Outcome>, ChainError> {
        match self.store.transaction(key)? {
            None => Ok(None),
            Some(Transaction { mined: Some(mined), .. }) => Ok(Some(Outcome::Mined(mined))),
            Some(_) => self.pending(key).map(Some),
        }
    }

    fn pending(&self, key: &str) -> Result<Outcome, ChainError> {
        let newest = self.store.attempts(key)?.pop();
        Ok(Outcome::Pending { hash: newest.map(|attempt| attempt.hash).unwrap_or_default() })
    }

    async fn send_new(&self, key: &str, call: &Call) -> Result<Outcome, ChainError> {
        let gas_limit = match self.chain.dry_run(call).await? {
            Ok(gas_limit) => gas_limit,
            Err(reason) => return Ok(failed(key, reason)),
        };
        let fees = self.chain.fees(self.config.fee_cap_wei).await?;
        let mut nonce = self.next_nonce().await?;
        for _ in 0..NONCE_TRIES {
            let tx = self.transaction(key, call, nonce, gas_limit);
            match self.write_and_broadcast(&tx, call, fees).await? {
                Broadcast::Accepted => return self.after_broadcast(key).await,
                // Sent before a silence, perhaps: only a nonce that somebody else used is free to leave.
                Broadcast::NonceTooLow | Broadcast::Underpriced => {
                    if self.find_receipt(&tx).await?.is_some() {
                        return self.after_broadcast(key).await;
                    }
                    self.store.delete_transaction(key)?;
                    nonce = self.next_nonce().await?.max(nonce.saturating_add(1));
                }
                Broadcast::Refused(reason) => {
                    self.store.delete_transaction(key)?;
                    return Ok(failed(key, reason));
                }
                Broadcast::Unreachable(error) => {
                    tracing::warn!(tx = key, %error, "written down, not broadcast yet");
                    return self.pending(key);
                }
            }
        }
        Ok(failed(key, format!("nonces up to {nonce} are taken by others that use this key")))
    }

    /// A reverted transaction may succeed now: the state has changed since, or its content has.
    async fn send_reverted(
        &self,
        tx: &Transaction,
        mined: Mined,
        call: &Call,
    ) -> Result<Outcome, ChainError> {
        let before = self.store.costs(&format!("{}#", tx.key))?.transactions;
        if before >= REVERT_RETRIES_MAX {
            return Ok(Outcome::Mined(mined));
        }
        if let Err(reason) = self.chain.dry_run(call).await? {
            tracing::warn!(tx = tx.key, hash = %mined.hash, reason, "reverted, and would again");
            return Ok(Outcome::Mined(mined));
        }
        self.store.archive_transaction(tx)?;
        self.send_new(&tx.key, call).await
    }

    /// Other content with the same nonce, at a price that nodes take for a replacement.
    async fn replace(&self, tx: &Transaction, call: &Call) -> Result<Outcome, ChainError> {
        let gas_limit = match self.chain.dry_run(call).await? {
            Ok(gas_limit) => gas_limit,
            Err(reason) => return Ok(failed(&tx.key, reason)),
        };
        let fees = self.raised(&tx.key).await?;
        let tx = self.transaction(&tx.key, call, tx.nonce, gas_limit);
        match self.write_and_broadcast(&tx, call, fees).await? {
            Broadcast::Accepted => self.after_broadcast(&tx.key).await,
            // It is written down: the next ticks sort it out.
            other => {
                tracing::debug!(tx = tx.key, ?other, "replacement not taken yet");
                self.pending(&tx.key)
            }
        }
    }

    fn transaction(&self, key: &str, call: &Call, nonce: u64, gas_limit: u64) -> Transaction {
        Transaction {
            key: key.to_owned(),
            nonce,
            to: call.to.unwrap_or_default(),
            data: call.data.clone(),
            value_wei: call.value_wei,
            gas_limit,
            signed_at_s: unix_s(),
            sent_at_s: None,
            lost_since_s: None,
            mined: None,
        }
    }

    /// The order that everything here rests on: sign, write, broadcast.
    async fn write_and_broadcast(
        &self,
        tx: &Transaction,
        call: &Call,
        fees: Fees,
    ) -> Result<Broadcast, ChainError> {
        let attempt = self.chain.sign(call, tx.nonce, tx.gas_limit, fees)?;
        self.store.put_transaction(tx, &attempt)?;
        let answer = self.broadcast(tx, &attempt).await?;
        tracing::info!(
            tx = tx.key,
            nonce = tx.nonce,
            hash = %attempt.hash,
            gas_limit = tx.gas_limit,
            max_fee_wei = attempt.max_fee_wei,
            accepted = matches!(answer, Broadcast::Accepted),
            "transaction sent"
        );
        Ok(answer)
    }

    async fn broadcast(
        &self,
        tx: &Transaction,
        attempt: &Attempt,
    ) -> Result<Broadcast, ChainError> {
        let answer = self.chain.broadcast(&attempt.raw).await;
        if let Broadcast::Accepted = answer {
            self.store.set_progress(&tx.key, Some(unix_s()), None)?;
        }
        Ok(answer)
    }

    /// A chain that mines at once has the receipt already.
    async fn after_broadcast(&self, key: &str) -> Result<Outcome, ChainError> {
        if let Some(tx) = self.store.transaction(key)? {
            // Not knowing is no reason to fail: it is on its way.
            if let Err(error) = self.refresh(tx).await {
                tracing::debug!(tx = key, %error, "no receipt yet");
            }
        }
        Ok(self.outcome(key)?.unwrap_or(Outcome::Pending { hash: B256::ZERO }))
    }

    /// Looks for the receipt of a pending transaction.
    async fn refresh(&self, mut tx: Transaction) -> Result<Transaction, ChainError> {
        if tx.mined.is_none()
            && let Some(mined) = self.find_receipt(&tx).await?
        {
            self.note_mined(&tx, &mined)?;
            tx.mined = Some(mined);
        }
        Ok(tx)
    }

    /// Any version of it may have been mined; the newest most likely.
    async fn find_receipt(&self, tx: &Transaction) -> Result<Option<Mined>, ChainError> {
        for attempt in self.store.attempts(&tx.key)?.iter().rev() {
            if let Some(receipt) = self.chain.receipt(attempt.hash).await? {
                return Ok(Some(Mined {
                    hash: receipt.hash,
                    block: receipt.block,
                    block_hash: receipt.block_hash,
                    gas_used: receipt.gas_used,
                    success: receipt.success,
                }));
            }
        }
        Ok(None)
    }

    fn note_mined(&self, tx: &Transaction, mined: &Mined) -> Result<(), ChainError> {
        self.store.set_mined(&tx.key, Some(mined))?;
        let Mined { hash, block, gas_used, success, .. } = mined;
        if *success {
            tracing::info!(tx = tx.key, %hash, block, gas_used, "transaction mined");
        } else {
            tracing::warn!(tx = tx.key, %hash, block, gas_used, "transaction reverted");
        }
        Ok(())
    }

    /// After everything that the node holds and that the store knows.
    async fn next_nonce(&self) -> Result<u64, ChainError> {
        let on_chain = self.chain.nonce(true).await?;
        let known = self.store.highest_nonce()?.map_or(0, |nonce| nonce.saturating_add(1));
        Ok(on_chain.max(known))
    }

    /// Fees that nodes take for a replacement: at least an eighth more than before.
    async fn raised(&self, key: &str) -> Result<Fees, ChainError> {
        let now = self.chain.fees(self.config.fee_cap_wei).await?;
        let Some(last) = self.store.attempts(key)?.pop() else { return Ok(now) };
        let more = |wei: u128| wei.saturating_add(wei / 8).saturating_add(1);
        let max_fee_wei = now.max_fee_wei.max(more(last.max_fee_wei));
        if max_fee_wei > self.config.fee_cap_wei {
            let (base_fee_wei, cap_wei) = (last.max_fee_wei, self.config.fee_cap_wei);
            return Err(ChainError::FeeCap { base_fee_wei, cap_wei });
        }
        Ok(Fees { max_fee_wei, tip_wei: now.tip_wei.max(more(last.tip_wei)).min(max_fee_wei) })
    }
}

fn content(tx: &Transaction) -> Call {
    Call { to: Some(tx.to), data: tx.data.clone(), value_wei: tx.value_wei }
}

fn failed(key: &str, reason: String) -> Outcome {
    tracing::warn!(tx = key, reason, "transaction not sent");
    Outcome::Failed { reason }
}

/// This machine's clock, for how long something has been waiting; never for the game.
fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs())
}
