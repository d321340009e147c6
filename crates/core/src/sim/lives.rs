//! Worlds in which the engine dies and its runs live on: what a driver with a journal keeps, and what is left of it.
//! It does not know what is right (that is `oracle`), nor how records are laid out on a disk.
//!
//! A life is a core and a book; the world goes on from one to the next with the effects of all attempts. The record is
//! in order, its commits are acknowledged some time later, and a death loses any part of what was not.

use super::book::{Stage, name};
use super::drive::{Coming, Drive, say_event};
use super::oracle::Oracle;
use super::rng::mix;
use super::shelf::{Op, Stranger};
use super::world::{MS, Timed, World};
use super::{Options, Scheduler, Violation};
use crate::types::*;
use crate::{Core, Fault};
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// What happens to the disk and the engine.
#[derive(Clone, Debug)]
pub(super) enum Disk {
    /// This many records are on disk for good.
    Synced(usize),
    /// A sync failed, or the disk is full: nothing more is kept.
    Failed,
    /// The engine dies.
    Crash,
    /// One run is recovered, or all at once.
    Recover(Option<RunId>),
}

/// What is kept.
#[derive(Clone, Debug)]
enum Record {
    /// What came from outside, by its number in the world.
    Timed(usize),
    Fact(Event),
    /// A change to the disk of results.
    Op(Op),
}

/// The end of a call that is on disk: no later life may tell another.
type Sworn = (Outcome, Reason, Option<u64>);

/// What a driver with a journal keeps.
#[derive(Debug, Default)]
pub(super) struct Journal {
    fault: Option<Fault>,
    records: Vec<Record>,
    /// So many are on disk for good, and so many are on their way there.
    durable: usize,
    committed: usize,
    /// So many have changed the disk of results.
    applied: usize,
    /// When the last commit is acknowledged.
    synced_at: u64,
    /// Starts that wait for the commit that holds the record before this number.
    unlaunched: Vec<(AttemptRef, usize)>,
    /// Nothing more is kept; this many records are on disk.
    failed: Option<usize>,
    /// The number of the fact from outside that is being told.
    from: Option<usize>,
    /// Facts from outside that came when nothing could be kept.
    postponed: Vec<usize>,
    /// Ends of this life, with how many records they follow from.
    ends: Vec<(usize, CallRef)>,
    ends_placed: usize,
    sworn: BTreeMap<(u32, u32, Option<u32>), Sworn>,
    /// Runs whose deadline was recorded.
    expired: Vec<RunId>,

    /// A record is being told, one that somebody has changed perhaps.
    pub(super) telling: bool,
    pub(super) tampered: bool,
    pub(super) refused: Option<String>,
    /// What the core wants resolved meanwhile; answered when it has nothing more to order.
    pub(super) asked: VecDeque<(CallRef, bool)>,
    /// Resolutions that end or expand a call: told at their place in the record, or after it.
    held: Vec<CallRef>,
    /// The calls that the record says started, with how often their keys had been asked for anew.
    started: HashMap<CallRef, u32>,
    /// How many facts are told before the engine dies again.
    patience: Option<usize>,
    pub(super) dead: bool,
}

fn core(fault: Option<Fault>) -> Core {
    fault.map_or_else(Core::new, Core::with_fault)
}

/// Lives a world in which the engine dies, to its end.
pub(super) fn live(world: &World, options: Options) -> (Drive<'_, Core>, Result<(), Violation>) {
    let mut drive = Drive::new(world, core(options.fault), options.trace);
    drive.state_only = options.state_only;
    drive.fault = options.fault;
    drive.journal = Some(Box::new(Journal { fault: options.fault, ..Journal::default() }));
    drive.book.ledger = Some(HashMap::new());
    let lived = lives(&mut drive, options.steps_max);
    (drive, lived)
}

fn lives(drive: &mut Drive<'_, Core>, steps_max: u64) -> Result<(), Violation> {
    let mut timed: Vec<usize> = (0..drive.world.events.len()).collect();
    let mut left = drive.world.deaths;
    drive.begin()?;
    drive.schedule(&timed, Time(0), left);
    drive.strangers(Time(0));
    loop {
        drive.go_on(steps_max)?;
        if left == 0 {
            return Ok(());
        }
        left -= 1;
        timed = drive.die()?;
        drive.rise(&timed, left)?;
    }
}

impl Journal {
    /// Nothing more is kept.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }
}

impl Drive<'_, Core> {
    /// What comes from outside, and how this life ends.
    fn schedule(&mut self, timed: &[usize], from: Time, deaths: u32) {
        for &i in timed {
            self.later(self.world.events[i].0.max(from.0), Coming::Timed(i));
        }
        if deaths > 0 {
            let span = self.rng.pick(&[3, 20, 100, 100, 400, 5000, 60_000]);
            let at = from.0 + self.rng.between(0, 2 * span) * MS / 2;
            self.later(at, Coming::Disk(Disk::Crash));
            if self.rng.percent(20) {
                let fails = from.0 + self.rng.below(at - from.0 + 1);
                self.later(fails, Coming::Disk(Disk::Failed));
            }
        }
    }

    /// The engine dies. Some attempts take effect all the same, and some of what was not on disk for good is lost.
    /// Gives what still comes from outside: what was lost is done again by who did it.
    fn die(&mut self) -> Result<Vec<usize>, Violation> {
        let Some(mut journal) = self.journal.take() else { return Ok(Vec::new()) };
        let launched: Vec<CallRef> = self.book.holding.iter().map(|h| h.who).collect();
        for who in launched {
            let waits = |u: &(AttemptRef, usize)| u.0.call == who && journal.fault != Some(Fault::FailedLaunches);
            let waits = journal.unlaunched.iter().any(waits);
            if !waits && self.rng.percent(50) {
                self.book.effect(who, true);
            }
        }
        let unlaunched: Vec<CallRef> = journal.unlaunched.iter().map(|u| u.0.call).collect();
        self.leave_doubts(&unlaunched);
        let left = journal.failed.unwrap_or_else(|| self.torn(&journal));
        self.apply_all(&journal.records[journal.applied..left])?;
        self.settle_shelf();
        if let Some(trace) = &mut self.trace {
            let all = journal.records.len();
            let _ = writeln!(trace, "{:>8}.000000 !! dead: {left} of {all} records are left", self.book.now.0 / MS);
        }
        let coming = std::mem::take(&mut self.coming);
        let slab = std::mem::take(&mut self.slab);
        // Another process goes on with what it does.
        for Reverse((_, i)) in coming.clone().into_sorted_vec().into_iter().rev() {
            if let Some(Coming::Stranger(does @ (Stranger::Write { .. } | Stranger::Close { .. }))) = slab[i as usize] {
                self.stranger(does);
            }
        }
        let mut timed: Vec<usize> = std::mem::take(&mut journal.postponed);
        timed.extend(coming.iter().filter_map(|c| match slab[c.0.1 as usize] {
            Some(Coming::Timed(i)) => Some(i),
            _ => None,
        }));
        timed.extend(journal.records.drain(left..).filter_map(|record| match record {
            Record::Timed(i) => Some(i),
            Record::Fact(_) | Record::Op(_) => None,
        }));
        timed.sort_unstable();
        for &(place, who) in journal.ends.iter().filter(|end| end.0 <= left) {
            let call = self.book.find(who);
            if let Some((outcome, reason)) = call.and_then(|c| c.outcome) {
                let value = call.and_then(|c| c.value);
                journal.sworn.insert((who.run.0, who.call, who.element), (outcome, reason, value));
            }
            debug_assert!(place <= left);
        }
        self.journal = Some(Box::new(Journal {
            fault: journal.fault,
            records: journal.records,
            sworn: journal.sworn,
            durable: left,
            committed: left,
            applied: left,
            ..Journal::default()
        }));
        Ok(timed)
    }

    /// How many records a crash leaves.
    fn torn(&mut self, journal: &Journal) -> usize {
        let (least, most) = (journal.durable, journal.records.len());
        match self.rng.below(3) {
            0 => least,
            1 => most,
            _ => least + usize::try_from(self.rng.below((most - least) as u64 + 1)).unwrap_or(0),
        }
    }

    /// Another life begins.
    fn rise(&mut self, timed: &[usize], deaths: u32) -> Result<(), Violation> {
        let down = self.rng.pick(&[0, 0, 1, 50, 10_000, 3_600_000]) * MS;
        let now = self.book.now.after(std::time::Duration::from_nanos(down));
        let fault = self.journal.as_ref().and_then(|j| j.fault);
        if self.rng.percent(25) {
            self.tampered(now)?;
        }
        self.core = core(fault);
        self.book = self.book.reborn(now);
        self.oracle = Oracle::default();
        self.begin()?;
        self.shelf.version += u64::from(self.rng.percent(30));
        self.strangers(now);
        let mut last = now;
        if self.rng.percent(50) {
            self.later(now.0, Coming::Disk(Disk::Recover(None)));
        } else {
            for run in 0..self.world.runs.len() {
                self.later(last.0, Coming::Disk(Disk::Recover(Some(RunId(u32::try_from(run).unwrap_or(0))))));
                last = Time(last.0 + self.rng.pick(&[0, 0, 3, 30]) * MS);
            }
        }
        if deaths > 0
            && self.rng.percent(20)
            && let Some(journal) = &mut self.journal
        {
            let most = journal.records.len() as u64 + 3;
            journal.patience = usize::try_from(self.rng.below(most)).ok();
        }
        self.schedule(timed, last, deaths);
        Ok(())
    }

    /// Somebody has changed the record: either that is noticed, or it tells what can have happened.
    fn tampered(&mut self, now: Time) -> Result<(), Violation> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let mut records = journal.records.clone();
        let fault = journal.fault;
        // What comes from outside cannot be told from what was changed; the store's chain of checksums can.
        let facts: Vec<usize> = (0..records.len()).filter(|&i| matches!(records[i], Record::Fact(_))).collect();
        if facts.is_empty() {
            return Ok(());
        }
        let at = facts[usize::try_from(self.rng.below(facts.len() as u64)).unwrap_or(0)];
        match self.rng.below(3) {
            0 => drop(records.remove(at)),
            1 => records.insert(at + 1, records[at].clone()),
            _ => {
                let other = facts[usize::try_from(self.rng.below(facts.len() as u64)).unwrap_or(0)];
                records.swap(at, other);
            }
        }
        let mut scratch = Drive::new(self.world, core(fault), self.trace.is_some());
        scratch.book = self.book.reborn(now);
        scratch.fault = fault;
        scratch.journal = Some(Box::new(Journal { fault, records, tampered: true, ..Journal::default() }));
        scratch.begin()?;
        let told = scratch.recover(None);
        if told.is_err()
            && let (Some(trace), Some(of)) = (&mut self.trace, &scratch.trace)
        {
            let _ = writeln!(trace, "a changed record is told:\n{of}");
        }
        told
    }
}

impl<S: Scheduler> Drive<'_, S> {
    /// Something happens to the disk or the engine.
    pub(super) fn disk(&mut self, what: Disk) -> Result<(), Violation> {
        match what {
            Disk::Synced(count) => self.synced(count),
            Disk::Failed => self.failed(),
            Disk::Recover(run) => self.recover(run),
            Disk::Crash => {
                if let Some(journal) = &mut self.journal {
                    journal.dead = true;
                }
                Ok(())
            }
        }
    }

    /// A commit is acknowledged: what waited for it is launched.
    fn synced(&mut self, count: usize) -> Result<(), Violation> {
        let Some(journal) = self.journal.as_mut().filter(|j| j.failed.is_none()) else { return Ok(()) };
        journal.durable = count;
        let ops: Vec<Record> = journal.records.get(journal.applied..count).unwrap_or_default().to_vec();
        journal.applied = journal.applied.max(count);
        self.apply_all(&ops)?;
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let (launched, waiting) = std::mem::take(&mut journal.unlaunched).into_iter().partition(|u| u.1 < count);
        journal.unlaunched = waiting;
        let launched: Vec<(AttemptRef, usize)> = launched;
        for (attempt, _) in launched {
            self.start(attempt);
        }
        Ok(())
    }

    fn apply_all(&mut self, records: &[Record]) -> Result<(), Violation> {
        for record in records {
            if let Record::Op(op) = record {
                self.apply(op).map_err(|what| self.wrong(what))?;
            }
        }
        Ok(())
    }

    /// Nothing more is kept: what waits for its record never starts, and the runs are drained.
    fn failed(&mut self) -> Result<(), Violation> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let full = self.rng.percent(50);
        let left = if full { journal.durable } else { journal.records.len() };
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.failed = Some(left);
        journal.ends.retain(|end| end.0 <= left);
        let hasty = journal.fault == Some(Fault::FailedLaunches);
        let waiting: Vec<AttemptRef> = journal.unlaunched.iter_mut().filter_map(never).collect();
        for attempt in waiting {
            if hasty {
                self.start(attempt);
                continue;
            }
            let end = AttemptEnd::Failed { class: FailureClass::Permanent, reached: Reached::No, retry_after: None };
            self.after(0, Coming::Report { attempt, end });
        }
        if self.world.disk {
            self.deliver(Event::DiskSet { on: false })?;
        }
        for run in 0..self.book.runs.len() {
            if self.book.runs[run].added && !self.book.runs[run].ended {
                let run = self.book.runs[run].id;
                self.deliver(Event::CancelRequested { run, call: None, force: false })?;
            }
        }
        Ok(())
    }

    /// Whether the record of a run is being told.
    pub(super) fn recovers(&self, run: RunId) -> bool {
        self.journal.is_some() && self.book.runs.get(run.0 as usize).is_some_and(|r| r.recovering && !r.ended)
    }

    /// Whether what comes from outside is done only when there is a disk again; if not, it may have to be kept.
    pub(super) fn postponed(&mut self, i: usize) -> bool {
        let Some(journal) = &mut self.journal else { return false };
        if journal.failed.is_some() {
            journal.postponed.push(i);
            return true;
        }
        journal.from = Some(i);
        false
    }

    fn keep(&mut self, record: Record) {
        if let Some(journal) = self.journal.as_mut().filter(|j| j.failed.is_none()) {
            journal.records.push(record);
        }
    }

    /// Keeps a change to the disk of results, with what is recorded beside it.
    pub(super) fn keep_op(&mut self, op: Op) {
        self.keep(Record::Op(op));
    }

    fn keep_fact(&mut self, event: Event) {
        self.keep(Record::Fact(event));
    }

    /// Keeps what the core is about to be told.
    pub(super) fn remember(&mut self, event: &Event) {
        let Some(journal) = &mut self.journal else { return };
        let from = journal.from.take();
        if journal.telling {
            return;
        }
        let going = |run: &RunId| self.book.runs.get(run.0 as usize).is_some_and(|r| r.added && !r.ended);
        match event {
            Event::RunAdded(_) => from.into_iter().for_each(|i| self.keep(Record::Timed(i))),
            Event::CallsAdded { run, .. }
            | Event::RunClosed { run }
            | Event::PauseRequested { run }
            | Event::ResumeRequested { run }
            | Event::CancelRequested { run, .. } => {
                if let (true, Some(i)) = (going(run), from) {
                    self.keep(Record::Timed(i));
                }
            }
            Event::Finished { attempt, .. } if self.book.is_live(*attempt) => {
                if let Some((_, reason)) = self.book.find(attempt.call).and_then(|c| c.aborted) {
                    self.keep_fact(Event::Recorded(Recorded::Aborted { attempt: *attempt, reason }));
                }
                self.keep_fact(event.clone());
            }
            Event::DoubtSettled { attempt, .. } => {
                let call = self.book.find(attempt.call);
                let open = |c: &super::book::Call| {
                    matches!(c.stage, Stage::Doubt(_)) && c.attempts == attempt.attempt && c.answer.is_none()
                };
                if call.is_some_and(open) {
                    self.keep_fact(event.clone());
                }
            }
            _ => {}
        }
    }

    /// Keeps a resolution that ends or expands a call, or the answer to a question for approval.
    pub(super) fn remember_resolved(&mut self, event: &Event) {
        let forgotten = |j: &Journal| j.fault == Some(Fault::ResolvedForgotten);
        let Event::Resolved { resolution, .. } = event else { return };
        let answer = matches!(resolution, Resolution::Run { .. } | Resolution::Denied);
        if self.journal.as_deref().is_some_and(|j| !j.telling && (answer || !forgotten(j))) {
            self.keep_fact(event.clone());
        }
    }

    /// Keeps what time and admission decided.
    pub(super) fn remember_order(&mut self, action: &Action) {
        let Some(journal) = &mut self.journal else { return };
        let who = match action {
            Action::Start { attempt, .. }
            | Action::Abort { attempt, .. }
            | Action::Retry { attempt, .. }
            | Action::Ask { attempt, .. } => attempt.call,
            Action::Ended(end) => end.call,
            Action::Reuse { call, .. } => *call,
            Action::Keep { .. }
            | Action::Forget { .. }
            | Action::DropCall { .. }
            | Action::Look { .. }
            | Action::Store { .. }
            | Action::OpenWrite { .. }
            | Action::CloseWrite { .. } => return,
            Action::Resolve { .. } | Action::Illegal { .. } | Action::RunEnded { .. } => return,
        };
        if matches!(action, Action::Ended(_)) && journal.failed.is_none() {
            journal.ends.push((0, who));
        }
        let forgetful = journal.fault == Some(Fault::ReuseForgotten);
        if self.recovers(who.run) {
            return;
        }
        if let Action::Start { attempt, .. } = action {
            return self.keep_fact(Event::Recorded(Recorded::Started { attempt: *attempt }));
        }
        if let Action::Reuse { call, .. } = action {
            if !forgetful {
                self.keep_fact(Event::Recorded(Recorded::Reused { call: *call }));
            }
            return;
        }
        let late = matches!(action, Action::Abort { reason: AbortReason::Deadline, .. })
            || matches!(action, Action::Ended(end) if end.reason == Reason::Deadline);
        if late {
            self.remember_deadline(who.run);
        }
        let Some(call) = self.book.find(who) else { return };
        let attempt = AttemptRef { call: who, attempt: call.attempts };
        if let (Stage::Running, None, Some((_, reason))) = (call.stage, call.end, call.aborted)
            && !matches!(action, Action::Abort { .. })
        {
            self.keep_fact(Event::Recorded(Recorded::Aborted { attempt, reason }));
            self.keep_fact(Event::Recorded(Recorded::GivenUp { attempt }));
        } else if let Action::Ended(end) = action
            && end.reason == Reason::Timeout
            && call.answer.is_none()
            && matches!(call.stage, Stage::Doubt(_) | Stage::Approval(_))
        {
            self.keep_fact(Event::Recorded(Recorded::Unanswered { call: who }));
        }
    }

    fn remember_deadline(&mut self, run: RunId) {
        let Some(journal) = &mut self.journal else { return };
        if !journal.expired.contains(&run) {
            journal.expired.push(run);
            self.keep_fact(Event::DeadlinePassed { run });
        }
    }

    /// The turn is over: its records are on their way to the disk.
    pub(super) fn commit(&mut self) {
        if self.journal.is_none() {
            return;
        }
        for run in 0..self.book.runs.len() {
            let run = &self.book.runs[run];
            if run.expired && run.added && !run.ended && !run.recovering {
                self.remember_deadline(run.id);
            }
        }
        let Some(journal) = self.journal.as_mut().filter(|j| j.failed.is_none()) else { return };
        let count = journal.records.len();
        for end in &mut journal.ends[journal.ends_placed..] {
            end.0 = count;
        }
        journal.ends_placed = journal.ends.len();
        if journal.committed == count || journal.telling {
            return;
        }
        journal.committed = count;
        let delay = if self.rng.percent(50) { 0 } else { self.rng.between(0, 20) * MS / 2 };
        let at = journal.synced_at.max(self.book.now.0 + delay);
        journal.synced_at = at;
        self.later(at, Coming::Disk(Disk::Synced(count)));
    }

    /// Whether an attempt starts only when its record is on disk. What may write waits also when it may be repeated:
    /// else an earlier call whose end is lost would be repeated, and find what a later one has written.
    pub(super) fn waits_for_record(&mut self, attempt: AttemptRef) -> bool {
        let Some(call) = self.book.find(attempt.call) else { return false };
        let repeatable = self.book.plan(attempt.call).settings.repeatable;
        let reads_only = repeatable && call.writes == 0;
        let Some(journal) = &mut self.journal else { return false };
        let hasty = match journal.fault {
            Some(Fault::StartNotAwaited) => !repeatable,
            Some(Fault::RepeatNotAwaited) => repeatable,
            _ => false,
        };
        if reads_only || hasty {
            return false;
        }
        journal.unlaunched.push((attempt, journal.records.len() - 1));
        true
    }

    /// An attempt that still waits for its record is aborted.
    pub(super) fn never_launched(&mut self, attempt: AttemptRef) -> bool {
        let Some(journal) = &mut self.journal else { return false };
        let waiting = journal.unlaunched.iter_mut().find(|u| u.0 == attempt);
        // It may have been told before that it never will be: then it is told twice.
        waiting.map(never).is_some()
    }
}

/// A start that waits for its record will never be launched.
fn never(waiting: &mut (AttemptRef, usize)) -> Option<AttemptRef> {
    let was = std::mem::replace(&mut waiting.1, usize::MAX);
    (was < usize::MAX).then_some(waiting.0)
}

/// Recovery.
impl<S: Scheduler> Drive<'_, S> {
    /// Tells the record of one run, or of all.
    fn recover(&mut self, run: Option<RunId>) -> Result<(), Violation> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.telling = true;
        let records = journal.records.clone();
        for record in &records {
            if let Record::Fact(Event::Recorded(Recorded::Started { attempt })) = record {
                let past = self.book.known_before(attempt.call);
                let past = past.and_then(|c| c.effects.get(attempt.attempt as usize - 1)).map_or(0, |e| e.again);
                journal.started.insert(attempt.call, past);
            }
            if let Record::Fact(Event::Recorded(Recorded::Reused { call })) = record {
                journal.started.insert(*call, self.book.known_before(*call).map_or(0, |c| c.rekeys));
            }
        }
        for record in &records {
            let event = match record {
                Record::Timed(i) => self.timed_before(*i),
                Record::Fact(event) => Some(event.clone()),
                Record::Op(_) => None,
            };
            let Some(event) = event.filter(|e| run.is_none() || run_of(e) == run) else { continue };
            if !self.told(event)? || self.out_of_patience() {
                return Ok(());
            }
        }
        if self.journal.as_ref().is_some_and(|j| j.tampered) {
            return Ok(());
        }
        self.lose(run)?;
        for i in 0..self.book.runs.len() {
            let id = self.book.runs[i].id;
            if self.out_of_patience() {
                return Ok(());
            }
            if self.book.runs[i].recovering && run.is_none_or(|r| r == id) {
                self.told(Event::Recovered { run: id })?;
                self.doubts_told(id);
                self.sworn(id)?;
            }
        }
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.telling = false;
        for call in std::mem::take(&mut journal.held) {
            let delay = self.rng.pick(&[0, 0, 3]) * MS;
            self.after(delay, Coming::Resolved { call, again: false });
        }
        self.deliver(Event::Tick)
    }

    fn out_of_patience(&mut self) -> bool {
        let Some(journal) = &mut self.journal else { return false };
        let Some(left) = &mut journal.patience else { return false };
        journal.dead = *left == 0;
        *left = left.saturating_sub(1);
        journal.dead
    }

    fn timed_before(&mut self, i: usize) -> Option<Event> {
        if let Timed::Add(run) = &self.world.events[i].1 {
            let mut spec = self.world.runs[*run as usize].spec(RunId(*run), None);
            spec.recovering = true;
            return Some(Event::RunAdded(Box::new(spec)));
        }
        match &self.world.events[i].1 {
            Timed::Add(_) => None,
            Timed::AddCalls { run, from, to } => {
                let calls = &self.world.runs[*run as usize].calls[*from as usize..*to as usize];
                Some(Event::CallsAdded { run: RunId(*run), calls: calls.iter().map(|c| c.spec()).collect() })
            }
            Timed::Close(run) => Some(Event::RunClosed { run: RunId(*run) }),
            Timed::Fact(event) => Some(event.clone()),
        }
    }

    /// Tells a fact from the record, and answers what the core asks then. Gives whether the fact was taken in.
    fn told(&mut self, mut event: Event) -> Result<bool, Violation> {
        if let Event::Resolved { call, resolution: Resolution::Run { same, .. } } = &mut event {
            // What its tool is now, not what it was.
            *same = self.identity(*call);
        }
        let possible = Oracle::recorded(&self.book, &event);
        let there = run_of(&event).is_some_and(|run| self.recovers(run));
        if possible.is_ok() {
            self.take_note(&event);
            self.tell(event);
        } else {
            if let Some(trace) = &mut self.trace {
                let _ = writeln!(trace, "                 impossible <- {}", say_event(&event));
            }
            self.core.handle(self.book.now, event);
        }
        self.drain()?;
        let Some(journal) = &mut self.journal else { return Ok(true) };
        match (possible, journal.refused.take()) {
            (Ok(()), None) => self.answer().map(|()| true),
            (_, Some(_)) if journal.tampered => Ok(false),
            (Ok(()) | Err(_), Some(why)) => Err(self.wrong(why)),
            // Facts about what is no longer there are ignored.
            (Err(_), None) if !there => Ok(false),
            (Err(what), None) => Err(self.wrong(format!("{what}, and is taken in"))),
        }
    }

    /// What a fact from the record says beside what the book understands.
    fn take_note(&mut self, event: &Event) {
        let Some(journal) = &mut self.journal else { return };
        match event {
            Event::DeadlinePassed { run } => journal.expired.push(*run),
            Event::Resolved { call, resolution } if self.book.is_asked(*call) => {
                self.book.approved(*call, matches!(resolution, Resolution::Run { .. }));
            }
            Event::Resolved { call, .. } => {
                journal.held.retain(|held| held != call);
                let decision = self.book.decide(*call);
                self.book.resolved(*call, &decision);
            }
            _ => {}
        }
    }

    /// Answers what the core wants resolved, unless the record says when.
    fn answer(&mut self) -> Result<(), Violation> {
        while let Some(journal) = &mut self.journal
            && let Some((who, again)) = journal.asked.pop_front()
        {
            let known = journal.started.get(&who).copied();
            let eager = journal.fault == Some(Fault::ResolvedForgotten);
            let wanted = |c: &super::book::Call| c.named == super::book::Named::Asked && c.stage != Stage::Ended;
            if !self.book.find(who).is_some_and(wanted) {
                continue;
            }
            if !eager && !again && !matches!(self.book.decide(who), super::truth::Decision::Run(_)) {
                journal.held.push(who);
                continue;
            }
            let event = self.resolved(who, again, known);
            self.deliver(event)?;
        }
        Ok(())
    }

    /// Attempts of which nothing but the start is recorded were lost.
    fn lose(&mut self, run: Option<RunId>) -> Result<(), Violation> {
        let runs = self.book.runs.iter().filter(|r| r.recovering && run.is_none_or(|run| run == r.id));
        let calls = runs.flat_map(|r| &r.calls).flat_map(|c| std::iter::once(c).chain(&c.elements));
        let lost: Vec<AttemptRef> = calls
            .filter(|c| c.stage == Stage::Running)
            .map(|c| AttemptRef { call: c.who, attempt: c.attempts })
            .collect();
        for attempt in lost {
            let took = self.book.find(attempt.call).and_then(|c| c.effects.last()).is_some_and(|e| e.took);
            let answer = match mix(self.world.seed, u64::from(attempt.attempt) + 37 * u64::from(attempt.call.call)) % 8
            {
                0 => Some(DoubtAnswer::Rerun),
                1 => Some(DoubtAnswer::Fail),
                2 if took => Some(DoubtAnswer::Succeeded),
                _ => None,
            };
            let event = Event::Recorded(Recorded::Lost { attempt, answer });
            self.keep_fact(event.clone());
            if !self.told(event)? || self.out_of_patience() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What had ended, on disk, ended so for good.
    fn sworn(&mut self, run: RunId) -> Result<(), Violation> {
        let Some(journal) = &self.journal else { return Ok(()) };
        for (&(_, call, element), sworn) in journal.sworn.range((run.0, 0, None)..(run.0 + 1, 0, None)) {
            let who = CallRef { run, call, element };
            let now = self.book.find(who).and_then(|c| c.outcome.map(|o| (o.0, o.1, c.value)));
            if now != Some(*sworn) {
                let what = format!("{} had ended as {sworn:?} before the engine died, now it is {now:?}", name(who));
                return Err(self.wrong(what));
            }
        }
        Ok(())
    }
}

/// The run that a recorded fact is about.
fn run_of(event: &Event) -> Option<RunId> {
    Some(match event {
        Event::RunAdded(spec) => spec.run,
        Event::CallsAdded { run, .. }
        | Event::RunClosed { run }
        | Event::CancelRequested { run, .. }
        | Event::PauseRequested { run }
        | Event::ResumeRequested { run }
        | Event::DeadlinePassed { run }
        | Event::Recovered { run } => *run,
        Event::Resolved { call, .. } => call.run,
        Event::Finished { attempt, .. } | Event::Progressed { attempt } | Event::DoubtSettled { attempt, .. } => {
            attempt.call.run
        }
        Event::Recorded(fact) => fact.call().run,
        Event::LookedUp { call, .. } => call.run,
        Event::LimitSet { .. }
        | Event::RateSet { .. }
        | Event::ResultDropped { .. }
        | Event::DiskSet { .. }
        | Event::Tick => return None,
    })
}
