//! `refute provider`

use super::load_model;
use super::onchain::ChainArguments;
use alloy::primitives::{Address, U256};
use anyhow::Context;
use clap::Args;
use refute_engine::agent::Agent;
use refute_engine::backend::Options;
use refute_engine::fault::FaultSpec;
use refute_engine::model::Model;
use refute_engine::provider::{Policy, Provider};
use refute_engine::worker::work;
use std::path::PathBuf;
use std::time::Duration;

/// Serve requests for models: accept, answer, claim, defend.
#[derive(Args)]
#[command(
    after_help = "Example:\n  refute provider --rpc http://127.0.0.1:8545 --key provider.key --model 0x1a2b\n\n\
                        A drill, with one wrong element that a watcher must find:\n  refute provider --rpc … --key … \
                        --model 0x1a2b --fault 3:blk.7.ffn_gate:12"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    chain: ChainArguments,
    /// Private key: hex, a file, or the name of an environment variable
    #[arg(long)]
    key: String,
    /// A GGUF file, or the id of an imported model; may be given several times
    #[arg(long, value_name = "ID|FILE", required = true)]
    model: Vec<String>,
    /// Its database
    #[arg(long, value_name = "FILE", default_value = "provider.db")]
    db: PathBuf,
    /// Who gets the money; by default the key's own address
    #[arg(long, value_name = "ADDRESS")]
    payee: Option<Address>,
    /// Leave requests with smaller fees to others
    #[arg(long, value_name = "WEI", default_value = "0")]
    min_fee: U256,
    /// Leave requests with larger bonds to others
    #[arg(long, value_name = "WEI")]
    max_bond: Option<U256>,
    /// Leave requests with longer challenge windows to others: so long a bond is held
    #[arg(long, value_name = "S")]
    max_window: Option<u32>,
    /// Leave requests with a temperature to others
    #[arg(long)]
    greedy_only: bool,
    /// Most gas of a callback that is paid for: answers with a larger one are left for others to deliver
    #[arg(long, value_name = "GAS", default_value_t = 500_000)]
    max_callback_gas: u32,
    /// Unsettled requests at a time: each holds a bond
    #[arg(long, default_value_t = 4)]
    max_active: u32,
    /// Accept no more than so many requests in all
    #[arg(long)]
    max_requests: Option<u32>,
    /// Misbehave on purpose: BLOCK:STEP:ELEMENT or token:INDEX
    #[arg(long)]
    fault: Option<FaultSpec>,
    /// Milliseconds between two looks at the chain
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..))]
    poll: u64,
    #[command(flatten)]
    backend: Options,
}

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
    refute_engine::ui::start_logs(refute_engine::ui::SERVICE_LOGS, json);
    refute_engine::ui::set_threads(args.backend.threads)?;
    let models: Vec<Model> = args.model.iter().map(|m| load_model(m)).collect::<Result<_, _>>()?;
    for model in &models {
        args.backend.attach(model)?;
    }
    check_fault(args.fault.as_ref(), &models)?;
    super::runtime()?.block_on(serve(args, models))
}

/// A step that no model has is refused before anything starts.
fn check_fault(fault: Option<&FaultSpec>, models: &[Model]) -> anyhow::Result<()> {
    if let Some(FaultSpec::Element { step, .. }) = fault {
        let known = models.iter().any(|m| m.program.find(step).is_some());
        anyhow::ensure!(known, "step {step:?} is in no program: see `refute model program`");
    }
    Ok(())
}

async fn serve(args: &Arguments, models: Vec<Model>) -> anyhow::Result<()> {
    let deployment = args.chain.deployment.as_deref();
    let agent = Agent::open(&args.chain.rpc, &args.key, deployment, &args.db, models).await?;
    tracing::info!(address = %agent.address(), db = %args.db.display(), "provider starts");
    let policy = Policy {
        payee: args.payee,
        min_fee: args.min_fee,
        max_bond: args.max_bond,
        max_window_s: args.max_window,
        greedy_only: args.greedy_only,
        max_callback_gas: args.max_callback_gas,
        active_max: args.max_active,
        requests_max: args.max_requests,
        fault: args.fault.clone(),
    };
    let stopped = async {
        if let Err(error) = refute_engine::ui::stopped().await {
            tracing::error!(%error, "signals can't be waited for");
        }
    };
    let mut provider = Provider::new(agent, policy);
    provider.measure().await.context("the model can't be run here")?;
    let poll = Duration::from_millis(args.poll);
    work(&mut provider, poll, stopped).await.context("the provider ends")?;
    tracing::info!("provider stops");
    Ok(())
}
