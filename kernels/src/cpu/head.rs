//! The head: logits of some positions, and their maxima, without keeping the logits unless asked
//! to.

use super::activations::Activations;
use super::linear::TILE;
use super::matmul::{Run, Tile, count_to};
use super::pack::{PANEL, Packed};
use super::team::Parts;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};

impl Run<'_> {
    /// The tokens of rows `rows` of `x`, and their logits if `logits` has room for them.
    pub(super) fn head(
        &mut self,
        output: &Packed,
        x: &Activations,
        rows: Range<usize>,
        samples: &mut [u32],
        logits: &mut [i32],
    ) {
        // As in Sample: the larger logit, then the lower index.
        let keys: Vec<AtomicI64> = samples.iter().map(|_| AtomicI64::new(i64::MIN)).collect();
        let keep = !logits.is_empty();
        let logits = Parts::new(logits);
        let isa = self.isa;
        let saturations = self.saturations;
        let first = rows.start;
        self.panels(output.panels(), output.cols, rows, &|panels, rows| {
            let mut tile = Tile::new(isa, x);
            let mut count = 0;
            for rows in x.by_group(rows) {
                let mut best = [i64::MIN; TILE];
                for panel in panels.clone() {
                    let columns = panel * PANEL..output.rows.min((panel + 1) * PANEL);
                    count += tile.compute(output, panel, rows.clone(), false);
                    for ((values, best), row) in tile.values.iter().zip(&mut best).zip(rows.clone())
                    {
                        let values = &values[..columns.len()];
                        *best = (*best).max(key(columns.start, values));
                        if keep {
                            let range = (row - first) * output.rows;
                            // SAFETY: every task has rows or columns of its own.
                            #[expect(unsafe_code, reason = "parts that tasks write")]
                            let out =
                                unsafe { logits.part(range + columns.start..range + columns.end) };
                            out.copy_from_slice(values);
                        }
                    }
                }
                for (best, row) in best.into_iter().zip(rows) {
                    keys[row - first].fetch_max(best, Ordering::Relaxed);
                }
            }
            count_to(saturations, count);
        });
        for (sample, key) in samples.iter_mut().zip(keys) {
            *sample = !(key.into_inner() as u32);
        }
    }
}

/// The key of the largest of some logits, the first of which has index `first`.
fn key(first: usize, logits: &[i32]) -> i64 {
    let max = logits.iter().fold(i32::MIN, |max, &y| max.max(y));
    let at = logits.iter().position(|&y| y == max).unwrap_or(0);
    i64::from(max) << 32 | i64::from(!((first + at) as u32))
}
