//! The state of a dispute, which every move passes whole: its bytes, and their hash.

use crate::layout::Descriptor;
use crate::merkle::{Hash, keccak};
use crate::position::{Block, Element, Index, Level, Position, Step};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A 256-bit two's complement integer, big-endian, as the contract's `int256`. An opponent may put
/// any value into one, so words are compared, never converted to something narrower.
pub type Word = [u8; 32];

/// The word of an accumulator or an element of our own.
pub fn word_from_i128(value: i128) -> Word {
    let mut word = if value < 0 { [0xff; 32] } else { [0; 32] };
    word[16..].copy_from_slice(&value.to_be_bytes());
    word
}

/// The integer that a word holds, if it fits. For showing values to people.
pub fn word_to_i128(word: &Word) -> Option<i128> {
    let mut low = [0; 16];
    low.copy_from_slice(&word[16..]);
    let value = i128::from_be_bytes(low);
    (word_from_i128(value) == *word).then_some(value)
}

/// One of the two sides of a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Party {
    /// The claim's provider, who reveals.
    Defender,
    /// Who opened the dispute, and chooses.
    Challenger,
}

impl Party {
    /// The other side.
    pub fn other(self) -> Self {
        match self {
            Self::Defender => Self::Challenger,
            Self::Challenger => Self::Defender,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Defender => "defender",
            Self::Challenger => "challenger",
        })
    }
}

/// What the dispute waits for. The discriminants are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Phase {
    /// A reveal in the trace tree.
    BlocksReveal = 0,
    /// A choice in the trace tree.
    BlocksChoose = 1,
    /// The step root of the chosen block.
    Expand = 2,
    /// A reveal in the step tree.
    StepsReveal = 3,
    /// A choice in the step tree.
    StepsChoose = 4,
    /// A reveal in the tensor's tree.
    LeavesReveal = 5,
    /// A choice in the tensor's tree.
    LeavesChoose = 6,
    /// The bytes of the chosen leaf.
    LeafReveal = 7,
    /// An element of the leaf.
    LeafChoose = 8,
    /// Accumulators of the element's fold.
    FoldReveal = 9,
    /// A segment of the fold, or its finalizer.
    FoldChoose = 10,
    /// The witness of the one step that is left.
    Step = 11,
    /// Nothing: the dispute is decided.
    Over = 12,
}

impl Phase {
    /// The phase of a code of the contract.
    pub fn from_code(code: u8) -> Option<Self> {
        use Phase::*;
        let phases = [
            BlocksReveal,
            BlocksChoose,
            Expand,
            StepsReveal,
            StepsChoose,
            LeavesReveal,
            LeavesChoose,
            LeafReveal,
            LeafChoose,
            FoldReveal,
            FoldChoose,
            Step,
            Over,
        ];
        phases.get(usize::from(code)).copied()
    }

    /// The contract's code.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Whose clock runs. In [`Phase::Step`] anyone may move, on the defender's clock.
    pub fn to_move(self) -> Option<Party> {
        use Phase::*;
        match self {
            BlocksChoose | StepsChoose | LeavesChoose | LeafChoose | FoldChoose => {
                Some(Party::Challenger)
            }
            BlocksReveal | Expand | StepsReveal | LeavesReveal | LeafReveal | FoldReveal | Step => {
                Some(Party::Defender)
            }
            Over => None,
        }
    }
}

/// What the last step compares. The discriminants are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Mode {
    /// The whole element: its unit and its finalizer.
    Whole = 0,
    /// One unit of the fold.
    Segment = 1,
    /// The finalizer alone, from an accumulator that both parties accept.
    Finalize = 2,
}

impl Mode {
    /// The mode of a code of the contract.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Whole, Self::Segment, Self::Finalize].get(usize::from(code)).copied()
    }

    /// The contract's code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// The whole state of a dispute. Fields not reached yet are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// Which dispute, on which chain.
    pub dispute: Hash,
    /// Moves made so far.
    pub move_number: u32,
    /// What it waits for.
    pub phase: Phase,
    /// The node that the next reveal opens.
    pub node: Hash,
    /// Levels left below `node` in its tree.
    pub level: Level,
    /// The number of `node` within its level.
    pub index: Index,
    /// The disputed block.
    pub block: Block,
    /// The defender's root over the steps of the block.
    pub step_root: Hash,
    /// The disputed step.
    pub step: Step,
    /// Its descriptor's first word.
    pub d0: Word,
    /// Its descriptor's second word.
    pub d1: Word,
    /// The disputed element of its tensor.
    pub element: Element,
    /// What the defender says that the element is.
    pub claimed: Word,
    /// The first unit of the fold that is still in dispute.
    pub lo: u64,
    /// The end of the units in dispute.
    pub hi: u64,
    /// The accumulator before unit `lo`, which both accept.
    pub acc_lo: Word,
    /// The accumulator before unit `hi`, once `pinned`.
    pub acc_hi: Word,
    /// Whether `acc_hi` is fixed: the defender can't move the end of a segment in dispute.
    pub pinned: bool,
    /// Hash of the accumulators just revealed, else 0.
    pub reveal: Hash,
    /// What the last step compares.
    pub mode: Mode,
}

impl State {
    /// The bytes that a move carries: fields big-endian one after the other, up to the last group
    /// that the phase has reached (`README.md`, "State"): 74, 110, 178 or 328 of them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(328);
        bytes.extend(self.dispute);
        bytes.extend(self.move_number.to_be_bytes());
        // No tree is deeper than 32 levels: sizes are 32 bits wide.
        bytes.extend([self.phase.code(), self.level.0.to_be_bytes()[3]]);
        bytes.extend(self.index.0.to_be_bytes());
        bytes.extend(self.node);
        if self.phase >= Phase::Expand {
            bytes.extend(self.block.0.to_be_bytes());
            bytes.extend(self.step_root);
        }
        if self.phase >= Phase::LeavesReveal {
            bytes.extend(self.step.0.to_be_bytes());
            bytes.extend(self.d0);
            bytes.extend(self.d1);
        }
        if self.phase >= Phase::FoldReveal {
            bytes.extend(self.element.0.to_be_bytes());
            bytes.extend(self.claimed);
            bytes.extend(self.lo.to_be_bytes());
            bytes.extend(self.hi.to_be_bytes());
            bytes.extend(self.acc_lo);
            bytes.extend(self.acc_hi);
            bytes.extend([u8::from(self.pinned), self.mode.code()]);
            bytes.extend(self.reveal);
        }
        bytes
    }

    /// `keccak(encode)`: what the contract stores, and every move answers.
    pub fn hash(&self) -> Hash {
        keccak(&self.encode())
    }

    /// The descriptor of the disputed step; zeros before one is chosen.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor { d0: self.d0, d1: self.d1 }
    }

    /// Where `node` is in its tree.
    pub fn position(&self) -> Position {
        Position { level: self.level, index: self.index }
    }

    /// Whose clock runs, see [`Phase::to_move`].
    pub fn to_move(&self) -> Option<Party> {
        self.phase.to_move()
    }

    /// Who wins if the last step computes `computed` (the element, or in [`Mode::Segment`] the
    /// accumulator after unit `lo`). `None` in any other phase.
    pub fn verdict(&self, computed: &Word) -> Option<Party> {
        if self.phase != Phase::Step {
            return None;
        }
        let said = match self.mode {
            Mode::Whole | Mode::Finalize => &self.claimed,
            Mode::Segment => &self.acc_hi,
        };
        Some(if said == computed { Party::Defender } else { Party::Challenger })
    }
}
