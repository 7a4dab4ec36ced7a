//! Which backend runs a model, and what happens when it fails.
//!
//! A model without a backend is run by [`crate::executor`], block after block. Every backend computes the same bits, so one may
//! take over from another in the middle of a run: a claim that was begun on a GPU is finished on the CPU.

use crate::model::Model;
use refute_kernels::backend::{Backend, BackendError, prove};
use refute_kernels::cpu::Cpu;
use refute_kernels::gpu::{Adapter, Gpu};
use std::sync::Arc;

/// Which kernels run a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// A GPU if there is one that computes right, else the CPU
    #[default]
    Auto,
    /// The CPU's vector kernels
    Cpu,
    /// The best adapter, also one that runs shaders on the CPU
    Gpu,
    /// The scalar reference
    Reference,
}

/// A choice of backend, as a command line gives it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Kernels
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub backend: Choice,
    /// The GPU whose name or driver contains this text (see `refute devices`)
    #[arg(long, value_name = "TEXT")]
    pub adapter: Option<String>,
    /// Threads; by default one per core
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

impl Options {
    /// Gives a model the backend that was chosen.
    ///
    /// # Errors
    /// A GPU that was asked for and isn't there, computes wrong, or is too small for the model.
    pub fn attach(&self, model: &Model) -> Result<(), BackendError> {
        if let Some(backend) = self.open(model)? {
            let adapter = backend.adapter().unwrap_or_default();
            tracing::info!(model = %model.id, backend = backend.name(), adapter, "ready");
            model.set_backend(backend);
        }
        Ok(())
    }

    fn open(&self, model: &Model) -> Result<Option<Arc<dyn Backend>>, BackendError> {
        match self.backend {
            Choice::Reference => Ok(None),
            Choice::Cpu => Ok(Some(cpu(model)?)),
            Choice::Gpu => {
                let adapter = Adapter::pick(self.adapter.as_deref())?;
                Ok(Some(gpu(model, &adapter)?))
            }
            Choice::Auto => self.best(model).map(Some),
        }
    }

    /// The GPU that `auto` takes, or the CPU. An adapter that was named and isn't there is an error: whoever names one does not
    /// expect another.
    fn best(&self, model: &Model) -> Result<Arc<dyn Backend>, BackendError> {
        let named = self.adapter.as_deref().filter(|text| !text.is_empty());
        let adapter = match Adapter::pick(named) {
            Ok(adapter) => adapter,
            Err(error) if named.is_some() => return Err(error),
            Err(_) => return cpu(model),
        };
        if !adapter.is_gpu() {
            if named.is_some() {
                tracing::warn!(
                    adapter = adapter.name(),
                    "it runs shaders on the CPU, whose own kernels are faster: --backend gpu takes it all the same"
                );
            }
            return cpu(model);
        }
        gpu(model, &adapter).or_else(|error| {
            tracing::warn!(%error, "not on the GPU: the CPU takes over");
            cpu(model)
        })
    }
}

/// The CPU backend, on the process's thread pool.
pub(crate) fn cpu(model: &Model) -> Result<Arc<dyn Backend>, BackendError> {
    proven(Arc::new(Cpu::new(Arc::clone(model.decoder()), None)?), model)
}

fn gpu(model: &Model, adapter: &Adapter) -> Result<Arc<dyn Backend>, BackendError> {
    proven(Arc::new(Gpu::open(adapter, model.decoder())?), model)
}

/// The backend, if it computes what the reference computes: nothing runs for money that didn't.
fn proven(backend: Arc<dyn Backend>, model: &Model) -> Result<Arc<dyn Backend>, BackendError> {
    prove(&backend, model.decoder())?;
    Ok(backend)
}
