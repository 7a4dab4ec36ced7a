//! One place where revm is called: the same rules for the in-process EVM and for the devnet.

use revm::context::result::{EVMError, InvalidTransaction, ResultAndState};
use revm::context::{BlockEnv, CfgEnv, Context, TxEnv};
use revm::database_interface::{DatabaseRef, WrapDatabaseRef};
use revm::handler::validation::validate_initial_tx_gas;
use revm::primitives::hardfork::SpecId;
use revm::{ExecuteEvm, MainBuilder, MainContext};

/// The fork whose rules hold on both.
const SPEC: SpecId = SpecId::OSAKA;

/// Why an execution did not happen at all.
pub(crate) type Refused<E> = EVMError<E, InvalidTransaction>;

/// Which of the checks of a transaction apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checks {
    /// All of them: a signed transaction.
    Transaction,
    /// A simulation: any sender and nonce, any gas limit, no fee unless a price is set.
    Call,
}

/// Runs one transaction over `state` without changing it.
pub(crate) fn execute<D: DatabaseRef>(
    state: D,
    chain_id: u64,
    block: BlockEnv,
    tx: TxEnv,
    checks: Checks,
) -> Result<ResultAndState, Refused<D::Error>> {
    let mut cfg = CfgEnv::new_with_spec(SPEC);
    cfg.chain_id = chain_id;
    // Chains differ in the cap of one transaction (EIP-7825); here it is the block's gas limit.
    cfg.tx_gas_limit_cap = Some(u64::MAX);
    if checks == Checks::Call {
        cfg.tx_chain_id_check = false;
        cfg.disable_nonce_check = true;
        cfg.disable_eip3607 = true;
        cfg.disable_base_fee = tx.gas_price == 0;
    }
    let context =
        Context::mainnet().with_db(WrapDatabaseRef(state)).with_cfg(cfg).with_block(block);
    context.build_mainnet().transact(tx)
}

/// Whether the transaction's gas limit covers what it costs before its first instruction.
pub(crate) fn check_intrinsic_gas(tx: &TxEnv) -> Result<(), InvalidTransaction> {
    validate_initial_tx_gas(tx, SPEC, false, false, u64::MAX, None).map(drop)
}
