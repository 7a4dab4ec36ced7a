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

/// `a + b`
fn add_acc(a: Acc, b: Acc) -> Acc {
    let low = a.low + b.low;
    let carry = select(vec4<u32>(0u), vec4<u32>(1u), low < b.low);
    return Acc(low, a.high + b.high + carry);
}

/// `acc + a · b`
fn mad64(acc: Acc, a: vec4<i32>, b: vec4<i32>) -> Acc {
    return add_acc(acc, Acc(bitcast<vec4<u32>>(a * b), bitcast<vec4<u32>>(mulhi4(a, b))));
}

/// Weight `j` of a word.
fn weight(word: u32, j: u32) -> i32 {
    return bitcast<i32>(word << (24u - 8u * j)) >> 24u;
}

/// `Σ w·q` of a quad.
fn dot_quad(word: u32, quad: vec2<u32>) -> i32 {
    let q = unpack_quad(quad);
    return weight(word, 0u) * q.x + weight(word, 1u) * q.y + weight(word, 2u) * q.z
        + weight(word, 3u) * q.w;
}

/// A block of activations: eight quads.
struct Quads {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

/// `Σ w·q` of a block, `w` as stored.
fn dot_plain(w: Block, q: Quads) -> i32 {
    return dot_quad(w.low.x, q.a.xy) + dot_quad(w.low.y, q.a.zw)
        + dot_quad(w.low.z, q.b.xy) + dot_quad(w.low.w, q.b.zw)
        + dot_quad(w.high.x, q.c.xy) + dot_quad(w.high.y, q.c.zw)
        + dot_quad(w.high.z, q.d.xy) + dot_quad(w.high.w, q.d.zw);
}

/// `Σ w·b` of a block and its quads' bytes.
fn dot_bytes(w: Block, low: vec4<u32>, high: vec4<u32>) -> i32 {
    return dot4I8Packed(w.low.x, low.x) + dot4I8Packed(w.low.y, low.y)
        + dot4I8Packed(w.low.z, low.z) + dot4I8Packed(w.low.w, low.w)
        + dot4I8Packed(w.high.x, high.x) + dot4I8Packed(w.high.y, high.y)
        + dot4I8Packed(w.high.z, high.z) + dot4I8Packed(w.high.w, high.w);
}

/// The same sum as `dot_plain`, as `q = 256 · h + (l − 128) + 128`.
fn dot_packed(w: Block, q: Quads) -> i32 {
    let ones = vec4<u32>(0x01010101u);
    return 256 * dot_bytes(w, high_bytes(q.a, q.b), high_bytes(q.c, q.d))
        + dot_bytes(w, low_bytes(q.a, q.b), low_bytes(q.c, q.d)) + 128 * dot_bytes(w, ones, ones);
}

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
    var dot: vec4<i32>;
    if BYTES {
        dot = vec4<i32>(
            dot_packed(r.x, q), dot_packed(r.y, q), dot_packed(r.z, q), dot_packed(r.w, q),
        );
    } else {
        dot = vec4<i32>(
            dot_plain(r.x, q), dot_plain(r.y, q), dot_plain(r.z, q), dot_plain(r.w, q),
        );
    }
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

/// `sat32(rshift_round(acc, s))`, `0 < s < 32`.
fn round4(acc: Acc, s: u32) -> vec4<i32> {
    let low = (acc.low >> vec4<u32>(s)) | (acc.high << vec4<u32>(32u - s));
    let half = (acc.low >> vec4<u32>(s - 1u)) & vec4<u32>(1u);
    let sum = low + half;
    let carry = select(vec4<i32>(0), vec4<i32>(1), sum < half);
    let high = (bitcast<vec4<i32>>(acc.high) >> vec4<u32>(s)) + carry;
    let value = bitcast<vec4<i32>>(sum);
    let limit = select(vec4<i32>(FX_MAX), vec4<i32>(-FX_MAX), high < vec4<i32>(0));
    let fits = high == (value >> vec4<u32>(31u));
    return max(select(limit, value, fits), vec4<i32>(-FX_MAX));
}

/// `sat32(a + b)`: a sum whose sign is that of neither has wrapped.
fn sat_add4(a: vec4<i32>, b: vec4<i32>) -> vec4<i32> {
    let sum = a + b;
    let limit = select(vec4<i32>(FX_MAX), vec4<i32>(-FX_MAX), a < vec4<i32>(0));
    let wrapped = ((a ^ sum) & (b ^ sum)) < vec4<i32>(0);
    return max(select(sum, limit, wrapped), vec4<i32>(-FX_MAX));
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
