// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IStepVerifier, Statement, TensorShape} from "./interfaces/IStepVerifier.sol";
import {Attention} from "./libraries/Attention.sol";
import {
    Word0,
    Word1,
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
} from "./libraries/Descriptor.sol";
import {Elementwise} from "./libraries/Elementwise.sol";
import {Linear} from "./libraries/Linear.sol";
import {LittleEndian} from "./libraries/LittleEndian.sol";
import {Quantize, RmsNorm} from "./libraries/Norm.sol";
import {Openings, Reader} from "./libraries/Openings.sol";
import {Reductions} from "./libraries/Reductions.sol";
import {Shapes} from "./libraries/Shapes.sol";

/// Computes one step of a block: one unit of an element's fold, its finalizer, or both.
/// kernels/README.md is the norm; the libraries hold one group of ops each. Arithmetic never
/// reverts: whatever bits the inputs have, the result is defined.
contract StepVerifier is IStepVerifier {
    uint8 private constant WHOLE = 0;
    uint8 private constant SEGMENT = 1;
    uint8 private constant FINALIZE = 2;

    /// @inheritdoc IStepVerifier
    uint32 public constant NUMERICS_VERSION = 1;

    /// A mode that this fold doesn't have: a fold of one unit is decided whole, a longer one never.
    error WrongMode(uint8 mode, uint256 units);
    error UnitOutsideFold(uint256 unit, uint256 units);
    /// Collect's leaves are roots: they have no bytes to decode.
    error NoBytes();
    error WrongLeafLength(uint256 expected, uint256 actual);
    error ElementOutsideLeaf(uint256 element, uint256 leaf);

    /// @inheritdoc IStepVerifier
    function verify(Statement calldata s, bytes calldata witness) external pure returns (bool) {
        Word0 d = Word0.wrap(s.d0);
        Word1 e = Word1.wrap(s.d1);
        Shapes.check(d, e);
        Shapes.checkElement(d, e, s.blockIndex, s.element);
        (uint256 units, int256 acc) = Shapes.fold(d, s.blockIndex);
        if (s.mode > FINALIZE || (s.mode == WHOLE) != (units == 1)) {
            revert WrongMode(s.mode, units);
        }
        Reader memory r = Openings.start(witness);
        if (s.mode == SEGMENT) {
            if (s.unit >= units) revert UnitOutsideFold(s.unit, units);
            acc = _unit(r, s, s.unit, s.accIn);
            Openings.finish(r);
            return acc == s.accOut;
        }
        acc = _finalize(r, s, s.mode == WHOLE ? _unit(r, s, 0, acc) : s.accIn);
        Openings.finish(r);
        return acc == s.claimed;
    }

    /// @inheritdoc IStepVerifier
    function shape(bytes32 d0, bytes32 d1, uint32 blockIndex)
        external
        pure
        returns (TensorShape memory)
    {
        (Word0 d, Word1 e) = _checked(d0, d1);
        (uint256 byteLength, uint256 leaves, uint256 elements) = Shapes.output(d, e, blockIndex);
        return TensorShape(uint32(byteLength), uint32(leaves), uint32(elements));
    }

    /// @inheritdoc IStepVerifier
    function fold(bytes32 d0, bytes32 d1, uint32 blockIndex, uint32 element)
        external
        pure
        returns (uint64 units, int256 init)
    {
        (Word0 d, Word1 e) = _checked(d0, d1);
        Shapes.checkElement(d, e, blockIndex, element);
        uint256 count;
        (count, init) = Shapes.fold(d, blockIndex);
        units = uint64(count);
    }

    /// @inheritdoc IStepVerifier
    function decode(
        bytes32 d0,
        bytes32 d1,
        uint32 blockIndex,
        uint32 leaf,
        uint32 element,
        bytes calldata data
    ) external pure returns (int256) {
        (Word0 d, Word1 e) = _checked(d0, d1);
        if (d.opcode() == COLLECT) revert NoBytes();
        Shapes.checkElement(d, e, blockIndex, element);
        (uint256 byteLength,,) = Shapes.output(d, e, blockIndex);
        (uint256 from, uint256 width) = _place(d, element);
        if (from / Openings.LEAF_BYTES != leaf) revert ElementOutsideLeaf(element, leaf);
        uint256 expected = Openings.lengthOf(byteLength, leaf);
        if (data.length != expected) revert WrongLeafLength(expected, data.length);
        uint256 ptr;
        assembly ("memory-safe") {
            ptr := mload(0x40)
            mstore(ptr, calldataload(add(data.offset, mod(from, 1024))))
        }
        return _value(d.opcode(), width, ptr);
    }

    /// One unit of the element's fold, onto `acc`.
    function _unit(Reader memory r, Statement calldata s, uint256 u, int256 acc)
        private
        pure
        returns (int256)
    {
        uint256 op = Word0.wrap(s.d0).opcode();
        uint256 element = s.element;
        if (op == LINEAR) {
            int256 product = Linear.unit(r, s, element, u);
            unchecked {
                acc += product;
            }
        } else if (op == RMS_NORM) {
            acc = RmsNorm.unit(r, s, u, acc);
        } else if (op == QUANTIZE) {
            acc = Quantize.unit(r, s, element, u, acc);
        } else if (op == MAX) {
            acc = Reductions.max(r, s, element, u, acc);
        } else if (op == SUM) {
            acc = Reductions.sum(r, s, element, u, acc);
        } else if (op == MIX) {
            acc = Attention.mixUnit(r, s, element, u, acc);
        } else if (op == SAMPLE) {
            acc = Reductions.sample(r, s, u, acc);
        }
        // Accumulators are 128 bits wide; no agreed one comes near the end of that.
        return int256(int128(acc));
    }

    /// The element, from its fold's last accumulator; a map computes all of it here.
    function _finalize(Reader memory r, Statement calldata s, int256 acc)
        private
        pure
        returns (int256)
    {
        uint256 op = Word0.wrap(s.d0).opcode();
        uint256 element = s.element;
        if (op == LINEAR) return Linear.finalize(r, s, element, acc);
        if (op == RMS_NORM) return RmsNorm.finalize(r, s, element, acc);
        if (op == QUANTIZE) return Quantize.finalize(r, s, element, acc);
        if (op == MIX) return Attention.mixFinalize(r, s, element, acc);
        if (op == SUM) return int256(uint256(acc) & 0xffffffff);
        if (op == SAMPLE) return Reductions.indexOf(acc);
        if (op == EMBED) return Elementwise.embed(r, s, element);
        if (op == ROPE) return Elementwise.rope(r, s, element);
        if (op == SCORES) return Attention.scores(r, s, element);
        if (op == PROBS) return Attention.probs(r, s, element);
        if (op == SWIGLU) return Elementwise.swiGlu(r, s, element);
        if (op == COLLECT) return Elementwise.collect(r, s, element);
        // Max: the accumulator itself.
        return acc;
    }

    /// Where an element's bytes are in its tensor, and how many.
    function _place(Word0 d, uint256 element) private pure returns (uint256 from, uint256 width) {
        uint256 op = d.opcode();
        if (op == PROBS) return (2 * element, 2);
        if (op != QUANTIZE) return (4 * element, 4);
        return element < d.n() ? (2 * element, 2) : (element + d.n(), 1);
    }

    /// The number in `width` bytes at `ptr`; signed where the op's output is.
    function _value(uint256 op, uint256 width, uint256 ptr) private pure returns (int256) {
        if (op == PROBS) return int256(LittleEndian.u16(ptr));
        if (op == SUM || op == SAMPLE) return int256(LittleEndian.u32(ptr));
        if (width == 1) return int256(LittleEndian.u8(ptr));
        return width == 2 ? LittleEndian.i16(ptr) : LittleEndian.i32(ptr);
    }

    function _checked(bytes32 d0, bytes32 d1) private pure returns (Word0 d, Word1 e) {
        (d, e) = (Word0.wrap(d0), Word1.wrap(d1));
        Shapes.check(d, e);
    }
}
