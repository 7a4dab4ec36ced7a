// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ModeratedBoard} from "../examples/ModeratedBoard.sol";
import {RequestParams, RequestStatus} from "../interfaces/IInferenceSettlement.sol";
import {Delivery} from "../libraries/Delivery.sol";
import {Tokens} from "../libraries/Tokens.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy} from "./support/Toy.sol";

/// The example consumer on the real settlement, from the question to the coins.
contract ModeratedBoardTest is Player {
    uint256 private constant DEPOSIT = 0.5 ether;
    uint32 private constant FIRST_ORDINARY = 10;
    bytes private constant POST = hex"17000000";

    address private constant author = address(0xa0);
    address private constant charity = address(0xc4);

    ModeratedBoard private board;
    /// What the toy answers to any three tokens.
    uint32 private answer;

    function setUp() public override {
        super.setUp();
        Lie memory none;
        answer = uint32(uint256(Toy.value(none, PROMPT - 1, Toy.SAMPLE, 0)));
        board = _board(answer);
        vm.deal(author, 100 ether);
    }

    function _board(uint32 allowed) private returns (ModeratedBoard) {
        return new ModeratedBoard(
            settlement,
            charity,
            DEPOSIT,
            ModeratedBoard.Question({
                modelId: modelId,
                before: hex"01000000",
                behind: hex"02000000",
                allowed: allowed,
                firstOrdinary: FIRST_ORDINARY,
                postMax: 1,
                bond: PROVIDER_BOND,
                windowS: WINDOW_S
            })
        );
    }

    function _submit() private returns (bytes32) {
        vm.prank(author);
        return board.submit{value: DEPOSIT + FEE}(POST);
    }

    function _output(Lie memory lie_) private pure returns (bytes memory) {
        return Toy.output(lie_, PROMPT, 1);
    }

    function _answerAs(bytes32 requestId, Lie memory lie_) private returns (bytes32 claimId) {
        _accept(requestId);
        bytes memory output = _output(lie_);
        vm.prank(provider);
        claimId = settlement.claim(requestId, output, keccak256("trace"));
    }

    function _final(bytes32 requestId) private returns (bytes memory output) {
        Lie memory none;
        output = _output(none);
        bytes32 claimId = _answerAs(requestId, none);
        vm.warp(settlement.claimOf(claimId).windowEnd);
        settlement.finalize(claimId);
    }

    function assertVerdict(bytes32 requestId, ModeratedBoard.Verdict expected) private view {
        (, ModeratedBoard.Verdict verdict,) = board.posts(requestId);
        assertEq(uint256(verdict), uint256(expected), "verdict");
    }

    // ---------------------------------------------------------------- the whole way

    /// A lying provider is convicted, the next one is honest, the board is told.
    function test_board_lieThenHonestAnswer_delivered() public {
        bytes32 requestId = _submit();
        bytes memory lying = _output(Lie(LieKind.Value, PROMPT - 1, Toy.SAMPLE, 0, 5));
        bytes32 claimId = _answerAs(requestId, Lie(LieKind.Value, PROMPT - 1, Toy.SAMPLE, 0, 5));
        vm.expectRevert(abi.encodeWithSelector(ModeratedBoard.NotFinal.selector, requestId));
        board.decide(requestId, lying);
        bytes32 dispute = _challenge(claimId);
        vm.warp(game.disputeOf(dispute).deadline + 1);
        game.timeout(dispute);
        bytes memory output = _final(requestId);
        assertTrue(keccak256(output) != keccak256(lying), "another answer");
        vm.prank(stranger);
        settlement.deliver(requestId, output);
        assertVerdict(requestId, ModeratedBoard.Verdict.Allowed);
        board.collect(author);
        assertEq(author.balance, 100 ether - FEE, "the deposit came back");
        assertEq(address(board).balance, 0, "nothing left");
    }

    function test_board_otherAnswer_isTheCharitys() public {
        board = _board(answer + 1);
        bytes32 requestId = _submit();
        settlement.deliver(requestId, _final(requestId));
        assertVerdict(requestId, ModeratedBoard.Verdict.Refused);
        board.collect(charity);
        assertEq(charity.balance, DEPOSIT, "the deposit");
        assertEq(board.collect(author), 0, "nothing for the author");
    }

    /// Nobody settles the delivery: anybody brings the tokens. Both is once.
    function test_board_decide_needsNoCallback() public {
        bytes32 requestId = _submit();
        bytes memory output = _final(requestId);
        board.decide(requestId, output);
        settlement.deliver(requestId, output);
        board.decide(requestId, output);
        assertEq(board.collect(author), DEPOSIT, "once");
        assertEq(board.collect(author), 0, "once");
    }

    // ---------------------------------------------------------------- the fee comes back

    function test_board_giveUp_everythingComesBack() public {
        bytes32 requestId = _submit();
        vm.expectRevert(abi.encodeWithSelector(ModeratedBoard.OnlyAuthor.selector, author));
        board.giveUp(requestId);
        vm.prank(author);
        board.giveUp(requestId);
        assertVerdict(requestId, ModeratedBoard.Verdict.Unanswered);
        board.collect(author);
        assertEq(author.balance, 100 ether, "all of it");
        vm.expectRevert(abi.encodeWithSelector(ModeratedBoard.NotAsked.selector, requestId));
        board.reclaim(requestId);
    }

    /// Strangers cancel after the deadline and push the coins: what the author is owed doesn't
    /// depend on who moved them, and other posts' coins are not touched.
    function test_board_cancelledByAStranger_reclaimed() public {
        bytes32 other = _submit();
        bytes32 requestId = _submit();
        vm.expectRevert(abi.encodeWithSelector(ModeratedBoard.NotCancelled.selector, requestId));
        board.reclaim(requestId);
        vm.warp(START + 1 days + 1);
        settlement.cancel(requestId);
        settlement.withdraw(address(board));
        board.reclaim(requestId);
        assertEq(board.collect(author), DEPOSIT + FEE, "deposit and fee");
        assertEq(address(board).balance, DEPOSIT, "the other post's");
        assertStatus(other, RequestStatus.Open);
    }

    function test_board_giveUpWhileAnswered_reverts() public {
        bytes32 requestId = _submit();
        _accept(requestId);
        vm.expectRevert();
        vm.prank(author);
        board.giveUp(requestId);
        assertVerdict(requestId, ModeratedBoard.Verdict.Asked);
    }

    // ---------------------------------------------------------------- what it refuses

    function test_board_onInference_onlyTheSettlement() public {
        bytes32 requestId = _submit();
        bytes memory output = _final(requestId);
        vm.expectRevert(ModeratedBoard.OnlySettlement.selector);
        board.onInference(requestId, 0, output);
    }

    /// Somebody else's request names the board as its callback: final, delivered by the settlement,
    /// and none of the board's business.
    function test_board_strangersRequest_isRefused() public {
        bytes32 requestId = _request(_foreign());
        bytes memory output = _final(requestId);
        cheats.expectPartialRevert(Delivery.CallbackFailed.selector);
        settlement.deliver(requestId, output);
        vm.expectRevert(abi.encodeWithSelector(ModeratedBoard.NotAsked.selector, requestId));
        board.decide(requestId, output);
    }

    function test_board_otherTokens_areNotFinal() public {
        bytes32 requestId = _submit();
        bytes memory output = _final(requestId);
        bytes[3] memory others = [bytes(""), bytes.concat(output, hex"00000000"), hex"00000000"];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ModeratedBoard.NotFinal.selector, requestId));
            board.decide(requestId, others[i]);
        }
    }

    function test_board_badPosts_revert() public {
        bytes[4] memory posts = [bytes(""), hex"170000", hex"1700000017000000", hex"09000000"];
        vm.startPrank(author);
        for (uint256 i = 0; i < 4; ++i) {
            vm.expectRevert(ModeratedBoard.BadPost.selector);
            board.submit{value: DEPOSIT}(posts[i]);
        }
        vm.expectRevert(abi.encodeWithSelector(ModeratedBoard.DepositMissing.selector, DEPOSIT));
        board.submit{value: DEPOSIT - 1}(POST);
        // Beyond the vocabulary: the settlement's to refuse.
        cheats.expectPartialRevert(Tokens.TokenOutsideVocabulary.selector);
        board.submit{value: DEPOSIT}(hex"17000001");
        vm.stopPrank();
    }

    function test_board_equalPosts_areTwoRequests() public {
        assertTrue(_submit() != _submit(), "one id");
    }

    function test_board_strangersCoins_revert() public {
        vm.prank(stranger);
        (bool ok,) = address(board).call{value: 1}("");
        assertTrue(!ok, "taken");
    }

    /// The gas that the board asks for is enough, with a margin: measured with cold storage.
    function test_board_callbackGas_isEnough() public {
        bytes32 requestId = _submit();
        bytes memory output = _final(requestId);
        cheats.cool(address(board));
        settlement.deliver(requestId, output);
        assertVerdict(requestId, ModeratedBoard.Verdict.Allowed);
    }

    /// Asks for one token, and for the board to be told.
    function _foreign() private view returns (RequestParams memory p) {
        p = _params(Toy.prompt(PROMPT), 1);
        p.callback = address(board);
        p.callbackGas = board.CALLBACK_GAS();
    }
}
