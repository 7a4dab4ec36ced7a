//! The contracts' interfaces as Rust: every struct exists once, and each `I…` module holds its
//! contract's calls, events and (`I…Instance`) its client over JSON-RPC.
//!
//! ```no_run
//! # async fn example(url: &str, game: alloy::primitives::Address) -> Result<(), Box<dyn std::error::Error>> {
//! use refute_contracts::bindings::IDisputeGame;
//! let provider = alloy::providers::ProviderBuilder::new().connect_http(url.parse()?);
//! let clock_s = IDisputeGame::new(game, provider).CLOCK_S().call().await?;
//! # Ok(()) }
//! ```

#![allow(missing_docs, reason = "generated: the Solidity interfaces document every item")]
#![allow(clippy::too_many_arguments, reason = "generated: one argument per Solidity argument")]

use alloy::sol;

sol!(
    #[sol(rpc, all_derives)]
    "solidity/interfaces/IModelRegistry.sol"
);
sol!(
    #[sol(rpc, all_derives)]
    "solidity/interfaces/IStepVerifier.sol"
);
sol!(
    #[sol(rpc, all_derives)]
    "solidity/interfaces/IDisputeGame.sol"
);
sol!(
    #[sol(rpc, all_derives)]
    "solidity/interfaces/IInferenceSettlement.sol"
);
sol!(
    #[sol(rpc, all_derives)]
    "solidity/interfaces/IInferenceConsumer.sol"
);
