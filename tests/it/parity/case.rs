//! One element of a step, and the openings that the table of `kernels/README.md` lists for it.

use refute_engine::program::{Descriptor, NO_LEAF, NO_STEP, Op};
use refute_kernels::{Format, Heads, Sampling};
use refute_tests::verifier::content::{LEAF_BYTES, Matrix, Tensor};
use refute_tests::verifier::world::{Ask, World};
use std::ops::Range;

/// An element of a step of block `t`, and everything that the step can read.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) d: Descriptor,
    pub(crate) t: u32,
    pub(crate) element: u32,
    pub(crate) world: World,
}

fn at(start: u64, len: u64) -> Range<u64> {
    start..start + len
}

fn scaled(range: Range<u64>, width: u64) -> Range<u64> {
    range.start * width..range.end * width
}

fn leaves(bytes: Range<u64>) -> Range<u32> {
    (bytes.start / LEAF_BYTES) as u32..bytes.end.div_ceil(LEAF_BYTES) as u32
}

impl Case {
    /// Positions that attention sees.
    pub(crate) fn positions(&self) -> u64 {
        u64::from(self.t) + 1
    }

    pub(crate) fn e(&self) -> u64 {
        self.element.into()
    }

    pub(crate) fn n(&self) -> u64 {
        self.d.n.into()
    }

    pub(crate) fn k(&self) -> u64 {
        self.d.k.into()
    }

    pub(crate) fn format(&self) -> Format {
        Format::try_from_code(self.d.format).expect("a format")
    }

    /// What the request says.
    pub(crate) fn sampling(&self) -> Sampling {
        let s = &self.world.statement;
        Sampling { seed: s.seed, temperature: s.temperature }
    }

    pub(crate) fn heads(&self) -> Heads {
        let Descriptor { groups, kv, k, .. } = self.d;
        Heads { heads: groups as usize, kv: kv as usize, len: k as usize }
    }

    pub(crate) fn input(&self, i: usize) -> &Tensor {
        &self.world.steps[&self.d.inputs[i]]
    }

    /// K or V of a position: the carried tensor, or this block's own step.
    pub(crate) fn cached(&self, own: usize, position: u64) -> Tensor {
        if position == u64::from(self.t) {
            return self.input(own).clone();
        }
        self.world.carried[&self.d.c1].at(position as u32)
    }

    pub(crate) fn matrix(&self) -> &Matrix {
        self.world.matrix(self.d.w)
    }

    pub(crate) fn has_bias(&self) -> bool {
        self.d.b != NO_LEAF
    }

    pub(crate) fn has_residual(&self) -> bool {
        self.d.inputs[1] != NO_STEP
    }

    /// Quantize: the element's group, and the length of groups.
    pub(crate) fn group(&self) -> (u64, u64) {
        let len = self.n() / u64::from(self.d.groups);
        if self.e() < self.n() { (self.e() / len, len) } else { (self.e() - self.n(), len) }
    }

    /// Attention: the head of the element, and the place in it.
    pub(crate) fn head(&self) -> (u64, u64) {
        let len = match self.d.op {
            Op::Mix => self.k(),
            Op::Max | Op::Sum => 1,
            _ => self.positions(),
        };
        (self.e() / len, self.e() % len)
    }

    /// Attention: the KV head that `head` reads.
    pub(crate) fn kv_head(&self, head: u64) -> u64 {
        head / u64::from(self.d.groups / self.d.kv)
    }

    /// Terms of the element's fold, and terms of a unit.
    pub(crate) fn terms(&self) -> (u64, u64) {
        match self.d.op {
            Op::RmsNorm => (self.n(), 256),
            Op::Quantize => (self.group().1, 256),
            Op::Linear if self.format() == Format::I32 => (self.k(), 256),
            Op::Linear => (self.k(), 1024),
            Op::Max => (self.positions(), 256),
            Op::Sum => (self.positions(), 512),
            Op::Mix => (self.positions(), 1),
            Op::Sample => (self.k(), 256),
            _ => (1, 1),
        }
    }

    pub(crate) fn units(&self) -> u64 {
        let (terms, size) = self.terms();
        terms.div_ceil(size)
    }

    pub(crate) fn init(&self) -> i128 {
        if matches!(self.d.op, Op::Max | Op::Sample) { -(1 << 126) - (1 << 126) } else { 0 }
    }

    /// Terms of unit `u`.
    pub(crate) fn unit_terms(&self, u: u64) -> Range<u64> {
        let (terms, size) = self.terms();
        u * size..((u + 1) * size).min(terms)
    }

    /// Column *unit* of the table.
    pub(crate) fn unit_asks(&self, u: u64) -> Vec<Ask> {
        let terms = self.unit_terms(u);
        let (head, i) = self.head();
        let positions = self.positions();
        match self.d.op {
            Op::RmsNorm | Op::Sample => vec![Ask::Step { step: self.d.inputs[0], leaf: u as u32 }],
            Op::Quantize => {
                let (group, len) = self.group();
                self.read(0, scaled(group * len + terms.start..group * len + terms.end, 4))
            }
            Op::Linear => {
                let row = self.element * self.units() as u32;
                let mut asks = vec![Ask::Weight { leaf: self.d.w + row + u as u32 }];
                asks.extend(self.read(0, scaled(terms, 2)));
                asks
            }
            Op::Max | Op::Sum => {
                let width = if self.d.op == Op::Max { 4 } else { 2 };
                let start = head * positions;
                self.read(0, scaled(start + terms.start..start + terms.end, width))
            }
            Op::Mix => {
                let g = self.kv_head(head);
                let mut asks = self.read(0, at(2 * (head * positions + u), 2));
                asks.extend(self.read_cached(2, u, at(2 * (g * self.k() + i), 2)));
                asks.extend(self.read_cached(2, u, self.cached_shift(g)));
                asks
            }
            _ => Vec::new(),
        }
    }

    /// Column *finalize* of the table.
    pub(crate) fn finalize_asks(&self) -> Vec<Ask> {
        let own = |i| self.read(i, at(4 * self.e(), 4));
        let (head, position) = self.head();
        match self.d.op {
            Op::Embed => {
                let row = self.token() * self.matrix().leaves_per_row();
                let leaf = self.d.w + row + self.element / self.format().leaf_len() as u32;
                vec![Ask::Token { t: self.t }, Ask::Weight { leaf }]
            }
            Op::RmsNorm => {
                let weight = Ask::Weight { leaf: self.d.w + self.element / 256 };
                [own(0), vec![weight]].concat()
            }
            Op::Quantize if self.e() < self.n() => own(0),
            Op::Linear => {
                let mut asks = self.read(0, at(2 * self.k(), 1));
                if self.has_bias() {
                    asks.push(Ask::Weight { leaf: self.d.b + self.element / 256 });
                }
                if self.has_residual() {
                    asks.extend(own(1));
                }
                asks
            }
            Op::Rope => {
                let mut asks = self.read(0, at(4 * (self.e() & !1), 8));
                let (rotated, i) = (self.d.c0, self.element % self.d.k);
                if i < rotated {
                    let row = self.t * rotated.div_ceil(256);
                    asks.push(Ask::Weight { leaf: self.d.w + row + i / 256 });
                }
                asks
            }
            Op::Scores => {
                let (g, k) = (self.kv_head(head), self.k());
                let shift = 2 * u64::from(self.d.groups) * k + head;
                let mut asks = self.read(0, at(2 * head * k, 2 * k));
                asks.extend(self.read(0, at(shift, 1)));
                asks.extend(self.read_cached(1, position, at(2 * g * k, 2 * k)));
                asks.extend(self.read_cached(1, position, self.cached_shift(g)));
                asks
            }
            Op::Probs => [own(0), self.read(1, at(4 * head, 4))].concat(),
            Op::Mix => self.read(1, at(4 * head, 4)),
            Op::SwiGlu => [own(0), own(1)].concat(),
            Op::Collect => {
                let step = self.collected();
                vec![Ask::Program { step }, Ask::Root { step }]
            }
            _ => Vec::new(),
        }
    }

    /// Collect: the step that fills this slot.
    pub(crate) fn collected(&self) -> u16 {
        *self.world.program.keys().next().expect("a program with one step")
    }

    /// Embed: the token of the block.
    pub(crate) fn token(&self) -> u32 {
        let (tokens, i, _) = self.world.tokens(self.t);
        tokens.int(i.into()).cast_unsigned()
    }

    fn cached_shift(&self, g: u64) -> Range<u64> {
        at(2 * u64::from(self.d.kv) * self.k() + g, 1)
    }

    fn read(&self, input: usize, bytes: Range<u64>) -> Vec<Ask> {
        let step = self.d.inputs[input];
        leaves(bytes).map(|leaf| Ask::Step { step, leaf }).collect()
    }

    fn read_cached(&self, own: usize, position: u64, bytes: Range<u64>) -> Vec<Ask> {
        if position == u64::from(self.t) {
            return self.read(own, bytes);
        }
        let (index, position) = (self.d.c1, position as u32);
        leaves(bytes).map(|leaf| Ask::Carried { index, position, leaf }).collect()
    }
}
