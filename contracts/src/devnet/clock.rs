//! When blocks are: the wall clock plus an offset that tests move, always after the block before.

use std::time::{SystemTime, UNIX_EPOCH};

use super::error::RpcError;

/// The year 36,812: far beyond any test, and far from overflow.
const TIMESTAMP_S_MAX: u64 = 1 << 40;

/// Gives every block its timestamp.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    /// Seconds that the chain is ahead of the wall clock.
    offset_s: i64,
    /// Timestamp that the next block has been promised.
    next: Option<u64>,
}

/// Seconds since 1970.
pub(crate) fn wall_clock_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

impl Clock {
    /// Timestamp that a block on top of `parent_s` would have now.
    pub(crate) fn peek(&self, parent_s: u64) -> u64 {
        let now_s = wall_clock_s().saturating_add_signed(self.offset_s).min(TIMESTAMP_S_MAX);
        self.next.unwrap_or(now_s).max(parent_s.saturating_add(1))
    }

    /// Takes the timestamp of the next block: time goes on from it.
    pub(crate) fn take(&mut self, parent_s: u64) -> u64 {
        let timestamp = self.peek(parent_s);
        if self.next.take().is_some() {
            self.continue_from(timestamp);
        }
        timestamp
    }

    /// Makes `timestamp` the present.
    pub(crate) fn continue_from(&mut self, timestamp: u64) {
        self.offset_s = (timestamp as i64).saturating_sub(wall_clock_s() as i64);
        self.next = None;
    }

    /// Moves time on and returns the whole offset.
    pub(crate) fn increase(&mut self, by_s: u64) -> Result<i64, RpcError> {
        let offset_s = i64::try_from(by_s).ok().and_then(|s| self.offset_s.checked_add(s));
        let in_range =
            |s: &i64| wall_clock_s().checked_add_signed(*s).is_some_and(|t| t <= TIMESTAMP_S_MAX);
        self.offset_s = offset_s
            .filter(in_range)
            .ok_or_else(|| RpcError::params("the time would be after the year 36,812"))?;
        Ok(self.offset_s)
    }

    /// Promises the next block its timestamp.
    pub(crate) fn set_next(&mut self, parent_s: u64, timestamp: u64) -> Result<(), RpcError> {
        if timestamp <= parent_s {
            return Err(RpcError::params(format!(
                "timestamp {timestamp} is not after the latest block's, {parent_s}"
            )));
        }
        if timestamp > TIMESTAMP_S_MAX {
            return Err(RpcError::params("the time would be after the year 36,812"));
        }
        self.next = Some(timestamp);
        Ok(())
    }
}
