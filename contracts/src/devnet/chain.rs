//! The chain: blocks, the state after the last one, recent history, and snapshots.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use alloy::eips::eip1559::{BaseFeeParams, INITIAL_BASE_FEE, calc_next_block_base_fee};
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bytes, TxHash, U256};
use tokio::sync::watch;

use super::accounts::{BALANCE_ETHER, DEV_ADDRESSES};
use super::block::{Mined, empty_header};
use super::build::{Builder, Built};
use super::clock::{Clock, wall_clock_s};
use super::error::RpcError;
use super::filters::Filters;
use super::pool::Pool;
use super::tx::{Admission, decode};
use crate::create2;
use crate::state::{State, Undo};

/// Blocks whose state can still be read.
pub(crate) const HISTORY_BLOCKS: usize = 4096;

/// Most snapshots kept at a time; the oldest makes room.
const SNAPSHOTS_MAX: usize = 256;

/// Blocks behind the head that `safe` and `finalized` are, as on Ethereum when all goes well.
const SAFE_BLOCKS: u64 = 32;
const FINALIZED_BLOCKS: u64 = 64;

/// When blocks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mining {
    /// As soon as there is a transaction.
    Auto,
    /// Every so many seconds.
    Interval(u64),
    /// When asked to.
    Manual,
}

/// What a snapshot brings back.
#[derive(Debug)]
struct Snapshot {
    state: State,
    loose: Undo,
    /// Number of blocks.
    height: usize,
    pool: Pool,
}

/// A block that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Number(u64),
    Pending,
}

/// The devnet's chain.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) chain_id: u64,
    pub(crate) gas_limit: u64,
    pub(crate) state: State,
    /// By number, from the genesis block on: never empty.
    pub(crate) blocks: Vec<Arc<Mined>>,
    pub(crate) pool: Pool,
    pub(crate) clock: Clock,
    pub(crate) filters: Filters,
    /// Tells the miner's task; its value is how blocks are made now.
    pub(crate) mining: watch::Sender<Mining>,
    numbers: HashMap<B256, u64>,
    txs: HashMap<TxHash, (u64, usize)>,
    /// How to take each of the last blocks back, latest last.
    undos: VecDeque<Undo>,
    /// How to take back what changed since the last block without a transaction.
    loose: Undo,
    snapshots: BTreeMap<u64, Snapshot>,
    next_snapshot: u64,
}

impl Chain {
    /// A chain of one block in which the ten accounts have their ether, and the proxy of
    /// [`crate::create2`] is where it is on other chains.
    pub(crate) fn new(chain_id: u64, gas_limit: u64, mining: Mining) -> Self {
        let mut state = State::default();
        let balance = U256::from(BALANCE_ETHER) * U256::from(10).pow(U256::from(18));
        for address in DEV_ADDRESSES {
            let _ = state.set_balance(address, balance);
        }
        let _ = state.set_code(create2::PROXY, create2::PROXY_CODE.clone());
        let mut header = empty_header(0, B256::ZERO, wall_clock_s(), gas_limit, INITIAL_BASE_FEE);
        header.state_root = state.root();
        let genesis = Arc::new(Mined::new(header, Vec::new()));
        Self {
            chain_id,
            gas_limit,
            state,
            numbers: HashMap::from([(genesis.hash, 0)]),
            blocks: vec![genesis],
            pool: Pool::default(),
            clock: Clock::default(),
            filters: Filters::default(),
            mining: watch::Sender::new(mining),
            txs: HashMap::new(),
            undos: VecDeque::new(),
            loose: Undo::default(),
            snapshots: BTreeMap::new(),
            next_snapshot: 0,
        }
    }

    pub(crate) fn head(&self) -> &Arc<Mined> {
        // There is always a genesis block: snapshots are at least one block high.
        &self.blocks[self.blocks.len() - 1]
    }

    /// Number of the latest block.
    pub(crate) fn height(&self) -> u64 {
        self.head().header.number
    }

    pub(crate) fn block(&self, number: u64) -> Option<&Arc<Mined>> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    pub(crate) fn block_by_hash(&self, hash: &B256) -> Option<&Arc<Mined>> {
        self.block(*self.numbers.get(hash)?)
    }

    /// The block of a mined transaction, and its index there.
    pub(crate) fn mined_tx(&self, hash: &TxHash) -> Option<(&Arc<Mined>, usize)> {
        let (number, index) = self.txs.get(hash)?;
        Some((self.block(*number)?, *index))
    }

    /// The number that a tag means now; it may be above the head if it was given as a number.
    pub(crate) fn number_of(&self, tag: BlockNumberOrTag) -> At {
        let height = self.height();
        At::Number(match tag {
            BlockNumberOrTag::Pending => return At::Pending,
            BlockNumberOrTag::Latest => height,
            BlockNumberOrTag::Earliest => 0,
            BlockNumberOrTag::Safe => height.saturating_sub(SAFE_BLOCKS),
            BlockNumberOrTag::Finalized => height.saturating_sub(FINALIZED_BLOCKS),
            BlockNumberOrTag::Number(number) => number,
        })
    }

    /// The block that a request names, which must exist.
    pub(crate) fn resolve(&self, id: BlockId) -> Result<At, RpcError> {
        let at = match id {
            BlockId::Hash(hash) => {
                let block = self.block_by_hash(&hash.block_hash);
                let block = block.ok_or_else(|| RpcError::server("header not found"))?;
                At::Number(block.header.number)
            }
            BlockId::Number(tag) => self.number_of(tag),
        };
        match at {
            At::Number(number) if number > self.height() => Err(self.out_of_range(number)),
            at => Ok(at),
        }
    }

    pub(crate) fn out_of_range(&self, number: u64) -> RpcError {
        let height = self.height();
        RpcError::params(format!("block {number} is not known: the latest is {height}"))
    }

    /// The header that execution sees at a block, and the state after it.
    pub(crate) fn at(&self, at: At) -> Result<(alloy::consensus::Header, State), RpcError> {
        match at {
            At::Pending => {
                let built = self.pending();
                Ok((built.block.header, built.state))
            }
            At::Number(number) => {
                let block = self.block(number).ok_or_else(|| self.out_of_range(number))?;
                Ok((block.header.clone(), self.state_at(number)?))
            }
        }
    }

    /// The state after a block.
    fn state_at(&self, number: u64) -> Result<State, RpcError> {
        let mut state = self.state.clone();
        let back = usize::try_from(self.height() - number).unwrap_or(usize::MAX);
        if back > self.undos.len() {
            return Err(RpcError::server(format!(
                "the state of block {number} is gone: this node keeps the last {HISTORY_BLOCKS}"
            )));
        }
        if back > 0 {
            state.undo(&self.loose);
            self.undos.iter().rev().take(back).for_each(|undo| state.undo(undo));
        }
        Ok(state)
    }

    /// Base fee of the block after `parent`. The genesis block is not counted as an empty one.
    pub(crate) fn base_fee_after(parent: &Mined) -> u64 {
        if parent.header.number == 0 {
            return INITIAL_BASE_FEE;
        }
        calc_next_block_base_fee(
            parent.header.gas_used,
            parent.header.gas_limit,
            parent.header.base_fee_per_gas.unwrap_or_default(),
            BaseFeeParams::ethereum(),
        )
    }

    /// Base fee of the next block.
    pub(crate) fn next_base_fee(&self) -> u64 {
        Self::base_fee_after(self.head())
    }

    fn builder(&self, timestamp: u64) -> Builder<'_> {
        Builder {
            chain_id: self.chain_id,
            gas_limit: self.gas_limit,
            base_fee: self.next_base_fee(),
            timestamp,
            blocks: &self.blocks,
            pool: &self.pool,
        }
    }

    /// The block that would be made now.
    pub(crate) fn pending(&self) -> Built {
        self.builder(self.clock.peek(self.head().header.timestamp))
            .build_pending(self.state.clone())
    }

    /// Makes a block of what waits.
    pub(crate) fn mine(&mut self) {
        let timestamp = self.clock.take(self.head().header.timestamp);
        let built = self.builder(timestamp).build(self.state.clone());
        for (hash, reason) in &built.dropped {
            tracing::warn!(%hash, %reason, "a waiting transaction became invalid");
            self.pool.remove(hash);
        }
        let block = Arc::new(built.block);
        let number = block.header.number;
        self.state = built.state;
        self.numbers.insert(block.hash, number);
        for (index, mined) in block.txs.iter().enumerate() {
            self.pool.remove(mined.tx.tx_hash());
            self.txs.insert(*mined.tx.tx_hash(), (number, index));
        }
        let mut undo = std::mem::take(&mut self.loose);
        undo.append(built.undo);
        self.undos.push_back(undo);
        if self.undos.len() > HISTORY_BLOCKS {
            self.undos.pop_front();
        }
        tracing::debug!(number, txs = block.txs.len(), gas = block.header.gas_used, "mined");
        self.blocks.push(block);
        self.pool.drop_used(&self.state);
    }

    /// Makes blocks until no waiting transaction can be mined any more.
    pub(crate) fn mine_ready(&mut self) {
        while self.pool.best(&self.state, self.next_base_fee(), &HashSet::new()).is_some() {
            self.mine();
            if self.head().txs.is_empty() {
                break;
            }
        }
    }

    /// Takes a signed transaction, and mines it where blocks are made at once.
    pub(crate) fn submit(&mut self, raw: &[u8]) -> Result<TxHash, RpcError> {
        let tx = decode(raw)?;
        let hash = *tx.tx_hash();
        if self.pool.get(&hash).is_some() {
            return Err(RpcError::rejected("already known"));
        }
        let admission = Admission {
            chain_id: self.chain_id,
            block_gas_limit: self.gas_limit,
            base_fee: self.next_base_fee(),
        };
        admission.check(&tx, &self.state)?;
        self.pool.insert(tx)?;
        if *self.mining.borrow() == Mining::Auto {
            self.mine_ready();
        }
        Ok(hash)
    }

    /// Gives an account exactly `wei`, outside of any transaction.
    pub(crate) fn set_balance(&mut self, account: Address, wei: U256) {
        let undo = self.state.set_balance(account, wei);
        self.loose.append(undo);
    }

    /// Puts code at an address, outside of any transaction.
    pub(crate) fn set_code(&mut self, address: Address, code: Bytes) {
        let undo = self.state.set_code(address, code);
        self.loose.append(undo);
    }

    /// Remembers everything, and returns the id that [`Chain::revert`] takes.
    pub(crate) fn snapshot(&mut self) -> u64 {
        let id = self.next_snapshot;
        self.next_snapshot += 1;
        let snapshot = Snapshot {
            state: self.state.clone(),
            loose: self.loose.clone(),
            height: self.blocks.len(),
            pool: self.pool.clone(),
        };
        self.snapshots.insert(id, snapshot);
        if self.snapshots.len() > SNAPSHOTS_MAX {
            self.snapshots.pop_first();
        }
        id
    }

    /// Goes back to a snapshot, which is used up with all later ones. False if there is none.
    pub(crate) fn revert(&mut self, id: u64) -> bool {
        let Some(snapshot) = self.snapshots.remove(&id) else { return false };
        let _later = self.snapshots.split_off(&id);
        for block in self.blocks.drain(snapshot.height..) {
            self.numbers.remove(&block.hash);
            for mined in &block.txs {
                self.txs.remove(mined.tx.tx_hash());
            }
            self.undos.pop_back();
        }
        self.state = snapshot.state;
        self.loose = snapshot.loose;
        self.pool = snapshot.pool;
        self.clock.continue_from(self.head().header.timestamp);
        self.filters.rewind(self.height());
        true
    }
}
