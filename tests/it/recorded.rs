//! Whole disputes written down, transaction by transaction, for other EVMs to repeat: see `refute_tests::vectors`.

use super::parity::export::folder;
use refute_bisection::state::Party;
use refute_contracts::evm::Evm;
use refute_engine::fault::{Fault, FaultSpec};
use refute_engine::subject::Player;
use refute_engine::trace::Run;
use refute_tests::arena::{Arena, Parameters};
use refute_tests::tiny::Shape;
use refute_tests::vectors::{self, Act};
use std::collections::BTreeMap;

const PROMPT: [u32; 5] = [17, 3, 200, 3, 91];
const OUTPUT: u32 = 3;
/// The first block that yields a token: every op computes there, over several positions.
const BLOCK: u32 = 4;

/// One fault in a step of every op, convicted; then the same lies told about an honest claim, which stands.
#[test]
#[ignore = "writes transactions for other EVMs; scripts/nightly.sh calls it"]
fn writes_whole_disputes() {
    let model = Shape::default().model();
    let mut kinds = BTreeMap::new();
    for (i, step) in (0u32..).zip(&model.program.steps) {
        kinds.entry(step.descriptor.op.name()).or_insert(i);
    }
    let generate = |fault: Option<&FaultSpec>| {
        Run::generate(&model, &PROMPT, OUTPUT, fault, &mut |_, _| true).expect("a run")
    };
    let replay = |run: &Run, fault: Option<Fault>| {
        let run = Run::replay(&model, run.prompt(), run.output(), fault, &mut |_, _| true);
        Player::new(run.expect("a re-run"))
    };
    let honest = generate(None);
    let mut arena = Arena::on(Evm::recording(), Parameters::default());
    arena.register(&model);
    let mut disputes = 0;
    for (op, step) in kinds {
        let spec = FaultSpec::Element { block: BLOCK, step: step.to_string(), element: 0 };
        let faulty = generate(Some(&spec));
        if faulty.trace_root() != honest.trace_root() || faulty.output() != honest.output() {
            let claim = arena.claim(&faulty);
            let dispute = arena.challenge(claim);
            let challenger = replay(&faulty, None);
            let verdict = arena.play(dispute, &Player::new(faulty), &challenger, Party::Challenger);
            assert_eq!((verdict.winner, verdict.by_step), (Party::Challenger, true), "{op}");
            disputes += 1;
        }
        let liar = replay(&honest, Some(Fault::resolve(&spec, &model, 5).expect("a fault")));
        if liar.run().trace_root() != honest.trace_root() || liar.run().samples() != honest.output()
        {
            let claim = arena.claim(&honest);
            let dispute = arena.challenge(claim);
            let defender = Player::new(honest.clone());
            let verdict = arena.play(dispute, &defender, &liar, Party::Defender);
            assert_eq!((verdict.winner, verdict.by_step), (Party::Defender, true), "{op}");
            disputes += 1;
        }
    }
    assert!(disputes > 13, "only {disputes} lies had an effect");
    let acts: Vec<Act> = arena.evm.record().iter().map(Act::from).collect();
    vectors::write(&folder().join("disputes.jsonl"), &acts).expect("a file of transactions");
    println!("{disputes} disputes, {} transactions", acts.len());
}
