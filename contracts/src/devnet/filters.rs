//! Filters that a client installs and polls.

use std::collections::BTreeMap;

use alloy::primitives::U256;
use alloy::rpc::types::{Filter, FilterBlockOption, FilterChanges};

use super::chain::Chain;
use super::error::RpcError;
use super::logs::{LOG_BLOCKS_MAX, LOGS_MAX, append_matching, query};

/// Most filters at a time; the one that was not polled for longest makes room.
const FILTERS_MAX: usize = 1024;

#[derive(Clone, Debug)]
enum Kind {
    Logs(Box<Filter>),
    Blocks,
}

#[derive(Clone, Debug)]
struct Installed {
    kind: Kind,
    /// First block that was not reported yet.
    next_block: u64,
    /// Counts uses of any filter.
    used: u64,
}

/// Every installed filter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    installed: BTreeMap<U256, Installed>,
    last_id: u64,
    uses: u64,
}

impl Filters {
    /// Makes no filter wait for a block that a revert took away.
    pub(crate) fn rewind(&mut self, height: u64) {
        for filter in self.installed.values_mut() {
            filter.next_block = filter.next_block.min(height + 1);
        }
    }

    pub(crate) fn uninstall(&mut self, id: &U256) -> bool {
        self.installed.remove(id).is_some()
    }

    fn install(&mut self, kind: Kind, height: u64) -> U256 {
        if self.installed.len() >= FILTERS_MAX {
            let oldest = self.installed.iter().min_by_key(|(_, filter)| filter.used);
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.installed.remove(&id);
            }
        }
        self.last_id += 1;
        self.uses += 1;
        let id = U256::from(self.last_id);
        let filter = Installed { kind, next_block: height + 1, used: self.uses };
        self.installed.insert(id, filter);
        id
    }

    fn get(&mut self, id: &U256) -> Result<&mut Installed, RpcError> {
        let filter = self.installed.get_mut(id);
        let filter = filter.ok_or_else(|| RpcError::server("filter not found"))?;
        self.uses += 1;
        filter.used = self.uses;
        Ok(filter)
    }
}

/// `eth_newFilter`.
pub(crate) fn new_log_filter(chain: &mut Chain, filter: Filter) -> U256 {
    let height = chain.height();
    chain.filters.install(Kind::Logs(Box::new(filter)), height)
}

/// `eth_newBlockFilter`.
pub(crate) fn new_block_filter(chain: &mut Chain) -> U256 {
    let height = chain.height();
    chain.filters.install(Kind::Blocks, height)
}

/// `eth_getFilterChanges`: what came since the last poll. One answer is bounded; what does not fit
/// comes with the next poll.
pub(crate) fn changes(chain: &mut Chain, id: &U256) -> Result<FilterChanges, RpcError> {
    let Installed { kind, next_block, .. } = chain.filters.get(id)?.clone();
    let end = (chain.height() + 1).min(next_block.saturating_add(LOG_BLOCKS_MAX));
    let (changes, next_block) = match kind {
        Kind::Blocks => {
            let blocks = (next_block..end).filter_map(|number| chain.block(number));
            (FilterChanges::Hashes(blocks.map(|block| block.hash).collect()), end)
        }
        Kind::Logs(filter) => {
            let mut logs = Vec::new();
            let mut next = next_block;
            while next < end && logs.len() < LOGS_MAX {
                if let Some(block) = chain.block(next).filter(|_| in_range(&filter, next)) {
                    append_matching(&filter, block, &mut logs);
                }
                next += 1;
            }
            (FilterChanges::Logs(logs), next)
        }
    };
    chain.filters.get(id)?.next_block = next_block;
    Ok(changes)
}

/// `eth_getFilterLogs`: everything that a log filter matches, old logs included.
pub(crate) fn all_logs(chain: &mut Chain, id: &U256) -> Result<FilterChanges, RpcError> {
    match chain.filters.get(id)?.kind.clone() {
        Kind::Logs(filter) => Ok(FilterChanges::Logs(query(chain, &filter)?)),
        Kind::Blocks => Err(RpcError::server("filter not found")),
    }
}

/// Whether a filter's numbers admit a block; tags admit every new one.
fn in_range(filter: &Filter, number: u64) -> bool {
    match &filter.block_option {
        FilterBlockOption::AtBlockHash(_) => false,
        FilterBlockOption::Range { from_block, to_block } => {
            let from = from_block.and_then(|block| block.as_number());
            let to = to_block.and_then(|block| block.as_number());
            from.is_none_or(|from| from <= number) && to.is_none_or(|to| number <= to)
        }
    }
}
