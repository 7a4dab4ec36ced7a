// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IClaims} from "../interfaces/IClaims.sol";
import {Subject} from "../interfaces/IDisputeGame.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestStatus
} from "../interfaces/IInferenceSettlement.sol";
import {Tokens} from "./Tokens.sol";

/// What the settlement keeps, and how it is read. Nothing here writes.
abstract contract Records is IInferenceSettlement, IClaims {
    struct Request {
        address requester;
        uint32 promptLength; // tokens
        uint32 maxOutput; // tokens
        RequestStatus status;
        bytes32 modelId;
        bytes32 promptRoot;
        uint128 fee; // wei
        uint64 deadline; // s
        uint64 claimBy; // s
        address provider;
        uint32 acceptances; // so far; tells the claims of a reopened request apart
        address providerPayee;
        bytes32 claimId;
    }

    struct Claim {
        bytes32 requestId;
        bytes32 traceRoot;
        bytes32 outputRoot;
        address provider;
        uint32 outputLength; // tokens
        uint64 claimedAt; // s
        address providerPayee;
        // What changes: one slot.
        uint64 windowEnd; // s
        uint64 rejectedAt; // s
        uint32 openDisputes;
        uint32 disputes;
        uint32 rewardCursor; // disputes before it can't have the reward
        ClaimStatus status;
        bool rewarded;
    }

    struct Bond {
        bytes32 claimId;
        address payee;
        bool settled; // credited or forfeited
    }

    error WrongRequestStatus(RequestStatus status);

    mapping(bytes32 requestId => Request) internal requests;
    mapping(bytes32 claimId => Claim) internal claims;
    mapping(bytes32 dispute => Bond) internal bonds;
    mapping(bytes32 claimId => mapping(uint32 index => bytes32 dispute)) internal disputesOf;

    /// @inheritdoc IInferenceSettlement
    function requestOf(bytes32 requestId) external view returns (RequestView memory v) {
        Request storage r = requests[requestId];
        v.requester = r.requester;
        v.modelId = r.modelId;
        v.promptRoot = r.promptRoot;
        v.promptLength = r.promptLength;
        v.maxOutput = r.maxOutput;
        v.fee = r.fee;
        v.deadline = r.deadline;
        v.status = r.status;
        v.provider = r.provider;
        v.providerPayee = r.providerPayee;
        v.claimBy = r.claimBy;
        v.claimId = r.claimId;
    }

    /// @inheritdoc IInferenceSettlement
    function claimOf(bytes32 claimId) external view returns (ClaimView memory v) {
        Claim storage c = claims[claimId];
        v.requestId = c.requestId;
        v.provider = c.provider;
        v.providerPayee = c.providerPayee;
        v.traceRoot = c.traceRoot;
        v.outputRoot = c.outputRoot;
        v.outputLength = c.outputLength;
        v.claimedAt = c.claimedAt;
        v.windowEnd = c.windowEnd;
        v.rejectedAt = c.rejectedAt;
        v.openDisputes = c.openDisputes;
        v.disputes = c.disputes;
        v.status = c.status;
    }

    /// @inheritdoc IInferenceSettlement
    function disputeAt(bytes32 claimId, uint32 index) external view returns (bytes32 dispute) {
        return disputesOf[claimId][index];
    }

    /// @inheritdoc IInferenceSettlement
    function bondOf(bytes32 dispute)
        external
        view
        returns (bytes32 claimId, address payee, bool settled)
    {
        Bond storage b = bonds[dispute];
        return (b.claimId, b.payee, b.settled);
    }

    /// @inheritdoc IInferenceSettlement
    function isRewarded(bytes32 claimId) external view returns (bool) {
        return claims[claimId].rewarded;
    }

    /// @inheritdoc IInferenceSettlement
    function isFinalOutput(bytes32 requestId, bytes calldata output) external view returns (bool) {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Final) return false;
        Claim storage c = claims[r.claimId];
        // The length first: a root alone doesn't say how much of a tree is padding.
        if (output.length != 4 * uint256(c.outputLength)) return false;
        return Tokens.root(output) == c.outputRoot;
    }

    /// @inheritdoc IInferenceSettlement
    function finalOutput(bytes32 requestId)
        external
        view
        returns (bytes32 outputRoot, uint32 outputLength)
    {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Final) revert WrongRequestStatus(r.status);
        Claim storage c = claims[r.claimId];
        return (c.outputRoot, c.outputLength);
    }

    /// @inheritdoc IClaims
    function isPending(bytes32 claimId) external view returns (bool) {
        return claims[claimId].status == ClaimStatus.Pending;
    }

    /// @inheritdoc IClaims
    function subjectOf(bytes32 claimId) external view returns (Subject memory) {
        return _subject(claims[claimId]);
    }

    /// @inheritdoc IClaims
    function modelOf(bytes32 claimId) external view returns (bytes32 modelId) {
        return requests[claims[claimId].requestId].modelId;
    }

    /// @inheritdoc IClaims
    function outputRootOf(bytes32 claimId) external view returns (bytes32 outputRoot) {
        return claims[claimId].outputRoot;
    }

    function _subject(Claim storage c) internal view returns (Subject memory) {
        Request storage r = requests[c.requestId];
        return Subject({
            modelId: r.modelId,
            traceRoot: c.traceRoot,
            promptRoot: r.promptRoot,
            promptLength: r.promptLength,
            outputRoot: c.outputRoot,
            outputLength: c.outputLength,
            seed: 0,
            temperature: 0
        });
    }
}
