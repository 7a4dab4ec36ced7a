use crate::actor::Actor;
use crate::courses::settle_honest;
use crate::kills::check_defence;
use crate::ledger::{Ledger, Money};
use crate::liar::Liar;
use crate::world::{
    CLOCK_S, FEE_WEI, MIN_RESPONSE_S, Role, WINDOW_S, World, devnet, eventually, until,
};
use alloy::primitives::U256;
use refute_contracts::bindings::{ClaimStatus, RequestStatus};

/// After this many seconds without a move a party is out of time.
const OUT_OF_TIME_S: u64 = CLOCK_S + MIN_RESPONSE_S + 1;

#[test]
fn a_liar_who_challenges_loses() {
    // A lie about an element, and one about a token.
    for fault in ["8:blk.1.k_cache:3", "token:2"] {
        let world = World::new(&devnet());
        let _provider = Actor::honest(&world);
        let request = world.ask();
        let claim = world.claimed(request);
        let liar = Liar::challenge(&world, claim, fault);
        let dispute = world.challenged(claim);
        until("the dispute is decided", || {
            liar.tick();
            world.dispute(dispute).resolved
        });
        until("the provider has the bond", || world.owed(Role::Honest).is_zero());
        check_defence(&world, claim, dispute);
    }
}

#[test]
fn a_challenger_who_falls_silent_is_timed_out() {
    let world = World::new(&devnet());
    let _provider = Actor::honest(&world);
    let request = world.ask();
    let claim = world.claimed(request);
    let _liar = Liar::challenge(&world, claim, "3:blk.0.ffn_gate:100");
    let dispute = world.challenged(claim);
    until("the provider has moved", || !world.dispute(dispute).defenderToMove);
    // In time to the last second.
    world.travel(OUT_OF_TIME_S - 60);
    let before = Ledger::read(&world).count(Role::Honest);
    world.travel(60);
    until("the dispute is decided", || world.dispute(dispute).resolved);
    until("the provider has the bond", || world.owed(Role::Honest).is_zero());
    let ledger = Ledger::read(&world);
    assert_eq!(ledger.count(Role::Honest), before + 2, "timeout, withdraw");
    check_defence(&world, claim, dispute);
    // The claim becomes final as if nothing had been.
    world.travel(WINDOW_S);
    world.is_final(request);
    let terms = world.parameters();
    let all = terms.bond_min_wei + U256::from(FEE_WEI) + terms.challenger_bond_wei
        - terms.challenger_burned();
    until("the provider has everything", || {
        Ledger::read(&world).money(Role::Honest).withdrawn == all
    });
    assert_eq!(world.held(), terms.challenger_burned());
}

#[test]
fn a_provider_who_falls_silent_is_timed_out() {
    let world = World::new(&devnet());
    let mut cheat = Actor::cheat(&world, "9:blk.1.attn_mix:17");
    let request = world.ask();
    let claim = world.claimed(request);
    cheat.kill();
    let _watcher = Actor::watcher(&world);
    let dispute = world.challenged(claim);
    until("the watcher knows its dispute", || world.status("watcher")["disputes_live"] == 1);
    world.travel(OUT_OF_TIME_S);
    world.rejected(claim);
    let terms = world.parameters();
    let reward = terms.pot(terms.bond_min_wei);
    let earned =
        Money { paid: terms.challenger_bond_wei, withdrawn: terms.challenger_bond_wei + reward };
    let ledger = eventually("the watcher has its money", || {
        let ledger = Ledger::read(&world);
        (ledger.money(Role::Watcher) == earned).then_some(ledger)
    });
    ledger.audit();
    assert!(world.dispute(dispute).challengerWon);
    let line = &world.disputes("watcher")[0];
    assert_eq!((&line["outcome"], &line["by_step"]), (&"won".into(), &false.into()));
    assert_eq!(world.request(request).status, RequestStatus::Open);
    let _honest = Actor::honest(&world);
    world.found_honest("watcher", 1);
    settle_honest(&world, request);
    Ledger::read(&world).audit();
}

#[test]
fn a_watcher_that_only_monitors_sends_nothing() {
    let world = World::new(&devnet());
    let watcher = Actor::watch(&world, "watcher", Role::Watcher, &["--monitor-only"]);
    let _cheat = Actor::cheat(&world, "token:1");
    let request = world.ask();
    let claim = world.claimed(request);
    until("the watcher finds it wrong", || world.status("watcher")["wrong"] == 1);
    until("it says so", || watcher.log().contains("only monitoring"));
    // Nobody else looks: the wrong claim becomes final.
    world.travel(WINDOW_S);
    world.is_final(request);
    assert_eq!(world.claim(claim).status, ClaimStatus::Final);
    assert_eq!(world.claim(claim).disputes, 0);
    assert_eq!(world.nonce(Role::Watcher, "pending"), 0);
    assert_eq!(world.disputes("watcher"), serde_json::json!([]));
}

#[test]
fn faults_without_effect_are_refused_before_money_is_at_stake() {
    let world = World::new(&devnet());
    let request = world.ask();
    let cases = [
        // The only position that block 0 attends to is its own: the softmax of one score is 1.
        ("0:blk.0.attn_scores:0", "reaches no committed value and no token"),
        ("3:blk.1.attn_q:0", "is a prompt block and ends at `collect`"),
        ("99:blk.0.attn_q:0", "block 99 is not one of them"),
        ("3:blk.0.attn_q:99999", "element 99999 is not one of them"),
        ("token:77", "is not one of them"),
        ("3:blk.9.attn_q:0", "is in no program"),
    ];
    for (fault, reason) in cases {
        let mut cheat = Actor::cheat(&world, fault);
        until("the provider gives up", || !cheat.process.is_running());
        assert!(cheat.log().contains(reason), "{fault}: {}", cheat.log());
        std::fs::remove_file(&cheat.process.log).expect("a log");
    }
    assert_eq!(world.request(request).status, RequestStatus::Open);
    assert_eq!(world.nonce(Role::Cheat, "pending"), 0);
}
