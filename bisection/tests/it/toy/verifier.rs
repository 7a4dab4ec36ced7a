//! The last step: witnesses, and the toy contract that decides by them.

use super::program::{CARRIED, Op, Source, finalize, unit};
use super::trace::{ToyClaim, ToyTrace, encode};
use refute_bisection::history::History;
use refute_bisection::layout::Layout;
use refute_bisection::merkle::{self, Hash, Tree, bytes_leaves, leaf_hash, verify_path};
use refute_bisection::player::{Player, PlayerError};
use refute_bisection::position::{Block, Element, Index, Level, Step};
use refute_bisection::state::{Mode, Party, State, Word, word_from_i128, word_to_i128};
use refute_bisection::trace::Trace;
use std::convert::Infallible;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub data: Vec<u8>,
    pub proof: Vec<Hash>,
}

/// Computes what the state's mode asks for.
fn evaluate<S: Source>(op: Op, state: &State, source: &mut S) -> Result<Option<Word>, S::Error> {
    let (t, element) = (state.block.0, state.element.0);
    if op == Op::Collect {
        return source.root(element).map(Some);
    }
    let Some(acc) = word_to_i128(&state.acc_lo) else { return Ok(None) };
    Ok(Some(match state.mode {
        Mode::Whole => {
            let acc = unit(op, t, element, 0, acc, source)?;
            word_from_i128(finalize(op, element, acc, source)?.into())
        }
        Mode::Segment => word_from_i128(unit(op, t, element, state.lo, acc, source)?),
        Mode::Finalize => word_from_i128(finalize(op, element, acc, source)?.into()),
    }))
}

type PathError = PlayerError<Infallible>;

/// Reads the own trace and keeps what it opened.
struct Recorder<'a, P> {
    player: &'a P,
    history: &'a History,
    trace: &'a ToyTrace,
    claim: &'a ToyClaim,
    openings: Vec<Opening>,
}

fn open_tensor(values: &[i64], element: u32) -> (Vec<u8>, Vec<Hash>) {
    let bytes = encode(values);
    let leaf = element / 256;
    let data = bytes_leaves(&bytes)[leaf as usize].to_vec();
    (data, Tree::of_bytes(&bytes).unwrap().path(Index(leaf)).unwrap())
}

impl<P: Player<Trace = ToyTrace>> Source for Recorder<'_, P> {
    type Error = PathError;

    fn token(&mut self) -> Result<u32, PathError> {
        let t = self.history.state().block.0;
        let prompt = self.claim.prompt_tokens();
        let (tokens, index) =
            if t < prompt { (&self.claim.prompt, t) } else { (&self.claim.output, t - prompt) };
        let leaf = Index(index / merkle::LEAF_TOKENS);
        let proof = merkle::token_tree(tokens)?.path(leaf).unwrap();
        self.openings.push(Opening { data: merkle::token_leaf(tokens, leaf), proof });
        Ok(tokens[index as usize])
    }

    fn own(&mut self, step: Step, element: u32) -> Result<i64, PathError> {
        let block = self.history.state().block;
        let elements = super::program::PROGRAM[step.0 as usize].elements();
        let values: Vec<i64> =
            (0..elements).map(|element| self.trace.value(block, step, element)).collect();
        let (data, mut proof) = open_tensor(&values, element);
        proof.extend(self.player.step_path(self.history, step)?);
        self.openings.push(Opening { data, proof });
        Ok(values[element as usize])
    }

    fn carried(&mut self, position: u32, slot: u32, element: u32) -> Result<i64, PathError> {
        let block = Block(position);
        let values = self.trace.carried(block, slot);
        let (data, mut proof) = open_tensor(values, element);
        let roots = Tree::new(self.trace.collect(block).to_vec())?;
        proof.extend(roots.path(Index(slot)).unwrap());
        proof.extend(self.player.trace_path(self.history, block)?);
        self.openings.push(Opening { data, proof });
        Ok(values[element as usize])
    }

    fn root(&mut self, slot: u32) -> Result<Hash, PathError> {
        let (block, step) = (self.history.state().block, CARRIED[slot as usize]);
        let descriptor = self.claim.descriptor(step).unwrap();
        let data = [&step.0.to_le_bytes()[..], &descriptor.bytes()].concat();
        let proof = self.claim.program_path(step).unwrap();
        self.openings.push(Opening { data, proof });
        let Ok(roots) = self.trace.step_roots(block);
        let root = roots[step.0 as usize];
        let proof = self.player.step_path(self.history, step)?;
        self.openings.push(Opening { data: root.to_vec(), proof });
        Ok(root)
    }
}

/// The witness of the step that a dispute has come to, from a player's own data.
pub fn witness<P: Player<Trace = ToyTrace>>(
    player: &P,
    history: &History,
    trace: &ToyTrace,
    claim: &ToyClaim,
) -> Result<Vec<Opening>, PathError> {
    let mut recorder = Recorder { player, history, trace, claim, openings: Vec::new() };
    let op = ToyClaim::op(&history.state().descriptor())?;
    evaluate(op, history.state(), &mut recorder)?;
    Ok(recorder.openings)
}

/// A witness that proves nothing decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoProof;

struct Witness<'a> {
    claim: &'a ToyClaim,
    state: &'a State,
    openings: std::slice::Iter<'a, Opening>,
}

impl Witness<'_> {
    fn next(&mut self) -> Result<Opening, NoProof> {
        self.openings.next().cloned().ok_or(NoProof)
    }

    /// Climbs one tree after the other, each with its own depth.
    fn climb(
        &self,
        mut hash: Hash,
        proof: &[Hash],
        trees: &[(u32, u32)],
        root: Hash,
    ) -> Result<(), NoProof> {
        let mut rest = proof;
        for (leaves, index) in trees {
            let depth = merkle::depth(*leaves).0 as usize;
            let path = rest.get(..depth).ok_or(NoProof)?;
            rest = &rest[depth..];
            hash = merkle::root_of_path(hash, Index(*index), path);
        }
        if rest.is_empty() && hash == root { Ok(()) } else { Err(NoProof) }
    }

    fn read(&self, op: Op, element: u32, data: &[u8]) -> Result<i64, NoProof> {
        let (descriptor, leaf) = (op.descriptor(), Index(element / 256));
        let block = self.state.block;
        let word = self.claim.decode(&descriptor, block, leaf, Element(element), data);
        let value = word_to_i128(&word.map_err(|_| NoProof)?);
        value.and_then(|value| i64::try_from(value).ok()).ok_or(NoProof)
    }
}

impl Source for Witness<'_> {
    type Error = NoProof;

    fn token(&mut self) -> Result<u32, NoProof> {
        let Opening { data, proof } = self.next()?;
        let (t, prompt) = (self.state.block.0, self.claim.prompt_tokens());
        let (tokens, index) =
            if t < prompt { (&self.claim.prompt, t) } else { (&self.claim.output, t - prompt) };
        let leaf = index / merkle::LEAF_TOKENS;
        let leaves = (tokens.len() as u32).div_ceil(merkle::LEAF_TOKENS);
        let root = merkle::token_root(tokens).unwrap();
        self.climb(leaf_hash(&data), &proof, &[(leaves, leaf)], root)?;
        Ok(tokens[index as usize])
    }

    fn own(&mut self, step: Step, element: u32) -> Result<i64, NoProof> {
        let Opening { data, proof } = self.next()?;
        if step >= self.state.step {
            return Err(NoProof);
        }
        let op = super::program::PROGRAM[step.0 as usize];
        let steps = self.claim.steps(self.state.block);
        let trees = [(op.elements().div_ceil(256), element / 256), (steps, step.0)];
        self.climb(leaf_hash(&data), &proof, &trees, self.state.step_root)?;
        self.read(op, element, &data)
    }

    fn carried(&mut self, position: u32, slot: u32, element: u32) -> Result<i64, NoProof> {
        let Opening { data, proof } = self.next()?;
        let op = super::program::PROGRAM[CARRIED[slot as usize].0 as usize];
        let trees = [
            (op.elements().div_ceil(256), element / 256),
            (CARRIED.len() as u32, slot),
            (self.claim.blocks(), position),
        ];
        self.climb(leaf_hash(&data), &proof, &trees, self.claim.root)?;
        self.read(op, element, &data)
    }

    fn root(&mut self, slot: u32) -> Result<Hash, NoProof> {
        let Opening { data, proof } = self.next()?;
        let (index, descriptor) = data.split_first_chunk::<4>().ok_or(NoProof)?;
        let step = u32::from_le_bytes(*index);
        let depth = merkle::depth(self.claim.program_steps());
        let leaf = leaf_hash(descriptor);
        let named = verify_path(leaf, Index(step), &proof, depth, self.claim.program_root());
        if !named || u32::from(descriptor[47]) != slot + 1 {
            return Err(NoProof);
        }
        let Opening { data, proof } = self.next()?;
        let root: Hash = data.try_into().map_err(|_| NoProof)?;
        let depth: Level = merkle::depth(self.claim.steps(self.state.block));
        let shown = verify_path(root, Index(step), &proof, depth, self.state.step_root);
        if shown { Ok(root) } else { Err(NoProof) }
    }
}

/// The toy contract's `step`.
pub fn decide(claim: &ToyClaim, state: &State, openings: &[Opening]) -> Result<Party, NoProof> {
    let op = ToyClaim::op(&state.descriptor()).map_err(|_| NoProof)?;
    let mut source = Witness { claim, state, openings: openings.iter() };
    let computed = evaluate(op, state, &mut source)?.ok_or(NoProof)?;
    if source.openings.next().is_some() {
        return Err(NoProof);
    }
    state.verdict(&computed).ok_or(NoProof)
}
