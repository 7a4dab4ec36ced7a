//! Models of any size with the shape of published ones: Q4_0 matrices of random bits, for measuring how cost grows.
#![allow(
    clippy::float_arithmetic,
    reason = "generated weights are floats before they are imported"
)]

use crate::tiny::{Random, Shape, f32_bytes};
use rayon::prelude::*;
use refute_engine::gguf::TensorKind;
use refute_engine::gguf::write::GgufBuilder;
use refute_engine::model::convert::f32_to_f16;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

/// Names of [`shape`], in the order of their sizes.
pub const NAMES: [&str; 5] = ["15m", "135m", "1b", "7b", "13b"];

/// The shape of a published llama: layers, embedding, feed-forward, heads, KV heads, vocabulary.
pub fn shape(name: &str) -> Option<Shape> {
    let (layers, width, hidden, heads, kv_heads, vocabulary) = match name {
        "15m" => (6, 288, 768, 6, 6, 32_000),
        "135m" => (30, 576, 1_536, 9, 3, 49_152),
        "1b" => (22, 2_048, 5_632, 32, 4, 32_000),
        "7b" => (32, 4_096, 11_008, 32, 32, 32_000),
        "13b" => (40, 5_120, 13_824, 40, 40, 32_000),
        _ => return None,
    };
    let head_len = width / heads;
    let kinds = vec![TensorKind::Q4_0];
    Some(Shape {
        seed: 1,
        layers,
        heads,
        kv_heads,
        head_len,
        hidden,
        vocabulary,
        context: 2_048,
        tied: false,
        biases: false,
        kinds,
    })
}

/// Writes a model of that shape. All its weights are in memory until they are written.
///
/// # Errors
/// What the file system says.
pub fn write(shape: &Shape, path: &Path) -> io::Result<()> {
    let width = shape.heads * shape.head_len;
    let kv_width = shape.kv_heads * shape.head_len;
    let mut writer = Writer { file: shape.metadata(width), random: Random::new(shape.seed) };
    writer.matrix("token_embd", shape.vocabulary, width, 0.7);
    for l in 0..shape.layers {
        let name = |what: &str| format!("blk.{l}.{what}");
        writer.norm(&name("attn_norm"), width);
        writer.linear(&name("attn_q"), width, width);
        writer.linear(&name("attn_k"), kv_width, width);
        writer.linear(&name("attn_v"), kv_width, width);
        writer.linear(&name("attn_output"), width, width);
        writer.norm(&name("ffn_norm"), width);
        writer.linear(&name("ffn_gate"), shape.hidden, width);
        writer.linear(&name("ffn_up"), shape.hidden, width);
        writer.linear(&name("ffn_down"), width, shape.hidden);
    }
    writer.norm("output_norm", width);
    writer.matrix("output", shape.vocabulary, width, 0.05);
    let mut file = BufWriter::new(File::create(path)?);
    writer.file.write_to(&mut file)?;
    io::Write::flush(&mut file)
}

struct Writer {
    file: GgufBuilder,
    random: Random,
}

impl Writer {
    fn add(&mut self, name: &str, kind: TensorKind, dims: &[u64], bytes: Vec<u8>) {
        let name = format!("{name}.weight");
        self.file = std::mem::take(&mut self.file).tensor(&name, kind, dims, bytes);
    }

    fn norm(&mut self, name: &str, len: u32) {
        let ones = f32_bytes(&vec![1.0; len as usize]);
        self.add(name, TensorKind::F32, &[len.into()], ones);
    }

    fn linear(&mut self, name: &str, rows: u32, cols: u32) {
        self.matrix(name, rows, cols, 1.0 / (cols as f32).sqrt());
    }

    /// Weights of about this deviation: the nibbles are uniform, their deviation is 4.6.
    fn matrix(&mut self, name: &str, rows: u32, cols: u32, deviation: f32) {
        const BLOCK: usize = 18;
        let scale = f32_to_f16(deviation / 4.6).to_le_bytes();
        let seed = self.random.bits();
        let mut bytes = vec![0; rows as usize * cols as usize / 32 * BLOCK];
        bytes.par_chunks_mut(BLOCK * 1024).enumerate().for_each(|(i, piece)| {
            let mut random = Random::new(seed ^ (i as u64) << 32);
            for block in piece.chunks_exact_mut(BLOCK) {
                block[..2].copy_from_slice(&scale);
                block[2..10].copy_from_slice(&random.bits().to_le_bytes());
                block[10..].copy_from_slice(&random.bits().to_le_bytes());
            }
        });
        self.add(name, TensorKind::Q4_0, &[cols.into(), rows.into()], bytes);
    }
}
