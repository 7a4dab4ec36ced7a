// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IClaims} from "./interfaces/IClaims.sol";
import {IDisputeGame, State, Subject} from "./interfaces/IDisputeGame.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IStepVerifier, Statement, TensorShape} from "./interfaces/IStepVerifier.sol";
import {GameTree} from "./libraries/GameTree.sol";
import {Merkle} from "./libraries/Merkle.sol";
import {Phases} from "./libraries/Phases.sol";
import {StateCodec} from "./libraries/StateCodec.sol";
import {Tokens} from "./libraries/Tokens.sol";
import {Turns} from "./libraries/Turns.sol";

/// The dispute game of bisection/README.md: two parties, one claim, one arithmetic step at the end.
///
/// `Turns` says who may move when; here is what a move may do. What a reveal shows is not stored: a
/// choice proves its child.
contract DisputeGame is Turns {
    uint8 internal constant MODE_WHOLE = 0;
    uint8 internal constant MODE_SEGMENT = 1;
    uint8 internal constant MODE_FINALIZE = 2;
    uint8 internal constant OP_COLLECT = 11;
    uint256 internal constant LEAF_BYTES = 1024;

    error OnlySettlement();
    error DisputeExists(bytes32 dispute);
    /// A size that the registry and the settlement should have refused.
    error TooLarge(uint256 size);
    error WrongLength(uint256 expected, uint256 given);
    /// The proof, the reveal or the bytes don't hash to what they have to.
    error WrongHash(bytes32 expected, bytes32 given);
    /// The choice points beside what was revealed.
    error NoSuchChoice(uint256 count, uint256 given);
    /// This choice ends at a step, and needs its descriptor: `chooseStep`.
    error DescriptorNeeded();
    /// This choice does not end at a step yet: `choose`.
    error DescriptorNotNeeded();

    constructor(
        address registry_,
        address settlement_,
        uint32 arityBits,
        uint32 clockS,
        uint32 minResponseS
    ) Turns(registry_, settlement_, arityBits, clockS, minResponseS) {}

    // ------------------------------------------------------------------ opening

    /// @inheritdoc IDisputeGame
    function open(
        bytes32 dispute,
        bytes32 claimId,
        address challenger,
        address defender,
        Subject calldata subject
    ) external {
        if (msg.sender != settlement) revert OnlySettlement();
        Dispute storage d = disputes[dispute];
        if (d.stateHash != 0) revert DisputeExists(dispute);
        (uint32 promptSteps, uint32 outputSteps) = IModelRegistry(registry).stepsOf(subject.modelId);

        State memory initial;
        initial.dispute = dispute;
        initial.node = subject.traceRoot;
        initial.level =
            uint32(Merkle.depth(uint256(subject.promptLength) + subject.outputLength - 1));
        initial.phase = initial.level == 0 ? Phases.EXPAND : Phases.BLOCKS_REVEAL;

        d.stateHash = StateCodec.hash(initial);
        d.clocks = Clocks({
            lastMoveAt: uint64(block.timestamp),
            openedAt: uint64(block.timestamp),
            defenderRemaining: CLOCK_S,
            challengerRemaining: CLOCK_S,
            move: 0,
            phase: initial.phase,
            resolved: false,
            challengerWon: false,
            byStep: false
        });
        Side memory side = Side({
            party: defender,
            promptLength: _uint16(subject.promptLength),
            outputLength: _uint16(subject.outputLength),
            promptSteps: _uint16(promptSteps),
            outputSteps: _uint16(outputSteps)
        });
        d.defender = side;
        side.party = challenger;
        d.challenger = side;
        d.claimId = claimId;
        emit DisputeOpened(dispute, claimId, challenger, d.stateHash);
    }

    function _uint16(uint256 size) private pure returns (uint16) {
        if (size > type(uint16).max) revert TooLarge(size);
        return uint16(size);
    }

    // ------------------------------------------------------------------ trees

    /// @inheritdoc IDisputeGame
    function reveal(bytes calldata state, bytes32[] calldata children) external {
        (Turn memory turn, State memory s) = _enter(state, Phases.TREE_REVEALS);
        _checkReveal(_leaves(turn.side, s), s.node, s.level, s.index, children);
        s.phase = s.phase + 1;
        emit Revealed(s.dispute, s.move, _leave(turn, s), children);
    }

    /// @inheritdoc IDisputeGame
    function choose(bytes calldata state, uint32 child, bytes32 hash, bytes32[] calldata path)
        external
    {
        (Turn memory turn, State memory s) = _enter(state, Phases.TREE_CHOICES);
        _descend(turn.side, s, child, hash, path);
        if (s.level > 0) {
            s.phase = s.phase - 1;
        } else if (s.phase == Phases.BLOCKS_CHOOSE) {
            s.blockIndex = s.index;
            s.phase = Phases.EXPAND;
        } else if (s.phase == Phases.LEAVES_CHOOSE) {
            _openLeaf(s);
        } else {
            revert DescriptorNeeded();
        }
        emit Chosen(s.dispute, s.move, _leave(turn, s), child, hash);
    }

    /// @inheritdoc IDisputeGame
    function chooseStep(
        bytes calldata state,
        uint32 child,
        bytes32 hash,
        bytes32[] calldata path,
        bytes32 d0,
        bytes32 d1,
        bytes32[] calldata descriptorProof
    ) external {
        (Turn memory turn, State memory s) = _enter(state, Phases.STEP_CHOICE);
        _descend(turn.side, s, child, hash, path);
        if (s.level > 0) revert DescriptorNotNeeded();
        _checkDescriptor(turn, s.index, d0, d1, descriptorProof);
        s.step = s.index;
        s.d0 = d0;
        s.d1 = d1;
        s.index = 0;
        s.level = uint32(Merkle.depth(_shape(s).leaves));
        if (s.level > 0) {
            s.phase = Phases.LEAVES_REVEAL;
        } else {
            _openLeaf(s);
        }
        emit StepChosen(s.dispute, s.move, _leave(turn, s), child, hash, d0, d1);
    }

    /// @inheritdoc IDisputeGame
    function expand(
        bytes calldata state,
        bytes32 stepRoot,
        bytes32[] calldata collectProof,
        bytes32[] calldata sampleProof,
        bytes calldata tokens,
        bytes32[] calldata tokenProof,
        bytes32[] calldata children
    ) external {
        (Turn memory turn, State memory s) = _enter(state, Phases.EXPANSION);
        uint256 steps = _blockSteps(turn.side, s.blockIndex);
        uint256 depth = Merkle.depth(steps);
        // `Collect` is the last step of a prompt block, so its place is the same in both kinds of
        // block.
        _checkPath(s.node, turn.side.promptSteps - 1, collectProof, depth, stepRoot);
        if (_isOutputBlock(turn.side, s.blockIndex)) {
            bytes32 sample = _postedSample(turn, s.blockIndex, tokens, tokenProof);
            _checkPath(sample, turn.side.outputSteps - 1, sampleProof, depth, stepRoot);
        } else {
            // Three lengths in one check, for the size of this contract: not 0 if any of them isn't.
            uint256 given = sampleProof.length | tokens.length | tokenProof.length;
            if (given != 0) revert WrongLength(0, given);
        }
        _checkReveal(steps, stepRoot, depth, 0, children);
        s.stepRoot = stepRoot;
        s.node = stepRoot;
        s.level = uint32(depth);
        s.index = 0;
        s.phase = Phases.STEPS_CHOOSE;
        emit Expanded(s.dispute, s.move, _leave(turn, s), stepRoot, children);
    }

    // ------------------------------------------------------------------ one element

    /// @inheritdoc IDisputeGame
    function revealLeaf(bytes calldata state, bytes calldata data) external {
        (Turn memory turn, State memory s) = _enter(state, Phases.LEAF_REVEAL_ONLY);
        uint256 rest = _shape(s).byteLength - LEAF_BYTES * s.index;
        uint256 expected = rest < LEAF_BYTES ? rest : LEAF_BYTES;
        if (data.length != expected) revert WrongLength(expected, data.length);
        _checkHash(s.node, GameTree.leaf(data));
        s.phase = Phases.LEAF_CHOOSE;
        emit LeafRevealed(s.dispute, s.move, _leave(turn, s), data);
    }

    /// @inheritdoc IDisputeGame
    function chooseElement(bytes calldata state, bytes calldata data, uint32 element) external {
        (Turn memory turn, State memory s) = _enter(state, Phases.LEAF_CHOICE);
        _checkHash(s.node, GameTree.leaf(data));
        s.element = element;
        // Reverts on an element that isn't in this leaf.
        s.claimed = IStepVerifier(verifier).decode(s.d0, s.d1, s.blockIndex, s.index, element, data);
        (s.hi, s.accLo) = IStepVerifier(verifier).fold(s.d0, s.d1, s.blockIndex, element);
        if (s.hi > 1) {
            s.phase = Phases.FOLD_REVEAL;
        } else {
            s.mode = MODE_WHOLE;
            s.phase = Phases.STEP;
        }
        emit ElementChosen(s.dispute, s.move, _leave(turn, s), element, s.claimed);
    }

    /// @inheritdoc IDisputeGame
    function revealFold(bytes calldata state, int256[] calldata accs) external {
        (Turn memory turn, State memory s) = _enter(state, Phases.FOLD_REVEAL_ONLY);
        uint256 expected = _segments(s);
        // The end of a chosen segment stays as it was, so that a second reveal can't move it.
        if (s.pinned) expected -= 1;
        if (accs.length != expected) revert WrongLength(expected, accs.length);
        s.reveal = keccak256(abi.encodePacked(accs));
        s.phase = Phases.FOLD_CHOOSE;
        emit FoldRevealed(s.dispute, s.move, _leave(turn, s), accs);
    }

    /// @inheritdoc IDisputeGame
    function chooseFold(bytes calldata state, int256[] calldata accs, uint32 choice) external {
        (Turn memory turn, State memory s) = _enter(state, Phases.FOLD_CHOICE);
        _checkHash(s.reveal, keccak256(abi.encodePacked(accs)));
        uint256 k = _segments(s);
        uint256 choices = s.pinned ? k : k + 1;
        if (choice >= choices) revert NoSuchChoice(choices, choice);
        s.reveal = 0;
        if (choice == k) {
            s.mode = MODE_FINALIZE;
            s.accLo = accs[k - 1];
            s.accHi = accs[k - 1];
            s.phase = Phases.STEP;
        } else {
            (uint64 lo, uint256 units) = (s.lo, s.hi - s.lo);
            s.lo = lo + uint64(choice * units / k);
            s.hi = lo + uint64((uint256(choice) + 1) * units / k);
            if (choice > 0) s.accLo = accs[choice - 1];
            if (choice + 1 < k || !s.pinned) s.accHi = accs[choice];
            s.pinned = true;
            if (s.hi - s.lo > 1) {
                s.phase = Phases.FOLD_REVEAL;
            } else {
                s.mode = MODE_SEGMENT;
                s.phase = Phases.STEP;
            }
        }
        emit FoldChosen(s.dispute, s.move, _leave(turn, s), choice);
    }

    // ------------------------------------------------------------------ decisions

    /// @inheritdoc IDisputeGame
    function step(bytes calldata state, bytes calldata witness) external {
        (Turn memory turn, State memory s) = _enter(state, Phases.STEP_ONLY);
        bool defenderIsRight = IStepVerifier(verifier).verify(_statement(turn, s), witness);
        _resolve(s.dispute, turn, !defenderIsRight, true);
    }

    // ------------------------------------------------------------------ trees, inside

    /// Leaves of the tree that the state is in.
    function _leaves(Side memory side, State memory s) private view returns (uint256) {
        if (s.phase <= Phases.BLOCKS_CHOOSE) {
            return uint256(side.promptLength) + side.outputLength - 1;
        }
        if (s.phase <= Phases.STEPS_CHOOSE) return _blockSteps(side, s.blockIndex);
        return _shape(s).leaves;
    }

    /// Of the step's tensor.
    function _shape(State memory s) private view returns (TensorShape memory) {
        return IStepVerifier(verifier).shape(s.d0, s.d1, s.blockIndex);
    }

    function _isOutputBlock(Side memory side, uint256 blockIndex) private pure returns (bool) {
        return blockIndex + 1 >= side.promptLength;
    }

    function _blockSteps(Side memory side, uint256 blockIndex) private pure returns (uint256) {
        return _isOutputBlock(side, blockIndex) ? side.outputSteps : side.promptSteps;
    }

    /// Levels that one reveal opens.
    function _span(uint256 level) private view returns (uint256) {
        return level < ARITY_BITS ? level : ARITY_BITS;
    }

    /// Real nodes that a reveal of (`level`, `index`) shows.
    function _childCount(uint256 leaves, uint256 level, uint256 index)
        private
        view
        returns (uint256)
    {
        uint256 span = _span(level);
        uint256 real = GameTree.realNodes(leaves, level - span);
        uint256 first = index << span;
        uint256 end = (index + 1) << span;
        return (end < real ? end : real) - first;
    }

    /// A reveal is exact: every real child, no other, and together they are the node.
    function _checkReveal(
        uint256 leaves,
        bytes32 node,
        uint256 level,
        uint256 index,
        bytes32[] calldata children
    ) private view {
        uint256 expected = _childCount(leaves, level, index);
        if (children.length != expected) revert WrongLength(expected, children.length);
        uint256 span = _span(level);
        _checkHash(node, GameTree.fold(children, level - span, span));
    }

    /// The state in the chosen child of a revealed node; its phase is the caller's to set.
    function _descend(
        Side memory side,
        State memory s,
        uint32 child,
        bytes32 hash,
        bytes32[] calldata path
    ) private view {
        uint256 choices = _childCount(_leaves(side, s), s.level, s.index);
        if (child >= choices) revert NoSuchChoice(choices, child);
        uint256 span = _span(s.level);
        _checkPath(hash, child, path, span, s.node);
        s.node = hash;
        s.index = uint32((uint256(s.index) << span) + child);
        s.level = uint32(s.level - span);
    }

    /// The state at a leaf of a step's tensor. `Collect`'s leaves are roots: they are compared
    /// whole, and nothing lies below them.
    function _openLeaf(State memory s) private pure {
        if (uint8(s.d0[0]) == OP_COLLECT) {
            s.element = s.index;
            s.claimed = int256(uint256(s.node));
            s.mode = MODE_WHOLE;
            s.phase = Phases.STEP;
        } else {
            s.phase = Phases.LEAF_REVEAL;
        }
    }

    function _checkDescriptor(
        Turn memory turn,
        uint256 index,
        bytes32 d0,
        bytes32 d1,
        bytes32[] calldata proof
    ) private view {
        bytes32 programRoot = IModelRegistry(registry)
            .programRootOf(IClaims(settlement).modelOf(turn.claimId));
        uint256 depth = Merkle.depth(turn.side.outputSteps);
        _checkPath(GameTree.leafOf(d0, d1), index, proof, depth, programRoot);
    }

    /// The root that `Sample` must have in an output block: the posted token's, shown by its leaf
    /// in the output's tree.
    function _postedSample(
        Turn memory turn,
        uint256 blockIndex,
        bytes calldata tokens,
        bytes32[] calldata tokenProof
    ) private view returns (bytes32) {
        uint256 length = turn.side.outputLength;
        uint256 token = blockIndex + 1 - turn.side.promptLength;
        uint256 leaf = token / Tokens.LEAF_TOKENS;
        uint256 from = leaf * Tokens.LEAF_TOKENS;
        uint256 rest = length - from;
        uint256 expected = 4 * (rest < Tokens.LEAF_TOKENS ? rest : Tokens.LEAF_TOKENS);
        if (tokens.length != expected) revert WrongLength(expected, tokens.length);
        uint256 depth = Merkle.depth((length + Tokens.LEAF_TOKENS - 1) / Tokens.LEAF_TOKENS);
        _checkPath(
            GameTree.leaf(tokens),
            leaf,
            tokenProof,
            depth,
            IClaims(settlement).outputRootOf(turn.claimId)
        );
        uint256 offset = 4 * (token - from);
        return GameTree.leaf(tokens[offset:offset + 4]);
    }

    function _checkPath(
        bytes32 hash,
        uint256 index,
        bytes32[] calldata path,
        uint256 depth,
        bytes32 root
    ) private pure {
        if (path.length != depth) revert WrongLength(depth, path.length);
        _checkHash(root, GameTree.climb(hash, index, path));
    }

    function _checkHash(bytes32 expected, bytes32 given) private pure {
        if (expected != given) revert WrongHash(expected, given);
    }

    // ------------------------------------------------------------------ folds and steps, inside

    /// Segments of the state's fold. At least two: a fold of one unit never gets here.
    function _segments(State memory s) private view returns (uint256) {
        uint256 units = s.hi - s.lo;
        uint256 most = uint256(1) << ARITY_BITS;
        return units < most ? units : most;
    }

    function _statement(Turn memory turn, State memory s)
        private
        view
        returns (Statement memory x)
    {
        Subject memory subject = IClaims(settlement).subjectOf(turn.claimId);
        (x.programRoot, x.weightsRoot, x.weightLeaves, x.carried) =
            IModelRegistry(registry).commitmentsOf(subject.modelId);
        x.programSteps = turn.side.outputSteps;
        x.traceRoot = subject.traceRoot;
        x.blocks = subject.promptLength + subject.outputLength - 1;
        x.promptRoot = subject.promptRoot;
        x.promptLength = subject.promptLength;
        x.outputRoot = subject.outputRoot;
        x.outputLength = subject.outputLength;
        x.blockIndex = s.blockIndex;
        x.stepRoot = s.stepRoot;
        x.blockSteps = uint32(_blockSteps(turn.side, s.blockIndex));
        x.step = s.step;
        x.d0 = s.d0;
        x.d1 = s.d1;
        x.mode = s.mode;
        x.element = s.element;
        x.unit = s.lo;
        x.accIn = s.accLo;
        x.accOut = s.accHi;
        x.claimed = s.claimed;
        x.seed = subject.seed;
        x.temperature = subject.temperature;
    }
}
