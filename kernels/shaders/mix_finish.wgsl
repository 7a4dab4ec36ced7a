// Mix, second part: the tiles' shares added up and divided by the probabilities' sum; and Quantize.
//
// With z = Σ p and c = bitlen(z) − 1, R = ⌊2^(31 + c) / z⌋ is a 31-bit reciprocal, one a head, and
// y = sat32(rshift_round(acc · R, 31 + c)): acc 61 bits, the product 93. Exact sums have no order.
// Twins: reference/mix.rs, reference/quantize.rs.
//
// A workgroup has a row, a lane every LANES-th quad. At most 256 heads.
//
// Dispatch: x = rows.

struct Op {
    heads: u32,
    len: u32,
    tiles: u32,
    heads_only: u32,
}

@group(0) @binding(1) var<uniform> op: Op;
/// (rows, heads, tiles)
@group(0) @binding(2) var<storage, read> prob_sums: array<u32>;
/// (rows, heads, tiles, len)
@group(0) @binding(3) var<storage, read> accs: array<vec2<u32>>;
/// (rows, n / 4), n = heads · len
@group(0) @binding(4) var<storage, read_write> y: array<vec4<i32>>;
/// (rows, n / 4)
@group(0) @binding(5) var<storage, read_write> values: array<vec2<u32>>;
/// (rows, n / 32)
@group(0) @binding(6) var<storage, read_write> sums: array<i32>;
/// (rows)
@group(0) @binding(7) var<storage, read_write> shifts: array<u32>;
/// Outputs at ±(2^31 − 1), so far
@group(0) @binding(8) var<storage, read_write> saturated: atomic<u32>;

override LANES: u32 = 64u;

var<workgroup> reciprocals: array<vec2<u32>, 256>; // Of each head: R and c.

/// The element `i` of a row, all heads side by side.
fn element(row: u32, tiles: u32, i: u32) -> i32 {
    let head = i / op.len;
    let at = (row * op.heads + head) * op.tiles * op.len + i % op.len;
    var acc = vec2<u32>(0u);
    for (var tile = 0u; tile < tiles; tile++) {
        acc = add64(acc, accs[at + tile * op.len]);
    }
    let reciprocal = reciprocals[head];
    return sat32(rshift_round96(mul96(acc, reciprocal.x), 31u + reciprocal.y));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + op.heads_only * batch.heads_from;
    let tiles = (batch.first + row) / 256u + 1u;
    for (var head = lane; head < op.heads; head += LANES) {
        var z = 0u;
        for (var tile = 0u; tile < tiles; tile++) {
            z += prob_sums[(row * op.heads + head) * op.tiles + tile];
        }
        let c = 31u - countLeadingZeros(z); // The maximum's probability is 2^14, so z isn't 0.
        reciprocals[head] = vec2<u32>(ratio(1u << 30u, z << (30u - c)), c);
    }
    workgroupBarrier();
    let n = op.heads * op.len;
    var magnitudes = 0u;
    for (var i = lane; i < n / 4u; i += LANES) {
        let at = i * 4u;
        let quad = vec4<i32>(
            element(row, tiles, at), element(row, tiles, at + 1u),
            element(row, tiles, at + 2u), element(row, tiles, at + 3u),
        );
        y[row * (n / 4u) + i] = quad;
        magnitudes |= quad_magnitudes(quad);
        count_saturated(quad);
    }
    quantize_row(row, n, lane, magnitudes);
}
