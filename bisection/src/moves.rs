//! What a party does, and what the other one sees of it.

use crate::merkle::Hash;
use crate::position::Element;
use crate::state::{Party, Word};
use serde::{Deserialize, Serialize};

/// A move with the arguments of the contract's function of that name. The state that it answers is
/// passed beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Move {
    /// Opens `node`: the real nodes some levels below it.
    Reveal {
        /// Those nodes, from the left.
        children: Vec<Hash>,
    },
    /// Commits to the steps of the disputed block, and opens their tree.
    Expand {
        /// Root of the step tree.
        step_root: Hash,
        /// Path of the leaf `Collect`, which is the block root.
        collect_proof: Vec<Hash>,
        /// Path of the leaf `Sample`; empty for a prompt block.
        sample_proof: Vec<Hash>,
        /// Bytes of the leaf of the output's token tree with this block's token; empty likewise.
        tokens: Vec<u8>,
        /// Path of that leaf; empty likewise.
        token_proof: Vec<Hash>,
        /// The first reveal of the step tree.
        children: Vec<Hash>,
    },
    /// Goes on with one of the revealed nodes.
    Choose {
        /// Which one, counted from the first revealed.
        child: u32,
        /// The node.
        hash: Hash,
        /// Its siblings, up to the node that was opened.
        path: Vec<Hash>,
    },
    /// The same at the bottom of the step tree.
    ChooseStep {
        /// Which one, counted from the first revealed.
        child: u32,
        /// The root of the step's tensor.
        hash: Hash,
        /// Its siblings, up to the node that was opened.
        path: Vec<Hash>,
        /// First word of the step's descriptor.
        d0: Word,
        /// Second word of it.
        d1: Word,
        /// The descriptor's path in the program's tree.
        descriptor_proof: Vec<Hash>,
    },
    /// Shows the bytes of the disputed leaf.
    RevealLeaf {
        /// Those bytes.
        data: Vec<u8>,
    },
    /// Picks an element of the leaf.
    ChooseElement {
        /// The leaf's bytes again.
        data: Vec<u8>,
        /// The element, counted in the tensor.
        element: Element,
    },
    /// Shows the fold's accumulators at the boundaries of its segments.
    RevealFold {
        /// Those accumulators.
        accs: Vec<Word>,
    },
    /// Picks a segment, or the finalizer.
    ChooseFold {
        /// The accumulators again.
        accs: Vec<Word>,
        /// The segment, or their number for the finalizer.
        choice: u32,
    },
}

impl Move {
    /// The name of the contract's function.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reveal { .. } => "reveal",
            Self::Expand { .. } => "expand",
            Self::Choose { .. } => "choose",
            Self::ChooseStep { .. } => "chooseStep",
            Self::RevealLeaf { .. } => "revealLeaf",
            Self::ChooseElement { .. } => "chooseElement",
            Self::RevealFold { .. } => "revealFold",
            Self::ChooseFold { .. } => "chooseFold",
        }
    }
}

/// What the contract emits for a move: what the other party needs in order to follow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Event {
    /// After [`Move::Reveal`].
    Revealed {
        /// The real nodes that were revealed.
        children: Vec<Hash>,
    },
    /// After [`Move::Choose`].
    Chosen {
        /// Which one of them.
        child: u32,
        /// The node.
        hash: Hash,
    },
    /// After [`Move::ChooseStep`].
    StepChosen {
        /// Which one of them.
        child: u32,
        /// The root of the step's tensor.
        hash: Hash,
        /// First word of the step's descriptor.
        d0: Word,
        /// Second word of it.
        d1: Word,
    },
    /// After [`Move::Expand`].
    Expanded {
        /// Root of the step tree.
        step_root: Hash,
        /// The first reveal of it.
        children: Vec<Hash>,
    },
    /// After [`Move::RevealLeaf`].
    LeafRevealed {
        /// The bytes of the leaf.
        data: Vec<u8>,
    },
    /// After [`Move::ChooseElement`].
    ElementChosen {
        /// The element, counted in the tensor.
        element: Element,
        /// What the leaf says that it is.
        claimed: Word,
    },
    /// After [`Move::RevealFold`].
    FoldRevealed {
        /// The accumulators.
        accs: Vec<Word>,
    },
    /// After [`Move::ChooseFold`].
    FoldChosen {
        /// The segment, or their number for the finalizer.
        choice: u32,
    },
    /// After `step` or `timeout`: the dispute is over.
    Resolved {
        /// Who won.
        winner: Party,
        /// Whether the step decided it, not the clock.
        by_step: bool,
    },
}

impl Event {
    /// The name of the contract's event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Revealed { .. } => "Revealed",
            Self::Chosen { .. } => "Chosen",
            Self::StepChosen { .. } => "StepChosen",
            Self::Expanded { .. } => "Expanded",
            Self::LeafRevealed { .. } => "LeafRevealed",
            Self::ElementChosen { .. } => "ElementChosen",
            Self::FoldRevealed { .. } => "FoldRevealed",
            Self::FoldChosen { .. } => "FoldChosen",
            Self::Resolved { .. } => "DisputeResolved",
        }
    }

    /// The children or accumulators that this event revealed, for the choice that answers it.
    pub fn revealed(&self) -> &[Hash] {
        match self {
            Self::Revealed { children } | Self::Expanded { children, .. } => children,
            Self::FoldRevealed { accs } => accs,
            _ => &[],
        }
    }
}
