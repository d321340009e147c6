//! Recovery: the record of a run that began in an engine that is gone, told again fact by fact.
//! It does not know where the record was kept. Who started before whom is taken from the record, not decided anew.

use crate::call::{Kept, NEVER, State};
use crate::core::Core;
use crate::fault::Fault;
use crate::policy::{self, Next};
use crate::types::*;

impl Core {
    /// Why a fact about a recovering run cannot have happened, if it cannot.
    pub(crate) fn illegal(&self, event: &Event) -> Option<(CallRef, Illegal)> {
        if self.planted.is(Fault::LegalityDropped) {
            return None;
        }
        let call = match event {
            Event::Recorded(fact) => fact.call(),
            Event::Finished { attempt, .. } | Event::DoubtSettled { attempt, .. } => attempt.call,
            Event::Resolved { call, .. } => *call,
            _ => return None,
        };
        let recovering = self.runs.get(&call.run).is_some_and(|&run| self.run_at(run).recovering.is_some());
        let told = matches!(event, Event::Recorded(_));
        if !recovering {
            return told.then_some((call, Illegal::NoCall));
        }
        let why = match self.find(call) {
            Some(slot) => self.unfit(slot, event)?,
            None => Illegal::NoCall,
        };
        Some((call, why))
    }

    fn unfit(&self, slot: u32, event: &Event) -> Option<Illegal> {
        let call = self.call(slot);
        let running = |attempt: &AttemptRef| match call.in_flight() {
            false => Some(Illegal::NotRunning),
            true => (call.attempt != attempt.attempt).then_some(Illegal::WrongAttempt),
        };
        let aborting = || match call.state {
            State::Aborting { reason } => Some(reason),
            _ => None,
        };
        match event {
            Event::Recorded(Recorded::Started { attempt }) => match call.state {
                State::Ready { .. } | State::Backoff => {
                    (call.attempt + 1 != attempt.attempt).then_some(Illegal::WrongAttempt)
                }
                _ => Some(Illegal::NotReady),
            },
            Event::Recorded(Recorded::Reused { .. }) => {
                (!matches!(call.state, State::Ready { .. } | State::Backoff)).then_some(Illegal::NotReady)
            }
            Event::Recorded(Recorded::Lost { attempt, .. }) => running(attempt),
            Event::Recorded(Recorded::Aborted { attempt, reason }) => {
                // What is not for the attempt's own time follows from facts told before.
                let due = *reason < AbortReason::Stopped || aborting().is_some_and(|known| known >= *reason);
                running(attempt).or((!due).then_some(Illegal::NotAborted))
            }
            Event::Recorded(Recorded::GivenUp { attempt })
            | Event::Finished { attempt, end: AttemptEnd::Aborted { .. } } => {
                running(attempt).or(aborting().is_none().then_some(Illegal::NotAborted))
            }
            Event::Finished { .. } if self.planted.is(Fault::FinishedTwice) => None,
            Event::Finished { attempt, .. } => running(attempt),
            Event::DoubtSettled { attempt, .. } => {
                (call.state != State::Doubt || call.attempt != attempt.attempt).then_some(Illegal::NotAsked)
            }
            Event::Recorded(Recorded::Unanswered { .. }) => {
                (!matches!(call.state, State::Doubt | State::Approval)).then_some(Illegal::NotAsked)
            }
            Event::Resolved { .. } => {
                (!matches!(call.state, State::Resolving { .. } | State::Approval)).then_some(Illegal::NotAsked)
            }
            _ => None,
        }
    }

    /// Takes in a fact that fits.
    pub(crate) fn recorded(&mut self, fact: Recorded) {
        let Some(slot) = self.find(fact.call()) else { return };
        match fact {
            Recorded::Started { .. } => self.started_before(slot),
            Recorded::Aborted { reason, .. } => self.abort(slot, reason),
            Recorded::GivenUp { .. } => {
                self.attempt_ended(slot, AttemptEnd::Aborted { reached: Reached::Unknown }, true);
            }
            Recorded::Lost { answer, .. } => self.lost(slot, answer),
            Recorded::Unanswered { .. } => self.call_due(slot),
            Recorded::Reused { .. } => self.end(slot, Outcome::Succeeded, Reason::Reused),
        }
    }

    /// An attempt had started. It runs no more, so it takes no amounts, and its timeout is over.
    fn started_before(&mut self, slot: u32) {
        self.written(slot);
        if self.call(slot).state == State::Backoff {
            self.account(slot, Cause::Backoff);
        }
        self.set(slot, State::Running);
        if self.planted.is(Fault::RecoveredLeavesPlace) {
            self.leave_place(slot);
        }
        let now = self.now;
        let call = &mut self.calls[slot as usize];
        call.flags.recorded = true;
        call.flags.doubtful = false;
        call.attempt += 1;
        call.since = now;
        let active = self.active_mut(slot);
        active.attempt_started = now;
        active.started = active.started.min(now);
    }

    /// An attempt was lost with the engine that ran it.
    fn lost(&mut self, slot: u32, answer: Option<DoubtAnswer>) {
        let call = self.call(slot);
        let repeatable = self.settings(slot).repeatable || self.planted.is(Fault::LostWriteRerun);
        let cancelled = call.flags.cancelled || self.run_at(call.run).cancelling;
        let next = policy::after_loss(self.settings(slot), cancelled);
        let why = match call.state {
            State::Aborting { reason } if reason >= AbortReason::Stopped => self.why_aborted(slot, reason),
            _ => Reason::Cancelled,
        };
        self.calls[slot as usize].since = self.now;
        self.written(slot);
        self.doubt(slot);
        // Until somebody says more it is in doubt, and an answer is an answer to that.
        self.set(slot, State::Doubt);
        if self.planted.is(Fault::LostLeavesPlace) {
            self.leave_place(slot);
        }
        match (next, answer) {
            (Next::Cancel, _) => self.end(slot, Outcome::Cancelled, why),
            _ if repeatable && !cancelled => self.set(slot, State::Ready { kept: Kept::Not }),
            (Next::Doubt, Some(DoubtAnswer::Rerun)) if cancelled => self.end(slot, Outcome::InDoubt, Reason::Lost),
            (_, Some(answer)) => self.settled(slot, answer),
            (Next::Retry(_), None) => self.settled(slot, DoubtAnswer::Rerun),
            (Next::Ask(bound), None) => {
                let until = self.now.after(bound);
                self.set_timer(slot, until);
                let attempt = self.attempt_ref(slot);
                self.actions.push_back(Action::Ask { attempt, until });
            }
            _ => self.end(slot, Outcome::InDoubt, Reason::Lost),
        }
    }

    /// All that was recorded has been told.
    pub(crate) fn recovered(&mut self, run: RunId) {
        let Some(&slot) = self.runs.get(&run) else { return };
        let Some(paused) = self.run_at_mut(slot).recovering.take() else { return };
        self.recovering -= 1;
        self.due_meanwhile(slot);
        if !paused {
            self.pause(run, false);
        }
    }

    /// The deadline of a recovering run had passed before the engine died.
    pub(crate) fn deadline_passed(&mut self, run: RunId) {
        let Some(&slot) = self.runs.get(&run) else { return };
        if self.run_at(slot).recovering.is_some() && !self.planted.is(Fault::DeadlineForgotten) {
            self.deadline(slot);
        }
    }

    /// Timers that fired while the record was told did nothing then.
    fn due_meanwhile(&mut self, slot: u32) {
        let run = self.run_at(slot);
        if run.deadline.is_some_and(|deadline| deadline <= self.now) && !run.deadline_passed {
            return self.deadline(slot);
        }
        let elements = |&call: &u32| self.elements(call).map(|e| e.slots.clone()).unwrap_or_default();
        let calls: Vec<u32> = run.listed.iter().flat_map(|call| std::iter::once(*call).chain(elements(call))).collect();
        let id = run.id;
        for call in calls {
            if self.runs.contains_key(&id) && self.active(call).is_some_and(|active| active.timer == NEVER) {
                self.call_due(call);
                self.draw_consequences();
            }
        }
    }
}
