// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {GameTree} from "./GameTree.sol";
import {Merkle} from "./Merkle.sol";

/// Token ids as they stand in calldata: u32, little-endian, packed. Their tree has leaves of 256
/// tokens.
library Tokens {
    uint256 internal constant LEAF_TOKENS = 256;
    uint256 internal constant LEAF_BYTES = 1024;

    /// Calldata that is no whole number of tokens: two spellings of the same tokens must not exist.
    error TokensNotPacked(uint256 length);
    error NoTokens();
    error TokenOutsideVocabulary(uint256 index, uint256 token);
    error StopTokenInside(uint256 index);
    error TooManyTokens(uint256 count, uint256 maximum);
    /// Shorter than the maximum, and the last token is no stop id.
    error OutputCutShort(uint256 count, uint256 maximum);

    /// Number of tokens; at least one.
    function count(bytes calldata packed) internal pure returns (uint256) {
        if (packed.length % 4 != 0) revert TokensNotPacked(packed.length);
        if (packed.length == 0) revert NoTokens();
        return packed.length / 4;
    }

    /// Every id is below the vocabulary's size.
    function checkIds(bytes calldata packed, uint256 vocabulary) internal pure {
        _scan(packed, vocabulary, 0, new uint32[](0));
    }

    /// Ids below the vocabulary's size, at most `maximum` of them, no stop id before the last, and
    /// the last is one unless the length is the maximum.
    function checkOutput(
        bytes calldata packed,
        uint256 vocabulary,
        uint32[] memory stopIds,
        uint256 maximum
    ) internal pure returns (uint256 n) {
        n = count(packed);
        if (n > maximum) revert TooManyTokens(n, maximum);
        // One bit for each residue of a stop id: most tokens are seen to be none without a search.
        uint256 residues;
        for (uint256 i = 0; i < stopIds.length; ++i) {
            residues |= uint256(1) << (stopIds[i] & 255);
        }
        bool stopped = _scan(packed, vocabulary, residues, stopIds);
        if (!stopped && n != maximum) revert OutputCutShort(n, maximum);
    }

    /// Root of the tokens' tree; `packed` holds at least one token.
    function root(bytes calldata packed) internal pure returns (bytes32) {
        uint256 leaves = (packed.length + LEAF_BYTES - 1) / LEAF_BYTES;
        uint256 start;
        assembly ("memory-safe") {
            // A leaf is hashed behind the list of leaves; nothing is allocated, as nothing outlives
            // this function.
            start := add(mload(0x40), 0x80)
            let p := add(start, shl(5, add(leaves, 1)))
            mstore8(p, 0)
            for { let i := 0 } lt(i, leaves) { i := add(i, 1) } {
                let from := shl(10, i)
                let size := sub(packed.length, from)
                if gt(size, 1024) { size := 1024 }
                calldatacopy(add(p, 1), add(packed.offset, from), size)
                mstore(add(start, shl(5, i)), keccak256(p, add(size, 1)))
            }
        }
        return GameTree.foldAt(start, leaves, GameTree.Z0, Merkle.depth(leaves));
    }

    /// Checks every id, and that no stop id stands before the last; says whether the last is one.
    function _scan(
        bytes calldata packed,
        uint256 vocabulary,
        uint256 residues,
        uint32[] memory stopIds
    ) private pure returns (bool stopped) {
        uint256 n = packed.length / 4;
        for (uint256 first = 0; first < n; first += 8) {
            uint256 word = _wordOfTokens(packed, first);
            uint256 end = first + 8 < n ? first + 8 : n;
            for (uint256 i = first; i < end; ++i) {
                unchecked {
                    uint256 token = (word >> (224 - 32 * (i - first))) & 0xffffffff;
                    if (token >= vocabulary) revert TokenOutsideVocabulary(i, token);
                    if ((residues >> (token & 255)) & 1 == 1 && _contains(stopIds, token)) {
                        if (i + 1 != n) revert StopTokenInside(i);
                        stopped = true;
                    }
                }
            }
        }
    }

    /// Eight tokens from `first` on, each big-endian, the first one highest. Behind the end it
    /// holds whatever calldata does.
    function _wordOfTokens(bytes calldata packed, uint256 first)
        private
        pure
        returns (uint256 word)
    {
        assembly ("memory-safe") {
            word := calldataload(add(packed.offset, shl(2, first)))
        }
        uint256 bytesOdd = 0xff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00;
        uint256 halvesOdd = 0xffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000;
        word = ((word & bytesOdd) >> 8) | ((word & (bytesOdd >> 8)) << 8);
        word = ((word & halvesOdd) >> 16) | ((word & (halvesOdd >> 16)) << 16);
    }

    function _contains(uint32[] memory ids, uint256 token) private pure returns (bool) {
        for (uint256 i = 0; i < ids.length; ++i) {
            if (ids[i] == token) return true;
        }
        return false;
    }
}
