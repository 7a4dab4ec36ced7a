// What a device can do at most: read memory, multiply 32-bit integers, multiply packed bytes.

@group(0) @binding(0) var<storage, read> input: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<u32>>;

override STRIDE: u32;
override TURNS: u32;

/// Every lane reads TURNS vectors, STRIDE apart.
@compute @workgroup_size(64)
fn stream(@builtin(global_invocation_id) id: vec3<u32>) {
    var sum = vec4<u32>(0u);
    for (var i = 0u; i < TURNS; i++) {
        sum ^= input[id.x + i * STRIDE];
    }
    output[id.x] = sum;
}

/// Every lane makes 32 products a turn.
@compute @workgroup_size(64)
fn multiply(@builtin(global_invocation_id) id: vec3<u32>) {
    let seed = input[id.x];
    var a = seed;
    var b = seed.yzwx;
    var c = seed.zwxy;
    var d = seed.wxyz;
    for (var i = 0u; i < TURNS; i++) {
        a = a * seed + b;
        b = b * seed + c;
        c = c * seed + d;
        d = d * seed + a;
        a = a * seed + c;
        b = b * seed + d;
        c = c * seed + a;
        d = d * seed + b;
    }
    output[id.x] = a ^ b ^ c ^ d;
}

/// Every lane makes 32 products a turn, in 8 packed dot products.
@compute @workgroup_size(64)
fn multiply_bytes(@builtin(global_invocation_id) id: vec3<u32>) {
    let seed = input[id.x];
    var a = bitcast<vec4<i32>>(seed);
    var b = a.yzwx;
    for (var i = 0u; i < TURNS; i++) {
        a.x += dot4I8Packed(seed.x, bitcast<u32>(b.x));
        a.y += dot4I8Packed(seed.y, bitcast<u32>(b.y));
        a.z += dot4I8Packed(seed.z, bitcast<u32>(b.z));
        a.w += dot4I8Packed(seed.w, bitcast<u32>(b.w));
        b.x += dot4I8Packed(seed.x, bitcast<u32>(a.x));
        b.y += dot4I8Packed(seed.y, bitcast<u32>(a.y));
        b.z += dot4I8Packed(seed.z, bitcast<u32>(a.z));
        b.w += dot4I8Packed(seed.w, bitcast<u32>(a.w));
    }
    output[id.x] = bitcast<vec4<u32>>(a ^ b);
}
