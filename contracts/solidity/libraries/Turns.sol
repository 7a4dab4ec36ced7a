// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IClaims} from "../interfaces/IClaims.sol";
import {IDisputeGame, State, Subject} from "../interfaces/IDisputeGame.sol";
import {IInferenceSettlement} from "../interfaces/IInferenceSettlement.sol";
import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {Phases} from "./Phases.sol";
import {StateCodec} from "./StateCodec.sol";

/// Whose turn it is and until when: the part of the game that is the same for every move.
///
/// A dispute is five slots: the hash of its state, its clocks, its two sides and the claim; a move
/// reads four and writes two. The state itself travels in calldata, and every move is checked
/// against its hash, so a move answers exactly one state.
abstract contract Turns is IDisputeGame {
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
        bool byStep; // resolved, and not by a timeout
    }

    /// A party, and beside it the sizes that everyone knows: both sides carry them, so that a move
    /// reads one slot. They fit 16 bits, as contexts end at 65,536 tokens and programs at 65,534
    /// steps.
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

    mapping(bytes32 dispute => Dispute) internal disputes;

    /// The settlement creates its game while it is itself created, so it has no code yet.
    constructor(
        address registry_,
        address settlement_,
        uint32 arityBits,
        uint32 clockS,
        uint32 minResponseS
    ) {
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
    function standingOf(bytes32 dispute, uint64 second)
        external
        view
        returns (bool stands, uint32 moves)
    {
        Dispute storage d = disputes[dispute];
        if (d.stateHash == 0) revert NoSuchDispute(dispute);
        Clocks memory c = d.clocks;
        stands = c.resolved ? c.challengerWon : Phases.isDefenders(c.phase) || _inTime(c, second);
        // The defender moves first, and after it both in turn: every second move is the
        // challenger's. The step that convicts has no number of its own.
        moves = c.move / 2;
        if (c.challengerWon && c.byStep) moves += 1;
    }

    // ------------------------------------------------------------------ turns and clocks

    /// What every move has in common: it answers the dispute's state, in a phase that knows it, by
    /// the party whose turn it is, in time, while the claim can still be decided. Charges the
    /// clock. Cheap checks come first.
    function _enter(bytes calldata state, uint256 phases)
        internal
        view
        returns (Turn memory turn, State memory s)
    {
        bytes32 dispute = StateCodec.disputeOf(state);
        Dispute storage d = disputes[dispute];
        bytes32 expected = d.stateHash;
        if (expected == 0) revert NoSuchDispute(dispute);
        Clocks memory c = d.clocks;
        if (c.resolved) revert AlreadyResolved(dispute);
        bytes32 given = StateCodec.hashOf(state);
        if (expected != given) revert WrongState(expected, given);
        s = StateCodec.unpack(state);
        if (!Phases.isIn(s.phase, phases)) revert WrongPhase(s.phase);
        turn.clocks = c;
        turn.side = Phases.isDefenders(s.phase) ? d.defender : d.challenger;
        if (s.phase != Phases.STEP && msg.sender != turn.side.party) {
            revert WrongParty(turn.side.party);
        }
        if (!_inTime(c, block.timestamp)) revert OutOfTime(_deadline(c));
        turn.claimId = d.claimId;
        _checkPending(turn.claimId);
        _charge(c);
    }

    /// Stores the state after a move.
    function _leave(Turn memory turn, State memory s) internal returns (bytes32 stateHash) {
        s.move += 1;
        stateHash = StateCodec.hash(s);
        Clocks memory c = turn.clocks;
        c.move = s.move;
        c.phase = s.phase;
        c.lastMoveAt = uint64(block.timestamp);
        Dispute storage d = disputes[s.dispute];
        d.stateHash = stateHash;
        d.clocks = c;
    }

    function _resolve(bytes32 dispute, Turn memory turn, bool challengerWon, bool byStep) internal {
        Clocks memory c = turn.clocks;
        c.resolved = true;
        c.challengerWon = challengerWon;
        c.byStep = byStep;
        c.phase = Phases.OVER;
        disputes[dispute].clocks = c;
        emit DisputeResolved(dispute, turn.claimId, challengerWon, byStep);
        IInferenceSettlement(settlement).disputeResolved(dispute, challengerWon);
    }

    function _checkPending(bytes32 claimId) private view {
        if (!IClaims(settlement).isPending(claimId)) revert ClaimNotPending(claimId);
    }

    /// Last second in which the party to move is in time. Moves, timeouts and views all ask this
    /// one function.
    function _deadline(Clocks memory c) private view returns (uint256) {
        uint256 remaining =
            Phases.isDefenders(c.phase) ? c.defenderRemaining : c.challengerRemaining;
        return uint256(c.lastMoveAt) + remaining + MIN_RESPONSE_S;
    }

    function _inTime(Clocks memory c, uint256 second) private view returns (bool) {
        return second <= _deadline(c);
    }

    /// Takes what the move used beyond the minimum response from its party's clock. Only after
    /// `_inTime`: no underflow.
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
}
