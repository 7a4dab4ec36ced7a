// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {StepVerifier} from "../StepVerifier.sol";
import {Known, Sparse} from "./support/Sparse.sol";
import {Trees} from "./support/Trees.sol";
import {World, WorldTest} from "./support/World.sol";

/// What the dearest step of each op costs, with the calldata of its witness, for a large model: a
/// million weight leaves, context 4,096, 64 heads. Run with -vv to see the figures; those of the
/// transaction are held against the committed contracts/snapshots/verifier.json.
contract VerifierGasTest is WorldTest {
    uint256 private constant BASE = 1000;
    uint256 private constant NONE = 0xffff;
    uint256 private constant NO_LEAF = 0xffffffff;
    /// What a final step may cost; the game adds its own part.
    uint256 private constant STEP_GAS_MAX = 900_000;

    function large(uint32 t, bytes32 d0, bytes32 d1) private pure returns (World memory w) {
        w = world(t, d0, d1);
        w.s.weightLeaves = 1 << 20;
        w.s.programSteps = 2000;
        w.s.blockSteps = 2000;
        w.s.carried = 160;
        w.s.blocks = 4096;
    }

    /// Gas of the call, and of a transaction with this calldata: 16 or 4 a byte, and at least 40 or
    /// 10 where EIP-7623 holds.
    function measure(World memory w, string memory what) private {
        bytes memory input = abi.encodeCall(StepVerifier.verify, (w.s, abi.encode(w.openings)));
        uint256 calldataGas;
        for (uint256 i = 0; i < input.length; ++i) {
            calldataGas += input[i] == 0 ? 4 : 16;
        }
        uint256 before = gasleft();
        (bool ok,) = address(verifier).staticcall(input);
        uint256 used = before - gasleft();
        assertTrue(ok, what);
        uint256 floor = calldataGas * 5 / 2;
        uint256 total = 21_000 + (used + calldataGas > floor ? used + calldataGas : floor);
        emit log_named_uint(string.concat(what, ": execution"), used);
        emit log_named_uint(string.concat(what, ": transaction"), total);
        vm.snapshotValue("verifier", what, total);
        assertTrue(total < STEP_GAS_MAX, what);
    }

    function test_gas_linear() external {
        for (uint256 format = 1; format < 4; ++format) {
            uint256 size = 32 * [uint256(0), 34, 18, 20][format];
            bytes32 d0 =
                word0(3, format, [uint256(2), 4, NONE], [uint256(4096), 4096, 0, 0], BASE, 100_000);
            World memory w = large(100, d0, 0);
            w.tensors[2] = randomBytes(2, 8193);
            w.tensors[4] = randomBytes(4, 4 * 4096);
            addWeights(w, BASE + 4 * 77 + 3, randomBytes(6, size));
            addWeights(w, 100_000, randomBytes(8, 1024));
            seal(w);
            w.s.element = 77;
            (w.s.mode, w.s.unit) = (SEGMENT, 3);
            openWeights(w, BASE + 4 * 77 + 3);
            openStepRange(w, 2, 6144, 2048);
            measure(w, string.concat("linear, format ", vm.toString(format)));
            if (format > 1) continue;
            delete w.openings;
            w.s.mode = FINALIZE;
            openStep(w, 2, 8);
            openWeights(w, 100_000);
            openStep(w, 4, 0);
            measure(w, "linear, finalizer");
        }
    }

    /// One unit and the finalizer at once: the most openings that a linear has.
    function test_gas_linearWhole() external {
        bytes32 d0 = word0(3, 1, [uint256(2), 4, NONE], [uint256(1024), 1024, 0, 0], BASE, 100_000);
        World memory w = large(100, d0, 0);
        w.tensors[2] = randomBytes(2, 2049);
        w.tensors[4] = randomBytes(4, 4096);
        addWeights(w, BASE + 77, randomBytes(6, 1088));
        addWeights(w, 100_000, randomBytes(8, 1024));
        seal(w);
        w.s.element = 77;
        openWeights(w, BASE + 77);
        openStepRange(w, 2, 0, 2048);
        openStep(w, 2, 2);
        openWeights(w, 100_000);
        openStep(w, 4, 0);
        measure(w, "linear, whole");
    }

    function test_gas_norms() external {
        bytes32 d0 = word0(1, 0, [uint256(2), NONE, NONE], [uint256(256), 0, 0, 0], BASE, NO_LEAF);
        World memory w = large(100, d0, word1(168, 20, 0));
        w.tensors[2] = randomBytes(2, 1024);
        addWeights(w, BASE, randomBytes(6, 1024));
        seal(w);
        openStep(w, 2, 0);
        openStep(w, 2, 0);
        openWeights(w, BASE);
        measure(w, "rms norm, whole");
        // A group that doesn't start at a leaf's start.
        d0 = word0(2, 0, [uint256(2), NONE, NONE], [uint256(600), 0, 3, 0], NO_LEAF, NO_LEAF);
        w = large(100, d0, word1(15, 0, 0));
        w.tensors[2] = randomBytes(2, 2400);
        seal(w);
        w.s.element = 211;
        openStepRange(w, 2, 800, 800);
        openStep(w, 2, 0);
        measure(w, "quantize, whole");
    }

    function test_gas_attention() external {
        (uint256 heads, uint256 kv, uint256 k) = (64, 8, 256);
        uint32 t = 300;
        bytes32 d0 = word0(5, 0, [uint256(2), 4, NONE], [0, k, heads, kv], NO_LEAF, NO_LEAF);
        World memory w = large(t, d0, word1(10 ** 9, 7, 0));
        w.tensors[2] = randomBytes(2, heads * (2 * k + 1));
        w.tensors[4] = randomBytes(4, kv * (2 * k + 1));
        addCached(w, 200, 7, w.tensors[4]);
        seal(w);
        w.s.element = 9 * (t + 1) + 200;
        openStepRange(w, 2, 2 * 9 * k, 2 * k);
        openStepRange(w, 2, 2 * heads * k + 9, 1);
        openCached(w, 200, 7, 2 * k / 1024);
        openCached(w, 200, 7, 2 * kv * k / 1024);
        measure(w, "scores");
        d0 = word0(9, 0, [uint256(6), 7, 4], [0, k, heads, kv], NO_LEAF, NO_LEAF);
        (w.s.d0, w.s.d1) = (d0, word1(0, 7, 0));
        w.tensors[6] = randomBytes(6, 2 * heads * (t + 1));
        seal(w);
        w.s.element = uint32(9 * k);
        (w.s.mode, w.s.unit) = (SEGMENT, 200);
        openStep(w, 6, 2 * (9 * (t + 1) + 200) / 1024);
        openCached(w, 200, 7, 2 * k / 1024);
        openCached(w, 200, 7, 2 * kv * k / 1024);
        measure(w, "mix");
    }

    function test_gas_reductions() external {
        uint32 t = 1000;
        uint256[4] memory sizes = [uint256(0), 0, 16, 0];
        bytes32 d0 = word0(6, 0, [uint256(2), NONE, NONE], sizes, NO_LEAF, NO_LEAF);
        World memory w = large(t, d0, 0);
        w.tensors[2] = randomBytes(2, 64 * 1001);
        seal(w);
        (w.s.mode, w.s.unit, w.s.element) = (SEGMENT, 1, 9);
        openStepRange(w, 2, 4 * (9 * 1001 + 256), 1024);
        measure(w, "max");
        w.s.d0 = word0(8, 0, [uint256(2), NONE, NONE], [0, 0, uint256(32), 0], NO_LEAF, NO_LEAF);
        w.s.unit = 0;
        delete w.openings;
        openStepRange(w, 2, 2 * 9 * 1001, 1024);
        measure(w, "sum");
        w.s.d0 =
            word0(12, 0, [uint256(2), NONE, NONE], [uint256(1), 16 * 1001, 0, 0], NO_LEAF, NO_LEAF);
        (w.s.unit, w.s.element) = (5, 0);
        delete w.openings;
        openStep(w, 2, 5);
        measure(w, "sample, greedy");
        (w.s.seed, w.s.temperature) = (1, 1 << 16);
        measure(w, "sample, drawn");
        w.s.d0 = word0(7, 0, [uint256(2), 3, NONE], [0, 0, uint256(16), 0], NO_LEAF, NO_LEAF);
        w.s.mode = WHOLE;
        w.tensors[3] = randomBytes(3, 64);
        seal(w);
        openStep(w, 2, 0);
        openStep(w, 3, 0);
        measure(w, "probs");
    }

    function test_gas_maps() external {
        bytes32 d0 = word0(0, 1, [NONE, NONE, NONE], [uint256(1024), 1024, 1 << 18, 0], BASE, 0);
        World memory w = large(100, d0, 0);
        w.s.promptLength = 4000;
        w.prompt = new bytes(16_000);
        addWeights(w, BASE, randomBytes(6, 1088));
        seal(w);
        openToken(w);
        openWeights(w, BASE);
        measure(w, "embed");
        d0 = word0(4, 0, [uint256(2), NONE, NONE], [uint256(4096), 256, 0, 0], BASE, NO_LEAF);
        w = large(100, d0, word1(256, 0, 0));
        w.tensors[2] = randomBytes(2, 4 * 4096);
        w.tensors[3] = randomBytes(4, 4 * 4096);
        addWeights(w, BASE + 100, randomBytes(6, 1024));
        seal(w);
        openStep(w, 2, 0);
        openWeights(w, BASE + 100);
        measure(w, "rope");
        w.s.d0 = word0(10, 0, [uint256(2), 3, NONE], [uint256(4096), 0, 0, 0], 0, 0);
        delete w.openings;
        openStep(w, 2, 0);
        openStep(w, 3, 0);
        measure(w, "swiglu");
    }

    function test_gas_collect() external {
        bytes32 none = word0(11, 0, [NONE, NONE, NONE], [uint256(160), 0, 0, 0], 0, 0);
        World memory w = large(100, none, 0);
        w.tensors[4] = randomBytes(4, 2500);
        seal(w);
        bytes memory descriptor = abi.encode(keccak256("d0"), word1(0, 0, 1));
        Known[] memory known = new Known[](1);
        known[0] = Known(4, Trees.leaf(descriptor));
        w.s.programRoot = Sparse.root(known, 11);
        push(w, bytes.concat(hex"04000000", descriptor), Sparse.proof(known, 11, 4));
        known[0].hash = Trees.root(Trees.chunks(w.tensors[4]));
        push(w, abi.encode(known[0].hash), Sparse.proof(known, 11, 4));
        measure(w, "collect");
    }
}
