//! What provider, watcher and command line ask of the tables.

use alloy::primitives::{Address, B256};
use refute_contracts::bindings::{ClaimStatus, RequestStatus};
use rusqlite::{OptionalExtension, Params};

use super::sql::{b256, int};
use super::{Claim, Dispute, Request, Role, Store, StoreError};

/// A dispute with its claim's provider and status.
const DISPUTES: &str = "SELECT d.*, c.provider AS defender, c.status AS claim_status
    FROM disputes d JOIN claims c USING (claim_id)";

impl Store {
    /// Whether a model is registered.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn is_registered(&self, model_id: B256) -> Result<bool, StoreError> {
        let query = "SELECT count(*) FROM models WHERE model_id = ?1";
        let count: u32 = self.connection().query_row(query, [model_id.0], |row| row.get(0))?;
        Ok(count > 0)
    }

    /// A request.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn request(&self, request_id: B256) -> Result<Option<Request>, StoreError> {
        let query = "SELECT * FROM requests WHERE request_id = ?1";
        Ok(self.connection().query_row(query, [request_id.0], Request::read).optional()?)
    }

    /// Requests that nobody has accepted, for these models and accepted until after `now_s`, oldest
    /// first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn open_requests(&self, models: &[B256], now_s: u64) -> Result<Vec<Request>, StoreError> {
        let mut found = Vec::new();
        for model in models {
            let query = "SELECT * FROM requests
                WHERE status = ?1 AND model_id = ?2 AND deadline_s >= ?3";
            let with = (RequestStatus::Open as u8, model.0, int(now_s));
            found.extend(self.requests(query, with)?);
        }
        found.sort_by_key(|request| (request.block, request.request_id));
        Ok(found)
    }

    /// Requests that `provider` accepted and hasn't claimed yet, the most urgent first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn accepted_requests(&self, provider: Address) -> Result<Vec<Request>, StoreError> {
        let query = "SELECT * FROM requests WHERE status = ?1 AND provider = ?2
            ORDER BY claim_by_s, request_id";
        self.requests(query, (RequestStatus::Accepted as u8, provider.into_array()))
    }

    /// Accepted requests whose provider missed its time: anybody may release them.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn missed_requests(&self, now_s: u64) -> Result<Vec<Request>, StoreError> {
        let query = "SELECT * FROM requests WHERE status = ?1 AND claim_by_s < ?2
            ORDER BY claim_by_s, request_id";
        self.requests(query, (RequestStatus::Accepted as u8, int(now_s)))
    }

    /// Final requests of claims of `provider` whose callback hasn't been told yet, oldest first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn undelivered_requests(&self, provider: Address) -> Result<Vec<Request>, StoreError> {
        let query = "SELECT * FROM requests WHERE status = ?1 AND provider = ?2
            AND callback IS NOT NULL AND delivered_at_s IS NULL ORDER BY block, request_id";
        self.requests(query, (RequestStatus::Final as u8, provider.into_array()))
    }

    /// The requests of `requester`, oldest first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn requests_of(&self, requester: Address) -> Result<Vec<Request>, StoreError> {
        let query = "SELECT * FROM requests WHERE requester = ?1 ORDER BY block, request_id";
        self.requests(query, [requester.into_array()])
    }

    /// A claim.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn claim(&self, claim_id: B256) -> Result<Option<Claim>, StoreError> {
        let query = "SELECT * FROM claims WHERE claim_id = ?1";
        Ok(self.connection().query_row(query, [claim_id.0], Claim::read).optional()?)
    }

    /// All claims, oldest first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn all_claims(&self) -> Result<Vec<Claim>, StoreError> {
        self.claims("SELECT * FROM claims ORDER BY block, claim_id", [])
    }

    /// The claims of a request, oldest first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn claims_of(&self, request_id: B256) -> Result<Vec<Claim>, StoreError> {
        let query = "SELECT * FROM claims WHERE request_id = ?1 ORDER BY block, claim_id";
        self.claims(query, [request_id.0])
    }

    /// Claims that are neither final nor rejected, of one provider or of all, the window that ends
    /// first first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn pending_claims(&self, provider: Option<Address>) -> Result<Vec<Claim>, StoreError> {
        let query = "SELECT * FROM claims WHERE status = ?1 AND (?2 IS NULL OR provider = ?2)
            ORDER BY window_end_s, claim_id";
        let provider = provider.map(Address::into_array);
        self.claims(query, (ClaimStatus::Pending as u8, provider))
    }

    /// Pending claims that can be finalized at second `now_s`: their window has ended, and no dispute
    /// is open.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn finalizable_claims(&self, now_s: u64) -> Result<Vec<Claim>, StoreError> {
        let query = "SELECT * FROM claims c WHERE status = ?1 AND window_end_s <= ?2
            AND NOT EXISTS (SELECT 1 FROM disputes d
                            WHERE d.claim_id = c.claim_id AND d.resolved_at_s IS NULL)
            ORDER BY window_end_s, claim_id";
        self.claims(query, (ClaimStatus::Pending as u8, int(now_s)))
    }

    /// Rejected claims whose reward nobody has got yet, oldest first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn unrewarded_claims(&self) -> Result<Vec<Claim>, StoreError> {
        let query = "SELECT * FROM claims WHERE status = ?1 AND reward_dispute IS NULL
            ORDER BY block, claim_id";
        self.claims(query, [ClaimStatus::Rejected as u8])
    }

    /// A dispute.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn dispute(&self, dispute: B256) -> Result<Option<Dispute>, StoreError> {
        let query = format!("{DISPUTES} WHERE d.dispute = ?1");
        Ok(self.connection().query_row(&query, [dispute.0], Dispute::read).optional()?)
    }

    /// All disputes, oldest first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn all_disputes(&self) -> Result<Vec<Dispute>, StoreError> {
        self.disputes("ORDER BY d.block, d.dispute", [])
    }

    /// The disputes of a claim, oldest first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn disputes_of(&self, claim_id: B256) -> Result<Vec<Dispute>, StoreError> {
        self.disputes("WHERE d.claim_id = ?1 ORDER BY d.block, d.dispute", [claim_id.0])
    }

    /// The disputes in which `party` plays this role and that aren't over, oldest first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn live_disputes(&self, role: Role, party: Address) -> Result<Vec<Dispute>, StoreError> {
        let column = match role {
            Role::Defender => "c.provider",
            Role::Challenger => "d.challenger",
        };
        let clauses = format!(
            "WHERE {column} = ?1 AND d.resolved_at_s IS NULL AND c.status = ?2
             ORDER BY d.block, d.dispute"
        );
        self.disputes(&clauses, (party.into_array(), ClaimStatus::Pending as u8))
    }

    /// Disputes of `challenger` whose claim is rejected, oldest first: their bonds come back by
    /// `refund`, unless they lost.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn refundable_disputes(&self, challenger: Address) -> Result<Vec<Dispute>, StoreError> {
        let clauses = "WHERE d.challenger = ?1 AND c.status = ?2
            AND (d.challenger_won IS NULL OR d.challenger_won) ORDER BY d.block, d.dispute";
        self.disputes(clauses, (challenger.into_array(), ClaimStatus::Rejected as u8))
    }

    /// The transactions that touched a dispute, from its opening to its end, in order.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn dispute_transactions(&self, dispute: B256) -> Result<Vec<B256>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT tx_hash FROM events WHERE dispute = ?1 GROUP BY tx_hash
             ORDER BY min(block), min(log_index)",
        )?;
        let rows = statement.query_map([dispute.0], |row| b256(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn requests(&self, query: &str, with: impl Params) -> Result<Vec<Request>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_map(with, Request::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn claims(&self, query: &str, with: impl Params) -> Result<Vec<Claim>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_map(with, Claim::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn disputes(&self, clauses: &str, with: impl Params) -> Result<Vec<Dispute>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&format!("{DISPUTES} {clauses}"))?;
        let rows = statement.query_map(with, Dispute::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
