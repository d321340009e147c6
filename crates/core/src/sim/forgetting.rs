//! What a run that forgets may forget, and what it has to: checked against the book.
//! It does not know how the core finds out.

use super::book::{Book, Call, Run, Stage, name};
use super::oracle::{Checked, ensure};
use crate::types::*;

/// Checks an order about a call that is, or was, forgotten.
pub(super) fn action(book: &Book<'_>, action: &Action) -> Checked {
    match action {
        Action::DropCall { call } => dropped(book, *call),
        Action::Reuse { from: Source::Call(from), .. } => {
            let there = book.find(*from).is_some_and(|call| !call.dropped);
            ensure(there, || format!("{action:?} is about the result of a call that was forgotten"))
        }
        Action::RunEnded { run, .. } => {
            let Some(run) = book.runs.get(run.0 as usize) else { return Ok(()) };
            let kept = added(book, run).find(|call| !call.dropped);
            ensure(kept.is_none(), || format!("{} was never forgotten", kept.map_or_else(String::new, Call::name)))
        }
        _ => Ok(()),
    }
}

/// Checks that nothing is kept that could be forgotten.
pub(super) fn quiet(book: &Book<'_>) -> Checked {
    for run in book.runs.iter().filter(|run| run.added && !run.ended) {
        for call in added(book, run).filter(|call| call.stage == Stage::Ended && !call.dropped) {
            let open = takes(book, run, call).chain(takers(book, run, call)).any(|other| other.stage != Stage::Ended);
            ensure(open, || format!("{} is kept although nothing can refer to it", call.name()))?;
        }
    }
    Ok(())
}

fn dropped(book: &Book<'_>, who: CallRef) -> Checked {
    let say = |what: &str| format!("{} is forgotten {what}", name(who));
    let call = book.find(who).filter(|_| who.element.is_none()).ok_or_else(|| say("and never was"))?;
    let run = &book.runs[who.run.0 as usize];
    ensure(added(book, run).any(|added| added.who == who), || say("although it belongs to what its run began with"))?;
    ensure(!call.dropped, || say("twice"))?;
    ensure(call.stage == Stage::Ended, || say("before it has ended"))?;
    let taker = takers(book, run, call).find(|taker| taker.stage != Stage::Ended);
    ensure(taker.is_none(), || say(&format!("while {} takes it", taker.map_or_else(String::new, Call::name))))
}

/// The calls that were added to a run, if it forgets.
fn added<'b>(book: &'b Book<'_>, run: &'b Run) -> impl Iterator<Item = &'b Call> {
    let plan = &book.world.runs[run.id.0 as usize];
    let first = if plan.forget { plan.first_calls as usize } else { usize::MAX };
    run.calls.iter().skip(first)
}

fn takes<'b>(book: &'b Book<'_>, run: &'b Run, call: &Call) -> impl Iterator<Item = &'b Call> {
    let inputs = book.world.runs[run.id.0 as usize].calls[call.who.call as usize].inputs.iter();
    inputs.filter_map(|input| run.calls.get(input.call as usize))
}

fn takers<'b>(book: &'b Book<'_>, run: &'b Run, call: &Call) -> impl Iterator<Item = &'b Call> {
    let who = call.who.call;
    let takes = move |other: &&Call| {
        let plan = &book.world.runs[run.id.0 as usize].calls[other.who.call as usize];
        plan.inputs.iter().any(|input| input.call == who)
    };
    run.calls.iter().skip(who as usize).filter(takes)
}
