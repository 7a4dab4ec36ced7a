//! `refute deploy`, `refute request`, `refute output`, `refute claim …`

use super::load_model;
use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolCall;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use refute_contracts::bindings::{
    ClaimStatus, IInferenceSettlement as Settlement, IModelRegistry as Registry, RequestStatus,
};
use refute_engine::agent::connect;
use refute_engine::chain::{Call, Chain, DeployParams, Event, Logged, parse_key};
use refute_engine::deploy;
use refute_engine::model::{Library, Model};
use refute_engine::provider::packed;
use refute_engine::request::{self, PromptText};
use refute_engine::ui::{self, Style};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Which chain, and which contracts on it.
#[derive(Args, Clone)]
pub(super) struct ChainArguments {
    /// The chain's JSON-RPC
    #[arg(long, env = "REFUTE_RPC", value_name = "URL")]
    pub(super) rpc: String,
    /// What `refute deploy` wrote; by default the file of this chain in $REFUTE_HOME
    #[arg(long, value_name = "FILE")]
    pub(super) deployment: Option<PathBuf>,
}

impl ChainArguments {
    async fn connect(&self, key: Option<&str>) -> anyhow::Result<Chain> {
        let signer = key.map(parse_key).transpose()?;
        Ok(connect(&self.rpc, signer, self.deployment.as_deref()).await?)
    }
}

/// Put the contracts on a chain.
#[derive(Args)]
#[command(
    after_help = "Example:\n  refute deploy --rpc http://127.0.0.1:8545 --key deployer.key --window 3600"
)]
pub(super) struct Deploy {
    #[command(flatten)]
    chain: ChainArguments,
    /// Private key: hex, a file, or the name of an environment variable
    #[arg(long)]
    key: String,
    /// Levels of a reveal: 2^bits children
    #[arg(long, value_name = "BITS")]
    arity: Option<u32>,
    /// Challenge window, seconds
    #[arg(long, value_name = "S")]
    window: Option<u32>,
    /// Chess clock of each party of a dispute, seconds
    #[arg(long, value_name = "S")]
    clock: Option<u32>,
    /// Time for a move that the clock doesn't count, seconds
    #[arg(long, value_name = "S")]
    min_response: Option<u32>,
    /// Time from acceptance to claim, seconds
    #[arg(long, value_name = "S")]
    claim_time: Option<u32>,
    /// Provider's bond, wei; half of it is burned at a conviction
    #[arg(long, value_name = "WEI")]
    provider_bond: Option<U256>,
    /// Challenger's bond, wei; half of it is burned when it loses
    #[arg(long, value_name = "WEI")]
    challenger_bond: Option<U256>,
}

impl Deploy {
    fn params(&self) -> DeployParams {
        let mut params = DeployParams::default();
        let set = |value: &mut u32, given: Option<u32>| *value = given.unwrap_or(*value);
        set(&mut params.arity_bits, self.arity);
        set(&mut params.window_s, self.window);
        set(&mut params.clock_s, self.clock);
        set(&mut params.min_response_s, self.min_response);
        set(&mut params.claim_s, self.claim_time);
        let half = |bond: U256| bond.div_ceil(U256::from(2));
        if let Some(bond) = self.provider_bond {
            params.provider_bond_wei = bond;
            params.provider_burn_wei = half(bond);
            params.miss_penalty_wei = bond.div_ceil(U256::from(10));
        }
        if let Some(bond) = self.challenger_bond {
            params.challenger_bond_wei = bond;
            params.challenger_burn_wei = half(bond);
        }
        params
    }
}

pub(super) fn deploy(args: &Deploy, json: bool) -> anyhow::Result<()> {
    super::runtime()?.block_on(async {
        let chain = Chain::connect(&args.chain.rpc, Some(parse_key(&args.key)?), None).await?;
        let deployment = deploy::deploy(&chain, &args.params()).await?;
        let path = deployment.save(args.chain.deployment.as_deref())?;
        if json {
            return ui::print_json(&deployment);
        }
        let mut rows: Vec<(&str, String)> =
            deployment.contracts().iter().map(|(n, a)| (*n, a.to_string())).collect();
        rows.push(("written to", path.display().to_string()));
        println!("{}", ui::pairs(&rows));
        Ok(())
    })
}

/// Ask for an answer, with the fee in escrow.
#[derive(Args)]
#[command(
    after_help = "Example:\n  refute request --rpc http://127.0.0.1:8545 --key me.key --model 0x1a2b --chat --prompt \
                        'Who wrote Faust?' --max-tokens 32 --fee 1000000000000000"
)]
pub(super) struct Request {
    #[command(flatten)]
    chain: ChainArguments,
    /// Private key: hex, a file, or the name of an environment variable
    #[arg(long)]
    key: String,
    /// A GGUF file, or the id (or its first digits) of an imported model
    #[arg(long, value_name = "ID|FILE")]
    model: String,
    /// The prompt
    #[arg(long)]
    prompt: String,
    /// Put the prompt into the model's chat template
    #[arg(long)]
    chat: bool,
    /// Longest answer, tokens
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    /// What the answer is worth, wei
    #[arg(long, value_name = "WEI")]
    fee: U256,
    /// Seconds in which somebody must accept
    #[arg(long, value_name = "S", default_value_t = 3600)]
    deadline: u64,
}

#[derive(Serialize)]
struct RequestReport {
    request_id: B256,
    model_id: B256,
    prompt_tokens: Vec<u32>,
    fee_wei: String,
    deadline_s: u64,
    transaction: B256,
    gas_used: u64,
}

pub(super) fn request(args: &Request, json: bool) -> anyhow::Result<()> {
    let model = load_model(&args.model)?;
    super::runtime()?.block_on(async {
        let chain = args.chain.connect(Some(&args.key)).await?;
        register(&chain, &model).await?;
        let text = PromptText { text: &args.prompt, chat: args.chat };
        let prompt = request::tokens(&model, &text)?;
        refute_engine::trace::check(&model, &prompt, args.max_tokens)?;
        let deadline = chain.now_s().await? + args.deadline;
        let call = Settlement::requestCall {
            modelId: model.id,
            prompt: packed(&prompt),
            maxOutput: args.max_tokens,
            deadline,
            // Any number that this requester didn't use yet: the id hashes it.
            nonce: U256::from(std::time::UNIX_EPOCH.elapsed()?.as_nanos()),
        };
        let settlement = chain.deployment()?.settlement;
        let call = Call::new(settlement, call.abi_encode()).with_value(args.fee);
        let receipt = chain.transact(&call).await?;
        anyhow::ensure!(receipt.success, "the request's transaction {} failed", receipt.hash);
        let events = chain.events(receipt.block, receipt.block).await?;
        let request_id = events.iter().find_map(|e| match &e.event {
            Event::Requested(r) if e.tx_hash == receipt.hash => Some(r.requestId),
            _ => None,
        });
        let report = RequestReport {
            request_id: request_id.context("the chain shows no request in this transaction")?,
            model_id: model.id,
            prompt_tokens: prompt,
            fee_wei: args.fee.to_string(),
            deadline_s: deadline,
            transaction: receipt.hash,
            gas_used: receipt.gas_used,
        };
        if json {
            return ui::print_json(&report);
        }
        println!("requested {}", ui::paint(Style::Green, &report.request_id.to_string()));
        println!(
            "read the answer with: refute output {} --rpc {}",
            report.request_id, args.chain.rpc
        );
        Ok(())
    })
}

/// Registers a model, if it isn't yet: anyone may, the id is the content.
async fn register(chain: &Chain, model: &Model) -> anyhow::Result<()> {
    let registry = chain.registry()?;
    if !registry.isRegistered(model.id).call().await? {
        let call = Registry::registerCall { model: model.registration.clone() };
        let receipt = chain.transact(&Call::new(*registry.address(), call.abi_encode())).await?;
        anyhow::ensure!(receipt.success, "registering the model failed: {}", receipt.hash);
    }
    Ok(())
}

/// Read a settled answer from the contract.
#[derive(Args)]
#[command(after_help = "Example:\n  refute output 0x5e… --rpc http://127.0.0.1:8545 --wait 600")]
pub(super) struct Output {
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

fn claim_status(status: ClaimStatus) -> &'static str {
    match status {
        ClaimStatus::Pending => "pending",
        ClaimStatus::Final => "final",
        ClaimStatus::Rejected => "rejected",
        _ => "none",
    }
}

pub(super) fn output(args: &Output, json: bool) -> anyhow::Result<()> {
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

async fn wait_for_output(chain: &Chain, args: &Output) -> anyhow::Result<OutputReport> {
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
        claim_id: (view.claimId != B256::ZERO).then_some(view.claimId),
        provider: (view.provider != Address::ZERO).then_some(view.provider),
        tokens: None,
        text: None,
        output_root: None,
        trace_root: None,
    };
    if view.status == RequestStatus::Final {
        let claim = settlement.claimOf(view.claimId).call().await?;
        let tokens = final_tokens(chain, args.request, view.claimId).await?;
        report.text = decode(args.model.as_deref(), view.modelId, &tokens)?;
        report.tokens = Some(tokens);
        report.output_root = Some(claim.outputRoot);
        report.trace_root = Some(claim.traceRoot);
    }
    Ok(report)
}

/// The tokens of a final claim: from its event, checked by the contract against the root that it keeps.
async fn final_tokens(chain: &Chain, request: B256, claim: B256) -> anyhow::Result<Vec<u32>> {
    let is_claim = |logged: Logged| match logged.event {
        Event::Claimed(e) if e.claimId == claim => Some(e.output),
        _ => None,
    };
    let output = all_events(chain).await?.into_iter().find_map(is_claim);
    let output = output.context("the chain doesn't show the claim's event")?;
    let settlement = chain.settlement()?;
    let is_final = settlement.isFinalOutput(request, output.clone()).call().await?;
    anyhow::ensure!(is_final, "the node's event is not the output that the contract keeps");
    Ok(tokens(&output))
}

fn tokens(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}

async fn all_events(chain: &Chain) -> anyhow::Result<Vec<Logged>> {
    let head = chain.head().await?;
    Ok(chain.events(chain.deployment()?.block, head.number).await?)
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

#[derive(Subcommand)]
pub(super) enum Claim {
    /// List the claims on this chain
    #[command(after_help = "Example:\n  refute claim list --rpc http://127.0.0.1:8545")]
    List {
        #[command(flatten)]
        chain: ChainArguments,
    },
    /// Show a claim
    #[command(after_help = "Example:\n  refute claim show 0x5e… --rpc http://127.0.0.1:8545")]
    Show {
        /// The claim's id
        claim: B256,
        #[command(flatten)]
        chain: ChainArguments,
    },
}

#[derive(Serialize)]
struct ClaimReport {
    claim_id: B256,
    request_id: B256,
    provider: Address,
    status: &'static str,
    output: Vec<u32>,
    output_root: B256,
    trace_root: B256,
    claimed_at_s: u64,
    window_end_s: u64,
    disputes: u32,
    open_disputes: u32,
}

pub(super) fn claim(command: &Claim, json: bool) -> anyhow::Result<()> {
    super::runtime()?.block_on(async {
        let (arguments, wanted) = match command {
            Claim::List { chain } => (chain, None),
            Claim::Show { claim, chain } => (chain, Some(*claim)),
        };
        let chain = arguments.connect(None).await?;
        let claims = claims(&chain, wanted).await?;
        match (wanted, claims.first()) {
            (Some(id), None) => bail!("there is no claim {id} on this chain"),
            (Some(_), Some(claim)) if json => ui::print_json(claim),
            (Some(_), Some(claim)) => {
                show_claim(claim);
                Ok(())
            }
            (None, _) if json => ui::print_json(&claims),
            (None, _) => {
                list_claims(&claims);
                Ok(())
            }
        }
    })
}

async fn claims(chain: &Chain, wanted: Option<B256>) -> anyhow::Result<Vec<ClaimReport>> {
    let settlement = chain.settlement()?;
    let mut reports = Vec::new();
    for logged in all_events(chain).await? {
        let Event::Claimed(event) = logged.event else { continue };
        if wanted.is_some_and(|id| id != event.claimId) {
            continue;
        }
        let view = settlement.claimOf(event.claimId).call().await?;
        reports.push(ClaimReport {
            claim_id: event.claimId,
            request_id: event.requestId,
            provider: event.provider,
            status: claim_status(view.status),
            output: tokens(&event.output),
            output_root: view.outputRoot,
            trace_root: event.traceRoot,
            claimed_at_s: view.claimedAt,
            window_end_s: view.windowEnd,
            disputes: view.disputes,
            open_disputes: view.openDisputes,
        });
    }
    Ok(reports)
}

fn show_claim(claim: &ClaimReport) {
    println!(
        "{}",
        ui::pairs(&[
            ("claim", claim.claim_id.to_string()),
            ("request", claim.request_id.to_string()),
            ("provider", claim.provider.to_string()),
            ("status", claim.status.to_owned()),
            ("output tokens", format!("{:?}", claim.output)),
            ("trace root", claim.trace_root.to_string()),
            ("challenges until", format!("{} s (Unix time)", claim.window_end_s)),
            ("disputes", format!("{} ({} open)", claim.disputes, claim.open_disputes)),
        ])
    );
}

fn list_claims(claims: &[ClaimReport]) {
    let row = |c: &ClaimReport| {
        vec![
            c.claim_id.to_string(),
            c.status.to_owned(),
            c.provider.to_string(),
            c.output.len().to_string(),
            format!("{}/{}", c.open_disputes, c.disputes),
        ]
    };
    let rows: Vec<_> = claims.iter().map(row).collect();
    let header = ["claim", "status", "provider", "tokens", "open/all disputes"];
    println!("{}", ui::table(&header, &rows));
}
