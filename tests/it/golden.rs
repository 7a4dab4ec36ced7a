//! Model ids, trace roots and answers that must never change: the same file gives the same bits on any machine.

use refute_engine::model::Model;
use refute_engine::trace::Run;
use refute_tests::real;
use refute_tests::tiny::Shape;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/runs.json")
}

/// A model's commitments, and what it answers to these tokens.
fn commitments(model: &Arc<Model>, prompt: &[u32], output: u32) -> Value {
    let run = Run::generate(model, prompt, output, None, &mut |_, _| true).expect("a run");
    let expansion = run.expand(prompt.len() as u32).expect("a block");
    let hex = |hash: [u8; 32]| alloy::hex::encode_prefixed(hash);
    json!({
        "model_id": model.id,
        "program_root": model.registration.programRoot,
        "weights_root": model.registration.weightsRoot,
        "tokenizer_hash": model.registration.tokenizerHash,
        "prompt": prompt,
        "output": run.output(),
        "trace_root": hex(run.trace_root()),
        "block_roots": (0..3).map(|b| hex(run.block_tree(b).expect("a block").root())).collect::<Vec<_>>(),
        "step_root_after_prompt": hex(expansion.tree.root()),
    })
}

/// Compares with the recorded value, or records it where `REFUTE_UPDATE_GOLDEN` is 1.
fn check(name: &str, found: Value) {
    let text = std::fs::read_to_string(path()).unwrap_or_else(|_| "{}".into());
    let mut golden: Value = serde_json::from_str(&text).expect("golden runs");
    if std::env::var("REFUTE_UPDATE_GOLDEN").is_ok_and(|v| v == "1") {
        golden[name] = found;
        let text = serde_json::to_string_pretty(&golden).expect("JSON") + "\n";
        std::fs::write(path(), text).expect("golden runs are writable");
        return;
    }
    assert_eq!(golden[name], found, "{name}: the numerics changed");
}

#[test]
fn generated_models_keep_their_roots() {
    let prompt: Vec<u32> = (1..=9).collect();
    check("tiny", commitments(&Shape::default().model(), &prompt, 4));
    let other = Shape { seed: 9, layers: 1, tied: true, biases: false, ..Shape::default() };
    check("tiny_tied", commitments(&other.model(), &prompt, 4));
}

#[test]
fn the_real_model_keeps_its_roots() {
    let Some(model) = real::model() else { return };
    // "The capital of France is"
    let prompt = [504, 3575, 282, 4649, 314];
    check("smollm2_135m_instruct_q4_1", commitments(&model, &prompt, 8));
}
