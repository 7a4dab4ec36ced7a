//! What can go wrong with the database.

use std::path::PathBuf;

use super::Binding;

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed: the disk, the file, or a lock.
    #[error("database: {0}")]
    Sql(#[from] rusqlite::Error),
    /// A file or folder beside it.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "{path} is locked: another process uses this database. Stop it, or choose another --db"
    )]
    InUse {
        /// The lock's file.
        path: PathBuf,
    },
    /// Some other program's database.
    #[error("{path} is not a database of this program: choose another file")]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// From another version.
    #[error("{path} is from another version of this program: use that one, or choose another file")]
    Version {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to another chain, deployment or key.
    #[error(
        "{path} belongs to {}, and was opened for {}: choose another file, or delete this one if its \
         chain is gone",
        describe(.found), describe(.expected)
    )]
    OtherBinding {
        /// The file.
        path: PathBuf,
        /// What it was opened for.
        expected: Box<Binding>,
        /// What it belongs to.
        found: Box<Binding>,
    },
    /// A row that this program did not write like that.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
        match self {
            Self::Sql(error) => {
                matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
            }
            _ => false,
        }
    }
}

fn describe(binding: &Binding) -> String {
    let Binding { chain_id, settlement, key, claim_s } = binding;
    format!("chain {chain_id}, settlement {settlement} (CLAIM_S {claim_s}), key {key}")
}
