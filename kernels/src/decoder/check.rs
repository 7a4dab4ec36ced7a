//! Whether sizes fit together: of a decoder, and of what a sequence is given.
//!
//! Every backend checks with these functions before it computes, so that none of them can be made
//! to read out of bounds, and all of them refuse the same inputs.

use super::{Decoder, Linear, Matrix, Norm};
use crate::backend::{BackendError, Head, Rows};
use crate::{Format, Heads};

/// Bits of a K value, and its largest shift: an Fx has 31 bits.
const K_LIMITS: (i16, u8) = ((1 << 11) - 1, 31 - 11);
/// The same of a V value.
const V_LIMITS: (i16, u8) = ((1 << 12) - 1, 31 - 12);

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), BackendError> {
    if holds { Ok(()) } else { Err(BackendError::Model(what())) }
}

fn input(holds: bool, what: impl FnOnce() -> String) -> Result<(), BackendError> {
    if holds { Ok(()) } else { Err(BackendError::Input(what())) }
}

impl Matrix {
    fn check(&self, name: &str, rows: usize, cols: usize) -> Result<(), BackendError> {
        let shape = (self.rows, self.cols);
        ensure(self.format != Format::I32, || format!("{name} has no blocks"))?;
        ensure(shape == (rows, cols) && cols.is_multiple_of(32), || {
            format!("{name} is {shape:?} where ({rows}, {cols}) in blocks of 32 is needed")
        })?;
        ensure(rows.checked_mul(self.format.row_bytes(cols)) == Some(self.bytes.len()), || {
            format!("{name} has {} bytes, which is not its rows", self.bytes.len())
        })
    }
}

impl Linear {
    fn check(&self, name: &str, rows: usize, cols: usize) -> Result<(), BackendError> {
        self.weights.check(name, rows, cols)?;
        ensure(self.bias.as_ref().is_none_or(|b| b.len() == rows), || {
            format!("the bias of {name} has not one value a row")
        })
    }
}

impl Norm {
    fn check(&self, name: &str, len: usize) -> Result<(), BackendError> {
        ensure(self.weights.len() == len, || format!("{name} has not {len} weights"))
    }
}

impl Decoder {
    /// The shape of the attention.
    #[must_use]
    pub fn attention(&self) -> Heads {
        Heads { heads: self.heads, kv: self.kv, len: self.head_len }
    }

    /// Checks all sizes against each other and against the limits of the numerics.
    ///
    /// # Errors
    /// The first that doesn't fit.
    pub fn check(&self) -> Result<(), BackendError> {
        let Self { width, hidden, heads, kv, head_len, .. } = *self;
        ensure(kv > 0 && heads > 0 && heads.is_multiple_of(kv), || {
            format!("{heads} query heads can't share {kv} heads of keys and values")
        })?;
        ensure((2..=256).contains(&head_len) && head_len.is_multiple_of(2), || {
            format!("a head has {head_len} elements: it must be even and at most 256")
        })?;
        ensure(self.rotated.is_multiple_of(2) && self.rotated <= head_len, || {
            format!("{} elements of a head of {head_len} can't be rotated", self.rotated)
        })?;
        let limit = 1 << 24;
        ensure(width.max(hidden) <= limit && width > 0 && hidden > 0, || {
            format!("rows of {width} and {hidden} elements: they have between 1 and {limit}")
        })?;
        let query = heads.checked_mul(head_len).filter(|&n| n <= limit);
        let query = query.ok_or_else(|| {
            BackendError::Model(format!("{heads} heads of {head_len} are too many"))
        })?;
        ensure((1..=1 << 31).contains(&self.vocabulary), || {
            format!("a vocabulary of {} tokens", self.vocabulary)
        })?;
        ensure(self.context <= 1 << 16, || format!("a context of {} positions", self.context))?;
        ensure(Some(self.rope.len()) == self.context.checked_mul(self.rotated), || {
            "the rope table has not one row a position".to_owned()
        })?;
        ensure(self.rope.iter().all(|v| v.unsigned_abs() <= 1 << 30), || {
            "the rope table has values above 1".to_owned()
        })?;
        ensure(self.score_scale < 1 << 31, || format!("a score scale of {}", self.score_scale))?;
        self.token_embd.check("token_embd", self.vocabulary, width)?;
        self.output_norm.check("output_norm", width)?;
        self.output.check("output", self.vocabulary, width)?;
        self.layers.iter().enumerate().try_for_each(|(l, layer)| {
            let name = |name: &str| format!("blk.{l}.{name}");
            layer.attn_norm.check(&name("attn_norm"), width)?;
            layer.attn_k.check(&name("attn_k"), kv * head_len, width)?;
            layer.attn_v.check(&name("attn_v"), kv * head_len, width)?;
            layer.attn_q.check(&name("attn_q"), query, width)?;
            layer.attn_output.check(&name("attn_output"), width, query)?;
            layer.ffn_norm.check(&name("ffn_norm"), width)?;
            layer.ffn_gate.check(&name("ffn_gate"), hidden, width)?;
            layer.ffn_up.check(&name("ffn_up"), hidden, width)?;
            layer.ffn_down.check(&name("ffn_down"), width, hidden)
        })
    }

    /// Checks the length of a new sequence.
    ///
    /// # Errors
    /// It is longer than the model's context.
    pub fn check_positions(&self, positions: usize) -> Result<(), BackendError> {
        input(positions <= self.context, || {
            format!("{positions} positions are more than the model's context of {}", self.context)
        })
    }

    /// Checks what `forward` is given, in a sequence that has room for `room` more positions.
    ///
    /// # Errors
    /// Too many tokens, one that is not in the vocabulary, more heads than tokens.
    pub fn check_tokens(
        &self,
        room: usize,
        tokens: &[u32],
        head: Head,
    ) -> Result<(), BackendError> {
        input(tokens.len() <= room, || {
            format!("{} positions don't fit: the sequence has room for {room}", tokens.len())
        })?;
        if let Some(token) = tokens.iter().find(|t| **t as usize >= self.vocabulary) {
            let vocabulary = self.vocabulary;
            return Err(BackendError::Input(format!("token {token} of {vocabulary}")));
        }
        input(head.positions() <= tokens.len(), || {
            format!("{} heads for {} tokens", head.positions(), tokens.len())
        })?;
        input(head.sampling().is_valid(), || {
            format!("no request can ask for {:?}", head.sampling())
        })
    }

    /// Checks what `push` is given, and counts its positions. Values that no Quantize step yields
    /// are refused, so that kernels may rely on their widths.
    ///
    /// # Errors
    /// Another number of slots, rows of another shape or beyond the room, values out of range.
    pub fn check_rows(&self, room: usize, carried: &[Rows]) -> Result<usize, BackendError> {
        let slots = 2 * self.layers.len();
        input(carried.len() == slots, || {
            format!("{} carried tensors of {slots} were given", carried.len())
        })?;
        let positions = carried.first().map_or(0, |rows| rows.shifts.len() / self.kv);
        input(positions <= room, || {
            format!("{positions} positions don't fit: the sequence has room for {room}")
        })?;
        for (slot, rows) in carried.iter().enumerate() {
            let groups = positions * self.kv;
            let fits = rows.shifts.len() == groups && rows.values.len() == groups * self.head_len;
            input(fits, || format!("carried tensor {slot} has another shape"))?;
            let (limit, shift) = if slot % 2 == 0 { K_LIMITS } else { V_LIMITS };
            let in_range = rows.values.iter().all(|v| v.unsigned_abs() <= limit.unsigned_abs())
                && rows.shifts.iter().all(|&s| s <= shift);
            input(in_range, || format!("carried tensor {slot} has values out of range"))?;
        }
        Ok(positions)
    }
}
