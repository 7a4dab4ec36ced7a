//! Quantized rows, in pairs of 16 bits as the kernels read them.

use super::elementwise::Quantize;
use super::pack::BLOCK;
use super::simd::{Isa, Kernel, Simd};
use super::team::Parts;

/// Some rows, each quantized as one group of 15 bits, with the sums of its blocks.
#[derive(Debug, Default)]
pub(super) struct Activations {
    blocks: usize,
    pairs: Vec<[i32; BLOCK / 2]>,
    sums: Vec<i32>,
    shifts: Vec<u8>,
}

impl Activations {
    /// Room for `rows` rows of `cols`, a multiple of 32.
    pub(super) fn new(rows: usize, cols: usize) -> Self {
        let blocks = cols / BLOCK;
        Self {
            blocks,
            pairs: vec![[0; BLOCK / 2]; rows * blocks],
            sums: vec![0; rows * blocks],
            shifts: vec![0; rows],
        }
    }

    /// Bytes of a row.
    pub(super) const fn row_bytes(cols: usize) -> usize {
        2 * cols + 4 * (cols / BLOCK) + 1
    }

    /// Pairs and sums of a row, by block.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> (&[[i32; BLOCK / 2]], &[i32]) {
        let range = row * self.blocks..(row + 1) * self.blocks;
        (&self.pairs[range.clone()], &self.sums[range])
    }

    /// One for each row.
    pub(super) fn shifts(&self) -> &[u8] {
        &self.shifts
    }

    /// The rows, to be written by tasks.
    pub(super) fn writer(&mut self) -> Writer<'_> {
        Writer {
            blocks: self.blocks,
            pairs: Parts::new(&mut self.pairs),
            sums: Parts::new(&mut self.sums),
            shifts: Parts::new(&mut self.shifts),
        }
    }
}

/// Writes rows of [`Activations`].
pub(super) struct Writer<'a> {
    blocks: usize,
    pairs: Parts<'a, [i32; BLOCK / 2]>,
    sums: Parts<'a, i32>,
    shifts: Parts<'a, u8>,
}

impl Writer<'_> {
    /// Quantizes `x` into row `row`.
    ///
    /// # Safety
    /// Nobody else writes the row meanwhile.
    #[expect(unsafe_code, reason = "parts of rows that tasks write")]
    pub(super) unsafe fn write(&self, isa: Isa, row: usize, x: &[i32]) {
        let range = row * self.blocks..(row + 1) * self.blocks;
        // SAFETY: rows don't overlap, and nobody else writes this one.
        let (pairs, sums, shift) = unsafe {
            (self.pairs.part(range.clone()), self.sums.part(range), self.shifts.part(row..row + 1))
        };
        let values = bytemuck::cast_slice_mut(pairs.as_flattened_mut());
        shift[0] = isa.run(Quantize { x, bits: 15, out: values });
        isa.run(BlockSums { x: values, out: sums });
    }
}

struct BlockSums<'a> {
    x: &'a [i16],
    out: &'a mut [i32],
}

impl Kernel for BlockSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (x, sum) in self.x.as_chunks::<BLOCK>().0.iter().zip(self.out) {
            *sum = x.iter().map(|&q| i32::from(q)).fold(0, i32::wrapping_add);
        }
    }
}
