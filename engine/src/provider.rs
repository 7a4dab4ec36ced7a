//! The provider: accepts requests for its models, answers and claims, defends its claims, collects its fees.

use crate::agent::{Agent, AgentError, Computed};
use crate::fault::{FaultError, FaultSpec};
use crate::model::Model;
use crate::store::{Claim, Request, Role, Run as Record};
use crate::subject::Player;
use crate::trace::{self, Ask, Run, RunError};
use crate::worker::Worker;
use alloy::primitives::{Address, B256, Bytes, U256};
use refute_bisection::state::Party;
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Seconds before a request's deadline in which it isn't accepted any more: the transaction may come too late.
const ACCEPT_MARGIN_S: u64 = 5;

/// How a provider behaves.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who gets the money; the key's own address unless told otherwise.
    pub payee: Option<Address>,
    /// Smallest fee, wei.
    pub min_fee: U256,
    /// Requests accepted or claimed and not settled, at most.
    pub active_max: u32,
    /// Requests accepted ever, at most.
    pub requests_max: Option<u32>,
    /// What to falsify, in drills.
    pub fault: Option<FaultSpec>,
}

/// A provider at work.
#[derive(Debug)]
pub struct Provider {
    agent: Agent,
    policy: Policy,
    /// Requests that turned out not to be answerable here; forgotten at a restart.
    refused: HashSet<B256>,
}

/// Why a provider ends.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Something that doesn't pass.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// A drill that can't be done.
    #[error("the fault can't be made")]
    Fault(#[from] FaultError),
}

impl Provider {
    /// A provider over an agent.
    pub fn new(agent: Agent, policy: Policy) -> Self {
        Self { agent, policy, refused: HashSet::new() }
    }

    fn payee(&self) -> Address {
        self.policy.payee.unwrap_or_else(|| self.agent.address())
    }

    /// Plays the disputes against its claims.
    async fn defend(&self) -> Result<(), ProviderError> {
        let agent = &self.agent;
        for dispute in agent.store.live_disputes(Role::Defender, agent.address())? {
            let claim = agent.store.claim(dispute.claim_id).map_err(AgentError::from)?;
            let Some(claim) = claim else { continue };
            let Some(player) = self.rerun(&claim).await? else { continue };
            let decide = self.policy.fault.is_none();
            let played = agent.play(Party::Defender, &dispute, &claim, &player, decide).await;
            if let Err(error) = played {
                // One dispute's trouble must not keep the others waiting.
                tracing::warn!(%error, dispute = %dispute.dispute, "no move");
            }
        }
        Ok(())
    }

    /// The own computation behind a claim, once more if need be.
    async fn rerun(&self, claim: &Claim) -> Result<Option<Arc<Player>>, ProviderError> {
        let request = self.agent.request(claim.request_id)?;
        let Some(model) = self.agent.model(request.model_id) else { return Ok(None) };
        let record = self.agent.store.run(claim.request_id).map_err(AgentError::from)?;
        let fault = record.and_then(|r| r.fault);
        let (model, output) = (Arc::clone(model), claim.output.clone());
        let work = move |stop: Arc<AtomicBool>| {
            let fault: Option<FaultSpec> = fault.map(|f| f.parse()).transpose()?;
            replay(&model, request.ask(), &output, fault.as_ref(), &stop)
        };
        match self.agent.compute(claim.request_id, work).await? {
            Computed::Ready(player) => Ok(Some(player)),
            Computed::NotYet => Ok(None),
            Computed::Failed(error) => Err(AgentError::from(error).into()),
        }
    }

    /// Answers accepted requests.
    async fn claim(&mut self) -> Result<(), ProviderError> {
        for request in self.agent.store.accepted_requests(self.agent.address())? {
            let Some(player) = self.answer(&request).await? else { continue };
            let run = player.run();
            let record = Record {
                request_id: request.request_id,
                model_id: request.model_id,
                output: run.output().to_vec(),
                trace_root: run.trace_root().into(),
                fault: self.policy.fault.as_ref().map(ToString::to_string),
                created_at_s: request.accepted_at_s.unwrap_or_default(),
            };
            self.agent.store.put_run(&record).map_err(AgentError::from)?;
            let call = Settlement::claimCall {
                requestId: request.request_id,
                output: packed(run.output()),
                traceRoot: record.trace_root,
            };
            let name = format!("claim:{}:{}", request.request_id, self.round(&request)?);
            tracing::info!(request = %request.request_id, root = %record.trace_root, "claiming");
            self.agent.settle(&name, &call, U256::ZERO).await?;
        }
        Ok(())
    }

    /// The run of a request: from the answer written down, or a new one.
    async fn answer(&self, request: &Request) -> Result<Option<Arc<Player>>, ProviderError> {
        let Some(model) = self.agent.model(request.model_id) else { return Ok(None) };
        let (model, request) = (Arc::clone(model), request.clone());
        let request_id = request.request_id;
        let record = self.agent.store.run(request.request_id).map_err(AgentError::from)?;
        let fault = self.policy.fault.clone();
        // An answer with another fault, or with one that is gone, is none: its tokens may be wrong.
        let record = record.filter(|r| r.fault == fault.as_ref().map(ToString::to_string));
        let work = move |stop: Arc<AtomicBool>| match record {
            Some(record) => replay(&model, request.ask(), &record.output, fault.as_ref(), &stop),
            None => generate(&model, &request, fault.as_ref(), &stop),
        };
        match self.agent.compute(request_id, work).await? {
            Computed::Ready(player) => Ok(Some(player)),
            Computed::NotYet => Ok(None),
            Computed::Failed(RunError::Fault(error)) => Err(error.into()),
            Computed::Failed(error) => Err(AgentError::from(error).into()),
        }
    }

    /// Finalizes its claims whose window has ended.
    async fn finalize(&self, now_s: u64) -> Result<(), ProviderError> {
        for claim in self.agent.store.finalizable_claims(now_s)? {
            if claim.provider == self.agent.address() {
                let name = format!("finalize:{}", claim.claim_id);
                let call = Settlement::finalizeCall { claimId: claim.claim_id };
                self.agent.settle(&name, &call, U256::ZERO).await?;
            }
        }
        Ok(())
    }

    /// Gets the rest of its bond back where it missed its time, and frees requests that others missed and it can serve.
    async fn release(&self, now_s: u64) -> Result<(), ProviderError> {
        for request in self.agent.store.missed_requests(now_s)? {
            let own = request.provider == Some(self.agent.address());
            let wanted = self.agent.model(request.model_id).is_some()
                && request.fee_wei >= self.policy.min_fee
                && self.has_room()?;
            if own || wanted {
                let round = self.round(&request)?;
                let name = format!("release:{}:{round}", request.request_id);
                let call = Settlement::releaseCall { requestId: request.request_id };
                self.agent.settle(&name, &call, U256::ZERO).await?;
            }
        }
        Ok(())
    }

    /// Accepts what it has room for.
    async fn accept(&mut self, now_s: u64) -> Result<(), ProviderError> {
        let agent = &self.agent;
        let open =
            agent.store.open_requests(&agent.model_ids(), now_s.saturating_add(ACCEPT_MARGIN_S))?;
        for request in open {
            let id = request.request_id;
            if self.refused.contains(&id) || request.fee_wei < self.policy.min_fee {
                continue;
            }
            let round = self.round(&request)?;
            let known: Option<u32> =
                self.agent.store.job("accept", id).map_err(AgentError::from)?;
            if known.is_none_or(|r| r < round) && !self.has_room()? {
                return Ok(());
            }
            if !self.is_answerable(&request).await? {
                continue;
            }
            self.agent.store.put_job("accept", id, &round).map_err(AgentError::from)?;
            let call = Settlement::acceptCall { requestId: id, payee: self.payee() };
            let bond = self.agent.chain.deployment().map_err(AgentError::from)?;
            let bond = bond.parameters.provider_bond_wei;
            tracing::info!(request = %id, fee_wei = %request.fee_wei, "accepting");
            self.agent.settle(&format!("accept:{id}:{round}"), &call, bond).await?;
        }
        Ok(())
    }

    /// Whether this request can be answered here. A drill's fault is tried before any money is at stake.
    async fn is_answerable(&mut self, request: &Request) -> Result<bool, ProviderError> {
        let Some(model) = self.agent.model(request.model_id) else { return Ok(false) };
        if let Err(error) = trace::check(model, request.ask(), request.max_output) {
            tracing::warn!(request = %request.request_id, %error, "not answerable");
            self.refused.insert(request.request_id);
            return Ok(false);
        }
        if self.policy.fault.is_none() {
            return Ok(true);
        }
        Ok(self.answer(request).await?.is_some())
    }

    fn has_room(&self) -> Result<bool, ProviderError> {
        let (store, me) = (&self.agent.store, self.agent.address());
        let active = store.accepted_requests(me)?.len() + store.pending_claims(Some(me))?.len();
        let sent = store.pending_transactions().map_err(AgentError::from)?;
        let sent = sent.iter().filter(|tx| tx.key.starts_with("accept:")).count();
        let accepted: Vec<(B256, u32)> = store.jobs("accept").map_err(AgentError::from)?;
        let under = |max: u32, count: usize| count < max as usize;
        Ok(under(self.policy.active_max, active + sent)
            && self.policy.requests_max.is_none_or(|max| under(max, accepted.len())))
    }

    /// How often a request was accepted so far: the same intention in another round is another transaction.
    fn round(&self, request: &Request) -> Result<u32, ProviderError> {
        let events = self.agent.store.request_events(request.request_id)?;
        let again = |e: &&crate::chain::Logged| matches!(e.event.name(), "Rejected" | "Released");
        Ok(events.iter().filter(again).count() as u32)
    }

    /// Frees the runs of claims that are settled.
    fn forget_settled(&self) -> Result<(), ProviderError> {
        let (store, me) = (&self.agent.store, self.agent.address());
        let pending: HashSet<B256> = store
            .pending_claims(Some(me))?
            .into_iter()
            .map(|c| c.request_id)
            .chain(store.accepted_requests(me)?.into_iter().map(|r| r.request_id))
            .collect();
        for id in self.agent.seats() {
            let request = store.request(id)?;
            let open = request.is_some_and(|r| r.claim_id.is_none());
            if !open && !pending.contains(&id) {
                self.agent.forget(id);
            }
        }
        Ok(())
    }
}

impl Worker for Provider {
    type Error = ProviderError;

    fn agent(&self) -> &Agent {
        &self.agent
    }

    /// One look at the chain, and everything that is to be done. What is urgent comes first.
    async fn tick(&mut self) -> Result<(), ProviderError> {
        self.agent.sync().await?;
        // The next block's time: a chain that makes blocks only for transactions stands still otherwise.
        let now_s = self.agent.chain.now_s().await.map_err(AgentError::from)?;
        self.agent.register_models().await?;
        self.defend().await?;
        self.claim().await?;
        self.finalize(now_s).await?;
        self.release(now_s).await?;
        self.accept(now_s).await?;
        self.forget_settled()?;
        self.agent.withdraw(self.payee()).await?;
        Ok(())
    }

    fn is_passing(error: &ProviderError) -> bool {
        match error {
            ProviderError::Agent(error) => error.is_passing(),
            ProviderError::Fault(_) => false,
        }
    }
}

impl From<crate::store::StoreError> for ProviderError {
    fn from(error: crate::store::StoreError) -> Self {
        AgentError::from(error).into()
    }
}

/// Tokens as calldata.
pub fn packed(tokens: &[u32]) -> Bytes {
    tokens.iter().flat_map(|t| t.to_le_bytes()).collect::<Vec<u8>>().into()
}

fn generate(
    model: &Arc<Model>,
    request: &Request,
    fault: Option<&FaultSpec>,
    stop: &AtomicBool,
) -> Result<Player, RunError> {
    let mut go_on = |_, _| !stop.load(Ordering::Relaxed);
    let run = Run::generate(model, request.ask(), request.max_output, fault, &mut go_on)?;
    if let Some(fault) = fault {
        let honest = Run::replay(model, request.ask(), run.output(), None, &mut go_on)?;
        if honest.trace_root() == run.trace_root() && honest.samples() == run.output() {
            return Err(FaultError::NoEffect(fault.to_string()).into());
        }
    }
    Ok(Player::new(run))
}

fn replay(
    model: &Arc<Model>,
    ask: Ask<'_>,
    output: &[u32],
    fault: Option<&FaultSpec>,
    stop: &AtomicBool,
) -> Result<Player, RunError> {
    let fault = match fault {
        Some(spec) => Some(crate::fault::Fault::resolve(spec, model, ask.prompt.len() as u32)?),
        None => None,
    };
    let mut go_on = |_, _| !stop.load(Ordering::Relaxed);
    Ok(Player::new(Run::replay(model, ask, output, fault, &mut go_on)?))
}
