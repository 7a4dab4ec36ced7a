// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Attention} from "../libraries/Attention.sol";
import {Openings} from "../libraries/Openings.sol";
import {Naive} from "./support/Naive.sol";
import {World, WorldTest} from "./support/World.sol";

/// Heads of a test: sizes, and a carried tensor at position `s` or the own step's.
struct Heads {
    uint256 heads;
    uint256 kv;
    uint256 k;
    uint256 t;
    uint256 s;
}

contract AttentionTest is WorldTest {
    uint256 private constant IN0 = 5;
    uint256 private constant IN1 = 1;
    uint256 private constant OWN = 7;
    uint256 private constant CARRIED = 41;

    function bytesOf(uint256 heads, uint256 k) private pure returns (uint256) {
        return 2 * heads * k + heads;
    }

    /// Random values, shifts below 30.
    function quantized(uint256 heads, uint256 k, uint256 seed)
        private
        pure
        returns (bytes memory data)
    {
        data = randomBytes(seed, bytesOf(heads, k));
        for (uint256 h = 0; h < heads; ++h) {
            data[2 * heads * k + h] = bytes1(uint8(data[2 * heads * k + h]) % 30);
        }
    }

    function fuzzed(uint256 seed) private pure returns (Heads memory c) {
        c.kv = 1 + seed % 4;
        c.heads = c.kv * (1 + (seed >> 8) % 3);
        c.k = 2 * (1 + (seed >> 16) % 100);
        c.t = (seed >> 24) % 40;
        c.s = (seed >> 32) % 3 == 0 ? c.t : (seed >> 40) % (c.t + 1);
    }

    /// K or V at the position.
    function place(World memory w, Heads memory c, bytes memory row) private pure {
        if (c.s == c.t) w.tensors[OWN] = row;
        else addCached(w, c.s, CARRIED, row);
    }

    function openRow(World memory w, Heads memory c, uint256 from, uint256 length) private pure {
        for (uint256 i = from / 1024; i * 1024 < from + length; ++i) {
            if (c.s == c.t) openStep(w, OWN, i);
            else openCached(w, c.s, CARRIED, i);
        }
    }

    // ---------------------------------------------------------------- scores

    function buildScores(Heads memory c, uint256 h, uint256 scale, uint256 seed)
        private
        pure
        returns (World memory w, bytes memory q, bytes memory key)
    {
        bytes32 d0 =
            word0(5, 0, [IN0, OWN, 0xffff], [0, c.k, c.heads, c.kv], 0xffffffff, 0xffffffff);
        w = world(uint32(c.t), d0, word1(scale, CARRIED, 0));
        q = quantized(c.heads, c.k, seed);
        key = quantized(c.kv, c.k, seed + 2);
        w.tensors[IN0] = q;
        place(w, c, key);
        seal(w);
        w.s.element = uint32(h * (c.t + 1) + c.s);
        uint256 g = h / (c.heads / c.kv);
        openStepRange(w, IN0, 2 * h * c.k, 2 * c.k);
        openStepRange(w, IN0, 2 * c.heads * c.k + h, 1);
        openRow(w, c, 2 * g * c.k, 2 * c.k);
        openRow(w, c, 2 * c.kv * c.k + g, 1);
    }

    function expected(Heads memory c, uint256 h, uint256 scale, bytes memory q, bytes memory key)
        private
        pure
        returns (int256)
    {
        uint256 g = h / (c.heads / c.kv);
        int256 dot;
        for (uint256 j = 0; j < c.k; ++j) {
            dot += Naive.i16(q, h * c.k + j) * Naive.i16(key, g * c.k + j);
        }
        uint256 a = uint8(q[2 * c.heads * c.k + h]);
        uint256 b = uint8(key[2 * c.kv * c.k + g]);
        return Naive.score(dot, scale, a, b);
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_scores(uint256 seed) external view {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        Heads memory c = fuzzed(seed);
        uint256 h = (seed >> 48) % c.heads;
        uint256 scale = (seed >> 56) % 2 ** 32;
        (World memory w, bytes memory q, bytes memory key) = buildScores(c, h, scale, seed >> 96);
        decide(w, expected(c, h, scale, q, key));
    }

    function test_scores_ownPosition_readsTheStepNotTheTrace() external view {
        Heads memory c = Heads(4, 2, 16, 6, 6);
        (World memory w,, bytes memory key) = buildScores(c, 1, 10 ** 9, 12);
        addCached(w, c.s, CARRIED, key);
        seal(w);
        openStepRange(w, IN0, 32, 32);
        openStepRange(w, IN0, 128, 1);
        openCached(w, c.s, CARRIED, 0);
        openCached(w, c.s, CARRIED, 0);
        // Both paths are ten long here, so only the root tells them apart.
        assertEq(w.openings[2].proof.length, w.openings[1].proof.length);
        refuses(w, Openings.WrongPath.selector, "the carried tensor of its own position");
    }

    function test_scores_corrupted_reverts() external view {
        // The head's values lie in two leaves, the shifts in a third one.
        Heads memory c = Heads(6, 3, 200, 9, 4);
        (World memory w, bytes memory q, bytes memory key) = buildScores(c, 5, 10 ** 9, 20);
        assertEq(w.openings.length, 6, "two leaves, a shift, two leaves, a shift");
        decide(w, expected(c, 5, 10 ** 9, q, key));
        refusesCorruption(w);
        c.s = c.t;
        (w, q, key) = buildScores(c, 5, 10 ** 9, 20);
        decide(w, expected(c, 5, 10 ** 9, q, key));
        refusesCorruption(w);
    }

    function test_scores_carriedOutsideBlock_reverts() external view {
        (World memory w,,) = buildScores(Heads(6, 3, 20, 9, 4), 2, 10 ** 9, 20);
        w.s.carried = uint32(CARRIED);
        refuses(w, Openings.OutsideTree.selector, "a carried tensor that blocks don't have");
        w.s.carried = 60;
        w.s.blocks = 4;
        refuses(w, Openings.OutsideTree.selector, "a position that the trace doesn't have");
    }

    function test_scores_otherPosition_reverts() external view {
        (World memory w,,) = buildScores(Heads(6, 3, 20, 9, 4), 2, 10 ** 9, 20);
        w.s.element += 1;
        refuses(w, Openings.WrongPath.selector, "another position's row");
    }

    function testFuzz_score_everyShift(uint256 a, uint256 b, uint256 scale, bytes32 q, bytes32 key)
        external
        pure
    {
        (a, b, scale) = (a % 256, b % 256, scale % 2 ** 32);
        uint256 ptr;
        assembly ("memory-safe") {
            ptr := mload(0x40)
            mstore(ptr, q)
            mstore(add(ptr, 32), key)
            mstore(0x40, add(ptr, 96))
        }
        int256 dot;
        for (uint256 j = 0; j < 16; ++j) {
            dot += Naive.i16(abi.encode(q), j) * Naive.i16(abi.encode(key), j);
        }
        assertEq(Attention.score(ptr, ptr + 32, 16, a, b, scale), Naive.score(dot, scale, a, b));
    }

    // ---------------------------------------------------------------- probs

    function testFuzz_prob(int32 x, int32 top, uint256 near) external pure {
        // Far apart the result is 0: half of the cases are near.
        if (near % 2 == 0) {
            x = int32(
                int256(top) > -(2 ** 31) + 1100000 ? int256(top) - int256(near % 1100000) : top
            );
        }
        assertEq(Attention.prob(x, top), Naive.prob(x, top));
    }

    function test_prob_ends() external pure {
        assertEq(Attention.prob(7, 7), 2 ** 14);
        assertEq(Attention.prob(2 ** 30, -(2 ** 30)), 2 ** 14);
        assertEq(Attention.prob(-(2 ** 31), 2 ** 31 - 1), 0);
        assertEq(Attention.prob(-65536, 0), 2 ** 13);
        assertEq(Attention.prob(-15 * 65536, 0), 1);
        assertEq(Attention.prob(-16 * 65536, 0), 0);
    }

    /// forge-config: default.fuzz.runs = 32
    function testFuzz_probs(uint256 seed) external view {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        (uint256 heads, uint256 t) = (1 + seed % 9, (seed >> 8) % 300);
        uint256 element = (seed >> 32) % (heads * (t + 1));
        World memory w = buildProbs(heads, t, element, seed >> 64);
        int256 x = Naive.i32(w.tensors[IN0], element);
        decide(w, Naive.prob(x, Naive.i32(w.tensors[IN1], element / (t + 1))));
    }

    function test_probs_corrupted_reverts() external view {
        World memory w = buildProbs(9, 200, 1500, 6);
        decide(w, Naive.prob(Naive.i32(w.tensors[IN0], 1500), Naive.i32(w.tensors[IN1], 7)));
        refusesCorruption(w);
    }

    function buildProbs(uint256 heads, uint256 t, uint256 element, uint256 seed)
        private
        pure
        returns (World memory w)
    {
        bytes32 d0 = word0(7, 0, [IN0, IN1, 0xffff], [0, 0, heads, 0], 0xffffffff, 0xffffffff);
        w = world(uint32(t), d0, 0);
        w.tensors[IN0] = randomBytes(seed, 4 * heads * (t + 1));
        w.tensors[IN1] = randomBytes(seed + 1, 4 * heads);
        // A maximum near the score, or else every probability is 0 or 1.
        uint256 h = element / (t + 1);
        for (uint256 j = 0; j < 4; ++j) {
            w.tensors[IN1][4 * h + j] = w.tensors[IN0][4 * element + j];
        }
        w.tensors[IN1][4 * h + 2] = bytes1(uint8(w.tensors[IN1][4 * h + 2]) | 7);
        seal(w);
        w.s.element = uint32(element);
        openStep(w, IN0, 4 * element / 1024);
        openStep(w, IN1, 4 * h / 1024);
    }

    // ---------------------------------------------------------------- mix

    struct Mixed {
        World w;
        bytes probs;
        bytes v;
    }

    function buildMix(Heads memory c, uint256 element, uint256 seed)
        private
        pure
        returns (Mixed memory m)
    {
        bytes32 d0 = word0(9, 0, [IN0, IN1, OWN], [0, c.k, c.heads, c.kv], 0xffffffff, 0xffffffff);
        m.w = world(uint32(c.t), d0, word1(0, CARRIED, 0));
        m.probs = randomBytes(seed, 2 * c.heads * (c.t + 1));
        m.v = quantized(c.kv, c.k, seed + 2);
        m.w.tensors[IN0] = m.probs;
        m.w.tensors[IN1] = randomBytes(seed + 4, 4 * c.heads);
        place(m.w, c, m.v);
        seal(m.w);
        m.w.s.element = uint32(element);
        uint256 h = element / c.k;
        uint256 g = h / (c.heads / c.kv);
        openStep(m.w, IN0, 2 * (h * (c.t + 1) + c.s) / 1024);
        openRow(m.w, c, 2 * (g * c.k + element % c.k), 2);
        openRow(m.w, c, 2 * c.kv * c.k + g, 1);
    }

    function term(Mixed memory m, Heads memory c, uint256 element) private pure returns (int256) {
        uint256 h = element / c.k;
        uint256 g = h / (c.heads / c.kv);
        int256 p = int256(Naive.u(m.probs, 2 * (h * (c.t + 1) + c.s), 2));
        uint256 b = uint8(m.v[2 * c.kv * c.k + g]);
        return p * Naive.i16(m.v, g * c.k + element % c.k) * int256(2 ** (b > 20 ? 20 : b));
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_mix(uint256 seed) external view {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        Heads memory c = fuzzed(seed);
        uint256 element = (seed >> 48) % (c.heads * c.k);
        Mixed memory m = buildMix(c, element, seed >> 96);
        World memory w = m.w;
        uint256 sum = Naive.u(w.tensors[IN1], 4 * (element / c.k), 4);
        int256 accIn = int256(seed >> 8 & (2 ** 61 - 1)) - 2 ** 60;
        if (c.t == 0) {
            openStep(w, IN1, 4 * (element / c.k) / 1024);
            decide(w, Naive.mix(term(m, c, element), sum));
            return;
        }
        decideSegment(w, uint64(c.s), accIn, accIn + term(m, c, element));
        delete w.openings;
        openStep(w, IN1, 4 * (element / c.k) / 1024);
        (w.s.mode, w.s.accIn) = (FINALIZE, accIn);
        decide(w, Naive.mix(accIn, sum));
    }

    function testFuzz_divide(int128 acc, uint256 size, uint32 sum) external pure {
        // The product must fit the width that the accumulator has.
        int256 x = int256(acc) >> bound(size, 33, 100);
        assertEq(Attention.divide(x, sum), Naive.mix(x, sum));
    }

    function test_mix_corrupted_reverts() external view {
        Heads memory c = Heads(6, 3, 200, 9, 4);
        Mixed memory m = buildMix(c, 1111, 10);
        decideSegment(m.w, 4, -5, term(m, c, 1111) - 5);
        refusesCorruption(m.w);
        c.s = c.t;
        m = buildMix(c, 1111, 10);
        decideSegment(m.w, 9, -5, term(m, c, 1111) - 5);
        refusesCorruption(m.w);
    }
}
