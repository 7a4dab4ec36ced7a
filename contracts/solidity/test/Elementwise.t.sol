// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Opening} from "../interfaces/IStepVerifier.sol";
import {Elementwise} from "../libraries/Elementwise.sol";
import {Openings} from "../libraries/Openings.sol";
import {Naive} from "./support/Naive.sol";
import {Known, Sparse} from "./support/Sparse.sol";
import {Trees} from "./support/Trees.sol";
import {World, WorldTest} from "./support/World.sol";

contract ElementwiseTest is WorldTest {
    uint256 private constant INPUT = 6;
    uint256 private constant BASE = 900;

    // ---------------------------------------------------------------- embed

    function buildEmbed(uint256 format, uint256 n, uint256 i, uint32 t, uint256 seed)
        private
        pure
        returns (World memory w)
    {
        bytes32 d0 = word0(
            0, format, [uint256(0xffff), 0xffff, 0xffff], [n, n, 1000, 0], BASE, 0xffffffff
        );
        w = world(t, d0, 0);
        w.s.promptLength = 300;
        w.s.outputLength = 700;
        w.s.element = uint32(i);
        w.prompt = tokens(300, seed);
        w.output = tokens(700, seed + 1);
        uint256 token = t < 300 ? Naive.u(w.prompt, 4 * t, 4) : Naive.u(w.output, 4 * (t - 300), 4);
        uint256 size = format == 0 ? 256 : 1024;
        uint256 perRow = (n + size - 1) / size;
        uint256 u = i / size;
        uint256 left = n - u * size < size ? n - u * size : size;
        uint256 length = left * Naive.blockBytes(format) / (format == 0 ? 1 : 32);
        addWeights(w, BASE + token * perRow + u, randomBytes(seed + 2, length));
        seal(w);
        openToken(w);
        openWeights(w, BASE + token * perRow + u);
    }

    function tokens(uint256 count, uint256 seed) private pure returns (bytes memory packed) {
        packed = new bytes(4 * count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 token = uint256(keccak256(abi.encode(seed, i))) % 1000;
            packed[4 * i] = bytes1(uint8(token));
            packed[4 * i + 1] = bytes1(uint8(token >> 8));
        }
    }

    /// forge-config: default.fuzz.runs = 48
    function testFuzz_embed(uint256 seed, uint256 t) external view {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        uint256 format = seed % 4;
        uint256 n = format == 0 ? 1 + (seed >> 8) % 700 : 32 * (1 + (seed >> 8) % 60);
        uint256 i = (seed >> 32) % n;
        World memory w = buildEmbed(format, n, i, uint32(bound(t, 0, 998)), seed >> 64);
        uint256 size = format == 0 ? 256 : 1024;
        decide(w, Naive.embed(format, w.weights[0].data, i % size));
    }

    function test_embed_corrupted_reverts() external view {
        World memory w = buildEmbed(1, 1056, 1030, 700, 2);
        decide(w, Naive.embed(1, w.weights[0].data, 6));
        refusesCorruption(w);
    }

    function test_embed_outsideVocabulary_reverts() external view {
        World memory w = buildEmbed(1, 64, 3, 20, 2);
        w.prompt[80] = 0xe8;
        w.prompt[81] = 0x03;
        seal(w);
        openToken(w);
        refuses(w, Elementwise.OutsideVocabulary.selector, "token 1000 of 1000");
    }

    function test_embed_tokenAfterTheLast_reverts() external view {
        World memory w = buildEmbed(1, 64, 3, 998, 2);
        w.s.outputLength = 698;
        refuses(w, Openings.OutsideTree.selector, "a token that nobody posted");
    }

    // ---------------------------------------------------------------- rope

    function buildRope(uint256 heads, uint256 k, uint256 rotated, uint256 i, uint256 seed)
        private
        pure
        returns (World memory w)
    {
        bytes32 d0 = word0(4, 0, [INPUT, 0xffff, 0xffff], [heads * k, k, 0, 0], BASE, 0xffffffff);
        uint32 t = uint32(seed % 50);
        w = world(t, d0, word1(rotated, 0, 0));
        w.s.element = uint32(i);
        w.tensors[INPUT] = randomBytes(seed, 4 * heads * k);
        uint256 u = i % k / 256;
        if (i % k < rotated) {
            uint256 left = rotated - 256 * u < 256 ? rotated - 256 * u : 256;
            addWeights(w, BASE + t * ((rotated + 255) / 256) + u, randomBytes(seed + 1, 4 * left));
        }
        seal(w);
        openStep(w, INPUT, 4 * i / 1024);
        if (i % k < rotated) openWeights(w, w.weights[0].index);
    }

    function turned(World memory w, uint256 k, uint256 rotated, uint256 i)
        private
        pure
        returns (int256)
    {
        bytes memory x = w.tensors[INPUT];
        if (i % k >= rotated) return Naive.i32(x, i);
        uint256 even = i - i % 2;
        uint256 pair = even % k % 256;
        int256 cos = Naive.i32(w.weights[0].data, pair);
        int256 sin = Naive.i32(w.weights[0].data, pair + 1);
        return Naive.rope(Naive.i32(x, even), Naive.i32(x, even + 1), cos, sin, i % 2 == 1);
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_rope(uint256 seed) external view {
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        (uint256 heads, uint256 k) = (1 + seed % 9, 2 * (1 + (seed >> 8) % 150));
        uint256 rotated = (seed >> 16) % 3 == 0 ? k : 2 * ((seed >> 24) % (k / 2 + 1));
        uint256 i = (seed >> 40) % (heads * k);
        World memory w = buildRope(heads, k, rotated, i, seed >> 64);
        decide(w, turned(w, k, rotated, i));
    }

    function test_rope_corrupted_reverts() external view {
        World memory w = buildRope(9, 64, 64, 575, 4);
        decide(w, turned(w, 64, 64, 575));
        refusesCorruption(w);
        w = buildRope(9, 64, 32, 570, 4);
        decide(w, turned(w, 64, 32, 570));
        refusesCorruption(w);
    }

    // ---------------------------------------------------------------- swiglu

    function testFuzz_gated(int32 gate, int32 up, uint256 shift) external pure {
        assertEq(Elementwise.gated(gate, up), Naive.swiGlu(gate, up));
        int256 small = int256(gate) >> bound(shift, 0, 31);
        assertEq(Elementwise.gated(small, up), Naive.swiGlu(small, up));
    }

    function test_gated_ends() external pure {
        int256[6] memory ends = [int256(-(2 ** 31)), -(2 ** 31 - 1), -1, 0, 1, 2 ** 31 - 1];
        for (uint256 i = 0; i < 36; ++i) {
            (int256 gate, int256 up) = (ends[i / 6], ends[i % 6]);
            assertEq(Elementwise.gated(gate, up), Naive.swiGlu(gate, up));
        }
        assertEq(Elementwise.gated(2 ** 31 - 1, 2 ** 31 - 1), 2 ** 31 - 1);
        assertEq(Elementwise.gated(0, 4096), 0);
    }

    /// forge-config: default.fuzz.runs = 32
    function testFuzz_swiGlu(uint256 seed, uint256 n) external view {
        n = bound(n, 1, 900);
        seed = uint256(keccak256(abi.encode(seed))) >> 8;
        (World memory w, uint256 i) = buildSwiGlu(n, seed);
        decide(w, Naive.swiGlu(Naive.i32(w.tensors[2], i), Naive.i32(w.tensors[8], i)));
    }

    function test_swiGlu_corrupted_reverts() external view {
        (World memory w, uint256 i) = buildSwiGlu(700, 6);
        decide(w, Naive.swiGlu(Naive.i32(w.tensors[2], i), Naive.i32(w.tensors[8], i)));
        refusesCorruption(w);
    }

    function buildSwiGlu(uint256 n, uint256 seed) private pure returns (World memory w, uint256 i) {
        bytes32 d0 = word0(10, 0, [uint256(2), 8, 0xffff], [n, 0, 0, 0], 0xffffffff, 0xffffffff);
        w = world(3, d0, 0);
        w.tensors[2] = randomBytes(seed, 4 * n);
        w.tensors[8] = randomBytes(seed + 1, 4 * n);
        seal(w);
        i = (seed >> 32) % n;
        w.s.element = uint32(i);
        openStep(w, 2, i / 256);
        openStep(w, 8, i / 256);
    }
}

contract CollectTest is WorldTest {
    uint256 private constant CARRIED_STEP = 4;

    /// Slot 3 is filled by step 4.
    function build(uint256 element, uint256 slot, uint256 step)
        private
        pure
        returns (World memory w)
    {
        bytes32 d0 = word0(
            11, 0, [uint256(0xffff), 0xffff, 0xffff], [uint256(60), 0, 0, 0], 0xffffffff, 0xffffffff
        );
        w = world(3, d0, 0);
        w.s.element = uint32(element);
        w.tensors[CARRIED_STEP] = randomBytes(4, 2500);
        w.tensors[STEP - 1] = randomBytes(4, 100);
        seal(w);
        bytes memory descriptor = abi.encode(keccak256("d0"), word1(0, 0, slot));
        Known[] memory program = new Known[](1);
        program[0] = Known(step, Trees.leaf(descriptor));
        uint256 levels = Trees.depth(w.s.programSteps);
        w.s.programRoot = Sparse.root(program, levels);
        bytes memory data = bytes.concat(bytes1(uint8(step)), hex"000000", descriptor);
        push(w, data, Sparse.proof(program, levels, step));
        Known[] memory steps = new Known[](2);
        steps[0] = Known(CARRIED_STEP, Trees.root(Trees.chunks(w.tensors[CARRIED_STEP])));
        steps[1] = Known(STEP - 1, Trees.root(Trees.chunks(w.tensors[STEP - 1])));
        bytes32 root = step == CARRIED_STEP ? steps[0].hash : steps[1].hash;
        push(w, abi.encode(root), Sparse.proof(steps, Trees.depth(w.s.blockSteps), step));
    }

    function rootOf(World memory w) private pure returns (int256) {
        return int256(uint256(Trees.root(Trees.chunks(w.tensors[CARRIED_STEP]))));
    }

    function test_collect_isTheStepsRoot() external view {
        World memory w = build(2, 3, CARRIED_STEP);
        decide(w, rootOf(w));
    }

    function test_collect_corrupted_reverts() external view {
        World memory w = build(2, 3, CARRIED_STEP);
        w.s.claimed = rootOf(w);
        refusesCorruption(w);
    }

    /// A flipped bit of the step's index: a later step, or another descriptor's place.
    function _flipError(World memory, uint256 i, uint256 place)
        internal
        pure
        override
        returns (bytes4)
    {
        bool late = i == 0 && place < 4;
        return late ? Openings.ForwardReference.selector : Openings.WrongPath.selector;
    }

    function test_collect_stepIndex_reverts() external view {
        World memory w = build(2, 3, CARRIED_STEP);
        Opening memory o = w.openings[0];
        o.data[0] = 0x05;
        refuses(w, Openings.WrongPath.selector, "another step's index");
        o.data[0] = bytes1(uint8(STEP));
        refuses(w, Openings.ForwardReference.selector, "its own index");
        o.data[0] = 0x04;
        o.data[3] = 0x01;
        refuses(w, Openings.ForwardReference.selector, "an index of four bytes");
    }

    function test_collect_wrongSlot_reverts() external view {
        refuses(build(2, 4, CARRIED_STEP), Elementwise.WrongSlot.selector, "the next slot");
        refuses(build(2, 0, CARRIED_STEP), Elementwise.WrongSlot.selector, "no slot");
        refuses(build(2, 2, CARRIED_STEP), Elementwise.WrongSlot.selector, "the slot before");
    }

    function test_collect_otherStepsRoot_reverts() external view {
        World memory w = build(2, 3, CARRIED_STEP);
        World memory other = build(2, 3, STEP - 1);
        assertEq(w.s.stepRoot, other.s.stepRoot);
        w.openings[1] = other.openings[1];
        refuses(w, Openings.WrongPath.selector, "a root of another step");
    }
}
