// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {State} from "../../interfaces/IDisputeGame.sol";
import {Phases} from "../../libraries/Phases.sol";

/// A state's bytes by the words of bisection/README.md: a second spelling of `StateCodec`, to check it by.
library Wire {
    function pack(State memory s) internal pure returns (bytes memory packed) {
        packed = abi.encodePacked(s.dispute, s.move, s.phase, uint8(s.level), s.index, s.node);
        if (s.phase >= Phases.EXPAND) packed = abi.encodePacked(packed, s.blockIndex, s.stepRoot);
        if (s.phase >= Phases.LEAVES_REVEAL) {
            packed = abi.encodePacked(packed, s.step, s.d0, s.d1);
        }
        if (s.phase >= Phases.FOLD_REVEAL) {
            packed = abi.encodePacked(packed, s.element, s.claimed, s.lo, s.hi, s.accLo, s.accHi);
            packed = abi.encodePacked(packed, s.pinned, s.mode, s.reveal);
        }
    }

    function unpack(bytes memory packed) internal pure returns (State memory s) {
        s.dispute = _word(packed, 0);
        s.move = uint32(_number(packed, 32, 4));
        s.phase = uint8(_number(packed, 36, 1));
        s.level = uint32(_number(packed, 37, 1));
        s.index = uint32(_number(packed, 38, 4));
        s.node = _word(packed, 42);
        if (packed.length > 74) {
            s.blockIndex = uint32(_number(packed, 74, 4));
            s.stepRoot = _word(packed, 78);
        }
        if (packed.length > 110) {
            s.step = uint32(_number(packed, 110, 4));
            s.d0 = _word(packed, 114);
            s.d1 = _word(packed, 146);
        }
        if (packed.length > 178) {
            s.element = uint32(_number(packed, 178, 4));
            s.claimed = int256(_number(packed, 182, 32));
            s.lo = uint64(_number(packed, 214, 8));
            s.hi = uint64(_number(packed, 222, 8));
            s.accLo = int256(_number(packed, 230, 32));
            s.accHi = int256(_number(packed, 262, 32));
            s.pinned = _number(packed, 294, 1) == 1;
            s.mode = uint8(_number(packed, 295, 1));
            s.reveal = _word(packed, 296);
        }
    }

    function _number(bytes memory packed, uint256 from, uint256 length)
        private
        pure
        returns (uint256 number)
    {
        for (uint256 i = 0; i < length; ++i) {
            number = (number << 8) | uint8(packed[from + i]);
        }
    }

    function _word(bytes memory packed, uint256 from) private pure returns (bytes32) {
        return bytes32(_number(packed, from, 32));
    }
}
