#![doc = include_str!("../README.md")]
//!
//! # Modules, in reading order
//!
//! - [`bindings`]: the interfaces of `solidity/interfaces` as Rust types, calls and events.
//! - [`artifact`]: the committed output of the compiler: bytecode to deploy, and the full ABI that
//!   names the reasons of a revert.
//! - [`evm`]: the contracts on an EVM inside this process: tests, gas figures, dry runs.
//! - [`devnet`]: a whole chain inside this process, behind Ethereum JSON-RPC.

pub mod artifact;
pub mod bindings;
pub mod devnet;
pub mod evm;
mod execution;
mod state;
