//! `refute deliver`

use super::onchain::{ChainArguments, final_output};
use alloy::primitives::{Address, B256};
use alloy::sol_types::SolCall;
use anyhow::{bail, ensure};
use clap::Args;
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use refute_contracts::bindings::RequestStatus;
use refute_engine::chain::Call;
use refute_engine::ui::{self, Style};
use serde::Serialize;

/// Tell a request's callback of the final answer: anyone may, once.
///
/// Providers deliver what they answered, if the callback's gas isn't more than they pay for; this is for everything else. A
/// callback that fails changes nothing, so it can be tried again.
#[derive(Args)]
#[command(after_help = "Example:\n  refute deliver 0x5e… --rpc http://127.0.0.1:8545 --key me.key")]
pub(super) struct Arguments {
    /// The request's id
    request: B256,
    #[command(flatten)]
    chain: ChainArguments,
    /// Private key that pays the gas: hex, a file, or the name of an environment variable
    #[arg(long)]
    key: String,
}

#[derive(Serialize)]
struct DeliverReport {
    request_id: B256,
    claim_id: B256,
    callback: Address,
    transaction: B256,
    gas_used: u64,
}

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
    super::runtime()?.block_on(async {
        let chain = args.chain.connect(Some(&args.key)).await?;
        let settlement = chain.settlement()?;
        let view = settlement.requestOf(args.request).call().await?;
        let id = args.request;
        match view.status {
            RequestStatus::Final => {}
            RequestStatus::None => bail!("there is no request {id} at {}", settlement.address()),
            _ => bail!("the answer to {id} is not final yet: see `refute output {id}`"),
        }
        ensure!(view.callback != Address::ZERO, "request {id} named no callback");
        ensure!(!view.delivered, "request {id} is delivered already");
        let output = final_output(&chain, id, view.claimId).await?;
        let call = Settlement::deliverCall { requestId: id, output };
        let receipt = chain.transact(&Call::new(*settlement.address(), call.abi_encode())).await?;
        let report = DeliverReport {
            request_id: id,
            claim_id: view.claimId,
            callback: view.callback,
            transaction: receipt.hash,
            gas_used: receipt.gas_used,
        };
        if json {
            return ui::print_json(&report);
        }
        let callback = ui::paint(Style::Green, &report.callback.to_string());
        println!("delivered to {callback}, {} gas", report.gas_used);
        Ok(())
    })
}
