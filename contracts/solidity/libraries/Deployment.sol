// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DisputeGame} from "../DisputeGame.sol";
import {GameParams} from "../interfaces/IDisputeGame.sol";
import {IInferenceSettlement, Terms} from "../interfaces/IInferenceSettlement.sol";

/// What a settlement is born with: its terms, the registry, and the game, which it creates itself,
/// so that neither of the two can be deployed with a stranger for the other.
abstract contract Deployment is IInferenceSettlement {
    uint256 private constant BPS = 10_000;

    /// The named term contradicts another one or a limit.
    error BadTerms(string what);

    uint128 internal immutable BOND_MIN;
    uint128 internal immutable BOND_MAX;
    uint16 internal immutable BURN_BPS;
    uint16 internal immutable MISS_BPS;
    uint128 internal immutable CHALLENGER_BOND;
    uint16 internal immutable CHALLENGER_BURN_BPS;
    uint128 internal immutable MOVE_REIMBURSEMENT;
    uint32 internal immutable MOVES_REIMBURSED;
    uint32 internal immutable WINDOW_MIN_S;
    uint32 internal immutable WINDOW_MAX_S;
    uint32 internal immutable CLAIM_S;
    uint32 internal immutable CALLBACK_GAS_MAX;
    /// @inheritdoc IInferenceSettlement
    address public immutable registry;
    /// @inheritdoc IInferenceSettlement
    address public immutable game;

    constructor(address registry_, GameParams memory g, Terms memory t) {
        if (registry_.code.length == 0) revert BadTerms("registry");
        _check(t);
        BOND_MIN = t.bondMin;
        BOND_MAX = t.bondMax;
        BURN_BPS = t.burnBps;
        MISS_BPS = t.missBps;
        CHALLENGER_BOND = t.challengerBond;
        CHALLENGER_BURN_BPS = t.challengerBurnBps;
        MOVE_REIMBURSEMENT = t.moveReimbursement;
        MOVES_REIMBURSED = t.movesReimbursed;
        WINDOW_MIN_S = t.windowMinS;
        WINDOW_MAX_S = t.windowMaxS;
        CLAIM_S = t.claimS;
        CALLBACK_GAS_MAX = t.callbackGasMax;
        registry = registry_;
        // It checks its own parameters.
        game = address(
            new DisputeGame(registry_, address(this), g.arityBits, g.clockS, g.minResponseS)
        );
    }

    /// @inheritdoc IInferenceSettlement
    function terms() external view returns (Terms memory) {
        return Terms({
            bondMin: BOND_MIN,
            bondMax: BOND_MAX,
            burnBps: BURN_BPS,
            missBps: MISS_BPS,
            challengerBond: CHALLENGER_BOND,
            challengerBurnBps: CHALLENGER_BURN_BPS,
            moveReimbursement: MOVE_REIMBURSEMENT,
            movesReimbursed: MOVES_REIMBURSED,
            windowMinS: WINDOW_MIN_S,
            windowMaxS: WINDOW_MAX_S,
            claimS: CLAIM_S,
            callbackGasMax: CALLBACK_GAS_MAX
        });
    }

    /// Of a convicted provider's bond.
    function _burned(uint256 bond) internal view returns (uint256) {
        return _share(bond, BURN_BPS);
    }

    /// Of the bond of a provider that accepted and did not claim.
    function _missed(uint256 bond) internal view returns (uint256) {
        return _share(bond, MISS_BPS);
    }

    /// Of a losing challenger's bond.
    function _challengerBurned() internal view returns (uint256) {
        return _share(CHALLENGER_BOND, CHALLENGER_BURN_BPS);
    }

    /// Held back from a convicted provider's bond for the moves of the challengers.
    function _reserve() internal view returns (uint256) {
        return uint256(MOVES_REIMBURSED) * MOVE_REIMBURSEMENT;
    }

    /// Rounded up: what burns is never less than its share.
    function _share(uint256 amount, uint256 bps) private pure returns (uint256) {
        return (amount * bps + BPS - 1) / BPS;
    }

    /// Amounts are of 128 bits and times of 32, so that no sum or product of them overflows where
    /// it is computed.
    function _check(Terms memory t) private pure {
        if (t.bondMin == 0) revert BadTerms("bondMin");
        if (t.bondMax < t.bondMin) revert BadTerms("bondMax");
        // At least half, so that a provider that convicts itself loses; not all, so that somebody
        // convicts it.
        if (t.burnBps < BPS / 2 || t.burnBps >= BPS) revert BadTerms("burnBps");
        if (t.missBps == 0 || t.missBps > BPS) revert BadTerms("missBps");
        if (t.challengerBond == 0) revert BadTerms("challengerBond");
        // Something burns in every lost dispute, so that disputing with oneself costs.
        if (t.challengerBurnBps == 0 || t.challengerBurnBps > BPS) {
            revert BadTerms("challengerBurnBps");
        }
        if (t.moveReimbursement == 0) revert BadTerms("moveReimbursement");
        if (t.movesReimbursed == 0) revert BadTerms("movesReimbursed");
        // However many moves are paid for, the earliest challenger has at least half of the pot.
        uint256 pot = t.bondMin - _share(t.bondMin, t.burnBps);
        if (2 * uint256(t.movesReimbursed) * t.moveReimbursement > pot) {
            revert BadTerms("movesReimbursed");
        }
        if (t.windowMinS == 0) revert BadTerms("windowMinS");
        if (t.windowMaxS < t.windowMinS) revert BadTerms("windowMaxS");
        if (t.claimS == 0) revert BadTerms("claimS");
    }
}
