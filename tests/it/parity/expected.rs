//! What the reference says about a case, and the checks that follow.

use super::case::Case;
use super::{Check, FINALIZE, SEGMENT, WHOLE};
use alloy::primitives::I256;
use refute_engine::program::Op;
use refute_kernels::{
    embed, linear, max, mix, probs, quantize, rms_norm, rope, sample, scores, sum, swiglu,
};
use refute_tests::tiny::Random;
use refute_tests::verifier::world::Sealed;
use std::collections::BTreeSet;

/// Longer folds aren't computed; their accumulators are made up.
const CHAIN_TERMS_MAX: u64 = 1 << 18;

/// Larger inputs aren't put through `forward`.
const FORWARD_VALUES_MAX: u64 = 8192;

/// One unit of the element's fold.
fn unit(case: &Case, u: u64, acc: i128) -> i128 {
    let terms = case.unit_terms(u);
    let len = terms.end - terms.start;
    let ints = |start: u64| case.input(0).ints(start + terms.start, len);
    let (head, i) = case.head();
    match case.d.op {
        Op::RmsNorm => rms_norm::unit(acc, &ints(0)),
        Op::Quantize => {
            let (group, len) = case.group();
            quantize::unit(acc, &ints(group * len))
        }
        Op::Linear => {
            let leaf = case.matrix().leaf(case.element, u as u32);
            linear::unit(case.format(), &leaf, &case.input(0).halves(terms.start, len), acc)
        }
        Op::Max => max::unit(acc, &ints(head * case.positions())),
        Op::Sum => {
            let start = head * case.positions() + terms.start;
            sum::unit(acc, &unsigned(&case.input(0).halves(start, len)))
        }
        Op::Mix => {
            let p = case.input(0).half(head * case.positions() + u).cast_unsigned();
            let (row, g) = (case.cached(2, u), case.kv_head(head));
            mix::unit(acc, p, row.half(g * case.k() + i), row.shift(g))
        }
        Op::Sample => sample::unit(case.sampling(), case.t, acc, terms.start as u32, &ints(0)),
        _ => acc,
    }
}

fn unsigned(x: &[i16]) -> Vec<u16> {
    x.iter().map(|x| x.cast_unsigned()).collect()
}

/// The element, from its fold's last accumulator.
fn finalize(case: &Case, sealed: &Sealed, acc: i128) -> I256 {
    let d = &case.d;
    let own = |input: usize| case.input(input).int(case.e());
    let (head, position) = case.head();
    let value = match d.op {
        Op::Embed => embed_element(case).into(),
        Op::RmsNorm => {
            let w = integer(case, d.w, case.element);
            rms_norm::finalize(acc, d.n, d.c0, d.c1.cast_signed(), own(0), w).into()
        }
        Op::Quantize => {
            let shift = quantize::shift(acc, d.c0);
            if case.e() < case.n() {
                quantize::value(own(0), shift, d.c0).into()
            } else {
                shift.into()
            }
        }
        Op::Linear => {
            let bias = case.has_bias().then(|| integer(case, d.b, case.element));
            let residual = case.has_residual().then(|| own(1));
            linear::finalize(acc, case.input(0).shift(0), bias, residual).into()
        }
        Op::Rope => rope_element(case).into(),
        Op::Scores => {
            let (g, k) = (case.kv_head(head), case.k());
            let (q, row) = (case.input(0), case.cached(1, position));
            let (queries, keys) = (q.halves(head * k, k), row.halves(g * k, k));
            scores::score(&queries, q.shift(head), &keys, row.shift(g), d.c0).into()
        }
        Op::Probs => probs::prob(own(0), case.input(1).int(head)).into(),
        Op::Sum => acc & 0xffff_ffff,
        Op::Mix => mix::finalize(acc, case.input(1).int(head).cast_unsigned()).into(),
        Op::SwiGlu => swiglu::swiglu(own(0), own(1)).into(),
        Op::Sample => sample::finalize(acc).into(),
        Op::Max => acc,
        Op::Collect => return I256::from_be_bytes(sealed.root(case.collected()).0),
    };
    I256::unchecked_from(value)
}

/// Element `i` of an I32 row.
fn integer(case: &Case, base: u32, i: u32) -> i32 {
    let leaf = case.world.matrix(base).leaf(0, i / 256);
    numbers(&leaf)[(i % 256) as usize]
}

/// From the whole row where that is short, which doesn't depend on where leaves begin.
fn embed_element(case: &Case) -> i32 {
    let (format, token, i) = (case.format(), case.token(), case.element as usize);
    if case.k() <= FORWARD_VALUES_MAX {
        return embed::element(format, &case.matrix().row(token), i);
    }
    let (u, i) = (i / format.leaf_len(), i % format.leaf_len());
    embed::element(format, &case.matrix().leaf(token, u as u32), i)
}

fn rope_element(case: &Case) -> i32 {
    let (rotated, i) = (case.d.c0, case.element % case.d.k);
    if i >= rotated {
        return case.input(0).int(case.e());
    }
    let table = table_row(case);
    let pair = case.input(0).ints(case.e() & !1, 2);
    let j = (i & !1) as usize;
    let (y0, y1) = rope::pair(pair[0], pair[1], table[j], table[j + 1]);
    if i & 1 == 0 { y0 } else { y1 }
}

fn table_row(case: &Case) -> Vec<i32> {
    if case.d.c0 == 0 {
        return Vec::new();
    }
    numbers(&case.matrix().row(case.t))
}

/// The element by the op's `forward`, which goes other ways than its fold; `None` where the input is large.
fn forward(case: &Case) -> Option<i128> {
    let d = &case.d;
    let (heads, positions) = (u64::from(d.groups), case.positions());
    let values = match d.op {
        Op::Embed | Op::Linear | Op::Sample => case.k(),
        Op::RmsNorm | Op::Quantize | Op::Rope | Op::SwiGlu => case.n(),
        Op::Scores | Op::Mix => positions * (u64::from(d.kv) * case.k() + heads),
        Op::Max | Op::Probs | Op::Sum => heads * positions,
        Op::Collect => return None,
    };
    if values > FORWARD_VALUES_MAX {
        return None;
    }
    Some(match d.op {
        Op::Max | Op::Probs | Op::Sum => reduction(case),
        Op::Scores | Op::Mix => attention(case),
        _ => row(case),
    })
}

fn numbers(bytes: &[u8]) -> Vec<i32> {
    bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect()
}

/// The ops on one row.
fn row(case: &Case) -> i128 {
    let (d, i) = (&case.d, case.element as usize);
    let mut out = vec![0; d.n as usize];
    let ints = |input: usize| case.input(input).ints(0, case.n());
    match d.op {
        Op::Embed => embed::forward(case.format(), &case.matrix().row(case.token()), &mut out),
        Op::RmsNorm => {
            let w = numbers(&case.matrix().row(0));
            rms_norm::forward(&ints(0), &w, d.c0, d.c1.cast_signed(), &mut out);
        }
        Op::Quantize => {
            let (mut values, mut shifts) = (vec![0; out.len()], vec![0; d.groups as usize]);
            quantize::forward(&ints(0), shifts.len(), d.c0, &mut values, &mut shifts);
            let shift = || i128::from(shifts[i - values.len()]);
            return values.get(i).map_or_else(shift, |q| i128::from(*q));
        }
        Op::Linear => {
            let (x, row) = (case.input(0), case.matrix().row(case.element));
            let bias = case.has_bias().then(|| vec![integer(case, d.b, case.element)]);
            let residual = case.has_residual().then(|| vec![case.input(1).int(case.e())]);
            let (bias, residual) = (bias.as_deref(), residual.as_deref());
            let (x, shift, out) = (x.halves(0, case.k()), x.shift(0), &mut out[i..=i]);
            linear::forward(case.format(), &row, &x, shift, bias, residual, out);
        }
        Op::Rope => {
            rope::forward(&ints(0), d.k as usize, d.c0 as usize, &table_row(case), &mut out);
        }
        Op::SwiGlu => swiglu::forward(&ints(0), &ints(1), &mut out),
        _ => {
            let logits = case.input(0).ints(0, case.k());
            return sample::forward(case.sampling(), case.t, &logits).into();
        }
    }
    out[i].into()
}

/// Max, Probs and Sum over all heads.
fn reduction(case: &Case) -> i128 {
    let (heads, i) = (case.d.groups as usize, case.element as usize);
    let values = heads as u64 * case.positions();
    match case.d.op {
        Op::Max => {
            let mut out = vec![0; heads];
            max::forward(heads, &case.input(0).ints(0, values), &mut out);
            out[i].into()
        }
        Op::Probs => {
            let mut out = vec![0; values as usize];
            let (scores, max) =
                (case.input(0).ints(0, values), case.input(1).ints(0, heads as u64));
            probs::forward(heads, &scores, &max, &mut out);
            out[i].into()
        }
        _ => {
            let mut out = vec![0; heads];
            sum::forward(heads, &unsigned(&case.input(0).halves(0, values)), &mut out);
            out[i].into()
        }
    }
}

/// Scores and Mix over all positions.
fn attention(case: &Case) -> i128 {
    let (heads, t) = (case.heads(), case.positions());
    let (kv, total) = (heads.kv as u64, heads.heads as u64 * case.k());
    let own = if case.d.op == Op::Scores { 1 } else { 2 };
    let rows: Vec<_> = (0..t).map(|s| case.cached(own, s)).collect();
    let values: Vec<i16> = rows.iter().flat_map(|r| r.halves(0, kv * case.k())).collect();
    let shifts: Vec<u8> = rows.iter().flat_map(|r| (0..kv).map(|g| r.shift(g))).collect();
    let input = case.input(0);
    if case.d.op == Op::Scores {
        let q = input.halves(0, total);
        let q_shifts: Vec<u8> = (0..heads.heads as u64).map(|h| input.shift(h)).collect();
        let mut out = vec![0; heads.heads * t as usize];
        scores::forward(&heads, case.d.c0, &q, &q_shifts, &values, &shifts, &mut out);
        return out[case.element as usize].into();
    }
    let p = unsigned(&input.halves(0, heads.heads as u64 * t));
    let sums = case.input(1).ints(0, heads.heads as u64);
    let sums: Vec<u32> = sums.into_iter().map(i32::cast_unsigned).collect();
    let mut out = vec![0; total as usize];
    mix::forward(&heads, &p, &sums, &values, &shifts, &mut out);
    out[case.element as usize].into()
}

/// An accumulator that no honest fold has to reach: a defender may post what it likes.
fn any_accumulator(random: &mut Random) -> i128 {
    let any = i128::from(random.bits()) << 64 | i128::from(random.bits());
    match random.below(8) {
        0 => 0,
        1 => -1,
        2 => i128::MAX - i128::from(random.below(3)),
        3 => i128::MIN + i128::from(random.below(3)),
        4 => any,
        _ => any >> (1 + random.below(127)),
    }
}

/// The fold's accumulators before the units `at` (ascending); `None` where the fold is long.
fn chain(case: &Case, at: &[u64]) -> Option<Vec<i128>> {
    if case.terms().0 > CHAIN_TERMS_MAX {
        return None;
    }
    let (mut acc, mut next) = (case.init(), 0);
    let mut before = |u: u64| {
        acc = (next..u).fold(acc, |acc, u| unit(case, u, acc));
        next = u;
        acc
    };
    Some(at.iter().map(|u| before(*u)).collect())
}

/// Seals the case's world and says what to ask the contract: the whole element where the fold has one unit, else its
/// first unit, one in the middle, the last, and the finalizer.
pub(crate) fn checks(case: &Case, random: &mut Random) -> Result<(Sealed, Vec<Check>), String> {
    let units = case.units();
    let mut places = vec![0];
    if units > 1 {
        places.extend([units / 2, units - 1, units]);
        places.dedup();
    }
    let honest = if units == 1 { None } else { chain(case, &places) };
    let mut asks: BTreeSet<_> = case.finalize_asks().into_iter().collect();
    places.iter().filter(|u| **u < units).for_each(|u| asks.extend(case.unit_asks(*u)));
    let sealed = case.world.clone().seal(&asks);

    let mut checks = Vec::new();
    let compare = |mode: u8, value: I256| match forward(case).map(I256::unchecked_from) {
        Some(other) if other != value => Err(format!("mode {mode}: {value}, forward {other}")),
        _ => Ok(()),
    };
    if units == 1 {
        let expected = finalize(case, &sealed, unit(case, 0, case.init()));
        compare(WHOLE, expected)?;
        let asks = [case.unit_asks(0), case.finalize_asks()].concat();
        checks.push(Check { mode: WHOLE, unit: 0, acc_in: 0, expected, asks });
        return Ok((sealed, checks));
    }
    for (i, &place) in places.iter().enumerate() {
        let honest = honest.as_ref().map(|accs| accs[i]).filter(|_| random.below(3) != 0);
        let acc_in = honest.unwrap_or_else(|| any_accumulator(random));
        let check = if place < units {
            let expected = I256::unchecked_from(unit(case, place, acc_in));
            Check { mode: SEGMENT, unit: place, acc_in, expected, asks: case.unit_asks(place) }
        } else {
            let expected = finalize(case, &sealed, acc_in);
            if honest.is_some() {
                compare(FINALIZE, expected)?;
            }
            Check { mode: FINALIZE, unit: 0, acc_in, expected, asks: case.finalize_asks() }
        };
        checks.push(check);
    }
    Ok((sealed, checks))
}
