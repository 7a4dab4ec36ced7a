//! Random faults, how many of them a test tries, and what disputes cost.

use crate::arena::{Arena, Verdict};
use crate::tiny::Random;
use refute_bisection::state::Party;
use refute_engine::fault::{Fault, FaultSpec};
use refute_engine::model::Model;
use refute_engine::subject::Player;
use refute_engine::trace::Run;
use std::sync::Arc;

/// Games that a test plays, each from its own seed.
#[derive(Clone, Copy, Debug)]
pub struct Trials {
    /// How many.
    pub count: usize,
    seed: u64,
}

impl Trials {
    /// So many games as the environment says under `variable`, else `default`, from the seed `$REFUTE_SEED`. Prints both.
    ///
    /// # Panics
    /// If one of the variables isn't a number.
    pub fn new(variable: &str, default: usize) -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
        };
        let count = number(variable).map_or(default, |count| count as usize);
        let seed = number("REFUTE_SEED").unwrap_or(1);
        println!("{variable}={count} REFUTE_SEED={seed}");
        Self { count, seed }
    }

    /// The dice of one game.
    pub fn dice(&self, game: usize) -> Random {
        let mut random = Random::new(self.seed);
        Random::new(random.bits() ^ (game as u64).wrapping_mul(0x9e37_79b9))
    }
}

/// Tokens of a prompt, none of them a stop.
pub fn prompt(model: &Model, len: u32, random: &mut Random) -> Vec<u32> {
    let vocabulary = model.config.vocabulary;
    (0..len).map(|_| 1 + random.below(vocabulary - 1)).collect()
}

/// Any element of any step that some block of a claim computes.
pub fn any(model: &Model, prompt: u32, blocks: u32, random: &mut Random) -> Fault {
    loop {
        let block = random.below(blocks);
        let step = random.below(model.program.steps.len() as u32);
        let shape = model.program.steps[step as usize].descriptor.shape(block);
        let element = random.below(shape.map_or(0, |shape| shape.elements));
        // Prompt blocks end earlier.
        if let Ok(fault) = Fault::resolve(&spec(block, step, element), model, prompt) {
            return fault;
        }
    }
}

fn spec(block: u32, step: u32, element: u32) -> FaultSpec {
    FaultSpec::Element { block, step: step.to_string(), element }
}

/// A run with this fault in it.
///
/// # Panics
/// If the model can't take the request.
pub fn faulty(model: &Arc<Model>, prompt: &[u32], output: u32, fault: &Fault) -> Run {
    let spec = spec(fault.block, fault.step, fault.element);
    let run = Run::generate(model, prompt, output, Some(&spec), &mut |_, _| true);
    run.expect("a run with a fault")
}

/// What somebody computes who reruns the claim, with a fault of its own if it has one.
///
/// # Panics
/// If it isn't a run.
pub fn rerun(run: &Run, fault: Option<Fault>) -> Run {
    let own = Run::replay(run.model(), run.prompt(), run.output(), fault, &mut |_, _| true);
    own.expect("a re-run")
}

/// Whether a re-run of a claim comes to another claim.
pub fn differs(claimed: &Run, own: &Run) -> bool {
    claimed.trace_root() != own.trace_root() || claimed.output() != own.samples()
}

/// Claims a faulty run, disputes it honestly, and checks that it is convicted exactly where its fault is. `None` if the fault
/// reaches nothing that is committed.
///
/// # Panics
/// If it isn't.
pub fn convict(arena: &Arena, faulty: Run) -> Option<Verdict> {
    let own = rerun(&faulty, None);
    let fault = *faulty.fault().expect("a fault");
    if !differs(&faulty, &own) {
        return None;
    }
    let mut arena = arena.clone();
    let claim = arena.claim(&faulty);
    let dispute = arena.challenge(claim);
    let (defender, challenger) = (Player::new(faulty), Player::new(own));
    let verdict = arena.play(dispute, &defender, &challenger, Party::Challenger);
    let s = &verdict.last;
    assert_eq!((verdict.winner, verdict.by_step), (Party::Challenger, true), "{fault:?}");
    let place = (s.block.0, s.step.0, s.element.0);
    assert_eq!(place, (fault.block, fault.step, fault.element), "{fault:?}");
    Some(verdict)
}

/// Least, median and most of something over many disputes.
pub fn spread(values: impl Iterator<Item = u64>) -> String {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    match (values.first(), values.get(values.len() / 2), values.last()) {
        (Some(least), Some(median), Some(most)) => format!("{least} / {median} / {most}"),
        _ => "none".to_owned(),
    }
}

/// Prints what disputes cost: least, median, most.
pub fn report(what: &str, verdicts: &[Verdict]) {
    let spread = |value: fn(&Verdict) -> u64| spread(verdicts.iter().map(value));
    println!(
        "{what}: {} disputes (least / median / most): rounds {}, gas {}, of it the step {}, calldata bytes {}",
        verdicts.len(),
        spread(|v| v.rounds() as u64),
        spread(Verdict::gas),
        spread(Verdict::step_gas),
        spread(|v| v.calldata() as u64),
    );
}
