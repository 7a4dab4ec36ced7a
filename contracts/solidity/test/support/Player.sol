// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {State} from "../../interfaces/IDisputeGame.sol";
import {Phases} from "../../libraries/Phases.sol";
import {Fixture} from "./Fixture.sol";
import {Lie, LieKind, Toy} from "./Toy.sol";
import {Trees} from "./Trees.sol";
import {Wire} from "./Wire.sol";

/// Both sides of a dispute over the toy. Every move computes the state that must follow by itself,
/// and compares it with the game's.
abstract contract Player is Fixture {
    struct Expansion {
        bytes32 stepRoot;
        bytes32[] collectProof;
        bytes32[] sampleProof;
        bytes tokens;
        bytes32[] tokenProof;
        bytes32[] children;
    }

    /// What the defender's trace has wrong.
    Lie internal lie;
    /// 0: the challenger goes for the lie. Else it chooses at random.
    uint256 internal seed;

    /// Roots that were already computed, by lie, block and step: building them is most of a game's
    /// work.
    mapping(bytes32 place => bytes32) private roots;

    // ---------------------------------------------------------------- trees

    /// Leaves of a step's tree: the tensor's, or the carried roots.
    function _tensorLeaves(Lie memory of_, uint32 blockIndex, uint32 step)
        internal
        virtual
        returns (bytes32[] memory)
    {
        if (step != Toy.COLLECT) return Trees.chunks(Toy.tensor(of_, blockIndex, step));
        bytes32[] memory carried = new bytes32[](Toy.CARRIED);
        for (uint32 i = 0; i < Toy.CARRIED; ++i) {
            carried[i] = _tensorRoot(of_, blockIndex, Toy.carriedStep(i));
            if (of_.kind == LieKind.Collect && of_.blockIndex == blockIndex && of_.element == i) {
                carried[i] = keccak256(abi.encode(carried[i]));
            }
        }
        return carried;
    }

    function _tensorRoot(Lie memory of_, uint32 blockIndex, uint32 step)
        internal
        returns (bytes32 root)
    {
        bytes32 place = keccak256(abi.encode(of_, blockIndex, step));
        root = roots[place];
        if (root == 0) {
            root = Trees.root(_tensorLeaves(of_, blockIndex, step));
            roots[place] = root;
        }
    }

    function _traceLeaves(Lie memory of_) internal returns (bytes32[] memory leaves) {
        leaves = new bytes32[](PROMPT + OUTPUT - 1);
        for (uint32 t = 0; t < leaves.length; ++t) {
            leaves[t] = _tensorRoot(of_, t, Toy.COLLECT);
        }
    }

    function _stepLeaves(Lie memory of_, uint32 blockIndex)
        internal
        returns (bytes32[] memory leaves)
    {
        leaves = new bytes32[](blockIndex + 1 >= PROMPT ? Toy.OUTPUT_STEPS : Toy.PROMPT_STEPS);
        for (uint32 i = 0; i < leaves.length; ++i) {
            leaves[i] = _tensorRoot(of_, blockIndex, i);
        }
    }

    function _traceRoot(Lie memory of_) internal override returns (bytes32) {
        return Trees.root(_traceLeaves(of_));
    }

    // ---------------------------------------------------------------- a dispute

    function _initial(bytes32 dispute) internal view returns (State memory s) {
        s.dispute = dispute;
        s.node = settlement.claimOf(game.disputeOf(dispute).claimId).traceRoot;
        s.level = uint32(Trees.depth(PROMPT + OUTPUT - 1));
        _check(s);
    }

    /// Who moves. Constants, as a call would come between a test's expectation and the move.
    function _defender(State memory) internal view virtual returns (address) {
        return provider;
    }

    function _challenger(State memory) internal view virtual returns (address) {
        return challenger;
    }

    /// A claim with this lie, disputed.
    function _disputed(Lie memory lie_) internal returns (State memory s) {
        lie = lie_;
        (, bytes32 claimId) = _claimed(lie_);
        s = _initial(_challenge(claimId));
    }

    function _check(State memory s) internal view {
        assertEq(game.disputeOf(s.dispute).stateHash, keccak256(Wire.pack(s)), "state");
        assertEq(game.disputeOf(s.dispute).phase, s.phase, "phase");
        assertEq(game.disputeOf(s.dispute).move, s.move, "move");
    }

    /// Plays until the dispute is in this phase.
    function _playTo(State memory s, uint8 phase) internal returns (State memory) {
        while (s.phase != phase) {
            assertTrue(s.phase < Phases.STEP, "never reached the phase");
            s = _move(s);
        }
        return s;
    }

    function _move(State memory s) internal returns (State memory next) {
        next = Phases.isDefenders(s.phase) ? _defend(s) : _attack(s);
        _check(next);
    }

    /// A choice, by whoever is pranked. A function of its own, for the stack of its callers.
    function _send(State memory s, uint32 child, bytes32 hash, bytes32[] memory path) internal {
        game.choose(Wire.pack(s), child, hash, path);
    }

    // ---------------------------------------------------------------- defender

    function _defend(State memory s) internal returns (State memory next) {
        next = abi.decode(abi.encode(s), (State));
        next.move += 1;
        if (s.phase == Phases.EXPAND) {
            Expansion memory e = _expansion(s);
            _expand(s, e);
            next.stepRoot = e.stepRoot;
            next.node = e.stepRoot;
            next.level = uint32(Trees.depth(_treeSize(s, Phases.STEPS_CHOOSE)));
            next.index = 0;
            next.phase = Phases.STEPS_CHOOSE;
        } else if (s.phase == Phases.LEAF_REVEAL) {
            bytes memory data = _leafData(s);
            vm.prank(_defender(s));
            game.revealLeaf(Wire.pack(s), data);
            next.phase = Phases.LEAF_CHOOSE;
        } else if (s.phase == Phases.FOLD_REVEAL) {
            int256[] memory accs = _accs(s);
            vm.prank(_defender(s));
            game.revealFold(Wire.pack(s), accs);
            next.reveal = keccak256(abi.encodePacked(accs));
            next.phase = Phases.FOLD_CHOOSE;
        } else {
            bytes32[] memory children = _children(s);
            vm.prank(_defender(s));
            game.reveal(Wire.pack(s), children);
            next.phase = s.phase + 1;
        }
    }

    function _expand(State memory s, Expansion memory e) internal {
        vm.prank(_defender(s));
        game.expand(
            Wire.pack(s),
            e.stepRoot,
            e.collectProof,
            e.sampleProof,
            e.tokens,
            e.tokenProof,
            e.children
        );
    }

    /// Leaves of the defender's tree that the state is in.
    function _tree(State memory s) internal returns (bytes32[] memory) {
        if (s.phase <= Phases.BLOCKS_CHOOSE) return _traceLeaves(lie);
        if (s.phase <= Phases.STEPS_CHOOSE) return _stepLeaves(lie, s.blockIndex);
        return _tensorLeaves(lie, s.blockIndex, s.step);
    }

    function _treeSize(State memory s, uint8 phase) internal pure returns (uint256) {
        if (phase <= Phases.BLOCKS_CHOOSE) return PROMPT + OUTPUT - 1;
        if (phase <= Phases.STEPS_CHOOSE) {
            return s.blockIndex + 1 >= PROMPT ? Toy.OUTPUT_STEPS : Toy.PROMPT_STEPS;
        }
        return s.step == Toy.COLLECT ? Toy.CARRIED : (Toy.byteLengthOf(s.step) + 1023) / 1024;
    }

    function _span(State memory s) internal view returns (uint32) {
        return s.level < game.ARITY_BITS() ? s.level : game.ARITY_BITS();
    }

    function _children(State memory s) internal returns (bytes32[] memory) {
        return Trees.children(_tree(s), s.level, s.index, s.level - _span(s));
    }

    function _expansion(State memory s) internal returns (Expansion memory e) {
        bytes32[] memory steps = _stepLeaves(lie, s.blockIndex);
        e.stepRoot = Trees.root(steps);
        // The block's root is what the trace says, which a Collect lie makes differ from the
        // carried steps' roots.
        e.collectProof = Trees.proof(steps, Toy.COLLECT);
        if (s.blockIndex + 1 >= PROMPT) {
            e.sampleProof = Trees.proof(steps, Toy.SAMPLE);
            e.tokens = Toy.output(lie, PROMPT, OUTPUT);
        }
        uint256 depth = Trees.depth(steps.length);
        uint256 span = depth < game.ARITY_BITS() ? depth : game.ARITY_BITS();
        e.children = Trees.children(steps, depth, 0, depth - span);
    }

    function _leafData(State memory s) internal view returns (bytes memory) {
        return Trees.chunk(Toy.tensor(lie, s.blockIndex, s.step), s.index);
    }

    function _segments(State memory s) internal view returns (uint64) {
        uint64 most = uint64(1) << game.ARITY_BITS();
        return s.hi - s.lo < most ? s.hi - s.lo : most;
    }

    function _boundary(State memory s, uint64 i) internal view returns (uint64) {
        return s.lo + i * (s.hi - s.lo) / _segments(s);
    }

    function _accs(State memory s) internal view virtual returns (int256[] memory accs) {
        uint64 k = _segments(s);
        accs = new int256[](s.pinned ? k - 1 : k);
        for (uint64 i = 0; i < accs.length; ++i) {
            accs[i] = Toy.accumulator(lie, s.blockIndex, s.step, s.element, _boundary(s, i + 1));
        }
    }

    // ---------------------------------------------------------------- challenger

    function _attack(State memory s) internal returns (State memory next) {
        next = abi.decode(abi.encode(s), (State));
        next.move += 1;
        if (s.phase == Phases.LEAF_CHOOSE) {
            bytes memory data = _leafData(s);
            uint32 first = 256 * s.index;
            next.element = _aim(lie.element, first, first + uint32(data.length / 4));
            next.claimed = Toy.value(lie, s.blockIndex, s.step, next.element);
            vm.prank(_challenger(s));
            game.chooseElement(Wire.pack(s), data, next.element);
            next.hi = Toy.unitsOf(s.step);
            next.accLo = Toy.INIT;
            next.phase = next.hi > 1 ? Phases.FOLD_REVEAL : Phases.STEP;
        } else if (s.phase == Phases.FOLD_CHOOSE) {
            _attackFold(s, next);
        } else {
            _attackTree(s, next);
        }
    }

    function _attackTree(State memory s, State memory next) private {
        uint32 span = _span(s);
        uint32 to = s.level - span;
        bytes32[] memory children = _children(s);
        uint32 first = s.index << span;
        uint32 node = _aim(_target(s.phase) >> to, first, first + uint32(children.length));
        next.node = children[node - first];
        next.index = node;
        next.level = to;
        bytes32[] memory path = Trees.path(_tree(s), node, to, s.level);
        if (to == 0 && s.phase == Phases.STEPS_CHOOSE) {
            next.step = node;
            (next.d0, next.d1) = Toy.descriptor(node);
            next.index = 0;
            next.level = uint32(Trees.depth(_treeSize(next, Phases.LEAVES_REVEAL)));
            if (next.level > 0) next.phase = Phases.LEAVES_REVEAL;
            else _leafOpened(next);
            bytes32[] memory proof = Trees.proof(Toy.programLeaves(), node);
            vm.prank(_challenger(s));
            game.chooseStep(Wire.pack(s), node - first, next.node, path, next.d0, next.d1, proof);
            return;
        }
        if (to > 0) {
            next.phase = s.phase - 1;
        } else if (s.phase == Phases.BLOCKS_CHOOSE) {
            next.blockIndex = node;
            next.phase = Phases.EXPAND;
        } else {
            _leafOpened(next);
        }
        vm.prank(_challenger(s));
        _send(s, node - first, next.node, path);
    }

    function _leafOpened(State memory next) private pure {
        if (next.step == Toy.COLLECT) {
            next.element = next.index;
            next.claimed = int256(uint256(next.node));
            next.phase = Phases.STEP;
        } else {
            next.phase = Phases.LEAF_REVEAL;
        }
    }

    function _attackFold(State memory s, State memory next) private {
        int256[] memory accs = _accs(s);
        uint64 k = _segments(s);
        uint64 choice = uint64(accs.length);
        Lie memory none;
        for (uint64 i = 0; i < accs.length; ++i) {
            if (
                accs[i]
                    != Toy.accumulator(none, s.blockIndex, s.step, s.element, _boundary(s, i + 1))
            ) {
                choice = i;
                break;
            }
        }
        choice = _aim(uint32(choice), 0, uint32(s.pinned ? k : k + 1));
        vm.prank(_challenger(s));
        game.chooseFold(Wire.pack(s), accs, uint32(choice));
        next.reveal = 0;
        if (choice == k) {
            next.mode = 2;
            next.accLo = accs[k - 1];
            next.accHi = accs[k - 1];
            next.phase = Phases.STEP;
            return;
        }
        next.lo = _boundary(s, choice);
        next.hi = _boundary(s, choice + 1);
        next.accLo = choice == 0 ? s.accLo : accs[choice - 1];
        next.accHi = s.pinned && choice == k - 1 ? s.accHi : accs[choice];
        next.pinned = true;
        next.mode = next.hi - next.lo == 1 ? 1 : 0;
        next.phase = next.mode == 1 ? Phases.STEP : Phases.FOLD_REVEAL;
    }

    /// Index of the lie in the tree of this phase.
    function _target(uint8 phase) internal view returns (uint32) {
        if (phase <= Phases.BLOCKS_CHOOSE) return lie.blockIndex;
        if (phase <= Phases.STEPS_CHOOSE) {
            return lie.kind == LieKind.Collect ? Toy.COLLECT : lie.step;
        }
        return lie.kind == LieKind.Collect ? lie.element : lie.element / 256;
    }

    /// The target, or anything in [first, end) when playing at random. A random choice may have left
    /// the target's branch before a good one: then the good one is as blind.
    function _aim(uint32 target, uint32 first, uint32 end) private returns (uint32) {
        if (seed == 0) return uint32(bound(target, first, end - 1));
        seed = uint256(keccak256(abi.encode(seed)));
        return uint32(bound(seed, first, end - 1));
    }

    // ---------------------------------------------------------------- step

    function _witness(State memory s) internal returns (bytes memory) {
        if (s.step != Toy.COLLECT) return Toy.WITNESS;
        bytes32[] memory steps = _stepLeaves(lie, s.blockIndex);
        uint32 carried = Toy.carriedStep(s.element);
        return abi.encode(steps[carried], Trees.proof(steps, carried));
    }

    /// Plays from here to the end; says whether the challenger won.
    function _playOut(State memory s) internal returns (bool challengerWon) {
        s = _playTo(s, Phases.STEP);
        vm.prank(stranger);
        game.step(Wire.pack(s), _witness(s));
        assertTrue(game.disputeOf(s.dispute).resolved, "resolved");
        return game.disputeOf(s.dispute).challengerWon;
    }
}
