//! The watchtower: re-runs claims and disputes the wrong ones.
