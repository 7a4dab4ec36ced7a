//! A builder of small GGUF files, for generated models and tests.

use std::io::Write;

use super::{ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, MAGIC, TensorKind, Value};

/// Collects metadata and tensors and lays them out as a version 3 file.
///
/// It writes what it is told, in the order that it is told, even what the reader then refuses (a key twice, data of the
/// wrong length): that is how the refusals are tested. Tensor data is aligned and follows the order of the calls.
#[derive(Clone, Debug)]
pub struct GgufBuilder {
    version: u32,
    alignment: u64,
    metadata: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
}

#[derive(Clone, Debug)]
struct Tensor {
    name: String,
    kind: TensorKind,
    dims: Vec<u64>,
    bytes: Vec<u8>,
}

impl Default for GgufBuilder {
    fn default() -> GgufBuilder {
        GgufBuilder::new()
    }
}

impl GgufBuilder {
    /// An empty version 3 file.
    pub fn new() -> GgufBuilder {
        GgufBuilder {
            version: 3,
            alignment: DEFAULT_ALIGNMENT,
            metadata: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// Another version number; the layout stays that of versions 2 and 3.
    pub fn version(mut self, version: u32) -> GgufBuilder {
        self.version = version;
        self
    }

    /// Sets `general.alignment` and aligns the data to it.
    pub fn alignment(mut self, alignment: u32) -> GgufBuilder {
        self.alignment = u64::from(alignment.max(1));
        self.u32(ALIGNMENT_KEY, alignment)
    }

    /// Any value.
    pub fn value(mut self, key: &str, value: Value) -> GgufBuilder {
        self.metadata.push((key.to_owned(), value));
        self
    }

    /// An unsigned 32-bit number.
    pub fn u32(self, key: &str, value: u32) -> GgufBuilder {
        self.value(key, Value::U32(value))
    }

    /// An unsigned 64-bit number.
    pub fn u64(self, key: &str, value: u64) -> GgufBuilder {
        self.value(key, Value::U64(value))
    }

    /// A 32-bit float.
    pub fn f32(self, key: &str, value: f32) -> GgufBuilder {
        self.value(key, Value::F32(value))
    }

    /// A boolean.
    pub fn bool(self, key: &str, value: bool) -> GgufBuilder {
        self.value(key, Value::Bool(value))
    }

    /// A string.
    pub fn string(self, key: &str, value: &str) -> GgufBuilder {
        self.value(key, Value::String(value.to_owned()))
    }

    /// An array of strings.
    pub fn strings<S: AsRef<str>>(
        self,
        key: &str,
        values: impl IntoIterator<Item = S>,
    ) -> GgufBuilder {
        self.value(key, Value::Array(Array::String(values.into_iter().collect())))
    }

    /// An array of 32-bit floats.
    pub fn f32s(self, key: &str, values: impl IntoIterator<Item = f32>) -> GgufBuilder {
        self.value(key, Value::Array(Array::F32(values.into_iter().collect())))
    }

    /// An array of signed 32-bit numbers.
    pub fn i32s(self, key: &str, values: impl IntoIterator<Item = i32>) -> GgufBuilder {
        self.value(key, Value::Array(Array::I32(values.into_iter().collect())))
    }

    /// A tensor: `dims[0]` is the length of a row; `bytes` are its rows as GGML stores them.
    pub fn tensor(
        mut self,
        name: &str,
        kind: TensorKind,
        dims: &[u64],
        bytes: Vec<u8>,
    ) -> GgufBuilder {
        self.tensors.push(Tensor { name: name.to_owned(), kind, dims: dims.to_vec(), bytes });
        self
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut out = self.header();
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(self.alignment as usize), 0);
            out.extend_from_slice(&tensor.bytes);
        }
        out
    }

    /// Writes the file without a second copy of the tensors in memory.
    pub fn write_to(&self, file: &mut impl Write) -> std::io::Result<()> {
        let header = self.header();
        file.write_all(&header)?;
        let mut at = header.len();
        for tensor in &self.tensors {
            let start = at.next_multiple_of(self.alignment as usize);
            file.write_all(&vec![0; start - at])?;
            file.write_all(&tensor.bytes)?;
            at = start + tensor.bytes.len();
        }
        Ok(())
    }

    /// Metadata and the description of the tensors.
    fn header(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            put_string(&mut out, key);
            out.extend(value.kind().to_le_bytes());
            put_value(&mut out, value);
        }
        let mut offset = 0_u64;
        for tensor in &self.tensors {
            put_string(&mut out, &tensor.name);
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(tensor.kind.code().to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += (tensor.bytes.len() as u64).next_multiple_of(self.alignment);
        }
        out
    }
}

fn put_string(out: &mut Vec<u8>, string: &str) {
    out.extend((string.len() as u64).to_le_bytes());
    out.extend_from_slice(string.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => put_string(out, v),
        Value::Array(v) => put_array(out, v),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    out.extend(array.element_kind().to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    match array {
        Array::U8(a) => out.extend_from_slice(a),
        Array::I8(a) => a.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::U16(a) => a.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::I16(a) => a.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::U32(a) => a.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::I32(a) => a.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::F32(a) => a.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::Bool(a) => a.iter().for_each(|v| out.push(u8::from(*v))),
        Array::String(a) => a.iter().for_each(|v| put_string(out, v)),
        Array::U64(a) => a.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::I64(a) => a.iter().for_each(|v| out.extend(v.to_le_bytes())),
        Array::F64(a) => a.iter().for_each(|v| out.extend(v.to_le_bytes())),
    }
}
