//! The commitments of a run in progress: a thread of its own hashes the K and V rows while the next blocks are computed.
//!
//! Generation yields one position at a time. Some of them are hashed together: the thread is woken once for all of them, and
//! a core that it takes from the computation is missed for one short while instead of at every token.

use crate::model::Model;
use rayon::prelude::*;
use refute_bisection::merkle::{self, Hash, MerkleError};
use refute_kernels::backend::Rows;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Batches that may wait to be hashed; then the computation waits for the hashing.
const QUEUE_MAX: usize = 8;

/// Positions that are hashed together: enough to fill the lanes, few enough to stay in the cache.
const GROUP: usize = 32;

/// What the thread is given, in the order of positions.
enum Work {
    /// Rows of consecutive positions, by slot.
    Rows(Vec<Rows>),
    /// A block root that is known already.
    Root(Hash),
    /// Somebody waits until everything before it is hashed: hangs up.
    Reached(Sender<()>),
}

/// Turns rows into block roots, in the background.
pub(super) struct Committer {
    /// Rows that don't fill a group yet, by slot.
    pending: Vec<Rows>,
    /// KV heads: shifts of a position's row.
    kv: usize,
    sender: SyncSender<Work>,
    thread: JoinHandle<Result<(Vec<Hash>, Duration), MerkleError>>,
}

impl Committer {
    pub(super) fn start(model: &Model) -> Self {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let kv = model.config.kv_heads as usize;
        let len = model.config.head_len as usize;
        let thread = std::thread::spawn(move || commit(&receiver, kv, len));
        Self { pending: Vec::new(), kv, sender, thread }
    }

    /// Rows of the next positions.
    pub(super) fn rows(&mut self, rows: Vec<Rows>) {
        if self.pending.is_empty() {
            self.pending = rows;
        } else {
            for (pending, rows) in self.pending.iter_mut().zip(rows) {
                pending.values.extend(rows.values);
                pending.shifts.extend(rows.shifts);
            }
        }
        if positions(&self.pending, self.kv) >= GROUP {
            self.flush();
        }
    }

    /// The next position's block root.
    pub(super) fn root(&mut self, root: Hash) {
        self.flush();
        self.send(Work::Root(root));
    }

    /// Waits until all positions so far are hashed.
    pub(super) fn wait(&mut self) {
        self.flush();
        let (reached, waits) = channel();
        self.send(Work::Reached(reached));
        // It never sends, so this ends when the thread has come to it, or has stopped.
        let _ = waits.recv();
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let rows = std::mem::take(&mut self.pending);
            self.send(Work::Rows(rows));
        }
    }

    fn send(&self, work: Work) {
        // A thread that has stopped has an error, which `finish` gives.
        let _ = self.sender.send(work);
    }

    /// All block roots, and the time that hashing took.
    pub(super) fn finish(mut self) -> Result<(Vec<Hash>, Duration), MerkleError> {
        self.flush();
        drop(self.sender);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Positions that rows hold.
fn positions(rows: &[Rows], kv: usize) -> usize {
    rows.first().map_or(0, |r| r.shifts.len() / kv)
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
            Work::Reached(reached) => drop(reached),
            Work::Rows(rows) => roots.extend(block_roots(&rows, kv, len)?),
        }
        spent += start.elapsed();
    }
    Ok((roots, spent))
}

/// The block roots of consecutive positions, group by group on all threads.
fn block_roots(rows: &[Rows], kv: usize, len: usize) -> Result<Vec<Hash>, MerkleError> {
    let count = positions(rows, kv);
    if count <= GROUP {
        return group_roots(rows, kv, len, 0..count);
    }
    let groups = (0..count.div_ceil(GROUP)).into_par_iter();
    let group = |i: usize| group_roots(rows, kv, len, i * GROUP..count.min((i + 1) * GROUP));
    Ok(groups.map(group).collect::<Result<Vec<_>, _>>()?.concat())
}

/// The block roots of positions `range`: the tree over the roots of each position's carried tensors.
fn group_roots(
    rows: &[Rows],
    kv: usize,
    len: usize,
    range: Range<usize>,
) -> Result<Vec<Hash>, MerkleError> {
    let encode = |rows: &Rows| {
        let values = &rows.values[range.start * kv * len..range.end * kv * len];
        values.iter().map(|v| v.to_le_bytes()).collect()
    };
    let values: Vec<Vec<[u8; 2]>> = rows.iter().map(encode).collect();
    let tensors_of = |position: usize| {
        rows.iter().zip(&values).map(move |(rows, values)| {
            let values = values[(position - range.start) * kv * len..][..kv * len].as_flattened();
            (values, &rows.shifts[position * kv..][..kv])
        })
    };
    // All positions at once, so that no lane of the hashing idles.
    let tensors: Vec<_> = range.clone().flat_map(tensors_of).collect();
    let leaves = merkle::roots_of_pieces(&tensors)?;
    merkle::roots(&leaves.chunks(rows.len().max(1)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use refute_bisection::merkle::Tree;

    const KV: usize = 3;
    const LEN: usize = 8;

    /// Rows of four slots, no two of them the same.
    fn rows(positions: Range<usize>) -> Vec<Rows> {
        let row = |slot: usize| {
            let value = |i: usize| (slot * 7919 + i * 31) as i16;
            let shift = |i: usize| (slot + i) as u8 % 16;
            Rows {
                values: (positions.start * KV * LEN..positions.end * KV * LEN).map(value).collect(),
                shifts: (positions.start * KV..positions.end * KV).map(shift).collect(),
            }
        };
        (0..4).map(row).collect()
    }

    /// The root of one block, tree by tree.
    fn expected(position: usize) -> Hash {
        let tree = |rows: &Rows| {
            let values = rows.values.iter().flat_map(|v| v.to_le_bytes());
            let bytes: Vec<u8> = values.chain(rows.shifts.iter().copied()).collect();
            Tree::of_bytes(&bytes).unwrap().root()
        };
        let roots = rows(position..position + 1).iter().map(tree).collect();
        Tree::new(roots).unwrap().root()
    }

    #[test]
    fn roots_come_in_order_however_the_positions_were_handed_over() {
        let n = 3 * GROUP + 5;
        for step in [1, 2, GROUP - 1, GROUP, GROUP + 1, n] {
            let (sender, receiver) = sync_channel(QUEUE_MAX);
            let thread = std::thread::spawn(move || commit(&receiver, KV, LEN));
            let mut committer = Committer { pending: Vec::new(), kv: KV, sender, thread };
            let mut at = 0;
            let mut known = 0;
            while at < n {
                // A root that is known already may come between any two.
                if at >= n / 2 && known == 0 {
                    committer.root(expected(at));
                    (at, known) = (at + 1, 1);
                    continue;
                }
                let end = n.min(at + step);
                committer.rows(rows(at..end));
                if at < n / 4 {
                    committer.wait();
                    assert!(committer.pending.is_empty(), "everything is handed over");
                }
                at = end;
            }
            let (roots, _) = committer.finish().unwrap();
            let expected: Vec<Hash> = (0..n).map(expected).collect();
            assert_eq!(roots, expected, "in steps of {step}");
        }
    }
}
