// Counting saturated values: needs the kernel's `saturated`, one counter.

/// Counts the values at ±(2^31 − 1) of a final tensor. They are rare, and so is the atomic.
fn count_saturated(y: vec4<i32>) {
    let hits = countOneBits(dot(vec4<u32>(abs(y) == vec4<i32>(FX_MAX)), vec4<u32>(1u, 2u, 4u, 8u)));
    if hits > 0u {
        atomicAdd(&saturated, hits);
    }
}
