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

    /// Half up is the floor of the value plus one half; no accumulator has more than 128 bits.
    function check_rshiftRound(int128 x, uint8 s) external pure {
        vm.assume(s > 0 && s <= 128);
        int256 half = int256(1) << (s - 1);
        assert(FixedPoint.rshiftRound(x, s) == (int256(x) + half) >> s);
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

    /// Narrow: a division of words of 256 bits is more than solvers do.
    function check_floorDiv(int16 x, uint8 y) external pure {
        vm.assume(y != 0);
        int256 q = FixedPoint.floorDiv(x, int256(uint256(y)));
        int256 rest = int256(x) - q * int256(uint256(y));
        assert(rest >= 0 && rest < int256(uint256(y)));
    }

    function check_isqrt(uint8 x) external pure {
        uint256 root = FixedPoint.isqrt(x);
        assert(root * root <= x && (root + 1) * (root + 1) > x);
    }

    /// From 1 to below 2, and no intermediate value leaves 31 bits.
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
