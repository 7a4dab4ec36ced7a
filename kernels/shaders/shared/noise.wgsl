// The noise of Sample: base-2 Gumbel noise out of Philox4x32-10. Needs int64.wgsl. Twin:
// reference/noise.rs, which says what is computed and why.

/// The uniform words of ids `4 · group … 4 · group + 3` at a position; `seed` is (low, high).
fn noise_words(seed: vec2<u32>, position: u32, group: u32) -> vec4<u32> {
    var x = vec4<u32>(group, position, 0x53414d50u, 0u);
    var key = seed;
    for (var round = 0u; round < 10u; round++) {
        let p = mul_u32(0xd2511f53u, x.x);
        let r = mul_u32(0xcd9e8d57u, x.z);
        x = vec4<u32>(r.y ^ x.y ^ key.x, r.x, p.y ^ x.w ^ key.y, p.x);
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return x;
}

/// `log2 z` of `z ≥ 1` with 25 fractional bits.
fn log2_q25(z: u32) -> u32 {
    let zeros = countLeadingZeros(z);
    let f = (z << zeros) << 1u;
    var a = 55897937u - umulhi(9995641u, f);
    a = 147662443u - umulhi(a, f);
    a = 259700344u - umulhi(a, f);
    a = 372911710u - umulhi(a, f);
    a = 513982710u - umulhi(a, f);
    a = 774345888u - umulhi(a, f);
    a = 1549076464u - umulhi(a, f);
    return ((31u - zeros) << 25u) + (umulhi(a, f) >> 5u);
}

/// `log2(−log2(1 − y) / y)` in Q30, `y = z · 2^-33`.
fn log2_ratio(z: u32) -> u32 {
    var a = 8142805u - umulhi(4586931u, z);
    a = 12797524u - umulhi(a, z);
    a = 3345539u + umulhi(a, z);
    a = 25626233u + umulhi(a, z);
    a = 80489556u + umulhi(a, z);
    a = 387280277u + umulhi(a, z);
    return 567758488u + umulhi(a, z);
}

/// The noise of a uniform word, in units of 2^-16.
fn gumbel(word: u32) -> i32 {
    let upper = word >= 0x80000000u;
    let z = 2u * select(word, ~word, upper) + 1u;
    let e = (33u << 25u) - log2_q25(z);
    // A lane takes one of the two; signs come right as differences wrap.
    var x = 0u;
    if upper {
        x = e - (log2_ratio(z) >> 5u);
    } else {
        x = (25u << 25u) - log2_q25(e);
    }
    let exact = bitcast<i32>(x);
    return (exact >> 9u) + ((exact >> 8u) & 1);
}

/// A bound that costs little: a word's noise is below the number of its leading ones plus 1.
fn gumbel_at_most(word: u32) -> i32 {
    return bitcast<i32>((countLeadingZeros(~word) + 1u) << 16u);
}
