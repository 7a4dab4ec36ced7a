#![doc = include_str!("../README.md")]
#![deny(clippy::float_arithmetic)]
//!
//! # Reading order
//!
//! Everybody knows the sizes of a claim ([`layout`]), and with them where things are
//! ([`position`]). Things are committed to in trees ([`merkle`]), whose nodes are hashed many at
//! once ([`keccak`]). A dispute is a [`state`] of 74 to 328 bytes; a party makes [`moves`] on it, and
//! [`game`] says what the contract makes of each: [`state::State::apply_move`] for who moves,
//! [`state::State::apply_event`] for who watches. [`rules`] says how long that can take and what no
//! move ever breaks, [`clock`] who is in time.
//!
//! Playing needs a computation of one's own ([`trace`]) and the [`history`] of the dispute. The
//! [`player`]s are pure functions of these two: they hold no state, so a process that was killed
//! replays the history and goes on. In the last phase a player says [`player::Action::Decide`]: the
//! caller knows the model, and builds the witness of the one step that is left. The paths of its
//! inputs come from the player too, for only it knows which nodes of the opponent's trees are
//! agreed ([`overlay`]).
//!
//! [`adversary`] plays every strategy against them, on this game or on the contract.

pub mod adversary;
pub mod clock;
pub mod game;
pub mod history;
pub mod keccak;
pub mod layout;
pub mod merkle;
pub mod moves;
pub mod overlay;
pub mod player;
pub mod position;
pub mod rules;
pub mod state;
pub mod trace;
mod transition;
