//! Tensors of the file, checked and placed among the weights.

use super::import::{Builder, Placed};
use super::weights::Data;
use super::{ImportError, convert};
use crate::gguf::{TensorInfo, TensorKind};
use rayon::prelude::*;
use refute_kernels::Format;
use refute_kernels::decoder::Bytes;
use refute_kernels::format::{row_bound, scale_in_range};

impl Builder<'_> {
    pub(super) fn bias(&mut self, name: &str, n: u32) -> Result<Option<Placed>, ImportError> {
        let tensor = format!("{name}.bias");
        if self.file.tensor(&tensor).is_none() {
            return Ok(None);
        }
        let values = convert::to_fx(&tensor, &self.floats(&tensor, n)?)?;
        self.place(tensor, Format::I32, (1, n as usize), Data::Ints(values.into())).map(Some)
    }

    /// A vector of floats.
    pub(super) fn floats(&mut self, name: &str, n: u32) -> Result<Vec<f32>, ImportError> {
        let info = self.tensor(name, &[u64::from(n)])?;
        let bytes = self.file.tensor_bytes(&info);
        convert::floats(info.kind, bytes).ok_or_else(|| unsupported_kind(&info, "F32, F16, BF16"))
    }

    /// A matrix of `rows` × `cols` weights; `proven` if it is the matrix of a linear.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
        proven: bool,
    ) -> Result<Placed, ImportError> {
        let info = self.tensor(name, &[cols as u64, rows as u64])?;
        if !cols.is_multiple_of(32) {
            return Err(ImportError::Unsupported(format!(
                "{name} has {cols} columns: rows are read in blocks of 32"
            )));
        }
        let format = match info.kind {
            TensorKind::Q8_0 => Format::Q8_0,
            TensorKind::Q4_0 => Format::Q4_0,
            TensorKind::Q4_1 => Format::Q4_1,
            _ => return self.convert(&info, rows, cols, proven),
        };
        self.check_scales(format, &info)?;
        let data = self.file.tensor_data(&info);
        let placed = self.place(name.to_owned(), format, (rows, cols), Data::Blocks(data))?;
        self.prove_if(proven, name, placed)
    }

    pub(super) fn convert(
        &mut self,
        info: &TensorInfo,
        rows: usize,
        cols: usize,
        proven: bool,
    ) -> Result<Placed, ImportError> {
        let values = convert::floats(info.kind, self.file.tensor_bytes(info))
            .ok_or_else(|| unsupported_kind(info, "Q8_0, Q4_0, Q4_1, F32, F16, BF16"))?;
        let blocks = convert::to_q8_0(&info.name, &values)?;
        self.converted.push(info.name.clone());
        let name = info.name.clone();
        let placed =
            self.place(name, Format::Q8_0, (rows, cols), Data::Blocks(Bytes::from_vec(blocks)))?;
        self.prove_if(proven, &info.name, placed)
    }

    pub(super) fn prove_if(
        &self,
        proven: bool,
        name: &str,
        placed: Placed,
    ) -> Result<Placed, ImportError> {
        if proven {
            self.prove_rows(name, placed.index)?;
        }
        Ok(placed)
    }

    /// Refuses scales that an `i32` can't hold: |d|, |m| ≥ 128, infinities, NaN.
    pub(super) fn check_scales(
        &self,
        format: Format,
        info: &TensorInfo,
    ) -> Result<(), ImportError> {
        let scales = if format == Format::Q4_1 { 2 } else { 1 };
        let bytes = self.file.tensor_bytes(info);
        let bad = bytes.par_chunks_exact(format.block_bytes()).find_map_any(|block| {
            let (halves, _) = block.as_chunks::<2>();
            halves[..scales].iter().map(|h| u16::from_le_bytes(*h)).find(|h| !scale_in_range(*h))
        });
        match bad {
            None => Ok(()),
            Some(bits) => Err(ImportError::Value {
                tensor: info.name.clone(),
                value: convert::f16_to_f32(bits).to_string(),
                remedy: "block scales must be finite and below 128 to be exact integers; use another file",
            }),
        }
    }

    /// Proves that no activation row can overflow the 64-bit sum of a row of this matrix.
    pub(super) fn prove_rows(&self, name: &str, index: usize) -> Result<(), ImportError> {
        let tensor = self.weights.tensor(index);
        let row_bytes = tensor.format.row_bytes(tensor.cols);
        let blocks = self.weights.blocks(index);
        let bad = blocks.par_chunks_exact(row_bytes).enumerate().find_map_first(|(row, bytes)| {
            match row_bound(tensor.format, bytes) {
                Some(bound) if bound < 1 << 63 => None,
                Some(bound) => Some((row, bound)),
                None => Some((row, u128::MAX)),
            }
        });
        match bad {
            None => Ok(()),
            Some((row, bound)) => Err(ImportError::Value {
                tensor: name.to_owned(),
                value: format!("a bound of {bound} on row {row}"),
                remedy: "a sum of this row could pass 2^63; the file's weights are too large",
            }),
        }
    }

    pub(super) fn place(
        &mut self,
        name: String,
        format: Format,
        shape: (usize, usize),
        data: Data,
    ) -> Result<Placed, ImportError> {
        let index = self.weights.push(name, format, shape, data).ok_or_else(|| {
            ImportError::Unsupported("the weights take more than 2^32 - 2 Merkle leaves".into())
        })?;
        Ok(Placed { index, base: self.weights.tensor(index).base })
    }

    /// Finds a tensor and checks its shape (GGUF order: columns first).
    pub(super) fn tensor(&mut self, name: &str, dims: &[u64]) -> Result<TensorInfo, ImportError> {
        let info =
            self.file.tensor(name).ok_or_else(|| ImportError::Missing(name.to_owned()))?.clone();
        let mut found = info.dims.clone();
        while found.len() > dims.len() && found.last() == Some(&1) {
            found.pop();
        }
        if found != dims {
            return Err(ImportError::Shape {
                tensor: name.to_owned(),
                found: info.dims,
                expected: dims.to_vec(),
            });
        }
        if self.used.insert(name.to_owned()) {
            self.done += info.byte_len;
            (self.progress)(self.done, self.file.len());
        }
        Ok(info)
    }

    /// A tensor that no step reads would change the model: refuse rather than drop it.
    pub(super) fn refuse_unused(&self) -> Result<(), ImportError> {
        match self.file.tensors().find(|t| !self.used.contains(&t.name)) {
            None => Ok(()),
            Some(unused) => Err(ImportError::Unsupported(format!(
                "tensor {}: the llama program has no use for it",
                unused.name
            ))),
        }
    }
}

fn unsupported_kind(info: &TensorInfo, supported: &str) -> ImportError {
    ImportError::Unsupported(format!(
        "tensor {} is stored as {:?}: {supported} are supported",
        info.name, info.kind
    ))
}
