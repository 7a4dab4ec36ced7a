// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IInferenceSettlement} from "../interfaces/IInferenceSettlement.sol";

/// Coins that belong to somebody and have not left yet. Everything that is paid out is first a
/// credit here, and leaves by `withdraw`: no payee can stop a claim from being decided. What is
/// burned is the credit of an address that nobody has a key for.
abstract contract Ledger is IInferenceSettlement {
    error PaymentFailed(address payee);

    /// Where burned coins go: nobody has a key for it.
    address public constant BURN = 0x000000000000000000000000000000000000dEaD;

    mapping(address payee => uint256) private credits;

    /// @inheritdoc IInferenceSettlement
    function withdraw(address payee) external returns (uint256 amount) {
        amount = credits[payee];
        if (amount == 0) return 0;
        credits[payee] = 0;
        emit Withdrawn(payee, amount);
        bool sent;
        assembly ("memory-safe") {
            // No return data is copied: its size is the payee's choice.
            sent := call(gas(), payee, amount, 0, 0, 0, 0)
        }
        if (!sent) revert PaymentFailed(payee);
    }

    /// @inheritdoc IInferenceSettlement
    function balanceOf(address payee) external view returns (uint256) {
        return credits[payee];
    }

    function _credit(address payee, uint256 amount) internal {
        if (amount == 0) return;
        credits[payee] += amount;
        emit Credited(payee, amount);
    }

    function _burn(uint256 amount) internal {
        credits[BURN] += amount;
        emit Burned(amount);
    }
}
