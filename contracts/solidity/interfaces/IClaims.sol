// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Subject} from "./IDisputeGame.sol";

/// What the game asks of the settlement.
interface IClaims {
    /// False once the claim is final or rejected: its disputes are then void.
    function isPending(bytes32 claimId) external view returns (bool);
    function subjectOf(bytes32 claimId) external view returns (Subject memory);
    // Two parts of it, for moves that need no more.
    function modelOf(bytes32 claimId) external view returns (bytes32 modelId);
    function outputRootOf(bytes32 claimId) external view returns (bytes32 outputRoot);
}
