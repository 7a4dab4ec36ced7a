//! The log of events and the blocks that it was read from.

use alloy::primitives::B256;
use rusqlite::{OptionalExtension, Row, Transaction};

use super::project::{project, request_of};
use super::sql::{b256, int, number};
use super::{Store, StoreError};
use crate::chain::{Event, Logged, Origin};

/// Newest blocks that are remembered; older ones are forgotten but for the very first.
const CHECKPOINTS_MAX: u64 = 512;

/// A block that was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

impl Store {
    /// The newest block whose events are all here; `None` before the first step.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn cursor(&self) -> Result<Option<Checkpoint>, StoreError> {
        let connection = self.connection();
        let query = "SELECT number, hash FROM blocks ORDER BY number DESC LIMIT 1";
        Ok(connection.query_row(query, [], read_checkpoint).optional()?)
    }

    /// The blocks that are remembered, newest first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        let connection = self.connection();
        let query = "SELECT number, hash FROM blocks ORDER BY number DESC";
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_map([], read_checkpoint)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One step forward: events, in order, and the blocks that they were read from. The highest block
    /// becomes the cursor.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn extend(&self, events: &[Logged], blocks: &[Checkpoint]) -> Result<(), StoreError> {
        let claim_s = self.binding().claim_s;
        self.write(|sql| {
            for logged in events {
                append(sql, logged, claim_s)?;
            }
            for block in blocks {
                sql.prepare_cached("INSERT OR REPLACE INTO blocks VALUES (?1, ?2)")?
                    .execute((int(block.number), block.hash.0))?;
            }
            sql.prepare_cached(
                "DELETE FROM blocks WHERE number > (SELECT min(number) FROM blocks)
                 AND number NOT IN (SELECT number FROM blocks ORDER BY number DESC LIMIT ?1)",
            )?
            .execute([int(CHECKPOINTS_MAX)])?;
            Ok(())
        })
    }

    /// Forgets everything after block `ancestor`: the requests that later events touched are rebuilt
    /// from the events that are left, and transactions that were mined later are pending again.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn rollback(&self, ancestor: u64) -> Result<(), StoreError> {
        let claim_s = self.binding().claim_s;
        let ancestor = int(ancestor);
        self.write(|sql| {
            let touched: Vec<B256> = sql
                .prepare_cached(
                    "SELECT DISTINCT request_id FROM events
                     WHERE block > ?1 AND request_id IS NOT NULL",
                )?
                .query_map([ancestor], |row| b256(row, 0))?
                .collect::<Result<_, _>>()?;
            for table in ["events", "models"] {
                sql.execute(&format!("DELETE FROM {table} WHERE block > ?1"), [ancestor])?;
            }
            sql.execute("DELETE FROM blocks WHERE number > ?1", [ancestor])?;
            sql.execute(
                "UPDATE transactions SET mined_hash = NULL, mined_block = NULL,
                 mined_block_hash = NULL, gas_used = NULL, success = NULL WHERE mined_block > ?1",
                [ancestor],
            )?;
            for request_id in touched {
                rebuild(sql, request_id, claim_s)?;
            }
            Ok(())
        })
    }

    /// The events of a dispute in order: its opening, its moves, and its end.
    ///
    /// # Errors
    /// Failures of SQLite; a damaged file.
    pub fn dispute_events(&self, dispute: B256) -> Result<Vec<Logged>, StoreError> {
        self.logged("SELECT * FROM events WHERE dispute = ?1 ORDER BY block, log_index", dispute)
    }

    /// The events of a request in order, those of its claims and their disputes included.
    ///
    /// # Errors
    /// Failures of SQLite; a damaged file.
    pub fn request_events(&self, request_id: B256) -> Result<Vec<Logged>, StoreError> {
        let query = "SELECT * FROM events WHERE request_id = ?1 ORDER BY block, log_index";
        self.logged(query, request_id)
    }

    fn logged(&self, query: &str, id: B256) -> Result<Vec<Logged>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_and_then([id.0], read_logged)?;
        rows.collect()
    }
}

fn read_checkpoint(row: &Row<'_>) -> rusqlite::Result<Checkpoint> {
    Ok(Checkpoint { number: number(row, 0)?, hash: b256(row, 1)? })
}

/// An event that is here already is not applied twice.
fn append(sql: &Transaction<'_>, logged: &Logged, claim_s: u32) -> Result<(), StoreError> {
    let request_id = request_of(sql, &logged.event)?;
    let (origin, log) = logged.event.encode();
    let topics: Vec<u8> = log.topics().iter().flat_map(|topic| topic.0).collect();
    let inserted = sql
        .prepare_cached(
            "INSERT OR IGNORE INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            int(logged.block),
            int(logged.log_index),
            logged.block_hash.0,
            int(logged.timestamp_s),
            logged.tx_hash.0,
            origin.code(),
            topics,
            log.data.as_ref(),
            request_id.map(|id| id.0),
            logged.event.dispute().map(|id| id.0),
        ))?;
    if inserted == 1 {
        project(sql, logged, claim_s)?;
    }
    Ok(())
}

/// Deletes what is derived of a request, and derives it again.
fn rebuild(sql: &Transaction<'_>, request_id: B256, claim_s: u32) -> Result<(), StoreError> {
    const CLAIMS: &str = "(SELECT claim_id FROM claims WHERE request_id = ?1)";
    for delete in [
        &format!(
            "DELETE FROM moves WHERE dispute IN
             (SELECT dispute FROM disputes WHERE claim_id IN {CLAIMS})"
        ),
        &format!("DELETE FROM disputes WHERE claim_id IN {CLAIMS}"),
        "DELETE FROM claims WHERE request_id = ?1",
        "DELETE FROM requests WHERE request_id = ?1",
    ] {
        sql.execute(delete, [request_id.0])?;
    }
    let events: Vec<Logged> = sql
        .prepare_cached("SELECT * FROM events WHERE request_id = ?1 ORDER BY block, log_index")?
        .query_and_then([request_id.0], read_logged)?
        .collect::<Result<_, _>>()?;
    for logged in &events {
        project(sql, logged, claim_s)?;
    }
    Ok(())
}

fn read_logged(row: &Row<'_>) -> Result<Logged, StoreError> {
    let origin = Origin::from_code(row.get("origin")?);
    let origin = origin.ok_or_else(|| StoreError::Damaged("the origin of an event".into()))?;
    let (topics, _) = row.get_ref("topics")?.as_blob().map_err(rusqlite::Error::from)?.as_chunks();
    let topics: Vec<B256> = topics.iter().map(|topic: &[u8; 32]| B256::from(*topic)).collect();
    let data = row.get_ref("data")?.as_blob().map_err(rusqlite::Error::from)?;
    let event = Event::decode(origin, &topics, data)
        .map_err(|error| StoreError::Damaged(format!("an event ({error})")))?;
    Ok(Logged {
        block: number(row, "block")?,
        block_hash: b256(row, "block_hash")?,
        timestamp_s: number(row, "timestamp_s")?,
        tx_hash: b256(row, "tx_hash")?,
        log_index: number(row, "log_index")?,
        event,
    })
}
