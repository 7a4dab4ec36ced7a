// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Statement} from "../interfaces/IStepVerifier.sol";
import {Word0, Word1} from "./Descriptor.sol";
import {FixedPoint} from "./FixedPoint.sol";
import {LittleEndian} from "./LittleEndian.sol";
import {Openings, Reader, Source} from "./Openings.sol";
import {Shapes} from "./Shapes.sol";
import {Weights} from "./Weights.sol";

/// RmsNorm.
library RmsNorm {
    int256 private constant MEAN_MAX = 2 ** 63 - 1;

    /// Adds the squares of unit `u`.
    function unit(Reader memory r, Statement calldata s, uint256 u, int256 acc)
        internal
        pure
        returns (int256)
    {
        uint256 n = Word0.wrap(s.d0).n();
        (uint256 from, uint256 count) = Shapes.unitOf(n, Shapes.RMS_UNIT, u);
        uint256 x = Openings.read(r, s, _input(s), 4 * from, 4 * count);
        unchecked {
            for (uint256 i = 0; i < count; ++i) {
                int256 v = LittleEndian.i32At(x, i);
                acc += v * v;
            }
        }
        return acc;
    }

    /// Element `i`, from the sum of all squares.
    function finalize(Reader memory r, Statement calldata s, uint256 i, int256 acc)
        internal
        pure
        returns (int256)
    {
        Word0 d = Word0.wrap(s.d0);
        Word1 e = Word1.wrap(s.d1);
        int256 x = Openings.readI32(r, s, _input(s), i);
        int256 w = Weights.integer(r, s, d.weights(), d.n(), 0, i);
        return compute(acc, d.n(), e.c0(), e.c1Signed(), x, w);
    }

    function compute(int256 acc, uint256 n, uint256 eps, int256 exponent, int256 x, int256 w)
        internal
        pure
        returns (int256)
    {
        unchecked {
            // Half up.
            int256 m = FixedPoint.floorDiv(acc + int256(n >> 1), int256(n)) + int256(eps);
            if (m > MEAN_MAX) m = MEAN_MAX;
            if (m < 1) m = 1;
            uint256 h = (64 - FixedPoint.bitlen(uint256(m))) >> 1;
            int256 reciprocal = int256((1 << 62) / FixedPoint.isqrt(uint256(m) << (2 * h)));
            if (reciprocal > FixedPoint.FX_MAX) reciprocal = FixedPoint.FX_MAX;
            int256 u = FixedPoint.sat32(FixedPoint.rshiftRound(x * reciprocal, 42 - h));
            int256 shift = exponent + 8;
            if (shift < 0) shift = 0;
            if (shift > 63) shift = 63;
            return FixedPoint.sat32(FixedPoint.rshiftRound(u * w, uint256(shift)));
        }
    }

    function _input(Statement calldata s) private pure returns (Source memory) {
        Word0 d = Word0.wrap(s.d0);
        return Openings.step(s, d.in0(), 4 * d.n());
    }
}

/// Quantize: a row, or each of its heads, to i16 under a power-of-two shift.
library Quantize {
    /// ORs the magnitudes of unit `u` of the element's group.
    function unit(Reader memory r, Statement calldata s, uint256 element, uint256 u, int256 acc)
        internal
        pure
        returns (int256)
    {
        Word0 d = Word0.wrap(s.d0);
        uint256 size = d.n() / d.groups();
        uint256 group = element < d.n() ? element / size : element - d.n();
        (uint256 from, uint256 count) = Shapes.unitOf(size, Shapes.QUANTIZE_UNIT, u);
        uint256 x = Openings.read(r, s, _input(s), 4 * (group * size + from), 4 * count);
        unchecked {
            for (uint256 i = 0; i < count; ++i) {
                int256 v = LittleEndian.i32At(x, i);
                acc |= v < 0 ? -v : v;
            }
        }
        return acc;
    }

    /// A value, or a shift, from the OR of the group.
    function finalize(Reader memory r, Statement calldata s, uint256 element, int256 acc)
        internal
        pure
        returns (int256)
    {
        Word0 d = Word0.wrap(s.d0);
        uint256 bits = Word1.wrap(s.d1).c0();
        unchecked {
            // The accumulator is 128 bits wide.
            uint256 length = FixedPoint.bitlen(uint128(int128(acc)));
            uint256 shift = length > bits ? length - bits : 0;
            if (element >= d.n()) return int256(shift);
            int256 x = Openings.readI32(r, s, _input(s), element);
            return FixedPoint.clamp(FixedPoint.rshiftRound(x, shift), int256(1 << bits) - 1);
        }
    }

    function _input(Statement calldata s) private pure returns (Source memory) {
        Word0 d = Word0.wrap(s.d0);
        return Openings.step(s, d.in0(), 4 * d.n());
    }
}
