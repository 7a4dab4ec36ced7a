//! SwiGlu: `gate · σ(gate) · up`, `σ` the logistic function.
//!
//! `2^-z` for `z = |gate| · log2(e)` in Q30 from the integer `exp2`, the quotient in Q31 (rounded
//! down), and one rounding of the triple product. Widths: `z` 64 bits, the numerator of `σ` 61, the
//! product 94. A map: there is no order.

use crate::fx::{exp2, rshift_round, rshift_round_i128, sat32_i128};

/// `log2(e)` in Q32.
const LOG2_E: u64 = 6_196_328_019;

/// The logistic function of an Fx, in Q31.
#[must_use]
pub fn sigmoid(gate: i32) -> i64 {
    let z = u64::from(gate.unsigned_abs()) * LOG2_E; // 44 fractional bits.
    let whole = (z >> 44) as u32;
    let fraction = (z >> 12) as u32;
    // 2^-(whole + fraction) = 2^-n · 2^f with f in [0, 1).
    let n = if fraction == 0 { whole } else { whole + 1 };
    let f = fraction.wrapping_neg();
    let e = if n <= 31 { rshift_round(i64::from(exp2(f)), n) } else { 0 };
    let one = 1i64 << 30;
    ((if gate >= 0 { one } else { e }) << 31) / (one + e)
}

/// One element.
#[must_use]
pub fn swiglu(gate: i32, up: i32) -> i32 {
    let product = i128::from(gate) * i128::from(sigmoid(gate)) * i128::from(up);
    sat32_i128(rshift_round_i128(product, 43))
}

/// The whole row.
///
/// # Panics
/// If the lengths differ.
pub fn forward(gate: &[i32], up: &[i32], out: &mut [i32]) {
    assert!(gate.len() == out.len() && up.len() == out.len(), "one gate and one up per element");
    for ((y, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        *y = swiglu(gate, up);
    }
}
