// Embed: one row of the embedding matrix as Fx: y_i = sat32(rshift_round(v_i, 12)).
//
// v_i is the weight in units of 2^-24, `D · w + M`: below 2^39 on the scales that the importer
// accepts, so i64 is exact and nothing saturates. A map: there is no order. Twin:
// reference/embed.rs.
//
// A workgroup has a row, a lane every LANES-th quad. A big table is bound in pieces; tokens of
// other pieces are left to other dispatches.
//
// Dispatch: x = rows.

struct Op {
    n: u32,
    /// First row of this piece of the table, and rows in it.
    first_row: u32,
    rows: u32,
    pad: u32,
}

@group(0) @binding(1) var<uniform> op: Op;
/// (rows)
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
/// (op.rows, n / 32) blocks as in the file
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>;
/// (rows, n / 4), Fx
@group(0) @binding(4) var<storage, read_write> y: array<vec4<i32>>;

override LANES: u32 = 64u;

fn finalize(scales: vec2<i32>, w: i32) -> i32 {
    return sat32(rshift_round64(add64(mul_i32(scales.x, w), from_i32(scales.y)), 12u));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x;
    let table_row = tokens[row] - op.first_row; // Wraps below the piece, and is then too large.
    if table_row >= op.rows {
        return;
    }
    let quads = op.n / 4u;
    for (var i = lane; i < quads; i += LANES) {
        let block = table_row * (op.n / 32u) + i / 8u;
        let s = load_scales(block);
        let w = load_quad(block, i % 8u);
        y[row * quads + i] =
            vec4<i32>(finalize(s, w.x), finalize(s, w.y), finalize(s, w.z), finalize(s, w.w));
    }
}
