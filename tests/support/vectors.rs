//! Calls of the contracts with what must come of them, in files that other EVMs and other builds of the contracts are held
//! against: JSON, one vector a line.
//!
//! What a call must give was compared with the Rust reference before it became a vector. Gas, and the data of a revert, are
//! those of the committed artifact on revm: another EVM must agree on both, another build only on the outcome.

use alloy::primitives::{Address, Bytes, Log, U256};
use refute_contracts::evm::{Entry, Outcome, Status};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

/// One static call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vector {
    /// What it is about.
    pub name: String,
    /// Calldata.
    pub data: Bytes,
    /// Whether it returns; else it reverts.
    pub returns: bool,
    /// What it returns, or reverts with.
    pub output: Bytes,
    /// Gas of a transaction with this call; 0 if it was not tried.
    pub gas: u64,
}

impl Vector {
    /// A call that was tried.
    pub(crate) fn of_call(data: Vec<u8>, outcome: &Outcome) -> Self {
        Self {
            name: String::new(),
            data: data.into(),
            returns: outcome.is_success(),
            output: outcome.output.clone(),
            gas: outcome.gas_used,
        }
    }

    /// Whether a build of the contract that answers so is still right: it decides the same, or refuses as this one does.
    pub fn is_met_by(&self, outcome: &Outcome) -> bool {
        match outcome.status {
            Status::Success => self.returns && self.output == outcome.output,
            // An exceptional halt would burn all gas, where a revert decides nothing at little cost.
            Status::Reverted => !self.returns,
            Status::Halted(_) => false,
        }
    }
}

/// One thing that is done to a chain; see [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of the entry and its outcome")]
pub enum Act {
    Balance {
        account: Address,
        wei: U256,
    },
    Code {
        account: Address,
        code: Bytes,
    },
    Transaction {
        timestamp: u64,
        from: Address,
        to: Option<Address>,
        value: U256,
        data: Bytes,
        success: bool,
        gas: u64,
        output: Bytes,
        logs: Vec<Log>,
    },
}

impl From<&Entry> for Act {
    fn from(entry: &Entry) -> Self {
        match entry {
            Entry::Balance { account, wei } => Self::Balance { account: *account, wei: *wei },
            Entry::Code { account, code } => Self::Code { account: *account, code: code.clone() },
            Entry::Transaction { timestamp, from, to, value, data, outcome } => Self::Transaction {
                timestamp: *timestamp,
                from: *from,
                to: *to,
                value: *value,
                data: data.clone(),
                success: outcome.is_success(),
                gas: outcome.gas_used,
                // What a creation gives back is the code, which later calls show.
                output: if to.is_some() { outcome.output.clone() } else { Bytes::new() },
                logs: outcome.logs.clone(),
            },
        }
    }
}

/// Writes a file of vectors, and the folders it lies in.
///
/// # Errors
/// What the file system says.
pub fn write<T: Serialize>(path: &Path, vectors: &[T]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = BufWriter::new(File::create(path)?);
    for vector in vectors {
        serde_json::to_writer(&mut file, vector)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// Reads a file of vectors.
///
/// # Errors
/// What the file system says, and lines that are no vectors.
pub fn read(path: &Path) -> std::io::Result<Vec<Vector>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}
