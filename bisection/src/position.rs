//! Where things are: numbers of blocks, steps and elements, nodes of trees, segments of folds.

use crate::merkle::{self, MerkleError};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// One position of the sequence, counted from the first prompt token.
    Block
);
number!(
    /// One op of a block, counted in program order.
    Step
);
number!(
    /// One entry of a step's tensor.
    Element
);
number!(
    /// Levels above the leaves of a tree.
    Level
);
number!(
    /// A node's number within its level; of a leaf, the leaf's number.
    Index
);

/// A node of a tree.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// Levels above the leaves.
    pub level: Level,
    /// Number within that level.
    pub index: Index,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.index)
    }
}

/// The real nodes some levels below a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Their level.
    pub level: Level,
    /// The first one.
    pub first: Index,
    /// How many of them there are, at least one.
    pub count: u32,
}

impl Position {
    /// The node `index` of a level.
    pub const fn new(level: u32, index: u32) -> Self {
        Self { level: Level(level), index: Index(index) }
    }

    /// The real nodes `down` levels below this one, in a tree of `leaves` leaves: those with an
    /// index in `[index·2^down, min((index + 1)·2^down, ceil(leaves / 2^(level − down))))`.
    pub fn window(self, leaves: u32, down: u32) -> Result<Window, MerkleError> {
        let outside = MerkleError::Outside { position: self, down, leaves };
        if self.level > merkle::depth(leaves) || down > self.level.0 {
            return Err(outside);
        }
        let level = Level(self.level.0 - down);
        let first = u64::from(self.index.0) << down;
        let end = (first + (1u64 << down)).min(merkle::real_nodes(leaves, level).into());
        if first >= end {
            return Err(outside);
        }
        // Both are below the number of real nodes, a u32.
        Ok(Window { level, first: Index(first as u32), count: (end - first) as u32 })
    }
}

/// Segments into which one round divides a fold over `[lo, hi)`: `min(2^arity_bits, hi − lo)`.
pub fn segments(arity_bits: u32, lo: u64, hi: u64) -> u32 {
    let most = 1u64 << arity_bits.min(31);
    most.min(hi.saturating_sub(lo)) as u32
}

/// Where segment `i` of `segments` begins: `lo + ⌊i·(hi − lo)/segments⌋`, for `i` up to and with
/// `segments`.
pub fn boundary(lo: u64, hi: u64, segments: u32, i: u32) -> u64 {
    let length = u128::from(hi.saturating_sub(lo));
    let offset = u128::from(i) * length / u128::from(segments.max(1));
    // Not above `length` for `i ≤ segments`.
    lo.saturating_add(offset as u64)
}
