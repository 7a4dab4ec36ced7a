// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IInferenceConsumer} from "../interfaces/IInferenceConsumer.sol";
import {
    IInferenceSettlement,
    RequestParams,
    RequestStatus
} from "../interfaces/IInferenceSettlement.sol";

/// An example of a contract that acts on a model's answer: a board where a deposit stands behind
/// every post, and a model says whether the post may stay.
///
/// - The author pays the deposit and the fee of one question: fixed tokens, the post, fixed tokens,
///   and one token of answer, greedily.
/// - Allowed: the post is published and the deposit goes back. Any other answer: the deposit goes
///   to the beneficiary. Nobody answers: deposit and fee go back.
/// - The answer comes by callback, or anybody brings it (`decide`): the board needs neither.
///
/// What is proven is that this model gives this answer, not that the answer is wise: an author can
/// try texts at home until the model likes one, and persuade the model in the text itself. Tokens
/// that control a chat are refused, so that a text can't end the question and begin another.
///
/// Not audited, not deployed by this project.
contract ModeratedBoard is IInferenceConsumer {
    enum Verdict {
        None,
        Asked,
        Allowed,
        Refused,
        Unanswered
    }

    struct Post {
        address author;
        Verdict verdict;
        uint128 fee; // wei
    }

    /// What the board asks. Fixed for ever: authors know what they are judged by.
    struct Question {
        bytes32 modelId;
        bytes before; // tokens in front of the post: u32, little-endian, packed
        bytes behind; // tokens after it
        uint32 allowed; // the one answer that lets a post stay
        uint32 firstOrdinary; // ids below it control a chat, and have no place in a post
        uint32 postMax; // tokens
        uint128 bond; // wei, what a provider stakes on its answer
        uint32 windowS;
    }

    error BadPost();
    error DepositMissing(uint256 deposit);
    error OnlySettlement();
    error OnlyAuthor(address author);
    error NotAsked(bytes32 requestId);
    error NotFinal(bytes32 requestId);
    error NotCancelled(bytes32 requestId);
    error PaymentFailed(address payee);

    event Posted(bytes32 indexed requestId, address indexed author, bytes post);
    event Judged(bytes32 indexed requestId, bool allowed);
    event Unanswered(bytes32 indexed requestId);

    /// Enough for `_judge` with two slots that nobody touched before; see the test.
    uint32 public constant CALLBACK_GAS = 100_000;
    /// How long a provider may take to accept.
    uint64 public constant PATIENCE_S = 1 days;

    IInferenceSettlement public immutable settlement;
    address public immutable beneficiary;
    uint256 public immutable deposit; // wei

    Question private _question;
    /// Tells equal posts apart.
    uint256 private _posts;

    mapping(bytes32 requestId => Post) public posts;
    /// Coins to collect, wei.
    mapping(address payee => uint256) public owed;

    constructor(
        IInferenceSettlement settlement_,
        address beneficiary_,
        uint256 deposit_,
        Question memory q
    ) {
        (settlement, beneficiary, deposit, _question) = (settlement_, beneficiary_, deposit_, q);
    }

    function question() external view returns (Question memory) {
        return _question;
    }

    /// The coins are the deposit and, beyond it, the fee. `post`: u32 tokens, little-endian, packed.
    function submit(bytes calldata post) external payable returns (bytes32 requestId) {
        if (msg.value < deposit) revert DepositMissing(deposit);
        Question memory q = _question;
        _checkPost(post, q);
        uint256 fee = msg.value - deposit;
        requestId = settlement.request{value: fee}(
            RequestParams({
                modelId: q.modelId,
                prompt: bytes.concat(q.before, post, q.behind),
                maxOutput: 1,
                seed: 0,
                temperature: 0,
                bond: q.bond,
                windowS: q.windowS,
                deadline: uint64(block.timestamp) + PATIENCE_S,
                callback: address(this),
                callbackGas: CALLBACK_GAS,
                nonce: _posts++
            })
        );
        // The settlement took the fee, so it fits.
        posts[requestId] = Post(msg.sender, Verdict.Asked, uint128(fee));
        emit Posted(requestId, msg.sender, post);
    }

    // ------------------------------------------------------------------ the answer

    /// @inheritdoc IInferenceConsumer
    function onInference(bytes32 requestId, bytes32, bytes calldata output) external {
        // The settlement calls only for final requests, and only with their output.
        if (msg.sender != address(settlement)) revert OnlySettlement();
        _judge(requestId, output);
    }

    /// The same without the callback: anyone brings the tokens, the settlement says whether they
    /// are what is final.
    function decide(bytes32 requestId, bytes calldata output) external {
        if (!settlement.isFinalOutput(requestId, output)) revert NotFinal(requestId);
        _judge(requestId, output);
    }

    /// Only requests of this board are in `posts`, and their id is a hash of the model and of the
    /// whole question: nothing more needs to be checked. Twice is once, whichever way it came.
    function _judge(bytes32 requestId, bytes calldata output) private {
        Post storage p = posts[requestId];
        if (p.verdict == Verdict.None) revert NotAsked(requestId);
        if (p.verdict != Verdict.Asked) return;
        bool allowed = _tokenAt(output, 0) == _question.allowed;
        p.verdict = allowed ? Verdict.Allowed : Verdict.Refused;
        owed[allowed ? p.author : beneficiary] += deposit;
        emit Judged(requestId, allowed);
    }

    // ------------------------------------------------------------------ no answer

    /// The author no longer waits. Works while no provider is at work; after the deadline, anyone
    /// can cancel at the settlement.
    function giveUp(bytes32 requestId) external {
        if (msg.sender != posts[requestId].author) revert OnlyAuthor(posts[requestId].author);
        settlement.cancel(requestId);
        reclaim(requestId);
    }

    /// A cancelled request's fee is this board's credit at the settlement, among those of other
    /// posts, and anybody may have withdrawn it hither already. So what a post is owed follows from
    /// its request's status and not from coins that arrive.
    function reclaim(bytes32 requestId) public {
        Post storage p = posts[requestId];
        if (p.verdict != Verdict.Asked) revert NotAsked(requestId);
        if (settlement.requestOf(requestId).status != RequestStatus.Cancelled) {
            revert NotCancelled(requestId);
        }
        p.verdict = Verdict.Unanswered;
        owed[p.author] += deposit + p.fee;
        emit Unanswered(requestId);
        settlement.withdraw(address(this));
    }

    // ------------------------------------------------------------------ money

    /// Anyone may call it, the coins go to `payee`.
    function collect(address payee) external returns (uint256 amount) {
        amount = owed[payee];
        owed[payee] = 0;
        (bool sent,) = payee.call{value: amount}("");
        if (!sent) revert PaymentFailed(payee);
    }

    /// Fees that come back.
    receive() external payable {
        if (msg.sender != address(settlement)) revert OnlySettlement();
    }

    // ------------------------------------------------------------------ tokens

    function _checkPost(bytes calldata post, Question memory q) private pure {
        if (post.length == 0 || post.length % 4 != 0) revert BadPost();
        if (post.length / 4 > q.postMax) revert BadPost();
        for (uint256 i = 0; i < post.length / 4; ++i) {
            if (_tokenAt(post, i) < q.firstOrdinary) revert BadPost();
        }
    }

    function _tokenAt(bytes calldata tokens, uint256 index) private pure returns (uint32) {
        uint32 x = uint32(bytes4(tokens[4 * index:4 * index + 4]));
        return (x >> 24) | ((x >> 8) & 0xff00) | ((x << 8) & 0xff0000) | (x << 24);
    }
}
