// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IModelRegistry, Model, ModelParams} from "./interfaces/IModelRegistry.sol";
import {IStepVerifier} from "./interfaces/IStepVerifier.sol";
import {Program} from "./libraries/Program.sol";

/// Knows models by their content. Anyone registers; nobody owns, changes or removes anything.
///
/// The registry refuses every program on which a party that computed honestly could lose a dispute
/// (`Program`). What it can't see is the weights: a party takes part only in models whose weights
/// it has, which the id commits to.
contract ModelRegistry is IModelRegistry {
    /// Longest context that the numerics are exact for (kernels/README.md, "Limits").
    uint32 internal constant CONTEXT_MAX = 65_536;
    /// A descriptor refers to steps by 16 bits, and all ones means none.
    uint32 internal constant STEPS_MAX = 65_534;
    uint256 internal constant STOP_IDS_MAX = 32;

    /// One slot for all numbers: whoever reads one reads them all.
    struct Numbers {
        uint32 carried;
        uint32 context;
        uint32 vocabulary;
        uint32 promptSteps;
        uint32 outputSteps;
        uint32 collectStep;
        uint32 sampleStep;
        uint32 weightLeaves;
    }

    struct Stored {
        Numbers numbers;
        uint128 minBond;
        uint32 minWindowS;
        bytes32 programRoot;
        bytes32 weightsRoot;
        bytes32 tokenizerHash;
        uint32[] stopIds;
    }

    /// The model is for other numerics than those that the verifier computes.
    error WrongNumericsVersion(uint32 version);
    /// The named parameter contradicts another one or a limit.
    error BadParams(string what);
    error UnknownModel(bytes32 modelId);
    /// Not 64 bytes for each of the model's steps.
    error WrongProgramLength(uint256 length, uint256 expected);
    /// The model names another program than the one given.
    error WrongProgramRoot(bytes32 root, bytes32 expected);

    /// @inheritdoc IModelRegistry
    address public immutable verifier;
    uint32 internal immutable NUMERICS_VERSION;

    mapping(bytes32 modelId => Stored) private models;

    constructor(address verifier_) {
        verifier = verifier_;
        NUMERICS_VERSION = IStepVerifier(verifier_).NUMERICS_VERSION();
    }

    /// @inheritdoc IModelRegistry
    function register(Model calldata model, bytes calldata program)
        external
        returns (bytes32 modelId)
    {
        ModelParams calldata p = model.params;
        modelId = keccak256(
            abi.encode(
                model.numericsVersion, model.programRoot, model.weightsRoot, model.tokenizerHash, p
            )
        );
        Stored storage m = models[modelId];
        // The id commits to all that was checked then.
        if (m.numbers.context != 0) return modelId;
        if (model.numericsVersion != NUMERICS_VERSION) {
            revert WrongNumericsVersion(model.numericsVersion);
        }
        _check(p);
        if (program.length != Program.STEP_BYTES * p.outputSteps) {
            revert WrongProgramLength(program.length, Program.STEP_BYTES * p.outputSteps);
        }
        bytes32 root = Program.root(program);
        if (root != model.programRoot) revert WrongProgramRoot(root, model.programRoot);
        Program.check(program, p);
        m.numbers = Numbers({
            carried: p.carried,
            context: p.context,
            vocabulary: p.vocabulary,
            promptSteps: p.promptSteps,
            outputSteps: p.outputSteps,
            collectStep: p.collectStep,
            sampleStep: p.sampleStep,
            weightLeaves: p.weightLeaves
        });
        (m.minBond, m.minWindowS) = (p.minBond, p.minWindowS);
        m.programRoot = model.programRoot;
        m.weightsRoot = model.weightsRoot;
        m.tokenizerHash = model.tokenizerHash;
        m.stopIds = p.stopIds;
        emit ModelRegistered(modelId, model);
    }

    /// @inheritdoc IModelRegistry
    function isRegistered(bytes32 modelId) external view returns (bool) {
        return models[modelId].numbers.context != 0;
    }

    /// @inheritdoc IModelRegistry
    function modelOf(bytes32 modelId) external view returns (Model memory model) {
        Stored storage m = _known(modelId);
        Numbers memory n = m.numbers;
        model.numericsVersion = NUMERICS_VERSION;
        model.programRoot = m.programRoot;
        model.weightsRoot = m.weightsRoot;
        model.tokenizerHash = m.tokenizerHash;
        model.params = ModelParams({
            carried: n.carried,
            context: n.context,
            vocabulary: n.vocabulary,
            promptSteps: n.promptSteps,
            outputSteps: n.outputSteps,
            collectStep: n.collectStep,
            sampleStep: n.sampleStep,
            weightLeaves: n.weightLeaves,
            minBond: m.minBond,
            minWindowS: m.minWindowS,
            stopIds: m.stopIds
        });
    }

    /// @inheritdoc IModelRegistry
    function limitsOf(bytes32 modelId) external view returns (uint32 context, uint32 vocabulary) {
        Numbers storage n = _known(modelId).numbers;
        return (n.context, n.vocabulary);
    }

    /// @inheritdoc IModelRegistry
    function outputRulesOf(bytes32 modelId)
        external
        view
        returns (uint32 vocabulary, uint32[] memory stopIds)
    {
        Stored storage m = _known(modelId);
        return (m.numbers.vocabulary, m.stopIds);
    }

    /// @inheritdoc IModelRegistry
    function stepsOf(bytes32 modelId)
        external
        view
        returns (uint32 promptSteps, uint32 outputSteps)
    {
        Numbers storage n = _known(modelId).numbers;
        return (n.promptSteps, n.outputSteps);
    }

    /// @inheritdoc IModelRegistry
    function programRootOf(bytes32 modelId) external view returns (bytes32 programRoot) {
        return _known(modelId).programRoot;
    }

    /// @inheritdoc IModelRegistry
    function commitmentsOf(bytes32 modelId)
        external
        view
        returns (bytes32 programRoot, bytes32 weightsRoot, uint32 weightLeaves, uint32 carried)
    {
        Stored storage m = _known(modelId);
        return (m.programRoot, m.weightsRoot, m.numbers.weightLeaves, m.numbers.carried);
    }

    /// @inheritdoc IModelRegistry
    function requirementsOf(bytes32 modelId)
        external
        view
        returns (uint128 minBond, uint32 minWindowS)
    {
        Stored storage m = _known(modelId);
        return (m.minBond, m.minWindowS);
    }

    function _known(bytes32 modelId) private view returns (Stored storage m) {
        m = models[modelId];
        if (m.numbers.context == 0) revert UnknownModel(modelId);
    }

    function _check(ModelParams calldata p) private pure {
        if (p.context == 0 || p.context > CONTEXT_MAX) revert BadParams("context");
        if (p.vocabulary == 0) revert BadParams("vocabulary");
        if (p.weightLeaves == 0) revert BadParams("weightLeaves");
        if (p.outputSteps < 2 || p.outputSteps > STEPS_MAX) revert BadParams("outputSteps");
        // No overflow below: every number is first held against one that is known to be small.
        if (p.sampleStep != p.outputSteps - 1) revert BadParams("sampleStep");
        if (p.collectStep >= p.sampleStep) revert BadParams("collectStep");
        if (p.promptSteps != p.collectStep + 1) revert BadParams("promptSteps");
        // A carried tensor is a step before Collect; so a prompt block has at least two steps, as
        // the game needs.
        if (p.carried == 0 || p.carried > p.collectStep) revert BadParams("carried");
        if (p.stopIds.length > STOP_IDS_MAX) revert BadParams("stopIds");
        for (uint256 i = 0; i < p.stopIds.length; ++i) {
            if (p.stopIds[i] >= p.vocabulary) revert BadParams("stopIds");
            if (i > 0 && p.stopIds[i] <= p.stopIds[i - 1]) revert BadParams("stopIds");
        }
    }
}
