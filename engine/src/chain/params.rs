//! The constants of a deployment: the game's and the settlement's terms.

use alloy::primitives::U256;
use alloy::sol;
use alloy::sol_types::SolError;
use refute_contracts::bindings::{GameParams, Terms};
use refute_contracts::evm::Outcome;
use refute_contracts::plan::PlanError;
use serde::{Deserialize, Serialize};

use super::ChainError;

/// A thousandth of a coin, in wei.
const MILLI: u128 = 1_000_000_000_000_000;
/// Basis points of a whole.
const WHOLE_BPS: u64 = 10_000;

/// The constants of a deployment. They are fixed for ever by the constructors; `contracts/README.md`
/// says what they have to be for real money.
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
    /// Smallest bond that a request may ask of its provider, wei.
    #[serde(with = "decimal")]
    pub bond_min_wei: U256,
    /// Largest bond that a request may ask of its provider, wei.
    #[serde(with = "decimal")]
    pub bond_max_wei: U256,
    /// Part of a convicted provider's bond that is burned, basis points: at least half of it, less than all.
    pub burn_bps: u16,
    /// Part of the bond of a provider that accepted and didn't claim in time that is burned, basis points.
    pub miss_bps: u16,
    /// What a challenger stakes on a dispute, wei.
    #[serde(with = "decimal")]
    pub challenger_bond_wei: U256,
    /// Part of a losing challenger's bond that is burned, basis points.
    pub challenger_burn_bps: u16,
    /// What a challenger gets for a move if its dispute stands when the claim is rejected, wei.
    #[serde(with = "decimal")]
    pub move_reimbursement_wei: U256,
    /// Moves that are paid for like that, at most, over all disputes of a claim.
    pub moves_reimbursed: u32,
    /// Shortest challenge window that a request may ask for, seconds.
    pub window_min_s: u32,
    /// Longest challenge window that a request may ask for, seconds.
    pub window_max_s: u32,
    /// From an acceptance to the last moment of its claim, seconds.
    pub claim_s: u32,
    /// Most gas that a request's callback may ask for.
    pub callback_gas_max: u32,
}

impl Default for DeployParams {
    fn default() -> Self {
        let milli = |count: u128| U256::from(count * MILLI);
        Self {
            arity_bits: 5,
            clock_s: 600,
            min_response_s: 30,
            bond_min_wei: milli(100),
            bond_max_wei: milli(100_000),
            burn_bps: 5_000,
            miss_bps: 1_000,
            challenger_bond_wei: milli(20),
            challenger_burn_bps: 5_000,
            move_reimbursement_wei: milli(1) / U256::from(2),
            moves_reimbursed: 32,
            window_min_s: 120,
            window_max_s: 7 * 24 * 3600,
            claim_s: 600,
            callback_gas_max: 2_000_000,
        }
    }
}

/// A constant's name in Solidity, the option of `refute deploy` that sets it, and what it has to be.
struct Rule {
    field: &'static str,
    flag: &'static str,
    rule: &'static str,
}

const fn rule(field: &'static str, flag: &'static str, rule: &'static str) -> Rule {
    Rule { field, flag, rule }
}

/// What the constructors refuse, in the words of the command line.
const RULES: [Rule; 14] = [
    rule("arityBits", "--arity", "1 to 8"),
    rule("clockS", "--clock", "at least 1 second"),
    rule("minResponseS", "--min-response", "at least 1 second"),
    rule("bondMin", "--bond-min", "more than 0"),
    rule("bondMax", "--bond-max", "at least --bond-min"),
    rule("burnBps", "--burn-bps", "5000 to 9999: at least half of the bond, and not all of it"),
    rule("missBps", "--miss-bps", "1 to 10000"),
    rule("challengerBond", "--challenger-bond", "more than 0"),
    rule("challengerBurnBps", "--challenger-burn-bps", "1 to 10000: a lost dispute has to cost"),
    rule("moveReimbursement", "--move-reimbursement", "more than 0"),
    rule("movesReimbursed", "--moves-reimbursed", MOVES),
    rule("windowMinS", "--window-min", "at least 1 second"),
    rule("windowMaxS", "--window-max", "at least --window-min"),
    rule("claimS", "--claim-time", "at least 1 second"),
];
/// The one rule about several constants.
const MOVES: &str = "more than 0, and so few that all of them, at --move-reimbursement each, cost at \
                     most half of what the burn leaves of --bond-min";

sol! {
    error BadTerms(string what);
    error BadConstant(string what);
}

impl DeployParams {
    /// What `DisputeGame` is made with.
    pub fn game(&self) -> GameParams {
        GameParams {
            arityBits: self.arity_bits,
            clockS: self.clock_s,
            minResponseS: self.min_response_s,
        }
    }

    /// What `InferenceSettlement` is made with.
    ///
    /// # Errors
    /// Amounts of 2^128 wei and more.
    pub fn terms(&self) -> Result<Terms, ChainError> {
        let amount = |field: &str, wei: U256| {
            u128::try_from(wei).map_err(|_| refused(field, "less than 2^128 wei"))
        };
        Ok(Terms {
            bondMin: amount("bondMin", self.bond_min_wei)?,
            bondMax: amount("bondMax", self.bond_max_wei)?,
            burnBps: self.burn_bps,
            missBps: self.miss_bps,
            challengerBond: amount("challengerBond", self.challenger_bond_wei)?,
            challengerBurnBps: self.challenger_burn_bps,
            moveReimbursement: amount("moveReimbursement", self.move_reimbursement_wei)?,
            movesReimbursed: self.moves_reimbursed,
            windowMinS: self.window_min_s,
            windowMaxS: self.window_max_s,
            claimS: self.claim_s,
            callbackGasMax: self.callback_gas_max,
        })
    }

    /// The parameters of a deployment, as its contracts tell them.
    pub(super) fn read(game: &GameParams, terms: &Terms) -> Self {
        Self {
            arity_bits: game.arityBits,
            clock_s: game.clockS,
            min_response_s: game.minResponseS,
            bond_min_wei: U256::from(terms.bondMin),
            bond_max_wei: U256::from(terms.bondMax),
            burn_bps: terms.burnBps,
            miss_bps: terms.missBps,
            challenger_bond_wei: U256::from(terms.challengerBond),
            challenger_burn_bps: terms.challengerBurnBps,
            move_reimbursement_wei: U256::from(terms.moveReimbursement),
            moves_reimbursed: terms.movesReimbursed,
            window_min_s: terms.windowMinS,
            window_max_s: terms.windowMaxS,
            claim_s: terms.claimS,
            callback_gas_max: terms.callbackGasMax,
        }
    }

    /// What a conviction burns of a provider's bond, wei. Shares round in favour of the burn.
    pub fn burned(&self, bond_wei: U256) -> U256 {
        share(bond_wei, self.burn_bps)
    }

    /// What a conviction leaves for reward and reimbursements, wei.
    pub fn pot(&self, bond_wei: U256) -> U256 {
        bond_wei - self.burned(bond_wei)
    }

    /// What a missed claim burns of a provider's bond, wei.
    pub fn missed(&self, bond_wei: U256) -> U256 {
        share(bond_wei, self.miss_bps)
    }

    /// What a lost dispute burns of the challenger's bond, wei.
    pub fn challenger_burned(&self) -> U256 {
        share(self.challenger_bond_wei, self.challenger_burn_bps)
    }

    /// The first parameter that differs, with both values: clocks that differ on and off chain lose
    /// disputes.
    pub(super) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let fields = |params: &Self| match serde_json::to_value(params) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let theirs = fields(other);
        fields(self).into_iter().find_map(|(name, mine)| {
            let found = theirs.get(&name).cloned().unwrap_or_default();
            (found != mine).then(|| (name, mine.to_string(), found.to_string()))
        })
    }
}

fn share(wei: U256, bps: u16) -> U256 {
    (wei * U256::from(bps)).div_ceil(U256::from(WHOLE_BPS))
}

/// A constant that its constructor refuses, in the words of the command line.
pub(crate) fn explain(error: PlanError) -> ChainError {
    match error {
        PlanError::Refused { outcome, .. } => match refused_field(&outcome) {
            Some(field) => {
                let known = RULES.iter().find(|rule| rule.field == field);
                refused(&field, known.map_or("something else", |rule| rule.rule))
            }
            None => ChainError::Plan(outcome.failure()),
        },
        PlanError::Evm(error) => ChainError::Plan(error.to_string()),
    }
}

fn refused_field(outcome: &Outcome) -> Option<String> {
    let data = outcome.output.as_ref();
    let terms = BadTerms::abi_decode(data).map(|error| error.what);
    terms.or_else(|_| BadConstant::abi_decode(data).map(|error| error.what)).ok()
}

fn refused(field: &str, rule: &str) -> ChainError {
    let known = RULES.iter().find(|rule| rule.field == field);
    let flag = known.map_or_else(|| field.to_owned(), |rule| rule.flag.to_owned());
    ChainError::BadTerms { flag, rule: rule.to_owned() }
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
