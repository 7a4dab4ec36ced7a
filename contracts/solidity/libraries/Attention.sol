// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Statement} from "../interfaces/IStepVerifier.sol";
import {Word0, Word1} from "./Descriptor.sol";
import {FixedPoint} from "./FixedPoint.sol";
import {LittleEndian} from "./LittleEndian.sol";
import {Openings, Reader, Source} from "./Openings.sol";

/// Scores, Probs and Mix: what attention does between a query and the positions that it sees.
library Attention {
    int256 private constant SCORE_MAX = 2 ** 30;
    /// Shifts beyond this count as this.
    uint256 private constant SHIFT_MAX = 20;

    /// The score of head `h` and position `p`, element `h · T + p`.
    function scores(Reader memory r, Statement calldata s, uint256 element)
        internal
        pure
        returns (int256)
    {
        Word0 d = Word0.wrap(s.d0);
        Word1 e = Word1.wrap(s.d1);
        uint256 h = element / _positions(s);
        uint256 k = d.k();
        uint256 heads = d.groups();
        Source memory source = Openings.step(s, d.in0(), heads * (2 * k + 1));
        uint256 q = Openings.read(r, s, source, 2 * h * k, 2 * k);
        uint256 a = LittleEndian.u8(Openings.read(r, s, source, 2 * heads * k + h, 1));
        uint256 g = h / (heads / d.kv());
        uint256 position = element % _positions(s);
        source = Openings.cached(s, d.in1(), e.c1(), position, d.kv() * (2 * k + 1));
        uint256 key = Openings.read(r, s, source, 2 * g * k, 2 * k);
        uint256 b = LittleEndian.u8(Openings.read(r, s, source, 2 * d.kv() * k + g, 1));
        return score(q, key, k, a, b, e.c0());
    }

    /// The score of `k` values at `q` and at `key`, under the shifts `a` and `b`.
    function score(uint256 q, uint256 key, uint256 k, uint256 a, uint256 b, uint256 scale)
        internal
        pure
        returns (int256 p)
    {
        unchecked {
            for (uint256 i = 0; i < k; ++i) {
                p += LittleEndian.i16At(q, i) * LittleEndian.i16At(key, i);
            }
            p *= int256(scale);
            uint256 shifts = _shift(a) + _shift(b);
            if (shifts <= 38) p = FixedPoint.rshiftRound(p, 38 - shifts);
            else p = FixedPoint.clamp(p, SCORE_MAX) << (shifts - 38);
            return FixedPoint.clamp(p, SCORE_MAX);
        }
    }

    /// The probability of head `h` at position `p`, element `h · T + p`, before the division by the
    /// sum.
    function probs(Reader memory r, Statement calldata s, uint256 element)
        internal
        pure
        returns (int256)
    {
        Word0 d = Word0.wrap(s.d0);
        uint256 heads = d.groups();
        uint256 t = _positions(s);
        int256 x = Openings.readI32(r, s, Openings.step(s, d.in0(), 4 * heads * t), element);
        int256 top = Openings.readI32(r, s, Openings.step(s, d.in1(), 4 * heads), element / t);
        return prob(x, top);
    }

    /// 2^(x − top) where 2^14 is 1, of scores with 16 fractional bits.
    function prob(int256 x, int256 top) internal pure returns (int256) {
        unchecked {
            int256 difference = x - top;
            if (difference > 0) difference = 0;
            uint256 shift = uint256(-(difference >> 16)) + 16;
            if (shift > 31) return 0;
            uint256 f = (uint256(difference) & 0xffff) << 16;
            return FixedPoint.rshiftRound(int256(FixedPoint.exp2(f)), shift);
        }
    }

    /// Adds what position `p` gives to element `h · k + i`.
    function mixUnit(
        Reader memory r,
        Statement calldata s,
        uint256 element,
        uint256 position,
        int256 acc
    ) internal pure returns (int256) {
        Word0 d = Word0.wrap(s.d0);
        uint256 k = d.k();
        uint256 kv = d.kv();
        uint256 h = element / k;
        uint256 t = _positions(s);
        Source memory source = Openings.step(s, d.in0(), 2 * d.groups() * t);
        int256 p = int256(LittleEndian.u16(Openings.read(r, s, source, 2 * (h * t + position), 2)));
        uint256 g = h / (d.groups() / kv);
        source = Openings.cached(s, d.in2(), Word1.wrap(s.d1).c1(), position, kv * (2 * k + 1));
        int256 v = LittleEndian.i16(Openings.read(r, s, source, 2 * (g * k + element % k), 2));
        uint256 b = LittleEndian.u8(Openings.read(r, s, source, 2 * kv * k + g, 1));
        unchecked {
            return acc + ((p * v) << _shift(b));
        }
    }

    /// Divides the mixed sum by the sum of the head's probabilities.
    function mixFinalize(Reader memory r, Statement calldata s, uint256 element, int256 acc)
        internal
        pure
        returns (int256)
    {
        Word0 d = Word0.wrap(s.d0);
        Source memory source = Openings.step(s, d.in1(), 4 * d.groups());
        return divide(acc, LittleEndian.u32(Openings.read(r, s, source, element / d.k() * 4, 4)));
    }

    /// acc / sum, by a reciprocal of 32 bits.
    function divide(int256 acc, uint256 sum) internal pure returns (int256) {
        unchecked {
            uint256 z = sum == 0 ? 1 : sum;
            uint256 c = FixedPoint.bitlen(z) + 30;
            // The accumulator is 128 bits wide, and so is this product.
            int256 product = int256(int128(acc * int256((uint256(1) << c) / z)));
            return FixedPoint.sat32(FixedPoint.rshiftRound(product, c));
        }
    }

    function _shift(uint256 shift) private pure returns (uint256) {
        return shift < SHIFT_MAX ? shift : SHIFT_MAX;
    }

    function _positions(Statement calldata s) private pure returns (uint256) {
        return uint256(s.blockIndex) + 1;
    }
}
