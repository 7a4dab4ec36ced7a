// Quantize: with o = OR |x_i| and s = max(0, bitlen(o) − bits),
// q_i = clamp(rshift_round(x_i, s), ±(2^bits − 1)).
//
// 32 bits hold everything, and OR is the same in any order. Twin: reference/quantize.rs.

/// What a quad adds to the OR.
fn quad_magnitudes(x: vec4<i32>) -> u32 {
    let m = bitcast<vec4<u32>>(abs(x));
    return m.x | m.y | m.z | m.w;
}

/// The group's shift, from its OR.
fn quantize_shift(magnitudes: u32, bits: u32) -> u32 {
    return max(32u - countLeadingZeros(magnitudes), bits) - bits;
}

/// Four values under the group's shift.
fn quantize_quad(x: vec4<i32>, shift: u32, bits: u32) -> vec4<i32> {
    let limit = vec4<i32>((1 << bits) - 1);
    let below = vec4<u32>(max(shift, 1u) - 1u);
    let half = (x >> below) & vec4<i32>(i32(min(shift, 1u))); // None for a shift of 0.
    return clamp((x >> vec4<u32>(shift)) + half, -limit, limit);
}
