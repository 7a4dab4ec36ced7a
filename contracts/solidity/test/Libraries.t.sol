// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {GameTree} from "../libraries/GameTree.sol";
import {Merkle} from "../libraries/Merkle.sol";
import {Tokens} from "../libraries/Tokens.sol";
import {VmMore} from "./support/Fixture.sol";
import {Libraries} from "./support/Libraries.sol";
import {Test} from "./support/Test.sol";
import {Toy} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";

/// The assembly against the plain version, and the token rules.
contract LibrariesTest is Test {
    VmMore private constant cheats = VmMore(address(vm));
    Libraries private lib;

    function setUp() public {
        lib = new Libraries();
    }

    function _random(uint256 seed, uint256 length) private pure returns (bytes32[] memory list) {
        list = new bytes32[](length);
        for (uint256 i = 0; i < length; ++i) {
            list[i] = keccak256(abi.encode(seed, i));
        }
    }

    function test_depth_everySize() public pure {
        assertEq(Merkle.depth(1), 0);
        assertEq(Merkle.depth(2), 1);
        assertEq(Merkle.depth(3), 2);
        assertEq(Merkle.depth(65_536), 16);
        assertEq(Merkle.depth(65_537), 17);
        assertEq(Merkle.depth(type(uint32).max), 32);
        for (uint256 n = 1; n < 70; ++n) {
            assertEq(Merkle.depth(n), Trees.depth(n), "depth");
            for (uint256 h = 0; h <= Merkle.depth(n); ++h) {
                assertEq(
                    GameTree.realNodes(n, h), Trees.level(new bytes32[](n), h).length, "real nodes"
                );
            }
        }
    }

    function test_padding_isNodesOfPadding() public pure {
        for (uint256 h = 0; h < 33; ++h) {
            assertEq(GameTree.padding(h), Trees.padding(h));
        }
    }

    function testFuzz_fold_sameAsPlain(uint256 seed, uint256 length, uint256 level) public view {
        length = bound(length, 1, 256);
        level = bound(level, 0, 5);
        bytes32[] memory nodes = _random(seed, length);
        uint256 levels = Trees.depth(length) + seed % 3;
        bytes32[] memory row = nodes;
        for (uint256 h = 0; h < levels; ++h) {
            bytes32[] memory next = new bytes32[]((row.length + 1) / 2);
            for (uint256 i = 0; i < next.length; ++i) {
                next[i] = Trees.node(
                    row[2 * i], 2 * i + 1 < row.length ? row[2 * i + 1] : Trees.padding(level + h)
                );
            }
            row = next;
        }
        assertEq(lib.fold(nodes, level, levels), row[0]);
    }

    function testFuzz_climb_sameAsPlain(uint256 seed, uint256 length, uint256 index) public view {
        length = bound(length, 1, 100);
        index = bound(index, 0, length - 1);
        bytes32[] memory leaves = _random(seed, length);
        assertEq(lib.climb(leaves[index], index, Trees.proof(leaves, index)), Trees.root(leaves));
    }

    function testFuzz_leaf_sameAsPlain(bytes calldata data) public view {
        assertEq(lib.leaf(data), Trees.leaf(data));
    }

    /// What is hashed for a node is as long as a program's leaf, and two roots of an answer: without
    /// the tags the one could be shown as the other.
    function testFuzz_node_isNoLeaf(bytes32 left, bytes32 right) public view {
        bytes32[] memory path = new bytes32[](1);
        path[0] = right;
        bytes32 climbed = lib.climb(left, 0, path);
        assertTrue(climbed != lib.leafOf(left, right), "a path's node is a leaf");
        path = new bytes32[](2);
        (path[0], path[1]) = (left, right);
        assertTrue(lib.fold(path, 0, 1) != lib.leaf(bytes.concat(left, right)), "a fold's is one");
        assertEq(climbed, lib.fold(path, 0, 1), "the same node");
    }

    function testFuzz_tokenRoot_sameAsPlain(uint256 seed, uint256 length) public view {
        bytes memory packed = _tokens(seed, bound(length, 1, 1500), type(uint32).max);
        assertEq(lib.tokenRoot(packed), Trees.root(Trees.chunks(packed)));
    }

    function _tokens(uint256 seed, uint256 length, uint256 vocabulary)
        private
        pure
        returns (bytes memory)
    {
        uint32[] memory ids = new uint32[](length);
        for (uint256 i = 0; i < length; ++i) {
            ids[i] = uint32(uint256(keccak256(abi.encode(seed, i))) % vocabulary);
        }
        return Toy.pack(ids);
    }

    // ---------------------------------------------------------------- token rules

    function _ids(uint256 length, uint32 id) private pure returns (uint32[] memory ids) {
        ids = new uint32[](length);
        for (uint256 i = 0; i < length; ++i) {
            ids[i] = id;
        }
    }

    function test_count_notWholeTokens_reverts() public {
        assertEq(lib.count(new bytes(4)), 1);
        assertEq(lib.count(new bytes(40)), 10);
        for (uint256 length = 1; length < 12; ++length) {
            if (length % 4 == 0) continue;
            vm.expectRevert(abi.encodeWithSelector(Tokens.TokensNotPacked.selector, length));
            lib.count(new bytes(length));
        }
        vm.expectRevert(Tokens.NoTokens.selector);
        lib.count("");
    }

    /// A foreign id at every place of the words that the scan reads.
    function test_checkIds_outsideVocabulary_reverts() public {
        for (uint256 length = 1; length < 20; ++length) {
            for (uint256 i = 0; i < length; ++i) {
                uint32[] memory ids = _ids(length, 49_151);
                lib.checkIds(Toy.pack(ids), 49_152);
                ids[i] = 49_152;
                vm.expectRevert(
                    abi.encodeWithSelector(Tokens.TokenOutsideVocabulary.selector, i, 49_152)
                );
                lib.checkIds(Toy.pack(ids), 49_152);
                ids[i] = type(uint32).max;
                vm.expectRevert(
                    abi.encodeWithSelector(Tokens.TokenOutsideVocabulary.selector, i, ids[i])
                );
                lib.checkIds(Toy.pack(ids), 49_152);
            }
        }
    }

    function test_checkIds_readsNothingBehindTheEnd() public view {
        // The word holds other calldata behind the tokens: here the all-ones that follow.
        (bool ok,) = address(lib)
            .staticcall(
                bytes.concat(
                    abi.encodeWithSelector(
                        Libraries.checkIds.selector, uint256(64), uint256(10), uint256(4)
                    ),
                    hex"09000000",
                    hex"ffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
                )
            );
        assertTrue(ok, "tokens behind the end");
    }

    function test_checkOutput_stopInside_reverts() public {
        uint32[] memory stops = _ids(1, 7);
        for (uint256 length = 2; length < 19; ++length) {
            for (uint256 i = 0; i + 1 < length; ++i) {
                uint32[] memory ids = _ids(length, 263); // 263 mod 256 is 7
                ids[i] = 7;
                vm.expectRevert(abi.encodeWithSelector(Tokens.StopTokenInside.selector, i));
                lib.checkOutput(Toy.pack(ids), 1000, stops, length);
                ids[length - 1] = 7;
                vm.expectRevert(abi.encodeWithSelector(Tokens.StopTokenInside.selector, i));
                lib.checkOutput(Toy.pack(ids), 1000, stops, length + 1);
            }
        }
    }

    function test_checkOutput_length_stopOrMaximum() public {
        uint32[] memory stops = _ids(2, 7);
        stops[1] = 999;
        for (uint256 length = 1; length < 19; ++length) {
            uint32[] memory ids = _ids(length, 263);
            assertEq(lib.checkOutput(Toy.pack(ids), 1000, stops, length), length, "the maximum");
            vm.expectRevert(
                abi.encodeWithSelector(Tokens.OutputCutShort.selector, length, length + 1)
            );
            lib.checkOutput(Toy.pack(ids), 1000, stops, length + 1);
            vm.expectRevert(
                abi.encodeWithSelector(Tokens.TooManyTokens.selector, length, length - 1)
            );
            lib.checkOutput(Toy.pack(ids), 1000, stops, length - 1);
            ids[length - 1] = stops[length % 2];
            assertEq(lib.checkOutput(Toy.pack(ids), 1000, stops, length), length, "both");
            assertEq(lib.checkOutput(Toy.pack(ids), 1000, stops, length + 5), length, "a stop");
        }
    }

    function test_checkOutput_noStopIds_onlyTheMaximum() public {
        uint32[] memory none;
        lib.checkOutput(Toy.pack(_ids(3, 0)), 1, none, 3);
        cheats.expectPartialRevert(Tokens.OutputCutShort.selector);
        lib.checkOutput(Toy.pack(_ids(3, 0)), 1, none, 4);
    }

    function testFuzz_checkOutput_sameAsPlain(
        uint256 seed,
        uint256 length,
        uint256 stops,
        uint256 maximum
    ) public view {
        length = bound(length, 1, 40);
        maximum = bound(maximum, 1, 40);
        uint32[] memory stopIds = _ids(bound(stops, 0, 32), 0);
        for (uint32 i = 0; i < stopIds.length; ++i) {
            stopIds[i] = 40 * i;
        }
        bytes memory packed = _tokens(seed, length, 1290);
        bool good = length <= maximum;
        bool stopped;
        for (uint256 i = 0; i < length; ++i) {
            uint256 token = uint8(packed[4 * i]) + 256 * uint256(uint8(packed[4 * i + 1]));
            stopped = token % 40 == 0 && token / 40 < stopIds.length;
            if (token >= 1280 || (stopped && i + 1 < length)) good = false;
        }
        if (!stopped && length != maximum) good = false;
        (bool ok,) = address(lib)
            .staticcall(abi.encodeCall(lib.checkOutput, (packed, 1280, stopIds, maximum)));
        assertTrue(ok == good, "the rules");
    }
}
