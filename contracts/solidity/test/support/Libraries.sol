// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {FixedPoint} from "../../libraries/FixedPoint.sol";
import {GameTree} from "../../libraries/GameTree.sol";
import {Merkle} from "../../libraries/Merkle.sol";
import {Tokens} from "../../libraries/Tokens.sol";

/// The libraries as a contract: they want calldata, and a revert that the caller survives. The
/// mutation test compiles it alone, so it imports nothing else.
contract Libraries {
    function fold(bytes32[] calldata nodes, uint256 level, uint256 levels)
        external
        pure
        returns (bytes32)
    {
        return GameTree.fold(nodes, level, levels);
    }

    function climb(bytes32 hash, uint256 index, bytes32[] calldata path)
        external
        pure
        returns (bytes32)
    {
        return GameTree.climb(hash, index, path);
    }

    function leaf(bytes calldata data) external pure returns (bytes32) {
        return GameTree.leaf(data);
    }

    function leafOf(bytes32 first, bytes32 second) external pure returns (bytes32) {
        return GameTree.leafOf(first, second);
    }

    function padding(uint256 level) external pure returns (bytes32) {
        return GameTree.padding(level);
    }

    function realNodes(uint256 leaves, uint256 level) external pure returns (uint256) {
        return GameTree.realNodes(leaves, level);
    }

    function depth(uint256 leaves) external pure returns (uint256) {
        return Merkle.depth(leaves);
    }

    function tokenRoot(bytes calldata packed) external pure returns (bytes32) {
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
}
