// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Merkle} from "../../libraries/Merkle.sol";
import {Libraries} from "../support/Libraries.sol";
import {Assume} from "./Arithmetic.sol";

/// Trees and tokens, as ArithmeticChecks; a hash is a symbol without structure, so what is proved
/// holds for any hash function.
contract StructureChecks {
    Assume private constant vm = Assume(address(uint160(uint256(keccak256("hevm cheat code")))));
    Libraries private lib;

    function setUp() public {
        lib = new Libraries();
    }

    function node(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x01), left, right));
    }

    function check_depth(uint32 leaves) external pure {
        vm.assume(leaves > 0);
        uint256 d = Merkle.depth(leaves);
        assert(uint256(1) << d >= leaves);
        assert(d == 0 || uint256(1) << (d - 1) < leaves);
    }

    function check_realNodes(uint32 leaves, uint8 level) external view {
        vm.assume(leaves > 0 && level <= 32);
        uint256 real = lib.realNodes(leaves, level);
        // As many as cover all leaves, and one fewer wouldn't.
        assert(real << level >= leaves && (real - 1) << level < leaves);
    }

    function check_leafOf(bytes32 first, bytes32 second) external view {
        assert(lib.leafOf(first, second) == keccak256(abi.encodePacked(bytes1(0), first, second)));
    }

    /// Every place in a tree of four leaves.
    function check_climb(bytes32 hash, bytes32 a, bytes32 b) external view {
        bytes32[] memory path = new bytes32[](2);
        (path[0], path[1]) = (a, b);
        for (uint256 index = 0; index < 4; ++index) {
            bytes32 lower = index % 2 == 0 ? node(hash, a) : node(a, hash);
            bytes32 root = index < 2 ? node(lower, b) : node(b, lower);
            assert(lib.climb(hash, index, path) == root);
        }
    }

    /// Three nodes at level 1 and two levels above them: one is padding.
    function check_fold(bytes32 a, bytes32 b, bytes32 c) external view {
        bytes32[] memory nodes = new bytes32[](3);
        (nodes[0], nodes[1], nodes[2]) = (a, b, c);
        bytes32 zero = keccak256("refute.padding");
        bytes32 pad = node(zero, zero);
        assert(lib.fold(nodes, 1, 2) == node(node(a, b), node(c, pad)));
        assert(
            lib.fold(nodes, 1, 3)
                == node(lib.fold(nodes, 1, 2), node(node(pad, pad), node(pad, pad)))
        );
    }

    function _packed(uint32 token) private pure returns (bytes memory) {
        return
            abi.encodePacked(
                uint8(token), uint8(token >> 8), uint8(token >> 16), uint8(token >> 24)
            );
    }

    /// Exactly the ids below the vocabulary's size pass, wherever they stand in a word.
    function check_checkIds(uint32 token, uint32 vocabulary) external view {
        vm.assume(vocabulary > 0);
        for (uint256 place = 0; place < 9; ++place) {
            bytes memory packed =
                bytes.concat(new bytes(4 * place), _packed(token), new bytes(32 - 4 * place));
            (bool ok,) = address(lib).staticcall(abi.encodeCall(lib.checkIds, (packed, vocabulary)));
            assert(ok == (token < vocabulary));
        }
    }

    function check_checkIds_two(uint32 first, uint32 second, uint32 vocabulary) external view {
        bytes memory packed = bytes.concat(_packed(first), _packed(second));
        (bool ok,) = address(lib).staticcall(abi.encodeCall(lib.checkIds, (packed, vocabulary)));
        assert(ok == (first < vocabulary && second < vocabulary));
    }

    /// Two tokens, one stop id, a maximum of two or three.
    function check_checkOutput(uint32 first, uint32 second, uint32 stop, bool spare) external view {
        bytes memory packed = bytes.concat(_packed(first), _packed(second));
        uint32[] memory stops = new uint32[](1);
        stops[0] = stop;
        uint256 most = spare ? 3 : 2;
        (bool ok,) =
            address(lib).staticcall(abi.encodeCall(lib.checkOutput, (packed, 1 << 32, stops, most)));
        assert(ok == (first != stop && (second == stop || !spare)));
    }
}
