//! `refute claim …`

use super::onchain::{ChainArguments, all_events, tokens};
use alloy::primitives::{Address, B256};
use anyhow::bail;
use clap::Subcommand;
use refute_contracts::bindings::ClaimStatus;
use refute_engine::chain::{Chain, Event};
use refute_engine::ui;
use serde::Serialize;

#[derive(Subcommand)]
pub(super) enum Command {
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
    payee: Address,
    status: &'static str,
    bond_wei: String,
    output: Vec<u32>,
    output_root: B256,
    trace_root: B256,
    claimed_at_s: u64,
    window_end_s: u64,
    disputes: u32,
    open_disputes: u32,
    rejected_at_s: Option<u64>,
    rewarded: bool,
}

pub(super) fn run(command: &Command, json: bool) -> anyhow::Result<()> {
    super::runtime()?.block_on(async {
        let (arguments, wanted) = match command {
            Command::List { chain } => (chain, None),
            Command::Show { claim, chain } => (chain, Some(*claim)),
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

fn claim_status(status: ClaimStatus) -> &'static str {
    match status {
        ClaimStatus::Pending => "pending",
        ClaimStatus::Final => "final",
        ClaimStatus::Rejected => "rejected",
        _ => "none",
    }
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
            payee: view.providerPayee,
            status: claim_status(view.status),
            bond_wei: view.bond.to_string(),
            output: tokens(&event.output),
            output_root: view.outputRoot,
            trace_root: event.traceRoot,
            claimed_at_s: view.claimedAt,
            window_end_s: view.windowEnd,
            disputes: view.disputes,
            open_disputes: view.openDisputes,
            rejected_at_s: (view.rejectedAt != 0).then_some(view.rejectedAt),
            rewarded: view.rewarded,
        });
    }
    Ok(reports)
}

fn show_claim(claim: &ClaimReport) {
    let status = match (claim.status, claim.rewarded) {
        ("rejected", true) => "rejected, the reward is credited".to_owned(),
        ("rejected", false) => "rejected, the reward is to be settled".to_owned(),
        (status, _) => status.to_owned(),
    };
    println!(
        "{}",
        ui::pairs(&[
            ("claim", claim.claim_id.to_string()),
            ("request", claim.request_id.to_string()),
            ("provider", format!("{}, paid to {}", claim.provider, claim.payee)),
            ("bond", format!("{} wei", claim.bond_wei)),
            ("status", status),
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
            c.bond_wei.clone(),
            c.output.len().to_string(),
            format!("{}/{}", c.open_disputes, c.disputes),
        ]
    };
    let rows: Vec<_> = claims.iter().map(row).collect();
    let header = ["claim", "status", "provider", "bond (wei)", "tokens", "open/all disputes"];
    println!("{}", ui::table(&header, &rows));
}
