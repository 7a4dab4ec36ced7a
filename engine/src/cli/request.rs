//! `refute request`

use super::load_model;
use super::onchain::ChainArguments;
use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::SolCall;
use anyhow::{Context, ensure};
use clap::Args;
use refute_contracts::bindings::{IInferenceSettlement as Settlement, RequestParams};
use refute_engine::chain::{Call, Chain, Event};
use refute_engine::model::Model;
use refute_engine::provider::packed;
use refute_engine::request::{self, PromptText};
use refute_engine::temperature::Temperature;
use refute_engine::trace::Ask;
use refute_engine::ui::{self, Style};
use refute_kernels::reference::Sampling;
use serde::Serialize;

/// Ask for an answer, with the fee in escrow.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  refute request --rpc http://127.0.0.1:8545 --key me.key --model 0x1a2b --chat --prompt \
                  'Who wrote Faust?' --max-tokens 32 --fee 1000000000000000\n\nA larger bond, a day for challengers, and a \
                  contract that is told:\n  refute request … --bond 5000000000000000000 --window 86400 --callback 0x5e… \
                  --callback-gas 200000"
)]
pub(super) struct Arguments {
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
    /// Draw tokens at this temperature, up to 16; 0 takes the likeliest token
    #[arg(long, default_value = "0")]
    temperature: Temperature,
    /// What the draws follow from; by default, any number
    #[arg(long)]
    seed: Option<u64>,
    /// What the provider stakes, wei; by default the least that model and deployment take
    #[arg(long, value_name = "WEI")]
    bond: Option<u128>,
    /// Challenge window, seconds; by default the shortest that model and deployment take
    #[arg(long, value_name = "S")]
    window: Option<u32>,
    /// A contract that is told of the final answer (IInferenceConsumer)
    #[arg(long, value_name = "ADDRESS", requires = "callback_gas")]
    callback: Option<Address>,
    /// Gas for that
    #[arg(long, value_name = "GAS", requires = "callback")]
    callback_gas: Option<u32>,
}

impl Arguments {
    /// Whoever doesn't choose a seed gets another one each time. It is on chain before anybody computes, so nobody can choose
    /// it by what comes of it.
    fn sampling(&self) -> anyhow::Result<Sampling> {
        let now = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        let other =
            keccak256(now.to_le_bytes()).0.first_chunk().map_or(1, |b| u64::from_le_bytes(*b));
        let seed = if self.temperature.0 == 0 { 0 } else { other };
        Ok(Sampling { seed: self.seed.unwrap_or(seed), temperature: self.temperature.0 })
    }
}

#[derive(Serialize)]
struct RequestReport {
    request_id: B256,
    model_id: B256,
    prompt_tokens: Vec<u32>,
    seed: u64,
    temperature: String,
    fee_wei: String,
    bond_wei: String,
    window_s: u32,
    deadline_s: u64,
    transaction: B256,
    gas_used: u64,
}

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
    let model = load_model(&args.model)?;
    super::runtime()?.block_on(async {
        let chain = args.chain.connect(Some(&args.key)).await?;
        register(&chain, &model).await?;
        let text = PromptText { text: &args.prompt, chat: args.chat };
        let prompt = request::tokens(&model, &text)?;
        let sampling = args.sampling()?;
        refute_engine::trace::check(&model, Ask { prompt: &prompt, sampling }, args.max_tokens)?;
        let terms = terms(args, &chain, model.id).await?;
        let deadline_s = chain.now_s().await?.saturating_add(args.deadline);
        let params = RequestParams {
            modelId: model.id,
            prompt: packed(&prompt),
            maxOutput: args.max_tokens,
            seed: sampling.seed,
            temperature: sampling.temperature,
            bond: terms.bond_wei,
            windowS: terms.window_s,
            deadline: deadline_s,
            callback: args.callback.unwrap_or_default(),
            callbackGas: args.callback_gas.unwrap_or_default(),
            // Any number that this requester didn't use yet: the id hashes it.
            nonce: U256::from(std::time::UNIX_EPOCH.elapsed()?.as_nanos()),
        };
        let call = Settlement::requestCall { p: params };
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
            seed: sampling.seed,
            temperature: Temperature(sampling.temperature).to_string(),
            fee_wei: args.fee.to_string(),
            bond_wei: terms.bond_wei.to_string(),
            window_s: terms.window_s,
            deadline_s,
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

/// What a request asks of its provider.
struct Asked {
    bond_wei: u128,
    window_s: u32,
}

/// The bond and the window: what is wanted, or the least that the model and the deployment take. What is out of bounds is
/// said in the words of the command line before anything is sent.
async fn terms(args: &Arguments, chain: &Chain, model: B256) -> anyhow::Result<Asked> {
    let required = chain.registry()?.requirementsOf(model).call().await?;
    let terms = chain.settlement()?.terms().call().await?;
    let (bond_min, window_min) =
        (terms.bondMin.max(required.minBond), terms.windowMinS.max(required.minWindowS));
    let (bond_wei, window_s) = (args.bond.unwrap_or(bond_min), args.window.unwrap_or(window_min));
    ensure!(
        (bond_min..=terms.bondMax).contains(&bond_wei),
        "--bond {bond_wei}: model and deployment take {bond_min} to {} wei",
        terms.bondMax
    );
    ensure!(
        (window_min..=terms.windowMaxS).contains(&window_s),
        "--window {window_s}: model and deployment take {window_min} to {} seconds",
        terms.windowMaxS
    );
    if let Some(gas) = args.callback_gas {
        let most = terms.callbackGasMax;
        ensure!(
            (1..=most).contains(&gas),
            "--callback-gas {gas}: the deployment takes 1 to {most}"
        );
    }
    Ok(Asked { bond_wei, window_s })
}

/// Registers a model, if it isn't yet: anyone may, the id is the content.
async fn register(chain: &Chain, model: &Model) -> anyhow::Result<()> {
    let registry = chain.registry()?;
    if !registry.isRegistered(model.id).call().await? {
        let call = model.register_call();
        let receipt = chain.transact(&Call::new(*registry.address(), call.abi_encode())).await?;
        anyhow::ensure!(receipt.success, "registering the model failed: {}", receipt.hash);
    }
    Ok(())
}
