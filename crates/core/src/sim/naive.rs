//! The same scheduler done the slow, obvious way: after every fact it looks at everything, and it keeps no index.
//! It does not know how the core does it; the pure functions of `policy` (delays, what follows an attempt) are shared.
//!
//! Left out, and so are worlds that have them: results handed on, calls added to a run in progress, runs inside attempts, and everything
//! from the 64th start on, where ageing may begin, or from two timers due at once under `stop`. What is said about
//! waits is not compared.

use crate::policy::{self, Next};
use crate::types::*;
use smallvec::SmallVec;
use std::sync::Arc;

/// Before this many starts nobody can have aged.
pub(super) const STARTS_MAX: u64 = policy::OVERTAKES;

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Inputs,
    Resolving {
        again: bool,
    },
    /// It knows its keys and waits for its turn.
    Turn,
    Ready,
    Running,
    Aborting {
        reason: AbortReason,
        since: Time,
    },
    Backoff {
        due: Time,
    },
    Doubt {
        until: Time,
    },
    Elements,
    Ended,
}

#[derive(Debug)]
struct Call {
    who: CallRef,
    run: usize,
    /// Its place in the serial order, elements behind their `foreach` call.
    order: u64,
    inputs: Vec<Input>,
    claims: Claims,
    foreach: bool,
    resolve: bool,
    settings: Arc<Settings>,
    priority: u8,
    path: u128,
    state: State,
    attempt: u32,
    started: Time,
    progressed: Time,
    waited: bool,
    cancelled: bool,
    has_result: bool,
    good: bool,
    /// Whether its bad end has stopped the run.
    told: bool,
    parent: Option<usize>,
    elements: Vec<usize>,
    unplaced: bool,
    in_doubt: bool,
    /// Its last attempt is in doubt and another is to follow.
    doubtful: bool,
}

#[derive(Debug)]
struct Run {
    id: RunId,
    slot: u32,
    seed: u64,
    weight: u32,
    deadline: Option<Time>,
    stop: bool,
    open: bool,
    paused: bool,
    cancelling: bool,
    ended: bool,
    listed: Vec<usize>,
    service: u64,
    limits: Vec<LimitId>,
}

/// The naive scheduler.
#[derive(Debug, Default)]
pub(super) struct Naive {
    now: Time,
    calls: Vec<Call>,
    runs: Vec<Run>,
    slots: Vec<Option<usize>>,
    slots_free: Vec<u32>,
    limits: Vec<(LimitId, u64)>,
    /// Period, burst and theoretical arrival time.
    rates: Vec<(RateId, u64, u64, u64)>,
    service: u64,
    /// Who was ready when last looked at.
    ready: Vec<usize>,
    pub(super) starts: u64,
    /// Two timers were due at once where their order matters.
    pub(super) ambiguous: bool,
    pub(super) actions: Vec<Action>,
}

fn overlap(a: &Claims, b: &Claims) -> bool {
    a.iter().any(|x| {
        b.iter().any(|y| {
            let both = x.key.0.len().min(y.key.0.len());
            (x.write || y.write) && x.key.0[..both] == y.key.0[..both]
        })
    })
}

impl Naive {
    pub(super) fn handle(&mut self, now: Time, event: Event) {
        let now = now.max(self.now);
        while let Some((due, what)) = self.first_due().filter(|(due, _)| *due <= now) {
            self.now = self.now.max(due);
            self.fire(what);
            // Under `stop`, which of two that are due at once goes first can decide what the other ends as.
            self.ambiguous |= self.first_due().is_some_and(|(next, _)| next == due) && self.runs.iter().any(|r| r.stop);
            self.settle();
        }
        self.now = now;
        match event {
            Event::LimitSet { limit, capacity } => self.set_limit(limit, capacity),
            Event::RateSet { rate, period, burst } => {
                let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
                self.rates.push((rate, period, u64::from(burst.max(1)), 0));
            }
            Event::RunAdded(spec) => self.add_run(*spec),
            Event::CallsAdded { .. } => {}
            Event::RunClosed { run } => {
                if let Some(run) = self.run(run) {
                    self.runs[run].open = false;
                }
            }
            Event::Resolved { call, resolution } => self.resolved(call, resolution),
            Event::Finished { attempt, end } => {
                let live = |c: &Call| matches!(c.state, State::Running | State::Aborting { .. });
                if let Some(call) = self.find(attempt.call)
                    && live(&self.calls[call])
                    && self.calls[call].attempt == attempt.attempt
                {
                    self.attempt_ended(call, end, false);
                }
            }
            Event::Progressed { attempt } => {
                if let Some(call) = self.find(attempt.call)
                    && self.calls[call].state == State::Running
                    && self.calls[call].attempt == attempt.attempt
                {
                    self.calls[call].progressed = now;
                }
            }
            Event::DoubtSettled { attempt, answer } => self.settled(attempt, answer),
            Event::CancelRequested { run, call, force } => self.cancel(run, call, force),
            Event::PauseRequested { run } => {
                if let Some(run) = self.run(run) {
                    self.runs[run].paused = true;
                }
            }
            Event::ResumeRequested { run } => {
                if let Some(run) = self.run(run) {
                    self.runs[run].paused = false;
                }
            }
            Event::Recorded(_)
            | Event::DeadlinePassed { .. }
            | Event::Recovered { .. }
            | Event::ResultDropped { .. }
            | Event::DiskSet { .. }
            | Event::LookedUp { .. }
            | Event::Tick => {}
        }
        self.settle();
    }

    fn run(&self, run: RunId) -> Option<usize> {
        self.runs.iter().position(|r| r.id == run && !r.ended)
    }

    fn find(&self, who: CallRef) -> Option<usize> {
        self.calls.iter().position(|c| c.who == who && !self.runs[c.run].ended)
    }

    fn set_limit(&mut self, limit: LimitId, capacity: u64) {
        self.limits.retain(|l| l.0 != limit);
        self.limits.push((limit, capacity));
    }

    fn add_run(&mut self, spec: RunSpec) {
        for &(limit, capacity) in &spec.limits {
            self.set_limit(limit, capacity);
        }
        let run = self.runs.len();
        let slot = match self.slots_free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(run);
                slot
            }
            None => {
                self.slots.push(Some(run));
                u32::try_from(self.slots.len() - 1).unwrap_or(0)
            }
        };
        self.runs.push(Run {
            id: spec.run,
            slot,
            seed: spec.seed,
            weight: spec.weight,
            deadline: spec.deadline,
            stop: spec.stop_on_failure,
            open: spec.open,
            paused: false,
            cancelling: false,
            ended: false,
            listed: Vec::new(),
            service: 0,
            limits: spec.limits.iter().map(|l| l.0).collect(),
        });
        let places = places(&spec.calls);
        let first = self.calls.len();
        for ((call, index), place) in spec.calls.into_iter().zip(0..).zip(places) {
            let who = CallRef { run: spec.run, call: index, element: None };
            self.runs[run].listed.push(first + index as usize);
            self.calls.push(Call::new(who, run, u64::from(place) << 32, call));
        }
        // A call is as urgent, and as long, as what waits for it: until nothing changes.
        let mut changed = true;
        while changed {
            changed = false;
            for i in first..self.calls.len() {
                let (priority, path) = (self.calls[i].priority, self.calls[i].path);
                for input in self.calls[i].inputs.clone() {
                    let before = &mut self.calls[first + input.call as usize];
                    let through = path + before.settings.expect.as_nanos();
                    changed |= before.priority < priority || before.path < through;
                    before.priority = before.priority.max(priority);
                    before.path = before.path.max(through);
                }
            }
        }
    }

    fn resolved(&mut self, who: CallRef, resolution: Resolution) {
        let Some(i) = self.find(who) else { return };
        let State::Resolving { again } = self.calls[i].state else { return };
        match resolution {
            Resolution::Run { claims, .. } if !self.calls[i].foreach => {
                if let Some(claims) = claims {
                    self.calls[i].claims = claims;
                }
                self.calls[i].unplaced = false;
                self.calls[i].state = State::Turn;
            }
            Resolution::Elements(0) if self.calls[i].foreach && !again => self.end(i, Outcome::Succeeded, Reason::Tool),
            Resolution::Elements(n) if self.calls[i].foreach && !again => {
                self.calls[i].state = State::Elements;
                for element in 0..n {
                    let parent = &self.calls[i];
                    let spec = CallSpec {
                        inputs: Default::default(),
                        claims: parent.claims.clone(),
                        foreach: false,
                        resolve: true,
                        settings: parent.settings.clone(),
                    };
                    let order = parent.order | u64::from(element + 1);
                    let mut made = Call::new(CallRef { element: Some(element), ..who }, parent.run, order, spec);
                    (made.priority, made.path) = (parent.priority, parent.path);
                    made.parent = Some(i);
                    made.unplaced = true;
                    made.state = State::Resolving { again: false };
                    self.actions.push(Action::Resolve { call: made.who, again: false });
                    self.calls.push(made);
                    let made = self.calls.len() - 1;
                    self.calls[i].elements.push(made);
                }
            }
            Resolution::Skip => self.end(i, Outcome::Skipped, Reason::When),
            _ => self.end(i, Outcome::Failed, Reason::Unresolved),
        }
    }

    fn settled(&mut self, attempt: AttemptRef, answer: DoubtAnswer) {
        let Some(i) = self.find(attempt.call) else { return };
        let call = &mut self.calls[i];
        if call.attempt != attempt.attempt || !matches!(call.state, State::Doubt { .. }) {
            return;
        }
        match answer {
            DoubtAnswer::Rerun => {
                call.state = State::Ready;
                call.doubtful = true;
            }
            DoubtAnswer::Fail => self.end(i, Outcome::InDoubt, Reason::Settled),
            DoubtAnswer::Succeeded => self.end(i, Outcome::Succeeded, Reason::Settled),
        }
    }

    fn attempt_ended(&mut self, i: usize, end: AttemptEnd, given_up: bool) {
        let (call, run) = (&self.calls[i], &self.runs[self.calls[i].run]);
        let reason = match call.state {
            State::Aborting { reason, .. } => Some(reason),
            _ => None,
        };
        let ended = policy::Ended {
            end,
            attempt: call.attempt,
            cancelled: reason.is_some_and(|r| r >= AbortReason::Stopped),
            last: given_up || run.cancelling || call.cancelled,
            seed: run.seed ^ call.order.rotate_left(17) ^ (u64::from(call.attempt) << 48),
        };
        let attempt = AttemptRef { call: call.who, attempt: call.attempt };
        match policy::after_attempt(&call.settings, ended) {
            Next::Succeed => self.end(i, Outcome::Succeeded, Reason::Tool),
            Next::Fail => self.end(i, Outcome::Failed, Reason::Tool),
            Next::Doubt => self.end(i, Outcome::InDoubt, Reason::Tool),
            Next::Cancel => self.end(i, Outcome::Cancelled, Reason::Cancelled),
            Next::Retry(delay) => {
                let due = self.now.after(delay);
                let unknown = matches!(
                    end,
                    AttemptEnd::Failed { reached: Reached::Unknown, .. }
                        | AttemptEnd::Aborted { reached: Reached::Unknown }
                );
                self.calls[i].doubtful = unknown && !self.calls[i].settings.repeatable;
                self.calls[i].state = State::Backoff { due };
                self.actions.push(Action::Retry { attempt, due });
            }
            Next::Ask(bound) => {
                let until = self.now.after(bound);
                self.calls[i].state = State::Doubt { until };
                self.actions.push(Action::Ask { attempt, until });
            }
        }
    }

    fn end(&mut self, i: usize, outcome: Outcome, reason: Reason) {
        let ended = self.now;
        let call = &mut self.calls[i];
        call.state = State::Ended;
        call.unplaced = false;
        let valued = matches!(outcome, Outcome::Failed | Outcome::Denied | Outcome::InDoubt);
        call.has_result = outcome == Outcome::Succeeded || (valued && call.settings.failure_has_value);
        call.good = call.has_result || (outcome, reason) == (Outcome::Skipped, Reason::When);
        call.in_doubt = outcome == Outcome::InDoubt;
        let attempts = call.attempt;
        let end = CallEnd { call: call.who, outcome, reason, attempts, started: None, ended, waits: SmallVec::new() };
        self.actions.push(Action::Ended(end));
    }

    fn cancel(&mut self, run: RunId, call: Option<u32>, force: bool) {
        let Some(run) = self.run(run) else { return };
        let abort = force.then_some(AbortReason::Cancelled);
        match call {
            None => self.cancel_run(run, abort),
            Some(call) => {
                for i in self.of_run(run) {
                    if self.calls[i].who.call == call {
                        self.cease(i, Outcome::Cancelled, abort);
                    }
                }
            }
        }
    }

    fn cancel_run(&mut self, run: usize, abort: Option<AbortReason>) {
        self.runs[run].cancelling = true;
        self.runs[run].open = false;
        for i in self.of_run(run) {
            self.cease(i, Outcome::Cancelled, abort);
        }
    }

    fn of_run(&self, run: usize) -> Vec<usize> {
        (0..self.calls.len()).filter(|&i| self.calls[i].run == run).collect()
    }

    fn cease(&mut self, i: usize, outcome: Outcome, abort: Option<AbortReason>) {
        self.calls[i].cancelled |= self.calls[i].state != State::Ended;
        match (self.calls[i].state, abort) {
            (State::Ended | State::Elements, _) | (State::Running | State::Aborting { .. }, None) => {}
            (State::Running, Some(reason)) => self.abort(i, reason),
            (State::Aborting { reason: old, since }, Some(reason)) => {
                self.calls[i].state = State::Aborting { reason: old.max(reason), since };
            }
            (State::Doubt { .. }, _) => self.end(i, Outcome::InDoubt, Reason::Cancelled),
            _ if self.calls[i].doubtful => self.end(i, Outcome::InDoubt, Reason::Cancelled),
            _ => self.end(i, outcome, Reason::Cancelled),
        }
    }

    fn abort(&mut self, i: usize, reason: AbortReason) {
        let call = &mut self.calls[i];
        call.state = State::Aborting { reason, since: self.now };
        let attempt = AttemptRef { call: call.who, attempt: call.attempt };
        self.actions.push(Action::Abort { attempt, reason });
    }

    /// The first thing that is due: a call (`Some`) or the deadline of a run.
    fn first_due(&self) -> Option<(Time, (Option<usize>, usize))> {
        let deadlines = self.runs.iter().enumerate().filter(|(_, r)| !r.ended);
        let deadlines = deadlines.filter_map(|(i, r)| r.deadline.map(|d| (d, (None, i))));
        let calls = self.calls.iter().enumerate().filter_map(|(i, c)| {
            let due = match c.state {
                State::Running => c.due(),
                State::Aborting { since, .. } => since.after(policy::ABORT_GRACE),
                State::Backoff { due } => due,
                State::Doubt { until } => until,
                _ => return None,
            };
            Some((due, (Some(i), i)))
        });
        deadlines.chain(calls).min()
    }

    fn fire(&mut self, (call, run): (Option<usize>, usize)) {
        let Some(i) = call else {
            self.runs[run].deadline = None;
            return self.cancel_run(run, Some(AbortReason::Deadline));
        };
        match self.calls[i].state {
            State::Running => {
                let whole = self.calls[i].started.after(self.calls[i].settings.timeout) <= self.now;
                self.abort(i, if whole { AbortReason::Timeout } else { AbortReason::IdleTimeout });
            }
            State::Aborting { .. } => self.attempt_ended(i, AttemptEnd::Aborted { reached: Reached::Unknown }, true),
            State::Backoff { .. } => self.calls[i].state = State::Ready,
            State::Doubt { .. } => self.end(i, Outcome::InDoubt, Reason::Timeout),
            _ => {}
        }
    }

    /// Draws all consequences: looks at every call until nothing changes.
    fn settle(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for i in 0..self.calls.len() {
                changed |= !self.runs[self.calls[i].run].ended && self.look_at(i);
            }
        }
        for run in 0..self.runs.len() {
            let done = |r: &Run| !r.open && !r.ended;
            if done(&self.runs[run]) && self.of_run(run).iter().all(|&i| self.calls[i].state == State::Ended) {
                self.runs[run].ended = true;
                let slot = self.runs[run].slot;
                self.slots[slot as usize] = None;
                self.slots_free.push(slot);
                let own = std::mem::take(&mut self.runs[run].limits);
                self.limits.retain(|l| !own.contains(&l.0));
                self.actions.push(Action::RunEnded { run: self.runs[run].id, deadline_passed: false });
            }
        }
        self.catch_up();
    }

    /// A run that had nothing ready starts again at the service of the last start.
    fn catch_up(&mut self) {
        let ready: Vec<usize> = (0..self.calls.len()).filter(|&i| self.calls[i].state == State::Ready).collect();
        for run in 0..self.runs.len() {
            let had = self.ready.iter().any(|i| self.calls[*i].run == run && ready.contains(i));
            let has = ready.iter().any(|&i| self.calls[i].run == run);
            if has && !had {
                self.runs[run].service = self.runs[run].service.max(self.service);
            }
        }
        self.ready = ready;
    }

    fn look_at(&mut self, i: usize) -> bool {
        let call = &self.calls[i];
        let run = &self.runs[call.run];
        match call.state {
            State::Inputs => {
                let input = |x: &Input| &self.calls[run.listed[x.call as usize]];
                let ended = |x: &Input| input(x).state == State::Ended;
                if call.inputs.iter().any(|x| ended(x) && x.kind == InputKind::Result && !input(x).has_result) {
                    self.end(i, Outcome::Skipped, Reason::Cancelled);
                } else if call.inputs.iter().all(ended) {
                    let (who, resolve) = (call.who, call.resolve || call.foreach);
                    self.calls[i].state = if resolve { State::Resolving { again: false } } else { State::Turn };
                    if resolve {
                        self.actions.push(Action::Resolve { call: who, again: false });
                    }
                } else {
                    return false;
                }
                true
            }
            State::Turn => self.take_turn(i),
            State::Elements if call.elements.iter().all(|&e| self.calls[e].state == State::Ended) => {
                let lost: Vec<usize> = call.elements.iter().copied().filter(|&e| !self.calls[e].good).collect();
                let cancelled = lost.iter().all(|&e| self.calls[e].cancelled);
                match (lost.is_empty(), cancelled) {
                    (true, _) => self.end(i, Outcome::Succeeded, Reason::Tool),
                    (false, true) => self.end(i, Outcome::Cancelled, Reason::Cancelled),
                    (false, false) => self.end(i, Outcome::Failed, Reason::Elements(0)),
                }
                true
            }
            State::Ended if run.stop && !call.good && !call.told && call.elements.is_empty() => {
                let (order, run) = (call.order, call.run);
                self.calls[i].told = true;
                for later in self.of_run(run) {
                    let other = &self.calls[later];
                    if other.order > order && other.state != State::Ended {
                        self.cease(later, Outcome::Skipped, Some(AbortReason::Stopped));
                    }
                }
                true
            }
            _ => false,
        }
    }

    fn take_turn(&mut self, i: usize) -> bool {
        let call = &self.calls[i];
        let earlier = |o: &&Call| o.run == call.run && o.order < call.order && o.state != State::Ended;
        let stands = |o: &&Call| o.state != State::Elements || o.elements.iter().any(|&e| self.calls[e].unplaced);
        if self.calls.iter().filter(earlier).filter(stands).any(|o| overlap(&o.claims, &call.claims)) {
            self.calls[i].waited = true;
            return false;
        }
        if call.waited && call.settings.rekey {
            let who = call.who;
            self.calls[i].waited = false;
            self.calls[i].state = State::Resolving { again: true };
            self.actions.push(Action::Resolve { call: who, again: true });
            return true;
        }
        let writes = call.claims.iter().any(|c| c.write);
        let open = self.calls.iter().filter(earlier).any(|o| o.state != State::Elements);
        if self.runs[call.run].stop && writes && open {
            return false;
        }
        self.calls[i].state = State::Ready;
        true
    }

    /// Starts what can start: again and again the best of all that fits.
    pub(super) fn admit(&mut self) {
        loop {
            let best = (0..self.calls.len()).filter(|&i| self.fits(i)).min_by_key(|&i| self.key(i));
            let Some(i) = best else { break };
            self.start(i);
        }
        self.ready.retain(|&i| self.calls[i].state == State::Ready);
    }

    /// Least service first, then priority, then the longest path, then serial order (DESIGN 4, 3.10).
    fn key(&self, i: usize) -> (u64, u8, std::cmp::Reverse<u128>, u64, u32) {
        let (c, r) = (&self.calls[i], &self.runs[self.calls[i].run]);
        (r.service, 4 - c.priority.min(4), std::cmp::Reverse(c.path), c.order, r.slot)
    }

    fn fits(&self, i: usize) -> bool {
        let call = &self.calls[i];
        if call.state != State::Ready || self.runs[call.run].paused {
            return false;
        }
        let running = || self.calls.iter().filter(|c| matches!(c.state, State::Running | State::Aborting { .. }));
        let limits = call.settings.needs.iter().all(|&(limit, amount)| {
            let Some(&(_, capacity)) = self.limits.iter().find(|l| l.0 == limit) else { return true };
            let used: u64 = running().flat_map(|c| c.settings.needs.iter()).filter(|n| n.0 == limit).map(|n| n.1).sum();
            amount == 0 || used + amount.min(capacity) <= capacity
        });
        let rates = call.settings.rates.iter().all(|&rate| {
            let Some(&(_, period, burst, arrival)) = self.rates.iter().find(|r| r.0 == rate) else { return true };
            arrival.saturating_sub(period * (burst - 1)) <= self.now.0
        });
        limits && rates && !running().any(|c| c.run != call.run && overlap(&c.claims, &call.claims))
    }

    fn start(&mut self, i: usize) {
        let now = self.now;
        let run = &mut self.runs[self.calls[i].run];
        self.service = self.service.max(run.service);
        run.service += policy::service(run.weight);
        self.starts += 1;
        for &rate in &self.calls[i].settings.rates {
            if let Some(known) = self.rates.iter_mut().find(|r| r.0 == rate) {
                known.3 = known.3.max(now.0) + known.1;
            }
        }
        let doubts = self.calls.iter().filter(|c| c.in_doubt && c.run == self.calls[i].run);
        let after_doubt = doubts.into_iter().any(|c| overlap(&c.claims, &self.calls[i].claims));
        let call = &mut self.calls[i];
        call.state = State::Running;
        call.attempt += 1;
        call.doubtful = false;
        call.started = now;
        call.progressed = now;
        let attempt = AttemptRef { call: call.who, attempt: call.attempt };
        self.actions.push(Action::Start { attempt, after_doubt });
    }
}

impl Call {
    fn new(who: CallRef, run: usize, order: u64, spec: CallSpec) -> Call {
        Call {
            who,
            run,
            order,
            inputs: spec.inputs.to_vec(),
            claims: spec.claims,
            foreach: spec.foreach,
            resolve: spec.resolve,
            priority: spec.settings.priority,
            path: spec.settings.expect.as_nanos(),
            settings: spec.settings,
            state: State::Inputs,
            attempt: 0,
            started: Time(0),
            progressed: Time(0),
            waited: false,
            cancelled: false,
            has_result: false,
            good: false,
            told: false,
            parent: None,
            elements: Vec::new(),
            unplaced: false,
            in_doubt: false,
            doubtful: false,
        }
    }

    fn due(&self) -> Time {
        let whole = self.started.after(self.settings.timeout);
        self.settings.idle_timeout.map_or(whole, |idle| whole.min(self.progressed.after(idle)))
    }
}

/// The place of each call: again and again the earliest listed whose inputs have been taken.
fn places(calls: &[CallSpec]) -> Vec<u32> {
    let mut places: Vec<Option<u32>> = vec![None; calls.len()];
    for place in 0.. {
        let free =
            |i: &usize| places[*i].is_none() && calls[*i].inputs.iter().all(|x| places[x.call as usize].is_some());
        let Some(next) = (0..calls.len()).find(free) else { break };
        places[next] = Some(place);
    }
    places.into_iter().map(|p| p.unwrap_or(u32::MAX)).collect()
}
