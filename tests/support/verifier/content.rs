//! Tensors and weights of any size as functions of a seed and an index, so that nothing has to be held: the elements that
//! a step reads come into being when they are read.

use crate::tiny::Random;
use refute_kernels::Format;
use std::ops::Range;
use std::sync::Arc;

/// Bytes under one leaf of a tensor.
pub const LEAF_BYTES: u64 = 1024;

/// 32-bit patterns where arithmetic turns.
const EXTREMES_32: [u32; 20] = [
    0,
    1,
    2,
    u32::MAX,
    u32::MAX - 1,
    0x7fff_ffff,
    0x7fff_fffe,
    0x8000_0000,
    0x8000_0001,
    1 << 30,
    (1 << 30) - 1,
    (1 << 30) + 1,
    (1u32 << 30).wrapping_neg(),
    0xffff,
    0x1_0000,
    0x7fff,
    0xffff_8000,
    0xffff_8001,
    0x4000,
    0x0fff_f800,
];

/// 16-bit patterns where arithmetic turns.
const EXTREMES_16: [u32; 15] = [
    0, 1, 2, 0xffff, 0xfffe, 0x7fff, 0x7ffe, 0x8000, 0x8001, 2047, 4095, 0xf801, 0xf001, 0x4000,
    0x3fff,
];

/// Shifts where arithmetic turns.
const EXTREMES_8: [u32; 14] = [0, 1, 15, 16, 17, 18, 19, 20, 21, 24, 25, 31, 128, 255];

/// How the elements of a tensor are drawn.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// All the same.
    Constant(u32),
    /// One of two.
    Pair(u32, u32),
    /// Any bits.
    Any,
    /// Patterns where arithmetic turns.
    Extreme,
    /// Signed numbers of at most so many bits of magnitude.
    Bits(u32),
    /// As `Bits`, a turn of arithmetic here and there.
    Spiky(u32),
    /// A signed number of so many bits away from this one.
    Near(u32, u32),
    /// Below a bound.
    Below(u32),
}

impl Style {
    /// Any style for an element of `width` bytes.
    pub fn draw(random: &mut Random, width: u32) -> Self {
        let bits = 1 + random.below(8 * width - 1);
        match random.below(9) {
            0 => Self::Constant(0),
            1 => Self::Constant(Self::Extreme.pattern(random, width)),
            2 => Self::Pair(Self::Any.pattern(random, width), Self::Extreme.pattern(random, width)),
            3 => Self::Any,
            4 => Self::Extreme,
            5 => Self::Spiky(bits),
            _ => Self::Bits(bits),
        }
    }

    /// One element, in the low bytes.
    pub fn pattern(self, random: &mut Random, width: u32) -> u32 {
        let raw = random.bits();
        let (low, high) = (raw as u32, (raw >> 32) as u32);
        let signed = |bits: u32| {
            let magnitude = low & ((1u64 << bits) - 1) as u32;
            if high & 1 == 0 { magnitude } else { magnitude.wrapping_neg() }
        };
        let extreme = || {
            let table: &[u32] = match width {
                1 => &EXTREMES_8,
                2 => &EXTREMES_16,
                _ => &EXTREMES_32,
            };
            table[low as usize % table.len()]
        };
        match self {
            Self::Constant(x) => x,
            Self::Pair(x, y) => [x, y][(high & 1) as usize],
            Self::Any => low,
            Self::Extreme => extreme(),
            Self::Bits(bits) => signed(bits),
            Self::Spiky(_) if high >> 1 & 31 == 0 => extreme(),
            Self::Spiky(bits) => signed(bits),
            Self::Near(center, bits) => center.wrapping_add(signed(bits)),
            Self::Below(bound) => low % bound,
        }
    }
}

fn at(seed: u64, index: u64) -> Random {
    Random::new(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95))
}

/// A tensor: values of 2 or 4 bytes, then shifts of one byte each.
#[derive(Clone, Debug)]
pub struct Tensor {
    values: u64,
    width: u32,
    shifts: u32,
    source: Source,
    /// A value that isn't as drawn.
    set: Option<(u64, u32)>,
}

#[derive(Clone, Debug)]
enum Source {
    Drawn { seed: u64, values: Style, shifts: Style },
    Bytes(Arc<[u8]>),
}

impl Tensor {
    /// A tensor made up from a seed.
    pub fn draw(random: &mut Random, values: u64, width: u32, shifts: u32) -> Self {
        let style = Style::draw(random, width);
        Self::styled(random, values, width, shifts, style)
    }

    /// A tensor made up from a seed, in this style.
    pub fn styled(random: &mut Random, values: u64, width: u32, shifts: u32, style: Style) -> Self {
        let shift_style = match random.below(6) {
            0 => Style::Any,
            1 => Style::Constant(random.below(256)),
            2 => Style::Extreme,
            3 => Style::Below(24),
            _ => Style::Below(6),
        };
        let source = Source::Drawn { seed: random.bits(), values: style, shifts: shift_style };
        Self { values, width, shifts, source, set: None }
    }

    /// A tensor that is known byte for byte.
    pub fn from_bytes(bytes: Vec<u8>, width: u32, shifts: u32) -> Self {
        let values = (bytes.len() as u64 - u64::from(shifts)) / u64::from(width);
        Self { values, width, shifts, source: Source::Bytes(bytes.into()), set: None }
    }

    /// Gives one value of a drawn tensor another pattern.
    pub fn set(&mut self, i: u64, pattern: u32) {
        self.set = Some((i, pattern));
    }

    /// The tensor of the same form and style at another position.
    pub fn at_position(&self, position: u32) -> Self {
        let mut other = self.clone();
        if let Source::Drawn { seed, .. } = &mut other.source {
            *seed ^= u64::from(position).wrapping_mul(0x2545_f491_4f6c_dd1d);
        }
        other
    }

    /// Length of the encoded tensor.
    pub fn byte_len(&self) -> u64 {
        self.values * u64::from(self.width) + u64::from(self.shifts)
    }

    /// Leaves of its tree.
    pub fn leaves(&self) -> u32 {
        self.byte_len().div_ceil(LEAF_BYTES) as u32
    }

    /// The bytes of a leaf.
    pub fn leaf(&self, leaf: u32) -> Vec<u8> {
        let start = u64::from(leaf) * LEAF_BYTES;
        self.bytes(start..(start + LEAF_BYTES).min(self.byte_len()))
    }

    /// Encoded bytes.
    pub fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let (seed, values, shifts) = match &self.source {
            Source::Bytes(bytes) => {
                return bytes[range.start as usize..range.end as usize].to_vec();
            }
            Source::Drawn { seed, values, shifts } => (*seed, *values, *shifts),
        };
        let width = u64::from(self.width);
        let split = self.values * width;
        let mut out = Vec::with_capacity((range.end - range.start) as usize + 4);
        let mut next = range.start;
        while next < range.end {
            let (index, skip, width, style) = if next < split {
                (next / width, next % width, self.width, values)
            } else {
                (self.values + next - split, 0, 1, shifts)
            };
            let pattern = match self.set {
                Some((i, pattern)) if i == index => pattern,
                _ => style.pattern(&mut at(seed, index), width),
            };
            out.extend_from_slice(&pattern.to_le_bytes()[skip as usize..width as usize]);
            next += u64::from(width) - skip;
        }
        out.truncate((range.end - range.start) as usize);
        out
    }

    /// Values of 4 bytes.
    pub fn ints(&self, start: u64, len: u64) -> Vec<i32> {
        let bytes = self.bytes(4 * start..4 * (start + len));
        bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect()
    }

    /// One value of 4 bytes.
    pub fn int(&self, i: u64) -> i32 {
        self.ints(i, 1)[0]
    }

    /// Values of 2 bytes.
    pub fn halves(&self, start: u64, len: u64) -> Vec<i16> {
        let bytes = self.bytes(2 * start..2 * (start + len));
        bytes.as_chunks().0.iter().map(|b| i16::from_le_bytes(*b)).collect()
    }

    /// One value of 2 bytes.
    pub fn half(&self, i: u64) -> i16 {
        self.halves(i, 1)[0]
    }

    /// A shift.
    pub fn shift(&self, group: u64) -> u8 {
        let place = self.values * u64::from(self.width) + group;
        self.bytes(place..place + 1)[0]
    }
}

/// `f16` patterns: zeros, subnormals, one, the largest and smallest in range, the first out of range, infinities, NaN.
const SCALES: [u16; 14] = [
    0, 0x8000, 1, 0x8001, 0x03ff, 0x0400, 0x3c00, 0x57ff, 0xd7ff, 0x5800, 0xd800, 0x7c00, 0xfc00,
    0x7fff,
];

/// How a matrix is drawn.
#[derive(Clone, Copy, Debug)]
enum Weights {
    /// Scales as in a model's file, any weights.
    Plain,
    /// Scales that hurt, any weights.
    Hurting,
    /// Any bits.
    Any,
    /// These bytes for the weights, scales that hurt.
    Filled(u8),
    /// I32 values in this style; any bits in other formats.
    Integers(Style),
}

/// A matrix in the weights tree.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Its first leaf.
    pub base: u32,
    /// How weights are stored.
    pub format: Format,
    /// Rows.
    pub rows: u32,
    /// Weights of a row.
    pub cols: u32,
    source: Stored,
}

#[derive(Clone, Debug)]
enum Stored {
    Drawn { seed: u64, weights: Weights },
    Bytes(Arc<[u8]>),
}

impl Matrix {
    /// A matrix made up from a seed.
    pub fn draw(random: &mut Random, base: u32, format: Format, rows: u32, cols: u32) -> Self {
        let weights = match random.below(6) {
            _ if format == Format::I32 => Weights::Integers(Style::draw(random, 4)),
            0 => Weights::Any,
            1 | 2 => Weights::Plain,
            3 => Weights::Filled([0, 0x7f, 0x80, 0xff][random.below(4) as usize]),
            _ => Weights::Hurting,
        };
        let source = Stored::Drawn { seed: random.bits(), weights };
        Self { base, format, rows, cols, source }
    }

    /// A row of I32 values in this style.
    pub fn integers(random: &mut Random, base: u32, cols: u32, style: Style) -> Self {
        let source = Stored::Drawn { seed: random.bits(), weights: Weights::Integers(style) };
        Self { base, format: Format::I32, rows: 1, cols, source }
    }

    /// A matrix that is known byte for byte.
    pub fn from_bytes(base: u32, format: Format, rows: u32, cols: u32, bytes: Vec<u8>) -> Self {
        Self { base, format, rows, cols, source: Stored::Bytes(bytes.into()) }
    }

    /// Leaves that a row takes.
    pub fn leaves_per_row(&self) -> u32 {
        self.format.leaves_per_row(self.cols as usize) as u32
    }

    /// The leaf after its last one.
    pub fn end(&self) -> u32 {
        self.base + self.rows * self.leaves_per_row()
    }

    /// Columns of a row's leaf `u`.
    pub fn columns(&self, u: u32) -> Range<u32> {
        let size = self.format.leaf_len() as u32;
        u * size..((u + 1) * size).min(self.cols)
    }

    /// The bytes of a row's leaf `u`.
    pub fn leaf(&self, row: u32, u: u32) -> Vec<u8> {
        let columns = self.columns(u);
        let (block, bytes) = (self.format.block_len() as u32, self.format.block_bytes());
        let blocks = columns.start / block..columns.end / block;
        match &self.source {
            Stored::Bytes(all) => {
                let row = row as usize * self.format.row_bytes(self.cols as usize);
                all[row + blocks.start as usize * bytes..row + blocks.end as usize * bytes].to_vec()
            }
            Stored::Drawn { seed, weights } => {
                let mut random = at(*seed, u64::from(row) << 32 | u64::from(u));
                blocks.flat_map(|_| self.block(*weights, &mut random)).collect()
            }
        }
    }

    /// The bytes of a row.
    pub fn row(&self, row: u32) -> Vec<u8> {
        (0..self.leaves_per_row()).flat_map(|u| self.leaf(row, u)).collect()
    }

    fn block(&self, weights: Weights, random: &mut Random) -> Vec<u8> {
        if self.format == Format::I32 {
            let Weights::Integers(style) = weights else { unreachable!("drawn for I32") };
            return style.pattern(random, 4).to_le_bytes().to_vec();
        }
        let len = self.format.block_bytes();
        let mut block: Vec<u8> = Vec::with_capacity(len + 8);
        while block.len() < len {
            block.extend(random.bits().to_le_bytes());
        }
        block.truncate(len);
        let scales = if self.format == Format::Q4_1 { 2 } else { 1 };
        for i in 0..scales {
            let any = random.bits();
            let scale = match weights {
                Weights::Any | Weights::Integers(_) => continue,
                // About 2^-7, either sign.
                Weights::Plain => (any as u16 & 0x87ff) + 0x2000,
                Weights::Hurting | Weights::Filled(_) => SCALES[any as usize % SCALES.len()],
            };
            block[2 * i..2 * i + 2].copy_from_slice(&scale.to_le_bytes());
        }
        if let Weights::Filled(byte) = weights {
            block[2 * scales..].fill(byte);
        }
        block
    }
}
