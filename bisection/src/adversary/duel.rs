//! Plays every strategy to its end, and judges it.

use super::falsify::Place;
use super::outcome::{End, Lost, LostHow, Tally};
use super::strategy::{Kind, Strategy, deviations};
use super::{Actor, Call, Cast, Court, Reaction, Transaction};
use crate::layout::{Layout, LayoutError};
use crate::position::{Block, Element, Step};
use crate::rules::Rules;
use crate::state::{Party, Phase, State};

/// Plays every strategy that `keep` wants, each from the adversary's turn on at which it departs
/// from its story, and the story itself. `keep` is asked once for every strategy, in an order that
/// is always the same.
///
/// # Errors
/// The first game that the honest party doesn't win within the bounds.
pub fn every_strategy<C: Court>(
    mut court: C,
    cast: Cast<'_>,
    keep: &mut dyn FnMut(&Strategy) -> bool,
) -> Result<Tally, Box<Lost>> {
    let mut tally = Tally::default();
    let duel = Duel::new(cast, &court)?;
    let mut sent = Vec::new();
    loop {
        let state = *court.history().state();
        let honest = state.to_move() != Some(cast.adversary) && state.phase != Phase::Step;
        if honest {
            duel.usurpations(&court, &mut tally)?;
            let transaction = duel.honest(&mut court)?;
            sent.push(transaction);
            continue;
        }
        for strategy in deviations(&court, &cast, &sent) {
            if keep(&strategy) {
                let end = duel.play(court.clone(), &strategy);
                let end = end.map_err(|how| duel.lost(how, Some(&strategy), &state))?;
                tally.count(strategy.kind(), &end);
            }
        }
        let plain = |how| duel.lost(how, None, &state);
        let Some(transaction) = cast.story(&court, 0) else {
            let end = duel.by_clock(court, true).map_err(plain)?;
            tally.count(Kind::Story, &end);
            return Ok(tally);
        };
        let end = match duel.send(&mut court, &transaction) {
            Reaction::Moved => {
                sent.push(transaction);
                continue;
            }
            Reaction::Refused(_) => duel.by_clock(court, true),
            Reaction::Decided { winner, by_step } => duel.judge(&court, winner, by_step),
        };
        tally.count(Kind::Story, &end.map_err(plain)?);
        return Ok(tally);
    }
}

/// Plays two actors against each other, and gives what they sent.
///
/// # Errors
/// A party without a move, or with one that is refused: what was sent before, and how it ended.
pub fn record<C: Court>(
    mut court: C,
    defender: &dyn Actor,
    challenger: &dyn Actor,
) -> Result<Vec<Transaction>, (Vec<Transaction>, LostHow)> {
    let mut sent = Vec::new();
    loop {
        let answers = *court.history().state();
        let challengers = answers.to_move() == Some(Party::Challenger);
        let (party, actor) = match challengers || answers.phase == Phase::Step {
            true => (Party::Challenger, challenger),
            false => (Party::Defender, defender),
        };
        let call = match actor.call(court.history()) {
            Ok(call) => call,
            Err(why) => return Err((sent, LostHow::Stuck(why))),
        };
        let transaction = Transaction { answers, call };
        court.wait_until(court.now() + 1);
        match court.send(party, &transaction) {
            Reaction::Moved => sent.push(transaction),
            Reaction::Decided { .. } => {
                sent.push(transaction);
                return Ok(sent);
            }
            Reaction::Refused(why) => return Err((sent, LostHow::Refused("move", why))),
        }
    }
}

/// The most moves that a dispute on this claim can have, `step` not counted.
///
/// # Errors
/// Descriptors that aren't the model's.
pub fn moves_max(layout: &impl Layout, rules: Rules) -> Result<u32, LayoutError> {
    let mut most = 0;
    // Steps are the most in an output block, tensors and folds the longest in the last one.
    let block = Block(layout.blocks().saturating_sub(1));
    for step in (0..layout.program_steps()).map(Step) {
        let Some(descriptor) = layout.descriptor(step) else { continue };
        let shape = layout.tensor(&descriptor, block)?;
        let units = match shape.is_roots() {
            true => 1,
            false => layout.fold(&descriptor, block, Element(0))?.units,
        };
        most =
            most.max(rules.moves_max(layout.blocks(), layout.program_steps(), shape.leaves, units));
    }
    Ok(most)
}

struct Duel<'a> {
    cast: Cast<'a>,
    moves_max: u32,
    seconds_max: u64,
}

impl<'a> Duel<'a> {
    fn new<C: Court>(cast: Cast<'a>, court: &C) -> Result<Self, Box<Lost>> {
        let mut duel = Self { cast, moves_max: 0, seconds_max: 0 };
        let state = court.history().state();
        let most = moves_max(court.layout(), court.rules());
        duel.moves_max = most.map_err(|error| duel.lost(error.into(), None, state))?;
        duel.seconds_max = court.timing().dispute_s_max(duel.moves_max + 1);
        Ok(duel)
    }

    fn lost(&self, how: LostHow, strategy: Option<&Strategy>, state: &State) -> Box<Lost> {
        let adversary = self.cast.adversary;
        let strategy = strategy.map(|strategy| Box::new(strategy.clone()));
        Box::new(Lost { how, adversary, strategy, state: Box::new(*state) })
    }

    fn honest_party(&self) -> Party {
        self.cast.adversary.other()
    }

    /// What the adversary sends if it goes on with a story. A challenger whose story has no answer
    /// any more takes the first choice that there is; a defender is silent.
    fn any<C: Court>(&self, court: &C, story: usize) -> Option<Transaction> {
        let history = court.history();
        let answers = *history.state();
        let place = Place {
            layout: court.layout(),
            rules: court.rules(),
            state: &answers,
            last: history.last(),
        };
        self.cast.story(court, story).or_else(|| {
            let call = Call::Move(place.choices().into_iter().next()?);
            Some(Transaction { answers, call })
        })
    }

    fn send<C: Court>(&self, court: &mut C, transaction: &Transaction) -> Reaction {
        court.wait_until(court.now() + 1);
        court.send(self.cast.adversary, transaction)
    }

    /// The honest party's move, made.
    fn honest_move<C: Court>(&self, court: &mut C) -> Result<(Transaction, Reaction), LostHow> {
        let call = self.cast.honest.call(court.history()).map_err(LostHow::Stuck)?;
        let transaction = Transaction { answers: *court.history().state(), call };
        match court.send(self.honest_party(), &transaction) {
            Reaction::Refused(why) => {
                let name = match &transaction.call {
                    Call::Move(action) => action.name(),
                    Call::Step(_) => "step",
                };
                Err(LostHow::Refused(name, why))
            }
            reaction => Ok((transaction, reaction)),
        }
    }

    /// The same in the story, where it doesn't decide anything.
    fn honest<C: Court>(&self, court: &mut C) -> Result<Transaction, Box<Lost>> {
        let state = *court.history().state();
        court.wait_until(court.now() + 1);
        let (transaction, _) =
            self.honest_move(court).map_err(|how| self.lost(how, None, &state))?;
        Ok(transaction)
    }

    /// What the adversary can do while it is the other's turn: move for it, or call its clock.
    fn usurpations<C: Court>(&self, court: &C, tally: &mut Tally) -> Result<(), Box<Lost>> {
        let state = *court.history().state();
        let lost = |how| self.lost(how, None, &state);
        let call = self.cast.honest.call(court.history());
        let call = call.map_err(|why| lost(LostHow::Stuck(why)))?;
        let transaction = Transaction { answers: state, call };
        let mut usurped = court.clone();
        if !matches!(self.send(&mut usurped, &transaction), Reaction::Refused(_)) {
            return Err(lost(LostHow::Accepted("a move of the other party")));
        }
        let mut end = self.play_on(usurped, 0, false).map_err(lost)?;
        end.refused = true;
        tally.count(Kind::Sender, &end);
        let mut hasty = court.clone();
        hasty.wait_until(hasty.deadline());
        if !matches!(hasty.timeout(self.cast.adversary), Reaction::Refused(_)) {
            return Err(lost(LostHow::Accepted("a timeout in the last second")));
        }
        let _ = self.honest_move(&mut hasty).map_err(lost)?;
        let mut end = self.play_on(hasty, 0, false).map_err(lost)?;
        end.refused = true;
        tally.count(Kind::Hasty, &end);
        Ok(())
    }

    /// One game.
    fn play<C: Court>(&self, mut court: C, strategy: &Strategy) -> Result<End, LostHow> {
        match strategy {
            Strategy::Silent => self.by_clock(court, false),
            Strategy::LastSecond => {
                court.wait_until(court.deadline());
                self.no_timeout(&mut court)?;
                let Some(right) = self.cast.right(&court) else {
                    return self.by_clock(court, false);
                };
                match court.send(self.cast.adversary, &right) {
                    Reaction::Moved => self.play_on(court, 0, false),
                    Reaction::Decided { winner, by_step } => self.judge(&court, winner, by_step),
                    Reaction::Refused(why) => Err(LostHow::InTime(why)),
                }
            }
            Strategy::TooLate => {
                court.wait_until(court.deadline() + 1);
                if let Some(late) = self.cast.right(&court)
                    && !matches!(court.send(self.cast.adversary, &late), Reaction::Refused(_))
                {
                    return Err(LostHow::Accepted("a move after the last second"));
                }
                self.by_clock(court, true)
            }
            Strategy::Slow => self.play_on(court, 0, true),
            Strategy::Send { transaction, story, .. } => {
                let before = *court.history().state();
                match self.send(&mut court, transaction) {
                    Reaction::Moved => self.play_on(court, *story, false),
                    Reaction::Decided { winner, by_step } => self.judge(&court, winner, by_step),
                    Reaction::Refused(_) => {
                        if *court.history().state() != before {
                            return Err(LostHow::Accepted("what it refuses"));
                        }
                        self.by_clock(court, true)
                    }
                }
            }
        }
    }

    /// Nobody's clock is called while it runs.
    fn no_timeout<C: Court>(&self, court: &mut C) -> Result<(), LostHow> {
        match court.timeout(self.honest_party()) {
            Reaction::Refused(_) => Ok(()),
            _ => Err(LostHow::Accepted("a timeout in the last second")),
        }
    }

    /// The adversary does nothing more. Its clock ends the game; the last step anyone can make.
    fn by_clock<C: Court>(&self, mut court: C, refused: bool) -> Result<End, LostHow> {
        let in_time = court.now() <= court.deadline();
        if in_time && court.history().state().phase == Phase::Step {
            let mut court = court.clone();
            court.wait_until(court.deadline());
            let (_, reaction) = self.honest_move(&mut court)?;
            let Reaction::Decided { winner, by_step } = reaction else {
                return Err(LostHow::Accepted("a step that decides nothing"));
            };
            let end = self.judge(&court, winner, by_step)?;
            if self.cast.adversary == Party::Challenger {
                return Ok(End { refused, ..end });
            }
        }
        if in_time {
            court.wait_until(court.deadline());
            self.no_timeout(&mut court)?;
            court.wait_until(court.deadline() + 1);
        }
        match court.timeout(self.honest_party()) {
            Reaction::Decided { winner, by_step } => {
                let end = self.judge(&court, winner, by_step)?;
                Ok(End { refused, ..end })
            }
            Reaction::Moved => Err(LostHow::Accepted("a timeout as a move")),
            Reaction::Refused(why) => Err(LostHow::Refused("timeout", why)),
        }
    }

    /// The game goes on with a story until it is decided.
    fn play_on<C: Court>(&self, mut court: C, story: usize, slow: bool) -> Result<End, LostHow> {
        loop {
            let state = *court.history().state();
            if state.move_number > self.moves_max {
                return Err(LostHow::Moves(self.moves_max));
            }
            let second = if slow { court.deadline() } else { court.now() + 1 };
            court.wait_until(second.max(court.now()));
            let reaction =
                if state.to_move() != Some(self.cast.adversary) || state.phase == Phase::Step {
                    self.honest_move(&mut court)?.1
                } else {
                    let Some(next) = self.any(&court, story) else {
                        return self.by_clock(court, false);
                    };
                    match court.send(self.cast.adversary, &next) {
                        Reaction::Refused(_) => return self.by_clock(court, false),
                        reaction => reaction,
                    }
                };
            if let Reaction::Decided { winner, by_step } = reaction {
                return self.judge(&court, winner, by_step);
            }
        }
    }

    fn judge<C: Court>(&self, court: &C, winner: Party, by_step: bool) -> Result<End, LostHow> {
        if winner != self.honest_party() {
            return Err(LostHow::Game);
        }
        let moves = court.history().state().move_number;
        if moves > self.moves_max {
            return Err(LostHow::Moves(self.moves_max));
        }
        let (seconds, most) = (court.now() - court.opened_at(), self.seconds_max);
        if seconds > most {
            return Err(LostHow::Time { got: seconds, most });
        }
        Ok(End { by_step, refused: false, moves, seconds })
    }
}
