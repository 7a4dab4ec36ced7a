//! The follower: what the store says is what the contracts say, whatever happens on the way.

use std::collections::BTreeMap;

use alloy::primitives::{B256, keccak256};
use alloy::providers::Provider;
use refute_contracts::bindings::{ClaimStatus, RequestStatus};
use refute_engine::chain::{ChainError, Event, Follower};
use refute_engine::store::{Role, Store};
use serde_json::{Value, json};

use crate::proxy::{Fault, Proxy};
use crate::world::{Node, World, contents, party, revealed, sync};

/// Compares everything that the store derived with the contracts' views.
pub(crate) async fn check(world: &World, store: &Store) {
    let settlement = world.provider.settlement().unwrap();
    let game = world.provider.game().unwrap();
    for claim in store.all_claims().unwrap() {
        let on_chain = settlement.claimOf(claim.claim_id).call().await.unwrap();
        assert_eq!(claim.request_id, on_chain.requestId);
        assert_eq!(claim.provider, on_chain.provider);
        assert_eq!(claim.trace_root, on_chain.traceRoot);
        assert_eq!(claim.output.len(), on_chain.outputLength as usize);
        assert_eq!(claim.claimed_at_s, on_chain.claimedAt);
        assert_eq!(claim.window_end_s, on_chain.windowEnd);
        assert_eq!(claim.status, on_chain.status);
        assert_eq!(claim.reward_dispute.is_some(), on_chain.rewarded);
        assert_eq!(claim.provider_payee, Some(on_chain.providerPayee));
        assert_eq!(claim.bond_wei, on_chain.bond);
        let request = store.request(claim.request_id).unwrap().unwrap();
        let on_chain = settlement.requestOf(claim.request_id).call().await.unwrap();
        assert_eq!(request.model_id, on_chain.modelId);
        assert_eq!(request.requester, on_chain.requester);
        assert_eq!(request.prompt.len(), on_chain.promptLength as usize);
        assert_eq!(request.fee_wei, on_chain.fee);
        assert_eq!(request.bond_wei, on_chain.bond);
        assert_eq!(request.window_s, on_chain.windowS);
        assert_eq!((request.seed, request.temperature), (on_chain.seed, on_chain.temperature));
        assert_eq!(request.callback.unwrap_or_default(), on_chain.callback);
        assert_eq!(request.callback_gas, on_chain.callbackGas);
        assert_eq!(request.delivered_at_s.is_some(), on_chain.delivered);
        assert_eq!(request.provider_payee.unwrap_or_default(), on_chain.providerPayee);
        assert_eq!(request.deadline_s, on_chain.deadline);
        assert_eq!(request.status, on_chain.status);
        assert_eq!(request.provider.unwrap_or_default(), on_chain.provider);
        assert_eq!(request.claim_by_s.unwrap_or_default(), on_chain.claimBy);
        assert_eq!(request.claim_id.unwrap_or_default(), on_chain.claimId);
    }
    for dispute in store.all_disputes().unwrap() {
        let on_chain = game.disputeOf(dispute.dispute).call().await.unwrap();
        assert_eq!(dispute.claim_id, on_chain.claimId);
        assert_eq!(dispute.challenger, on_chain.challenger);
        assert_eq!(dispute.defender, on_chain.defender);
        let bond = settlement.bondOf(dispute.dispute).call().await.unwrap();
        assert_eq!(dispute.payee, Some(bond.payee));
        assert_eq!(dispute.opened_at_s, on_chain.openedAt);
        assert_eq!(dispute.last_move_at_s, on_chain.lastMoveAt);
        assert_eq!(dispute.moves, on_chain.r#move);
        assert_eq!(dispute.state_hash, Some(on_chain.stateHash));
        assert_eq!(dispute.resolved_at_s.is_some(), on_chain.resolved);
        assert_eq!(dispute.challenger_won.unwrap_or(false), on_chain.challengerWon);
    }
}

#[tokio::test]
async fn the_store_says_what_the_contracts_say() {
    let world = World::new().await;
    let store = world.store("db", &world.provider);
    let mut seen = Vec::new();
    let mut step = async || {
        let report = sync(&world.provider, &store).await.unwrap();
        assert!(report.caught_up && report.rolled_back_to.is_none());
        assert_eq!(report.synced_to, Some(report.head.number));
        seen.extend(report.events.iter().map(|logged| logged.event.name()));
        check(&world, &store).await;
    };
    let me = world.provider.address().unwrap();
    let models = [world.model_id];
    step().await;
    let request_id = world.request(0).await;
    step().await;
    assert!(store.is_registered(world.model_id).unwrap());
    assert_eq!(store.open_requests(&models, 0).unwrap().len(), 1);
    assert_eq!(store.open_requests(&models, 1 << 40).unwrap().len(), 0);
    assert_eq!(store.open_requests(&[B256::ZERO], 0).unwrap().len(), 0);

    // Nobody claims: the request is free again, with the lost time added.
    world.accept(request_id).await;
    step().await;
    let accepted = store.accepted_requests(me).unwrap();
    assert_eq!(accepted.len(), 1);
    let claim_by_s = accepted[0].claim_by_s.unwrap();
    assert_eq!(store.missed_requests(claim_by_s).unwrap().len(), 0);
    assert_eq!(store.missed_requests(claim_by_s + 1).unwrap().len(), 1);
    world.pass_time(u64::from(world.deployment.parameters.claim_s) + 7).await;
    world.release(request_id).await;
    step().await;

    world.accept(request_id).await;
    let claim_id = world.claim(request_id).await;
    step().await;
    assert_eq!(store.pending_claims(Some(me)).unwrap().len(), 1);
    assert_eq!(store.pending_claims(Some(world.challenger.address().unwrap())).unwrap().len(), 0);
    let window_end_s = store.claim(claim_id).unwrap().unwrap().window_end_s;
    assert_eq!(store.finalizable_claims(window_end_s - 1).unwrap().len(), 0);
    assert_eq!(store.finalizable_claims(window_end_s).unwrap().len(), 1);

    let (dispute, state) = world.challenge(claim_id).await;
    step().await;
    assert_eq!(store.finalizable_claims(window_end_s).unwrap().len(), 0);
    let challenger = world.challenger.address().unwrap();
    assert_eq!(store.live_disputes(Role::Defender, me).unwrap().len(), 1);
    assert_eq!(store.live_disputes(Role::Challenger, me).unwrap().len(), 0);
    assert_eq!(store.live_disputes(Role::Challenger, challenger).unwrap().len(), 1);
    let state = world.reveal(&state).await;
    step().await;
    let known = store.dispute(dispute).unwrap().unwrap();
    assert_eq!(known.state_hash, Some(state.hash().into()));
    world.choose(&state, 1).await;
    step().await;
    world.timeout(dispute).await;
    step().await;
    assert_eq!(store.unrewarded_claims().unwrap().len(), 1);
    assert_eq!(store.refundable_disputes(challenger).unwrap().len(), 1);
    assert!(store.live_disputes(Role::Defender, me).unwrap().is_empty());
    world.settle_reward(claim_id).await;
    step().await;
    assert!(store.unrewarded_claims().unwrap().is_empty());
    let claim = store.claim(claim_id).unwrap().unwrap();
    let params = &world.deployment.parameters;
    assert_eq!(claim.convicted_by, Some(dispute));
    assert_eq!(claim.burned_wei, Some(params.burned(params.bond_min_wei)));
    // One move of the challenger's; what is left of the reserve is the reward's.
    let dispute = store.dispute(dispute).unwrap().unwrap();
    let reimbursed = params.move_reimbursement_wei;
    assert_eq!(dispute.reimbursed_wei, Some(reimbursed));
    assert_eq!(dispute.moves_reimbursed, 1);
    assert_eq!(claim.reward_wei, Some(params.pot(params.bond_min_wei) - reimbursed));
    let dispute = dispute.dispute;
    assert_eq!(store.dispute_transactions(dispute).unwrap().len(), 5);
    let moves = store.dispute_events(dispute).unwrap();
    let moves: Vec<_> = moves.iter().map(|logged| logged.event.name()).collect();
    let all =
        "Challenged DisputeOpened Revealed Chosen DisputeResolved Rewarded Reimbursed Rewarded";
    let mut sorted = moves.clone();
    sorted.sort_unstable();
    let mut expected: Vec<_> = all.split(' ').collect();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(moves[2..4], ["Revealed", "Chosen"]);

    // The reopened request is served honestly, and another one cancelled.
    world.accept(request_id).await;
    let claim_id = world.claim(request_id).await;
    world.finalize(claim_id).await;
    let cancelled = world.request(1).await;
    world.cancel(cancelled).await;
    step().await;
    assert_eq!(store.claim(claim_id).unwrap().unwrap().status, ClaimStatus::Final);
    assert_eq!(store.claims_of(request_id).unwrap().len(), 2);
    assert_eq!(store.request(cancelled).unwrap().unwrap().status, RequestStatus::Cancelled);
    let owed = world.provider.withdrawable(me).await.unwrap();
    let bond = params.bond_min_wei;
    let bonds = bond - params.missed(bond) + bond;
    assert_eq!(owed, bonds + store.request(request_id).unwrap().unwrap().fee_wei);
    for name in ["ModelRegistered", "Released", "Rejected", "Finalized", "Credited", "Burned"] {
        assert!(seen.contains(&name), "{name}");
    }
    assert_eq!(contents(&store), contents(&world.fresh().await));
}

#[tokio::test]
async fn a_follower_that_dies_anywhere_goes_on_where_it_was() {
    let world = World::new().await;
    world.convict(0).await;
    // Longer than one step, so that some of it is in the store when the follower dies.
    world.rpc("anvil_mine", (2100,)).await;
    world.convict(1).await;
    let full = contents(&world.fresh().await);
    let (mut deaths, mut halves) = (0, 0);
    for dies_at in 0..8 {
        let name = format!("db{dies_at}");
        let mut left = dies_at;
        let proxy = Proxy::start(&world.url, move |method, params| match method {
            "eth_getLogs" if span(params) > 700 => Fault::Error(-32000, "range is too large"),
            "eth_getLogs" if left == 0 => Fault::Lost,
            "eth_getLogs" => {
                left -= 1;
                Fault::None
            }
            _ => Fault::None,
        })
        .await;
        let chain = party(&proxy.url, 1, Some(world.deployment.clone())).await;
        let store = world.store(&name, &world.provider);
        deaths += usize::from(sync(&chain, &store).await.is_err());
        drop(store);
        let store = world.store(&name, &world.provider);
        halves += usize::from(store.cursor().unwrap().is_some() && contents(&store) != full);
        sync(&world.provider, &store).await.unwrap();
        assert_eq!(contents(&store), full);
    }
    assert!(deaths > 3 && halves > 0, "{deaths} deaths, {halves} of them halfway");
}

fn span(params: &Value) -> u64 {
    let number = |name: &str| {
        let text = params[0][name].as_str().unwrap().trim_start_matches("0x");
        u64::from_str_radix(text, 16).unwrap()
    };
    number("toBlock") - number("fromBlock") + 1
}

#[tokio::test]
async fn ranges_shrink_to_what_the_node_gives() {
    let world = World::new().await;
    world.convict(0).await;
    world.rpc("anvil_mine", (300,)).await;
    world.convict(1).await;
    let proxy = Proxy::start(&world.url, |method, params| match method {
        "eth_getLogs" if span(params) > 40 => {
            Fault::Error(-32005, "query returned more than 10000 results")
        }
        _ => Fault::None,
    })
    .await;
    let chain = party(&proxy.url, 1, Some(world.deployment.clone())).await;
    let head = chain.head().await.unwrap().number;
    let events = chain.events(0, head).await.unwrap();
    assert_eq!(events, world.provider.events(0, head).await.unwrap());
    assert!(events.len() > 20);
    let order: Vec<_> = events.iter().map(|e| (e.block, e.log_index)).collect();
    assert!(order.is_sorted());
}

#[tokio::test]
async fn logs_that_are_no_events_stop_nobody() {
    let world = World::new().await;
    let (_, _, dispute) = world.convict(0).await;
    let settlement = world.deployment.settlement;
    let game = world.deployment.game;
    let log = |address: &str, topics: Value, data: &str, block: Value, removed: bool| {
        json!({
            "address": address, "topics": topics, "data": data, "blockNumber": block,
            "blockHash": B256::repeat_byte(7), "transactionHash": B256::repeat_byte(8),
            "transactionIndex": "0x0", "logIndex": "0x63", "removed": removed,
        })
    };
    let unknown = json!([B256::repeat_byte(1)]);
    let revealed = json!([keccak256("Revealed(bytes32,uint32,bytes32,bytes32[])"), dispute]);
    let bad = json!([
        log(&settlement.to_string(), unknown.clone(), "0x", json!("0x3"), false),
        log(&settlement.to_string(), json!([]), "0x", json!("0x3"), false),
        log(&game.to_string(), revealed.clone(), "0x1234", json!("0x3"), false),
        log(&format!("0x{}", "55".repeat(20)), revealed, "0x", json!("0x3"), false),
        log(&settlement.to_string(), unknown.clone(), "0x", Value::Null, false),
        log(&settlement.to_string(), unknown, "0x", json!("0xffffff"), false),
    ]);
    let proxy = Proxy::start(&world.url, move |method, _| match method {
        "eth_getLogs" => Fault::Added(bad.clone()),
        _ => Fault::None,
    })
    .await;
    let chain = party(&proxy.url, 1, Some(world.deployment.clone())).await;
    let store = world.store("db", &world.provider);
    sync(&chain, &store).await.unwrap();
    assert_eq!(contents(&store), contents(&world.fresh().await));
}

#[tokio::test]
async fn a_reorganization_is_undone_and_redone() {
    let world = World::new().await;
    let store = world.store("db", &world.provider);
    let first = world.request(0).await;
    world.accept(first).await;
    let claim_id = world.claim(first).await;
    sync(&world.provider, &store).await.unwrap();
    let before = contents(&store);
    let fork = world.provider.head().await.unwrap();
    let mut snapshot = world.snapshot().await;

    // The chain gets shorter; then it gets another branch that is as long; then a longer one.
    let (dispute, state) = world.challenge(claim_id).await;
    let state = world.reveal(&state).await;
    world.choose(&state, 0).await;
    world.timeout(dispute).await;
    world.request(77).await;
    sync(&world.provider, &store).await.unwrap();
    assert_eq!(store.claim(claim_id).unwrap().unwrap().status, ClaimStatus::Rejected);
    world.revert(&snapshot).await;
    let report = sync(&world.provider, &store).await.unwrap();
    assert_eq!(report.rolled_back_to, Some(fork.number));
    assert_eq!(contents(&store), before);

    snapshot = world.snapshot().await;
    world.challenge(claim_id).await;
    sync(&world.provider, &store).await.unwrap();
    world.revert(&snapshot).await;
    world.pass_time(3).await;
    let report = sync(&world.provider, &store).await.unwrap();
    assert_eq!(report.rolled_back_to, Some(fork.number));
    assert_eq!(contents(&store), before);

    snapshot = world.snapshot().await;
    let (_, state) = world.challenge(claim_id).await;
    world.reveal(&state).await;
    sync(&world.provider, &store).await.unwrap();
    world.revert(&snapshot).await;
    world.finalize(claim_id).await;
    let second = world.request(1).await;
    world.accept(second).await;
    world.rpc("anvil_mine", (20,)).await;
    let report = sync(&world.provider, &store).await.unwrap();
    assert_eq!(report.rolled_back_to, Some(fork.number + 1));
    assert_eq!(contents(&store), contents(&world.fresh().await));
    assert_eq!(store.claim(claim_id).unwrap().unwrap().status, ClaimStatus::Final);
    assert!(store.all_disputes().unwrap().is_empty());
    check(&world, &store).await;
}

#[tokio::test]
async fn a_reorganization_while_logs_are_read_is_noticed() {
    let world = World::new().await;
    let store = world.store("db", &world.provider);
    sync(&world.provider, &store).await.unwrap();
    let snapshot = world.snapshot().await;
    world.request(1).await;
    // The node answers the first question about logs from a branch that it has left.
    let old = world.provider.head().await.unwrap().number;
    let old_events = world.provider.events(old, old).await.unwrap();
    assert_eq!(old_events.len(), 1);
    let mut stale = Some(serde_json::to_value(raw_logs(&world, old).await).unwrap());
    world.revert(&snapshot).await;
    world.rpc("evm_increaseTime", (5,)).await;
    world.request(2).await;
    let proxy = Proxy::start(&world.url, move |method, _| match method {
        "eth_getLogs" => stale.take().map_or(Fault::None, Fault::Added),
        _ => Fault::None,
    })
    .await;
    let chain = party(&proxy.url, 1, Some(world.deployment.clone())).await;
    sync(&chain, &store).await.unwrap();
    assert_eq!(proxy.count("eth_getLogs"), 2);
    assert_eq!(contents(&store), contents(&world.fresh().await));
}

async fn raw_logs(world: &World, block: u64) -> Value {
    let block = format!("0x{block:x}");
    let filter = json!({
        "fromBlock": block, "toBlock": block, "address": world.deployment.settlement,
    });
    world.rpc("eth_getLogs", (filter,)).await
}

#[tokio::test]
async fn a_chain_that_was_started_anew_is_named() {
    let world = World::new().await;
    let store = world.store("db", &world.provider);
    world.request(0).await;
    sync(&world.provider, &store).await.unwrap();
    // Another chain with the same contracts at the same addresses.
    let node = Node::start().await;
    let other = party(&node.url(), 0, None).await;
    let later = other.head().await.unwrap().timestamp_s + 1000;
    let mine: Value = other.provider().raw_request("evm_mine".into(), (later,)).await.unwrap();
    assert_eq!(mine, "0x0");
    let other = World::on(node).await;
    assert_eq!(other.deployment.settlement, world.deployment.settlement);
    let error = sync(&other.provider, &store).await.unwrap_err();
    assert!(matches!(&error, ChainError::Reset(reset) if reset.number == 2), "{error}");
    assert!(error.to_string().contains("delete that file"), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn confirmations_are_waited_for() {
    let world = World::new().await;
    let store = world.store("db", &world.provider);
    let patient = Follower { confirmations: 3 };
    let request_id = world.request(0).await;
    patient.sync(&world.provider, &store).await.unwrap();
    assert_eq!(store.request(request_id).unwrap(), None);
    world.rpc("anvil_mine", (3,)).await;
    let report = patient.sync(&world.provider, &store).await.unwrap();
    assert_eq!(report.synced_to, Some(report.head.number - 3));
    assert!(store.request(request_id).unwrap().is_some());
}

#[tokio::test]
async fn a_move_event_leads_to_the_state_that_the_next_move_answers() {
    let world = World::new().await;
    let request_id = world.request(0).await;
    world.accept(request_id).await;
    let claim_id = world.claim(request_id).await;
    let (dispute, state) = world.challenge(claim_id).await;
    world.reveal(&state).await;
    let store = world.fresh().await;
    let mut hashes = BTreeMap::new();
    for logged in store.dispute_events(dispute).unwrap() {
        if let Event::DisputeOpened(e) = &logged.event {
            assert_eq!(e.state, state.hash());
        }
        if let Some(moved) = logged.event.moved() {
            hashes.insert(moved.number, moved.state);
            assert!(logged.event.game().is_some());
        }
    }
    assert_eq!(hashes, BTreeMap::from([(0, revealed(&state).hash().into())]));
}
