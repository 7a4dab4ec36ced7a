//! Puts the four contracts on a chain.

use alloy::primitives::{Address, Bytes, U256};
use alloy::sol_types::SolValue;
use refute_contracts::artifact::{Contract, init_code};

use crate::chain::{Call, Chain, ChainError, DeployParams, Deployment};

/// Deploys `StepVerifier`, `ModelRegistry`, `DisputeGame` and `InferenceSettlement` with the chain's
/// key, then reads everything back from the chain.
///
/// # Errors
/// Parameters that the constructors refuse, by name; no answer; a key without coins.
pub async fn deploy(chain: &Chain, params: &DeployParams) -> Result<Deployment, ChainError> {
    let (verifier, block) = create(chain, Contract::StepVerifier, Vec::new()).await?;
    let (registry, _) = create(chain, Contract::ModelRegistry, verifier.abi_encode()).await?;
    // Game and settlement name each other, so the game gets an address where nothing is yet.
    let settlement_next = chain.address()?.create(next_nonce(chain).await?.saturating_add(1));
    let args =
        (registry, settlement_next, params.arity_bits, params.clock_s, params.min_response_s);
    let (game, _) = create(chain, Contract::DisputeGame, args.abi_encode_params()).await?;
    let args = settlement_args(registry, game, params);
    let (settlement, _) = create(chain, Contract::InferenceSettlement, args).await?;
    let chain_id = chain.chain_id();
    let parameters = params.clone();
    let deployment =
        Deployment { chain_id, block, settlement, game, registry, verifier, parameters };
    chain.with_deployment(deployment.clone()).await?;
    Ok(deployment)
}

fn settlement_args(registry: Address, game: Address, params: &DeployParams) -> Vec<u8> {
    let terms: (U256, U256, U256, U256, U256, u32, u32) = (
        params.provider_bond_wei,
        params.provider_burn_wei,
        params.miss_penalty_wei,
        params.challenger_bond_wei,
        params.challenger_burn_wei,
        params.window_s,
        params.claim_s,
    );
    (registry, game, terms).abi_encode_params()
}

async fn next_nonce(chain: &Chain) -> Result<u64, ChainError> {
    use alloy::providers::Provider;
    Ok(chain.provider().get_transaction_count(chain.address()?).pending().await?)
}

/// The contract's address and the number of its block.
async fn create(
    chain: &Chain,
    contract: Contract,
    args: Vec<u8>,
) -> Result<(Address, u64), ChainError> {
    let data: Bytes = init_code(contract, &args);
    let call = Call { to: None, data, value_wei: U256::ZERO };
    let receipt = chain.transact(&call).await?;
    let address = receipt.created.ok_or(ChainError::Failed { hash: receipt.hash })?;
    if !chain.has_code(address).await? {
        return Err(ChainError::NoCode { contract: contract.name(), address });
    }
    tracing::info!(
        contract = contract.name(),
        %address,
        block = receipt.block,
        gas_used = receipt.gas_used,
        "deployed"
    );
    Ok((address, receipt.block))
}
