//! Sample and its noise: the README's formulas once more over wide integers, the published answers of
//! the generator, the error against the real functions, and whether tokens come as often as they
//! should.

mod common;

use common::{EXTREMES, Rng};
use refute_kernels::noise::{NOISE_MAX, at_most, gumbel, philox, word, words};
use refute_kernels::{Sampling, sample};

/// Coefficients of `log2(1 + f)`.
const LOG2: [i128; 8] = [
    1_549_076_464,
    774_345_888,
    513_982_710,
    372_911_710,
    259_700_344,
    147_662_443,
    55_897_937,
    9_995_641,
];

fn mulhi(a: i128, b: i128) -> i128 {
    (a * b).div_euclid(1 << 32)
}

fn log2(z: i128) -> i128 {
    let c = z.ilog2();
    let f = (z - (1 << c)) << (32 - c);
    let a = LOG2.iter().rev().copied().reduce(|a, l| l - mulhi(a, f)).unwrap();
    (i128::from(c) << 25) + (mulhi(a, f) >> 5)
}

fn ratio(z: i128) -> i128 {
    let a = 8_142_805 - mulhi(4_586_931, z);
    let a = 12_797_524 - mulhi(a, z);
    let rest = [3_345_539, 25_626_233, 80_489_556, 387_280_277, 567_758_488];
    rest.into_iter().fold(a, |a, c| c + mulhi(a, z))
}

/// The README's four steps.
fn noise(w: u32) -> i128 {
    let w = i128::from(w);
    let z = 2 * if w < 1 << 31 { w } else { (1 << 32) - 1 - w } + 1;
    let e = (33 << 25) - log2(z);
    let x = if w < 1 << 31 { (25 << 25) - log2(e) } else { e - (ratio(z) >> 5) };
    (x >> 9) + (x >> 8 & 1)
}

/// Words around every power of two from both ends, and random ones.
fn interesting_words(random: usize) -> impl Iterator<Item = u32> {
    let mut rng = Rng(60);
    let powers = (0..32).flat_map(|bits| (0..5).map(move |i| ((1u32 << bits) - 1).wrapping_add(i)));
    let random: Vec<_> = (0..random).map(|_| (rng.next() >> 32) as u32).collect();
    // Winners have words near the upper end: as many there.
    let near = random.clone().into_iter().zip(0..).map(|(w, i)| !(w >> (i % 32)));
    powers.clone().chain(powers.map(|w| !w)).chain(random).chain(near)
}

#[test]
fn philox_gives_the_published_answers() {
    let ones = u32::MAX;
    let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
    for (counter, key, expected) in [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([ones; 4], [ones; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
    ] {
        assert_eq!(philox(counter, key), expected);
    }
}

#[test]
fn a_word_is_its_ids_lane_of_the_groups_counter() {
    let seed = 0xfedc_ba98_7654_3210;
    let expected = philox([12_287, 77, 0x5341_4d50, 0], [0x7654_3210, 0xfedc_ba98]);
    assert_eq!(words(seed, 77, 12_287), expected);
    for lane in 0..4 {
        assert_eq!(word(seed, 77, 49_148 + lane), expected[lane as usize]);
    }
}

#[test]
fn the_noise_is_its_formula_and_within_its_bounds() {
    for w in interesting_words(300_000) {
        let n = gumbel(w);
        assert_eq!(i128::from(n), noise(w), "{w:#x}");
        assert!(n <= at_most(w) && n <= NOISE_MAX, "{w:#x}");
    }
    for (w, n) in [(0, -330_589), (u32::MAX, 2_128_035), (1 << 31, 0), ((1 << 31) - 1, 0)] {
        assert_eq!(gumbel(w), n);
    }
}

#[test]
fn the_noise_is_within_its_error() {
    for w in interesting_words(300_000) {
        // Both are exact in f64.
        let u = (f64::from(w) + 0.5) * 2f64.powi(-32);
        let y = (f64::from(!w) + 0.5) * 2f64.powi(-32);
        let e = if u < 0.5 { -u.log2() } else { -(-y).ln_1p() / std::f64::consts::LN_2 };
        let exact = -e.log2() * 65_536.0;
        let error = (f64::from(gumbel(w)) - exact).abs();
        assert!(error < 0.512, "{w:#x}: {error}");
    }
}

#[test]
fn keys_are_ordered_by_score_then_index() {
    let mut rng = Rng(61);
    let ids = [0, 7, 49_151, u32::MAX];
    let temperatures = [0, 1, 1 << 16, Sampling::TEMPERATURE_MAX, u32::MAX];
    for (i, temperature) in ids.into_iter().flat_map(|i| temperatures.map(|t| (i, t))) {
        let random: Vec<_> = (0..50).map(|_| rng.i32()).collect();
        for logit in EXTREMES.into_iter().chain(random) {
            let (seed, position) = (rng.next(), rng.i32() as u32);
            let sampling = Sampling { seed, temperature };
            let noise = noise(word(seed, position, i));
            let score = i128::from(logit) * 1_512_775 + i128::from(temperature) * noise;
            assert!(score.unsigned_abs() < 1 << 54);
            let key = score * (1 << 32) + i128::from(u32::MAX - i);
            assert_eq!(sample::unit(sampling, position, i128::MIN, i, &[logit]), key);
            assert_eq!(sample::unit(sampling, position, key + 1, i, &[logit]), key + 1);
            assert_eq!(sample::finalize(key), i);
        }
    }
}

#[test]
fn greed_takes_the_first_maximum_whatever_the_seed() {
    for seed in [0, 1, u64::MAX] {
        let greedy = Sampling { seed, temperature: 0 };
        assert_eq!(sample::forward(greedy, 9, &[i32::MIN; 3]), 0);
        assert_eq!(sample::forward(greedy, 9, &[-5, 3, 3, -5]), 1);
    }
}

/// Seeds at which two scores are equal, found by trying: of equal logits and noises, and of a larger logit with a smaller
/// noise.
#[test]
fn equal_scores_go_to_the_lowest() {
    for (seed, temperature, logits) in [(709_613, 1 << 16, [0, 0]), (89_846, 302_555, [0, 1])] {
        let sampling = Sampling { seed, temperature };
        assert_eq!(sampling.score(7, 0, logits[0]), sampling.score(7, 1, logits[1]));
        assert_eq!(sample::forward(sampling, 7, &logits), 0);
    }
}

#[test]
fn a_request_may_ask_for_temperatures_up_to_16_and_for_seeds_that_are_read() {
    let valid = |seed, temperature| Sampling { seed, temperature }.is_valid();
    assert!(Sampling::GREEDY.is_valid() && Sampling::GREEDY == Sampling::default());
    assert!(valid(0, 1) && valid(u64::MAX, 1) && valid(1, 16 << 16));
    assert!(!valid(1, 0) && !valid(0, (16 << 16) + 1));
}

/// Draws that a frequency test makes.
const DRAWS: u32 = 60_000;

/// Pearson's statistic of the tokens drawn at a temperature against the softmax at another one;
/// positions and seeds both vary.
fn chi_square(logits: &[i32], temperature: u32, expected_at: u32) -> f64 {
    let mut counts = vec![0u32; logits.len()];
    for draw in 0..DRAWS {
        let sampling = Sampling { seed: u64::from(draw / 300) << 24, temperature };
        counts[sample::forward(sampling, draw % 300, logits) as usize] += 1;
    }
    let weight = |&logit: &i32| (f64::from(logit) * 16.0 / f64::from(expected_at)).exp();
    let total: f64 = logits.iter().map(weight).sum();
    let terms = logits.iter().zip(counts).map(|(logit, count)| {
        let expected = weight(logit) / total * f64::from(DRAWS);
        (f64::from(count) - expected).powi(2) / expected
    });
    terms.sum()
}

/// Fixed seeds: the statistics never change. Of right frequencies one in 100,000 would be above its
/// bound (7 and 15 degrees of freedom).
#[test]
fn tokens_come_as_often_as_the_softmax_says() {
    let eight = [0, 4096, -4096, 2048, 9000, 9001, -9000, 5000];
    let sixteen: Vec<_> = (0..16).map(|i| 700 * i).collect();
    for temperature in [1 << 15, 1 << 16, 100_000, 16 << 16] {
        let small = chi_square(&eight, temperature, temperature);
        let large = chi_square(&sixteen, temperature, temperature);
        assert!(small < 36.0 && large < 51.0, "{small} {large} at {temperature}");
    }
    assert!(chi_square(&eight, 1 << 16, 69_000) > 36.0, "five in a hundred would be seen");
}

/// Two thousand tokens that are rare one by one: together they come as often as they should, and
/// their noise is from the upper tail.
#[test]
fn rare_tokens_come_as_often_as_the_softmax_says() {
    let mut logits = vec![0; 2001];
    logits[1000] = 8 << 12;
    let draws = 4000;
    let rare = (0..draws).filter(|&seed| {
        let sampling = Sampling { seed, temperature: 1 << 16 };
        sample::forward(sampling, 5, &logits) != 1000
    });
    let share = 2000.0 / (2000.0 + 8f64.exp());
    let (expected, count) = (share * draws as f64, rare.count() as f64);
    let deviation = (expected * (1.0 - share)).sqrt();
    assert!((count - expected).abs() < 4.5 * deviation, "{count} of {expected}");
}
