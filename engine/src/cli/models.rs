//! `refute model …`

use super::load_model;
use clap::Subcommand;
use refute_engine::model::library::Entry;
use refute_engine::model::{Library, Model, Requirements};
use refute_engine::ui::{self, Style, Unit};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Check a GGUF file, compute its model id and remember it
    #[command(after_help = "Example:\n  refute model import SmolLM2-135M-Instruct.Q4_1.gguf")]
    Import {
        /// The model, as published
        file: PathBuf,
        /// Smallest bond that the chain shall accept for an answer, wei: part of the model id
        #[arg(long, value_name = "WEI", default_value_t = 0)]
        min_bond: u128,
        /// Shortest challenge window that the chain shall accept, seconds: part of the model id
        #[arg(long, value_name = "S", default_value_t = 0)]
        min_window: u32,
    },
    /// Show a model's sizes, roots and stop tokens
    #[command(after_help = "Example:\n  refute model show 0x1a2b --json")]
    Show {
        /// Its id (or first digits), or a GGUF file
        id: String,
    },
    /// List the imported models
    #[command(after_help = "Example:\n  refute model list")]
    List,
    /// List the steps of a block: index, name, op, length
    #[command(after_help = "Example:\n  refute model program --model 0x1a2b --block 12 --json")]
    Program {
        /// Its id (or first digits), or a GGUF file
        #[arg(long, value_name = "ID|FILE")]
        model: String,
        /// Position: scores and probabilities grow with it
        #[arg(long, default_value_t = 0)]
        block: u32,
    },
}

/// What `show` prints.
#[derive(Serialize)]
struct Details {
    model_id: String,
    name: String,
    numerics_version: u32,
    program_root: String,
    weights_root: String,
    tokenizer_hash: String,
    layers: u32,
    width: u32,
    hidden: u32,
    heads: u32,
    kv_heads: u32,
    head_len: u32,
    context: u32,
    vocabulary: u32,
    carried: u32,
    prompt_steps: u32,
    output_steps: u32,
    collect_step: u32,
    sample_step: u32,
    weight_leaves: u32,
    min_bond_wei: String,
    min_window_s: u32,
    stop_ids: Vec<u32>,
    chat_template: bool,
    converted_to_q8_0: Vec<String>,
}

/// A line of `program`.
#[derive(Serialize)]
struct StepLine<'a> {
    index: u32,
    name: &'a str,
    op: &'static str,
    length: u32,
    in_prompt_block: bool,
}

pub(super) fn run(command: Command, json: bool) -> anyhow::Result<()> {
    match command {
        Command::Import { file, min_bond, min_window } => {
            let requirements = Requirements { min_bond_wei: min_bond, min_window_s: min_window };
            let bar = ui::progress("importing", Unit::Bytes);
            let imported = Library::user().import(&file, requirements, &ui::moving(&bar));
            bar.finish_and_clear();
            let (entry, model) = imported?;
            report_import(&entry, &model, json)
        }
        Command::Show { id } => show(&load_model(&id)?, json),
        Command::List => list(&Library::user().list()?, json),
        Command::Program { model, block } => program(&load_model(&model)?, block, json),
    }
}

fn report_import(entry: &Entry, model: &Model, json: bool) -> anyhow::Result<()> {
    if json {
        return ui::print_json(entry);
    }
    if !model.converted.is_empty() {
        println!(
            "{} {} matrices are stored as floats and were converted to Q8_0 by GGML's rule",
            ui::paint(Style::Yellow, "note:"),
            model.converted.len()
        );
    }
    if model.file_context > model.config.context {
        println!(
            "{} the file's context of {} is cut to {}",
            ui::paint(Style::Yellow, "note:"),
            model.file_context,
            model.config.context
        );
    }
    println!(
        "imported {} as\n{}",
        entry.name,
        ui::paint(Style::Green, &entry.model_id.to_string())
    );
    Ok(())
}

fn show(model: &Model, json: bool) -> anyhow::Result<()> {
    let (config, r) = (&model.config, &model.registration);
    let details = Details {
        model_id: model.id.to_string(),
        name: config.name.clone(),
        numerics_version: r.numericsVersion,
        program_root: r.programRoot.to_string(),
        weights_root: r.weightsRoot.to_string(),
        tokenizer_hash: r.tokenizerHash.to_string(),
        layers: config.layers,
        width: config.width,
        hidden: config.hidden,
        heads: config.heads,
        kv_heads: config.kv_heads,
        head_len: config.head_len,
        context: config.context,
        vocabulary: config.vocabulary,
        carried: r.params.carried,
        prompt_steps: r.params.promptSteps,
        output_steps: r.params.outputSteps,
        collect_step: r.params.collectStep,
        sample_step: r.params.sampleStep,
        weight_leaves: r.params.weightLeaves,
        min_bond_wei: r.params.minBond.to_string(),
        min_window_s: r.params.minWindowS,
        stop_ids: r.params.stopIds.clone(),
        chat_template: model.chat_template.is_some(),
        converted_to_q8_0: model.converted.clone(),
    };
    if json {
        return ui::print_json(&details);
    }
    let shape = format!(
        "{} layers, {} wide, {} hidden, {} heads of {} ({} for K and V)",
        details.layers,
        details.width,
        details.hidden,
        details.heads,
        details.head_len,
        details.kv_heads
    );
    println!(
        "{}",
        ui::pairs(&[
            ("model id", details.model_id),
            ("name", details.name),
            ("shape", shape),
            ("context", details.context.to_string()),
            ("vocabulary", details.vocabulary.to_string()),
            (
                "steps of a block",
                format!("{} (prompt: {})", details.output_steps, details.prompt_steps)
            ),
            ("weight leaves", details.weight_leaves.to_string()),
            ("least bond", format!("{} wei", details.min_bond_wei)),
            ("least window", format!("{} s", details.min_window_s)),
            ("stop tokens", format!("{:?}", details.stop_ids)),
            ("chat template", if details.chat_template { "yes" } else { "no" }.into()),
            ("program root", details.program_root),
            ("weights root", details.weights_root),
            ("tokenizer hash", details.tokenizer_hash),
        ])
    );
    Ok(())
}

fn list(entries: &[Entry], json: bool) -> anyhow::Result<()> {
    if json {
        return ui::print_json(&entries);
    }
    if entries.is_empty() {
        println!("no models yet: refute model import FILE.gguf");
        return Ok(());
    }
    let row = |e: &Entry| {
        vec![
            e.model_id.to_string(),
            e.name.clone(),
            format!("{} MB", e.bytes / 1_000_000),
            e.context.to_string(),
            e.path.display().to_string(),
        ]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    println!("{}", ui::table(&["model id", "name", "size", "context", "file"], &rows));
    Ok(())
}

fn program(model: &Model, block: u32, json: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        block < model.config.context,
        "block {block} is outside of the context of {}",
        model.config.context
    );
    let mut lines = Vec::new();
    for (index, step) in (0..).zip(&model.program.steps) {
        lines.push(StepLine {
            index,
            name: &step.name,
            op: step.descriptor.op.name(),
            length: step.descriptor.shape(block)?.elements,
            in_prompt_block: index <= model.program.collect,
        });
    }
    if json {
        return ui::print_json(&lines);
    }
    let row = |l: &StepLine<'_>| {
        vec![l.index.to_string(), l.name.to_owned(), l.op.to_owned(), l.length.to_string()]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    println!("{}", ui::table(&["step", "name", "op", "length"], &rows));
    Ok(())
}
