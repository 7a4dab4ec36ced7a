//! Blocks computed again for a dispute: the same tensors as the reference executor's, whoever computes them.

use refute_engine::backend::{Choice, Options};
use refute_engine::executor::{Cache, run_block};
use refute_engine::fault::FaultSpec;
use refute_engine::model::Model;
use refute_engine::program::Op;
use refute_engine::trace::{Expansion, Run};
use refute_kernels::backend::{Backend, BackendError, Quantized, Sequence, Steps};
use refute_tests::tiny::Shape;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

fn all(_: u32, _: Option<u32>) -> bool {
    true
}

/// A model with the CPU attached.
fn backed(shape: &Shape) -> Arc<Model> {
    let model = shape.model();
    Options { backend: Choice::Cpu, ..Options::default() }.attach(&model).expect("a backend");
    model
}

/// Every block of a run, computed from the first position on by the reference executor alone.
fn blocks(model: &Model, run: &Run) -> Vec<Expansion> {
    let mut cache = Cache::new(model, run.blocks() as usize);
    let block = |t| {
        let (position, is_output) = ((t, run.token(t)), run.is_output(t));
        let block = run_block(model, &mut cache, position, is_output, run.sampling(), run.fault());
        let tensors = block.expect("a block").tensors;
        let trees: Vec<_> = tensors.iter().map(|tensor| tensor.tree().expect("a tree")).collect();
        let roots = trees.iter().map(|tree| tree.root()).collect();
        let tree = refute_bisection::merkle::Tree::new(roots).expect("a tree");
        Expansion { block: t, tensors, trees, tree }
    };
    (0..run.blocks()).map(block).collect()
}

fn assert_same(found: &Expansion, expected: &Expansion, model: &Model, what: &str) {
    let pairs = found.tensors.iter().zip(&expected.tensors);
    for ((found, expected), step) in pairs.zip(&model.program.steps) {
        assert!(found == expected, "{}: {what}", step.name);
    }
    assert_eq!(found.tensors.len(), expected.tensors.len(), "{what}");
    let roots = |e: &Expansion| e.trees.iter().map(|tree| tree.root()).collect::<Vec<_>>();
    assert_eq!(roots(found), roots(expected), "{what}");
    assert_eq!(found.tree.root(), expected.tree.root(), "{what}");
}

/// Expands every block of a run, and compares with the reference executor.
fn check(plain: &Arc<Model>, run: &Run, what: &str) {
    for expected in blocks(plain, run) {
        let block = expected.block;
        let found = run.expand(block).expect("a block");
        assert_same(&found, &expected, plain, &format!("block {block}, {what}"));
    }
}

#[test]
fn a_block_is_expanded_as_the_reference_executor_runs_it() {
    for shape in [
        Shape::default(),
        Shape { seed: 9, layers: 1, tied: true, biases: false, ..Shape::default() },
        Shape { seed: 4, layers: 3, ..Shape::default() },
    ] {
        let (plain, model) = (shape.model(), backed(&shape));
        for (len, max) in [(1, 3), (40, 3)] {
            let prompt: Vec<u32> = (0..len).map(|i| (i * 37 + 5) % 300).collect();
            for model in [&model, &plain] {
                let run = Run::generate(model, &prompt, max, None, &mut all).expect("a run");
                check(&plain, &run, &format!("{len} + {max}, {shape:?}"));
            }
        }
    }
}

/// Every step can be the faulty one, in a prompt block and in one with an output.
#[test]
fn a_faulty_block_is_expanded_with_its_fault() {
    let shape = Shape { layers: 2, ..Shape::default() };
    let (plain, model) = (shape.model(), backed(&shape));
    let prompt: Vec<u32> = (0..4).map(|i| i * 37 + 5).collect();
    let honest = Run::generate(&model, &prompt, 3, None, &mut all).expect("a run");
    let mut ops = Vec::new();
    for (index, step) in model.program.steps.iter().enumerate() {
        for block in [1, 3] {
            if !honest.is_output(block) && index > model.program.collect as usize {
                continue;
            }
            let spec: FaultSpec = format!("{block}:{index}:0").parse().expect("a fault");
            // A false token may end the answer: enough to have the block.
            let run = Run::generate(&model, &prompt, 3, Some(&spec), &mut all).expect("a run");
            let (found, before) =
                (run.expand(block).expect("a block"), honest.expand(block).expect("a block"));
            assert!(found.tensors[index] != before.tensors[index], "{spec} changes nothing");
            assert!(found.tensors[..index] == before.tensors[..index], "{spec} reaches back");
            check(&plain, &run, &spec.to_string());
            ops.push(step.descriptor.op as u8);
        }
    }
    ops.sort_unstable();
    ops.dedup();
    assert_eq!(ops, (Op::Embed as u8..=Op::Sample as u8).collect::<Vec<_>>(), "every op had one");
}

/// A step that a backend was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Linear(usize),
    Scores,
    Probs,
    Mix,
    SwiGlu,
}

/// A backend that writes down which steps it was asked for; it can lie about one, or be busy.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn Backend>,
    did: Mutex<Vec<Did>>,
    lie: Mutex<Option<Did>>,
    busy: AtomicBool,
}

struct WatchedSteps<'a> {
    inner: Box<dyn Steps + 'a>,
    watched: &'a Watched,
}

impl Backend for Watched {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn adapter(&self) -> Option<String> {
        self.inner.adapter()
    }
    fn batch(&self) -> usize {
        self.inner.batch()
    }
    fn sequence(self: Arc<Self>, positions: usize) -> Result<Box<dyn Sequence>, BackendError> {
        Arc::clone(&self.inner).sequence(positions)
    }
    fn steps(&self) -> Option<Box<dyn Steps + '_>> {
        let inner = self.inner.steps().filter(|_| !self.busy.load(Ordering::Relaxed))?;
        Some(Box::new(WatchedSteps { inner, watched: self }))
    }
}

impl WatchedSteps<'_> {
    /// Writes the step down, and falsifies its result if it is the one to lie about.
    fn watch(&self, step: Did, lie: impl FnOnce()) {
        self.watched.did.lock().unwrap().push(step);
        if *self.watched.lie.lock().unwrap() == Some(step) {
            lie();
        }
    }
}

impl Steps for WatchedSteps<'_> {
    fn linear(
        &mut self,
        index: usize,
        x: Quantized<'_>,
        residual: Option<&[i32]>,
        out: &mut [i32],
    ) {
        self.inner.linear(index, x, residual, out);
        self.watch(Did::Linear(index), || out[0] ^= 1);
    }
    fn scores(&mut self, q: Quantized<'_>, k: Quantized<'_>, out: &mut [i32]) {
        self.inner.scores(q, k, out);
        self.watch(Did::Scores, || out[0] ^= 1);
    }
    fn mix(&mut self, probs: &[u16], sums: &[u32], v: Quantized<'_>, out: &mut [i32]) {
        self.inner.mix(probs, sums, v, out);
        self.watch(Did::Mix, || out[0] ^= 1);
    }
    fn probs(&mut self, scores: &[i32], maxima: &[i32], out: &mut [u16]) {
        self.inner.probs(scores, maxima, out);
        self.watch(Did::Probs, || out[0] ^= 1);
    }
    fn swiglu(&mut self, gate: &[i32], up: &[i32], out: &mut [i32]) {
        self.inner.swiglu(gate, up, out);
        self.watch(Did::SwiGlu, || out[0] ^= 1);
    }
}

/// What a model of so many layers asks for, in a block that ends at `Collect` or with an output.
fn asked(layers: usize, is_output: bool) -> Vec<Did> {
    let attention = [Did::Scores, Did::Probs, Did::Mix];
    let mut steps = Vec::new();
    for l in 0..layers {
        let linear = |i: usize| Did::Linear(7 * l + i);
        steps.extend([linear(0), linear(1)]);
        if is_output || l + 1 < layers {
            steps.push(linear(2));
            steps.extend(attention);
            steps.extend((3..6).map(linear));
            steps.extend([Did::SwiGlu, linear(6)]);
        }
    }
    steps.extend(is_output.then_some(Did::Linear(7 * layers)));
    steps
}

#[test]
fn the_backend_computes_its_steps_once_each_unless_it_is_busy() {
    let shape = Shape::default();
    let (plain, model) = (shape.model(), backed(&shape));
    let watched = Arc::new(Watched {
        inner: model.backend().expect("a backend"),
        did: Mutex::default(),
        lie: Mutex::default(),
        busy: AtomicBool::new(false),
    });
    model.set_backend(Arc::clone(&watched) as Arc<dyn Backend>);
    let run = Run::generate(&model, &[5, 42, 7], 2, None, &mut all).expect("a run");
    let did = || std::mem::take(&mut *watched.did.lock().unwrap());
    assert_eq!(did(), [], "a run takes no single steps");
    let expected = blocks(&plain, &run);
    for block in [3, 1] {
        let found = run.expand(block).expect("a block");
        assert_same(&found, &expected[block as usize], &plain, "watched");
        assert_eq!(did(), asked(shape.layers as usize, run.is_output(block)));
    }
    for lie in asked(shape.layers as usize, true) {
        *watched.lie.lock().unwrap() = Some(lie);
        let found = run.expand(3).expect("a block");
        assert!(found.tree.root() != expected[3].tree.root(), "a lie about {lie:?} went nowhere");
    }
    watched.busy.store(true, Ordering::Relaxed);
    did();
    assert_same(&run.expand(3).expect("a block"), &expected[3], &plain, "busy");
    assert_eq!(did(), [], "the reference takes over");
}
