// Four rows of a matrix times a position: what linear.wgsl and linear_batch.wgsl share.
//
// `acc = Σ_blocks (D · Σ w·q + M · Σ q)`, `y = sat32(rshift_round(acc, 24 − min(s, 16)))`, then bias
// and residual, each added with saturation. Widths: `Σ w·q` of a block 28 bits, `D` and `M` 32,
// `acc` 64: the importer has proved of every row that it fits, so any order of summation, wrapping
// included, gives the same bits. Twin: reference/linear.rs.

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
@group(0) @binding(2) var<storage, read> weights: array<u32>;
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

/// Whether products are packed dot products of bytes, as GPUs have them, or plain ones of i32, which
/// are twice as quick where the processor is a CPU.
override BYTES: bool = true;

/// A 64-bit sum for each of four rows.
struct Acc {
    low: vec4<u32>,
    high: vec4<u32>,
}

/// The high words of `a · b`, signed, from products of 16-bit halves; the lower halves are unsigned.
fn mulhi4(a: vec4<i32>, b: vec4<i32>) -> vec4<i32> {
    let mask = vec4<i32>(0xffff);
    let half = vec4<u32>(16u);
    let a0 = a & mask;
    let a1 = a >> half;
    let b0 = b & mask;
    let b1 = b >> half;
    let lowest = bitcast<vec4<i32>>(bitcast<vec4<u32>>(a0 * b0) >> half);
    let low = a1 * b0 + lowest;
    let high = a0 * b1 + (low & mask);
    return a1 * b1 + (low >> half) + (high >> half);
}

/// `acc + a · b`
fn mad64(acc: Acc, a: vec4<i32>, b: vec4<i32>) -> Acc {
    let low = bitcast<vec4<u32>>(a * b);
    let sum = acc.low + low;
    let carry = select(vec4<u32>(0u), vec4<u32>(1u), sum < low);
    return Acc(sum, acc.high + bitcast<vec4<u32>>(mulhi4(a, b)) + carry);
}

/// `Σ w·q` of four bytes of each row.
fn dot_bytes(w: vec4<u32>, q: u32) -> vec4<i32> {
    return vec4<i32>(
        dot4I8Packed(w.x, q), dot4I8Packed(w.y, q), dot4I8Packed(w.z, q), dot4I8Packed(w.w, q),
    );
}

/// The weights `j` of four words.
fn weight(words: vec4<u32>, j: u32) -> vec4<i32> {
    return bitcast<vec4<i32>>(words << vec4<u32>(24u - 8u * j)) >> vec4<u32>(24u);
}

/// `Σ w·q` of a quad of each row.
fn dot_quad(words: vec4<u32>, quad: vec2<u32>) -> vec4<i32> {
    let q = unpack_quad(quad);
    return weight(words, 0u) * q.x + weight(words, 1u) * q.y + weight(words, 2u) * q.z
        + weight(words, 3u) * q.w;
}

/// `Σ w·q` of a block of each row, `w` as stored; `at` is the block's number in `values`.
fn dot_block(w: array<vec4<u32>, 8>, at: u32) -> vec4<i32> {
    let a = values[4u * at];
    let b = values[4u * at + 1u];
    let c = values[4u * at + 2u];
    let d = values[4u * at + 3u];
    if !BYTES {
        return dot_quad(w[0], a.xy) + dot_quad(w[1], a.zw) + dot_quad(w[2], b.xy)
            + dot_quad(w[3], b.zw) + dot_quad(w[4], c.xy) + dot_quad(w[5], c.zw)
            + dot_quad(w[6], d.xy) + dot_quad(w[7], d.zw);
    }
    // q = 256 · h + (l − 128) + 128
    let high = dot_bytes(w[0], high_bytes(a.xy)) + dot_bytes(w[1], high_bytes(a.zw))
        + dot_bytes(w[2], high_bytes(b.xy)) + dot_bytes(w[3], high_bytes(b.zw))
        + dot_bytes(w[4], high_bytes(c.xy)) + dot_bytes(w[5], high_bytes(c.zw))
        + dot_bytes(w[6], high_bytes(d.xy)) + dot_bytes(w[7], high_bytes(d.zw));
    let low = dot_bytes(w[0], low_bytes(a.xy)) + dot_bytes(w[1], low_bytes(a.zw))
        + dot_bytes(w[2], low_bytes(b.xy)) + dot_bytes(w[3], low_bytes(b.zw))
        + dot_bytes(w[4], low_bytes(c.xy)) + dot_bytes(w[5], low_bytes(c.zw))
        + dot_bytes(w[6], low_bytes(d.xy)) + dot_bytes(w[7], low_bytes(d.zw));
    let ones = 0x01010101u;
    let total = dot_bytes(w[0], ones) + dot_bytes(w[1], ones) + dot_bytes(w[2], ones)
        + dot_bytes(w[3], ones) + dot_bytes(w[4], ones) + dot_bytes(w[5], ones)
        + dot_bytes(w[6], ones) + dot_bytes(w[7], ones);
    return 256 * high + low + 128 * total;
}

/// `acc` plus a block of each row times block `at` of the activations.
fn add_block(acc: Acc, w: Blocks, at: u32) -> Acc {
    let sum = vec4<i32>(sums[at]);
    let next = mad64(acc, w.d, dot_block(w.words, at) - weight_offset() * sum);
    if FORMAT == Q4_1 {
        return mad64(next, w.m, sum);
    }
    return next;
}

/// The block numbers that four rows, or positions, from `first` on start with. What is beyond `count`
/// repeats the last one; its results are dropped.
fn first_blocks(first: u32, count: u32) -> vec4<u32> {
    let index = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u);
    return min(index, vec4<u32>(count - 1u)) * (op.cols / 32u);
}

/// The first position to work on.
fn first_position() -> u32 {
    return select(0u, batch.heads_from, op.heads_only != 0u);
}

/// Writes one element, if there is such a row and position.
fn finalize(acc: vec2<u32>, row: u32, position: u32) {
    if row >= op.rows || position >= batch.count {
        return;
    }
    let i = op.first_row + row;
    let at = (position - select(0u, batch.heads_from, op.heads_packed != 0u)) * op.stride + i;
    var value = sat32(rshift_round64(acc, 24u - min(shifts[position], 16u)));
    if op.has_bias != 0u {
        value = sat_add(value, bias[i]);
    }
    if op.has_residual != 0u {
        value = sat_add(value, residual[position * op.stride + i]);
    }
    y[at] = value;
    if abs(value) == FX_MAX {
        atomicAdd(&saturated, 1u);
    }
}

/// Writes the elements of four rows.
fn finalize4(acc: Acc, row: u32, position: u32) {
    finalize(vec2<u32>(acc.low.x, acc.high.x), row, position);
    finalize(vec2<u32>(acc.low.y, acc.high.y), row + 1u, position);
    finalize(vec2<u32>(acc.low.z, acc.high.z), row + 2u, position);
    finalize(vec2<u32>(acc.low.w, acc.high.w), row + 3u, position);
}
