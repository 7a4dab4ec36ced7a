use crate::actor::Actor;
use crate::ledger::{Ledger, Money};
use crate::world::{FEE_WEI, Role, WINDOW_S, World, devnet, until};
use alloy::primitives::{Address, U256};
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use refute_contracts::bindings::RequestStatus;

const FAULT: &str = "9:blk.1.attn_mix:17";

/// Payees that have nothing but what the settlement pays, so that their balances are exact.
#[test]
fn payees_get_the_money_and_keys_pay_the_gas() {
    let world = World::new(&devnet());
    let [reward_to, fee_to] = [0xaa, 0xbb].map(Address::repeat_byte);
    let payee = |address: Address| ["--payee".to_owned(), address.to_string()];
    let [watcher_args, honest_args] = [payee(reward_to), payee(fee_to)];
    let args = watcher_args.each_ref().map(String::as_str);
    let _watcher = Actor::watch(&world, "watcher", Role::Watcher, &args);
    let cheat = Actor::cheat(&world, FAULT);
    let request = world.ask();
    let claim = world.claimed(request);
    world.rejected(claim);
    let terms = world.parameters();
    let reward = terms.pot(terms.bond_min_wei);
    until("the reward is paid out", || {
        world.balance(reward_to) == terms.challenger_bond_wei + reward
    });
    drop(cheat);
    let args = honest_args.each_ref().map(String::as_str);
    let _honest = Actor::provide(&world, "honest", Role::Honest, &args);
    world.claimed(request);
    world.found_honest("watcher", 1);
    world.travel(WINDOW_S);
    let paid = terms.bond_min_wei + U256::from(FEE_WEI);
    until("the fee is paid out", || world.balance(fee_to) == paid);
    assert_eq!(world.balance(reward_to), terms.challenger_bond_wei + reward);
    assert_eq!(world.held(), terms.burned(terms.bond_min_wei));
    let ledger = Ledger::read(&world);
    ledger.audit();
    for role in [Role::Watcher, Role::Honest, Role::Cheat] {
        assert_eq!(ledger.money(role).withdrawn, U256::ZERO, "{role:?} is no payee");
    }
}

/// Both challenge. Whoever convicts, the reward is that of the dispute that was opened first; the other one has its bond back,
/// and what its moves are paid with.
#[test]
fn the_second_of_two_watchers_loses_nothing_but_gas() {
    let world = World::new(&devnet());
    let _one = Actor::watcher(&world);
    let _two = Actor::watch(&world, "second", Role::Liar, &[]);
    let _cheat = Actor::cheat(&world, FAULT);
    let request = world.ask();
    let claim = world.claimed(request);
    world.rejected(claim);
    let terms = world.parameters();
    let bond = terms.challenger_bond_wei;
    let pot = terms.pot(terms.bond_min_wei);
    until("only the fee and what is burned is left", || {
        world.held() == terms.burned(terms.bond_min_wei) + U256::from(FEE_WEI)
    });
    let first = world.dispute(world.dispute_at(claim, 0)).challenger;
    let ledger = Ledger::read(&world);
    // A move may come too late, after the other dispute has decided: that fails, and costs its gas.
    ledger.audit_money();
    let both = [Role::Watcher, Role::Liar];
    let reimbursed = both.map(|role| ledger.reimbursed(role));
    assert!(reimbursed.iter().any(|wei| !wei.is_zero()), "somebody made the moves");
    for (role, reimbursed_other) in both.into_iter().zip(reimbursed.into_iter().rev()) {
        // One that was slower than the whole dispute of the other has never challenged.
        let challenges = U256::from(ledger.calls::<Settlement::challengeCall>(role));
        let is_first = world.address(role) == first;
        let won = if is_first { pot - reimbursed_other } else { ledger.reimbursed(role) };
        let expected = Money { paid: bond * challenges, withdrawn: bond * challenges + won };
        assert_eq!(ledger.money(role), expected, "{role:?}");
    }
    assert_eq!(world.request(request).status, RequestStatus::Open);
}

/// Its bond is smaller by the penalty, and it may try again.
#[test]
fn a_provider_that_missed_its_time_pays_and_serves() {
    let world = World::new(&devnet());
    let request = world.ask();
    world.set_automine(false);
    let mut honest = Actor::honest(&world);
    until("the acceptance waits for a block", || world.has_waiting(Role::Honest));
    honest.kill();
    world.mine();
    assert_eq!(world.request(request).status, RequestStatus::Accepted);
    world.travel(u64::from(world.parameters().claim_s) + 1);
    world.set_automine(true);
    honest.restart();
    let claim = world.claimed(request);
    assert_eq!(world.claim(claim).provider, world.address(Role::Honest));
    world.travel(WINDOW_S);
    world.is_final(request);
    let terms = world.parameters();
    until("only what is burned is left", || world.held() == terms.missed(terms.bond_min_wei));
    let ledger = Ledger::read(&world);
    ledger.audit();
    let paid = terms.bond_min_wei * U256::from(2);
    let withdrawn = paid - terms.missed(terms.bond_min_wei) + U256::from(FEE_WEI);
    assert_eq!(ledger.money(Role::Honest), Money { paid, withdrawn });
    assert_eq!(world.burned(), terms.missed(terms.bond_min_wei));
}
