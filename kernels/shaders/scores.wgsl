// Scores: the dot products of a query head with its KV head's keys, base 2 with 16 fractional bits;
// and the maximum of each tile of positions, from which Mix takes Max.
//
// p = (Σ q·k) · c0, then by e = 38 − a − b bits to the right, clamped to ±2^30; a ≤ 19 and b ≤ 20,
// because Fx has 31 bits, q 12 and k 11. The dot is exact in 32 bits (256 · 4095 · 2047 < 2^31), p
// below 2^60, so any order gives the same bits. Twins: reference/scores.rs, reference/max.rs.
//
// A workgroup has a tile of positions and four queries, a lane four neighbours of the positions.
//
// Dispatch: x = ⌈positions / 256⌉, y = ⌈rows · (heads / kv) / 4⌉, z = kv.

struct Op {
    heads: u32,
    kv: u32,
    len: u32,
    scale: u32,
    stride: u32,
    tiles: u32,
    heads_only: u32,
    pad: u32,
}

@group(0) @binding(1) var<uniform> op: Op;
/// (rows), see heads.wgsl
@group(0) @binding(2) var<storage, read> q: array<u32>;
/// (positions), see heads.wgsl
@group(0) @binding(3) var<storage, read> k: array<vec4<u32>>;
/// (rows, heads, stride / 4)
@group(0) @binding(4) var<storage, read_write> scores: array<vec4<i32>>;
/// (rows, heads, tiles)
@group(0) @binding(5) var<storage, read_write> tile_max: array<i32>;

const LANES: u32 = 64u;

/// Word `i` of the four queries.
var<workgroup> q_words: array<vec4<u32>, 128>;
/// (lane): the largest score of each query
var<workgroup> lane_max: array<vec4<i32>, LANES>;

/// Dots of each query (member) with each of a lane's positions (component).
struct Dots {
    x: vec4<i32>,
    y: vec4<i32>,
    z: vec4<i32>,
    w: vec4<i32>,
}

/// Adds two elements, a word of the queries and one of the keys.
fn add_word(dots: Dots, q: vec4<u32>, k: vec4<u32>) -> Dots {
    let q0 = low_halves(q);
    let q1 = high_halves(q);
    let k0 = low_halves(k);
    let k1 = high_halves(k);
    return Dots(
        dots.x + q0.x * k0 + q1.x * k1,
        dots.y + q0.y * k0 + q1.y * k1,
        dots.z + q0.z * k0 + q1.z * k1,
        dots.w + q0.w * k0 + q1.w * k1,
    );
}

/// Four scores, of which `(p >> e) + ((p >> (e − 1)) & 1)` is `(t >> 1) + (t & 1)` with
/// `t = 4p >> (e + 1)`: so no e, not even −1, is a special case. `t` is clamped to 32 bits before.
fn finalize(dots: vec4<i32>, q_shift: u32, k_shifts: vec4<u32>) -> vec4<i32> {
    let scale = vec4<i32>(bitcast<i32>(op.scale));
    let p = bitcast<vec4<u32>>(dots * scale);
    let low = p << vec4<u32>(2u);
    let high = (mulhi4(dots, scale) << vec4<u32>(2u)) | bitcast<vec4<i32>>(p >> vec4<u32>(30u));
    let s = vec4<u32>(39u - q_shift) - k_shifts;
    let r = s & vec4<u32>(31u);
    let top = high >> r;
    let both = (low >> r) | ((bitcast<vec4<u32>>(high) << vec4<u32>(1u)) << (vec4<u32>(31u) - r));
    let far = s >= vec4<u32>(32u);
    let value = select(bitcast<vec4<i32>>(both), top, far);
    let fits = far | (top == value >> vec4<u32>(31u));
    let t = select((high >> vec4<u32>(31u)) ^ vec4<i32>(0x7fffffff), value, fits);
    let score = (t >> vec4<u32>(1u)) + (t & vec4<i32>(1));
    return clamp(score, vec4<i32>(-SCORE_MAX), vec4<i32>(SCORE_MAX));
}

/// Writes the scores of query `i` at four positions, and gives the largest.
fn store(i: u32, queries: Queries, position: u32, dots: vec4<i32>, k_shifts: vec4<u32>) -> i32 {
    let line = queries.lines[i];
    let end = queries.ends[i];
    if position >= end {
        return -SCORE_MAX;
    }
    let q_shift = q[shift_word(line / op.heads, line % op.heads, op.heads, op.len)];
    let score = finalize(dots, q_shift, k_shifts);
    let at = (line * op.stride + position) / 4u;
    let seen = vec4<u32>(position) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end);
    scores[at] = select(scores[at], score, seen);
    let most = select(vec4<i32>(-SCORE_MAX), score, seen);
    return max(max(most.x, most.y), max(most.z, most.w));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = group.x * TILE;
    let kv_head = group.z;
    let queries = queries_of(kv_head, group.y);
    let end = last_end(queries);
    if start >= end {
        return;
    }
    let words = head_words(op.len);
    let q_rows = queries.lines / op.heads * heads_row_words(op.heads, op.len)
        + queries.lines % op.heads * words;
    for (var i = lane; i < words; i += LANES) {
        q_words[i] = vec4<u32>(q[q_rows.x + i], q[q_rows.y + i], q[q_rows.z + i], q[q_rows.w + i]);
    }
    workgroupBarrier();
    let position = start + lane * 4u;
    // Behind the end the last key is read again.
    let positions = min(vec4<u32>(position) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(end - 1u));
    let rows = positions * (heads_row_words(op.kv, op.len) / 4u);
    let at = rows + vec4<u32>(kv_head * words / 4u);
    var dots = Dots();
    for (var i = 0u; i < words / 4u; i++) {
        let a = k[at.x + i];
        let b = k[at.y + i];
        let c = k[at.z + i];
        let d = k[at.w + i];
        dots = add_word(dots, q_words[4u * i], vec4<u32>(a.x, b.x, c.x, d.x));
        dots = add_word(dots, q_words[4u * i + 1u], vec4<u32>(a.y, b.y, c.y, d.y));
        dots = add_word(dots, q_words[4u * i + 2u], vec4<u32>(a.z, b.z, c.z, d.z));
        dots = add_word(dots, q_words[4u * i + 3u], vec4<u32>(a.w, b.w, c.w, d.w));
    }
    let word = shift_word(0u, kv_head, op.kv, op.len);
    let s = rows + vec4<u32>(word / 4u);
    let c = word % 4u;
    let k_shifts = vec4<u32>(k[s.x][c], k[s.y][c], k[s.z][c], k[s.w][c]);
    lane_max[lane] = vec4<i32>(
        store(0u, queries, position, dots.x, k_shifts),
        store(1u, queries, position, dots.y, k_shifts),
        store(2u, queries, position, dots.z, k_shifts),
        store(3u, queries, position, dots.w, k_shifts),
    );
    workgroupBarrier();
    if lane < 4u && start < queries.ends[lane] {
        var most = -SCORE_MAX;
        for (var i = 0u; i < LANES; i++) {
            most = max(most, lane_max[i][lane]);
        }
        tile_max[queries.lines[lane] * op.tiles + group.x] = most;
    }
}
