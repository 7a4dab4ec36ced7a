//! The border between a model and what computes it: the CPU, a GPU.
//!
//! A [`Backend`] has a model's weights in place and starts [`Sequence`]s. A sequence takes tokens, any number at once, and
//! gives what is committed to: the K and V rows of the new positions, and the next token where one is due. Whatever the batch
//! sizes, the bits are those of `reference`.

use crate::decoder::Decoder;
use crate::reference::{Reference, Sampling};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What is asked of the last positions of a batch, beside their K and V rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Nothing.
    None,
    /// The next token of each of the last `n` positions, drawn as the request wants it.
    Samples(usize, Sampling),
    /// The logits of each of the last `n` positions, and the token with the largest one.
    Logits(usize),
}

impl Head {
    /// Positions with a head.
    #[must_use]
    pub fn positions(self) -> usize {
        match self {
            Self::None => 0,
            Self::Samples(n, _) | Self::Logits(n) => n,
        }
    }

    /// How the tokens are drawn.
    #[must_use]
    pub fn sampling(self) -> Sampling {
        match self {
            Self::Samples(_, sampling) => sampling,
            Self::None | Self::Logits(_) => Sampling::GREEDY,
        }
    }
}

/// Consecutive rows of one carried tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// `[position][kv][head_len]`.
    pub values: Vec<i16>,
    /// `[position][kv]`.
    pub shifts: Vec<u8>,
}

/// What a batch yields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// By slot: K_0, V_0, K_1, … of the batch's positions.
    pub carried: Vec<Rows>,
    /// The next token of each position with a head.
    pub samples: Vec<u32>,
    /// `[position with a head][vocabulary]`, if asked for.
    pub logits: Vec<i32>,
    /// Fx values at ±(2^31 − 1) in all steps of the batch. Without logits, of all sequences that went through together.
    pub saturations: u64,
}

/// Why a backend can't start or go on.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BackendError {
    /// No adapter to run on.
    #[error("no GPU was found: {0}")]
    NoAdapter(String),
    /// It computed something else than the reference.
    #[error(
        "adapter {adapter} is refused: its {kernel} differs from the reference ({detail}); update its driver or use \
         --backend cpu"
    )]
    Refused {
        /// Name and driver.
        adapter: String,
        /// Kernel that failed its self-test.
        kernel: String,
        /// Which element, and both values.
        detail: String,
    },
    /// It doesn't fit.
    #[error(
        "{what} needs {needed} bytes and {available} are available: use fewer positions, a smaller model, or --backend cpu"
    )]
    Memory {
        /// What was to be placed.
        what: String,
        /// Bytes it takes.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// The model has a size that the backend can't handle.
    #[error("{0}: use --backend cpu")]
    Unsupported(String),
    /// No backend can run the model: its sizes don't fit together.
    #[error("the model can't be run: {0}")]
    Model(String),
    /// The device failed: lost, out of memory, a shader that doesn't compile, no answer in time.
    #[error("adapter {adapter} failed: {reason}")]
    Lost {
        /// Name and driver.
        adapter: String,
        /// What it said.
        reason: String,
    },
    /// The sequence is full, or a token is not in the vocabulary.
    #[error("{0}")]
    Input(String),
}

/// A model on a device.
pub trait Backend: fmt::Debug + Send + Sync {
    /// `cpu` or `gpu`.
    fn name(&self) -> &'static str;

    /// The device's name and driver, if there is a choice of devices.
    fn adapter(&self) -> Option<String>;

    /// Positions that one call of [`Sequence::forward`] does best with; more are worked off in parts.
    fn batch(&self) -> usize;

    /// An empty sequence with room for `positions`.
    ///
    /// # Errors
    /// Too little memory, with the numbers; a lost device.
    fn sequence(self: Arc<Self>, positions: usize) -> Result<Box<dyn Sequence>, BackendError>;

    /// The device for single steps, until the answer is dropped; sequences wait meanwhile. `None`
    /// if the backend computes whole blocks only, or is at work: then the reference needn't wait.
    fn steps(&self) -> Option<Box<dyn Steps + '_>> {
        None
    }
}

/// Values of a quantized tensor, and the shifts of its groups.
pub type Quantized<'a> = (&'a [i16], &'a [u8]);

/// Single steps of a block, where every tensor is wanted. Each has the bits of its op in
/// `reference`, of inputs in the ranges that the ops before it yield.
pub trait Steps {
    /// Linear number `index` of [`Decoder::linears`], with its bias; `x` has 15 bits.
    ///
    /// # Panics
    /// If there is no such linear, or the lengths aren't its own.
    fn linear(&mut self, index: usize, x: Quantized<'_>, residual: Option<&[i32]>, out: &mut [i32]);

    /// Scores of the last position that `k` has: `q` is `[head][element]`, 12 bits; `k`
    /// `[position][KV head][element]`, 11 bits; `out` `[head][position]`.
    ///
    /// # Panics
    /// If the lengths aren't the model's.
    fn scores(&mut self, q: Quantized<'_>, k: Quantized<'_>, out: &mut [i32]);

    /// Probs of any scores and maxima: `scores` and `out` are `[head][position]`.
    ///
    /// # Panics
    /// If there isn't one maximum for each of the model's heads, or one output for each score.
    fn probs(&mut self, scores: &[i32], maxima: &[i32], out: &mut [u16]);

    /// Mix of the last position that `v` has: `probs` is `[head][position]`, at most 2^14; `sums`,
    /// any, has one for each head; `v` is `[position][KV head][element]`, 12 bits; `out`
    /// `[head][element]`.
    ///
    /// # Panics
    /// If the lengths aren't the model's.
    fn mix(&mut self, probs: &[u16], sums: &[u32], v: Quantized<'_>, out: &mut [i32]);

    /// SwiGlu of two rows of Fx.
    ///
    /// # Panics
    /// If they and the output aren't of one length.
    fn swiglu(&mut self, gate: &[i32], up: &[i32], out: &mut [i32]);
}

/// A sequence in progress.
pub trait Sequence: Send {
    /// Positions done.
    fn len(&self) -> usize;

    /// Whether no position is done.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs `tokens` as the next positions.
    ///
    /// # Errors
    /// More positions than there is room for, tokens out of the vocabulary, more heads than tokens, a failed device. After an
    /// error the sequence's state is unknown.
    fn forward(&mut self, tokens: &[u32], head: Head) -> Result<Batch, BackendError>;

    /// Goes on from K and V rows that were computed elsewhere, by slot: the next positions.
    ///
    /// # Errors
    /// As [`Self::forward`]; rows of another shape.
    fn push(&mut self, carried: &[Rows]) -> Result<(), BackendError>;

    /// Forgets all positions from `len` on.
    fn truncate(&mut self, len: usize);

    /// Time of all calls so far in which the backend worked for other sequences.
    fn waited(&self) -> Duration {
        Duration::ZERO
    }
}

/// Compares a backend with the reference on the model itself: two positions at once, then one alone, every K and V row and
/// every logit. What a test of kernels can't see, packed or uploaded weights, is seen here.
///
/// # Errors
/// [`BackendError::Refused`] with the first difference; what either of them says.
pub fn prove(backend: &Arc<dyn Backend>, decoder: &Arc<Decoder>) -> Result<(), BackendError> {
    let last = decoder.vocabulary as u32 - 1;
    let tokens = [last, 0, last / 2];
    let tokens = &tokens[..decoder.context.min(3)];
    let reference: Arc<dyn Backend> = Arc::new(Reference::new(Arc::clone(decoder))?);
    let mut own = reference.sequence(tokens.len())?;
    let mut other = Arc::clone(backend).sequence(tokens.len())?;
    for part in tokens.chunks(2) {
        let head = Head::Logits(1);
        let (own, other) = (own.forward(part, head)?, other.forward(part, head)?);
        if let Some(what) = difference(&own, &other) {
            let adapter = backend.adapter().unwrap_or_else(|| backend.name().to_owned());
            let detail = "two positions at once, then one".to_owned();
            return Err(BackendError::Refused { adapter, kernel: what, detail });
        }
    }
    Ok(())
}

/// What differs between two batches.
fn difference(a: &Batch, b: &Batch) -> Option<String> {
    let slot = a.carried.iter().zip(&b.carried).position(|(a, b)| a != b);
    match slot {
        Some(slot) => Some(format!("{} of layer {}", ["K", "V"][slot % 2], slot / 2)),
        None if a.carried.len() != b.carried.len() => Some("number of layers".into()),
        None if a.logits != b.logits => Some("logits".into()),
        None if a.samples != b.samples => Some("token".into()),
        None => None,
    }
}
