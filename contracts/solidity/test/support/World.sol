// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Opening, Statement} from "../../interfaces/IStepVerifier.sol";
import {StepVerifier} from "../../StepVerifier.sol";
import {Openings} from "../../libraries/Openings.sol";
import {Known, Sparse} from "./Sparse.sol";
import {Test} from "./Test.sol";
import {Trees} from "./Trees.sol";

/// A tensor of an earlier position.
struct Cached {
    uint256 position;
    uint256 index;
    bytes data;
}

struct WeightLeaf {
    uint256 index;
    bytes data;
}

/// Everything that a statement's roots stand for, and the witness under construction.
struct World {
    Statement s;
    bytes[] tensors; // by step; empty: none
    Cached[] cached;
    WeightLeaf[] weights;
    bytes prompt;
    bytes output;
    Opening[] openings;
}

/// Builds worlds and witnesses, and breaks them. Tests fill in tensors, `seal`, open what the op
/// reads, and `decide`.
abstract contract WorldTest is Test {
    StepVerifier internal immutable verifier =
        StepVerifier(deployed("StepVerifier.sol:StepVerifier", ""));

    uint8 internal constant WHOLE = 0;
    uint8 internal constant SEGMENT = 1;
    uint8 internal constant FINALIZE = 2;
    uint256 internal constant STEP = 9;

    /// A world at position `t` that disputes step STEP of a block of a few hundred.
    function world(uint32 t, bytes32 d0, bytes32 d1) internal pure returns (World memory w) {
        w.tensors = new bytes[](STEP);
        w.s.programRoot = keccak256("program");
        w.s.programSteps = 726;
        w.s.weightsRoot = keccak256("weights");
        w.s.weightLeaves = 200_000;
        w.s.carried = 60;
        w.s.blocks = t + 5;
        w.s.promptLength = t + 1;
        w.s.outputLength = 5;
        w.s.traceRoot = keccak256("trace");
        w.s.blockIndex = t;
        w.s.blockSteps = 726;
        w.s.step = uint32(STEP);
        (w.s.d0, w.s.d1) = (d0, d1);
    }

    /// Computes the roots, once every tensor and weight is in place.
    function seal(World memory w) internal pure {
        w.s.stepRoot = Sparse.root(_steps(w), Trees.depth(w.s.blockSteps));
        w.s.weightsRoot = Sparse.root(_weights(w), Trees.depth(w.s.weightLeaves));
        w.s.traceRoot = Sparse.root(_trace(w), Trees.depth(w.s.blocks));
        if (w.prompt.length != 0) w.s.promptRoot = Trees.root(Trees.chunks(w.prompt));
        if (w.output.length != 0) w.s.outputRoot = Trees.root(Trees.chunks(w.output));
        delete w.openings;
    }

    // ---------------------------------------------------------------- openings

    function openStep(World memory w, uint256 step, uint256 leaf) internal pure {
        bytes32[] memory lower = Trees.proof(Trees.chunks(w.tensors[step]), leaf);
        bytes32[] memory upper = Sparse.proof(_steps(w), Trees.depth(w.s.blockSteps), step);
        push(w, Trees.chunk(w.tensors[step], leaf), _join(lower, upper));
    }

    /// Every leaf that holds one of the bytes `from … from + length`.
    function openStepRange(World memory w, uint256 step, uint256 from, uint256 length)
        internal
        pure
    {
        for (uint256 i = from / 1024; i * 1024 < from + length; ++i) {
            openStep(w, step, i);
        }
    }

    function openCached(World memory w, uint256 position, uint256 index, uint256 leaf)
        internal
        pure
    {
        bytes memory data = cachedTensor(w, position, index);
        bytes32[] memory lower = Trees.proof(Trees.chunks(data), leaf);
        uint256 levels = Trees.depth(w.s.carried);
        bytes32[] memory middle = Sparse.proof(_block(w, position), levels, index);
        bytes32[] memory upper = Sparse.proof(_trace(w), Trees.depth(w.s.blocks), position);
        push(w, Trees.chunk(data, leaf), _join(_join(lower, middle), upper));
    }

    function openWeights(World memory w, uint256 index) internal pure {
        for (uint256 i = 0; i < w.weights.length; ++i) {
            if (w.weights[i].index != index) continue;
            uint256 levels = Trees.depth(w.s.weightLeaves);
            push(w, w.weights[i].data, Sparse.proof(_weights(w), levels, index));
            return;
        }
        assertTrue(false, "no such weight leaf");
    }

    function openToken(World memory w) internal pure {
        bool prompt = w.s.blockIndex < w.s.promptLength;
        bytes memory tokens = prompt ? w.prompt : w.output;
        uint256 index = prompt ? w.s.blockIndex : w.s.blockIndex - w.s.promptLength;
        bytes32[] memory leaves = Trees.chunks(tokens);
        push(w, Trees.chunk(tokens, index / 256), Trees.proof(leaves, index / 256));
    }

    function push(World memory w, bytes memory data, bytes32[] memory proof) internal pure {
        Opening[] memory longer = new Opening[](w.openings.length + 1);
        for (uint256 i = 0; i < w.openings.length; ++i) {
            longer[i] = w.openings[i];
        }
        longer[w.openings.length] = Opening(data, proof);
        w.openings = longer;
    }

    function addWeights(World memory w, uint256 index, bytes memory data) internal pure {
        WeightLeaf[] memory longer = new WeightLeaf[](w.weights.length + 1);
        for (uint256 i = 0; i < w.weights.length; ++i) {
            longer[i] = w.weights[i];
        }
        longer[w.weights.length] = WeightLeaf(index, data);
        w.weights = longer;
    }

    function addCached(World memory w, uint256 position, uint256 index, bytes memory data)
        internal
        pure
    {
        Cached[] memory longer = new Cached[](w.cached.length + 1);
        for (uint256 i = 0; i < w.cached.length; ++i) {
            longer[i] = w.cached[i];
        }
        longer[w.cached.length] = Cached(position, index, data);
        w.cached = longer;
    }

    function cachedTensor(World memory w, uint256 position, uint256 index)
        internal
        pure
        returns (bytes memory)
    {
        for (uint256 i = 0; i < w.cached.length; ++i) {
            if (w.cached[i].position == position && w.cached[i].index == index) {
                return w.cached[i].data;
            }
        }
        revert NotTrue("no such cached tensor");
    }

    // ---------------------------------------------------------------- verdicts

    function verdict(World memory w) internal view returns (bool) {
        return verifier.verify(w.s, abi.encode(w.openings));
    }

    /// WHOLE or FINALIZE: exactly this value is right.
    function decide(World memory w, int256 value) internal view {
        w.s.claimed = value;
        assertTrue(verdict(w), "the right value");
        unchecked {
            w.s.claimed = value + 1;
            assertTrue(!verdict(w), "one more");
            w.s.claimed = value ^ type(int256).min;
            assertTrue(!verdict(w), "the right low bits");
        }
        w.s.claimed = value;
    }

    /// SEGMENT: exactly this accumulator comes after the unit.
    function decideSegment(World memory w, uint64 unit, int256 accIn, int256 accOut) internal view {
        (w.s.mode, w.s.unit, w.s.accIn, w.s.accOut) = (SEGMENT, unit, accIn, accOut);
        assertTrue(verdict(w), "the right accumulator");
        unchecked {
            w.s.accOut = accOut - 1;
            assertTrue(!verdict(w), "one less");
        }
        w.s.accOut = accOut;
    }

    /// The verifier refuses this witness with this error, whatever its arguments.
    function refuses(World memory w, bytes4 selector, string memory what) internal view {
        refusesBytes(w, abi.encode(w.openings), selector, what);
    }

    function refusesBytes(World memory w, bytes memory witness, bytes4 selector, string memory what)
        internal
        view
    {
        try verifier.verify(w.s, witness) returns (bool) {
            revert NotTrue(string.concat("not refused: ", what));
        } catch (bytes memory reason) {
            assertEq(bytes32(bytes4(reason)), bytes32(selector), what);
        }
    }

    /// Breaks each field of each opening, and the list; every one must be refused. `w` is as before
    /// afterwards.
    function refusesCorruption(World memory w) internal view {
        Opening[] memory good = w.openings;
        for (uint256 i = 0; i < good.length; ++i) {
            Opening memory o = good[i];
            w.openings = good;
            uint256 place = uint256(keccak256(abi.encode(i, good.length))) % o.data.length;
            _with(w, i, flipped(o.data, place), o.proof);
            refuses(w, _flipError(w, i, place), "a flipped bit of data");
            _with(w, i, cut(o.data, o.data.length - 1), o.proof);
            refuses(w, Openings.WrongDataLength.selector, "data too short");
            _with(w, i, bytes.concat(o.data, hex"00"), o.proof);
            refuses(w, Openings.WrongDataLength.selector, "data too long");
            bytes32[] memory longer = new bytes32[](o.proof.length + 1);
            for (uint256 j = 0; j < o.proof.length; ++j) {
                longer[j] = o.proof[j];
                bytes32[] memory wrong = _copy(o.proof);
                wrong[j] ^= bytes32(uint256(1) << (j % 256));
                _with(w, i, o.data, wrong);
                refuses(w, Openings.WrongPath.selector, "a flipped bit of a sibling");
            }
            _with(w, i, o.data, longer);
            refuses(w, Openings.WrongProofLength.selector, "a path too long");
            if (o.proof.length != 0) {
                bytes32[] memory shorter = new bytes32[](o.proof.length - 1);
                for (uint256 j = 0; j < shorter.length; ++j) {
                    shorter[j] = o.proof[j];
                }
                _with(w, i, o.data, shorter);
                refuses(w, Openings.WrongProofLength.selector, "a path too short");
            }
        }
        _refusesLists(w, good);
        w.openings = good;
    }

    /// A flipped bit breaks the path; in Collect's step index it points elsewhere.
    function _flipError(World memory, uint256, uint256) internal pure virtual returns (bytes4) {
        return Openings.WrongPath.selector;
    }

    function _refusesLists(World memory w, Opening[] memory good) private view {
        Opening[] memory list = new Opening[](good.length + 1);
        for (uint256 i = 0; i < good.length; ++i) {
            list[i] = good[i];
        }
        list[good.length] = good.length == 0 ? Opening("x", new bytes32[](0)) : good[0];
        w.openings = list;
        refuses(w, Openings.TooManyOpenings.selector, "an opening too many");
        if (good.length != 0) {
            list = new Opening[](good.length - 1);
            for (uint256 i = 0; i < list.length; ++i) {
                list[i] = good[i];
            }
            w.openings = list;
            refuses(w, Openings.TooFewOpenings.selector, "an opening too few");
        }
        w.openings = good;
        bytes4 malformed = Openings.WitnessMalformed.selector;
        bytes memory bytesGood = abi.encode(good);
        refusesBytes(w, bytes.concat(bytesGood, bytes32(0)), malformed, "a word too many");
        refusesBytes(w, bytes.concat(bytesGood, hex"00"), malformed, "a byte too many");
        refusesBytes(w, cut(bytesGood, bytesGood.length - 1), malformed, "a byte too few");
        refusesBytes(w, cut(bytesGood, 63), malformed, "no list");
        refusesBytes(w, "", malformed, "nothing");
    }

    // ---------------------------------------------------------------- pieces

    /// Descriptor words; fields as in kernels/README.md. `e` is c0, c1, c2, slot.
    function word0(
        uint256 op,
        uint256 format,
        uint256[3] memory ins,
        uint256[4] memory sizes,
        uint256 w,
        uint256 b
    ) internal pure returns (bytes32) {
        return bytes32(
            (op << 248) | (format << 240) | (ins[0] << 224) | (ins[1] << 208) | (ins[2] << 192)
                | (sizes[0] << 160) | (sizes[1] << 128) | (sizes[2] << 96) | (sizes[3] << 64)
                | (w << 32) | b
        );
    }

    function word1(uint256 c0, uint256 c1, uint256 slot) internal pure returns (bytes32) {
        return bytes32((c0 << 224) | ((c1 & 0xffffffff) << 192) | (slot << 128));
    }

    /// `length` bytes that depend on the seed. Every other seed has long runs of extreme bytes,
    /// which random ones never have.
    function randomBytes(uint256 seed, uint256 length) internal pure returns (bytes memory data) {
        data = new bytes(length);
        for (uint256 i = 0; i < length; i += 32) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            if (seed % 2 == 1) {
                uint256 pattern = word % 5;
                if (pattern == 0) word = 0;
                if (pattern == 1) word = type(uint256).max;
                if (pattern == 2) {
                    word = 0x0000008000000080000000800000008000000080000000800000008000000080;
                }
                if (pattern == 3) {
                    word = 0xffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7fffffff7f;
                }
            }
            for (uint256 j = 0; j < 32 && i + j < length; ++j) {
                data[i + j] = bytes1(bytes32(word << (8 * j)));
            }
        }
    }

    function flipped(bytes memory data, uint256 place) internal pure returns (bytes memory) {
        bytes memory copy = bytes.concat(data);
        copy[place] ^= 0x10;
        return copy;
    }

    function cut(bytes memory data, uint256 length) internal pure returns (bytes memory copy) {
        copy = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            copy[i] = data[i];
        }
    }

    function slice(bytes memory data, uint256 from, uint256 length)
        internal
        pure
        returns (bytes memory copy)
    {
        copy = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            copy[i] = data[from + i];
        }
    }

    function _with(World memory w, uint256 i, bytes memory data, bytes32[] memory proof)
        private
        pure
    {
        Opening[] memory list = new Opening[](w.openings.length);
        for (uint256 j = 0; j < list.length; ++j) {
            list[j] = w.openings[j];
        }
        list[i] = Opening(data, proof);
        w.openings = list;
    }

    function _steps(World memory w) private pure returns (Known[] memory known) {
        uint256 count;
        for (uint256 i = 0; i < w.tensors.length; ++i) {
            if (w.tensors[i].length != 0) ++count;
        }
        known = new Known[](count);
        count = 0;
        for (uint256 i = 0; i < w.tensors.length; ++i) {
            if (w.tensors[i].length == 0) continue;
            known[count++] = Known(i, Trees.root(Trees.chunks(w.tensors[i])));
        }
    }

    function _weights(World memory w) private pure returns (Known[] memory known) {
        known = new Known[](w.weights.length);
        for (uint256 i = 0; i < known.length; ++i) {
            known[i] = Known(w.weights[i].index, Trees.leaf(w.weights[i].data));
        }
    }

    /// The carried tensors of one position; none may be given twice.
    function _block(World memory w, uint256 position) private pure returns (Known[] memory known) {
        known = new Known[](w.cached.length);
        for (uint256 i = 0; i < known.length; ++i) {
            bool here = w.cached[i].position == position;
            known[i].index = here ? w.cached[i].index : type(uint256).max;
            if (here) known[i].hash = Trees.root(Trees.chunks(w.cached[i].data));
        }
    }

    function _trace(World memory w) private pure returns (Known[] memory known) {
        known = new Known[](w.cached.length);
        for (uint256 i = 0; i < known.length; ++i) {
            uint256 position = w.cached[i].position;
            known[i] = Known(position, Sparse.root(_block(w, position), Trees.depth(w.s.carried)));
        }
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

    function _copy(bytes32[] memory a) private pure returns (bytes32[] memory b) {
        b = new bytes32[](a.length);
        for (uint256 i = 0; i < a.length; ++i) {
            b[i] = a[i];
        }
    }
}
