//! Calls that leave no trace: `eth_call` and `eth_estimateGas`.

use alloy::primitives::{Address, Bytes, TxKind, U256};
use alloy::rpc::types::TransactionRequest;
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, HaltReason, InvalidTransaction};

use super::build::{View, block_env};
use super::chain::{At, Chain};
use super::error::RpcError;
use crate::execution::{Checks, Refused, execute};
use crate::state::State;

/// Most gas that a call may burn, whatever it asks for.
const CALL_GAS_MAX: u64 = 50_000_000;

/// Gas that a call which sends value gives to the called contract on top.
const CALL_STIPEND: u64 = 2_300;

/// A call bound to the block that it runs on.
struct Simulation<'a> {
    chain: &'a Chain,
    header: alloy::consensus::Header,
    state: State,
    tx: TxEnv,
}

impl<'a> Simulation<'a> {
    fn new(chain: &'a Chain, request: TransactionRequest, at: At) -> Result<Self, RpcError> {
        let (header, state) = chain.at(at)?;
        let tx = to_env(request, &header, &state)?;
        Ok(Self { chain, header, state, tx })
    }

    fn run(&self, gas_limit: u64) -> Result<ExecutionResult, Refused<std::convert::Infallible>> {
        let view = View { state: &self.state, blocks: &self.chain.blocks };
        let tx = TxEnv { gas_limit, ..self.tx.clone() };
        let done = execute(view, self.chain.chain_id, block_env(&self.header), tx, Checks::Call)?;
        Ok(done.result)
    }

    /// Whether `gas_limit` is enough; an error if no limit would be.
    fn suffices(&self, gas_limit: u64) -> Result<bool, RpcError> {
        match self.run(gas_limit) {
            Ok(result) => Ok(result.is_success()),
            Err(Refused::Transaction(
                InvalidTransaction::CallGasCostMoreThanGasLimit { .. }
                | InvalidTransaction::GasFloorMoreThanGasLimit { .. },
            )) => Ok(false),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Most gas that the sender can pay for, or that the block has.
    fn allowance(&self, asked: Option<u64>) -> u64 {
        let limit = asked.unwrap_or(u64::MAX).min(self.header.gas_limit);
        if self.tx.gas_price == 0 {
            return limit;
        }
        let left = self.state.balance(&self.tx.caller).saturating_sub(self.tx.value);
        let affordable = left.checked_div(U256::from(self.tx.gas_price)).unwrap_or(U256::MAX);
        limit.min(affordable.saturating_to())
    }
}

/// The request as revm takes it; a fee is only charged where the request names one.
fn to_env(
    request: TransactionRequest,
    header: &alloy::consensus::Header,
    state: &State,
) -> Result<TxEnv, RpcError> {
    if request.gas_price.is_some()
        && (request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some())
    {
        return Err(RpcError::params(
            "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified",
        ));
    }
    let data =
        request.input.try_into_unique_input().map_err(|e| RpcError::params(e.to_string()))?;
    let caller = request.from.unwrap_or(Address::ZERO);
    let mut tx = TxEnv {
        caller,
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data: data.unwrap_or_default(),
        nonce: state.nonce(&caller),
        gas_price: request.gas_price.unwrap_or_default(),
        access_list: request.access_list.unwrap_or_default(),
        chain_id: None,
        ..TxEnv::default()
    };
    if let Some(max_fee) = request.max_fee_per_gas {
        tx.gas_price = max_fee;
        tx.gas_priority_fee = Some(request.max_priority_fee_per_gas.unwrap_or_default());
    } else if let Some(tip) = request.max_priority_fee_per_gas {
        let base_fee = u128::from(header.base_fee_per_gas.unwrap_or_default());
        tx.gas_price = base_fee.saturating_add(tip);
        tx.gas_priority_fee = Some(tip);
    }
    tx.derive_tx_type().map_err(|e| RpcError::params(e.to_string()))?;
    Ok(tx)
}

fn failure(result: ExecutionResult) -> RpcError {
    match result {
        ExecutionResult::Revert { output, .. } => RpcError::Reverted(output),
        ExecutionResult::Halt { reason, .. } => RpcError::Halted(reason),
        ExecutionResult::Success { .. } => RpcError::Internal("a success is no failure".into()),
    }
}

/// What a call returns.
pub(crate) fn call(chain: &Chain, request: TransactionRequest, at: At) -> Result<Bytes, RpcError> {
    let gas_limit = request.gas.unwrap_or(chain.gas_limit).min(CALL_GAS_MAX);
    let mut simulation = Simulation::new(chain, request, at)?;
    // A call may have more gas than a block.
    simulation.header.gas_limit = simulation.header.gas_limit.max(gas_limit);
    match simulation.run(gas_limit)? {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        failed => Err(failure(failed)),
    }
}

/// The smallest gas limit with which a transaction succeeds. That can be more than it uses: a call
/// passes on at most 63 of 64 parts of the gas that is left, and refunds come at the end.
pub(crate) fn estimate_gas(
    chain: &Chain,
    request: TransactionRequest,
    at: At,
) -> Result<u64, RpcError> {
    let asked = request.gas;
    let simulation = Simulation::new(chain, request, at)?;
    let allowance = simulation.allowance(asked);
    let result = match simulation.run(allowance) {
        Err(Refused::Transaction(
            InvalidTransaction::CallGasCostMoreThanGasLimit { .. }
            | InvalidTransaction::GasFloorMoreThanGasLimit { .. },
        )) => return Err(exceeds(allowance)),
        other => other?,
    };
    if matches!(&result, ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. }) {
        return Err(exceeds(allowance));
    }
    if !result.is_success() {
        return Err(failure(result));
    }

    // `fails` never suffices and `works` always does.
    let mut fails = result.tx_gas_used().saturating_sub(1);
    let mut works = allowance;
    let spent = result.gas().total_gas_spent();
    let likely = spent.saturating_add(CALL_STIPEND).saturating_mul(64) / 63;
    if likely < works {
        if simulation.suffices(likely)? {
            works = likely;
        } else {
            fails = fails.max(likely);
        }
    }
    while fails + 1 < works {
        let middle = fails + (works - fails) / 2;
        if simulation.suffices(middle)? {
            works = middle;
        } else {
            fails = middle;
        }
    }
    Ok(works)
}

fn exceeds(allowance: u64) -> RpcError {
    RpcError::rejected(format!("gas required exceeds allowance ({allowance})"))
}
