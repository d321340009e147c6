//! What has happened so far, told only by the events given to the core and the actions it gave back.
//! It does not know whether what happened was right (that is `oracle`) nor anything inside the core.

use super::cells::{Touch, masks};
use super::handed::{self, Kept};
use super::shelf::Looks;
use super::truth::{self, Decision, Store};
use super::world::World;
use crate::types::*;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::rc::Rc;
use std::time::Duration;

/// Where a call is, as far as can be seen from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Not started, or to be started again.
    Waiting,
    Running,
    /// Between two attempts, until then.
    Backoff(Time),
    /// Somebody is asked, until then.
    Doubt(Time),
    /// Its attempt was lost with the engine, and nothing was ordered since.
    Lost,
    /// Somebody is asked whether it may run, until then.
    Approval(Time),
    Ended,
}

/// What has been said about the keys of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Named {
    No,
    Asked,
    Done,
}

/// How long an aborted attempt may take to answer (DESIGN 3.6).
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// A call or an element.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) who: CallRef,
    pub(super) stage: Stage,
    pub(super) named: Named,
    pub(super) rekeys: u32,
    pub(super) touches: SmallVec<[Touch; 2]>,
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) attempts: u32,
    /// Since when no attempt of it has run.
    pub(super) idle_since: Time,
    pub(super) idle: u64,
    pub(super) attempt_started: Time,
    pub(super) first_started: Option<Time>,
    pub(super) silent_since: Time,
    pub(super) held: SmallVec<[(LimitId, u64); 2]>,
    pub(super) aborted: Option<(Time, AbortReason)>,
    /// When that was known at the latest; what is due late is done as of when it was due.
    pub(super) aborted_latest: Time,
    /// How its running attempt ended, told to the core but not yet answered by it.
    pub(super) end: Option<AttemptEnd>,
    /// A doubt about it was answered, which the core has not followed yet.
    pub(super) answer: Option<DoubtAnswer>,
    /// What the running attempt will have written or given.
    pub(super) value_now: u64,
    pub(super) effects: SmallVec<[Effect; 2]>,
    pub(super) outcome: Option<(Outcome, Reason)>,
    /// What others get from it.
    pub(super) value: Option<u64>,
    pub(super) given: u64,
    pub(super) expanded: bool,
    pub(super) elements: Vec<Call>,
    pub(super) cancelled: bool,
    /// What the driver said its inputs make of it.
    pub(super) said: Option<Said>,
    /// Whose result it was handed, and when that was given, if it was kept.
    pub(super) handed: Option<(CallRef, Option<Time>)>,
    /// That was in a life before this one.
    pub(super) told_handed: bool,
    /// Whose flight it was last said to wait for.
    pub(super) joined: Option<CallRef>,
    /// Its attempt is one that others can join.
    pub(super) flies: bool,
    /// What may have been written since its attempt started.
    pub(super) spoilt_by: u64,
    /// Nobody knows whether one of its attempts wrote.
    pub(super) doubt: bool,
    /// It was forgotten.
    pub(super) dropped: bool,
    /// Since which start, and among how many, it has been ready without starting.
    pub(super) ready_since: Option<(u64, u64)>,
    /// Starts from here on may have passed it: those of the turn in which it became ready did too.
    pub(super) passed_since: u64,
    /// How many effects there had been when its attempt started.
    pub(super) read_at: usize,
}

/// What an attempt did.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Effect {
    pub(super) took: bool,
    /// How often the call's keys had been asked for anew when it started.
    pub(super) again: u32,
    value: u64,
}

/// The kinds of resolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    Run,
    Skip,
    Elements,
    Error,
    /// Somebody is asked.
    Ask,
    Denied,
}

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) index: usize,
    pub(super) id: RunId,
    pub(super) seed: u64,
    pub(super) calls: Vec<Call>,
    /// Calls in serial order.
    pub(super) serial: Vec<u32>,
    /// The place of each call in it.
    pub(super) place: Vec<u32>,
    pub(super) store: Store,
    pub(super) paused: bool,
    /// When it was paused last; what was due was done before.
    pub(super) paused_at: Time,
    /// Its record is being told.
    pub(super) recovering: bool,
    pub(super) cancelled: bool,
    pub(super) closed: bool,
    pub(super) ended: bool,
    pub(super) added: bool,
    pub(super) deadline: Option<Time>,
    /// Its deadline has passed.
    pub(super) expired: bool,
    pub(super) stop: bool,
    pub(super) parent: Option<AttemptRef>,
    pub(super) open_calls: u32,
}

/// An attempt that holds its keys and amounts.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    pub(super) who: CallRef,
    pub(super) reads: u64,
    pub(super) writes: u64,
}

/// A rate: the theoretical arrival time of the generic cell rate algorithm.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateBook {
    pub(super) period: u64,
    pub(super) burst: u64,
    pub(super) arrival: u64,
}

/// All that is known.
pub(super) struct Book<'w> {
    pub(super) world: &'w World,
    pub(super) now: Time,
    /// The time of the fact before the last.
    pub(super) last: Time,
    told: Time,
    pub(super) runs: Vec<Run>,
    pub(super) capacity: Vec<(LimitId, u64)>,
    pub(super) rates: Vec<RateBook>,
    pub(super) holding: Vec<Holding>,
    /// Results that are kept to be handed on.
    pub(super) kept: Vec<Kept>,
    pub(super) starts: u64,
    /// How many there were when all was looked at last.
    pub(super) starts_before: u64,
    /// The calls of each run as they were known in the life before.
    pub(super) before: Rc<[Vec<Call>]>,
    /// How often each call that must not run twice took effect, in all lives, whoever knows of it.
    pub(super) ledger: Option<HashMap<CallRef, u32>>,
    /// The keys of all effects in all lives, in order.
    pub(super) history: Vec<u64>,
    pub(super) looks: Looks,
}

impl Call {
    fn new(who: CallRef, touches: SmallVec<[Touch; 2]>, now: Time) -> Call {
        let (reads, writes) = masks(&touches);
        Call {
            who,
            stage: Stage::Waiting,
            named: Named::No,
            rekeys: 0,
            touches,
            reads,
            writes,
            attempts: 0,
            idle_since: now,
            idle: 0,
            attempt_started: now,
            first_started: None,
            silent_since: now,
            held: SmallVec::new(),
            aborted: None,
            aborted_latest: now,
            end: None,
            answer: None,
            value_now: 0,
            effects: SmallVec::new(),
            outcome: None,
            value: None,
            given: 0,
            expanded: false,
            elements: Vec::new(),
            cancelled: false,
            said: None,
            handed: None,
            told_handed: false,
            joined: None,
            flies: false,
            spoilt_by: 0,
            doubt: false,
            dropped: false,
            ready_since: None,
            passed_since: 0,
            read_at: 0,
        }
    }

    pub(super) fn name(&self) -> String {
        name(self.who)
    }

    fn start(&mut self, attempt: u32, now: Time, effect: Effect) {
        self.attempts = attempt;
        self.stage = Stage::Running;
        self.idle += now.0.saturating_sub(self.idle_since.0);
        self.idle_since = now;
        self.attempt_started = now;
        self.first_started.get_or_insert(now);
        self.silent_since = now;
        self.held.clear();
        self.aborted = None;
        self.end = None;
        self.answer = None;
        self.value_now = effect.value;
        self.spoilt_by = 0;
        self.flies = false;
        self.effects.push(effect);
    }

    pub(super) fn touch(&mut self, touches: SmallVec<[Touch; 2]>) {
        (self.reads, self.writes) = masks(&touches);
        self.touches = touches;
    }
}

/// A call's name for people: run, call and element.
pub(super) fn name(who: CallRef) -> String {
    match who.element {
        Some(e) => format!("r{}.c{}[{e}]", who.run.0, who.call),
        None => format!("r{}.c{}", who.run.0, who.call),
    }
}

impl Run {
    /// Somebody cancelled it, or one call of it.
    fn cancel(&mut self, call: Option<u32>) {
        self.cancelled |= call.is_none();
        self.closed |= call.is_none();
        for c in self.calls.iter_mut().filter(|c| call.is_none_or(|call| call == c.who.call)) {
            c.cancelled = true;
            c.elements.iter_mut().for_each(|e| e.cancelled = true);
        }
    }

    /// Its deadline has passed.
    fn expire(&mut self) {
        self.expired = true;
        self.cancelled = true;
        self.closed = true;
        for call in &mut self.calls {
            call.cancelled = true;
        }
    }
}

impl<'w> Book<'w> {
    pub(super) fn new(world: &'w World) -> Book<'w> {
        let runs = world.runs.iter().enumerate().map(|(index, plan)| Run {
            index,
            id: RunId(u32::try_from(index).unwrap_or(0)),
            seed: plan.seed,
            calls: Vec::new(),
            serial: Vec::new(),
            place: Vec::new(),
            store: [0; 64],
            paused: false,
            paused_at: Time(0),
            recovering: false,
            cancelled: false,
            closed: !plan.open,
            ended: false,
            added: false,
            deadline: plan.deadline,
            expired: false,
            stop: plan.stop,
            parent: None,
            open_calls: 0,
        });
        Book {
            world,
            now: Time(0),
            last: Time(0),
            told: Time(0),
            runs: runs.collect(),
            capacity: Vec::new(),
            rates: Vec::new(),
            holding: Vec::new(),
            kept: Vec::new(),
            starts: 0,
            starts_before: 0,
            before: Rc::new([]),
            ledger: None,
            history: Vec::new(),
            looks: Looks::default(),
        }
    }

    /// What is known when another life begins: nothing but what the world has kept.
    pub(super) fn reborn(&self, now: Time) -> Book<'w> {
        let mut next = Book::new(self.world);
        let mut before = Vec::new();
        for (i, run) in self.runs.iter().enumerate() {
            next.runs[i].store = run.store;
            // Of a run whose record was not told to its end, no more is known than before.
            let known = run.added && !run.recovering;
            before.push(if known { run.calls.clone() } else { self.before.get(i).cloned().unwrap_or_default() });
        }
        next.before = before.into();
        next.ledger.clone_from(&self.ledger);
        next.history.clone_from(&self.history);
        (next.now, next.last, next.told, next.starts) = (now, now, now, self.starts);
        next
    }

    /// What is known of a call from the life before.
    pub(super) fn known_before(&self, who: CallRef) -> Option<&Call> {
        let call = self.before.get(who.run.0 as usize)?.get(who.call as usize)?;
        who.element.map_or(Some(call), |e| call.elements.get(e as usize))
    }

    pub(super) fn find(&self, who: CallRef) -> Option<&Call> {
        let call = self.runs.get(who.run.0 as usize)?.calls.get(who.call as usize)?;
        match who.element {
            None => Some(call),
            Some(e) => call.elements.get(e as usize),
        }
    }

    pub(super) fn find_mut(&mut self, who: CallRef) -> Option<&mut Call> {
        let call = self.runs.get_mut(who.run.0 as usize)?.calls.get_mut(who.call as usize)?;
        match who.element {
            None => Some(call),
            Some(e) => call.elements.get_mut(e as usize),
        }
    }

    pub(super) fn plan(&self, who: CallRef) -> &'w super::world::CallPlan {
        &self.world.runs[who.run.0 as usize].calls[who.call as usize]
    }

    /// Where a call stands: smaller is earlier in the serial order of its run.
    pub(super) fn place(&self, who: CallRef) -> (u32, u32) {
        (self.runs[who.run.0 as usize].place[who.call as usize], who.element.map_or(0, |e| e + 1))
    }

    pub(super) fn capacity(&self, limit: LimitId) -> u64 {
        self.capacity.iter().find(|l| l.0 == limit).map_or(0, |l| l.1)
    }

    /// Calls `from..to` of a run are listed now.
    pub(super) fn list(&mut self, run: usize, from: u32, to: u32) {
        let now = self.now;
        let plan = &self.world.runs[run];
        let book = &mut self.runs[run];
        for call in from..to {
            let who = CallRef { run: book.id, call, element: None };
            let mut made = Call::new(who, plan.calls[call as usize].announced.clone(), now);
            made.cancelled = book.cancelled;
            book.calls.push(made);
            book.place.push(0);
        }
        book.open_calls += to - from;
        // The serial order by its definition: again and again the earliest listed call whose inputs are taken.
        let mut taken = vec![false; to as usize];
        taken[..from as usize].fill(true);
        let mut first = from;
        while first < to {
            let next = (first..to)
                .find(|&c| !taken[c as usize] && plan.calls[c as usize].inputs.iter().all(|i| taken[i.call as usize]));
            let Some(next) = next else { break };
            taken[next as usize] = true;
            book.place[next as usize] = u32::try_from(book.serial.len()).unwrap_or(0);
            book.serial.push(next);
            while first < to && taken[first as usize] {
                first += 1;
            }
        }
    }

    /// Whether all inputs have ended; and whether each that gives a result gave one.
    pub(super) fn inputs(&self, who: CallRef) -> (bool, bool) {
        let calls = &self.runs[who.run.0 as usize].calls;
        self.plan(who).inputs.iter().fold((true, true), |(ended, complete), i| {
            let other = &calls[i.call as usize];
            let there = i.kind == InputKind::Outcome || other.value.is_some();
            (ended && other.stage == Stage::Ended, complete && there)
        })
    }

    /// What the call was given; its inputs have ended.
    pub(super) fn given(&self, who: CallRef) -> u64 {
        let run = &self.runs[who.run.0 as usize];
        let inputs = self.plan(who).inputs.iter().filter(|i| i.kind == InputKind::Result);
        let given = truth::given(run.seed, who.call, inputs.map(|i| run.calls[i.call as usize].value.unwrap_or(0)));
        who.element.map_or(given, |e| truth::given_element(given, e))
    }

    /// What the world answers when asked to resolve a call.
    pub(super) fn decide(&self, who: CallRef) -> Decision {
        let Some(call) = self.find(who) else { return Decision::Error };
        truth::decide(self.plan(who), self.given(who), who.element.is_some(), call.rekeys)
    }

    /// The call was resolved.
    pub(super) fn resolved(&mut self, who: CallRef, decision: &Decision) {
        let now = self.now;
        let Some(call) = self.find_mut(who) else { return };
        call.named = Named::Done;
        call.said = Some(match decision {
            Decision::Run(_) => Said::Run,
            Decision::Skip => Said::Skip,
            Decision::Elements(_) => Said::Elements,
            Decision::Error => Said::Error,
        });
        match decision {
            Decision::Run(touches) => call.touch(touches.clone()),
            Decision::Elements(n) => {
                call.expanded = true;
                let (touches, cancelled) = (call.touches.clone(), call.cancelled);
                call.elements = (0..*n)
                    .map(|e| {
                        let mut made = Call::new(CallRef { element: Some(e), ..who }, touches.clone(), now);
                        made.cancelled = cancelled;
                        made
                    })
                    .collect();
            }
            Decision::Skip | Decision::Error => {}
        }
    }

    /// An attempt has started (already found legal).
    pub(super) fn started(&mut self, attempt: AttemptRef) {
        let who = attempt.call;
        let (now, plan, given) = (self.now, self.plan(who), self.given(who));
        let needs = plan.settings.needs.iter().copied().collect();
        for rate in &plan.settings.rates {
            let rate = &mut self.rates[rate.0 as usize];
            rate.arrival = rate.arrival.max(now.0) + rate.period;
        }
        let flies = self.find(who).is_some_and(|call| handed::flights(self, call).next().is_none());
        self.written(self.find(who).map_or(0, |call| call.writes));
        let run = &mut self.runs[who.run.0 as usize];
        let call = &mut run.calls[who.call as usize];
        let call = match who.element {
            None => call,
            Some(e) => &mut call.elements[e as usize],
        };
        let value = truth::value(plan, given, (call.reads, call.writes), &run.store);
        call.start(attempt.attempt, now, Effect { took: false, again: call.rekeys, value });
        call.held = needs;
        call.flies = flies;
        call.read_at = self.history.len();
        call.given = given;
        self.holding.push(Holding { who, reads: call.reads, writes: call.writes });
        self.starts += 1;
    }

    /// An attempt had started in a life before this one; it runs no more.
    fn started_before(&mut self, attempt: AttemptRef) {
        let who = attempt.call;
        let past = self.known_before(who).and_then(|c| c.effects.get(attempt.attempt as usize - 1));
        let (past, now, given) = (past.copied().unwrap_or_default(), self.now, self.given(who));
        self.written(self.find(who).map_or(0, |call| call.writes));
        let Some(call) = self.find_mut(who) else { return };
        call.start(attempt.attempt, now, past);
        call.given = given;
    }

    /// The running attempt takes effect, or not; told once per attempt.
    pub(super) fn effect(&mut self, who: CallRef, took: bool) {
        let once = !self.plan(who).settings.repeatable;
        let run = &mut self.runs[who.run.0 as usize];
        let call = &mut run.calls[who.call as usize];
        let call = match who.element {
            None => call,
            Some(e) => &mut call.elements[e as usize],
        };
        if took {
            let first = call.effects.last().is_some_and(|e| !e.took);
            if let Some(ledger) = self.ledger.as_mut().filter(|_| once && first) {
                *ledger.entry(who).or_default() += 1;
            }
            if let Some(last) = call.effects.last_mut() {
                last.took = true;
            }
            truth::write(&mut run.store, call.writes, call.value_now);
            if call.writes != 0 {
                self.history.push(call.writes);
            }
        }
    }

    /// The running attempt is over: what it held is free. One that was given up ended when its grace did.
    pub(super) fn over(&mut self, who: CallRef) {
        let grace = self.find(who).filter(|c| c.end.is_none()).and_then(|c| c.aborted);
        let now = grace.map_or(self.now, |(at, _)| at.after(GRACE).min(self.now));
        self.holding.retain(|h| h.who != who);
        self.written(self.find(who).map_or(0, |call| call.writes));
        let unknown = |end| match end {
            AttemptEnd::Failed { reached, .. } | AttemptEnd::Aborted { reached } => reached == Reached::Unknown,
            AttemptEnd::Succeeded => false,
        };
        if self.find(who).is_some_and(|call| call.end.is_none_or(unknown)) {
            self.doubted(who);
        }
        if let Some(call) = self.find_mut(who) {
            call.idle_since = now;
            call.held.clear();
            call.ready_since = None;
        }
    }

    /// The call has its outcome.
    pub(super) fn ended(&mut self, end: &CallEnd) {
        let who = end.call;
        let (now, has_value) = (end.ended, self.plan(who).settings.failure_has_value);
        let complete = self.inputs(who).1;
        let given = if complete { self.given(who) } else { 0 };
        let Some(call) = self.find_mut(who) else { return };
        call.idle += now.0.saturating_sub(call.idle_since.0);
        call.idle_since = now;
        call.stage = Stage::Ended;
        call.outcome = Some((end.outcome, end.reason));
        call.value = match end.outcome {
            Outcome::Succeeded if call.expanded => Some(truth::list(given, call.elements.iter().map(|e| e.value))),
            Outcome::Succeeded => Some(call.value_now),
            Outcome::Failed | Outcome::Denied | Outcome::InDoubt if has_value => Some(truth::fallback(given)),
            _ => None,
        };
        if who.element.is_none() {
            self.runs[who.run.0 as usize].open_calls -= 1;
        }
    }
}

impl Book<'_> {
    /// Takes note of a fact that the core is about to be told.
    pub(super) fn fact(&mut self, event: &Event) {
        let now = self.now;
        self.last = self.told;
        self.told = now;
        self.expire();
        match event {
            Event::LimitSet { limit, capacity } => self.set_capacity(*limit, *capacity),
            Event::RateSet { period, burst, .. } => {
                let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
                self.rates.push(RateBook { period, burst: u64::from(*burst), arrival: 0 });
            }
            Event::RunAdded(spec) => {
                let index = spec.run.0 as usize;
                for &(limit, capacity) in &spec.limits {
                    self.set_capacity(limit, capacity);
                }
                self.runs[index].added = true;
                self.runs[index].recovering = spec.recovering;
                self.runs[index].parent = spec.parent;
                self.list(index, 0, u32::try_from(spec.calls.len()).unwrap_or(0));
            }
            Event::CallsAdded { run, calls } => {
                let index = run.0 as usize;
                let from = u32::try_from(self.runs[index].calls.len()).unwrap_or(0);
                self.list(index, from, from + u32::try_from(calls.len()).unwrap_or(0));
            }
            Event::RunClosed { run } => self.on_run(*run, |r| r.closed = true),
            Event::PauseRequested { run } => self.on_run(*run, |r| (r.paused, r.paused_at) = (true, now)),
            Event::ResumeRequested { run } => self.on_run(*run, |r| r.paused = false),
            Event::CancelRequested { run, call, .. } => self.on_run(*run, |r| r.cancel(*call)),
            Event::Finished { attempt, end } => {
                if self.is_live(*attempt) {
                    if let Some(call) = self.find_mut(attempt.call) {
                        call.end = Some(*end);
                    }
                    self.over(attempt.call);
                }
            }
            Event::Progressed { attempt } => {
                let idle = self.find(attempt.call).and_then(|c| self.plan(c.who).settings.idle_timeout);
                if self.is_live(*attempt)
                    && let Some(call) = self.find_mut(attempt.call)
                    && idle.is_none_or(|t| call.silent_since.after(t) > now)
                {
                    call.silent_since = now;
                }
            }
            Event::DoubtSettled { attempt, answer } => {
                if let Some(call) = self.find_mut(attempt.call)
                    && call.attempts == attempt.attempt
                    && matches!(call.stage, Stage::Doubt(_))
                {
                    call.answer.get_or_insert(*answer);
                }
            }
            Event::Recorded(fact) => self.recorded(*fact),
            Event::DeadlinePassed { run } => self.on_run(*run, Run::expire),
            Event::Recovered { run } => {
                self.on_run(*run, |r| r.recovering = false);
                self.expire();
            }
            Event::ResultDropped { entry } => self.hand(&Action::Forget { entry: *entry, why: Gone::Room }),
            Event::LookedUp { call, .. } => _ = self.looks.open.remove(call),
            Event::Resolved { .. } | Event::DiskSet { .. } | Event::Tick => {}
        }
    }

    /// Runs whose deadline has passed are cancelled before anything else happens.
    fn expire(&mut self) {
        let now = self.now;
        for run in &mut self.runs {
            let open = run.added && !run.ended && !run.recovering;
            if open && !run.expired && run.deadline.is_some_and(|d| d <= now) {
                run.expire();
            }
        }
    }

    /// Takes note of what is told from a life before this one.
    fn recorded(&mut self, fact: Recorded) {
        let now = self.now;
        if let Recorded::Started { attempt } = fact {
            return self.started_before(attempt);
        }
        if let Recorded::GivenUp { attempt } | Recorded::Lost { attempt, .. } = fact {
            self.written(self.find(attempt.call).map_or(0, |call| call.writes));
            self.doubted(attempt.call);
        }
        if let Recorded::Reused { call } = fact {
            let past = self.known_before(call).map(|c| (c.value_now, c.handed));
            if let (Some(past), Some(call)) = (past, self.find_mut(call)) {
                (call.value_now, call.handed) = past;
                call.told_handed = true;
            }
        }
        let Some(call) = self.find_mut(fact.call()) else { return };
        match fact {
            Recorded::Aborted { reason, .. } => {
                call.aborted.get_or_insert((now, reason));
                call.aborted_latest = now;
            }
            Recorded::GivenUp { .. } => {
                call.end = Some(AttemptEnd::Aborted { reached: Reached::Unknown });
                call.idle_since = now;
            }
            Recorded::Lost { answer, .. } => {
                call.stage = Stage::Lost;
                call.end = Some(AttemptEnd::Aborted { reached: Reached::Unknown });
                call.answer = answer;
                call.idle_since = now;
            }
            Recorded::Unanswered { .. } => match &mut call.stage {
                Stage::Doubt(until) | Stage::Approval(until) => *until = now,
                _ => {}
            },
            Recorded::Started { .. } | Recorded::Reused { .. } => {}
        }
    }

    /// Somebody is asked whether a call may run.
    pub(super) fn asked(&mut self, who: CallRef, until: Time) {
        if let Some(call) = self.find_mut(who) {
            (call.said, call.stage) = (Some(Said::Ask), Stage::Approval(until));
        }
    }

    /// Whether a question for approval is open.
    pub(super) fn is_asked(&self, who: CallRef) -> bool {
        self.find(who).is_some_and(|c| matches!(c.stage, Stage::Approval(_)) && c.said == Some(Said::Ask))
    }

    /// Somebody said whether a call may run.
    pub(super) fn approved(&mut self, who: CallRef, approved: bool) {
        if let Some(call) = self.find_mut(who) {
            (call.stage, call.said) = match approved {
                true => (Stage::Waiting, Some(Said::Run)),
                false => (call.stage, Some(Said::Denied)),
            };
        }
    }

    fn on_run(&mut self, run: RunId, f: impl FnOnce(&mut Run)) {
        if let Some(run) = self.runs.get_mut(run.0 as usize).filter(|r| r.added && !r.ended) {
            f(run);
        }
    }

    fn set_capacity(&mut self, limit: LimitId, capacity: u64) {
        match self.capacity.iter_mut().find(|l| l.0 == limit) {
            Some(known) => known.1 = capacity,
            None => self.capacity.push((limit, capacity)),
        }
    }

    /// Whether this attempt runs, as far as the core was told.
    pub(super) fn is_live(&self, attempt: AttemptRef) -> bool {
        self.find(attempt.call).is_some_and(|c| {
            // What was due came first: a report after the grace is one too many.
            let given_up = c.aborted.is_some() && c.aborted_latest.after(GRACE) <= self.now;
            c.stage == Stage::Running && c.attempts == attempt.attempt && c.end.is_none() && !given_up
        })
    }

    /// Takes note of an order that was found right.
    pub(super) fn action(&mut self, action: &Action) {
        self.hand(action);
        match action {
            Action::Resolve { call, .. } => {
                if let Some(call) = self.find_mut(*call) {
                    call.named = Named::Asked;
                }
            }
            Action::Start { attempt, .. } => self.started(*attempt),
            Action::Abort { attempt, reason } => {
                // A driver that comes late finds orders from when they were due.
                let settings = &self.plan(attempt.call).settings;
                let deadline = self.runs[attempt.call.run.0 as usize].deadline;
                let (now, last) = (self.now, self.last);
                if let Some(call) = self.find_mut(attempt.call) {
                    let due = match reason {
                        AbortReason::Timeout => Some(call.attempt_started.after(settings.timeout)),
                        AbortReason::IdleTimeout => settings.idle_timeout.map(|t| call.silent_since.after(t)),
                        AbortReason::Deadline => deadline,
                        AbortReason::Stopped => Some(last),
                        AbortReason::Cancelled => None,
                    };
                    let due = due.map_or(now, |d| d.min(now)).max(call.attempt_started);
                    call.aborted = Some((due, *reason));
                    call.aborted_latest = if *reason == AbortReason::Stopped { now } else { due };
                }
            }
            Action::Retry { attempt, due } => self.between(attempt.call, Stage::Backoff(*due)),
            Action::Ask { attempt, until } => self.between(attempt.call, Stage::Doubt(*until)),
            Action::Ended(end) => {
                if self.find(end.call).is_some_and(|c| c.stage == Stage::Running && c.end.is_none()) {
                    self.over(end.call);
                }
                self.ended(end);
            }
            Action::DropCall { call } => {
                if let Some(call) = self.find_mut(*call) {
                    call.dropped = true;
                }
            }
            Action::Illegal { .. } | Action::Reuse { .. } | Action::Keep { .. } | Action::Forget { .. } => {}
            Action::Look { .. } | Action::Store { .. } | Action::OpenWrite { .. } | Action::CloseWrite { .. } => {}
            Action::RunEnded { run, .. } => {
                let run = &mut self.runs[run.0 as usize];
                run.ended = true;
            }
        }
    }

    /// No attempt of the call runs now, and it has not ended.
    fn between(&mut self, who: CallRef, stage: Stage) {
        if self.find(who).is_some_and(|c| c.stage == Stage::Running && c.end.is_none()) {
            self.over(who);
        }
        if let Some(call) = self.find_mut(who) {
            call.stage = stage;
        }
    }
}
