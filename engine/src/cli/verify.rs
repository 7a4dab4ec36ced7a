//! `refute verify`
#![allow(clippy::float_arithmetic, reason = "rates are reports")]

use super::Execution;
use super::drawing::{Drawing, Drawn};
use super::execute::{Answer, Prompt, TokenFile, rate, read};
use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use indicatif::ProgressBar;
use refute_engine::cost::{self, Cost, Gauge};
use refute_engine::model::Model;
use refute_engine::request;
use refute_engine::trace::{Ask, Run, RunError};
use refute_engine::ui::{self, Style, Unit};
use refute_kernels::reference::Sampling;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

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
    /// Many answers with their prompts: what `run --json` printed, one after the other. The model is loaded once, and
    /// short ones are checked together
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "prompt_tokens", "output", "trace_root", "temperature", "seed"])]
    claims: Option<PathBuf>,
}

/// What is read of an answer; the fields are those of `run --json`.
#[derive(Deserialize)]
struct Printed {
    prompt_tokens: Vec<u32>,
    tokens: Vec<u32>,
    trace_root: Option<String>,
    #[serde(flatten)]
    drawn: Drawn,
}

/// What is checked.
struct Claim {
    prompt: Vec<u32>,
    output: Vec<u32>,
    trace_root: Option<String>,
    sampling: Sampling,
}

impl Claim {
    fn new(printed: Printed) -> anyhow::Result<Self> {
        let Printed { prompt_tokens: prompt, tokens: output, trace_root, drawn } = printed;
        let trace_root = trace_root.map(|root| root.to_ascii_lowercase());
        Ok(Self { prompt, output, trace_root, sampling: drawn.sampling()? })
    }

    fn cost(&self, model: &Model) -> Cost {
        Cost::of(model, self.prompt.len(), self.output.len())
    }
}

/// What is expected of a check before it is run.
#[derive(Serialize)]
struct Expected {
    #[serde(flatten)]
    cost: Cost,
    multiply_accumulates: u64,
    seconds: f64,
}

impl Expected {
    fn new(cost: Cost, gauge: &Gauge) -> Self {
        Self {
            multiply_accumulates: cost.multiply_accumulates(),
            seconds: gauge.seconds(&cost),
            cost,
        }
    }

    fn time(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or(Duration::MAX)
    }
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
    /// Of answers that were checked together: its share, by positions.
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
    let mut rest = &claims[..];
    while !rest.is_empty() {
        let expected: Vec<Expected> = rest
            .iter()
            .take(cost::AT_ONCE_MAX)
            .map(|c| Expected::new(c.cost(&model), &gauge))
            .collect();
        let together = cost::at_once(expected.iter().map(|e| (&e.cost, e.time())));
        let (claims, later) = rest.split_at(together);
        rest = later;
        if !json {
            print_cost(&expected[..together]);
        }
        for report in check(&model, claims.iter().zip(expected), &mut gauge) {
            if let (None, Some(error)) = (&args.claims, &report.error) {
                bail!("{error}");
            }
            if !json {
                if args.claims.is_some() {
                    print!("{:>4}  ", reports.len() + 1);
                }
                print_verdict(&report);
            }
            reports.push(report);
        }
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
        let printed = serde_json::Deserializer::from_str(&text).into_iter::<Printed>();
        let claim = |printed: Result<Printed, _>| {
            Claim::new(printed.with_context(|| {
                format!(
                    "{} is not what `refute run --json` prints: objects with prompt_tokens, tokens and trace_root",
                    path.display()
                )
            })?)
        };
        return printed.map(claim).collect();
    }
    let prompt_tokens = args.prompt.tokens(model)?;
    let answer = parse_output(model, args.output.as_deref().unwrap_or_default())?;
    let drawn = args.drawing.sampling(answer.drawn.sampling()?).into();
    let trace_root = args.trace_root.clone().or(answer.trace_root);
    Ok(vec![Claim::new(Printed { prompt_tokens, tokens: answer.tokens, trace_root, drawn })?])
}

/// The own run, and how many positions it went through.
type Replayed = (Result<Run, RunError>, usize);

/// Checks some claims at the same time.
fn check<'a>(
    model: &Arc<Model>,
    claims: impl Iterator<Item = (&'a Claim, Expected)>,
    gauge: &mut Gauge,
) -> Vec<Report> {
    let claims: Vec<(&Claim, Expected)> = claims.collect();
    let bar = ui::progress("verifying", Unit::Positions);
    bar.set_length(claims.iter().map(|(_, expected)| expected.cost.positions).sum());
    let start = Instant::now();
    let runs: Vec<Replayed> = std::thread::scope(|scope| {
        let spawn = |claim: &'a Claim| scope.spawn(|| replay(model, claim, &bar));
        let threads: Vec<_> = claims.iter().map(|(claim, _)| spawn(claim)).collect();
        let join = |thread: ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    bar.finish_and_clear();
    let spent = start.elapsed();
    let total: usize = runs.iter().map(|(_, positions)| positions).sum();
    let all = claims.into_iter().zip(runs);
    let report = |((claim, expected), (run, positions)): ((_, Expected), Replayed)| {
        // All of it if nobody got anywhere.
        let share = if total == 0 { 1.0 } else { positions as f64 / total as f64 };
        let spent = spent.mul_f64(share);
        if run.is_ok() {
            gauge.learn(&expected.cost, spent);
        }
        report(model, (claim, expected), run, (positions, spent))
    };
    all.map(report).collect()
}

fn replay(model: &Arc<Model>, claim: &Claim, bar: &ProgressBar) -> Replayed {
    let mut positions = 0;
    let ask = Ask { prompt: &claim.prompt, sampling: claim.sampling };
    let run = Run::check(model, ask, &claim.output, &mut |done, _| {
        bar.inc(1);
        positions = done as usize;
        true
    });
    (run, positions)
}

fn report(
    model: &Model,
    (claim, cost): (&Claim, Expected),
    run: Result<Run, RunError>,
    (positions, spent): (usize, Duration),
) -> Report {
    let mut report = Report {
        valid: false,
        trace_root: None,
        claimed_trace_root: claim.trace_root.clone(),
        first_wrong_token: None,
        expected_token: None,
        error: None,
        cost,
        positions,
        seconds: spent.as_secs_f64(),
        verify_tokens_per_s: rate(positions, spent),
        backend: model.backend().map_or("reference", |backend| backend.name()),
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
            report.adapter = run.adapter;
        }
    }
    report
}

/// What a check takes, or some that go together.
fn print_cost(expected: &[Expected]) {
    let sum = |field: fn(&Expected) -> u64| expected.iter().map(field).sum::<u64>();
    let many = match expected.len() {
        1 => String::new(),
        n => format!("{n} answers together: "),
    };
    let line = format!(
        "{many}{} positions, {:.1} G multiply-accumulates, {:.1} GB from memory, {} MiB kept, about {:.2} s",
        sum(|e| e.cost.positions),
        sum(|e| e.multiply_accumulates) as f64 / 1e9,
        sum(|e| e.cost.bytes_read) as f64 / 1e9,
        sum(|e| e.cost.memory_bytes) >> 20,
        expected.iter().map(|e| e.seconds).sum::<f64>(),
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
