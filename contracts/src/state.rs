//! The world state: accounts, storage and code in memory, with an undo record per change so that
//! recent history can be read and taken back.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use alloy::consensus::TrieAccount;
use alloy::primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy::trie::root::{state_root_unsorted, storage_root_unsorted};
use revm::DatabaseRef;
use revm::bytecode::Bytecode;
use revm::state::{AccountInfo, EvmState};

/// One account. An account that is empty in the sense of EIP-161 has no entry in the state.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) balance: U256,
    pub(crate) nonce: u64,
    pub(crate) code_hash: B256,
    pub(crate) code: Bytecode,
    /// Slots that are not zero.
    pub(crate) storage: HashMap<U256, U256>,
    /// Root of `storage`'s trie, once asked for; a change of a slot clears it.
    storage_root: Option<B256>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            balance: U256::ZERO,
            nonce: 0,
            code_hash: KECCAK256_EMPTY,
            code: Bytecode::default(),
            storage: HashMap::new(),
            storage_root: None,
        }
    }
}

impl Account {
    fn is_empty(&self) -> bool {
        self.balance.is_zero() && self.nonce == 0 && self.code_hash == KECCAK256_EMPTY
    }

    fn info(&self) -> AccountInfo {
        AccountInfo {
            balance: self.balance,
            nonce: self.nonce,
            code_hash: self.code_hash,
            code: Some(self.code.clone()),
            ..AccountInfo::default()
        }
    }
}

/// What an account was before a change.
#[derive(Clone, Debug)]
enum Before {
    /// The whole account, or its absence: it was created or destroyed, or its code was set.
    Whole(Option<Arc<Account>>),
    /// The account's own fields, and the slots that changed.
    Fields { balance: U256, nonce: u64, slots: Vec<(U256, U256)> },
}

/// Takes one change of the state back: accounts in the order in which they were changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Undo(Vec<(Address, Before)>);

impl Undo {
    /// Appends a later change, so that one record takes both back.
    pub(crate) fn append(&mut self, later: Self) {
        self.0.extend(later.0);
    }
}

/// Every account of the chain. A clone shares accounts until one side changes them, so a snapshot
/// costs a pointer per account.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    accounts: HashMap<Address, Arc<Account>>,
}

impl State {
    pub(crate) fn account(&self, address: &Address) -> Option<&Account> {
        self.accounts.get(address).map(Arc::as_ref)
    }

    pub(crate) fn balance(&self, address: &Address) -> U256 {
        self.account(address).map_or(U256::ZERO, |a| a.balance)
    }

    pub(crate) fn nonce(&self, address: &Address) -> u64 {
        self.account(address).map_or(0, |a| a.nonce)
    }

    pub(crate) fn code(&self, address: &Address) -> Bytes {
        self.account(address).map_or_else(Bytes::new, |a| a.code.original_bytes())
    }

    pub(crate) fn slot(&self, address: &Address, slot: &U256) -> U256 {
        self.account(address).and_then(|a| a.storage.get(slot)).copied().unwrap_or_default()
    }

    pub(crate) fn set_balance(&mut self, address: Address, balance: U256) -> Undo {
        let before = Before::Whole(self.accounts.get(&address).cloned());
        let account = Arc::make_mut(self.accounts.entry(address).or_default());
        account.balance = balance;
        if account.is_empty() {
            self.accounts.remove(&address);
        }
        Undo(vec![(address, before)])
    }

    /// Puts code at an address, whatever was there.
    pub(crate) fn set_code(&mut self, address: Address, code: Bytes) -> Undo {
        let before = Before::Whole(self.accounts.get(&address).cloned());
        let account = Arc::make_mut(self.accounts.entry(address).or_default());
        account.code_hash = keccak256(&code);
        account.code = Bytecode::new_legacy(code);
        if account.is_empty() {
            self.accounts.remove(&address);
        }
        Undo(vec![(address, before)])
    }

    /// Applies what an execution changed.
    pub(crate) fn commit(&mut self, changes: EvmState) -> Undo {
        let mut undo = Undo::default();
        for (address, changed) in changes {
            if !changed.is_touched() {
                continue;
            }
            if changed.is_selfdestructed() {
                undo.0.push((address, self.remove(address)));
            } else {
                undo.0.push((address, self.apply(address, &changed)));
            }
        }
        undo
    }

    /// Writes one touched account and returns what it was before.
    fn apply(&mut self, address: Address, changed: &revm::state::Account) -> Before {
        if changed.info.is_empty() {
            return self.remove(address);
        }
        let new_code = changed.info.code_hash;
        let mut before = match self.accounts.get(&address) {
            Some(old) if old.code_hash == new_code && !changed.is_created() => {
                let (balance, nonce) = (old.balance, old.nonce);
                Before::Fields { balance, nonce, slots: Vec::new() }
            }
            old => Before::Whole(old.cloned()),
        };
        let account = Arc::make_mut(self.accounts.entry(address).or_default());
        if changed.is_created() {
            account.storage.clear();
            account.storage_root = None;
        }
        account.balance = changed.info.balance;
        account.nonce = changed.info.nonce;
        if account.code_hash != new_code {
            account.code_hash = new_code;
            account.code = changed.info.code.clone().unwrap_or_default();
        }
        for (slot, value) in changed.changed_storage_slots() {
            let value = value.present_value();
            let old = if value.is_zero() {
                account.storage.remove(slot)
            } else {
                account.storage.insert(*slot, value)
            };
            account.storage_root = None;
            if let Before::Fields { slots, .. } = &mut before {
                slots.push((*slot, old.unwrap_or_default()));
            }
        }
        before
    }

    /// Takes a change back. Changes must be taken back from the latest to the earliest.
    pub(crate) fn undo(&mut self, undo: &Undo) {
        for (address, before) in undo.0.iter().rev() {
            match before {
                Before::Whole(Some(account)) => {
                    self.accounts.insert(*address, account.clone());
                }
                Before::Whole(None) => {
                    self.accounts.remove(address);
                }
                Before::Fields { balance, nonce, slots } => {
                    let account = Arc::make_mut(self.accounts.entry(*address).or_default());
                    account.balance = *balance;
                    account.nonce = *nonce;
                    for (slot, value) in slots {
                        if value.is_zero() {
                            account.storage.remove(slot);
                        } else {
                            account.storage.insert(*slot, *value);
                        }
                        account.storage_root = None;
                    }
                }
            }
        }
    }

    /// Root of the state trie, as Ethereum defines it.
    pub(crate) fn root(&mut self) -> B256 {
        for account in self.accounts.values_mut() {
            if account.storage_root.is_none() {
                let account = Arc::make_mut(account);
                let slots = account.storage.iter().map(|(k, v)| (B256::from(*k), *v));
                account.storage_root = Some(storage_root_unsorted(
                    slots.map(|(slot, value)| (keccak256(slot), value)),
                ));
            }
        }
        state_root_unsorted(self.accounts.iter().map(|(address, account)| {
            let trie_account = TrieAccount {
                nonce: account.nonce,
                balance: account.balance,
                storage_root: account.storage_root.unwrap_or_default(),
                code_hash: account.code_hash,
            };
            (keccak256(address), trie_account)
        }))
    }

    fn remove(&mut self, address: Address) -> Before {
        Before::Whole(self.accounts.remove(&address))
    }
}

impl DatabaseRef for State {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.account(&address).map(Account::info))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, Infallible> {
        // `basic_ref` always carries the code, so this is only asked for by callers outside the EVM.
        let holder = self.accounts.values().find(|a| a.code_hash == code_hash);
        Ok(holder.map(|a| a.code.clone()).unwrap_or_default())
    }

    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, Infallible> {
        Ok(self.slot(&address, &index))
    }

    fn block_hash_ref(&self, _number: u64) -> Result<B256, Infallible> {
        Ok(B256::ZERO)
    }
}
