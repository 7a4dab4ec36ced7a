//! How cost grows with the model: import, 16 tokens from a prompt of 128, verification, and a fault disputed to conviction on the
//! embedded chain.
//!
//!   cargo bench --package refute-benches --bench size -- --shape 13b [--prompt 128] [--gen 16] [--dir target/shapes] [--csv FILE]
#![allow(clippy::float_arithmetic, reason = "times and rates are reports")]

use anyhow::{Context, ensure};
use clap::Parser;
use refute_bisection::state::Party;
use refute_engine::backend::Options;
use refute_engine::bench::peak_memory_bytes;
use refute_engine::fault::FaultSpec;
use refute_engine::model::Model;
use refute_engine::subject::Player;
use refute_engine::trace::Run;
use refute_tests::arena::{Arena, Parameters};
use refute_tests::large;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Measure a generated model.
#[derive(Parser)]
struct Arguments {
    /// 15m, 135m, 1b, 7b or 13b
    #[arg(long, default_value = "135m")]
    shape: String,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 128)]
    prompt: u32,
    /// Tokens to generate
    #[arg(long, default_value_t = 16)]
    r#gen: u32,
    /// Where generated models are kept
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/shapes"))]
    dir: PathBuf,
    /// A line is appended to this file
    #[arg(long)]
    csv: Option<PathBuf>,
    #[command(flatten)]
    backend: Options,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Arguments::parse();
    refute_engine::ui::set_threads(args.backend.threads)?;
    let shape = large::shape(&args.shape)
        .with_context(|| format!("shapes: {}", large::NAMES.join(", ")))?;
    std::fs::create_dir_all(&args.dir)?;
    let path = args.dir.join(format!("{}.gguf", args.shape));
    if !path.is_file() {
        large::write(&shape, &path)?;
    }
    let mut row = vec![("shape", args.shape.clone())];
    let file_bytes = std::fs::metadata(&path)?.len();
    row.push(("file_bytes", file_bytes.to_string()));

    let start = Instant::now();
    let model = Arc::new(Model::open(&path, &|_, _| {})?);
    row.push(("import_s", seconds(start)));
    let start = Instant::now();
    args.backend.attach(&model)?;
    row.push(("pack_s", seconds(start)));

    let tokens: Vec<u32> = (0..args.prompt).map(|i| 1 + i * 7919 % 31_000).collect();
    let start = Instant::now();
    let honest = Run::generate_exactly(&model, &tokens, args.r#gen)?;
    row.push(("generate_s", seconds(start)));
    let t = honest.timing;
    let rate = |count: usize, time: f64| format!("{:.2}", count as f64 / time.max(1e-9));
    row.push(("prefill_tokens_per_s", rate(t.prefill_positions, t.prefill.as_secs_f64())));
    row.push(("decode_tokens_per_s", rate(t.decode_positions, t.decode.as_secs_f64())));
    row.push(("commit_ms", format!("{:.1}", t.commit.as_secs_f64() * 1e3)));
    let start = Instant::now();
    let again = Run::replay(&model, &tokens, honest.output(), None, &mut |_, _| true)?;
    row.push(("verify_s", seconds(start)));
    ensure!(again.trace_root() == honest.trace_root(), "the check found another root");
    dispute(&model, &tokens, args.r#gen, &mut row)?;
    let peak = peak_memory_bytes().unwrap_or_default();
    row.push(("peak_memory_bytes", peak.to_string()));

    for (name, value) in &row {
        println!("{name:24} {value}");
    }
    if let Some(path) = &args.csv {
        let is_new = !path.exists();
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        let line = |cells: Vec<&str>| cells.join(",") + "\n";
        if is_new {
            file.write_all(line(row.iter().map(|(name, _)| *name).collect()).as_bytes())?;
        }
        file.write_all(line(row.iter().map(|(_, value)| value.as_str()).collect()).as_bytes())?;
    }
    Ok(())
}

fn seconds(start: Instant) -> String {
    format!("{:.2}", start.elapsed().as_secs_f64())
}

/// A wrong element in the middle of the model, disputed by a watcher until the contract convicts it.
fn dispute(
    model: &Arc<Model>,
    tokens: &[u32],
    answer: u32,
    row: &mut Vec<(&'static str, String)>,
) -> anyhow::Result<()> {
    let layer = model.config.layers / 2;
    let spec: FaultSpec = format!("{}:blk.{layer}.ffn_down:7", tokens.len() / 2).parse()?;
    let start = Instant::now();
    let faulty = Run::generate(model, tokens, answer, Some(&spec), &mut |_, _| true)?;
    let own = Run::replay(model, tokens, faulty.output(), None, &mut |_, _| true)?;
    row.push(("both_runs_s", seconds(start)));
    let injected = *faulty.fault().context("a fault")?;
    let mut arena = Arena::new(Parameters::default());
    arena.register(model);
    let claim = arena.claim(&faulty);
    let dispute = arena.challenge(claim);
    let (defender, challenger) = (Player::new(faulty), Player::new(own));
    let start = Instant::now();
    let verdict = arena.play(dispute, &defender, &challenger, Party::Challenger);
    row.push(("dispute_s", seconds(start)));
    let s = &verdict.last;
    let place = (s.block.0, s.step.0, s.element.0);
    ensure!(verdict.winner == Party::Challenger && verdict.by_step, "the liar was not convicted");
    ensure!(place == (injected.block, injected.step, injected.element), "convicted at {place:?}");
    row.push(("rounds", verdict.rounds().to_string()));
    row.push(("transactions", verdict.moves.len().to_string()));
    row.push(("gas", verdict.gas().to_string()));
    row.push(("step_gas", verdict.step_gas().to_string()));
    row.push(("calldata_bytes", verdict.calldata().to_string()));
    Ok(())
}
