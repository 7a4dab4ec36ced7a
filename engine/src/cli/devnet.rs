//! `refute devnet`

use clap::Args;
use refute_contracts::devnet::{Devnet, DevnetConfig};
use refute_engine::ui::{self, Style};
use serde::Serialize;
use std::io::Write as _;

/// An Ethereum chain in this process, for tests and demos.
#[derive(Args)]
#[command(after_help = "Example:\n  refute devnet --port 8545 --block-time 2")]
pub(super) struct Arguments {
    /// Port on 127.0.0.1; 0 takes any that is free
    #[arg(long, default_value_t = 8545)]
    port: u16,
    /// Seconds between blocks; without it every transaction gets a block at once
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    block_time: Option<u64>,
}

/// What `devnet --json` prints when it is ready, on one line.
#[derive(Serialize)]
struct Ready {
    url: String,
    chain_id: u64,
    accounts: Vec<Account>,
}

#[derive(Serialize)]
struct Account {
    address: String,
    key: String,
}

pub(super) fn run(args: &Arguments, json: bool) -> anyhow::Result<()> {
    super::runtime()?.block_on(serve(args, json))
}

async fn serve(args: &Arguments, json: bool) -> anyhow::Result<()> {
    let config =
        DevnetConfig { port: args.port, block_time_s: args.block_time, ..DevnetConfig::default() };
    let chain_id = config.chain_id;
    let devnet = Devnet::start(config).await?;
    let accounts = devnet.dev_addresses().iter().zip(devnet.dev_keys());
    let account = |(address, key): (&alloy::primitives::Address, &alloy::primitives::B256)| {
        Account { address: address.to_string(), key: key.to_string() }
    };
    let ready = Ready { url: devnet.url(), chain_id, accounts: accounts.map(account).collect() };
    if json {
        println!("{}", serde_json::to_string(&ready)?);
    } else {
        let rows: Vec<_> =
            ready.accounts.iter().map(|a| vec![a.address.clone(), a.key.clone()]).collect();
        println!(
            "{}",
            ui::table(&["account", "private key (public knowledge: tests only)"], &rows)
        );
        println!("chain {chain_id} at {}", ui::paint(Style::Green, &ready.url));
    }
    std::io::stdout().flush()?;
    refute_engine::ui::stopped().await?;
    devnet.shutdown().await;
    Ok(())
}
