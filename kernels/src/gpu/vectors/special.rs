//! Cases that were thought of: what random ones reach too rarely.

use super::attention::{Attention, Rope};
use super::draw::{Draw, Rng, Scales};
use super::linear::Linear;
use super::rows::{Embed, RmsNorm, Sample, SwiGlu};
use super::{FORMATS, HEAD_LENS, Span, TUNINGS, is_linear};
use crate::gpu::case::Case;
use crate::gpu::kernel::Kernel;
use crate::reference::Sampling;

/// Row lengths around a unit of 256 and a leaf of 1024.
const LENGTHS: [usize; 11] = [32, 64, 224, 256, 288, 480, 512, 544, 992, 1024, 1056];
/// Positions that the last row sees: around a tile of 256 and a workgroup of 64.
const CONTEXTS: [u32; 12] = [1, 2, 3, 63, 64, 65, 127, 255, 256, 257, 513, 2048];

/// Every case of a kernel that was thought of, always the same.
#[must_use]
pub fn special(kernel: Kernel) -> Vec<Case> {
    let rng = &mut Rng::new(0x7ef0_7e00 + kernel as u64);
    let cases = match kernel {
        Kernel::Embed => embed(rng),
        Kernel::RmsNorm => rms_norm(rng),
        Kernel::Linear | Kernel::LinearBatch => linear(rng, kernel),
        Kernel::Rope => rope(rng),
        Kernel::Scores => attention(rng, Attention::scores),
        Kernel::Mix => {
            let mut cases = attention(rng, Attention::mix);
            cases.push(because("every fraction", Attention::every_fraction(rng)));
            cases
        }
        Kernel::MixFinish => attention(rng, Attention::finish),
        Kernel::SwiGlu => swiglu(rng),
        Kernel::Sample => sample(rng),
    };
    if is_linear(kernel) {
        return cases;
    }
    let tunings = TUNINGS.into_iter().filter(|t| kernel.tuned(None, *t) != kernel.plain());
    let tuned = tunings.flat_map(|t| cases.iter().map(move |case| case.clone().tuned(t)));
    tuned.chain(cases.iter().cloned()).collect()
}

/// The case with a word on why it is there.
fn because(why: &str, mut case: Case) -> Case {
    case.name = format!("{why}: {}", case.name);
    case
}

fn embed(rng: &mut Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    for format in FORMATS {
        for n in LENGTHS {
            let scales = Scales::Any;
            let table = Embed { format, n, vocabulary: 9, first_row: 0, rows: 9, scales };
            cases.push(because("length", table.case(rng, Span::all(0, 3))));
        }
        for scales in [Scales::Small, Scales::Largest] {
            let table = Embed { format, n: 96, vocabulary: 9, first_row: 0, rows: 9, scales };
            cases.push(because("scales", table.case(rng, Span::all(5, 2))));
        }
        for (first_row, rows) in [(0, 1), (1, 3), (8, 1), (4, 5)] {
            let scales = Scales::Any;
            let table = Embed { format, n: 288, vocabulary: 9, first_row, rows, scales };
            cases.push(because("piece of a table", table.case(rng, Span::all(0, 20))));
        }
    }
    cases
}

fn rms_norm(rng: &mut Rng) -> Vec<Case> {
    let usual = RmsNorm { n: 96, eps: 168, exponent: 30, x: Draw::Any, w: Draw::Any };
    let mut cases = Vec::new();
    for n in LENGTHS.into_iter().chain([4096, 8224]) {
        cases.push(because("length", RmsNorm { n, ..usual }.case(rng, Span::all(0, 2))));
    }
    for x in Draw::SPECIAL {
        for (w, n) in Draw::SPECIAL.into_iter().flat_map(|w| [(w, 32), (w, 1056)]) {
            for exponent in [-8, 30] {
                let norm = RmsNorm { n, exponent, x, w, ..usual };
                cases.push(because("extremes", norm.case(rng, Span::all(0, 1))));
            }
        }
    }
    for exponent in [i32::MIN, -9, -8, -7, 0, 23, 24, 25, 47, 54, 55, 56, i32::MAX] {
        let norm = RmsNorm { exponent, ..usual };
        cases.push(because("exponent", norm.case(rng, Span::all(0, 4))));
    }
    for eps in [1, 2, u32::MAX] {
        for x in [Draw::Zero, Draw::Any] {
            cases.push(because("eps", RmsNorm { eps, x, ..usual }.case(rng, Span::all(0, 4))));
        }
    }
    for (k, n) in [5, 8, 12, 20, 26].into_iter().flat_map(|k| [(k, 32), (k, 576)]) {
        let m = 1 << (2 * k);
        cases.push(because("power of four", RmsNorm { n, ..usual }.with_mean(rng, m)));
    }
    for root in [3, 5, 13, 77, 1001, 4095, 65_537, 99_999, 1_000_003, 16_777_213u64] {
        let norm = RmsNorm { n: 8224, eps: 1, ..usual };
        cases.push(because("square", norm.with_mean(rng, root * root)));
    }
    cases.push(because("every magnitude", usual.case(rng, Span::all(0, 200))));
    cases.push(because("heads only", usual.case(rng, Span::heads(7, 9, 6))));
    cases
}

fn linear(rng: &mut Rng, kernel: Kernel) -> Vec<Case> {
    let mut cases = Vec::new();
    let many = if kernel == Kernel::Linear { 4 } else { 20 };
    for (format, tuning) in FORMATS.into_iter().flat_map(|f| TUNINGS.map(|t| (f, t))) {
        let mut add = |why: &str, linear: Linear, span| {
            cases.push(because(why, linear.case(rng, span, (kernel, tuning))));
        };
        for n in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129] {
            add("rows", Linear::new(format, n, 96), Span::all(0, 2));
        }
        for count in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33] {
            add("positions", Linear::new(format, 9, 64), Span::all(3, count));
        }
        for cols in LENGTHS.into_iter().chain([1536, 4096]) {
            add("columns", Linear::new(format, 5, cols), Span::all(0, many / 2));
        }
        for (weights, x) in Draw::SPECIAL.into_iter().flat_map(|w| Draw::SPECIAL.map(|x| (w, x))) {
            for (scales, cols) in [(Scales::Small, 64), (Scales::Largest, 64), (Scales::Any, 1024)]
            {
                let linear = Linear { weights, scales, x, ..Linear::new(format, 6, cols) };
                let plain = Linear { shift: Some(0), ..linear.clone() };
                add("extremes", plain, Span::all(0, 2));
                let (bias, residual, shift) = (true, true, Some(16));
                add("saturates", Linear { bias, residual, shift, ..linear }, Span::all(0, 2));
            }
        }
        add("edges", Linear::edges(format), Span::all(0, 1));
        for (bias, residual) in [(false, false), (false, true), (true, false), (true, true)] {
            let linear = Linear { bias, residual, ..Linear::new(format, 70, 64) };
            add("bias and residual", linear.clone(), Span::all(0, many));
            let linear = Linear { piece: 33..64, ..linear };
            add("piece of a matrix", linear.clone(), Span::all(0, many));
            add("heads only", linear.clone(), Span::heads(5, many, many / 2));
            let linear = Linear { packed: true, ..linear };
            add("heads packed", linear, Span::heads(5, many, many - 1));
        }
    }
    cases
}

fn rope(rng: &mut Rng) -> Vec<Case> {
    let usual = Rope {
        heads: 3,
        len: 64,
        rotated: 64,
        bits: 12,
        at_position: false,
        x: Draw::Any,
        table: Draw::Any,
    };
    let mut cases = Vec::new();
    for len in HEAD_LENS.into_iter().chain([2, 4, 6, 10, 34, 62, 66, 126, 130, 254]) {
        for rotated in [0, 2, (len / 2) & !1, len - 2, len] {
            let rope = Rope { len, rotated: rotated.min(len), ..usual };
            cases.push(because("head size", rope.case(rng, Span::all(2, 3))));
        }
    }
    for heads in [1, 2, 9, 32] {
        for bits in [11, 12] {
            let rope = Rope { heads, bits, at_position: true, ..usual };
            cases.push(because("heads", rope.case(rng, Span::all(11, 3))));
            cases.push(because("heads only", rope.case(rng, Span::heads(3, 5, 2))));
        }
    }
    for (x, table) in Draw::SPECIAL.into_iter().flat_map(|x| Draw::SPECIAL.map(|t| (x, t))) {
        cases.push(because("extremes", Rope { x, table, ..usual }.case(rng, Span::all(0, 2))));
        let rope = Rope { x, table, rotated: 32, bits: 11, ..usual };
        cases.push(because("half rotated", rope.case(rng, Span::all(0, 2))));
    }
    cases
}

fn attention(rng: &mut Rng, case: fn(Attention, &mut Rng, Span) -> Case) -> Vec<Case> {
    let usual = Attention::new(4, 2, 32);
    let mut cases = Vec::new();
    for context in CONTEXTS {
        cases.push(because("context", case(usual, rng, Span::all(context - 1, 1))));
        let count = context.min(3);
        cases.push(because("context", case(usual, rng, Span::all(context - count, count))));
    }
    for (x, rows) in [(Draw::Highest, Draw::Highest), (Draw::Zero, Draw::Lowest)] {
        let longest = Attention { x, rows, shift: Some(20), ..Attention::new(16, 16, 2) };
        cases.push(because("longest context", case(longest, rng, Span::all(65_535, 1))));
    }
    for (heads, kv) in [(1, 1), (2, 2), (6, 1), (9, 3), (32, 4), (71, 1)] {
        let shape = Attention { heads, kv, ..usual };
        cases.push(because("heads", case(shape, rng, Span::all(18, 2))));
    }
    for len in HEAD_LENS.into_iter().chain([2, 4, 6, 10, 62, 66, 254]) {
        let shape = Attention::new(16, 2, len);
        cases.push(because("head size", case(shape, rng, Span::all(40, 2))));
    }
    for (x, rows) in Draw::SPECIAL.into_iter().flat_map(|x| Draw::SPECIAL.map(|r| (x, r))) {
        for shift in [Some(0), Some(9), Some(20), None] {
            for (len, first) in [(256, 0), (64, 299)] {
                let extreme = Attention { x, rows, shift, ..Attention::new(4, 2, len) };
                cases.push(because("extremes", case(extreme, rng, Span::all(first, 1))));
            }
        }
    }
    for first in [0, 250, 300] {
        let spare = Attention { spare_tiles: 2, ..usual };
        cases.push(because("spare tiles", case(spare, rng, Span::all(first, 8))));
        cases.push(because("heads only", case(spare, rng, Span::heads(first, 8, 5))));
    }
    cases.push(because("whole batch", case(usual, rng, Span::all(200, 128))));
    cases
}

fn swiglu(rng: &mut Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    for n in LENGTHS.into_iter().chain([4096, 8224]) {
        let any = SwiGlu { n, gate: Draw::Any, up: Draw::Any };
        cases.push(because("length", any.case(rng, Span::all(0, 3))));
    }
    for (gate, up) in Draw::SPECIAL.into_iter().flat_map(|g| Draw::SPECIAL.map(|u| (g, u))) {
        cases.push(because("extremes", SwiGlu { n: 64, gate, up }.case(rng, Span::all(0, 1))));
    }
    let usual = SwiGlu { n: 96, gate: Draw::Any, up: Draw::Any };
    cases.push(because("every magnitude", usual.case(rng, Span::all(0, 200))));
    cases.push(because("heads only", usual.case(rng, Span::heads(7, 9, 6))));
    cases
}

fn sample(rng: &mut Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    for vocabulary in [1, 2, 3, 31, 63, 64, 65, 127, 255, 256, 257, 511, 1000, 49152] {
        for (logits, peaks) in
            [0, 1, 1, 2, 5].map(|n| (Draw::Any, n)).into_iter().chain([(Draw::Limits, 0)])
        {
            let sample = Sample::greedy(vocabulary, logits, peaks);
            cases.push(because("vocabulary", sample.case(rng, Span::heads(4, 5, 2))));
        }
        for temperature in [1, 1 << 14, 1 << 16, Sampling::TEMPERATURE_MAX] {
            let sample = Sample::drawn(rng, vocabulary, temperature);
            cases.push(because("drawn", sample.case(rng, Span::heads(65_000, 5, 2))));
        }
    }
    for logits in [Draw::Zero, Draw::Highest, Draw::Lowest] {
        let sample = Sample::greedy(777, logits, 0);
        cases.push(because("all equal", sample.case(rng, Span::heads(0, 3, 0))));
        // Only the noise differs: its largest values, of vocabularies as large as they get.
        let sampling = Sampling { seed: rng.next(), temperature: 1 << 16 };
        let sample = Sample { sampling, ..Sample::greedy(262_144, logits, 0) };
        cases.push(because("noise alone", sample.case(rng, Span::heads(3, 3, 1))));
    }
    cases.extend(Sample::ties().map(|case| because("scores tie", case)));
    cases
}
