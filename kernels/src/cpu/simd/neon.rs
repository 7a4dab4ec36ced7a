//! NEON: a [`Line`] is four registers.
#![expect(unsafe_code, reason = "vector instructions")]

use super::{Kernel, Line, Simd};
use core::arch::aarch64::*;

/// Proof that the machine has NEON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neon(());

impl Neon {
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "neon")]
        fn enter<K: Kernel>(simd: Neon, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` exists only if `detect` found the feature.
        unsafe { enter(self, kernel) }
    }
}

/// All four registers. Not a closure: what is in one is compiled without the instructions.
macro_rules! all {
    ($i:ident => $value:expr) => {{
        let all: [_; 4] = [
            {
                let $i = 0;
                $value
            },
            {
                let $i = 1;
                $value
            },
            {
                let $i = 2;
                $value
            },
            {
                let $i = 3;
                $value
            },
        ];
        all
    }};
}

// SAFETY of every block below: `self` exists only if `detect` found the feature, and a reference to
// a `Line` or to sixteen `i64` is valid for as many bytes as are read or written.
impl Simd for Neon {
    type V = [int32x4_t; 4];
    /// Two registers of even lanes, two of odd ones.
    type H = [int32x4_t; 4];
    type W = [int64x2_t; 8];

    const LARGE: bool = false;

    #[inline(always)]
    fn load(self, line: &Line) -> [int32x4_t; 4] {
        let line = line.0.as_ptr();
        // SAFETY: see above.
        unsafe { all!(i => vld1q_s32(line.add(4 * i))) }
    }

    #[inline(always)]
    fn store(self, v: [int32x4_t; 4], line: &mut Line) {
        for (v, out) in v.into_iter().zip(line.0.as_chunks_mut::<4>().0) {
            // SAFETY: see above.
            unsafe { vst1q_s32(out.as_mut_ptr(), v) }
        }
    }

    #[inline(always)]
    fn splat(self, x: i32) -> [int32x4_t; 4] {
        // SAFETY: see above.
        [unsafe { vdupq_n_s32(x) }; 4]
    }

    #[inline(always)]
    fn dot(self, acc: [int32x4_t; 4], w: [int32x4_t; 4], x: [int32x4_t; 4]) -> [int32x4_t; 4] {
        // SAFETY: see above.
        unsafe {
            all!(i => {
                let (w, x) = (vreinterpretq_s16_s32(w[i]), vreinterpretq_s16_s32(x[i]));
                let low = vmull_s16(vget_low_s16(w), vget_low_s16(x));
                let high = vmull_high_s16(w, x);
                vaddq_s32(acc[i], vpaddq_s32(low, high))
            })
        }
    }

    #[inline(always)]
    fn scales(self, bits: &[u16; 16]) -> [int32x4_t; 4] {
        let bits = bits.as_ptr();
        // SAFETY: see above.
        unsafe {
            all!(i => {
                let bits = vreinterpretq_s32_u32(vmovl_u16(vld1_u16(bits.add(4 * i))));
                let exponent = vandq_s32(vshrq_n_s32::<10>(bits), vdupq_n_s32(31));
                // All ones, or zero.
                let normal = vreinterpretq_s32_u32(vcgtzq_s32(exponent));
                let fraction = vandq_s32(bits, vdupq_n_s32(1023));
                let hidden = vandq_s32(normal, vdupq_n_s32(1024));
                let shift = vaddq_s32(exponent, normal);
                let magnitude = vshlq_s32(vorrq_s32(fraction, hidden), shift);
                let sign = vshrq_n_s32::<31>(vshlq_n_s32::<16>(bits));
                vsubq_s32(veorq_s32(magnitude, sign), sign)
            })
        }
    }

    #[inline(always)]
    fn nibbles(self, v: [int32x4_t; 4]) -> [[int32x4_t; 4]; 4] {
        // SAFETY: see above.
        unsafe {
            let mask = vdupq_n_u32(0x000f_000f);
            let v = all!(i => vreinterpretq_u32_s32(v[i]));
            [
                all!(i => vreinterpretq_s32_u32(vandq_u32(v[i], mask))),
                all!(i => vreinterpretq_s32_u32(vandq_u32(vshrq_n_u32::<4>(v[i]), mask))),
                all!(i => vreinterpretq_s32_u32(vandq_u32(vshrq_n_u32::<8>(v[i]), mask))),
                all!(i => vreinterpretq_s32_u32(vandq_u32(vshrq_n_u32::<12>(v[i]), mask))),
            ]
        }
    }

    #[inline(always)]
    fn bytes(self, v: [int32x4_t; 4]) -> [[int32x4_t; 4]; 2] {
        // SAFETY: see above.
        unsafe {
            let v = all!(i => vreinterpretq_s16_s32(v[i]));
            [
                all!(i => vreinterpretq_s32_s16(vshrq_n_s16::<8>(vshlq_n_s16::<8>(v[i])))),
                all!(i => vreinterpretq_s32_s16(vshrq_n_s16::<8>(v[i]))),
            ]
        }
    }

    #[inline(always)]
    fn halves(self, v: [int32x4_t; 4]) -> [int32x4_t; 4] {
        // SAFETY: see above.
        unsafe {
            [
                vuzp1q_s32(v[0], v[1]),
                vuzp1q_s32(v[2], v[3]),
                vuzp2q_s32(v[0], v[1]),
                vuzp2q_s32(v[2], v[3]),
            ]
        }
    }

    #[inline(always)]
    fn splat_halves(self, x: i32) -> [int32x4_t; 4] {
        self.splat(x)
    }

    #[inline(always)]
    fn wide_zero(self) -> [int64x2_t; 8] {
        // SAFETY: see above.
        [unsafe { vdupq_n_s64(0) }; 8]
    }

    #[inline(always)]
    fn mul_add(self, acc: [int64x2_t; 8], a: [int32x4_t; 4], b: [int32x4_t; 4]) -> [int64x2_t; 8] {
        // SAFETY: see above.
        unsafe {
            let low = all!(i => vmlal_s32(acc[2 * i], vget_low_s32(a[i]), vget_low_s32(b[i])));
            let high = all!(i => vmlal_high_s32(acc[2 * i + 1], a[i], b[i]));
            [low[0], high[0], low[1], high[1], low[2], high[2], low[3], high[3]]
        }
    }

    #[inline(always)]
    fn wide_store(self, w: [int64x2_t; 8], out: &mut [i64; 16]) {
        for (w, out) in w.into_iter().zip(out.as_chunks_mut::<2>().0) {
            // SAFETY: see above.
            unsafe { vst1q_s64(out.as_mut_ptr(), w) }
        }
    }
}
