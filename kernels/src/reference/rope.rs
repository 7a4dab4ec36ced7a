//! Rope: rotates pairs of a head's elements by an angle that grows with the position.
//!
//! `y0 = sat32(rshift_round(x0 · cos − x1 · sin, 30))`, `y1` likewise with `x0 · sin + x1 · cos`; cos
//! and sin in Q30. The two products fill 64 bits on real tables, 65 on any bit pattern, so the sum
//! is taken in `i128`. A map: there is no order.

use crate::fx::{rshift_round_i128, sat32_i128};

/// One rotated pair.
#[must_use]
pub fn pair(x0: i32, x1: i32, cos: i32, sin: i32) -> (i32, i32) {
    let product = |a: i32, b: i32| i128::from(i64::from(a) * i64::from(b));
    let round = |x: i128| sat32_i128(rshift_round_i128(x, 30));
    (round(product(x0, cos) - product(x1, sin)), round(product(x0, sin) + product(x1, cos)))
}

/// All heads: of each, the first `rotated` elements turn, the rest is copied. `table_row` is
/// `cos_0, sin_0, cos_1, sin_1, …`, as long as `rotated`.
///
/// # Panics
/// If the lengths don't fit together.
pub fn forward(x: &[i32], head_len: usize, rotated: usize, table_row: &[i32], out: &mut [i32]) {
    assert!(head_len > 0 && x.len().is_multiple_of(head_len), "whole heads");
    assert!(rotated.is_multiple_of(2) && rotated <= head_len, "whole pairs of a head");
    assert!(x.len() == out.len() && table_row.len() == rotated, "a table value per element");
    out.copy_from_slice(x);
    for head in out.chunks_exact_mut(head_len) {
        for (x, &[cos, sin]) in head.as_chunks_mut().0.iter_mut().zip(table_row.as_chunks().0) {
            let [x0, x1] = *x;
            *x = pair(x0, x1, cos, sin).into();
        }
    }
}
