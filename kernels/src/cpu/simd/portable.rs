//! Plain Rust: what every machine has, and the meaning of [`Simd`]'s methods.

use super::{Line, Simd};

#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

fn low(x: i32) -> i32 {
    i32::from(x as i16)
}

fn map(v: [i32; 16], f: impl Fn(i32) -> i32) -> [i32; 16] {
    v.map(f)
}

impl Simd for Portable {
    type V = [i32; 16];
    type H = [i32; 16];
    type W = [i64; 16];

    const LARGE: bool = false;

    #[inline(always)]
    fn load(self, line: &Line) -> [i32; 16] {
        line.0
    }

    #[inline(always)]
    fn store(self, v: [i32; 16], line: &mut Line) {
        line.0 = v;
    }

    #[inline(always)]
    fn splat(self, x: i32) -> [i32; 16] {
        [x; 16]
    }

    #[inline(always)]
    fn dot(self, mut acc: [i32; 16], w: [i32; 16], x: [i32; 16]) -> [i32; 16] {
        for ((acc, w), x) in acc.iter_mut().zip(w).zip(x) {
            let pair = low(w).wrapping_mul(low(x)).wrapping_add((w >> 16).wrapping_mul(x >> 16));
            *acc = acc.wrapping_add(pair);
        }
        acc
    }

    #[inline(always)]
    fn scales(self, bits: &[u16; 16]) -> [i32; 16] {
        bits.map(|bits| {
            let bits = u32::from(bits);
            let exponent = bits >> 10 & 31;
            let normal = u32::from(exponent != 0);
            let magnitude = (bits & 1023 | normal << 10).wrapping_shl(exponent - normal);
            let sign = (bits >> 15).wrapping_neg();
            (magnitude ^ sign).wrapping_sub(sign) as i32
        })
    }

    #[inline(always)]
    fn nibbles(self, v: [i32; 16]) -> [[i32; 16]; 4] {
        [0, 4, 8, 12].map(|s| map(v, |x| x >> s & 0x000f_000f))
    }

    #[inline(always)]
    fn bytes(self, v: [i32; 16]) -> [[i32; 16]; 2] {
        let pair = |lo: i32, hi: i32| lo & 0xffff | hi << 16;
        let byte = |x: i32, at: u32| i32::from((x >> at) as i8);
        [0, 8].map(|at| map(v, |x| pair(byte(x, at), byte(x, at + 16))))
    }

    #[inline(always)]
    fn halves(self, v: [i32; 16]) -> [i32; 16] {
        core::array::from_fn(|i| v[i % 8 * 2 + i / 8])
    }

    #[inline(always)]
    fn splat_halves(self, x: i32) -> [i32; 16] {
        [x; 16]
    }

    #[inline(always)]
    fn wide_zero(self) -> [i64; 16] {
        [0; 16]
    }

    #[inline(always)]
    fn mul_add(self, mut acc: [i64; 16], a: [i32; 16], b: [i32; 16]) -> [i64; 16] {
        for ((acc, a), b) in acc.iter_mut().zip(a).zip(b) {
            *acc = acc.wrapping_add(i64::from(a) * i64::from(b));
        }
        acc
    }

    #[inline(always)]
    fn wide_store(self, w: [i64; 16], out: &mut [i64; 16]) {
        *out = w;
    }
}
