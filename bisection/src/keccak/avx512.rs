//! Eight lanes with AVX-512: a rotation and a function of three inputs are one instruction each.

#![expect(unsafe_code, reason = "vectors are loaded from memory, and need instructions detected")]

use super::Message;
use super::sponge::{Block, RATE, ROUNDS, blocks, sponge};
use crate::merkle::Hash;
use std::arch::x86_64::*;

/// Proof that the machine has AVX-512F.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detected(());

impl Detected {
    /// The proof, if the machine has the instructions.
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }

    /// The digests of eight messages.
    pub(super) fn hash(self, group: &[Message<'_>; 8]) -> [Hash; 8] {
        // SAFETY: `self` exists, so AVX-512F has been detected.
        unsafe { hash_group(group) }
    }
}

sponge!("avx512f", 8, __m512i);

#[target_feature(enable = "avx512f")]
fn zero() -> __m512i {
    _mm512_setzero_si512()
}

#[target_feature(enable = "avx512f")]
fn splat(word: u64) -> __m512i {
    _mm512_set1_epi64(word as i64)
}

#[target_feature(enable = "avx512f")]
fn xor(a: __m512i, b: __m512i) -> __m512i {
    _mm512_xor_si512(a, b)
}

#[target_feature(enable = "avx512f")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

#[target_feature(enable = "avx512f")]
fn theta(a: __m512i, b: __m512i) -> __m512i {
    xor(a, _mm512_rol_epi64::<1>(b))
}

#[target_feature(enable = "avx512f")]
fn rho<const L: i32, const R: i32>(a: __m512i, d: __m512i) -> __m512i {
    _mm512_rol_epi64::<L>(xor(a, d))
}

#[target_feature(enable = "avx512f")]
fn chi(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    // Bit `4a + 2b + c` of the constant is `a ^ (!b & c)`.
    _mm512_ternarylogic_epi64::<0xd2>(a, b, c)
}

#[target_feature(enable = "avx512f")]
fn words(vector: __m512i) -> [u64; 8] {
    let mut words = [0; 8];
    // SAFETY: `words` has the 64 bytes of a vector, and the store needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) };
    words
}

#[target_feature(enable = "avx512f")]
fn absorb(state: &mut [__m512i; 25], blocks: [&Block; 8]) {
    for half in 0..2 {
        let rows = blocks.map(|block| {
            // SAFETY: the 64 bytes from 0 or 64 on are in the block's 136, and the load needs no
            // alignment.
            unsafe { _mm512_loadu_si512(block.as_ptr().add(64 * half).cast()) }
        });
        for (word, column) in transpose(rows).into_iter().enumerate() {
            state[8 * half + word] = xor(state[8 * half + word], column);
        }
    }
    let last = blocks.map(|b| b.last_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes)));
    let [a, b, c, d, e, f, g, h] = last;
    state[16] = xor(state[16], _mm512_set_epi64(h, g, f, e, d, c, b, a));
}

/// Words of eight rows to lanes: lane `i` of vector `j` is word `j` of row `i`.
#[target_feature(enable = "avx512f")]
fn transpose(rows: [__m512i; 8]) -> [__m512i; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    // Pairs of rows: words 0, 2, 4, 6 of both, and words 1, 3, 5, 7.
    let even = [(a, b), (c, d), (e, f), (g, h)].map(|(a, b)| _mm512_unpacklo_epi64(a, b));
    let odd = [(a, b), (c, d), (e, f), (g, h)].map(|(a, b)| _mm512_unpackhi_epi64(a, b));
    let [w0, w2, w4, w6] = transpose_quarters(even);
    let [w1, w3, w5, w7] = transpose_quarters(odd);
    [w0, w1, w2, w3, w4, w5, w6, w7]
}

/// As [`transpose`], for four rows of four quarters.
#[target_feature(enable = "avx512f")]
fn transpose_quarters(rows: [__m512i; 4]) -> [__m512i; 4] {
    let [a, b, c, d] = rows;
    // Quarters 0 and 2 of two rows each, then 1 and 3.
    let (ab02, ab13) =
        (_mm512_shuffle_i64x2::<0b10_00_10_00>(a, b), _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b));
    let (cd02, cd13) =
        (_mm512_shuffle_i64x2::<0b10_00_10_00>(c, d), _mm512_shuffle_i64x2::<0b11_01_11_01>(c, d));
    [
        _mm512_shuffle_i64x2::<0b10_00_10_00>(ab02, cd02),
        _mm512_shuffle_i64x2::<0b10_00_10_00>(ab13, cd13),
        _mm512_shuffle_i64x2::<0b11_01_11_01>(ab02, cd02),
        _mm512_shuffle_i64x2::<0b11_01_11_01>(ab13, cd13),
    ]
}
