//! The cases: small ones, each aimed at something. Fixed seeds, so that they never change by
//! themselves.

use crate::common::{EXTREMES, Rng};
use crate::evaluate::{encode, hex};
use refute_kernels::Format;
use serde_json::{Value, json};

/// All cases, op by op.
pub(crate) fn all() -> Vec<Value> {
    let mut cases = embed();
    cases.extend(rms_norm());
    cases.extend(quantize());
    cases.extend(linear());
    cases.extend(rope());
    cases.extend(scores());
    cases.extend(max());
    cases.extend(probs());
    cases.extend(sum());
    cases.extend(mix());
    cases.extend(swiglu());
    cases.extend(sample());
    cases
}

fn fx(values: &[i32]) -> String {
    hex(encode(values, i32::to_le_bytes))
}

fn quantized(values: &[i16], shifts: &[u8]) -> String {
    hex(encode(values, i16::to_le_bytes).into_iter().chain(shifts.iter().copied()))
}

fn case(op: &str, opcode: u8, name: &str, t: usize, descriptor: Value, inputs: Value) -> Value {
    let name = format!("{}_{name}", op.to_lowercase());
    json!({
        "op": op, "opcode": opcode, "name": name, "position": t,
        "descriptor": descriptor, "inputs": inputs,
    })
}

/// Values that repeat a pattern up to a length.
fn cycle<T: Copy>(pattern: &[T], n: usize) -> Vec<T> {
    pattern.iter().copied().cycle().take(n).collect()
}

/// Probabilities of every magnitude.
fn probabilities(rng: &mut Rng, n: usize) -> Vec<u16> {
    (0..n).map(|_| (rng.below(16_385) >> rng.below(15)) as u16).collect()
}

/// Rows of weights whose scales are all `scale`.
fn scaled(rng: &mut Rng, format: Format, rows: usize, cols: usize, scale: u16) -> Vec<u8> {
    let mut bytes = rng.bytes(rows * format.row_bytes(cols));
    for block in bytes.chunks_mut(format.block_bytes()) {
        block[..2].copy_from_slice(&scale.to_le_bytes());
        if format == Format::Q4_1 {
            block[2..4].copy_from_slice(&(scale ^ 0x8001).to_le_bytes());
        }
    }
    bytes
}

/// Scales worth a case: zero, −0, subnormals, an ordinary one, the largest in range, infinity, NaN.
const SCALES: [(&str, u16); 7] = [
    ("zero_scale", 0x0000),
    ("negative_zero_scale", 0x8000),
    ("subnormal_scale", 0x83ff),
    ("ordinary_scale", 0x1e66),
    ("largest_scale", 0xd7ff),
    ("infinite_scale", 0x7c00),
    ("nan_scale", 0xffff),
];

const BLOCKED: [(&str, Format); 3] =
    [("q8_0", Format::Q8_0), ("q4_0", Format::Q4_0), ("q4_1", Format::Q4_1)];

fn embed() -> Vec<Value> {
    let mut rng = Rng(100);
    let mut cases = vec![];
    for (format_name, format) in BLOCKED {
        for (i, (scale_name, scale)) in SCALES.into_iter().enumerate() {
            let (vocabulary, n) = (3, if i == 3 { 64 } else { 32 });
            let weights = scaled(&mut rng, format, vocabulary, n, scale);
            cases.push(case(
                "Embed",
                0,
                &format!("{format_name}_{scale_name}"),
                i,
                json!({ "format": format as u8, "n": n, "k": n, "groups": vocabulary }),
                json!({ "token": i % vocabulary, "weights": hex(weights) }),
            ));
        }
    }
    cases
}

fn rms_norm() -> Vec<Value> {
    let mut rng = Rng(101);
    let mut make = |name: &str, x: Vec<i32>, eps: u32, c1: i32| {
        let w: Vec<_> = (0..x.len()).map(|_| rng.i32()).collect();
        let descriptor = json!({ "n": x.len(), "c0": eps, "c1": c1 });
        let inputs = json!({ "in0": fx(&x), "weights": fx(&w) });
        case("RmsNorm", 1, name, 0, descriptor, inputs)
    };
    let mut rng = Rng(102);
    let mut cases = vec![
        make("zeros", vec![0; 4], 168, 30),
        make("zeros_smallest_eps", vec![0; 4], 1, 30),
        make("one_small", vec![1], 1, 30),
        make("one_lowest", vec![i32::MIN], 168, 30),
        make("one_largest", vec![i32::MAX], 168, 30),
        make("mean_rounds_half_up", vec![1, 0], 1, 30),
        make("mean_rounds_down", vec![1, 0, 0], 1, 30),
        make("mean_is_a_power_of_four", vec![1 << 15; 4], 3 << 30, 30),
        make("largest_eps", vec![4096, -4096, 1, 0], u32::MAX, 30),
        make("massive_channel", [vec![3; 31], vec![29_302 << 12]].concat(), 168, 33),
        make("smallest_shift", cycle(&EXTREMES, 12), 168, -8),
        make("largest_shift", cycle(&EXTREMES, 12), 168, 55),
        make("norm_weights_of_1e_5", rng.fx(33), 168, 47),
        make("all_lowest", vec![i32::MIN; 33], 168, 30),
        make("extremes", cycle(&EXTREMES, 24), 1, 30),
    ];
    for n in [31, 255, 256, 257, 513] {
        let x: Vec<_> = (0..n).map(|_| rng.i32() >> 8).collect();
        cases.push(make(&format!("length_{n}"), x, 168, 34));
    }
    cases
}

fn quantize() -> Vec<Value> {
    let make = |name: &str, x: Vec<i32>, groups: usize, bits: u32| {
        let descriptor = json!({ "n": x.len(), "groups": groups, "c0": bits });
        case("Quantize", 2, name, 0, descriptor, json!({ "in0": fx(&x) }))
    };
    let mut rng = Rng(103);
    let mut cases = vec![
        make("zeros", vec![0; 8], 1, 15),
        make("one_element", vec![-5], 1, 15),
        make("fits_15_bits", vec![32_767, -32_767, 1, 0], 1, 15),
        make("needs_16_bits", vec![32_768, -3, 3, 1], 1, 15),
        make("rounding_carries_into_the_clamp", vec![65_535, -65_535, 65_534, -65_534], 1, 15),
        make("halves", vec![1 << 17, 1, 2, 3, 4, 5, 6, 7, -1, -2, -3, -4, -5, -6, -7, 12], 1, 15),
        make("lowest", vec![i32::MIN, 1, -1, 1 << 30], 1, 15),
        make("lowest_11_bits", vec![i32::MIN, 1, -1, 1 << 30], 1, 11),
        make("largest", vec![i32::MAX, -i32::MAX, 1 << 16, 0], 1, 15),
        make("or_is_not_the_maximum", vec![0b1000, 0b0111, 0b1111], 1, 3),
        make("two_groups", [vec![1, 2, 3, 4], vec![1 << 20, -(1 << 29), 77, 0]].concat(), 2, 12),
        make("groups_of_one", vec![5000, -70_000, 1 << 25, 0], 4, 11),
        make("extremes_12_bits", cycle(&EXTREMES, 24), 2, 12),
        make("extremes_15_bits", cycle(&EXTREMES, 24), 1, 15),
    ];
    for (n, groups, bits) in [(255, 1, 15), (256, 1, 15), (257, 1, 15), (513, 1, 12), (514, 2, 11)]
    {
        let x: Vec<_> = (0..n).map(|_| rng.i32() >> 6).collect();
        cases.push(make(&format!("length_{n}_groups_{groups}"), x, groups, bits));
    }
    cases
}

fn linear() -> Vec<Value> {
    let mut rng = Rng(104);
    let mut cases = vec![];
    let mut push = |name: String,
                    format: Format,
                    weights: Vec<u8>,
                    x: Vec<i16>,
                    shift: u8,
                    bias: Option<Vec<i32>>,
                    residual: Option<Vec<i32>>| {
        let rows = weights.len() / format.row_bytes(x.len());
        let mut inputs = json!({ "in0": quantized(&x, &[shift]), "weights": hex(weights) });
        if let Some(bias) = bias {
            inputs["bias"] = fx(&bias).into();
        }
        if let Some(residual) = residual {
            inputs["in1"] = fx(&residual).into();
        }
        let descriptor = json!({ "format": format as u8, "n": rows, "k": x.len() });
        cases.push(case("Linear", 3, &name, 0, descriptor, inputs));
    };
    for (i, (name, format)) in BLOCKED.into_iter().enumerate() {
        for (scale_name, scale) in SCALES {
            let weights = scaled(&mut rng, format, 2, 32, scale);
            let x = rng.i16s(32);
            let shift = rng.below(17) as u8;
            push(format!("{name}_{scale_name}"), format, weights, x, shift, None, None);
        }
        for cols in [992, 1024, 1056, 2080] {
            let weights = rng.weights(format, 1 + (i == 0) as usize, cols, false);
            let (rows, x) = (1 + (i == 0) as usize, rng.quantized(cols, 15));
            let bias = (cols % 64 == 0).then(|| rng.fx(rows));
            let residual = (cols > 1024).then(|| rng.fx(rows));
            push(format!("{name}_{cols}_columns"), format, weights, x, 9, bias, residual);
        }
    }
    let zero = || vec![0; 2 * Format::Q8_0.row_bytes(32)];
    let ends = || Some(vec![i32::MAX, i32::MIN]);
    push("bias_and_residual_saturate".into(), Format::Q8_0, zero(), vec![7; 32], 3, ends(), ends());
    let opposite = Some(vec![-1, i32::MAX]);
    push(
        "saturates_before_the_residual".into(),
        Format::Q8_0,
        zero(),
        vec![0; 32],
        3,
        ends(),
        opposite,
    );
    for shift in [16, 17, 255] {
        let weights = scaled(&mut rng, Format::Q8_0, 2, 32, 0x2bff);
        let x = rng.i16s(32);
        push(format!("shift_{shift}"), Format::Q8_0, weights, x, shift, None, None);
    }
    cases
}

fn rope() -> Vec<Value> {
    let mut rng = Rng(105);
    let mut cases = vec![];
    let mut push = |name: &str, x: &[i32], len: usize, table: &[i32], rotated: usize, t: usize| {
        let descriptor = json!({ "n": x.len(), "k": len, "c0": rotated });
        let inputs = json!({ "in0": fx(x), "weights": fx(table) });
        cases.push(case("Rope", 4, name, t, descriptor, inputs));
    };
    let one = 1 << 30;
    push("identity", &[1, -2, i32::MAX, -i32::MAX], 4, &[one, 0, one, 0], 4, 0);
    push("quarter_turn", &[1, -2, i32::MAX, -i32::MAX], 4, &[0, one, 0, -one], 4, 0);
    push("half_turn", &[5, -6, i32::MIN, 0], 4, &[-one, 0, -one, 0], 4, 0);
    let eighth = 759_250_125;
    push("saturates", &[i32::MAX, i32::MAX, i32::MAX, -i32::MAX], 4, &[eighth; 4], 4, 0);
    push("rounds_half_up", &[1, 1, -1, 3], 4, &[one / 2, 0, one / 2, 0], 4, 0);
    push("copies_the_rest", &[9, 8, 7, i32::MIN, 5, 4, 3, 2], 4, &[eighth, eighth], 2, 0);
    push("nothing_rotated", &[9, 8, i32::MIN, i32::MAX], 4, &[], 0, 3);
    let lowest = i32::MIN;
    push("lowest_times_lowest", &[lowest; 4], 4, &[lowest; 4], 4, 0);
    push("lowest_times_largest", &[lowest; 4], 4, &[lowest, i32::MAX, i32::MAX, lowest], 4, 0);
    for t in 0..11 {
        let (heads, len, rotated) = ([1, 2, 3][t % 3], 8, [8, 6, 4, 2][t % 4]);
        let x = rng.fx(heads * len);
        let table: Vec<_> = (0..(t + 1) * rotated).map(|_| rng.i32().clamp(-one, one)).collect();
        push(&format!("random_{t}"), &x, len, &table, rotated, t);
    }
    cases
}

/// Carried tensors of positions `0 … t`.
fn cache(values: &[i16], shifts: &[u8], kv: usize, len: usize) -> Vec<String> {
    values.chunks(kv * len).zip(shifts.chunks(kv)).map(|(v, s)| quantized(v, s)).collect()
}

fn scores() -> Vec<Value> {
    let mut rng = Rng(106);
    let mut cases = vec![];
    let mut push = |name: &str,
                    [heads, kv, len]: [usize; 3],
                    scale: u64,
                    q: (&[i16], &[u8]),
                    k: (&[i16], &[u8])| {
        let descriptor = json!({ "groups": heads, "kv": kv, "k": len, "c0": scale, "c1": 0 });
        let inputs = json!({ "in0": quantized(q.0, q.1), "cache": cache(k.0, k.1, kv, len) });
        cases.push(case("Scores", 5, name, k.1.len() / kv - 1, descriptor, inputs));
    };
    let c0 = |len: u64| (2_399_655_057_223_005_247 / len).isqrt();
    let small = [1, 1, 2];
    push("zeros", small, c0(2), (&[0, 0], &[0]), (&[0, 0], &[0]));
    push("largest_product", small, c0(2), (&[4095, 4095], &[20]), (&[2047, 2047], &[20]));
    push("smallest_product", small, c0(2), (&[4095, 4095], &[20]), (&[-2047, -2047], &[20]));
    push("left_shift", small, 3, (&[1, -2], &[20]), (&[5, 7], &[20]));
    push("left_shift_by_one", small, 3, (&[1, -2], &[20]), (&[5, 7], &[19]));
    push("no_shift", small, 3, (&[1, -2], &[20]), (&[5, 7], &[18]));
    push("right_shift_by_one", small, 3, (&[1, -2], &[20]), (&[5, 6], &[17]));
    push("shifts_beyond_20", small, c0(2), (&[4, -9], &[21]), (&[5, 7], &[255]));
    push("largest_shift", small, c0(2), (&[4095, 4095], &[0]), (&[2047, 2047], &[0]));
    push("scale_zero", small, 0, (&[4095, 4095], &[9]), (&[2047, 2047], &[9]));
    push("lowest_values", small, u32::MAX.into(), (&[i16::MIN; 2], &[3]), (&[i16::MIN; 2], &[4]));
    push(
        "lowest_values_down",
        small,
        u32::MAX.into(),
        (&[i16::MAX; 2], &[20]),
        (&[i16::MIN; 2], &[20]),
    );
    let (q, k) = (vec![4095; 256], vec![2047; 256]);
    push("widest_head", [1, 1, 256], c0(256), (&q, &[5]), (&k, &[6]));
    let q = vec![i16::MIN; 256];
    push("widest_head_wild", [1, 1, 256], c0(256), (&q, &[5]), (&q, &[6]));
    for (i, shape) in
        [[2, 1, 4], [2, 2, 4], [4, 2, 6], [9, 3, 8], [6, 1, 2], [3, 3, 32]].into_iter().enumerate()
    {
        let [heads, kv, len] = shape;
        let positions = i + 1;
        let (q, k) = (rng.quantized(heads * len, 12), rng.quantized(positions * kv * len, 11));
        let shifts: Vec<_> = (0..heads + positions * kv).map(|_| rng.below(14) as u8).collect();
        let (q, k) = ((&q[..], &shifts[..heads]), (&k[..], &shifts[heads..]));
        push(&format!("random_{i}"), shape, c0(len as u64), q, k);
    }
    cases
}

fn max() -> Vec<Value> {
    let mut rng = Rng(107);
    let make = |name: &str, heads: usize, scores: &[i32]| {
        let inputs = json!({ "in0": fx(scores) });
        case("Max", 6, name, scores.len() / heads - 1, json!({ "groups": heads }), inputs)
    };
    let mut cases = vec![
        make("one_position", 1, &[-7]),
        make("one_position_lowest", 1, &[i32::MIN]),
        make("all_lowest", 1, &[i32::MIN; 3]),
        make("extremes", 1, &EXTREMES),
        make("extremes_in_heads", 3, &EXTREMES),
        make("negatives", 2, &[-5, -9, -9, -5]),
        make("heads_of_one", 4, &[3, -4, i32::MAX, i32::MIN]),
        make("first_is_largest", 1, &[1 << 30, 1, 2, 3]),
        make("last_is_largest", 1, &[1, 2, 3, 1 << 30]),
        make("ties", 1, &[5, 5, 5, 5]),
    ];
    for (heads, positions) in [
        (2, 2),
        (3, 31),
        (2, 32),
        (1, 33),
        (1, 255),
        (1, 256),
        (1, 257),
        (2, 257),
        (1, 512),
        (1, 513),
    ] {
        let scores: Vec<_> = (0..heads * positions).map(|_| rng.i32()).collect();
        cases.push(make(&format!("{heads}_heads_{positions}_positions"), heads, &scores));
    }
    cases
}

fn probs() -> Vec<Value> {
    let mut rng = Rng(108);
    let make = |name: &str, scores: &[i32], max: &[i32]| {
        let heads = max.len();
        let inputs = json!({ "in0": fx(scores), "in1": fx(max) });
        case("Probs", 7, name, scores.len() / heads - 1, json!({ "groups": heads }), inputs)
    };
    let one = 1 << 16;
    let mut cases = vec![
        make("the_maximum", &[123], &[123]),
        make("whole_powers", &[0, -one, -2 * one, -3 * one, -14 * one], &[0]),
        make("last_one_that_counts", &[-15 * one + 1, -15 * one, -15 * one - 1, -16 * one], &[0]),
        make("just_below_the_maximum", &[-1, -2, -3, -one + 1], &[0]),
        make("above_the_maximum", &[1, i32::MAX, one, 0], &[0]),
        make("widest_difference", &[i32::MIN, i32::MAX, 0], &[i32::MAX]),
        make("widest_the_other_way", &[i32::MIN, i32::MAX, 0], &[i32::MIN]),
        make("saturated_scores", &[-(1 << 30), 1 << 30, 0], &[1 << 30]),
        make("extremes_under_largest", &EXTREMES, &[i32::MAX]),
        make("extremes_under_zero", &EXTREMES, &[0]),
    ];
    for i in 0..10 {
        let (heads, positions) = (1 + i % 3, 1 + 3 * i);
        let max: Vec<_> = (0..heads).map(|_| rng.i32()).collect();
        let scores: Vec<_> = (0..heads * positions)
            .map(|j| max[j / positions].saturating_sub(rng.below(17 << 16) as i32 >> rng.below(8)))
            .collect();
        cases.push(make(&format!("random_{i}"), &scores, &max));
    }
    cases
}

fn sum() -> Vec<Value> {
    let mut rng = Rng(109);
    let make = |name: &str, heads: usize, p: &[u16]| {
        let inputs = json!({ "in0": hex(encode(p, u16::to_le_bytes)) });
        case("Sum", 8, name, p.len() / heads - 1, json!({ "groups": heads }), inputs)
    };
    let mut cases = vec![
        make("one_position", 1, &[1 << 14]),
        make("one_zero", 1, &[0]),
        make("one_largest_pattern", 1, &[u16::MAX]),
        make("zeros", 2, &[0; 6]),
        make("largest_patterns", 1, &[u16::MAX; 513]),
        make("heads_of_one", 4, &[1, 2, 3, 1 << 14]),
        make("two_heads", 2, &[1 << 14, 0, 77, 1, 1 << 14, 9]),
        make("largest_probabilities", 1, &[1 << 14; 512]),
    ];
    for (heads, positions) in [
        (1, 2),
        (3, 5),
        (1, 31),
        (1, 32),
        (1, 33),
        (2, 255),
        (1, 256),
        (1, 511),
        (1, 512),
        (2, 513),
        (1, 1024),
        (1, 1025),
    ] {
        let p = probabilities(&mut rng, heads * positions);
        cases.push(make(&format!("{heads}_heads_{positions}_positions"), heads, &p));
    }
    cases
}

fn mix() -> Vec<Value> {
    let mut rng = Rng(110);
    let mut cases = vec![];
    let mut push =
        |name: &str, [heads, kv, len]: [usize; 3], p: &[u16], sums: &[u32], v: (&[i16], &[u8])| {
            let descriptor = json!({ "groups": heads, "kv": kv, "k": len, "c1": 0 });
            let inputs = json!({
                "in0": hex(encode(p, u16::to_le_bytes)), "in1": hex(encode(sums, u32::to_le_bytes)),
                "cache": cache(v.0, v.1, kv, len),
            });
            cases.push(case("Mix", 9, name, p.len() / heads - 1, descriptor, inputs));
        };
    let small = [1, 1, 2];
    push("one_position", small, &[1 << 14], &[1 << 14], (&[4095, -4095], &[19]));
    push("zeros", small, &[0, 0], &[0], (&[5, -5, 7, -7], &[3, 4]));
    push("sum_zero_is_one", small, &[3, 4], &[0], (&[5, -5, 7, -7], &[3, 4]));
    push("sum_one", small, &[1], &[1], (&[5, -5], &[3]));
    push("sum_two", small, &[1, 1], &[2], (&[5, -5, 6, -6], &[0, 0]));
    push("sum_three", small, &[1, 2], &[3], (&[5, -5, 7, -7], &[0, 0]));
    push("sum_largest", small, &[u16::MAX], &[u32::MAX], (&[i16::MAX, i16::MIN], &[20]));
    push("shift_beyond_20", small, &[1], &[1 << 14], (&[5, -5], &[255]));
    push(
        "saturates",
        small,
        &[u16::MAX; 2],
        &[1],
        (&[i16::MAX, i16::MIN, i16::MAX, i16::MIN], &[20, 20]),
    );
    push("cancels", small, &[1 << 14; 2], &[1 << 15], (&[4095, -1, -4095, 1], &[19, 19]));
    push("power_of_two_sum", small, &[1 << 14; 2], &[1 << 15], (&[1, -1, 2, -2], &[0, 0]));
    push("just_below_a_power", small, &[1 << 14], &[(1 << 20) - 1], (&[4095, -4095], &[15]));
    push("just_above_a_power", small, &[1 << 14], &[(1 << 20) + 1], (&[4095, -4095], &[15]));
    for (i, shape) in [[2, 1, 4], [2, 2, 4], [4, 2, 6], [9, 3, 8], [6, 1, 2], [3, 3, 32], [1, 1, 2]]
        .into_iter()
        .enumerate()
    {
        let [heads, kv, len] = shape;
        let positions = [1, 2, 3, 5, 8, 3, 65][i];
        let p = probabilities(&mut rng, heads * positions);
        let sums: Vec<_> =
            p.chunks(positions).map(|p| p.iter().map(|&p| u32::from(p)).sum()).collect();
        let v = rng.quantized(positions * kv * len, 12);
        let shifts: Vec<_> = (0..positions * kv).map(|_| rng.below(20) as u8).collect();
        push(&format!("random_{i}"), shape, &p, &sums, (&v, &shifts));
    }
    cases
}

fn swiglu() -> Vec<Value> {
    let mut rng = Rng(111);
    let make = |name: &str, gate: &[i32], up: &[i32]| {
        let inputs = json!({ "in0": fx(gate), "in1": fx(up) });
        case("SwiGlu", 10, name, 0, json!({ "n": gate.len() }), inputs)
    };
    let up = vec![4096; 12];
    let wave = |f: fn(i32) -> i32| (0..12).map(f).collect::<Vec<_>>();
    let mut cases = vec![
        make("zero", &[0], &[i32::MAX]),
        make("extremes_times_one", &EXTREMES, &up),
        make("one_times_extremes", &up, &EXTREMES),
        make("minus_one_times_extremes", &[-4096; 12], &EXTREMES),
        make("extremes_squared", &EXTREMES, &EXTREMES),
        make("lowest_times_extremes", &[i32::MIN; 12], &EXTREMES),
        make("largest_times_extremes", &[i32::MAX; 12], &EXTREMES),
        make("small_gates", &wave(|i| i - 6), &[i32::MAX; 12]),
        make("whole_gates", &wave(|i| (i - 6) << 12), &up),
        make("where_the_exponential_vanishes", &wave(|i| -88_000 - 250 * i), &[i32::MAX; 12]),
        make("where_it_rounds_to_one_unit", &wave(|i| -85_000 - 150 * i), &[i32::MIN; 12]),
        make("positive_tail", &wave(|i| 40_000 + 5000 * i), &[1 << 20; 12]),
    ];
    for i in 0..8 {
        let n = [1, 2, 5, 31, 32, 33, 64, 65][i];
        let (gate, up): (Vec<_>, Vec<_>) =
            (0..n).map(|_| (rng.i32() >> 10, rng.i32() >> 8)).unzip();
        cases.push(make(&format!("random_{i}"), &gate, &up));
    }
    cases
}

fn sample() -> Vec<Value> {
    let mut rng = Rng(112);
    let make = |name: &str, logits: &[i32]| {
        let descriptor = json!({ "k": logits.len(), "n": 1 });
        case("Sample", 12, name, 0, descriptor, json!({ "in0": fx(logits) }))
    };
    let mut tie_across_units = vec![-9; 513];
    (tie_across_units[255], tie_across_units[256], tie_across_units[512]) = (4, 4, 4);
    let mut last = vec![i32::MIN; 257];
    last[256] = i32::MIN + 1;
    let mut cases = vec![
        make("one_token", &[-1]),
        make("one_token_lowest", &[i32::MIN]),
        make("all_lowest", &[i32::MIN; 5]),
        make("all_equal", &[7; 33]),
        make("tie", &[1, 9, 9, 1]),
        make("tie_across_units", &tie_across_units),
        make("last_of_the_last_unit", &last),
        make("negatives", &[-3, -2, -1, -1, -2]),
        make("minus_one_and_zero", &[-1, 0, -1, 0]),
        make("extremes", &EXTREMES),
        make("saturated_tie", &[i32::MAX, i32::MAX - 1, i32::MAX]),
    ];
    for n in [2, 31, 32, 33, 255, 256, 257, 512, 513] {
        let logits = rng.fx(n);
        cases.push(make(&format!("vocabulary_{n}"), &logits));
    }
    cases.extend(drawn(&mut rng));
    cases
}

/// Sample at a temperature: `sampling` holds what the request says.
fn drawn(rng: &mut Rng) -> Vec<Value> {
    let make = |name: &str, t: usize, seed: u64, temperature: u32, logits: &[i32]| {
        let descriptor = json!({ "k": logits.len(), "n": 1 });
        let mut value = case("Sample", 12, name, t, descriptor, json!({ "in0": fx(logits) }));
        value["sampling"] = json!({ "seed": format!("{seed:#018x}"), "temperature": temperature });
        value
    };
    let near: Vec<_> = (0..600).map(|_| rng.below(20_000) as i32).collect();
    vec![
        make("drawn_noise_alone", 0, 1, 1 << 16, &[0; 300]),
        make("drawn_another_position", 65_535, 1, 1 << 16, &[0; 300]),
        make("drawn_upper_half_of_the_seed", 0, 1 << 32 | 1, 1 << 16, &[0; 300]),
        make("drawn_all_ones", 65_535, u64::MAX, 16 << 16, &[7; 257]),
        make("drawn_one_token", 3, 5, 1 << 16, &[i32::MIN]),
        make("drawn_lowest_temperature", 9, 5, 1, &cycle(&[0, 1], 40)),
        make("drawn_highest_number", 9, 5, u32::MAX, &EXTREMES),
        make("drawn_extremes", 9, 6, 1 << 16, &EXTREMES),
        make("drawn_near", 100, 0x0123_4567_89ab_cdef, 52_429, &near),
        make("drawn_hot", 100, 0x0123_4567_89ab_cdef, 16 << 16, &near),
        make("drawn_seed_0", 100, 0, 1 << 16, &near),
        make("drawn_tie_of_equals", 7, 709_613, 1 << 16, &[0, 0]),
        make("drawn_tie_of_a_larger_logit", 7, 89_846, 302_555, &[0, 1]),
    ]
}
