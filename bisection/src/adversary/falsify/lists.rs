//! Lists and bytes with something wrong, and the layers above a node's children.

use crate::adversary::Kind;
use crate::merkle::{Hash, node_hash, zero};
use crate::position::Level;
use crate::state::Word;

pub(super) const GARBAGE: Hash = [0x66; 32];

pub(super) fn flipped(hash: &Hash) -> Hash {
    let mut hash = *hash;
    hash[0] ^= 0x80;
    hash
}

/// A list of hashes with each one changed, or of another length.
pub(super) fn false_hashes(kind: Kind, right: &[Hash]) -> Vec<(Kind, Vec<Hash>)> {
    let with = |i: usize, hash: Hash| {
        let mut form = right.to_vec();
        form[i] = hash;
        form
    };
    let mut forms: Vec<_> = (0..right.len()).map(|i| (kind, with(i, flipped(&right[i])))).collect();
    let mut lengths = vec![
        [right, &[GARBAGE]].concat(),
        [right, &[zero(Level(0))]].concat(),
        [&[GARBAGE], right].concat(),
    ];
    if !right.is_empty() {
        lengths.extend([right[1..].to_vec(), right[..right.len() - 1].to_vec(), Vec::new()]);
    }
    forms.extend(lengths.into_iter().map(|form| (Kind::Length, form)));
    forms
}

/// Bytes with some changed, or of another length.
pub(super) fn false_bytes(kind: Kind, right: &[u8]) -> Vec<(Kind, Vec<u8>)> {
    let stride = right.len().div_ceil(16).max(1);
    let places = (0..right.len()).step_by(stride).chain(right.len().checked_sub(1));
    let mut forms: Vec<_> = places
        .map(|i| {
            let mut form = right.to_vec();
            form[i] ^= 1;
            (kind, form)
        })
        .collect();
    forms.dedup();
    let mut lengths =
        vec![[right, &[0]].concat(), [right, &[0; 32]].concat(), [right, right].concat()];
    if !right.is_empty() {
        lengths.extend([right[1..].to_vec(), right[..right.len() - 1].to_vec(), Vec::new()]);
    }
    forms.extend(lengths.into_iter().map(|form| (Kind::Length, form)));
    forms
}

/// Accumulators with each one a little off, or as far off as a word can be.
pub(super) fn false_words(kind: Kind, right: &[Word]) -> Vec<(Kind, Vec<Word>)> {
    let mut forms = false_hashes(kind, right);
    for (i, word) in right.iter().enumerate() {
        let mut near = *word;
        near[31] ^= 1;
        for false_word in [near, [0; 32], [0xff; 32], [0x55; 32], {
            let mut least = [0; 32];
            least[0] = 0x80;
            least
        }] {
            let mut form = right.to_vec();
            form[i] = false_word;
            forms.push((kind, form));
        }
    }
    forms
}

/// The layers above a node's children, filled up with padding: from the children to the node.
pub(super) fn layers(children: &[Hash], level: u32, down: u32) -> Vec<Vec<Hash>> {
    let mut layer = children.to_vec();
    layer.resize(1 << down, zero(Level(level)));
    let mut layers = vec![layer];
    for _ in 0..down {
        let below = &layers[layers.len() - 1];
        let above = below.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
        layers.push(above);
    }
    layers
}

/// The siblings of a child, from those layers.
pub(super) fn siblings(layers: &[Vec<Hash>], child: u32) -> Vec<Hash> {
    let below = &layers[..layers.len() - 1];
    below.iter().enumerate().map(|(up, layer)| layer[(child as usize >> up) ^ 1]).collect()
}
