//! AVX2: a [`Line`] is two registers.
#![expect(unsafe_code, reason = "vector instructions")]

use super::{Kernel, Line, Simd};
use core::arch::x86_64::*;

/// Proof that the machine has AVX2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2")]
        fn enter<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: `self` exists only if `detect` found the feature.
        unsafe { enter(self, kernel) }
    }
}

/// Both registers. Not a closure: what is in one is compiled without the instructions.
macro_rules! both {
    ($i:ident => $value:expr) => {{
        let both: [_; 2] = [
            {
                let $i = 0;
                $value
            },
            {
                let $i = 1;
                $value
            },
        ];
        both
    }};
}

// SAFETY of every block below: `self` exists only if `detect` found the feature, and a reference to
// a `Line` or to sixteen `i64` is valid for as many bytes as are read or written.
impl Simd for Avx2 {
    type V = [__m256i; 2];
    type H = [__m256i; 4];
    type W = [__m256i; 4];

    const LARGE: bool = false;

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
    fn load(self, line: &Line) -> [__m256i; 2] {
        let line = core::ptr::from_ref(line).cast::<__m256i>();
        // SAFETY: see above; a line is aligned.
        unsafe { [_mm256_load_si256(line), _mm256_load_si256(line.add(1))] }
    }

    #[inline(always)]
    fn store(self, v: [__m256i; 2], line: &mut Line) {
        let line = core::ptr::from_mut(line).cast::<__m256i>();
        // SAFETY: see above; a line is aligned.
        unsafe {
            _mm256_store_si256(line, v[0]);
            _mm256_store_si256(line.add(1), v[1]);
        }
    }

    #[inline(always)]
    fn splat(self, x: i32) -> [__m256i; 2] {
        // SAFETY: see above.
        [unsafe { _mm256_set1_epi32(x) }; 2]
    }

    #[inline(always)]
    fn dot(self, acc: [__m256i; 2], w: [__m256i; 2], x: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: see above.
        unsafe { both!(i => _mm256_add_epi32(acc[i], _mm256_madd_epi16(w[i], x[i]))) }
    }

    #[inline(always)]
    fn scales(self, bits: &[u16; 16]) -> [__m256i; 2] {
        let halves = bits.as_chunks::<8>().0;
        // SAFETY: see above; eight `u16` are 16 bytes.
        unsafe {
            both!(i => {
                let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(halves[i].as_ptr().cast()));
                let mask = _mm256_set1_epi32(31);
                let exponent = _mm256_and_si256(_mm256_srli_epi32::<10>(bits), mask);
                // All ones, or zero.
                let normal = _mm256_cmpgt_epi32(exponent, _mm256_setzero_si256());
                let fraction = _mm256_and_si256(bits, _mm256_set1_epi32(1023));
                let hidden = _mm256_and_si256(normal, _mm256_set1_epi32(1024));
                let shift = _mm256_add_epi32(exponent, normal);
                let magnitude = _mm256_sllv_epi32(_mm256_or_si256(fraction, hidden), shift);
                let sign = _mm256_srai_epi32::<31>(_mm256_slli_epi32::<16>(bits));
                _mm256_sub_epi32(_mm256_xor_si256(magnitude, sign), sign)
            })
        }
    }

    #[inline(always)]
    fn nibbles(self, v: [__m256i; 2]) -> [[__m256i; 2]; 4] {
        // SAFETY: see above.
        unsafe {
            let mask = _mm256_set1_epi16(15);
            [
                both!(i => _mm256_and_si256(v[i], mask)),
                both!(i => _mm256_and_si256(_mm256_srli_epi16::<4>(v[i]), mask)),
                both!(i => _mm256_and_si256(_mm256_srli_epi16::<8>(v[i]), mask)),
                both!(i => _mm256_srli_epi16::<12>(v[i])),
            ]
        }
    }

    #[inline(always)]
    fn bytes(self, v: [__m256i; 2]) -> [[__m256i; 2]; 2] {
        // SAFETY: see above.
        unsafe {
            [
                both!(i => _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(v[i]))),
                both!(i => _mm256_srai_epi16::<8>(v[i])),
            ]
        }
    }

    #[inline(always)]
    fn halves(self, v: [__m256i; 2]) -> [__m256i; 4] {
        // SAFETY: see above.
        unsafe { [v[0], v[1], _mm256_srli_epi64::<32>(v[0]), _mm256_srli_epi64::<32>(v[1])] }
    }

    #[inline(always)]
    fn splat_halves(self, x: i32) -> [__m256i; 4] {
        [self.splat(x)[0]; 4]
    }

    #[inline(always)]
    fn wide_zero(self) -> [__m256i; 4] {
        self.splat_halves(0)
    }

    #[inline(always)]
    fn mul_add(self, acc: [__m256i; 4], a: [__m256i; 4], b: [__m256i; 4]) -> [__m256i; 4] {
        // SAFETY: see above. The product reads the even lanes.
        unsafe {
            let even = both!(i => _mm256_add_epi64(acc[i], _mm256_mul_epi32(a[i], b[i])));
            let odd = both!(i => {
                _mm256_add_epi64(acc[i + 2], _mm256_mul_epi32(a[i + 2], b[i + 2]))
            });
            [even[0], even[1], odd[0], odd[1]]
        }
    }

    #[inline(always)]
    fn wide_store(self, w: [__m256i; 4], out: &mut [i64; 16]) {
        for (w, out) in w.into_iter().zip(out.as_chunks_mut::<4>().0) {
            // SAFETY: see above.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), w) }
        }
    }
}
