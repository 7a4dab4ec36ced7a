//! A model's weights on a device, uploaded once in the file's own blocks.
//!
//! A matrix that is larger than one binding may be is split by rows; whole rows stay together.

use super::device::Device;
use crate::Format;
use crate::backend::BackendError;
use crate::decoder::{Decoder, Linear, Matrix, Norm};
use std::sync::Arc;
use wgpu::BufferUsages as Usage;

/// Bytes that are handed to the driver at once.
const UPLOAD_BYTES: usize = 32 << 20;

/// Kernels read four words at a time.
const UPLOAD_ALIGNMENT: usize = 16;

/// Consecutive rows of a matrix, in a buffer of their own.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) buffer: wgpu::Buffer,
    pub(super) first_row: u32,
    pub(super) rows: u32,
}

/// A matrix.
#[derive(Debug)]
pub(super) struct DeviceMatrix {
    pub(super) format: Format,
    pub(super) cols: u32,
    pub(super) chunks: Vec<Chunk>,
}

/// A matrix and its bias.
#[derive(Debug)]
pub(super) struct DeviceLinear {
    pub(super) matrix: Arc<DeviceMatrix>,
    pub(super) bias: Option<wgpu::Buffer>,
}

/// Weights of an RmsNorm.
#[derive(Debug)]
pub(super) struct DeviceNorm {
    pub(super) weights: wgpu::Buffer,
    pub(super) exponent: i32,
}

/// One layer.
#[derive(Debug)]
pub(super) struct DeviceLayer {
    pub(super) attn_norm: DeviceNorm,
    pub(super) attn_k: DeviceLinear,
    pub(super) attn_v: DeviceLinear,
    pub(super) attn_q: DeviceLinear,
    pub(super) attn_output: DeviceLinear,
    pub(super) ffn_norm: DeviceNorm,
    pub(super) ffn_gate: DeviceLinear,
    pub(super) ffn_up: DeviceLinear,
    pub(super) ffn_down: DeviceLinear,
}

/// All of them.
#[derive(Debug)]
pub(super) struct DeviceWeights {
    pub(super) token_embd: Arc<DeviceMatrix>,
    pub(super) rope: wgpu::Buffer,
    pub(super) layers: Vec<DeviceLayer>,
    pub(super) output_norm: DeviceNorm,
    pub(super) output: DeviceLinear,
}

/// Bytes that the weights take on a device.
pub(super) fn weight_bytes(decoder: &Decoder) -> u64 {
    let ints = |values: &[i32]| 4 * values.len() as u64;
    let linear = |l: &Linear| l.weights.bytes.len() as u64 + l.bias.as_deref().map_or(0, ints);
    let norm = |n: &Norm| ints(&n.weights);
    let layers = decoder.layers.iter().map(|l| {
        let linears =
            [&l.attn_k, &l.attn_v, &l.attn_q, &l.attn_output, &l.ffn_gate, &l.ffn_up, &l.ffn_down];
        linears.into_iter().map(linear).sum::<u64>() + norm(&l.attn_norm) + norm(&l.ffn_norm)
    });
    let tied = same_bytes(&decoder.token_embd, &decoder.output.weights);
    let embedding = if tied { 0 } else { decoder.token_embd.bytes.len() as u64 };
    layers.sum::<u64>()
        + embedding
        + linear(&decoder.output)
        + norm(&decoder.output_norm)
        + ints(&decoder.rope)
}

fn same_bytes(a: &Matrix, b: &Matrix) -> bool {
    std::ptr::eq::<[u8]>(&*a.bytes, &*b.bytes)
}

/// Brings weights to a device.
pub(super) struct Uploader<'a> {
    device: &'a Device,
    /// Largest binding, bytes.
    binding_bytes_max: u64,
    pending: usize,
}

impl<'a> Uploader<'a> {
    pub(super) fn new(device: &'a Device, binding_bytes_max: u64) -> Self {
        Self { device, binding_bytes_max, pending: 0 }
    }

    /// Uploads everything.
    pub(super) fn decoder(mut self, decoder: &Decoder) -> Result<DeviceWeights, BackendError> {
        let token_embd = Arc::new(self.matrix("token_embd", &decoder.token_embd)?);
        let head = if same_bytes(&decoder.token_embd, &decoder.output.weights) {
            Arc::clone(&token_embd)
        } else {
            Arc::new(self.matrix("output", &decoder.output.weights)?)
        };
        let bias = decoder.output.bias.as_deref();
        let output = DeviceLinear {
            matrix: head,
            bias: bias.map(|b| self.ints("output.bias", b)).transpose()?,
        };
        let layers = decoder.layers.iter().enumerate();
        let weights = DeviceWeights {
            token_embd,
            rope: self.ints("rope", &decoder.rope)?,
            layers: layers.map(|(l, layer)| self.layer(l, layer)).collect::<Result<_, _>>()?,
            output_norm: self.norm("output_norm", &decoder.output_norm)?,
            output,
        };
        self.flush()?;
        Ok(weights)
    }

    fn layer(
        &mut self,
        l: usize,
        layer: &crate::decoder::Layer,
    ) -> Result<DeviceLayer, BackendError> {
        let name = |what: &str| format!("blk.{l}.{what}");
        Ok(DeviceLayer {
            attn_norm: self.norm(&name("attn_norm"), &layer.attn_norm)?,
            attn_k: self.linear(&name("attn_k"), &layer.attn_k)?,
            attn_v: self.linear(&name("attn_v"), &layer.attn_v)?,
            attn_q: self.linear(&name("attn_q"), &layer.attn_q)?,
            attn_output: self.linear(&name("attn_output"), &layer.attn_output)?,
            ffn_norm: self.norm(&name("ffn_norm"), &layer.ffn_norm)?,
            ffn_gate: self.linear(&name("ffn_gate"), &layer.ffn_gate)?,
            ffn_up: self.linear(&name("ffn_up"), &layer.ffn_up)?,
            ffn_down: self.linear(&name("ffn_down"), &layer.ffn_down)?,
        })
    }

    fn linear(&mut self, name: &str, linear: &Linear) -> Result<DeviceLinear, BackendError> {
        let matrix = Arc::new(self.matrix(name, &linear.weights)?);
        let bias = linear.bias.as_deref();
        Ok(DeviceLinear { matrix, bias: bias.map(|b| self.ints(name, b)).transpose()? })
    }

    fn norm(&mut self, name: &str, norm: &Norm) -> Result<DeviceNorm, BackendError> {
        Ok(DeviceNorm { weights: self.ints(name, &norm.weights)?, exponent: norm.exponent })
    }

    fn ints(&mut self, name: &str, values: &[i32]) -> Result<wgpu::Buffer, BackendError> {
        self.upload(name, bytemuck::cast_slice(values))
    }

    fn matrix(&mut self, name: &str, matrix: &Matrix) -> Result<DeviceMatrix, BackendError> {
        let row_bytes = matrix.format.row_bytes(matrix.cols);
        let room = self.binding_bytes_max as usize & !(UPLOAD_ALIGNMENT - 1);
        let rows_max = (room / row_bytes.max(1)).max(1);
        let chunk = |first_row: usize| {
            let rows = rows_max.min(matrix.rows - first_row);
            Ok(Chunk {
                buffer: self.upload(name, matrix.rows(first_row..first_row + rows))?,
                first_row: first_row as u32,
                rows: rows as u32,
            })
        };
        let chunks = (0..matrix.rows).step_by(rows_max).map(chunk).collect::<Result<_, _>>()?;
        matrix.bytes.release();
        Ok(DeviceMatrix { format: matrix.format, cols: matrix.cols as u32, chunks })
    }

    /// A buffer of `bytes`, with zeros up to a whole vector of four words.
    fn upload(&mut self, name: &str, bytes: &[u8]) -> Result<wgpu::Buffer, BackendError> {
        let size = bytes.len().next_multiple_of(UPLOAD_ALIGNMENT) as u64;
        if size > self.binding_bytes_max {
            return Err(BackendError::Memory {
                what: format!("{name} in one binding on {}", self.device.name()),
                needed: size,
                available: self.binding_bytes_max,
            });
        }
        let buffer = self.device.buffer(name, size, Usage::STORAGE | Usage::COPY_DST)?;
        for (i, piece) in bytes.chunks(UPLOAD_BYTES).enumerate() {
            let at = (i * UPLOAD_BYTES) as u64;
            let (words, tail) = piece.split_at(piece.len() & !3);
            self.device.queue.write_buffer(&buffer, at, words);
            if !tail.is_empty() {
                let mut word = [0; 4];
                word[..tail.len()].copy_from_slice(tail);
                self.device.queue.write_buffer(&buffer, at + words.len() as u64, &word);
            }
            self.pending += piece.len();
            if self.pending >= UPLOAD_BYTES {
                self.flush()?;
            }
        }
        Ok(buffer)
    }

    /// Waits until the driver has taken what it was given: it keeps a copy until then.
    fn flush(&mut self) -> Result<(), BackendError> {
        self.pending = 0;
        self.device.queue.submit([]);
        self.device.wait()
    }
}
