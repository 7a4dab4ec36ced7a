//! The devnet as its users meet it: alloy's provider, plain JSON-RPC, and anvil beside it.

/// The same script on the devnet and on anvil, with equal answers.
mod anvil;
/// Requests that no honest client sends.
mod hostile;
/// Logs by range, by block and by filter.
mod logs;
/// Time, mining modes, snapshots, history.
mod mining;
/// Transactions that are refused, wait, or replace each other.
mod pool;
/// Deploying, sending, calling and estimating with alloy's provider.
mod provider;
/// What the tests share.
mod support;
