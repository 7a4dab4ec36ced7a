//! Linears of many rows, cut into tasks: some panels times some rows of activations.

use super::activations::Activations;
use super::elementwise::SwiGlu;
use super::linear::{Accumulate, Finish, Sums, TILE, Values};
use super::pack::{PANEL, Packed};
use super::simd::Isa;
use super::team::{Parts, Team};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows of activations in a task: enough to make its panel's way from memory worth it.
const ROWS: usize = 64;

/// Multiplications that a task has at least, if there are enough of them.
const PRODUCTS: usize = 1 << 17;

/// What all steps work with: instructions, threads, and the count of saturated values.
pub(super) struct Run<'a> {
    pub(super) isa: Isa,
    pub(super) team: &'a mut Team,
    pub(super) saturations: &'a AtomicU64,
}

/// Adds to the count of saturated values.
pub(super) fn count_to(saturations: &AtomicU64, n: u64) {
    if n > 0 {
        saturations.fetch_add(n, Ordering::Relaxed);
    }
}

impl Run<'_> {
    /// Calls `task(panels, rows)` for parts of `panels` panels and the activations' `rows`.
    pub(super) fn panels(
        &mut self,
        panels: usize,
        cols: usize,
        rows: Range<usize>,
        task: &(dyn Fn(Range<usize>, Range<usize>) + Sync),
    ) {
        // Parts end where groups of activations do.
        let start = rows.start / TILE * TILE;
        let parts = (rows.end - start).div_ceil(ROWS);
        // Two tasks a thread: every task begins a stream from memory, which takes a while to flow.
        let share = panels * parts / (2 * self.team.threads());
        let worthwhile = PRODUCTS / (PANEL * cols * rows.len().clamp(1, ROWS));
        let size = worthwhile.min(share).max(1);
        self.team.run(panels.div_ceil(size) * parts, &|_, i| {
            let (panel, part) = (i / parts * size, start + i % parts * ROWS);
            let rows = rows.start.max(part)..rows.end.min(part + ROWS);
            task(panel..panels.min(panel + size), rows);
        });
    }

    /// Each matrix times `rows` of `x`. Rows of the outputs are numbered as those of `x`; if
    /// `residual`, the results are added to what is there.
    pub(super) fn linear(
        &mut self,
        matrices: &mut [(&Packed, &mut [i32])],
        x: &Activations,
        rows: Range<usize>,
        residual: bool,
    ) {
        let Some(cols) = matrices.first().map(|(matrix, _)| matrix.cols) else { return };
        let panels = matrices.iter().map(|(matrix, _)| matrix.panels()).sum();
        let outputs: Vec<(&Packed, Parts<'_, i32>)> =
            matrices.iter_mut().map(|(matrix, out)| (*matrix, Parts::new(out))).collect();
        let isa = self.isa;
        let saturations = self.saturations;
        self.panels(panels, cols, rows, &|panels, rows| {
            let mut tile = Tile::new(isa, x);
            let mut count = 0;
            for panel in panels {
                let (matrix, out, panel) = find(&outputs, panel);
                let columns = panel * PANEL..matrix.rows.min((panel + 1) * PANEL);
                let first = rows.start;
                for rows in x.by_group(rows.clone()) {
                    let fetch = rows.start == first;
                    let n = columns.len();
                    let part = |row: usize| {
                        let range = row * matrix.rows;
                        // SAFETY: every task has rows or columns of its own, and uses one part at a
                        // time.
                        #[expect(unsafe_code, reason = "parts that tasks write")]
                        unsafe {
                            out.part(range + columns.start..range + columns.end)
                        }
                    };
                    if residual {
                        for (value, row) in tile.values.iter_mut().zip(rows.clone()) {
                            value[..n].copy_from_slice(part(row));
                        }
                    }
                    count += tile.compute(matrix, panel, (rows.clone(), fetch), residual);
                    for (value, row) in tile.values.iter().zip(rows) {
                        part(row).copy_from_slice(&value[..n]);
                    }
                }
            }
            count_to(saturations, count);
        });
    }

    /// SwiGlu of two linears of the same shape, whose outputs are not kept.
    pub(super) fn swiglu(
        &mut self,
        gate: &Packed,
        up: &Packed,
        x: &Activations,
        rows: Range<usize>,
        out: &mut [i32],
    ) {
        let out = Parts::new(out);
        let isa = self.isa;
        let saturations = self.saturations;
        self.panels(gate.panels(), 2 * gate.cols, rows, &|panels, rows| {
            let (mut gates, mut ups) = (Tile::new(isa, x), Tile::new(isa, x));
            let mut product: Values = [[0; PANEL]; TILE];
            let mut count = 0;
            for panel in panels {
                let columns = panel * PANEL..gate.rows.min((panel + 1) * PANEL);
                let first = rows.start;
                for rows in x.by_group(rows.clone()) {
                    let fetch = rows.start == first;
                    count += gates.compute(gate, panel, (rows.clone(), fetch), false);
                    count += ups.compute(up, panel, (rows.clone(), fetch), false);
                    count += isa.run(SwiGlu {
                        gate: gates.values[..rows.len()].as_flattened(),
                        up: ups.values[..rows.len()].as_flattened(),
                        out: product[..rows.len()].as_flattened_mut(),
                    });
                    for (value, row) in product.iter().zip(rows) {
                        let range = row * gate.rows;
                        // SAFETY: every task has rows or columns of its own.
                        #[expect(unsafe_code, reason = "parts that tasks write")]
                        let out = unsafe { out.part(range + columns.start..range + columns.end) };
                        out.copy_from_slice(&value[..columns.len()]);
                    }
                }
            }
            count_to(saturations, count);
        });
    }
}

/// The matrix that has panel `panel` of all matrices' panels, its output, and the panel's number in
/// it.
fn find<'m, 'p>(
    matrices: &'m [(&'m Packed, Parts<'p, i32>)],
    mut panel: usize,
) -> (&'m Packed, &'m Parts<'p, i32>, usize) {
    let mut at = 0;
    while panel >= matrices[at].0.panels() {
        panel -= matrices[at].0.panels();
        at += 1;
    }
    (matrices[at].0, &matrices[at].1, panel)
}

/// A panel times up to [`TILE`] rows of activations.
pub(super) struct Tile<'a> {
    isa: Isa,
    x: &'a Activations,
    sums: Sums,
    pub(super) values: Values,
}

impl<'a> Tile<'a> {
    pub(super) fn new(isa: Isa, x: &'a Activations) -> Self {
        Self { isa, x, sums: [[0; PANEL]; TILE], values: [[0; PANEL]; TILE] }
    }

    /// Computes `values`, to which they are added if they hold a `residual`. `fetch` says whether the panel still comes from
    /// memory. Yields how many are saturated.
    pub(super) fn compute(
        &mut self,
        matrix: &Packed,
        panel: usize,
        (rows, fetch): (Range<usize>, bool),
        residual: bool,
    ) -> u64 {
        let shifts = &self.x.shifts()[rows.clone()];
        let sums = &mut self.sums;
        self.isa.run(Accumulate { matrix, panel, x: self.x, rows, fetch, out: sums });
        self.isa.run(Finish {
            sums,
            shifts,
            bias: matrix.bias(panel),
            residual,
            out: &mut self.values,
        })
    }
}
