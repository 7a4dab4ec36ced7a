//! `refute deploy`

use super::onchain::ChainArguments;
use alloy::primitives::U256;
use clap::Args;
use refute_engine::chain::{Chain, DeployParams, parse_key};
use refute_engine::{deploy, ui};

/// Put the contracts on a chain.
#[derive(Args)]
#[command(
    after_help = "Example:\n  refute deploy --rpc http://127.0.0.1:8545 --key deployer.key --window 3600"
)]
pub(super) struct Arguments {
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

impl Arguments {
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

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
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
