//! Ends: the outcome of a call and what follows for those that wait for it; cancelling, stopping, pausing.
//! It does not know attempts or admission.

use crate::call::{NEVER, State};
use crate::core::Core;
use crate::fault::Fault;
use crate::timers::TimerId;
use crate::types::*;
use std::time::Duration;

/// Slots kept for the next runs when no run is left; a large run gives its memory back.
const SLOTS_KEPT: usize = 4_096;

impl Core {
    /// A call has its outcome.
    pub(crate) fn end(&mut self, slot: u32, outcome: Outcome, reason: Reason) {
        let in_flight = self.call(slot).in_flight();
        if !in_flight {
            // Ready, but nobody has looked at it yet: it waited for the driver.
            let cause = self.cause(slot).unwrap_or(Cause::Resolve);
            let now = self.now;
            self.calls[slot as usize].account(cause, now);
        }
        if self.planted.is(Fault::SkippedKeepsPlace) && outcome == Outcome::Skipped {
            self.calls[slot as usize].held.clear();
        }
        if self.planted.is(Fault::PermitLeakedInBackoff) && self.call(slot).state == State::Backoff {
            let needs = self.call(slot).settings.needs.clone();
            for &(limit, amount) in &needs {
                self.gates.take(limit, amount);
            }
        }
        self.set(slot, State::Ended);
        self.placed(slot);
        let valued = matches!(outcome, Outcome::Failed | Outcome::Denied | Outcome::InDoubt);
        let call = &mut self.calls[slot as usize];
        call.flags.has_result = outcome == Outcome::Succeeded || (valued && call.settings.failure_has_value);
        call.flags.good = call.flags.has_result || (outcome == Outcome::Skipped && reason == Reason::When);
        let run = call.run;
        let mut waits = std::mem::take(&mut call.waits);
        waits.dedup_by(|later, earlier| {
            let same = later.cause == earlier.cause;
            earlier.duration += if same { later.duration } else { Duration::ZERO };
            same
        });
        let end = CallEnd {
            outcome,
            reason,
            attempts: call.attempt,
            started: (call.started != NEVER).then_some(call.started),
            ended: self.now,
            waits,
            call: self.call_ref(slot),
        };
        self.actions.push_back(Action::Ended(Box::new(end)));
        if outcome == Outcome::InDoubt && self.run_at(run).doubts.len() <= crate::policy::DOUBTS_MAX {
            let claims = self.call(slot).claims.clone();
            self.run_at_mut(run).doubts.push(claims);
        }
        self.ended.push_back(slot);
    }

    /// Draws the consequences of an end.
    pub(crate) fn propagate(&mut self, slot: u32) {
        let run = self.call(slot).run;
        self.tell_takers(slot);
        if self.call(slot).parent != crate::call::NONE {
            self.tell_parent(slot);
        }
        if self.run_at(run).gate.is_some() {
            self.tell_gate(slot);
        }
        self.run_at_mut(run).open_calls -= 1;
        self.open_calls -= 1;
        self.end_run_if_done(run);
    }

    fn tell_takers(&mut self, slot: u32) {
        let (run, index, has_result) = {
            let call = self.call(slot);
            (call.run, call.index, call.flags.has_result || self.planted.is(Fault::FailureHidesSkip))
        };
        let mut edge = self.call(slot).edges;
        while edge != crate::call::NONE {
            let crate::call::Edge { to, next, kind } = self.run_at(run).edges[edge as usize];
            edge = next;
            self.keys.touched += 1;
            let now = self.now;
            let taker = &mut self.calls[to as usize];
            if taker.state != State::Inputs {
                continue;
            }
            taker.pending -= 1;
            let early = self.planted.is(Fault::InputSkipped) && taker.pending == 1 && taker.inputs.len() > 2;
            if kind == InputKind::Result && !has_result {
                taker.account(Cause::Input(index), now);
                self.end(to, Outcome::Skipped, Reason::Upstream(index));
            } else if taker.pending == 0 || early {
                taker.account(Cause::Input(index), now);
                self.inputs_there(to);
            }
        }
    }

    fn tell_parent(&mut self, slot: u32) {
        let call = self.call(slot);
        let (parent, good) = (call.parent, call.flags.good);
        let cancelled = call.flags.cancelled;
        let elements = self.calls[parent as usize].elements.as_mut().expect("a parent has elements");
        elements.open -= 1;
        elements.without_result += u32::from(!good);
        elements.cancelled += u32::from(!good && cancelled);
        if elements.open > 0 || self.call(parent).state != State::Elements {
            return;
        }
        let elements = self.calls[parent as usize].elements.as_ref().expect("a parent has elements");
        let (lost, cancelled) = (elements.without_result, elements.cancelled);
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
            (call.run, call.order(), call.index, call.flags.good, call.elements.is_some());
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
            _ if self.call(slot).flags.doubtful => self.end(slot, Outcome::InDoubt, reason),
            _ => self.end(slot, outcome, reason),
        }
    }

    /// Somebody cancels a run or one call of it.
    pub(crate) fn cancel(&mut self, run: RunId, call: Option<u32>, force: bool) {
        let Some(&run) = self.runs.get(&run) else { return };
        let abort = force.then_some(AbortReason::Cancelled);
        match call {
            None => self.cancel_run(run, Reason::Cancelled, abort),
            Some(index) => {
                let Some(&slot) = self.run_at(run).listed.get(index as usize) else { return };
                self.cease_whole(slot, Reason::Cancelled, abort);
            }
        }
    }

    fn cancel_run(&mut self, run: u32, reason: Reason, abort: Option<AbortReason>) {
        let r = self.run_at_mut(run);
        r.cancelling = true;
        r.open = false;
        for slot in r.listed.clone() {
            self.cease_whole(slot, reason, abort);
        }
        self.end_run_if_done(run);
    }

    fn cease_whole(&mut self, slot: u32, reason: Reason, abort: Option<AbortReason>) {
        self.cease(slot, Outcome::Cancelled, reason, abort);
        let elements = self.call(slot).elements.as_ref().map(|e| e.slots.clone()).unwrap_or_default();
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
        if self.run_at(run).paused != paused {
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
        let run = self.runs_slab[slot as usize].take().expect("it was there");
        self.runs.remove(&run.id);
        self.shared &= !self.runs.is_empty();
        self.runs_free.push(slot);
        if let Some(deadline) = run.deadline {
            self.timers.unset_rare(deadline, TimerId::Run(slot));
        }
        self.drop_classes(&run.classes);
        for limit in run.limits {
            self.gates.drop_limit(limit);
        }
        if self.runs.is_empty() && self.calls.len() > SLOTS_KEPT {
            self.forget_slots();
        } else {
            for call in run.listed {
                let elements = self.calls[call as usize].elements.take();
                self.calls_free.extend(elements.iter().flat_map(|e| &e.slots).copied());
                self.calls_free.push(call);
            }
        }
        self.actions.push_back(Action::RunEnded { run: run.id, deadline_passed: run.deadline_passed });
    }

    /// No run is left: the slots of a large one, and all notes about slots, go.
    fn forget_slots(&mut self) {
        self.calls = Vec::new();
        self.calls_free = Vec::new();
        self.unarmed = Vec::new();
        self.keys.woken.clear();
        self.timers.forget_calls();
        self.admission.forget_calls();
    }
}
