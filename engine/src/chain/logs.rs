//! The contracts' events of a range of blocks, from nodes that limit what they give at once.

use std::collections::HashMap;

use alloy::primitives::B256;
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, Log};

use super::event::{Event, Logged, Origin};
use super::{Chain, ChainError};

impl Chain {
    /// The events of the three contracts in these blocks, both included, in order. A range that the
    /// node refuses is halved until it gives it. A log that is no event is skipped with a warning: it
    /// must not stop anybody.
    ///
    /// # Errors
    /// No answer; blocks that changed meanwhile.
    pub async fn events(&self, from: u64, to: u64) -> Result<Vec<Logged>, ChainError> {
        let mut events = Vec::new();
        let mut times = Times::default();
        let mut next = from;
        // Every round gets at least one block, or fails.
        while next <= to {
            let (until, logs) = self.logs_up_to(next, to).await?;
            for log in logs {
                if let Some(logged) = self.read_log(log, next, until, &mut times).await? {
                    events.push(logged);
                }
            }
            let Some(after) = until.checked_add(1) else { break };
            next = after;
        }
        events.sort_by_key(|e| (e.block, e.log_index));
        events.dedup();
        one_branch(&events)?;
        Ok(events)
    }

    /// As many blocks from `from` on as the node gives at once; the last of them, and their logs.
    async fn logs_up_to(&self, from: u64, to: u64) -> Result<(u64, Vec<Log>), ChainError> {
        let deployment = self.deployment()?;
        let contracts = [deployment.registry, deployment.settlement, deployment.game];
        let mut span = self.log_span().min((to - from).saturating_add(1));
        loop {
            let until = from.saturating_add(span - 1).min(to);
            let filter = Filter::new().address(contracts.to_vec()).from_block(from).to_block(until);
            match self.provider().get_logs(&filter).await {
                Ok(logs) => {
                    self.set_log_span(span.max(self.log_span()).saturating_mul(2));
                    return Ok((until, logs));
                }
                Err(error) => {
                    let was = span;
                    span = (span / 2).max(1);
                    self.set_log_span(span);
                    tracing::debug!(%error, blocks = span, "fewer blocks per request for logs");
                    // A node that didn't answer has been asked several times already.
                    let unreachable =
                        error.as_transport_err().is_some_and(|kind| kind.as_http_error().is_none());
                    if was == 1 || unreachable {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    /// `None` for what isn't an event of our contracts.
    async fn read_log(
        &self,
        log: Log,
        from: u64,
        to: u64,
        times: &mut Times,
    ) -> Result<Option<Logged>, ChainError> {
        let skip = |why: &str| {
            tracing::warn!(address = %log.address(), tx = ?log.transaction_hash, why, "log skipped");
            Ok(None)
        };
        let (Some(block), Some(block_hash), Some(tx_hash), Some(log_index)) =
            (log.block_number, log.block_hash, log.transaction_hash, log.log_index)
        else {
            return skip("it has no place on the chain");
        };
        if log.removed || !(from..=to).contains(&block) {
            return skip("it was not asked for");
        }
        let Some(origin) = self.origin(&log)? else { return skip("it is from another contract") };
        let event = match Event::decode(origin, log.topics(), &log.data().data) {
            Ok(event) => event,
            Err(error) => return skip(&error.to_string()),
        };
        let timestamp_s = match log.block_timestamp {
            Some(timestamp_s) => timestamp_s,
            None => times.of(self, block, block_hash).await?,
        };
        Ok(Some(Logged { block, block_hash, timestamp_s, tx_hash, log_index, event }))
    }

    fn origin(&self, log: &Log) -> Result<Option<Origin>, ChainError> {
        let deployment = self.deployment()?;
        let address = log.address();
        Ok(match address {
            _ if address == deployment.settlement => Some(Origin::Settlement),
            _ if address == deployment.game => Some(Origin::Game),
            _ if address == deployment.registry => Some(Origin::Registry),
            _ => None,
        })
    }
}

/// A node that changes its mind while it answers may give two branches at once.
fn one_branch(events: &[Logged]) -> Result<(), ChainError> {
    for (a, b) in events.iter().zip(events.iter().skip(1)) {
        if a.block == b.block && (a.block_hash != b.block_hash || a.log_index == b.log_index) {
            return Err(ChainError::Moved { number: b.block });
        }
    }
    Ok(())
}

/// Times of blocks, for nodes that don't put them into logs.
#[derive(Debug, Default)]
struct Times {
    known: HashMap<B256, u64>,
}

impl Times {
    async fn of(&mut self, chain: &Chain, block: u64, hash: B256) -> Result<u64, ChainError> {
        if let Some(&timestamp_s) = self.known.get(&hash) {
            return Ok(timestamp_s);
        }
        let head = chain.header(block).await?.ok_or(ChainError::NoBlock { number: block })?;
        if head.hash != hash {
            return Err(ChainError::Moved { number: block });
        }
        self.known.insert(hash, head.timestamp_s);
        Ok(head.timestamp_s)
    }
}
