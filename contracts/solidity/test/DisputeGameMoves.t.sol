// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DisputeGame} from "../DisputeGame.sol";
import {IDisputeGame, State, Subject} from "../interfaces/IDisputeGame.sol";
import {RequestParams} from "../interfaces/IInferenceSettlement.sol";
import {IStepVerifier, Statement} from "../interfaces/IStepVerifier.sol";
import {GameTree} from "../libraries/GameTree.sol";
import {Phases} from "../libraries/Phases.sol";
import {Turns} from "../libraries/Turns.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy, ToyVerifier} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";
import {Wire} from "./support/Wire.sol";

/// What each move refuses.
contract DisputeGameMovesTest is Player {
    uint8 private constant MOVES = 9;

    /// A lie whose dispute goes through every phase.
    function _lie() private pure returns (Lie memory) {
        return Lie(LieKind.Value, 3, 4, 1249, 20);
    }

    function _at(uint8 phase) private returns (State memory) {
        return _playTo(_disputed(_lie()), phase);
    }

    /// Any move, with arguments that no state accepts: only good for what is refused before they
    /// are looked at.
    function _hollow(uint8 which, State memory s, address from) private {
        _hollowBytes(which, Wire.pack(s), from);
    }

    function _hollowBytes(uint8 which, bytes memory s, address from) private {
        bytes32[] memory none;
        int256[] memory accs;
        vm.prank(from);
        if (which == 0) game.reveal(s, none);
        else if (which == 1) game.expand(s, 0, none, none, "", none, none);
        else if (which == 2) game.choose(s, 0, 0, none);
        else if (which == 3) game.chooseStep(s, 0, 0, none, 0, 0, none);
        else if (which == 4) game.revealLeaf(s, "");
        else if (which == 5) game.chooseElement(s, "", 0);
        else if (which == 6) game.revealFold(s, accs);
        else if (which == 7) game.chooseFold(s, accs, 0);
        else game.step(s, "");
    }

    function _fits(uint8 which, uint8 phase) private pure returns (bool) {
        uint256[9] memory phases = [
            Phases.TREE_REVEALS,
            Phases.EXPANSION,
            Phases.TREE_CHOICES,
            Phases.STEP_CHOICE,
            1 << 7,
            1 << 8,
            1 << 9,
            1 << 10,
            1 << 11
        ];
        return Phases.isIn(phase, phases[which]);
    }

    function _refuse(bytes4 reason, uint8 which, State memory s, address from) private {
        cheats.expectPartialRevert(reason);
        _hollow(which, s, from);
    }

    function _clone(State memory s) private pure returns (State memory) {
        return abi.decode(abi.encode(s), (State));
    }

    // ---------------------------------------------------------------- every move

    function test_everyMove_wrongPhase_reverts() public {
        State memory s = _disputed(_lie());
        uint256 seen;
        while (true) {
            seen |= 1 << s.phase;
            for (uint8 which = 0; which < MOVES; ++which) {
                if (_fits(which, s.phase)) continue;
                _refuse(Turns.WrongPhase.selector, which, s, provider);
                _refuse(Turns.WrongPhase.selector, which, s, challenger);
            }
            if (s.phase == Phases.STEP) break;
            s = _move(s);
        }
        assertEq(seen, (1 << 12) - 1, "the game went through every phase");
    }

    function test_everyMove_wrongParty_reverts() public {
        State memory s = _disputed(_lie());
        while (s.phase != Phases.STEP) {
            address other = Phases.isDefenders(s.phase) ? challenger : provider;
            for (uint8 which = 0; which < MOVES; ++which) {
                if (!_fits(which, s.phase)) continue;
                _refuse(Turns.WrongParty.selector, which, s, other);
                _refuse(Turns.WrongParty.selector, which, s, stranger);
                _refuse(Turns.WrongParty.selector, which, s, providerPayee);
            }
            s = _move(s);
        }
    }

    function test_everyMove_outOfTime_reverts() public {
        State memory s = _disputed(_lie());
        while (true) {
            uint64 deadline = game.disputeOf(s.dispute).deadline;
            uint64 last = game.disputeOf(s.dispute).lastMoveAt;
            vm.warp(deadline + 1);
            for (uint8 which = 0; which < MOVES; ++which) {
                if (_fits(which, s.phase)) {
                    _refuse(
                        Turns.OutOfTime.selector,
                        which,
                        s,
                        Phases.isDefenders(s.phase) ? provider : challenger
                    );
                }
            }
            vm.warp(last);
            if (s.phase == Phases.STEP) break;
            s = _move(s);
        }
    }

    function test_everyMove_wrongState_reverts() public {
        State memory s = _at(Phases.FOLD_CHOOSE);
        bytes memory good = Wire.pack(s);
        for (uint256 place = 0; place < good.length; ++place) {
            bytes memory bad = bytes.concat(good);
            bad[place] = bad[place] ^ 0x01;
            bytes4 reason = place < 32 ? Turns.NoSuchDispute.selector : Turns.WrongState.selector;
            uint8 which = uint8(place % MOVES);
            cheats.expectPartialRevert(reason);
            _hollowBytes(which, bad, challenger);
        }
    }

    /// Too few bytes, too many, the spelling of another phase: a state has one spelling.
    function test_everyMove_wrongLength_reverts() public {
        State memory s = _at(Phases.LEAF_CHOOSE);
        bytes memory good = Wire.pack(s);
        for (uint256 length = 0; length < 400; ++length) {
            if (length == good.length) continue;
            bytes memory bad = new bytes(length);
            for (uint256 i = 0; i < length && i < good.length; ++i) {
                bad[i] = good[i];
            }
            cheats.expectPartialRevert(
                length < 32 ? Turns.NoSuchDispute.selector : Turns.WrongState.selector
            );
            _hollowBytes(uint8(length % MOVES), bad, challenger);
        }
    }

    function test_everyMove_stateOfBefore_reverts() public {
        State memory s = _disputed(_lie());
        State memory next = _move(s);
        _refuse(Turns.WrongState.selector, 0, s, provider);
        s = _move(next);
        _refuse(Turns.WrongState.selector, 2, next, challenger);
    }

    function test_everyMove_stateOfAnotherDispute_reverts() public {
        State memory s = _disputed(_lie());
        bytes32 claimId = game.disputeOf(s.dispute).claimId;
        State memory other = _initial(_challengeAs(claimId, stranger, stranger));
        s = _move(s);
        s.dispute = other.dispute;
        _refuse(Turns.WrongState.selector, 2, s, challenger);
    }

    function test_everyMove_afterResolution_reverts() public {
        State memory s = _at(Phases.STEP);
        bytes memory witness = _witness(s);
        game.step(Wire.pack(s), witness);
        for (uint8 which = 0; which < MOVES; ++which) {
            _refuse(Turns.AlreadyResolved.selector, which, s, provider);
            _refuse(Turns.AlreadyResolved.selector, which, s, challenger);
        }
        cheats.expectPartialRevert(Turns.AlreadyResolved.selector);
        game.timeout(s.dispute);
    }

    /// Another dispute convicts: nothing moves in this one, in whatever phase it was.
    function test_everyMove_voidClaim_reverts() public {
        for (uint8 phase = 0; phase < Phases.OVER; ++phase) {
            _deploy(2);
            State memory s = _disputed(_lie());
            State memory winner =
                _initial(_challengeAs(game.disputeOf(s.dispute).claimId, stranger, stranger));
            s = _playTo(s, phase);
            vm.warp(game.disputeOf(winner.dispute).deadline + 1);
            game.timeout(winner.dispute);
            vm.warp(START);
            for (uint8 which = 0; which < MOVES; ++which) {
                if (_fits(which, phase)) {
                    address mover = Phases.isDefenders(phase) ? provider : challenger;
                    _refuse(Turns.ClaimNotPending.selector, which, s, mover);
                }
            }
            vm.warp(START + 10 * CLOCK_S);
            cheats.expectPartialRevert(Turns.ClaimNotPending.selector);
            game.timeout(s.dispute);
        }
    }

    function test_everyMove_unknownDispute_reverts() public {
        State memory s;
        for (uint8 which = 0; which < MOVES; ++which) {
            _refuse(Turns.NoSuchDispute.selector, which, s, provider);
        }
        cheats.expectPartialRevert(Turns.NoSuchDispute.selector);
        game.timeout(0);
        cheats.expectPartialRevert(Turns.NoSuchDispute.selector);
        game.disputeOf(0);
        cheats.expectPartialRevert(Turns.NoSuchDispute.selector);
        game.subjectOf(0);
        cheats.expectPartialRevert(Turns.NoSuchDispute.selector);
        game.standingOf(0, 0);
    }

    function test_open_notTheSettlement_reverts() public {
        // Nothing else is wrong with it.
        State memory s = _disputed(_lie());
        Subject memory subject = game.subjectOf(s.dispute);
        bytes32 claimId = game.disputeOf(s.dispute).claimId;
        vm.expectRevert(DisputeGame.OnlySettlement.selector);
        game.open(bytes32(uint256(1)), claimId, challenger, provider, subject);
    }

    // ---------------------------------------------------------------- reveal

    function _refuseReveal(bytes4 reason, State memory s, bytes32[] memory children) private {
        cheats.expectPartialRevert(reason);
        vm.prank(provider);
        game.reveal(Wire.pack(s), children);
    }

    function _resized(bytes32[] memory list, uint256 length)
        private
        pure
        returns (bytes32[] memory other)
    {
        other = new bytes32[](length);
        for (uint256 i = 0; i < length && i < list.length; ++i) {
            other[i] = list[i];
        }
    }

    function _revealRefusals(uint8 phase) private {
        State memory s = _at(phase);
        bytes32[] memory children = _children(s);
        for (uint256 length = 0; length <= 9; ++length) {
            if (length == children.length) continue;
            _refuseReveal(DisputeGame.WrongLength.selector, s, _resized(children, length));
        }
        for (uint256 i = 0; i < children.length; ++i) {
            bytes32[] memory bad = _resized(children, children.length);
            bad[i] ^= bytes32(uint256(1));
            _refuseReveal(DisputeGame.WrongHash.selector, s, bad);
        }
    }

    function test_reveal_blocks_inexact_reverts() public {
        _revealRefusals(Phases.BLOCKS_REVEAL);
    }

    function test_reveal_steps_inexact_reverts() public {
        _revealRefusals(Phases.STEPS_REVEAL);
    }

    function test_reveal_leaves_inexact_reverts() public {
        _revealRefusals(Phases.LEAVES_REVEAL);
    }

    /// Garbage instead of padding, or padding as if it were real: both are another length.
    function test_reveal_paddingShown_reverts() public {
        _deploy(3);
        State memory s = _disputed(_lie());
        bytes32[] memory children = _children(s);
        assertEq(children.length, PROMPT + OUTPUT - 1, "two of eight are padding");
        bytes32[] memory padded = _resized(children, 8);
        padded[6] = GameTree.padding(0);
        padded[7] = GameTree.padding(0);
        _refuseReveal(DisputeGame.WrongLength.selector, s, padded);
    }

    /// A root over garbage in the padding's place: there is no reveal of it.
    function test_reveal_garbageInPadding_isTheDefendersLoss() public {
        Lie memory none;
        lie = none;
        bytes32[] memory leaves = _resized(_traceLeaves(none), 8);
        leaves[7] = keccak256("garbage");
        bytes32 requestId = _request(1);
        _accept(requestId);
        bytes memory output = Toy.output(none, PROMPT, OUTPUT);
        bytes32 root = Trees.root(leaves);
        vm.prank(provider);
        bytes32 claimId = settlement.claim(requestId, output, root);
        State memory s = _initial(_challenge(claimId));
        bytes32[] memory children = Trees.children(leaves, 3, 0, 1);
        _refuseReveal(DisputeGame.WrongLength.selector, s, children);
        _refuseReveal(DisputeGame.WrongHash.selector, s, _resized(children, 3));
        vm.warp(game.disputeOf(s.dispute).deadline + 1);
        game.timeout(s.dispute);
        assertTrue(game.disputeOf(s.dispute).challengerWon, "nobody can play on");
    }

    // ---------------------------------------------------------------- choose

    function _refuseChoice(
        bytes4 reason,
        State memory s,
        uint32 child,
        bytes32 hash,
        bytes32[] memory path
    ) private {
        cheats.expectPartialRevert(reason);
        vm.prank(challenger);
        game.choose(Wire.pack(s), child, hash, path);
    }

    function _chooseRefusals(uint8 phase) private {
        State memory s = _at(phase);
        uint32 span = _span(s);
        bytes32[] memory children = _children(s);
        bytes32[] memory path = Trees.path(_tree(s), s.index << span, s.level - span, s.level);
        for (uint32 child = uint32(children.length); child <= 9; ++child) {
            _refuseChoice(DisputeGame.NoSuchChoice.selector, s, child, children[0], path);
        }
        _refuseChoice(DisputeGame.NoSuchChoice.selector, s, type(uint32).max, children[0], path);
        bytes4 wrongLength = DisputeGame.WrongLength.selector;
        _refuseChoice(wrongLength, s, 0, children[0], _resized(path, span - 1));
        _refuseChoice(wrongLength, s, 0, children[0], _resized(path, span + 1));
        _refuseChoice(DisputeGame.WrongHash.selector, s, 1, children[0], path);
        bytes32 other = children[0] ^ bytes32(uint256(1));
        _refuseChoice(DisputeGame.WrongHash.selector, s, 0, other, path);
        for (uint256 i = 0; i < path.length; ++i) {
            bytes32[] memory bad = _resized(path, path.length);
            bad[i] ^= bytes32(uint256(1) << 255);
            _refuseChoice(DisputeGame.WrongHash.selector, s, 0, children[0], bad);
        }
        // The node itself, as its own child, in no levels.
        _refuseChoice(DisputeGame.WrongLength.selector, s, 0, s.node, new bytes32[](0));
    }

    function test_choose_blocks_notARevealedChild_reverts() public {
        _chooseRefusals(Phases.BLOCKS_CHOOSE);
    }

    function test_choose_steps_notARevealedChild_reverts() public {
        _chooseRefusals(Phases.STEPS_CHOOSE);
    }

    function test_choose_leaves_notARevealedChild_reverts() public {
        _chooseRefusals(Phases.LEAVES_CHOOSE);
    }

    /// The padding's hash is known and its path too; still nobody may ask for what is below it.
    function test_choose_paddingChild_reverts() public {
        _deploy(3);
        State memory s = _playTo(_disputed(_lie()), Phases.BLOCKS_CHOOSE);
        bytes32[] memory leaves = _tree(s);
        for (uint32 child = 6; child < 8; ++child) {
            bytes32[] memory path = Trees.path(leaves, child, 0, 3);
            _refuseChoice(DisputeGame.NoSuchChoice.selector, s, child, GameTree.padding(0), path);
        }
    }

    // ---------------------------------------------------------------- chooseStep

    struct StepChoice {
        uint32 child;
        bytes32 hash;
        bytes32[] path;
        bytes32 d0;
        bytes32 d1;
        bytes32[] proof;
    }

    /// The bottom of the step tree, and the right choice there.
    function _atStepChoice() private returns (State memory s, StepChoice memory c) {
        _deploy(8);
        s = _playTo(_disputed(_lie()), Phases.STEPS_CHOOSE);
        bytes32[] memory leaves = _tree(s);
        c.child = 4;
        c.hash = leaves[4];
        c.path = Trees.path(leaves, 4, 0, s.level);
        (c.d0, c.d1) = Toy.descriptor(4);
        c.proof = Trees.proof(Toy.programLeaves(), 4);
    }

    function _refuseStep(bytes4 reason, State memory s, StepChoice memory c) private {
        cheats.expectPartialRevert(reason);
        vm.prank(challenger);
        game.chooseStep(Wire.pack(s), c.child, c.hash, c.path, c.d0, c.d1, c.proof);
    }

    function test_chooseStep_corruptChoice_reverts() public {
        (State memory s, StepChoice memory c) = _atStepChoice();
        c.hash ^= bytes32(uint256(1));
        _refuseStep(DisputeGame.WrongHash.selector, s, c);
        c.hash ^= bytes32(uint256(1));
        c.child = 7;
        _refuseStep(DisputeGame.NoSuchChoice.selector, s, c);
        c.child = 5;
        _refuseStep(DisputeGame.WrongHash.selector, s, c);
        c.child = 4;
        c.path = _resized(c.path, 2);
        _refuseStep(DisputeGame.WrongLength.selector, s, c);
    }

    function test_chooseStep_corruptDescriptor_reverts() public {
        (State memory s, StepChoice memory c) = _atStepChoice();
        c.d0 ^= bytes32(uint256(1));
        _refuseStep(DisputeGame.WrongHash.selector, s, c);
        c.d0 ^= bytes32(uint256(1));
        c.d1 ^= bytes32(uint256(1));
        _refuseStep(DisputeGame.WrongHash.selector, s, c);
        c.d1 ^= bytes32(uint256(1));
        for (uint256 i = 0; i < c.proof.length; ++i) {
            c.proof[i] ^= bytes32(uint256(1));
            _refuseStep(DisputeGame.WrongHash.selector, s, c);
            c.proof[i] ^= bytes32(uint256(1));
        }
        bytes32[] memory proof = c.proof;
        c.proof = _resized(proof, 2);
        _refuseStep(DisputeGame.WrongLength.selector, s, c);
        c.proof = _resized(proof, 4);
        _refuseStep(DisputeGame.WrongLength.selector, s, c);
    }

    /// Another step's descriptor, with its own valid proof.
    function test_chooseStep_descriptorOfAnotherStep_reverts() public {
        (State memory s, StepChoice memory c) = _atStepChoice();
        (c.d0, c.d1) = Toy.descriptor(5);
        c.proof = Trees.proof(Toy.programLeaves(), 5);
        _refuseStep(DisputeGame.WrongHash.selector, s, c);
    }

    function test_chooseStep_aboveTheBottom_reverts() public {
        State memory s = _at(Phases.STEPS_CHOOSE);
        bytes32[] memory children = _children(s);
        bytes32[] memory path = Trees.path(_tree(s), 0, s.level - 2, s.level);
        vm.expectRevert(DisputeGame.DescriptorNotNeeded.selector);
        vm.prank(challenger);
        game.chooseStep(Wire.pack(s), 0, children[0], path, 0, 0, path);
    }

    function test_choose_atTheBottomOfSteps_reverts() public {
        (State memory s, StepChoice memory c) = _atStepChoice();
        vm.expectRevert(DisputeGame.DescriptorNeeded.selector);
        vm.prank(challenger);
        game.choose(Wire.pack(s), c.child, c.hash, c.path);
    }

    // ---------------------------------------------------------------- expand

    function _refuseExpansion(bytes4 reason, State memory s, Expansion memory e) private {
        cheats.expectPartialRevert(reason);
        _expand(s, e);
    }

    function _copy(Expansion memory e) private pure returns (Expansion memory) {
        return abi.decode(abi.encode(e), (Expansion));
    }

    function test_expand_corruptAnything_reverts() public {
        State memory s = _at(Phases.EXPAND);
        Expansion memory good = _expansion(s);
        Expansion memory e = _copy(good);
        e.stepRoot ^= bytes32(uint256(1));
        _refuseExpansion(DisputeGame.WrongHash.selector, s, e);
        for (uint256 i = 0; i < 3; ++i) {
            e = _copy(good);
            e.collectProof[i] ^= bytes32(uint256(1));
            _refuseExpansion(DisputeGame.WrongHash.selector, s, e);
            e = _copy(good);
            e.sampleProof[i] ^= bytes32(uint256(1));
            _refuseExpansion(DisputeGame.WrongHash.selector, s, e);
        }
        for (uint256 i = 0; i < good.tokens.length; ++i) {
            e = _copy(good);
            e.tokens[i] ^= 0x01;
            _refuseExpansion(DisputeGame.WrongHash.selector, s, e);
        }
        for (uint256 i = 0; i < good.children.length; ++i) {
            e = _copy(good);
            e.children[i] ^= bytes32(uint256(1));
            _refuseExpansion(DisputeGame.WrongHash.selector, s, e);
        }
    }

    function test_expand_wrongLengths_reverts() public {
        State memory s = _at(Phases.EXPAND);
        Expansion memory good = _expansion(s);
        for (uint256 length = 0; length <= 5; ++length) {
            Expansion memory e = _copy(good);
            if (length != 3) {
                e.collectProof = _resized(good.collectProof, length);
                _refuseExpansion(DisputeGame.WrongLength.selector, s, e);
                e = _copy(good);
                e.sampleProof = _resized(good.sampleProof, length);
                _refuseExpansion(DisputeGame.WrongLength.selector, s, e);
            }
            if (length != good.children.length) {
                e = _copy(good);
                e.children = _resized(good.children, length);
                _refuseExpansion(DisputeGame.WrongLength.selector, s, e);
            }
            if (length != 0) {
                e = _copy(good);
                e.tokenProof = new bytes32[](length);
                _refuseExpansion(DisputeGame.WrongLength.selector, s, e);
            }
        }
        for (uint256 length = 0; length <= 20; ++length) {
            if (length == good.tokens.length) continue;
            Expansion memory e = _copy(good);
            e.tokens = new bytes(length);
            _refuseExpansion(DisputeGame.WrongLength.selector, s, e);
        }
    }

    /// A step tree whose `Sample` is right but not the posted token, or whose `Collect` is not the
    /// block's root.
    function test_expand_treeThatIgnoresThePosted_reverts() public {
        State memory s = _at(Phases.EXPAND);
        bytes32[] memory steps = _stepLeaves(lie, s.blockIndex);
        uint32[2] memory changed = [Toy.COLLECT, Toy.SAMPLE];
        for (uint256 i = 0; i < 2; ++i) {
            bytes32[] memory other = _resized(steps, steps.length);
            other[changed[i]] = keccak256("another");
            Expansion memory e = _expansion(s);
            e.stepRoot = Trees.root(other);
            e.collectProof = Trees.proof(other, Toy.COLLECT);
            e.sampleProof = Trees.proof(other, Toy.SAMPLE);
            e.children = Trees.children(other, 3, 0, 1);
            _refuseExpansion(DisputeGame.WrongHash.selector, s, e);
        }
    }

    function test_expand_promptBlockWithOutputParts_reverts() public {
        lie = Lie(LieKind.Value, 1, 2, 3, 0);
        State memory s = _playTo(_disputed(lie), Phases.EXPAND);
        Expansion memory good = _expansion(s);
        Expansion memory e = _copy(good);
        e.sampleProof = new bytes32[](1);
        _refuseExpansion(DisputeGame.WrongLength.selector, s, e);
        e = _copy(good);
        e.tokens = new bytes(4);
        _refuseExpansion(DisputeGame.WrongLength.selector, s, e);
        e = _copy(good);
        e.tokenProof = new bytes32[](1);
        _refuseExpansion(DisputeGame.WrongLength.selector, s, e);
        _expand(s, good);
    }

    // ---------------------------------------------------------------- leaf and element

    function test_revealLeaf_inexact_reverts() public {
        State memory s = _at(Phases.LEAF_REVEAL);
        bytes memory data = _leafData(s);
        assertEq(data.length, 5000 - 4 * 1024, "the last leaf is what is left");
        uint256[4] memory lengths = [uint256(0), data.length - 1, data.length + 1, 1024];
        for (uint256 i = 0; i < 4; ++i) {
            cheats.expectPartialRevert(DisputeGame.WrongLength.selector);
            vm.prank(provider);
            game.revealLeaf(Wire.pack(s), new bytes(lengths[i]));
        }
        for (uint256 i = 0; i < data.length; i += 101) {
            data[i] ^= 0x10;
            cheats.expectPartialRevert(DisputeGame.WrongHash.selector);
            vm.prank(provider);
            game.revealLeaf(Wire.pack(s), data);
            data[i] ^= 0x10;
        }
        vm.prank(provider);
        game.revealLeaf(Wire.pack(s), data);
    }

    function test_chooseElement_otherBytes_reverts() public {
        State memory s = _at(Phases.LEAF_CHOOSE);
        bytes memory data = _leafData(s);
        data[0] ^= 0x01;
        cheats.expectPartialRevert(DisputeGame.WrongHash.selector);
        vm.prank(challenger);
        game.chooseElement(Wire.pack(s), data, 1249);
    }

    function test_chooseElement_otherLeaf_reverts() public {
        State memory s = _at(Phases.LEAF_CHOOSE);
        bytes memory data = _leafData(s);
        uint32[4] memory elements = [uint32(0), 1023, 1250, type(uint32).max];
        for (uint256 i = 0; i < 4; ++i) {
            vm.expectRevert(ToyVerifier.NotInThisLeaf.selector);
            vm.prank(challenger);
            game.chooseElement(Wire.pack(s), data, elements[i]);
        }
    }

    // ---------------------------------------------------------------- fold

    function test_revealFold_wrongLength_reverts() public {
        State memory s = _at(Phases.FOLD_REVEAL);
        assertTrue(!s.pinned, "first");
        for (uint256 length = 0; length <= 6; ++length) {
            if (length == 4) continue;
            cheats.expectPartialRevert(DisputeGame.WrongLength.selector);
            vm.prank(provider);
            game.revealFold(Wire.pack(s), new int256[](length));
        }
        s = _playTo(_move(s), Phases.FOLD_REVEAL);
        assertTrue(s.pinned, "second");
        // Four would move the segment's end.
        for (uint256 length = 0; length <= 6; ++length) {
            if (length == 3) continue;
            cheats.expectPartialRevert(DisputeGame.WrongLength.selector);
            vm.prank(provider);
            game.revealFold(Wire.pack(s), new int256[](length));
        }
    }

    function test_chooseFold_otherAccumulators_reverts() public {
        State memory s = _at(Phases.FOLD_CHOOSE);
        int256[] memory accs = _accs(s);
        for (uint256 i = 0; i < accs.length; ++i) {
            accs[i] += 1;
            cheats.expectPartialRevert(DisputeGame.WrongHash.selector);
            vm.prank(challenger);
            game.chooseFold(Wire.pack(s), accs, 0);
            accs[i] -= 1;
        }
        cheats.expectPartialRevert(DisputeGame.WrongHash.selector);
        vm.prank(challenger);
        game.chooseFold(Wire.pack(s), new int256[](0), 0);
    }

    function test_chooseFold_beyond_reverts() public {
        State memory s = _at(Phases.FOLD_CHOOSE);
        int256[] memory accs = _accs(s);
        cheats.expectPartialRevert(DisputeGame.NoSuchChoice.selector);
        vm.prank(challenger);
        game.chooseFold(Wire.pack(s), accs, 5);
        s = _playTo(_move(s), Phases.FOLD_CHOOSE);
        accs = _accs(s);
        // The finalizer was accepted when the first segment was chosen.
        cheats.expectPartialRevert(DisputeGame.NoSuchChoice.selector);
        vm.prank(challenger);
        game.chooseFold(Wire.pack(s), accs, 4);
    }

    /// The defender lies in one reveal, then answers with honest accumulators: the end that it lied
    /// about stays, and convicts it.
    function test_fold_movedEnd_isPinned() public {
        State memory s = _at(Phases.FOLD_CHOOSE);
        s = _playTo(_move(s), Phases.FOLD_REVEAL);
        int256 lied = s.accHi;
        Lie memory none;
        assertTrue(lied != Toy.accumulator(none, s.blockIndex, s.step, s.element, s.hi), "a lie");
        lie = none;
        while (s.phase != Phases.STEP) {
            if (s.phase == Phases.FOLD_REVEAL) {
                s = _defend(s);
                continue;
            }
            // All inner points are honest now, so the challenger takes the last segment.
            State memory next = _clone(s);
            int256[] memory accs = _accs(s);
            uint32 last = uint32(accs.length);
            vm.prank(challenger);
            game.chooseFold(Wire.pack(s), accs, last);
            next.move += 1;
            next.reveal = 0;
            next.lo = _boundary(s, last);
            next.accLo = accs[last - 1];
            next.mode = next.hi - next.lo == 1 ? 1 : 0;
            next.phase = next.mode == 1 ? Phases.STEP : Phases.FOLD_REVEAL;
            _check(next);
            s = next;
        }
        assertEq(s.accHi, lied, "the end did not move");
        game.step(Wire.pack(s), Toy.WITNESS);
        assertTrue(game.disputeOf(s.dispute).challengerWon, "the liar");
    }

    // ---------------------------------------------------------------- step

    function test_step_uselessWitness_revertsAndDecidesNothing() public {
        State memory s = _at(Phases.STEP);
        vm.expectRevert(ToyVerifier.BadWitness.selector);
        game.step(Wire.pack(s), "nonsense");
        _check(s);
        assertTrue(!game.disputeOf(s.dispute).resolved, "undecided");
        game.step(Wire.pack(s), Toy.WITNESS);
        assertTrue(game.disputeOf(s.dispute).challengerWon, "decided");
    }

    /// A dispute over a request for sampled tokens, at its step.
    function _drawn(uint64 requestSeed, uint32 temperature) private returns (State memory) {
        lie = _lie();
        RequestParams memory p = _params(1);
        (p.seed, p.temperature) = (requestSeed, temperature);
        bytes32 requestId = _request(p);
        _accept(requestId);
        return _playTo(_initial(_challenge(_claim(requestId, lie))), Phases.STEP);
    }

    function test_step_statement_isTheDispute() public {
        State memory s = _drawn(0x123456789abcdef0, 0x8765);
        Statement memory x;
        x.programRoot = Toy.model().programRoot;
        x.programSteps = Toy.OUTPUT_STEPS;
        x.weightsRoot = Toy.model().weightsRoot;
        x.weightLeaves = Toy.WEIGHT_LEAVES;
        x.carried = Toy.CARRIED;
        x.traceRoot = _traceRoot(lie);
        x.blocks = PROMPT + OUTPUT - 1;
        x.promptRoot = Trees.leaf(Toy.prompt(PROMPT));
        x.promptLength = PROMPT;
        x.outputRoot = Trees.leaf(Toy.output(lie, PROMPT, OUTPUT));
        x.outputLength = OUTPUT;
        x.blockIndex = 3;
        x.stepRoot = Trees.root(_stepLeaves(lie, 3));
        x.blockSteps = Toy.OUTPUT_STEPS;
        x.step = 4;
        (x.d0, x.d1) = Toy.descriptor(4);
        x.mode = 1;
        x.element = 1249;
        x.unit = 20;
        x.accIn = Toy.accumulator(lie, 3, 4, 1249, 20);
        x.accOut = Toy.accumulator(lie, 3, 4, 1249, 21);
        x.claimed = Toy.value(lie, 3, 4, 1249);
        x.seed = 0x123456789abcdef0;
        x.temperature = 0x8765;
        bytes memory call = abi.encodeCall(IStepVerifier.verify, (x, Toy.WITNESS));
        cheats.expectCall(address(verifier), call);
        game.step(Wire.pack(s), Toy.WITNESS);
    }

    function test_subjectOf_isTheClaim() public {
        State memory s = _disputed(_lie());
        Subject memory subject = game.subjectOf(s.dispute);
        assertEq(subject.modelId, modelId);
        assertEq(subject.traceRoot, _traceRoot(lie));
        assertEq(subject.promptRoot, Trees.leaf(Toy.prompt(PROMPT)));
        assertEq(subject.promptLength, PROMPT);
        assertEq(subject.outputRoot, Trees.leaf(Toy.output(lie, PROMPT, OUTPUT)));
        assertEq(subject.outputLength, OUTPUT);
        assertEq(subject.seed, 0);
        assertEq(subject.temperature, 0);
    }

    // ---------------------------------------------------------------- constructor

    function _created(address r, address s, uint32 arityBits, uint32 clockS, uint32 minResponseS)
        private
        returns (address, bytes memory)
    {
        bytes memory arguments = abi.encode(r, s, arityBits, clockS, minResponseS);
        return created("DisputeGame.sol:DisputeGame", arguments);
    }

    function _refuseConstants(
        address r,
        address s,
        uint32 arityBits,
        uint32 clockS,
        uint32 minResponseS
    ) private {
        (, bytes memory reason) = _created(r, s, arityBits, clockS, minResponseS);
        assertEq(bytes32(bytes4(reason)), bytes32(Turns.BadConstant.selector), "why");
    }

    function test_constructor_badConstants_revert() public {
        address r = address(registry);
        address s = address(settlement);
        _refuseConstants(address(0), s, 5, 1, 1);
        _refuseConstants(r, address(0), 5, 1, 1);
        _refuseConstants(r, s, 0, 1, 1);
        _refuseConstants(r, s, 9, 1, 1);
        _refuseConstants(r, s, 5, 0, 1);
        _refuseConstants(r, s, 5, 1, 0);
        (address good,) = _created(r, s, 8, 1, 1);
        assertEq(DisputeGame(good).ARITY_BITS(), 8);
        assertEq(DisputeGame(good).verifier(), address(verifier));
    }
}
