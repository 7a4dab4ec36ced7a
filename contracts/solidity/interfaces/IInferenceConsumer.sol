// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// A contract that wants to be told of an answer. Name it as a request's `callback`, with the gas it needs.
interface IInferenceConsumer {
    /// Called once, after finality, by the settlement: check `msg.sender` against the settlement that you asked, and `requestId` against what
    /// you asked for. `output`: u32 tokens, little-endian, packed. A revert undoes the delivery; anyone can try it again.
    function onInference(bytes32 requestId, bytes32 claimId, bytes calldata output) external;
}
