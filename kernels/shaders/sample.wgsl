// Sample, greedy: the index of the largest logit, the lowest on a tie.
//
// First the maximum, then the lowest index that has it: both are the same in any order. Twin:
// reference/sample.rs.
//
// A workgroup has a row, a lane every 256th logit.
//
// Dispatch: x = rows with a head.

struct Op {
    vocabulary: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(1) var<uniform> op: Op;
/// (rows with a head, vocabulary)
@group(0) @binding(2) var<storage, read> logits: array<i32>;
/// (rows with a head)
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>;

const LANES: u32 = 256u;

var<workgroup> largest: atomic<u32>; // Plus 2^31, so that 0 is the smallest.
var<workgroup> lowest: atomic<u32>; // 2^32 − 1 minus the index, for the same reason.

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x * op.vocabulary;
    let last = op.vocabulary - 1u;
    var best = logits[row + min(lane, last)];
    var index = min(lane, last);
    // Four independent loads at a time; behind the end the last logit is seen again.
    for (var i = lane; i < op.vocabulary; i += 4u * LANES) {
        let at = min(vec4<u32>(i) + vec4<u32>(0u, 1u, 2u, 3u) * LANES, vec4<u32>(last));
        let x = vec4<i32>(
            logits[row + at.x], logits[row + at.y], logits[row + at.z], logits[row + at.w],
        );
        let most = max(max(x.x, x.y), max(x.z, x.w));
        if most > best {
            best = most;
            // The first of the four that has it: the later choice wins here, so in falling order.
            index = at.w;
            index = select(index, at.z, x.z == most);
            index = select(index, at.y, x.y == most);
            index = select(index, at.x, x.x == most);
        }
    }
    let key = bitcast<u32>(best) ^ 0x80000000u;
    atomicMax(&largest, key);
    workgroupBarrier();
    if key == atomicLoad(&largest) {
        atomicMax(&lowest, ~index);
    }
    workgroupBarrier();
    if lane == 0u {
        tokens[group.x] = ~atomicLoad(&lowest);
    }
}
