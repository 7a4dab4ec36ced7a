// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {InferenceSettlement} from "../InferenceSettlement.sol";
import {State} from "../interfaces/IDisputeGame.sol";
import {ClaimStatus, RequestParams, RequestStatus} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";
import {Wire} from "./support/Wire.sol";

/// Bytes of every length where bytes are taken, lists of every length where lists are, calldata cut
/// short and drawn out: refused, and nothing has changed; or it is the right thing, spelled so.
contract GarbageTest is Player {
    uint256 private constant MOST = 70;

    bytes32 private requestId;
    bytes32 private claimId;

    function _liar() private {
        lie = Lie(LieKind.Value, 3, 4, 1249, 20);
        (requestId, claimId) = _claimed(lie);
    }

    function _at(uint8 phase) private returns (State memory) {
        _liar();
        return _playTo(_initial(_challenge(claimId)), phase);
    }

    /// Lengths to 70, and around the sizes that mean something.
    function _lengths() private pure returns (uint256[] memory lengths) {
        lengths = new uint256[](MOST + 9);
        for (uint256 i = 0; i < MOST; ++i) {
            lengths[i] = i;
        }
        uint256[9] memory more =
            [uint256(903), 904, 905, 1020, 1023, 1024, 1025, 2048, uint256(5000)];
        for (uint256 i = 0; i < 9; ++i) {
            lengths[MOST + i] = more[i];
        }
    }

    function _noise(uint256 length) private pure returns (bytes memory data) {
        data = new bytes(length);
        for (uint256 i = 0; i < length; i += 32) {
            bytes32 word = keccak256(abi.encode(length, i));
            for (uint256 j = i; j < length && j < i + 32; ++j) {
                data[j] = word[j - i];
            }
        }
    }

    function _refused(address from, address to, bytes memory input, bytes32 dispute) private {
        bytes32 before = dispute == 0 ? bytes32(0) : game.disputeOf(dispute).stateHash;
        vm.prank(from);
        (bool ok, bytes memory reason) = to.call(input);
        assertTrue(!ok, "taken");
        // A typed error, and no panic of arithmetic or memory; or, from the decoder, nothing.
        assertTrue(reason.length == 0 || bytes4(reason) != bytes4(0x4e487b71), "a panic");
        if (dispute == 0) return;
        assertEq(game.disputeOf(dispute).stateHash, before, "changed");
        assertTrue(!game.disputeOf(dispute).resolved, "decided");
    }

    // ---------------------------------------------------------------- tokens

    function test_prompt_everyLength_wholeTokensOrRefused() public {
        for (uint256 n = 0; n < MOST; ++n) {
            RequestParams memory p = _params(new bytes(n), 1);
            p.nonce = n;
            vm.prank(requester);
            (bool ok,) = address(settlement).call{value: 1}(abi.encodeCall(settlement.request, (p)));
            assertTrue(ok == (n > 0 && n % 4 == 0), "whole tokens, and at least one");
        }
    }

    function test_output_everyLength_onlyTheRightOne() public {
        requestId = _request(1);
        _accept(requestId);
        for (uint256 n = 0; n < MOST; ++n) {
            // Token 0 is no stop id: only the maximum is a whole answer.
            bytes memory input =
                abi.encodeCall(settlement.claim, (requestId, new bytes(n), bytes32(0)));
            if (n != 4 * OUTPUT) _refused(provider, address(settlement), input, 0);
        }
        assertStatus(requestId, RequestStatus.Accepted);
    }

    /// Views and delivery: whatever the length, only the tokens themselves.
    function test_finalOutput_everyLength_onlyTheTokens() public {
        Lie memory none;
        RequestParams memory p = _params(1);
        (p.callback, p.callbackGas) = (address(this), 100_000);
        requestId = _request(p);
        _accept(requestId);
        claimId = _claim(requestId, none);
        vm.warp(START + WINDOW_S);
        settlement.finalize(claimId);
        uint256[] memory lengths = _lengths();
        for (uint256 i = 0; i < lengths.length; ++i) {
            bytes memory noise = _noise(lengths[i]);
            assertTrue(!settlement.isFinalOutput(requestId, noise), "request");
            assertTrue(!settlement.isFinalClaim(claimId, noise), "claim");
            bytes memory input = abi.encodeCall(settlement.deliver, (requestId, noise));
            _refused(stranger, address(settlement), input, 0);
        }
        assertTrue(
            settlement.isFinalOutput(requestId, Toy.output(none, PROMPT, OUTPUT)), "the tokens"
        );
    }

    // ---------------------------------------------------------------- moves

    function test_revealLeaf_everyLength_reverts() public {
        State memory s = _at(Phases.LEAF_REVEAL);
        uint256[] memory lengths = _lengths();
        for (uint256 i = 0; i < lengths.length; ++i) {
            bytes memory input = abi.encodeCall(game.revealLeaf, (Wire.pack(s), _noise(lengths[i])));
            _refused(provider, address(game), input, s.dispute);
        }
        _move(s);
    }

    function test_chooseElement_everyLength_reverts() public {
        State memory s = _at(Phases.LEAF_CHOOSE);
        uint256[] memory lengths = _lengths();
        for (uint256 i = 0; i < lengths.length; ++i) {
            bytes memory input =
                abi.encodeCall(game.chooseElement, (Wire.pack(s), _noise(lengths[i]), lie.element));
            _refused(challenger, address(game), input, s.dispute);
        }
        _move(s);
    }

    function test_step_everyLength_reverts() public {
        State memory s = _at(Phases.STEP);
        uint256[] memory lengths = _lengths();
        for (uint256 i = 0; i < lengths.length; ++i) {
            bytes memory input = abi.encodeCall(game.step, (Wire.pack(s), _noise(lengths[i])));
            _refused(stranger, address(game), input, s.dispute);
        }
        assertTrue(_playOut(s), "decided by the right one");
    }

    /// Reveals of every number of nodes but the right one.
    function test_reveals_everyCount_reverts() public {
        uint8[4] memory phases =
            [Phases.BLOCKS_REVEAL, Phases.STEPS_REVEAL, Phases.LEAVES_REVEAL, Phases.FOLD_REVEAL];
        for (uint256 p = 0; p < 4; ++p) {
            _deploy(2);
            State memory s = _at(phases[p]);
            bool fold = phases[p] == Phases.FOLD_REVEAL;
            uint256 right = fold ? _accs(s).length : _children(s).length;
            for (uint256 n = 0; n < 20; ++n) {
                if (n == right) continue;
                bytes memory input = fold
                    ? abi.encodeCall(game.revealFold, (Wire.pack(s), new int256[](n)))
                    : abi.encodeCall(game.reveal, (Wire.pack(s), new bytes32[](n)));
                _refused(provider, address(game), input, s.dispute);
            }
            _move(s);
        }
    }

    /// Paths of every length but the right one, in every choice of a child.
    function test_paths_everyDepth_reverts() public {
        uint8[3] memory phases = [Phases.BLOCKS_CHOOSE, Phases.STEPS_CHOOSE, Phases.LEAVES_CHOOSE];
        for (uint256 p = 0; p < 3; ++p) {
            _deploy(2);
            State memory s = _at(phases[p]);
            bytes32[] memory children = _children(s);
            uint32 span = _span(s);
            bytes32[] memory path = Trees.path(_tree(s), s.index << span, s.level - span, s.level);
            for (uint256 n = 0; n < 20; ++n) {
                if (n == path.length) continue;
                _refusedChoice(s, children[0], _resized(path, n));
            }
        }
    }

    // Functions of their own, for the stack of their callers.

    function _refusedChoice(State memory s, bytes32 hash, bytes32[] memory path) private {
        bytes memory input = abi.encodeCall(game.choose, (Wire.pack(s), 0, hash, path));
        _refused(challenger, address(game), input, s.dispute);
    }

    function _refusedStepChoice(
        State memory s,
        uint32 child,
        bytes32[] memory path,
        bytes32[] memory proof
    ) private {
        (bytes32 d0, bytes32 d1) = Toy.descriptor(lie.step);
        bytes32 root = _tensorRoot(lie, s.blockIndex, lie.step);
        bytes memory packed = Wire.pack(s);
        bytes memory input =
            abi.encodeCall(game.chooseStep, (packed, child, root, path, d0, d1, proof));
        _refused(challenger, address(game), input, s.dispute);
    }

    /// Descriptor paths, and the four lists of an expansion.
    function test_proofs_everyDepth_reverts() public {
        State memory s = _at(Phases.EXPAND);
        Expansion memory e = _expansion(s);
        bytes32[] memory none;
        for (uint256 n = 0; n < 12; ++n) {
            Expansion memory x = _expansion(s);
            if (n != e.collectProof.length) {
                x.collectProof = _resized(e.collectProof, n);
                _refusedExpansion(s, x);
                x.collectProof = e.collectProof;
            }
            if (n != e.sampleProof.length) {
                x.sampleProof = _resized(e.sampleProof, n);
                _refusedExpansion(s, x);
                x.sampleProof = e.sampleProof;
            }
            if (n != e.tokenProof.length) {
                x.tokenProof = _resized(none, n);
                _refusedExpansion(s, x);
                x.tokenProof = e.tokenProof;
            }
            if (n != e.children.length) {
                x.children = _resized(e.children, n);
                _refusedExpansion(s, x);
                x.children = e.children;
            }
            x.tokens = _noise(4 * n + n % 4);
            _refusedExpansion(s, x);
        }
        _descriptorPaths(_move(s));
    }

    function _refusedExpansion(State memory s, Expansion memory e) private {
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
        _refused(provider, address(game), input, s.dispute);
    }

    function _descriptorPaths(State memory s) private {
        s = _playTo(_move(s), Phases.STEPS_CHOOSE);
        uint32 child = lie.step - (s.index << _span(s));
        bytes32[] memory steps = _stepLeaves(lie, s.blockIndex);
        bytes32[] memory path = Trees.path(steps, lie.step, 0, s.level);
        bytes32[] memory proof = Trees.proof(Toy.programLeaves(), lie.step);
        for (uint256 n = 0; n < 12; ++n) {
            if (n != proof.length) _refusedStepChoice(s, child, path, _resized(proof, n));
        }
        _move(s);
    }

    function _resized(bytes32[] memory list, uint256 n)
        private
        pure
        returns (bytes32[] memory other)
    {
        other = new bytes32[](n);
        for (uint256 i = 0; i < n && i < list.length; ++i) {
            other[i] = list[i];
        }
    }

    // ---------------------------------------------------------------- calldata

    /// Bytes behind the arguments don't make a second request, claim or dispute.
    function test_calldata_trailingBytes_sameIds() public {
        _liar();
        bytes memory input = abi.encodeCall(settlement.request, (_params(1)));
        for (uint256 n = 0; n < 34; ++n) {
            vm.prank(requester);
            (bool ok, bytes memory reason) =
                address(settlement).call{value: FEE}(bytes.concat(input, new bytes(n)));
            assertTrue(!ok && bytes4(reason) == InferenceSettlement.RequestExists.selector, "twice");
        }
        _challenge(claimId);
        input = abi.encodeCall(settlement.challenge, (claimId, challengerPayee));
        for (uint256 n = 0; n < 34; ++n) {
            vm.prank(challenger);
            (bool ok, bytes memory reason) =
                address(settlement).call{value: CHALLENGER_BOND}(bytes.concat(input, new bytes(n)));
            assertTrue(
                !ok && bytes4(reason) == InferenceSettlement.AlreadyChallenged.selector, "twice"
            );
        }
    }

    /// Calldata that ends early is refused, at every length.
    function test_calldata_cutShort_reverts() public {
        State memory s = _at(Phases.LEAF_REVEAL);
        bytes memory input = abi.encodeCall(game.revealLeaf, (Wire.pack(s), _leafData(s)));
        // The last word is padding behind 904 bytes of data: 24 bytes that nobody reads.
        for (uint256 n = 0; n < input.length - 24; n += n < 700 ? 1 : 13) {
            bytes memory cut = new bytes(n);
            for (uint256 i = 0; i < n; ++i) {
                cut[i] = input[i];
            }
            _refused(provider, address(game), cut, s.dispute);
        }
        _move(s);
    }

    /// Bits above an address are refused, so that a payee has one spelling.
    function test_calldata_dirtyPayee_reverts() public {
        _liar();
        bytes memory input = abi.encodeWithSelector(
            settlement.challenge.selector, claimId, (uint256(1) << 160) | uint160(challengerPayee)
        );
        vm.prank(challenger);
        (bool ok,) = address(settlement).call{value: CHALLENGER_BOND}(input);
        assertTrue(!ok, "taken");
        assertEq(settlement.claimOf(claimId).disputes, 0, "no dispute");
    }

    // ---------------------------------------------------------------- content

    /// Nothing that somebody else chooses says whether a thing exists: a root of zeros is a root.
    function test_zeroRoot_isDisputedLikeAny() public {
        requestId = _request(1);
        _accept(requestId);
        Lie memory none;
        bytes memory output = Toy.output(none, PROMPT, OUTPUT);
        vm.prank(provider);
        claimId = settlement.claim(requestId, output, bytes32(0));
        State memory s = _initial(_challenge(claimId));
        bytes memory input = abi.encodeCall(game.reveal, (Wire.pack(s), _resized(_children(s), 4)));
        _refused(provider, address(game), input, s.dispute);
        vm.warp(game.disputeOf(s.dispute).deadline + 1);
        game.timeout(s.dispute);
        assertClaim(claimId, ClaimStatus.Rejected);
        assertStatus(requestId, RequestStatus.Open);
        settlement.settleReward(claimId, 1);
        settlement.refund(s.dispute);
        assertCredit(
            challengerPayee, PROVIDER_BOND - PROVIDER_BURN + CHALLENGER_BOND, "paid like any"
        );
    }
}
