// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {State} from "../interfaces/IDisputeGame.sol";
import {ClaimStatus} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";
import {Wire} from "./support/Wire.sol";

/// How many moves, and how many seconds, a dispute takes at most: the formula of
/// contracts/README.md, held against what the game does.
contract BoundsTest is Player {
    /// Rounds that open a tree of so many leaves.
    function _treeRounds(uint256 leaves, uint256 arityBits) private pure returns (uint256) {
        return (Trees.depth(leaves) + arityBits - 1) / arityBits;
    }

    /// Rounds that narrow a fold of so many units to one.
    function _foldRounds(uint256 units, uint256 arityBits) private pure returns (uint256 rounds) {
        uint256 arity = 1 << arityBits;
        for (; units > 1; ++rounds) {
            units = units <= arity ? 1 : (units + arity - 1) / arity;
        }
    }

    /// Moves before the step, of both parties: pairs of what is shown and what is chosen.
    function _moves(
        uint256 arityBits,
        uint256 blocks,
        uint256 steps,
        uint256 tensorLeaves,
        uint256 units
    ) private pure returns (uint256) {
        return 2
            * (_treeRounds(blocks, arityBits)
                + _treeRounds(steps, arityBits)
                + _treeRounds(tensorLeaves, arityBits)
                + 1
                + _foldRounds(units, arityBits));
    }

    /// At every arity, wherever the lie: as many moves as the formula says, or a round less.
    ///
    /// forge-config: default.fuzz.runs = 32
    function testFuzz_moves_areTheFormulas(uint8 arity, uint8 which) public {
        uint32 a = uint32(bound(arity, 1, 8));
        _deploy(a);
        lie = [
            Lie(LieKind.Value, 3, 4, 1249, 20),
            Lie(LieKind.Value, 5, 6, 0, 3),
            Lie(LieKind.Value, 0, 1, 300, 0),
            Lie(LieKind.Value, 2, 2, 9, 1)
        ][which % 4];
        (, bytes32 claimId) = _claimed(lie);
        State memory s = _playTo(_initial(_challenge(claimId)), Phases.STEP);
        uint256 most = _moves(
            a,
            PROMPT + OUTPUT - 1,
            lie.blockIndex + 1 >= PROMPT ? Toy.OUTPUT_STEPS : Toy.PROMPT_STEPS,
            (Toy.byteLengthOf(lie.step) + 1023) / 1024,
            Toy.unitsOf(lie.step)
        );
        assertTrue(s.move <= most, "more moves");
        // Segments are of unequal length: a short one can save the last round.
        assertTrue(s.move + 2 >= most, "fewer moves");
    }

    /// The table of contracts/README.md: 2,048 positions, 726 steps, 49,152 tokens. The deepest is
    /// the sampled token, a fold over the vocabulary, or the logits, or a fold over positions.
    function test_moves_ofTheTable() public pure {
        uint16[8] memory table = [uint16(76), 40, 30, 22, 20, 16, 16, 16];
        for (uint256 a = 1; a <= 8; ++a) {
            assertEq(_most(a, 2048, 726, 49_152, 3), table[a - 1], "table");
        }
        // A shape of 13 billion weights, at the default.
        assertEq(_most(5, 4096, 966, 32_000, 20), 20, "13B");
    }

    /// `width`: leaves of a tensor as wide as the model.
    function _most(uint256 a, uint256 context, uint256 steps, uint256 vocabulary, uint256 width)
        private
        pure
        returns (uint256 most)
    {
        uint256[2][3] memory kinds = [
            [uint256(1), vocabulary], // sample
            [vocabulary / 256, 16], // logits: a row of weights is a few leaves
            [width, context] // attention
        ];
        for (uint256 i = 0; i < 3; ++i) {
            uint256 moves = _moves(a, context, steps, kinds[i][0], kinds[i][1]);
            if (moves > most) most = moves;
        }
    }

    /// Both parties use every second that they have: the claim is decided window + both clocks +
    /// (moves + 1) minimum responses after it was made, less the second that the window's last
    /// challenge needs, and not a second later.
    function test_slowestPlay_endsAtTheBound() public {
        lie = Lie(LieKind.Value, 3, 4, 1249, 20);
        (, bytes32 claimId) = _claimed(lie);
        vm.warp(START + WINDOW_S - 1);
        State memory s = _initial(_challenge(claimId));
        while (s.phase != Phases.STEP) {
            vm.warp(game.disputeOf(s.dispute).deadline);
            s = _move(s);
        }
        uint256 most = _moves(2, PROMPT + OUTPUT - 1, Toy.OUTPUT_STEPS, 5, 37);
        assertTrue(s.move <= most, "moves");
        uint64 end = game.disputeOf(s.dispute).deadline;
        assertEq(
            end,
            START + WINDOW_S - 1 + 2 * uint256(CLOCK_S) + (s.move + 1) * uint256(MIN_RESPONSE_S),
            "the bound"
        );
        vm.warp(end + 1);
        game.timeout(s.dispute);
        assertClaim(claimId, ClaimStatus.Rejected);
    }

    /// The same with an honest defender: its claim is final at the bound.
    function test_slowestPlay_honestClaim_finalAtTheBound() public {
        Lie memory none;
        lie = none;
        (, bytes32 claimId) = _claimed(none);
        vm.warp(START + WINDOW_S - 1);
        seed = 5;
        State memory s = _initial(_challenge(claimId));
        while (s.phase != Phases.STEP) {
            vm.warp(game.disputeOf(s.dispute).deadline);
            s = _move(s);
        }
        vm.warp(game.disputeOf(s.dispute).deadline);
        game.step(Wire.pack(s), _witness(s));
        settlement.finalize(claimId);
        assertClaim(claimId, ClaimStatus.Final);
        assertTrue(
            vm.getBlockTimestamp()
                <= START + WINDOW_S - 1 + 2 * CLOCK_S + (s.move + 1) * MIN_RESPONSE_S,
            "the bound"
        );
    }
}
