// Scores: the dot products of a query head with its KV head's keys, base 2 with 16 fractional bits;
// and the maximum of each tile of positions, from which Mix takes Max.
//
// p = (Σ q·k) · c0, then by e = 38 − a − b bits to the right, clamped to ±2^30; a ≤ 19 and b ≤ 20,
// because Fx has 31 bits, q 12 and k 11. The dot is exact in 32 bits (256 · 4095 · 2047 < 2^31), p below
// 2^60, so any order gives the same bits. Twins: reference/scores.rs, reference/max.rs.
//
// A workgroup has a tile of positions and four queries, a lane four of the positions, 64 apart.
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
/// (rows, heads, stride)
@group(0) @binding(4) var<storage, read_write> scores: array<i32>;
/// (rows, heads, tiles)
@group(0) @binding(5) var<storage, read_write> tile_max: array<i32>;

const LANES: u32 = 64u;

var<workgroup> q_words: array<vec4<u32>, 128>; // Word i of the four queries.
var<workgroup> maxima: array<atomic<u32>, 4>; // Plus 2^30, so that 0 is the smallest.

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

fn finalize(dot: i32, q_shift: u32, k_shift: u32) -> i32 {
    let p = mul_i32(dot, bitcast<i32>(op.scale));
    let e = 38 - i32(q_shift + k_shift);
    let score = rshift_round64(shl64(p, u32(max(-e, 0))), u32(max(e, 0)));
    return clamp(sat32(score), -SCORE_MAX, SCORE_MAX);
}


/// The scores of one query at a lane's positions.
fn store(i: u32, queries: Queries, dots: vec4<i32>, positions: vec4<u32>, k_shifts: vec4<u32>) {
    let line = queries.lines[i];
    let end = queries.ends[i];
    let q_shift = q[shift_word(line / op.heads, line % op.heads, op.heads, op.len)];
    var best = -SCORE_MAX;
    for (var j = 0u; j < 4u; j++) {
        if positions[j] < end {
            let score = finalize(dots[j], q_shift, k_shifts[j]);
            scores[line * op.stride + positions[j]] = score;
            best = max(best, score);
        }
    }
    atomicMax(&maxima[i], bitcast<u32>(best + SCORE_MAX));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group.x;
    let kv_head = group.z;
    let queries = queries_of(kv_head, group.y);
    let end = last_end(queries);
    if tile * TILE >= end {
        return;
    }
    let words = head_words(op.len);
    let q_rows = queries.lines / op.heads * heads_row_words(op.heads, op.len)
        + queries.lines % op.heads * words;
    for (var i = lane; i < words; i += LANES) {
        q_words[i] = vec4<u32>(q[q_rows.x + i], q[q_rows.y + i], q[q_rows.z + i], q[q_rows.w + i]);
    }
    workgroupBarrier();
    let positions = vec4<u32>(tile * TILE + lane) + vec4<u32>(0u, 64u, 128u, 192u);
    // Behind the end the last key is read again, and nothing stored.
    let rows = min(positions, vec4<u32>(end - 1u)) * (heads_row_words(op.kv, op.len) / 4u);
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
    let shift = shift_word(0u, kv_head, op.kv, op.len);
    let s = rows + vec4<u32>(shift / 4u);
    let c = shift % 4u;
    let k_shifts = vec4<u32>(k[s.x][c], k[s.y][c], k[s.z][c], k[s.w][c]);
    store(0u, queries, dots.x, positions, k_shifts);
    store(1u, queries, dots.y, positions, k_shifts);
    store(2u, queries, dots.z, positions, k_shifts);
    store(3u, queries, dots.w, positions, k_shifts);
    workgroupBarrier();
    if lane < 4u && tile * TILE < queries.ends[lane] {
        let best = bitcast<i32>(atomicLoad(&maxima[lane])) - SCORE_MAX;
        tile_max[queries.lines[lane] * op.tiles + tile] = best;
    }
}
