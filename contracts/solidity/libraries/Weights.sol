// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {LittleEndian} from "./LittleEndian.sol";
import {Openings, Reader} from "./Openings.sol";
import {Statement} from "../interfaces/IStepVerifier.sol";

/// Weights as a GGUF file holds them, read as exact integers in units of 2^-24 (kernels/README.md,
/// "Formats of weights").
library Weights {
    uint256 internal constant I32 = 0;
    uint256 internal constant Q8_0 = 1;
    uint256 internal constant Q4_0 = 2;
    uint256 internal constant Q4_1 = 3;
    /// Weights that share a scale.
    uint256 internal constant BLOCK = 32;

    /// Whether `cols` weights of this format are a row.
    function wholeBlocks(uint256 format, uint256 cols) internal pure returns (bool) {
        return cols != 0 && (format == I32 || (format <= Q4_1 && cols % BLOCK == 0));
    }

    /// Most weights in one leaf.
    function leafWeights(uint256 format) internal pure returns (uint256) {
        return format == I32 ? 256 : 1024;
    }

    function leavesPerRow(uint256 format, uint256 cols) internal pure returns (uint256) {
        uint256 size = leafWeights(format);
        return (cols + size - 1) / size;
    }

    /// Bytes of a block, or of one I32.
    function blockBytes(uint256 format) internal pure returns (uint256) {
        if (format == I32) return 4;
        if (format == Q8_0) return 34;
        return format == Q4_0 ? 18 : 20;
    }

    /// Leaf `u` of row `row` of the matrix whose first leaf is `base`: its bytes, and how many
    /// weights they are.
    function leaf(
        Reader memory r,
        Statement calldata s,
        uint256 base,
        uint256 format,
        uint256 cols,
        uint256 row,
        uint256 u
    ) internal pure returns (uint256 data, uint256 count) {
        uint256 size = leafWeights(format);
        count = cols - u * size;
        if (count > size) count = size;
        uint256 bytesLong = (format == I32 ? count : count / BLOCK) * blockBytes(format);
        data = Openings.weights(r, s, base + row * leavesPerRow(format, cols) + u, bytesLong);
    }

    /// Element `i` of an I32 row at `base`, such as a norm's weights.
    function integer(
        Reader memory r,
        Statement calldata s,
        uint256 base,
        uint256 cols,
        uint256 row,
        uint256 i
    ) internal pure returns (int256) {
        uint256 size = leafWeights(I32);
        (uint256 data,) = leaf(r, s, base, I32, cols, row, i / size);
        return LittleEndian.i32At(data, i % size);
    }

    /// A 16-bit float in units of 2^-24, by the formula for finite numbers whatever the bits.
    function scale(uint256 bits) internal pure returns (int256 x) {
        assembly ("memory-safe") {
            let e := and(shr(10, bits), 31)
            let normal := iszero(iszero(e))
            x := shl(sub(e, normal), or(and(bits, 1023), shl(10, normal)))
            if shr(15, bits) { x := sub(0, x) }
        }
    }

    /// Weight `i` of the leaf's bytes at `data`, in units of 2^-24.
    function valueAt(uint256 format, uint256 data, uint256 i) internal pure returns (int256) {
        if (format == I32) return LittleEndian.i32At(data, i);
        unchecked {
            data += i / BLOCK * blockBytes(format);
            i %= BLOCK;
            int256 d = scale(LittleEndian.u16(data));
            if (format == Q8_0) return d * int256(int8(uint8(LittleEndian.u8(data + 2 + i))));
            uint256 nibbles = LittleEndian.u8(data + (format == Q4_0 ? 2 : 4) + i % 16);
            int256 w = int256((nibbles >> (i / 16 * 4)) & 15);
            if (format == Q4_0) return d * (w - 8);
            return d * w + scale(LittleEndian.u16(data + 2));
        }
    }
}
