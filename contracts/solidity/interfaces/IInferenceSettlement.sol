// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

enum RequestStatus {
    None,
    Open,
    Accepted,
    Claimed,
    Final,
    Cancelled
}
enum ClaimStatus {
    None,
    Pending,
    Final,
    Rejected
}

/// What a requester asks for. The fee is the call's value.
struct RequestParams {
    bytes32 modelId;
    bytes prompt; // u32 tokens, little-endian, packed
    uint32 maxOutput; // tokens
    uint64 seed; // 0 when the temperature is
    uint32 temperature; // in units of 2^-16; 0: greedy
    uint128 bond; // wei, what a provider stakes: within the terms, at least what the model requires
    uint32 windowS; // from the claim to the end of challenges: within the terms, at least what the model requires
    uint64 deadline; // no acceptance after it
    address callback; // told of the final output by `deliver`; 0: nobody
    uint32 callbackGas; // 0 without a callback
    uint256 nonce; // the requester's choice: tells equal requests apart
}

/// What every request, claim and dispute of this deployment is bound to. Fixed for ever.
struct Terms {
    uint128 bondMin; // wei
    uint128 bondMax; // wei
    uint16 burnBps; // of a convicted provider's bond: 5,000 to 9,999
    uint16 missBps; // of the bond of a provider that accepted and did not claim: 1 to 10,000
    uint128 challengerBond; // wei
    uint16 challengerBurnBps; // of a losing challenger's bond: 1 to 10,000
    uint128 moveReimbursement; // wei, for a move of a challenger whose dispute stands when its claim is rejected
    uint32 movesReimbursed; // at most, over all disputes of a claim
    uint32 windowMinS;
    uint32 windowMaxS;
    uint32 claimS; // from the acceptance to the last moment of the claim
    uint32 callbackGasMax;
}

interface IInferenceSettlement {
    struct RequestView {
        address requester;
        bytes32 modelId;
        bytes32 promptRoot;
        uint32 promptLength; // tokens
        uint32 maxOutput; // tokens
        uint64 seed;
        uint32 temperature; // in units of 2^-16
        uint256 fee; // wei
        uint256 bond; // wei
        uint32 windowS;
        uint64 deadline; // no acceptance after it; moved by what failed providers took
        address callback;
        uint32 callbackGas;
        bool delivered; // the callback has succeeded
        RequestStatus status;
        uint32 acceptances; // so far
        address provider; // who accepted; 0 while open
        address providerPayee;
        uint64 claimBy; // an accepted request's provider claims until then
        bytes32 claimId; // the live or final claim; 0 if there is none
    }

    struct ClaimView {
        bytes32 requestId;
        address provider;
        address providerPayee;
        bytes32 traceRoot;
        bytes32 outputRoot;
        uint32 outputLength; // tokens
        uint256 bond; // wei, the provider's
        uint64 claimedAt;
        uint64 windowEnd; // challenges open iff now < windowEnd
        uint64 rejectedAt;
        uint32 openDisputes;
        uint32 disputes; // ever opened
        ClaimStatus status;
        bool rewarded; // a rejected claim's whole reward is credited
    }

    // One event per change. `params` is what the request was made of, prompt included.
    event Requested(
        bytes32 indexed requestId,
        bytes32 indexed modelId,
        address indexed requester,
        RequestParams params,
        uint256 fee
    );
    event Accepted(
        bytes32 indexed requestId, address indexed provider, address payee, uint64 claimBy
    );
    event Claimed(
        bytes32 indexed claimId,
        bytes32 indexed requestId,
        address indexed provider,
        bytes output,
        bytes32 traceRoot,
        uint64 windowEnd
    );
    event Challenged(
        bytes32 indexed claimId, bytes32 indexed dispute, address indexed challenger, address payee
    );
    event Finalized(bytes32 indexed claimId, bytes32 indexed requestId);
    event Rejected(
        bytes32 indexed claimId, bytes32 indexed requestId, bytes32 dispute, uint256 burned
    );
    /// The reward of the earliest-opened dispute that stands.
    event Rewarded(bytes32 indexed claimId, bytes32 indexed dispute, address payee, uint256 amount);
    /// A standing dispute's moves.
    event Reimbursed(
        bytes32 indexed claimId,
        bytes32 indexed dispute,
        address payee,
        uint32 moves,
        uint256 amount
    );
    event Released(bytes32 indexed requestId, address provider, uint256 forfeited); // accepted, not claimed in time
    event Cancelled(bytes32 indexed requestId);
    event Delivered(bytes32 indexed requestId, address indexed callback);
    event Credited(address indexed payee, uint256 amount);
    event Withdrawn(address indexed payee, uint256 amount);
    event Burned(uint256 amount);

    /// The fee is msg.value; the id is a hash of chain, contract, requester and everything asked for.
    function request(RequestParams calldata p) external payable returns (bytes32 requestId);
    /// The requester, while nobody works on it; anyone, once its deadline is over. The fee is credited to the requester.
    function cancel(bytes32 requestId) external;
    /// msg.value is the request's bond.
    function accept(bytes32 requestId, address payee) external payable;
    /// Anyone, when the accepted provider missed claimBy.
    function release(bytes32 requestId) external;
    /// Only the provider that accepted. `output`: u32 tokens, little-endian, packed.
    function claim(bytes32 requestId, bytes calldata output, bytes32 traceRoot)
        external
        returns (bytes32 claimId);
    /// msg.value is the challenger's bond.
    function challenge(bytes32 claimId, address payee) external payable returns (bytes32 dispute);
    /// Anyone, from windowEnd on, when no dispute is open.
    function finalize(bytes32 claimId) external;
    /// `finalize` for each that can be finalized now; the others are left as they are. Returns how many it was.
    function finalizeMany(bytes32[] calldata claimIds) external returns (uint256 finalized);
    /// Anyone, once a request with a callback is final: calls `IInferenceConsumer.onInference` with exactly the gas asked for. Reverts, and
    /// changes nothing, if that fails; so it can be tried until it succeeds, once.
    function deliver(bytes32 requestId, bytes calldata output) external;
    /// After a rejection: walks at most `limit` disputes in opening order. The first one that stands has the reward, each one that stands its
    /// moves' reimbursement, until the reserve for it is used up; what is left of it at the end goes to the first. Idempotent.
    function settleReward(bytes32 claimId, uint32 limit) external;
    /// After a rejection: gives an undecided dispute's bond back, or forfeits it if its challenger was out of time; idempotent.
    function refund(bytes32 dispute) external;
    /// Pull payment of everything credited to `payee`; anyone may trigger it, the coin goes to payee.
    function withdraw(address payee) external returns (uint256 amount);

    // ------------------------------------------------------------------ reading

    function requestOf(bytes32 requestId) external view returns (RequestView memory);
    function claimOf(bytes32 claimId) external view returns (ClaimView memory);
    /// Coins credited to `payee` and not withdrawn, wei.
    function balanceOf(address payee) external view returns (uint256);
    /// True iff the request is final and its output is exactly these tokens.
    function isFinalOutput(bytes32 requestId, bytes calldata output) external view returns (bool);
    /// True iff this claim is final and its output is exactly these tokens.
    function isFinalClaim(bytes32 claimId, bytes calldata output) external view returns (bool);
    /// Root and length of the final output; reverts if it isn't final.
    function finalOutput(bytes32 requestId)
        external
        view
        returns (bytes32 claimId, bytes32 outputRoot, uint32 outputLength);
    /// Root of the tree over packed tokens, as in promptRoot and outputRoot.
    function tokensRoot(bytes calldata tokens) external pure returns (bytes32);

    /// The claim's dispute that was opened as number `index`; 0 if there is none.
    function disputeAt(bytes32 claimId, uint32 index) external view returns (bytes32 dispute);
    /// Who staked what: `settled` once the dispute's bond was credited or forfeited.
    function bondOf(bytes32 dispute)
        external
        view
        returns (bytes32 claimId, address payee, bool settled);

    function terms() external view returns (Terms memory);
    function registry() external view returns (address);
    /// Created by this contract's constructor.
    function game() external view returns (address);

    /// Only the game.
    function disputeResolved(bytes32 dispute, bool challengerWon) external;
}
