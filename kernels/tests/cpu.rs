//! The CPU backend against the reference, with every instruction set of this machine: bit for bit.

mod common;

use common::Rng;
use common::decoder::{Shape, random};
use refute_kernels::backend::{Backend, BackendError, Batch, Head, Rows};
use refute_kernels::cpu::{BATCH, Cpu, Isa};
use refute_kernels::decoder::Decoder;
use refute_kernels::reference::Reference;
use refute_kernels::{Format, Sampling, sample};
use std::sync::Arc;

/// A backend for each instruction set, with one thread and with three.
fn backends(decoder: &Arc<Decoder>) -> Vec<(String, Arc<dyn Backend>)> {
    let isas = Isa::all().into_iter();
    let all = isas.flat_map(|isa| [1, 3].map(|threads| (isa, threads)));
    all.map(|(isa, threads)| {
        let backend = Cpu::with_isa(decoder.clone(), Some(threads), isa).unwrap();
        let name = format!("{}, {threads} threads", isa.name());
        (name, Arc::new(backend) as Arc<dyn Backend>)
    })
    .collect()
}

fn tokens(rng: &mut Rng, n: usize, vocabulary: usize) -> Vec<u32> {
    (0..n).map(|_| rng.below(vocabulary as u64) as u32).collect()
}

/// Positions `range` of every carried tensor.
fn cut(decoder: &Decoder, carried: &[Rows], range: std::ops::Range<usize>) -> Vec<Rows> {
    let (groups, width) = (decoder.kv, decoder.kv * decoder.head_len);
    let cut = |rows: &Rows| Rows {
        values: rows.values[range.start * width..range.end * width].to_vec(),
        shifts: rows.shifts[range.start * groups..range.end * groups].to_vec(),
    };
    carried.iter().map(cut).collect()
}

/// Runs `n` tokens in one batch, and in parts of `sizes`, and compares with the reference.
fn compare(shape: &Shape, seed: u64, n: usize, sizes: &[usize]) {
    let decoder = random(shape, seed);
    let rng = &mut Rng(seed);
    let tokens = tokens(rng, n, shape.vocabulary);
    let reference = Arc::new(Reference::new(decoder.clone()).unwrap());
    let whole = reference.clone().sequence(n).unwrap().forward(&tokens, Head::Logits(n)).unwrap();
    let prompt = reference.sequence(n).unwrap().forward(&tokens, Head::None).unwrap();
    for (name, backend) in backends(&decoder) {
        let context = format!("{name}, {shape:?}, seed {seed}");
        let run = |head| backend.clone().sequence(n).unwrap().forward(&tokens, head).unwrap();
        assert!(run(Head::Logits(n)) == whole, "all logits: {context}");
        let heads = 1 + rng.below(n as u64) as usize;
        let some = run(Head::Samples(heads, Sampling::GREEDY));
        assert!(some.carried == whole.carried, "K and V: {context}");
        assert!(some.samples == whole.samples[n - heads..], "{heads} samples: {context}");
        assert!(run(Head::None) == prompt, "no head: {context}");
        for &size in sizes {
            let mut sequence = backend.clone().sequence(n).unwrap();
            let mut saturations = 0;
            for start in (0..n).step_by(size) {
                let end = n.min(start + size);
                let batch =
                    sequence.forward(&tokens[start..end], Head::Logits(end - start)).unwrap();
                assert!(
                    batch.carried == cut(&decoder, &whole.carried, start..end),
                    "K and V of {start}..{end}: {context}"
                );
                assert!(
                    batch.samples == whole.samples[start..end],
                    "samples of {start}..{end}: {context}"
                );
                let logits = start * shape.vocabulary..end * shape.vocabulary;
                assert!(
                    batch.logits == whole.logits[logits],
                    "logits of {start}..{end}: {context}"
                );
                saturations += batch.saturations;
            }
            assert_eq!(saturations, whole.saturations, "{context}");
        }
    }
}

#[test]
fn every_format_in_batches_of_any_size() {
    for (seed, format) in [Format::Q8_0, Format::Q4_0, Format::Q4_1].into_iter().enumerate() {
        compare(&Shape { format, ..Shape::default() }, seed as u64, 41, &[1, 7, 32]);
    }
}

#[test]
fn heads_of_every_size_and_grouping() {
    let shapes = [
        (16, 8, 2, 2),
        (4, 4, 32, 32),
        (4, 2, 64, 64),
        (2, 1, 80, 64),
        (3, 3, 128, 128),
        (2, 1, 256, 128),
        (16, 4, 34, 30),
        (6, 2, 16, 0),
        (12, 1, 8, 8),
    ];
    for (seed, (heads, kv, head_len, rotated)) in shapes.into_iter().enumerate() {
        let shape = Shape { hidden: 64, heads, kv, head_len, rotated, ..Shape::default() };
        compare(&shape, 10 + seed as u64, 35, &[1, 3]);
    }
}

#[test]
fn rows_around_a_panel_and_columns_around_a_run() {
    for (seed, (width, hidden, vocabulary)) in
        [(32, 32, 1), (64, 544, 31), (96, 512, 33), (544, 64, 65), (32, 1056, 97)]
            .into_iter()
            .enumerate()
    {
        for format in [Format::Q8_0, Format::Q4_0, Format::Q4_1] {
            let shape = Shape { format, width, hidden, vocabulary, layers: 2, ..Shape::default() };
            compare(&shape, 20 + seed as u64, 9, &[1, 2, 4]);
        }
    }
}

#[test]
fn biases_and_saturation() {
    for scale in [8, 14, 16, 18, 21] {
        for format in [Format::Q4_0, Format::Q4_1, Format::Q8_0] {
            let scale = if format == Format::Q4_1 { scale - 3 } else { scale };
            let shape = Shape { format, biases: true, scale, ..Shape::default() };
            compare(&shape, 30 + u64::from(scale), 20, &[1, 6]);
        }
    }
}

#[test]
fn contexts_around_a_unit_and_a_part() {
    let shape = Shape {
        width: 32,
        hidden: 32,
        heads: 2,
        kv: 1,
        head_len: 16,
        vocabulary: 40,
        context: 2 * BATCH + 2,
        layers: 2,
        ..Shape::default()
    };
    for n in [1, 2, 31, 32, 33, 64, 65] {
        compare(&shape, 40 + n as u64, n, &[]);
    }
    for n in [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 1] {
        compare(&shape, 40 + n as u64, n, &[100]);
    }
}

#[test]
fn goes_on_after_truncation_and_from_pushed_rows() {
    let shape = Shape { context: 200, ..Shape::default() };
    let decoder = random(&shape, 50);
    let tokens = tokens(&mut Rng(50), 90, shape.vocabulary);
    let reference = Arc::new(Reference::new(decoder.clone()).unwrap());
    let whole = reference
        .sequence(90)
        .unwrap()
        .forward(&tokens, Head::Samples(90, Sampling::GREEDY))
        .unwrap();
    for (name, backend) in backends(&decoder) {
        for at in [1, 31, 32, 33, 50] {
            let rest = cut(&decoder, &whole.carried, at..90);
            let mut sequence = backend.clone().sequence(90).unwrap();
            // Other tokens first, so that there is something to forget.
            let reversed: Vec<u32> = tokens.iter().rev().copied().collect();
            sequence.forward(&reversed, Head::None).unwrap();
            sequence.truncate(0);
            sequence.forward(&tokens[..at], Head::None).unwrap();
            sequence.forward(&reversed[..30], Head::None).unwrap();
            sequence.truncate(at);
            let batch =
                sequence.forward(&tokens[at..], Head::Samples(90 - at, Sampling::GREEDY)).unwrap();
            assert!(batch.carried == rest, "{name}, truncated at {at}");
            assert_eq!(batch.samples, whole.samples[at..], "{name}, truncated at {at}");

            let mut sequence = backend.clone().sequence(90).unwrap();
            sequence.push(&cut(&decoder, &whole.carried, 0..1)).unwrap();
            sequence.push(&cut(&decoder, &whole.carried, 1..at)).unwrap();
            assert_eq!(sequence.len(), at);
            let batch =
                sequence.forward(&tokens[at..], Head::Samples(90 - at, Sampling::GREEDY)).unwrap();
            assert!(batch.carried == rest, "{name}, pushed {at}");
            assert_eq!(batch.samples, whole.samples[at..], "{name}, pushed {at}");
        }
    }
}

#[test]
fn values_at_their_limits_with_every_shift() {
    let shape = Shape { heads: 6, kv: 2, head_len: 32, rotated: 32, ..Shape::default() };
    let decoder = random(&shape, 60);
    let rng = &mut Rng(60);
    let groups = 50 * shape.kv;
    let mut extreme = |limit: i64, top: u64| Rows {
        values: (0..groups * 32)
            .map(|_| match rng.below(3) {
                0 => -limit as i16,
                1 => limit as i16,
                _ => (rng.below(2 * limit as u64 + 1) as i64 - limit) as i16,
            })
            .collect(),
        shifts: (0..groups)
            .map(|_| if rng.below(4) > 0 { top as u8 } else { rng.below(top + 1) as u8 })
            .collect(),
    };
    for _ in 0..8 {
        let carried: Vec<Rows> =
            (0..shape.layers).flat_map(|_| [extreme(2047, 20), extreme(4095, 19)]).collect();
        let reference = Arc::new(Reference::new(decoder.clone()).unwrap());
        let mut sequence = reference.sequence(60).unwrap();
        sequence.push(&carried).unwrap();
        let expected = sequence.forward(&[1, 2, 3, 4, 5], Head::Logits(5)).unwrap();
        for (name, backend) in backends(&decoder) {
            let mut sequence = backend.sequence(60).unwrap();
            sequence.push(&carried).unwrap();
            let batch = sequence.forward(&[1, 2, 3, 4, 5], Head::Logits(5)).unwrap();
            assert!(batch == expected, "{name}");
        }
    }
}

#[test]
fn several_sequences_at_once() {
    let shape = Shape::default();
    let decoder = random(&shape, 70);
    let backend = Arc::new(Cpu::new(decoder, Some(2)).unwrap());
    let run = |seed: u64| -> Batch {
        let tokens = tokens(&mut Rng(seed), 40, shape.vocabulary);
        let mut sequence = backend.clone().sequence(40).unwrap();
        sequence.forward(&tokens[..20], Head::None).unwrap();
        sequence.forward(&tokens[20..], Head::Samples(20, Sampling::GREEDY)).unwrap()
    };
    let alone: Vec<Batch> = (0..4).map(run).collect();
    let together: Vec<Batch> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || run(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(alone == together);
}

#[test]
fn refuses_what_does_not_fit() {
    let decoder = random(&Shape { context: 1 << 16, ..Shape::default() }, 80);
    let backend = Arc::new(Cpu::new(decoder.clone(), None).unwrap());
    let mut sequence = backend.clone().sequence(3).unwrap();
    let refused = |result: Result<Batch, BackendError>| {
        assert!(matches!(result, Err(BackendError::Input(_))));
    };
    refused(sequence.forward(&[0; 4], Head::None));
    refused(sequence.forward(&[100], Head::None));
    refused(sequence.forward(&[0], Head::Samples(2, Sampling::GREEDY)));
    for (seed, temperature) in [(1, 0), (0, Sampling::TEMPERATURE_MAX + 1)] {
        refused(sequence.forward(&[0], Head::Samples(1, Sampling { seed, temperature })));
    }
    assert!(matches!(sequence.push(&[]), Err(BackendError::Input(_))));
    assert!(matches!(backend.clone().sequence((1 << 16) + 1).err(), Some(BackendError::Input(_))));
    let mut broken = (*decoder).clone();
    broken.hidden += 32;
    assert!(matches!(Cpu::new(Arc::new(broken), None), Err(BackendError::Model(_))));
}

/// In batches of any size, with every instruction set: what the reference draws from its own logits.
#[test]
fn tokens_are_drawn_as_the_reference_draws_them() {
    let shape = Shape { context: 300, vocabulary: 1000, ..Shape::default() };
    let decoder = random(&shape, 31);
    let rng = &mut Rng(31);
    let n = BATCH + 20;
    let tokens = tokens(rng, n, shape.vocabulary);
    let reference = Arc::new(Reference::new(decoder.clone()).unwrap());
    let whole = reference.clone().sequence(n).unwrap().forward(&tokens, Head::Logits(n)).unwrap();
    let rows = || whole.logits.chunks(shape.vocabulary).zip(0..);
    for temperature in [1 << 16, Sampling::TEMPERATURE_MAX] {
        let sampling = Sampling { seed: rng.next(), temperature };
        let expected: Vec<_> = rows().map(|(row, t)| sample::forward(sampling, t, row)).collect();
        // Random weights give large logits.
        assert!(temperature == 1 << 16 || expected != whole.samples);
        for (name, backend) in backends(&decoder) {
            for size in [7, 64, n] {
                let mut sequence = backend.clone().sequence(n).unwrap();
                for start in (0..n).step_by(size) {
                    let end = n.min(start + size);
                    let heads = (end - start).div_ceil(2);
                    let head = Head::Samples(heads, sampling);
                    let batch = sequence.forward(&tokens[start..end], head).unwrap();
                    assert_eq!(batch.samples, expected[end - heads..end], "{name}, {sampling:?}");
                }
            }
        }
    }
}
