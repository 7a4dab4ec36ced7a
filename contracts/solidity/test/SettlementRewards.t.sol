// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {State} from "../interfaces/IDisputeGame.sol";
import {IInferenceSettlement, RequestParams} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind} from "./support/Toy.sol";
import {Wire} from "./support/Wire.sol";

/// A convicted provider's bond, to the wei: what burns, what the earliest challenger has, and what
/// all of them have for their moves.
contract SettlementRewardsTest is Player {
    uint256 private constant POT = PROVIDER_BOND - PROVIDER_BURN;
    uint256 private constant RESERVE = MOVES_REIMBURSED * REIMBURSEMENT;
    /// The challenger's moves down to the step at arity 1: three levels of blocks, of steps and of
    /// leaves, the leaf, and 37 units halved five times.
    uint32 private constant LONG = 15;

    bytes32 private claimId;

    function setUp() public override {
        super.setUp();
        _deploy(1);
        lie = Lie(LieKind.Value, 3, 4, 300, 20);
    }

    function _payee(uint160 i) private pure returns (address) {
        return address(0x9000 + i);
    }

    function _liar(uint128 bond) private {
        RequestParams memory p = _params(1);
        p.bond = bond;
        bytes32 requestId = _request(p);
        vm.prank(provider);
        settlement.accept{value: bond}(requestId, providerPayee);
        claimId = _claim(requestId, lie);
    }

    /// One challenger plays them all, each for another payee.
    function _open(uint160 i) private returns (State memory) {
        return _initial(_challengeAs(claimId, challenger, _payee(i)));
    }

    function _moves(State memory s) private view returns (uint32 moves) {
        (, moves) = game.standingOf(s.dispute, START);
    }

    function _step(State memory s) private {
        bytes memory witness = _witness(s);
        game.step(Wire.pack(s), witness);
        assertTrue(game.disputeOf(s.dispute).challengerWon, "convicted");
    }

    function _settleAll() private {
        settlement.settleReward(claimId, type(uint32).max);
        assertTrue(settlement.claimOf(claimId).rewarded, "all of it");
    }

    // ---------------------------------------------------------------- moves

    /// Alone: reward, moves and what they leave are the pot.
    function test_reimbursement_onlyDispute_hasThePot() public {
        _liar(PROVIDER_BOND);
        State memory s = _playTo(_open(1), Phases.STEP);
        assertEq(_moves(s), LONG, "moves");
        _step(s);
        cheats.expectEmit();
        emit IInferenceSettlement.Rewarded(claimId, s.dispute, _payee(1), POT - RESERVE);
        cheats.expectEmit();
        emit IInferenceSettlement.Reimbursed(
            claimId, s.dispute, _payee(1), LONG + 1, (LONG + 1) * REIMBURSEMENT
        );
        cheats.expectEmit();
        emit IInferenceSettlement.Rewarded(
            claimId, s.dispute, _payee(1), (MOVES_REIMBURSED - LONG - 1) * REIMBURSEMENT
        );
        _settleAll();
        assertCredit(_payee(1), POT, "the pot");
    }

    /// The one that did the work has its gas back, though another one was there first.
    function test_reimbursement_laterDispute_hasItsMoves() public {
        _liar(PROVIDER_BOND);
        State memory idle = _open(1);
        State memory busy = _playTo(_open(2), Phases.STEP);
        _step(busy);
        _settleAll();
        assertCredit(_payee(2), (LONG + 1) * REIMBURSEMENT, "its moves, and the step");
        assertCredit(_payee(1), POT - (LONG + 1) * REIMBURSEMENT, "the rest");
        settlement.refund(idle.dispute);
        settlement.refund(busy.dispute);
        assertCredit(_payee(2), CHALLENGER_BOND + (LONG + 1) * REIMBURSEMENT, "and its bond");
    }

    /// In opening order, and no more moves than the terms say.
    function test_reimbursement_cap_inOpeningOrder() public {
        _liar(PROVIDER_BOND);
        State[3] memory s;
        for (uint160 i = 0; i < 3; ++i) {
            s[i] = _playTo(_open(i), Phases.STEP);
        }
        _step(s[2]);
        settlement.settleReward(claimId, 1);
        assertCredit(_payee(0), POT - RESERVE + LONG * REIMBURSEMENT, "the first");
        assertTrue(!settlement.claimOf(claimId).rewarded, "not all of it");
        // The second uses up the reserve: nothing is left to walk for.
        settlement.settleReward(claimId, 1);
        assertTrue(settlement.claimOf(claimId).rewarded, "all of it");
        assertCredit(_payee(1), (MOVES_REIMBURSED - LONG) * REIMBURSEMENT, "what was left");
        settlement.settleReward(claimId, 10);
        assertCredit(_payee(2), 0, "came too late for it");
        assertCredit(_payee(0), POT - RESERVE + LONG * REIMBURSEMENT, "nothing more");
        for (uint160 i = 0; i < 3; ++i) {
            settlement.refund(s[i].dispute);
            settlement.withdraw(_payee(i));
        }
        settlement.withdraw(BURN);
        assertEq(address(settlement).balance, FEE, "the reopened request's fee");
    }

    /// Exactly the cap: the walk ends with nothing left over.
    function test_reimbursement_exactlyTheCap_leavesNothing() public {
        _liar(PROVIDER_BOND);
        State memory a = _playTo(_open(0), Phases.STEP);
        State memory b = _open(1);
        while (_moves(b) < MOVES_REIMBURSED - LONG - 1) b = _move(b);
        _step(a);
        _settleAll();
        assertCredit(_payee(1), (MOVES_REIMBURSED - LONG - 1) * REIMBURSEMENT, "four moves");
        assertCredit(_payee(0), POT - (MOVES_REIMBURSED - LONG - 1) * REIMBURSEMENT, "the rest");
    }

    /// Whoever lost is paid for nothing, however much it moved.
    function test_reimbursement_lostDispute_hasNothing() public {
        _liar(PROVIDER_BOND);
        State memory late = _open(1);
        while (_moves(late) < 5) late = _move(late);
        late = _move(late);
        vm.warp(game.disputeOf(late.dispute).deadline + 1);
        State memory s = _playTo(_open(2), Phases.STEP);
        _step(s);
        _settleAll();
        settlement.refund(late.dispute);
        assertCredit(_payee(1), 0, "late");
        assertCredit(_payee(2), POT, "the pot");
        assertCredit(providerPayee, CHALLENGER_BOND - CHALLENGER_BURN, "a lost bond, as ever");
    }

    /// A puppet with any number of moves gets back less than half of its master's bond.
    function test_reimbursement_puppets_getNoMoreThanThePot() public {
        _liar(PROVIDER_BOND);
        State[2] memory s;
        for (uint160 i = 0; i < 2; ++i) {
            s[i] = _playTo(_open(i), Phases.STEP);
        }
        _step(s[1]);
        _settleAll();
        uint256 both = settlement.balanceOf(_payee(0)) + settlement.balanceOf(_payee(1));
        assertEq(both, POT, "the pot, and no wei more");
        assertTrue(2 * both <= PROVIDER_BOND, "at most half");
    }

    // ---------------------------------------------------------------- the walk

    /// However the walk is cut into calls, everybody gets the same.
    function testFuzz_settleReward_anyPages_payTheSame(uint256 pages) public {
        _liar(PROVIDER_BOND);
        State[5] memory s;
        for (uint160 i = 0; i < 5; ++i) {
            s[i] = _open(i);
            for (uint256 j = (pages >> (16 * i)) % 9; j > 0; --j) {
                s[i] = _move(s[i]);
            }
        }
        vm.warp(START + CLOCK_S + MIN_RESPONSE_S + 1);
        State memory last = _open(5);
        last = _playTo(last, Phases.STEP);
        _step(last);
        uint256 mark = VmCopy(address(vm)).snapshotState();
        _settleAll();
        uint256[6] memory whole = _credits();
        VmCopy(address(vm)).revertToState(mark);
        uint256 calls;
        while (!settlement.claimOf(claimId).rewarded) {
            // None, one or two at a time, and in the end one.
            uint256 limit = calls < 32 ? (pages >> (8 * calls)) % 3 : 1;
            settlement.settleReward(claimId, uint32(limit));
            assertTrue(++calls < 40, "ends");
        }
        uint256[6] memory paged = _credits();
        uint256 sum;
        for (uint256 i = 0; i < 6; ++i) {
            assertEq(whole[i], paged[i], "the same");
            sum += whole[i];
        }
        assertEq(sum, POT, "the pot");
    }

    function _credits() private view returns (uint256[6] memory credits) {
        for (uint160 i = 0; i < 6; ++i) {
            credits[i] = settlement.balanceOf(_payee(i));
        }
    }

    /// A bond of any size is shared out without a wei lost or made.
    function testFuzz_settleReward_anyBond_isShared(uint128 bond) public {
        bond = uint128(bound(bond, _terms().bondMin, _terms().bondMax));
        vm.deal(provider, bond);
        _liar(bond);
        State memory s = _open(1);
        vm.warp(game.disputeOf(s.dispute).deadline + 1);
        game.timeout(s.dispute);
        _settleAll();
        uint256 burned = settlement.balanceOf(BURN);
        assertEq(burned, (uint256(bond) * 6000 + 9999) / 10_000, "rounded up");
        assertTrue(2 * burned >= bond, "at least half");
        assertEq(settlement.balanceOf(_payee(1)), bond - burned, "the rest");
    }
}

interface VmCopy {
    function snapshotState() external returns (uint256);
    function revertToState(uint256 mark) external returns (bool);
}
