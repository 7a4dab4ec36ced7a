//! In which order claims are checked, and which of them can't be in time.
//!
//! All checks take the same machine, so the claim whose window ends first comes first; that order keeps all deadlines
//! if any order does, and short ones that run at the same time are only faster. Where none does, as many claims as
//! possible are kept in time: whenever one would be late, the longest so far gives way (Moore and Hodgson). Those that
//! gave way come last, for the estimate may be too high.

use alloy::primitives::B256;
use refute_engine::cost::{self, Cost};
use std::time::Duration;

/// Milliseconds between a verdict and the end of the window that a challenge needs to get into a block.
const CHALLENGE_MS: u64 = 15_000;

/// A claim that is to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// The claim.
    pub claim: B256,
    /// End of its window, Unix seconds.
    pub window_end_s: u64,
    /// What its check takes.
    pub cost: Cost,
    /// How long that is expected to take, milliseconds.
    pub expected_ms: u64,
    /// Whether it is being checked already.
    pub started: bool,
}

/// A task in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The task.
    pub task: Task,
    /// When its verdict is expected, milliseconds from now.
    pub ready_ms: u64,
    /// Whether that is too late for a challenge.
    pub is_late: bool,
}

/// All tasks in the order in which they are checked. What was started comes first: it isn't interrupted.
pub fn plan(now_s: u64, tasks: &[Task]) -> Vec<Slot> {
    let (mut kept, mut waiting): (Vec<Task>, Vec<Task>) = tasks.iter().partition(|t| t.started);
    let deadline = |t: &Task| (t.window_end_s, t.claim);
    kept.sort_by_key(deadline);
    waiting.sort_by_key(deadline);
    let started = kept.len();
    let (mut total_ms, mut late) =
        (kept.iter().map(|t| t.expected_ms).fold(0, u64::saturating_add), Vec::new());
    for task in waiting {
        kept.push(task);
        total_ms = total_ms.saturating_add(task.expected_ms);
        if total_ms > limit_ms(now_s, &task) {
            let longest = (started..kept.len()).max_by_key(|i| kept[*i].expected_ms);
            let Some(longest) = longest else { continue };
            let given_up = kept.remove(longest);
            total_ms = total_ms.saturating_sub(given_up.expected_ms);
            late.push(given_up);
        }
    }
    late.sort_by_key(deadline);
    let mut ready_ms = 0u64;
    let slot = |task: Task| {
        ready_ms = ready_ms.saturating_add(task.expected_ms);
        Slot { task, ready_ms, is_late: ready_ms > limit_ms(now_s, &task) }
    };
    kept.into_iter().chain(late).map(slot).collect()
}

/// Until when a verdict leaves time for a challenge, milliseconds from now.
fn limit_ms(now_s: u64, task: &Task) -> u64 {
    task.window_end_s.saturating_sub(now_s).saturating_mul(1000).saturating_sub(CHALLENGE_MS)
}

/// How many of a plan's first slots run now: all that were started, and more while they are short and small together.
pub fn at_once(plan: &[Slot]) -> usize {
    let started = plan.iter().take_while(|slot| slot.task.started).count();
    let expected = |task: &Task| Duration::from_millis(task.expected_ms);
    let checks = plan.iter().map(|slot| (&slot.task.cost, expected(&slot.task)));
    started.max(cost::at_once(checks))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_000;

    fn task(id: u8, window_s: u64, expected_s: u64) -> Task {
        Task {
            claim: B256::repeat_byte(id),
            window_end_s: NOW_S + window_s,
            expected_ms: expected_s * 1000,
            cost: cost(1 << 20),
            started: false,
        }
    }

    fn cost(memory_bytes: u64) -> Cost {
        Cost { memory_bytes, ..Cost::default() }
    }

    fn order(plan: &[Slot]) -> Vec<(u8, bool)> {
        plan.iter().map(|s| (s.task.claim[0], s.is_late)).collect()
    }

    #[test]
    fn the_window_that_ends_first_comes_first() {
        let tasks = [task(1, 300, 1), task(2, 100, 50), task(3, 200, 1)];
        let plan = plan(NOW_S, &tasks);
        assert_eq!(order(&plan), [(2, false), (3, false), (1, false)]);
        assert_eq!(plan.iter().map(|s| s.ready_ms).collect::<Vec<_>>(), [50_000, 51_000, 52_000]);
    }

    #[test]
    fn a_claim_that_would_make_others_late_comes_last() {
        // The second takes longer than all windows; checked in order of deadlines, the two behind it would be late as well.
        let tasks = [task(1, 40, 10), task(2, 45, 500), task(3, 60, 10), task(4, 70, 10)];
        let plan = plan(NOW_S, &tasks);
        assert_eq!(order(&plan), [(1, false), (3, false), (4, false), (2, true)]);
    }

    #[test]
    fn no_other_order_has_fewer_late_ones() {
        // Against all subsets: one can be kept in time iff the order of deadlines keeps it.
        let mut seed = 1u64;
        let mut random = move |n: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        for _ in 0..500 {
            let tasks: Vec<Task> =
                (0..7).map(|i| task(i, 16 + random(60), 1 + random(25))).collect();
            let kept = plan(NOW_S, &tasks).iter().filter(|s| !s.is_late).count();
            let feasible = |subset: u32| {
                let mut chosen: Vec<&Task> =
                    (0..7).filter(|i| subset >> i & 1 == 1).map(|i| &tasks[i]).collect();
                chosen.sort_by_key(|t| t.window_end_s);
                let mut at = 0;
                chosen.iter().all(|t| {
                    at += t.expected_ms;
                    at <= limit_ms(NOW_S, t)
                })
            };
            let best = (0..1u32 << 7).filter(|s| feasible(*s)).map(u32::count_ones).max();
            assert_eq!(Some(kept as u32), best, "{tasks:?}");
        }
    }

    #[test]
    fn what_was_started_is_not_put_back() {
        let started = Task { started: true, ..task(1, 1000, 30) };
        let plan = plan(NOW_S, &[task(2, 40, 20), started, task(3, 400, 5)]);
        assert_eq!(order(&plan), [(1, false), (3, false), (2, true)]);
    }

    #[test]
    fn a_window_that_has_ended_is_late_and_nothing_overflows() {
        let mut over = task(1, 0, 5);
        over.window_end_s = 0;
        let huge = Task { expected_ms: u64::MAX, cost: cost(u64::MAX), ..task(2, 100, 1) };
        let far = Task { window_end_s: u64::MAX, ..task(3, 0, 1) };
        let plan = plan(NOW_S, &[over, huge, huge, far]);
        assert_eq!(order(&plan), [(3, false), (1, true), (2, true), (2, true)]);
        assert_eq!(at_once(&plan), 1);
    }

    #[test]
    fn what_was_started_goes_on_and_others_join_while_all_are_short() {
        let short = |id| Task { expected_ms: 100, ..task(id, 600, 0) };
        let many: Vec<Task> = (0..9).map(short).collect();
        assert_eq!(at_once(&plan(NOW_S, &many)), 9);
        assert_eq!(at_once(&plan(NOW_S, &[task(1, 600, 100), task(2, 700, 1)])), 1);
        assert_eq!(at_once(&[]), 0);
        let started = |id| Task { started: true, ..task(id, 600, 100) };
        assert_eq!(at_once(&plan(NOW_S, &[started(1), started(2), short(3)])), 2);
        let started = |id| Task { started: true, ..short(id) };
        assert_eq!(at_once(&plan(NOW_S, &[started(1), started(2), short(3)])), 3);
    }
}
