// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// The fixed-point primitives of kernels/README.md over 256-bit words. Total: no input makes them
/// revert.
library FixedPoint {
    /// The largest magnitude of an Fx.
    int256 internal constant FX_MAX = 2 ** 31 - 1;

    /// Shifts right by `s` bits, rounding half up.
    function rshiftRound(int256 x, uint256 s) internal pure returns (int256 y) {
        assembly ("memory-safe") {
            y := x
            if s { y := add(sar(s, x), and(sar(sub(s, 1), x), 1)) }
        }
    }

    /// Clamps to ±`limit`.
    function clamp(int256 x, int256 limit) internal pure returns (int256) {
        if (x > limit) return limit;
        unchecked {
            return x < -limit ? -limit : x;
        }
    }

    /// Clamps to ±(2^31 − 1), the range of Fx. Only finalizers call it.
    function sat32(int256 x) internal pure returns (int256) {
        return clamp(x, FX_MAX);
    }

    /// x / y rounded down, for y > 0.
    function floorDiv(int256 x, int256 y) internal pure returns (int256) {
        unchecked {
            return x / y - (x % y < 0 ? int256(1) : int256(0));
        }
    }

    /// Number of bits without leading zeros; 0 for 0.
    function bitlen(uint256 x) internal pure returns (uint256 n) {
        assembly ("memory-safe") {
            n := shl(7, lt(0xffffffffffffffffffffffffffffffff, x))
            n := or(n, shl(6, lt(0xffffffffffffffff, shr(n, x))))
            n := or(n, shl(5, lt(0xffffffff, shr(n, x))))
            n := or(n, shl(4, lt(0xffff, shr(n, x))))
            n := or(n, shl(3, lt(0xff, shr(n, x))))
            n := or(n, shl(2, lt(0xf, shr(n, x))))
            n := or(n, shl(1, lt(0x3, shr(n, x))))
            n := or(n, lt(0x1, shr(n, x)))
            // That was the place of the highest bit; it counts from 0.
            n := add(n, iszero(iszero(x)))
        }
    }

    /// The integer square root, rounded down: Newton's iteration from above, which stops at the
    /// floor.
    function isqrt(uint256 x) internal pure returns (uint256 root) {
        if (x == 0) return 0;
        unchecked {
            root = uint256(1) << ((bitlen(x) + 1) >> 1);
            while (true) {
                uint256 next = (root + x / root) >> 1;
                if (next >= root) return root;
                root = next;
            }
        }
    }

    /// `2^(f / 2^32)` in Q30 for a 32-bit fraction `f`.
    function exp2(uint256 f) internal pure returns (uint256 a) {
        unchecked {
            a = 1362811 + ((223531 * f) >> 32);
            a = 10363966 + ((a * f) >> 32);
            a = 59588402 + ((a * f) >> 32);
            a = 257941996 + ((a * f) >> 32);
            a = 744261108 + ((a * f) >> 32);
            a = (1 << 30) + ((a * f) >> 32);
        }
    }
}
