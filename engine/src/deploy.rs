//! Puts the four contracts on a chain, at addresses that follow from their code and parameters.
//!
//! Everything is computed first, constructors included ([`Plan`]); what is on the chain already is
//! used as it is, so that deploying twice costs nothing, and two parties that deploy with the same
//! parameters use the same contracts.

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::{Address, B256, U256, keccak256};
use refute_contracts::create2;
use refute_contracts::plan::{Plan, Planned, SALT_TEXT};

use crate::chain::{Call, Chain, ChainError, DeployParams, Deployment, WrongCode, explain};

/// What to deploy, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The contracts' constants.
    pub params: DeployParams,
    /// Another salt gives another deployment with the same parameters.
    pub salt: B256,
    /// Whether the proxy may be put on a chain that lacks it.
    pub install_proxy: bool,
    /// The block that the registry was created in, for nodes that don't know the past.
    pub from_block: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            params: DeployParams::default(),
            salt: keccak256(SALT_TEXT),
            install_proxy: false,
            from_block: None,
        }
    }
}

/// What a deployment did.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where everything is.
    pub deployment: Deployment,
    /// The contracts that were created now; the others were there.
    pub created: Vec<&'static str>,
    /// Gas of all transactions.
    pub gas_used: u64,
}

/// Deploys `StepVerifier`, `ModelRegistry` and `InferenceSettlement`, which creates `DisputeGame`, with
/// the chain's key, as far as they aren't there, then reads everything back from the chain.
///
/// # Errors
/// Parameters that the constructors refuse, by name; a chain without the proxy; other code at one of
/// the addresses; no answer; a key without coins.
pub async fn deploy(chain: &Chain, options: &Options) -> Result<Report, ChainError> {
    let chain_id = chain.chain_id();
    let params = options.params.clone();
    let plan =
        Plan::new(chain_id, options.salt, &params.game(), &params.terms()?).map_err(explain)?;
    let mut gas_used = proxy(chain, options.install_proxy).await?;
    let mut created = Vec::new();
    let mut registry_block = None;
    for planned in plan.contracts() {
        if let Some(made) = create(chain, options.salt, planned).await? {
            gas_used = gas_used.saturating_add(made.gas_used);
            created.push(planned.contract.name());
            if planned.contract == plan.registry.contract {
                registry_block = Some(made.block);
            }
        }
    }
    let block = match registry_block.or(options.from_block) {
        Some(block) => block,
        None => first_block(chain, plan.registry.address).await?,
    };
    if created.contains(&plan.settlement.contract.name()) {
        created.push(plan.game.contract.name());
    }
    let deployment = Deployment::of(&plan, chain_id, block, options.salt, params);
    chain.with_deployment(deployment.clone()).await?;
    Ok(Report { deployment, created, gas_used })
}

struct Made {
    block: u64,
    gas_used: u64,
}

/// Creates a contract unless it is there. The game is its settlement's to create.
async fn create(chain: &Chain, salt: B256, planned: &Planned) -> Result<Option<Made>, ChainError> {
    let contract = planned.contract.name();
    if is_there(chain, planned).await? {
        tracing::info!(contract, address = %planned.address, "is there");
        return Ok(None);
    }
    let Some(init_code) = &planned.init_code else {
        return Err(ChainError::NoCode { contract, address: planned.address });
    };
    let call = Call::new(create2::PROXY, create2::calldata(salt, init_code));
    let receipt = match chain.transact(&call).await {
        Ok(receipt) => receipt,
        // Somebody else may have been faster: it is the same contract.
        Err(_) if is_there(chain, planned).await? => return Ok(None),
        Err(error) => return Err(coins(chain, error).await?),
    };
    if !is_there(chain, planned).await? {
        return Err(ChainError::NoCode { contract, address: planned.address });
    }
    let (block, gas_used) = (receipt.block, receipt.gas_used);
    tracing::info!(contract, address = %planned.address, block, gas_used, "deployed");
    Ok(Some(Made { block, gas_used }))
}

/// A node's words for a key that can't pay differ; what to do about it doesn't.
async fn coins(chain: &Chain, error: ChainError) -> Result<ChainError, ChainError> {
    let (address, refused) = (chain.address()?, error.to_string().to_lowercase());
    let balance = chain.balance(address).await?;
    if balance.is_zero() || refused.contains("insufficient") || refused.contains("lack of funds") {
        return Ok(ChainError::NoCoins { address, balance });
    }
    Ok(error)
}

/// Whether a contract is where it should be; other code there is an error.
async fn is_there(chain: &Chain, planned: &Planned) -> Result<bool, ChainError> {
    check(chain, planned.contract.name(), planned.address, planned.code_hash).await
}

async fn check(
    chain: &Chain,
    contract: &'static str,
    address: Address,
    expected: B256,
) -> Result<bool, ChainError> {
    match chain.code_hash(address).await? {
        None => Ok(false),
        Some(found) if found == expected => Ok(true),
        Some(found) => Err(Box::new(WrongCode { contract, address, expected, found }).into()),
    }
}

/// Sees to it that the chain has the proxy, and gives the gas that it took.
async fn proxy(chain: &Chain, install: bool) -> Result<u64, ChainError> {
    let is_there = || async {
        check(chain, "CREATE2 proxy", create2::PROXY, keccak256(&create2::PROXY_CODE)).await
    };
    if is_there().await? {
        return Ok(0);
    }
    if !install {
        return Err(ChainError::NoProxy);
    }
    let has = chain.balance(create2::PROXY_SENDER).await?;
    let lacking = create2::PROXY_COST_WEI.saturating_sub(has);
    let mut gas_used = 0;
    if lacking > U256::ZERO {
        let call = Call::new(create2::PROXY_SENDER, Vec::new()).with_value(lacking);
        gas_used += chain.transact(&call).await?.gas_used;
    }
    let receipt = chain.send_raw(&create2::PROXY_TRANSACTION).await;
    let receipt = receipt.map_err(|error| match error {
        ChainError::Refused { reason } => ChainError::ProxyRefused { reason },
        other => other,
    })?;
    tracing::info!(address = %create2::PROXY, gas_used = receipt.gas_used, "proxy installed");
    if !is_there().await? {
        return Err(ChainError::NoCode { contract: "CREATE2 proxy", address: create2::PROXY });
    }
    Ok(gas_used + receipt.gas_used)
}

/// The block in which a contract that is there came to be, by halving. A node that has forgotten the
/// past gives no answer: then it is the first block of all, which is right and slow.
async fn first_block(chain: &Chain, contract: Address) -> Result<u64, ChainError> {
    let (mut low, mut high) = (0, chain.head().await?.number);
    while low < high {
        let middle = low + (high - low) / 2;
        match chain.code_hash_at(contract, BlockNumberOrTag::Number(middle)).await {
            Ok(Some(_)) => high = middle,
            Ok(None) => low = middle + 1,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the node doesn't know when the contracts were created: everything is read from \
                     block 0 on, unless --from-block says better"
                );
                return Ok(0);
            }
        }
    }
    Ok(low)
}
