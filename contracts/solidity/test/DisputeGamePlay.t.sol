// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {State} from "../interfaces/IDisputeGame.sol";
import {ClaimStatus, RequestStatus} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy} from "./support/Toy.sol";

/// Whole games: every lie is convicted, no honest claim is.
contract DisputeGamePlayTest is Player {
    function _value(uint32 blockIndex, uint32 step, uint32 element, uint64 unit)
        private
        pure
        returns (Lie memory)
    {
        return Lie(LieKind.Value, blockIndex, step, element, unit);
    }

    function _convict(Lie memory lie_, uint8 mode, uint64 unit) private {
        State memory s = _playTo(_disputed(lie_), Phases.STEP);
        assertEq(s.blockIndex, lie_.blockIndex, "block");
        assertEq(s.step, lie_.kind == LieKind.Collect ? Toy.COLLECT : lie_.step, "step");
        assertEq(s.element, lie_.element, "element");
        assertEq(s.mode, mode, "mode");
        if (mode == 1) assertEq(s.lo, unit, "unit");
        assertTrue(_playOut(s), "the lie wins");
        assertClaim(game.disputeOf(s.dispute).claimId, ClaimStatus.Rejected);
    }

    function test_play_mapLie_convicts() public {
        _convict(_value(5, 0, 9, 0), 0, 0);
    }

    function test_play_promptBlockLie_convicts() public {
        _convict(_value(0, 1, 300, 0), 0, 0);
    }

    function test_play_carriedLie_convicts() public {
        _convict(_value(4, 1, 524, 1), 0, 0);
    }

    function test_play_accumulatorLie_convictsItsUnit() public {
        _convict(_value(3, 4, 1249, 20), 1, 20);
    }

    function test_play_firstUnitLie_convictsIt() public {
        _convict(_value(2, 4, 0, 0), 1, 0);
    }

    function test_play_lastUnitLie_convictsIt() public {
        _convict(_value(2, 4, 256, 36), 1, 36);
    }

    function test_play_finalizerLie_convictsTheFinalizer() public {
        _convict(_value(2, 4, 256, 37), 2, 0);
    }

    function test_play_sampleLie_convicts() public {
        _convict(_value(5, 6, 0, 5), 2, 0);
    }

    function test_play_sampleFoldLie_convicts() public {
        _convict(_value(2, 6, 0, 3), 1, 3);
    }

    function test_play_collectLie_convicts() public {
        for (uint32 i = 0; i < Toy.CARRIED; ++i) {
            _deploy(2);
            _convict(Lie(LieKind.Collect, 1, 0, i, 0), 0, 0);
        }
    }

    /// Every lie, at every arity.
    function testFuzz_play_anyLie_convicts(
        uint8 arity,
        uint8 where,
        uint8 step,
        uint16 element,
        uint8 unit
    ) public {
        _deploy(uint32(bound(arity, 1, 8)));
        Lie memory l;
        l.blockIndex = uint32(bound(where, 0, PROMPT + OUTPUT - 2));
        uint32 steps = l.blockIndex + 1 >= PROMPT ? Toy.OUTPUT_STEPS : Toy.PROMPT_STEPS;
        l.step = uint32(bound(step, 0, steps - 1));
        l.kind = l.step == Toy.COLLECT ? LieKind.Collect : LieKind.Value;
        uint32 elements = l.step == Toy.COLLECT ? Toy.CARRIED : Toy.byteLengthOf(l.step) / 4;
        l.element = uint32(bound(element, 0, elements - 1));
        l.unit = uint64(bound(unit, 0, Toy.unitsOf(l.step)));
        assertTrue(_playOut(_disputed(l)), "the lie wins");
    }

    /// Whatever a challenger chooses, an honest claim stands.
    function testFuzz_play_honestClaim_stands(uint8 arity, uint256 seed_) public {
        _deploy(uint32(bound(arity, 1, 8)));
        seed = bound(seed_, 1, type(uint256).max);
        Lie memory none;
        State memory s = _disputed(none);
        bytes32 claimId = game.disputeOf(s.dispute).claimId;
        assertTrue(!_playOut(s), "an honest claim is convicted");
        assertClaim(claimId, ClaimStatus.Pending);
        vm.warp(START + WINDOW_S);
        settlement.finalize(claimId);
        assertClaim(claimId, ClaimStatus.Final);
    }

    /// The lie is one thing, what the challenger attacks another: it loses, and the next one still
    /// convicts.
    function test_play_wrongTarget_losesAndLeavesTheClaimOpen() public {
        Lie memory l = _value(2, 4, 256, 37);
        State memory s = _disputed(l);
        bytes32 claimId = game.disputeOf(s.dispute).claimId;
        seed = 1;
        assertTrue(!_playOut(s), "wins beside the lie");
        seed = 0;
        State memory second = _initial(_challengeAs(claimId, challenger, stranger));
        assertTrue(_playOut(second), "the lie wins");
    }

    function test_open_singleBlock_startsAtExpand() public {
        bytes32 requestId = _request(_params(Toy.prompt(1), 1));
        _accept(requestId);
        Lie memory none;
        bytes memory output = Toy.output(none, 1, 1);
        bytes32 root = _tensorRoot(none, 0, Toy.COLLECT);
        vm.prank(provider);
        bytes32 claimId = settlement.claim(requestId, output, root);
        bytes32 dispute = _challenge(claimId);
        State memory s;
        s.dispute = dispute;
        s.node = root;
        s.phase = Phases.EXPAND;
        _check(s);
        assertStatus(requestId, RequestStatus.Claimed);
    }
}
