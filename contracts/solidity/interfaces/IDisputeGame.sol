// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// See bisection/README.md. Moves carry it packed (libraries/StateCodec.sol); stateHash is the hash of
/// those bytes.
struct State {
    bytes32 dispute;
    uint32 move;
    uint8 phase;
    bytes32 node;
    uint32 level;
    uint32 index;
    uint32 blockIndex;
    bytes32 stepRoot;
    uint32 step;
    bytes32 d0;
    bytes32 d1;
    uint32 element;
    int256 claimed;
    uint64 lo;
    uint64 hi;
    int256 accLo;
    int256 accHi;
    bool pinned;
    bytes32 reveal;
    uint8 mode;
}

/// What a deployment plays by. Fixed for ever.
struct GameParams {
    uint32 arityBits; // levels of a tree that one reveal opens: 1 to 8
    uint32 clockS; // of each party of each dispute
    uint32 minResponseS; // that each move has at least, and can't save
}

/// The claim as the game needs it; fixed when the dispute opens.
struct Subject {
    bytes32 modelId;
    bytes32 traceRoot;
    bytes32 promptRoot;
    uint32 promptLength;
    bytes32 outputRoot;
    uint32 outputLength;
    uint64 seed; // of the request
    uint32 temperature; // of the request, in units of 2^-16; 0: greedy
}

interface IDisputeGame {
    // One event per move, with what the other party needs to follow. `move` is the number of the move made; `state` the hash after it.
    event DisputeOpened(
        bytes32 indexed dispute, bytes32 indexed claimId, address challenger, bytes32 state
    );
    event Revealed(bytes32 indexed dispute, uint32 move, bytes32 state, bytes32[] children);
    event Chosen(bytes32 indexed dispute, uint32 move, bytes32 state, uint32 child, bytes32 hash);
    event StepChosen(
        bytes32 indexed dispute,
        uint32 move,
        bytes32 state,
        uint32 child,
        bytes32 hash,
        bytes32 d0,
        bytes32 d1
    );
    event Expanded(
        bytes32 indexed dispute, uint32 move, bytes32 state, bytes32 stepRoot, bytes32[] children
    );
    event LeafRevealed(bytes32 indexed dispute, uint32 move, bytes32 state, bytes data);
    event ElementChosen(
        bytes32 indexed dispute, uint32 move, bytes32 state, uint32 element, int256 claimed
    );
    event FoldRevealed(bytes32 indexed dispute, uint32 move, bytes32 state, int256[] accs);
    event FoldChosen(bytes32 indexed dispute, uint32 move, bytes32 state, uint32 choice);
    /// byStep: decided by the step, not by a timeout.
    event DisputeResolved(
        bytes32 indexed dispute, bytes32 indexed claimId, bool challengerWon, bool byStep
    );

    /// Only the settlement, which makes the id: a hash of chain, settlement, claim, challenger and payee.
    function open(
        bytes32 dispute,
        bytes32 claimId,
        address challenger,
        address defender,
        Subject calldata subject
    ) external;
    function reveal(bytes calldata state, bytes32[] calldata children) external;
    function expand(
        bytes calldata state,
        bytes32 stepRoot,
        bytes32[] calldata collectProof,
        bytes32[] calldata sampleProof,
        bytes calldata tokens,
        bytes32[] calldata tokenProof,
        bytes32[] calldata children
    ) external;
    function choose(bytes calldata state, uint32 child, bytes32 hash, bytes32[] calldata path)
        external;
    function chooseStep(
        bytes calldata state,
        uint32 child,
        bytes32 hash,
        bytes32[] calldata path,
        bytes32 d0,
        bytes32 d1,
        bytes32[] calldata descriptorProof
    ) external;
    function revealLeaf(bytes calldata state, bytes calldata data) external;
    function chooseElement(bytes calldata state, bytes calldata data, uint32 element) external;
    function revealFold(bytes calldata state, int256[] calldata accs) external;
    function chooseFold(bytes calldata state, int256[] calldata accs, uint32 choice) external;
    /// Anyone, in phase Step, while the defender is in time.
    function step(bytes calldata state, bytes calldata witness) external;
    /// Anyone, once the party to move is out of time.
    function timeout(bytes32 dispute) external;

    struct DisputeView {
        bytes32 claimId;
        address challenger;
        address defender;
        bytes32 stateHash;
        uint32 move;
        uint8 phase; // 12: over
        uint32 defenderRemaining; // s
        uint32 challengerRemaining; // s
        uint64 lastMoveAt; // block.timestamp
        uint64 openedAt;
        uint64 deadline; // last second in which the party to move is in time
        bool defenderToMove;
        bool resolved;
        bool challengerWon;
    }

    function disputeOf(bytes32 dispute) external view returns (DisputeView memory);
    function subjectOf(bytes32 dispute) external view returns (Subject memory);
    /// `stands` iff the challenger has won, or nothing is decided and in that second it was not out of time. `moves`: how many the challenger
    /// has made, the deciding step included.
    function standingOf(bytes32 dispute, uint64 second)
        external
        view
        returns (bool stands, uint32 moves);
    function settlement() external view returns (address);
    function registry() external view returns (address);
    function verifier() external view returns (address);
    function ARITY_BITS() external view returns (uint32);
    function CLOCK_S() external view returns (uint32);
    function MIN_RESPONSE_S() external view returns (uint32);
}
