// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {InferenceSettlement} from "../InferenceSettlement.sol";
import {State} from "../interfaces/IDisputeGame.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestStatus
} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Records} from "../libraries/Records.sol";
import {Rewards} from "../libraries/Rewards.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";
import {Wire} from "./support/Wire.sol";

/// Who gets what, to the wei, when disputes end: alone, side by side, late, and against oneself.
contract SettlementDisputesTest is Player {
    /// What the earliest one that stands has, if nobody else's moves are paid for.
    uint256 private constant REWARD = PROVIDER_BOND - PROVIDER_BURN;
    uint256 private constant RESERVE = MOVES_REIMBURSED * REIMBURSEMENT;

    bytes32 private requestId;
    bytes32 private claimId;

    function _lie() private pure returns (Lie memory) {
        return Lie(LieKind.Value, 2, 5, 1, 3);
    }

    function _liar() private {
        lie = _lie();
        (requestId, claimId) = _claimed(lie);
    }

    function _payee(uint160 i) private pure returns (address) {
        return address(0x9000 + i);
    }

    function _open(uint160 i) private returns (State memory) {
        return _initial(_challengeAs(claimId, address(0x8000 + i), _payee(i)));
    }

    /// The defender's first reveal in a dispute: from then on its challenger's clock runs.
    function _answer(State memory s) private returns (State memory) {
        return _defend(s);
    }

    /// The defender never answers, and the dispute convicts it.
    function _convictByTimeout(State memory s) private {
        vm.warp(game.disputeOf(s.dispute).deadline + 1);
        game.timeout(s.dispute);
    }

    // ---------------------------------------------------------------- one dispute

    function test_conviction_paysRewardAndBurnsAndReopens() public {
        _liar();
        State memory s = _playTo(_initial(_challenge(claimId)), Phases.STEP);
        vm.warp(START + 50);
        bytes memory witness = _witness(s);
        cheats.expectEmit();
        emit IInferenceSettlement.Rejected(claimId, requestId, s.dispute, PROVIDER_BURN);
        game.step(Wire.pack(s), witness);
        assertClaim(claimId, ClaimStatus.Rejected);
        assertEq(settlement.claimOf(claimId).rejectedAt, START + 50);
        assertEq(settlement.claimOf(claimId).openDisputes, 0);
        assertStatus(requestId, RequestStatus.Open);
        assertEq(settlement.requestOf(requestId).claimId, 0);
        assertEq(settlement.requestOf(requestId).provider, address(0));
        assertEq(
            settlement.requestOf(requestId).deadline, START + 1 days + 50, "the time that was lost"
        );
        assertCredit(BURN, PROVIDER_BURN, "burned");
        assertCredit(challengerPayee, 0, "not yet");
        cheats.expectEmit();
        emit IInferenceSettlement.Rewarded(claimId, s.dispute, challengerPayee, REWARD - RESERVE);
        settlement.settleReward(claimId, 1);
        settlement.refund(s.dispute);
        assertCredit(challengerPayee, REWARD + CHALLENGER_BOND, "reward and bond");
        settlement.settleReward(claimId, 1);
        settlement.refund(s.dispute);
        assertCredit(challengerPayee, REWARD + CHALLENGER_BOND, "once");
        assertCredit(providerPayee, 0, "the liar has nothing");
        settlement.withdraw(BURN);
        settlement.withdraw(challengerPayee);
        assertEq(address(settlement).balance, FEE, "the reopened request's fee");
    }

    function test_reopened_servedHonestly() public {
        _liar();
        _playOut(_initial(_challenge(claimId)));
        Lie memory none;
        lie = none;
        _accept(requestId);
        bytes32 second = _claim(requestId, none);
        vm.warp(START + WINDOW_S);
        settlement.finalize(second);
        assertStatus(requestId, RequestStatus.Final);
        assertEq(settlement.requestOf(requestId).claimId, second);
        assertClaim(claimId, ClaimStatus.Rejected);
        assertCredit(providerPayee, FEE + PROVIDER_BOND, "fee and bond");
    }

    /// The same provider claims the same lie again: another claim, with disputes of its own.
    function test_reopened_sameLie_isAnotherClaim() public {
        _liar();
        bytes32 dispute = _challenge(claimId);
        _convictByTimeout(_initial(dispute));
        _accept(requestId);
        bytes32 second = _claim(requestId, lie);
        assertTrue(second != claimId, "another claim");
        assertTrue(_challenge(second) != dispute, "another dispute");
    }

    function test_reopened_canBeCancelled() public {
        _liar();
        _convictByTimeout(_initial(_challenge(claimId)));
        vm.prank(requester);
        settlement.cancel(requestId);
        assertCredit(requester, FEE, "fee");
    }

    function test_defenderWins_challengerPays() public {
        Lie memory none;
        State memory s = _disputed(none);
        claimId = game.disputeOf(s.dispute).claimId;
        assertTrue(!_playOut(s), "honest");
        assertCredit(BURN, CHALLENGER_BURN, "burned");
        assertCredit(providerPayee, CHALLENGER_BOND - CHALLENGER_BURN, "the provider's");
        assertEq(settlement.claimOf(claimId).openDisputes, 0);
        _refuse(Records.WrongClaimStatus.selector);
        settlement.settleReward(claimId, 1);
        vm.warp(START + WINDOW_S);
        settlement.finalize(claimId);
        settlement.refund(s.dispute);
        assertCredit(challengerPayee, 0, "nothing comes back");
        assertCredit(
            providerPayee, FEE + PROVIDER_BOND + CHALLENGER_BOND - CHALLENGER_BURN, "all its own"
        );
        settlement.withdraw(BURN);
        settlement.withdraw(providerPayee);
        assertEq(address(settlement).balance, 0, "nothing left");
    }

    function test_finalize_pastTheWindow_waitsForTheDispute() public {
        Lie memory none;
        State memory s = _disputed(none);
        claimId = game.disputeOf(s.dispute).claimId;
        s = _answer(s);
        vm.warp(START + WINDOW_S + 10);
        _refuse(InferenceSettlement.DisputesOpen.selector);
        settlement.finalize(claimId);
        game.timeout(s.dispute);
        settlement.finalize(claimId);
        assertClaim(claimId, ClaimStatus.Final);
    }

    function _refuse(bytes4 reason) private {
        cheats.expectPartialRevert(reason);
    }

    // ---------------------------------------------------------------- side by side

    /// Whoever's game convicts, the earliest-opened dispute has the reward, and the others their
    /// bonds.
    function test_parallel_latestConvicts_earliestIsPaid() public {
        _liar();
        State memory a = _open(1);
        State memory b = _open(2);
        State memory c = _open(3);
        a = _answer(a);
        a = _attackAs(a, 1);
        _convictByTimeout(c);
        settlement.settleReward(claimId, 10);
        settlement.refund(a.dispute);
        settlement.refund(b.dispute);
        settlement.refund(c.dispute);
        assertCredit(_payee(1), REWARD + CHALLENGER_BOND, "first");
        assertCredit(_payee(2), CHALLENGER_BOND, "second");
        assertCredit(_payee(3), CHALLENGER_BOND, "the one that convicted");
    }

    /// The first child of the node that is open, by this challenger.
    function _attackAs(State memory s, uint160 i) private returns (State memory) {
        // First, and not just before the call: the stack has no room for both.
        vm.startPrank(address(0x8000 + i));
        uint32 span = _span(s);
        bytes32[] memory path = Trees.path(_tree(s), s.index << span, s.level - span, s.level);
        bytes32 child = _children(s)[0];
        _send(s, 0, child, path);
        vm.stopPrank();
        State memory next = abi.decode(abi.encode(s), (State));
        next.move += 1;
        next.node = child;
        next.index = s.index << span;
        next.level -= span;
        next.phase -= 1;
        _check(next);
        return next;
    }

    /// A defender out of time in one dispute while another convicts: both stand.
    function test_parallel_bothConvictable_orderDoesNotMatter() public {
        uint256[3][2] memory credits;
        for (uint256 order = 0; order < 2; ++order) {
            _deploy(2);
            vm.warp(START);
            _liar();
            State[2] memory s = [_open(1), _open(2)];
            vm.warp(game.disputeOf(s[1].dispute).deadline + 1);
            game.timeout(s[order].dispute);
            settlement.settleReward(claimId, 10);
            settlement.refund(s[0].dispute);
            settlement.refund(s[1].dispute);
            credits[order] = [
                settlement.balanceOf(_payee(1)),
                settlement.balanceOf(_payee(2)),
                settlement.balanceOf(providerPayee)
            ];
        }
        assertEq(keccak256(abi.encode(credits[0])), keccak256(abi.encode(credits[1])), "order");
        assertEq(credits[0][0], REWARD + CHALLENGER_BOND, "the first");
    }

    /// A challenger out of time just before another dispute convicts: whether somebody called its
    /// timeout first or not, it has lost.
    function test_parallel_lateChallenger_orderDoesNotMatter() public {
        uint256[4][2] memory credits;
        for (uint256 order = 0; order < 2; ++order) {
            _deploy(2);
            vm.warp(START);
            _liar();
            State memory late = _answer(_open(1));
            vm.warp(START + 1);
            State memory second = _open(2);
            // One second after the first challenger's last: the defender is late in the second
            // dispute too.
            vm.warp(game.disputeOf(second.dispute).deadline + 1);
            if (order == 0) game.timeout(late.dispute);
            game.timeout(second.dispute);
            settlement.refund(late.dispute);
            settlement.settleReward(claimId, 1);
            settlement.settleReward(claimId, 1);
            settlement.refund(second.dispute);
            credits[order] = [
                settlement.balanceOf(_payee(1)),
                settlement.balanceOf(_payee(2)),
                settlement.balanceOf(providerPayee),
                settlement.balanceOf(BURN)
            ];
        }
        assertEq(keccak256(abi.encode(credits[0])), keccak256(abi.encode(credits[1])), "order");
        assertEq(credits[0][0], 0, "the late one");
        assertEq(credits[0][1], REWARD + CHALLENGER_BOND, "the one in time");
        assertEq(credits[0][2], CHALLENGER_BOND - CHALLENGER_BURN, "a lost bond, as ever");
        assertEq(credits[0][3], PROVIDER_BURN + CHALLENGER_BURN, "burned");
    }

    /// In its last second a challenger still stands, whether it moves before the conviction or not.
    function test_parallel_challengersLastSecond_stands() public {
        for (uint256 order = 0; order < 2; ++order) {
            _deploy(2);
            vm.warp(START);
            _liar();
            State memory second = _open(2);
            State memory first = _open(1);
            // The earlier one loses by an hour; the later one has its last second when that is
            // found.
            vm.warp(START + 1);
            first = _answer(first);
            vm.warp(game.disputeOf(first.dispute).deadline);
            if (order == 0) _attackAs(first, 1);
            game.timeout(second.dispute);
            settlement.refund(first.dispute);
            assertCredit(_payee(1), CHALLENGER_BOND, "refunded");
        }
    }

    /// Who stands is what was so in the second of the rejection, however late somebody asks: the
    /// first challenger's clock would have run out since.
    function test_parallel_settledLate_theSame() public {
        _liar();
        bytes32 first = this.answeredLate();
        vm.warp(START + 365 days);
        settlement.settleReward(claimId, 10);
        assertCredit(_payee(1), REWARD, "the earliest");
        settlement.refund(first);
        settlement.refund(settlement.disputeAt(claimId, 1));
        assertCredit(_payee(1), REWARD + CHALLENGER_BOND, "and its bond");
        assertCredit(_payee(2), CHALLENGER_BOND, "the one that convicted");
        assertCredit(providerPayee, 0, "the liar has nothing");
    }

    /// Two disputes, of which the second convicts while the first one's challenger has a few
    /// seconds left. A call of its own, for the stack of its caller.
    function answeredLate() external returns (bytes32 first) {
        State memory s = _open(1);
        first = s.dispute;
        bytes32 second = _open(2).dispute;
        vm.warp(START + 5);
        _defend(s);
        vm.warp(game.disputeOf(second).deadline + 1);
        game.timeout(second);
        assertTrue(game.disputeOf(first).deadline >= vm.getBlockTimestamp(), "in time");
    }

    /// Six disputes; in the first four the challenger's clock runs.
    function _six() private returns (bytes32[6] memory disputes) {
        for (uint160 i = 0; i < 6; ++i) {
            State memory s = _open(i);
            disputes[i] = s.dispute;
            if (i < 4) _answer(s);
        }
    }

    /// The list of disputes can be long: the walk takes as many calls as needed, and forgets
    /// nothing.
    function test_settleReward_walksInSteps() public {
        _liar();
        bytes32[6] memory disputes = _six();
        // The first four are late, the fifth stands, the sixth convicts.
        vm.warp(game.disputeOf(disputes[5]).deadline + 1);
        game.timeout(disputes[5]);
        settlement.settleReward(claimId, 0);
        settlement.settleReward(claimId, 3);
        assertTrue(!settlement.claimOf(claimId).rewarded, "not reached");
        settlement.settleReward(claimId, 1);
        assertTrue(!settlement.claimOf(claimId).rewarded, "not reached yet");
        settlement.settleReward(claimId, 1);
        assertTrue(!settlement.claimOf(claimId).rewarded, "the fifth, but not the end");
        assertCredit(_payee(4), REWARD - RESERVE, "as soon as it is found");
        settlement.settleReward(claimId, type(uint32).max);
        assertTrue(settlement.claimOf(claimId).rewarded, "the end");
        assertCredit(_payee(4), REWARD, "and what nobody's moves took");
        settlement.settleReward(claimId, type(uint32).max);
        assertCredit(_payee(4), REWARD, "once");
        assertCredit(_payee(5), 0, "convicted, but later");
        for (uint256 i = 0; i < 6; ++i) {
            settlement.refund(disputes[i]);
            settlement.refund(disputes[i]);
        }
        for (uint160 i = 0; i < 4; ++i) {
            assertCredit(_payee(i), 0, "late");
        }
        assertCredit(_payee(4), REWARD + CHALLENGER_BOND, "first in time");
        assertCredit(_payee(5), CHALLENGER_BOND, "convicted");
        assertCredit(providerPayee, 4 * (CHALLENGER_BOND - CHALLENGER_BURN), "four lost");
        assertCredit(BURN, PROVIDER_BURN + 4 * CHALLENGER_BURN, "burned");
    }

    /// A dispute that was lost before the conviction has no part in the reward, first or not.
    function test_settleReward_lostDispute_isPassedOver() public {
        _liar();
        State memory lost = _answer(_open(1));
        vm.warp(game.disputeOf(lost.dispute).deadline + 1);
        game.timeout(lost.dispute);
        State memory second = _open(2);
        _convictByTimeout(second);
        settlement.settleReward(claimId, 10);
        settlement.refund(lost.dispute);
        assertCredit(_payee(1), 0, "lost");
        assertCredit(_payee(2), REWARD, "stands");
    }

    function test_challenge_afterRejection_reverts() public {
        _liar();
        _convictByTimeout(_open(1));
        _refuse(Records.WrongClaimStatus.selector);
        _challenge(claimId);
    }

    function test_finalize_afterRejection_reverts() public {
        _liar();
        _convictByTimeout(_open(1));
        vm.warp(START + WINDOW_S);
        _refuse(Records.WrongClaimStatus.selector);
        settlement.finalize(claimId);
    }

    function test_refund_refusals() public {
        _liar();
        _refuse(Rewards.NoSuchDispute.selector);
        settlement.refund(0);
        State memory s = _open(1);
        _refuse(Records.WrongClaimStatus.selector);
        settlement.refund(s.dispute);
    }

    // ---------------------------------------------------------------- against oneself

    /// A caught provider convicts itself through a puppet that was there first: it still loses more
    /// than half.
    function test_sockPuppet_convictsItsMaster_loses() public {
        _liar();
        uint256 before = provider.balance;
        State memory puppet = _initial(_challengeAs(claimId, provider, providerPayee));
        vm.deal(provider, before);
        State memory watcher = _open(2);
        _convictByTimeout(puppet);
        settlement.settleReward(claimId, 10);
        settlement.refund(puppet.dispute);
        settlement.refund(watcher.dispute);
        assertCredit(
            providerPayee,
            REWARD + CHALLENGER_BOND,
            "what it staked with both hands, less what burned"
        );
        assertTrue(2 * REWARD <= PROVIDER_BOND, "at most half comes back");
        assertCredit(_payee(2), CHALLENGER_BOND, "the watcher lost nothing");
    }

    /// A provider disputes its own honest claim and wins: the burned share is gone.
    function test_selfDispute_won_costs() public {
        Lie memory none;
        lie = none;
        (requestId, claimId) = _claimed(none);
        State memory s = _initial(_challengeAs(claimId, provider, providerPayee));
        s = _answer(s);
        vm.warp(game.disputeOf(s.dispute).deadline + 1);
        game.timeout(s.dispute);
        assertCredit(providerPayee, CHALLENGER_BOND - CHALLENGER_BURN, "less than it staked");
    }

    // ---------------------------------------------------------------- accounting

    /// Coins that nobody sent the usual way change nothing.
    function test_forcedCoins_changeNothing() public {
        _liar();
        vm.deal(address(settlement), address(settlement).balance + 77 ether);
        State memory s = _open(1);
        _convictByTimeout(s);
        settlement.settleReward(claimId, 1);
        settlement.refund(s.dispute);
        settlement.withdraw(_payee(1));
        settlement.withdraw(BURN);
        assertEq(_payee(1).balance, REWARD + CHALLENGER_BOND, "as ever");
        assertEq(address(settlement).balance, FEE + 77 ether, "stuck, and no harm");
    }
}
