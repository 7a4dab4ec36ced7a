//! Why a file, or an entry of it, was refused.

use std::io;
use std::path::PathBuf;

use super::{DIMS_MAX, HEADER_BYTES_MAX};

/// Why a GGUF file, or an entry of it, was refused.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The operating system could not open or map the file.
    #[error("can't read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What was to be opened.
        path: PathBuf,
    },
    /// The magic is wrong.
    #[error("not a GGUF file: it starts with bytes {found:02x?} instead of \"GGUF\"")]
    NotGguf {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A big-endian file.
    #[error("big-endian GGUF files are not supported: convert the file to little-endian")]
    BigEndian,
    /// A version that this reader doesn't know.
    #[error("GGUF version {found} is not supported, only 2 and 3: convert the file anew")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The file ends inside the header.
    #[error("the file is truncated: {what} needs {needs} bytes from byte {at}, the file has {has}")]
    Truncated {
        /// What was being read.
        what: String,
        /// Where it starts.
        at: u64,
        /// How long it claims to be.
        needs: u64,
        /// The file's size.
        has: u64,
    },
    /// The header is longer than any real one.
    #[error("the header is longer than {HEADER_BYTES_MAX} bytes (reached in {what})")]
    HeaderTooLong {
        /// What was being read.
        what: String,
    },
    /// A count or a length above its limit.
    #[error("{what} is {count}, more than the {limit} allowed")]
    TooMany {
        /// What is counted.
        what: String,
        /// The number in the file.
        count: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// A string is not UTF-8.
    #[error("{what} is not valid UTF-8")]
    Utf8 {
        /// Which string.
        what: String,
    },
    /// A metadata key or a tensor name without a character.
    #[error("{what} is empty")]
    Empty {
        /// Which string.
        what: String,
    },
    /// A key that occurs twice.
    #[error("metadata key {key:?} occurs twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A value type that the format doesn't have.
    #[error("metadata key {key:?} has the unknown value type {kind}")]
    UnknownValueType {
        /// The key.
        key: String,
        /// The type code in the file.
        kind: u32,
    },
    /// An array of arrays.
    #[error("metadata key {key:?} is an array of arrays, which is not supported")]
    NestedArray {
        /// The key.
        key: String,
    },
    /// A boolean that is neither 0 nor 1.
    #[error("metadata key {key:?} holds the boolean {value}, which is neither 0 nor 1")]
    BadBool {
        /// The key.
        key: String,
        /// The byte in the file.
        value: u8,
    },
    /// `general.alignment` is no power of two.
    #[error("general.alignment is {found}, which is not a power of two")]
    Alignment {
        /// The value in the file.
        found: u64,
    },
    /// A tensor name that occurs twice.
    #[error("tensor {name} occurs twice")]
    DuplicateTensor {
        /// The name.
        name: String,
    },
    /// No dimension, or too many.
    #[error("tensor {name} has {count} dimensions; 1 to {DIMS_MAX} are supported")]
    DimensionCount {
        /// The tensor.
        name: String,
        /// The number in the file.
        count: u32,
    },
    /// A zero dimension, or a size that doesn't fit 64 bits.
    #[error("tensor {name} has the impossible dimensions {dims:?}")]
    Dimensions {
        /// The tensor.
        name: String,
        /// The dimensions in the file.
        dims: Vec<u64>,
    },
    /// A type whose size is not known, so that the data can't be delimited.
    #[error("tensor {name} has the unknown type {kind}")]
    UnknownTensorType {
        /// The tensor.
        name: String,
        /// The type code in the file.
        kind: u32,
    },
    /// A row that doesn't consist of whole blocks.
    #[error("tensor {name} has {columns} columns, not a multiple of the {block} in a {kind} block")]
    Columns {
        /// The tensor.
        name: String,
        /// The tensor's type.
        kind: super::TensorKind,
        /// The first dimension.
        columns: u64,
        /// Weights in a block.
        block: u64,
    },
    /// A data offset that is not aligned.
    #[error("tensor {name} lies at offset {offset}, which is not aligned to {alignment}")]
    Misaligned {
        /// The tensor.
        name: String,
        /// Its offset in the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// The data of a tensor goes beyond the end of the file.
    #[error("the file is truncated: tensor {name} ends at byte {end}, the file has {len}")]
    TensorTruncated {
        /// The tensor.
        name: String,
        /// Where its data ends (saturated at 2^64 − 1).
        end: u64,
        /// The file's size.
        len: u64,
    },
    /// Two tensors share bytes.
    #[error("tensors {first} and {second} overlap")]
    Overlap {
        /// The one that starts first.
        first: String,
        /// The one that starts inside it.
        second: String,
    },
    /// A key that is needed and not there.
    #[error("metadata key {key:?} is missing ({expected} expected)")]
    MissingKey {
        /// The key.
        key: String,
        /// The type that was asked for.
        expected: &'static str,
    },
    /// A key of another type than needed.
    #[error("metadata key {key:?} is {found}, not {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// The type (and value, if it is one that doesn't fit) in the file.
        found: String,
        /// The type that was asked for.
        expected: &'static str,
    },
}
