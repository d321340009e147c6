//! The one owner of all runs: facts in, orders out, and the one setter of every call's state.
//! It does not know what a transition means; `listing`, `attempts`, `ends` and `admission` do.

use crate::admission::Admission;
use crate::call::{Active, Call, Elements, Kept, Keyed, NEVER, NONE, Run, State};
use crate::fault::Planted;
use crate::gates::Gates;
use crate::keys::{Held, Keys, NumberMap};
use crate::pool::Pool;
use crate::reuse::Results;
use crate::timers::{TimerId, Timers};
use crate::types::*;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Attempts without a timer are looked through when there are this many.
const UNARMED_MAX: usize = 1024;

/// The state machine of an engine.
///
/// ```
/// use fanout_core::{Core, Event, Time};
/// let mut core = Core::new();
/// core.handle(Time(0), Event::Tick);
/// assert_eq!(core.poll_action(), None);
/// assert_eq!(core.poll_timeout(), None);
/// ```
#[derive(Debug)]
pub struct Core {
    pub(crate) now: Time,
    pub(crate) runs: NumberMap<RunId, u32>,
    pub(crate) runs_slab: Vec<Option<Run>>,
    pub(crate) runs_free: Vec<u32>,
    pub(crate) calls: Vec<Call>,
    pub(crate) calls_free: Vec<u32>,
    /// Of calls with claims.
    pub(crate) keyed: Pool<Keyed>,
    /// Of calls that waited, are kept or have started.
    pub(crate) active: Pool<Active>,
    pub(crate) keys: Keys,
    pub(crate) gates: Gates,
    pub(crate) admission: Admission,
    pub(crate) timers: Timers,
    pub(crate) results: Results,
    /// There was more than one run since there was none: attempts hold their keys against other runs.
    pub(crate) shared: bool,
    /// How many runs are recovering.
    pub(crate) recovering: u32,
    /// Calls of all runs that have not ended.
    pub(crate) open_calls: u64,
    /// Attempts whose timer is not set yet: most end before anybody sleeps.
    pub(crate) unarmed: Vec<u32>,
    /// When the first of them would be due.
    pub(crate) unarmed_due: Time,
    /// Calls that ended and whose consequences have not been drawn.
    pub(crate) ended: VecDeque<u32>,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) planted: Planted,
}

impl Default for Core {
    fn default() -> Core {
        Core::new()
    }
}

impl Core {
    /// A core without runs, limits and rates.
    pub fn new() -> Core {
        Core::planted(Planted::default())
    }

    /// A core with a fault, to test the tests.
    #[cfg(feature = "sim")]
    pub fn with_fault(fault: crate::Fault) -> Core {
        Core::planted(Planted::new(fault))
    }

    fn planted(planted: Planted) -> Core {
        Core {
            now: Time(0),
            runs: NumberMap::default(),
            runs_slab: Vec::new(),
            runs_free: Vec::new(),
            calls: Vec::new(),
            calls_free: Vec::new(),
            keyed: Pool::default(),
            active: Pool::default(),
            keys: Keys::new(planted),
            gates: Gates::new(planted),
            admission: Admission::default(),
            timers: Timers::default(),
            results: Results::default(),
            shared: false,
            recovering: 0,
            open_calls: 0,
            unarmed: Vec::new(),
            unarmed_due: NEVER,
            ended: VecDeque::new(),
            actions: VecDeque::new(),
            planted,
        }
    }

    /// Takes in a fact. Timers due at `now` fire first. Time never goes back: an earlier `now` counts as the latest.
    pub fn handle(&mut self, now: Time, event: Event) {
        // Also when no time has passed: a delay of nothing is due at once.
        let now = now.max(self.now);
        if self.unarmed_due <= now || self.unarmed.len() > UNARMED_MAX {
            self.arm();
        }
        while let Some(due) = self.next_timer().filter(|&due| due <= now) {
            self.now = self.now.max(due);
            let Some(timer) = self.timers.pop(self.now) else { break };
            self.fire(timer);
            self.draw_consequences();
        }
        self.now = now;
        if (self.recovering > 0 || matches!(event, Event::Recorded(_)))
            && let Some((call, why)) = self.illegal(&event)
        {
            self.actions.push_back(Action::Illegal { call, why });
            return;
        }
        match event {
            Event::LimitSet { limit, capacity } => self.set_limit(limit, capacity),
            Event::RateSet { rate, period, burst } => self.gates.set_rate(rate, period, burst),
            Event::RunAdded(spec) => self.add_run(*spec),
            Event::CallsAdded { run, calls } => self.add_calls(run, calls),
            Event::RunClosed { run } => self.close_run(run),
            Event::Resolved { call, resolution } => self.resolved(call, resolution),
            Event::Finished { attempt, end } => self.finished(attempt, end),
            Event::Progressed { attempt } => self.progressed(attempt),
            Event::DoubtSettled { attempt, answer } => self.settle(attempt, answer),
            Event::CancelRequested { run, call, force } => self.cancel(run, call, force),
            Event::PauseRequested { run } => self.pause(run, true),
            Event::ResumeRequested { run } => self.pause(run, false),
            Event::Recorded(fact) => self.recorded(fact),
            Event::DeadlinePassed { run } => self.deadline_passed(run),
            Event::Recovered { run } => self.recovered(run),
            Event::ResultDropped { entry } => self.result_dropped(entry),
            Event::DiskSet { on } => self.results.disk.on = on,
            Event::LookedUp { call, look, given, stamp } => self.looked_up(call, look, given, stamp),
            Event::Tick => {}
        }
        self.draw_consequences();
    }

    /// The next order. Which calls start is decided here, when all facts are in.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.actions.is_empty() {
            self.admit();
        }
        self.actions.pop_front()
    }

    /// When to come back at the latest with [`Event::Tick`], if nothing else happens.
    pub fn poll_timeout(&mut self) -> Option<Time> {
        self.arm();
        self.next_timer()
    }

    /// Index entries touched so far: a machine-independent measure of work.
    pub fn touched(&self) -> u64 {
        self.keys.touched
    }

    /// What is in memory now: (runs, calls, keys). Where no run is left and no result is kept, all
    /// zero but the root key.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.runs.len(), self.calls.len() - self.calls_free.len(), self.keys.len())
    }

    /// Draws the consequences of ends and of keys that became free, until there are none.
    pub(crate) fn draw_consequences(&mut self) {
        loop {
            if let Some(slot) = self.ended.pop_front() {
                self.propagate(slot);
            } else if let Some((slot, leaver)) = self.keys.woken.pop() {
                self.line_moved(slot, leaver);
            } else if let Some((slot, leader)) = self.results.handed.pop_front() {
                self.flight_succeeded(slot, leader);
            } else if let Some((slot, leader)) = self.results.woken.pop_front() {
                self.flight_over(slot, leader);
            } else {
                return;
            }
        }
    }

    fn next_timer(&mut self) -> Option<Time> {
        let Core { calls, active, timers, .. } = self;
        timers.next(|time, slot| timer(calls, active, slot) == time)
    }

    fn fire(&mut self, timer: TimerId) {
        match timer {
            TimerId::Call(slot) => {
                self.active_mut(slot).timer = NEVER;
                // What is told again was answered in its time; what was not is looked at when all has been told.
                if self.recovering == 0 || self.run_at(self.call(slot).run).recovering.is_none() {
                    self.call_due(slot);
                }
            }
            TimerId::Run(run) if self.run_at(run).recovering.is_some() => {}
            TimerId::Run(run) => self.deadline(run),
            TimerId::Rate(rate) => self.gates.freed.push(crate::gates::GateId::Rate(rate)),
        }
    }

    /// The one setter: moves a call to another state and keeps every index in step.
    pub(crate) fn set(&mut self, slot: u32, state: State) {
        let call = &mut self.calls[slot as usize];
        let old = std::mem::replace(&mut call.state, state);
        assert!(old != State::Ended, "a call that ended stays ended");
        let (run, order) = (call.run, call.order());
        let in_flight = matches!(state, State::Running | State::Aborting { .. });
        self.set_timer(slot, NEVER);
        match old {
            State::Ordered { block } => self.keys.unwait(block, (run, order)),
            State::Gated => {
                if let Some(gate) = &mut self.run_at_mut(run).gate {
                    gate.waiting.remove(&order);
                }
            }
            State::Ready { kept } => self.dequeue(slot, kept),
            State::Joined { leader } => self.aboard(slot, leader, false),
            State::Running | State::Aborting { .. } if !in_flight => self.release(slot),
            _ => {}
        }
        match state {
            State::Ordered { block } => self.keys.wait(block, (run, order), slot),
            State::Gated => {
                if let Some(gate) = &mut self.run_at_mut(run).gate {
                    gate.waiting.insert(order, slot);
                }
            }
            State::Ready { kept } => {
                debug_assert_eq!(kept, Kept::Not);
                self.enqueue(slot);
            }
            State::Joined { leader } => self.aboard(slot, leader, true),
            State::Ended => self.leave_place(slot),
            _ => {}
        }
    }

    /// An attempt no longer runs: its amounts and keys are free.
    fn release(&mut self, slot: u32) {
        if !std::mem::take(&mut self.calls[slot as usize].flags.recorded) {
            self.give_back(slot);
        }
        let call = &mut self.calls[slot as usize];
        if std::mem::take(&mut call.flags.holding) {
            self.keys.unhold(held(&self.keyed, call), slot);
        }
    }

    /// The call no longer stands in the lines of its keys.
    pub(crate) fn leave_place(&mut self, slot: u32) {
        let call = &self.calls[slot as usize];
        let Some(keyed) = self.keyed.get_mut(call.keyed) else { return };
        let held = std::mem::take(&mut keyed.held);
        self.keys.leave(&held, (call.run, call.order()), slot);
        for h in &held {
            self.keys.unpin(h.node);
        }
    }

    /// The call stands in the lines of its claims from now on.
    pub(crate) fn enter_place(&mut self, slot: u32) {
        let call = &self.calls[slot as usize];
        let Some(keyed) = self.keyed.get_mut(call.keyed) else { return };
        for claim in keyed.claims.iter() {
            keyed.held.push(Held { node: self.keys.pin(&claim.key), write: claim.write });
        }
        self.keys.enter(&keyed.held, (call.run, call.order()), slot);
    }

    /// The call has these claims from now on, and does not stand in line for them yet.
    pub(crate) fn set_claims(&mut self, slot: u32, claims: Claims) {
        let call = &mut self.calls[slot as usize];
        match self.keyed.get_mut(call.keyed) {
            Some(keyed) => keyed.claims = claims,
            None if claims.is_empty() => {}
            None => call.keyed = self.keyed.put(Keyed { claims, held: SmallVec::new() }),
        }
    }

    /// The one timer of a call; `NEVER` takes it away.
    pub(crate) fn set_timer(&mut self, slot: u32, due: Time) {
        let old = timer(&self.calls, &self.active, slot);
        if old == due {
            return;
        }
        self.active_mut(slot).timer = due;
        if old != NEVER {
            let Core { calls, active, timers, .. } = self;
            timers.unset_call(|time, slot| timer(calls, active, slot) == time);
        }
        if due != NEVER {
            self.timers.set_call(due, slot);
        }
    }

    /// Notes that a call waited for `cause` until now.
    pub(crate) fn account(&mut self, slot: u32, cause: Cause) {
        let now = self.now;
        let since = &mut self.calls[slot as usize].since;
        if now <= *since {
            return;
        }
        let ns = now.0 - std::mem::replace(since, now).0;
        let waits = &mut self.active_mut(slot).waits;
        match waits.last_mut() {
            Some(last) if last.cause == cause => last.ns += ns,
            _ => waits.push(Wait { cause, ns }),
        }
    }

    pub(crate) fn call(&self, slot: u32) -> &Call {
        &self.calls[slot as usize]
    }

    /// What it has once it waited, is kept or has started.
    pub(crate) fn active(&self, slot: u32) -> Option<&Active> {
        self.active.get(self.call(slot).active)
    }

    pub(crate) fn active_mut(&mut self, slot: u32) -> &mut Active {
        let number = &mut self.calls[slot as usize].active;
        if *number == NONE {
            *number = self.active.put(Active::default());
        }
        self.active.get_mut(*number).expect("an entry of its number")
    }

    pub(crate) fn settings(&self, slot: u32) -> &Settings {
        &self.class(self.call(slot).class).settings
    }

    pub(crate) fn claims(&self, slot: u32) -> &[Claim] {
        self.keyed.get(self.call(slot).keyed).map_or(&[], |keyed| &keyed.claims)
    }

    pub(crate) fn held(&self, slot: u32) -> &[Held] {
        held(&self.keyed, self.call(slot))
    }

    /// What it takes.
    pub(crate) fn inputs(&self, slot: u32) -> &[Input] {
        let call = self.call(slot);
        let (first, count) = (call.inputs.0 as usize, call.inputs.1 as usize);
        let run = self.run_at(call.run);
        match &run.later {
            Some(later) if call.index as usize >= run.listed.len() => {
                later.inputs.get(call.inputs.0).map_or(&[], |inputs| &inputs[..count])
            }
            _ => &run.inputs[first..first + count],
        }
    }

    /// The elements of a `foreach` call, once it has any.
    pub(crate) fn elements(&self, slot: u32) -> Option<&Elements> {
        let call = self.call(slot);
        self.run_at(call.run).elements.get(call.elements)
    }

    pub(crate) fn elements_mut(&mut self, slot: u32) -> Option<&mut Elements> {
        let call = &self.calls[slot as usize];
        let run = self.runs_slab[call.run as usize].as_mut()?;
        run.elements.get_mut(call.elements)
    }

    pub(crate) fn run_at(&self, run: u32) -> &Run {
        self.runs_slab[run as usize].as_ref().expect("a run in its slot")
    }

    pub(crate) fn run_at_mut(&mut self, run: u32) -> &mut Run {
        self.runs_slab[run as usize].as_mut().expect("a run in its slot")
    }

    pub(crate) fn call_ref(&self, slot: u32) -> CallRef {
        let call = self.call(slot);
        let element = (call.element != NONE).then_some(call.element);
        CallRef { run: self.run_at(call.run).id, call: call.index, element }
    }

    /// The slot of a call, if it is still there.
    pub(crate) fn find(&self, call: CallRef) -> Option<u32> {
        let run = self.run_at(*self.runs.get(&call.run)?);
        let slot = run.slot_of(call.call)?;
        match call.element {
            None => Some(slot),
            Some(i) => self.elements(slot)?.slots.get(i as usize).copied(),
        }
    }
}

/// The nodes at which a call stands in line.
pub(crate) fn held<'a>(keyed: &'a Pool<Keyed>, call: &Call) -> &'a [Held] {
    keyed.get(call.keyed).map_or(&[], |keyed| &keyed.held)
}

fn timer(calls: &[Call], active: &Pool<Active>, slot: u32) -> Time {
    active.get(calls[slot as usize].active).map_or(NEVER, |active| active.timer)
}
