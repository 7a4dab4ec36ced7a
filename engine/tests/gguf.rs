//! The GGUF reader: what it reads, what it refuses, and that no file makes it panic or allocate without bound.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use refute_engine::gguf::write::GgufBuilder;
use refute_engine::gguf::{Array, Gguf, GgufError, TensorKind, Value};

/// Notes the largest allocation that the current thread asks for.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator unchanged; the note is a plain cell without a destructor.
#[allow(unsafe_code, reason = "an allocator is an unsafe trait; it only adds a counter")]
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.set(LARGEST.get().max(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Parses a file that may be anything: it must not panic, not ask for much more memory than the file has bytes, and if it
/// is accepted, all that it promises must be there.
fn parse_hostile(bytes: &[u8]) -> Result<Gguf, GgufError> {
    let copy = bytes.to_vec();
    LARGEST.set(0);
    let result = Gguf::from_bytes(copy);
    let largest = LARGEST.get();
    assert!(largest <= 8 * bytes.len() + 4096, "{largest} bytes at once for {}", bytes.len());
    if let Ok(gguf) = &result {
        for info in gguf.tensors() {
            assert_eq!(gguf.tensor_bytes(info).len() as u64, info.byte_len);
            assert_eq!(info.rows() * info.row_bytes(), info.byte_len);
            assert_eq!(gguf.tensor(&info.name), Some(info));
        }
        assert_eq!(gguf.raw_metadata("").count(), gguf.metadata().len());
    }
    result
}

/// A small file with every value type and a few tensors.
fn sample() -> GgufBuilder {
    GgufBuilder::new()
        .string("general.architecture", "llama")
        .alignment(64)
        .value("t.u8", Value::U8(200))
        .value("t.i8", Value::I8(-100))
        .value("t.u16", Value::U16(60_000))
        .value("t.i16", Value::I16(-30_000))
        .u32("t.u32", 4_000_000_000)
        .value("t.i32", Value::I32(-2_000_000_000))
        .f32("t.f32", 1e-5)
        .bool("t.bool", true)
        .u64("t.u64", u64::MAX)
        .value("t.i64", Value::I64(i64::MIN))
        .value("t.f64", Value::F64(0.5))
        .strings("t.strings", ["", "a", "żółć", "▁x"])
        .f32s("t.f32s", [0.0, -1.5])
        .i32s("t.i32s", [1, -2, 3])
        .value("t.bools", Value::Array(Array::Bool(vec![true, false])))
        .value("t.u8s", Value::Array(Array::U8(vec![1, 2, 3])))
        .value("t.empty", Value::Array(Array::I64(vec![])))
        .tensor("blk.0.attn_q.weight", TensorKind::Q4_1, &[64, 3], (0..120).collect())
        .tensor("output_norm.weight", TensorKind::F32, &[5], (0..20).collect())
        .tensor("other", TensorKind::Other(26), &[1, 2, 3, 1], (0..24).collect())
}

#[test]
fn what_was_written_is_read_back() {
    for version in [2, 3] {
        let gguf = parse_hostile(&sample().version(version).build()).unwrap();
        assert_eq!(gguf.version(), version);
        assert_eq!(gguf.string("general.architecture").unwrap(), "llama");
        assert_eq!(gguf.u32("t.u32").unwrap(), 4_000_000_000);
        assert_eq!(gguf.u32("t.u8").unwrap(), 200, "any integer type that fits will do");
        assert_eq!(gguf.u64("t.u64").unwrap(), u64::MAX);
        assert_eq!(gguf.f32("t.f32").unwrap(), 1e-5);
        assert!(gguf.bool("t.bool").unwrap());
        assert_eq!(gguf.metadata()["t.i64"], Value::I64(i64::MIN));
        assert_eq!(gguf.metadata()["t.f64"], Value::F64(0.5));
        let strings: Vec<&str> = gguf.strings("t.strings").unwrap().iter().collect();
        assert_eq!(strings, ["", "a", "żółć", "▁x"]);
        assert_eq!(gguf.strings("t.strings").unwrap().get(4), None);
        assert_eq!(gguf.f32s("t.f32s").unwrap(), [0.0, -1.5]);
        assert_eq!(gguf.opt_integers("t.i32s").unwrap().unwrap(), [1, -2, 3]);
        assert_eq!(gguf.opt_u32("t.none").unwrap(), None);

        let names: Vec<&str> = gguf.tensors().map(|info| info.name.as_str()).collect();
        assert_eq!(names, ["blk.0.attn_q.weight", "output_norm.weight", "other"]);
        let q = gguf.tensor("blk.0.attn_q.weight").unwrap();
        assert_eq!((q.kind, q.dims.as_slice(), q.byte_len), (TensorKind::Q4_1, &[64, 3][..], 120));
        assert_eq!((q.columns(), q.rows(), q.row_bytes()), (64, 3, 40));
        assert_eq!(q.offset % 64, 0);
        assert_eq!(gguf.tensor_bytes(q), (0..120).collect::<Vec<u8>>());
        let other = gguf.tensor("other").unwrap();
        assert_eq!((other.kind, other.kind.name()), (TensorKind::Other(26), "I32"));
        assert_eq!(gguf.tensor_bytes(other), (0..24).collect::<Vec<u8>>());
        assert!(gguf.tensor("none").is_none());
    }
}

#[test]
fn raw_metadata_is_what_lies_in_the_file() {
    let gguf = parse_hostile(&sample().build()).unwrap();
    let raw: Vec<_> = gguf.raw_metadata("t.s").collect();
    let mut strings = vec![8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0];
    for text in ["", "a", "żółć", "▁x"] {
        strings.extend((text.len() as u64).to_le_bytes());
        strings.extend(text.bytes());
    }
    assert_eq!(raw, [("t.strings", 9, &strings[..])]);
    let scalars: Vec<_> = gguf.raw_metadata("t.u").map(|(key, kind, _)| (key, kind)).collect();
    assert_eq!(scalars, [("t.u16", 2), ("t.u32", 4), ("t.u64", 10), ("t.u8", 0), ("t.u8s", 9)]);
    assert_eq!(gguf.raw_metadata("zzz").count(), 0);
}

#[test]
fn a_wrong_type_is_told_with_key_and_both_types() {
    let gguf = parse_hostile(&sample().build()).unwrap();
    let message = |error: GgufError| error.to_string();
    let cases = [
        (message(gguf.u32("t.f32").unwrap_err()), r#"metadata key "t.f32" is f32, not a u32"#),
        (message(gguf.u32("t.i8").unwrap_err()), r#"metadata key "t.i8" is i8 -100, not a u32"#),
        (
            message(gguf.string("t.strings").unwrap_err()),
            r#"metadata key "t.strings" is array of 4 string, not a string"#,
        ),
        (
            message(gguf.bool("t.none").unwrap_err()),
            r#"metadata key "t.none" is missing (a bool expected)"#,
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

/// The sample with the bytes at `at` replaced.
fn patched(at: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = sample().build();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    bytes
}

fn refusal(bytes: &[u8]) -> String {
    parse_hostile(bytes).expect_err("refused").to_string()
}

#[test]
fn headers_of_other_files_are_refused_by_name() {
    let starts = |bytes: &[u8], with: &str| {
        let message = refusal(bytes);
        assert!(message.starts_with(with), "{message}");
    };
    starts(b"", "the file is truncated: the file header needs 4 bytes from byte 0, the file has 0");
    starts(b"PK\x03\x04........", "not a GGUF file: it starts with bytes [50, 4b, 03, 04]");
    starts(&patched(4, &[1]), "GGUF version 1 is not supported");
    starts(&patched(4, &[4]), "GGUF version 4 is not supported");
    starts(&patched(4, &[0, 0, 0, 3]), "big-endian GGUF files are not supported");
    starts(&patched(8, &[255; 8]), "the tensor count is 18446744073709551615, more than");
    starts(&patched(16, &[0, 0, 1]), "the file is truncated: the metadata count of 65");
    starts(&patched(16, &[255; 8]), "the metadata count is 18446744073709551615, more than");
}

#[test]
fn entries_are_refused_by_name() {
    let one = || GgufBuilder::new().u32("a", 1);
    let tensor = |kind, dims: &[u64], len| one().tensor("w", kind, dims, vec![0; len]).build();
    let long = "n".repeat(65);
    // Header 24, key "a" 8 + 1, type 4: the value starts at byte 37.
    let with_value = |kind: u32, value: &[u8]| {
        let mut bytes = one().build();
        bytes.truncate(33);
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
        bytes
    };
    let array = |kind: u32, count: u64| {
        with_value(9, &[&kind.to_le_bytes()[..], &count.to_le_bytes()[..], &[0; 64][..]].concat())
    };
    let cases = [
        (one().u32("a", 2).build(), r#"metadata key "a" occurs twice"#),
        (one().u32("", 2).build(), "metadata key number 1 is empty"),
        (with_value(13, &[0; 8]), r#"metadata key "a" has the unknown value type 13"#),
        (with_value(7, &[2]), r#"metadata key "a" holds the boolean 2, which is neither 0 nor 1"#),
        (array(9, 1), r#"metadata key "a" is an array of arrays, which is not supported"#),
        (array(13, 1), r#"metadata key "a" has the unknown value type 13"#),
        (array(5, u64::MAX), r#"the value of metadata key "a" needs 18446744073709551615 bytes"#),
        (array(8, u64::MAX), r#"metadata key "a", an array of 18446744073709551615 strings"#),
        (array(8, 9), r#"metadata key "a", an array of 9 strings, needs 72 bytes from byte 49"#),
        (with_value(8, &[9, 0, 0, 0, 0, 0, 0, 0, b'x']), r#"metadata key "a" needs 9 bytes"#),
        (with_value(8, &[1, 0, 0, 0, 0, 0, 0, 0, 255]), r#"metadata key "a" is not valid UTF-8"#),
        (one().alignment(0).build(), "general.alignment is 0, which is not a power of two"),
        (one().alignment(48).build(), "general.alignment is 48, which is not a power of two"),
        (one().f32("general.alignment", 1.0).build(), r#""general.alignment" is f32, not a u32"#),
        (tensor(TensorKind::F32, &[], 4), "tensor w has 0 dimensions; 1 to 4 are supported"),
        (tensor(TensorKind::F32, &[1; 5], 4), "tensor w has 5 dimensions"),
        (tensor(TensorKind::F32, &[0, 2], 4), "tensor w has the impossible dimensions [0, 2]"),
        (tensor(TensorKind::F32, &[1, 0], 4), "tensor w has the impossible dimensions [1, 0]"),
        (tensor(TensorKind::F32, &[1 << 62, 4], 4), "tensor w has the impossible dimensions"),
        (tensor(TensorKind::Q4_0, &[1 << 63, 2], 4), "tensor w has the impossible dimensions"),
        (tensor(TensorKind::Other(99), &[1], 4), "tensor w has the unknown type 99"),
        (
            tensor(TensorKind::Q6_K, &[288], 420),
            "tensor w has 288 columns, not a multiple of the 256 in a Q6_K block",
        ),
        (
            tensor(TensorKind::F32, &[4], 15),
            "the file is truncated: tensor w ends at byte 112, the file has 111",
        ),
        (tensor(TensorKind::F32, &[1 << 60], 16), "the file is truncated: tensor w ends at byte"),
        (
            one().tensor(&long, TensorKind::F32, &[1], vec![0; 4]).build(),
            "the length of the name of tensor number 0 is 65, more than the 64 allowed",
        ),
        (
            one()
                .tensor("w", TensorKind::F32, &[1], vec![0; 4])
                .tensor("w", TensorKind::F32, &[1], vec![0; 4])
                .build(),
            "tensor w occurs twice",
        ),
    ];
    for (bytes, expected) in cases {
        let message = refusal(&bytes);
        assert!(message.contains(expected), "{message:?} should say {expected:?}");
    }
}

#[test]
fn tensors_may_not_share_bytes_or_lie_askew() {
    let file = GgufBuilder::new()
        .tensor("first", TensorKind::F32, &[16], vec![1; 64])
        .tensor("second", TensorKind::F32, &[1], vec![2; 4])
        .build();
    // "second" is described by 8 + 6 name, 4 count, 8 dimension, 4 type, and then its offset.
    let at = file.windows(6).position(|window| window == b"second").unwrap() + 6 + 4 + 8 + 4;
    assert_eq!(file[at..at + 8], 64_u64.to_le_bytes());
    let moved = |offset: u64| {
        let mut bytes = file.clone();
        bytes[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        bytes
    };
    assert_eq!(refusal(&moved(32)), "tensors first and second overlap");
    assert_eq!(refusal(&moved(0)), "tensors first and second overlap");
    assert_eq!(refusal(&moved(65)), "tensor second lies at offset 65, which is not aligned to 32");
    assert!(refusal(&moved(u64::MAX - 31)).contains("truncated: tensor second ends at byte"));
    assert!(refusal(&moved(96)).contains("truncated: tensor second ends at byte"));
    assert!(parse_hostile(&moved(64)).is_ok());
}

#[test]
fn every_truncation_is_refused() {
    let file = sample().build();
    for len in 0..file.len() {
        assert!(parse_hostile(&file[..len]).is_err(), "cut to {len} of {}", file.len());
    }
    let expected = "the file is truncated: tensor other ends at byte";
    assert!(refusal(&file[..file.len() - 1]).starts_with(expected));
}

#[test]
fn every_single_bit_may_flip() {
    let file = sample().build();
    for bit in 0..file.len() * 8 {
        let mut bytes = file.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _ = parse_hostile(&bytes);
    }
}

#[test]
fn every_place_may_hold_a_hostile_length() {
    let file = sample().build();
    let len = file.len() as u64;
    let lengths =
        [0, 1, len - 1, len, len + 1, 1 << 31, 1 << 32, 1 << 61, 1 << 63, u64::MAX - 7, u64::MAX];
    for at in 0..file.len() - 8 {
        for length in lengths {
            let _ = parse_hostile(&patched(at, &length.to_le_bytes()));
        }
    }
}

#[derive(Clone, Debug)]
enum Mutation {
    Set(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Copy(usize, usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        any::<usize>().prop_map(Mutation::Cut),
        (any::<usize>(), prop::collection::vec(any::<u8>(), 1..16))
            .prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (any::<usize>(), any::<usize>(), 1..32_usize)
            .prop_map(|(from, to, len)| Mutation::Copy(from, to, len)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let len = bytes.len().max(1);
    match mutation {
        Mutation::Set(at, byte) => {
            if let Some(place) = bytes.get_mut(at % len) {
                *place = *byte;
            }
        }
        Mutation::Cut(at) => bytes.truncate(len - at % len.min(40)),
        Mutation::Insert(at, new) => {
            let at = at % len;
            bytes.splice(at.min(bytes.len())..at.min(bytes.len()), new.iter().copied());
        }
        Mutation::Copy(from, to, count) => {
            let (from, to) = (from % len, to % len);
            let count = (*count).min(bytes.len() - from.max(to).min(bytes.len()));
            bytes.copy_within(from..from + count, to);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_mutation_is_too_much(mutations in prop::collection::vec(mutation(), 1..12)) {
        let mut bytes = sample().build();
        mutations.iter().for_each(|mutation| mutate(&mut bytes, mutation));
        let _ = parse_hostile(&bytes);
    }

    #[test]
    fn no_bytes_are_too_much(tail in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_hostile(&[b"GGUF\x03\0\0\0", &tail[..]].concat());
    }
}

#[test]
fn a_large_vocabulary_is_read_in_one_piece() {
    let texts: Vec<String> = (0..150_000).map(|index| format!("token{index}")).collect();
    let bytes = GgufBuilder::new().strings("tokenizer.ggml.tokens", &texts).build();
    let gguf = parse_hostile(&bytes).unwrap();
    let read = gguf.strings("tokenizer.ggml.tokens").unwrap();
    assert_eq!(read.len(), 150_000);
    assert!(read.iter().eq(texts.iter().map(String::as_str)));
}

#[test]
fn files_on_disk_are_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, sample().build()).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!(gguf.len(), sample().build().len() as u64);
    let clone = gguf.clone();
    drop(gguf);
    let info = clone.tensor("output_norm.weight").unwrap();
    assert_eq!(clone.tensor_bytes(info), (0..20).collect::<Vec<u8>>());

    std::fs::write(&path, b"").unwrap();
    assert!(matches!(Gguf::open(&path), Err(GgufError::Truncated { .. })));
    assert!(matches!(Gguf::open(folder.path()), Err(GgufError::NotAFile { .. })));
    assert!(matches!(Gguf::open(&folder.path().join("none")), Err(GgufError::Io { .. })));
}
