//! Each check of each move: whatever is changed in an honest game's move is refused.

use crate::games::request;
use crate::toy::verifier::{Opening, witness};
use crate::toy::*;
use refute_bisection::game::RuleError;
use refute_bisection::history::{History, HistoryError};
use refute_bisection::layout::Layout;
use refute_bisection::merkle::Hash;
use refute_bisection::moves::{Event, Move};
use refute_bisection::player::Challenger;
use refute_bisection::position::{Block, Element, Step};
use refute_bisection::state::{Party, Phase, State};

/// Finished games that between them make every kind of move, over trees of several rounds.
fn games() -> Vec<(ToyTrace, ToyTrace)> {
    let (prompt, outputs) = request(5);
    let lies = [
        Lie::Element { block: 3, step: Op::Wide.step(), element: 299, delta: 1 },
        Lie::Unit { block: 4, step: Op::Reduce.step(), element: 1, unit: 17, delta: 1 << 40 },
        Lie::Element { block: 1, step: COLLECT, element: 1, delta: 1 },
        Lie::Element { block: 2, step: SAMPLE, element: 0, delta: 1 },
    ];
    let run = |lie| {
        let theirs = ToyTrace::generate(&prompt, outputs, Some(lie));
        let own = ToyTrace::check(&prompt, &theirs.output);
        (theirs, own)
    };
    lies.map(run).to_vec()
}

/// Every change of a list of hashes that keeps it a list of hashes.
fn lists(list: &[Hash]) -> Vec<Vec<Hash>> {
    let mut changed = vec![[list, &[[7; 32]]].concat()];
    for i in 0..list.len() {
        for byte in [0, 31] {
            let mut other = list.to_vec();
            other[i][byte] ^= 1;
            changed.push(other);
        }
        changed.push([&list[..i], &list[i + 1..]].concat());
        if i > 0 && list[i] != list[0] {
            let mut other = list.to_vec();
            other.swap(0, i);
            changed.push(other);
        }
    }
    changed
}

fn bytes(data: &[u8]) -> Vec<Vec<u8>> {
    let mut changed = vec![[data, &[0]].concat(), [&[0], data].concat()];
    if !data.is_empty() {
        changed.push(data[1..].to_vec());
        changed.push(data[..data.len() - 1].to_vec());
        for i in [0, data.len() / 2, data.len() - 1] {
            let mut other = data.to_vec();
            other[i] ^= 0x80;
            changed.push(other);
        }
    }
    changed
}

fn hashes(hash: &Hash) -> Vec<Hash> {
    lists(&[*hash]).into_iter().filter(|list| list.len() == 1).map(|list| list[0]).collect()
}

/// All single changes of a move that no honest or dishonest party may make.
fn forgeries(action: &Move) -> Vec<Move> {
    let mut forged = Vec::new();
    macro_rules! change {
        ($variant:ident, $field:ident, $values:expr) => {
            for value in $values {
                let mut other = action.clone();
                if let Move::$variant { $field, .. } = &mut other {
                    *$field = value;
                }
                forged.push(other);
            }
        };
    }
    match action {
        Move::Reveal { children } => change!(Reveal, children, lists(children)),
        Move::Expand { step_root, collect_proof, sample_proof, tokens, token_proof, children } => {
            change!(Expand, step_root, hashes(step_root));
            change!(Expand, collect_proof, lists(collect_proof));
            change!(Expand, sample_proof, lists(sample_proof));
            change!(Expand, tokens, bytes(tokens));
            change!(Expand, token_proof, lists(token_proof));
            change!(Expand, children, lists(children));
        }
        Move::Choose { child, hash, path } => {
            change!(Choose, child, [child ^ 1, child + 1, child + 32, u32::MAX]);
            change!(Choose, hash, hashes(hash));
            change!(Choose, path, lists(path));
        }
        Move::ChooseStep { child, hash, path, d0, d1, descriptor_proof } => {
            change!(ChooseStep, child, [child ^ 1, child + 1, child + 32, u32::MAX]);
            change!(ChooseStep, hash, hashes(hash));
            change!(ChooseStep, path, lists(path));
            change!(ChooseStep, d0, hashes(d0));
            change!(ChooseStep, d1, hashes(d1));
            change!(ChooseStep, descriptor_proof, lists(descriptor_proof));
        }
        Move::RevealLeaf { data } => change!(RevealLeaf, data, bytes(data)),
        Move::ChooseElement { data, element } => {
            change!(ChooseElement, data, bytes(data));
            change!(ChooseElement, element, [Element(element.0 ^ 256), Element(u32::MAX)]);
        }
        // Any value of an accumulator may be revealed; how many there are is fixed.
        Move::RevealFold { accs } => {
            let other_count = lists(accs).into_iter().filter(|list| list.len() != accs.len());
            change!(RevealFold, accs, other_count);
        }
        Move::ChooseFold { accs, .. } => {
            change!(ChooseFold, accs, lists(accs));
            let most = accs.len() as u32 + 1;
            change!(ChooseFold, choice, [most + 1, u32::MAX]);
        }
    }
    forged
}

#[test]
fn every_change_of_a_move_is_refused() {
    let mut kinds = std::collections::BTreeMap::new();
    for (arity_bits, (theirs, own)) in
        [1, 2, 5].iter().flat_map(|a| games().into_iter().map(move |g| (*a, g)))
    {
        let claim = theirs.claim();
        let end = play(&claim, arity_bits, &theirs, &own);
        let mut state = State::open(DISPUTE, &claim);
        for action in &end.sim.moves {
            for forged in forgeries(action) {
                let made = state.apply_move(&claim, end.sim.rules, &forged);
                assert!(made.is_err(), "{forged:?} instead of {action:?}");
                *kinds.entry(forged.name()).or_insert(0) += 1;
            }
            state = state.apply_move(&claim, end.sim.rules, action).unwrap().0;
        }
    }
    assert_eq!(kinds.len(), 8, "{kinds:?}");
    assert!(kinds.values().all(|count| *count >= 20), "{kinds:?}");
}

#[test]
fn no_move_is_made_in_another_phase() {
    let mut refused = 0;
    for (theirs, own) in games() {
        let claim = theirs.claim();
        let end = play(&claim, 2, &theirs, &own);
        let states: Vec<State> =
            end.sim.history.entries().iter().map(|entry| entry.state).collect();
        for (state, action) in states.iter().flat_map(|s| end.sim.moves.iter().map(move |a| (s, a)))
        {
            use Phase::*;
            let fits = match action {
                Move::Reveal { .. } => {
                    matches!(state.phase, BlocksReveal | StepsReveal | LeavesReveal)
                }
                Move::Expand { .. } => state.phase == Expand,
                Move::Choose { .. } => {
                    matches!(state.phase, BlocksChoose | StepsChoose | LeavesChoose)
                }
                Move::ChooseStep { .. } => state.phase == StepsChoose,
                Move::RevealLeaf { .. } => state.phase == LeafReveal,
                Move::ChooseElement { .. } => state.phase == LeafChoose,
                Move::RevealFold { .. } => state.phase == FoldReveal,
                Move::ChooseFold { .. } => state.phase == FoldChoose,
            };
            if !fits {
                let (name, phase) = (action.name(), state.phase);
                let made = state.apply_move(&claim, end.sim.rules, action);
                assert_eq!(made, Err(RuleError::Phase { name, phase }));
                refused += 1;
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn at_the_bottom_of_the_steps_a_descriptor_is_needed_and_nowhere_else() {
    let (theirs, own) = games().swap_remove(0);
    let claim = theirs.claim();
    let end = play(&claim, 2, &theirs, &own);
    let mut state = State::open(DISPUTE, &claim);
    let mut seen = [0, 0];
    for action in &end.sim.moves {
        let swapped = match action {
            Move::Choose { child, hash, path } if state.phase == Phase::StepsChoose => {
                seen[0] += 1;
                let descriptor = claim.descriptor(Step(*child)).unwrap();
                Some(Move::ChooseStep {
                    child: *child,
                    hash: *hash,
                    path: path.clone(),
                    d0: descriptor.d0,
                    d1: descriptor.d1,
                    descriptor_proof: claim.program_path(Step(*child)).unwrap(),
                })
            }
            Move::ChooseStep { child, hash, path, .. } => {
                seen[1] += 1;
                Some(Move::Choose { child: *child, hash: *hash, path: path.clone() })
            }
            _ => None,
        };
        if let Some(swapped) = swapped {
            assert!(state.apply_move(&claim, end.sim.rules, &swapped).is_err());
        }
        state = state.apply_move(&claim, end.sim.rules, action).unwrap().0;
    }
    assert_eq!(seen, [1, 1]);
}

#[test]
fn a_prompt_block_shows_no_token() {
    let (prompt, outputs) = request(5);
    let lie = Lie::Element { block: 0, step: Op::Keep.step(), element: 0, delta: 1 };
    let theirs = ToyTrace::generate(&prompt, outputs, Some(lie));
    let claim = theirs.claim();
    let own = ToyTrace::check(&prompt, &claim.output);
    let end = play(&claim, 5, &theirs, &own);
    let shown = end.sim.moves.iter().find_map(|action| match action {
        Move::Expand { sample_proof, tokens, token_proof, .. } => {
            Some((sample_proof.len(), tokens.len(), token_proof.len()))
        }
        _ => None,
    });
    assert_eq!(shown, Some((0, 0, 0)));
    assert_eq!((claim.steps(Block(0)), claim.steps(Block(4))), (4, 8));
}

/// Every change of an event either doesn't follow, or gives another state than the contract's.
#[test]
fn a_follower_notices_every_change_of_an_event() {
    for (theirs, own) in games() {
        let claim = theirs.claim();
        let end = play(&claim, 2, &theirs, &own);
        let rules = end.sim.rules;
        let mut history = History::open(DISPUTE, &claim);
        for action in &end.sim.moves {
            let (after, event) = history.state().apply_move(&claim, rules, action).unwrap();
            for forged in forgeries(action) {
                // The fields that an event shares with its move.
                let Some(event) = event_of(&forged, &event) else { continue };
                let mut other = history.clone();
                assert!(other.follow(&claim, rules, event, &after.hash()).is_err());
                assert_eq!(other, history);
            }
            let mut other = history.clone();
            let diverged = other.follow(&claim, rules, event.clone(), &[9; 32]).unwrap_err();
            assert!(
                matches!(diverged, HistoryError::Diverged { ours, .. } if ours == after.hash())
            );
            assert_eq!(other, history);
            history.follow(&claim, rules, event, &after.hash()).unwrap();
        }
        assert_eq!(history.state(), &end.sim.state);
    }
}

#[test]
fn a_follower_knows_what_was_revealed() {
    let (theirs, own) = games().swap_remove(1);
    let claim = theirs.claim();
    let end = play(&claim, 2, &theirs, &own);
    let mut last: Option<&Event> = None;
    let mut refused = [0; 3];
    for (before, event) in end.sim.history.answers() {
        let other = match event {
            Event::Chosen { child, .. } => Some(Event::Chosen { child: *child, hash: [7; 32] }),
            Event::StepChosen { child, d0, d1, .. } => {
                Some(Event::StepChosen { child: *child, hash: [7; 32], d0: *d0, d1: *d1 })
            }
            Event::ElementChosen { element, .. } => {
                Some(Event::ElementChosen { element: *element, claimed: [7; 32] })
            }
            _ => None,
        };
        if let Some(other) = other {
            refused[matches!(other, Event::StepChosen { .. }) as usize
                + 2 * matches!(other, Event::ElementChosen { .. }) as usize] += 1;
            let made = before.apply_event(&claim, end.sim.rules, &other, last);
            assert_eq!(made, Err(RuleError::Event), "{other:?}");
            let made = before.apply_event(&claim, end.sim.rules, event, None);
            assert_eq!(made, Err(RuleError::Event), "{event:?} after nothing");
        }
        last = Some(event);
    }
    assert!(refused.iter().all(|count| *count > 0), "{refused:?}");
}

fn event_of(forged: &Move, event: &Event) -> Option<Event> {
    let forged = match (forged, event) {
        (Move::Reveal { children }, _) => Event::Revealed { children: children.clone() },
        (Move::Expand { step_root, children, .. }, _) => {
            Event::Expanded { step_root: *step_root, children: children.clone() }
        }
        (Move::Choose { child, hash, .. }, _) => Event::Chosen { child: *child, hash: *hash },
        (Move::ChooseStep { child, hash, d0, d1, .. }, _) => {
            Event::StepChosen { child: *child, hash: *hash, d0: *d0, d1: *d1 }
        }
        (Move::RevealLeaf { data }, _) => Event::LeafRevealed { data: data.clone() },
        (Move::ChooseElement { element, .. }, Event::ElementChosen { claimed, .. }) => {
            Event::ElementChosen { element: *element, claimed: *claimed }
        }
        (Move::RevealFold { accs }, _) => Event::FoldRevealed { accs: accs.clone() },
        (Move::ChooseFold { choice, .. }, _) => Event::FoldChosen { choice: *choice },
        _ => return None,
    };
    (forged != *event).then_some(forged)
}

#[test]
fn every_change_of_a_witness_proves_nothing() {
    for (theirs, own) in games() {
        let claim = theirs.claim();
        let end = play(&claim, 2, &theirs, &own);
        let challenger = Challenger::new(&own, &claim, end.sim.rules);
        // The history as it was before the decision.
        let mut sim = Sim::open(&claim, 2);
        end.sim.moves.iter().for_each(|action| sim.play(action).unwrap());
        let openings = witness(&challenger, &sim.history, &own, &claim).unwrap();
        assert_eq!(sim.step(&openings), Some(Party::Challenger));
        for i in 0..openings.len() {
            let Opening { data, proof } = openings[i].clone();
            let forged =
                bytes(&data).into_iter().map(|data| Opening { data, proof: proof.clone() }).chain(
                    lists(&proof).into_iter().map(|proof| Opening { data: data.clone(), proof }),
                );
            for opening in forged {
                let mut other = openings.clone();
                other[i] = opening;
                assert_eq!(sim.step(&other), None);
            }
        }
        let more = Opening { data: vec![1; 4], proof: vec![] };
        assert_eq!(sim.step(&[&openings[..], &[more]].concat()), None);
        // The finalizer of `Sample` reads nothing but its accumulator.
        assert_eq!(openings.is_empty(), sim.state.step == SAMPLE);
        if !openings.is_empty() {
            assert_eq!(sim.step(&openings[1..]), None);
        }
    }
}

#[test]
fn a_step_decides_in_its_own_phase_and_nothing_is_decided_twice() {
    let (theirs, own) = games().swap_remove(0);
    let claim = theirs.claim();
    let end = play(&claim, 2, &theirs, &own);
    let mut fitted = 0;
    for entry in end.sim.history.entries() {
        let (state, winner) = (entry.state, Party::Defender);
        let step = Event::Resolved { winner, by_step: true };
        let fits = state.phase == Phase::Step;
        let made = state.apply_event(&claim, end.sim.rules, &step, None);
        assert_eq!(made.is_ok(), fits, "{:?}", state.phase);
        let clock = Event::Resolved { winner, by_step: false };
        let made = state.apply_event(&claim, end.sim.rules, &clock, None);
        assert_eq!(made.is_ok(), state.phase != Phase::Over, "{:?}", state.phase);
        fitted += u32::from(fits);
    }
    assert_eq!(fitted, 1);
}
