use crate::actor::Actor;
use crate::ledger::{Ledger, Money};
use crate::world::{
    FEE_WEI, MAX_TOKENS, PROMPT, Role, WINDOW_S, World, devnet, eventually, read, until,
};
use alloy::primitives::{B256, U256};
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use refute_contracts::bindings::{ClaimStatus, RequestStatus};
use refute_tests::processes::{ChainKind, anvil};

/// A fault, and where it must be found.
type Case = (&'static str, (u64, &'static str, u64));

/// The prompt has 8 tokens: blocks 0 to 6 are prompt blocks, block 7 gives the first output token.
const IN_A_PROMPT_BLOCK: Case = ("3:blk.0.ffn_gate:100", (3, "blk.0.ffn_gate", 100));
const IN_AN_OUTPUT_BLOCK: Case = ("9:blk.1.attn_mix:17", (9, "blk.1.attn_mix", 17));
const A_TOKEN_LIE: Case = ("token:1", (8, "sample", 0));

#[test]
fn an_honest_claim_becomes_final() {
    honest(&devnet());
}

#[test]
fn an_honest_claim_becomes_final_on_anvil() {
    if let Some(path) = anvil() {
        honest(&ChainKind::Anvil(path));
    }
}

#[test]
fn a_fault_in_a_prompt_block_is_convicted() {
    convicted(&devnet(), IN_A_PROMPT_BLOCK);
}

#[test]
fn a_fault_in_an_output_block_is_convicted() {
    convicted(&devnet(), IN_AN_OUTPUT_BLOCK);
}

#[test]
fn a_token_lie_is_convicted() {
    convicted(&devnet(), A_TOKEN_LIE);
}

#[test]
fn a_fault_in_a_prompt_block_is_convicted_on_anvil() {
    if let Some(path) = anvil() {
        convicted(&ChainKind::Anvil(path), IN_A_PROMPT_BLOCK);
    }
}

#[test]
fn a_fault_in_an_output_block_is_convicted_on_anvil() {
    if let Some(path) = anvil() {
        convicted(&ChainKind::Anvil(path), IN_AN_OUTPUT_BLOCK);
    }
}

#[test]
fn a_token_lie_is_convicted_on_anvil() {
    if let Some(path) = anvil() {
        convicted(&ChainKind::Anvil(path), A_TOKEN_LIE);
    }
}

/// Nobody makes a block but the provider itself, once the window is over.
#[test]
fn a_quiet_chain_finalizes_too() {
    let world = World::with_window(&devnet(), 2);
    let _provider = Actor::honest(&world);
    let request = world.ask();
    world.is_final(request);
    until("the provider is paid", || world.held().is_zero());
    Ledger::read(&world).audit();
}

/// What is due together goes in one transaction, the money of all of it in another.
#[test]
fn many_answers_become_final_at_once() {
    let world = World::new(&devnet());
    let provider = Actor::honest(&world);
    let requests: Vec<B256> = (0..3).map(|_| world.ask()).collect();
    for request in &requests {
        world.claimed(*request);
    }
    // It is away when their windows end, whenever the machine was busy.
    drop(provider);
    world.travel(WINDOW_S);
    let _provider = Actor::honest(&world);
    for request in &requests {
        world.is_final(*request);
    }
    until("the provider is paid", || world.held().is_zero());
    let ledger = Ledger::read(&world);
    ledger.audit();
    assert_eq!(ledger.calls::<Settlement::finalizeManyCall>(Role::Honest), 1);
    assert_eq!(ledger.calls::<Settlement::finalizeCall>(Role::Honest), 0);
    assert_eq!(ledger.calls::<Settlement::withdrawCall>(Role::Honest), 1);
}

/// Its wrong answer is in its database, and must not be given again.
#[test]
fn a_cheat_that_repents_serves_the_reopened_request_honestly() {
    let world = World::new(&devnet());
    let _watcher = Actor::watcher(&world);
    let request = world.ask();
    let cheat = Actor::cheat(&world, A_TOKEN_LIE.0);
    let first = world.claimed(request);
    world.rejected(first);
    drop(cheat);
    let _repentant = Actor::provide(&world, "cheat", Role::Cheat, &[]);
    let claim = world.claimed(request);
    assert_ne!(claim, first);
    world.found_honest("watcher", 1);
    world.travel(WINDOW_S);
    world.is_final(request);
    let output = world.output(request).expect("a final answer");
    assert_eq!(output["tokens"], world.honest_answer(PROMPT, MAX_TOKENS)["tokens"]);
    until("only what is burned is left", || world.held() == world.conviction_burn());
    Ledger::read(&world).audit();
}

fn honest(chain: &ChainKind) {
    let world = World::new(chain);
    // The request registers the model: started before it, the provider might.
    let request = world.ask();
    let _watcher = Actor::watcher(&world);
    let _provider = Actor::honest(&world);
    let claim = world.claimed(request);
    world.found_honest("watcher", 1);
    assert_eq!(world.claim(claim).status, ClaimStatus::Pending);
    assert!(world.output(request).is_err(), "an answer that isn't final is not given");
    settle_honest(&world, request);
    let ledger = Ledger::read(&world);
    ledger.audit();
    let bond = world.parameters().bond_min_wei;
    let paid = Money { paid: bond, withdrawn: bond + U256::from(FEE_WEI) };
    assert_eq!(ledger.money(Role::Honest), paid);
    assert_eq!(ledger.count(Role::Honest), 4, "accept, claim, finalize, withdraw");
    assert_eq!(ledger.count(Role::Watcher), 0, "a watcher with nothing to do sends nothing");
    assert_eq!(world.held(), U256::ZERO);
    assert_eq!(world.disputes("watcher"), serde_json::json!([]));
}

/// The live claim of the honest provider's becomes final, its answer is the one that anybody computes, and it is paid.
pub(crate) fn settle_honest(world: &World, request: B256) {
    let claim = world.claimed(request);
    world.travel(WINDOW_S);
    world.is_final(request);
    let view = world.claim(claim);
    assert_eq!((view.status, view.provider), (ClaimStatus::Final, world.address(Role::Honest)));
    assert_eq!((view.disputes, view.openDisputes), (0, 0));
    let output = world.output(request).expect("a final answer");
    let answer = world.honest_answer(PROMPT, MAX_TOKENS);
    for field in ["tokens", "text", "trace_root", "model_id"] {
        assert_eq!(output[field], answer[field], "{field}");
    }
    assert_eq!(output["status"], "final");
    assert_eq!(read::<B256>(&output["claim_id"]), claim);
    let bond = world.parameters().bond_min_wei;
    until("the provider has its money", || {
        Ledger::read(world).money(Role::Honest).withdrawn == bond + U256::from(FEE_WEI)
    });
}

fn convicted(chain: &ChainKind, (fault, place): Case) {
    let world = World::new(chain);
    let _watcher = Actor::watcher(&world);
    let _cheat = Actor::cheat(&world, fault);
    let request = world.ask();
    let claim = world.claimed(request);
    let dispute = world.challenged(claim);
    world.rejected(claim);
    check_conviction(&world, claim, dispute, place);
    // The request is open again: somebody else serves it.
    assert_eq!(world.request(request).status, RequestStatus::Open);
    let _honest = Actor::honest(&world);
    world.found_honest("watcher", 1);
    settle_honest(&world, request);
    let ledger = Ledger::read(&world);
    ledger.audit();
    assert_eq!(ledger.calls::<Settlement::challengeCall>(Role::Watcher), 1);
    assert_eq!(world.held(), world.conviction_burn(), "only what is burned is left");
}

/// A conviction by the step, at its place; the watcher has its bond and its reward, the rest is burned.
pub(crate) fn check_conviction(
    world: &World,
    claim: B256,
    dispute: B256,
    (block, step, element): (u64, &str, u64),
) {
    let view = world.dispute(dispute);
    assert!(view.resolved && view.challengerWon);
    assert_eq!(view.challenger, world.address(Role::Watcher));
    assert_eq!(view.defender, world.address(Role::Cheat));
    let claimed = world.claim(claim);
    assert_eq!((claimed.status, claimed.disputes), (ClaimStatus::Rejected, 1));
    let terms = world.parameters();
    let reward = terms.pot(terms.bond_min_wei);
    let earned =
        Money { paid: terms.challenger_bond_wei, withdrawn: terms.challenger_bond_wei + reward };
    let ledger = eventually("the watcher has its money", || {
        let ledger = Ledger::read(world);
        (ledger.money(Role::Watcher) == earned).then_some(ledger)
    });
    let lost = Money { paid: terms.bond_min_wei, withdrawn: U256::ZERO };
    assert_eq!(ledger.money(Role::Cheat), lost);
    assert_eq!(world.burned(), terms.burned(terms.bond_min_wei));
    let place = (block, step.to_owned(), element);
    assert_eq!(world.place("watcher", dispute), place);
    check_reports(world, &ledger, dispute, reward);
}

/// What the watcher says of itself is what the chain says.
fn check_reports(world: &World, ledger: &Ledger<'_>, dispute: B256, reward: U256) {
    let lines = eventually("the watcher has read of its reward", || {
        Some(world.disputes("watcher")).filter(|lines| lines[0]["reward_wei"].is_string())
    });
    assert_eq!(lines.as_array().map(Vec::len), Some(1), "{lines}");
    let line = &lines[0];
    assert_eq!((&line["outcome"], &line["by_step"]), (&"won".into(), &true.into()));
    let [rewarded, reimbursed] =
        ["reward_wei", "reimbursed_wei"].map(|field| read::<U256>(&line[field]));
    assert_eq!(rewarded + reimbursed, reward);
    let moves = ledger.moves_of(Role::Watcher);
    assert_eq!(line["moves_reimbursed"], moves, "the step is a move, too");
    let each = world.parameters().move_reimbursement_wei;
    assert_eq!(reimbursed, each * U256::from(moves));
    assert_eq!(ledger.reimbursed(Role::Watcher), reimbursed);
    assert_eq!(read::<B256>(&line["dispute"]), dispute);
    let status = eventually("the watcher has noted its transactions", || {
        Some(world.status("watcher")).filter(|status| status["pending"] == 0)
    });
    assert_eq!((&status["wrong"], &status["disputes_won"]), (&1.into(), &1.into()));
    for field in ["reward_wei", "reimbursed_wei", "moves_reimbursed"] {
        let total = if field == "reward_wei" { "rewards_wei" } else { field };
        assert_eq!(status[total], line[field], "{field}");
    }
    assert_eq!(status["transactions"], ledger.count(Role::Watcher), "{status}");
    assert_eq!(status["gas_used"], ledger.gas_used(Role::Watcher), "{status}");
    // Each event of the game is of its own transaction, the opening is of the settlement's, the step is in two.
    let show = world.show("watcher", dispute);
    let events = show.as_array().expect("a list");
    let of_game =
        |e: &&serde_json::Value| e["event"] != "Challenged" && e["event"] != "DisputeOpened";
    let mut txs: Vec<B256> =
        events.iter().filter(of_game).map(|e| read(&e["transaction"])).collect();
    txs.dedup();
    let moves = ledger.moves();
    assert!(moves.iter().all(|hash| txs.contains(hash)), "{show}");
    assert_eq!(line["moves"], moves.len() - 1, "the step is a call, not a move: {show}");
}
