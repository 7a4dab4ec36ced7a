// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {InferenceSettlement} from "../InferenceSettlement.sol";
import {State} from "../interfaces/IDisputeGame.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestParams
} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy} from "./support/Toy.sol";
import {Wire} from "./support/Wire.sol";

/// A payee that does to everybody what it can while it is paid.
contract Meddler {
    IInferenceSettlement private immutable settlement;
    bytes32 private claimId;
    bytes32 private dispute;
    bool private bomb;
    uint256 public entered;

    constructor(IInferenceSettlement settlement_) {
        settlement = settlement_;
    }

    function aim(bytes32 claimId_, bytes32 dispute_, bool bomb_) external {
        (claimId, dispute, bomb) = (claimId_, dispute_, bomb_);
    }

    receive() external payable {
        ++entered;
        settlement.settleReward(claimId, 10);
        settlement.refund(dispute);
        settlement.withdraw(address(this));
        bytes32[] memory claimIds = new bytes32[](1);
        claimIds[0] = claimId;
        settlement.finalizeMany(claimIds);
        if (bomb) {
            assembly ("memory-safe") {
                return(0, 1000000)
            }
        }
    }
}

/// Many at once, little gas, and callees that misbehave: nothing that decides or pays can be held
/// up, made to go wrong, or taken from.
contract CrowdingTest is Player {
    bytes32 private requestId;
    bytes32 private claimId;

    function _liar() private {
        lie = Lie(LieKind.Value, 3, 4, 300, 20);
        (requestId, claimId) = _claimed(lie);
    }

    function _payee(uint256 i) private pure returns (address) {
        return address(uint160(0x9000 + i));
    }

    // ---------------------------------------------------------------- many at once

    /// Fifty disputes opened in the window's last second: the claim waits for each, and is decided
    /// no later than with one. The provider is paid for every one of them.
    function test_manyDisputes_delayNoLongerThanOne() public {
        Lie memory none;
        (requestId, claimId) = _claimed(none);
        vm.warp(START + WINDOW_S - 1);
        uint256 count = 50;
        bytes32[] memory disputes = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            disputes[i] = _challengeAs(claimId, address(uint160(0x8000 + i)), _payee(i));
        }
        State memory s;
        for (uint256 i = 0; i < count; ++i) {
            s = _initial(disputes[i]);
            _defend(s);
        }
        vm.warp(START + WINDOW_S - 1 + CLOCK_S + MIN_RESPONSE_S + 1);
        for (uint256 i = 0; i < count; ++i) {
            cheats.expectPartialRevert(InferenceSettlement.DisputesOpen.selector);
            settlement.finalize(claimId);
            game.timeout(disputes[i]);
        }
        settlement.finalize(claimId);
        assertCredit(
            providerPayee,
            PROVIDER_BOND + FEE + count * (CHALLENGER_BOND - CHALLENGER_BURN),
            "paid for each"
        );
    }

    /// What decides a claim costs the same among fifty disputes as alone.
    function test_manyDisputes_decideForTheSameGas() public {
        uint256[2] memory spent;
        for (uint256 round = 0; round < 2; ++round) {
            _deploy(2);
            vm.warp(START);
            _liar();
            uint256 count = round == 0 ? 1 : 50;
            bytes32 last;
            for (uint256 i = 0; i < count; ++i) {
                last = _challengeAs(claimId, address(uint160(0x8000 + i)), _payee(i));
            }
            vm.warp(game.disputeOf(last).deadline + 1);
            cheats.cool(address(settlement));
            cheats.cool(address(game));
            uint256 before = gasleft();
            game.timeout(last);
            spent[round] = before - gasleft();
        }
        assertTrue(spent[1] <= spent[0] + 100, "no loop over what strangers add");
    }

    /// Many that fell lie before the one that stands: the walk takes as many calls as
    /// whoever pays for them wants, and each can be made small.
    function test_manyDeadDisputes_rewardIsReached() public {
        _liar();
        uint256 count = 40;
        for (uint256 i = 0; i < count; ++i) {
            State memory s =
                _initial(_challengeAs(claimId, address(uint160(0x8000 + i)), _payee(i)));
            if (i + 1 < count) _defend(s);
        }
        bytes32 last = settlement.disputeAt(claimId, uint32(count - 1));
        vm.warp(game.disputeOf(last).deadline + 1);
        game.timeout(last);
        uint256 calls;
        while (!settlement.claimOf(claimId).rewarded) {
            uint256 before = gasleft();
            settlement.settleReward(claimId, 1);
            assertTrue(before - gasleft() < 250_000, "a small call");
            ++calls;
        }
        assertTrue(calls <= count, "each is seen once");
        assertCredit(_payee(count - 1), PROVIDER_BOND - PROVIDER_BURN, "the one that stands");
    }

    // ---------------------------------------------------------------- finalizeMany

    /// Unknown, early, disputed, rejected, final, repeated: each is left as it is, and keeps none
    /// of the others from being final.
    function test_finalizeMany_badEntries_harmNoneOfTheOthers() public {
        Lie memory none;
        bytes32[] memory ids = new bytes32[](9);
        (, ids[0]) = _numbered(1, none);
        (, ids[2]) = _numbered(2, none);
        bytes32 open = ids[2];
        _challenge(open);
        lie = Lie(LieKind.Value, 3, 4, 300, 20);
        (, ids[3]) = _numbered(3, lie);
        _playOut(_initial(_challenge(ids[3])));
        ids[1] = keccak256("unknown");
        ids[4] = 0;
        ids[5] = ids[0];
        (ids[6], ids[7]) = _numbered(4, none);
        vm.warp(START + 100);
        (, ids[8]) = _numbered(5, none);
        vm.warp(START + WINDOW_S);
        assertEq(settlement.finalizeMany(ids), 2, "two were ready");
        assertClaim(ids[0], ClaimStatus.Final);
        assertClaim(ids[7], ClaimStatus.Final);
        assertClaim(open, ClaimStatus.Pending);
        assertClaim(ids[3], ClaimStatus.Rejected);
        assertClaim(ids[8], ClaimStatus.Pending);
        assertCredit(providerPayee, 2 * (PROVIDER_BOND + FEE), "each once");
        assertEq(settlement.finalizeMany(ids), 0, "nothing twice");
        assertEq(settlement.finalizeMany(new bytes32[](0)), 0, "nothing");
        assertCredit(providerPayee, 2 * (PROVIDER_BOND + FEE), "each once");
    }

    function _numbered(uint256 nonce, Lie memory lie_)
        private
        returns (bytes32 request_, bytes32 claim_)
    {
        request_ = _request(nonce);
        _accept(request_);
        claim_ = _claim(request_, lie_);
    }

    // ---------------------------------------------------------------- little gas

    /// With whatever gas the last step is called: it reverts and has changed nothing, or it decides
    /// rightly. A call inside that runs out is nobody's verdict.
    function test_step_anyGas_neverDecidesWrongly() public {
        _liar();
        State memory s = _playTo(_initial(_challenge(claimId)), Phases.STEP);
        _anyGas(address(game), abi.encodeCall(game.step, (Wire.pack(s), _witness(s))), s.dispute);
    }

    /// A verifier that burns all that it is given, 63/64 of a lot: what is left would be enough to
    /// decide with, and nothing is decided.
    function test_step_starvedVerifier_decidesNothing() public {
        _liar();
        State memory s = _playTo(_initial(_challenge(claimId)), Phases.STEP);
        bytes memory input = abi.encodeCall(game.step, (Wire.pack(s), _witness(s)));
        bytes memory code = address(verifier).code;
        cheats.etch(address(verifier), hex"fe");
        (bool ok,) = address(game).call{gas: 30_000_000}(input);
        assertTrue(!ok, "a verdict");
        assertTrue(!game.disputeOf(s.dispute).resolved, "decided");
        assertClaim(claimId, ClaimStatus.Pending);
        cheats.etch(address(verifier), code);
        assertTrue(_playOut(s), "decided by the verifier");
    }

    function test_timeout_anyGas_neverDecidesWrongly() public {
        _liar();
        bytes32 dispute = _challenge(claimId);
        vm.warp(game.disputeOf(dispute).deadline + 1);
        _anyGas(address(game), abi.encodeCall(game.timeout, (dispute)), dispute);
    }

    function _anyGas(address to, bytes memory input, bytes32 dispute) private {
        uint256 mark = VmRewind(address(vm)).snapshotState();
        uint256 decided;
        uint256 refused;
        for (uint256 supplied = 5000; supplied < 400_000; supplied += supplied / 20) {
            (bool ok,) = to.call{gas: supplied}(input);
            assertTrue(game.disputeOf(dispute).resolved == ok, "all or nothing");
            if (ok) {
                assertTrue(game.disputeOf(dispute).challengerWon, "rightly");
                assertClaim(claimId, ClaimStatus.Rejected);
                ++decided;
            } else {
                assertClaim(claimId, ClaimStatus.Pending);
                ++refused;
            }
            VmRewind(address(vm)).revertToState(mark);
        }
        assertTrue(decided > 0 && refused > 0, "both were seen");
    }

    /// The same for the money that follows: no gas makes a standing dispute count as one that fell.
    function test_settling_anyGas_allOrNothing() public {
        _liar();
        bytes32 dispute = _challenge(claimId);
        vm.warp(game.disputeOf(dispute).deadline + 1);
        game.timeout(dispute);
        uint256 mark = VmRewind(address(vm)).snapshotState();
        for (uint256 supplied = 5000; supplied < 200_000; supplied += supplied / 20) {
            (bool ok,) = address(settlement).call{gas: supplied}(
                abi.encodeCall(settlement.settleReward, (claimId, 10))
            );
            assertCredit(challengerPayee, ok ? PROVIDER_BOND - PROVIDER_BURN : 0, "reward");
            uint256 before = settlement.balanceOf(challengerPayee);
            (ok,) = address(settlement).call{gas: supplied}(
                abi.encodeCall(settlement.refund, (dispute))
            );
            assertCredit(challengerPayee, before + (ok ? CHALLENGER_BOND : 0), "bond");
            VmRewind(address(vm)).revertToState(mark);
        }
    }

    // ---------------------------------------------------------------- payees

    /// While it is paid, a payee settles, refunds, finalizes and withdraws again: everything is
    /// paid once.
    function test_payee_reenteringEverything_paidOnce() public {
        _meddle(false);
    }

    /// And it answers with a megabyte: the caller copies none of it.
    function test_payee_returnBomb_costsThePayeeOnly() public {
        _meddle(true);
    }

    function _meddle(bool bomb) private {
        Meddler meddler = new Meddler(settlement);
        _liar();
        vm.deal(challenger, CHALLENGER_BOND);
        vm.prank(challenger);
        bytes32 dispute = settlement.challenge{value: CHALLENGER_BOND}(claimId, address(meddler));
        meddler.aim(claimId, dispute, bomb);
        vm.warp(game.disputeOf(dispute).deadline + 1);
        game.timeout(dispute);
        settlement.refund(dispute);
        uint256 before = gasleft();
        settlement.withdraw(address(meddler));
        // A million bytes of memory cost two million gas: the payee's own, each of the two times
        // that it is paid. A copy would cost as much again.
        assertTrue(before - gasleft() < 5_000_000, "copied");
        assertTrue(meddler.entered() > 0, "it tried");
        settlement.withdraw(address(meddler));
        assertEq(address(meddler).balance, PROVIDER_BOND - PROVIDER_BURN + CHALLENGER_BOND, "once");
        assertEq(address(settlement).balance, FEE + PROVIDER_BURN, "the others'");
    }

    /// Paid to nobody who can take it: its own loss, and nobody's wait.
    function test_payee_ownContracts_stopNobody() public {
        address[3] memory payees = [address(settlement), address(game), address(registry)];
        for (uint256 i = 0; i < 3; ++i) {
            vm.warp(START);
            requestId = _request(i);
            vm.prank(provider);
            settlement.accept{value: PROVIDER_BOND}(requestId, payees[i]);
            Lie memory none;
            claimId = _claim(requestId, none);
            vm.warp(START + WINDOW_S);
            settlement.finalize(claimId);
            vm.expectRevert();
            settlement.withdraw(payees[i]);
            assertCredit(payees[i], PROVIDER_BOND + FEE, "stuck, to the wei");
        }
    }

    // ---------------------------------------------------------------- amounts

    /// Bonds and fees of every size: what burns is at least its share, and burned and paid are all
    /// there was.
    ///
    /// forge-config: default.fuzz.runs = 24
    function testFuzz_amounts_addUpToTheWei(uint128 fee, uint128 bond_) public {
        uint128 bond = uint128(bound(bond_, _terms().bondMin, _terms().bondMax));
        vm.deal(requester, fee);
        IInferenceSettlement s = settlement;
        lie = Lie(LieKind.Value, 3, 4, 300, 20);
        vm.prank(requester);
        requestId = s.request{value: fee}(_bonded(bond));
        vm.deal(provider, bond);
        vm.prank(provider);
        s.accept{value: bond}(requestId, providerPayee);
        claimId = _claim(requestId, lie);
        bytes32 dispute = _challenge(claimId);
        vm.warp(game.disputeOf(dispute).deadline + 1);
        game.timeout(dispute);
        s.settleReward(claimId, 1);
        s.refund(dispute);
        uint256 burned = s.balanceOf(BURN);
        assertTrue(burned * 10_000 >= uint256(bond) * _terms().burnBps, "at least the share");
        assertTrue((burned - 1) * 10_000 < uint256(bond) * _terms().burnBps, "and no wei more");
        assertCredit(challengerPayee, bond - burned + CHALLENGER_BOND, "the rest");
        s.withdraw(BURN);
        s.withdraw(challengerPayee);
        vm.prank(requester);
        s.cancel(requestId);
        s.withdraw(requester);
        assertEq(requester.balance, fee, "the fee");
        assertEq(address(s).balance, 0, "nothing left");
    }

    function _bonded(uint128 bond) private view returns (RequestParams memory p) {
        p = _params(1);
        p.bond = bond;
    }
}

interface VmRewind {
    function snapshotState() external returns (uint256);
    function revertToState(uint256 mark) external returns (bool);
}
