// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {State} from "../interfaces/IDisputeGame.sol";
import {Phases} from "../libraries/Phases.sol";
import {StateCodec} from "../libraries/StateCodec.sol";
import {Test} from "./support/Test.sol";
import {Wire} from "./support/Wire.sol";

/// The codec against the spelling of bisection/README.md, in every phase.
contract StateCodecTest is Test {
    function unpack(bytes calldata packed) external pure returns (State memory) {
        return StateCodec.unpack(packed);
    }

    function hashOf(bytes calldata packed) external pure returns (bytes32) {
        return StateCodec.hashOf(packed);
    }

    function disputeOf(bytes calldata packed) external pure returns (bytes32) {
        return StateCodec.disputeOf(packed);
    }

    /// Fields that the phase has not reached are 0.
    function _reached(State memory s, uint8 phase) private pure returns (State memory) {
        s.phase = phase;
        s.level &= 0xff;
        return Wire.unpack(Wire.pack(s));
    }

    function testFuzz_everyPhase_sameBytes(State memory any) external view {
        for (uint8 phase = 0; phase <= Phases.OVER; ++phase) {
            State memory s = _reached(abi.decode(abi.encode(any), (State)), phase);
            bytes memory packed = Wire.pack(s);
            assertEq(packed.length, StateCodec.lengthOf(phase), "length");
            assertEq(StateCodec.hash(s), keccak256(packed), "hash");
            assertEq(this.hashOf(packed), keccak256(packed), "hash of the bytes");
            assertEq(this.disputeOf(packed), s.dispute, "dispute");
            assertEq(keccak256(abi.encode(this.unpack(packed))), keccak256(abi.encode(s)), "state");
        }
    }

    /// Words of a state that is unpacked are within their types: what is behind a field in calldata
    /// doesn't leak into it.
    function test_allOnes_noLeak() external view {
        bytes memory packed = new bytes(StateCodec.FOLD_BYTES);
        for (uint256 i = 0; i < packed.length; ++i) {
            packed[i] = 0xff;
        }
        packed[36] = bytes1(Phases.STEP);
        packed[294] = 0x01;
        State memory s = this.unpack(packed);
        assertEq(s.move, type(uint32).max, "move");
        assertEq(s.phase, Phases.STEP, "phase");
        assertEq(s.level, 255, "level");
        assertEq(s.lo, type(uint64).max, "lo");
        assertTrue(s.pinned, "pinned");
        assertEq(s.mode, 255, "mode");
        assertEq(StateCodec.hash(s), keccak256(packed), "hash");
    }
}
