// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ModelRegistry} from "../ModelRegistry.sol";
import {Model} from "../interfaces/IModelRegistry.sol";
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
            abi.encodeWithSelector(ModelRegistry.WrongProgramRoot.selector, root, m.programRoot)
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
        // format, in0, in1, in2, n, k, groups, kv, w, b, c0, c1, c2, slot, rest: 1 is used.
        _refuseDirty(EMBED_STEP, "100011101000000");
        _refuseDirty(NORM, "010010001011000");
        _refuseDirty(ROW, "010010100010010");
        _refuseDirty(GATE, "111011001100000");
        _refuseDirty(K_ROPE, "010011001010000");
        _refuseDirty(ATTENTION, "011001110011000");
        _refuseDirty(TOP, "010000100000000");
        _refuseDirty(PROBABILITIES, "011000100000000");
        _refuseDirty(TOTAL, "010000100000000");
        _refuseDirty(MIXED, "011101110001000");
        _refuseDirty(GATED, "011010000000000");
        _refuseDirty(COLLECTED, "000010000000000");
        _refuseDirty(SAMPLED, "010011000000000");
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
        (Step[] memory steps, Model memory m) = good();
        steps[ROW].groups = 2;
        refuse(steps, m, K_LINEAR, Fault.Input);
        (steps, m) = good();
        steps[K_CACHE].groups *= 2;
        refuse(steps, m, ATTENTION, Fault.Input);
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

    /// Each field that isn't used, dirty.
    function _refuseDirty(uint256 step, string memory used) private {
        for (uint256 field = 0; field < 15; ++field) {
            if (bytes(used)[field] == "0") this.refuseDirty(step, field);
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
