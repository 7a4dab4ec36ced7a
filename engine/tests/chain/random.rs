//! Random histories with random reorganizations: at the end the store is what a new one would be.

use alloy::primitives::B256;
use refute_bisection::state::State;
use refute_contracts::bindings::IInferenceSettlement as S;
use refute_engine::chain::{Call, Chain, Event};
use serde_json::Value;

use crate::follow::check;
use crate::world::{World, contents, opened, revealed, sync};

/// Actions of one history.
const ACTIONS: usize = 240;

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    /// The newer ones are more likely: the older ones are over.
    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let back = self.below(from.len()).min(self.below(from.len()));
        from.iter().rev().nth(back).cloned()
    }
}

/// Whatever was ever seen, on any branch.
#[derive(Default)]
struct Seen {
    requests: Vec<B256>,
    claims: Vec<B256>,
    disputes: Vec<B256>,
    states: Vec<State>,
    snapshots: Vec<Value>,
    reverts: usize,
    events: usize,
}

impl Seen {
    fn note(&mut self, event: &Event) {
        self.events += 1;
        match event {
            Event::Requested(e) => self.requests.push(e.requestId),
            Event::Claimed(e) => self.claims.push(e.claimId),
            Event::DisputeOpened(e) => {
                self.disputes.push(e.dispute);
                let initial = opened(e.dispute);
                self.states.extend([initial, revealed(&initial)]);
            }
            _ => {}
        }
    }
}

/// A transaction that may well be refused.
fn transaction<'w>(
    world: &'w World,
    seen: &Seen,
    random: &mut Random,
    nonce: u64,
) -> Option<(&'w Chain, Call)> {
    let request = random.pick(&seen.requests);
    let claim = random.pick(&seen.claims);
    let dispute = random.pick(&seen.disputes);
    let state = random.pick(&seen.states);
    Some(match random.below(13) {
        0 | 1 => (&world.requester, world.request_call(nonce)),
        2 | 3 => (&world.provider, world.accept_call(request?)),
        4 | 5 => (&world.provider, world.claim_call(request?)),
        6 => (&world.challenger, world.challenge_call(claim?)),
        7 => (&world.provider, world.reveal_call(&state?)),
        8 => (&world.challenger, world.choose_call(&state?, random.below(2) as u32)),
        9 => (&world.requester, world.timeout_call(dispute?)),
        10 => (&world.requester, world.finalize_call(claim?)),
        11 => (&world.requester, world.settle_reward_call(claim?)),
        _ => {
            let request_id = request?;
            let cancel = world.settle(S::cancelCall { requestId: request_id });
            let release = world.settle(S::releaseCall { requestId: request_id });
            (&world.requester, if random.below(4) == 0 { cancel } else { release })
        }
    })
}

async fn act(world: &World, seen: &mut Seen, random: &mut Random, nonce: u64) {
    match random.below(20) {
        0 => seen.snapshots.push(world.snapshot().await),
        1 if !seen.snapshots.is_empty() => {
            // A revert forgets the snapshots after it too.
            let kept = random.below(seen.snapshots.len());
            let snapshot = seen.snapshots.split_off(kept).swap_remove(0);
            world.revert(&snapshot).await;
            seen.reverts += 1;
            // Another branch, even if the same things happen again.
            world.pass_time(1 + nonce).await;
        }
        2 | 3 => world.pass_time(random.below(700) as u64 + 1).await,
        _ => {
            let Some((who, call)) = transaction(world, seen, random, nonce) else { return };
            let Ok(receipt) = who.transact(&call).await else { return };
            let events = world.provider.events(receipt.block, receipt.block).await.unwrap();
            events.iter().for_each(|logged| seen.note(&logged.event));
        }
    }
}

#[tokio::test]
async fn a_store_that_saw_everything_knows_what_a_new_one_reads() {
    for seed in [1, 2, 3, 0xdead_beef] {
        eprintln!("seed {seed}");
        let mut random = Random(seed);
        let mut seen = Seen::default();
        let world = World::new().await;
        let store = world.store("db", &world.provider);
        let mut rollbacks = 0;
        for nonce in 0..ACTIONS as u64 {
            act(&world, &mut seen, &mut random, nonce).await;
            if random.below(3) == 0 {
                let report = sync(&world.provider, &store).await.unwrap();
                rollbacks += usize::from(report.rolled_back_to.is_some());
            }
        }
        sync(&world.provider, &store).await.unwrap();
        assert_eq!(contents(&store), contents(&world.fresh().await));
        check(&world, &store).await;
        eprintln!("{} events, {} reverts, {rollbacks} rollbacks", seen.events, seen.reverts);
        assert!(seen.events > 20, "{} events", seen.events);
    }
}
