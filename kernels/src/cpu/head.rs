//! The head: logits of some positions, and their maxima, without keeping the logits unless asked
//! to.

use super::activations::Activations;
use super::linear::TILE;
use super::matmul::{Run, Tile, count_to};
use super::pack::{PANEL, Packed};
use super::sample::{Draw, LOWEST, index};
use super::team::Parts;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

impl Run<'_> {
    /// The tokens of rows `rows` of `x`, each drawn in its own way; their logits if `logits` has
    /// room for them.
    pub(super) fn head(
        &mut self,
        output: &Packed,
        x: &Activations,
        rows: Range<usize>,
        draws: &[Draw],
        logits: &mut [i32],
    ) -> Vec<u32> {
        let keys: Vec<Mutex<i128>> = draws.iter().map(|_| Mutex::new(LOWEST)).collect();
        let keep = !logits.is_empty();
        let logits = Parts::new(logits);
        let isa = self.isa;
        let saturations = self.saturations;
        let first = rows.start;
        self.panels(output.panels(), output.cols, rows, &|panels, rows| {
            let mut tile = Tile::new(isa, x);
            let mut count = 0;
            for rows in x.by_group(rows) {
                let mut best = [LOWEST; TILE];
                for panel in panels.clone() {
                    let columns = panel * PANEL..output.rows.min((panel + 1) * PANEL);
                    count += tile.compute(output, panel, (rows.clone(), true), false);
                    for ((values, best), row) in tile.values.iter().zip(&mut best).zip(rows.clone())
                    {
                        let values = &values[..columns.len()];
                        *best = draws[row - first].panel(columns.start, values, *best);
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
                    let mut key = keys[row - first].lock().unwrap_or_else(PoisonError::into_inner);
                    *key = (*key).max(best);
                }
            }
            count_to(saturations, count);
        });
        let key = |key: Mutex<i128>| key.into_inner().unwrap_or_else(PoisonError::into_inner);
        keys.into_iter().map(|best| index(key(best))).collect()
    }
}
