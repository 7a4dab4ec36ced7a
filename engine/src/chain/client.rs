//! A connection to a chain: typed contracts, blocks, and the logs of the contracts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::client::{ClientBuilder, RpcClient};
use alloy::signers::local::PrivateKeySigner;
use alloy::transports::http::{Http, reqwest};
use alloy::transports::layers::{RateLimitRetryPolicy, RetryBackoffLayer, RetryPolicy};
use alloy::transports::{TransportError, utils::guess_local_url};
use refute_contracts::bindings::{GameParams, IDisputeGame, IInferenceSettlement, IModelRegistry};
use serde::Deserialize;

use super::error::is_transient;
use super::{ChainError, DeployParams, Deployment, WrongCode};

/// Longest time for one answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time to reach the node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Tries after the first one. Each waits for its backoff.
const RETRIES_MAX: u32 = 4;
/// Pause before a try after no answer.
const RETRY_PAUSE_MS: u64 = 250;
/// Pause before a try after "too many requests", where the node names none.
const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause that a node may ask for.
const RATE_LIMIT_PAUSE_MAX: Duration = Duration::from_secs(20);
/// Blocks per request for logs, until the node refuses as many.
const LOG_SPAN_MAX: u64 = 2048;

/// Client of `InferenceSettlement`.
pub type Settlement = IInferenceSettlement::IInferenceSettlementInstance<DynProvider>;
/// Client of `DisputeGame`.
pub type Game = IDisputeGame::IDisputeGameInstance<DynProvider>;
/// Client of `ModelRegistry`.
pub type Registry = IModelRegistry::IModelRegistryInstance<DynProvider>;

/// What this process needs to know of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time, seconds.
    pub timestamp_s: u64,
    /// Its base fee, wei per gas; 0 where the chain has none.
    pub base_fee_wei: u128,
    /// Gas that fits into it.
    pub gas_limit: u64,
}

/// A block as nodes send it; the pending one has neither number nor hash on some of them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBlock {
    #[serde(default, with = "alloy::serde::quantity::opt")]
    number: Option<u64>,
    hash: Option<B256>,
    #[serde(with = "alloy::serde::quantity")]
    timestamp: u64,
    #[serde(default, with = "alloy::serde::quantity::opt")]
    base_fee_per_gas: Option<u128>,
    #[serde(with = "alloy::serde::quantity")]
    gas_limit: u64,
}

/// A connection to a chain; cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Chain {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    provider: DynProvider,
    chain_id: u64,
    signer: Option<PrivateKeySigner>,
    deployment: Option<Deployment>,
    log_span: AtomicU64,
}

impl Chain {
    /// Connects over HTTP, and checks that the deployment's contracts are there, on the right chain:
    /// that their code is, to the byte, what this build's artifacts give with the parameters that the
    /// file says.
    ///
    /// # Errors
    /// No node, another chain, other contracts.
    pub async fn connect(
        rpc: &str,
        signer: Option<PrivateKeySigner>,
        deployment: Option<Deployment>,
    ) -> Result<Self, ChainError> {
        let provider = ProviderBuilder::new()
            .disable_recommended_fillers()
            .connect_client(rpc_client(rpc)?)
            .erased();
        let chain_id = provider.get_chain_id().await?;
        let log_span = AtomicU64::new(LOG_SPAN_MAX);
        let inner = Inner { provider, chain_id, signer, deployment, log_span };
        let chain = Self { inner: Arc::new(inner) };
        chain.check_deployment().await?;
        Ok(chain)
    }

    /// The same connection with a deployment, which is checked as in [`Chain::connect`].
    ///
    /// # Errors
    /// Another chain, other contracts.
    pub async fn with_deployment(&self, deployment: Deployment) -> Result<Self, ChainError> {
        let inner = Inner {
            provider: self.inner.provider.clone(),
            chain_id: self.inner.chain_id,
            signer: self.inner.signer.clone(),
            deployment: Some(deployment),
            log_span: AtomicU64::new(LOG_SPAN_MAX),
        };
        let chain = Self { inner: Arc::new(inner) };
        chain.check_deployment().await?;
        Ok(chain)
    }

    /// The alloy provider below, for calls that this client has no function for.
    pub fn provider(&self) -> &DynProvider {
        &self.inner.provider
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.inner.chain_id
    }

    /// The account that signs.
    ///
    /// # Errors
    /// A connection without a key.
    pub fn address(&self) -> Result<Address, ChainError> {
        Ok(self.signer()?.address())
    }

    pub(super) fn signer(&self) -> Result<&PrivateKeySigner, ChainError> {
        self.inner.signer.as_ref().ok_or(ChainError::NoSigner)
    }

    /// Where the contracts are.
    ///
    /// # Errors
    /// A connection without a deployment.
    pub fn deployment(&self) -> Result<&Deployment, ChainError> {
        self.inner.deployment.as_ref().ok_or(ChainError::NoDeployment)
    }

    /// `InferenceSettlement`.
    ///
    /// # Errors
    /// A connection without a deployment.
    pub fn settlement(&self) -> Result<Settlement, ChainError> {
        Ok(Settlement::new(self.deployment()?.settlement, self.provider().clone()))
    }

    /// `DisputeGame`.
    ///
    /// # Errors
    /// A connection without a deployment.
    pub fn game(&self) -> Result<Game, ChainError> {
        Ok(Game::new(self.deployment()?.game, self.provider().clone()))
    }

    /// `ModelRegistry`.
    ///
    /// # Errors
    /// A connection without a deployment.
    pub fn registry(&self) -> Result<Registry, ChainError> {
        Ok(Registry::new(self.deployment()?.registry, self.provider().clone()))
    }

    /// The newest block.
    ///
    /// # Errors
    /// No answer.
    pub async fn head(&self) -> Result<Head, ChainError> {
        self.tagged(BlockNumberOrTag::Latest).await?.ok_or(ChainError::NoBlock { number: 0 })
    }

    /// A block by number; `None` if the chain is shorter.
    ///
    /// # Errors
    /// No answer.
    pub async fn header(&self, number: u64) -> Result<Option<Head>, ChainError> {
        let head = self.tagged(BlockNumberOrTag::Number(number)).await?;
        Ok(head.filter(|head| head.number == number))
    }

    /// The time that a transaction sent now will see, seconds, as far as the node knows: windows and
    /// clocks end by it, not by this machine's clock.
    ///
    /// # Errors
    /// No answer.
    pub async fn now_s(&self) -> Result<u64, ChainError> {
        let head = self.head().await?;
        // Not every node knows a pending block; the newest one's time is then a lower bound.
        let pending = self.raw_block(BlockNumberOrTag::Pending).await.ok().flatten();
        Ok(pending.map_or(0, |block| block.timestamp).max(head.timestamp_s))
    }

    async fn tagged(&self, tag: BlockNumberOrTag) -> Result<Option<Head>, ChainError> {
        let block = self.raw_block(tag).await?;
        Ok(block.and_then(|block| {
            Some(Head {
                number: block.number?,
                hash: block.hash?,
                timestamp_s: block.timestamp,
                base_fee_wei: block.base_fee_per_gas.unwrap_or(0),
                gas_limit: block.gas_limit,
            })
        }))
    }

    /// Only the fields that are needed: the transactions of other people may be of types that this
    /// client does not know.
    async fn raw_block(&self, tag: BlockNumberOrTag) -> Result<Option<RawBlock>, ChainError> {
        Ok(self.provider().raw_request("eth_getBlockByNumber".into(), (tag, false)).await?)
    }

    /// An account's wei.
    ///
    /// # Errors
    /// No answer.
    pub async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        Ok(self.provider().get_balance(account).await?)
    }

    /// Wei that `payee` can withdraw from the settlement.
    ///
    /// # Errors
    /// No answer, no deployment.
    pub async fn withdrawable(&self, payee: Address) -> Result<U256, ChainError> {
        Ok(self.settlement()?.balanceOf(payee).call().await?)
    }

    /// Hash of the code at an address; `None` where there is none.
    pub(crate) async fn code_hash(&self, address: Address) -> Result<Option<B256>, ChainError> {
        self.code_hash_at(address, BlockNumberOrTag::Latest).await
    }

    /// The same, after an earlier block.
    pub(crate) async fn code_hash_at(
        &self,
        address: Address,
        block: BlockNumberOrTag,
    ) -> Result<Option<B256>, ChainError> {
        let code = self.provider().get_code_at(address).block_id(BlockId::Number(block)).await?;
        Ok((!code.is_empty()).then(|| keccak256(&code)))
    }

    pub(super) fn log_span(&self) -> u64 {
        self.inner.log_span.load(Ordering::Relaxed).clamp(1, LOG_SPAN_MAX)
    }

    /// Remembers how many blocks the node gave at once, and tries more of them later.
    pub(super) fn set_log_span(&self, span: u64) {
        self.inner.log_span.store(span.clamp(1, LOG_SPAN_MAX), Ordering::Relaxed);
    }

    async fn check_deployment(&self) -> Result<(), ChainError> {
        let Some(deployment) = &self.inner.deployment else { return Ok(()) };
        let (expected, found) = (deployment.chain_id, self.chain_id());
        if expected != found {
            return Err(ChainError::WrongChain { expected, found });
        }
        let plan = deployment.plan()?;
        for planned in plan.contracts() {
            let (contract, address) =
                (planned.contract.name(), deployment.address(planned.contract));
            let (expected, found) = (planned.code_hash, self.code_hash(address).await?);
            match found {
                Some(found) if found == expected => {}
                // The parameters are part of the code, and tell more than its hash.
                Some(found) => {
                    self.check_parameters(&deployment.parameters).await?;
                    deployment.check_build(&plan)?;
                    let wrong = WrongCode { contract, address, expected, found };
                    return Err(ChainError::from(Box::new(wrong)));
                }
                None => return Err(ChainError::NoCode { contract, address }),
            }
        }
        deployment.check_build(&plan)
    }

    /// That the contracts, if they are ours, say what the file says.
    async fn check_parameters(&self, file: &DeployParams) -> Result<(), ChainError> {
        let (settlement, game) = (self.settlement()?, self.game()?);
        let (arity, clock, response) = (game.ARITY_BITS(), game.CLOCK_S(), game.MIN_RESPONSE_S());
        let (arity, clock, response) =
            (arity.call().await, clock.call().await, response.call().await);
        let terms = settlement.terms().call().await;
        let (Ok(arity), Ok(clock), Ok(response), Ok(terms)) = (arity, clock, response, terms)
        else {
            return Ok(());
        };
        let found = GameParams { arityBits: arity, clockS: clock, minResponseS: response };
        match file.difference(&DeployParams::read(&found, &terms)) {
            Some((what, expected, found)) => {
                Err(ChainError::WrongDeployment { what, expected, found })
            }
            None => Ok(()),
        }
    }
}

/// A client that waits a bounded time, and tries again a bounded number of times.
fn rpc_client(rpc: &str) -> Result<RpcClient, ChainError> {
    let url: reqwest::Url = rpc.parse().map_err(|_| ChainError::Url)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ChainError::Url);
    }
    let is_local = guess_local_url(rpc);
    let mut builder =
        reqwest::Client::builder().timeout(REQUEST_TIMEOUT).connect_timeout(CONNECT_TIMEOUT);
    if is_local {
        // A proxy of the environment would look for the node on its own machine.
        builder = builder.no_proxy();
    }
    // The error of a builder can't hold the URL, which may be a secret: it hasn't seen it.
    let http = builder.build().map_err(|e| ChainError::Client(e.to_string()))?;
    let retry =
        RetryBackoffLayer::new_with_policy(RETRIES_MAX, RETRY_PAUSE_MS, u64::MAX, WhenTransient);
    Ok(ClientBuilder::default().layer(retry).transport(Http::with_client(http, url), is_local))
}

/// Tries again what may succeed later. Everything that this client sends may be sent twice: reads,
/// and signed transactions, which are one however often they are sent.
#[derive(Clone, Copy, Debug)]
struct WhenTransient;

impl RetryPolicy for WhenTransient {
    fn should_retry(&self, error: &TransportError) -> bool {
        is_transient(error)
    }

    fn backoff_hint(&self, error: &TransportError) -> Option<Duration> {
        if let Some(pause) = RateLimitRetryPolicy::default().backoff_hint(error) {
            return Some(pause.min(RATE_LIMIT_PAUSE_MAX));
        }
        let is_rate_limit = RateLimitRetryPolicy::default().should_retry(error);
        is_rate_limit.then_some(RATE_LIMIT_PAUSE)
    }
}
