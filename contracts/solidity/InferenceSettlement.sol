// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {GameParams, IDisputeGame} from "./interfaces/IDisputeGame.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestParams,
    RequestStatus,
    Terms
} from "./interfaces/IInferenceSettlement.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {Delivery} from "./libraries/Delivery.sol";
import {Deployment} from "./libraries/Deployment.sol";
import {Rewards} from "./libraries/Rewards.sol";
import {Tokens} from "./libraries/Tokens.sol";

/// Requests, claims and the money. No owner, no upgrade, no parameter that changes.
///
/// Ether that was forced in aside, the balance is at every moment credits + fees of undecided
/// requests + bonds of acceptances and pending claims + what is left of rejected claims' pots +
/// bonds of unsettled disputes, to the wei.
contract InferenceSettlement is Rewards, Delivery {
    /// The highest that kernels/README.md knows ("Sample"), in units of 2^-16.
    uint256 internal constant TEMPERATURE_MAX = 16 << 16;

    /// What is hashed into a request's id: `RequestParams`, the prompt by its root and length.
    struct Asked {
        bytes32 modelId;
        bytes32 promptRoot;
        uint256 promptLength;
        uint32 maxOutput;
        uint64 seed;
        uint32 temperature;
        uint128 bond;
        uint32 windowS;
        uint64 deadline;
        address callback;
        uint32 callbackGas;
        uint256 nonce;
    }

    error WrongValue(uint256 expected, uint256 given);
    error ZeroPayee();
    error RequestExists(bytes32 requestId);
    error NoOutputAllowed();
    error ContextExceeded(uint256 tokens, uint256 context);
    /// Greedy decoding reads no seed: a request that names one would ask for nothing by it.
    error SeedWithoutTemperature();
    error TemperatureTooHigh(uint256 most, uint256 given);
    /// Outside the deployment's terms, or less than the model requires.
    error BondOutOfBounds(uint256 least, uint256 most, uint256 given);
    error WindowOutOfBounds(uint256 least, uint256 most, uint256 given);
    /// A callback has gas, within the terms; what is no callback has none.
    error CallbackGasOutOfBounds(uint256 least, uint256 most, uint256 given);
    error DeadlinePassed(uint256 deadline);
    /// Only the requester cancels before the deadline is over.
    error OnlyRequester(address requester);
    error OnlyProvider(address provider);
    error OnlyGame();
    error ClaimTooLate(uint256 claimBy);
    /// The provider can still claim.
    error NotMissed(uint256 claimBy);
    error WindowClosed(uint256 windowEnd);
    error WindowOpen(uint256 windowEnd);
    error DisputesOpen(uint256 count);
    /// One dispute for each claim, challenger and payee: ids are content.
    error AlreadyChallenged(bytes32 dispute);

    constructor(address registry_, GameParams memory gameParams, Terms memory terms_)
        Deployment(registry_, gameParams, terms_)
    {}

    // ------------------------------------------------------------------ requests

    /// @inheritdoc IInferenceSettlement
    function request(RequestParams calldata p) external payable returns (bytes32 requestId) {
        if (p.deadline < block.timestamp) revert DeadlinePassed(p.deadline);
        if (msg.value > type(uint128).max) revert WrongValue(type(uint128).max, msg.value);
        _checkBounds(p);
        uint256 promptLength = _checkTokens(p);
        bytes32 promptRoot = Tokens.root(p.prompt);
        requestId = _requestId(p, promptRoot, promptLength);
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.None) revert RequestExists(requestId);
        r.requester = msg.sender;
        r.promptLength = uint24(promptLength);
        r.maxOutput = uint24(p.maxOutput);
        r.status = RequestStatus.Open;
        r.modelId = p.modelId;
        r.promptRoot = promptRoot;
        r.fee = uint128(msg.value);
        r.bond = p.bond;
        r.deadline = p.deadline;
        r.seed = p.seed;
        r.temperature = p.temperature;
        r.windowS = p.windowS;
        if (p.callback != address(0)) {
            r.callback = p.callback;
            r.callbackGas = p.callbackGas;
        }
        emit Requested(requestId, p.modelId, msg.sender, p, msg.value);
    }

    /// @inheritdoc IInferenceSettlement
    function cancel(bytes32 requestId) external {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Open) revert WrongRequestStatus(r.status);
        if (msg.sender != r.requester && block.timestamp <= r.deadline) {
            revert OnlyRequester(r.requester);
        }
        r.status = RequestStatus.Cancelled;
        emit Cancelled(requestId);
        _credit(r.requester, r.fee);
    }

    /// @inheritdoc IInferenceSettlement
    function accept(bytes32 requestId, address payee) external payable {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Open) revert WrongRequestStatus(r.status);
        if (block.timestamp > r.deadline) revert DeadlinePassed(r.deadline);
        if (msg.value != r.bond) revert WrongValue(r.bond, msg.value);
        if (payee == address(0)) revert ZeroPayee();
        uint32 acceptance = r.acceptances + 1;
        r.acceptances = acceptance;
        r.status = RequestStatus.Accepted;
        Record storage c = records[_key(requestId, acceptance)];
        c.requestId = requestId;
        c.provider = msg.sender;
        c.acceptedAt = uint64(block.timestamp);
        c.acceptance = acceptance;
        c.providerPayee = payee;
        emit Accepted(requestId, msg.sender, payee, uint64(block.timestamp) + CLAIM_S);
    }

    /// @inheritdoc IInferenceSettlement
    function release(bytes32 requestId) external {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Accepted) revert WrongRequestStatus(r.status);
        Record storage c = _current(requestId, r);
        if (block.timestamp <= _claimBy(c)) revert NotMissed(_claimBy(c));
        _reopen(r, c);
        uint256 missed = _missed(r.bond);
        emit Released(requestId, c.provider, missed);
        _burn(missed);
        _credit(c.providerPayee, r.bond - missed);
    }

    /// @inheritdoc IInferenceSettlement
    function claim(bytes32 requestId, bytes calldata output, bytes32 traceRoot)
        external
        returns (bytes32 claimId)
    {
        Request storage r = requests[requestId];
        if (r.status != RequestStatus.Accepted) revert WrongRequestStatus(r.status);
        bytes32 key = _key(requestId, r.acceptances);
        Record storage c = records[key];
        if (msg.sender != c.provider) revert OnlyProvider(c.provider);
        if (block.timestamp > _claimBy(c)) revert ClaimTooLate(_claimBy(c));
        (uint32 vocabulary, uint32[] memory stopIds) =
            IModelRegistry(registry).outputRulesOf(r.modelId);
        uint256 outputLength = Tokens.checkOutput(output, vocabulary, stopIds, r.maxOutput);
        r.status = RequestStatus.Claimed;
        c.claimedAt = uint64(block.timestamp);
        c.outputLength = uint24(outputLength);
        c.status = ClaimStatus.Pending;
        c.outputRoot = Tokens.root(output);
        c.traceRoot = traceRoot;
        claimId = _claimId(c);
        keyOf[claimId] = key;
        emit Claimed(claimId, requestId, msg.sender, output, traceRoot, uint64(_windowEnd(c, r)));
    }

    // ------------------------------------------------------------------ disputes

    /// @inheritdoc IInferenceSettlement
    function challenge(bytes32 claimId, address payee) external payable returns (bytes32 dispute) {
        Record storage c = _recordOf(claimId);
        if (c.status != ClaimStatus.Pending) revert WrongClaimStatus(c.status);
        Request storage r = requests[c.requestId];
        if (block.timestamp >= _windowEnd(c, r)) revert WindowClosed(_windowEnd(c, r));
        if (msg.value != CHALLENGER_BOND) revert WrongValue(CHALLENGER_BOND, msg.value);
        if (payee == address(0)) revert ZeroPayee();
        dispute = keccak256(
            abi.encode("refute.dispute", block.chainid, address(this), claimId, msg.sender, payee)
        );
        Bond storage b = bonds[dispute];
        if (b.claimId != 0) revert AlreadyChallenged(dispute);
        b.claimId = claimId;
        b.payee = payee;
        disputesOf[claimId][c.disputed.count] = dispute;
        c.disputed.count += 1;
        c.disputed.open += 1;
        emit Challenged(claimId, dispute, msg.sender, payee);
        IDisputeGame(game).open(dispute, claimId, msg.sender, c.provider, _subject(c, r));
    }

    /// @inheritdoc IInferenceSettlement
    function disputeResolved(bytes32 dispute, bool challengerWon) external {
        if (msg.sender != game) revert OnlyGame();
        Bond storage b = bonds[dispute];
        Record storage c = _recordOf(b.claimId);
        if (c.status != ClaimStatus.Pending) revert WrongClaimStatus(c.status);
        if (challengerWon) {
            _reject(b.claimId, c, dispute);
        } else {
            c.disputed.open -= 1;
            _forfeit(b, c);
        }
    }

    // ------------------------------------------------------------------ finality

    /// @inheritdoc IInferenceSettlement
    function finalize(bytes32 claimId) external {
        Record storage c = _recordOf(claimId);
        if (c.status != ClaimStatus.Pending) revert WrongClaimStatus(c.status);
        Request storage r = requests[c.requestId];
        if (block.timestamp < _windowEnd(c, r)) revert WindowOpen(_windowEnd(c, r));
        if (c.disputed.open != 0) revert DisputesOpen(c.disputed.open);
        _finalize(claimId, c, r);
    }

    /// @inheritdoc IInferenceSettlement
    function finalizeMany(bytes32[] calldata claimIds) external returns (uint256 finalized) {
        for (uint256 i = 0; i < claimIds.length; ++i) {
            Record storage c = _recordOf(claimIds[i]);
            if (c.status != ClaimStatus.Pending || c.disputed.open != 0) continue;
            Request storage r = requests[c.requestId];
            if (block.timestamp < _windowEnd(c, r)) continue;
            _finalize(claimIds[i], c, r);
            ++finalized;
        }
    }

    // ------------------------------------------------------------------ inside

    /// What a request may ask for: within the terms, and at least what the model requires.
    function _checkBounds(RequestParams calldata p) private view {
        if (p.maxOutput == 0) revert NoOutputAllowed();
        if (p.temperature == 0 && p.seed != 0) revert SeedWithoutTemperature();
        if (p.temperature > TEMPERATURE_MAX) {
            revert TemperatureTooHigh(TEMPERATURE_MAX, p.temperature);
        }
        (uint256 bond, uint256 windowS) = IModelRegistry(registry).requirementsOf(p.modelId);
        if (bond < BOND_MIN) bond = BOND_MIN;
        if (p.bond < bond || p.bond > BOND_MAX) revert BondOutOfBounds(bond, BOND_MAX, p.bond);
        if (windowS < WINDOW_MIN_S) windowS = WINDOW_MIN_S;
        if (p.windowS < windowS || p.windowS > WINDOW_MAX_S) {
            revert WindowOutOfBounds(windowS, WINDOW_MAX_S, p.windowS);
        }
        (uint256 least, uint256 most) =
            p.callback == address(0) ? (0, 0) : (1, uint256(CALLBACK_GAS_MAX));
        if (p.callbackGas < least || p.callbackGas > most) {
            revert CallbackGasOutOfBounds(least, most, p.callbackGas);
        }
    }

    function _checkTokens(RequestParams calldata p) private view returns (uint256 promptLength) {
        promptLength = Tokens.count(p.prompt);
        (uint32 context, uint32 vocabulary) = IModelRegistry(registry).limitsOf(p.modelId);
        if (promptLength + p.maxOutput > context) {
            revert ContextExceeded(promptLength + p.maxOutput, context);
        }
        Tokens.checkIds(p.prompt, vocabulary);
    }

    /// Who asks, for what fee, and everything that is asked for.
    function _requestId(RequestParams calldata p, bytes32 promptRoot, uint256 promptLength)
        private
        view
        returns (bytes32)
    {
        Asked memory asked = Asked({
            modelId: p.modelId,
            promptRoot: promptRoot,
            promptLength: promptLength,
            maxOutput: p.maxOutput,
            seed: p.seed,
            temperature: p.temperature,
            bond: p.bond,
            windowS: p.windowS,
            deadline: p.deadline,
            callback: p.callback,
            callbackGas: p.callbackGas,
            nonce: p.nonce
        });
        return keccak256(
            abi.encode("refute.request", block.chainid, address(this), msg.sender, msg.value, asked)
        );
    }

    function _finalize(bytes32 claimId, Record storage c, Request storage r) private {
        c.status = ClaimStatus.Final;
        r.status = RequestStatus.Final;
        emit Finalized(claimId, c.requestId);
        _credit(c.providerPayee, uint256(r.bond) + r.fee);
    }

    function _reject(bytes32 claimId, Record storage c, bytes32 dispute) private {
        Request storage r = requests[c.requestId];
        c.status = ClaimStatus.Rejected;
        c.disputed.rejectedAt = uint64(block.timestamp);
        c.disputed.open = 0;
        _reopen(r, c);
        uint256 burned = _burned(r.bond);
        emit Rejected(claimId, c.requestId, dispute, burned);
        _burn(burned);
    }

    /// Gives a request whose provider failed to the next one, and the time that this one took back.
    function _reopen(Request storage r, Record storage c) private {
        uint256 deadline = uint256(r.deadline) + (block.timestamp - c.acceptedAt);
        // A requester's absurd deadline must not stop a conviction.
        r.deadline = deadline < type(uint64).max ? uint64(deadline) : type(uint64).max;
        r.status = RequestStatus.Open;
    }
}
