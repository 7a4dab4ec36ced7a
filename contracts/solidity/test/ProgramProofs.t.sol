// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Model} from "../interfaces/IModelRegistry.sol";
import {Descriptors, Step} from "./support/Descriptors.sol";
import {ProgramsTest} from "./support/Programs.sol";
import {Block} from "./support/Prover.sol";
import {Trees} from "./support/Trees.sol";

/// What the registry takes can be proved.
contract ProgramProofsTest is ProgramsTest {
    /// Positions at which tensors, leaves and folds change their sizes.
    uint256[6] private EDGES = [uint256(0), 1, 255, 256, 512, 599];

    // Every step of a good program, at every edge.

    function test_register_goodProgram_isProvableAtTheStart() public {
        _proveAll(0);
        _proveAll(1);
    }

    function test_register_goodProgram_isProvableBehindAUnit() public {
        _proveAll(255);
        _proveAll(256);
    }

    function test_register_goodProgram_isProvableBehindASumsUnit() public {
        _proveAll(512);
    }

    function test_register_goodProgram_isProvableAtTheEnd() public {
        _proveAll(599);
    }

    function _proveAll(uint256 t) private {
        (Step[] memory steps, Model memory m) = good();
        register(steps, m);
        for (uint256 step = 0; step < steps.length; ++step) {
            this.prove(steps, m, t, step);
        }
    }

    /// In an output block, and in a prompt block if it has the step. A call of its own: its memory
    /// is free again after it.
    function prove(Step[] memory steps, Model memory m, uint256 t, uint256 step) external view {
        Block memory b = blockAt(steps, m, t);
        proveStep(b, step);
        if (step > m.params.collectStep) return;
        shorten(b, m.params.promptSteps);
        proveStep(b, step);
    }

    /// One field of one step becomes something else: either the registry refuses, or everything
    /// that the step has to do with can still be proved.
    function testFuzz_register_changedField_revertsOrIsProvable(uint256 seed) public {
        (Step[] memory steps, Model memory m) = good();
        uint256 step = _next(seed, 1) % steps.length;
        _change(steps, step, seed);
        bytes memory program = Descriptors.pack(steps);
        m.programRoot = Trees.root(Descriptors.leaves(program));
        try registry.register(m, program) {
            for (uint256 i = 0; i < EDGES.length; i += 1 + _next(seed, 2) % 3) {
                this.prove(steps, m, EDGES[i], step);
                this.prove(steps, m, EDGES[i], m.params.collectStep);
                for (uint256 j = step + 1; j < steps.length; ++j) {
                    Step memory s = steps[j];
                    if (s.in0 != step && s.in1 != step && s.in2 != step) continue;
                    this.prove(steps, m, EDGES[i], j);
                }
            }
        } catch (bytes memory reason) {
            assertTrue(reason.length >= 4, "a reason");
        }
    }

    function _next(uint256 seed, uint256 which) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, which)));
    }

    /// A field of the step takes the value that another step has there, one nearby, an extreme one,
    /// or any.
    function _change(Step[] memory steps, uint256 step, uint256 seed) private pure {
        bytes memory own = abi.encode(steps[step]);
        bytes memory other = abi.encode(steps[_next(seed, 3) % steps.length]);
        uint256 field = _next(seed, 4) % 16;
        uint256 value = _word(own, field);
        uint256 kind = _next(seed, 5) % 8;
        if (kind < 3) {
            value = _word(other, field);
        } else if (kind == 3) {
            value += 1;
        } else if (kind == 4) {
            value -= value == 0 ? 0 : 1;
        } else if (kind == 5) {
            value = [uint256(0), 1, 2, 1 << 31, type(uint256).max][_next(seed, 6) % 5];
        } else if (kind == 6) {
            value = 1 << _next(seed, 6) % 32;
        } else {
            value = _next(seed, 6) % 400;
        }
        uint8[16] memory bits = [8, 8, 16, 16, 16, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 128];
        value &= (1 << bits[field]) - 1;
        assembly ("memory-safe") {
            mstore(add(add(own, 32), shl(5, field)), value)
        }
        steps[step] = abi.decode(own, (Step));
    }

    function _word(bytes memory data, uint256 i) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(add(data, 32), shl(5, i)))
        }
    }
}
