// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ModelRegistry} from "../../ModelRegistry.sol";
import {Model} from "../../interfaces/IModelRegistry.sol";
import {Fault, Program} from "../../libraries/Program.sol";
import {Decoder} from "./Decoder.sol";
import {Descriptors, Step} from "./Descriptors.sol";
import {Prover} from "./Prover.sol";
import {Trees} from "./Trees.sol";

/// A registry, and a good program to break: the small decoder, of which these are some steps.
abstract contract ProgramsTest is Prover {
    uint256 internal constant EMBED_STEP = 0;
    uint256 internal constant NORM = 1;
    uint256 internal constant ROW = 2;
    uint256 internal constant K_LINEAR = 3;
    uint256 internal constant K_ROPE = 4;
    uint256 internal constant K_CACHE = 5;
    uint256 internal constant V_LINEAR = 6;
    uint256 internal constant V_CACHE = 7;
    uint256 internal constant Q_QUANT = 10;
    uint256 internal constant ATTENTION = 11;
    uint256 internal constant TOP = 12;
    uint256 internal constant PROBABILITIES = 13;
    uint256 internal constant TOTAL = 14;
    uint256 internal constant MIXED = 15;
    uint256 internal constant OUT = 17;
    uint256 internal constant GATE = 20;
    uint256 internal constant GATED = 22;
    uint256 internal constant NEXT_K_CACHE = 29;
    uint256 internal constant NEXT_V_CACHE = 31;
    uint256 internal constant COLLECTED = 32;
    uint256 internal constant LATE_ROW = 41;
    uint256 internal constant LOGITS = 52;
    uint256 internal constant SAMPLED = 53;

    ModelRegistry internal registry =
        ModelRegistry(deployed("ModelRegistry.sol:ModelRegistry", abi.encode(address(verifier))));

    function good() internal pure returns (Step[] memory steps, Model memory m) {
        return Decoder.build(Decoder.small());
    }

    /// Registers these steps under a model that commits to them.
    function register(Step[] memory steps, Model memory m) internal returns (bytes32) {
        bytes memory program = Descriptors.pack(steps);
        m.programRoot = Trees.root(Descriptors.leaves(program));
        return registry.register(m, program);
    }

    /// The registry refuses these steps because of this one.
    function refuse(Step[] memory steps, Model memory m, uint256 step, Fault fault) internal {
        bytes memory program = Descriptors.pack(steps);
        m.programRoot = Trees.root(Descriptors.leaves(program));
        vm.expectRevert(abi.encodeWithSelector(Program.BadStep.selector, step, fault));
        registry.register(m, program);
    }

    /// The good program with one step replaced is refused because of it.
    function refuseWith(Step memory changed, uint256 step, Fault fault) internal {
        (Step[] memory steps, Model memory m) = good();
        steps[step] = changed;
        refuse(steps, m, step, fault);
    }

    /// A step of the good program, to change.
    function stepOf(uint256 step) internal pure returns (Step memory) {
        (Step[] memory steps,) = good();
        return steps[step];
    }
}
