// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Opening, TensorShape} from "../interfaces/IStepVerifier.sol";
import {StepVerifier} from "../StepVerifier.sol";
import {BadDescriptor} from "../libraries/Descriptor.sol";
import {Openings} from "../libraries/Openings.sol";
import {Shapes} from "../libraries/Shapes.sol";
import {Naive} from "./support/Naive.sol";
import {World, WorldTest} from "./support/World.sol";

/// What holds for every op: shapes, folds, decoding, modes, and the one spelling of a witness.
contract StepVerifierTest is WorldTest {
    uint256 private constant NONE = 0xffff;

    function d0Of(uint256 op, uint256 n, uint256 k, uint256 groups, uint256 kv)
        private
        pure
        returns (bytes32)
    {
        return word0(op, 1, [uint256(1), 2, 3], [n, k, groups, kv], 10, 0xffffffff);
    }

    function checkShape(
        bytes32 d0,
        bytes32 d1,
        uint32 t,
        uint256 byteLength,
        uint256 leaves,
        uint256 elements
    ) private view {
        TensorShape memory s = verifier.shape(d0, d1, t);
        assertEq(s.byteLength, byteLength, "bytes");
        assertEq(s.leaves, leaves, "leaves");
        assertEq(s.elements, elements, "elements");
    }

    function checkFold(bytes32 d0, bytes32 d1, uint32 t, uint32 element, uint256 units, int256 init)
        private
        view
    {
        (uint64 gotUnits, int256 gotInit) = verifier.fold(d0, d1, t, element);
        assertEq(gotUnits, units, "units");
        assertEq(gotInit, init, "init");
    }

    // ---------------------------------------------------------------- shape, fold

    function test_shape_everyOp() external view {
        checkShape(d0Of(0, 576, 576, 100, 0), 0, 7, 2304, 3, 576);
        checkShape(d0Of(1, 256, 0, 0, 0), 0, 7, 1024, 1, 256);
        checkShape(d0Of(2, 576, 0, 9, 0), word1(12, 0, 0), 7, 1161, 2, 585);
        checkShape(d0Of(2, 512, 0, 1, 0), word1(15, 0, 0), 7, 1025, 2, 513);
        checkShape(d0Of(3, 257, 64, 0, 0), 0, 7, 1028, 2, 257);
        checkShape(d0Of(4, 128, 64, 0, 0), word1(64, 0, 0), 7, 512, 1, 128);
        checkShape(d0Of(5, 0, 64, 9, 3), 0, 99, 3600, 4, 900);
        checkShape(d0Of(6, 0, 0, 9, 0), 0, 99, 36, 1, 9);
        checkShape(d0Of(7, 0, 0, 9, 0), 0, 99, 1800, 2, 900);
        checkShape(d0Of(8, 0, 0, 9, 0), 0, 99, 36, 1, 9);
        checkShape(d0Of(9, 0, 64, 9, 3), 0, 99, 2304, 3, 576);
        checkShape(d0Of(10, 1536, 0, 0, 0), 0, 7, 6144, 6, 1536);
        checkShape(d0Of(11, 60, 0, 0, 0), 0, 7, 0, 60, 60);
        checkShape(d0Of(12, 1, 49152, 0, 0), 0, 7, 4, 1, 1);
    }

    function test_fold_everyOp() external view {
        int256 lowest = -(2 ** 127);
        checkFold(d0Of(0, 64, 64, 100, 0), 0, 7, 63, 1, 0);
        checkFold(d0Of(1, 257, 0, 0, 0), 0, 7, 3, 2, 0);
        checkFold(d0Of(2, 576, 0, 1, 0), word1(15, 0, 0), 7, 576, 3, 0);
        checkFold(d0Of(2, 576, 0, 9, 0), word1(12, 0, 0), 7, 584, 1, 0);
        checkFold(d0Of(3, 257, 1536, 0, 0), 0, 7, 0, 2, 0);
        checkFold(
            word0(3, 0, [uint256(1), NONE, NONE], [uint256(2), 257, 0, 0], 1, 1), 0, 7, 0, 2, 0
        );
        checkFold(d0Of(4, 128, 64, 0, 0), word1(64, 0, 0), 7, 5, 1, 0);
        checkFold(d0Of(5, 0, 64, 9, 3), 0, 99, 899, 1, 0);
        checkFold(d0Of(6, 0, 0, 9, 0), 0, 255, 8, 1, lowest);
        checkFold(d0Of(6, 0, 0, 9, 0), 0, 256, 8, 2, lowest);
        checkFold(d0Of(7, 0, 0, 9, 0), 0, 99, 5, 1, 0);
        checkFold(d0Of(8, 0, 0, 9, 0), 0, 511, 5, 1, 0);
        checkFold(d0Of(8, 0, 0, 9, 0), 0, 512, 5, 2, 0);
        checkFold(d0Of(9, 0, 64, 9, 3), 0, 99, 5, 100, 0);
        checkFold(d0Of(10, 1536, 0, 0, 0), 0, 7, 5, 1, 0);
        checkFold(d0Of(11, 60, 0, 0, 0), 0, 7, 59, 1, 0);
        checkFold(d0Of(12, 1, 49152, 0, 0), 0, 7, 0, 192, lowest);
    }

    function test_fold_elementOutside_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(Shapes.ElementOutsideTensor.selector, 585, 585));
        verifier.fold(d0Of(2, 576, 0, 9, 0), word1(12, 0, 0), 7, 585);
    }

    /// Descriptors that divide by zero, or whose sizes don't fit together.
    function test_shape_badDescriptor_reverts() external {
        refusesDescriptor(d0Of(13, 1, 1, 1, 1), 0);
        refusesDescriptor(d0Of(255, 1, 1, 1, 1), 0);
        refusesDescriptor(d0Of(0, 64, 32, 1, 0), 0);
        refusesDescriptor(d0Of(0, 0, 0, 1, 0), 0);
        refusesDescriptor(d0Of(1, 0, 0, 0, 0), 0);
        refusesDescriptor(d0Of(2, 64, 0, 0, 0), word1(15, 0, 0));
        refusesDescriptor(d0Of(2, 64, 0, 3, 0), word1(15, 0, 0));
        refusesDescriptor(d0Of(2, 64, 0, 1, 0), word1(16, 0, 0));
        refusesDescriptor(d0Of(3, 0, 64, 0, 0), 0);
        refusesDescriptor(d0Of(3, 4, 0, 0, 0), 0);
        refusesDescriptor(d0Of(3, 4, 33, 0, 0), 0);
        refusesDescriptor(word0(3, 4, [uint256(1), NONE, NONE], [uint256(4), 64, 0, 0], 0, 0), 0);
        refusesDescriptor(d0Of(4, 64, 0, 0, 0), 0);
        refusesDescriptor(d0Of(4, 64, 33, 0, 0), 0);
        refusesDescriptor(d0Of(4, 66, 33, 0, 0), 0);
        refusesDescriptor(d0Of(4, 64, 64, 0, 0), word1(66, 0, 0));
        refusesDescriptor(d0Of(4, 64, 64, 0, 0), word1(3, 0, 0));
        refusesDescriptor(d0Of(5, 0, 64, 9, 0), 0);
        refusesDescriptor(d0Of(5, 0, 64, 9, 2), 0);
        refusesDescriptor(d0Of(5, 0, 0, 9, 3), 0);
        refusesDescriptor(d0Of(5, 0, 64, 2 ** 31, 2 ** 31), 0);
        refusesDescriptor(d0Of(6, 0, 0, 0, 0), 0);
        refusesDescriptor(d0Of(7, 0, 0, 0, 0), 0);
        refusesDescriptor(d0Of(8, 0, 0, 0, 0), 0);
        refusesDescriptor(d0Of(9, 0, 64, 0, 3), 0);
        refusesDescriptor(d0Of(10, 0, 0, 0, 0), 0);
        refusesDescriptor(d0Of(11, 0, 0, 0, 0), 0);
        refusesDescriptor(d0Of(12, 1, 0, 0, 0), 0);
    }

    function refusesDescriptor(bytes32 d0, bytes32 d1) private {
        vm.expectRevert(abi.encodeWithSelector(BadDescriptor.selector, d0, d1));
        verifier.shape(d0, d1, 3);
    }

    // ---------------------------------------------------------------- decode

    function testFuzz_decode(uint256 seed, uint256 op, uint256 element) external view {
        op = bound(op, 0, 12);
        if (op == 11) op = 3;
        bytes32 d0 = d0Of(op, op == 12 ? 1 : 640, op == 0 ? 640 : 64, 10, 5);
        bytes32 d1 = word1(12, 0, 0);
        TensorShape memory s = verifier.shape(d0, d1, 149);
        element = bound(element, 0, s.elements - 1);
        bytes memory tensor = randomBytes(seed, s.byteLength);
        (uint256 from, uint256 width) = (4 * element, 4);
        if (op == 7 || op == 2) (from, width) = (2 * element, 2);
        if (op == 2 && element >= 640) (from, width) = (640 + element, 1);
        bool unsigned = op == 7 || op == 8 || op == 12 || width == 1;
        int256 expected =
            unsigned ? int256(Naive.u(tensor, from, width)) : Naive.i(tensor, from, width);
        uint32 leaf = uint32(from / 1024);
        uint256 left = s.byteLength - 1024 * leaf;
        bytes memory data = slice(tensor, 1024 * leaf, left < 1024 ? left : 1024);
        assertEq(verifier.decode(d0, d1, 149, leaf, uint32(element), data), expected);
    }

    function test_decode_wrongLeaf_reverts() external {
        bytes32 d0 = d0Of(3, 600, 64, 0, 0);
        bytes memory data = new bytes(1024);
        assertEq(verifier.decode(d0, 0, 3, 1, 256, data), 0);
        vm.expectRevert(abi.encodeWithSelector(StepVerifier.ElementOutsideLeaf.selector, 256, 0));
        verifier.decode(d0, 0, 3, 0, 256, data);
        vm.expectRevert(abi.encodeWithSelector(StepVerifier.ElementOutsideLeaf.selector, 255, 1));
        verifier.decode(d0, 0, 3, 1, 255, data);
        vm.expectRevert(abi.encodeWithSelector(Shapes.ElementOutsideTensor.selector, 600, 600));
        verifier.decode(d0, 0, 3, 2, 600, data);
    }

    function test_decode_wrongLength_reverts() external {
        bytes32 d0 = d0Of(3, 600, 64, 0, 0);
        bytes4 selector = StepVerifier.WrongLeafLength.selector;
        vm.expectRevert(abi.encodeWithSelector(selector, 352, 351));
        verifier.decode(d0, 0, 3, 2, 512, new bytes(351));
        vm.expectRevert(abi.encodeWithSelector(selector, 352, 353));
        verifier.decode(d0, 0, 3, 2, 512, new bytes(353));
        vm.expectRevert(abi.encodeWithSelector(selector, 1024, 352));
        verifier.decode(d0, 0, 3, 1, 511, new bytes(352));
    }

    function test_decode_collect_reverts() external {
        vm.expectRevert(StepVerifier.NoBytes.selector);
        verifier.decode(d0Of(11, 60, 0, 0, 0), 0, 3, 0, 0, "");
    }

    // ---------------------------------------------------------------- modes

    /// A map over two leaves, and its witness.
    function swiGlu() private pure returns (World memory w) {
        w = world(3, word0(10, 0, [uint256(1), 2, NONE], [uint256(9), 0, 0, 0], 0, 0), 0);
        w.tensors[1] = randomBytes(2, 36);
        w.tensors[2] = randomBytes(4, 36);
        seal(w);
        openStep(w, 1, 0);
        openStep(w, 2, 0);
        w.s.claimed = Naive.swiGlu(Naive.i32(w.tensors[1], 0), Naive.i32(w.tensors[2], 0));
    }

    function test_mode_ofOtherFold_reverts() external view {
        World memory w = swiGlu();
        assertTrue(verdict(w));
        w.s.mode = SEGMENT;
        refuses(w, StepVerifier.WrongMode.selector, "a segment of a map");
        w.s.mode = FINALIZE;
        refuses(w, StepVerifier.WrongMode.selector, "the finalizer of a map alone");
        w.s.mode = 3;
        refuses(w, StepVerifier.WrongMode.selector, "no mode");
        w.s.d0 = d0Of(6, 0, 0, 1, 0);
        w.s.blockIndex = 256;
        w.s.mode = WHOLE;
        refuses(w, StepVerifier.WrongMode.selector, "two units at once");
        w.s.mode = 3;
        refuses(w, StepVerifier.WrongMode.selector, "no mode of a fold");
        (w.s.mode, w.s.unit) = (SEGMENT, 2);
        refuses(w, StepVerifier.UnitOutsideFold.selector, "a unit too many");
        w.s.element = 1;
        refuses(w, Shapes.ElementOutsideTensor.selector, "a head too many");
    }

    // ---------------------------------------------------------------- witnesses

    /// Each word of the encoding matters: changed by one anywhere outside of the data it is
    /// refused, or proves something else.
    function test_witness_everyWordMatters() external view {
        World memory w = swiGlu();
        bytes memory good = abi.encode(w.openings);
        for (uint256 i = 0; i < good.length; i += 32) {
            bytes memory bad = bytes.concat(good);
            bad[i + 31] ^= 0x01;
            assertRefused(w, bad);
            bad = bytes.concat(good);
            bad[i] ^= 0x80;
            assertRefused(w, bad);
        }
    }

    function test_witness_otherLayout_reverts() external view {
        World memory w = swiGlu();
        // The same openings with the second one first in the bytes, as an ABI decoder would also
        // accept.
        bytes memory first = abi.encode(w.openings[0].data, w.openings[0].proof);
        bytes memory second = abi.encode(w.openings[1].data, w.openings[1].proof);
        assertEq(first.length, second.length);
        bytes memory head = abi.encode(32, 2, 64, 64 + first.length);
        assertEq(keccak256(bytes.concat(head, first, second)), keccak256(abi.encode(w.openings)));
        head = abi.encode(32, 2, 64 + first.length, 64);
        Opening[] memory decoded = abi.decode(bytes.concat(head, second, first), (Opening[]));
        assertEq(keccak256(decoded[0].data), keccak256(w.openings[0].data));
        bytes4 malformed = Openings.WitnessMalformed.selector;
        refusesBytes(w, bytes.concat(head, second, first), malformed, "openings out of order");
        // Padding that isn't zero: 36 bytes of data leave 28 of it.
        bytes memory bad = abi.encode(w.openings);
        uint256 padding = 64 + 64 + 96 + 36;
        for (uint256 i = 0; i < 28; i += 9) {
            bad[padding + i] = 0x01;
            refusesBytes(w, bad, malformed, "padding");
            bad[padding + i] = 0x00;
        }
        assertTrue(verifier.verify(w.s, bad));
    }

    function test_witness_hugeNumbers_revert() external view {
        World memory w = swiGlu();
        bytes memory good = abi.encode(w.openings);
        for (uint256 i = 0; i < 12; ++i) {
            bytes memory bad = bytes.concat(good);
            for (uint256 j = 0; j < 32; ++j) {
                bad[32 * i + j] = 0xff;
            }
            assertRefused(w, bad);
        }
        for (uint256 length = 0; length < good.length; length += 13) {
            assertRefused(w, cut(good, length));
        }
    }

    function assertRefused(World memory w, bytes memory witness) private view {
        try verifier.verify(w.s, witness) returns (bool) {
            revert NotTrue("not refused");
        } catch (bytes memory reason) {
            assertTrue(reason.length >= 4 && bytes4(reason) != bytes4(0x4e487b71), "a typed error");
        }
    }
}
