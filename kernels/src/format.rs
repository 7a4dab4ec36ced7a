//! How weights are stored: blocks of a GGUF file, taken as the exact integers that they are.
//!
//! A block's `f16` scale is an integer multiple of 2^-24, so a weight is an integer in those units:
//! `D · w`, `D · (w − 8)` or `D · w + M`. Nothing is requantized and nothing is rounded here.

/// The storage format of a weight tensor; the discriminant is its code in a descriptor.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Plain little-endian `i32`: norm mantissas, biases, tables of cos and sin.
    I32 = 0,
    /// `f16 d`, 32 × `i8 w`: value `D · w`.
    Q8_0 = 1,
    /// `f16 d`, 16 bytes of nibbles: value `D · (w − 8)`.
    Q4_0 = 2,
    /// `f16 d`, `f16 m`, 16 bytes of nibbles: value `D · w + M`.
    Q4_1 = 3,
}

impl Format {
    /// The format of a descriptor's code.
    #[must_use]
    pub const fn try_from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::I32),
            1 => Some(Self::Q8_0),
            2 => Some(Self::Q4_0),
            3 => Some(Self::Q4_1),
            _ => None,
        }
    }

    /// Weights per block.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            Self::I32 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 => 32,
        }
    }

    /// Bytes per block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::I32 => 4,
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
        }
    }

    /// Most weights in one leaf of the weights tree.
    #[must_use]
    pub const fn leaf_len(self) -> usize {
        match self {
            Self::I32 => 256,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 => 1024,
        }
    }

    /// Bytes of a row of `cols` weights; `cols` is a whole number of blocks.
    #[must_use]
    pub const fn row_bytes(self, cols: usize) -> usize {
        cols.div_ceil(self.block_len()) * self.block_bytes()
    }

    /// Leaves that a row of `cols` weights takes in the weights tree.
    #[must_use]
    pub const fn leaves_per_row(self, cols: usize) -> usize {
        cols.div_ceil(self.leaf_len())
    }
}

/// The exact value of an `f16` in units of 2^-24, by the formula for finite numbers.
///
/// Total: infinities and NaNs get the value that their exponent field would have (below 2^41); the
/// importer refuses them, see [`scale_in_range`].
#[must_use]
pub fn scale_f16(bits: u16) -> i64 {
    let exponent = i64::from(bits >> 10 & 31);
    let normal = i64::from(exponent != 0);
    let magnitude = (normal << 10 | i64::from(bits & 1023)) << (exponent - normal);
    let negative = i64::from(bits >> 15);
    (magnitude ^ -negative) + negative
}

/// Whether the scale is finite and below 128 in magnitude, so that it fits an `i32`.
#[must_use]
pub fn scale_in_range(bits: u16) -> bool {
    bits >> 10 & 31 <= 21
}

/// A block of 32 weights, decoded: weight `j` is `d · w[j] + m` in units of 2^-24.
pub(crate) struct Block {
    pub(crate) d: i64,
    pub(crate) m: i64,
    pub(crate) w: [i32; 32],
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn nibbles(bytes: &[u8], offset: i32) -> [i32; 32] {
    core::array::from_fn(|j| i32::from(bytes[j % 16] >> (j / 16 * 4) & 15) - offset)
}

/// Decodes the blocks of a row or leaf, in order; a tail that is no whole block is ignored, and
/// I32 has no blocks of 32.
pub(crate) fn blocks(format: Format, bytes: &[u8]) -> impl Iterator<Item = Block> + '_ {
    let bytes = if format == Format::I32 { &[] } else { bytes };
    bytes.chunks_exact(format.block_bytes()).map(move |block| {
        let d = scale_f16(u16_at(block, 0));
        match format {
            Format::I32 | Format::Q8_0 => {
                let w = core::array::from_fn(|j| i32::from(block[2 + j] as i8));
                Block { d, m: 0, w }
            }
            Format::Q4_0 => Block { d, m: 0, w: nibbles(&block[2..], 8) },
            Format::Q4_1 => Block { d, m: scale_f16(u16_at(block, 2)), w: nibbles(&block[4..], 0) },
        }
    })
}

/// Values of an I32 tensor, in order.
pub(crate) fn integers(bytes: &[u8]) -> impl Iterator<Item = i32> + '_ {
    bytes.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word))
}

/// What a linear's accumulator can reach on this row, rounding included, whatever the activations:
/// `Σ_blocks (|D| · Σ|w| + 32 · |M|) · 32767 + 2^23`.
///
/// The importer accepts a row iff this is below 2^63: then an `i64` is exact in any order of
/// summation. `None` if a scale is out of range, the row is no whole number of blocks, or the
/// format has no blocks.
#[must_use]
pub fn row_bound(format: Format, row: &[u8]) -> Option<u128> {
    if format == Format::I32 || !row.len().is_multiple_of(format.block_bytes()) {
        return None;
    }
    let in_range = |block: &[u8]| {
        scale_in_range(u16_at(block, 0))
            && (format != Format::Q4_1 || scale_in_range(u16_at(block, 2)))
    };
    if !row.chunks_exact(format.block_bytes()).all(in_range) {
        return None;
    }
    let weight = |block: Block| {
        let total: u32 = block.w.iter().map(|w| w.unsigned_abs()).sum();
        u128::from(block.d.unsigned_abs()) * u128::from(total)
            + 32 * u128::from(block.m.unsigned_abs())
    };
    Some(blocks(format, row).map(weight).sum::<u128>() * 32767 + (1 << 23))
}
