// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

enum RequestStatus { None, Open, Accepted, Claimed, Final, Cancelled }
enum ClaimStatus { None, Pending, Final, Rejected }

interface IInferenceSettlement {
    struct RequestView {
        address requester;
        bytes32 modelId;
        bytes32 promptRoot;
        uint32 promptLength;
        uint32 maxOutput;
        uint256 fee;
        uint64 deadline; // no acceptance after it
        RequestStatus status;
        address provider; // who accepted
        address providerPayee;
        uint64 claimBy; // an accepted request's provider claims until then
        bytes32 claimId; // the live or final claim
    }

    struct ClaimView {
        bytes32 requestId;
        address provider;
        address providerPayee;
        bytes32 traceRoot;
        bytes32 outputRoot;
        uint32 outputLength;
        uint64 claimedAt;
        uint64 windowEnd; // challenges open iff now < windowEnd
        uint64 rejectedAt;
        uint32 openDisputes;
        uint32 disputes; // ever opened
        ClaimStatus status;
    }

    event Requested(bytes32 indexed requestId, bytes32 indexed modelId, address indexed requester, bytes prompt, uint32 maxOutput, uint256 fee, uint64 deadline);
    event Accepted(bytes32 indexed requestId, address indexed provider, uint64 claimBy);
    event Claimed(bytes32 indexed claimId, bytes32 indexed requestId, address indexed provider, bytes output, bytes32 traceRoot, uint64 windowEnd);
    event Challenged(bytes32 indexed claimId, bytes32 indexed dispute, address indexed challenger);
    event Finalized(bytes32 indexed claimId, bytes32 indexed requestId);
    event Rejected(bytes32 indexed claimId, bytes32 indexed requestId, bytes32 dispute, uint256 burned);
    event Rewarded(bytes32 indexed claimId, bytes32 indexed dispute, address payee, uint256 amount);
    event Released(bytes32 indexed requestId, address provider, uint256 forfeited); // accepted, not claimed in time
    event Cancelled(bytes32 indexed requestId);
    event Credited(address indexed payee, uint256 amount);
    event Withdrawn(address indexed payee, uint256 amount);
    event Burned(uint256 amount);

    /// `prompt`: u32 tokens, little-endian, packed. The fee is msg.value.
    function request(bytes32 modelId, bytes calldata prompt, uint32 maxOutput, uint64 deadline, uint256 nonce) external payable returns (bytes32 requestId);
    function cancel(bytes32 requestId) external;
    /// msg.value == PROVIDER_BOND.
    function accept(bytes32 requestId, address payee) external payable;
    /// Anyone, when the accepted provider missed claimBy.
    function release(bytes32 requestId) external;
    /// Only the provider that accepted. `output`: u32 tokens, little-endian, packed.
    function claim(bytes32 requestId, bytes calldata output, bytes32 traceRoot) external returns (bytes32 claimId);
    /// msg.value == CHALLENGER_BOND.
    function challenge(bytes32 claimId, address payee) external payable returns (bytes32 dispute);
    /// Anyone, from windowEnd on, when no dispute is open.
    function finalize(bytes32 claimId) external;
    /// After a rejection: walks at most `limit` disputes in opening order and pays the first that was in time its reward; idempotent.
    function settleReward(bytes32 claimId, uint32 limit) external;
    /// After a rejection or a finalization: gives an undecided dispute's bond back; idempotent.
    function refund(bytes32 dispute) external;
    /// Pull payment of everything credited to `payee`; anyone may trigger it, the coin goes to payee.
    function withdraw(address payee) external returns (uint256 amount);

    function requestOf(bytes32 requestId) external view returns (RequestView memory);
    function claimOf(bytes32 claimId) external view returns (ClaimView memory);
    function balanceOf(address payee) external view returns (uint256);
    /// True iff the request is final and its output is exactly these tokens.
    function isFinalOutput(bytes32 requestId, bytes calldata output) external view returns (bool);
    /// Root and length of the final output; reverts if it isn't final.
    function finalOutput(bytes32 requestId) external view returns (bytes32 outputRoot, uint32 outputLength);

    /// The claim's dispute that was opened as number `index`; 0 if there is none.
    function disputeAt(bytes32 claimId, uint32 index) external view returns (bytes32 dispute);
    /// Who staked what: `settled` once the dispute's bond was credited or forfeited.
    function bondOf(bytes32 dispute) external view returns (bytes32 claimId, address payee, bool settled);
    /// True once the reward of a rejected claim is credited.
    function isRewarded(bytes32 claimId) external view returns (bool);

    function PROVIDER_BOND() external view returns (uint256);
    /// Part of a convicted provider's bond that is burned; the rest is the reward.
    function PROVIDER_BURN() external view returns (uint256);
    /// Part of the bond that burns when an accepted request isn't claimed in time.
    function MISS_PENALTY() external view returns (uint256);
    function CHALLENGER_BOND() external view returns (uint256);
    /// Part of a losing challenger's bond that is burned; the rest is the provider's.
    function CHALLENGER_BURN() external view returns (uint256);
    function WINDOW_S() external view returns (uint32);
    function CLAIM_S() external view returns (uint32);
    function registry() external view returns (address);
    function game() external view returns (address);

    /// Only the game.
    function disputeResolved(bytes32 dispute, bool challengerWon) external;
}
