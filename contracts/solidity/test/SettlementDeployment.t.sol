// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DisputeGame} from "../DisputeGame.sol";
import {ModelRegistry} from "../ModelRegistry.sol";
import {GameParams} from "../interfaces/IDisputeGame.sol";
import {RequestParams, Terms} from "../interfaces/IInferenceSettlement.sol";
import {Deployment} from "../libraries/Deployment.sol";
import {Turns} from "../libraries/Turns.sol";
import {Player} from "./support/Player.sol";

/// What a settlement is born with, and what it refuses to be born with.
contract SettlementDeploymentTest is Player {
    /// EIP-170 and EIP-3860.
    uint256 private constant DEPLOYED_BYTES_MAX = 24_576;
    uint256 private constant CREATION_BYTES_MAX = 49_152;
    /// EIP-7825: the most gas that one transaction has.
    uint256 private constant TRANSACTION_GAS_MAX = 1 << 24;

    function _game() private pure returns (GameParams memory) {
        return GameParams(5, CLOCK_S, MIN_RESPONSE_S);
    }

    function _refuse(Terms memory t, string memory what) private {
        (, bytes memory reason) = _tryToSettle(_game(), t);
        bytes memory expected = abi.encodeWithSelector(Deployment.BadTerms.selector, what);
        assertEq(keccak256(reason), keccak256(expected), what);
    }

    function _allow(Terms memory t) private {
        _settle(_game(), t);
    }

    function test_constructor_keepsItsTerms() public view {
        bytes32 kept = keccak256(abi.encode(settlement.terms()));
        assertEq(kept, keccak256(abi.encode(_terms())), "terms");
        assertEq(settlement.registry(), address(registry));
    }

    /// Neither of the two can have been given a stranger.
    function test_constructor_createsItsGame() public view {
        assertEq(game.settlement(), address(settlement), "the game's settlement");
        assertEq(game.registry(), address(registry));
        assertEq(game.verifier(), registry.verifier());
        assertEq(game.ARITY_BITS(), 2);
        assertEq(game.CLOCK_S(), CLOCK_S);
        assertEq(game.MIN_RESPONSE_S(), MIN_RESPONSE_S);
    }

    function test_constructor_noRegistry_reverts() public {
        registry = ModelRegistry(stranger);
        _refuse(_terms(), "registry");
    }

    function test_constructor_badGameParams_revert() public {
        GameParams[4] memory bad = [
            GameParams(0, CLOCK_S, MIN_RESPONSE_S),
            GameParams(9, CLOCK_S, MIN_RESPONSE_S),
            GameParams(5, 0, MIN_RESPONSE_S),
            GameParams(5, CLOCK_S, 0)
        ];
        for (uint256 i = 0; i < bad.length; ++i) {
            (, bytes memory reason) = _tryToSettle(bad[i], _terms());
            assertEq(bytes32(bytes4(reason)), bytes32(Turns.BadConstant.selector), "why");
        }
    }

    function test_constructor_badBonds_revert() public {
        Terms memory t = _terms();
        t.bondMin = 0;
        _refuse(t, "bondMin");
        t = _terms();
        t.bondMax = t.bondMin - 1;
        _refuse(t, "bondMax");
        t.bondMax = t.bondMin;
        _allow(t);
        t = _terms();
        t.challengerBond = 0;
        _refuse(t, "challengerBond");
        t.challengerBond = 1;
        _allow(t);
    }

    function test_constructor_badShares_revert() public {
        Terms memory t = _terms();
        t.burnBps = 4999;
        _refuse(t, "burnBps");
        t.burnBps = 10_000;
        _refuse(t, "burnBps");
        t.burnBps = 5000;
        _allow(t);
        t = _terms();
        t.missBps = 0;
        _refuse(t, "missBps");
        t.missBps = 10_001;
        _refuse(t, "missBps");
        t.missBps = 10_000;
        _allow(t);
        t = _terms();
        t.challengerBurnBps = 0;
        _refuse(t, "challengerBurnBps");
        t.challengerBurnBps = 10_001;
        _refuse(t, "challengerBurnBps");
        t.challengerBurnBps = 10_000;
        _allow(t);
    }

    /// The earliest challenger has at least half of the smallest pot, whatever moves cost.
    function test_constructor_badReimbursement_reverts() public {
        Terms memory t = _terms();
        t.moveReimbursement = 0;
        _refuse(t, "moveReimbursement");
        t = _terms();
        t.movesReimbursed = 0;
        _refuse(t, "movesReimbursed");
        // Four tenths of an ether are the pot, 20 moves at a hundredth are half of it.
        t = _terms();
        t.movesReimbursed = 21;
        _refuse(t, "movesReimbursed");
        t = _terms();
        t.moveReimbursement += 1;
        _refuse(t, "movesReimbursed");
        t = _terms();
        t.bondMin -= 1;
        _refuse(t, "movesReimbursed");
        t = _terms();
        t.moveReimbursement = type(uint128).max;
        t.movesReimbursed = type(uint32).max;
        _refuse(t, "movesReimbursed");
        // A bond so small that nothing is left of it.
        t = _terms();
        t.bondMin = 1;
        t.moveReimbursement = 1;
        t.movesReimbursed = 1;
        _refuse(t, "movesReimbursed");
        t.bondMin = 5;
        _allow(t);
    }

    function test_constructor_badTimes_revert() public {
        Terms memory t = _terms();
        t.windowMinS = 0;
        _refuse(t, "windowMinS");
        t = _terms();
        t.windowMaxS = t.windowMinS - 1;
        _refuse(t, "windowMaxS");
        t.windowMaxS = t.windowMinS;
        _allow(t);
        t = _terms();
        t.claimS = 0;
        _refuse(t, "claimS");
    }

    /// The largest terms that there are: nothing overflows later that was taken here.
    function test_constructor_largestTerms_work() public {
        Terms memory t = _terms();
        t.bondMin = type(uint128).max;
        t.bondMax = type(uint128).max;
        t.challengerBond = type(uint128).max;
        t.windowMinS = type(uint32).max;
        t.windowMaxS = type(uint32).max;
        t.claimS = type(uint32).max;
        t.callbackGasMax = type(uint32).max;
        _settle(GameParams(8, type(uint32).max, type(uint32).max), t);
        vm.deal(requester, type(uint128).max);
        vm.deal(provider, type(uint128).max);
        vm.deal(challenger, type(uint128).max);
        uint256 most = type(uint128).max;
        RequestParams memory p = _params(1);
        p.bond = type(uint128).max;
        p.windowS = type(uint32).max;
        vm.prank(requester);
        bytes32 requestId = settlement.request{value: most}(p);
        vm.prank(provider);
        settlement.accept{value: most}(requestId, providerPayee);
        vm.warp(block.timestamp + type(uint32).max);
        bytes32 claimId = _claim(requestId, lie);
        vm.warp(block.timestamp + type(uint32).max - 1);
        vm.prank(challenger);
        bytes32 dispute = settlement.challenge{value: most}(claimId, challengerPayee);
        vm.warp(game.disputeOf(dispute).deadline + 1);
        game.timeout(dispute);
        settlement.settleReward(claimId, 1);
        settlement.refund(dispute);
        settlement.withdraw(challengerPayee);
        uint256 burned = (most * 6000 + 9999) / 10_000;
        assertEq(challengerPayee.balance, most + most - burned, "bond and pot");
        assertEq(settlement.balanceOf(BURN), burned, "burned");
        assertEq(address(settlement).balance, most + burned, "the fee, and what burned");
    }

    // ---------------------------------------------------------------- sizes

    /// Every chain can create every contract.
    function test_sizes_areWithinTheChainsLimits() public {
        address real = deployed("StepVerifier.sol:StepVerifier", "");
        assertTrue(real.code.length <= DEPLOYED_BYTES_MAX, "verifier");
        assertTrue(address(registry).code.length <= DEPLOYED_BYTES_MAX, "registry");
        assertTrue(address(game).code.length <= DEPLOYED_BYTES_MAX, "game");
        assertTrue(address(settlement).code.length <= DEPLOYED_BYTES_MAX, "settlement");
        bytes memory code = vm.getCode("StepVerifier.sol:StepVerifier");
        assertTrue(code.length <= CREATION_BYTES_MAX, "verifier's creation");
        code = vm.getCode("ModelRegistry.sol:ModelRegistry");
        assertTrue(code.length + 32 <= CREATION_BYTES_MAX, "registry's creation");
        // The game's code is within.
        code = bytes.concat(_code(), abi.encode(address(registry), _game(), _terms()));
        emit log_named_uint("bytes that create settlement and game", code.length);
        assertTrue(code.length <= CREATION_BYTES_MAX, "settlement's creation");
    }

    function _code() private view returns (bytes memory) {
        return vm.getCode("InferenceSettlement.sol:InferenceSettlement");
    }

    /// Settlement and game come in one transaction.
    function test_deployment_fitsATransaction() public {
        bytes memory code = bytes.concat(_code(), abi.encode(address(registry), _game(), _terms()));
        uint256 before = gasleft();
        address created_;
        assembly ("memory-safe") {
            created_ := create(0, add(code, 32), mload(code))
        }
        uint256 used = before - gasleft() + 16 * code.length + 21_000;
        assertTrue(created_ != address(0), "created");
        emit log_named_uint("gas that creates settlement and game", used);
        assertTrue(used <= TRANSACTION_GAS_MAX, "too much gas");
    }
}
