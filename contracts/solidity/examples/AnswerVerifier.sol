// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IInferenceSettlement, RequestStatus} from "../interfaces/IInferenceSettlement.sol";

/// The `verify` of ERC-7007 (Final): a token contract of that standard inherits it, or asks it.
interface IContentVerifier {
    /// Whether this model made `aigcData` from `prompt`. Both are u32 tokens, little-endian,
    /// packed; `proof` is the id of the request that says so, 32 bytes.
    function verify(bytes calldata prompt, bytes calldata aigcData, bytes calldata proof)
        external
        view
        returns (bool success);
}

/// The inner layer of ERC-8274 (a draft, which may still change).
interface IProofVerifier {
    /// `inputHash` and `outputHash` are the roots of the tokens' trees (`tokensRoot`), `metadata`
    /// is abi.encode(modelId), `proof` is the id of the request, 32 bytes.
    function verify(
        bytes32 inputHash,
        bytes32 outputHash,
        bytes calldata metadata,
        bytes calldata proof
    ) external returns (bool);
    function proofSystem() external view returns (string memory);
    function proofProfile() external view returns (bytes32);
}

/// An adapter: answers the `verify` of published interfaces from what is final in one settlement,
/// for one model and temperature. It keeps nothing and trusts nobody but the settlement, so there is
/// nothing to steal from it and nothing to update.
///
/// At temperature 0 there is one answer to a prompt, up to the length that was asked for. Above it
/// there is one for every seed, and whoever asks chooses the seed: good for art, not for verdicts.
///
/// An optimistic answer is proven by its finality: the proof is a pointer to the request. A request
/// that is not final yet proves nothing, so `verify` is false until then and never goes back.
contract AnswerVerifier is IContentVerifier, IProofVerifier {
    IInferenceSettlement public immutable settlement;
    bytes32 public immutable modelId;
    uint32 public immutable temperature; // in units of 2^-16

    constructor(IInferenceSettlement settlement_, bytes32 modelId_, uint32 temperature_) {
        (settlement, modelId, temperature) = (settlement_, modelId_, temperature_);
    }

    /// @inheritdoc IContentVerifier
    function verify(bytes calldata prompt, bytes calldata aigcData, bytes calldata proof)
        external
        view
        returns (bool success)
    {
        if (proof.length != 32) return false;
        bytes32 requestId = bytes32(proof);
        IInferenceSettlement.RequestView memory r = settlement.requestOf(requestId);
        if (!_isOurs(r)) return false;
        // The length first: a root alone doesn't say how much of a tree is padding.
        if (prompt.length != 4 * uint256(r.promptLength)) return false;
        if (settlement.tokensRoot(prompt) != r.promptRoot) return false;
        return settlement.isFinalOutput(requestId, aigcData);
    }

    /// @inheritdoc IProofVerifier
    function verify(
        bytes32 inputHash,
        bytes32 outputHash,
        bytes calldata metadata,
        bytes calldata proof
    ) external view returns (bool) {
        if (proof.length != 32 || metadata.length != 32) return false;
        if (bytes32(metadata) != modelId) return false;
        bytes32 requestId = bytes32(proof);
        IInferenceSettlement.RequestView memory r = settlement.requestOf(requestId);
        if (!_isOurs(r) || r.promptRoot != inputHash) return false;
        (, bytes32 outputRoot,) = settlement.finalOutput(requestId);
        return outputRoot == outputHash;
    }

    /// @inheritdoc IProofVerifier
    function proofSystem() external pure returns (string memory) {
        return "op/refute";
    }

    /// @inheritdoc IProofVerifier
    function proofProfile() external view returns (bytes32) {
        bytes32 salt = keccak256(abi.encode(block.chainid, settlement, modelId, temperature));
        return keccak256(abi.encodePacked("op/refute", salt));
    }

    function _isOurs(IInferenceSettlement.RequestView memory r) private view returns (bool) {
        return
            r.status == RequestStatus.Final && r.modelId == modelId && r.temperature == temperature;
    }
}
