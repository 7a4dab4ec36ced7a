// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// modelId = keccak256(abi.encode(numericsVersion, programRoot, weightsRoot, tokenizerHash, params)).
struct ModelParams {
    uint32 carried;
    uint32 context;
    uint32 vocabulary;
    uint32 promptSteps;
    uint32 outputSteps;
    uint32 collectStep;
    uint32 sampleStep;
    uint32 weightLeaves;
    uint128 minBond; // wei: smallest bond of an answer that the model's publisher accepts
    uint32 minWindowS; // seconds: shortest challenge window that it accepts
    uint32[] stopIds; // ascending
}

struct Model {
    uint32 numericsVersion;
    bytes32 programRoot;
    bytes32 weightsRoot;
    bytes32 tokenizerHash;
    ModelParams params;
}

interface IModelRegistry {
    event ModelRegistered(bytes32 indexed modelId, Model model);

    /// Anyone may register; the id is the content. Registering twice changes nothing.
    /// `program` is the descriptors of all steps, 64 bytes each, as kernels/README.md lays them out:
    /// the leaves of `model.programRoot`. Reverts unless every step of every block can be proved by
    /// whoever computed it honestly (contracts/README.md, "Models").
    function register(Model calldata model, bytes calldata program)
        external
        returns (bytes32 modelId);
    function isRegistered(bytes32 modelId) external view returns (bool);
    function modelOf(bytes32 modelId) external view returns (Model memory);

    /// The verifier whose numerics the models are for.
    function verifier() external view returns (address);

    // Parts of a model, for contracts that pay for every slot they read. All of them revert on an unknown model.

    function limitsOf(bytes32 modelId) external view returns (uint32 context, uint32 vocabulary);
    function outputRulesOf(bytes32 modelId)
        external
        view
        returns (uint32 vocabulary, uint32[] memory stopIds);
    function stepsOf(bytes32 modelId) external view returns (uint32 promptSteps, uint32 outputSteps);
    function programRootOf(bytes32 modelId) external view returns (bytes32 programRoot);
    function commitmentsOf(bytes32 modelId)
        external
        view
        returns (bytes32 programRoot, bytes32 weightsRoot, uint32 weightLeaves, uint32 carried);
    /// What the model's publisher demands of every request: bond in wei, challenge window in
    /// seconds. 0: nothing.
    function requirementsOf(bytes32 modelId)
        external
        view
        returns (uint128 minBond, uint32 minWindowS);
}
