//! How well a model predicts a text: mean negative log-likelihood, perplexity, and the argmax of every position.
//!
//! A report, not a committed value: the likelihood's own softmax is in `f64`. The logits are the committed integers.
#![allow(clippy::float_arithmetic, reason = "the likelihood is a report, not a committed value")]

use crate::executor::{Cache, Tensor, run_block};
use crate::model::Model;
use crate::trace::{self, RunError};
use rayon::prelude::*;
use refute_kernels::backend::{Backend, BackendError, Head};
use refute_kernels::reference::Sampling;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What `refute eval` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Windows evaluated.
    pub windows: u32,
    /// Positions of a window.
    pub ctx: u32,
    /// Predictions made: windows · ctx.
    pub predictions: u64,
    /// Nats per token.
    pub mean_nll: f64,
    /// `exp(mean_nll)`.
    pub perplexity: f64,
    /// Fx values that were cut at ±(2^31 − 1).
    pub saturations: u64,
    /// The most likely next token at every position, window after window.
    pub argmax: Vec<u32>,
}

/// Why a text can't be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// No whole window.
    #[error(
        "{tokens} tokens are less than one window of {ctx} and its last target: lower --ctx or give more text"
    )]
    TooShort {
        /// Tokens given.
        tokens: usize,
        /// Positions of a window.
        ctx: u32,
    },
    /// The model can't take it.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The backend can't do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// One window's part of the report.
struct Window {
    nll: f64,
    saturations: u64,
    argmax: Vec<u32>,
}

/// Splits `tokens` into windows of `ctx` without overlap and predicts every next token of each from the window's own start; at
/// most `limit` windows. `progress` gets the positions done and those in all.
///
/// # Errors
/// Fewer tokens than a window, windows longer than the context, foreign tokens.
pub fn evaluate(
    model: &Model,
    tokens: &[u32],
    ctx: u32,
    limit: Option<u32>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Report, EvalError> {
    let too_short = || EvalError::TooShort { tokens: tokens.len(), ctx };
    let windows = tokens.len().saturating_sub(1).checked_div(ctx as usize).ok_or_else(too_short)?;
    let windows = windows.min(limit.unwrap_or(u32::MAX) as usize);
    if windows == 0 {
        return Err(too_short());
    }
    let context = model.config.context;
    if ctx > context {
        return Err(RunError::Context { prompt: ctx as usize, output: 0, context }.into());
    }
    trace::check_tokens(model, tokens, 0)?;

    let done = AtomicU32::new(0);
    let total = windows as u64 * u64::from(ctx);
    let report = |_: ()| progress(u64::from(done.fetch_add(1, Ordering::Relaxed)) + 1, total);
    let part = |i: usize| &tokens[i * ctx as usize..(i + 1) * ctx as usize + 1];
    let parts: Vec<Window> = match model.backend() {
        // A backend spreads its own work.
        Some(backend) => (0..windows)
            .map(|i| batched_window(&backend, part(i), &report))
            .collect::<Result<_, BackendError>>()?,
        None => (0..windows)
            .into_par_iter()
            .map(|i| window(model, part(i), &report))
            .collect::<Result<_, RunError>>()?,
    };

    let nll: f64 = parts.iter().map(|w| w.nll).sum();
    let mean_nll = nll / total as f64;
    Ok(Report {
        windows: windows as u32,
        ctx,
        predictions: total,
        mean_nll,
        perplexity: libm::exp(mean_nll),
        saturations: parts.iter().map(|w| w.saturations).sum(),
        argmax: parts.into_iter().flat_map(|w| w.argmax).collect(),
    })
}

fn window(model: &Model, tokens: &[u32], done: &impl Fn(())) -> Result<Window, RunError> {
    let mut cache = Cache::new(model, tokens.len());
    let mut window = Window { nll: 0.0, saturations: 0, argmax: Vec::new() };
    for (t, pair) in tokens.windows(2).enumerate() {
        let block = (t as u32, pair[0]);
        let run = run_block(model, &mut cache, block, true, Sampling::GREEDY, None)?;
        let tensors = run.tensors;
        let logits = tensors[tensors.len() - 2].ints();
        window.nll += nll(logits, pair[1] as usize);
        window.argmax.extend(tensors.last().map(Tensor::words).unwrap_or_default());
        let cut = |v: &&i32| v.unsigned_abs() >= i32::MAX as u32;
        window.saturations +=
            tensors.iter().map(|x| x.ints().iter().filter(cut).count() as u64).sum::<u64>();
        done(());
    }
    Ok(window)
}

/// The same on a backend, in batches.
fn batched_window(
    backend: &Arc<dyn Backend>,
    tokens: &[u32],
    done: &impl Fn(()),
) -> Result<Window, BackendError> {
    let positions = tokens.len() - 1;
    let mut sequence = Arc::clone(backend).sequence(positions)?;
    let mut window = Window { nll: 0.0, saturations: 0, argmax: Vec::new() };
    let step = backend.batch().max(1);
    for start in (0..positions).step_by(step) {
        let end = positions.min(start + step);
        let batch = sequence.forward(&tokens[start..end], Head::Logits(end - start))?;
        let width = batch.logits.len() / (end - start);
        let targets = &tokens[start + 1..=end];
        for (logits, target) in batch.logits.chunks_exact(width.max(1)).zip(targets) {
            window.nll += nll(logits, *target as usize);
            done(());
        }
        window.argmax.extend(batch.samples);
        window.saturations += batch.saturations;
    }
    Ok(window)
}

/// `−ln softmax(logits)[target]`, logits in Fx.
fn nll(logits: &[i32], target: usize) -> f64 {
    let value = |x: i32| f64::from(x) / 4096.0;
    let max = logits.iter().copied().max().unwrap_or_default();
    let sum: f64 = logits.iter().map(|x| libm::exp(value(*x) - value(max))).sum();
    libm::log(sum) + value(max) - value(logits[target])
}

#[cfg(test)]
mod tests {
    use super::nll;

    #[test]
    fn equal_logits_share_the_likelihood() {
        assert!((nll(&[7, 7, 7, 7], 2) - 4f64.ln()).abs() < 1e-12);
        assert!((nll(&[0, 4096], 1) - (1.0 + (-1f64).exp()).ln()).abs() < 1e-12);
    }
}
