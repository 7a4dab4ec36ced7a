// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {State} from "../interfaces/IDisputeGame.sol";
import {ClaimStatus, RequestParams} from "../interfaces/IInferenceSettlement.sol";
import {Phases} from "../libraries/Phases.sol";
import {Player} from "./support/Player.sol";
import {Lie, LieKind} from "./support/Toy.sol";

/// Whoever plays both sides pays for it. A coalition is a provider, any number of challengers and,
/// where it helps, the requester; what it puts in and gets out is counted to the wei. Gas is not
/// counted: it only adds to a loss.
contract SockPuppetsTest is Player {
    /// How a puppet's dispute goes before the conviction.
    enum Part {
        Unanswered, // opened; the provider never moves in it
        Playing, // some moves, then the provider's turn
        Late, // answered, and the puppet lets its own clock run out
        Lost // answered, and the puppet's timeout is called
    }

    address private constant coalition = address(0xbad);
    address private constant honest = address(0x600d);
    address private constant honestPayee = address(0x600e);

    bytes32 private requestId;
    bytes32 private claimId;
    uint256 private puppets;
    uint256 private lost;

    function _liar() private {
        lie = Lie(LieKind.Value, 3, 4, 300, 20);
        RequestParams memory p = _params(1);
        requestId = _request(p);
        vm.prank(provider);
        settlement.accept{value: PROVIDER_BOND}(requestId, coalition);
        claimId = _claim(requestId, lie);
    }

    /// Disputes of one challenger with many payees; all of them the coalition's own in the end.
    function _puppet() private returns (State memory) {
        address payee = address(uint160(uint256(keccak256(abi.encode("puppet", puppets++)))));
        vm.deal(challenger, CHALLENGER_BOND);
        vm.prank(challenger);
        return _initial(settlement.challenge{value: CHALLENGER_BOND}(claimId, payee));
    }

    function _honest() private returns (State memory) {
        return _initial(_challengeAs(claimId, honest, honestPayee));
    }

    function _act(State memory s, Part part, uint256 moves) private {
        if (part == Part.Unanswered) return;
        if (part == Part.Playing) {
            for (uint256 i = 0; i < moves && s.phase != Phases.STEP; ++i) {
                s = _move(_move(s));
            }
            return;
        }
        _move(s);
        ++lost;
    }

    /// A dispute's defender is late: it convicts.
    function _convict(bytes32 dispute) private {
        vm.warp(game.disputeOf(dispute).deadline + 1);
        game.timeout(dispute);
    }

    /// Settles everything. What the coalition has now, of what it put in.
    function _coalitionOut() private returns (uint256 out) {
        settlement.settleReward(claimId, type(uint32).max);
        assertTrue(settlement.claimOf(claimId).rewarded, "settled");
        uint32 count = settlement.claimOf(claimId).disputes;
        for (uint32 i = 0; i < count; ++i) {
            settlement.refund(settlement.disputeAt(claimId, i));
        }
        out = settlement.balanceOf(coalition);
        for (uint256 i = 0; i < puppets; ++i) {
            out += settlement.balanceOf(
                address(uint160(uint256(keccak256(abi.encode("puppet", i)))))
            );
        }
    }

    // ---------------------------------------------------------------- a lie

    /// Every mix of puppets before, behind and around an honest challenger, whoever convicts: the
    /// coalition loses the burn at least, and a share of every puppet that lost; the honest
    /// challenger has its bond back, and everything the coalition has not.
    ///
    /// forge-config: default.fuzz.runs = 24
    function testFuzz_coalition_losesTheBurn(uint256 plan) public {
        _liar();
        uint256 count = plan % 4 + 1;
        uint256 place = (plan >> 8) % (count + 2);
        bytes32 last;
        bool watched;
        for (uint256 i = 0; i <= count; ++i) {
            if (i == place) {
                last = _honest().dispute;
                watched = true;
                continue;
            }
            uint256 roll = uint256(keccak256(abi.encode(plan, i)));
            State memory s = _puppet();
            _act(s, Part(roll % 4), (roll >> 8) % 6 + 1);
            if (roll % 4 == uint256(Part.Unanswered)) last = s.dispute;
        }
        // Nobody watched, and no puppet can convict: the lie would stand.
        if (last == 0) last = _honest().dispute;
        uint256 staked = PROVIDER_BOND + puppets * CHALLENGER_BOND;
        _callTimeouts(plan);
        _convict(last);
        uint256 out = _coalitionOut();
        uint256 honestOut = settlement.balanceOf(honestPayee);
        assertTrue(out + PROVIDER_BURN + lost * CHALLENGER_BURN <= staked, "more than half is gone");
        assertTrue(2 * PROVIDER_BURN >= PROVIDER_BOND, "at least half of the bond");
        if (watched) assertTrue(honestOut >= CHALLENGER_BOND, "the honest one has its bond");
        uint256 honestIn = honestOut == 0 ? 0 : CHALLENGER_BOND;
        assertEq(
            out + honestOut + PROVIDER_BURN + lost * CHALLENGER_BURN,
            staked + honestIn,
            "to the wei"
        );
    }

    /// Some puppets' timeouts are called before the conviction, others never: it changes nothing.
    function _callTimeouts(uint256 plan) private {
        uint32 count = settlement.claimOf(claimId).disputes;
        vm.warp(START + CLOCK_S + MIN_RESPONSE_S + 1);
        for (uint32 i = 0; i < count; ++i) {
            bytes32 dispute = settlement.disputeAt(claimId, i);
            if ((plan >> (16 + i)) % 2 == 0) continue;
            if (!game.disputeOf(dispute).defenderToMove) game.timeout(dispute);
        }
    }

    /// The most that puppets can take: first in line, every move made, nothing left of reserve or
    /// reward. It all comes from the liar's own bond. The honest challenger has its bond back and
    /// pays its gas: the limit that contracts/README.md states.
    function test_puppetFirst_eatsThePot_losesTheBurn() public {
        _liar();
        _playTo(_puppet(), Phases.STEP);
        _playTo(_puppet(), Phases.STEP);
        bytes32 watcher = _honest().dispute;
        _convict(watcher);
        uint256 out = _coalitionOut();
        assertEq(
            out, PROVIDER_BOND - PROVIDER_BURN + 2 * CHALLENGER_BOND, "the pot, and no wei more"
        );
        assertEq(settlement.balanceOf(honestPayee), CHALLENGER_BOND, "no loss");
    }

    /// Puppets behind the honest challenger have their moves' reimbursement at most, and only what
    /// the cap leaves: the reward is out of their reach.
    function test_puppetsBehind_takeNoReward() public {
        _liar();
        bytes32 watcher = _honest().dispute;
        for (uint256 i = 0; i < 3; ++i) {
            _playTo(_puppet(), Phases.STEP);
        }
        _convict(watcher);
        uint256 reserve = MOVES_REIMBURSED * REIMBURSEMENT;
        assertEq(_coalitionOut(), 3 * CHALLENGER_BOND + reserve, "the cap, and no wei more");
        assertEq(
            settlement.balanceOf(honestPayee) - CHALLENGER_BOND,
            PROVIDER_BOND - PROVIDER_BURN - reserve,
            "the reward whole"
        );
        assertTrue(2 * reserve <= PROVIDER_BOND - PROVIDER_BURN, "at least half of the pot");
    }

    /// A caught provider loses all its puppets' disputes to itself, quickly: the honest dispute
    /// goes on, and every puppet costs its burned share.
    function test_puppetsThatConcede_changeNothing() public {
        _liar();
        bytes32 watcher = _honest().dispute;
        for (uint256 i = 0; i < 3; ++i) {
            _act(_puppet(), Part.Lost, 0);
        }
        uint256 staked = PROVIDER_BOND + 3 * CHALLENGER_BOND;
        vm.warp(game.disputeOf(watcher).deadline + 1);
        for (uint32 i = 1; i < 4; ++i) {
            game.timeout(settlement.disputeAt(claimId, i));
        }
        assertClaim(claimId, ClaimStatus.Pending);
        game.timeout(watcher);
        assertEq(
            _coalitionOut(), staked - PROVIDER_BOND - 3 * CHALLENGER_BURN, "nothing of the bond"
        );
        assertEq(
            settlement.balanceOf(honestPayee),
            CHALLENGER_BOND + PROVIDER_BOND - PROVIDER_BURN,
            "all of the pot"
        );
    }

    // ---------------------------------------------------------------- no lie

    /// Disputes with oneself over an honest claim: each costs its burned share, and brings nothing.
    function test_selfDisputes_eachCostsItsShare() public {
        Lie memory none;
        lie = none;
        requestId = _request(1);
        vm.prank(provider);
        settlement.accept{value: PROVIDER_BOND}(requestId, coalition);
        claimId = _claim(requestId, none);
        for (uint256 i = 0; i < 5; ++i) {
            _move(_puppet());
        }
        vm.warp(START + CLOCK_S + MIN_RESPONSE_S + 1);
        for (uint32 i = 0; i < 5; ++i) {
            game.timeout(settlement.disputeAt(claimId, i));
        }
        vm.warp(START + WINDOW_S);
        settlement.finalize(claimId);
        assertEq(
            settlement.balanceOf(coalition),
            PROVIDER_BOND + FEE + 5 * (CHALLENGER_BOND - CHALLENGER_BURN),
            "a share of each is gone"
        );
        assertCredit(BURN, 5 * CHALLENGER_BURN, "burned");
    }

    /// Requester and provider are one, and accept and miss to keep others out: every round burns.
    function test_acceptAndMiss_eachRoundBurns() public {
        requestId = _request(1);
        uint64 now_ = START;
        for (uint256 i = 1; i <= 4; ++i) {
            _accept(requestId);
            now_ += CLAIM_S + 1;
            vm.warp(now_);
            settlement.release(requestId);
            assertCredit(BURN, i * MISS_PENALTY, "burned");
            assertCredit(providerPayee, i * (PROVIDER_BOND - MISS_PENALTY), "the rest");
        }
    }
}
