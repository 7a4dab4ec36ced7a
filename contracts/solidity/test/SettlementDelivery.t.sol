// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {InferenceSettlement} from "../InferenceSettlement.sol";
import {IInferenceConsumer} from "../interfaces/IInferenceConsumer.sol";
import {
    IInferenceSettlement,
    RequestParams,
    RequestStatus
} from "../interfaces/IInferenceSettlement.sol";
import {Delivery} from "../libraries/Delivery.sol";
import {Records} from "../libraries/Records.sol";
import {Player} from "./support/Player.sol";
import {Lie, Toy} from "./support/Toy.sol";

/// A callback that remembers what it was told, and does what the test wants.
contract Listener is IInferenceConsumer {
    enum Mood {
        Listen,
        Refuse,
        Burn,
        Bomb,
        ReturnBomb,
        Reenter,
        ReenterAll
    }

    IInferenceSettlement private settlement;
    Mood public mood;
    uint256 public calls;
    uint256 public gasGiven;
    address public caller;
    bytes32 public requestId;
    bytes32 public claimId;
    bytes public output;
    uint256 public refusals;

    constructor(IInferenceSettlement settlement_) {
        settlement = settlement_;
    }

    function feel(Mood mood_) external {
        mood = mood_;
    }

    function onInference(bytes32 requestId_, bytes32 claimId_, bytes calldata output_) external {
        uint256 given = gasleft();
        Mood mood_ = mood;
        if (mood_ == Mood.Refuse) revert("no");
        if (mood_ == Mood.Burn) {
            while (true) {}
        }
        if (mood_ == Mood.Bomb) {
            assembly ("memory-safe") {
                revert(0, 500000)
            }
        }
        (gasGiven, caller, requestId, claimId) = (given, msg.sender, requestId_, claimId_);
        output = output_;
        calls += 1;
        if (mood_ == Mood.Reenter) {
            settlement.deliver(requestId_, output_);
        }
        if (mood_ == Mood.ReenterAll) _reenter(output_);
        if (mood_ == Mood.ReturnBomb) {
            assembly ("memory-safe") {
                return(0, 500000)
            }
        }
    }

    /// Whatever it tries from inside finds the delivery made and the claim final.
    function _reenter(bytes calldata output_) private {
        assertTrue(settlement.isFinalOutput(requestId, output_));
        try settlement.deliver(requestId, output_) {}
        catch {
            ++refusals;
        }
        try settlement.finalize(claimId) {}
        catch {
            ++refusals;
        }
        try settlement.cancel(requestId) {}
        catch {
            ++refusals;
        }
        try settlement.settleReward(claimId, 1) {}
        catch {
            ++refusals;
        }
        settlement.withdraw(address(this));
    }

    function assertTrue(bool condition) private pure {
        if (!condition) revert("not so");
    }

    receive() external payable {}
}

/// The callback: once, after finality, with its gas, and nobody else's matter.
contract SettlementDeliveryTest is Player {
    uint32 private constant CALLBACK_GAS = 400_000;

    Listener private listener;
    bytes32 private requestId;
    bytes32 private claimId;
    bytes private output;

    function setUp() public override {
        super.setUp();
        listener = new Listener(settlement);
        requestId = _request(_asking(address(listener), CALLBACK_GAS));
        output = Toy.output(lie, PROMPT, OUTPUT);
    }

    function _asking(address callback, uint32 callbackGas)
        private
        view
        returns (RequestParams memory p)
    {
        p = _params(1);
        p.callback = callback;
        p.callbackGas = callbackGas;
    }

    function _final() private {
        _accept(requestId);
        claimId = _claim(requestId, lie);
        vm.warp(START + WINDOW_S);
        settlement.finalize(claimId);
    }

    function _refuse(bytes4 reason) private {
        cheats.expectPartialRevert(reason);
        settlement.deliver(requestId, output);
    }

    function test_deliver_tellsTheCallback() public {
        _final();
        cheats.expectEmit();
        emit IInferenceSettlement.Delivered(requestId, address(listener));
        vm.prank(stranger);
        settlement.deliver(requestId, output);
        assertEq(listener.calls(), 1, "calls");
        assertEq(listener.caller(), address(settlement));
        assertEq(listener.requestId(), requestId);
        assertEq(listener.claimId(), claimId);
        assertEq(keccak256(listener.output()), keccak256(output), "output");
        assertTrue(settlement.requestOf(requestId).delivered, "delivered");
    }

    function test_deliver_beforeFinality_reverts() public {
        _refuse(Records.WrongRequestStatus.selector);
        _accept(requestId);
        _refuse(Records.WrongRequestStatus.selector);
        claimId = _claim(requestId, lie);
        _refuse(Records.WrongRequestStatus.selector);
        vm.warp(START + WINDOW_S);
        _refuse(Records.WrongRequestStatus.selector);
        settlement.finalize(claimId);
        settlement.deliver(requestId, output);
    }

    function test_deliver_cancelled_reverts() public {
        vm.prank(requester);
        settlement.cancel(requestId);
        _refuse(Records.WrongRequestStatus.selector);
    }

    function test_deliver_twice_reverts() public {
        _final();
        settlement.deliver(requestId, output);
        _refuse(Delivery.AlreadyDelivered.selector);
        assertEq(listener.calls(), 1, "once");
    }

    function test_deliver_noCallback_reverts() public {
        requestId = _request(2);
        _final();
        _refuse(Delivery.NoCallback.selector);
    }

    function test_deliver_otherTokens_reverts() public {
        _final();
        bytes memory right = output;
        output = "";
        _refuse(Delivery.WrongOutput.selector);
        output = bytes.concat(right, hex"00");
        _refuse(Delivery.WrongOutput.selector);
        output = right;
        output[3] ^= 0x80;
        _refuse(Delivery.WrongOutput.selector);
        assertEq(listener.calls(), 0, "not told");
    }

    /// A call to an address without code succeeds, and tells nobody.
    function test_deliver_callbackWithoutCode_reverts() public {
        requestId = _request(_asking(stranger, CALLBACK_GAS));
        _final();
        _refuse(Delivery.CallbackWithoutCode.selector);
        cheats.etch(stranger, address(listener).code);
        settlement.deliver(requestId, output);
    }

    /// A failure changes nothing, and the delivery can be tried again.
    function test_deliver_failingCallback_canBeRetried() public {
        _final();
        Listener.Mood[3] memory moods =
            [Listener.Mood.Refuse, Listener.Mood.Burn, Listener.Mood.Bomb];
        for (uint256 i = 0; i < moods.length; ++i) {
            listener.feel(moods[i]);
            _refuse(Delivery.CallbackFailed.selector);
            assertTrue(!settlement.requestOf(requestId).delivered, "not delivered");
        }
        assertStatus(requestId, RequestStatus.Final);
        assertCredit(providerPayee, FEE + PROVIDER_BOND, "the provider has its own");
        listener.feel(Listener.Mood.Listen);
        settlement.deliver(requestId, output);
        assertEq(listener.calls(), 1, "once");
    }

    /// Half a megabyte of return data costs the callback its gas, and the caller nothing more.
    function test_deliver_returnBomb_costsOnlyTheCallback() public {
        requestId = _request(_asking(address(listener), 1_000_000));
        _final();
        listener.feel(Listener.Mood.ReturnBomb);
        uint256 before = gasleft();
        settlement.deliver(requestId, output);
        assertTrue(before - gasleft() < 1_100_000, "no return data is copied");
        assertEq(listener.calls(), 1, "delivered");
        listener.feel(Listener.Mood.Bomb);
        requestId = _request(_second(1_000_000));
        _final2();
        before = gasleft();
        _refuse(Delivery.CallbackFailed.selector);
        assertTrue(before - gasleft() < 1_200_000, "nor what it reverts with");
    }

    function _second(uint32 callbackGas) private view returns (RequestParams memory p) {
        p = _asking(address(listener), callbackGas);
        p.nonce = 2;
    }

    function _final2() private {
        vm.warp(START);
        _final();
    }

    // ---------------------------------------------------------------- gas

    /// However much gas the one who settles brings, the callback has all of its own or isn't
    /// called: nobody can make it fail, or succeed by half, on purpose.
    function test_deliver_anyGas_allOrNothing() public {
        _final();
        bytes memory call = abi.encodeCall(settlement.deliver, (requestId, output));
        uint256 mark = VmMark(address(vm)).snapshotState();
        uint256 first;
        uint256 given;
        for (uint256 supplied = CALLBACK_GAS - 10_000; first == 0; supplied += 97) {
            (bool ok, bytes memory reason) = address(settlement).call{gas: supplied}(call);
            if (ok) {
                (first, given) = (supplied, listener.gasGiven());
            } else {
                // Out of gas before the check, or refused by it; never the callback's failure.
                assertTrue(
                    reason.length == 0 || bytes4(reason) == Delivery.CallbackStarved.selector, "why"
                );
                assertTrue(supplied < CALLBACK_GAS + 100_000, "refused for ever");
            }
            VmMark(address(vm)).revertToState(mark);
        }
        assertTrue(given > CALLBACK_GAS - 1000 && given < CALLBACK_GAS, "all of it");
        for (uint256 more = 0; more < 1_000_000; more += 111_111) {
            (bool ok,) = address(settlement).call{gas: first + more}(call);
            assertTrue(ok, "enough");
            assertEq(listener.gasGiven(), given, "exactly what was asked for");
            VmMark(address(vm)).revertToState(mark);
        }
    }

    // ---------------------------------------------------------------- reentrancy

    function test_deliver_reentered_reverts() public {
        _final();
        listener.feel(Listener.Mood.Reenter);
        _refuse(Delivery.CallbackFailed.selector);
        assertEq(listener.calls(), 0, "undone");
    }

    function test_deliver_reentering_findsItDone() public {
        _final();
        listener.feel(Listener.Mood.ReenterAll);
        uint256 held = address(settlement).balance;
        settlement.deliver(requestId, output);
        assertEq(listener.calls(), 1, "once");
        assertEq(listener.refusals(), 4, "and nothing else");
        assertEq(address(settlement).balance, held, "nothing taken");
    }

    /// Neither of the deployment's own contracts can be made to do anything by being called.
    function test_deliver_ownContracts_harmNobody() public {
        address[3] memory own = [address(settlement), address(game), address(registry)];
        for (uint256 i = 0; i < own.length; ++i) {
            vm.warp(START);
            RequestParams memory p = _asking(own[i], CALLBACK_GAS);
            p.nonce = 100 + i;
            requestId = _request(p);
            _final();
            _refuse(Delivery.CallbackFailed.selector);
        }
    }

    // ---------------------------------------------------------------- reading

    function test_isFinalClaim_onlyWhenFinal() public {
        _accept(requestId);
        claimId = _claim(requestId, lie);
        assertTrue(!settlement.isFinalClaim(claimId, output), "pending");
        vm.warp(START + WINDOW_S);
        settlement.finalize(claimId);
        assertTrue(settlement.isFinalClaim(claimId, output), "final");
        output[0] ^= 0x01;
        assertTrue(!settlement.isFinalClaim(claimId, output), "another token");
        assertTrue(!settlement.isFinalClaim(claimId, ""), "nothing");
        assertTrue(!settlement.isFinalClaim(0, output), "another claim");
        assertTrue(!settlement.isFinalClaim(requestId, output), "no claim");
    }
}

interface VmMark {
    function snapshotState() external returns (uint256);
    function revertToState(uint256 mark) external returns (bool);
}
