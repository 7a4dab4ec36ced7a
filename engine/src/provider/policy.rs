//! Which requests a provider takes: what its owner allows, and what it can't lose.

use crate::chain::DeployParams;
use crate::fault::FaultSpec;
use crate::store::Request;
use alloy::primitives::{Address, U256};
use std::time::Duration;

/// How many times the estimated time a computation may take: other work on the machine, and attention, which grows with the
/// context.
const SAFETY: u32 = 4;
/// Seconds of the time to claim that are left to the chain.
const CHAIN_S: u64 = 15;

/// How a provider behaves.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who gets the money; the key's own address unless told otherwise.
    pub payee: Option<Address>,
    /// Smallest fee, wei.
    pub min_fee: U256,
    /// Largest bond of a request, wei.
    pub max_bond: Option<U256>,
    /// Longest challenge window: so long a bond is held, seconds.
    pub max_window_s: Option<u32>,
    /// Whether it leaves requests with a temperature to others.
    pub greedy_only: bool,
    /// Most gas of a callback that it pays for: it delivers the answers of its final claims.
    pub max_callback_gas: u32,
    /// Requests accepted or claimed and not settled, at most.
    pub active_max: u32,
    /// Requests accepted ever, at most.
    pub requests_max: Option<u32>,
    /// What to falsify, in drills.
    pub fault: Option<FaultSpec>,
}

/// Why a request is left to others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// It pays too little.
    #[error("the fee of {fee} wei is below --min-fee {least}")]
    Fee {
        /// What it pays, wei.
        fee: U256,
        /// What it would have to, wei.
        least: U256,
    },
    /// It asks for too large a bond.
    #[error("the bond of {bond} wei is above --max-bond {most}")]
    Bond {
        /// What it asks for, wei.
        bond: U256,
        /// What is staked at most, wei.
        most: U256,
    },
    /// It holds the bond for too long.
    #[error("the challenge window of {window_s} s is above --max-window {most_s}")]
    Window {
        /// What it asks for, seconds.
        window_s: u32,
        /// What is allowed, seconds.
        most_s: u32,
    },
    /// It wants samples.
    #[error("it has a temperature, and this provider runs with --greedy-only")]
    Sampled,
    /// The answer might come after the last moment of the claim, which costs a part of the bond.
    #[error("it may take {needed_s} s with what is being worked on, and claims have {allowed_s} s")]
    Slow {
        /// With the margin, seconds.
        needed_s: u64,
        /// Left of the time to claim, seconds.
        allowed_s: u64,
    },
    /// Its computation might not be there again in time to defend it, after a restart.
    #[error("computing it again may take {needed_s} s, and a defender's clock has {clock_s} s")]
    Indefensible {
        /// With the margin, seconds.
        needed_s: u64,
        /// The game's clock, seconds.
        clock_s: u32,
    },
    /// The key can't stake it.
    #[error("the key has {balance} wei, and the bond is {bond} wei")]
    Funds {
        /// What the key has, wei.
        balance: U256,
        /// What it would stake, wei.
        bond: U256,
    },
}

impl Policy {
    /// Whether the owner's limits leave a request to others.
    ///
    /// # Errors
    /// Why they do.
    pub fn allows(&self, request: &Request) -> Result<(), Declined> {
        let (fee, bond, window_s) = (request.fee_wei, request.bond_wei, request.window_s);
        if fee < self.min_fee {
            return Err(Declined::Fee { fee, least: self.min_fee });
        }
        if let Some(most) = self.max_bond.filter(|most| bond > *most) {
            return Err(Declined::Bond { bond, most });
        }
        if let Some(most_s) = self.max_window_s.filter(|most_s| window_s > *most_s) {
            return Err(Declined::Window { window_s, most_s });
        }
        if self.greedy_only && request.temperature != 0 {
            return Err(Declined::Sampled);
        }
        Ok(())
    }
}

/// How long a request is expected to keep a provider busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// From the acceptance to the claim, with the work that comes first.
    pub answer: Duration,
    /// Computing the answer again, for a dispute.
    pub check: Duration,
}

/// Whether a provider can answer a request in time, and defend the answer.
///
/// # Errors
/// Why it had better not try.
pub fn in_time(times: Times, params: &DeployParams) -> Result<(), Declined> {
    let needed_s = times.answer.saturating_mul(SAFETY).as_secs();
    let allowed_s = u64::from(params.claim_s).saturating_sub(CHAIN_S);
    if needed_s > allowed_s {
        return Err(Declined::Slow { needed_s, allowed_s });
    }
    let needed_s = times.check.saturating_mul(SAFETY).as_secs();
    if needed_s > u64::from(params.clock_s) {
        return Err(Declined::Indefensible { needed_s, clock_s: params.clock_s });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;
    use refute_contracts::bindings::RequestStatus;

    fn policy() -> Policy {
        Policy {
            payee: None,
            min_fee: U256::from(10),
            max_bond: Some(U256::from(100)),
            max_window_s: Some(3600),
            greedy_only: true,
            max_callback_gas: 0,
            active_max: 1,
            requests_max: None,
            fault: None,
        }
    }

    fn request() -> Request {
        Request {
            request_id: B256::ZERO,
            block: 1,
            model_id: B256::ZERO,
            requester: Address::ZERO,
            prompt: vec![1; 100],
            max_output: 50,
            seed: 0,
            temperature: 0,
            fee_wei: U256::from(10),
            bond_wei: U256::from(100),
            window_s: 3600,
            deadline_s: 1,
            callback: None,
            callback_gas: 0,
            status: RequestStatus::Open,
            provider: None,
            provider_payee: None,
            accepted_at_s: None,
            claim_by_s: None,
            claim_id: None,
            delivered_at_s: None,
        }
    }

    #[test]
    fn each_limit_declines_what_is_beyond_it_by_one() {
        let (policy, fits) = (policy(), request());
        assert_eq!(policy.allows(&fits), Ok(()));
        let one = U256::ONE;
        let cheap = Request { fee_wei: fits.fee_wei - one, ..request() };
        assert!(matches!(policy.allows(&cheap), Err(Declined::Fee { .. })));
        let dear = Request { bond_wei: fits.bond_wei + one, ..request() };
        assert!(matches!(policy.allows(&dear), Err(Declined::Bond { .. })));
        let long = Request { window_s: 3601, ..request() };
        assert!(matches!(policy.allows(&long), Err(Declined::Window { .. })));
        let warm = Request { temperature: 1, ..request() };
        assert_eq!(policy.allows(&warm), Err(Declined::Sampled));
        let open = Policy { max_bond: None, max_window_s: None, greedy_only: false, ..policy };
        for request in [dear, long, warm] {
            assert_eq!(open.allows(&request), Ok(()));
        }
    }

    #[test]
    fn what_may_come_late_is_declined() {
        let params = DeployParams { claim_s: 615, clock_s: 100, ..DeployParams::default() };
        // Four times over, 150 s are what fits into 600 s, and 25 s into 100 s.
        let answer = |s| Times { answer: Duration::from_secs(s), check: Duration::ZERO };
        assert_eq!(in_time(answer(150), &params), Ok(()));
        let slow = in_time(answer(151), &params);
        assert_eq!(slow, Err(Declined::Slow { needed_s: 604, allowed_s: 600 }));
        let check = |s| Times { answer: Duration::ZERO, check: Duration::from_secs(s) };
        assert_eq!(in_time(check(25), &params), Ok(()));
        let late = in_time(check(26), &params);
        assert_eq!(late, Err(Declined::Indefensible { needed_s: 104, clock_s: 100 }));
        let endless = Times { answer: Duration::MAX, check: Duration::MAX };
        assert!(matches!(in_time(endless, &params), Err(Declined::Slow { .. })));
    }
}
