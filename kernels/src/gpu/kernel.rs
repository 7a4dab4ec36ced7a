//! The kernels: their WGSL, joined from the files in `shaders/`, and what they bind.
//!
//! A kernel's source is the shared files that it names, one after the other, then its own file: the same text for every
//! driver and for a browser. Binding 0 is the batch, binding 1 the op's sizes, then storage buffers: those that it reads,
//! then those that it writes.

use crate::Format;

/// A kernel; `shaders/README.md` has its buffers and its dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is a file of its name in shaders/")]
pub enum Kernel {
    Embed,
    RmsNorm,
    Linear,
    LinearBatch,
    Rope,
    Scores,
    Mix,
    MixFinish,
    SwiGlu,
    Sample,
}

/// Everything about a kernel that its source doesn't say.
struct Entry {
    name: &'static str,
    files: &'static [&'static str],
    reads: u32,
    writes: u32,
}

macro_rules! shader {
    ($file:literal) => {
        include_str!(concat!("../../shaders/", $file))
    };
}

const BATCH: &str = shader!("shared/batch.wgsl");
const INT64: &str = shader!("shared/int64.wgsl");
const INT64X4: &str = shader!("shared/int64x4.wgsl");
const WIDE: &str = shader!("shared/wide.wgsl");
const WEIGHTS: &str = shader!("shared/weights.wgsl");
const ACTIVATIONS: &str = shader!("shared/activations.wgsl");
const PRODUCTS: &str = shader!("shared/products.wgsl");
const ROWS: &str = shader!("shared/rows.wgsl");
const HEADS: &str = shader!("shared/heads.wgsl");
const QUERIES: &str = shader!("shared/queries.wgsl");
const PROBS: &str = shader!("shared/probs.wgsl");
const TERMS: &str = shader!("shared/terms.wgsl");
const QUANTIZE: &str = shader!("shared/quantize.wgsl");
const QUANTIZE_ROW: &str = shader!("shared/quantize_row.wgsl");
const NOISE: &str = shader!("shared/noise.wgsl");
const SATURATED: &str = shader!("shared/saturated.wgsl");

macro_rules! entry {
    ($name:literal, [$($shared:ident),*], $reads:literal => $writes:literal) => {
        Entry {
            name: $name,
            files: &[$($shared,)* include_str!(concat!("../../shaders/", $name, ".wgsl"))],
            reads: $reads,
            writes: $writes,
        }
    };
}

/// A linear.
macro_rules! linear_entry {
    ($name:literal) => {
        entry!(
            $name,
            [BATCH, INT64, WEIGHTS, ACTIVATIONS, INT64X4, PRODUCTS, ROWS],
            6 => 2
        )
    };
}

/// A kernel that ends in the Quantize of a row.
macro_rules! row_entry {
    ($name:literal, $reads:literal => $writes:literal) => {
        entry!(
            $name,
            [BATCH, INT64, WIDE, ACTIVATIONS, QUANTIZE, QUANTIZE_ROW, SATURATED],
            $reads => $writes
        )
    };
}

impl Kernel {
    /// All of them, in the order of a block's steps.
    pub const ALL: [Self; 10] = [
        Self::Embed,
        Self::RmsNorm,
        Self::Linear,
        Self::LinearBatch,
        Self::Rope,
        Self::Scores,
        Self::Mix,
        Self::MixFinish,
        Self::SwiGlu,
        Self::Sample,
    ];

    fn entry(self) -> Entry {
        match self {
            Self::Embed => entry!("embed", [BATCH, INT64, WEIGHTS], 2 => 1),
            Self::RmsNorm => row_entry!("rms_norm", 2 => 5),
            Self::Linear => linear_entry!("linear"),
            Self::LinearBatch => linear_entry!("linear_batch"),
            Self::Rope => entry!("rope", [BATCH, INT64, QUANTIZE, HEADS, SATURATED], 2 => 2),
            Self::Scores => entry!("scores", [BATCH, INT64, INT64X4, HEADS, QUERIES], 2 => 2),
            Self::Mix => entry!("mix", [BATCH, INT64, HEADS, QUERIES, PROBS, TERMS], 3 => 2),
            Self::MixFinish => row_entry!("mix_finish", 2 => 5),
            Self::SwiGlu => row_entry!("swiglu", 1 => 5),
            Self::Sample => entry!("sample", [BATCH, INT64, NOISE], 2 => 1),
        }
    }
}

/// What suits a kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// `BYTES`: whether products are packed dot products of bytes (1) or plain ones (0).
    pub bytes: u32,
    /// `LANES` of `linear`.
    pub linear_lanes: u32,
    /// `SLICES` of `linear`.
    pub linear_slices: u32,
    /// `ROW_LANES` of `linear_batch`.
    pub row_lanes: u32,
    /// `POSITION_LANES` of `linear_batch`.
    pub position_lanes: u32,
    /// `LANES` of the kernels that quantize a row.
    pub lanes: u32,
    /// `LANES` of `mix`, if a head has no more groups of eight elements: each takes a lane.
    pub mix_lanes: u32,
}

impl Tuning {
    /// A GPU: many lanes, packed products.
    pub const GPU: Self = Self {
        bytes: 1,
        linear_lanes: 64,
        linear_slices: 16,
        row_lanes: 16,
        position_lanes: 4,
        lanes: 256,
        mix_lanes: 64,
    };
    /// A driver that runs shaders on the CPU: no lane to spare, products of 32 bits.
    pub const CPU: Self = Self {
        bytes: 0,
        linear_lanes: 8,
        linear_slices: 1,
        row_lanes: 8,
        position_lanes: 1,
        lanes: 64,
        mix_lanes: 8,
    };

    /// Rows of the matrix, and positions, that a workgroup of a linear computes.
    #[must_use]
    pub fn tile(self, kernel: Kernel) -> (u32, u32) {
        match kernel {
            Kernel::LinearBatch => (4 * self.row_lanes, 4 * self.position_lanes),
            _ => (4 * self.linear_lanes / self.linear_slices, 1),
        }
    }
}

/// A kernel with the values of its `override` constants: one compiled pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The kernel.
    pub kernel: Kernel,
    /// Names and values; what isn't named keeps the default of the source.
    pub constants: Vec<(&'static str, u32)>,
}

impl Kernel {
    /// The kernel with the defaults of its constants.
    #[must_use]
    pub fn plain(self) -> Variant {
        Variant { kernel: self, constants: Vec::new() }
    }

    /// The kernel for weights of `format`: its code is the constant `FORMAT`.
    #[must_use]
    pub fn of_format(self, format: Format) -> Variant {
        Variant { kernel: self, constants: vec![("FORMAT", format as u32)] }
    }

    /// The kernel as a kind of device runs it best: the same bits, whatever the constants.
    #[must_use]
    pub fn tuned(self, format: Option<Format>, tuning: Tuning) -> Variant {
        let mut variant = format.map_or_else(|| self.plain(), |f| self.of_format(f));
        let t = tuning;
        let more: &[(&'static str, u32)] = match self {
            Self::Linear => {
                &[("BYTES", t.bytes), ("LANES", t.linear_lanes), ("SLICES", t.linear_slices)]
            }
            Self::LinearBatch => &[
                ("BYTES", t.bytes),
                ("ROW_LANES", t.row_lanes),
                ("POSITION_LANES", t.position_lanes),
            ],
            Self::RmsNorm | Self::MixFinish | Self::SwiGlu => &[("LANES", t.lanes)],
            Self::Mix => return Self::mix(256, tuning),
            _ => &[],
        };
        variant.constants.extend(more);
        variant
    }

    /// `mix` for heads of up to `len` elements.
    #[must_use]
    pub fn mix(len: u32, tuning: Tuning) -> Variant {
        let lanes = tuning.mix_lanes.max(len.div_ceil(8).next_power_of_two());
        Variant { kernel: Self::Mix, constants: vec![("LANES", lanes)] }
    }

    /// The file's stem.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The WGSL text.
    #[must_use]
    pub fn source(self) -> String {
        self.entry().files.concat()
    }

    /// Storage buffers that are read, and that are written.
    #[must_use]
    pub fn storage(self) -> (u32, u32) {
        let entry = self.entry();
        (entry.reads, entry.writes)
    }

    /// Number and type of every binding.
    pub(super) fn bindings(self) -> impl Iterator<Item = (u32, wgpu::BufferBindingType)> {
        let (reads, writes) = self.storage();
        (0..2 + reads + writes).map(move |binding| {
            let kind = match binding {
                0 | 1 => wgpu::BufferBindingType::Uniform,
                _ => wgpu::BufferBindingType::Storage { read_only: binding < 2 + reads },
            };
            (binding, kind)
        })
    }
}
