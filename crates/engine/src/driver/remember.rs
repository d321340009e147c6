//! Remembering: what the core is told and orders about durable runs goes to the journal in batches, and
//! what must not be done before it is on disk waits for its commit.
//! It does not know how records are written, nor how they are told again (`recover.rs`).

use super::Driver;
use crate::disk::Question;
use crate::durable::Owned;
use crate::ended::{self, EndedRun};
use crate::event::RunOutcome;
use crate::handle::SharedGuard;
use crate::message::Message;
use crate::report::{CallError, Report};
use crate::run::RunData;
use crate::words::run_outcome_name;
use fanout_core::{AttemptEnd, AttemptRef, CallEnd, CallRef, CallState, Event, Outcome, RunId, Time};
use fanout_store::{
    ApprovalGiven, Batch, CacheChange, CallAt, Committed, Counts, Ended, ErrorText, Fact, Finished, INLINE_BYTES_MAX,
    Journal, JsonText, Record, Resolved, RunNumber, RunState, StoreError, Summary, Ticket, Waited,
};
use fanout_tools::{ErrorClass, Reached, ToolError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Room for so many records is kept at most: those of a turn of many calls.
const RECORDS_RESERVED_MAX: usize = 4_096;

/// What of the runs of an engine is being remembered.
pub(crate) struct Memory {
    journal: Arc<Journal>,
    /// What this turn wants remembered.
    batch: Batch,
    /// What waits for this turn's batch.
    turn: Vec<Held>,
    /// What waits for batches that were handed over, in order.
    held: VecDeque<(Ticket, Held)>,
    /// Runs of which this turn remembers something, some more than once.
    noted: Vec<RunId>,
    /// Runs that have ended and whose account is being made or written.
    ending: usize,
    /// A batch that was handed over, and when.
    timed: Option<(Ticket, Time)>,
    /// How long it takes now at least until one is on disk, however small it is.
    commit_time_min: Duration,
    /// Nothing more can be remembered.
    failed: Option<StoreError>,
}

/// What waits until what was remembered before it is on disk.
pub(super) enum Held {
    /// An attempt of a call that may write.
    Start(AttemptRef),
    /// The end of a run.
    End(Box<Accounted>),
    /// Somebody who waits for what was noted before.
    Left(oneshot::Sender<()>),
    /// A call that looks into the cache on disk.
    Look(Box<Question>),
    /// The end of a run that is not recorded, but kept results on disk.
    Over(SharedGuard, Box<EndedRun>),
}

/// A durable run that has ended, with its account.
pub(crate) struct Accounted {
    owned: Owned,
    shared: SharedGuard,
    outcome: RunOutcome,
    counts: Counts,
    report: Report,
    text: Option<JsonText>,
}

impl Memory {
    pub(crate) fn new(journal: Arc<Journal>) -> Memory {
        Memory {
            journal,
            batch: Batch::default(),
            turn: Vec::new(),
            held: VecDeque::new(),
            noted: Vec::new(),
            ending: 0,
            timed: None,
            commit_time_min: Duration::ZERO,
            failed: None,
        }
    }

    pub(super) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Nothing more can be remembered.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// The cache on disk changes with this turn.
    pub(super) fn change(&mut self, change: CacheChange) {
        self.batch.cache.push(change);
    }

    /// Holds something back until what was changed of the cache before is on disk; `changed` is the last batch with a
    /// change. Gives it back where it need not wait.
    pub(super) fn hold(&mut self, what: Held, changed: Ticket) -> Option<Held> {
        let (noted, under_way) = (!self.batch.cache.is_empty(), self.journal.durable() < changed);
        if self.failed.is_some() || !(noted || under_way) {
            return Some(what);
        }
        self.ending += usize::from(matches!(what, Held::Over(..)));
        if noted {
            self.turn.push(what);
        } else {
            // What is held is in the order of tickets.
            let last = self.held.back().map_or(changed, |(ticket, _)| (*ticket).max(changed));
            self.held.push_back((last, what));
        }
        None
    }

    /// Whether everything is on disk that somebody waits for.
    pub(crate) fn is_idle(&self) -> bool {
        self.ending == 0
    }
}

impl Driver {
    /// Whether anything that happens now may have to be remembered: a run that is not durable costs nothing else.
    pub(super) fn remembers(&self) -> bool {
        self.durable > 0 || self.shelf.is_some()
    }

    /// Notes a fact about a durable run. While its record is told again, nothing is noted.
    pub(super) fn note(&mut self, id: RunId, fact: impl FnOnce(&RunData) -> Option<Fact>) {
        if self.durable == 0 {
            return;
        }
        let Some(memory) = self.memory.as_mut().filter(|memory| memory.failed.is_none()) else { return };
        let Some(run) = self.runs.get(&id).filter(|run| run.recovering.is_none()) else { return };
        let Some(number) = run.durable.as_ref().map(Owned::number) else { return };
        let Some(fact) = fact(run) else { return };
        if memory.noted.last() != Some(&id) {
            memory.noted.push(id);
        }
        memory.batch.records.push((number, Record { at: self.now, fact }));
    }

    /// Hands over what this turn noted, in one batch.
    pub(super) fn remember(&mut self) {
        let Some(memory) = &mut self.memory else { return };
        memory.noted.sort_unstable();
        memory.noted.dedup();
        for id in memory.noted.drain(..) {
            let Some(run) = self.runs.get(&id) else { continue };
            let Some(number) = run.durable.as_ref().map(Owned::number) else { continue };
            memory.batch.summaries.push(summary(number, run, self.now));
        }
        if memory.batch.is_empty() {
            return;
        }
        let changes = !memory.batch.cache.is_empty();
        // The next is about as large.
        let records = Vec::with_capacity(memory.batch.records.len().min(RECORDS_RESERVED_MAX));
        match memory.journal.append(std::mem::replace(&mut memory.batch, Batch { records, ..Batch::default() })) {
            Ok(ticket) => {
                memory.timed.get_or_insert((ticket, self.now));
                memory.held.extend(memory.turn.drain(..).map(|held| (ticket, held)));
                if let Some(shelf) = self.shelf.as_mut().filter(|_| changes) {
                    shelf.changed(ticket);
                }
            }
            Err(error) => self.journal_failed(error),
        }
    }

    /// In the middle of a turn: hands over what starts wait for, as soon as more work was done for it than a small commit
    /// takes, and the journal has nothing to do. So it writes while the driver goes on, which is worth one commit more:
    /// what is left of the turn is handed over when this is written, and from then on the two take turns. On a slow disk
    /// more wait for each sync instead.
    pub(super) fn remember_early(&mut self) {
        let Some(memory) = self.memory.as_ref().filter(|memory| !memory.turn.is_empty()) else { return };
        let Some((_, first)) = memory.batch.records.first().filter(|_| memory.journal.is_idle()) else { return };
        let (began, commit_time) = (first.at, memory.commit_time_min);
        self.look_at_clock();
        if self.now.since(began) >= commit_time {
            self.remember();
        }
    }

    /// The process is about to end: nothing new starts, and whoever says so is told when all is on disk.
    pub(super) fn leave(&mut self, id: RunId, reply: oneshot::Sender<()>) {
        self.pause(id, true);
        // Once more, so that there is a batch for the answer to wait for; being paused twice is being paused.
        self.note(id, |_| Some(Fact::PauseRequested));
        if let Some(memory) = self.memory.as_mut().filter(|memory| !memory.batch.is_empty()) {
            memory.turn.push(Held::Left(reply));
        }
    }

    /// The journal tells how far it is.
    pub(super) fn committed(&mut self, committed: Committed) {
        let upto = match committed {
            Committed::UpTo(ticket) => ticket,
            Committed::Stopped(error) => return self.journal_failed(error),
            Committed::Evicted(evicted) => return self.evicted(&evicted),
        };
        if let Some(memory) = &mut self.memory
            && let Some((_, at)) = memory.timed.take_if(|(ticket, _)| *ticket <= upto)
        {
            // The shortest of late, so that how much there was to write does not count. It follows a disk that gets slower.
            let (took, known) = (self.now.since(at), memory.commit_time_min);
            memory.commit_time_min = if known.is_zero() { took } else { took.min(known + known / 8) };
        }
        while let Some(memory) = &mut self.memory {
            if memory.held.front().is_none_or(|(ticket, _)| *ticket > upto) {
                return;
            }
            match memory.held.pop_front() {
                Some((_, Held::Start(attempt))) => self.launch_recorded(attempt),
                Some((_, Held::End(ended))) => self.announce(*ended),
                // Whoever asked may be gone.
                Some((_, Held::Left(reply))) => _ = reply.send(()),
                Some((_, Held::Look(question))) => self.ask_disk(*question),
                Some((_, Held::Over(shared, data))) => self.over(&shared, data),
                None => return,
            }
        }
    }

    /// Nothing more can be remembered: durable runs end as soon as they can, and nothing is started that nobody
    /// would know of.
    fn journal_failed(&mut self, error: StoreError) {
        let Some(memory) = &mut self.memory else { return };
        if memory.failed.is_none() {
            memory.failed = Some(error.clone());
        }
        memory.batch = Batch::default();
        self.lose_disk();
        let Some(memory) = &mut self.memory else { return };
        let held: Vec<Held> = memory.held.drain(..).map(|(_, held)| held).chain(memory.turn.drain(..)).collect();
        for held in held {
            match held {
                Held::Start(attempt) => self.refuse_start(attempt, &error),
                Held::End(ended) => self.announce(*ended),
                Held::Left(_) => {}
                Held::Look(question) => self.ask_disk(*question),
                Held::Over(shared, data) => self.over(&shared, data),
            }
        }
        let mut durable: Vec<RunId> =
            self.runs.values().filter(|run| run.durable.is_some() && !run.cancelled).map(|run| run.id).collect();
        durable.sort_unstable();
        for id in durable {
            if let Some(run) = self.runs.get_mut(&id) {
                run.journal_error = Some(error.message.clone());
            }
            self.cancel(id, None, false);
        }
    }

    /// Starts an attempt, or lets it wait until its record is on disk where it may write.
    pub(super) fn start_recorded(&mut self, attempt: AttemptRef, after_doubt: bool) {
        let id = attempt.call.run;
        self.note(id, |_| Some(Fact::Started { attempt: attempt.into(), after_doubt }));
        let Some(run) = self.runs.get(&id) else { return };
        // What writes waits also where only the cache on disk has to know.
        let read_only = run.call(attempt.call).effects.read_only();
        let noted = run.durable.is_some() || (self.shelf.is_some() && !read_only);
        let Some(memory) = self.memory.as_mut().filter(|_| noted) else { return self.launch(attempt) };
        match &memory.failed {
            Some(error) => {
                let error = error.clone();
                self.refuse_start(attempt, &error);
            }
            // A write that is lost with the results before it could be seen by those when they are read again, so also
            // one that may be done twice waits.
            None if read_only => self.launch(attempt),
            None => memory.turn.push(Held::Start(attempt)),
        }
    }

    /// The record of a start is on disk. Meanwhile the attempt may have been told to end, or given up.
    fn launch_recorded(&mut self, attempt: AttemptRef) {
        let view = self.core.view().call(attempt.call).filter(|view| view.attempt == attempt.attempt);
        match view.map(|view| view.state) {
            Some(CallState::Running) => self.launch(attempt),
            Some(CallState::Aborting) => self.never_started(attempt, ToolError::aborted(Reached::No)),
            _ => {}
        }
    }

    fn refuse_start(&mut self, attempt: AttemptRef, error: &StoreError) {
        let message = format!("it was not started, since that could not be recorded: {}", error.message);
        let refused = ToolError::permanent(message).code("journal_failed").reached(Reached::No);
        self.never_started(attempt, refused);
    }

    fn never_started(&mut self, attempt: AttemptRef, error: ToolError) {
        debug_assert!(error.reached == Reached::No || error.class == ErrorClass::Aborted);
        self.finished(attempt, Err(error), self.now);
    }

    /// What the core is about to be told, as a fact.
    pub(super) fn note_event(&mut self, event: &Event) {
        match event {
            Event::Resolved { call, resolution } => self.note(call.run, |run| {
                let error = run.slot(*call).and_then(|slot| slot.error());
                let refused = matches!(resolution, fanout_core::Resolution::Error | fanout_core::Resolution::Denied);
                let asked = matches!(resolution, fanout_core::Resolution::Ask { .. });
                let args = run.args(*call).filter(|args| asked && args.get().len() <= INLINE_BYTES_MAX);
                Some(Fact::Resolved(Resolved {
                    call: (*call).into(),
                    resolution: resolution.clone(),
                    args: args.map(|args| args.get().to_owned()),
                    error: error.filter(|_| refused).map(error_text),
                }))
            }),
            Event::Finished { attempt, end } => {
                self.note(attempt.call.run, |run| Some(Fact::Finished(finished(run, *attempt, *end))));
            }
            Event::DoubtSettled { attempt, answer } => self.note(attempt.call.run, |run| {
                let value = matches!(answer, fanout_core::DoubtAnswer::Succeeded).then(|| run.text(attempt.call));
                Some(Fact::DoubtSettled {
                    attempt: (*attempt).into(),
                    answer: *answer,
                    value: value.flatten().map(Into::into),
                })
            }),
            Event::CancelRequested { run, call, force } => {
                self.note(*run, |_| Some(Fact::CancelRequested { call: *call, force: *force }));
            }
            Event::RunClosed { run } => self.note(*run, |_| Some(Fact::RunClosed)),
            Event::PauseRequested { run } => self.note(*run, |_| Some(Fact::PauseRequested)),
            Event::ResumeRequested { run } => self.note(*run, |_| Some(Fact::ResumeRequested)),
            _ => {}
        }
    }

    /// An answer to a call that needed approval.
    pub(super) fn note_approval(&mut self, call: CallRef, resolution: &fanout_core::Resolution, edited: bool) {
        self.note(call.run, |run| {
            let claims = match resolution {
                fanout_core::Resolution::Run { claims, .. } => claims.clone(),
                _ => None,
            };
            let approved = !matches!(resolution, fanout_core::Resolution::Denied);
            let error = run.slot(call).and_then(|slot| slot.error()).filter(|_| !approved);
            Some(Fact::ApprovalGiven(ApprovalGiven {
                call: call.into(),
                approved,
                args: run.args(call).filter(|_| edited).cloned().map(Into::into),
                claims,
                error: error.map(error_text),
            }))
        });
    }

    /// What happens because the deadline passed stands behind its passing.
    pub(super) fn note_deadline(&mut self, id: RunId, because: bool) {
        if !because || self.durable == 0 {
            return;
        }
        let Some(run) = self.runs.get_mut(&id) else { return };
        if !std::mem::replace(&mut run.deadline_noted, true) {
            self.note(id, |_| Some(Fact::DeadlinePassed));
        }
    }

    /// A call has ended: its account, before what is not needed any more goes.
    pub(super) fn note_ended(&mut self, end: &CallEnd) {
        if self.durable == 0 {
            return;
        }
        let asked = |run: &RunData| {
            let more = run.slot(end.call).and_then(|slot| slot.more.as_ref());
            more.is_some_and(|more| more.asked || more.doubt.is_some())
        };
        if end.reason == fanout_core::Reason::Timeout {
            let unanswered = |run: &RunData| asked(run).then(|| Fact::Unanswered { call: end.call.into() });
            self.note(end.call.run, unanswered);
        }
        let tables = self.tables.clone();
        self.note(end.call.run, |run| {
            let slot = run.slot(end.call)?;
            let waits = end.waits.iter().map(|wait| {
                let (cause, on, key) = ended::cause(run, &tables, end.call, slot, wait.cause);
                Waited { cause: cause.into(), on, key, ns: wait.ns }
            });
            let waits = waits.collect();
            let call: CallAt = end.call.into();
            Some(Fact::Ended(Ended { call, outcome: end.outcome, started: end.started, waits }))
        });
    }

    /// A durable run has ended: its account is made beside the loop, then written, then told.
    pub(super) fn account_durable(&mut self, owned: Owned, shared: SharedGuard, data: Box<EndedRun>) {
        if let Some(memory) = &mut self.memory {
            memory.ending += 1;
        }
        let (outcome, counts) = (data.outcome, counts(&data.run));
        let inbox = self.sender.clone();
        tokio::task::spawn_blocking(move || {
            let report = data.account();
            let text = serde_json::value::to_raw_value(&report).ok().map(JsonText::from);
            let accounted = Accounted { owned, shared, outcome, counts, report, text };
            // Fails only when the driver is gone, and then nobody waits.
            let _ = inbox.send(Message::Accounted(Box::new(accounted)));
        });
    }

    pub(super) fn accounted(&mut self, mut ended: Accounted) {
        let Some(memory) = &mut self.memory else { return };
        if memory.failed.is_some() {
            return self.announce(ended);
        }
        let number = ended.owned.number();
        let report = ended.text.take().map(Into::into);
        let outcome = run_outcome_name(ended.outcome).to_owned();
        memory.batch.records.push((number, Record { at: self.now, fact: Fact::RunEnded { outcome, report } }));
        let state = match ended.outcome {
            RunOutcome::Succeeded => RunState::Succeeded,
            RunOutcome::Failed => RunState::Failed,
            RunOutcome::Cancelled => RunState::Cancelled,
        };
        memory.batch.summaries.push(Summary { run: number, state, counts: ended.counts, at: self.now });
        memory.turn.push(Held::End(Box::new(ended)));
    }

    fn over(&mut self, shared: &SharedGuard, data: Box<EndedRun>) {
        if let Some(memory) = &mut self.memory {
            memory.ending -= 1;
        }
        shared.0.end(Some(data));
    }

    fn announce(&mut self, ended: Accounted) {
        if let Some(memory) = &mut self.memory {
            memory.ending -= 1;
        }
        // Its lock first: whoever hears of the end may want to remove it. All of it is on disk, or nothing more gets
        // there.
        ended.owned.release();
        ended.shared.0.end_with(ended.report);
    }
}

fn finished(run: &RunData, attempt: AttemptRef, end: AttemptEnd) -> Finished {
    let slot = run.slot(attempt.call);
    let error = slot.and_then(|slot| slot.error()).filter(|_| end != AttemptEnd::Succeeded);
    let value = run.text(attempt.call).filter(|_| end == AttemptEnd::Succeeded);
    let usage = slot.and_then(|slot| slot.more.as_ref()?.usage);
    Finished {
        attempt: attempt.into(),
        end,
        value: value.map(Into::into),
        error: error.map(error_text),
        usage: usage.map(|usage| (usage.cpu, usage.memory_bytes_max)),
    }
}

fn error_text(error: &CallError) -> Box<ErrorText> {
    let CallError { code, message, detail } = error;
    Box::new(ErrorText { code: code.to_string(), message: message.clone(), detail: detail.clone() })
}

fn summary(number: RunNumber, run: &RunData, at: Time) -> Summary {
    let state = match () {
        () if !run.questions.is_empty() => RunState::Waiting,
        () if run.paused => RunState::Paused,
        () => RunState::Running,
    };
    Summary { run: number, state, counts: counts(run), at }
}

fn counts(run: &RunData) -> Counts {
    let all = run.listed_calls() + run.counts.elements - run.counts.expanded;
    let count = |of: Outcome| run.counts.by_outcome[of as usize] as u64;
    Counts {
        calls: all as u64,
        succeeded: count(Outcome::Succeeded),
        failed: count(Outcome::Failed),
        skipped: count(Outcome::Skipped),
        cancelled: count(Outcome::Cancelled),
        denied: count(Outcome::Denied),
        in_doubt: count(Outcome::InDoubt),
    }
}
