//! Sample: the id with the largest logit, or one drawn from the softmax of the logits at a
//! temperature.
//!
//! Drawing is a maximum too: that of `logit / temperature` plus independent Gumbel noise falls on an id
//! with exactly its softmax probability. Everything is multiplied by the temperature, so that 0 is no
//! special case, and by log2(e), so that logarithms have base 2. The maximum is over the keys
//! `score · 2^32 + (2^32 − 1 − i)`, all different: the same in any order.

use super::MAX_INIT;
use super::noise::{gumbel, word};

/// Logits of one unit of the fold.
pub const UNIT: usize = 256;

/// `log2(e)` with 20 fractional bits: with the logits' 12 that makes the 32 of temperature and noise.
pub const LOG2_E: i64 = 1_512_775;

/// How a request wants its tokens drawn; stored with it before anything is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sampling {
    /// Key of the noise.
    pub seed: u64,
    /// In units of 2^-16; 0 takes the largest logit, whatever the seed.
    pub temperature: u32,
}

impl Sampling {
    /// The largest logit, always.
    pub const GREEDY: Self = Self { seed: 0, temperature: 0 };

    /// The highest temperature that a request may ask for: 16.
    pub const TEMPERATURE_MAX: u32 = 16 << 16;

    /// Whether a request may ask for it: not above the highest temperature, and without a seed that
    /// nothing reads.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.temperature <= Self::TEMPERATURE_MAX && (self.temperature > 0 || self.seed == 0)
    }

    /// What the maximum is taken of, for id `i` at a position: 32 fractional bits, below 2^54.
    #[must_use]
    pub fn score(&self, position: u32, i: u32, logit: i32) -> i64 {
        let noise = if self.temperature == 0 { 0 } else { gumbel(word(self.seed, position, i)) };
        i64::from(logit) * LOG2_E + i64::from(self.temperature) * i64::from(noise)
    }
}

/// Folds one unit whose first logit has the index `first_index`, at a position.
#[must_use]
pub fn unit(
    sampling: Sampling,
    position: u32,
    acc: i128,
    first_index: u32,
    logits: &[i32],
) -> i128 {
    logits.iter().zip(0u32..).fold(acc, |acc, (&logit, i)| {
        let i = first_index.wrapping_add(i);
        let score = sampling.score(position, i, logit);
        acc.max(i128::from(score) << 32 | i128::from(!i))
    })
}

/// The token.
#[must_use]
pub fn finalize(acc: i128) -> u32 {
    !(acc as u32)
}

/// The token of a whole row of logits at a position.
#[must_use]
pub fn forward(sampling: Sampling, position: u32, logits: &[i32]) -> u32 {
    finalize(unit(sampling, position, MAX_INIT, 0, logits))
}
