//! The dispatches of a block, in the order of its steps, bound once for a sequence.
//!
//! Buffers and sizes of every kernel are those of `shaders/README.md`.

use super::buffers::{Buffers, Plan, TILE};
use super::device::{Device, Pipeline};
use super::kernel::{Kernel, Variant};
use super::weights::{DeviceLinear, DeviceNorm, DeviceWeights};
use crate::backend::BackendError;
use crate::decoder::Decoder;
use std::ops::Range;
use std::sync::Arc;
use wgpu::BufferUsages as Usage;

/// Up to so many rows the kernel for few rows is quicker.
const FEW_ROWS: u32 = 3;
/// Bits of a quantized row, and of q, K and V heads.
const Q_BITS: u32 = 12;
const K_BITS: u32 = 11;
const V_BITS: u32 = 12;

/// A workgroup a row.
const A_ROW: [Extent; 3] = [Extent::Rows(1), Extent::Fixed(1), Extent::Fixed(1)];

/// Workgroups along one axis.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    /// Always the same.
    Fixed(u32),
    /// So many rows of the op a workgroup.
    Rows(u32),
    /// So many of the queries of a KV head a workgroup: each row has this many.
    Queries { per_row: u32, per_group: u32 },
    /// So many of the positions that the batch's last row sees a workgroup.
    Positions(u32),
}

/// What changes from batch to batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Position of the first row.
    pub(super) first: u32,
    /// Rows.
    pub(super) count: u32,
    /// First row with a head.
    pub(super) heads_from: u32,
}

impl Extent {
    fn groups(self, rows: u32, batch: Rows) -> u32 {
        match self {
            Self::Fixed(n) => n,
            Self::Rows(per) => rows.div_ceil(per),
            Self::Queries { per_row, per_group } => (rows * per_row).div_ceil(per_group),
            Self::Positions(per) => (batch.first + batch.count).div_ceil(per),
        }
    }
}

/// What a dispatch moves and multiplies, at least.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Bytes of weights: read once, however many rows.
    pub(super) weight_bytes: u64,
    /// Bytes and products of a row.
    pub(super) row: (u64, u64),
    /// Bytes of a position that is seen, and products of a row and a position that it sees.
    pub(super) seen: (u64, u64),
}

impl Cost {
    /// Bytes and products of a batch.
    pub(super) fn of(&self, rows: Range<u32>, first: u32) -> (u64, u64) {
        let count = u64::from(rows.end - rows.start);
        let positions = u64::from(first + rows.end);
        let pairs: u64 = rows.map(|row| u64::from(first + row) + 1).sum();
        let bytes = self.weight_bytes + count * self.row.0 + positions * self.seen.0;
        (bytes, count * self.row.1 + pairs * self.seen.1)
    }
}

/// One dispatch.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub(super) kernel: Kernel,
    pipeline: Arc<Pipeline>,
    /// For batches of few rows, if that is another kernel.
    few: Option<(Arc<Pipeline>, [Extent; 3])>,
    group: wgpu::BindGroup,
    grid: [Extent; 3],
    /// Only rows with a head; skipped if there is none.
    heads_only: bool,
    pub(super) cost: Cost,
}

impl Dispatch {
    fn rows(&self, batch: Rows) -> u32 {
        if self.heads_only { batch.count - batch.heads_from } else { batch.count }
    }

    /// Bytes and products in this batch.
    pub(super) fn work(&self, batch: Rows) -> (u64, u64) {
        let start = if self.heads_only { batch.heads_from } else { 0 };
        self.cost.of(start..batch.count, batch.first)
    }

    /// The kernel that such a batch runs.
    pub(super) fn kernel_of(&self, batch: Rows) -> Kernel {
        let is_few = self.few.is_some() && self.rows(batch) <= FEW_ROWS;
        if is_few { Kernel::Linear } else { self.kernel }
    }

    /// Appends it to a pass.
    pub(super) fn encode(&self, pass: &mut wgpu::ComputePass<'_>, batch: Rows) {
        let rows = self.rows(batch);
        if rows == 0 {
            return;
        }
        let (pipeline, grid) = match &self.few {
            Some((pipeline, grid)) if rows <= FEW_ROWS => (pipeline, grid),
            _ => (&self.pipeline, &self.grid),
        };
        let [x, y, z] = grid.map(|extent| extent.groups(rows, batch));
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

/// Builds the list.
pub(super) struct Script<'a> {
    device: &'a Device,
    decoder: &'a Decoder,
    weights: &'a DeviceWeights,
    buffers: &'a Buffers,
    plan: &'a Plan,
    dispatches: Vec<Dispatch>,
}

/// A kernel's storage buffers, those that it reads, then those that it writes.
type Bound<'a> = Vec<&'a wgpu::Buffer>;

impl<'a> Script<'a> {
    /// All dispatches of a block.
    pub(super) fn build(
        device: &'a Device,
        decoder: &'a Decoder,
        weights: &'a DeviceWeights,
        (buffers, plan): (&'a Buffers, &'a Plan),
    ) -> Result<Vec<Dispatch>, BackendError> {
        let dispatches = Vec::new();
        let mut script = Self { device, decoder, weights, buffers, plan, dispatches };
        script.embed()?;
        for l in 0..decoder.layers.len() {
            script.layer(l)?;
        }
        script.head()?;
        Ok(script.dispatches)
    }

    fn push(
        &mut self,
        variant: Variant,
        op: &[u32],
        bound: Bound<'_>,
        grid: [Extent; 3],
        heads_only: bool,
    ) -> Result<&mut Dispatch, BackendError> {
        let pipeline = self.device.pipeline(&variant)?;
        let mut words = op.to_vec();
        words.resize(op.len().next_multiple_of(4), 0);
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let uniform =
            self.device.buffer("op", bytes.len() as u64, Usage::UNIFORM | Usage::COPY_DST)?;
        self.device.queue.write_buffer(&uniform, 0, bytes);
        let all = [&self.buffers.batch, &uniform].into_iter().chain(bound);
        let group = self.device.bind(&pipeline, all.map(|b| b.as_entire_binding()).collect());
        let (few, cost) = (None, Cost::default());
        let kernel = variant.kernel;
        self.dispatches.push(Dispatch { kernel, pipeline, few, group, grid, heads_only, cost });
        let last = self.dispatches.len() - 1;
        Ok(&mut self.dispatches[last])
    }

    fn embed(&mut self) -> Result<(), BackendError> {
        let b = self.buffers;
        let table = Arc::clone(&self.weights.token_embd);
        let n = self.decoder.width as u32;
        for chunk in &table.chunks {
            let op = [n, chunk.first_row, chunk.rows];
            let bound = vec![&b.tokens, &chunk.buffer, &b.x];
            let bytes = table.format.row_bytes(n as usize) as u64 + 4 * u64::from(n);
            let variant = Kernel::Embed.of_format(table.format);
            self.push(variant, &op, bound, A_ROW, false)?.cost.row = (bytes, u64::from(n));
        }
        Ok(())
    }

    fn layer(&mut self, l: usize) -> Result<(), BackendError> {
        let (b, d) = (self.buffers, self.decoder);
        let layer = &self.weights.layers[l];
        let (k_cache, v_cache) = (&b.carried[2 * l], &b.carried[2 * l + 1]);
        let (heads, kv) = (d.heads as u32, d.kv as u32);
        // After its V the last layer goes on for rows with a head only.
        let tail = l + 1 == d.layers.len();
        self.norm_row(&layer.attn_norm, &b.x, false)?;
        self.linear(&layer.attn_k, None, &b.k, false)?;
        self.heads(&b.k, k_cache, (kv, d.rotated as u32, K_BITS), true, false)?;
        self.linear(&layer.attn_v, None, &b.v, false)?;
        self.heads(&b.v, v_cache, (kv, 0, V_BITS), true, false)?;
        self.linear(&layer.attn_q, None, &b.q, tail)?;
        self.heads(&b.q, &b.q_heads, (heads, d.rotated as u32, Q_BITS), false, tail)?;
        self.attention(k_cache, v_cache, tail)?;
        self.linear(&layer.attn_output, Some(&b.x), &b.y, tail)?;
        self.norm_row(&layer.ffn_norm, &b.y, tail)?;
        self.linear(&layer.ffn_gate, None, &b.gate, tail)?;
        self.linear(&layer.ffn_up, None, &b.up, tail)?;
        let op = [d.hidden as u32, 0, 0, u32::from(tail)];
        self.push_row(Kernel::SwiGlu, &op, vec![&b.up, &b.gate], tail)?;
        self.linear(&layer.ffn_down, Some(&b.y), &b.x, tail)
    }

    fn head(&mut self) -> Result<(), BackendError> {
        let (b, weights) = (self.buffers, self.weights);
        self.norm_row(&weights.output_norm, &b.x, true)?;
        self.linear_to(&weights.output, None, &b.logits, true, true)?;
        let vocabulary = self.decoder.vocabulary as u32;
        let bound = vec![&b.logits, &b.sampling, &b.samples];
        let row = (4 * u64::from(vocabulary), 0);
        self.push(Kernel::Sample.plain(), &[vocabulary], bound, A_ROW, true)?.cost.row = row;
        Ok(())
    }

    /// RmsNorm and Quantize: a linear's input.
    fn norm_row(
        &mut self,
        norm: &DeviceNorm,
        x: &wgpu::Buffer,
        heads_only: bool,
    ) -> Result<(), BackendError> {
        let (b, d) = (self.buffers, self.decoder);
        let op = [d.width as u32, d.eps, norm.exponent as u32, u32::from(heads_only)];
        self.push_row(Kernel::RmsNorm, &op, vec![x, &norm.weights, &b.norm], heads_only)
    }

    /// A kernel that ends in a Quantize, a workgroup a row: the buffers of the quantized row follow its own.
    fn push_row(
        &mut self,
        kernel: Kernel,
        op: &[u32],
        bound: Bound<'_>,
        heads_only: bool,
    ) -> Result<(), BackendError> {
        let b = self.buffers;
        let row = [&b.values, &b.sums, &b.shifts, &b.saturated];
        let bound = bound.into_iter().chain(row).collect();
        let variant = kernel.tuned(None, self.device.tuning());
        // An Fx row in, one out, and the quantized one.
        let n = if kernel == Kernel::MixFinish { op[0] * op[1] } else { op[0] };
        let row = (10 * u64::from(n), 0);
        self.push(variant, op, bound, A_ROW, heads_only)?.cost.row = row;
        Ok(())
    }

    fn linear(
        &mut self,
        linear: &DeviceLinear,
        residual: Option<&wgpu::Buffer>,
        out: &wgpu::Buffer,
        heads_only: bool,
    ) -> Result<(), BackendError> {
        self.linear_to(linear, residual, out, heads_only, false)
    }

    /// `packed`: row 0 of `out` is the first row with a head.
    fn linear_to(
        &mut self,
        linear: &DeviceLinear,
        residual: Option<&wgpu::Buffer>,
        out: &wgpu::Buffer,
        heads_only: bool,
        packed: bool,
    ) -> Result<(), BackendError> {
        let b = self.buffers;
        let tuning = self.device.tuning();
        let matrix = &linear.matrix;
        let n: u32 = matrix.chunks.iter().map(|c| c.rows).sum();
        for chunk in &matrix.chunks {
            let flags = [linear.bias.is_some(), residual.is_some(), heads_only, packed];
            let mut op = vec![chunk.rows, n, chunk.first_row, matrix.cols];
            op.extend(flags.map(u32::from));
            let bias = linear.bias.as_ref().unwrap_or(&b.none);
            let residual = residual.unwrap_or(&b.none);
            let inputs = [&chunk.buffer, &b.values, &b.sums, &b.shifts, bias, residual];
            let bound = inputs.into_iter().chain([out, &b.saturated]).collect();
            let few = self.device.pipeline(&Kernel::Linear.tuned(Some(matrix.format), tuning))?;
            let many = Kernel::LinearBatch.tuned(Some(matrix.format), tuning);
            let grid = |kernel| {
                let (rows, positions) = tuning.tile(kernel);
                [
                    Extent::Fixed(chunk.rows.div_ceil(rows)),
                    Extent::Rows(positions),
                    Extent::Fixed(1),
                ]
            };
            let dispatch = self.push(many, &op, bound, grid(Kernel::LinearBatch), heads_only)?;
            dispatch.few = Some((few, grid(Kernel::Linear)));
            let (rows, cols) = (u64::from(chunk.rows), u64::from(matrix.cols));
            dispatch.cost = Cost {
                weight_bytes: matrix.format.row_bytes(matrix.cols as usize) as u64 * rows,
                row: (2 * cols + 4 * rows, rows * cols),
                ..Cost::default()
            };
        }
        Ok(())
    }

    /// Rope, if heads are rotated, and Quantize a head.
    fn heads(
        &mut self,
        x: &wgpu::Buffer,
        out: &wgpu::Buffer,
        (heads, rotated, bits): (u32, u32, u32),
        at_position: bool,
        heads_only: bool,
    ) -> Result<(), BackendError> {
        let flags = [at_position, heads_only].map(u32::from);
        let op = [heads, self.decoder.head_len as u32, rotated, bits, flags[0], flags[1]];
        let bound = vec![x, &self.weights.rope, out, &self.buffers.saturated];
        let grid = [Extent::Fixed(heads), Extent::Rows(1), Extent::Fixed(1)];
        let n = u64::from(heads) * self.decoder.head_len as u64;
        self.push(Kernel::Rope.plain(), &op, bound, grid, heads_only)?.cost.row = (6 * n, 2 * n);
        Ok(())
    }

    fn attention(
        &mut self,
        k: &wgpu::Buffer,
        v: &wgpu::Buffer,
        heads_only: bool,
    ) -> Result<(), BackendError> {
        let (b, d) = (self.buffers, self.decoder);
        let [heads, kv, len] = [d.heads, d.kv, d.head_len].map(|n| n as u32);
        let tiles = self.plan.tiles as u32;
        let stride = tiles * TILE as u32;
        let flag = u32::from(heads_only);
        let queries = Extent::Queries { per_row: heads / kv, per_group: 4 };
        let grid = [Extent::Positions(TILE as u32), queries, Extent::Fixed(kv)];
        let op = [heads, kv, len, d.score_scale, stride, tiles, flag];
        let bound = vec![&b.q_heads, k, &b.scores, &b.maxima];
        let seen = (2 * u64::from(kv * len), u64::from(heads * len));
        self.push(Kernel::Scores.plain(), &op, bound, grid, heads_only)?.cost.seen = seen;
        let op = [heads, kv, len, stride, tiles, flag];
        let bound = vec![&b.scores, &b.maxima, v, &b.prob_sums, &b.mix_parts];
        self.push(Kernel::mix(len, self.device.tuning()), &op, bound, grid, heads_only)?
            .cost
            .seen = seen;
        let bound = vec![&b.prob_sums, &b.mix_parts, &b.mix];
        self.push_row(Kernel::MixFinish, &[heads, len, tiles, flag], bound, heads_only)
    }
}
