// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {InferenceSettlement} from "../InferenceSettlement.sol";
import {State} from "../interfaces/IDisputeGame.sol";
import {ClaimStatus, RequestParams, RequestStatus} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Records} from "../libraries/Records.sol";
import {Turns} from "../libraries/Turns.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";
import {Wire} from "./support/Wire.sol";

interface VmChain {
    function chainId(uint256 id) external;
    function prank(address sender, address origin) external;
}

/// What whoever orders transactions, copies them, replays them or bends the clock can't do.
contract OrderingTest is Player {
    address private constant thief = address(0x7e1ef);

    bytes32 private requestId;
    bytes32 private claimId;

    function _liar() private {
        lie = Lie(LieKind.Value, 3, 2, 200, 1);
        (requestId, claimId) = _claimed(lie);
    }

    function _refuse(bytes4 reason) private {
        cheats.expectPartialRevert(reason);
    }

    // ---------------------------------------------------------------- copied and front-run

    /// Tokens and root are seen before they are mined: they are of no use to anyone else.
    function test_copiedClaim_reverts() public {
        requestId = _request(1);
        _accept(requestId);
        Lie memory none;
        bytes memory output = Toy.output(none, PROMPT, OUTPUT);
        bytes32 root = _traceRoot(none);
        _refuse(InferenceSettlement.OnlyProvider.selector);
        vm.prank(thief);
        settlement.claim(requestId, output, root);
        _claim(requestId, none);
    }

    /// A copied acceptance takes the work, and with it the bond and the clock: the one who was
    /// first in mind has lost nothing, and gets the work when the thief can't do it.
    function test_frontRunAcceptance_costsTheThief() public {
        requestId = _request(1);
        vm.deal(thief, PROVIDER_BOND);
        vm.prank(thief);
        settlement.accept{value: PROVIDER_BOND}(requestId, thief);
        uint256 before = provider.balance;
        _refuse(Records.WrongRequestStatus.selector);
        vm.prank(provider);
        settlement.accept{value: PROVIDER_BOND}(requestId, providerPayee);
        assertEq(provider.balance, before, "nothing spent");
        vm.warp(START + CLAIM_S + 1);
        settlement.release(requestId);
        assertCredit(thief, PROVIDER_BOND - MISS_PENALTY, "a penalty");
        _accept(requestId);
    }

    /// A copied challenge is another dispute, with the copier's bond. It may come first and have
    /// the reward; it can't keep the honest one out, nor touch its bond.
    function test_frontRunChallenge_cannotKeepOut() public {
        _liar();
        bytes32 copied = _challengeAs(claimId, thief, challengerPayee);
        bytes32 own = _challenge(claimId);
        assertTrue(copied != own, "one dispute");
        State memory s = _initial(own);
        assertTrue(_playOut(s), "convicts");
        settlement.refund(own);
        assertCredit(challengerPayee, CHALLENGER_BOND, "its bond");
    }

    /// With the honest one's own payee a copier only pays for it.
    function test_frontRunChallenge_samePayee_isAGift() public {
        _liar();
        bytes32 copied = _challengeAs(claimId, thief, challengerPayee);
        bytes32 own = _challenge(claimId);
        _playOut(_initial(own));
        settlement.settleReward(claimId, 2);
        settlement.refund(own);
        settlement.refund(copied);
        assertCredit(
            challengerPayee, PROVIDER_BOND - PROVIDER_BURN + 2 * CHALLENGER_BOND, "all of it"
        );
    }

    /// A mirror plays the honest one's moves in its own dispute. It wins its race for the reward at
    /// best; the other has its bond, and its moves within the cap.
    function test_mirroredMoves_costTheHonestOneNothing() public {
        _liar();
        State memory mirrored = _initial(_challengeAs(claimId, challenger, thief));
        vm.deal(challenger, CHALLENGER_BOND);
        State memory own = _initial(_challenge(claimId));
        while (own.phase != Phases.STEP) {
            own = _move(own);
            mirrored = _move(mirrored);
        }
        game.step(Wire.pack(mirrored), _witness(mirrored));
        settlement.settleReward(claimId, 2);
        settlement.refund(own.dispute);
        (, uint32 moves) = game.standingOf(own.dispute, START);
        assertTrue(moves > 0, "it moved");
        (, uint32 others) = game.standingOf(mirrored.dispute, START);
        uint32 left = MOVES_REIMBURSED - others;
        assertTrue(left > 0, "the cap is not for one alone");
        assertCredit(
            challengerPayee,
            CHALLENGER_BOND + (moves < left ? moves : left) * REIMBURSEMENT,
            "bond and moves"
        );
    }

    // ---------------------------------------------------------------- replayed

    /// The same prompt, output and trace under another request: its dispute takes none of the
    /// first one's moves, whoever sends them.
    function test_replay_acrossClaims_reverts() public {
        _liar();
        State memory first = _initial(_challenge(claimId));
        bytes32 second = _request(2);
        _accept(second);
        bytes32 secondClaim = _claim(second, lie);
        assertEq(settlement.claimOf(claimId).traceRoot, settlement.claimOf(secondClaim).traceRoot);
        State memory other = _initial(_challenge(secondClaim));
        while (first.phase != Phases.STEP) {
            State memory replayed = abi.decode(abi.encode(first), (State));
            replayed.dispute = other.dispute;
            // In step with each other, so that nothing but the dispute differs.
            assertEq(keccak256(abi.encode(replayed)), keccak256(abi.encode(other)), "equal");
            first = _move(first);
            if (first.phase == Phases.STEP) break;
            _refuseAny(first, other.dispute);
            other = _move(other);
        }
    }

    /// A state that is ahead, under the other dispute's id.
    function _refuseAny(State memory ahead, bytes32 dispute) private {
        State memory s = abi.decode(abi.encode(ahead), (State));
        s.dispute = dispute;
        _refuse(Turns.WrongState.selector);
        game.step(Wire.pack(s), "");
    }

    /// Ids are of one chain and one deployment: what is signed or known for one is nothing in
    /// another.
    function test_replay_acrossChainsAndDeployments_otherIds() public {
        uint256 mark = VmState(address(vm)).snapshotState();
        _liar();
        bytes32[3] memory here = [requestId, claimId, _challenge(claimId)];
        VmState(address(vm)).revertToState(mark);
        VmChain(address(vm)).chainId(4242);
        _liar();
        bytes32[3] memory there = [requestId, claimId, _challenge(claimId)];
        VmChain(address(vm)).chainId(31337);
        _deploy(2);
        _liar();
        bytes32[3] memory anew = [requestId, claimId, _challenge(claimId)];
        for (uint256 i = 0; i < 3; ++i) {
            assertTrue(here[i] != there[i], "chain");
            assertTrue(here[i] != anew[i], "deployment");
        }
    }

    /// A reorg takes an honest claim out and puts a lying one in its place: what was sent about the
    /// one finds nothing.
    function test_reorg_otherClaim_isAnotherId() public {
        Lie memory none;
        lie = none;
        uint256 mark = VmState(address(vm)).snapshotState();
        (, bytes32 honest) = _claimed(none);
        VmState(address(vm)).revertToState(mark);
        _liar();
        assertTrue(honest != claimId, "content");
        _refuse(Records.WrongClaimStatus.selector);
        _challenge(honest);
    }

    /// Who a transaction begins with is nobody: a relayed challenge is its sender's.
    function test_txOrigin_isNobody() public {
        _liar();
        vm.deal(challenger, CHALLENGER_BOND);
        VmChain(address(vm)).prank(challenger, thief);
        bytes32 dispute = settlement.challenge{value: CHALLENGER_BOND}(claimId, challengerPayee);
        assertEq(game.disputeOf(dispute).challenger, challenger, "the sender");
        State memory s = _playTo(_initial(dispute), Phases.BLOCKS_CHOOSE);
        bytes32[] memory children = _children(s);
        bytes32[] memory path = Trees.path(_tree(s), 0, s.level - _span(s), s.level);
        _refuse(Turns.WrongParty.selector);
        VmChain(address(vm)).prank(thief, challenger);
        game.choose(Wire.pack(s), 0, children[0], path);
    }

    // ---------------------------------------------------------------- the clock

    /// A whole life in one second, as on chains with many blocks in each: nothing depends on time
    /// passing, but the ends of windows and clocks.
    function test_sameSecond_wholeDispute() public {
        _liar();
        assertTrue(_playOut(_initial(_challenge(claimId))), "convicted");
        assertEq(vm.getBlockTimestamp(), START, "no time passed");
        settlement.settleReward(claimId, 1);
        _accept(requestId);
        Lie memory none;
        claimId = _claim(requestId, none);
        _refuse(InferenceSettlement.WindowOpen.selector);
        settlement.finalize(claimId);
    }

    /// At the window's last second a challenge, at its end finality, and never both.
    function test_windowEnd_exactlyOneIsPossible() public {
        _liar();
        uint64 end = settlement.claimOf(claimId).windowEnd;
        for (uint64 t = end - 2; t < end + 2; ++t) {
            vm.warp(t);
            uint256 mark = VmState(address(vm)).snapshotState();
            vm.prank(challenger);
            (bool challenged,) = address(settlement).call{value: CHALLENGER_BOND}(
                abi.encodeCall(settlement.challenge, (claimId, challengerPayee))
            );
            VmState(address(vm)).revertToState(mark);
            (bool finalized,) =
                address(settlement).call(abi.encodeCall(settlement.finalize, (claimId)));
            VmState(address(vm)).revertToState(mark);
            assertTrue(challenged != finalized, "exactly one");
            assertTrue(challenged == (t < end), "which one");
        }
    }

    /// Whoever sets timestamps can take from a party at most what it moves them: the seconds
    /// charged are the seconds between the two stamps, less the minimum response.
    ///
    /// forge-config: default.fuzz.runs = 32
    function testFuzz_drift_chargesOnlyItself(uint16 delay, uint8 drift) public {
        _liar();
        State memory s = _initial(_challenge(claimId));
        uint64 stamp = START + uint64(bound(delay, 0, CLOCK_S)) + uint64(drift) % 15;
        vm.warp(stamp);
        uint32 before = game.disputeOf(s.dispute).defenderRemaining;
        _move(s);
        uint256 elapsed = stamp - START;
        uint256 charged = elapsed > MIN_RESPONSE_S ? elapsed - MIN_RESPONSE_S : 0;
        assertEq(game.disputeOf(s.dispute).defenderRemaining, before - charged, "charged");
    }

    /// A clock that runs backward stops the game instead of giving time to anybody.
    function test_timestampBackward_reverts() public {
        vm.warp(START + 100);
        _liar();
        State memory s = _initial(_challenge(claimId));
        bytes32[] memory children = _children(s);
        vm.warp(START + 99);
        vm.prank(provider);
        vm.expectRevert();
        game.reveal(Wire.pack(s), children);
        _refuse(Turns.StillInTime.selector);
        game.timeout(s.dispute);
        vm.warp(START + 100);
        _move(s);
    }

    /// Blocks are no clock: a chain that makes them a thousand times as fast changes nothing.
    function test_blockNumbers_areNoClock() public {
        _liar();
        State memory s = _initial(_challenge(claimId));
        vm.roll(block.number + 1_000_000_000);
        _refuse(Turns.StillInTime.selector);
        game.timeout(s.dispute);
        _move(s);
        assertEq(game.disputeOf(s.dispute).defenderRemaining, CLOCK_S, "nothing charged");
    }

    // ---------------------------------------------------------------- late

    /// The dispute outlives the request's deadline: the time that the liar took comes back, the
    /// next provider can still accept, and else the fee returns.
    function test_disputeOutlivesTheDeadline_requestLives() public {
        RequestParams memory p = _params(1);
        p.deadline = START;
        requestId = _request(p);
        _accept(requestId);
        vm.warp(START + CLAIM_S);
        lie = Lie(LieKind.Value, 3, 2, 200, 1);
        claimId = _claim(requestId, lie);
        vm.warp(START + CLAIM_S + WINDOW_S - 1);
        State memory s = _initial(_challenge(claimId));
        _refuse(Records.WrongRequestStatus.selector);
        settlement.cancel(requestId);
        uint64 end = game.disputeOf(s.dispute).deadline + 1;
        vm.warp(end);
        game.timeout(s.dispute);
        assertEq(settlement.requestOf(requestId).deadline, end, "all of the time");
        uint256 mark = VmState(address(vm)).snapshotState();
        _accept(requestId);
        VmState(address(vm)).revertToState(mark);
        vm.warp(end + 1);
        vm.prank(stranger);
        settlement.cancel(requestId);
        assertCredit(requester, FEE, "else the fee");
        assertStatus(requestId, RequestStatus.Cancelled);
    }

    /// Years later the same call decides the same: a late timeout has a winner, and a claim whose
    /// window nobody closed is still closed by anyone.
    function test_yearsLate_everythingStillSettles() public {
        _liar();
        State memory s = _initial(_challenge(claimId));
        vm.warp(START + 3650 days);
        game.timeout(s.dispute);
        settlement.settleReward(claimId, 1);
        settlement.refund(s.dispute);
        assertCredit(challengerPayee, PROVIDER_BOND - PROVIDER_BURN + CHALLENGER_BOND, "convicted");
        vm.warp(START);
        Lie memory none;
        requestId = _request(2);
        _accept(requestId);
        claimId = _claim(requestId, none);
        vm.warp(START + 3650 days);
        settlement.finalize(claimId);
        assertClaim(claimId, ClaimStatus.Final);
    }
}

interface VmState {
    function snapshotState() external returns (uint256);
    function revertToState(uint256 mark) external returns (bool);
}
