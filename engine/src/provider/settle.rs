//! What a provider does about claims and requests that are done: finality, deliveries, and requests that nobody answered.

use super::{Provider, ProviderError, packed};
use crate::agent::AgentError;
use crate::chain::Call;
use crate::store::Request;
use alloy::primitives::{B256, U256, keccak256};
use alloy::sol_types::SolCall;
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Claims that one transaction finalizes at most: two million gas.
const FINALIZED_MAX: usize = 64;
/// Tries of a delivery that fails before this provider leaves it to others.
const DELIVERIES_MAX: u32 = 5;
/// Blocks between the first try and the second; twice as many after every further one.
const DELIVERY_PAUSE_BLOCKS: u64 = 8;

/// Where a delivery that fails stands.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Tries {
    failed: u32,
    next_block: u64,
}

impl Provider {
    /// Finalizes its claims whose window has ended, all that are due in one transaction. Which claims go together is written
    /// down before it is sent; what a transaction left pending, because a dispute came first, is part of a later one.
    pub(super) async fn finalize(&self, now_s: u64) -> Result<(), ProviderError> {
        let (store, me) = (&self.agent.store, self.agent.address());
        let own = store.finalizable_claims(now_s)?.into_iter().filter(|c| c.provider == me);
        let due: BTreeSet<B256> = own.map(|c| c.claim_id).collect();
        let block = store.cursor()?.map_or(0, |cursor| cursor.number);
        let known: BTreeMap<B256, B256> = store.jobs("finalize")?.into_iter().collect();
        let fresh: Vec<B256> = due.iter().filter(|id| !known.contains_key(*id)).copied().collect();
        for ids in fresh.chunks(FINALIZED_MAX) {
            let batch = keccak256([&block.to_be_bytes(), ids.concat().as_slice()].concat());
            for id in ids {
                store.put_job("finalize", *id, &batch)?;
            }
        }
        let mut batches: BTreeMap<B256, Vec<B256>> = BTreeMap::new();
        for (id, batch) in store.jobs("finalize")? {
            batches.entry(batch).or_default().push(id);
        }
        for (batch, ids) in batches {
            let name = format!("finalize:{batch}");
            let mined = store.transaction(&name)?.and_then(|tx| tx.mined);
            // Its events are read too: what it could decide is decided.
            let is_over = mined.is_some_and(|mined| mined.block <= block)
                || ids.iter().all(|id| !due.contains(id));
            if is_over {
                for id in ids {
                    store.delete_job("finalize", id)?;
                }
            } else if let [id] = ids[..] {
                let call = Settlement::finalizeCall { claimId: id };
                self.agent.settle(&name, &call, U256::ZERO).await?;
            } else {
                let call = Settlement::finalizeManyCall { claimIds: ids };
                self.agent.settle(&name, &call, U256::ZERO).await?;
            }
        }
        Ok(())
    }

    /// Tells the callbacks of its final claims. A callback is a stranger's code: one that fails is tried a few times, ever more
    /// rarely, and costs nothing as long as it fails before it is sent.
    pub(super) async fn deliver(&self) -> Result<(), ProviderError> {
        let (store, me) = (&self.agent.store, self.agent.address());
        let undelivered = store.undelivered_requests(me)?;
        if undelivered.is_empty() {
            return Ok(());
        }
        let block = self.agent.chain.head().await.map_err(AgentError::from)?.number;
        for request in undelivered {
            let id = request.request_id;
            let tries: Tries = store.job("deliver", id)?.unwrap_or_default();
            let over = tries.failed >= DELIVERIES_MAX || block < tries.next_block;
            if over || request.callback_gas > self.policy.max_callback_gas {
                continue;
            }
            if let Some(reason) = self.try_delivery(&request).await? {
                let pause = DELIVERY_PAUSE_BLOCKS << tries.failed;
                let failed = tries.failed + 1;
                let next = Tries { failed, next_block: block.saturating_add(pause) };
                store.put_job("deliver", id, &next)?;
                let left = DELIVERIES_MAX - failed;
                tracing::warn!(request = %id, reason, left, "the callback doesn't take its answer");
            }
        }
        Ok(())
    }

    /// Sends a delivery, or follows one up; gives the reason if it would fail.
    async fn try_delivery(&self, request: &Request) -> Result<Option<String>, ProviderError> {
        let (agent, id) = (&self.agent, request.request_id);
        let Some(claim_id) = request.claim_id else { return Ok(None) };
        let Some(claim) = agent.store.claim(claim_id)? else { return Ok(None) };
        let call = Settlement::deliverCall { requestId: id, output: packed(&claim.output) };
        let name = format!("deliver:{id}");
        match agent.store.transaction(&name)? {
            // The event is on its way.
            Some(tx) if tx.mined.is_some_and(|mined| mined.success) => return Ok(None),
            // It would have worked, and didn't: the callback has paid nothing for that, this provider has.
            Some(tx) if tx.mined.is_some() => return Ok(Some("it failed on chain".to_owned())),
            Some(_) => {}
            None => {
                let settlement = agent.chain.deployment().map_err(AgentError::from)?.settlement;
                let tried = agent.chain.dry_run(&Call::new(settlement, call.abi_encode())).await;
                if let Err(reason) = tried.map_err(AgentError::from)? {
                    return Ok(Some(reason));
                }
                tracing::info!(request = %id, gas = request.callback_gas, "delivering");
            }
        }
        agent.settle(&name, &call, U256::ZERO).await?;
        Ok(None)
    }

    /// Gets the rest of its bond back where it missed its time, and frees requests that others missed and it can serve.
    pub(super) async fn release(&self, now_s: u64) -> Result<(), ProviderError> {
        for request in self.agent.store.missed_requests(now_s)? {
            let own = request.provider == Some(self.agent.address());
            let wanted = self.agent.model(request.model_id).is_some()
                && self.policy.allows(&request).is_ok()
                && self.has_room()?;
            if own || wanted {
                let round = self.round(&request)?;
                let name = format!("release:{}:{round}", request.request_id);
                let call = Settlement::releaseCall { requestId: request.request_id };
                self.agent.settle(&name, &call, U256::ZERO).await?;
            }
        }
        Ok(())
    }

    /// Frees the runs of claims that are settled.
    pub(super) fn forget_settled(&self) -> Result<(), ProviderError> {
        let (store, me) = (&self.agent.store, self.agent.address());
        let pending: std::collections::HashSet<B256> = store
            .pending_claims(Some(me))?
            .into_iter()
            .map(|c| c.request_id)
            .chain(store.accepted_requests(me)?.into_iter().map(|r| r.request_id))
            .collect();
        for id in self.agent.seats() {
            let request = store.request(id)?;
            let open = request.is_some_and(|r| r.claim_id.is_none());
            if !open && !pending.contains(&id) {
                self.agent.forget(id);
            }
        }
        Ok(())
    }
}
