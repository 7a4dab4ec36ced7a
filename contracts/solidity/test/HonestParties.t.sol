// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IDisputeGame, State} from "../interfaces/IDisputeGame.sol";
import {
    ClaimStatus,
    IInferenceSettlement,
    RequestParams,
    RequestStatus
} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind, Toy} from "./support/Toy.sol";
import {Wire} from "./support/Wire.sol";

/// An honest provider and an honest challenger among liars, sock puppets and meddlers who act in
/// any order at any time. The honest two do only what they must, and as late as they may: a duty is
/// done in its last second when time would pass over it, else when chance says so.
///
/// Checked after every action: the settlement owns what it owes, to the wei; a decided claim stays
/// as it was decided; no honest claim is rejected and no lie final; the honest two have lost
/// nothing. In the end: everything is decided within the bound, paid, and nothing is left.
contract HonestPartiesTest is Player {
    uint256 private constant MOST_REQUESTS = 10;
    uint256 private constant MOST_DISPUTES = 16;
    uint256 private constant RICH = 1000 ether;
    /// Of a dispute over the toy at arity 2: see Bounds.t.sol.
    uint32 private constant MOST_MOVES = 20;

    address private constant liar = address(0x11a0);
    address private constant liarPayee = address(0x11a1);
    address private constant puppet = address(0x50c0);
    address private constant meddler = address(0x3ed0);

    struct Made {
        bytes32 requestId;
        bytes32 claimId;
        uint256 lie; // in the pool; 0: none
        bool honest; // by the honest provider
        ClaimStatus outcome; // as first seen
        uint256 given; // wei of a rejected claim's pot
        bool watched; // by the honest challenger
    }

    struct Fight {
        bytes32 dispute;
        uint256 made; // its claim
        State s;
    }

    Lie[] private pool;
    bytes32[] private requests;
    Made[] private claims;
    Fight[] private fights;
    uint64 private clock;

    function setUp() public override {
        super.setUp();
        clock = START;
        address[4] memory others = [liar, puppet, meddler, requester];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.deal(others[i], RICH);
        }
        pool.push(Lie(LieKind.None, 0, 0, 0, 0));
        pool.push(Lie(LieKind.Value, 3, 2, 200, 1));
        pool.push(Lie(LieKind.Value, 0, 1, 500, 1));
        pool.push(Lie(LieKind.Value, 2, 6, 0, 2));
        pool.push(Lie(LieKind.Value, 5, 6, 0, 5));
        pool.push(Lie(LieKind.Collect, 2, 3, 1, 0));
        // Every root is computed once, for all runs.
        for (uint256 i = 0; i < pool.length; ++i) {
            for (uint32 t = 0; t < PROMPT + OUTPUT - 1; ++t) {
                _stepLeaves(pool[i], t);
            }
        }
    }

    // ---------------------------------------------------------------- what anybody may do

    function ask(uint256 roll) external later(roll) {
        if (requests.length == MOST_REQUESTS) return;
        RequestParams memory p = _params(requests.length);
        // To the wei, so that shares have to be rounded.
        p.bond = uint128(1 ether + (roll >> 32) % 9 ether);
        p.windowS = 600 + uint32((roll >> 16) % 2000);
        p.deadline = clock + uint64(roll % 20_000);
        vm.prank(requester);
        requests.push(settlement.request{value: roll % 1 ether}(p));
    }

    function accept(uint256 roll) external later(roll) {
        if (requests.length == 0) return;
        bytes32 id = requests[(roll >> 8) % requests.length];
        IInferenceSettlement.RequestView memory r = settlement.requestOf(id);
        if (r.status != RequestStatus.Open || r.deadline < clock) return;
        bool honest = roll % 2 == 0;
        vm.prank(honest ? provider : liar);
        settlement.accept{value: r.bond}(id, honest ? providerPayee : liarPayee);
    }

    /// A liar claims a lie, or the truth, or misses.
    function claim(uint256 roll) external later(roll) {
        if (requests.length == 0) return;
        bytes32 id = requests[(roll >> 8) % requests.length];
        IInferenceSettlement.RequestView memory r = settlement.requestOf(id);
        if (r.status != RequestStatus.Accepted || r.claimBy < clock) return;
        _makeClaim(id, r.provider == provider ? 0 : roll % pool.length);
    }

    /// Liars challenge what is true or false; the liar's puppet is among them.
    function attack(uint256 roll) external later(roll) {
        if (claims.length == 0 || fights.length >= MOST_DISPUTES) return;
        uint256 which = (roll >> 8) % claims.length;
        IInferenceSettlement.ClaimView memory c = settlement.claimOf(claims[which].claimId);
        if (c.status != ClaimStatus.Pending || c.windowEnd <= clock) return;
        // Payees tell one challenger's disputes apart.
        address payee = address(uint160(0xfee0 + fights.length % 4));
        _open(which, roll % 2 == 0 ? puppet : meddler, payee);
    }

    function watch(uint256 roll) external later(roll) {
        if (claims.length == 0) return;
        _watch((roll >> 8) % claims.length);
    }

    /// Whoever's turn it is in some dispute moves; the dishonest only if they like.
    function play(uint256 roll) external later(roll) {
        if (fights.length == 0) return;
        _play((roll >> 8) % fights.length, roll);
    }

    function playMore(uint256 roll) external later(roll) {
        for (uint256 i = 0; i < fights.length; ++i) {
            _play(i, uint256(keccak256(abi.encode(roll, i))));
        }
    }

    /// Timeouts, finality, releases and cancellations, by anyone.
    function decide(uint256 roll) external later(roll) {
        for (uint256 i = roll % 3; i < fights.length; i += 3) {
            _timeout(i);
        }
        bytes32[] memory ids = new bytes32[](claims.length);
        for (uint256 i = 0; i < ids.length; ++i) {
            ids[i] = claims[i].claimId;
        }
        settlement.finalizeMany(ids);
        if (requests.length > 0) _giveBack(requests[(roll >> 8) % requests.length], roll);
    }

    function settle(uint256 roll) external later(roll) {
        if (fights.length == 0) return;
        Fight storage f = fights[(roll >> 8) % fights.length];
        _settle(f.made, uint32(roll % 3));
        if (settlement.claimOf(claims[f.made].claimId).status == ClaimStatus.Rejected) {
            settlement.refund(f.dispute);
        }
    }

    function withdraw(uint256 roll) external later(roll) {
        settlement.withdraw(_payees()[roll % 11]);
    }

    // ---------------------------------------------------------------- how it is done

    function _makeClaim(bytes32 id, uint256 which) private {
        Lie memory l = pool[which];
        bytes memory output = Toy.output(l, PROMPT, OUTPUT);
        bytes32 root = _traceRoot(l);
        address by = settlement.requestOf(id).provider;
        vm.prank(by);
        bytes32 claimId = settlement.claim(id, output, root);
        claims.push(Made(id, claimId, which, by == provider, ClaimStatus.Pending, 0, false));
    }

    function _open(uint256 which, address who, address payee) private {
        vm.prank(who);
        try settlement.challenge{value: CHALLENGER_BOND}(claims[which].claimId, payee) returns (
            bytes32 dispute
        ) {
            fights.push();
            Fight storage f = fights[fights.length - 1];
            (f.dispute, f.made) = (dispute, which);
            f.s = _initial(dispute);
        } catch {}
    }

    function _watch(uint256 which) private {
        if (claims[which].lie == 0 || claims[which].watched) return;
        IInferenceSettlement.ClaimView memory c = settlement.claimOf(claims[which].claimId);
        if (c.status != ClaimStatus.Pending || c.windowEnd <= clock) return;
        claims[which].watched = true;
        _open(which, challenger, challengerPayee);
    }

    /// Whether the honest one has to move in this dispute.
    function _isHonestTurn(IDisputeGame.DisputeView memory d) private pure returns (bool) {
        return d.defenderToMove ? d.defender == provider : d.challenger == challenger;
    }

    function _live(uint256 i) private view returns (bool, IDisputeGame.DisputeView memory d) {
        d = game.disputeOf(fights[i].dispute);
        return (!d.resolved && settlement.isPending(d.claimId), d);
    }

    function _play(uint256 i, uint256 roll) private {
        (bool live, IDisputeGame.DisputeView memory d) = _live(i);
        if (!live || clock > d.deadline) return;
        if (!_isHonestTurn(d) && (roll >> 200) % 3 == 0) return;
        lie = pool[claims[fights[i].made].lie];
        State memory s = fights[i].s;
        if (s.phase == Phases.STEP) {
            vm.prank(stranger);
            game.step(Wire.pack(s), _witness(s));
            return;
        }
        // Who lies plays at random, now and then even well.
        seed = d.defenderToMove || d.challenger == challenger || roll % 4 == 0 ? 0 : roll | 1;
        fights[i].s = _move(s);
        seed = 0;
    }

    function _defender(State memory s) internal view override returns (address) {
        return game.disputeOf(s.dispute).defender;
    }

    function _challenger(State memory s) internal view override returns (address) {
        return game.disputeOf(s.dispute).challenger;
    }

    /// A lying defender's folds: now and then anything.
    function _accs(State memory s) internal view override returns (int256[] memory accs) {
        accs = super._accs(s);
        if (_defender(s) != liar) return accs;
        for (uint256 i = 0; i < accs.length; ++i) {
            if (uint256(keccak256(abi.encode(s.dispute, s.lo, s.hi, i))) % 5 == 0) accs[i] += 3;
        }
    }

    function _timeout(uint256 i) private {
        (bool live, IDisputeGame.DisputeView memory d) = _live(i);
        if (live && clock > d.deadline) game.timeout(fights[i].dispute);
    }

    function _settle(uint256 which, uint32 limit) private {
        Made storage c = claims[which];
        if (settlement.claimOf(c.claimId).status != ClaimStatus.Rejected) return;
        uint256 before = _credits();
        settlement.settleReward(c.claimId, limit);
        c.given += _credits() - before;
    }

    function _giveBack(bytes32 id, uint256 roll) private {
        IInferenceSettlement.RequestView memory r = settlement.requestOf(id);
        if (r.status == RequestStatus.Accepted && r.claimBy < clock) {
            settlement.release(id);
        } else if (r.status == RequestStatus.Open && (r.deadline < clock || roll % 5 == 0)) {
            vm.prank(requester);
            settlement.cancel(id);
        }
    }

    // ---------------------------------------------------------------- time and duties

    /// Mostly little time, sometimes longer than a clock.
    modifier later(uint256 roll) {
        _pass(clock + uint64((roll >> 128) % ((roll >> 120) % 8 == 0 ? 1500 : 90)));
        _;
    }

    /// Time goes on to `to`; what the honest two must do before is done in its last second.
    function _pass(uint64 to) private {
        while (true) {
            (uint64 due, uint256 kind, uint256 i) = _nextDuty();
            if (due >= to) break;
            clock = due > clock ? due : clock;
            vm.warp(clock);
            if (kind == 0) _makeClaim(requests[i], 0);
            else if (kind == 1) _watch(i);
            else _play(i, 0);
        }
        clock = to;
        vm.warp(clock);
    }

    function _nextDuty() private view returns (uint64 due, uint256 kind, uint256 index) {
        due = type(uint64).max;
        for (uint256 i = 0; i < requests.length; ++i) {
            IInferenceSettlement.RequestView memory r = settlement.requestOf(requests[i]);
            if (r.status != RequestStatus.Accepted || r.provider != provider) continue;
            if (r.claimBy < due) (due, kind, index) = (r.claimBy, 0, i);
        }
        for (uint256 i = 0; i < claims.length; ++i) {
            if (claims[i].lie == 0 || claims[i].watched) continue;
            IInferenceSettlement.ClaimView memory c = settlement.claimOf(claims[i].claimId);
            if (c.status != ClaimStatus.Pending) continue;
            if (c.windowEnd - 1 < due) (due, kind, index) = (c.windowEnd - 1, 1, i);
        }
        for (uint256 i = 0; i < fights.length; ++i) {
            (bool live, IDisputeGame.DisputeView memory d) = _live(i);
            if (!live || !_isHonestTurn(d)) continue;
            if (d.deadline < due) (due, kind, index) = (d.deadline, 2, i);
        }
    }

    // ---------------------------------------------------------------- what must hold

    function _payees() private pure returns (address[11] memory) {
        return [
            requester,
            provider,
            providerPayee,
            challengerPayee,
            liarPayee,
            address(0xfee0),
            address(0xfee1),
            address(0xfee2),
            address(0xfee3),
            meddler,
            BURN
        ];
    }

    function _credits() private view returns (uint256 sum) {
        address[11] memory payees = _payees();
        for (uint256 i = 0; i < 11; ++i) {
            sum += settlement.balanceOf(payees[i]);
        }
    }

    function _owed() private view returns (uint256 sum) {
        sum = _credits();
        for (uint256 i = 0; i < requests.length; ++i) {
            IInferenceSettlement.RequestView memory r = settlement.requestOf(requests[i]);
            if (r.status == RequestStatus.Final || r.status == RequestStatus.Cancelled) continue;
            sum += r.fee;
            if (r.status != RequestStatus.Open) sum += r.bond;
        }
        for (uint256 i = 0; i < claims.length; ++i) {
            IInferenceSettlement.ClaimView memory c = settlement.claimOf(claims[i].claimId);
            if (c.status != ClaimStatus.Rejected) continue;
            sum += c.bond * (10_000 - _terms().burnBps) / 10_000 - claims[i].given;
        }
        for (uint256 i = 0; i < fights.length; ++i) {
            (,, bool settled) = settlement.bondOf(fights[i].dispute);
            if (!settled) sum += CHALLENGER_BOND;
        }
    }

    /// Coins, credits, and what is staked and not lost.
    function _wealthOfProvider() private view returns (uint256 sum) {
        sum = provider.balance + providerPayee.balance + settlement.balanceOf(providerPayee);
        for (uint256 i = 0; i < requests.length; ++i) {
            IInferenceSettlement.RequestView memory r = settlement.requestOf(requests[i]);
            if (r.status != RequestStatus.Accepted && r.status != RequestStatus.Claimed) continue;
            if (r.provider == provider) sum += r.bond;
        }
    }

    function _wealthOfChallenger() private view returns (uint256 sum) {
        sum = challenger.balance + challengerPayee.balance + settlement.balanceOf(challengerPayee);
        for (uint256 i = 0; i < fights.length; ++i) {
            (, address payee, bool settled) = settlement.bondOf(fights[i].dispute);
            if (!settled && payee == challengerPayee) sum += CHALLENGER_BOND;
        }
    }

    function _checkClaims() private {
        for (uint256 i = 0; i < claims.length; ++i) {
            Made storage c = claims[i];
            ClaimStatus status = settlement.claimOf(c.claimId).status;
            if (c.outcome != ClaimStatus.Pending) {
                assertEq(uint256(status), uint256(c.outcome), "one outcome");
            }
            c.outcome = status;
            // A liar that tells the truth may still fail to defend it.
            if (c.honest) assertTrue(status != ClaimStatus.Rejected, "an honest claim rejected");
            if (c.lie != 0) assertTrue(status != ClaimStatus.Final, "a lie is final");
            RequestStatus request = settlement.requestOf(c.requestId).status;
            if (status == ClaimStatus.Final) {
                assertTrue(request == RequestStatus.Final, "final for good");
                assertEq(settlement.requestOf(c.requestId).claimId, c.claimId, "the only one");
            }
        }
    }

    /// However slowly both play, a dispute is over within its bound.
    function _checkClocks() private view {
        for (uint256 i = 0; i < fights.length; ++i) {
            (bool live, IDisputeGame.DisputeView memory d) = _live(i);
            if (!live) continue;
            assertTrue(d.move <= MOST_MOVES, "moves");
            assertTrue(
                d.deadline <= d.openedAt + 2 * CLOCK_S + (d.move + 1) * MIN_RESPONSE_S, "bound"
            );
        }
    }

    /// forge-config: default.invariant.runs = 12
    /// forge-config: default.invariant.depth = 80
    /// forge-config: default.invariant.fail-on-revert = true
    /// forge-config: nightly.invariant.runs = 200
    /// forge-config: nightly.invariant.depth = 250
    /// forge-config: nightly.invariant.fail-on-revert = true
    function invariant_honestPartiesLoseNothing() public {
        assertEq(address(settlement).balance, _owed(), "balance");
        assertTrue(_wealthOfProvider() >= RICH, "the honest provider lost");
        assertTrue(_wealthOfChallenger() >= RICH, "the honest challenger lost");
        _checkClaims();
        _checkClocks();
    }

    /// All windows close, then the bound passes: every dispute is over or can be ended, every claim
    /// decided, every coin paid.
    function afterInvariant() external {
        uint64 end = clock;
        for (uint256 i = 0; i < claims.length; ++i) {
            uint64 windowEnd = settlement.claimOf(claims[i].claimId).windowEnd;
            if (windowEnd > end) end = windowEnd;
        }
        _pass(end + CLAIM_S + WINDOW_S);
        _pass(clock + 2 * CLOCK_S + (MOST_MOVES + 1) * MIN_RESPONSE_S + 1);
        for (uint256 i = 0; i < fights.length; ++i) {
            _timeout(i);
            (bool live,) = _live(i);
            assertTrue(!live, "undecided after the bound");
        }
        for (uint256 i = 0; i < claims.length; ++i) {
            if (settlement.isPending(claims[i].claimId)) settlement.finalize(claims[i].claimId);
            _settle(i, type(uint32).max);
        }
        for (uint256 i = 0; i < fights.length; ++i) {
            settlement.refund(fights[i].dispute);
        }
        for (uint256 i = 0; i < requests.length; ++i) {
            _giveBack(requests[i], 0);
            _giveBack(requests[i], 0);
        }
        address[11] memory payees = _payees();
        for (uint256 i = 0; i < 11; ++i) {
            settlement.withdraw(payees[i]);
        }
        invariant_honestPartiesLoseNothing();
        assertEq(address(settlement).balance, 0, "nothing is left");
    }

    // ---------------------------------------------------------------- for forge

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(this);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](10);
        selectors[0] = this.ask.selector;
        selectors[1] = this.accept.selector;
        selectors[2] = this.claim.selector;
        selectors[3] = this.attack.selector;
        selectors[4] = this.watch.selector;
        selectors[5] = this.play.selector;
        selectors[6] = this.playMore.selector;
        selectors[7] = this.decide.selector;
        selectors[8] = this.settle.selector;
        selectors[9] = this.withdraw.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(this), selectors);
    }

    /// One long life from one seed, in which everything happens: the invariants are not vacuous.
    function test_honestParties_longRun_everythingHappens() public {
        uint256 roll = 7;
        for (uint256 i = 0; i < 150; ++i) {
            roll = uint256(keccak256(abi.encode(roll)));
            uint256 which = roll % 14;
            uint256 x = uint256(keccak256(abi.encode(roll, "x")));
            if (which == 0) this.ask(x);
            else if (which <= 2) this.accept(x);
            else if (which <= 4) this.claim(x);
            else if (which <= 6) this.attack(x);
            else if (which == 7) this.watch(x);
            else if (which <= 9) this.play(x);
            else if (which == 10) this.playMore(x);
            else if (which == 11) this.decide(x);
            else if (which == 12) this.settle(x);
            else this.withdraw(x);
            invariant_honestPartiesLoseNothing();
        }
        this.afterInvariant();
        uint256[4] memory seen;
        for (uint256 i = 0; i < claims.length; ++i) {
            if (claims[i].honest) seen[0] += 1;
            if (claims[i].lie != 0) seen[1] += 1;
        }
        for (uint256 i = 0; i < fights.length; ++i) {
            IDisputeGame.DisputeView memory d = game.disputeOf(fights[i].dispute);
            if (d.resolved) seen[d.challengerWon ? 2 : 3] += 1;
        }
        for (uint256 i = 0; i < 4; ++i) {
            assertTrue(seen[i] > 0, "truths, lies, convictions and acquittals");
        }
        assertTrue(_wealthOfProvider() > RICH, "the honest provider earned");
        assertTrue(_wealthOfChallenger() > RICH, "so did the honest challenger");
    }
}
