//! The golden vectors of the ops, `tests/golden/ops.json` at the top of the repository: what every
//! language that implements the ops is compared with.
//!
//! The stored cases must evaluate to what is stored, and be the cases that `cases.rs` describes. To
//! change them, run this test with `REFUTE_UPDATE_GOLDEN=1` and look at the difference.

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod evaluate;

use serde_json::{Value, json};
use std::{env, fs, path::Path};

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/ops.json")
}

/// The file: cases with their results.
fn generate() -> Value {
    let cases = cases::all().into_iter().map(|mut case| {
        let result = evaluate::evaluate(&case);
        case["output"] = result.output;
        case["folds"] = result.folds;
        case
    });
    json!({ "numerics_version": 1, "cases": cases.collect::<Vec<_>>() })
}

#[test]
fn stored_cases_evaluate_to_what_is_stored() {
    if env::var("REFUTE_UPDATE_GOLDEN").is_ok_and(|v| v == "1") {
        let text = serde_json::to_string_pretty(&generate()).expect("JSON without odd keys");
        fs::write(path(), text + "\n").expect("the golden folder is writable");
    }
    let text = fs::read_to_string(path()).expect("tests/golden/ops.json is in the repository");
    let stored: Value = serde_json::from_str(&text).expect("golden vectors are JSON");
    let cases = stored["cases"].as_array().expect("a list of cases");
    for case in cases {
        let result = evaluate::evaluate(case);
        assert_eq!(result.output, case["output"], "{}", case["name"]);
        assert_eq!(result.folds, case["folds"], "{}", case["name"]);
    }
    let generated = generate();
    for (stored, generated) in cases.iter().zip(generated["cases"].as_array().expect("a list")) {
        assert_eq!(stored, generated, "{}", stored["name"]);
    }
    assert_eq!(stored, generated);
}
