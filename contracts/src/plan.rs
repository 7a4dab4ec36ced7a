//! What a deployment with given parameters will be, computed before anything is sent: the addresses
//! and the code of all four contracts, immutables included.
//!
//! The constructors run on the EVM of this process exactly as they will on the chain, through the same
//! proxy, with the same arguments. So parameters that a constructor refuses are known at once, two
//! chains get the same addresses, and whoever uses a deployment can hold the code on its chain against
//! what the artifacts of this build give.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::sol_types::SolValue;

use crate::artifact::{Contract, init_code};
use crate::bindings::{GameParams, IStepVerifier, Terms};
use crate::create2;
use crate::evm::{Evm, EvmError, Outcome};

/// What the salt of a deployment is the hash of, unless told otherwise.
pub const SALT_TEXT: &str = "refute";

/// Gas of one creation here: more than any chain has in a block, because what is too large for a
/// chain is better said by that chain.
const GAS_MAX: u64 = 100_000_000;

/// One contract of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Which one.
    pub contract: Contract,
    /// Where it will be.
    pub address: Address,
    /// What creates it through the proxy, constructor arguments included; `None` for the game, which
    /// the settlement's constructor creates.
    pub init_code: Option<Bytes>,
    /// Its code as it will lie on the chain.
    pub code: Bytes,
    /// Hash of that.
    pub code_hash: B256,
}

/// A whole deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What `StepVerifier` computes by.
    pub numerics_version: u32,
    /// `StepVerifier`.
    pub verifier: Planned,
    /// `ModelRegistry`.
    pub registry: Planned,
    /// `InferenceSettlement`.
    pub settlement: Planned,
    /// `DisputeGame`.
    pub game: Planned,
}

/// Why there can't be such a deployment.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A constructor refuses its arguments.
    #[error("{} can't be created: {}", .contract.name(), .outcome.failure())]
    Refused {
        /// Whose.
        contract: Contract,
        /// What it did, with the reason.
        outcome: Box<Outcome>,
    },
    /// The EVM of this process fails, which no parameter is the reason of.
    #[error(transparent)]
    Evm(#[from] EvmError),
}

impl Plan {
    /// Runs the constructors for this chain.
    ///
    /// # Errors
    /// Parameters that a constructor refuses.
    pub fn new(
        chain_id: u64,
        salt: B256,
        game: &GameParams,
        terms: &Terms,
    ) -> Result<Self, PlanError> {
        let mut evm = Evm::new();
        evm.set_chain_id(chain_id);
        evm.set_gas_limit(GAS_MAX);
        evm.set_code(create2::PROXY, create2::PROXY_CODE.clone());
        let verifier = create(&mut evm, salt, Contract::StepVerifier, &[])?;
        let args = verifier.address.abi_encode();
        let registry = create(&mut evm, salt, Contract::ModelRegistry, &args)?;
        let args = (registry.address, game.clone(), terms.clone()).abi_encode_params();
        let settlement = create(&mut evm, salt, Contract::InferenceSettlement, &args)?;
        // A contract's first creation has its nonce 1.
        let address = settlement.address.create(1);
        let game = planned(&evm, Contract::DisputeGame, address, None);
        let numerics_version =
            evm.view(verifier.address, &IStepVerifier::NUMERICS_VERSIONCall {})?;
        Ok(Self { numerics_version, verifier, registry, settlement, game })
    }

    /// All contracts, in the order in which they come to be.
    pub fn contracts(&self) -> [&Planned; 4] {
        [&self.verifier, &self.registry, &self.settlement, &self.game]
    }
}

fn create(
    evm: &mut Evm,
    salt: B256,
    contract: Contract,
    args: &[u8],
) -> Result<Planned, PlanError> {
    let init_code = init_code(contract, args);
    let data = create2::calldata(salt, &init_code);
    let outcome = evm.call(Address::ZERO, create2::PROXY, &data, U256::ZERO)?;
    if !outcome.is_success() {
        // The proxy keeps a constructor's reasons to itself: ask the constructor.
        let reason = match evm.clone().deploy(Address::ZERO, &init_code, &[]) {
            Err(EvmError::Failed(reason)) => reason,
            Err(error) => return Err(error.into()),
            Ok(_) => Box::new(outcome),
        };
        return Err(PlanError::Refused { contract, outcome: reason });
    }
    let address = create2::address(salt, &init_code);
    Ok(planned(evm, contract, address, Some(init_code)))
}

fn planned(evm: &Evm, contract: Contract, address: Address, init_code: Option<Bytes>) -> Planned {
    let code = evm.code(address);
    let code_hash = keccak256(&code);
    Planned { contract, address, init_code, code, code_hash }
}
