//! What the parity tests ask the verifier, written down: see `refute_tests::vectors`.
//!
//! `REFUTE_VECTORS` names the folder (`target/vectors` unless told), `REFUTE_VECTOR_CASES` the cases of an op.

use super::{OPS, libraries, one, shapes};
use refute_tests::tiny::Random;
use refute_tests::vectors;
use refute_tests::verifier::Verifier;
use std::path::PathBuf;

/// Cases of an op unless told otherwise.
const CASES: u64 = 24;

/// Of so many cases, the witnesses of one are corrupted.
const MUTATED_EVERY: u64 = 6;

/// Vectors of the libraries, for each of their functions.
const LIBRARY_CASES: u64 = 400;

pub(crate) fn folder() -> PathBuf {
    let told = std::env::var_os("REFUTE_VECTORS").map(PathBuf::from);
    told.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/vectors")))
}

/// The ops take turns, so that the first vectors already touch all of them.
#[test]
#[ignore = "writes vectors for other EVMs and for the mutation test; scripts/nightly.sh calls it"]
fn writes_the_vectors() {
    let told = std::env::var("REFUTE_VECTOR_CASES").ok();
    let cases = told.map_or(CASES, |n| n.parse().expect("REFUTE_VECTOR_CASES is a number"));
    let verifier = Verifier::recording();
    let mut all = Vec::new();
    let mut take = |name: String| {
        let recorded = verifier.take_recorded().into_iter().enumerate();
        all.extend(recorded.map(|(i, mut vector)| {
            vector.name = format!("{name}, call {i}");
            vector
        }));
    };
    for i in 0..cases {
        for op in OPS {
            let seed = Random::new((op as u64 + 1) << 40 | i).bits();
            let is_mutated = i % MUTATED_EVERY == MUTATED_EVERY - 1;
            one(&verifier, op, seed, is_mutated).unwrap_or_else(|e| panic!("{e}"));
            take(format!("{} {seed:#x}", op.name()));
        }
        for (of, from) in shapes::kinds().into_iter().enumerate() {
            let seed = Random::new((of as u64 + 1) << 32 | i).bits();
            shapes::one(&verifier, from, &mut Random::new(seed)).unwrap_or_else(|e| panic!("{e}"));
            take(format!("shapes {seed:#x}"));
        }
    }
    vectors::write(&folder().join("StepVerifier.jsonl"), &all).expect("a file of vectors");
    let library = libraries::draw(LIBRARY_CASES);
    vectors::write(&folder().join("Libraries.jsonl"), &library).expect("a file of vectors");
    println!("{} calls of the verifier, {} of the libraries", all.len(), library.len());
}
