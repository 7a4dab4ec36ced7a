// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Noise} from "../libraries/Noise.sol";
import {Naive} from "./support/Naive.sol";
import {Test} from "./support/Test.sol";

contract NoiseTest is Test {
    /// The known answers that Philox' authors publish.
    function test_philox_knownAnswers() external pure {
        uint256[4] memory x = Naive.philox([uint256(0), 0, 0, 0], 0, 0);
        assertEq(x[0], 0x6627e8d5);
        assertEq(x[3], 0x9b00dbd8);
        uint256 top = 0xffffffff;
        x = Naive.philox([top, top, top, top], top, top);
        assertEq(x[0], 0x408f276d);
        assertEq(x[3], 0x6d5451fd);
        x = Naive.philox(
            [uint256(0x243f6a88), 0x85a308d3, 0x13198a2e, 0x03707344], 0xa4093822, 0x299f31d0
        );
        assertEq(x[0], 0xd16cfe09);
        assertEq(x[1], 0x94fdcceb);
        assertEq(x[2], 0x5001e420);
        assertEq(x[3], 0x24126ea1);
    }

    function testFuzz_words(uint64 seed, uint32 position, uint24 unit) external pure {
        uint256 first = uint256(unit) << 8;
        uint256 ptr = Noise.words(seed, position, first);
        for (uint256 i = 0; i < 256; i += 1 + unit % 7) {
            uint256[4] memory counter = [(first + i) / 4, position, 0x53414d50, 0];
            uint256 word = Naive.philox(counter, uint32(seed), seed >> 32)[i % 4];
            assertEq(Noise.ofId(ptr, i), Naive.gumbel(word));
        }
    }

    function testFuzz_gumbel(uint32 word) external pure {
        assertEq(Noise.gumbel(word), Naive.gumbel(word));
    }

    function test_gumbel_ends() external pure {
        assertEq(Noise.gumbel(0), -330_589);
        assertEq(Noise.gumbel(2 ** 32 - 1), 2_128_035);
        assertEq(Noise.gumbel(2 ** 31 - 1), 0);
        assertEq(Noise.gumbel(2 ** 31), 0);
        for (uint256 bits = 0; bits < 32; ++bits) {
            for (uint256 near = 0; near < 3; ++near) {
                uint256 word = (2 ** bits + 2 ** 32 - 1 + near) % 2 ** 32;
                assertEq(Noise.gumbel(word), Naive.gumbel(word));
                word = 2 ** 32 - 1 - word;
                assertEq(Noise.gumbel(word), Naive.gumbel(word));
            }
        }
    }
}
