// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IDisputeGame} from "../interfaces/IDisputeGame.sol";
import {ClaimStatus, IInferenceSettlement} from "../interfaces/IInferenceSettlement.sol";
import {Ledger} from "./Ledger.sol";
import {Records} from "./Records.sol";

/// Who gets what of a convicted provider's bond, and of the challengers' own. Nothing here decides
/// a claim, and nobody waits for it: everything is computed from what stood at `rejectedAt`, by
/// whoever calls, in as many calls as it takes.
abstract contract Rewards is Records, Ledger {
    error NoSuchDispute(bytes32 dispute);

    /// @inheritdoc IInferenceSettlement
    function settleReward(bytes32 claimId, uint32 limit) external {
        Record storage c = _recordOf(claimId);
        if (c.status != ClaimStatus.Rejected) revert WrongClaimStatus(c.status);
        Disputed memory d = c.disputed;
        if (d.rewarded) return;
        uint32 end = limit < d.count - d.cursor ? d.cursor + limit : d.count;
        for (; d.cursor < end && d.movesPaid < MOVES_REIMBURSED; ++d.cursor) {
            bytes32 dispute = disputesOf[claimId][d.cursor];
            (bool stands, uint32 moves) = IDisputeGame(game).standingOf(dispute, d.rejectedAt);
            if (!stands) continue;
            address payee = bonds[dispute].payee;
            if (d.first == 0) {
                d.first = d.cursor + 1;
                uint256 bond = requests[c.requestId].bond;
                _reward(claimId, dispute, payee, bond - _burned(bond) - _reserve());
            }
            uint32 left = MOVES_REIMBURSED - d.movesPaid;
            _reimburse(claimId, dispute, payee, moves < left ? moves : left);
            d.movesPaid += moves < left ? moves : left;
        }
        // The dispute that convicted stands, so a first one was found.
        if (d.cursor == d.count || d.movesPaid == MOVES_REIMBURSED) {
            d.rewarded = true;
            uint32 left = MOVES_REIMBURSED - d.movesPaid;
            if (left > 0) {
                bytes32 first = disputesOf[claimId][d.first - 1];
                _reward(claimId, first, bonds[first].payee, uint256(left) * MOVE_REIMBURSEMENT);
            }
        }
        c.disputed = d;
    }

    /// @inheritdoc IInferenceSettlement
    function refund(bytes32 dispute) external {
        Bond storage b = bonds[dispute];
        if (b.claimId == 0) revert NoSuchDispute(dispute);
        if (b.settled) return;
        Record storage c = _recordOf(b.claimId);
        // A final claim has no unsettled dispute.
        if (c.status != ClaimStatus.Rejected) revert WrongClaimStatus(c.status);
        (bool stands,) = IDisputeGame(game).standingOf(dispute, c.disputed.rejectedAt);
        if (stands) {
            b.settled = true;
            _credit(b.payee, CHALLENGER_BOND);
        } else {
            // It was out of time when another dispute convicted: as if its timeout had been called
            // before.
            _forfeit(b, c);
        }
    }

    /// A lost dispute's bond.
    function _forfeit(Bond storage b, Record storage c) internal {
        b.settled = true;
        uint256 burned = _challengerBurned();
        _burn(burned);
        _credit(c.providerPayee, CHALLENGER_BOND - burned);
    }

    function _reward(bytes32 claimId, bytes32 dispute, address payee, uint256 amount) private {
        emit Rewarded(claimId, dispute, payee, amount);
        _credit(payee, amount);
    }

    function _reimburse(bytes32 claimId, bytes32 dispute, address payee, uint32 moves) private {
        if (moves == 0) return;
        uint256 amount = uint256(moves) * MOVE_REIMBURSEMENT;
        emit Reimbursed(claimId, dispute, payee, moves, amount);
        _credit(payee, amount);
    }
}
