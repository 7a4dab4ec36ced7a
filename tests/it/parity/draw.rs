//! Cases drawn from a seed: sizes around the edges of leaves and units, contents from honest to hostile.

mod attention;

use super::case::Case;
use refute_engine::program::{Descriptor, Op};
use refute_kernels::Format;
use refute_tests::tiny::Random;
use refute_tests::verifier::content::{Matrix, Style, Tensor};
use refute_tests::verifier::world::World;

/// Where leaves and units end.
const EDGES: [u32; 24] = [
    1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 511, 512, 513, 767, 768, 769, 1023, 1024, 1025,
    1279, 1280, 1281, 2049,
];

const FORMATS: [Format; 4] = [Format::I32, Format::Q8_0, Format::Q4_0, Format::Q4_1];

/// Steps of the largest program.
const STEPS_MAX: u32 = 65_534;

pub(crate) fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u32) as usize]
}

/// Below `2^(0 … bits)`, every magnitude as likely as the next.
fn magnitude(random: &mut Random, bits: u32) -> u32 {
    let bits = random.below(bits + 1);
    random.below(1 << bits)
}

/// A length: at an edge, short, or anything up to four million.
fn size(random: &mut Random) -> u32 {
    match random.below(8) {
        0..=3 => pick(random, &EDGES),
        4 | 5 => 1 + random.below(64),
        6 => 1 + random.below(3000),
        _ => 1 + magnitude(random, 22),
    }
}

/// The position of a block.
pub(crate) fn position(random: &mut Random) -> u32 {
    match random.below(8) {
        0 => 0,
        1 => random.below(4),
        2..=4 => pick(random, &EDGES) - 1,
        5 | 6 => random.below(1200),
        _ => random.below(65_536),
    }
}

/// An element: the first, the last, one at an edge, any.
pub(crate) fn element(random: &mut Random, elements: u64) -> u32 {
    let last = elements - 1;
    let element = match random.below(5) {
        0 => 0,
        1 => last,
        2 => last.min(u64::from(pick(random, &EDGES))),
        _ => random.bits() % elements,
    };
    element as u32
}

/// A case under construction.
struct Draft<'a> {
    random: &'a mut Random,
    t: u32,
    d: Descriptor,
    world: World,
}

/// A case of an op.
pub(crate) fn case(op: Op, random: &mut Random) -> Case {
    let t = position(random);
    let mut draft = Draft { t, d: Descriptor::new(op), world: world(random, t), random };
    let element = match op {
        Op::Embed => draft.embed(),
        Op::RmsNorm => draft.rms_norm(),
        Op::Quantize => draft.quantize(),
        Op::Linear => draft.linear(),
        Op::Rope => draft.rope(),
        Op::Scores | Op::Mix => draft.attention(),
        Op::Max | Op::Probs | Op::Sum => draft.heads(),
        Op::SwiGlu => draft.swiglu(),
        Op::Collect => draft.collect(),
        Op::Sample => draft.sample(),
    };
    let Draft { d, world, .. } = draft;
    Case { d, t, element, world }
}

/// Sizes of trees, references below the step, and tokens: what all ops share.
fn world(random: &mut Random, t: u32) -> World {
    let mut world = World { seed: random.bits(), ..World::default() };
    let s = &mut world.statement;
    s.step = match random.below(4) {
        0 => 3,
        1 => STEPS_MAX - 1,
        _ => 3 + random.below(800),
    };
    s.blockSteps = (s.step + 1 + magnitude(random, 10)).min(STEPS_MAX);
    s.programSteps = (s.blockSteps + magnitude(random, 10)).min(STEPS_MAX);
    s.carried = 1 + magnitude(random, 7);
    s.blockIndex = t;
    // Blocks are prompt + output - 1, and t is one of them.
    s.promptLength = if t == 0 || random.below(2) == 0 {
        t + 1 + magnitude(random, 11)
    } else {
        1 + random.below(t)
    };
    s.outputLength = (t + 2).saturating_sub(s.promptLength).max(1) + magnitude(random, 11);
    s.blocks = s.promptLength + s.outputLength - 1;
    // Only Sample reads them.
    s.seed = random.bits();
    s.temperature = match random.below(4) {
        0 => 0,
        1 => pick(random, &[1, 1 << 16, 16 << 16, u32::MAX]),
        2 => random.below(16 << 16),
        _ => random.bits() as u32,
    };
    world.prompt = Some(Tensor::draw(random, s.promptLength.into(), 4, 0));
    world.output = Some(Tensor::draw(random, s.outputLength.into(), 4, 0));
    world
}

impl Draft<'_> {
    /// References to different steps.
    fn input(&mut self, i: usize, tensor: Tensor) {
        let step = self.world.statement.step;
        let free = |s: &u16| !self.world.steps.contains_key(s);
        let mut candidates = [0, step - 1, self.random.below(step), 1, 2].map(|s| s as u16);
        let turn = self.random.below(3) as usize;
        candidates[..3].rotate_left(turn);
        let reference = candidates.into_iter().find(free).expect("three of five are different");
        self.d.inputs[i] = reference;
        self.world.steps.insert(reference, tensor);
    }

    fn draw(&mut self, i: usize, values: u64, width: u32, shifts: u32) {
        let tensor = Tensor::draw(self.random, values, width, shifts);
        self.input(i, tensor);
    }

    /// A matrix somewhere behind those that are there.
    fn matrix(&mut self, format: Format, rows: u32, cols: u32) -> u32 {
        let base = self.base();
        let matrix = Matrix::draw(self.random, base, format, rows, cols);
        self.place(matrix)
    }

    fn base(&mut self) -> u32 {
        self.world.statement.weightLeaves + self.gap()
    }

    /// Leaves that nobody reads; often none, so that there are trees of a single leaf, too.
    fn gap(&mut self) -> u32 {
        if self.random.below(3) == 0 { 0 } else { magnitude(self.random, 20) }
    }

    fn place(&mut self, matrix: Matrix) -> u32 {
        let base = matrix.base;
        self.world.statement.weightLeaves = matrix.end() + self.gap();
        self.world.weights.push(matrix);
        base
    }

    /// Columns of a matrix: whole blocks.
    fn cols(&mut self, format: Format) -> u32 {
        if format == Format::I32 {
            return size(self.random).min(1 << 16);
        }
        let blocks = match self.random.below(4) {
            0 => 1 + self.random.below(4),
            1 => pick(self.random, &[31, 32, 33, 63, 64, 65, 95, 96, 97]),
            2 => 1 + self.random.below(130),
            _ => 1 + magnitude(self.random, 13),
        };
        32 * blocks
    }

    fn embed(&mut self) -> u32 {
        let format = pick(self.random, &FORMATS);
        let cols = self.cols(format);
        let rows = 1 + magnitude(self.random, 17);
        let w = self.matrix(format, rows, cols);
        let code = format as u8;
        self.d = Descriptor { format: code, n: cols, k: cols, groups: rows, w, ..self.d };
        let style = pick(self.random, &[Style::Below(rows), Style::Constant(rows - 1)]);
        let s = &self.world.statement;
        let (prompt, output) = (s.promptLength.into(), s.outputLength.into());
        self.world.prompt = Some(Tensor::styled(self.random, prompt, 4, 0, style));
        self.world.output = Some(Tensor::styled(self.random, output, 4, 0, style));
        let i = element(self.random, cols.into());
        // Where the second half of a block begins, or any.
        let half = (i & !31) + 16;
        if half < cols && self.random.below(4) == 0 { half } else { i }
    }

    fn rms_norm(&mut self) -> u32 {
        let n = size(self.random);
        let i = element(self.random, n.into());
        let mut x = Tensor::draw(self.random, n.into(), 4, 0);
        if self.random.below(4) == 0 {
            // The larger an element is beside the others, the more bits of the reciprocal root it shows.
            let bits = self.random.below(31);
            let others = Style::Bits(self.random.below(bits + 1));
            x = Tensor::styled(self.random, n.into(), 4, 0, others);
            x.set(i.into(), Style::Bits(bits + 1).pattern(self.random, 4));
        }
        self.d.n = n;
        self.d.c0 = match self.random.below(5) {
            0 => 168, // 1e-5.
            // Nothing but zeros, whose mean has no root to divide by.
            4 => {
                x = Tensor::styled(self.random, n.into(), 4, 0, Style::Constant(0));
                0
            }
            1 => pick(self.random, &[0, 1, 2, u32::MAX, 1 << 24]),
            2 => magnitude(self.random, 31),
            _ => 1 + self.random.below(20_000),
        };
        self.input(0, x);
        if self.random.below(2) == 0 {
            // As the importer writes them: mantissas of up to 31 bits, and where their point is.
            let base = self.base();
            let matrix = Matrix::integers(self.random, base, n, Style::Bits(31));
            self.d.w = self.place(matrix);
            self.d.c1 = 24 + self.random.below(12);
            return i;
        }
        self.d.w = self.matrix(Format::I32, 1, n);
        self.d.c1 = match self.random.below(3) {
            0 => self.random.bits() as u32,
            1 => pick(self.random, &[i32::MIN, i32::MAX, -9, -8, -7, 54, 55, 56]).cast_unsigned(),
            _ => self.random.below(48),
        };
        i
    }

    fn quantize(&mut self) -> u32 {
        let groups = match self.random.below(3) {
            0 => 1,
            1 => 1 + self.random.below(3),
            _ => 1 + self.random.below(40),
        };
        let n = groups * size(self.random);
        self.draw(0, n.into(), 4, 0);
        let c0 = match self.random.below(4) {
            0 => self.random.below(16),
            _ => pick(self.random, &[11, 12, 15]),
        };
        let slot = self.random.below(3);
        self.d = Descriptor { n, groups, c0, slot, ..self.d };
        element(self.random, u64::from(n) + u64::from(groups))
    }

    fn linear(&mut self) -> u32 {
        let format = pick(self.random, &FORMATS);
        let k = self.cols(format);
        let n = size(self.random).min(200_000);
        self.draw(0, k.into(), 2, 1);
        if self.random.below(2) == 0 {
            self.draw(1, n.into(), 4, 0);
        }
        let bias_first = (self.random.below(3) == 0).then(|| self.matrix(Format::I32, 1, n));
        self.d.w = self.matrix(format, n, k);
        let bias = bias_first
            .or_else(|| (self.random.below(3) == 0).then(|| self.matrix(Format::I32, 1, n)));
        self.d = Descriptor { format: format as u8, n, k, ..self.d };
        if let Some(b) = bias {
            self.d.b = b;
        }
        element(self.random, n.into())
    }

    fn rope(&mut self) -> u32 {
        let k = match self.random.below(4) {
            0 => pick(self.random, &[2, 32, 48, 64, 80, 96, 128, 254, 256]),
            1 => 2 * (1 + self.random.below(520)), // More than a head may have: rows of several leaves.
            _ => 2 * (1 + self.random.below(128)),
        };
        let c0 = match self.random.below(3) {
            0 => k,
            1 => 2 * self.random.below(k / 2 + 1),
            _ => (k / 2) & !1,
        };
        let n = k * (1 + self.random.below(24));
        self.draw(0, n.into(), 4, 0);
        if c0 > 0 {
            let rows = self.t + 1 + magnitude(self.random, 10);
            self.d.w = self.matrix(Format::I32, rows, c0);
        }
        self.d = Descriptor { n, k, c0, ..self.d };
        let i = element(self.random, n.into());
        // The first of a head that isn't rotated, or any.
        let copied = i - i % k + c0;
        if c0 < k && self.random.below(4) == 0 { copied } else { i }
    }

    fn swiglu(&mut self) -> u32 {
        let n = size(self.random);
        self.d.n = n;
        let styles = match self.random.below(5) {
            // The last gates whose logistic function is neither 0 nor 1.
            4 => [
                Style::Near(pick(self.random, &[86_600, 86_600u32.wrapping_neg()]), 12),
                Style::Bits(31),
            ],
            // Above 2^17 the logistic function is 0 or 1.
            0 => [1 + self.random.below(18), 12 + self.random.below(20)].map(Style::Bits),
            1 => {
                // The largest products that aren't saturated show the logistic function's last bit.
                let bits = 11 + self.random.below(6);
                [bits, (43 - bits).min(31)].map(Style::Bits)
            }
            _ => [(); 2].map(|()| Style::draw(self.random, 4)),
        };
        for (i, style) in styles.into_iter().enumerate() {
            let tensor = Tensor::styled(self.random, n.into(), 4, 0, style);
            self.input(i, tensor);
        }
        if self.random.below(16) == 0 {
            self.d.inputs[1] = self.d.inputs[0];
        }
        element(self.random, n.into())
    }

    fn collect(&mut self) -> u32 {
        let n = self.world.statement.carried;
        let j = element(self.random, n.into());
        self.d.n = n;
        let values = 1 + u64::from(magnitude(self.random, 12));
        let tensor = Tensor::draw(self.random, values, 2, 1);
        self.input(0, tensor);
        let step = std::mem::replace(&mut self.d.inputs[0], Descriptor::new(Op::Collect).inputs[0]);
        // Only the slot of that step's descriptor counts.
        let mut leaf = [0; 64];
        leaf.chunks_mut(8).for_each(|c| c.copy_from_slice(&self.random.bits().to_be_bytes()));
        leaf[44..48].copy_from_slice(&(j + 1).to_be_bytes());
        self.world.program.insert(step, leaf);
        j
    }

    fn sample(&mut self) -> u32 {
        let k = match self.random.below(8) {
            0 => 1 + self.random.below(1 << 30) / 2,
            1 => pick(self.random, &[32_000, 49_152, 128_256, 151_936]),
            _ => size(self.random),
        };
        self.draw(0, k.into(), 4, 0);
        self.d = Descriptor { n: 1, k, ..self.d };
        0
    }
}
