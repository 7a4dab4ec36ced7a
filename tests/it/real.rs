//! The real model, disputed on the embedded EVM.

use refute_bisection::state::Party;
use refute_engine::fault::FaultSpec;
use refute_engine::request::{PromptText, tokens};
use refute_engine::subject::Player;
use refute_engine::trace::Run;
use refute_tests::arena::{Arena, Parameters};
use refute_tests::real;

#[test]
fn faults_in_a_real_model_are_convicted_within_the_limits() {
    let Some(model) = real::model() else { return };
    let prompt = PromptText { text: "What is the capital of France?", chat: true };
    let prompt = tokens(&model, &prompt).expect("tokens");
    let first_output = prompt.len() as u32 - 1;
    let mut arena = Arena::new(Parameters::default());
    arena.register(&model);
    let mut convicted = 0;
    for fault in [
        "5:blk.7.ffn_gate:100".to_owned(),
        format!("{}:blk.29.attn_scores:3", first_output + 2),
        format!("{first_output}:blk.3.ffn_down:575"),
        format!("{}:output:49151", first_output + 1),
        "0:token_embd:0".to_owned(),
        "token:1".to_owned(),
    ] {
        let spec: FaultSpec = fault.parse().expect("a fault");
        let faulty = Run::generate(&model, &prompt, 6, Some(&spec), &mut |_, _| true);
        let faulty = faulty.expect("a run");
        let own = Run::replay(&model, &prompt, faulty.output(), None, &mut |_, _| true);
        let challenger = Player::new(own.expect("a re-run"));
        if challenger.run().trace_root() == faulty.trace_root()
            && challenger.run().samples() == faulty.output()
        {
            println!("{fault}: no effect");
            continue;
        }
        let injected = *faulty.fault().expect("a fault");
        let claim = arena.claim(&faulty);
        let dispute = arena.challenge(claim);
        let defender = Player::new(faulty);
        let verdict = arena.play(dispute, &defender, &challenger, Party::Challenger);
        println!(
            "{fault}: {} rounds, {} transactions, {} gas, {} in the step, {} bytes",
            verdict.rounds(),
            verdict.moves.len(),
            verdict.gas(),
            verdict.step_gas(),
            verdict.calldata()
        );
        let s = &verdict.last;
        assert_eq!((verdict.winner, verdict.by_step), (Party::Challenger, true));
        let place = (s.block.0, s.step.0, s.element.0);
        assert_eq!(place, (injected.block, injected.step, injected.element));
        assert!(verdict.rounds() <= 10 && verdict.gas() <= 2_500_000);
        assert!(verdict.step_gas() <= 1_000_000);
        convicted += 1;
    }
    assert!(convicted >= 5, "only {convicted} faults had an effect");
}
