//! The registry and the import refuse the same programs, for the same reason: whoever imports a model can register it, and
//! what somebody else registered is what an import could have made.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol;
use alloy::sol_types::{SolCall, SolError, SolValue};
use refute_bisection::merkle::{Tree, leaf_hashes};
use refute_contracts::artifact::{Contract, bytecode};
use refute_contracts::bindings::{IModelRegistry as Registry, Model as Registration};
use refute_contracts::evm::Evm;
use refute_engine::model::{Requirements, model_id};
use refute_engine::program::check::{Fault, Refusal, STEP_BYTES, check};
use refute_engine::program::{NO_LEAF, NO_STEP};
use refute_tests::tiny::{Random, Shape};
use std::collections::BTreeMap;

/// Changed programs that both are asked about.
const CASES: u64 = 4000;

sol! {
    error WrongNumericsVersion(uint32 version);
    error BadParams(string what);
    error WrongProgramLength(uint256 length, uint256 expected);
    error WrongProgramRoot(bytes32 root, bytes32 expected);
    error BadStep(uint256 step, uint8 fault);
}

/// What the contract says in place of a refusal.
fn revert_of(refusal: &Refusal) -> Vec<u8> {
    match refusal {
        Refusal::Numerics(version) => WrongNumericsVersion { version: *version }.abi_encode(),
        Refusal::Params(what) => BadParams { what: (*what).to_owned() }.abi_encode(),
        Refusal::Length { length, expected } => {
            let (length, expected) = (U256::from(*length), U256::from(*expected));
            WrongProgramLength { length, expected }.abi_encode()
        }
        Refusal::Root { root, expected } => {
            WrongProgramRoot { root: *root, expected: *expected }.abi_encode()
        }
        Refusal::Step { step, fault } => {
            BadStep { step: U256::from(*step), fault: *fault as u8 }.abi_encode()
        }
        Refusal::Merkle(error) => panic!("a program without a tree: {error}"),
    }
}

struct Chain {
    evm: Evm,
    registry: Address,
}

impl Chain {
    fn new() -> Self {
        let mut evm = Evm::new();
        let deployer = Address::repeat_byte(1);
        evm.set_balance(deployer, U256::from(u64::MAX));
        let mut deploy = |contract, args: Vec<u8>| {
            evm.deploy(deployer, &bytecode(contract), &args).expect("artifacts deploy").address
        };
        let verifier = deploy(Contract::StepVerifier, Vec::new());
        let registry = deploy(Contract::ModelRegistry, verifier.abi_encode());
        Self { evm, registry }
    }

    /// The id, or what it reverts with.
    fn register(&self, model: &Registration, program: &[u8]) -> Result<B256, Bytes> {
        let program = Bytes::copy_from_slice(program);
        let call = Registry::registerCall { model: model.clone(), program }.abi_encode();
        let outcome = self.evm.static_call(Address::ZERO, self.registry, &call).expect("a call");
        if outcome.is_success() {
            Ok(B256::from_slice(&outcome.output))
        } else {
            Err(outcome.output)
        }
    }
}

fn root_of(program: &[u8]) -> B256 {
    let steps = program.as_chunks::<STEP_BYTES>().0;
    Tree::new(leaf_hashes(steps.iter().map(AsRef::as_ref))).expect("a tree").root().into()
}

/// A field takes the value that another step has there, one nearby, an extreme one, or any.
fn change_step(program: &mut [u8], random: &mut Random) {
    const FIELDS: [(usize, usize); 16] = [
        (0, 1),
        (1, 1),
        (2, 2),
        (4, 2),
        (6, 2),
        (8, 4),
        (12, 4),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 4),
        (32, 4),
        (36, 4),
        (40, 4),
        (44, 4),
        (48, 16),
    ];
    let steps = (program.len() / STEP_BYTES) as u32;
    let (start, width) = FIELDS[random.below(16) as usize];
    let at = |step: u32| step as usize * STEP_BYTES + start;
    let (own, other) = (at(random.below(steps)), at(random.below(steps)));
    let old = program[own..own + width].iter().fold(0u128, |v, b| v << 8 | u128::from(*b));
    let new = match random.below(8) {
        0..3 => return program.copy_within(other..other + width, own),
        3 => old.wrapping_add(1),
        4 => old.wrapping_sub(1),
        5 => [0, 1, u128::from(NO_STEP), u128::from(NO_LEAF), 1 << 31][random.below(5) as usize],
        6 => 1 << random.below(32),
        _ => u128::from(random.below(2000)),
    };
    program[own..own + width].copy_from_slice(&new.to_be_bytes()[16 - width..]);
}

fn change_params(model: &mut Registration, random: &mut Random) {
    let p = &mut model.params;
    let field = [
        &mut p.carried,
        &mut p.context,
        &mut p.vocabulary,
        &mut p.promptSteps,
        &mut p.outputSteps,
        &mut p.collectStep,
        &mut p.sampleStep,
        &mut p.weightLeaves,
        &mut model.numericsVersion,
    ];
    let field = &mut *field.into_iter().nth(random.below(9) as usize).expect("a field");
    *field = match random.below(5) {
        0 => 0,
        1 => u32::MAX,
        2 => field.wrapping_add(1),
        3 => field.wrapping_sub(1),
        _ => random.below(70_000),
    };
    if random.below(4) == 0 {
        p.stopIds = (0..random.below(40)).map(|_| random.below(400)).collect();
    }
}

fn shapes() -> Vec<Shape> {
    let small = Shape { seed: 2, layers: 1, tied: true, biases: false, ..Shape::default() };
    vec![Shape::default(), small]
}

#[test]
fn the_contract_and_the_import_refuse_the_same() {
    let chain = Chain::new();
    let mut random = Random::new(5);
    let models: Vec<_> = shapes().iter().map(Shape::model).collect();
    // How often each answer came: refused steps by fault, everything else, accepted.
    let mut steps = BTreeMap::new();
    let (mut other, mut accepted) = (0, 0);
    for case in 0..CASES {
        let base = &models[random.below(2) as usize];
        let (mut model, mut program) = (base.registration.clone(), base.program.packed());
        for _ in 0..random.below(3) {
            change_step(&mut program, &mut random);
        }
        if random.below(8) == 0 {
            change_params(&mut model, &mut random);
        }
        match random.below(40) {
            0 => program.truncate(random.below(program.len() as u32) as usize),
            1 => program.extend(std::iter::repeat_n(7, random.below(130) as usize)),
            2 => {}
            _ => model.programRoot = root_of(&program),
        }
        let expected = check(&model, &program);
        match &expected {
            Ok(()) => accepted += 1,
            Err(Refusal::Step { fault, .. }) => *steps.entry(*fault as u8).or_insert(0) += 1,
            Err(_) => other += 1,
        }
        let answer = match &expected {
            Ok(()) => Ok(model_id(&model)),
            Err(refusal) => Err(Bytes::from(revert_of(refusal))),
        };
        assert_eq!(chain.register(&model, &program), answer, "case {case}: {expected:?}");
    }
    // A fault that never came up was not compared.
    let faults: Vec<u8> = steps.keys().copied().collect();
    assert_eq!(faults, (Fault::Op as u8..=Fault::Slot as u8).collect::<Vec<_>>(), "{steps:?}");
    assert!(accepted > 100 && other > 100, "{accepted} accepted, {other} refused as a whole");
}

#[test]
fn requirements_are_part_of_the_id() {
    let mut chain = Chain::new();
    let shape = &shapes()[1];
    let model = || std::sync::Arc::into_inner(shape.model()).expect("the only one");
    let plain = model();
    let requirements = Requirements { min_bond_wei: u128::MAX - 1, min_window_s: 86_400 };
    let strict = model().requiring(requirements);
    assert_ne!(plain.id, strict.id);
    assert_eq!(plain.id, model().requiring(Requirements::default()).id);
    assert_eq!(strict.id, model().requiring(requirements).id);
    assert_eq!(strict.requirements(), requirements);
    for model in [plain, strict] {
        let from = Address::repeat_byte(1);
        let call = model.register_call();
        let sent = chain.evm.send(from, chain.registry, &call, U256::ZERO);
        assert_eq!(sent.expect("registered").0, model.id);
        let view = Registry::requirementsOfCall { modelId: model.id };
        let stored = chain.evm.view(chain.registry, &view).expect("a registered model");
        let Requirements { min_bond_wei, min_window_s } = model.requirements();
        assert_eq!((stored.minBond, stored.minWindowS), (min_bond_wei, min_window_s));
    }
}
