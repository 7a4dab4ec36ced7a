// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Little-endian numbers in memory, as leaves hold them. `ptr` is the address of the first byte;
/// what lies behind the number may be anything.
library LittleEndian {
    function u8(uint256 ptr) internal pure returns (uint256 x) {
        assembly ("memory-safe") {
            x := byte(0, mload(ptr))
        }
    }

    function u16(uint256 ptr) internal pure returns (uint256 x) {
        assembly ("memory-safe") {
            let w := mload(ptr)
            x := or(byte(0, w), shl(8, byte(1, w)))
        }
    }

    function u32(uint256 ptr) internal pure returns (uint256 x) {
        assembly ("memory-safe") {
            let w := mload(ptr)
            x := or(
                or(byte(0, w), shl(8, byte(1, w))),
                or(shl(16, byte(2, w)), shl(24, byte(3, w)))
            )
        }
    }

    function i16(uint256 ptr) internal pure returns (int256) {
        return int256(int16(uint16(u16(ptr))));
    }

    function i32(uint256 ptr) internal pure returns (int256) {
        return int256(int32(uint32(u32(ptr))));
    }

    /// Number `i` of the array at `ptr`.
    function i16At(uint256 ptr, uint256 i) internal pure returns (int256) {
        unchecked {
            return i16(ptr + 2 * i);
        }
    }

    /// Number `i` of the array at `ptr`.
    function i32At(uint256 ptr, uint256 i) internal pure returns (int256) {
        unchecked {
            return i32(ptr + 4 * i);
        }
    }
}
