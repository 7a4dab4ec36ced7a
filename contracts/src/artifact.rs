//! The compiler's committed output, `artifacts/<Name>.json`: what to deploy, and the whole ABI with
//! the errors that only the implementations declare.

use std::sync::LazyLock;

use alloy::dyn_abi::{DynSolValue, ErrorExt};
use alloy::json_abi::{ContractObject, JsonAbi};
use alloy::primitives::{Bytes, hex};
use alloy::sol_types::{Panic, Revert, SolError};

/// The contracts of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contract {
    /// Knows models by the hash of their content.
    ModelRegistry,
    /// Holds requests, claims and money.
    InferenceSettlement,
    /// Runs disputes.
    DisputeGame,
    /// Computes one step.
    StepVerifier,
}

impl Contract {
    /// Every contract, in the order of the enum.
    pub const ALL: [Self; 4] =
        [Self::ModelRegistry, Self::InferenceSettlement, Self::DisputeGame, Self::StepVerifier];

    /// Its name in Solidity, which is also its artifact's file stem.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ModelRegistry => "ModelRegistry",
            Self::InferenceSettlement => "InferenceSettlement",
            Self::DisputeGame => "DisputeGame",
            Self::StepVerifier => "StepVerifier",
        }
    }
}

static ARTIFACTS: LazyLock<[ContractObject; 4]> = LazyLock::new(|| {
    [
        parse(include_str!("../artifacts/ModelRegistry.json")),
        parse(include_str!("../artifacts/InferenceSettlement.json")),
        parse(include_str!("../artifacts/DisputeGame.json")),
        parse(include_str!("../artifacts/StepVerifier.json")),
    ]
});

/// The artifacts are part of this binary, so one that can't be read is a broken build: the tests
/// read all of them.
fn parse(json: &str) -> ContractObject {
    serde_json::from_str(json).expect("a committed artifact is well formed")
}

fn artifact(contract: Contract) -> &'static ContractObject {
    &ARTIFACTS[contract as usize]
}

/// Creation code without constructor arguments.
pub fn bytecode(contract: Contract) -> Bytes {
    artifact(contract).bytecode.clone().unwrap_or_default()
}

/// Creation code followed by the ABI-encoded constructor arguments: the data of the transaction
/// that deploys.
pub fn init_code(contract: Contract, args: &[u8]) -> Bytes {
    [bytecode(contract).as_ref(), args].concat().into()
}

/// Code as it lies on the chain, with zeros where immutables go.
pub fn deployed_bytecode(contract: Contract) -> Bytes {
    artifact(contract).deployed_bytecode.clone().unwrap_or_default()
}

/// The full ABI, with constructor and errors.
pub fn abi(contract: Contract) -> &'static JsonAbi {
    static EMPTY: LazyLock<JsonAbi> = LazyLock::new(JsonAbi::new);
    artifact(contract).abi.as_ref().unwrap_or(&EMPTY)
}

/// Name of the contracts' error that a revert's data starts with, e.g. `OutOfTime`.
pub fn error_name(data: &[u8]) -> Option<&'static str> {
    let selector = data.first_chunk::<4>()?;
    let mut errors = Contract::ALL.iter().flat_map(|&contract| abi(contract).errors());
    errors.find(|error| error.selector() == *selector).map(|error| error.name.as_str())
}

/// A revert's data in words: `WrongState()`, `revert: text`, `panic: …`, or the bytes in hex where no
/// contract of ours declares the error.
pub fn revert_reason(data: &[u8]) -> String {
    if data.is_empty() {
        return "no reason given".to_owned();
    }
    for error in Contract::ALL.iter().flat_map(|&contract| abi(contract).errors()) {
        if let Ok(decoded) = error.decode_error(data) {
            let args: Vec<String> = decoded.body.iter().map(word).collect();
            return format!("{}({})", error.name, args.join(", "));
        }
    }
    if let Ok(said) = Revert::abi_decode(data) {
        return format!("revert: {}", said.reason);
    }
    Panic::abi_decode(data).map_or_else(|_| hex::encode_prefixed(data), |panic| panic.to_string())
}

/// One argument of an error: numbers in decimal, bytes in hex.
fn word(value: &DynSolValue) -> String {
    match value {
        DynSolValue::Uint(v, _) => v.to_string(),
        DynSolValue::Int(v, _) => v.to_string(),
        DynSolValue::Bool(v) => v.to_string(),
        DynSolValue::Address(v) => v.to_string(),
        DynSolValue::String(v) => v.clone(),
        DynSolValue::FixedBytes(v, size) => {
            hex::encode_prefixed(v.get(..*size).unwrap_or(v.as_slice()))
        }
        other => hex::encode_prefixed(other.abi_encode()),
    }
}
