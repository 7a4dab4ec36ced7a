//! Methods for tests, under the names that anvil and hardhat gave them: time, mining, snapshots,
//! balances, code.

use alloy::primitives::{Address, Bytes, U256};
use serde::Deserialize;

use super::chain::{Chain, Mining};
use super::error::RpcError;
use super::methods::{Answer, Method, json};
use super::params::{Number, Params};

/// Most blocks that one request makes.
const MINE_BLOCKS_MAX: u64 = 10_000;

/// A method by its name.
pub(crate) fn method(name: &str) -> Option<Method> {
    use Method::{Read, Write};
    Some(match name {
        "evm_increaseTime" | "anvil_increaseTime" => Write(increase_time),
        "evm_setNextBlockTimestamp" | "anvil_setNextBlockTimestamp" => Write(set_next_timestamp),
        "evm_mine" => Write(mine_one),
        "anvil_mine" | "hardhat_mine" => Write(mine_many),
        "anvil_setBalance" | "hardhat_setBalance" => Write(set_balance),
        "anvil_setCode" | "hardhat_setCode" => Write(set_code),
        "evm_snapshot" | "anvil_snapshot" => Write(|chain, _| json(U256::from(chain.snapshot()))),
        "evm_revert" | "anvil_revert" => Write(revert),
        "evm_setAutomine" | "anvil_setAutomine" => Write(set_automine),
        "anvil_getAutomine" => Read(|chain, _| json(*chain.mining.borrow() == Mining::Auto)),
        "evm_setIntervalMining" | "anvil_setIntervalMining" => Write(set_interval_mining),
        _ => return None,
    })
}

fn increase_time(chain: &mut Chain, mut params: Params<'_>) -> Answer {
    let Number(seconds) = params.next()?;
    json(chain.clock.increase(seconds)?)
}

fn set_next_timestamp(chain: &mut Chain, mut params: Params<'_>) -> Answer {
    let Number(timestamp) = params.next()?;
    let parent = chain.head().header.timestamp;
    chain.clock.set_next(parent, timestamp)?;
    json(())
}

/// The parameter of `evm_mine`: a timestamp, alone or in an object.
#[derive(Deserialize)]
#[serde(untagged)]
enum MineOptions {
    Object { timestamp: Option<Number> },
    Timestamp(Number),
}

fn mine_one(chain: &mut Chain, mut params: Params<'_>) -> Answer {
    let timestamp = match params.optional()? {
        Some(MineOptions::Object { timestamp }) => timestamp,
        Some(MineOptions::Timestamp(timestamp)) => Some(timestamp),
        None => None,
    };
    if let Some(Number(timestamp)) = timestamp {
        let parent = chain.head().header.timestamp;
        chain.clock.set_next(parent, timestamp)?;
    }
    chain.mine();
    json("0x0")
}

fn mine_many(chain: &mut Chain, mut params: Params<'_>) -> Answer {
    let Number(blocks) = params.optional()?.unwrap_or(Number(1));
    let interval: Option<Number> = params.optional()?;
    if blocks > MINE_BLOCKS_MAX {
        return Err(RpcError::params(format!("at most {MINE_BLOCKS_MAX} blocks at a time")));
    }
    for made in 0..blocks {
        if let Some(Number(seconds)) = interval.filter(|_| made > 0) {
            let parent = chain.head().header.timestamp;
            chain.clock.set_next(parent, parent.saturating_add(seconds))?;
        }
        chain.mine();
    }
    json(())
}

fn set_balance(chain: &mut Chain, mut params: Params<'_>) -> Answer {
    let account: Address = params.next()?;
    let wei: U256 = params.next()?;
    chain.set_balance(account, wei);
    json(())
}

fn set_code(chain: &mut Chain, mut params: Params<'_>) -> Answer {
    let account: Address = params.next()?;
    let code: Bytes = params.next()?;
    chain.set_code(account, code);
    json(())
}

fn revert(chain: &mut Chain, mut params: Params<'_>) -> Answer {
    let Number(id) = params.next()?;
    json(chain.revert(id))
}

fn set_automine(chain: &mut Chain, mut params: Params<'_>) -> Answer {
    match params.next()? {
        true => {
            chain.mining.send_replace(Mining::Auto);
            chain.mine_ready();
        }
        false if *chain.mining.borrow() == Mining::Auto => {
            chain.mining.send_replace(Mining::Manual);
        }
        false => {}
    }
    json(())
}

fn set_interval_mining(chain: &mut Chain, mut params: Params<'_>) -> Answer {
    let Number(seconds) = params.next()?;
    chain.mining.send_replace(if seconds == 0 {
        Mining::Manual
    } else {
        Mining::Interval(seconds)
    });
    json(())
}
