// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IDisputeGame, State} from "../interfaces/IDisputeGame.sol";
import {ClaimStatus} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Turns} from "../libraries/Turns.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy} from "./support/Toy.sol";
import {Wire} from "./support/Wire.sol";

/// The clocks, to the second.
contract DisputeGameClockTest is Player {
    function _open() private returns (State memory) {
        return _disputed(Lie(LieKind.Value, 3, 4, 1249, 20));
    }

    function _view(State memory s) private view returns (IDisputeGame.DisputeView memory) {
        return game.disputeOf(s.dispute);
    }

    function _refuseTimeout(State memory s) private {
        cheats.expectPartialRevert(Turns.StillInTime.selector);
        game.timeout(s.dispute);
    }

    function test_open_clocksAreFull() public {
        vm.warp(START + 17);
        State memory s = _open();
        assertEq(_view(s).openedAt, START + 17, "opened");
        assertEq(_view(s).lastMoveAt, START + 17, "last move");
        assertEq(_view(s).defenderRemaining, CLOCK_S, "defender");
        assertEq(_view(s).challengerRemaining, CLOCK_S, "challenger");
        assertEq(_view(s).deadline, START + 17 + CLOCK_S + MIN_RESPONSE_S, "deadline");
        assertTrue(_view(s).defenderToMove, "to move");
    }

    function test_move_withinMinimumResponse_isFree() public {
        State memory s = _open();
        for (uint64 i = 1; s.phase != Phases.STEP; ++i) {
            vm.warp(START + i * MIN_RESPONSE_S);
            s = _move(s);
            assertEq(_view(s).defenderRemaining, CLOCK_S, "defender");
            assertEq(_view(s).challengerRemaining, CLOCK_S, "challenger");
        }
    }

    /// What a fast move leaves of the minimum response is gone.
    function test_move_fast_banksNothing() public {
        State memory s = _move(_move(_open()));
        vm.warp(START + MIN_RESPONSE_S + 1);
        s = _move(s);
        assertEq(_view(s).defenderRemaining, CLOCK_S - 1, "defender");
    }

    function test_move_slow_chargesTheRest() public {
        State memory s = _open();
        vm.warp(START + MIN_RESPONSE_S + 1);
        s = _move(s);
        assertEq(_view(s).defenderRemaining, CLOCK_S - 1, "defender, one second over");
        assertEq(_view(s).challengerRemaining, CLOCK_S, "challenger");
        assertEq(
            _view(s).deadline, START + MIN_RESPONSE_S + 1 + CLOCK_S + MIN_RESPONSE_S, "deadline"
        );
        vm.warp(START + 2 * MIN_RESPONSE_S + 1 + 300);
        s = _move(s);
        assertEq(_view(s).challengerRemaining, CLOCK_S - 300, "challenger");
        assertEq(_view(s).defenderRemaining, CLOCK_S - 1, "defender");
    }

    function test_move_atTheDeadline_isInTime() public {
        State memory s = _open();
        vm.warp(START + CLOCK_S + MIN_RESPONSE_S);
        _refuseTimeout(s);
        s = _move(s);
        assertEq(_view(s).defenderRemaining, 0, "used up");
        // The challenger still has all of its own time.
        vm.warp(block.timestamp + CLOCK_S + MIN_RESPONSE_S);
        _refuseTimeout(s);
        s = _move(s);
        // With an empty clock every move has its minimum response.
        vm.warp(vm.getBlockTimestamp() + MIN_RESPONSE_S);
        _refuseTimeout(s);
        s = _move(s);
        vm.warp(vm.getBlockTimestamp() + MIN_RESPONSE_S + 1);
        game.timeout(s.dispute);
        assertTrue(_view(s).resolved && !_view(s).challengerWon, "the challenger is late");
    }

    function test_move_afterTheDeadline_reverts() public {
        State memory s = _open();
        bytes32[] memory children = _children(s);
        vm.warp(START + CLOCK_S + MIN_RESPONSE_S + 1);
        cheats.expectPartialRevert(Turns.OutOfTime.selector);
        vm.prank(provider);
        game.reveal(Wire.pack(s), children);
        game.timeout(s.dispute);
        assertTrue(_view(s).challengerWon, "the defender is late");
        assertEq(_view(s).phase, Phases.OVER, "over");
        assertEq(_view(s).deadline, 0, "nobody's turn");
    }

    /// In every phase, at every second around the deadline, exactly one of move and timeout is
    /// possible.
    function test_timeout_everyPhase_exclusiveWithMoves() public {
        for (uint8 phase = 0; phase < Phases.OVER; ++phase) {
            _deploy(2);
            vm.warp(START);
            State memory s = _playTo(_open(), phase);
            vm.warp(_view(s).deadline);
            _refuseTimeout(s);
            vm.warp(_view(s).deadline + 1);
            game.timeout(s.dispute);
            assertTrue(_view(s).resolved, "resolved");
            assertTrue(
                _view(s).challengerWon == Phases.isDefenders(phase), "the party to move loses"
            );
        }
    }

    /// Nobody calls the step: the defender's clock decides.
    function test_step_nobodysClock_isTheDefenders() public {
        State memory s = _playTo(_open(), Phases.STEP);
        assertTrue(_view(s).defenderToMove, "the defender's clock");
        vm.warp(_view(s).deadline + 1);
        cheats.expectPartialRevert(Turns.OutOfTime.selector);
        game.step(Wire.pack(s), Toy.WITNESS);
        game.timeout(s.dispute);
        assertTrue(_view(s).challengerWon, "the defender did not prove");
    }

    function test_step_atTheDeadline_decides() public {
        State memory s = _playTo(_open(), Phases.STEP);
        vm.warp(_view(s).deadline);
        vm.prank(stranger);
        game.step(Wire.pack(s), Toy.WITNESS);
        assertTrue(_view(s).resolved, "decided");
    }

    function test_timeout_twice_reverts() public {
        State memory s = _open();
        vm.warp(_view(s).deadline + 1);
        game.timeout(s.dispute);
        cheats.expectPartialRevert(Turns.AlreadyResolved.selector);
        game.timeout(s.dispute);
    }

    /// Whatever the delays, the clocks are what a plain model says, and the game ends within the
    /// promised time.
    function testFuzz_clocks_followTheModel(uint256 delays) public {
        // A short fold: the fuzzer plays this game many times.
        State memory s = _disputed(Lie(LieKind.Value, 3, 5, 1, 1));
        uint256[2] memory remaining = [uint256(CLOCK_S), CLOCK_S];
        uint64 now_ = START;
        uint256 moves;
        while (s.phase != Phases.STEP) {
            delays = uint256(keccak256(abi.encode(delays)));
            uint256 who = Phases.isDefenders(s.phase) ? 0 : 1;
            // Half of the delays are about the minimum response, the others anything up to out of
            // time.
            uint256 limit = delays % 2 == 0 ? 2 * MIN_RESPONSE_S : CLOCK_S / 3;
            uint256 elapsed = (delays >> 8) % limit;
            now_ += uint64(elapsed);
            vm.warp(now_);
            if (elapsed > remaining[who] + MIN_RESPONSE_S) {
                game.timeout(s.dispute);
                assertTrue(_view(s).challengerWon == (who == 0), "the late party loses");
                return;
            }
            _refuseTimeout(s);
            s = _move(s);
            ++moves;
            if (elapsed > MIN_RESPONSE_S) remaining[who] -= elapsed - MIN_RESPONSE_S;
            assertEq(_view(s).defenderRemaining, remaining[0], "defender");
            assertEq(_view(s).challengerRemaining, remaining[1], "challenger");
        }
        assertTrue(now_ <= START + 2 * CLOCK_S + moves * MIN_RESPONSE_S, "bound");
    }

    function _stands(State memory s, uint64 second) private view returns (bool stands) {
        (stands,) = game.standingOf(s.dispute, second);
    }

    function test_standingOf_overTime() public {
        State memory s = _open();
        uint64 deadline = _view(s).deadline;
        assertTrue(_stands(s, deadline), "the defender's turn");
        assertTrue(_stands(s, deadline + 1), "the defender is late");
        s = _move(s);
        deadline = _view(s).deadline;
        assertTrue(_stands(s, deadline), "the challenger's last second");
        assertTrue(!_stands(s, deadline + 1), "the challenger is late");
        vm.warp(deadline + 1);
        game.timeout(s.dispute);
        assertTrue(!_stands(s, START), "it lost");
        assertClaim(_view(s).claimId, ClaimStatus.Pending);
    }

    /// Every second move is the challenger's, and the step that convicts is one more.
    function test_standingOf_countsTheChallengersMoves() public {
        State memory s = _disputed(Lie(LieKind.Value, 3, 4, 300, 20));
        uint32 made;
        while (s.phase != Phases.STEP) {
            bool challengers = !Phases.isDefenders(s.phase);
            s = _move(s);
            if (challengers) ++made;
            (, uint32 counted) = game.standingOf(s.dispute, START);
            assertEq(counted, made, "so far");
        }
        assertTrue(_playOut(s), "convicted");
        (bool stands, uint32 moves) = game.standingOf(s.dispute, START);
        assertTrue(stands, "won");
        assertEq(moves, made + 1, "with the step");
    }

    /// A step that acquits is nobody's move, and neither is a timeout.
    function test_standingOf_otherEnds_addNothing() public {
        Lie memory none;
        State memory s = _playTo(_disputed(none), Phases.STEP);
        (, uint32 before) = game.standingOf(s.dispute, START);
        assertTrue(!_playOut(s), "acquitted");
        (, uint32 moves) = game.standingOf(s.dispute, START);
        assertEq(moves, before, "acquitted");
        lie = Lie(LieKind.Value, 3, 4, 300, 20);
        bytes32 requestId = _request(2);
        _accept(requestId);
        s = _playTo(_initial(_challenge(_claim(requestId, lie))), Phases.STEP);
        (, before) = game.standingOf(s.dispute, START);
        vm.warp(_view(s).deadline + 1);
        game.timeout(s.dispute);
        bool stands;
        (stands, moves) = game.standingOf(s.dispute, START);
        assertTrue(stands, "convicted");
        assertEq(moves, before, "convicted by the clock");
    }
}
