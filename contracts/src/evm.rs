//! Contracts on an EVM inside this process: for tests, gas figures, and for trying a transaction
//! before gas is spent on it.
//!
//! ```
//! use alloy::primitives::{Address, U256, bytes};
//! use refute_contracts::evm::Evm;
//!
//! let mut evm = Evm::new();
//! let me = Address::repeat_byte(1);
//! // Creation code that deploys `PUSH1 42 PUSH0 MSTORE PUSH1 32 PUSH0 RETURN`.
//! let code = bytes!("67602a5f5260205ff35f5260086018f3");
//! let deployed = evm.deploy(me, &code, &[])?;
//! let answer = evm.static_call(me, deployed.address, &[])?;
//! assert_eq!(U256::from_be_slice(&answer.output), U256::from(42));
//! # Ok::<(), refute_contracts::evm::EvmError>(())
//! ```

use std::convert::Infallible;

use alloy::primitives::{Address, Bytes, Log, TxKind, U256};
use alloy::sol_types::SolCall;
use revm::context::result::{ExecutionResult, HaltReason};
use revm::context::{BlockEnv, TxEnv};

use crate::artifact::revert_reason;
use crate::execution::{Checks, Refused, execute};
use crate::state::State;

/// Gas that a call gets unless told otherwise: one block of the devnet.
pub const DEFAULT_GAS_LIMIT: u64 = 30_000_000;

/// Chain id unless told otherwise: the one that local chains use.
pub const DEFAULT_CHAIN_ID: u64 = 31337;

/// Why a call did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum EvmError {
    /// The call never ran, e.g. for want of balance or because creation code is too long.
    #[error("the EVM refused the call: {0}")]
    Refused(#[from] Refused<Infallible>),
    /// The call ran and failed where success was needed.
    #[error("the call failed: {}", .0.failure())]
    Failed(Box<Outcome>),
    /// The returned bytes are not what the ABI says.
    #[error("the call returned what its ABI does not allow: {0}")]
    Abi(#[from] alloy::sol_types::Error),
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The end of the code, `STOP`, `RETURN` or `SELFDESTRUCT`.
    Success,
    /// `REVERT`; the outcome's output is its data.
    Reverted,
    /// An exceptional halt, which burns all gas.
    Halted(HaltReason),
}

/// What an execution did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Gas that the sender pays for: intrinsic gas included, refunds deducted.
    pub gas_used: u64,
    /// Returned data, or a revert's.
    pub output: Bytes,
    /// Logs in order; empty unless it succeeded.
    pub logs: Vec<Log>,
    /// The contract that it created.
    pub created: Option<Address>,
}

impl Outcome {
    /// Whether it succeeded.
    pub fn is_success(&self) -> bool {
        self.status == Status::Success
    }

    /// Why it failed, in words; for messages.
    pub fn failure(&self) -> String {
        match &self.status {
            Status::Success => "it succeeded".to_owned(),
            Status::Reverted => revert_reason(&self.output),
            Status::Halted(reason) => format!("halted: {reason}"),
        }
    }
}

impl From<ExecutionResult> for Outcome {
    fn from(result: ExecutionResult) -> Self {
        let gas_used = result.tx_gas_used();
        let created = result.created_address();
        match result {
            ExecutionResult::Success { logs, output, .. } => {
                let output = output.into_data();
                Self { status: Status::Success, gas_used, output, logs, created }
            }
            ExecutionResult::Revert { output, .. } => {
                Self { status: Status::Reverted, gas_used, output, logs: Vec::new(), created: None }
            }
            ExecutionResult::Halt { reason, .. } => Self {
                status: Status::Halted(reason),
                gas_used,
                output: Bytes::new(),
                logs: Vec::new(),
                created: None,
            },
        }
    }
}

/// A new contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Where it lies.
    pub address: Address,
    /// Gas of the transaction that made it.
    pub gas_used: u64,
}

/// One thing that was done to a recording chain, as another EVM can repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An account was given exactly so many wei.
    Balance {
        /// The account.
        account: Address,
        /// Its balance from then on.
        wei: U256,
    },
    /// An account was given code, whatever was there.
    Code {
        /// The account.
        account: Address,
        /// Its code from then on.
        code: Bytes,
    },
    /// A transaction that could be tried.
    Transaction {
        /// What `block.timestamp` said.
        timestamp: u64,
        /// Who sent it.
        from: Address,
        /// The contract; none where it created one.
        to: Option<Address>,
        /// Wei sent along.
        value: U256,
        /// Calldata, or creation code with its arguments.
        data: Bytes,
        /// What it did.
        outcome: Outcome,
    },
}

/// A chain of one block that time moves through: contracts run on it without signatures, nonces or
/// fees. Cloning it is a snapshot.
#[derive(Clone, Debug)]
pub struct Evm {
    state: State,
    chain_id: u64,
    block: BlockEnv,
    gas_limit: u64,
    record: Option<Vec<Entry>>,
}

impl Default for Evm {
    fn default() -> Self {
        Self::new()
    }
}

impl Evm {
    /// No accounts, block 1, second 1.
    pub fn new() -> Self {
        let block = BlockEnv { number: U256::ONE, timestamp: U256::ONE, ..BlockEnv::default() };
        Self {
            state: State::default(),
            chain_id: DEFAULT_CHAIN_ID,
            block,
            gas_limit: DEFAULT_GAS_LIMIT,
            record: None,
        }
    }

    /// As [`Evm::new`], and it remembers everything that is done to it. A clone goes on with a copy
    /// of what was remembered.
    pub fn recording() -> Self {
        Self { record: Some(Vec::new()), ..Self::new() }
    }

    /// What was done to it, if it is recording; else nothing.
    pub fn record(&self) -> &[Entry] {
        self.record.as_deref().unwrap_or_default()
    }

    /// What `block.chainid` says.
    pub fn set_chain_id(&mut self, chain_id: u64) {
        self.chain_id = chain_id;
    }

    /// What `block.timestamp` says, in seconds.
    pub fn set_timestamp(&mut self, timestamp: u64) {
        self.block.timestamp = U256::from(timestamp);
    }

    /// What `block.timestamp` says, in seconds.
    pub fn timestamp(&self) -> u64 {
        self.block.timestamp.saturating_to()
    }

    /// What `block.number` says.
    pub fn set_block_number(&mut self, number: u64) {
        self.block.number = U256::from(number);
    }

    /// Gas that every following call and deployment gets.
    pub fn set_gas_limit(&mut self, gas: u64) {
        self.gas_limit = gas;
    }

    /// Gives an account exactly `wei`.
    pub fn set_balance(&mut self, account: Address, wei: U256) {
        let _ = self.state.set_balance(account, wei);
        if let Some(record) = &mut self.record {
            record.push(Entry::Balance { account, wei });
        }
    }

    /// Puts code at an address, whatever was there.
    pub fn set_code(&mut self, address: Address, code: Bytes) {
        if let Some(record) = &mut self.record {
            record.push(Entry::Code { account: address, code: code.clone() });
        }
        let _ = self.state.set_code(address, code);
    }

    /// An account's wei.
    pub fn balance(&self, account: Address) -> U256 {
        self.state.balance(&account)
    }

    /// An account's code.
    pub fn code(&self, account: Address) -> Bytes {
        self.state.code(&account)
    }

    /// A contract's storage slot.
    pub fn slot(&self, account: Address, slot: U256) -> U256 {
        self.state.slot(&account, &slot)
    }

    /// Creates a contract from creation code and its ABI-encoded constructor arguments.
    pub fn deploy(
        &mut self,
        from: Address,
        bytecode: &[u8],
        args: &[u8],
    ) -> Result<Deployed, EvmError> {
        let data: Bytes = [bytecode, args].concat().into();
        let outcome = self.transact(from, TxKind::Create, data, U256::ZERO)?;
        match outcome.created {
            Some(address) if outcome.is_success() => {
                Ok(Deployed { address, gas_used: outcome.gas_used })
            }
            _ => Err(EvmError::Failed(Box::new(outcome))),
        }
    }

    /// A transaction: what it changes stays, unless it fails.
    pub fn call(
        &mut self,
        from: Address,
        to: Address,
        data: &[u8],
        value: U256,
    ) -> Result<Outcome, EvmError> {
        self.transact(from, TxKind::Call(to), Bytes::copy_from_slice(data), value)
    }

    /// A call that changes nothing, like `eth_call`.
    pub fn static_call(
        &self,
        from: Address,
        to: Address,
        data: &[u8],
    ) -> Result<Outcome, EvmError> {
        let data = Bytes::copy_from_slice(data);
        Ok(self.run(from, TxKind::Call(to), data, U256::ZERO)?.result.into())
    }

    /// [`Evm::call`] of one function of a binding, which must succeed.
    pub fn send<C: SolCall>(
        &mut self,
        from: Address,
        to: Address,
        call: &C,
        value: U256,
    ) -> Result<(C::Return, Outcome), EvmError> {
        let outcome = self.call(from, to, &call.abi_encode(), value)?;
        Self::decode::<C>(outcome)
    }

    /// [`Evm::static_call`] of one function of a binding, which must succeed.
    pub fn view<C: SolCall>(&self, to: Address, call: &C) -> Result<C::Return, EvmError> {
        let outcome = self.static_call(Address::ZERO, to, &call.abi_encode())?;
        Ok(Self::decode::<C>(outcome)?.0)
    }

    fn decode<C: SolCall>(outcome: Outcome) -> Result<(C::Return, Outcome), EvmError> {
        if !outcome.is_success() {
            return Err(EvmError::Failed(Box::new(outcome)));
        }
        Ok((C::abi_decode_returns(&outcome.output)?, outcome))
    }

    fn transact(
        &mut self,
        from: Address,
        kind: TxKind,
        data: Bytes,
        value: U256,
    ) -> Result<Outcome, EvmError> {
        let done = self.run(from, kind, data.clone(), value)?;
        let _ = self.state.commit(done.state);
        let outcome = Outcome::from(done.result);
        let timestamp = self.timestamp();
        if let Some(record) = &mut self.record {
            let (to, outcome) = (kind.to().copied(), outcome.clone());
            record.push(Entry::Transaction { timestamp, from, to, value, data, outcome });
        }
        Ok(outcome)
    }

    fn run(
        &self,
        from: Address,
        kind: TxKind,
        data: Bytes,
        value: U256,
    ) -> Result<revm::context::result::ResultAndState, Refused<Infallible>> {
        let tx = TxEnv {
            caller: from,
            kind,
            data,
            value,
            gas_limit: self.gas_limit,
            nonce: self.state.nonce(&from),
            chain_id: None,
            ..TxEnv::default()
        };
        execute(&self.state, self.chain_id, self.block.clone(), tx, Checks::Call)
    }
}
