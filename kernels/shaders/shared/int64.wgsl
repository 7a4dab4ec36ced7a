// Signed 64-bit integers out of 32-bit ones: vec2<u32>(low word, high word), two's complement.
//
// WGSL has no i64 and no multiply-high. Its u32 wraps, and that is all that is needed: every
// function here is the function of the integers modulo 2^64, so sums and products may pass 2^63 on
// their way as long as the result doesn't.

/// The largest Fx; the smallest is its negative.
const FX_MAX: i32 = 2147483647;

/// The value of `a`.
fn from_i32(a: i32) -> vec2<u32> {
    return vec2<u32>(bitcast<u32>(a), bitcast<u32>(a >> 31u));
}

/// `a + b`.
fn add64(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

/// `−a`.
fn neg64(a: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(0u - a.x, ~a.y + select(0u, 1u, a.x == 0u));
}

/// `(a · b) >> 32`, from four products of 16-bit halves: the sum of a product and two halves,
/// (2^16 − 1)² + 2 · (2^16 − 1), is still below 2^32.
fn umulhi(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a1 * b0 + ((a0 * b0) >> 16u);
    let high = a0 * b1 + (low & 0xffffu);
    return a1 * b1 + (low >> 16u) + (high >> 16u);
}

/// `a · b` of two u32.
fn mul_u32(a: u32, b: u32) -> vec2<u32> {
    return vec2<u32>(a * b, umulhi(a, b));
}

/// `a · b` of two i32. Read as u32 a negative factor is 2^32 too large, so the other factor is
/// subtracted from the high word.
fn mul_i32(a: i32, b: i32) -> vec2<u32> {
    let ua = bitcast<u32>(a);
    let ub = bitcast<u32>(b);
    let excess = (ub & bitcast<u32>(a >> 31u)) + (ua & bitcast<u32>(b >> 31u));
    return vec2<u32>(ua * ub, umulhi(ua, ub) - excess);
}

/// `a << s`, `s < 64`. A shift by `32 − s` is spelled as two shifts, so that `s = 0` is no special
/// case.
fn shl64(a: vec2<u32>, s: u32) -> vec2<u32> {
    let r = s & 31u;
    let high = (a.y << r) | ((a.x >> 1u) >> (31u - r));
    let low = a.x << r;
    return select(vec2<u32>(low, high), vec2<u32>(0u, low), s >= 32u);
}

/// `a >> s`, arithmetic, `s < 64`.
fn shr64(a: vec2<u32>, s: u32) -> vec2<u32> {
    let r = s & 31u;
    let low = (a.x >> r) | ((a.y << 1u) << (31u - r));
    let high = bitcast<u32>(bitcast<i32>(a.y) >> r);
    let sign = bitcast<u32>(bitcast<i32>(a.y) >> 31u);
    return select(vec2<u32>(low, high), vec2<u32>(high, sign), s >= 32u);
}

/// `(a >> s) + ((a >> (s − 1)) & 1)`, `a` for `s = 0`; `s < 64`.
fn rshift_round64(a: vec2<u32>, s: u32) -> vec2<u32> {
    let half = shr64(a, max(s, 1u) - 1u).x & select(1u, 0u, s == 0u);
    return add64(shr64(a, s), vec2<u32>(half, 0u));
}

/// `a` clamped to ±(2^31 − 1).
fn sat32(a: vec2<u32>) -> i32 {
    let low = bitcast<i32>(a.x);
    let high = bitcast<i32>(a.y);
    let limit = select(FX_MAX, -FX_MAX, high < 0);
    return max(select(limit, low, high == low >> 31u), -FX_MAX);
}

/// `sat32(a + b)` of two i32: a sum whose sign is that of neither has wrapped.
fn sat_add(a: i32, b: i32) -> i32 {
    let sum = a + b;
    let limit = select(FX_MAX, -FX_MAX, a < 0);
    return max(select(sum, limit, ((a ^ sum) & (b ^ sum)) < 0), -FX_MAX);
}
