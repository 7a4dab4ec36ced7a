// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Model} from "../../interfaces/IModelRegistry.sol";
import {Weights} from "../../libraries/Weights.sol";
import {Descriptors, Step} from "./Descriptors.sol";
import {Trees} from "./Trees.sol";

/// Sizes of a decoder, as a model file gives them.
struct Sizes {
    uint32 layers;
    uint32 width;
    uint32 hidden;
    uint32 heads;
    uint32 kv;
    uint32 size; // of a head
    uint32 vocabulary;
    uint32 context;
    bool biased; // a bias on every linear
}

/// Under construction.
struct Draft {
    Step[] steps;
    uint16 count;
    uint32 leaf; // the next free one
    uint32 table; // the rope table's base
    uint16 collect;
}

/// The program of a decoder, step by step as the import writes it (kernels/README.md, "The steps of
/// a block").
library Decoder {
    uint32 internal constant VERSION = 1;

    /// Two layers, in which every op, every optional part and every fold of several units occurs.
    function small() internal pure returns (Sizes memory) {
        return Sizes({
            layers: 2,
            width: 288,
            hidden: 1056,
            heads: 4,
            kv: 2,
            size: 72,
            vocabulary: 300,
            context: 600,
            biased: true
        });
    }

    function smolLm2() internal pure returns (Sizes memory) {
        return Sizes(30, 576, 1536, 9, 3, 64, 49_152, 8192, false);
    }

    function of13B() internal pure returns (Sizes memory) {
        return Sizes(40, 5120, 13_824, 40, 40, 128, 32_000, 4096, false);
    }

    function build(Sizes memory z) internal pure returns (Step[] memory steps, Model memory m) {
        Draft memory b;
        b.steps = new Step[](24 * z.layers + 6);
        uint32 matrix = _matrix(b, z.vocabulary, z.width);
        uint16 x = _push(b, Descriptors.embed(Weights.Q8_0, z.width, z.vocabulary, matrix));
        b.table = _take(b, z.context * ((z.size + 255) / 256));
        for (uint32 l = 0; l < z.layers; ++l) {
            x = _layer(b, z, l, x);
        }
        x = _row(b, _norm(b, z, x), z.width);
        x = _linear(b, z, x, Descriptors.NONE, z.vocabulary, z.width);
        _push(b, Descriptors.sample(x, z.vocabulary));
        steps = b.steps;
        m.numericsVersion = VERSION;
        m.weightsRoot = keccak256("weights");
        m.tokenizerHash = keccak256("tokenizer");
        m.params.carried = 2 * z.layers;
        m.params.context = z.context;
        m.params.vocabulary = z.vocabulary;
        m.params.promptSteps = b.collect + 1;
        m.params.outputSteps = b.count;
        m.params.collectStep = b.collect;
        m.params.sampleStep = b.count - 1;
        m.params.weightLeaves = b.leaf;
        m.params.stopIds = new uint32[](1);
        m.params.stopIds[0] = 2;
        m.programRoot = Trees.root(Descriptors.leaves(Descriptors.pack(steps)));
    }

    /// log2(e) / √size in Q30, rounded down.
    function scale(uint32 size) internal pure returns (uint32) {
        uint256 square = 2_399_655_057_223_005_247 / size;
        uint256 low = 0;
        uint256 high = 1 << 32;
        while (high - low > 1) {
            uint256 middle = (low + high) / 2;
            if (middle * middle <= square) low = middle;
            else high = middle;
        }
        return uint32(low);
    }

    function _layer(Draft memory b, Sizes memory z, uint32 l, uint16 x)
        private
        pure
        returns (uint16)
    {
        uint16 row = _row(b, _norm(b, z, x), z.width);
        uint16 middle = _linear(
            b, z, _row(b, _attention(b, z, l, row), z.heads * z.size), x, z.width, z.heads * z.size
        );
        row = _row(b, _norm(b, z, middle), z.width);
        uint16 gate = _linear(b, z, row, Descriptors.NONE, z.hidden, z.width);
        uint16 up = _linear(b, z, row, Descriptors.NONE, z.hidden, z.width);
        row = _row(b, _push(b, Descriptors.swiGlu(gate, up, z.hidden)), z.hidden);
        return _linear(b, z, row, middle, z.width, z.hidden);
    }

    function _attention(Draft memory b, Sizes memory z, uint32 l, uint16 row)
        private
        pure
        returns (uint16)
    {
        uint32 n = z.kv * z.size;
        uint16 k = _linear(b, z, row, Descriptors.NONE, n, z.width);
        k = _push(b, Descriptors.rope(k, n, z.size, z.size, b.table));
        k = _push(b, Descriptors.quantize(k, n, z.kv, 11, 2 * l + 1));
        uint16 v = _linear(b, z, row, Descriptors.NONE, n, z.width);
        v = _push(b, Descriptors.quantize(v, n, z.kv, 12, 2 * l + 2));
        if (l + 1 == z.layers) b.collect = _push(b, Descriptors.collect(2 * z.layers));
        n = z.heads * z.size;
        uint16 q = _linear(b, z, row, Descriptors.NONE, n, z.width);
        q = _push(b, Descriptors.rope(q, n, z.size, z.size, b.table));
        q = _push(b, Descriptors.quantize(q, n, z.heads, 12, 0));
        uint16 s = _push(b, Descriptors.scores(q, k, z.heads, z.kv, z.size, scale(z.size), 2 * l));
        uint16 top = _push(b, Descriptors.max(s, z.heads));
        uint16 p = _push(b, Descriptors.probs(s, top, z.heads));
        uint16 sum = _push(b, Descriptors.sum(p, z.heads));
        return _push(b, Descriptors.mix(p, sum, v, z.heads, z.kv, z.size, 2 * l + 1));
    }

    function _norm(Draft memory b, Sizes memory z, uint16 x) private pure returns (uint16) {
        uint32 w = _take(b, (z.width + 255) / 256);
        return _push(b, Descriptors.rmsNorm(x, z.width, w, 168, 29));
    }

    function _row(Draft memory b, uint16 x, uint32 n) private pure returns (uint16) {
        return _push(b, Descriptors.quantize(x, n, 1, 15, 0));
    }

    function _linear(
        Draft memory b,
        Sizes memory z,
        uint16 x,
        uint16 residual,
        uint32 rows,
        uint32 cols
    ) private pure returns (uint16) {
        Step memory s = Descriptors.linear(Weights.Q4_1, x, rows, cols, _matrix(b, rows, cols));
        s.in1 = residual;
        if (z.biased) s.b = _take(b, (rows + 255) / 256);
        return _push(b, s);
    }

    function _matrix(Draft memory b, uint32 rows, uint32 cols) private pure returns (uint32) {
        return _take(b, rows * ((cols + 1023) / 1024));
    }

    function _take(Draft memory b, uint32 leaves) private pure returns (uint32 base) {
        base = b.leaf;
        b.leaf += leaves;
    }

    function _push(Draft memory b, Step memory s) private pure returns (uint16) {
        b.steps[b.count] = s;
        return b.count++;
    }
}
