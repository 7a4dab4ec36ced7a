//! The step verifier on the embedded EVM, and worlds to ask it about: what a statement's roots stand for, made up from a
//! seed, with every opening written from the table of `kernels/README.md` and by no code of the packages.

pub mod content;
pub mod sparse;
pub mod world;

use alloy::primitives::{Address, address};
use alloy::sol_types::{SolCall, SolValue};
use refute_contracts::artifact::{Contract, bytecode, revert_reason};
use refute_contracts::bindings::{IStepVerifier, Opening, Statement};
use refute_contracts::evm::{Evm, Outcome, Status};
use std::sync::{Arc, Mutex, PoisonError};

use crate::vectors::Vector;

const CALLER: Address = address!("00000000000000000000000000000000000e0001");

/// How the contract answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It decides: whether the defender's value is right.
    Verdict(bool),
    /// It decides nothing, and says why.
    Reverted(String),
    /// It ran out of gas or into an invalid instruction, which it never should.
    Halted(String),
}

/// An answer, and what it cost.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// Gas of the transaction.
    pub gas: u64,
}

/// The deployed `StepVerifier`.
#[derive(Clone, Debug)]
pub struct Verifier {
    evm: Evm,
    address: Address,
    /// Every call and its outcome, where they are asked for. Clones share it.
    recorded: Option<Arc<Mutex<Vec<Vector>>>>,
}

impl Verifier {
    /// Deploys the committed artifact.
    ///
    /// # Panics
    /// If it doesn't deploy.
    pub fn deploy() -> Self {
        let mut evm = Evm::new();
        let deployed = evm.deploy(CALLER, &bytecode(Contract::StepVerifier), &[]);
        Self { address: deployed.expect("the artifact deploys").address, evm, recorded: None }
    }

    /// As [`Verifier::deploy`], and it remembers what it is asked.
    ///
    /// # Panics
    /// If it doesn't deploy.
    pub fn recording() -> Self {
        Self { recorded: Some(Arc::default()), ..Self::deploy() }
    }

    /// What it was asked since the last time, if it is recording.
    pub fn take_recorded(&self) -> Vec<Vector> {
        let recorded = self.recorded.as_ref();
        recorded.map_or_else(Vec::new, |r| {
            std::mem::take(&mut *r.lock().unwrap_or_else(PoisonError::into_inner))
        })
    }

    fn ask(&self, data: Vec<u8>) -> Outcome {
        let outcome = self.evm.static_call(CALLER, self.address, &data);
        let outcome = outcome.expect("the EVM takes the call");
        if let Some(recorded) = &self.recorded {
            let vector = Vector::of_call(data, &outcome);
            recorded.lock().unwrap_or_else(PoisonError::into_inner).push(vector);
        }
        outcome
    }

    /// Asks for a verdict on a statement.
    ///
    /// # Panics
    /// If the call can't even be tried, or succeeds with something else than a verdict.
    pub fn verify(&self, statement: &Statement, witness: Vec<u8>) -> Answered {
        let (statement, witness) = (statement.clone(), witness.into());
        let call = IStepVerifier::verifyCall { statement, witness };
        let outcome = self.ask(call.abi_encode());
        let answer = match outcome.status {
            Status::Success => {
                let verdict = IStepVerifier::verifyCall::abi_decode_returns(&outcome.output);
                Answer::Verdict(verdict.expect("a verdict is a bool"))
            }
            Status::Reverted => Answer::Reverted(revert_reason(&outcome.output)),
            Status::Halted(reason) => Answer::Halted(reason.to_string()),
        };
        Answered { answer, gas: outcome.gas_used }
    }

    /// Calls another function of the contract; what a revert says is the error.
    ///
    /// # Errors
    /// Reverts and halts.
    pub fn view<C: SolCall>(&self, call: &C) -> Result<C::Return, String> {
        let outcome = self.ask(call.abi_encode());
        if !outcome.is_success() {
            return Err(outcome.failure());
        }
        C::abi_decode_returns(&outcome.output).map_err(|e| e.to_string())
    }
}

/// Openings as the contract reads them: `abi.encode(Opening[])`.
pub fn witness(openings: &[Opening]) -> Vec<u8> {
    openings.to_vec().abi_encode()
}
