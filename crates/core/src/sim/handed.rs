//! Results that are handed on, as seen from outside: what may be kept, until when, and who may be given it.
//! It does not know how the core finds them; here every write is compared with every result.

use super::Scheduler;
use super::book::{Book, Call, GRACE, Stage, name};
use super::oracle::{Checked, could_be_spared, ensure};
use crate::types::*;

/// A result that the core said to keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    entry: EntryId,
    leader: CallRef,
    reads: u64,
    value: u64,
    given: Time,
    /// Something it read was written since.
    spoilt: bool,
}

impl Book<'_> {
    fn reuse(&self, who: CallRef) -> Option<Reuse> {
        let plan = self.plan(who);
        plan.same.and(plan.settings.reuse)
    }

    /// Something may have been written: what read it is no longer what it was.
    pub(super) fn written(&mut self, writes: u64) {
        if writes == 0 {
            return;
        }
        for kept in &mut self.kept {
            kept.spoilt |= kept.reads & writes != 0;
        }
        for call in self.runs.iter_mut().filter(|r| r.added && !r.ended).flat_map(|r| &mut r.calls) {
            for call in std::iter::once(&mut call.spoilt_by).chain(call.elements.iter_mut().map(|e| &mut e.spoilt_by)) {
                *call |= writes;
            }
        }
    }

    /// Nobody knows whether a call took effect.
    pub(super) fn doubted(&mut self, who: CallRef) {
        if let Some(call) = self.find_mut(who) {
            call.doubt |= call.writes != 0;
        }
    }

    /// The masks of all that is in doubt, in one run or in all.
    pub(super) fn doubts(&self, run: Option<RunId>) -> u64 {
        let runs = self.runs.iter().filter(|r| r.added && !r.ended && run.is_none_or(|run| run == r.id));
        let calls = runs.flat_map(|r| &r.calls).flat_map(|c| std::iter::once(c).chain(&c.elements));
        calls.filter(|c| c.doubt).fold(0, |all, c| all | c.writes)
    }

    /// Takes note of an order about results that was found right, and of what ends with a call or a run.
    pub(super) fn hand(&mut self, action: &Action) {
        match action {
            Action::Keep { call, entry } | Action::Store { call, entry, .. } => {
                if let Some(c) = self.find(*call) {
                    let (reads, value, given) = (c.reads, c.value_now, self.now);
                    self.kept.push(Kept { entry: *entry, leader: *call, reads, value, given, spoilt: false });
                }
            }
            Action::Look { call, .. } => _ = self.looks.open.insert(*call),
            Action::Forget { entry, .. } => self.kept.retain(|k| k.entry != *entry),
            Action::Reuse { call, from } => {
                let found = match from {
                    Source::Entry(entry) => {
                        self.kept.iter().find(|k| k.entry == *entry).map(|k| (k.leader, k.value, Some(k.given)))
                    }
                    Source::Call(leader) => self.find(*leader).map(|c| (*leader, c.value_now, None)),
                    Source::Disk => self.looks.found.remove(call).map(|f| (f.leader, f.value, Some(f.given))),
                };
                if let (Some((leader, value, given)), Some(c)) = (found, self.find_mut(*call)) {
                    (c.value_now, c.handed) = (value, Some((leader, given)));
                }
            }
            Action::Ended(end) => {
                self.kept.iter_mut().filter(|k| k.leader == end.call).for_each(|k| k.given = end.ended);
                if end.outcome == Outcome::Succeeded
                    && let Some(call) = self.find_mut(end.call).filter(|c| c.doubt)
                {
                    call.doubt = false;
                    let writes = call.writes;
                    self.written(writes);
                }
            }
            Action::RunEnded { run, .. } => self.written(self.doubts(Some(*run))),
            _ => {}
        }
    }
}

/// Whether the two would be told the same.
fn same(book: &Book<'_>, a: &Call, b: &Call) -> bool {
    let (x, y) = (book.plan(a.who).same, book.plan(b.who).same);
    x.is_some() && x == y && a.touches == b.touches && a.writes | b.writes == 0
}

fn is_flying(book: &Book<'_>, call: &Call) -> bool {
    let given_up = call.aborted.is_some() && call.aborted_latest.after(GRACE) <= book.now;
    call.stage == Stage::Running && call.end.is_none() && !given_up
}

fn is_spoilt(call: &Call) -> bool {
    call.reads & call.spoilt_by != 0
}

/// Attempts of a call's identity that others in its run could have joined, beside its own.
pub(super) fn flights<'b>(book: &'b Book<'_>, call: &'b Call) -> impl Iterator<Item = &'b Call> {
    let run = &book.runs[call.who.run.0 as usize];
    let wanted = book.reuse(call.who).is_some() && call.writes == 0;
    let calls = run.calls.iter().filter(move |_| wanted).flat_map(|c| std::iter::once(c).chain(&c.elements));
    let same = |c: &Call| book.plan(c.who).same == book.plan(call.who).same;
    calls.filter(move |c| c.who != call.who && same(c) && c.flies && is_flying(book, c) && !is_spoilt(c))
}

/// Whether a call may be said to wait for this flight.
pub(super) fn is_joined(book: &Book<'_>, call: &Call, leader: CallRef) -> bool {
    flights(book, call).any(|other| other.who == leader && same(book, call, other))
}

/// Checks that nothing that reads what an attempt writes is kept when it starts, and that it does not fly beside another.
pub(super) fn start(book: &Book<'_>, call: &Call) -> Checked {
    let who = name(call.who);
    if let Some(kept) = book.kept.iter().find(|k| k.reads & call.writes != 0) {
        return Err(format!("{who} started while {:?}, which reads what it writes, is kept", kept.entry));
    }
    let beside = flights(book, call).find(|other| same(book, call, other));
    beside.map_or(Ok(()), |other| Err(format!("{who} started beside {}, which would do for it", name(other.who))))
}

/// Checks that an attempt that is told to end because of its own call is not one that others wait for.
pub(super) fn abort(book: &Book<'_>, call: &Call, reason: AbortReason) -> Checked {
    let run = &book.runs[call.who.run.0 as usize];
    let mut calls = run.calls.iter().flat_map(|c| std::iter::once(c).chain(&c.elements));
    let waits = |c: &&Call| c.joined == Some(call.who) && c.stage != Stage::Ended && c.stage != Stage::Running;
    let wanted = calls.find(waits).filter(|_| reason >= AbortReason::Stopped && !is_spoilt(call));
    wanted.map_or(Ok(()), |other| {
        Err(format!("{} was aborted ({reason:?}) while {} waits for it", name(call.who), name(other.who)))
    })
}

/// Checks one order about results.
pub(super) fn action(book: &Book<'_>, action: &Action) -> Checked {
    match action {
        Action::Keep { call, entry } | Action::Store { call, entry, .. } => match book.find(*call) {
            Some(call) => keep(book, call, *entry),
            None => Err(format!("{action:?} names a call that is not there")),
        },
        Action::Reuse { call, from } => match book.find(*call) {
            Some(call) => reuse(book, call, *from),
            None => Err(format!("{action:?} names a call that is not there")),
        },
        Action::Forget { entry, .. } => {
            let known = book.kept.iter().any(|k| k.entry == *entry);
            ensure(known, || format!("{entry:?} is forgotten and was not kept"))
        }
        Action::RunEnded { run, .. } => {
            let left = book
                .kept
                .iter()
                .find(|k| k.leader.run == *run && book.reuse(k.leader).is_some_and(|r| r.scope == Scope::Run));
            left.map_or(Ok(()), |k| Err(format!("r{} ended, and {:?}, which is its own, is kept", run.0, k.entry)))
        }
        _ => Ok(()),
    }
}

fn keep(book: &Book<'_>, call: &Call, entry: EntryId) -> Checked {
    let say = |what: &str| format!("the result of {} is kept {what}", name(call.who));
    ensure(call.stage == Stage::Running && call.end == Some(AttemptEnd::Succeeded), || say("and there is none"))?;
    ensure(book.reuse(call.who).is_some() && call.writes == 0, || say("although it is not to be handed on"))?;
    ensure(!is_spoilt(call), || say("although something it read was written meanwhile"))?;
    ensure(book.doubts(None) & call.reads == 0, || say("while something it read is in doubt"))?;
    ensure(book.holding.iter().all(|h| h.writes & call.reads == 0), || say("while something it read is written"))?;
    ensure(book.kept.iter().all(|k| k.entry != entry), || say("by the number of another"))
}

fn reuse(book: &Book<'_>, call: &Call, from: Source) -> Checked {
    let say = |what: &str| format!("{} was handed {from:?} {what}", name(call.who));
    let Some(wanted) = book.reuse(call.who) else { return Err(say("and wants nothing of others")) };
    could_be_spared(book, call, &say)?;
    let run = &book.runs[call.who.run.0 as usize];
    let (leader, reads) = match from {
        Source::Entry(entry) => {
            let kept = book.kept.iter().find(|k| k.entry == entry).ok_or_else(|| say("which is not kept"))?;
            ensure(!kept.spoilt, || say("although something it read was written since"))?;
            ensure(!run.paused || run.paused_at == book.now, || say("in a paused run"))?;
            (kept.leader, kept.reads)
        }
        // Whether it was stale when it was found was checked then.
        Source::Disk => {
            let found = book.looks.found.get(&call.who).ok_or_else(|| say("and nothing was found"))?;
            ensure(wanted.scope == Scope::Disk, || say("and does not want it from there"))?;
            ensure(!run.paused || run.paused_at == book.now, || say("in a paused run"))?;
            (found.leader, found.reads)
        }
        Source::Call(leader) => {
            let other = book.find(leader).ok_or_else(|| say("which is not there"))?;
            let succeeded = other.outcome == Some((Outcome::Succeeded, Reason::Tool));
            ensure(succeeded && leader.run == call.who.run, || say("which has no result for it"))?;
            ensure(!is_spoilt(other), || say("although something it read was written meanwhile"))?;
            (leader, other.reads)
        }
    };
    ensure(reads == call.reads && call.writes == 0, || say("which has other keys"))?;
    ensure(book.plan(leader).same == book.plan(call.who).same, || say("which was told something else"))?;
    let shared = wanted.scope != Scope::Run && book.reuse(leader).is_some_and(|r| r.scope != Scope::Run);
    ensure(leader.run == call.who.run || shared, || say("which is of another run"))
}

/// Whether a call that ended by what it was handed was handed it in time.
pub(super) fn in_time(book: &Book<'_>, call: &Call, end: &CallEnd) -> bool {
    match call.handed {
        Some((_, Some(given))) => {
            let ttl = book.reuse(call.who).and_then(|r| r.ttl);
            ttl.is_none_or(|ttl| end.ended < given.after(ttl))
        }
        Some((leader, None)) => book.find(leader).is_some_and(|l| l.idle_since == end.ended),
        None => false,
    }
}

/// Checks what is kept when the core has nothing more to order, and notes who waits for whom.
pub(super) fn quiet(book: &mut Book<'_>, core: &impl Scheduler) -> Checked {
    if let Some(kept) = book.kept.iter().find(|k| k.spoilt) {
        return Err(format!("{:?} is kept although something it read was written since", kept.entry));
    }
    for run in book.runs.iter_mut().filter(|r| r.added && !r.ended) {
        let plans = &book.world.runs[run.index].calls;
        let shared = run.calls.iter_mut().filter(|c| plans[c.who.call as usize].same.is_some());
        for call in
            shared.flat_map(|c| if c.expanded { c.elements.iter_mut() } else { std::slice::from_mut(c).iter_mut() })
        {
            let open = call.stage != Stage::Ended && call.stage != Stage::Running;
            call.joined = match open.then(|| core.cause(call.who)).flatten().flatten() {
                Some(Cause::Flight(leader)) => Some(leader),
                _ => None,
            };
        }
    }
    Ok(())
}
