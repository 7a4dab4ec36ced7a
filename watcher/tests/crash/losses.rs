use crate::actor::Actor;
use crate::courses::check_conviction;
use crate::kills::check_defence;
use crate::ledger::Ledger;
use crate::liar::Liar;
use crate::world::{FEE_WEI, Role, World, devnet, until};
use alloy::primitives::U256;
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use refute_engine::store::Store;
use std::path::Path;

const FAULT: &str = "3:blk.0.ffn_gate:100";
const PLACE: (u64, &str, u64) = (3, "blk.0.ffn_gate", 100);

/// Kills an actor while a transaction of its waits for a block, and deletes its database. The other party moves when it is its
/// turn.
fn lose_everything(world: &World, actor: &mut Actor<'_>, other: Role, mut tick: impl FnMut()) {
    world.set_automine(false);
    until("a transaction waits for a block", || {
        tick();
        if world.has_waiting(other) {
            world.mine();
        }
        world.has_waiting(actor.role)
    });
    actor.kill();
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", world.database(actor.name));
        let deleted = std::fs::remove_file(path);
        assert!(deleted.is_ok() || !suffix.is_empty(), "{deleted:?}");
    }
    actor.restart();
    let head = world.runtime.block_on(world.chain.head()).expect("a block").number;
    until("the process has read the chain", || {
        let store = Store::read(Path::new(&world.database(actor.name)));
        store.is_ok_and(|s| s.cursor().is_ok_and(|c| c.is_some_and(|c| c.number == head)))
    });
    world.set_automine(true);
}

#[test]
fn a_watcher_without_its_database_wins_its_dispute() {
    let world = World::new(&devnet());
    let mut watcher = Actor::watcher(&world);
    let _cheat = Actor::cheat(&world, FAULT);
    let request = world.ask();
    let claim = world.claimed(request);
    let dispute = world.challenged(claim);
    lose_everything(&world, &mut watcher, Role::Cheat, || {});
    world.rejected(claim);
    let left = world.conviction_burn() + U256::from(FEE_WEI);
    until("only the fee and what is burned is left", || world.held() == left);
    assert_eq!(world.place("watcher", dispute), (PLACE.0, PLACE.1.to_owned(), PLACE.2));
    let ledger = Ledger::read(&world);
    ledger.audit();
    assert_eq!(ledger.calls::<Settlement::challengeCall>(Role::Watcher), 1);
}

#[test]
fn an_honest_provider_without_its_database_beats_a_liar() {
    let world = World::new(&devnet());
    let mut honest = Actor::honest(&world);
    let request = world.ask();
    let claim = world.claimed(request);
    let liar = Liar::challenge(&world, claim, FAULT);
    let dispute = world.challenged(claim);
    lose_everything(&world, &mut honest, Role::Liar, || liar.tick());
    until("the dispute is decided", || {
        liar.tick();
        world.dispute(dispute).resolved
    });
    until("the provider has the bond", || world.owed(Role::Honest).is_zero());
    check_defence(&world, claim, dispute);
}

/// Two processes with one key would use each other's nonces.
#[test]
fn a_second_process_on_a_database_is_refused() {
    let world = World::new(&devnet());
    let mut watcher = Actor::watcher(&world);
    until("the watcher has its database", || world.status("watcher")["chain_id"] == 31337);
    let mut second = Actor::watcher(&world);
    until("the second one ends", || !second.process.is_running());
    assert!(second.log().contains("another process uses this database"), "{}", second.log());
    assert!(watcher.process.is_running());
    let _cheat = Actor::cheat(&world, FAULT);
    let claim = world.claimed(world.ask());
    let dispute = world.challenged(claim);
    world.rejected(claim);
    check_conviction(&world, claim, dispute, PLACE);
}
