// Linear, decoding: a matrix times one position, or a few. Formula, widths and twin: shared/rows.wgsl.
//
// Here memory is the limit, so all lanes read weights: SLICES neighbours share four rows, each takes
// every SLICES-th block, and their sums meet in workgroup memory. A workgroup has 64 lanes, so it
// computes 256 / SLICES rows of one position.
//
// Dispatch: x = ⌈rows / (256 / SLICES)⌉, y = positions.

/// Lanes that share four rows: a power of two, at most 64.
override SLICES: u32 = 16u;

/// (lane): sums of its blocks
var<workgroup> partial: array<Acc, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let slice = lane % SLICES;
    let row = 4u * (group.x * (64u / SLICES) + lane / SLICES);
    let position = first_position() + group.y;
    let w = first_blocks(row, op.rows);
    let q = min(position, batch.count - 1u) * (op.cols / 32u);
    var acc: Acc;
    for (var b = slice; b < op.cols / 32u; b += SLICES) {
        acc = add_block(acc, load_blocks(w + b), q + b);
    }
    if SLICES > 1u {
        partial[lane] = acc;
        workgroupBarrier();
    }
    if slice == 0u {
        for (var i = 1u; i < SLICES; i++) {
            let other = partial[lane + i];
            let low = acc.low + other.low;
            acc.high += other.high + select(vec4<u32>(0u), vec4<u32>(1u), low < other.low);
            acc.low = low;
        }
        finalize4(acc, row, position);
    }
}
