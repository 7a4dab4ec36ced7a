//! Small decoders with random weights, for comparing backends.

use super::Rng;
use refute_kernels::Format;
use refute_kernels::decoder::{Bytes, Decoder, Layer, Linear, Matrix, Norm};
use std::sync::Arc;

/// What a random decoder looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) format: Format,
    pub(crate) width: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) kv: usize,
    pub(crate) head_len: usize,
    pub(crate) rotated: usize,
    pub(crate) vocabulary: usize,
    pub(crate) context: usize,
    pub(crate) layers: usize,
    /// Linears of the attention have biases.
    pub(crate) biases: bool,
    /// Exponent field of the scales (8: weights of about ±1/16); from 15 on, values saturate.
    pub(crate) scale: u16,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            format: Format::Q4_1,
            width: 64,
            hidden: 96,
            heads: 4,
            kv: 2,
            head_len: 16,
            rotated: 16,
            vocabulary: 100,
            context: 64,
            layers: 3,
            biases: false,
            scale: 8,
        }
    }
}

/// A decoder of that shape; the same for the same seed.
pub(crate) fn random(shape: &Shape, seed: u64) -> Arc<Decoder> {
    let rng = &mut Rng(seed);
    let Shape { width, hidden, .. } = *shape;
    let (query, kv) = (shape.heads * shape.head_len, shape.kv * shape.head_len);
    let layers = (0..shape.layers).map(|_| Layer {
        attn_norm: norm(rng, width),
        attn_k: linear(rng, shape, (kv, width), shape.biases),
        attn_v: linear(rng, shape, (kv, width), shape.biases),
        attn_q: linear(rng, shape, (query, width), shape.biases),
        attn_output: linear(rng, shape, (width, query), shape.biases),
        ffn_norm: norm(rng, width),
        ffn_gate: linear(rng, shape, (hidden, width), false),
        ffn_up: linear(rng, shape, (hidden, width), false),
        ffn_down: linear(rng, shape, (width, hidden), false),
    });
    let layers = layers.collect();
    // Large enough that the token, not the layers, decides what comes next.
    let token_embd = matrix(rng, Format::Q8_0, (shape.vocabulary, width), shape.scale + 4);
    Arc::new(Decoder {
        width,
        hidden,
        heads: shape.heads,
        kv: shape.kv,
        head_len: shape.head_len,
        rotated: shape.rotated,
        vocabulary: shape.vocabulary,
        context: shape.context,
        eps: 168,
        score_scale: (2_399_655_057_223_005_247u64 / shape.head_len as u64).isqrt() as u32,
        rope: rope(rng, shape.context * shape.rotated),
        layers,
        output_norm: norm(rng, width),
        output: Linear { weights: token_embd.clone(), bias: None },
        token_embd,
    })
}

/// Norm weights around 1.
fn norm(rng: &mut Rng, len: usize) -> Norm {
    let weights = (0..len).map(|_| (1 << 30) + (rng.next() as i32 >> 3)).collect();
    Norm { weights, exponent: 30 }
}

fn linear(rng: &mut Rng, shape: &Shape, size: (usize, usize), bias: bool) -> Linear {
    let weights = matrix(rng, shape.format, size, shape.scale);
    let bias = bias.then(|| (0..size.0).map(|_| rng.next() as i32 >> 20).collect());
    Linear { weights, bias }
}

fn matrix(rng: &mut Rng, format: Format, (rows, cols): (usize, usize), scale: u16) -> Matrix {
    let mut bytes = rng.bytes(rows * format.row_bytes(cols));
    for block in bytes.chunks_mut(format.block_bytes()) {
        // Eight-bit weights are sixteen times as large as those of four bits.
        let exponent = if format == Format::Q8_0 { scale - 4 } else { scale };
        let d = exponent << 10 | rng.next() as u16 & 0x3ff;
        block[..2].copy_from_slice(&d.to_le_bytes());
        if format == Format::Q4_1 {
            // The middle of 0 … 15 is about 8: the minimum is -8 scales.
            block[2..4].copy_from_slice(&(0x8000 | (d + (3 << 10))).to_le_bytes());
        }
    }
    Matrix { format, rows, cols, bytes: Bytes::from_vec(bytes) }
}

/// Pairs of cos and sin in Q30 on the diagonals, the axes, and in between.
fn rope(rng: &mut Rng, len: usize) -> Arc<[i32]> {
    const PAIRS: [[i32; 2]; 5] = [
        [1 << 30, 0],
        [0, 1 << 30],
        [759_250_125, 759_250_125],
        [644_245_094, -858_993_459],
        [-1 << 30, 0],
    ];
    let pairs = (0..len / 2).map(|_| PAIRS[rng.below(PAIRS.len() as u64) as usize]);
    pairs.collect::<Vec<_>>().concat().into()
}
