//! The whole decoder with the ops of this module: position after position, step after step.
//!
//! What every other backend is compared with, and `--backend reference`. Only the rows of linears are
//! spread over threads; integer sums make that invisible.

use super::{
    embed, linear, max, mix, probs, quantize, rms_norm, rope, sample, scores, sum, swiglu,
};
use crate::backend::{Backend, BackendError, Batch, Head, Rows, Sequence};
use crate::decoder::{Decoder, Layer, Linear, Norm};
use rayon::prelude::*;
use std::sync::Arc;

/// Multiplications that are worth a task of their own.
const TASK_PRODUCTS: usize = 1 << 17;

/// The reference as a backend.
#[derive(Clone, Debug)]
pub struct Reference {
    decoder: Arc<Decoder>,
}

impl Reference {
    /// Runs `decoder`.
    ///
    /// # Errors
    /// Sizes that don't fit together.
    pub fn new(decoder: Arc<Decoder>) -> Result<Self, BackendError> {
        decoder.check()?;
        Ok(Self { decoder })
    }
}

impl Backend for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn adapter(&self) -> Option<String> {
        None
    }

    fn batch(&self) -> usize {
        1
    }

    fn sequence(self: Arc<Self>, positions: usize) -> Result<Box<dyn Sequence>, BackendError> {
        self.decoder.check_positions(positions)?;
        Ok(Box::new(ReferenceSequence {
            decoder: self.decoder.clone(),
            capacity: positions,
            len: 0,
            carried: vec![Rows::default(); 2 * self.decoder.layers.len()],
            saturations: 0,
        }))
    }
}

/// A sequence: all K and V rows so far, by slot.
struct ReferenceSequence {
    decoder: Arc<Decoder>,
    capacity: usize,
    len: usize,
    carried: Vec<Rows>,
    saturations: u64,
}

impl Sequence for ReferenceSequence {
    fn len(&self) -> usize {
        self.len
    }

    fn forward(&mut self, tokens: &[u32], head: Head) -> Result<Batch, BackendError> {
        self.decoder.check_tokens(self.capacity - self.len, tokens, head)?;
        let start = self.len;
        let first_head = tokens.len() - head.positions();
        let mut batch = Batch::default();
        self.saturations = 0;
        for (i, &token) in tokens.iter().enumerate() {
            let x = self.block(token, i >= first_head);
            if i >= first_head {
                let logits = self.logits(&x);
                let position = self.len as u32;
                batch.samples.push(sample::forward(head.sampling(), position, &logits));
                if matches!(head, Head::Logits(_)) {
                    batch.logits.extend(logits);
                }
            }
            self.len += 1;
        }
        let (groups, len) = (self.decoder.kv, self.decoder.head_len);
        batch.carried.extend(self.carried.iter().map(|rows| Rows {
            values: rows.values[start * groups * len..].to_vec(),
            shifts: rows.shifts[start * groups..].to_vec(),
        }));
        batch.saturations = self.saturations;
        Ok(batch)
    }

    fn push(&mut self, carried: &[Rows]) -> Result<(), BackendError> {
        self.len += self.decoder.check_rows(self.capacity - self.len, carried)?;
        for (all, new) in self.carried.iter_mut().zip(carried) {
            all.values.extend_from_slice(&new.values);
            all.shifts.extend_from_slice(&new.shifts);
        }
        Ok(())
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        let groups = self.len * self.decoder.kv;
        for rows in &mut self.carried {
            rows.shifts.truncate(groups);
            rows.values.truncate(groups * self.decoder.head_len);
        }
    }
}

/// A quantized tensor.
type Quantized = (Vec<i16>, Vec<u8>);

impl ReferenceSequence {
    /// The steps of one block from `token_embd` to the last layer's `ffn_down`, or, without a
    /// head, to the last layer's `v_cache`. The K and V rows are pushed.
    fn block(&mut self, token: u32, head: bool) -> Vec<i32> {
        let decoder = self.decoder.clone();
        let mut x = vec![0; decoder.width];
        let row = decoder.token_embd.rows(token as usize..token as usize + 1);
        embed::forward(decoder.token_embd.format, row, &mut x);
        self.count(&x);
        for (l, layer) in decoder.layers.iter().enumerate() {
            let normal = self.norm_quant(&layer.attn_norm, &x);
            self.keys_and_values(l, layer, &normal);
            if l + 1 == decoder.layers.len() && !head {
                break;
            }
            let mixed = self.attention(l, layer, &normal);
            let mixed = quantized(&mixed, 1, 15);
            x = self.linear(&layer.attn_output, &mixed, Some(&x));
            let normal = self.norm_quant(&layer.ffn_norm, &x);
            let gate = self.linear(&layer.ffn_gate, &normal, None);
            let up = self.linear(&layer.ffn_up, &normal, None);
            let mut product = vec![0; decoder.hidden];
            swiglu::forward(&gate, &up, &mut product);
            self.count(&product);
            x = self.linear(&layer.ffn_down, &quantized(&product, 1, 15), Some(&x));
        }
        x
    }

    fn keys_and_values(&mut self, l: usize, layer: &Layer, normal: &Quantized) {
        let k = self.linear(&layer.attn_k, normal, None);
        let k = self.rope(&k);
        let k = quantized(&k, self.decoder.kv, 11);
        let v = self.linear(&layer.attn_v, normal, None);
        let v = quantized(&v, self.decoder.kv, 12);
        for (rows, (values, shifts)) in self.carried[2 * l..].iter_mut().zip([k, v]) {
            rows.values.extend(values);
            rows.shifts.extend(shifts);
        }
    }

    /// From `attn_q` to `attn_mix`.
    fn attention(&mut self, l: usize, layer: &Layer, normal: &Quantized) -> Vec<i32> {
        let shape = self.decoder.attention();
        let q = self.linear(&layer.attn_q, normal, None);
        let q = self.rope(&q);
        let (q, q_shifts) = quantized(&q, shape.heads, 12);
        let n = shape.heads * (self.len + 1);
        let (mut s, mut maxima, mut p) = (vec![0; n], vec![0; shape.heads], vec![0; n]);
        let k = &self.carried[2 * l];
        let scale = self.decoder.score_scale;
        scores::forward(&shape, scale, &q, &q_shifts, &k.values, &k.shifts, &mut s);
        max::forward(shape.heads, &s, &mut maxima);
        probs::forward(shape.heads, &s, &maxima, &mut p);
        let mut sums = vec![0; shape.heads];
        sum::forward(shape.heads, &p, &mut sums);
        let mut out = vec![0; shape.heads * shape.len];
        let v = &self.carried[2 * l + 1];
        mix::forward(&shape, &p, &sums, &v.values, &v.shifts, &mut out);
        self.count(&out);
        out
    }

    /// From `output_norm` to `output`.
    fn logits(&mut self, x: &[i32]) -> Vec<i32> {
        let decoder = self.decoder.clone();
        let normal = self.norm_quant(&decoder.output_norm, x);
        self.linear(&decoder.output, &normal, None)
    }

    fn norm_quant(&mut self, norm: &Norm, x: &[i32]) -> Quantized {
        let mut normal = vec![0; x.len()];
        rms_norm::forward(x, &norm.weights, self.decoder.eps, norm.exponent, &mut normal);
        self.count(&normal);
        quantized(&normal, 1, 15)
    }

    fn rope(&mut self, x: &[i32]) -> Vec<i32> {
        let (head_len, rotated) = (self.decoder.head_len, self.decoder.rotated);
        let mut out = vec![0; x.len()];
        let row = &self.decoder.rope[self.len * rotated..][..rotated];
        rope::forward(x, head_len, rotated, row, &mut out);
        self.count(&out);
        out
    }

    fn linear(&mut self, l: &Linear, (x, shift): &Quantized, residual: Option<&[i32]>) -> Vec<i32> {
        let mut out = vec![0; l.weights.rows];
        let rows = (TASK_PRODUCTS / x.len()).max(1);
        out.par_chunks_mut(rows).enumerate().for_each(|(i, out)| {
            let range = i * rows..i * rows + out.len();
            linear::forward(
                l.weights.format,
                l.weights.rows(range.clone()),
                x,
                shift[0],
                l.bias.as_ref().map(|b| &b[range.clone()]),
                residual.map(|r| &r[range.clone()]),
                out,
            );
            // It runs beside a backend that has weights of its own: the file's needn't stay in memory as well.
            l.weights.release(range);
        });
        self.count(&out);
        out
    }

    /// Counts the Fx values of a tensor that are at ±(2^31 − 1).
    fn count(&mut self, x: &[i32]) {
        let saturated = x.iter().filter(|v| v.unsigned_abs() >= i32::MAX.unsigned_abs());
        self.saturations += saturated.count() as u64;
    }
}

fn quantized(x: &[i32], groups: usize, bits: u32) -> Quantized {
    let (mut values, mut shifts) = (vec![0; x.len()], vec![0; groups]);
    quantize::forward(x, groups, bits, &mut values, &mut shifts);
    (values, shifts)
}
