// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {FixedPoint} from "../../libraries/FixedPoint.sol";
import {LittleEndian} from "../../libraries/LittleEndian.sol";
import {Weights} from "../../libraries/Weights.sol";

interface Assume {
    function assume(bool condition) external pure;
}

/// What holds for every input, not only for those that were drawn: halmos takes the arguments of
/// `check` functions as symbols and asks a solver for a counterexample (scripts/nightly.sh halmos).
/// contracts/AUDIT.md says which of them the solver decides, and in what time.
contract ArithmeticChecks {
    Assume private constant vm = Assume(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// Half up is the floor of the value plus one half. Every shift by itself: a shift by a symbol
    /// costs the solver more than all of them together.
    function check_rshiftRound(int256 x) external pure {
        // So that the sum with one half has its place in the word, too.
        vm.assume(x >= -(2 ** 254) && x < 2 ** 254);
        unchecked {
            for (uint256 s = 1; s < 255; ++s) {
                assert(FixedPoint.rshiftRound(x, s) == (x + int256(1 << (s - 1))) >> s);
            }
        }
    }

    function check_rshiftRound_none(int256 x) external pure {
        assert(FixedPoint.rshiftRound(x, 0) == x);
    }

    /// A shift beyond the word leaves nothing, also of a negative number.
    function check_rshiftRound_all(int256 x, uint256 s) external pure {
        vm.assume(s > 256);
        assert(FixedPoint.rshiftRound(x, s) == 0);
    }

    function check_clamp(int256 x, int256 limit) external pure {
        vm.assume(limit >= 0);
        int256 y = FixedPoint.clamp(x, limit);
        assert(y <= limit && y >= -limit);
        if (x <= limit && x >= -limit) assert(y == x);
        else assert(y == (x < 0 ? -limit : limit));
    }

    function check_sat32(int256 x) external pure {
        int256 y = FixedPoint.sat32(x);
        assert(y == (x > 2147483647 ? int256(2147483647) : x < -2147483647 ? -2147483647 : x));
    }

    function check_bitlen(uint256 x) external pure {
        uint256 n = FixedPoint.bitlen(x);
        assert(n <= 256);
        assert(n == 256 || x >> n == 0);
        assert(x == 0 ? n == 0 : (x >> (n - 1)) == 1);
    }

    /// Where the iteration for the integer root starts lies above the root.
    function check_isqrt_start(uint256 x) external pure {
        uint256 k = (FixedPoint.bitlen(x) + 1) >> 1;
        assert(k <= 128 && x >> (2 * k) == 0);
    }

    /// Newton's step never goes below the root, and down from anywhere above it; so the first step
    /// that doesn't go down began at the root. The step is written out, as the loop has no bound
    /// that the solver sees; and narrow, as it divides bit by bit.
    function check_isqrt_step(uint16 x, uint8 start) external pure {
        uint256 root = start;
        vm.assume(root != 0);
        unchecked {
            uint256 next = (root + x / root) >> 1;
            assert((next + 1) * (next + 1) > x);
            assert(root * root <= x || next < root);
        }
    }

    /// From 1 to below 2 in Q30.
    function check_exp2(uint32 f) external pure {
        uint256 a = FixedPoint.exp2(f);
        assert(a >= 1 << 30 && a < 1 << 31);
    }

    function check_littleEndian(bytes32 word) external pure {
        uint256 ptr;
        assembly ("memory-safe") {
            ptr := mload(0x40)
            mstore(ptr, word)
            mstore(0x40, add(ptr, 32))
        }
        uint256 b0 = uint8(word[0]);
        uint256 b1 = uint8(word[1]);
        uint256 low = b0 + 256 * b1;
        uint256 all = low + 65_536 * uint256(uint8(word[2])) + (uint256(uint8(word[3])) << 24);
        assert(LittleEndian.u8(ptr) == b0);
        assert(LittleEndian.u16(ptr) == low);
        assert(LittleEndian.u32(ptr) == all);
        assert(LittleEndian.i16(ptr) == (low < 1 << 15 ? int256(low) : int256(low) - (1 << 16)));
        assert(LittleEndian.i32(ptr) == (all < 1 << 31 ? int256(all) : int256(all) - (1 << 32)));
    }

    /// (−1)^sign · 2^(max(e, 1) − 1) · (fraction, and 2^10 unless e = 0).
    function check_scale(uint16 bits) external pure {
        uint256 e = (uint256(bits) >> 10) & 31;
        uint256 fraction = bits & 1023;
        int256 x = int256(e == 0 ? fraction : (fraction + 1024) << (e - 1));
        assert(Weights.scale(bits) == (bits >> 15 == 1 ? -x : x));
    }
}
