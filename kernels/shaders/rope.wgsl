// Rope: rotates pairs of a head's elements by an angle that grows with the position; and the
// head's Quantize. y0 = sat32(rshift_round(x0 · cos − x1 · sin, 30)), y1 with x0 · sin + x1 · cos.
//
// cos and sin are Q30, so the sums of two products are below 2^63. A map, then the OR of a head's
// magnitudes: neither has an order. Twins: reference/rope.rs, reference/quantize.rs.
//
// A workgroup has a head, a lane every 32nd pair. Where nothing rotates (V) there is no Rope, and
// its input is quantized.
//
// Dispatch: x = heads, y = rows.

struct Op {
    heads: u32,
    len: u32,
    rotated: u32,
    bits: u32,
    /// 1: the output is a cache, and has a row a position; 0: it has a row a row of the batch.
    at_position: u32,
    heads_only: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(1) var<uniform> op: Op;
/// (rows, heads, len / 2)
@group(0) @binding(2) var<storage, read> x: array<vec2<i32>>;
/// (positions, rotated / 2): cos, sin
@group(0) @binding(3) var<storage, read> table: array<vec2<i32>>;
/// (rows or positions), see heads.wgsl
@group(0) @binding(4) var<storage, read_write> out: array<u32>;
/// Outputs at ±(2^31 − 1), so far
@group(0) @binding(5) var<storage, read_write> saturated: atomic<u32>;

const LANES: u32 = 32u;

var<workgroup> head_magnitudes: atomic<u32>;
var<workgroup> turned: array<vec2<i32>, 128>;

fn turn(x: vec2<i32>, angle: vec2<i32>) -> vec2<i32> {
    let y0 = add64(mul_i32(x.x, angle.x), neg64(mul_i32(x.y, angle.y)));
    let y1 = add64(mul_i32(x.x, angle.y), mul_i32(x.y, angle.x));
    return vec2<i32>(sat32(rshift_round64(y0, 30u)), sat32(rshift_round64(y1, 30u)));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = group.x;
    let row = group.y + op.heads_only * batch.heads_from;
    let position = batch.first + row;
    let pairs = op.len / 2u;
    var magnitudes = 0u;
    for (var i = lane; i < pairs; i += LANES) {
        var pair = x[(row * op.heads + head) * pairs + i];
        if i < op.rotated / 2u {
            pair = turn(pair, table[position * (op.rotated / 2u) + i]);
        }
        turned[i] = pair;
        magnitudes |= quad_magnitudes(pair.xyxy);
        if op.rotated > 0u {
            count_saturated(vec4<i32>(pair, 0, 0));
        }
    }
    atomicOr(&head_magnitudes, magnitudes);
    workgroupBarrier();
    let shift = quantize_shift(atomicLoad(&head_magnitudes), op.bits);
    let words = head_words(op.len);
    let base = select(row, position, op.at_position == 1u) * heads_row_words(op.heads, op.len);
    for (var i = lane; i < words; i += LANES) {
        // A lane reads what it wrote; behind the end are zeros.
        let q = bitcast<vec4<u32>>(quantize_quad(turned[i].xyxy, shift, op.bits));
        out[base + head * words + i] = select(0u, (q.x & 0xffffu) | (q.y << 16u), i < pairs);
    }
    if lane == 0u {
        out[base + op.heads * words + head] = shift;
    }
}
