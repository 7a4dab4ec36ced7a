//! The command line.

mod bench;
mod claims;
mod deliver;
mod deploy;
mod devices;
mod devnet;
mod drawing;
mod execute;
mod models;
mod onchain;
mod output;
mod provider;
mod request;
mod verify;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use refute_engine::backend::Options;
use refute_engine::model::{Library, Model};
use refute_engine::ui::{self, Unit};
use std::sync::Arc;

/// Run language models exactly; post, check and dispute their outputs on chain.
#[derive(Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Import and look at models
    #[command(subcommand)]
    Model(models::Command),
    /// Answer a prompt and print the trace root
    Run(execute::Run),
    /// Measure how well a model predicts a text
    Eval(execute::Eval),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    Devices(devices::Arguments),
    /// Run a test chain in this process, behind Ethereum JSON-RPC
    Devnet(devnet::Arguments),
    Deploy(deploy::Arguments),
    Request(request::Arguments),
    Provider(provider::Arguments),
    Output(output::Arguments),
    Deliver(deliver::Arguments),
    /// Look at claims
    #[command(subcommand)]
    Claim(claims::Command),
}

/// Runs the command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Model(command) => models::run(command, cli.json),
        Command::Run(command) => execute::run(&command, cli.json),
        Command::Eval(command) => execute::eval(&command, cli.json),
        Command::Verify(command) => verify::run(&command, cli.json),
        Command::Bench(command) => bench::run(&command, cli.json),
        Command::Devices(command) => devices::run(&command, cli.json),
        Command::Devnet(command) => devnet::run(&command, cli.json),
        Command::Deploy(command) => deploy::run(&command, cli.json),
        Command::Request(command) => request::run(&command, cli.json),
        Command::Provider(command) => provider::run(&command, cli.json),
        Command::Output(command) => output::run(&command, cli.json),
        Command::Deliver(command) => deliver::run(&command, cli.json),
        Command::Claim(command) => claims::run(&command, cli.json),
    }
}

/// Which model, and how to run it.
#[derive(Args)]
struct Execution {
    /// A GGUF file, or the id (or its first digits) of an imported model
    #[arg(long, value_name = "ID|FILE")]
    model: String,
    #[command(flatten)]
    backend: Options,
}

impl Execution {
    /// Sets up the thread pool, loads the model and gives it its backend.
    fn load(&self) -> anyhow::Result<Arc<Model>> {
        ui::start_logs(ui::COMMAND_LOGS, false);
        ui::set_threads(self.backend.threads)?;
        let model = load_model(&self.model)?;
        self.backend.attach(&model)?;
        Ok(Arc::new(model))
    }
}

/// Loads a model by id or file, with a progress bar.
fn load_model(id_or_file: &str) -> anyhow::Result<Model> {
    let bar = ui::progress("loading", Unit::Bytes);
    let model = Library::user().load(id_or_file, &ui::moving(&bar));
    bar.finish_and_clear();
    Ok(model?)
}

/// The runtime of the commands that talk to a chain.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("the async runtime can't be started")
}
