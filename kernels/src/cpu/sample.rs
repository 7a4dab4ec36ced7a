//! Sample, while the logits come: the largest key of a row so far.
//!
//! Every id gets its uniform word, but few get their noise: a word's leading ones bound it, and what
//! stays below the best score even so can't win.

use super::pack::PANEL;
use super::simd::{Isa, Kernel, Simd};
use crate::reference::Sampling;
use crate::reference::noise::{self, at_most, gumbel};
use crate::reference::sample::LOG2_E;

/// Below every key.
pub(super) const LOWEST: i128 = (i64::MIN as i128) << 32;

/// Ids that share one counter of the generator.
const LANES: usize = 4;

/// How a token is drawn.
#[derive(Clone, Copy)]
pub(super) struct Draw {
    pub(super) isa: Isa,
    pub(super) sampling: Sampling,
    /// Of the row whose token it is.
    pub(super) position: usize,
}

impl Draw {
    /// The larger of `best` and the largest key of a panel's logits, the first with index `first`.
    pub(super) fn panel(&self, first: usize, logits: &[i32], best: i128) -> i128 {
        let max = logits.iter().fold(i32::MIN, |max, &y| max.max(y));
        let Sampling { seed, temperature } = self.sampling;
        if temperature == 0 {
            let at = logits.iter().position(|&y| y == max).unwrap_or(0);
            return best.max(key(i64::from(max) * LOG2_E, first + at));
        }
        let temperature = i64::from(temperature);
        let scored =
            |logit: i32, noise: i32| i64::from(logit) * LOG2_E + temperature * i64::from(noise);
        if scored(max, noise::NOISE_MAX) < score(best) {
            return best;
        }
        let position = self.position as u32;
        let words = self.isa.run(Words { seed, position, group: (first / LANES) as u32 });
        let words = words.as_flattened();
        logits.iter().zip(words).enumerate().fold(best, |best, (i, (&logit, &word))| {
            if scored(logit, at_most(word)) < score(best) {
                return best;
            }
            best.max(key(scored(logit, gumbel(word)), first + i))
        })
    }
}

/// The index in a key.
pub(super) fn index(key: i128) -> u32 {
    !(key as u32)
}

fn key(score: i64, index: usize) -> i128 {
    i128::from(score) << 32 | i128::from(!(index as u32))
}

fn score(key: i128) -> i64 {
    (key >> 32) as i64
}

/// The words of a panel's ids.
struct Words {
    seed: u64,
    position: u32,
    group: u32,
}

impl Kernel for Words {
    type Output = [[u32; LANES]; PANEL / LANES];

    /// Philox for all counters at once, a word of the state after the other, so that the compiler
    /// sees the lanes.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Self::Output {
        const N: usize = PANEL / LANES;
        let [c0, c1, c2, c3] = noise::counter(self.position, self.group);
        let mut x = [[c0; N], [c1; N], [c2; N], [c3; N]];
        (0..N).for_each(|i| x[0][i] = c0.wrapping_add(i as u32));
        let mut key = noise::key(self.seed);
        for _ in 0..noise::ROUNDS {
            let [x0, x1, x2, x3] = &mut x;
            for i in 0..N {
                let p = u64::from(noise::MULTIPLIERS[0]).wrapping_mul(u64::from(x0[i]));
                let r = u64::from(noise::MULTIPLIERS[1]).wrapping_mul(u64::from(x2[i]));
                x0[i] = (r >> 32) as u32 ^ x1[i] ^ key[0];
                x1[i] = r as u32;
                x2[i] = (p >> 32) as u32 ^ x3[i] ^ key[1];
                x3[i] = p as u32;
            }
            key = noise::next_key(key);
        }
        std::array::from_fn(|i| [x[0][i], x[1][i], x[2][i], x[3][i]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_reference() {
        for isa in Isa::all() {
            for (seed, position, group) in
                [(0, 0, 0), (u64::MAX, u32::MAX, u32::MAX - 7), (0x0123_4567_89ab_cdef, 77, 12_288)]
            {
                let words = isa.run(Words { seed, position, group });
                for (i, words) in words.into_iter().enumerate() {
                    assert_eq!(words, noise::words(seed, position, group + i as u32), "{isa:?}");
                }
            }
        }
    }

    /// Seeds that were found by trying: kernels/tests/sample.rs.
    #[test]
    fn equal_scores_go_to_the_lowest() {
        for isa in Isa::all() {
            for (seed, temperature, logits) in
                [(709_613, 1 << 16, [0, 0]), (89_846, 302_555, [0, 1])]
            {
                let draw = Draw { isa, sampling: Sampling { seed, temperature }, position: 7 };
                assert_eq!(index(draw.panel(0, &logits, LOWEST)), 0);
            }
        }
    }

    /// Logits that differ by little, by much, and not at all; every panel of a row, and a short one.
    #[test]
    fn panels_find_what_the_reference_finds() {
        let logits = |spread: u32, n: usize| -> Vec<i32> {
            let noise = |i: usize| noise::word(1, spread, i as u32) as i32;
            (0..n).map(|i| (noise(i) >> spread).max(-i32::MAX)).collect()
        };
        let temperatures = [0, 1, 1 << 15, 1 << 16, Sampling::TEMPERATURE_MAX];
        for isa in Isa::all() {
            for (seed, temperature) in (3..).zip(temperatures.repeat(8)) {
                let sampling = Sampling { seed, temperature };
                let draw = Draw { isa, sampling, position: 1000 + seed as usize };
                for spread in [0, 8, 16, 20, 31] {
                    let logits = logits(spread, 3 * PANEL + 5);
                    let panels = logits.chunks(PANEL).enumerate();
                    let best = panels.fold(LOWEST, |best, (panel, logits)| {
                        draw.panel(panel * PANEL, logits, best)
                    });
                    let token = crate::sample::forward(sampling, 1000 + seed as u32, &logits);
                    assert_eq!(index(best), token, "{isa:?}, {sampling:?}, {spread}");
                }
            }
        }
    }
}
