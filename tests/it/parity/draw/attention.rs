//! Scores and Mix, and what is between them.

use super::{Draft, element, magnitude, pick};
use refute_engine::program::{Descriptor, Op};
use refute_tests::verifier::content::{Style, Tensor};
use refute_tests::verifier::world::Carried;

/// Sizes of heads of attention, which has no use for pairs.
const HEADS: [u32; 18] = [1, 2, 3, 16, 31, 32, 33, 47, 48, 64, 65, 80, 96, 127, 128, 129, 255, 256];

impl Draft<'_> {
    /// A carried tensor with its place under the block root; the block's own is step `own`.
    fn cache(&mut self, own: usize, kv: u32, k: u32, bits: u32) {
        let values = u64::from(kv) * u64::from(k);
        let tensor = if self.random.below(2) == 0 {
            Tensor::styled(self.random, values, 2, kv, Style::Bits(bits))
        } else {
            Tensor::draw(self.random, values, 2, kv)
        };
        let index = self.random.below(self.world.statement.carried);
        self.input(own, tensor.at_position(self.t));
        self.world.carried.insert(index, Carried::Drawn(tensor));
        self.d.c1 = index;
    }

    pub(super) fn attention(&mut self) -> u32 {
        let mut kv = 1 + self.random.below(3);
        let mut groups = kv * pick(self.random, &[1, 1, 2, 3, 4, 7, 8, 300]);
        let mut k = match self.random.below(3) {
            0 => 1 + self.random.below(256),
            _ => pick(self.random, &HEADS),
        };
        if self.random.below(6) == 0 {
            // One of the shifts behind the values is the last byte of a leaf, or the last value is its end.
            (kv, k) = pick(self.random, &[(5, 102), (6, 85), (7, 73), (8, 64)]);
            groups = kv;
        }
        self.d = Descriptor { groups, kv, k, ..self.d };
        let (heads, positions) = (u64::from(groups), u64::from(self.t) + 1);
        let values = heads * u64::from(k);
        if self.d.op == Op::Mix {
            self.probabilities(groups);
            let style = match self.random.below(3) {
                0 => Style::draw(self.random, 4),
                1 => Style::Below(1 << 14),
                _ => Style::Below((positions << 14) as u32),
            };
            let sums = Tensor::styled(self.random, heads, 4, 0, style);
            self.input(1, sums);
            self.cache(2, kv, k, 12);
            return match self.random.below(3) {
                // Its value, or its head's sum, ends where a leaf does.
                0 if kv * k > 511 => 511 / k * (groups / kv) * k + 511 % k,
                1 if groups > 255 => 255 * k + self.random.below(k),
                // Or its shift does.
                1 | 2 if (1024 - kv..1024).contains(&(2 * kv * k)) => {
                    (1023 - 2 * kv * k) * (groups / kv) * k + self.random.below(k)
                }
                _ => element(self.random, values),
            };
        }
        if self.random.below(2) == 0 {
            let q = Tensor::styled(self.random, values, 2, groups, Style::Bits(12));
            self.input(0, q);
        } else {
            self.draw(0, values, 2, groups);
        }
        self.cache(1, kv, k, 11);
        self.d.c0 = match self.random.below(5) {
            0 => pick(self.random, &[0, 1, u32::MAX, 1 << 31, 1 << 30]),
            1 => self.random.bits() as u32,
            // Small scores, which no shift saturates.
            2 => magnitude(self.random, 8),
            _ => (2_399_655_057_223_005_247 / u64::from(k)).isqrt() as u32,
        };
        element(self.random, heads * positions)
    }

    /// `in0` of Sum and Mix.
    fn probabilities(&mut self, groups: u32) {
        let values = u64::from(groups) * (u64::from(self.t) + 1);
        let style = match self.random.below(4) {
            0 => Style::draw(self.random, 2),
            1 => Style::Constant(65_535),
            _ => Style::Below(16_385),
        };
        let tensor = Tensor::styled(self.random, values, 2, 0, style);
        self.input(0, tensor);
    }

    pub(super) fn heads(&mut self) -> u32 {
        // More than 256 heads fill several leaves with what each has one of.
        let bits = pick(self.random, &[5, 5, 5, 11]);
        let groups = 1 + magnitude(self.random, bits);
        self.d.groups = groups;
        let (heads, positions) = (u64::from(groups), u64::from(self.t) + 1);
        match self.d.op {
            Op::Max => self.draw(0, heads * positions, 4, 0),
            Op::Sum => self.probabilities(groups),
            _ if self.random.below(3) == 0 => {
                self.draw(0, heads * positions, 4, 0);
                self.draw(1, heads, 4, 0);
            }
            _ => {
                // Differences from 0 to beyond the smallest that still counts.
                let center = Style::Bits(30).pattern(self.random, 4);
                let (a, b) = (1 + self.random.below(21), 1 + self.random.below(21));
                let scores = Style::Near(center, a);
                let scores = Tensor::styled(self.random, heads * positions, 4, 0, scores);
                self.input(0, scores);
                // Most scores are below their maximum, some above it.
                let mut gap = self.random.below(1 << a.max(b));
                if self.random.below(4) == 0 {
                    // The smallest that still count.
                    gap = (13 << 16) + self.random.below(4 << 16);
                }
                let center = center.wrapping_add(gap);
                let maxima = Tensor::styled(self.random, heads, 4, 0, Style::Near(center, b));
                self.input(1, maxima);
            }
        }
        element(self.random, if self.d.op == Op::Probs { heads * positions } else { heads })
    }
}
