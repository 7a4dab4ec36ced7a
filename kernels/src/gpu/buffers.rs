//! What a sequence keeps on a device: the activations of one batch, and the K and V rows of every position.

use super::device::Device;
use crate::backend::BackendError;
use crate::decoder::Decoder;
use wgpu::BufferUsages as Usage;

/// Positions of one tile of scores, one maximum each, and of one part of a Mix.
pub(super) const TILE: usize = 256;
/// Most rows of a batch: more don't make a product faster.
pub(super) const ROWS_MAX: usize = 128;
/// Most bytes of one activation buffer: long contexts get smaller batches.
const ACTIVATION_BYTES_MAX: u64 = 128 << 20;

/// How many rows a batch has and how long the attention's buffers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Positions of the sequence.
    pub(super) positions: usize,
    /// Most rows of a batch.
    pub(super) rows: usize,
    /// Tiles of the longest attention.
    pub(super) tiles: usize,
}

/// Words of each buffer that has one entry a row.
struct RowWords {
    width: u64,
    q: u64,
    kv: u64,
    hidden: u64,
    /// Values of the widest quantized row.
    quantized: u64,
    scores: u64,
    partials: u64,
    vocabulary: u64,
}

impl RowWords {
    fn new(d: &Decoder, tiles: usize) -> Self {
        let q = (d.heads * d.head_len) as u64;
        let tiles = tiles as u64;
        Self {
            width: d.width as u64,
            q,
            kv: (d.kv * d.head_len) as u64,
            hidden: d.hidden as u64,
            quantized: q.max(d.width as u64).max(d.hidden as u64),
            scores: d.heads as u64 * tiles * TILE as u64,
            partials: 2 * q * tiles,
            vocabulary: d.vocabulary as u64,
        }
    }

    fn largest(&self) -> u64 {
        let all = [self.quantized, self.scores, self.partials, self.vocabulary];
        all.into_iter().max().unwrap_or(1).max(1)
    }
}

/// Words of a head's values, and of a row of heads with their shifts: `shaders/shared/heads.wgsl`.
pub(super) fn head_words(heads: usize, head_len: usize) -> (usize, usize) {
    let words = head_len.div_ceil(8) * 4;
    (words, (heads * (words + 1)).next_multiple_of(4))
}

impl Plan {
    /// The plan for a sequence of `positions` where one binding holds `binding_bytes_max`.
    pub(super) fn new(
        d: &Decoder,
        positions: usize,
        binding_bytes_max: u64,
    ) -> Result<Self, BackendError> {
        let tiles = positions.div_ceil(TILE).max(1);
        let row_bytes = 4 * RowWords::new(d, tiles).largest();
        let limit = binding_bytes_max.min(ACTIVATION_BYTES_MAX.max(row_bytes));
        let cache = 4 * (positions * head_words(d.kv, d.head_len).1) as u64;
        let needed = row_bytes.max(cache);
        if needed > binding_bytes_max {
            return Err(BackendError::Memory {
                what: format!("attention over {positions} positions in one binding"),
                needed,
                available: binding_bytes_max,
            });
        }
        let rows = (limit / row_bytes).clamp(1, ROWS_MAX as u64) as usize;
        Ok(Self { positions, rows: rows.min(positions.max(1)), tiles })
    }

    /// Bytes of all buffers together.
    pub(super) fn bytes(&self, d: &Decoder) -> u64 {
        let words = RowWords::new(d, self.tiles);
        let row = 3 * words.width
            + 4 * words.q
            + 2 * words.kv
            + 2 * words.hidden
            + 2 * words.quantized
            + words.scores
            + words.partials
            + 2 * words.vocabulary;
        let cache = 2 * d.layers.len() * self.positions * head_words(d.kv, d.head_len).1;
        4 * (self.rows as u64 * row + cache as u64 + self.readback_words(d))
    }

    /// Words of everything that is read back at once: K and V rows, tokens, the count of saturated values.
    pub(super) fn readback_words(&self, d: &Decoder) -> u64 {
        let carried = 2 * d.layers.len() * head_words(d.kv, d.head_len).1;
        (self.rows * (carried + 1) + 1) as u64
    }
}

/// The buffers; shapes count rows of a batch, or positions of the sequence.
#[derive(Debug)]
pub(super) struct Buffers {
    /// uniform
    pub(super) batch: wgpu::Buffer,
    /// (row)
    pub(super) tokens: wgpu::Buffer,
    /// (row, width): the residual stream, before and after a layer's attention
    pub(super) x: wgpu::Buffer,
    pub(super) y: wgpu::Buffer,
    /// (row, width): what a norm yields
    pub(super) norm: wgpu::Buffer,
    /// The input of a linear: values, sums of blocks, shifts
    pub(super) values: wgpu::Buffer,
    pub(super) sums: wgpu::Buffer,
    pub(super) shifts: wgpu::Buffer,
    /// (row, heads · len), (row, kv · len) twice: Fx
    pub(super) q: wgpu::Buffer,
    pub(super) k: wgpu::Buffer,
    pub(super) v: wgpu::Buffer,
    /// (row): quantized heads
    pub(super) q_heads: wgpu::Buffer,
    /// (row, head, tiles · TILE), (row, head, tile)
    pub(super) scores: wgpu::Buffer,
    pub(super) maxima: wgpu::Buffer,
    /// (row, head, tile), (row, head, tile, len) of 64 bits
    pub(super) prob_sums: wgpu::Buffer,
    pub(super) mix_parts: wgpu::Buffer,
    /// (row, heads · len)
    pub(super) mix: wgpu::Buffer,
    /// (row, hidden)
    pub(super) gate: wgpu::Buffer,
    pub(super) up: wgpu::Buffer,
    /// (row with a head, vocabulary), (row with a head)
    pub(super) logits: wgpu::Buffer,
    pub(super) samples: wgpu::Buffer,
    /// (4): how tokens are drawn: seed, low and high word, temperature, 0
    pub(super) sampling: wgpu::Buffer,
    /// (1)
    pub(super) saturated: wgpu::Buffer,
    /// By slot: (position), quantized heads
    pub(super) carried: Vec<wgpu::Buffer>,
    /// What the host reads after every batch
    pub(super) readback: wgpu::Buffer,
    /// Bound where there is no bias, or no residual
    pub(super) none: wgpu::Buffer,
}

impl Buffers {
    pub(super) fn new(device: &Device, d: &Decoder, plan: &Plan) -> Result<Self, BackendError> {
        let words = RowWords::new(d, plan.tiles);
        let rows = plan.rows as u64;
        let heads = d.heads as u64 * plan.tiles as u64;
        let of = |what: &str, words: u64, usage| device.buffer(what, 4 * words, usage);
        let plain = |what: &str, words: u64| of(what, rows * words, Usage::STORAGE);
        let read = |what: &str, words: u64| of(what, words, Usage::STORAGE | Usage::COPY_SRC);
        let carried_usage = Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST;
        let carried_words = (plan.positions * head_words(d.kv, d.head_len).1) as u64;
        let carried = |slot| of(&format!("carried {slot}"), carried_words, carried_usage);
        Ok(Self {
            batch: of("batch", 4, Usage::UNIFORM | Usage::COPY_DST)?,
            tokens: of("tokens", rows, Usage::STORAGE | Usage::COPY_DST)?,
            x: plain("x", words.width)?,
            y: plain("y", words.width)?,
            norm: plain("norm", words.width)?,
            values: plain("values", words.quantized / 2)?,
            sums: plain("sums", words.quantized / 32)?,
            shifts: plain("shifts", 1)?,
            q: plain("q", words.q)?,
            k: plain("k", words.kv)?,
            v: plain("v", words.kv)?,
            q_heads: plain("q_heads", head_words(d.heads, d.head_len).1 as u64)?,
            scores: plain("scores", words.scores)?,
            maxima: plain("maxima", heads)?,
            prob_sums: plain("prob_sums", heads)?,
            mix_parts: plain("mix_parts", words.partials)?,
            mix: plain("mix", words.q)?,
            gate: plain("gate", words.hidden)?,
            up: plain("up", words.hidden)?,
            logits: read("logits", rows * words.vocabulary)?,
            samples: read("samples", rows)?,
            sampling: of("sampling", 4, Usage::STORAGE | Usage::COPY_DST)?,
            saturated: of("saturated", 1, carried_usage)?,
            carried: (0..2 * d.layers.len()).map(carried).collect::<Result<_, _>>()?,
            readback: of(
                "readback",
                plan.readback_words(d) + 2,
                Usage::MAP_READ | Usage::COPY_DST,
            )?,
            none: of("none", 4, Usage::STORAGE)?,
        })
    }
}
