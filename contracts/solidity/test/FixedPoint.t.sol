// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {FixedPoint} from "../libraries/FixedPoint.sol";
import {LittleEndian} from "../libraries/LittleEndian.sol";
import {Weights} from "../libraries/Weights.sol";
import {Naive} from "./support/Naive.sol";
import {Test} from "./support/Test.sol";

contract FixedPointTest is Test {
    function testFuzz_rshiftRound(int128 x, uint256 s) external pure {
        s = bound(s, 0, 200);
        assertEq(FixedPoint.rshiftRound(x, s), Naive.rshiftRound(x, s));
    }

    function test_rshiftRound_halfGoesUp() external pure {
        int256[8] memory x = [int256(-6), -5, -3, -2, 2, 3, 5, 6];
        int256[8] memory y = [int256(-1), -1, -1, 0, 1, 1, 1, 2];
        for (uint256 i = 0; i < 8; ++i) {
            assertEq(FixedPoint.rshiftRound(x[i], 2), y[i]);
        }
        assertEq(FixedPoint.rshiftRound(-7, 0), -7);
        assertEq(FixedPoint.rshiftRound(-7, 256), 0);
        assertEq(FixedPoint.rshiftRound(type(int256).min, 400), 0);
    }

    function test_sat32_ends() external pure {
        assertEq(FixedPoint.sat32(2 ** 31), 2 ** 31 - 1);
        assertEq(FixedPoint.sat32(-(2 ** 31)), -(2 ** 31 - 1));
        assertEq(FixedPoint.sat32(-(2 ** 31 - 1)), -(2 ** 31 - 1));
        assertEq(FixedPoint.sat32(type(int256).min), -(2 ** 31 - 1));
    }

    function test_bitlen_everyPowerOfTwo() external pure {
        assertEq(FixedPoint.bitlen(0), 0);
        for (uint256 i = 0; i < 256; ++i) {
            assertEq(FixedPoint.bitlen(uint256(1) << i), i + 1);
            assertEq(FixedPoint.bitlen((uint256(1) << i) - 1), i);
        }
        assertEq(FixedPoint.bitlen(type(uint256).max), 256);
    }

    function testFuzz_isqrt(uint64 x, uint256 shift) external pure {
        uint256 y = uint256(x) >> bound(shift, 0, 63);
        assertEq(FixedPoint.isqrt(y), Naive.isqrt(y));
        uint256 root = FixedPoint.isqrt(y);
        assertEq(FixedPoint.isqrt(root * root), root);
        if (root > 0) assertEq(FixedPoint.isqrt(root * root - 1), root - 1);
    }

    function test_isqrt_ends() external pure {
        assertEq(FixedPoint.isqrt(0), 0);
        assertEq(FixedPoint.isqrt(1), 1);
        assertEq(FixedPoint.isqrt(3), 1);
        assertEq(FixedPoint.isqrt(2 ** 64 - 1), 2 ** 32 - 1);
    }

    function testFuzz_floorDiv(int128 x, uint32 y) external pure {
        if (y == 0) y = 1;
        int256 q = FixedPoint.floorDiv(x, int256(uint256(y)));
        assertTrue(q * int256(uint256(y)) <= x && (q + 1) * int256(uint256(y)) > x, "floor");
    }

    function testFuzz_exp2(uint32 f) external pure {
        assertEq(FixedPoint.exp2(f), Naive.exp2(f));
    }

    /// Below one and a half, and one below two: the polynomial keeps to its range.
    function test_exp2_ends() external pure {
        assertEq(FixedPoint.exp2(0), 2 ** 30);
        assertTrue(FixedPoint.exp2(2 ** 32 - 1) < 2 ** 31, "below two");
        assertTrue(FixedPoint.exp2(2 ** 32 - 1) > 2 ** 31 - 32, "nearly two");
        // √2 in Q30 is 1518500249.988.
        uint256 root = FixedPoint.exp2(2 ** 31);
        assertTrue(root > 1518500238 && root < 1518500262, "the square root of two");
    }

    function test_scale_everyHalf() external pure {
        for (uint256 bits = 0; bits < 65536; bits += 1) {
            assertEq(Weights.scale(bits), Naive.half(bits));
            // Each exponent and sign with a few fractions.
            if (bits % 1024 == 3) bits += 1017;
        }
        assertEq(Weights.scale(0x3c00), 2 ** 24);
        assertEq(Weights.scale(0x8001), -1);
    }

    function testFuzz_littleEndian(bytes32 word) external pure {
        uint256 ptr;
        assembly ("memory-safe") {
            ptr := mload(0x40)
            mstore(ptr, word)
            mstore(0x40, add(ptr, 64))
        }
        bytes memory b = abi.encode(word);
        assertEq(LittleEndian.u8(ptr), Naive.u(b, 0, 1));
        assertEq(LittleEndian.u16(ptr), Naive.u(b, 0, 2));
        assertEq(LittleEndian.u32(ptr), Naive.u(b, 0, 4));
        assertEq(LittleEndian.i16At(ptr, 0), Naive.i(b, 0, 2));
        assertEq(LittleEndian.i32At(ptr, 0), Naive.i(b, 0, 4));
    }
}
