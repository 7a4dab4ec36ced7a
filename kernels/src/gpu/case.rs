//! One dispatch as plain data: what goes in and what must come out.
//!
//! Self-test, tests and the page that a browser runs all execute the same cases.

use super::device::Device;
use super::kernel::Variant;
use crate::backend::BackendError;
use std::fmt;

/// A dispatch and its known answer. Buffers are arrays of 32-bit words, whatever the kernel sees in them.
#[derive(Clone, Debug)]
pub struct Case {
    /// Says what is special about it.
    pub name: String,
    /// Kernel and constants.
    pub variant: Variant,
    /// The batch: first position, rows, first row with a head, 0.
    pub batch: [u32; 4],
    /// The op's sizes.
    pub op: Vec<u32>,
    /// Buffers that are read.
    pub inputs: Vec<Vec<u32>>,
    /// Buffers that are written, as they are before.
    pub outputs: Vec<Vec<u32>>,
    /// Workgroups.
    pub groups: [u32; 3],
    /// The buffers that are written, as they have to be after.
    pub expected: Vec<Vec<u32>>,
}

/// Where a device differs from the known answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which of the written buffers.
    pub output: usize,
    /// Which word of it.
    pub word: usize,
    /// What the device computed.
    pub found: u32,
    /// What the reference says.
    pub expected: u32,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { output, word, found, expected } = self;
        write!(f, "output {output}, word {word}: {found:#010x} instead of {expected:#010x}")
    }
}

impl Case {
    /// The first difference between what came out and what had to.
    #[must_use]
    pub fn difference(&self, found: &[Vec<u32>]) -> Option<Difference> {
        for (output, (found, expected)) in found.iter().zip(&self.expected).enumerate() {
            let differs = found.iter().zip(expected).position(|(a, b)| a != b);
            if let Some(word) = differs {
                let (found, expected) = (found[word], expected[word]);
                return Some(Difference { output, word, found, expected });
            }
            if found.len() != expected.len() {
                let word = found.len().min(expected.len());
                return Some(Difference { output, word, found: 0, expected: 0 });
            }
        }
        None
    }
}

impl Device {
    /// Runs a case and gives the buffers that were written.
    ///
    /// # Errors
    /// A kernel that doesn't compile, a failed device.
    pub fn run(&self, case: &Case) -> Result<Vec<Vec<u32>>, BackendError> {
        use wgpu::BufferUsages as Usage;
        let pipeline = self.pipeline(&case.variant)?;
        let filled = |words: &[u32], usage| {
            let bytes: &[u8] = bytemuck::cast_slice(words);
            let buffer = self.buffer("case", bytes.len() as u64, usage | Usage::COPY_DST)?;
            self.queue.write_buffer(&buffer, 0, bytes);
            Ok::<_, BackendError>(buffer)
        };
        let mut op = case.op.clone();
        op.resize(op.len().next_multiple_of(4), 0);
        let mut buffers = vec![filled(&case.batch, Usage::UNIFORM)?, filled(&op, Usage::UNIFORM)?];
        for words in &case.inputs {
            buffers.push(filled(words, Usage::STORAGE)?);
        }
        for words in &case.outputs {
            buffers.push(filled(words, Usage::STORAGE | Usage::COPY_SRC)?);
        }
        let bindings: Vec<_> = buffers.iter().map(|b| b.as_entire_binding()).collect();
        let group = self.bind(&pipeline, bindings);

        let written = &buffers[2 + case.inputs.len()..];
        let sizes: Vec<u64> = case.outputs.iter().map(|w| 4 * w.len() as u64).collect();
        let total: u64 = sizes.iter().sum();
        let readback = self.buffer("readback", total + 8, Usage::MAP_READ | Usage::COPY_DST)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &group, &[]);
            let [x, y, z] = case.groups;
            pass.dispatch_workgroups(x, y, z);
        }
        let mut at = 0;
        for (buffer, size) in written.iter().zip(&sizes) {
            encoder.copy_buffer_to_buffer(buffer, 0, &readback, at, *size);
            at += size;
        }
        self.submit_and_read(encoder.finish(), &readback, total, |bytes| {
            let mut words = bytes.as_chunks().0.iter().map(|w| u32::from_le_bytes(*w));
            case.outputs.iter().map(|w| words.by_ref().take(w.len()).collect()).collect()
        })
    }

    /// Runs a case and compares.
    ///
    /// # Errors
    /// As [`Self::run`]; [`BackendError::Refused`] if the answer is another one.
    pub fn check_case(&self, case: &Case) -> Result<(), BackendError> {
        match case.difference(&self.run(case)?) {
            None => Ok(()),
            Some(difference) => Err(BackendError::Refused {
                adapter: self.name().to_owned(),
                kernel: case.variant.kernel.name().to_owned(),
                detail: format!("{}: {difference}", case.name),
            }),
        }
    }
}
