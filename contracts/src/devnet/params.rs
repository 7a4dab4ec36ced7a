//! Positional parameters of a JSON-RPC request.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::RpcError;

/// Most parameters of any method.
const PARAMS_MAX: usize = 8;

/// The `params` of a request, read from left to right.
#[derive(Debug)]
pub(crate) struct Params<'a> {
    values: std::vec::IntoIter<&'a RawValue>,
    read: usize,
}

impl<'a> Params<'a> {
    /// Splits `params`; absent and `null` are no parameters.
    pub(crate) fn new(raw: Option<&'a RawValue>) -> Result<Self, RpcError> {
        let values: Option<Vec<&RawValue>> = match raw {
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| RpcError::params("params must be an array"))?,
            None => None,
        };
        let values = values.unwrap_or_default();
        if values.len() > PARAMS_MAX {
            return Err(RpcError::params(format!("too many parameters, at most {PARAMS_MAX}")));
        }
        Ok(Self { values: values.into_iter(), read: 0 })
    }

    /// The next parameter, which must be there.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<T, RpcError> {
        let index = self.read;
        self.optional()?
            .ok_or_else(|| RpcError::params(format!("missing value for required argument {index}")))
    }

    /// The next parameter, unless it is absent or `null`.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self) -> Result<Option<T>, RpcError> {
        let index = self.read;
        self.read += 1;
        match self.values.next() {
            None => Ok(None),
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|e| RpcError::params(format!("invalid argument {index}: {e}"))),
        }
    }

    /// Refuses whatever follows, `null` excepted.
    pub(crate) fn end(self, what: &'static str) -> Result<(), RpcError> {
        match self.values.into_iter().any(|raw| raw.get() != "null") {
            true => Err(RpcError::params(what)),
            false => Ok(()),
        }
    }
}

/// A number as tools send it: `5`, `"5"` or `"0x5"`.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(try_from = "alloy::primitives::U256")]
pub(crate) struct Number(pub(crate) u64);

impl TryFrom<alloy::primitives::U256> for Number {
    type Error = &'static str;

    fn try_from(value: alloy::primitives::U256) -> Result<Self, Self::Error> {
        u64::try_from(value).map(Self).map_err(|_| "a number above 2^64")
    }
}
