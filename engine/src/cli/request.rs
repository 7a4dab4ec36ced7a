//! `refute request`

use super::load_model;
use super::onchain::ChainArguments;
use alloy::primitives::{B256, U256};
use alloy::sol_types::SolCall;
use anyhow::Context;
use clap::Args;
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use refute_engine::chain::{Call, Chain, Event};
use refute_engine::model::Model;
use refute_engine::provider::packed;
use refute_engine::request::{self, PromptText};
use refute_engine::ui::{self, Style};
use serde::Serialize;

/// Ask for an answer, with the fee in escrow.
#[derive(Args)]
#[command(
    after_help = "Example:\n  refute request --rpc http://127.0.0.1:8545 --key me.key --model 0x1a2b --chat --prompt \
                        'Who wrote Faust?' --max-tokens 32 --fee 1000000000000000"
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

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
    let model = load_model(&args.model)?;
    super::runtime()?.block_on(async {
        let chain = args.chain.connect(Some(&args.key)).await?;
        register(&chain, &model).await?;
        let text = PromptText { text: &args.prompt, chat: args.chat };
        let prompt = request::tokens(&model, &text)?;
        refute_engine::trace::check(&model, &prompt, args.max_tokens)?;
        let deadline = chain.now_s().await?.saturating_add(args.deadline);
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
        let call = model.register_call();
        let receipt = chain.transact(&Call::new(*registry.address(), call.abi_encode())).await?;
        anyhow::ensure!(receipt.success, "registering the model failed: {}", receipt.hash);
    }
    Ok(())
}
