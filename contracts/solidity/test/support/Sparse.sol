// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Trees} from "./Trees.sol";

/// A leaf of a tree of which only some leaves are known; the rest of it is arbitrary.
struct Known {
    uint256 index;
    bytes32 hash;
}

/// Trees of a few known leaves, however wide.
library Sparse {
    function root(Known[] memory known, uint256 levels) internal pure returns (bytes32) {
        return _node(known, levels, 0);
    }

    function proof(Known[] memory known, uint256 levels, uint256 index)
        internal
        pure
        returns (bytes32[] memory path)
    {
        path = new bytes32[](levels);
        for (uint256 h = 0; h < levels; ++h) {
            path[h] = _node(known, h, (index >> h) ^ 1);
        }
    }

    function _node(Known[] memory known, uint256 level, uint256 index)
        private
        pure
        returns (bytes32)
    {
        bool found;
        for (uint256 i = 0; i < known.length; ++i) {
            if (known[i].index >> level != index) continue;
            if (level == 0) return known[i].hash;
            found = true;
        }
        if (!found) return keccak256(abi.encode("unknown", level, index));
        return
            Trees.node(_node(known, level - 1, 2 * index), _node(known, level - 1, 2 * index + 1));
    }
}
