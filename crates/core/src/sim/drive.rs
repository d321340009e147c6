//! The world in motion: feeds events to a core at simulated times, does what it orders, keeps the trace.
//! It does not know what is right; after each event it asks the oracle.

use super::book::{Book, Stage, name};
use super::cells::Node;
use super::lives::{Disk, Journal};
use super::oracle::Oracle;
use super::rng::{Rng, mix};
use super::shelf::{Shelf, Stored, Stranger};
use super::truth::Decision;
use super::world::{Fate, MS, Timed, WhenAborted, World, claims};
use super::{Scheduler, Violation};
use crate::Fault;
use crate::types::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Something that will reach the core.
#[derive(Clone, Debug)]
pub(super) enum Coming {
    Timed(usize),
    Resolved { call: CallRef, again: bool },
    Report { attempt: AttemptRef, end: AttemptEnd },
    Alive { attempt: AttemptRef, every: u64, left: u32 },
    Settle { attempt: AttemptRef },
    Child { run: u32, parent: AttemptRef },
    Approve { call: CallRef },
    Look { call: CallRef, look: u64 },
    LookedUp { found: Option<Stored>, event: Event },
    Stranger(Stranger),
    Fact(Event),
    Disk(Disk),
}

/// A run inside an attempt, which ends only after the run.
struct Child {
    run: u32,
    parent: AttemptRef,
    added: bool,
    report: AttemptEnd,
}

pub(super) struct Drive<'w, S> {
    pub(super) world: &'w World,
    pub(super) core: S,
    pub(super) book: Book<'w>,
    pub(super) oracle: Oracle,
    pub(super) coming: BinaryHeap<Reverse<(u64, u32)>>,
    pub(super) slab: Vec<Option<Coming>>,
    child: Option<Child>,
    /// Facts were told since the last look for orders.
    pub(super) undrained: bool,
    pub(super) rng: Rng,
    pub(super) trace: Option<String>,
    pub(super) digest: u64,
    pub(super) steps: u64,
    pub(super) state_only: bool,
    pub(super) fault: Option<Fault>,
    /// All turns, for a second scheduler.
    pub(super) record: Option<Vec<Turn>>,
    /// What is kept of the runs, in a world in which the engine dies.
    pub(super) journal: Option<Box<Journal>>,
    pub(super) shelf: Shelf,
    events: Vec<Event>,
    actions: Vec<Action>,
}

/// What was told between two looks for orders, and the orders.
pub(super) struct Turn {
    pub(super) now: Time,
    pub(super) events: Vec<Event>,
    pub(super) actions: Vec<Action>,
}

impl<'w, S: Scheduler> Drive<'w, S> {
    pub(super) fn new(world: &'w World, core: S, trace: bool) -> Drive<'w, S> {
        Drive {
            world,
            core,
            book: Book::new(world),
            oracle: Oracle::default(),
            coming: BinaryHeap::new(),
            slab: Vec::new(),
            child: None,
            undrained: false,
            rng: Rng::new(mix(world.seed, 0xd217e)),
            trace: trace.then(String::new),
            digest: 0,
            steps: 0,
            state_only: false,
            fault: None,
            record: None,
            journal: None,
            shelf: Shelf::default(),
            events: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Lives the world to its end.
    pub(super) fn run(&mut self, steps_max: u64) -> Result<(), Violation> {
        self.begin()?;
        for (i, (at, _)) in self.world.events.iter().enumerate() {
            self.later(*at, Coming::Timed(i));
        }
        self.go_on(steps_max)
    }

    /// Tells a new core what there is.
    pub(super) fn begin(&mut self) -> Result<(), Violation> {
        for (limit, &capacity) in (0..).zip(&self.world.limits) {
            self.deliver(Event::LimitSet { limit: LimitId(limit), capacity })?;
        }
        for (rate, &(period, burst)) in (0..).zip(&self.world.rates) {
            self.deliver(Event::RateSet { rate: RateId(rate), period, burst })?;
        }
        if self.world.disk {
            self.deliver(Event::DiskSet { on: true })?;
        }
        Ok(())
    }

    /// Lives until nothing comes any more, or the engine dies.
    pub(super) fn go_on(&mut self, steps_max: u64) -> Result<(), Violation> {
        loop {
            if self.journal.as_ref().is_some_and(|j| j.dead) {
                return Ok(());
            }
            if self.steps > steps_max {
                return Err(self.wrong("the world does not come to an end".into()));
            }
            let timeout = self.core.poll_timeout();
            let next = self.coming.peek().map(|Reverse((at, _))| *at);
            let late = next.is_some() && self.rng.percent(self.world.knobs.late_tick);
            match (timeout, next) {
                (None, None) => break,
                (Some(t), n) if n.is_none_or(|n| t.0 <= n && !late) => {
                    self.book.now = self.book.now.max(t);
                    self.deliver(Event::Tick)?;
                }
                _ => self.next()?,
            }
        }
        self.oracle.at_the_end(&self.book).map_err(|what| self.wrong(what))
    }

    pub(super) fn wrong(&self, what: String) -> Violation {
        Violation { seed: self.world.seed, step: self.steps, at_ms: self.book.now.0 / MS, what }
    }

    pub(super) fn later(&mut self, at: u64, coming: Coming) {
        let i = u32::try_from(self.slab.len()).unwrap_or(u32::MAX);
        self.slab.push(Some(coming));
        self.coming.push(Reverse((at, i)));
    }

    pub(super) fn after(&mut self, delay: u64, coming: Coming) {
        self.later(self.book.now.0 + delay, coming);
    }

    /// Whether what comes next changes what there is to be ordered about: then all before it is done first, so that
    /// the book and the core agree on what came first.
    fn comes_alone(&mut self) -> bool {
        let next = self.coming.peek().and_then(|Reverse((_, i))| self.slab[*i as usize].as_ref());
        match next {
            // What is recorded must be so, and happen after what was due before.
            Some(coming) if self.journal.is_some() => {
                let report = matches!(coming, Coming::Report { .. });
                let due = self.core.poll_timeout();
                !report || self.coming.peek().is_some_and(|Reverse((at, _))| due.is_some_and(|due| due.0 <= *at))
            }
            Some(Coming::Resolved { call, .. }) => call.element.is_none() && self.book.plan(*call).foreach.is_some(),
            Some(Coming::Timed(i)) => !matches!(self.world.events[*i].1, Timed::Fact(_)),
            Some(Coming::Child { .. } | Coming::Fact(Event::ResultDropped { .. })) => true,
            _ => false,
        }
    }

    fn next(&mut self) -> Result<(), Violation> {
        if self.comes_alone() {
            let at = self.coming.peek().map_or(0, |Reverse((at, _))| *at);
            if self.undrained {
                self.drain()?;
            }
            if self.core.poll_timeout().is_some_and(|t| t.0 <= at) {
                self.book.now = self.book.now.max(Time(at));
                self.deliver(Event::Tick)?;
            }
        }
        let Some(Reverse((at, i))) = self.coming.pop() else { return Ok(()) };
        let Some(coming) = self.slab[i as usize].take() else { return Ok(()) };
        let before = self.book.now;
        self.book.now = before.max(Time(at));
        if let Coming::Disk(what) = coming {
            return self.disk(what);
        }
        if let Coming::Look { call, look } = coming {
            return self.looked(call, look).map_err(|what| self.wrong(what));
        }
        if let Coming::Stranger(does) = coming {
            self.stranger(does);
            return Ok(());
        }
        // A fact is recorded behind all that followed from those before it, so that it is told only then.
        let alone = self.journal.is_some();
        let event = self.event(coming);
        if event.is_none() && self.undrained {
            self.book.now = before;
        }
        if let Some(event) = event {
            self.tell(event);
            // Sometimes the driver finds several facts in its inbox and looks for orders only after all of them.
            let more = self.coming.peek().is_some_and(|Reverse((t, _))| *t <= self.book.now.0);
            if more && !alone && self.rng.percent(self.world.knobs.batch) {
                return Ok(());
            }
        }
        if self.undrained { self.drain() } else { Ok(()) }
    }

    /// What reaches the core, with its effect on the world.
    fn event(&mut self, coming: Coming) -> Option<Event> {
        match coming {
            Coming::Timed(i) => self.timed(i),
            Coming::Fact(event) => Some(event),
            Coming::Resolved { call, again } => Some(self.resolved(call, again, None)),
            Coming::Approve { call } => self.approved(call),
            Coming::Disk(_) | Coming::Look { .. } | Coming::Stranger(_) => None,
            Coming::LookedUp { found, event } => {
                if let (Event::LookedUp { call, .. }, Some(found)) = (&event, found) {
                    self.book.looks.found.insert(*call, found);
                }
                Some(event)
            }
            Coming::Report { attempt, end } => {
                if self.book.is_live(attempt) {
                    let took = match end {
                        AttemptEnd::Succeeded => true,
                        AttemptEnd::Failed { reached: Reached::No, .. }
                        | AttemptEnd::Aborted { reached: Reached::No } => false,
                        _ => self.world.fate(attempt).effect,
                    };
                    self.book.effect(attempt.call, took);
                }
                Some(Event::Finished { attempt, end })
            }
            Coming::Alive { attempt, every, left } => {
                if left == 0 || !self.book.is_live(attempt) {
                    return None;
                }
                self.after(every, Coming::Alive { attempt, every, left: left - 1 });
                Some(Event::Progressed { attempt })
            }
            Coming::Settle { attempt } => {
                let call = self.book.find(attempt.call)?;
                let took = call.effects.last().is_some_and(|e| e.took);
                let answer =
                    match mix(self.world.seed, u64::from(attempt.attempt) + 31 * u64::from(attempt.call.call)) % 3 {
                        0 => DoubtAnswer::Rerun,
                        1 if took => DoubtAnswer::Succeeded,
                        _ => DoubtAnswer::Fail,
                    };
                Some(Event::DoubtSettled { attempt, answer })
            }
            Coming::Child { run, parent } => {
                let live =
                    self.book.is_live(parent) && self.book.find(parent.call).is_some_and(|c| c.aborted.is_none());
                if !live {
                    return None;
                }
                if let Some(child) = &mut self.child {
                    child.added = true;
                }
                Some(Event::RunAdded(Box::new(self.world.runs[run as usize].spec(RunId(run), Some(parent)))))
            }
        }
    }

    pub(super) fn timed(&mut self, i: usize) -> Option<Event> {
        let (_, timed) = &self.world.events[i];
        if self.postponed(i) {
            return None;
        }
        match timed {
            Timed::Add(run) => Some(Event::RunAdded(Box::new(self.world.runs[*run as usize].spec(RunId(*run), None)))),
            Timed::AddCalls { run, from, to } => {
                let state = &self.book.runs[*run as usize];
                let calls = &self.world.runs[*run as usize].calls[*from as usize..*to as usize];
                (state.added && !state.ended && state.calls.len() == *from as usize)
                    .then(|| Event::CallsAdded { run: RunId(*run), calls: calls.iter().map(|c| c.spec()).collect() })
            }
            Timed::Close(run) => Some(Event::RunClosed { run: RunId(*run) }),
            Timed::Fact(event) => Some(event.clone()),
        }
    }

    /// The answer to `Resolve`. `known`: how often the keys of the call had been asked for anew when it started in a
    /// life before this one.
    pub(super) fn resolved(&mut self, call: CallRef, again: bool, known: Option<u32>) -> Event {
        let wanted =
            self.book.find(call).is_some_and(|c| c.named == super::book::Named::Asked && c.stage != Stage::Ended);
        if wanted && let Some(c) = self.book.find_mut(call) {
            c.rekeys = known.unwrap_or(c.rekeys + u32::from(again));
        }
        let decision = self.book.decide(call);
        let bound = self.book.plan(call).approval.filter(|_| !again);
        let resolution = match &decision {
            Decision::Run(touches) => {
                let same = self.book.find(call).is_some_and(|c| c.touches == *touches);
                let claims = (!same).then(|| claims(touches));
                match bound {
                    Some(bound) => Resolution::Ask { claims, bound },
                    None => Resolution::Run { claims, same: self.identity(call) },
                }
            }
            Decision::Skip => Resolution::Skip,
            Decision::Elements(n) => Resolution::Elements(*n),
            Decision::Error => Resolution::Error,
        };
        let event = Event::Resolved { call, resolution };
        if wanted {
            self.book.resolved(call, &decision);
            match (&decision, bound) {
                (Decision::Run(_), Some(bound)) => self.ask(call, bound),
                (Decision::Run(_), None) => {}
                _ => self.remember_resolved(&event),
            }
        }
        event
    }

    /// What a call has in common with others that ask the same.
    pub(super) fn identity(&self, call: CallRef) -> Option<Identity> {
        let (tool, args) = self.book.plan(call).same?;
        let args = if self.fault == Some(Fault::ArgumentForgotten) { 0 } else { args };
        let version = if self.fault == Some(Fault::VersionForgotten) { 0 } else { self.shelf.version };
        Some(Identity(u128::from(version) << 96 | u128::from(tool) << 64 | u128::from(args)))
    }

    /// Somebody is asked whether a call may run, and mostly answers in time.
    fn ask(&mut self, call: CallRef, bound: Duration) {
        self.book.asked(call, self.book.now.after(bound));
        if self.rng.percent(90) {
            let most = if self.rng.percent(80) { bound.min(Duration::from_millis(100)) } else { bound };
            let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
            let delay = self.rng.between(0, most * 9 / 8);
            self.after(delay, Coming::Approve { call });
        }
    }

    fn approved(&mut self, call: CallRef) -> Option<Event> {
        if !self.book.is_asked(call) {
            return None;
        }
        let approved = !mix(self.world.seed, mix(u64::from(call.call), 7)).is_multiple_of(6);
        let resolution =
            if approved { Resolution::Run { claims: None, same: self.identity(call) } } else { Resolution::Denied };
        let event = Event::Resolved { call, resolution };
        // What comes too late is told all the same.
        if self.book.find(call).is_some_and(|c| matches!(c.stage, Stage::Approval(until) if until > self.book.now)) {
            self.remember_resolved(&event);
            self.book.approved(call, approved);
        }
        Some(event)
    }

    pub(super) fn deliver(&mut self, event: Event) -> Result<(), Violation> {
        self.tell(event);
        self.drain()
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.steps += 1;
        self.undrained = true;
        self.remember(&event);
        self.book.fact(&event);
        if let Some(trace) = &mut self.trace {
            let _ = writeln!(trace, "{:>8}.{:06} <- {}", self.book.now.0 / MS, self.book.now.0 % MS, say_event(&event));
        }
        if self.record.is_some() {
            self.events.push(event.clone());
        }
        self.core.handle(self.book.now, event);
    }

    pub(super) fn drain(&mut self) -> Result<(), Violation> {
        self.undrained = false;
        while let Some(action) = self.core.poll_action() {
            self.steps += 1;
            self.digest = mix(self.digest, digest(&action));
            if let Some(trace) = &mut self.trace {
                let _ = writeln!(trace, "                    -> {}", say_action(&action));
            }
            if let Action::Illegal { call, why } = action
                && let Some(journal) = &mut self.journal
            {
                journal.refused = Some(format!("what was told of {} is refused: {why:?}", name(call)));
                continue;
            }
            if !self.state_only {
                self.oracle.action(&self.book, &action).map_err(|what| self.wrong(what))?;
            }
            self.remember_on_disk(&action);
            self.remember_order(&action);
            self.book.action(&action);
            if let Action::RunEnded { run, .. } = &action
                && self.journal.as_ref().is_none_or(|j| !j.tampered)
            {
                let run = &self.book.runs[run.0 as usize];
                super::truth::compare(&self.book, run).map_err(|what| self.wrong(format!("r{}: {what}", run.id.0)))?;
            }
            self.react(&action);
            if self.record.is_some() {
                self.actions.push(action);
            }
        }
        if let Some(record) = &mut self.record {
            let (events, actions) = (std::mem::take(&mut self.events), std::mem::take(&mut self.actions));
            record.push(Turn { now: self.book.now, events, actions });
        }
        self.commit();
        if self.state_only || self.journal.as_ref().is_some_and(|j| j.telling) {
            return Ok(());
        }
        let oracle = &mut self.oracle;
        let checked = oracle.quiet(&mut self.book, &mut self.core).and_then(|()| self.doubts_are_open());
        checked.map_err(|what| self.wrong(what))
    }

    /// What the world does about an order.
    fn react(&mut self, action: &Action) {
        match action {
            Action::Resolve { call, again } if self.recovers(call.run) => {
                if let Some(journal) = &mut self.journal {
                    journal.asked.push_back((*call, *again));
                }
            }
            Action::Resolve { call, again } => {
                let slow = self.rng.percent(self.world.knobs.resolve_delay);
                let delay = if slow { self.rng.between(0, 20) * MS } else { 0 };
                self.after(delay, Coming::Resolved { call: *call, again: *again });
            }
            Action::Start { attempt, .. } if self.waits_for_record(*attempt) => {}
            Action::Start { attempt, .. } => self.start(*attempt),
            Action::Abort { attempt, .. } if self.recovers(attempt.call.run) => {}
            Action::Abort { attempt, .. } if self.never_launched(*attempt) => {
                let end = AttemptEnd::Aborted { reached: Reached::No };
                self.after(0, Coming::Report { attempt: *attempt, end });
            }
            Action::Abort { attempt, .. } => self.abort(*attempt),
            Action::Ask { attempt, until } => {
                if self.rng.percent(70) {
                    let wait = until.0.saturating_sub(self.book.now.0);
                    let delay = self.rng.between(0, wait * 5 / 4);
                    self.after(delay, Coming::Settle { attempt: *attempt });
                }
            }
            Action::RunEnded { run, .. } => {
                if let Some(child) = self.child.take_if(|c| c.run == run.0) {
                    self.after(MS, Coming::Report { attempt: child.parent, end: child.report });
                }
            }
            Action::Look { call, look } => self.look(*call, *look),
            Action::Keep { entry, .. } | Action::Store { entry, .. } => {
                if self.rng.percent(10) {
                    let delay = self.rng.between(0, 30) * MS;
                    self.after(delay, Coming::Fact(Event::ResultDropped { entry: *entry }));
                }
            }
            Action::Retry { .. }
            | Action::Illegal { .. }
            | Action::Ended(_)
            | Action::Reuse { .. }
            | Action::OpenWrite { .. }
            | Action::CloseWrite { .. }
            | Action::Forget { .. }
            | Action::DropCall { .. } => {}
        }
    }

    pub(super) fn start(&mut self, attempt: AttemptRef) {
        let fate = self.world.fate(attempt);
        if attempt.call.run.0 == 0 && attempt.call.element.is_none() {
            let run = self.world.runs.iter().position(|r| r.child_of == Some(attempt.call.call));
            if let Some(run) = run.filter(|&run| !self.book.runs[run].added && self.child.is_none()) {
                let run = u32::try_from(run).unwrap_or(0);
                let report = fate.end.map_or(AttemptEnd::Succeeded, |e| e.1);
                self.child = Some(Child { run, parent: attempt, added: false, report });
                self.after(MS, Coming::Child { run, parent: attempt });
                return;
            }
        }
        if let Some((after, end)) = fate.end {
            self.after(after, Coming::Report { attempt, end });
            if let Some(more) = fate.repeated {
                self.after(after + more, Coming::Fact(Event::Finished { attempt, end: other_end(end) }));
            }
        }
        if let Some(every) = fate.progress {
            self.after(every, Coming::Alive { attempt, every, left: 20 });
        }
    }

    fn abort(&mut self, attempt: AttemptRef) {
        if !self.book.is_live(attempt) {
            return;
        }
        let Fate { when_aborted, effect, repeated, .. } = self.world.fate(attempt);
        if let Some(child) = &mut self.child
            && child.parent == attempt
        {
            if child.added {
                let run = RunId(child.run);
                child.report = AttemptEnd::Aborted { reached: Reached::Yes };
                self.after(0, Coming::Fact(Event::CancelRequested { run, call: None, force: true }));
                return;
            }
            self.child = None;
            self.after(MS, Coming::Report { attempt, end: AttemptEnd::Aborted { reached: Reached::Yes } });
            return;
        }
        match when_aborted {
            WhenAborted::Obeys { after, reached } => {
                let end = AttemptEnd::Aborted { reached };
                self.after(after, Coming::Report { attempt, end });
                if let Some(more) = repeated {
                    self.after(after + more, Coming::Fact(Event::Finished { attempt, end: AttemptEnd::Succeeded }));
                }
            }
            WhenAborted::Succeeds { after } => {
                self.after(after, Coming::Report { attempt, end: AttemptEnd::Succeeded })
            }
            WhenAborted::TooLate(after) => {
                // It may have taken effect before it was told to end; nobody will know in time.
                self.book.effect(attempt.call, effect);
                if let Some(after) = after {
                    self.after(after, Coming::Fact(Event::Finished { attempt, end: AttemptEnd::Succeeded }));
                }
            }
        }
    }
}

/// A repeated report may also say something else.
fn other_end(end: AttemptEnd) -> AttemptEnd {
    match end {
        AttemptEnd::Failed { .. } => AttemptEnd::Succeeded,
        other => other,
    }
}

fn place(c: CallRef) -> u64 {
    mix(u64::from(c.run.0), u64::from(c.call) << 32 | c.element.map_or(0, |e| u64::from(e) + 1))
}

/// A number for an action; equal actions have equal numbers.
fn digest(action: &Action) -> u64 {
    match action {
        Action::Resolve { call, again } => mix(1 + u64::from(*again), place(*call)),
        Action::Start { attempt, after_doubt } => {
            mix(mix(3 + u64::from(*after_doubt), u64::from(attempt.attempt)), place(attempt.call))
        }
        Action::Abort { attempt, reason } => {
            mix(mix(5 + *reason as u64 * 64, u64::from(attempt.attempt)), place(attempt.call))
        }
        Action::Retry { attempt, due } => mix(mix(6, due.0), place(attempt.call)),
        Action::Ask { attempt, until } => mix(mix(7, until.0), place(attempt.call)),
        Action::Ended(end) => {
            let waits = end.waits.iter().fold(0, |a, w| mix(a, w.ns));
            mix(mix(mix(8 + end.outcome as u64 * 64, waits), end.ended.0), place(end.call))
        }
        Action::RunEnded { run, deadline_passed } => mix(9 + u64::from(*deadline_passed), u64::from(run.0)),
        Action::Illegal { call, .. } => mix(11, place(*call)),
        Action::Reuse { call, from: Source::Entry(entry) } => mix(mix(12, entry.0), place(*call)),
        Action::Reuse { call, from: Source::Call(other) } => mix(mix(13, place(*other)), place(*call)),
        Action::Keep { call, entry } => mix(mix(14, entry.0), place(*call)),
        Action::DropCall { call } => mix(21, place(*call)),
        Action::Forget { entry, why } => mix(15 + *why as u64 * 64, entry.0),
        Action::Reuse { call, from: Source::Disk } => mix(16, place(*call)),
        Action::Look { call, look } => mix(mix(17, *look), place(*call)),
        Action::Store { call, entry, stamp } => mix(mix(mix(18, stamp.0), entry.0), place(*call)),
        Action::OpenWrite { call } => mix(19, place(*call)),
        Action::CloseWrite { call } => mix(20, place(*call)),
    }
}

/// An event in words.
pub(super) fn say_event(event: &Event) -> String {
    match event {
        Event::RunAdded(spec) => {
            let mut text = format!(
                "RunAdded r{} weight {} stop {} open {} deadline {:?} limits {:?} parent {:?}",
                spec.run.0,
                spec.weight,
                spec.stop_on_failure,
                spec.open,
                spec.deadline.map(|t| t.0 / MS),
                spec.limits,
                spec.parent.map(|p| name(p.call))
            );
            for (i, call) in spec.calls.iter().enumerate() {
                let _ = write!(text, "\n    c{i}: {}", say_spec(call));
            }
            text
        }
        Event::CallsAdded { run, calls } => {
            let mut text = format!("CallsAdded r{}", run.0);
            for call in calls {
                let _ = write!(text, "\n    +: {}", say_spec(call));
            }
            text
        }
        Event::Resolved { call, resolution } => format!("Resolved {} {}", name(*call), say_resolution(resolution)),
        Event::Finished { attempt, end } => format!("Finished {}#{} {end:?}", name(attempt.call), attempt.attempt),
        Event::Progressed { attempt } => format!("Progressed {}#{}", name(attempt.call), attempt.attempt),
        Event::DoubtSettled { attempt, answer } => {
            format!("DoubtSettled {}#{} {answer:?}", name(attempt.call), attempt.attempt)
        }
        other => format!("{other:?}"),
    }
}

fn say_claims(claims: &Arc<[Claim]>) -> String {
    let of = |c: &Claim| format!("{}:{}", if c.write { 'w' } else { 'r' }, Node::name_of(&c.key));
    claims.iter().map(of).collect::<Vec<_>>().join(" ")
}

fn say_resolution(resolution: &Resolution) -> String {
    match resolution {
        Resolution::Run { claims, same } => {
            let same = same.map_or_else(String::new, |s| format!(" same {:x}", s.0));
            format!("Run {:?}{same}", claims.as_ref().map(say_claims))
        }
        other => format!("{other:?}"),
    }
}

fn say_spec(call: &CallSpec) -> String {
    let s = &call.settings;
    let inputs = call.inputs.iter().map(|i| match i.kind {
        InputKind::Result => format!("{}", i.call),
        InputKind::Outcome => format!("after {}", i.call),
    });
    format!(
        "inputs [{}] claims [{}]{}{} prio {} expect {:?} timeout {:?} idle {:?} retry {}×{:?} {}{:?}{}{} needs {:?} rates {:?}{}",
        inputs.collect::<Vec<_>>().join(", "),
        say_claims(&call.claims),
        if call.foreach { " foreach" } else { "" },
        if call.resolve { " resolve" } else { "" },
        s.priority,
        s.expect,
        s.timeout,
        s.idle_timeout,
        s.retry.attempts_max,
        s.retry.backoff,
        if s.repeatable { "repeatable " } else { "" },
        s.in_doubt,
        if s.failure_has_value { " value" } else { "" },
        if s.rekey { " rekey" } else { "" },
        s.needs,
        s.rates,
        s.reuse.map_or_else(String::new, |reuse| format!(" {reuse:?}")),
    )
}

/// An action in words.
pub(super) fn say_action(action: &Action) -> String {
    match action {
        Action::Resolve { call, again } => format!("Resolve {}{}", name(*call), if *again { " again" } else { "" }),
        Action::Start { attempt, after_doubt } => {
            let doubt = if *after_doubt { " after doubt" } else { "" };
            format!("Start {}#{}{doubt}", name(attempt.call), attempt.attempt)
        }
        Action::Abort { attempt, reason } => format!("Abort {}#{} {reason:?}", name(attempt.call), attempt.attempt),
        Action::Retry { attempt, due } => format!("Retry {}#{} due {:?}", name(attempt.call), attempt.attempt, due.0),
        Action::Ask { attempt, until } => format!("Ask {}#{} until {:?}", name(attempt.call), attempt.attempt, until.0),
        Action::Ended(e) => {
            format!("Ended {} {:?} {:?} attempts {} waits {:?}", name(e.call), e.outcome, e.reason, e.attempts, e.waits)
        }
        other => format!("{other:?}"),
    }
}
