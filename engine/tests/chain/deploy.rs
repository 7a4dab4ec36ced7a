//! Deployments: the same everywhere, made once, and never mistaken for another.

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::providers::Provider;
use refute_contracts::create2;
use refute_contracts::devnet::DEV_KEYS;
use refute_engine::chain::{Chain, ChainError, DeployParams, Deployment, parse_key};
use refute_engine::deploy::{Options, deploy};
use serde_json::json;

use crate::world::{Node, party};

async fn rpc(chain: &Chain, method: &'static str, params: serde_json::Value) {
    let _: serde_json::Value = chain.provider().raw_request(method.into(), params).await.unwrap();
}

fn with(change: impl FnOnce(&mut DeployParams)) -> Options {
    let mut options = Options::default();
    change(&mut options.params);
    options
}

async fn connect(url: &str, deployment: &Deployment) -> Result<Chain, ChainError> {
    let key = parse_key(&DEV_KEYS[1].to_string()).unwrap();
    Chain::connect(url, Some(key), Some(deployment.clone())).await
}

const ALL: [&str; 4] = ["StepVerifier", "ModelRegistry", "InferenceSettlement", "DisputeGame"];

#[tokio::test]
async fn the_second_deployment_finds_the_first() {
    let node = Node::start().await;
    let (first, second) = (party(&node.url(), 0, None).await, party(&node.url(), 5, None).await);
    let made = deploy(&first, &Options::default()).await.unwrap();
    assert_eq!(made.created, ALL);
    assert!(made.gas_used > 5_000_000);
    rpc(&first, "anvil_mine", json!([7])).await;
    let found = deploy(&second, &Options::default()).await.unwrap();
    assert_eq!(found.deployment, made.deployment, "the registry's block included");
    assert_eq!((found.created.len(), found.gas_used), (0, 0));
    // Other terms share what doesn't depend on them, and events before them are read.
    let other = deploy(&second, &with(|p| p.window_min_s += 1)).await.unwrap();
    assert_eq!(other.created, ALL[2..]);
    assert_eq!(other.deployment.registry, made.deployment.registry);
    assert_eq!(other.deployment.block, made.deployment.block);
    assert_ne!(other.deployment.settlement, made.deployment.settlement);
    let salted = Options { salt: B256::repeat_byte(7), ..Options::default() };
    let salted = deploy(&second, &salted).await.unwrap();
    assert_eq!(salted.created, ALL);
    assert_eq!(salted.deployment.code_hashes.verifier, made.deployment.code_hashes.verifier);
}

#[tokio::test]
async fn two_chains_get_the_same_addresses() {
    let (one, two) = (Node::start().await, Node::start().await);
    let (first, second) = (party(&one.url(), 0, None).await, party(&two.url(), 3, None).await);
    // Nonces, senders and heights differ.
    rpc(&second, "anvil_mine", json!([3])).await;
    let options = Options::default();
    let a = deploy(&first, &options).await.unwrap().deployment;
    let b = deploy(&second, &options).await.unwrap().deployment;
    assert_eq!(Deployment { block: a.block, ..b }, a);
}

#[tokio::test]
async fn each_constant_that_the_contracts_refuse_is_named_by_its_option() {
    let node = Node::start().await;
    let chain = party(&node.url(), 0, None).await;
    let huge = U256::from(1) << 128;
    let cases: [(&str, Options); 18] = [
        ("--arity", with(|p| p.arity_bits = 9)),
        ("--clock", with(|p| p.clock_s = 0)),
        ("--min-response", with(|p| p.min_response_s = 0)),
        ("--bond-min", with(|p| p.bond_min_wei = U256::ZERO)),
        ("--bond-max", with(|p| p.bond_max_wei = p.bond_min_wei - U256::ONE)),
        ("--bond-max", with(|p| p.bond_max_wei = huge)),
        ("--burn-bps", with(|p| p.burn_bps = 4999)),
        ("--burn-bps", with(|p| p.burn_bps = 10_000)),
        ("--miss-bps", with(|p| p.miss_bps = 0)),
        ("--miss-bps", with(|p| p.miss_bps = 10_001)),
        ("--challenger-bond", with(|p| p.challenger_bond_wei = U256::ZERO)),
        ("--challenger-burn-bps", with(|p| p.challenger_burn_bps = 0)),
        ("--move-reimbursement", with(|p| p.move_reimbursement_wei = U256::ZERO)),
        ("--moves-reimbursed", with(|p| p.moves_reimbursed = 0)),
        ("--moves-reimbursed", with(|p| p.moves_reimbursed = 51)),
        ("--window-min", with(|p| p.window_min_s = 0)),
        ("--window-max", with(|p| p.window_max_s = p.window_min_s - 1)),
        ("--claim-time", with(|p| p.claim_s = 0)),
    ];
    for (flag, options) in cases {
        let error = deploy(&chain, &options).await.unwrap_err();
        let named = matches!(&error, ChainError::BadTerms { flag: found, .. } if found == flag);
        assert!(named, "{flag}: {error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(chain.head().await.unwrap().number, 0, "nothing was sent");
    deploy(&chain, &with(|p| p.moves_reimbursed = 50)).await.unwrap();
}

#[tokio::test]
async fn code_that_was_tampered_with_is_refused() {
    let node = Node::start().await;
    let chain = party(&node.url(), 0, None).await;
    let deployment = deploy(&chain, &Options::default()).await.unwrap().deployment;
    for (name, address) in deployment.contracts() {
        let code = chain.provider().get_code_at(address).await.unwrap();
        let mut tampered = code.to_vec();
        tampered[100] ^= 1;
        rpc(&chain, "anvil_setCode", json!([address, alloy::hex::encode_prefixed(&tampered)]))
            .await;
        let error = connect(&node.url(), &deployment).await.unwrap_err();
        let ChainError::WrongCode(wrong) = &error else { panic!("{name}: {error}") };
        assert_eq!((wrong.contract, wrong.address), (name, address));
        assert_eq!((wrong.expected, wrong.found), (keccak256(&code), keccak256(&tampered)));
        assert!(error.to_string().contains("Don't send money"), "{error}");
        // Neither is it deployed over, or taken for a deployment.
        let again = deploy(&chain, &Options::default()).await.unwrap_err();
        assert!(matches!(again, ChainError::WrongCode(_)), "{name}: {again}");
        rpc(&chain, "anvil_setCode", json!([address, code])).await;
        connect(&node.url(), &deployment).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_was_changed_is_refused() {
    let node = Node::start().await;
    let chain = party(&node.url(), 0, None).await;
    let good = deploy(&chain, &Options::default()).await.unwrap().deployment;
    let other = deploy(&chain, &with(|p| p.clock_s += 1)).await.unwrap().deployment;
    let refused = async |change: &dyn Fn(&mut Deployment)| {
        let mut changed = good.clone();
        change(&mut changed);
        connect(&node.url(), &changed).await.unwrap_err()
    };
    let error = refused(&|d| d.chain_id = 1).await;
    assert!(matches!(error, ChainError::WrongChain { expected: 1, found: 31337 }));
    let error = refused(&|d| d.game = Address::repeat_byte(9)).await;
    assert!(matches!(error, ChainError::NoCode { contract: "DisputeGame", .. }), "{error}");
    // Our own contracts, with terms that the file doesn't say.
    let error = refused(&|d| d.parameters.burn_bps += 1).await;
    let named = matches!(&error, ChainError::WrongDeployment { what, .. } if what == "burn_bps");
    assert!(named, "{error}");
    let error = refused(&|d| (d.settlement, d.game) = (other.settlement, other.game)).await;
    let named = matches!(&error, ChainError::WrongDeployment { what, .. } if what == "clock_s");
    assert!(named, "{error}");
    // A game of ours whose settlement is another one.
    let error = refused(&|d| d.game = other.game).await;
    assert!(matches!(error, ChainError::WrongDeployment { .. }), "{error}");
    let error = refused(&|d| d.game = d.registry).await;
    assert!(matches!(error, ChainError::WrongAddress { contract: "DisputeGame", .. }), "{error}");
    let error = refused(&|d| d.code_hashes.registry = B256::ZERO).await;
    assert!(matches!(error, ChainError::OtherBuild { contract: "ModelRegistry", .. }), "{error}");
    let error = refused(&|d| d.salt = B256::repeat_byte(1)).await;
    assert!(!error.is_retryable(), "{error}");
    let error = refused(&|d| d.parameters.claim_s = 0).await;
    assert!(matches!(error, ChainError::BadTerms { .. }), "{error}");
}

#[tokio::test]
async fn a_key_without_coins_is_told_so() {
    let node = Node::start().await;
    let key = parse_key(&B256::repeat_byte(0x77).to_string()).unwrap();
    let poor = Chain::connect(&node.url(), Some(key), None).await.unwrap();
    let error = deploy(&poor, &Options::default()).await.unwrap_err();
    assert!(matches!(error, ChainError::NoCoins { .. }), "{error}");
    assert!(error.to_string().contains(&poor.address().unwrap().to_string()), "{error}");
}

#[tokio::test]
async fn a_chain_without_the_proxy_gets_it_when_asked() {
    let node = Node::start().await;
    let chain = party(&node.url(), 0, None).await;
    rpc(&chain, "anvil_setCode", json!([create2::PROXY, "0x"])).await;
    let error = deploy(&chain, &Options::default()).await.unwrap_err();
    assert!(matches!(error, ChainError::NoProxy), "{error}");
    assert!(error.to_string().contains("--install-proxy"), "{error}");
    let options = Options { install_proxy: true, ..Options::default() };
    let made = deploy(&chain, &options).await.unwrap();
    assert_eq!(made.created, ALL);
    assert_eq!(chain.provider().get_code_at(create2::PROXY).await.unwrap(), create2::PROXY_CODE);
    assert_eq!(chain.provider().get_transaction_count(create2::PROXY_SENDER).await.unwrap(), 1);
    // Something else where the proxy should be can't be used.
    rpc(&chain, "anvil_setCode", json!([create2::PROXY, "0x00"])).await;
    let error = deploy(&chain, &options).await.unwrap_err();
    let named = matches!(&error, ChainError::WrongCode(c) if c.contract == "CREATE2 proxy");
    assert!(named, "{error}");
}
