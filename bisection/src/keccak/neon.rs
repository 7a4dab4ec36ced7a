//! Two lanes with the SHA-3 instructions of ARMv8.2: each step of a round is one instruction.

#![expect(unsafe_code, reason = "the functions need instructions that are detected")]

use super::Message;
use super::sponge::{Block, RATE, ROUNDS, blocks, sponge};
use crate::merkle::Hash;
use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

/// Proof that the machine has NEON and the SHA-3 instructions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detected(());

impl Detected {
    /// The proof, if the machine has the instructions.
    pub(super) fn detect() -> Option<Self> {
        (is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("sha3"))
            .then_some(Self(()))
    }

    /// The digests of two messages.
    pub(super) fn hash(self, group: &[Message<'_>; 2]) -> [Hash; 2] {
        // SAFETY: `self` exists, so both sets of instructions have been detected.
        unsafe { hash_group(group) }
    }
}

sponge!("neon,sha3", 2, uint64x2_t);

#[target_feature(enable = "neon,sha3")]
fn zero() -> uint64x2_t {
    splat(0)
}

#[target_feature(enable = "neon,sha3")]
fn splat(word: u64) -> uint64x2_t {
    vdupq_n_u64(word)
}

#[target_feature(enable = "neon,sha3")]
fn xor(a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
    veorq_u64(a, b)
}

#[target_feature(enable = "neon,sha3")]
fn xor3(a: uint64x2_t, b: uint64x2_t, c: uint64x2_t) -> uint64x2_t {
    veor3q_u64(a, b, c)
}

#[target_feature(enable = "neon,sha3")]
fn theta(a: uint64x2_t, b: uint64x2_t) -> uint64x2_t {
    vrax1q_u64(a, b)
}

#[target_feature(enable = "neon,sha3")]
fn rho<const L: i32, const R: i32>(a: uint64x2_t, d: uint64x2_t) -> uint64x2_t {
    vxarq_u64::<R>(a, d)
}

#[target_feature(enable = "neon,sha3")]
fn chi(a: uint64x2_t, b: uint64x2_t, c: uint64x2_t) -> uint64x2_t {
    // The instruction is `a ^ (b & !c)`.
    vbcaxq_u64(a, c, b)
}

#[target_feature(enable = "neon,sha3")]
fn words(vector: uint64x2_t) -> [u64; 2] {
    [vgetq_lane_u64::<0>(vector), vgetq_lane_u64::<1>(vector)]
}

#[target_feature(enable = "neon,sha3")]
fn absorb(state: &mut [uint64x2_t; 25], blocks: [&Block; 2]) {
    let (left, right) = (blocks[0].as_chunks().0, blocks[1].as_chunks().0);
    for ((word, left), right) in state.iter_mut().zip(left).zip(right) {
        let left = vcreate_u64(u64::from_le_bytes(*left));
        let right = vcreate_u64(u64::from_le_bytes(*right));
        *word = xor(*word, vcombine_u64(left, right));
    }
}
