// SwiGlu: gate · σ(gate) · up, σ the logistic function; and Quantize.
//
// 2^-z for z = |gate| · log2(e) in Q30 from the integer exp2, the quotient in Q31 (rounded down),
// and one rounding of the triple product. Widths: z 64 bits, gate · σ 63, the product 94. A map:
// there is no order. Twins: reference/swiglu.rs, reference/quantize.rs.
//
// A workgroup has a row, a lane every LANES-th quad. The result takes the gate's place.
//
// Dispatch: x = rows.

struct Op {
    n: u32,
    pad0: u32,
    pad1: u32,
    heads_only: u32,
}

@group(0) @binding(1) var<uniform> op: Op;
/// (rows, n / 4)
@group(0) @binding(2) var<storage, read> up: array<vec4<i32>>;
/// (rows, n / 4): gate, then the result
@group(0) @binding(3) var<storage, read_write> y: array<vec4<i32>>;
/// (rows, n / 4)
@group(0) @binding(4) var<storage, read_write> values: array<vec2<u32>>;
/// (rows, n / 32)
@group(0) @binding(5) var<storage, read_write> sums: array<i32>;
/// (rows)
@group(0) @binding(6) var<storage, read_write> shifts: array<u32>;
/// Outputs at ±(2^31 − 1), so far
@group(0) @binding(7) var<storage, read_write> saturated: atomic<u32>;

override LANES: u32 = 64u;

/// `log2(e)` in Q32, minus 1.
const LOG2_E: u32 = 1901360723u;

/// The logistic function of an Fx, in Q31.
fn sigmoid(gate: i32) -> u32 {
    let magnitude = bitcast<u32>(abs(gate));
    let z = add64(mul_u32(magnitude, LOG2_E), vec2<u32>(0u, magnitude)); // 44 fractional bits.
    let whole = z.y >> 12u;
    let fraction = (z.x >> 12u) | (z.y << 20u);
    // 2^-(whole + fraction) = 2^-n · 2^f with f in [0, 1).
    let n = whole + min(fraction, 1u);
    let e = select(0u, rshift_round32(exp2_q30(0u - fraction), min(n, 31u)), n <= 31u);
    let one = 1u << 30u;
    return ratio(select(e, one, gate >= 0), one + e);
}

fn swiglu(gate: i32, up: i32) -> i32 {
    let product = mul96(from_i32(gate), sigmoid(gate)).xy;
    let signed = select(product, neg64(product), up < 0);
    return sat32(rshift_round96(mul96(signed, bitcast<u32>(abs(up))), 43u));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + op.heads_only * batch.heads_from;
    let quads = op.n / 4u;
    var magnitudes = 0u;
    for (var i = lane; i < quads; i += LANES) {
        let a = y[row * quads + i];
        let b = up[row * quads + i];
        let quad = vec4<i32>(
            swiglu(a.x, b.x), swiglu(a.y, b.y), swiglu(a.z, b.z), swiglu(a.w, b.w),
        );
        y[row * quads + i] = quad;
        magnitudes |= quad_magnitudes(quad);
        count_saturated(quad);
    }
    quantize_row(row, op.n, lane, magnitudes);
}
