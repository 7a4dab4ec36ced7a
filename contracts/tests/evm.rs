//! The in-process EVM on a small contract (`fixtures/Probe.sol`).

use alloy::primitives::{Address, Bytes, U256, hex};
use alloy::sol_types::{SolCall, SolError, SolEvent, SolValue};
use refute_contracts::evm::{Evm, EvmError, Status};

alloy::sol!(
    #[sol(all_derives)]
    "tests/fixtures/IProbe.sol"
);

const ME: Address = Address::repeat_byte(0x11);

fn code() -> Bytes {
    hex::decode(include_str!("fixtures/Probe.hex")).expect("the fixture is hex").into()
}

fn deployed() -> (Evm, Address) {
    let mut evm = Evm::new();
    let probe = evm.deploy(ME, &code(), &U256::from(5).abi_encode()).expect("it deploys");
    (evm, probe.address)
}

#[test]
fn deploying_runs_the_constructor() {
    let (evm, probe) = deployed();
    assert_eq!(probe, ME.create(0));
    assert!(!evm.code(probe).is_empty());
    assert_eq!(evm.view(probe, &IProbe::valueCall {}).unwrap(), U256::from(5));
    assert_eq!(evm.slot(probe, U256::ZERO), U256::from(5));
}

#[test]
fn a_call_keeps_its_changes_logs_and_value() {
    let (mut evm, probe) = deployed();
    evm.set_balance(ME, U256::from(100));
    let set = IProbe::setCall { v: U256::from(9) };
    let outcome = evm.call(ME, probe, &set.abi_encode(), U256::from(30)).unwrap();
    assert!(outcome.is_success());
    assert_eq!(outcome.logs.len(), 2);
    let noted = IProbe::Noted::decode_log(&outcome.logs[0]).unwrap();
    assert_eq!((noted.by, noted.topic, noted.value), (ME, U256::ONE, U256::from(9)));
    assert_eq!(evm.balance(ME), U256::from(70));
    assert_eq!(evm.balance(probe), U256::from(30));
    assert_eq!(evm.view(probe, &IProbe::valueCall {}).unwrap(), U256::from(9));
}

#[test]
fn a_static_call_changes_nothing() {
    let (evm, probe) = deployed();
    let set = IProbe::setCall { v: U256::from(9) };
    let outcome = evm.static_call(ME, probe, &set.abi_encode()).unwrap();
    assert!(outcome.is_success());
    assert_eq!(evm.view(probe, &IProbe::valueCall {}).unwrap(), U256::from(5));
}

#[test]
fn a_revert_carries_its_data_and_changes_nothing() {
    let (mut evm, probe) = deployed();
    evm.set_balance(ME, U256::from(100));
    let refuse = IProbe::refuseCall { code: U256::from(77) };
    let outcome = evm.call(ME, probe, &refuse.abi_encode(), U256::ZERO).unwrap();
    assert_eq!(outcome.status, Status::Reverted);
    let refused = IProbe::Refused::abi_decode(&outcome.output).unwrap();
    assert_eq!(refused.code, U256::from(77));
    assert!(outcome.logs.is_empty());

    let said = evm.view(probe, &IProbe::sayCall { text: "too late".into() }).err().unwrap();
    assert_eq!(said.to_string(), "the call failed: revert: too late");
}

#[test]
fn an_invalid_opcode_burns_all_gas() {
    let (mut evm, probe) = deployed();
    evm.set_gas_limit(50_000);
    let outcome = evm.call(ME, probe, &IProbe::burnCall {}.abi_encode(), U256::ZERO).unwrap();
    assert!(matches!(outcome.status, Status::Halted(_)));
    assert_eq!(outcome.gas_used, 50_000);
}

#[test]
fn a_value_that_the_sender_lacks_is_refused() {
    let (mut evm, probe) = deployed();
    let set = IProbe::setCall { v: U256::from(9) };
    let error = evm.send(ME, probe, &set, U256::ONE).err().unwrap();
    assert!(matches!(error, EvmError::Refused(_)), "{error}");
}

#[test]
fn time_and_snapshots_are_the_callers() {
    let (mut evm, probe) = deployed();
    evm.set_timestamp(1_234_567);
    assert_eq!(evm.timestamp(), 1_234_567);
    let now = evm.view(probe, &IProbe::now_Call {}).unwrap();
    assert_eq!(now.timestamp, U256::from(1_234_567));

    let before = evm.clone();
    evm.send(ME, probe, &IProbe::clearCall {}, U256::ZERO).unwrap();
    assert_eq!(evm.view(probe, &IProbe::valueCall {}).unwrap(), U256::ZERO);
    assert_eq!(before.view(probe, &IProbe::valueCall {}).unwrap(), U256::from(5));
}

#[test]
fn a_contract_can_create_another() {
    let (mut evm, probe) = deployed();
    let (child, _) = evm.send(ME, probe, &IProbe::makeCall {}, U256::ZERO).unwrap();
    assert_eq!(child, probe.create(1));
    assert!(!evm.code(child).is_empty());
}
