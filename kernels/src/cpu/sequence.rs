//! A sequence on the CPU: its cache, and the parts of a batch.

use super::cache::{Cache, RowsRef};
use super::forward::{Part, Yield};
use super::memory::Promise;
use super::{BATCH, Cpu, attention};
use crate::backend::{BackendError, Batch, Head, Rows, Sequence};
use std::sync::{Arc, PoisonError};

/// Keys and values of the positions so far.
pub(super) struct CpuSequence {
    cpu: Arc<Cpu>,
    capacity: usize,
    len: usize,
    cache: Cache,
    promise: Promise,
}

impl CpuSequence {
    pub(super) fn new(cpu: Arc<Cpu>, positions: usize) -> Result<Self, BackendError> {
        let decoder = cpu.model.decoder();
        decoder.check_positions(positions)?;
        let what = format!("a sequence of {positions} positions");
        let promise = cpu.budget.promise(&what, cpu.sequence_size(positions))?;
        let cache = Cache::new(decoder.attention(), decoder.layers.len(), positions)?;
        Ok(Self { cpu, capacity: positions, len: 0, cache, promise })
    }

    fn advance(&mut self, positions: usize) {
        self.len += positions;
        self.promise.remaining(self.cpu.sequence_size(self.capacity - self.len));
    }
}

impl Cpu {
    /// Bytes that `positions` more positions take.
    fn sequence_size(&self, positions: usize) -> u64 {
        let decoder = self.model.decoder();
        let cache = Cache::size(&decoder.attention(), decoder.layers.len(), positions);
        cache + attention::Scratch::size(positions) * self.threads as u64
    }
}

impl Sequence for CpuSequence {
    fn len(&self) -> usize {
        self.len
    }

    fn forward(&mut self, tokens: &[u32], head: Head) -> Result<Batch, BackendError> {
        let cpu = self.cpu.clone();
        let decoder = cpu.model.decoder();
        decoder.check_tokens(self.capacity - self.len, tokens, head)?;
        let (groups, heads) = (tokens.len() * decoder.kv, head.positions());
        let rows = Rows { values: vec![0; groups * decoder.head_len], shifts: vec![0; groups] };
        let logits = matches!(head, Head::Logits(_));
        let mut batch = Batch {
            carried: vec![rows; 2 * decoder.layers.len()],
            samples: vec![0; heads],
            logits: vec![0; if logits { heads * decoder.vocabulary } else { 0 }],
            saturations: 0,
        };
        let first_head = tokens.len() - heads;
        // A panic has left nothing in the workspace that a later call would read before it writes
        // it.
        let mut workspace = cpu.workspace.lock().unwrap_or_else(PoisonError::into_inner);
        workspace.reserve(decoder, tokens.len().min(BATCH));
        for (i, part) in tokens.chunks(BATCH).enumerate() {
            let start = i * BATCH;
            let part = Part {
                isa: cpu.isa,
                model: &cpu.model,
                tokens: part,
                position: self.len,
                first_head: first_head.saturating_sub(start).min(part.len()),
                sampling: head.sampling(),
            };
            let to = Yield { batch: &mut batch, start, heads: start.saturating_sub(first_head) };
            part.run(&mut workspace, &mut self.cache, to);
            self.advance(part.tokens.len());
        }
        Ok(batch)
    }

    fn push(&mut self, carried: &[Rows]) -> Result<(), BackendError> {
        let decoder = self.cpu.model.decoder();
        let positions = decoder.check_rows(self.capacity - self.len, carried)?;
        let mut workspace = self.cpu.workspace.lock().unwrap_or_else(PoisonError::into_inner);
        for (l, [k, v]) in carried.as_chunks::<2>().0.iter().enumerate() {
            self.cache.write(
                &mut workspace.team,
                l,
                self.len,
                &RowsRef::from(k),
                &RowsRef::from(v),
            );
        }
        drop(workspace);
        self.advance(positions);
        Ok(())
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}
