use crate::actor::Actor;
use crate::courses::settle_honest;
use crate::ledger::{Ledger, Money};
use crate::world::{FEE_WEI, MAX_TOKENS, PROMPT, Role, WINDOW_S, World, devnet, read, until};
use alloy::primitives::{Address, U256};
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use refute_contracts::bindings::{ClaimStatus, RequestStatus};
use refute_tests::processes::{ChainKind, anvil};
use serde_json::json;

/// Code that takes any call, and code that refuses every one.
const TAKES: &str = "0x00";
const REFUSES: &str = "0x5f5ffd";

/// The same command on another kind of chain gives the same addresses; a second time it finds what is there.
#[test]
fn a_deployment_has_the_same_addresses_on_anvil() {
    let Some(path) = anvil() else { return };
    let (ours, theirs) = (World::new(&devnet()), World::new(&ChainKind::Anvil(path)));
    for field in ["settlement", "game", "registry", "verifier", "code_hashes", "parameters", "salt"]
    {
        assert_eq!(ours.net.deployment[field], theirs.net.deployment[field], "{field}");
    }
    for world in [&ours, &theirs] {
        let deploy = ["deploy", "--rpc", &world.rpc, "--key", world.key(Role::Liar)];
        let [window, clock, response] = ["3600", "600", "60"];
        let same = ["--window-min", window, "--clock", clock, "--min-response", response];
        let again = world.net.refute(&[&deploy[..], &same].concat()).expect("it is there");
        assert_eq!(again["settlement"], world.net.deployment["settlement"]);
        assert_eq!((&again["created"], &again["gas_used"]), (&json!([]), &json!(0)));
        let refused = [&deploy[..], &["--burn-bps", "4000"]].concat();
        let error = world.net.refute(&refused).expect_err("less than half").to_string();
        assert!(error.contains("--burn-bps"), "{error}");
    }
}

/// Every process looks at the code before it deals with it.
#[test]
fn contracts_with_other_code_are_refused() {
    let world = World::new(&devnet());
    world.raw("anvil_setCode", json!([world.deployed().game, TAKES]));
    let mut actors = [Actor::watcher(&world), Actor::honest(&world)];
    for actor in &mut actors {
        until("the process ends", || !actor.process.is_running());
        let game = world.deployed().game.to_string();
        let log = actor.log();
        assert!(log.contains("another contract") && log.contains(&game), "{log}");
    }
    let error = world.try_asking(PROMPT, MAX_TOKENS, &[]).expect_err("refused").to_string();
    assert!(error.contains("another contract"), "{error}");
}

/// Bond, window and sampling are the request's, within the terms.
#[test]
fn a_request_fixes_bond_and_window() {
    let world = World::new(&devnet());
    let bond = world.parameters().bond_min_wei * U256::from(3);
    let (wei, window) = (bond.to_string(), (2 * WINDOW_S).to_string());
    let request = world.ask_with(&["--bond", &wei, "--window", &window]);
    let view = world.request(request);
    assert_eq!((view.bond, u64::from(view.windowS)), (bond, 2 * WINDOW_S));
    let _honest = Actor::honest(&world);
    let claim = world.claimed(request);
    let view = world.claim(claim);
    assert_eq!((view.bond, view.windowEnd), (bond, view.claimedAt + 2 * WINDOW_S));
    world.travel(2 * WINDOW_S);
    world.is_final(request);
    until("the provider has its money", || world.held().is_zero());
    let paid = Money { paid: bond, withdrawn: bond + U256::from(FEE_WEI) };
    assert_eq!(Ledger::read(&world).money(Role::Honest), paid);
    for (option, value) in [("--bond", "1"), ("--window", "1"), ("--window", "4294967295")] {
        let error = world.try_asking(PROMPT, MAX_TOKENS, &[option, value]).expect_err("refused");
        assert!(error.to_string().contains(option), "{error}");
    }
}

/// Seed and temperature go from the request into the answer, the check, and the dispute about a wrong one.
#[test]
fn a_sampled_request_is_answered_checked_and_disputed() {
    let world = World::new(&devnet());
    let drawing = ["--temperature", "1.5", "--seed", "18446744073709551615"];
    let request = world.ask_with(&drawing);
    let view = world.request(request);
    assert_eq!((view.temperature, view.seed), (3 << 15, u64::MAX));
    let greedy = Actor::provide(&world, "greedy", Role::Liar, &["--greedy-only"]);
    until("a greedy provider declines", || greedy.log().contains("--greedy-only"));
    let _watcher = Actor::watcher(&world);
    let cheat = Actor::cheat(&world, "token:1");
    let wrong = world.claimed(request);
    let dispute = world.challenged(wrong);
    world.rejected(wrong);
    assert_eq!(world.place("watcher", dispute), (8, "sample".to_owned(), 0));
    drop(cheat);
    let _honest = Actor::honest(&world);
    let claim = world.claimed(request);
    world.found_honest("watcher", 1);
    world.travel(WINDOW_S);
    world.is_final(request);
    assert_eq!(world.claim(claim).status, ClaimStatus::Final);
    let tokens = MAX_TOKENS.to_string();
    let run = ["run", "--model", &world.model, "--prompt", PROMPT, "--max-tokens", &tokens];
    let answer = world.net.refute(&[&run[..], &drawing].concat()).expect("a run");
    let output = world.output(request).expect("a final answer");
    for field in ["tokens", "trace_root"] {
        assert_eq!(output[field], answer[field], "{field}");
    }
    assert_ne!(output["tokens"], world.honest_answer(PROMPT, MAX_TOKENS)["tokens"]);
}

/// A provider takes what its owner allows, and says what it leaves to others and why.
#[test]
fn a_provider_keeps_to_its_limits() {
    let world = World::new(&devnet());
    let bond = world.parameters().bond_min_wei;
    let (larger, most) = ((bond + U256::ONE).to_string(), bond.to_string());
    let limits = ["--max-bond", &most, "--max-window", "3600", "--min-fee", "1234567"];
    let provider = Actor::provide(&world, "honest", Role::Honest, &limits);
    let dear = world.ask_with(&["--bond", &larger]);
    let long = world.ask_with(&["--window", "3601"]);
    for (request, flag) in [(dear, "--max-bond"), (long, "--max-window")] {
        until("the provider declines", || {
            let log = provider.log();
            log.lines().any(|line| line.contains(&request.to_string()) && line.contains(flag))
        });
    }
    settle_honest(&world, world.ask());
    for request in [dear, long] {
        assert_eq!(world.request(request).status, RequestStatus::Open);
    }
}

#[test]
fn a_provider_delivers_what_it_answered() {
    let world = World::new(&devnet());
    let callback = Address::repeat_byte(0xca);
    world.raw("anvil_setCode", json!([callback, TAKES]));
    let request = ask_for_delivery(&world, callback, "60000");
    let _honest = Actor::honest(&world);
    let claim = world.claimed(request);
    world.travel(WINDOW_S);
    until("the callback is told", || world.request(request).delivered);
    assert_eq!(world.claim(claim).status, ClaimStatus::Final);
    until("the provider has its money", || world.held().is_zero());
    let ledger = Ledger::read(&world);
    ledger.audit();
    assert_eq!(ledger.calls::<Settlement::deliverCall>(Role::Honest), 1);
    let output = world.output(request).expect("a final answer");
    assert_eq!((&output["delivered"], read(&output["callback"])), (&json!(true), callback));
}

/// A callback that fails costs its provider nothing, and is told by anybody once it works.
#[test]
fn a_callback_that_fails_is_left_to_others() {
    let world = World::new(&devnet());
    let callback = Address::repeat_byte(0xca);
    world.raw("anvil_setCode", json!([callback, REFUSES]));
    let request = ask_for_delivery(&world, callback, "60000");
    let dear = ask_for_delivery(&world, callback, "600000");
    let honest = Actor::honest(&world);
    for request in [request, dear] {
        world.claimed(request);
    }
    world.travel(WINDOW_S);
    until("the provider has tried", || honest.log().contains("CallbackFailed"));
    until("the provider has its money", || world.held().is_zero());
    let deliver = |request: alloy::primitives::B256| {
        let id = request.to_string();
        let key = world.key(Role::Liar);
        world.net.refute(&["deliver", &id, "--rpc", &world.rpc, "--key", key])
    };
    let error = deliver(request).expect_err("it fails").to_string();
    assert!(error.contains("CallbackFailed"), "{error}");
    world.raw("anvil_setCode", json!([callback, TAKES]));
    for request in [request, dear] {
        assert!(!world.request(request).delivered);
        let report = deliver(request).expect("delivered");
        assert_eq!(read::<Address>(&report["callback"]), callback);
        assert!(world.request(request).delivered);
        let error = deliver(request).expect_err("once").to_string();
        assert!(error.contains("delivered already"), "{error}");
    }
    let ledger = Ledger::read(&world);
    ledger.audit();
    assert_eq!(ledger.calls::<Settlement::deliverCall>(Role::Honest), 0);
}

fn ask_for_delivery(world: &World, callback: Address, gas: &str) -> alloy::primitives::B256 {
    let callback = callback.to_string();
    world.ask_with(&["--callback", &callback, "--callback-gas", gas])
}

/// What is owed to an account goes there, whoever pays for the transaction.
#[test]
fn a_withdrawal_brings_what_is_owed() {
    let world = World::new(&devnet());
    let payee = Address::repeat_byte(0xdd);
    let provider = ["--payee".to_owned(), payee.to_string()];
    let watcher = Actor::watch(&world, "watcher", Role::Watcher, &["--monitor-only"]);
    let args = provider.each_ref().map(String::as_str);
    let mut honest = Actor::provide(&world, "honest", Role::Honest, &args);
    let request = world.ask();
    let claim = world.claimed(request);
    honest.kill();
    world.travel(WINDOW_S);
    let finalize = Settlement::finalizeCall { claimId: claim };
    world.send(Role::Liar, finalize);
    let owed = world.parameters().bond_min_wei + U256::from(FEE_WEI);
    let withdraw = || {
        let (key, payee) = (world.key(Role::Liar), payee.to_string());
        let args = ["withdraw", "--rpc", &world.rpc, "--key", key, "--payee", &payee];
        world.net.watcher(&args).expect("a withdrawal")
    };
    let report = withdraw();
    assert_eq!((read(&report["payee"]), read(&report["wei"])), (payee, owed));
    assert_eq!((world.balance(payee), world.held()), (owed, U256::ZERO));
    assert_eq!(read::<U256>(&withdraw()["wei"]), U256::ZERO, "there is nothing left");
    let ledger = Ledger::read(&world);
    ledger.audit();
    assert_eq!(ledger.calls::<Settlement::withdrawCall>(Role::Liar), 1);
    drop(watcher);
}
