//! Transactions of this process: written before they are broadcast, kept after they are mined.

use alloy::primitives::{Address, B256, Bytes, U256};
use rusqlite::{OptionalExtension, Row, Transaction as Sql};

use super::sql::{address, b256, int, maybe_b256, maybe_number, number, u256};
use super::{Store, StoreError};

/// A transaction that this process wants mined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its name: asking twice for one name sends one transaction.
    pub key: String,
    /// Its nonce.
    pub nonce: u64,
    /// The contract.
    pub to: Address,
    /// Calldata.
    pub data: Bytes,
    /// Wei that go with it.
    pub value_wei: U256,
    /// Most gas that it may use.
    pub gas_limit: u64,
    /// When its newest version was signed, seconds.
    pub signed_at_s: u64,
    /// When it was last broadcast, seconds.
    pub sent_at_s: Option<u64>,
    /// Since when its nonce is used up by something else, seconds.
    pub lost_since_s: Option<u64>,
    /// Where and how it was mined.
    pub mined: Option<Mined>,
}

/// How a transaction was mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mined {
    /// Its hash.
    pub hash: B256,
    /// Number of its block.
    pub block: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// Gas that it used.
    pub gas_used: u64,
    /// Whether it did what it should; else it reverted.
    pub success: bool,
}

/// A signed version of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its hash.
    pub hash: B256,
    /// The signed bytes, as they are broadcast.
    pub raw: Bytes,
    /// Most wei per gas that it pays.
    pub max_fee_wei: u128,
    /// Most wei per gas that go to the block's builder.
    pub tip_wei: u128,
}

/// What transactions cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// How many.
    pub transactions: u64,
    /// Gas that they used.
    pub gas_used: u64,
    /// Bytes of calldata.
    pub calldata_bytes: u64,
}

impl Transaction {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            key: row.get("key")?,
            nonce: number(row, "nonce")?,
            to: address(row, "recipient")?,
            data: row.get::<_, Vec<u8>>("data")?.into(),
            value_wei: u256(row, "value_wei")?,
            gas_limit: number(row, "gas_limit")?,
            signed_at_s: number(row, "signed_at_s")?,
            sent_at_s: maybe_number(row, "sent_at_s")?,
            lost_since_s: maybe_number(row, "lost_since_s")?,
            mined: read_mined(row)?,
        })
    }
}

fn read_mined(row: &Row<'_>) -> rusqlite::Result<Option<Mined>> {
    let Some(hash) = maybe_b256(row, "mined_hash")? else { return Ok(None) };
    Ok(Some(Mined {
        hash,
        block: number(row, "mined_block")?,
        block_hash: b256(row, "mined_block_hash")?,
        gas_used: number(row, "gas_used")?,
        success: row.get("success")?,
    }))
}

impl Store {
    /// A transaction by its name.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn transaction(&self, key: &str) -> Result<Option<Transaction>, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT * FROM transactions WHERE key = ?1")?;
        Ok(statement.query_row([key], Transaction::read).optional()?)
    }

    /// Transactions that aren't mined, by nonce.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn pending_transactions(&self) -> Result<Vec<Transaction>, StoreError> {
        let query = "SELECT * FROM transactions WHERE mined_hash IS NULL ORDER BY nonce";
        self.transactions(query, [])
    }

    /// Transactions that were mined in block `from` or later, by nonce.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn mined_transactions(&self, from: u64) -> Result<Vec<Transaction>, StoreError> {
        let query = "SELECT * FROM transactions WHERE mined_block >= ?1 ORDER BY nonce";
        self.transactions(query, [int(from)])
    }

    fn transactions(
        &self,
        query: &str,
        with: impl rusqlite::Params,
    ) -> Result<Vec<Transaction>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_map(with, Transaction::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The highest nonce that any transaction has.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn highest_nonce(&self) -> Result<Option<u64>, StoreError> {
        let query = "SELECT max(nonce) AS nonce FROM transactions";
        Ok(self.connection().query_row(query, [], |row| maybe_number(row, "nonce"))?)
    }

    /// What the mined transactions cost whose names start with `prefix`.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn costs(&self, prefix: &str) -> Result<Costs, StoreError> {
        let query = "SELECT count(*) AS transactions, coalesce(sum(gas_used), 0) AS gas_used,
            coalesce(sum(length(data)), 0) AS calldata_bytes FROM transactions
            WHERE mined_hash IS NOT NULL AND substr(key, 1, length(?1)) = ?1";
        let costs = self.connection().query_row(query, [prefix], |row| {
            Ok(Costs {
                transactions: number(row, "transactions")?,
                gas_used: number(row, "gas_used")?,
                calldata_bytes: number(row, "calldata_bytes")?,
            })
        });
        Ok(costs?)
    }

    /// Signed versions of a transaction, oldest first.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn attempts(&self, key: &str) -> Result<Vec<Attempt>, StoreError> {
        let connection = self.connection();
        let query = "SELECT * FROM attempts WHERE key = ?1 ORDER BY number";
        let mut statement = connection.prepare_cached(query)?;
        let rows = statement.query_map([key], |row| {
            Ok(Attempt {
                hash: b256(row, "hash")?,
                raw: row.get::<_, Vec<u8>>("raw")?.into(),
                max_fee_wei: u256(row, "max_fee_wei")?.saturating_to(),
                tip_wei: u256(row, "tip_wei")?.saturating_to(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes down a transaction with its newest signed version; what was known of it before, but for
    /// its earlier versions, is replaced.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub(crate) fn put_transaction(
        &self,
        tx: &Transaction,
        attempt: &Attempt,
    ) -> Result<(), StoreError> {
        self.write(|sql| {
            upsert(sql, tx)?;
            sql.prepare_cached(
                "INSERT OR IGNORE INTO attempts SELECT ?1, ?2,
                 (SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE key = ?2), ?3, ?4, ?5",
            )?
            .execute((
                attempt.hash.0,
                tx.key.as_str(),
                attempt.raw.as_ref(),
                U256::from(attempt.max_fee_wei).to_be_bytes::<32>(),
                U256::from(attempt.tip_wei).to_be_bytes::<32>(),
            ))?;
            Ok(())
        })
    }

    /// Notes where a transaction was mined, or, with `None`, that it isn't any more.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub(crate) fn set_mined(&self, key: &str, mined: Option<&Mined>) -> Result<(), StoreError> {
        let update = "UPDATE transactions SET mined_hash = ?2, mined_block = ?3,
            mined_block_hash = ?4, gas_used = ?5, success = ?6, lost_since_s = NULL
            WHERE key = ?1";
        self.write(|sql| {
            sql.prepare_cached(update)?.execute((
                key,
                mined.map(|m| m.hash.0),
                mined.map(|m| int(m.block)),
                mined.map(|m| m.block_hash.0),
                mined.map(|m| int(m.gas_used)),
                mined.map(|m| m.success),
            ))?;
            Ok(())
        })
    }

    /// Notes when a transaction was last broadcast, or since when its nonce is used up.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub(crate) fn set_progress(
        &self,
        key: &str,
        sent_at_s: Option<u64>,
        lost_since_s: Option<u64>,
    ) -> Result<(), StoreError> {
        self.write(|sql| {
            sql.prepare_cached(
                "UPDATE transactions SET sent_at_s = ?2, lost_since_s = ?3 WHERE key = ?1",
            )?
            .execute((key, sent_at_s.map(int), lost_since_s.map(int)))?;
            Ok(())
        })
    }

    /// Frees the name of a transaction that reverted, so that it can be asked for again; what it cost
    /// stays known under `key#nonce`.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub(crate) fn archive_transaction(&self, tx: &Transaction) -> Result<(), StoreError> {
        self.write(|sql| {
            sql.prepare_cached("UPDATE transactions SET key = ?2 WHERE key = ?1")?
                .execute((tx.key.as_str(), format!("{}#{}", tx.key, tx.nonce)))?;
            Ok(())
        })
    }

    /// Forgets a transaction that no node accepted.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub(crate) fn delete_transaction(&self, key: &str) -> Result<(), StoreError> {
        self.write(|sql| {
            sql.prepare_cached("DELETE FROM transactions WHERE key = ?1")?.execute([key])?;
            Ok(())
        })
    }
}

fn upsert(sql: &Sql<'_>, tx: &Transaction) -> Result<(), StoreError> {
    sql.prepare_cached(
        "INSERT INTO transactions
         (key, nonce, recipient, data, value_wei, gas_limit, signed_at_s, sent_at_s, lost_since_s)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (key) DO UPDATE SET nonce = ?2, recipient = ?3, data = ?4, value_wei = ?5,
         gas_limit = ?6, signed_at_s = ?7, sent_at_s = ?8, lost_since_s = ?9, mined_hash = NULL,
         mined_block = NULL, mined_block_hash = NULL, gas_used = NULL, success = NULL",
    )?
    .execute((
        tx.key.as_str(),
        int(tx.nonce),
        tx.to.into_array(),
        tx.data.as_ref(),
        tx.value_wei.to_be_bytes::<32>(),
        int(tx.gas_limit),
        int(tx.signed_at_s),
        tx.sent_at_s.map(int),
        tx.lost_since_s.map(int),
    ))?;
    Ok(())
}
