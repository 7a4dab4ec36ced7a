//! The ops against a second writing of the README: wide integers, division instead of shifts, and
//! every weight by itself. Slow, obvious, and sharing no code with the crate but `exp2`.

mod common;

use common::{EXTREMES, Rng};
use refute_kernels::format::row_bound;
use refute_kernels::fx::exp2;
use refute_kernels::{Format, embed, linear, mix, probs, quantize, rms_norm, rope, scores, swiglu};

fn round(x: i128, s: u32) -> i128 {
    if s == 0 { x } else { (x + (1 << (s - 1))).div_euclid(1 << s) }
}

fn clamp(x: i128, limit: i128) -> i128 {
    x.max(-limit).min(limit)
}

fn sat(x: i128) -> i32 {
    clamp(x, (1 << 31) - 1) as i32
}

fn bits(x: i128) -> u32 {
    (0..128).find(|&b| x >> b == 0).expect("not negative")
}

/// The largest integer whose square is at most `x`, by bisection.
fn root(x: u128) -> u128 {
    let (mut lo, mut hi) = (0, 1 << 33);
    while hi - lo > 1 {
        let mid = (lo + hi) / 2;
        if mid * mid <= x { lo = mid } else { hi = mid }
    }
    lo
}

/// An `f16` in units of 2^-24, by the exponent's doubling.
fn scale(bytes: &[u8]) -> i128 {
    let bits = i128::from(bytes[0]) + 256 * i128::from(bytes[1]);
    let (sign, e, f) = (bits / 32768, bits / 1024 % 32, bits % 1024);
    let mut magnitude = if e == 0 { f } else { 1024 + f };
    for _ in 1..e {
        magnitude *= 2;
    }
    if sign == 1 { -magnitude } else { magnitude }
}

/// Weight `i` of a row in units of 2^-24.
fn weight(format: Format, row: &[u8], i: usize) -> i128 {
    let nibble = |bytes: &[u8], j: usize| {
        i128::from(if j < 16 { bytes[j] % 16 } else { bytes[j - 16] / 16 })
    };
    let j = i % 32;
    match format {
        Format::I32 => i128::from(i32::from_le_bytes(row[4 * i..][..4].try_into().unwrap())),
        Format::Q8_0 => {
            let block = &row[i / 32 * 34..][..34];
            scale(block) * i128::from(block[2 + j] as i8)
        }
        Format::Q4_0 => {
            let block = &row[i / 32 * 18..][..18];
            scale(block) * (nibble(&block[2..], j) - 8)
        }
        Format::Q4_1 => {
            let block = &row[i / 32 * 20..][..20];
            scale(block) * nibble(&block[4..], j) + scale(&block[2..])
        }
    }
}

const FORMATS: [Format; 4] = [Format::I32, Format::Q8_0, Format::Q4_0, Format::Q4_1];

#[test]
fn embed_and_linear_add_up_each_weight() {
    let mut rng = Rng(30);
    for format in FORMATS {
        for (cols, wild) in [(32, true), (64, false), (1056, false), (1056, true)] {
            for _ in 0..20 {
                let row = rng.weights(format, 1, cols, wild);
                let i = rng.below(cols as u64) as usize;
                let expected = sat(round(weight(format, &row, i), 12));
                assert_eq!(embed::element(format, &row, i), expected);

                let x = rng.i16s(cols);
                let product = |i: usize| weight(format, &row, i) * i128::from(x[i]);
                let acc: i128 = (0..cols).map(product).sum();
                let (shift, bias, residual) = (rng.below(256) as u8, rng.i32(), rng.i32());
                let y = sat(round(acc, 24 - u32::from(shift).min(16)));
                let y = sat(i128::from(y) + i128::from(bias));
                let y = sat(i128::from(y) + i128::from(residual));
                let mut out = [0];
                let (bias, residual) = (Some(&[bias][..]), Some(&[residual][..]));
                linear::forward(format, &row, &x, shift, bias, residual, &mut out);
                assert_eq!(out[0], y, "{format:?} {cols}");
            }
        }
    }
}

#[test]
fn a_row_bound_is_reached_and_never_exceeded() {
    let mut rng = Rng(31);
    for format in FORMATS {
        for cols in [32, 96, 1056] {
            let row = rng.weights(format, 1, cols, false);
            let bound = (0..cols / 32).map(|b| {
                let block = &row[b * format.block_bytes()..];
                let d = scale(block).unsigned_abs();
                let m = if format == Format::Q4_1 { scale(&block[2..]).unsigned_abs() } else { 0 };
                let offset = if format == Format::Q4_1 { scale(&block[2..]) } else { 0 };
                let w = |j| (weight(format, &row, b * 32 + j) - offset).unsigned_abs();
                debug_assert!(d > 0 || (0..32).all(|j| w(j) == 0));
                (0..32).map(w).sum::<u128>() + 32 * m
            });
            let expected = match format {
                Format::I32 => None,
                _ => Some(bound.sum::<u128>() * 32767 + (1 << 23)),
            };
            assert_eq!(row_bound(format, &row), expected);
            let x: Vec<i16> = rng.quantized(cols, 15);
            let reached = linear::unit(format, &row, &x, 0).unsigned_abs() + (1 << 23);
            assert!(expected.is_none_or(|bound| reached <= bound));
        }
    }
    // One block of the largest weights: the bound is what the worst activations reach.
    let mut row = vec![0x7f; 34];
    row[..2].copy_from_slice(&0x57ffu16.to_le_bytes());
    let acc = linear::unit(Format::Q8_0, &row, &[32767; 32], 0);
    assert_eq!(row_bound(Format::Q8_0, &row), Some(acc.unsigned_abs() + (1 << 23)));
}

#[test]
fn a_row_bound_refuses_what_it_cannot_prove() {
    let block = |scale: u16| {
        let mut row = vec![0; 34];
        row[..2].copy_from_slice(&scale.to_le_bytes());
        row
    };
    assert!(row_bound(Format::Q8_0, &block(0x57ff)).is_some());
    for scale in [0x5800, 0xd800, 0x7c00, 0xfc00, 0x7e00] {
        assert_eq!(row_bound(Format::Q8_0, &block(scale)), None, "{scale:#06x}");
    }
    let mut min_too_large = vec![0; 20];
    min_too_large[3] = 0x58;
    assert_eq!(row_bound(Format::Q4_1, &min_too_large), None);
    assert_eq!(row_bound(Format::Q4_0, &[0; 17]), None, "no whole block");
    assert_eq!(row_bound(Format::I32, &[0; 4]), None, "no blocks");
    assert_eq!(row_bound(Format::Q4_0, &[]), Some(1 << 23));
}

#[test]
fn rms_norm_by_division() {
    let mut rng = Rng(32);
    for _ in 0..20_000 {
        let n = 1 + rng.below(5000) as u32;
        let square = |x: i32| i128::from(x) * i128::from(x);
        let acc = square(rng.i32()) * i128::from(rng.below(n.into()) + 1) + square(rng.i32());
        let acc = acc.min(i128::from(n) << 62);
        let (eps, c1) = (1 + (rng.next() as u32 >> rng.below(32)) / 2, rng.below(64) as i32 - 8);
        let (x, w) = (rng.i32(), rng.i32());
        let m = (acc + i128::from(n / 2)).div_euclid(n.into()) + i128::from(eps);
        let m = m.min((1 << 63) - 1);
        let h = (64 - bits(m)) / 2;
        let r = ((1 << 62) / root(m as u128 * 4u128.pow(h))).min((1 << 31) - 1) as i128;
        let u = sat(round(i128::from(x) * r, 42 - h));
        let y = sat(round(i128::from(u) * i128::from(w), (8 + c1) as u32));
        assert_eq!(rms_norm::finalize(acc, n, eps, c1, x, w), y, "{acc} {n} {eps} {c1} {x} {w}");
    }
}

/// Where the root is exactly 2^31 its reciprocal doesn't fit 31 bits and is cut.
#[test]
fn rms_norm_at_powers_of_four() {
    for k in 0..=31 {
        let m = 1i128 << (2 * k);
        let u = rms_norm::finalize(m - 1, 1, 1, -8, i32::MAX, 1);
        let exact = i128::from(i32::MAX) * ((1 << 31) - 1);
        assert_eq!(u, sat(round(exact, 11 + k)), "m = 4^{k}");
    }
}

#[test]
fn quantize_by_the_largest_magnitude() {
    let mut rng = Rng(33);
    for _ in 0..5000 {
        let count = 1 + rng.below(40) as usize;
        let x = rng.fx(count);
        let width = [11, 12, 15][rng.below(3) as usize];
        // OR has as many bits as the largest magnitude.
        let largest = x.iter().map(|&x| i128::from(x).abs()).max().expect("not empty");
        let shift = bits(largest).saturating_sub(width);
        let (mut values, mut shifts) = (vec![0; x.len()], [0]);
        quantize::forward(&x, 1, width, &mut values, &mut shifts);
        assert_eq!(u32::from(shifts[0]), shift);
        for (&x, &q) in x.iter().zip(&values) {
            assert_eq!(i128::from(q), clamp(round(x.into(), shift), (1 << width) - 1));
        }
    }
    // Any shift byte has a meaning: beyond 32 bits nothing is left.
    assert_eq!(quantize::value(i32::MIN, 32, 15), 0);
    assert_eq!(quantize::value(i32::MIN, 31, 15), -1);
    assert_eq!(quantize::value(i32::MIN, 255, 15), 0);
    assert_eq!(quantize::shift(1 << 31, 15), 17);
}

#[test]
fn rope_by_complex_multiplication() {
    let mut rng = Rng(34);
    let extremes = EXTREMES.iter().flat_map(|&a| EXTREMES.map(|b| (a, b)));
    let random = (0..2000).map(|_| (rng.i32(), rng.i32()));
    let points: Vec<_> = extremes.chain(random).collect();
    for &(x0, x1) in &points {
        for &(cos, sin) in points.iter().step_by(17) {
            let [a, b, c, s] = [x0, x1, cos, sin].map(i128::from);
            let y = (sat(round(a * c - b * s, 30)), sat(round(a * s + b * c, 30)));
            assert_eq!(rope::pair(x0, x1, cos, sin), y);
        }
    }
    assert_eq!(rope::pair(7, -9, 1 << 30, 0), (7, -9));
    assert_eq!(rope::pair(7, -9, 0, 1 << 30), (9, 7));
}

#[test]
fn scores_by_wide_integers() {
    let mut rng = Rng(35);
    for _ in 0..20_000 {
        let len = 2 * (1 + rng.below(20) as usize);
        let (q, k) = (rng.i16s(len), rng.i16s(len));
        let (a, b) = (rng.below(24) as u8, rng.next() as u8);
        let scale = rng.next() as u32 >> rng.below(32);
        let dot: i128 = q.iter().zip(&k).map(|(&q, &k)| i128::from(q) * i128::from(k)).sum();
        let p = dot * i128::from(scale);
        let e = 38 - i32::from(a.min(20)) - i32::from(b.min(20));
        let limit = 1 << 30;
        let score = if e >= 0 {
            clamp(round(p, e as u32), limit)
        } else {
            clamp(clamp(p, limit) * 2i128.pow(-e as u32), limit)
        };
        assert_eq!(i128::from(scores::score(&q, a, &k, b, scale)), score);
    }
}

#[test]
fn probs_by_division() {
    let mut rng = Rng(36);
    for _ in 0..50_000 {
        let max = rng.i32();
        let score = match rng.below(3) {
            0 => rng.i32(),
            _ => max.saturating_sub(rng.below(17 << 16) as i32),
        };
        let d = (i128::from(score) - i128::from(max)).min(0);
        let n = -d.div_euclid(1 << 16);
        let f = d.rem_euclid(1 << 16) * (1 << 16);
        let p = if n + 16 <= 31 { round(exp2(f as u32).into(), (n + 16) as u32) } else { 0 };
        assert_eq!(i128::from(probs::prob(score, max)), p, "{score} {max}");
    }
    assert_eq!(probs::prob(i32::MAX, i32::MIN), 1 << 14, "above the maximum: 1 by definition");
    assert_eq!(probs::prob(i32::MIN, i32::MAX), 0);
    assert_eq!(probs::prob(-(15 << 16), 0), 1, "half a unit rounds up");
    assert_eq!(probs::prob(-(15 << 16) - 1, 0), 0);
}

#[test]
fn mix_by_division() {
    let mut rng = Rng(37);
    for _ in 0..20_000 {
        let (p, v, b) = (rng.next() as u16, rng.i16(), rng.next() as u8 >> rng.below(8));
        let start = i128::from(rng.next() as i64) << rng.below(4);
        let term = i128::from(p) * i128::from(v) * 2i128.pow(u32::from(b).min(20));
        assert_eq!(mix::unit(start, p, v, b), start + term);

        let sum = rng.next() as u32 >> rng.below(33).min(31);
        let z = i128::from(sum.max(1));
        let c = bits(z) - 1;
        let r = 2i128.pow(31 + c) / z;
        assert!(r > 1 << 30 && r <= 1 << 31);
        assert_eq!(mix::finalize(start, sum), sat(round(start * r, 31 + c)));
    }
    assert_eq!(mix::finalize(0, 0), 0);
    assert_eq!(mix::finalize(12345 << 14, 1 << 14), 12345, "one position, probability 1");
}

#[test]
fn swiglu_by_division() {
    let mut rng = Rng(38);
    let extremes: Vec<_> = EXTREMES.iter().flat_map(|&g| EXTREMES.map(|u| (g, u))).collect();
    let random: Vec<_> = (0..50_000).map(|_| (rng.i32(), rng.i32())).collect();
    for (g, up) in extremes.into_iter().chain(random) {
        let z = i128::from(g).abs() * 6_196_328_019;
        let (mut n, mut f) = (z / (1 << 44), z / (1 << 12) % (1 << 32));
        if f != 0 {
            (n, f) = (n + 1, (1 << 32) - f);
        }
        let e = if n <= 31 { round(exp2(f as u32).into(), n as u32) } else { 0 };
        let one = 1 << 30;
        let sigma = if g >= 0 { one } else { e } * (1 << 31) / (one + e);
        assert_eq!(i128::from(swiglu::sigmoid(g)), sigma, "{g}");
        let y = sat(round(i128::from(g) * sigma * i128::from(up), 43));
        assert_eq!(swiglu::swiglu(g, up), y, "{g} {up}");
    }
}
