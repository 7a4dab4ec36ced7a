//! The loop of a process that acts on chain.

use crate::agent::Agent;
use std::time::Duration;

/// Whoever acts on chain, look after look.
pub trait Worker {
    /// Why a look failed.
    type Error: std::fmt::Display;

    /// What it works with.
    fn agent(&self) -> &Agent;

    /// One look at the chain, and everything that is to be done.
    fn tick(&mut self) -> impl Future<Output = Result<(), Self::Error>>;

    /// Whether another look may go better after this error.
    fn is_passing(error: &Self::Error) -> bool;
}

/// Lets a worker work until `stopped`, or until an error that doesn't pass; others are logged and tried again.
///
/// # Errors
/// The one that doesn't pass.
pub async fn work<W: Worker>(
    worker: &mut W,
    poll: Duration,
    stopped: impl Future<Output = ()>,
) -> Result<(), W::Error> {
    tokio::pin!(stopped);
    let ended = loop {
        match worker.tick().await {
            Ok(()) => {}
            Err(error) if W::is_passing(&error) => tracing::warn!(%error, "trying again"),
            Err(error) => break Err(error),
        }
        tokio::select! {
            () = &mut stopped => break Ok(()),
            () = tokio::time::sleep(poll) => {}
        }
    };
    worker.agent().stop();
    ended
}
