//! Commitments: keccak trees whose leaves and nodes can't pass for one another.
//!
//! A party's own trees are hashed by [`crate::keccak`], many nodes at once. What an opponent reveals
//! is folded by `rs_merkle`, so in every dispute the one has to agree with the other. The library
//! pads nothing by itself, so this module hands it full subtrees: bands of ten levels, the last
//! subtree of a level filled up with the padding of that level. Its working copies are thereby as
//! small as a band, however large the tree, and a node over padding alone is looked up instead of
//! hashed.

mod batch;

pub use batch::{leaf_hashes, roots, roots_of_bytes, roots_of_pieces};

use crate::keccak::Message;
use crate::position::{Index, Level, Position};
use rs_merkle::{Hasher, PartialTree};
use sha3::{Digest, Keccak256};
use std::sync::LazyLock;

/// A keccak256 digest: a leaf, a node, a root, the hash of a state.
pub type Hash = [u8; 32];

/// The most levels that a tree can have: counts of leaves are `u32`.
pub const LEVELS_MAX: u32 = 32;

/// Bytes in one leaf of a step tensor; the last leaf of a tensor holds what is left.
pub const LEAF_BYTES: u32 = 1024;

/// Tokens in one leaf of a token tree.
pub const LEAF_TOKENS: u32 = 256;

/// Levels that one call of `rs_merkle` raises.
const BAND_LEVELS: usize = 10;

/// What can be wrong with a tree or with a reveal of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MerkleError {
    /// A tree has at least one leaf.
    #[error("a tree needs at least one leaf")]
    Empty,
    /// Counts of leaves are `u32`.
    #[error("a tree of {0} leaves is too large: at most 2^32 - 1")]
    TooManyLeaves(u64),
    /// The node isn't in the tree, or has no real leaf below it, or has fewer levels below it.
    #[error("no node {position} with {down} levels below it in a tree of {leaves} leaves")]
    Outside {
        /// The node asked for.
        position: Position,
        /// The levels asked for below it.
        down: u32,
        /// Real leaves of the tree.
        leaves: u32,
    },
    /// A reveal is exactly the real nodes, no fewer and no more.
    #[error("{got} children revealed, {expected} are real")]
    Children {
        /// Real nodes at that level below the opened node.
        expected: u32,
        /// Nodes given.
        got: usize,
    },
    /// The nodes don't fold to the node that they are said to be below.
    #[error("the children don't fold to the node that they open")]
    Mismatch,
    /// Parts of a tree are of one size, a power of two; only the last may be smaller.
    #[error("these parts don't make a tree: all but the last need the same power of two of leaves")]
    Parts,
    /// `rs_merkle` refused a full subtree, which it never does.
    #[error("the tree library refused a full subtree")]
    Library,
}

/// keccak256 of `bytes`, nothing prepended.
pub fn keccak(bytes: &[u8]) -> Hash {
    Keccak256::digest(bytes).into()
}

/// `keccak(0x00 ‖ bytes)`.
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    Message::leaf(bytes).digest()
}

/// `keccak(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Message::node(left, right).digest()
}

static ZEROS: LazyLock<[Hash; LEVELS_MAX as usize + 1]> = LazyLock::new(|| {
    let mut zeros = [keccak(b"refute.padding"); LEVELS_MAX as usize + 1];
    for level in 1..zeros.len() {
        zeros[level] = node_hash(&zeros[level - 1], &zeros[level - 1]);
    }
    zeros
});

/// The padding of a level: `Z_0 = keccak("refute.padding")`, `Z_{h+1} = node(Z_h, Z_h)`. Levels
/// above [`LEVELS_MAX`] don't exist; they give the topmost.
pub fn zero(level: Level) -> Hash {
    ZEROS[level.0.min(LEVELS_MAX) as usize]
}

/// `ceil(log2 leaves)`: the levels above the leaves. 0 for one leaf (and for none).
pub fn depth(leaves: u32) -> Level {
    Level(leaves.saturating_sub(1).checked_ilog2().map_or(0, |log| log + 1))
}

/// `ceil(leaves / 2^level)`: the nodes of a level that have a real leaf below them.
pub fn real_nodes(leaves: u32, level: Level) -> u32 {
    let width = 1u64 << level.0.min(LEVELS_MAX);
    u64::from(leaves).div_ceil(width) as u32
}

/// The `rs_merkle` hasher of this game.
#[derive(Debug, Clone, Copy)]
pub struct Keccak;

impl Hasher for Keccak {
    type Hash = Hash;

    fn hash(data: &[u8]) -> Hash {
        leaf_hash(data)
    }

    fn concat_and_hash(left: &Hash, right: Option<&Hash>) -> Hash {
        match right {
            // Two equal children are nearly always padding, whose parent is known.
            Some(right) if left == right => {
                match ZEROS.iter().take(LEVELS_MAX as usize).position(|zero| zero == left) {
                    Some(level) => ZEROS[level + 1],
                    None => node_hash(left, right),
                }
            }
            Some(right) => node_hash(left, right),
            // Only above the root of a full tree, where the library repeats it.
            None => *left,
        }
    }
}

/// The real nodes of levels `base`, `base + 1`, … `base + up` above `nodes`, which are the real
/// nodes of level `base` from an index on that is a multiple of `2^up`.
pub(crate) fn raise(nodes: Vec<Hash>, base: Level, up: u32) -> Result<Vec<Vec<Hash>>, MerkleError> {
    if nodes.is_empty() {
        return Err(MerkleError::Empty);
    }
    let mut layers = vec![nodes];
    while layers.len() <= up as usize {
        let raised = layers.len() - 1;
        let band = BAND_LEVELS.min(up as usize - raised);
        let padding = zero(Level(base.0 + raised as u32));
        let mut above = vec![Vec::new(); band];
        for chunk in layers[raised].chunks(1 << band) {
            let mut full = chunk.to_vec();
            full.resize(1 << band, padding);
            let subtree =
                PartialTree::<Keccak>::from_leaves(&full).map_err(|_| MerkleError::Library)?;
            for (level, (into, layer)) in above.iter_mut().zip(&subtree.layers()[1..]).enumerate() {
                let real = chunk.len().div_ceil(2 << level);
                into.extend(layer[..real].iter().map(|(_, hash)| *hash));
            }
        }
        layers.extend(above);
    }
    Ok(layers)
}

/// A whole tree with its inner nodes. Padding is never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Real nodes per level, leaves first; the last level is the root alone.
    layers: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree over `leaves`, hashes already.
    pub fn new(leaves: Vec<Hash>) -> Result<Self, MerkleError> {
        Self::many(vec![leaves])?.pop().ok_or(MerkleError::Empty)
    }

    /// The tree over the leaves of a tensor's bytes, see [`bytes_leaves`].
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, MerkleError> {
        Self::new(leaf_hashes(bytes_leaves(bytes)))
    }

    /// The root; of one leaf, the leaf hash.
    pub fn root(&self) -> Hash {
        // A tree has at least one layer, and its last one holds one node.
        self.layers[self.layers.len() - 1][0]
    }

    /// Real leaves.
    pub fn leaves(&self) -> u32 {
        self.layers[0].len() as u32
    }

    /// Levels above the leaves.
    pub fn depth(&self) -> Level {
        Level(self.layers.len() as u32 - 1)
    }

    /// The node at a position, padding included; `None` outside of the padded tree.
    pub fn node(&self, position: Position) -> Option<Hash> {
        let layer = self.layers.get(position.level.0 as usize)?;
        let width = 1u64 << (self.depth().0 - position.level.0);
        if u64::from(position.index.0) >= width {
            return None;
        }
        Some(layer.get(position.index.0 as usize).copied().unwrap_or_else(|| zero(position.level)))
    }

    /// The siblings of a real leaf, from the bottom up; `None` if there is no such leaf.
    pub fn path(&self, leaf: Index) -> Option<Vec<Hash>> {
        if leaf.0 >= self.leaves() {
            return None;
        }
        (0..self.depth().0)
            .map(|level| self.node(Position::new(level, (leaf.0 >> level) ^ 1)))
            .collect()
    }

    /// The real nodes `down` levels below a node: what a reveal of it consists of.
    pub fn children(&self, position: Position, down: u32) -> Result<Vec<Hash>, MerkleError> {
        let window = position.window(self.leaves(), down)?;
        let first = window.first.0 as usize;
        let layer = &self.layers[window.level.0 as usize];
        Ok(layer[first..first + window.count as usize].to_vec())
    }
}

/// The root over a node and its siblings from the bottom up, `index` being the node's own at its
/// level. The caller has checked the length of the path.
pub fn root_of_path(node: Hash, index: Index, path: &[Hash]) -> Hash {
    let fold = |(node, index): (Hash, u32), sibling: &Hash| {
        let parent =
            if index & 1 == 0 { node_hash(&node, sibling) } else { node_hash(sibling, &node) };
        (parent, index >> 1)
    };
    path.iter().fold((node, index.0), fold).0
}

/// True iff `node` is at `index` at the bottom of a tree of this depth and root. A path of any
/// other length, and an index outside of the tree, prove nothing.
pub fn verify_path(node: Hash, index: Index, path: &[Hash], depth: Level, root: Hash) -> bool {
    path.len() == depth.0 as usize
        && u64::from(index.0) < 1u64 << depth.0.min(LEVELS_MAX)
        && root_of_path(node, index, path) == root
}

/// Folds a reveal: `children` are the real nodes `down` levels below `position` in a tree of
/// `leaves` leaves. Their number is checked, the rest is filled with padding.
pub fn fold_children(
    children: &[Hash],
    position: Position,
    down: u32,
    leaves: u32,
) -> Result<Hash, MerkleError> {
    let layers = raise_children(children, position, down, leaves)?;
    Ok(layers[layers.len() - 1][0])
}

/// As [`fold_children`], with every level between the children and the node that they open.
pub(crate) fn raise_children(
    children: &[Hash],
    position: Position,
    down: u32,
    leaves: u32,
) -> Result<Vec<Vec<Hash>>, MerkleError> {
    let window = position.window(leaves, down)?;
    if children.len() != window.count as usize {
        return Err(MerkleError::Children { expected: window.count, got: children.len() });
    }
    raise(children.to_vec(), window.level, down)
}

/// The leaves of a tensor: 1024 bytes each, the last one what is left. An empty tensor has none.
pub fn bytes_leaves(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(LEAF_BYTES as usize).collect()
}

/// The bytes of one leaf of a token tree, `u32` little-endian; empty outside of the tokens.
pub fn token_leaf(tokens: &[u32], leaf: Index) -> Vec<u8> {
    let leaves = tokens.chunks(LEAF_TOKENS as usize);
    let chunk = leaves.into_iter().nth(leaf.0 as usize).unwrap_or_default();
    chunk.iter().flat_map(|token| token.to_le_bytes()).collect()
}

/// The tree over tokens: 256 `u32` to a leaf, little-endian.
pub fn token_tree(tokens: &[u32]) -> Result<Tree, MerkleError> {
    let leaves = tokens.len().div_ceil(LEAF_TOKENS as usize);
    let leaves = u32::try_from(leaves).map_err(|_| MerkleError::TooManyLeaves(leaves as u64))?;
    Tree::new((0..leaves).map(|leaf| leaf_hash(&token_leaf(tokens, Index(leaf)))).collect())
}

/// The root of [`token_tree`].
pub fn token_root(tokens: &[u32]) -> Result<Hash, MerkleError> {
    Ok(token_tree(tokens)?.root())
}
