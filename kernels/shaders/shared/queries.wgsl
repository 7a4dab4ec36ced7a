// Queries that share a KV head share the reading of its keys and values: a workgroup of an
// attention kernel works on four. Needs the kernel's `op.heads`, `op.kv` and `op.heads_only`.

/// Positions of a tile: a workgroup works on four queries and one of these.
const TILE: u32 = 256u;

/// Scores are within ±2^30.
const SCORE_MAX: i32 = 1073741824;

/// Four of the queries of a KV head, in the order (row, head).
struct Queries {
    /// `row · heads + head`.
    lines: vec4<u32>,
    /// Positions that each sees; 0 for one behind the last query, which repeats it.
    ends: vec4<u32>,
}

fn queries_of(kv_head: u32, quad: u32) -> Queries {
    let first_row = op.heads_only * batch.heads_from;
    let group = op.heads / op.kv;
    let count = (batch.count - first_row) * group;
    let index = vec4<u32>(quad * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let real = min(index, vec4<u32>(count - 1u));
    let row = vec4<u32>(first_row) + real / group;
    let head = vec4<u32>(kv_head * group) + real % group;
    let ends = row + vec4<u32>(batch.first + 1u);
    return Queries(row * op.heads + head, select(vec4<u32>(0u), ends, index < vec4<u32>(count)));
}

/// Positions that any of them sees.
fn last_end(queries: Queries) -> u32 {
    return max(max(queries.ends.x, queries.ends.y), max(queries.ends.z, queries.ends.w));
}
