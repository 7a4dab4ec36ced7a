//! Evaluates a case from its encoded inputs alone, by `forward` and by the fold's units.

use refute_kernels::{
    Format, Heads, MAX_INIT, Sampling, embed, linear, max, mix, probs, quantize, rms_norm, rope,
    sample, scores, sum, swiglu,
};
use serde_json::{Value, json};
use std::fmt::Write;

/// The encoded output and the accumulators of some elements.
pub(crate) struct Evaluated {
    pub(crate) output: Value,
    pub(crate) folds: Value,
}

pub(crate) fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().fold("0x".into(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("strings can grow");
        text
    })
}

pub(crate) fn encode<const N: usize, T: Copy>(values: &[T], bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&v| bytes(v)).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a hex string").strip_prefix("0x").expect("0x");
    let byte = |i| u8::from_str_radix(&text[i..i + 2], 16).expect("two hex digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn i32s(bytes: &[u8]) -> Vec<i32> {
    bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect()
}

fn i16s(bytes: &[u8]) -> Vec<i16> {
    bytes.as_chunks().0.iter().map(|b| i16::from_le_bytes(*b)).collect()
}

/// A quantized tensor: its values, then its shifts.
fn quantized(bytes: &[u8], groups: usize) -> (Vec<i16>, Vec<u8>) {
    let (values, shifts) = bytes.split_at(bytes.len() - groups);
    (i16s(values), shifts.to_vec())
}

/// An accumulator as a 32-byte word, big-endian two's complement.
fn word(acc: i128) -> Value {
    let sign = if acc < 0 { 0xff } else { 0 };
    json!(hex([sign; 16].into_iter().chain(acc.to_be_bytes())))
}

fn fold(
    element: usize,
    init: i128,
    units: impl Iterator<Item = impl FnOnce(i128) -> i128>,
) -> Value {
    let accumulators = units.scan(init, |acc, unit| {
        *acc = unit(*acc);
        Some(word(*acc))
    });
    json!({ "element": element, "accumulators": accumulators.collect::<Vec<_>>() })
}

struct Case<'a>(&'a Value);

impl Case<'_> {
    fn field(&self, name: &str) -> usize {
        self.0["descriptor"][name].as_u64().expect("a descriptor field") as usize
    }

    fn constant(&self, name: &str) -> u32 {
        self.field(name) as u32
    }

    fn format(&self) -> Format {
        Format::try_from_code(self.field("format") as u8).expect("a format")
    }

    fn shape(&self) -> Heads {
        Heads { heads: self.field("groups"), kv: self.field("kv"), len: self.field("k") }
    }

    fn input(&self, name: &str) -> Vec<u8> {
        bytes(&self.0["inputs"][name])
    }

    fn optional(&self, name: &str) -> Option<Vec<i32>> {
        self.0["inputs"].get(name).map(|v| i32s(&bytes(v)))
    }

    /// The carried tensors of positions `0 … t`: values, and shifts, by position.
    fn cache(&self) -> (Vec<i16>, Vec<u8>) {
        let rows = self.0["inputs"]["cache"].as_array().expect("one tensor per position");
        let rows: Vec<_> = rows.iter().map(|r| quantized(&bytes(r), self.field("kv"))).collect();
        (
            rows.iter().flat_map(|r| r.0.clone()).collect(),
            rows.into_iter().flat_map(|r| r.1).collect(),
        )
    }

    fn position(&self) -> u32 {
        self.0["position"].as_u64().expect("a position") as u32
    }

    fn positions(&self) -> usize {
        self.position() as usize + 1
    }

    fn sampling(&self) -> Sampling {
        let Some(sampling) = self.0.get("sampling") else { return Sampling::GREEDY };
        // A JSON number has no room for 64 bits in every reader.
        let seed = sampling["seed"].as_str().and_then(|hex| hex.strip_prefix("0x"));
        Sampling {
            seed: u64::from_str_radix(seed.expect("hex"), 16).expect("a seed"),
            temperature: sampling["temperature"].as_u64().expect("a temperature") as u32,
        }
    }
}

/// The first and the last of `n` elements.
fn ends(n: usize) -> Vec<usize> {
    if n == 1 { vec![0] } else { vec![0, n - 1] }
}

pub(crate) fn evaluate(case: &Value) -> Evaluated {
    let op = case["op"].as_str().expect("an op");
    let case = Case(case);
    let (output, folds) = match op {
        "Embed" => embed(&case),
        "RmsNorm" => rms_norm(&case),
        "Quantize" => quantize(&case),
        "Linear" => linear(&case),
        "Rope" => rope(&case),
        "Scores" => scores(&case),
        "Max" => max(&case),
        "Probs" => probs(&case),
        "Sum" => sum(&case),
        "Mix" => mix(&case),
        "SwiGlu" => swiglu(&case),
        "Sample" => sample(&case),
        _ => panic!("no such op: {op}"),
    };
    Evaluated { output: json!(hex(output)), folds: folds.into() }
}

type Parts = (Vec<u8>, Vec<Value>);

fn embed(case: &Case<'_>) -> Parts {
    let token = case.0["inputs"]["token"].as_u64().expect("a token") as usize;
    let row_bytes = case.format().row_bytes(case.field("n"));
    let mut out = vec![0; case.field("n")];
    embed::forward(
        case.format(),
        &case.input("weights")[token * row_bytes..][..row_bytes],
        &mut out,
    );
    (encode(&out, i32::to_le_bytes), vec![])
}

fn rms_norm(case: &Case<'_>) -> Parts {
    let (x, w) = (i32s(&case.input("in0")), i32s(&case.input("weights")));
    let exponent = case.0["descriptor"]["c1"].as_i64().expect("signed") as i32;
    let mut out = vec![0; x.len()];
    rms_norm::forward(&x, &w, case.constant("c0"), exponent, &mut out);
    let units = || x.chunks(rms_norm::UNIT).map(|x| |acc| rms_norm::unit(acc, x));
    let folds = ends(x.len()).into_iter().map(|i| fold(i, 0, units()));
    (encode(&out, i32::to_le_bytes), folds.collect())
}

fn quantize(case: &Case<'_>) -> Parts {
    let (x, groups) = (i32s(&case.input("in0")), case.field("groups"));
    let (mut values, mut shifts) = (vec![0; x.len()], vec![0; groups]);
    quantize::forward(&x, groups, case.constant("c0"), &mut values, &mut shifts);
    let len = x.len() / groups;
    // The first value, the last value, the last shift.
    let elements = [(0, 0), (x.len() - 1, groups - 1), (x.len() + groups - 1, groups - 1)];
    let folds = elements.map(|(i, group)| {
        let units = x[group * len..][..len].chunks(quantize::UNIT);
        fold(i, 0, units.map(|x| move |acc| quantize::unit(acc, x)))
    });
    let mut out = encode(&values, i16::to_le_bytes);
    out.extend(shifts);
    (out, folds.to_vec())
}

fn linear(case: &Case<'_>) -> Parts {
    let (format, weights) = (case.format(), case.input("weights"));
    let (x, shifts) = quantized(&case.input("in0"), 1);
    let (bias, residual) = (case.optional("bias"), case.optional("in1"));
    let mut out = vec![0; case.field("n")];
    let (bias, residual) = (bias.as_deref(), residual.as_deref());
    linear::forward(format, &weights, &x, shifts[0], bias, residual, &mut out);
    let leaf_bytes = format.leaf_len() / format.block_len() * format.block_bytes();
    let folds = ends(out.len()).into_iter().map(|i| {
        let row = &weights[i * format.row_bytes(x.len())..][..format.row_bytes(x.len())];
        let leaves = row.chunks(leaf_bytes).zip(x.chunks(format.leaf_len()));
        fold(i, 0, leaves.map(|(leaf, x)| move |acc| linear::unit(format, leaf, x, acc)))
    });
    (encode(&out, i32::to_le_bytes), folds.collect())
}

fn rope(case: &Case<'_>) -> Parts {
    let (x, table, rotated) =
        (i32s(&case.input("in0")), i32s(&case.input("weights")), case.field("c0"));
    let row = &table[(case.positions() - 1) * rotated..][..rotated];
    let mut out = vec![0; x.len()];
    rope::forward(&x, case.field("k"), rotated, row, &mut out);
    (encode(&out, i32::to_le_bytes), vec![])
}

fn scores(case: &Case<'_>) -> Parts {
    let shape = case.shape();
    let ((q, q_shifts), (k, k_shifts)) = (quantized(&case.input("in0"), shape.heads), case.cache());
    let mut out = vec![0; shape.heads * case.positions()];
    scores::forward(&shape, case.constant("c0"), &q, &q_shifts, &k, &k_shifts, &mut out);
    (encode(&out, i32::to_le_bytes), vec![])
}

fn max(case: &Case<'_>) -> Parts {
    let (scores, heads) = (i32s(&case.input("in0")), case.field("groups"));
    let mut out = vec![0; heads];
    max::forward(heads, &scores, &mut out);
    let folds = ends(heads).into_iter().map(|h| {
        let units = scores[h * case.positions()..][..case.positions()].chunks(max::UNIT);
        fold(h, MAX_INIT, units.map(|x| move |acc| max::unit(acc, x)))
    });
    (encode(&out, i32::to_le_bytes), folds.collect())
}

fn u16s(bytes: &[u8]) -> Vec<u16> {
    i16s(bytes).into_iter().map(i16::cast_unsigned).collect()
}

fn u32s(bytes: &[u8]) -> Vec<u32> {
    i32s(bytes).into_iter().map(i32::cast_unsigned).collect()
}

fn probs(case: &Case<'_>) -> Parts {
    let (scores, max) = (i32s(&case.input("in0")), i32s(&case.input("in1")));
    let mut out = vec![0; scores.len()];
    probs::forward(case.field("groups"), &scores, &max, &mut out);
    (encode(&out, u16::to_le_bytes), vec![])
}

fn sum(case: &Case<'_>) -> Parts {
    let (probs, heads) = (u16s(&case.input("in0")), case.field("groups"));
    let mut out = vec![0; heads];
    sum::forward(heads, &probs, &mut out);
    let folds = ends(heads).into_iter().map(|h| {
        let units = probs[h * case.positions()..][..case.positions()].chunks(sum::UNIT);
        fold(h, 0, units.map(|p| move |acc| sum::unit(acc, p)))
    });
    (encode(&out, u32::to_le_bytes), folds.collect())
}

fn mix(case: &Case<'_>) -> Parts {
    let (shape, positions) = (case.shape(), case.positions());
    let (p, sums) = (u16s(&case.input("in0")), u32s(&case.input("in1")));
    let (v, shifts) = case.cache();
    let mut out = vec![0; shape.heads * shape.len];
    mix::forward(&shape, &p, &sums, &v, &shifts, &mut out);
    let folds = ends(out.len()).into_iter().map(|element| {
        let (h, i) = (element / shape.len, element % shape.len);
        let units = (0..positions).map(|s| {
            let row = s * shape.kv + shape.kv_of(h);
            let (p, v, shift) = (p[h * positions + s], v[row * shape.len + i], shifts[row]);
            move |acc| mix::unit(acc, p, v, shift)
        });
        fold(element, 0, units)
    });
    (encode(&out, i32::to_le_bytes), folds.collect())
}

fn swiglu(case: &Case<'_>) -> Parts {
    let (gate, up) = (i32s(&case.input("in0")), i32s(&case.input("in1")));
    let mut out = vec![0; gate.len()];
    swiglu::forward(&gate, &up, &mut out);
    (encode(&out, i32::to_le_bytes), vec![])
}

fn sample(case: &Case<'_>) -> Parts {
    let logits = i32s(&case.input("in0"));
    let units = logits.chunks(sample::UNIT).zip((0..).step_by(sample::UNIT));
    let (sampling, t) = (case.sampling(), case.position());
    let unit = |(logits, first)| move |acc| sample::unit(sampling, t, acc, first, logits);
    let units = units.map(unit);
    let token = sample::forward(sampling, t, &logits);
    (token.to_le_bytes().to_vec(), vec![fold(0, MAX_INIT, units)])
}
