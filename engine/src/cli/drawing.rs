//! How an answer's tokens are drawn: as arguments, and as `run --json` says it.
#![allow(clippy::float_arithmetic, reason = "a temperature in JSON is a number, and exact")]

use clap::Args;
use refute_engine::temperature::Temperature;
use refute_kernels::reference::Sampling;
use serde::{Deserialize, Serialize};

#[derive(Args)]
pub(super) struct Drawing {
    /// Draw tokens at this temperature, up to 16; 0 takes the likeliest token [default: 0]
    #[arg(long)]
    temperature: Option<Temperature>,
    /// What the draws follow from; only with a temperature above 0 [default: 0]
    #[arg(long)]
    seed: Option<u64>,
}

impl Drawing {
    /// Where nothing is said, as in `known`.
    pub(super) fn sampling(&self, known: Sampling) -> Sampling {
        Sampling {
            seed: self.seed.unwrap_or(known.seed),
            temperature: self.temperature.map_or(known.temperature, |t| t.0),
        }
    }
}

/// Fields of `run --json`; greedy where they are missing.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Drawn {
    /// A multiple of 2^-16: exact.
    #[serde(default)]
    temperature: f64,
    #[serde(default)]
    seed: u64,
}

impl Drawn {
    /// # Errors
    /// A number that is no temperature.
    pub(super) fn sampling(self) -> anyhow::Result<Sampling> {
        let temperature: Temperature = self.temperature.to_string().parse()?;
        Ok(Sampling { seed: self.seed, temperature: temperature.0 })
    }
}

impl From<Sampling> for Drawn {
    fn from(Sampling { seed, temperature }: Sampling) -> Self {
        Self { seed, temperature: f64::from(temperature) / 65_536.0 }
    }
}

/// In words.
pub(super) fn words(Sampling { seed, temperature }: Sampling) -> String {
    match temperature {
        0 => "greedy".to_owned(),
        _ => format!("temperature {} with seed {seed}", Temperature(temperature)),
    }
}
