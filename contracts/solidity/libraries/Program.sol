// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ModelParams} from "../interfaces/IModelRegistry.sol";
import {
    Word0,
    Word1,
    NO_LEAF,
    NO_STEP,
    EMBED,
    RMS_NORM,
    QUANTIZE,
    LINEAR,
    ROPE,
    SCORES,
    MAX,
    PROBS,
    SUM,
    MIX,
    SWIGLU,
    COLLECT,
    SAMPLE
} from "./Descriptor.sol";
import {GameTree} from "./GameTree.sol";
import {Merkle} from "./Merkle.sol";
import {Weights} from "./Weights.sol";

/// Why a step is refused.
enum Fault {
    Op, // unknown
    Place, // Collect, or Sample, elsewhere than at its step, or another op there
    Unused, // a field that the op doesn't use says something
    Format, // weights that aren't quantized blocks
    Size, // a dimension of zero, one that doesn't divide another, too many bytes
    Constant, // outside of what the numerics are exact for
    Input, // no earlier step, or its tensor has another type or length than the op reads
    Weights, // leaves that the weights' tree doesn't have
    Slot // a carried tensor twice, not at all, too late, or not the one that attention reads
}

/// Where the check stands.
struct Walk {
    uint256 program; // address in calldata
    uint256 step;
    Word0 d;
    Word1 e;
    uint256 context;
    uint256 vocabulary;
    uint256 weightLeaves;
    uint256 collect;
    uint256 sample;
    uint256 slots; // carried tensors seen
    bool[] seen; // by slot
}

/// A program as it stands in calldata: one descriptor of 64 bytes after another. `check` accepts it
/// only if whoever computed a block honestly can prove every element of every step of it: what the
/// verifier opens is there, of the length that it demands, before the step that reads it, and has
/// exactly one value. contracts/README.md, "Models", gives the reason of each rule.
library Program {
    uint256 internal constant STEP_BYTES = 64;

    uint256 private constant HEAD_MAX = 256;
    /// Tensors are shorter than 4 GiB, because lengths are 32 bits wide.
    uint256 private constant BYTES_MAX = type(uint32).max;
    uint256 private constant ROW_BITS = 15;
    uint256 private constant Q_BITS = 12;
    uint256 private constant K_BITS = 11;
    uint256 private constant V_BITS = 12;
    /// log2(e)² · 2^60: the square of a score's scale before the head size.
    uint256 private constant LOG2E_SQUARED_Q60 = 2_399_655_057_223_005_247;
    /// A norm's shift `8 + c1` lies in 0 … 63.
    int256 private constant EXPONENT_MIN = -8;
    int256 private constant EXPONENT_MAX = 55;

    // Fields of the words.
    uint256 private constant OP = 0xff << 248;
    uint256 private constant FORMAT = 0xff << 240;
    uint256 private constant IN0 = 0xffff << 224;
    uint256 private constant IN1 = 0xffff << 208;
    uint256 private constant IN2 = 0xffff << 192;
    uint256 private constant N = 0xffffffff << 160;
    uint256 private constant K = 0xffffffff << 128;
    uint256 private constant GROUPS = 0xffffffff << 96;
    uint256 private constant KV = 0xffffffff << 64;
    uint256 private constant W = 0xffffffff << 32;
    uint256 private constant B = 0xffffffff;
    uint256 private constant C0 = 0xffffffff << 224;
    uint256 private constant C1 = 0xffffffff << 192;
    uint256 private constant SLOT = 0xffffffff << 128;
    /// What unused fields of the first word hold; in the second they hold 0.
    uint256 private constant EMPTY = IN0 | IN1 | IN2 | W | B;

    /// An honest party could lose over this step.
    error BadStep(uint256 step, Fault fault);

    /// Root of the program's tree: a leaf for each step, of which there is at least one.
    function root(bytes calldata program) internal pure returns (bytes32) {
        uint256 leaves = program.length / STEP_BYTES;
        uint256 start;
        assembly ("memory-safe") {
            // A leaf is hashed behind the list of leaves; nothing is allocated, as nothing outlives
            // this function.
            start := add(mload(0x40), 0x80)
            let p := add(start, shl(5, add(leaves, 1)))
            mstore8(p, 0)
            for { let i := 0 } lt(i, leaves) { i := add(i, 1) } {
                calldatacopy(add(p, 1), add(program.offset, shl(6, i)), 64)
                mstore(add(start, shl(5, i)), keccak256(p, 65))
            }
        }
        return GameTree.foldAt(start, leaves, GameTree.Z0, Merkle.depth(leaves));
    }

    /// Refuses a program that isn't one of a model with these parameters, which the registry found
    /// to agree with each other: `outputSteps` steps, Collect and Sample among them. One pass; a
    /// step looks at those that it names and at nothing else.
    function check(bytes calldata program, ModelParams calldata p) internal pure {
        Walk memory x;
        assembly ("memory-safe") {
            mstore(x, program.offset)
        }
        x.context = p.context;
        x.vocabulary = p.vocabulary;
        x.weightLeaves = p.weightLeaves;
        x.collect = p.collectStep;
        x.sample = p.sampleStep;
        x.seen = new bool[](uint256(p.carried) + 1);
        for (uint256 i = 0; i <= x.sample; ++i) {
            x.step = i;
            (x.d, x.e) = (_word0(x, i), _word1(x, i));
            _check(x);
        }
    }

    function _check(Walk memory x) private pure {
        uint256 op = x.d.opcode();
        if (op > SAMPLE) _refuse(x, Fault.Op);
        if ((op == COLLECT) != (x.step == x.collect)) _refuse(x, Fault.Place);
        if ((op == SAMPLE) != (x.step == x.sample)) _refuse(x, Fault.Place);
        if (op == LINEAR) _linear(x);
        else if (op == QUANTIZE) _quantize(x);
        else if (op == RMS_NORM) _rmsNorm(x);
        else if (op == ROPE) _rope(x);
        else if (op == SCORES) _scores(x);
        else if (op == MIX) _mix(x);
        else if (op == SWIGLU) _swiGlu(x);
        else if (op == EMBED) _embed(x);
        else if (op == COLLECT) _collect(x);
        else if (op == SAMPLE) _sample(x);
        else _heads(x, op);
    }

    function _embed(Walk memory x) private pure {
        Word0 d = x.d;
        _uses(x, FORMAT | N | K | GROUPS | W, 0);
        uint256 width = d.n();
        _blocks(x, width);
        _must(x, d.k() == width && 4 * width <= BYTES_MAX, Fault.Size);
        // A row for every token that a request or a claim may hold.
        _must(x, d.groups() == x.vocabulary, Fault.Size);
        _leaves(x, d.weights(), x.vocabulary * Weights.leavesPerRow(d.format(), width));
    }

    function _rmsNorm(Walk memory x) private pure {
        Word0 d = x.d;
        _uses(x, IN0 | N | W, C0 | C1);
        int256 exponent = x.e.c1Signed();
        _must(x, exponent >= EXPONENT_MIN && exponent <= EXPONENT_MAX, Fault.Constant);
        _must(x, x.e.c0() != 0, Fault.Constant);
        _fx(x, d.in0(), d.n());
        _leaves(x, d.weights(), Weights.leavesPerRow(Weights.I32, d.n()));
    }

    function _quantize(Walk memory x) private pure {
        Word0 d = x.d;
        _uses(x, IN0 | N | GROUPS, C0 | SLOT);
        uint256 groups = d.groups();
        _must(x, groups != 0 && d.n() % groups == 0, Fault.Size);
        uint256 bits = x.e.c0();
        _must(x, bits == ROW_BITS || bits == Q_BITS || bits == K_BITS, Fault.Constant);
        _fx(x, d.in0(), d.n());
        uint256 slot = x.e.slot();
        if (slot == 0) return;
        // Behind Collect nothing is carried, and a tensor is carried once: Collect's element is the
        // root of the only step that has its slot.
        bool free = x.step < x.collect && slot < x.seen.length && !x.seen[slot];
        _must(x, free, Fault.Slot);
        x.seen[slot] = true;
        x.slots += 1;
    }

    function _linear(Walk memory x) private pure {
        Word0 d = x.d;
        _uses(x, FORMAT | IN0 | IN1 | N | K | W | B, 0);
        uint256 cols = d.k();
        uint256 rows = d.n();
        _blocks(x, cols);
        _must(x, rows != 0 && 4 * rows <= BYTES_MAX, Fault.Size);
        _quantized(x, d.in0(), cols, 1, ROW_BITS);
        if (d.in1() != NO_STEP) _fx(x, d.in1(), rows);
        _leaves(x, d.weights(), rows * Weights.leavesPerRow(d.format(), cols));
        if (d.bias() != NO_LEAF) {
            _leaves(x, d.bias(), Weights.leavesPerRow(Weights.I32, rows));
        }
    }

    function _rope(Walk memory x) private pure {
        Word0 d = x.d;
        _uses(x, IN0 | N | K | W, C0);
        uint256 size = d.k();
        uint256 rotated = x.e.c0();
        _head(x, size);
        _must(x, d.n() % size == 0, Fault.Size);
        bool even = rotated != 0 && rotated & 1 == 0 && rotated <= size;
        _must(x, even, Fault.Constant);
        _fx(x, d.in0(), d.n());
        // A row for every position.
        _leaves(x, d.weights(), x.context * Weights.leavesPerRow(Weights.I32, rotated));
    }

    function _scores(Walk memory x) private pure {
        Word0 d = x.d;
        _uses(x, IN0 | IN1 | K | GROUPS | KV, C0 | C1);
        uint256 heads = d.groups();
        uint256 size = d.k();
        _shared(x, heads, d.kv(), size);
        // As long as it gets, at the context's last position.
        _must(x, 4 * heads * x.context <= BYTES_MAX, Fault.Size);
        // isqrt(LOG2E_SQUARED_Q60 / size): products of a score fit 62 bits.
        uint256 scale = x.e.c0();
        uint256 square = LOG2E_SQUARED_Q60 / size;
        bool exact = scale * scale <= square && square < (scale + 1) * (scale + 1);
        _must(x, exact, Fault.Constant);
        _quantized(x, d.in0(), heads * size, heads, Q_BITS);
        _own(x, d.in1(), d.kv() * size, d.kv(), K_BITS);
    }

    function _mix(Walk memory x) private pure {
        Word0 d = x.d;
        _uses(x, IN0 | IN1 | IN2 | K | GROUPS | KV, C1);
        uint256 heads = d.groups();
        uint256 size = d.k();
        _shared(x, heads, d.kv(), size);
        _must(x, 4 * heads * size <= BYTES_MAX, Fault.Size);
        _perHead(x, d.in0(), PROBS, heads);
        // The sum of these probabilities, not of others.
        _must(x, _perHead(x, d.in1(), SUM, heads).in0() == d.in0(), Fault.Input);
        _own(x, d.in2(), d.kv() * size, d.kv(), V_BITS);
    }

    /// Max, Probs and Sum.
    function _heads(Walk memory x, uint256 op) private pure {
        Word0 d = x.d;
        uint256 heads = d.groups();
        _uses(x, op == PROBS ? IN0 | IN1 | GROUPS : IN0 | GROUPS, 0);
        _perHead(x, d.in0(), op == SUM ? PROBS : SCORES, heads);
        if (op == PROBS) {
            // The maximum of these scores, not of others.
            _must(x, _perHead(x, d.in1(), MAX, heads).in0() == d.in0(), Fault.Input);
        }
    }

    function _swiGlu(Walk memory x) private pure {
        Word0 d = x.d;
        _uses(x, IN0 | IN1 | N, 0);
        _fx(x, d.in0(), d.n());
        _fx(x, d.in1(), d.n());
    }

    function _collect(Walk memory x) private pure {
        _uses(x, N, 0);
        uint256 carried = x.seen.length - 1;
        _must(x, x.d.n() == carried, Fault.Size);
        _must(x, x.slots == carried, Fault.Slot);
    }

    function _sample(Walk memory x) private pure {
        Word0 d = x.d;
        _uses(x, IN0 | N | K, 0);
        // One token, below the vocabulary's size as there is no other logit.
        _must(x, d.n() == 1 && d.k() == x.vocabulary, Fault.Size);
        _fx(x, d.in0(), d.k());
    }

    // ---------------------------------------------------------------- parts

    /// Every field but the op and these is empty: a program has one spelling.
    function _uses(Walk memory x, uint256 fields0, uint256 fields1) private pure {
        uint256 other0 = (uint256(Word0.unwrap(x.d)) ^ EMPTY) & ~(OP | fields0);
        uint256 other1 = uint256(Word1.unwrap(x.e)) & ~fields1;
        _must(x, other0 | other1 == 0, Fault.Unused);
    }

    /// Rows of `cols` quantized weights.
    function _blocks(Walk memory x, uint256 cols) private pure {
        uint256 format = x.d.format();
        _must(x, format != Weights.I32 && format <= Weights.Q4_1, Fault.Format);
        _must(x, Weights.wholeBlocks(format, cols), Fault.Size);
    }

    function _head(Walk memory x, uint256 size) private pure {
        _must(x, size != 0 && size & 1 == 0 && size <= HEAD_MAX, Fault.Size);
    }

    /// Heads that share KV heads evenly.
    function _shared(Walk memory x, uint256 heads, uint256 kv, uint256 size) private pure {
        _head(x, size);
        _must(x, heads != 0 && kv != 0 && heads % kv == 0, Fault.Size);
    }

    /// A tensor of weights lies within their tree.
    function _leaves(Walk memory x, uint256 base, uint256 count) private pure {
        _must(x, base + count <= x.weightLeaves, Fault.Weights);
    }

    /// `input` is an earlier step, and its tensor `length` > 0 numbers of the residual stream's
    /// kind.
    function _fx(Walk memory x, uint256 input, uint256 length) private pure {
        Word0 d = _input(x, input);
        uint256 op = d.opcode();
        uint256 actual;
        if (op == MIX) actual = d.groups() * d.k();
        else if (op <= ROPE && op != QUANTIZE || op == SWIGLU) actual = d.n();
        _must(x, actual == length && length != 0, Fault.Input);
    }

    /// `input` is an earlier step, and its tensor quantized like that.
    function _quantized(Walk memory x, uint256 input, uint256 n, uint256 groups, uint256 bits)
        private
        pure
    {
        Word0 d = _input(x, input);
        bool same = d.opcode() == QUANTIZE && d.n() == n && d.groups() == groups;
        _must(x, same && _word1(x, input).c0() == bits, Fault.Input);
    }

    /// As `_quantized`, and it is what the op reads as carried at earlier positions.
    function _own(Walk memory x, uint256 input, uint256 n, uint256 groups, uint256 bits)
        private
        pure
    {
        _quantized(x, input, n, groups, bits);
        _must(x, _word1(x, input).slot() == x.e.c1() + 1, Fault.Slot);
    }

    /// `input` is an earlier step of this op with as many heads.
    function _perHead(Walk memory x, uint256 input, uint256 op, uint256 heads)
        private
        pure
        returns (Word0 d)
    {
        d = _input(x, input);
        _must(x, d.opcode() == op && d.groups() == heads, Fault.Input);
    }

    function _input(Walk memory x, uint256 input) private pure returns (Word0) {
        _must(x, input < x.step, Fault.Input);
        return _word0(x, input);
    }

    function _word0(Walk memory x, uint256 step) private pure returns (Word0 d) {
        uint256 from = x.program + STEP_BYTES * step;
        assembly ("memory-safe") {
            d := calldataload(from)
        }
    }

    function _word1(Walk memory x, uint256 step) private pure returns (Word1 e) {
        uint256 from = x.program + STEP_BYTES * step + 32;
        assembly ("memory-safe") {
            e := calldataload(from)
        }
    }

    function _must(Walk memory x, bool condition, Fault fault) private pure {
        if (!condition) _refuse(x, fault);
    }

    function _refuse(Walk memory x, Fault fault) private pure {
        revert BadStep(x.step, fault);
    }
}
