//! A run in progress: positions go through the model's backend in batches, a faulty block through the reference executor.
//!
//! The host keeps the K and V rows of every position, so that whatever happens to a device the run goes on elsewhere.

use super::commit::Committer;
use super::{OnBlock, RunError, Timing};
use crate::backend::cpu;
use crate::executor::{Cache, run_block};
use crate::fault::Fault;
use crate::model::Model;
use refute_bisection::merkle::Hash;
use refute_kernels::backend::{Backend, BackendError, Batch, Head, Sequence};
use refute_kernels::reference::Sampling;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A backend and its sequence; without one, the reference executor runs.
struct Machine {
    backend: Arc<dyn Backend>,
    sequence: Box<dyn Sequence>,
}

/// A run in progress.
pub(super) struct Builder<'a> {
    model: &'a Model,
    pub(super) cache: Cache,
    committer: Committer,
    sampling: Sampling,
    fault: Option<&'a Fault>,
    pub(super) timing: Timing,
    machine: Option<Machine>,
    /// Positions done.
    done: u32,
    /// Positions that there will be, at most.
    room: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        model: &'a Model,
        sampling: Sampling,
        fault: Option<&'a Fault>,
        room: usize,
    ) -> Result<Self, RunError> {
        let mut builder = Self {
            model,
            cache: Cache::new(model, room),
            committer: Committer::start(model),
            sampling,
            fault,
            timing: Timing::default(),
            machine: None,
            done: 0,
            room,
        };
        if let Some(backend) = model.backend() {
            builder.machine = Some(match Arc::clone(&backend).sequence(room) {
                Ok(sequence) => Machine { backend, sequence },
                Err(error) => builder.fall_back(backend.name(), &error)?,
            });
        }
        Ok(builder)
    }

    /// Positions that are best given at once.
    pub(super) fn batch(&self) -> usize {
        self.machine.as_ref().map_or(1, |m| m.backend.batch().max(1))
    }

    /// Which backend it was in the end, and its adapter.
    pub(super) fn backend(&self) -> (&'static str, Option<String>) {
        match &self.machine {
            // A CPU's adapter would be its instruction set, which says nothing about who computed.
            Some(machine) if machine.backend.name() == "cpu" => ("cpu", None),
            Some(machine) => (machine.backend.name(), machine.backend.adapter()),
            None => ("reference", None),
        }
    }

    /// Runs the next positions and gives the samples of the last `outputs` of them.
    pub(super) fn blocks(&mut self, tokens: &[u32], outputs: usize) -> Result<Vec<u32>, RunError> {
        let (start, waited) = (Instant::now(), self.waited());
        let mut samples = Vec::with_capacity(outputs);
        let prompts = tokens.len() - outputs;
        let mut at = 0;
        while at < tokens.len() {
            let until_fault = match self.fault {
                Some(fault) if fault.block >= self.done => (fault.block - self.done) as usize,
                _ => usize::MAX,
            };
            if until_fault == 0 || self.machine.is_none() {
                samples.extend(self.reference_block(tokens[at], at >= prompts)?);
                at += 1;
                continue;
            }
            let end = tokens.len().min(at.saturating_add(until_fault));
            let heads = end.saturating_sub(prompts.max(at));
            samples.extend(self.machine_blocks(&tokens[at..end], heads)?);
            at = end;
        }
        let others = self.waited().saturating_sub(waited);
        self.timing.add(start.elapsed().saturating_sub(others), tokens.len(), outputs);
        Ok(samples)
    }

    /// Time so far in which the backend worked for other runs.
    fn waited(&self) -> Duration {
        self.machine.as_ref().map_or(Duration::ZERO, |machine| machine.sequence.waited())
    }

    fn reference_block(&mut self, token: u32, is_output: bool) -> Result<Option<u32>, RunError> {
        let t = self.done;
        let (sampling, fault) = (self.sampling, self.fault);
        let run = run_block(self.model, &mut self.cache, (t, token), is_output, sampling, fault)?;
        let collect = &run.tensors[self.model.program.collect as usize];
        self.committer.root(collect.tree()?.root());
        self.timing.commit += run.hashing;
        self.done += 1;
        if let Some(machine) = &mut self.machine {
            let rows = self.cache.range(t as usize..self.done as usize);
            if let Err(error) = machine.sequence.push(&rows) {
                let failed = machine.backend.name();
                self.machine = Some(self.fall_back(failed, &error)?);
            }
        }
        let sample = run.tensors.last().filter(|_| is_output);
        Ok(sample.and_then(|sample| sample.words().first().copied()))
    }

    fn machine_blocks(&mut self, tokens: &[u32], heads: usize) -> Result<Vec<u32>, RunError> {
        let head = if heads == 0 { Head::None } else { Head::Samples(heads, self.sampling) };
        let batch = loop {
            let Some(machine) = &mut self.machine else { return Ok(Vec::new()) };
            match machine.sequence.forward(tokens, head) {
                Ok(batch) => break batch,
                Err(error) => {
                    let failed = machine.backend.name();
                    self.machine = Some(self.fall_back(failed, &error)?);
                }
            }
        };
        let Batch { carried, samples, .. } = batch;
        self.cache.extend(&carried);
        self.committer.rows(carried);
        self.done += tokens.len() as u32;
        Ok(samples)
    }

    /// Goes on on the CPU: for this run, and for all later ones unless only this one was too large. Fails if it is the CPU that
    /// failed.
    fn fall_back(&self, failed: &str, error: &BackendError) -> Result<Machine, RunError> {
        if failed == "cpu" || matches!(error, BackendError::Input(_)) {
            return Err(error.clone().into());
        }
        tracing::warn!(%error, position = self.done, "the CPU takes over");
        let backend = self.model.spare(|| cpu(self.model))?;
        if !matches!(error, BackendError::Memory { .. }) {
            self.model.set_backend(Arc::clone(&backend));
        }
        let mut sequence = Arc::clone(&backend).sequence(self.room)?;
        sequence.push(&self.cache.range(0..self.done as usize))?;
        Ok(Machine { backend, sequence })
    }

    /// Waits until the prompt is hashed, and counts that to the prompt.
    pub(super) fn settle(&mut self) {
        let start = Instant::now();
        self.committer.wait();
        self.timing.prefill += start.elapsed();
    }

    /// Block roots, rows and times.
    pub(super) fn finish(mut self) -> Result<(Vec<Hash>, Cache, Timing), RunError> {
        let start = Instant::now();
        let (roots, spent) = self.committer.finish()?;
        self.timing.commit += spent;
        self.timing.tail = start.elapsed();
        Ok((roots, self.cache, self.timing))
    }
}

/// Runs known tokens in batches, the last `outputs` of them with a head; tells `on_block` of each position, with its `posted`
/// or sampled token. Ends after the batch in which a sample isn't the posted token, if told to `halt` there.
pub(super) fn known(
    builder: &mut Builder<'_>,
    tokens: &[u32],
    outputs: usize,
    (posted, halt): (&[u32], bool),
    on_block: OnBlock<'_>,
) -> Result<Vec<u32>, RunError> {
    let prompts = tokens.len() - outputs;
    let mut samples = Vec::with_capacity(outputs);
    let size = builder.batch();
    for (i, chunk) in tokens.chunks(size).enumerate() {
        let start = i * size;
        let heads = (start + chunk.len()).saturating_sub(prompts.max(start));
        samples.extend(builder.blocks(chunk, heads)?);
        for position in start..start + chunk.len() {
            let index = position.checked_sub(prompts);
            let token = index.and_then(|i| posted.get(i).or_else(|| samples.get(i)).copied());
            if !on_block(position as u32 + 1, token) {
                return Err(RunError::Stopped);
            }
        }
        if halt && let Some(different) = first_difference(&samples, posted) {
            return Err(different);
        }
    }
    Ok(samples)
}

/// The first posted token that isn't the own one.
fn first_difference(samples: &[u32], posted: &[u32]) -> Option<RunError> {
    let index = samples.iter().zip(posted).position(|(own, posted)| own != posted)?;
    Some(RunError::Differs { index, posted: posted[index], expected: samples[index] })
}
