//! A chain inside this process, behind Ethereum JSON-RPC over HTTP: enough for alloy's provider, for
//! `cast`, and for tests that travel in time.
//!
//! It speaks the `eth_` methods of a node without peers, and anvil's and hardhat's names for what only
//! a test chain can do. Gas, receipts, logs, revert data and error codes are anvil's; where the two
//! differ, this one is stricter or says more:
//!
//! - `eth_estimateGas` without a block means the pending one, and returns the smallest limit that works;
//! - logs are limited to 10,000 blocks and 10,000 results a query, as on public nodes;
//! - a replacement pays 10 % more, as geth asks;
//! - transactions are at most 128 KiB, and of type 0, 1 or 2;
//! - `eth_call` reads the last 4,096 blocks, and older ones are refused by name.
//!
//! Blocks and receipts stay in memory as long as it runs, and are gone with it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use refute_contracts::devnet::{Devnet, DevnetConfig};
//! let devnet = Devnet::start(DevnetConfig::default()).await?;
//! println!("{} with {} funded accounts", devnet.url(), devnet.dev_keys().len());
//! devnet.shutdown().await;
//! # Ok(()) }
//! ```

mod accounts;
mod block;
mod build;
mod chain;
#[cfg(test)]
mod chain_tests;
mod clock;
mod control;
mod error;
mod fees;
mod filters;
mod logs;
mod methods;
mod params;
mod pool;
mod server;
mod simulate;
mod tx;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use alloy::primitives::{Address, B256};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::chain::{Chain, Mining};
use self::server::SharedChain;
use crate::evm::{DEFAULT_CHAIN_ID, DEFAULT_GAS_LIMIT};

pub use self::accounts::{DEV_ADDRESSES, DEV_KEYS};

/// Time that connections get to finish when the devnet shuts down.
const SHUTDOWN_S: u64 = 5;

/// How a devnet runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevnetConfig {
    /// Port on 127.0.0.1; 0 takes any that is free.
    pub port: u16,
    /// A block every so many seconds, at least 1; none makes a block for each transaction at once.
    pub block_time_s: Option<u64>,
    /// Chain id; 31337 unless told otherwise.
    pub chain_id: u64,
    /// Gas of a block; 30 million unless told otherwise.
    pub gas_limit: u64,
}

impl Default for DevnetConfig {
    fn default() -> Self {
        Self {
            port: 0,
            block_time_s: None,
            chain_id: DEFAULT_CHAIN_ID,
            gas_limit: DEFAULT_GAS_LIMIT,
        }
    }
}

/// Why a devnet did not start.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// The port is taken, or may not be used.
    #[error("can't listen on 127.0.0.1:{port}: {source}; choose another port, or 0 for any")]
    Listen {
        /// The port asked for.
        port: u16,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A block time of zero.
    #[error("a block time of 0 seconds makes no blocks; leave it out for a block per transaction")]
    BlockTime,
}

/// A running devnet. Dropping it stops it at once; [`Devnet::shutdown`] lets requests finish.
#[derive(Debug)]
pub struct Devnet {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    miner: JoinHandle<()>,
}

impl Devnet {
    /// Starts one on 127.0.0.1. Needs a tokio runtime.
    pub async fn start(config: DevnetConfig) -> Result<Self, DevnetError> {
        let mining = match config.block_time_s {
            Some(0) => return Err(DevnetError::BlockTime),
            Some(seconds) => Mining::Interval(seconds),
            None => Mining::Auto,
        };
        let failed = |source| DevnetError::Listen { port: config.port, source };
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;

        let chain = Chain::new(config.chain_id, config.gas_limit, mining);
        let changes = chain.mining.subscribe();
        let chain: SharedChain = Arc::new(RwLock::new(chain));
        let (stop, mut stopped) = watch::channel(false);
        let app = server::router(Arc::clone(&chain));
        let server = tokio::spawn(async move {
            let until = async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            // An answer goes out at once, rather than when the client has acknowledged the last one.
            let listener = listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            });
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(until).await {
                tracing::error!(%error, "the devnet's server ended");
            }
        });
        let miner = tokio::spawn(mine_in_intervals(chain, changes));
        tracing::info!(%address, chain_id = config.chain_id, "devnet is up");
        Ok(Self { address, stop, server, miner })
    }

    /// Where it listens, e.g. `http://127.0.0.1:8545`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Secret keys of the funded accounts, in the order of [`Devnet::dev_addresses`].
    pub fn dev_keys(&self) -> &'static [B256] {
        &DEV_KEYS
    }

    /// The funded accounts.
    pub fn dev_addresses(&self) -> &'static [Address] {
        &DEV_ADDRESSES
    }

    /// Stops taking connections, and waits until the open ones are done, at most a few seconds.
    pub async fn shutdown(mut self) {
        self.miner.abort();
        self.stop.send_replace(true);
        let limit = Duration::from_secs(SHUTDOWN_S);
        if tokio::time::timeout(limit, &mut self.server).await.is_err() {
            tracing::warn!("a connection was still busy when the devnet stopped");
        }
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        self.miner.abort();
        self.server.abort();
    }
}

/// Makes a block every interval, as long as the chain is in that mode.
async fn mine_in_intervals(chain: SharedChain, mut changes: watch::Receiver<Mining>) {
    loop {
        let mining = *changes.borrow_and_update();
        let Mining::Interval(seconds) = mining else {
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {
                let chain = Arc::clone(&chain);
                let mined = tokio::task::spawn_blocking(move || {
                    chain.write().unwrap_or_else(PoisonError::into_inner).mine();
                });
                if let Err(error) = mined.await {
                    tracing::error!(%error, "a block could not be made");
                }
            }
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
