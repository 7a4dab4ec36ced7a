//! Single steps of the CPU backend against the reference, with every instruction set of this machine: bit for bit.

mod common;

use common::Rng;
use common::decoder::{Shape, random};
use refute_kernels::backend::{Backend, Head, Quantized};
use refute_kernels::cpu::{Cpu, Isa};
use refute_kernels::decoder::{Bytes, Decoder, Linear, Matrix};
use refute_kernels::format::row_bound;
use refute_kernels::reference::Reference;
use refute_kernels::{Format, Heads, Sampling, linear, max, mix, probs, scores, sum, swiglu};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const FORMATS: [Format; 3] = [Format::Q8_0, Format::Q4_0, Format::Q4_1];

/// A backend for each instruction set, with one thread and with three.
fn backends(decoder: &Arc<Decoder>) -> Vec<(String, Arc<Cpu>)> {
    let isas = Isa::all().into_iter();
    let all = isas.flat_map(|isa| [1, 3].map(|threads| (isa, threads)));
    all.map(|(isa, threads)| {
        let backend = Cpu::with_isa(decoder.clone(), Some(threads), isa).unwrap();
        (format!("{}, {threads} threads", isa.name()), Arc::new(backend))
    })
    .collect()
}

/// The same decoder with scales of every exponent and sign, up to the ends of their range, and a bias for the head.
fn wild(decoder: &Decoder, format: Format, rng: &mut Rng) -> Arc<Decoder> {
    let mut decoder = decoder.clone();
    let mut replace = |linear: &mut Linear| {
        let Matrix { rows, cols, .. } = linear.weights;
        let bytes = Bytes::from_vec(rng.weights(format, rows, cols, false));
        linear.weights = Matrix { format, rows, cols, bytes };
        linear.bias = linear.bias.is_some().then(|| rng.fx(rows).into());
    };
    for layer in &mut decoder.layers {
        replace(&mut layer.attn_k);
        replace(&mut layer.attn_v);
        replace(&mut layer.attn_q);
        replace(&mut layer.attn_output);
        replace(&mut layer.ffn_gate);
        replace(&mut layer.ffn_up);
        replace(&mut layer.ffn_down);
    }
    decoder.output.bias = Some(vec![0; decoder.vocabulary].into());
    replace(&mut decoder.output);
    Arc::new(decoder)
}

/// A row as `Quantize` yields it: any, all at one end of the range, alternating, or nothing.
fn row(rng: &mut Rng, cols: usize) -> Vec<i16> {
    match rng.below(6) {
        0 => vec![0; cols],
        1 => vec![i16::MAX; cols],
        2 => vec![-i16::MAX; cols],
        3 => (0..cols).map(|i| if i % 2 == 0 { i16::MAX } else { -i16::MAX }).collect(),
        _ => rng.quantized(cols, 15),
    }
}

/// What the reference computes.
fn expected(linear: &Linear, (x, shifts): Quantized<'_>, residual: Option<&[i32]>) -> Vec<i32> {
    let Linear { weights, bias } = linear;
    let mut out = vec![0; weights.rows];
    linear::forward(
        weights.format,
        &weights.bytes,
        x,
        shifts[0],
        bias.as_deref(),
        residual,
        &mut out,
    );
    out
}

/// Every linear of a decoder, with several rows, shifts and residuals.
fn compare_linears(decoder: &Arc<Decoder>, rng: &mut Rng, context: &str) {
    for linear in decoder.linears() {
        let Matrix { format, rows, .. } = linear.weights;
        let fits = |row| row_bound(format, linear.weights.rows(row..row + 1)).unwrap() < 1 << 63;
        assert!((0..rows).all(fits), "the importer would refuse this: {context}");
    }
    for (name, backend) in backends(decoder) {
        let mut steps = backend.steps().expect("a CPU that idles");
        for (index, linear) in decoder.linears().enumerate() {
            for shift in [0, 1, 8, 15, 16, 17, 255] {
                let x = row(rng, linear.weights.cols);
                let residual = (rng.below(3) > 0).then(|| rng.fx(linear.weights.rows));
                let residual = residual.as_deref();
                // What was there before must not matter.
                let mut out = rng.fx(linear.weights.rows);
                steps.linear(index, (&x, &[shift]), residual, &mut out);
                let expected = expected(linear, (&x, &[shift]), residual);
                assert!(out == expected, "linear {index}, shift {shift}, {name}, {context}");
            }
        }
    }
}

#[test]
fn linears_of_every_format() {
    let rng = &mut Rng(100);
    // Rows around a panel, columns around a run of the reference.
    let shapes = [(64, 96, 100, 1), (32, 32, 1, 1), (512, 64, 31, 1), (96, 480, 33, 2)];
    for (seed, (width, hidden, vocabulary, layers)) in shapes.into_iter().enumerate() {
        for format in FORMATS {
            for biases in [false, true] {
                let shape =
                    Shape { format, width, hidden, vocabulary, layers, biases, ..Shape::default() };
                let decoder = random(&shape, 100 + seed as u64);
                let context = format!("{shape:?}");
                compare_linears(&decoder, rng, &context);
                compare_linears(&wild(&decoder, format, rng), rng, &format!("wild {context}"));
            }
        }
    }
}

#[test]
fn long_rows() {
    let rng = &mut Rng(110);
    for format in FORMATS {
        let shape = Shape { format, width: 544, hidden: 1056, layers: 1, ..Shape::default() };
        compare_linears(&random(&shape, 110), rng, &format!("{shape:?}"));
    }
}

#[test]
fn linears_saturate_as_in_the_reference() {
    let rng = &mut Rng(120);
    let shape = Shape { format: Format::Q8_0, biases: true, layers: 1, ..Shape::default() };
    let decoder = wild(&random(&shape, 120), Format::Q8_0, rng);
    let backend = Arc::new(Cpu::new(decoder.clone(), Some(2)).unwrap());
    let mut steps = backend.steps().unwrap();
    let (mut high, mut low) = (0, 0);
    for (index, linear) in decoder.linears().enumerate() {
        for end in [i32::MIN, i32::MAX] {
            let (x, residual) = (row(rng, linear.weights.cols), vec![end; linear.weights.rows]);
            let mut out = vec![0; linear.weights.rows];
            steps.linear(index, (&x, &[16]), Some(&residual), &mut out);
            assert_eq!(out, expected(linear, (&x, &[16]), Some(&residual)));
            high += out.iter().filter(|&&y| y == i32::MAX).count();
            low += out.iter().filter(|&&y| y == -i32::MAX).count();
        }
    }
    assert!(high > 0 && low > 0, "neither end was reached");
}

/// Rows of K or V and the shifts of their heads, both up to the ends of their ranges.
fn carried(rng: &mut Rng, shape: &Heads, positions: usize, bits: u32) -> (Vec<i16>, Vec<u8>) {
    let groups = positions * shape.kv;
    let (limit, top) = ((1i16 << bits) - 1, 31 - bits as u64);
    let kind = rng.below(5);
    let value = |rng: &mut Rng| match kind {
        0 => 0,
        1 => limit,
        2 => -limit,
        _ => (rng.below(2 * limit as u64 + 1) as i32 - i32::from(limit)) as i16,
    };
    let values = (0..groups * shape.len).map(|_| value(rng)).collect();
    let (base, range) = [(0, top), (top, 0), (3, 2), (7, 0)][rng.below(4) as usize];
    (values, (0..groups).map(|_| (base + rng.below(range + 1)) as u8).collect())
}

/// Scores and Mix of the last of so many positions, from its own tensors and from others.
fn compare_attention(
    decoder: &Decoder,
    backend: &dyn Backend,
    rng: &mut Rng,
    positions: usize,
    context: &str,
) {
    let shape = decoder.attention();
    let Heads { heads, len, .. } = shape;
    let (k, k_shifts) = carried(rng, &shape, positions, 11);
    let (v, v_shifts) = carried(rng, &shape, positions, 12);
    let (q, q_shifts) = carried(rng, &Heads { kv: heads, ..shape }, 1, 12);
    let n = heads * positions;
    let (mut expected, mut found) = (vec![0; n], rng.fx(n));
    let scale = decoder.score_scale;
    scores::forward(&shape, scale, &q, &q_shifts, &k, &k_shifts, &mut expected);
    let mut steps = backend.steps().expect("a CPU that idles");
    steps.scores((&q, &q_shifts), (&k, &k_shifts), &mut found);
    assert!(found == expected, "scores of {positions}, {context}");

    let (mut maxima, mut p, mut sums) = (vec![0; heads], vec![0; n], vec![0; heads]);
    max::forward(heads, &expected, &mut maxima);
    probs::forward(heads, &expected, &maxima, &mut p);
    sum::forward(heads, &p, &mut sums);
    for (scores, maxima) in
        [(&expected, &maxima), (&rng.fx(n), &maxima), (&rng.fx(n), &rng.fx(heads))]
    {
        let (mut expected, mut found) = (vec![0; n], vec![7; n]);
        probs::forward(heads, scores, maxima, &mut expected);
        steps.probs(scores, maxima, &mut found);
        assert!(found == expected, "probs of {positions}, {context}");
    }
    // As a fault may leave them: probabilities of none and of several, any sum.
    let mut one_of = |ends: [u32; 3], limit: u64| match rng.below(4) {
        3 => rng.below(limit) as u32,
        end => ends[end as usize],
    };
    let others: Vec<u16> = (0..n).map(|_| one_of([0, 1, 1 << 14], 1 << 14) as u16).collect();
    let any: Vec<u32> = (0..heads).map(|_| one_of([0, 1, u32::MAX], 1 << 32)).collect();
    for (p, sums) in [(&p, &sums), (&p, &any), (&others, &any), (&vec![0; n], &any)] {
        let (mut expected, mut found) = (vec![0; heads * len], rng.fx(heads * len));
        mix::forward(&shape, p, sums, &v, &v_shifts, &mut expected);
        steps.mix(p, sums, (&v, &v_shifts), &mut found);
        assert!(found == expected, "mix of {positions}, {context}");
    }
}

#[test]
fn attention_of_every_size_and_grouping() {
    let rng = &mut Rng(150);
    let shapes =
        [(16, 8, 2), (4, 4, 32), (9, 3, 64), (2, 1, 80), (3, 3, 128), (2, 1, 256), (16, 4, 34)];
    for (heads, kv, head_len) in shapes {
        let shape = Shape {
            heads,
            kv,
            head_len,
            rotated: 2,
            width: 32,
            hidden: 32,
            layers: 1,
            ..Shape::default()
        };
        let decoder = random(&shape, 150);
        for (name, backend) in backends(&decoder) {
            for positions in [1, 2, 31, 127, 128, 129, 300] {
                let context = format!("{name}, {shape:?}");
                compare_attention(&decoder, &*backend, rng, positions, &context);
            }
        }
    }
}

#[test]
fn gates() {
    let decoder = random(&Shape::default(), 160);
    let rng = &mut Rng(160);
    for (name, backend) in backends(&decoder) {
        for n in common::LENGTHS {
            // Every Fx, which −2^31 is not.
            let mut row = || rng.fx(n).iter().map(|x| (*x).max(-i32::MAX)).collect::<Vec<_>>();
            let (gate, up, mut found) = (row(), row(), row());
            let mut expected = vec![0; n];
            swiglu::forward(&gate, &up, &mut expected);
            backend.steps().unwrap().swiglu(&gate, &up, &mut found);
            assert_eq!(found, expected, "{n}, {name}");
        }
    }
}

#[test]
fn one_caller_at_a_time_and_sequences_go_on_behind_it() {
    let shape = Shape::default();
    let decoder = random(&shape, 130);
    let reference: Arc<dyn Backend> = Arc::new(Reference::new(decoder.clone()).unwrap());
    assert!(reference.steps().is_none(), "what others are compared with computes by itself");
    let tokens: Vec<u32> = (0..30).collect();
    let head = Head::Samples(1, Sampling::GREEDY);
    let mut whole = reference.sequence(30).unwrap();
    for (name, backend) in backends(&decoder) {
        whole.truncate(0);
        let mut sequence = backend.clone().sequence(30).unwrap();
        for part in tokens.chunks(7) {
            let mut steps = backend.steps().expect("a CPU that idles");
            assert!(backend.steps().is_none(), "lent twice");
            let last = decoder.linears().count() - 1;
            steps.linear(last, (&[77; 64], &[3]), None, &mut [0; 100]);
            drop(steps);
            let expected = whole.forward(part, head).unwrap();
            assert!(sequence.forward(part, head).unwrap() == expected, "{name}");
        }
    }
}

#[test]
fn sizes_that_do_not_fit_end_the_call_and_nothing_else() {
    let decoder = random(&Shape::default(), 140);
    let backend = Cpu::new(decoder.clone(), Some(2)).unwrap();
    let x = [1; 64];
    let refused = |index: usize, x: &[i16], residual: Option<&[i32]>, out: usize| {
        let mut out = vec![0; out];
        let call = AssertUnwindSafe(|| {
            backend.steps().unwrap().linear(index, (x, &[0]), residual, &mut out);
        });
        assert!(catch_unwind(call).is_err());
    };
    refused(decoder.linears().count(), &x, None, 100);
    refused(0, &x[1..], None, 32);
    refused(0, &x, None, 31);
    refused(0, &x, Some(&[0; 33]), 32);
    // q, its shifts, K, its shifts, scores; then those of the other steps: each one too short, or too
    // long, or none.
    for (wrong, change) in (0..=5).flat_map(|i| [(i, -1), (i, 1)]) {
        let sizes = |mut sizes: [usize; 5]| {
            sizes.get_mut(wrong).into_iter().for_each(|n| *n = n.strict_add_signed(change));
            sizes
        };
        let scores = || {
            let [q, q_shifts, k, k_shifts, out] = sizes([64, 4, 96, 6, 12]);
            let (q, k) = (
                (&vec![1; q][..], &vec![0; q_shifts][..]),
                (&vec![1; k][..], &vec![0; k_shifts][..]),
            );
            backend.steps().unwrap().scores(q, k, &mut vec![0; out]);
        };
        assert_eq!(catch_unwind(AssertUnwindSafe(scores)).is_err(), wrong < 5);
        let probs = || {
            let [scores, maxima, out, ..] = sizes([12, 4, 12, 1, 1]);
            let (scores, maxima) = (vec![1; scores], vec![1; maxima]);
            backend.steps().unwrap().probs(&scores, &maxima, &mut vec![0; out]);
        };
        assert_eq!(catch_unwind(AssertUnwindSafe(probs)).is_err(), wrong < 3);
        let swiglu = || {
            let [gate, up, out, ..] = sizes([12; 5]);
            let (gate, up) = (vec![1; gate], vec![1; up]);
            backend.steps().unwrap().swiglu(&gate, &up, &mut vec![0; out]);
        };
        assert_eq!(catch_unwind(AssertUnwindSafe(swiglu)).is_err(), wrong < 3);
        let mix = || {
            let [probs, sums, v, v_shifts, out] = sizes([12, 4, 96, 6, 64]);
            let v = (&vec![1; v][..], &vec![0; v_shifts][..]);
            backend.steps().unwrap().mix(&vec![1; probs], &vec![1; sums], v, &mut vec![0; out]);
        };
        assert_eq!(catch_unwind(AssertUnwindSafe(mix)).is_err(), wrong < 5);
    }
    let linear = decoder.linears().next().unwrap();
    let mut out = [0; 32];
    backend.steps().unwrap().linear(0, (&x, &[0]), None, &mut out);
    assert_eq!(out[..], expected(linear, (&x, &[0]), None));
}
