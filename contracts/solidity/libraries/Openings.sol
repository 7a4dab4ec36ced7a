// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Statement} from "../interfaces/IStepVerifier.sol";
import {Merkle} from "./Merkle.sol";
import {LittleEndian} from "./LittleEndian.sol";

/// Walks a witness, abi.encode(Opening[]), from its first opening to its last. Addresses are in
/// calldata.
struct Reader {
    uint256 table; // the array's table of offsets
    uint256 count; // openings in the array
    uint256 index; // the next opening
    uint256 cursor; // where it starts
    uint256 end; // of the witness
}

/// An input tensor: a step's of this block, or one carried from an earlier position.
struct Source {
    bool carried;
    uint256 index; // the step, or the carried tensor's place under the block root
    uint256 position; // of a carried tensor
    uint256 byteLength;
}

/// Reads tensors, weights and tokens through the witness. Only one encoding of a witness is
/// accepted, the one that abi.encode gives, so that a witness has one spelling and can carry
/// nothing else; lengths are demanded, never believed.
library Openings {
    /// Not what abi.encode gives for openings: an offset, a padding byte or the end is elsewhere.
    error WitnessMalformed(uint256 opening);
    error TooFewOpenings(uint256 count);
    error TooManyOpenings(uint256 count, uint256 read);
    error WrongDataLength(uint256 opening, uint256 expected, uint256 actual);
    error WrongProofLength(uint256 opening, uint256 expected, uint256 actual);
    /// The opening's path doesn't end at the root that it should.
    error WrongPath(uint256 opening);
    /// An op reads a step that is not before it.
    error ForwardReference(uint256 step, uint256 input);
    /// A leaf, a carried tensor, a position or a token that the tree doesn't have.
    error OutsideTree(uint256 index, uint256 leaves);

    uint256 internal constant LEAF_BYTES = 1024;
    uint256 internal constant TOKEN_BYTES = 4;
    /// More than any op reads; keeps the table of offsets short.
    uint256 private constant OPENINGS_MAX = 64;

    /// At the first opening of a witness.
    function start(bytes calldata witness) internal pure returns (Reader memory r) {
        uint256 from;
        uint256 head;
        uint256 count;
        assembly ("memory-safe") {
            from := witness.offset
            head := calldataload(from)
            count := calldataload(add(from, 32))
        }
        if (witness.length < 64 || head != 32 || count > OPENINGS_MAX) revert WitnessMalformed(0);
        unchecked {
            r.table = from + 64;
            r.count = count;
            r.cursor = r.table + 32 * count;
            r.end = from + witness.length;
            if (r.cursor > r.end) revert WitnessMalformed(0);
        }
    }

    /// Every opening was read, and nothing comes after the last one.
    function finish(Reader memory r) internal pure {
        if (r.index != r.count) revert TooManyOpenings(r.count, r.index);
        if (r.cursor != r.end) revert WitnessMalformed(r.index);
    }

    /// The next opening, of exactly these lengths: its data, copied to memory, and its path in
    /// calldata.
    function next(Reader memory r, uint256 dataLength, uint256 proofLength)
        internal
        pure
        returns (uint256 data, uint256 path)
    {
        uint256 i = r.index;
        if (i >= r.count) revert TooFewOpenings(r.count);
        unchecked {
            uint256 padded = (dataLength + 31) & ~uint256(31);
            uint256 ptr = r.cursor;
            // Nothing that is read below lies behind the end: calldata would read as zero there, or
            // as something else.
            _check(ptr + 96 <= r.end, i);
            _check(_word(r.table + 32 * i) == ptr - r.table && _word(ptr) == 64, i);
            if (_word(ptr + 64) != dataLength) {
                revert WrongDataLength(i, dataLength, _word(ptr + 64));
            }
            _check(_word(ptr + 32) == 96 + padded && ptr + 128 + padded <= r.end, i);
            path = ptr + 128 + padded;
            if (_word(path - 32) != proofLength) {
                revert WrongProofLength(i, proofLength, _word(path - 32));
            }
            _check(path + 32 * proofLength <= r.end, i);
            uint256 spare = 8 * (padded - dataLength);
            // Padding is zero.
            _check(spare == 0 || _word(path - 64) << (256 - spare) == 0, i);
            r.cursor = path + 32 * proofLength;
            r.index = i + 1;
            data = _copy(ptr + 96, dataLength);
        }
    }

    /// A leaf of a tensor; its place is checked against the root that both parties agree on.
    function leaf(Reader memory r, Statement calldata s, Source memory source, uint256 leafIndex)
        internal
        pure
        returns (uint256 data)
    {
        uint256 leaves = leavesOf(source.byteLength);
        if (leafIndex >= leaves) revert OutsideTree(leafIndex, leaves);
        uint256 levels = Merkle.depth(leaves);
        uint256 length = lengthOf(source.byteLength, leafIndex);
        if (source.carried) {
            uint256 inner = levels + Merkle.depth(s.carried);
            uint256 path;
            (data, path) = next(r, length, inner + Merkle.depth(s.blocks));
            bytes32 hash = Merkle.climb(hashAt(data, length), leafIndex, path, levels);
            hash = Merkle.climb(hash, source.index, path + 32 * levels, inner - levels);
            uint256 outer = Merkle.depth(s.blocks);
            _checkPath(
                r, Merkle.climb(hash, source.position, path + 32 * inner, outer), s.traceRoot
            );
        } else {
            uint256 outer = Merkle.depth(s.blockSteps);
            uint256 path;
            (data, path) = next(r, length, levels + outer);
            bytes32 hash = Merkle.climb(hashAt(data, length), leafIndex, path, levels);
            _checkPath(r, Merkle.climb(hash, source.index, path + 32 * levels, outer), s.stepRoot);
        }
    }

    /// The tensor of an earlier step of this block.
    function step(Statement calldata s, uint256 input, uint256 byteLength)
        internal
        pure
        returns (Source memory)
    {
        if (input >= s.step) revert ForwardReference(s.step, input);
        if (input >= s.blockSteps) revert OutsideTree(input, s.blockSteps);
        return Source(false, input, 0, byteLength);
    }

    /// Carried tensor `index` at `position`. At this block's own position it is the step `own`:
    /// what the trace root says about a block that is in dispute proves nothing.
    function cached(
        Statement calldata s,
        uint256 own,
        uint256 index,
        uint256 position,
        uint256 byteLength
    ) internal pure returns (Source memory) {
        if (position == s.blockIndex) return step(s, own, byteLength);
        if (position > s.blockIndex || position >= s.blocks) {
            revert OutsideTree(position, s.blocks);
        }
        if (index >= s.carried) revert OutsideTree(index, s.carried);
        return Source(true, index, position, byteLength);
    }

    /// Bytes `from … from + length` of a tensor, copied to memory: one opening for each leaf that
    /// they touch.
    function read(
        Reader memory r,
        Statement calldata s,
        Source memory source,
        uint256 from,
        uint256 length
    ) internal pure returns (uint256 ptr) {
        uint256 last = (from + length - 1) / LEAF_BYTES;
        uint256 to;
        for (uint256 i = from / LEAF_BYTES; i <= last; ++i) {
            uint256 data = leaf(r, s, source, i);
            uint256 skipped = i * LEAF_BYTES < from ? from - i * LEAF_BYTES : 0;
            // One leaf is read where it lies; several are put together behind the first one's
            // allocation.
            if (i == last && ptr == 0) return data + skipped;
            if (ptr == 0) (ptr, to) = _allocate(length);
            uint256 end = i == last ? from + length - i * LEAF_BYTES : LEAF_BYTES;
            assembly ("memory-safe") {
                mcopy(to, add(data, skipped), sub(end, skipped))
            }
            to += end - skipped;
        }
    }

    /// An `i32` element of a tensor of them.
    function readI32(Reader memory r, Statement calldata s, Source memory source, uint256 i)
        internal
        pure
        returns (int256)
    {
        return LittleEndian.i32(read(r, s, source, 4 * i, 4));
    }

    /// A leaf of the weights tree.
    function weights(Reader memory r, Statement calldata s, uint256 leafIndex, uint256 length)
        internal
        pure
        returns (uint256 data)
    {
        if (leafIndex >= s.weightLeaves) revert OutsideTree(leafIndex, s.weightLeaves);
        uint256 levels = Merkle.depth(s.weightLeaves);
        uint256 path;
        (data, path) = next(r, length, levels);
        _checkPath(r, Merkle.climb(hashAt(data, length), leafIndex, path, levels), s.weightsRoot);
    }

    /// The token that block `t` starts from: the prompt's, then the output's.
    function token(Reader memory r, Statement calldata s) internal pure returns (uint256) {
        bool prompt = s.blockIndex < s.promptLength;
        uint256 tokens = prompt ? s.promptLength : s.outputLength;
        uint256 index = prompt ? s.blockIndex : s.blockIndex - s.promptLength;
        if (index >= tokens) revert OutsideTree(index, tokens);
        uint256 byteLength = tokens * TOKEN_BYTES;
        uint256 leafIndex = index * TOKEN_BYTES / LEAF_BYTES;
        uint256 length = lengthOf(byteLength, leafIndex);
        uint256 levels = Merkle.depth(leavesOf(byteLength));
        (uint256 data, uint256 path) = next(r, length, levels);
        bytes32 root = Merkle.climb(hashAt(data, length), leafIndex, path, levels);
        _checkPath(r, root, prompt ? s.promptRoot : s.outputRoot);
        return LittleEndian.u32(data + index * TOKEN_BYTES - leafIndex * LEAF_BYTES);
    }

    /// A step that comes before this one, with its descriptor.
    function descriptor(Reader memory r, Statement calldata s)
        internal
        pure
        returns (uint256 input, bytes32 d0, bytes32 d1)
    {
        uint256 levels = Merkle.depth(s.programSteps);
        (uint256 data, uint256 path) = next(r, 68, levels);
        input = LittleEndian.u32(data);
        if (input >= s.step) revert ForwardReference(s.step, input);
        if (input >= s.programSteps) revert OutsideTree(input, s.programSteps);
        bytes32 hash = hashAt(data + 4, 64);
        _checkPath(r, Merkle.climb(hash, input, path, levels), s.programRoot);
        assembly ("memory-safe") {
            d0 := mload(add(data, 4))
            d1 := mload(add(data, 36))
        }
    }

    /// The root of an earlier step's tensor: a leaf of the step tree that is not hashed again.
    function stepTensorRoot(Reader memory r, Statement calldata s, uint256 input)
        internal
        pure
        returns (bytes32 root)
    {
        uint256 levels = Merkle.depth(s.blockSteps);
        if (input >= s.blockSteps) revert OutsideTree(input, s.blockSteps);
        (uint256 data, uint256 path) = next(r, 32, levels);
        assembly ("memory-safe") {
            root := mload(data)
        }
        _checkPath(r, Merkle.climb(root, input, path, levels), s.stepRoot);
    }

    /// Leaves of a tensor's tree.
    function leavesOf(uint256 byteLength) internal pure returns (uint256) {
        return (byteLength + LEAF_BYTES - 1) / LEAF_BYTES;
    }

    /// Bytes of a leaf that the tensor has.
    function lengthOf(uint256 byteLength, uint256 leafIndex) internal pure returns (uint256) {
        uint256 left = byteLength - leafIndex * LEAF_BYTES;
        return left < LEAF_BYTES ? left : LEAF_BYTES;
    }

    /// keccak(0x00 ‖ data) of data that `next` copied: the byte in front of it is a zero.
    function hashAt(uint256 data, uint256 length) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let before := sub(data, 1)
            let kept := mload(before)
            mstore8(before, 0)
            hash := keccak256(before, add(length, 1))
            mstore(before, kept)
        }
    }

    function _checkPath(Reader memory r, bytes32 actual, bytes32 expected) private pure {
        if (actual != expected) revert WrongPath(r.index - 1);
    }

    function _check(bool condition, uint256 opening) private pure {
        if (!condition) revert WitnessMalformed(opening);
    }

    function _word(uint256 ptr) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(ptr)
        }
    }

    /// Copies calldata to new memory; a word in front of it is this copy's too, for the tag byte of
    /// its hash.
    function _copy(uint256 from, uint256 length) private pure returns (uint256 to) {
        assembly ("memory-safe") {
            to := add(mload(0x40), 32)
            calldatacopy(to, from, length)
            // A word more: numbers are read in whole words.
            mstore(0x40, and(add(add(to, length), 63), not(31)))
        }
    }

    function _allocate(uint256 length) private pure returns (uint256 ptr, uint256 same) {
        assembly ("memory-safe") {
            ptr := mload(0x40)
            mstore(0x40, and(add(add(ptr, length), 63), not(31)))
        }
        same = ptr;
    }
}
