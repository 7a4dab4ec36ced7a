//! What a claim needs next, as a table.

use refute_engine::store::VerdictKind;

/// Where a claim stands on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Challenges are open.
    Open,
    /// The window has ended, but a dispute may still run.
    Closing,
    /// A dispute rejected it.
    Rejected,
    /// Nobody can do anything any more.
    Final,
}

/// This watcher's dispute of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mine {
    /// It has none.
    None,
    /// It runs.
    Live,
    /// Decided for the challenger, or void because another one was.
    Won,
    /// Decided for the provider.
    Lost,
}

/// What to do about a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Run the model again.
    Check,
    /// Open a dispute.
    Challenge,
    /// Make the next move.
    Play,
    /// Reward, bond.
    Collect,
    /// Nothing, but somebody should know.
    Alert,
    /// Nothing.
    Rest,
}

/// The table. Rows are tried in order; `None` in a column stands for anything.
type Row = (Option<Standing>, Option<Option<VerdictKind>>, Option<Mine>, Duty);

const TABLE: &[Row] = {
    use Duty::{Alert, Challenge, Check, Collect, Play, Rest};
    use Standing::{Closing, Final, Open, Rejected};
    use VerdictKind::Wrong;
    &[
        (Some(Final), None, None, Rest),
        // Money first: what was won is collected, whatever the verdict was.
        (Some(Rejected), None, Some(Mine::Won), Collect),
        (Some(Rejected), None, Some(Mine::Live), Collect),
        (Some(Rejected), None, None, Rest),
        // A dispute that was opened is played, even by a watcher that lost its verdicts.
        (None, None, Some(Mine::Live), Play),
        (None, None, Some(Mine::Lost), Alert),
        (Some(Open), Some(None), None, Check),
        (Some(Open), Some(Some(Wrong)), Some(Mine::None), Challenge),
        // Too late to challenge: somebody else may have, but not this watcher.
        (Some(Closing), Some(Some(Wrong)), Some(Mine::None), Alert),
        (None, None, None, Rest),
    ]
};

/// What a claim needs.
pub fn duty(standing: Standing, verdict: Option<VerdictKind>, mine: Mine) -> Duty {
    let fits = |row: &&Row| {
        row.0.is_none_or(|s| s == standing)
            && row.1.is_none_or(|v| v == verdict)
            && row.2.is_none_or(|m| m == mine)
    };
    TABLE.iter().find(fits).map_or(Duty::Rest, |row| row.3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERDICTS: [Option<VerdictKind>; 4] =
        [None, Some(VerdictKind::Honest), Some(VerdictKind::Wrong), Some(VerdictKind::Undecidable)];

    #[test]
    fn only_a_wrong_claim_in_its_window_is_challenged() {
        for standing in [Standing::Open, Standing::Closing, Standing::Rejected, Standing::Final] {
            for verdict in VERDICTS {
                for mine in [Mine::None, Mine::Live, Mine::Won, Mine::Lost] {
                    let expected = standing == Standing::Open
                        && verdict == Some(VerdictKind::Wrong)
                        && mine == Mine::None;
                    let challenged = duty(standing, verdict, mine) == Duty::Challenge;
                    assert_eq!(challenged, expected, "{standing:?} {verdict:?} {mine:?}");
                }
            }
        }
    }

    #[test]
    fn a_live_dispute_is_played_until_its_claim_is_rejected() {
        for verdict in VERDICTS {
            assert_eq!(duty(Standing::Open, verdict, Mine::Live), Duty::Play);
            assert_eq!(duty(Standing::Closing, verdict, Mine::Live), Duty::Play);
            assert_eq!(duty(Standing::Rejected, verdict, Mine::Live), Duty::Collect);
            assert_eq!(duty(Standing::Rejected, verdict, Mine::Won), Duty::Collect);
        }
    }

    #[test]
    fn an_unchecked_claim_is_checked_and_an_honest_one_left_alone() {
        assert_eq!(duty(Standing::Open, None, Mine::None), Duty::Check);
        assert_eq!(duty(Standing::Open, Some(VerdictKind::Honest), Mine::None), Duty::Rest);
        assert_eq!(duty(Standing::Open, Some(VerdictKind::Undecidable), Mine::None), Duty::Rest);
        assert_eq!(duty(Standing::Closing, None, Mine::None), Duty::Rest);
        assert_eq!(duty(Standing::Closing, Some(VerdictKind::Wrong), Mine::Lost), Duty::Alert);
    }
}
