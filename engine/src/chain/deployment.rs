//! Where the contracts are, and with which parameters they were deployed: one small JSON file per
//! chain that every process of a machine finds by itself.

use std::path::{Path, PathBuf};

use alloy::primitives::{Address, U256};
use serde::{Deserialize, Serialize};

use super::ChainError;
use crate::model::library::HOME_VARIABLE;

/// One gwei, in wei.
const GWEI: u64 = 1_000_000_000;

/// The constants of a deployment. They are fixed for ever by the constructors.
///
/// The defaults suit a demonstration on a development chain: minutes instead of days, and bonds of
/// hundredths of a coin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployParams {
    /// A reveal shows up to `2^arity_bits` nodes or accumulators (1 to 8).
    pub arity_bits: u32,
    /// Chess clock of each party of a dispute, seconds.
    pub clock_s: u32,
    /// Time per move that isn't taken from the clock, seconds.
    pub min_response_s: u32,
    /// From a claim to the end of challenges, seconds.
    pub window_s: u32,
    /// From an acceptance to the last moment of its claim, seconds.
    pub claim_s: u32,
    /// What a provider stakes on a request, wei.
    #[serde(with = "decimal")]
    pub provider_bond_wei: U256,
    /// Part of a convicted provider's bond that is burned, wei: at least half of it, less than all.
    #[serde(with = "decimal")]
    pub provider_burn_wei: U256,
    /// Part of the provider's bond that burns when it doesn't claim in time, wei.
    #[serde(with = "decimal")]
    pub miss_penalty_wei: U256,
    /// What a challenger stakes on a dispute, wei.
    #[serde(with = "decimal")]
    pub challenger_bond_wei: U256,
    /// Part of a losing challenger's bond that is burned, wei.
    #[serde(with = "decimal")]
    pub challenger_burn_wei: U256,
}

impl Default for DeployParams {
    fn default() -> Self {
        let milli = |coins: u64| U256::from(coins) * U256::from(1_000_000) * U256::from(GWEI);
        Self {
            arity_bits: 5,
            clock_s: 600,
            min_response_s: 30,
            window_s: 120,
            claim_s: 600,
            provider_bond_wei: milli(100),
            provider_burn_wei: milli(50),
            miss_penalty_wei: milli(10),
            challenger_bond_wei: milli(20),
            challenger_burn_wei: milli(10),
        }
    }
}

/// A deployment of the contracts on one chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The chain.
    pub chain_id: u64,
    /// A block before which the contracts did not exist: where followers start.
    pub block: u64,
    /// `InferenceSettlement`: requests, claims, money.
    pub settlement: Address,
    /// `DisputeGame`.
    pub game: Address,
    /// `ModelRegistry`.
    pub registry: Address,
    /// `StepVerifier`.
    pub verifier: Address,
    /// The constructors' constants.
    pub parameters: DeployParams,
}

impl Deployment {
    /// Where the deployment on this chain is kept unless somebody says otherwise:
    /// `$REFUTE_HOME/deployments/<chain id>.json`, else the same below `~/.refute`.
    pub fn default_path(chain_id: u64) -> PathBuf {
        let home = std::env::var_os(HOME_VARIABLE).map_or_else(
            || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".refute"),
            PathBuf::from,
        );
        home.join("deployments").join(format!("{chain_id}.json"))
    }

    /// Reads a deployment from this file, or from its default place.
    ///
    /// # Errors
    /// No file, or one that isn't a deployment on `chain_id`.
    pub fn load(chain_id: u64, path: Option<&Path>) -> Result<Self, ChainError> {
        let path = path.map_or_else(|| Self::default_path(chain_id), Path::to_owned);
        let text = match std::fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                tracing::debug!(path = %path.display(), "no deployment");
                return Err(ChainError::NoDeployment);
            }
            Err(source) => return Err(ChainError::File { path, source }),
            Ok(text) => text,
        };
        let deployment: Self = serde_json::from_str(&text)
            .map_err(|source| ChainError::NotADeployment { path, source })?;
        if deployment.chain_id != chain_id {
            let (expected, found) = (deployment.chain_id, chain_id);
            return Err(ChainError::WrongChain { expected, found });
        }
        Ok(deployment)
    }

    /// Writes it to this file, or to its default place, and says where. A reader sees the old file or
    /// the new one, never a part.
    ///
    /// # Errors
    /// Folders and files that can't be written.
    pub fn save(&self, path: Option<&Path>) -> Result<PathBuf, ChainError> {
        let path = path.map_or_else(|| Self::default_path(self.chain_id), Path::to_owned);
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| ChainError::NotADeployment { path: path.clone(), source })?;
        let partial = path.with_extension(format!("{}.part", std::process::id()));
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&partial, text + "\n"))
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(|source| ChainError::File { path: path.clone(), source })?;
        Ok(path)
    }

    /// The contracts with their names, in the order in which they are deployed.
    pub fn contracts(&self) -> [(&'static str, Address); 4] {
        [
            ("StepVerifier", self.verifier),
            ("ModelRegistry", self.registry),
            ("DisputeGame", self.game),
            ("InferenceSettlement", self.settlement),
        ]
    }
}

/// Amounts as decimal strings: people read these files.
mod decimal {
    use alloy::primitives::U256;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &U256, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<U256, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("31337.json");
        let written = Deployment {
            chain_id: 31337,
            block: 7,
            settlement: Address::repeat_byte(1),
            game: Address::repeat_byte(2),
            registry: Address::repeat_byte(3),
            verifier: Address::repeat_byte(4),
            parameters: DeployParams::default(),
        };
        assert!(matches!(Deployment::load(31337, Some(&path)), Err(ChainError::NoDeployment)));
        written.save(Some(&path)).unwrap();
        assert_eq!(Deployment::load(31337, Some(&path)).unwrap(), written);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"100000000000000000\""), "{text}");
        assert!(matches!(
            Deployment::load(1, Some(&path)),
            Err(ChainError::WrongChain { expected: 31337, found: 1 })
        ));
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(
            Deployment::load(31337, Some(&path)),
            Err(ChainError::NotADeployment { .. })
        ));
    }
}
