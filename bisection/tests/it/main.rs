//! The game against everything that a toy program can make happen.

#![allow(unreachable_pub, reason = "modules of one test binary")]

/// Defenders that reveal anything at all, challengers that choose anything at all.
mod adversaries;
/// Named attacks, each with its scenario.
mod attacks;
/// Trees built together.
mod batch;
/// Who is in time, to the second.
mod clock;
/// Content that nobody would send.
mod fuzz;
/// Every lie, every strategy.
mod games;
/// What other languages must reproduce.
mod golden;
/// Many messages at once.
mod keccak;
/// Trees, proofs, reveals.
mod merkle;
/// Each check of each move.
mod moves;
/// Every strategy of an adversary, on either side.
mod strategies;
mod toy;
