//! Requests, claims and disputes as the events tell them.

use crate::trace::Ask;
use alloy::primitives::{Address, B256, U256};
use refute_contracts::bindings::{ClaimStatus, RequestStatus};
use refute_kernels::reference::Sampling;
use rusqlite::Row;

use super::sql::{address, b256, maybe_address, maybe_b256, maybe_number, maybe_u256};
use super::sql::{number, tokens, u256};

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its id.
    pub request_id: B256,
    /// The block that it was made in.
    pub block: u64,
    /// The model that shall answer.
    pub model_id: B256,
    /// Who asks.
    pub requester: Address,
    /// Token ids.
    pub prompt: Vec<u32>,
    /// Most tokens of the answer.
    pub max_output: u32,
    /// What its samples are drawn with.
    pub seed: u64,
    /// Temperature of its samples, in units of 2^-16; 0 is greedy.
    pub temperature: u32,
    /// What the answer pays, wei.
    pub fee_wei: U256,
    /// What its provider stakes, wei.
    pub bond_wei: U256,
    /// From its claim to the end of challenges, seconds.
    pub window_s: u32,
    /// No acceptance after it, seconds.
    pub deadline_s: u64,
    /// Who is told of the final answer.
    pub callback: Option<Address>,
    /// Gas that the callback gets.
    pub callback_gas: u32,
    /// Where it stands.
    pub status: RequestStatus,
    /// Who accepted it.
    pub provider: Option<Address>,
    /// Who gets that provider's money.
    pub provider_payee: Option<Address>,
    /// When, seconds.
    pub accepted_at_s: Option<u64>,
    /// Last moment of the claim, seconds.
    pub claim_by_s: Option<u64>,
    /// The live or final claim.
    pub claim_id: Option<B256>,
    /// When the callback was told, seconds.
    pub delivered_at_s: Option<u64>,
}

impl Request {
    /// What it asks of its model.
    pub fn ask(&self) -> Ask<'_> {
        let sampling = Sampling { seed: self.seed, temperature: self.temperature };
        Ask { prompt: &self.prompt, sampling }
    }

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            request_id: b256(row, "request_id")?,
            block: number(row, "block")?,
            model_id: b256(row, "model_id")?,
            requester: address(row, "requester")?,
            prompt: tokens(row.get_ref("prompt")?.as_blob()?),
            max_output: row.get("max_output")?,
            seed: row.get::<_, i64>("seed")?.cast_unsigned(),
            temperature: row.get("temperature")?,
            fee_wei: u256(row, "fee_wei")?,
            bond_wei: u256(row, "bond_wei")?,
            window_s: row.get("window_s")?,
            deadline_s: number(row, "deadline_s")?,
            callback: maybe_address(row, "callback")?,
            callback_gas: row.get("callback_gas")?,
            status: RequestStatus::try_from(row.get::<_, u8>("status")?)
                .unwrap_or(RequestStatus::None),
            provider: maybe_address(row, "provider")?,
            provider_payee: maybe_address(row, "provider_payee")?,
            accepted_at_s: maybe_number(row, "accepted_at_s")?,
            claim_by_s: maybe_number(row, "claim_by_s")?,
            claim_id: maybe_b256(row, "claim_id")?,
            delivered_at_s: maybe_number(row, "delivered_at_s")?,
        })
    }
}

/// A claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Its id.
    pub claim_id: B256,
    /// The block that it was made in.
    pub block: u64,
    /// The request that it answers.
    pub request_id: B256,
    /// Who made it.
    pub provider: Address,
    /// Who gets that provider's money.
    pub provider_payee: Option<Address>,
    /// What that provider has staked, wei.
    pub bond_wei: U256,
    /// Token ids.
    pub output: Vec<u32>,
    /// Root over the block roots.
    pub trace_root: B256,
    /// When it was made, seconds.
    pub claimed_at_s: u64,
    /// Challenges are open before it, seconds.
    pub window_end_s: u64,
    /// Where it stands.
    pub status: ClaimStatus,
    /// When it became final or was rejected, seconds.
    pub decided_at_s: Option<u64>,
    /// The dispute that rejected it.
    pub convicted_by: Option<B256>,
    /// What its rejection burned, wei.
    pub burned_wei: Option<U256>,
    /// The dispute that the reward went to.
    pub reward_dispute: Option<B256>,
    /// The account that the reward went to.
    pub reward_payee: Option<Address>,
    /// The reward so far, wei: without what the moves of the disputes are paid with.
    pub reward_wei: Option<U256>,
}

impl Claim {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            claim_id: b256(row, "claim_id")?,
            block: number(row, "block")?,
            request_id: b256(row, "request_id")?,
            provider: address(row, "provider")?,
            provider_payee: maybe_address(row, "provider_payee")?,
            bond_wei: maybe_u256(row, "bond_wei")?.unwrap_or_default(),
            output: tokens(row.get_ref("output")?.as_blob()?),
            trace_root: b256(row, "trace_root")?,
            claimed_at_s: number(row, "claimed_at_s")?,
            window_end_s: number(row, "window_end_s")?,
            status: ClaimStatus::try_from(row.get::<_, u8>("status")?).unwrap_or(ClaimStatus::None),
            decided_at_s: maybe_number(row, "decided_at_s")?,
            convicted_by: maybe_b256(row, "convicted_by")?,
            burned_wei: maybe_u256(row, "burned_wei")?,
            reward_dispute: maybe_b256(row, "reward_dispute")?,
            reward_payee: maybe_address(row, "reward_payee")?,
            reward_wei: maybe_u256(row, "reward_wei")?,
        })
    }
}

/// A dispute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// Its id.
    pub dispute: B256,
    /// The block that it was opened in.
    pub block: u64,
    /// The claim that it is about.
    pub claim_id: B256,
    /// Who opened it.
    pub challenger: Address,
    /// Who gets its challenger's money.
    pub payee: Option<Address>,
    /// The claim's provider.
    pub defender: Address,
    /// When it was opened, seconds.
    pub opened_at_s: u64,
    /// Hash of its state: what the next move answers.
    pub state_hash: Option<B256>,
    /// Moves made.
    pub moves: u32,
    /// When the last of them was made, seconds: the clocks count from here.
    pub last_move_at_s: u64,
    /// When it was decided, seconds.
    pub resolved_at_s: Option<u64>,
    /// How.
    pub challenger_won: Option<bool>,
    /// By the step, not by a timeout.
    pub by_step: Option<bool>,
    /// The challenger's moves that were paid for.
    pub moves_reimbursed: u32,
    /// What was paid for them, wei.
    pub reimbursed_wei: Option<U256>,
    /// Where its claim stands: only a pending one's disputes go on.
    pub claim_status: ClaimStatus,
}

impl Dispute {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            dispute: b256(row, "dispute")?,
            block: number(row, "block")?,
            claim_id: b256(row, "claim_id")?,
            challenger: address(row, "challenger")?,
            payee: maybe_address(row, "payee")?,
            defender: address(row, "defender")?,
            opened_at_s: number(row, "opened_at_s")?,
            state_hash: maybe_b256(row, "state_hash")?,
            moves: row.get("moves")?,
            last_move_at_s: number(row, "last_move_at_s")?,
            resolved_at_s: maybe_number(row, "resolved_at_s")?,
            challenger_won: row.get("challenger_won")?,
            by_step: row.get("by_step")?,
            moves_reimbursed: row.get("moves_reimbursed")?,
            reimbursed_wei: maybe_u256(row, "reimbursed_wei")?,
            claim_status: ClaimStatus::try_from(row.get::<_, u8>("claim_status")?)
                .unwrap_or(ClaimStatus::None),
        })
    }

    /// Whether nobody can move in it any more: decided, or void because its claim is.
    pub fn is_over(&self) -> bool {
        self.resolved_at_s.is_some() || self.claim_status != ClaimStatus::Pending
    }
}

/// A side of a dispute, in queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The claim's provider.
    Defender,
    /// Who opened the dispute.
    Challenger,
}
