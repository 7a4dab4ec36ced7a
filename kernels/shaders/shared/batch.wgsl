// What every kernel is told of the batch that it works on: consecutive positions, a row each.

struct Batch {
    /// Position of the batch's first row.
    first: u32,
    /// Rows of the batch.
    count: u32,
    /// First row that has a head: what nothing but a head needs is computed from this row on.
    heads_from: u32,
    pad: u32,
}

@group(0) @binding(0) var<uniform> batch: Batch;
