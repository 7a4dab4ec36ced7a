//! The team, and the rows between the steps of one part of a batch.

use super::BATCH;
use super::activations::Activations;
use super::attention::Scratch;
use super::team::Team;
use crate::decoder::Decoder;
use std::sync::Mutex;

/// Everything that `forward` works in, for up to [`BATCH`] positions. Grows with the longest batch
/// so far.
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) team: Team,
    pub(super) rows: Rows,
    /// One for each thread.
    pub(super) scratch: Vec<Mutex<Scratch>>,
}

/// Rows, one for each position of the part.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Positions that there is room for.
    len: usize,
    /// The residual stream.
    pub(super) x: Vec<i32>,
    pub(super) k: Vec<i32>,
    pub(super) v: Vec<i32>,
    pub(super) q: Vec<i32>,
    /// Quantized q in pairs, `[position][head][pair]`, and its shifts.
    pub(super) q_pairs: Vec<i32>,
    pub(super) q_shifts: Vec<u8>,
    /// `[position][head][element]`.
    pub(super) mixed: Vec<i32>,
    pub(super) product: Vec<i32>,
    /// Inputs of linears: norms, mixes, products.
    pub(super) normal: Activations,
    pub(super) mixed_quant: Activations,
    pub(super) product_quant: Activations,
}

impl Workspace {
    /// Bytes at most, without what attention needs.
    pub(super) fn size(decoder: &Decoder) -> u64 {
        let (query, kv) = (decoder.heads * decoder.head_len, decoder.kv * decoder.head_len);
        let row = 4 * (decoder.width + 2 * kv + query + query / 2 + query + decoder.hidden)
            + decoder.heads
            + Activations::row_bytes(decoder.width)
            + Activations::row_bytes(query)
            + Activations::row_bytes(decoder.hidden);
        (BATCH.min(decoder.context) * row) as u64
    }

    pub(super) fn new(decoder: &Decoder, team: Team) -> Self {
        let scratch = (0..team.threads()).map(|_| Mutex::default()).collect();
        let mut workspace = Self { team, rows: Rows::default(), scratch };
        workspace.reserve(decoder, 1);
        workspace
    }

    /// Makes room for `len` positions.
    pub(super) fn reserve(&mut self, decoder: &Decoder, len: usize) {
        if len <= self.rows.len {
            return;
        }
        let (query, kv) = (decoder.heads * decoder.head_len, decoder.kv * decoder.head_len);
        let row = |width: usize| vec![0; len * width];
        // The old rows go before the new ones come.
        self.rows = Rows::default();
        self.rows = Rows {
            len,
            x: row(decoder.width),
            k: row(kv),
            v: row(kv),
            q: row(query),
            q_pairs: row(query / 2),
            q_shifts: vec![0; len * decoder.heads],
            mixed: row(query),
            product: row(decoder.hidden),
            normal: Activations::new(len, decoder.width),
            mixed_quant: Activations::new(len, query),
            product_quant: Activations::new(len, decoder.hidden),
        };
    }
}
