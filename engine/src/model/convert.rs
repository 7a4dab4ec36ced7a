//! Floats of a model file become integers, once, at import.
//!
//! Every conversion is a function of the file's bits alone: IEEE operations without reassociation, and a pure-Rust `libm`
//! at a pinned version. So two imports of one file on any two machines agree.
#![allow(clippy::float_arithmetic, reason = "the import is where floats end")]

use super::ImportError;
use crate::gguf::TensorKind;
use rayon::prelude::*;
use refute_kernels::format::scale_in_range;

/// Values of an F32, F16 or BF16 tensor; `None` for other kinds.
pub fn floats(kind: TensorKind, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = || bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
    Some(match kind {
        TensorKind::F32 => {
            bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        }
        TensorKind::F16 => pairs().map(f16_to_f32).collect(),
        TensorKind::BF16 => pairs().map(|b| f32::from_bits(u32::from(b) << 16)).collect(),
        _ => return None,
    })
}

/// The value of an IEEE half, exactly.
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(bits >> 10) & 31, u32::from(bits) & 0x3ff);
    match exponent {
        // A subnormal is fraction · 2^-24, exact in f32.
        0 => {
            let magnitude = fraction as f32 / 16_777_216.0;
            f32::from_bits(magnitude.to_bits() | sign)
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The nearest IEEE half, ties to even (IEEE 754, 4.3.1); infinity beyond its range.
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    if magnitude >= 0x4780_0000 {
        return sign | 0x7c00;
    }
    // Normal halves start at 2^-14; below, the unit is 2^-24.
    let (mantissa, shift) = if magnitude >= 0x3880_0000 {
        (magnitude - 0x3800_0000, 13)
    } else {
        let exponent = magnitude >> 23;
        if exponent < 102 {
            return sign;
        }
        ((magnitude & 0x7f_ffff) | 0x80_0000, 126 - exponent)
    };
    let half = mantissa >> shift;
    let rest = mantissa & ((1 << shift) - 1);
    let tie = 1 << (shift - 1);
    let up = u32::from(rest > tie || (rest == tie && half & 1 == 1));
    sign | (half + up) as u16
}

/// Rows of `cols` floats as Q8_0 blocks by GGML's own rule (`quantize_row_q8_0_ref` in ggml-quants.c): `d = max|x| / 127`,
/// weights `round(x / d)` by the reciprocal, `d` stored as a half.
///
/// # Errors
/// A value that isn't finite, and a scale of 128 or more.
pub fn to_q8_0(tensor: &str, values: &[f32]) -> Result<Vec<u8>, ImportError> {
    let mut out = vec![0; values.len() / 32 * 34];
    out.par_chunks_mut(34).zip(values.par_chunks(32)).try_for_each(|(block, x)| {
        if let Some(bad) = x.iter().find(|v| !v.is_finite()) {
            return Err(ImportError::Value {
                tensor: tensor.to_owned(),
                value: bad.to_string(),
                remedy: "the file is damaged; fetch it again",
            });
        }
        let largest = x.iter().fold(0.0f32, |a, v| a.max(v.abs()));
        let scale = largest / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        let half = f32_to_f16(scale);
        if !scale_in_range(half) {
            return Err(ImportError::Value {
                tensor: tensor.to_owned(),
                value: largest.to_string(),
                remedy: "scales of 128 and more can't be held exactly; use another file",
            });
        }
        block[..2].copy_from_slice(&half.to_le_bytes());
        for (byte, v) in block[2..].iter_mut().zip(x) {
            *byte = (v * inverse).round() as i8 as u8;
        }
        Ok(())
    })?;
    Ok(out)
}

/// Norm weights as mantissas with one power of two: `(mantissas, exponent)`, `w ≈ mantissa · 2^-exponent`.
///
/// # Errors
/// A value that isn't finite, and a largest value outside 2^-25 … 2^38.
pub fn to_mantissas(tensor: &str, values: &[f32]) -> Result<(Vec<i32>, i32), ImportError> {
    let refuse = |value: f32| ImportError::Value {
        tensor: tensor.to_owned(),
        value: value.to_string(),
        remedy: "norm weights must be finite and their largest between 2^-25 and 2^38",
    };
    if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
        return Err(refuse(*bad));
    }
    let largest = values.iter().fold(0.0f64, |a, v| a.max(f64::from(*v).abs()));
    if largest == 0.0 {
        return Ok((vec![0; values.len()], 30));
    }
    // The exponent field of a normal f64; f32 values are never subnormal there.
    let log2 = (largest.to_bits() >> 52) as i32 - 1023;
    let exponent = 30 - log2;
    if !(0..=63).contains(&(8 + exponent)) {
        return Err(refuse(largest as f32));
    }
    let unit = libm::ldexp(1.0, exponent);
    let limit = f64::from(i32::MAX);
    let mantissa = |v: &f32| (f64::from(*v) * unit).round().clamp(-limit, limit) as i32;
    Ok((values.iter().map(mantissa).collect(), exponent))
}

/// A bias as Fx.
///
/// # Errors
/// Values that Fx can't hold.
pub fn to_fx(tensor: &str, values: &[f32]) -> Result<Vec<i32>, ImportError> {
    let convert = |v: &f32| {
        let x = (f64::from(*v) * 4096.0).round();
        if x.is_finite() && x.abs() <= f64::from(i32::MAX) {
            return Ok(x as i32);
        }
        Err(ImportError::Value {
            tensor: tensor.to_owned(),
            value: v.to_string(),
            remedy: "biases must be below 2^19",
        })
    };
    values.iter().map(convert).collect()
}

/// cos and sin in Q30 of every position: row `t` is `cos_0, sin_0, cos_1, …`, `2 · factors.len()` values.
pub fn rope_table(context: u32, base: f64, linear: f64, factors: &[f64]) -> Vec<i32> {
    let pairs = factors.len();
    let frequencies: Vec<f64> = factors
        .iter()
        .enumerate()
        .map(|(j, factor)| {
            libm::pow(base, -((2 * j) as f64) / (2 * pairs) as f64) / factor / linear
        })
        .collect();
    let one = f64::from(1 << 30);
    let q30 = |x: f64| libm::round(x * one) as i32;
    let mut table = vec![0; context as usize * 2 * pairs];
    table.par_chunks_mut(2 * pairs).enumerate().for_each(|(t, row)| {
        for (pair, frequency) in row.as_chunks_mut::<2>().0.iter_mut().zip(&frequencies) {
            let angle = t as f64 * frequency;
            *pair = [q30(libm::cos(angle)), q30(libm::sin(angle))];
        }
    });
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_trip() {
        for bits in 0..=u16::MAX {
            let value = f16_to_f32(bits);
            if !value.is_nan() {
                assert_eq!(f32_to_f16(value), bits);
            }
        }
    }

    #[test]
    fn halves_round_to_nearest_even() {
        // 1 + 2^-11 lies between 1 and 1 + 2^-10: the even one is 1.
        assert_eq!(f32_to_f16(1.0 + 1.0 / 2048.0), 0x3c00);
        assert_eq!(f32_to_f16(1.0 + 3.0 / 2048.0), 0x3c02);
        assert_eq!(f32_to_f16(65_519.9), 0x7bff);
        assert_eq!(f32_to_f16(65_520.0), 0x7c00);
        // Half of the smallest subnormal rounds to zero, a little more rounds up.
        let smallest = 1.0 / 16_777_216.0f32;
        assert_eq!(f32_to_f16(smallest / 2.0), 0);
        assert_eq!(f32_to_f16(smallest * 0.51), 1);
        assert_eq!(f32_to_f16(-smallest), 0x8001);
    }

    #[test]
    fn mantissas_keep_the_largest_weight_near_the_top() {
        let (m, e) = to_mantissas("norm", &[1.0, -0.5, 1.5e-5]).unwrap();
        assert_eq!((m[0], m[1], e), (1 << 30, -(1 << 29), 30));
        assert_eq!(m[2], (1.5e-5f32 as f64 * f64::from(1 << 30)).round() as i32);
        assert!(to_mantissas("norm", &[f32::NAN]).is_err());
        assert!(to_mantissas("norm", &[1e-9]).is_err());
    }

    #[test]
    fn table_starts_unrotated() {
        let table = rope_table(2, 10_000.0, 1.0, &[1.0, 1.0]);
        assert_eq!(&table[..4], &[1 << 30, 0, 1 << 30, 0]);
        assert_eq!(table[4], (libm::cos(1.0) * f64::from(1 << 30)).round() as i32);
        assert_eq!(table[7], (libm::sin(0.01) * f64::from(1 << 30)).round() as i32);
    }
}
