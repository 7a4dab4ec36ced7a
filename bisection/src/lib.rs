//! The dispute game as pure data.
