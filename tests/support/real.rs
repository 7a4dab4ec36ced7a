//! The real model, where its file is at hand.

use refute_engine::backend::{Choice, Options};
use refute_engine::model::Model;
use std::path::PathBuf;
use std::sync::Arc;

/// File name of the model that the demo uses (Apache-2.0).
pub const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The file: `$REFUTE_MODEL`, or in `$REFUTE_CACHE`, else `~/.cache/refute`, where `scripts/model.sh` puts it. `None`, with a
/// line on standard error, where it isn't there and `$REFUTE_REQUIRE_MODEL` doesn't ask for it.
///
/// # Panics
/// If the file is required and missing.
pub fn file() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = || variable("REFUTE_CACHE").or(Some(variable("HOME")?.join(".cache/refute")));
    let path = variable("REFUTE_MODEL").or_else(|| Some(cache()?.join(FILE)));
    let found = path.clone().filter(|p| p.is_file());
    if found.is_none() {
        let required = std::env::var_os("REFUTE_REQUIRE_MODEL").is_some();
        assert!(!required, "the real model is required, and not at {path:?}: run scripts/model.sh");
        eprintln!("skipped: the real model is not at {path:?}; scripts/model.sh fetches it");
    }
    found
}

/// The imported model, where its file is at hand.
///
/// # Panics
/// As [`file()`], and if it can't be imported.
pub fn model() -> Option<Arc<Model>> {
    Some(Arc::new(Model::open(&file()?, &|_, _| {}).expect("the real model is importable")))
}

/// Lets a model run on the CPU's vector kernels, not on the reference.
///
/// # Panics
/// If they can't take it.
pub fn on_cpu(model: &Model) {
    let options = Options { backend: Choice::Cpu, ..Options::default() };
    options.attach(model).expect("the CPU takes every model");
}
