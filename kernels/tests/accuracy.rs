//! The ops against the real functions in `f64`: the error bounds that the README states.

mod common;

use common::Rng;
use refute_kernels::{mix, probs, quantize, rms_norm, rope, scores, swiglu};

fn pow2(e: i32) -> f64 {
    2f64.powi(e)
}

/// By how much `y` is farther from `exact` than rounding to an integer explains, relatively.
fn relative_error(y: i32, exact: f64) -> f64 {
    ((f64::from(y) - exact).abs() - 0.5).max(0.0) / exact.abs().max(1.0)
}

/// With `w · 2^-c1 = 1` at `c1 = −8` an element is its normalized value with 20 fractional bits.
#[test]
fn rms_norm_is_within_its_bound() {
    let mut rng = Rng(50);
    let mut error_max = 0f64;
    for _ in 0..200_000 {
        let n = 1 + rng.below(8192) as u32;
        let mean = rng.next() >> (2 + rng.below(62));
        let acc = i128::from(mean) * i128::from(n);
        let eps = 1 + rng.below(4000) as u32;
        let x = rng.i32().saturating_abs();
        let exact = f64::from(x) / (mean as f64 + f64::from(eps)).sqrt() * pow2(20);
        if exact < pow2(31) {
            let u = rms_norm::finalize(acc, n, eps, -8, x, 1);
            error_max = error_max.max(relative_error(u, exact));
        }
    }
    assert!(error_max <= pow2(-30), "{error_max:e}");
}

#[test]
fn rms_norm_of_a_row_is_within_its_bound() {
    let mut rng = Rng(51);
    for n in [1, 33, 576, 4096] {
        let x: Vec<_> = (0..n).map(|_| rng.i32() >> 4).collect();
        let (c1, eps) = (34, 168);
        let w: Vec<_> = (0..n).map(|_| rng.i32()).collect();
        let mut out = vec![0; n];
        rms_norm::forward(&x, &w, eps, c1, &mut out);
        let squares: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let mean = squares / n as f64 + f64::from(eps);
        let mean_error = 0.25 / mean;
        for i in 0..n {
            let weight = f64::from(w[i]) * pow2(-c1);
            let exact = weight * f64::from(x[i]) / mean.sqrt() * pow2(12);
            let bound = exact.abs() * (pow2(-30) + mean_error) + weight.abs() * pow2(12 - 21) + 0.5;
            let error = (f64::from(out[i]) - exact).abs();
            assert!(error <= bound, "element {i} of {n}: {error} > {bound}");
        }
    }
}

#[test]
fn quantize_is_within_its_bound() {
    let mut rng = Rng(52);
    for _ in 0..2000 {
        let x = rng.fx(16);
        for bits in [11, 12, 15] {
            let (mut values, mut shifts) = ([0; 16], [0]);
            quantize::forward(&x, 1, bits, &mut values, &mut shifts);
            let unit = 1i64 << shifts[0];
            for (&x, &q) in x.iter().zip(&values) {
                let error = (i64::from(x) - i64::from(q) * unit).abs();
                let clamped = i32::from(q).abs() == (1 << bits) - 1;
                assert!(2 * error <= unit || clamped && error <= unit, "{x} {q} {unit}");
            }
        }
    }
}

#[test]
fn rope_keeps_the_length_of_a_pair() {
    let mut rng = Rng(53);
    for _ in 0..20_000 {
        let angle = rng.below(1 << 20) as f64 / 1000.0;
        let q30 = |x: f64| (x * pow2(30)).round() as i32;
        let (x0, x1) = (rng.i32() / 2, rng.i32() / 2);
        let (y0, y1) = rope::pair(x0, x1, q30(angle.cos()), q30(angle.sin()));
        let (x0, x1) = (f64::from(x0), f64::from(x1));
        let bound = 0.5 + (x0.abs() + x1.abs()) * pow2(-31) + 1e-6;
        let error0 = f64::from(y0) - (x0 * angle.cos() - x1 * angle.sin());
        let error1 = f64::from(y1) - (x0 * angle.sin() + x1 * angle.cos());
        assert!(error0.abs() <= bound && error1.abs() <= bound, "{error0} {error1} {bound}");
    }
}

/// The score of two constant vectors, against `q · k / √len · log2(e)`.
#[test]
fn scores_are_base_2_logits() {
    for len in [2u64, 32, 64, 128, 256] {
        let scale = (2_399_655_057_223_005_247 / len).isqrt() as u32;
        for (q, k, a, b) in [(4095, 2047, 3, 4), (-1000, 7, 6, 5), (4095, -2047, 0, 9)] {
            let n = len as usize;
            let score = scores::score(&vec![q; n], a, &vec![k; n], b, scale);
            let q = f64::from(q) * pow2(i32::from(a) - 12);
            let k = f64::from(k) * pow2(i32::from(b) - 12);
            let logit = q * k * len as f64 / (len as f64).sqrt() * std::f64::consts::LOG2_E;
            let exact = logit * pow2(16);
            let error = relative_error(score, exact.clamp(-pow2(30), pow2(30)));
            assert!(error <= 1e-8, "{len}: {score} against {exact}");
        }
    }
}

/// Every difference that has a probability, and some that have none.
#[test]
fn probs_are_within_their_bound() {
    for d in 0..18 << 16 {
        let exact = (f64::from(-d) / pow2(16)).exp2() * pow2(14);
        let error = (f64::from(probs::prob(-d, 0)) - exact).abs() * pow2(-14);
        assert!(error <= pow2(-15) + pow2(-29), "{d}: {error:e}");
    }
}

#[test]
fn mix_is_within_its_bound() {
    let mut rng = Rng(54);
    let mut error_max = 0f64;
    for _ in 0..200_000 {
        let sum = 1 + (rng.next() as u32 >> (2 + rng.below(30)));
        let acc = i128::from(rng.i32()) * i128::from(sum) / (1 + i128::from(rng.below(9)));
        let exact = acc as f64 / f64::from(sum);
        error_max = error_max.max(relative_error(mix::finalize(acc, sum), exact));
    }
    assert!(error_max <= pow2(-30), "{error_max:e}");
}

/// Every gate between ±36, where σ reaches 0 and 1 in Q31.
#[test]
fn the_logistic_function_is_within_its_bound() {
    for gate in -36 * 4096..=36 * 4096 {
        let exact = 1.0 / (1.0 + (-f64::from(gate) / 4096.0).exp());
        let error = (swiglu::sigmoid(gate) as f64 * pow2(-31) - exact).abs();
        assert!(error <= pow2(-29), "{gate}: {error:e}");
        assert!(gate < 0 || error <= exact * pow2(-28), "{gate}: {error:e}");
    }
    assert_eq!(swiglu::sigmoid(i32::MAX), 1 << 31);
    assert_eq!(swiglu::sigmoid(i32::MIN), 0);
    assert_eq!(swiglu::sigmoid(0), 1 << 30);
}

#[test]
fn swiglu_is_within_its_bound() {
    let mut rng = Rng(55);
    for _ in 0..100_000 {
        let (gate, up) = (rng.i32() >> 8, rng.i32() >> 8);
        let (g, u) = (f64::from(gate) / 4096.0, f64::from(up) / 4096.0);
        let exact = g * u / (1.0 + (-g).exp());
        let bound = 0.5 + (g * u).abs() * 4096.0 * pow2(-29) + 1e-6;
        if exact.abs() * 4096.0 < pow2(31) {
            let error = (f64::from(swiglu::swiglu(gate, up)) - exact * 4096.0).abs();
            assert!(error <= bound, "{gate} {up}: {error} > {bound}");
        }
    }
}
