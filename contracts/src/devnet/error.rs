//! Errors as JSON-RPC clients of Ethereum know them.

use std::borrow::Cow;

use alloy::primitives::Bytes;
use revm::context::result::{HaltReason, InvalidTransaction};
use serde::Serialize;

use crate::artifact::revert_reason;
use crate::execution::Refused;

/// Why a request has no result. The numbers are the ones that wallets and libraries look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RpcError {
    #[error("parse error: {0}")]
    Parse(String),
    #[error("invalid request: {0}")]
    Request(String),
    #[error("the method {0} does not exist")]
    Method(String),
    #[error("invalid params: {0}")]
    Params(Cow<'static, str>),
    #[error("execution reverted: {}", reason(.0))]
    Reverted(Bytes),
    #[error("execution halted: {0}")]
    Halted(HaltReason),
    /// The node can't do it with what it has: an unknown block, too little gas.
    #[error("{0}")]
    Server(Cow<'static, str>),
    /// The transaction is not taken.
    #[error("{0}")]
    Rejected(Cow<'static, str>),
    #[error("{0}")]
    Limit(Cow<'static, str>),
    #[error("internal error: {0}")]
    Internal(Cow<'static, str>),
}

impl RpcError {
    pub(crate) fn params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Params(message.into())
    }

    pub(crate) fn server(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Server(message.into())
    }

    pub(crate) fn rejected(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Rejected(message.into())
    }

    /// The number in the error object.
    pub(crate) fn code(&self) -> i64 {
        match self {
            Self::Reverted(_) => 3,
            Self::Parse(_) => -32700,
            Self::Request(_) => -32600,
            Self::Method(_) => -32601,
            Self::Params(_) => -32602,
            Self::Halted(_) | Self::Internal(_) => -32603,
            Self::Server(_) => -32000,
            Self::Rejected(_) => -32003,
            Self::Limit(_) => -32005,
        }
    }

    /// The error object.
    pub(crate) fn object(self) -> ErrorObject {
        let (code, message) = (self.code(), self.to_string());
        let data = match self {
            Self::Reverted(data) => Some(data),
            _ => None,
        };
        ErrorObject { code, message, data }
    }
}

/// An error as it goes over the wire. (alloy's own type writes a `null` where there is no data, which
/// some clients take for data.)
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ErrorObject {
    code: i64,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Bytes>,
}

/// The reason as nodes write it: a text without the word that says what it is.
fn reason(data: &[u8]) -> String {
    let reason = revert_reason(data);
    reason.strip_prefix("revert: ").map(str::to_owned).unwrap_or(reason)
}

impl<E: std::fmt::Display> From<Refused<E>> for RpcError {
    fn from(refused: Refused<E>) -> Self {
        match refused {
            Refused::Transaction(invalid) => invalid_transaction(&invalid),
            Refused::Header(e) => Self::Internal(e.to_string().into()),
            Refused::Database(e) => Self::Internal(e.to_string().into()),
            Refused::Custom(e) => Self::Internal(e.into()),
            Refused::CustomAny(e) => Self::Internal(e.to_string().into()),
        }
    }
}

/// geth's words for what revm refuses.
pub(crate) fn invalid_transaction(invalid: &InvalidTransaction) -> RpcError {
    use InvalidTransaction as Invalid;
    match invalid {
        Invalid::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => RpcError::server(
            format!("intrinsic gas too low: gas {gas_limit}, minimum needed {initial_gas}"),
        ),
        Invalid::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => RpcError::server(format!(
            "insufficient gas for floor data gas cost: gas {gas_limit}, minimum needed {gas_floor}"
        )),
        Invalid::NonceTooLow { tx, state } => {
            RpcError::rejected(format!("nonce too low: next nonce {state}, tx nonce {tx}"))
        }
        Invalid::NonceTooHigh { tx, state } => {
            RpcError::rejected(format!("nonce too high: next nonce {state}, tx nonce {tx}"))
        }
        Invalid::LackOfFundForMaxFee { fee, balance } => RpcError::rejected(format!(
            "insufficient funds for gas * price + value: balance {balance}, tx cost {fee}"
        )),
        Invalid::GasPriceLessThanBasefee => {
            RpcError::rejected("max fee per gas less than block base fee")
        }
        Invalid::PriorityFeeGreaterThanMaxFee => {
            RpcError::rejected("max priority fee per gas higher than max fee per gas")
        }
        Invalid::CallerGasLimitMoreThanBlock => RpcError::rejected("exceeds block gas limit"),
        Invalid::CreateInitCodeSizeLimit => RpcError::rejected("max initcode size exceeded"),
        Invalid::InvalidChainId => RpcError::rejected("invalid chain id for signer"),
        other => RpcError::rejected(other.to_string()),
    }
}
