//! The only loop: decide → do → wait. It owns the core and the data of all runs of an engine.
//! It does not know why anything happens next (the core does), nor how a tool is called (adapters do).

use crate::approval::{self, Approve};
use crate::attempts::{Attempts, Started, ToStart};
use crate::durable::{Owned, wall_clock};
use crate::ended::{self, EndedRun};
use crate::event::{RunOutcome, What};
use crate::event_log::Happened;
use crate::handle::{DoubtAnswer, EngineInner, SharedGuard, not_asked};
use crate::message::{Message, NewRun};
use crate::report::CallError;
use crate::reuse::Kept;
use crate::run::RunData;
use crate::tables::Tables;
use crate::telling::Telling;
use crate::words::{abort_message, abort_reason, reached};
use crate::{defaults, forget, resolve, snapshot};
use fanout_core::{
    Action, AttemptEnd, AttemptRef, CallEnd, CallRef, CallState, CallView, Core, Event, FailureClass, RunId, RunSpec,
    Time,
};
use fanout_store::{CacheBounds, Fact, Journal, RunStarted};
use fanout_tools::{ErrorClass, Tool, ToolResult};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

mod added;
mod cache;
mod recover;
mod remember;

use cache::Shelf;
pub(crate) use remember::Accounted;
use remember::Memory;

/// Messages taken from the inbox at once.
const INBOX_BATCH: usize = 4_096;

/// The driver of one engine. Everything it does happens in [`Driver::drive`], in one task.
pub(crate) struct Driver {
    core: Core,
    tables: Arc<Tables>,
    runs: HashMap<RunId, Box<RunData>, BuildHasherDefault<ByNumber>>,
    attempts: Attempts,
    inbox: UnboundedReceiver<Message>,
    /// The moment the core's clock counts from.
    origin: Instant,
    /// That moment in wall-clock time: the core's clock goes on from process to process.
    base: Time,
    /// The clock as of the last look; the core never sees it go back.
    now: Time,
    /// Actions done since that look.
    done_since: u32,
    /// Runs that may have events to hand out.
    touched: Vec<RunId>,
    /// Results of attempts of durable runs, to be told when all that came before them is done.
    done: VecDeque<(AttemptRef, ToolResult, Time)>,
    /// Values that may be handed on.
    kept: Kept,
    /// What is remembered, where there is a journal.
    memory: Option<Memory>,
    /// How many runs are durable.
    durable: usize,
    /// The cache on disk, where results may be kept there.
    shelf: Option<Shelf>,
    cache_bounds: CacheBounds,
    sender: UnboundedSender<Message>,
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
        (journal, cache_bounds): (Option<Arc<Journal>>, CacheBounds),
    ) -> Driver {
        let mut core = Core::new();
        for event in tables.events() {
            core.handle(Time(0), event);
        }
        let attempts = Attempts::new(tools, &tables.catalog, sender.clone(), engine);
        let runs = HashMap::default();
        Driver {
            core,
            tables,
            runs,
            attempts,
            inbox,
            origin: Instant::now(),
            now: Time(0),
            done_since: 0,
            base: wall_clock(),
            touched: Vec::new(),
            done: VecDeque::new(),
            kept: Kept::default(),
            memory: journal.map(Memory::new),
            durable: 0,
            shelf: None,
            cache_bounds,
            sender,
            closing: false,
        }
    }

    /// Runs until the last engine handle is gone and all runs have ended.
    pub(crate) async fn drive(mut self) {
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut taken = Vec::new();
        loop {
            self.work(&mut taken).await;
            self.evict();
            self.remember();
            self.flush();
            if self.closing && self.runs.is_empty() && self.memory.as_ref().is_none_or(Memory::is_idle) {
                return;
            }
            match self.core.poll_timeout().map(|due| self.origin + due.since(self.base)) {
                None => _ = self.inbox.recv_many(&mut taken, INBOX_BATCH).await,
                Some(due) => {
                    // One that is set too early is left: it costs a look when it fires, and resetting it one per turn.
                    if timer.deadline() > due || timer.is_elapsed() {
                        timer.as_mut().reset(due);
                    }
                    tokio::select! {
                        biased;
                        _ = self.inbox.recv_many(&mut taken, INBOX_BATCH) => {}
                        () = timer.as_mut() => {}
                    }
                }
            }
            if !taken.is_empty() && self.attempts.in_tasks() >= defaults::GATHER_MIN {
                self.gather(&mut taken).await;
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

    /// Lets the tasks run that are ready, and takes what they say too: a message wakes the driver before them, and a
    /// turn for each would cost more than what is done in it.
    async fn gather(&mut self, taken: &mut Vec<Message>) {
        let mut stood_back = false;
        // Unlike Tokio's own, this leaves it where another thread can take it when the tasks before it take long.
        poll_fn(|context| {
            if std::mem::replace(&mut stood_back, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.take_waiting(taken);
    }

    fn take_waiting(&mut self, taken: &mut Vec<Message>) {
        while taken.len() < INBOX_BATCH {
            let Ok(message) = self.inbox.try_recv() else { break };
            taken.push(message);
        }
    }

    /// Does all that the core orders. Now and then it looks at the inbox too, and lets other tasks run, so that
    /// a million calls that end at once hold up neither a cancellation nor a reader.
    async fn work(&mut self, taken: &mut Vec<Message>) {
        let mut done: u32 = 0;
        let mut since = self.now;
        while let Some(action) = self.next_action() {
            self.perform(action);
            done += 1;
            if done.is_multiple_of(defaults::REMEMBER_ACTIONS) {
                self.remember_early();
            }
            if !done.is_multiple_of(defaults::TURN_ACTIONS) {
                continue;
            }
            self.look_at_clock();
            if self.now.since(since) >= defaults::TURN_MAX {
                self.remember();
                self.flush();
                tokio::task::yield_now().await;
                self.look_at_clock();
                since = self.now;
            }
            self.take_waiting(taken);
            for message in taken.drain(..) {
                self.take(message);
            }
        }
    }

    /// The next order; when there is none, the next result of a durable run's attempt is told first. So each fact is
    /// recorded behind all that came before it.
    fn next_action(&mut self) -> Option<Action> {
        loop {
            if let Some(action) = self.core.poll_action() {
                return Some(action);
            }
            if self.done.is_empty() {
                return None;
            }
            self.core.handle(self.now, Event::Tick);
            if let Some(action) = self.core.poll_action() {
                return Some(action);
            }
            let (attempt, result, started) = self.done.pop_front()?;
            // By now it may have been given up, and what it says counts for nothing.
            let view = self.core.view().call(attempt.call);
            let runs = |view: CallView| matches!(view.state, CallState::Running | CallState::Aborting);
            if view.is_some_and(|view| view.attempt == attempt.attempt && runs(view)) {
                self.finish(attempt, result, started);
            }
        }
    }

    /// Does all that is due and ordered.
    fn settle_turn(&mut self) {
        self.core.handle(self.now, Event::Tick);
        while let Some(action) = self.next_action() {
            self.perform(action);
        }
    }

    /// A moment as the core counts it.
    fn time_of(&self, instant: Instant) -> Time {
        self.base.after(instant.saturating_duration_since(self.origin))
    }

    fn look_at_clock(&mut self) {
        self.now = self.now.max(self.time_of(Instant::now()));
        self.done_since = 0;
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
        if self.remembers() {
            self.note_event(&event);
        }
        self.core.handle(self.now, event);
    }

    // ---- what comes in ----

    fn take(&mut self, message: Message) {
        if self.remembers() {
            // What is due came first, and its record with it.
            self.settle_turn();
        }
        match message {
            Message::Start(new) => self.begin(*new),
            Message::Add { run, calls, reply } => {
                // Nobody minds when the one who asked does not wait for the answer.
                let _ = reply.send(self.add_calls(run, calls));
            }
            Message::Submit { run, call, reply } => self.submit(run, *call, reply),
            Message::Tools(new) => self.set_tools(*new),
            Message::Close { run } => self.close(run),
            Message::Cancel { run, call, force } => self.cancel(run, call.as_deref(), force),
            Message::Pause { run } => self.pause(run, true),
            Message::Resume { run } => self.pause(run, false),
            Message::Settle { run, call, answer } => self.settle(run, &call, answer),
            Message::Approve { run, call, answer, reply } => {
                // As above.
                let _ = reply.send(self.approve(run, &call, answer));
            }
            Message::Leave { run, reply } => self.leave(run, reply),
            Message::Recover(recovery) => self.recover(*recovery),
            Message::Committed(committed) => self.committed(committed),
            Message::LookedUp(answers) => answers.into_iter().for_each(|answer| self.looked_up(answer)),
            Message::Accounted(accounted) => self.accounted(*accounted),
            Message::Snapshot { run, reply } => {
                if let Some(data) = self.runs.get(&run) {
                    // As above.
                    let _ = reply.send(snapshot::take(&self.core, &self.tables, data, self.now));
                }
            }
            Message::Finished { attempt, result } => {
                if let Some(live) = self.attempts.reported(attempt) {
                    self.finished(attempt, result, live.started);
                }
            }
            Message::Progressed { attempt } => self.handle(Event::Progressed { attempt }),
            Message::Told { run, call, attempt, progress } => self.told_progress(run, &call, attempt, *progress),
            Message::Shutdown => self.shut_down(),
        }
    }

    fn begin(&mut self, new: NewRun) {
        self.add_run(new, None);
    }

    /// A run begins, or its record is to be told again: then with its owner, its begin and its deadline.
    fn add_run(&mut self, new: NewRun, recorded: Option<(Owned, Time, Option<Time>)>) {
        let NewRun { translated, plan, weight, open, forget, attended, peer, events, seed, parent, durable, shared } =
            new;
        let id = translated.run;
        let names = (shared.0.id.clone(), shared.0.name.clone());
        let began = recorded.as_ref().map_or(self.now, |(_, began, _)| *began);
        let deadline = match &recorded {
            Some((_, _, deadline)) => *deadline,
            None => plan.deadline.map(|deadline| self.now.after(deadline)),
        };
        let mut run = Box::new(RunData::new(id, plan, names, began));
        run.shared = Some(shared);
        run.limit_names = translated.limit_names;
        run.settings = translated.settings;
        run.open = open;
        run.attended = attended;
        run.peer = peer;
        run.telling = Some(Telling::new(id, self.sender.clone()));
        run.events = events.then(Vec::new);
        run.list(0, translated.keys, began);
        if forget {
            run.forget_added();
        }
        let recovering = recorded.is_some();
        run.recovering = recorded.is_some().then(Default::default);
        let mut begins = None;
        match (durable, recorded) {
            (Some((owned, record)), _) => {
                run.durable = Some(owned);
                begins = Some(Box::new(RunStarted { deadline, seed, open, ..*record }));
            }
            (None, Some((owned, ..))) => run.durable = Some(owned),
            (None, None) => {}
        }
        self.durable += usize::from(run.durable.is_some());
        run.emit(self.now, |run| What::RunStarted {
            run: run.names.0.clone(),
            name: run.names.1.clone(),
            calls: run.plan.calls.len(),
        });
        let stop_on_failure = run.plan.on_failure == fanout_plan::PlanOnFailure::Stop;
        let (limits, calls) = (translated.limits, translated.calls);
        let spec = RunSpec {
            run: id,
            weight,
            deadline,
            stop_on_failure,
            open,
            forget,
            seed,
            limits,
            parent,
            recovering,
            calls,
        };
        self.runs.insert(id, run);
        if let Some(begins) = begins {
            self.note(id, |_| Some(Fact::RunStarted(begins)));
        }
        self.touch(id);
        self.use_disk(id);
        self.handle(Event::RunAdded(Box::new(spec)));
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
                slot.set_text(serde_json::value::to_raw_value(&value).ok().map(Arc::from));
                fanout_core::DoubtAnswer::Succeeded
            }
        };
        run.questions.remove(&call);
        self.handle(Event::DoubtSettled { attempt: AttemptRef { call, attempt }, answer });
    }

    fn approve(&mut self, id: RunId, name: &str, answer: Approve) -> Result<(), Box<CallError>> {
        let refused = || not_asked(name);
        self.touch(id);
        let run = self.runs.get_mut(&id).ok_or_else(refused)?;
        let call = run.find(name).ok_or_else(refused)?;
        let asked = run.slot(call).and_then(|slot| slot.more.as_ref()).is_some_and(|more| more.asked);
        if !asked {
            return Err(refused());
        }
        let edited = matches!(answer, Approve::With(_));
        let resolution = approval::answered(&self.tables, run, call, answer)?;
        if !matches!(resolution, fanout_core::Resolution::Denied) {
            run.emit(self.now, |run| What::ApprovalGiven { call: run.call_id(call), edited });
        }
        self.note_approval(call, &resolution, edited);
        self.core.handle(self.now, Event::Resolved { call, resolution });
        Ok(())
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
        self.done_since += 1;
        match action {
            Action::Resolve { call, again } => {
                self.touch(call.run);
                let Some(run) = self.runs.get_mut(&call.run) else { return };
                if let Some(recovering) = &mut run.recovering {
                    // Its record says what it came to, or it is looked at when all is told.
                    recovering.unresolved.insert(call, again);
                    return;
                }
                let resolution = resolve::resolve(&self.tables, run, call, again);
                match resolution {
                    fanout_core::Resolution::Elements(elements) => {
                        run.emit(self.now, |run| What::CallExpanded { call: run.call_id(call), elements });
                    }
                    fanout_core::Resolution::Ask { bound, .. } => {
                        run.emit(self.now, |run| approval::question(run, &self.tables, call, bound));
                    }
                    _ => {}
                }
                self.handle(Event::Resolved { call, resolution });
            }
            Action::Start { attempt, after_doubt } => self.start(attempt, after_doubt),
            Action::Abort { attempt, reason } => {
                if self.runs.get(&attempt.call.run).is_some_and(|run| run.recovering.is_some()) {
                    return;
                }
                self.note_deadline(attempt.call.run, reason == fanout_core::AbortReason::Deadline);
                self.note(attempt.call.run, |_| Some(Fact::Aborted { attempt: attempt.into(), reason }));
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
            Action::Ask { attempt, until: _ } => self.ask(attempt),
            Action::Ended(end) => self.ended(end),
            Action::Reuse { call, from } => self.reuse(call, from),
            Action::Keep { call, entry } => self.keep(call, entry),
            Action::Forget { entry, why } => self.forget_result(entry, why),
            Action::Look { call, look } => self.look(call, look),
            Action::Store { call, entry, stamp } => self.store(call, entry, stamp),
            Action::OpenWrite { call } => self.open_write(call),
            Action::CloseWrite { call } => self.close_write(call),
            Action::DropCall { call } => {
                if let Some(run) = self.runs.get_mut(&call.run) {
                    forget::forget(run, &self.tables, call.call);
                }
            }
            Action::Illegal { call, why } => {
                if let Some(run) = self.runs.get_mut(&call.run) {
                    let name = run.name_of(call.call);
                    run.differs(&format!("what was recorded of `{name}` cannot have happened ({why:?})"));
                }
            }
            Action::RunEnded { run, deadline_passed } => {
                self.close_writes(run);
                self.run_ended(run, deadline_passed);
            }
        }
    }

    /// An attempt is in doubt, and somebody is asked.
    fn ask(&mut self, attempt: AttemptRef) {
        self.give_up(attempt);
        if let Some(run) = self.runs.get_mut(&attempt.call.run)
            && let Some(slot) = run.slot_mut(attempt.call)
        {
            slot.more().doubt = Some(attempt.attempt);
            run.questions.insert(attempt.call);
            let at = run.moment(self.now);
            run.note_break(attempt.call, at);
        }
        self.emit(attempt.call, |run| What::CallDoubted { call: run.call_id(attempt.call), attempt: attempt.attempt });
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
        if attempt.attempt > 1 {
            run.breaks.over(call, self.now);
        } else {
            cache::count_miss(run, call);
        }
        run.note(self.now, |run| Happened::Started {
            call: call.into(),
            tool: run.tool(call),
            attempt: attempt.attempt,
            after_doubt,
        });
        if after_doubt && let Some(slot) = run.slot_mut(call) {
            slot.more().after_doubt = true;
        }
        if self.remembers() { self.start_recorded(attempt, after_doubt) } else { self.launch(attempt) }
    }

    /// Makes the attempt.
    fn launch(&mut self, attempt: AttemptRef) {
        let call = attempt.call;
        let Some(run) = self.runs.get(&call.run) else { return };
        let valid = run.call(call);
        let Some(args) = run.args(call).cloned() else {
            debug_assert!(false, "a call starts resolved");
            return;
        };
        let tool = valid.tool;
        let start = ToStart {
            attempt,
            tool,
            run: run.names.0.clone(),
            call: run.call_id(call),
            args,
            progress: valid.settings.idle_timeout.is_some(),
            ear: run.telling.as_ref().map(Telling::ear),
            peer: run.peer.clone(),
        };
        // What was done since the last look is not this attempt's time, unless it is next to nothing: as after an
        // attempt that ended at once.
        if self.done_since > defaults::CLOCK_ACTIONS {
            self.look_at_clock();
        }
        let started = self.now;
        let Started { result, polled } = self.attempts.start(start, started);
        if polled {
            self.look_at_clock();
            self.attempts.polled(tool, self.now.since(started));
        }
        if let Some(result) = result {
            self.finished(attempt, result, started);
        }
    }

    /// An attempt ended: told at once, or of a durable run behind all that came before.
    fn finished(&mut self, attempt: AttemptRef, result: ToolResult, started: Time) {
        if self.remembers() {
            self.done.push_back((attempt, result, started));
        } else {
            self.finish(attempt, result, started);
        }
    }

    fn finish(&mut self, attempt: AttemptRef, mut result: ToolResult, started: Time) {
        let ran_ns = self.now.0.saturating_sub(started.0);
        let Some(run) = self.runs.get_mut(&attempt.call.run) else { return };
        let whole = match &mut result {
            Ok(output) => output.whole.take(),
            Err(error) => error.whole.take(),
        };
        run.note_whole(attempt.call, whole);
        let Some(slot) = run.slot_mut(attempt.call) else { return };
        slot.ran_ns = slot.ran_ns.saturating_add(ran_ns);
        let end = match result {
            Ok(output) => {
                slot.set_text(Some(output.value));
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
        let ran_ns = self.now.0.saturating_sub(live.started.0);
        self.note(attempt.call.run, |_| Some(Fact::GivenUp { attempt: attempt.into() }));
        if let Some(slot) = self.runs.get_mut(&attempt.call.run).and_then(|run| run.slot_mut(attempt.call)) {
            slot.ran_ns = slot.ran_ns.saturating_add(ran_ns);
        }
    }

    fn retry(&mut self, attempt: AttemptRef, due: Time) {
        let delay_ms = due.since(self.now).as_secs_f64() * 1e3;
        if let Some(run) = self.runs.get_mut(&attempt.call.run) {
            let at = run.moment(self.now);
            run.note_break(attempt.call, at);
        }
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

    fn ended(&mut self, mut end: CallEnd) {
        let call = end.call;
        self.touch(call.run);
        self.give_up(AttemptRef { call, attempt: end.attempts });
        self.note_deadline(call.run, end.reason == fanout_core::Reason::Deadline);
        self.note_ended(&end);
        self.has_looked(call);
        let Some(run) = self.runs.get_mut(&call.run) else { return };
        if let Some(recovering) = &mut run.recovering {
            // It was then, not now.
            end.ended = recovering.at;
            end.started = recovering.started.remove(&call);
            recovering.unresolved.remove(&call);
        }
        run.questions.remove(&call);
        if let Some(telling) = &run.telling {
            telling.forget(|| run.call_id(call));
        }
        ended::record(run, &end);
        run.note(self.now, |run| ended::event(run, call));
        ended::answer(run, &self.tables, call);
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
        let durable = run.durable.take();
        self.durable -= usize::from(durable.is_some());
        let data = EndedRun { run, outcome, ended, tables: self.tables.clone() };
        match (shared, durable) {
            (Some(shared), Some(owned)) => self.account_durable(owned, shared, Box::new(data)),
            (Some(shared), None) => self.end_run(shared, Box::new(data)),
            (None, _) => {}
        }
    }
}

/// Spreads the numbers of runs, which count up. Looked up several times per call, so it is one multiplication.
#[derive(Default)]
struct ByNumber(u64);

impl Hasher for ByNumber {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        // Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4).
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
