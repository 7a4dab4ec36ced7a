//! Cases of the kernels that work on one row at a time: Embed, RmsNorm, SwiGlu, Sample.

use super::draw::{Draw, Rng, Scales};
use super::{Span, Written, bits, case, table_words, unwritten};
use crate::Format;
use crate::gpu::case::Case;
use crate::gpu::kernel::Kernel;
use crate::reference::{Sampling, embed, rms_norm, sample, swiglu};

/// Embed: one piece of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Embed {
    pub(super) format: Format,
    pub(super) n: usize,
    /// Rows of the whole table.
    pub(super) vocabulary: u32,
    /// The piece.
    pub(super) first_row: u32,
    pub(super) rows: u32,
    pub(super) scales: Scales,
}

impl Embed {
    pub(super) fn case(self, rng: &mut Rng, span: Span) -> Case {
        let Self { format, n, vocabulary, first_row, rows, scales } = self;
        let table = rng.weights(format, (rows as usize, n), (Draw::Any, scales));
        // Every second token is in the piece; the others are somebody else's.
        let tokens: Vec<u32> = (0..span.count)
            .map(|_| if rng.coin() { first_row + rng.below(rows) } else { rng.below(vocabulary) })
            .collect();
        let x = unwritten(span.count as usize * n);
        let mut expected = x.clone();
        for (token, out) in tokens.iter().zip(expected.chunks_mut(n)) {
            if let Some(row) = token.checked_sub(first_row).filter(|row| *row < rows) {
                let bytes = format.row_bytes(n);
                let mut y = vec![0; n];
                embed::forward(format, &table[row as usize * bytes..][..bytes], &mut y);
                out.copy_from_slice(&bits(&y));
            }
        }
        case(
            format!("{self:?}, {span:?}"),
            Kernel::Embed.of_format(format),
            span,
            vec![n as u32, first_row, rows],
            vec![tokens, table_words(&table)],
            Written::new(x, expected),
            [span.count, 1, 1],
        )
    }
}

/// RmsNorm, and its Quantize.
#[derive(Clone, Copy, Debug)]
pub(super) struct RmsNorm {
    pub(super) n: usize,
    pub(super) eps: u32,
    pub(super) exponent: i32,
    pub(super) x: Draw,
    pub(super) w: Draw,
}

impl RmsNorm {
    pub(super) fn case(self, rng: &mut Rng, span: Span) -> Case {
        let x = (0..span.count).flat_map(|_| rng.fx(self.n, self.x)).collect();
        self.of(rng, span, x)
    }

    /// A row whose mean square and `eps` add up to `m`: where that is a square, the root is exact.
    pub(super) fn with_mean(self, rng: &mut Rng, m: u64) -> Case {
        let mean = m.saturating_sub(self.eps.into());
        let mut rest = mean * self.n as u64;
        let mut x = Vec::with_capacity(self.n);
        for left in (0..self.n as u64).rev() {
            // All are different, and the last ones make up for what the others have left.
            let share = (rest / (left + 1)).isqrt();
            let less = u64::from(rng.below(share.min(1 << 31) as u32 / 2 + 1));
            let v = if left < 8 { rest.isqrt() } else { share - less };
            rest -= v * v;
            x.push(if rng.coin() { v as i32 } else { -(v as i32) });
        }
        self.of(rng, Span::all(0, 1), x)
    }

    fn of(self, rng: &mut Rng, span: Span, x: Vec<i32>) -> Case {
        let Self { n, eps, exponent, .. } = self;
        let w = rng.values(n, self.w, i32::MAX);
        let mut y = vec![0; x.len()];
        for row in span.rows().map(|row| row * n..(row + 1) * n) {
            rms_norm::forward(&x[row.clone()], &w, eps, exponent, &mut y[row]);
        }
        let written = Written::quantized(unwritten(x.len()), &y, span);
        case(
            format!("{self:?}, {span:?}"),
            Kernel::RmsNorm.plain(),
            span,
            vec![n as u32, eps, exponent as u32, span.heads_only.into()],
            vec![bits(&x), bits(&w)],
            written,
            [span.rows().len() as u32, 1, 1],
        )
    }
}

/// SwiGlu, whose result replaces the gate, and its Quantize.
#[derive(Clone, Copy, Debug)]
pub(super) struct SwiGlu {
    pub(super) n: usize,
    pub(super) gate: Draw,
    pub(super) up: Draw,
}

impl SwiGlu {
    pub(super) fn case(self, rng: &mut Rng, span: Span) -> Case {
        let n = self.n;
        let mut rows = |draw| (0..span.count).flat_map(|_| rng.fx(n, draw)).collect::<Vec<_>>();
        let (gate, up) = (rows(self.gate), rows(self.up));
        let mut y = vec![0; gate.len()];
        let done = span.rows().start * n..span.rows().end * n;
        swiglu::forward(&gate[done.clone()], &up[done.clone()], &mut y[done]);
        let written = Written::quantized(bits(&gate), &y, span);
        case(
            format!("{self:?}, {span:?}"),
            Kernel::SwiGlu.plain(),
            span,
            vec![n as u32, 0, 0, span.heads_only.into()],
            vec![bits(&up)],
            written,
            [span.rows().len() as u32, 1, 1],
        )
    }
}

/// Sample: rows of logits, the first one that of the first row with a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) vocabulary: usize,
    pub(super) logits: Draw,
    /// So many logits, anywhere, are made the largest, and equal; 0 leaves them as they are drawn.
    pub(super) peaks: u32,
    /// The logits lie within 2^14 of each other: at a temperature around 1 the noise decides.
    pub(super) near: bool,
    pub(super) sampling: Sampling,
}

impl Sample {
    /// The largest logit, no noise.
    pub(super) fn greedy(vocabulary: usize, logits: Draw, peaks: u32) -> Self {
        Self { vocabulary, logits, peaks, near: false, sampling: Sampling::GREEDY }
    }

    /// Logits between which the noise decides.
    pub(super) fn drawn(rng: &mut Rng, vocabulary: usize, temperature: u32) -> Self {
        let sampling = Sampling { seed: rng.next(), temperature };
        Self { near: true, sampling, ..Self::greedy(vocabulary, Draw::Any, 0) }
    }

    pub(super) fn case(self, rng: &mut Rng, span: Span) -> Case {
        let n = self.vocabulary;
        let span = Span { heads_only: true, ..span };
        let count = span.rows().len();
        let mut logits: Vec<i32> = (0..count).flat_map(|_| rng.fx(n, self.logits)).collect();
        if self.near {
            logits.iter_mut().for_each(|logit| *logit >>= 18);
        }
        for row in logits.chunks_mut(n).filter(|_| self.peaks > 0) {
            let largest = row.iter().copied().max().unwrap_or(0).max(2 - i32::MAX);
            row.iter_mut().for_each(|logit| *logit = (*logit).min(largest - 1));
            for _ in 0..self.peaks {
                row[rng.below(n as u32) as usize] = largest;
            }
        }
        self.of(&logits, span)
    }

    /// Two cases of equal scores, found by trying seeds: of equal logits and noises; of a larger logit and a noise that is
    /// smaller by as much, where the token isn't the one that has the largest logit.
    pub(super) fn ties() -> [Case; 2] {
        [(709_613, 1 << 16, [0, 0]), (89_846, 302_555, [0, 1])].map(
            |(seed, temperature, logits)| {
                let sampling = Sampling { seed, temperature };
                let score = |id| sampling.score(7, id, logits[id as usize]);
                debug_assert_eq!(score(0), score(1));
                let sample = Self { sampling, ..Self::greedy(2, Draw::Zero, 0) };
                sample.of(&logits, Span::heads(7, 1, 0))
            },
        )
    }

    fn of(self, logits: &[i32], span: Span) -> Case {
        let n = self.vocabulary;
        let count = span.rows().len();
        let Sampling { seed, temperature } = self.sampling;
        let mut expected = unwritten(span.count as usize);
        let positions = span.first + span.heads_from..;
        for ((token, row), position) in expected.iter_mut().zip(logits.chunks(n)).zip(positions) {
            *token = sample::forward(self.sampling, position, row);
        }
        case(
            format!("{self:?}, {span:?}"),
            Kernel::Sample.plain(),
            span,
            vec![n as u32],
            vec![bits(logits), vec![seed as u32, (seed >> 32) as u32, temperature, 0]],
            Written::new(unwritten(span.count as usize), expected),
            [count as u32, 1, 1],
        )
    }
}
