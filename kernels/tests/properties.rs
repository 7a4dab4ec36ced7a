//! Properties on arbitrary bit patterns: nothing panics, bounds hold, order doesn't matter.

use proptest::collection::vec;
use proptest::prelude::*;
use refute_kernels::format::{row_bound, scale_f16};
use refute_kernels::{
    Format, Heads, MAX_INIT, Sampling, embed, linear, max, mix, probs, quantize, rms_norm, rope,
    sample, scores, sum, swiglu,
};

fn format() -> impl Strategy<Value = Format> {
    (0u8..4).prop_map(|code| Format::try_from_code(code).expect("below 4"))
}

proptest! {
    /// Dispute entry points take whatever an opponent sends.
    #[test]
    fn single_elements_are_total(
        acc: i128, n: u32, eps: u32, exponent: i32, x: i32, w: i32, a: u8, b: u8, c: u32, p: u16,
        v: i16,
    ) {
        let _ = rms_norm::finalize(acc, n, eps, exponent, x, w);
        let _ = rms_norm::unit(acc, &[x, w]);
        let _ = quantize::unit(acc, &[x, w]);
        let _ = quantize::shift(acc, c);
        let _ = quantize::value(x, a, c);
        let _ = linear::finalize(acc, a, Some(x), Some(w));
        let _ = rope::pair(x, w, n as i32, eps as i32);
        let _ = scores::score(&[v; 256], a, &[p as i16; 256], b, c);
        let _ = max::unit(acc, &[x, w]);
        let _ = probs::prob(x, w);
        let _ = sum::unit(acc, &[p]);
        let _ = mix::unit(acc, p, v, a);
        let _ = mix::finalize(acc, c);
        let _ = swiglu::swiglu(x, w);
        let sampling = Sampling { seed: acc as u64, temperature: eps };
        let _ = sample::unit(sampling, n, acc, c, &[x, w]);
        let _ = sample::finalize(acc);
    }

    /// Leaves of any length: whole blocks count, a tail is ignored, nothing is read beyond.
    #[test]
    fn leaves_are_total(
        format in format(), leaf in vec(any::<u8>(), 0..300), x in vec(any::<i16>(), 0..300),
        acc: i128, i in 0usize..400,
    ) {
        let _ = linear::unit(format, &leaf, &x, acc);
        let _ = embed::element(format, &leaf, i);
        let _ = row_bound(format, &leaf);
    }

    #[test]
    fn codes_round_trip(code: u8) {
        prop_assert_eq!(Format::try_from_code(code).map(|f| f as u8), (code < 4).then_some(code));
    }

    #[test]
    fn rows_take_whole_blocks_and_leaves(format in format(), blocks in 0usize..200) {
        let cols = blocks * format.block_len();
        prop_assert_eq!(format.row_bytes(cols), blocks * format.block_bytes());
        prop_assert!(format.leaves_per_row(cols) * format.leaf_len() >= cols);
        let leaves = format.leaves_per_row(cols);
        prop_assert!(cols == 0 || (leaves - 1) * format.leaf_len() < cols);
        prop_assert!(format.leaf_len() / format.block_len() * format.block_bytes() <= 1088);
    }

    #[test]
    fn a_linear_does_not_depend_on_the_order_of_its_blocks(
        blocks in vec((vec(any::<u8>(), 20), vec(any::<i16>(), 32)), 1..40), shift: u8,
    ) {
        let row = |blocks: &[(Vec<u8>, Vec<i16>)]| {
            let weights: Vec<u8> = blocks.iter().flat_map(|b| b.0.clone()).collect();
            let x: Vec<i16> = blocks.iter().flat_map(|b| b.1.clone()).collect();
            let mut out = [0];
            linear::forward(Format::Q4_1, &weights, &x, shift, None, None, &mut out);
            out[0]
        };
        let reversed: Vec<_> = blocks.iter().rev().cloned().collect();
        prop_assert_eq!(row(&blocks), row(&reversed));
    }

    #[test]
    fn quantized_values_fill_their_bits(x in vec(any::<i32>(), 1..600), bits in 1u32..16) {
        let (mut values, mut shifts) = (vec![0; x.len()], [0]);
        quantize::forward(&x, 1, bits, &mut values, &mut shifts);
        let largest = values.iter().map(|q| i32::from(*q).abs()).max().unwrap_or(0);
        prop_assert!(largest < 1 << bits);
        prop_assert!(shifts[0] == 0 || largest >= 1 << (bits - 1), "a bit is wasted");
    }

    #[test]
    fn probabilities_grow_with_the_score(max: i32, a in 0i32..18 << 16, b in 0i32..18 << 16) {
        let p = |d: i32| probs::prob(max.saturating_sub(d), max);
        prop_assert_eq!(p(0), 1 << 14);
        prop_assert!((p(a) >= p(b)) == (a <= b) || p(a) == p(b));
    }

    /// A convex combination stays within its values, up to the rounding of a quantized unit.
    #[test]
    fn a_mix_lies_between_its_values(
        rows in vec((0u16..=1 << 14, -4095i16..=4095, 0u8..=19), 1..80),
    ) {
        let (p, rest): (Vec<_>, Vec<_>) = rows.iter().map(|r| (r.0, (r.1, r.2))).unzip();
        let (v, shifts): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
        let shape = Heads { heads: 1, kv: 1, len: 1 };
        let (mut sums, mut out) = ([0], [0]);
        sum::forward(1, &p, &mut sums);
        mix::forward(&shape, &p, &sums, &v, &shifts, &mut out);
        let values = || v.iter().zip(&shifts).map(|(v, s)| i64::from(*v) << s);
        let (low, high) = (values().min().unwrap_or(0).min(0), values().max().unwrap_or(0).max(0));
        prop_assert!((low - 1..=high + 1).contains(&i64::from(out[0])));
    }

    #[test]
    fn attention_does_not_depend_on_the_order_of_positions(
        rows in vec((any::<u16>(), vec(any::<i16>(), 4), any::<u8>()), 1..60), sum: u32,
    ) {
        let shape = Heads { heads: 1, kv: 1, len: 4 };
        let run = |rows: &[(u16, Vec<i16>, u8)]| {
            let p: Vec<_> = rows.iter().map(|r| r.0).collect();
            let v: Vec<_> = rows.iter().flat_map(|r| r.1.clone()).collect();
            let shifts: Vec<_> = rows.iter().map(|r| r.2).collect();
            let mut out = [0; 4];
            mix::forward(&shape, &p, &[sum], &v, &shifts, &mut out);
            let mut scores = vec![0; p.len()];
            scores::forward(&shape, sum, &[9, -9, 1, 2], &[3], &v, &shifts, &mut scores);
            let mut max = [0];
            max::forward(1, &scores, &mut max);
            (out, max)
        };
        let reversed: Vec<_> = rows.iter().rev().cloned().collect();
        prop_assert_eq!(run(&rows), run(&reversed));
    }

    #[test]
    fn swiglu_is_odd_in_up_but_for_halves(gate: i32, up: i32) {
        let (y, minus) = (swiglu::swiglu(gate, up), swiglu::swiglu(gate, up.wrapping_neg()));
        prop_assume!(up != i32::MIN);
        prop_assert!((i64::from(y) + i64::from(minus)).abs() <= 1);
    }

    #[test]
    fn sampling_finds_the_first_maximum(logits in vec(-3i32..3, 1..1000)) {
        let token = sample::forward(Sampling::GREEDY, 0, &logits) as usize;
        prop_assert!(logits[..token].iter().all(|x| *x < logits[token]));
        prop_assert!(logits[token..].iter().all(|x| *x <= logits[token]));
        let acc = (0u32..).zip(&logits).collect::<Vec<_>>().into_iter().rev();
        let acc = acc.fold(MAX_INIT, |acc, (i, x)| sample::unit(Sampling::GREEDY, 0, acc, i, &[*x]));
        prop_assert_eq!(sample::finalize(acc) as usize, token);
    }

    #[test]
    fn an_embedding_is_its_weight(scale: u16, w: i8) {
        let mut row = vec![w as u8; 34];
        row[..2].copy_from_slice(&scale.to_le_bytes());
        let exact = scale_f16(scale) * i64::from(w);
        let y = i64::from(embed::element(Format::Q8_0, &row, 31));
        let saturated = y.abs() == i64::from(i32::MAX);
        prop_assert!((2 * (exact - (y << 12))).abs() <= 1 << 12 || saturated && exact.abs() >= y.abs());
    }
}
