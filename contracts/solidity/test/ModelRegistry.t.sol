// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ModelRegistry} from "../ModelRegistry.sol";
import {IModelRegistry, Model} from "../interfaces/IModelRegistry.sol";
import {Fault, Program} from "../libraries/Program.sol";
import {VmMore} from "./support/Fixture.sol";
import {Test} from "./support/Test.sol";
import {Toy, ToyVerifier} from "./support/Toy.sol";

contract ModelRegistryTest is Test {
    VmMore private constant cheats = VmMore(address(vm));
    ModelRegistry private registry;

    function setUp() public {
        address verifier = deployed("Toy.sol:ToyVerifier", "");
        registry = ModelRegistry(deployed("ModelRegistry.sol:ModelRegistry", abi.encode(verifier)));
    }

    function _refuse(Model memory m, string memory what) private {
        vm.expectRevert(abi.encodeWithSelector(ModelRegistry.BadParams.selector, what));
        registry.register(m, Toy.program());
    }

    function test_register_emitsTheModelOnce() public {
        Model memory m = Toy.model();
        bytes32 id = keccak256(
            abi.encode(m.numericsVersion, m.programRoot, m.weightsRoot, m.tokenizerHash, m.params)
        );
        assertTrue(!registry.isRegistered(id), "not yet");
        cheats.expectEmit();
        emit IModelRegistry.ModelRegistered(id, m);
        assertEq(registry.register(m, Toy.program()), id, "the id is the content");
        assertTrue(registry.isRegistered(id), "now");
    }

    function test_register_again_changesNothing() public {
        bytes32 id = registry.register(Toy.model(), Toy.program());
        vm.prank(address(0xdead));
        assertEq(registry.register(Toy.model(), Toy.program()), id);
        assertEq(
            keccak256(abi.encode(registry.modelOf(id))),
            keccak256(abi.encode(Toy.model())),
            "the model"
        );
    }

    function test_register_anyDifference_isAnotherModel() public {
        Model memory m = Toy.model();
        bytes32 id = registry.register(m, Toy.program());
        m.tokenizerHash ^= bytes32(uint256(1));
        assertTrue(registry.register(m, Toy.program()) != id, "tokenizer");
        m = Toy.model();
        m.params.weightLeaves += 1;
        assertTrue(registry.register(m, Toy.program()) != id, "weight leaves");
        m = Toy.model();
        m.params.stopIds = new uint32[](1);
        assertTrue(registry.register(m, Toy.program()) != id, "stop ids");
    }

    function test_register_otherNumerics_reverts() public {
        Model memory m = Toy.model();
        m.numericsVersion = Toy.VERSION + 1;
        vm.expectRevert(
            abi.encodeWithSelector(ModelRegistry.WrongNumericsVersion.selector, Toy.VERSION + 1)
        );
        registry.register(m, Toy.program());
    }

    function test_register_badContext_reverts() public {
        Model memory m = Toy.model();
        m.params.context = 0;
        _refuse(m, "context");
        m.params.context = 65_537;
        _refuse(m, "context");
        m.params.context = 65_536;
        registry.register(m, Toy.program());
        m.params.context = 1;
        registry.register(m, Toy.program());
    }

    function test_register_badCounts_revert() public {
        Model memory m = Toy.model();
        m.params.vocabulary = 0;
        _refuse(m, "vocabulary");
        m = Toy.model();
        m.params.weightLeaves = 0;
        _refuse(m, "weightLeaves");
        m = Toy.model();
        m.params.carried = 0;
        _refuse(m, "carried");
        m.params.carried = Toy.COLLECT + 1;
        _refuse(m, "carried");
    }

    function test_register_badSteps_revert() public {
        uint32[6] memory outputSteps = [uint32(0), 1, 6, 8, 65_535, type(uint32).max];
        for (uint256 i = 0; i < outputSteps.length; ++i) {
            Model memory m = Toy.model();
            m.params.outputSteps = outputSteps[i];
            cheats.expectPartialRevert(ModelRegistry.BadParams.selector);
            registry.register(m, Toy.program());
        }
        Model memory n = Toy.model();
        n.params.promptSteps = Toy.PROMPT_STEPS + 1;
        _refuse(n, "promptSteps");
        // They agree with each other now, but not with the program.
        n.params.collectStep = Toy.COLLECT + 1;
        vm.expectRevert(abi.encodeWithSelector(Program.BadStep.selector, Toy.COLLECT, Fault.Place));
        registry.register(n, Toy.program());
        n.params.collectStep = Toy.SAMPLE;
        n.params.promptSteps = Toy.SAMPLE + 1;
        _refuse(n, "collectStep");
        n.params.collectStep = type(uint32).max;
        n.params.promptSteps = 0;
        _refuse(n, "collectStep");
        n = Toy.model();
        n.params.sampleStep = Toy.SAMPLE - 1;
        _refuse(n, "sampleStep");
    }

    function test_register_stopIds_ascendingBelowVocabularyAtMost32() public {
        Model memory m = Toy.model();
        m.params.stopIds = new uint32[](33);
        for (uint32 i = 0; i < 33; ++i) {
            m.params.stopIds[i] = i;
        }
        _refuse(m, "stopIds");
        m.params.stopIds = new uint32[](32);
        for (uint32 i = 0; i < 32; ++i) {
            m.params.stopIds[i] = 68 + i;
        }
        bytes32 id = registry.register(m, Toy.program());
        (uint32 vocabulary, uint32[] memory stopIds) = registry.outputRulesOf(id);
        assertEq(vocabulary, 100);
        assertEq(
            keccak256(abi.encode(stopIds)), keccak256(abi.encode(m.params.stopIds)), "stop ids"
        );
        m.params.stopIds[31] = 100;
        _refuse(m, "stopIds");
        m.params.stopIds[31] = m.params.stopIds[30];
        _refuse(m, "stopIds");
        m.params.stopIds[31] = m.params.stopIds[30] - 1;
        _refuse(m, "stopIds");
        m.params.stopIds = new uint32[](0);
        registry.register(m, Toy.program());
    }

    function test_views_parts_areTheModels() public {
        bytes32 id = registry.register(Toy.model(), Toy.program());
        (uint32 context, uint32 vocabulary) = registry.limitsOf(id);
        assertEq(context, Toy.CONTEXT);
        assertEq(vocabulary, Toy.VOCABULARY);
        (uint32 promptSteps, uint32 outputSteps) = registry.stepsOf(id);
        assertEq(promptSteps, Toy.PROMPT_STEPS);
        assertEq(outputSteps, Toy.OUTPUT_STEPS);
        (bytes32 programRoot, bytes32 weightsRoot, uint32 weightLeaves, uint32 carried) =
            registry.commitmentsOf(id);
        assertEq(programRoot, Toy.model().programRoot);
        assertEq(programRoot, registry.programRootOf(id));
        assertEq(weightsRoot, Toy.model().weightsRoot);
        assertEq(weightLeaves, Toy.WEIGHT_LEAVES);
        assertEq(carried, Toy.CARRIED);
        (uint128 minBond, uint32 minWindowS) = registry.requirementsOf(id);
        assertEq(minBond, 0);
        assertEq(minWindowS, 0);
    }

    function test_views_unknownModel_revert() public {
        bytes4 reason = ModelRegistry.UnknownModel.selector;
        cheats.expectPartialRevert(reason);
        registry.modelOf(0);
        cheats.expectPartialRevert(reason);
        registry.limitsOf(0);
        cheats.expectPartialRevert(reason);
        registry.outputRulesOf(0);
        cheats.expectPartialRevert(reason);
        registry.stepsOf(0);
        cheats.expectPartialRevert(reason);
        registry.programRootOf(0);
        cheats.expectPartialRevert(reason);
        registry.commitmentsOf(0);
        cheats.expectPartialRevert(reason);
        registry.requirementsOf(0);
    }
}
