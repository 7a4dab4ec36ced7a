//! What the commands that reach a chain share.

use alloy::primitives::{B256, Bytes};
use anyhow::Context;
use clap::Args;
use refute_engine::agent::connect;
use refute_engine::chain::{Chain, Event, Logged, parse_key};
use std::path::PathBuf;

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
    pub(super) async fn connect(&self, key: Option<&str>) -> anyhow::Result<Chain> {
        let signer = key.map(parse_key).transpose()?;
        Ok(connect(&self.rpc, signer, self.deployment.as_deref()).await?)
    }
}

/// Everything that the deployment's contracts ever said.
pub(super) async fn all_events(chain: &Chain) -> anyhow::Result<Vec<Logged>> {
    let head = chain.head().await?;
    Ok(chain.events(chain.deployment()?.block, head.number).await?)
}

/// Tokens from calldata.
pub(super) fn tokens(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}

/// The output of a final claim, packed: from its event, checked by the contract against the root that it keeps.
pub(super) async fn final_output(
    chain: &Chain,
    request: B256,
    claim: B256,
) -> anyhow::Result<Bytes> {
    let is_claim = |logged: Logged| match logged.event {
        Event::Claimed(e) if e.claimId == claim => Some(e.output),
        _ => None,
    };
    let output = all_events(chain).await?.into_iter().find_map(is_claim);
    let output = output.context("the chain doesn't show the claim's event")?;
    let is_final = chain.settlement()?.isFinalOutput(request, output.clone()).call().await?;
    anyhow::ensure!(is_final, "the node's event is not the output that the contract keeps");
    Ok(output)
}
