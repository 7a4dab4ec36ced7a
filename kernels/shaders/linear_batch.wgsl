// Linear, prefill: many positions times a matrix. Formula, widths and twin: shared/rows.wgsl.
//
// A lane computes 4 rows × 4 positions in registers: a block of weights is read and decoded once
// for four positions, a block of activations read once for four rows. Larger tiles outgrow a GPU's
// registers and a CPU's instruction cache. Neighbours share by the data cache: there is no
// workgroup memory and no barrier.
//
// Dispatch: x = ⌈rows / (4 · ROW_LANES)⌉, y = ⌈positions / (4 · POSITION_LANES)⌉.

/// Lanes of a workgroup along the rows and along the positions. On a CPU 8 and 1 are quickest: then
/// the lanes of a vector read the same activations.
override ROW_LANES: u32 = 16u;
override POSITION_LANES: u32 = 4u;

@compute @workgroup_size(ROW_LANES, POSITION_LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = 4u * id.x;
    let position = first_position() + 4u * id.y;
    if row >= op.rows || position >= batch.count {
        return;
    }
    let blocks = op.cols / 32u;
    let w = four(row, op.rows) * blocks;
    let q = four(position, batch.count) * blocks;
    var acc0: Acc;
    var acc1: Acc;
    var acc2: Acc;
    var acc3: Acc;
    for (var b = 0u; b < blocks; b++) {
        let weights = load_blocks(w + b);
        acc0 = add_block(acc0, weights, q.x + b);
        acc1 = add_block(acc1, weights, q.y + b);
        acc2 = add_block(acc2, weights, q.z + b);
        acc3 = add_block(acc3, weights, q.w + b);
    }
    finalize(acc0, row, position);
    finalize(acc1, row, position + 1u);
    finalize(acc2, row, position + 2u);
    finalize(acc3, row, position + 3u);
}
