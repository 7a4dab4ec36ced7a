//! `refute deploy`

use super::onchain::ChainArguments;
use alloy::primitives::{B256, U256, keccak256};
use clap::Args;
use refute_contracts::plan::SALT_TEXT;
use refute_engine::chain::{Chain, DeployParams, Deployment, parse_key};
use refute_engine::deploy::{self, Options, Report};
use refute_engine::ui;
use serde::Serialize;
use std::path::PathBuf;

/// Put the contracts on a chain, or find them there.
///
/// Addresses follow from code and parameters: the same command gives the same addresses on every chain, and a second time it
/// finds what is there. The defaults suit a development chain; contracts/README.md says how large bonds, shares and windows
/// have to be where real money is at stake, and why.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  refute deploy --rpc http://127.0.0.1:8545 --key deployer.key\n\n  refute deploy --rpc https://… --key \
                  deployer.key --bond-min 2000000000000000000 --window-min 86400 --claim-time 3600 --clock 14400"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    chain: ChainArguments,
    /// Private key: hex, a file, or the name of an environment variable
    #[arg(long)]
    key: String,
    #[command(flatten)]
    terms: Terms,
    /// Another word gives other contracts with the same parameters; 32 bytes in hex are taken as they are
    #[arg(long, value_name = "WORD", default_value = SALT_TEXT)]
    salt: String,
    /// Put the CREATE2 proxy on a chain that lacks it: 0.01 coins
    #[arg(long)]
    install_proxy: bool,
    /// The block that the contracts were created in, if they are there and the node doesn't know the past
    #[arg(long, value_name = "BLOCK")]
    from_block: Option<u64>,
}

/// The constants of a deployment; see [`DeployParams`].
#[derive(Args)]
#[command(next_help_heading = "Parameters, fixed for ever")]
struct Terms {
    /// Levels of a reveal: 2^bits children
    #[arg(long, value_name = "BITS", default_value_t = defaults().arity_bits)]
    arity: u32,
    /// Chess clock of each party of a dispute, seconds
    #[arg(long, value_name = "S", default_value_t = defaults().clock_s)]
    clock: u32,
    /// Time for a move that the clock doesn't count, seconds
    #[arg(long, value_name = "S", default_value_t = defaults().min_response_s)]
    min_response: u32,
    /// Smallest bond that a request may ask of its provider, wei
    #[arg(long, value_name = "WEI", default_value_t = defaults().bond_min_wei)]
    bond_min: U256,
    /// Largest bond that a request may ask of its provider, wei
    #[arg(long, value_name = "WEI", default_value_t = defaults().bond_max_wei)]
    bond_max: U256,
    /// Part of a convicted provider's bond that is burned, hundredths of a percent: 5000 to 9999
    #[arg(long, value_name = "BPS", default_value_t = defaults().burn_bps)]
    burn_bps: u16,
    /// Part of the bond that burns when an accepted request isn't claimed in time
    #[arg(long, value_name = "BPS", default_value_t = defaults().miss_bps)]
    miss_bps: u16,
    /// Challenger's bond, wei
    #[arg(long, value_name = "WEI", default_value_t = defaults().challenger_bond_wei)]
    challenger_bond: U256,
    /// Part of a losing challenger's bond that is burned
    #[arg(long, value_name = "BPS", default_value_t = defaults().challenger_burn_bps)]
    challenger_burn_bps: u16,
    /// What a challenger's move is paid with when its claim is rejected, wei: at most the move's gas
    #[arg(long, value_name = "WEI", default_value_t = defaults().move_reimbursement_wei)]
    move_reimbursement: U256,
    /// Moves that are paid for at most, over all disputes of a claim
    #[arg(long, value_name = "MOVES", default_value_t = defaults().moves_reimbursed)]
    moves_reimbursed: u32,
    /// Shortest challenge window that a request may ask for, seconds
    #[arg(long, value_name = "S", default_value_t = defaults().window_min_s)]
    window_min: u32,
    /// Longest challenge window that a request may ask for, seconds
    #[arg(long, value_name = "S", default_value_t = defaults().window_max_s)]
    window_max: u32,
    /// Time from acceptance to claim, seconds
    #[arg(long, value_name = "S", default_value_t = defaults().claim_s)]
    claim_time: u32,
    /// Most gas that a request's callback may ask for
    #[arg(long, value_name = "GAS", default_value_t = defaults().callback_gas_max)]
    callback_gas_max: u32,
}

fn defaults() -> DeployParams {
    DeployParams::default()
}

impl Terms {
    fn params(&self) -> DeployParams {
        DeployParams {
            arity_bits: self.arity,
            clock_s: self.clock,
            min_response_s: self.min_response,
            bond_min_wei: self.bond_min,
            bond_max_wei: self.bond_max,
            burn_bps: self.burn_bps,
            miss_bps: self.miss_bps,
            challenger_bond_wei: self.challenger_bond,
            challenger_burn_bps: self.challenger_burn_bps,
            move_reimbursement_wei: self.move_reimbursement,
            moves_reimbursed: self.moves_reimbursed,
            window_min_s: self.window_min,
            window_max_s: self.window_max,
            claim_s: self.claim_time,
            callback_gas_max: self.callback_gas_max,
        }
    }
}

/// What `deploy --json` prints.
#[derive(Serialize)]
struct DeployReport {
    #[serde(flatten)]
    deployment: Deployment,
    /// What was created now; the rest was there.
    created: Vec<&'static str>,
    gas_used: u64,
    file: PathBuf,
}

fn salt(word: &str) -> B256 {
    word.parse().unwrap_or_else(|_| keccak256(word))
}

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
    ui::start_logs(ui::COMMAND_LOGS, false);
    super::runtime()?.block_on(async {
        let chain = Chain::connect(&args.chain.rpc, Some(parse_key(&args.key)?), None).await?;
        let options = Options {
            params: args.terms.params(),
            salt: salt(&args.salt),
            install_proxy: args.install_proxy,
            from_block: args.from_block,
        };
        let Report { deployment, created, gas_used } = deploy::deploy(&chain, &options).await?;
        let file = deployment.save(args.chain.deployment.as_deref())?;
        if json {
            return ui::print_json(&DeployReport { deployment, created, gas_used, file });
        }
        let state = |name| if created.contains(&name) { "created" } else { "was there" };
        let row = |(name, address): (&'static str, _)| (name, format!("{address} {}", state(name)));
        let mut rows: Vec<(&str, String)> = deployment.contracts().map(row).to_vec();
        rows.push(("gas", gas_used.to_string()));
        rows.push(("written to", file.display().to_string()));
        println!("{}", ui::pairs(&rows));
        Ok(())
    })
}
