// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Statement} from "../interfaces/IStepVerifier.sol";
import {Word0, NO_STEP, NO_LEAF} from "./Descriptor.sol";
import {FixedPoint} from "./FixedPoint.sol";
import {LittleEndian} from "./LittleEndian.sol";
import {Openings, Reader, Source} from "./Openings.sol";
import {Weights} from "./Weights.sol";

/// Linear: rows of quantized weights times one quantized row of activations.
///
/// A product of two words is a convolution of their 32-bit lanes, so with one of them in reverse
/// its highest lane is a dot product of eight elements. Operands are made unsigned first (w +
/// offset, q + 2^15), which keeps every lane below 2^32: 4 · 8 · 255 · 65535 < 2^32.
library Linear {
    uint256 private constant LANES =
        0x0000000100000001000000010000000100000001000000010000000100000001;
    uint256 private constant BYTE_OF_LANE = 0xff * LANES;
    uint256 private constant HALF_OF_LANE = 0xffff * LANES;
    uint256 private constant BYTE_OF_HALF =
        0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff;
    uint256 private constant SIGN_OF_HALF =
        0x8000800080008000800080008000800080008000800080008000800080008000;
    uint256 private constant SIGN_OF_BYTE =
        0x8080808080808080808080808080808080808080808080808080808080808080;
    /// The upper lane of each pair.
    uint256 private constant UPPER =
        0xffffffff00000000ffffffff00000000ffffffff00000000ffffffff00000000;
    uint256 private constant LOWER = UPPER >> 32;
    uint256 private constant NIBBLES =
        0x0f0f0f0f000000000f0f0f0f000000000f0f0f0f000000000f0f0f0f00000000;
    /// Lane 0, the highest, of eight.
    uint256 private constant LANE = 0xffffffff << 224;
    uint256 private constant QUADS =
        0x00000000ffffffffffffffff0000000000000000ffffffffffffffff00000000;
    uint256 private constant FIRST_OF_QUAD =
        0xffffffff000000000000000000000000ffffffff000000000000000000000000;
    uint256 private constant LAST_OF_QUAD = FIRST_OF_QUAD >> 96;
    uint256 private constant MIDDLE = uint256(type(uint128).max) << 64;

    int256 private constant Q_OFFSET = 2 ** 15;

    /// Weight leaf `u` of row `row`, times its columns of the input.
    function unit(Reader memory r, Statement calldata s, uint256 row, uint256 u)
        internal
        pure
        returns (int256)
    {
        Word0 d = Word0.wrap(s.d0);
        uint256 format = d.format();
        (uint256 data, uint256 count) = Weights.leaf(r, s, d.weights(), format, d.k(), row, u);
        uint256 from = u * Weights.leafWeights(format);
        uint256 q = Openings.read(r, s, _input(s, d), 2 * from, 2 * count);
        return dot(format, data, q, count);
    }

    /// Rounds the row's sum; adds the bias and the residual, each with saturation.
    function finalize(Reader memory r, Statement calldata s, uint256 row, int256 acc)
        internal
        pure
        returns (int256 y)
    {
        Word0 d = Word0.wrap(s.d0);
        uint256 shift = LittleEndian.u8(Openings.read(r, s, _input(s, d), 2 * d.k(), 1));
        y = FixedPoint.sat32(FixedPoint.rshiftRound(acc, 24 - (shift < 16 ? shift : 16)));
        if (d.bias() != NO_LEAF) {
            y = FixedPoint.sat32(y + Weights.integer(r, s, d.bias(), d.n(), 0, row));
        }
        if (d.in1() != NO_STEP) {
            y = FixedPoint.sat32(
                y + Openings.readI32(r, s, Openings.step(s, d.in1(), 4 * d.n()), row)
            );
        }
    }

    /// `k` values and one shift.
    function _input(Statement calldata s, Word0 d) private pure returns (Source memory) {
        return Openings.step(s, d.in0(), 2 * d.k() + 1);
    }

    /// `Σ_blocks (D · Σ w·q + M · Σ q)` over `count` weights at `data` and activations at `q`, both
    /// in memory.
    function dot(uint256 format, uint256 data, uint256 q, uint256 count)
        internal
        pure
        returns (int256 acc)
    {
        unchecked {
            if (format == Weights.I32) {
                for (uint256 i = 0; i < count; ++i) {
                    acc += LittleEndian.i32At(data, i) * LittleEndian.i16At(q, i);
                }
                return acc;
            }
            uint256 size = Weights.blockBytes(format);
            for (uint256 end = q + 2 * count; q < end; q += 64) {
                acc += _block(format, data, q);
                data += size;
            }
        }
    }

    /// One block of 32.
    function _block(uint256 format, uint256 data, uint256 q) private pure returns (int256) {
        unchecked {
            int256 d = Weights.scale(LittleEndian.u16(data));
            if (format == Weights.Q8_0) {
                (int256 dot8,) = _dot(_lanesOfBytes(_load(data + 2) ^ SIGN_OF_BYTE), 128, q);
                return d * dot8;
            }
            if (format == Weights.Q4_0) {
                (int256 dot4,) = _dot(_lanesOfNibbles(_load(data + 2)), 8, q);
                return d * dot4;
            }
            (int256 product, int256 sum) = _dot(_lanesOfNibbles(_load(data + 4)), 0, q);
            return d * product + Weights.scale(LittleEndian.u16(data + 2)) * sum;
        }
    }

    /// `Σ w·q` and `Σ q` over a block. `w` holds weights plus `offset`, in groups of four in the
    /// order 3 7 2 6 1 5 0 4 (group g are the weights from 4g on), which is that of the activations
    /// below in reverse.
    function _dot(uint256 w, int256 offset, uint256 q)
        private
        pure
        returns (int256 product, int256 sum)
    {
        unchecked {
            uint256 a = _load(q);
            uint256 b = _load(q + 32);
            // Groups 4 0 5 1 6 2 7 3 from the top: of each the first two activations, and the last
            // two.
            uint256 first = (b & UPPER) | ((a >> 32) & LOWER);
            uint256 last = ((b << 32) & UPPER) | (a & LOWER);
            first = _unsigned(first);
            last = _unsigned(last);
            uint256 q0 = (first >> 16) & HALF_OF_LANE;
            uint256 q1 = first & HALF_OF_LANE;
            uint256 q2 = (last >> 16) & HALF_OF_LANE;
            uint256 q3 = last & HALF_OF_LANE;
            uint256 w0 = (w >> 24) & BYTE_OF_LANE;
            uint256 w1 = (w >> 16) & BYTE_OF_LANE;
            uint256 w2 = (w >> 8) & BYTE_OF_LANE;
            uint256 w3 = w & BYTE_OF_LANE;
            uint256 products = (w0 * q0 + w1 * q1 + w2 * q2 + w3 * q3) >> 224;
            uint256 sumQ = ((q0 + q1 + q2 + q3) * LANES) >> 224;
            uint256 sumW = ((w0 + w1 + w2 + w3) * LANES) >> 224;
            sum = int256(sumQ) - 32 * Q_OFFSET;
            // Σ (w + o)(q + h) = Σ w·q + h · Σ (w + o) + o · Σ q.
            product = int256(products) - Q_OFFSET * int256(sumW) - offset * sum;
        }
    }

    /// Sixteen little-endian i16 to big-endian, plus 2^15.
    function _unsigned(uint256 x) private pure returns (uint256) {
        return (((x >> 8) & BYTE_OF_HALF) | ((x & BYTE_OF_HALF) << 8)) ^ SIGN_OF_HALF;
    }

    /// Groups 0 1 2 3 4 5 6 7 to 6 7 2 3 4 5 0 1 to 3 7 2 6 1 5 0 4.
    function _lanesOfBytes(uint256 x) private pure returns (uint256) {
        x = (x & MIDDLE) | (x << 192) | (x >> 192);
        return (x & QUADS) | ((x << 96) & FIRST_OF_QUAD) | ((x >> 96) & LAST_OF_QUAD);
    }

    /// Sixteen bytes at the top of `x`: group g of the first half is in their low nibbles, group g
    /// + 4 in the high ones.
    function _lanesOfNibbles(uint256 x) private pure returns (uint256) {
        x = ((x << 96) & LANE) | (x & (LANE >> 64)) | ((x >> 96) & (LANE >> 128))
            | ((x >> 192) & (LANE >> 192));
        return (x & NIBBLES) | ((x >> 36) & (NIBBLES >> 32));
    }

    function _load(uint256 ptr) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(ptr)
        }
    }
}
