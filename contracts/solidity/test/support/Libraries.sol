// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Elementwise} from "../../libraries/Elementwise.sol";
import {FixedPoint} from "../../libraries/FixedPoint.sol";
import {GameTree} from "../../libraries/GameTree.sol";
import {Merkle} from "../../libraries/Merkle.sol";
import {Noise} from "../../libraries/Noise.sol";
import {RmsNorm} from "../../libraries/Norm.sol";
import {Tokens} from "../../libraries/Tokens.sol";

/// The libraries as a contract: they want calldata, and a revert that the caller survives. The
/// mutation test compiles it alone, so it imports nothing else.
contract Libraries {
    bytes32 private constant OURS = keccak256("what belongs to the caller");

    error WroteElsewhere();

    /// As in a contract that has been at work: somebody's word ends where free memory begins, and
    /// free memory isn't zero.
    modifier amid() {
        bytes32 ours = OURS;
        uint256 at;
        assembly ("memory-safe") {
            at := mload(0x40)
            mstore(at, ours)
            mstore(0x40, add(at, 32))
        }
        _fill();
        _;
        bytes32 left;
        bytes32 zero;
        assembly ("memory-safe") {
            left := mload(at)
            zero := mload(0x60)
        }
        if (left != ours || zero != 0) revert WroteElsewhere();
    }

    function fold(bytes32[] calldata nodes, uint256 level, uint256 levels)
        external
        pure
        amid
        returns (bytes32)
    {
        return GameTree.fold(nodes, level, levels);
    }

    function climb(bytes32 hash, uint256 index, bytes32[] calldata path)
        external
        pure
        amid
        returns (bytes32)
    {
        return GameTree.climb(hash, index, path);
    }

    function leaf(bytes calldata data) external pure amid returns (bytes32) {
        return GameTree.leaf(data);
    }

    function leafOf(bytes32 first, bytes32 second) external pure amid returns (bytes32) {
        return GameTree.leafOf(first, second);
    }

    function padding(uint256 level) external pure amid returns (bytes32) {
        return GameTree.padding(level);
    }

    function realNodes(uint256 leaves, uint256 level) external pure returns (uint256) {
        return GameTree.realNodes(leaves, level);
    }

    function depth(uint256 leaves) external pure returns (uint256) {
        return Merkle.depth(leaves);
    }

    function tokenRoot(bytes calldata packed) external pure amid returns (bytes32) {
        return Tokens.root(packed);
    }

    function count(bytes calldata packed) external pure returns (uint256) {
        return Tokens.count(packed);
    }

    function checkIds(bytes calldata packed, uint256 vocabulary) external pure {
        Tokens.checkIds(packed, vocabulary);
    }

    function checkOutput(
        bytes calldata packed,
        uint256 vocabulary,
        uint32[] memory stopIds,
        uint256 maximum
    ) external pure returns (uint256) {
        return Tokens.checkOutput(packed, vocabulary, stopIds, maximum);
    }

    function rshiftRound(int256 x, uint256 s) external pure returns (int256) {
        return FixedPoint.rshiftRound(x, s);
    }

    function clamp(int256 x, int256 limit) external pure returns (int256) {
        return FixedPoint.clamp(x, limit);
    }

    function floorDiv(int256 x, int256 y) external pure returns (int256) {
        return FixedPoint.floorDiv(x, y);
    }

    function bitlen(uint256 x) external pure returns (uint256) {
        return FixedPoint.bitlen(x);
    }

    function isqrt(uint256 x) external pure returns (uint256) {
        return FixedPoint.isqrt(x);
    }

    function exp2(uint256 f) external pure returns (uint256) {
        return FixedPoint.exp2(f);
    }

    function gated(int256 gate, int256 up) external pure returns (int256) {
        return Elementwise.gated(gate, up);
    }

    function normalized(int256 acc, uint256 n, uint256 eps, int256 exponent, int256 x, int256 w)
        external
        pure
        returns (int256)
    {
        return RmsNorm.compute(acc, n, eps, exponent, x, w);
    }

    function gumbel(uint256 word) external pure returns (int256) {
        return Noise.gumbel(word);
    }

    /// The noise of id `first + i`; the words of the unit stay whoever works after them.
    function noise(uint256 seed, uint256 position, uint256 first, uint256 i)
        external
        pure
        amid
        returns (int256)
    {
        uint256 words = Noise.words(seed, position, first);
        _fill();
        return Noise.ofId(words, i);
    }

    /// Leaves ones in free memory.
    function _fill() private pure {
        assembly ("memory-safe") {
            let free := mload(0x40)
            for { let i := 0 } lt(i, 0x2000) { i := add(i, 32) } { mstore(add(free, i), not(0)) }
        }
    }
}
