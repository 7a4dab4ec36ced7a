//! Where the time of a batch goes: every dispatch alone, repeated.

use super::kernel::Kernel;
use super::script::{Dispatch, Rows as BatchRows};
use super::sequence::{Gpu, GpuSequence};
use crate::backend::{BackendError, Head, Rows, Sequence as _};
use crate::reference::Sampling;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one kernel's dispatches in a batch take together.
#[derive(Clone, Copy, Debug)]
pub struct KernelTime {
    /// The kernel.
    pub kernel: Kernel,
    /// Its dispatches.
    pub dispatches: u32,
    /// Their time.
    pub spent: Duration,
    /// Bytes that they have to move: weights once, activations, keys and values.
    pub bytes: u64,
    /// Multiplications of two integers.
    pub products: u64,
}

impl Gpu {
    /// Times a batch of `rows` rows, each with a head, behind `first` positions: each dispatch `repeats` times at once.
    ///
    /// # Errors
    /// As of a sequence.
    pub fn profile(
        self: &Arc<Self>,
        first: usize,
        rows: usize,
        repeats: u32,
    ) -> Result<Vec<KernelTime>, BackendError> {
        let mut sequence = Arc::clone(self).start(first + rows)?;
        let decoder = self.decoder();
        let (values, shifts) = (first * decoder.kv * decoder.head_len, first * decoder.kv);
        let empty = Rows { values: vec![1; values], shifts: vec![0; shifts] };
        sequence.push(&vec![empty; 2 * decoder.layers.len()])?;
        // The buffers then hold what a batch leaves in them.
        let tokens: Vec<u32> = (0..rows as u32).map(|i| i % decoder.vocabulary as u32).collect();
        sequence.forward(&tokens, Head::Samples(rows, Sampling::GREEDY))?;
        let batch = BatchRows { first: first as u32, count: rows as u32, heads_from: 0 };
        let mut times: Vec<KernelTime> = Vec::new();
        for dispatch in &sequence.dispatches {
            let spent = time(&sequence, dispatch, batch, repeats)?;
            let (bytes, products) = dispatch.work(batch);
            let kernel = dispatch.kernel_of(batch);
            let new =
                KernelTime { kernel, dispatches: 0, spent: Duration::ZERO, bytes: 0, products: 0 };
            let at = times.iter().position(|t| t.kernel == kernel).unwrap_or_else(|| {
                times.push(new);
                times.len() - 1
            });
            let sum = &mut times[at];
            sum.dispatches += 1;
            sum.spent += spent;
            sum.bytes += bytes;
            sum.products += products;
        }
        Ok(times)
    }
}

fn time(
    sequence: &GpuSequence,
    dispatch: &Dispatch,
    batch: BatchRows,
    repeats: u32,
) -> Result<Duration, BackendError> {
    let device = sequence.gpu.device();
    let run = |times: u32| {
        let mut encoder = device.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            (0..times).for_each(|_| dispatch.encode(&mut pass, batch));
        }
        let start = Instant::now();
        device.queue.submit([encoder.finish()]);
        device.wait()?;
        Ok::<_, BackendError>(start.elapsed())
    };
    // What a submission itself takes is in both.
    let (one, more) = (run(1)?, run(1 + repeats)?);
    Ok(more.saturating_sub(one) / repeats.max(1))
}
