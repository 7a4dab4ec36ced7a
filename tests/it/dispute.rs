//! A fault anywhere in a run is convicted on chain, at the injected step and element; an honest claim never is.

use rayon::prelude::*;
use refute_bisection::state::{Mode, Party};
use refute_engine::fault::{Fault, FaultError, FaultSpec};
use refute_engine::model::Model;
use refute_engine::program::Op;
use refute_engine::subject::Player;
use refute_engine::trace::{Ask, Run};
use refute_kernels::Sampling;
use refute_tests::arena::{Arena, Parameters, Verdict};
use refute_tests::tiny::{Random, Shape};
use std::collections::BTreeMap;
use std::sync::Arc;

const OUTPUT: u32 = 4;

fn prompt(len: u32) -> Vec<u32> {
    let mut random = Random::new(u64::from(len));
    (0..len).map(|_| 1 + random.below(319)).collect()
}

fn generate(model: &Arc<Model>, prompt: &[u32], fault: Option<&FaultSpec>) -> Run {
    Run::generate(model, prompt, OUTPUT, fault, &mut |_, _| true).expect("a run")
}

/// The same with tokens that are drawn.
fn draw(model: &Arc<Model>, prompt: &[u32], sampling: Sampling, fault: Option<&FaultSpec>) -> Run {
    let ask = Ask { prompt, sampling };
    Run::generate(model, ask, OUTPUT, fault, &mut |_, _| true).expect("a run")
}

fn replay(run: &Run, fault: Option<Fault>) -> Player {
    replay_of(run, run.sampling(), fault)
}

/// A run over another run's tokens.
fn replay_of(run: &Run, sampling: Sampling, fault: Option<Fault>) -> Player {
    let ask = Ask { sampling, ..run.ask() };
    let own = Run::replay(run.model(), ask, run.output(), fault, &mut |_, _| true);
    Player::new(own.expect("a re-run"))
}

/// Claims `faulty`, disputes it honestly, and gives the verdict.
fn convict(arena: &Arena, faulty: Run) -> Verdict {
    let mut arena = arena.clone();
    let claim = arena.claim(&faulty);
    let dispute = arena.challenge(claim);
    let challenger = replay(&faulty, None);
    arena.play(dispute, &Player::new(faulty), &challenger, Party::Challenger)
}

/// First, last and one element in between of a step's tensor.
fn elements(model: &Model, block: u32, step: u32, random: &mut Random) -> Vec<u32> {
    let shape = model.program.steps[step as usize].descriptor.shape(block).expect("a shape");
    let mut elements = vec![0, random.below(shape.elements), shape.elements - 1];
    elements.dedup();
    elements
}

/// The blocks that differ in kind: in the prompt, the first output block, the last one.
fn blocks(prompt: u32) -> [u32; 3] {
    [prompt / 2, prompt - 1, prompt + OUTPUT - 2]
}

fn every_fault(model: &Model, prompt: u32) -> Vec<Fault> {
    let mut random = Random::new(7);
    let mut faults = Vec::new();
    for block in blocks(prompt) {
        for step in 0..model.program.steps.len() as u32 {
            for element in elements(model, block, step, &mut random) {
                let name = step.to_string();
                let spec = FaultSpec::Element { block, step: name, element };
                match Fault::resolve(&spec, model, prompt) {
                    Ok(fault) => faults.push(fault),
                    Err(FaultError::NotComputed { .. }) => assert!(block < prompt - 1),
                    Err(e) => panic!("{spec}: {e}"),
                }
            }
        }
    }
    faults
}

fn spec(fault: &Fault) -> FaultSpec {
    let step = fault.step.to_string();
    FaultSpec::Element { block: fault.block, step, element: fault.element }
}

/// Plays a dispute for every kind of step, block and element, and gives how many convictions each op saw.
fn convict_everywhere(shape: &Shape, prompt_len: u32) -> BTreeMap<&'static str, usize> {
    let model = shape.model();
    let prompt = prompt(prompt_len);
    let honest = generate(&model, &prompt, None);
    let mut arena = Arena::new(Parameters::default());
    arena.register(&model);
    let convicted: Vec<Option<Op>> = every_fault(&model, prompt_len)
        .par_iter()
        .map(|fault| {
            let faulty = generate(&model, &prompt, Some(&spec(fault)));
            let same = faulty.trace_root() == honest.trace_root();
            if same && faulty.output() == honest.output() {
                return None;
            }
            let verdict = convict(&arena, faulty);
            let s = &verdict.last;
            assert_eq!((verdict.winner, verdict.by_step), (Party::Challenger, true), "{fault:?}");
            let place = (s.block.0, s.step.0, s.element.0);
            assert_eq!(place, (fault.block, fault.step, fault.element));
            assert!(verdict.rounds() <= 10, "{fault:?}: {} rounds", verdict.rounds());
            assert!(verdict.gas() <= 2_500_000, "{fault:?}: {} gas", verdict.gas());
            assert!(verdict.step_gas() <= 1_000_000, "{fault:?}: {} gas", verdict.step_gas());
            Some(model.program.steps[fault.step as usize].descriptor.op)
        })
        .collect();
    let mut counts = BTreeMap::new();
    for op in convicted.iter().flatten() {
        *counts.entry(op.name()).or_default() += 1;
    }
    println!("{} faults, convictions by op: {counts:?}", convicted.len());
    counts
}

const OPS: [&str; 13] = [
    "collect", "embed", "linear", "max", "mix", "probs", "quantize", "rms_norm", "rope", "sample",
    "scores", "sum", "swiglu",
];

#[test]
fn a_fault_in_any_step_is_convicted_where_it_is() {
    let counts = convict_everywhere(&Shape::default(), 9);
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), OPS);
}

/// Odd sizes: one KV head, a tied head, no biases, partial leaves everywhere.
#[test]
fn a_fault_in_a_model_of_other_sizes_is_convicted_where_it_is() {
    let shape = Shape {
        seed: 5,
        heads: 4,
        kv_heads: 1,
        head_len: 80,
        hidden: 2080,
        tied: true,
        biases: false,
        ..Shape::default()
    };
    let counts = convict_everywhere(&shape, 3);
    assert_eq!(counts.len(), OPS.len());
}

/// Beyond 512 positions the attention's folds have several units, and several rounds.
#[test]
fn faults_in_a_long_context_are_convicted() {
    let shape = Shape { layers: 1, heads: 3, head_len: 32, hidden: 64, ..Shape::default() };
    let model = shape.model();
    let prompt = prompt(600);
    let mut arena = Arena::new(Parameters::default());
    arena.register(&model);
    let mut convicted = 0;
    for fault in ["max:1", "sum:2", "mix:5", "mix:95", "scores:1795", "probs:0"] {
        let (step, element) = fault.split_once(':').unwrap();
        let spec: FaultSpec = format!("600:blk.0.attn_{step}:{element}").parse().unwrap();
        let faulty = generate(&model, &prompt, Some(&spec));
        if faulty.output() == generate(&model, &prompt, None).output() {
            continue;
        }
        let verdict = convict(&arena, faulty);
        assert_eq!((verdict.winner, verdict.by_step), (Party::Challenger, true), "{spec}");
        assert_eq!(verdict.last.element.0.to_string(), element);
        assert!(verdict.rounds() <= 10, "{spec}: {} rounds", verdict.rounds());
        convicted += 1;
    }
    assert!(convicted >= 3, "only {convicted} faults reached the token");
}

#[test]
fn a_token_lie_is_convicted_at_the_sample() {
    let model = Shape::default().model();
    let prompt = prompt(5);
    let mut arena = Arena::new(Parameters::default());
    arena.register(&model);
    for index in 0..OUTPUT {
        let faulty = generate(&model, &prompt, Some(&FaultSpec::Token { index }));
        let verdict = convict(&arena, faulty);
        assert_eq!((verdict.winner, verdict.by_step), (Party::Challenger, true));
        assert_eq!(verdict.last.block.0, 4 + index);
        assert_eq!(verdict.last.step.0, model.program.sample);
    }
}

/// A seed of which both halves count, and a temperature at which the tiny models' tokens vary.
const DRAWN: Sampling = Sampling { seed: 0x0000_0007_0000_0003, temperature: 12 << 16 };

/// Another token than the drawn one is convicted where it was drawn.
#[test]
fn a_drawn_token_lie_is_convicted_at_the_sample() {
    let model = Shape::default().model();
    let prompt = prompt(5);
    let mut arena = Arena::new(Parameters::default());
    arena.register(&model);
    assert_ne!(
        draw(&model, &prompt, DRAWN, None).output(),
        generate(&model, &prompt, None).output()
    );
    for index in 0..OUTPUT {
        let faulty = draw(&model, &prompt, DRAWN, Some(&FaultSpec::Token { index }));
        let verdict = convict(&arena, faulty);
        assert_eq!((verdict.winner, verdict.by_step), (Party::Challenger, true));
        assert_eq!(verdict.last.block.0, 4 + index);
        assert_eq!(verdict.last.step.0, model.program.sample);
    }
}

/// So is a logit that makes another token win.
#[test]
fn a_false_logit_under_a_drawn_token_is_convicted() {
    let model = Shape::default().model();
    let prompt = prompt(5);
    let mut arena = Arena::new(Parameters::default());
    arena.register(&model);
    let honest = draw(&model, &prompt, DRAWN, None);
    for (block, element) in [(4, 0), (5, 77), (7, 319)] {
        let spec: FaultSpec = format!("{block}:output:{element}").parse().unwrap();
        let faulty = draw(&model, &prompt, DRAWN, Some(&spec));
        assert_ne!(faulty.output(), honest.output(), "{spec}");
        let verdict = convict(&arena, faulty);
        let s = &verdict.last;
        assert_eq!((verdict.winner, verdict.by_step), (Party::Challenger, true), "{spec}");
        assert_eq!((s.block.0, s.element.0), (block, element));
        assert_eq!(model.program.steps[s.step.0 as usize].name, "output");
    }
}

/// Seed and temperature are the request's: who draws with others, or greedily, is convicted, and a challenger that does so
/// loses.
#[test]
fn only_the_requests_seed_and_temperature_count() {
    let model = Shape::default().model();
    let prompt = prompt(5);
    let mut arena = Arena::new(Parameters::default());
    arena.register(&model);
    let honest = draw(&model, &prompt, DRAWN, None);
    for other in [
        Sampling::GREEDY,
        Sampling { seed: DRAWN.seed ^ 1, ..DRAWN },
        Sampling { seed: DRAWN.seed ^ 1 << 63, ..DRAWN },
        Sampling { temperature: 1, ..DRAWN },
    ] {
        let liar = draw(&model, &prompt, other, None);
        assert_ne!(liar.output(), honest.output(), "{other:?}");
        let mut lies = arena.clone();
        let claim = lies.claim_of(&liar, DRAWN);
        let dispute = lies.challenge(claim);
        let challenger = replay_of(&liar, DRAWN, None);
        let verdict = lies.play(dispute, &Player::new(liar), &challenger, Party::Challenger);
        assert_eq!((verdict.winner, verdict.by_step), (Party::Challenger, true), "{other:?}");
        assert_eq!(verdict.last.step.0, model.program.sample);

        let mut arena = arena.clone();
        let claim = arena.claim(&honest);
        let dispute = arena.challenge(claim);
        let challenger = replay_of(&honest, other, None);
        let defender = Player::new(honest.clone());
        let verdict = arena.play(dispute, &defender, &challenger, Party::Defender);
        assert_eq!((verdict.winner, verdict.by_step), (Party::Defender, true), "{other:?}");
    }
}

/// A single prompt token and a single output token: one block, no trace tree to descend.
#[test]
fn a_claim_of_one_block_is_disputed() {
    let model = Shape { layers: 1, ..Shape::default() }.model();
    let mut arena = Arena::new(Parameters::default());
    arena.register(&model);
    let fault = "0:blk.0.k_cache:3".parse().unwrap();
    let run = Run::generate(&model, &[17], 1, Some(&fault), &mut |_, _| true).unwrap();
    let verdict = convict(&arena, run);
    assert_eq!((verdict.winner, verdict.last.element.0), (Party::Challenger, 3));
}

/// Multi-head, grouped and multi-query attention, heads of 2 to 256 elements.
#[test]
fn a_fault_in_attention_of_any_shape_is_convicted() {
    for (heads, kv_heads, head_len) in
        [(1, 1, 256), (2, 1, 256), (16, 16, 2), (4, 2, 128), (3, 1, 96), (5, 5, 64)]
    {
        let sizes = Shape { heads, kv_heads, head_len, hidden: 64, ..Shape::default() };
        let model = sizes.model();
        let prompt = prompt(7);
        let mut arena = Arena::new(Parameters::default());
        arena.register(&model);
        let last = heads * head_len - 1;
        for (step, element) in [
            ("q_quant", last),
            ("q_quant", last + heads),
            ("k_cache", kv_heads * head_len),
            ("attn_scores", 0),
            ("attn_mix", last),
            ("attn_k_rope", 1),
        ] {
            let spec: FaultSpec = format!("6:blk.0.{step}:{element}").parse().unwrap();
            let faulty = generate(&model, &prompt, Some(&spec));
            let verdict = convict(&arena, faulty);
            let s = &verdict.last;
            assert_eq!((verdict.winner, verdict.by_step), (Party::Challenger, true), "{spec}");
            assert_eq!((s.block.0, s.element.0), (6, element), "{spec} {sizes:?}");
        }
    }
}

/// Whatever a lying challenger claims to have computed, the honest provider wins by the step.
#[test]
fn an_honest_claim_is_never_convicted() {
    let model = Shape::default().model();
    let prompt_len = 9;
    let honest = generate(&model, &prompt(prompt_len), None);
    let mut arena = Arena::new(Parameters::default());
    arena.register(&model);
    let claim = arena.claim(&honest);
    let tried: usize = every_fault(&model, prompt_len)
        .par_iter()
        .map(|fault| {
            let liar = replay(&honest, Some(*fault));
            let same = liar.run().trace_root() == honest.trace_root();
            if same && liar.run().samples() == honest.samples() {
                return 0;
            }
            let mut arena = arena.clone();
            let dispute = arena.challenge(claim);
            let defender = Player::new(honest.clone());
            let verdict = arena.play(dispute, &defender, &liar, Party::Defender);
            assert_eq!((verdict.winner, verdict.by_step), (Party::Defender, true), "{fault:?}");
            1
        })
        .sum();
    assert!(tried > 100, "only {tried} lies were told");
}

/// Every mode of the last step occurs.
#[test]
fn folds_of_one_and_of_many_units_are_decided() {
    let model = Shape::default().model();
    let mut arena = Arena::new(Parameters::default());
    arena.register(&model);
    let prompt = prompt(9);
    let mode = |fault: &str| {
        let fault = fault.parse().unwrap();
        convict(&arena, generate(&model, &prompt, Some(&fault))).last.mode
    };
    assert_eq!(mode("3:blk.0.ffn_gate:0"), Mode::Whole);
    assert_eq!(mode("3:blk.0.ffn_down:0"), Mode::Finalize);
}
