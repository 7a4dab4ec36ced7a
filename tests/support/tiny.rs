//! A tiny llama with every weight format that we import, generated from a seed.
//!
//! Its sizes are chosen so that every fold has an op of one unit and one of several: rows longer than 256 (norms, quantized
//! rows, logits), rows longer than 1024 (`ffn_down`), tensors of several leaves, grouped heads that straddle leaves, biases,
//! a separate head.
#![allow(
    clippy::float_arithmetic,
    reason = "generated weights are floats before they are imported"
)]

use refute_engine::gguf::write::GgufBuilder;
use refute_engine::gguf::{Gguf, TensorKind};
use refute_engine::model::Model;
use refute_engine::model::convert::{f32_to_f16, to_q8_0};
use std::sync::Arc;

/// A reproducible stream of numbers (SplitMix64: Steele, Lea, Flood, 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        (self.bits() % u64::from(n.max(1))) as u32
    }

    /// About normal, with this deviation: a sum of uniform numbers.
    pub fn normal(&mut self, deviation: f32) -> f32 {
        let uniform = |bits: u64| (bits >> 40) as f32 / (1 << 24) as f32 - 0.5;
        let sum: f32 = (0..12).map(|_| uniform(self.bits())).sum();
        sum * deviation
    }
}

/// Sizes of a generated llama.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are those of the config")]
pub struct Shape {
    pub seed: u64,
    pub layers: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_len: u32,
    pub hidden: u32,
    pub vocabulary: u32,
    pub context: u32,
    pub tied: bool,
    pub biases: bool,
    /// The kinds that the matrices take in turn.
    pub kinds: Vec<TensorKind>,
}

impl Default for Shape {
    fn default() -> Self {
        use TensorKind::{BF16, F16, F32, Q4_0, Q4_1, Q8_0};
        Self {
            seed: 1,
            layers: 2,
            heads: 6,
            kv_heads: 3,
            head_len: 48,
            hidden: 1056,
            vocabulary: 320,
            context: 1024,
            tied: false,
            biases: true,
            kinds: vec![Q8_0, Q4_0, Q4_1, F16, F32, BF16, Q4_1, Q4_0],
        }
    }
}

impl Shape {
    /// The GGUF file.
    pub fn gguf(&self) -> Vec<u8> {
        let mut random = Random::new(self.seed);
        let width = self.heads * self.head_len;
        let kv_width = self.kv_heads * self.head_len;
        let mut writer =
            Writer { shape: self, random: &mut random, file: self.metadata(width), next: 0 };
        writer.matrix("token_embd.weight", self.vocabulary, width, 0.7);
        for l in 0..self.layers {
            let name = |what: &str| format!("blk.{l}.{what}");
            writer.norm(&name("attn_norm.weight"), width);
            writer.linear(&name("attn_q"), width, width);
            writer.linear(&name("attn_k"), kv_width, width);
            writer.linear(&name("attn_v"), kv_width, width);
            writer.linear(&name("attn_output"), width, width);
            writer.norm(&name("ffn_norm.weight"), width);
            writer.linear(&name("ffn_gate"), self.hidden, width);
            writer.linear(&name("ffn_up"), self.hidden, width);
            writer.linear(&name("ffn_down"), width, self.hidden);
        }
        writer.norm("output_norm.weight", width);
        if !self.tied {
            writer.matrix("output.weight", self.vocabulary, width, 0.2);
        }
        writer.file.build()
    }

    /// The imported model.
    ///
    /// # Panics
    /// On shapes that the importer refuses.
    pub fn model(&self) -> Arc<Model> {
        let file = Gguf::from_bytes(self.gguf()).expect("a generated file is readable");
        Arc::new(Model::import(file, &|_, _| {}).expect("a generated model is importable"))
    }

    pub(crate) fn metadata(&self, width: u32) -> GgufBuilder {
        GgufBuilder::new()
            .string("general.architecture", "llama")
            .string("general.name", "tiny")
            .u32("llama.block_count", self.layers)
            .u32("llama.embedding_length", width)
            .u32("llama.feed_forward_length", self.hidden)
            .u32("llama.attention.head_count", self.heads)
            .u32("llama.attention.head_count_kv", self.kv_heads)
            .u32("llama.context_length", self.context)
            .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
            .u32("llama.rope.dimension_count", self.head_len)
            .string("tokenizer.ggml.model", "gpt2")
            .string("tokenizer.ggml.pre", "default")
            .strings("tokenizer.ggml.tokens", (0..self.vocabulary).map(|id| self.token(id)))
            .i32s(
                "tokenizer.ggml.token_type",
                (0..self.vocabulary).map(|id| if id == 0 { 3 } else { 1 }),
            )
            .strings("tokenizer.ggml.merges", Vec::<String>::new())
            .u32("tokenizer.ggml.eos_token_id", 0)
    }

    /// The 256 byte characters of GPT-2 after the stop token, then made-up words.
    fn token(&self, id: u32) -> String {
        match id {
            0 => "<|end|>".into(),
            1..=256 => byte_character((id - 1) as u8).to_string(),
            _ => format!("word{id}"),
        }
    }
}

/// GPT-2's printable stand-in for a byte (`bytes_to_unicode` in its encoder).
fn byte_character(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|b| !printable(*b)).count() as u32;
    char::from_u32(256 + before).unwrap_or('?')
}

struct Writer<'a> {
    shape: &'a Shape,
    random: &'a mut Random,
    file: GgufBuilder,
    next: usize,
}

impl Writer<'_> {
    fn add(&mut self, name: &str, kind: TensorKind, dims: &[u64], bytes: Vec<u8>) {
        self.file = std::mem::take(&mut self.file).tensor(name, kind, dims, bytes);
    }

    fn linear(&mut self, name: &str, rows: u32, cols: u32) {
        self.matrix(&format!("{name}.weight"), rows, cols, 1.5 / (cols as f32).sqrt());
        if self.shape.biases {
            let values: Vec<f32> = (0..rows).map(|_| self.random.normal(0.1)).collect();
            self.add(&format!("{name}.bias"), TensorKind::F32, &[rows.into()], f32_bytes(&values));
        }
    }

    fn norm(&mut self, name: &str, len: u32) {
        let values: Vec<f32> = (0..len).map(|_| 1.0 + self.random.normal(0.2)).collect();
        self.add(name, TensorKind::F32, &[len.into()], f32_bytes(&values));
    }

    fn matrix(&mut self, name: &str, rows: u32, cols: u32, deviation: f32) {
        let kind = self.shape.kinds[self.next % self.shape.kinds.len()];
        self.next += 1;
        let values: Vec<f32> = (0..rows * cols).map(|_| self.random.normal(deviation)).collect();
        let bytes = encode(kind, &values);
        self.add(name, kind, &[cols.into(), rows.into()], bytes);
    }
}

pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn encode(kind: TensorKind, values: &[f32]) -> Vec<u8> {
    let halves = |f: fn(f32) -> u16| values.iter().flat_map(|v| f(*v).to_le_bytes()).collect();
    match kind {
        TensorKind::F32 => f32_bytes(values),
        TensorKind::F16 => halves(f32_to_f16),
        TensorKind::BF16 => halves(|v| (v.to_bits() >> 16) as u16),
        TensorKind::Q8_0 => to_q8_0("generated", values).expect("generated values are small"),
        TensorKind::Q4_0 => values.chunks(32).flat_map(q4_0).collect(),
        TensorKind::Q4_1 => values.chunks(32).flat_map(q4_1).collect(),
        other => panic!("matrices of kind {other:?} are not generated"),
    }
}

fn q4_0(x: &[f32]) -> Vec<u8> {
    let largest = x.iter().fold(0.0f32, |a, v| if v.abs() > a.abs() { *v } else { a });
    let scale = largest / -8.0;
    let mut out = f32_to_f16(scale).to_le_bytes().to_vec();
    out.extend(nibbles(|i| if scale == 0.0 { 8.0 } else { x[i] / scale + 8.0 }));
    out
}

fn q4_1(x: &[f32]) -> Vec<u8> {
    let (min, max) = x.iter().fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
    let scale = (max - min) / 15.0;
    let mut out = f32_to_f16(scale).to_le_bytes().to_vec();
    out.extend(f32_to_f16(min).to_le_bytes());
    out.extend(nibbles(|i| if scale == 0.0 { 0.0 } else { (x[i] - min) / scale }));
    out
}

fn nibbles(value: impl Fn(usize) -> f32) -> Vec<u8> {
    let quantized = |i: usize| value(i).round().clamp(0.0, 15.0) as u8;
    (0..16).map(|i| quantized(i) | quantized(i + 16) << 4).collect()
}
