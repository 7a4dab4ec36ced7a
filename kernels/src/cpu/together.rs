//! Sequences that share their parts, against the reference, which runs each by itself.

#[path = "../../tests/common/mod.rs"]
mod common;

use super::cache::Cache;
use super::queue::{Job, drain};
use super::{BATCH, Cpu, Isa};
use crate::backend::{Backend, Batch, Head, Rows, Sequence};
use crate::decoder::Decoder;
use crate::reference::{Reference, Sampling};
use common::Rng;
use common::decoder::{Shape, random};
use std::sync::Arc;

/// What a sequence is asked for next.
struct Call {
    tokens: Vec<u32>,
    head: Head,
}

fn call(rng: &mut Rng, decoder: &Decoder, most: usize) -> Call {
    let n = 1 + rng.below(most as u64) as usize;
    let token = |_| rng.below(decoder.vocabulary as u64) as u32;
    let tokens: Vec<u32> = (0..n).map(token).collect();
    // Random weights give large logits: with little noise all would be drawn as greedily.
    let temperature = [0, 1 << 16, Sampling::TEMPERATURE_MAX][rng.below(3) as usize];
    let sampling = Sampling { seed: rng.below(9) * u64::from(temperature > 0), temperature };
    let head = match rng.below(4) {
        0 => Head::None,
        1 => Head::Samples(n, sampling),
        _ => Head::Samples(1 + rng.below(n as u64) as usize, sampling),
    };
    Call { tokens, head }
}

fn empty(decoder: &Decoder, Call { tokens, head }: &Call) -> Batch {
    let groups = tokens.len() * decoder.kv;
    let rows = Rows { values: vec![0; groups * decoder.head_len], shifts: vec![0; groups] };
    let carried = vec![rows; 2 * decoder.layers.len()];
    Batch { carried, samples: vec![0; head.positions()], ..Batch::default() }
}

/// Three calls of each of `count` sequences; the calls of all go together.
fn compare(shape: &Shape, seed: u64, count: usize, most: usize) {
    let decoder = random(shape, seed);
    let shape_of = || Cache::new(decoder.attention(), shape.layers, shape.context).unwrap();
    for (isa, threads) in Isa::all().into_iter().flat_map(|isa| [(isa, 1), (isa, 3)]) {
        let cpu = Cpu::with_isa(decoder.clone(), Some(threads), isa).unwrap();
        let reference = Arc::new(Reference::new(decoder.clone()).unwrap());
        let start = |_| reference.clone().sequence(shape.context).unwrap();
        let mut own: Vec<Box<dyn Sequence>> = (0..count).map(start).collect();
        let mut caches: Vec<Cache> = (0..count).map(|_| shape_of()).collect();
        let rng = &mut Rng(seed);
        for round in 0..3 {
            let calls: Vec<Call> = (0..count).map(|_| call(rng, &decoder, most)).collect();
            let jobs = calls.iter().zip(&own).zip(caches.drain(..)).map(|((call, own), cache)| {
                let batch = empty(&decoder, call);
                Job::new(&call.tokens, call.head, own.len(), (cache, batch))
            });
            let done = drain(jobs.collect(), &|shares| cpu.run(shares));
            assert_eq!(done.len(), count);
            for ((i, job), (call, own)) in
                done.into_iter().enumerate().zip(calls.iter().zip(&mut own))
            {
                let expected = own.forward(&call.tokens, call.head).unwrap();
                let context = format!("{isa:?}, {threads} threads, {shape:?}, call {round} of {i}");
                assert!(job.batch.carried == expected.carried, "K and V: {context}");
                assert_eq!(job.batch.samples, expected.samples, "{context}");
                caches.push(job.cache);
            }
        }
    }
}

#[test]
fn many_short_ones() {
    compare(&Shape { context: 128, ..Shape::default() }, 1, 9, 3);
    compare(&Shape { context: 128, layers: 1, biases: true, ..Shape::default() }, 2, 5, 40);
}

#[test]
fn heads_and_panels_of_every_kind() {
    let shapes = [(16, 8, 2, 2), (16, 4, 34, 30), (12, 1, 8, 8)];
    for (seed, (heads, kv, head_len, rotated)) in shapes.into_iter().enumerate() {
        let (context, vocabulary) = (64, 33 + 64 * seed);
        let shape = Shape {
            heads,
            kv,
            head_len,
            rotated,
            context,
            vocabulary,
            layers: 2,
            ..Shape::default()
        };
        compare(&shape, 10 + seed as u64, 4, 20);
    }
}

#[test]
fn more_positions_than_a_part_holds() {
    let shape = Shape {
        width: 32,
        hidden: 32,
        heads: 2,
        kv: 1,
        context: 3 * BATCH,
        vocabulary: 40,
        layers: 2,
        ..Shape::default()
    };
    compare(&shape, 20, 5, BATCH);
}
