//! The program and its weights, as plain data for a backend.
//!
//! A backend computes the same steps without reading descriptors: this is where the two descriptions meet, and the tests
//! compare what both compute.

use super::ImportError;
use super::config::Config;
use super::weights::Weights;
use crate::program::{Program, Step};
use refute_kernels::decoder::{Decoder, Layer, Linear, Norm};

/// Finds steps by name and takes their weights.
struct Source<'a> {
    program: &'a Program,
    weights: &'a Weights,
}

impl Source<'_> {
    fn step(&self, name: &str) -> Result<&Step, ImportError> {
        let step = self.program.steps.iter().find(|s| s.name == name);
        step.ok_or_else(|| ImportError::Missing(name.to_owned()))
    }

    fn linear(&self, name: &str) -> Result<Linear, ImportError> {
        let step = self.step(name)?;
        let weights = step.weight.and_then(|w| self.weights.matrix(w));
        let weights = weights.ok_or_else(|| ImportError::Missing(name.to_owned()))?;
        Ok(Linear { weights, bias: step.bias.and_then(|b| self.weights.all_ints(b)) })
    }

    fn norm(&self, name: &str) -> Result<Norm, ImportError> {
        let step = self.step(name)?;
        let weights = step.weight.and_then(|w| self.weights.all_ints(w));
        let weights = weights.ok_or_else(|| ImportError::Missing(name.to_owned()))?;
        Ok(Norm { weights, exponent: step.descriptor.c1 as i32 })
    }

    fn layer(&self, l: u32) -> Result<Layer, ImportError> {
        let linear = |what: &str| self.linear(&format!("blk.{l}.{what}"));
        let norm = |what: &str| self.norm(&format!("blk.{l}.{what}"));
        Ok(Layer {
            attn_norm: norm("attn_norm")?,
            attn_k: linear("attn_k")?,
            attn_v: linear("attn_v")?,
            attn_q: linear("attn_q")?,
            attn_output: linear("attn_output")?,
            ffn_norm: norm("ffn_norm")?,
            ffn_gate: linear("ffn_gate")?,
            ffn_up: linear("ffn_up")?,
            ffn_down: linear("ffn_down")?,
        })
    }
}

/// The decoder of a program that the importer built.
///
/// # Errors
/// None for such a program: every step and its weights are there.
pub(super) fn decoder(
    config: &Config,
    program: &Program,
    weights: &Weights,
) -> Result<Decoder, ImportError> {
    let source = Source { program, weights };
    let missing = |name: &str| ImportError::Missing(name.to_owned());
    let embed = source.step("token_embd")?.weight.and_then(|w| weights.matrix(w));
    let rope = source.step("blk.0.attn_k_rope")?.weight.and_then(|w| weights.all_ints(w));
    Ok(Decoder {
        width: config.width as usize,
        hidden: config.hidden as usize,
        heads: config.heads as usize,
        kv: config.kv_heads as usize,
        head_len: config.head_len as usize,
        rotated: config.rotated as usize,
        vocabulary: config.vocabulary as usize,
        context: config.context as usize,
        eps: config.epsilon,
        score_scale: source.step("blk.0.attn_scores")?.descriptor.c0,
        token_embd: embed.ok_or_else(|| missing("token_embd"))?,
        rope: rope.ok_or_else(|| missing("rope"))?,
        layers: (0..config.layers).map(|l| source.layer(l)).collect::<Result<_, _>>()?,
        output_norm: source.norm("output_norm")?,
        output: source.linear("output")?,
    })
}
