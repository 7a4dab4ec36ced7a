//! What the registry asks of a model, a second time: an import that passes here is one that `register` takes.
//!
//! Rules and reasons: `contracts/README.md`, section *Models*. Order and words are those of `libraries/Program.sol`, so that
//! both name the same fault of the same step.

use super::{NO_LEAF, NO_STEP, Op};
use crate::model::NUMERICS_VERSION;
use alloy::primitives::B256;
use refute_bisection::merkle::{MerkleError, Tree, leaf_hashes};
use refute_contracts::bindings::{Model, ModelParams};
use refute_kernels::Format;

/// Bytes of a descriptor.
pub const STEP_BYTES: usize = 64;
/// Longest context: an attention sum of 2^14 probabilities must fit 30 bits.
pub const CONTEXT_MAX: u32 = 65_536;
/// A descriptor refers to steps by 16 bits, and all ones means none.
pub const STEPS_MAX: u32 = 65_534;
/// Largest head.
pub const HEAD_MAX: u64 = 256;
/// Most stop ids of a model.
pub const STOP_IDS_MAX: usize = 32;
/// `log2(e)² · 2^60`, rounded: the square of an attention score's scale before the head size.
pub const LOG2E_SQUARED_Q60: u64 = 2_399_655_057_223_005_247;
/// Bits of a quantized row, and of q, K and V heads.
pub const ROW_BITS: u32 = 15;
/// See [`ROW_BITS`].
pub const Q_BITS: u32 = 12;
/// See [`ROW_BITS`].
pub const K_BITS: u32 = 11;
/// See [`ROW_BITS`].
pub const V_BITS: u32 = 12;

/// Tensors are shorter than 4 GiB, because lengths are 32 bits wide.
const BYTES_MAX: u64 = u32::MAX as u64;

/// Why a step is refused. The numbers are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Fault {
    /// The first byte names no op.
    #[error("the op is unknown")]
    Op = 0,
    /// Collect, or Sample, elsewhere than at its step, or another op there.
    #[error("Collect and Sample must stand where the model says, and nowhere else")]
    Place = 1,
    /// A program would have two spellings.
    #[error("a field that the op doesn't use isn't empty")]
    Unused = 2,
    /// A matrix in a format that isn't one.
    #[error("the weights aren't stored as quantized blocks")]
    Format = 3,
    /// A dimension.
    #[error("a dimension is zero, doesn't divide another one, or makes the tensor too long")]
    Size = 4,
    /// An op's constant.
    #[error("a constant is outside of what the numerics are exact for")]
    Constant = 5,
    /// An input.
    #[error("an input isn't an earlier step, or has another type or length than the op reads")]
    Input = 6,
    /// Leaves.
    #[error("it reads weights that the weights' tree doesn't have")]
    Weights = 7,
    /// Carried tensors.
    #[error("a carried tensor is there twice, not at all, too late, or isn't the one attended to")]
    Slot = 8,
}

/// Why the registry doesn't take a model.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Other numerics than those of this program.
    #[error("the model is of numerics version {0}")]
    Numerics(u32),
    /// A parameter contradicts another one or a limit.
    #[error("the model's parameter {0} contradicts another one or a limit")]
    Params(&'static str),
    /// Not 64 bytes for each step.
    #[error("the program has {length} bytes instead of {expected}")]
    Length {
        /// As given.
        length: usize,
        /// As the parameters say.
        expected: usize,
    },
    /// The program isn't the one that the model commits to.
    #[error("the program's root is {root}, but the model says {expected}")]
    Root {
        /// Of the program given.
        root: B256,
        /// The model's.
        expected: B256,
    },
    /// A step on which an honest party could lose.
    #[error("step {step} of the program: {fault}")]
    Step {
        /// Its index.
        step: u32,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A program of a length that no tree has.
    #[error(transparent)]
    Merkle(#[from] MerkleError),
}

/// Whether the registry takes this model with this program, 64 bytes a step.
///
/// # Errors
/// The same refusal that the contract reverts with.
pub fn check(model: &Model, program: &[u8]) -> Result<(), Refusal> {
    if model.numericsVersion != NUMERICS_VERSION {
        return Err(Refusal::Numerics(model.numericsVersion));
    }
    let params = &model.params;
    check_params(params).map_err(Refusal::Params)?;
    let expected = STEP_BYTES * params.outputSteps as usize;
    let (steps, rest) = program.as_chunks::<STEP_BYTES>();
    if steps.len() != params.outputSteps as usize || !rest.is_empty() {
        return Err(Refusal::Length { length: program.len(), expected });
    }
    let root = Tree::new(leaf_hashes(steps.iter().map(AsRef::as_ref)))?.root().into();
    if root != model.programRoot {
        return Err(Refusal::Root { root, expected: model.programRoot });
    }
    let mut walk = Walk { steps, params, slots: vec![false; params.carried as usize + 1], seen: 0 };
    for (index, step) in (0..).zip(steps) {
        walk.check(index, &Fields(step)).map_err(|fault| Refusal::Step { step: index, fault })?;
    }
    Ok(())
}

/// Parameters against each other and the limits.
fn check_params(p: &ModelParams) -> Result<(), &'static str> {
    let must = |good: bool, what| if good { Ok(()) } else { Err(what) };
    must((1..=CONTEXT_MAX).contains(&p.context), "context")?;
    must(p.vocabulary != 0, "vocabulary")?;
    must(p.weightLeaves != 0, "weightLeaves")?;
    must((2..=STEPS_MAX).contains(&p.outputSteps), "outputSteps")?;
    must(p.sampleStep == p.outputSteps - 1, "sampleStep")?;
    must(p.collectStep < p.sampleStep, "collectStep")?;
    must(p.promptSteps == p.collectStep + 1, "promptSteps")?;
    must((1..=p.collectStep).contains(&p.carried), "carried")?;
    let below = p.stopIds.iter().all(|id| *id < p.vocabulary);
    let ascending = p.stopIds.is_sorted_by(|a, b| a < b);
    must(p.stopIds.len() <= STOP_IDS_MAX && below && ascending, "stopIds")
}

/// A descriptor as it stands in the program.
struct Fields<'a>(&'a [u8; STEP_BYTES]);

/// Bytes of each field.
mod at {
    use std::ops::Range;

    pub(super) const FORMAT: Range<usize> = 1..2;
    pub(super) const IN: [Range<usize>; 3] = [2..4, 4..6, 6..8];
    pub(super) const N: Range<usize> = 8..12;
    pub(super) const K: Range<usize> = 12..16;
    pub(super) const GROUPS: Range<usize> = 16..20;
    pub(super) const KV: Range<usize> = 20..24;
    pub(super) const W: Range<usize> = 24..28;
    pub(super) const B: Range<usize> = 28..32;
    pub(super) const C0: Range<usize> = 32..36;
    pub(super) const C1: Range<usize> = 36..40;
    pub(super) const SLOT: Range<usize> = 44..48;
}

impl Fields<'_> {
    fn get(&self, at: std::ops::Range<usize>) -> u32 {
        self.0[at].iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
    }

    fn long(&self, at: std::ops::Range<usize>) -> u64 {
        self.get(at).into()
    }

    fn op(&self) -> Option<Op> {
        Op::ALL.get(self.0[0] as usize).copied()
    }

    fn input(&self, index: usize) -> u16 {
        self.get(at::IN[index].clone()) as u16
    }

    /// Every field but the op and these is empty: all ones in references and bases, else 0.
    fn uses(&self, used: &[std::ops::Range<usize>]) -> Result<(), Fault> {
        let empty = |i: usize| if (2..8).contains(&i) || (24..32).contains(&i) { 0xff } else { 0 };
        let other = (1..STEP_BYTES).filter(|i| !used.iter().any(|field| field.contains(i)));
        must(other.into_iter().all(|i| self.0[i] == empty(i)), Fault::Unused)
    }
}

fn must(good: bool, fault: Fault) -> Result<(), Fault> {
    if good { Ok(()) } else { Err(fault) }
}

/// The program, and what was seen of it.
struct Walk<'a> {
    steps: &'a [[u8; STEP_BYTES]],
    params: &'a ModelParams,
    /// By slot; 0 is none.
    slots: Vec<bool>,
    seen: u32,
}

impl Walk<'_> {
    fn check(&mut self, step: u32, d: &Fields<'_>) -> Result<(), Fault> {
        let op = d.op().ok_or(Fault::Op)?;
        must((op == Op::Collect) == (step == self.params.collectStep), Fault::Place)?;
        must((op == Op::Sample) == (step == self.params.sampleStep), Fault::Place)?;
        match op {
            Op::Embed => self.embed(d),
            Op::RmsNorm => self.rms_norm(step, d),
            Op::Quantize => self.quantize(step, d),
            Op::Linear => self.linear(step, d),
            Op::Rope => self.rope(step, d),
            Op::Scores => self.scores(step, d),
            Op::Max | Op::Probs | Op::Sum => self.heads(step, d, op),
            Op::Mix => self.mix(step, d),
            Op::SwiGlu => {
                d.uses(&[at::IN[0].clone(), at::IN[1].clone(), at::N])?;
                self.fx(step, d.input(0), d.long(at::N))?;
                self.fx(step, d.input(1), d.long(at::N))
            }
            Op::Collect => {
                d.uses(&[at::N])?;
                must(d.get(at::N) == self.params.carried, Fault::Size)?;
                must(self.seen == self.params.carried, Fault::Slot)
            }
            Op::Sample => {
                d.uses(&[at::IN[0].clone(), at::N, at::K])?;
                let one = d.get(at::N) == 1 && d.get(at::K) == self.params.vocabulary;
                must(one, Fault::Size)?;
                self.fx(step, d.input(0), d.long(at::K))
            }
        }
    }

    fn embed(&self, d: &Fields<'_>) -> Result<(), Fault> {
        d.uses(&[at::FORMAT, at::N, at::K, at::GROUPS, at::W])?;
        let width = d.long(at::N);
        let format = blocks(d, width)?;
        must(d.long(at::K) == width && 4 * width <= BYTES_MAX, Fault::Size)?;
        must(d.get(at::GROUPS) == self.params.vocabulary, Fault::Size)?;
        self.leaves(d.long(at::W), u64::from(self.params.vocabulary), format, width)
    }

    fn rms_norm(&self, step: u32, d: &Fields<'_>) -> Result<(), Fault> {
        d.uses(&[at::IN[0].clone(), at::N, at::W, at::C0, at::C1])?;
        must((-8..=55).contains(&(d.get(at::C1) as i32)), Fault::Constant)?;
        must(d.get(at::C0) != 0, Fault::Constant)?;
        self.fx(step, d.input(0), d.long(at::N))?;
        self.leaves(d.long(at::W), 1, Format::I32, d.long(at::N))
    }

    fn quantize(&mut self, step: u32, d: &Fields<'_>) -> Result<(), Fault> {
        d.uses(&[at::IN[0].clone(), at::N, at::GROUPS, at::C0, at::SLOT])?;
        let groups = d.get(at::GROUPS);
        must(groups != 0 && d.get(at::N).is_multiple_of(groups), Fault::Size)?;
        must([ROW_BITS, Q_BITS, K_BITS].contains(&d.get(at::C0)), Fault::Constant)?;
        self.fx(step, d.input(0), d.long(at::N))?;
        let slot = d.get(at::SLOT) as usize;
        if slot == 0 {
            return Ok(());
        }
        let free = step < self.params.collectStep && self.slots.get(slot) == Some(&false);
        must(free, Fault::Slot)?;
        self.slots[slot] = true;
        self.seen += 1;
        Ok(())
    }

    fn linear(&self, step: u32, d: &Fields<'_>) -> Result<(), Fault> {
        let [in0, in1, _] = at::IN;
        d.uses(&[at::FORMAT, in0, in1, at::N, at::K, at::W, at::B])?;
        let (rows, cols) = (d.long(at::N), d.long(at::K));
        let format = blocks(d, cols)?;
        must(rows != 0 && 4 * rows <= BYTES_MAX, Fault::Size)?;
        self.quantized(step, d.input(0), cols, 1, ROW_BITS)?;
        if d.input(1) != NO_STEP {
            self.fx(step, d.input(1), rows)?;
        }
        self.leaves(d.long(at::W), rows, format, cols)?;
        if d.get(at::B) != NO_LEAF {
            self.leaves(d.long(at::B), 1, Format::I32, rows)?;
        }
        Ok(())
    }

    fn rope(&self, step: u32, d: &Fields<'_>) -> Result<(), Fault> {
        d.uses(&[at::IN[0].clone(), at::N, at::K, at::W, at::C0])?;
        let (size, rotated) = (d.long(at::K), d.long(at::C0));
        head(size)?;
        must(d.long(at::N).is_multiple_of(size), Fault::Size)?;
        let even = rotated != 0 && rotated.is_multiple_of(2) && rotated <= size;
        must(even, Fault::Constant)?;
        self.fx(step, d.input(0), d.long(at::N))?;
        self.leaves(d.long(at::W), u64::from(self.params.context), Format::I32, rotated)
    }

    fn scores(&self, step: u32, d: &Fields<'_>) -> Result<(), Fault> {
        let [in0, in1, _] = at::IN;
        d.uses(&[in0, in1, at::K, at::GROUPS, at::KV, at::C0, at::C1])?;
        let (heads, kv, size) = shared(d)?;
        must(4 * heads * u64::from(self.params.context) <= BYTES_MAX, Fault::Size)?;
        let scale = u128::from(d.get(at::C0));
        let square = u128::from(LOG2E_SQUARED_Q60 / size);
        let exact = scale * scale <= square && square < (scale + 1) * (scale + 1);
        must(exact, Fault::Constant)?;
        self.quantized(step, d.input(0), heads * size, heads, Q_BITS)?;
        self.own(step, d, d.input(1), (kv * size, kv, K_BITS))
    }

    fn mix(&self, step: u32, d: &Fields<'_>) -> Result<(), Fault> {
        let [in0, in1, in2] = at::IN;
        d.uses(&[in0, in1, in2, at::K, at::GROUPS, at::KV, at::C1])?;
        let (heads, kv, size) = shared(d)?;
        must(4 * heads * size <= BYTES_MAX, Fault::Size)?;
        self.per_head(step, d.input(0), Op::Probs, heads)?;
        let sum = self.per_head(step, d.input(1), Op::Sum, heads)?;
        must(sum.input(0) == d.input(0), Fault::Input)?;
        self.own(step, d, d.input(2), (kv * size, kv, V_BITS))
    }

    /// Max, Probs and Sum.
    fn heads(&self, step: u32, d: &Fields<'_>, op: Op) -> Result<(), Fault> {
        let heads = d.long(at::GROUPS);
        let [in0, in1, _] = at::IN;
        if op == Op::Probs {
            d.uses(&[in0, in1, at::GROUPS])?;
        } else {
            d.uses(&[in0, at::GROUPS])?;
        }
        let of = if op == Op::Sum { Op::Probs } else { Op::Scores };
        self.per_head(step, d.input(0), of, heads)?;
        if op == Op::Probs {
            let max = self.per_head(step, d.input(1), Op::Max, heads)?;
            must(max.input(0) == d.input(0), Fault::Input)?;
        }
        Ok(())
    }

    /// Rows of weights at a base leaf lie within the weights' tree.
    fn leaves(&self, base: u64, rows: u64, format: Format, cols: u64) -> Result<(), Fault> {
        let leaves = rows * cols.div_ceil(format.leaf_len() as u64);
        must(base + leaves <= u64::from(self.params.weightLeaves), Fault::Weights)
    }

    fn input(&self, step: u32, input: u16) -> Result<Fields<'_>, Fault> {
        must(u32::from(input) < step, Fault::Input)?;
        Ok(Fields(&self.steps[usize::from(input)]))
    }

    /// An earlier step whose tensor is `length` > 0 numbers of the residual stream's kind.
    fn fx(&self, step: u32, input: u16, length: u64) -> Result<(), Fault> {
        let d = self.input(step, input)?;
        let actual = match d.op() {
            Some(Op::Mix) => d.long(at::GROUPS) * d.long(at::K),
            Some(Op::Embed | Op::RmsNorm | Op::Linear | Op::Rope | Op::SwiGlu) => d.long(at::N),
            _ => 0,
        };
        must(actual == length && length != 0, Fault::Input)
    }

    /// An earlier step whose tensor is quantized like that.
    fn quantized(
        &self,
        step: u32,
        input: u16,
        n: u64,
        groups: u64,
        bits: u32,
    ) -> Result<Fields<'_>, Fault> {
        let d = self.input(step, input)?;
        let same = d.op() == Some(Op::Quantize)
            && d.long(at::N) == n
            && d.long(at::GROUPS) == groups
            && d.get(at::C0) == bits;
        must(same, Fault::Input)?;
        Ok(d)
    }

    /// As [`Self::quantized`], and it is what `d` reads as carried at earlier positions.
    fn own(
        &self,
        step: u32,
        d: &Fields<'_>,
        input: u16,
        (n, groups, bits): (u64, u64, u32),
    ) -> Result<(), Fault> {
        let row = self.quantized(step, input, n, groups, bits)?;
        must(row.long(at::SLOT) == d.long(at::C1) + 1, Fault::Slot)
    }

    /// An earlier step of this op with as many heads.
    fn per_head(&self, step: u32, input: u16, op: Op, heads: u64) -> Result<Fields<'_>, Fault> {
        let d = self.input(step, input)?;
        must(d.op() == Some(op) && d.long(at::GROUPS) == heads, Fault::Input)?;
        Ok(d)
    }
}

/// The format of rows of `cols` quantized weights.
fn blocks(d: &Fields<'_>, cols: u64) -> Result<Format, Fault> {
    let format = Format::try_from_code(d.get(at::FORMAT) as u8);
    let format = format.filter(|f| *f != Format::I32).ok_or(Fault::Format)?;
    must(cols != 0 && cols.is_multiple_of(format.block_len() as u64), Fault::Size)?;
    Ok(format)
}

fn head(size: u64) -> Result<(), Fault> {
    must(size != 0 && size.is_multiple_of(2) && size <= HEAD_MAX, Fault::Size)
}

/// Heads that share KV heads evenly: heads, KV heads, head size.
fn shared(d: &Fields<'_>) -> Result<(u64, u64, u64), Fault> {
    let (heads, kv, size) = (d.long(at::GROUPS), d.long(at::KV), d.long(at::K));
    head(size)?;
    must(heads != 0 && kv != 0 && heads.is_multiple_of(kv), Fault::Size)?;
    Ok((heads, kv, size))
}
