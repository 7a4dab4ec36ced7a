//! The weights: tensors in program order, and the Merkle leaves over them.

use refute_kernels::Format;
use refute_kernels::decoder::{Bytes, Matrix};
use std::borrow::Cow;
use std::sync::Arc;

/// A tensor's values.
#[derive(Clone, Debug)]
pub enum Data {
    /// Blocks: in the mapped file, untouched, or converted at import.
    Blocks(Bytes),
    /// Integers fixed at import.
    Ints(Arc<[i32]>),
}

/// A tensor of the model: `rows` × `cols` weights.
#[derive(Debug)]
pub struct WeightTensor {
    /// Name in the file, or of what the import made.
    pub name: String,
    /// How the weights are stored.
    pub format: Format,
    /// Rows.
    pub rows: usize,
    /// Weights of a row.
    pub cols: usize,
    /// First leaf in the weights tree.
    pub base: u32,
    /// The values.
    pub data: Data,
}

impl WeightTensor {
    /// Leaves that the tensor takes.
    pub fn leaves(&self) -> usize {
        self.rows * self.format.leaves_per_row(self.cols)
    }
}

/// All tensors of a model; most of them stay in the mapped file.
#[derive(Debug, Default)]
pub struct Weights {
    tensors: Vec<WeightTensor>,
    leaves: u32,
}

impl Weights {
    /// Appends a tensor at the next free leaf and gives its index, or `None` when 2^32 leaves are used up.
    pub fn push(
        &mut self,
        name: String,
        format: Format,
        (rows, cols): (usize, usize),
        data: Data,
    ) -> Option<usize> {
        let tensor = WeightTensor { name, format, rows, cols, base: self.leaves, data };
        let leaves = u32::try_from(tensor.leaves()).ok()?;
        self.leaves = self.leaves.checked_add(leaves).filter(|l| *l < u32::MAX)?;
        self.tensors.push(tensor);
        Some(self.tensors.len() - 1)
    }

    /// The tensor with this index.
    pub fn tensor(&self, index: usize) -> &WeightTensor {
        &self.tensors[index]
    }

    /// All tensors, in the order of their leaves.
    pub fn tensors(&self) -> &[WeightTensor] {
        &self.tensors
    }

    /// Leaves of the weights tree.
    pub fn leaf_count(&self) -> u32 {
        self.leaves
    }

    /// Bytes of a block-format tensor, row after row; empty for integers.
    pub fn blocks(&self, index: usize) -> &[u8] {
        match &self.tensors[index].data {
            Data::Blocks(bytes) => bytes,
            Data::Ints(_) => &[],
        }
    }

    /// A block-format tensor as a matrix, for a backend to keep; `None` for integers.
    pub fn matrix(&self, index: usize) -> Option<Matrix> {
        let WeightTensor { format, rows, cols, data, .. } = &self.tensors[index];
        let Data::Blocks(bytes) = data else { return None };
        Some(Matrix { format: *format, rows: *rows, cols: *cols, bytes: bytes.clone() })
    }

    /// All values of an integer tensor, for a backend to keep; `None` for the others.
    pub fn all_ints(&self, index: usize) -> Option<Arc<[i32]>> {
        let Data::Ints(values) = &self.tensors[index].data else { return None };
        Some(Arc::clone(values))
    }

    /// Bytes of one row of a block-format tensor.
    pub fn row(&self, index: usize, row: usize) -> &[u8] {
        let tensor = &self.tensors[index];
        let bytes = tensor.format.row_bytes(tensor.cols);
        self.blocks(index).get(row * bytes..(row + 1) * bytes).unwrap_or_default()
    }

    /// One row of an integer tensor; empty for the others.
    pub fn ints(&self, index: usize, row: usize) -> &[i32] {
        let tensor = &self.tensors[index];
        match &tensor.data {
            Data::Ints(values) => &values[row * tensor.cols..(row + 1) * tensor.cols],
            _ => &[],
        }
    }

    /// Bytes of leaf `leaf` of a tensor, counted from the tensor's base.
    pub fn tensor_leaf(&self, index: usize, leaf: usize) -> Cow<'_, [u8]> {
        let tensor = &self.tensors[index];
        let per_row = tensor.format.leaves_per_row(tensor.cols);
        let (row, part) = (leaf / per_row, leaf % per_row);
        let len = tensor.format.leaf_len();
        let columns = part * len..((part + 1) * len).min(tensor.cols);
        match &tensor.data {
            Data::Ints(_) => {
                let values = &self.ints(index, row)[columns];
                Cow::Owned(values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            _ => {
                let (start, end) =
                    (tensor.format.row_bytes(columns.start), tensor.format.row_bytes(columns.end));
                Cow::Borrowed(&self.row(index, row)[start..end])
            }
        }
    }

    /// Bytes of a leaf of the weights tree, if there is one.
    pub fn leaf(&self, leaf: u32) -> Option<Cow<'_, [u8]>> {
        if leaf >= self.leaves {
            return None;
        }
        let index = self.tensors.partition_point(|t| t.base <= leaf) - 1;
        Some(self.tensor_leaf(index, (leaf - self.tensors[index].base) as usize))
    }
}
