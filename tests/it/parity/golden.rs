//! The golden vectors of the ops, put to the contract: values and accumulators are the file's, no code computes them.

use super::case::Case;
use super::{Check, FINALIZE, OPS, SEGMENT, Tally, WHOLE, ask};
use alloy::primitives::{I256, hex};
use rayon::prelude::*;
use refute_engine::program::{Descriptor, Op};
use refute_kernels::Format;
use refute_tests::tiny::Random;
use refute_tests::verifier::Verifier;
use refute_tests::verifier::content::{Matrix, Tensor};
use refute_tests::verifier::world::{Carried, World};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const VECTORS: &str = include_str!("../../golden/ops.json");

/// Elements of a vector that are put to the contract, besides those whose folds it has.
const ELEMENTS: usize = 24;

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a hex string")).expect("hex")
}

fn descriptor(vector: &Value) -> Descriptor {
    let opcode = vector["opcode"].as_u64().expect("an opcode") as usize;
    // c1 may be negative; as 32 bits it is what the descriptor holds.
    let field = |name: &str| {
        let value = vector["descriptor"].get(name);
        value.map_or(0, |v| v.as_i64().expect("a number") as u32)
    };
    let format = field("format") as u8;
    let [n, k, groups, kv, c0, c1] = ["n", "k", "groups", "kv", "c0", "c1"].map(field);
    Descriptor { format, n, k, groups, kv, c0, c1, ..Descriptor::new(OPS[opcode]) }
}

/// The world that a vector describes: inputs are steps 0 to 2, weights begin somewhere.
struct Builder<'a> {
    inputs: &'a Value,
    t: u32,
    d: Descriptor,
    world: World,
}

impl Builder<'_> {
    fn step(&mut self, i: usize, tensor: Tensor) {
        self.d.inputs[i] = i as u16;
        self.world.steps.insert(i as u16, tensor);
    }

    fn tensors(&mut self) {
        let (width, shifts) = match self.d.op {
            Op::Linear => (2, 1),
            Op::Scores => (2, self.d.groups),
            Op::Sum | Op::Mix => (2, 0),
            _ => (4, 0),
        };
        if let Some(in0) = self.inputs.get("in0") {
            self.step(0, Tensor::from_bytes(bytes(in0), width, shifts));
        }
        if let Some(in1) = self.inputs.get("in1") {
            self.step(1, Tensor::from_bytes(bytes(in1), 4, 0));
        }
        if let Some(cache) = self.inputs.get("cache").and_then(Value::as_array) {
            let rows = cache.iter().map(|row| Tensor::from_bytes(bytes(row), 2, self.d.kv));
            let mut rows: Vec<_> = rows.collect();
            let own = rows.pop().expect("the block's own row");
            self.step(if self.d.op == Op::Scores { 1 } else { 2 }, own);
            self.d.c1 = 1;
            self.world.carried.insert(1, Carried::Listed(rows));
        }
    }

    fn matrix(&mut self, name: &str, format: Format, rows: u32, cols: u32) -> Option<u32> {
        let bytes = bytes(self.inputs.get(name)?);
        if bytes.is_empty() {
            return None;
        }
        let base = self.world.statement.weightLeaves + 1000;
        let matrix = Matrix::from_bytes(base, format, rows, cols, bytes);
        self.world.statement.weightLeaves = matrix.end() + 1;
        self.world.weights.push(matrix);
        Some(base)
    }

    fn weights(&mut self) {
        let Descriptor { op, n, k, groups, c0, .. } = self.d;
        let format = self.d.weight_format();
        let (format, rows, cols) = match op {
            Op::Embed => (format, groups, k),
            Op::Linear => (format, n, k),
            Op::RmsNorm => (Format::I32, 1, n),
            _ => (Format::I32, self.t + 1, c0),
        };
        if let Some(w) = self.matrix("weights", format, rows, cols) {
            self.d.w = w;
        }
        if let Some(b) = self.matrix("bias", Format::I32, 1, n) {
            self.d.b = b;
        }
    }

    fn tokens(&mut self) {
        let token = self.inputs.get("token").map_or(0, |t| t.as_u64().expect("a token") as u32);
        let prompt = token.to_le_bytes().repeat(self.t as usize + 1);
        self.world.prompt = Some(Tensor::from_bytes(prompt, 4, 0));
    }
}

fn case(vector: &Value) -> Case {
    let t = vector["position"].as_u64().expect("a position") as u32;
    let mut world = World { seed: 1, ..World::default() };
    let s = &mut world.statement;
    (s.step, s.blockSteps, s.programSteps, s.carried) = (5, 9, 12, 3);
    (s.blockIndex, s.promptLength, s.outputLength, s.blocks) = (t, t + 1, 3, t + 3);
    if let Some(sampling) = vector.get("sampling") {
        let seed = bytes(&sampling["seed"]).try_into().expect("eight bytes");
        s.seed = u64::from_be_bytes(seed);
        s.temperature = sampling["temperature"].as_u64().expect("a temperature") as u32;
    }
    let mut builder = Builder { inputs: &vector["inputs"], t, d: descriptor(vector), world };
    builder.tensors();
    builder.weights();
    builder.tokens();
    Case { d: builder.d, t, element: 0, world: builder.world }
}

/// Elements of the encoded output.
fn elements(case: &Case, output: &[u8]) -> Vec<i128> {
    let ints = || output.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b));
    let halves = |bytes: &[u8]| -> Vec<i16> {
        bytes.as_chunks().0.iter().map(|b| i16::from_le_bytes(*b)).collect()
    };
    match case.d.op {
        Op::Probs => halves(output).into_iter().map(|p| p.cast_unsigned().into()).collect(),
        Op::Sum | Op::Sample => ints().map(|x| x.cast_unsigned().into()).collect(),
        Op::Quantize => {
            let (values, shifts) = output.split_at(2 * case.d.n as usize);
            let values = halves(values).into_iter().map(i128::from);
            values.chain(shifts.iter().map(|s| i128::from(*s))).collect()
        }
        _ => ints().map(i128::from).collect(),
    }
}

fn folds(vector: &Value) -> BTreeMap<u32, Vec<I256>> {
    let word = |w: &Value| I256::try_from_be_slice(&bytes(w)).expect("32 bytes");
    let folds = vector["folds"].as_array().expect("folds").iter().map(|fold| {
        let element = fold["element"].as_u64().expect("an element") as u32;
        let accs = fold["accumulators"].as_array().expect("accumulators");
        (element, accs.iter().map(word).collect())
    });
    folds.collect()
}

/// The checks of one element: its whole fold, unit by unit, where it has several.
fn checks(case: &Case, value: i128, accs: Option<&Vec<I256>>) -> Vec<Check> {
    let expected = I256::unchecked_from(value);
    if case.units() == 1 {
        let asks = [case.unit_asks(0), case.finalize_asks()].concat();
        return vec![Check { mode: WHOLE, unit: 0, acc_in: 0, expected, asks }];
    }
    let Some(accs) = accs else { return Vec::new() };
    assert_eq!(accs.len() as u64, case.units(), "an accumulator a unit");
    let mut acc_in = case.init();
    let mut checks = Vec::new();
    for (unit, &expected) in (0..).zip(accs) {
        checks.push(Check { mode: SEGMENT, unit, acc_in, expected, asks: case.unit_asks(unit) });
        acc_in = expected.try_into().expect("accumulators have 128 bits");
    }
    let asks = case.finalize_asks();
    checks.push(Check { mode: FINALIZE, unit: 0, acc_in, expected, asks });
    checks
}

fn put(verifier: &Verifier, vector: &Value) -> Result<Tally, String> {
    let mut case = case(vector);
    let values = elements(&case, &bytes(&vector["output"]));
    let folds = folds(vector);
    let spread = (0..ELEMENTS).map(|i| (i * (values.len() - 1) / (ELEMENTS - 1)) as u32);
    let places: BTreeSet<u32> = spread.chain(folds.keys().copied()).collect();
    let mut tally = Tally::default();
    for element in places {
        case.element = element;
        let checks = checks(&case, values[element as usize], folds.get(&element));
        let asks = checks.iter().flat_map(|c| c.asks.iter().copied()).collect();
        let sealed = case.world.clone().seal(&asks);
        let mut random = Random::new(element.into());
        tally = tally.and(ask(verifier, &case, &sealed, &checks, &mut random)?);
    }
    Ok(tally)
}

#[test]
fn the_contract_computes_the_golden_vectors() {
    let verifier = Verifier::deploy();
    let file: Value = serde_json::from_str(VECTORS).expect("json");
    let vectors = file["cases"].as_array().expect("cases");
    let tallies = vectors.par_iter().map(|vector| {
        let name = vector["name"].as_str().expect("a name");
        let tally = put(&verifier, vector).unwrap_or_else(|e| panic!("{name}: {e}"));
        // Every vector puts something to the contract.
        assert!(tally.calls > 0, "{name}");
        tally
    });
    let tally = tallies.reduce(Tally::default, Tally::and);
    println!("{} vectors, {} calls", vectors.len(), tally.calls);
}
