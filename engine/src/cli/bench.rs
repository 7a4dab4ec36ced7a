//! `refute bench`

use super::Execution;
use clap::Args;
use refute_engine::bench;
use refute_engine::ui::{self, Unit};

/// Measure how fast a model runs here: prompts, generation, commitments, verification
#[derive(Args)]
#[command(after_help = "Example:\n  refute bench --model 0x1a2b --prompt 512 --gen 128")]
pub(super) struct Arguments {
    #[command(flatten)]
    execution: Execution,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    prompt: u32,
    /// Tokens to generate
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..))]
    r#gen: u32,
    /// Measurements of each, in turn; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
}

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
    let model = args.execution.load()?;
    let bar = ui::progress("measuring", Unit::Positions);
    let sizes = (args.prompt as usize, args.r#gen);
    let report = bench::measure(&model, sizes, args.repeats as usize, &ui::moving(&bar));
    bar.finish_and_clear();
    let report = report?;
    if json {
        return ui::print_json(&report);
    }
    let (prompt, answer) = (args.prompt, args.r#gen);
    let row = |what: String, value: f64, unit: &str| vec![what, format!("{value:.1}"), unit.into()];
    let tokens = "tokens/s";
    let mut rows = vec![
        row(format!("prompt of {prompt}"), report.prefill_tokens_per_s, tokens),
        row("  with commitments".into(), report.prefill_committed_tokens_per_s, tokens),
        row(format!("generation of {answer}"), report.decode_tokens_per_s, tokens),
        row("  with commitments".into(), report.decode_committed_tokens_per_s, tokens),
        row(format!("verification of {prompt} + {answer}"), report.verify_tokens_per_s, tokens),
        row("hashing alone".into(), report.hash_positions_per_s, "positions/s"),
        row("one block expanded".into(), report.expand_ms, "ms"),
    ];
    if let Some(bytes) = report.peak_memory_bytes {
        rows.push(vec!["peak memory".into(), (bytes >> 20).to_string(), "MiB".into()]);
    }
    let threads = format!("{} threads", report.threads);
    let on = report.adapter.as_deref().unwrap_or(&threads);
    println!("{}, {on}", report.backend);
    println!("{}", ui::table(&["what", "median", "unit"], &rows));
    Ok(())
}
