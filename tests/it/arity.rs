//! What the arity costs: the same disputes at every arity, on the real model move by move, and on a 13B shape by the sizes of
//! its moves and what such moves cost on the real model.
//!
//! `REFUTE_ARITY_CSV=FILE cargo test --workspace --test it -- --ignored arity` writes the table.

use refute_bisection::adversary::{Actor, Call};
use refute_bisection::history::History;
use refute_bisection::layout::Layout;
use refute_bisection::merkle::depth;
use refute_bisection::moves::Move;
use refute_bisection::position::{Block, Element, Index, Position, Step, boundary, segments};
use refute_bisection::rules::{ARITY_BITS_MAX, Rules};
use refute_bisection::state::{Mode, Party, word_from_i128, word_to_i128};
use refute_engine::fault::FaultSpec;
use refute_engine::model::Model;
use refute_engine::subject::{Player, Subject};
use refute_engine::trace::Run;
use refute_tests::arena::{Arena, Parameters, Sent, subject_of};
use refute_tests::court::{EvmCourt, RunActor, play};
use refute_tests::faults::{differs, rerun};
use refute_tests::real;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

const PROMPT: u32 = 128;
const OUTPUT: u32 = 16;
const BLOCK: u32 = 130;

/// Steps in the middle layer, and around all layers.
const FAULTS: [(&str, u32); 9] = [
    ("token_embd", 7),
    ("blk.14.attn_norm", 7),
    ("blk.14.attn_scores", 5),
    ("blk.14.attn_mix", 7),
    ("blk.14.ffn_gate", 7),
    ("blk.14.ffn_swiglu_quant", 7),
    ("blk.14.ffn_down", 7),
    ("output", 7),
    ("sample", 0),
];

/// A defender that explains its false element by a unit of the fold, so that the fold is bisected to the end.
struct Explained<'a> {
    inner: RunActor<'a>,
    rules: Rules,
}

impl Actor for Explained<'_> {
    fn call(&self, history: &History) -> Result<Call, String> {
        let call = self.inner.call(history)?;
        let Call::Move(Move::RevealFold { accs }) = call else { return Ok(call) };
        let state = history.state();
        let unit = false_unit(state.lo, state.hi, state.pinned);
        let off = |(acc, end): (&_, &u64)| match *end > unit {
            true => word_from_i128(word_to_i128(acc).map_or(0, |acc| acc + 1)),
            false => *acc,
        };
        let ends = state.boundaries(self.rules);
        Ok(Call::Move(Move::RevealFold { accs: accs.iter().zip(&ends).map(off).collect() }))
    }
}

/// The unit that such a defender is wrong about: one in the middle of what is in dispute.
fn false_unit(lo: u64, hi: u64, pinned: bool) -> u64 {
    if pinned { (lo + hi - 1) / 2 } else { hi / 2 }
}

/// One dispute's cost.
struct Row {
    sizes: Sizes,
    model: &'static str,
    step: String,
    op: &'static str,
    mode: &'static str,
    arity_bits: u32,
    opening_gas: u64,
    moves: Vec<Sent>,
}

impl Row {
    fn most(&self, name: &str) -> u64 {
        let moves = self.moves.iter().filter(|m| m.name.starts_with(name));
        moves.map(|m| m.gas).max().unwrap_or(0)
    }

    fn line(&self) -> String {
        let Self { model, step, op, mode, arity_bits, opening_gas, moves, .. } = self;
        let rounds = moves.iter().filter(|m| m.name.starts_with("choose")).count();
        let gas: u64 = moves.iter().map(|m| m.gas).sum();
        let calldata: usize = moves.iter().map(|m| m.calldata).sum();
        let (reveal, choose) = (self.most("reveal"), self.most("choose"));
        let (expand, last) = (self.most("expand"), self.most("step"));
        format!(
            "{model},{step},{op},{mode},{arity_bits},{rounds},{},{opening_gas},{gas},{calldata},{reveal},{choose},{expand},{last}",
            moves.len()
        )
    }
}

const HEAD: &str = "model,step,op,mode,arity_bits,rounds,transactions,challenge_gas,gas,calldata_bytes,reveal_gas_max,choose_gas_max,expand_gas,step_gas";

/// Disputes about one faulty run, by a liar that gives up its fold and by one that explains it, at every arity.
fn disputes(model: &Arc<Model>, name: &str, element: u32, tokens: &[u32]) -> Vec<Row> {
    let spec = match name {
        "sample" => format!("token:{}", BLOCK - (PROMPT - 1)),
        _ => format!("{BLOCK}:{name}:{element}"),
    };
    let spec: FaultSpec = spec.parse().expect("a fault");
    let faulty = Run::generate(model, tokens, OUTPUT, Some(&spec), &mut |_, _| true);
    let faulty = faulty.unwrap_or_else(|e| panic!("{spec}: {e}"));
    let own = rerun(&faulty, None);
    assert!(differs(&faulty, &own), "{spec} has no effect");
    let index = faulty.fault().expect("a fault").step;
    let op = model.program.steps[index as usize].descriptor.op.name();
    let subject = subject_of(&faulty);
    let (faulty, own) = (Player::new(faulty), Player::new(own));
    let mut rows = Vec::new();
    for arity_bits in 1..=ARITY_BITS_MAX {
        let parameters = Parameters { arity_bits, ..Parameters::default() };
        let mut arena = Arena::new(parameters);
        arena.register(model);
        let claim = arena.claim(faulty.run());
        let rules = arena.rules();
        let court = EvmCourt::open(arena, parameters, claim, &subject);
        let challenger = RunActor::new(Party::Challenger, &own, &subject, rules);
        let defender = || RunActor::new(Party::Defender, &faulty, &subject, rules);
        let explained = Explained { inner: defender(), rules };
        let liars: [(&dyn Actor, Mode); 2] =
            [(&defender(), Mode::Finalize), (&explained, Mode::Segment)];
        for (liar, mode) in liars {
            let mut court = court.clone();
            let end = play(&mut court, liar, &challenger, Party::Challenger);
            assert_eq!(end, Ok((Party::Challenger, true)), "{spec} at {arity_bits}");
            let bisected = court.moves.iter().any(|m| m.name == "chooseFold");
            let mode = match mode {
                _ if !bisected => "whole",
                Mode::Segment => "segment",
                _ => "finalize",
            };
            let (step, opening_gas) = (name.to_owned(), court.opening_gas);
            let (sizes, moves) = (Sizes::of(&subject, index, element), court.moves);
            rows.push(Row {
                sizes,
                model: "SmolLM2-135M",
                step,
                op,
                mode,
                arity_bits,
                opening_gas,
                moves,
            });
            if !bisected {
                break;
            }
        }
    }
    rows
}

/// `gas = base + slope · bytes` for each move, by least squares over the measured ones.
fn fit(rows: &[Row]) -> BTreeMap<&'static str, (i64, i64)> {
    let mut points: BTreeMap<&'static str, Vec<(i128, i128)>> = BTreeMap::new();
    for m in rows.iter().flat_map(|row| &row.moves) {
        points.entry(m.name).or_default().push((m.calldata as i128, m.gas.into()));
    }
    let line = |points: Vec<(i128, i128)>| {
        let n = points.len() as i128;
        let (x, y) = points.iter().fold((0, 0), |(x, y), (a, b)| (x + a, y + b));
        let (xx, xy) = points.iter().fold((0, 0), |(s, t), (a, b)| (s + a * a, t + a * b));
        let spread = n * xx - x * x;
        // In thousandths of a gas.
        let slope = if spread == 0 { 0 } else { 1000 * (n * xy - x * y) / spread };
        let base = (1000 * y - slope * x) / n;
        (base as i64, slope as i64)
    };
    points.into_iter().map(|(name, points)| (name, line(points))).collect()
}

/// What the sizes of a dispute's moves follow from.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    blocks: u32,
    outputs: u32,
    /// Steps of an output block.
    program: u32,
    /// The one in dispute.
    step: u32,
    /// Leaves of its tensor; the first one is in dispute.
    leaves: u32,
    leaf_bytes: u32,
    /// Units of the fold.
    units: u64,
}

impl Sizes {
    /// Of a step of the real model, in its first leaf.
    fn of(subject: &Subject, step: u32, element: u32) -> Self {
        let descriptor = subject.descriptor(Step(step)).expect("a step");
        let shape = subject.tensor(&descriptor, Block(BLOCK)).expect("a shape");
        let fold = subject.fold(&descriptor, Block(BLOCK), Element(element)).expect("a fold");
        Self {
            blocks: subject.blocks(),
            outputs: subject.output().len() as u32,
            program: subject.program_steps(),
            step,
            leaves: shape.leaves,
            leaf_bytes: shape.leaf_len(Index(0)),
            units: fold.units,
        }
    }

    /// Of a step of a 13B llama: 40 layers, width 5120, hidden 13,824, 32,000 tokens.
    const fn large(step: u32, leaves: u32, leaf_bytes: u32, units: u64) -> Self {
        let (blocks, outputs, program) = (PROMPT + OUTPUT - 1, OUTPUT, steps(40));
        Self { blocks, outputs, program, step, leaves, leaf_bytes, units }
    }
}

/// Steps of an output block of so many layers: 24 in a layer, five around them, and `Collect`.
const fn steps(layers: u32) -> u32 {
    24 * layers + 6
}

/// The same steps in the middle of a 13B llama.
const LARGE: [(&str, Sizes); 6] = [
    ("blk.20.attn_norm", Sizes::large(481, 20, 1024, 20)),
    ("blk.20.attn_mix", Sizes::large(495, 20, 1024, BLOCK as u64 + 1)),
    ("blk.20.ffn_gate", Sizes::large(500, 54, 1024, 5)),
    ("blk.20.ffn_down", Sizes::large(504, 20, 1024, 14)),
    ("output", Sizes::large(964, 125, 1024, 5)),
    ("sample", Sizes::large(965, 1, 4, 125)),
];

/// Selector, place and length of the state, and the state in whole words: while a block is looked for, its step, the step's
/// element, a unit of its fold.
const HEADS: [usize; 4] = [4 + 64 + 96, 4 + 64 + 128, 4 + 64 + 192, 4 + 64 + 352];

/// Children and levels of each reveal on the way down to a leaf.
fn way_down(leaves: u32, leaf: u32, arity_bits: u32) -> Vec<(usize, usize)> {
    let mut level = depth(leaves).0;
    let mut reveals = Vec::new();
    while level > 0 {
        let down = arity_bits.min(level);
        let window = Position::new(level, leaf >> level).window(leaves, down).expect("a real leaf");
        reveals.push((window.count as usize, down as usize));
        level -= down;
    }
    reveals
}

/// Names and calldata in bytes of all moves but the last step.
fn transcript(sizes: &Sizes, segment: bool, a: u32) -> Vec<(&'static str, usize)> {
    let [blocks, steps, leaves, fold] = HEADS;
    let reveal = |head: usize, count: usize| ("reveal", head + 32 * (2 + count));
    let choose = |head: usize, down: usize| ("choose", head + 32 * (4 + down));
    let mut moves = Vec::new();
    for (count, down) in way_down(sizes.blocks, BLOCK, a) {
        moves.extend([reveal(blocks, count), choose(blocks, down)]);
    }
    let ways = way_down(sizes.program, sizes.step, a);
    let program_depth = depth(sizes.program).0 as usize;
    let tokens = (sizes.outputs as usize).div_ceil(8);
    for (i, (count, down)) in ways.iter().copied().enumerate() {
        moves.push(match i {
            // The root, five offsets and lengths, two paths, the tokens, no path of theirs, the children.
            0 => ("expand", steps + 32 * (11 + 2 * program_depth + tokens + count)),
            _ => reveal(steps, count),
        });
        moves.push(match i + 1 == ways.len() {
            true => ("chooseStep", steps + 32 * (8 + down + program_depth)),
            false => choose(steps, down),
        });
    }
    for (count, down) in way_down(sizes.leaves, 0, a) {
        moves.extend([reveal(leaves, count), choose(leaves, down)]);
    }
    let leaf = sizes.leaf_bytes.div_ceil(32) as usize;
    moves.push(("revealLeaf", leaves + 32 * (2 + leaf)));
    moves.push(("chooseElement", leaves + 32 * (3 + leaf)));
    let (mut lo, mut hi, mut pinned) = (0, sizes.units, false);
    while hi - lo > 1 {
        let k = segments(a, lo, hi);
        let accs = if pinned { k - 1 } else { k } as usize;
        moves.push(("revealFold", fold + 32 * (2 + accs)));
        moves.push(("chooseFold", fold + 32 * (3 + accs)));
        if !segment {
            break;
        }
        let unit = false_unit(lo, hi, pinned);
        let i = (0..k).find(|i| unit < boundary(lo, hi, k, i + 1)).expect("a segment");
        (lo, hi, pinned) = (boundary(lo, hi, k, i), boundary(lo, hi, k, i + 1), true);
    }
    moves
}

/// Siblings by which a witness of the large shape may be longer than the real model's: six more levels of weights, two more of
/// a tensor, in each of up to five openings.
const LONGER: usize = 16;

fn predicted(measured: &[Row]) -> Vec<Row> {
    let costs = fit(measured);
    let mut rows = Vec::new();
    for (large, sizes) in LARGE {
        for (mode, a) in
            ["finalize", "segment"].iter().flat_map(|m| (1..=ARITY_BITS_MAX).map(move |a| (*m, a)))
        {
            let name = large.replace("blk.20", "blk.14");
            let same =
                |r: &&Row| (r.step.as_str(), r.mode, r.arity_bits) == (name.as_str(), mode, a);
            let like = measured.iter().find(same);
            // Folds of one unit on the real model: any of its steps with that op.
            let like = like.or_else(|| measured.iter().find(|r| r.step == name)).expect("measured");
            let sized = transcript(&sizes, mode == "segment", a).into_iter();
            let mut moves: Vec<Sent> = sized
                .map(|(name, calldata)| {
                    let (base, slope) = costs[name];
                    let gas = (base + slope * calldata as i64) / 1000;
                    Sent { name, party: Party::Defender, gas: gas as u64, calldata }
                })
                .collect();
            let mut last = like.moves.last().expect("a step").clone();
            last.calldata += 32 * LONGER;
            last.gas += 700 * LONGER as u64;
            moves.push(last);
            let (step, opening_gas) = (large.to_owned(), like.opening_gas);
            rows.push(Row {
                sizes,
                model: "13B",
                step,
                op: like.op,
                mode,
                arity_bits: a,
                opening_gas,
                moves,
            });
        }
    }
    rows
}

/// The real model's moves have exactly the sizes that the formulas give, and their gas is about what the fit says.
fn check(measured: &[Row]) {
    let costs = fit(measured);
    for row in measured {
        let (_, moves) = row.moves.split_last().expect("a step");
        let sizes: Vec<_> = moves.iter().map(|m| (m.name, m.calldata)).collect();
        let expected = transcript(&row.sizes, row.mode == "segment", row.arity_bits);
        assert_eq!(sizes, expected, "{}", row.line());
        let gas: u64 = moves.iter().map(|m| m.gas).sum();
        let of = |m: &Sent| (costs[m.name].0 + costs[m.name].1 * m.calldata as i64) / 1000;
        let fitted: i64 = moves.iter().map(of).sum();
        let off = gas.abs_diff(fitted as u64);
        assert!(off * 12 <= gas, "{gas} gas, {fitted} by the fit: {}", row.line());
    }
}

#[test]
#[ignore = "a table, not a check: it takes minutes"]
fn table() {
    let Some(model) = real::model() else { return };
    real::on_cpu(&model);
    assert_eq!(model.program.steps.len() as u32, steps(model.config.layers));
    let tokens: Vec<u32> = (0..PROMPT).map(|i| 1 + i * 7919 % 31_000).collect();
    let mut rows = Vec::new();
    for (name, element) in FAULTS {
        rows.extend(disputes(&model, name, element, &tokens));
    }
    check(&rows);
    rows.extend(predicted(&rows));
    let mut table = HEAD.to_owned() + "\n";
    for row in &rows {
        writeln!(table, "{}", row.line()).expect("a string");
    }
    print!("{table}");
    if let Some(path) = std::env::var_os("REFUTE_ARITY_CSV") {
        std::fs::write(path, table).expect("the table is written");
    }
}
