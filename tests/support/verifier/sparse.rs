//! Merkle trees of which only a few leaves are known, however wide: a tree over a model's weights has millions, and one
//! step opens a handful.

use alloy::primitives::{B256, keccak256};
use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::tiny::Random;

/// `keccak(0x00 ‖ bytes)`.
pub fn leaf(bytes: &[u8]) -> B256 {
    keccak256([&[0], bytes].concat())
}

/// `keccak(0x01 ‖ left ‖ right)`.
pub fn node(left: B256, right: B256) -> B256 {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left.as_slice());
    bytes[33..].copy_from_slice(right.as_slice());
    keccak256(bytes)
}

/// `Z_0 … Z_32`.
static PADDING: LazyLock<Vec<B256>> = LazyLock::new(|| {
    let first = keccak256("refute.padding");
    std::iter::successors(Some(first), |z| Some(node(*z, *z))).take(33).collect()
});

/// 32 bytes that nothing hashes to.
pub fn noise(seed: u64) -> B256 {
    let mut random = Random::new(seed);
    let mut bytes = [0; 32];
    bytes.chunks_mut(8).for_each(|c| c.copy_from_slice(&random.bits().to_le_bytes()));
    bytes.into()
}

/// A tree of `leaves` leaves. What lies over known leaves is computed, what lies over padding is padding, and everything
/// else is noise.
#[derive(Clone, Debug)]
pub struct Sparse {
    leaves: u32,
    /// Known nodes by level and index; the last level is the root's.
    levels: Vec<BTreeMap<u32, B256>>,
    seed: u64,
}

impl Sparse {
    /// A tree over these leaves among `leaves`.
    pub fn new(leaves: u32, known: BTreeMap<u32, B256>, seed: u64) -> Self {
        let depth = u64::from(leaves).next_power_of_two().ilog2();
        let mut tree = Self { leaves, levels: vec![known], seed };
        for level in 0..depth {
            let below = &tree.levels[level as usize];
            let parents = below.keys().map(|i| i >> 1).map(|i| {
                let (left, right) = (tree.node(level, 2 * i), tree.node(level, 2 * i + 1));
                (i, node(left, right))
            });
            let parents = parents.collect();
            tree.levels.push(parents);
        }
        tree
    }

    fn node(&self, level: u32, index: u32) -> B256 {
        if u64::from(index) << level >= u64::from(self.leaves) {
            return PADDING[level as usize];
        }
        let known = self.levels[level as usize].get(&index);
        let place = u64::from(level) << 32 | u64::from(index);
        known.copied().unwrap_or_else(|| noise(self.seed.wrapping_add(place.rotate_left(17))))
    }

    /// The root.
    pub fn root(&self) -> B256 {
        self.node(self.levels.len() as u32 - 1, 0)
    }

    /// The siblings of a leaf, from the bottom up.
    pub fn path(&self, leaf: u32) -> Vec<B256> {
        (0..self.levels.len() as u32 - 1).map(|h| self.node(h, (leaf >> h) ^ 1)).collect()
    }
}
