//! Many keccak-256 at once: one message per SIMD lane, bit for bit what the `sha3` crate gives.
//!
//! Trees hash thousands of short messages that don't depend on one another, and one permutation
//! keeps a core's vector units mostly idle. So [`Lanes`] runs as many permutations side by side as
//! a vector has 64-bit lanes: eight with AVX-512, four with AVX2, two with the SHA-3 instructions
//! of ARMv8; where there is none of these, the `sha3` crate hashes one message after the other.
//! Which of them runs is decided while the program runs, and never shows in a digest.
//!
//! Messages of any lengths can be handed over together. Those with equally many blocks share a
//! vector; where the counts differ within one, a lane whose message has ended idles.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))]
mod sponge;

use crate::merkle::Hash;
use sha3::{Digest, Keccak256};
use std::sync::LazyLock;

/// Messages that are listed at a time: a tree may have millions.
const BATCH_MESSAGES: usize = 1 << 10;

/// Prepended to the bytes of a leaf.
const LEAF: u8 = 0x00;

/// Prepended to the two children of a node.
const NODE: u8 = 0x01;

/// What is hashed: a label, then one or two pieces of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    label: u8,
    first: &'a [u8],
    second: &'a [u8],
}

impl<'a> Message<'a> {
    /// `0x00 ‖ bytes`: a leaf.
    pub const fn leaf(bytes: &'a [u8]) -> Self {
        Self { label: LEAF, first: bytes, second: &[] }
    }

    /// `0x00 ‖ first ‖ second`: a leaf whose bytes lie in two places.
    pub const fn leaf_in_two(first: &'a [u8], second: &'a [u8]) -> Self {
        Self { label: LEAF, first, second }
    }

    /// `0x01 ‖ left ‖ right`: an inner node.
    pub const fn node(left: &'a Hash, right: &'a Hash) -> Self {
        Self { label: NODE, first: left, second: right }
    }

    /// The digest, by the `sha3` crate.
    pub fn digest(&self) -> Hash {
        let mut hasher = Keccak256::new();
        hasher.update([self.label]);
        hasher.update(self.first);
        hasher.update(self.second);
        hasher.finalize().into()
    }
}

/// A way to hash on this machine.
#[derive(Debug, Clone, Copy)]
pub struct Lanes(Kind);

/// Each variant holds the proof that the machine has the instructions.
#[derive(Debug, Clone, Copy)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Detected),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Detected),
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Neon(neon::Detected),
    Portable,
}

impl Lanes {
    /// All that this machine can do, the fastest first; the portable one is always the last.
    pub fn available() -> Vec<Self> {
        let kinds = [
            #[cfg(target_arch = "x86_64")]
            avx512::Detected::detect().map(Kind::Avx512),
            #[cfg(target_arch = "x86_64")]
            avx2::Detected::detect().map(Kind::Avx2),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            neon::Detected::detect().map(Kind::Neon),
            Some(Kind::Portable),
        ];
        kinds.into_iter().flatten().map(Self).collect()
    }

    /// The fastest that this machine can do.
    pub fn widest() -> Self {
        static WIDEST: LazyLock<Lanes> = LazyLock::new(|| Lanes::available()[0]);
        *WIDEST
    }

    /// What it is called: the name of the instructions.
    pub const fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Kind::Neon(_) => "neon",
            Kind::Portable => "portable",
        }
    }

    /// The digests of `messages`, in their order.
    pub fn hash(self, messages: &[Message<'_>]) -> Vec<Hash> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(detected) => {
                sponge::hash_in_groups(messages, |group| detected.hash(group))
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(detected) => sponge::hash_in_groups(messages, |group| detected.hash(group)),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Kind::Neon(detected) => sponge::hash_in_groups(messages, |group| detected.hash(group)),
            Kind::Portable => messages.iter().map(Message::digest).collect(),
        }
    }
}

/// The digests of `messages`, in their order, on as many lanes as this machine has.
pub fn hash<'a>(messages: impl IntoIterator<Item = Message<'a>>) -> Vec<Hash> {
    let (lanes, mut messages) = (Lanes::widest(), messages.into_iter());
    let (mut batch, mut digests) = (Vec::new(), Vec::with_capacity(messages.size_hint().0));
    loop {
        batch.clear();
        batch.extend(messages.by_ref().take(BATCH_MESSAGES));
        if batch.is_empty() {
            return digests;
        }
        digests.extend(lanes.hash(&batch));
    }
}
