//! The primitives against independent definitions.

mod common;

use common::Rng;
use refute_kernels::format::{scale_f16, scale_in_range};
use refute_kernels::fx::{
    bitlen, exp2, isqrt, mulhi, rshift_round, rshift_round_i128, sat32, sat32_i128,
};

/// `⌊x / 2^s + 1/2⌋`, by division.
fn round_half_up(x: i64, s: u32) -> i128 {
    if s == 0 {
        return x.into();
    }
    (i128::from(x) + (1 << (s - 1))).div_euclid(1 << s)
}

#[test]
fn rshift_round_is_half_up_at_every_shift() {
    let mut rng = Rng(1);
    let edges = [i64::MIN, i64::MIN + 1, i64::MAX, -1, 0, 1, 2, 3, -2, -3, 1 << 62, -(1 << 62)];
    let random = (0..2000).map(|i| (rng.next() as i64) >> (i % 64));
    for x in edges.into_iter().chain(random) {
        for s in 0..=126 {
            let expected = round_half_up(x, s);
            assert_eq!(i128::from(rshift_round(x, s)), expected, "{x} >> {s}");
            assert_eq!(rshift_round_i128(x.into(), s), expected, "{x} >> {s}");
        }
        for s in [127, 128, 255, u32::MAX] {
            assert_eq!(rshift_round(x, s), 0, "{x} >> {s}");
            assert_eq!(rshift_round_i128(x.into(), s), 0, "{x} >> {s}");
        }
    }
    // Beyond 64 bits: half up at the largest magnitudes.
    assert_eq!(rshift_round_i128(i128::MAX, 127), 1);
    assert_eq!(rshift_round_i128(i128::MIN, 127), -1);
    assert_eq!(rshift_round_i128(i128::MIN, 128), 0);
    assert_eq!(rshift_round_i128(i128::MAX, 1), 1 << 126);
}

#[test]
fn saturation_is_symmetric() {
    let limit = i64::from(i32::MAX);
    for (x, y) in [(limit, i32::MAX), (limit + 1, i32::MAX), (-limit, -i32::MAX), (0, 0), (-7, -7)]
    {
        assert_eq!(sat32(x), y);
        assert_eq!(sat32_i128(x.into()), y);
    }
    for x in [-limit - 1, i64::MIN] {
        assert_eq!(sat32(x), -i32::MAX);
        assert_eq!(sat32_i128(x.into()), -i32::MAX);
    }
    assert_eq!(sat32_i128(i128::MAX), i32::MAX);
    assert_eq!(sat32_i128(i128::MIN), -i32::MAX);
}

#[test]
fn bitlen_counts_bits() {
    assert_eq!(bitlen(0), 0);
    for i in 0..64 {
        assert_eq!(bitlen(1 << i), i + 1);
        assert_eq!(bitlen((1 << i) - 1), i);
    }
}

#[test]
fn isqrt_is_the_floor() {
    let check = |x: u64| {
        let root = u128::from(isqrt(x));
        let x = u128::from(x);
        assert!(root * root <= x && (root + 1) * (root + 1) > x, "isqrt({x}) = {root}");
    };
    (0..1 << 20).for_each(check);
    (0..1 << 16).for_each(|i| check(u64::MAX - i));
    let mut rng = Rng(2);
    for _ in 0..200_000 {
        let root = rng.next() >> (32 + rng.below(32));
        let square = root * root;
        for x in [square.wrapping_sub(1), square, square + 1, square + 2 * root, rng.next()] {
            check(x);
        }
    }
}

/// An `f16` by its definition as a number, in `f64`, which holds all of them exactly.
fn f16_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    match i32::from(bits >> 10 & 0x1f) {
        0 => sign * fraction * 2f64.powi(-14),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        e => sign * (1.0 + fraction) * 2f64.powi(e - 15),
    }
}

#[test]
fn every_f16_is_the_integer_that_it_is() {
    for bits in 0..=u16::MAX {
        let value = f16_to_f64(bits);
        let in_range = value.is_finite() && value.abs() < 128.0;
        assert_eq!(scale_in_range(bits), in_range, "{bits:#06x}");
        if value.is_finite() {
            assert_eq!(scale_f16(bits) as f64, value * 2f64.powi(24), "{bits:#06x}");
        }
        if in_range {
            assert!(i32::try_from(scale_f16(bits)).is_ok(), "{bits:#06x}");
        }
        assert_eq!(scale_f16(bits ^ 0x8000), -scale_f16(bits), "{bits:#06x}");
    }
    // By definition: an infinity is 2^16 by the formula, the largest NaN just below 2^17.
    assert_eq!(scale_f16(0x7c00), 1 << 40);
    assert_eq!(scale_f16(0xffff), -(2047 << 30));
}

#[test]
fn exp2_is_monotone_and_as_close_as_the_readme_says() {
    let mut last = 0;
    let mut error_max = 0f64;
    let (low, high) = (1 << 16, u32::MAX - (1 << 16));
    for f in (0..low).chain((low..high).step_by(4099)).chain(high..=u32::MAX) {
        let y = exp2(f);
        assert!((1 << 30..1 << 31).contains(&y), "exp2({f}) = {y}");
        assert!(y >= last, "exp2 falls before {f}");
        last = y;
        let exact = (f64::from(f) / 2f64.powi(32)).exp2() * 2f64.powi(30);
        error_max = error_max.max((f64::from(y) - exact).abs() / exact);
    }
    assert!(error_max <= 7.32e-9, "{error_max:e}");
    assert_eq!(exp2(0), 1 << 30);
    assert_eq!(exp2(u32::MAX), 2_147_483_632);
}

#[test]
fn mulhi_is_the_high_half() {
    assert_eq!(mulhi(u32::MAX, u32::MAX), u32::MAX - 1);
    assert_eq!(mulhi(1 << 31, 2), 1);
    assert_eq!(mulhi(u32::MAX, 1), 0);
}
