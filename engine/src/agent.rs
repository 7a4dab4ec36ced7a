//! What a provider and a watcher share: a key, a chain, a database, models, and the disputes that they play.
//!
//! An agent decides from the chain's events in its database, never from memory, so a restart goes on where it was. Every
//! transaction has a name for its intention and is written down before it is sent ([`crate::chain::Sender`]).

mod money;

use crate::chain::{Chain, ChainError, Deployment, Follower, Sender, SenderConfig, SyncReport};
use crate::chain::{Outcome, parse_key};
use crate::model::Model;
use crate::player::{self, Next, PlayError};
use crate::store::{Binding, Claim, Dispute, Request, Store, StoreError};
use crate::subject::{Player, Subject};
use crate::trace::RunError;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolCall;
use refute_bisection::history::{History, HistoryError};
use refute_bisection::merkle::MerkleError;
use refute_bisection::rules::Rules;
use refute_bisection::state::Party;
use refute_contracts::bindings::IDisputeGame as Game;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

/// Why an agent can't go on with what it was doing. Most of it passes: the caller logs it and tries again.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key given.
    #[error(transparent)]
    Key(#[from] crate::chain::KeyError),
    /// The own computation.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A dispute in which there's no move.
    #[error("dispute {dispute}: {source}")]
    Play {
        /// Which.
        dispute: B256,
        /// Why.
        source: PlayError,
    },
    /// A dispute whose events don't follow from each other.
    #[error("dispute {dispute}: {source}")]
    History {
        /// Which.
        dispute: B256,
        /// Why.
        source: HistoryError,
    },
    /// A tree of a size that can't be.
    #[error(transparent)]
    Merkle(#[from] MerkleError),
    /// An answer of the contract that isn't one.
    #[error("the contract doesn't answer: {0}")]
    Contract(#[from] alloy::contract::Error),
    /// The rules of the deployment.
    #[error("the deployment's game has an arity of {0} bits: 1 to 8 are defined")]
    Arity(u32),
    /// Something that the database should have.
    #[error("{what} {id} is not in the database")]
    Missing {
        /// A request, a model.
        what: &'static str,
        /// Its id.
        id: B256,
    },
    /// A background computation that panicked.
    #[error("a computation ended early: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

/// Where the database keeps the arity of the deployment's game, for whoever only reads it.
const ARITY: &str = "arity_bits";

impl AgentError {
    /// Whether another look may go better. What doesn't pass ends the process: a key, a database or a chain that isn't its own.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Chain(error) => error.is_retryable(),
            Self::Store(error) => error.is_retryable(),
            Self::Key(_) | Self::Arity(_) => false,
            _ => true,
        }
    }
}

/// A key, a chain, a database and models.
#[derive(Debug)]
pub struct Agent {
    /// The chain, with the key.
    pub chain: Chain,
    /// The database.
    pub store: Store,
    sender: Sender,
    follower: Follower,
    rules: Rules,
    address: Address,
    models: BTreeMap<B256, Arc<Model>>,
    seats: Mutex<HashMap<B256, Seat>>,
    /// Set when the agent stops: computations end at their next block.
    stop: Arc<AtomicBool>,
}

/// An own computation of a request or claim.
#[derive(Debug)]
enum Seat {
    Computing(JoinHandle<Result<Player, RunError>>),
    Ready(Arc<Player>),
}

/// Where an own computation stands.
#[derive(Debug)]
pub enum Computed {
    /// Still running.
    NotYet,
    /// Here it is.
    Ready(Arc<Player>),
    /// It can't be had.
    Failed(RunError),
}

impl Agent {
    /// Connects with a key, and opens (or makes) its database.
    ///
    /// # Errors
    /// No node, no contracts, a key or a database that isn't this agent's.
    pub async fn open(
        rpc: &str,
        key: &str,
        deployment: Option<&Path>,
        db: &Path,
        models: Vec<Model>,
    ) -> Result<Self, AgentError> {
        let signer = parse_key(key)?;
        let chain = connect(rpc, Some(signer), deployment).await?;
        let deployed = chain.deployment()?;
        let binding = Binding {
            chain_id: chain.chain_id(),
            settlement: deployed.settlement,
            key: chain.address()?,
            claim_s: deployed.parameters.claim_s,
        };
        let store = Store::open(db, &binding)?;
        log_terms(deployed);
        let arity = deployed.parameters.arity_bits;
        let rules = Rules::new(arity).ok_or(AgentError::Arity(arity))?;
        store.put_job(ARITY, B256::ZERO, &arity)?;
        let sender = Sender::new(chain.clone(), store.clone(), SenderConfig::default());
        Ok(Self {
            address: chain.address()?,
            chain,
            store,
            sender,
            follower: Follower::default(),
            rules,
            models: models.into_iter().map(|m| (m.id, Arc::new(m))).collect(),
            seats: Mutex::default(),
            stop: Arc::default(),
        })
    }

    /// The account that signs.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Ids of the models that this agent has.
    pub fn model_ids(&self) -> Vec<B256> {
        self.models.keys().copied().collect()
    }

    /// A model that this agent has.
    pub fn model(&self, id: B256) -> Option<&Arc<Model>> {
        self.models.get(&id)
    }

    /// Asks running computations to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Reads new events, and follows up transactions on their way.
    ///
    /// # Errors
    /// The chain, the database.
    pub async fn sync(&self) -> Result<SyncReport, AgentError> {
        let report = self.follower.sync(&self.chain, &self.store).await?;
        for logged in &report.events {
            tracing::debug!(event = logged.event.name(), block = logged.block, "chain");
        }
        let sent = self.sender.tick().await?;
        for (name, mined) in &sent.mined {
            let gas_used = mined.gas_used;
            tracing::info!(transaction = name, gas_used, success = mined.success, "mined");
        }
        for (name, reason) in &sent.failed {
            tracing::warn!(transaction = name, reason, "dropped");
        }
        Ok(report)
    }

    /// Sends a call under a name, once. `Ok(true)` when it is mined and succeeded.
    ///
    /// # Errors
    /// The chain, the database.
    pub async fn submit(
        &self,
        name: &str,
        to: Address,
        data: impl Into<Bytes>,
        value: U256,
    ) -> Result<bool, AgentError> {
        match self.sender.submit(name, to, data, value).await? {
            Outcome::Mined(mined) => Ok(mined.success),
            Outcome::Pending { hash } => {
                tracing::debug!(transaction = name, %hash, "on its way");
                Ok(false)
            }
            Outcome::Failed { reason } => {
                tracing::warn!(transaction = name, reason, "not sent: it would fail");
                Ok(false)
            }
        }
    }

    /// Calls the settlement under a name.
    ///
    /// # Errors
    /// The chain, the database.
    pub async fn settle<C: SolCall>(
        &self,
        name: &str,
        call: &C,
        value: U256,
    ) -> Result<bool, AgentError> {
        let settlement = self.chain.deployment()?.settlement;
        self.submit(name, settlement, call.abi_encode(), value).await
    }

    /// Registers the agent's models where they aren't yet.
    ///
    /// # Errors
    /// The chain, the database.
    pub async fn register_models(&self) -> Result<(), AgentError> {
        let to = self.chain.deployment()?.registry;
        for (id, model) in &self.models {
            if self.store.is_registered(*id)? {
                continue;
            }
            let call = model.register_call().abi_encode();
            self.submit(&format!("register:{id}"), to, call, U256::ZERO).await?;
            tracing::info!(model = %id, "registering");
        }
        Ok(())
    }

    /// The request of a claim.
    ///
    /// # Errors
    /// The database, or that it isn't there.
    pub fn request(&self, id: B256) -> Result<Request, AgentError> {
        self.store.request(id)?.ok_or(AgentError::Missing { what: "request", id })
    }

    /// Starts a computation under an id, unless there is one, and says where it stands. A failed one is forgotten: the next
    /// call starts again.
    ///
    /// # Errors
    /// A computation that panicked.
    pub async fn compute(
        &self,
        id: B256,
        work: impl FnOnce(Arc<AtomicBool>) -> Result<Player, RunError> + Send + 'static,
    ) -> Result<Computed, AgentError> {
        let handle = {
            let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
            match seats.remove(&id) {
                Some(Seat::Ready(player)) => {
                    seats.insert(id, Seat::Ready(Arc::clone(&player)));
                    return Ok(Computed::Ready(player));
                }
                Some(Seat::Computing(handle)) if !handle.is_finished() => {
                    seats.insert(id, Seat::Computing(handle));
                    return Ok(Computed::NotYet);
                }
                Some(Seat::Computing(handle)) => handle,
                None => {
                    let stop = Arc::clone(&self.stop);
                    let handle = tokio::task::spawn_blocking(move || work(stop));
                    seats.insert(id, Seat::Computing(handle));
                    return Ok(Computed::NotYet);
                }
            }
        };
        match handle.await? {
            Err(error) => Ok(Computed::Failed(error)),
            Ok(player) => {
                let player = Arc::new(player);
                let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
                seats.insert(id, Seat::Ready(Arc::clone(&player)));
                Ok(Computed::Ready(player))
            }
        }
    }

    /// Frees the memory of a computation that is no longer needed.
    pub fn forget(&self, id: B256) {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Ids of the computations at hand.
    pub fn seats(&self) -> Vec<B256> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Makes the next move of a dispute, if it is ours; takes the win if the other party is out of time. Calls the last step
    /// only if it may `decide`: in a drill, a liar doesn't convict itself.
    ///
    /// # Errors
    /// The chain, the database, or no move.
    pub async fn play(
        &self,
        party: Party,
        dispute: &Dispute,
        claim: &Claim,
        own: &Arc<Player>,
        decide: bool,
    ) -> Result<(), AgentError> {
        let id = dispute.dispute;
        let subject = subject(claim, own)?;
        let history = history(&self.store, id, &subject, self.rules)?;
        let rules = self.rules;
        let own = Arc::clone(own);
        let next = tokio::task::spawn_blocking(move || {
            player::next(party, &own, &subject, rules, &history)
        });
        let next = next.await?.map_err(|source| AgentError::Play { dispute: id, source })?;
        match next {
            Next::Over => Ok(()),
            Next::Wait => self.claim_timeout(party, id).await,
            Next::Call { name: "step", .. } if !decide => Ok(()),
            Next::Call { name, number, data } => {
                tracing::info!(dispute = %id, number, call = name, %party, "move");
                let game = self.chain.deployment()?.game;
                self.submit(&format!("move:{id}:{number}"), game, data, U256::ZERO).await?;
                Ok(())
            }
        }
    }

    /// Ends a dispute in which the other party is out of time.
    async fn claim_timeout(&self, party: Party, dispute: B256) -> Result<(), AgentError> {
        let game = self.chain.game()?;
        let view = game.disputeOf(dispute).call().await?;
        let theirs = view.defenderToMove == (party == Party::Challenger);
        if view.resolved || !theirs || self.chain.now_s().await? <= view.deadline {
            return Ok(());
        }
        tracing::info!(%dispute, "the other party is out of time");
        let call = Game::timeoutCall { dispute };
        let name = format!("timeout:{dispute}:{}", view.r#move);
        self.submit(&name, *game.address(), call.abi_encode(), U256::ZERO).await?;
        Ok(())
    }
}

/// What an operator should know of the contracts that the key deals with; that they are what their file says is checked.
fn log_terms(deployed: &Deployment) {
    let p = &deployed.parameters;
    tracing::info!(
        chain = deployed.chain_id,
        settlement = %deployed.settlement,
        numerics = deployed.numerics_version,
        clock_s = p.clock_s,
        min_response_s = p.min_response_s,
        claim_s = p.claim_s,
        window_min_s = p.window_min_s,
        window_max_s = p.window_max_s,
        bond_min_wei = %p.bond_min_wei,
        bond_max_wei = %p.bond_max_wei,
        burn_bps = p.burn_bps,
        challenger_bond_wei = %p.challenger_bond_wei,
        challenger_burn_bps = p.challenger_burn_bps,
        move_reimbursement_wei = %p.move_reimbursement_wei,
        moves_reimbursed = p.moves_reimbursed,
        "terms"
    );
}

/// A claim as the game sees it, with the model and the prompt of an own computation of it.
///
/// # Errors
/// A claim without output, which no contract accepts.
pub fn subject(claim: &Claim, own: &Player) -> Result<Subject, AgentError> {
    let prompt = own.run().prompt().len() as u32;
    let model = Arc::clone(own.run().model());
    Ok(Subject::new(model, prompt, claim.output.clone(), claim.trace_root.0)?)
}

/// The rules of the game of a database's deployment.
///
/// # Errors
/// A database that no agent has opened yet.
pub fn rules(store: &Store) -> Result<Rules, AgentError> {
    let arity: u32 = store.job(ARITY, B256::ZERO)?.unwrap_or_default();
    Rules::new(arity).ok_or(AgentError::Arity(arity))
}

/// The history of a dispute from the database.
///
/// # Errors
/// The database, and events that don't follow from each other.
pub fn history(
    store: &Store,
    dispute: B256,
    subject: &Subject,
    rules: Rules,
) -> Result<History, AgentError> {
    let mut history = History::open(dispute.0, subject);
    for logged in store.dispute_events(dispute)? {
        let Some(event) = logged.event.game() else { continue };
        let Some((event, state)) = player::from_abi(&event) else { continue };
        let followed = match state {
            Some(hash) => history.follow(subject, rules, event, &hash).map(|_| ()),
            None => history.resolve(subject, rules, event).map(|_| ()),
        };
        followed.map_err(|source| AgentError::History { dispute, source })?;
    }
    Ok(history)
}

/// Connects to a chain with the deployment of this file, or with the one of its default place.
///
/// # Errors
/// No node, no deployment, other contracts.
pub async fn connect(
    rpc: &str,
    signer: Option<alloy::signers::local::PrivateKeySigner>,
    deployment: Option<&Path>,
) -> Result<Chain, ChainError> {
    let chain = Chain::connect(rpc, signer, None).await?;
    let deployment = Deployment::load(chain.chain_id(), deployment)?;
    chain.with_deployment(deployment).await
}
