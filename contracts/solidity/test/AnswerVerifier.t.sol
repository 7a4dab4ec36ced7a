// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AnswerVerifier} from "../examples/AnswerVerifier.sol";
import {RequestParams} from "../interfaces/IInferenceSettlement.sol";
import {Player} from "./support/Player.sol";
import {Lie, Toy} from "./support/Toy.sol";

/// The adapter for published interfaces: true for what is final, and for nothing else.
contract AnswerVerifierTest is Player {
    uint32 private constant WARM = 1 << 16;

    AnswerVerifier private adapter;
    AnswerVerifier private warmAdapter;
    bytes private prompt;
    bytes private output;

    function setUp() public override {
        super.setUp();
        adapter = new AnswerVerifier(settlement, modelId, 0);
        warmAdapter = new AnswerVerifier(settlement, modelId, WARM);
        prompt = Toy.prompt(PROMPT);
        Lie memory none;
        output = Toy.output(none, PROMPT, OUTPUT);
    }

    function _finish(bytes32 requestId) private {
        _accept(requestId);
        Lie memory none;
        bytes32 claimId = _claim(requestId, none);
        assertTrue(!adapter.verify(prompt, output, abi.encode(requestId)), "not yet");
        vm.warp(START + WINDOW_S);
        settlement.finalize(claimId);
    }

    function test_verify_content_onlyWhatIsFinal() public {
        bytes32 requestId = _request(1);
        bytes memory proof = abi.encode(requestId);
        assertTrue(!adapter.verify(prompt, output, proof), "open");
        _finish(requestId);
        assertTrue(adapter.verify(prompt, output, proof), "final");
        bytes memory other = bytes.concat(prompt);
        other[0] ^= 0x01;
        assertTrue(!adapter.verify(other, output, proof), "another prompt");
        assertTrue(!adapter.verify("", output, proof), "no prompt");
        assertTrue(!adapter.verify(bytes.concat(prompt, hex"00"), output, proof), "more prompt");
        other = bytes.concat(output);
        other[0] ^= 0x01;
        assertTrue(!adapter.verify(prompt, other, proof), "another output");
        assertTrue(!adapter.verify(prompt, "", proof), "no output");
        assertTrue(!adapter.verify(prompt, output, ""), "no proof");
        assertTrue(!adapter.verify(prompt, output, bytes.concat(proof, hex"00")), "long proof");
        assertTrue(!adapter.verify(prompt, output, abi.encode(uint256(1))), "no such request");
    }

    function test_verify_hashes_onlyWhatIsFinal() public {
        bytes32 requestId = _request(1);
        bytes memory proof = abi.encode(requestId);
        bytes memory metadata = abi.encode(modelId);
        bytes32 asked = settlement.tokensRoot(prompt);
        bytes32 answered = settlement.tokensRoot(output);
        assertTrue(!adapter.verify(asked, answered, metadata, proof), "open");
        _finish(requestId);
        assertTrue(adapter.verify(asked, answered, metadata, proof), "final");
        assertTrue(!adapter.verify(answered, answered, metadata, proof), "another prompt");
        assertTrue(!adapter.verify(asked, asked, metadata, proof), "another output");
        assertTrue(!adapter.verify(asked, answered, "", proof), "no model");
        assertTrue(!adapter.verify(asked, answered, abi.encode(uint256(1)), proof), "wrong model");
        assertTrue(!adapter.verify(asked, answered, metadata, ""), "no proof");
    }

    function test_verify_otherModelOrTemperature_isFalse() public {
        bytes32 requestId = _request(1);
        _finish(requestId);
        bytes memory proof = abi.encode(requestId);
        AnswerVerifier other = new AnswerVerifier(settlement, keccak256("model"), 0);
        assertTrue(!other.verify(prompt, output, proof), "another model");
        assertTrue(!warmAdapter.verify(prompt, output, proof), "another temperature");
        vm.warp(START);
        RequestParams memory p = _params(2);
        (p.temperature, p.seed) = (WARM, 7);
        requestId = _request(p);
        _finish(requestId);
        proof = abi.encode(requestId);
        assertTrue(warmAdapter.verify(prompt, output, proof), "sampled");
        assertTrue(!adapter.verify(prompt, output, proof), "not greedy");
    }

    function test_profile_tellsDeploymentsApart() public view {
        assertEq(keccak256(bytes(adapter.proofSystem())), keccak256("op/refute"));
        assertTrue(adapter.proofProfile() != warmAdapter.proofProfile(), "one profile");
    }
}
