//! Attempts: from inputs that are there to a start, and from the end of an attempt to what follows.
//! It does not know who decides (policy.rs) nor what an outcome leads to (ends.rs).

use crate::admission::conflict;
use crate::call::{Kept, NEVER, NONE, State};
use crate::core::{Core, held};
use crate::fault::Fault;
use crate::policy::{self, Next};
use crate::reuse::Instead;
use crate::types::*;

impl Core {
    /// All inputs of a call have ended.
    pub(crate) fn inputs_there(&mut self, slot: u32) {
        if self.call(slot).flags.resolve {
            self.set(slot, State::Resolving { again: false });
            let call = self.call_ref(slot);
            self.actions.push_back(Action::Resolve { call, again: false });
        } else {
            self.take_turn(slot);
        }
    }

    /// The driver resolved a call. An answer nobody waits for is ignored.
    pub(crate) fn resolved(&mut self, call: CallRef, resolution: Resolution) {
        let Some(slot) = self.find(call) else { return };
        let (again, cause) = match self.call(slot).state {
            State::Resolving { again } => (again, Cause::Resolve),
            State::Approval => (false, Cause::Approval),
            _ => return,
        };
        self.account(slot, cause);
        match resolution {
            Resolution::Run { .. } if self.call(slot).flags.foreach => {
                self.end(slot, Outcome::Failed, Reason::Unresolved);
            }
            Resolution::Run { claims, same } => {
                self.name_keys(slot, claims);
                self.identify(slot, same);
                self.take_turn(slot);
            }
            Resolution::Ask { claims, .. }
                if self.planted.is(Fault::ApprovalSkipped) && self.run_at(self.call(slot).run).recovering.is_some() =>
            {
                self.name_keys(slot, claims);
                self.take_turn(slot);
            }
            Resolution::Ask { claims, bound } => {
                self.name_keys(slot, claims);
                if self.planted.is(Fault::ApprovalLeavesPlace) {
                    self.leave_place(slot);
                }
                self.set(slot, State::Approval);
                let until = self.now.after(bound);
                self.set_timer(slot, until);
            }
            Resolution::Denied => {
                if self.planted.is(Fault::DeniedKeepsPlace) {
                    let keyed = self.calls[slot as usize].keyed;
                    self.keyed.get_mut(keyed).into_iter().for_each(|keyed| keyed.held.clear());
                }
                self.end(slot, Outcome::Denied, Reason::Denied);
            }
            Resolution::Elements(count) if self.call(slot).flags.foreach && !again => self.expand(slot, count),
            Resolution::Elements(_) | Resolution::Error => self.end(slot, Outcome::Failed, Reason::Unresolved),
            Resolution::Skip => self.end(slot, Outcome::Skipped, Reason::When),
        }
    }

    /// The keys of a call are known; `None`: as they were, for an element as its `foreach` call's were.
    fn name_keys(&mut self, slot: u32, claims: Option<Claims>) {
        let call = self.call(slot);
        let parents = || self.keyed.get(self.call(call.parent).keyed).map(|keyed| keyed.claims.clone());
        let inherited = || call.flags.unplaced.then(parents).flatten();
        if let Some(claims) = claims.or_else(inherited) {
            // Whoever is woken by leaving is looked at only after the new claims are in line.
            self.leave_place(slot);
            self.set_claims(slot, claims);
            self.enter_place(slot);
        }
        self.placed(slot);
    }

    /// A line the call waited at has moved past it. The wait is put down to the last that stood before it; to the
    /// first that did, where somebody still does.
    pub(crate) fn line_moved(&mut self, slot: u32, leaver: u32) {
        let State::Ordered { block } = self.call(slot).state else { return };
        let seat = (self.call(slot).run, self.call(slot).order());
        let next = self.keys.blocked(held(&self.keyed, &self.calls[slot as usize]), seat);
        // The holder that was seen first may have left before.
        let is_there = self.is_before(block.holder, slot);
        let holder = self.call_ref(if next.is_none() || !is_there { leaver } else { block.holder });
        self.account(slot, Cause::Key { holder, claim: block.claim });
        match next {
            Some(block) => self.set(slot, State::Ordered { block }),
            None => self.turn_came(slot),
        }
    }

    /// Whether what is in a slot that was noted stands before a call in its run. Where calls are forgotten, it may be
    /// another one by now, which does not, and of a run that is gone.
    pub(crate) fn is_before(&self, noted: u32, slot: u32) -> bool {
        let (noted, call) = (self.call(noted), self.call(slot));
        noted.run == call.run && noted.order() < call.order()
    }

    /// `on_failure: stop`: no earlier call is open any more.
    pub(crate) fn gate_opened(&mut self, slot: u32, by: u32) {
        let holder = self.call_ref(by);
        self.account(slot, Cause::Stop(holder));
        self.take_turn(slot);
    }

    /// A call that knows its keys waits for its turn, or is ready.
    pub(crate) fn take_turn(&mut self, slot: u32) {
        if self.planted.is(Fault::HandedAcrossWrite)
            && let Some(instead) = self.instead(slot)
        {
            return self.do_instead(slot, instead);
        }
        if self.planted.is(Fault::LookedBeforeTurn)
            && let Some(look @ Instead::Look) = self.instead(slot)
        {
            return self.do_instead(slot, look);
        }
        let call = self.call(slot);
        let seat = (call.run, call.order());
        if let Some(block) = self.keys.blocked(held(&self.keyed, call), seat) {
            self.calls[slot as usize].flags.waited_key = true;
            return self.set(slot, State::Ordered { block });
        }
        self.turn_came(slot);
    }

    /// No earlier call stands against its keys.
    fn turn_came(&mut self, slot: u32) {
        let waited = std::mem::take(&mut self.calls[slot as usize].flags.waited_key);
        if waited && self.settings(slot).rekey {
            self.set(slot, State::Resolving { again: true });
            let call = self.call_ref(slot);
            self.actions.push_back(Action::Resolve { call, again: true });
            return;
        }
        let call = self.call(slot);
        if let Some(gate) = &self.run_at(call.run).gate
            && self.claims(slot).iter().any(|claim| claim.write)
            && gate.open.first_key_value().is_some_and(|(&first, _)| first < call.order())
            && !self.planted.is(Fault::StopLetsWriteThrough)
        {
            return self.set(slot, State::Gated);
        }
        self.get_ready(slot);
    }

    /// Admission let the call through.
    pub(crate) fn begin_attempt(&mut self, slot: u32) {
        if !self.planted.is(Fault::WriteStartKeeps) {
            self.written(slot);
        }
        self.open_write(slot);
        self.set(slot, State::Running);
        let now = self.now;
        let hold = self.call(slot).keyed != NONE && (self.shared || self.settings(slot).rekey);
        let call = &mut self.calls[slot as usize];
        call.attempt += 1;
        call.flags.doubtful = false;
        call.since = now;
        let held = held(&self.keyed, call);
        if hold && !held.is_empty() {
            call.flags.holding = true;
            self.keys.hold(held, slot);
        }
        if call.flags.same {
            self.take_off(slot);
        }
        let active = self.active_mut(slot);
        active.attempt_started = now;
        active.started = active.started.min(now);
        let due = self.attempt_due(slot);
        self.unarmed.push(slot);
        self.unarmed_due = self.unarmed_due.min(due);
        let attempt = self.attempt_ref(slot);
        let doubts = &self.run_at(self.call(slot).run).doubts;
        let after_doubt = doubts.len() > policy::DOUBTS_MAX || doubts.iter().any(|d| conflict(d, self.claims(slot)));
        self.actions.push_back(Action::Start { attempt, after_doubt });
    }

    /// An attempt ended. Reports of attempts that are over are ignored.
    pub(crate) fn finished(&mut self, attempt: AttemptRef, end: AttemptEnd) {
        let Some(slot) = self.find(attempt.call) else { return };
        let stale = self.call(slot).attempt != attempt.attempt && !self.planted.is(Fault::StaleAttemptAccepted);
        let twice = self.planted.is(Fault::FinishedTwice) && self.call(slot).state == State::Backoff;
        if (self.call(slot).in_flight() || twice) && !stale {
            self.attempt_ended(slot, end, false);
        }
    }

    pub(crate) fn attempt_ended(&mut self, slot: u32, end: AttemptEnd, given_up: bool) {
        if !self.planted.is(Fault::WriteEndKeeps) {
            self.written(slot);
        }
        let unknown = matches!(
            end,
            AttemptEnd::Failed { reached: Reached::Unknown, .. } | AttemptEnd::Aborted { reached: Reached::Unknown }
        );
        if unknown {
            self.doubt(slot);
        }
        self.close_write(slot);
        let put_off = self.put_off_reason(slot);
        let call = self.call(slot);
        let run = self.run_at(call.run);
        let reason = match call.state {
            State::Aborting { reason } => Some(reason).max(put_off),
            _ => put_off,
        };
        let seed = run.seed ^ call.order().rotate_left(17) ^ (u64::from(call.attempt) << 48);
        let settings = self.settings(slot);
        let next = policy::after_attempt(
            settings,
            policy::Ended {
                end,
                attempt: call.attempt,
                cancelled: reason.is_some_and(|r| r >= AbortReason::Stopped),
                last: given_up || run.cancelling || call.flags.cancelled,
                seed,
            },
        );
        let repeatable = settings.repeatable;
        let next = match (next, end) {
            (Next::Fail, AttemptEnd::Failed { class: FailureClass::Transient, .. })
                if self.planted.is(Fault::WriteRetried) && call.attempt < settings.retry.attempts_max =>
            {
                Next::Retry(settings.retry.backoff)
            }
            (next, _) => next,
        };
        let why = reason.map_or(Reason::Tool, |r| self.why_aborted(slot, r));
        let joined = self.land(slot, next == Next::Succeed);
        match next {
            Next::Succeed => self.end(slot, Outcome::Succeeded, Reason::Tool),
            Next::Fail => {
                let aborted = matches!(end, AttemptEnd::Aborted { .. });
                self.end(slot, Outcome::Failed, if aborted { why } else { Reason::Tool });
            }
            Next::Cancel => self.end(slot, Outcome::Cancelled, why),
            Next::Doubt => self.end(slot, Outcome::InDoubt, why),
            Next::Retry(delay) => {
                self.calls[slot as usize].flags.doubtful = unknown && !repeatable;
                self.back_off(slot, delay);
            }
            Next::Ask(bound) => {
                let until = self.now.after(bound);
                self.wait_from_now(slot);
                self.set(slot, State::Doubt);
                self.set_timer(slot, until);
                let attempt = self.attempt_ref(slot);
                self.actions.push_back(Action::Ask { attempt, until });
            }
        }
        self.landed(slot, joined, next == Next::Succeed);
    }

    fn back_off(&mut self, slot: u32, delay: std::time::Duration) {
        let due = self.now.after(delay);
        let attempt = self.attempt_ref(slot);
        self.actions.push_back(Action::Retry { attempt, due });
        self.wait_from_now(slot);
        self.set(slot, State::Backoff);
        self.set_timer(slot, due);
        if self.planted.is(Fault::PlaceLostInBackoff) {
            self.leave_place(slot);
        }
    }

    fn wait_from_now(&mut self, slot: u32) {
        self.calls[slot as usize].since = self.now;
    }

    pub(crate) fn why_aborted(&self, slot: u32, reason: AbortReason) -> Reason {
        match reason {
            AbortReason::Timeout => Reason::Timeout,
            AbortReason::IdleTimeout => Reason::IdleTimeout,
            AbortReason::Cancelled => Reason::Cancelled,
            AbortReason::Deadline => Reason::Deadline,
            AbortReason::Stopped => {
                let gate = self.run_at(self.call(slot).run).gate.as_ref();
                Reason::Stopped(gate.and_then(|g| g.failed).map_or(self.call(slot).index, |x| x.1))
            }
        }
    }

    /// Tells an attempt to end; one that is being told already only takes on the stronger reason.
    pub(crate) fn abort(&mut self, slot: u32, reason: AbortReason) {
        let state = self.call(slot).state;
        match state {
            State::Running if self.put_off(slot, reason) => {}
            State::Running => {
                let attempt = self.attempt_ref(slot);
                self.actions.push_back(Action::Abort { attempt, reason });
                self.set(slot, State::Aborting { reason });
                let due = self.now.after(policy::ABORT_GRACE);
                self.set_timer(slot, due);
                if self.planted.is(Fault::DoubtReleasesAtOnce) && !self.settings(slot).repeatable {
                    self.attempt_ended(slot, AttemptEnd::Aborted { reached: Reached::Unknown }, true);
                }
            }
            State::Aborting { reason: old } if reason > old => {
                let due = self.active(slot).map_or(NEVER, |active| active.timer);
                self.set(slot, State::Aborting { reason });
                self.set_timer(slot, due);
            }
            _ => {}
        }
    }

    /// A sign of life.
    pub(crate) fn progressed(&mut self, attempt: AttemptRef) {
        let Some(slot) = self.find(attempt.call) else { return };
        let now = self.now;
        let call = &mut self.calls[slot as usize];
        if call.state == State::Running && call.attempt == attempt.attempt {
            call.since = now;
        }
    }

    /// Sets the timers of attempts that outlived the turn they started in.
    pub(crate) fn arm(&mut self) {
        while let Some(slot) = self.unarmed.pop() {
            let unset = self.active(slot).is_some_and(|active| active.timer == NEVER);
            if unset && self.call(slot).state == State::Running {
                self.set_timer(slot, self.attempt_due(slot));
            }
        }
        self.unarmed_due = NEVER;
    }

    fn attempt_due(&self, slot: u32) -> Time {
        let settings = self.settings(slot);
        let end = self.attempt_started(slot).after(settings.timeout);
        settings.idle_timeout.map_or(end, |idle| end.min(self.call(slot).since.after(idle)))
    }

    /// When the attempt under way started.
    pub(crate) fn attempt_started(&self, slot: u32) -> Time {
        self.active(slot).map_or(NEVER, |active| active.attempt_started)
    }

    /// The timer of a call fired.
    pub(crate) fn call_due(&mut self, slot: u32) {
        match self.call(slot).state {
            State::Running => {
                if self.attempt_started(slot).after(self.settings(slot).timeout) <= self.now {
                    self.abort(slot, AbortReason::Timeout);
                } else if self.attempt_due(slot) <= self.now {
                    self.abort(slot, AbortReason::IdleTimeout);
                } else {
                    self.set_timer(slot, self.attempt_due(slot));
                }
            }
            State::Aborting { .. } => {
                self.attempt_ended(slot, AttemptEnd::Aborted { reached: Reached::Unknown }, true);
            }
            State::Backoff => {
                self.account(slot, Cause::Backoff);
                self.get_ready(slot);
            }
            State::Doubt => self.end_doubt(slot, Outcome::InDoubt, Reason::Timeout),
            State::Approval => {
                self.account(slot, Cause::Approval);
                self.end(slot, Outcome::Denied, Reason::Timeout);
            }
            _ => {}
        }
    }

    /// Somebody answered for an attempt in doubt.
    pub(crate) fn settle(&mut self, attempt: AttemptRef, answer: DoubtAnswer) {
        let Some(slot) = self.find(attempt.call) else { return };
        if self.call(slot).state == State::Doubt && self.call(slot).attempt == attempt.attempt {
            self.settled(slot, answer);
        }
    }

    pub(crate) fn settled(&mut self, slot: u32, answer: DoubtAnswer) {
        match answer {
            DoubtAnswer::Fail => self.end_doubt(slot, Outcome::InDoubt, Reason::Settled),
            DoubtAnswer::Succeeded => self.end_doubt(slot, Outcome::Succeeded, Reason::Settled),
            DoubtAnswer::Rerun => {
                self.account(slot, Cause::Doubt);
                self.calls[slot as usize].flags.doubtful = true;
                self.set(slot, State::Ready { kept: Kept::Not });
            }
        }
    }

    fn end_doubt(&mut self, slot: u32, outcome: Outcome, reason: Reason) {
        self.account(slot, Cause::Doubt);
        self.end(slot, outcome, reason);
    }

    pub(crate) fn attempt_ref(&self, slot: u32) -> AttemptRef {
        AttemptRef { call: self.call_ref(slot), attempt: self.call(slot).attempt }
    }
}
