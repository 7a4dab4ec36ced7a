//! Whatever an adversary does on the real contracts, the honest party of the other side wins: every strategy on a small
//! claim, random ones on larger claims, random faults and random lies, on generated models and on the real one.
//!
//! `REFUTE_TINY_GAMES`, `REFUTE_STORIES` and `REFUTE_REAL_GAMES` say how many; `REFUTE_SEED` which.

use rayon::prelude::*;
use refute_bisection::adversary::falsify::Place;
use refute_bisection::adversary::{
    Actor, Call, Cast, Kind, Tally, Transaction, every_strategy, record,
};
use refute_bisection::history::History;
use refute_bisection::rules::Rules;
use refute_bisection::state::Party;
use refute_engine::fault::{Fault, FaultSpec};
use refute_engine::model::Model;
use refute_engine::request::{PromptText, tokens};
use refute_engine::subject::{Player, Subject};
use refute_engine::trace::Run;
use refute_tests::arena::{Arena, Parameters, Verdict, subject_of};
use refute_tests::court::{EvmCourt, RunActor, play};
use refute_tests::faults::{self, Trials, any, convict, differs, faulty, rerun};
use refute_tests::real;
use refute_tests::tiny::{Random, Shape};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const OUTPUT: u32 = 4;

fn honest(model: &Arc<Model>, prompt: &[u32], output: u32) -> Run {
    Run::generate(model, prompt, output, None, &mut |_, _| true).expect("a run")
}

fn arena(model: &Model) -> Arena {
    let mut arena = Arena::new(Parameters::default());
    arena.register(model);
    arena
}

fn open<'a>(arena: &Arena, claimed: &Run, subject: &'a Subject) -> EvmCourt<'a> {
    let mut arena = arena.clone();
    let claim = arena.claim(claimed);
    EvmCourt::open(arena, Parameters::default(), claim, subject)
}

// ---------------------------------------------------------------------- every strategy

/// The same story told in another dispute on the claim, on a second claim, and on another chain.
fn elsewhere(
    arena: &Arena,
    claimed: &Run,
    subject: &Subject,
    actors: [&dyn Actor; 2],
) -> Vec<Vec<Transaction>> {
    let mut second = arena.clone();
    second.claim(claimed);
    let mut chain = arena.clone();
    chain.evm.set_chain_id(5);
    // Ids contain the chain: this is another dispute on the very same claim.
    let mut dispute = arena.clone();
    let claim = dispute.claim(claimed);
    dispute.evm.set_chain_id(5);
    let courts = [
        EvmCourt::open(dispute, Parameters::default(), claim, subject),
        open(&second, claimed, subject),
        open(&chain, claimed, subject),
    ];
    let games = courts.map(|court| {
        let (Ok(sent) | Err((sent, _))) = record(court, actors[0], actors[1]);
        sent
    });
    games.to_vec()
}

/// A claim with a fault, or an honest one and a challenger with a fault.
struct Story {
    adversary: Party,
    claimed: Player,
    own: Player,
    /// What an inconsistent adversary knows besides.
    others: Vec<Player>,
}

impl Story {
    /// `None` if the fault reaches nothing that is committed.
    fn new(
        model: &Arc<Model>,
        prompt: &[u32],
        output: u32,
        adversary: Party,
        fault: &Fault,
    ) -> Option<Self> {
        let claimed = match adversary {
            Party::Defender => faulty(model, prompt, output, fault),
            Party::Challenger => honest(model, prompt, output),
        };
        let truth = rerun(&claimed, None);
        let lie = (adversary == Party::Challenger).then_some(*fault);
        let own = lie.map_or_else(|| truth.clone(), |fault| rerun(&claimed, Some(fault)));
        if !differs(&claimed, &own) {
            return None;
        }
        let others = vec![Player::new(truth)];
        Some(Self { adversary, claimed: Player::new(claimed), own: Player::new(own), others })
    }

    fn play(&self, arena: &Arena, keep: &mut dyn FnMut() -> bool) -> Tally {
        let (claimed, rules) = (self.claimed.run(), arena.rules());
        let subject = subject_of(claimed);
        let defender = RunActor::new(Party::Defender, &self.claimed, &subject, rules);
        let challenger = RunActor::new(Party::Challenger, &self.own, &subject, rules);
        let others: Vec<_> = self
            .others
            .iter()
            .map(|other| RunActor::new(self.adversary, other, &subject, rules))
            .collect();
        let others: Vec<&dyn Actor> = others.iter().map(|other| other as &dyn Actor).collect();
        let foreign = elsewhere(arena, claimed, &subject, [&defender, &challenger]);
        let (story, honest): (&dyn Actor, &dyn Actor) = match self.adversary {
            Party::Defender => (&defender, &challenger),
            Party::Challenger => (&challenger, &defender),
        };
        let cast =
            Cast { adversary: self.adversary, honest, story, others: &others, foreign: &foreign };
        let court = open(arena, claimed, &subject);
        let tally = every_strategy(court, cast, &mut |_| keep());
        tally.unwrap_or_else(|lost| panic!("{lost}"))
    }
}

/// The first step of every op, by its first element.
fn one_of_each_op(model: &Model, block: u32, prompt: u32) -> Vec<Fault> {
    let mut first = BTreeMap::new();
    for (step, s) in model.program.steps.iter().enumerate() {
        first.entry(s.descriptor.op.name()).or_insert(step);
    }
    let spec = |step: usize| -> FaultSpec { format!("{block}:{step}:0").parse().expect("a fault") };
    let resolve = |step: &usize| Fault::resolve(&spec(*step), model, prompt).expect("a fault");
    first.values().map(resolve).collect()
}

fn total(tallies: impl ParallelIterator<Item = Option<Tally>>) -> (u64, Tally) {
    let add = |(stories, mut total): (u64, Tally), tally: Option<Tally>| {
        if let Some(tally) = &tally {
            total.add(tally);
        }
        (stories + u64::from(tally.is_some()), total)
    };
    let both = |(a, mut x): (u64, Tally), (b, y): (u64, Tally)| {
        x.add(&y);
        (a + b, x)
    };
    let (stories, total) = tallies.fold(Default::default, add).reduce(Default::default, both);
    println!("{stories} stories, {} games: {total:?}", total.games());
    (stories, total)
}

/// One block of one layer, so that all strategies can be played: a lie in every op, on either side.
#[test]
fn no_adversary_wins_by_any_strategy() {
    let shape =
        Shape { layers: 1, heads: 2, kv_heads: 1, head_len: 32, hidden: 64, ..Shape::default() };
    let model = shape.model();
    let arena = arena(&model);
    let games = [Party::Defender, Party::Challenger].map(|adversary| {
        let lies = one_of_each_op(&model, 0, 1);
        let tallies = lies.par_iter().map(|fault| {
            let story = Story::new(&model, &[17], 1, adversary, fault)?;
            Some(story.play(&arena, &mut || true))
        });
        let (stories, total) = total(tallies);
        assert!(total.by_step > 500 && total.by_clock > 3_000);
        assert!(total.kinds.contains_key(&Kind::ForeignMove));
        (stories, total.games())
    });
    // As many as there are: a strategy that is left out by mistake is noticed.
    assert_eq!(games, [(12, 4481), (12, 5171)]);
}

/// Strategies drawn from all of those on claims of many blocks and leaves.
#[test]
fn no_adversary_wins_by_a_random_strategy() {
    let model = Shape::default().model();
    let arena = arena(&model);
    let trials = Trials::new("REFUTE_STORIES", 24);
    let tallies = (0..trials.count).into_par_iter().map(|game| {
        let mut dice = trials.dice(game);
        let len = 1 + dice.below(9);
        let prompt = faults::prompt(&model, len, &mut dice);
        let adversary = [Party::Defender, Party::Challenger][game % 2];
        let fault = any(&model, len, len, &mut dice);
        let story = Story::new(&model, &prompt, OUTPUT, adversary, &fault)?;
        Some(story.play(&arena, &mut || dice.below(16) == 0))
    });
    let (stories, total) = total(tallies);
    assert!(stories as usize > trials.count / 2 && total.games() > 10 * stories);
}

// ---------------------------------------------------------------------- random faults

/// Games of a generated model side by side, those of a real one in turn: its own runs take every core, and wait for the very
/// threads that would wait for them here.
fn all<T: Send>(model: &Model, count: usize, game: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
    if model.config.vocabulary > 10_000 {
        return (0..count).map(game).collect();
    }
    (0..count).into_par_iter().map(game).collect()
}

/// `count` convictions, each exactly where its fault is.
fn convict_random(
    model: &Arc<Model>,
    trials: Trials,
    draw: &(dyn Fn(&mut Random) -> (Vec<u32>, u32) + Sync),
) -> Vec<(Fault, Verdict)> {
    let arena = arena(model);
    let game = |game: usize| {
        let mut dice = trials.dice(game);
        for _ in 0..50 {
            let (prompt, output) = draw(&mut dice);
            let len = prompt.len() as u32;
            let fault = any(model, len, len + output - 1, &mut dice);
            let Some(run) = whole(model, &prompt, output, &fault) else { continue };
            if let Some(verdict) = convict(&arena, run) {
                return (fault, verdict);
            }
        }
        panic!("game {game}: no fault of fifty has an effect");
    };
    all(model, trials.count, &game)
}

/// The faulty run, unless it stops before its fault.
fn whole(model: &Arc<Model>, prompt: &[u32], output: u32, fault: &Fault) -> Option<Run> {
    let spec = format!("{}:{}:{}", fault.block, fault.step, fault.element);
    let spec: FaultSpec = spec.parse().expect("a fault");
    Run::generate(model, prompt, output, Some(&spec), &mut |_, _| true).ok()
}

fn by_op(model: &Model, convicted: &[(Fault, Verdict)]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for (fault, _) in convicted {
        let op = model.program.steps[fault.step as usize].descriptor.op;
        *counts.entry(op.name()).or_default() += 1;
    }
    counts
}

#[test]
fn random_faults_are_convicted_where_they_are() {
    let model = Shape::default().model();
    let trials = Trials::new("REFUTE_TINY_GAMES", 1000);
    let draw = |dice: &mut Random| {
        let len = 1 + dice.below(9);
        (faults::prompt(&model, len, dice), 1 + dice.below(OUTPUT))
    };
    let convicted = convict_random(&model, trials, &draw);
    let ops = by_op(&model, &convicted);
    println!("{ops:?}");
    let verdicts: Vec<_> = convicted.into_iter().map(|(_, verdict)| verdict).collect();
    faults::report("generated model", &verdicts);
    assert_eq!(verdicts.len(), trials.count);
    assert!(ops.len() == 13 || trials.count < 500, "an op without a fault: {ops:?}");
}

/// Where a fault is, and within which gas and calldata it is convicted.
#[test]
fn random_faults_in_a_real_model_are_convicted_where_they_are() {
    let Some((model, prompt)) = real_model() else { return };
    let trials = Trials::new("REFUTE_REAL_GAMES", 50);
    let convicted = convict_random(&model, trials, &|_| (prompt.clone(), 6));
    println!("{:?}", by_op(&model, &convicted));
    let verdicts: Vec<_> = convicted.into_iter().map(|(_, verdict)| verdict).collect();
    faults::report("real model", &verdicts);
    assert_eq!(verdicts.len(), trials.count);
    for v in &verdicts {
        assert!(v.gas() <= 1_500_000 && v.calldata() <= 20_000, "{} {}", v.gas(), v.calldata());
        assert!(v.step_gas() <= 1_000_000 && v.rounds() <= 10);
    }
}

fn real_model() -> Option<(Arc<Model>, Vec<u32>)> {
    let model = real::model()?;
    real::on_cpu(&model);
    let prompt = PromptText { text: "What is the capital of France?", chat: true };
    let prompt = tokens(&model, &prompt).expect("tokens");
    Some((model, prompt))
}

// ---------------------------------------------------------------------- lying challengers

/// A challenger with a false story, if it has one, that now and then chooses by dice.
struct Liar<'a> {
    story: Option<RunActor<'a>>,
    subject: &'a Subject,
    rules: Rules,
    dice: Mutex<Random>,
}

impl Actor for Liar<'_> {
    fn call(&self, history: &History) -> Result<Call, String> {
        let mut dice = self.dice.lock().expect("dice");
        let story = self.story.as_ref().filter(|_| dice.below(4) > 0);
        if let Some(Ok(call)) = story.map(|story| story.call(history)) {
            return Ok(call);
        }
        let (state, last) = (history.state(), history.last());
        let place = Place { layout: self.subject, rules: self.rules, state, last };
        let mut choices = place.choices();
        if choices.is_empty() {
            return Err("no choice".to_owned());
        }
        Ok(Call::Move(choices.swap_remove(dice.below(choices.len() as u32) as usize)))
    }
}

/// Honest claims, each disputed by a liar: the first of them with a story, every second one by dice alone.
fn lie_about(model: &Arc<Model>, trials: Trials, claims: &[Player]) -> usize {
    let arena = arena(model);
    let game = |game: usize| {
        let mut dice = trials.dice(game);
        let honest = &claims[game % claims.len()];
        let run = honest.run();
        let (subject, rules) = (subject_of(run), arena.rules());
        let fault = any(model, run.prompt().len() as u32, run.blocks(), &mut dice);
        let lie = game.is_multiple_of(2).then(|| Player::new(rerun(run, Some(fault))));
        let story = lie.as_ref().map(|lie| RunActor::new(Party::Challenger, lie, &subject, rules));
        let defender = RunActor::new(Party::Defender, honest, &subject, rules);
        let liar = Liar { story, subject: &subject, rules, dice: Mutex::new(dice) };
        let end = play(&mut open(&arena, run, &subject), &defender, &liar, Party::Defender);
        assert_eq!(end, Ok((Party::Defender, true)), "game {game}: {fault:?}");
        1
    };
    all(model, trials.count, &game).into_iter().sum()
}

#[test]
fn honest_claims_survive_random_lies() {
    let model = Shape::default().model();
    let trials = Trials::new("REFUTE_TINY_GAMES", 1000);
    let claims: Vec<_> = (1..=9)
        .map(|len| {
            let prompt = faults::prompt(&model, len, &mut trials.dice(len as usize));
            Player::new(honest(&model, &prompt, 1 + len % OUTPUT))
        })
        .collect();
    assert_eq!(lie_about(&model, trials, &claims), trials.count);
}

#[test]
fn honest_claims_of_a_real_model_survive_random_lies() {
    let Some((model, prompt)) = real_model() else { return };
    let trials = Trials::new("REFUTE_REAL_GAMES", 50);
    let claims = [Player::new(honest(&model, &prompt, 6))];
    assert_eq!(lie_about(&model, trials, &claims), trials.count);
}
