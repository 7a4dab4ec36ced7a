//! The threads that work on one model, and memory that they write in parts.
//!
//! A token is some two hundred short parallel regions, a few microseconds each, so helpers wait for
//! the next region by spinning for a while, and sleep when none comes. Tasks are taken one by one,
//! so a thread that the machine has taken away delays only the task that it is at: a helper that
//! comes late finds the region closed.
#![expect(
    unsafe_code,
    reason = "helpers borrow what the caller of `run` has, and write disjoint parts of it"
)]

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Rounds of waiting: first with a pause, then giving the core to others, then asleep.
const PAUSES: u32 = 2_000;
const YIELDS: u32 = 200;

/// In `state`: helpers inside, whether the region is open, and the region's number above.
const OPEN: u64 = 1 << 31;
const EPOCH: u64 = 1 << 32;
const COUNT: u64 = OPEN - 1;

type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// What a region runs. The pointer is valid while the region is open or helpers are inside.
#[derive(Clone, Copy)]
struct Region {
    task: *const Task<'static>,
    tasks: usize,
}

// SAFETY: the task is `Sync`, and is only used as `Shared` describes.
unsafe impl Send for Region {}

struct Shared {
    state: AtomicU64,
    /// Written before a region opens, read by those inside.
    region: Mutex<Option<Region>>,
    next: AtomicUsize,
    left: AtomicU64,
    sleeping: AtomicUsize,
    failed: AtomicBool,
    stop: AtomicBool,
}

/// A number of threads, the caller's one of them.
pub(super) struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Team of {}", self.threads())
    }
}

impl Team {
    /// # Errors
    /// The system gives no more threads.
    pub(super) fn new(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            region: Mutex::new(None),
            next: AtomicUsize::new(0),
            left: AtomicU64::new(0),
            sleeping: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let mut team = Self { shared, helpers: Vec::new() };
        for worker in 1..threads {
            let shared = team.shared.clone();
            let helper = thread::Builder::new().name(format!("refute-cpu-{worker}"));
            team.helpers.push(helper.spawn(move || shared.help(worker))?);
        }
        Ok(team)
    }

    pub(super) fn threads(&self) -> usize {
        1 + self.helpers.len()
    }

    /// Calls `task(worker, i)` once for each `i` below `tasks`, on all threads; workers are
    /// numbered from 0. Needs the team for itself, so two calls can't mix.
    ///
    /// # Panics
    /// If a task does.
    pub(super) fn run(&mut self, tasks: usize, task: &Task<'_>) {
        if tasks <= 1 || self.helpers.is_empty() {
            (0..tasks).for_each(|i| task(0, i));
            return;
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. `close` returns when no helper is inside any more and
        // none can enter, and it is called before this function returns, even if a task panics.
        let task = unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) };
        shared.open(Region { task, tasks }, &self.helpers);
        let own = catch_unwind(AssertUnwindSafe(|| shared.work(0, Region { task, tasks })));
        shared.close();
        let panic: Option<Box<dyn Any + Send>> = own.err();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        assert!(!shared.failed.swap(false, Ordering::Relaxed), "a task of a helper panicked");
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            // A helper catches its panics, so it has none to report.
            drop(helper.join());
        }
    }
}

impl Shared {
    fn open(&self, region: Region, helpers: &[JoinHandle<()>]) {
        *self.region.lock().unwrap_or_else(PoisonError::into_inner) = Some(region);
        self.next.store(0, Ordering::Relaxed);
        self.left.store(0, Ordering::Relaxed);
        let epoch = self.state.load(Ordering::Relaxed) & !(EPOCH - 1);
        self.state.store(epoch.wrapping_add(EPOCH) | OPEN, Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            helpers.iter().for_each(|h| h.thread().unpark());
        }
    }

    /// Lets no helper in any more, and waits for those inside.
    fn close(&self) {
        let inside = self.state.fetch_and(!OPEN, Ordering::AcqRel) & COUNT;
        let mut round = 0;
        while self.left.load(Ordering::Acquire) != inside {
            wait(&mut round);
        }
    }

    fn work(&self, worker: usize, region: Region) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= region.tasks {
                return;
            }
            // SAFETY: this thread is the caller of `run` or inside the region, so the caller waits.
            unsafe { (*region.task)(worker, i) };
        }
    }

    /// A helper's life.
    fn help(&self, worker: usize) {
        let mut seen = 0;
        let mut round = 0;
        while !self.stop.load(Ordering::SeqCst) {
            let state = self.state.load(Ordering::SeqCst);
            let epoch = state & !(EPOCH - 1);
            if epoch == seen || state & OPEN == 0 {
                self.idle(&mut round, state);
                continue;
            }
            let entered = self.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if entered.is_err() {
                continue;
            }
            (seen, round) = (epoch, 0);
            let region = *self.region.lock().unwrap_or_else(PoisonError::into_inner);
            let work = || region.into_iter().for_each(|region| self.work(worker, region));
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            self.left.fetch_add(1, Ordering::Release);
        }
    }

    /// Waits a little, or, after many rounds, until a region opens.
    fn idle(&self, round: &mut u32, state: u64) {
        if *round < PAUSES + YIELDS {
            wait(round);
            return;
        }
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        // Whoever opens a region after this look sees that somebody sleeps, and wakes it; an
        // earlier waking is remembered by `park`.
        let unchanged = |state| self.state.load(Ordering::SeqCst) == state;
        if unchanged(state) && !self.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
        *round = 0;
    }
}

fn wait(round: &mut u32) {
    if *round < PAUSES {
        std::hint::spin_loop();
    } else {
        thread::yield_now();
    }
    *round = round.saturating_add(1);
}

/// A slice of which tasks write disjoint parts.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a, T> {
    start: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: it hands out `&mut [T]` to several threads, each part to one of them.
unsafe impl<T: Send> Send for Parts<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(super) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), lifetime: PhantomData }
    }

    /// The part `range`.
    ///
    /// # Safety
    /// While it is in use, no other part that overlaps it is.
    ///
    /// # Panics
    /// If it is out of bounds.
    pub(super) unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "a part of the slice");
        // SAFETY: in bounds of a slice that is borrowed for 'a; the caller sees to disjointness.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_does_every_task_once() {
        for threads in [1, 2, 5] {
            let mut team = Team::new(threads).unwrap();
            for tasks in [0, 1, 2, 3, 100, 1000] {
                let mut done = vec![0u8; tasks];
                let parts = Parts::new(&mut done);
                let sum = AtomicUsize::new(0);
                team.run(tasks, &|worker, i| {
                    assert!(worker < threads);
                    // SAFETY: every task has an element of its own.
                    unsafe {
                        parts.part(i..i + 1)[0] += 1;
                    }
                    sum.fetch_add(i, Ordering::Relaxed);
                });
                assert!(done.iter().all(|&n| n == 1));
                assert_eq!(sum.into_inner(), tasks * tasks.saturating_sub(1) / 2);
            }
        }
    }

    #[test]
    fn a_team_sleeps_and_wakes() {
        let mut team = Team::new(3).unwrap();
        let count = AtomicU64::new(0);
        for pause_ms in [0, 0, 5, 0, 20, 1] {
            std::thread::sleep(std::time::Duration::from_millis(pause_ms));
            team.run(50, &|_, _| {
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert_eq!(count.into_inner(), 300);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_survives() {
        let mut team = Team::new(3).unwrap();
        for at in [0, 7, 63] {
            let run = std::panic::AssertUnwindSafe(|| {
                team.run(64, &|_, i| assert!(i != at, "task {at} fails"));
            });
            assert!(std::panic::catch_unwind(run).is_err());
            let count = AtomicU64::new(0);
            team.run(64, &|_, _| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 64);
        }
    }
}
