//! Every op in plain scalar Rust: the text of the README in code.
//!
//! An op that folds has `unit`, which folds one unit onto an accumulator, and `finalize` (or a
//! function named after its result); this is what a dispute is decided by. `forward` computes a
//! whole tensor and may take short cuts, each with the argument why it gives the same bits. All of
//! them are total: no bit pattern of a value panics. Lengths that don't fit together are the
//! caller's mistake, and `forward` panics on them.

mod decoder;
pub mod embed;
pub mod linear;
pub mod max;
pub mod mix;
pub mod noise;
pub mod probs;
pub mod quantize;
pub mod rms_norm;
pub mod rope;
pub mod sample;
pub mod scores;
pub mod sum;
pub mod swiglu;

pub use decoder::Reference;
pub use sample::Sampling;

/// Where a `MAX` fold starts: below everything.
pub const MAX_INIT: i128 = i128::MIN;

/// The shape of an attention: `heads` query heads share `kv` heads of keys and values of `len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads, a multiple of `kv`.
    pub heads: usize,
    /// Heads of K and V.
    pub kv: usize,
    /// Elements of a head.
    pub len: usize,
}

impl Heads {
    /// The KV head that query head `head` reads.
    ///
    /// # Panics
    /// If there are no KV heads, or more of them than query heads.
    #[must_use]
    pub fn kv_of(&self, head: usize) -> usize {
        head / (self.heads / self.kv)
    }

    /// Positions that a `[head][position]` tensor of this length has.
    fn positions(&self, scores_len: usize) -> usize {
        assert!(self.kv > 0 && self.heads.is_multiple_of(self.kv), "heads share KV heads evenly");
        per_head(self.heads, scores_len)
    }
}

/// Length of each head's row in a `[head][position]` tensor.
fn per_head(heads: usize, len: usize) -> usize {
    assert!(heads > 0 && len.is_multiple_of(heads), "every head has the same number of positions");
    len / heads
}
