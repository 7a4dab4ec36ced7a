// Sums of p · v · 2^b over a tile's positions, in 32 bits, for eight elements of four queries.
//
// p ≤ 2^14, |v| < 2^12 and b ≤ 19, because Fx has 31 bits and v 12. A term is `high · 2^22 + low`:
// over 256 positions the high parts add up to less than 2^31 (256 · 2^(14 + 19) · 4095 · 2^-22 is
// 2^31 − 2^19, and each may be 1 further down), the low parts to less than 2^30. Nothing carries.
//
// Needs the kernel's `op.len`, `op.tiles`, `accs` and `LANES`.

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

/// (lane): of two queries the high parts of even and odd elements, then the low ones
var<workgroup> parts: array<array<vec4<i32>, 8>, LANES>;

fn write_element(line: u32, tile: u32, element: u32, high: i32, low: i32) {
    if element < op.len {
        let acc = add64(shl64(from_i32(high), LOW_BITS), vec2<u32>(bitcast<u32>(low), 0u));
        accs[(line * op.tiles + tile) * op.len + element] = acc;
    }
}

/// Adds up what the lanes have of queries `i` and `i + 1`, and writes it. Lane by lane they have
/// the octets of a head, over and over: as often as all of them fit.
fn reduce(i: u32, queries: Queries, tile: u32, lane: u32, own: array<vec4<i32>, 8>) {
    workgroupBarrier();
    parts[lane] = own;
    workgroupBarrier();
    let octets = head_words(op.len) / 4u;
    let lanes = LANES / octets * octets;
    for (var item = lane; item < octets * 4u; item += LANES) {
        let part = item % 4u;
        var high = vec4<i32>(0);
        var low = vec4<i32>(0);
        for (var at = item / 4u; at < lanes; at += octets) {
            high += parts[at][part];
            low += parts[at][part + 4u];
        }
        let query = i + part / 2u;
        if tile * TILE < queries.ends[query] {
            let element = item / 4u * 8u + part % 2u;
            let line = queries.lines[query];
            write_element(line, tile, element, high.x, low.x);
            write_element(line, tile, element + 2u, high.y, low.y);
            write_element(line, tile, element + 4u, high.z, low.z);
            write_element(line, tile, element + 6u, high.w, low.w);
        }
    }
}
