//! Defenders that reveal anything at all, challengers that choose anything at all.

use crate::games::path_in;
use crate::toy::verifier::witness;
use crate::toy::*;
use proptest::prelude::*;
use refute_bisection::game::RuleError;
use refute_bisection::layout::Layout;
use refute_bisection::merkle::{Hash, Tree, keccak, leaf_hash, token_leaf, token_tree};
use refute_bisection::moves::{Event, Move};
use refute_bisection::player::{Action, Challenger, Defender, Player, PlayerError};
use refute_bisection::position::{Block, Element, Index, Position, Step};
use refute_bisection::state::{Party, Phase, Word, word_from_i128, word_to_i128};
use refute_bisection::trace::{Tensor, Trace, token_leaf_hash};

/// A stream of numbers from a seed.
struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    fn word(&mut self) -> Word {
        self.thrown += 1;
        keccak(&[self.seed.to_le_bytes(), self.thrown.to_le_bytes()].concat())
    }

    fn below(&mut self, end: usize) -> usize {
        let word = self.word();
        u32::from_le_bytes([word[0], word[1], word[2], word[3]]) as usize % end.max(1)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A defender that makes things up, within what the contract accepts.
struct Liar<'a> {
    dice: Dice,
    claim: &'a ToyClaim,
    own: &'a ToyTrace,
    /// Per block: its root, and the roots below it if they are known.
    blocks: Vec<(Hash, Option<Vec<Hash>>)>,
    /// Of the expanded block.
    steps: Vec<Hash>,
    /// Per step of it: its tensor, if it is known.
    tensors: Vec<Option<Tensor>>,
}

fn top(tree: &Tree) -> Position {
    Position { level: tree.depth(), index: Index(0) }
}

/// Block roots of which some are false.
fn false_blocks(dice: &mut Dice, own: &ToyTrace) -> Vec<(Hash, Option<Vec<Hash>>)> {
    let Ok(roots) = own.block_roots();
    let rarity = 1 + dice.below(roots.len() + 2);
    let blocks = roots.iter().enumerate().map(|(t, root)| {
        let mut collect = own.collect(Block(t as u32)).to_vec();
        if !dice.one_in(rarity) {
            return (*root, Some(collect));
        }
        if dice.one_in(4) {
            return (dice.word(), None);
        }
        let slot = dice.below(collect.len());
        collect[slot] = dice.word();
        (Tree::new(collect.clone()).unwrap().root(), Some(collect))
    });
    blocks.collect()
}

impl Liar<'_> {
    fn expand(&mut self, block: Block) -> Move {
        let Ok(own) = self.own.step_roots(block);
        let rarity = 1 + self.dice.below(2 * own.len());
        (self.steps, self.tensors) = (Vec::new(), Vec::new());
        for (step, root) in own.into_iter().enumerate() {
            let step = Step(step as u32);
            let Ok(tensor) = self.own.tensor(block, step);
            let (root, tensor) = match (step, tensor) {
                (COLLECT, _) => {
                    let (root, collect) = self.blocks[block.0 as usize].clone();
                    (root, collect.map(Tensor::Roots))
                }
                (SAMPLE, _) => {
                    let token = self.claim.posted_token(block).unwrap();
                    (token_leaf_hash(token), Some(Tensor::Bytes(token.to_le_bytes().to_vec())))
                }
                (_, Tensor::Bytes(mut bytes)) if self.dice.one_in(rarity) => {
                    if self.dice.one_in(5) {
                        (self.dice.word(), None)
                    } else {
                        for _ in 0..=self.dice.below(3) {
                            let at = self.dice.below(bytes.len());
                            bytes[at] = bytes[at].wrapping_add(self.dice.word()[0]);
                        }
                        (Tree::of_bytes(&bytes).unwrap().root(), Some(Tensor::Bytes(bytes)))
                    }
                }
                (_, tensor) => (root, Some(tensor)),
            };
            self.steps.push(root);
            self.tensors.push(tensor);
        }
        self.expansion(block)
    }

    fn expansion(&self, block: Block) -> Move {
        let tree = Tree::new(self.steps.clone()).unwrap();
        let path = |leaf| tree.path(leaf).unwrap();
        let (mut sample_proof, mut tokens, mut token_proof) = (vec![], vec![], vec![]);
        if let Some(index) = self.claim.output_index(block) {
            let leaf = Index(index.0 / 256);
            sample_proof = path(Index(SAMPLE.0));
            tokens = token_leaf(&self.claim.output, leaf);
            token_proof = token_tree(&self.claim.output).unwrap().path(leaf).unwrap();
        }
        Move::Expand {
            step_root: tree.root(),
            collect_proof: path(Index(COLLECT.0)),
            sample_proof,
            tokens,
            token_proof,
            children: vec![],
        }
    }

    /// An accumulator: right, nearly right, of any number of bits.
    fn accumulator(&mut self, honest: Word) -> Word {
        match self.dice.below(5) {
            0 => self.dice.word(),
            1 => word_from_i128(word_to_i128(&honest).unwrap() + 1),
            2 => [0x80; 32],
            _ => honest,
        }
    }

    /// Its next move; `None` if it can't make any and runs out of time.
    fn next(&mut self, sim: &Sim<'_>) -> Option<Move> {
        let (state, down) = (&sim.state, sim.rules.down(&sim.state));
        let tensor = || self.tensors.get(state.step.0 as usize).cloned().flatten();
        let open = |tree: Tree| tree.children(state.position(), down).unwrap();
        Some(match state.phase {
            Phase::BlocksReveal => {
                let roots = self.blocks.iter().map(|(root, _)| *root).collect();
                Move::Reveal { children: open(Tree::new(roots).unwrap()) }
            }
            Phase::Expand => {
                let mut action = self.expand(state.block);
                let tree = Tree::new(self.steps.clone()).unwrap();
                let levels = sim.rules.arity_bits().min(tree.depth().0);
                if let Move::Expand { children, .. } = &mut action {
                    *children = tree.children(top(&tree), levels).unwrap();
                }
                action
            }
            Phase::StepsReveal => {
                Move::Reveal { children: open(Tree::new(self.steps.clone()).unwrap()) }
            }
            Phase::LeavesReveal => Move::Reveal { children: open(tensor()?.tree().unwrap()) },
            Phase::LeafReveal => {
                Move::RevealLeaf { data: tensor()?.leaf(state.index).unwrap().to_vec() }
            }
            Phase::FoldReveal => {
                let boundaries = state.boundaries(sim.rules);
                let (block, step, element) = (state.block, state.step, state.element);
                let Ok(honest) = self.own.accumulators(block, step, element, &boundaries);
                let accs = honest.into_iter().map(|acc| self.accumulator(acc)).collect();
                Move::RevealFold { accs }
            }
            phase => panic!("not the defender's turn: {phase:?}"),
        })
    }
}

/// An honest challenger against a liar: every choice is made without an error, and the end, by
/// step or by clock, is the liar's loss.
fn convicted(seed: u64, blocks: u32, arity_bits: u32) -> Result<bool, TestCaseError> {
    let mut dice = Dice { seed, thrown: 0 };
    let prompt: Vec<u32> = (0..1 + dice.below(blocks as usize)).map(|i| i as u32).collect();
    let outputs = blocks + 1 - prompt.len() as u32;
    let mut output = ToyTrace::generate(&prompt, outputs, None).output;
    if dice.one_in(3) {
        let at = dice.below(output.len());
        output[at] = dice.below(12) as u32;
    }
    let own = ToyTrace::check(&prompt, &output);
    let false_blocks = false_blocks(&mut dice, &own);
    let roots = false_blocks.iter().map(|(root, _)| *root).collect();
    let claim = ToyClaim::new(&prompt, &output, Tree::new(roots).unwrap().root());
    let mut liar = Liar {
        dice,
        claim: &claim,
        own: &own,
        blocks: false_blocks,
        steps: vec![],
        tensors: vec![],
    };
    let mut sim = Sim::open(&claim, arity_bits);
    let challenger = Challenger::new(&own, &claim, sim.rules);
    if challenger.first_difference().unwrap().is_none() {
        return Ok(false);
    }
    while sim.state.phase != Phase::Step {
        let action = if sim.state.to_move() == Some(Party::Defender) {
            let Some(action) = liar.next(&sim) else { return Ok(false) };
            action
        } else {
            let Action::Play(action) = challenger.next(&sim.history).unwrap() else {
                panic!("the challenger passes")
            };
            action
        };
        sim.play(&action).unwrap();
    }
    sim.assert_bounded();
    let openings = witness(&challenger, &sim.history, &own, &claim).unwrap();
    prop_assert_eq!(sim.step(&openings), Some(Party::Challenger), "{:?}", sim.state);
    Ok(true)
}

/// A choice by dice; some are refused by the rules.
fn any_choice(dice: &mut Dice, sim: &Sim<'_>) -> Move {
    let state = &sim.state;
    match sim.history.last().unwrap() {
        Event::Revealed { children } | Event::Expanded { children, .. } => {
            let down = sim.rules.down(state);
            let child = dice.below(children.len()) as u32;
            let hash = children[child as usize];
            let path = path_in(children, child, state.level.0, down);
            if state.phase != Phase::StepsChoose || state.level.0 > down {
                return Move::Choose { child, hash, path };
            }
            let step = Step((state.index.0 << down) + child);
            let descriptor = sim.claim.descriptor(step).unwrap();
            let descriptor_proof = sim.claim.program_path(step).unwrap();
            let (d0, d1) = (descriptor.d0, descriptor.d1);
            Move::ChooseStep { child, hash, path, d0, d1, descriptor_proof }
        }
        Event::LeafRevealed { data } => {
            let elements = state.shape(sim.claim).unwrap().elements;
            let element = Element(dice.below(elements as usize) as u32);
            Move::ChooseElement { data: data.clone(), element }
        }
        Event::FoldRevealed { accs } => {
            Move::ChooseFold { accs: accs.clone(), choice: dice.below(accs.len() + 2) as u32 }
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_liar_survives_an_honest_challenger(
        seed in any::<u64>(), blocks in 1u32..12, arity_bits in 1u32..=5,
    ) {
        convicted(seed, blocks, arity_bits)?;
    }

    #[test]
    fn no_challenger_beats_an_honest_defender(
        seed in any::<u64>(), blocks in 1u32..40, arity_bits in 1u32..=5,
    ) {
        let mut dice = Dice { seed, thrown: 0 };
        let prompt: Vec<u32> = (0..1 + dice.below(blocks as usize)).map(|i| i as u32).collect();
        let outputs = blocks + 1 - prompt.len() as u32;
        let trace = ToyTrace::generate(&prompt, outputs, None);
        let claim = trace.claim();
        let mut sim = Sim::open(&claim, arity_bits);
        let defender = Defender::new(&trace, &claim, sim.rules);
        while sim.state.phase != Phase::Step {
            if sim.state.to_move() == Some(Party::Challenger) {
                let choice = any_choice(&mut dice, &sim);
                // Refused choices change nothing; it tries again.
                let _ = sim.play(&choice);
            } else {
                let Action::Play(action) = defender.next(&sim.history).unwrap() else {
                    panic!("the defender passes")
                };
                sim.play(&action).unwrap();
            }
        }
        sim.assert_bounded();
        let openings = witness(&defender, &sim.history, &trace, &claim).unwrap();
        prop_assert_eq!(sim.step(&openings), Some(Party::Defender));
    }
}

#[test]
fn liars_do_reach_the_last_step() {
    // The property above would hold of liars that always give up; these don't.
    let decided = (0..300).filter(|seed| convicted(*seed, 1 + (*seed as u32 % 9), 2).unwrap());
    let decided = decided.count();
    assert!(decided > 150, "only {decided} of 300 games were decided by the step");
}

/// A game up to a phase, with a defender that lies there by itself.
fn at_phase<'a>(claim: &'a ToyClaim, theirs: &ToyTrace, own: &ToyTrace, phase: Phase) -> Sim<'a> {
    let mut sim = Sim::open(claim, 2);
    let defender = Defender::new(theirs, claim, sim.rules);
    let challenger = Challenger::new(own, claim, sim.rules);
    while sim.state.phase != phase {
        let action = match sim.state.to_move() {
            Some(Party::Defender) => defender.next(&sim.history).unwrap(),
            _ => challenger.next(&sim.history).unwrap(),
        };
        let Action::Play(action) = action else { panic!("{action:?}") };
        sim.play(&action).unwrap();
    }
    sim
}

#[test]
fn a_leaf_of_another_length_is_refused_even_if_its_hash_is_right() {
    // The defender chooses what its roots commit to: a tensor that is a byte short, or longer.
    for length in [0, 11, 13, 16, 1024] {
        let own = ToyTrace::generate(&[4], 1, None);
        let leaf = vec![5; length];
        let Ok(mut steps) = own.step_roots(Block(0));
        steps[Op::Keep.step().0 as usize] = leaf_hash(&leaf);
        steps[COLLECT.0 as usize] = [1; 32];
        let claim = ToyClaim::new(&[4], &own.output, [1; 32]);
        let liar = Liar {
            dice: Dice { seed: 0, thrown: 0 },
            claim: &claim,
            own: &own,
            blocks: vec![([1; 32], None)],
            steps: steps.clone(),
            tensors: vec![],
        };
        let mut sim = Sim::open(&claim, 5);
        let mut expansion = liar.expansion(Block(0));
        if let Move::Expand { children, .. } = &mut expansion {
            *children = steps;
        }
        sim.play(&expansion).unwrap();
        let challenger = Challenger::new(&own, &claim, sim.rules);
        let Action::Play(choice) = challenger.next(&sim.history).unwrap() else { panic!() };
        sim.play(&choice).unwrap();
        assert_eq!((sim.state.step, sim.state.phase), (Op::Keep.step(), Phase::LeafReveal));
        let refused = sim.play(&Move::RevealLeaf { data: leaf });
        assert_eq!(refused, Err(RuleError::LeafLength { expected: 12, got: length }));
    }
}

#[test]
fn with_the_last_accumulator_right_the_finalizer_is_chosen_at_once() {
    // Whatever the accumulators between are: it is the shortest way to a conviction.
    let lie = Lie::Element { block: 0, step: Op::Reduce.step(), element: 0, delta: 900_000_000 };
    let theirs = ToyTrace::generate(&[4], 2, Some(lie));
    let claim = theirs.claim();
    let own = ToyTrace::check(&[4], &claim.output);
    for wrong in 0..=3 {
        let mut sim = at_phase(&claim, &theirs, &own, Phase::FoldReveal);
        let boundaries = sim.state.boundaries(sim.rules);
        let (block, step, element) = (sim.state.block, sim.state.step, sim.state.element);
        let Ok(mut accs) = own.accumulators(block, step, element, &boundaries);
        assert_eq!(accs.len(), 4);
        accs[wrong] = [0x55; 32];
        sim.play(&Move::RevealFold { accs: accs.clone() }).unwrap();
        let challenger = Challenger::new(&own, &claim, sim.rules);
        let choice = if wrong == 3 { 3 } else { 4 };
        let expected = Action::Play(Move::ChooseFold { accs, choice });
        assert_eq!(challenger.next(&sim.history).unwrap(), expected, "accumulator {wrong} wrong");
    }
}

#[test]
fn a_challenger_without_a_difference_says_so() {
    let honest = ToyTrace::generate(&[4, 5], 2, None);
    let claim = honest.claim();
    let sim = at_phase(&claim, &honest, &honest, Phase::BlocksChoose);
    let challenger = Challenger::new(&honest, &claim, sim.rules);
    let next = challenger.next(&sim.history);
    assert!(matches!(next, Err(PlayerError::NothingDiffers { .. })), "{next:?}");
    // And paths right of the divergence aren't made up.
    let lie = Lie::Element { block: 0, step: Op::Keep.step(), element: 0, delta: 1 };
    let theirs = ToyTrace::generate(&[4, 5], 2, Some(lie));
    let claim = theirs.claim();
    let own = ToyTrace::check(&[4, 5], &claim.output);
    let sim = at_phase(&claim, &theirs, &own, Phase::Step);
    let challenger = Challenger::new(&own, &claim, sim.rules);
    assert!(challenger.step_path(&sim.history, Step(0)).is_ok());
    for step in [1, 2, 3, 100] {
        let path = challenger.step_path(&sim.history, Step(step));
        assert!(matches!(path, Err(PlayerError::Overlay(_))), "{path:?}");
    }
    assert!(challenger.trace_path(&sim.history, Block(0)).is_err());
    let tensor = challenger.tensor_overlay(&sim.history).unwrap().unwrap();
    let Ok(steps) = theirs.step_roots(Block(0));
    assert_eq!((tensor.root(), tensor.leaves()), (steps[1], 1));
}
