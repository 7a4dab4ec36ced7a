//! What the roots of a statement stand for: tensors of steps, carried tensors of earlier positions, weights, tokens, the
//! program. A world is filled, then sealed over the leaves that will be opened.

use super::content::{LEAF_BYTES, Matrix, Tensor};
use super::sparse::{Sparse, leaf};
use alloy::primitives::B256;
use refute_contracts::bindings::{Opening, Statement};
use std::collections::{BTreeMap, BTreeSet};

/// A leaf to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "fields are named as in kernels/README.md")]
pub enum Ask {
    /// Of a step's tensor.
    Step { step: u16, leaf: u32 },
    /// Of a carried tensor of an earlier position.
    Carried { index: u32, position: u32, leaf: u32 },
    /// Of the weights tree.
    Weight { leaf: u32 },
    /// The leaf of the prompt or the output that holds the token of block `t`.
    Token { t: u32 },
    /// A step's descriptor, with the step's index.
    Program { step: u16 },
    /// The root of a step's tensor.
    Root { step: u16 },
}

/// Everything that a step can read.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The sizes; sealing adds the roots.
    pub statement: Statement,
    /// Tensors of earlier steps.
    pub steps: BTreeMap<u16, Tensor>,
    /// The tensors carried from earlier positions, by their place under the block root.
    pub carried: BTreeMap<u32, Carried>,
    /// Matrices of the model.
    pub weights: Vec<Matrix>,
    /// The prompt's tokens.
    pub prompt: Option<Tensor>,
    /// The output's tokens.
    pub output: Option<Tensor>,
    /// Descriptors of steps.
    pub program: BTreeMap<u16, [u8; 64]>,
    /// For the nodes that nobody knows.
    pub seed: u64,
}

/// A carried tensor at all positions.
#[derive(Clone, Debug)]
pub enum Carried {
    /// Drawn anew at each.
    Drawn(Tensor),
    /// Known at each.
    Listed(Vec<Tensor>),
}

impl Carried {
    /// The tensor of a position.
    pub fn at(&self, position: u32) -> Tensor {
        match self {
            Self::Drawn(tensor) => tensor.at_position(position),
            Self::Listed(tensors) => tensors[position as usize].clone(),
        }
    }
}

impl World {
    /// The tokens that hold block `t`'s, the token's index among them, and whether they are the prompt.
    ///
    /// # Panics
    /// In a world without tokens.
    pub fn tokens(&self, t: u32) -> (&Tensor, u32, bool) {
        let prompt = self.statement.promptLength;
        if t < prompt {
            (self.prompt.as_ref().expect("a prompt"), t, true)
        } else {
            (self.output.as_ref().expect("an output"), t - prompt, false)
        }
    }

    /// The matrix that holds a leaf of the weights tree.
    ///
    /// # Panics
    /// If no matrix does.
    pub fn matrix(&self, leaf: u32) -> &Matrix {
        let holds = |m: &&Matrix| m.base <= leaf && leaf < m.end();
        self.weights.iter().find(holds).expect("a leaf of a matrix")
    }

    /// Computes all trees, of which the leaves asked for are known.
    ///
    /// # Panics
    /// If something is asked for that this world doesn't have.
    pub fn seal(mut self, asks: &BTreeSet<Ask>) -> Sealed {
        let mut data = BTreeMap::new();
        let (mut steps, mut carried) = (Forest::new(), Forest::new());
        let (mut weights, mut program) = (BTreeMap::new(), BTreeMap::new());
        let (mut prompt, mut output) = (BTreeMap::new(), BTreeMap::new());
        for &ask in asks {
            let bytes = self.data(ask);
            let hash = leaf(&bytes);
            match ask {
                Ask::Step { step, leaf } => put(&mut steps, step, leaf, hash),
                Ask::Carried { index, position, leaf } => {
                    put(&mut carried, (position, index), leaf, hash);
                }
                Ask::Weight { leaf } => put(&mut weights, (), leaf, hash),
                Ask::Token { t } => {
                    let (_, i, in_prompt) = self.tokens(t);
                    let known = if in_prompt { &mut prompt } else { &mut output };
                    put(known, (), i / 256, hash);
                }
                // The index in front of a descriptor isn't part of the leaf.
                Ask::Program { step } => put(&mut program, (), step.into(), leaf(&bytes[4..])),
                Ask::Root { step } => {
                    steps.entry(step).or_default();
                }
            }
            data.insert(ask, bytes);
        }
        let seed = self.seed;
        let s = &mut self.statement;
        let tensors = trees(steps, |step| self.steps[&step].leaves(), seed ^ 1);
        let roots = tensors.iter().map(|(step, tree)| (u32::from(*step), tree.root()));
        let step_tree = Sparse::new(s.blockSteps, roots.collect(), seed ^ 2);

        let row_leaves = |(t, index)| self.carried[&index].at(t).leaves();
        let rows = trees(carried, row_leaves, seed ^ 3);
        let mut blocks = Forest::new();
        rows.iter().for_each(|(&(t, index), row)| put(&mut blocks, t, index, row.root()));
        let blocks = trees(blocks, |_| s.carried, seed ^ 4);
        let roots = blocks.iter().map(|(t, tree)| (*t, tree.root())).collect();
        let trace = Sparse::new(s.blocks, roots, seed ^ 5);

        let single = |mut known: Forest<()>, leaves, salt| {
            Sparse::new(leaves, known.remove(&()).unwrap_or_default(), seed ^ salt)
        };
        let weights = single(weights, s.weightLeaves, 6);
        let program = single(program, s.programSteps, 7);
        let prompt = single(prompt, s.promptLength.div_ceil(256), 8);
        let output = single(output, s.outputLength.div_ceil(256), 9);
        s.programRoot = program.root();
        s.weightsRoot = weights.root();
        s.traceRoot = trace.root();
        s.promptRoot = prompt.root();
        s.outputRoot = output.root();
        s.stepRoot = step_tree.root();
        let trees =
            Trees { tensors, step_tree, rows, blocks, trace, weights, program, prompt, output };
        let mut sealed = Sealed { world: self, data, trees };
        sealed.fill_roots();
        sealed
    }

    /// The bytes of a leaf, but a step's root, which the trees know.
    fn data(&self, ask: Ask) -> Vec<u8> {
        match ask {
            Ask::Step { step, leaf } => self.steps[&step].leaf(leaf),
            Ask::Carried { index, position, leaf } => self.carried[&index].at(position).leaf(leaf),
            Ask::Weight { leaf } => {
                let matrix = self.matrix(leaf);
                let (row, u) = (leaf - matrix.base, matrix.leaves_per_row());
                matrix.leaf(row / u, row % u)
            }
            Ask::Token { t } => {
                let (tokens, i, _) = self.tokens(t);
                tokens.leaf((u64::from(i) * 4 / LEAF_BYTES) as u32)
            }
            Ask::Program { step } => {
                [u32::from(step).to_le_bytes().as_slice(), &self.program[&step]].concat()
            }
            Ask::Root { .. } => Vec::new(),
        }
    }
}

/// Known leaves of several trees.
type Forest<K> = BTreeMap<K, BTreeMap<u32, B256>>;

fn put<K: Ord>(forest: &mut Forest<K>, tree: K, leaf: u32, hash: B256) {
    forest.entry(tree).or_default().insert(leaf, hash);
}

fn trees<K: Ord + Copy>(
    forest: Forest<K>,
    leaves: impl Fn(K) -> u32,
    seed: u64,
) -> BTreeMap<K, Sparse> {
    let numbered = forest.into_iter().zip(0u64..);
    let tree = |((key, known), i): ((K, BTreeMap<u32, B256>), u64)| {
        (key, Sparse::new(leaves(key), known, seed.wrapping_add(i << 40)))
    };
    numbered.map(tree).collect()
}

#[derive(Clone, Debug)]
struct Trees {
    tensors: BTreeMap<u16, Sparse>,
    step_tree: Sparse,
    rows: BTreeMap<(u32, u32), Sparse>,
    blocks: BTreeMap<u32, Sparse>,
    trace: Sparse,
    weights: Sparse,
    program: Sparse,
    prompt: Sparse,
    output: Sparse,
}

/// A world whose roots are fixed.
#[derive(Clone, Debug)]
pub struct Sealed {
    world: World,
    data: BTreeMap<Ask, Vec<u8>>,
    trees: Trees,
}

impl Sealed {
    /// The statement with all roots; mode, accumulators and value are the caller's.
    pub fn statement(&self) -> &Statement {
        &self.world.statement
    }

    /// The root of a step's tensor.
    ///
    /// # Panics
    /// If nothing of it was asked for.
    pub fn root(&self, step: u16) -> B256 {
        self.trees.tensors[&step].root()
    }

    fn fill_roots(&mut self) {
        for (ask, data) in &mut self.data {
            if let Ask::Root { step } = ask {
                *data = self.trees.tensors[step].root().to_vec();
            }
        }
    }

    /// An opening as the table in `kernels/README.md` has it.
    ///
    /// # Panics
    /// If it wasn't asked for when the world was sealed.
    pub fn open(&self, ask: Ask) -> Opening {
        let trees = &self.trees;
        let proof = match ask {
            Ask::Step { step, leaf } => {
                [trees.tensors[&step].path(leaf), trees.step_tree.path(step.into())].concat()
            }
            Ask::Carried { index, position, leaf } => [
                trees.rows[&(position, index)].path(leaf),
                trees.blocks[&position].path(index),
                trees.trace.path(position),
            ]
            .concat(),
            Ask::Weight { leaf } => trees.weights.path(leaf),
            Ask::Token { t } => {
                let (_, i, in_prompt) = self.world.tokens(t);
                if in_prompt { &trees.prompt } else { &trees.output }.path(i / 256)
            }
            Ask::Program { step } => trees.program.path(step.into()),
            Ask::Root { step } => trees.step_tree.path(step.into()),
        };
        Opening { data: self.data[&ask].clone().into(), proof }
    }
}
