//! What a process knows across restarts: one SQLite file per key.
//!
//! The `events` table holds what the contracts said; requests, claims, disputes and moves are a
//! projection of it that is rebuilt where the chain reorganizes. Beside them lie the transactions of
//! this process, written before they are broadcast, and the decisions of provider and watcher,
//! written before they are acted on. Every change is one SQL transaction: after a crash the file
//! holds all of a step or nothing of it.

mod error;
mod events;
mod jobs;
mod project;
mod queries;
mod rows;
mod sql;
mod transactions;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::primitives::Address;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

pub use error::StoreError;
pub use events::Checkpoint;
pub use jobs::{Run, Verdict, VerdictKind};
pub use rows::{Claim, Dispute, Request, Role};
pub use transactions::{Attempt, Costs, Mined, Transaction};

/// The migrations, in order. `PRAGMA user_version` counts those that a file has had.
const MIGRATIONS: &[&str] =
    &[include_str!("migrations/0001_init.sql"), include_str!("migrations/0002_money.sql")];
/// Marks the file as ours: "Rfut".
const APPLICATION_ID: i32 = 0x5266_7574;
/// Longest wait for another reader or writer of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a database belongs to. Events of another chain, or transactions of another key, in one file
/// would be taken for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The chain's id.
    pub chain_id: u64,
    /// The deployment's `InferenceSettlement`.
    pub settlement: Address,
    /// The account that signs; zero for a process that only looks.
    pub key: Address,
    /// The deployment's `CLAIM_S`, seconds.
    pub claim_s: u32,
}

/// The database; cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Mutex<Connection>,
    path: PathBuf,
    binding: Binding,
    /// Held as long as the store is open; the operating system frees it when the process dies.
    _lock: Option<File>,
}

impl Store {
    /// Opens the file, makes it if there is none, and keeps other processes from opening it too.
    ///
    /// # Errors
    /// A file of another chain, deployment, key or program; one that another process has open; one
    /// from a newer version.
    pub fn open(path: &Path, binding: &Binding) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| StoreError::File { path: folder.to_owned(), source })?;
        }
        let lock = lock(path)?;
        let connection = Connection::open(path)?;
        Self::prepare(connection, path, Some(lock), binding)
    }

    /// A database that ends with the process.
    ///
    /// # Errors
    /// Failures of SQLite.
    pub fn in_memory(binding: &Binding) -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?, Path::new(":memory:"), None, binding)
    }

    /// Opens the file only to look, also while its process runs.
    ///
    /// # Errors
    /// No file, or one of another program or version.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        check_application(&connection, path)?;
        if version(&connection)? != MIGRATIONS.len() {
            return Err(StoreError::Version { path: path.to_owned() });
        }
        let binding = read_binding(&connection)?
            .ok_or_else(|| StoreError::NotOurs { path: path.to_owned() })?;
        Ok(Self::new(connection, path, None, binding))
    }

    fn prepare(
        mut connection: Connection,
        path: &Path,
        lock: Option<File>,
        binding: &Binding,
    ) -> Result<Self, StoreError> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        check_application(&connection, path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        migrate(&mut connection, path)?;
        bind(&mut connection, path, binding)?;
        Ok(Self::new(connection, path, lock, *binding))
    }

    fn new(connection: Connection, path: &Path, lock: Option<File>, binding: Binding) -> Self {
        let connection = Mutex::new(connection);
        let path = path.to_owned();
        Self { inner: Arc::new(Inner { connection, path, binding, _lock: lock }) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What it belongs to.
    pub fn binding(&self) -> &Binding {
        &self.inner.binding
    }

    /// A panic in another thread leaves no half of a change behind: SQL transactions see to it.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does all of `change`, or nothing.
    fn write<T>(
        &self,
        change: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection();
        let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = change(&sql)?;
        sql.commit()?;
        Ok(result)
    }
}

/// Two processes with one key and one file would send the same moves.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file =
        File::create(&path).map_err(|source| StoreError::File { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path }),
        Err(TryLockError::Error(source)) => Err(StoreError::File { path, source }),
    }
}

fn version(connection: &Connection) -> Result<usize, StoreError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))? as usize)
}

/// A new file has application id 0 and no tables.
fn check_application(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (id, tables) {
        (APPLICATION_ID, _) | (0, 0) => Ok(()),
        _ => Err(StoreError::NotOurs { path: path.to_owned() }),
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let have = version(connection)?;
    if have > MIGRATIONS.len() {
        return Err(StoreError::Version { path: path.to_owned() });
    }
    for (number, migration) in MIGRATIONS.iter().enumerate().skip(have) {
        let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        sql.execute_batch(migration)?;
        sql.pragma_update(None, "application_id", APPLICATION_ID)?;
        sql.pragma_update(None, "user_version", number as u32 + 1)?;
        sql.commit()?;
    }
    Ok(())
}

fn read_binding(connection: &Connection) -> Result<Option<Binding>, StoreError> {
    let query = "SELECT chain_id, settlement, key_address, claim_s FROM binding";
    let binding = connection
        .query_row(query, [], |row| {
            Ok(Binding {
                chain_id: sql::from_int(row.get(0)?),
                settlement: sql::address(row, 1)?,
                key: sql::address(row, 2)?,
                claim_s: row.get(3)?,
            })
        })
        .optional()?;
    Ok(binding)
}

/// The first one to open the file decides what it belongs to.
fn bind(connection: &mut Connection, path: &Path, binding: &Binding) -> Result<(), StoreError> {
    let sql = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match read_binding(&sql)? {
        Some(found) if found == *binding => {}
        Some(found) => {
            return Err(StoreError::OtherBinding {
                path: path.to_owned(),
                expected: Box::new(*binding),
                found: Box::new(found),
            });
        }
        None => {
            sql.execute(
                "INSERT INTO binding VALUES (1, ?1, ?2, ?3, ?4)",
                (
                    sql::int(binding.chain_id),
                    binding.settlement.into_array(),
                    binding.key.into_array(),
                    binding.claim_s,
                ),
            )?;
        }
    }
    sql.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{B256, U256};
    use refute_contracts::bindings::RequestStatus;

    /// A database that an earlier version left is brought up to date, with what it holds.
    #[test]
    fn an_older_database_is_migrated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        let (id, word) = ([7; 32], U256::from(5).to_be_bytes::<32>());
        old.execute(
            "INSERT INTO requests (request_id, block, model_id, requester, prompt, max_output, fee_wei,
             deadline_s, status) VALUES (?1, 3, ?1, ?2, x'01000000', 4, ?3, 9, 1)",
            (id, [1; 20], word),
        )
        .unwrap();
        drop(old);
        assert!(matches!(Store::read(&path), Err(StoreError::Version { .. })));
        let binding = Binding {
            chain_id: 1,
            settlement: Address::repeat_byte(1),
            key: Address::repeat_byte(2),
            claim_s: 600,
        };
        let store = Store::open(&path, &binding).unwrap();
        let request = store.request(B256::from(id)).unwrap().unwrap();
        assert_eq!((request.fee_wei, request.bond_wei), (U256::from(5), U256::ZERO));
        assert_eq!((request.prompt, request.seed, request.callback), (vec![1], 0, None));
        assert_eq!(request.status, RequestStatus::Open);
        assert_eq!(Store::read(&path).unwrap().binding(), &binding);
    }
}
