//! Every op: the Rust reference against the contract, on random and adversarial inputs, compared with `==`.
//!
//! A case is one element of a step in a world made up from a seed. All modes that its fold has are put to the contract, with
//! the reference's value, which it must confirm, and with another one, which it must not; a sample of the witnesses is
//! corrupted in every way that we know, and none of them may lead to a verdict.
//!
//! `REFUTE_PARITY_CASES` sets the cases of an op (2,000 unless told; 100,000 for a night). `REFUTE_PARITY_SEED` reruns the one
//! case whose seed a failure printed. `--nocapture` shows the gas of each op's dearest call.

mod case;
mod draw;
mod expected;
pub(crate) mod export;
mod golden;
mod libraries;
mod mutations;
mod shapes;

use alloy::primitives::I256;
use case::Case;
use rayon::prelude::*;
use refute_contracts::bindings::Statement;
use refute_engine::program::Op;
use refute_tests::tiny::Random;
use refute_tests::verifier::world::{Ask, Sealed};
use refute_tests::verifier::{Answer, Verifier, witness};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Cases of an op unless told otherwise.
const CASES: u64 = 2000;

/// Gas that no step may need.
const GAS_MAX: u64 = 1_000_000;

/// Of so many cases, the witnesses of one are corrupted.
const MUTATED_EVERY: u64 = 16;

const OPS: [Op; 13] = [
    Op::Embed,
    Op::RmsNorm,
    Op::Quantize,
    Op::Linear,
    Op::Rope,
    Op::Scores,
    Op::Max,
    Op::Probs,
    Op::Sum,
    Op::Mix,
    Op::SwiGlu,
    Op::Collect,
    Op::Sample,
];

const WHOLE: u8 = 0;
const SEGMENT: u8 = 1;
const FINALIZE: u8 = 2;

/// One question to the contract, and the right answer.
#[derive(Clone, Debug)]
struct Check {
    mode: u8,
    unit: u64,
    acc_in: i128,
    /// The accumulator after the unit, or the element.
    expected: I256,
    asks: Vec<Ask>,
}

impl Check {
    /// What a defender says who claims `value`. Fields of other modes hold noise.
    fn statement(
        &self,
        case: &Case,
        sealed: &Sealed,
        value: I256,
        random: &mut Random,
    ) -> Statement {
        let mut s = sealed.statement().clone();
        let (d0, d1) = case.d.words();
        (s.d0, s.d1) = (d0.into(), d1.into());
        (s.mode, s.element) = (self.mode, case.element);
        let mut noise = || I256::unchecked_from(random.bits() as i64);
        (s.accIn, s.accOut, s.claimed) = (noise(), noise(), noise());
        s.unit = random.bits();
        if self.mode != WHOLE {
            s.accIn = I256::unchecked_from(self.acc_in);
        }
        if self.mode == SEGMENT {
            (s.unit, s.accOut) = (self.unit, value);
        } else {
            s.claimed = value;
        }
        s
    }
}

/// What was asked, and the most that an answer cost.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    cases: u64,
    calls: u64,
    mutations: u64,
    gas_max: u64,
    calldata_max: usize,
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            cases: self.cases + other.cases,
            calls: self.calls + other.calls,
            mutations: self.mutations + other.mutations,
            gas_max: self.gas_max.max(other.gas_max),
            calldata_max: self.calldata_max.max(other.calldata_max),
        }
    }
}

/// Any other word than the right one: a neighbour, a bit anywhere in 256, its negative, what only differs beyond a width.
fn other_than(right: I256, random: &mut Random) -> I256 {
    let bit = |i: u32| I256::ONE.wrapping_shl(i as usize);
    let wrong = match random.below(6) {
        0 => right.wrapping_add(I256::ONE),
        1 => right.wrapping_sub(I256::ONE),
        2 => right.wrapping_neg(),
        3 => right.wrapping_add(bit([8, 16, 32, 64, 128, 255][random.below(6) as usize])),
        _ => right ^ bit(random.below(256)),
    };
    if wrong == right { right.wrapping_add(I256::ONE) } else { wrong }
}

/// Puts all checks of a case to the contract.
fn ask(
    verifier: &Verifier,
    case: &Case,
    sealed: &Sealed,
    checks: &[Check],
    random: &mut Random,
) -> Result<Tally, String> {
    let mut tally = Tally { cases: 1, ..Tally::default() };
    for check in checks {
        let openings: Vec<_> = check.asks.iter().map(|ask| sealed.open(*ask)).collect();
        let witness = witness(&openings);
        let wrong = other_than(check.expected, random);
        for (value, right) in [(check.expected, true), (wrong, false)] {
            let statement = check.statement(case, sealed, value, random);
            let answered = verifier.verify(&statement, witness.clone());
            let place = || format!("{check:?} of {:?} at {}:{}", case.d, case.t, case.element);
            if answered.answer != Answer::Verdict(right) {
                let answer = answered.answer;
                return Err(format!("{answer:?} about {value}, not {right}: {}", place()));
            }
            if answered.gas > GAS_MAX {
                return Err(format!("{} gas: {}", answered.gas, place()));
            }
            tally.calls += 1;
            tally.gas_max = tally.gas_max.max(answered.gas);
            tally.calldata_max = tally.calldata_max.max(witness.len());
        }
    }
    Ok(tally)
}

/// One case of an op, all of it from the seed.
fn one(verifier: &Verifier, op: Op, seed: u64, is_mutated: bool) -> Result<Tally, String> {
    let mut random = Random::new(seed);
    let case = draw::case(op, &mut random);
    let (sealed, checks) = expected::checks(&case, &mut random)?;
    let mut tally = ask(verifier, &case, &sealed, &checks, &mut random)?;
    if is_mutated {
        for check in &checks {
            tally.mutations += mutations::all(verifier, &case, &sealed, check, &mut random)?;
        }
    }
    Ok(tally)
}

/// As [`one`]; a failure, even a panic of the reference, says how to get it again.
fn reported(verifier: &Verifier, op: Op, seed: u64, is_mutated: bool) -> Result<Tally, String> {
    let result = catch_unwind(AssertUnwindSafe(|| one(verifier, op, seed, is_mutated)));
    let result = result.unwrap_or_else(|_| Err("a panic, see above".into()));
    result.map_err(|e| {
        format!(
            "{} with seed {seed:#x}: {e}\nrerun with REFUTE_PARITY_SEED={seed:#x} \
             cargo test -p refute-tests --test it parity::every_op",
            op.name()
        )
    })
}

fn cases() -> u64 {
    let set = std::env::var("REFUTE_PARITY_CASES").ok();
    set.map_or(CASES, |n| n.parse().expect("REFUTE_PARITY_CASES is a number"))
}

fn only_seed() -> Option<u64> {
    let set = std::env::var("REFUTE_PARITY_SEED").ok()?;
    let digits = set.strip_prefix("0x").unwrap_or(&set);
    Some(u64::from_str_radix(digits, 16).expect("REFUTE_PARITY_SEED is hexadecimal"))
}

fn run(verifier: &Verifier, op: Op) -> Result<Tally, String> {
    if let Some(seed) = only_seed() {
        return reported(verifier, op, seed, true);
    }
    let seeds = |i: u64| Random::new((op as u64 + 1) << 48 | i).bits();
    (0..cases())
        .into_par_iter()
        .map(|i| reported(verifier, op, seeds(i), i % MUTATED_EVERY == 0))
        .try_reduce(Tally::default, |a, b| Ok(a.and(b)))
}

#[test]
fn every_op_is_the_same_in_rust_and_on_chain() {
    let verifier = Verifier::deploy();
    println!("op            cases    calls  corrupted  gas at most  witness at most     time");
    for op in OPS {
        let start = Instant::now();
        let tally = run(&verifier, op).unwrap_or_else(|e| panic!("{e}"));
        let Tally { cases, calls, mutations, gas_max, calldata_max } = tally;
        println!(
            "{:<10} {cases:>8} {calls:>8} {mutations:>10} {gas_max:>12} {calldata_max:>14} B {:>7.1}s",
            op.name(),
            start.elapsed().as_secs_f32()
        );
    }
}
