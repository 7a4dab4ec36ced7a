//! A decoder with its matrices packed.

use super::pack::{Packed, pack};
use super::team::{Parts, Team};
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

fn linears(layer: &Layer) -> [&Linear; 7] {
    let Layer { attn_k, attn_v, attn_q, attn_output, ffn_gate, ffn_up, ffn_down, .. } = layer;
    [attn_k, attn_v, attn_q, attn_output, ffn_gate, ffn_up, ffn_down]
}

impl Model {
    /// Bytes that packing takes.
    pub(super) fn size(decoder: &Decoder) -> u64 {
        let linears = decoder.layers.iter().flat_map(linears).chain([&decoder.output]);
        linears.map(|linear| Packed::size(&linear.weights)).sum()
    }

    /// Packs a checked decoder.
    pub(super) fn new(decoder: Arc<Decoder>, team: &mut Team) -> Self {
        let layers = decoder.layers.iter().map(|layer| {
            let [attn_k, attn_v, attn_q, attn_output, ffn_gate, ffn_up, ffn_down] =
                linears(layer).map(|linear| packed(linear, team));
            PackedLayer { attn_k, attn_v, attn_q, attn_output, ffn_gate, ffn_up, ffn_down }
        });
        let layers = layers.collect();
        let output = packed(&decoder.output, team);
        Self { decoder, layers, output }
    }

    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}

fn packed(linear: &Linear, team: &mut Team) -> Packed {
    let mut packed = Packed::new(linear);
    let panels = packed.panels();
    let (panel_lines, lines) = packed.panels_mut();
    let lines = Parts::new(lines);
    team.run(panels, &|_, panel| {
        // SAFETY: every task has a panel of its own.
        #[expect(unsafe_code, reason = "parts that tasks write")]
        let lines = unsafe { lines.part(panel * panel_lines..(panel + 1) * panel_lines) };
        pack(&linear.weights, panel, lines);
    });
    packed
}
