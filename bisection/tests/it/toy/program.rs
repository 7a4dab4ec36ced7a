//! A tiny integer program: one op of every kind that the game knows, and its arithmetic.
//!
//! | step | op | elements | fold |
//! |---|---|---|---|
//! | 0 | `Embed` | 4 | map of the token |
//! | 1 | `Keep` | 3 | map; carried slot 0 |
//! | 2 | `Wide` | 300, so two leaves | map; carried slot 1 |
//! | 3 | `Collect` | 2 roots | the carried tensors |
//! | 4 | `Attend` | 3 | sum over positions: one unit in block 0, two in block 1, … |
//! | 5 | `Reduce` | 2 | sum over 38 units of 8 elements; its finalizer reads another tensor |
//! | 6 | `Logits` | 10 | map |
//! | 7 | `Sample` | 1 | maximum over 3 units of 4 logits |
//!
//! The same arithmetic runs over a trace in memory, over a recorder that builds a witness, and over
//! a witness: only the [`Source`] differs.

use refute_bisection::layout::Descriptor;
use refute_bisection::merkle::Hash;
use refute_bisection::position::Step;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Embed,
    Keep,
    Wide,
    Collect,
    Attend,
    Reduce,
    Logits,
    Sample,
}

pub const PROGRAM: [Op; 8] =
    [Op::Embed, Op::Keep, Op::Wide, Op::Collect, Op::Attend, Op::Reduce, Op::Logits, Op::Sample];

pub const COLLECT: Step = Step(3);
pub const SAMPLE: Step = Step(7);
/// Steps of the carried tensors.
pub const CARRIED: [Step; 2] = [Step(1), Step(2)];
pub const WIDE: u32 = 300;
const CHUNK: u32 = 8;

impl Op {
    pub fn step(self) -> Step {
        Step(self as u32)
    }

    pub fn elements(self) -> u32 {
        match self {
            Op::Embed => 4,
            Op::Keep | Op::Attend => 3,
            Op::Wide => WIDE,
            Op::Collect => CARRIED.len() as u32,
            Op::Reduce => 2,
            Op::Logits => 10,
            Op::Sample => 1,
        }
    }

    pub fn units(self, t: u32) -> u64 {
        match self {
            Op::Attend => u64::from(t) + 1,
            Op::Reduce => u64::from(WIDE.div_ceil(CHUNK)),
            Op::Sample => 3,
            _ => 1,
        }
    }

    pub fn init(self) -> i128 {
        if self == Op::Sample { -(1 << 100) } else { 0 }
    }

    /// Byte 0 is the op; `Keep` and `Wide` name their slot in the last byte but 16, as real ones do.
    pub fn descriptor(self) -> Descriptor {
        let (mut d0, mut d1) = ([0; 32], [0; 32]);
        d0[0] = if self == Op::Collect { 11 } else { 20 + self as u8 };
        d0[11] = self.elements() as u8;
        let slot = CARRIED.iter().position(|step| *step == self.step());
        d1[15] = slot.map_or(0, |slot| slot as u8 + 1);
        Descriptor { d0, d1 }
    }
}

/// Where an op reads.
pub trait Source {
    type Error;
    /// The token of this block.
    fn token(&mut self) -> Result<u32, Self::Error>;
    /// An element of an earlier step of this block.
    fn own(&mut self, step: Step, element: u32) -> Result<i64, Self::Error>;
    /// An element of a carried tensor of an earlier block.
    fn carried(&mut self, position: u32, slot: u32, element: u32) -> Result<i64, Self::Error>;
    /// The root of the tensor that is carried in a slot.
    fn root(&mut self, slot: u32) -> Result<Hash, Self::Error>;
}

fn sat32(x: i128) -> i64 {
    x.clamp(-(i128::from(i32::MAX)), i32::MAX.into()) as i64
}

/// One unit of a fold. A map has none.
pub fn unit<S: Source>(
    op: Op,
    t: u32,
    element: u32,
    unit: u64,
    acc: i128,
    source: &mut S,
) -> Result<i128, S::Error> {
    let position = unit as u32;
    match op {
        Op::Attend => {
            let k = if position == t {
                source.own(CARRIED[0], element)?
            } else {
                source.carried(position, 0, element)?
            };
            Ok(acc + i128::from(k) * i128::from(unit + 1))
        }
        Op::Reduce => {
            let first = CHUNK * position;
            (first..WIDE.min(first + CHUNK)).try_fold(acc, |acc, i| {
                let w = source.own(Op::Wide.step(), i)?;
                Ok(acc + i128::from(w) * i128::from(element + 1))
            })
        }
        Op::Sample => {
            let logits = Op::Logits.elements();
            (4 * position..logits.min(4 * position + 4)).try_fold(acc, |acc, i| {
                let logit = source.own(Op::Logits.step(), i)?;
                let key = i128::from(logit) * (1 << 32) + i128::from(u32::MAX - i);
                Ok(acc.max(key))
            })
        }
        _ => Ok(acc),
    }
}

/// The element, from the last accumulator.
pub fn finalize<S: Source>(
    op: Op,
    element: u32,
    acc: i128,
    source: &mut S,
) -> Result<i64, S::Error> {
    let i = i128::from(element);
    let mut own = |op: Op, element: u32| source.own(op.step(), element).map(i128::from);
    Ok(match op {
        Op::Embed => sat32(i128::from(source.token()?) * (i + 1) + i),
        Op::Keep => sat32(own(Op::Embed, element)? * 3 - 1),
        Op::Wide => sat32(own(Op::Embed, element % 4)? + i * own(Op::Keep, element % 3)?),
        Op::Attend => sat32(acc >> 1),
        Op::Reduce => sat32(acc + own(Op::Embed, element)?),
        Op::Logits => {
            sat32(own(Op::Attend, element % 3)? * i + own(Op::Reduce, element % 2)? * (i & 3))
        }
        Op::Sample => i64::from(u32::MAX - (acc & i128::from(u32::MAX)) as u32),
        Op::Collect => 0,
    })
}
