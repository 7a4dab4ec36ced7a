//! Inputs that are worth testing, drawn from a seed: the same on every machine.

use crate::Format;
use crate::format;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

/// How the values of a row are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draw {
    /// Every magnitude is as likely as every other, and extremes are common.
    Any,
    /// All zero.
    Zero,
    /// The limit with either sign.
    Limits,
    /// The limit itself: what is summed grows as far as it can.
    Highest,
    /// Its negative.
    Lowest,
}

impl Draw {
    /// All but [`Self::Any`].
    pub(super) const SPECIAL: [Self; 4] = [Self::Zero, Self::Limits, Self::Highest, Self::Lowest];
}

/// Scales of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scales {
    /// Any that the importer accepts.
    Any,
    /// Subnormal, zero or negative.
    Small,
    /// As large as the importer accepts.
    Largest,
}

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which isn't 0.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        (self.next() % u64::from(n)) as u32
    }

    /// Between 1 and `n`.
    pub(super) fn up_to(&mut self, n: u32) -> u32 {
        1 + self.below(n)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    /// Mostly [`Draw::Any`].
    pub(super) fn draw(&mut self) -> Draw {
        if self.below(8) == 0 { self.pick(&Draw::SPECIAL) } else { Draw::Any }
    }

    /// One value within ±`limit`.
    fn value(&mut self, draw: Draw, limit: i32) -> i32 {
        match draw {
            Draw::Zero => 0,
            Draw::Highest => limit,
            Draw::Lowest => -limit,
            Draw::Limits => self.pick(&[limit, -limit]),
            Draw::Any => match self.below(8) {
                0 => self.pick(&[limit, -limit, limit - 1, 1 - limit, 0, 1, -1, limit / 2]),
                _ => ((self.next() as i32) >> self.below(32)).clamp(-limit, limit),
            },
        }
    }

    /// Values within ±`limit`.
    pub(super) fn values(&mut self, n: usize, draw: Draw, limit: i32) -> Vec<i32> {
        (0..n).map(|_| self.value(draw, limit)).collect()
    }

    /// A row of Fx. Its largest magnitude is as likely to have 1 bit as 31.
    pub(super) fn fx(&mut self, n: usize, draw: Draw) -> Vec<i32> {
        let bits = if draw == Draw::Any { self.up_to(31) } else { 31 };
        self.values(n, draw, i32::MAX >> (31 - bits))
    }

    /// A row as `Quantize` with `bits` makes it.
    pub(super) fn quantized(&mut self, n: usize, draw: Draw, bits: u32) -> Vec<i16> {
        let limit = (1 << bits) - 1;
        self.values(n, draw, limit).into_iter().map(|v| v as i16).collect()
    }

    /// Rows of weights that the importer accepts.
    pub(super) fn weights(
        &mut self,
        format: Format,
        (rows, cols): (usize, usize),
        (draw, scales): (Draw, Scales),
    ) -> Vec<u8> {
        (0..rows).flat_map(|_| self.weight_row(format, cols, draw, scales)).collect()
    }

    fn weight_row(&mut self, format: Format, cols: usize, draw: Draw, scales: Scales) -> Vec<u8> {
        let mut row: Vec<u8> = (0..format.row_bytes(cols)).map(|_| self.next() as u8).collect();
        let header = if format == Format::Q4_1 { 4 } else { 2 };
        for block in row.chunks_mut(format.block_bytes()) {
            let (head, weights) = block.split_at_mut(header);
            for scale in head.as_chunks_mut::<2>().0 {
                *scale = self.scale(scales).to_le_bytes();
            }
            for byte in weights {
                *byte = match (draw, format) {
                    (Draw::Any, _) => *byte,
                    (Draw::Zero, Format::Q8_0) => 0,
                    (Draw::Zero, _) => 0x88,
                    (Draw::Limits, Format::Q8_0) => self.pick(&[0x7f, 0x80, 0x81]),
                    (Draw::Limits, _) => self.pick(&[0x00, 0x0f, 0xf0, 0xff]),
                    (Draw::Highest, Format::Q8_0) => 0x7f,
                    (Draw::Highest, _) => 0xff,
                    (Draw::Lowest, Format::Q8_0) => 0x80,
                    (Draw::Lowest, _) => 0x00,
                };
            }
        }
        // What the importer refuses is made smaller until it doesn't.
        while format::row_bound(format, &row).is_none_or(|bound| bound >= 1 << 63) {
            for block in row.chunks_mut(format.block_bytes()) {
                for high in block[..header].as_chunks_mut::<2>().0.iter_mut().map(|s| &mut s[1]) {
                    *high = if *high & 0x7c > 0 { *high - 4 } else { *high };
                }
            }
        }
        row
    }

    fn scale(&mut self, scales: Scales) -> u16 {
        let bits = self.next() as u16;
        match (scales, self.below(8)) {
            (Scales::Small, 0) => bits & 0x8000,
            (Scales::Small, _) | (Scales::Any, 0) => bits & 0x83ff,
            (Scales::Largest, _) => bits & 0x8000 | 0x57ff,
            (Scales::Any, 1) => self.pick(&[0x57ff, 0xd7ff]),
            (Scales::Any, _) => bits & 0x83ff | (self.below(22) as u16) << 10,
        }
    }
}
