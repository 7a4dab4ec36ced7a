//! The vector instructions that the kernels are written in, once for every instruction set.
//!
//! A [`Simd`] is a token: whoever has one knows that the machine has its instructions, so its
//! methods are safe. A [`Kernel`] is compiled once for each, and [`Isa::run`] enters the right one.
//! What the compiler vectorizes by itself needs nothing of the trait; the dot products of 16-bit
//! pairs and the widening products do.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use bytemuck::{Pod, Zeroable};

/// 64 bytes on a boundary of 64: sixteen lanes of 32 bits, little-endian, or pairs of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [i32; 16]);

impl Line {
    pub(super) const ZERO: Self = Self([0; 16]);
}

/// Sixteen lanes. Methods are inlined into kernels; nothing else calls them.
pub(super) trait Simd: Copy + Send + Sync {
    /// Sixteen lanes of 32 bits, or of pairs of 16 bits.
    type V: Copy;
    /// The lanes of a `V` in the order in which `W` holds them: even ones, then odd ones.
    type H: Copy;
    /// Sixteen lanes of 64 bits: of the even lanes of a `V`, then of the odd ones.
    type W: Copy;

    /// Whether the registers hold two `V` for each of eight rows of activations; else one for each
    /// of four.
    const LARGE: bool;

    /// Asks for as many lines, `ahead` lines further on, to be brought into the cache, to be read
    /// once. They may lie outside of any memory.
    fn prefetch(self, lines: &[Line], ahead: usize) {
        let _ = (lines, ahead);
    }

    fn load(self, line: &Line) -> Self::V;
    fn store(self, v: Self::V, line: &mut Line);
    fn splat(self, x: i32) -> Self::V;

    /// `acc + w_lo · x_lo + w_hi · x_hi` in each lane, modulo 2^32.
    fn dot(self, acc: Self::V, w: Self::V, x: Self::V) -> Self::V;

    /// Sixteen `f16` in units of 2^-24, one for each lane. They are below 128 in magnitude, as the
    /// importer has seen to; of others the bits are any.
    fn scales(self, bits: &[u16; 16]) -> Self::V;

    /// The four nibbles of each 16-bit half, lowest first.
    fn nibbles(self, v: Self::V) -> [Self::V; 4];

    /// The two bytes of each 16-bit half with their signs, lower first.
    fn bytes(self, v: Self::V) -> [Self::V; 2];

    fn halves(self, v: Self::V) -> Self::H;

    /// `halves(splat(x))`.
    fn splat_halves(self, x: i32) -> Self::H;

    fn wide_zero(self) -> Self::W;

    /// `acc + a · b`, modulo 2^64.
    fn mul_add(self, acc: Self::W, a: Self::H, b: Self::H) -> Self::W;

    fn wide_store(self, w: Self::W, out: &mut [i64; 16]);
}

/// Code that is compiled for every instruction set. `run` must be `#[inline(always)]`, with
/// everything that it calls.
pub(super) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set that this machine has.
#[derive(Clone, Copy, Debug)]
pub struct Isa(Token);

#[derive(Clone, Copy, Debug)]
enum Token {
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
    Portable(portable::Portable),
}

impl Isa {
    /// Those of this machine, the fastest first; the last is always the portable one.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let tokens = [
            #[cfg(target_arch = "x86_64")]
            avx512::Avx512::detect().map(Token::Avx512),
            #[cfg(target_arch = "x86_64")]
            avx2::Avx2::detect().map(Token::Avx2),
            #[cfg(target_arch = "aarch64")]
            neon::Neon::detect().map(Token::Neon),
            Some(Token::Portable(portable::Portable)),
        ];
        tokens.into_iter().flatten().map(Self).collect()
    }

    /// The fastest.
    #[must_use]
    pub fn best() -> Self {
        Self::all()[0]
    }

    /// `avx512`, `avx2`, `neon` or `portable`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Token::Neon(_) => "neon",
            Token::Portable(_) => "portable",
        }
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(simd) => simd.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(simd) => simd.run(kernel),
            #[cfg(target_arch = "aarch64")]
            Token::Neon(simd) => simd.run(kernel),
            Token::Portable(simd) => kernel.run(simd),
        }
    }
}
