//! Everything that the contracts say, as one enum.

use alloy::primitives::{B256, LogData};
use alloy::sol_types::SolEvent;
use refute_contracts::bindings::IDisputeGame::IDisputeGameEvents as GameEvents;
use refute_contracts::bindings::{IDisputeGame, IInferenceSettlement, IModelRegistry};

/// Which contract a log is from. The same bytes from another address mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// `ModelRegistry`.
    Registry,
    /// `InferenceSettlement`.
    Settlement,
    /// `DisputeGame`.
    Game,
}

impl Origin {
    /// A number for databases.
    pub fn code(self) -> u8 {
        match self {
            Self::Registry => 0,
            Self::Settlement => 1,
            Self::Game => 2,
        }
    }

    /// The origin of a number from a database.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Registry, Self::Settlement, Self::Game].get(usize::from(code)).copied()
    }
}

/// Why a log is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The contract has no such event.
    #[error("unknown event {0:?}")]
    Unknown(Option<B256>),
    /// The bytes are not what the ABI says.
    #[error(transparent)]
    Abi(#[from] alloy::sol_types::Error),
}

macro_rules! events {
    ($($origin:ident: $interface:ident { $($name:ident),+ $(,)? })+) => {
        /// An event of one of the contracts.
        #[allow(clippy::large_enum_variant, reason = "events come one by one and don't stay")]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Event {
            $($(
                #[doc = concat!("`", stringify!($interface), "::", stringify!($name), "`")]
                $name($interface::$name),
            )+)+
        }

        impl Event {
            /// Decodes a log of this origin.
            ///
            /// # Errors
            /// Logs that aren't an event of this contract.
            pub fn decode(
                origin: Origin,
                topics: &[B256],
                data: &[u8],
            ) -> Result<Self, EventError> {
                let topics = || topics.iter().copied();
                match (origin, topics().next()) {
                    $($(
                        (Origin::$origin, Some($interface::$name::SIGNATURE_HASH)) => {
                            Ok(Self::$name($interface::$name::decode_raw_log_validate(
                                topics(),
                                data,
                            )?))
                        }
                    )+)+
                    (_, signature) => Err(EventError::Unknown(signature)),
                }
            }

            /// Its log: what [`Event::decode`] reads.
            pub fn encode(&self) -> (Origin, LogData) {
                match self {
                    $($(Self::$name(e) => (Origin::$origin, e.encode_log_data()),)+)+
                }
            }

            /// Its name in Solidity.
            pub fn name(&self) -> &'static str {
                match self {
                    $($(Self::$name(_) => stringify!($name),)+)+
                }
            }
        }
    };
}

events! {
    Registry: IModelRegistry { ModelRegistered }
    Settlement: IInferenceSettlement {
        Requested, Accepted, Claimed, Challenged, Finalized, Rejected, Rewarded, Reimbursed,
        Released, Cancelled, Delivered, Credited, Withdrawn, Burned,
    }
    Game: IDisputeGame {
        DisputeOpened, Revealed, Chosen, StepChosen, Expanded, LeafRevealed, ElementChosen,
        FoldRevealed, FoldChosen, DisputeResolved,
    }
}

/// A move of a dispute, as its event tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moved {
    /// The dispute.
    pub dispute: B256,
    /// The number of the move, from 0.
    pub number: u32,
    /// Hash of the state after it.
    pub state: B256,
}

impl Event {
    /// The move that this event is about, if it is about one. Opening and resolving are none.
    pub fn moved(&self) -> Option<Moved> {
        let (dispute, number, state) = match self {
            Self::Revealed(e) => (e.dispute, e.r#move, e.state),
            Self::Chosen(e) => (e.dispute, e.r#move, e.state),
            Self::StepChosen(e) => (e.dispute, e.r#move, e.state),
            Self::Expanded(e) => (e.dispute, e.r#move, e.state),
            Self::LeafRevealed(e) => (e.dispute, e.r#move, e.state),
            Self::ElementChosen(e) => (e.dispute, e.r#move, e.state),
            Self::FoldRevealed(e) => (e.dispute, e.r#move, e.state),
            Self::FoldChosen(e) => (e.dispute, e.r#move, e.state),
            _ => return None,
        };
        Some(Moved { dispute, number, state })
    }

    /// The game's own enum of events; `None` for what the other contracts say.
    pub fn game(&self) -> Option<GameEvents> {
        Some(match self.clone() {
            Self::DisputeOpened(e) => GameEvents::DisputeOpened(e),
            Self::Revealed(e) => GameEvents::Revealed(e),
            Self::Chosen(e) => GameEvents::Chosen(e),
            Self::StepChosen(e) => GameEvents::StepChosen(e),
            Self::Expanded(e) => GameEvents::Expanded(e),
            Self::LeafRevealed(e) => GameEvents::LeafRevealed(e),
            Self::ElementChosen(e) => GameEvents::ElementChosen(e),
            Self::FoldRevealed(e) => GameEvents::FoldRevealed(e),
            Self::FoldChosen(e) => GameEvents::FoldChosen(e),
            Self::DisputeResolved(e) => GameEvents::DisputeResolved(e),
            _ => return None,
        })
    }

    /// The dispute that it is about.
    pub fn dispute(&self) -> Option<B256> {
        match self {
            Self::Challenged(e) => Some(e.dispute),
            Self::DisputeOpened(e) => Some(e.dispute),
            Self::DisputeResolved(e) => Some(e.dispute),
            Self::Rewarded(e) => Some(e.dispute),
            Self::Reimbursed(e) => Some(e.dispute),
            other => other.moved().map(|moved| moved.dispute),
        }
    }
}

/// An event and its place on the chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Logged {
    /// Number of its block.
    pub block: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// Time of its block, seconds.
    pub timestamp_s: u64,
    /// Hash of its transaction.
    pub tx_hash: B256,
    /// Its number among the logs of the block.
    pub log_index: u64,
    /// What happened.
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{Address, Bytes};

    #[test]
    fn an_event_survives_its_log() {
        let event = Event::Claimed(IInferenceSettlement::Claimed {
            claimId: B256::repeat_byte(1),
            requestId: B256::repeat_byte(2),
            provider: Address::repeat_byte(3),
            output: Bytes::from(vec![4; 37]),
            traceRoot: B256::repeat_byte(5),
            windowEnd: 6,
        });
        let (origin, log) = event.encode();
        assert_eq!(origin, Origin::Settlement);
        assert_eq!(Event::decode(origin, log.topics(), &log.data).unwrap(), event);
        assert!(matches!(
            Event::decode(Origin::Game, log.topics(), &log.data),
            Err(EventError::Unknown(Some(_)))
        ));
        // The zeros that pad the last bytes to a word may be missing; nothing else may.
        let padding = 32 - 37 % 32;
        for cut in 0..log.data.len() - padding {
            assert!(Event::decode(origin, log.topics(), &log.data[..cut]).is_err(), "{cut}");
        }
        assert!(Event::decode(origin, &log.topics()[..2], &log.data).is_err());
        assert!(Event::decode(origin, &[], &log.data).is_err());
    }

    #[test]
    fn origins_survive_their_codes() {
        for origin in [Origin::Registry, Origin::Settlement, Origin::Game] {
            assert_eq!(Origin::from_code(origin.code()), Some(origin));
        }
        assert_eq!(Origin::from_code(3), None);
    }
}
