#![doc = include_str!("../README.md")]
#![deny(clippy::float_arithmetic)]
#![deny(unsafe_code)]

pub mod backend;
pub mod cpu;
pub mod decoder;
pub mod format;
pub mod fx;
pub mod gpu;
pub mod reference;

pub use format::Format;
pub use reference::{
    Heads, MAX_INIT, Sampling, embed, linear, max, mix, noise, probs, quantize, rms_norm, rope,
    sample, scores, sum, swiglu,
};
