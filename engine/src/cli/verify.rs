//! `refute verify`
#![allow(clippy::float_arithmetic, reason = "rates are reports")]

use super::Execution;
use super::drawing::{Drawing, Drawn};
use super::execute::{Answer, Prompt, TokenFile, rate, read};
use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use indicatif::ProgressBar;
use refute_engine::cost::{Cost, Gauge};
use refute_engine::model::Model;
use refute_engine::request;
use refute_engine::trace::{Ask, Run, RunError};
use refute_engine::ui::{self, Style, Unit};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Re-check answers: every token, and the trace root
#[derive(Args)]
#[command(
    group(ArgGroup::new("question").required(true).args(["prompt", "prompt_tokens", "claims"])),
    after_help = "Example:\n  refute run --model 0x1a2b --prompt 'Once' --json > answer.json\n  refute verify \
                  --model 0x1a2b --prompt 'Once' --output answer.json\n  refute verify --model 0x1a2b \
                  --claims answers.json"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    execution: Execution,
    #[command(flatten)]
    prompt: Prompt,
    /// The answer: a file that `run --json` wrote, token ids ("1,2,3"), or text
    #[arg(long, required_unless_present = "claims")]
    output: Option<String>,
    /// The trace root that the answer came with
    #[arg(long)]
    trace_root: Option<String>,
    #[command(flatten)]
    drawing: Drawing,
    /// Many answers with their prompts: what `run --json` printed, one after the other. The model is loaded once
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "prompt_tokens", "output", "trace_root", "temperature", "seed"])]
    claims: Option<PathBuf>,
}

/// What is checked; the fields are those of `run --json`.
#[derive(Deserialize)]
struct Claim {
    prompt_tokens: Vec<u32>,
    tokens: Vec<u32>,
    trace_root: Option<String>,
    #[serde(flatten)]
    drawn: Drawn,
}

/// What is expected of a check before it is run.
#[derive(Serialize)]
struct Expected {
    #[serde(flatten)]
    cost: Cost,
    multiply_accumulates: u64,
    seconds: f64,
}

/// What `verify --json` prints; a list of it for `--claims`.
#[derive(Serialize)]
struct Report {
    valid: bool,
    /// Not known if the check ended at a wrong token.
    trace_root: Option<String>,
    claimed_trace_root: Option<String>,
    /// Index of the first output token that the model doesn't yield.
    first_wrong_token: Option<usize>,
    expected_token: Option<u32>,
    /// Why the model doesn't take it, if it doesn't.
    error: Option<String>,
    cost: Expected,
    /// Positions that were computed: fewer than there are if a wrong token came early.
    positions: usize,
    seconds: f64,
    verify_tokens_per_s: f64,
    backend: &'static str,
    adapter: Option<String>,
}

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
    let model = args.execution.load()?;
    let claims = claims(args, &model)?;
    let mut gauge = Gauge::measure(&model)?;
    let mut reports = Vec::with_capacity(claims.len());
    for claim in claims {
        let report = check(&model, claim, &mut gauge, json)?;
        if let (None, Some(error)) = (&args.claims, &report.error) {
            bail!("{error}");
        }
        if !json {
            print_verdict(&report);
        }
        reports.push(report);
    }
    match (&args.claims, &reports[..]) {
        _ if !json => {}
        (None, [report]) => ui::print_json(report)?,
        _ => ui::print_json(&reports)?,
    }
    let wrong = reports.iter().filter(|report| !report.valid).count();
    match args.claims {
        None => anyhow::ensure!(wrong == 0, "the answer is not what the model computes"),
        Some(_) => anyhow::ensure!(
            wrong == 0,
            "{wrong} of {} answers are not what the model computes",
            reports.len()
        ),
    }
    Ok(())
}

fn claims(args: &Arguments, model: &Model) -> anyhow::Result<Vec<Claim>> {
    if let Some(path) = &args.claims {
        let text = read(path)?;
        let claims = serde_json::Deserializer::from_str(&text).into_iter();
        return claims.collect::<Result<_, _>>().with_context(|| {
            format!(
                "{} is not what `refute run --json` prints: objects with prompt_tokens, tokens and trace_root",
                path.display()
            )
        });
    }
    let prompt_tokens = args.prompt.tokens(model)?;
    let answer = parse_output(model, args.output.as_deref().unwrap_or_default())?;
    let drawn = args.drawing.sampling(answer.drawn.sampling()?).into();
    let trace_root = args.trace_root.clone().or(answer.trace_root);
    Ok(vec![Claim { prompt_tokens, tokens: answer.tokens, trace_root, drawn }])
}

fn check(
    model: &Arc<Model>,
    claim: Claim,
    gauge: &mut Gauge,
    json: bool,
) -> anyhow::Result<Report> {
    let Claim { prompt_tokens: prompt, tokens: output, trace_root, drawn } = claim;
    let ask = Ask { prompt: &prompt, sampling: drawn.sampling()? };
    let cost = Cost::of(model, prompt.len(), output.len());
    let cost = Expected {
        multiply_accumulates: cost.multiply_accumulates(),
        seconds: gauge.seconds(&cost),
        cost,
    };
    if !json {
        print_cost(&cost);
    }
    let bar = ui::progress("verifying", Unit::Positions);
    let start = Instant::now();
    let (run, positions) = replay(model, ask, &output, (&bar, cost.cost.positions));
    bar.finish_and_clear();
    let spent = start.elapsed();
    let claimed = trace_root.map(|root| root.to_ascii_lowercase());
    let named = model.backend().map_or("reference", |backend| backend.name());
    let mut report = Report {
        valid: false,
        trace_root: None,
        claimed_trace_root: claimed,
        first_wrong_token: None,
        expected_token: None,
        error: None,
        cost,
        positions,
        seconds: spent.as_secs_f64(),
        verify_tokens_per_s: rate(positions, spent),
        backend: named,
        adapter: None,
    };
    match run {
        Err(RunError::Differs { index, expected, .. }) => {
            (report.first_wrong_token, report.expected_token) = (Some(index), Some(expected));
        }
        Err(error) => report.error = Some(error.to_string()),
        Ok(run) => {
            let own = alloy::hex::encode_prefixed(run.trace_root());
            report.valid = report.claimed_trace_root.as_ref().is_none_or(|c| *c == own);
            (report.trace_root, report.backend) = (Some(own), run.backend);
            report.adapter.clone_from(&run.adapter);
            gauge.learn(&report.cost.cost, spent);
        }
    }
    Ok(report)
}

/// The own run, and how many positions it went through.
fn replay(
    model: &Arc<Model>,
    ask: Ask<'_>,
    output: &[u32],
    (bar, total): (&ProgressBar, u64),
) -> (Result<Run, RunError>, usize) {
    let mut positions = 0;
    bar.set_length(total);
    let run = Run::check(model, ask, output, &mut |done, _| {
        bar.set_position(done.into());
        positions = done as usize;
        true
    });
    (run, positions)
}

fn print_cost(Expected { cost, multiply_accumulates, seconds }: &Expected) {
    let line = format!(
        "{} positions, {:.1} G multiply-accumulates, {:.1} GB from memory, {} MiB kept, about {seconds:.2} s",
        cost.positions,
        *multiply_accumulates as f64 / 1e9,
        cost.bytes_read as f64 / 1e9,
        cost.memory_bytes >> 20,
    );
    println!("{}", ui::paint(Style::Dim, &line));
}

fn print_verdict(report: &Report) {
    let verdict = if report.valid {
        ui::paint(Style::Green, "valid")
    } else {
        ui::paint(Style::Red, "wrong")
    };
    match &report.trace_root {
        Some(root) => println!("{verdict}  trace root {root}"),
        None => println!("{verdict}  after {} positions", report.positions),
    }
    if let Some(error) = &report.error {
        println!("{error}");
    }
    if let (Some(i), Some(token)) = (report.first_wrong_token, report.expected_token) {
        println!("output token {i} should be {token}");
    } else if let Some(claimed) = report.claimed_trace_root.as_ref().filter(|_| !report.valid) {
        println!("the answer came with  {claimed}");
    }
}

/// The answer's tokens, and what else is known of it.
fn parse_output(model: &Model, output: &str) -> anyhow::Result<Answer> {
    let path = Path::new(output);
    if path.is_file() {
        return Ok(TokenFile::read(path)?.into_answer());
    }
    let ids: Result<Vec<u32>, _> = output.split(',').map(|id| id.trim().parse()).collect();
    match ids {
        Ok(ids) => Ok(Answer::of(ids)),
        Err(_) => Ok(Answer::of(request::text_tokens(model, output)?)),
    }
}
