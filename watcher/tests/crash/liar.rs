//! Somebody who disputes honest claims, and plays as well as one can from a wrong computation.

use crate::world::{Role, World};
use alloy::primitives::B256;
use refute_bisection::state::Party;
use refute_contracts::bindings::IInferenceSettlement as Settlement;
use refute_engine::agent::Agent;
use refute_engine::fault::{Fault, FaultSpec};
use refute_engine::model::Model;
use refute_engine::store;
use refute_engine::subject::Player;
use refute_engine::trace::Run;
use std::path::Path;
use std::sync::Arc;

pub(crate) struct Liar<'w> {
    world: &'w World,
    agent: Agent,
    own: Arc<Player>,
    claim: B256,
}

impl<'w> Liar<'w> {
    /// Challenges the claim, which must be on chain; its own computation has this fault.
    pub(crate) fn challenge(world: &'w World, claim: B256, fault: &str) -> Self {
        let model = Model::open(Path::new(&world.model), &|_, _| {}).expect("a model");
        let (db, deployment) = (world.database("liar"), world.deployment());
        let key = world.key(Role::Liar);
        let agent = Agent::open(&world.rpc, key, Some(&deployment), Path::new(&db), vec![model]);
        let agent = world.runtime.block_on(agent).expect("an agent");
        world.runtime.block_on(agent.sync()).expect("events");
        let claimed = agent.store.claim(claim).expect("a store").expect("the claim is on chain");
        let own = wrong_run(&agent, &claimed, fault);
        let this = Self { world, agent, own: Arc::new(Player::new(own)), claim };
        this.send_challenge();
        this
    }

    fn send_challenge(&self) {
        let call = Settlement::challengeCall { claimId: self.claim, payee: self.agent.address() };
        let bond = self.world.parameters().challenger_bond_wei;
        let sent = self.agent.settle("challenge", &call, bond);
        self.world.runtime.block_on(sent).expect("a challenge");
    }

    /// One look at the chain, and one move.
    pub(crate) fn tick(&self) {
        self.world.runtime.block_on(self.agent.sync()).expect("events");
        let me = self.agent.address();
        let live = self.agent.store.live_disputes(store::Role::Challenger, me).expect("a store");
        let claim = self.agent.store.claim(self.claim).expect("a store").expect("a claim");
        for dispute in live {
            // The step would only show that it lies: it leaves that to the others.
            let play = self.agent.play(Party::Challenger, &dispute, &claim, &self.own, false);
            self.world.runtime.block_on(play).expect("a move, or none");
        }
    }
}

fn wrong_run(agent: &Agent, claim: &store::Claim, fault: &str) -> Run {
    let request = agent.request(claim.request_id).expect("the request of a claim");
    let model = agent.model(request.model_id).expect("the model of the request");
    let spec: FaultSpec = fault.parse().expect("a fault");
    let fault = Fault::resolve(&spec, model, request.prompt.len() as u32).expect("a place");
    let run = Run::replay(model, request.ask(), &claim.output, Some(fault), &mut |_, _| true);
    let run = run.expect("a run");
    let differs = claim.trace_root != run.trace_root() || run.samples() != claim.output;
    assert!(differs, "{spec} has no effect: there is nothing to dispute");
    run
}
