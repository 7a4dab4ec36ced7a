//! GGUF files: a reader over a memory map that trusts nothing in the file.
//!
//! A model file comes from a stranger, so every count and length is compared with the bytes that are really there before
//! anything is allocated or sliced; memory stays within a small multiple of the header's size, which itself is limited.
//! Versions 2 and 3, little-endian, are read; others are refused by name. Tensor data is never copied: it stays in the
//! map, and [`Gguf::tensor_bytes`] hands out slices of it.
//!
//! [`write::GgufBuilder`] writes small files, for generated models and tests.

mod error;
mod getters;
mod parse;
mod tensor;
mod value;
pub mod write;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use refute_kernels::decoder::{self, Owner};

pub use error::GgufError;
pub use tensor::{TensorInfo, TensorKind};
pub use value::{Array, StringArray, Value};

/// The first four bytes of every file.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// Alignment of the tensor data when the file doesn't say.
pub const DEFAULT_ALIGNMENT: u64 = 32;
/// The key that changes the alignment.
pub const ALIGNMENT_KEY: &str = "general.alignment";
/// The most bytes that the header (metadata and tensor descriptions) may take. The largest published ones take 30 MB.
pub const HEADER_BYTES_MAX: u64 = 256 << 20;
/// The most metadata entries. Published files have a few dozen.
pub const METADATA_COUNT_MAX: u64 = 1 << 16;
/// The most tensors. Published files have a few thousand.
pub const TENSOR_COUNT_MAX: u64 = 1 << 17;
/// The longest metadata key, in bytes, as in the format's specification.
pub const KEY_BYTES_MAX: u64 = 65_535;
/// The longest tensor name, in bytes, as in the format's specification.
pub const NAME_BYTES_MAX: u64 = 64;
/// The most dimensions of a tensor, as in the format's specification.
pub const DIMS_MAX: u32 = 4;

/// An open GGUF file. Cheap to clone: clones share the map and the parsed header.
#[derive(Clone)]
pub struct Gguf(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    header: Header,
}

/// What the parser makes of the file's header.
struct Header {
    version: u32,
    metadata: BTreeMap<String, Value>,
    /// Where each value lies in the file: its type and the range of its bytes.
    raw: BTreeMap<String, (u32, Range<usize>)>,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
}

impl Owner for Inner {
    fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = &self.bytes {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the map is a file's, read-only: a page that is dropped is read from the file again when it is next
            // touched, with the same bytes as long as the file doesn't change, which is the map's own condition.
            #[allow(unsafe_code, reason = "memory can only be given back by telling the system")]
            // Advice is advice: where it isn't taken, the pages stay.
            let _ = unsafe { map.unchecked_advise_range(advice, range.start, range.len()) };
        }
    }
}

enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl Gguf {
    /// Maps the file at `path` and reads its header.
    ///
    /// The file must not change while it is open: tensor bytes are read from it as they are needed. A file that is cut
    /// short under us ends the process with a bus error, as with every memory map; other changes show as other bytes,
    /// which the weights root then catches.
    pub fn open(path: &Path) -> Result<Gguf, GgufError> {
        let io = |source| GgufError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() {
            return Err(GgufError::NotAFile { path: path.to_owned() });
        }
        if meta.len() == 0 {
            return Gguf::from_bytes(Vec::new());
        }
        // SAFETY: the map is read-only and private to this process's view, and every use of it goes through shared byte
        // slices, for which any bit pattern is valid. What remains is that another process writes to or truncates the
        // file meanwhile: the header was copied out and checked once, nothing read later is used as a length or an
        // index, and a truncation stops the process, as documented above.
        #[allow(
            unsafe_code,
            reason = "mapping a file is inherently unsafe; see the safety comment"
        )]
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Gguf::from_source(Bytes::Mapped(map))
    }

    /// Reads a file that is already in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Gguf, GgufError> {
        Gguf::from_source(Bytes::Owned(bytes))
    }

    fn from_source(bytes: Bytes) -> Result<Gguf, GgufError> {
        let header = parse::header(bytes.as_slice())?;
        Ok(Gguf(Arc::new(Inner { bytes, header })))
    }

    /// The format's version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.0.header.version
    }

    /// The file's size in bytes.
    #[allow(clippy::len_without_is_empty, reason = "an open file has at least a header")]
    pub fn len(&self) -> u64 {
        self.0.bytes.as_slice().len() as u64
    }

    /// Every metadata entry, in ascending order of keys.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.0.header.metadata
    }

    /// The entries whose key starts with `prefix`, in ascending order of keys: key, type code and the value's bytes as
    /// they lie in the file (a string with its length, an array with its element type and count).
    pub fn raw_metadata<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, u32, &'a [u8])> {
        let bytes = self.0.bytes.as_slice();
        (self.0.header.raw.range(prefix.to_owned()..))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(move |(key, (kind, range))| (key.as_str(), *kind, &bytes[range.clone()]))
    }

    /// Every tensor, in the order of the file's header.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.0.header.tensors.iter()
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.0.header.by_name.get(name).map(|&index| &self.0.header.tensors[index])
    }

    /// The data of a tensor of this file, rows one after the other.
    ///
    /// # Panics
    ///
    /// If `info` comes from another, larger file.
    pub fn tensor_bytes(&self, info: &TensorInfo) -> &[u8] {
        &self.0.bytes.as_slice()[info.range()]
    }

    /// The same, to keep: it holds the map open.
    ///
    /// # Panics
    ///
    /// As [`Self::tensor_bytes`].
    pub fn tensor_data(&self, info: &TensorInfo) -> decoder::Bytes {
        decoder::Bytes::new(self.0.clone(), info.range())
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("version", &self.version())
            .field("len", &self.len())
            .field("metadata", &self.0.header.metadata.len())
            .field("tensors", &self.0.header.tensors.len())
            .finish()
    }
}
