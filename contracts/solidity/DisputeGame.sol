// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IClaims} from "./interfaces/IClaims.sol";
import {IDisputeGame, State, Subject} from "./interfaces/IDisputeGame.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IStepVerifier, Statement, TensorShape} from "./interfaces/IStepVerifier.sol";
import {GameTree} from "./libraries/GameTree.sol";
import {Phases} from "./libraries/Phases.sol";
import {Tokens} from "./libraries/Tokens.sol";

/// The dispute game of bisection/README.md: two parties, one claim, one arithmetic step at the end.
///
/// A dispute is five slots: the hash of its state, its clocks, its two sides and the claim; a move reads four and writes two. The state
/// itself travels in calldata, and every move is checked against its hash, so a move answers exactly one state. What a reveal shows is
/// not stored either: a choice proves its child.
contract DisputeGame is IDisputeGame {
    uint8 internal constant MODE_WHOLE = 0;
    uint8 internal constant MODE_SEGMENT = 1;
    uint8 internal constant MODE_FINALIZE = 2;
    uint8 internal constant OP_COLLECT = 11;
    uint256 internal constant LEAF_BYTES = 1024;
    uint256 internal constant STATE_BYTES = 20 * 32;

    /// One slot, read and written by every move.
    struct Clocks {
        uint64 lastMoveAt; // s
        uint64 openedAt; // s
        uint32 defenderRemaining; // s
        uint32 challengerRemaining; // s
        uint32 move;
        uint8 phase;
        bool resolved;
        bool challengerWon;
    }

    /// A party, and beside it the sizes that everyone knows: both sides carry them, so that a move reads one slot. They fit 16 bits, as
    /// contexts end at 65,536 tokens and programs at 65,534 steps.
    struct Side {
        address party;
        uint16 promptLength; // tokens
        uint16 outputLength; // tokens
        uint16 promptSteps;
        uint16 outputSteps;
    }

    struct Dispute {
        bytes32 stateHash;
        Clocks clocks;
        Side defender;
        Side challenger;
        bytes32 claimId;
    }

    /// What a move has in hand.
    struct Turn {
        Clocks clocks;
        Side side;
        bytes32 claimId;
    }

    error BadConstant(string what);
    error OnlySettlement();
    error DisputeExists(bytes32 dispute);
    /// A size that the registry and the settlement should have refused.
    error TooLarge(uint256 size);
    error NoSuchDispute(bytes32 dispute);
    error AlreadyResolved(bytes32 dispute);
    /// The claim is final or rejected: nothing moves in its disputes any more.
    error ClaimNotPending(bytes32 claimId);
    /// The move answers another state than the one the dispute is in.
    error WrongState(bytes32 expected, bytes32 given);
    /// The phase knows no such move.
    error WrongPhase(uint8 phase);
    /// It is somebody else's turn.
    error WrongParty(address expected);
    error OutOfTime(uint256 deadline);
    /// Nobody can claim the timeout yet.
    error StillInTime(uint256 deadline);
    error WrongLength(uint256 expected, uint256 given);
    /// The proof, the reveal or the bytes don't hash to what they have to.
    error WrongHash(bytes32 expected, bytes32 given);
    /// The choice points beside what was revealed.
    error NoSuchChoice(uint256 count, uint256 given);
    /// This choice ends at a step, and needs its descriptor: `chooseStep`.
    error DescriptorNeeded();
    /// This choice does not end at a step yet: `choose`.
    error DescriptorNotNeeded();

    /// @inheritdoc IDisputeGame
    uint32 public immutable ARITY_BITS;
    /// @inheritdoc IDisputeGame
    uint32 public immutable CLOCK_S;
    /// @inheritdoc IDisputeGame
    uint32 public immutable MIN_RESPONSE_S;
    /// @inheritdoc IDisputeGame
    address public immutable settlement;
    /// @inheritdoc IDisputeGame
    address public immutable registry;
    /// @inheritdoc IDisputeGame
    address public immutable verifier;

    mapping(bytes32 dispute => Dispute) private disputes;

    /// `settlement_` may be an address that has no code yet: the settlement is deployed after the game, and refuses one that names
    /// another. A game that names a wrong one can never open a dispute.
    constructor(address registry_, address settlement_, uint32 arityBits, uint32 clockS, uint32 minResponseS) {
        if (registry_.code.length == 0) revert BadConstant("registry");
        if (settlement_ == address(0)) revert BadConstant("settlement");
        if (arityBits < 1 || arityBits > 8) revert BadConstant("arityBits");
        if (clockS == 0) revert BadConstant("clockS");
        if (minResponseS == 0) revert BadConstant("minResponseS");
        registry = registry_;
        settlement = settlement_;
        verifier = IModelRegistry(registry_).verifier();
        ARITY_BITS = arityBits;
        CLOCK_S = clockS;
        MIN_RESPONSE_S = minResponseS;
    }

    // ------------------------------------------------------------------ opening

    /// @inheritdoc IDisputeGame
    function open(bytes32 dispute, bytes32 claimId, address challenger, address defender, Subject calldata subject)
        external
    {
        if (msg.sender != settlement) revert OnlySettlement();
        Dispute storage d = disputes[dispute];
        if (d.stateHash != 0) revert DisputeExists(dispute);
        (uint32 promptSteps, uint32 outputSteps) = IModelRegistry(registry).stepsOf(subject.modelId);

        State memory initial;
        initial.dispute = dispute;
        initial.node = subject.traceRoot;
        initial.level = uint32(GameTree.depth(uint256(subject.promptLength) + subject.outputLength - 1));
        initial.phase = initial.level == 0 ? Phases.EXPAND : Phases.BLOCKS_REVEAL;

        d.stateHash = _hash(initial);
        d.clocks = Clocks({
            lastMoveAt: uint64(block.timestamp),
            openedAt: uint64(block.timestamp),
            defenderRemaining: CLOCK_S,
            challengerRemaining: CLOCK_S,
            move: 0,
            phase: initial.phase,
            resolved: false,
            challengerWon: false
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
        emit DisputeOpened(dispute, claimId, challenger, initial);
    }

    // ------------------------------------------------------------------ trees

    /// @inheritdoc IDisputeGame
    function reveal(State calldata s, bytes32[] calldata children) external {
        Turn memory turn = _enter(s, Phases.TREE_REVEALS);
        _checkReveal(_leaves(turn.side, s), s.node, s.level, s.index, children);
        State memory next = s;
        next.phase = s.phase + 1;
        emit Revealed(s.dispute, s.move, _leave(turn, next), children);
    }

    /// @inheritdoc IDisputeGame
    function choose(State calldata s, uint32 child, bytes32 hash, bytes32[] calldata path) external {
        Turn memory turn = _enter(s, Phases.TREE_CHOICES);
        State memory next = _descend(turn.side, s, child, hash, path);
        if (next.level > 0) {
            next.phase = s.phase - 1;
        } else if (s.phase == Phases.BLOCKS_CHOOSE) {
            next.blockIndex = next.index;
            next.phase = Phases.EXPAND;
        } else if (s.phase == Phases.LEAVES_CHOOSE) {
            _openLeaf(next);
        } else {
            revert DescriptorNeeded();
        }
        emit Chosen(s.dispute, s.move, _leave(turn, next), child, hash);
    }

    /// @inheritdoc IDisputeGame
    function chooseStep(
        State calldata s,
        uint32 child,
        bytes32 hash,
        bytes32[] calldata path,
        bytes32 d0,
        bytes32 d1,
        bytes32[] calldata descriptorProof
    ) external {
        Turn memory turn = _enter(s, Phases.STEP_CHOICE);
        State memory next = _descend(turn.side, s, child, hash, path);
        if (next.level > 0) revert DescriptorNotNeeded();
        _checkDescriptor(turn, next.index, d0, d1, descriptorProof);
        next.step = next.index;
        next.d0 = d0;
        next.d1 = d1;
        next.index = 0;
        next.level = uint32(GameTree.depth(IStepVerifier(verifier).shape(d0, d1, s.blockIndex).leaves));
        if (next.level > 0) {
            next.phase = Phases.LEAVES_REVEAL;
        } else {
            _openLeaf(next);
        }
        emit StepChosen(s.dispute, s.move, _leave(turn, next), child, hash, d0, d1);
    }

    /// @inheritdoc IDisputeGame
    function expand(
        State calldata s,
        bytes32 stepRoot,
        bytes32[] calldata collectProof,
        bytes32[] calldata sampleProof,
        bytes calldata tokens,
        bytes32[] calldata tokenProof,
        bytes32[] calldata children
    ) external {
        Turn memory turn = _enter(s, Phases.EXPANSION);
        uint256 steps = _blockSteps(turn.side, s.blockIndex);
        uint256 depth = GameTree.depth(steps);
        // `Collect` is the last step of a prompt block, so its place is the same in both kinds of block.
        _checkPath(s.node, turn.side.promptSteps - 1, collectProof, depth, stepRoot);
        if (_isOutputBlock(turn.side, s.blockIndex)) {
            bytes32 sample = _postedSample(turn, s.blockIndex, tokens, tokenProof);
            _checkPath(sample, turn.side.outputSteps - 1, sampleProof, depth, stepRoot);
        } else {
            if (sampleProof.length != 0) revert WrongLength(0, sampleProof.length);
            if (tokens.length != 0) revert WrongLength(0, tokens.length);
            if (tokenProof.length != 0) revert WrongLength(0, tokenProof.length);
        }
        _checkReveal(steps, stepRoot, depth, 0, children);
        State memory next = s;
        next.stepRoot = stepRoot;
        next.node = stepRoot;
        next.level = uint32(depth);
        next.index = 0;
        next.phase = Phases.STEPS_CHOOSE;
        emit Expanded(s.dispute, s.move, _leave(turn, next), stepRoot, children);
    }

    // ------------------------------------------------------------------ one element

    /// @inheritdoc IDisputeGame
    function revealLeaf(State calldata s, bytes calldata data) external {
        Turn memory turn = _enter(s, Phases.LEAF_REVEAL_ONLY);
        uint256 rest = IStepVerifier(verifier).shape(s.d0, s.d1, s.blockIndex).byteLength - LEAF_BYTES * s.index;
        uint256 expected = rest < LEAF_BYTES ? rest : LEAF_BYTES;
        if (data.length != expected) revert WrongLength(expected, data.length);
        _checkHash(s.node, GameTree.leaf(data));
        State memory next = s;
        next.phase = Phases.LEAF_CHOOSE;
        emit LeafRevealed(s.dispute, s.move, _leave(turn, next), data);
    }

    /// @inheritdoc IDisputeGame
    function chooseElement(State calldata s, bytes calldata data, uint32 element) external {
        Turn memory turn = _enter(s, Phases.LEAF_CHOICE);
        _checkHash(s.node, GameTree.leaf(data));
        State memory next = s;
        next.element = element;
        // Reverts on an element that isn't in this leaf.
        next.claimed = IStepVerifier(verifier).decode(s.d0, s.d1, s.blockIndex, s.index, element, data);
        (next.hi, next.accLo) = IStepVerifier(verifier).fold(s.d0, s.d1, s.blockIndex, element);
        if (next.hi > 1) {
            next.phase = Phases.FOLD_REVEAL;
        } else {
            next.mode = MODE_WHOLE;
            next.phase = Phases.STEP;
        }
        emit ElementChosen(s.dispute, s.move, _leave(turn, next), element, next.claimed);
    }

    /// @inheritdoc IDisputeGame
    function revealFold(State calldata s, int256[] calldata accs) external {
        Turn memory turn = _enter(s, Phases.FOLD_REVEAL_ONLY);
        uint256 expected = _segments(s);
        // The end of a chosen segment stays as it was, so that a second reveal can't move it.
        if (s.pinned) expected -= 1;
        if (accs.length != expected) revert WrongLength(expected, accs.length);
        State memory next = s;
        next.reveal = keccak256(abi.encodePacked(accs));
        next.phase = Phases.FOLD_CHOOSE;
        emit FoldRevealed(s.dispute, s.move, _leave(turn, next), accs);
    }

    /// @inheritdoc IDisputeGame
    function chooseFold(State calldata s, int256[] calldata accs, uint32 choice) external {
        Turn memory turn = _enter(s, Phases.FOLD_CHOICE);
        _checkHash(s.reveal, keccak256(abi.encodePacked(accs)));
        uint256 k = _segments(s);
        uint256 choices = s.pinned ? k : k + 1;
        if (choice >= choices) revert NoSuchChoice(choices, choice);
        State memory next = s;
        next.reveal = 0;
        if (choice == k) {
            next.mode = MODE_FINALIZE;
            next.accLo = accs[k - 1];
            next.accHi = accs[k - 1];
            next.phase = Phases.STEP;
        } else {
            uint256 units = s.hi - s.lo;
            next.lo = s.lo + uint64(choice * units / k);
            next.hi = s.lo + uint64((uint256(choice) + 1) * units / k);
            if (choice > 0) next.accLo = accs[choice - 1];
            if (choice + 1 < k || !s.pinned) next.accHi = accs[choice];
            next.pinned = true;
            if (next.hi - next.lo > 1) {
                next.phase = Phases.FOLD_REVEAL;
            } else {
                next.mode = MODE_SEGMENT;
                next.phase = Phases.STEP;
            }
        }
        emit FoldChosen(s.dispute, s.move, _leave(turn, next), choice);
    }

    // ------------------------------------------------------------------ decisions

    /// @inheritdoc IDisputeGame
    function step(State calldata s, bytes calldata witness) external {
        Turn memory turn = _enter(s, Phases.STEP_ONLY);
        bool defenderIsRight = IStepVerifier(verifier).verify(_statement(turn, s), witness);
        _resolve(s.dispute, turn, !defenderIsRight, true);
    }

    /// @inheritdoc IDisputeGame
    function timeout(bytes32 dispute) external {
        Dispute storage d = disputes[dispute];
        if (d.stateHash == 0) revert NoSuchDispute(dispute);
        Turn memory turn;
        turn.clocks = d.clocks;
        turn.claimId = d.claimId;
        if (turn.clocks.resolved) revert AlreadyResolved(dispute);
        _checkPending(turn.claimId);
        if (_inTime(turn.clocks, block.timestamp)) revert StillInTime(_deadline(turn.clocks));
        _resolve(dispute, turn, Phases.isDefenders(turn.clocks.phase), false);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IDisputeGame
    function disputeOf(bytes32 dispute) external view returns (DisputeView memory v) {
        Dispute storage d = disputes[dispute];
        if (d.stateHash == 0) revert NoSuchDispute(dispute);
        v.claimId = d.claimId;
        v.challenger = d.challenger.party;
        v.defender = d.defender.party;
        v.stateHash = d.stateHash;
        Clocks memory c = d.clocks;
        v.move = c.move;
        v.phase = c.phase;
        v.defenderRemaining = c.defenderRemaining;
        v.challengerRemaining = c.challengerRemaining;
        v.lastMoveAt = c.lastMoveAt;
        v.openedAt = c.openedAt;
        v.resolved = c.resolved;
        v.challengerWon = c.challengerWon;
        if (!c.resolved) {
            v.deadline = uint64(_deadline(c));
            v.defenderToMove = Phases.isDefenders(c.phase);
        }
    }

    /// @inheritdoc IDisputeGame
    function subjectOf(bytes32 dispute) external view returns (Subject memory) {
        Dispute storage d = disputes[dispute];
        if (d.stateHash == 0) revert NoSuchDispute(dispute);
        return IClaims(settlement).subjectOf(d.claimId);
    }

    /// @inheritdoc IDisputeGame
    function challengerStands(bytes32 dispute, uint64 at) external view returns (bool) {
        Dispute storage d = disputes[dispute];
        if (d.stateHash == 0) revert NoSuchDispute(dispute);
        Clocks memory c = d.clocks;
        if (c.resolved) return c.challengerWon;
        return Phases.isDefenders(c.phase) || _inTime(c, at);
    }

    // ------------------------------------------------------------------ turns and clocks

    /// What every move has in common: it answers the dispute's state, in a phase that knows it, by the party whose turn it is, in
    /// time, while the claim can still be decided. Charges the clock. Cheap checks come first.
    function _enter(State calldata s, uint256 phases) private view returns (Turn memory turn) {
        Dispute storage d = disputes[s.dispute];
        bytes32 expected = d.stateHash;
        if (expected == 0) revert NoSuchDispute(s.dispute);
        Clocks memory c = d.clocks;
        if (c.resolved) revert AlreadyResolved(s.dispute);
        bytes32 given = _hashCalldata(s);
        if (expected != given) revert WrongState(expected, given);
        if (!Phases.isIn(s.phase, phases)) revert WrongPhase(s.phase);
        turn.clocks = c;
        turn.side = Phases.isDefenders(s.phase) ? d.defender : d.challenger;
        if (s.phase != Phases.STEP && msg.sender != turn.side.party) revert WrongParty(turn.side.party);
        if (!_inTime(c, block.timestamp)) revert OutOfTime(_deadline(c));
        turn.claimId = d.claimId;
        _checkPending(turn.claimId);
        _charge(c);
    }

    /// Stores the state after a move.
    function _leave(Turn memory turn, State memory next) private returns (bytes32 stateHash) {
        next.move += 1;
        stateHash = _hash(next);
        Clocks memory c = turn.clocks;
        c.move = next.move;
        c.phase = next.phase;
        c.lastMoveAt = uint64(block.timestamp);
        Dispute storage d = disputes[next.dispute];
        d.stateHash = stateHash;
        d.clocks = c;
    }

    function _resolve(bytes32 dispute, Turn memory turn, bool challengerWon, bool byStep) private {
        Clocks memory c = turn.clocks;
        c.resolved = true;
        c.challengerWon = challengerWon;
        c.phase = Phases.OVER;
        disputes[dispute].clocks = c;
        emit DisputeResolved(dispute, turn.claimId, challengerWon, byStep);
        IClaims(settlement).disputeResolved(dispute, challengerWon);
    }

    function _checkPending(bytes32 claimId) private view {
        if (!IClaims(settlement).isPending(claimId)) revert ClaimNotPending(claimId);
    }

    /// Last second in which the party to move is in time. Moves, timeouts and views all ask this one function.
    function _deadline(Clocks memory c) private view returns (uint256) {
        uint256 remaining = Phases.isDefenders(c.phase) ? c.defenderRemaining : c.challengerRemaining;
        return uint256(c.lastMoveAt) + remaining + MIN_RESPONSE_S;
    }

    function _inTime(Clocks memory c, uint256 at) private view returns (bool) {
        return at <= _deadline(c);
    }

    /// Takes what the move used beyond the minimum response from its party's clock. Only after `_inTime`: no underflow.
    function _charge(Clocks memory c) private view {
        uint256 elapsed = block.timestamp - c.lastMoveAt;
        if (elapsed <= MIN_RESPONSE_S) return;
        uint32 used = uint32(elapsed - MIN_RESPONSE_S);
        if (Phases.isDefenders(c.phase)) {
            c.defenderRemaining -= used;
        } else {
            c.challengerRemaining -= used;
        }
    }

    function _uint16(uint256 size) private pure returns (uint16) {
        if (size > type(uint16).max) revert TooLarge(size);
        return uint16(size);
    }

    // ------------------------------------------------------------------ trees, inside

    /// Leaves of the tree that the state is in.
    function _leaves(Side memory side, State calldata s) private view returns (uint256) {
        if (s.phase <= Phases.BLOCKS_CHOOSE) return uint256(side.promptLength) + side.outputLength - 1;
        if (s.phase <= Phases.STEPS_CHOOSE) return _blockSteps(side, s.blockIndex);
        return IStepVerifier(verifier).shape(s.d0, s.d1, s.blockIndex).leaves;
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
    function _childCount(uint256 leaves, uint256 level, uint256 index) private view returns (uint256) {
        uint256 span = _span(level);
        uint256 real = GameTree.realNodes(leaves, level - span);
        uint256 first = index << span;
        uint256 end = (index + 1) << span;
        return (end < real ? end : real) - first;
    }

    /// A reveal is exact: every real child, no other, and together they are the node.
    function _checkReveal(uint256 leaves, bytes32 node, uint256 level, uint256 index, bytes32[] calldata children)
        private
        view
    {
        uint256 expected = _childCount(leaves, level, index);
        if (children.length != expected) revert WrongLength(expected, children.length);
        uint256 span = _span(level);
        _checkHash(node, GameTree.fold(children, level - span, span));
    }

    /// The state in the chosen child of a revealed node; its phase is the caller's to set.
    function _descend(Side memory side, State calldata s, uint32 child, bytes32 hash, bytes32[] calldata path)
        private
        view
        returns (State memory next)
    {
        uint256 choices = _childCount(_leaves(side, s), s.level, s.index);
        if (child >= choices) revert NoSuchChoice(choices, child);
        uint256 span = _span(s.level);
        _checkPath(hash, child, path, span, s.node);
        next = s;
        next.node = hash;
        next.index = uint32((uint256(s.index) << span) + child);
        next.level = uint32(s.level - span);
    }

    /// The state at a leaf of a step's tensor. `Collect`'s leaves are roots: they are compared whole, and nothing lies below them.
    function _openLeaf(State memory next) private pure {
        if (uint8(next.d0[0]) == OP_COLLECT) {
            next.element = next.index;
            next.claimed = int256(uint256(next.node));
            next.mode = MODE_WHOLE;
            next.phase = Phases.STEP;
        } else {
            next.phase = Phases.LEAF_REVEAL;
        }
    }

    function _checkDescriptor(Turn memory turn, uint256 index, bytes32 d0, bytes32 d1, bytes32[] calldata proof)
        private
        view
    {
        bytes32 programRoot = IModelRegistry(registry).programRootOf(IClaims(settlement).modelOf(turn.claimId));
        uint256 depth = GameTree.depth(turn.side.outputSteps);
        _checkPath(GameTree.leafOf(d0, d1), index, proof, depth, programRoot);
    }

    /// The root that `Sample` must have in an output block: the posted token's, shown by its leaf in the output's tree.
    function _postedSample(Turn memory turn, uint256 blockIndex, bytes calldata tokens, bytes32[] calldata tokenProof)
        private
        view
        returns (bytes32)
    {
        uint256 length = turn.side.outputLength;
        uint256 token = blockIndex + 1 - turn.side.promptLength;
        uint256 leaf = token / Tokens.LEAF_TOKENS;
        uint256 from = leaf * Tokens.LEAF_TOKENS;
        uint256 rest = length - from;
        uint256 expected = 4 * (rest < Tokens.LEAF_TOKENS ? rest : Tokens.LEAF_TOKENS);
        if (tokens.length != expected) revert WrongLength(expected, tokens.length);
        uint256 depth = GameTree.depth((length + Tokens.LEAF_TOKENS - 1) / Tokens.LEAF_TOKENS);
        _checkPath(GameTree.leaf(tokens), leaf, tokenProof, depth, IClaims(settlement).outputRootOf(turn.claimId));
        uint256 at = 4 * (token - from);
        return GameTree.leaf(tokens[at:at + 4]);
    }

    function _checkPath(bytes32 hash, uint256 index, bytes32[] calldata path, uint256 depth, bytes32 root)
        private
        pure
    {
        if (path.length != depth) revert WrongLength(depth, path.length);
        _checkHash(root, GameTree.climb(hash, index, path));
    }

    function _checkHash(bytes32 expected, bytes32 given) private pure {
        if (expected != given) revert WrongHash(expected, given);
    }

    // ------------------------------------------------------------------ folds and steps, inside

    /// Segments of the state's fold. At least two: a fold of one unit never gets here.
    function _segments(State calldata s) private view returns (uint256) {
        uint256 units = s.hi - s.lo;
        uint256 most = uint256(1) << ARITY_BITS;
        return units < most ? units : most;
    }

    function _statement(Turn memory turn, State calldata s) private view returns (Statement memory x) {
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
    }

    /// keccak256(abi.encode(state)). A dirty word can't pass: it would have to hash to what clean ones hashed to.
    function _hashCalldata(State calldata s) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let p := mload(0x40)
            calldatacopy(p, s, STATE_BYTES)
            hash := keccak256(p, STATE_BYTES)
        }
    }

    /// The same for a state in memory, where every field is one word too.
    function _hash(State memory s) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            hash := keccak256(s, STATE_BYTES)
        }
    }
}
