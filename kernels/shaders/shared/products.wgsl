// A block of weights times a block of activations: `Σ w·q` over 32 products, `w` as stored (0 to
// 15, or −128 to 127), `|q| < 2^15`: below 2^28 in magnitude.

/// Whether products are packed dot products of bytes, as GPUs have them, or plain ones of i32,
/// which are twice as quick where the processor is a CPU.
override BYTES: bool = true;

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

/// One by one.
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

/// In bytes: `q = 256 · h + (l − 128) + 128`.
fn dot_packed(w: Block, q: Quads) -> i32 {
    let ones = vec4<u32>(0x01010101u);
    return 256 * dot_bytes(w, high_bytes(q.a, q.b), high_bytes(q.c, q.d))
        + dot_bytes(w, low_bytes(q.a, q.b), low_bytes(q.c, q.d)) + 128 * dot_bytes(w, ones, ones);
}

/// `Σ w·q` of a block.
fn dot_block(w: Block, q: Quads) -> i32 {
    if BYTES {
        return dot_packed(w, q);
    }
    return dot_plain(w, q);
}
