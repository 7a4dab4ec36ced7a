//! A provider or watcher that can be killed and started again, with the same key and database.

use crate::world::{Role, World};
use refute_engine::store::Store;
use refute_tests::processes::Process;
use std::path::Path;

/// Time between two looks of a process at the chain, milliseconds.
const POLL_MS: &str = "50";

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Watcher,
    Provider,
}

pub(crate) struct Actor<'w> {
    world: &'w World,
    kind: Kind,
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    args: Vec<String>,
    pub(crate) process: Process,
}

impl<'w> Actor<'w> {
    /// Starts a watcher with this name and key.
    pub(crate) fn watch(world: &'w World, name: &'static str, role: Role, args: &[&str]) -> Self {
        Self::start(world, Kind::Watcher, name, role, args)
    }

    /// Starts a provider with this name and key.
    pub(crate) fn provide(world: &'w World, name: &'static str, role: Role, args: &[&str]) -> Self {
        Self::start(world, Kind::Provider, name, role, args)
    }

    pub(crate) fn watcher(world: &'w World) -> Self {
        Self::watch(world, "watcher", Role::Watcher, &[])
    }

    pub(crate) fn honest(world: &'w World) -> Self {
        Self::provide(world, "honest", Role::Honest, &[])
    }

    /// A provider that makes one claim, with a fault.
    pub(crate) fn cheat(world: &'w World, fault: &str) -> Self {
        let args = ["--fault", fault, "--max-requests", "1"];
        Self::provide(world, "cheat", Role::Cheat, &args)
    }

    fn start(world: &'w World, kind: Kind, name: &'static str, role: Role, args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let process = run(world, kind, name, role, &args);
        Self { world, kind, name, role, args, process }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.process = run(self.world, self.kind, self.name, self.role, &self.args);
    }

    /// Whether it has written down a transaction that no block has.
    pub(crate) fn has_written(&self) -> bool {
        let Ok(store) = Store::read(Path::new(&self.world.database(self.name))) else {
            return false;
        };
        let mined = self.world.nonce(self.role, "latest");
        let pending = store.pending_transactions().unwrap_or_default();
        pending.iter().any(|tx| tx.nonce >= mined)
    }

    pub(crate) fn log(&self) -> String {
        self.process.output()
    }
}

fn run(world: &World, kind: Kind, name: &str, role: Role, args: &[String]) -> Process {
    let mut all = vec!["--poll", POLL_MS, "--threads", "1"];
    all.extend(args.iter().map(String::as_str));
    let key = world.key(role);
    let started = match kind {
        Kind::Watcher => world.net.watch(name, key, &world.model, &all),
        Kind::Provider => world.net.provider(name, key, &world.model, &all),
    };
    started.expect("a process")
}
