// Four rows of a matrix times a position: what linear.wgsl and linear_batch.wgsl share.
//
// `acc = Σ_blocks (D · Σ w·q + M · Σ q)`, `y = sat32(rshift_round(acc, 24 − min(s, 16)))`, then
// bias and residual, each added with saturation. Widths: `Σ w·q` of a block 28 bits, `D` and `M`
// 32, `acc` 64: the importer has proved of every row that it fits, so any order of summation,
// wrapping included, gives the same bits. Twin: reference/linear.rs.

struct Op {
    /// Rows of this piece of the matrix, and of the whole: the stride of `y` and `residual`.
    rows: u32,
    stride: u32,
    /// Row of the whole matrix that this piece starts with.
    first_row: u32,
    /// Weights of a row, a multiple of 32.
    cols: u32,
    /// Whether there is a bias, a residual.
    has_bias: u32,
    has_residual: u32,
    /// Whether only the positions with a head are wanted, and whether `y` holds no others.
    heads_only: u32,
    heads_packed: u32,
}

@group(0) @binding(1) var<uniform> op: Op;
/// (rows, cols / 32) blocks as in the file
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
/// (positions, cols / 8): two quads each, see activations.wgsl
@group(0) @binding(3) var<storage, read> values: array<vec4<u32>>;
/// (positions, cols / 32): Σ q of a block
@group(0) @binding(4) var<storage, read> sums: array<i32>;
/// (positions)
@group(0) @binding(5) var<storage, read> shifts: array<u32>;
/// (stride), Fx
@group(0) @binding(6) var<storage, read> bias: array<i32>;
/// (positions, stride), Fx
@group(0) @binding(7) var<storage, read> residual: array<i32>;
/// (positions, stride), Fx
@group(0) @binding(8) var<storage, read_write> y: array<i32>;
/// Outputs at ±(2^31 − 1), so far
@group(0) @binding(9) var<storage, read_write> saturated: atomic<u32>;

/// A block of each of four rows.
struct Blocks {
    x: Block,
    y: Block,
    z: Block,
    w: Block,
}

/// Their numbers in the matrix are `index`.
fn load_blocks(index: vec4<u32>) -> Blocks {
    return Blocks(
        load_block(index.x), load_block(index.y), load_block(index.z), load_block(index.w),
    );
}

/// `acc` plus a block of each row times block `index` of the activations.
fn add_block(acc: Acc, r: Blocks, index: u32) -> Acc {
    let i = 4u * index;
    let q = Quads(values[i], values[i + 1u], values[i + 2u], values[i + 3u]);
    let sum = vec4<i32>(sums[index]);
    let dot = vec4<i32>(dot_block(r.x, q), dot_block(r.y, q), dot_block(r.z, q), dot_block(r.w, q));
    let next = mad64(acc, vec4<i32>(r.x.d, r.y.d, r.z.d, r.w.d), dot - weight_offset() * sum);
    if FORMAT == Q4_1 {
        return mad64(next, vec4<i32>(r.x.m, r.y.m, r.z.m, r.w.m), sum);
    }
    return next;
}

/// `first` to `first + 3`, where what is beyond `count` repeats the last one: it is computed and
/// written again, with the same result.
fn four(first: u32, count: u32) -> vec4<u32> {
    return min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u));
}

/// The first position to work on.
fn first_position() -> u32 {
    return select(0u, batch.heads_from, op.heads_only != 0u);
}

/// Writes four rows of one position.
fn finalize(acc: Acc, row: u32, position: u32) {
    let p = min(position, batch.count - 1u);
    var value = round4(acc, 24u - min(shifts[p], 16u));
    let i = op.first_row + four(row, op.rows);
    if op.has_bias != 0u {
        value = sat_add4(value, vec4<i32>(bias[i.x], bias[i.y], bias[i.z], bias[i.w]));
    }
    if op.has_residual != 0u {
        let at = p * op.stride + i;
        value = sat_add4(
            value, vec4<i32>(residual[at.x], residual[at.y], residual[at.z], residual[at.w]),
        );
    }
    let at = (p - select(0u, batch.heads_from, op.heads_packed != 0u)) * op.stride + i;
    y[at.x] = value.x;
    y[at.y] = value.y;
    y[at.z] = value.z;
    y[at.w] = value.w;
    let extreme = abs(value) == vec4<i32>(FX_MAX);
    let own = row + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(op.rows);
    if position < batch.count && any(extreme & own) {
        let each = select(vec4<u32>(0u), vec4<u32>(1u), extreme & own);
        atomicAdd(&saturated, each.x + each.y + each.z + each.w);
    }
}
