//! `report.json`: the demo's outcome for programs.

use anyhow::ensure;
use refute_engine::ui;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The whole outcome.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) model_id: String,
    pub(crate) honest: Honest,
    pub(crate) fraud: Fraud,
    pub(crate) elapsed_s: f64,
}

/// The honest claim.
#[derive(Debug, Serialize)]
pub(crate) struct Honest {
    pub(crate) status: String,
    pub(crate) text: String,
    pub(crate) claim_gas: u64,
}

/// The fraudulent one, and the request after it.
#[derive(Debug, Serialize)]
pub(crate) struct Fraud {
    pub(crate) status: &'static str,
    pub(crate) fault: String,
    pub(crate) block: u64,
    pub(crate) step: String,
    pub(crate) element: u64,
    pub(crate) claimed: String,
    pub(crate) computed: String,
    pub(crate) rounds: u64,
    pub(crate) transactions: u64,
    pub(crate) gas_total: u64,
    pub(crate) calldata_bytes: u64,
    pub(crate) step_gas: u64,
    pub(crate) reward_wei: String,
    pub(crate) reimbursed_wei: String,
    pub(crate) burned_wei: String,
    pub(crate) reopened_status: String,
    pub(crate) reopened_text: String,
}

impl Report {
    /// What must be true of every demo.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.honest.status == "final", "the honest claim is {}", self.honest.status);
        ensure!(self.fraud.reopened_status == "final", "the reopened request is not final");
        ensure!(self.fraud.claimed != self.fraud.computed, "the step shows no difference");
        Ok(())
    }

    /// Writes `report.json` to a folder.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let path = folder.join("report.json");
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(path)
    }

    /// The figures for people.
    pub(crate) fn print(&self, path: &Path) {
        let f = &self.fraud;
        let rows = [
            ("honest claim", format!("{}, {} gas", self.honest.status, self.honest.claim_gas)),
            ("fault injected", f.fault.clone()),
            ("convicted at", format!("block {}, {}, element {}", f.block, f.step, f.element)),
            ("claimed / computed", format!("{} / {}", f.claimed, f.computed)),
            ("dispute", format!("{} rounds, {} transactions", f.rounds, f.transactions)),
            ("gas", format!("{} in all, {} in the step", f.gas_total, f.step_gas)),
            ("calldata", format!("{} bytes", f.calldata_bytes)),
            ("time", format!("{:.0} s", self.elapsed_s)),
            ("written to", path.display().to_string()),
        ];
        println!("{}", ui::pairs(&rows));
    }
}
