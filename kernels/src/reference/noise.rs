//! The noise of Sample: base-2 Gumbel, `−log2(−log2 u)` of a uniform `u`, in units of 2^-16.
//!
//! `u = (w + 1/2) · 2^-32` of 32 bits `w` that a counter-based generator gives for a seed, a position
//! and an id, so that any one of them can be computed by itself. Both halves of the interval meet the
//! same odd `z`: `u` or `1 − u` is `z · 2^-33`. In the upper half the noise is
//! `33 − log2 z − log2(−log2(1 − y) / y)` with `y = z · 2^-33`, which keeps its relative accuracy as
//! `u` goes to 1; that is where winners come from. Twin: shaders/shared/noise.wgsl.

use crate::fx::{mulhi, rshift_round};

/// The third word of every counter: this use of the generator. Others get words of their own.
const DOMAIN: u32 = 0x5341_4d50;

/// No noise is larger: 33, in units of 2^-16.
pub const NOISE_MAX: i32 = 33 << 16;

/// Fractional bits that logarithms are computed with; 33 of them still fit an `i32`.
const Q: u32 = 25;

/// Multipliers of Philox4x32.
pub(crate) const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];

/// What each round adds to the key.
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

/// Rounds of Philox4x32-10.
pub(crate) const ROUNDS: u32 = 10;

/// Coefficients of `log2(1 + f)` in Q30; their signs alternate.
const LOG2: [u32; 8] = [
    1_549_076_464,
    774_345_888,
    513_982_710,
    372_911_710,
    259_700_344,
    147_662_443,
    55_897_937,
    9_995_641,
];

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: *Parallel Random Numbers: As Easy as 1, 2, 3*): four
/// words for a counter under a key.
#[must_use]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut x0, mut x1, mut x2, mut x3], [mut k0, mut k1]) = (counter, key);
    for _ in 0..ROUNDS {
        let (high0, low0) = (mulhi(MULTIPLIERS[0], x0), MULTIPLIERS[0].wrapping_mul(x0));
        let (high1, low1) = (mulhi(MULTIPLIERS[1], x2), MULTIPLIERS[1].wrapping_mul(x2));
        (x0, x1, x2, x3) = (high1 ^ x1 ^ k0, low1, high0 ^ x3 ^ k1, low0);
        [k0, k1] = next_key([k0, k1]);
    }
    [x0, x1, x2, x3]
}

/// The key of the round after one with `key`.
pub(crate) fn next_key(key: [u32; 2]) -> [u32; 2] {
    [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])]
}

/// The counter of ids `4 · group … 4 · group + 3` at a position.
pub(crate) fn counter(position: u32, group: u32) -> [u32; 4] {
    [group, position, DOMAIN, 0]
}

/// The generator's key for a seed.
pub(crate) fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// The uniform words of ids `4 · group … 4 · group + 3` at a position.
#[must_use]
pub fn words(seed: u64, position: u32, group: u32) -> [u32; 4] {
    philox(counter(position, group), key(seed))
}

/// The uniform word of one id at a position.
#[must_use]
pub fn word(seed: u64, position: u32, id: u32) -> u32 {
    words(seed, position, id / 4)[id as usize % 4]
}

/// The noise of a uniform word, in units of 2^-16: between −330,589 and 2,128,035.
#[must_use]
pub fn gumbel(word: u32) -> i32 {
    let upper = word >> 31 == 1;
    let rest = if upper { !word } else { word };
    let z = 2 * rest + 1;
    let e = (33 << Q) - log2(z);
    let x = if upper {
        e - (log2_ratio(z) >> (30 - Q)) as i32
    } else {
        ((Q << Q) as i32) - log2(e as u32)
    };
    rshift_round(x.into(), Q - 16) as i32
}

/// A bound that costs little: a word's noise is below the number of its leading ones plus 1.
///
/// With `j ≥ 1` leading ones `log2 z` is at least `32 − j`, and what else is taken from 33 is above
/// 0.52. Without any, `u` is below 1/2 and the noise about 0 at most.
#[must_use]
#[inline]
pub fn at_most(word: u32) -> i32 {
    ((word.leading_ones() + 1) << 16) as i32
}

/// `log2 z` of `z ≥ 1` with 25 fractional bits.
fn log2(z: u32) -> i32 {
    let whole = z.ilog2();
    let f = (z << (31 - whole)) << 1;
    let a = LOG2.iter().rev().skip(1).fold(LOG2[7], |a, c| c - mulhi(a, f));
    ((whole << Q) + (mulhi(a, f) >> (30 - Q))) as i32
}

/// `log2(−log2(1 − y) / y)` in Q30, `y = z · 2^-33`: from 0.53 to 1 as `y` goes from 0 to 1/2.
fn log2_ratio(z: u32) -> u32 {
    let mut a = 8_142_805 - mulhi(4_586_931, z);
    a = 12_797_524 - mulhi(a, z);
    a = 3_345_539 + mulhi(a, z);
    a = 25_626_233 + mulhi(a, z);
    a = 80_489_556 + mulhi(a, z);
    a = 387_280_277 + mulhi(a, z);
    567_758_488 + mulhi(a, z)
}
