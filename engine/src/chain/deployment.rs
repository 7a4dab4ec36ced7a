//! Where the contracts are, with which parameters they were deployed, and what their code has to be:
//! one small JSON file per chain that every process of a machine finds by itself.

use std::path::{Path, PathBuf};

use alloy::primitives::{Address, B256};
use refute_contracts::artifact::Contract;
use refute_contracts::plan::Plan;
use serde::{Deserialize, Serialize};

use super::{ChainError, DeployParams, params};
use crate::model::library::HOME_VARIABLE;

/// A deployment of the contracts on one chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The chain.
    pub chain_id: u64,
    /// The block that the registry was created in, before which nothing was said: where followers
    /// start.
    pub block: u64,
    /// What the addresses are derived from, beside the code and the parameters.
    pub salt: B256,
    /// What `StepVerifier` computes by.
    pub numerics_version: u32,
    /// `InferenceSettlement`: requests, claims, money.
    pub settlement: Address,
    /// `DisputeGame`.
    pub game: Address,
    /// `ModelRegistry`.
    pub registry: Address,
    /// `StepVerifier`.
    pub verifier: Address,
    /// Hashes of the four contracts' code.
    pub code_hashes: CodeHashes,
    /// The constructors' constants.
    pub parameters: DeployParams,
}

/// Hashes of the code as it lies on the chain, constants included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeHashes {
    /// Of `InferenceSettlement`.
    pub settlement: B256,
    /// Of `DisputeGame`.
    pub game: B256,
    /// Of `ModelRegistry`.
    pub registry: B256,
    /// Of `StepVerifier`.
    pub verifier: B256,
}

impl Deployment {
    /// What a plan is once it is on its chain.
    pub(crate) fn of(
        plan: &Plan,
        chain_id: u64,
        block: u64,
        salt: B256,
        parameters: DeployParams,
    ) -> Self {
        Self {
            chain_id,
            block,
            salt,
            numerics_version: plan.numerics_version,
            settlement: plan.settlement.address,
            game: plan.game.address,
            registry: plan.registry.address,
            verifier: plan.verifier.address,
            code_hashes: CodeHashes {
                settlement: plan.settlement.code_hash,
                game: plan.game.code_hash,
                registry: plan.registry.code_hash,
                verifier: plan.verifier.code_hash,
            },
            parameters,
        }
    }

    /// What this build makes of the deployment's parameters.
    ///
    /// # Errors
    /// Parameters that the constructors refuse: nobody can have deployed with them.
    pub(crate) fn plan(&self) -> Result<Plan, ChainError> {
        let (game, terms) = (self.parameters.game(), self.parameters.terms()?);
        Plan::new(self.chain_id, self.salt, &game, &terms).map_err(params::explain)
    }

    /// That this build's artifacts, with the file's parameters, are what the file says.
    pub(super) fn check_build(&self, plan: &Plan) -> Result<(), ChainError> {
        for planned in plan.contracts() {
            let (file, built) = (self.code_hash(planned.contract), planned.code_hash);
            if file != built {
                let contract = planned.contract.name();
                return Err(ChainError::OtherBuild { contract, file, built });
            }
            let (expected, found) = (planned.address, self.address(planned.contract));
            if expected != found {
                let contract = planned.contract.name();
                return Err(ChainError::WrongAddress { contract, expected, found });
            }
        }
        Ok(())
    }

    /// Where a contract is.
    pub fn address(&self, contract: Contract) -> Address {
        match contract {
            Contract::InferenceSettlement => self.settlement,
            Contract::DisputeGame => self.game,
            Contract::ModelRegistry => self.registry,
            Contract::StepVerifier => self.verifier,
        }
    }

    fn code_hash(&self, contract: Contract) -> B256 {
        match contract {
            Contract::InferenceSettlement => self.code_hashes.settlement,
            Contract::DisputeGame => self.code_hashes.game,
            Contract::ModelRegistry => self.code_hashes.registry,
            Contract::StepVerifier => self.code_hashes.verifier,
        }
    }

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

    /// The contracts with their names, in the order in which they come to be.
    pub fn contracts(&self) -> [(&'static str, Address); 4] {
        let order = [
            Contract::StepVerifier,
            Contract::ModelRegistry,
            Contract::InferenceSettlement,
            Contract::DisputeGame,
        ];
        order.map(|contract| (contract.name(), self.address(contract)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("31337.json");
        let params = DeployParams::default();
        let terms = params.terms().unwrap();
        let plan = Plan::new(31337, B256::ZERO, &params.game(), &terms).unwrap();
        let written = Deployment::of(&plan, 31337, 7, B256::ZERO, params);
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
