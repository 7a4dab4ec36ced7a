//! Plain Rust: what every machine has, and the meaning of [`Simd`]'s methods.

use super::{Line, Simd};

#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

/// All lanes. Not a closure that the compiler might leave where it can't be vectorized.
macro_rules! lanes {
    ($i:ident => $value:expr) => {{
        let mut lanes = [0; 16];
        let mut $i = 0;
        while $i < 16 {
            lanes[$i] = $value;
            $i += 1;
        }
        lanes
    }};
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
    fn dot(self, acc: [i32; 16], w: [i32; 16], x: [i32; 16]) -> [i32; 16] {
        lanes!(i => {
            let low = i32::from(w[i] as i16).wrapping_mul(i32::from(x[i] as i16));
            let high = (w[i] >> 16).wrapping_mul(x[i] >> 16);
            acc[i].wrapping_add(low.wrapping_add(high))
        })
    }

    #[inline(always)]
    fn scales(self, bits: &[u16; 16]) -> [i32; 16] {
        lanes!(i => {
            let bits = u32::from(bits[i]);
            let exponent = bits >> 10 & 31;
            let normal = u32::from(exponent != 0);
            let magnitude = (bits & 1023 | normal << 10).wrapping_shl(exponent - normal);
            let sign = (bits >> 15).wrapping_neg();
            (magnitude ^ sign).wrapping_sub(sign) as i32
        })
    }

    #[inline(always)]
    fn nibbles(self, v: [i32; 16]) -> [[i32; 16]; 4] {
        [
            lanes!(i => v[i] & 0x000f_000f),
            lanes!(i => v[i] >> 4 & 0x000f_000f),
            lanes!(i => v[i] >> 8 & 0x000f_000f),
            lanes!(i => v[i] >> 12 & 0x000f_000f),
        ]
    }

    #[inline(always)]
    fn bytes(self, v: [i32; 16]) -> [[i32; 16]; 2] {
        [
            lanes!(i => {
                let (low, high) = (v[i] as i8, (v[i] >> 16) as i8);
                i32::from(low) & 0xffff | i32::from(high) << 16
            }),
            lanes!(i => {
                let (low, high) = ((v[i] >> 8) as i8, (v[i] >> 24) as i8);
                i32::from(low) & 0xffff | i32::from(high) << 16
            }),
        ]
    }

    #[inline(always)]
    fn halves(self, v: [i32; 16]) -> [i32; 16] {
        lanes!(i => v[i % 8 * 2 + i / 8])
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
    fn mul_add(self, acc: [i64; 16], a: [i32; 16], b: [i32; 16]) -> [i64; 16] {
        lanes!(i => acc[i].wrapping_add(i64::from(a[i]).wrapping_mul(i64::from(b[i]))))
    }

    #[inline(always)]
    fn wide_store(self, w: [i64; 16], out: &mut [i64; 16]) {
        *out = w;
    }
}
