// Mix, first part, with Probs and Sum: what a tile of positions adds to the sum of the values,
// weighted by their probabilities, and to the probabilities' sum.
//
// acc = Σ p · v · 2^b is exact, so any split of the positions gives the same bits; terms.wgsl says
// how 32 bits hold a tile's. Twins: reference/probs.rs, reference/sum.rs, reference/mix.rs.
//
// A workgroup has a tile and four queries. First a lane has four neighbouring positions, and
// computes probabilities; then eight elements of all positions of its slice.
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
/// (rows, heads, stride / 4)
@group(0) @binding(2) var<storage, read> scores: array<vec4<i32>>;
/// (rows, heads, tiles)
@group(0) @binding(3) var<storage, read> tile_max: array<i32>;
/// (positions), see heads.wgsl
@group(0) @binding(4) var<storage, read> v: array<vec4<u32>>;
/// (rows, heads, tiles)
@group(0) @binding(5) var<storage, read_write> prob_sums: array<u32>;
/// (rows, heads, tiles, len)
@group(0) @binding(6) var<storage, read_write> accs: array<vec2<u32>>;

/// At least head_words(len) / 4 and 4, at most 64.
override LANES: u32 = 64u;

/// Of the four queries; plus 2^30, so that 0 is the smallest.
var<workgroup> maxima: array<atomic<u32>, 4>;
/// (lane): the sum of each query's probabilities
var<workgroup> lane_sums: array<vec4<u32>, LANES>;
/// (position): the four queries' probabilities, V's shift above the first
var<workgroup> shared_probs: array<vec4<i32>, TILE>;

/// The probabilities of query `i` at four positions.
fn probs_of(i: u32, queries: Queries, position: u32) -> vec4<u32> {
    let end = queries.ends[i];
    if position >= end {
        return vec4<u32>(0u);
    }
    let maximum = bitcast<i32>(atomicLoad(&maxima[i])) - SCORE_MAX;
    let p = probs(scores[(queries.lines[i] * op.stride + position) / 4u], maximum);
    let seen = vec4<u32>(position) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end);
    return select(vec4<u32>(0u), p, seen);
}

fn total(x: vec4<u32>) -> u32 {
    return x.x + x.y + x.z + x.w;
}

/// Shares the probabilities at four positions from `first` of the tile on, and V's shifts there,
/// and gives the sum of each query's.
fn share_probs(queries: Queries, start: u32, count: u32, kv_head: u32, first: u32) -> vec4<u32> {
    let x = probs_of(0u, queries, start + first);
    let y = probs_of(1u, queries, start + first);
    let z = probs_of(2u, queries, start + first);
    let w = probs_of(3u, queries, start + first);
    for (var j = 0u; j < 4u; j++) {
        let position = start + min(first + j, count - 1u);
        let word = shift_word(position, kv_head, op.kv, op.len);
        let shift = v[word / 4u][word % 4u];
        let p = vec4<u32>(x[j] | (shift << 16u), y[j], z[j], w[j]);
        shared_probs[first + j] = bitcast<vec4<i32>>(p);
    }
    return vec4<u32>(total(x), total(y), total(z), total(w));
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
    let count = end - start;
    var sum = vec4<u32>(0u);
    for (var first = lane * 4u; first < TILE; first += LANES * 4u) {
        sum += share_probs(queries, start, count, kv_head, first);
    }
    lane_sums[lane] = sum;
    workgroupBarrier();
    if lane < 4u && start < queries.ends[lane] {
        var total = 0u;
        for (var i = 0u; i < LANES; i++) {
            total += lane_sums[i][lane];
        }
        prob_sums[queries.lines[lane] * op.tiles + tile] = total;
    }
    let octets = head_words(op.len) / 4u;
    let octet = lane % octets;
    let slice = lane / octets;
    let slices = LANES / octets;
    // Positions come in pairs, for the loop's sake; lanes that make no whole slice have none.
    let pairs = select(0u, (count + 1u) / 2u, slice < slices);
    let row = heads_row_words(op.kv, op.len) / 4u;
    let at = start * row + kv_head * octets + octet;
    var high = Terms();
    var low = Terms();
    for (var i = slice; i < pairs; i += slices) {
        let s = 2u * i;
        let a = shared_probs[s];
        let b = shared_probs[s + 1u]; // Behind the end of an odd count: probabilities 0.
        let ax = products(a & vec4<i32>(0xffff), v[at + s * row]);
        let bx = products(b & vec4<i32>(0xffff), v[at + min(s + 1u, count - 1u) * row]);
        let a_shift = bitcast<u32>(a.x) >> 16u;
        let b_shift = bitcast<u32>(b.x) >> 16u;
        high = add_high(add_high(high, ax, a_shift), bx, b_shift);
        low = add_low(add_low(low, ax, a_shift), bx, b_shift);
    }
    let h = high.by;
    let l = low.by;
    reduce(0u, queries, tile, lane, array(h[0], h[4], h[1], h[5], l[0], l[4], l[1], l[5]));
    if start < max(queries.ends.z, queries.ends.w) {
        reduce(2u, queries, tile, lane, array(h[2], h[6], h[3], h[7], l[2], l[6], l[3], l[7]));
    }
}
