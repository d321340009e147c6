//! Recovery: the records of a durable run are told to the core again, one by one, and then it goes on.
//! It does not know how they were written, nor whether they can have happened: the core says so.

use super::Driver;
use crate::approval;
use crate::durable::error;
use crate::event::What;
use crate::handle::DoubtAnswer;
use crate::message::Recovery;
use crate::report::{CallError, WaitReport};
use crate::resolve;
use crate::run::{Recovering, RunData};
use crate::words::outcome_name;
use fanout_core::{AttemptEnd, AttemptRef, CallRef, Event, Recorded, Resolution, RunId, Time};
use fanout_plan::{Call, Plan};
use fanout_store::{Ended, ErrorText, Fact, Finished, JsonText, Record, Resolved, StoreError};
use fanout_tools::Usage;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

impl Driver {
    /// Goes on with a recorded run.
    pub(super) fn recover(&mut self, recovery: Recovery) {
        let Recovery { mut new, owned, records, tools, in_doubt, reply } = recovery;
        let id = new.translated.run;
        let began = records.first().map_or(self.now, |(record, _)| record.at);
        if let Some(Fact::RunStarted(started)) = records.first().map(|(record, _)| &record.fact) {
            (new.seed, new.open) = (started.seed, started.open);
        }
        let (attended, events) = (new.attended, std::mem::take(&mut new.events));
        new.attended = true;
        let deadline = match records.first().map(|(record, _)| &record.fact) {
            Some(Fact::RunStarted(started)) => started.deadline,
            _ => None,
        };
        self.add_run(new, Some((owned, began, deadline)));
        for (record, texts) in records {
            self.told(id, record, &texts);
            // Of a run that recovers nothing is due and nothing starts: what follows from the fact is all there is.
            while let Some(action) = self.core.poll_action() {
                self.perform(action);
            }
            let illegal = |run: &mut Box<_>| RunData::illegal(run);
            if let Some(illegal) = self.runs.get_mut(&id).and_then(illegal) {
                self.abandon(id);
                // Nobody waits for the answer when the one who asked is gone.
                let _ = reply.send(Err(illegal));
                return;
            }
        }
        let Some(run) = self.runs.get_mut(&id) else {
            // It had ended but for the last word.
            let _ = reply.send(Ok(()));
            return;
        };
        let recovering = run.recovering.take().unwrap_or_default();
        run.attended = attended;
        run.events = events.then(Vec::new);
        let lost = recovering.open.len();
        run.emit(self.now, |run| What::RunStarted {
            run: run.names.0.clone(),
            name: run.names.1.clone(),
            calls: run.plan.calls.len(),
        });
        run.emit(self.now, |run| What::RunRecovered { ended: run.ended_calls(), lost });
        // Whatever is asked from here on tells of itself.
        let asked = run.questions.clone();
        self.touch(id);
        self.note(id, |_| Some(Fact::RunTaken { tools }));
        self.lose(id, &recovering, &in_doubt);
        self.handle(Event::Recovered { run: id });
        self.ask_again(id, asked, recovering.unresolved, &in_doubt);
        let _ = reply.send(Ok(()));
    }

    /// Tells the core one record.
    fn told(&mut self, id: RunId, record: Record, texts: &[JsonText]) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let at = record.at;
        if let Some(recovering) = &mut run.recovering {
            recovering.at = at;
        }
        let text = || texts.first().cloned();
        let event = record.fact.event(id);
        match record.fact {
            Fact::CallsAdded { .. } => return self.told_calls(id, text()),
            Fact::Resolved(resolved) => return self.told_resolved(id, resolved),
            Fact::Ended(ended) => return told_ended(run, ended),
            Fact::Started { attempt, .. } => told_started(run, attempt.of(id), at),
            Fact::Finished(finished) => told_finished(run, finished, text(), at),
            Fact::GivenUp { attempt } => told_over(run, attempt.of(id), at),
            Fact::Lost { attempt, .. } => {
                told_over(run, attempt.of(id), at);
                told_value(run, attempt.call.of(id), text());
            }
            Fact::Reused { call, .. } => {
                told_value(run, call.of(id), text());
                run.reused.insert(call.of(id));
            }
            Fact::DoubtSettled { attempt, .. } => {
                told_value(run, attempt.call.of(id), text());
                run.questions.remove(&attempt.call.of(id));
            }
            Fact::ApprovalGiven(given) => told_approval(run, given.call.of(id), given.error, text()),
            Fact::Aborted { attempt, reason } => {
                if let Some(slot) = run.slot_mut(attempt.call.of(id)) {
                    slot.more().aborted = Some(reason);
                }
            }
            Fact::CancelRequested { call: None, .. } => run.cancelled = true,
            Fact::RunClosed => run.open = false,
            Fact::PauseRequested => run.paused = true,
            Fact::ResumeRequested => run.paused = false,
            _ => {}
        }
        if let Some(event) = event {
            self.core.handle(self.now, event);
        }
    }

    /// Calls that were added to an open run.
    fn told_calls(&mut self, id: RunId, calls: Option<JsonText>) {
        let calls: Option<Value> = calls.and_then(|calls| serde_json::from_str(calls.get()).ok());
        let plan = Plan::from_value(json!({"calls": calls}));
        let added = plan.map(|plan| plan.calls).and_then(|calls: Vec<Call>| self.add_calls(id, calls));
        if added.is_err()
            && let Some(run) = self.runs.get_mut(&id)
        {
            run.differs("calls that were added to it cannot be added any more");
        }
    }

    /// The inputs of a call were looked at: looked at again for their values, which have to come to the same.
    fn told_resolved(&mut self, id: RunId, resolved: Resolved) {
        let call = resolved.call.of(id);
        let Some(run) = self.runs.get_mut(&id) else { return };
        let again = run.recovering.as_mut().and_then(|recovering| recovering.unresolved.remove(&call));
        if let Some(again) = again {
            let now = resolve::resolve(&self.tables, run, call, again);
            let name = run.call_id(call);
            if kind(&now) != kind(&resolved.resolution) {
                run.differs(&format!("`{name}` does not come to the same from the same results"));
            }
        }
        if let (Some(error), Some(slot)) = (resolved.error, run.slot_mut(call)) {
            slot.more().error = Some(call_error(*error));
        }
        let resolution = resolved.resolution;
        self.core.handle(self.now, Event::Resolved { call, resolution });
    }

    /// Attempts that ran when the process died: nobody knows how they ended.
    fn lose(&mut self, id: RunId, recovering: &Recovering, in_doubt: &BTreeMap<String, DoubtAnswer>) {
        for (&call, &(attempt, _)) in &recovering.open {
            let Some(run) = self.runs.get_mut(&id) else { return };
            let given = in_doubt.get(&*run.call_id(call));
            let repeatable = run.call(call).effects.repeatable();
            let answer = given.filter(|_| !repeatable).map(|given| match given {
                DoubtAnswer::Rerun => fanout_core::DoubtAnswer::Rerun,
                DoubtAnswer::Fail => fanout_core::DoubtAnswer::Fail,
                DoubtAnswer::Succeeded(_) => fanout_core::DoubtAnswer::Succeeded,
            });
            let mut value = None;
            if let (Some(DoubtAnswer::Succeeded(given)), Some(_)) = (given, answer) {
                value = crate::durable::text(given).ok();
                told_value(run, call, value.clone());
            }
            run.note_break(call, self.now);
            let attempt = AttemptRef { call, attempt };
            self.note(id, |_| Some(Fact::Lost { attempt: attempt.into(), answer, value: value.map(Into::into) }));
            self.core.handle(self.now, Event::Recorded(Recorded::Lost { attempt, answer }));
            self.settle_turn();
        }
    }

    /// What the core asked and nobody answered is answered now; what people were `asked` in an earlier life and have
    /// not answered is asked again.
    fn ask_again(
        &mut self,
        id: RunId,
        asked: BTreeSet<CallRef>,
        unresolved: BTreeMap<CallRef, bool>,
        in_doubt: &BTreeMap<String, DoubtAnswer>,
    ) {
        self.settle_turn();
        for (call, again) in unresolved {
            self.perform(fanout_core::Action::Resolve { call, again });
        }
        for call in asked {
            let Some(run) = self.runs.get_mut(&id) else { return };
            if !run.questions.contains(&call) {
                continue;
            }
            let name = run.call_id(call);
            if let Some(attempt) = run.slot(call).and_then(|slot| slot.more.as_ref()?.doubt) {
                match in_doubt.get(&*name) {
                    Some(answer) => self.settle(id, &name, answer.clone()),
                    None => run.emit(self.now, |_| What::CallDoubted { call: name, attempt }),
                }
                continue;
            }
            let bound = approval::bound(run.call(call)).unwrap_or_default();
            run.emit(self.now, |run| approval::question(run, &self.tables, call, bound));
        }
    }

    /// A record that cannot have happened: its run is dropped, as if it had never been begun here.
    fn abandon(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let open = run.recovering.take().unwrap_or_default().open;
        self.durable -= usize::from(run.durable.take().is_some());
        run.events = None;
        self.core.handle(self.now, Event::CancelRequested { run: id, call: None, force: true });
        for (call, (attempt, _)) in open {
            let attempt = AttemptRef { call, attempt };
            self.core.handle(self.now, Event::Recorded(Recorded::Lost { attempt, answer: None }));
        }
        self.core.handle(self.now, Event::Recovered { run: id });
        self.settle_turn();
        self.runs.remove(&id);
    }
}

fn told_started(run: &mut RunData, attempt: AttemptRef, at: Time) {
    let recovering = run.recovering.get_or_insert_default();
    recovering.open.insert(attempt.call, (attempt.attempt, at));
    recovering.started.entry(attempt.call).or_insert(at);
    if attempt.attempt > 1 {
        run.breaks.over(attempt.call, at);
    }
}

fn told_over(run: &mut RunData, attempt: AttemptRef, at: Time) {
    let began = run.recovering.get_or_insert_default().open.remove(&attempt.call);
    if let (Some((_, began)), Some(slot)) = (began, run.slot_mut(attempt.call)) {
        slot.ran_ns = slot.ran_ns.saturating_add(at.0.saturating_sub(began.0));
    }
}

fn told_value(run: &mut RunData, call: CallRef, text: Option<JsonText>) {
    if let (Some(text), Some(slot)) = (text, run.slot_mut(call)) {
        slot.set_text(Some(text));
    }
}

fn told_finished(run: &mut RunData, finished: Finished, text: Option<JsonText>, at: Time) {
    let attempt = finished.attempt.of(run.id);
    told_over(run, attempt, at);
    if finished.end == AttemptEnd::Succeeded {
        told_value(run, attempt.call, text);
    }
    let Some(slot) = run.slot_mut(attempt.call) else { return };
    if let Some((cpu, memory_bytes_max)) = finished.usage {
        slot.more().usage = Some(Usage { cpu, memory_bytes_max });
    }
    if let Some(error) = finished.error {
        slot.more().error = Some(call_error(*error));
    }
    if let Some(more) = &mut slot.more {
        more.aborted = None;
    }
}

fn told_approval(run: &mut RunData, call: CallRef, error: Option<Box<ErrorText>>, args: Option<JsonText>) {
    told_value(run, call, args);
    let Some(slot) = run.slot_mut(call) else { return };
    slot.more().asked = false;
    if let Some(error) = error {
        slot.more().error = Some(call_error(*error));
    }
    run.questions.remove(&call);
}

/// The account of a call that ended before, which has to have ended now.
fn told_ended(run: &mut RunData, ended: Ended) {
    let call = ended.call.of(run.id);
    let known = run.slot(call).and_then(|slot| run.end(slot)).map(|end| end.outcome);
    if known != Some(ended.outcome) {
        let name = run.call_id(call);
        let now = known.map_or("has not ended", outcome_name);
        return run.differs(&format!("`{name}` was recorded as {} and {now} now", outcome_name(ended.outcome)));
    }
    let waits = ended.waits.into_iter().map(|wait| WaitReport {
        cause: wait.cause,
        on: wait.on,
        key: wait.key,
        ms: std::time::Duration::from_nanos(wait.ns).as_secs_f64() * 1e3,
    });
    run.told_waits.insert(call, waits.collect());
}

/// What two resolutions have to have in common to be the same.
fn kind(resolution: &Resolution) -> (u8, u32) {
    match resolution {
        Resolution::Run { .. } => (0, 0),
        Resolution::Skip => (1, 0),
        Resolution::Elements(elements) => (2, *elements),
        Resolution::Error => (3, 0),
        Resolution::Ask { .. } => (4, 0),
        // Nobody could be asked then; here everybody can.
        Resolution::Denied => (4, 0),
    }
}

fn call_error(error: ErrorText) -> Box<CallError> {
    let ErrorText { code, message, detail } = error;
    Box::new(CallError { code: code.into(), message, detail })
}

impl RunData {
    /// What is told of it does not fit it.
    pub(super) fn differs(&mut self, what: &str) {
        let id = self.names.0.clone();
        if let Some(recovering) = &mut self.recovering {
            let message = format!("the record of the run {id} does not fit its plan: {what}");
            recovering.illegal.get_or_insert_with(|| error("journal_illegal", message));
        }
    }

    fn illegal(run: &mut Box<RunData>) -> Option<StoreError> {
        run.recovering.as_mut()?.illegal.take()
    }

    fn ended_calls(&self) -> usize {
        let counts = &self.counts;
        counts.succeeded + counts.failed + counts.skipped + counts.cancelled
    }
}
