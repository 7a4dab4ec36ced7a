// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {InferenceSettlement} from "../InferenceSettlement.sol";
import {DisputeGame} from "../DisputeGame.sol";
import {IDisputeGame, State} from "../interfaces/IDisputeGame.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestParams,
    RequestStatus
} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Fixture} from "./support/Fixture.sol";
import {Lie, Toy} from "./support/Toy.sol";
import {Trees} from "./support/Trees.sol";
import {Test, Vm} from "./support/Test.sol";
import {Wire} from "./support/Wire.sol";

/// Anybody doing anything: requesters, providers and challengers who act in any order, some of them
/// the same people. Claims are of a trace of three blocks whose roots are arbitrary: disputes end
/// by the clock, or are played down to an expansion that nobody makes.
contract Crowd is Test {
    uint256 private constant MOST = 40;

    InferenceSettlement private settlement;
    DisputeGame private game;
    bytes32 private modelId;
    address[5] private people = [
        address(0x1011),
        address(0x1012),
        address(0x1013),
        address(0x1014),
        0x000000000000000000000000000000000000dEaD
    ];

    bytes32[] private requests;
    bytes32[] private claims;
    bytes32[] private disputes;
    mapping(bytes32 dispute => State) private states;
    mapping(bytes32 dispute => bytes32 root) private roots;
    uint256 private nonce;
    uint64 private clock;

    /// What a rejected claim's disputes were given of its pot.
    mapping(bytes32 claimId => uint256) private given;

    uint256 public finals;
    uint256 public rejections;
    uint256 public losses;
    uint256 public paidOut;

    constructor(InferenceSettlement settlement_, bytes32 modelId_, uint64 start) {
        settlement = settlement_;
        game = DisputeGame(settlement_.game());
        modelId = modelId_;
        clock = start;
    }

    /// Time passes between calls: mostly little, sometimes longer than any limit.
    modifier later(uint256 seed) {
        uint256 most = (seed >> 120) % 16 == 0 ? 4000 : 60;
        clock += uint64((seed >> 128) % (most + 1));
        vm.warp(clock);
        _;
    }

    function _person(uint256 seed) private view returns (address) {
        return people[(seed >> 64) % 4];
    }

    function _payee(uint256 seed) private view returns (address) {
        return people[(seed >> 72) % 5];
    }

    /// One of so many, more often than not one of the newest, where something can still happen.
    function _pick(uint256 seed, uint256 length) private pure returns (uint256) {
        uint256 back = (seed >> 80) % 4 == 0 ? length : 3;
        return length - 1 - seed % (back < length ? back : length);
    }

    function _act(uint256 seed, uint256 value) private {
        vm.deal(_person(seed), value);
        vm.prank(_person(seed));
    }

    function _leaves(uint256 seed) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](3);
        for (uint256 i = 0; i < 3; ++i) {
            leaves[i] = keccak256(abi.encode(seed, i));
        }
    }

    function request(uint256 seed) external later(seed) {
        if (requests.length == MOST) return;
        RequestParams memory p;
        p.modelId = modelId;
        p.prompt = hex"0100000002000000";
        p.maxOutput = 2;
        // To the wei, so that shares have to be rounded.
        p.bond = uint128(settlement.terms().bondMin + (seed >> 32) % 9 ether);
        p.windowS = settlement.terms().windowMinS + uint32((seed >> 16) % 3000);
        p.deadline = clock + uint64(seed % 200_000);
        p.nonce = nonce++;
        _act(seed, seed % 5 ether);
        requests.push(settlement.request{value: seed % 5 ether}(p));
    }

    function accept(uint256 seed) external later(seed) {
        if (requests.length == 0) return;
        bytes32 id = requests[_pick(seed, requests.length)];
        IInferenceSettlement.RequestView memory r = settlement.requestOf(id);
        if (r.status != RequestStatus.Open || r.deadline < clock) return;
        _act(seed, r.bond);
        settlement.accept{value: r.bond}(id, _payee(seed));
    }

    function claim(uint256 seed) external later(seed) {
        if (requests.length == 0) return;
        bytes32 id = requests[_pick(seed, requests.length)];
        IInferenceSettlement.RequestView memory r = settlement.requestOf(id);
        if (r.status != RequestStatus.Accepted || r.claimBy < clock) return;
        bytes32 root = Trees.root(_leaves(claims.length));
        vm.prank(r.provider);
        claims.push(settlement.claim(id, hex"0500000006000000", root));
    }

    function releaseOrCancel(uint256 seed) external later(seed) {
        if (requests.length == 0) return;
        bytes32 id = requests[_pick(seed, requests.length)];
        IInferenceSettlement.RequestView memory r = settlement.requestOf(id);
        if (r.status == RequestStatus.Accepted && r.claimBy < clock) {
            settlement.release(id);
        } else if (r.status == RequestStatus.Open && seed % 7 == 0) {
            vm.prank(r.requester);
            settlement.cancel(id);
        }
    }

    function challenge(uint256 seed) external later(seed) {
        if (claims.length == 0) return;
        uint256 which = _pick(seed, claims.length);
        bytes32 id = claims[which];
        IInferenceSettlement.ClaimView memory c = settlement.claimOf(id);
        if (c.status != ClaimStatus.Pending || c.windowEnd <= clock) return;
        uint256 bond = settlement.terms().challengerBond;
        _act(seed, bond);
        try settlement.challenge{value: bond}(id, _payee(seed)) returns (bytes32 dispute) {
            disputes.push(dispute);
            State storage s = states[dispute];
            s.dispute = dispute;
            s.node = c.traceRoot;
            s.level = 2;
            roots[dispute] = bytes32(which);
        } catch (bytes memory reason) {
            assertTrue(bytes4(reason) == InferenceSettlement.AlreadyChallenged.selector, "why");
        }
    }

    /// The next move of a dispute, or its timeout.
    function play(uint256 seed) external later(seed) {
        if (disputes.length == 0) return;
        bytes32 dispute = disputes[_pick(seed, disputes.length)];
        IDisputeGame.DisputeView memory d = game.disputeOf(dispute);
        if (d.resolved || !settlement.isPending(d.claimId)) return;
        if (clock > d.deadline) {
            game.timeout(dispute);
            if (d.defenderToMove) ++rejections;
            else ++losses;
            return;
        }
        State memory s = states[dispute];
        bytes32[] memory leaves = _leaves(uint256(roots[dispute]));
        if (d.phase == Phases.BLOCKS_REVEAL) {
            vm.prank(d.defender);
            game.reveal(Wire.pack(s), leaves);
            states[dispute].phase = Phases.BLOCKS_CHOOSE;
            states[dispute].move += 1;
        } else if (d.phase == Phases.BLOCKS_CHOOSE && uint256(dispute) % 2 == 0) {
            // Every other challenger falls silent.
            uint32 child = uint32(seed % 3);
            bytes32[] memory path = Trees.proof(leaves, child);
            vm.prank(d.challenger);
            game.choose(Wire.pack(s), child, leaves[child], path);
            // The defender has nothing to expand: the phase ends with its clock.
            states[dispute].phase = Phases.EXPAND;
        }
    }

    function finalize(uint256 seed) external later(seed) {
        if (claims.length == 0) return;
        bytes32 id = claims[_pick(seed, claims.length)];
        IInferenceSettlement.ClaimView memory c = settlement.claimOf(id);
        if (c.status != ClaimStatus.Pending || c.windowEnd > clock || c.openDisputes > 0) return;
        settlement.finalize(id);
        ++finals;
    }

    function settle(uint256 seed) external later(seed) {
        if (disputes.length == 0) return;
        bytes32 dispute = disputes[_pick(seed, disputes.length)];
        (bytes32 id,,) = settlement.bondOf(dispute);
        if (settlement.claimOf(id).status != ClaimStatus.Rejected) return;
        if (seed % 3 == 0) _settleReward(id, uint32(seed % 2 + 1));
        else settlement.refund(dispute);
    }

    function _settleReward(bytes32 id, uint32 limit) private {
        uint256 before = _credits();
        settlement.settleReward(id, limit);
        given[id] += _credits() - before;
        if (settlement.claimOf(id).rewarded) assertEq(given[id], _pot(id), "the whole pot");
    }

    function _pot(bytes32 id) private view returns (uint256) {
        return settlement.claimOf(id).bond * (10_000 - settlement.terms().burnBps) / 10_000;
    }

    /// All payees are people.
    function _credits() private view returns (uint256 sum) {
        for (uint256 i = 0; i < people.length; ++i) {
            sum += settlement.balanceOf(people[i]);
        }
    }

    function withdraw(uint256 seed) external later(seed) {
        paidOut += settlement.withdraw(_payee(seed));
    }

    // ---------------------------------------------------------------- what must be there

    /// Credits, and everything that is still held for somebody.
    function owed() external view returns (uint256 sum) {
        sum = _credits();
        for (uint256 i = 0; i < requests.length; ++i) {
            IInferenceSettlement.RequestView memory r = settlement.requestOf(requests[i]);
            if (r.status != RequestStatus.Final && r.status != RequestStatus.Cancelled) {
                sum += r.fee;
            }
            // One bond from the acceptance to the end of the claim.
            if (r.status == RequestStatus.Accepted || r.status == RequestStatus.Claimed) {
                sum += r.bond;
            }
        }
        for (uint256 i = 0; i < claims.length; ++i) {
            if (settlement.claimOf(claims[i]).status == ClaimStatus.Rejected) {
                sum += _pot(claims[i]) - given[claims[i]];
            }
        }
        for (uint256 i = 0; i < disputes.length; ++i) {
            (,, bool settled) = settlement.bondOf(disputes[i]);
            if (!settled) sum += settlement.terms().challengerBond;
        }
    }

    /// After everything: time out, finalize, settle and withdraw whatever is left, and see that
    /// nothing is stuck.
    function unwind() external {
        for (uint256 round = 0; round < 4; ++round) {
            clock += 10_000;
            vm.warp(clock);
            for (uint256 i = 0; i < disputes.length; ++i) {
                IDisputeGame.DisputeView memory d = game.disputeOf(disputes[i]);
                if (!d.resolved && settlement.isPending(d.claimId)) game.timeout(disputes[i]);
            }
            for (uint256 i = 0; i < claims.length; ++i) {
                if (settlement.isPending(claims[i])) settlement.finalize(claims[i]);
                if (settlement.claimOf(claims[i]).status == ClaimStatus.Rejected) {
                    _settleReward(claims[i], 50);
                }
            }
            for (uint256 i = 0; i < disputes.length; ++i) {
                settlement.refund(disputes[i]);
            }
            for (uint256 i = 0; i < requests.length; ++i) {
                IInferenceSettlement.RequestView memory r = settlement.requestOf(requests[i]);
                if (r.status == RequestStatus.Accepted) settlement.release(requests[i]);
                r = settlement.requestOf(requests[i]);
                // Anyone, once the deadline is over.
                if (r.status == RequestStatus.Open) {
                    if (clock <= r.deadline) vm.prank(r.requester);
                    settlement.cancel(requests[i]);
                }
            }
        }
        for (uint256 i = 0; i < people.length; ++i) {
            settlement.withdraw(people[i]);
        }
    }
}

/// The settlement's balance is at every moment exactly what it owes.
contract SolvencyTest is Fixture {
    Crowd private crowd;

    function _traceRoot(Lie memory) internal pure override returns (bytes32) {
        return 0;
    }

    function setUp() public override {
        super.setUp();
        crowd = new Crowd(settlement, modelId, START);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(crowd);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](9);
        selectors[0] = Crowd.request.selector;
        selectors[1] = Crowd.accept.selector;
        selectors[2] = Crowd.claim.selector;
        selectors[3] = Crowd.releaseOrCancel.selector;
        selectors[4] = Crowd.challenge.selector;
        selectors[5] = Crowd.play.selector;
        selectors[6] = Crowd.finalize.selector;
        selectors[7] = Crowd.settle.selector;
        selectors[8] = Crowd.withdraw.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(crowd), selectors);
    }

    /// forge-config: default.invariant.runs = 64
    /// forge-config: default.invariant.depth = 150
    /// forge-config: default.invariant.fail-on-revert = true
    /// forge-config: nightly.invariant.runs = 200
    /// forge-config: nightly.invariant.depth = 250
    /// forge-config: nightly.invariant.fail-on-revert = true
    function invariant_balanceIsWhatIsOwed() public view {
        assertEq(address(settlement).balance, crowd.owed(), "balance");
    }

    function afterInvariant() external {
        crowd.unwind();
        assertEq(crowd.owed(), 0, "owed in the end");
        assertEq(address(settlement).balance, 0, "left in the end");
    }

    /// The same crowd from one seed, long enough that everything happens.
    function test_solvency_longRun_everythingHappens() public {
        uint256 seed = 1;
        for (uint256 i = 0; i < 2000; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 which = seed % 17;
            uint256 argument = uint256(keccak256(abi.encode(seed, "argument")));
            if (which == 0) crowd.request(argument);
            else if (which <= 2) crowd.accept(argument);
            else if (which <= 5) crowd.claim(argument);
            else if (which == 6) crowd.releaseOrCancel(argument);
            else if (which == 7) crowd.challenge(argument);
            else if (which <= 10) crowd.play(argument);
            else if (which <= 12) crowd.finalize(argument);
            else if (which <= 14) crowd.settle(argument);
            else if (which == 15) crowd.withdraw(argument);
            else crowd.challenge(argument);
            assertEq(address(settlement).balance, crowd.owed(), "balance");
        }
        assertTrue(crowd.finals() > 0, "finals");
        assertTrue(crowd.rejections() > 0, "rejections");
        assertTrue(crowd.losses() > 0, "losses");
        assertTrue(crowd.paidOut() > 0, "payments");
        crowd.unwind();
        assertEq(address(settlement).balance, 0, "left in the end");
    }
}
