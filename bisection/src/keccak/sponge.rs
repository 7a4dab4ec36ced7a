//! What the vector implementations share: blocks with their padding, and the permutation written
//! once over the few vector operations that each of them supplies.

use super::Message;
use crate::merkle::Hash;
use std::cmp::Reverse;

/// Bytes that keccak-256 absorbs per permutation.
pub(super) const RATE: usize = 136;

/// The constants of keccak-f[1600].
pub(super) const ROUNDS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// A block of bytes, as it is absorbed.
pub(super) type Block = [u8; RATE];

impl Message<'_> {
    /// Length in bytes, the label included.
    const fn len(&self) -> usize {
        1 + self.first.len() + self.second.len()
    }

    /// Permutations that it takes. There is always room for a byte of padding.
    pub(super) const fn blocks(&self) -> usize {
        self.len() / RATE + 1
    }

    /// Block `index` with its padding: a part of the message itself where there is nothing to add,
    /// else copied together in `scratch`. Blocks after the last are of no consequence.
    pub(super) fn block<'b>(&'b self, index: usize, scratch: &'b mut Block) -> &'b Block {
        let start = index * RATE;
        // The label comes before the first byte of the first piece.
        let inside = start.checked_sub(1).and_then(|offset| self.first.get(offset..));
        if let Some(block) = inside.and_then(<[u8]>::first_chunk) {
            return block;
        }
        *scratch = [0; RATE];
        if index == 0 {
            scratch[0] = self.label;
        }
        copy_overlap(scratch, start, self.first, 1);
        copy_overlap(scratch, start, self.second, 1 + self.first.len());
        if index + 1 == self.blocks() {
            scratch[self.len() - start] ^= 0x01;
            scratch[RATE - 1] ^= 0x80;
        }
        scratch
    }
}

/// Copies what a piece that begins at `at` of a message has in the block that begins at `start`.
fn copy_overlap(block: &mut Block, start: usize, piece: &[u8], at: usize) {
    let from = start.saturating_sub(at).min(piece.len());
    let into = (at + from).saturating_sub(start).min(RATE);
    let count = (piece.len() - from).min(RATE - into);
    block[into..into + count].copy_from_slice(&piece[from..from + count]);
}

/// Block `index` of every message of a group.
pub(super) fn blocks<'b, const N: usize>(
    group: &'b [Message<'_>; N],
    index: usize,
    scratch: &'b mut [Block; N],
) -> [&'b Block; N] {
    let mut blocks = [&[0; RATE]; N];
    for ((block, message), scratch) in blocks.iter_mut().zip(group).zip(scratch) {
        *block = message.block(index, scratch);
    }
    blocks
}

/// The digests of messages in their order, `hash_group` being given as many at once as it has lanes.
/// Those with the most blocks go first, so that the lanes of a vector end together where they can;
/// lanes that are left over repeat a message.
pub(super) fn hash_in_groups<const N: usize>(
    messages: &[Message<'_>],
    hash_group: impl Fn(&[Message<'_>; N]) -> [Hash; N],
) -> Vec<Hash> {
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|index| Reverse(messages[*index].blocks()));
    let mut digests = vec![[0; 32]; messages.len()];
    for group in order.chunks(N) {
        if let [alone] = group {
            digests[*alone] = messages[*alone].digest();
            continue;
        }
        let lanes = std::array::from_fn(|lane| messages[group[lane.min(group.len() - 1)]]);
        for (index, digest) in group.iter().zip(hash_group(&lanes)) {
            digests[*index] = digest;
        }
    }
    digests
}

/// Defines `hash_group` and `permute` over `$lanes` lanes of a `$vector`, with these functions of
/// the module that calls it, all of them lane by lane:
///
/// - `absorb(state, blocks)`: words of the blocks, little-endian, onto words 0 … 16 of the state;
/// - `xor3(a, b, c)`: `a ^ b ^ c`;
/// - `theta(a, b)`: `a ^ (b <<< 1)`;
/// - `rho::<L, R>(a, d)`: `(a ^ d) <<< L`, `R` being `64 − L`;
/// - `chi(a, b, c)`: `a ^ (!b & c)`;
/// - `xor(a, b)`, `zero()`, `splat(word)`: the same word in every lane;
/// - `words(vector)`: the word of each lane.
macro_rules! sponge {
    ($features:literal, $lanes:literal, $vector:ty) => {
        #[target_feature(enable = $features)]
        fn hash_group(group: &[Message<'_>; $lanes]) -> [Hash; $lanes] {
            let mut digests = [[0; 32]; $lanes];
            let mut scratch = [[0; RATE]; $lanes];
            let mut state = [zero(); 25];
            let counts = group.map(|message| message.blocks());
            for index in 0..counts.into_iter().max().unwrap_or_default() {
                absorb(&mut state, blocks(group, index, &mut scratch));
                permute(&mut state);
                if !counts.contains(&(index + 1)) {
                    continue;
                }
                let words = [state[0], state[1], state[2], state[3]].map(|word| words(word));
                for (lane, digest) in digests.iter_mut().enumerate() {
                    if counts[lane] == index + 1 {
                        let words = words.map(|word| word[lane].to_le_bytes());
                        digest.copy_from_slice(words.as_flattened());
                    }
                }
            }
            digests
        }

        /// The permutation. Word `(x, y)` of the state is `a[x + 5y]`; row `y` of the state after
        /// rho and pi is gathered from a diagonal of the state before.
        #[target_feature(enable = $features)]
        fn permute(state: &mut [$vector; 25]) {
            macro_rules! rho {
                ($a:expr, $d:expr, $by:literal) => {
                    rho::<$by, { 64 - $by }>($a, $d)
                };
            }
            let mut a = *state;
            for constant in ROUNDS {
                let c: [$vector; 5] = [
                    xor3(xor3(a[0], a[5], a[10]), a[15], a[20]),
                    xor3(xor3(a[1], a[6], a[11]), a[16], a[21]),
                    xor3(xor3(a[2], a[7], a[12]), a[17], a[22]),
                    xor3(xor3(a[3], a[8], a[13]), a[18], a[23]),
                    xor3(xor3(a[4], a[9], a[14]), a[19], a[24]),
                ];
                let d: [$vector; 5] = [
                    theta(c[4], c[1]),
                    theta(c[0], c[2]),
                    theta(c[1], c[3]),
                    theta(c[2], c[4]),
                    theta(c[3], c[0]),
                ];
                let b: [[$vector; 5]; 5] = [
                    [
                        xor(a[0], d[0]),
                        rho!(a[6], d[1], 44),
                        rho!(a[12], d[2], 43),
                        rho!(a[18], d[3], 21),
                        rho!(a[24], d[4], 14),
                    ],
                    [
                        rho!(a[3], d[3], 28),
                        rho!(a[9], d[4], 20),
                        rho!(a[10], d[0], 3),
                        rho!(a[16], d[1], 45),
                        rho!(a[22], d[2], 61),
                    ],
                    [
                        rho!(a[1], d[1], 1),
                        rho!(a[7], d[2], 6),
                        rho!(a[13], d[3], 25),
                        rho!(a[19], d[4], 8),
                        rho!(a[20], d[0], 18),
                    ],
                    [
                        rho!(a[4], d[4], 27),
                        rho!(a[5], d[0], 36),
                        rho!(a[11], d[1], 10),
                        rho!(a[17], d[2], 15),
                        rho!(a[23], d[3], 56),
                    ],
                    [
                        rho!(a[2], d[2], 62),
                        rho!(a[8], d[3], 55),
                        rho!(a[14], d[4], 39),
                        rho!(a[15], d[0], 41),
                        rho!(a[21], d[1], 2),
                    ],
                ];
                for (row, b) in a.chunks_exact_mut(5).zip(b) {
                    for x in 0..5 {
                        row[x] = chi(b[x], b[(x + 1) % 5], b[(x + 2) % 5]);
                    }
                }
                a[0] = xor(a[0], splat(constant));
            }
            *state = a;
        }
    };
}

pub(super) use sponge;
