// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IClaims} from "../interfaces/IClaims.sol";
import {Subject} from "../interfaces/IDisputeGame.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestStatus
} from "../interfaces/IInferenceSettlement.sol";
import {Deployment} from "./Deployment.sol";
import {Tokens} from "./Tokens.sol";

/// What the settlement keeps, and how it is read. Nothing here writes.
///
/// A claim's record is begun at the acceptance, under a hash of the request and the acceptance's
/// number, so that the claim itself adds three slots: the two roots, and what leads from its id to
/// the record.
abstract contract Records is IInferenceSettlement, IClaims, Deployment {
    struct Request {
        address requester;
        // The registry knows no context of more than 65,536 tokens.
        uint24 promptLength; // tokens
        uint24 maxOutput; // tokens
        uint32 acceptances; // so far; tells the claims of a reopened request apart
        RequestStatus status;
        bool delivered;
        bytes32 modelId;
        bytes32 promptRoot;
        uint128 fee; // wei
        uint128 bond; // wei
        uint64 deadline; // s
        uint64 seed;
        uint32 temperature; // in units of 2^-16
        uint32 windowS;
        // Written only where there is one.
        address callback;
        uint32 callbackGas;
    }

    /// An acceptance, and the claim made under it: `status` is `None` until there is one.
    struct Record {
        bytes32 requestId;
        address provider;
        uint64 acceptedAt; // s
        uint32 acceptance; // its number
        address providerPayee;
        uint64 claimedAt; // s
        uint24 outputLength; // tokens
        ClaimStatus status;
        bytes32 outputRoot;
        bytes32 traceRoot;
        Disputed disputed;
    }

    /// One slot, untouched while nobody disputes.
    struct Disputed {
        uint64 rejectedAt; // s
        uint32 open;
        uint32 count; // ever opened
        uint32 cursor; // disputes before it have got what they get
        uint32 movesPaid;
        uint32 first; // 1 + index of the earliest one that stands; 0: not found yet
        bool rewarded; // the whole reward is credited
    }

    struct Bond {
        bytes32 claimId;
        address payee;
        bool settled; // credited or forfeited
    }

    error WrongRequestStatus(RequestStatus status);
    error WrongClaimStatus(ClaimStatus status);

    mapping(bytes32 requestId => Request) internal requests;
    mapping(bytes32 key => Record) internal records;
    mapping(bytes32 claimId => bytes32 key) internal keyOf;
    mapping(bytes32 dispute => Bond) internal bonds;
    mapping(bytes32 claimId => mapping(uint32 index => bytes32 dispute)) internal disputesOf;

    // ------------------------------------------------------------------ requests and claims

    /// @inheritdoc IInferenceSettlement
    function requestOf(bytes32 requestId) external view returns (RequestView memory v) {
        Request storage r = requests[requestId];
        v.requester = r.requester;
        v.modelId = r.modelId;
        v.promptRoot = r.promptRoot;
        v.promptLength = r.promptLength;
        v.maxOutput = r.maxOutput;
        v.seed = r.seed;
        v.temperature = r.temperature;
        v.fee = r.fee;
        v.bond = r.bond;
        v.windowS = r.windowS;
        v.deadline = r.deadline;
        v.callback = r.callback;
        v.callbackGas = r.callbackGas;
        v.delivered = r.delivered;
        v.status = r.status;
        v.acceptances = r.acceptances;
        if (_isWorkedOn(r.status)) {
            Record storage c = _current(requestId, r);
            v.provider = c.provider;
            v.providerPayee = c.providerPayee;
            v.claimBy = uint64(_claimBy(c));
            if (r.status != RequestStatus.Accepted) v.claimId = _claimId(c);
        }
    }

    /// @inheritdoc IInferenceSettlement
    function claimOf(bytes32 claimId) external view returns (ClaimView memory v) {
        Record storage c = _recordOf(claimId);
        if (c.status == ClaimStatus.None) return v;
        Request storage r = requests[c.requestId];
        v.requestId = c.requestId;
        v.provider = c.provider;
        v.providerPayee = c.providerPayee;
        v.traceRoot = c.traceRoot;
        v.outputRoot = c.outputRoot;
        v.outputLength = c.outputLength;
        v.bond = r.bond;
        v.claimedAt = c.claimedAt;
        v.windowEnd = uint64(_windowEnd(c, r));
        v.rejectedAt = c.disputed.rejectedAt;
        v.openDisputes = c.disputed.open;
        v.disputes = c.disputed.count;
        v.status = c.status;
        v.rewarded = c.disputed.rewarded;
    }

    /// @inheritdoc IInferenceSettlement
    function isFinalOutput(bytes32 requestId, bytes calldata output) external view returns (bool) {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Final) return false;
        return _isOutput(_current(requestId, r), output);
    }

    /// @inheritdoc IInferenceSettlement
    function isFinalClaim(bytes32 claimId, bytes calldata output) external view returns (bool) {
        Record storage c = _recordOf(claimId);
        return c.status == ClaimStatus.Final && _isOutput(c, output);
    }

    /// @inheritdoc IInferenceSettlement
    function finalOutput(bytes32 requestId)
        external
        view
        returns (bytes32 claimId, bytes32 outputRoot, uint32 outputLength)
    {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Final) revert WrongRequestStatus(r.status);
        Record storage c = _current(requestId, r);
        return (_claimId(c), c.outputRoot, c.outputLength);
    }

    /// @inheritdoc IInferenceSettlement
    function tokensRoot(bytes calldata tokens) external pure returns (bytes32) {
        Tokens.count(tokens);
        return Tokens.root(tokens);
    }

    // ------------------------------------------------------------------ disputes

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

    /// @inheritdoc IClaims
    function isPending(bytes32 claimId) external view returns (bool) {
        return _recordOf(claimId).status == ClaimStatus.Pending;
    }

    /// @inheritdoc IClaims
    function subjectOf(bytes32 claimId) external view returns (Subject memory) {
        Record storage c = _recordOf(claimId);
        return _subject(c, requests[c.requestId]);
    }

    /// @inheritdoc IClaims
    function modelOf(bytes32 claimId) external view returns (bytes32 modelId) {
        return requests[_recordOf(claimId).requestId].modelId;
    }

    /// @inheritdoc IClaims
    function outputRootOf(bytes32 claimId) external view returns (bytes32 outputRoot) {
        return _recordOf(claimId).outputRoot;
    }

    // ------------------------------------------------------------------ inside

    /// Where the record of an acceptance is.
    function _key(bytes32 requestId, uint32 acceptance) internal pure returns (bytes32) {
        return keccak256(abi.encode(requestId, acceptance));
    }

    /// The claim's record; an empty one if there is no such claim.
    function _recordOf(bytes32 claimId) internal view returns (Record storage) {
        return records[keyOf[claimId]];
    }

    /// The record of the latest acceptance.
    function _current(bytes32 requestId, Request storage r) internal view returns (Record storage) {
        return records[_key(requestId, r.acceptances)];
    }

    function _isWorkedOn(RequestStatus status) private pure returns (bool) {
        return status == RequestStatus.Accepted || status == RequestStatus.Claimed
            || status == RequestStatus.Final;
    }

    /// Last second of the claim.
    function _claimBy(Record storage c) internal view returns (uint256) {
        return uint256(c.acceptedAt) + CLAIM_S;
    }

    /// First second without challenges.
    function _windowEnd(Record storage c, Request storage r) internal view returns (uint256) {
        return uint256(c.claimedAt) + r.windowS;
    }

    /// The claim's content, and under which acceptance it was made: a request that was reopened
    /// can't have the same claim twice, and a reorg can't put one claim under another's id.
    function _claimId(Record storage c) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                "refute.claim",
                block.chainid,
                address(this),
                c.provider,
                c.acceptance,
                c.requestId,
                c.outputRoot,
                c.outputLength,
                c.traceRoot
            )
        );
    }

    function _isOutput(Record storage c, bytes calldata output) internal view returns (bool) {
        // The length first: a root alone doesn't say how much of a tree is padding.
        if (output.length != 4 * uint256(c.outputLength)) return false;
        return Tokens.root(output) == c.outputRoot;
    }

    function _subject(Record storage c, Request storage r) internal view returns (Subject memory) {
        return Subject({
            modelId: r.modelId,
            traceRoot: c.traceRoot,
            promptRoot: r.promptRoot,
            promptLength: r.promptLength,
            outputRoot: c.outputRoot,
            outputLength: c.outputLength,
            seed: r.seed,
            temperature: r.temperature
        });
    }
}
