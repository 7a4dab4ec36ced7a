// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Model} from "../../interfaces/IModelRegistry.sol";
import {IStepVerifier, Statement, TensorShape} from "../../interfaces/IStepVerifier.sol";
import {
    Word1,
    EMBED,
    RMS_NORM,
    QUANTIZE,
    LINEAR,
    COLLECT as COLLECT_OP
} from "../../libraries/Descriptor.sol";
import {Weights} from "../../libraries/Weights.sol";
import {Descriptors, Step} from "./Descriptors.sol";
import {Trees} from "./Trees.sol";

/// Where a trace is wrong.
struct Lie {
    LieKind kind;
    uint32 blockIndex;
    uint32 step;
    uint32 element;
    /// Value: accumulators are wrong from the end of this unit on; not below the number of units:
    /// the finalizer is wrong.
    uint64 unit;
}

enum LieKind {
    None,
    Value, // one element of one step
    Collect // one carried root of one block is not that of the step
}

/// A model of seven steps whose values are hashes of their places, so that a test knows them
/// without computing a model. The game's part of it is real: trees, folds, carried tensors, collect
/// and sample. Its program is one that the registry accepts; only the toy's verifier gives the
/// steps other sizes than their descriptors do.
///
/// | step | op | bytes | leaves | units | |
/// |---|---|---|---|---|---|
/// | 0 | Embed | 40 | 1 | 1 | |
/// | 1 | Quantize | 2100 | 3 | 1 | carried, second |
/// | 2 | Quantize | 1024 | 1 | 2 | carried, first |
/// | 3 | Collect | – | 2 | – | a prompt block ends here |
/// | 4 | RmsNorm | 5000 | 5 | 37 | |
/// | 5 | Linear | 8 | 1 | 3 | |
/// | 6 | Sample | 4 | 1 | 5 | |
library Toy {
    uint32 internal constant VERSION = 7;
    uint32 internal constant CARRIED = 2;
    uint32 internal constant CONTEXT = 64;
    uint32 internal constant VOCABULARY = 100;
    uint32 internal constant COLLECT = 3;
    uint32 internal constant SAMPLE = 6;
    uint32 internal constant PROMPT_STEPS = 4;
    uint32 internal constant OUTPUT_STEPS = 7;
    uint32 internal constant WEIGHT_LEAVES = 201;
    int256 internal constant INIT = 7;
    bytes internal constant WITNESS = "toy";

    // ---------------------------------------------------------------- program

    function byteLengthOf(uint32 step) internal pure returns (uint32) {
        return [uint32(40), 2100, 1024, 0, 5000, 8, 4][step];
    }

    function unitsOf(uint32 step) internal pure returns (uint64) {
        return [uint64(1), 1, 2, 1, 37, 3, 5][step];
    }

    /// The step whose tensor is carried as number `index`.
    function carriedStep(uint32 index) internal pure returns (uint32) {
        return [uint32(2), 1][index];
    }

    function steps() internal pure returns (Step[] memory p) {
        p = new Step[](OUTPUT_STEPS);
        p[0] = Descriptors.embed(Weights.Q8_0, 32, VOCABULARY, 0);
        p[1] = Descriptors.quantize(0, 32, 1, 15, 2);
        p[2] = Descriptors.quantize(0, 32, 1, 15, 1);
        p[3] = Descriptors.collect(CARRIED);
        p[4] = Descriptors.rmsNorm(0, 32, VOCABULARY, 1, 0);
        p[5] = Descriptors.linear(Weights.Q8_0, 1, VOCABULARY, 32, VOCABULARY + 1);
        p[6] = Descriptors.sample(5, VOCABULARY);
    }

    function descriptor(uint32 step) internal pure returns (bytes32 d0, bytes32 d1) {
        return Descriptors.words(steps()[step]);
    }

    function program() internal pure returns (bytes memory) {
        return Descriptors.pack(steps());
    }

    function programLeaves() internal pure returns (bytes32[] memory) {
        return Descriptors.leaves(program());
    }

    /// The step that a descriptor is of; each has its own op or slot.
    function stepOf(bytes32 d0, bytes32 d1) internal pure returns (uint32) {
        uint256 op = uint8(d0[0]);
        if (op == EMBED) return 0;
        if (op == QUANTIZE) return Word1.wrap(d1).slot() == 2 ? 1 : 2;
        if (op == COLLECT_OP) return COLLECT;
        if (op == RMS_NORM) return 4;
        return op == LINEAR ? 5 : SAMPLE;
    }

    function model() internal pure returns (Model memory m) {
        m.numericsVersion = VERSION;
        m.programRoot = Trees.root(programLeaves());
        m.weightsRoot = keccak256("weights");
        m.tokenizerHash = keccak256("tokenizer");
        m.params.carried = CARRIED;
        m.params.context = CONTEXT;
        m.params.vocabulary = VOCABULARY;
        m.params.promptSteps = PROMPT_STEPS;
        m.params.outputSteps = OUTPUT_STEPS;
        m.params.collectStep = COLLECT;
        m.params.sampleStep = SAMPLE;
        m.params.weightLeaves = WEIGHT_LEAVES;
        m.params.stopIds = new uint32[](2);
        m.params.stopIds[0] = 98;
        m.params.stopIds[1] = 99;
    }

    // ---------------------------------------------------------------- arithmetic

    /// Accumulator after the units before `unit`: INIT, then whatever, so that a value costs no
    /// loop.
    function honestAccumulator(uint32 blockIndex, uint32 step, uint32 element, uint64 unit)
        internal
        pure
        returns (int256)
    {
        if (unit == 0) return INIT;
        unchecked {
            uint256 x =
                blockIndex * 1_000_003 + step * 10_007 + uint256(element) * 101 + unit * 7 + 1;
            x *= 0x9e3779b97f4a7c15;
            x ^= x >> 29;
            return int256(x % 2_000_001) - 1_000_000;
        }
    }

    function term(uint32 blockIndex, uint32 step, uint32 element, uint64 unit)
        internal
        pure
        returns (int256)
    {
        return honestAccumulator(blockIndex, step, element, unit + 1)
            - honestAccumulator(blockIndex, step, element, unit);
    }

    function finalize(uint32 step, int256 acc) internal pure returns (int256) {
        // A token is below 97, hence no stop id.
        return step == SAMPLE ? (acc % 97 + 97) % 97 : 3 * acc + 1;
    }

    function accumulator(
        Lie memory lie,
        uint32 blockIndex,
        uint32 step,
        uint32 element,
        uint64 unit
    ) internal pure returns (int256 acc) {
        acc = honestAccumulator(blockIndex, step, element, unit);
        if (_isAt(lie, blockIndex, step, element) && unit > lie.unit) acc += 1;
    }

    function value(Lie memory lie, uint32 blockIndex, uint32 step, uint32 element)
        internal
        pure
        returns (int256)
    {
        int256 acc = accumulator(lie, blockIndex, step, element, unitsOf(step));
        int256 honest = finalize(step, acc);
        if (_isAt(lie, blockIndex, step, element) && lie.unit >= unitsOf(step)) return honest + 1;
        return honest;
    }

    function _isAt(Lie memory lie, uint32 blockIndex, uint32 step, uint32 element)
        private
        pure
        returns (bool)
    {
        return lie.kind == LieKind.Value && lie.blockIndex == blockIndex && lie.step == step
            && lie.element == element;
    }

    // ---------------------------------------------------------------- trace

    function tensor(Lie memory lie, uint32 blockIndex, uint32 step)
        internal
        pure
        returns (bytes memory data)
    {
        uint32 elements = byteLengthOf(step) / 4;
        data = new bytes(byteLengthOf(step));
        for (uint32 i = 0; i < elements; ++i) {
            uint32 bits = uint32(int32(value(lie, blockIndex, step, i)));
            bits = (bits >> 24) | ((bits >> 8) & 0xff00) | ((bits << 8) & 0xff0000) | (bits << 24);
            assembly ("memory-safe") {
                // Four bytes; the 28 behind them stay as they were, also where they are not the
                // tensor's any more.
                let place := add(add(data, 32), shl(2, i))
                mstore(place, or(shl(224, bits), shr(32, shl(32, mload(place)))))
            }
        }
    }

    function pack(uint32[] memory ids) internal pure returns (bytes memory data) {
        data = new bytes(4 * ids.length);
        for (uint256 i = 0; i < data.length; ++i) {
            data[i] = bytes1(uint8(ids[i / 4] >> (8 * (i % 4))));
        }
    }

    function prompt(uint32 length) internal pure returns (bytes memory) {
        uint32[] memory ids = new uint32[](length);
        for (uint32 i = 0; i < length; ++i) {
            ids[i] = (7 * i + 3) % VOCABULARY;
        }
        return pack(ids);
    }

    function output(Lie memory lie, uint32 promptLength, uint32 length)
        internal
        pure
        returns (bytes memory)
    {
        uint32[] memory ids = new uint32[](length);
        for (uint32 i = 0; i < length; ++i) {
            ids[i] = uint32(uint256(value(lie, promptLength - 1 + i, SAMPLE, 0)));
        }
        return pack(ids);
    }
}

/// Decides the toy's steps. A test double for the arithmetic only: the game asks it what it asks
/// the real one.
contract ToyVerifier is IStepVerifier {
    error BadWitness();
    error NotInThisLeaf();

    function NUMERICS_VERSION() external pure returns (uint32) {
        return Toy.VERSION;
    }

    /// Collect: abi.encode(the carried step's root, its path in the step tree). Other steps:
    /// Toy.WITNESS.
    function verify(Statement calldata s, bytes calldata witness) external pure returns (bool) {
        if (s.step == Toy.COLLECT) {
            (bytes32 root, bytes32[] memory proof) = abi.decode(witness, (bytes32, bytes32[]));
            if (proof.length != Trees.depth(s.blockSteps)) revert BadWitness();
            bytes32 climbed = root;
            uint256 index = Toy.carriedStep(s.element);
            for (uint256 i = 0; i < proof.length; ++i) {
                climbed =
                    index % 2 == 0 ? Trees.node(climbed, proof[i]) : Trees.node(proof[i], climbed);
                index /= 2;
            }
            if (climbed != s.stepRoot) revert BadWitness();
            return s.claimed == int256(uint256(root));
        }
        if (keccak256(witness) != keccak256(Toy.WITNESS)) revert BadWitness();
        if (s.mode == 1) {
            return s.accOut == s.accIn + Toy.term(s.blockIndex, s.step, s.element, s.unit);
        }
        int256 acc = s.accIn;
        if (s.mode == 0) acc = Toy.INIT + Toy.term(s.blockIndex, s.step, s.element, 0);
        return s.claimed == Toy.finalize(s.step, acc);
    }

    function shape(bytes32 d0, bytes32 d1, uint32) external pure returns (TensorShape memory) {
        uint32 step = Toy.stepOf(d0, d1);
        if (step == Toy.COLLECT) return TensorShape(0, Toy.CARRIED, Toy.CARRIED);
        uint32 byteLength = Toy.byteLengthOf(step);
        return TensorShape(byteLength, (byteLength + 1023) / 1024, byteLength / 4);
    }

    function fold(bytes32 d0, bytes32 d1, uint32, uint32)
        external
        pure
        returns (uint64 units, int256 init)
    {
        return (Toy.unitsOf(Toy.stepOf(d0, d1)), Toy.INIT);
    }

    function decode(bytes32, bytes32, uint32, uint32 leaf, uint32 element, bytes calldata data)
        external
        pure
        returns (int256)
    {
        uint256 from = 1024 * uint256(leaf);
        if (4 * uint256(element) < from || 4 * uint256(element) + 4 > from + data.length) {
            revert NotInThisLeaf();
        }
        uint256 place = 4 * uint256(element) - from;
        uint32 bits;
        for (uint256 j = 0; j < 4; ++j) {
            bits |= uint32(uint8(data[place + j])) << uint32(8 * j);
        }
        return int32(bits);
    }
}
