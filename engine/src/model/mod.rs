//! A model: a program, its weights, its tokenizer, and the id that commits to all of them.

pub mod config;
pub mod convert;
mod decoder;
mod import;
pub mod library;
mod tensors;
pub mod weights;

pub use config::Config;
pub use library::Library;
pub use weights::Weights;

use crate::gguf::{Gguf, GgufError};
use crate::program::Program;
use crate::program::check::{Refusal, check};
use crate::tokenizer::{Tokenizer, TokenizerError, tokenizer_hash};
use alloy::primitives::{B256, keccak256};
use alloy::sol_types::SolValue;
use rayon::prelude::*;
use refute_bisection::merkle::{MerkleError, Tree, leaf_hashes};
use refute_contracts::bindings as abi;
use refute_kernels::backend::{Backend, BackendError};
use refute_kernels::decoder::Decoder;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Version of `kernels/README.md` that this program computes.
pub const NUMERICS_VERSION: u32 = 1;

/// Leaves of the weights that one task hashes: a power of two, so that the subtrees join.
const TASK_LEAVES: u32 = 1 << 10;

/// Called with bytes done and bytes in all.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// Why a file can't be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file isn't readable GGUF.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The tokenizer in the file isn't supported.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A tree of a size that can't be.
    #[error(transparent)]
    Merkle(#[from] MerkleError),
    /// Readable, but it asks for something that we don't compute exactly.
    #[error("this model can't be run exactly: {0}")]
    Unsupported(String),
    /// A tensor that the architecture needs.
    #[error("tensor {0} is missing from the file")]
    Missing(String),
    /// The registry wouldn't take it.
    #[error("this model can't be registered{}", step_name(.step))]
    Refused {
        /// Name of the step that it is about.
        step: Option<String>,
        /// Why.
        source: Refusal,
    },
    /// A tensor of another shape.
    #[error("tensor {tensor} has dimensions {found:?}: the metadata asks for {expected:?}")]
    Shape {
        /// Name in the file.
        tensor: String,
        /// As stored, columns first.
        found: Vec<u64>,
        /// What the metadata implies.
        expected: Vec<u64>,
    },
    /// A value that can't be held exactly.
    #[error("tensor {tensor}: {value} can't be held exactly: {remedy}")]
    Value {
        /// Name in the file.
        tensor: String,
        /// The value, as text.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// What a model's publisher demands of whoever asks it or answers with it: part of the model's id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Smallest bond of an answer, wei.
    pub min_bond_wei: u128,
    /// Shortest challenge window, seconds.
    pub min_window_s: u32,
}

/// An imported model, ready to run.
#[derive(Debug)]
pub struct Model {
    /// Commits to everything below.
    pub id: B256,
    /// Sizes and constants.
    pub config: Config,
    /// The steps of a block.
    pub program: Program,
    /// The weights, mapped.
    pub weights: Weights,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// The file's chat template, if it has one.
    pub chat_template: Option<String>,
    /// What the registry stores.
    pub registration: abi::Model,
    /// Tensors that the import converted to Q8_0.
    pub converted: Vec<String>,
    /// The file's own context, where it is longer than ours.
    pub file_context: u32,
    weight_tree: Tree,
    program_tree: Tree,
    decoder: Arc<Decoder>,
    backend: Mutex<Option<Arc<dyn Backend>>>,
    spare: Mutex<Option<Arc<dyn Backend>>>,
}

impl Model {
    /// Imports a GGUF file.
    ///
    /// # Errors
    /// Files that are damaged or ask for something that isn't computed exactly, by name of what is wrong.
    pub fn open(path: &Path, progress: Progress<'_>) -> Result<Self, ImportError> {
        Self::import(Gguf::open(path)?, progress)
    }

    /// Imports a parsed file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn import(file: Gguf, progress: Progress<'_>) -> Result<Self, ImportError> {
        let config = Config::read(&file)?;
        let tokenizer = Tokenizer::from_gguf(&file)?;
        let imported = import::import(&file, &config, progress)?;
        let program = imported.program;
        let leaves: Vec<_> = program.steps.iter().map(|s| s.descriptor.leaf()).collect();
        let program_tree = Tree::new(leaf_hashes(leaves.iter().map(AsRef::as_ref)))?;
        let weight_tree = weight_tree(&imported.weights)?;
        let decoder = Arc::new(decoder::decoder(&config, &program, &imported.weights)?);
        let registration = abi::Model {
            numericsVersion: NUMERICS_VERSION,
            programRoot: program_tree.root().into(),
            weightsRoot: weight_tree.root().into(),
            tokenizerHash: tokenizer_hash(&file).into(),
            params: abi::ModelParams {
                carried: program.carried.len() as u32,
                context: config.context,
                vocabulary: config.vocabulary,
                promptSteps: program.collect + 1,
                outputSteps: program.steps.len() as u32,
                collectStep: program.collect,
                sampleStep: program.sample,
                weightLeaves: imported.weights.leaf_count(),
                minBond: 0,
                minWindowS: 0,
                stopIds: tokenizer.stop_ids().to_vec(),
            },
        };
        check(&registration, &program.packed()).map_err(|source| refused(&program, source))?;
        progress(file.len(), file.len());
        Ok(Self {
            id: model_id(&registration),
            config,
            program,
            weights: imported.weights,
            tokenizer,
            chat_template: file.opt_string("tokenizer.chat_template")?.map(str::to_owned),
            registration,
            converted: imported.converted,
            file_context: file.u32("llama.context_length")?,
            weight_tree,
            program_tree,
            decoder,
            backend: Mutex::default(),
            spare: Mutex::default(),
        })
    }

    /// The same model under other requirements, which is another model to the registry. An import has none.
    #[must_use]
    pub fn requiring(mut self, requirements: Requirements) -> Self {
        self.registration.params.minBond = requirements.min_bond_wei;
        self.registration.params.minWindowS = requirements.min_window_s;
        self.id = model_id(&self.registration);
        self
    }

    /// What its publisher demands.
    pub fn requirements(&self) -> Requirements {
        let params = &self.registration.params;
        Requirements { min_bond_wei: params.minBond, min_window_s: params.minWindowS }
    }

    /// The call that registers it.
    pub fn register_call(&self) -> abi::IModelRegistry::registerCall {
        let program = self.program.packed().into();
        abi::IModelRegistry::registerCall { model: self.registration.clone(), program }
    }

    /// The model as a backend takes it.
    pub fn decoder(&self) -> &Arc<Decoder> {
        &self.decoder
    }

    /// What runs it; `None` is the reference executor.
    pub fn backend(&self) -> Option<Arc<dyn Backend>> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets a backend run it from now on.
    pub fn set_backend(&self, backend: Arc<dyn Backend>) {
        *self.backend.lock().unwrap_or_else(PoisonError::into_inner) = Some(backend);
    }

    /// What takes over where the backend fails: made once, however many runs fail at once.
    pub(crate) fn spare(
        &self,
        make: impl FnOnce() -> Result<Arc<dyn Backend>, BackendError>,
    ) -> Result<Arc<dyn Backend>, BackendError> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backend) = &*spare {
            return Ok(Arc::clone(backend));
        }
        Ok(Arc::clone(spare.insert(make()?)))
    }

    /// The tree over all weight leaves.
    pub fn weight_tree(&self) -> &Tree {
        &self.weight_tree
    }

    /// The tree over the descriptors.
    pub fn program_tree(&self) -> &Tree {
        &self.program_tree
    }
}

fn refused(program: &Program, source: Refusal) -> ImportError {
    let index = if let Refusal::Step { step, .. } = source { Some(step as usize) } else { None };
    let step = index.and_then(|i| program.steps.get(i)).map(|s| s.name.clone());
    ImportError::Refused { step, source }
}

fn step_name(step: &Option<String>) -> String {
    step.as_ref().map_or_else(String::new, |name| format!(" ({name})"))
}

/// The id of a registration: `keccak256(abi.encode(numericsVersion, …, params))`, as the registry computes it.
pub fn model_id(model: &abi::Model) -> B256 {
    let fields = (
        model.numericsVersion,
        model.programRoot,
        model.weightsRoot,
        model.tokenizerHash,
        model.params.clone(),
    );
    keccak256(fields.abi_encode_params())
}

/// The tree over all weight leaves: a subtree for each task, joined at the top.
fn weight_tree(weights: &Weights) -> Result<Tree, MerkleError> {
    let count = weights.leaf_count();
    let subtree = |task: u32| {
        let first = task * TASK_LEAVES;
        let leaves = first..count.min(first.saturating_add(TASK_LEAVES));
        let bytes: Vec<_> = leaves.map(|leaf| weights.leaf(leaf).unwrap_or_default()).collect();
        Tree::new(leaf_hashes(bytes.iter().map(AsRef::as_ref)))
    };
    let tasks = (0..count.div_ceil(TASK_LEAVES)).into_par_iter();
    Tree::join(tasks.map(subtree).collect::<Result<_, _>>()?)
}
