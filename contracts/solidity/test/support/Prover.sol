// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {StepVerifier} from "../../StepVerifier.sol";
import {Model} from "../../interfaces/IModelRegistry.sol";
import {Opening, Statement, TensorShape} from "../../interfaces/IStepVerifier.sol";
import {
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
} from "../../libraries/Descriptor.sol";
import {Descriptors, Step} from "./Descriptors.sol";
import {Known, Sparse} from "./Sparse.sol";
import {Test} from "./Test.sol";
import {Trees} from "./Trees.sol";

/// A tree in which all leaves are alike, but for the last one.
struct Plain {
    uint256 leaves;
    bytes32 each;
    bytes32 last;
}

/// Trees of any size in as many hashes as they are deep, squared.
library Plains {
    /// Zeros, in leaves of 1024.
    function zeros(uint256 length) internal pure returns (Plain memory p) {
        p.leaves = (length + 1023) / 1024;
        p.each = Trees.leaf(new bytes(1024));
        p.last = Trees.leaf(new bytes(length - 1024 * (p.leaves - 1)));
    }

    function root(Plain memory p) internal pure returns (bytes32) {
        return _node(p, Trees.depth(p.leaves), 0);
    }

    function proof(Plain memory p, uint256 index) internal pure returns (bytes32[] memory path) {
        path = new bytes32[](Trees.depth(p.leaves));
        for (uint256 h = 0; h < path.length; ++h) {
            path[h] = _node(p, h, (index >> h) ^ 1);
        }
    }

    function _node(Plain memory p, uint256 level, uint256 index) private pure returns (bytes32 x) {
        uint256 first = index << level;
        if (first >= p.leaves) return Trees.padding(level);
        if (first + (1 << level) < p.leaves) {
            x = p.each;
            for (uint256 h = 0; h < level; ++h) {
                x = Trees.node(x, x);
            }
            return x;
        }
        if (level == 0) return p.last;
        return Trees.node(_node(p, level - 1, 2 * index), _node(p, level - 1, 2 * index + 1));
    }
}

/// A block of an accepted program whose tensors, weights and tokens are all zeros: what an honest
/// party holds of it, and the witnesses that it makes. Written from kernels/README.md ("openings"),
/// not from the verifier.
struct Block {
    Step[] steps;
    bytes32[] programLeaves;
    Statement s;
    bytes32[] roots; // of the steps' tensors
    Plain carried; // carried tensors of one position, only their roots
    bytes32[] slots; // roots by slot
    Opening[] openings;
    Known[] weights; // leaves that were opened
    bool torn; // one leaf of the weights would need two lengths: nobody has such weights
}

/// Proves steps of zero blocks to the real verifier.
abstract contract Prover is Test {
    StepVerifier internal immutable verifier =
        StepVerifier(deployed("StepVerifier.sol:StepVerifier", ""));

    uint8 private constant WHOLE = 0;
    uint8 private constant SEGMENT = 1;
    uint8 private constant FINALIZE = 2;
    int256 private constant LOWEST = -(2 ** 127);

    /// Block `t` of the program, with a few blocks behind it.
    function blockAt(Step[] memory steps, Model memory m, uint256 t)
        internal
        pure
        returns (Block memory b)
    {
        b.steps = steps;
        b.programLeaves = Descriptors.leaves(Descriptors.pack(steps));
        b.slots = new bytes32[](m.params.carried);
        b.roots = new bytes32[](steps.length);
        for (uint256 i = 0; i < steps.length; ++i) {
            if (steps[i].op == COLLECT) continue;
            b.roots[i] = Plains.root(Plains.zeros(bytesOf(steps[i], t)));
            if (steps[i].slot != 0) b.slots[steps[i].slot - 1] = b.roots[i];
        }
        b.roots[m.params.collectStep] = Trees.root(b.slots);
        Statement memory s = b.s;
        s.programRoot = Trees.root(b.programLeaves);
        s.programSteps = uint32(steps.length);
        s.weightLeaves = m.params.weightLeaves;
        s.carried = m.params.carried;
        s.blocks = uint32(t + 3);
        s.promptLength = uint32(t + 1);
        s.promptRoot = Plains.root(Plains.zeros(4 * (t + 1)));
        s.outputLength = 3;
        s.outputRoot = Plains.root(Plains.zeros(12));
        bytes32 root = b.roots[m.params.collectStep];
        s.traceRoot = Plains.root(Plain(s.blocks, root, root));
        s.blockIndex = uint32(t);
        s.stepRoot = Trees.root(b.roots);
        s.blockSteps = s.programSteps;
    }

    /// The same block as one of a longer prompt, which ends at Collect.
    function shorten(Block memory b, uint32 promptSteps) internal pure {
        bytes32[] memory roots = new bytes32[](promptSteps);
        for (uint256 i = 0; i < promptSteps; ++i) {
            roots[i] = b.roots[i];
        }
        b.roots = roots;
        b.s.blockSteps = promptSteps;
        b.s.stepRoot = Trees.root(roots);
    }

    /// Every edge of a step's tensor and of its folds: the verifier computes it, calls the right
    /// value right, and another one wrong.
    function proveStep(Block memory b, uint256 step) internal view {
        b.s.step = uint32(step);
        (b.s.d0, b.s.d1) = Descriptors.words(b.steps[step]);
        uint256 t = b.s.blockIndex;
        TensorShape memory shape = verifier.shape(b.s.d0, b.s.d1, uint32(t));
        if (b.steps[step].op != COLLECT) {
            assertEq(shape.byteLength, bytesOf(b.steps[step], t), "length");
        }
        uint256 last = uint256(shape.elements) - 1;
        proveElement(b, 0);
        if (last > 0) proveElement(b, uint32(last));
        if (last > 1) proveElement(b, uint32(last / 2));
        uint256 n = b.steps[step].n;
        if (b.steps[step].op == QUANTIZE) {
            proveElement(b, uint32(n - 1));
            if (n < last) proveElement(b, uint32(n));
        }
    }

    function proveElement(Block memory b, uint32 element) internal view {
        Statement memory s = b.s;
        Step memory d = b.steps[s.step];
        s.element = element;
        (uint256 units, int256 init) = verifier.fold(s.d0, s.d1, s.blockIndex, element);
        int256 expected = _value(b, element);
        if (units == 1) {
            _open(b);
            if (_folds(d.op)) _unit(b, 0);
            _finalize(b);
            _decide(b, WHOLE, 0, init, 0, expected);
            return;
        }
        for (uint256 u = 0; u < units; u = u + 1 == units || u > 0 ? units : units - 1) {
            _open(b);
            _unit(b, u);
            _decide(b, SEGMENT, uint64(u), init, _accumulator(d.op, u), 0);
        }
        _open(b);
        _finalize(b);
        _decide(b, FINALIZE, 0, _accumulator(d.op, 0), 0, expected);
    }

    /// Length of a step's tensor.
    function bytesOf(Step memory d, uint256 t) internal pure returns (uint256) {
        uint256 heads = d.groups;
        if (d.op == QUANTIZE) return 2 * uint256(d.n) + heads;
        if (d.op == SCORES) return 4 * heads * (t + 1);
        if (d.op == PROBS) return 2 * heads * (t + 1);
        if (d.op == MAX || d.op == SUM) return 4 * heads;
        if (d.op == MIX) return 4 * heads * d.k;
        if (d.op == SAMPLE) return 4;
        return 4 * uint256(d.n);
    }

    // ---------------------------------------------------------------- what zeros give

    function _folds(uint256 op) private pure returns (bool) {
        return op == RMS_NORM || op == QUANTIZE || op == LINEAR || op == MAX || op == SUM
            || op == MIX || op == SAMPLE;
    }

    /// After unit `u` alone.
    function _accumulator(uint256 op, uint256 u) private pure returns (int256) {
        return op == SAMPLE ? int256(0xffffffff - 256 * u) : int256(0);
    }

    function _value(Block memory b, uint256 element) private pure returns (int256) {
        Step memory d = b.steps[b.s.step];
        if (d.op == PROBS) return 2 ** 14;
        return d.op == COLLECT ? int256(uint256(b.slots[element])) : int256(0);
    }

    // ---------------------------------------------------------------- what an op reads

    function _unit(Block memory b, uint256 u) private pure {
        Step memory d = b.steps[b.s.step];
        uint256 t = b.s.blockIndex;
        uint256 e = b.s.element;
        if (d.op == RMS_NORM) {
            _read(b, d.in0, 1024 * u, _least(1024, 4 * uint256(d.n) - 1024 * u));
        } else if (d.op == SAMPLE) {
            _read(b, d.in0, 1024 * u, _least(1024, 4 * uint256(d.k) - 1024 * u));
        } else if (d.op == QUANTIZE) {
            uint256 size = d.n / d.groups;
            uint256 from = 4 * (e < d.n ? e / size : e - d.n) * size + 1024 * u;
            _read(b, d.in0, from, _least(1024, 4 * size - 1024 * u));
        } else if (d.op == LINEAR) {
            uint256 count = _least(1024, d.k - 1024 * u);
            uint256 perRow = (uint256(d.k) + 1023) / 1024;
            _weight(b, d.w + e * perRow + u, count / 32 * [uint256(4), 34, 18, 20][d.format]);
            _read(b, d.in0, 2048 * u, 2 * count);
        } else if (d.op == MAX) {
            _read(b, d.in0, 4 * (e * (t + 1) + 256 * u), 4 * _least(256, t + 1 - 256 * u));
        } else if (d.op == SUM) {
            _read(b, d.in0, 2 * (e * (t + 1) + 512 * u), 2 * _least(512, t + 1 - 512 * u));
        } else if (d.op == MIX) {
            uint256 g = e / d.k / (d.groups / d.kv);
            _read(b, d.in0, 2 * (e / d.k * (t + 1) + u), 2);
            _cached(b, d.in2, d.c1, u, 2 * (g * d.k + e % d.k), 2);
            _cached(b, d.in2, d.c1, u, 2 * uint256(d.kv) * d.k + g, 1);
        }
    }

    function _finalize(Block memory b) private pure {
        Step memory d = b.steps[b.s.step];
        uint256 e = b.s.element;
        uint256 t = b.s.blockIndex;
        if (d.op == EMBED) {
            _open(b, new bytes(_least(1024, 4 * (t + 1) - t / 256 * 1024)), _tokenPath(t));
            uint256 blocks = _least(1024, d.k - e / 1024 * 1024) / 32;
            _weight(b, d.w + e / 1024, blocks * [uint256(4), 34, 18, 20][d.format]);
        } else if (d.op == RMS_NORM) {
            _read(b, d.in0, 4 * e, 4);
            _integer(b, d.w, d.n, e);
        } else if (d.op == QUANTIZE) {
            if (e < d.n) _read(b, d.in0, 4 * e, 4);
        } else if (d.op == LINEAR) {
            _read(b, d.in0, 2 * uint256(d.k), 1);
            if (d.b != Descriptors.NO_LEAF) _integer(b, d.b, d.n, e);
            if (d.in1 != Descriptors.NONE) _read(b, d.in1, 4 * e, 4);
        } else if (d.op == ROPE) {
            _read(b, d.in0, 4 * e, 4);
            if (e % d.k < d.c0) _integer(b, d.w + t, d.c0, e % d.k);
        } else if (d.op == SCORES) {
            uint256 h = e / (t + 1);
            uint256 g = h / (d.groups / d.kv);
            _read(b, d.in0, 2 * h * d.k, 2 * uint256(d.k));
            _read(b, d.in0, 2 * uint256(d.groups) * d.k + h, 1);
            _cached(b, d.in1, d.c1, e % (t + 1), 2 * g * d.k, 2 * uint256(d.k));
            _cached(b, d.in1, d.c1, e % (t + 1), 2 * uint256(d.kv) * d.k + g, 1);
        } else if (d.op == PROBS) {
            _read(b, d.in0, 4 * e, 4);
            _read(b, d.in1, e / (t + 1) * 4, 4);
        } else if (d.op == MIX) {
            _read(b, d.in1, e / d.k * 4, 4);
        } else if (d.op == SWIGLU) {
            _read(b, d.in0, 4 * e, 4);
            _read(b, d.in1, 4 * e, 4);
        } else if (d.op == COLLECT) {
            _collected(b, e);
        }
    }

    function _collected(Block memory b, uint256 element) private pure {
        uint256 step;
        while (b.steps[step].slot != element + 1) ++step;
        (bytes32 d0, bytes32 d1) = Descriptors.words(b.steps[step]);
        bytes4 index = bytes4(uint32(step << 24 | (step >> 8 & 0xff) << 16));
        _open(b, abi.encodePacked(index, d0, d1), Trees.proof(b.programLeaves, step));
        _open(b, abi.encodePacked(b.roots[step]), Trees.proof(b.roots, step));
    }

    // ---------------------------------------------------------------- openings

    function _tokenPath(uint256 t) private pure returns (bytes32[] memory) {
        return Plains.proof(Plains.zeros(4 * (t + 1)), t / 256);
    }

    function _integer(Block memory b, uint256 base, uint256 cols, uint256 i) private pure {
        _weight(b, base + i / 256, 4 * _least(256, cols - i / 256 * 256));
    }

    /// Zeros `from … from + length` of the tensor of an earlier step.
    function _read(Block memory b, uint256 step, uint256 from, uint256 length) private pure {
        assertTrue(step < b.s.step, "reads ahead");
        bytes32[] memory up = Trees.proof(b.roots, step);
        _leaves(b, bytesOf(b.steps[step], b.s.blockIndex), from, length, up);
    }

    /// The same of a carried tensor; at the block's own position, of its step.
    function _cached(
        Block memory b,
        uint256 own,
        uint256 index,
        uint256 position,
        uint256 from,
        uint256 length
    ) private pure {
        if (position == b.s.blockIndex) return _read(b, own, from, length);
        bytes32 root = Trees.root(b.slots);
        bytes32[] memory trace = Plains.proof(Plain(b.s.blocks, root, root), position);
        uint256 step;
        while (b.steps[step].slot != index + 1) ++step;
        bytes32[] memory up = _join(Trees.proof(b.slots, index), trace);
        _leaves(b, bytesOf(b.steps[step], position), from, length, up);
    }

    function _leaves(
        Block memory b,
        uint256 total,
        uint256 from,
        uint256 length,
        bytes32[] memory up
    ) private pure {
        assertTrue(from + length <= total, "reads behind the end");
        Plain memory p = Plains.zeros(total);
        for (uint256 i = from / 1024; i * 1024 < from + length; ++i) {
            _open(b, new bytes(_least(1024, total - 1024 * i)), _join(Plains.proof(p, i), up));
        }
    }

    /// Its path follows when all leaves of the step are known.
    function _weight(Block memory b, uint256 index, uint256 length) private pure {
        assertTrue(index < b.s.weightLeaves, "reads behind the weights");
        bytes32 hash = Trees.leaf(new bytes(length));
        Known[] memory longer = new Known[](b.weights.length + 1);
        for (uint256 i = 0; i < b.weights.length; ++i) {
            longer[i] = b.weights[i];
            if (longer[i].index == index && longer[i].hash != hash) b.torn = true;
        }
        longer[b.weights.length] = Known(index, hash);
        b.weights = longer;
        _open(b, new bytes(length), new bytes32[](0));
    }

    function _open(Block memory b) private pure {
        delete b.openings;
        delete b.weights;
        b.torn = false;
    }

    function _open(Block memory b, bytes memory data, bytes32[] memory proof) private pure {
        Opening[] memory longer = new Opening[](b.openings.length + 1);
        for (uint256 i = 0; i < b.openings.length; ++i) {
            longer[i] = b.openings[i];
        }
        longer[b.openings.length] = Opening(data, proof);
        b.openings = longer;
    }

    function _decide(
        Block memory b,
        uint8 mode,
        uint64 unit,
        int256 accIn,
        int256 accOut,
        int256 claimed
    ) private view {
        if (b.torn) return;
        _placeWeights(b);
        Statement memory s = b.s;
        (s.mode, s.unit, s.accIn, s.accOut, s.claimed) = (mode, unit, accIn, accOut, claimed);
        bytes memory witness = abi.encode(b.openings);
        assertTrue(verifier.verify(s, witness), "the right value");
        unchecked {
            if (mode == SEGMENT) s.accOut += 1;
            else s.claimed += 1;
        }
        assertTrue(!verifier.verify(s, witness), "another value");
    }

    /// Roots and paths of the weights, whose leaves are in the order of their openings.
    function _placeWeights(Block memory b) private pure {
        uint256 levels = Trees.depth(b.s.weightLeaves);
        b.s.weightsRoot = Sparse.root(b.weights, levels);
        uint256 next;
        for (uint256 i = 0; i < b.openings.length && next < b.weights.length; ++i) {
            Opening memory o = b.openings[i];
            if (o.proof.length != 0 || Trees.leaf(o.data) != b.weights[next].hash) continue;
            o.proof = Sparse.proof(b.weights, levels, b.weights[next++].index);
        }
    }

    function _least(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function _join(bytes32[] memory a, bytes32[] memory b)
        private
        pure
        returns (bytes32[] memory both)
    {
        both = new bytes32[](a.length + b.length);
        for (uint256 i = 0; i < both.length; ++i) {
            both[i] = i < a.length ? a[i] : b[i - a.length];
        }
    }
}
