//! Whole decoders on the GPU against the reference: every batch, every way to split it, every
//! failure.

mod common;

use common::decoder::{Shape, random};
use refute_kernels::backend::{Backend, BackendError, Batch, Head, Rows};
use refute_kernels::decoder::Decoder;
use refute_kernels::gpu::{Adapter, Device, Edit, Gpu, Kernel};
use refute_kernels::reference::Reference;
use refute_kernels::{Format, Sampling, sample};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Longest that a failed device may take to say so.
const FAILURE_MAX: Duration = Duration::from_secs(240);

fn adapter() -> Adapter {
    let wanted = std::env::var("REFUTE_ADAPTER").ok();
    Adapter::pick(wanted.as_deref()).unwrap()
}

fn device() -> Device {
    Device::open(&adapter()).unwrap()
}

/// With bindings as large as the device has them, or smaller.
fn gpu(decoder: &Arc<Decoder>, binding_bytes_max: Option<u64>) -> Arc<Gpu> {
    let device = device();
    let largest = device.limits().max_storage_buffer_binding_size;
    let gpu = Gpu::on(device, decoder, binding_bytes_max.unwrap_or(largest), None);
    Arc::new(gpu.unwrap())
}

fn reference(decoder: &Arc<Decoder>) -> Arc<Reference> {
    Arc::new(Reference::new(Arc::clone(decoder)).unwrap())
}

/// Tokens that the vocabulary has.
fn tokens(n: usize, vocabulary: usize) -> Vec<u32> {
    let mut rng = common::Rng(n as u64);
    (0..n).map(|_| rng.below(vocabulary as u64) as u32).collect()
}

/// Appends what `batch` has.
fn append(all: &mut Batch, batch: &Batch) {
    all.carried.resize(batch.carried.len(), Rows::default());
    for (all, new) in all.carried.iter_mut().zip(&batch.carried) {
        all.values.extend(&new.values);
        all.shifts.extend(&new.shifts);
    }
    all.samples.extend(&batch.samples);
    all.logits.extend(&batch.logits);
    all.saturations += batch.saturations;
}

/// Runs `tokens` in batches of the sizes `sizes`, over and over, every position with its logits.
fn run(backend: Arc<dyn Backend>, tokens: &[u32], sizes: &[usize]) -> Batch {
    let mut sequence = backend.sequence(tokens.len()).unwrap();
    let mut all = Batch::default();
    let mut rest = tokens;
    for size in sizes.iter().cycle() {
        let (batch, later) = rest.split_at(rest.len().min(*size));
        append(&mut all, &sequence.forward(batch, Head::Logits(batch.len())).unwrap());
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(sequence.len(), tokens.len());
    all
}

/// Batches of all sizes give the reference's bits.
fn twins(shape: &Shape, seed: u64, positions: usize) {
    let decoder = random(shape, seed);
    let tokens = tokens(positions, shape.vocabulary);
    let expected = run(reference(&decoder), &tokens, &[positions]);
    let gpu = gpu(&decoder, None);
    for sizes in [&[positions][..], &[1, 2, 3, 64], &[5, 17, 0, 128]] {
        let found = run(gpu.clone(), &tokens, sizes);
        assert!(found == expected, "{shape:?}, seed {seed}, batches of {sizes:?}");
    }
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn decoders_of_every_format_give_the_same_bits() {
    for (seed, format) in [(1, Format::Q8_0), (2, Format::Q4_0), (3, Format::Q4_1)] {
        twins(&Shape { format, biases: true, ..Shape::default() }, seed, 40);
    }
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn decoders_of_many_shapes_give_the_same_bits() {
    let usual = Shape { layers: 2, vocabulary: 77, ..Shape::default() };
    // One KV head; as many as query heads; large heads; odd multiples of a block; half rotated.
    twins(&Shape { heads: 8, kv: 1, head_len: 32, rotated: 32, ..usual }, 4, 12);
    twins(&Shape { heads: 3, kv: 3, head_len: 64, rotated: 32, width: 96, ..usual }, 5, 12);
    twins(&Shape { heads: 2, kv: 1, head_len: 80, rotated: 80, hidden: 224, ..usual }, 6, 12);
    twins(&Shape { heads: 2, kv: 2, head_len: 256, rotated: 128, ..usual }, 7, 12);
    twins(&Shape { heads: 16, kv: 4, head_len: 6, rotated: 4, width: 160, ..usual }, 8, 12);
    twins(&Shape { heads: 1, kv: 1, head_len: 128, rotated: 128, layers: 1, ..usual }, 9, 12);
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn tokens_are_drawn_as_the_reference_draws_them() {
    let shape = Shape { context: 200, vocabulary: 1000, ..Shape::default() };
    let decoder = random(&shape, 31);
    let tokens = tokens(150, shape.vocabulary);
    let whole = run(reference(&decoder), &tokens, &[150]);
    let gpu = gpu(&decoder, None);
    for temperature in [1 << 16, Sampling::TEMPERATURE_MAX] {
        let sampling = Sampling { seed: 0xfeed << 40 | 7, temperature };
        let rows = whole.logits.chunks(shape.vocabulary).zip(0..);
        let expected: Vec<_> = rows.map(|(row, t)| sample::forward(sampling, t, row)).collect();
        // Random weights give large logits.
        assert!(temperature == 1 << 16 || expected != whole.samples);
        let mut sequence = gpu.clone().sequence(150).unwrap();
        for range in [0..1, 1..4, 4..150] {
            let heads = range.len().div_ceil(2);
            let head = Head::Samples(heads, sampling);
            let batch = sequence.forward(&tokens[range.clone()], head).unwrap();
            assert_eq!(batch.samples, expected[range.end - heads..range.end], "{sampling:?}");
        }
    }
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn contexts_longer_than_a_tile_give_the_same_bits() {
    twins(&Shape { context: 700, layers: 2, ..Shape::default() }, 10, 530);
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn saturated_values_are_the_same_and_counted() {
    let decoder = random(&Shape { scale: 17, biases: true, ..Shape::default() }, 11);
    let tokens = tokens(10, 100);
    let expected = run(reference(&decoder), &tokens, &[10]);
    assert!(expected.saturations > 0);
    assert!(run(gpu(&decoder, None), &tokens, &[4]) == expected);
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn tensors_that_are_split_over_bindings_give_the_same_bits() {
    let decoder = random(&Shape { vocabulary: 1000, ..Shape::default() }, 12);
    let tokens = tokens(20, 1000);
    let expected = run(reference(&decoder), &tokens, &[20]);
    for binding_bytes_max in [1 << 14, 16_500, 1 << 15] {
        let found = run(gpu(&decoder, Some(binding_bytes_max)), &tokens, &[20, 1]);
        assert!(found == expected, "bindings of {binding_bytes_max} bytes");
    }
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_sequence_can_be_cut_and_continued() {
    let decoder = random(&Shape { context: 300, ..Shape::default() }, 13);
    let (gpu, reference) = (gpu(&decoder, None), reference(&decoder));
    let tokens = tokens(290, 100);
    let whole = run(reference, &tokens, &[290]);
    let rows = |range: std::ops::Range<usize>| -> Vec<Rows> {
        let part = |r: &Rows| Rows {
            values: r.values[range.start * 32..range.end * 32].to_vec(),
            shifts: r.shifts[range.start * 2..range.end * 2].to_vec(),
        };
        whole.carried.iter().map(part).collect()
    };
    let mut sequence = gpu.sequence(300).unwrap();
    let batch = sequence.forward(&tokens[..30], Head::None).unwrap();
    assert!(batch.carried == rows(0..30) && batch.samples.is_empty() && batch.logits.is_empty());
    // Other tokens, forgotten again.
    sequence.forward(&[1, 2, 3], Head::Samples(3, Sampling::GREEDY)).unwrap();
    sequence.truncate(20);
    assert_eq!(sequence.len(), 20);
    // Rows that were computed elsewhere, then the rest, with a head at the end only.
    sequence.push(&rows(20..250)).unwrap();
    assert_eq!(sequence.len(), 250);
    let batch = sequence.forward(&tokens[250..], Head::Samples(3, Sampling::GREEDY)).unwrap();
    assert!(batch.carried == rows(250..290));
    assert_eq!(batch.samples, whole.samples[287..]);
    assert!(batch.logits.is_empty());
    sequence.truncate(0);
    assert!(sequence.is_empty());
    let batch = sequence.forward(&tokens[..2], Head::Logits(1)).unwrap();
    assert!(batch.carried == rows(0..2) && batch.logits == whole.logits[100..200]);
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn wrong_inputs_are_refused_as_the_reference_does() {
    let decoder = random(&Shape::default(), 14);
    let backends: [Arc<dyn Backend>; 2] = [gpu(&decoder, None), reference(&decoder)];
    let errors = backends.map(|backend| {
        let mut sequence = backend.clone().sequence(8).unwrap();
        let empty = vec![Rows::default(); 5];
        let wide = Rows { values: vec![3000; 32], shifts: vec![0; 2] };
        [
            backend.sequence(65).err(),
            sequence.forward(&[1; 9], Head::None).err(),
            sequence.forward(&[100], Head::None).err(),
            sequence.forward(&[1], Head::Samples(2, Sampling::GREEDY)).err(),
            sequence.push(&empty).err(),
            sequence.push(&vec![wide; 6]).err(),
        ]
    });
    assert!(errors[0].iter().all(Option::is_some), "{errors:?}");
    assert_eq!(errors[0], errors[1]);
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_model_that_does_not_fit_is_refused_with_the_numbers() {
    let decoder = random(&Shape { context: 500, ..Shape::default() }, 15);
    let memory = |result: Result<(), BackendError>| match result {
        Err(BackendError::Memory { needed, available, .. }) => {
            assert!(needed > available, "{needed} bytes needed, {available} available");
            needed
        }
        other => panic!("{other:?}"),
    };
    let weights = memory(Gpu::on(device(), &decoder, 1 << 27, Some(1000)).map(drop));
    memory(Gpu::on(device(), &decoder, 1 << 10, None).map(drop));
    // The weights fit, but no sequence beside them.
    let tight = Arc::new(Gpu::on(device(), &decoder, 1 << 27, Some(weights + 1000)).unwrap());
    assert!(memory(tight.sequence(1).map(drop)) > weights);
    // Few positions fit into one binding, the whole context doesn't.
    let tight = Arc::new(Gpu::on(device(), &decoder, 1 << 15, None).unwrap());
    tight.clone().sequence(16).unwrap();
    memory(tight.sequence(500).map(drop));
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_wrong_adapter_gets_no_model() {
    let decoder = random(&Shape::default(), 17);
    let (kernel, from, to) = (Kernel::LinearBatch, "24u - min(", "23u - min(");
    let device = Device::open_edited(&adapter(), Some(Edit { kernel, from, to })).unwrap();
    let error = Gpu::on(device, &decoder, 1 << 27, None).map(drop).unwrap_err();
    assert!(
        matches!(&error, BackendError::Refused { kernel, .. } if kernel == "linear_batch"),
        "{error}"
    );
}

#[test]
#[ignore = "needs an adapter: scripts/test.sh gpu"]
fn a_device_that_is_lost_under_way_is_an_error() {
    let decoder = random(&Shape { context: 600, layers: 6, ..Shape::default() }, 16);
    let gpu = gpu(&decoder, None);
    let (started, running) = mpsc::channel();
    let (sender, result) = mpsc::channel();
    let backend = gpu.clone();
    std::thread::spawn(move || {
        let mut sequence = backend.sequence(600).unwrap();
        let error = loop {
            match sequence.forward(&[1; 50], Head::Samples(1, Sampling::GREEDY)) {
                Ok(_) => sequence.truncate(0),
                Err(error) => break error,
            }
            let _ = started.send(());
        };
        let again = sequence.forward(&[1], Head::None).err();
        let _ = sender.send((error, again));
    });
    running.recv_timeout(FAILURE_MAX).expect("it starts");
    gpu.device().destroy();
    let (error, again) = result.recv_timeout(FAILURE_MAX).expect("it ends");
    assert!(matches!(error, BackendError::Lost { .. }), "{error:?}");
    assert!(matches!(again, Some(BackendError::Lost { .. })), "{again:?}");
    assert!(matches!(gpu.sequence(10).err(), Some(BackendError::Lost { .. })));
}
