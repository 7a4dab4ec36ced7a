//! The backend, and a sequence on it: batch in, K and V rows and tokens out.

use super::adapter::Adapter;
use super::buffers::{Buffers, Plan, head_words};
use super::device::Device;
use super::script::{Dispatch, Rows as BatchRows, Script};
use super::self_test;
use super::weights::{DeviceWeights, Uploader, weight_bytes};
use crate::backend::{Backend, BackendError, Batch, Head, Rows, Sequence};
use crate::decoder::Decoder;
use crate::reference::Sampling;
use std::sync::Arc;

/// Multiplications after which a submission is cut: a software driver on a small machine does 10^9 in a second.
const SUBMISSION_PRODUCTS: u64 = 1 << 34;

/// A model on a device.
#[derive(Debug)]
pub struct Gpu {
    device: Device,
    decoder: Arc<Decoder>,
    weights: DeviceWeights,
    binding_bytes_max: u64,
    memory_bytes: Option<u64>,
}

impl Gpu {
    /// Opens an adapter, tests it in the sizes of the model, and uploads the weights.
    ///
    /// # Errors
    /// An adapter that computes wrong, by name; a model that doesn't fit, with the numbers; what the driver says.
    pub fn open(adapter: &Adapter, decoder: &Arc<Decoder>) -> Result<Self, BackendError> {
        let memory = adapter.info().memory_bytes;
        let device = Device::open(adapter)?;
        let binding_bytes_max = device.limits().max_storage_buffer_binding_size;
        Self::on(device, decoder, binding_bytes_max, memory)
    }

    /// The same on an opened device, with bindings of at most `binding_bytes_max` and buffers of `memory_bytes` in all.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn on(
        device: Device,
        decoder: &Arc<Decoder>,
        binding_bytes_max: u64,
        memory_bytes: Option<u64>,
    ) -> Result<Self, BackendError> {
        decoder.check()?;
        if decoder.width >= 1 << 16 {
            let width = decoder.width;
            return Err(BackendError::Unsupported(format!("rows of {width} elements on a GPU")));
        }
        if decoder.heads > 256 {
            let heads = decoder.heads;
            return Err(BackendError::Unsupported(format!("{heads} query heads on a GPU")));
        }
        fits("the weights", weight_bytes(decoder), memory_bytes)?;
        self_test::run(&device, decoder)?;
        let weights = Uploader::new(&device, binding_bytes_max).decoder(decoder)?;
        let decoder = Arc::clone(decoder);
        Ok(Self { device, decoder, weights, binding_bytes_max, memory_bytes })
    }

    /// What it runs.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

fn fits(what: &str, needed: u64, available: Option<u64>) -> Result<(), BackendError> {
    match available {
        Some(available) if needed > available => {
            Err(BackendError::Memory { what: what.to_owned(), needed, available })
        }
        _ => Ok(()),
    }
}

impl Backend for Gpu {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn adapter(&self) -> Option<String> {
        Some(self.device.name().to_owned())
    }

    fn batch(&self) -> usize {
        super::buffers::ROWS_MAX
    }

    fn sequence(self: Arc<Self>, positions: usize) -> Result<Box<dyn Sequence>, BackendError> {
        Ok(Box::new(self.start(positions)?))
    }
}

impl Gpu {
    /// An empty sequence.
    pub(super) fn start(self: Arc<Self>, positions: usize) -> Result<GpuSequence, BackendError> {
        let decoder = &self.decoder;
        decoder.check_positions(positions)?;
        let plan = Plan::new(decoder, positions, self.binding_bytes_max)?;
        let needed = weight_bytes(decoder) + plan.bytes(decoder);
        fits(&format!("the model with {positions} positions"), needed, self.memory_bytes)?;
        let buffers = Buffers::new(&self.device, decoder, &plan)?;
        let dispatches = Script::build(&self.device, decoder, &self.weights, (&buffers, &plan))?;
        self.device.check()?;
        Ok(GpuSequence { gpu: self, plan, buffers, dispatches, len: 0 })
    }
}

/// A sequence in progress.
pub(super) struct GpuSequence {
    pub(super) gpu: Arc<Gpu>,
    plan: Plan,
    pub(super) buffers: Buffers,
    pub(super) dispatches: Vec<Dispatch>,
    len: usize,
}

impl Sequence for GpuSequence {
    fn len(&self) -> usize {
        self.len
    }

    fn forward(&mut self, tokens: &[u32], head: Head) -> Result<Batch, BackendError> {
        self.gpu.decoder.check_tokens(self.plan.positions - self.len, tokens, head)?;
        let heads_from = tokens.len() - head.positions();
        let Sampling { seed, temperature } = head.sampling();
        let sampling = [seed as u32, (seed >> 32) as u32, temperature, 0];
        let queue = &self.gpu.device.queue;
        queue.write_buffer(&self.buffers.sampling, 0, bytemuck::cast_slice(&sampling));
        let mut batch = Batch::default();
        batch.carried.resize_with(2 * self.gpu.decoder.layers.len(), Rows::default);
        for (i, chunk) in tokens.chunks(self.plan.rows).enumerate() {
            let start = i * self.plan.rows;
            let from = heads_from.saturating_sub(start).min(chunk.len());
            self.chunk(chunk, from, matches!(head, Head::Logits(_)), &mut batch)?;
        }
        Ok(batch)
    }

    fn push(&mut self, carried: &[Rows]) -> Result<(), BackendError> {
        let decoder = &self.gpu.decoder;
        let positions = decoder.check_rows(self.plan.positions - self.len, carried)?;
        let at = 4 * (self.len * head_words(decoder.kv, decoder.head_len).1) as u64;
        for (rows, buffer) in carried.iter().zip(&self.buffers.carried) {
            let words = to_words(rows, decoder.kv, decoder.head_len);
            self.gpu.device.queue.write_buffer(buffer, at, bytemuck::cast_slice(&words));
        }
        self.len += positions;
        self.gpu.device.check()
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl GpuSequence {
    /// Runs at most a batch's worth of rows, those from `heads_from` on with a head, and appends what they yield.
    fn chunk(
        &mut self,
        tokens: &[u32],
        heads_from: usize,
        with_logits: bool,
        out: &mut Batch,
    ) -> Result<(), BackendError> {
        let (device, b) = (&self.gpu.device, &self.buffers);
        let count = tokens.len() as u32;
        let rows = BatchRows { first: self.len as u32, count, heads_from: heads_from as u32 };
        let uniform = [rows.first, rows.count, rows.heads_from, 0];
        device.queue.write_buffer(&b.batch, 0, bytemuck::cast_slice(&uniform));
        device.queue.write_buffer(&b.tokens, 0, bytemuck::cast_slice(tokens));
        device.queue.write_buffer(&b.saturated, 0, &[0; 4]);

        let mut encoder = self.encode(rows)?;
        let (bytes, samples_at) = self.copy_results(&mut encoder, rows);
        device.submit_and_read(encoder.finish(), &b.readback, bytes, |bytes| {
            let words: Vec<u32> = bytemuck::pod_collect_to_vec(bytes);
            append(&self.gpu.decoder, &words[..samples_at], tokens.len(), &mut out.carried);
            let (samples, saturated) = words[samples_at..].split_at(words.len() - samples_at - 1);
            out.samples.extend_from_slice(samples);
            out.saturations += u64::from(saturated[0]);
        })?;
        if with_logits && heads_from < tokens.len() {
            out.logits.extend(self.read_logits(tokens.len() - heads_from)?);
        }
        self.len += tokens.len();
        Ok(())
    }

    /// Encodes all dispatches; submits what is too much for one submission.
    fn encode(&self, rows: BatchRows) -> Result<wgpu::CommandEncoder, BackendError> {
        let device = &self.gpu.device;
        let new = || device.device.create_command_encoder(&Default::default());
        let (mut encoder, mut work) = (new(), 0);
        let mut rest = &self.dispatches[..];
        while !rest.is_empty() {
            let cut = rest.iter().position(|d| {
                work += d.work(rows).1;
                work >= SUBMISSION_PRODUCTS
            });
            let (now, later) = rest.split_at(cut.map_or(rest.len(), |i| i + 1));
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                now.iter().for_each(|dispatch| dispatch.encode(&mut pass, rows));
            }
            if cut.is_some() {
                device.queue.submit([std::mem::replace(&mut encoder, new()).finish()]);
                device.wait()?;
                work = 0;
            }
            rest = later;
        }
        Ok(encoder)
    }

    /// Copies K and V rows by slot, samples, and the count of saturated values; gives the bytes, and the word where the samples
    /// start.
    fn copy_results(&self, encoder: &mut wgpu::CommandEncoder, rows: BatchRows) -> (u64, usize) {
        let (b, d) = (&self.buffers, &self.gpu.decoder);
        let row_bytes = 4 * head_words(d.kv, d.head_len).1 as u64;
        let size = u64::from(rows.count) * row_bytes;
        let mut at = 0;
        for buffer in &b.carried {
            let from = u64::from(rows.first) * row_bytes;
            encoder.copy_buffer_to_buffer(buffer, from, &b.readback, at, size);
            at += size;
        }
        let samples_at = (at / 4) as usize;
        let samples = 4 * u64::from(rows.count - rows.heads_from);
        if samples > 0 {
            encoder.copy_buffer_to_buffer(&b.samples, 0, &b.readback, at, samples);
            at += samples;
        }
        encoder.copy_buffer_to_buffer(&b.saturated, 0, &b.readback, at, 4);
        (at + 4, samples_at)
    }

    fn read_logits(&self, heads: usize) -> Result<Vec<i32>, BackendError> {
        let device = &self.gpu.device;
        let bytes = 4 * (heads * self.gpu.decoder.vocabulary) as u64;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let readback = device.buffer("logits read back", bytes + 8, usage)?;
        let mut encoder = device.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&self.buffers.logits, 0, &readback, 0, bytes);
        device.submit_and_read(encoder.finish(), &readback, bytes, bytemuck::pod_collect_to_vec)
    }
}

/// Rows as kernels write them, see `shaders/shared/heads.wgsl`.
fn to_words(rows: &Rows, kv: usize, len: usize) -> Vec<u32> {
    let (head, row) = head_words(kv, len);
    let mut words = vec![0; rows.shifts.len() / kv * row];
    let rows = words
        .chunks_exact_mut(row)
        .zip(rows.values.chunks_exact(kv * len))
        .zip(rows.shifts.chunks_exact(kv));
    for ((words, values), shifts) in rows {
        for (words, values) in words.chunks_exact_mut(head).zip(values.chunks_exact(len)) {
            for (word, pair) in words.iter_mut().zip(values.as_chunks::<2>().0) {
                *word = u32::from(pair[0] as u16) | u32::from(pair[1] as u16) << 16;
            }
        }
        for (word, shift) in words[kv * head..].iter_mut().zip(shifts) {
            *word = u32::from(*shift);
        }
    }
    words
}

/// Appends rows that a device wrote, slot after slot, `positions` each.
fn append(decoder: &Decoder, words: &[u32], positions: usize, carried: &mut Vec<Rows>) {
    let (kv, len) = (decoder.kv, decoder.head_len);
    let (head, row) = head_words(kv, len);
    carried.resize_with(2 * decoder.layers.len(), Rows::default);
    for (rows, slot) in carried.iter_mut().zip(words.chunks_exact(positions * row)) {
        for words in slot.chunks_exact(row) {
            for values in words[..kv * head].chunks_exact(head) {
                let pair = |w: &u32| [*w as u16 as i16, (*w >> 16) as u16 as i16];
                rows.values.extend(values[..len / 2].iter().flat_map(pair));
            }
            rows.shifts.extend(words[kv * head..][..kv].iter().map(|s| *s as u8));
        }
    }
}
