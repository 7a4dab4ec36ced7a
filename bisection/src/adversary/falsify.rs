//! Every wrong form of a right move: each hash, proof, length, descriptor, leaf, accumulator and
//! choice false by itself.

mod choices;
mod lists;
mod reveals;

use self::lists::{GARBAGE, false_bytes, false_hashes, false_words};
use super::strategy::Kind;
use super::{Call, Opening, Transaction};
use crate::layout::Layout;
use crate::moves::{Event, Move};
use crate::position::{Block, Element, Index, Level, Step};
use crate::rules::Rules;
use crate::state::{Mode, Phase, State, Word};

/// The other forms of a move, each with what is wrong with it.
pub type Forms = Vec<(Kind, Move)>;

/// Where a move is made: the state that it answers, and what was shown last.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a, L> {
    /// What the contract knows.
    pub layout: &'a L,
    /// Its arity.
    pub rules: Rules,
    /// The state.
    pub state: &'a State,
    /// The event before.
    pub last: Option<&'a Event>,
}

/// Every wrong form of a move. Some are accepted: a choice of something else, false accumulators.
pub fn moves<L: Layout>(place: Place<'_, L>, right: &Move) -> Forms {
    let mut forms = match right {
        Move::Reveal { children } => {
            let reveal = |children| Move::Reveal { children };
            map(place.false_children(children), reveal)
        }
        Move::Expand { .. } => place.false_expansions(right),
        Move::Choose { .. } | Move::ChooseStep { .. } => place.false_choices(right),
        Move::RevealLeaf { data } => {
            let reveal = |data| Move::RevealLeaf { data };
            map(false_bytes(Kind::Leaf, data), reveal)
        }
        Move::ChooseElement { data, element } => place.false_elements(data, *element),
        Move::RevealFold { accs } => {
            map(false_words(Kind::Accumulator, accs), |accs| Move::RevealFold { accs })
        }
        Move::ChooseFold { accs, choice } => place.false_fold_choices(accs, *choice),
    };
    forms.extend(place.other_kinds(right).into_iter().map(|action| (Kind::Phase, action)));
    forms.retain(|(_, form)| form != right);
    forms
}

/// Every wrong form of a witness.
pub fn witnesses(right: &[Opening]) -> Vec<Vec<Opening>> {
    let mut forms: Vec<Vec<Opening>> = vec![Vec::new()];
    for (i, opening) in right.iter().enumerate() {
        let put = |opening: Opening| {
            let mut form = right.to_vec();
            form[i] = opening;
            form
        };
        let proofs = false_hashes(Kind::Proof, &opening.proof);
        forms
            .extend(proofs.into_iter().map(|(_, proof)| put(Opening { proof, ..opening.clone() })));
        let leaves = false_bytes(Kind::Leaf, &opening.data);
        forms.extend(leaves.into_iter().map(|(_, data)| put(Opening { data, ..opening.clone() })));
        let (mut without, mut twice) = (right.to_vec(), right.to_vec());
        without.remove(i);
        twice.insert(i, opening.clone());
        forms.extend([without, twice]);
        if i > 0 {
            let mut swapped = right.to_vec();
            swapped.swap(i - 1, i);
            forms.push(swapped);
        }
    }
    forms.push([right, &[Opening { data: Vec::new(), proof: Vec::new() }]].concat());
    forms.retain(|form| form != right);
    forms
}

/// The state with each field changed by itself: none of them is the one to answer.
pub fn states(right: &State) -> Vec<State> {
    let flip = |word: &Word| {
        let mut word = *word;
        word[31] ^= 1;
        word
    };
    let s = *right;
    let phase = Phase::from_code((s.phase.code() + 1) % 13).unwrap_or(Phase::Over);
    let mode = if s.mode == Mode::Whole { Mode::Segment } else { Mode::Whole };
    vec![
        State { dispute: flip(&s.dispute), ..s },
        State { move_number: s.move_number ^ 1, ..s },
        State { phase, ..s },
        State { node: flip(&s.node), ..s },
        State { level: Level(s.level.0 ^ 1), ..s },
        State { index: Index(s.index.0 ^ 1), ..s },
        State { block: Block(s.block.0 ^ 1), ..s },
        State { step_root: flip(&s.step_root), ..s },
        State { step: Step(s.step.0 ^ 1), ..s },
        State { d0: flip(&s.d0), ..s },
        State { d1: flip(&s.d1), ..s },
        State { element: Element(s.element.0 ^ 1), ..s },
        State { claimed: flip(&s.claimed), ..s },
        State { lo: s.lo ^ 1, ..s },
        State { hi: s.hi ^ 1, ..s },
        State { acc_lo: flip(&s.acc_lo), ..s },
        State { acc_hi: flip(&s.acc_hi), ..s },
        State { pinned: !s.pinned, ..s },
        State { reveal: flip(&s.reveal), ..s },
        State { mode, ..s },
    ]
}

/// Every wrong form of a transaction.
pub fn transactions<L: Layout>(
    place: Place<'_, L>,
    right: &Transaction,
) -> Vec<(Kind, Transaction)> {
    let answers = right.answers;
    let put = |call| Transaction { answers, call };
    let mut forms: Vec<_> = match &right.call {
        Call::Move(right) => {
            let forms = moves(place, right).into_iter();
            forms.map(|(kind, action)| (kind, put(Call::Move(action)))).collect()
        }
        Call::Step(right) => {
            let forms = witnesses(right).into_iter();
            forms.map(|openings| (Kind::Witness, put(Call::Step(openings)))).collect()
        }
    };
    let false_states = states(&right.answers).into_iter();
    forms.extend(
        false_states
            .map(|answers| (Kind::State, Transaction { answers, call: right.call.clone() })),
    );
    forms
}

fn map<T>(forms: Vec<(Kind, T)>, make: impl Fn(T) -> Move) -> Forms {
    forms.into_iter().map(|(kind, form)| (kind, make(form))).collect()
}

impl<L: Layout> Place<'_, L> {
    /// What the next reveal, or the choice from it, goes down by.
    fn down(&self) -> u32 {
        self.rules.down(self.state)
    }

    /// Level of the children.
    fn child_level(&self) -> u32 {
        self.state.level.0 - self.down()
    }

    /// Moves that other phases wait for.
    fn other_kinds(&self, right: &Move) -> Vec<Move> {
        let node = self.state.node;
        let (none, path) = (Vec::new, vec![GARBAGE]);
        let (d0, d1) = (self.state.d0, self.state.d1);
        let mut kinds = vec![
            Move::Reveal { children: vec![node] },
            Move::Expand {
                step_root: node,
                collect_proof: none(),
                sample_proof: none(),
                tokens: Vec::new(),
                token_proof: none(),
                children: vec![node],
            },
            Move::Choose { child: 0, hash: node, path: none() },
            Move::ChooseStep { child: 0, hash: node, path, d0, d1, descriptor_proof: none() },
            Move::RevealLeaf { data: vec![0; 4] },
            Move::ChooseElement { data: vec![0; 4], element: Element(0) },
            Move::RevealFold { accs: vec![[0; 32]] },
            Move::ChooseFold { accs: vec![[0; 32]], choice: 0 },
        ];
        // The same choice without its descriptor, or with one where none belongs.
        match right {
            Move::Choose { child, hash, path } => {
                let (child, hash, path) = (*child, *hash, path.clone());
                kinds.push(Move::ChooseStep {
                    child,
                    hash,
                    path,
                    d0,
                    d1,
                    descriptor_proof: none(),
                });
            }
            Move::ChooseStep { child, hash, path, .. } => {
                let (child, hash, path) = (*child, *hash, path.clone());
                kinds.push(Move::Choose { child, hash, path });
            }
            _ => {}
        }
        kinds.retain(|kind| std::mem::discriminant(kind) != std::mem::discriminant(right));
        kinds
    }
}
