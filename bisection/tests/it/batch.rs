//! Trees built together are the trees built apart, node by node.

use proptest::prelude::*;
use refute_bisection::merkle::*;
use refute_bisection::position::{Index, Level, Position};
use rs_merkle::MerkleTree;

fn hashes(count: usize, seed: u32) -> Vec<Hash> {
    (0..count as u32).map(|i| keccak(&[i.to_le_bytes(), seed.to_le_bytes()].concat())).collect()
}

/// The root as the README defines it, one node after the other.
fn plain_root(leaves: &[Hash]) -> Hash {
    let mut layer = leaves.to_vec();
    let mut padding = keccak(b"refute.padding");
    while layer.len() > 1 {
        let right = |pair: &[Hash]| pair.get(1).copied().unwrap_or(padding);
        layer = layer.chunks(2).map(|pair| node_hash(&pair[0], &right(pair))).collect();
        padding = node_hash(&padding, &padding);
    }
    layer[0]
}

fn plain_root_of_bytes(bytes: &[u8]) -> Hash {
    let leaves: Vec<Hash> = bytes.chunks(1024).map(leaf_hash).collect();
    plain_root(&leaves)
}

/// The nodes of a tree against `rs_merkle`'s over the padded leaves.
fn assert_nodes(tree: &Tree, leaves: &[Hash]) {
    let mut padded = leaves.to_vec();
    padded.resize(leaves.len().next_power_of_two(), zero(Level(0)));
    let library = MerkleTree::<Keccak>::from_leaves(&padded);
    assert_eq!(Some(tree.root()), library.root());
    for leaf in 0..leaves.len() {
        let proof = library.proof(&[leaf]);
        assert_eq!(tree.path(Index(leaf as u32)).unwrap(), proof.proof_hashes());
    }
}

#[test]
fn trees_of_all_small_sizes_at_once() {
    let leaves: Vec<Vec<Hash>> = (1..=67).map(|count| hashes(count, count as u32)).collect();
    let trees = Tree::many(leaves.clone()).unwrap();
    assert_eq!(trees.len(), leaves.len());
    for (tree, leaves) in trees.iter().zip(&leaves) {
        assert_nodes(tree, leaves);
        assert_eq!(tree, &Tree::new(leaves.clone()).unwrap());
    }
    let expected: Vec<Hash> = leaves.iter().map(|leaves| plain_root(leaves)).collect();
    assert_eq!(roots(&leaves).unwrap(), expected);
}

#[test]
fn roots_of_tensors_of_many_lengths() {
    let lens = [1, 387, 387, 1023, 1024, 1025, 1536, 2048, 10_280, 70_000, 3, 1024 * 8 + 1];
    let tensors: Vec<Vec<u8>> =
        lens.iter().map(|len| (0..*len).map(|i| i as u8).collect()).collect();
    let slices: Vec<&[u8]> = tensors.iter().map(Vec::as_slice).collect();
    let expected: Vec<Hash> = slices.iter().map(|bytes| plain_root_of_bytes(bytes)).collect();
    assert_eq!(roots_of_bytes(&slices).unwrap(), expected);
    let trees = Tree::many_of_bytes(&slices).unwrap();
    assert_eq!(trees.iter().map(Tree::root).collect::<Vec<_>>(), expected);
    for (tree, bytes) in trees.iter().zip(&slices) {
        assert_eq!(tree, &Tree::of_bytes(bytes).unwrap());
    }
    for at in [0, 1, 300, 1023, 1024, 1025, 4096] {
        let pieces: Vec<_> = slices.iter().map(|b| b.split_at(at.min(b.len()))).collect();
        assert_eq!(roots_of_pieces(&pieces).unwrap(), expected, "split at {at}");
    }
}

#[test]
fn nothing_has_no_root() {
    assert_eq!(roots_of_bytes(&[]), Ok(vec![]));
    assert_eq!(roots_of_bytes(&[&[1], &[]]), Err(MerkleError::Empty));
    assert_eq!(roots_of_pieces(&[(&[], &[])]), Err(MerkleError::Empty));
    assert_eq!(roots(&[vec![[1; 32]], vec![]]), Err(MerkleError::Empty));
    assert_eq!(Tree::many(vec![]), Ok(vec![]));
    assert_eq!(Tree::many(vec![vec![[1; 32]], vec![]]), Err(MerkleError::Empty));
    assert_eq!(Tree::many_of_bytes(&[&[], &[1]]), Err(MerkleError::Empty));
    assert_eq!(Tree::join(vec![]), Err(MerkleError::Empty));
}

#[test]
fn parts_of_every_size_join() {
    for count in 1..=70 {
        let leaves = hashes(count, 7);
        let whole = Tree::new(leaves.clone()).unwrap();
        for width in [1, 2, 4, 8, 16, 32, 64, 128] {
            let parts = Tree::many(leaves.chunks(width).map(<[Hash]>::to_vec).collect()).unwrap();
            assert_eq!(Tree::join(parts), Ok(whole.clone()), "{count} in parts of {width}");
        }
    }
}

#[test]
fn uneven_parts_do_not_join() {
    let parts = |sizes: &[usize]| sizes.iter().map(|n| Tree::new(hashes(*n, 0)).unwrap()).collect();
    for sizes in [&[3, 3][..], &[2, 4], &[4, 2, 4], &[4, 2, 2], &[4, 5], &[6, 1], &[1, 2]] {
        assert_eq!(Tree::join(parts(sizes)), Err(MerkleError::Parts), "{sizes:?}");
    }
    // One part alone may have any size.
    assert_eq!(Tree::join(parts(&[6])), Tree::new(hashes(6, 0)));
}

proptest! {
    #[test]
    fn any_trees_together(sizes in prop::collection::vec(1usize..90, 0..12), seed: u32) {
        let leaves: Vec<Vec<Hash>> = sizes.iter().map(|n| hashes(*n, seed)).collect();
        let expected: Vec<Hash> = leaves.iter().map(|leaves| plain_root(leaves)).collect();
        prop_assert_eq!(&roots(&leaves).unwrap(), &expected);
        let trees = Tree::many(leaves.clone()).unwrap();
        for (tree, leaves) in trees.iter().zip(&leaves) {
            assert_nodes(tree, leaves);
            let position = Position { level: tree.depth(), index: Index(0) };
            let revealed = tree.children(position, tree.depth().0).unwrap();
            prop_assert_eq!(&revealed, leaves);
            let folded = fold_children(&revealed, position, tree.depth().0, tree.leaves());
            prop_assert_eq!(folded, Ok(tree.root()));
        }
    }

    #[test]
    fn any_tensors_together(
        tensors in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 1..5000), any::<usize>()),
            0..8,
        ),
    ) {
        let slices: Vec<&[u8]> = tensors.iter().map(|(bytes, _)| bytes.as_slice()).collect();
        let expected: Vec<Hash> = slices.iter().map(|bytes| plain_root_of_bytes(bytes)).collect();
        prop_assert_eq!(&roots_of_bytes(&slices).unwrap(), &expected);
        let pieces: Vec<_> =
            tensors.iter().map(|(bytes, at)| bytes.split_at(at % (bytes.len() + 1))).collect();
        prop_assert_eq!(&roots_of_pieces(&pieces).unwrap(), &expected);
    }
}
