//! How fast a model runs here: with and without commitments, verified, and one block expanded.
#![allow(clippy::float_arithmetic, reason = "rates are reports")]

use crate::model::Model;
use crate::trace::{self, Run, RunError};
use refute_kernels::backend::{Backend, Head};
use refute_kernels::reference::{Reference, Sampling};
use serde::Serialize;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::Instant;

/// Short requests that are answered, and checked, at the same time; and their tokens, half of them the prompt.
const TOGETHER: usize = 8;
const SHORT: usize = 32;

/// What `refute bench` prints; rates are medians over the repeats.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `cpu`, `gpu` or `reference`.
    pub backend: String,
    /// Instruction set or adapter.
    pub adapter: Option<String>,
    /// Threads of the pool.
    pub threads: usize,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens generated.
    pub r#gen: u32,
    /// How often each was measured, one after the other.
    pub repeats: usize,
    /// The prompt, without commitments.
    pub prefill_tokens_per_s: f64,
    /// The prompt, committed to.
    pub prefill_committed_tokens_per_s: f64,
    /// Generation behind the prompt, without commitments.
    pub decode_tokens_per_s: f64,
    /// Generation behind the prompt, committed to.
    pub decode_committed_tokens_per_s: f64,
    /// What commitments add to the time of the prompt: the median over pairs of runs, one right after the other.
    pub prefill_commitment_share: f64,
    /// The same of generation.
    pub decode_commitment_share: f64,
    /// Prompt and answer checked, as a watcher does.
    pub verify_tokens_per_s: f64,
    /// Short requests that were run at the same time, each 16 + 16 tokens.
    pub together: usize,
    /// Tokens generated for all of them, committed to.
    pub generate_together_tokens_per_s: f64,
    /// Their answers checked one after the other.
    pub verify_short_tokens_per_s: f64,
    /// Their answers checked together.
    pub verify_together_tokens_per_s: f64,
    /// Positions that the hashing thread gets through.
    pub hash_positions_per_s: f64,
    /// One block with all its tensors and trees, for a dispute.
    pub expand_ms: f64,
    /// The most memory that the process held, bytes; where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// Seconds of one repeat.
#[derive(Default)]
struct Times {
    prefill: Vec<f64>,
    decode: Vec<f64>,
    prefill_committed: Vec<f64>,
    decode_committed: Vec<f64>,
    verify: Vec<f64>,
    generate_together: Vec<f64>,
    verify_short: Vec<f64>,
    verify_together: Vec<f64>,
    hash: Vec<f64>,
    expand: Vec<f64>,
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// How much longer the second of each pair took.
fn share(bare: &[f64], committed: &[f64]) -> f64 {
    let pairs = bare.iter().zip(committed);
    median(&mut pairs.map(|(bare, committed)| committed / bare.max(1e-9) - 1.0).collect::<Vec<_>>())
}

/// Measures everything `repeats` times in turn. `progress` gets what is done and how much there is.
///
/// # Errors
/// Sizes that the model can't take.
pub fn measure(
    model: &Arc<Model>,
    (prompt, answer): (usize, u32),
    repeats: usize,
    progress: &dyn Fn(u64, u64),
) -> Result<Report, RunError> {
    let vocabulary = u64::from(model.config.vocabulary);
    let token = |i: u64| ((i * 7919 + 13) % vocabulary) as u32;
    let tokens: Vec<u32> = (0..prompt as u64).map(token).collect();
    trace::check(model, &tokens, answer)?;
    let backend: Arc<dyn Backend> = match model.backend() {
        Some(backend) => backend,
        None => Arc::new(Reference::new(Arc::clone(model.decoder()))?),
    };
    let mut times = Times::default();
    for i in 0..repeats {
        progress(i as u64, repeats as u64);
        // What comes first may find the machine in another state: they take turns.
        if i % 2 == 0 {
            bare(&backend, &tokens, answer, &mut times)?;
        }
        let run = committed(model, &tokens, answer, &mut times)?;
        if i % 2 == 1 {
            bare(&backend, &tokens, answer, &mut times)?;
        }
        rest(model, &run, &mut times)?;
        short(model, &mut times)?;
    }
    // Before medians sort them.
    let prefill_commitment_share = share(&times.prefill, &times.prefill_committed);
    let decode_commitment_share = share(&times.decode, &times.decode_committed);
    let positions = (prompt + answer as usize - 1) as f64;
    let (short_prompt, short_answer) = short_sizes(model);
    let generated = (TOGETHER * short_answer) as f64;
    let checked = (TOGETHER * (short_prompt + short_answer - 1)) as f64;
    let decoded = f64::from(answer.saturating_sub(1));
    let rate = |count: f64, times: &mut [f64]| count / median(times).max(1e-9);
    Ok(Report {
        backend: backend.name().to_owned(),
        adapter: backend.adapter(),
        threads: rayon::current_num_threads(),
        prompt,
        r#gen: answer,
        repeats,
        prefill_tokens_per_s: rate(prompt as f64, &mut times.prefill),
        prefill_committed_tokens_per_s: rate(prompt as f64, &mut times.prefill_committed),
        decode_tokens_per_s: rate(decoded, &mut times.decode),
        decode_committed_tokens_per_s: rate(decoded, &mut times.decode_committed),
        prefill_commitment_share,
        decode_commitment_share,
        verify_tokens_per_s: rate(positions, &mut times.verify),
        together: TOGETHER,
        generate_together_tokens_per_s: rate(generated, &mut times.generate_together),
        verify_short_tokens_per_s: rate(checked, &mut times.verify_short),
        verify_together_tokens_per_s: rate(checked, &mut times.verify_together),
        hash_positions_per_s: rate(positions, &mut times.hash),
        expand_ms: 1e3 * median(&mut times.expand),
        peak_memory_bytes: peak_memory_bytes(),
    })
}

/// Runs without commitments.
fn bare(
    backend: &Arc<dyn Backend>,
    prompt: &[u32],
    answer: u32,
    times: &mut Times,
) -> Result<(), RunError> {
    let mut sequence = Arc::clone(backend).sequence(prompt.len() + answer as usize)?;
    let start = Instant::now();
    let mut token = 0;
    for (i, chunk) in prompt.chunks(backend.batch().max(1)).enumerate() {
        let is_last = i * backend.batch().max(1) + chunk.len() == prompt.len();
        let head = if is_last { Head::Samples(1, Sampling::GREEDY) } else { Head::None };
        token = sequence.forward(chunk, head)?.samples.last().copied().unwrap_or(token);
    }
    times.prefill.push(start.elapsed().as_secs_f64());
    let start = Instant::now();
    for _ in 1..answer {
        token = sequence.forward(&[token], Head::Samples(1, Sampling::GREEDY))?.samples[0];
    }
    times.decode.push(start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs with commitments. As without, what comes before the first position is not counted; the prompt's hashing is counted to
/// the prompt, what is left after the last position to the answer.
fn committed(
    model: &Arc<Model>,
    prompt: &[u32],
    answer: u32,
    times: &mut Times,
) -> Result<Run, RunError> {
    let run = Run::generate_exactly(model, prompt, answer)?;
    times.prefill_committed.push(run.timing.prefill.as_secs_f64());
    times.decode_committed.push((run.timing.decode + run.timing.tail).as_secs_f64());
    times.hash.push(run.timing.commit.as_secs_f64());
    Ok(run)
}

/// Verifies, and expands a block in the middle of the answer.
fn rest(model: &Arc<Model>, run: &Run, times: &mut Times) -> Result<(), RunError> {
    let mut all = |_, _| true;
    let start = Instant::now();
    Run::replay(model, run.prompt(), run.output(), None, &mut all)?;
    times.verify.push(start.elapsed().as_secs_f64());
    let start = Instant::now();
    run.expand(run.blocks() - run.output().len() as u32 / 2 - 1)?;
    times.expand.push(start.elapsed().as_secs_f64());
    Ok(())
}

/// Tokens of a short request's prompt and answer.
fn short_sizes(model: &Model) -> (usize, usize) {
    let half = (SHORT.min(model.decoder().context) / 2).max(1);
    (half, half)
}

/// Short requests: answered together, then checked one by one, then together.
fn short(model: &Arc<Model>, times: &mut Times) -> Result<(), RunError> {
    let (prompt, answer) = short_sizes(model);
    let vocabulary = model.config.vocabulary as usize;
    let token = |i: usize| (i * 6151 % vocabulary) as u32;
    let prompts: Vec<Vec<u32>> =
        (0..TOGETHER).map(|i| (0..prompt).map(|t| token(i * prompt + t)).collect()).collect();
    let start = Instant::now();
    let runs = at_once(&prompts, |prompt| Run::generate_exactly(model, prompt, answer as u32))?;
    times.generate_together.push(start.elapsed().as_secs_f64());
    let check = |run: &Run| Run::replay(model, run.prompt(), run.output(), None, &mut |_, _| true);
    let start = Instant::now();
    runs.iter().map(check).collect::<Result<Vec<_>, _>>()?;
    times.verify_short.push(start.elapsed().as_secs_f64());
    let start = Instant::now();
    at_once(&runs, check)?;
    times.verify_together.push(start.elapsed().as_secs_f64());
    Ok(())
}

/// Each in a thread of its own.
fn at_once<T: Sync>(
    what: &[T],
    run: impl Fn(&T) -> Result<Run, RunError> + Sync,
) -> Result<Vec<Run>, RunError> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = what.iter().map(|what| scope.spawn(|| run(what))).collect();
        let join = |thread: ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}

/// The most resident memory so far, from Linux's `/proc`.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
