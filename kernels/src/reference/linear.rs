//! Linear: rows of quantized weights times one quantized row of activations.
//!
//! `acc = Σ_blocks (D · Σ w·q + M · Σ q)`, `y = sat32(rshift_round(acc, 24 − min(s, 16)))`, then the
//! bias and the residual, each added with saturation. `acc` is exact, so any order and any tiling
//! give the same bits. Widths: `Σ w·q` over a block 28 bits, `D` and `M` 32 bits on scales in range
//! (42 on any bit pattern), `acc` 64 bits on rows that the importer accepted (128 on any).

use crate::format::{self, Format, scale_f16};
use crate::fx::{rshift_round_i128, sat32, sat32_i128};

/// Folds one weight leaf: `leaf` are whole blocks, `x` the activations of its columns.
#[must_use]
pub fn unit(format: Format, leaf: &[u8], x: &[i16], acc: i128) -> i128 {
    if format == Format::I32 {
        let terms = format::integers(leaf).zip(x).map(|(w, &q)| i64::from(w) * i64::from(q));
        return terms.fold(acc, |acc, term| acc.wrapping_add(i128::from(term)));
    }
    format::blocks(format, leaf).zip(x.chunks(format.block_len())).fold(acc, |acc, (b, x)| {
        let dot: i32 = b.w.iter().zip(x).map(|(&w, &q)| w * i32::from(q)).sum();
        let sum: i32 = x.iter().map(|&q| i32::from(q)).sum();
        let term = i128::from(b.d) * i128::from(dot) + i128::from(b.m) * i128::from(sum);
        acc.wrapping_add(term)
    })
}

/// The element, given its row's sum and the activations' shift.
#[must_use]
pub fn finalize(acc: i128, shift: u8, bias: Option<i32>, residual: Option<i32>) -> i32 {
    let y = sat32_i128(rshift_round_i128(acc, 24 - u32::from(shift).min(16)));
    let add = |y: i32, x: Option<i32>| sat32(i64::from(y) + i64::from(x.unwrap_or(0)));
    add(add(y, bias), residual)
}

/// As many rows as `out` has, so also any sub-range of a matrix's rows.
///
/// # Panics
/// If `weights` doesn't hold `out.len()` rows of `x.len()` weights, or `bias` or `residual` isn't
/// as long as `out`.
pub fn forward(
    format: Format,
    weights: &[u8],
    x: &[i16],
    shift: u8,
    bias: Option<&[i32]>,
    residual: Option<&[i32]>,
    out: &mut [i32],
) {
    let row_bytes = format.row_bytes(x.len());
    assert_eq!(weights.len(), row_bytes * out.len(), "one row of weights per output");
    let fits = |v: Option<&[i32]>| v.is_none_or(|v| v.len() == out.len());
    assert!(fits(bias) && fits(residual), "bias and residual are as long as the output");
    assert!(x.len().is_multiple_of(format.block_len()), "a row is whole blocks");
    let (x32, _) = x.as_chunks();
    let sums: Vec<i64> = x32.iter().map(|x| x.iter().map(|&q| i64::from(q)).sum()).collect();
    for (i, y) in out.iter_mut().enumerate() {
        let row = &weights[i * row_bytes..][..row_bytes];
        let acc = match format {
            Format::I32 => None,
            Format::Q8_0 => sum_row(row, x32, &sums, q8_0),
            Format::Q4_0 => sum_row(row, x32, &sums, q4_0),
            Format::Q4_1 => sum_row(row, x32, &sums, q4_1),
        };
        let acc = acc.unwrap_or_else(|| unit(format, row, x, 0));
        *y = finalize(acc, shift, bias.map(|b| b[i]), residual.map(|r| r[i]));
    }
}

/// Blocks whose terms an `i64` can hold: on scales in range a term is below
/// 2^31 · (2^27 + 2^20) < 2^59.
const RUN: usize = 16;

/// One row's sum, in `i64` over short runs; `None` if a scale is out of range, which the importer
/// refuses, but which is defined all the same. `decode` writes a block's weights and returns its
/// `D` and `M`; `sums` are the blocks' `Σ q`.
#[inline(always)]
fn sum_row<const N: usize>(
    row: &[u8],
    x: &[[i16; 32]],
    sums: &[i64],
    decode: impl Fn(&[u8; N], &mut [i16; 32]) -> (i64, i64),
) -> Option<i128> {
    let (blocks, _) = row.as_chunks::<N>();
    let mut weights = [[0i16; 32]; RUN];
    let mut acc = 0i128;
    let mut bits = 0;
    for ((blocks, x), sums) in blocks.chunks(RUN).zip(x.chunks(RUN)).zip(sums.chunks(RUN)) {
        let mut scales = [(0i64, 0i64); RUN];
        for ((b, w), scale) in blocks.iter().zip(&mut weights).zip(&mut scales) {
            *scale = decode(b, w);
            bits |= scale.0.unsigned_abs() | scale.1.unsigned_abs();
        }
        let mut run = 0i64;
        for (((w, x), &sum), &(d, m)) in weights.iter().zip(x).zip(sums).zip(&scales) {
            let term = d.wrapping_mul(dot(w, x)).wrapping_add(m.wrapping_mul(sum));
            run = run.wrapping_add(term);
        }
        acc += i128::from(run);
    }
    (bits < 1 << 31).then_some(acc)
}

/// `Σ w·q` of a block; an `i32` holds 32 · 128 · 2^15, so nothing wraps. Spelled with wrapping
/// operators because overflow checks would keep the compiler from using vectors, and in pairs of
/// products because that is what a vector instruction computes.
#[inline(always)]
fn dot(w: &[i16; 32], x: &[i16; 32]) -> i64 {
    let product = |j: usize| i32::from(w[j]).wrapping_mul(i32::from(x[j]));
    let pair = |j: usize| product(2 * j).wrapping_add(product(2 * j + 1));
    i64::from((0..16).map(pair).fold(0, i32::wrapping_add))
}

fn nibbles(bytes: &[u8; 16], offset: i16, w: &mut [i16; 32]) {
    for (j, &byte) in bytes.iter().enumerate() {
        w[j] = i16::from(byte & 15) - offset;
        w[j + 16] = i16::from(byte >> 4) - offset;
    }
}

fn q8_0([d0, d1, bytes @ ..]: &[u8; 34], w: &mut [i16; 32]) -> (i64, i64) {
    for (w, &byte) in w.iter_mut().zip(bytes) {
        *w = i16::from(byte as i8);
    }
    (scale_f16(u16::from_le_bytes([*d0, *d1])), 0)
}

fn q4_0([d0, d1, bytes @ ..]: &[u8; 18], w: &mut [i16; 32]) -> (i64, i64) {
    nibbles(bytes, 8, w);
    (scale_f16(u16::from_le_bytes([*d0, *d1])), 0)
}

fn q4_1([d0, d1, m0, m1, bytes @ ..]: &[u8; 20], w: &mut [i16; 32]) -> (i64, i64) {
    nibbles(bytes, 0, w);
    let scale = |lo: &u8, hi: &u8| scale_f16(u16::from_le_bytes([*lo, *hi]));
    (scale(d0, d1), scale(m0, m1))
}
