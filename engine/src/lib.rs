//! Model import, execution, commitments, chain client and provider.
//!
//! Reading order: [`gguf`] reads a model file, [`tokenizer`] and [`chat`] turn text into tokens; [`model`] imports the
//! file into a [`program`] and weights, and [`executor`] runs it, block after block, or a [`backend`] many blocks at once. [`trace`] commits to a run, opens any
//! part of it again and accumulates folds; [`witness`] proves one step of it to the contract. [`subject`] and [`player`] turn
//! both into a side of the dispute game. [`chain`] and [`store`] reach the contracts and remember what happened there;
//! [`agent`] puts them together for whoever acts on chain, [`worker`] is their loop, and [`provider`] serves requests.
#![deny(clippy::float_arithmetic)]

pub mod agent;
pub mod backend;
pub mod bench;
pub mod chain;
pub mod chat;
pub mod cost;
pub mod deploy;
pub mod eval;
pub mod executor;
pub mod fault;
pub mod fold;
pub mod gguf;
pub mod model;
pub mod player;
pub mod program;
pub mod provider;
pub mod request;
pub mod store;
pub mod subject;
pub mod temperature;
pub mod tokenizer;
pub mod trace;
pub mod ui;
pub mod witness;
pub mod worker;
