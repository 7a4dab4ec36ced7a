//! Runs on backends: the same trace root, tokens and disputes' contents as the reference executor, whatever the batches and
//! whatever fails on the way.

use refute_engine::backend::{Choice, Options};
use refute_engine::eval::evaluate;
use refute_engine::fault::{Fault, FaultSpec};
use refute_engine::model::Model;
use refute_engine::trace::{Ask, Run, RunError};
use refute_kernels::backend::{Backend, BackendError, Batch, Head, Rows, Sequence, prove};
use refute_kernels::reference::{Reference, Sampling};
use refute_tests::real;
use refute_tests::tiny::Shape;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn prompt(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + 5) % 300).collect()
}

fn shapes() -> [Shape; 3] {
    [
        Shape::default(),
        Shape { seed: 9, layers: 1, tied: true, biases: false, ..Shape::default() },
        Shape { seed: 4, layers: 3, ..Shape::default() },
    ]
}

/// Lets the CPU run it, or the adapter that `$REFUTE_ADAPTER` names.
fn attach(model: &Model, choice: Choice) {
    let adapter = std::env::var("REFUTE_ADAPTER").ok();
    Options { backend: choice, adapter, ..Options::default() }.attach(model).expect("a backend");
}

/// The model twice: by the reference executor, and on a backend.
fn pair(shape: &Shape, choice: Choice) -> (Arc<Model>, Arc<Model>) {
    let (plain, backed) = (shape.model(), shape.model());
    attach(&backed, choice);
    (plain, backed)
}

fn all(_: u32, _: Option<u32>) -> bool {
    true
}

fn generate(model: &Arc<Model>, prompt: &[u32], max: u32, fault: Option<&FaultSpec>) -> Run {
    Run::generate(model, prompt, max, fault, &mut all).expect("a run")
}

fn assert_same(a: &Run, b: &Run) {
    assert_eq!(a.output(), b.output());
    assert_eq!(a.samples(), b.samples());
    assert_eq!(a.trace_root(), b.trace_root());
    for block in 0..a.blocks() {
        assert_eq!(a.block_tree(block).unwrap().root(), b.block_tree(block).unwrap().root());
    }
}

/// Everything that a backend is asked for, against the reference executor.
fn check(choice: Choice) {
    for shape in shapes() {
        let (plain, backed) = pair(&shape, choice);
        assert_eq!(plain.id, backed.id);
        for (len, max) in [(1, 1), (1, 5), (2, 3), (40, 6), (150, 2)] {
            let prompt = prompt(len);
            let expected = generate(&plain, &prompt, max, None);
            let run = generate(&backed, &prompt, max, None);
            assert_same(&expected, &run);
            let again = Run::replay(&backed, &prompt, run.output(), None, &mut all).unwrap();
            assert_same(&expected, &again);
            // Tokens that the model wouldn't yield are run as they are.
            let posted = vec![7; max as usize];
            let expected = Run::replay(&plain, &prompt, &posted, None, &mut all).unwrap();
            let found = Run::replay(&backed, &prompt, &posted, None, &mut all).unwrap();
            assert_same(&expected, &found);
        }
    }
}

/// Faults are made by the reference executor, and the backend goes on from there.
fn check_faults(choice: Choice) {
    let (plain, backed) = pair(&Shape::default(), choice);
    let prompt = prompt(9);
    for text in [
        "0:token_embd:3",
        "3:blk.0.attn_k:1",
        "8:output:100",
        "10:blk.1.ffn_down:7",
        "4:collect:1",
        "11:blk.1.v_cache:5",
        "token:2",
    ] {
        let spec: FaultSpec = text.parse().expect("a fault");
        let expected = generate(&plain, &prompt, 5, Some(&spec));
        let run = generate(&backed, &prompt, 5, Some(&spec));
        assert_same(&expected, &run);
        let fault = Fault::resolve(&spec, &backed, prompt.len() as u32).expect("a fault");
        let again = Run::replay(&backed, &prompt, run.output(), Some(fault), &mut all).unwrap();
        assert_same(&expected, &again);
    }
}

/// Answers and checks at the same time on one model: some with a fault, one of a lie, greedily and by chance.
fn check_at_once(choice: Choice) {
    let (plain, backed) = pair(&Shape { layers: 3, ..Shape::default() }, choice);
    let prompts = [1, 9, 40, 2, 25, 9, 150, 3].map(prompt);
    let asks: Vec<Ask<'_>> = prompts
        .iter()
        .zip(0..)
        .map(|(prompt, seed)| Ask {
            prompt,
            sampling: Sampling {
                seed,
                temperature: if seed > 0 { Sampling::TEMPERATURE_MAX } else { 0 },
            },
        })
        .collect();
    let faults = [None, Some("10:blk.1.ffn_down:7"), None, Some("0:token_embd:3"), Some("token:2")];
    let fault = |i: usize| faults[i % faults.len()].map(|text| text.parse().expect("a fault"));
    let answer = |model: &Arc<Model>, i: usize| -> Run {
        Run::generate(model, asks[i], 6, fault(i).as_ref(), &mut all).expect("a run")
    };
    let expected: Vec<Run> = (0..asks.len()).map(|i| answer(&plain, i)).collect();
    let verdict = |model: &Arc<Model>, i: usize| {
        let checked = Run::check(model, asks[i], expected[i].output(), &mut all);
        checked.map(|run| run.trace_root()).map_err(|error| error.to_string())
    };
    let verdicts: Vec<_> = (0..asks.len()).map(|i| verdict(&plain, i)).collect();
    assert!(verdicts.iter().any(Result::is_err) && verdicts.iter().any(Result::is_ok));
    for _ in 0..3 {
        std::thread::scope(|scope| {
            for i in 0..asks.len() {
                scope.spawn({
                    let (answer, backed, expected) = (&answer, &backed, &expected[i]);
                    move || assert_same(&answer(backed, i), expected)
                });
                let (verdict, backed, expected) = (&verdict, &backed, &verdicts[i]);
                scope.spawn(move || assert_eq!(verdict(backed, i), *expected));
            }
        });
    }
}

fn check_eval(choice: Choice) {
    let (plain, backed) = pair(&Shape::default(), choice);
    let tokens = prompt(101);
    let expected = evaluate(&plain, &tokens, 50, None, &|_, _| {}).expect("a report");
    let found = evaluate(&backed, &tokens, 50, None, &|_, _| {}).expect("a report");
    assert_eq!(found.argmax, expected.argmax);
    assert_eq!(found.saturations, expected.saturations);
    assert_eq!(found.mean_nll.to_bits(), expected.mean_nll.to_bits());
}

#[test]
fn the_cpu_computes_what_the_reference_computes() {
    check(Choice::Cpu);
}

#[test]
fn the_cpu_goes_on_behind_a_fault() {
    check_faults(Choice::Cpu);
}

#[test]
fn the_cpu_runs_many_at_once_as_the_reference_each() {
    check_at_once(Choice::Cpu);
}

#[test]
fn the_cpu_evaluates_as_the_reference() {
    check_eval(Choice::Cpu);
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_gpu_runs_many_at_once_as_the_reference_each() {
    check_at_once(Choice::Gpu);
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_gpu_computes_what_the_reference_computes() {
    check(Choice::Gpu);
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_gpu_goes_on_behind_a_fault() {
    check_faults(Choice::Gpu);
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_gpu_evaluates_as_the_reference() {
    check_eval(Choice::Gpu);
}

/// The real model: `$REFUTE_GPU_PROMPT` tokens (256), and an eighth of them generated.
fn check_real(choice: Choice) {
    let (Some(plain), Some(backed)) = (real::model(), real::model()) else { return };
    attach(&backed, choice);
    let asked = std::env::var("REFUTE_GPU_PROMPT").ok().map(|n| n.parse().expect("a number"));
    let len: u32 = asked.unwrap_or(256);
    let prompt: Vec<u32> = (0..len).map(|i| (i * 7919 + 13) % plain.config.vocabulary).collect();
    let expected = generate(&plain, &prompt, (len / 8).max(1), None);
    let run = generate(&backed, &prompt, (len / 8).max(1), None);
    let name = if choice == Choice::Gpu { "gpu" } else { "cpu" };
    assert_eq!((run.backend, expected.backend), (name, "reference"));
    assert_same(&expected, &run);
    let again = Run::replay(&backed, &prompt, run.output(), None, &mut all).expect("a run");
    assert_same(&expected, &again);
}

#[test]
fn the_cpu_runs_the_real_model() {
    check_real(Choice::Cpu);
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_gpu_runs_the_real_model() {
    check_real(Choice::Gpu);
}

/// A device that is lost after so many calls.
#[derive(Debug)]
struct Failing {
    inner: Arc<Reference>,
    calls: Arc<AtomicU32>,
}

struct FailingSequence {
    inner: Box<dyn Sequence>,
    calls: Arc<AtomicU32>,
}

impl FailingSequence {
    fn call(&self) -> Result<(), BackendError> {
        let left =
            self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        match left {
            Ok(_) => Ok(()),
            Err(_) => Err(BackendError::Lost { adapter: "test".into(), reason: "reset".into() }),
        }
    }
}

impl Backend for Failing {
    fn name(&self) -> &'static str {
        "gpu"
    }
    fn adapter(&self) -> Option<String> {
        Some("test".into())
    }
    fn batch(&self) -> usize {
        4
    }
    fn sequence(self: Arc<Self>, positions: usize) -> Result<Box<dyn Sequence>, BackendError> {
        let inner = Arc::clone(&self.inner).sequence(positions)?;
        let sequence = FailingSequence { inner, calls: Arc::clone(&self.calls) };
        sequence.call()?;
        Ok(Box::new(sequence))
    }
}

impl Sequence for FailingSequence {
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn forward(&mut self, tokens: &[u32], head: Head) -> Result<Batch, BackendError> {
        self.call()?;
        self.inner.forward(tokens, head)
    }
    fn push(&mut self, carried: &[Rows]) -> Result<(), BackendError> {
        self.call()?;
        self.inner.push(carried)
    }
    fn truncate(&mut self, len: usize) {
        self.inner.truncate(len);
    }
}

#[test]
fn the_cpu_finishes_what_a_lost_device_began() {
    let prompt = prompt(10);
    let fault: FaultSpec = "5:blk.0.attn_k:1".parse().expect("a fault");
    for spec in [None, Some(&fault)] {
        let expected = generate(&Shape::default().model(), &prompt, 4, spec);
        for calls in 0..10 {
            let model = Shape::default().model();
            let inner = Arc::new(Reference::new(Arc::clone(model.decoder())).expect("a decoder"));
            let calls = Arc::new(AtomicU32::new(calls));
            model.set_backend(Arc::new(Failing { inner, calls: Arc::clone(&calls) }));
            let run = generate(&model, &prompt, 4, spec);
            assert_same(&expected, &run);
            assert!(run.backend == "gpu" || calls.load(Ordering::Relaxed) == 0);
            // Later runs start where the last one ended.
            assert_same(&expected, &generate(&model, &prompt, 4, spec));
        }
    }
}

#[test]
fn a_run_goes_on_although_another_has_moved_the_model_to_the_cpu() {
    let prompt = prompt(10);
    let expected = generate(&Shape::default().model(), &prompt, 4, None);
    let model = Shape::default().model();
    let inner = Arc::new(Reference::new(Arc::clone(model.decoder())).expect("a decoder"));
    let calls = Arc::new(AtomicU32::new(2));
    model.set_backend(Arc::new(Failing { inner, calls }));
    let run = Run::generate(&model, &prompt, 4, None, &mut |_, _| {
        Options { backend: Choice::Cpu, ..Options::default() }.attach(&model).expect("a backend");
        true
    });
    assert_same(&expected, &run.expect("a run"));
}

/// A device without room for a sequence of more than so many positions.
#[derive(Debug)]
struct Small(Arc<Reference>, usize);

impl Backend for Small {
    fn name(&self) -> &'static str {
        "gpu"
    }
    fn adapter(&self) -> Option<String> {
        Some("test".into())
    }
    fn batch(&self) -> usize {
        4
    }
    fn sequence(self: Arc<Self>, positions: usize) -> Result<Box<dyn Sequence>, BackendError> {
        if positions > self.1 {
            let (needed, available) = (positions as u64, self.1 as u64);
            return Err(BackendError::Memory { what: "a sequence".into(), needed, available });
        }
        Arc::clone(&self.0).sequence(positions)
    }
}

#[test]
fn a_request_that_is_too_large_for_the_device_moves_no_other_to_the_cpu() {
    let model = Shape::default().model();
    let inner = Arc::new(Reference::new(Arc::clone(model.decoder())).expect("a decoder"));
    model.set_backend(Arc::new(Small(inner, 12)));
    for (len, backend) in [(20, "cpu"), (5, "gpu"), (20, "cpu")] {
        let run = generate(&model, &prompt(len), 4, None);
        assert_eq!(run.backend, backend);
        assert_same(&generate(&Shape::default().model(), &prompt(len), 4, None), &run);
    }
}

/// A backend that gets one logit or one K value wrong, in the batch with this number.
#[derive(Debug)]
struct Lying {
    inner: Arc<Reference>,
    batch: usize,
    in_logits: bool,
}

struct LyingSequence {
    inner: Box<dyn Sequence>,
    left: usize,
    in_logits: bool,
}

impl Backend for Lying {
    fn name(&self) -> &'static str {
        "gpu"
    }
    fn adapter(&self) -> Option<String> {
        Some("a liar".into())
    }
    fn batch(&self) -> usize {
        4
    }
    fn sequence(self: Arc<Self>, positions: usize) -> Result<Box<dyn Sequence>, BackendError> {
        let inner = Arc::clone(&self.inner).sequence(positions)?;
        Ok(Box::new(LyingSequence { inner, left: self.batch, in_logits: self.in_logits }))
    }
}

impl Sequence for LyingSequence {
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn forward(&mut self, tokens: &[u32], head: Head) -> Result<Batch, BackendError> {
        let mut batch = self.inner.forward(tokens, head)?;
        if self.left == 0 && self.in_logits {
            *batch.logits.last_mut().expect("logits") ^= 1;
        } else if self.left == 0 {
            *batch.carried[2].values.last_mut().expect("a K row") ^= 1;
        }
        self.left = self.left.wrapping_sub(1);
        Ok(batch)
    }
    fn push(&mut self, carried: &[Rows]) -> Result<(), BackendError> {
        self.inner.push(carried)
    }
    fn truncate(&mut self, len: usize) {
        self.inner.truncate(len);
    }
}

#[test]
fn a_backend_that_computes_something_else_is_refused_by_name() {
    let model = Shape::default().model();
    let inner = Arc::new(Reference::new(Arc::clone(model.decoder())).expect("a decoder"));
    for (batch, in_logits) in [(0, true), (1, true), (0, false), (1, false)] {
        let lying = Lying { inner: Arc::clone(&inner), batch, in_logits };
        let error = prove(&(Arc::new(lying) as Arc<dyn Backend>), model.decoder()).unwrap_err();
        let what = if in_logits { "logits" } else { "K of layer 1" };
        assert!(matches!(&error, BackendError::Refused { kernel, .. } if kernel == what));
        assert!(error.to_string().contains("a liar"), "{error}");
    }
    let inner: Arc<dyn Backend> = inner;
    assert_eq!(prove(&inner, model.decoder()), Ok(()));
}

#[test]
fn a_run_can_be_stopped_between_batches() {
    let model = Shape::default().model();
    Options { backend: Choice::Cpu, ..Options::default() }.attach(&model).expect("a backend");
    let stopped = Run::generate(&model, &prompt(9), 9, None, &mut |done, _| done < 11);
    assert!(matches!(stopped, Err(RunError::Stopped)));
}
