// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// The trees of bisection/README.md a second time, in plain Solidity and without thought for gas:
/// what the contracts are held against.
library Trees {
    function leaf(bytes memory data) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x00), data));
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x01), left, right));
    }

    function padding(uint256 height) internal pure returns (bytes32 z) {
        z = keccak256("refute.padding");
        for (uint256 h = 0; h < height; ++h) {
            z = node(z, z);
        }
    }

    function depth(uint256 leaves) internal pure returns (uint256 d) {
        while (2 ** d < leaves) ++d;
    }

    /// The real nodes of a level.
    function level(bytes32[] memory leaves, uint256 height)
        internal
        pure
        returns (bytes32[] memory nodes)
    {
        nodes = leaves;
        for (uint256 h = 0; h < height; ++h) {
            bytes32[] memory next = new bytes32[]((nodes.length + 1) / 2);
            for (uint256 i = 0; i < next.length; ++i) {
                next[i] =
                    node(nodes[2 * i], 2 * i + 1 < nodes.length ? nodes[2 * i + 1] : padding(h));
            }
            nodes = next;
        }
    }

    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        return level(leaves, depth(leaves.length))[0];
    }

    /// Siblings of the node (`from`, `index`) up to level `to`.
    function path(bytes32[] memory leaves, uint256 index, uint256 from, uint256 to)
        internal
        pure
        returns (bytes32[] memory siblings)
    {
        siblings = new bytes32[](to - from);
        for (uint256 h = from; h < to; ++h) {
            bytes32[] memory nodes = level(leaves, h);
            uint256 sibling = index ^ 1;
            siblings[h - from] = sibling < nodes.length ? nodes[sibling] : padding(h);
            index /= 2;
        }
    }

    /// The whole path of a leaf.
    function proof(bytes32[] memory leaves, uint256 index)
        internal
        pure
        returns (bytes32[] memory)
    {
        return path(leaves, index, 0, depth(leaves.length));
    }

    /// The real nodes at `to` under the node (`from`, `index`).
    function children(bytes32[] memory leaves, uint256 from, uint256 index, uint256 to)
        internal
        pure
        returns (bytes32[] memory found)
    {
        bytes32[] memory nodes = level(leaves, to);
        uint256 first = index << (from - to);
        uint256 end = (index + 1) << (from - to);
        if (end > nodes.length) end = nodes.length;
        found = new bytes32[](end - first);
        for (uint256 i = first; i < end; ++i) {
            found[i - first] = nodes[i];
        }
    }

    /// Leaves of bytes, 1024 each, the last one what is left.
    function chunks(bytes memory data) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[]((data.length + 1023) / 1024);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = leaf(chunk(data, i));
        }
    }

    function chunk(bytes memory data, uint256 index) internal pure returns (bytes memory part) {
        uint256 from = 1024 * index;
        uint256 size = data.length - from < 1024 ? data.length - from : 1024;
        part = new bytes(size);
        assembly ("memory-safe") {
            mcopy(add(part, 32), add(add(data, 32), from), size)
        }
    }
}
