//! From events to requests, claims, disputes and moves.
//!
//! An event that the tables have no place for (a claim of an unknown request, say) changes nothing:
//! the contracts emit none, and no node may stop this process with one.

use alloy::primitives::{B256, U256};
use refute_contracts::bindings::{ClaimStatus, IDisputeGame, IInferenceSettlement, RequestStatus};
use rusqlite::{OptionalExtension, Transaction};

use super::StoreError;
use super::sql::{b256, int, maybe_u256};
use crate::chain::{Event, Logged};

type Done = Result<(), StoreError>;

/// The request that an event belongs to, as far as the tables know.
pub(super) fn request_of(sql: &Transaction<'_>, event: &Event) -> Result<Option<B256>, StoreError> {
    let claim_id = match event {
        Event::Requested(e) => return Ok(Some(e.requestId)),
        Event::Accepted(e) => return Ok(Some(e.requestId)),
        Event::Claimed(e) => return Ok(Some(e.requestId)),
        Event::Finalized(e) => return Ok(Some(e.requestId)),
        Event::Rejected(e) => return Ok(Some(e.requestId)),
        Event::Released(e) => return Ok(Some(e.requestId)),
        Event::Cancelled(e) => return Ok(Some(e.requestId)),
        Event::Challenged(e) => e.claimId,
        Event::Delivered(e) => return Ok(Some(e.requestId)),
        Event::Rewarded(e) => e.claimId,
        Event::Reimbursed(e) => e.claimId,
        Event::DisputeOpened(e) => e.claimId,
        Event::DisputeResolved(e) => e.claimId,
        other => match other.moved() {
            Some(moved) => return request_of_dispute(sql, moved.dispute),
            None => return Ok(None),
        },
    };
    Ok(sql
        .prepare_cached("SELECT request_id FROM claims WHERE claim_id = ?1")?
        .query_row([claim_id.0], |row| b256(row, 0))
        .optional()?)
}

fn request_of_dispute(sql: &Transaction<'_>, dispute: B256) -> Result<Option<B256>, StoreError> {
    let query = "SELECT request_id FROM claims JOIN disputes USING (claim_id) WHERE dispute = ?1";
    Ok(sql.prepare_cached(query)?.query_row([dispute.0], |row| b256(row, 0)).optional()?)
}

/// Applies one event. `claim_s` is the deployment's `CLAIM_S`.
pub(super) fn project(sql: &Transaction<'_>, logged: &Logged, claim_s: u32) -> Done {
    let now = logged.timestamp_s;
    match &logged.event {
        Event::ModelRegistered(e) => {
            let insert = "INSERT OR IGNORE INTO models VALUES (?1, ?2)";
            run(sql, insert, (e.modelId.0, int(logged.block)))
        }
        Event::Requested(e) => requested(sql, logged, e),
        Event::Accepted(e) => run(
            sql,
            "UPDATE requests SET status = ?2, provider = ?3, provider_payee = ?4, accepted_at_s = ?5,
             claim_by_s = ?6 WHERE request_id = ?1",
            (
                e.requestId.0,
                RequestStatus::Accepted as u8,
                e.provider.into_array(),
                e.payee.into_array(),
                int(now),
                int(e.claimBy),
            ),
        ),
        Event::Claimed(e) => claimed(sql, logged, e),
        Event::Challenged(e) => run(
            sql,
            "INSERT OR IGNORE INTO disputes
             (dispute, block, claim_id, challenger, payee, opened_at_s, last_move_at_s)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
            (
                e.dispute.0,
                int(logged.block),
                e.claimId.0,
                e.challenger.into_array(),
                e.payee.into_array(),
                int(now),
            ),
        ),
        Event::DisputeOpened(e) => opened(sql, e),
        Event::DisputeResolved(e) => run(
            sql,
            "UPDATE disputes SET resolved_at_s = ?2, challenger_won = ?3, by_step = ?4
             WHERE dispute = ?1",
            (e.dispute.0, int(now), e.challengerWon, e.byStep),
        ),
        Event::Finalized(e) => {
            decide(sql, e.claimId, ClaimStatus::Final, now)?;
            let update = "UPDATE requests SET status = ?2 WHERE request_id = ?1";
            run(sql, update, (e.requestId.0, RequestStatus::Final as u8))
        }
        Event::Rejected(e) => rejected(sql, e, now, claim_s),
        Event::Rewarded(e) => rewarded(sql, e),
        Event::Reimbursed(e) => run(
            sql,
            "UPDATE disputes SET moves_reimbursed = ?2, reimbursed_wei = ?3 WHERE dispute = ?1",
            (e.dispute.0, e.moves, word(e.amount)),
        ),
        Event::Delivered(e) => run(
            sql,
            "UPDATE requests SET delivered_at_s = ?2 WHERE request_id = ?1",
            (e.requestId.0, int(now)),
        ),
        Event::Released(e) => reopen(sql, e.requestId, now, claim_s),
        Event::Cancelled(e) => {
            let update = "UPDATE requests SET status = ?2 WHERE request_id = ?1";
            run(sql, update, (e.requestId.0, RequestStatus::Cancelled as u8))
        }
        // Money is asked of the chain: balances are not kept twice.
        Event::Credited(_) | Event::Withdrawn(_) | Event::Burned(_) => Ok(()),
        _ => moved(sql, logged),
    }
}

fn run(sql: &Transaction<'_>, statement: &str, with: impl rusqlite::Params) -> Done {
    sql.prepare_cached(statement)?.execute(with)?;
    Ok(())
}

fn word(value: U256) -> [u8; 32] {
    value.to_be_bytes()
}

fn requested(sql: &Transaction<'_>, logged: &Logged, e: &IInferenceSettlement::Requested) -> Done {
    let p = &e.params;
    run(
        sql,
        "INSERT OR IGNORE INTO requests
         (request_id, block, model_id, requester, prompt, max_output, seed, temperature, fee_wei,
          bond_wei, window_s, deadline_s, callback, callback_gas, status)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        (
            e.requestId.0,
            int(logged.block),
            e.modelId.0,
            e.requester.into_array(),
            p.prompt.as_ref(),
            p.maxOutput,
            p.seed.cast_signed(),
            p.temperature,
            word(e.fee),
            word(U256::from(p.bond)),
            p.windowS,
            int(p.deadline),
            (!p.callback.is_zero()).then(|| p.callback.into_array()),
            p.callbackGas,
            RequestStatus::Open as u8,
        ),
    )
}

/// The reward comes in one part or in two: what is left of the reserve at the end goes to the same
/// dispute.
fn rewarded(sql: &Transaction<'_>, e: &IInferenceSettlement::Rewarded) -> Done {
    let query = "SELECT reward_wei FROM claims WHERE claim_id = ?1";
    let before = sql
        .prepare_cached(query)?
        .query_row([e.claimId.0], |row| maybe_u256(row, 0))
        .optional()?
        .flatten()
        .unwrap_or_default();
    run(
        sql,
        "UPDATE claims SET reward_dispute = ?2, reward_payee = ?3, reward_wei = ?4
         WHERE claim_id = ?1",
        (e.claimId.0, e.dispute.0, e.payee.into_array(), word(before.saturating_add(e.amount))),
    )
}

fn claimed(sql: &Transaction<'_>, logged: &Logged, e: &IInferenceSettlement::Claimed) -> Done {
    run(
        sql,
        "INSERT OR IGNORE INTO claims
         (claim_id, block, request_id, provider, output, trace_root, claimed_at_s, window_end_s,
          status, provider_payee, bond_wei)
         SELECT ?1, ?2, request_id, ?4, ?5, ?6, ?7, ?8, ?9, provider_payee, bond_wei
         FROM requests WHERE request_id = ?3",
        (
            e.claimId.0,
            int(logged.block),
            e.requestId.0,
            e.provider.into_array(),
            e.output.as_ref(),
            e.traceRoot.0,
            int(logged.timestamp_s),
            int(e.windowEnd),
            ClaimStatus::Pending as u8,
        ),
    )?;
    run(
        sql,
        "UPDATE requests SET status = ?2, claim_id = ?3 WHERE request_id = ?1",
        (e.requestId.0, RequestStatus::Claimed as u8, e.claimId.0),
    )
}

fn opened(sql: &Transaction<'_>, e: &IDisputeGame::DisputeOpened) -> Done {
    let update = "UPDATE disputes SET state_hash = ?2 WHERE dispute = ?1";
    run(sql, update, (e.dispute.0, e.state.0))
}

fn moved(sql: &Transaction<'_>, logged: &Logged) -> Done {
    let Some(moved) = logged.event.moved() else { return Ok(()) };
    run(
        sql,
        "INSERT OR IGNORE INTO moves (dispute, move, state_hash, block, log_index)
         SELECT dispute, ?2, ?3, ?4, ?5 FROM disputes WHERE dispute = ?1",
        (moved.dispute.0, moved.number, moved.state.0, int(logged.block), int(logged.log_index)),
    )?;
    run(
        sql,
        "UPDATE disputes SET state_hash = ?2, moves = ?3, last_move_at_s = ?4 WHERE dispute = ?1",
        (moved.dispute.0, moved.state.0, moved.number.saturating_add(1), int(logged.timestamp_s)),
    )
}

fn decide(sql: &Transaction<'_>, claim: B256, status: ClaimStatus, now: u64) -> Done {
    let update = "UPDATE claims SET status = ?2, decided_at_s = ?3 WHERE claim_id = ?1";
    run(sql, update, (claim.0, status as u8, int(now)))
}

fn rejected(
    sql: &Transaction<'_>,
    e: &IInferenceSettlement::Rejected,
    now: u64,
    claim_s: u32,
) -> Done {
    decide(sql, e.claimId, ClaimStatus::Rejected, now)?;
    run(
        sql,
        "UPDATE claims SET convicted_by = ?2, burned_wei = ?3 WHERE claim_id = ?1",
        (e.claimId.0, e.dispute.0, word(e.burned)),
    )?;
    reopen(sql, e.requestId, now, claim_s)
}

/// As the contract: the time that the failed provider took is given back to the request.
fn reopen(sql: &Transaction<'_>, request: B256, now: u64, claim_s: u32) -> Done {
    let query = "SELECT deadline_s, claim_by_s FROM requests WHERE request_id = ?1";
    let row = sql
        .prepare_cached(query)?
        .query_row([request.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))
        .optional()?;
    let Some((deadline, Some(claim_by))) = row else { return Ok(()) };
    let accepted_at = claim_by.saturating_sub(claim_s.into());
    let deadline = deadline.saturating_add(int(now).saturating_sub(accepted_at).max(0));
    run(
        sql,
        "UPDATE requests SET status = ?2, deadline_s = ?3, provider = NULL, provider_payee = NULL,
         accepted_at_s = NULL, claim_by_s = NULL, claim_id = NULL WHERE request_id = ?1",
        (request.0, RequestStatus::Open as u8, deadline),
    )
}
