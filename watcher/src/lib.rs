//! The watchtower: re-runs every claim on its models, disputes the wrong ones, plays to the end, collects.
//!
//! [`fsm`] says, as a table, what a claim needs next. [`scanner`] gathers the facts from the database that follows the
//! chain, [`schedule`] says which claims are checked first, [`watchtower`] does what the table says, again and again; everything is decided from what is stored, so a
//! watcher that was killed goes on where it was. [`telemetry`] is what an operator sees.

pub mod fsm;
pub mod scanner;
pub mod schedule;
pub mod telemetry;
pub mod watchtower;
