//! `refute bench`
#![allow(clippy::float_arithmetic, reason = "rates are reports")]

use super::Execution;
use clap::Args;
use refute_engine::bench::{self, Report};
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
    /// Prompts of these lengths in turn, to see how speed depends on what comes before: "128,512,2048"
    #[arg(long, value_name = "LENGTHS", value_delimiter = ',', conflicts_with = "prompt", value_parser = clap::value_parser!(u32).range(1..))]
    context: Vec<u32>,
    /// Tokens to generate
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(2..))]
    r#gen: u32,
    /// Measurements of each, in turn; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
}

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
    let model = args.execution.load()?;
    let measured = |prompt: u32| {
        let bar = ui::progress("measuring", Unit::Positions);
        let sizes = (prompt as usize, args.r#gen);
        let report = bench::measure(&model, sizes, args.repeats as usize, &ui::moving(&bar));
        bar.finish_and_clear();
        report
    };
    if args.context.is_empty() {
        let report = measured(args.prompt)?;
        return if json { ui::print_json(&report) } else { print(&report) };
    }
    let reports: Vec<Report> =
        args.context.iter().map(|n| measured(*n)).collect::<Result<_, _>>()?;
    if json { ui::print_json(&reports) } else { print_contexts(&reports) }
}

fn print_contexts(reports: &[Report]) -> anyhow::Result<()> {
    let row = |report: &Report| {
        let rate = |rate: f64| format!("{rate:.1}");
        vec![
            report.prompt.to_string(),
            rate(report.prefill_tokens_per_s),
            rate(report.prefill_committed_tokens_per_s),
            rate(report.decode_tokens_per_s),
            rate(report.decode_committed_tokens_per_s),
            rate(report.verify_tokens_per_s),
        ]
    };
    let rows: Vec<_> = reports.iter().map(row).collect();
    let header = ["prompt", "tokens/s", "committed", "generation", "committed", "verification"];
    println!("{}", ui::table(&header, &rows));
    Ok(())
}

fn print(report: &Report) -> anyhow::Result<()> {
    let (prompt, answer) = (report.prompt, report.r#gen);
    let percent = |share: f64| 100.0 * share;
    let row = |what: String, value: f64, unit: &str| vec![what, format!("{value:.1}"), unit.into()];
    let (tokens, together) = ("tokens/s", report.together);
    let mut rows = vec![
        row(format!("prompt of {prompt}"), report.prefill_tokens_per_s, tokens),
        row("  with commitments".into(), report.prefill_committed_tokens_per_s, tokens),
        row(format!("generation of {answer}"), report.decode_tokens_per_s, tokens),
        row("  with commitments".into(), report.decode_committed_tokens_per_s, tokens),
        row("commitments cost, prompt".into(), percent(report.prefill_commitment_share), "%"),
        row("commitments cost, generation".into(), percent(report.decode_commitment_share), "%"),
        row(format!("verification of {prompt} + {answer}"), report.verify_tokens_per_s, tokens),
        row("  of short answers, one by one".into(), report.verify_short_tokens_per_s, tokens),
        row(format!("  of {together} together"), report.verify_together_tokens_per_s, tokens),
        row(
            format!("generation of {together} short answers together"),
            report.generate_together_tokens_per_s,
            tokens,
        ),
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
