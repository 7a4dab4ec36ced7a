// Probs: 2^(score − max) with 14 fractional bits, for four scores at a time. `d = score − max` is
// split into −N and a fraction; exp2 of the fraction in Q30 is shifted right by N + 16 with
// rounding. d fits 32 bits, since scores are within ±2^30. Twin: reference/probs.rs.

/// `mulhi(a, f · 2^16)` for `a < 2^30`, `f < 2^16`: here exp2 takes a fraction of 16 bits.
fn mulhi_fraction(a: vec4<u32>, f: vec4<u32>) -> vec4<u32> {
    let half = vec4<u32>(16u);
    return (a >> half) * f + (((a & vec4<u32>(0xffffu)) * f) >> half);
}

/// `2^(f / 2^16)` in Q30: Horner's rule, truncating at each step; the coefficients are fx.rs's.
fn exp2_fraction(f: vec4<u32>) -> vec4<u32> {
    var a = vec4<u32>(1362811u) + mulhi_fraction(vec4<u32>(223531u), f);
    a = vec4<u32>(10363966u) + mulhi_fraction(a, f);
    a = vec4<u32>(59588402u) + mulhi_fraction(a, f);
    a = vec4<u32>(257941996u) + mulhi_fraction(a, f);
    a = vec4<u32>(744261108u) + mulhi_fraction(a, f);
    return vec4<u32>(1u << 30u) + mulhi_fraction(a, f);
}

/// Probabilities; 2^14 is 1.
fn probs(scores: vec4<i32>, maximum: i32) -> vec4<u32> {
    let d = scores - vec4<i32>(maximum);
    let shift = min(bitcast<vec4<u32>>(vec4<i32>(16) - (d >> vec4<u32>(16u))), vec4<u32>(32u));
    let e = exp2_fraction(bitcast<vec4<u32>>(d & vec4<i32>(0xffff)));
    // e is below 2^31: shifted by 31 it is 0 or 1 after rounding, by more it is 0.
    let t = e >> (min(shift, vec4<u32>(31u)) - vec4<u32>(1u));
    let p = (t >> vec4<u32>(1u)) + (t & vec4<u32>(1u));
    return select(vec4<u32>(0u), p, shift < vec4<u32>(32u));
}
