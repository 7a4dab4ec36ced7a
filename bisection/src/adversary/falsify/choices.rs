//! Choices: each that can be made, and each that can't.

use super::lists::{false_bytes, false_hashes, false_words, flipped, layers, siblings};
use super::{Forms, Place, map};
use crate::adversary::Kind;
use crate::layout::Layout;
use crate::merkle::{Hash, zero};
use crate::moves::{Event, Move};
use crate::position::{Element, Level, Step, segments};
use crate::state::{Phase, Word};

impl<L: Layout> Place<'_, L> {
    /// A choice of each revealed child, right in itself.
    pub fn choices(&self) -> Vec<Move> {
        match self.last {
            Some(Event::Revealed { children } | Event::Expanded { children, .. }) => {
                let layers = layers(children, self.child_level(), self.down());
                (0..children.len() as u32)
                    .filter_map(|child| {
                        self.choice(child, children[child as usize], siblings(&layers, child))
                    })
                    .collect()
            }
            Some(Event::LeafRevealed { data }) => {
                let elements = self.state.shape(self.layout).map_or(0, |shape| shape.elements);
                let read = |element: &u32| {
                    let (descriptor, element) = (self.state.descriptor(), Element(*element));
                    let (block, leaf) = (self.state.block, self.state.index);
                    self.layout.decode(&descriptor, block, leaf, element, data).is_ok()
                };
                (0..elements)
                    .filter(read)
                    .map(|element| Move::ChooseElement {
                        data: data.clone(),
                        element: Element(element),
                    })
                    .collect()
            }
            Some(Event::FoldRevealed { accs }) => {
                let k = segments(self.rules.arity_bits(), self.state.lo, self.state.hi);
                let count = if self.state.pinned { k } else { k + 1 };
                (0..count).map(|choice| Move::ChooseFold { accs: accs.clone(), choice }).collect()
            }
            _ => Vec::new(),
        }
    }

    fn choice(&self, child: u32, hash: Hash, path: Vec<Hash>) -> Option<Move> {
        if self.state.phase != Phase::StepsChoose || self.child_level() > 0 {
            return Some(Move::Choose { child, hash, path });
        }
        let step = Step((self.state.index.0 << self.down()) + child);
        let descriptor = self.layout.descriptor(step)?;
        let descriptor_proof = self.layout.program_path(step)?;
        let (d0, d1) = (descriptor.d0, descriptor.d1);
        Some(Move::ChooseStep { child, hash, path, d0, d1, descriptor_proof })
    }

    pub(super) fn false_choices(&self, right: &Move) -> Forms {
        let (child, hash, path) = match right {
            Move::Choose { child, hash, path } | Move::ChooseStep { child, hash, path, .. } => {
                (*child, *hash, path)
            }
            _ => return Vec::new(),
        };
        let step = match right {
            Move::ChooseStep { d0, d1, descriptor_proof, .. } => Some((*d0, *d1, descriptor_proof)),
            _ => None,
        };
        let make = |child, hash, path: &[Hash]| match step {
            None => Move::Choose { child, hash, path: path.to_vec() },
            Some((d0, d1, proof)) => Move::ChooseStep {
                child,
                hash,
                path: path.to_vec(),
                d0,
                d1,
                descriptor_proof: proof.clone(),
            },
        };
        let mut forms: Forms = self.choices().into_iter().map(|m| (Kind::Child, m)).collect();
        let shown = self.last.map_or(&[][..], Event::revealed);
        let beyond = [shown.len() as u32, 1 << self.down(), u32::MAX];
        forms.extend(beyond.map(|child| (Kind::Child, make(child, hash, path))));
        // What lies right of the real children, by its own hash and path.
        let layers = layers(shown, self.child_level(), self.down());
        for padding in shown.len() as u32..1 << self.down() {
            let path = siblings(&layers, padding);
            forms.push((Kind::Padding, make(padding, zero(Level(self.child_level())), &path)));
        }
        for other in [flipped(&hash), [0; 32], self.state.node, zero(Level(self.child_level()))] {
            forms.push((Kind::Hash, make(child, other, path)));
        }
        for (kind, form) in false_hashes(Kind::Proof, path) {
            forms.push((kind, make(child, hash, &form)));
        }
        if let Some((d0, d1, proof)) = step {
            forms.extend(self.false_descriptors((child, hash, path), (d0, d1), proof));
        }
        forms
    }

    /// Descriptors of which a byte is wrong, or that are those of another step.
    fn false_descriptors(
        &self,
        (child, hash, path): (u32, Hash, &[Hash]),
        right: (Word, Word),
        proof: &[Hash],
    ) -> Forms {
        let make = |(d0, d1): (Word, Word), proof: &[Hash]| {
            let (path, descriptor_proof) = (path.to_vec(), proof.to_vec());
            Move::ChooseStep { child, hash, path, d0, d1, descriptor_proof }
        };
        let mut forms = Vec::new();
        for byte in 0..64 {
            let mut words = [right.0, right.1];
            words[byte / 32][byte % 32] ^= 1;
            forms.push((Kind::Descriptor, make(words.into(), proof)));
        }
        for step in (0..self.layout.program_steps()).map(Step) {
            let (Some(other), Some(path)) =
                (self.layout.descriptor(step), self.layout.program_path(step))
            else {
                continue;
            };
            forms.push((Kind::Descriptor, make((other.d0, other.d1), &path)));
            forms.push((Kind::Descriptor, make((other.d0, other.d1), proof)));
            forms.push((Kind::Descriptor, make(right, &path)));
        }
        let proofs = false_hashes(Kind::Proof, proof).into_iter();
        forms.extend(proofs.map(|(kind, proof)| (kind, make(right, &proof))));
        forms.dedup();
        forms
    }

    pub(super) fn false_elements(&self, data: &[u8], right: Element) -> Forms {
        let make = |data: &[u8], element| Move::ChooseElement { data: data.to_vec(), element };
        let mut forms: Forms =
            map(false_bytes(Kind::Leaf, data), |data| Move::ChooseElement { data, element: right });
        let within = self.choices();
        let spread = within.len().div_ceil(8).max(1);
        forms.extend(within.into_iter().step_by(spread).map(|action| (Kind::Element, action)));
        let elements = self.state.shape(self.layout).map_or(0, |shape| shape.elements);
        let near = [right.0.wrapping_sub(1), right.0.wrapping_add(1)];
        for element in near.into_iter().chain([0, elements.wrapping_sub(1), elements, u32::MAX]) {
            forms.push((Kind::Element, make(data, Element(element))));
        }
        forms
    }

    pub(super) fn false_fold_choices(&self, accs: &[Word], right: u32) -> Forms {
        let make = |accs: Vec<Word>, choice| Move::ChooseFold { accs, choice };
        let mut forms: Forms = map(false_words(Kind::Accumulator, accs), |accs| make(accs, right));
        let k = segments(self.rules.arity_bits(), self.state.lo, self.state.hi);
        for choice in (0..=k + 1).chain([u32::MAX]) {
            forms.push((Kind::Choice, make(accs.to_vec(), choice)));
        }
        forms
    }
}
