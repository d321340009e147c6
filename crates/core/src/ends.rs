//! Ends: the outcome of a call and what follows for those that wait for it; cancelling, stopping, pausing.
//! It does not know attempts or admission.

use crate::call::{NEVER, NONE, State};
use crate::core::Core;
use crate::fault::Fault;
use crate::pool::Pool;
use crate::timers::TimerId;
use crate::types::*;

/// Slots kept for the next runs when no run is left; a large run gives its memory back.
const SLOTS_KEPT: usize = 4_096;

impl Core {
    /// A call has its outcome.
    pub(crate) fn end(&mut self, slot: u32, outcome: Outcome, reason: Reason) {
        let in_flight = self.call(slot).in_flight();
        if !in_flight {
            // Ready, but nobody has looked at it yet: it waited for the driver.
            let cause = self.cause(slot).unwrap_or(Cause::Resolve);
            self.account(slot, cause);
        }
        if self.planted.is(Fault::SkippedKeepsPlace) && outcome == Outcome::Skipped {
            let keyed = self.calls[slot as usize].keyed;
            self.keyed.get_mut(keyed).into_iter().for_each(|keyed| keyed.held.clear());
        }
        if self.planted.is(Fault::PermitLeakedInBackoff) && self.call(slot).state == State::Backoff {
            let needs = self.settings(slot).needs.clone();
            for &(limit, amount) in &needs {
                self.gates.take(limit, amount);
            }
        }
        self.set(slot, State::Ended);
        self.placed(slot);
        self.forget_call(slot, outcome);
        let valued = matches!(outcome, Outcome::Failed | Outcome::Denied | Outcome::InDoubt);
        let has_result = outcome == Outcome::Succeeded || (valued && self.settings(slot).failure_has_value);
        let call = &mut self.calls[slot as usize];
        call.flags.has_result = has_result;
        call.flags.good = call.flags.has_result || (outcome == Outcome::Skipped && reason == Reason::When);
        let run = call.run;
        let attempts = call.attempt;
        let active = self.active.take(&mut call.active).unwrap_or_default();
        let keyed = self.keyed.take(&mut call.keyed);
        let end = CallEnd {
            outcome,
            reason,
            attempts,
            started: (active.started != NEVER).then_some(active.started),
            ended: self.now,
            waits: active.waits,
            call: self.call_ref(slot),
        };
        self.actions.push_back(Action::Ended(end));
        if outcome == Outcome::InDoubt && self.run_at(run).doubts.len() <= crate::policy::DOUBTS_MAX {
            self.run_at_mut(run).doubts.push(keyed.unwrap_or_default().claims);
        }
        self.ended.push_back(slot);
    }

    /// Draws the consequences of an end.
    pub(crate) fn propagate(&mut self, slot: u32) {
        let run = self.call(slot).run;
        self.tell_takers(slot);
        if self.call(slot).parent != NONE {
            self.tell_parent(slot);
        }
        if self.run_at(run).gate.is_some() {
            self.tell_gate(slot);
        }
        self.run_at_mut(run).open_calls -= 1;
        self.open_calls -= 1;
        self.over(slot);
        self.end_run_if_done(run);
    }

    fn tell_takers(&mut self, slot: u32) {
        let (run, index, has_result) = {
            let call = self.call(slot);
            (call.run, call.index, call.flags.has_result || self.planted.is(Fault::FailureHidesSkip))
        };
        let mut edge = self.call(slot).edges;
        while edge != NONE {
            let r = self.runs_slab[run as usize].as_mut().expect("a run in its slot");
            let crate::call::Edge { to, next, kind } = r.edges[edge as usize];
            if let Some(later) = &mut r.later {
                later.edges_free.push(edge);
            }
            edge = next;
            self.keys.touched += 1;
            let taker = &mut self.calls[to as usize];
            taker.pending -= 1;
            if taker.state != State::Inputs {
                let index = taker.index;
                self.forget_if_over(run, index);
                continue;
            }
            let early = self.planted.is(Fault::InputSkipped) && taker.pending == 1 && taker.inputs.1 > 2;
            let last = taker.pending == 0 || early;
            if kind == InputKind::Result && !has_result {
                self.account(to, Cause::Input(index));
                self.end(to, Outcome::Skipped, Reason::Upstream(index));
            } else if last {
                self.account(to, Cause::Input(index));
                self.inputs_there(to);
            }
        }
    }

    fn tell_parent(&mut self, slot: u32) {
        let call = self.call(slot);
        let (parent, good) = (call.parent, call.flags.good);
        let cancelled = call.flags.cancelled;
        let elements = self.elements_mut(parent).expect("a parent has elements");
        elements.open -= 1;
        elements.without_result += u32::from(!good);
        elements.cancelled += u32::from(!good && cancelled);
        let (open, lost, cancelled) = (elements.open, elements.without_result, elements.cancelled);
        if open > 0 || self.call(parent).state != State::Elements {
            return;
        }
        match lost {
            0 => self.end(parent, Outcome::Succeeded, Reason::Tool),
            _ if cancelled == lost => self.end(parent, Outcome::Cancelled, Reason::Cancelled),
            _ => self.end(parent, Outcome::Failed, Reason::Elements(lost)),
        }
    }

    /// `on_failure: stop`: a good end lets later writes through, a bad one ends everything later.
    fn tell_gate(&mut self, slot: u32) {
        let call = self.call(slot);
        let (run, order, index, good, foreach) =
            (call.run, call.order(), call.index, call.flags.good, call.elements != NONE);
        let gate = self.run_at_mut(run).gate.as_mut().expect("only asked with a gate");
        gate.open.remove(&order);
        if !good && !foreach && gate.failed.is_none_or(|(first, _)| order < first) {
            gate.failed = Some((order, index));
            let later: Vec<u32> = gate.open.range(order + 1..).map(|(_, &slot)| slot).collect();
            for slot in later {
                self.cease(slot, Outcome::Skipped, Reason::Stopped(index), Some(AbortReason::Stopped));
            }
        }
        let gate = self.run_at_mut(run).gate.as_mut().expect("only asked with a gate");
        let first = gate.open.first_key_value().map_or(u64::MAX, |(&first, _)| first);
        let opened: Vec<u32> = gate.waiting.range(..=first).map(|(_, &slot)| slot).collect();
        for waiting in opened {
            self.gate_opened(waiting, slot);
        }
    }

    /// Ends a call early: at once where no attempt runs, else by aborting the attempt if that is wanted.
    fn cease(&mut self, slot: u32, outcome: Outcome, reason: Reason, abort: Option<AbortReason>) {
        self.calls[slot as usize].flags.cancelled = true;
        match self.call(slot).state {
            State::Ended | State::Elements => {}
            State::Running | State::Aborting { .. } => {
                if let Some(abort) = abort {
                    self.abort(slot, abort);
                }
            }
            State::Ready { .. } if self.planted.is(Fault::DrainStarts) && abort.is_none() => {}
            State::Doubt => self.end(slot, Outcome::InDoubt, reason),
            State::Joined { leader } => {
                self.end(slot, outcome, reason);
                self.left_flight(leader);
            }
            _ if self.call(slot).flags.doubtful => self.end(slot, Outcome::InDoubt, reason),
            _ => self.end(slot, outcome, reason),
        }
    }

    /// Somebody cancels a run or one call of it.
    pub(crate) fn cancel(&mut self, run: RunId, call: Option<u32>, force: bool) {
        let Some(&run) = self.runs.get(&run) else { return };
        if self.planted.is(Fault::CancelForgotten) && self.run_at(run).recovering.is_some() {
            return;
        }
        let abort = force.then_some(AbortReason::Cancelled);
        match call {
            None => self.cancel_run(run, Reason::Cancelled, abort),
            Some(index) => {
                let Some(slot) = self.run_at(run).slot_of(index) else { return };
                self.cease_whole(slot, Reason::Cancelled, abort);
            }
        }
    }

    fn cancel_run(&mut self, run: u32, reason: Reason, abort: Option<AbortReason>) {
        let r = self.run_at_mut(run);
        r.cancelling = true;
        r.open = false;
        for slot in r.slots().collect::<Vec<u32>>() {
            self.cease_whole(slot, reason, abort);
        }
        self.end_run_if_done(run);
    }

    fn cease_whole(&mut self, slot: u32, reason: Reason, abort: Option<AbortReason>) {
        self.cease(slot, Outcome::Cancelled, reason, abort);
        let elements = self.elements(slot).map(|e| e.slots.clone()).unwrap_or_default();
        for element in elements {
            self.cease(element, Outcome::Cancelled, reason, abort);
        }
    }

    /// The deadline of a run passed.
    pub(crate) fn deadline(&mut self, run: u32) {
        self.run_at_mut(run).deadline_passed = true;
        self.cancel_run(run, Reason::Deadline, Some(AbortReason::Deadline));
    }

    /// Somebody pauses or resumes a run.
    pub(crate) fn pause(&mut self, run: RunId, paused: bool) {
        let Some(&run) = self.runs.get(&run) else { return };
        if let Some(later) = &mut self.run_at_mut(run).recovering {
            *later = paused;
        } else if self.run_at(run).paused != paused {
            self.run_at_mut(run).paused = paused;
            self.pause_classes(run, paused);
        }
    }

    /// A run whose calls have all ended, and that gets no more, is gone.
    pub(crate) fn end_run_if_done(&mut self, slot: u32) {
        let Some(run) = &self.runs_slab[slot as usize] else { return };
        if run.open || run.open_calls > 0 {
            return;
        }
        self.forget_run(slot);
        let run = self.runs_slab[slot as usize].take().expect("it was there");
        self.runs.remove(&run.id);
        self.recovering -= u32::from(run.recovering.is_some());
        self.shared &= !self.runs.is_empty();
        self.runs_free.push(slot);
        if let Some(deadline) = run.deadline {
            self.timers.unset_rare(deadline, TimerId::Run(slot));
        }
        self.drop_classes(&run.classes);
        for &limit in &run.limits {
            self.gates.drop_limit(limit);
        }
        debug_assert!(!self.runs.is_empty() || self.keyed.len() + self.active.len() == 0, "what ended has no entries");
        if self.runs.is_empty() && self.calls.len() > SLOTS_KEPT {
            self.forget_slots();
        } else {
            self.calls_free.extend(run.elements.iter().flat_map(|e| e.slots.iter().copied()).chain(run.slots()));
        }
        self.actions.push_back(Action::RunEnded { run: run.id, deadline_passed: run.deadline_passed });
    }

    /// No run is left: the slots of a large one, and all notes about slots, go.
    fn forget_slots(&mut self) {
        self.calls = Vec::new();
        self.calls_free = Vec::new();
        self.keyed = Pool::default();
        self.active = Pool::default();
        self.unarmed = Vec::new();
        self.keys.woken.clear();
        self.results.woken.clear();
        self.results.handed.clear();
        self.timers.forget_calls();
        self.admission.forget_calls();
    }
}
