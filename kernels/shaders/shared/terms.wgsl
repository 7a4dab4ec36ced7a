// Sums of p · v · 2^b over a tile's positions, in 32 bits, for eight elements of four queries.
//
// p ≤ 2^14, |v| < 2^12 and b ≤ 19, because Fx has 31 bits and v 12. A term is `high · 2^22 + low`:
// over 256 positions the high parts add up to less than 2^31 (256 · 2^(14 + 19) · 4095 · 2^-22 is
// 2^31 − 2^19, and each may be 1 further down), the low parts to less than 2^30. So nothing carries.

const LOW_BITS: u32 = 22u;

/// Four even elements of each query in members 0 to 3, four odd ones in members 4 to 7.
struct Terms {
    by: array<vec4<i32>, 8>,
}

/// `p · v`: a probability a query, two elements a word.
fn products(p: vec4<i32>, words: vec4<u32>) -> Terms {
    let even = low_halves(words);
    let odd = high_halves(words);
    return Terms(array<vec4<i32>, 8>(
        p.x * even, p.y * even, p.z * even, p.w * even, p.x * odd, p.y * odd, p.z * odd, p.w * odd,
    ));
}

/// Adds the high parts of products times `2^b`.
fn add_high(t: Terms, x: Terms, b: u32) -> Terms {
    let s = vec4<u32>(LOW_BITS - b);
    return Terms(array<vec4<i32>, 8>(
        t.by[0] + (x.by[0] >> s), t.by[1] + (x.by[1] >> s), t.by[2] + (x.by[2] >> s),
        t.by[3] + (x.by[3] >> s), t.by[4] + (x.by[4] >> s), t.by[5] + (x.by[5] >> s),
        t.by[6] + (x.by[6] >> s), t.by[7] + (x.by[7] >> s),
    ));
}

fn low_part(x: vec4<i32>, b: u32) -> vec4<i32> {
    return (x << vec4<u32>(b)) & vec4<i32>((1 << LOW_BITS) - 1);
}

/// Adds the low parts of products times `2^b`.
fn add_low(t: Terms, x: Terms, b: u32) -> Terms {
    return Terms(array<vec4<i32>, 8>(
        t.by[0] + low_part(x.by[0], b), t.by[1] + low_part(x.by[1], b),
        t.by[2] + low_part(x.by[2], b), t.by[3] + low_part(x.by[3], b),
        t.by[4] + low_part(x.by[4], b), t.by[5] + low_part(x.by[5], b),
        t.by[6] + low_part(x.by[6], b), t.by[7] + low_part(x.by[7], b),
    ));
}
