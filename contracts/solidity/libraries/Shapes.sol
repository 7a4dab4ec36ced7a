// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    Word0,
    Word1,
    BadDescriptor,
    EMBED,
    RMS_NORM,
    QUANTIZE,
    LINEAR,
    ROPE,
    SCORES,
    MAX,
    PROBS,
    SUM,
    MIX,
    SWIGLU,
    COLLECT,
    SAMPLE
} from "./Descriptor.sol";
import {Openings} from "./Openings.sol";
import {Weights} from "./Weights.sol";

/// Sizes that follow from a descriptor and the position: the output tensor's, and those of an
/// element's fold. Every entry of the verifier comes through here first, so the ops may rely on
/// what `check` refuses.
library Shapes {
    /// `MAX` folds start here: below everything that a fold can meet.
    int256 internal constant LOWEST = -(2 ** 127);
    uint256 internal constant RMS_UNIT = 256;
    uint256 internal constant QUANTIZE_UNIT = 256;
    uint256 internal constant MAX_UNIT = 256;
    uint256 internal constant SUM_UNIT = 512;
    uint256 internal constant SAMPLE_UNIT = 256;
    /// A value of a quantized tensor is an i16.
    uint256 private constant QUANTIZED_BITS_MAX = 15;

    error ElementOutsideTensor(uint256 element, uint256 elements);

    /// Refuses descriptors whose sizes make no sense.
    function check(Word0 d, Word1 e) internal pure {
        uint256 op = d.opcode();
        bool good;
        if (op == EMBED) {
            good = d.n() == d.k() && Weights.wholeBlocks(d.format(), d.k());
        } else if (op == LINEAR) {
            good = d.n() != 0 && Weights.wholeBlocks(d.format(), d.k());
        } else if (op == RMS_NORM || op == SWIGLU || op == COLLECT) {
            good = d.n() != 0;
        } else if (op == QUANTIZE) {
            good = _divides(d.groups(), d.n()) && e.c0() <= QUANTIZED_BITS_MAX;
        } else if (op == ROPE) {
            good = _divides(d.k(), d.n()) && (d.k() | e.c0()) & 1 == 0 && e.c0() <= d.k();
        } else if (op == SCORES || op == MIX) {
            good = _divides(d.kv(), d.groups()) && d.k() != 0;
        } else if (op == MAX || op == PROBS || op == SUM) {
            good = d.groups() != 0;
        } else if (op == SAMPLE) {
            good = d.k() != 0;
        }
        if (!good) _refuse(d, e);
    }

    /// Bytes of the output tensor (0 for Collect, whose leaves are roots), leaves of its tree, its
    /// elements.
    function output(Word0 d, Word1 e, uint256 t)
        internal
        pure
        returns (uint256 byteLength, uint256 leaves, uint256 elements)
    {
        uint256 op = d.opcode();
        if (op == COLLECT) return (0, d.n(), d.n());
        if (op == SCORES || op == PROBS) elements = d.groups() * (t + 1);
        else if (op == MAX || op == SUM) elements = d.groups();
        else if (op == MIX) elements = d.groups() * d.k();
        else if (op == SAMPLE) elements = 1;
        else elements = d.n();
        byteLength = elements * (op == PROBS || op == QUANTIZE ? 2 : 4);
        if (op == QUANTIZE) {
            byteLength += d.groups();
            elements += d.groups();
        }
        if (byteLength > type(uint32).max) _refuse(d, e);
        leaves = Openings.leavesOf(byteLength);
    }

    /// As `output`, and the element must be one of the tensor's.
    function checkElement(Word0 d, Word1 e, uint256 t, uint256 element) internal pure {
        (,, uint256 elements) = output(d, e, t);
        if (element >= elements) revert ElementOutsideTensor(element, elements);
    }

    /// Units of an element's fold, and the accumulator before the first.
    function fold(Word0 d, uint256 t) internal pure returns (uint256 units, int256 init) {
        uint256 op = d.opcode();
        if (op == RMS_NORM) return (_ceil(d.n(), RMS_UNIT), 0);
        if (op == QUANTIZE) return (_ceil(d.n() / d.groups(), QUANTIZE_UNIT), 0);
        if (op == LINEAR) return (Weights.leavesPerRow(d.format(), d.k()), 0);
        if (op == MAX) return (_ceil(t + 1, MAX_UNIT), LOWEST);
        if (op == SUM) return (_ceil(t + 1, SUM_UNIT), 0);
        if (op == MIX) return (t + 1, 0);
        if (op == SAMPLE) return (_ceil(d.k(), SAMPLE_UNIT), LOWEST);
        return (1, 0);
    }

    /// Range of unit `u` of a fold over `length` terms: where it starts, and how many terms it has.
    function unitOf(uint256 length, uint256 size, uint256 u)
        internal
        pure
        returns (uint256 from, uint256 count)
    {
        from = u * size;
        count = length - from < size ? length - from : size;
    }

    function _divides(uint256 a, uint256 b) private pure returns (bool) {
        return a != 0 && b != 0 && b % a == 0;
    }

    function _ceil(uint256 a, uint256 b) private pure returns (uint256) {
        return (a + b - 1) / b;
    }

    function _refuse(Word0 d, Word1 e) private pure {
        revert BadDescriptor(Word0.unwrap(d), Word1.unwrap(e));
    }
}
