// Mix, first part, with Probs and Sum: a tile's share of the values of all positions, weighted by
// their probabilities, and of the probabilities' sum.
//
// acc = Σ p · v · 2^b is exact, so any split of the positions gives the same bits. A term is below
// 2^14 · 2^12 · 2^19 (b ≤ 19, because Fx has 31 bits and v 12). Here it is `high · 2^22 + low`: of 256
// terms the low parts add up below 2^30 and the high ones below 2^31, so two 32-bit sums without a
// carry hold a tile. Twins: reference/probs.rs, reference/sum.rs, reference/mix.rs.
//
// A workgroup has a tile of positions and four queries. First a lane has every 64th position, and
// computes probabilities; then eight elements of all positions of a slice.
//
// Dispatch: x = ⌈positions / 256⌉, y = ⌈rows · (heads / kv) / 4⌉, z = kv.

struct Op {
    heads: u32,
    kv: u32,
    len: u32,
    stride: u32,
    tiles: u32,
    heads_only: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(1) var<uniform> op: Op;
/// (rows, heads, stride)
@group(0) @binding(2) var<storage, read> scores: array<i32>;
/// (rows, heads, tiles)
@group(0) @binding(3) var<storage, read> tile_max: array<i32>;
/// (positions), see heads.wgsl
@group(0) @binding(4) var<storage, read> v: array<vec4<u32>>;
/// (rows, heads, tiles)
@group(0) @binding(5) var<storage, read_write> prob_sums: array<u32>;
/// (rows, heads, tiles, len)
@group(0) @binding(6) var<storage, read_write> accs: array<vec2<u32>>;

const LANES: u32 = 64u;
const LOW_BITS: u32 = 22u;

var<workgroup> maxima: array<atomic<u32>, 4>; // Plus 2^30, so that 0 is the smallest.
var<workgroup> tile_sums: array<atomic<u32>, 4>;
var<workgroup> v_shifts: array<u32, 256>;
var<workgroup> shared_quads: array<vec4<i32>, 256>; // The four queries' probabilities; then sums.

/// Sums of four elements, in two parts.
struct Sums {
    high: vec4<i32>,
    low: vec4<i32>,
}

fn add_terms(sums: Sums, products: vec4<i32>, shift: u32) -> Sums {
    let low = (products << vec4<u32>(shift)) & vec4<i32>((1 << LOW_BITS) - 1);
    return Sums(sums.high + (products >> vec4<u32>(LOW_BITS - shift)), sums.low + low);
}

fn prob(score: i32, maximum: i32) -> u32 {
    let d = score - maximum; // At least −2^31, at most 0.
    let n = bitcast<u32>(-(d >> 16u));
    let p = rshift_round32(exp2_q30(bitcast<u32>(d) << 16u), min(n + 16u, 31u));
    return select(0u, p, n + 16u <= 31u);
}

/// Adds up what the lanes have of a query's elements; `lane / octets` is a lane's slice.
fn reduce(line: u32, tile: u32, lane: u32, slices: u32, even: Sums, odd: Sums) {
    let octets = head_words(op.len) / 4u;
    workgroupBarrier();
    shared_quads[lane * 4u] = even.high;
    shared_quads[lane * 4u + 1u] = even.low;
    shared_quads[lane * 4u + 2u] = odd.high;
    shared_quads[lane * 4u + 3u] = odd.low;
    workgroupBarrier();
    if lane >= octets * 2u {
        return;
    }
    var sums = Sums();
    for (var slice = 0u; slice < slices; slice++) {
        let at = (slice * octets + lane / 2u) * 4u + (lane & 1u) * 2u;
        sums = Sums(sums.high + shared_quads[at], sums.low + shared_quads[at + 1u]);
    }
    let base = (line * op.tiles + tile) * op.len;
    for (var j = 0u; j < 4u; j++) {
        let element = lane / 2u * 8u + 2u * j + (lane & 1u);
        if element < op.len {
            let low = vec2<u32>(bitcast<u32>(sums.low[j]), 0u);
            accs[base + element] = add64(shl64(from_i32(sums.high[j]), LOW_BITS), low);
        }
    }
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group.x;
    let kv_head = group.z;
    let queries = queries_of(kv_head, group.y);
    let start = tile * TILE;
    let end = min(last_end(queries), start + TILE);
    if start >= end {
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        for (var j = lane; j * TILE < queries.ends[i]; j += LANES) {
            let best = tile_max[queries.lines[i] * op.tiles + j];
            atomicMax(&maxima[i], bitcast<u32>(best + SCORE_MAX));
        }
    }
    workgroupBarrier();
    let row_quads = heads_row_words(op.kv, op.len) / 4u;
    let word = shift_word(start, kv_head, op.kv, op.len);
    var sums = vec4<u32>(0u);
    for (var s = lane; s < end - start; s += LANES) {
        v_shifts[s] = v[s * row_quads + word / 4u][word % 4u];
        var p = vec4<u32>(0u);
        for (var i = 0u; i < 4u; i++) {
            if start + s < queries.ends[i] {
                let maximum = bitcast<i32>(atomicLoad(&maxima[i])) - SCORE_MAX;
                p[i] = prob(scores[queries.lines[i] * op.stride + start + s], maximum);
            }
        }
        shared_quads[s] = bitcast<vec4<i32>>(p);
        sums += p;
    }
    for (var i = 0u; i < 4u; i++) {
        atomicAdd(&tile_sums[i], sums[i]);
    }
    workgroupBarrier();
    if lane < 4u && start < queries.ends[lane] {
        prob_sums[queries.lines[lane] * op.tiles + tile] = atomicLoad(&tile_sums[lane]);
    }
    let octets = head_words(op.len) / 4u;
    let slices = LANES / octets;
    let slice = lane / octets;
    let first = select(slice, TILE, slice >= slices); // Lanes that make no whole slice have no part.
    let at = start * row_quads + kv_head * octets + lane % octets;
    var even_0 = Sums();
    var even_1 = Sums();
    var even_2 = Sums();
    var even_3 = Sums();
    var odd_0 = Sums();
    var odd_1 = Sums();
    var odd_2 = Sums();
    var odd_3 = Sums();
    for (var s = first; s < end - start; s += slices) {
        let words = v[at + s * row_quads];
        let p = shared_quads[s];
        let shift = v_shifts[s];
        let even = low_halves(words);
        let odd = high_halves(words);
        even_0 = add_terms(even_0, p.x * even, shift);
        even_1 = add_terms(even_1, p.y * even, shift);
        even_2 = add_terms(even_2, p.z * even, shift);
        even_3 = add_terms(even_3, p.w * even, shift);
        odd_0 = add_terms(odd_0, p.x * odd, shift);
        odd_1 = add_terms(odd_1, p.y * odd, shift);
        odd_2 = add_terms(odd_2, p.z * odd, shift);
        odd_3 = add_terms(odd_3, p.w * odd, shift);
    }
    if start < queries.ends.x {
        reduce(queries.lines.x, tile, lane, slices, even_0, odd_0);
    }
    if start < queries.ends.y {
        reduce(queries.lines.y, tile, lane, slices, even_1, odd_1);
    }
    if start < queries.ends.z {
        reduce(queries.lines.z, tile, lane, slices, even_2, odd_2);
    }
    if start < queries.ends.w {
        reduce(queries.lines.w, tile, lane, slices, even_3, odd_3);
    }
}
