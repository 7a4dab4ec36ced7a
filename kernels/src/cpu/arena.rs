//! One large piece of memory, in huge pages where the system has them: generation reads all weights
//! for every token, and small pages cost a quarter of the bandwidth.

use super::simd::Line;
use crate::backend::BackendError;
use memmap2::MmapMut;

/// Lines of zeros, until something is written.
#[derive(Debug)]
pub(super) struct Arena(MmapMut);

impl Arena {
    /// # Errors
    /// The system doesn't give as much.
    pub(super) fn new(what: &str, lines: usize) -> Result<Self, BackendError> {
        let bytes = lines.saturating_mul(size_of::<Line>());
        let memory = MmapMut::map_anon(bytes.max(1)).map_err(|_| BackendError::Memory {
            what: what.to_owned(),
            needed: bytes as u64,
            available: 0,
        })?;
        // Without huge pages it works as well, only slower.
        #[cfg(target_os = "linux")]
        drop(memory.advise(memmap2::Advice::HugePage));
        Ok(Self(memory))
    }

    /// All lines: a mapping starts at a page.
    pub(super) fn lines(&self) -> &[Line] {
        let bytes = self.0.len() / size_of::<Line>() * size_of::<Line>();
        bytemuck::cast_slice(&self.0[..bytes])
    }

    /// The same, to be written.
    pub(super) fn lines_mut(&mut self) -> &mut [Line] {
        let bytes = self.0.len() / size_of::<Line>() * size_of::<Line>();
        bytemuck::cast_slice_mut(&mut self.0[..bytes])
    }
}
