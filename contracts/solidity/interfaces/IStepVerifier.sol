// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// What both parties of a dispute agree on, and the one step that they don't (kernels/README.md, bisection/README.md).
struct Statement {
    bytes32 programRoot;
    uint32 programSteps; // leaves of the program's tree = steps of an output block
    bytes32 weightsRoot;
    uint32 weightLeaves;
    uint32 carried; // tensors under a block root
    bytes32 traceRoot;
    uint32 blocks; // leaves of the trace tree
    bytes32 promptRoot;
    uint32 promptLength; // tokens
    bytes32 outputRoot;
    uint32 outputLength; // tokens
    uint32 blockIndex; // t
    bytes32 stepRoot;
    uint32 blockSteps; // leaves of this block's step tree
    uint32 step;
    bytes32 d0; // descriptor
    bytes32 d1;
    uint8 mode; // 0 WHOLE, 1 SEGMENT, 2 FINALIZE
    uint32 element;
    uint64 unit; // SEGMENT: which
    int256 accIn; // SEGMENT: before the unit; FINALIZE: the last accumulator
    int256 accOut; // SEGMENT: what the defender says comes after the unit
    int256 claimed; // WHOLE, FINALIZE: what the defender says the element is
    uint64 seed; // of the noise that Sample adds
    uint32 temperature; // in units of 2^-16; 0: greedy
}

/// One opened Merkle leaf: its bytes, and the siblings from the bottom up.
struct Opening {
    bytes data;
    bytes32[] proof;
}

/// Shape of a step's output tensor in block t, and of one element's fold.
struct TensorShape {
    uint32 byteLength; // 0 for Collect
    uint32 leaves; // of the tensor's tree
    uint32 elements;
}

interface IStepVerifier {
    /// The numerics that this contract computes; part of every modelId.
    function NUMERICS_VERSION() external view returns (uint32);
    /// True iff the defender's value is what the step computes. `witness` is abi.encode(Opening[]). Reverts on a witness that proves
    /// nothing (wrong count, length, path).
    function verify(Statement calldata statement, bytes calldata witness)
        external
        view
        returns (bool);
    function shape(bytes32 d0, bytes32 d1, uint32 blockIndex)
        external
        pure
        returns (TensorShape memory);
    /// Units of the fold of an element, and the accumulator before the first one.
    function fold(bytes32 d0, bytes32 d1, uint32 blockIndex, uint32 element)
        external
        pure
        returns (uint64 units, int256 init);
    /// The element's value, read from its leaf's bytes. Reverts if the element is not in this leaf.
    function decode(
        bytes32 d0,
        bytes32 d1,
        uint32 blockIndex,
        uint32 leaf,
        uint32 element,
        bytes calldata data
    ) external pure returns (int256);
}
