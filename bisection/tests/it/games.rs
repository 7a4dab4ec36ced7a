//! Every single lie against an honest challenger, every strategy against an honest defender.

use crate::toy::program::WIDE;
use crate::toy::verifier::witness;
use crate::toy::*;
use refute_bisection::layout::Layout;
use refute_bisection::merkle::zero;
use refute_bisection::moves::{Event, Move};
use refute_bisection::player::{Action, Challenger, Defender, Difference, Player};
use refute_bisection::position::{Block, Element, Level, Step};
use refute_bisection::rules::Rules;
use refute_bisection::state::{Mode, Party, Phase};

const ARITIES: [u32; 3] = [1, 2, 5];

/// A prompt and a number of output tokens that make a claim of `blocks` blocks.
pub fn request(blocks: u32) -> (Vec<u32>, u32) {
    let prompt = blocks.div_ceil(2);
    let tokens = (0..prompt).map(|i| 3 + 2 * i).collect();
    (tokens, blocks + 1 - prompt)
}

/// Lies of which at least one reaches something that is committed.
fn deltas(op: Op) -> &'static [i64] {
    match op {
        Op::Sample | Op::Collect => &[1],
        Op::Attend | Op::Reduce | Op::Logits => &[900_000_000, -900_000_000, 1],
        _ => &[1, -900_000_000],
    }
}

fn unit_deltas(op: Op) -> &'static [i128] {
    match op {
        // A higher key, of the next token.
        Op::Sample => &[(1 << 70) - 1],
        _ => &[1 << 40, -(1 << 40), 2],
    }
}

/// The elements to lie about: all of them, but of the long tensor only some in large claims.
fn elements(op: Op, blocks: u32) -> Vec<u32> {
    match op {
        Op::Wide if blocks != 3 => vec![0, 1, 255, 256, WIDE - 1],
        _ => (0..op.elements()).collect(),
    }
}

fn steps_of(claim: &ToyClaim, block: u32) -> &'static [Op] {
    &PROGRAM[..claim.steps(Block(block)) as usize]
}

/// Plays the lie's claim, if it is wrong at all, and returns whether it is.
fn convicts(blocks: u32, arity_bits: u32, lie: Lie, mode: Mode, lo: u64) -> bool {
    let (prompt, outputs) = request(blocks);
    let theirs = ToyTrace::generate(&prompt, outputs, Some(lie));
    let claim = theirs.claim();
    let own = ToyTrace::check(&prompt, &claim.output);
    let rules = Rules::new(arity_bits).unwrap();
    let challenger = Challenger::new(&own, &claim, rules);
    if challenger.first_difference().unwrap().is_none() {
        assert_eq!(own.claim().root, claim.root);
        assert_eq!(own.claim().output, ToyTrace::generate(&prompt, outputs, None).output);
        return false;
    }
    let end = play(&claim, arity_bits, &theirs, &own);
    assert_eq!((end.winner, end.by_step), (Party::Challenger, true), "{lie:?}");
    let state = end.sim.state;
    let (block, step, element) = match lie {
        Lie::Element { block, step, element, .. } | Lie::Unit { block, step, element, .. } => {
            (block, step, element)
        }
        Lie::Carry { block, .. } => (block, COLLECT, 0),
    };
    let place = (Block(block), step, Element(element));
    assert_eq!((state.block, state.step, state.element), place, "{lie:?}");
    assert_eq!((state.mode, state.lo), (mode, lo), "{lie:?}");
    true
}

#[test]
fn every_false_element_is_convicted_where_it_is() {
    for (arity_bits, blocks) in ARITIES.iter().flat_map(|a| (1..=7).map(move |n| (*a, n))) {
        let (prompt, outputs) = request(blocks);
        let honest = ToyTrace::generate(&prompt, outputs, None).claim();
        for block in 0..blocks {
            for op in steps_of(&honest, block) {
                let (step, units) = (op.step(), op.units(block));
                let mode = if units == 1 { Mode::Whole } else { Mode::Finalize };
                for element in elements(*op, blocks) {
                    let convicted = deltas(*op).iter().filter(|delta| {
                        let lie = Lie::Element { block, step, element, delta: **delta };
                        convicts(blocks, arity_bits, lie, mode, 0)
                    });
                    let count = convicted.count();
                    assert!(count > 0, "no lie at {block}:{step}:{element} of {blocks} blocks");
                }
            }
        }
    }
}

#[test]
fn every_false_unit_of_a_fold_is_convicted_where_it_is() {
    for (arity_bits, blocks) in ARITIES.iter().flat_map(|a| [1, 2, 5].map(|n| (*a, n))) {
        let (prompt, outputs) = request(blocks);
        let honest = ToyTrace::generate(&prompt, outputs, None).claim();
        for block in 0..blocks {
            let folds = steps_of(&honest, block).iter().filter(|op| op.units(block) > 1);
            for op in folds {
                for (element, unit) in (0..op.elements())
                    .flat_map(|element| (0..op.units(block)).map(move |unit| (element, unit)))
                {
                    let step = op.step();
                    let convicted = unit_deltas(*op).iter().filter(|delta| {
                        let lie = Lie::Unit { block, step, element, unit, delta: **delta };
                        convicts(blocks, arity_bits, lie, Mode::Segment, unit)
                    });
                    let count = convicted.count();
                    assert!(count > 0, "no lie at {block}:{step}:{element}:{unit}");
                }
            }
        }
    }
}

#[test]
fn a_false_token_is_convicted_at_its_sample_and_no_block_root_need_differ() {
    // The last token is in no block, so the trace root is the honest one.
    for blocks in 1..=7 {
        let (prompt, outputs) = request(blocks);
        let honest = ToyTrace::generate(&prompt, outputs, None);
        let lie = Lie::Element { block: blocks - 1, step: SAMPLE, element: 0, delta: 1 };
        let theirs = ToyTrace::generate(&prompt, outputs, Some(lie));
        let claim = theirs.claim();
        assert_eq!(claim.root, honest.claim().root);
        let own = ToyTrace::check(&prompt, &claim.output);
        for arity_bits in ARITIES {
            let rules = Rules::new(arity_bits).unwrap();
            let block = Block(blocks - 1);
            let own_token = *honest.output.last().unwrap();
            let difference = Difference::Token { block, posted: own_token + 1, own: own_token };
            let challenger = Challenger::new(&own, &claim, rules);
            assert_eq!(challenger.first_difference().unwrap(), Some(difference));
            assert!(convicts(blocks, arity_bits, lie, Mode::Finalize, 0));
        }
    }
}

#[test]
fn a_posted_token_that_the_own_sample_does_not_give_cannot_be_expanded() {
    let (prompt, outputs) = request(4);
    let honest = ToyTrace::generate(&prompt, outputs, None);
    let mut posted = honest.output.clone();
    *posted.last_mut().unwrap() += 1;
    let theirs = ToyTrace::check(&prompt, &posted);
    let claim = theirs.claim();
    let end = play(&claim, 2, &theirs, &theirs);
    assert_eq!((end.winner, end.by_step), (Party::Challenger, false));
    assert_eq!(end.sim.state.phase, Phase::Expand);
}

#[test]
fn an_earlier_token_lie_comes_before_a_later_false_block() {
    // Token and root differ in different places: the first of them is the target.
    for (arity_bits, blocks) in ARITIES.iter().flat_map(|a| [5, 7].map(|n| (*a, n))) {
        let (prompt, outputs) = request(blocks);
        let output = ToyTrace::generate(&prompt, outputs, None).output;
        let first = prompt.len() as u32 - 1;
        for (token, block) in
            (first..blocks).flat_map(|token| (0..blocks).map(move |block| (token, block)))
        {
            let mut posted = output.clone();
            posted[(token - first) as usize] += 1;
            let step = Op::Keep.step();
            let lie = Lie::Element { block, step, element: 1, delta: 5 };
            let theirs = ToyTrace::run(&prompt, &posted, outputs, Some(lie));
            let claim = theirs.claim();
            let own = ToyTrace::check(&prompt, &claim.output);
            let end = play(&claim, arity_bits, &theirs, &own);
            assert_eq!(end.winner, Party::Challenger);
            // Whoever lies about a token honestly computed can't expand its block.
            let target = Block(token.min(block));
            assert_eq!(end.sim.state.block, target, "token {token}, block {block}");
        }
    }
}

#[test]
fn honest_claims_show_no_difference() {
    for blocks in 1..=9 {
        let (prompt, outputs) = request(blocks);
        let honest = ToyTrace::generate(&prompt, outputs, None);
        let claim = honest.claim();
        let own = ToyTrace::check(&prompt, &claim.output);
        let challenger = Challenger::new(&own, &claim, Rules::new(5).unwrap());
        assert_eq!(challenger.first_difference().unwrap(), None);
    }
}

/// All that a challenger can do at its turn, and what it can't.
fn choices(sim: &Sim<'_>) -> Vec<Move> {
    let shown = sim.history.last().unwrap();
    let (state, claim) = (&sim.state, sim.claim);
    match shown {
        Event::Revealed { children } | Event::Expanded { children, .. } => {
            let down = sim.rules.down(state);
            let bottom = state.phase == Phase::StepsChoose && state.level.0 == down;
            (0..children.len() as u32)
                .map(|child| {
                    let (hash, path) =
                        (children[child as usize], path_in(children, child, state.level.0, down));
                    if !bottom {
                        return Move::Choose { child, hash, path };
                    }
                    let step = Step((state.index.0 << down) + child);
                    let descriptor = claim.descriptor(step).unwrap();
                    let descriptor_proof = claim.program_path(step).unwrap();
                    let (d0, d1) = (descriptor.d0, descriptor.d1);
                    Move::ChooseStep { child, hash, path, d0, d1, descriptor_proof }
                })
                .collect()
        }
        Event::LeafRevealed { data } => (0..state.shape(claim).unwrap().elements)
            .map(|element| Move::ChooseElement { data: data.clone(), element: Element(element) })
            .collect(),
        Event::FoldRevealed { accs } => (0..=accs.len() as u32 + 1)
            .map(|choice| Move::ChooseFold { accs: accs.clone(), choice })
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// The siblings of a child, by the definition: the real children filled up with padding.
pub fn path_in(children: &[[u8; 32]], child: u32, level: u32, down: u32) -> Vec<[u8; 32]> {
    let mut layer = children.to_vec();
    layer.resize(1 << down, zero(Level(level - down)));
    let mut path = Vec::new();
    for raised in 0..down {
        path.push(layer[(child as usize >> raised) ^ 1]);
        let pairs = layer.chunks_exact(2);
        layer = pairs.map(|pair| refute_bisection::merkle::node_hash(&pair[0], &pair[1])).collect();
    }
    path
}

/// Plays every choice at every turn; returns the number of games.
fn every_strategy(sim: Sim<'_>, trace: &ToyTrace) -> u64 {
    let defender = Defender::new(trace, sim.claim, sim.rules);
    if sim.state.to_move() == Some(Party::Challenger) {
        return choices(&sim)
            .into_iter()
            .map(|choice| {
                let mut next = sim.clone();
                // A choice of another leaf's element, or of the finalizer once the end is pinned.
                if next.play(&choice).is_err() { 0 } else { every_strategy(next, trace) }
            })
            .sum();
    }
    match defender.next(&sim.history).unwrap() {
        Action::Play(action) => {
            let mut next = sim.clone();
            next.play(&action).unwrap();
            every_strategy(next, trace)
        }
        Action::Decide(state) => {
            assert_eq!(*state, sim.state);
            let openings = witness(&defender, &sim.history, trace, sim.claim).unwrap();
            assert_eq!(sim.step(&openings), Some(Party::Defender), "{state:?}");
            sim.assert_bounded();
            1
        }
        action => panic!("{action:?}"),
    }
}

#[test]
fn an_honest_defender_wins_against_every_strategy() {
    for (blocks, arity_bits) in [(1, 1), (2, 2), (3, 1), (3, 5)] {
        let (prompt, outputs) = request(blocks);
        let trace = ToyTrace::generate(&prompt, outputs, None);
        let claim = trace.claim();
        let games = every_strategy(Sim::open(&claim, arity_bits), &trace);
        // Per block and element: one game for a map, else one per unit, and at least one finalizer.
        let ends = |block: u32, op: &Op| {
            let units = op.units(block);
            u64::from(op.elements()) * if units == 1 { 1 } else { units + 1 }
        };
        let expected: u64 = (0..blocks)
            .map(|block| steps_of(&claim, block).iter().map(|op| ends(block, op)).sum::<u64>())
            .sum();
        assert_eq!(games, expected, "{blocks} blocks");
    }
}
