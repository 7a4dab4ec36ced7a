// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {State} from "../interfaces/IDisputeGame.sol";
import {Phases} from "./Phases.sol";

/// A dispute's state as bytes: its fields big-endian, one after the other, up to the last group that
/// its phase has reached (bisection/README.md, "State"). Everything behind is 0, so the bytes are the
/// whole state, and each state has one spelling.
library StateCodec {
    /// While a block is looked for.
    uint256 internal constant BLOCKS_BYTES = 74;
    /// And its step.
    uint256 internal constant STEPS_BYTES = 110;
    /// And the step's element.
    uint256 internal constant LEAVES_BYTES = 178;
    /// And one unit of its fold.
    uint256 internal constant FOLD_BYTES = 328;

    function lengthOf(uint8 phase) internal pure returns (uint256) {
        if (phase <= Phases.BLOCKS_CHOOSE) return BLOCKS_BYTES;
        if (phase <= Phases.STEPS_CHOOSE) return STEPS_BYTES;
        if (phase <= Phases.LEAF_CHOOSE) return LEAVES_BYTES;
        return FOLD_BYTES;
    }

    /// The id that a packed state starts with. Of bytes that are no state it is anything: they don't
    /// hash to one either.
    function disputeOf(bytes calldata packed) internal pure returns (bytes32 dispute) {
        assembly ("memory-safe") {
            dispute := calldataload(packed.offset)
        }
    }

    function hashOf(bytes calldata packed) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let p := mload(0x40)
            calldatacopy(p, packed.offset, packed.length)
            result := keccak256(p, packed.length)
        }
    }

    /// The state of bytes that hash to what the dispute has stored: no others are to be unpacked.
    function unpack(bytes calldata packed) internal pure returns (State memory s) {
        // Offsets are those of the groups above; in `s`, field i is word i.
        assembly ("memory-safe") {
            let p := packed.offset
            mstore(s, calldataload(p)) // dispute
            let w := calldataload(add(p, 32))
            mstore(add(s, 0x20), shr(224, w)) // move
            mstore(add(s, 0x40), and(shr(216, w), 0xff)) // phase
            mstore(add(s, 0x80), and(shr(208, w), 0xff)) // level
            mstore(add(s, 0xa0), and(shr(176, w), 0xffffffff)) // index
            mstore(add(s, 0x60), calldataload(add(p, 42))) // node
            if gt(packed.length, 74) {
                mstore(add(s, 0xc0), shr(224, calldataload(add(p, 74)))) // blockIndex
                mstore(add(s, 0xe0), calldataload(add(p, 78))) // stepRoot
            }
            if gt(packed.length, 110) {
                mstore(add(s, 0x100), shr(224, calldataload(add(p, 110)))) // step
                mstore(add(s, 0x120), calldataload(add(p, 114))) // d0
                mstore(add(s, 0x140), calldataload(add(p, 146))) // d1
            }
            if gt(packed.length, 178) {
                mstore(add(s, 0x160), shr(224, calldataload(add(p, 178)))) // element
                mstore(add(s, 0x180), calldataload(add(p, 182))) // claimed
                w := calldataload(add(p, 214))
                mstore(add(s, 0x1a0), shr(192, w)) // lo
                mstore(add(s, 0x1c0), and(shr(128, w), 0xffffffffffffffff)) // hi
                mstore(add(s, 0x1e0), calldataload(add(p, 230))) // accLo
                mstore(add(s, 0x200), calldataload(add(p, 262))) // accHi
                w := calldataload(add(p, 294))
                mstore(add(s, 0x220), shr(248, w)) // pinned
                mstore(add(s, 0x260), and(shr(240, w), 0xff)) // mode
                mstore(add(s, 0x240), calldataload(add(p, 296))) // reveal
            }
        }
    }

    /// The packed state's hash: what a dispute stores.
    function hash(State memory s) internal pure returns (bytes32 result) {
        uint256 length = lengthOf(s.phase);
        assembly ("memory-safe") {
            let p := mload(0x40)
            // A group a time, each field over the zeros behind the one before.
            mstore(p, mload(s)) // dispute
            mstore(
                add(p, 32),
                or(
                    or(shl(224, mload(add(s, 0x20))), shl(216, mload(add(s, 0x40)))),
                    or(shl(208, mload(add(s, 0x80))), shl(176, mload(add(s, 0xa0))))
                )
            ) // move, phase, level, index
            mstore(add(p, 42), mload(add(s, 0x60))) // node
            if gt(length, 74) {
                mstore(add(p, 74), shl(224, mload(add(s, 0xc0)))) // blockIndex
                mstore(add(p, 78), mload(add(s, 0xe0))) // stepRoot
            }
            if gt(length, 110) {
                mstore(add(p, 110), shl(224, mload(add(s, 0x100)))) // step
                mstore(add(p, 114), mload(add(s, 0x120))) // d0
                mstore(add(p, 146), mload(add(s, 0x140))) // d1
            }
            if gt(length, 178) {
                mstore(add(p, 178), shl(224, mload(add(s, 0x160)))) // element
                mstore(add(p, 182), mload(add(s, 0x180))) // claimed
                mstore(
                    add(p, 214),
                    or(shl(192, mload(add(s, 0x1a0))), shl(128, mload(add(s, 0x1c0))))
                ) // lo, hi
                mstore(add(p, 230), mload(add(s, 0x1e0))) // accLo
                mstore(add(p, 262), mload(add(s, 0x200))) // accHi
                mstore(
                    add(p, 294),
                    or(shl(248, mload(add(s, 0x220))), shl(240, mload(add(s, 0x260))))
                ) // pinned, mode
                mstore(add(p, 296), mload(add(s, 0x240))) // reveal
            }
            result := keccak256(p, length)
        }
    }
}
