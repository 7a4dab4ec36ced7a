//! The facts about every claim that still matters, from the database.

use crate::fsm::{Mine, Standing};
use alloy::primitives::{Address, B256};
use refute_contracts::bindings::ClaimStatus;
use refute_engine::store::{Claim, Dispute, Request, Store, StoreError, VerdictKind};
use std::collections::HashMap;

/// A claim with everything that the table asks for.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The claim.
    pub claim: Claim,
    /// What it answers.
    pub request: Request,
    /// Where it stands.
    pub standing: Standing,
    /// What this watcher found.
    pub verdict: Option<VerdictKind>,
    /// Where this watcher's dispute stands.
    pub mine: Mine,
    /// That dispute.
    pub dispute: Option<Dispute>,
}

/// All claims on these models that are pending, or that this watcher has money in; the window that ends first comes first.
///
/// # Errors
/// Failures of SQLite.
pub fn scan(
    store: &Store,
    me: Address,
    models: &[B256],
    now_s: u64,
) -> Result<Vec<Facts>, StoreError> {
    let verdicts: HashMap<B256, VerdictKind> =
        store.verdicts()?.into_iter().map(|v| (v.claim_id, v.kind)).collect();
    let mut disputes: HashMap<B256, Dispute> = HashMap::new();
    for dispute in store.all_disputes()? {
        if dispute.challenger == me {
            disputes.insert(dispute.claim_id, dispute);
        }
    }
    let mut claims = store.pending_claims(None)?;
    for id in disputes.keys() {
        if !claims.iter().any(|c| c.claim_id == *id) {
            claims.extend(store.claim(*id)?);
        }
    }
    let mut facts = Vec::new();
    for claim in claims {
        let Some(request) = store.request(claim.request_id)? else { continue };
        if !models.contains(&request.model_id) {
            continue;
        }
        let dispute = disputes.remove(&claim.claim_id);
        facts.push(Facts {
            standing: standing(&claim, now_s),
            verdict: verdicts.get(&claim.claim_id).copied(),
            mine: mine(dispute.as_ref()),
            dispute,
            request,
            claim,
        });
    }
    facts.sort_by_key(|f| (f.claim.window_end_s, f.claim.claim_id));
    Ok(facts)
}

fn standing(claim: &Claim, now_s: u64) -> Standing {
    match claim.status {
        ClaimStatus::Rejected => Standing::Rejected,
        ClaimStatus::Pending if now_s < claim.window_end_s => Standing::Open,
        ClaimStatus::Pending => Standing::Closing,
        _ => Standing::Final,
    }
}

fn mine(dispute: Option<&Dispute>) -> Mine {
    match dispute {
        None => Mine::None,
        Some(d) => match d.challenger_won {
            None => Mine::Live,
            Some(true) => Mine::Won,
            Some(false) => Mine::Lost,
        },
    }
}
