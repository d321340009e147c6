//! The promises of DESIGN 3 and 4, checked against what can be seen from outside: one check per action, and one of all
//! that waits whenever the core has nothing more to order.
//! It does not know how the core decides; of its code it shares the types only.

use super::Scheduler;
use super::book::{Book, Call, GRACE, Named, Run, Said, Stage, name};
use super::{forgetting, handed};
use crate::types::*;
use std::fmt::Debug;

/// A ready call may be passed over by this many starts before it ages, beyond those of calls that were open with it.
const OVERTAKES: u64 = 64;

/// What the oracle remembers beside the book.
#[derive(Default)]
pub(super) struct Oracle {
    idle_ticks: u32,
    last: (u64, u64, Time),
}

pub(super) type Checked = Result<(), String>;

pub(super) fn ensure(truth: bool, what: impl FnOnce() -> String) -> Checked {
    if truth { Ok(()) } else { Err(what()) }
}

impl Oracle {
    /// Checks one order, before it is written down.
    pub(super) fn action(&mut self, book: &Book<'_>, action: &Action) -> Checked {
        handed::action(book, action)?;
        forgetting::action(book, action)?;
        let who = match action {
            Action::Forget { .. } | Action::DropCall { .. } => return Ok(()),
            Action::Resolve { call, .. }
            | Action::Reuse { call, .. }
            | Action::Keep { call, .. }
            | Action::Store { call, .. }
            | Action::Look { call, .. }
            | Action::OpenWrite { call } => *call,
            // Also of one that ended in doubt, when its run ends: what that lets through is checked on the disk.
            Action::CloseWrite { .. } => return Ok(()),
            Action::Start { attempt, .. }
            | Action::Abort { attempt, .. }
            | Action::Retry { attempt, .. }
            | Action::Ask { attempt, .. } => attempt.call,
            Action::Ended(end) => end.call,
            Action::Illegal { call, why } => {
                return Err(format!("what was told of {} is not taken in: {why:?}", name(*call)));
            }
            Action::RunEnded { run, .. } => return run_ended(book, *run),
        };
        let call = book.find(who).ok_or_else(|| format!("{action:?} names a call that is not there"))?;
        ensure(call.stage != Stage::Ended, || format!("{} has ended, and then: {action:?}", name(who)))?;
        match action {
            Action::Resolve { again, .. } => resolve(book, call, *again),
            Action::Start { attempt, .. } => start(book, call, *attempt),
            Action::Abort { attempt, reason } => abort(book, call, *attempt, *reason),
            Action::Retry { attempt, due } => retry(book, call, *attempt, *due),
            Action::Ask { attempt, until } => ask(book, call, *attempt, *until),
            Action::Ended(end) => ended(book, call, end),
            Action::Look { .. } => {
                let say = |what: &str| format!("{} looks on the disk {what}", name(who));
                could_be_spared(book, call, &say)
            }
            _ => Ok(()),
        }
    }

    /// Whether a fact that is told from a record can have happened after those told before.
    pub(super) fn recorded(book: &Book<'_>, event: &Event) -> Checked {
        let (who, attempt) = match event {
            Event::Recorded(Recorded::Reused { call }) => {
                let say = |what: &str| format!("{event:?} is told {what}");
                let call = book.find(*call).ok_or_else(|| say("of a call that is not there"))?;
                let next = AttemptRef { call: call.who, attempt: call.attempts + 1 };
                return could_start(book, call, next, &say);
            }
            Event::Recorded(Recorded::Unanswered { call }) | Event::Resolved { call, .. } => (*call, None),
            Event::Recorded(
                Recorded::Started { attempt }
                | Recorded::Aborted { attempt, .. }
                | Recorded::GivenUp { attempt }
                | Recorded::Lost { attempt, .. },
            )
            | Event::Finished { attempt, .. }
            | Event::DoubtSettled { attempt, .. } => (attempt.call, Some(*attempt)),
            _ => return Ok(()),
        };
        let say = |what: &str| format!("{event:?} is told {what}");
        let call = book.find(who).ok_or_else(|| say("of a call that is not there"))?;
        let fits = |stage: bool| attempt.is_none_or(|a| a.attempt == call.attempts) && stage;
        let fits = match (event, attempt) {
            (Event::Recorded(Recorded::Started { .. }), Some(attempt)) => {
                return could_start(book, call, attempt, &say);
            }
            (Event::Resolved { .. }, _) => {
                let wanted = call.named == Named::Asked && call.stage != Stage::Ended;
                fits(wanted || book.is_asked(who))
            }
            (Event::Recorded(Recorded::Aborted { reason, .. }), _) => {
                let run = &book.runs[who.run.0 as usize];
                let due = match reason {
                    AbortReason::Timeout | AbortReason::IdleTimeout => true,
                    AbortReason::Stopped => call.aborted.is_some_and(|a| a.1 >= *reason),
                    AbortReason::Cancelled => call.cancelled,
                    AbortReason::Deadline => run.expired,
                };
                fits(due && call.stage == Stage::Running && call.end.is_none())
            }
            (
                Event::Recorded(Recorded::GivenUp { .. }) | Event::Finished { end: AttemptEnd::Aborted { .. }, .. },
                _,
            ) => fits(call.stage == Stage::Running && call.end.is_none() && call.aborted.is_some()),
            (Event::DoubtSettled { .. }, _) => fits(matches!(call.stage, Stage::Doubt(_))),
            (_, None) => fits(matches!(call.stage, Stage::Doubt(_) | Stage::Approval(_))),
            _ => fits(call.stage == Stage::Running && call.end.is_none()),
        };
        ensure(fits, || say("which cannot have happened"))
    }

    /// Checks all that waits; the core has nothing more to order.
    pub(super) fn quiet(&mut self, book: &mut Book<'_>, core: &mut impl Scheduler) -> Checked {
        let mut due = None;
        for run in 0..book.runs.len() {
            if book.runs[run].added && !book.runs[run].ended {
                waiting(book, run, core, &mut due)?;
            }
        }
        handed::quiet(book, core)?;
        forgetting::quiet(book)?;
        let timeout = core.poll_timeout();
        if let Some(due) = due {
            let in_time = timeout.is_some_and(|t| t <= due);
            ensure(in_time, || {
                format!("something is due at {} ns, but the core says to come back {timeout:?}", due.0)
            })?;
        }
        starving(book)?;
        book.starts_before = book.starts;
        let now = (book.starts, book.holding.len() as u64, book.now);
        let stuck = timeout.is_some_and(|t| t <= book.now) && now == self.last;
        self.idle_ticks = if stuck { self.idle_ticks + 1 } else { 0 };
        self.last = now;
        ensure(self.idle_ticks < 200, || format!("a timer at {timeout:?} is due again and again"))
    }

    /// Nothing comes any more: every run must have ended.
    pub(super) fn at_the_end(&self, book: &Book<'_>) -> Checked {
        let Some(run) = book.runs.iter().find(|r| r.added && !r.ended) else { return Ok(()) };
        let all = run.calls.iter().flat_map(|c| std::iter::once(c).chain(&c.elements));
        let open = all.filter(|c| c.stage != Stage::Ended).map(|c| format!("{} {:?}", c.name(), c.stage));
        Err(format!("r{} never ended; open: {}", run.id.0, open.collect::<Vec<_>>().join(", ")))
    }
}

fn resolve(book: &Book<'_>, call: &Call, again: bool) -> Checked {
    let plan = book.plan(call.who);
    ensure(plan.resolve, || format!("{} needs no resolving", call.name()))?;
    ensure(book.inputs(call.who) == (true, true), || {
        format!("{} is resolved before its inputs are there", call.name())
    })?;
    let expected = if again { Named::Done } else { Named::No };
    ensure(call.named == expected, || format!("{} is resolved (again: {again}) when {:?}", call.name(), call.named))?;
    ensure(call.stage == Stage::Waiting, || format!("{} is resolved when {:?}", call.name(), call.stage))
}

/// Whether the attempt was told to end and its grace has passed.
fn given_up(book: &Book<'_>, call: &Call) -> bool {
    call.aborted.is_some_and(|(at, _)| at.after(GRACE) <= book.now)
}

/// The masks of all that stands before a call in its run and has not ended.
fn before(run: &Run, who: CallRef) -> (u64, u64) {
    let (mut reads, mut writes) = (0, 0);
    for &index in &run.serial {
        let other = &run.calls[index as usize];
        let own = index == who.call;
        if own && who.element.is_none() {
            break;
        }
        if unplaced(other) || (other.stage != Stage::Ended && !other.expanded) {
            reads |= other.reads;
            writes |= other.writes;
        }
        let elements = other.elements.iter().take_while(|e| !own || e.who.element < who.element);
        for e in elements.filter(|e| e.stage != Stage::Ended) {
            reads |= e.reads;
            writes |= e.writes;
        }
        if own {
            break;
        }
    }
    (reads, writes)
}

/// Whether a `foreach` call still keeps the place of elements that have not named their keys.
fn unplaced(call: &Call) -> bool {
    call.expanded && call.elements.iter().any(|e| e.said.is_none() && e.stage != Stage::Ended)
}

fn conflict(call: &Call, (reads, writes): (u64, u64)) -> bool {
    call.writes & (reads | writes) != 0 || call.reads & writes != 0
}

fn start(book: &Book<'_>, call: &Call, attempt: AttemptRef) -> Checked {
    let who = call.who;
    let run = &book.runs[who.run.0 as usize];
    let plan = book.plan(who);
    let say = |what: &str| format!("{}#{} started {what}", name(who), attempt.attempt);
    ensure(!run.recovering, || say("before all that was recorded of its run had been told"))?;
    could_start(book, call, attempt, &say)?;
    ensure(!run.paused, || say("in a paused run"))?;
    handed::start(book, call)?;
    if let Some(other) = other_run(book, call) {
        return Err(say(&format!("while {} of another run holds a key", name(other))));
    }
    for &(limit, amount) in &plan.settings.needs {
        ensure(fits(book, who, limit, amount), || say(&format!("beyond {limit:?}")))?;
    }
    for &rate in &plan.settings.rates {
        ensure(rate_opens(book, rate) <= book.now.0, || say(&format!("beyond {rate:?}")))?;
    }
    Ok(())
}

/// Whether nothing stands in the way of an attempt but other runs, amounts and rates.
fn could_start(book: &Book<'_>, call: &Call, attempt: AttemptRef, say: &dyn Fn(&str) -> String) -> Checked {
    let who = call.who;
    let run = &book.runs[who.run.0 as usize];
    let may = match call.stage {
        Stage::Waiting => true,
        Stage::Backoff(due) => due <= book.now || run.recovering,
        Stage::Doubt(_) => call.answer == Some(DoubtAnswer::Rerun),
        Stage::Lost => reruns(book, call),
        Stage::Running | Stage::Approval(_) | Stage::Ended => false,
    };
    ensure(may, || say(&format!("when {:?}", call.stage)))?;
    ensure(attempt.attempt == call.attempts + 1, || say("out of number"))?;
    ensure(!run.cancelled && !call.cancelled, || say("after it was cancelled"))?;
    could_be_spared(book, call, say)?;
    if run.stop && call.writes != 0 {
        ensure(good_before(run, who), || {
            say("a write before all earlier calls had succeeded, under on_failure: stop")
        })?;
    }
    Ok(())
}

/// Whether a call's turn has come, for an attempt or for what it is handed instead.
pub(super) fn could_be_spared(book: &Book<'_>, call: &Call, say: &dyn Fn(&str) -> String) -> Checked {
    let who = call.who;
    let run = &book.runs[who.run.0 as usize];
    let plan = book.plan(who);
    ensure(book.inputs(who) == (true, true), || say("before its inputs were there"))?;
    ensure(!call.expanded, || say("although it has elements"))?;
    ensure(!plan.resolve || call.named == Named::Done, || say("before it was resolved"))?;
    ensure(!plan.resolve || call.said == Some(Said::Run), || say("although it was not to run"))?;
    let waits = match call.stage {
        Stage::Backoff(due) => due <= book.now || run.recovering,
        stage => stage != Stage::Running,
    };
    ensure(waits, || say(&format!("when {:?}", call.stage)))?;
    ensure(!conflict(call, before(run, who)), || say("before an earlier call that conflicts with it has ended"))
}

/// Whether a call whose attempt was lost is tried again, though nobody knows whether the attempt took effect.
fn reruns(book: &Book<'_>, call: &Call) -> bool {
    let settings = &book.plan(call.who).settings;
    let policy = call.answer.is_none() && settings.in_doubt == InDoubtPolicy::Rerun;
    settings.repeatable || call.answer == Some(DoubtAnswer::Rerun) || policy
}

/// Whether `on_failure: stop` lets a later write pass this call.
fn good(call: &Call) -> bool {
    call.stage == Stage::Ended
        && (call.value.is_some() || matches!(call.outcome, Some((Outcome::Skipped, Reason::When))))
}

fn good_before(run: &Run, who: CallRef) -> bool {
    for &index in &run.serial {
        let other = &run.calls[index as usize];
        if index == who.call {
            let elements = who.element.unwrap_or(0) as usize;
            return other.elements.iter().take(elements).all(good);
        }
        let fine = good(other) || (other.expanded && other.elements.iter().all(good));
        if !fine {
            return false;
        }
    }
    true
}

/// A running attempt of another run that conflicts, unless the run was started inside it.
fn other_run(book: &Book<'_>, call: &Call) -> Option<CallRef> {
    let parent = book.runs[call.who.run.0 as usize].parent;
    let against = |h: &&super::book::Holding| {
        h.who.run != call.who.run && parent.is_none_or(|p| p.call != h.who) && conflict(call, (h.reads, h.writes))
    };
    book.holding.iter().find(against).map(|h| h.who)
}

/// What of a limit is used, if `who` used this much more; what is lent to runs inside an attempt counts once.
fn used(book: &Book<'_>, limit: LimitId, who: CallRef, more: u64) -> u64 {
    let held = |who: CallRef| -> u64 {
        let call = book.find(who);
        call.map_or(0, |c| c.held.iter().filter(|h| h.0 == limit).map(|h| h.1).sum())
    };
    let mut own = 0;
    let mut inside = 0;
    let mut lent = 0;
    for (other, amount) in book.holding.iter().map(|h| (h.who, held(h.who))).chain([(who, more)]) {
        match book.runs[other.run.0 as usize].parent {
            Some(parent) => {
                inside += amount;
                let needs = &book.plan(parent.call).settings.needs;
                lent = needs.iter().filter(|n| n.0 == limit).map(|n| n.1).sum();
            }
            None => own += amount,
        }
    }
    own + inside.saturating_sub(lent)
}

fn fits(book: &Book<'_>, who: CallRef, limit: LimitId, amount: u64) -> bool {
    let capacity = book.capacity(limit);
    let before = used(book, limit, who, 0);
    let after = used(book, limit, who, amount);
    // More than there is counts as all there is; what uses nothing beyond a loan fits always.
    if after == before || before + (after - before).min(capacity) <= capacity {
        return true;
    }
    // What is lent stays lent when the capacity shrinks below what is used.
    let parent = book.runs[who.run.0 as usize].parent;
    let lent = parent.and_then(|p| book.plan(p.call).settings.needs.iter().find(|n| n.0 == limit));
    before >= capacity && lent.is_some_and(|n| amount <= n.1)
}

/// Whether it fits even if nothing were lent: then nothing may keep it.
fn fits_without_loans(book: &Book<'_>, limit: LimitId, amount: u64) -> bool {
    let held = |who: CallRef| -> u64 {
        book.find(who).map_or(0, |c| c.held.iter().filter(|h| h.0 == limit).map(|h| h.1).sum())
    };
    let capacity = book.capacity(limit);
    amount == 0 || book.holding.iter().map(|h| held(h.who)).sum::<u64>() + amount.min(capacity) <= capacity
}

fn rate_opens(book: &Book<'_>, rate: RateId) -> u64 {
    let rate = book.rates[rate.0 as usize];
    rate.arrival.saturating_sub(rate.period * (rate.burst - 1))
}

fn abort(book: &Book<'_>, call: &Call, attempt: AttemptRef, reason: AbortReason) -> Checked {
    let who = call.who;
    let say = |what: &str| format!("{}#{} was aborted ({reason:?}) {what}", name(who), attempt.attempt);
    let settings = &book.plan(who).settings;
    let running = call.stage == Stage::Running && call.attempts == attempt.attempt;
    ensure(running, || say("when it did not run"))?;
    let run = &book.runs[who.run.0 as usize];
    if run.recovering {
        return Ok(());
    }
    ensure(call.aborted.is_none(), || say("twice"))?;
    handed::abort(book, call, reason)?;
    let due = match reason {
        AbortReason::Timeout => call.attempt_started.after(settings.timeout) <= book.now,
        AbortReason::IdleTimeout => settings.idle_timeout.is_some_and(|t| call.silent_since.after(t) <= book.now),
        AbortReason::Stopped => run.stop,
        AbortReason::Cancelled => call.cancelled,
        AbortReason::Deadline => run.expired,
    };
    ensure(due, || say("without that reason"))
}

/// How the last attempt ended, as far as it can be known.
fn end_of(book: &Book<'_>, call: &Call) -> Option<AttemptEnd> {
    call.end.or_else(|| given_up(book, call).then_some(AttemptEnd::Aborted { reached: Reached::Unknown }))
}

fn reached(end: AttemptEnd) -> Reached {
    match end {
        AttemptEnd::Succeeded => Reached::Yes,
        AttemptEnd::Failed { reached, .. } | AttemptEnd::Aborted { reached } => reached,
    }
}

fn retry(book: &Book<'_>, call: &Call, attempt: AttemptRef, due: Time) -> Checked {
    let settings = &book.plan(call.who).settings;
    let say = |what: &str| format!("{}#{} is retried {what}", call.name(), attempt.attempt);
    ensure(call.stage == Stage::Running && call.attempts == attempt.attempt, || say("when it did not run"))?;
    let end = end_of(book, call).ok_or_else(|| say("before it has ended"))?;
    let unknown = reached(end) == Reached::Unknown && !settings.repeatable;
    let safe = settings.repeatable || reached(end) == Reached::No;
    if unknown {
        ensure(settings.in_doubt == InDoubtPolicy::Rerun, || say("in doubt, against its policy"))?;
    } else {
        ensure(safe, || say("although it reached its tool and must not run twice"))?;
        ensure(call.attempts < settings.retry.attempts_max, || say("too often"))?;
    }
    if let AttemptEnd::Failed { class, retry_after, .. } = end {
        ensure(class == FailureClass::Transient || unknown, || say("after a permanent failure"))?;
        ensure(due >= book.now.after(retry_after.unwrap_or_default()), || say("before the tool asked for it"))?;
    }
    ensure(end != AttemptEnd::Succeeded, || say("after it succeeded"))?;
    let whole = settings.retry.backoff.as_secs_f64()
        * settings.retry.factor.powi(i32::try_from(call.attempts).unwrap_or(9) - 1);
    let least = whole.min(settings.retry.backoff_max.as_secs_f64()) * 0.49;
    // The moment the attempt was given up can lie before this one.
    let waits = due.since(call.idle_since.min(book.now)).as_secs_f64();
    ensure(waits >= least, || say(&format!("after {waits} s of back-off, at least {least} s were due")))
}

fn ask(book: &Book<'_>, call: &Call, attempt: AttemptRef, until: Time) -> Checked {
    let settings = &book.plan(call.who).settings;
    let say = |what: &str| format!("somebody is asked about {}#{} {what}", call.name(), attempt.attempt);
    let ran = matches!(call.stage, Stage::Running | Stage::Lost);
    ensure(ran && call.attempts == attempt.attempt, || say("when it did not run"))?;
    ensure(call.stage != Stage::Lost || call.answer.is_none(), || say("although somebody answered"))?;
    let end = end_of(book, call).ok_or_else(|| say("before it has ended"))?;
    ensure(reached(end) == Reached::Unknown && !settings.repeatable, || say("although there is no doubt"))?;
    let InDoubtPolicy::Ask(bound) = settings.in_doubt else { return Err(say("against its policy")) };
    ensure(until <= book.now.after(bound), || say("for longer than its policy says"))
}

fn ended(book: &Book<'_>, call: &Call, end: &CallEnd) -> Checked {
    let who = call.who;
    let say = |what: &dyn Debug| format!("{} ended {:?} by {:?}: {what:?}", name(who), end.outcome, end.reason);
    let last = end_of(book, call);
    let in_flight = call.stage == Stage::Running;
    ensure(!in_flight || last.is_some(), || say(&"while an attempt runs"))?;
    let open = call.elements.iter().filter(|e| e.stage != Stage::Ended).count();
    ensure(open == 0, || say(&"before its elements"))?;
    ensure(end.attempts == call.attempts, || say(&("attempts", end.attempts, call.attempts)))?;
    ensure(end.started == call.first_started, || say(&("started", end.started, call.first_started)))?;
    ensure(end.ended <= book.now, || say(&"in the future"))?;
    let idle_since = match in_flight && call.end.is_none() {
        true => end.ended,
        false => call.idle_since,
    };
    let idle = call.idle + end.ended.0.saturating_sub(idle_since.0);
    let waits: u64 = end.waits.iter().map(|w| w.ns).sum();
    ensure(waits == idle, || say(&("its waits do not add up", &end.waits, idle)))?;
    if let (Some(last), false) = (last.filter(|_| in_flight), book.plan(who).settings.repeatable)
        && reached(last) == Reached::Unknown
    {
        ensure(end.outcome == Outcome::InDoubt, || say(&"although nobody knows whether it took effect"))?;
    }
    ensure(reason_holds(book, call, end, last), || say(&("not so", last, call.stage, call.said)))
}

fn reason_holds(book: &Book<'_>, call: &Call, end: &CallEnd, last: Option<AttemptEnd>) -> bool {
    let who = call.who;
    let run = &book.runs[who.run.0 as usize];
    let in_flight = call.stage == Stage::Running;
    // Also while another attempt is to follow: nobody knows whether the last one took effect.
    let unknown = !book.plan(who).settings.repeatable && last.is_some_and(|e| reached(e) == Reached::Unknown);
    let in_doubt = unknown && !in_flight;
    let lost = || call.elements.iter().filter(|e| !good(e)).count();
    let aborted_by = |reason| in_flight && call.aborted.is_some_and(|a| a.1 == reason || a.1 < AbortReason::Stopped);
    let input = |i: u32| book.plan(who).inputs.iter().any(|x| x.call == i && x.kind == InputKind::Result);
    let stopped = |i: u32| {
        let other = run.calls.get(i as usize);
        let bad = other.is_some_and(|o| {
            o.stage == Stage::Ended && !good(o) || o.elements.iter().any(|e| e.stage == Stage::Ended && !good(e))
        });
        run.stop && bad && run.place[i as usize] <= run.place[who.call as usize]
    };
    match (end.outcome, end.reason) {
        (Outcome::Succeeded, Reason::Tool) if call.expanded => lost() == 0,
        (Outcome::Succeeded, Reason::Tool) => in_flight && last == Some(AttemptEnd::Succeeded),
        (Outcome::Succeeded, Reason::Reused) => !in_flight && (call.told_handed || handed::in_time(book, call, end)),
        (Outcome::Succeeded, Reason::Settled) => in_doubt && call.answer == Some(DoubtAnswer::Succeeded),
        (Outcome::Skipped, Reason::When) => call.said == Some(Said::Skip),
        (Outcome::Skipped, Reason::Upstream(i)) => {
            let other = &run.calls[i as usize];
            input(i) && other.stage == Stage::Ended && other.value.is_none() && call.attempts == 0
        }
        (Outcome::Skipped, Reason::Stopped(i)) => !in_flight && !in_doubt && stopped(i),
        (Outcome::Cancelled, Reason::Stopped(i)) => (in_flight || call.stage == Stage::Lost) && stopped(i),
        (Outcome::Cancelled, Reason::Cancelled) if call.expanded => {
            call.elements.iter().any(|e| e.cancelled || run.stop || run.expired)
        }
        (Outcome::Cancelled, Reason::Cancelled) => call.cancelled && !in_doubt,
        (Outcome::Cancelled, Reason::Deadline) => run.expired && !in_doubt,
        (Outcome::Failed, Reason::Unresolved) => call.said == Some(Said::Error),
        (Outcome::Failed, Reason::Tool) => in_flight && matches!(last, Some(AttemptEnd::Failed { .. })),
        (Outcome::Failed, Reason::Timeout) => aborted_by(AbortReason::Timeout),
        (Outcome::Failed, Reason::IdleTimeout) => aborted_by(AbortReason::IdleTimeout),
        (Outcome::Failed, Reason::Elements(n)) => call.expanded && n > 0 && lost() == n as usize,
        (Outcome::Denied, Reason::Denied) => call.said == Some(Said::Denied),
        (Outcome::Denied, Reason::Timeout) => matches!(call.stage, Stage::Approval(until) if until <= end.ended),
        (Outcome::InDoubt, Reason::Settled) => unknown && call.answer == Some(DoubtAnswer::Fail),
        (Outcome::InDoubt, Reason::Lost) => {
            // One that was being aborted for another reason when the run stopped is not aborted again.
            let stopped = || (0..u32::try_from(run.calls.len()).unwrap_or(u32::MAX)).any(stopped);
            let ceased = call.cancelled || run.expired || stopped();
            let wanted = reruns(book, call) && !ceased;
            unknown && call.stage == Stage::Lost && !wanted
        }
        (Outcome::InDoubt, _) => unknown,
        _ => false,
    }
}

fn run_ended(book: &Book<'_>, run: RunId) -> Checked {
    let Some(run) = book.runs.get(run.0 as usize) else { return Err(format!("{run:?} ended and never was")) };
    ensure(run.added && !run.ended, || format!("r{} ended twice or before it began", run.id.0))?;
    ensure(run.open_calls == 0, || format!("r{} ended with {} open calls", run.id.0, run.open_calls))?;
    ensure(run.closed, || format!("r{} ended while calls may come", run.id.0))
}

/// Checks every call of a run that waits: its cause is true, and nothing that could start waits without one.
fn waiting(book: &mut Book<'_>, run: usize, core: &mut impl Scheduler, due: &mut Option<Time>) -> Checked {
    let serial = std::mem::take(&mut book.runs[run].serial);
    let (mut reads, mut writes) = (0, 0);
    let mut all_good = true;
    let mut ready: Vec<CallRef> = Vec::new();
    let mut checked = Ok(());
    'calls: for &index in &serial {
        let count = book.runs[run].calls[index as usize].elements.len();
        let top = &book.runs[run].calls[index as usize];
        if top.stage == Stage::Ended {
            all_good &= good(top);
            continue;
        }
        if unplaced(top) {
            reads |= top.reads;
            writes |= top.writes;
        }
        let own = if top.expanded { 0..0 } else { 0..1 };
        let id = book.runs[run].id;
        let whos = own.map(|_| None).chain((0..count).map(|e| u32::try_from(e).ok()));
        for element in whos {
            let who = CallRef { run: id, call: index, element };
            let Some(call) = book.find(who) else { continue };
            if call.stage == Stage::Ended {
                all_good &= good(call);
                continue;
            }
            note_due(book, call, due);
            let standing = Standing { before: (reads, writes), all_good };
            match one_waiting(book, call, &standing, core) {
                Ok(true) => ready.push(who),
                Ok(false) => {}
                Err(what) => {
                    checked = Err(what);
                    break 'calls;
                }
            }
            if let Some(call) = book.find(who) {
                reads |= call.reads;
                writes |= call.writes;
            }
            all_good = false;
        }
    }
    let deadline = book.runs[run].deadline.filter(|_| !book.runs[run].expired);
    if let Some(deadline) = deadline {
        *due = Some(due.map_or(deadline, |d: Time| d.min(deadline)));
    }
    book.runs[run].serial = serial;
    checked?;
    let (starts, before) = (book.starts, book.starts_before);
    for who in ready {
        if let Some(call) = book.find_mut(who)
            && call.ready_since.is_none()
        {
            // How many were ready beside it is filled in once all runs were looked at.
            call.ready_since = Some((starts, 0));
            call.passed_since = before;
        }
    }
    Ok(())
}

/// When something must happen to a call by itself.
fn note_due(book: &Book<'_>, call: &Call, due: &mut Option<Time>) {
    let settings = &book.plan(call.who).settings;
    let own = match (call.stage, call.aborted) {
        (Stage::Running, Some(_)) => Some(call.aborted_latest.after(GRACE)),
        (Stage::Running, None) => {
            let timeout = call.attempt_started.after(settings.timeout);
            Some(settings.idle_timeout.map_or(timeout, |idle| timeout.min(call.silent_since.after(idle))))
        }
        (Stage::Backoff(at), _) if at > book.now => Some(at),
        (Stage::Doubt(until), _) if call.answer.is_none() => Some(until),
        (Stage::Approval(until), _) => Some(until),
        _ => None,
    };
    if let Some(own) = own {
        *due = Some(due.map_or(own, |d| d.min(own)));
    }
}

/// What stands before a call in its run.
struct Standing {
    before: (u64, u64),
    all_good: bool,
}

/// Checks one call that has not ended. Gives whether it is ready: only limits, rates and other runs keep it.
fn one_waiting(book: &Book<'_>, call: &Call, standing: &Standing, core: &mut impl Scheduler) -> Result<bool, String> {
    let who = call.who;
    let run = &book.runs[who.run.0 as usize];
    if call.stage == Stage::Running {
        return ensure(call.end.is_none(), || format!("{} ended, and nothing followed", name(who))).map(|()| false);
    }
    ensure(!run.cancelled && !call.cancelled, || format!("{} was cancelled and waits", name(who)))?;
    let cause = core.cause(who);
    if let Some(cause) = cause {
        let true_cause = cause.is_some_and(|c| cause_holds(book, call, standing, c));
        ensure(true_cause, || format!("{} is said to wait for {cause:?}, which is not so", name(who)))?;
    }
    let plan = book.plan(who);
    let (there, complete) = book.inputs(who);
    if !there {
        return Ok(false);
    }
    ensure(complete, || format!("{} waits although an input has no result", name(who)))?;
    match call.stage {
        Stage::Backoff(due) if due >= book.now => return Ok(false),
        Stage::Doubt(_) if call.answer.is_none() => return Ok(false),
        Stage::Approval(_) => {
            let open = call.said == Some(Said::Ask);
            return ensure(open, || format!("{} was denied, and nothing followed", name(who))).map(|()| false);
        }
        Stage::Lost => ensure(reruns(book, call), || format!("{} was lost, and nothing followed", name(who)))?,
        _ => {}
    }
    if plan.resolve && call.named != Named::Done {
        return ensure(call.named == Named::Asked, || format!("{} is not resolved", name(who))).map(|()| false);
    }
    let blocked = conflict(call, standing.before) || (run.stop && call.writes != 0 && !standing.all_good);
    if blocked || run.paused || run.recovering {
        return Ok(false);
    }
    if matches!(cause, Some(Some(Cause::Flight(_) | Cause::Look))) {
        return Ok(false);
    }
    let fits = plan.settings.needs.iter().all(|&(limit, amount)| fits_without_loans(book, limit, amount));
    let rates = plan.settings.rates.iter().all(|&rate| rate_opens(book, rate) <= book.now.0);
    let could = fits && rates && other_run(book, call).is_none();
    let reserved = cause.is_none() || matches!(cause, Some(Some(Cause::Reserved(_))));
    ensure(!could || reserved, || format!("{} could start and waits for {cause:?}", name(who)))?;
    Ok(true)
}

/// Whether a call waits for what it is said to wait for.
fn cause_holds(book: &Book<'_>, call: &Call, standing: &Standing, cause: Cause) -> bool {
    let who = call.who;
    let run = &book.runs[who.run.0 as usize];
    let plan = book.plan(who);
    let own = |claim: u16| call.touches.get(claim as usize);
    let against = |claim: u16, (reads, writes): (u64, u64)| {
        own(claim).is_some_and(|t| t.node.mask() & (if t.write { reads | writes } else { writes }) != 0)
    };
    match cause {
        Cause::Input(i) => plan.inputs.iter().any(|x| x.call == i) && run.calls[i as usize].stage != Stage::Ended,
        Cause::Resolve => call.named == Named::Asked,
        Cause::Key { holder, claim } => book.find(holder).is_some_and(|other| {
            let stands = other.stage != Stage::Ended && (!other.expanded || unplaced(other));
            let earlier = holder.run == who.run && book.place(holder) < book.place(who);
            stands && earlier && against(claim, (other.reads, other.writes)) && conflict(call, standing.before)
        }),
        Cause::Stop(holder) => {
            let earlier = holder.run == who.run && book.place(holder) < book.place(who);
            run.stop && call.writes != 0 && earlier && book.find(holder).is_some_and(|o| !good(o))
        }
        Cause::OtherRun { holder, claim } => {
            let held = book.holding.iter().find(|h| h.who == holder);
            holder.run != who.run && held.is_some_and(|h| against(claim, (h.reads, h.writes)))
        }
        Cause::Limit(limit) => {
            plan.settings.needs.iter().any(|&(l, amount)| l == limit && !fits_without_loans(book, l, amount))
        }
        Cause::Rate(rate) => plan.settings.rates.contains(&rate) && rate_opens(book, rate) > book.now.0,
        Cause::Reserved(by) => by != who && book.find(by).is_some_and(|other| reserves(book, call, other)),
        Cause::Backoff => matches!(call.stage, Stage::Backoff(due) if due >= book.now),
        Cause::Doubt => matches!(call.stage, Stage::Doubt(_)),
        Cause::Approval => matches!(call.stage, Stage::Approval(_)),
        Cause::Pause => run.paused || run.recovering,
        Cause::Elements => call.expanded,
        Cause::Flight(leader) => {
            let turn = !conflict(call, standing.before) && (!plan.resolve || call.named == Named::Done);
            turn && handed::is_joined(book, call, leader)
        }
        Cause::Look => !conflict(call, standing.before) && book.looks.open.contains(&who),
    }
}

/// Whether the other was passed over often enough and wants something this one wants.
fn reserves(book: &Book<'_>, call: &Call, other: &Call) -> bool {
    let (mine, its) = (&book.plan(call.who).settings, &book.plan(other.who).settings);
    let aged = other.ready_since.is_some() && book.starts - other.passed_since >= OVERTAKES;
    let shares = mine.needs.iter().any(|n| its.needs.iter().any(|m| m.0 == n.0))
        || mine.rates.iter().any(|r| its.rates.contains(r))
        || conflict(call, (other.reads, other.writes));
    aged && shares && other.stage != Stage::Running && other.stage != Stage::Ended
}

/// Counts the ready calls, and checks that none is passed over for ever where one limit is all that is wanted.
fn starving(book: &mut Book<'_>) -> Checked {
    let ready = |c: &&mut Call| c.ready_since.is_some() && c.stage != Stage::Running && c.stage != Stage::Ended;
    let mut count = 0;
    let mut fresh = false;
    for run in book.runs.iter_mut().filter(|r| r.added && !r.ended) {
        for call in run
            .calls
            .iter_mut()
            .flat_map(|c| if c.expanded { c.elements.iter_mut() } else { std::slice::from_mut(c).iter_mut() })
        {
            count += u64::from(call.stage != Stage::Ended);
            if ready(&call) {
                fresh |= call.ready_since.is_some_and(|r| r.1 == 0);
            }
        }
    }
    if count == 0 {
        return Ok(());
    }
    let (starts, one_limit) = (book.starts, book.world.one_limit);
    for run in book.runs.iter_mut().filter(|r| r.added && !r.ended && (fresh || one_limit)) {
        for call in run
            .calls
            .iter_mut()
            .flat_map(|c| if c.expanded { c.elements.iter_mut() } else { std::slice::from_mut(c).iter_mut() })
        {
            if !ready(&call) {
                continue;
            }
            if let Some((since, among)) = &mut call.ready_since {
                if *among == 0 {
                    *among = count;
                }
                let bound = OVERTAKES + *among + 32;
                let passed = starts - *since;
                if one_limit && passed > bound {
                    return Err(format!("{} was passed over {passed} times; {bound} is the bound", name(call.who)));
                }
            }
        }
    }
    Ok(())
}
