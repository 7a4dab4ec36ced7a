//! The sizes and constants of a llama-architecture file, checked.
#![allow(clippy::float_arithmetic, reason = "constants of the file, fixed to integers at import")]

use super::ImportError;
use crate::gguf::Gguf;

use crate::program::check::CONTEXT_MAX;

/// What the program is built from.
#[derive(Clone, Debug)]
pub struct Config {
    /// `general.name`, or empty.
    pub name: String,
    /// Layers.
    pub layers: u32,
    /// Elements of the residual stream.
    pub width: u32,
    /// Elements of the feed-forward hidden row.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Elements of a head.
    pub head_len: u32,
    /// Elements of a head that are rotated.
    pub rotated: u32,
    /// Positions: the file's context, at most [`CONTEXT_MAX`].
    pub context: u32,
    /// Tokens.
    pub vocabulary: u32,
    /// RmsNorm epsilon in units of 2^-24.
    pub epsilon: u32,
    /// RoPE base frequency.
    pub rope_base: f64,
    /// Linear position scaling: positions are divided by it.
    pub rope_factor: f64,
}

fn unsupported(what: impl Into<String>) -> ImportError {
    ImportError::Unsupported(what.into())
}

impl Config {
    /// Reads and checks the metadata.
    ///
    /// # Errors
    /// Missing keys, other architectures, and sizes outside the limits of `kernels/README.md`.
    pub fn read(file: &Gguf) -> Result<Self, ImportError> {
        let architecture = file.string("general.architecture")?;
        if architecture != "llama" {
            return Err(unsupported(format!(
                "architecture {architecture:?}: only \"llama\" is supported"
            )));
        }
        refuse_extensions(file)?;
        let heads = file.u32("llama.attention.head_count")?;
        let width = file.u32("llama.embedding_length")?;
        let head_len = match file.opt_u32("llama.attention.key_length")? {
            Some(len) => len,
            None => width.checked_div(heads).unwrap_or(0),
        };
        if let Some(len) = file.opt_u32("llama.attention.value_length")?
            && len != head_len
        {
            return Err(unsupported(format!(
                "value heads of {len} elements beside key heads of {head_len}"
            )));
        }
        let config = Self {
            name: file.opt_string("general.name")?.unwrap_or_default().to_owned(),
            layers: file.u32("llama.block_count")?,
            width,
            hidden: file.u32("llama.feed_forward_length")?,
            heads,
            kv_heads: file.opt_u32("llama.attention.head_count_kv")?.unwrap_or(heads),
            head_len,
            rotated: file.opt_u32("llama.rope.dimension_count")?.unwrap_or(head_len),
            context: file.u32("llama.context_length")?.min(CONTEXT_MAX),
            vocabulary: u32::try_from(file.strings("tokenizer.ggml.tokens")?.len())
                .map_err(|_| unsupported("a vocabulary of more than 2^32 tokens"))?,
            epsilon: epsilon(file.f32("llama.attention.layer_norm_rms_epsilon")?)?,
            rope_base: file.opt_f32("llama.rope.freq_base")?.unwrap_or(10_000.0).into(),
            rope_factor: rope_factor(file)?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ImportError> {
        let range = |what: &str, value: u32, max: u32| {
            if value == 0 || value > max {
                return Err(unsupported(format!("{what} is {value}: 1 to {max} is supported")));
            }
            Ok(())
        };
        range("llama.block_count", self.layers, 2_000)?;
        range("llama.embedding_length", self.width, 1 << 20)?;
        range("llama.feed_forward_length", self.hidden, 1 << 22)?;
        range("llama.attention.head_count", self.heads, 4_096)?;
        range("llama.attention.head_count_kv", self.kv_heads, self.heads)?;
        range("the head size", self.head_len, 256)?;
        range("llama.rope.dimension_count", self.rotated, self.head_len)?;
        range("llama.context_length", self.context, CONTEXT_MAX)?;
        range("the vocabulary", self.vocabulary, 1 << 24)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(unsupported(format!(
                "{} heads don't share {} key heads evenly",
                self.heads, self.kv_heads
            )));
        }
        if !self.rotated.is_multiple_of(2) || !self.head_len.is_multiple_of(2) {
            return Err(unsupported(format!(
                "head size {} with {} rotated elements: both must be even",
                self.head_len, self.rotated
            )));
        }
        if !(self.rope_base.is_finite() && self.rope_base > 0.0) {
            return Err(unsupported(format!("llama.rope.freq_base is {}", self.rope_base)));
        }
        Ok(())
    }
}

/// Keys that change the computation in ways that this program doesn't have.
fn refuse_extensions(file: &Gguf) -> Result<(), ImportError> {
    for key in ["llama.expert_count", "llama.attention.sliding_window"] {
        if let Some(value) = file.opt_u32(key)?
            && value > 0
        {
            return Err(unsupported(format!("{key} is {value}: only 0 is supported")));
        }
    }
    for key in [
        "llama.logit_scale",
        "llama.residual_scale",
        "llama.embedding_scale",
        "llama.attention.scale",
    ] {
        if file.metadata().contains_key(key) {
            return Err(unsupported(format!("{key} is not supported")));
        }
    }
    Ok(())
}

/// Epsilon in units of 2^-24, the same as those of a mean of squares of Fx.
fn epsilon(value: f32) -> Result<u32, ImportError> {
    let units = (f64::from(value) * f64::from(1 << 24)).round();
    if !(1.0..=f64::from(1 << 24)).contains(&units) {
        return Err(unsupported(format!(
            "llama.attention.layer_norm_rms_epsilon is {value:e}: 2^-25 to 1 is supported"
        )));
    }
    Ok(units as u32)
}

fn rope_factor(file: &Gguf) -> Result<f64, ImportError> {
    let kind = file.opt_string("llama.rope.scaling.type")?.unwrap_or("none").to_owned();
    match kind.as_str() {
        "none" => Ok(1.0),
        "linear" => {
            let factor = file.opt_f32("llama.rope.scaling.factor")?.unwrap_or(1.0);
            if !(factor.is_finite() && factor > 0.0) {
                return Err(unsupported(format!("llama.rope.scaling.factor is {factor}")));
            }
            Ok(factor.into())
        }
        other => Err(unsupported(format!("RoPE scaling {other:?}: none and linear are supported"))),
    }
}
