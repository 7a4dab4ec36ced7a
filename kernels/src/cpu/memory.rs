//! Memory that is promised: a sequence is accepted only if all its positions will fit.
//!
//! The system gives memory when it is first written, so what is promised to sequences but not yet
//! written counts against what is available.

use crate::backend::BackendError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Promises of one backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget(Arc<AtomicU64>);

/// Bytes that will be written; given back when dropped.
#[derive(Debug)]
pub(super) struct Promise {
    budget: Budget,
    bytes: u64,
}

impl Budget {
    /// Whether `needed` more bytes can be written.
    pub(super) fn check(&self, what: &str, needed: u64) -> Result<(), BackendError> {
        self.check_against(what, needed, available())
    }

    fn check_against(
        &self,
        what: &str,
        needed: u64,
        available: Option<u64>,
    ) -> Result<(), BackendError> {
        let Some(available) = available else { return Ok(()) };
        let available = available.saturating_sub(self.0.load(Ordering::Relaxed));
        if needed <= available {
            return Ok(());
        }
        Err(BackendError::Memory { what: what.to_owned(), needed, available })
    }

    /// Promises `bytes`.
    pub(super) fn promise(&self, what: &str, bytes: u64) -> Result<Promise, BackendError> {
        self.check(what, bytes)?;
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Ok(Promise { budget: self.clone(), bytes })
    }
}

impl Promise {
    /// Bytes that are still to be written.
    pub(super) fn remaining(&mut self, bytes: u64) {
        if let Some(written) = self.bytes.checked_sub(bytes) {
            self.budget.0.fetch_sub(written, Ordering::Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.remaining(0);
    }
}

/// Bytes that the system can give: on Linux what it and the process's control group say, elsewhere
/// unknown.
fn available() -> Option<u64> {
    let group = || {
        let number = |file| read_number(&std::fs::read_to_string(file).ok()?);
        let max = number("/sys/fs/cgroup/memory.max")?;
        Some(max.saturating_sub(number("/sys/fs/cgroup/memory.current")?))
    };
    let system = mem_available(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    Some(group().map_or(system, |group| group.min(system)))
}

fn read_number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `MemAvailable` in bytes.
fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(read_number(line.trim().strip_suffix("kB")?)? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_available() {
        let meminfo = "MemTotal:  100 kB\nMemFree:  1 kB\nMemAvailable:   42 kB\n";
        assert_eq!(mem_available(meminfo), Some(42 * 1024));
        assert_eq!(mem_available("MemTotal: 100 kB\n"), None);
        assert_eq!(mem_available("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn promises_count_until_they_are_kept_or_dropped() {
        let budget = Budget::default();
        let fits = |needed| budget.check_against("", needed, Some(100)).is_ok();
        let mut promise = Promise { budget: budget.clone(), bytes: 60 };
        budget.0.store(60, Ordering::Relaxed);
        assert!(fits(40) && !fits(41));
        promise.remaining(20);
        assert!(fits(80) && !fits(81));
        promise.remaining(30);
        assert!(fits(80) && !fits(81), "what is written stays written");
        drop(promise);
        assert!(fits(100) && !fits(101));
    }
}
