// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Model} from "../interfaces/IModelRegistry.sol";
import {Fault} from "../libraries/Program.sol";
import {Weights} from "../libraries/Weights.sol";
import {Descriptors, Step} from "./support/Descriptors.sol";
import {ProgramsTest} from "./support/Programs.sol";

/// As `ProgramTest`: programs whose sizes, constants or weights an honest party would lose over.
contract ProgramSizesTest is ProgramsTest {
    /// A tensor without elements has no tree, and a fold without units no result.
    function test_register_nothing_reverts() public {
        Step memory s = stepOf(EMBED_STEP);
        (s.n, s.k) = (0, 0);
        refuseWith(s, EMBED_STEP, Fault.Size);
        s = stepOf(NORM);
        s.n = 0;
        refuseWith(s, NORM, Fault.Input);
        s = stepOf(ROW);
        s.n = 0;
        refuseWith(s, ROW, Fault.Input);
        s.groups = 0;
        refuseWith(s, ROW, Fault.Size);
        s = stepOf(GATE);
        s.n = 0;
        refuseWith(s, GATE, Fault.Size);
        s = stepOf(GATE);
        s.k = 0;
        refuseWith(s, GATE, Fault.Size);
        s = stepOf(K_ROPE);
        s.n = 0;
        refuseWith(s, K_ROPE, Fault.Input);
        s = stepOf(TOP);
        s.groups = 0;
        refuseWith(s, TOP, Fault.Input);
        s = stepOf(GATED);
        s.n = 0;
        refuseWith(s, GATED, Fault.Input);
        // Of a type that it can't read, whose length in numbers is none: none is not what it wants.
        (s.in0, s.in1) = (uint16(ROW), uint16(ROW));
        refuseWith(s, GATED, Fault.Input);
    }

    /// An element would belong to no group, a head to no KV head: the verifier divides by these.
    function test_register_partsThatDontDivide_revert() public {
        Step memory s = stepOf(ROW);
        s.groups = 5;
        refuseWith(s, ROW, Fault.Size);
        s.groups = 289;
        refuseWith(s, ROW, Fault.Size);
        s = stepOf(K_ROPE);
        s.k = 80;
        refuseWith(s, K_ROPE, Fault.Size);
        uint32[3] memory kv = [uint32(0), 3, 8];
        for (uint256 i = 0; i < kv.length; ++i) {
            s = stepOf(ATTENTION);
            s.kv = kv[i];
            refuseWith(s, ATTENTION, Fault.Size);
            s = stepOf(MIXED);
            s.kv = kv[i];
            refuseWith(s, MIXED, Fault.Size);
        }
        s = stepOf(MIXED);
        s.groups = 0;
        refuseWith(s, MIXED, Fault.Size);
        s = stepOf(GATE);
        s.k = 300;
        refuseWith(s, GATE, Fault.Size);
        s = stepOf(EMBED_STEP);
        (s.n, s.k) = (300, 300);
        refuseWith(s, EMBED_STEP, Fault.Size);
        (s.n, s.k) = (288, 320);
        refuseWith(s, EMBED_STEP, Fault.Size);
    }

    /// A product of larger heads leaves 32 bits, and a step must not grow with them; odd heads have
    /// an element without a partner to turn with.
    function test_register_headSize_reverts() public {
        uint32[5] memory sizes = [uint32(0), 1, 71, 258, type(uint32).max];
        uint256[3] memory places = [K_ROPE, ATTENTION, MIXED];
        for (uint256 i = 0; i < sizes.length; ++i) {
            for (uint256 j = 0; j < places.length; ++j) {
                Step memory s = stepOf(places[j]);
                s.k = sizes[i];
                refuseWith(s, places[j], Fault.Size);
            }
        }
    }

    /// Lengths are 32 bits wide: in a longer tensor two leaves would have one place, or the
    /// verifier would refuse it in the middle of a dispute, at the position where it gets too long.
    function test_register_tensorOf4GiB_reverts() public {
        Step memory s = stepOf(GATE);
        s.n = 1 << 30;
        refuseWith(s, GATE, Fault.Size);
        s = stepOf(EMBED_STEP);
        (s.n, s.k) = (1 << 30, 1 << 30);
        refuseWith(s, EMBED_STEP, Fault.Size);
        (Step[] memory steps, Model memory m) = good();
        m.params.context = 65_536;
        m.params.weightLeaves += 65_536;
        steps[ATTENTION].groups = 16_384;
        refuse(steps, m, ATTENTION, Fault.Size);
        steps[ATTENTION].groups = 16_382;
        refuse(steps, m, ATTENTION, Fault.Input);
        s = stepOf(MIXED);
        s.groups = 1 << 26;
        refuseWith(s, MIXED, Fault.Size);
    }

    // ---------------------------------------------------------------- constants

    function test_register_constants_revert() public {
        Step memory s = stepOf(NORM);
        s.c0 = 0;
        refuseWith(s, NORM, Fault.Constant); // the mean of zeros has no root
        int32[4] memory exponents = [type(int32).min, int32(-9), 56, type(int32).max];
        for (uint256 i = 0; i < exponents.length; ++i) {
            s = stepOf(NORM);
            s.c1 = uint32(exponents[i]);
            refuseWith(s, NORM, Fault.Constant); // clamped: a second spelling
        }
        uint32[5] memory rotated = [uint32(0), 1, 71, 74, type(uint32).max];
        for (uint256 i = 0; i < rotated.length; ++i) {
            s = stepOf(K_ROPE);
            s.c0 = rotated[i];
            refuseWith(s, K_ROPE, Fault.Constant); // pairs that the table or the head doesn't have
        }
        uint32 scale = stepOf(ATTENTION).c0;
        uint32[5] memory scales = [scale - 1, scale + 1, 0, 1 << 31, type(uint32).max];
        for (uint256 i = 0; i < scales.length; ++i) {
            s = stepOf(ATTENTION);
            s.c0 = scales[i];
            refuseWith(s, ATTENTION, Fault.Constant); // products beyond 62 bits
        }
    }

    // ---------------------------------------------------------------- weights

    /// The importer proves quantized rows exact in 64 bits; integers wouldn't be.
    function test_register_matrixFormat_reverts() public {
        uint8[4] memory formats = [uint8(Weights.I32), 4, 14, 255];
        for (uint256 i = 0; i < formats.length; ++i) {
            Step memory s = stepOf(GATE);
            s.format = formats[i];
            refuseWith(s, GATE, Fault.Format);
            s = stepOf(EMBED_STEP);
            s.format = formats[i];
            refuseWith(s, EMBED_STEP, Fault.Format);
        }
    }

    /// A leaf that the weights' tree doesn't have can't be opened.
    function test_register_leavesOutside_revert() public {
        (, Model memory m) = good();
        uint32 all = m.params.weightLeaves;
        _refuseBase(EMBED_STEP, all - 300);
        _refuseBase(NORM, all - 2);
        _refuseBase(GATE, all - 1056);
        _refuseBase(24, all - 2 * 288); // rows of two leaves
        _refuseBase(K_ROPE, all - 600); // a row for every position of the context
        Step memory s = stepOf(GATE);
        s.b = all - 4; // of five
        refuseWith(s, GATE, Fault.Weights);
        s.b = Descriptors.NO_LEAF - 1;
        refuseWith(s, GATE, Fault.Weights);
    }

    /// A token without a row in the embedding, or one that no request may hold.
    function test_register_vocabulary_reverts() public {
        Step memory s = stepOf(EMBED_STEP);
        s.groups = 299;
        refuseWith(s, EMBED_STEP, Fault.Size);
        s.groups = 301;
        refuseWith(s, EMBED_STEP, Fault.Size);
        (Step[] memory steps, Model memory m) = good();
        (steps[LOGITS].n, steps[SAMPLED].k) = (320, 320);
        m.params.weightLeaves += 100;
        refuse(steps, m, SAMPLED, Fault.Size);
        s = stepOf(SAMPLED);
        s.n = 2;
        refuseWith(s, SAMPLED, Fault.Size);
    }

    // ---------------------------------------------------------------- parts

    /// The tensor of this step fits exactly at `last`, and not one leaf later.
    function _refuseBase(uint256 step, uint32 last) private {
        Step memory s = stepOf(step);
        uint32[3] memory bases = [last + 1, Descriptors.NO_LEAF, Descriptors.NO_LEAF - 1];
        for (uint256 i = 0; i < bases.length; ++i) {
            s.w = bases[i];
            refuseWith(s, step, Fault.Weights);
        }
        (Step[] memory steps, Model memory m) = good();
        steps[step].w = last;
        register(steps, m);
    }
}
