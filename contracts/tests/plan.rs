//! A plan is what happens: the same addresses and the same code when the transactions are really sent.

use alloy::primitives::{Address, B256, U256, keccak256};
use refute_contracts::artifact::{Contract, deployed_bytecode};
use refute_contracts::bindings::{GameParams, IDisputeGame, IInferenceSettlement, Terms};
use refute_contracts::create2;
use refute_contracts::evm::Evm;
use refute_contracts::plan::{Plan, PlanError};

const CHAIN: u64 = 31337;

fn game() -> GameParams {
    GameParams { arityBits: 5, clockS: 600, minResponseS: 30 }
}

fn terms() -> Terms {
    Terms {
        bondMin: 1000,
        bondMax: 2000,
        burnBps: 5000,
        missBps: 1,
        challengerBond: 10,
        challengerBurnBps: 10_000,
        moveReimbursement: 5,
        movesReimbursed: 50,
        windowMinS: 60,
        windowMaxS: 120,
        claimS: 30,
        callbackGasMax: 7,
    }
}

fn plan(salt: B256) -> Plan {
    Plan::new(CHAIN, salt, &game(), &terms()).expect("a plan")
}

#[test]
fn what_is_planned_is_what_is_created() {
    let salt = keccak256("any");
    let plan = plan(salt);
    let mut evm = Evm::new();
    evm.set_code(create2::PROXY, create2::PROXY_CODE.clone());
    for planned in plan.contracts() {
        let Some(init_code) = &planned.init_code else { continue };
        assert_eq!(planned.address, create2::address(salt, init_code));
        let data = create2::calldata(salt, init_code);
        let from = Address::repeat_byte(0x99);
        let made = evm.call(from, create2::PROXY, &data, U256::ZERO).expect("a call");
        assert!(made.is_success());
        assert_eq!(made.output.as_ref(), planned.address.as_slice());
        // One transaction has at most so much gas where EIP-7825 holds.
        assert!(made.gas_used < 1 << 24, "{}: {}", planned.contract.name(), made.gas_used);
    }
    for planned in plan.contracts() {
        assert_eq!(evm.code(planned.address), planned.code, "{}", planned.contract.name());
        assert_eq!(keccak256(&planned.code), planned.code_hash);
        assert_eq!(planned.code.len(), deployed_bytecode(planned.contract).len());
    }
    let (settlement, game_at) = (plan.settlement.address, plan.game.address);
    let view = IInferenceSettlement::gameCall {};
    assert_eq!(evm.view(settlement, &view).expect("a view"), game_at);
    let view = IInferenceSettlement::termsCall {};
    assert_eq!(evm.view(settlement, &view).expect("a view"), terms());
    let view = IDisputeGame::CLOCK_SCall {};
    assert_eq!(evm.view(game_at, &view).expect("a view"), game().clockS);
}

#[test]
fn every_constant_and_the_salt_move_the_settlement() {
    let salt = B256::ZERO;
    let base = plan(salt);
    let mut seen = vec![base.settlement.address, plan(B256::repeat_byte(1)).settlement.address];
    let changes: [fn(&mut GameParams, &mut Terms); 15] = [
        |g, _| g.arityBits = 4,
        |g, _| g.clockS += 1,
        |g, _| g.minResponseS += 1,
        |_, t| t.bondMin += 2,
        |_, t| t.bondMax += 1,
        |_, t| (t.burnBps, t.moveReimbursement) = (5001, 4),
        |_, t| t.missBps += 1,
        |_, t| t.challengerBond += 1,
        |_, t| t.challengerBurnBps -= 1,
        |_, t| t.moveReimbursement -= 1,
        |_, t| t.movesReimbursed -= 1,
        |_, t| t.windowMinS += 1,
        |_, t| t.windowMaxS += 1,
        |_, t| t.claimS += 1,
        |_, t| t.callbackGasMax += 1,
    ];
    for (i, change) in changes.iter().enumerate() {
        let (mut game, mut terms) = (game(), terms());
        change(&mut game, &mut terms);
        let plan = Plan::new(CHAIN, salt, &game, &terms).expect("a plan");
        assert_eq!(plan.registry, base.registry, "{i}");
        assert!(!seen.contains(&plan.settlement.address), "{i}");
        assert_ne!(plan.settlement.code_hash, base.settlement.code_hash, "{i}");
        seen.push(plan.settlement.address);
    }
}

#[test]
fn what_a_constructor_refuses_has_its_reason() {
    let bad = Terms { burnBps: 4999, ..terms() };
    let refused = Plan::new(CHAIN, B256::ZERO, &game(), &bad).expect_err("refused");
    let PlanError::Refused { contract: Contract::InferenceSettlement, outcome } = refused else {
        panic!("{refused}");
    };
    assert_eq!(outcome.failure(), "BadTerms(burnBps)");
    let bad = GameParams { clockS: 0, ..game() };
    let refused = Plan::new(CHAIN, B256::ZERO, &bad, &terms()).expect_err("refused");
    assert!(refused.to_string().contains("BadConstant(clockS)"), "{refused}");
}
