//! What the tests share: a tiny generated model with every weight format, and an arena that plays whole disputes
//! between two runs on the embedded EVM.

pub mod arena;
pub mod court;
pub mod faults;
pub mod large;
pub mod processes;
pub mod real;
pub mod tiny;
pub mod vectors;
pub mod verifier;
