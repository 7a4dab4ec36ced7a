//! The self-test: an adapter computes known answers before it computes for money.
//!
//! Every kernel runs in the sizes that the model needs, on inputs that are drawn anew from a fixed
//! seed, and each word of each result is compared with what `reference` computes here and now. The
//! pipelines that it compiles are those that the model then runs with.

use super::device::Device;
use super::kernel::Kernel;
use super::vectors::Sizes;
use crate::backend::BackendError;
use crate::decoder::Decoder;
use std::time::{Duration, Instant};

/// What an adapter has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Cases that each kernel got right.
    pub kernels: Vec<(Kernel, usize)>,
    /// Time for all of them, compilation included.
    pub spent: Duration,
}

impl Report {
    /// Cases of all kernels.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.kernels.iter().map(|(_, cases)| cases).sum()
    }
}

/// Tests a device with small sizes and every format of weights.
///
/// # Errors [`BackendError::Refused`] with the kernel, the case and the element that differ; a
/// failed device.
pub fn check(device: &Device) -> Result<Report, BackendError> {
    test(device, &Sizes::small())
}

/// Tests a device with the sizes of a model.
///
/// # Errors
/// As [`check`].
pub(super) fn run(device: &Device, decoder: &Decoder) -> Result<Report, BackendError> {
    test(device, &Sizes::of(decoder))
}

fn test(device: &Device, sizes: &Sizes) -> Result<Report, BackendError> {
    let start = Instant::now();
    let mut kernels = Kernel::ALL.map(|kernel| (kernel, 0)).to_vec();
    for case in sizes.cases(device.tuning()) {
        device.check_case(&case)?;
        let kernel = case.variant.kernel;
        kernels.iter_mut().filter(|(k, _)| *k == kernel).for_each(|(_, n)| *n += 1);
    }
    Ok(Report { kernels, spent: start.elapsed() })
}
