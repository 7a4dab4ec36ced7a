//! Typed access to metadata.
//!
//! Writers disagree on widths, so an integer is accepted in any integer type that holds a value in range. Everything else
//! must have exactly the type that is asked for.

use super::{Array, Gguf, GgufError, StringArray, Value};

/// The entry, or the error that it is missing.
fn required<T>(found: Option<T>, key: &str, expected: &'static str) -> Result<T, GgufError> {
    found.ok_or_else(|| GgufError::MissingKey { key: key.to_owned(), expected })
}

impl Gguf {
    fn opt<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        pick: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.metadata().get(key) else { return Ok(None) };
        pick(value).map(Some).ok_or_else(|| value.mismatch(key, expected))
    }

    /// An unsigned 32-bit number, if the key is there.
    pub fn opt_u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.opt(key, "a u32", |value| value.as_integer()?.try_into().ok())
    }

    /// An unsigned 32-bit number.
    pub fn u32(&self, key: &str) -> Result<u32, GgufError> {
        required(self.opt_u32(key)?, key, "a u32")
    }

    /// An unsigned 64-bit number, if the key is there.
    pub fn opt_u64(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.opt(key, "a u64", |value| value.as_integer()?.try_into().ok())
    }

    /// An unsigned 64-bit number.
    pub fn u64(&self, key: &str) -> Result<u64, GgufError> {
        required(self.opt_u64(key)?, key, "a u64")
    }

    /// A 32-bit float, if the key is there.
    pub fn opt_f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.opt(key, "an f32", |value| match value {
            Value::F32(v) => Some(*v),
            _ => None,
        })
    }

    /// A 32-bit float.
    pub fn f32(&self, key: &str) -> Result<f32, GgufError> {
        required(self.opt_f32(key)?, key, "an f32")
    }

    /// A boolean, if the key is there.
    pub fn opt_bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.opt(key, "a bool", |value| match value {
            Value::Bool(v) => Some(*v),
            _ => None,
        })
    }

    /// A boolean.
    pub fn bool(&self, key: &str) -> Result<bool, GgufError> {
        required(self.opt_bool(key)?, key, "a bool")
    }

    /// A string, if the key is there.
    pub fn opt_string(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.opt(key, "a string", |value| match value {
            Value::String(v) => Some(v.as_str()),
            _ => None,
        })
    }

    /// A string.
    pub fn string(&self, key: &str) -> Result<&str, GgufError> {
        required(self.opt_string(key)?, key, "a string")
    }

    /// An array of strings, if the key is there.
    pub fn opt_strings(&self, key: &str) -> Result<Option<&StringArray>, GgufError> {
        self.opt(key, "an array of string", |value| match value {
            Value::Array(Array::String(v)) => Some(v),
            _ => None,
        })
    }

    /// An array of strings.
    pub fn strings(&self, key: &str) -> Result<&StringArray, GgufError> {
        required(self.opt_strings(key)?, key, "an array of string")
    }

    /// An array of 32-bit floats, if the key is there.
    pub fn opt_f32s(&self, key: &str) -> Result<Option<&[f32]>, GgufError> {
        self.opt(key, "an array of f32", |value| match value {
            Value::Array(Array::F32(v)) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// An array of 32-bit floats.
    pub fn f32s(&self, key: &str) -> Result<&[f32], GgufError> {
        required(self.opt_f32s(key)?, key, "an array of f32")
    }

    /// An array of integers that all fit 64 signed bits, if the key is there.
    pub fn opt_integers(&self, key: &str) -> Result<Option<Vec<i64>>, GgufError> {
        self.opt(key, "an array of integers", |value| match value {
            Value::Array(Array::U8(a)) => Some(a.iter().map(|&v| v.into()).collect()),
            Value::Array(Array::I8(a)) => Some(a.iter().map(|&v| v.into()).collect()),
            Value::Array(Array::U16(a)) => Some(a.iter().map(|&v| v.into()).collect()),
            Value::Array(Array::I16(a)) => Some(a.iter().map(|&v| v.into()).collect()),
            Value::Array(Array::U32(a)) => Some(a.iter().map(|&v| v.into()).collect()),
            Value::Array(Array::I32(a)) => Some(a.iter().map(|&v| v.into()).collect()),
            Value::Array(Array::U64(a)) => a.iter().map(|&v| v.try_into().ok()).collect(),
            Value::Array(Array::I64(a)) => Some(a.clone()),
            _ => None,
        })
    }
}
