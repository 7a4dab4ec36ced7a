// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {InferenceSettlement} from "../InferenceSettlement.sol";
import {ModelRegistry} from "../ModelRegistry.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestParams,
    RequestStatus
} from "../interfaces/IInferenceSettlement.sol";
import {Model} from "../interfaces/IModelRegistry.sol";
import {Records} from "../libraries/Records.sol";
import {Tokens} from "../libraries/Tokens.sol";
import {Player} from "./support/Player.sol";
import {Lie, Toy} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";

/// What may be asked for, and who may take it on.
contract SettlementRequestsTest is Player {
    uint32 private constant TEMPERATURE_MAX = 16 << 16;

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

    function _full() private view returns (RequestParams memory p) {
        p = _params(1);
        p.seed = 0xfedcba9876543210;
        p.temperature = 1 << 15;
        p.callback = address(0xca11);
        p.callbackGas = 77_777;
    }

    function test_request_storesAndEmits() public {
        RequestParams memory p = _full();
        // Word for word as in contracts/README.md.
        uint256[12] memory asked = [
            uint256(modelId),
            uint256(Trees.leaf(p.prompt)),
            PROMPT,
            OUTPUT,
            0xfedcba9876543210,
            1 << 15,
            PROVIDER_BOND,
            WINDOW_S,
            START + 1 days,
            0xca11,
            77_777,
            1
        ];
        bytes32 expected = keccak256(
            abi.encode("refute.request", block.chainid, address(settlement), requester, FEE, asked)
        );
        cheats.expectEmit();
        emit IInferenceSettlement.Requested(expected, modelId, requester, p, FEE);
        bytes32 requestId = _request(p);
        assertEq(requestId, expected, "the id is the content");
        IInferenceSettlement.RequestView memory v = _view(requestId);
        assertEq(v.requester, requester);
        assertEq(v.modelId, modelId);
        assertEq(v.promptRoot, Trees.leaf(p.prompt));
        assertEq(v.promptLength, PROMPT);
        assertEq(v.maxOutput, OUTPUT);
        assertEq(v.seed, p.seed);
        assertEq(v.temperature, p.temperature);
        assertEq(v.fee, FEE);
        assertEq(v.bond, PROVIDER_BOND);
        assertEq(v.windowS, WINDOW_S);
        assertEq(v.deadline, START + 1 days);
        assertEq(v.callback, address(0xca11));
        assertEq(v.callbackGas, 77_777);
        assertEq(v.acceptances, 0);
        assertEq(v.provider, address(0));
        assertEq(v.claimBy, 0);
        assertEq(v.claimId, 0);
        assertTrue(!v.delivered, "delivered");
        _status(requestId, RequestStatus.Open);
        assertEq(address(settlement).balance, FEE, "escrow");
    }

    function test_request_again_reverts() public {
        bytes32 requestId = _request(1);
        RequestParams memory p = _params(1);
        _refuse(InferenceSettlement.RequestExists.selector);
        _request(p);
        vm.prank(requester);
        settlement.cancel(requestId);
        _refuse(InferenceSettlement.RequestExists.selector);
        _request(p);
        assertTrue(_request(2) != requestId, "another nonce");
    }

    /// Everything that is asked for is in the id.
    function test_request_anyDifference_isAnotherRequest() public {
        bytes32[13] memory ids;
        ids[0] = _request(_full());
        vm.prank(requester);
        ids[1] = settlement.request{value: FEE + 1}(_full());
        vm.prank(stranger);
        ids[2] = settlement.request{value: FEE}(_full());
        RequestParams memory p = _full();
        p.prompt = Toy.prompt(PROMPT + 1);
        ids[3] = _request(p);
        p = _full();
        p.maxOutput += 1;
        ids[4] = _request(p);
        p = _full();
        p.seed += 1;
        ids[5] = _request(p);
        p = _full();
        p.temperature += 1;
        ids[6] = _request(p);
        p = _full();
        p.bond += 1;
        ids[7] = _request(p);
        p = _full();
        p.windowS += 1;
        ids[8] = _request(p);
        p = _full();
        p.deadline += 1;
        ids[9] = _request(p);
        p = _full();
        p.callback = address(0xca12);
        ids[10] = _request(p);
        p = _full();
        p.callbackGas += 1;
        ids[11] = _request(p);
        p = _full();
        p.nonce += 1;
        ids[12] = _request(p);
        for (uint256 i = 0; i < ids.length; ++i) {
            for (uint256 j = 0; j < i; ++j) {
                assertTrue(ids[i] != ids[j], "same id");
            }
        }
    }

    function _refuseRequest(bytes4 reason, RequestParams memory p) private {
        _refuse(reason);
        _request(p);
    }

    function test_request_unknownModel_reverts() public {
        RequestParams memory p = _params(0);
        p.modelId = keccak256("model");
        _refuseRequest(ModelRegistry.UnknownModel.selector, p);
    }

    function test_request_tokenRules_revert() public {
        _refuseRequest(Tokens.NoTokens.selector, _params("", 1));
        _refuseRequest(Tokens.TokensNotPacked.selector, _params(hex"0100000002", 1));
        _refuseRequest(Tokens.TokenOutsideVocabulary.selector, _params(hex"0100000064000000", 1));
        _refuseRequest(InferenceSettlement.NoOutputAllowed.selector, _params(hex"01000000", 0));
        _request(_params(hex"0100000063000000", 1));
    }

    function test_request_context_isTheLimit() public {
        bytes memory prompt = Toy.prompt(PROMPT);
        uint32 most = Toy.CONTEXT - PROMPT;
        _request(_params(prompt, most));
        _refuseRequest(InferenceSettlement.ContextExceeded.selector, _params(prompt, most + 1));
        _refuseRequest(
            InferenceSettlement.ContextExceeded.selector, _params(prompt, type(uint32).max)
        );
    }

    function test_request_deadlinePassed_reverts() public {
        RequestParams memory p = _params(0);
        p.deadline = START - 1;
        _refuseRequest(InferenceSettlement.DeadlinePassed.selector, p);
        p.deadline = START;
        _request(p);
    }

    function test_request_feeOver128Bits_reverts() public {
        RequestParams memory p = _params(0);
        uint256 fee = uint256(type(uint128).max) + 1;
        vm.deal(requester, fee);
        _refuse(InferenceSettlement.WrongValue.selector);
        vm.prank(requester);
        settlement.request{value: fee}(p);
        vm.prank(requester);
        bytes32 requestId = settlement.request{value: fee - 1}(p);
        assertEq(_view(requestId).fee, fee - 1);
    }

    function test_request_seedWithoutTemperature_reverts() public {
        RequestParams memory p = _params(0);
        p.seed = 1;
        _refuseRequest(InferenceSettlement.SeedWithoutTemperature.selector, p);
        p.temperature = 1;
        _request(p);
        p.seed = 0;
        _request(p);
    }

    function test_request_temperatureTooHigh_reverts() public {
        RequestParams memory p = _params(0);
        p.temperature = TEMPERATURE_MAX + 1;
        _refuseRequest(InferenceSettlement.TemperatureTooHigh.selector, p);
        p.temperature = type(uint32).max;
        _refuseRequest(InferenceSettlement.TemperatureTooHigh.selector, p);
        p.temperature = TEMPERATURE_MAX;
        _request(p);
    }

    function test_request_bondOutOfBounds_reverts() public {
        RequestParams memory p = _params(0);
        p.bond = _terms().bondMin - 1;
        _refuseRequest(InferenceSettlement.BondOutOfBounds.selector, p);
        p.bond = 0;
        _refuseRequest(InferenceSettlement.BondOutOfBounds.selector, p);
        p.bond = _terms().bondMax + 1;
        _refuseRequest(InferenceSettlement.BondOutOfBounds.selector, p);
        p.bond = _terms().bondMin;
        _request(p);
        p.bond = _terms().bondMax;
        _request(p);
    }

    function test_request_windowOutOfBounds_reverts() public {
        RequestParams memory p = _params(0);
        p.windowS = _terms().windowMinS - 1;
        _refuseRequest(InferenceSettlement.WindowOutOfBounds.selector, p);
        p.windowS = _terms().windowMaxS + 1;
        _refuseRequest(InferenceSettlement.WindowOutOfBounds.selector, p);
        p.windowS = _terms().windowMinS;
        _request(p);
        p.windowS = _terms().windowMaxS;
        _request(p);
    }

    /// A request of a model that requires so much.
    function _of(uint128 minBond, uint32 minWindowS) private returns (RequestParams memory p) {
        Model memory model = Toy.model();
        model.params.minBond = minBond;
        model.params.minWindowS = minWindowS;
        p = _params(0);
        p.modelId = registry.register(model, Toy.program());
    }

    function test_request_belowTheModelsBond_reverts() public {
        RequestParams memory p = _of(PROVIDER_BOND, 0);
        _request(p);
        p.bond -= 1;
        _refuseRequest(InferenceSettlement.BondOutOfBounds.selector, p);
        // Less than the deployment's minimum changes nothing.
        p = _of(1, 0);
        p.bond = _terms().bondMin - 1;
        _refuseRequest(InferenceSettlement.BondOutOfBounds.selector, p);
        // A model that requires more than the deployment allows can't be asked here.
        p = _of(_terms().bondMax + 1, 0);
        p.bond = _terms().bondMax + 1;
        _refuseRequest(InferenceSettlement.BondOutOfBounds.selector, p);
    }

    function test_request_belowTheModelsWindow_reverts() public {
        RequestParams memory p = _of(0, WINDOW_S);
        _request(p);
        p.windowS -= 1;
        _refuseRequest(InferenceSettlement.WindowOutOfBounds.selector, p);
        p = _of(0, _terms().windowMaxS + 1);
        p.windowS = _terms().windowMaxS + 1;
        _refuseRequest(InferenceSettlement.WindowOutOfBounds.selector, p);
    }

    function test_request_callbackGas_reverts() public {
        RequestParams memory p = _params(0);
        p.callbackGas = 1;
        _refuseRequest(InferenceSettlement.CallbackGasOutOfBounds.selector, p);
        p.callback = address(0xca11);
        p.callbackGas = 0;
        _refuseRequest(InferenceSettlement.CallbackGasOutOfBounds.selector, p);
        p.callbackGas = _terms().callbackGasMax + 1;
        _refuseRequest(InferenceSettlement.CallbackGasOutOfBounds.selector, p);
        p.callbackGas = _terms().callbackGasMax;
        _request(p);
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

    /// A requester that went away leaves nothing behind that nobody can clear.
    function test_cancel_afterTheDeadline_isAnyones() public {
        bytes32 requestId = _request(1);
        vm.warp(START + 1 days);
        _refuse(InferenceSettlement.OnlyRequester.selector);
        vm.prank(stranger);
        settlement.cancel(requestId);
        vm.warp(START + 1 days + 1);
        vm.prank(stranger);
        settlement.cancel(requestId);
        _status(requestId, RequestStatus.Cancelled);
        assertCredit(requester, FEE, "to whom it belongs");
        assertCredit(stranger, 0, "not to who called");
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
        emit IInferenceSettlement.Accepted(requestId, provider, providerPayee, START + 5 + CLAIM_S);
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
        assertEq(_view(a).acceptances, 1);
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
        RequestParams memory p = _params(1);
        p.deadline = type(uint64).max;
        bytes32 requestId = _request(p);
        _accept(requestId);
        vm.warp(START + CLAIM_S + 1);
        settlement.release(requestId);
        assertEq(_view(requestId).deadline, type(uint64).max);
    }

    /// The bond is the request's own, and the share that burns is rounded up.
    function test_release_oddBond_burnsRoundedUp() public {
        RequestParams memory p = _params(1);
        p.bond = 1 ether + 1;
        bytes32 requestId = _request(p);
        _refuse(InferenceSettlement.WrongValue.selector);
        _accept(requestId);
        vm.prank(provider);
        settlement.accept{value: 1 ether + 1}(requestId, providerPayee);
        vm.warp(START + CLAIM_S + 1);
        settlement.release(requestId);
        assertCredit(BURN, 0.1 ether + 1, "a tenth, and a wei");
        assertCredit(providerPayee, 0.9 ether, "the rest");
    }
}
