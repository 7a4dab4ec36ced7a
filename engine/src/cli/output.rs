//! `refute output`

use super::load_model;
use super::onchain::{ChainArguments, final_output, tokens};
use alloy::primitives::{Address, B256};
use anyhow::bail;
use clap::Args;
use refute_contracts::bindings::RequestStatus;
use refute_engine::chain::Chain;
use refute_engine::model::Library;
use refute_engine::{request, ui};
use serde::Serialize;
use std::time::Duration;

/// Read a settled answer from the contract.
#[derive(Args)]
#[command(after_help = "Example:\n  refute output 0x5e… --rpc http://127.0.0.1:8545 --wait 600")]
pub(super) struct Arguments {
    /// The request's id
    request: B256,
    #[command(flatten)]
    chain: ChainArguments,
    /// The model, for the text: a GGUF file or an id; by default it is looked up in the library
    #[arg(long, value_name = "ID|FILE")]
    model: Option<String>,
    /// Seconds to wait until the answer is final
    #[arg(long, value_name = "S", default_value_t = 0)]
    wait: u64,
}

#[derive(Serialize)]
struct OutputReport {
    request_id: B256,
    model_id: B256,
    status: &'static str,
    seed: u64,
    temperature: u32,
    fee_wei: String,
    bond_wei: String,
    window_s: u32,
    callback: Option<Address>,
    delivered: bool,
    claim_id: Option<B256>,
    provider: Option<Address>,
    tokens: Option<Vec<u32>>,
    text: Option<String>,
    output_root: Option<B256>,
    trace_root: Option<B256>,
}

fn request_status(status: RequestStatus) -> &'static str {
    match status {
        RequestStatus::Open => "open",
        RequestStatus::Accepted => "accepted",
        RequestStatus::Claimed => "claimed",
        RequestStatus::Final => "final",
        RequestStatus::Cancelled => "cancelled",
        _ => "none",
    }
}

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
    super::runtime()?.block_on(async {
        let chain = args.chain.connect(None).await?;
        let report = wait_for_output(&chain, args).await?;
        let status = report.status;
        if json {
            ui::print_json(&report)?;
        } else if let Some(tokens) = &report.tokens {
            match &report.text {
                Some(text) => println!("{text}"),
                None => println!("{tokens:?}"),
            }
        }
        anyhow::ensure!(status == "final", "the answer is not final yet: the request is {status}");
        Ok(())
    })
}

async fn wait_for_output(chain: &Chain, args: &Arguments) -> anyhow::Result<OutputReport> {
    let settlement = chain.settlement()?;
    let mut view = settlement.requestOf(args.request).call().await?;
    for _ in 0..args.wait {
        if matches!(view.status, RequestStatus::Final | RequestStatus::Cancelled) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        view = settlement.requestOf(args.request).call().await?;
    }
    if request_status(view.status) == "none" {
        bail!("there is no request {} at {}", args.request, settlement.address());
    }
    let mut report = OutputReport {
        request_id: args.request,
        model_id: view.modelId,
        status: request_status(view.status),
        seed: view.seed,
        temperature: view.temperature,
        fee_wei: view.fee.to_string(),
        bond_wei: view.bond.to_string(),
        window_s: view.windowS,
        callback: (view.callback != Address::ZERO).then_some(view.callback),
        delivered: view.delivered,
        claim_id: (view.claimId != B256::ZERO).then_some(view.claimId),
        provider: (view.provider != Address::ZERO).then_some(view.provider),
        tokens: None,
        text: None,
        output_root: None,
        trace_root: None,
    };
    if view.status == RequestStatus::Final {
        let claim = settlement.claimOf(view.claimId).call().await?;
        let tokens = tokens(&final_output(chain, args.request, view.claimId).await?);
        report.text = decode(args.model.as_deref(), view.modelId, &tokens)?;
        report.tokens = Some(tokens);
        report.output_root = Some(claim.outputRoot);
        report.trace_root = Some(claim.traceRoot);
    }
    Ok(report)
}

/// The text, where the model is at hand.
fn decode(model: Option<&str>, id: B256, tokens: &[u32]) -> anyhow::Result<Option<String>> {
    let model = match model {
        Some(model) => load_model(model)?,
        None => {
            let library = Library::user();
            if !library.list()?.iter().any(|entry| entry.model_id == id) {
                return Ok(None);
            }
            load_model(&id.to_string())?
        }
    };
    anyhow::ensure!(model.id == id, "the request is for model {id}, not for {}", model.id);
    Ok(Some(request::answer_text(&model, tokens)?))
}
