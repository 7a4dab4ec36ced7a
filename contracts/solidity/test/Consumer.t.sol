// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IInferenceConsumer} from "../interfaces/IInferenceConsumer.sol";
import {IInferenceSettlement, RequestParams} from "../interfaces/IInferenceSettlement.sol";
import {Player} from "./support/Player.sol";
import {Lie, Toy} from "./support/Toy.sol";

/// The consumer of contracts/README.md.
contract Consumer is IInferenceConsumer {
    IInferenceSettlement immutable settlement;
    bytes32 immutable modelId;
    bytes32 public requestId;
    bytes public answer;

    constructor(IInferenceSettlement settlement_, bytes32 modelId_) {
        (settlement, modelId) = (settlement_, modelId_);
    }

    function ask(bytes calldata prompt, uint256 nonce) external payable {
        requestId = settlement.request{value: msg.value}(
            RequestParams({
                modelId: modelId,
                prompt: prompt,
                maxOutput: 4,
                seed: 0,
                temperature: 0,
                bond: 1 ether,
                windowS: 1 hours,
                deadline: uint64(block.timestamp + 1 days),
                callback: address(this),
                callbackGas: 200_000,
                nonce: nonce
            })
        );
    }

    /// `output`: u32 tokens, little-endian, packed.
    function onInference(bytes32 id, bytes32, bytes calldata output) external {
        require(msg.sender == address(settlement) && id == requestId);
        answer = output;
    }

    /// The same without the callback, from whoever brings the tokens.
    function use(bytes calldata output) external {
        require(settlement.isFinalOutput(requestId, output));
        answer = output;
    }

    /// While nobody works on it. The fee comes back by settlement.withdraw(address(this)).
    function giveUp() external {
        settlement.cancel(requestId);
    }

    receive() external payable {}
}

/// An integrator's view: it uses what is final, and nothing else.
contract ConsumerTest is Player {
    Consumer private consumer;
    bytes private output;

    function setUp() public override {
        super.setUp();
        consumer = new Consumer(settlement, modelId);
        consumer.ask{value: FEE}(Toy.prompt(PROMPT), 1);
        Lie memory none;
        output = Toy.output(none, PROMPT, OUTPUT);
    }

    function test_use_beforeFinality_reverts() public {
        bytes32 requestId = consumer.requestId();
        vm.expectRevert();
        consumer.use(output);
        vm.prank(provider);
        settlement.accept{value: 1 ether}(requestId, providerPayee);
        Lie memory none;
        bytes32 claimId = _claim(requestId, none);
        vm.expectRevert();
        consumer.use(output);
        vm.warp(START + WINDOW_S);
        vm.expectRevert();
        consumer.use(output);
        settlement.finalize(claimId);
        bytes memory other = bytes.concat(output);
        other[0] ^= 0x01;
        vm.expectRevert();
        consumer.use(other);
        consumer.use(output);
        assertEq(keccak256(consumer.answer()), keccak256(output), "the tokens");
    }

    function test_onInference_onlyItsOwnAnswer() public {
        bytes32 requestId = consumer.requestId();
        vm.expectRevert();
        consumer.onInference(requestId, 0, output);
        vm.prank(provider);
        settlement.accept{value: 1 ether}(requestId, providerPayee);
        Lie memory none;
        bytes32 claimId = _claim(requestId, none);
        vm.warp(START + WINDOW_S);
        settlement.finalize(claimId);
        settlement.deliver(requestId, output);
        assertEq(keccak256(consumer.answer()), keccak256(output), "the tokens");
    }

    function test_cancel_feeComesBack() public {
        consumer.giveUp();
        settlement.withdraw(address(consumer));
        assertEq(address(consumer).balance, FEE, "fee");
    }
}
