// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DisputeGame} from "../DisputeGame.sol";
import {State} from "../interfaces/IDisputeGame.sol";
import {Phases} from "../libraries/Phases.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";
import {Wire} from "./support/Wire.sol";

/// A defender whose tree has a leaf of another length than its tensor's. If it could be shown, the
/// challenger would be asked to choose an element in bytes that the verifier refuses to read, and
/// would lose by its clock.
contract LeafLengthsTest is Player {
    uint32 private constant BLOCK = 3;
    uint32 private constant LONG = 4;
    uint32 private constant LEAF = 4; // the last one: 904 bytes

    int256 private more;

    /// The leaf as the defender has it: so many bytes more, or fewer.
    function _odd() private view returns (bytes memory odd) {
        odd = Trees.chunk(Toy.tensor(lie, BLOCK, LONG), LEAF);
        if (more > 0) return bytes.concat(odd, new bytes(uint256(more)));
        int256 change = more;
        assembly ("memory-safe") {
            mstore(odd, add(mload(odd), change))
        }
    }

    function _tensorLeaves(Lie memory of_, uint32 blockIndex, uint32 step)
        internal
        override
        returns (bytes32[] memory leaves)
    {
        leaves = super._tensorLeaves(of_, blockIndex, step);
        if (blockIndex == BLOCK && step == LONG) leaves[LEAF] = Trees.leaf(_odd());
    }

    /// A call of its own, for the stack of its caller.
    function lose(int256 more_, uint64 unit) external {
        more = more_;
        _deploy(2);
        vm.warp(START);
        // A lie of its own for each length: roots are kept by lie.
        State memory s = _disputed(Lie(LieKind.Value, BLOCK, LONG, 1249, unit));
        s = _playTo(s, Phases.LEAF_REVEAL);
        assertEq(s.node, Trees.leaf(_odd()), "the leaf that the tree has");
        _refuse(DisputeGame.WrongLength.selector, s, _odd());
        _refuse(DisputeGame.WrongHash.selector, s, _leafData(s));
        vm.warp(game.disputeOf(s.dispute).deadline + 1);
        game.timeout(s.dispute);
        assertTrue(game.disputeOf(s.dispute).challengerWon, "nothing can be shown");
    }

    function _refuse(bytes4 reason, State memory s, bytes memory data) private {
        cheats.expectPartialRevert(reason);
        vm.prank(provider);
        game.revealLeaf(Wire.pack(s), data);
    }

    function test_revealLeaf_committedToAnotherLength_isTheDefendersLoss() public {
        this.lose(1, 20);
        this.lose(-1, 21);
        this.lose(-4, 22);
        this.lose(4, 23);
        this.lose(120, 24);
    }
}
