//! Trees: agreement with `rs_merkle` used plainly, padding, paths, reveals, large trees.

use proptest::prelude::*;
use refute_bisection::merkle::*;
use refute_bisection::position::{Index, Level, Position};
use rs_merkle::{MerkleProof, MerkleTree};

fn leaves(n: u32) -> Vec<Hash> {
    (0..n).map(|i| leaf_hash(&i.to_le_bytes())).collect()
}

fn padded(mut leaves: Vec<Hash>) -> Vec<Hash> {
    leaves.resize(leaves.len().next_power_of_two(), zero(Level(0)));
    leaves
}

/// The definition of the README, written as such.
fn naive_node(leaves: &[Hash], level: u32, index: usize) -> Hash {
    if level == 0 {
        return leaves.get(index).copied().unwrap_or_else(|| keccak(b"refute.padding"));
    }
    let left = naive_node(leaves, level - 1, 2 * index);
    let right = naive_node(leaves, level - 1, 2 * index + 1);
    keccak(&[&[1][..], &left, &right].concat())
}

#[test]
fn keccak_is_the_ethereum_one() {
    let empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
    let hex: String = keccak(b"").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, empty);
    assert_eq!(leaf_hash(b"abc"), keccak(b"\x00abc"));
}

#[test]
fn sizes_of_trees() {
    let depths = [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (u32::MAX, 32)];
    for (n, d) in depths {
        assert_eq!(depth(n), Level(d), "{n} leaves");
        assert_eq!(real_nodes(n, Level(d)), 1);
    }
    assert_eq!(real_nodes(5, Level(1)), 3);
    assert_eq!(real_nodes(5, Level(2)), 2);
    assert_eq!(real_nodes(u32::MAX, Level(0)), u32::MAX);
}

#[test]
fn trees_of_every_small_size_are_the_definition() {
    for n in 1..=33 {
        let leaves = leaves(n);
        let tree = Tree::new(leaves.clone()).unwrap();
        let d = depth(n).0;
        assert_eq!((tree.leaves(), tree.depth()), (n, Level(d)));
        for level in 0..=d {
            for index in 0..1 << (d - level) {
                let node = tree.node(Position::new(level, index)).unwrap();
                assert_eq!(node, naive_node(&leaves, level, index as usize), "{n} {level}:{index}");
            }
            assert_eq!(tree.node(Position::new(level, 1 << (d - level))), None);
        }
        assert_eq!(tree.node(Position::new(d + 1, 0)), None);
    }
}

#[test]
fn roots_and_proofs_are_those_of_rs_merkle() {
    for n in (1..=20).chain([1023, 1024, 1025, 2500]) {
        let leaves = leaves(n);
        let full = padded(leaves.clone());
        let library = MerkleTree::<Keccak>::from_leaves(&full);
        let tree = Tree::new(leaves.clone()).unwrap();
        assert_eq!(Some(tree.root()), library.root(), "{n} leaves");
        for i in (0..n).step_by(1 + n as usize / 40) {
            let proof = library.proof(&[i as usize]);
            let path = tree.path(Index(i)).unwrap();
            assert_eq!(path, proof.proof_hashes(), "leaf {i} of {n}");
            assert!(verify_path(leaves[i as usize], Index(i), &path, depth(n), tree.root()));
            let ours = MerkleProof::<Keccak>::new(path);
            assert!(ours.verify(tree.root(), &[i as usize], &[leaves[i as usize]], full.len()));
        }
    }
}

#[test]
fn a_hundred_thousand_leaves_over_several_bands() {
    let n = 100_003;
    let leaves = leaves(n);
    let tree = Tree::new(leaves.clone()).unwrap();
    assert_eq!(tree.depth(), Level(17));
    for i in [0, 1, 1023, 1024, 65_535, 65_536, 99_999, n - 1] {
        let path = tree.path(Index(i)).unwrap();
        assert!(verify_path(leaves[i as usize], Index(i), &path, Level(17), tree.root()));
    }
    assert_eq!(tree.node(Position::new(16, 1)), Some(naive_node(&leaves, 16, 1)));
}

#[test]
fn a_tree_of_nothing_is_an_error() {
    assert_eq!(Tree::new(vec![]), Err(MerkleError::Empty));
    assert_eq!(Tree::of_bytes(&[]), Err(MerkleError::Empty));
    assert_eq!(token_root(&[]), Err(MerkleError::Empty));
}

#[test]
fn leaves_of_bytes_and_tokens() {
    let bytes = vec![7; 2500];
    let lengths: Vec<usize> = bytes_leaves(&bytes).iter().map(|leaf| leaf.len()).collect();
    assert_eq!(lengths, [1024, 1024, 452]);
    let tokens: Vec<u32> = (0..600).collect();
    let tree = token_tree(&tokens).unwrap();
    assert_eq!(tree.leaves(), 3);
    assert_eq!(token_leaf(&tokens, Index(2)).len(), 4 * 88);
    assert!(token_leaf(&tokens, Index(3)).is_empty());
    assert_eq!(&token_leaf(&tokens, Index(1))[..8], [0, 1, 0, 0, 1, 1, 0, 0]);
    assert_eq!(token_root(&[258]).unwrap(), leaf_hash(&[2, 1, 0, 0]));
}

#[test]
fn a_reveal_is_exactly_the_real_nodes() {
    for n in 1..=17 {
        let tree = Tree::new(leaves(n)).unwrap();
        for level in 0..=tree.depth().0 {
            for index in 0..real_nodes(n, Level(level)) {
                let position = Position::new(level, index);
                for down in 0..=level {
                    let children = tree.children(position, down).unwrap();
                    let node = tree.node(position).unwrap();
                    assert_eq!(fold_children(&children, position, down, n), Ok(node));
                    assert_reveal_is_tight(&children, position, down, n, node);
                }
                assert!(tree.children(position, level + 1).is_err());
            }
            let padding = Position::new(level, real_nodes(n, Level(level)));
            assert!(tree.children(padding, 0).is_err(), "{n} {padding}");
        }
    }
}

/// One child more (even the right padding), one fewer, or another one is refused.
fn assert_reveal_is_tight(children: &[Hash], at: Position, down: u32, n: u32, node: Hash) {
    let got = |children: &[Hash]| fold_children(children, at, down, n);
    let more = [children, &[zero(Level(at.level.0 - down))]].concat();
    let expected = children.len() as u32;
    assert_eq!(got(&more), Err(MerkleError::Children { expected, got: more.len() }));
    let fewer = &children[1..];
    assert_eq!(got(fewer), Err(MerkleError::Children { expected, got: fewer.len() }));
    for i in 0..children.len() {
        let mut other = children.to_vec();
        other[i][31] ^= 1;
        assert_ne!(got(&other), Ok(node));
    }
}

#[test]
fn an_inner_node_is_no_leaf() {
    // A shorter path from higher up leads to the same root: only its length gives it away.
    let leaves = leaves(6);
    let tree = Tree::new(leaves).unwrap();
    let (root, d) = (tree.root(), tree.depth());
    assert!(!verify_path(root, Index(0), &[], d, root));
    let left = tree.node(Position::new(2, 0)).unwrap();
    let right = tree.node(Position::new(2, 1)).unwrap();
    assert_eq!(root_of_path(left, Index(0), &[right]), root);
    assert!(!verify_path(left, Index(0), &[right], d, root));
    assert!(verify_path(left, Index(0), &[right], Level(1), root));
    // And the other way round: a leaf's path is too long for a smaller tree.
    let path = tree.path(Index(1)).unwrap();
    let leaf = tree.node(Position::new(0, 1)).unwrap();
    assert!(verify_path(leaf, Index(1), &path, d, root));
    assert!(!verify_path(leaf, Index(1), &path, Level(2), root));
}

proptest! {
    #[test]
    fn every_mutation_of_a_proof_fails(
        n in 1u32..200, pick in any::<u32>(), byte in 0usize..32, bit in 0u8..8, at in any::<usize>(),
    ) {
        let leaves = leaves(n);
        let tree = Tree::new(leaves.clone()).unwrap();
        let (i, d, root) = (pick % n, tree.depth(), tree.root());
        let leaf = leaves[i as usize];
        let path = tree.path(Index(i)).unwrap();
        let flip = |hash: &mut Hash| hash[byte] ^= 1 << bit;
        prop_assert!(verify_path(leaf, Index(i), &path, d, root));
        let mut other = leaf;
        flip(&mut other);
        prop_assert!(!verify_path(other, Index(i), &path, d, root));
        let mut other = root;
        flip(&mut other);
        prop_assert!(!verify_path(leaf, Index(i), &path, d, other));
        prop_assert!(!verify_path(leaf, Index(i), &[path.clone(), vec![root]].concat(), d, root));
        let beyond = Index(i | 1u32.checked_shl(d.0).unwrap_or(1 << 31));
        prop_assert!(!verify_path(leaf, beyond, &path, d, root));
        if !path.is_empty() {
            let at = at % path.len();
            let mut other = path.clone();
            flip(&mut other[at]);
            prop_assert!(!verify_path(leaf, Index(i), &other, d, root));
            prop_assert!(!verify_path(leaf, Index(i ^ 1 << at), &path, d, root));
            prop_assert!(!verify_path(leaf, Index(i), &path[1..], d, root));
        }
    }

    #[test]
    fn positions_outside_never_panic(n in any::<u32>(), level in 0u32..40, index in any::<u32>(),
        down in 0u32..40) {
        let window = Position::new(level, index).window(n, down);
        if let Ok(window) = window {
            prop_assert!(window.count >= 1);
            prop_assert!(u64::from(window.first.0) + u64::from(window.count)
                <= real_nodes(n, window.level).into());
        }
    }
}
