// Linear, prefill: many positions times a matrix. Formula, widths and twin: shared/rows.wgsl.
//
// A lane computes 4 rows × 4 positions in registers: each block of weights is read and decoded once
// for four positions, each block of activations read once for four rows. A workgroup computes 64
// rows × 16 positions. No workgroup memory and no barrier: neighbours share by the cache.
//
// Dispatch: x = ⌈rows / 64⌉, y = ⌈positions / 16⌉.

@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = 4u * id.x;
    let position = first_position() + 4u * id.y;
    if row >= op.rows || position >= batch.count {
        return;
    }
    let w = first_blocks(row, op.rows);
    let q = first_blocks(position, batch.count);
    var acc0: Acc;
    var acc1: Acc;
    var acc2: Acc;
    var acc3: Acc;
    for (var b = 0u; b < op.cols / 32u; b++) {
        let blocks = load_blocks(w + b);
        acc0 = add_block(acc0, blocks, q.x + b);
        acc1 = add_block(acc1, blocks, q.y + b);
        acc2 = add_block(acc2, blocks, q.z + b);
        acc3 = add_block(acc3, blocks, q.w + b);
    }
    finalize4(acc0, row, position);
    finalize4(acc1, row, position + 1u);
    finalize4(acc2, row, position + 2u);
    finalize4(acc3, row, position + 3u);
}
