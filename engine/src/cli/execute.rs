//! `refute run`, `refute eval`.
#![allow(clippy::float_arithmetic, reason = "rates and likelihoods are reports")]

use super::Execution;
use super::drawing::{self, Drawing, Drawn};
use anyhow::Context;
use clap::{ArgGroup, Args};
use refute_engine::eval;
use refute_engine::model::Model;
use refute_engine::request::{self, PromptText};
use refute_engine::trace::{Ask, Run as Trace};
use refute_engine::ui::{self, Style, Unit};
use refute_kernels::reference::Sampling;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The prompt, as text or tokens.
#[derive(Args)]
pub(super) struct Prompt {
    /// The prompt
    #[arg(long)]
    prompt: Option<String>,
    /// Put the prompt into the model's chat template
    #[arg(long)]
    chat: bool,
    /// The prompt as token ids: "1,2,3"
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["prompt", "chat"])]
    prompt_tokens: Vec<u32>,
}

impl Prompt {
    pub(super) fn tokens(&self, model: &Model) -> anyhow::Result<Vec<u32>> {
        match &self.prompt {
            Some(text) => Ok(request::tokens(model, &PromptText { text, chat: self.chat })?),
            None => Ok(self.prompt_tokens.clone()),
        }
    }
}

#[derive(Args)]
#[command(
    group(ArgGroup::new("question").required(true).args(["prompt", "prompt_tokens"])),
    after_help = "Example:\n  refute run --model SmolLM2-135M-Instruct.Q4_1.gguf --chat --prompt \
                        'What is the capital of France?' --max-tokens 32"
)]
pub(super) struct Run {
    #[command(flatten)]
    execution: Execution,
    #[command(flatten)]
    prompt: Prompt,
    /// Longest answer, tokens
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    #[command(flatten)]
    drawing: Drawing,
}

/// What `run --json` prints.
#[derive(Serialize)]
struct RunReport<'a> {
    model_id: String,
    prompt_tokens: &'a [u32],
    #[serde(flatten)]
    drawn: Drawn,
    tokens: &'a [u32],
    text: String,
    trace_root: String,
    prefill_tokens_per_s: f64,
    decode_tokens_per_s: f64,
    commit_ms: f64,
    backend: &'static str,
    adapter: Option<String>,
}

pub(super) fn run(args: &Run, json: bool) -> anyhow::Result<()> {
    let model = args.execution.load()?;
    let prompt = args.prompt.tokens(&model)?;
    let bar = ui::progress("prompt", Unit::Positions);
    let mut stream = model.tokenizer.stream();
    let mut on_block = |done: u32, token: Option<u32>| {
        bar.set_length(prompt.len() as u64);
        bar.set_position(done.into());
        if let Some(id) = token {
            bar.finish_and_clear();
            let stop = model.tokenizer.stop_ids().contains(&id);
            if !json
                && !stop
                && let Ok(piece) = stream.push(id)
            {
                print!("{piece}");
                let _ = std::io::stdout().flush();
            }
        }
        true
    };
    let ask = Ask { prompt: &prompt, sampling: args.drawing.sampling(Sampling::GREEDY) };
    let run = Trace::generate(&model, ask, args.max_tokens, None, &mut on_block);
    bar.finish_and_clear();
    let run = run?;
    let timing = run.timing;
    let report = RunReport {
        model_id: model.id.to_string(),
        prompt_tokens: &prompt,
        drawn: ask.sampling.into(),
        tokens: run.output(),
        text: request::answer_text(&model, run.output())?,
        trace_root: alloy::hex::encode_prefixed(run.trace_root()),
        prefill_tokens_per_s: rate(timing.prefill_positions, timing.prefill),
        decode_tokens_per_s: rate(timing.decode_positions, timing.decode),
        commit_ms: timing.commit.as_secs_f64() * 1e3,
        backend: run.backend,
        adapter: run.adapter.clone(),
    };
    if json {
        return ui::print_json(&report);
    }
    println!("{}", stream.finish());
    println!(
        "{} {}  {}",
        ui::paint(Style::Dim, "trace root"),
        report.trace_root,
        ui::paint(
            Style::Dim,
            &format!(
                "{} + {} tokens, {}, {:.1} and {:.1} tokens/s, commitments {:.1} ms, on {}",
                prompt.len(),
                run.output().len(),
                drawing::words(ask.sampling),
                report.prefill_tokens_per_s,
                report.decode_tokens_per_s,
                report.commit_ms,
                run.adapter.as_deref().unwrap_or(run.backend),
            )
        )
    );
    Ok(())
}

/// Tokens per second; 0 where nothing was done.
pub(super) fn rate(tokens: usize, time: Duration) -> f64 {
    if tokens == 0 || time.is_zero() { 0.0 } else { tokens as f64 / time.as_secs_f64() }
}

#[derive(Args)]
#[command(
    after_help = "Example:\n  refute eval --model 0x1a2b --text book.txt --ctx 512 --limit 4"
)]
pub(super) struct Eval {
    #[command(flatten)]
    execution: Execution,
    /// A text file
    #[arg(long, required_unless_present = "tokens", conflicts_with = "tokens")]
    text: Option<PathBuf>,
    /// A JSON file: a list of token ids, or an object with the list as "tokens"
    #[arg(long)]
    tokens: Option<PathBuf>,
    /// Positions of a window
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    ctx: u32,
    /// At most so many windows
    #[arg(long)]
    limit: Option<u32>,
}

/// A file of tokens: a list, or what `run --json` prints.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum TokenFile {
    List(Vec<u32>),
    Object(Answer),
}

/// What is needed of what `run --json` prints.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    pub(super) tokens: Vec<u32>,
    pub(super) trace_root: Option<String>,
    #[serde(flatten)]
    pub(super) drawn: Drawn,
}

impl Answer {
    /// Tokens of which nothing else is known.
    pub(super) fn of(tokens: Vec<u32>) -> Self {
        Self { tokens, ..Self::default() }
    }
}

impl TokenFile {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        serde_json::from_str(&read(path)?)
            .with_context(|| format!("{} holds no list of token ids", path.display()))
    }

    pub(super) fn into_answer(self) -> Answer {
        match self {
            Self::List(tokens) => Answer::of(tokens),
            Self::Object(answer) => answer,
        }
    }
}

pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))
}

pub(super) fn eval(args: &Eval, json: bool) -> anyhow::Result<()> {
    let model = args.execution.load()?;
    let tokens = match (&args.text, &args.tokens) {
        (Some(path), _) => request::text_tokens(&model, &read(path)?)?,
        (None, Some(path)) => TokenFile::read(path)?.into_answer().tokens,
        (None, None) => Vec::new(),
    };
    let bar = ui::progress("evaluating", Unit::Positions);
    let report = eval::evaluate(&model, &tokens, args.ctx, args.limit, &ui::moving(&bar));
    bar.finish_and_clear();
    let report = report?;
    if json {
        return ui::print_json(&report);
    }
    println!(
        "{}",
        ui::pairs(&[
            ("windows", format!("{} of {}", report.windows, report.ctx)),
            ("mean NLL", format!("{:.6} nats", report.mean_nll)),
            ("perplexity", format!("{:.4}", report.perplexity)),
            ("saturations", report.saturations.to_string()),
        ])
    );
    Ok(())
}
