//! Witnesses and statements with one thing changed. None of them may lead to a verdict.

use super::case::Case;
use super::{Check, FINALIZE, SEGMENT, WHOLE};
use alloy::primitives::{B256, U256};
use refute_contracts::bindings::{Opening, Statement};
use refute_tests::tiny::Random;
use refute_tests::verifier::world::{Ask, Sealed};
use refute_tests::verifier::{Answer, Verifier, witness};

/// Tries all of them on one check; how many there were.
pub(crate) fn all(
    verifier: &Verifier,
    case: &Case,
    sealed: &Sealed,
    check: &Check,
    random: &mut Random,
) -> Result<u64, String> {
    let openings: Vec<_> = check.asks.iter().map(|ask| sealed.open(*ask)).collect();
    let statement = check.statement(case, sealed, check.expected, random);
    let mut count = 0;
    let mut refused = |what: String, statement: &Statement, witness: Vec<u8>| {
        count += 1;
        match verifier.verify(statement, witness).answer {
            // Solidity's own panics would mean that something was computed before it was checked.
            Answer::Reverted(reason) if !reason.starts_with("panic") => Ok(()),
            answer => Err(format!("{answer:?} about {what}: {check:?} of {:?}", case.d)),
        }
    };
    for i in 0..openings.len() {
        for (what, changed) in of_opening(&openings, i, random) {
            refused(format!("opening {i} with {what}"), &statement, witness(&changed))?;
        }
    }
    for (what, changed) in of_bytes(&witness(&openings), random) {
        refused(what, &statement, changed)?;
    }
    for (what, changed) in of_padding(&openings) {
        refused(what, &statement, changed)?;
    }
    for (what, changed) in of_statement(case, check, &statement) {
        refused(what.into(), &changed, witness(&openings))?;
    }
    Ok(count)
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    let i = random.below(bytes.len() as u32) as usize;
    bytes[i] ^= 1 << random.below(8);
}

/// Everything that can be wrong with opening `i` of a list.
fn of_opening(
    openings: &[Opening],
    i: usize,
    random: &mut Random,
) -> Vec<(&'static str, Vec<Opening>)> {
    let mut out = Vec::new();
    let mut with = |what, change: &mut dyn FnMut(&mut Vec<u8>, &mut Vec<B256>)| {
        let mut changed = openings.to_vec();
        let mut data = changed[i].data.to_vec();
        change(&mut data, &mut changed[i].proof);
        changed[i].data = data.into();
        out.push((what, changed));
    };
    with("a bit of its data flipped", &mut |data, _| flip(data, random));
    with("a byte more", &mut |data, _| data.push(0));
    with("a word more", &mut |data, _| data.extend([0; 32]));
    with("a byte less", &mut |data, _| data.truncate(data.len() - 1));
    with("no data", &mut |data, _| data.clear());
    with("a hash more", &mut |_, proof| proof.push(B256::ZERO));
    with("a hash more in front", &mut |_, proof| proof.insert(0, B256::ZERO));
    if !openings[i].proof.is_empty() {
        with("a bit of its path flipped", &mut |_, proof| {
            let at = random.below(proof.len() as u32) as usize;
            flip(proof[at].as_mut_slice(), random);
        });
        with("a hash less", &mut |_, proof| proof.truncate(proof.len() - 1));
        with("no path", &mut |_, proof| proof.clear());
    }
    let mut list = openings.to_vec();
    list.remove(i);
    out.push(("itself left out", list));
    let mut list = openings.to_vec();
    list.insert(i, openings[i].clone());
    out.push(("a copy beside it", list));
    if i + 1 < openings.len() && openings[i] != openings[i + 1] {
        let mut list = openings.to_vec();
        list.swap(i, i + 1);
        out.push(("the next one before it", list));
    }
    out
}

/// Other spellings of a witness: there is only one.
fn of_bytes(witness: &[u8], random: &mut Random) -> Vec<(String, Vec<u8>)> {
    let mut out = vec![("an empty witness".into(), Vec::new())];
    for (what, len) in [("a byte", 1), ("a word", 32)] {
        out.push((format!("{what} after the end"), [witness, &vec![0; len]].concat()));
        out.push((format!("{what} cut off"), witness[..witness.len() - len].to_vec()));
    }
    for _ in 0..4 {
        let i = random.below(witness.len() as u32) as usize;
        let mut changed = witness.to_vec();
        changed[i] ^= 1 << random.below(8);
        out.push((format!("a bit flipped in byte {i}"), changed));
    }
    out.push((
        "a place more in the table, and no opening for it".into(),
        with_spare_place(witness),
    ));
    // The words that say where and how long things are.
    for i in 0..(witness.len() / 32).min(8) {
        let mut changed = witness.to_vec();
        changed[32 * i + random.below(32) as usize] ^= 1 << random.below(8);
        out.push((format!("a bit flipped in word {i}"), changed));
    }
    out
}

/// Counts one opening more and leaves room for its offset, which moves the others; behind the last one nothing comes.
fn with_spare_place(witness: &[u8]) -> Vec<u8> {
    let (words, _) = witness.as_chunks::<32>();
    let more =
        |word: &[u8; 32], by: u64| (U256::from_be_bytes(*word) + U256::from(by)).to_be_bytes();
    let count = usize::try_from(U256::from_be_bytes(words[1])).expect("a list's length");
    let (offsets, rest) = words[2..].split_at(count);
    let head = [words[0], more(&words[1], 1)];
    let offsets: Vec<[u8; 32]> = offsets.iter().map(|offset| more(offset, 32)).collect();
    [&head, offsets.as_slice(), &[[0; 32]], rest].concat().concat()
}

/// The first and the last bit behind each opening's data, where the padding to whole words has any: there, only zeros may stand.
fn of_padding(openings: &[Opening]) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    let witness = witness(openings);
    // Behind the list's offset and length, and a word for each opening's place.
    let mut at = 64 + 32 * openings.len();
    for (i, opening) in openings.iter().enumerate() {
        // Two offsets and the data's length; the data, padded; the path's length, and the path.
        let data = at + 96;
        let padding = data + opening.data.len()..data + opening.data.len().next_multiple_of(32);
        at = padding.end + 32 + 32 * opening.proof.len();
        if padding.is_empty() {
            continue;
        }
        for (which, byte, bit) in [("first", padding.start, 0x80), ("last", padding.end - 1, 1)] {
            let mut changed = witness.clone();
            changed[byte] ^= bit;
            out.push((format!("the {which} bit of the padding of opening {i}"), changed));
        }
    }
    assert_eq!(at, witness.len(), "the layout of a witness");
    out
}

/// Statements that the witness isn't for, or that are none.
fn of_statement(
    case: &Case,
    check: &Check,
    statement: &Statement,
) -> Vec<(&'static str, Statement)> {
    let mut out = Vec::new();
    let mut with = |what, change: &dyn Fn(&mut Statement)| {
        let mut changed = statement.clone();
        change(&mut changed);
        out.push((what, changed));
    };
    for mode in [WHOLE, SEGMENT, FINALIZE, 3, 255] {
        // A fold of one unit is decided whole, a longer one never.
        if (mode == WHOLE) != (check.mode == WHOLE) || mode > FINALIZE {
            with("another mode", &|s| s.mode = mode);
        }
    }
    if check.mode == SEGMENT {
        with("a unit that the fold doesn't have", &|s| s.unit = case.units());
        with("a unit far outside", &|s| s.unit = u64::MAX);
    }
    let elements = case.d.shape(case.t).expect("a shape").elements;
    with("an element that the tensor doesn't have", &|s| s.element = elements);
    with("an element far outside", &|s| s.element = u32::MAX);
    let other = |root: &mut B256| root.0[31] ^= 1;
    for ask in &check.asks {
        match *ask {
            Ask::Step { step, .. } => {
                with("another step root", &|s| other(&mut s.stepRoot));
                with("a step before its input", &|s| s.step = step.into());
                with("fewer steps", &|s| s.blockSteps = step.into());
            }
            Ask::Root { step } => {
                with("another step root", &|s| other(&mut s.stepRoot));
                with("fewer steps", &|s| s.blockSteps = step.into());
            }
            Ask::Carried { position, .. } => {
                with("another trace root", &|s| other(&mut s.traceRoot));
                with("fewer carried tensors", &|s| s.carried = case.d.c1);
                with("fewer blocks", &|s| s.blocks = position);
            }
            Ask::Weight { leaf } => {
                with("another weights root", &|s| other(&mut s.weightsRoot));
                with("fewer weights", &|s| s.weightLeaves = leaf);
            }
            Ask::Token { t } => {
                with("a token behind the last", &|s| {
                    s.blockIndex = s.promptLength + s.outputLength
                });
                with("other tokens", &|s| {
                    other(&mut s.promptRoot);
                    other(&mut s.outputRoot);
                });
                with("fewer tokens", &|s| {
                    s.promptLength = s.promptLength.min(t);
                    s.outputLength = t - s.promptLength;
                });
                with("a vocabulary without the token", &|s| {
                    s.d0.0[16..20].copy_from_slice(&case.token().to_be_bytes());
                });
            }
            Ask::Program { step } => {
                with("another program", &|s| other(&mut s.programRoot));
                with("fewer steps in the program", &|s| s.programSteps = step.into());
                with("a step before its input", &|s| s.step = step.into());
                with("another slot", &|s| s.element = (s.element + 1) % elements.max(2));
            }
        }
    }
    let reads_in0 = |ask: &Ask| matches!(ask, Ask::Step { step, .. } if *step == case.d.inputs[0]);
    if check.asks.iter().any(reads_in0) {
        with("an input that is no step yet", &|s| {
            let reference = (s.step as u16).to_be_bytes();
            s.d0.0[2..4].copy_from_slice(&reference);
        });
    }
    out
}
