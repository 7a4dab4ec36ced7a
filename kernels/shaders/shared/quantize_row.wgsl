// Quantizes a row that the workgroup has just computed, for the linear that reads it: 15 bits, one
// group. Needs the kernel's `y`, `values`, `sums`, `shifts` (see activations.wgsl) and `LANES`.

const ROW_BITS: u32 = 15u;

var<workgroup> row_magnitudes: atomic<u32>;

/// Row `row` of `n` elements; `magnitudes` is the OR of those that this lane wrote to `y`.
fn quantize_row(row: u32, n: u32, lane: u32, magnitudes: u32) {
    atomicOr(&row_magnitudes, magnitudes);
    storageBarrier();
    workgroupBarrier();
    let shift = quantize_shift(atomicLoad(&row_magnitudes), ROW_BITS);
    if lane == 0u {
        shifts[row] = shift;
    }
    // A lane takes whole blocks, so that it alone has their sums.
    for (var block = lane; block < n / 32u; block += LANES) {
        let at = (row * n + block * 32u) / 4u;
        var sum = 0;
        for (var i = 0u; i < 8u; i++) {
            let q = quantize_quad(y[at + i], shift, ROW_BITS);
            values[at + i] = pack_quad(q);
            sum += q.x + q.y + q.z + q.w;
        }
        sums[row * (n / 32u) + block] = sum;
    }
}
