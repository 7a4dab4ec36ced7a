// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Statement} from "../interfaces/IStepVerifier.sol";
import {Word0, Word1} from "./Descriptor.sol";
import {FixedPoint} from "./FixedPoint.sol";
import {LittleEndian} from "./LittleEndian.sol";
import {Openings, Reader, Source} from "./Openings.sol";
import {Weights} from "./Weights.sol";

/// Embed, Rope, SwiGlu and Collect: maps, each element from a handful of others.
library Elementwise {
    /// log2(e) with 32 fractional bits.
    uint256 private constant LOG2_E = 6196328019;

    /// Not the step that fills this place of the block root.
    error WrongSlot(uint256 expected, uint256 actual);
    /// No such row in the embedding.
    error OutsideVocabulary(uint256 token, uint256 vocabulary);

    /// Element `i` of the embedding of the token at this position.
    function embed(Reader memory r, Statement calldata s, uint256 i)
        internal
        pure
        returns (int256)
    {
        Word0 d = Word0.wrap(s.d0);
        uint256 token = Openings.token(r, s);
        if (token >= d.groups()) revert OutsideVocabulary(token, d.groups());
        uint256 size = Weights.leafWeights(d.format());
        (uint256 data,) = Weights.leaf(r, s, d.weights(), d.format(), d.k(), token, i / size);
        int256 v = Weights.valueAt(d.format(), data, i % size);
        return FixedPoint.sat32(FixedPoint.rshiftRound(v, 12));
    }

    /// Element `i`, turned with its neighbour by the angle of this position, or copied.
    function rope(Reader memory r, Statement calldata s, uint256 i) internal pure returns (int256) {
        Word0 d = Word0.wrap(s.d0);
        uint256 rotated = Word1.wrap(s.d1).c0();
        uint256 j = i % d.k();
        uint256 odd = i & 1;
        uint256 x = Openings.read(r, s, Openings.step(s, d.in0(), 4 * d.n()), 4 * (i - odd), 8);
        if (j >= rotated) return LittleEndian.i32At(x, odd);
        uint256 size = Weights.leafWeights(Weights.I32);
        (uint256 data,) =
            Weights.leaf(r, s, d.weights(), Weights.I32, rotated, s.blockIndex, j / size);
        uint256 pair = (j - odd) % size;
        return turn(
            LittleEndian.i32At(x, 0),
            LittleEndian.i32At(x, 1),
            LittleEndian.i32At(data, pair),
            LittleEndian.i32At(data, pair + 1),
            odd == 1
        );
    }

    /// One of a rotated pair; cos and sin have 30 fractional bits.
    function turn(int256 x0, int256 x1, int256 cos, int256 sin, bool second)
        internal
        pure
        returns (int256)
    {
        unchecked {
            int256 y = second ? x0 * sin + x1 * cos : x0 * cos - x1 * sin;
            return FixedPoint.sat32(FixedPoint.rshiftRound(y, 30));
        }
    }

    function swiGlu(Reader memory r, Statement calldata s, uint256 i)
        internal
        pure
        returns (int256)
    {
        Word0 d = Word0.wrap(s.d0);
        int256 gate = Openings.readI32(r, s, Openings.step(s, d.in0(), 4 * d.n()), i);
        int256 up = Openings.readI32(r, s, Openings.step(s, d.in1(), 4 * d.n()), i);
        return gated(gate, up);
    }

    /// gate · logistic(gate) · up.
    function gated(int256 gate, int256 up) internal pure returns (int256) {
        unchecked {
            uint256 z = uint256(gate < 0 ? -gate : gate) * LOG2_E;
            uint256 whole = z >> 44;
            uint256 f = (z >> 12) & 0xffffffff;
            // 2^-(whole + f) = 2^-(whole + 1) · 2^(1 − f), for a fraction that isn't 0.
            if (f != 0) {
                whole += 1;
                f = (1 << 32) - f;
            }
            int256 e;
            if (whole <= 31) e = FixedPoint.rshiftRound(int256(FixedPoint.exp2(f)), whole);
            int256 sigma = ((gate < 0 ? e : int256(1 << 30)) << 31) / ((1 << 30) + e);
            return FixedPoint.sat32(FixedPoint.rshiftRound(gate * sigma * up, 43));
        }
    }

    /// The root of the tensor whose descriptor has `slot` = `j` + 1, as a word.
    function collect(Reader memory r, Statement calldata s, uint256 j)
        internal
        pure
        returns (int256)
    {
        (uint256 input,, bytes32 d1) = Openings.descriptor(r, s);
        uint256 slot = Word1.wrap(d1).slot();
        if (slot != j + 1) revert WrongSlot(j + 1, slot);
        return int256(uint256(Openings.stepTensorRoot(r, s, input)));
    }
}
