// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IDisputeGame} from "./interfaces/IDisputeGame.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestStatus
} from "./interfaces/IInferenceSettlement.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {Ledger} from "./libraries/Ledger.sol";
import {Records} from "./libraries/Records.sol";
import {Tokens} from "./libraries/Tokens.sol";

/// Requests, claims and the money. No owner, no upgrade, no parameter that changes.
///
/// Ether that was forced in aside, the balance is at every moment credits + fees of undecided
/// requests + bonds of acceptances and pending claims + unpaid rewards + bonds of unsettled
/// disputes, to the wei.
contract InferenceSettlement is Records, Ledger {
    /// Amounts in wei, times in seconds. Fixed for ever.
    struct Terms {
        uint256 providerBond;
        uint256 providerBurn; // of the bond of a convicted provider: at least half
        uint256 missPenalty; // of the bond of a provider that accepted and did not claim
        uint256 challengerBond;
        uint256 challengerBurn; // of the bond of a challenger that lost
        uint32 windowS; // from the claim to the end of challenges
        uint32 claimS; // from the acceptance to the last moment of the claim
    }

    error BadTerms(string what);
    error WrongValue(uint256 expected, uint256 given);
    error ZeroPayee();
    error RequestExists(bytes32 requestId);
    error WrongClaimStatus(ClaimStatus status);
    error OnlyRequester(address requester);
    error OnlyProvider(address provider);
    error OnlyGame();
    error NoOutputAllowed();
    error ContextExceeded(uint256 tokens, uint256 context);
    error DeadlinePassed(uint256 deadline);
    error ClaimTooLate(uint256 claimBy);
    /// The provider can still claim.
    error NotMissed(uint256 claimBy);
    error WindowClosed(uint256 windowEnd);
    error WindowOpen(uint256 windowEnd);
    error DisputesOpen(uint256 count);
    /// One dispute for each claim, challenger and payee: ids are content.
    error AlreadyChallenged(bytes32 dispute);
    error NoSuchDispute(bytes32 dispute);

    /// @inheritdoc IInferenceSettlement
    uint256 public immutable PROVIDER_BOND;
    /// @inheritdoc IInferenceSettlement
    uint256 public immutable PROVIDER_BURN;
    /// @inheritdoc IInferenceSettlement
    uint256 public immutable MISS_PENALTY;
    /// @inheritdoc IInferenceSettlement
    uint256 public immutable CHALLENGER_BOND;
    /// @inheritdoc IInferenceSettlement
    uint256 public immutable CHALLENGER_BURN;
    /// @inheritdoc IInferenceSettlement
    uint32 public immutable WINDOW_S;
    /// @inheritdoc IInferenceSettlement
    uint32 public immutable CLAIM_S;
    /// @inheritdoc IInferenceSettlement
    address public immutable registry;
    /// @inheritdoc IInferenceSettlement
    address public immutable game;

    /// The game is deployed first, with this contract's future address; a pair that doesn't match
    /// is refused.
    constructor(address registry_, address game_, Terms memory t) {
        if (registry_.code.length == 0) revert BadTerms("registry");
        if (IDisputeGame(game_).settlement() != address(this)) revert BadTerms("game");
        if (IDisputeGame(game_).registry() != registry_) revert BadTerms("registry");
        if (t.providerBond == 0 || t.providerBond > type(uint128).max) {
            revert BadTerms("providerBond");
        }
        // Burn at least half, so that a provider that convicts itself loses; leave something, so
        // that somebody convicts it.
        if (t.providerBurn >= t.providerBond) revert BadTerms("providerBurn");
        if (2 * t.providerBurn < t.providerBond) revert BadTerms("providerBurn");
        if (t.missPenalty == 0 || t.missPenalty > t.providerBond) revert BadTerms("missPenalty");
        if (t.challengerBond == 0 || t.challengerBond > type(uint128).max) {
            revert BadTerms("challengerBond");
        }
        // Something burns in every lost dispute, so that disputing with oneself costs.
        if (t.challengerBurn == 0 || t.challengerBurn > t.challengerBond) {
            revert BadTerms("challengerBurn");
        }
        if (t.windowS == 0) revert BadTerms("windowS");
        if (t.claimS == 0) revert BadTerms("claimS");
        registry = registry_;
        game = game_;
        PROVIDER_BOND = t.providerBond;
        PROVIDER_BURN = t.providerBurn;
        MISS_PENALTY = t.missPenalty;
        CHALLENGER_BOND = t.challengerBond;
        CHALLENGER_BURN = t.challengerBurn;
        WINDOW_S = t.windowS;
        CLAIM_S = t.claimS;
    }

    // ------------------------------------------------------------------ requests

    /// @inheritdoc IInferenceSettlement
    function request(
        bytes32 modelId,
        bytes calldata prompt,
        uint32 maxOutput,
        uint64 deadline,
        uint256 nonce
    ) external payable returns (bytes32 requestId) {
        if (deadline < block.timestamp) revert DeadlinePassed(deadline);
        if (maxOutput == 0) revert NoOutputAllowed();
        if (msg.value > type(uint128).max) revert WrongValue(type(uint128).max, msg.value);
        uint256 promptLength = Tokens.count(prompt);
        (uint32 context, uint32 vocabulary) = IModelRegistry(registry).limitsOf(modelId);
        if (promptLength + maxOutput > context) {
            revert ContextExceeded(promptLength + maxOutput, context);
        }
        Tokens.checkIds(prompt, vocabulary);
        bytes32 promptRoot = Tokens.root(prompt);
        requestId = keccak256(
            abi.encode(
                "refute.request",
                block.chainid,
                address(this),
                msg.sender,
                nonce,
                modelId,
                promptRoot,
                promptLength,
                maxOutput,
                msg.value,
                deadline
            )
        );
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.None) revert RequestExists(requestId);
        r.requester = msg.sender;
        r.promptLength = uint32(promptLength);
        r.maxOutput = maxOutput;
        r.status = RequestStatus.Open;
        r.modelId = modelId;
        r.promptRoot = promptRoot;
        r.fee = uint128(msg.value);
        r.deadline = deadline;
        emit Requested(requestId, modelId, msg.sender, prompt, maxOutput, msg.value, deadline);
    }

    /// @inheritdoc IInferenceSettlement
    function cancel(bytes32 requestId) external {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Open) revert WrongRequestStatus(r.status);
        if (msg.sender != r.requester) revert OnlyRequester(r.requester);
        r.status = RequestStatus.Cancelled;
        emit Cancelled(requestId);
        _credit(r.requester, r.fee);
    }

    /// @inheritdoc IInferenceSettlement
    function accept(bytes32 requestId, address payee) external payable {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Open) revert WrongRequestStatus(r.status);
        if (block.timestamp > r.deadline) revert DeadlinePassed(r.deadline);
        if (msg.value != PROVIDER_BOND) revert WrongValue(PROVIDER_BOND, msg.value);
        if (payee == address(0)) revert ZeroPayee();
        uint64 claimBy = uint64(block.timestamp) + CLAIM_S;
        r.status = RequestStatus.Accepted;
        r.claimBy = claimBy;
        r.provider = msg.sender;
        r.acceptances += 1;
        r.providerPayee = payee;
        emit Accepted(requestId, msg.sender, claimBy);
    }

    /// @inheritdoc IInferenceSettlement
    function release(bytes32 requestId) external {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Accepted) revert WrongRequestStatus(r.status);
        if (block.timestamp <= r.claimBy) revert NotMissed(r.claimBy);
        (address provider, address payee) = (r.provider, r.providerPayee);
        _reopen(r);
        emit Released(requestId, provider, MISS_PENALTY);
        _burn(MISS_PENALTY);
        _credit(payee, PROVIDER_BOND - MISS_PENALTY);
    }

    /// @inheritdoc IInferenceSettlement
    function claim(bytes32 requestId, bytes calldata output, bytes32 traceRoot)
        external
        returns (bytes32 claimId)
    {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Accepted) revert WrongRequestStatus(r.status);
        if (msg.sender != r.provider) revert OnlyProvider(r.provider);
        if (block.timestamp > r.claimBy) revert ClaimTooLate(r.claimBy);
        (uint32 vocabulary, uint32[] memory stopIds) =
            IModelRegistry(registry).outputRulesOf(r.modelId);
        uint256 outputLength = Tokens.checkOutput(output, vocabulary, stopIds, r.maxOutput);
        bytes32 outputRoot = Tokens.root(output);
        claimId = keccak256(
            abi.encode(
                "refute.claim",
                block.chainid,
                address(this),
                msg.sender,
                r.acceptances,
                requestId,
                outputRoot,
                outputLength,
                traceRoot
            )
        );
        uint64 windowEnd = uint64(block.timestamp) + WINDOW_S;
        r.status = RequestStatus.Claimed;
        r.claimId = claimId;
        Claim storage c = claims[claimId];
        c.requestId = requestId;
        c.traceRoot = traceRoot;
        c.outputRoot = outputRoot;
        c.provider = msg.sender;
        c.outputLength = uint32(outputLength);
        c.claimedAt = uint64(block.timestamp);
        c.providerPayee = r.providerPayee;
        c.windowEnd = windowEnd;
        c.status = ClaimStatus.Pending;
        emit Claimed(claimId, requestId, msg.sender, output, traceRoot, windowEnd);
    }

    // ------------------------------------------------------------------ disputes

    /// @inheritdoc IInferenceSettlement
    function challenge(bytes32 claimId, address payee) external payable returns (bytes32 dispute) {
        Claim storage c = claims[claimId];
        if (c.status != ClaimStatus.Pending) revert WrongClaimStatus(c.status);
        if (block.timestamp >= c.windowEnd) revert WindowClosed(c.windowEnd);
        if (msg.value != CHALLENGER_BOND) revert WrongValue(CHALLENGER_BOND, msg.value);
        if (payee == address(0)) revert ZeroPayee();
        dispute = keccak256(
            abi.encode("refute.dispute", block.chainid, address(this), claimId, msg.sender, payee)
        );
        Bond storage b = bonds[dispute];
        if (b.claimId != 0) revert AlreadyChallenged(dispute);
        b.claimId = claimId;
        b.payee = payee;
        disputesOf[claimId][c.disputes] = dispute;
        c.disputes += 1;
        c.openDisputes += 1;
        emit Challenged(claimId, dispute, msg.sender);
        IDisputeGame(game).open(dispute, claimId, msg.sender, c.provider, _subject(c));
    }

    /// @inheritdoc IInferenceSettlement
    function disputeResolved(bytes32 dispute, bool challengerWon) external {
        if (msg.sender != game) revert OnlyGame();
        Bond storage b = bonds[dispute];
        Claim storage c = claims[b.claimId];
        if (c.status != ClaimStatus.Pending) revert WrongClaimStatus(c.status);
        if (challengerWon) {
            _reject(b.claimId, c, dispute);
        } else {
            c.openDisputes -= 1;
            _forfeit(b, c);
        }
    }

    /// @inheritdoc IInferenceSettlement
    function finalize(bytes32 claimId) external {
        Claim storage c = claims[claimId];
        if (c.status != ClaimStatus.Pending) revert WrongClaimStatus(c.status);
        if (block.timestamp < c.windowEnd) revert WindowOpen(c.windowEnd);
        if (c.openDisputes != 0) revert DisputesOpen(c.openDisputes);
        Request storage r = requests[c.requestId];
        c.status = ClaimStatus.Final;
        r.status = RequestStatus.Final;
        emit Finalized(claimId, c.requestId);
        _credit(c.providerPayee, PROVIDER_BOND + r.fee);
    }

    /// @inheritdoc IInferenceSettlement
    function settleReward(bytes32 claimId, uint32 limit) external {
        Claim storage c = claims[claimId];
        if (c.status != ClaimStatus.Rejected) revert WrongClaimStatus(c.status);
        if (c.rewarded) return;
        uint32 i = c.rewardCursor;
        uint32 end = limit < c.disputes - i ? i + limit : c.disputes;
        // The dispute that convicted stands, so the walk ends before the list does.
        for (; i < end; ++i) {
            bytes32 dispute = disputesOf[claimId][i];
            if (IDisputeGame(game).challengerStands(dispute, c.rejectedAt)) {
                c.rewarded = true;
                address payee = bonds[dispute].payee;
                emit Rewarded(claimId, dispute, payee, PROVIDER_BOND - PROVIDER_BURN);
                _credit(payee, PROVIDER_BOND - PROVIDER_BURN);
                break;
            }
        }
        c.rewardCursor = i;
    }

    /// @inheritdoc IInferenceSettlement
    function refund(bytes32 dispute) external {
        Bond storage b = bonds[dispute];
        if (b.claimId == 0) revert NoSuchDispute(dispute);
        if (b.settled) return;
        Claim storage c = claims[b.claimId];
        // A final claim has no unsettled dispute.
        if (c.status != ClaimStatus.Rejected) revert WrongClaimStatus(c.status);
        if (IDisputeGame(game).challengerStands(dispute, c.rejectedAt)) {
            b.settled = true;
            _credit(b.payee, CHALLENGER_BOND);
        } else {
            // It was out of time when another dispute convicted: as if its timeout had been called
            // before.
            _forfeit(b, c);
        }
    }

    // ------------------------------------------------------------------ inside

    function _reject(bytes32 claimId, Claim storage c, bytes32 dispute) private {
        c.status = ClaimStatus.Rejected;
        c.rejectedAt = uint64(block.timestamp);
        c.openDisputes = 0;
        _reopen(requests[c.requestId]);
        emit Rejected(claimId, c.requestId, dispute, PROVIDER_BURN);
        _burn(PROVIDER_BURN);
    }

    /// Gives a request whose provider failed to the next one, and the time that this one took back.
    function _reopen(Request storage r) private {
        uint256 acceptedAt = r.claimBy - CLAIM_S;
        uint256 deadline = r.deadline + (block.timestamp - acceptedAt);
        // A requester's absurd deadline must not stop a conviction.
        r.deadline = deadline < type(uint64).max ? uint64(deadline) : type(uint64).max;
        r.status = RequestStatus.Open;
        r.claimBy = 0;
        r.provider = address(0);
        r.providerPayee = address(0);
        r.claimId = 0;
    }

    /// A lost dispute's bond.
    function _forfeit(Bond storage b, Claim storage c) private {
        b.settled = true;
        _burn(CHALLENGER_BURN);
        _credit(c.providerPayee, CHALLENGER_BOND - CHALLENGER_BURN);
    }
}
