// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// The phases of bisection/README.md, and the sets of them that a move is for.
library Phases {
    uint8 internal constant BLOCKS_REVEAL = 0;
    uint8 internal constant BLOCKS_CHOOSE = 1;
    uint8 internal constant EXPAND = 2;
    uint8 internal constant STEPS_REVEAL = 3;
    uint8 internal constant STEPS_CHOOSE = 4;
    uint8 internal constant LEAVES_REVEAL = 5;
    uint8 internal constant LEAVES_CHOOSE = 6;
    uint8 internal constant LEAF_REVEAL = 7;
    uint8 internal constant LEAF_CHOOSE = 8;
    uint8 internal constant FOLD_REVEAL = 9;
    uint8 internal constant FOLD_CHOOSE = 10;
    uint8 internal constant STEP = 11;
    uint8 internal constant OVER = 12;

    // Sets: one bit for each phase.
    uint256 internal constant TREE_REVEALS =
        (1 << BLOCKS_REVEAL) | (1 << STEPS_REVEAL) | (1 << LEAVES_REVEAL);
    uint256 internal constant TREE_CHOICES =
        (1 << BLOCKS_CHOOSE) | (1 << STEPS_CHOOSE) | (1 << LEAVES_CHOOSE);
    uint256 internal constant STEP_CHOICE = 1 << STEPS_CHOOSE;
    uint256 internal constant EXPANSION = 1 << EXPAND;
    uint256 internal constant LEAF_REVEAL_ONLY = 1 << LEAF_REVEAL;
    uint256 internal constant LEAF_CHOICE = 1 << LEAF_CHOOSE;
    uint256 internal constant FOLD_REVEAL_ONLY = 1 << FOLD_REVEAL;
    uint256 internal constant FOLD_CHOICE = 1 << FOLD_CHOOSE;
    uint256 internal constant STEP_ONLY = 1 << STEP;
    uint256 private constant CHALLENGERS = TREE_CHOICES | LEAF_CHOICE | FOLD_CHOICE;

    function isIn(uint8 phase, uint256 set) internal pure returns (bool) {
        return (set >> phase) & 1 == 1;
    }

    /// Whose clock runs. The step is the defender's: a step that nobody calls must have a loser.
    function isDefenders(uint8 phase) internal pure returns (bool) {
        return !isIn(phase, CHALLENGERS);
    }
}
