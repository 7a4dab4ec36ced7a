//! Matrices in the order in which the kernels read them, at the size of the file.
//!
//! A panel is 32 rows, the last one filled up with zeros. For each block of 32 columns it holds, in
//! lines of 64 bytes:
//!
//! - a line of scales, 32 `f16` as in the file; then, in `Q4_1`, a line of minima;
//! - eight lines (four bits) or sixteen (eight bits) of weights, those of the panel's first 16 rows
//!   and of its other 16 in turn.
//!
//! So a matrix is read from its first to its last byte.
//!
//! Sixteen rows lie in the sixteen lanes of a vector, in [`lane`]'s order, because the widening
//! product takes the even lanes first. A lane is a pair of 16 bits: for each of a pair of columns,
//! 4 nibbles or 2 bytes that belong to as many consecutive pairs, the first one lowest. So a shift
//! and a mask make pairs of 16-bit weights.

use super::arena::Arena;
use super::simd::Line;
use super::team::{Parts, Team};
use crate::Format;
use crate::decoder::{Linear, Matrix};
use std::sync::Arc;

/// Bytes that are packed before they are given back.
const AT_ONCE_BYTES: usize = 4 << 20;
/// Rows of a panel.
pub(super) const PANEL: usize = 32;
/// Weights of a block.
pub(super) const BLOCK: usize = 32;

/// The lane that holds row (or element) `i` of sixteen.
pub(super) const fn lane(i: usize) -> usize {
    i % 8 * 2 + i / 8
}

/// What an instruction set has to know about a format at compile time.
pub(super) trait Packing {
    /// Lines of weights in a block of a panel.
    const WEIGHTS: usize;
    /// Whether there are minima.
    const MINIMA: bool;
    /// Lines of a block of a panel.
    const LINES: usize = 1 + Self::MINIMA as usize + Self::WEIGHTS;
    /// What is subtracted from each stored weight.
    const OFFSET: i32;
}

/// `Q8_0`.
pub(super) struct Bytes;
/// `Q4_0`.
pub(super) struct Nibbles;
/// `Q4_1`.
pub(super) struct NibblesAndMinima;

impl Packing for Bytes {
    const WEIGHTS: usize = 16;
    const MINIMA: bool = false;
    const OFFSET: i32 = 0;
}

impl Packing for Nibbles {
    const WEIGHTS: usize = 8;
    const MINIMA: bool = false;
    const OFFSET: i32 = 8;
}

impl Packing for NibblesAndMinima {
    const WEIGHTS: usize = 8;
    const MINIMA: bool = true;
    const OFFSET: i32 = 0;
}

/// A packed matrix, and what is added to its rows.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) format: Format,
    pub(super) rows: usize,
    pub(super) cols: usize,
    bias: Option<Vec<[i32; PANEL]>>,
    arena: Arc<Arena>,
    /// Its lines in the arena.
    start: usize,
}

/// Lines of a panel.
const fn panel_lines(format: Format, cols: usize) -> usize {
    let lines = match format {
        Format::I32 => 0,
        Format::Q8_0 => Bytes::LINES,
        Format::Q4_0 => Nibbles::LINES,
        Format::Q4_1 => NibblesAndMinima::LINES,
    };
    cols / BLOCK * lines
}

/// Lines that a matrix takes.
pub(super) fn matrix_lines(matrix: &Matrix) -> usize {
    panel_lines(matrix.format, matrix.cols) * matrix.rows.div_ceil(PANEL)
}

impl Packed {
    /// The matrix that [`pack`] has written to lines `start..` of `arena`.
    pub(super) fn new(linear: &Linear, arena: Arc<Arena>, start: usize) -> Self {
        let Matrix { format, rows, cols, .. } = linear.weights;
        let fill = |part: &[i32]| {
            let mut bias = [0; PANEL];
            bias[..part.len()].copy_from_slice(part);
            bias
        };
        let bias = linear.bias.as_ref().map(|bias| bias.chunks(PANEL).map(fill).collect());
        Self { format, rows, cols, bias, arena, start }
    }

    /// Biases of a panel's rows.
    pub(super) fn bias(&self, panel: usize) -> Option<&[i32; PANEL]> {
        self.bias.as_ref().map(|bias| &bias[panel])
    }

    pub(super) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// The lines of a panel.
    pub(super) fn panel(&self, panel: usize) -> &[Line] {
        let lines = panel_lines(self.format, self.cols);
        &self.arena.lines()[self.start + panel * lines..][..lines]
    }
}

/// Packs a matrix into lines of zeros, and gives back its bytes on the way: a large one isn't there
/// twice.
pub(super) fn pack(matrix: &Matrix, lines: &mut [Line], team: &mut Team) {
    let len = panel_lines(matrix.format, matrix.cols);
    let (lines, panels) = (Parts::new(lines), matrix.rows.div_ceil(PANEL));
    let step = (AT_ONCE_BYTES / (PANEL * matrix.format.row_bytes(matrix.cols))).max(1);
    for first in (0..panels).step_by(step) {
        let end = panels.min(first + step);
        team.run(end - first, &|_, task| {
            let panel = first + task;
            // SAFETY: every task has a panel of its own.
            #[expect(unsafe_code, reason = "parts that tasks write")]
            let lines = unsafe { lines.part(panel * len..(panel + 1) * len) };
            pack_panel(matrix, panel, lines);
        });
        matrix.release(first * PANEL..matrix.rows.min(end * PANEL));
    }
}

/// Packs one panel.
fn pack_panel(matrix: &Matrix, panel: usize, lines: &mut [Line]) {
    let rows = panel * PANEL..matrix.rows.min((panel + 1) * PANEL);
    let format = matrix.format;
    let bytes = matrix.rows(rows);
    for (r, row) in bytes.chunks_exact(format.row_bytes(matrix.cols)).enumerate() {
        // Where this row's lane is in a line of 32 scales, and in its line of weights.
        let (half, lane) = (r / 16, lane(r % 16));
        let lines = lines.chunks_exact_mut(panel_lines(format, BLOCK));
        for (mut block, mut lines) in row.chunks_exact(format.block_bytes()).zip(lines) {
            for _ in 0..1 + usize::from(format == Format::Q4_1) {
                let (scale, values) = block.split_at(2);
                let (line, weights) = lines.split_at_mut(1);
                let line: &mut [u16; 32] = bytemuck::cast_mut(&mut line[0]);
                line[half * 16 + lane] = u16::from_le_bytes([scale[0], scale[1]]);
                (block, lines) = (values, weights);
            }
            let lines = lines.chunks_exact_mut(2);
            if let Some(values) = block.as_array::<16>() {
                for (line, word) in lines.zip(nibbles(values)) {
                    line[half].0[lane] = word;
                }
            } else {
                for (line, &quad) in lines.zip(block.as_chunks().0) {
                    line[half].0[lane] = bytes_of_pairs(quad);
                }
            }
        }
    }
}

/// Lane `j` of a block: weights `8j … 8j + 7`, the even ones in its lower half.
fn nibbles(block: &[u8; 16]) -> [i32; 4] {
    // Byte `j` of the file holds weights `j` and `j + 16`.
    core::array::from_fn(|j| {
        let at = j % 2 * 8;
        let bytes = u64::from_le_bytes(core::array::from_fn(|i| block[at + i]));
        let weights = bytes >> (j / 2 * 4) & 0x0f0f_0f0f_0f0f_0f0f;
        // Weights 0, 2, 4, 6 of the eight become nibbles 0 to 3, the odd ones 4 to 7.
        let gather = |x: u64| {
            let x = x & 0x000f_000f_000f_000f;
            (x | x >> 12 | x >> 24 | x >> 36) & 0xffff
        };
        (gather(weights) | gather(weights >> 8) << 16) as i32
    })
}

/// Four weights as the bytes of two pairs: the even ones in the lower half.
fn bytes_of_pairs([a, b, c, d]: [u8; 4]) -> i32 {
    i32::from_le_bytes([a, c, b, d])
}
