//! Who is in time, to the second.

use refute_bisection::clock::{Clock, OutOfTime, Timing};
use refute_bisection::state::Party::{self, Challenger, Defender};

const TIMING: Timing = Timing { clock_s: 100, min_response_s: 10 };

#[test]
fn a_move_in_the_minimum_response_costs_nothing() {
    for elapsed_s in [0, 1, 9, 10] {
        let clock = Clock::open(TIMING, Some(Defender), 1000);
        let clock = clock.after_move(1000 + elapsed_s, Some(Challenger)).unwrap();
        assert_eq!(clock.defender_remaining_s, 100);
        assert_eq!(clock.last_move_at, 1000 + elapsed_s);
    }
}

#[test]
fn beyond_it_every_second_is_charged_to_who_moved() {
    let clock = Clock::open(TIMING, Some(Defender), 1000);
    let clock = clock.after_move(1011, Some(Challenger)).unwrap();
    assert_eq!((clock.defender_remaining_s, clock.challenger_remaining_s), (99, 100));
    let clock = clock.after_move(1011 + 60, Some(Defender)).unwrap();
    assert_eq!((clock.defender_remaining_s, clock.challenger_remaining_s), (99, 50));
}

#[test]
fn the_last_second_is_the_movers_and_the_next_one_the_others() {
    let clock = Clock::open(TIMING, Some(Challenger), 1000);
    assert_eq!(clock.deadline(), Some(1110));
    assert_eq!(clock.timed_out(1110), None);
    let moved = clock.after_move(1110, Some(Defender)).unwrap();
    assert_eq!(moved.challenger_remaining_s, 0);
    let out = OutOfTime { party: Challenger, deadline: 1110 };
    assert_eq!(clock.timed_out(1111), Some(out));
    assert_eq!(clock.after_move(1111, Some(Defender)), Err(out));
}

#[test]
fn every_second_belongs_to_exactly_one_of_move_and_timeout() {
    for (clock_s, min_response_s) in [(0, 0), (0, 1), (1, 0), (7, 3), (u32::MAX, u32::MAX)] {
        let timing = Timing { clock_s, min_response_s };
        let clock = Clock::open(timing, Some(Defender), 5);
        let end = 5 + u64::from(clock_s) + u64::from(min_response_s);
        for now in [5, end.saturating_sub(1).max(5), end, end + 1, end + 2] {
            let moves = clock.after_move(now, Some(Challenger)).is_ok();
            assert_eq!(moves, now <= end, "{timing:?} at {now}");
            assert_ne!(moves, clock.timed_out(now).is_some());
        }
    }
}

#[test]
fn an_empty_clock_still_has_the_minimum_response_of_each_move() {
    let mut clock = Clock { defender_remaining_s: 0, ..Clock::open(TIMING, Some(Defender), 0) };
    for round in 1..=5 {
        clock = clock.after_move(10 * round, Some(Defender)).unwrap();
        assert_eq!(clock.defender_remaining_s, 0);
    }
    // It can't be saved up: five moves at once don't make a late sixth one good.
    for _ in 0..5 {
        clock = clock.after_move(50, Some(Defender)).unwrap();
    }
    assert!(clock.after_move(61, Some(Defender)).is_err());
}

#[test]
fn when_it_is_over_nobody_is_late() {
    let clock = Clock::open(TIMING, None, 0);
    assert_eq!((clock.deadline(), clock.timed_out(u64::MAX)), (None, None));
    let moved = clock.after_move(u64::MAX, None).unwrap();
    assert_eq!((moved.defender_remaining_s, moved.challenger_remaining_s), (100, 100));
}

#[test]
fn times_at_the_ends_of_their_range_do_not_overflow() {
    let clock = Clock::open(TIMING, Some(Defender), u64::MAX - 5);
    assert_eq!(clock.deadline(), Some(u64::MAX));
    assert_eq!(clock.timed_out(u64::MAX), None);
    // A clock that went backwards counts as the same second.
    let back = clock.after_move(3, Some(Challenger)).unwrap();
    assert_eq!(back.last_move_at, u64::MAX - 5);
    assert_eq!(TIMING.decided_at_max(u64::MAX, 7, u32::MAX), u64::MAX);
}

/// A dispute in which both parties stall as long as they may, the defender with all of its clock
/// in its move `spend`.
pub fn slowest(timing: Timing, moves: u32, spend: u32, opened_at: u64) -> u64 {
    let mut clock = Clock::open(timing, Some(Defender), opened_at);
    for i in 0..moves - 1 {
        let party: Party = clock.to_move.unwrap();
        let now = if i / 2 == spend {
            clock.deadline().unwrap()
        } else {
            clock.last_move_at + u64::from(timing.min_response_s)
        };
        clock = clock.after_move(now, Some(party.other())).unwrap();
    }
    // The last move is never made: the first second of its timeout.
    clock.deadline().unwrap() + 1
}

#[test]
fn the_stated_delay_is_reached_and_never_passed() {
    for (moves, spend) in [(2, 0), (10, 0), (10, 3), (31, 14)] {
        let decided_at = slowest(TIMING, moves, spend, 777);
        assert_eq!(decided_at, 777 + TIMING.dispute_s_max(moves), "{moves} moves");
    }
}
