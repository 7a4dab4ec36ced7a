//! The fast path on CPUs: the bits of `reference`, with vector instructions and threads.
//!
//! A matrix is packed once at load, at the size of the file (`pack`); generation streams it from
//! memory, and a batch takes each panel from the cache for eight positions at once (`linear`). Keys
//! and values are kept as attention reads them (`cache`, `attention`). Kernels are written once
//! over `simd`; [`Isa`] picks the instruction set at run time. Positions go through in parts of
//! [`BATCH`], so memory is bounded whatever the length; sequences that are run at the same time
//! share their parts (`queue`).

mod activations;
mod arena;
mod attention;
mod cache;
mod elementwise;
mod forward;
mod head;
mod linear;
mod matmul;
mod memory;
mod mix;
mod model;
mod pack;
mod queue;
mod sample;
mod sequence;
mod simd;
mod single;
mod steps;
mod team;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod together;
mod workspace;

pub use simd::Isa;

use crate::backend::{Backend, BackendError, Sequence, Steps};
use crate::decoder::Decoder;
use memory::Budget;
use model::Model;
use queue::Queue;
use std::sync::{Arc, Mutex};
use workspace::Workspace;

/// Positions that go through the layers together.
pub const BATCH: usize = 256;

/// A decoder on the CPU. One part runs at a time, with all threads; calls of `forward` that wait
/// meanwhile go together.
#[derive(Debug)]
pub struct Cpu {
    isa: Isa,
    model: Model,
    budget: Budget,
    threads: usize,
    queue: Queue,
    workspace: Mutex<Workspace>,
}

impl Cpu {
    /// Packs `decoder` for the fastest instructions there are. It has threads of its own, by
    /// default as many as rayon's global pool, which sleep between calls.
    ///
    /// # Errors
    /// Too little memory, sizes that don't fit together, a system without threads.
    pub fn new(decoder: Arc<Decoder>, threads: Option<usize>) -> Result<Self, BackendError> {
        Self::with_isa(decoder, threads, Isa::best())
    }

    /// The same with the instructions of `isa`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_isa(
        decoder: Arc<Decoder>,
        threads: Option<usize>,
        isa: Isa,
    ) -> Result<Self, BackendError> {
        decoder.check()?;
        let threads = threads.unwrap_or_else(rayon::current_num_threads).clamp(1, 1024);
        let mut team = team::Team::new(threads).map_err(|e| BackendError::Lost {
            adapter: "cpu".to_owned(),
            reason: format!("no {threads} threads: {e}"),
        })?;
        let budget = Budget::default();
        let size = Model::size(&decoder) + Workspace::size(&decoder);
        budget.check("the packed model", size)?;
        let model = Model::new(decoder, &mut team)?;
        let workspace = Mutex::new(Workspace::new(model.decoder(), team));
        Ok(Self { isa, model, budget, threads, queue: Queue::default(), workspace })
    }
}

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn adapter(&self) -> Option<String> {
        Some(self.isa.name().to_owned())
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn sequence(self: Arc<Self>, positions: usize) -> Result<Box<dyn Sequence>, BackendError> {
        Ok(Box::new(sequence::CpuSequence::new(self, positions)?))
    }
    fn steps(&self) -> Option<Box<dyn Steps + '_>> {
        Some(Box::new(steps::CpuSteps::new(self)?))
    }
}
