// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Leaves and paths as the verifier reads them: bytes in memory, siblings in calldata at an address
/// (bisection/README.md, "Hashing and trees").
library Merkle {
    /// ceil(log2(leaves)): the length of every path in a tree of `leaves` leaves.
    function depth(uint256 leaves) internal pure returns (uint256 d) {
        unchecked {
            while ((uint256(1) << d) < leaves) ++d;
        }
    }

    /// Climbs `levels` siblings at calldata address `path`, from `hash` at `index`.
    function climb(bytes32 hash, uint256 index, uint256 path, uint256 levels)
        internal
        pure
        returns (bytes32 root)
    {
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore8(p, 1)
            root := hash
            for { let end := add(path, shl(5, levels)) } lt(path, end) { path := add(path, 32) } {
                let right := shl(5, and(index, 1))
                mstore(add(add(p, 1), right), root)
                mstore(sub(add(p, 33), right), calldataload(path))
                root := keccak256(p, 65)
                index := shr(1, index)
            }
        }
    }
}
