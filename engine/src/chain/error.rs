//! What can go wrong between this process and a chain.

use std::path::PathBuf;

use alloy::contract;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::rpc::json_rpc::{ErrorPayload, RpcError};
use alloy::transports::{TransportError, TransportErrorKind};
use refute_contracts::artifact::revert_reason;
use refute_contracts::create2;

use super::key::KeyError;
use crate::store::StoreError;

/// Why a chain did not do or say what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The RPC address can't be one.
    #[error("the RPC address is not an http:// or https:// URL")]
    Url,
    /// The HTTP client could not be made.
    #[error("no HTTP client: {0}")]
    Client(String),
    /// The node did not answer, answered nonsense, or refused the request.
    #[error("RPC: {0}")]
    Rpc(#[source] Box<TransportError>),
    /// A contract refused the call.
    #[error("the contract reverted: {reason}")]
    Reverted {
        /// The contract's typed error, decoded.
        reason: String,
    },
    /// A contract answered something that its ABI does not allow.
    #[error("a contract answered what its ABI does not allow: {0}")]
    Abi(String),
    /// Another chain than the deployment's.
    #[error("the RPC serves chain {found}, the deployment is on chain {expected}")]
    WrongChain {
        /// The deployment's chain id.
        expected: u64,
        /// The node's.
        found: u64,
    },
    /// No contract where the deployment says.
    #[error(
        "there is no code at {address}, where the deployment has its {contract}: if the devnet was \
         restarted, run `refute deploy` again"
    )]
    NoCode {
        /// Which contract.
        contract: &'static str,
        /// Where it should be.
        address: Address,
    },
    /// Other code than this build's where the deployment says.
    #[error(transparent)]
    WrongCode(#[from] Box<WrongCode>),
    /// The deployment's file is from a build with other contracts.
    #[error(
        "the deployment's file has the {contract} of another version of this program (code hash \
         {file}, this one's is {built}): use that version, or run `refute deploy` again"
    )]
    OtherBuild {
        /// Which contract.
        contract: &'static str,
        /// Hash of its code in the file.
        file: B256,
        /// Hash of the code that this build gives with the file's parameters.
        built: B256,
    },
    /// The deployment's file has an address that its own parameters don't lead to.
    #[error(
        "the deployment's file has its {contract} at {found}, but its parameters lead to {expected}: \
         somebody changed the file; run `refute deploy` again"
    )]
    WrongAddress {
        /// Which contract.
        contract: &'static str,
        /// Where the parameters lead to.
        expected: Address,
        /// Where the file says.
        found: Address,
    },
    /// The contracts differ from what the deployment's file says.
    #[error("the deployment's {what} is {expected} in its file and {found} on chain")]
    WrongDeployment {
        /// Which parameter.
        what: String,
        /// In the file.
        expected: String,
        /// On chain.
        found: String,
    },
    /// A parameter that the contracts refuse.
    #[error("{flag} is refused by the contracts: it has to be {rule}")]
    BadTerms {
        /// The option of `refute deploy`.
        flag: String,
        /// What it has to be.
        rule: String,
    },
    /// The contracts can't be created, for a reason that no parameter is.
    #[error("the contracts can't be created: {0}")]
    Plan(String),
    /// The key can't pay.
    #[error("{address} has {balance} wei, too few to deploy: send it coins, or use another --key")]
    NoCoins {
        /// The key's account.
        address: Address,
        /// What it has, wei.
        balance: U256,
    },
    /// The chain lacks the proxy that gives contracts their addresses.
    #[error(
        "this chain has no CREATE2 deployment proxy at {}. If its nodes take transactions without a \
         chain id and gas costs at most 100 gwei, `refute deploy --install-proxy` puts it there for {} \
         wei; else ask whoever runs the chain",
        create2::PROXY,
        create2::PROXY_COST_WEI
    )]
    NoProxy,
    /// The node doesn't take the proxy's transaction.
    #[error(
        "the node doesn't take the transaction that makes the CREATE2 deployment proxy ({reason}): it \
         may refuse transactions without a chain id, or gas may cost more than 100 gwei; ask whoever \
         runs the chain to put the proxy at {}",
        create2::PROXY
    )]
    ProxyRefused {
        /// The node's words.
        reason: String,
    },
    /// The contracts were asked for on a connection without a deployment.
    #[error("no deployment: run `refute deploy`, or say where its file is")]
    NoDeployment,
    /// A transaction was asked for on a connection without a key.
    #[error("this needs a key, and none was given")]
    NoSigner,
    /// The key could not be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key could not sign.
    #[error("signing failed: {0}")]
    Signing(#[from] alloy::signers::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no deployment.
    #[error("{path} is not a deployment ({source}): run `refute deploy` again")]
    NotADeployment {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The node has no such block, yet or any more.
    #[error("the node has no block {number}")]
    NoBlock {
        /// Its number.
        number: u64,
    },
    /// Blocks changed while they were read.
    #[error("blocks around {number} changed while they were read")]
    Moved {
        /// The highest one that was read.
        number: u64,
    },
    /// None of the blocks that the database knows is on the chain any more.
    #[error(transparent)]
    Reset(#[from] Box<ChainReset>),
    /// A transaction was refused by the node, or reverted when it was tried.
    #[error("the transaction would fail: {reason}")]
    Refused {
        /// The contract's typed error, or the node's words.
        reason: String,
    },
    /// A transaction is in a block, and reverted there.
    #[error("transaction {hash} reverted")]
    Failed {
        /// Its hash.
        hash: B256,
    },
    /// A transaction is not in a block yet.
    #[error("transaction {hash} was not mined within {waited_s} s")]
    NotMined {
        /// Its hash.
        hash: B256,
        /// How long was waited, seconds.
        waited_s: u64,
    },
    /// The chain is dearer than the cap.
    #[error("the base fee is {base_fee_wei} wei, the cap {cap_wei}: wait, or raise the cap")]
    FeeCap {
        /// Base fee of the next block, wei.
        base_fee_wei: u128,
        /// What this process may pay, wei per gas.
        cap_wei: u128,
    },
    /// One key of a transaction was used for two different ones.
    #[error("transaction {key:?} is mined, and was asked for again with other content")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A contract that isn't the one that it should be.
#[derive(Debug, thiserror::Error)]
#[error(
    "the {contract} at {address} is another contract than this program knows: its code has the hash \
     {found}, and should have {expected}. Don't send money there; check --rpc and --deployment, or run \
     `refute deploy`"
)]
pub struct WrongCode {
    /// Which contract.
    pub contract: &'static str,
    /// Where it is.
    pub address: Address,
    /// Hash of the code that the artifacts give with the deployment's parameters.
    pub expected: B256,
    /// Hash of the code on chain.
    pub found: B256,
}

/// The chain is another one than before, as when a devnet was started anew.
#[derive(Debug, thiserror::Error)]
#[error(
    "this is not the chain that {database} followed: block {number} was {expected}{}. If the devnet \
     was restarted, delete that file and run `refute deploy` again; else check --rpc",
    .found.map_or(", and does not exist now".to_owned(), |hash| format!(", and is {hash} now"))
)]
pub struct ChainReset {
    /// The database's file.
    pub database: String,
    /// The oldest block that was looked at.
    pub number: u64,
    /// Its hash in the database.
    pub expected: B256,
    /// Its hash on the chain.
    pub found: Option<B256>,
}

impl ChainError {
    /// Whether the same call may succeed later without anybody changing anything. A process that runs
    /// for long waits and goes on after such an error, and stops at any other: nodes have many words
    /// for trouble, and all of them pass.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Rpc(error) => !error.is_local_usage_error() && !error.is_unsupported_feature(),
            Self::Store(error) => error.is_retryable(),
            Self::NoBlock { .. } | Self::Moved { .. } => true,
            Self::NotMined { .. } | Self::FeeCap { .. } => true,
            // Contracts don't change: the node is confused, or it serves another chain since a moment ago. The next look at the
            // blocks tells, in words that help.
            Self::Abi(_) => true,
            _ => false,
        }
    }
}

impl From<TransportError> for ChainError {
    fn from(error: TransportError) -> Self {
        match error.as_error_resp().and_then(execution_failure) {
            Some(reason) => Self::Reverted { reason },
            None => Self::Rpc(Box::new(error)),
        }
    }
}

impl From<contract::Error> for ChainError {
    fn from(error: contract::Error) -> Self {
        match error {
            contract::Error::TransportError(error) => error.into(),
            other => Self::Abi(other.to_string()),
        }
    }
}

/// Why the EVM refused a call, if this is what the node's error says: a revert with its reason, a
/// halt, or a want of funds. Anything else (limits, unknown methods) says nothing about the call.
pub(super) fn execution_failure(error: &ErrorPayload) -> Option<String> {
    if let Some(data) = error.as_revert_data() {
        return Some(revert_reason(&data));
    }
    const SIGNS: [&str; 8] = [
        "revert",
        "insufficient funds",
        "out of gas",
        "outofgas",
        "gas required exceeds",
        "invalid opcode",
        "evm error",
        "halted",
    ];
    let message = error.message.to_lowercase();
    if SIGNS.iter().any(|sign| message.contains(sign)) {
        return Some(match raw_data(error) {
            Some(data) if !data.is_empty() => revert_reason(&data),
            _ => error.message.to_string(),
        });
    }
    // Code 3 is "execution error", whatever the message says.
    (error.code == 3).then(|| error.message.to_string())
}

/// The error's data where a node puts it as a bare hex string.
fn raw_data(error: &ErrorPayload) -> Option<Bytes> {
    error.try_data_as::<Bytes>()?.ok()
}

/// Whether the same request may succeed later: no answer, an overloaded node, a limit on the rate.
pub(super) fn is_transient(error: &TransportError) -> bool {
    match error {
        RpcError::Transport(kind) => is_transient_transport(kind),
        RpcError::ErrorResp(error) => error.is_retry_err() && !is_range_limit(error),
        RpcError::NullResp => true,
        _ => false,
    }
}

fn is_transient_transport(kind: &TransportErrorKind) -> bool {
    match (kind, kind.as_http_error()) {
        (TransportErrorKind::NonRetryable(_), _) => false,
        (_, Some(http)) => http.status == 408 || http.status == 429 || http.status >= 500,
        _ => true,
    }
}

/// Some nodes answer "too many results" with the code of a rate limit: asking again can't help.
fn is_range_limit(error: &ErrorPayload) -> bool {
    let message = error.message.to_lowercase();
    ["more than", "range", "response size", "too many logs", "max results"]
        .iter()
        .any(|sign| message.contains(sign))
}
