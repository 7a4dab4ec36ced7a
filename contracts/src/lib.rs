#![doc = include_str!("../README.md")]
//!
//! # Modules, in reading order
//!
//! - [`bindings`]: the interfaces of `solidity/interfaces` as Rust types, calls and events.
//! - [`artifact`]: the committed output of the compiler: bytecode to deploy, and the full ABI that
//!   names the reasons of a revert.
//! - [`create2`]: the proxy through which contracts get the same addresses on every chain.
//! - [`evm`]: the contracts on an EVM inside this process: tests, gas figures, dry runs.
//! - [`plan`]: what a deployment with given parameters will be: addresses and code, to the byte.
//! - [`devnet`]: a whole chain inside this process, behind Ethereum JSON-RPC.

pub mod artifact;
pub mod bindings;
pub mod create2;
pub mod devnet;
pub mod evm;
mod execution;
pub mod plan;
mod state;
