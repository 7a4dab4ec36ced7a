// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {InferenceSettlement} from "../InferenceSettlement.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestParams,
    RequestStatus
} from "../interfaces/IInferenceSettlement.sol";
import {Tokens} from "../libraries/Tokens.sol";
import {Ledger} from "../libraries/Ledger.sol";
import {Records} from "../libraries/Records.sol";
import {Player} from "./support/Player.sol";
import {Lie, Toy} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";

/// Claims, finality, challenges and payments: rules, seconds and weis.
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
        _refuse(Records.WrongClaimStatus.selector);
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
        _refuse(Records.WrongClaimStatus.selector);
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
        (bytes32 which, bytes32 root, uint32 length) = settlement.finalOutput(requestId);
        assertEq(which, claimId);
        assertEq(root, Trees.leaf(output));
        assertEq(length, OUTPUT);
        output[0] ^= 0x01;
        assertTrue(!settlement.isFinalOutput(requestId, output), "another token");
        output[0] ^= 0x01;
        assertTrue(!settlement.isFinalOutput(requestId, bytes.concat(output, hex"00")), "longer");
        assertTrue(!settlement.isFinalOutput(requestId, ""), "nothing");
        assertTrue(!settlement.isFinalOutput(0, output), "another request");
    }

    /// Whatever else is in the list, what can be finalized is.
    function test_finalizeMany_skipsWhatIsNotReady() public {
        bytes32[] memory ids = new bytes32[](8);
        for (uint256 i = 0; i < 4; ++i) {
            bytes32 requestId = _request(i);
            _accept(requestId);
            ids[i] = _claim(requestId, honest);
        }
        settlement.claimOf(ids[1]);
        _challenge(ids[1]);
        vm.warp(START + 1);
        bytes32 late = _request(4);
        _accept(late);
        ids[4] = _claim(late, honest);
        ids[5] = keccak256("no claim");
        ids[6] = ids[0];
        // ids[7] is zero.
        assertEq(settlement.finalizeMany(ids), 0, "too early");
        vm.warp(START + WINDOW_S);
        settlement.finalize(ids[3]);
        assertEq(settlement.finalizeMany(ids), 2, "two of them");
        assertClaim(ids[0], ClaimStatus.Final);
        assertClaim(ids[1], ClaimStatus.Pending);
        assertClaim(ids[2], ClaimStatus.Final);
        assertClaim(ids[4], ClaimStatus.Pending);
        assertCredit(providerPayee, 3 * (FEE + PROVIDER_BOND), "each once");
        vm.warp(START + WINDOW_S + 1);
        assertEq(settlement.finalizeMany(ids), 1, "the late one");
        assertEq(settlement.finalizeMany(ids), 0, "nothing left");
        assertEq(settlement.finalizeMany(new bytes32[](0)), 0, "nothing asked");
    }

    /// The window is the request's own.
    function test_finalize_window_isTheRequests() public {
        RequestParams memory p = _params(1);
        p.windowS = _terms().windowMinS;
        bytes32 requestId = _request(p);
        _accept(requestId);
        bytes32 claimId = _claim(requestId, honest);
        assertEq(settlement.claimOf(claimId).windowEnd, START + p.windowS);
        vm.warp(START + p.windowS - 1);
        _refuse(InferenceSettlement.WindowOpen.selector);
        settlement.finalize(claimId);
        vm.warp(START + p.windowS);
        settlement.finalize(claimId);
    }

    // ---------------------------------------------------------------- views

    function test_views_unknown_areEmpty() public view {
        IInferenceSettlement.ClaimView memory c;
        assertEq(keccak256(abi.encode(settlement.claimOf(0))), keccak256(abi.encode(c)), "claim");
        IInferenceSettlement.RequestView memory r;
        assertEq(keccak256(abi.encode(_view(0))), keccak256(abi.encode(r)), "request");
        assertTrue(!settlement.isPending(0), "pending");
    }

    /// The request's view follows the acceptance that is being worked on, the claim's stays.
    function test_views_followTheAcceptance() public {
        bytes32 requestId = _request(1);
        _accept(requestId);
        assertEq(_view(requestId).claimId, 0);
        assertEq(_view(requestId).acceptances, 1);
        vm.warp(START + CLAIM_S + 1);
        settlement.release(requestId);
        assertEq(_view(requestId).provider, address(0));
        vm.deal(stranger, PROVIDER_BOND);
        vm.prank(stranger);
        settlement.accept{value: PROVIDER_BOND}(requestId, challengerPayee);
        assertEq(_view(requestId).provider, stranger);
        assertEq(_view(requestId).providerPayee, challengerPayee);
        assertEq(_view(requestId).claimBy, START + 2 * CLAIM_S + 1);
        assertEq(_view(requestId).acceptances, 2);
        bytes memory output = Toy.output(honest, PROMPT, OUTPUT);
        vm.prank(stranger);
        bytes32 claimId = settlement.claim(requestId, output, "root");
        assertEq(_view(requestId).claimId, claimId);
        assertEq(settlement.claimOf(claimId).bond, PROVIDER_BOND);
        bytes32 dispute = _challenge(claimId);
        vm.warp(game.disputeOf(dispute).deadline + 1);
        game.timeout(dispute);
        assertEq(_view(requestId).claimId, 0);
        assertEq(settlement.claimOf(claimId).provider, stranger);
        assertEq(settlement.claimOf(claimId).providerPayee, challengerPayee);
        assertEq(settlement.claimOf(claimId).traceRoot, "root");
        assertTrue(!settlement.claimOf(claimId).rewarded, "not yet");
    }

    function test_tokensRoot_isTheTreesRoot() public {
        bytes memory tokens = Toy.prompt(600);
        assertEq(settlement.tokensRoot(tokens), Trees.root(Trees.chunks(tokens)), "three leaves");
        assertEq(settlement.tokensRoot(hex"01000000"), Trees.leaf(hex"01000000"), "one token");
        vm.expectRevert(Tokens.NoTokens.selector);
        settlement.tokensRoot("");
        _refuse(Tokens.TokensNotPacked.selector);
        settlement.tokensRoot(hex"0100000002");
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
        emit IInferenceSettlement.Challenged(claimId, expected, challenger, challengerPayee);
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
        _refuse(Records.WrongClaimStatus.selector);
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
        // Less than the other one's fee, so that it could be paid twice.
        vm.deal(address(thief), thief.FEE());
        bytes32 requestId = thief.request(_params(Toy.prompt(1), 1));
        _request(1);
        thief.cancel(requestId);
        settlement.withdraw(address(thief));
        assertEq(address(thief).balance, thief.FEE(), "its fee, once");
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
}

/// Calls back while it is being paid, once.
contract Reentrant {
    uint256 public constant FEE = 0.1 ether;

    InferenceSettlement private settlement;
    bool public tried;

    constructor(InferenceSettlement settlement_) {
        settlement = settlement_;
    }

    function request(RequestParams calldata p) external returns (bytes32) {
        return settlement.request{value: FEE}(p);
    }

    function cancel(bytes32 requestId) external {
        settlement.cancel(requestId);
    }

    receive() external payable {
        if (tried) return;
        tried = true;
        settlement.withdraw(address(this));
    }
}
