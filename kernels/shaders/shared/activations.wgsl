// How a quantized row lies in memory: the output of the quantizing kernels, the input of a linear.
//
// Three buffers, for rows of `n` values (a multiple of 32):
//   values  (rows, n / 4, 2) u32   four consecutive values a quad, 16 bits each
//   sums    (rows, n / 32)   i32   Σ q of each block of 32, |Σ q| < 2^20
//   shifts  (rows)           u32
//
// A quad (q0, q1, q2, q3) is the words (q0 | q2 << 16, q1 | q3 << 16): from that order both a plain
// i32 and the bytes that a packed dot product takes are two or three instructions away.

/// Four values, each within 16 bits, as a quad.
fn pack_quad(q: vec4<i32>) -> vec2<u32> {
    let bits = bitcast<vec4<u32>>(q);
    return (bits.xy & vec2<u32>(0xffffu)) | (bits.zw << vec2<u32>(16u));
}

/// The four values of a quad.
fn unpack_quad(quad: vec2<u32>) -> vec4<i32> {
    let signed = bitcast<vec2<i32>>(quad);
    return vec4<i32>((signed << vec2<u32>(16u)) >> vec2<u32>(16u), signed >> vec2<u32>(16u));
}

/// The upper bytes of the values of four quads, two of `a` and two of `b`: a word a quad, in order,
/// signed. They are the `h` of `q = 256 · h + l`.
fn high_bytes(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let first = vec4<u32>(a.xz, b.xz);
    let second = vec4<u32>(a.yw, b.yw);
    return ((first >> vec4<u32>(8u)) & vec4<u32>(0x00ff00ffu)) | (second & vec4<u32>(0xff00ff00u));
}

/// The lower bytes, minus 128 so that they are signed too: `l − 128`.
fn low_bytes(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let first = vec4<u32>(a.xz, b.xz);
    let second = vec4<u32>(a.yw, b.yw) << vec4<u32>(8u);
    let low = (first & vec4<u32>(0x00ff00ffu)) | (second & vec4<u32>(0xff00ff00u));
    return low ^ vec4<u32>(0x80808080u);
}
