// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Statement} from "../interfaces/IStepVerifier.sol";
import {Word0} from "./Descriptor.sol";
import {LittleEndian} from "./LittleEndian.sol";
import {Noise} from "./Noise.sol";
import {Openings, Reader} from "./Openings.sol";
import {Shapes} from "./Shapes.sol";

/// Max, Sum and Sample: one number out of many.
library Reductions {
    /// log2(e) with 20 fractional bits.
    int256 private constant LOG2_E = 1512775;

    /// The maximum of unit `u` of head `h`.
    function max(Reader memory r, Statement calldata s, uint256 h, uint256 u, int256 acc)
        internal
        pure
        returns (int256)
    {
        (uint256 x, uint256 count) = _head(r, s, h, u, Shapes.MAX_UNIT, 4);
        unchecked {
            for (uint256 i = 0; i < count; ++i) {
                int256 v = LittleEndian.i32At(x, i);
                if (v > acc) acc = v;
            }
        }
        return acc;
    }

    /// Adds the probabilities of unit `u` of head `h`.
    function sum(Reader memory r, Statement calldata s, uint256 h, uint256 u, int256 acc)
        internal
        pure
        returns (int256)
    {
        (uint256 x, uint256 count) = _head(r, s, h, u, Shapes.SUM_UNIT, 2);
        unchecked {
            for (uint256 i = 0; i < count; ++i) {
                acc += int256(LittleEndian.u16(x + 2 * i));
            }
        }
        return acc;
    }

    /// The greatest key of unit `u`: the logit in base 2 plus the request's noise, and below it the
    /// complement of its index, so that the lowest wins a tie.
    function sample(Reader memory r, Statement calldata s, uint256 u, int256 acc)
        internal
        pure
        returns (int256)
    {
        Word0 d = Word0.wrap(s.d0);
        (uint256 from, uint256 count) = Shapes.unitOf(d.k(), Shapes.SAMPLE_UNIT, u);
        uint256 x = Openings.read(r, s, Openings.step(s, d.in0(), 4 * d.k()), 4 * from, 4 * count);
        int256 temperature = int256(uint256(s.temperature));
        uint256 words = temperature == 0 ? 0 : Noise.words(s.seed, s.blockIndex, from);
        unchecked {
            for (uint256 i = 0; i < count; ++i) {
                int256 score = LittleEndian.i32At(x, i) * LOG2_E;
                if (temperature != 0) score += temperature * Noise.ofId(words, i);
                int256 key = (score << 32) | int256(0xffffffff - (from + i));
                if (key > acc) acc = key;
            }
        }
        return acc;
    }

    /// The index in a key.
    function indexOf(int256 key) internal pure returns (int256) {
        return int256(0xffffffff - (uint256(key) & 0xffffffff));
    }

    /// Unit `u` of head `h` of `in0`, a tensor of one number of `width` bytes per head and
    /// position.
    function _head(
        Reader memory r,
        Statement calldata s,
        uint256 h,
        uint256 u,
        uint256 size,
        uint256 width
    ) private pure returns (uint256 ptr, uint256 count) {
        Word0 d = Word0.wrap(s.d0);
        uint256 t = uint256(s.blockIndex) + 1;
        uint256 from;
        (from, count) = Shapes.unitOf(t, size, u);
        ptr = Openings.read(
            r,
            s,
            Openings.step(s, d.in0(), width * d.groups() * t),
            width * (h * t + from),
            width * count
        );
    }
}
