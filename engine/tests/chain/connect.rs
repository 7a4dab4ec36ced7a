//! Deployments, and nodes that are down, overloaded, or someone else's.

use alloy::primitives::{Address, U256};
use refute_contracts::artifact::{Contract, deployed_bytecode};
use refute_contracts::devnet::DEV_KEYS;
use refute_engine::chain::{Chain, ChainError, DeployParams, parse_key};
use refute_engine::deploy::deploy;

use crate::proxy::{Fault, Proxy};
use crate::world::{Node, World, party};

#[tokio::test]
async fn a_deployment_is_what_it_says() {
    let world = World::new().await;
    let deployment = &world.deployment;
    assert_eq!(deployment.parameters, DeployParams::default());
    assert_eq!(deployment.chain_id, 31337);
    assert_eq!(deployment.block, 1);
    let settlement = world.provider.settlement().unwrap();
    assert_eq!(settlement.game().call().await.unwrap(), deployment.game);
    assert_eq!(settlement.WINDOW_S().call().await.unwrap(), deployment.parameters.window_s);
    let game = world.provider.game().unwrap();
    assert_eq!(game.ARITY_BITS().call().await.unwrap(), deployment.parameters.arity_bits);
    let registry = world.provider.registry().unwrap();
    assert!(registry.isRegistered(world.model_id).call().await.unwrap());
    assert!(!deployed_bytecode(Contract::StepVerifier).is_empty());
}

#[tokio::test]
async fn parameters_that_a_constructor_refuses_are_named() {
    let node = Node::start().await;
    let chain = party(&node.url(), 0, None).await;
    let free = DeployParams { challenger_burn_wei: U256::ZERO, ..DeployParams::default() };
    let error = deploy(&chain, &free).await.unwrap_err();
    assert!(error.to_string().contains("challengerBurn"), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn another_deployment_than_the_files_is_refused() {
    let world = World::new().await;
    let connect = |deployment| {
        let key = parse_key(&DEV_KEYS[1].to_string()).unwrap();
        let url = world.url.clone();
        async move { Chain::connect(&url, Some(key), Some(deployment)).await.unwrap_err() }
    };
    let mut other = world.deployment.clone();
    other.chain_id = 1;
    assert!(matches!(connect(other).await, ChainError::WrongChain { expected: 1, found: 31337 }));

    let mut other = world.deployment.clone();
    other.game = Address::repeat_byte(9);
    assert!(matches!(connect(other).await, ChainError::NoCode { contract: "DisputeGame", .. }));

    let mut other = world.deployment.clone();
    other.game = other.registry;
    assert!(matches!(connect(other).await, ChainError::WrongDeployment { what: "game", .. }));

    let mut other = world.deployment.clone();
    other.parameters.clock_s += 1;
    assert!(matches!(connect(other).await, ChainError::WrongDeployment { what: "clock_s", .. }));
}

#[tokio::test]
async fn a_node_that_stumbles_is_asked_again() {
    let world = World::new().await;
    let faults = vec![Fault::Status(429), Fault::Lost, Fault::Status(503), Fault::AnswerLost];
    let proxy = Proxy::faults(&world.url, "eth_getBlockByNumber", faults).await;
    let chain = party(&proxy.url, 1, Some(world.deployment.clone())).await;
    assert_eq!(chain.head().await.unwrap(), world.provider.head().await.unwrap());
    assert_eq!(proxy.count("eth_getBlockByNumber"), 5);
}

#[tokio::test]
async fn a_node_that_is_down_is_given_up_on_in_time() {
    let node = Node::start().await;
    let proxy = Proxy::start(&node.url(), |method, _| match method {
        "eth_getBlockByNumber" => Fault::Lost,
        _ => Fault::None,
    })
    .await;
    let chain = party(&proxy.url, 1, None).await;
    let error = chain.head().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(proxy.count("eth_getBlockByNumber"), 5);
    let error = Chain::connect("ftp://nowhere", None, None).await.unwrap_err();
    assert!(matches!(error, ChainError::Url));
}

#[tokio::test]
async fn a_refusal_has_the_contracts_own_name() {
    let world = World::new().await;
    let request_id = world.request(0).await;
    world.accept(request_id).await;
    let again = world.accept_call(request_id);
    let error = world.provider.transact(&again).await.unwrap_err();
    assert_eq!(error.to_string(), "the transaction would fail: WrongRequestStatus(2)");
    let settlement = world.provider.settlement().unwrap();
    let error: ChainError = settlement.finalOutput(request_id).call().await.unwrap_err().into();
    assert_eq!(error.to_string(), "the contract reverted: WrongRequestStatus(2)");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn time_is_the_chains() {
    let world = World::new().await;
    let head = world.provider.head().await.unwrap();
    world.rpc("evm_setNextBlockTimestamp", (head.timestamp_s + 5000,)).await;
    assert_eq!(world.provider.now_s().await.unwrap(), head.timestamp_s + 5000);
    assert_eq!(world.provider.head().await.unwrap(), head);
}
