//! Any event after any event on any state: an error or a state, never a panic.

use crate::toy::{DISPUTE, PROGRAM, ToyTrace};
use proptest::prelude::*;
use refute_bisection::merkle::leaf_hash;
use refute_bisection::moves::{Event, Move};
use refute_bisection::position::{Block, Element, Index, Level, Step};
use refute_bisection::rules::Rules;
use refute_bisection::state::{Mode, Party, Phase, State};

fn any_state() -> impl Strategy<Value = State> {
    let word = prop_oneof![Just([0u8; 32]), any::<[u8; 32]>()];
    let small = prop_oneof![0u32..10, any::<u32>()];
    let numbers = [(); 6].map(|()| small.clone());
    let words = [(); 7].map(|()| word.clone());
    let step = 0usize..10;
    (0u8..13, numbers, words, step, any::<[u64; 2]>(), any::<bool>(), 0u8..3).prop_map(
        |(phase, n, w, step, [lo, hi], pinned, mode)| {
            let known = PROGRAM.get(step).map(|op| op.descriptor());
            State {
                dispute: DISPUTE,
                move_number: n[0],
                phase: Phase::from_code(phase).unwrap(),
                node: w[0],
                level: Level(n[1]),
                index: Index(n[2]),
                block: Block(n[3]),
                step_root: w[1],
                step: Step(n[4]),
                d0: known.map_or(w[2], |known| known.d0),
                d1: known.map_or(w[3], |known| known.d1),
                element: Element(n[5]),
                claimed: w[4],
                lo,
                hi,
                acc_lo: w[5],
                acc_hi: w[6],
                pinned,
                reveal: w[0],
                mode: Mode::from_code(mode).unwrap(),
            }
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    let words = || prop::collection::vec(any::<[u8; 32]>(), 0..40);
    let small = || prop_oneof![0u32..40, any::<u32>()];
    let hash = any::<[u8; 32]>;
    prop_oneof![
        words().prop_map(|children| Event::Revealed { children }),
        (hash(), words()).prop_map(|(step_root, children)| Event::Expanded { step_root, children }),
        (small(), hash()).prop_map(|(child, hash)| Event::Chosen { child, hash }),
        (small(), hash(), hash(), hash()).prop_map(|(child, hash, d0, d1)| Event::StepChosen {
            child,
            hash,
            d0,
            d1
        }),
        prop::collection::vec(any::<u8>(), 0..1100).prop_map(|data| Event::LeafRevealed { data }),
        (small(), hash())
            .prop_map(|(n, claimed)| Event::ElementChosen { element: Element(n), claimed }),
        words().prop_map(|accs| Event::FoldRevealed { accs }),
        small().prop_map(|choice| Event::FoldChosen { choice }),
        any::<bool>().prop_map(|by_step| Event::Resolved { winner: Party::Defender, by_step }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_event_on_no_state_panics(
        state in any_state(), last in any_event(), event in any_event(), a in 1u32..=8, fit in any::<bool>(),
    ) {
        let claim = ToyTrace::generate(&[1, 2], 3, None).claim();
        let rules = Rules::new(a).unwrap();
        // Half of the time the state was reached by what came before.
        let mut state = state;
        if fit {
            match &last {
                Event::LeafRevealed { data } => state.node = leaf_hash(data),
                Event::FoldRevealed { accs } => {
                    state.reveal = refute_bisection::game::accumulators_hash(accs);
                    state.hi = state.lo.saturating_add(accs.len() as u64);
                }
                _ => {}
            }
        }
        let _ = state.apply_event(&claim, rules, &event, Some(&last));
        let _ = state.apply_event(&claim, rules, &event, None);
        let _ = (state.boundaries(rules), state.hash());
        if let Event::FoldRevealed { accs } = &last {
            let action = Move::ChooseFold { accs: accs.clone(), choice: state.element.0 };
            let _ = state.apply_move(&claim, rules, &action);
        }
        if let Event::LeafRevealed { data } = &last {
            let action = Move::ChooseElement { data: data.clone(), element: state.element };
            let _ = state.apply_move(&claim, rules, &action);
        }
    }
}
