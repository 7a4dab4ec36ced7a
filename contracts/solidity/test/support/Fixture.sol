// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DisputeGame} from "../../DisputeGame.sol";
import {InferenceSettlement} from "../../InferenceSettlement.sol";
import {ModelRegistry} from "../../ModelRegistry.sol";
import {GameParams} from "../../interfaces/IDisputeGame.sol";
import {
    ClaimStatus,
    RequestParams,
    RequestStatus,
    Terms
} from "../../interfaces/IInferenceSettlement.sol";
import {Test, Vm} from "./Test.sol";
import {Lie, Toy, ToyVerifier} from "./Toy.sol";

interface VmMore is Vm {
    function expectPartialRevert(bytes4 selector) external;
    function expectRevert(bytes4 selector, uint64 count) external;
    function expectCall(address callee, bytes calldata data) external;
    function expectEmit() external;
    function cool(address account) external;
    function etch(address account, bytes calldata code) external;
}

/// The contracts as they are deployed, with a toy for a model, and the actors.
abstract contract Fixture is Test {
    VmMore internal constant cheats = VmMore(address(vm));

    // What requests ask for, unless a test asks for something else; what follows from the terms.
    uint128 internal constant PROVIDER_BOND = 10 ether;
    uint256 internal constant PROVIDER_BURN = 6 ether;
    uint256 internal constant MISS_PENALTY = 1 ether;
    uint256 internal constant CHALLENGER_BOND = 2 ether;
    uint256 internal constant CHALLENGER_BURN = 0.5 ether;
    uint256 internal constant REIMBURSEMENT = 0.01 ether;
    uint32 internal constant MOVES_REIMBURSED = 20;
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

    function _terms() internal pure returns (Terms memory) {
        return Terms({
            bondMin: 1 ether,
            bondMax: 100 ether,
            burnBps: 6000,
            missBps: 1000,
            challengerBond: uint128(CHALLENGER_BOND),
            challengerBurnBps: 2500,
            moveReimbursement: uint128(REIMBURSEMENT),
            movesReimbursed: MOVES_REIMBURSED,
            windowMinS: 600,
            windowMaxS: 1 days,
            claimS: CLAIM_S,
            callbackGasMax: 1_000_000
        });
    }

    function _deploy(uint32 arityBits) internal {
        verifier = ToyVerifier(deployed("Toy.sol:ToyVerifier", ""));
        registry = ModelRegistry(
            deployed("ModelRegistry.sol:ModelRegistry", abi.encode(address(verifier)))
        );
        _settle(GameParams(arityBits, CLOCK_S, MIN_RESPONSE_S), _terms());
        modelId = registry.register(Toy.model(), Toy.program());
    }

    /// Another settlement and its game, for the same registry.
    function _settle(GameParams memory params, Terms memory terms) internal {
        (address created_, bytes memory reason) = _tryToSettle(params, terms);
        assertTrue(created_ != address(0), string(reason));
        settlement = InferenceSettlement(created_);
        game = DisputeGame(settlement.game());
    }

    function _tryToSettle(GameParams memory params, Terms memory terms)
        internal
        returns (address, bytes memory)
    {
        return created(
            "InferenceSettlement.sol:InferenceSettlement",
            abi.encode(address(registry), params, terms)
        );
    }

    /// A greedy request without a callback.
    function _params(uint256 nonce) internal view returns (RequestParams memory p) {
        p.modelId = modelId;
        p.prompt = Toy.prompt(PROMPT);
        p.maxOutput = OUTPUT;
        p.bond = PROVIDER_BOND;
        p.windowS = WINDOW_S;
        p.deadline = START + 1 days;
        p.nonce = nonce;
    }

    function _params(bytes memory prompt, uint32 maxOutput)
        internal
        view
        returns (RequestParams memory p)
    {
        p = _params(0);
        p.prompt = prompt;
        p.maxOutput = maxOutput;
    }

    function _request(uint256 nonce) internal returns (bytes32 requestId) {
        return _request(_params(nonce));
    }

    function _request(RequestParams memory p) internal returns (bytes32 requestId) {
        vm.prank(requester);
        requestId = settlement.request{value: FEE}(p);
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
