//! Real processes on a real chain: `refute devnet` (or anvil), `refute provider` and `refute-watcher run`, each with its own
//! key, database and log, killed and cut off at every moment that matters.
//!
//! What counts is what the chain says at the end: statuses, winners, the step and element of a conviction, and every wei. The
//! chain's time moves when a test moves it, so nothing depends on how fast this machine is; waiting is for conditions, with a
//! bound that only a broken process reaches.

mod actor;
/// A liar who challenges, and one who doesn't answer.
mod adversaries;
/// Honest claims become final, wrong ones are convicted: on the devnet and on anvil.
mod courses;
/// Killed and restarted: at every move, and at random.
mod kills;
mod ledger;
mod liar;
/// Databases that are lost, or used twice.
mod losses;
/// Who gets what where it isn't simple: payees, two watchers, a missed time.
mod money;
/// The chain is gone for a while, or for good.
mod outages;
mod proxy;
/// The real model.
mod real;
/// Deployments, bonds and windows, limits of providers, callbacks, withdrawals.
mod terms;
mod world;
