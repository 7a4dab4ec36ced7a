//! The program: the list of ops that computes one block, as descriptors that the contract reads too.
//!
//! Layout of a descriptor, of every tensor and of every fold: `kernels/README.md`, sections *Descriptors* and *Ops*.

pub mod check;

use refute_kernels::Format;

/// A reference to no step.
pub const NO_STEP: u16 = u16::MAX;
/// A base leaf of no tensor.
pub const NO_LEAF: u32 = u32::MAX;
/// Bytes under one Merkle leaf of a step's tensor.
pub const LEAF_BYTES: usize = 1024;
/// Elements of a unit of the RmsNorm, Quantize, Max and Sample folds.
pub const UNIT: usize = 256;
/// Elements of a unit of the Sum fold.
pub const SUM_UNIT: usize = 512;

/// What a step computes. The numbers are the opcodes of `kernels/README.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[expect(missing_docs, reason = "each op has its section in kernels/README.md")]
pub enum Op {
    Embed = 0,
    RmsNorm = 1,
    Quantize = 2,
    Linear = 3,
    Rope = 4,
    Scores = 5,
    Max = 6,
    Probs = 7,
    Sum = 8,
    Mix = 9,
    SwiGlu = 10,
    Collect = 11,
    Sample = 12,
}

impl Op {
    const ALL: [Op; 13] = [
        Op::Embed,
        Op::RmsNorm,
        Op::Quantize,
        Op::Linear,
        Op::Rope,
        Op::Scores,
        Op::Max,
        Op::Probs,
        Op::Sum,
        Op::Mix,
        Op::SwiGlu,
        Op::Collect,
        Op::Sample,
    ];

    /// The op's name in listings.
    pub fn name(self) -> &'static str {
        match self {
            Op::Embed => "embed",
            Op::RmsNorm => "rms_norm",
            Op::Quantize => "quantize",
            Op::Linear => "linear",
            Op::Rope => "rope",
            Op::Scores => "scores",
            Op::Max => "max",
            Op::Probs => "probs",
            Op::Sum => "sum",
            Op::Mix => "mix",
            Op::SwiGlu => "swiglu",
            Op::Collect => "collect",
            Op::Sample => "sample",
        }
    }
}

/// One step of the program in the contract's 64 bytes. Fields that the op doesn't use are 0 (references and bases: none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are tabulated in kernels/README.md")]
pub struct Descriptor {
    pub op: Op,
    pub format: u8,
    pub inputs: [u16; 3],
    pub n: u32,
    pub k: u32,
    pub groups: u32,
    pub kv: u32,
    pub w: u32,
    pub b: u32,
    pub c0: u32,
    pub c1: u32,
    pub c2: u32,
    pub slot: u32,
}

/// A descriptor that isn't one.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    /// The first byte names no op.
    #[error("opcode {0} is unknown: the descriptor is not of numerics version 1")]
    UnknownOp(u8),
    /// The format byte names no weight format.
    #[error("weight format {0} is unknown: the descriptor is not of numerics version 1")]
    UnknownFormat(u8),
    /// A size that the op divides by is 0, or sizes don't fit together.
    #[error("the descriptor of a {op:?} has impossible sizes")]
    Sizes {
        /// The op.
        op: Op,
    },
    /// An element that the tensor doesn't have, or that isn't in the leaf given.
    #[error("element {element} is not in leaf {leaf} ({bytes} bytes given)")]
    Element {
        /// Element of the tensor.
        element: u32,
        /// Leaf of the tensor's tree.
        leaf: u32,
        /// Length of the data given, bytes.
        bytes: usize,
    },
}

/// Shape of a step's tensor in one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Encoded length; 0 for `Collect`, whose leaves are roots.
    pub byte_len: u32,
    /// Leaves of its tree.
    pub leaves: u32,
    /// Elements: values, then shifts.
    pub elements: u32,
}

/// Where a fold starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Sums and ORs.
    Zero,
    /// Maxima: −2^127.
    Min,
}

impl Init {
    /// The accumulator before the first unit.
    pub fn value(self) -> i128 {
        match self {
            Init::Zero => 0,
            Init::Min => i128::MIN,
        }
    }
}

impl Descriptor {
    /// An empty descriptor of `op`.
    pub fn new(op: Op) -> Self {
        Self {
            op,
            format: 0,
            inputs: [NO_STEP; 3],
            n: 0,
            k: 0,
            groups: 0,
            kv: 0,
            w: NO_LEAF,
            b: NO_LEAF,
            c0: 0,
            c1: 0,
            c2: 0,
            slot: 0,
        }
    }

    /// The two words of the program's leaf.
    pub fn words(&self) -> ([u8; 32], [u8; 32]) {
        let (mut d0, mut d1) = ([0; 32], [0; 32]);
        d0[0] = self.op as u8;
        d0[1] = self.format;
        for (i, input) in self.inputs.iter().enumerate() {
            d0[2 + 2 * i..4 + 2 * i].copy_from_slice(&input.to_be_bytes());
        }
        let fields = [self.n, self.k, self.groups, self.kv, self.w, self.b];
        for (i, field) in fields.iter().enumerate() {
            d0[8 + 4 * i..12 + 4 * i].copy_from_slice(&field.to_be_bytes());
        }
        for (i, field) in [self.c0, self.c1, self.c2, self.slot].iter().enumerate() {
            d1[4 * i..4 * i + 4].copy_from_slice(&field.to_be_bytes());
        }
        (d0, d1)
    }

    /// The bytes of the program's leaf.
    pub fn leaf(&self) -> [u8; 64] {
        let (d0, d1) = self.words();
        let mut leaf = [0; 64];
        leaf[..32].copy_from_slice(&d0);
        leaf[32..].copy_from_slice(&d1);
        leaf
    }

    /// Reads a descriptor back.
    ///
    /// # Errors
    /// Unknown opcodes and formats.
    pub fn from_words(d0: &[u8; 32], d1: &[u8; 32]) -> Result<Self, DescriptorError> {
        let op = *Op::ALL.get(d0[0] as usize).ok_or(DescriptorError::UnknownOp(d0[0]))?;
        Format::try_from_code(d0[1]).ok_or(DescriptorError::UnknownFormat(d0[1]))?;
        let u16_at = |i: usize| u16::from_be_bytes([d0[i], d0[i + 1]]);
        let u32_at =
            |d: &[u8; 32], i: usize| u32::from_be_bytes([d[i], d[i + 1], d[i + 2], d[i + 3]]);
        Ok(Self {
            op,
            format: d0[1],
            inputs: [u16_at(2), u16_at(4), u16_at(6)],
            n: u32_at(d0, 8),
            k: u32_at(d0, 12),
            groups: u32_at(d0, 16),
            kv: u32_at(d0, 20),
            w: u32_at(d0, 24),
            b: u32_at(d0, 28),
            c0: u32_at(d1, 0),
            c1: u32_at(d1, 4),
            c2: u32_at(d1, 8),
            slot: u32_at(d1, 12),
        })
    }

    /// The format of the weights; `I32` where there are none.
    pub fn weight_format(&self) -> Format {
        Format::try_from_code(self.format).unwrap_or(Format::I32)
    }

    /// Values of the tensor, without a quantized tensor's shifts, and the bytes of one.
    fn values(&self, block: u32) -> (u64, u64) {
        let positions = u64::from(block) + 1;
        let heads = u64::from(self.groups);
        match self.op {
            Op::Embed | Op::RmsNorm | Op::Linear | Op::Rope | Op::SwiGlu => (u64::from(self.n), 4),
            Op::Quantize => (u64::from(self.n), 2),
            Op::Scores => (heads * positions, 4),
            Op::Probs => (heads * positions, 2),
            Op::Max | Op::Sum => (heads, 4),
            Op::Mix => (heads * u64::from(self.k), 4),
            Op::Collect => (u64::from(self.n), 32),
            Op::Sample => (1, 4),
        }
    }

    /// The shape of the step's tensor in block `block`.
    ///
    /// # Errors
    /// Empty tensors, and those longer than 4 GiB.
    pub fn shape(&self, block: u32) -> Result<Shape, DescriptorError> {
        let (values, width) = self.values(block);
        let shifts = if self.op == Op::Quantize { u64::from(self.groups) } else { 0 };
        let sizes = || DescriptorError::Sizes { op: self.op };
        let elements = u32::try_from(values + shifts).map_err(|_| sizes())?;
        if elements == 0 {
            return Err(sizes());
        }
        if self.op == Op::Collect {
            return Ok(Shape { byte_len: 0, leaves: elements, elements });
        }
        let bytes = values * width + shifts;
        if bytes > u64::from(u32::MAX) {
            return Err(sizes());
        }
        let leaves = bytes.div_ceil(LEAF_BYTES as u64) as u32;
        Ok(Shape { byte_len: bytes as u32, leaves, elements })
    }

    /// Units of an element's fold, and where it starts.
    ///
    /// # Errors
    /// Sizes that don't fit together.
    pub fn fold(&self, block: u32) -> Result<(u64, Init), DescriptorError> {
        let positions = u64::from(block) + 1;
        let (units, init) = match self.op {
            Op::RmsNorm => (u64::from(self.n).div_ceil(UNIT as u64), Init::Zero),
            Op::Quantize => {
                let len = self.n.checked_div(self.groups).unwrap_or(0);
                (u64::from(len).div_ceil(UNIT as u64), Init::Zero)
            }
            Op::Linear => {
                let leaf = self.weight_format().leaf_len() as u64;
                (u64::from(self.k).div_ceil(leaf), Init::Zero)
            }
            Op::Max => (positions.div_ceil(UNIT as u64), Init::Min),
            Op::Sum => (positions.div_ceil(SUM_UNIT as u64), Init::Zero),
            Op::Mix => (positions, Init::Zero),
            Op::Sample => (u64::from(self.k).div_ceil(UNIT as u64), Init::Min),
            Op::Embed | Op::Rope | Op::Scores | Op::Probs | Op::SwiGlu | Op::Collect => {
                (1, Init::Zero)
            }
        };
        if units == 0 {
            return Err(DescriptorError::Sizes { op: self.op });
        }
        Ok((units, init))
    }

    /// Byte offset and width of an element in the encoded tensor (not for `Collect`).
    pub fn place(&self, block: u32, element: u32) -> (usize, usize) {
        let (values, width) = self.values(block);
        let element = u64::from(element);
        if element < values {
            ((element * width) as usize, width as usize)
        } else {
            ((values * width + (element - values)) as usize, 1)
        }
    }

    /// The value of an element, read from the bytes of its leaf.
    ///
    /// # Errors
    /// An element that isn't in this leaf.
    pub fn decode(
        &self,
        block: u32,
        leaf: u32,
        element: u32,
        data: &[u8],
    ) -> Result<i128, DescriptorError> {
        let outside = || DescriptorError::Element { element, leaf, bytes: data.len() };
        if element >= self.shape(block)?.elements {
            return Err(outside());
        }
        let (offset, width) = self.place(block, element);
        let start = offset.checked_sub(leaf as usize * LEAF_BYTES).ok_or_else(outside)?;
        if start >= LEAF_BYTES {
            return Err(outside());
        }
        let bytes = data.get(start..start + width).ok_or_else(outside)?;
        Ok(match (self.op, bytes) {
            (Op::Sum | Op::Sample, &[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]).into(),
            (_, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]).into(),
            (Op::Probs, &[a, b]) => u16::from_le_bytes([a, b]).into(),
            (_, &[a, b]) => i16::from_le_bytes([a, b]).into(),
            (_, &[shift]) => shift.into(),
            _ => return Err(outside()),
        })
    }
}

/// One step: its name, its descriptor, and which of the model's weight tensors it reads.
#[derive(Clone, Debug)]
pub struct Step {
    /// Like `blk.7.ffn_gate`.
    pub name: String,
    /// What the contract reads.
    pub descriptor: Descriptor,
    /// Index of the weights in [`crate::model::Weights`].
    pub weight: Option<usize>,
    /// Index of the bias in [`crate::model::Weights`].
    pub bias: Option<usize>,
}

/// The list of ops that computes one block.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// In the order of execution.
    pub steps: Vec<Step>,
    /// Index of `Collect`.
    pub collect: u32,
    /// Index of `Sample`, the last step.
    pub sample: u32,
    /// Steps whose tensors are carried, by slot.
    pub carried: Vec<u32>,
}

impl Program {
    /// Steps of a block: those of an output block, or of a prompt block before the last.
    pub fn len(&self, is_output: bool) -> u32 {
        if is_output { self.steps.len() as u32 } else { self.collect + 1 }
    }

    /// All descriptors, 64 bytes each, as the registry takes them.
    pub fn packed(&self) -> Vec<u8> {
        self.steps.iter().flat_map(|s| s.descriptor.leaf()).collect()
    }

    /// Finds a step by index or by name.
    pub fn find(&self, step: &str) -> Option<u32> {
        if let Ok(index) = step.parse::<u32>() {
            return (index < self.steps.len() as u32).then_some(index);
        }
        self.steps.iter().position(|s| s.name == step).map(|i| i as u32)
    }
}
