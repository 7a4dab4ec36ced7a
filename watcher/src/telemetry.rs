//! What an operator sees: counts, disputes, what it cost and what it earned. Read from the database, also while the
//! watcher runs.

use alloy::primitives::{Address, B256, U256};
use refute_engine::store::{Dispute, Store, StoreError, VerdictKind};
use serde::Serialize;

/// What `refute-watcher status` prints.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The watcher's key.
    pub address: Address,
    /// The chain.
    pub chain_id: u64,
    /// Last block that was read.
    pub block: Option<u64>,
    /// Claims that were re-run and found right.
    pub honest: usize,
    /// Claims that were found wrong.
    pub wrong: usize,
    /// Claims that couldn't be re-run.
    pub undecidable: usize,
    /// Its disputes that run.
    pub disputes_live: usize,
    /// Its disputes that were won, or void because another one was.
    pub disputes_won: usize,
    /// Its disputes that were lost.
    pub disputes_lost: usize,
    /// Rewards credited to its disputes, wei.
    pub rewards_wei: String,
    /// Reimbursements of its moves, wei.
    pub reimbursed_wei: String,
    /// Its moves that were reimbursed.
    pub moves_reimbursed: u64,
    /// Transactions mined.
    pub transactions: u64,
    /// Gas of them.
    pub gas_used: u64,
    /// Transactions on their way.
    pub pending: usize,
}

/// A line of `refute-watcher disputes`.
#[derive(Debug, Serialize)]
pub struct DisputeLine {
    /// Its id.
    pub dispute: B256,
    /// The claim.
    pub claim_id: B256,
    /// `live`, `won`, `lost` or `void`.
    pub outcome: &'static str,
    /// Decided by the step, not by a timeout.
    pub by_step: Option<bool>,
    /// Moves made.
    pub moves: u32,
    /// When it was opened, Unix seconds.
    pub opened_at_s: u64,
    /// When it was decided, Unix seconds.
    pub resolved_at_s: Option<u64>,
    /// The reward that came of it, wei.
    pub reward_wei: Option<String>,
    /// What its moves were reimbursed with, wei.
    pub reimbursed_wei: Option<String>,
    /// Moves that were reimbursed.
    pub moves_reimbursed: u32,
}

/// Counts everything.
///
/// # Errors
/// Failures of SQLite.
pub fn status(store: &Store) -> Result<Status, StoreError> {
    let verdicts = store.verdicts()?;
    let count = |kind| verdicts.iter().filter(|v| v.kind == kind).count();
    let lines = disputes(store)?;
    let outcome = |name: &str| lines.iter().filter(|l| l.outcome == name).count();
    let total = |amount: fn(&DisputeLine) -> Option<&String>| {
        let amounts = lines.iter().filter_map(|line| amount(line)?.parse::<U256>().ok());
        amounts.fold(U256::ZERO, U256::saturating_add).to_string()
    };
    let costs = store.costs("")?;
    let binding = store.binding();
    Ok(Status {
        address: binding.key,
        chain_id: binding.chain_id,
        block: store.cursor()?.map(|c| c.number),
        honest: count(VerdictKind::Honest),
        wrong: count(VerdictKind::Wrong),
        undecidable: count(VerdictKind::Undecidable),
        disputes_live: outcome("live"),
        disputes_won: outcome("won") + outcome("void"),
        disputes_lost: outcome("lost"),
        rewards_wei: total(|line| line.reward_wei.as_ref()),
        reimbursed_wei: total(|line| line.reimbursed_wei.as_ref()),
        moves_reimbursed: lines.iter().map(|line| u64::from(line.moves_reimbursed)).sum(),
        transactions: costs.transactions,
        gas_used: costs.gas_used,
        pending: store.pending_transactions()?.len(),
    })
}

/// This watcher's disputes, oldest first.
///
/// # Errors
/// Failures of SQLite.
pub fn disputes(store: &Store) -> Result<Vec<DisputeLine>, StoreError> {
    let me = store.binding().key;
    let mut lines = Vec::new();
    for dispute in store.all_disputes()?.into_iter().filter(|d| d.challenger == me) {
        let claim = store.claim(dispute.claim_id)?;
        let reward = claim.filter(|c| c.reward_dispute == Some(dispute.dispute));
        lines.push(DisputeLine {
            dispute: dispute.dispute,
            claim_id: dispute.claim_id,
            outcome: outcome(&dispute),
            by_step: dispute.by_step,
            moves: dispute.moves,
            opened_at_s: dispute.opened_at_s,
            resolved_at_s: dispute.resolved_at_s,
            reward_wei: reward.and_then(|c| c.reward_wei).map(|wei| wei.to_string()),
            reimbursed_wei: dispute.reimbursed_wei.map(|wei| wei.to_string()),
            moves_reimbursed: dispute.moves_reimbursed,
        });
    }
    Ok(lines)
}

fn outcome(dispute: &Dispute) -> &'static str {
    match dispute.challenger_won {
        Some(true) => "won",
        Some(false) => "lost",
        None if dispute.is_over() => "void",
        None => "live",
    }
}
