// RmsNorm: y_i = w_i · x_i / √(mean(x²) + eps), and its Quantize.
//
// The sum of squares is exact (96 bits), so any order gives the same bits; the rest works on single
// elements: `m` 63 bits, `root` 32, `r` 31, `x · r` 62, `u` 31, `u · w` 62, each rounding stated at
// its line. Twins: reference/rms_norm.rs, reference/quantize.rs.
//
// A workgroup has a row, a lane every LANES-th quad. Needs n < 65,536.
//
// Dispatch: x = rows.

struct Op {
    n: u32,
    eps: u32,
    exponent: i32,
    heads_only: u32,
}

@group(0) @binding(1) var<uniform> op: Op;
/// (rows, n / 4)
@group(0) @binding(2) var<storage, read> x: array<vec4<i32>>;
/// (n / 4) mantissas
@group(0) @binding(3) var<storage, read> w: array<vec4<i32>>;
/// (rows, n / 4)
@group(0) @binding(4) var<storage, read_write> y: array<vec4<i32>>;
/// (rows, n / 4)
@group(0) @binding(5) var<storage, read_write> values: array<vec2<u32>>;
/// (rows, n / 32)
@group(0) @binding(6) var<storage, read_write> sums: array<i32>;
/// (rows)
@group(0) @binding(7) var<storage, read_write> shifts: array<u32>;
/// Outputs at ±(2^31 − 1), so far
@group(0) @binding(8) var<storage, read_write> saturated: atomic<u32>;

override LANES: u32 = 64u; // A power of two.

var<workgroup> squares: array<vec3<u32>, LANES>;
var<workgroup> scale: vec2<u32>;

fn square(x: i32) -> vec2<u32> {
    let magnitude = bitcast<u32>(abs(x));
    return mul_u32(magnitude, magnitude);
}

/// The squares of a quad: 4 · (2^31 − 1)² is still below 2^64.
fn unit(x: vec4<i32>) -> vec2<u32> {
    return add64(add64(square(x.x), square(x.y)), add64(square(x.z), square(x.w)));
}

/// `min(⌊2^62 / root⌋, 2^31 − 1)`: the largest `r` of 31 bits with `r · root ≤ 2^62`, bit by bit.
fn reciprocal(root: u32) -> u32 {
    var r = 0u;
    for (var bit = 0x40000000u; bit > 0u; bit >>= 1u) {
        let product = mul_u32(r | bit, root);
        if product.y < 0x40000000u || (product.y == 0x40000000u && product.x == 0u) {
            r |= bit;
        }
    }
    return r;
}

/// `1/√(mean + eps)` as a mantissa `r < 2^31` and `h`: the value is `r · 2^(h − 50)`.
fn rsqrt(acc: vec3<u32>) -> vec2<u32> {
    let sum = add96(acc, vec3<u32>(op.n >> 1u, 0u, 0u)); // Half up.
    // Long division by digits of 16 bits; the quotient is below 2^62, so its upper two are 0.
    var rest = sum.z % op.n;
    var mean = vec2<u32>(0u);
    for (var i = 4u; i > 0u; i--) {
        let word = select(sum.x, sum.y, i > 2u);
        rest = (rest << 16u) | select(word & 0xffffu, word >> 16u, (i & 1u) == 0u);
        mean = vec2<u32>((mean.x << 16u) | (rest / op.n), (mean.y << 16u) | (mean.x >> 16u));
        rest %= op.n;
    }
    let m = add64(mean, vec2<u32>(op.eps, 0u));
    let h = (64u - bitlen64(m)) >> 1u;
    let root = isqrt(shl64(m, 2u * h)); // Down. In [2^31, 2^32).
    return vec2<u32>(reciprocal(root), h); // Down.
}

fn normalize(r: u32, h: u32, x: i32, w: i32) -> i32 {
    let shift = u32(clamp(op.exponent, -8, 55) + 8);
    let u = sat32(rshift_round64(mul_i32(x, bitcast<i32>(r)), 42u - h)); // Half up, Q20.
    return sat32(rshift_round64(mul_i32(u, w), shift)); // Half up.
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + op.heads_only * batch.heads_from;
    let quads = op.n / 4u;
    var acc = vec3<u32>(0u);
    for (var i = lane; i < quads; i += LANES) {
        acc = add96(acc, vec3<u32>(unit(x[row * quads + i]), 0u));
    }
    squares[lane] = acc;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            squares[lane] = add96(squares[lane], squares[lane + half]);
        }
        workgroupBarrier();
    }
    if lane == 0u {
        scale = rsqrt(squares[0]);
    }
    workgroupBarrier();
    let r = scale.x;
    let h = scale.y;
    var magnitudes = 0u;
    for (var i = lane; i < quads; i += LANES) {
        let a = x[row * quads + i];
        let b = w[i];
        let quad = vec4<i32>(
            normalize(r, h, a.x, b.x), normalize(r, h, a.y, b.y),
            normalize(r, h, a.z, b.z), normalize(r, h, a.w, b.w),
        );
        y[row * quads + i] = quad;
        magnitudes |= quad_magnitudes(quad);
        count_saturated(quad);
    }
    quantize_row(row, op.n, lane, magnitudes);
}
