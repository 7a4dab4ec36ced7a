//! The provider: accepts requests for its models, answers and claims, defends its claims, collects its fees.

mod policy;
mod settle;

pub use policy::{Declined, Policy, Times, in_time};

use crate::agent::{Agent, AgentError, Computed};
use crate::cost::Gauge;
use crate::fault::{FaultError, FaultSpec};
use crate::model::Model;
use crate::store::{Claim, Request, Role, Run as Record};
use crate::subject::Player;
use crate::trace::{self, Ask, Run, RunError};
use crate::worker::Worker;
use alloy::primitives::{Address, B256, Bytes, U256};
use refute_bisection::state::Party;
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Seconds before a request's deadline in which it isn't accepted any more: the transaction may come too late.
const ACCEPT_MARGIN_S: u64 = 5;

/// A provider at work.
#[derive(Debug)]
pub struct Provider {
    agent: Agent,
    policy: Policy,
    /// How fast this machine is with each model. Nothing here decides anything but whether a request is worth the risk.
    gauges: Gauges,
    /// Requests that turned out not to be answerable here; forgotten at a restart.
    refused: HashSet<B256>,
    /// Why requests were left to others, to say so once.
    declined: HashMap<B256, Declined>,
}

/// Shared with the computations, which correct it.
type Gauges = Arc<Mutex<BTreeMap<B256, Gauge>>>;

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
        let (gauges, refused, declined) = Default::default();
        Self { agent, policy, gauges, refused, declined }
    }

    /// Measures how fast it is, which it has to know before it stakes anything on being in time.
    ///
    /// # Errors
    /// Models that can't be run here.
    pub async fn measure(&self) -> Result<(), ProviderError> {
        for id in self.agent.model_ids() {
            let Some(model) = self.agent.model(id).cloned() else { continue };
            let gauged = Arc::clone(&model);
            let measured = tokio::task::spawn_blocking(move || Gauge::measure(&gauged));
            let measured = measured.await.map_err(AgentError::from)?;
            let gauge = measured.map_err(|error| AgentError::from(RunError::from(error)))?;
            tracing::info!(
                model = %id,
                check_us = gauge.check(&model, 1, 128).as_micros(),
                answer_us = gauge.answer(&model, 1, 128).as_micros(),
                "time for 128 tokens"
            );
            self.gauges().insert(id, gauge);
        }
        Ok(())
    }

    fn gauges(&self) -> MutexGuard<'_, BTreeMap<B256, Gauge>> {
        // A panic elsewhere leaves at worst an older correction.
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time that an answer to a request is expected to take, and a check of it; none of models that aren't here.
    fn times(&self, request: &Request) -> Times {
        let model = self.agent.model(request.model_id);
        let (gauges, output) = (self.gauges(), request.max_output as usize);
        let Some((model, gauge)) = model.zip(gauges.get(&request.model_id)) else {
            return Times::default();
        };
        let prompt = request.prompt.len();
        let answer = gauge.answer(model, prompt, output);
        Times { answer, check: gauge.check(model, prompt, output) }
    }

    /// The time that what is accepted, or about to be, and not claimed yet will take.
    fn queued(&self) -> Result<Duration, ProviderError> {
        let store = &self.agent.store;
        let mut queue = store.accepted_requests(self.agent.address())?;
        for tx in store.pending_transactions()? {
            let id = tx.key.strip_prefix("accept:").and_then(|key| key.split(':').next());
            if let Some(id) = id.and_then(|id| id.parse().ok()) {
                queue.extend(store.request(id)?);
            }
        }
        queue.sort_by_key(|request| request.request_id);
        queue.dedup_by_key(|request| request.request_id);
        let times = queue.iter().map(|request| self.times(request).answer);
        Ok(times.fold(Duration::ZERO, Duration::saturating_add))
    }

    /// Whether it is worth the risk.
    async fn judge(&self, request: &Request) -> Result<Result<(), Declined>, ProviderError> {
        if let Err(declined) = self.policy.allows(request) {
            return Ok(Err(declined));
        }
        let chain = &self.agent.chain;
        let params = &chain.deployment().map_err(AgentError::from)?.parameters;
        let mut times = self.times(request);
        times.answer = times.answer.saturating_add(self.queued()?);
        if let Err(declined) = in_time(times, params) {
            return Ok(Err(declined));
        }
        let balance = chain.balance(self.agent.address()).await.map_err(AgentError::from)?;
        let bond = request.bond_wei;
        Ok(if balance <= bond { Err(Declined::Funds { balance, bond }) } else { Ok(()) })
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
        let gauges = Arc::clone(&self.gauges);
        let work = move |stop: Arc<AtomicBool>| match record {
            Some(record) => replay(&model, request.ask(), &record.output, fault.as_ref(), &stop),
            None => {
                let player = generate(&model, &request, fault.as_ref(), &stop)?;
                let (prompt, output) = (request.prompt.len(), player.run().output().len());
                let spent = player.run().timing.spent();
                let mut gauges = gauges.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(gauge) = gauges.get_mut(&model.id) {
                    gauge.learn_answer(&model, prompt, output, spent);
                }
                Ok(player)
            }
        };
        match self.agent.compute(request_id, work).await? {
            Computed::Ready(player) => Ok(Some(player)),
            Computed::NotYet => Ok(None),
            Computed::Failed(RunError::Fault(error)) => Err(error.into()),
            Computed::Failed(error) => Err(AgentError::from(error).into()),
        }
    }

    /// Accepts what it has room for.
    async fn accept(&mut self, now_s: u64) -> Result<(), ProviderError> {
        let agent = &self.agent;
        let open =
            agent.store.open_requests(&agent.model_ids(), now_s.saturating_add(ACCEPT_MARGIN_S))?;
        for request in open {
            let id = request.request_id;
            if self.refused.contains(&id) {
                continue;
            }
            let round = self.round(&request)?;
            let known: Option<u32> =
                self.agent.store.job("accept", id).map_err(AgentError::from)?;
            if known.is_none_or(|r| r < round) && !self.has_room()? {
                return Ok(());
            }
            // What was decided once is followed up.
            if known != Some(round)
                && let Err(declined) = self.judge(&request).await?
            {
                if self.declined.get(&id) != Some(&declined) {
                    tracing::warn!(request = %id, reason = %declined, "left to others");
                    self.declined.insert(id, declined);
                }
                continue;
            }
            if !self.is_answerable(&request).await? {
                continue;
            }
            self.agent.store.put_job("accept", id, &round).map_err(AgentError::from)?;
            let call = Settlement::acceptCall { requestId: id, payee: self.payee() };
            let bond = request.bond_wei;
            tracing::info!(request = %id, fee_wei = %request.fee_wei, bond_wei = %bond, "accepting");
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
        self.deliver().await?;
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
