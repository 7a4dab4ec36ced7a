// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DisputeGame} from "../../DisputeGame.sol";
import {InferenceSettlement} from "../../InferenceSettlement.sol";
import {ModelRegistry} from "../../ModelRegistry.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestStatus
} from "../../interfaces/IInferenceSettlement.sol";
import {Test, Vm} from "./Test.sol";
import {Lie, Toy, ToyVerifier} from "./Toy.sol";

interface VmMore is Vm {
    function expectPartialRevert(bytes4 selector) external;
    function expectRevert(bytes4 selector, uint64 count) external;
    function expectCall(address callee, bytes calldata data) external;
    function expectEmit() external;
    function computeCreateAddress(address deployer, uint256 nonce) external pure returns (address);
    function getNonce(address account) external view returns (uint64);
    function cool(address account) external;
    function etch(address account, bytes calldata code) external;
}

/// The contracts as they are deployed, with a toy for a model, and the actors.
abstract contract Fixture is Test {
    VmMore internal constant cheats = VmMore(address(vm));

    uint256 internal constant PROVIDER_BOND = 10 ether;
    uint256 internal constant PROVIDER_BURN = 6 ether;
    uint256 internal constant MISS_PENALTY = 1 ether;
    uint256 internal constant CHALLENGER_BOND = 2 ether;
    uint256 internal constant CHALLENGER_BURN = 0.5 ether;
    uint256 internal constant FEE = 0.125 ether;
    uint32 internal constant WINDOW_S = 3600;
    uint32 internal constant CLAIM_S = 600;
    uint32 internal constant CLOCK_S = 1000;
    uint32 internal constant MIN_RESPONSE_S = 60;
    uint64 internal constant START = 1_800_000_000;
    uint32 internal constant PROMPT = 3;
    uint32 internal constant OUTPUT = 4;

    address internal constant requester = address(0xa11ce);
    address internal constant provider = address(0xb0b);
    address internal constant providerPayee = address(0xb0bb);
    address internal constant challenger = address(0xca401);
    address internal constant challengerPayee = address(0xca402);
    address internal constant stranger = address(0x57a6e);
    address internal constant BURN = 0x000000000000000000000000000000000000dEaD;

    ToyVerifier internal verifier;
    ModelRegistry internal registry;
    DisputeGame internal game;
    InferenceSettlement internal settlement;
    bytes32 internal modelId;

    function setUp() public virtual {
        vm.warp(START);
        _deploy(2);
        address[4] memory rich = [requester, provider, challenger, stranger];
        for (uint256 i = 0; i < rich.length; ++i) {
            vm.deal(rich[i], 1000 ether);
        }
    }

    function _terms() internal pure returns (InferenceSettlement.Terms memory) {
        return InferenceSettlement.Terms({
            providerBond: PROVIDER_BOND,
            providerBurn: PROVIDER_BURN,
            missPenalty: MISS_PENALTY,
            challengerBond: CHALLENGER_BOND,
            challengerBurn: CHALLENGER_BURN,
            windowS: WINDOW_S,
            claimS: CLAIM_S
        });
    }

    function _deploy(uint32 arityBits) internal {
        verifier = new ToyVerifier();
        registry = new ModelRegistry(address(verifier));
        address future =
            cheats.computeCreateAddress(address(this), cheats.getNonce(address(this)) + 1);
        game = new DisputeGame(address(registry), future, arityBits, CLOCK_S, MIN_RESPONSE_S);
        settlement = new InferenceSettlement(address(registry), address(game), _terms());
        modelId = registry.register(Toy.model(), Toy.program());
    }

    function _request(uint256 nonce) internal returns (bytes32 requestId) {
        vm.prank(requester);
        requestId = settlement.request{value: FEE}(
            modelId, Toy.prompt(PROMPT), OUTPUT, START + 1 days, nonce
        );
    }

    function _accept(bytes32 requestId) internal {
        vm.prank(provider);
        settlement.accept{value: PROVIDER_BOND}(requestId, providerPayee);
    }

    function _claim(bytes32 requestId, Lie memory lie) internal returns (bytes32 claimId) {
        bytes memory output = Toy.output(lie, PROMPT, OUTPUT);
        bytes32 traceRoot = _traceRoot(lie);
        vm.prank(provider);
        claimId = settlement.claim(requestId, output, traceRoot);
    }

    function _traceRoot(Lie memory lie) internal virtual returns (bytes32);

    function _claimed(Lie memory lie) internal returns (bytes32 requestId, bytes32 claimId) {
        requestId = _request(1);
        _accept(requestId);
        claimId = _claim(requestId, lie);
    }

    function _challenge(bytes32 claimId) internal returns (bytes32 dispute) {
        vm.prank(challenger);
        dispute = settlement.challenge{value: CHALLENGER_BOND}(claimId, challengerPayee);
    }

    function _challengeAs(bytes32 claimId, address who, address payee)
        internal
        returns (bytes32 dispute)
    {
        vm.deal(who, CHALLENGER_BOND);
        vm.prank(who);
        dispute = settlement.challenge{value: CHALLENGER_BOND}(claimId, payee);
    }

    function _requestStatus(bytes32 requestId) internal view returns (RequestStatus) {
        return settlement.requestOf(requestId).status;
    }

    function _claimStatus(bytes32 claimId) internal view returns (ClaimStatus) {
        return settlement.claimOf(claimId).status;
    }

    function assertStatus(bytes32 requestId, RequestStatus expected) internal view {
        assertEq(
            uint256(settlement.requestOf(requestId).status), uint256(expected), "request status"
        );
    }

    function assertClaim(bytes32 claimId, ClaimStatus expected) internal view {
        assertEq(uint256(settlement.claimOf(claimId).status), uint256(expected), "claim status");
    }

    function assertCredit(address payee, uint256 expected, string memory what) internal view {
        assertEq(settlement.balanceOf(payee), expected, what);
    }
}
