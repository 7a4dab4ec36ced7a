//! What computing and checking a claim cost, known before either is run.
//!
//! [`Cost`] counts it from the sizes of model and claim alone. [`Gauge`] puts it into seconds, by what the model's backend was
//! measured to do on this machine, and learns from what was run since.
#![allow(
    clippy::float_arithmetic,
    reason = "rates and seconds are estimates, nothing is committed to"
)]

use crate::model::Model;
use refute_kernels::backend::{Backend, BackendError, Head, Rows, Sequence};
use refute_kernels::decoder::{Decoder, Linear};
use refute_kernels::reference::{Reference, Sampling};
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Positions of a batch that is measured: the most that it is worth, and the fewest that say something.
const MEASURED_POSITIONS: Range<usize> = 8..64;
/// What measuring one batch may take, seconds.
const MEASURED_S: f64 = 0.5;
/// K and V rows that are made up to measure attention, bytes at most.
const MEASURED_BYTES: usize = 64 << 20;
/// Measurements of each; the best counts.
const TURNS: usize = 2;
/// Checks that run at the same time, at most.
pub const AT_ONCE_MAX: usize = 128;
/// How long these may take together: a longer one fills the machine by itself, and would only delay the others.
const AT_ONCE: Duration = Duration::from_secs(2);
/// What these may keep in memory together, bytes; a single one may take more.
const AT_ONCE_BYTES: u64 = 512 << 20;
/// How far a gauge follows the last run, and how far off it may come to think it is.
const FOLLOW: f64 = 0.3;
const CORRECTION: Range<f64> = 0.05..50.0;

/// What a run takes, whatever it is run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Positions that go through the layers: prompt + output − 1.
    pub positions: u64,
    /// Products of a weight and an activation.
    pub weight_multiply_accumulates: u64,
    /// Products with keys and values; they grow with the square of the positions.
    pub attention_multiply_accumulates: u64,
    /// Weights, once a batch, and the K and V rows that the batch sees: bytes that come from memory.
    pub bytes_read: u64,
    /// K and V rows of the backend and of the host, which stay until the verdict.
    pub memory_bytes: u64,
}

impl Cost {
    /// Of a claim with so many tokens. One that is longer than the model's context is refused before it costs anything; it
    /// counts as the longest.
    pub fn of(model: &Model, prompt: usize, output: usize) -> Self {
        let batch = model.backend().map_or(1, |backend| backend.batch());
        Self::of_decoder(model.decoder(), batch, prompt, output)
    }

    fn of_decoder(decoder: &Decoder, batch: usize, prompt: usize, output: usize) -> Self {
        let context = decoder.context as u64;
        let positions =
            (prompt as u64).saturating_add(output as u64).saturating_sub(1).min(context);
        let outputs = (output as u64).min(positions);
        let weights = |linear: &&Linear| (linear.weights.rows * linear.weights.cols) as u64;
        let mut products = outputs * weights(&&decoder.output);
        for (l, layer) in decoder.layers.iter().enumerate() {
            let [k, v, rest @ ..] = layer.linears();
            let rest: u64 = rest.iter().map(weights).sum();
            // What follows the last layer's V is only computed where a token is due.
            let is_last = l + 1 == decoder.layers.len();
            products += positions * (weights(&k) + weights(&v));
            products += rest * if is_last { outputs } else { positions };
        }
        let layers = decoder.layers.len() as u64;
        let upto = |n: u64| n * (n + 1) / 2;
        let pairs = layers * upto(positions) - upto(positions - outputs) * layers.min(1);
        let row_bytes = row_bytes(decoder) as u64;
        let batch = batch.max(1) as u64;
        let ends = (1..=positions.div_ceil(batch)).map(|i| positions.min(i * batch));
        let head_bytes = |end: u64| u64::from(end > positions - outputs) * bytes(&decoder.output);
        let layer_bytes = layer_bytes(decoder);
        Self {
            positions,
            weight_multiply_accumulates: products,
            attention_multiply_accumulates: pairs * attention_products(decoder),
            bytes_read: ends.map(|end| layer_bytes + head_bytes(end) + end * row_bytes).sum(),
            memory_bytes: 2 * positions * row_bytes,
        }
    }

    /// Of an answer with so many tokens: of the prompt and the first token, which are a check of them; and of the tokens
    /// behind it, one by one.
    fn of_answer(model: &Model, prompt: usize, output: usize) -> [Self; 2] {
        let alone = |output| Self::of_decoder(model.decoder(), 1, prompt, output);
        [Self::of(model, prompt, 1), alone(output).beyond(&alone(1))]
    }

    /// What this one takes more than another.
    fn beyond(&self, other: &Self) -> Self {
        let beyond = |field: fn(&Self) -> u64| field(self).saturating_sub(field(other));
        Self {
            positions: beyond(|c| c.positions),
            weight_multiply_accumulates: beyond(|c| c.weight_multiply_accumulates),
            attention_multiply_accumulates: beyond(|c| c.attention_multiply_accumulates),
            bytes_read: beyond(|c| c.bytes_read),
            memory_bytes: beyond(|c| c.memory_bytes),
        }
    }

    /// All products.
    pub fn multiply_accumulates(&self) -> u64 {
        self.weight_multiply_accumulates + self.attention_multiply_accumulates
    }
}

/// Products of a query position with one position's keys and values, in one layer.
fn attention_products(decoder: &Decoder) -> u64 {
    2 * (decoder.heads * decoder.head_len) as u64
}

/// Bytes of one position's K and V rows.
fn row_bytes(decoder: &Decoder) -> usize {
    2 * decoder.layers.len() * decoder.kv * (2 * decoder.head_len + 1)
}

fn bytes(linear: &Linear) -> u64 {
    (linear.weights.rows * linear.weights.format.row_bytes(linear.weights.cols)) as u64
}

fn layer_bytes(decoder: &Decoder) -> u64 {
    decoder.layers.iter().flat_map(|layer| layer.linears()).map(bytes).sum()
}

/// How many of these checks, each with the time that it is expected to take, are best run at the same time: the first ones,
/// while they are short and small together. A backend that takes positions of several runs at once reads the weights once for
/// all of them.
pub fn at_once<'a>(checks: impl IntoIterator<Item = (&'a Cost, Duration)>) -> usize {
    let (mut memory_bytes, mut time) = (0u64, Duration::ZERO);
    let fits = |(i, (cost, expected)): &(usize, (&Cost, Duration))| {
        memory_bytes = memory_bytes.saturating_add(cost.memory_bytes);
        time = time.saturating_add(*expected);
        *i == 0 || time <= AT_ONCE && memory_bytes <= AT_ONCE_BYTES
    };
    checks.into_iter().take(AT_ONCE_MAX).enumerate().take_while(fits).count()
}

/// How fast a model runs on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    /// Bytes a second, where nothing else takes longer: one position at a time.
    read: f64,
    /// Products with weights a second, in a batch.
    weights: f64,
    /// Products with keys and values a second, in a batch.
    attention: f64,
    /// What runs took, against what was expected of them.
    correction: f64,
}

impl Gauge {
    /// Measures a model's backend: a token alone, a batch, and the same batch behind many positions. Takes about as long as
    /// a check of two hundred positions, at most a few seconds.
    ///
    /// # Errors
    /// What the backend says.
    pub fn measure(model: &Model) -> Result<Self, BackendError> {
        let decoder = model.decoder();
        let backend: Arc<dyn Backend> = match model.backend() {
            Some(backend) => backend,
            None => Arc::new(Reference::new(Arc::clone(decoder))?),
        };
        let token = |i: usize| (i * 7919 + 13) as u32 % decoder.vocabulary as u32;
        let tokens: Vec<u32> = (0..MEASURED_POSITIONS.end).map(token).collect();
        let near = MEASURED_POSITIONS.end.min(decoder.context);
        let mut sequence = Arc::clone(&backend).sequence(near)?;
        let alone = timed(&mut *sequence, &tokens[..1])?;
        let worth = (MEASURED_S / alone) as usize;
        let rows = worth.clamp(MEASURED_POSITIONS.start, MEASURED_POSITIONS.end).min(near);
        let together = timed(&mut *sequence, &tokens[..rows])?;
        drop(sequence);

        let cost = Cost::of_decoder(decoder, rows, 1, rows);
        let weights = cost.weight_multiply_accumulates as f64 / together;
        let far = far(decoder, &cost).min(decoder.context - rows);
        let mut sequence = backend.sequence(far + rows)?;
        sequence.push(&made_up(decoder, far))?;
        let behind = timed(&mut *sequence, &tokens[..rows])?;
        let pairs = (far * rows * decoder.layers.len()) as f64;
        let products = pairs * attention_products(decoder) as f64;
        // The difference may drown in the noise; no backend does products of attention faster than those of weights.
        let slower = behind - together > products / weights && products > 0.0;
        Ok(Self {
            read: Cost::of_decoder(decoder, 1, 1, 1).bytes_read as f64 / alone,
            weights,
            attention: if slower { products / (behind - together) } else { weights },
            correction: 1.0,
        })
    }

    /// Seconds that a check is expected to take.
    pub fn seconds(&self, cost: &Cost) -> f64 {
        self.uncorrected(cost) * self.correction
    }

    /// The same in milliseconds, rounded up.
    pub fn milliseconds(&self, cost: &Cost) -> u64 {
        (self.seconds(cost) * 1e3).ceil() as u64
    }

    /// The time that a check of so many tokens is expected to take.
    pub fn check(&self, model: &Model, prompt: usize, output: usize) -> Duration {
        duration(self.seconds(&Cost::of(model, prompt, output)))
    }

    /// The time that an answer of so many tokens is expected to take.
    pub fn answer(&self, model: &Model, prompt: usize, output: usize) -> Duration {
        let seconds = Cost::of_answer(model, prompt, output).map(|cost| self.seconds(&cost));
        duration(seconds.iter().sum())
    }

    fn uncorrected(&self, cost: &Cost) -> f64 {
        let reading = cost.bytes_read as f64 / self.read;
        let computing = cost.weight_multiply_accumulates as f64 / self.weights;
        reading.max(computing) + cost.attention_multiply_accumulates as f64 / self.attention
    }

    /// Takes note of what a check took: the machine may have other work, or be faster than it was measured.
    pub fn learn(&mut self, cost: &Cost, spent: Duration) {
        self.follow(self.uncorrected(cost), spent);
    }

    /// The same of an answer.
    pub fn learn_answer(&mut self, model: &Model, prompt: usize, output: usize, spent: Duration) {
        let expected = Cost::of_answer(model, prompt, output).map(|cost| self.uncorrected(&cost));
        self.follow(expected.iter().sum(), spent);
    }

    fn follow(&mut self, expected: f64, spent: Duration) {
        if expected > 0.0 && !spent.is_zero() {
            let seen = spent.as_secs_f64() / expected;
            let correction = self.correction + FOLLOW * (seen - self.correction);
            self.correction = correction.clamp(CORRECTION.start, CORRECTION.end);
        }
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Positions behind which attention takes about as long as everything else, as far as that is worth the memory.
fn far(decoder: &Decoder, cost: &Cost) -> usize {
    let products = attention_products(decoder) * decoder.layers.len() as u64 * cost.positions;
    let balanced = cost.weight_multiply_accumulates / products.max(1);
    (balanced as usize).min(MEASURED_BYTES / row_bytes(decoder).max(1))
}

/// Rows of so many positions, for an attention that isn't about anything. Two shifts, as real rows have several.
fn made_up(decoder: &Decoder, positions: usize) -> Vec<Rows> {
    let groups = positions * decoder.kv;
    let value = |i: usize| (i * 7919 % 2048) as i16 - 1023;
    let rows = Rows {
        values: (0..groups * decoder.head_len).map(value).collect(),
        shifts: (0..groups).map(|i| (i / decoder.kv % 2) as u8).collect(),
    };
    vec![rows; 2 * decoder.layers.len()]
}

/// The best time of some turns over the same positions.
fn timed(sequence: &mut dyn Sequence, tokens: &[u32]) -> Result<f64, BackendError> {
    let first = sequence.len();
    let mut best = f64::INFINITY;
    for _ in 0..TURNS {
        let start = Instant::now();
        sequence.forward(tokens, Head::Samples(tokens.len(), Sampling::GREEDY))?;
        best = best.min(start.elapsed().as_secs_f64());
        sequence.truncate(first);
    }
    Ok(best.max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Gguf;
    use refute_tests::tiny::Shape;

    fn tiny() -> Model {
        let shape = Shape { layers: 2, ..Shape::default() };
        Model::import(Gguf::from_bytes(shape.gguf()).unwrap(), &|_, _| {}).unwrap()
    }

    /// Counted as the reference runs: position by position, layer by layer.
    fn counted(decoder: &Decoder, prompt: u64, output: u64) -> (u64, u64) {
        let (mut weights, mut attention) = (0, 0);
        let size = |linear: &Linear| (linear.weights.rows * linear.weights.cols) as u64;
        for t in 0..prompt + output - 1 {
            let has_head = t + 1 >= prompt;
            for (l, layer) in decoder.layers.iter().enumerate() {
                weights += size(&layer.attn_k) + size(&layer.attn_v);
                if l + 1 == decoder.layers.len() && !has_head {
                    continue;
                }
                attention += 2 * (t + 1) * (decoder.heads * decoder.head_len) as u64;
                weights += size(&layer.attn_q) + size(&layer.attn_output);
                weights += size(&layer.ffn_gate) + size(&layer.ffn_up) + size(&layer.ffn_down);
            }
            if has_head {
                weights += size(&decoder.output);
            }
        }
        (weights, attention)
    }

    #[test]
    fn a_cost_is_what_the_reference_would_count() {
        let model = tiny();
        for (prompt, output) in [(1, 1), (1, 5), (7, 1), (9, 4)] {
            let cost = Cost::of(&model, prompt, output);
            let expected = counted(model.decoder(), prompt as u64, output as u64);
            let found = (cost.weight_multiply_accumulates, cost.attention_multiply_accumulates);
            assert_eq!(found, expected, "{prompt} + {output}");
            assert_eq!(cost.positions, (prompt + output - 1) as u64);
            assert_eq!(cost.multiply_accumulates(), expected.0 + expected.1);
        }
    }

    #[test]
    fn a_larger_batch_reads_the_weights_less_often() {
        let model = tiny();
        let decoder = model.decoder();
        let read = |batch| Cost::of_decoder(decoder, batch, 6, 3).bytes_read;
        let rows = row_bytes(decoder) as u64;
        let (layers, head) = (layer_bytes(decoder), bytes(&decoder.output));
        assert_eq!(read(8), layers + head + 8 * rows);
        // The head is due in the second batch only: positions 5, 6 and 7.
        assert_eq!(read(5), 2 * layers + head + (5 + 8) * rows);
        assert_eq!(read(1), 8 * layers + 3 * head + 36 * rows);
    }

    #[test]
    fn an_answer_is_a_check_of_its_prompt_and_single_tokens() {
        let model = tiny();
        let [first, rest] = Cost::of_answer(&model, 7, 4);
        assert_eq!(first, Cost::of(&model, 7, 1));
        let (whole, prompt) = (counted(model.decoder(), 7, 4), counted(model.decoder(), 7, 1));
        assert_eq!(rest.positions, 3);
        assert_eq!(rest.weight_multiply_accumulates, whole.0 - prompt.0);
        assert_eq!(rest.attention_multiply_accumulates, whole.1 - prompt.1);
        let decoder = model.decoder();
        let once = layer_bytes(decoder) + bytes(&decoder.output);
        assert_eq!(rest.bytes_read, 3 * once + (8 + 9 + 10) * row_bytes(decoder) as u64);
        assert_eq!(Cost::of_answer(&model, 7, 1)[1], Cost::default());
    }

    #[test]
    fn no_length_overflows() {
        let model = tiny();
        let context = model.decoder().context;
        let most = Cost::of(&model, usize::MAX, usize::MAX);
        assert_eq!(most, Cost::of(&model, 1, context));
        assert_eq!(Cost::of(&model, 0, 0).positions, 0);
    }

    #[test]
    fn short_and_small_checks_run_together_and_others_alone() {
        let check = |ms, mebibytes: u64| {
            let cost = Cost { memory_bytes: mebibytes << 20, ..Cost::default() };
            (cost, Duration::from_millis(ms))
        };
        let count = |checks: &[(Cost, Duration)]| {
            at_once(checks.iter().map(|(cost, expected)| (cost, *expected)))
        };
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[check(1, 1); 2 * AT_ONCE_MAX]), AT_ONCE_MAX);
        assert_eq!(count(&[check(500, 0); 9]), 4);
        assert_eq!(count(&[check(0, 128); 9]), 4);
        assert_eq!(count(&[check(9_000, 0), check(1, 0)]), 1);
        assert_eq!(count(&[check(1, 900), check(1, 0)]), 1);
        // The order is the caller's: nobody is passed over.
        assert_eq!(count(&[check(1, 0), check(9_000, 0), check(1, 0)]), 1);
        let huge = Cost { memory_bytes: u64::MAX, ..Cost::default() };
        assert_eq!(count(&[(huge, Duration::MAX), (huge, Duration::MAX)]), 1);
    }

    #[test]
    fn a_gauge_expects_more_of_more_and_learns() {
        let model = tiny();
        let mut gauge = Gauge::measure(&model).unwrap();
        let (small, large) = (Cost::of(&model, 4, 2), Cost::of(&model, 16, 8));
        assert!(gauge.seconds(&small) > 0.0);
        assert!(gauge.seconds(&small) < gauge.seconds(&large));
        let seen = Duration::from_secs_f64(3.0 * gauge.seconds(&large));
        for _ in 0..30 {
            gauge.learn(&large, seen);
        }
        assert!((gauge.seconds(&large) / seen.as_secs_f64() - 1.0).abs() < 0.01);
        gauge.learn(&large, Duration::from_secs(1_000_000));
        assert!(gauge.correction <= CORRECTION.end);
        let seen = gauge.answer(&model, 6, 5) / 3;
        for _ in 0..30 {
            gauge.learn_answer(&model, 6, 5, seen);
        }
        assert!((gauge.answer(&model, 6, 5).as_secs_f64() / seen.as_secs_f64() - 1.0).abs() < 0.01);
        assert!(gauge.answer(&model, 6, 5) < gauge.answer(&model, 6, 9));
        assert!(gauge.answer(&model, 6, 5) < gauge.answer(&model, 12, 5));
    }
}
