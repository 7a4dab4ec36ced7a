//! Tests that drive the packages together.

/// Whole disputes on the embedded EVM.
mod dispute;
/// The real model, disputed on the embedded EVM.
mod real;
