//! Logs of a range of blocks.

use alloy::rpc::types::{Filter, FilterBlockOption, Log};

use super::block::Mined;
use super::chain::{At, Chain};
use super::error::RpcError;

/// Most blocks that one query spans, as public nodes have it.
pub(crate) const LOG_BLOCKS_MAX: u64 = 10_000;

/// Most logs that one query returns.
pub(crate) const LOGS_MAX: usize = 10_000;

/// Appends the block's logs that match; the filter's own range is not looked at.
pub(crate) fn append_matching(filter: &Filter, block: &Mined, logs: &mut Vec<Log>) {
    if filter.matches_bloom(block.header.logs_bloom) {
        logs.extend(block.logs().filter(|log| filter.matches(&log.inner)));
    }
}

/// `eth_getLogs`.
pub(crate) fn query(chain: &Chain, filter: &Filter) -> Result<Vec<Log>, RpcError> {
    let (from, to) = match range(chain, filter)? {
        Some(range) => range,
        None => return Ok(Vec::new()),
    };
    if to - from >= LOG_BLOCKS_MAX {
        return Err(RpcError::params(format!(
            "the range {from} to {to} is longer than {LOG_BLOCKS_MAX} blocks: ask in parts"
        )));
    }
    let mut logs = Vec::new();
    for block in (from..=to).filter_map(|number| chain.block(number)) {
        append_matching(filter, block, &mut logs);
        if logs.len() > LOGS_MAX {
            return Err(RpcError::Limit(
                format!("more than {LOGS_MAX} logs match: ask for fewer blocks").into(),
            ));
        }
    }
    Ok(logs)
}

/// First and last block of a filter; none if there is no block in it.
fn range(chain: &Chain, filter: &Filter) -> Result<Option<(u64, u64)>, RpcError> {
    let height = chain.height();
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let block = chain.block_by_hash(&hash);
            let number = block.ok_or_else(|| RpcError::server("unknown block"))?.header.number;
            (number, number)
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let number = |at| match at {
                At::Number(number) => number,
                At::Pending => height,
            };
            let from = number(chain.number_of(from_block.unwrap_or_default()));
            let to = number(chain.number_of(to_block.unwrap_or_default()));
            if from > height {
                return Err(chain.out_of_range(from));
            }
            (from, to.min(height))
        }
    };
    Ok((from <= to).then_some((from, to)))
}
