//! The loop of the watcher: look at the chain, do what every claim needs, again.

use crate::fsm::{self, Duty};
use crate::scanner::{self, Facts};
use crate::schedule::{self, Task};
use alloy::primitives::{Address, B256};
use refute_bisection::state::Party;
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use refute_engine::agent::{Agent, AgentError, Computed};
use refute_engine::cost::{Cost, Gauge};
use refute_engine::model::Model;
use refute_engine::store::{Verdict, VerdictKind};
use refute_engine::subject::Player;
use refute_engine::trace::{Ask, Run, RunError};
use refute_engine::worker::Worker;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    /// Claims of which somebody was told that their checks are expected to end too late.
    late: HashSet<B256>,
    /// How fast each model is checked.
    gauges: HashMap<B256, Gauge>,
}

impl Watchtower {
    /// A watcher over an agent.
    pub fn new(agent: Agent, policy: Policy) -> Self {
        let (alerted, late, gauges) = (HashSet::new(), HashSet::new(), HashMap::new());
        Self { agent, policy, alerted, late, gauges }
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

    fn model(&self, facts: &Facts) -> Result<&Arc<Model>, AgentError> {
        let id = facts.request.model_id;
        self.agent.model(id).ok_or(AgentError::Missing { what: "model", id })
    }

    /// The own run over a claim's tokens; a check ends at the first that the model doesn't yield.
    async fn rerun(&self, facts: &Facts, how: Replay) -> Result<Computed, AgentError> {
        let (model, request) = (Arc::clone(self.model(facts)?), facts.request.clone());
        let output = facts.claim.output.clone();
        let work = move |stop: Arc<AtomicBool>| replay(&model, request.ask(), &output, how, &stop);
        self.agent.compute(facts.claim.claim_id, work).await
    }

    fn cost(&self, facts: &Facts) -> Result<Cost, AgentError> {
        let (prompt, output) = (facts.request.prompt.len(), facts.claim.output.len());
        Ok(Cost::of(self.model(facts)?, prompt, output))
    }

    /// How fast the model of a claim is checked here; measured when it is first asked for.
    async fn gauge(&mut self, facts: &Facts) -> Result<&mut Gauge, AgentError> {
        let id = facts.request.model_id;
        if !self.gauges.contains_key(&id) {
            let model = Arc::clone(self.model(facts)?);
            let measured = tokio::task::spawn_blocking(move || Gauge::measure(&model)).await?;
            self.gauges.insert(id, measured.map_err(RunError::from)?);
        }
        self.gauges.get_mut(&id).ok_or(AgentError::Missing { what: "model", id })
    }

    /// How long the check of a claim is expected to take. Without a gauge it still has its place among the others.
    async fn expected_ms(&mut self, facts: &Facts, cost: &Cost) -> u64 {
        match self.gauge(facts).await {
            Ok(gauge) => gauge.milliseconds(cost),
            Err(error) => {
                tracing::warn!(%error, claim = %facts.claim.claim_id, "how long it takes is not known");
                0
            }
        }
    }

    /// Which of these claims are checked now, and says so of those that weren't yet.
    async fn schedule(&mut self, now_s: u64, open: &[&Facts]) -> Result<Vec<B256>, AgentError> {
        let started = self.agent.seats();
        let mut tasks = Vec::with_capacity(open.len());
        for facts in open {
            let (claim, cost) = (facts.claim.claim_id, self.cost(facts)?);
            tasks.push(Task {
                claim,
                window_end_s: facts.claim.window_end_s,
                expected_ms: self.expected_ms(facts, &cost).await,
                cost,
                started: started.contains(&claim),
            });
        }
        let plan = schedule::plan(now_s, &tasks);
        for slot in plan.iter().filter(|slot| slot.is_late) {
            let Task { claim, window_end_s, expected_ms, .. } = slot.task;
            if self.late.insert(claim) {
                let ready_ms = slot.ready_ms;
                tracing::warn!(%claim, window_end_s, expected_ms, ready_ms, "can't be checked in time");
            }
        }
        let now = &plan[..schedule::at_once(&plan)];
        for slot in now.iter().filter(|slot| !slot.task.started) {
            let Task { claim, window_end_s, expected_ms, cost, .. } = slot.task;
            let (products, bytes) = (cost.multiply_accumulates(), cost.bytes_read);
            tracing::info!(%claim, window_end_s, expected_ms, products, bytes, "checking");
        }
        Ok(now.iter().map(|slot| slot.task.claim).collect())
    }

    /// Runs the model again and writes down what came of it.
    async fn check(&mut self, facts: &Facts) -> Result<(), AgentError> {
        let (kind, reason) = match self.rerun(facts, Replay::UntilDifference).await? {
            Computed::NotYet => return Ok(()),
            Computed::Failed(RunError::Stopped) => return Ok(()),
            Computed::Failed(error @ RunError::Differs { .. }) => {
                (VerdictKind::Wrong, error.to_string())
            }
            Computed::Failed(error) => (VerdictKind::Undecidable, error.to_string()),
            Computed::Ready(player) => {
                let (cost, timing) = (self.cost(facts)?, player.run().timing);
                if let Some(gauge) = self.gauges.get_mut(&facts.request.model_id) {
                    gauge.learn(&cost, timing.spent());
                }
                judge(facts, &player)
            }
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
        match self.rerun(facts, Replay::Whole).await? {
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
        let duty = |facts: &Facts| fsm::duty(facts.standing, facts.verdict, facts.mine);
        let open: Vec<&Facts> = facts.iter().filter(|f| duty(f) == Duty::Check).collect();
        let checked = self.schedule(now_s, &open).await?;
        let mut needed = HashSet::new();
        for facts in &facts {
            let duty = duty(facts);
            if matches!(duty, Duty::Check | Duty::Challenge | Duty::Play) {
                needed.insert(facts.claim.claim_id);
            }
            if duty == Duty::Check && !checked.contains(&facts.claim.claim_id) {
                continue;
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

/// How far an own run goes.
#[derive(Clone, Copy, Debug)]
enum Replay {
    /// To the first token that the model doesn't yield: enough for a verdict.
    UntilDifference,
    /// To the end: a dispute needs every block.
    Whole,
}

/// All tokens are the model's own.
fn judge(facts: &Facts, own: &Player) -> (VerdictKind, String) {
    let root = B256::from(own.run().trace_root());
    if root != facts.claim.trace_root {
        let claimed = facts.claim.trace_root;
        return (VerdictKind::Wrong, format!("the trace root is {claimed}, should be {root}"));
    }
    (VerdictKind::Honest, String::new())
}

fn replay(
    model: &Arc<Model>,
    ask: Ask<'_>,
    output: &[u32],
    how: Replay,
    stop: &AtomicBool,
) -> Result<Player, RunError> {
    let mut go_on = |_, _| !stop.load(Ordering::Relaxed);
    Ok(Player::new(match how {
        Replay::UntilDifference => Run::check(model, ask, output, &mut go_on)?,
        Replay::Whole => Run::replay(model, ask, output, None, &mut go_on)?,
    }))
}
