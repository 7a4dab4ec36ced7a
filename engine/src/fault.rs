//! A provider that misbehaves on purpose, for drills and tests: one element of one step is changed, and everything that
//! follows from it is computed honestly.

use crate::executor::Tensor;
use crate::model::Model;
use crate::program::{Descriptor, Op};
use std::fmt;
use std::str::FromStr;

/// What to falsify, as written on the command line: `BLOCK:STEP:ELEMENT` or `token:INDEX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultSpec {
    /// One element of a step's tensor.
    Element {
        /// Position.
        block: u32,
        /// Index or name.
        step: String,
        /// Element of the tensor.
        element: u32,
    },
    /// One output token.
    Token {
        /// Index in the output.
        index: u32,
    },
}

/// Why a fault can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Not in either form.
    #[error(
        "{0:?} is not a fault: write BLOCK:STEP:ELEMENT (like 3:blk.7.ffn_gate:12) or token:INDEX"
    )]
    Syntax(String),
    /// No such step.
    #[error("step {0:?} is not in the program: see `refute model program --model ID`")]
    Step(String),
    /// The claim is shorter.
    #[error("the claim has {blocks} blocks (0 to {last}): block {block} is not one of them", last = blocks - 1)]
    Block {
        /// Asked for.
        block: u32,
        /// Of the claim.
        blocks: u32,
    },
    /// A prompt block ends earlier.
    #[error(
        "block {block} is a prompt block and ends at `collect`: {step} is not computed there and reaches no \
         committed value; the prompt has {prompt} tokens, so output blocks start at {first}", first = prompt - 1
    )]
    NotComputed {
        /// Position.
        block: u32,
        /// The step's name.
        step: String,
        /// Tokens of the prompt.
        prompt: u32,
    },
    /// The tensor is shorter.
    #[error(
        "{step} has {elements} elements in block {block}: element {element} is not one of them"
    )]
    Element {
        /// Position.
        block: u32,
        /// The step's name.
        step: String,
        /// Asked for.
        element: u32,
        /// Of the tensor.
        elements: u32,
    },
    /// Everything that is committed stays the same.
    #[error(
        "changing {0} reaches no committed value and no token (rounding or the softmax absorbs it): the claim would be \
         honest; choose another element"
    )]
    NoEffect(String),
}

impl FromStr for FaultSpec {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let syntax = || FaultError::Syntax(text.to_owned());
        let number = |s: &str| s.parse::<u32>().map_err(|_| syntax());
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            ["token", index] => Ok(Self::Token { index: number(index)? }),
            [block, step, element] if !step.is_empty() => Ok(Self::Element {
                block: number(block)?,
                step: step.to_owned(),
                element: number(element)?,
            }),
            _ => Err(syntax()),
        }
    }
}

impl fmt::Display for FaultSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Element { block, step, element } => write!(f, "{block}:{step}:{element}"),
            Self::Token { index } => write!(f, "token:{index}"),
        }
    }
}

/// A fault at its place in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Position.
    pub block: u32,
    /// Step of the program.
    pub step: u32,
    /// Element of the step's tensor.
    pub element: u32,
    sample: u32,
}

impl Fault {
    /// Finds the fault's place for a prompt of `prompt` tokens.
    ///
    /// # Errors
    /// Steps and elements that don't exist, and steps that a prompt block doesn't compute.
    pub fn resolve(spec: &FaultSpec, model: &Model, prompt: u32) -> Result<Self, FaultError> {
        let program = &model.program;
        let first_output = prompt.saturating_sub(1);
        let (block, step, element) = match spec {
            FaultSpec::Token { index } => (first_output.saturating_add(*index), program.sample, 0),
            FaultSpec::Element { block, step, element } => {
                let index = program.find(step).ok_or_else(|| FaultError::Step(step.clone()))?;
                (*block, index, *element)
            }
        };
        if block >= model.config.context {
            return Err(FaultError::Block { block, blocks: model.config.context });
        }
        let name = || program.steps[step as usize].name.clone();
        if block < first_output && step > program.collect {
            return Err(FaultError::NotComputed { block, step: name(), prompt });
        }
        let descriptor = &program.steps[step as usize].descriptor;
        let elements = descriptor.shape(block).map_or(0, |shape| shape.elements);
        if element >= elements {
            return Err(FaultError::Element { block, step: name(), element, elements });
        }
        Ok(Self { block, step, element, sample: program.sample })
    }

    /// Whether this step of this block is the one.
    pub fn hits(&self, block: u32, step: u32) -> bool {
        (block, step) == (self.block, self.step)
    }

    /// Whether a token is changed, not a tensor within.
    pub fn is_token(&self) -> bool {
        self.step == self.sample
    }

    /// Changes the element to about the strongest wrong value that an honest tensor could hold, so that it doesn't vanish in
    /// a later rounding.
    pub fn corrupt(&self, descriptor: &Descriptor, tensor: &mut Tensor, stop_ids: &[u32]) {
        let i = self.element as usize;
        match tensor {
            Tensor::Ints(v) => v[i] = wrong_int(descriptor.op, v, i),
            Tensor::Quantized { values, shifts } => match i.checked_sub(values.len()) {
                None => {
                    let limit = ((1u32 << descriptor.c0.min(15)) - 1) as i16;
                    values[i] = if values[i] > 0 { -limit } else { limit };
                }
                Some(group) => shifts[group] = shifts[group].checked_sub(1).unwrap_or(1),
            },
            Tensor::Probs(v) => v[i] = if v[i] < 1 << 13 { 1 << 14 } else { 0 },
            Tensor::Words(v) if descriptor.op == Op::Sample => {
                v[i] = wrong_token(v[i], descriptor.k, stop_ids);
            }
            Tensor::Words(v) => v[i] = v[i].saturating_mul(2),
            Tensor::Roots(v) => v[i] = v[i].map(|byte| !byte),
        }
    }
}

fn wrong_int(op: Op, values: &[i32], i: usize) -> i32 {
    match op {
        Op::Max => values[i].saturating_add(1 << 20).min(i32::MAX - 1),
        _ if values.iter().all(|v| *v <= values[i]) => -(1 << 28),
        _ => 1 << 28,
    }
}

/// Another token that an answer can hold in the middle; in a vocabulary of nothing else, any other token.
fn wrong_token(token: u32, vocabulary: u32, stop_ids: &[u32]) -> u32 {
    let others = || {
        (1..vocabulary).map(|k| ((u64::from(token) + u64::from(k)) % u64::from(vocabulary)) as u32)
    };
    let first = others().next().unwrap_or(token);
    others().find(|id| !stop_ids.contains(id)).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_parse_and_print() {
        for text in ["3:blk.7.ffn_gate:12", "0:14:0", "token:5"] {
            assert_eq!(text.parse::<FaultSpec>().unwrap().to_string(), text);
        }
        for text in ["", "token", "token:x", "1:2", "1::2", "-1:a:0", "1:a:2:3", "99999999999:a:0"]
        {
            assert!(text.parse::<FaultSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_token_is_another_one_and_no_stop() {
        assert_eq!(wrong_token(3, 8, &[4]), 5);
        assert_eq!(wrong_token(7, 8, &[0]), 1);
        assert_eq!(wrong_token(0, 2, &[1]), 1);
    }
}
