//! Embed: one row of the embedding matrix as Fx.
//!
//! `y_i = sat32(rshift_round(v_i, 12))`, `v_i` the weight in units of 2^-24: below 2^38 on scales
//! in range, below 2^49 on any bit pattern, so `i64` is exact. A map: there is no order.

use crate::format::{self, Format};
use crate::fx::{rshift_round, sat32};

fn finalize(v: i64) -> i32 {
    sat32(rshift_round(v, 12))
}

/// Element `i` of the row; 0 beyond its end.
#[must_use]
pub fn element(format: Format, row: &[u8], i: usize) -> i32 {
    let value = match format {
        Format::I32 => format::integers(row).nth(i).map(i64::from),
        _ => format::blocks(format, row)
            .nth(i / format.block_len())
            .map(|b| b.d * i64::from(b.w[i % format.block_len()]) + b.m),
    };
    finalize(value.unwrap_or(0))
}

/// The whole row.
///
/// # Panics
/// If `row` doesn't hold exactly `out.len()` weights.
pub fn forward(format: Format, row: &[u8], out: &mut [i32]) {
    assert_eq!(row.len(), format.row_bytes(out.len()), "the row holds the output's elements");
    if format == Format::I32 {
        for (y, v) in out.iter_mut().zip(format::integers(row)) {
            *y = finalize(i64::from(v));
        }
        return;
    }
    for (y, b) in out.chunks_mut(format.block_len()).zip(format::blocks(format, row)) {
        for (y, w) in y.iter_mut().zip(b.w) {
            *y = finalize(b.d * i64::from(w) + b.m);
        }
    }
}
