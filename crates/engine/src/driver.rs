//! The only loop: decide → do → wait. It owns the core and the data of all runs of an engine.
//! It does not know why anything happens next (the core does), nor how a tool is called (adapters do).

use crate::attempts::{Attempts, ToStart};
use crate::ended::{self, EndedRun};
use crate::event::{RunOutcome, What};
use crate::event_log::Happened;
use crate::handle::{DoubtAnswer, EngineInner, SharedGuard, run_ended};
use crate::message::{Message, NewRun};
use crate::report::CallError;
use crate::run::RunData;
use crate::tables::Tables;
use crate::words::{abort_message, abort_reason, reached};
use crate::{defaults, resolve, snapshot, translate};
use fanout_core::{Action, AttemptEnd, AttemptRef, CallEnd, CallRef, Core, Event, FailureClass, RunId, RunSpec, Time};
use fanout_plan::{Call, Diagnostic};
use fanout_tools::{ErrorClass, Tool, ToolResult};
use hashbrown::HashMap;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

/// Messages taken from the inbox at once.
const INBOX_BATCH: usize = 4_096;

/// The driver of one engine. Everything it does happens in [`Driver::drive`], in one task.
pub(crate) struct Driver {
    core: Core,
    tables: Arc<Tables>,
    runs: HashMap<RunId, Box<RunData>>,
    attempts: Attempts,
    inbox: UnboundedReceiver<Message>,
    /// The moment the core's clock counts from.
    origin: Instant,
    /// The clock as of the last look; the core never sees it go back.
    now: Time,
    /// Runs that may have events to hand out.
    touched: Vec<RunId>,
    /// The last engine handle is gone.
    closing: bool,
}

impl Driver {
    pub(crate) fn new(
        tables: Arc<Tables>,
        tools: Vec<Arc<dyn Tool>>,
        inbox: UnboundedReceiver<Message>,
        sender: UnboundedSender<Message>,
        engine: Weak<EngineInner>,
    ) -> Driver {
        let mut core = Core::new();
        for event in tables.events() {
            core.handle(Time(0), event);
        }
        let attempts = Attempts::new(tools, &tables.catalog, sender, engine);
        let runs = HashMap::new();
        Driver {
            core,
            tables,
            runs,
            attempts,
            inbox,
            origin: Instant::now(),
            now: Time(0),
            touched: Vec::new(),
            closing: false,
        }
    }

    /// Runs until the last engine handle is gone and all runs have ended.
    pub(crate) async fn drive(mut self) {
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut taken = Vec::new();
        loop {
            self.work(&mut taken).await;
            self.flush();
            if self.closing && self.runs.is_empty() {
                return;
            }
            match self.core.poll_timeout().map(|due| self.origin + Duration::from_nanos(due.0)) {
                None => _ = self.inbox.recv_many(&mut taken, INBOX_BATCH).await,
                Some(due) => {
                    if timer.deadline() != due {
                        timer.as_mut().reset(due);
                    }
                    tokio::select! {
                        biased;
                        _ = self.inbox.recv_many(&mut taken, INBOX_BATCH) => {}
                        () = timer.as_mut() => {}
                    }
                }
            }
            self.look_at_clock();
            if taken.is_empty() {
                self.core.handle(self.now, Event::Tick);
            }
            for message in taken.drain(..) {
                self.take(message);
            }
        }
    }

    /// Does all that the core orders. Now and then it looks at the inbox too, and lets other tasks run, so that
    /// a million calls that end at once hold up neither a cancellation nor a reader.
    async fn work(&mut self, taken: &mut Vec<Message>) {
        let mut done: u32 = 0;
        let mut since = self.now;
        while let Some(action) = self.core.poll_action() {
            // A journal's place: what must be remembered before it is done is remembered here.
            self.perform(action);
            done += 1;
            if !done.is_multiple_of(defaults::TURN_ACTIONS) {
                continue;
            }
            self.look_at_clock();
            if self.now.since(since) >= defaults::TURN_MAX {
                self.flush();
                tokio::task::yield_now().await;
                self.look_at_clock();
                since = self.now;
            }
            while taken.len() < INBOX_BATCH {
                let Ok(message) = self.inbox.try_recv() else { break };
                taken.push(message);
            }
            for message in taken.drain(..) {
                self.take(message);
            }
        }
    }

    fn look_at_clock(&mut self) {
        self.set_clock(Instant::now());
    }

    fn set_clock(&mut self, instant: Instant) {
        self.now = self.now.max(time_of(self.origin, instant));
    }

    fn flush(&mut self) {
        for run in self.touched.drain(..) {
            if let Some(run) = self.runs.get_mut(&run) {
                run.touched = false;
                run.flush();
            }
        }
    }

    /// The events of this run are handed out at the end of the turn.
    fn touch(&mut self, id: RunId) {
        if self.touched.last() != Some(&id)
            && let Some(run) = self.runs.get_mut(&id)
            && !run.touched
        {
            run.touched = true;
            self.touched.push(id);
        }
    }

    fn handle(&mut self, event: Event) {
        self.core.handle(self.now, event);
    }

    // ---- what comes in ----

    fn take(&mut self, message: Message) {
        match message {
            Message::Start(new) => self.begin(*new),
            Message::Add { run, calls, reply } => {
                // Nobody minds when the one who asked does not wait for the answer.
                let _ = reply.send(self.add_calls(run, calls));
            }
            Message::Close { run } => self.close(run),
            Message::Cancel { run, call, force } => self.cancel(run, call.as_deref(), force),
            Message::Pause { run } => self.pause(run, true),
            Message::Resume { run } => self.pause(run, false),
            Message::Settle { run, call, answer } => self.settle(run, &call, answer),
            Message::Snapshot { run, reply } => {
                if let Some(data) = self.runs.get(&run) {
                    // As above.
                    let _ = reply.send(snapshot::take(&self.core, &self.tables, data, self.now));
                }
            }
            Message::Finished { attempt, result } => {
                if let Some(live) = self.attempts.reported(attempt) {
                    self.finish(attempt, result, live.started);
                }
            }
            Message::Progressed { attempt } => self.handle(Event::Progressed { attempt }),
            Message::Shutdown => self.shut_down(),
        }
    }

    fn begin(&mut self, new: NewRun) {
        let NewRun { translated, plan, weight, open, events, seed, parent, shared } = new;
        let id = translated.run;
        let names = (shared.0.id.clone(), shared.0.name.clone());
        let mut run = Box::new(RunData::new(id, plan, names, self.now));
        run.shared = Some(shared);
        run.limit_names = translated.limit_names;
        run.settings = translated.settings;
        run.open = open;
        run.events = events.then(Vec::new);
        run.list(0, translated.keys, self.now);
        run.emit(self.now, |run| What::RunStarted {
            run: run.names.0.clone(),
            name: run.names.1.clone(),
            calls: run.plan.calls.len(),
        });
        let spec = RunSpec {
            run: id,
            weight,
            deadline: run.plan.deadline.map(|deadline| self.now.after(deadline)),
            stop_on_failure: run.plan.on_failure == fanout_plan::PlanOnFailure::Stop,
            open,
            seed,
            limits: translated.limits,
            parent,
            calls: translated.calls,
        };
        self.runs.insert(id, run);
        self.touch(id);
        self.handle(Event::RunAdded(Box::new(spec)));
    }

    fn add_calls(&mut self, id: RunId, calls: Vec<Call>) -> Result<(), Vec<Diagnostic>> {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.open) else { return Err(vec![run_ended()]) };
        let valid = run.plan.extend(calls)?;
        let first = run.plan.calls.len();
        if let Some(shared) = &run.shared {
            shared.0.log.name(valid.iter().map(|call| call.id.clone()));
        }
        run.plan.calls.extend(valid);
        let added = translate::calls(&self.tables, &run.plan, first, &mut run.settings);
        run.list(first, added.keys, self.now);
        self.handle(Event::CallsAdded { run: id, calls: added.calls });
        Ok(())
    }

    fn close(&mut self, id: RunId) {
        if let Some(run) = self.runs.get_mut(&id).filter(|run| run.open) {
            run.open = false;
            self.handle(Event::RunClosed { run: id });
        }
    }

    fn cancel(&mut self, id: RunId, call: Option<&str>, force: bool) {
        self.touch(id);
        let Some(run) = self.runs.get_mut(&id) else { return };
        let call = match call {
            None => {
                run.cancelled = true;
                run.emit(self.now, |_| What::RunCancelling { force });
                None
            }
            Some(name) => match run.find(name) {
                Some(call) => Some(call.call),
                None => return,
            },
        };
        self.handle(Event::CancelRequested { run: id, call, force });
        if call.is_none() {
            // Nothing that could be added would start.
            self.close(id);
        }
    }

    fn pause(&mut self, id: RunId, paused: bool) {
        self.touch(id);
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.paused != paused) else { return };
        run.paused = paused;
        run.emit(self.now, |_| if paused { What::RunPaused } else { What::RunResumed });
        self.handle(if paused { Event::PauseRequested { run: id } } else { Event::ResumeRequested { run: id } });
    }

    fn settle(&mut self, id: RunId, call: &str, answer: DoubtAnswer) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(call) = run.find(call) else { return };
        let Some(slot) = run.slot_mut(call) else { return };
        let Some(attempt) = slot.more.as_mut().and_then(|more| more.doubt.take()) else { return };
        let answer = match answer {
            DoubtAnswer::Rerun => fanout_core::DoubtAnswer::Rerun,
            DoubtAnswer::Fail => fanout_core::DoubtAnswer::Fail,
            DoubtAnswer::Succeeded(value) => {
                slot.result = serde_json::value::to_raw_value(&value).ok().map(Arc::from);
                fanout_core::DoubtAnswer::Succeeded
            }
        };
        self.handle(Event::DoubtSettled { attempt: AttemptRef { call, attempt }, answer });
    }

    fn shut_down(&mut self) {
        self.closing = true;
        let mut runs: Vec<RunId> = self.runs.keys().copied().collect();
        runs.sort_unstable();
        for run in runs {
            self.cancel(run, None, true);
        }
    }

    // ---- what the core orders ----

    fn perform(&mut self, action: Action) {
        match action {
            Action::Resolve { call, again } => {
                self.touch(call.run);
                let Some(run) = self.runs.get_mut(&call.run) else { return };
                let resolution = resolve::resolve(&self.tables, run, call, again);
                if let fanout_core::Resolution::Elements(elements) = resolution {
                    run.emit(self.now, |run| What::CallExpanded { call: run.call_id(call), elements });
                }
                self.handle(Event::Resolved { call, resolution });
            }
            Action::Start { attempt, after_doubt } => self.start(attempt, after_doubt),
            Action::Abort { attempt, reason } => {
                self.attempts.abort(attempt);
                if let Some(slot) = self.runs.get_mut(&attempt.call.run).and_then(|run| run.slot_mut(attempt.call)) {
                    slot.more().aborted = Some(reason);
                }
                self.emit(attempt.call, |run| What::CallAborted {
                    call: run.call_id(attempt.call),
                    attempt: attempt.attempt,
                    reason: abort_reason(reason).into(),
                });
            }
            Action::Retry { attempt, due } => self.retry(attempt, due),
            Action::Ask { attempt, until: _ } => {
                self.give_up(attempt);
                if let Some(run) = self.runs.get_mut(&attempt.call.run)
                    && let Some(slot) = run.slot_mut(attempt.call)
                {
                    slot.more().doubt = Some(attempt.attempt);
                }
                self.emit(attempt.call, |run| What::CallDoubted {
                    call: run.call_id(attempt.call),
                    attempt: attempt.attempt,
                });
            }
            Action::Ended(end) => self.ended(end),
            Action::RunEnded { run, deadline_passed } => self.run_ended(run, deadline_passed),
        }
    }

    fn emit(&mut self, call: CallRef, what: impl FnOnce(&RunData) -> What) {
        self.touch(call.run);
        if let Some(run) = self.runs.get_mut(&call.run) {
            run.emit(self.now, what);
        }
    }

    fn start(&mut self, attempt: AttemptRef, after_doubt: bool) {
        let call = attempt.call;
        if attempt.attempt > 1 {
            // The one before may have been given up without having ended.
            self.give_up(AttemptRef { call, attempt: attempt.attempt - 1 });
        }
        self.touch(call.run);
        let Some(run) = self.runs.get_mut(&call.run) else { return };
        run.note(self.now, |run| Happened::Started {
            call: call.into(),
            tool: run.tool(call),
            attempt: attempt.attempt,
            after_doubt,
        });
        if after_doubt && let Some(slot) = run.slot_mut(call) {
            slot.more().after_doubt = true;
        }
        let valid = run.call(call);
        let resolved = run.slot(call).and_then(|slot| slot.more.as_ref()?.args.as_ref());
        let Some(args) = resolved.or_else(|| valid.args.literal()).cloned() else {
            debug_assert!(false, "a call starts resolved");
            return;
        };
        let start = ToStart {
            attempt,
            tool: valid.tool,
            run: run.names.0.clone(),
            call: run.call_id(call),
            args,
            progress: valid.settings.idle_timeout.is_some(),
        };
        // Looked at anew, since what was done before in this turn is not this attempt's time.
        let started = Instant::now();
        if let Some((result, now)) = self.attempts.start(start, started) {
            self.set_clock(now);
            self.finish(attempt, result, started);
        }
    }

    fn finish(&mut self, attempt: AttemptRef, result: ToolResult, started: Instant) {
        let Some(run) = self.runs.get_mut(&attempt.call.run) else { return };
        let Some(slot) = run.slot_mut(attempt.call) else { return };
        let ran = self.now.since(time_of(self.origin, started)).as_nanos();
        slot.ran_ns = slot.ran_ns.saturating_add(u64::try_from(ran).unwrap_or(u64::MAX));
        let end = match result {
            Ok(output) => {
                slot.result = Some(output.value);
                if output.usage.is_some() {
                    slot.more().usage = output.usage;
                }
                AttemptEnd::Succeeded
            }
            Err(error) => {
                let reached = reached(error.reached);
                let end = match error.class {
                    ErrorClass::Transient => {
                        AttemptEnd::Failed { class: FailureClass::Transient, reached, retry_after: error.retry_after }
                    }
                    ErrorClass::Permanent => {
                        AttemptEnd::Failed { class: FailureClass::Permanent, reached, retry_after: error.retry_after }
                    }
                    ErrorClass::Aborted => AttemptEnd::Aborted { reached },
                };
                let more = slot.more();
                // An attempt that was told to end failed by what it was told for, not by ending.
                let (code, message) = match (error.class, more.aborted.take()) {
                    (ErrorClass::Aborted, Some(reason)) => (abort_reason(reason), abort_message(reason).to_owned()),
                    _ => (error.code, error.message),
                };
                let error = CallError { code: code.into(), message, detail: error.detail };
                more.error = Some(Box::new(error));
                end
            }
        };
        self.handle(Event::Finished { attempt, end });
    }

    /// Nobody waits for this attempt any more, whether or not it has ended.
    fn give_up(&mut self, attempt: AttemptRef) {
        let Some(live) = self.attempts.give_up(attempt) else { return };
        let ran = self.now.since(time_of(self.origin, live.started)).as_nanos();
        if let Some(slot) = self.runs.get_mut(&attempt.call.run).and_then(|run| run.slot_mut(attempt.call)) {
            slot.ran_ns = slot.ran_ns.saturating_add(u64::try_from(ran).unwrap_or(u64::MAX));
        }
    }

    fn retry(&mut self, attempt: AttemptRef, due: Time) {
        let delay_ms = due.since(self.now).as_secs_f64() * 1e3;
        self.emit(attempt.call, |run| {
            let error = run.slot(attempt.call).and_then(|slot| slot.error());
            What::CallRetried {
                call: run.call_id(attempt.call),
                attempt: attempt.attempt,
                code: error.map_or_else(|| "in_doubt".to_owned(), |error| error.code.to_string()),
                message: error.map_or_else(String::new, |error| error.message.clone()),
                delay_ms,
            }
        });
    }

    fn ended(&mut self, end: Box<CallEnd>) {
        let call = end.call;
        self.touch(call.run);
        self.give_up(AttemptRef { call, attempt: end.attempts });
        let Some(run) = self.runs.get_mut(&call.run) else { return };
        ended::record(run, &end);
        run.note(self.now, |run| ended::event(run, call));
    }

    fn run_ended(&mut self, id: RunId, deadline_passed: bool) {
        let Some(mut run) = self.runs.remove(&id) else { return };
        let outcome = if run.cancelled || deadline_passed {
            RunOutcome::Cancelled
        } else if run.failed {
            RunOutcome::Failed
        } else if run.call_cancelled {
            RunOutcome::Cancelled
        } else {
            RunOutcome::Succeeded
        };
        run.emit(self.now, |_| What::RunEnded { outcome });
        run.flush();
        let ended = self.now;
        let shared: Option<SharedGuard> = run.shared.take();
        let data = EndedRun { run, outcome, ended, tables: self.tables.clone() };
        if let Some(shared) = shared {
            shared.0.end(Some(Box::new(data)));
        }
    }
}

/// A moment as the core counts it.
fn time_of(origin: Instant, instant: Instant) -> Time {
    Time(u64::try_from(instant.saturating_duration_since(origin).as_nanos()).unwrap_or(u64::MAX))
}
