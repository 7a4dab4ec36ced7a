// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {FixedPoint} from "./FixedPoint.sol";

/// The noise that Sample adds to its logits: Philox4x32-10, and from its words base-2 Gumbel noise.
/// kernels/README.md, section Sample, has the formulas.
library Noise {
    /// The words of the 256 ids from `first` on, a multiple of 256, at a position; for `ofId`.
    ///
    /// Four counters at a time, each in 64 bits of every word: a product of 32 bits times 32 bits
    /// stays in its lane.
    function words(uint256 seed, uint256 position, uint256 first)
        internal
        pure
        returns (uint256 ptr)
    {
        assembly ("memory-safe") {
            ptr := mload(0x40)
            let end := add(ptr, 2048)
            mstore(0x40, end)
            // A number times this is that number in every lane.
            let ones := 0x0000000000000001000000000000000100000000000000010000000000000001
            let mask := mul(ones, 0xffffffff)
            let counters :=
                add(
                    mul(ones, shr(2, first)),
                    0x0000000000000003000000000000000200000000000000010000000000000000
                )
            for { let to := ptr } lt(to, end) { to := add(to, 128) } {
                let x0 := counters
                let x1 := mul(ones, position)
                let x2 := mul(ones, 0x53414d50)
                let x3 := 0
                let k0 := mul(ones, and(seed, 0xffffffff))
                let k1 := mul(ones, shr(32, seed))
                for { let round := 0 } lt(round, 10) { round := add(round, 1) } {
                    let p := mul(x0, 0xd2511f53)
                    let r := mul(x2, 0xcd9e8d57)
                    x0 := xor(and(shr(32, r), mask), xor(x1, k0))
                    x1 := and(r, mask)
                    x2 := xor(and(shr(32, p), mask), xor(x3, k1))
                    x3 := and(p, mask)
                    k0 := and(add(k0, mul(ones, 0x9e3779b9)), mask)
                    k1 := and(add(k1, mul(ones, 0xbb67ae85)), mask)
                }
                mstore(to, x0)
                mstore(add(to, 32), x1)
                mstore(add(to, 64), x2)
                mstore(add(to, 96), x3)
                counters := add(counters, mul(ones, 4))
            }
        }
    }

    /// The noise of id `first + i`, in units of 2^-16.
    function ofId(uint256 ptr, uint256 i) internal pure returns (int256) {
        uint256 word;
        assembly ("memory-safe") {
            // Sixteen ids share four words: word i mod 4, lane ⌊i / 4⌋ mod 4.
            let from := add(ptr, add(shl(7, shr(4, i)), shl(5, and(i, 3))))
            word := and(shr(shl(6, and(shr(2, i), 3)), mload(from)), 0xffffffff)
        }
        return gumbel(word);
    }

    /// `−log2(−log2 u)` of `u = (word + 1/2) · 2^-32`, in units of 2^-16.
    function gumbel(uint256 word) internal pure returns (int256) {
        unchecked {
            bool upper = word >= 2 ** 31;
            uint256 z = 2 * (upper ? 2 ** 32 - 1 - word : word) + 1;
            uint256 e = (33 << 25) - _log2(z);
            int256 x =
                upper ? int256(e) - int256(_ratio(z) >> 5) : int256(25 << 25) - int256(_log2(e));
            return FixedPoint.rshiftRound(x, 9);
        }
    }

    /// `log2 z` of a 32-bit `z ≥ 1`, with 25 fractional bits.
    function _log2(uint256 z) private pure returns (uint256) {
        unchecked {
            uint256 c = FixedPoint.bitlen(z) - 1;
            uint256 f = (z << (32 - c)) & 0xffffffff;
            uint256 a = 55897937 - ((9995641 * f) >> 32);
            a = 147662443 - ((a * f) >> 32);
            a = 259700344 - ((a * f) >> 32);
            a = 372911710 - ((a * f) >> 32);
            a = 513982710 - ((a * f) >> 32);
            a = 774345888 - ((a * f) >> 32);
            a = 1549076464 - ((a * f) >> 32);
            return (c << 25) + ((a * f) >> 37);
        }
    }

    /// `log2(−log2(1 − y) / y)` in Q30, `y = z · 2^-33`.
    function _ratio(uint256 z) private pure returns (uint256 a) {
        unchecked {
            a = 8142805 - ((4586931 * z) >> 32);
            a = 12797524 - ((a * z) >> 32);
            a = 3345539 + ((a * z) >> 32);
            a = 25626233 + ((a * z) >> 32);
            a = 80489556 + ((a * z) >> 32);
            a = 387280277 + ((a * z) >> 32);
            a = 567758488 + ((a * z) >> 32);
        }
    }
}
