//! Inputs that are worth testing: a small generator, extremes, and lengths around every boundary.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod decoder;

use refute_kernels::Format;

/// Lengths around a block of 32, a unit of 256 or 512, and a leaf of 1024.
pub(crate) const LENGTHS: [usize; 15] =
    [1, 2, 31, 32, 33, 64, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025];

/// Bit patterns at which something changes.
pub(crate) const EXTREMES: [i32; 12] = [
    i32::MIN,
    i32::MIN + 1,
    i32::MAX,
    i32::MAX - 1,
    1 << 30,
    -(1 << 30),
    0x7fff,
    -0x8000,
    0,
    1,
    -1,
    2048,
];

/// SplitMix64: the same numbers on every machine.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Every magnitude is as likely as every other, and extremes are common.
    pub(crate) fn i32(&mut self) -> i32 {
        match self.below(8) {
            0 => EXTREMES[self.below(EXTREMES.len() as u64) as usize],
            _ => (self.next() as i32) >> self.below(32),
        }
    }

    pub(crate) fn i16(&mut self) -> i16 {
        match self.below(16) {
            0 => i16::MIN,
            1 => i16::MAX,
            _ => (self.next() as i16) >> self.below(16),
        }
    }

    pub(crate) fn fx(&mut self, n: usize) -> Vec<i32> {
        (0..n).map(|_| self.i32()).collect()
    }

    pub(crate) fn i16s(&mut self, n: usize) -> Vec<i16> {
        (0..n).map(|_| self.i16()).collect()
    }

    /// Values within ±(2^bits − 1), as `Quantize` makes them.
    pub(crate) fn quantized(&mut self, n: usize, bits: u32) -> Vec<i16> {
        let limit = (1i64 << bits) - 1;
        (0..n).map(|_| i64::from(self.i16()).clamp(-limit, limit) as i16).collect()
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    /// Rows of weights. `wild` scales are any bit pattern, others are finite and below 128.
    pub(crate) fn weights(
        &mut self,
        format: Format,
        rows: usize,
        cols: usize,
        wild: bool,
    ) -> Vec<u8> {
        let mut bytes = self.bytes(rows * format.row_bytes(cols));
        let scales = match format {
            Format::I32 => 0,
            Format::Q8_0 | Format::Q4_0 => 1,
            Format::Q4_1 => 2,
        };
        for block in bytes.chunks_mut(format.block_bytes()) {
            for scale in block.as_chunks_mut::<2>().0.iter_mut().take(scales) {
                *scale = self.scale(wild).to_le_bytes();
            }
        }
        bytes
    }

    fn scale(&mut self, wild: bool) -> u16 {
        let bits = self.next() as u16;
        match self.below(8) {
            0 => bits & 0x83ff,          // Subnormal or zero.
            1 => bits & 0x8000 | 0x57ff, // The largest in range.
            _ if wild => bits,
            _ => bits & 0x83ff | (self.below(22) as u16) << 10,
        }
    }
}
