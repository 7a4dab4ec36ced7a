//! Sizes of tensors and folds, and elements read from leaves: the engine's descriptors against the contract's.

use super::{OPS, cases, draw, only_seed};
use rayon::prelude::*;
use refute_contracts::bindings::IStepVerifier::{decodeCall, foldCall, shapeCall};
use refute_engine::program::{Descriptor, Init, Op};
use refute_tests::tiny::Random;
use refute_tests::verifier::Verifier;
use refute_tests::verifier::content::LEAF_BYTES;

/// Whether both must accept a descriptor, or the contract may refuse more: it knows which ones no program has a use for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Op(Op),
    Noise,
}

/// Any descriptor: fields that make sense by themselves but hardly together.
fn noise(random: &mut Random) -> (Descriptor, u32) {
    let mut field = || match random.below(8) {
        0 => 0,
        1 => 1 + random.below(4),
        2 => 32 * random.below(100),
        3 => random.bits() as u32,
        4 => u32::MAX - random.below(2),
        _ => (random.bits() >> (32 + random.below(32))) as u32,
    };
    let [n, k, groups, kv, w, b, c0, c1, c2, slot, block, small] = [(); 12].map(|()| field());
    let op = draw::pick(random, &OPS);
    let inputs = [0; 3].map(|_: u16| random.bits() as u16);
    let c0 = if random.below(2) == 0 { random.below(18) } else { c0 };
    // Sizes that divide each other are rare among all.
    let n = if random.below(2) == 0 { groups.wrapping_mul(small) } else { n };
    // Two more than there are.
    let format = random.below(6) as u8;
    let any = Descriptor { op, format, inputs, n, k, groups, kv, w, b, c0, c1, c2, slot };
    let d = match random.below(32) {
        // Odd heads, rotated by an odd number of elements.
        0 => Descriptor { op: Op::Rope, n: 15, k: 5, c0: 3, ..any },
        // As long as a tensor may be, and a byte more.
        1 => Descriptor { op: Op::Quantize, n: i32::MAX as u32, groups: 1, c0: 12, ..any },
        2 => Descriptor { op: Op::Quantize, n: 1 << 31, groups: 1, c0: 12, ..any },
        // A bit more than a value has.
        3 => Descriptor { op: Op::Quantize, n: 32, groups: 1, c0: 16, ..any },
        _ => any,
    };
    (d, block)
}

fn draw(from: From, random: &mut Random) -> (Descriptor, u32) {
    match from {
        From::Noise => noise(random),
        From::Op(op) => {
            let case = draw::case(op, random);
            (case.d, case.t)
        }
    }
}

/// Both results are the same, or the contract refuses: which it may only if the descriptor is noise or the engine refuses too.
fn agree<T: PartialEq + std::fmt::Debug, E: std::fmt::Display>(
    engine: Result<T, E>,
    contract: Result<T, String>,
    from: From,
) -> Result<Option<T>, String> {
    match (engine, contract) {
        (Ok(a), Ok(b)) if a == b => Ok(Some(a)),
        (Ok(_), Err(_)) if from == From::Noise => Ok(None),
        (Err(_), Err(_)) => Ok(None),
        (Ok(a), b) => Err(format!("the engine says {a:?}, the contract {b:?}")),
        (Err(a), Ok(b)) => Err(format!("the engine refuses ({a}), the contract says {b:?}")),
    }
}

/// One descriptor; whether both accept it.
pub(crate) fn one(verifier: &Verifier, from: From, random: &mut Random) -> Result<bool, String> {
    let (d, block) = draw(from, random);
    let (d0, d1) = d.words();
    let (d0, d1) = (d0.into(), d1.into());
    let place = |what: &str| {
        let what = what.to_owned();
        move |e: String| format!("{what} of {d:?} in block {block}: {e}")
    };

    let engine = d.shape(block).map(|s| (s.byte_len, s.leaves, s.elements));
    let contract = verifier.view(&shapeCall { d0, d1, blockIndex: block });
    let contract = contract.map(|s| (s.byteLength, s.leaves, s.elements));
    let Some((byte_len, leaves, elements)) =
        agree(engine, contract, from).map_err(place("shape"))?
    else {
        return Ok(false);
    };

    let element = draw::element(random, elements.into());
    let engine = d.fold(block).map(|(units, init)| (units, init.value()));
    let contract = verifier.view(&foldCall { d0, d1, blockIndex: block, element });
    let contract =
        contract.map(|f| (f.units, f.init.try_into().expect("it starts within 128 bits")));
    let fold = agree(engine, contract, from).map_err(place("fold"))?;
    let starts_low = matches!(d.op, Op::Max | Op::Sample);
    let init = if starts_low { Init::Min } else { Init::Zero };
    if fold.is_some_and(|(_, start): (u64, i128)| start != init.value()) {
        return Err(place("fold")("it starts elsewhere".into()));
    }
    if d.op == Op::Collect {
        return Ok(true);
    }

    let outside = elements.saturating_add(random.below(3));
    for element in [element, element, outside] {
        let right = (d.place(block, element).0 as u64 / LEAF_BYTES) as u32;
        let leaf = if random.below(6) == 0 { random.below(leaves + 1) } else { right };
        let start = (u64::from(leaf) * LEAF_BYTES).min(byte_len.into());
        let mut len = (u64::from(byte_len) - start).min(LEAF_BYTES) as usize;
        if random.below(6) == 0 {
            len = (len + random.below(3) as usize).saturating_sub(1);
        }
        let data: Vec<u8> = (0..len).map(|_| random.bits() as u8).collect();
        let is_whole = len as u64 == (u64::from(byte_len) - start).min(LEAF_BYTES);
        let engine = d.decode(block, leaf, element, &data);
        let call = decodeCall { d0, d1, blockIndex: block, leaf, element, data: data.into() };
        let contract = verifier.view(&call).map(|v| v.try_into().expect("elements are short"));
        // The contract insists on the whole leaf; the engine reads what it needs.
        let from = if is_whole { from } else { From::Noise };
        let what = format!("decode {element} from leaf {leaf} of {len} bytes");
        agree(engine, contract, from).map_err(place(&what))?;
    }
    Ok(true)
}

/// Descriptors of every op, and as many that are noise.
pub(crate) fn kinds() -> Vec<From> {
    OPS.map(From::Op).into_iter().chain([From::Noise; OPS.len()]).collect()
}

#[test]
fn shapes_folds_and_elements_are_the_same_in_rust_and_on_chain() {
    let verifier = Verifier::deploy();
    let kinds = kinds();
    let accepted = (0..cases() * kinds.len() as u64 / 4).into_par_iter().map(|i| {
        let from = kinds[(i % kinds.len() as u64) as usize];
        let seed = only_seed().unwrap_or_else(|| Random::new(0x5a5a << 32 | i).bits());
        let accepted = one(&verifier, from, &mut Random::new(seed));
        let accepted = accepted.map_err(|e| format!("seed {seed:#x}: {e}"))?;
        Ok(u64::from(accepted && from == From::Noise))
    });
    let accepted = accepted.try_reduce(|| 0, |a, b| Ok(a + b));
    let accepted = accepted.unwrap_or_else(|e: String| panic!("{e}"));
    println!("noise that both accept: {accepted}");
    assert!(accepted > 0 || only_seed().is_some(), "noise that neither accepts tests little");
}
