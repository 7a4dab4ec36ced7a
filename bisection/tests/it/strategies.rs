//! Every strategy of an adversary against the honest player of the other side, exhaustively on
//! small claims: every deviation, at every turn, from every story.

use crate::games::request;
use crate::toy::court::{ToyActor, ToyCourt};
use crate::toy::*;
use refute_bisection::adversary::{Actor, Cast, Kind, Tally, Transaction, every_strategy, record};
use refute_bisection::layout::Layout;
use refute_bisection::player::{Challenger, Defender};
use refute_bisection::position::Block;
use refute_bisection::rules::Rules;
use refute_bisection::state::Party;

/// Lies of every kind: in every block and step, in the first element of its tensor and in the last
/// one, and in the first, a middle and the last unit of every fold.
fn lies(blocks: u32) -> Vec<Lie> {
    let (prompt, outputs) = request(blocks);
    let claim = ToyTrace::generate(&prompt, outputs, None).claim();
    let mut lies = Vec::new();
    for block in 0..blocks {
        for op in &PROGRAM[..claim.steps(Block(block)) as usize] {
            let (step, units) = (op.step(), op.units(block));
            let delta = if matches!(op, Op::Sample | Op::Collect) { 1 } else { 900_000_000 };
            let last = op.elements() - 1;
            let mut elements = vec![0, last];
            elements.dedup();
            for element in elements {
                lies.push(Lie::Element { block, step, element, delta });
            }
            let delta = if *op == Op::Sample { (1 << 70) - 1 } else { 1 << 40 };
            let mut places = vec![0, units / 2, units - 1];
            places.dedup();
            for unit in places.into_iter().filter(|_| units > 1) {
                lies.push(Lie::Unit { block, step, element: last, unit, delta });
            }
        }
        lies.push(Lie::Carry { block, element: 1, delta: 7 });
    }
    lies
}

fn actor<'a, P>(player: P, trace: &'a ToyTrace, claim: &'a ToyClaim) -> ToyActor<'a, P> {
    ToyActor { player, trace, claim }
}

/// All strategies of a defender that tells this lie. `None` if the lie reaches nothing committed.
fn against_defender(blocks: u32, arity_bits: u32, lie: Lie) -> Option<Tally> {
    let (prompt, outputs) = request(blocks);
    let rules = Rules::new(arity_bits).unwrap();
    let theirs = ToyTrace::generate(&prompt, outputs, Some(lie));
    let claim = theirs.claim();
    let own = ToyTrace::check(&prompt, &claim.output);
    let challenger = Challenger::new(&own, &claim, rules);
    challenger.first_difference().unwrap()?;
    let honest = actor(challenger, &own, &claim);
    let story = actor(Defender::new(&theirs, &claim, rules), &theirs, &claim);
    // The truth, and another lie, wherever they can be told in this claim.
    let step = Op::Embed.step();
    let second = Lie::Element { block: blocks - 1, step, element: 2, delta: 9 };
    let second = ToyTrace::run(&prompt, &claim.output, outputs, Some(second));
    let truth = actor(Defender::new(&own, &claim, rules), &own, &claim);
    let second = actor(Defender::new(&second, &claim, rules), &second, &claim);
    let others: [&dyn Actor; 2] = [&truth, &second];
    let foreign = foreign(&claim, arity_bits, &story, &honest);
    let court = ToyCourt::open(DISPUTE, &claim, arity_bits);
    let cast = Cast {
        adversary: Party::Defender,
        honest: &honest,
        story: &story,
        others: &others,
        foreign: &foreign,
    };
    Some(
        every_strategy(court, cast, &mut |_| true).unwrap_or_else(|lost| panic!("{lie:?}: {lost}")),
    )
}

/// All strategies of a challenger that disputes an honest claim by this lie. `None` if its
/// computation gives what the claim says.
fn against_challenger(blocks: u32, arity_bits: u32, lie: Lie) -> Option<Tally> {
    let (prompt, outputs) = request(blocks);
    let rules = Rules::new(arity_bits).unwrap();
    let own = ToyTrace::generate(&prompt, outputs, None);
    let claim = own.claim();
    let liar = ToyTrace::run(&prompt, &claim.output, outputs, Some(lie));
    let challenger = Challenger::new(&liar, &claim, rules);
    challenger.first_difference().unwrap()?;
    let honest = actor(Defender::new(&own, &claim, rules), &own, &claim);
    let story = actor(challenger, &liar, &claim);
    let second = Lie::Element { block: 0, step: Op::Embed.step(), element: 0, delta: 5 };
    let second = ToyTrace::run(&prompt, &claim.output, outputs, Some(second));
    let second = actor(Challenger::new(&second, &claim, rules), &second, &claim);
    let others: [&dyn Actor; 1] = [&second];
    let foreign = foreign(&claim, arity_bits, &honest, &story);
    let court = ToyCourt::open(DISPUTE, &claim, arity_bits);
    let cast = Cast {
        adversary: Party::Challenger,
        honest: &honest,
        story: &story,
        others: &others,
        foreign: &foreign,
    };
    Some(
        every_strategy(court, cast, &mut |_| true).unwrap_or_else(|lost| panic!("{lie:?}: {lost}")),
    )
}

/// The same dispute under another id, as it would be on another chain or by another challenger;
/// and one on another claim.
fn foreign(
    claim: &ToyClaim,
    arity_bits: u32,
    defender: &dyn Actor,
    challenger: &dyn Actor,
) -> Vec<Vec<Transaction>> {
    let elsewhere = ToyCourt::open([0xe1; 32], claim, arity_bits);
    // A story without a right last step ends in a refusal; what was sent until then is in there.
    let (Ok(elsewhere) | Err((elsewhere, _))) = record(elsewhere, defender, challenger);
    let rules = Rules::new(arity_bits).unwrap();
    let lie = Lie::Element { block: 0, step: Op::Keep.step(), element: 2, delta: 77 };
    let (prompt, outputs) = (&claim.prompt, claim.output.len() as u32);
    let theirs = ToyTrace::generate(prompt, outputs, Some(lie));
    let other = theirs.claim();
    let own = ToyTrace::check(prompt, &other.output);
    let defender = actor(Defender::new(&theirs, &other, rules), &theirs, &other);
    let challenger = actor(Challenger::new(&own, &other, rules), &own, &other);
    let court = ToyCourt::open([0xe2; 32], &other, arity_bits);
    let (Ok(other) | Err((other, _))) = record(court, &defender, &challenger);
    assert!(other.len() > 3, "a whole game");
    vec![elsewhere, other]
}

/// Blocks of the claim, and arity of the game.
const SIZES: [(u32, u32); 5] = [(1, 1), (1, 5), (2, 2), (3, 1), (3, 5)];

/// Plays all strategies of all stories, and gives how many stories and games there were.
fn all(
    (blocks, arity_bits): (u32, u32),
    kinds: &[Kind],
    play: fn(u32, u32, Lie) -> Option<Tally>,
) -> (u64, u64) {
    let mut total = Tally::default();
    let mut stories = 0;
    for lie in lies(blocks) {
        if let Some(tally) = play(blocks, arity_bits, lie) {
            total.add(&tally);
            stories += 1;
        }
    }
    println!("{blocks} blocks, arity {arity_bits}: {stories} stories, {total:?}");
    assert_eq!(total.kinds.values().sum::<u64>(), total.games());
    assert!(total.by_step > 500 && total.by_clock > 5_000);
    let played: Vec<Kind> = total.kinds.keys().copied().collect();
    let missing: Vec<_> = kinds.iter().filter(|kind| !played.contains(kind)).collect();
    assert!(missing.is_empty() || blocks == 1, "never done: {missing:?}");
    (stories, total.games())
}

/// What either side can do.
const ANYBODY: [Kind; 17] = [
    Kind::Story,
    Kind::Silent,
    Kind::LastSecond,
    Kind::TooLate,
    Kind::Slow,
    Kind::Hasty,
    Kind::Sender,
    Kind::Phase,
    Kind::Length,
    Kind::Hash,
    Kind::Proof,
    Kind::Leaf,
    Kind::Accumulator,
    Kind::State,
    Kind::Witness,
    Kind::OldMove,
    Kind::ForeignMove,
];

#[test]
fn no_defender_wins_by_any_strategy() {
    let kinds = [Kind::Child, Kind::Padding, Kind::Root, Kind::Token, Kind::Inconsistent];
    let kinds = [&ANYBODY[..], &kinds].concat();
    // As many as there are: a strategy that is left out by mistake is noticed.
    let games = SIZES.map(|size| all(size, &kinds, against_defender));
    assert_eq!(games, [(22, 10258), (22, 7816), (46, 20793), (58, 34066), (58, 23570)]);
}

#[test]
fn no_challenger_wins_by_any_strategy() {
    let kinds = [Kind::Child, Kind::Descriptor, Kind::Element, Kind::Choice, Kind::Inconsistent];
    let kinds = [&ANYBODY[..], &kinds].concat();
    let games = SIZES.map(|size| all(size, &kinds, against_challenger));
    assert_eq!(games, [(22, 12280), (22, 9248), (46, 24539), (58, 39969), (58, 27545)]);
}
