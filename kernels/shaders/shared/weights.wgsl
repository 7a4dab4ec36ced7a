// Reading blocks of 32 weights as they are in a GGUF file: Q8_0 (34 bytes), Q4_0 (18), Q4_1 (20).
// Weight `i` of a block is `D · (w_i − offset) + M` in units of 2^-24, exactly; see format.rs.
//
// The kernel binds the matrix as `weights: array<vec4<u32>>`, its file bytes as little-endian
// words, because one load of four words costs little more than a load of one. Blocks start at even
// bytes and so anywhere in a vector. What is read beyond a block is in the same vector as its last
// byte.

const Q8_0: u32 = 1u;
const Q4_0: u32 = 2u;
const Q4_1: u32 = 3u;

/// The matrix's format. A pipeline knows one, so that what is for the others is compiled away.
override FORMAT: u32;

/// Bytes of a block.
fn block_bytes() -> u32 {
    return select(select(20u, 18u, FORMAT == Q4_0), 34u, FORMAT == Q8_0);
}

/// What is subtracted from a stored weight.
fn weight_offset() -> i32 {
    return select(0, 8, FORMAT == Q4_0);
}

/// The exact value of an f16 (the low half of `bits`) in units of 2^-24:
/// `σ · (e = 0 ? f : (1024 + f) << (e − 1))`. It fits for `e ≤ 21`, which the importer demands.
fn scale_f16(bits: u32) -> i32 {
    let exponent = (bits >> 10u) & 31u;
    let normal = min(exponent, 1u);
    let magnitude = bitcast<i32>(((normal << 10u) | (bits & 1023u)) << (exponent - normal));
    return select(magnitude, -magnitude, (bits & 0x8000u) != 0u);
}

/// The two bytes at byte `at`, which is even.
fn load_half(at: u32) -> u32 {
    return (weights[at >> 4u][(at >> 2u) & 3u] >> ((at & 2u) << 3u)) & 0xffffu;
}

/// `D` and `M` of block `index`.
fn load_scales(index: u32) -> vec2<i32> {
    let at = index * block_bytes();
    let d = scale_f16(load_half(at));
    if FORMAT == Q4_1 {
        return vec2<i32>(d, scale_f16(load_half(at + 2u)));
    }
    return vec2<i32>(d, 0);
}

/// Weights `4 · quad` to `4 · quad + 3` of block `index`, with their offset.
fn load_quad(index: u32, quad: u32) -> vec4<i32> {
    let start = index * block_bytes() + select(2u, 4u, FORMAT == Q4_1);
    let at = start + 4u * select(quad & 3u, quad, FORMAT == Q8_0);
    let word = load_half(at) | (load_half(at + 2u) << 16u);
    let bytes = vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u);
    if FORMAT == Q8_0 {
        return bitcast<vec4<i32>>(bytes << vec4<u32>(24u)) >> vec4<u32>(24u);
    }
    let stored = (bytes >> vec4<u32>(quad & 4u)) & vec4<u32>(15u);
    return bitcast<vec4<i32>>(stored) - weight_offset();
}

/// A whole block: its scales, and its weights as stored, four a word, in order.
struct Block {
    d: i32,
    m: i32,
    /// Weights 0 to 15, 16 to 31.
    low: vec4<u32>,
    high: vec4<u32>,
}

/// The word of `a` that byte `at` is in.
fn word_at(a: vec4<u32>, at: u32) -> u32 {
    let pair = select(a.xy, a.zw, (at & 8u) != 0u);
    return select(pair.x, pair.y, (at & 4u) != 0u);
}

/// Four words of `a` and then `b`, from the one on that byte `at` is in.
fn words_at(a: vec4<u32>, b: vec4<u32>, at: u32) -> vec4<u32> {
    let far = (at & 8u) != 0u;
    let c = select(a, vec4<u32>(a.zw, b.xy), far);
    return select(c, vec4<u32>(c.yzw, select(b.x, b.z, far)), (at & 4u) != 0u);
}

/// Four words that start behind a scale: it takes half a word of `a`, whose neighbours are `next`.
fn after_scale(a: vec4<u32>, next: vec4<u32>, at: u32) -> vec4<u32> {
    let half = vec4<u32>(16u);
    return select((a >> half) | (next << half), next, (at & 2u) != 0u);
}

/// Block `index`.
fn load_block(index: u32) -> Block {
    let at = index * block_bytes();
    let i = at >> 4u;
    let b = weights[i + 1u];
    let words = words_at(weights[i], b, at);
    let d = scale_f16(words.x >> ((at & 2u) << 3u));
    if FORMAT == Q8_0 {
        let c = weights[i + 2u];
        let more = words_at(b, c, at);
        let low = after_scale(words, vec4<u32>(words.yzw, more.x), at);
        return Block(d, 0, low, after_scale(more, vec4<u32>(more.yzw, word_at(c, at)), at));
    }
    // Byte `j` holds weight `j` in its low and weight `j + 16` in its high half.
    let next = vec4<u32>(words.yzw, word_at(b, at));
    let bytes = select(after_scale(words, next, at), next, FORMAT == Q4_1);
    let m = select(0, scale_f16(words.x >> 16u), FORMAT == Q4_1);
    let mask = vec4<u32>(0x0f0f0f0fu);
    return Block(d, m, bytes & mask, (bytes >> vec4<u32>(4u)) & mask);
}
