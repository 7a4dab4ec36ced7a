use crate::actor::Actor;
use crate::ledger::Ledger;
use crate::world::{Role, WINDOW_S, World, devnet, until};
use alloy::primitives::U256;
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use refute_contracts::bindings::{ClaimStatus, RequestStatus};
use refute_tests::real;

/// Few tokens: this is the scalar reference.
const PROMPT: &str = "The capital of France is";
const MAX_TOKENS: u32 = 4;

/// One request is answered by three cheats, one after the other, and then honestly.
#[test]
fn the_real_model_is_served_honestly_after_three_convictions() {
    let Some(file) = real::file() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::with_model(&devnet(), WINDOW_S, &file, folder);
    let _watcher = Actor::watcher(&world);
    let request = world.ask_for(PROMPT, MAX_TOKENS);
    let first_output = prompt_tokens(&world) - 1;
    let faults = [
        ("2:blk.7.ffn_gate:100".to_owned(), (2, "blk.7.ffn_gate", 100)),
        (
            format!("{}:blk.29.ffn_down:575", first_output + 1),
            (first_output + 1, "blk.29.ffn_down", 575),
        ),
        ("token:2".to_owned(), (first_output + 2, "sample", 0)),
    ];
    for (i, (fault, (block, step, element))) in faults.iter().enumerate() {
        let name = ["cheat-1", "cheat-2", "cheat-3"][i];
        let args = ["--fault", fault, "--max-requests", "1"];
        let _cheat = Actor::provide(&world, name, Role::Cheat, &args);
        let claim = world.claimed(request);
        let dispute = world.challenged(claim);
        world.rejected(claim);
        assert_eq!(world.place("watcher", dispute), (*block, (*step).to_owned(), *element));
        let view = world.dispute(dispute);
        assert!(view.challengerWon && view.challenger == world.address(Role::Watcher));
        assert_eq!(world.request(request).status, RequestStatus::Open);
    }
    let _honest = Actor::honest(&world);
    let claim = world.claimed(request);
    world.found_honest("watcher", 1);
    world.travel(WINDOW_S);
    world.is_final(request);
    assert_eq!(world.claim(claim).status, ClaimStatus::Final);
    let output = world.output(request).expect("a final answer");
    let answer = world.honest_answer(PROMPT, MAX_TOKENS);
    for field in ["tokens", "text", "trace_root"] {
        assert_eq!(output[field], answer[field], "{field}");
    }
    check_money(&world, 3);
}

fn prompt_tokens(world: &World) -> u64 {
    let run = world.honest_answer(PROMPT, 1);
    run["prompt_tokens"].as_array().expect("tokens").len() as u64
}

fn check_money(world: &World, convictions: u32) {
    let terms = world.parameters();
    let times = U256::from(convictions);
    let reward = terms.pot(terms.bond_min_wei);
    until("the watcher has its money", || {
        let money = Ledger::read(world).money(Role::Watcher);
        money.withdrawn == times * (terms.challenger_bond_wei + reward)
    });
    until("only what is burned is left", || {
        world.held() == times * terms.burned(terms.bond_min_wei)
    });
    let ledger = Ledger::read(world);
    ledger.audit();
    let challenges = ledger.calls::<Settlement::challengeCall>(Role::Watcher);
    assert_eq!(challenges, convictions as usize);
    assert_eq!(ledger.money(Role::Cheat).withdrawn, U256::ZERO);
}
