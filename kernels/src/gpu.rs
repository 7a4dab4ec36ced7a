//! The GPU backend: the WGSL kernels of `shaders/` through wgpu.
//!
//! WGSL's integers are exact by the language's own rules, so a kernel that is right is right on every device, and the bits are
//! those of `reference`. That a driver is right is not taken on trust: before a device computes anything for money it answers
//! known cases of every kernel in the sizes of the model, and one that differs is refused by name.
//!
//! Read in this order: [`kernel`] (the sources and what they bind), [`adapter`] and [`device`] (what there is, opened, with its
//! failures), [`case`] (one dispatch with its known answer), [`vectors`] (many of them), [`self_test`].

pub mod adapter;
mod buffers;
pub mod case;
pub mod device;
pub mod kernel;
mod profile;
mod script;
pub mod self_test;
mod sequence;
pub mod vectors;
mod weights;

pub use adapter::{Adapter, AdapterInfo};
pub use case::{Case, Difference};
pub use device::{Device, Edit};
pub use kernel::{Kernel, Tuning, Variant};
pub use profile::KernelTime;
pub use sequence::Gpu;
