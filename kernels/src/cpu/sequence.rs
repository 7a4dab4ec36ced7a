//! A sequence on the CPU: its cache, and what becomes a part with others'.

use super::cache::{self, Cache};
use super::forward::Part;
use super::memory::Promise;
use super::queue::{Job, Share};
use super::{Cpu, attention};
use crate::backend::{BackendError, Batch, Head, Rows, Sequence};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Keys and values of the positions so far.
pub(super) struct CpuSequence {
    cpu: Arc<Cpu>,
    /// Its name in the queue.
    id: u64,
    capacity: usize,
    len: usize,
    /// Lost with a part that failed.
    cache: Option<Cache>,
    promise: Promise,
    waited: Duration,
}

impl CpuSequence {
    pub(super) fn new(cpu: Arc<Cpu>, positions: usize) -> Result<Self, BackendError> {
        let decoder = cpu.model.decoder();
        decoder.check_positions(positions)?;
        let what = format!("a sequence of {positions} positions");
        let promise = cpu.budget.promise(&what, cpu.sequence_size(positions))?;
        let cache = Some(Cache::new(decoder.attention(), decoder.layers.len(), positions)?);
        let id = cpu.queue.enter();
        let waited = Duration::ZERO;
        Ok(Self { cpu, id, capacity: positions, len: 0, cache, promise, waited })
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

    pub(super) fn run(&self, shares: &mut [Share]) {
        // A panic has left nothing in the workspace that a later part would read before it writes
        // it.
        let mut workspace = self.workspace.lock().unwrap_or_else(PoisonError::into_inner);
        let rows: usize = shares.iter().map(|share| share.taken.len()).sum();
        workspace.reserve(self.model.decoder(), rows);
        Part::new(self.isa, &self.model, shares).run(&mut workspace, shares);
    }
}

impl Drop for CpuSequence {
    fn drop(&mut self) {
        self.cpu.queue.leave(self.id);
    }
}

fn lost() -> BackendError {
    let reason = "the keys and values went with a part that failed".to_owned();
    BackendError::Lost { adapter: "cpu".to_owned(), reason }
}

impl Sequence for CpuSequence {
    fn len(&self) -> usize {
        self.len
    }

    fn forward(&mut self, tokens: &[u32], head: Head) -> Result<Batch, BackendError> {
        let cpu = Arc::clone(&self.cpu);
        let decoder = cpu.model.decoder();
        decoder.check_tokens(self.capacity - self.len, tokens, head)?;
        let (groups, heads) = (tokens.len() * decoder.kv, head.positions());
        let rows = Rows { values: vec![0; groups * decoder.head_len], shifts: vec![0; groups] };
        let logits = matches!(head, Head::Logits(_));
        let batch = Batch {
            carried: vec![rows; 2 * decoder.layers.len()],
            samples: vec![0; heads],
            logits: vec![0; if logits { heads * decoder.vocabulary } else { 0 }],
            saturations: 0,
        };
        if tokens.is_empty() {
            return Ok(batch);
        }
        let cache = self.cache.take().ok_or_else(lost)?;
        let job = Job::new(tokens, head, self.len, (cache, batch));
        let job = cpu.queue.work(self.id, job, &|shares| cpu.run(shares));
        self.cache = Some(job.cache);
        self.waited += job.waited;
        self.advance(tokens.len());
        Ok(job.batch)
    }

    fn push(&mut self, carried: &[Rows]) -> Result<(), BackendError> {
        let decoder = self.cpu.model.decoder();
        let positions = decoder.check_rows(self.capacity - self.len, carried)?;
        let cache = self.cache.as_mut().ok_or_else(lost)?;
        let mut workspace = self.cpu.workspace.lock().unwrap_or_else(PoisonError::into_inner);
        for (l, [k, v]) in carried.as_chunks::<2>().0.iter().enumerate() {
            let (k, v) = (k.into(), v.into());
            let write = cache::Write { cache: &mut *cache, start: self.len, k, v };
            cache::write(&mut workspace.team, l, std::iter::once(write));
        }
        drop(workspace);
        self.advance(positions);
        Ok(())
    }

    fn waited(&self) -> Duration {
        self.waited
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}
