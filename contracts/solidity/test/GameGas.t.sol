// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {State} from "../interfaces/IDisputeGame.sol";
import {Model} from "../interfaces/IModelRegistry.sol";
import {RequestParams} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";
import {Wire} from "./support/Wire.sol";

/// What each entry costs as a transaction of its own: every call of a test is one (`isolate`), with
/// base cost, calldata and storage that nobody touched before. Run with -vv to see the figures. They
/// are held against the committed contracts/snapshots/game.json, so that any change is seen; the
/// limits here are what must never be exceeded.
///
/// forge-config: default.isolate = true
contract GameGasTest is Player {
    /// Calls as `from`, and holds the transaction's gas against a limit. Refunds are not deducted.
    function _gas(
        string memory what,
        uint256 most,
        address from,
        address to,
        uint256 value,
        bytes memory input
    ) private returns (bytes memory output) {
        vm.deal(from, value);
        vm.prank(from);
        bool ok;
        (ok, output) = to.call{value: value}(input);
        assertTrue(ok, what);
        uint256 total = VmGas(address(vm)).lastCallGas().gasTotalUsed;
        emit log_named_uint(what, total);
        vm.snapshotValue("game", what, total);
        assertTrue(total <= most, string.concat(what, ": ", vm.toString(total)));
    }

    function _pay(string memory what, uint256 most, address from, uint256 value, bytes memory input)
        private
        returns (bytes memory)
    {
        return _gas(what, most, from, address(settlement), value, input);
    }

    function _play(string memory what, uint256 most, address from, bytes memory input) private {
        _gas(what, most, from, address(game), 0, input);
    }

    /// 24 tokens in, 24 out, a small fee.
    function test_gas_settlement() public {
        bytes memory prompt = Toy.prompt(24);
        bytes memory output = _pay(
            "request, 24 tokens",
            195_000,
            requester,
            FEE,
            abi.encodeCall(settlement.request, (_params(prompt, 24)))
        );
        bytes32 requestId = abi.decode(output, (bytes32));
        _pay(
            "accept",
            115_000,
            provider,
            PROVIDER_BOND,
            abi.encodeCall(settlement.accept, (requestId, providerPayee))
        );
        output = _pay(
            "claim, 24 tokens",
            150_000,
            provider,
            0,
            abi.encodeCall(settlement.claim, (requestId, prompt, "root"))
        );
        bytes32 claimId = abi.decode(output, (bytes32));
        output = _pay(
            "challenge",
            310_000,
            challenger,
            CHALLENGER_BOND,
            abi.encodeCall(settlement.challenge, (claimId, challengerPayee))
        );
        vm.warp(START + WINDOW_S);
        _gas(
            "timeout",
            150_000,
            stranger,
            address(game),
            0,
            abi.encodeCall(game.timeout, abi.decode(output, (bytes32)))
        );
        _pay(
            "settleReward",
            100_000,
            stranger,
            0,
            abi.encodeCall(settlement.settleReward, (claimId, 1))
        );
        _pay(
            "refund",
            80_000,
            stranger,
            0,
            abi.encodeCall(settlement.refund, abi.decode(output, (bytes32)))
        );
        _pay(
            "accept again",
            115_000,
            provider,
            PROVIDER_BOND,
            abi.encodeCall(settlement.accept, (requestId, providerPayee))
        );
        output = _pay(
            "claim again",
            150_000,
            provider,
            0,
            abi.encodeCall(settlement.claim, (requestId, prompt, "root"))
        );
        vm.warp(START + 2 * WINDOW_S);
        _pay(
            "finalize",
            80_000,
            stranger,
            0,
            abi.encodeCall(settlement.finalize, abi.decode(output, (bytes32)))
        );
        _pay("withdraw", 70_000, stranger, 0, abi.encodeCall(settlement.withdraw, (providerPayee)));
    }

    /// Eight claims at once, and the answer of one of them brought to who asked.
    function test_gas_finalizeMany_deliver() public {
        bytes32[] memory claimIds = new bytes32[](8);
        bytes memory output = Toy.prompt(24);
        RequestParams memory p = _params(output, 24);
        p.callback = address(new Hearer());
        p.callbackGas = 30_000;
        bytes32 requestId;
        for (uint256 i = 0; i < 8; ++i) {
            p.nonce = i;
            requestId = _request(p);
            _accept(requestId);
            vm.prank(provider);
            claimIds[i] = settlement.claim(requestId, output, "root");
        }
        vm.warp(START + WINDOW_S);
        _pay(
            "finalizeMany, 8 claims",
            270_000,
            stranger,
            0,
            abi.encodeCall(settlement.finalizeMany, (claimIds))
        );
        _pay(
            "deliver, without the callback",
            100_000,
            stranger,
            0,
            abi.encodeCall(settlement.deliver, (requestId, output))
        );
    }

    /// A trace of 1,024 blocks: two full reveals of 32 children each.
    function test_gas_reveal_full() public {
        _deploy(5);
        Model memory m = Toy.model();
        m.params.context = 4096;
        modelId = registry.register(m, Toy.program());
        bytes32 requestId = _request(_params(Toy.prompt(1000), 25));
        _accept(requestId);
        bytes32[] memory leaves = new bytes32[](1024);
        for (uint256 i = 0; i < 1024; ++i) {
            leaves[i] = keccak256(abi.encode(i));
        }
        bytes memory output = Toy.prompt(25);
        bytes32 root = Trees.root(leaves);
        vm.prank(provider);
        bytes32 claimId = settlement.claim(requestId, output, root);
        State memory s;
        s.dispute = _challenge(claimId);
        s.node = root;
        s.level = 10;
        bytes32[] memory children = Trees.children(leaves, 10, 0, 5);
        assertEq(children.length, 32, "a full reveal");
        _play(
            "reveal, 32 children",
            100_000,
            provider,
            abi.encodeCall(game.reveal, (Wire.pack(s), children))
        );
        s.phase = Phases.BLOCKS_CHOOSE;
        s.move = 1;
        bytes32[] memory path = Trees.path(leaves, 19, 5, 10);
        _play(
            "choose, 5 levels",
            65_000,
            challenger,
            abi.encodeCall(game.choose, (Wire.pack(s), 19, children[19], path))
        );
        assertEq(game.disputeOf(s.dispute).phase, Phases.BLOCKS_REVEAL, "one level lower");
    }

    /// The other moves, over the toy; its verifier costs next to nothing.
    function test_gas_moves() public {
        _deploy(5);
        lie = Lie(LieKind.Value, 3, 4, 300, 20);
        State memory s = _playTo(_disputed(lie), Phases.EXPAND);
        Expansion memory e = _expansion(s);
        bytes memory input = abi.encodeCall(
            game.expand,
            (
                Wire.pack(s),
                e.stepRoot,
                e.collectProof,
                e.sampleProof,
                e.tokens,
                e.tokenProof,
                e.children
            )
        );
        s = _paid("expand, 7 children", 95_000, s, input);
        uint32 depth = s.level;
        bytes32[] memory steps = _stepLeaves(lie, 3);
        bytes32[] memory path = Trees.path(steps, 4, 0, depth);
        (bytes32 d0, bytes32 d1) = Toy.descriptor(4);
        bytes32[] memory proof = Trees.proof(Toy.programLeaves(), 4);
        input = abi.encodeCall(game.chooseStep, (Wire.pack(s), 4, steps[4], path, d0, d1, proof));
        s = _paid("chooseStep", 95_000, s, input);
        s = _playTo(s, Phases.LEAF_REVEAL);
        s = _paid(
            "revealLeaf, 1024 bytes",
            95_000,
            s,
            abi.encodeCall(game.revealLeaf, (Wire.pack(s), _leafData(s)))
        );
        input = abi.encodeCall(game.chooseElement, (Wire.pack(s), _leafData(s), 300));
        s = _paid("chooseElement, 1024 bytes", 95_000, s, input);
        int256[] memory accs = _accs(s);
        assertEq(accs.length, 32, "a full reveal");
        s = _paid(
            "revealFold, 32 accumulators",
            95_000,
            s,
            abi.encodeCall(game.revealFold, (Wire.pack(s), accs))
        );
        uint32 choice;
        while (_boundary(s, choice + 1) <= 20) ++choice;
        s = _paid(
            "chooseFold, 32 accumulators",
            95_000,
            s,
            abi.encodeCall(game.chooseFold, (Wire.pack(s), accs, choice))
        );
        s = _playTo(s, Phases.STEP);
        _play(
            "step, without the verifier",
            160_000,
            stranger,
            abi.encodeCall(game.step, (Wire.pack(s), Toy.WITNESS))
        );
        assertTrue(game.disputeOf(s.dispute).challengerWon, "convicted");
    }

    /// Measures a move, then plays it as ever to know the state after it: on a copy of the chain,
    /// put back in between.
    function _paid(string memory what, uint256 most, State memory s, bytes memory input)
        private
        returns (State memory)
    {
        uint256 mark = VmGas(address(vm)).snapshotState();
        _play(what, most, Phases.isDefenders(s.phase) ? provider : challenger, input);
        VmGas(address(vm)).revertToState(mark);
        return _move(s);
    }
}

/// A callback that does nothing.
contract Hearer {
    function onInference(bytes32, bytes32, bytes calldata) external {}
}

interface VmGas {
    struct Gas {
        uint64 gasLimit;
        uint64 gasTotalUsed;
        uint64 gasMemoryUsed;
        int64 gasRefunded;
        uint64 gasRemaining;
    }

    function lastCallGas() external view returns (Gas memory);
    function snapshotState() external returns (uint256);
    function revertToState(uint256 mark) external returns (bool);
}
