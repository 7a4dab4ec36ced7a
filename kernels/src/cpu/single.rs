//! Scores, Probs and Mix of one position as tensors, from K and V rows as a run keeps them.
//!
//! Where a block's tensors are all wanted, attention can't fuse its steps, and the sequence's cache
//! isn't there. These are loops that the compiler turns into vector code.

use super::attention::{finish_score, probability};
use super::simd::{Kernel, Simd};
use crate::Heads;
use crate::backend::Quantized;
use crate::reference::mix;
use std::ops::Range;

/// Scores of some positions, of the query heads that share KV head `g`.
pub(super) struct Scores<'a> {
    pub(super) shape: Heads,
    /// Below 2^31.
    pub(super) scale: u32,
    pub(super) g: usize,
    /// `[head][element]`, of all heads.
    pub(super) q: Quantized<'a>,
    /// `[position][KV head][element]`, of all positions.
    pub(super) k: Quantized<'a>,
    pub(super) positions: Range<usize>,
    /// One part of `positions` for each head.
    pub(super) out: &'a mut [&'a mut [i32]],
}

impl Kernel for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Heads { heads, kv, len } = self.shape;
        let (k, k_shifts) = self.k;
        let first = self.g * (heads / kv);
        for (h, out) in (first..).zip(self.out) {
            let q = &self.q.0[h * len..][..len];
            let q_shift = i32::from(self.q.1[h].min(20));
            let rows = self.positions.clone().map(|s| s * kv + self.g);
            for (y, row) in out.iter_mut().zip(rows.clone()) {
                *y = dot(q, &k[row * len..][..len]);
            }
            for (y, row) in out.iter_mut().zip(rows) {
                let p = i64::from(*y) * i64::from(self.scale);
                *y = finish_score(p, 38 - q_shift - i32::from(k_shifts[row].min(20)));
            }
        }
    }
}

/// Exact: a head has at most 256 elements, and 256 · 4095 · 2047 < 2^31.
#[inline(always)]
fn dot(q: &[i16], k: &[i16]) -> i32 {
    let product = |(&q, &k): (&i16, &i16)| i32::from(q).wrapping_mul(i32::from(k));
    q.iter().zip(k).map(product).fold(0, i32::wrapping_add)
}

/// Probs of one query head.
pub(super) struct Probs<'a> {
    pub(super) scores: &'a [i32],
    pub(super) max: i32,
    pub(super) out: &'a mut [u16],
}

impl Kernel for Probs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (p, &score) in self.out.iter_mut().zip(self.scores) {
            // Far below the maximum nothing is left, so the difference may stop at −2^31.
            *p = probability(score.min(self.max).saturating_sub(self.max), 0);
        }
    }
}

/// Mix of one query head.
pub(super) struct Mix<'a> {
    pub(super) shape: Heads,
    /// KV head.
    pub(super) g: usize,
    /// By position.
    pub(super) probs: &'a [u16],
    pub(super) sum: u32,
    /// `[position][KV head][element]`.
    pub(super) v: Quantized<'a>,
    pub(super) out: &'a mut [i32],
}

impl Kernel for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Heads { kv, len, .. } = self.shape;
        let (v, shifts) = self.v;
        // A term is below 2^46, and there are at most 2^16 positions.
        let mut sums = vec![0i64; len];
        for (s, &p) in self.probs.iter().enumerate().filter(|(_, p)| **p > 0) {
            let row = s * kv + self.g;
            let shift = shifts[row].min(20);
            for (sum, &v) in sums.iter_mut().zip(&v[row * len..][..len]) {
                let product = i32::from(p).wrapping_mul(i32::from(v));
                *sum = sum.wrapping_add(i64::from(product) << shift);
            }
        }
        for (y, &sum) in self.out.iter_mut().zip(&sums) {
            *y = mix::finalize(i128::from(sum), self.sum);
        }
    }
}
