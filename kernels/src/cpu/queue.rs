//! Sequences that go through the layers together.
//!
//! A call of `forward` puts its positions in a queue. One of those who wait leads: it takes as many
//! positions as a part holds, first come, first served, of however many sequences, runs them, and
//! wakes the others. So a weight that is fetched from memory serves everybody, and nobody has to
//! know of anybody else.

use super::BATCH;
use super::cache::Cache;
use crate::backend::{Batch, Head};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a part waits for sequences of the one before: somebody who generates comes back with
/// the next token at once, and would otherwise be missed by just so much, every time.
const LINGER: Duration = Duration::from_micros(300);

/// A call of `forward`, with what it works on.
pub(super) struct Job {
    pub(super) tokens: Vec<u32>,
    pub(super) head: Head,
    /// Of the first token.
    pub(super) position: usize,
    pub(super) cache: Cache,
    pub(super) batch: Batch,
    /// Tokens that are done.
    done: usize,
    /// Whether it shares no part: logits are kept, and what is saturated is counted, for the one
    /// that asked; and nobody suffers twice from another's failure.
    alone: bool,
    /// Since when it waits for its next part.
    since: Instant,
    /// Time that went to others.
    pub(super) waited: Duration,
}

impl Job {
    pub(super) fn new(
        tokens: &[u32],
        head: Head,
        position: usize,
        (cache, batch): (Cache, Batch),
    ) -> Self {
        Self {
            tokens: tokens.to_vec(),
            head,
            position,
            cache,
            batch,
            done: 0,
            alone: matches!(head, Head::Logits(_)),
            since: Instant::now(),
            waited: Duration::ZERO,
        }
    }

    /// The first token with a head.
    pub(super) fn first_head(&self) -> usize {
        self.tokens.len() - self.head.positions()
    }

    fn left(&self) -> usize {
        self.tokens.len() - self.done
    }
}

/// What a part takes of a job.
pub(super) struct Share {
    id: u64,
    pub(super) job: Job,
    /// Its tokens.
    pub(super) taken: Range<usize>,
}

#[derive(Default)]
struct State {
    /// By sequence, in the order of their coming.
    waiting: VecDeque<(u64, Job)>,
    finished: HashMap<u64, Job>,
    /// Sequences that were in the last part, and may be about to come back.
    away: HashSet<u64>,
    /// Whether somebody leads.
    led: bool,
    /// Names of sequences.
    next: u64,
}

/// Who waits for a model.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue of {}", self.lock().waiting.len())
    }
}

impl Queue {
    /// A name for a sequence, which has one job at a time.
    pub(super) fn enter(&self) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        state.next
    }

    /// Nobody needs to wait for this sequence any more.
    pub(super) fn leave(&self, id: u64) {
        let mut state = self.lock();
        state.finished.remove(&id);
        if state.away.remove(&id) {
            self.changed.notify_all();
        }
    }

    /// Has a sequence's job done by `run`, which does a part's shares; by this thread or another.
    ///
    /// # Panics
    /// If this thread leads, and `run` does.
    pub(super) fn work(&self, id: u64, job: Job, run: &dyn Fn(&mut [Share])) -> Job {
        let mut state = self.lock();
        state.waiting.push_back((id, job));
        if state.away.remove(&id) && state.led {
            self.changed.notify_all();
        }
        loop {
            if let Some(finished) = state.finished.remove(&id) {
                return finished;
            }
            if state.led {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.led = true;
            state = self.linger(state);
            let shares = state.take();
            drop(state);
            let mut part = Part { queue: self, leader: id, shares };
            run(&mut part.shares);
            drop(part);
            state = self.lock();
        }
    }

    /// Waits a moment for those who were in the last part.
    fn linger<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let until = Instant::now() + LINGER;
        while !state.away.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.away.clear();
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next part.
    fn take(&mut self) -> Vec<Share> {
        let (mut shares, mut room) = (Vec::new(), BATCH);
        let now = Instant::now();
        while room > 0
            && let Some((id, mut job)) = self.waiting.pop_front()
        {
            if job.alone && !shares.is_empty() {
                self.waiting.push_front((id, job));
                break;
            }
            job.waited += now - job.since;
            job.since = now;
            let taken = job.done..job.done + job.left().min(room);
            room = if job.alone { 0 } else { room - taken.len() };
            shares.push(Share { id, job, taken });
        }
        shares
    }

    /// What is not done yet waits where it was.
    fn give_back(&mut self, shares: Vec<Share>) {
        let total: usize = shares.iter().map(|share| share.taken.len()).sum();
        for Share { id, mut job, taken } in shares.into_iter().rev() {
            let spent = job.since.elapsed();
            job.waited += spent * (total - taken.len()) as u32 / total.max(1) as u32;
            job.since += spent;
            job.done = taken.end;
            if job.left() == 0 {
                self.away.insert(id);
                self.finished.insert(id, job);
            } else {
                self.waiting.push_front((id, job));
            }
        }
    }

    /// After a panic in the leader's thread: nobody knows whose fault it was, so the others go on
    /// alone, from where the part began. What it has written is written again.
    fn give_up(&mut self, leader: u64, shares: Vec<Share>) {
        self.waiting.retain(|(id, _)| *id != leader);
        for Share { id, mut job, .. } in shares.into_iter().rev().filter(|s| s.id != leader) {
            job.alone = true;
            self.waiting.push_front((id, job));
        }
    }
}

/// A part that is being run. However that ends, the next one can be led.
struct Part<'a> {
    queue: &'a Queue,
    leader: u64,
    shares: Vec<Share>,
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        let shares = std::mem::take(&mut self.shares);
        if std::thread::panicking() {
            state.give_up(self.leader, shares);
        } else {
            state.give_back(shares);
        }
        state.led = false;
        self.queue.changed.notify_all();
    }
}

/// Runs jobs to their ends, together, in this thread.
#[cfg(test)]
pub(super) fn drain(jobs: Vec<Job>, run: &dyn Fn(&mut [Share])) -> Vec<Job> {
    let ids = 0..jobs.len() as u64;
    let mut state = State { waiting: ids.clone().zip(jobs).collect(), ..State::default() };
    while !state.waiting.is_empty() {
        let mut shares = state.take();
        run(&mut shares);
        state.give_back(shares);
    }
    ids.filter_map(|id| state.finished.remove(&id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Heads;
    use crate::reference::Sampling;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn job(tokens: usize, head: Head) -> Job {
        let cache = Cache::new(Heads { heads: 1, kv: 1, len: 2 }, 1, 1).unwrap();
        Job::new(&vec![0; tokens], head, 0, (cache, Batch::default()))
    }

    fn taken(shares: &[Share]) -> Vec<(u64, Range<usize>)> {
        shares.iter().map(|share| (share.id, share.taken.clone())).collect()
    }

    #[test]
    fn parts_are_filled_in_the_order_of_coming() {
        let mut state = State::default();
        let one = Head::Samples(1, Sampling::GREEDY);
        for (id, tokens) in [(1, BATCH + 3), (2, 5), (3, BATCH - 9), (4, 2)] {
            state.waiting.push_back((id, job(tokens, one)));
        }
        state.waiting.push_back((5, job(1, Head::Logits(1))));
        state.waiting.push_back((6, job(1, Head::None)));
        let parts: [&[(u64, Range<usize>)]; 4] = [
            &[(1, 0..BATCH)],
            &[(1, BATCH..BATCH + 3), (2, 0..5), (3, 0..BATCH - 9), (4, 0..1)],
            &[(4, 1..2)],
            &[(5, 0..1)],
        ];
        for part in parts {
            let shares = state.take();
            assert_eq!(taken(&shares), part);
            state.give_back(shares);
        }
        assert_eq!(taken(&state.take()), [(6, 0..1)]);
        let mut finished: Vec<u64> = state.finished.keys().copied().collect();
        finished.sort_unstable();
        assert_eq!(finished, [1, 2, 3, 4, 5]);
    }

    /// Four calls at once; the first part isn't left until the other three wait. Whether each went
    /// well, and how many jobs the largest part had.
    fn four(fails: bool) -> (Vec<bool>, usize) {
        let (queue, most) = (Queue::default(), AtomicUsize::new(0));
        let run = |shares: &mut [Share]| {
            let is_first = most.fetch_max(shares.len(), Ordering::Relaxed) == 0;
            while is_first && queue.lock().waiting.len() < 3 {
                std::thread::yield_now();
            }
            assert!(!fails || shares.len() == 1, "on purpose");
        };
        let ids: Vec<u64> = (0..4).map(|_| queue.enter()).collect();
        let results = std::thread::scope(|scope| {
            let call = |&id| {
                let (queue, run) = (&queue, &run);
                scope.spawn(move || queue.work(id, job(1, Head::None), run).left() == 0)
            };
            let threads: Vec<_> = ids.iter().map(call).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(false)).collect()
        });
        ids.iter().for_each(|id| queue.leave(*id));
        let state = queue.lock();
        assert!(state.waiting.is_empty() && state.finished.is_empty() && !state.led);
        assert!(state.away.is_empty());
        drop(state);
        (results, most.into_inner())
    }

    #[test]
    fn who_waits_meanwhile_goes_together() {
        assert_eq!(four(false), (vec![true; 4], 3));
    }

    #[test]
    fn only_the_thread_that_panics_is_lost() {
        let (results, most) = four(true);
        assert_eq!((results.iter().filter(|good| **good).count(), most), (3, 3));
    }
}
