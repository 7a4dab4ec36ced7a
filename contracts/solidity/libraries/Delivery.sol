// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IInferenceConsumer} from "../interfaces/IInferenceConsumer.sol";
import {IInferenceSettlement, RequestStatus} from "../interfaces/IInferenceSettlement.sol";
import {Records} from "./Records.sol";

/// Tells a request's callback of the final output. The only call to a stranger's code beside
/// `withdraw`: it comes last, it carries no coins, and whether it fails is nobody else's matter.
abstract contract Delivery is Records {
    /// More than is spent between asking what gas is left and the callback's first instruction: a
    /// call to an account that is cold and delegates to a cold one costs 5,200.
    uint256 private constant CALL_OVERHEAD_GAS = 6_000;

    error NoCallback(bytes32 requestId);
    error AlreadyDelivered(bytes32 requestId);
    /// These tokens are not the request's final output.
    error WrongOutput(bytes32 requestId);
    /// There is nothing to call yet; a call would succeed and tell nobody.
    error CallbackWithoutCode(address callback);
    /// The transaction has too little gas left to give the callback all of its own.
    error CallbackStarved(uint256 callbackGas);
    error CallbackFailed(address callback);

    /// @inheritdoc IInferenceSettlement
    function deliver(bytes32 requestId, bytes calldata output) external {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Final) revert WrongRequestStatus(r.status);
        address callback = r.callback;
        if (callback == address(0)) revert NoCallback(requestId);
        if (r.delivered) revert AlreadyDelivered(requestId);
        Record storage c = _current(requestId, r);
        if (!_isOutput(c, output)) revert WrongOutput(requestId);
        if (callback.code.length == 0) revert CallbackWithoutCode(callback);
        // Before the call: whoever comes in by it finds the delivery made.
        r.delivered = true;
        emit Delivered(requestId, callback);
        bytes memory input =
            abi.encodeCall(IInferenceConsumer.onInference, (requestId, _claimId(c), output));
        _call(callback, r.callbackGas, input);
    }

    /// Calls with exactly so much gas, or not at all: a call that is given more than 63/64 of what
    /// is left gets less than it asks for, and a callee that handles its own failures would take
    /// that for an answer. Copies no return data: its size is the callee's choice.
    function _call(address to, uint256 callbackGas, bytes memory input) private {
        bool enough;
        bool ok;
        assembly ("memory-safe") {
            let left := gas()
            if gt(left, CALL_OVERHEAD_GAS) {
                left := sub(left, CALL_OVERHEAD_GAS)
                enough := iszero(lt(sub(left, shr(6, left)), callbackGas))
            }
            if enough { ok := call(callbackGas, to, 0, add(input, 32), mload(input), 0, 0) }
        }
        if (!enough) revert CallbackStarved(callbackGas);
        if (!ok) revert CallbackFailed(to);
    }
}
