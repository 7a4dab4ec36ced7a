//! What other languages must reproduce: `tests/golden/game.json` at the top of the repository, described
//! in the README beside it. Rewritten only with `REFUTE_UPDATE_GOLDEN=1`.

use crate::games::request;
use crate::toy::*;
use refute_bisection::clock::{Clock, Timing};
use refute_bisection::layout::Layout;
use refute_bisection::merkle::{Hash, Tree, leaf_hash, real_nodes, token_root, zero};
use refute_bisection::moves::Move;
use refute_bisection::position::{Block, Element, Index, Level, Step};
use refute_bisection::state::{Mode, Party, Phase, State, word_from_i128};
use serde_json::{Value, json};

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

fn list(hashes: &[Hash]) -> Value {
    hashes.iter().map(|hash| hex(hash)).collect()
}

fn trees() -> Value {
    let tree = |n: u32| {
        let leaves = (0..n).map(|i| leaf_hash(&i.to_le_bytes())).collect();
        let tree = Tree::new(leaves).unwrap();
        let paths: Vec<Value> = (0..n).map(|i| list(&tree.path(Index(i)).unwrap())).collect();
        let real: Vec<u32> = (0..=tree.depth().0).map(|h| real_nodes(n, Level(h))).collect();
        json!({
            "leaves": n, "depth": tree.depth().0, "real": real, "root": hex(&tree.root()),
            "paths": paths,
        })
    };
    (1..=9).chain([33]).map(tree).collect()
}

fn tokens() -> Value {
    let root = |n: u32| {
        let tokens: Vec<u32> = (0..n).map(|i| i * 7 + 1).collect();
        json!({ "tokens": n, "root": hex(&token_root(&tokens).unwrap()) })
    };
    [1, 255, 256, 257, 600].map(root).into_iter().collect()
}

fn state_json(state: &State) -> Value {
    json!({
        "dispute": hex(&state.dispute), "move": state.move_number, "phase": state.phase.code(),
        "node": hex(&state.node), "level": state.level.0, "index": state.index.0,
        "block": state.block.0, "stepRoot": hex(&state.step_root), "step": state.step.0,
        "d0": hex(&state.d0), "d1": hex(&state.d1), "element": state.element.0,
        "claimed": hex(&state.claimed), "lo": state.lo, "hi": state.hi,
        "accLo": hex(&state.acc_lo), "accHi": hex(&state.acc_hi), "pinned": state.pinned,
        "reveal": hex(&state.reveal), "mode": state.mode.code(),
        "encoded": hex(&state.encode()), "hash": hex(&state.hash()),
    })
}

/// A state with every field at its own value, and one with every field at its largest.
fn states() -> Value {
    let word = |byte: u8| [byte; 32];
    let distinct = State {
        dispute: word(1),
        move_number: 2,
        phase: Phase::FoldChoose,
        node: word(4),
        level: Level(5),
        index: Index(6),
        block: Block(7),
        step_root: word(8),
        step: Step(9),
        d0: word(10),
        d1: word(11),
        element: Element(12),
        claimed: word_from_i128(-13),
        lo: 14,
        hi: 15,
        acc_lo: word_from_i128(16),
        acc_hi: word_from_i128(i128::MIN),
        pinned: true,
        reveal: word(19),
        mode: Mode::Segment,
    };
    let most = word(0xff);
    let largest = State {
        dispute: most,
        move_number: u32::MAX,
        phase: Phase::Over,
        node: most,
        level: Level(u8::MAX.into()),
        index: Index(u32::MAX),
        block: Block(u32::MAX),
        step_root: most,
        step: Step(u32::MAX),
        d0: most,
        d1: most,
        element: Element(u32::MAX),
        claimed: most,
        lo: u64::MAX,
        hi: u64::MAX,
        acc_lo: most,
        acc_hi: most,
        pinned: true,
        reveal: most,
        mode: Mode::Finalize,
    };
    [distinct, largest].iter().map(state_json).collect()
}

fn clocks() -> Value {
    let timing = Timing { clock_s: 100, min_response_s: 10 };
    let case = |elapsed_s: u64| {
        let moved = Clock::open(timing, Some(Party::Defender), 1_000)
            .after_move(1_000 + elapsed_s, Some(Party::Challenger));
        json!({
            "clock": timing.clock_s, "minResponse": timing.min_response_s, "elapsed": elapsed_s,
            "inTime": moved.is_ok(), "remaining": moved.map_or(0, |clock| clock.defender_remaining_s),
        })
    };
    [0, 9, 10, 11, 60, 109, 110, 111, 5_000].map(case).into_iter().collect()
}

fn move_json(action: &Move) -> Value {
    match action {
        Move::Reveal { children } => json!({ "children": list(children) }),
        Move::Expand { step_root, collect_proof, sample_proof, tokens, token_proof, children } => {
            json!({
                "stepRoot": hex(step_root), "collectProof": list(collect_proof),
                "sampleProof": list(sample_proof), "tokens": hex(tokens),
                "tokenProof": list(token_proof), "children": list(children),
            })
        }
        Move::Choose { child, hash, path } => {
            json!({ "child": child, "hash": hex(hash), "path": list(path) })
        }
        Move::ChooseStep { child, hash, path, d0, d1, descriptor_proof } => json!({
            "child": child, "hash": hex(hash), "path": list(path), "d0": hex(d0), "d1": hex(d1),
            "descriptorProof": list(descriptor_proof),
        }),
        Move::RevealLeaf { data } => json!({ "data": hex(data) }),
        Move::ChooseElement { data, element } => {
            json!({ "data": hex(data), "element": element.0 })
        }
        Move::RevealFold { accs } => json!({ "accs": list(accs) }),
        Move::ChooseFold { accs, choice } => json!({ "accs": list(accs), "choice": choice }),
    }
}

/// The toy program, as the contract's verifier would describe it in a block.
fn program(claim: &ToyClaim, block: Block) -> Value {
    let step = |op: &Op| {
        let descriptor = op.descriptor();
        let shape = claim.tensor(&descriptor, block).unwrap();
        let fold = claim.fold(&descriptor, block, Element(0)).unwrap();
        json!({
            "d0": hex(&descriptor.d0), "d1": hex(&descriptor.d1), "byteLength": shape.byte_len,
            "leaves": shape.leaves, "elements": shape.elements, "units": fold.units,
            "init": hex(&fold.init),
        })
    };
    PROGRAM.iter().map(step).collect()
}

/// The first of these lies that reaches anything committed is played.
fn dispute(name: &str, arity_bits: u32, lies: Vec<Lie>) -> Value {
    let (prompt, outputs) = request(6);
    let honest = ToyTrace::generate(&prompt, outputs, None).claim();
    let theirs = lies
        .into_iter()
        .map(|lie| ToyTrace::generate(&prompt, outputs, Some(lie)))
        .find(|trace| (trace.claim().root, &trace.output) != (honest.root, &honest.output))
        .expect("a lie that matters");
    let claim = theirs.claim();
    let own = ToyTrace::check(&prompt, &claim.output);
    let end = play(&claim, arity_bits, &theirs, &own);
    assert_eq!((end.winner, end.by_step), (Party::Challenger, true));
    let initial = State::open(DISPUTE, &claim);
    let mut state = initial;
    let moves: Vec<Value> = end
        .sim
        .moves
        .iter()
        .map(|action| {
            let by = state.to_move().unwrap().to_string();
            state = state.apply_move(&claim, end.sim.rules, action).unwrap().0;
            json!({
                "name": action.name(), "by": by, "args": move_json(action),
                "encoded": hex(&state.encode()), "hash": hex(&state.hash()),
            })
        })
        .collect();
    json!({
        "name": name, "arityBits": arity_bits, "prompt": prompt, "output": claim.output,
        "promptRoot": hex(&token_root(&prompt).unwrap()), "outputRoot": hex(&claim.output_root()),
        "traceRoot": hex(&claim.root), "programRoot": hex(&claim.program_root()),
        "promptSteps": COLLECT.0 + 1, "outputSteps": PROGRAM.len(), "collectStep": COLLECT.0,
        "sampleStep": SAMPLE.0, "program": program(&claim, state.block),
        "initial": { "encoded": hex(&initial.encode()), "hash": hex(&initial.hash()) },
        "moves": moves, "last": state_json(&state), "winner": end.winner.to_string(),
    })
}

fn disputes() -> Value {
    let element = |block, op: Op, element, size: i64| {
        let step = op.step();
        [size, -size].map(|delta| Lie::Element { block, step, element, delta }).to_vec()
    };
    let unit = |block, op: Op, element, unit| {
        let step = op.step();
        let lie = |delta| Lie::Unit { block, step, element, unit, delta };
        [1 << 40, -(1 << 40)].map(lie).to_vec()
    };
    json!([
        dispute("an element of a long tensor, in a prompt block", 2, element(1, Op::Wide, 299, 1)),
        dispute("a unit of a fold", 2, unit(5, Op::Reduce, 1, 17)),
        dispute("a finalizer", 5, element(4, Op::Attend, 2, 900_000_000)),
        dispute("a carried root", 1, element(3, Op::Collect, 1, 1)),
        dispute("the last token", 2, element(5, Op::Sample, 0, 1)),
    ])
}

#[test]
fn golden_game() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/game.json");
    let zeros: Vec<Hash> = (0..=32).map(|level| zero(Level(level))).collect();
    let game = json!({
        "zeros": list(&zeros), "trees": trees(), "tokenRoots": tokens(), "states": states(),
        "clocks": clocks(), "disputes": disputes(),
    });
    let text = serde_json::to_string_pretty(&game).unwrap() + "\n";
    if std::env::var_os("REFUTE_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).expect("tests/golden/game.json");
    let golden: Value = serde_json::from_str(&golden).unwrap();
    for part in ["zeros", "trees", "tokenRoots", "states", "clocks", "disputes"] {
        assert_eq!(golden[part], game[part], "{part} differ from tests/golden/game.json");
    }
    assert_eq!(golden, game);
}
