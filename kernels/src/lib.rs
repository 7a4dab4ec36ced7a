//! The integer ops of a language model, bit for bit.
