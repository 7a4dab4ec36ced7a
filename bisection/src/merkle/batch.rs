//! Trees built level by level, many at a time: what is hashed together fills the lanes of
//! [`crate::keccak`], and small trees have too few nodes for that by themselves.

use super::{Hash, LEAF_BYTES, MerkleError, Tree, node_hash, zero};
use crate::keccak::{self, Message};
use crate::position::Level;

/// The hashes of leaves: [`super::leaf_hash`] of each.
pub fn leaf_hashes<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Vec<Hash> {
    keccak::hash(leaves.into_iter().map(Message::leaf))
}

/// The roots of the trees of many tensors' bytes, see [`Tree::of_bytes`].
pub fn roots_of_bytes(tensors: &[&[u8]]) -> Result<Vec<Hash>, MerkleError> {
    let pieces: Vec<_> = tensors.iter().map(|bytes| (*bytes, [].as_slice())).collect();
    roots_of_pieces(&pieces)
}

/// As [`roots_of_bytes`], for tensors whose bytes lie in two places: a tensor is the one piece
/// followed by the other, and leaves go across the seam.
pub fn roots_of_pieces(tensors: &[(&[u8], &[u8])]) -> Result<Vec<Hash>, MerkleError> {
    let leaves = tensors.iter().flat_map(|(first, second)| pieces_leaves(first, second));
    let counts = tensors.iter().map(|(first, second)| leaf_count(first.len() + second.len()));
    fold(keccak::hash(leaves), counts.collect())
}

/// The roots of the trees over many lists of leaves, hashes already, see [`Tree::new`].
pub fn roots<L: AsRef<[Hash]>>(trees: &[L]) -> Result<Vec<Hash>, MerkleError> {
    let counts = trees.iter().map(|leaves| leaves.as_ref().len()).collect();
    fold(trees.iter().flat_map(|leaves| leaves.as_ref()).copied().collect(), counts)
}

impl Tree {
    /// As [`Self::new`], for many trees.
    pub fn many(trees: Vec<Vec<Hash>>) -> Result<Vec<Self>, MerkleError> {
        let started = |leaves: Vec<Hash>| {
            check_count(leaves.len())?;
            Ok(Self { layers: vec![leaves] })
        };
        let mut trees = trees.into_iter().map(started).collect::<Result<Vec<_>, _>>()?;
        finish(&mut trees, Level(0));
        Ok(trees)
    }

    /// As [`Self::of_bytes`], for many tensors.
    pub fn many_of_bytes(tensors: &[&[u8]]) -> Result<Vec<Self>, MerkleError> {
        let hashes =
            leaf_hashes(tensors.iter().flat_map(|bytes| bytes.chunks(LEAF_BYTES as usize)));
        let mut hashes = hashes.into_iter();
        let leaves = |bytes: &&[u8]| hashes.by_ref().take(leaf_count(bytes.len())).collect();
        Self::many(tensors.iter().map(leaves).collect())
    }

    /// The tree over the leaves of all `parts`, in their order, without hashing theirs again. All
    /// parts have the same power of two of leaves; the last may have fewer.
    pub fn join(parts: Vec<Self>) -> Result<Self, MerkleError> {
        let leaves = |part: &Self| part.layers[0].len();
        check_count(parts.iter().map(leaves).sum())?;
        let (last, full) = parts.split_last().ok_or(MerkleError::Empty)?;
        let width = parts.iter().map(leaves).max().unwrap_or_default();
        let even = full.iter().all(|part| leaves(part) == width);
        if !even || !(full.is_empty() || width.is_power_of_two()) {
            return Err(MerkleError::Parts);
        }
        let levels = full.first().unwrap_or(last).depth().0;
        let mut layers = vec![Vec::new(); levels as usize + 1];
        for part in parts {
            let mut top = part.root();
            let raised = part.layers.len();
            for (into, layer) in layers.iter_mut().zip(part.layers) {
                into.extend(layer);
            }
            // A last part that is less deep than the others is padded up to their height.
            for (level, into) in layers.iter_mut().enumerate().skip(raised) {
                top = node_hash(&top, &zero(Level(level as u32 - 1)));
                into.push(top);
            }
        }
        let mut joined = [Self { layers }];
        finish(&mut joined, Level(levels));
        let [joined] = joined;
        Ok(joined)
    }

    /// The topmost layer so far.
    fn top(&self) -> &[Hash] {
        self.layers.last().map_or(&[], Vec::as_slice)
    }
}

/// Adds layers to trees that have all up to `level`, until each ends in its root.
fn finish(trees: &mut [Tree], level: Level) {
    for level in (level.0..).map(Level) {
        let layers = trees.iter().map(Tree::top).filter(|layer| layer.len() > 1);
        let parents = parents(layers, level);
        if parents.is_empty() {
            return;
        }
        let mut parents = parents.into_iter();
        for tree in trees.iter_mut().filter(|tree| tree.top().len() > 1) {
            let real = tree.top().len().div_ceil(2);
            tree.layers.push(parents.by_ref().take(real).collect());
        }
    }
}

/// The roots of trees whose leaves are `nodes`, as many of them for each tree as `counts` says.
fn fold(mut nodes: Vec<Hash>, mut counts: Vec<usize>) -> Result<Vec<Hash>, MerkleError> {
    counts.iter().try_for_each(|count| check_count(*count))?;
    for level in (0..).map(Level) {
        let layers = split(&nodes, &counts).filter(|layer| layer.len() > 1);
        let parents = parents(layers, level);
        if parents.is_empty() {
            break;
        }
        let mut parents = parents.into_iter();
        let mut above = Vec::with_capacity(nodes.len().div_ceil(2));
        for layer in split(&nodes, &counts) {
            match layer {
                [root] => above.push(*root),
                _ => above.extend(parents.by_ref().take(layer.len().div_ceil(2))),
            }
        }
        nodes = above;
        counts.iter_mut().for_each(|count| *count = count.div_ceil(2));
    }
    Ok(nodes)
}

/// Slices of these lengths, one after the other.
fn split<'a>(mut nodes: &'a [Hash], counts: &[usize]) -> impl Iterator<Item = &'a [Hash]> {
    counts.iter().map(move |count| {
        let (layer, rest) = nodes.split_at(*count);
        nodes = rest;
        layer
    })
}

/// The nodes above those of layers of this level, layer after layer.
fn parents<'a>(layers: impl Iterator<Item = &'a [Hash]>, level: Level) -> Vec<Hash> {
    let padding = zero(level);
    let pairs = layers.flat_map(|layer| layer.chunks(2));
    keccak::hash(pairs.map(|pair| Message::node(&pair[0], pair.get(1).unwrap_or(&padding))))
}

fn check_count(leaves: usize) -> Result<(), MerkleError> {
    match u32::try_from(leaves) {
        Ok(0) => Err(MerkleError::Empty),
        Ok(_) => Ok(()),
        Err(_) => Err(MerkleError::TooManyLeaves(leaves as u64)),
    }
}

fn leaf_count(bytes: usize) -> usize {
    bytes.div_ceil(LEAF_BYTES as usize)
}

/// The leaves of a tensor in two pieces.
fn pieces_leaves<'a>(
    first: &'a [u8],
    second: &'a [u8],
) -> impl Iterator<Item = Message<'a>> + use<'a> {
    let part = |piece: &'a [u8], start: usize, end: usize| {
        &piece[start.min(piece.len())..end.min(piece.len())]
    };
    (0..leaf_count(first.len() + second.len())).map(move |leaf| {
        let (start, end) = (leaf * LEAF_BYTES as usize, (leaf + 1) * LEAF_BYTES as usize);
        let seam = first.len();
        let after = part(second, start.saturating_sub(seam), end.saturating_sub(seam));
        Message::leaf_in_two(part(first, start, end), after)
    })
}
