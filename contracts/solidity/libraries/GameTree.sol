// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Merkle} from "./Merkle.sol";

/// Trees as the game and the tokens see them (bisection/README.md, "Hashing and trees"): padded to
/// a power of two with Z_h, leaves and nodes told apart by a tag byte. Hashing is assembly over
/// scratch memory, because a reveal hashes dozens of nodes.
library GameTree {
    /// Z_0: no leaf and no node hashes to it, as both begin with a tag byte that this text doesn't
    /// have.
    bytes32 internal constant Z0 = keccak256("refute.padding");

    /// Nodes of a level that cover at least one real leaf; `level` counts from the leaves.
    function realNodes(uint256 leaves, uint256 level) internal pure returns (uint256) {
        unchecked {
            return (leaves + (uint256(1) << level) - 1) >> level;
        }
    }

    /// keccak(0x00 ‖ data).
    function leaf(bytes calldata data) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore8(p, 0)
            calldatacopy(add(p, 1), data.offset, data.length)
            hash := keccak256(p, add(data.length, 1))
        }
    }

    /// keccak(0x00 ‖ first ‖ second): a leaf of two words, as the program's are.
    function leafOf(bytes32 first, bytes32 second) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore8(p, 0)
            mstore(add(p, 1), first)
            mstore(add(p, 33), second)
            hash := keccak256(p, 65)
        }
    }

    /// Z_level.
    function padding(uint256 level) internal pure returns (bytes32 pad) {
        pad = Z0;
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore8(p, 1)
            for {} level { level := sub(level, 1) } {
                mstore(add(p, 1), pad)
                mstore(add(p, 33), pad)
                pad := keccak256(p, 65)
            }
        }
    }

    /// The node `levels` levels above `nodes`, which stand at the left end of its range at `level`;
    /// the rest of the range is Z_level.
    function fold(bytes32[] calldata nodes, uint256 level, uint256 levels)
        internal
        pure
        returns (bytes32)
    {
        uint256 start;
        assembly ("memory-safe") {
            // Two words for hashing stay free in front of the nodes; the fold claims no memory.
            start := add(mload(0x40), 0x80)
            calldatacopy(start, nodes.offset, shl(5, nodes.length))
        }
        return foldAt(start, nodes.length, padding(level), levels);
    }

    /// As `fold`, over `count` words in memory at `start`, which it overwrites (and one word more).
    /// Uses the memory from the free pointer on for hashing: `start` must lie at least 0x80 bytes
    /// behind it, or before it.
    function foldAt(uint256 start, uint256 count, bytes32 pad, uint256 levels)
        internal
        pure
        returns (bytes32 root)
    {
        assembly ("memory-safe") {
            let tag := add(mload(0x40), 31)
            let pair := add(tag, 1)
            mstore8(tag, 1)
            for {} levels { levels := sub(levels, 1) } {
                if and(count, 1) { mstore(add(start, shl(5, count)), pad) }
                count := shr(1, add(count, 1))
                for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                    mcopy(pair, add(start, shl(6, i)), 64)
                    mstore(add(start, shl(5, i)), keccak256(tag, 65))
                }
                mstore(pair, pad)
                mstore(add(pair, 32), pad)
                pad := keccak256(tag, 65)
            }
            root := mload(start)
        }
    }

    /// The node that `path`, siblings from the bottom up, makes of `hash` at `index`. The caller
    /// checks the path's length.
    function climb(bytes32 hash, uint256 index, bytes32[] calldata path)
        internal
        pure
        returns (bytes32)
    {
        uint256 start;
        assembly ("memory-safe") {
            start := path.offset
        }
        return Merkle.climb(hash, index, start, path.length);
    }
}
