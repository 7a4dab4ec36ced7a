//! The commitments of a run in progress: a thread of its own hashes the K and V rows while the next block is computed.

use crate::model::Model;
use refute_bisection::merkle::{self, Hash, MerkleError};
use refute_kernels::backend::Rows;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Batches that may wait to be hashed; then the computation waits for the hashing.
const QUEUE_MAX: usize = 8;

/// What the thread is given, in the order of positions.
enum Work {
    /// Rows of consecutive positions, by slot.
    Rows(Vec<Rows>),
    /// A block root that is known already.
    Root(Hash),
}

/// Turns rows into block roots, in the background.
pub(super) struct Committer {
    sender: SyncSender<Work>,
    thread: JoinHandle<Result<(Vec<Hash>, Duration), MerkleError>>,
}

impl Committer {
    pub(super) fn start(model: &Model) -> Self {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let kv = model.config.kv_heads as usize;
        let len = model.config.head_len as usize;
        let thread = std::thread::spawn(move || commit(&receiver, kv, len));
        Self { sender, thread }
    }

    /// Rows of the next positions.
    pub(super) fn rows(&self, rows: Vec<Rows>) {
        // A thread that has stopped has an error, which `finish` gives.
        let _ = self.sender.send(Work::Rows(rows));
    }

    /// The next position's block root.
    pub(super) fn root(&self, root: Hash) {
        let _ = self.sender.send(Work::Root(root));
    }

    /// All block roots, and the time that hashing took.
    pub(super) fn finish(self) -> Result<(Vec<Hash>, Duration), MerkleError> {
        drop(self.sender);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn commit(
    receiver: &Receiver<Work>,
    kv: usize,
    len: usize,
) -> Result<(Vec<Hash>, Duration), MerkleError> {
    let (mut roots, mut spent) = (Vec::new(), Duration::ZERO);
    while let Ok(work) = receiver.recv() {
        let start = Instant::now();
        match work {
            Work::Root(root) => roots.push(root),
            Work::Rows(rows) => roots.extend(block_roots(&rows, kv, len)?),
        }
        spent += start.elapsed();
    }
    Ok((roots, spent))
}

/// The block roots of consecutive positions: the tree over the roots of each position's carried tensors.
fn block_roots(rows: &[Rows], kv: usize, len: usize) -> Result<Vec<Hash>, MerkleError> {
    let positions = rows.first().map_or(0, |r| r.shifts.len() / kv);
    let encode = |rows: &Rows| rows.values.iter().map(|v| v.to_le_bytes()).collect();
    let values: Vec<Vec<[u8; 2]>> = rows.iter().map(encode).collect();
    let tensors_of = |position: usize| {
        rows.iter().zip(&values).map(move |(rows, values)| {
            let values = values[position * kv * len..][..kv * len].as_flattened();
            (values, &rows.shifts[position * kv..][..kv])
        })
    };
    // All positions at once, so that no lane of the hashing idles.
    let tensors: Vec<_> = (0..positions).flat_map(tensors_of).collect();
    let leaves = merkle::roots_of_pieces(&tensors)?;
    merkle::roots(&leaves.chunks(rows.len().max(1)).collect::<Vec<_>>())
}
