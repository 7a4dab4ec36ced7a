//! The header parser. Every read goes through [`Cursor::take`], which compares it with the file's end first.

use std::collections::{BTreeMap, HashMap};

use super::{
    ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, DIMS_MAX, GgufError, HEADER_BYTES_MAX, Header,
    KEY_BYTES_MAX, MAGIC, METADATA_COUNT_MAX, NAME_BYTES_MAX, StringArray, TENSOR_COUNT_MAX,
    TensorInfo, TensorKind, Value,
};

/// Key length, type and at least one byte of value.
const METADATA_BYTES_MIN: u64 = 8 + 4 + 1;
/// Name length, dimension count, one dimension, type and offset.
const TENSOR_BYTES_MIN: u64 = 8 + 4 + 8 + 4 + 8;

/// What is being read, for errors: written out only when one happens.
#[derive(Clone, Copy)]
enum What<'a> {
    Header,
    KeyNumber(u64),
    Value(&'a str),
    Element(&'a str, u64),
    TensorNumber(u64),
    Tensor(&'a str),
}

impl What<'_> {
    fn describe(self) -> String {
        match self {
            What::Header => "the file header".to_owned(),
            What::KeyNumber(n) => format!("metadata key number {n}"),
            What::Value(key) => format!("the value of metadata key {key:?}"),
            What::Element(key, n) => format!("element {n} of metadata key {key:?}"),
            What::TensorNumber(n) => format!("the name of tensor number {n}"),
            What::Tensor(name) => format!("the description of tensor {name}"),
        }
    }
}

/// A position in the file's bytes.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next `count` bytes.
    fn take(&mut self, count: u64, what: What<'_>) -> Result<&'a [u8], GgufError> {
        let left = (self.bytes.len() - self.at) as u64;
        if count > left {
            return Err(GgufError::Truncated {
                what: what.describe(),
                at: self.at as u64,
                needs: count,
                has: self.bytes.len() as u64,
            });
        }
        if count > HEADER_BYTES_MAX.saturating_sub(self.at as u64) {
            return Err(GgufError::HeaderTooLong { what: what.describe() });
        }
        let start = self.at;
        self.at += count as usize;
        Ok(&self.bytes[start..self.at])
    }

    /// The next `N` bytes as an array.
    fn array<const N: usize>(&mut self, what: What<'_>) -> Result<[u8; N], GgufError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    fn u32(&mut self, what: What<'_>) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: What<'_>) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A string of at most `limit` bytes.
    fn string(&mut self, limit: u64, what: What<'_>) -> Result<&'a str, GgufError> {
        let len = self.u64(what)?;
        if len > limit {
            let what = format!("the length of {}", what.describe());
            return Err(GgufError::TooMany { what, count: len, limit });
        }
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes).map_err(|_| GgufError::Utf8 { what: what.describe() })
    }

    /// A string that must have a character.
    fn name(&mut self, limit: u64, what: What<'_>) -> Result<&'a str, GgufError> {
        let name = self.string(limit, what)?;
        if name.is_empty() {
            return Err(GgufError::Empty { what: what.describe() });
        }
        Ok(name)
    }

    /// A count of things of at least `bytes_min` bytes each.
    fn count(&mut self, what: &str, limit: u64, bytes_min: u64) -> Result<u64, GgufError> {
        let count = self.u64(What::Header)?;
        let left = (self.bytes.len() - self.at) as u64;
        if count > limit {
            return Err(GgufError::TooMany { what: what.to_owned(), count, limit });
        }
        if count > left / bytes_min {
            return Err(GgufError::Truncated {
                what: format!("{what} of {count}"),
                at: self.at as u64,
                needs: count * bytes_min,
                has: self.bytes.len() as u64,
            });
        }
        Ok(count)
    }
}

/// Reads and checks the header of a whole file.
pub(super) fn header(bytes: &[u8]) -> Result<Header, GgufError> {
    let mut cursor = Cursor { bytes, at: 0 };
    let magic = cursor.array(What::Header)?;
    if magic != MAGIC {
        return Err(GgufError::NotGguf { found: magic });
    }
    let version = cursor.u32(What::Header)?;
    if matches!(version.swap_bytes(), 1..=3) {
        return Err(GgufError::BigEndian);
    }
    if !matches!(version, 2 | 3) {
        return Err(GgufError::Version { found: version });
    }
    // The metadata comes after both counts, so the second bound is the loose one.
    let tensor_count = cursor.count("the tensor count", TENSOR_COUNT_MAX, TENSOR_BYTES_MIN)?;
    let metadata_count =
        cursor.count("the metadata count", METADATA_COUNT_MAX, METADATA_BYTES_MIN)?;

    let mut metadata = BTreeMap::new();
    let mut raw = BTreeMap::new();
    for number in 0..metadata_count {
        let key = cursor.name(KEY_BYTES_MAX, What::KeyNumber(number))?;
        let kind = cursor.u32(What::Value(key))?;
        let start = cursor.at;
        let value = value(&mut cursor, key, kind)?;
        if metadata.insert(key.to_owned(), value).is_some() {
            return Err(GgufError::DuplicateKey { key: key.to_owned() });
        }
        raw.insert(key.to_owned(), (kind, start..cursor.at));
    }
    let alignment = alignment(metadata.get(ALIGNMENT_KEY))?;

    let mut tensors = Vec::with_capacity(tensor_count as usize);
    let mut by_name = HashMap::with_capacity(tensor_count as usize);
    for number in 0..tensor_count {
        let info = tensor(&mut cursor, number, alignment)?;
        if by_name.insert(info.name.clone(), tensors.len()).is_some() {
            return Err(GgufError::DuplicateTensor { name: info.name });
        }
        tensors.push(info);
    }
    place(&mut tensors, cursor.at as u64, alignment, bytes.len() as u64)?;
    Ok(Header { version, metadata, raw, tensors, by_name })
}

/// The alignment of the data section, and of each tensor in it.
fn alignment(value: Option<&Value>) -> Result<u64, GgufError> {
    let Some(value) = value else { return Ok(DEFAULT_ALIGNMENT) };
    let Some(found) = value.as_integer().and_then(|v| u64::try_from(v).ok()) else {
        return Err(value.mismatch(ALIGNMENT_KEY, "a u32"));
    };
    if !found.is_power_of_two() {
        return Err(GgufError::Alignment { found });
    }
    Ok(found)
}

fn boolean(byte: u8, key: &str) -> Result<bool, GgufError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(GgufError::BadBool { key: key.to_owned(), value }),
    }
}

fn value(cursor: &mut Cursor<'_>, key: &str, kind: u32) -> Result<Value, GgufError> {
    let what = What::Value(key);
    Ok(match kind {
        0 => Value::U8(u8::from_le_bytes(cursor.array(what)?)),
        1 => Value::I8(i8::from_le_bytes(cursor.array(what)?)),
        2 => Value::U16(u16::from_le_bytes(cursor.array(what)?)),
        3 => Value::I16(i16::from_le_bytes(cursor.array(what)?)),
        4 => Value::U32(u32::from_le_bytes(cursor.array(what)?)),
        5 => Value::I32(i32::from_le_bytes(cursor.array(what)?)),
        6 => Value::F32(f32::from_le_bytes(cursor.array(what)?)),
        7 => Value::Bool(boolean(u8::from_le_bytes(cursor.array(what)?), key)?),
        8 => Value::String(cursor.string(HEADER_BYTES_MAX, what)?.to_owned()),
        9 => Value::Array(array(cursor, key)?),
        10 => Value::U64(u64::from_le_bytes(cursor.array(what)?)),
        11 => Value::I64(i64::from_le_bytes(cursor.array(what)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.array(what)?)),
        kind => return Err(GgufError::UnknownValueType { key: key.to_owned(), kind }),
    })
}

/// `count` numbers of `N` bytes. They are all there before the vector is made.
fn numbers<T, const N: usize>(
    cursor: &mut Cursor<'_>,
    key: &str,
    count: u64,
    read: fn([u8; N]) -> T,
) -> Result<Vec<T>, GgufError> {
    let bytes = cursor.take(count.saturating_mul(N as u64), What::Value(key))?;
    Ok(bytes.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect())
}

fn array(cursor: &mut Cursor<'_>, key: &str) -> Result<Array, GgufError> {
    let kind = cursor.u32(What::Value(key))?;
    let count = cursor.u64(What::Value(key))?;
    Ok(match kind {
        0 => Array::U8(numbers(cursor, key, count, u8::from_le_bytes)?),
        1 => Array::I8(numbers(cursor, key, count, i8::from_le_bytes)?),
        2 => Array::U16(numbers(cursor, key, count, u16::from_le_bytes)?),
        3 => Array::I16(numbers(cursor, key, count, i16::from_le_bytes)?),
        4 => Array::U32(numbers(cursor, key, count, u32::from_le_bytes)?),
        5 => Array::I32(numbers(cursor, key, count, i32::from_le_bytes)?),
        6 => Array::F32(numbers(cursor, key, count, f32::from_le_bytes)?),
        7 => {
            let bytes = cursor.take(count, What::Value(key))?;
            Array::Bool(bytes.iter().map(|&b| boolean(b, key)).collect::<Result<_, _>>()?)
        }
        8 => Array::String(strings(cursor, key, count)?),
        9 => return Err(GgufError::NestedArray { key: key.to_owned() }),
        10 => Array::U64(numbers(cursor, key, count, u64::from_le_bytes)?),
        11 => Array::I64(numbers(cursor, key, count, i64::from_le_bytes)?),
        12 => Array::F64(numbers(cursor, key, count, f64::from_le_bytes)?),
        kind => return Err(GgufError::UnknownValueType { key: key.to_owned(), kind }),
    })
}

fn strings(cursor: &mut Cursor<'_>, key: &str, count: u64) -> Result<StringArray, GgufError> {
    let left = (cursor.bytes.len() - cursor.at) as u64;
    // Each string has a length of 8 bytes: more strings than that can't be there.
    if count > left / 8 {
        return Err(GgufError::Truncated {
            what: format!("metadata key {key:?}, an array of {count} strings,"),
            at: cursor.at as u64,
            needs: count.saturating_mul(8),
            has: cursor.bytes.len() as u64,
        });
    }
    if count > HEADER_BYTES_MAX / 8 {
        return Err(GgufError::HeaderTooLong { what: What::Value(key).describe() });
    }
    let mut array = StringArray::with_capacity(count as usize);
    for number in 0..count {
        array.push(cursor.string(HEADER_BYTES_MAX, What::Element(key, number))?);
    }
    Ok(array)
}

/// One tensor's description. `offset` is still counted from the start of the data section.
fn tensor(cursor: &mut Cursor<'_>, number: u64, alignment: u64) -> Result<TensorInfo, GgufError> {
    let name = cursor.name(NAME_BYTES_MAX, What::TensorNumber(number))?.to_owned();
    let what = What::Tensor(&name);
    let count = cursor.u32(what)?;
    if !(1..=DIMS_MAX).contains(&count) {
        return Err(GgufError::DimensionCount { name, count });
    }
    let dims = (0..count).map(|_| cursor.u64(what)).collect::<Result<Vec<_>, _>>()?;
    let code = cursor.u32(what)?;
    let offset = cursor.u64(what)?;
    let Some(kind) = TensorKind::from_code(code) else {
        return Err(GgufError::UnknownTensorType { name, kind: code });
    };
    let (columns, block) = (dims[0], kind.block_len());
    if columns % block != 0 {
        return Err(GgufError::Columns { name, kind, columns, block });
    }
    let byte_len = dims[1..]
        .iter()
        .try_fold((columns / block).checked_mul(kind.block_bytes()), |bytes, &dim| {
            Some(bytes?.checked_mul(dim))
        })
        .flatten()
        .filter(|&bytes| {
            bytes > 0 && dims.iter().try_fold(1, |n: u64, d| n.checked_mul(*d)).is_some()
        });
    let Some(byte_len) = byte_len else { return Err(GgufError::Dimensions { name, dims }) };
    if offset % alignment != 0 {
        return Err(GgufError::Misaligned { name, offset, alignment });
    }
    Ok(TensorInfo { name, kind, dims, offset, byte_len })
}

/// Turns offsets into positions in the file, and checks that the data is there and nowhere twice.
fn place(
    tensors: &mut [TensorInfo],
    header_end: u64,
    alignment: u64,
    len: u64,
) -> Result<(), GgufError> {
    let data_start = header_end.checked_next_multiple_of(alignment);
    for info in tensors.iter_mut() {
        let start = data_start.and_then(|data| data.checked_add(info.offset));
        let end = start.and_then(|start| start.checked_add(info.byte_len));
        match (start, end) {
            (Some(start), Some(end)) if end <= len => info.offset = start,
            _ => {
                let (name, end) = (info.name.clone(), end.unwrap_or(u64::MAX));
                return Err(GgufError::TensorTruncated { name, end, len });
            }
        }
    }
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|info| info.offset);
    for pair in order.windows(2) {
        if pair[0].offset + pair[0].byte_len > pair[1].offset {
            let (first, second) = (pair[0].name.clone(), pair[1].name.clone());
            return Err(GgufError::Overlap { first, second });
        }
    }
    Ok(())
}
