//! A decoder with its matrices packed.

use super::arena::Arena;
use super::pack::{Packed, matrix_lines, pack};
use super::simd::Line;
use super::team::Team;
use crate::backend::BackendError;
use crate::decoder::{Decoder, Layer, Linear};
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

fn all_linears(decoder: &Decoder) -> impl Iterator<Item = &Linear> {
    decoder.layers.iter().flat_map(Layer::linears).chain([&decoder.output])
}

impl Model {
    /// Lines of all matrices.
    fn lines(decoder: &Decoder) -> usize {
        all_linears(decoder).map(|linear| matrix_lines(&linear.weights)).sum()
    }

    /// Bytes that packing takes.
    pub(super) fn size(decoder: &Decoder) -> u64 {
        (Self::lines(decoder) * size_of::<Line>()) as u64
    }

    /// Packs a checked decoder.
    pub(super) fn new(decoder: Arc<Decoder>, team: &mut Team) -> Result<Self, BackendError> {
        let mut arena = Arena::new("the packed model", Self::lines(&decoder))?;
        let mut rest = arena.lines_mut();
        for linear in all_linears(&decoder) {
            let (lines, after) = rest.split_at_mut(matrix_lines(&linear.weights));
            pack(&linear.weights, lines, team);
            linear.weights.bytes.release();
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

    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}
