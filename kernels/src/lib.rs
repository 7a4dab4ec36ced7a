#![doc = include_str!("../README.md")]
#![deny(clippy::float_arithmetic)]
#![deny(unsafe_code)]

// Helpers of the tests name the crate as its users do.
#[cfg(test)]
extern crate self as refute_kernels;

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
