//! Wrong reveals: of a node's children, of a block's steps.

use super::lists::{GARBAGE, false_bytes, false_hashes, flipped, layers, siblings};
use super::{Forms, Place};
use crate::adversary::Kind;
use crate::layout::Layout;
use crate::merkle::{Hash, zero};
use crate::moves::Move;
use crate::position::{Level, Step};
use crate::state::Phase;

impl<L: Layout> Place<'_, L> {
    /// Children that don't fold to the node, or aren't the exact number.
    pub(super) fn false_children(&self, right: &[Hash]) -> Vec<(Kind, Vec<Hash>)> {
        let (level, down) = match self.state.phase {
            // The children are those of the step tree's root.
            Phase::Expand => {
                let depth = crate::merkle::depth(self.layout.steps(self.state.block)).0;
                let down = self.rules.arity_bits().min(depth);
                (depth - down, down)
            }
            _ => (self.child_level(), self.down()),
        };
        let mut forms = false_hashes(Kind::Hash, right);
        for i in 0..right.len() {
            let mut form = right.to_vec();
            form[i] = zero(Level(level));
            forms.push((Kind::Padding, form));
            if i > 0 {
                let mut swapped = right.to_vec();
                swapped.swap(i - 1, i);
                forms.push((Kind::Child, swapped));
            }
        }
        if right.len() < 1 << down {
            for padding in [zero(Level(level)), GARBAGE] {
                let mut full = right.to_vec();
                full.resize(1 << down, padding);
                forms.push((Kind::Padding, full));
            }
        }
        // Fewer levels than have to be opened.
        let layers = layers(right, level, down);
        forms.extend(layers[1..].iter().map(|layer| (Kind::Length, layer.clone())));
        forms
    }

    pub(super) fn false_expansions(&self, right: &Move) -> Forms {
        let Move::Expand { step_root, collect_proof, sample_proof, tokens, token_proof, children } =
            right
        else {
            return Vec::new();
        };
        let make = |step_root: Hash,
                    [collect, sample, token]: [&[Hash]; 3],
                    tokens: &[u8],
                    children: &[Hash]| {
            Move::Expand {
                step_root,
                collect_proof: collect.to_vec(),
                sample_proof: sample.to_vec(),
                tokens: tokens.to_vec(),
                token_proof: token.to_vec(),
                children: children.to_vec(),
            }
        };
        let proofs: [&[Hash]; 3] = [collect_proof, sample_proof, token_proof];
        let mut forms = Vec::new();
        for root in [flipped(step_root), [0; 32], self.state.node] {
            forms.push((Kind::Root, make(root, proofs, tokens, children)));
        }
        for (i, proof) in proofs.iter().enumerate() {
            for (kind, form) in false_hashes(Kind::Proof, proof) {
                let mut proofs = proofs;
                proofs[i] = &form;
                forms.push((kind, make(*step_root, proofs, tokens, children)));
            }
        }
        for (kind, form) in false_bytes(Kind::Token, tokens) {
            forms.push((kind, make(*step_root, proofs, &form, children)));
        }
        for (kind, form) in self.false_children(children) {
            forms.push((kind, make(*step_root, proofs, tokens, &form)));
        }
        forms.extend(self.false_step_trees(right));
        forms
    }

    /// Step trees of which one node has no preimage, whose every proof is right.
    fn false_step_trees(&self, right: &Move) -> Forms {
        let Move::Expand { collect_proof, sample_proof, tokens, token_proof, children, .. } = right
        else {
            return Vec::new();
        };
        let depth = crate::merkle::depth(self.layout.steps(self.state.block)).0;
        let down = self.rules.arity_bits().min(depth);
        let level = depth - down;
        let proven = |leaf: Step| leaf.0 >> level;
        let (collect, sample) =
            (proven(self.layout.collect_step()), proven(self.layout.sample_step()));
        let fixed = [Some(collect), (!sample_proof.is_empty()).then_some(sample)];
        let above = |proof: &[Hash], layers: &[Vec<Hash>], child: u32| {
            [&proof[..(level as usize).min(proof.len())], &siblings(layers, child)].concat()
        };
        let others = (0..children.len() as u32).filter(|child| !fixed.contains(&Some(*child)));
        let trees = others.map(|child| {
            let mut children = children.clone();
            children[child as usize] = flipped(&children[child as usize]);
            let layers = layers(&children, level, down);
            let action = Move::Expand {
                step_root: layers[layers.len() - 1][0],
                collect_proof: above(collect_proof, &layers, collect),
                sample_proof: match sample_proof.is_empty() {
                    true => Vec::new(),
                    false => above(sample_proof, &layers, sample),
                },
                tokens: tokens.clone(),
                token_proof: token_proof.clone(),
                children,
            };
            (Kind::Root, action)
        });
        trees.collect()
    }
}
