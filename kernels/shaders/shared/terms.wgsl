// Sums of p · v · 2^b over positions, for eight elements of each of four queries, in 32-bit words.
//
// With p ≤ 2^14, |v| < 2^12 and b ≤ 19 (Fx has 31 bits, v 12), the terms of eight positions whose b differ
// by less than 3 fit 32 bits in units of their lowest 2^b: 8 · 2^(14 + 2) · 4095 < 2^31. In units of 1
// such a run is `high · 2^22 + low`, and over the 256 positions of a tile both parts fit 32 bits:
// 256 · 2^(14 + 19) · 4095 · 2^-22 = 2^31 − 2^19, and less than 2^9 runs. So nothing carries.

/// Shifts that a run may span, and its positions.
const SPAN: u32 = 3u;
const RUN: u32 = 8u;
const LOW_BITS: u32 = 22u;

/// Four even elements of each query in members 0 to 3, four odd ones in members 4 to 7.
struct Terms {
    by: array<vec4<i32>, 8>,
}

/// Adds `p · v` of one position: a probability a query, two elements a word.
fn add_position(t: Terms, p: vec4<i32>, words: vec4<u32>) -> Terms {
    let even = low_halves(words);
    let odd = high_halves(words);
    return Terms(array<vec4<i32>, 8>(
        t.by[0] + p.x * even, t.by[1] + p.y * even, t.by[2] + p.z * even, t.by[3] + p.w * even,
        t.by[4] + p.x * odd, t.by[5] + p.y * odd, t.by[6] + p.z * odd, t.by[7] + p.w * odd,
    ));
}

/// Adds a run in units of `2^base` to the high parts.
fn add_high(t: Terms, run: Terms, base: u32) -> Terms {
    let s = vec4<u32>(LOW_BITS - base);
    return Terms(array<vec4<i32>, 8>(
        t.by[0] + (run.by[0] >> s), t.by[1] + (run.by[1] >> s), t.by[2] + (run.by[2] >> s),
        t.by[3] + (run.by[3] >> s), t.by[4] + (run.by[4] >> s), t.by[5] + (run.by[5] >> s),
        t.by[6] + (run.by[6] >> s), t.by[7] + (run.by[7] >> s),
    ));
}

fn low_part(x: vec4<i32>, base: u32) -> vec4<i32> {
    return (x << vec4<u32>(base)) & vec4<i32>((1 << LOW_BITS) - 1);
}

/// Adds a run in units of `2^base` to the low parts.
fn add_low(t: Terms, run: Terms, base: u32) -> Terms {
    return Terms(array<vec4<i32>, 8>(
        t.by[0] + low_part(run.by[0], base), t.by[1] + low_part(run.by[1], base),
        t.by[2] + low_part(run.by[2], base), t.by[3] + low_part(run.by[3], base),
        t.by[4] + low_part(run.by[4], base), t.by[5] + low_part(run.by[5], base),
        t.by[6] + low_part(run.by[6], base), t.by[7] + low_part(run.by[7], base),
    ));
}
