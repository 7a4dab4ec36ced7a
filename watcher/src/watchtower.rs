//! The loop of the watcher: look at the chain, do what every claim needs, again.

use crate::fsm::{self, Duty};
use crate::scanner::{self, Facts};
use alloy::primitives::{Address, B256};
use refute_bisection::state::Party;
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use refute_engine::agent::{Agent, AgentError, Computed};
use refute_engine::model::Model;
use refute_engine::store::{Verdict, VerdictKind};
use refute_engine::subject::Player;
use refute_engine::trace::{Run, RunError};
use refute_engine::worker::Worker;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Claims that are checked at the same time: each takes all threads, so more would only take memory.
const CHECKS_MAX: usize = 1;

/// How a watcher behaves.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who gets the money; the key's own address unless told otherwise.
    pub payee: Option<Address>,
    /// Only look and log: never send a transaction.
    pub monitor_only: bool,
}

/// A watcher at work.
#[derive(Debug)]
pub struct Watchtower {
    agent: Agent,
    policy: Policy,
    /// Claims about which somebody was told.
    alerted: HashSet<B256>,
}

impl Watchtower {
    /// A watcher over an agent.
    pub fn new(agent: Agent, policy: Policy) -> Self {
        Self { agent, policy, alerted: HashSet::new() }
    }

    fn payee(&self) -> Address {
        self.policy.payee.unwrap_or_else(|| self.agent.address())
    }

    async fn act(&mut self, duty: Duty, facts: &Facts) -> Result<(), AgentError> {
        match duty {
            Duty::Check => self.check(facts).await,
            Duty::Challenge if self.policy.monitor_only => {
                self.alert(facts, "the claim is wrong (only monitoring)");
                Ok(())
            }
            Duty::Challenge => self.challenge(facts).await,
            Duty::Play => self.play(facts).await,
            Duty::Collect => self.collect(facts).await,
            Duty::Alert => {
                self.alert(facts, "the claim is wrong, and this watcher can't dispute it any more");
                Ok(())
            }
            Duty::Rest => Ok(()),
        }
    }

    /// Says something about a claim, once.
    fn alert(&mut self, facts: &Facts, what: &str) {
        let claim = facts.claim.claim_id;
        if self.alerted.insert(claim) {
            tracing::error!(%claim, standing = ?facts.standing, mine = ?facts.mine, "{what}");
        }
    }

    /// The own run over a claim's tokens.
    async fn rerun(&self, facts: &Facts) -> Result<Computed, AgentError> {
        let id = facts.request.model_id;
        let model = self.agent.model(id).ok_or(AgentError::Missing { what: "model", id })?;
        let (model, prompt) = (Arc::clone(model), facts.request.prompt.clone());
        let output = facts.claim.output.clone();
        let work = move |stop: Arc<AtomicBool>| replay(&model, &prompt, &output, &stop);
        self.agent.compute(facts.claim.claim_id, work).await
    }

    /// Runs the model again and writes down what came of it.
    async fn check(&mut self, facts: &Facts) -> Result<(), AgentError> {
        let (kind, reason) = if facts.request.temperature == 0 {
            match self.rerun(facts).await? {
                Computed::NotYet => return Ok(()),
                Computed::Failed(RunError::Stopped) => return Ok(()),
                Computed::Failed(error) => (VerdictKind::Undecidable, error.to_string()),
                Computed::Ready(player) => judge(facts, &player),
            }
        } else {
            (VerdictKind::Undecidable, "it has a temperature".to_owned())
        };
        let claim = facts.claim.claim_id;
        match kind {
            VerdictKind::Honest => tracing::info!(%claim, "honest"),
            VerdictKind::Wrong => tracing::warn!(%claim, reason, "wrong"),
            VerdictKind::Undecidable => tracing::error!(%claim, reason, "undecidable"),
        }
        let created_at_s = facts.claim.claimed_at_s;
        let verdict = Verdict { claim_id: claim, kind, reason, created_at_s };
        self.agent.store.put_verdict(&verdict)?;
        if kind == VerdictKind::Wrong {
            let facts = Facts { verdict: Some(kind), ..facts.clone() };
            let duty = fsm::duty(facts.standing, facts.verdict, facts.mine);
            // Not a loop: a claim with a verdict is never checked again.
            return Box::pin(self.act(duty, &facts)).await;
        }
        Ok(())
    }

    async fn challenge(&mut self, facts: &Facts) -> Result<(), AgentError> {
        let claim_id = facts.claim.claim_id;
        let bond = self.agent.chain.deployment()?.parameters.challenger_bond_wei;
        if self.agent.chain.balance(self.agent.address()).await? <= bond {
            self.alert(facts, "the key has no coins for a challenger's bond: fund it now");
            return Ok(());
        }
        tracing::info!(claim = %claim_id, "challenging");
        let call = Settlement::challengeCall { claimId: claim_id, payee: self.payee() };
        self.agent.settle(&format!("challenge:{claim_id}"), &call, bond).await?;
        Ok(())
    }

    async fn play(&self, facts: &Facts) -> Result<(), AgentError> {
        let Some(dispute) = &facts.dispute else { return Ok(()) };
        if self.policy.monitor_only {
            return Ok(());
        }
        match self.rerun(facts).await? {
            Computed::Ready(own) => {
                self.agent.play(Party::Challenger, dispute, &facts.claim, &own, true).await
            }
            Computed::NotYet => Ok(()),
            Computed::Failed(error) => Err(error.into()),
        }
    }

    /// Fetches reward, reimbursements and bond of a claim that was rejected.
    async fn collect(&self, facts: &Facts) -> Result<(), AgentError> {
        match &facts.dispute {
            Some(dispute) if !self.policy.monitor_only => self.agent.collect(dispute).await,
            _ => Ok(()),
        }
    }
}

impl Worker for Watchtower {
    type Error = AgentError;

    fn agent(&self) -> &Agent {
        &self.agent
    }

    /// One claim's trouble is logged and doesn't keep the others waiting.
    async fn tick(&mut self) -> Result<(), AgentError> {
        self.agent.sync().await?;
        let now_s = self.agent.chain.now_s().await?;
        let (models, me) = (self.agent.model_ids(), self.agent.address());
        let facts = scanner::scan(&self.agent.store, me, &models, now_s)?;
        let mut checking = 0;
        let mut needed = HashSet::new();
        for facts in &facts {
            let duty = fsm::duty(facts.standing, facts.verdict, facts.mine);
            if matches!(duty, Duty::Check | Duty::Challenge | Duty::Play) {
                needed.insert(facts.claim.claim_id);
            }
            if duty == Duty::Check {
                checking += 1;
                if checking > CHECKS_MAX {
                    continue;
                }
            }
            if let Err(error) = self.act(duty, facts).await {
                if !error.is_passing() {
                    return Err(error);
                }
                tracing::warn!(%error, claim = %facts.claim.claim_id, ?duty, "trying again");
            }
        }
        for id in self.agent.seats() {
            if !needed.contains(&id) {
                self.agent.forget(id);
            }
        }
        if !self.policy.monitor_only {
            self.agent.withdraw(self.payee()).await?;
        }
        Ok(())
    }

    fn is_passing(error: &AgentError) -> bool {
        error.is_passing()
    }
}

fn judge(facts: &Facts, own: &Player) -> (VerdictKind, String) {
    let run = own.run();
    let tokens = run.samples().iter().zip(&facts.claim.output).enumerate();
    if let Some((i, (own, posted))) = tokens.into_iter().find(|(_, (own, posted))| own != posted) {
        return (VerdictKind::Wrong, format!("output token {i} is {posted}, should be {own}"));
    }
    let root = B256::from(run.trace_root());
    if root != facts.claim.trace_root {
        let claimed = facts.claim.trace_root;
        return (VerdictKind::Wrong, format!("the trace root is {claimed}, should be {root}"));
    }
    (VerdictKind::Honest, String::new())
}

fn replay(
    model: &Arc<Model>,
    prompt: &[u32],
    output: &[u32],
    stop: &AtomicBool,
) -> Result<Player, RunError> {
    let mut go_on = |_, _| !stop.load(Ordering::Relaxed);
    Ok(Player::new(Run::replay(model, prompt, output, None, &mut go_on)?))
}
