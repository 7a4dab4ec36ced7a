#![doc = include_str!("../README.md")]

pub mod layout;
pub mod merkle;
pub mod moves;
pub mod position;
pub mod state;
pub mod trace;
