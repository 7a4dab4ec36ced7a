//! Transactions that wait for a block, by sender and nonce.

use std::collections::{BTreeMap, HashMap, HashSet};

use alloy::consensus::transaction::Recovered;
use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::primitives::{Address, TxHash};

use super::error::RpcError;
use crate::state::State;

/// Most transactions that wait at a time.
const POOL_TXS_MAX: usize = 4096;

/// A replacement pays at least this many percent more than what it replaces.
const REPLACEMENT_PERCENT: u128 = 110;

#[derive(Clone, Debug)]
struct Waiting {
    tx: Recovered<TxEnvelope>,
    /// Counts arrivals: of two equal tips the earlier goes first.
    arrival: u64,
}

/// The waiting transactions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    senders: BTreeMap<Address, BTreeMap<u64, Waiting>>,
    hashes: HashMap<TxHash, (Address, u64)>,
    arrivals: u64,
}

impl Pool {
    pub(crate) fn get(&self, hash: &TxHash) -> Option<&Recovered<TxEnvelope>> {
        let (sender, nonce) = self.hashes.get(hash)?;
        self.senders.get(sender)?.get(nonce).map(|waiting| &waiting.tx)
    }

    /// The nonce after the sender's transactions that can all be mined now.
    pub(crate) fn next_nonce(&self, sender: &Address, state: &State) -> u64 {
        let mut nonce = state.nonce(sender);
        if let Some(waiting) = self.senders.get(sender) {
            while waiting.contains_key(&nonce) {
                nonce += 1;
            }
        }
        nonce
    }

    /// Adds a transaction, or replaces the one of the same nonce if it pays enough.
    pub(crate) fn insert(&mut self, tx: Recovered<TxEnvelope>) -> Result<(), RpcError> {
        let (hash, sender, nonce) = (*tx.tx_hash(), tx.signer(), tx.nonce());
        if self.hashes.contains_key(&hash) {
            return Err(RpcError::rejected("already known"));
        }
        let replaced = self.senders.get(&sender).and_then(|waiting| waiting.get(&nonce));
        if let Some(old) = replaced {
            if !pays_to_replace(&tx, &old.tx) {
                return Err(RpcError::rejected("replacement transaction underpriced"));
            }
            let old_hash = *old.tx.tx_hash();
            self.hashes.remove(&old_hash);
        } else if self.hashes.len() >= POOL_TXS_MAX {
            return Err(RpcError::rejected("txpool is full"));
        }
        self.arrivals += 1;
        self.hashes.insert(hash, (sender, nonce));
        let waiting = Waiting { tx, arrival: self.arrivals };
        self.senders.entry(sender).or_default().insert(nonce, waiting);
        Ok(())
    }

    pub(crate) fn remove(&mut self, hash: &TxHash) {
        let Some((sender, nonce)) = self.hashes.remove(hash) else { return };
        if let Some(waiting) = self.senders.get_mut(&sender) {
            waiting.remove(&nonce);
            if waiting.is_empty() {
                self.senders.remove(&sender);
            }
        }
    }

    /// Drops what can't be mined any more because its nonce is used.
    pub(crate) fn drop_used(&mut self, state: &State) {
        let used = self.hashes.iter().filter(|(_, (sender, nonce))| *nonce < state.nonce(sender));
        let used: Vec<TxHash> = used.map(|(hash, _)| *hash).collect();
        for hash in used {
            self.remove(&hash);
        }
    }

    /// Of the transactions that are next for their sender, the one with the highest tip.
    pub(crate) fn best(
        &self,
        state: &State,
        base_fee: u64,
        passed_over: &HashSet<Address>,
    ) -> Option<&Recovered<TxEnvelope>> {
        let next = self.senders.iter().filter(|(sender, _)| !passed_over.contains(*sender));
        next.filter_map(|(sender, waiting)| waiting.get(&state.nonce(sender)))
            .max_by_key(|w| (w.tx.effective_tip_per_gas(base_fee), std::cmp::Reverse(w.arrival)))
            .map(|waiting| &waiting.tx)
    }
}

fn pays_to_replace(new: &TxEnvelope, old: &TxEnvelope) -> bool {
    let enough =
        |new: u128, old: u128| new >= old.saturating_mul(REPLACEMENT_PERCENT).div_ceil(100);
    enough(new.max_fee_per_gas(), old.max_fee_per_gas())
        && enough(new.priority_fee_or_price(), old.priority_fee_or_price())
}
