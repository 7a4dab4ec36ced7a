//! Quantized rows, in pairs of 16 bits as the kernels read them.

use super::elementwise::Quantize;
use super::linear::TILE;
use super::pack::BLOCK;
use super::simd::Isa;
use super::team::Parts;
use std::ops::Range;

/// Some rows, each quantized as one group of 15 bits, with the sums of its blocks.
///
/// Rows go in groups: of a group all first blocks come first, then all second ones, so that a
/// kernel reads straight on.
#[derive(Debug, Default)]
pub(super) struct Activations {
    blocks: usize,
    /// Rows of a group: 1, or [`TILE`].
    group: usize,
    /// `[group][block][row of the group]`.
    pairs: Vec<Pairs>,
    sums: Vec<i32>,
    shifts: Vec<u8>,
}

/// A block, in pairs.
pub(super) type Pairs = [i32; BLOCK / 2];

/// Blocks and their sums as in [`Activations`], of the rows of one group.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub(super) size: usize,
    pub(super) pairs: &'a [Pairs],
    pub(super) sums: &'a [i32],
}

impl Activations {
    /// Room for `rows` rows of `cols`, a multiple of 32.
    pub(super) fn new(rows: usize, cols: usize) -> Self {
        let group = if rows == 1 { 1 } else { TILE };
        let (blocks, rows) = (cols / BLOCK, rows.next_multiple_of(group));
        Self {
            blocks,
            group,
            pairs: vec![[0; BLOCK / 2]; rows * blocks],
            sums: vec![0; rows * blocks],
            shifts: vec![0; rows],
        }
    }

    /// The one row `values`, quantized already; a multiple of 32.
    pub(super) fn of_row(values: &[i16], shift: u8) -> Self {
        let blocks = values.as_chunks::<BLOCK>().0;
        let sum = |block: &[i16; BLOCK]| block.iter().map(|&q| i32::from(q)).sum();
        Self {
            blocks: blocks.len(),
            group: 1,
            pairs: blocks.iter().map(|block| bytemuck::cast(*block)).collect(),
            sums: blocks.iter().map(sum).collect(),
            shifts: vec![shift],
        }
    }

    /// Bytes of a row.
    pub(super) const fn row_bytes(cols: usize) -> usize {
        2 * cols + 4 * (cols / BLOCK) + 1
    }

    /// Group `group`.
    #[inline(always)]
    pub(super) fn group(&self, group: usize) -> Group<'_> {
        let len = self.blocks * self.group;
        let range = group * len..(group + 1) * len;
        Group { size: self.group, pairs: &self.pairs[range.clone()], sums: &self.sums[range] }
    }

    /// The group of a row, and its place there.
    #[inline(always)]
    pub(super) fn place(&self, row: usize) -> (usize, usize) {
        (row / self.group, row % self.group)
    }

    /// Cuts `rows` where groups end.
    pub(super) fn by_group(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let size = self.group;
        let groups = rows.start / size..rows.end.div_ceil(size);
        groups.map(move |g| rows.start.max(g * size)..rows.end.min((g + 1) * size))
    }

    /// One for each row.
    pub(super) fn shifts(&self) -> &[u8] {
        &self.shifts
    }

    /// The rows, to be written by tasks.
    pub(super) fn writer(&mut self) -> Writer<'_> {
        Writer {
            blocks: self.blocks,
            group: self.group,
            pairs: Parts::new(&mut self.pairs),
            sums: Parts::new(&mut self.sums),
            shifts: Parts::new(&mut self.shifts),
        }
    }
}

/// Writes rows of [`Activations`].
pub(super) struct Writer<'a> {
    blocks: usize,
    group: usize,
    pairs: Parts<'a, Pairs>,
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
        let mut values = vec![[0i16; BLOCK]; self.blocks];
        let shift = isa.run(Quantize { x, bits: 15, out: values.as_flattened_mut() });
        let first = row / self.group * self.blocks * self.group + row % self.group;
        for (b, values) in values.iter().enumerate() {
            let at = first + b * self.group;
            // SAFETY: the place of this block of this row, which nobody else writes.
            let (pairs, sum) = unsafe { (self.pairs.part(at..at + 1), self.sums.part(at..at + 1)) };
            pairs[0] = bytemuck::cast(*values);
            sum[0] = values.iter().map(|&q| i32::from(q)).fold(0, i32::wrapping_add);
        }
        // SAFETY: as above.
        unsafe { self.shifts.part(row..row + 1)[0] = shift }
    }
}
