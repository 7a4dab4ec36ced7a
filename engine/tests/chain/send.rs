//! The sender: every transaction once, through crashes, silence, rising fees and reorganizations.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::U256;
use alloy::providers::Provider;
use refute_contracts::bindings::RequestStatus;
use refute_engine::chain::{Call, Chain, ChainError, Outcome, Sender, SenderConfig};
use refute_engine::store::{Mined, Store};

use crate::proxy::{Fault, Proxy};
use crate::world::{World, party, sync};

/// Everything is due at once: no test waits.
const NOW: SenderConfig =
    SenderConfig { bump_after_s: 0, resend_after_s: 0, fee_cap_wei: 500_000_000_000 };
/// Nothing is due unless something asks for it.
const NEVER: SenderConfig =
    SenderConfig { bump_after_s: u64::MAX, resend_after_s: u64::MAX, ..NOW };

async fn submit(sender: &Sender, key: &str, call: &Call) -> Outcome {
    sender.submit(key, call.to.unwrap(), call.data.clone(), call.value_wei).await.unwrap()
}

/// Some nodes mine at once, others a moment later.
async fn settle(sender: &Sender, key: &str, call: &Call) -> Outcome {
    sender.submit_and_wait(key, call, Duration::from_secs(20)).await.unwrap()
}

async fn nonce(chain: &Chain) -> u64 {
    let count = chain.provider().get_transaction_count(chain.address().unwrap());
    count.await.unwrap()
}

/// Waits, two seconds at most, until everything that the requester sent is mined: some nodes answer first, and mine a moment
/// later.
async fn mined_at_once(world: &World) {
    let (provider, address) = (world.requester.provider(), world.requester.address().unwrap());
    for _ in 0..40 {
        let pending = provider.get_transaction_count(address).pending().await.unwrap();
        if pending == nonce(&world.requester).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn mined(outcome: Outcome) -> Mined {
    match outcome {
        Outcome::Mined(mined) => mined,
        other => panic!("{other:?}"),
    }
}

fn requester(world: &World, store: &Store, config: SenderConfig) -> Sender {
    Sender::new(world.requester.clone(), store.clone(), config)
}

#[tokio::test]
async fn asking_twice_sends_once() {
    let world = World::new().await;
    let store = world.store("db", &world.requester);
    let sender = requester(&world, &store, NEVER);
    let call = world.request_call(0);
    let first = mined(settle(&sender, "request:0", &call).await);
    assert!(first.success);
    assert_eq!(mined(settle(&sender, "request:0", &call).await), first);
    assert_eq!(nonce(&world.requester).await, 1);
    assert_eq!(sender.outcome("request:0").unwrap(), Some(Outcome::Mined(first)));
    assert_eq!(sender.outcome("request:1").unwrap(), None);

    let other = world.request_call(1);
    let error = sender
        .submit("request:0", other.to.unwrap(), other.data.clone(), other.value_wei)
        .await
        .unwrap_err();
    assert!(matches!(error, ChainError::KeyReused { .. }));
    let second = mined(settle(&sender, "request:1", &other).await);
    let costs = store.costs("request:").unwrap();
    assert_eq!(costs.transactions, 2);
    assert_eq!(costs.gas_used, first.gas_used + second.gas_used);
    assert_eq!(costs.calldata_bytes, (call.data.len() + other.data.len()) as u64);
    assert_eq!(store.costs("other:").unwrap().transactions, 0);
    let chain = world.requester.tx_costs(first.hash).await.unwrap().unwrap();
    assert_eq!(chain.gas_used, first.gas_used);
    assert_eq!(chain.calldata_bytes, call.data.len() as u64);
    assert_eq!(chain.from, world.requester.address().unwrap());
}

#[tokio::test]
async fn what_would_fail_is_not_sent() {
    let world = World::new().await;
    let request_id = world.request(0).await;
    world.accept(request_id).await;
    let store = world.store("db", &world.provider);
    let sender = Sender::new(world.provider.clone(), store.clone(), NEVER);
    let before = nonce(&world.provider).await;
    let outcome = submit(&sender, "accept", &world.accept_call(request_id)).await;
    assert_eq!(outcome, Outcome::Failed { reason: "WrongRequestStatus(2)".to_owned() });
    let poor = world.accept_call(request_id).with_value(U256::MAX >> 8);
    assert!(matches!(submit(&sender, "accept", &poor).await, Outcome::Failed { .. }));
    assert_eq!(nonce(&world.provider).await, before);
    assert_eq!(store.transaction("accept").unwrap(), None);
    assert!(store.pending_transactions().unwrap().is_empty());

    // Once it would succeed, the same name works.
    world.pass_time(u64::from(world.deployment.parameters.claim_s) + 1).await;
    world.release(request_id).await;
    assert!(mined(settle(&sender, "accept", &world.accept_call(request_id)).await).success);
}

#[tokio::test]
async fn a_crash_around_the_broadcast_changes_nothing() {
    let world = World::new().await;
    // Five tries each: all of them are lost, before the node or after it.
    for (number, fault) in [Fault::Lost, Fault::AnswerLost].into_iter().enumerate() {
        let name = format!("db{number}");
        let before = nonce(&world.requester).await;
        let proxy =
            Proxy::faults(&world.url, "eth_sendRawTransaction", vec![fault.clone(); 5]).await;
        let chain = party(&proxy.url, 3, Some(world.deployment.clone())).await;
        let store = world.store(&name, &chain);
        let sender = Sender::new(chain, store.clone(), NEVER);
        let call = world.request_call(number as u64);
        let Outcome::Pending { hash } = submit(&sender, "request", &call).await else {
            panic!("{fault:?}");
        };
        drop((sender, store));

        let store = world.store(&name, &world.requester);
        let sender = requester(&world, &store, NEVER);
        mined_at_once(&world).await;
        let report = sender.tick().await.unwrap();
        match fault {
            Fault::AnswerLost => assert_eq!(report.mined.len(), 1),
            _ => assert_eq!((report.mined.len(), report.pending), (0, 1)),
        }
        let mined = mined(settle(&sender, "request", &call).await);
        assert_eq!((mined.hash, mined.success), (hash, true));
        assert_eq!(nonce(&world.requester).await, before + 1);
        assert_eq!(sender.tick().await.unwrap().pending, 0);
    }
}

#[tokio::test]
async fn what_is_broadcast_is_in_the_database_already() {
    let world = World::new().await;
    let path = world.folder.path().join("db");
    let written = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&written);
    let proxy = Proxy::start(&world.url, move |method, params| {
        if method == "eth_sendRawTransaction" {
            let store = Store::read(&path).unwrap();
            let newest = store.attempts("request").unwrap().pop().unwrap();
            assert_eq!(params[0], serde_json::json!(newest.raw));
            seen.lock().unwrap().push(newest.hash);
        }
        Fault::None
    })
    .await;
    let chain = party(&proxy.url, 3, Some(world.deployment.clone())).await;
    let store = world.store("db", &chain);
    let sender = Sender::new(chain, store.clone(), NOW);
    world.rpc("evm_setAutomine", (false,)).await;
    submit(&sender, "request", &world.request_call(0)).await;
    sender.tick().await.unwrap();
    let attempts: Vec<_> =
        store.attempts("request").unwrap().iter().map(|attempt| attempt.hash).collect();
    assert_eq!(attempts.len(), 2);
    assert_eq!(*written.lock().unwrap(), attempts);
}

#[tokio::test]
async fn nonces_follow_each_other_while_nothing_is_mined() {
    let world = World::new().await;
    let store = world.store("db", &world.requester);
    let sender = requester(&world, &store, NEVER);
    world.rpc("evm_setAutomine", (false,)).await;
    for number in 0..5 {
        let outcome = submit(&sender, &format!("r{number}"), &world.request_call(number)).await;
        assert!(matches!(outcome, Outcome::Pending { .. }), "{outcome:?}");
    }
    let pending = store.pending_transactions().unwrap();
    assert_eq!(pending.iter().map(|tx| tx.nonce).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(sender.tick().await.unwrap().pending, 5);
    world.rpc("evm_mine", ()).await;
    let report = sender.tick().await.unwrap();
    assert_eq!((report.mined.len(), report.pending), (5, 0));
    assert!(report.mined.iter().all(|(_, mined)| mined.success));
    world.rpc("evm_setAutomine", (true,)).await;
    mined(settle(&sender, "r5", &world.request_call(5)).await);
}

#[tokio::test]
async fn a_fee_is_raised_until_it_is_mined() {
    let world = World::new().await;
    let store = world.store("db", &world.requester);
    let sender = requester(&world, &store, NOW);
    world.rpc("evm_setAutomine", (false,)).await;
    let call = world.request_call(0);
    submit(&sender, "request", &call).await;
    for bumps in 1..4 {
        assert_eq!(sender.tick().await.unwrap().bumped, ["request"]);
        let attempts = store.attempts("request").unwrap();
        assert_eq!(attempts.len(), bumps + 1);
        let [old, new] = [&attempts[bumps - 1], &attempts[bumps]];
        assert!(new.max_fee_wei * 8 > old.max_fee_wei * 9);
        assert!(new.tip_wei * 8 > old.tip_wei * 9);
        assert!(store.transaction("request").unwrap().unwrap().sent_at_s.is_some());
    }
    let newest = store.attempts("request").unwrap().pop().unwrap();
    world.rpc("evm_mine", ()).await;
    let report = sender.tick().await.unwrap();
    assert_eq!(report.mined[0].1.hash, newest.hash);
    assert_eq!(nonce(&world.requester).await, 1);
    assert_eq!(store.costs("").unwrap().transactions, 1);

    // At the cap it waits, and stays below it.
    let cap = SenderConfig { fee_cap_wei: newest.max_fee_wei, ..NOW };
    let sender = requester(&world, &store, cap);
    submit(&sender, "second", &world.request_call(1)).await;
    for _ in 0..12 {
        sender.tick().await.unwrap();
    }
    let attempts = store.attempts("second").unwrap();
    assert!(attempts.iter().all(|attempt| attempt.max_fee_wei <= newest.max_fee_wei));
    assert!(attempts.len() < 12);
    world.rpc("evm_mine", ()).await;
    assert_eq!(sender.tick().await.unwrap().mined.len(), 1);

    let broke = SenderConfig { fee_cap_wei: 1, ..NOW };
    let sender = requester(&world, &store, broke);
    let third = world.request_call(2);
    let error = sender.submit("third", third.to.unwrap(), third.data, third.value_wei).await;
    assert!(matches!(error, Err(ChainError::FeeCap { cap_wei: 1, .. })));
}

#[tokio::test]
async fn a_transaction_whose_block_is_gone_is_pending_again() {
    for follows in [false, true] {
        let world = World::new().await;
        let store = world.store("db", &world.requester);
        let sender = requester(&world, &store, NEVER);
        let snapshot = world.snapshot().await;
        let call = world.request_call(0);
        let first = mined(settle(&sender, "request", &call).await);
        sync(&world.requester, &store).await.unwrap();
        world.revert(&snapshot).await;
        world.pass_time(5).await;
        if follows {
            let report = sync(&world.requester, &store).await.unwrap();
            assert!(report.rolled_back_to.is_some());
            assert_eq!(store.pending_transactions().unwrap().len(), 1);
        }
        assert_eq!(nonce(&world.requester).await, 0);
        // A process that was restarted broadcasts what isn't mined.
        let sender = requester(&world, &store, NEVER);
        assert_eq!(sender.tick().await.unwrap().pending, 1);
        mined_at_once(&world).await;
        let report = sender.tick().await.unwrap();
        assert_eq!(report.mined.len(), 1);
        assert_eq!(report.mined[0].1.hash, first.hash);
        assert_ne!(report.mined[0].1.block_hash, first.block_hash);
        assert_eq!(nonce(&world.requester).await, 1);
    }
}

#[tokio::test]
async fn a_nonce_that_somebody_else_used_is_given_up() {
    let world = World::new().await;
    let store = world.store("db", &world.requester);
    world.rpc("evm_setAutomine", (false,)).await;
    let sender = requester(&world, &store, NEVER);
    submit(&sender, "mine", &world.request_call(0)).await;
    // The same key elsewhere: the pool holds both, one after the other.
    let theirs = world.store("theirs", &world.requester);
    let other = requester(&world, &theirs, NEVER);
    submit(&other, "theirs", &world.request_call(1)).await;
    assert_eq!(theirs.pending_transactions().unwrap()[0].nonce, 1);
    world.rpc("evm_setAutomine", (true,)).await;
    mined_at_once(&world).await;
    assert_eq!(sender.tick().await.unwrap().mined.len(), 1);
    assert_eq!(other.tick().await.unwrap().mined.len(), 1);

    // A store that wrote a transaction down, and never got it out before somebody else took its place.
    let snapshot = world.snapshot().await;
    let faults = vec![Fault::Lost; 5];
    let proxy = Proxy::faults(&world.url, "eth_sendRawTransaction", faults).await;
    let chain = party(&proxy.url, 3, Some(world.deployment.clone())).await;
    let sender = Sender::new(chain, store.clone(), NOW);
    let call = world.request_call(2);
    submit(&sender, "late", &call).await;
    let lost = store.transaction("late").unwrap().unwrap().nonce;
    world.request(3).await;
    let report = sender.tick().await.unwrap();
    assert_eq!((report.mined.len(), report.failed.len()), (0, 0));
    let tx = store.transaction("late").unwrap().unwrap();
    assert_eq!(tx.nonce, lost + 1);
    mined_at_once(&world).await;
    let report = sender.tick().await.unwrap();
    assert_eq!(report.mined.len(), 1);
    assert!(report.mined[0].1.success);
    assert_eq!(nonce(&world.requester).await, lost + 2);

    // If it would fail by now, it is forgotten, and said so.
    world.revert(&snapshot).await;
    let store = world.store("again", &world.requester);
    let faults = vec![Fault::Lost; 5];
    let proxy = Proxy::faults(&world.url, "eth_sendRawTransaction", faults).await;
    let chain = party(&proxy.url, 3, Some(world.deployment.clone())).await;
    let sender = Sender::new(chain, store.clone(), NOW);
    submit(&sender, "late", &call).await;
    // The same request, at another price: another transaction.
    world.rpc("anvil_mine", (9,)).await;
    world.request(2).await;
    mined_at_once(&world).await;
    let report = sender.tick().await.unwrap();
    assert_eq!((report.mined.len(), report.pending), (0, 0));
    assert_eq!(report.failed.len(), 1);
    assert!(report.failed[0].1.starts_with("RequestExists("), "{report:?}");
    assert_eq!(store.transaction("late").unwrap(), None);
}

#[tokio::test]
async fn a_gap_of_nonces_is_filled() {
    let world = World::new().await;
    let store = world.store("db", &world.requester);
    let sender = requester(&world, &store, NOW);
    let snapshot = world.snapshot().await;
    world.request(0).await;
    world.request(1).await;
    let first = mined(settle(&sender, "request", &world.request_call(2)).await);
    assert_eq!(store.transaction("request").unwrap().unwrap().nonce, 2);
    // Others' transactions go with their blocks, and don't come back.
    world.revert(&snapshot).await;
    world.pass_time(9).await;
    let mut found = Vec::new();
    for _ in 0..4 {
        found.extend(sender.tick().await.unwrap().mined);
    }
    assert_eq!(nonce(&world.requester).await, 3);
    let again = found.iter().find(|(key, _)| key == "request").unwrap().1;
    assert!(again.success);
    assert_ne!(again.block_hash, first.block_hash);
    assert_eq!(store.costs("gap:").unwrap().transactions, 2);
}

#[tokio::test]
async fn other_content_replaces_what_is_not_mined() {
    let world = World::new().await;
    let store = world.store("db", &world.requester);
    let sender = requester(&world, &store, NEVER);
    world.rpc("evm_setAutomine", (false,)).await;
    submit(&sender, "move:1", &world.request_call(0)).await;
    submit(&sender, "move:1", &world.request_call(1)).await;
    assert_eq!(store.attempts("move:1").unwrap().len(), 2);
    world.rpc("evm_mine", ()).await;
    assert!(mined(settle(&sender, "move:1", &world.request_call(1)).await).success);
    assert_eq!(nonce(&world.requester).await, 1);
    sync(&world.requester, &store).await.unwrap();
    let all = store.requests_of(world.requester.address().unwrap()).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].status, RequestStatus::Open);
}

#[tokio::test]
async fn a_reverted_transaction_is_sent_again_once_it_would_succeed() {
    let world = World::new().await;
    let store = world.store("db", &world.provider);
    let sender = Sender::new(world.provider.clone(), store.clone(), NEVER);
    let deadline_s = world.provider.head().await.unwrap().timestamp_s + 1000;
    let request_id = world.request_until(0, deadline_s).await;
    // It passes the dry run, and is mined too late.
    world.rpc("evm_setAutomine", (false,)).await;
    submit(&sender, "accept", &world.accept_call(request_id)).await;
    world.rpc("evm_mine", (deadline_s + 1,)).await;
    world.rpc("evm_setAutomine", (true,)).await;
    let reverted = mined(settle(&sender, "accept", &world.accept_call(request_id)).await);
    assert!(!reverted.success);
    // Asking again does not help, and costs nothing.
    let before = nonce(&world.provider).await;
    assert_eq!(mined(settle(&sender, "accept", &world.accept_call(request_id)).await), reverted);
    assert_eq!(nonce(&world.provider).await, before);
    // With other content it does.
    let second = world.request(1).await;
    assert!(mined(settle(&sender, "accept", &world.accept_call(second)).await).success);
    let costs = store.costs("accept").unwrap();
    assert_eq!(costs.transactions, 2);
}

#[tokio::test]
async fn a_node_that_refuses_spends_nothing() {
    let world = World::new().await;
    let faults = vec![Fault::Error(-32000, "intrinsic gas too low")];
    let proxy = Proxy::faults(&world.url, "eth_sendRawTransaction", faults).await;
    let chain = party(&proxy.url, 3, Some(world.deployment.clone())).await;
    let store = world.store("db", &chain);
    let sender = Sender::new(chain, store.clone(), NEVER);
    let call = world.request_call(0);
    let outcome = submit(&sender, "request", &call).await;
    assert_eq!(outcome, Outcome::Failed { reason: "intrinsic gas too low".to_owned() });
    assert_eq!(store.transaction("request").unwrap(), None);
    assert!(mined(settle(&sender, "request", &call).await).success);
}

#[tokio::test]
async fn a_limit_of_the_node_is_no_refusal_of_the_contract() {
    let world = World::new().await;
    let limits = vec![Fault::Error(-32601, "the method is not available on your plan")];
    let proxy = Proxy::faults(&world.url, "eth_call", limits).await;
    let key = refute_engine::chain::parse_key(&refute_contracts::devnet::DEV_KEYS[3].to_string());
    let chain = Chain::connect(&proxy.url, Some(key.unwrap()), None).await.unwrap();
    let error = chain.dry_run(&world.request_call(0)).await.unwrap_err();
    assert!(matches!(error, ChainError::Rpc(_)), "{error}");
    assert!(chain.dry_run(&world.request_call(0)).await.unwrap().is_ok());
}
