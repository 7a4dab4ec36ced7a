//! What an agent gets out of the settlement: rewards, reimbursements, bonds, and in the end coins.

use super::{Agent, AgentError};
use crate::store::Dispute;
use alloy::primitives::{Address, B256, U256};
use refute_contracts::bindings::IInferenceSettlement as Settlement;

/// Disputes that one `settleReward` walks over: about a quarter of a million gas at most.
const WALK_PAGE: u32 = 16;
/// Blocks after which what was seen on the chain is taken to stay.
const SURE_BLOCKS: u64 = 64;

impl Agent {
    /// Collects what the contract holds for a dispute of a rejected claim: the claim's reward and reimbursements, a page of
    /// disputes at a time, and the dispute's bond. Whoever else pays for the walk spares this agent's gas; all calls are
    /// idempotent on chain, and named here.
    ///
    /// # Errors
    /// The chain, the database.
    pub async fn collect(&self, dispute: &Dispute) -> Result<(), AgentError> {
        let (id, claim_id) = (dispute.dispute, dispute.claim_id);
        let settlement = self.chain.settlement()?;
        if !self.is_seen("rewarded", claim_id, self.is_rewarded(claim_id)).await? {
            self.walk(claim_id).await?;
        }
        let is_settled = async { Ok(settlement.bondOf(id).call().await?.settled) };
        if !self.is_seen("refunded", id, is_settled).await? {
            let call = Settlement::refundCall { dispute: id };
            self.settle(&format!("refund:{id}"), &call, U256::ZERO).await?;
        }
        Ok(())
    }

    async fn is_rewarded(&self, claim_id: B256) -> Result<bool, AgentError> {
        Ok(self.chain.settlement()?.claimOf(claim_id).call().await?.rewarded)
    }

    /// Whether something has happened on chain. Seen once is not yet for ever, because the chain may reorganize: it is looked
    /// at again until it was seen some blocks ago.
    async fn is_seen(
        &self,
        kind: &str,
        id: B256,
        look: impl Future<Output = Result<bool, AgentError>>,
    ) -> Result<bool, AgentError> {
        let head = self.store.cursor()?.map_or(0, |cursor| cursor.number);
        let seen: Option<u64> = self.store.job(kind, id)?;
        if seen.is_some_and(|block| head >= block.saturating_add(SURE_BLOCKS)) {
            return Ok(true);
        }
        let now = look.await?;
        match (seen, now) {
            (None, true) => self.store.put_job(kind, id, &head)?,
            (Some(_), false) => self.store.delete_job(kind, id)?,
            _ => {}
        }
        Ok(now)
    }

    /// The next page of a walk over the disputes of a rejected claim.
    async fn walk(&self, claim_id: B256) -> Result<(), AgentError> {
        let pages = (self.store.disputes_of(claim_id)?.len() as u32).div_ceil(WALK_PAGE);
        // One more than needed if somebody else walks too; the walk ends by itself.
        for page in 0..=pages {
            let name = format!("reward:{claim_id}:{page}");
            let call = Settlement::settleRewardCall { claimId: claim_id, limit: WALK_PAGE };
            if !self.settle(&name, &call, U256::ZERO).await? {
                return Ok(());
            }
            if self.is_rewarded(claim_id).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Withdraws what the settlement owes `payee`.
    ///
    /// # Errors
    /// The chain, the database.
    pub async fn withdraw(&self, payee: Address) -> Result<U256, AgentError> {
        let pending = self.store.pending_transactions()?;
        if pending.iter().any(|tx| tx.key.starts_with("withdraw:")) {
            return Ok(U256::ZERO);
        }
        let owed = self.chain.withdrawable(payee).await?;
        if owed.is_zero() {
            return Ok(U256::ZERO);
        }
        let head = self.chain.head().await?;
        let name = format!("withdraw:{payee}:{}", head.number);
        tracing::info!(%payee, wei = %owed, "withdrawing");
        self.settle(&name, &Settlement::withdrawCall { payee }, U256::ZERO).await?;
        Ok(owed)
    }
}
