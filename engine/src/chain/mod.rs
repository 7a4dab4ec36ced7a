//! The chain as the provider, the watcher and the command line see it.
//!
//! [`Deployment`] says where the contracts are, [`Chain`] talks to them, [`Follower`] copies what they
//! say into the [store](crate::store), and [`Sender`] gets transactions mined. Nothing here trusts
//! the node further than it must: answers are bounded in time, errors are typed, what is read twice
//! is compared.

mod client;
mod deployment;
mod error;
mod event;
mod follower;
mod key;
mod logs;
mod params;
mod sender;
mod tx;

pub use client::{Chain, Game, Head, Registry, Settlement};
pub use deployment::{CodeHashes, Deployment};
pub use error::{ChainError, ChainReset, WrongCode};
pub use event::{Event, EventError, Logged, Moved, Origin};
pub use follower::{Follower, SyncReport};
pub use key::{KeyError, parse_key};
pub use params::DeployParams;
pub(crate) use params::explain;
pub use sender::{Outcome, Sender, SenderConfig, TickReport};
pub use tx::{Call, Receipt, TxCosts};
