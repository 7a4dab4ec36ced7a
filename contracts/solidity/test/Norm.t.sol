// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {RmsNorm} from "../libraries/Norm.sol";
import {Naive} from "./support/Naive.sol";
import {World, WorldTest} from "./support/World.sol";

contract NormTest is WorldTest {
    uint256 private constant INPUT = 3;
    uint256 private constant BASE = 70;

    /// Values of an honest residual stream: any Fx, but small enough that the mean says something.
    function buildNorm(uint256 n, uint256 i, int256 c1, uint256 eps, uint256 seed)
        private
        pure
        returns (World memory w)
    {
        bytes32 d0 = word0(1, 0, [INPUT, 0xffff, 0xffff], [n, 0, 0, 0], BASE, 0xffffffff);
        w = world(3, d0, word1(eps, uint256(c1), 0));
        w.tensors[INPUT] = randomBytes(seed, 4 * n);
        // Magnitudes of a random size, or else the sum of squares is always near its maximum.
        uint256 scale = seed % 4;
        for (uint256 j = 0; j < n && scale != 0; ++j) {
            bytes1 sign = w.tensors[INPUT][4 * j + 3] & 0x80 == 0 ? bytes1(0x00) : bytes1(0xff);
            for (uint256 b = 4 - scale; b < 4; ++b) {
                w.tensors[INPUT][4 * j + b] = sign;
            }
        }
        uint256 left = n - i / 256 * 256;
        addWeights(w, BASE + i / 256, randomBytes(seed + 1, 4 * (left < 256 ? left : 256)));
        seal(w);
        w.s.element = uint32(i);
    }

    function end(uint256 n, uint256 u) private pure returns (uint256) {
        return n < 256 * (u + 1) ? n : 256 * (u + 1);
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_rmsNorm(uint256 seed, uint256 n, uint256 i, uint256 c1) external view {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        n = bound(n, 1, 1000);
        i = bound(i, 0, n - 1);
        int256 exponent = int256(bound(c1, 0, 63)) - 8;
        uint256 eps = 1 + seed % 1000;
        World memory w = buildNorm(n, i, exponent, eps, seed >> 16);
        int256 x = Naive.i32(w.tensors[INPUT], i);
        int256 weight = Naive.i32(w.weights[0].data, i % 256);
        int256 acc = decideSquares(w, n);
        openStep(w, INPUT, i / 256);
        openWeights(w, BASE + i / 256);
        decide(w, Naive.rmsNorm(acc, n, eps, exponent, x, weight));
    }

    /// Every unit of the sum; leaves the world at the finalizer, or whole with the unit's opening.
    function decideSquares(World memory w, uint256 n) private view returns (int256 acc) {
        uint256 units = (n + 255) / 256;
        for (uint256 u = 0; u < units; ++u) {
            delete w.openings;
            openStep(w, INPUT, u);
            int256 next = acc + Naive.squares(w.tensors[INPUT], 256 * u, end(n, u));
            if (units > 1) decideSegment(w, uint64(u), acc, next);
            acc = next;
        }
        if (units == 1) return acc;
        delete w.openings;
        (w.s.mode, w.s.accIn) = (FINALIZE, acc);
    }

    /// The reciprocal square root at every size of the mean.
    function testFuzz_rmsNorm_compute(uint256 acc, uint256 size, uint32 n, int32 x, int32 w)
        external
        pure
    {
        acc = acc >> bound(size, 160, 256);
        if (n == 0) n = 1;
        int256 got = RmsNorm.compute(int256(acc), n, 1, 20, x, w);
        assertEq(got, Naive.rmsNorm(int256(acc), n, 1, 20, x, w));
    }

    function test_rmsNorm_totalOnAnyAccumulator() external pure {
        int256 least = RmsNorm.compute(0, 3, 1, -8, 5, 5);
        assertEq(RmsNorm.compute(-(2 ** 127), 3, 0, -100, 5, 5), least);
        assertEq(RmsNorm.compute(2 ** 127 - 1, 1, 1, 2 ** 31 - 1, 5, 5), 0);
    }

    function test_rmsNorm_corrupted_reverts() external view {
        World memory w = buildNorm(700, 600, 22, 168, 8);
        openStep(w, INPUT, 1);
        decideSegment(w, 1, 1, 1 + Naive.squares(w.tensors[INPUT], 256, 512));
        refusesCorruption(w);
        delete w.openings;
        openStep(w, INPUT, 2);
        openWeights(w, BASE + 2);
        (w.s.mode, w.s.accIn) = (FINALIZE, 2 ** 60);
        int256 x = Naive.i32(w.tensors[INPUT], 600);
        decide(w, Naive.rmsNorm(2 ** 60, 700, 168, 22, x, Naive.i32(w.weights[0].data, 88)));
        refusesCorruption(w);
    }

    function buildQuantize(uint256 groups, uint256 size, uint256 bits, uint256 seed)
        private
        pure
        returns (World memory w)
    {
        bytes32 d0 = word0(
            2, 0, [INPUT, 0xffff, 0xffff], [groups * size, 0, groups, 0], 0xffffffff, 0xffffffff
        );
        w = world(3, d0, word1(bits, 0, 0));
        w.tensors[INPUT] = randomBytes(seed, 4 * groups * size);
        // Rows whose magnitudes have anything from 1 to 32 bits.
        uint256 zeroed = (seed >> 8) % 4;
        for (uint256 j = 0; j < groups * size; ++j) {
            for (uint256 b = 4 - zeroed; b < 4; ++b) {
                w.tensors[INPUT][4 * j + b] = 0;
            }
        }
        seal(w);
    }

    /// Every unit of a group's OR; leaves the world at the finalizer, or whole with the unit's
    /// openings.
    function decideOrs(World memory w, uint256 first, uint256 size)
        private
        view
        returns (uint256 acc)
    {
        uint256 units = (size + 255) / 256;
        for (uint256 u = 0; u < units; ++u) {
            uint256 from = first + 256 * u;
            uint256 to = 256 * (u + 1) < size ? from + 256 : first + size;
            delete w.openings;
            openStepRange(w, INPUT, 4 * from, 4 * (to - from));
            uint256 next = acc | Naive.ors(w.tensors[INPUT], from, to);
            if (units > 1) decideSegment(w, uint64(u), int256(acc), int256(next));
            acc = next;
        }
        w.s.mode = WHOLE;
        if (units == 1) return acc;
        delete w.openings;
        (w.s.mode, w.s.accIn) = (FINALIZE, int256(acc));
    }

    function decideElement(
        World memory w,
        uint256 groups,
        uint256 size,
        uint256 bits,
        uint256 element
    ) private view {
        uint256 n = groups * size;
        uint256 group = element < n ? element / size : element - n;
        w.s.element = uint32(element);
        uint256 acc = decideOrs(w, group * size, size);
        uint256 shift = Naive.quantizedShift(acc, bits);
        if (element >= n) {
            decide(w, int256(shift));
        } else {
            openStep(w, INPUT, element / 256);
            decide(w, Naive.quantized(Naive.i32(w.tensors[INPUT], element), shift, bits));
        }
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_quantize_heads(uint256 seed, uint256 groups, uint256 size, uint256 bits)
        external
        view
    {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        groups = bound(groups, 1, 10);
        size = bound(size, 1, 120);
        bits = bound(bits, 1, 15);
        World memory w = buildQuantize(groups, size, bits, seed);
        decideElement(w, groups, size, bits, (seed >> 32) % (groups * size));
        decideElement(w, groups, size, bits, groups * size + (seed >> 64) % groups);
    }

    /// forge-config: default.fuzz.runs = 32
    function testFuzz_quantize_rows(uint256 seed, uint256 size) external view {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        size = bound(size, 1, 800);
        World memory w = buildQuantize(1 + seed % 2, size, 15, seed);
        decideElement(w, 1 + seed % 2, size, 15, (seed >> 32) % size);
        decideElement(w, 1 + seed % 2, size, 15, (1 + seed % 2) * size);
    }

    function test_quantize_lowestI32_hasMagnitudeTwoToThe31() external view {
        World memory w = buildQuantize(1, 1, 15, 0);
        w.tensors[INPUT] = hex"00000080";
        seal(w);
        decideElement(w, 1, 1, 15, 0);
        assertEq(w.s.claimed, -(2 ** 14));
        decideElement(w, 1, 1, 15, 1);
        assertEq(w.s.claimed, 17);
    }

    function test_quantize_corrupted_reverts() external view {
        World memory w = buildQuantize(2, 300, 12, 4);
        // The second group's first unit lies in two leaves.
        w.s.element = 601;
        openStepRange(w, INPUT, 1200, 1024);
        decideSegment(w, 0, 0, int256(Naive.ors(w.tensors[INPUT], 300, 556)));
        refusesCorruption(w);
        delete w.openings;
        openStep(w, INPUT, 2);
        (w.s.mode, w.s.accIn, w.s.element) = (FINALIZE, 2 ** 20, 599);
        decide(w, Naive.quantized(Naive.i32(w.tensors[INPUT], 599), 9, 12));
        refusesCorruption(w);
    }
}
