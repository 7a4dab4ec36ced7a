//! The reference backend: batches, forks and pushed rows give the same bits; wrong inputs are refused.

mod common;

use common::decoder::{Shape, random};
use refute_kernels::backend::{Backend, BackendError, Batch, Head, Rows};
use refute_kernels::decoder::Decoder;
use refute_kernels::reference::Reference;
use refute_kernels::{Format, Sampling};
use std::sync::Arc;

const TOKENS: [u32; 7] = [3, 99, 0, 17, 17, 42, 5];

fn reference(decoder: Arc<Decoder>) -> Arc<Reference> {
    Arc::new(Reference::new(decoder).unwrap())
}

/// Appends what `batch` has.
fn append(all: &mut Batch, batch: &Batch) {
    all.carried.resize(batch.carried.len(), Rows::default());
    for (all, new) in all.carried.iter_mut().zip(&batch.carried) {
        all.values.extend(&new.values);
        all.shifts.extend(&new.shifts);
    }
    all.samples.extend(&batch.samples);
    all.logits.extend(&batch.logits);
    all.saturations += batch.saturations;
}

#[test]
fn batches_of_any_size_give_the_same_bits() {
    for format in [Format::Q8_0, Format::Q4_0, Format::Q4_1] {
        let backend = reference(random(&Shape { format, ..Shape::default() }, 1));
        let mut whole = backend.clone().sequence(64).unwrap();
        let whole = whole.forward(&TOKENS, Head::Logits(7)).unwrap();
        let mut sequence = backend.clone().sequence(64).unwrap();
        let mut parts = Batch::default();
        for part in [&TOKENS[..1], &TOKENS[1..4], &[], &TOKENS[4..]] {
            append(&mut parts, &sequence.forward(part, Head::Logits(part.len())).unwrap());
        }
        assert_eq!(whole, parts);
        assert!(whole.samples.iter().any(|&t| t != whole.samples[0]), "not all the same token");
    }
}

#[test]
fn heads_only_add_samples_and_logits() {
    let backend = reference(random(&Shape::default(), 2));
    let run = |head| backend.clone().sequence(64).unwrap().forward(&TOKENS, head).unwrap();
    let all = run(Head::Logits(7));
    for n in 0..=7 {
        let logits = run(Head::Logits(n));
        assert_eq!(logits.carried, all.carried);
        assert_eq!(logits.samples, all.samples[7 - n..]);
        assert_eq!(logits.logits, all.logits[(7 - n) * 100..]);
        assert_eq!(run(Head::Samples(n, Sampling::GREEDY)), Batch { logits: vec![], ..logits });
    }
    assert_eq!(run(Head::None), run(Head::Samples(0, Sampling::GREEDY)));
}

#[test]
fn goes_on_from_pushed_rows_and_after_truncation() {
    let backend = reference(random(&Shape::default(), 3));
    let mut sequence = backend.clone().sequence(64).unwrap();
    let first = sequence.forward(&TOKENS[..4], Head::None).unwrap();
    let rest = sequence.forward(&TOKENS[4..], Head::Samples(2, Sampling::GREEDY)).unwrap();
    sequence.truncate(4);
    assert_eq!(sequence.len(), 4);
    assert_eq!(sequence.forward(&TOKENS[4..], Head::Samples(2, Sampling::GREEDY)).unwrap(), rest);
    let mut other = backend.clone().sequence(64).unwrap();
    other.push(&first.carried).unwrap();
    assert_eq!(other.forward(&TOKENS[4..], Head::Samples(2, Sampling::GREEDY)).unwrap(), rest);
}

#[test]
fn counts_saturated_values() {
    let shape = Shape { scale: 18, ..Shape::default() };
    let backend = reference(random(&shape, 4));
    let batch = backend
        .clone()
        .sequence(8)
        .unwrap()
        .forward(&TOKENS, Head::Samples(1, Sampling::GREEDY))
        .unwrap();
    assert!(batch.saturations > 0);
    let backend = reference(random(&Shape::default(), 4));
    let batch = backend
        .clone()
        .sequence(8)
        .unwrap()
        .forward(&TOKENS, Head::Samples(1, Sampling::GREEDY))
        .unwrap();
    assert_eq!(batch.saturations, 0);
}

#[test]
fn refuses_what_does_not_fit() {
    let decoder = random(&Shape::default(), 5);
    let backend = reference(decoder.clone());
    let is_input = |r: Result<Batch, BackendError>| matches!(r, Err(BackendError::Input(_)));
    assert!(matches!(backend.clone().sequence(65).err(), Some(BackendError::Input(_))));
    let mut sequence = backend.clone().sequence(3).unwrap();
    assert!(is_input(sequence.forward(&TOKENS[..4], Head::None)), "no room");
    assert!(is_input(sequence.forward(&[100], Head::None)), "no such token");
    assert!(
        is_input(sequence.forward(&[1, 2], Head::Samples(3, Sampling::GREEDY))),
        "more heads than tokens"
    );
    let good = sequence.forward(&TOKENS[..2], Head::None).unwrap().carried;
    sequence.truncate(0);
    let mut refused = |change: &dyn Fn(&mut Vec<Rows>)| {
        let mut rows = good.clone();
        change(&mut rows);
        assert!(matches!(sequence.push(&rows), Err(BackendError::Input(_))));
    };
    refused(&|rows| rows.truncate(5));
    refused(&|rows| rows[1].shifts.truncate(3));
    refused(&|rows| rows[2].values.truncate(3));
    refused(&|rows| rows[0].values[0] = 2048);
    refused(&|rows| rows[1].values[7] = -4096);
    refused(&|rows| rows[0].shifts[0] = 21);
    refused(&|rows| rows[1].shifts[0] = 20);
    refused(&|rows| *rows = vec![Rows { values: vec![0; 128], shifts: vec![0; 8] }; 6]);
    sequence.push(&good).unwrap();

    let broken = |change: &dyn Fn(&mut Decoder)| {
        let mut decoder = (*decoder).clone();
        change(&mut decoder);
        assert!(matches!(Reference::new(Arc::new(decoder)), Err(BackendError::Model(_))));
    };
    broken(&|d| d.kv = 3);
    broken(&|d| d.head_len = 15);
    broken(&|d| d.rotated = 18);
    broken(&|d| d.hidden = 64);
    broken(&|d| d.vocabulary = 101);
    broken(&|d| d.context = 65);
    broken(&|d| d.rope = vec![i32::MAX; 64 * 16].into());
    broken(&|d| d.output_norm.weights = vec![0; 63].into());
    broken(&|d| d.layers[1].attn_q.bias = Some(vec![0; 63].into()));
    broken(&|d| d.layers[2].ffn_up.weights.format = Format::I32);
}
