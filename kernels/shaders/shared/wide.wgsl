// What is wider than 64 bits, and the functions that aren't a sum or a product: needs int64.wgsl.

/// `a + b`, an unsigned 96-bit and an unsigned 64-bit integer, words from low to high.
fn add96(a: vec3<u32>, b: vec3<u32>) -> vec3<u32> {
    let low = add64(a.xy, b.xy);
    let carry = low.y < a.y || (low.y == a.y && low.x < a.x);
    return vec3<u32>(low, a.z + b.z + select(0u, 1u, carry));
}

/// `a · b`, a signed 64-bit integer times a u32: 96 bits, two's complement.
fn mul96(a: vec2<u32>, b: u32) -> vec3<u32> {
    let low = mul_u32(a.x, b);
    let high = mul_u32(a.y, b);
    // Read as u32 a negative high word is 2^32 too large.
    let excess = select(0u, b, bitcast<i32>(a.y) < 0);
    let sum = add64(vec2<u32>(low.y, 0u), vec2<u32>(high.x, high.y - excess));
    return vec3<u32>(low.x, sum);
}

/// The lower 64 bits of `a >> s`, arithmetic, `s < 64`.
fn shr96(a: vec3<u32>, s: u32) -> vec2<u32> {
    let sign = bitcast<u32>(bitcast<i32>(a.z) >> 31u);
    let words = select(a, vec3<u32>(a.yz, sign), s >= 32u);
    let r = s & 31u;
    return (words.xy >> vec2<u32>(r)) | ((words.yz << vec2<u32>(1u)) << vec2<u32>(31u - r));
}

/// `(a >> s) + ((a >> (s − 1)) & 1)`, `0 < s < 64`; the result must fit 64 bits.
fn rshift_round96(a: vec3<u32>, s: u32) -> vec2<u32> {
    return add64(shr96(a, s), vec2<u32>(shr96(a, s - 1u).x & 1u, 0u));
}

/// The number of bits of `x` without leading zeros.
fn bitlen64(x: vec2<u32>) -> u32 {
    return 64u - select(countLeadingZeros(x.y), 32u + countLeadingZeros(x.x), x.y == 0u);
}

/// `⌊num · 2^31 / den⌋` for `num ≤ den`, `2^30 ≤ den ≤ 2^31`: three digits of ten bits, then one
/// bit. A digit is guessed from the upper bits of `den`, at least 20: right, or one too small.
fn ratio(num: u32, den: u32) -> u32 {
    let upper = (den >> 10u) + 1u;
    var quotient = 0u;
    var rest = num;
    for (var i = 0u; i < 3u; i++) {
        let guess = rest / upper;
        rest = (rest << 10u) - guess * den; // Modulo 2^32 what is below 2 · den.
        let missing = u32(rest >= den);
        rest -= missing * den;
        quotient = (quotient << 10u) + guess + missing;
    }
    return (quotient << 1u) | u32((rest << 1u) >= den);
}

/// The integer square root, rounded down, of `x ≥ 2^62`: the largest root whose square is at most
/// `x`, a bit at a time.
fn isqrt(x: vec2<u32>) -> u32 {
    var root = 0x80000000u;
    for (var bit = 0x40000000u; bit > 0u; bit >>= 1u) {
        let trial = root | bit;
        let square = mul_u32(trial, trial);
        if square.y < x.y || (square.y == x.y && square.x <= x.x) {
            root = trial;
        }
    }
    return root;
}

/// `2^(f / 2^32)` in Q30, in `[2^30, 2^31)`: Horner's rule, truncating at each step.
fn exp2_q30(f: u32) -> u32 {
    var a = 1362811u + umulhi(223531u, f);
    a = 10363966u + umulhi(a, f);
    a = 59588402u + umulhi(a, f);
    a = 257941996u + umulhi(a, f);
    a = 744261108u + umulhi(a, f);
    return (1u << 30u) + umulhi(a, f);
}

/// `(x >> s) + ((x >> (s − 1)) & 1)` of a u32 below 2^31, `x` for `s = 0`; `s < 32`.
fn rshift_round32(x: u32, s: u32) -> u32 {
    return (x >> s) + (((x << 1u) >> s) & 1u & select(1u, 0u, s == 0u));
}
