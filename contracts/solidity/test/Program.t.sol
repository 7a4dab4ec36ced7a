// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ModelRegistry} from "../ModelRegistry.sol";
import {Model} from "../interfaces/IModelRegistry.sol";
import {Weights} from "../libraries/Weights.sol";
import {Fault} from "../libraries/Program.sol";
import {Descriptors, Step} from "./support/Descriptors.sol";
import {ProgramsTest} from "./support/Programs.sol";

/// Programs that somebody publishes so that an honest party loses over them. Each test is one way,
/// and says what would happen.
contract ProgramTest is ProgramsTest {
    uint16 private constant NONE = Descriptors.NONE;

    // ---------------------------------------------------------------- the program as a whole

    /// Steps that the root doesn't commit to, or bytes that are no step.
    function test_register_anotherLength_reverts() public {
        (Step[] memory steps, Model memory m) = good();
        bytes memory program = Descriptors.pack(steps);
        bytes[4] memory others = [
            bytes(""),
            bytes.concat(program, hex"00"),
            bytes.concat(program, new bytes(64)),
            _cut(program, program.length - 64)
        ];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    ModelRegistry.WrongProgramLength.selector, others[i].length, program.length
                )
            );
            registry.register(m, others[i]);
        }
    }

    /// The game would prove descriptors against another program than the one checked.
    function test_register_anotherRoot_reverts() public {
        (Step[] memory steps, Model memory m) = good();
        bytes32 root = m.programRoot;
        m.programRoot ^= bytes32(uint256(1));
        vm.expectRevert(
            abi.encodeWithSelector(
                ModelRegistry.WrongProgramRoot.selector, root, m.programRoot
            )
        );
        registry.register(m, Descriptors.pack(steps));
    }

    /// The verifier computes nothing for it: nobody can prove the step, and the defender's clock
    /// runs.
    function test_register_unknownOp_reverts() public {
        Step memory s = stepOf(ROW);
        for (uint256 op = 13; op < 256; op += 27) {
            s.op = uint8(op);
            refuseWith(s, ROW, Fault.Op);
        }
    }

    /// Two programs of one meaning: what a reader takes for an empty field would be part of the id.
    function test_register_unusedField_reverts() public {
        uint256[13] memory ops = [
            EMBED_STEP, NORM, ROW, GATE, K_ROPE, ATTENTION, TOP, PROBABILITIES, TOTAL, MIXED,
            GATED, COLLECTED, SAMPLED
        ];
        // format, in0, in1, in2, n, k, groups, kv, w, b, c0, c1, c2, slot, rest: 1 is used.
        uint16[13] memory used;
        used[0] = _bits("100011101000000");
        used[1] = _bits("010010001011000");
        used[2] = _bits("010010100010010");
        used[3] = _bits("111011001100000");
        used[4] = _bits("010011001010000");
        used[5] = _bits("011001110011000");
        used[6] = _bits("010000100000000");
        used[7] = _bits("011000100000000");
        used[8] = _bits("010000100000000");
        used[9] = _bits("011101110001000");
        used[10] = _bits("011010000000000");
        used[11] = _bits("000010000000000");
        used[12] = _bits("010011000000000");
        for (uint256 i = 0; i < ops.length; ++i) {
            for (uint256 field = 0; field < 15; ++field) {
                if ((used[i] >> (14 - field)) & 1 == 1) continue;
                this.refuseDirty(ops[i], field);
            }
        }
    }

    /// A call of its own, whose memory is free again after it.
    function refuseDirty(uint256 step, uint256 field) external {
        Step memory s = stepOf(step);
        _dirty(s, field);
        refuseWith(s, step, Fault.Unused);
    }

    /// A prompt block would end before its carried tensors are there, or an output block without a
    /// token.
    function test_register_collectOrSampleElsewhere_reverts() public {
        (Step[] memory steps, Model memory m) = good();
        steps[COLLECTED] = steps[ROW];
        refuse(steps, m, COLLECTED, Fault.Place);
        refuseWith(Descriptors.collect(4), K_CACHE, Fault.Place);
        refuseWith(Descriptors.sample(uint16(K_LINEAR), 300), ROW, Fault.Place);
        (steps, m) = good();
        steps[SAMPLED] = Descriptors.rmsNorm(0, 288, 0, 1, 0);
        refuse(steps, m, SAMPLED, Fault.Place);
    }

    // ---------------------------------------------------------------- references

    /// "Everything left of the first difference is agreed" needs inputs that lie left.
    function test_register_forwardReference_reverts() public {
        uint256[3] memory ins = [uint256(0), 1, 2];
        uint16[3] memory ahead = [uint16(MIXED), uint16(MIXED + 1), NONE];
        for (uint256 i = 0; i < ins.length; ++i) {
            for (uint256 j = 0; j < ahead.length; ++j) {
                Step memory s = stepOf(MIXED);
                if (i == 0) s.in0 = ahead[j];
                if (i == 1) s.in1 = ahead[j];
                if (i == 2) s.in2 = ahead[j];
                refuseWith(s, MIXED, Fault.Input);
            }
        }
        Step memory t = stepOf(OUT);
        t.in1 = uint16(OUT);
        refuseWith(t, OUT, Fault.Input);
    }

    /// The witness has leaves of the real tensor, the verifier wants those of another length: no
    /// witness fits.
    function test_register_inputOfAnotherType_reverts() public {
        _refuseInput(NORM, 0, ROW);
        _refuseInput(ROW + 17, 0, ROW); // ffn_norm_quant of a quantized row
        _refuseInput(OUT, 0, MIXED);
        _refuseInput(OUT, 1, ROW);
        _refuseInput(ATTENTION, 0, K_ROPE);
        _refuseInput(ATTENTION, 1, K_ROPE);
        _refuseInput(TOP, 0, Q_QUANT);
        _refuseInput(PROBABILITIES, 0, TOP);
        _refuseInput(PROBABILITIES, 1, ATTENTION);
        _refuseInput(TOTAL, 0, ATTENTION);
        _refuseInput(MIXED, 0, ATTENTION);
        _refuseInput(MIXED, 1, TOP);
        _refuseInput(MIXED, 2, V_LINEAR);
        _refuseInput(GATED, 0, COLLECTED - 9);
        _refuseInput(GATED, 1, ROW);
        _refuseInput(SAMPLED, 0, 51);
        _refuseInput(LATE_ROW + 9, 0, COLLECTED);
    }

    /// The same, where the type is right and the length isn't.
    function test_register_inputOfAnotherLength_reverts() public {
        _refuseInput(NORM, 0, EMBED_STEP, 0, 256);
        _refuseInput(ROW, 0, NORM, 0, 320);
        _refuseInput(K_ROPE, 0, K_LINEAR, 0, 72);
        _refuseInput(GATED, 0, K_LINEAR);
        _refuseInput(GATED, 1, K_LINEAR);
        _refuseInput(OUT, 0, ROW + 21); // the hidden row
        _refuseInput(OUT, 1, GATE);
        _refuseInput(SAMPLED, 0, LOGITS - 2);
        // A linear reads values and one shift: rows of several groups have more.
        _refuseInput(OUT, 0, Q_QUANT);
        // Heads of another number, or of another size.
        Step memory s = stepOf(TOP);
        s.groups = 2;
        refuseWith(s, TOP, Fault.Input);
        s = stepOf(TOTAL);
        s.groups = 5;
        refuseWith(s, TOTAL, Fault.Input);
        s = stepOf(MIXED);
        (s.groups, s.kv) = (2, 2);
        refuseWith(s, MIXED, Fault.Input);
        s = stepOf(MIXED);
        s.k = 36;
        refuseWith(s, MIXED, Fault.Input);
    }

    /// Fast kernels know rows of these widths only; wider ones overflow them, and an honest party
    /// that uses them computes something else than the verifier.
    function test_register_otherBits_reverts() public {
        for (uint32 bits = 0; bits < 18; ++bits) {
            if (bits == 11 || bits == 12 || bits == 15) continue;
            Step memory s = stepOf(ROW);
            s.c0 = bits;
            refuseWith(s, ROW, Fault.Constant);
        }
        (Step[] memory steps, Model memory m) = good();
        steps[Q_QUANT].c0 = 15;
        refuse(steps, m, ATTENTION, Fault.Input);
        (steps, m) = good();
        steps[K_CACHE].c0 = 12;
        refuse(steps, m, ATTENTION, Fault.Input);
        (steps, m) = good();
        steps[V_CACHE].c0 = 15;
        refuse(steps, m, MIXED, Fault.Input);
        (steps, m) = good();
        steps[ROW].c0 = 12;
        refuse(steps, m, K_LINEAR, Fault.Input);
    }

    /// Probabilities beyond 1, sums of other probabilities: outside of what the numerics promise.
    function test_register_softmaxOfTwoRows_reverts() public {
        (Step[] memory steps, Model memory m) = good();
        steps[38].in1 = uint16(TOP);
        refuse(steps, m, 38, Fault.Input);
        (steps, m) = good();
        steps[40].in1 = uint16(TOTAL);
        refuse(steps, m, 40, Fault.Input);
    }

    // ---------------------------------------------------------------- sizes

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

    // ---------------------------------------------------------------- carried tensors

    /// Collect would have two right values, and the liar proves the one that suits it.
    function test_register_sharedSlot_reverts() public {
        Step memory s = stepOf(V_CACHE);
        s.slot = 1;
        refuseWith(s, V_CACHE, Fault.Slot);
        s = stepOf(ROW);
        s.slot = 1;
        _refuseShared(s, K_CACHE, ROW, 1);
    }

    /// Collect would have none.
    function test_register_missingSlot_reverts() public {
        (Step[] memory steps, Model memory m) = good();
        steps[NEXT_V_CACHE].slot = 0;
        refuse(steps, m, COLLECTED, Fault.Slot);
        (steps, m) = good();
        steps[NEXT_V_CACHE].slot = 5;
        refuse(steps, m, NEXT_V_CACHE, Fault.Slot);
        steps[NEXT_V_CACHE].slot = type(uint32).max;
        refuse(steps, m, NEXT_V_CACHE, Fault.Slot);
        (steps, m) = good();
        m.params.carried = 5;
        steps[COLLECTED].n = 5;
        refuse(steps, m, COLLECTED, Fault.Slot);
        steps[COLLECTED].n = 4;
        refuse(steps, m, COLLECTED, Fault.Size);
        m.params.carried = 3;
        refuse(steps, m, NEXT_V_CACHE, Fault.Slot);
    }

    /// Prompt blocks end at Collect: they would never have it.
    function test_register_lateSlot_reverts() public {
        (Step[] memory steps, Model memory m) = good();
        steps[NEXT_V_CACHE].slot = 0;
        steps[LATE_ROW].slot = 4;
        refuse(steps, m, COLLECTED, Fault.Slot);
        (steps, m) = good();
        (m.params.carried, steps[COLLECTED].n, steps[LATE_ROW].slot) = (5, 5, 5);
        refuse(steps, m, COLLECTED, Fault.Slot);
        (steps, m) = good();
        steps[LATE_ROW].slot = 1;
        refuse(steps, m, LATE_ROW, Fault.Slot);
    }

    /// At the block's own position attention reads a step, at earlier ones a carried tensor: they
    /// must be the same one, or its length changes with the position.
    function test_register_attentionToAnotherSlot_reverts() public {
        uint32[4] memory indices = [uint32(1), 2, 4, type(uint32).max];
        for (uint256 i = 0; i < indices.length; ++i) {
            Step memory s = stepOf(ATTENTION);
            s.c1 = indices[i];
            refuseWith(s, ATTENTION, Fault.Slot);
            s = stepOf(MIXED);
            s.c1 = indices[i] == 1 ? 0 : indices[i];
            refuseWith(s, MIXED, Fault.Slot);
        }
        // K for V, and the other way round.
        _refuseInput(ATTENTION, 1, V_CACHE);
        _refuseInput(MIXED, 2, K_CACHE);
        // The same layer's, but not what is carried.
        (Step[] memory steps, Model memory m) = good();
        steps[36].in1 = uint16(K_CACHE);
        refuse(steps, m, 36, Fault.Slot);
    }

    // ---------------------------------------------------------------- parts

    function _refuseShared(Step memory changed, uint256 first, uint256 second, uint32 slot)
        private
    {
        (Step[] memory steps, Model memory m) = good();
        steps[second] = changed;
        assertEq(steps[first].slot, slot, "the slot is taken");
        refuse(steps, m, first > second ? first : second, Fault.Slot);
    }

    function _refuseInput(uint256 step, uint256 input, uint256 to) private {
        Step memory s = stepOf(step);
        if (input == 0) s.in0 = uint16(to);
        if (input == 1) s.in1 = uint16(to);
        if (input == 2) s.in2 = uint16(to);
        refuseWith(s, step, Fault.Input);
    }

    /// As above, and `n` becomes another length.
    function _refuseInput(uint256 step, uint256, uint256, uint256, uint32 n) private {
        Step memory s = stepOf(step);
        s.n = n;
        refuseWith(s, step, Fault.Input);
    }

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

    function _bits(string memory text) private pure returns (uint16 bits) {
        for (uint256 i = 0; i < bytes(text).length; ++i) {
            bits = 2 * bits + (bytes(text)[i] == "1" ? 1 : 0);
        }
    }

    /// Puts something into the field with this number.
    function _dirty(Step memory s, uint256 field) private pure {
        if (field == 0) s.format = 1;
        if (field == 1) s.in0 = 0;
        if (field == 2) s.in1 = 0;
        if (field == 3) s.in2 = 0;
        if (field == 4) s.n = 1;
        if (field == 5) s.k = 1;
        if (field == 6) s.groups = 1;
        if (field == 7) s.kv = 1;
        if (field == 8) s.w = 0;
        if (field == 9) s.b = 0;
        if (field == 10) s.c0 = 1;
        if (field == 11) s.c1 = 1;
        if (field == 12) s.c2 = 1;
        if (field == 13) s.slot = 1;
        if (field == 14) s.rest = 1;
    }

    function _cut(bytes memory data, uint256 length) private pure returns (bytes memory copy) {
        copy = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            copy[i] = data[i];
        }
    }
}
