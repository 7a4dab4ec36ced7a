// Linear, decoding: one position, or a few, times a matrix. Formula, widths and twin:
// shared/rows.wgsl.
//
// Every weight is read once, so many lanes should read: SLICES neighbours share four rows, each
// takes every SLICES-th block, and their sums meet in workgroup memory. On a CPU one slice is
// quickest.
//
// Dispatch: x = ⌈rows / (4 · LANES / SLICES)⌉, y = positions.

/// Lanes of a workgroup, and lanes that share four rows: powers of two, SLICES ≤ LANES.
override LANES: u32 = 64u;
override SLICES: u32 = 16u;

/// (LANES): each lane's sums
var<workgroup> lane_sums: array<Acc, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let slice = lane % SLICES;
    let row = 4u * (group.x * (LANES / SLICES) + lane / SLICES);
    let position = first_position() + group.y;
    let blocks = op.cols / 32u;
    let w = four(row, op.rows) * blocks;
    let q = min(position, batch.count - 1u) * blocks;
    var acc: Acc;
    for (var b = slice; b < blocks; b += SLICES) {
        acc = add_block(acc, load_blocks(w + b), q + b);
    }
    if SLICES > 1u {
        lane_sums[lane] = acc;
        workgroupBarrier();
    }
    if slice == 0u && row < op.rows && position < batch.count {
        for (var i = 1u; i < SLICES; i++) {
            acc = add_acc(acc, lane_sums[lane + i]);
        }
        finalize(acc, row, position);
    }
}
