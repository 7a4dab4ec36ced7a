use crate::actor::Actor;
use crate::courses::check_conviction;
use crate::ledger::Ledger;
use crate::proxy::{Link, Proxy};
use crate::world::{Role, World, devnet, until};

const FAULT: &str = "9:blk.1.attn_mix:17";
const PLACE: (u64, &str, u64) = (9, "blk.1.attn_mix", 17);

#[test]
fn an_outage_in_the_middle_of_a_dispute_is_survived() {
    let mut world = World::new(&devnet());
    let proxy = Proxy::start(&world.rpc);
    world.net.rpc.clone_from(&proxy.url);
    let world = &world;
    let request = world.ask();
    let mut watcher = Actor::watcher(world);
    let mut cheat = Actor::cheat(world, FAULT);
    let claim = world.claimed(request);
    let dispute = world.challenged(claim);
    until("somebody has moved", || world.dispute(dispute).r#move > 0);
    proxy.set(Link::Down);
    for actor in [&watcher, &cheat] {
        until("the process has noticed", || actor.log().contains("trying again"));
    }
    let before = Ledger::read(world).txs.len();
    assert_eq!(Ledger::read(world).txs.len(), before, "nothing gets through");
    assert!(watcher.process.is_running() && cheat.process.is_running());
    proxy.set(Link::Up);
    world.rejected(claim);
    check_conviction(world, claim, dispute, PLACE);
    assert!(watcher.process.is_running() && cheat.process.is_running());
    Ledger::read(world).audit();
}

/// A devnet keeps nothing: what comes back at its port is another chain, though it has the same id, and after another
/// deployment the same contracts at the same addresses.
#[test]
fn a_chain_that_began_anew_is_noticed() {
    let mut world = World::new(&devnet());
    let request = world.ask();
    let (before, mut databases) = (world.address(Role::Watcher), Vec::new());
    {
        let _watcher = Actor::watcher(&world);
        let _honest = Actor::honest(&world);
        world.claimed(request);
        world.found_honest("watcher", 1);
        databases.extend([world.database("watcher"), world.database("honest")]);
    }
    let status = world.status("watcher");
    world.net.replace_chain(&[]).expect("another chain");
    // Started in the same second, it could have the same first block.
    world.travel(1000);
    // Nothing is deployed there.
    refused(&world, "refute deploy");
    let args = ["--window-min", "3600", "--clock", "600", "--min-response", "60"];
    world.net.deploy(&args).expect("deployed again");
    refused(&world, "this is not the chain that");
    assert_eq!(world.address(Role::Watcher), before);
    assert_eq!(world.status("watcher"), status, "its database is as it was");
    assert!(databases.iter().all(|path| std::path::Path::new(path).is_file()));
}

fn refused(world: &World, reason: &str) {
    let mut actors = [Actor::watcher(world), Actor::honest(world)];
    for actor in &mut actors {
        until("the process ends", || !actor.process.is_running());
        assert!(actor.log().contains(reason), "{}", actor.log());
    }
}

/// The same, while they run.
#[test]
fn a_chain_that_begins_anew_meanwhile_is_noticed() {
    let mut world = World::new(&devnet());
    let request = world.ask();
    let rpc = world.net.rpc.clone();
    let processes = {
        let watcher = Actor::watcher(&world);
        let honest = Actor::honest(&world);
        world.claimed(request);
        world.found_honest("watcher", 1);
        [watcher.process, honest.process]
    };
    world.net.replace_chain(&[]).expect("another chain");
    assert_eq!(world.net.rpc, rpc);
    for mut process in processes {
        until("the process ends", || !process.is_running());
        let log = process.output();
        assert!(log.contains("this is not the chain that"), "{log}");
        assert!(log.contains("refute deploy"), "it says what to do: {log}");
    }
    assert_eq!(world.status("watcher")["honest"], 1, "its database is as it was");
}
