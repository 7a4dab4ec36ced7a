//! `refute-watcher`: watches a deployment for wrong claims on its models.

use alloy::primitives::{Address, B256};
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use refute_bisection::state::Phase;
use refute_engine::agent::{self, Agent};
use refute_engine::backend::{Choice, Options};
use refute_engine::model::{Library, Model};
use refute_engine::player;
use refute_engine::store::Store;
use refute_engine::subject::Player;
use refute_engine::trace::Run as Trace;
use refute_engine::ui::{self, Unit};
use refute_engine::worker::work;
use refute_watcher::telemetry;
use refute_watcher::watchtower::{Policy, Watchtower};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Re-run every claim on your models, dispute the wrong ones, collect the reward.
#[derive(Parser)]
#[command(version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print results (and logs) as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    Run(Run),
    /// What was checked, disputed, spent and earned
    #[command(after_help = "Example:\n  refute-watcher status --db watcher.db")]
    Status(Database),
    /// List the disputes
    #[command(after_help = "Example:\n  refute-watcher disputes --db watcher.db --json")]
    Disputes(Database),
    /// Show a dispute's moves
    #[command(after_help = "Example:\n  refute-watcher show 0x5e… --db watcher.db")]
    Show {
        /// The dispute's id
        dispute: B256,
        #[command(flatten)]
        database: Database,
    },
    Step(Step),
    Withdraw(Withdraw),
}

#[derive(Args)]
struct Database {
    /// The watcher's database
    #[arg(long, value_name = "FILE", default_value = "watcher.db")]
    db: PathBuf,
}

/// Which chain, and who signs.
#[derive(Args)]
struct Chain {
    /// The chain's JSON-RPC
    #[arg(long, env = "REFUTE_RPC", value_name = "URL")]
    rpc: String,
    /// What `refute deploy` wrote; by default the file of this chain in $REFUTE_HOME
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
    /// Private key: hex, a file, or the name of an environment variable
    #[arg(long)]
    key: String,
    /// Who gets the money; by default the key's own address
    #[arg(long, value_name = "ADDRESS")]
    payee: Option<Address>,
}

/// Watch the chain
#[derive(Args)]
#[command(
    after_help = "Example:\n  refute-watcher run --rpc http://127.0.0.1:8545 --key watcher.key --db watcher.db \
                        --model 0x1a2b"
)]
struct Run {
    #[command(flatten)]
    chain: Chain,
    #[command(flatten)]
    database: Database,
    /// A GGUF file, or the id of an imported model; may be given several times
    #[arg(long, value_name = "ID|FILE", required = true)]
    model: Vec<String>,
    /// Only look and log: never send a transaction
    #[arg(long)]
    monitor_only: bool,
    /// Milliseconds between two looks at the chain
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..))]
    poll: u64,
    #[command(flatten)]
    backend: Options,
}

/// Show the one step that a dispute has come down to, claimed against computed
#[derive(Args)]
#[command(after_help = "Example:\n  refute-watcher step 0x5e… --db watcher.db --model 0x1a2b")]
struct Step {
    /// The dispute's id
    dispute: B256,
    #[command(flatten)]
    database: Database,
    /// A GGUF file, or the id of an imported model
    #[arg(long, value_name = "ID|FILE")]
    model: String,
}

/// Withdraw what the contract owes
#[derive(Args)]
#[command(
    after_help = "Example:\n  refute-watcher withdraw --rpc http://127.0.0.1:8545 --key watcher.key"
)]
struct Withdraw {
    #[command(flatten)]
    chain: Chain,
}

fn main() -> ExitCode {
    ui::quiet_drivers();
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(args) => run(&args, cli.json),
        Command::Status(args) => status(&args, cli.json),
        Command::Disputes(args) => disputes(&args, cli.json),
        Command::Show { dispute, database } => show(dispute, &database, cli.json),
        Command::Step(args) => step(&args, cli.json),
        Command::Withdraw(args) => withdraw(&args, cli.json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(model: &str) -> anyhow::Result<Model> {
    let bar = ui::progress("loading", Unit::Bytes);
    let model = Library::user().load(model, &ui::moving(&bar));
    bar.finish_and_clear();
    Ok(model?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("the async runtime can't be started")
}

fn run(args: &Run, json: bool) -> anyhow::Result<()> {
    ui::start_logs(ui::SERVICE_LOGS, json);
    ui::set_threads(args.backend.threads)?;
    let models: Vec<Model> = args.model.iter().map(|m| load(m)).collect::<Result<_, _>>()?;
    for model in &models {
        args.backend.attach(model)?;
    }
    runtime()?.block_on(watch(args, models))
}

async fn watch(args: &Run, models: Vec<Model>) -> anyhow::Result<()> {
    let Chain { rpc, deployment, key, payee } = &args.chain;
    let agent = Agent::open(rpc, key, deployment.as_deref(), &args.database.db, models).await?;
    tracing::info!(address = %agent.address(), monitor_only = args.monitor_only, "watcher starts");
    let policy = Policy { payee: *payee, monitor_only: args.monitor_only };
    let stopped = async {
        if let Err(error) = ui::stopped().await {
            tracing::error!(%error, "signals can't be waited for");
        }
    };
    let mut watchtower = Watchtower::new(agent, policy);
    let poll = Duration::from_millis(args.poll);
    work(&mut watchtower, poll, stopped).await.context("the watcher ends")?;
    tracing::info!("watcher stops");
    Ok(())
}

fn status(args: &Database, json: bool) -> anyhow::Result<()> {
    let status = telemetry::status(&Store::read(&args.db)?)?;
    if json {
        return ui::print_json(&status);
    }
    let block = status.block.map_or("none yet".into(), |b| b.to_string());
    println!(
        "{}",
        ui::pairs(&[
            ("watcher", status.address.to_string()),
            ("read up to block", format!("{block} of chain {}", status.chain_id)),
            ("claims checked", format!("{} honest, {} wrong", status.honest, status.wrong)),
            ("undecidable", status.undecidable.to_string()),
            (
                "disputes",
                format!(
                    "{} live, {} won, {} lost",
                    status.disputes_live, status.disputes_won, status.disputes_lost
                ),
            ),
            ("rewards", format!("{} wei", status.rewards_wei)),
            (
                "reimbursed",
                format!("{} wei for {} moves", status.reimbursed_wei, status.moves_reimbursed),
            ),
            ("spent", format!("{} gas in {} transactions", status.gas_used, status.transactions)),
            ("on their way", status.pending.to_string()),
        ])
    );
    Ok(())
}

fn disputes(args: &Database, json: bool) -> anyhow::Result<()> {
    let lines = telemetry::disputes(&Store::read(&args.db)?)?;
    if json {
        return ui::print_json(&lines);
    }
    let row = |l: &telemetry::DisputeLine| {
        vec![
            l.dispute.to_string(),
            l.outcome.to_owned(),
            l.moves.to_string(),
            l.reward_wei.clone().unwrap_or_default(),
            l.reimbursed_wei.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    println!(
        "{}",
        ui::table(&["dispute", "outcome", "moves", "reward (wei)", "reimbursed (wei)"], &rows)
    );
    Ok(())
}

/// A move as `show` prints it.
#[derive(Serialize)]
struct MoveLine {
    block: u64,
    event: &'static str,
    number: Option<u32>,
    transaction: B256,
}

fn show(dispute: B256, args: &Database, json: bool) -> anyhow::Result<()> {
    let store = Store::read(&args.db)?;
    let line = |logged: &refute_engine::chain::Logged| MoveLine {
        block: logged.block,
        event: logged.event.name(),
        number: logged.event.moved().map(|m| m.number),
        transaction: logged.tx_hash,
    };
    let lines: Vec<_> = store.dispute_events(dispute)?.iter().map(line).collect();
    anyhow::ensure!(!lines.is_empty(), "dispute {dispute} is not in this database");
    if json {
        return ui::print_json(&lines);
    }
    let row = |l: &MoveLine| {
        let number = l.number.map(|n| n.to_string()).unwrap_or_default();
        vec![number, l.event.to_owned(), l.block.to_string(), l.transaction.to_string()]
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    println!("{}", ui::table(&["move", "event", "block", "transaction"], &rows));
    Ok(())
}

fn step(args: &Step, json: bool) -> anyhow::Result<()> {
    let store = Store::read(&args.database.db)?;
    let missing = || format!("dispute {} is not in this database", args.dispute);
    let dispute = store.dispute(args.dispute)?.with_context(missing)?;
    let claim = store.claim(dispute.claim_id)?.with_context(missing)?;
    let request = store.request(claim.request_id)?.with_context(missing)?;
    let model = Arc::new(load(&args.model)?);
    anyhow::ensure!(model.id == request.model_id, "the claim is on model {}", request.model_id);
    Options { backend: Choice::Cpu, ..Options::default() }.attach(&model)?;
    let run = Trace::replay(&model, request.ask(), &claim.output, None, &mut |_, _| true)?;
    let own = Player::new(run);
    let subject = agent::subject(&claim, &own)?;
    let history = agent::history(&store, args.dispute, &subject, agent::rules(&store)?)?;
    let last = history.answers().map(|(state, _)| state).chain([history.state()]);
    let state = last.filter(|s| s.phase != Phase::Over).last().copied();
    let finding = state.and_then(|s| player::finding(&own, &s).transpose()).transpose()?;
    let finding = finding.context("the dispute has not come down to an element yet")?;
    if json {
        return ui::print_json(&finding);
    }
    println!(
        "{}",
        ui::pairs(&[
            ("block", finding.block.to_string()),
            ("step", format!("{} {} ({})", finding.step, finding.name, finding.op)),
            ("element", finding.element.to_string()),
            ("mode", finding.mode.to_owned()),
            ("claimed", finding.claimed),
            ("computed", finding.computed),
        ])
    );
    Ok(())
}

fn withdraw(args: &Withdraw, json: bool) -> anyhow::Result<()> {
    use alloy::sol_types::SolCall;
    use refute_contracts::bindings::IInferenceSettlement::withdrawCall;
    let Chain { rpc, deployment, key, payee } = &args.chain;
    runtime()?.block_on(async {
        let signer = refute_engine::chain::parse_key(key)?;
        let chain = agent::connect(rpc, Some(signer), deployment.as_deref()).await?;
        let payee = payee.map_or_else(|| chain.address(), Ok)?;
        let owed = chain.withdrawable(payee).await?;
        if !owed.is_zero() {
            let settlement = chain.deployment()?.settlement;
            let call =
                refute_engine::chain::Call::new(settlement, withdrawCall { payee }.abi_encode());
            let receipt = chain.transact(&call).await?;
            anyhow::ensure!(receipt.success, "the withdrawal {} failed", receipt.hash);
        }
        if json {
            return ui::print_json(&serde_json::json!({ "payee": payee, "wei": owed.to_string() }));
        }
        println!("{owed} wei to {payee}");
        Ok(())
    })
}
