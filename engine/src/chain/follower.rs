//! Copies what the contracts say into the store, block by block, and undoes it where the chain does.

use super::{Chain, ChainError, ChainReset, Head, Logged};
use crate::store::{Checkpoint, Store};

/// Blocks per step: one SQL transaction each.
const STEP_BLOCKS: u64 = 2048;
/// Steps per call, so that a caller hears of a long catching-up.
const STEPS_MAX: usize = 64;
/// Events per call that are kept in memory.
const EVENTS_MAX: usize = 10_000;
/// Newest blocks whose events are held against the block itself: nodes behind one address may differ.
const YOUNG_BLOCKS: u64 = 64;
/// Tries when blocks change while they are read.
const TRIES_MAX: usize = 4;

/// What one call of [`Follower::sync`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// The newest block of the chain.
    pub head: Head,
    /// The newest block whose events are in the store.
    pub synced_to: Option<u64>,
    /// Where the store went back to because the chain reorganized.
    pub rolled_back_to: Option<u64>,
    /// New events, in order.
    pub events: Vec<Logged>,
    /// False if there is more to read at once: call again.
    pub caught_up: bool,
}

/// Follows the chain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Follower {
    /// Newest blocks that are left alone because they may still change. With 0 the store is as young
    /// as the chain, and reorganizations are undone.
    pub confirmations: u64,
}

impl Follower {
    /// Brings the store up to the chain. Every step is one SQL transaction, so that a crash at any
    /// moment loses nothing and repeats nothing.
    ///
    /// # Errors
    /// No answer; a chain that isn't the one that was followed before ([`ChainError::Reset`]).
    pub async fn sync(&self, chain: &Chain, store: &Store) -> Result<SyncReport, ChainError> {
        let mut rolled_back_to: Option<u64> = None;
        for _ in 1..TRIES_MAX {
            match self.sync_once(chain, store, &mut rolled_back_to).await {
                Err(error @ (ChainError::Moved { .. } | ChainError::NoBlock { .. })) => {
                    tracing::debug!(%error, "reading again");
                }
                done => return done,
            }
        }
        self.sync_once(chain, store, &mut rolled_back_to).await
    }

    async fn sync_once(
        &self,
        chain: &Chain,
        store: &Store,
        rolled_back_to: &mut Option<u64>,
    ) -> Result<SyncReport, ChainError> {
        let head = chain.head().await?;
        if let Some(ancestor) = reorganized(chain, store, &head).await? {
            tracing::warn!(block = ancestor, "the chain reorganized: the store goes back");
            store.rollback(ancestor)?;
            *rolled_back_to = Some(rolled_back_to.map_or(ancestor, |lower| lower.min(ancestor)));
        }
        let target = head.number.saturating_sub(self.confirmations);
        let mut events = Vec::new();
        let mut caught_up = false;
        for _ in 0..STEPS_MAX {
            let cursor = store.cursor()?;
            let next = cursor.map_or(chain.deployment()?.block, |c| c.number.saturating_add(1));
            caught_up = next > target;
            if caught_up || events.len() >= EVENTS_MAX {
                break;
            }
            let to = next.saturating_add(STEP_BLOCKS - 1).min(target);
            events.extend(step(chain, store, cursor, next, to).await?);
        }
        let synced_to = store.cursor()?.map(|cursor| cursor.number);
        let rolled_back_to = *rolled_back_to;
        Ok(SyncReport { head, synced_to, rolled_back_to, events, caught_up })
    }
}

/// Reads and stores the events of blocks `from ..= to`. Blocks are looked at before and after: what
/// lies between the same two hashes is one chain.
async fn step(
    chain: &Chain,
    store: &Store,
    cursor: Option<Checkpoint>,
    from: u64,
    to: u64,
) -> Result<Vec<Logged>, ChainError> {
    let first = block(chain, from).await?;
    let last = block(chain, to).await?;
    let events = chain.events(from, to).await?;
    let mut blocks: Vec<Checkpoint> = events
        .iter()
        .map(|logged| Checkpoint { number: logged.block, hash: logged.block_hash })
        .collect();
    blocks.dedup();
    let young = to.saturating_sub(YOUNG_BLOCKS);
    let with_events = blocks.iter().copied().filter(|block| block.number > young);
    let known: Vec<Checkpoint> = with_events.chain([first, last]).chain(cursor).collect();
    for known in known {
        if block(chain, known.number).await? != known {
            return Err(ChainError::Moved { number: to });
        }
    }
    // The very first block is kept for ever: it tells a chain that was started anew.
    blocks.extend(cursor.is_none().then_some(first));
    blocks.push(last);
    store.extend(&events, &blocks)?;
    Ok(events)
}

async fn block(chain: &Chain, number: u64) -> Result<Checkpoint, ChainError> {
    let head = chain.header(number).await?.ok_or(ChainError::NoBlock { number })?;
    Ok(Checkpoint { number, hash: head.hash })
}

/// `None` if the cursor is still on the chain; else the newest block that is, of those that the store
/// remembers. What is older than a block on the chain is on it too, so halving finds it.
async fn reorganized(chain: &Chain, store: &Store, head: &Head) -> Result<Option<u64>, ChainError> {
    let Some(cursor) = store.cursor()? else { return Ok(None) };
    if is_on(chain, &cursor, head).await? {
        return Ok(None);
    }
    let checkpoints = store.checkpoints()?;
    let (mut low, mut high) = (0, checkpoints.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if is_on(chain, &checkpoints[middle], head).await? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    match (checkpoints.get(low), checkpoints.last()) {
        (Some(ancestor), _) => Ok(Some(ancestor.number)),
        (None, oldest) => {
            let oldest = oldest.unwrap_or(&cursor);
            Err(ChainError::from(Box::new(ChainReset {
                database: store.path().display().to_string(),
                number: oldest.number,
                expected: oldest.hash,
                found: chain.header(oldest.number).await?.map(|head| head.hash),
            })))
        }
    }
}

async fn is_on(chain: &Chain, known: &Checkpoint, head: &Head) -> Result<bool, ChainError> {
    if known.number > head.number {
        return Ok(false);
    }
    let found = chain.header(known.number).await?;
    Ok(found.is_some_and(|found| found.hash == known.hash))
}
