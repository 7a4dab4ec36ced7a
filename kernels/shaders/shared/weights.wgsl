// Reading blocks of 32 weights as they are in a GGUF file: Q8_0 (34 bytes), Q4_0 (18), Q4_1 (20).
// Weight `i` of a block is `D · (w_i − offset) + M` in units of 2^-24, exactly; see format.rs.
//
// The kernel binds the matrix as `weights`, its file bytes as little-endian words. Blocks of 34 and
// 18 bytes start at even bytes, so every second one starts in the middle of a word; it touches no
// more words than the others: 9 and 5.

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
/// `σ · (e = 0 ? f : (1024 + f) << (e − 1))`. It fits for `e ≤ 21`, and the importer refuses others.
fn scale_f16(bits: u32) -> i32 {
    let exponent = (bits >> 10u) & 31u;
    let normal = min(exponent, 1u);
    let magnitude = bitcast<i32>(((normal << 10u) | (bits & 1023u)) << (exponent - normal));
    return select(magnitude, -magnitude, (bits & 0x8000u) != 0u);
}

/// The two bytes at byte `at`, which is even.
fn load_half(at: u32) -> u32 {
    return (weights[at >> 2u] >> ((at & 2u) << 3u)) & 0xffffu;
}

/// `D` and `M` of block `index`.
fn load_scales(index: u32) -> vec2<i32> {
    let at = index * block_bytes();
    let m = select(0u, load_half(at + 2u), FORMAT == Q4_1);
    return vec2<i32>(scale_f16(load_half(at)), scale_f16(m));
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

/// A block of each of four rows. A component is a row; a word holds four weights, a byte each.
struct Blocks {
    d: vec4<i32>,
    m: vec4<i32>,
    /// (quad)
    words: array<vec4<u32>, 8>,
}

/// A word of each of four rows.
fn load_words(at: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(weights[at.x], weights[at.y], weights[at.z], weights[at.w]);
}

fn scales_f16(bits: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(scale_f16(bits.x), scale_f16(bits.y), scale_f16(bits.z), scale_f16(bits.w));
}

/// The four bytes behind a scale of two bytes: they start in the middle of `a` if the scale is its
/// low half, and are `b` if the scale is its high half.
fn after_scale(a: vec4<u32>, b: vec4<u32>, odd: vec4<bool>) -> vec4<u32> {
    return select((a >> vec4<u32>(16u)) | (b << vec4<u32>(16u)), b, odd);
}

/// Four blocks, given by their numbers in the matrix.
fn load_blocks(index: vec4<u32>) -> Blocks {
    let at = index * block_bytes();
    let odd = (at & vec4<u32>(2u)) != vec4<u32>(0u);
    let word = at >> vec4<u32>(2u);
    let w0 = load_words(word);
    let w1 = load_words(word + 1u);
    let w2 = load_words(word + 2u);
    let w3 = load_words(word + 3u);
    let w4 = load_words(word + 4u);
    let d = scales_f16(select(w0, w0 >> vec4<u32>(16u), odd));
    if FORMAT == Q8_0 {
        let w5 = load_words(word + 5u);
        let w6 = load_words(word + 6u);
        let w7 = load_words(word + 7u);
        let w8 = load_words(word + 8u);
        return Blocks(d, vec4<i32>(0), array<vec4<u32>, 8>(
            after_scale(w0, w1, odd), after_scale(w1, w2, odd),
            after_scale(w2, w3, odd), after_scale(w3, w4, odd),
            after_scale(w4, w5, odd), after_scale(w5, w6, odd),
            after_scale(w6, w7, odd), after_scale(w7, w8, odd),
        ));
    }
    if FORMAT == Q4_0 {
        return Blocks(d, vec4<i32>(0), nibbles(
            after_scale(w0, w1, odd), after_scale(w1, w2, odd),
            after_scale(w2, w3, odd), after_scale(w3, w4, odd),
        ));
    }
    return Blocks(scales_f16(w0), scales_f16(w0 >> vec4<u32>(16u)), nibbles(w1, w2, w3, w4));
}

/// Byte `j` of a 4-bit block holds weight `j` in its low and weight `j + 16` in its high half.
fn nibbles(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>) -> array<vec4<u32>, 8> {
    let mask = vec4<u32>(0x0f0f0f0fu);
    let half = vec4<u32>(4u);
    return array<vec4<u32>, 8>(
        a & mask, b & mask, c & mask, d & mask,
        (a >> half) & mask, (b >> half) & mask, (c >> half) & mask, (d >> half) & mask,
    );
}
