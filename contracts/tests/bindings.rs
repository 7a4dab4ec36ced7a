//! The committed artifacts and the Rust bindings speak of the same contracts.

use alloy::json_abi::JsonAbi;
use alloy::primitives::hex;
use alloy::sol_types::{SolError, SolInterface};
use refute_contracts::artifact::{
    Contract, abi, bytecode, deployed_bytecode, error_name, init_code, revert_reason,
};
use refute_contracts::bindings::{
    IDisputeGame::{IDisputeGameCalls, IDisputeGameEvents},
    IInferenceSettlement::{IInferenceSettlementCalls, IInferenceSettlementEvents},
    IModelRegistry::{IModelRegistryCalls, IModelRegistryEvents},
    IStepVerifier::IStepVerifierCalls,
};

fn assert_functions<C: SolInterface>(abi: &JsonAbi) {
    assert!(C::COUNT > 0);
    for selector in C::selectors() {
        let found = abi.functions().any(|function| function.selector() == selector);
        assert!(found, "{} of {} is not in the artifact", hex::encode(selector), C::NAME);
    }
}

fn assert_events(selectors: &[[u8; 32]], abi: &JsonAbi) {
    assert!(!selectors.is_empty());
    for selector in selectors {
        let found = abi.events().any(|event| event.selector().0 == *selector);
        assert!(found, "event {} is not in the artifact", hex::encode(selector));
    }
}

#[test]
fn the_artifacts_have_every_function_of_the_bindings() {
    assert_functions::<IModelRegistryCalls>(abi(Contract::ModelRegistry));
    assert_functions::<IInferenceSettlementCalls>(abi(Contract::InferenceSettlement));
    assert_functions::<IDisputeGameCalls>(abi(Contract::DisputeGame));
    assert_functions::<IStepVerifierCalls>(abi(Contract::StepVerifier));
}

#[test]
fn the_artifacts_have_every_event_of_the_bindings() {
    assert_events(IModelRegistryEvents::SELECTORS, abi(Contract::ModelRegistry));
    assert_events(IInferenceSettlementEvents::SELECTORS, abi(Contract::InferenceSettlement));
    assert_events(IDisputeGameEvents::SELECTORS, abi(Contract::DisputeGame));
}

#[test]
fn every_error_of_the_artifacts_is_named() {
    for error in Contract::ALL.iter().flat_map(|&contract| abi(contract).errors()) {
        // Arguments of 32 zero bytes each decode for every static type; errors have no others.
        let data = [error.selector().as_slice(), &vec![0; 32 * error.inputs.len()]].concat();
        let reason = revert_reason(&data);
        assert!(reason.starts_with(&format!("{}(", error.name)), "{} is {reason}", error.name);
        assert_eq!(error_name(&data), Some(error.name.as_str()));
    }
}

#[test]
fn reasons_of_the_language_are_words() {
    assert_eq!(revert_reason(&[]), "no reason given");
    assert_eq!(error_name(&[]), None);
    assert_eq!(error_name(&[1, 2, 3, 4]), None);
    assert_eq!(revert_reason(&[1, 2, 3, 4]), "0x01020304");
    let text = alloy::sol_types::Revert::from("too late").abi_encode();
    assert_eq!(revert_reason(&text), "revert: too late");
}

#[test]
fn the_artifacts_can_be_deployed_anywhere() {
    for contract in Contract::ALL {
        let name = contract.name();
        let deployed = deployed_bytecode(contract).len();
        assert!(deployed > 0 && deployed <= 24_576, "{name} is {deployed} bytes");
        // EIP-3860's limit counts the constructor's arguments too.
        let init = init_code(contract, &[7; 32]);
        assert!(init.len() < 49_152, "{name}");
        assert!(init.starts_with(&bytecode(contract)) && init.ends_with(&[7; 32]), "{name}");
    }
}

#[test]
fn an_artifact_is_the_contract_that_it_is_called() {
    for contract in Contract::ALL {
        let path = format!("{}/artifacts/{}.json", env!("CARGO_MANIFEST_DIR"), contract.name());
        let json = std::fs::read_to_string(path).expect("it is committed");
        let artifact: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(artifact["contractName"], contract.name());
        let code: alloy::primitives::Bytes =
            serde_json::from_value(artifact["bytecode"]["object"].clone()).expect("it is hex");
        assert_eq!(code, bytecode(contract));
    }
}
