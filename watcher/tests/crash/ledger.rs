//! Every transaction of the chain, and where every wei went.

use crate::world::{Role, World, read};
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolCall;
use refute_contracts::bindings::{IDisputeGame as Game, IInferenceSettlement as Settlement};
use refute_engine::chain::Event;
use serde_json::{Value, json};
use std::collections::HashSet;

#[derive(Debug)]
pub(crate) struct Tx {
    pub(crate) hash: B256,
    pub(crate) from: Address,
    to: Option<Address>,
    input: Bytes,
    value: U256,
    gas_used: u64,
    fee: U256,
    success: bool,
}

/// The whole chain.
pub(crate) struct Ledger<'w> {
    world: &'w World,
    pub(crate) txs: Vec<Tx>,
    withdrawn: Vec<(Address, U256)>,
    reimbursed: Vec<(Address, U256)>,
}

/// What a key did: everything but fees, in wei.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) paid: U256,
    pub(crate) withdrawn: U256,
}

impl<'w> Ledger<'w> {
    pub(crate) fn read(world: &'w World) -> Self {
        let head = world.runtime.block_on(world.chain.head()).expect("a block").number;
        let txs = (0..=head).flat_map(|number| block(world, number)).collect();
        let events = world.chain.events(world.deployed().block, head);
        let events = world.runtime.block_on(events).expect("events");
        let mut this = Self { world, txs, withdrawn: Vec::new(), reimbursed: Vec::new() };
        for logged in events {
            match logged.event {
                Event::Withdrawn(e) => this.withdrawn.push((e.payee, e.amount)),
                Event::Reimbursed(e) => this.reimbursed.push((e.payee, e.amount)),
                _ => {}
            }
        }
        this
    }

    /// What a key's moves were paid with.
    pub(crate) fn reimbursed(&self, role: Role) -> U256 {
        let address = self.world.address(role);
        self.reimbursed.iter().filter(|(payee, _)| *payee == address).map(|(_, wei)| *wei).sum()
    }

    pub(crate) fn of(&self, role: Role) -> impl Iterator<Item = &Tx> {
        let address = self.world.address(role);
        self.txs.iter().filter(move |tx| tx.from == address)
    }

    pub(crate) fn count(&self, role: Role) -> usize {
        self.of(role).count()
    }

    pub(crate) fn gas_used(&self, role: Role) -> u64 {
        self.of(role).map(|tx| tx.gas_used).sum()
    }

    /// How often a key called this function.
    pub(crate) fn calls<C: SolCall>(&self, role: Role) -> usize {
        self.of(role).filter(|tx| tx.input.starts_with(&C::SELECTOR)).count()
    }

    /// Calls of the game, by anybody.
    pub(crate) fn moves(&self) -> Vec<B256> {
        let game = self.world.deployed().game;
        self.txs.iter().filter(|tx| tx.to == Some(game)).map(|tx| tx.hash).collect()
    }

    /// Calls of the game by a key.
    pub(crate) fn moves_of(&self, role: Role) -> usize {
        let game = self.world.deployed().game;
        self.of(role).filter(|tx| tx.to == Some(game)).count()
    }

    pub(crate) fn money(&self, role: Role) -> Money {
        let address = self.world.address(role);
        let of = |(payee, amount): &(Address, U256)| (*payee == address).then_some(*amount);
        let withdrawn = self.withdrawn.iter().filter_map(of).sum();
        let paid = self.of(role).filter(|tx| tx.success).map(|tx| tx.value).sum();
        Money { paid, withdrawn }
    }

    /// What holds in every course: no transaction fails, and all of `audit_money`.
    pub(crate) fn audit(&self) {
        for tx in &self.txs {
            assert!(tx.success, "{tx:?} failed");
        }
        self.audit_money();
    }

    /// What holds even where two race for the same: nothing is sent twice, and every balance follows from what was sent,
    /// burned as gas and withdrawn.
    pub(crate) fn audit_money(&self) {
        let mut seen = HashSet::new();
        for tx in &self.txs {
            // A request that was reopened is accepted with the same words; a second time in a row would fail. And what counts
            // of a withdrawal is that it brings something.
            let may_repeat = [Settlement::withdrawCall::SELECTOR, Settlement::acceptCall::SELECTOR];
            if !may_repeat.iter().any(|selector| tx.input.starts_with(selector)) {
                assert!(seen.insert((tx.from, tx.to, &tx.input)), "{tx:?} was sent twice");
            }
        }
        assert!(self.withdrawn.iter().all(|(_, amount)| !amount.is_zero()), "an empty withdrawal");
        for role in Role::ALL {
            let balance = |tag: &str| -> U256 {
                read(&self.world.raw("eth_getBalance", json!([self.world.address(role), tag])))
            };
            let fees: U256 = self.of(role).map(|tx| tx.fee).sum();
            let Money { paid, withdrawn } = self.money(role);
            let expected = balance("0x0") + withdrawn - paid - fees;
            assert_eq!(balance("latest"), expected, "{role:?}");
        }
        let steps = Role::ALL.iter().map(|role| self.calls::<Game::stepCall>(*role));
        let disputes = Role::ALL.iter().map(|role| self.calls::<Settlement::challengeCall>(*role));
        assert!(steps.sum::<usize>() <= disputes.sum(), "a step was decided twice");
    }
}

fn block(world: &World, number: u64) -> Vec<Tx> {
    let block = world.raw("eth_getBlockByNumber", json!([U256::from(number), true]));
    let list = block["transactions"].as_array().expect("transactions");
    list.iter().map(|tx| transaction(world, tx)).collect()
}

fn transaction(world: &World, tx: &Value) -> Tx {
    let receipt = world.raw("eth_getTransactionReceipt", json!([tx["hash"]]));
    let gas_used: U256 = read(&receipt["gasUsed"]);
    let price: U256 = read(&receipt["effectiveGasPrice"]);
    Tx {
        hash: read(&tx["hash"]),
        from: read(&tx["from"]),
        to: read(&tx["to"]),
        input: read(&tx["input"]),
        value: read(&tx["value"]),
        gas_used: gas_used.to::<u64>(),
        fee: gas_used * price,
        success: receipt["status"] == "0x1",
    }
}
