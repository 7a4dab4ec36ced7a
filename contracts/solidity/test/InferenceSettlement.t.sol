// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DisputeGame} from "../DisputeGame.sol";
import {InferenceSettlement} from "../InferenceSettlement.sol";
import {ModelRegistry} from "../ModelRegistry.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestStatus
} from "../interfaces/IInferenceSettlement.sol";
import {Tokens} from "../libraries/Tokens.sol";
import {Ledger} from "../libraries/Ledger.sol";
import {Records} from "../libraries/Records.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";

/// Requests, claims, finality: rules, seconds and weis.
contract InferenceSettlementTest is Player {
    Lie private honest;

    function _status(bytes32 requestId, RequestStatus status) private view {
        assertStatus(requestId, status);
    }

    function _refuse(bytes4 reason) private {
        cheats.expectPartialRevert(reason);
    }

    function _view(bytes32 requestId)
        private
        view
        returns (IInferenceSettlement.RequestView memory)
    {
        return settlement.requestOf(requestId);
    }

    // ---------------------------------------------------------------- request

    function test_request_storesAndEmits() public {
        bytes memory prompt = Toy.prompt(PROMPT);
        bytes32 expected = keccak256(
            abi.encode(
                "refute.request",
                block.chainid,
                address(settlement),
                requester,
                uint256(1),
                modelId,
                Trees.leaf(prompt),
                uint256(PROMPT),
                OUTPUT,
                FEE,
                START + 1 days
            )
        );
        cheats.expectEmit();
        emit IInferenceSettlement.Requested(
            expected, modelId, requester, prompt, OUTPUT, FEE, START + 1 days
        );
        bytes32 requestId = _request(1);
        assertEq(requestId, expected, "the id is the content");
        assertEq(_view(requestId).requester, requester);
        assertEq(_view(requestId).modelId, modelId);
        assertEq(_view(requestId).promptRoot, Trees.leaf(prompt));
        assertEq(_view(requestId).promptLength, PROMPT);
        assertEq(_view(requestId).maxOutput, OUTPUT);
        assertEq(_view(requestId).fee, FEE);
        assertEq(_view(requestId).deadline, START + 1 days);
        _status(requestId, RequestStatus.Open);
        assertEq(address(settlement).balance, FEE, "escrow");
    }

    function test_request_again_reverts() public {
        bytes32 requestId = _request(1);
        _refuse(InferenceSettlement.RequestExists.selector);
        _request(1);
        vm.prank(requester);
        settlement.cancel(requestId);
        _refuse(InferenceSettlement.RequestExists.selector);
        _request(1);
        assertTrue(_request(2) != requestId, "another nonce");
    }

    function test_request_anyDifference_isAnotherRequest() public {
        bytes memory p = Toy.prompt(PROMPT);
        vm.startPrank(requester);
        bytes32[6] memory ids = [
            settlement.request{value: 1}(modelId, p, OUTPUT, START, 0),
            settlement.request{value: 2}(modelId, p, OUTPUT, START, 0),
            settlement.request{value: 1}(modelId, p, OUTPUT + 1, START, 0),
            settlement.request{value: 1}(modelId, p, OUTPUT, START + 1, 0),
            settlement.request{value: 1}(modelId, Toy.prompt(PROMPT + 1), OUTPUT, START, 0),
            settlement.request{value: 1}(modelId, p, OUTPUT, START, 1)
        ];
        vm.stopPrank();
        for (uint256 i = 0; i < 6; ++i) {
            for (uint256 j = 0; j < i; ++j) {
                assertTrue(ids[i] != ids[j], "same id");
            }
        }
    }

    function test_request_unknownModel_reverts() public {
        _refuse(ModelRegistry.UnknownModel.selector);
        settlement.request(keccak256("model"), Toy.prompt(1), 1, START, 0);
    }

    function test_request_tokenRules_revert() public {
        bytes32 m = modelId;
        vm.expectRevert(Tokens.NoTokens.selector);
        settlement.request(m, "", 1, START, 0);
        _refuse(Tokens.TokensNotPacked.selector);
        settlement.request(m, hex"0100000002", 1, START, 0);
        _refuse(Tokens.TokenOutsideVocabulary.selector);
        settlement.request(m, hex"0100000064000000", 1, START, 0);
        vm.expectRevert(InferenceSettlement.NoOutputAllowed.selector);
        settlement.request(m, hex"01000000", 0, START, 0);
        settlement.request(m, hex"0100000063000000", 1, START, 0);
    }

    function test_request_context_isTheLimit() public {
        bytes memory prompt = Toy.prompt(PROMPT);
        uint32 most = Toy.CONTEXT - PROMPT;
        settlement.request(modelId, prompt, most, START, 0);
        _refuse(InferenceSettlement.ContextExceeded.selector);
        settlement.request(modelId, prompt, most + 1, START, 0);
        _refuse(InferenceSettlement.ContextExceeded.selector);
        settlement.request(modelId, prompt, type(uint32).max, START, 0);
    }

    function test_request_deadlinePassed_reverts() public {
        _refuse(InferenceSettlement.DeadlinePassed.selector);
        settlement.request(modelId, hex"01000000", 1, START - 1, 0);
        settlement.request(modelId, hex"01000000", 1, START, 0);
    }

    // ---------------------------------------------------------------- cancel

    function test_cancel_refundsTheFee() public {
        bytes32 requestId = _request(1);
        uint256 before = requester.balance;
        vm.prank(requester);
        settlement.cancel(requestId);
        _status(requestId, RequestStatus.Cancelled);
        assertCredit(requester, FEE, "fee");
        assertEq(settlement.withdraw(requester), FEE);
        assertEq(requester.balance, before + FEE, "paid");
        assertEq(address(settlement).balance, 0, "nothing left");
    }

    function test_cancel_refusals() public {
        bytes32 requestId = _request(1);
        _refuse(InferenceSettlement.OnlyRequester.selector);
        vm.prank(stranger);
        settlement.cancel(requestId);
        _accept(requestId);
        vm.startPrank(requester);
        _refuse(Records.WrongRequestStatus.selector);
        settlement.cancel(requestId);
        // Missed, but not released: the bond has to be dealt with first.
        vm.warp(START + CLAIM_S + 1);
        _refuse(Records.WrongRequestStatus.selector);
        settlement.cancel(requestId);
        settlement.release(requestId);
        settlement.cancel(requestId);
        _refuse(Records.WrongRequestStatus.selector);
        settlement.cancel(requestId);
        assertCredit(requester, FEE, "once");
    }

    function test_cancel_unknown_reverts() public {
        _refuse(Records.WrongRequestStatus.selector);
        settlement.cancel(0);
    }

    // ---------------------------------------------------------------- accept and release

    function test_accept_storesAndEmits() public {
        bytes32 requestId = _request(1);
        vm.warp(START + 5);
        cheats.expectEmit();
        emit IInferenceSettlement.Accepted(requestId, provider, START + 5 + CLAIM_S);
        _accept(requestId);
        _status(requestId, RequestStatus.Accepted);
        assertEq(_view(requestId).provider, provider);
        assertEq(_view(requestId).providerPayee, providerPayee);
        assertEq(_view(requestId).claimBy, START + 5 + CLAIM_S);
        assertEq(address(settlement).balance, FEE + PROVIDER_BOND, "escrow");
    }

    function test_accept_refusals() public {
        bytes32 requestId = _request(1);
        vm.startPrank(provider);
        _refuse(InferenceSettlement.WrongValue.selector);
        settlement.accept{value: PROVIDER_BOND - 1}(requestId, providerPayee);
        _refuse(InferenceSettlement.WrongValue.selector);
        settlement.accept{value: PROVIDER_BOND + 1}(requestId, providerPayee);
        vm.expectRevert(InferenceSettlement.ZeroPayee.selector);
        settlement.accept{value: PROVIDER_BOND}(requestId, address(0));
        _refuse(Records.WrongRequestStatus.selector);
        settlement.accept{value: PROVIDER_BOND}(bytes32(0), providerPayee);
        settlement.accept{value: PROVIDER_BOND}(requestId, providerPayee);
        _refuse(Records.WrongRequestStatus.selector);
        settlement.accept{value: PROVIDER_BOND}(requestId, providerPayee);
    }

    function test_accept_deadline_isTheLastSecond() public {
        bytes32 a = _request(1);
        bytes32 b = _request(2);
        vm.warp(START + 1 days);
        _accept(a);
        vm.warp(START + 1 days + 1);
        _refuse(InferenceSettlement.DeadlinePassed.selector);
        _accept(b);
    }

    function test_release_missedClaim_forfeitsAndReopens() public {
        bytes32 requestId = _request(1);
        vm.warp(START + 100);
        _accept(requestId);
        vm.warp(START + 100 + CLAIM_S);
        _refuse(InferenceSettlement.NotMissed.selector);
        settlement.release(requestId);
        vm.warp(START + 100 + CLAIM_S + 1);
        cheats.expectEmit();
        emit IInferenceSettlement.Released(requestId, provider, MISS_PENALTY);
        settlement.release(requestId);
        _status(requestId, RequestStatus.Open);
        assertCredit(providerPayee, PROVIDER_BOND - MISS_PENALTY, "the rest");
        assertCredit(BURN, MISS_PENALTY, "burned");
        assertEq(_view(requestId).deadline, START + 1 days + CLAIM_S + 1, "the time that was lost");
        assertEq(_view(requestId).provider, address(0));
        assertEq(_view(requestId).providerPayee, address(0));
        assertEq(_view(requestId).claimBy, 0);
        _refuse(Records.WrongRequestStatus.selector);
        settlement.release(requestId);
    }

    function test_release_lateAcceptance_canBeAcceptedAgain() public {
        bytes32 requestId = _request(1);
        vm.warp(START + 1 days);
        _accept(requestId);
        vm.warp(START + 1 days + CLAIM_S + 50);
        settlement.release(requestId);
        _accept(requestId);
        bytes32 claimId = _claim(requestId, honest);
        assertClaim(claimId, ClaimStatus.Pending);
    }

    /// A deadline at the end of time must not make reopening overflow.
    function test_release_absurdDeadline_isCapped() public {
        vm.prank(requester);
        bytes32 requestId = settlement.request{value: FEE}(
            modelId, Toy.prompt(PROMPT), OUTPUT, type(uint64).max, 1
        );
        _accept(requestId);
        vm.warp(START + CLAIM_S + 1);
        settlement.release(requestId);
        assertEq(_view(requestId).deadline, type(uint64).max);
    }

    // ---------------------------------------------------------------- claim

    function test_claim_storesAndEmits() public {
        bytes32 requestId = _request(1);
        _accept(requestId);
        bytes memory output = Toy.output(honest, PROMPT, OUTPUT);
        bytes32 root = keccak256("trace");
        vm.warp(START + 9);
        bytes32 expected = keccak256(
            abi.encode(
                "refute.claim",
                block.chainid,
                address(settlement),
                provider,
                uint32(1),
                requestId,
                Trees.leaf(output),
                uint256(OUTPUT),
                root
            )
        );
        cheats.expectEmit();
        emit IInferenceSettlement.Claimed(
            expected, requestId, provider, output, root, START + 9 + WINDOW_S
        );
        vm.prank(provider);
        assertEq(settlement.claim(requestId, output, root), expected, "the id is the content");
        IInferenceSettlement.ClaimView memory c = settlement.claimOf(expected);
        assertEq(c.requestId, requestId);
        assertEq(c.provider, provider);
        assertEq(c.providerPayee, providerPayee);
        assertEq(c.traceRoot, root);
        assertEq(c.outputRoot, Trees.leaf(output));
        assertEq(c.outputLength, OUTPUT);
        assertEq(c.claimedAt, START + 9);
        assertEq(c.windowEnd, START + 9 + WINDOW_S);
        assertEq(c.rejectedAt, 0);
        assertEq(c.disputes, 0);
        assertClaim(expected, ClaimStatus.Pending);
        _status(requestId, RequestStatus.Claimed);
        assertEq(_view(requestId).claimId, expected);
    }

    function test_claim_refusals() public {
        bytes memory output = Toy.output(honest, PROMPT, OUTPUT);
        bytes32 requestId = _request(1);
        vm.prank(provider);
        _refuse(Records.WrongRequestStatus.selector);
        settlement.claim(requestId, output, 0);
        _accept(requestId);
        vm.prank(stranger);
        _refuse(InferenceSettlement.OnlyProvider.selector);
        settlement.claim(requestId, output, 0);
        vm.prank(providerPayee);
        _refuse(InferenceSettlement.OnlyProvider.selector);
        settlement.claim(requestId, output, 0);
        vm.startPrank(provider);
        settlement.claim(requestId, output, 0);
        _refuse(Records.WrongRequestStatus.selector);
        settlement.claim(requestId, output, 0);
    }

    function test_claim_claimBy_isTheLastSecond() public {
        bytes32 a = _request(1);
        bytes32 b = _request(2);
        _accept(a);
        _accept(b);
        vm.warp(START + CLAIM_S);
        _claim(a, honest);
        bytes memory output = Toy.output(honest, PROMPT, OUTPUT);
        vm.warp(START + CLAIM_S + 1);
        _refuse(InferenceSettlement.ClaimTooLate.selector);
        vm.prank(provider);
        settlement.claim(b, output, 0);
    }

    function test_claim_tokenRules() public {
        bytes32 requestId = _request(1);
        _accept(requestId);
        vm.startPrank(provider);
        vm.expectRevert(Tokens.NoTokens.selector);
        settlement.claim(requestId, "", 0);
        _refuse(Tokens.TokensNotPacked.selector);
        settlement.claim(requestId, hex"010000000200000003000000040000", 0);
        _refuse(Tokens.TooManyTokens.selector);
        settlement.claim(requestId, hex"0100000002000000030000000400000005000000", 0);
        _refuse(Tokens.OutputCutShort.selector);
        settlement.claim(requestId, hex"010000000200000003000000", 0);
        _refuse(Tokens.StopTokenInside.selector);
        settlement.claim(requestId, hex"01000000620000000300000004000000", 0);
        _refuse(Tokens.StopTokenInside.selector);
        settlement.claim(requestId, hex"6200000063000000", 0);
        _refuse(Tokens.TokenOutsideVocabulary.selector);
        settlement.claim(requestId, hex"01000000020000000300000064000000", 0);
        settlement.claim(requestId, hex"0100000063000000", 0);
    }

    // ---------------------------------------------------------------- finality

    function test_finalize_windowEnd_isTheFirstSecond() public {
        (bytes32 requestId, bytes32 claimId) = _claimed(honest);
        vm.warp(START + WINDOW_S - 1);
        _refuse(InferenceSettlement.WindowOpen.selector);
        settlement.finalize(claimId);
        // The same second that ends the window for a challenger opens it for finality.
        vm.warp(START + WINDOW_S);
        _refuse(InferenceSettlement.WindowClosed.selector);
        _challenge(claimId);
        cheats.expectEmit();
        emit IInferenceSettlement.Finalized(claimId, requestId);
        settlement.finalize(claimId);
        assertClaim(claimId, ClaimStatus.Final);
        _status(requestId, RequestStatus.Final);
        assertCredit(providerPayee, FEE + PROVIDER_BOND, "fee and bond");
        _refuse(InferenceSettlement.WrongClaimStatus.selector);
        settlement.finalize(claimId);
        assertEq(_view(requestId).claimId, claimId);
        settlement.withdraw(providerPayee);
        assertEq(providerPayee.balance, FEE + PROVIDER_BOND, "paid");
        assertEq(address(settlement).balance, 0, "nothing left");
    }

    function test_finalize_lastSecondChallenge_blocks() public {
        (, bytes32 claimId) = _claimed(honest);
        vm.warp(START + WINDOW_S - 1);
        _challenge(claimId);
        vm.warp(START + WINDOW_S);
        _refuse(InferenceSettlement.DisputesOpen.selector);
        settlement.finalize(claimId);
    }

    function test_finalize_unknown_reverts() public {
        _refuse(InferenceSettlement.WrongClaimStatus.selector);
        settlement.finalize(0);
    }

    function test_finalOutput_onlyWhenFinal() public {
        (bytes32 requestId, bytes32 claimId) = _claimed(honest);
        bytes memory output = Toy.output(honest, PROMPT, OUTPUT);
        assertTrue(!settlement.isFinalOutput(requestId, output), "pending");
        _refuse(Records.WrongRequestStatus.selector);
        settlement.finalOutput(requestId);
        vm.warp(START + WINDOW_S);
        settlement.finalize(claimId);
        assertTrue(settlement.isFinalOutput(requestId, output), "final");
        (bytes32 root, uint32 length) = settlement.finalOutput(requestId);
        assertEq(root, Trees.leaf(output));
        assertEq(length, OUTPUT);
        output[0] ^= 0x01;
        assertTrue(!settlement.isFinalOutput(requestId, output), "another token");
        output[0] ^= 0x01;
        assertTrue(!settlement.isFinalOutput(requestId, bytes.concat(output, hex"00")), "longer");
        assertTrue(!settlement.isFinalOutput(requestId, ""), "nothing");
        assertTrue(!settlement.isFinalOutput(0, output), "another request");
    }

    // ---------------------------------------------------------------- challenge

    function test_challenge_storesAndEmits() public {
        (, bytes32 claimId) = _claimed(honest);
        bytes32 expected = keccak256(
            abi.encode(
                "refute.dispute",
                block.chainid,
                address(settlement),
                claimId,
                challenger,
                challengerPayee
            )
        );
        cheats.expectEmit();
        emit IInferenceSettlement.Challenged(claimId, expected, challenger);
        assertEq(_challenge(claimId), expected, "the id is the content");
        assertEq(settlement.claimOf(claimId).openDisputes, 1);
        assertEq(settlement.claimOf(claimId).disputes, 1);
        assertEq(settlement.disputeAt(claimId, 0), expected);
        assertEq(settlement.disputeAt(claimId, 1), 0);
        (bytes32 of_, address payee, bool settled) = settlement.bondOf(expected);
        assertEq(of_, claimId);
        assertEq(payee, challengerPayee);
        assertTrue(!settled, "held");
    }

    function test_challenge_refusals() public {
        (, bytes32 claimId) = _claimed(honest);
        vm.startPrank(challenger);
        _refuse(InferenceSettlement.WrongValue.selector);
        settlement.challenge{value: CHALLENGER_BOND - 1}(claimId, challengerPayee);
        _refuse(InferenceSettlement.WrongValue.selector);
        settlement.challenge{value: CHALLENGER_BOND + 1}(claimId, challengerPayee);
        vm.expectRevert(InferenceSettlement.ZeroPayee.selector);
        settlement.challenge{value: CHALLENGER_BOND}(claimId, address(0));
        _refuse(InferenceSettlement.WrongClaimStatus.selector);
        settlement.challenge{value: CHALLENGER_BOND}(keccak256("claim"), challengerPayee);
        settlement.challenge{value: CHALLENGER_BOND}(claimId, challengerPayee);
        _refuse(InferenceSettlement.AlreadyChallenged.selector);
        settlement.challenge{value: CHALLENGER_BOND}(claimId, challengerPayee);
        settlement.challenge{value: CHALLENGER_BOND}(claimId, challenger);
    }

    function test_disputeResolved_notTheGame_reverts() public {
        (, bytes32 claimId) = _claimed(honest);
        bytes32 dispute = _challenge(claimId);
        vm.expectRevert(InferenceSettlement.OnlyGame.selector);
        settlement.disputeResolved(dispute, true);
    }

    // ---------------------------------------------------------------- withdraw

    function test_withdraw_nothing_isZero() public {
        assertEq(settlement.withdraw(stranger), 0);
    }

    function test_withdraw_refusingPayee_harmsNobodyElse() public {
        // The game has no receive function.
        address payee = address(game);
        bytes32 requestId = _request(1);
        vm.prank(provider);
        settlement.accept{value: PROVIDER_BOND}(requestId, payee);
        bytes32 claimId = _claim(requestId, honest);
        vm.warp(START + WINDOW_S);
        settlement.finalize(claimId);
        _refuse(Ledger.PaymentFailed.selector);
        settlement.withdraw(payee);
        assertCredit(payee, FEE + PROVIDER_BOND, "still there");
        assertTrue(
            settlement.isFinalOutput(requestId, Toy.output(honest, PROMPT, OUTPUT)),
            "final all the same"
        );
    }

    function test_withdraw_reentering_getsItOnce() public {
        Reentrant thief = new Reentrant(settlement);
        vm.deal(address(thief), 1 ether);
        bytes32 requestId = thief.request(modelId, Toy.prompt(1));
        _request(1);
        thief.cancel(requestId);
        settlement.withdraw(address(thief));
        assertEq(address(thief).balance, 1 ether, "its fee, once");
        assertTrue(thief.tried(), "it tried");
        assertEq(address(settlement).balance, FEE, "the other one's fee");
    }

    function test_withdraw_burned_leavesForGood() public {
        bytes32 requestId = _request(1);
        _accept(requestId);
        vm.warp(START + CLAIM_S + 1);
        settlement.release(requestId);
        assertEq(settlement.withdraw(BURN), MISS_PENALTY);
        assertEq(BURN.balance, MISS_PENALTY);
    }

    function test_receive_plainCoins_reverts() public {
        vm.deal(address(this), 1);
        (bool sent,) = address(settlement).call{value: 1}("");
        assertTrue(!sent, "coins without a purpose");
    }

    // ---------------------------------------------------------------- constructor

    function _refuseTerms(InferenceSettlement.Terms memory t, string memory what) private {
        address future =
            cheats.computeCreateAddress(address(this), cheats.getNonce(address(this)) + 1);
        DisputeGame g = new DisputeGame(address(registry), future, 5, 1, 1);
        vm.expectRevert(abi.encodeWithSelector(InferenceSettlement.BadTerms.selector, what));
        new InferenceSettlement(address(registry), address(g), t);
    }

    function test_constructor_badTerms_revert() public {
        InferenceSettlement.Terms memory t = _terms();
        t.providerBond = 0;
        _refuseTerms(t, "providerBond");
        t = _terms();
        t.providerBond = uint256(type(uint128).max) + 1;
        _refuseTerms(t, "providerBond");
        t = _terms();
        t.providerBurn = PROVIDER_BOND;
        _refuseTerms(t, "providerBurn");
        t.providerBurn = PROVIDER_BOND / 2 - 1;
        _refuseTerms(t, "providerBurn");
        t = _terms();
        t.missPenalty = 0;
        _refuseTerms(t, "missPenalty");
        t.missPenalty = PROVIDER_BOND + 1;
        _refuseTerms(t, "missPenalty");
        t = _terms();
        t.challengerBond = 0;
        _refuseTerms(t, "challengerBond");
        t.challengerBond = type(uint256).max;
        _refuseTerms(t, "challengerBond");
        t = _terms();
        t.challengerBurn = 0;
        _refuseTerms(t, "challengerBurn");
        t.challengerBurn = CHALLENGER_BOND + 1;
        _refuseTerms(t, "challengerBurn");
        t = _terms();
        t.windowS = 0;
        _refuseTerms(t, "windowS");
        t = _terms();
        t.claimS = 0;
        _refuseTerms(t, "claimS");
    }

    function test_constructor_gameOfAnother_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(InferenceSettlement.BadTerms.selector, "game"));
        new InferenceSettlement(address(registry), address(game), _terms());
    }

    function test_constructor_registryOfAnother_reverts() public {
        ModelRegistry other = new ModelRegistry(address(verifier));
        address future =
            cheats.computeCreateAddress(address(this), cheats.getNonce(address(this)) + 1);
        DisputeGame g = new DisputeGame(address(registry), future, 5, 1, 1);
        vm.expectRevert(abi.encodeWithSelector(InferenceSettlement.BadTerms.selector, "registry"));
        new InferenceSettlement(address(other), address(g), _terms());
    }
}

/// Calls back while it is being paid.
contract Reentrant {
    InferenceSettlement private settlement;
    bool public tried;

    constructor(InferenceSettlement settlement_) {
        settlement = settlement_;
    }

    function request(bytes32 modelId, bytes calldata prompt) external returns (bytes32) {
        return settlement.request{value: 1 ether}(modelId, prompt, 1, uint64(block.timestamp), 0);
    }

    function cancel(bytes32 requestId) external {
        settlement.cancel(requestId);
    }

    receive() external payable {
        tried = true;
        settlement.withdraw(address(this));
    }
}
