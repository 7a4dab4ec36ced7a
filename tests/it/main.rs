//! Tests that drive the packages together.

/// Every strategy, random faults and random lies on the real contracts.
mod adversary;
/// What each arity costs.
mod arity;
/// Runs on backends against the reference executor.
mod backends;
/// The WGSL kernels in Chromium.
mod browser;
/// Whole disputes on the embedded EVM.
mod dispute;
/// Blocks computed again, on a backend and without.
mod expansion;
/// Model ids, roots and answers that must never change.
mod golden;
/// Every op in Rust against the contract.
mod parity;
/// The real model, disputed on the embedded EVM.
mod real;
/// Whole disputes, written down for other EVMs.
mod recorded;
/// What the registry refuses, against what an import refuses.
mod registry;
