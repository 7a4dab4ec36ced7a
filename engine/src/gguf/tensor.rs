//! What a file says about a tensor.

use std::fmt;

/// How a tensor's numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "GGML's own names, which everybody knows")]
pub enum TensorKind {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 16-bit brain floats.
    BF16,
    /// 4 bits, one scale for 32.
    Q4_0,
    /// 4 bits, scale and minimum for 32.
    Q4_1,
    /// 5 bits, one scale for 32.
    Q5_0,
    /// 5 bits, scale and minimum for 32.
    Q5_1,
    /// 8 bits, one scale for 32.
    Q8_0,
    /// 4 bits, superblocks of 256.
    Q4_K,
    /// 5 bits, superblocks of 256.
    Q5_K,
    /// 6 bits, superblocks of 256.
    Q6_K,
    /// Another type whose size is known, by its code in the file.
    Other(u32),
}

/// Code, name, weights in a block, bytes of a block: every type that GGML stores in files today.
const TYPES: [(u32, &str, u64, u64); 33] = [
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
];

/// The types that have a variant of their own.
const NAMED: [TensorKind; 11] = [
    TensorKind::F32,
    TensorKind::F16,
    TensorKind::BF16,
    TensorKind::Q4_0,
    TensorKind::Q4_1,
    TensorKind::Q5_0,
    TensorKind::Q5_1,
    TensorKind::Q8_0,
    TensorKind::Q4_K,
    TensorKind::Q5_K,
    TensorKind::Q6_K,
];

impl TensorKind {
    /// The kind of a type code; `None` if GGML has no such type.
    pub fn from_code(code: u32) -> Option<TensorKind> {
        TYPES.iter().find(|entry| entry.0 == code)?;
        let named = NAMED.into_iter().find(|kind| kind.code() == code);
        Some(named.unwrap_or(TensorKind::Other(code)))
    }

    /// The type code in the file.
    pub fn code(self) -> u32 {
        match self {
            TensorKind::F32 => 0,
            TensorKind::F16 => 1,
            TensorKind::Q4_0 => 2,
            TensorKind::Q4_1 => 3,
            TensorKind::Q5_0 => 6,
            TensorKind::Q5_1 => 7,
            TensorKind::Q8_0 => 8,
            TensorKind::Q4_K => 12,
            TensorKind::Q5_K => 13,
            TensorKind::Q6_K => 14,
            TensorKind::BF16 => 30,
            TensorKind::Other(code) => code,
        }
    }

    fn entry(self) -> (u32, &'static str, u64, u64) {
        let code = self.code();
        TYPES.into_iter().find(|entry| entry.0 == code).unwrap_or((code, "unknown", 1, 0))
    }

    /// GGML's name of the type.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// Weights in a block; rows are whole blocks.
    pub fn block_len(self) -> u64 {
        self.entry().2
    }

    /// Bytes of a block; 0 for an `Other` that GGML doesn't have, which the reader never hands out.
    pub fn block_bytes(self) -> u64 {
        self.entry().3
    }
}

impl fmt::Display for TensorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a file says about a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, such as `blk.3.attn_q.weight`.
    pub name: String,
    /// How the numbers are stored.
    pub kind: TensorKind,
    /// 1 to 4 dimensions in GGUF's order: `dims[0]` is the length of a row.
    pub dims: Vec<u64>,
    /// First byte of the data, counted from the start of the file.
    pub offset: u64,
    /// Bytes of the data. `offset + byte_len` is inside the file.
    pub byte_len: u64,
}

impl TensorInfo {
    /// The length of a row.
    pub fn columns(&self) -> u64 {
        self.dims[0]
    }

    /// How many rows there are, over all further dimensions.
    pub fn rows(&self) -> u64 {
        self.dims[1..].iter().product()
    }

    /// Where the data lies in the file.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        let start = self.offset as usize;
        start..start + self.byte_len as usize
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> u64 {
        self.columns() / self.kind.block_len() * self.kind.block_bytes()
    }
}
