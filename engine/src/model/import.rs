//! A GGUF file becomes a program and its weights.

use super::config::Config;
use super::convert;
use super::weights::{Data, Weights};
use super::{ImportError, Progress};
use crate::gguf::Gguf;
use crate::program::check::{K_BITS, LOG2E_SQUARED_Q60, Q_BITS, ROW_BITS, V_BITS};
use crate::program::{Descriptor, NO_LEAF, Op, Program, Step};
use refute_kernels::Format;
use refute_kernels::fx::isqrt;
use std::collections::BTreeSet;

/// What an import yields.
pub(super) struct Imported {
    pub(super) program: Program,
    pub(super) weights: Weights,
    /// Tensors converted at import, for the user to know.
    pub(super) converted: Vec<String>,
}

/// Builds program and weights of a llama file.
pub(super) fn import(
    file: &Gguf,
    config: &Config,
    progress: Progress<'_>,
) -> Result<Imported, ImportError> {
    let mut builder = Builder {
        file,
        config,
        progress,
        program: Program::default(),
        weights: Weights::default(),
        used: BTreeSet::new(),
        converted: Vec::new(),
        done: 0,
    };
    builder.build()?;
    builder.refuse_unused()?;
    Ok(Imported {
        program: builder.program,
        weights: builder.weights,
        converted: builder.converted,
    })
}

pub(super) struct Builder<'a> {
    pub(super) file: &'a Gguf,
    config: &'a Config,
    pub(super) progress: Progress<'a>,
    program: Program,
    pub(super) weights: Weights,
    pub(super) used: BTreeSet<String>,
    pub(super) converted: Vec<String>,
    pub(super) done: u64,
}

/// A matrix or vector in [`Weights`]: index and base leaf.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub(super) index: usize,
    pub(super) base: u32,
}

impl Builder<'_> {
    fn build(&mut self) -> Result<(), ImportError> {
        let config = self.config;
        let (width, vocabulary) = (config.width, config.vocabulary);
        let embedding =
            self.matrix("token_embd.weight", vocabulary as usize, width as usize, false)?;
        let mut residual = self.step(
            "token_embd",
            Some(embedding),
            Descriptor { n: width, k: width, groups: vocabulary, ..Descriptor::new(Op::Embed) },
        );
        let table = self.rope_table()?;
        for layer in 0..config.layers {
            residual = self.layer(layer, residual, table)?;
        }
        let norm = self.norm("output_norm", residual)?;
        let row = self.quantize("output_norm_quant", norm, width, 1, ROW_BITS, 0);
        let head = if self.file.tensor("output.weight").is_some() {
            self.matrix("output.weight", vocabulary as usize, width as usize, true)?
        } else {
            self.prove_rows("token_embd.weight", embedding.index)?;
            embedding
        };
        let bias = self.bias("output", vocabulary)?;
        let logits = self.linear_step("output", head, bias, row, None, vocabulary, width);
        self.program.sample = self.step(
            "sample",
            None,
            Descriptor {
                inputs: inputs([Some(logits), None, None]),
                n: 1,
                k: vocabulary,
                ..Descriptor::new(Op::Sample)
            },
        );
        Ok(())
    }

    fn layer(&mut self, l: u32, input: u32, table: Placed) -> Result<u32, ImportError> {
        let Config { width, hidden, heads, kv_heads, head_len, .. } = *self.config;
        let name = |what: &str| format!("blk.{l}.{what}");
        let norm = self.norm(&name("attn_norm"), input)?;
        let row = self.quantize(&name("attn_norm_quant"), norm, width, 1, ROW_BITS, 0);

        let kv_width = kv_heads * head_len;
        let k = self.linear(&name("attn_k"), row, None, kv_width, width)?;
        let k = self.rope(&name("attn_k_rope"), k, kv_width, table);
        let k = self.quantize(&name("k_cache"), k, kv_width, kv_heads, K_BITS, 2 * l + 1);
        let v = self.linear(&name("attn_v"), row, None, kv_width, width)?;
        let v = self.quantize(&name("v_cache"), v, kv_width, kv_heads, V_BITS, 2 * l + 2);
        self.program.carried.extend([k, v]);
        if l + 1 == self.config.layers {
            self.program.collect = self.step(
                "collect",
                None,
                Descriptor { n: 2 * self.config.layers, ..Descriptor::new(Op::Collect) },
            );
        }

        let q_width = heads * head_len;
        let q = self.linear(&name("attn_q"), row, None, q_width, width)?;
        let q = self.rope(&name("attn_q_rope"), q, q_width, table);
        let q = self.quantize(&name("q_quant"), q, q_width, heads, Q_BITS, 0);
        let mix = self.attention(l, q, k, v);
        let row = self.quantize(&name("attn_mix_quant"), mix, q_width, 1, ROW_BITS, 0);
        let middle = self.linear(&name("attn_output"), row, Some(input), width, q_width)?;

        let norm = self.norm(&name("ffn_norm"), middle)?;
        let row = self.quantize(&name("ffn_norm_quant"), norm, width, 1, ROW_BITS, 0);
        let gate = self.linear(&name("ffn_gate"), row, None, hidden, width)?;
        let up = self.linear(&name("ffn_up"), row, None, hidden, width)?;
        let product = self.step(
            &name("ffn_swiglu"),
            None,
            Descriptor {
                inputs: inputs([Some(gate), Some(up), None]),
                n: hidden,
                ..Descriptor::new(Op::SwiGlu)
            },
        );
        let row = self.quantize(&name("ffn_swiglu_quant"), product, hidden, 1, ROW_BITS, 0);
        self.linear(&name("ffn_down"), row, Some(middle), width, hidden)
    }

    /// Scores, softmax in its parts, and the mix of V rows.
    fn attention(&mut self, l: u32, q: u32, k: u32, v: u32) -> u32 {
        let Config { heads, kv_heads, head_len, .. } = *self.config;
        let name = |what: &str| format!("blk.{l}.{what}");
        let of = |op: Op, a: u32, b: Option<u32>, c: Option<u32>| Descriptor {
            inputs: inputs([Some(a), b, c]),
            groups: heads,
            ..Descriptor::new(op)
        };
        let scores = self.step(
            &name("attn_scores"),
            None,
            Descriptor {
                k: head_len,
                kv: kv_heads,
                c0: isqrt(LOG2E_SQUARED_Q60 / u64::from(head_len)) as u32,
                c1: 2 * l,
                ..of(Op::Scores, q, Some(k), None)
            },
        );
        let max = self.step(&name("attn_max"), None, of(Op::Max, scores, None, None));
        let probs = self.step(&name("attn_probs"), None, of(Op::Probs, scores, Some(max), None));
        let sum = self.step(&name("attn_sum"), None, of(Op::Sum, probs, None, None));
        self.step(
            &name("attn_mix"),
            None,
            Descriptor {
                k: head_len,
                kv: kv_heads,
                c1: 2 * l + 1,
                ..of(Op::Mix, probs, Some(sum), Some(v))
            },
        )
    }

    fn norm(&mut self, name: &str, input: u32) -> Result<u32, ImportError> {
        let width = self.config.width;
        let tensor = format!("{name}.weight");
        let values = self.floats(&tensor, width)?;
        let (mantissas, exponent) = convert::to_mantissas(&tensor, &values)?;
        let placed =
            self.place(tensor, Format::I32, (1, width as usize), Data::Ints(mantissas.into()))?;
        Ok(self.step(
            name,
            Some(placed),
            Descriptor {
                inputs: inputs([Some(input), None, None]),
                n: width,
                c0: self.config.epsilon,
                c1: exponent as u32,
                ..Descriptor::new(Op::RmsNorm)
            },
        ))
    }

    fn quantize(&mut self, name: &str, x: u32, n: u32, groups: u32, bits: u32, slot: u32) -> u32 {
        self.step(
            name,
            None,
            Descriptor {
                inputs: inputs([Some(x), None, None]),
                n,
                groups,
                c0: bits,
                slot,
                ..Descriptor::new(Op::Quantize)
            },
        )
    }

    fn rope(&mut self, name: &str, x: u32, n: u32, table: Placed) -> u32 {
        self.step(
            name,
            Some(table),
            Descriptor {
                inputs: inputs([Some(x), None, None]),
                n,
                k: self.config.head_len,
                c0: self.config.rotated,
                ..Descriptor::new(Op::Rope)
            },
        )
    }

    fn linear(
        &mut self,
        name: &str,
        input: u32,
        residual: Option<u32>,
        n: u32,
        k: u32,
    ) -> Result<u32, ImportError> {
        let matrix = self.matrix(&format!("{name}.weight"), n as usize, k as usize, true)?;
        let bias = self.bias(name, n)?;
        Ok(self.linear_step(name, matrix, bias, input, residual, n, k))
    }

    #[expect(clippy::too_many_arguments, reason = "a linear has these parts")]
    fn linear_step(
        &mut self,
        name: &str,
        matrix: Placed,
        bias: Option<Placed>,
        input: u32,
        residual: Option<u32>,
        n: u32,
        k: u32,
    ) -> u32 {
        let step = self.step(
            name,
            Some(matrix),
            Descriptor {
                inputs: inputs([Some(input), residual, None]),
                n,
                k,
                b: bias.map_or(NO_LEAF, |b| b.base),
                ..Descriptor::new(Op::Linear)
            },
        );
        self.program.steps[step as usize].bias = bias.map(|b| b.index);
        step
    }

    /// Appends a step; format and base leaf come from its weights.
    fn step(&mut self, name: &str, weight: Option<Placed>, descriptor: Descriptor) -> u32 {
        let mut descriptor = descriptor;
        if let Some(placed) = weight {
            descriptor.format = self.weights.tensor(placed.index).format as u8;
            descriptor.w = placed.base;
        }
        self.program.steps.push(Step {
            name: name.to_owned(),
            descriptor,
            weight: weight.map(|p| p.index),
            bias: None,
        });
        self.program.steps.len() as u32 - 1
    }

    fn rope_table(&mut self) -> Result<Placed, ImportError> {
        let config = self.config;
        let pairs = config.rotated / 2;
        let factors = match self.file.tensor("rope_freqs.weight") {
            None => vec![1.0; pairs as usize],
            Some(_) => {
                let values = self.floats("rope_freqs.weight", pairs)?;
                if let Some(bad) = values.iter().find(|v| !(v.is_finite() && **v > 0.0)) {
                    return Err(ImportError::Value {
                        tensor: "rope_freqs.weight".into(),
                        value: bad.to_string(),
                        remedy: "frequency factors must be finite and positive",
                    });
                }
                values.into_iter().map(f64::from).collect()
            }
        };
        let table =
            convert::rope_table(config.context, config.rope_base, config.rope_factor, &factors);
        let shape = (config.context as usize, config.rotated as usize);
        self.place("rope".into(), Format::I32, shape, Data::Ints(table.into()))
    }
}

fn inputs(steps: [Option<u32>; 3]) -> [u16; 3] {
    steps.map(|s| s.map_or(crate::program::NO_STEP, |s| s as u16))
}
