//! How fast this machine computes a model: measured at the start, corrected by what really happens. Nothing here decides
//! anything but whether a request is worth the risk.

use crate::model::Model;
use crate::trace::{Run, RunError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Tokens of the measurement: enough for a batch, few enough for a slow machine.
const PROMPT: u32 = 16;
const ANSWER: u32 = 4;

/// Time for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    prefill: Duration,
    decode: Duration,
}

impl Pace {
    /// A pace: time for a token of a batch, and for one that is generated.
    pub fn new(prefill: Duration, decode: Duration) -> Self {
        Self { prefill, decode }
    }

    /// Measures it with a few tokens. Takes as long as that takes.
    ///
    /// # Errors
    /// What stops any run.
    pub fn measure(model: &Arc<Model>, stop: &AtomicBool) -> Result<Self, RunError> {
        let params = &model.registration.params;
        let prompt_len = PROMPT.min(params.context.saturating_sub(ANSWER)).max(1);
        let prompt: Vec<u32> = (0..prompt_len).map(|i| i % params.vocabulary.max(1)).collect();
        let mut go_on = |_, _| !stop.load(Ordering::Relaxed);
        let start = Instant::now();
        let run = Run::generate(model, &prompt, ANSWER, None, &mut go_on)?;
        let generated = start.elapsed();
        let start = Instant::now();
        Run::replay(model, &prompt, run.output(), None, &mut go_on)?;
        let prefill = start.elapsed() / run.blocks().max(1);
        // The first output token comes with the prompt's batch.
        let decoded = (run.output().len() as u32).saturating_sub(1).max(1);
        let decode = generated.saturating_sub(prefill * prompt_len) / decoded;
        Ok(Self { prefill, decode: decode.max(prefill) })
    }

    /// Estimate for an answer of this many tokens.
    pub fn generation(&self, prompt: u32, output: u32) -> Duration {
        self.replay(prompt).saturating_add(self.decode.saturating_mul(output))
    }

    /// Estimate for computing an answer again, prompt and output in one.
    pub fn replay(&self, tokens: u32) -> Duration {
        self.prefill.saturating_mul(tokens)
    }

    /// The pace at which an estimate would have been what it really took, if that was longer.
    pub fn corrected(self, estimated: Duration, took: Duration) -> Self {
        if took <= estimated || estimated.is_zero() {
            return self;
        }
        let scale = |time: Duration| {
            let nanos = time.as_nanos().saturating_mul(took.as_nanos()) / estimated.as_nanos();
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        Self { prefill: scale(self.prefill), decode: scale(self.decode) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_follows_what_is_slower_and_never_what_is_faster() {
        let pace = Pace::new(Duration::from_millis(2), Duration::from_millis(10));
        let estimated = pace.generation(100, 10);
        assert_eq!(estimated, Duration::from_millis(300));
        assert_eq!(pace.corrected(estimated, Duration::from_millis(299)), pace);
        let slower = pace.corrected(estimated, Duration::from_millis(600));
        assert_eq!(slower, Pace::new(Duration::from_millis(4), Duration::from_millis(20)));
        assert_eq!(slower.generation(100, 10), Duration::from_millis(600));
    }
}
