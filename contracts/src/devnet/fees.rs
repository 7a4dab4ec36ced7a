//! What gas costs, and did cost.

use alloy::consensus::Transaction as _;
use alloy::eips::BlockNumberOrTag;
use alloy::rpc::types::FeeHistory;

use super::block::Mined;
use super::chain::{At, Chain};
use super::error::RpcError;

/// Tip that is suggested to everyone, in wei per gas.
pub(crate) const SUGGESTED_TIP: u128 = 1_000_000_000;

/// Blocks that one fee history spans.
const FEE_BLOCKS_MAX: u64 = 1024;

/// Percentiles that one fee history may ask for.
const PERCENTILES_MAX: usize = 100;

/// `eth_gasPrice`.
pub(crate) fn gas_price(chain: &Chain) -> u128 {
    u128::from(chain.next_base_fee()) + SUGGESTED_TIP
}

/// `eth_feeHistory`.
pub(crate) fn history(
    chain: &Chain,
    count: u64,
    newest: BlockNumberOrTag,
    percentiles: Option<&[f64]>,
) -> Result<FeeHistory, RpcError> {
    let percentiles = percentiles.unwrap_or_default();
    check_percentiles(percentiles)?;
    let newest = match chain.number_of(newest) {
        At::Pending => chain.height(),
        At::Number(number) if number > chain.height() => return Err(chain.out_of_range(number)),
        At::Number(number) => number,
    };
    let count = count.clamp(1, FEE_BLOCKS_MAX).min(newest + 1);
    let oldest = newest + 1 - count;
    let mut history = FeeHistory { oldest_block: oldest, ..FeeHistory::default() };
    let mut rewards = Vec::new();
    for block in (oldest..=newest).filter_map(|number| chain.block(number)) {
        history.base_fee_per_gas.push(block.header.base_fee_per_gas.unwrap_or_default().into());
        history.gas_used_ratio.push(block.header.gas_used as f64 / block.header.gas_limit as f64);
        history.base_fee_per_blob_gas.push(1);
        history.blob_gas_used_ratio.push(0.0);
        rewards.push(tips(block, percentiles));
        if block.header.number == newest {
            history.base_fee_per_gas.push(Chain::base_fee_after(block).into());
            history.base_fee_per_blob_gas.push(1);
        }
    }
    history.reward = (!percentiles.is_empty()).then_some(rewards);
    Ok(history)
}

fn check_percentiles(percentiles: &[f64]) -> Result<(), RpcError> {
    if percentiles.len() > PERCENTILES_MAX {
        return Err(RpcError::params(format!("more than {PERCENTILES_MAX} percentiles")));
    }
    let outside = percentiles.iter().any(|p| !(0.0..=100.0).contains(p));
    if outside {
        return Err(RpcError::params("a percentile is not between 0 and 100"));
    }
    Ok(())
}

/// For each percentile of the block's gas, in order of tips, the tip that was paid there.
fn tips(block: &Mined, percentiles: &[f64]) -> Vec<u128> {
    let base_fee = block.header.base_fee_per_gas.unwrap_or_default();
    let mut paid: Vec<(u128, u64)> = block
        .txs
        .iter()
        .map(|mined| (mined.tx.effective_tip_per_gas(base_fee).unwrap_or_default(), mined.gas_used))
        .collect();
    paid.sort_unstable();
    let tip_at = |percentile: &f64| {
        let threshold = block.header.gas_used as f64 * percentile / 100.0;
        let mut gas = 0_u64;
        let reached = paid.iter().find(|(_, used)| {
            gas += used;
            gas as f64 >= threshold
        });
        reached.or(paid.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(tip_at).collect()
}
