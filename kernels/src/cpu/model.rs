//! A decoder with its matrices packed.

use super::arena::Arena;
use super::pack::{Packed, matrix_lines, pack};
use super::simd::Line;
use super::team::Team;
use crate::backend::BackendError;
use crate::decoder::{Decoder, LAYER_LINEARS, Linear};
use std::sync::Arc;

/// The packed linears of one layer.
#[derive(Debug)]
pub(super) struct PackedLayer {
    pub(super) attn_k: Packed,
    pub(super) attn_v: Packed,
    pub(super) attn_q: Packed,
    pub(super) attn_output: Packed,
    pub(super) ffn_gate: Packed,
    pub(super) ffn_up: Packed,
    pub(super) ffn_down: Packed,
}

/// A decoder and its packed linears.
#[derive(Debug)]
pub(super) struct Model {
    decoder: Arc<Decoder>,
    pub(super) layers: Vec<PackedLayer>,
    pub(super) output: Packed,
}

impl PackedLayer {
    /// Its linears, in program order.
    fn linears(&self) -> [&Packed; LAYER_LINEARS] {
        let Self { attn_k, attn_v, attn_q, attn_output, ffn_gate, ffn_up, ffn_down } = self;
        [attn_k, attn_v, attn_q, attn_output, ffn_gate, ffn_up, ffn_down]
    }
}

impl Model {
    /// Lines of all matrices.
    fn lines(decoder: &Decoder) -> usize {
        decoder.linears().map(|linear| matrix_lines(&linear.weights)).sum()
    }

    /// Bytes that packing takes.
    pub(super) fn size(decoder: &Decoder) -> u64 {
        (Self::lines(decoder) * size_of::<Line>()) as u64
    }

    /// Packs a checked decoder.
    pub(super) fn new(decoder: Arc<Decoder>, team: &mut Team) -> Result<Self, BackendError> {
        let mut arena = Arena::new("the packed model", Self::lines(&decoder))?;
        let mut rest = arena.lines_mut();
        for linear in decoder.linears() {
            let (lines, after) = rest.split_at_mut(matrix_lines(&linear.weights));
            pack(&linear.weights, lines, team);
            rest = after;
        }
        let arena = Arc::new(arena);
        let mut end = 0;
        let mut packed = |linear: &Linear| {
            let start = end;
            end += matrix_lines(&linear.weights);
            Packed::new(linear, arena.clone(), start)
        };
        let layers = decoder.layers.iter().map(|layer| {
            let [attn_k, attn_v, attn_q, attn_output, ffn_gate, ffn_up, ffn_down] =
                layer.linears().map(&mut packed);
            PackedLayer { attn_k, attn_v, attn_q, attn_output, ffn_gate, ffn_up, ffn_down }
        });
        let layers = layers.collect();
        let output = packed(&decoder.output);
        Ok(Self { decoder, layers, output })
    }

    /// Number `index` of [`Decoder::linears`], if there are so many.
    pub(super) fn linear(&self, index: usize) -> Option<&Packed> {
        match self.layers.get(index / LAYER_LINEARS) {
            Some(layer) => Some(layer.linears()[index % LAYER_LINEARS]),
            None => (index == self.layers.len() * LAYER_LINEARS).then_some(&self.output),
        }
    }

    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}
