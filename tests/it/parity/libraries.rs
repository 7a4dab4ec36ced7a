//! Calls of `contracts/solidity/test/support/Libraries.sol`, with what must come of them: trees by `refute-bisection`, token
//! rules and arithmetic in plain Rust.

use super::draw::pick;
use alloy::primitives::{B256, Bytes, I256, U256};
use alloy::sol;
use alloy::sol_types::{SolCall, SolValue};
use refute_bisection::merkle::{
    depth, leaf_hash, node_hash, real_nodes, root_of_path, token_root, zero,
};
use refute_bisection::position::{Index, Level};
use refute_kernels::noise;
use refute_kernels::reference::{rms_norm, swiglu};
use refute_tests::tiny::Random;
use refute_tests::vectors::Vector;

sol! {
    interface Libraries {
        function fold(bytes32[] calldata nodes, uint256 level, uint256 levels) external pure returns (bytes32);
        function climb(bytes32 hash, uint256 index, bytes32[] calldata path) external pure returns (bytes32);
        function leaf(bytes calldata data) external pure returns (bytes32);
        function leafOf(bytes32 first, bytes32 second) external pure returns (bytes32);
        function padding(uint256 level) external pure returns (bytes32);
        function realNodes(uint256 leaves, uint256 level) external pure returns (uint256);
        function depth(uint256 leaves) external pure returns (uint256);
        function tokenRoot(bytes calldata packed) external pure returns (bytes32);
        function count(bytes calldata packed) external pure returns (uint256);
        function checkIds(bytes calldata packed, uint256 vocabulary) external pure;
        function checkOutput(bytes calldata packed, uint256 vocabulary, uint32[] memory stopIds, uint256 maximum)
            external pure returns (uint256);
        function rshiftRound(int256 x, uint256 s) external pure returns (int256);
        function clamp(int256 x, int256 limit) external pure returns (int256);
        function floorDiv(int256 x, int256 y) external pure returns (int256);
        function bitlen(uint256 x) external pure returns (uint256);
        function isqrt(uint256 x) external pure returns (uint256);
        function exp2(uint256 f) external pure returns (uint256);
        function gated(int256 gate, int256 up) external pure returns (int256);
        function normalized(int256 acc, uint256 n, uint256 eps, int256 exponent, int256 x, int256 w)
            external pure returns (int256);
        function gumbel(uint256 word) external pure returns (int256);
        function noise(uint256 seed, uint256 position, uint256 first, uint256 i) external pure returns (int256);
    }
}

/// A call that returns `output`, or none that reverts.
fn vector<C: SolCall>(call: &C, output: Option<Vec<u8>>) -> Vector {
    Vector {
        name: C::SIGNATURE.to_owned(),
        data: call.abi_encode().into(),
        returns: output.is_some(),
        output: output.unwrap_or_default().into(),
        gas: 0,
    }
}

fn hash(random: &mut Random) -> B256 {
    B256::from_slice(&[(); 4].map(|()| random.bits().to_be_bytes()).concat())
}

fn hashes(random: &mut Random, count: u32) -> Vec<B256> {
    (0..count).map(|_| hash(random)).collect()
}

/// A word of any magnitude, its low bits all ones or all zeros as often as not.
fn word(random: &mut Random) -> U256 {
    let shifted = U256::from_be_bytes(hash(random).0) >> random.below(257) as usize;
    match random.below(4) {
        0 => U256::ONE.checked_shl(random.below(256) as usize).unwrap_or_default(),
        1 => U256::MAX >> random.below(257) as usize,
        _ => shifted,
    }
}

fn signed(random: &mut Random) -> I256 {
    let magnitude = I256::from_raw(word(random));
    if random.below(2) == 0 { magnitude } else { magnitude.wrapping_neg() }
}

/// The node `levels` above `nodes`, the definition word for word: padded to the end, then halved.
fn fold(nodes: &[B256], level: u32, levels: u32) -> B256 {
    let mut row: Vec<[u8; 32]> = nodes.iter().map(|n| n.0).collect();
    row.resize(1 << levels, zero(Level(level)));
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row[0].into()
}

fn trees(random: &mut Random) -> Vec<Vector> {
    let nodes = {
        let count = 1 + random.below(70);
        hashes(random, count)
    };
    let (level, spare) = (random.below(8), random.below(3));
    let levels = depth(nodes.len() as u32).0 + spare;
    let root = fold(&nodes, level, levels);
    let call = Libraries::foldCall { nodes, level: U256::from(level), levels: U256::from(levels) };
    let mut out = vec![vector(&call, Some(root.abi_encode()))];

    let path = {
        let count = random.below(18);
        hashes(random, count)
    };
    let index = random.bits() as u32 >> random.below(32);
    let raw: Vec<[u8; 32]> = path.iter().map(|n| n.0).collect();
    let from = hash(random);
    let root: B256 = root_of_path(from.0, Index(index), &raw).into();
    let call = Libraries::climbCall { hash: from, index: U256::from(index), path };
    out.push(vector(&call, Some(root.abi_encode())));

    let data: Vec<u8> = (0..random.below(1100)).map(|_| random.bits() as u8).collect();
    let leaf: B256 = leaf_hash(&data).into();
    out.push(vector(&Libraries::leafCall { data: data.into() }, Some(leaf.abi_encode())));
    let (first, second) = (hash(random), hash(random));
    let leaf: B256 = leaf_hash(&[first.0, second.0].concat()).into();
    out.push(vector(&Libraries::leafOfCall { first, second }, Some(leaf.abi_encode())));

    let level = random.below(33);
    let pad: B256 = zero(Level(level)).into();
    out.push(vector(&Libraries::paddingCall { level: U256::from(level) }, Some(pad.abi_encode())));
    let leaves = 1 + (random.bits() as u32 >> random.below(32)).min(u32::MAX - 1);
    let real = U256::from(real_nodes(leaves, Level(level)));
    let call = Libraries::realNodesCall { leaves: U256::from(leaves), level: U256::from(level) };
    out.push(vector(&call, Some(real.abi_encode())));
    for leaves in [leaves, leaves.checked_next_power_of_two().unwrap_or(1)] {
        let levels = U256::from(depth(leaves).0);
        let call = Libraries::depthCall { leaves: U256::from(leaves) };
        out.push(vector(&call, Some(levels.abi_encode())));
    }
    out
}

/// The rules for an output, as `contracts/README.md` says them.
fn is_output(tokens: &[u32], vocabulary: u32, stops: &[u32], maximum: u32) -> bool {
    let Some((last, inside)) = tokens.split_last() else { return false };
    let stopped = stops.contains(last);
    tokens.iter().all(|t| *t < vocabulary)
        && !inside.iter().any(|t| stops.contains(t))
        && tokens.len() <= maximum as usize
        && (stopped || tokens.len() == maximum as usize)
}

fn tokens(random: &mut Random) -> Vec<Vector> {
    let vocabulary = pick(random, &[1, 300, 49_152, u32::MAX]);
    let stops: Vec<u32> = (0..random.below(4)).map(|_| random.below(vocabulary)).collect();
    let count = pick(random, &[1, 2, 7, 8, 9, 15, 16, 17, 40]);
    let mut list: Vec<u32> = (0..count).map(|_| random.below(vocabulary)).collect();
    let place = random.below(count) as usize;
    match random.below(6) {
        // Foreign by one, by a lot, and by a word whose bytes are in the wrong order.
        0 => list[place] = vocabulary,
        1 => list[place] = u32::MAX,
        2 => list[place] = vocabulary.swap_bytes(),
        _ => {}
    }
    if let Some(stop) = stops.first() {
        match random.below(4) {
            0 => list[place] = *stop,
            // The same residue as a stop id, which the quick test lets through.
            1 => list[place] = stop.wrapping_add(256) % vocabulary,
            2 => list[count as usize - 1] = *stop,
            _ => {}
        }
    }
    let maximum = count + random.below(3) - 1;
    let mut packed: Vec<u8> = list.iter().flat_map(|t| t.to_le_bytes()).collect();
    let root: B256 = token_root(&list).expect("tokens").into();
    let call = Libraries::tokenRootCall { packed: packed.clone().into() };
    let mut out = vec![vector(&call, Some(root.abi_encode()))];
    let known = list.iter().all(|t| *t < vocabulary).then(Vec::new);
    let call = Libraries::checkIdsCall {
        packed: packed.clone().into(),
        vocabulary: U256::from(vocabulary),
    };
    out.push(vector(&call, known));
    let good = is_output(&list, vocabulary, &stops, maximum);
    let call = Libraries::checkOutputCall {
        packed: packed.clone().into(),
        vocabulary: U256::from(vocabulary),
        stopIds: stops,
        maximum: U256::from(maximum),
    };
    out.push(vector(&call, good.then(|| U256::from(count).abi_encode())));
    packed.truncate(random.below(packed.len() as u32 + 1) as usize);
    let whole = !packed.is_empty() && packed.len().is_multiple_of(4);
    let count = whole.then(|| U256::from(packed.len() / 4).abi_encode());
    out.push(vector(&Libraries::countCall { packed: packed.into() }, count));
    out
}

/// Outputs of every length around the eight tokens of a word that no stop id ends. Token 0 is one, and what is read behind the
/// end of a list must not pass for it.
fn unstopped(random: &mut Random) -> Vec<Vector> {
    let mut out = Vec::new();
    for count in 1..=34 {
        let packed: Vec<u8> =
            (0..count).flat_map(|_| (1 + random.below(299)).to_le_bytes()).collect();
        for maximum in [count, count + 1] {
            let call = Libraries::checkOutputCall {
                packed: packed.clone().into(),
                vocabulary: U256::from(300),
                stopIds: vec![0],
                maximum: U256::from(maximum),
            };
            let good = maximum == count;
            out.push(vector(&call, good.then(|| U256::from(count).abi_encode())));
        }
    }
    out
}

/// A long list of tokens: several leaves, the last one of any length.
fn long_tokens(random: &mut Random, count: u32) -> Vector {
    let list: Vec<u32> = (0..count).map(|_| random.bits() as u32).collect();
    let packed: Vec<u8> = list.iter().flat_map(|t| t.to_le_bytes()).collect();
    let root: B256 = token_root(&list).expect("tokens").into();
    vector(&Libraries::tokenRootCall { packed: packed.into() }, Some(root.abi_encode()))
}

fn arithmetic(random: &mut Random) -> Vec<Vector> {
    let most = pick(random, &[70, 70, 600]);
    let (x, s) = (signed(random), random.below(most));
    // floor(x / 2^s) plus the bit below; beyond the word every bit is the sign's.
    let below = x.asr((s as usize).saturating_sub(1).min(255)) & I256::ONE;
    let floor = x.asr(s.min(255) as usize);
    let rounded = if s == 0 { x } else { floor.wrapping_add(below) };
    let call = Libraries::rshiftRoundCall { x, s: U256::from(s) };
    let mut out = vec![vector(&call, Some(rounded.abi_encode()))];

    let limit = I256::from_raw(word(random) >> 1);
    for x in [x, limit, limit.wrapping_neg(), limit.wrapping_add(I256::ONE)] {
        let low = limit.wrapping_neg();
        let clamped = if x > limit {
            limit
        } else if x < low {
            low
        } else {
            x
        };
        out.push(vector(&Libraries::clampCall { x, limit }, Some(clamped.abi_encode())));
    }

    let half: U256 = word(random) >> 1;
    let y = I256::from_raw(half.max(U256::ONE));
    for x in [x, y, y.wrapping_neg(), y.wrapping_neg().wrapping_add(I256::ONE)] {
        let (q, r) = (x / y, x % y);
        let floor = if r.is_negative() { q - I256::ONE } else { q };
        out.push(vector(&Libraries::floorDivCall { x, y }, Some(floor.abi_encode())));
    }

    let x = word(random);
    let bits = U256::from(x.bit_len());
    out.push(vector(&Libraries::bitlenCall { x }, Some(bits.abi_encode())));
    // What is asked for has at most 64 bits; the function holds up to 254.
    let x: U256 = x >> (if random.below(2) == 0 { 192 } else { 2 });
    let root = x.root(2);
    for x in [x, root * root, (root * root).saturating_sub(U256::ONE)] {
        let root = x.root(2);
        out.push(vector(&Libraries::isqrtCall { x }, Some(root.abi_encode())));
    }
    let f = (random.bits() >> 32) as u32;
    for f in [f, f & 0xffff_0000] {
        let power = U256::from(refute_kernels::fx::exp2(f));
        out.push(vector(&Libraries::exp2Call { f: U256::from(f) }, Some(power.abi_encode())));
    }
    out
}

/// Gates at which one in the last bit of log2 e shows, with the largest factor.
const GATES: [i32; 12] = [-397, -665, 779, 989, -1161, -7563, -825, -911, 1111, 1215, -1230, -7724];

/// Words at which one in the last bit of a coefficient of the noise shows: for each coefficient, up and down, there is one. They
/// were searched for; of random words a few in a million do.
const WORDS: [u32; 15] = [
    167_806_692,
    1_786_374_134,
    1_840_745_860,
    1_942_071_465,
    2_046_617_380,
    2_182_658_028,
    2_235_163_541,
    2_281_729_002,
    2_291_242_322,
    3_164_743_430,
    3_216_530_661,
    3_230_200_285,
    3_800_666_347,
    4_191_175_122,
    4_207_958_678,
];

fn gated(gate: i32, up: i32) -> Vector {
    let value = I256::unchecked_from(swiglu::swiglu(gate, up));
    let call =
        Libraries::gatedCall { gate: I256::unchecked_from(gate), up: I256::unchecked_from(up) };
    vector(&call, Some(value.abi_encode()))
}

fn normalized(acc: i128, (n, eps): (u32, u32), exponent: i32, (x, w): (i32, i32)) -> Vector {
    let value = rms_norm::finalize(acc, n, eps, exponent, x, w);
    let call = Libraries::normalizedCall {
        acc: I256::unchecked_from(acc),
        n: U256::from(n),
        eps: U256::from(eps),
        exponent: I256::unchecked_from(exponent),
        x: I256::unchecked_from(x),
        w: I256::unchecked_from(w),
    };
    vector(&call, Some(I256::unchecked_from(value).abi_encode()))
}

/// An Fx of any magnitude.
fn fx(random: &mut Random) -> i32 {
    ((random.bits() as i32) >> random.below(32)).max(-i32::MAX)
}

/// What the step checks compute of numbers, without the reading: gates of all magnitudes, sums that no row reaches.
fn finalizers(random: &mut Random) -> Vec<Vector> {
    let (gate, up) = (fx(random), fx(random));
    let mut out = vec![gated(gate, up), gated(gate >> 14, i32::MAX), gated(gate >> 14, -i32::MAX)];
    let any = i128::from(random.bits()) << 64 | i128::from(random.bits());
    let n = 1 + (random.bits() as u32 >> random.below(32)).min(u32::MAX - 1);
    let acc = any >> random.below(128);
    let eps = random.bits() as u32 >> random.below(32);
    // A negative exponent is one that no file has: the shift ends at 0.
    let exponent = random.below(80) as i32 - 16;
    for (acc, exponent) in [(acc, exponent), (acc, 8), (i128::from(n) << 63, exponent)] {
        out.push(normalized(acc, (n, eps), exponent, (fx(random), fx(random))));
    }
    // Around the largest mean, with a small weight's shift and all of an element.
    let edge = (i128::from(n) << 63) - i128::from(n);
    let delta = i128::from(random.below(5)) - 2;
    for acc in [edge + delta, edge - i128::from(eps) * i128::from(n) + delta, edge << 1] {
        out.push(normalized(acc, (n, eps), 12, (i32::MAX, 1 << 20)));
    }
    out
}

/// Means of every length, and what a root that is a power of two divides; an element as large as leaves the normalized value
/// unsaturated, and a weight of 1, so that its last bit shows.
fn means(random: &mut Random) -> [Vector; 2] {
    let n = 1 + random.below(4096);
    let bits = 1 + random.below(63);
    let mean = (1 << (bits - 1)) | random.bits() & ((1 << (bits - 1)) - 1);
    let square = 1u64 << (2 * random.below(31));
    [mean, square].map(|mean| {
        let most = (1i64 << (42 - (mean.leading_zeros() >> 1))) - 1;
        let most = most.min(i32::MAX.into()) as i32;
        let x = if mean == square { most } else { most - (fx(random).abs() & (most >> 1)) };
        let x = if random.below(2) == 0 { x } else { -x };
        normalized(i128::from(mean) * i128::from(n), (n, 0), -8, (x, 1))
    })
}

fn gumbel(word: u32) -> Vector {
    let noise = I256::unchecked_from(noise::gumbel(word));
    vector(&Libraries::gumbelCall { word: U256::from(word) }, Some(noise.abi_encode()))
}

/// Noise of every magnitude of a word, from either end; of ids anywhere, and all of one unit.
fn noise(random: &mut Random) -> Vec<Vector> {
    let word = random.bits() as u32 >> random.below(33).min(31);
    let mut out: Vec<_> = [word, !word, random.bits() as u32].map(gumbel).into();
    let (seed, position) = (random.bits(), random.bits() as u32 >> random.below(32));
    let first = (random.bits() as u32 >> random.below(32)) & !255;
    out.push(noise_of(seed, position, first, random.below(256)));
    out
}

fn noise_of(seed: u64, position: u32, first: u32, i: u32) -> Vector {
    let of_id = I256::unchecked_from(noise::gumbel(noise::word(seed, position, first + i)));
    let call = Libraries::noiseCall {
        seed: U256::from(seed),
        position: U256::from(position),
        first: U256::from(first),
        i: U256::from(i),
    };
    vector(&call, Some(of_id.abi_encode()))
}

/// Noise that needs the last byte of its unit's words as it was: of the few words that show their low bits, one that lies there.
fn last_byte_of_words() -> Vector {
    const LAST: u32 = 243;
    let shows = |first: &u32| {
        let word = noise::word(0, 0, first + LAST);
        noise::gumbel(word) != noise::gumbel(word | 0xff)
    };
    let first = (0..=u32::MAX - 255).step_by(256).find(shows).expect("some word is small");
    noise_of(0, 0, first, LAST)
}

/// `cases` calls of every function, and more of some.
pub(crate) fn draw(cases: u64) -> Vec<Vector> {
    let nothing = Libraries::countCall { packed: Bytes::new() };
    let mut out = vec![vector(&nothing, None)];
    for bits in 0..256u32 {
        let power = U256::ONE << bits as usize;
        for (x, len) in [(power, bits + 1), (power - U256::ONE, bits)] {
            let call = Libraries::bitlenCall { x };
            out.push(vector(&call, Some(U256::from(len).abi_encode())));
        }
    }
    for word in 0..=16u32 {
        out.extend([word, !word, (1 << 31) - 9 + word].map(gumbel));
    }
    out.extend(WORDS.map(gumbel));
    out.push(last_byte_of_words());
    out.extend(GATES.map(|gate| gated(gate, i32::MAX)));
    out.extend(unstopped(&mut Random::new(0x57)));
    for leaves in [1, 2, 4, 5] {
        let counts = 256 * leaves - 1..=256 * leaves + 2;
        out.extend(counts.map(|count| long_tokens(&mut Random::new(count.into()), count)));
    }
    for i in 0..cases {
        let mut random = Random::new(0x11b << 32 | i);
        out.extend(trees(&mut random));
        out.extend(tokens(&mut random));
        out.extend(arithmetic(&mut random));
        out.extend(noise(&mut random));
        out.extend(finalizers(&mut random));
        out.extend(means(&mut random));
    }
    out
}
