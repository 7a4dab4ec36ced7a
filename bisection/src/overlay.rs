//! A tree of the opponent's, as far as it is known.
//!
//! Left of the path that the choices took, the opponent's nodes are one's own: the challenger chose
//! the first child that differs. On the path and right beside it they were revealed. That is
//! enough for the path of every leaf left of the disputed one, and of that one itself.

use crate::merkle::{
    Hash, MerkleError, Tree, depth, raise_children, real_nodes, verify_path, zero,
};
use crate::position::{Index, Level, Position};
use std::collections::HashMap;

/// A path that own and revealed nodes don't give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// The leaf isn't in the tree.
    #[error("no leaf {0}")]
    NoLeaf(Index),
    /// The nodes don't lead to the opponent's root: the leaf isn't left of the disputed one.
    #[error("leaf {0} isn't known to be the opponent's")]
    NotAgreed(Index),
    /// Own nodes are of a tree of another size.
    #[error("an own tree of {own} leaves, the opponent's has {leaves}")]
    Size {
        /// Own leaves.
        own: u32,
        /// The opponent's leaves.
        leaves: u32,
    },
}

/// What is known of one tree of the opponent's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    root: Hash,
    leaves: u32,
    revealed: HashMap<Position, Hash>,
}

impl Overlay {
    /// A tree of which the root is known, and the number of leaves.
    pub fn new(root: Hash, leaves: u32) -> Self {
        let top = Position { level: depth(leaves), index: Index(0) };
        Self { root, leaves, revealed: HashMap::from([(top, root)]) }
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Its real leaves.
    pub fn leaves(&self) -> u32 {
        self.leaves
    }

    /// Takes in a reveal: the real nodes `down` levels below `position`, and with them every level
    /// between.
    pub fn reveal(
        &mut self,
        children: &[Hash],
        position: Position,
        down: u32,
    ) -> Result<(), MerkleError> {
        let window = position.window(self.leaves, down)?;
        let layers = raise_children(children, position, down, self.leaves)?;
        for (raised, layer) in layers.into_iter().enumerate() {
            let level = Level(window.level.0 + raised as u32);
            let first = window.first.0 >> raised;
            for (offset, hash) in layer.into_iter().enumerate() {
                let index = Index(first + offset as u32);
                self.revealed.insert(Position { level, index }, hash);
            }
        }
        Ok(())
    }

    /// A node that was revealed, or is padding.
    pub fn node(&self, position: Position) -> Option<Hash> {
        let padding = position.index.0 >= real_nodes(self.leaves, position.level);
        if padding { Some(zero(position.level)) } else { self.revealed.get(&position).copied() }
    }

    /// The path from an own leaf to the opponent's root.
    pub fn path(&self, own: &Tree, leaf: Index) -> Result<Vec<Hash>, OverlayError> {
        if own.leaves() != self.leaves {
            return Err(OverlayError::Size { own: own.leaves(), leaves: self.leaves });
        }
        let depth = depth(self.leaves);
        let path: Option<Vec<Hash>> = (0..depth.0)
            .map(|level| Position::new(level, (leaf.0 >> level) ^ 1))
            .map(|sibling| self.node(sibling).or_else(|| own.node(sibling)))
            .collect();
        let bottom = Position { level: Level(0), index: leaf };
        let (true, Some(path), Some(hash)) = (leaf.0 < self.leaves, path, own.node(bottom)) else {
            return Err(OverlayError::NoLeaf(leaf));
        };
        if verify_path(hash, leaf, &path, depth, self.root) {
            Ok(path)
        } else {
            Err(OverlayError::NotAgreed(leaf))
        }
    }
}
