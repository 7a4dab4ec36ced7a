//! `forward` is the fold of the units, on random and adversarial inputs and at every tail length;
//! and the order of the units doesn't matter.

mod common;

use common::{EXTREMES, LENGTHS, Rng};
use refute_kernels::{
    Format, Heads, MAX_INIT, Sampling, embed, linear, max, mix, probs, quantize, rms_norm, rope,
    sample, scores, sum, swiglu,
};

/// Rows of `n` that are all one extreme, and random ones.
fn rows(rng: &mut Rng, n: usize) -> Vec<Vec<i32>> {
    let constant = EXTREMES.map(|x| vec![x; n]).into_iter();
    constant.chain((0..4).map(|_| rng.fx(n))).collect()
}

/// Folds forwards and backwards, which must agree.
fn fold<T>(init: i128, items: &[T], len: usize, unit: impl Fn(i128, &[T]) -> i128) -> i128 {
    let forward = items.chunks(len).fold(init, &unit);
    assert_eq!(forward, items.chunks(len).rev().fold(init, &unit));
    forward
}

#[test]
fn rms_norm_is_its_fold() {
    let mut rng = Rng(10);
    for n in LENGTHS {
        for x in rows(&mut rng, n) {
            let w = rng.fx(n);
            let acc = fold(0, &x, rms_norm::UNIT, rms_norm::unit);
            for (eps, exponent) in [(1, 30), (168, -8), (u32::MAX, 55), (168, 30)] {
                let mut out = vec![0; n];
                rms_norm::forward(&x, &w, eps, exponent, &mut out);
                for i in 0..n {
                    let y = rms_norm::finalize(acc, n as u32, eps, exponent, x[i], w[i]);
                    assert_eq!(out[i], y, "element {i} of {n}");
                }
            }
        }
    }
}

#[test]
fn quantize_is_its_fold() {
    let mut rng = Rng(11);
    for (len, groups) in LENGTHS.into_iter().flat_map(|n| [(n, 1), (n, 3)]) {
        for x in rows(&mut rng, len * groups) {
            for bits in [11, 12, 15] {
                let mut values = vec![0; x.len()];
                let mut shifts = vec![0; groups];
                quantize::forward(&x, groups, bits, &mut values, &mut shifts);
                for (g, x) in x.chunks(len).enumerate() {
                    let acc = fold(0, x, quantize::UNIT, quantize::unit);
                    assert_eq!(shifts[g], quantize::shift(acc, bits));
                    for (i, &x) in x.iter().enumerate() {
                        let value = quantize::value(x, shifts[g], bits);
                        assert_eq!(values[g * len + i], value);
                        assert!(i32::from(value).abs() < 1 << bits);
                    }
                }
            }
        }
    }
}

/// A linear's row by its leaves.
fn linear_acc(format: Format, row: &[u8], x: &[i16]) -> i128 {
    let leaf_bytes = format.leaf_len() / format.block_len() * format.block_bytes();
    let leaves: Vec<_> = row.chunks(leaf_bytes).zip(x.chunks(format.leaf_len())).collect();
    assert_eq!(leaves.len(), format.leaves_per_row(x.len()));
    fold(0, &leaves, 1, |acc, leaf| linear::unit(format, leaf[0].0, leaf[0].1, acc))
}

fn check_linear(rng: &mut Rng, format: Format, cols: usize, wild: bool, x: &[i16]) {
    let rows = 3;
    let weights = rng.weights(format, rows, cols, wild);
    let (bias, residual) = (rng.fx(rows), rng.fx(rows));
    for (bias, residual) in [
        (None, None),
        (Some(&bias[..]), None),
        (None, Some(&residual[..])),
        (Some(&bias), Some(&residual)),
    ] {
        let shift = rng.below(20) as u8;
        let mut out = vec![0; rows];
        linear::forward(format, &weights, x, shift, bias, residual, &mut out);
        for (i, row) in weights.chunks(format.row_bytes(cols)).enumerate() {
            let acc = linear_acc(format, row, x);
            let (bias, residual) = (bias.map(|b| b[i]), residual.map(|r| r[i]));
            assert_eq!(out[i], linear::finalize(acc, shift, bias, residual), "{format:?} {cols}");
            let mut one = [0];
            let (bias, residual) = (bias.map(|b| vec![b]), residual.map(|r| vec![r]));
            linear::forward(format, row, x, shift, bias.as_deref(), residual.as_deref(), &mut one);
            assert_eq!(out[i], one[0], "a sub-range of rows");
        }
    }
}

#[test]
fn linear_is_its_fold() {
    let mut rng = Rng(12);
    for format in [Format::Q8_0, Format::Q4_0, Format::Q4_1] {
        for cols in [32, 64, 480, 512, 544, 992, 1024, 1056, 2048, 2080, 3200] {
            for wild in [false, true] {
                let x = rng.i16s(cols);
                check_linear(&mut rng, format, cols, wild, &x);
                for q in [i16::MIN, i16::MAX, 0, -1] {
                    check_linear(&mut rng, format, cols, wild, &vec![q; cols]);
                }
            }
        }
    }
    for cols in LENGTHS {
        let x = rng.i16s(cols);
        check_linear(&mut rng, Format::I32, cols, false, &x);
    }
}

/// All weights, scales and activations at their extremes together: the largest sums there are.
#[test]
fn linear_holds_the_largest_sums() {
    for scale in [0x57ff, 0xd7ff, 0x7fff, 0xffff, 0x0000, 0x8001u16] {
        for (format, weight) in [
            (Format::Q8_0, 0x80),
            (Format::Q8_0, 0x7f),
            (Format::Q4_0, 0x00),
            (Format::Q4_0, 0xff),
            (Format::Q4_1, 0xff),
        ] {
            let mut row = vec![weight; format.row_bytes(4096)];
            for block in row.chunks_mut(format.block_bytes()) {
                block[..2].copy_from_slice(&scale.to_le_bytes());
                if format == Format::Q4_1 {
                    block[2..4].copy_from_slice(&scale.to_le_bytes());
                }
            }
            for q in [i16::MIN, i16::MAX] {
                let x = vec![q; 4096];
                let mut out = [0];
                linear::forward(format, &row, &x, 16, None, None, &mut out);
                assert_eq!(out[0], linear::finalize(linear_acc(format, &row, &x), 16, None, None));
            }
        }
    }
}

#[test]
fn embed_is_its_elements() {
    let mut rng = Rng(13);
    for format in [Format::I32, Format::Q8_0, Format::Q4_0, Format::Q4_1] {
        for n in [32, 64, 1024, 1056] {
            for wild in [false, true] {
                let row = rng.weights(format, 1, n, wild);
                let mut out = vec![0; n];
                embed::forward(format, &row, &mut out);
                for (i, &y) in out.iter().enumerate() {
                    assert_eq!(y, embed::element(format, &row, i), "{format:?} element {i}");
                }
                assert_eq!(embed::element(format, &row, n), 0);
            }
        }
    }
}

#[test]
fn rope_is_its_pairs() {
    let mut rng = Rng(14);
    for (heads, len, rotated) in [(1, 2, 2), (3, 64, 64), (2, 96, 32), (4, 8, 0), (1, 256, 256)] {
        for x in rows(&mut rng, heads * len) {
            let table = rng.fx(rotated);
            let mut out = vec![0; x.len()];
            rope::forward(&x, len, rotated, &table, &mut out);
            for i in (0..x.len()).step_by(2) {
                let j = i % len;
                let pair = match j < rotated {
                    true => rope::pair(x[i], x[i + 1], table[j], table[j + 1]),
                    false => (x[i], x[i + 1]),
                };
                assert_eq!((out[i], out[i + 1]), pair);
            }
        }
    }
}

const SHAPES: [Heads; 4] = [
    Heads { heads: 1, kv: 1, len: 2 },
    Heads { heads: 9, kv: 3, len: 64 },
    Heads { heads: 4, kv: 4, len: 30 },
    Heads { heads: 6, kv: 1, len: 256 },
];

fn check_scores(shape: &Heads, positions: usize, q: &[i16], k: &[i16], shifts: &[u8], scale: u32) {
    let Heads { heads, kv, len } = *shape;
    let (q_shifts, k_shifts) = (&shifts[..heads], &shifts[heads..]);
    let mut out = vec![0; heads * positions];
    scores::forward(shape, scale, q, q_shifts, k, k_shifts, &mut out);
    for h in 0..heads {
        for s in 0..positions {
            let row = s * kv + h * kv / heads;
            let (q, k) = (&q[h * len..][..len], &k[row * len..][..len]);
            let score = scores::score(q, q_shifts[h], k, k_shifts[row], scale);
            assert_eq!(out[h * positions + s], score, "{shape:?} head {h} position {s}");
        }
    }
}

#[test]
fn scores_are_each_score() {
    let mut rng = Rng(15);
    for shape in &SHAPES {
        for positions in [1, 2, 33, 257] {
            let (nq, nk) = (shape.heads * shape.len, positions * shape.kv * shape.len);
            let shifts = rng.bytes(shape.heads + positions * shape.kv);
            let shifts: Vec<_> =
                shifts.iter().map(|s| if *s > 250 { *s } else { s % 24 }).collect();
            let scale = rng.next() as u32;
            let (q, k) = (rng.quantized(nq, 12), rng.quantized(nk, 11));
            check_scores(shape, positions, &q, &k, &shifts, scale);
            check_scores(shape, positions, &q, &rng.i16s(nk), &shifts, scale);
            check_scores(shape, positions, &rng.i16s(nq), &k, &shifts, u32::MAX);
            for (q, k) in [
                (4095, 2047),
                (-4095, 2047),
                (4095, 4095),
                (i16::MAX, 2047),
                (-4096, -2048),
                (i16::MIN, i16::MIN),
            ] {
                check_scores(shape, positions, &vec![q; nq], &vec![k; nk], &shifts, scale);
            }
        }
    }
    // A head longer than an `i32` can sum takes the wide path.
    let shape = Heads { heads: 1, kv: 1, len: 512 };
    check_scores(&shape, 1, &[4095; 512], &[2047; 512], &[20, 20], 1 << 30);
}

#[test]
fn max_and_sum_are_their_folds() {
    assert_eq!(MAX_INIT, -1 << 127);
    let mut rng = Rng(16);
    for positions in LENGTHS {
        for heads in [1, 3] {
            for scores in rows(&mut rng, heads * positions) {
                let mut out = vec![0; heads];
                max::forward(heads, &scores, &mut out);
                for (y, scores) in out.iter().zip(scores.chunks(positions)) {
                    assert_eq!(i128::from(*y), fold(MAX_INIT, scores, max::UNIT, max::unit));
                    assert_eq!(Some(y), scores.iter().max());
                }
            }
            let random = (0..heads * positions).map(|_| rng.next() as u16).collect();
            for p in [vec![u16::MAX; heads * positions], random, vec![0; heads * positions]] {
                let mut out = vec![0; heads];
                sum::forward(heads, &p, &mut out);
                for (y, p) in out.iter().zip(p.chunks(positions)) {
                    assert_eq!(*y, fold(0, p, sum::UNIT, sum::unit) as u32);
                }
            }
        }
    }
    // 65,537 · 65,535 = 2^32 − 1; one more position wraps.
    let mut out = [0];
    sum::forward(1, &vec![u16::MAX; 65_537], &mut out);
    assert_eq!(out, [u32::MAX]);
    sum::forward(1, &vec![u16::MAX; 65_538], &mut out);
    assert_eq!(out, [65_534]);
}

#[test]
fn probs_are_each_prob() {
    let mut rng = Rng(17);
    for positions in LENGTHS {
        let scores = rng.fx(2 * positions);
        for max in [[scores[0], scores[positions]], [i32::MIN, i32::MAX], [0, 1 << 20]] {
            let mut out = vec![0; scores.len()];
            probs::forward(2, &scores, &max, &mut out);
            for (i, &p) in out.iter().enumerate() {
                assert_eq!(p, probs::prob(scores[i], max[i / positions]));
                assert!(p <= 1 << 14);
            }
        }
    }
}

fn check_mix(shape: &Heads, p: &[u16], sums: &[u32], v: &[i16], shifts: &[u8]) {
    let Heads { heads, kv, len } = *shape;
    let positions = p.len() / heads;
    let mut out = vec![0; heads * len];
    mix::forward(shape, p, sums, v, shifts, &mut out);
    for h in 0..heads {
        for i in 0..len {
            let terms: Vec<_> = (0..positions)
                .map(|s| {
                    let row = s * kv + h * kv / heads;
                    (p[h * positions + s], v[row * len + i], shifts[row])
                })
                .collect();
            let acc = fold(0, &terms, 1, |acc, term| {
                let (p, v, shift) = term[0];
                mix::unit(acc, p, v, shift)
            });
            assert_eq!(out[h * len + i], mix::finalize(acc, sums[h]), "{shape:?} head {h}, {i}");
        }
    }
}

#[test]
fn mix_is_its_fold() {
    let mut rng = Rng(18);
    for shape in &SHAPES {
        for positions in [1, 2, 31, 257] {
            let (np, nv) = (shape.heads * positions, positions * shape.kv * shape.len);
            let p: Vec<_> = (0..np).map(|_| (rng.below(1 << 14) >> rng.below(15)) as u16).collect();
            let wild: Vec<_> = (0..np).map(|_| rng.next() as u16).collect();
            let mut sums = vec![0; shape.heads];
            sum::forward(shape.heads, &p, &mut sums);
            let shifts = rng.bytes(positions * shape.kv);
            check_mix(shape, &p, &sums, &rng.quantized(nv, 12), &shifts);
            check_mix(shape, &wild, &sums, &rng.i16s(nv), &shifts);
            check_mix(shape, &p, &vec![0; shape.heads], &rng.i16s(nv), &vec![0; shifts.len()]);
        }
    }
}

/// More positions than an `i64` can hold at the largest terms.
#[test]
fn mix_holds_the_largest_sums() {
    let shape = Heads { heads: 1, kv: 1, len: 2 };
    for positions in [2047, 2048, 2049, 9000] {
        for v in [i16::MIN, i16::MAX] {
            let (v, shifts) = (vec![v; 2 * positions], vec![255; positions]);
            check_mix(&shape, &vec![u16::MAX; positions], &[u32::MAX], &v, &shifts);
        }
    }
}

#[test]
fn swiglu_is_each_element() {
    let mut rng = Rng(19);
    let pairs: Vec<_> = EXTREMES.iter().flat_map(|&g| EXTREMES.map(|u| (g, u))).collect();
    let random = (0..5000).map(|_| (rng.i32(), rng.i32()));
    let (gate, up): (Vec<_>, Vec<_>) = pairs.into_iter().chain(random).unzip();
    let mut out = vec![0; gate.len()];
    swiglu::forward(&gate, &up, &mut out);
    for i in 0..gate.len() {
        assert_eq!(out[i], swiglu::swiglu(gate[i], up[i]));
    }
}

#[test]
fn sample_is_its_fold_and_ties_go_to_the_lowest() {
    let mut rng = Rng(20);
    let drawn = Sampling { seed: 9 << 40 | 5, temperature: 0xcafe };
    let all = LENGTHS.into_iter().flat_map(|n| [Sampling::GREEDY, drawn].map(|s| (n, s)));
    for (n, sampling) in all {
        for mut logits in rows(&mut rng, n) {
            logits[n / 2] = logits[n - 1];
            let units: Vec<_> = logits.chunks(sample::UNIT).enumerate().collect();
            let acc = fold(MAX_INIT, &units, 1, |acc, unit| {
                let (u, logits) = unit[0];
                sample::unit(sampling, 7, acc, (u * sample::UNIT) as u32, logits)
            });
            let token = sample::forward(sampling, 7, &logits);
            assert_eq!(token, sample::finalize(acc));
            if sampling != Sampling::GREEDY {
                continue;
            }
            let largest = logits.iter().max().expect("not empty");
            assert_eq!(logits.iter().position(|x| x == largest), Some(token as usize));
        }
    }
}
