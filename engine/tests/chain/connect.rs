//! Deployments, and nodes that are down, overloaded, or someone else's.

use refute_contracts::artifact::{Contract, deployed_bytecode};
use refute_engine::chain::{Chain, ChainError, DeployParams};

use crate::proxy::{Fault, Proxy};
use crate::world::{Node, World, party};

#[tokio::test]
async fn a_deployment_is_what_it_says() {
    let world = World::new().await;
    let deployment = &world.deployment;
    assert_eq!(deployment.parameters, DeployParams::default());
    assert_eq!(deployment.chain_id, 31337);
    assert_eq!(deployment.block, 2, "the registry's block");
    assert_eq!(deployment.numerics_version, refute_engine::model::NUMERICS_VERSION);
    let settlement = world.provider.settlement().unwrap();
    assert_eq!(settlement.game().call().await.unwrap(), deployment.game);
    let terms = settlement.terms().call().await.unwrap();
    assert_eq!(terms, deployment.parameters.terms().unwrap());
    let game = world.provider.game().unwrap();
    assert_eq!(game.ARITY_BITS().call().await.unwrap(), deployment.parameters.arity_bits);
    let registry = world.provider.registry().unwrap();
    assert!(registry.isRegistered(world.model_id).call().await.unwrap());
    assert!(!deployed_bytecode(Contract::StepVerifier).is_empty());
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
