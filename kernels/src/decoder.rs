//! What a backend runs: the llama decoder of `README.md` as plain data, sizes beside weights.
//!
//! The weights are shared, not copied: a matrix stays in the mapped file until a backend packs or uploads it.

mod check;

use crate::Format;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Who holds the bytes of matrices: a mapped file, or what an import made.
pub trait Owner: Send + Sync {
    /// All of them.
    fn bytes(&self) -> &[u8];

    /// These are not needed for now: what a file can give again needn't stay in memory.
    fn release(&self, _range: Range<usize>) {}
}

impl Owner for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// A range of bytes that somebody owns.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn Owner>,
    range: Range<usize>,
}

impl Bytes {
    /// The part `range` of `owner`.
    ///
    /// # Panics
    /// If the range isn't in it.
    pub fn new(owner: Arc<dyn Owner>, range: Range<usize>) -> Self {
        let len = owner.bytes().len();
        assert!(range.start <= range.end && range.end <= len, "{range:?} of {len} bytes");
        Self { owner, range }
    }

    /// All of a vector.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { owner: Arc::new(bytes), range }
    }

    /// They are not needed for now; they can still be read.
    pub fn release(&self) {
        self.owner.release(self.range.clone());
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner.bytes()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({:?})", self.range)
    }
}

/// `rows` rows of `cols` weights in blocks, row after row, bytes as in the file.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// A format in blocks (not `I32`).
    pub format: Format,
    /// Output rows.
    pub rows: usize,
    /// Weights of a row, a multiple of 32.
    pub cols: usize,
    /// `rows * format.row_bytes(cols)` bytes.
    pub bytes: Bytes,
}

impl Matrix {
    /// The bytes of rows `rows`.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> &[u8] {
        let bytes = self.format.row_bytes(self.cols);
        &self.bytes[rows.start * bytes..rows.end * bytes]
    }

    /// Rows `rows` are not needed for now; they can still be read.
    pub fn release(&self, rows: Range<usize>) {
        let (bytes, start) = (self.format.row_bytes(self.cols), self.bytes.range.start);
        self.bytes.owner.release(start + rows.start * bytes..start + rows.end * bytes);
    }
}

/// A matrix, and what is added to its rows.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The weights.
    pub weights: Matrix,
    /// One Fx a row, if there is a bias.
    pub bias: Option<Arc<[i32]>>,
}

/// Weights of an RmsNorm.
#[derive(Clone, Debug)]
pub struct Norm {
    /// Mantissas in units of `2^-exponent`.
    pub weights: Arc<[i32]>,
    /// Constant `c1`.
    pub exponent: i32,
}

/// Linears of a layer.
pub(crate) const LAYER_LINEARS: usize = 7;

/// The weights of one layer, named as in the list of steps.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the steps of README.md carry these names")]
pub struct Layer {
    pub attn_norm: Norm,
    pub attn_k: Linear,
    pub attn_v: Linear,
    pub attn_q: Linear,
    pub attn_output: Linear,
    pub ffn_norm: Norm,
    pub ffn_gate: Linear,
    pub ffn_up: Linear,
    pub ffn_down: Linear,
}

impl Layer {
    /// Its linears, in program order.
    #[must_use]
    pub fn linears(&self) -> [&Linear; LAYER_LINEARS] {
        let Self { attn_k, attn_v, attn_q, attn_output, ffn_gate, ffn_up, ffn_down, .. } = self;
        [attn_k, attn_v, attn_q, attn_output, ffn_gate, ffn_up, ffn_down]
    }
}

/// The whole model. Two carried tensors a layer, slots `2l` (K) and `2l + 1` (V).
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Elements of the residual stream.
    pub width: usize,
    /// Elements of the feed-forward row.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv: usize,
    /// Elements of a head; even, at most 256.
    pub head_len: usize,
    /// Elements of a head that Rope turns; even.
    pub rotated: usize,
    /// Tokens.
    pub vocabulary: usize,
    /// Longest sequence, positions.
    pub context: usize,
    /// RmsNorm's `c0`, in 2^-24 units.
    pub eps: u32,
    /// Scores' `c0`.
    pub score_scale: u32,
    /// `vocabulary` × `width`.
    pub token_embd: Matrix,
    /// `context` × `rotated`, Q30: `cos_0, sin_0, cos_1, …`.
    pub rope: Arc<[i32]>,
    /// In order.
    pub layers: Vec<Layer>,
    /// Before the head.
    pub output_norm: Norm,
    /// The head: `vocabulary` × `width`.
    pub output: Linear,
}

impl Decoder {
    /// All linears, in program order: every layer's, then the head.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().flat_map(Layer::linears).chain([&self.output])
    }
}
