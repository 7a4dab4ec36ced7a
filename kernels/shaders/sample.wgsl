// Sample: the id with the largest logit, or one drawn at a temperature: the largest
// `logit · log2(e) + temperature · noise`, the lowest id on a tie.
//
// First the largest logit and the lowest index that has it: at temperature 0 that is the token, else
// its score is what the others have to beat. Every id gets its uniform word, but few get their noise:
// a word's leading ones bound it. Maxima are the same in any order. Twin: reference/sample.rs.
//
// A workgroup has a row, a lane every 256th logit, then every 256th four of them.
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
/// (4): the seed's low and high word; the temperature in units of 2^-16, below 2^31; 0
@group(0) @binding(3) var<storage, read> sampling: array<u32>;
/// (rows with a head)
@group(0) @binding(4) var<storage, read_write> tokens: array<u32>;

const LANES: u32 = 256u;
/// log2(e) with 20 fractional bits.
const LOG2_E: i32 = 1512775;

// Plus 2^31, so that 0 is the smallest.
var<workgroup> largest: atomic<u32>;
var<workgroup> best_high: atomic<u32>;
var<workgroup> best_low: atomic<u32>;
// 2^32 − 1 minus the index, for the same reason.
var<workgroup> lowest: atomic<u32>;
var<workgroup> winner: atomic<u32>;

/// What the maximum is taken of, plus 2^63.
fn score(logit: i32, noise: i32) -> vec2<u32> {
    let drawn = mul_i32(bitcast<i32>(sampling[2]), noise);
    let sum = add64(mul_i32(logit, LOG2_E), drawn);
    return vec2<u32>(sum.x, sum.y ^ 0x80000000u);
}

/// `a < b`, unsigned.
fn below(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x * op.vocabulary;
    let last = op.vocabulary - 1u;
    var top = logits[row + min(lane, last)];
    var index = min(lane, last);
    // Four independent loads at a time; behind the end the last logit is seen again.
    for (var i = lane; i < op.vocabulary; i += 4u * LANES) {
        let at = min(vec4<u32>(i) + vec4<u32>(0u, 1u, 2u, 3u) * LANES, vec4<u32>(last));
        let x = vec4<i32>(
            logits[row + at.x], logits[row + at.y], logits[row + at.z], logits[row + at.w],
        );
        let most = max(max(x.x, x.y), max(x.z, x.w));
        if most > top {
            top = most;
            // The first of the four that has it: the later choice wins here, so in falling order.
            index = at.w;
            index = select(index, at.z, x.z == most);
            index = select(index, at.y, x.y == most);
            index = select(index, at.x, x.x == most);
        }
    }
    let key = bitcast<u32>(top) ^ 0x80000000u;
    atomicMax(&largest, key);
    workgroupBarrier();
    if key == atomicLoad(&largest) {
        atomicMax(&lowest, ~index);
    }
    workgroupBarrier();
    index = ~atomicLoad(&lowest);
    top = bitcast<i32>(atomicLoad(&largest) ^ 0x80000000u);
    var best = score(top, 0);
    if sampling[2] > 0u {
        let seed = vec2<u32>(sampling[0], sampling[1]);
        let position = batch.first + batch.heads_from + group.x;
        best = score(top, gumbel(noise_words(seed, position, index / 4u)[index % 4u]));
        for (var four = lane; four <= last / 4u; four += LANES) {
            let words = noise_words(seed, position, four);
            for (var j = 0u; j < 4u; j++) {
                let id = 4u * four + j;
                // What lies behind the end is read in bounds and not looked at.
                let logit = logits[row + min(id, last)];
                let word = words[j];
                if id <= last && !below(score(logit, gumbel_at_most(word)), best) {
                    let exact = score(logit, gumbel(word));
                    if below(best, exact) || (all(best == exact) && id < index) {
                        best = exact;
                        index = id;
                    }
                }
            }
        }
    }
    atomicMax(&best_high, best.y);
    workgroupBarrier();
    let is_high = best.y == atomicLoad(&best_high);
    if is_high {
        atomicMax(&best_low, best.x);
    }
    workgroupBarrier();
    if is_high && best.x == atomicLoad(&best_low) {
        atomicMax(&winner, ~index);
    }
    workgroupBarrier();
    if lane == 0u {
        tokens[group.x] = ~atomicLoad(&winner);
    }
}
