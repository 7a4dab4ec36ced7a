// Four 64-bit sums at a time, for four rows of a matrix; int64.wgsl has the same for one.
// Modulo 2^64, so a sum may pass 2^63 on its way as long as its end doesn't.

/// Component by component, the low and the high word of a sum, two's complement.
struct Acc {
    low: vec4<u32>,
    high: vec4<u32>,
}

/// The high words of `a · b`, signed, from products of 16-bit halves; the lower halves are
/// unsigned.
fn mulhi4(a: vec4<i32>, b: vec4<i32>) -> vec4<i32> {
    let mask = vec4<i32>(0xffff);
    let half = vec4<u32>(16u);
    let a0 = a & mask;
    let a1 = a >> half;
    let b0 = b & mask;
    let b1 = b >> half;
    let lowest = bitcast<vec4<i32>>(bitcast<vec4<u32>>(a0 * b0) >> half);
    let low = a1 * b0 + lowest;
    let high = a0 * b1 + (low & mask);
    return a1 * b1 + (low >> half) + (high >> half);
}

/// `a + b`
fn add_acc(a: Acc, b: Acc) -> Acc {
    let low = a.low + b.low;
    let carry = select(vec4<u32>(0u), vec4<u32>(1u), low < b.low);
    return Acc(low, a.high + b.high + carry);
}

/// `acc + a · b`
fn mad64(acc: Acc, a: vec4<i32>, b: vec4<i32>) -> Acc {
    return add_acc(acc, Acc(bitcast<vec4<u32>>(a * b), bitcast<vec4<u32>>(mulhi4(a, b))));
}

/// `sat32(rshift_round(acc, s))`, `0 < s < 32`.
fn round4(acc: Acc, s: u32) -> vec4<i32> {
    let low = (acc.low >> vec4<u32>(s)) | (acc.high << vec4<u32>(32u - s));
    let half = (acc.low >> vec4<u32>(s - 1u)) & vec4<u32>(1u);
    let sum = low + half;
    let carry = select(vec4<i32>(0), vec4<i32>(1), sum < half);
    let high = (bitcast<vec4<i32>>(acc.high) >> vec4<u32>(s)) + carry;
    let value = bitcast<vec4<i32>>(sum);
    let limit = select(vec4<i32>(FX_MAX), vec4<i32>(-FX_MAX), high < vec4<i32>(0));
    let fits = high == (value >> vec4<u32>(31u));
    return max(select(limit, value, fits), vec4<i32>(-FX_MAX));
}

/// `sat32(a + b)`: a sum whose sign is that of neither has wrapped.
fn sat_add4(a: vec4<i32>, b: vec4<i32>) -> vec4<i32> {
    let sum = a + b;
    let limit = select(vec4<i32>(FX_MAX), vec4<i32>(-FX_MAX), a < vec4<i32>(0));
    let wrapped = ((a ^ sum) & (b ^ sum)) < vec4<i32>(0);
    return max(select(sum, limit, wrapped), vec4<i32>(-FX_MAX));
}
