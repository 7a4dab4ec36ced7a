//! Temperatures as people write them: decimals, kept in units of 2^-16.

use refute_kernels::reference::Sampling;
use std::fmt;
use std::str::FromStr;

/// Units of 1.
const ONE: u32 = 1 << 16;

/// Digits after the point that are read: more than any temperature needs.
const DIGITS_MAX: usize = 20;

/// 5^16: a unit is so many times 10^-16.
const UNIT: u64 = 152_587_890_625;

/// A temperature in units of 2^-16; 0 is greedy. Printed exactly; read to the nearest unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Temperature(pub u32);

/// Why a text is no temperature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemperatureError {
    /// Not a decimal.
    #[error("{0:?} is no temperature: write a decimal like 0.8, or 0 for the likeliest token")]
    Syntax(String),
    /// Higher than requests may ask for.
    #[error("{text} is too hot: temperatures end at {}", Temperature(Sampling::TEMPERATURE_MAX))]
    High {
        /// As written.
        text: String,
    },
    /// It would become 0.
    #[error("{text} is no temperature: the lowest above 0 is {}", Temperature(1))]
    Low {
        /// As written.
        text: String,
    },
}

impl FromStr for Temperature {
    type Err = TemperatureError;

    fn from_str(text: &str) -> Result<Self, TemperatureError> {
        let syntax = || TemperatureError::Syntax(text.to_owned());
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(rest) || rest.len() > DIGITS_MAX {
            return Err(syntax());
        }
        let high = || TemperatureError::High { text: text.to_owned() };
        let whole: u32 = whole.parse().map_err(|_| high())?;
        let ten = 10u128.pow(rest.len() as u32);
        let rest: u128 = rest.parse().map_err(|_| syntax())?;
        let units =
            u128::from(whole) * u128::from(ONE) + (2 * rest * u128::from(ONE) + ten) / (2 * ten);
        match u32::try_from(units) {
            Ok(0) if rest > 0 => Err(TemperatureError::Low { text: text.to_owned() }),
            Ok(units) if units <= Sampling::TEMPERATURE_MAX => Ok(Self(units)),
            _ => Err(high()),
        }
    }
}

impl fmt::Display for Temperature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / ONE, u64::from(self.0 % ONE) * UNIT);
        let rest = format!("{rest:016}");
        match rest.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            rest => write!(f, "{whole}.{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_to_the_nearest_unit() {
        for (text, units) in [
            ("0", 0),
            ("0.0", 0),
            ("1", 65_536),
            ("0.8", 52_429),
            ("0.7", 45_875),
            ("1.5", 98_304),
            ("16", 1 << 20),
            ("00.50", 32_768),
            ("0.0000152587890625", 1),
            ("0.00000762939453125", 1),
            ("15.99999999999999999999", 1 << 20),
        ] {
            assert_eq!(text.parse(), Ok(Temperature(units)), "{text}");
        }
    }

    #[test]
    fn what_is_no_temperature_is_refused() {
        for text in ["", ".5", "1.", "-1", "+1", "1e3", "0x1", "nan", "1.000000000000000000001"] {
            let error = text.parse::<Temperature>();
            assert_eq!(error, Err(TemperatureError::Syntax(text.to_owned())));
        }
        for text in ["16.0001", "17", "4294967296", "99999999999999999999"] {
            assert!(matches!(text.parse::<Temperature>(), Err(TemperatureError::High { .. })));
        }
        let low = "0.000007".parse::<Temperature>();
        assert!(matches!(low, Err(TemperatureError::Low { .. })));
    }

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        for units in (0..=Sampling::TEMPERATURE_MAX).step_by(97).chain([1, 65_535, 1 << 20]) {
            assert_eq!(Temperature(units).to_string().parse(), Ok(Temperature(units)));
        }
        assert_eq!(Temperature(52_429).to_string(), "0.8000030517578125");
        assert_eq!(Temperature(3 << 15).to_string(), "1.5");
    }
}
