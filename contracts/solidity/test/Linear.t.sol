// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Openings} from "../libraries/Openings.sol";
import {Naive} from "./support/Naive.sol";
import {World, WorldTest} from "./support/World.sol";

contract LinearTest is WorldTest {
    uint256 private constant INPUT = 2;
    uint256 private constant RESIDUAL = 4;
    uint256 private constant BASE = 1000;
    uint256 private constant BIAS = 150_000;

    struct Case {
        uint256 format;
        uint256 n;
        uint256 k;
        uint256 row;
        bool bias;
        bool residual;
    }

    function leafWeights(Case memory c) private pure returns (uint256) {
        return c.format == 0 ? 256 : 1024;
    }

    function units(Case memory c) private pure returns (uint256) {
        return (c.k + leafWeights(c) - 1) / leafWeights(c);
    }

    function columns(Case memory c, uint256 u) private pure returns (uint256) {
        uint256 left = c.k - u * leafWeights(c);
        return left < leafWeights(c) ? left : leafWeights(c);
    }

    function build(Case memory c, uint256 seed) private pure returns (World memory w) {
        bytes32 d0 = word0(
            3,
            c.format,
            [INPUT, c.residual ? RESIDUAL : 0xffff, 0xffff],
            [c.n, c.k, 0, 0],
            BASE,
            c.bias ? BIAS : 0xffffffff
        );
        w = world(3, d0, word1(0, 0, 0));
        w.tensors[INPUT] = randomBytes(seed, 2 * c.k + 1);
        w.tensors[INPUT][2 * c.k] = bytes1(uint8(seed % 24));
        if (c.residual) w.tensors[RESIDUAL] = randomBytes(seed + 2, 4 * c.n);
        for (uint256 u = 0; u < units(c); ++u) {
            uint256 size = columns(c, u) * Naive.blockBytes(c.format) / (c.format == 0 ? 1 : 32);
            addWeights(w, BASE + c.row * units(c) + u, randomBytes(seed + 4 + u, size));
        }
        if (c.bias) {
            uint256 leaf = c.row / 256;
            uint256 size = c.n - 256 * leaf < 256 ? c.n - 256 * leaf : 256;
            addWeights(w, BIAS + leaf, randomBytes(seed + 100, 4 * size));
        }
        seal(w);
        w.s.element = uint32(c.row);
    }

    function openUnit(World memory w, Case memory c, uint256 u) private pure {
        openWeights(w, BASE + c.row * units(c) + u);
        openStepRange(w, INPUT, 2 * u * leafWeights(c), 2 * columns(c, u));
    }

    function openFinalizer(World memory w, Case memory c) private pure {
        openStep(w, INPUT, 2 * c.k / 1024);
        if (c.bias) openWeights(w, BIAS + c.row / 256);
        if (c.residual) openStep(w, RESIDUAL, 4 * c.row / 1024);
    }

    function dot(World memory w, Case memory c, uint256 u) private pure returns (int256) {
        return
            Naive.dot(
                c.format, w.weights[u].data, w.tensors[INPUT], u * leafWeights(c), columns(c, u)
            );
    }

    function result(World memory w, Case memory c, int256 acc) private pure returns (int256 y) {
        y = Naive.linear(acc, Naive.u(w.tensors[INPUT], 2 * c.k, 1));
        if (c.bias) {
            y = Naive.clamp(y + Naive.i32(w.weights[units(c)].data, c.row % 256), Naive.FX);
        }
        if (c.residual) y = Naive.clamp(y + Naive.i32(w.tensors[RESIDUAL], c.row), Naive.FX);
    }

    function decideAll(World memory w, Case memory c) private view {
        int256 acc;
        if (units(c) == 1) {
            openUnit(w, c, 0);
            openFinalizer(w, c);
            w.s.mode = WHOLE;
            decide(w, result(w, c, dot(w, c, 0)));
            return;
        }
        for (uint256 u = 0; u < units(c); ++u) {
            delete w.openings;
            openUnit(w, c, u);
            int256 next = acc + dot(w, c, u);
            decideSegment(w, uint64(u), acc, next);
            acc = next;
        }
        delete w.openings;
        openFinalizer(w, c);
        (w.s.mode, w.s.accIn) = (FINALIZE, acc);
        decide(w, result(w, c, acc));
        // A sum that reaches the range of Fx, which random weights never do.
        w.s.accIn = int256(uint256(keccak256(abi.encode(acc))) % 2 ** 56) - 2 ** 55;
        decide(w, result(w, c, w.s.accIn));
    }

    /// forge-config: default.fuzz.runs = 48
    function testFuzz_linear_everyFormat(uint256 seed, uint256 k, uint256 n) external view {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        Case memory c;
        c.format = seed % 8 == 0 ? 0 : 1 + (seed >> 3) % 3;
        c.k = c.format == 0 ? bound(k, 1, 600) : 32 * bound(k, 1, 70);
        c.n = bound(n, 1, 700);
        c.row = (seed >> 8) % c.n;
        c.bias = (seed >> 60) % 2 == 0;
        c.residual = (seed >> 61) % 2 == 0;
        decideAll(build(c, seed >> 64), c);
    }

    /// Every weight and every activation at an end of its range, in each format: no lane of the
    /// product carries.
    function test_linear_extremeBlocks() external view {
        for (uint256 format = 1; format < 4; ++format) {
            for (uint256 i = 0; i < 16; ++i) {
                Case memory c = Case(format, 1, 64, 0, false, false);
                World memory w = build(c, 0);
                uint256 size = Naive.blockBytes(format);
                bytes memory leaf = w.weights[0].data;
                for (uint256 j = 0; j < leaf.length; ++j) {
                    bool head = j % size < (format == 3 ? 4 : 2);
                    // Scales of 1 and −1 keep the sums readable.
                    if (head) leaf[j] = j % 2 == 0 ? bytes1(0) : bytes1(i % 2 == 0 ? 0x3c : 0xbc);
                    else leaf[j] = [bytes1(0x80), 0x7f, 0xff, 0x00][i / 4];
                }
                for (uint256 j = 0; j < 64; ++j) {
                    (bytes1 low, bytes1 high) =
                        i % 4 < 2 ? (bytes1(0x00), bytes1(0x80)) : (bytes1(0xff), bytes1(0x7f));
                    (w.tensors[INPUT][2 * j], w.tensors[INPUT][2 * j + 1]) = (low, high);
                }
                w.tensors[INPUT][128] = 0x10;
                seal(w);
                decideAll(w, c);
            }
        }
    }

    function test_linear_unit_corrupted_reverts() external view {
        Case memory c = Case(1, 300, 1600, 17, true, true);
        World memory w = build(c, 7);
        openUnit(w, c, 1);
        decideSegment(w, 1, 5, 5 + dot(w, c, 1));
        refusesCorruption(w);
    }

    function test_linear_finalizer_corrupted_reverts() external view {
        Case memory c = Case(3, 300, 1600, 299, true, true);
        World memory w = build(c, 8);
        openFinalizer(w, c);
        (w.s.mode, w.s.accIn) = (FINALIZE, 123456789012345);
        decide(w, result(w, c, w.s.accIn));
        refusesCorruption(w);
    }

    function test_linear_wrongOrder_reverts() external view {
        Case memory c = Case(2, 40, 512, 3, false, false);
        World memory w = build(c, 9);
        openStepRange(w, INPUT, 0, 1024);
        openUnit(w, c, 0);
        refuses(w, Openings.WrongDataLength.selector, "activations before weights");
    }

    function test_linear_weightsOfNextRow_reverts() external view {
        Case memory c = Case(1, 40, 512, 3, false, false);
        World memory w = build(c, 10);
        openUnit(w, c, 0);
        openFinalizer(w, c);
        w.s.element = 4;
        refuses(w, Openings.WrongPath.selector, "another row's weights");
    }

    function test_linear_weightsOutsideTree_reverts() external view {
        Case memory c = Case(1, 40, 512, 3, false, false);
        World memory w = build(c, 10);
        openUnit(w, c, 0);
        openFinalizer(w, c);
        w.s.weightLeaves = 1003;
        refuses(w, Openings.OutsideTree.selector, "a leaf that the tree doesn't have");
    }

    function test_linear_forwardReference_reverts() external view {
        Case memory c = Case(1, 40, 512, 3, false, false);
        World memory w = build(c, 11);
        openUnit(w, c, 0);
        openFinalizer(w, c);
        w.s.step = uint32(INPUT);
        refuses(w, Openings.ForwardReference.selector, "its own step as input");
        w.s.step = uint32(INPUT) - 1;
        refuses(w, Openings.ForwardReference.selector, "a later step as input");
        w.s.step = uint32(INPUT) + 1;
        w.s.blockSteps = uint32(INPUT);
        refuses(w, Openings.OutsideTree.selector, "a step that this block doesn't have");
    }
}
