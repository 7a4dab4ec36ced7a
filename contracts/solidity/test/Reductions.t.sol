// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Naive} from "./support/Naive.sol";
import {World, WorldTest} from "./support/World.sol";

contract ReductionsTest is WorldTest {
    uint256 private constant IN0 = 5;

    function build(uint256 op, uint256 heads, uint256 t, uint256 seed)
        private
        pure
        returns (World memory w)
    {
        bytes32 d0 = op == 12
            ? word0(12, 0, [IN0, 0xffff, 0xffff], [uint256(1), heads, 0, 0], 0xffffffff, 0xffffffff)
            : word0(op, 0, [IN0, 0xffff, 0xffff], [0, 0, heads, 0], 0xffffffff, 0xffffffff);
        w = world(uint32(t), d0, 0);
        uint256 count = op == 12 ? heads : heads * (t + 1);
        w.tensors[IN0] = randomBytes(seed, count * (op == 8 ? 2 : 4));
        seal(w);
    }

    /// Folds `size` numbers from `from` on, as the op does.
    function folded(World memory w, uint256 op, uint256 from, uint256 size, int256 acc)
        private
        pure
        returns (int256)
    {
        for (uint256 j = from; j < from + size; ++j) {
            int256 x =
                op == 8 ? int256(Naive.u(w.tensors[IN0], 2 * j, 2)) : Naive.i32(w.tensors[IN0], j);
            if (op == 12) x = Naive.key(w.s.seed, w.s.temperature, w.s.blockIndex, x, j);
            if (op == 8) acc += x;
            else if (x > acc) acc = x;
        }
        return acc;
    }

    function decideAll(World memory w, uint256 op, uint256 first, uint256 length, uint256 unit)
        private
        view
        returns (int256 acc)
    {
        uint256 width = op == 8 ? 2 : 4;
        acc = op == 8 ? int256(0) : -(2 ** 127);
        uint256 units = (length + unit - 1) / unit;
        for (uint256 u = 0; u < units; ++u) {
            uint256 size = length - u * unit < unit ? length - u * unit : unit;
            delete w.openings;
            openStepRange(w, IN0, width * (first + u * unit), width * size);
            int256 next = folded(w, op, first + u * unit, size, acc);
            if (units > 1) decideSegment(w, uint64(u), acc, next);
            acc = next;
        }
        if (units > 1) {
            delete w.openings;
            (w.s.mode, w.s.accIn) = (FINALIZE, acc);
        }
        decide(w, op == 12 ? int256(2 ** 32 - 1) - int256(uint256(acc) % 2 ** 32) : acc);
    }

    /// forge-config: default.fuzz.runs = 32
    function testFuzz_max(uint256 seed, uint256 t) external view {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        t = bound(t, 0, 600);
        uint256 heads = 1 + seed % 3;
        World memory w = build(6, heads, t, seed >> 32);
        w.s.element = uint32((seed >> 8) % heads);
        decideAll(w, 6, w.s.element * (t + 1), t + 1, 256);
    }

    /// forge-config: default.fuzz.runs = 32
    function testFuzz_sum(uint256 seed, uint256 t) external view {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        t = bound(t, 0, 1200);
        uint256 heads = 1 + seed % 2;
        World memory w = build(8, heads, t, seed >> 32);
        w.s.element = uint32((seed >> 8) % heads);
        decideAll(w, 8, w.s.element * (t + 1), t + 1, 512);
    }

    /// forge-config: default.fuzz.runs = 32
    function testFuzz_sample(uint256 seed, uint256 k) external view {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        k = bound(k, 1, 1000);
        decideAll(build(12, k, 3, seed), 12, 0, k, 256);
    }

    /// At any temperature, also one that no request can have.
    /// forge-config: default.fuzz.runs = 32
    function testFuzz_sample_drawn(uint64 seed, uint32 temperature, uint256 t, uint256 k)
        external
        view
    {
        (t, k) = (bound(t, 0, 65_535), bound(k, 1, 600));
        World memory w = build(12, k, t, seed);
        // Near each other, so that the noise decides.
        for (uint256 i = 0; i < 4 * k; ++i) {
            if (i % 4 > 1) w.tensors[IN0][i] = 0;
        }
        seal(w);
        (w.s.seed, w.s.temperature) = (seed, temperature);
        decideAll(w, 12, 0, k, 256);
    }

    /// Nothing reads the seed of a greedy request.
    function test_sample_greedy_anySeed() external view {
        World memory w = build(12, 300, 3, 7);
        decideAll(w, 12, 0, 300, 256);
        int256 token = w.s.claimed;
        w.s.seed = 99;
        decide(w, token);
    }

    /// A claim of what another seed, temperature or position gives is refused.
    function test_sample_everyParameterCounts() external view {
        World memory w = build(12, 100, 9, 7);
        w.tensors[IN0] = new bytes(400);
        seal(w);
        (w.s.seed, w.s.temperature) = (5, 1 << 16);
        openStepRange(w, IN0, 0, 400);
        int256 acc = folded(w, 12, 0, 100, -(2 ** 127));
        w.s.claimed = int256(2 ** 32 - 1) - int256(uint256(acc) % 2 ** 32);
        assertTrue(verdict(w), "the drawn token");
        w.s.seed = 5 + (1 << 32);
        assertTrue(!verdict(w), "another upper half of the seed");
        w.s.seed = 7;
        assertTrue(!verdict(w), "another lower half of the seed");
        (w.s.seed, w.s.temperature) = (5, 0);
        assertTrue(!verdict(w), "greedy");
        assertTrue(w.s.claimed != 0, "a token that greed doesn't give");
    }

    function test_sample_tie_lowestIndexWins() external view {
        World memory w = build(12, 700, 3, 2);
        for (uint256 j = 0; j < 4; ++j) {
            for (uint256 i = 0; i < 700; ++i) {
                w.tensors[IN0][4 * i + j] = bytes1(j == 3 ? 0x80 : 0x00);
            }
            w.tensors[IN0][4 * 300 + j] = bytes1(0xff);
            w.tensors[IN0][4 * 680 + j] = bytes1(0xff);
        }
        seal(w);
        decideAll(w, 12, 0, 700, 256);
        assertEq(w.s.claimed, 300);
    }

    function test_sum_keeps32Bits() external view {
        World memory w = build(8, 1, 600, 2);
        (w.s.mode, w.s.accIn) = (FINALIZE, 2 ** 40 + 77);
        decide(w, 77);
    }

    function test_reductions_corrupted_reverts() external view {
        World memory w = build(6, 3, 400, 4);
        w.s.element = 1;
        openStepRange(w, IN0, 4 * 401, 1024);
        decideSegment(w, 0, -(2 ** 127), folded(w, 6, 401, 256, -(2 ** 127)));
        refusesCorruption(w);
        (w.s.mode, w.s.accIn) = (FINALIZE, -77);
        delete w.openings;
        decide(w, -77);
        refusesCorruption(w);
        w = build(8, 3, 600, 4);
        w.s.element = 2;
        openStepRange(w, IN0, 2 * (2 * 601 + 512), 2 * 89);
        decideSegment(w, 1, 9, folded(w, 8, 2 * 601 + 512, 89, 9));
        refusesCorruption(w);
        w = build(12, 600, 3, 4);
        openStepRange(w, IN0, 2048, 352);
        decideSegment(w, 2, 0, folded(w, 12, 512, 88, 0));
        refusesCorruption(w);
    }
}
