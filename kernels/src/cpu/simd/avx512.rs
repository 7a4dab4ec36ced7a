//! AVX-512 with VNNI: a register is a whole [`Line`].
#![expect(unsafe_code, reason = "vector instructions")]

use super::{Kernel, Line, Simd};
use core::arch::asm;
use core::arch::x86_64::*;

/// Proof that the machine has AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni"))
        .then_some(Self(()))
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        fn enter<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` exists only if `detect` found these features.
        unsafe { enter(self, kernel) }
    }
}

/// The dot product as one instruction. Not the intrinsic, which the compiler takes apart again
/// where it thinks that a product and a sum are done sooner.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
fn dpwssd(mut acc: __m512i, w: __m512i, x: __m512i) -> __m512i {
    // SAFETY: only the registers change.
    unsafe {
        asm!(
            "vpdpwssd {acc}, {w}, {x}",
            acc = inout(zmm_reg) acc,
            w = in(zmm_reg) w,
            x = in(zmm_reg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

// SAFETY of every block below: `self` exists only if `detect` found the features, and a reference
// to a `Line` or to sixteen `i64` is valid for as many bytes as are read or written.
impl Simd for Avx512 {
    type V = __m512i;
    type H = [__m512i; 2];
    type W = [__m512i; 2];

    const LARGE: bool = true;

    #[inline(always)]
    fn prefetch(self, lines: &[Line], ahead: usize) {
        for line in lines {
            // SAFETY: a prefetch reads nothing, whatever the address.
            unsafe {
                _mm_prefetch::<_MM_HINT_NTA>(core::ptr::from_ref(line).wrapping_add(ahead).cast());
            }
        }
    }

    #[inline(always)]
    fn load(self, line: &Line) -> __m512i {
        // SAFETY: see above; a line is aligned.
        unsafe { _mm512_load_si512(core::ptr::from_ref(line).cast()) }
    }

    #[inline(always)]
    fn store(self, v: __m512i, line: &mut Line) {
        // SAFETY: see above; a line is aligned.
        unsafe { _mm512_store_si512(core::ptr::from_mut(line).cast(), v) }
    }

    #[inline(always)]
    fn splat(self, x: i32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi32(x) }
    }

    #[inline(always)]
    fn dot(self, acc: __m512i, w: __m512i, x: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { dpwssd(acc, w, x) }
    }

    #[inline(always)]
    fn scales(self, bits: &[u16; 16]) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(bits.as_ptr().cast()));
            let one = _mm512_set1_epi32(1);
            let exponent = _mm512_and_si512(_mm512_srli_epi32::<10>(bits), _mm512_set1_epi32(31));
            let normal = _mm512_test_epi32_mask(exponent, exponent);
            let fraction = _mm512_and_si512(bits, _mm512_set1_epi32(1023));
            let mantissa =
                _mm512_mask_or_epi32(fraction, normal, fraction, _mm512_set1_epi32(1024));
            let shift = _mm512_mask_sub_epi32(exponent, normal, exponent, one);
            let magnitude = _mm512_sllv_epi32(mantissa, shift);
            let negative = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x8000));
            let zero = _mm512_setzero_si512();
            _mm512_mask_sub_epi32(magnitude, negative, zero, magnitude)
        }
    }

    #[inline(always)]
    fn nibbles(self, v: __m512i) -> [__m512i; 4] {
        // SAFETY: see above.
        unsafe {
            let mask = _mm512_set1_epi16(15);
            [
                _mm512_and_si512(v, mask),
                _mm512_and_si512(_mm512_srli_epi16::<4>(v), mask),
                _mm512_and_si512(_mm512_srli_epi16::<8>(v), mask),
                _mm512_srli_epi16::<12>(v),
            ]
        }
    }

    #[inline(always)]
    fn bytes(self, v: __m512i) -> [__m512i; 2] {
        // SAFETY: see above.
        unsafe { [_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(v)), _mm512_srai_epi16::<8>(v)] }
    }

    #[inline(always)]
    fn halves(self, v: __m512i) -> [__m512i; 2] {
        // SAFETY: see above.
        unsafe { [v, _mm512_srli_epi64::<32>(v)] }
    }

    #[inline(always)]
    fn splat_halves(self, x: i32) -> [__m512i; 2] {
        [self.splat(x); 2]
    }

    #[inline(always)]
    fn wide_zero(self) -> [__m512i; 2] {
        [self.splat(0); 2]
    }

    #[inline(always)]
    fn mul_add(self, acc: [__m512i; 2], a: [__m512i; 2], b: [__m512i; 2]) -> [__m512i; 2] {
        // SAFETY: see above. The product reads the even lanes.
        unsafe {
            [
                _mm512_add_epi64(acc[0], _mm512_mul_epi32(a[0], b[0])),
                _mm512_add_epi64(acc[1], _mm512_mul_epi32(a[1], b[1])),
            ]
        }
    }

    #[inline(always)]
    fn wide_store(self, w: [__m512i; 2], out: &mut [i64; 16]) {
        let out = out.as_mut_ptr();
        // SAFETY: see above.
        unsafe {
            _mm512_storeu_si512(out.cast(), w[0]);
            _mm512_storeu_si512(out.add(8).cast(), w[1]);
        }
    }
}
