use crate::actor::Actor;
use crate::courses::check_conviction;
use crate::ledger::{Ledger, Money};
use crate::liar::Liar;
use crate::proxy::{Link, Proxy};
use crate::world::{Role, World, devnet, eventually, until};
use alloy::primitives::{B256, U256};
use refute_contracts::bindings::ClaimStatus;
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use refute_tests::tiny::Random;
use serde_json::json;
use std::time::Duration;

/// In what moment of a transaction its sender dies.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Written down, and no node has heard of it.
    Written,
    /// The chain has it, and its sender doesn't know.
    Unanswered,
    /// It waits for a block.
    Sent,
    /// Its block is there, and everybody dies before most have seen it.
    Mined,
}

const MOMENTS: [Moment; 4] = [Moment::Written, Moment::Unanswered, Moment::Sent, Moment::Mined];
/// Transactions of a course, at most.
const TRANSACTIONS_MAX: usize = 100;
const FAULT: &str = "3:blk.0.ffn_gate:100";
const PLACE: (u64, &str, u64) = (3, "blk.0.ffn_gate", 100);

/// Whose turn it is.
enum Turn {
    Done,
    Actor(usize),
    Other,
}

/// Makes the blocks of a course one by one. Every transaction of the actors is one of the four moments to die in; the
/// shift says which comes first, so that four courses have all moments of all transactions.
fn die_at_every_transaction(
    world: &World,
    proxy: &Proxy,
    actors: &mut [Actor<'_>],
    shift: usize,
    mut look: impl FnMut() -> Option<Turn>,
) {
    for i in 0..TRANSACTIONS_MAX {
        let moment = MOMENTS[(i + shift) % MOMENTS.len()];
        proxy.set(match moment {
            Moment::Written => Link::LosesTransactions,
            Moment::Unanswered => Link::LosesAnswers,
            Moment::Sent | Moment::Mined => Link::Up,
        });
        world.mine();
        if let Moment::Mined = moment {
            actors.iter_mut().for_each(Actor::kill);
            actors.iter_mut().for_each(Actor::restart);
        }
        let what = format!("transaction {i}, {moment:?}, or the end");
        let turn = eventually(&what, || {
            let writer = actors.iter().position(Actor::has_written);
            writer.map(Turn::Actor).or_else(&mut look)
        });
        match turn {
            Turn::Done => {
                proxy.set(Link::Up);
                return;
            }
            Turn::Other => {}
            Turn::Actor(who) => {
                eprintln!("transaction {i} is of {}: {moment:?}", actors[who].name);
                die(world, proxy, &mut actors[who], moment);
            }
        }
    }
    panic!("more than {TRANSACTIONS_MAX} transactions");
}

fn die(world: &World, proxy: &Proxy, actor: &mut Actor<'_>, moment: Moment) {
    let is_waiting = || world.has_waiting(actor.role);
    match moment {
        Moment::Written => assert!(!is_waiting(), "the transaction was to be lost"),
        Moment::Unanswered | Moment::Sent => until("the transaction is sent", is_waiting),
        Moment::Mined => return until("the transaction is sent", is_waiting),
    }
    actor.kill();
    proxy.set(Link::Up);
    actor.restart();
    until("the restarted process has sent it", || world.has_waiting(actor.role));
}

fn conviction_with_deaths(shift: usize) {
    let mut world = World::new(&devnet());
    let proxy = Proxy::start(&world.rpc);
    world.net.rpc.clone_from(&proxy.url);
    let world = &world;
    let request = world.ask();
    world.set_automine(false);
    let mut actors = [Actor::watcher(world), Actor::cheat(world, FAULT)];
    die_at_every_transaction(world, &proxy, &mut actors, shift, || {
        let claim = first_claim(world, request)?;
        (world.claim(claim).status == ClaimStatus::Rejected && is_collected(world))
            .then_some(Turn::Done)
    });
    let claim = first_claim(world, request).expect("a claim");
    let dispute = world.dispute_at(claim, 0);
    check_conviction(world, claim, dispute, PLACE);
    check_counts(world);
}

/// The id of the request's first claim, whatever became of it.
fn first_claim(world: &World, request: B256) -> Option<B256> {
    let list = world.net.refute(&["claim", "list", "--rpc", &world.rpc]).ok()?;
    let claims = list.as_array()?;
    let first = claims.iter().find(|c| c["request_id"] == request.to_string())?;
    first["claim_id"].as_str()?.parse().ok()
}

/// Whether the watcher has its bond and its reward, in its own account.
fn is_collected(world: &World) -> bool {
    let terms = world.parameters();
    let won = terms.challenger_bond_wei + terms.pot(terms.bond_min_wei);
    Ledger::read(world).money(Role::Watcher).withdrawn == won
}

fn check_counts(world: &World) {
    let ledger = Ledger::read(world);
    ledger.audit();
    assert_eq!(ledger.calls::<Settlement::acceptCall>(Role::Cheat), 1);
    assert_eq!(ledger.calls::<Settlement::claimCall>(Role::Cheat), 1);
    assert_eq!(ledger.calls::<Settlement::challengeCall>(Role::Watcher), 1);
    assert_eq!(ledger.calls::<Settlement::settleRewardCall>(Role::Watcher), 1);
    assert_eq!(ledger.calls::<Settlement::refundCall>(Role::Watcher), 1);
    let nonce = |role| world.nonce(role, "pending") as usize;
    assert_eq!(nonce(Role::Watcher), ledger.count(Role::Watcher), "nothing is left over");
    assert_eq!(nonce(Role::Cheat), ledger.count(Role::Cheat), "nothing is left over");
}

#[test]
fn a_conviction_survives_death_at_every_transaction_1() {
    conviction_with_deaths(0);
}

#[test]
fn a_conviction_survives_death_at_every_transaction_2() {
    conviction_with_deaths(1);
}

#[test]
fn a_conviction_survives_death_at_every_transaction_3() {
    conviction_with_deaths(2);
}

#[test]
fn a_conviction_survives_death_at_every_transaction_4() {
    conviction_with_deaths(3);
}

#[test]
fn an_honest_provider_that_dies_at_every_transaction_beats_a_liar() {
    for shift in [0, 2] {
        defence_with_deaths(shift);
    }
}

fn defence_with_deaths(shift: usize) {
    let mut world = World::new(&devnet());
    let proxy = Proxy::start(&world.rpc);
    world.net.rpc.clone_from(&proxy.url);
    let world = &world;
    let request = world.ask();
    let provider = Actor::honest(world);
    let claim = world.claimed(request);
    let liar = Liar::challenge(world, claim, FAULT);
    let dispute = world.challenged(claim);
    world.set_automine(false);
    die_at_every_transaction(world, &proxy, &mut [provider], shift, || {
        liar.tick();
        if world.has_waiting(Role::Liar) {
            return Some(Turn::Other);
        }
        // What the liar lost is withdrawn, too.
        let terms = world.parameters();
        let won = terms.challenger_bond_wei - terms.challenger_burned();
        let has_it = Ledger::read(world).money(Role::Honest).withdrawn == won;
        (world.dispute(dispute).resolved && has_it).then_some(Turn::Done)
    });
    check_defence(world, claim, dispute);
}

/// The step decided for the defender; half of the liar's bond is the provider's, the rest is burned.
pub(crate) fn check_defence(world: &World, claim: B256, dispute: B256) {
    let view = world.dispute(dispute);
    assert!(view.resolved && !view.challengerWon);
    assert_eq!(view.challenger, world.address(Role::Liar));
    let claimed = world.claim(claim);
    assert_eq!((claimed.status, claimed.disputes), (ClaimStatus::Pending, 1));
    assert_eq!(claimed.openDisputes, 0);
    let terms = world.parameters();
    let ledger = Ledger::read(world);
    ledger.audit();
    let lost = Money { paid: terms.challenger_bond_wei, withdrawn: U256::ZERO };
    assert_eq!(ledger.money(Role::Liar), lost);
    let won = terms.challenger_bond_wei - terms.challenger_burned();
    assert_eq!(ledger.money(Role::Honest).withdrawn, won);
    assert_eq!(world.burned(), terms.challenger_burned());
    assert_eq!(ledger.calls::<Settlement::claimCall>(Role::Honest), 1);
}

/// Kills in a course, and the longest time between two of them.
const KILLS: u32 = 30;
const PAUSE_MS_MAX: u32 = 600;

#[test]
fn a_conviction_survives_deaths_at_random() {
    let given = std::env::var("REFUTE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(20_261_120);
    eprintln!("REFUTE_SEED={seed} gives the same times again");
    let mut random = Random::new(seed);
    let world = World::new(&devnet());
    let request = world.ask();
    // A block every second: most of the time something is on its way.
    world.raw("evm_setIntervalMining", json!([1]));
    let mut actors = [Actor::watcher(&world), Actor::cheat(&world, FAULT)];
    for _ in 0..KILLS {
        let pause = random.below(PAUSE_MS_MAX);
        std::thread::sleep(Duration::from_millis(pause.into()));
        let victim = &mut actors[random.below(2) as usize];
        victim.kill();
        std::thread::sleep(Duration::from_millis(random.below(200).into()));
        victim.restart();
    }
    let claim = eventually("a claim", || first_claim(&world, request));
    world.rejected(claim);
    until("the watcher has its money", || is_collected(&world));
    check_conviction(&world, claim, world.dispute_at(claim, 0), PLACE);
    check_counts(&world);
}
