//! The named attacks on the game, each as the attacker would carry it out.

use crate::clock::slowest;
use crate::games::{path_in, request};
use crate::toy::verifier::witness;
use crate::toy::*;
use refute_bisection::clock::{Clock, Timing};
use refute_bisection::game::RuleError;
use refute_bisection::layout::Layout;
use refute_bisection::merkle::{Hash, MerkleError, Tree, node_hash, zero};
use refute_bisection::moves::{Event, Move};
use refute_bisection::player::{Action, Challenger, Defender, Player};
use refute_bisection::position::{Block, Element, Index, Level, Position, Step};
use refute_bisection::rules::Rules;
use refute_bisection::state::{Mode, Party, Phase, State, word_from_i128};
use refute_bisection::trace::{Tensor, Trace};

/// Plays on with the honest players until `stop`.
fn play_until(sim: &mut Sim<'_>, theirs: &ToyTrace, own: &ToyTrace, stop: impl Fn(&State) -> bool) {
    let defender = Defender::new(theirs, sim.claim, sim.rules);
    let challenger = Challenger::new(own, sim.claim, sim.rules);
    while !stop(&sim.state) {
        let action = match sim.state.to_move() {
            Some(Party::Defender) => defender.next(&sim.history).unwrap(),
            _ => challenger.next(&sim.history).unwrap(),
        };
        let Action::Play(action) = action else { panic!("{action:?} at {:?}", sim.state) };
        sim.play(&action).unwrap();
    }
}

#[test]
fn attack_1_own_position_k_v() {
    // The defender puts a false K_t into B_t and computes attention from it. Its attention step is
    // then right about the false K_t; what is wrong is that I_t and B_t don't agree.
    for (arity_bits, block) in [(1, 0), (2, 3), (5, 4)] {
        let (prompt, outputs) = request(5);
        let lie = Lie::Carry { block, element: 1, delta: 7 };
        let theirs = ToyTrace::generate(&prompt, outputs, Some(lie));
        let claim = theirs.claim();
        let own = ToyTrace::check(&prompt, &claim.output);
        let end = play(&claim, arity_bits, &theirs, &own);
        assert_eq!((end.winner, end.by_step), (Party::Challenger, true));
        let state = end.sim.state;
        assert_eq!((state.block, state.step), (Block(block), COLLECT));
        // Slot 0 is K; what B_t holds of it isn't the root of I_t's step.
        assert_eq!((state.element, state.mode), (Element(0), Mode::Whole));
        let Ok(steps) = theirs.step_roots(Block(block));
        assert_ne!(state.claimed, steps[Op::Keep.step().0 as usize]);
    }
}

#[test]
fn attack_2_moving_fold_ends() {
    // A false last accumulator, then honest ones wherever it is asked: the end in dispute stays
    // false, because it was fixed when it was chosen.
    let (prompt, outputs) = request(1);
    let element =
        Lie::Unit { block: 0, step: Op::Reduce.step(), element: 1, unit: 37, delta: 1 << 40 };
    let theirs = ToyTrace::generate(&prompt, outputs, Some(element));
    let claim = theirs.claim();
    let own = ToyTrace::check(&prompt, &claim.output);
    for arity_bits in [1, 2, 5] {
        let mut sim = Sim::open(&claim, arity_bits);
        play_until(&mut sim, &theirs, &own, |state| state.phase == Phase::FoldChoose);
        let false_end = *sim.history.last().unwrap().revealed().last().unwrap();
        let mut rounds = 0;
        play_until(&mut sim, &theirs, &own, |state| state.phase != Phase::FoldChoose);
        while sim.state.phase == Phase::FoldReveal {
            assert_eq!((sim.state.pinned, sim.state.acc_hi), (true, false_end));
            // A reveal that brings the end along again is one accumulator too long.
            let boundaries = sim.state.boundaries(sim.rules);
            assert!(boundaries.iter().all(|boundary| *boundary < sim.state.hi));
            let (block, step, element) = (sim.state.block, sim.state.step, sim.state.element);
            let Ok(honest) = own.accumulators(block, step, element, &boundaries);
            let with_end = [&honest[..], &[word_from_i128(0)]].concat();
            let refused = sim.play(&Move::RevealFold { accs: with_end.clone() });
            let (expected, got) = (honest.len() as u32, with_end.len());
            assert_eq!(refused, Err(RuleError::Accumulators { expected, got }));
            sim.play(&Move::RevealFold { accs: honest }).unwrap();
            let choice = Challenger::new(&own, &claim, sim.rules).next(&sim.history).unwrap();
            let Action::Play(choice) = choice else { panic!("{choice:?}") };
            sim.play(&choice).unwrap();
            rounds += 1;
        }
        let challenger = Challenger::new(&own, &claim, sim.rules);
        assert_eq!(
            (sim.state.mode, sim.state.lo, sim.state.acc_hi),
            (Mode::Segment, 37, false_end)
        );
        let openings = witness(&challenger, &sim.history, &own, &claim).unwrap();
        assert_eq!(sim.step(&openings), Some(Party::Challenger));
        assert_eq!(rounds + 1, sim.rules.fold_rounds(38), "arity {arity_bits}");
    }
}

#[test]
fn attack_2_a_pinned_end_cannot_be_chosen_as_right() {
    let (prompt, outputs) = request(1);
    let lie = Lie::Unit { block: 0, step: Op::Reduce.step(), element: 0, unit: 5, delta: 1 << 40 };
    let theirs = ToyTrace::generate(&prompt, outputs, Some(lie));
    let claim = theirs.claim();
    let own = ToyTrace::check(&prompt, &claim.output);
    let mut sim = Sim::open(&claim, 1);
    play_until(&mut sim, &theirs, &own, |state| state.phase == Phase::FoldReveal && state.pinned);
    play_until(&mut sim, &theirs, &own, |state| state.phase == Phase::FoldChoose);
    let accs = sim.history.last().unwrap().revealed().to_vec();
    for choice in [2, 3, u32::MAX] {
        let refused = sim.play(&Move::ChooseFold { accs: accs.clone(), choice });
        assert_eq!(refused, Err(RuleError::Choice { choice, segments: 2, pinned: true }));
    }
}

/// A root over `leaves` and garbage where the padding should be.
fn root_over_garbage(leaves: &[Hash]) -> Hash {
    let mut layer = leaves.to_vec();
    layer.resize(leaves.len().next_power_of_two(), [0x66; 32]);
    while layer.len() > 1 {
        layer = layer.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    layer[0]
}

#[test]
fn attack_3_garbage_padding_cannot_be_opened() {
    // All real blocks are right, only the root isn't: there is no reveal that folds to it, and the
    // defender runs out of time. Real children, or real ones and garbage, both fail.
    for (blocks, arity_bits) in [(3, 1), (3, 2), (5, 1), (5, 5), (6, 2), (7, 5)] {
        let (prompt, outputs) = request(blocks);
        let honest = ToyTrace::generate(&prompt, outputs, None);
        let Ok(roots) = honest.block_roots();
        let claim = ToyClaim::new(&prompt, &honest.output, root_over_garbage(&roots));
        let own = ToyTrace::check(&prompt, &claim.output);
        let rules = Rules::new(arity_bits).unwrap();
        assert!(Challenger::new(&own, &claim, rules).first_difference().unwrap().is_some());
        let mut sim = Sim::open(&claim, arity_bits);
        let tree = Tree::new(roots).unwrap();
        let children = tree.children(sim.state.position(), sim.rules.down(&sim.state)).unwrap();
        let real = sim.play(&Move::Reveal { children: children.clone() });
        assert_eq!(real, Err(RuleError::Reveal(MerkleError::Mismatch)));
        let with_garbage = [&children[..], &[[0x66; 32]]].concat();
        let (expected, got) = (children.len() as u32, with_garbage.len());
        let refused = sim.play(&Move::Reveal { children: with_garbage });
        if got as u32 <= 1 << sim.rules.down(&sim.state) {
            assert_eq!(refused, Err(RuleError::Reveal(MerkleError::Children { expected, got })));
        } else {
            assert!(refused.is_err());
        }
        let end = play(&claim, arity_bits, &honest, &own);
        assert_eq!((end.winner, end.by_step), (Party::Challenger, false));
    }
}

#[test]
fn attack_3_padding_cannot_be_chosen() {
    // Five blocks: three of the eight leaves are padding. Its hash and its path are right, and yet
    // it is no choice, or the defender would owe a preimage that nobody has.
    let (prompt, outputs) = request(5);
    let trace = ToyTrace::generate(&prompt, outputs, None);
    let claim = trace.claim();
    let mut sim = Sim::open(&claim, 5);
    play_until(&mut sim, &trace, &trace, |state| state.phase == Phase::BlocksChoose);
    let children = sim.history.last().unwrap().revealed().to_vec();
    assert_eq!(children.len(), 5);
    for child in 5..8 {
        let hash = zero(Level(0));
        let path = path_in(&children, child, sim.state.level.0, 3);
        let refused = sim.play(&Move::Choose { child, hash, path });
        assert_eq!(refused, Err(RuleError::Child { child, count: 5 }));
    }
    // The same one level up: with one level a round, the right half of the right half is padding.
    let mut sim = Sim::open(&claim, 1);
    play_until(&mut sim, &trace, &trace, |state| state.phase == Phase::BlocksChoose);
    let children = sim.history.last().unwrap().revealed().to_vec();
    let choice = Move::Choose { child: 1, hash: children[1], path: vec![children[0]] };
    sim.play(&choice).unwrap();
    play_until(&mut sim, &trace, &trace, |state| state.phase == Phase::BlocksChoose);
    let children = sim.history.last().unwrap().revealed().to_vec();
    assert_eq!((children.len(), sim.state.position()), (1, Position::new(2, 1)));
    let choice = Move::Choose { child: 1, hash: zero(Level(1)), path: vec![children[0]] };
    assert_eq!(sim.play(&choice), Err(RuleError::Child { child: 1, count: 1 }));
}

#[test]
fn attack_3_reveals_of_no_levels_do_not_exist() {
    assert_eq!(Rules::new(0), None);
    // At a leaf there is nothing to reveal: the phase is another one.
    let (prompt, outputs) = request(1);
    let trace = ToyTrace::generate(&prompt, outputs, None);
    let claim = trace.claim();
    let mut sim = Sim::open(&claim, 5);
    assert_eq!((sim.state.phase, sim.state.level), (Phase::Expand, Level(0)));
    let refused = sim.play(&Move::Reveal { children: vec![claim.root] });
    assert_eq!(refused, Err(RuleError::Phase { name: "reveal", phase: Phase::Expand }));
}

#[test]
fn attack_4_somebody_is_always_on_the_clock() {
    let timing = Timing { clock_s: 100, min_response_s: 10 };
    for code in 0..12 {
        let phase = Phase::from_code(code).unwrap();
        let clock = Clock::open(timing, phase.to_move(), 0);
        let out = clock.timed_out(111).expect("somebody loses");
        assert_eq!(Some(out.party), phase.to_move());
    }
    assert_eq!((Phase::Over.to_move(), Phase::from_code(13)), (None, None));
    // The final step that nobody calls, or that can't be decided, convicts the defender.
    assert_eq!(Phase::Step.to_move(), Some(Party::Defender));
}

#[test]
fn attack_4_a_witness_that_proves_nothing_decides_nothing() {
    let (prompt, outputs) = request(3);
    let lie = Lie::Element { block: 1, step: Op::Keep.step(), element: 0, delta: 1 };
    let theirs = ToyTrace::generate(&prompt, outputs, Some(lie));
    let claim = theirs.claim();
    let own = ToyTrace::check(&prompt, &claim.output);
    let end = play(&claim, 2, &theirs, &own);
    assert_eq!(end.sim.step(&[]), None);
    assert_eq!(end.sim.state.verdict(&end.sim.state.claimed), Some(Party::Defender));
}

#[test]
fn attack_9_collect_compares_whole_roots() {
    // One bit of a root, at either end of the word: a comparison as a number that is cut to a
    // narrower type, or as an element of a tensor, would miss one of them.
    let (prompt, outputs) = request(2);
    let honest = ToyTrace::generate(&prompt, outputs, None);
    for byte in [0, 15, 16, 31] {
        let mut roots = honest.collect(Block(0)).to_vec();
        roots[1][byte] ^= 0x80;
        let false_block = Tree::new(roots.clone()).unwrap();
        let Ok(mut blocks) = honest.block_roots();
        blocks[0] = false_block.root();
        let claim = ToyClaim::new(&prompt, &honest.output, Tree::new(blocks).unwrap().root());
        let sim = collect_game(&claim, &honest, &false_block);
        assert_eq!((sim.state.step, sim.state.element), (COLLECT, Element(1)));
        assert_eq!((sim.state.claimed, sim.state.mode), (roots[1], Mode::Whole));
        let challenger = Challenger::new(&honest, &claim, sim.rules);
        let openings = witness(&challenger, &sim.history, &honest, &claim).unwrap();
        assert_eq!(sim.step(&openings), Some(Party::Challenger), "byte {byte}");
    }
}

/// A defender with a false first block, all of whose steps but `Collect` are honest.
fn collect_game<'a>(claim: &'a ToyClaim, honest: &ToyTrace, false_block: &Tree) -> Sim<'a> {
    let mut sim = Sim::open(claim, 5);
    let challenger = Challenger::new(honest, claim, sim.rules);
    let Ok(mut blocks) = honest.block_roots();
    blocks[0] = false_block.root();
    let Ok(mut steps) = honest.step_roots(Block(0));
    steps[COLLECT.0 as usize] = false_block.root();
    let steps = Tree::new(steps).unwrap();
    let top = |tree: &Tree| Position { level: tree.depth(), index: Index(0) };
    let answers = [
        Move::Reveal { children: blocks },
        Move::Expand {
            step_root: steps.root(),
            collect_proof: steps.path(Index(COLLECT.0)).unwrap(),
            sample_proof: steps.path(Index(SAMPLE.0)).unwrap_or_default(),
            tokens: match claim.posted_token(Block(0)) {
                Some(_) => refute_bisection::merkle::token_leaf(&claim.output, Index(0)),
                None => Vec::new(),
            },
            token_proof: Vec::new(),
            children: steps.children(top(&steps), steps.depth().0).unwrap(),
        },
        Move::Reveal { children: false_block.children(top(false_block), 1).unwrap() },
    ];
    for answer in answers {
        sim.play(&answer).unwrap();
        let Action::Play(choice) = challenger.next(&sim.history).unwrap() else { panic!() };
        sim.play(&choice).unwrap();
    }
    sim
}

#[test]
fn attack_9_collect_is_no_tensor_of_bytes() {
    // A leaf of `Collect` is never opened as bytes: 32 bytes that hash to a root don't exist, and
    // 64 that do would be a node.
    let trace = ToyTrace::generate(&[1], 1, None);
    let Ok(tensor) = trace.tensor(Block(0), COLLECT);
    assert!(matches!(&tensor, Tensor::Roots(roots) if roots == trace.collect(Block(0))));
    assert_eq!(tensor.leaf(Index(0)), None);
    let Ok(steps) = trace.step_roots(Block(0));
    assert_eq!(tensor.tree().unwrap().root(), steps[COLLECT.0 as usize]);
}

#[test]
fn attack_10_the_bound_on_delay_counts_the_minimum_responses() {
    let timing = Timing { clock_s: 3_600, min_response_s: 60 };
    let rules = Rules::new(5).unwrap();
    // 2,048 blocks, 1,024 steps, 256 leaves, 65,536 units; and `step`.
    let moves = rules.moves_max(2_048, 1_024, 256, 65_536) + 1;
    assert_eq!(moves, 2 * (3 + 2 + 2 + 1 + 4) + 1);
    let (claimed_at, window_s) = (1_000_000, 86_400);
    let opened_at_max = claimed_at + 86_399;
    let decided_at = slowest(timing, moves, 4, opened_at_max);
    assert_eq!(decided_at, timing.decided_at_max(claimed_at, window_s, moves));
    assert!(decided_at - opened_at_max > 2 * 3_600 + 24 * 60);
}

#[test]
fn attack_10_out_of_time_does_not_depend_on_who_asks_first() {
    // Two disputes on one claim. One challenger is out of time at the second at which the other
    // convicts: whether it is depends on the clock alone, not on a transaction that says so.
    let timing = Timing { clock_s: 50, min_response_s: 5 };
    let stalled = Clock::open(timing, Some(Party::Challenger), 100);
    for (now, late) in [(154, false), (155, false), (156, true), (1_000, true)] {
        assert_eq!(stalled.timed_out(now).is_some(), late, "at {now}");
    }
}

#[test]
fn a_move_answers_one_dispute_only() {
    let (prompt, outputs) = request(2);
    let trace = ToyTrace::generate(&prompt, outputs, None);
    let claim = trace.claim();
    let states = [[1; 32], [2; 32]].map(|dispute| State::open(dispute, &claim));
    assert_ne!(states[0].hash(), states[1].hash());
    let rules = Rules::new(2).unwrap();
    let Ok(children) = trace.block_roots();
    let (after, event) = states[0].apply_move(&claim, rules, &Move::Reveal { children }).unwrap();
    let mut other = refute_bisection::history::History::open([2; 32], &claim);
    assert!(other.follow(&claim, rules, event.clone(), &after.hash()).is_err());
    assert_eq!((other.entries().len(), other.state()), (0, &states[1]));
    assert!(matches!(event, Event::Revealed { .. }));
    let step = Step(0);
    assert_eq!(claim.descriptor(step).unwrap().bytes().len(), 64);
}
