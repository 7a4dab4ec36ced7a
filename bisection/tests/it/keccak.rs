//! Hashing on lanes gives what the `sha3` crate gives, whatever the lanes, lengths and numbers.

use proptest::prelude::*;
use refute_bisection::keccak::{self, Lanes, Message};
use refute_bisection::merkle::Hash;
use sha3::{Digest, Keccak256};

/// Bytes in a block of keccak-256.
const RATE: usize = 136;

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    (0..len).map(byte).collect()
}

fn sha3_of(label: u8, bytes: &[u8]) -> Hash {
    Keccak256::digest([&[label][..], bytes].concat()).into()
}

/// Hashes leaves on every kind of lanes that this machine has.
fn assert_leaves(leaves: &[Vec<u8>], what: &str) {
    let expected: Vec<Hash> = leaves.iter().map(|bytes| sha3_of(0x00, bytes)).collect();
    let messages: Vec<Message<'_>> = leaves.iter().map(|bytes| Message::leaf(bytes)).collect();
    for lanes in Lanes::available() {
        assert_eq!(lanes.hash(&messages), expected, "{what} on {}", lanes.name());
    }
    assert_eq!(keccak::hash(messages), expected, "{what}");
}

#[test]
fn lanes_of_this_machine() {
    let names: Vec<&str> = Lanes::available().iter().map(|lanes| lanes.name()).collect();
    assert_eq!(names.last(), Some(&"portable"));
    assert_eq!(Lanes::widest().name(), names[0]);
    #[cfg(target_arch = "x86_64")]
    {
        assert_eq!(names.contains(&"avx512"), is_x86_feature_detected!("avx512f"));
        assert_eq!(names.contains(&"avx2"), is_x86_feature_detected!("avx2"));
    }
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    {
        let detected = std::arch::is_aarch64_feature_detected!("sha3");
        assert_eq!(names.contains(&"neon"), detected);
    }
}

#[test]
fn every_length() {
    for len in 0..=600 {
        // Other bytes in every lane, and a tail of one message.
        let leaves: Vec<Vec<u8>> =
            (0..9).map(|lane| noise(len, 1000 * len as u64 + lane)).collect();
        assert_leaves(&leaves, &format!("{len} bytes"));
    }
}

#[test]
fn lengths_around_whole_blocks() {
    for blocks in 1..=16 {
        for len in blocks * RATE - 3..=blocks * RATE + 2 {
            let leaves: Vec<Vec<u8>> = (0..8).map(|lane| noise(len, lane)).collect();
            assert_leaves(&leaves, &format!("{len} bytes"));
        }
    }
}

#[test]
fn every_number_of_messages() {
    assert_leaves(&[], "nothing");
    for count in 1..=17 {
        for len in [0, 1, 134, 135, 136, 387, 1024] {
            let leaves: Vec<Vec<u8>> = (0..count).map(|i| noise(len, i)).collect();
            assert_leaves(&leaves, &format!("{count} of {len} bytes"));
        }
    }
    // More than are listed at a time.
    let leaves: Vec<Vec<u8>> = (0..2500).map(|i| noise(i % 300, i as u64)).collect();
    assert_leaves(&leaves, "2500 leaves");
}

#[test]
fn one_long_message_among_short_ones() {
    for at in 0..17 {
        for others in [0, 100, 400] {
            let len = |i| if i == at { 5000 } else { others };
            let leaves: Vec<Vec<u8>> = (0..17).map(|i| noise(len(i), i as u64)).collect();
            assert_leaves(&leaves, &format!("long at {at}, others of {others}"));
        }
    }
}

#[test]
fn saturated_bytes_keep_to_their_lane() {
    // All ones beside all zeros: whatever leaks from a lane to the next changes a digest.
    for one in 0..8 {
        let byte = |i| if i == one { 0xff } else { 0 };
        let leaves: Vec<Vec<u8>> = (0..8).map(|i| vec![byte(i); 300]).collect();
        assert_leaves(&leaves, &format!("ones in lane {one}"));
    }
}

#[test]
fn a_leaf_in_two_is_the_leaf_in_one() {
    for len in [0, 1, 135, 136, 137, 271, 272, 387, 1024] {
        let bytes = noise(len, len as u64);
        let expected = sha3_of(0x00, &bytes);
        let halves = (0..=len).map(|at| bytes.split_at(at));
        let messages: Vec<_> = halves.map(|(a, b)| Message::leaf_in_two(a, b)).collect();
        for lanes in Lanes::available() {
            let digests = lanes.hash(&messages);
            assert!(digests.iter().all(|digest| *digest == expected), "{len} {}", lanes.name());
        }
    }
}

#[test]
fn nodes_beside_leaves() {
    let hashes: Vec<Hash> = (0..34u8).map(|i| sha3_of(0x00, &[i])).collect();
    let pairs = || hashes.chunks(2).map(|pair| (&pair[0], &pair[1]));
    let bytes = noise(1024, 3);
    let messages: Vec<_> = pairs()
        .flat_map(|(a, b)| [Message::node(a, b), Message::leaf(&bytes), Message::leaf(a)])
        .collect();
    let expected: Vec<Hash> = pairs()
        .flat_map(|(a, b)| {
            let node = sha3_of(0x01, &[&a[..], b].concat());
            [node, sha3_of(0x00, &bytes), sha3_of(0x00, a)]
        })
        .collect();
    for lanes in Lanes::available() {
        assert_eq!(lanes.hash(&messages), expected, "{}", lanes.name());
    }
    let one_by_one: Vec<Hash> = messages.iter().map(Message::digest).collect();
    assert_eq!(one_by_one, expected);
}

proptest! {
    #[test]
    fn any_messages_together(
        leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..40),
    ) {
        assert_leaves(&leaves, "any");
    }
}
