//! Follows the chain and tells, event by event, what happens.

use crate::report::Fraud;
use alloy::primitives::{B256, U256};
use refute_bisection::history::History;
use refute_bisection::rules::Rules;
use refute_bisection::state::{Phase, State};
use refute_engine::chain::{Chain, Event, Logged, TxCosts};
use refute_engine::model::Model;
use refute_engine::player;
use refute_engine::request::answer_text;
use refute_engine::subject::Subject;
use refute_engine::ui::{Style, paint};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What has happened so far.
pub(crate) struct Story {
    chain: Chain,
    model: Arc<Model>,
    events: Vec<Logged>,
    next_block: u64,
    dispute: Option<(B256, Subject, History)>,
}

/// What a dispute cost.
pub(crate) struct DisputeCosts {
    pub(crate) rounds: u64,
    pub(crate) transactions: u64,
    pub(crate) gas: u64,
    pub(crate) calldata: u64,
}

/// Starts a chapter.
pub(crate) fn chapter(title: &str) {
    println!("\n{}", paint(Style::Bold, title));
}

/// Tells one thing.
pub(crate) fn line(text: &str) {
    println!("  {text}");
}

/// Tells what somebody said.
pub(crate) fn said(who: &str, text: &str) {
    println!("  {who}: {}", paint(Style::Cyan, &format!("“{}”", text.trim())));
}

/// Tells how the dispute ended.
pub(crate) fn verdict(fraud: &Fraud) {
    let place = format!("block {}, step {}, element {}", fraud.block, fraud.step, fraud.element);
    line(&paint(Style::Red, &format!("convicted at {place}")));
    line(&format!(
        "the provider claimed {}, the contract computed {}",
        fraud.claimed, fraud.computed
    ));
    line(&format!(
        "{} rounds, {} transactions, {} gas ({} in the step), {} bytes of calldata",
        fraud.rounds, fraud.transactions, fraud.gas_total, fraud.step_gas, fraud.calldata_bytes
    ));
    line(&format!(
        "burned {} wei, rewarded {} wei, and {} wei for the watcher's moves",
        fraud.burned_wei, fraud.reward_wei, fraud.reimbursed_wei
    ));
}

impl Story {
    pub(crate) fn new(chain: Chain, model: Arc<Model>) -> Self {
        Self { chain, model, events: Vec::new(), next_block: 0, dispute: None }
    }

    pub(crate) fn model_id(&self) -> B256 {
        self.model.id
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Logged> {
        self.events.iter()
    }

    /// Reads what is new, and tells it.
    pub(crate) async fn follow(&mut self) -> anyhow::Result<()> {
        let head = self.chain.head().await?.number;
        if self.next_block > head {
            return Ok(());
        }
        let events = self.chain.events(self.next_block, head).await?;
        self.next_block = head + 1;
        for logged in events {
            self.tell(&logged.event)?;
            self.events.push(logged);
        }
        Ok(())
    }

    /// The transaction of the last event of this name about this request.
    pub(crate) fn seen(&self, request: B256, name: &str) -> Option<B256> {
        let about = |event: &Event| match event {
            Event::Claimed(e) => e.requestId == request,
            Event::Rejected(e) => e.requestId == request,
            Event::Finalized(e) => e.requestId == request,
            _ => false,
        };
        let found = self.events.iter().rev().find(|e| e.event.name() == name && about(&e.event));
        found.map(|e| e.tx_hash)
    }

    /// The dispute of this story.
    pub(crate) fn dispute(&self) -> Option<B256> {
        self.dispute.as_ref().map(|(id, ..)| *id)
    }

    /// What the conviction burned.
    pub(crate) fn burned(&self) -> Option<U256> {
        self.events.iter().find_map(|e| match &e.event {
            Event::Rejected(r) => Some(r.burned),
            _ => None,
        })
    }

    /// What a transaction cost.
    pub(crate) async fn costs(&self, tx: B256) -> anyhow::Result<TxCosts> {
        let costs = self.chain.tx_costs(tx).await?;
        costs.ok_or_else(|| anyhow::anyhow!("the chain doesn't know transaction {tx}"))
    }

    /// What all transactions of a dispute cost, from the challenge to the step.
    pub(crate) async fn dispute_costs(&self, dispute: B256) -> anyhow::Result<DisputeCosts> {
        let events: Vec<_> =
            self.events.iter().filter(|e| e.event.dispute() == Some(dispute)).collect();
        let game = |name: &str| name.ends_with("Chosen");
        let rounds = events.iter().filter(|e| game(e.event.name())).count() as u64;
        let played = |e: &&&Logged| e.event.moved().is_some() || is_end(&e.event);
        let hashes: BTreeSet<B256> = events.iter().filter(played).map(|e| e.tx_hash).collect();
        let transactions = hashes.len() as u64;
        let mut costs = DisputeCosts { rounds, transactions, gas: 0, calldata: 0 };
        for hash in hashes {
            let tx = self.costs(hash).await?;
            costs.gas += tx.gas_used;
            costs.calldata += tx.calldata_bytes;
        }
        Ok(costs)
    }

    fn tell(&mut self, event: &Event) -> anyhow::Result<()> {
        match event {
            Event::Accepted(e) => line(&format!("accepted by {}, with a bond", e.provider)),
            Event::Claimed(e) => {
                let tokens = tokens(&e.output);
                said(
                    &format!("claimed, {} tokens", tokens.len()),
                    &answer_text(&self.model, &tokens)?,
                );
                line(&format!("trace root {}", e.traceRoot));
            }
            Event::DisputeOpened(e) => {
                line(&paint(Style::Yellow, &format!("disputed by {}", e.challenger)));
                self.open(e.dispute, e.claimId)?;
            }
            Event::Finalized(e) => {
                line(&paint(Style::Green, &format!("claim {} is final", short(e.claimId))));
            }
            Event::Rejected(e) => {
                line(&paint(Style::Red, &format!("claim {} is rejected", short(e.claimId))));
            }
            Event::Withdrawn(e) => line(&format!("{} wei withdrawn by {}", e.amount, e.payee)),
            event => self.tell_move(event)?,
        }
        Ok(())
    }

    /// Starts to follow a dispute with the twin of the contract's game.
    fn open(&mut self, dispute: B256, claim: B256) -> anyhow::Result<()> {
        let claimed = self.events.iter().find_map(|e| match &e.event {
            Event::Claimed(c) if c.claimId == claim => Some(c.clone()),
            _ => None,
        });
        let claimed = claimed.ok_or_else(|| anyhow::anyhow!("a dispute without a claim"))?;
        let prompts: HashMap<B256, usize> = self
            .events
            .iter()
            .filter_map(|e| match &e.event {
                Event::Requested(r) => Some((r.requestId, r.params.prompt.len() / 4)),
                _ => None,
            })
            .collect();
        let prompt = prompts.get(&claimed.requestId).copied().unwrap_or_default() as u32;
        let output = tokens(&claimed.output);
        let model = Arc::clone(&self.model);
        let subject = Subject::new(model, prompt, output, claimed.traceRoot.0)?;
        let history = History::open(dispute.0, &subject);
        self.dispute = Some((dispute, subject, history));
        Ok(())
    }

    fn tell_move(&mut self, event: &Event) -> anyhow::Result<()> {
        let Some((_, subject, history)) = &mut self.dispute else { return Ok(()) };
        let Some((event, hash)) = event.game().as_ref().and_then(player::from_abi) else {
            return Ok(());
        };
        let arity = self.chain.deployment()?.parameters.arity_bits;
        let rules = Rules::new(arity).ok_or_else(|| anyhow::anyhow!("no such arity"))?;
        let shown = event.revealed().len();
        let name = event.name();
        let state = match hash {
            Some(hash) => *history.follow(subject, rules, event, &hash)?,
            None => *history.resolve(subject, rules, event)?,
        };
        if name.ends_with("Chosen") {
            line(&format!("    the watcher picks {}", self.place(&state)));
        } else if shown > 0 {
            let what = if name == "FoldRevealed" { "accumulators" } else { "hashes" };
            line(&paint(Style::Dim, &format!("  the provider reveals {shown} {what}")));
        } else if name == "LeafRevealed" {
            line(&paint(Style::Dim, "  the provider reveals the leaf's bytes"));
        }
        Ok(())
    }

    /// What is left in dispute, in words.
    fn place(&self, s: &State) -> String {
        let range = |one: &str, many: &str| {
            let first = u64::from(s.index.0) << s.level.0;
            match s.level.0 {
                0 => format!("{one} {first}"),
                level => format!("{many} {first} to {}", first + (1 << level) - 1),
            }
        };
        let steps = &self.model.program.steps;
        let step = || steps.get(s.step.0 as usize).map_or("?", |step| step.name.as_str());
        match s.phase {
            Phase::BlocksReveal | Phase::Expand => range("block", "blocks"),
            Phase::StepsReveal => range("step", "steps"),
            Phase::LeavesReveal | Phase::LeafReveal if s.element.0 == 0 && s.step.0 > 0 => {
                format!("{}, {}", step(), range("leaf", "leaves"))
            }
            Phase::FoldReveal => format!("{}, element {}", step(), s.element),
            Phase::Step if s.hi > s.lo + 1 => format!("the finalizer of element {}", s.element),
            Phase::Step => format!("{}, element {}", step(), s.element),
            _ => range("leaf", "leaves"),
        }
    }
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::DisputeOpened(_) | Event::DisputeResolved(_))
}

fn tokens(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}

fn short(id: B256) -> String {
    format!("{}…", &id.to_string()[..10])
}
