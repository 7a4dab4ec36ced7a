//! What a sender does about transactions that don't get mined by themselves.

use super::{Broadcast, Call, ChainError, Sender, State, TickReport, Transaction};
use super::{content, unix_s};
use crate::chain::Head;

/// Signed versions of one transaction.
const ATTEMPTS_MAX: usize = 24;
/// Blocks below the head in which a mined transaction is looked at again after every new block.
const REORG_BLOCKS: u64 = 64;
/// Missing nonces that are filled at once.
const GAP_MAX: u64 = 16;
/// Gas of a transfer that does nothing.
const TRANSFER_GAS: u64 = 21_000;

impl Sender {
    /// Looks after everything that was sent: receipts, fees, nonces, and blocks that are gone.
    ///
    /// # Errors
    /// No answer. Whatever was found until then is in the store.
    pub async fn tick(&self) -> Result<TickReport, ChainError> {
        let mut state = self.state.lock().await;
        let mut report = TickReport::default();
        let head = self.chain.head().await?;
        self.recheck(&mut state, &head).await?;
        let pending = self.store.pending_transactions()?;
        if pending.is_empty() {
            return Ok(report);
        }
        let used = self.chain.nonce(false).await?;
        for tx in &pending {
            self.look_after(&state, tx, used, &mut report).await?;
        }
        state.resent = true;
        let pending = self.store.pending_transactions()?;
        report.pending = pending.len();
        if let Some(lowest) = pending.first() {
            self.fill_gap(lowest, used).await?;
        }
        Ok(report)
    }

    /// A block that held a transaction may be gone: then it is pending again.
    async fn recheck(&self, state: &mut State, head: &Head) -> Result<(), ChainError> {
        if state.checked == Some(head.hash) {
            return Ok(());
        }
        let from = head.number.saturating_sub(REORG_BLOCKS);
        let mined = |tx: Transaction| tx.mined.map(|mined| (mined, tx.key));
        let mut found: Vec<_> =
            self.store.mined_transactions(from)?.into_iter().filter_map(mined).collect();
        found.sort_by_key(|(mined, _)| std::cmp::Reverse(mined.block));
        for (mined, key) in found {
            let block = self.chain.header(mined.block).await?;
            if block.is_some_and(|block| block.hash == mined.block_hash) {
                // What is below a block of the chain is on the chain too.
                break;
            }
            tracing::warn!(tx = key, block = mined.block, "its block is gone: pending again");
            self.store.set_mined(&key, None)?;
        }
        state.checked = Some(head.hash);
        Ok(())
    }

    async fn look_after(
        &self,
        state: &State,
        tx: &Transaction,
        used: u64,
        report: &mut TickReport,
    ) -> Result<(), ChainError> {
        if let Some(mined) = self.find_receipt(tx).await? {
            self.note_mined(tx, &mined)?;
            report.mined.push((tx.key.clone(), mined));
            return Ok(());
        }
        if used > tx.nonce {
            return self.lost(tx, report).await;
        }
        let now = unix_s();
        if is_due(now, Some(tx.signed_at_s), self.config.bump_after_s) {
            return self.bump(tx, report).await;
        }
        if !state.resent || is_due(now, tx.sent_at_s, self.config.resend_after_s) {
            self.resend(tx).await?;
        }
        Ok(())
    }

    async fn resend(&self, tx: &Transaction) -> Result<(), ChainError> {
        if let Some(newest) = self.store.attempts(&tx.key)?.pop() {
            let answer = self.broadcast(tx, &newest).await?;
            tracing::debug!(tx = tx.key, hash = %newest.hash, ?answer, "broadcast again");
        }
        Ok(())
    }

    /// The same transaction with the same nonce for more money.
    async fn bump(&self, tx: &Transaction, report: &mut TickReport) -> Result<(), ChainError> {
        if self.store.attempts(&tx.key)?.len() >= ATTEMPTS_MAX {
            return self.resend(tx).await;
        }
        let fees = match self.raised(&tx.key).await {
            Ok(fees) => fees,
            Err(error @ ChainError::FeeCap { .. }) => {
                tracing::warn!(tx = tx.key, %error, "not mined, and its fee can't be raised");
                return self.resend(tx).await;
            }
            Err(error) => return Err(error),
        };
        let next = Transaction { signed_at_s: unix_s(), ..tx.clone() };
        let answer = self.write_and_broadcast(&next, &content(tx), fees).await?;
        tracing::debug!(tx = tx.key, ?answer, "fee raised");
        report.bumped.push(tx.key.clone());
        Ok(())
    }

    /// Its nonce is used, and none of its versions has a receipt. The node may be behind itself, so
    /// this has to stay so for a while; then somebody else used the key, and it gets another nonce.
    async fn lost(&self, tx: &Transaction, report: &mut TickReport) -> Result<(), ChainError> {
        if !self.is_stuck(tx)? {
            return Ok(());
        }
        let call = content(tx);
        let gas_limit = match self.chain.dry_run(&call).await? {
            Ok(gas_limit) => gas_limit,
            Err(reason) => {
                tracing::warn!(tx = tx.key, reason, "lost its nonce, and would fail now");
                self.store.delete_transaction(&tx.key)?;
                report.failed.push((tx.key.clone(), reason));
                return Ok(());
            }
        };
        let nonce = self.next_nonce().await?;
        tracing::warn!(tx = tx.key, lost = tx.nonce, nonce, "another transaction took its nonce");
        let fees = self.chain.fees(self.config.fee_cap_wei).await?;
        let next = self.transaction(&tx.key, &call, nonce, gas_limit);
        self.write_and_broadcast(&next, &call, fees).await?;
        Ok(())
    }

    /// Nonces below the lowest pending one that nothing will use: the node holds nothing for them,
    /// and has not for a while. A transfer of nothing to oneself takes each.
    async fn fill_gap(&self, lowest: &Transaction, used: u64) -> Result<(), ChainError> {
        let held = self.chain.nonce(true).await?;
        if lowest.nonce <= used || held > used {
            return Ok(());
        }
        if !self.is_stuck(lowest)? {
            return Ok(());
        }
        let fees = self.chain.fees(self.config.fee_cap_wei).await?;
        let nothing = Call::new(self.chain.address()?, Vec::new());
        for nonce in (used..lowest.nonce).take(GAP_MAX as usize) {
            tracing::warn!(nonce, "filling a gap of nonces");
            let tx = self.transaction(&format!("gap:{nonce}"), &nothing, nonce, TRANSFER_GAS);
            if let Broadcast::Unreachable(error) =
                self.write_and_broadcast(&tx, &nothing, fees).await?
            {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Starts a timer at the first call, and says whether it has run out.
    fn is_stuck(&self, tx: &Transaction) -> Result<bool, ChainError> {
        let now = unix_s();
        let Some(since) = tx.lost_since_s else {
            self.store.set_progress(&tx.key, tx.sent_at_s, Some(now))?;
            return Ok(self.config.bump_after_s == 0);
        };
        Ok(is_due(now, Some(since), self.config.bump_after_s))
    }
}

/// Whether something is `after_s` old; what never happened is due at once.
fn is_due(now_s: u64, since_s: Option<u64>, after_s: u64) -> bool {
    since_s.is_none_or(|since_s| now_s.saturating_sub(since_s) >= after_s)
}
