//! Decisions that are written down before they are acted on.

use alloy::primitives::B256;
use rusqlite::OptionalExtension;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sql::{b256, int, number, token_bytes, tokens};
use super::{Store, StoreError};

/// What a provider computed for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The request.
    pub request_id: B256,
    /// The model.
    pub model_id: B256,
    /// Token ids.
    pub output: Vec<u32>,
    /// Root over the block roots.
    pub trace_root: B256,
    /// The fault that was made on purpose, as on the command line.
    pub fault: Option<String>,
    /// When, seconds.
    pub created_at_s: u64,
}

/// What a watcher thinks of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VerdictKind {
    /// The rerun gives the same.
    Honest,
    /// It gives something else: challenge.
    Wrong,
    /// It can't be rerun here: never a reason to challenge.
    Undecidable,
}

impl VerdictKind {
    /// Its word in the database and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Wrong => "wrong",
            Self::Undecidable => "undecidable",
        }
    }

    fn parse(word: &str) -> Result<Self, StoreError> {
        [Self::Honest, Self::Wrong, Self::Undecidable]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| StoreError::Damaged(format!("a verdict {word:?}")))
    }
}

/// A watcher's verdict about a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The claim.
    pub claim_id: B256,
    /// What it is.
    pub kind: VerdictKind,
    /// Why, in words.
    pub reason: String,
    /// When it was found, seconds.
    pub created_at_s: u64,
}

impl Store {
    /// Writes down a run, instead of an earlier one for the same request.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn put_run(&self, run: &Run) -> Result<(), StoreError> {
        self.write(|sql| {
            sql.prepare_cached("INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute((
                    run.request_id.0,
                    run.model_id.0,
                    token_bytes(&run.output),
                    run.trace_root.0,
                    run.fault.as_deref(),
                    int(run.created_at_s),
                ))?;
            Ok(())
        })
    }

    /// The run for a request.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn run(&self, request_id: B256) -> Result<Option<Run>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT * FROM runs WHERE request_id = ?1")?;
        let run = statement.query_row([request_id.0], |row| {
            Ok(Run {
                request_id: b256(row, "request_id")?,
                model_id: b256(row, "model_id")?,
                output: tokens(row.get_ref("output")?.as_blob()?),
                trace_root: b256(row, "trace_root")?,
                fault: row.get("fault")?,
                created_at_s: number(row, "created_at_s")?,
            })
        });
        Ok(run.optional()?)
    }

    /// Writes down a verdict, instead of an earlier one about the same claim.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn put_verdict(&self, verdict: &Verdict) -> Result<(), StoreError> {
        self.write(|sql| {
            sql.prepare_cached("INSERT OR REPLACE INTO verdicts VALUES (?1, ?2, ?3, ?4)")?
                .execute((
                    verdict.claim_id.0,
                    verdict.kind.as_str(),
                    verdict.reason.as_str(),
                    int(verdict.created_at_s),
                ))?;
            Ok(())
        })
    }

    /// The verdict about a claim.
    ///
    /// # Errors
    /// Failures of SQLite; a damaged file.
    pub fn verdict(&self, claim_id: B256) -> Result<Option<Verdict>, StoreError> {
        Ok(self.verdicts_where("WHERE claim_id = ?1", [claim_id.0])?.pop())
    }

    /// All verdicts, oldest first.
    ///
    /// # Errors
    /// Failures of SQLite; a damaged file.
    pub fn verdicts(&self) -> Result<Vec<Verdict>, StoreError> {
        self.verdicts_where("ORDER BY created_at_s, claim_id", [])
    }

    fn verdicts_where(
        &self,
        clauses: &str,
        with: impl rusqlite::Params,
    ) -> Result<Vec<Verdict>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached(&format!("SELECT * FROM verdicts {clauses}"))?;
        let rows = statement.query_and_then(with, |row| {
            Ok(Verdict {
                claim_id: b256(row, "claim_id")?,
                kind: VerdictKind::parse(&row.get::<_, String>("verdict")?)?,
                reason: row.get("reason")?,
                created_at_s: number(row, "created_at_s")?,
            })
        })?;
        rows.collect()
    }

    /// Writes down anything else, instead of an earlier value of the same kind and id.
    ///
    /// # Errors
    /// Failures of SQLite; values that aren't JSON.
    pub fn put_job(&self, kind: &str, id: B256, value: &impl Serialize) -> Result<(), StoreError> {
        let text = serde_json::to_string(value)
            .map_err(|error| StoreError::Damaged(format!("a job {kind:?} ({error})")))?;
        self.write(|sql| {
            sql.prepare_cached("INSERT OR REPLACE INTO jobs VALUES (?1, ?2, ?3)")?
                .execute((kind, id.0, text))?;
            Ok(())
        })
    }

    /// What [`Store::put_job`] wrote.
    ///
    /// # Errors
    /// Failures of SQLite; a value of another type.
    pub fn job<T: DeserializeOwned>(&self, kind: &str, id: B256) -> Result<Option<T>, StoreError> {
        let connection = self.connection();
        let query = "SELECT value FROM jobs WHERE kind = ?1 AND id = ?2";
        let text: Option<String> = connection
            .prepare_cached(query)?
            .query_row((kind, id.0), |row| row.get(0))
            .optional()?;
        text.map(|text| parse_job(kind, &text)).transpose()
    }

    /// All jobs of a kind, by id.
    ///
    /// # Errors
    /// Failures of SQLite; a value of another type.
    pub fn jobs<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<(B256, T)>, StoreError> {
        let connection = self.connection();
        let query = "SELECT id, value FROM jobs WHERE kind = ?1 ORDER BY id";
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_and_then([kind], |row| {
            Ok((b256(row, 0)?, parse_job(kind, &row.get::<_, String>(1)?)?))
        })?;
        rows.collect()
    }

    /// Forgets a job.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn delete_job(&self, kind: &str, id: B256) -> Result<(), StoreError> {
        self.write(|sql| {
            sql.prepare_cached("DELETE FROM jobs WHERE kind = ?1 AND id = ?2")?
                .execute((kind, id.0))?;
            Ok(())
        })
    }
}

fn parse_job<T: DeserializeOwned>(kind: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Damaged(format!("a job {kind:?} ({error})")))
}
