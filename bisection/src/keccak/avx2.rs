//! Four lanes with AVX2.

#![expect(unsafe_code, reason = "vectors are loaded from memory, and need instructions detected")]

use super::Message;
use super::sponge::{Block, RATE, ROUNDS, blocks, sponge};
use crate::merkle::Hash;
use std::arch::x86_64::*;

/// Proof that the machine has AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detected(());

impl Detected {
    /// The proof, if the machine has the instructions.
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// The digests of four messages.
    pub(super) fn hash(self, group: &[Message<'_>; 4]) -> [Hash; 4] {
        // SAFETY: `self` exists, so AVX2 has been detected.
        unsafe { hash_group(group) }
    }
}

sponge!("avx2", 4, __m256i);

#[target_feature(enable = "avx2")]
fn zero() -> __m256i {
    _mm256_setzero_si256()
}

#[target_feature(enable = "avx2")]
fn splat(word: u64) -> __m256i {
    _mm256_set1_epi64x(word as i64)
}

#[target_feature(enable = "avx2")]
fn xor(a: __m256i, b: __m256i) -> __m256i {
    _mm256_xor_si256(a, b)
}

#[target_feature(enable = "avx2")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    xor(xor(a, b), c)
}

#[target_feature(enable = "avx2")]
fn theta(a: __m256i, b: __m256i) -> __m256i {
    // Adding a word to itself shifts it by one, and more ports add than shift.
    xor(a, _mm256_or_si256(_mm256_add_epi64(b, b), _mm256_srli_epi64::<63>(b)))
}

#[target_feature(enable = "avx2")]
fn rho<const L: i32, const R: i32>(a: __m256i, d: __m256i) -> __m256i {
    let mixed = xor(a, d);
    // Whole bytes are rotated by one shuffle.
    match L {
        8 => _mm256_shuffle_epi8(mixed, byte_rotation::<7>()),
        56 => _mm256_shuffle_epi8(mixed, byte_rotation::<1>()),
        _ => _mm256_or_si256(_mm256_slli_epi64::<L>(mixed), _mm256_srli_epi64::<R>(mixed)),
    }
}

/// The shuffle that rotates every word right by `N` bytes.
#[target_feature(enable = "avx2")]
fn byte_rotation<const N: i64>() -> __m256i {
    const ONES: i64 = 0x0101_0101_0101_0101;
    let right = |bytes: i64| {
        let order = bytes.rotate_right(8 * N as u32);
        (order, order + 8 * ONES)
    };
    let (low, high) = right(0x0706_0504_0302_0100);
    _mm256_set_epi64x(high, low, high, low)
}

#[target_feature(enable = "avx2")]
fn chi(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    xor(a, _mm256_andnot_si256(b, c))
}

#[target_feature(enable = "avx2")]
fn words(vector: __m256i) -> [u64; 4] {
    let mut words = [0; 4];
    // SAFETY: `words` has the 32 bytes of a vector, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) };
    words
}

#[target_feature(enable = "avx2")]
fn absorb(state: &mut [__m256i; 25], blocks: [&Block; 4]) {
    for quarter in 0..4 {
        let rows = blocks.map(|block| {
            // SAFETY: the 32 bytes from 0, 32, 64 or 96 on are in the block's 136, and the load
            // needs no alignment.
            unsafe { _mm256_loadu_si256(block.as_ptr().add(32 * quarter).cast()) }
        });
        for (word, column) in transpose(rows).into_iter().enumerate() {
            state[4 * quarter + word] = xor(state[4 * quarter + word], column);
        }
    }
    let last = blocks.map(|b| b.last_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes)));
    let [a, b, c, d] = last;
    state[16] = xor(state[16], _mm256_set_epi64x(d, c, b, a));
}

/// Words of four rows to lanes: lane `i` of vector `j` is word `j` of row `i`.
#[target_feature(enable = "avx2")]
fn transpose(rows: [__m256i; 4]) -> [__m256i; 4] {
    let [a, b, c, d] = rows;
    // Words 0 and 2 of two rows each, then 1 and 3.
    let (ab02, ab13) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let (cd02, cd13) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
    [
        _mm256_permute2x128_si256::<0x20>(ab02, cd02),
        _mm256_permute2x128_si256::<0x20>(ab13, cd13),
        _mm256_permute2x128_si256::<0x31>(ab02, cd02),
        _mm256_permute2x128_si256::<0x31>(ab13, cd13),
    ]
}
