//! The end of calls and runs: what is kept of it, and the account of a whole run.
//! It does not know how the calls were run; it reads what the driver kept.

use crate::breaks::BREAKS_MAX;
use crate::critical_path::{self, Paths};
use crate::ends::End;
use crate::event::RunOutcome;
use crate::event_log::{Happened, Told};
use crate::forget::Left;
use crate::hints;
use crate::report::{AttemptTimes, CacheReport, CallError, CallReport, REPORT_VERSION, Report, WaitReport};
use crate::resolve;
use crate::run::{RunData, Slot, ms};
use crate::submitted;
use crate::tables::Tables;
use crate::words::{is_failure, outcome};
use fanout_core::{CallEnd, CallRef, Cause, Outcome, Reason, RunId, Time, Wait};
use fanout_tools::JsonText;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keeps the end of a call and makes what follows from it: the list of a `foreach`, the value after a failure,
/// an error that says why there is no result.
pub(crate) fn record(run: &mut RunData, end: &CallEnd) {
    let call = end.call;
    let has_elements = call.element.is_none() && run.top(call.call).is_some_and(|top| top.elements().is_some());
    if !has_elements {
        count(run, end.outcome);
    }
    let list = (has_elements && end.outcome == Outcome::Succeeded).then(|| run.top(call.call).map(list)).flatten();
    let missing = missing_error(run, end);
    let valid = run.call(call);
    let value = valid
        .on_failure_value
        .clone()
        .filter(|_| matches!(end.outcome, Outcome::Failed | Outcome::Denied | Outcome::InDoubt));
    // What has a value in place of a result does not fail the run.
    run.failed |= is_failure(end.outcome) && value.is_none();
    run.call_cancelled |= end.outcome == Outcome::Cancelled;
    let place = if run.is_later(call.call) { run.ends.push_loose(end) } else { run.ends.push(end) };
    let Some(slot) = run.slot_mut(call) else { return };
    slot.end = place;
    match end.outcome {
        Outcome::Succeeded => {
            if let Some(more) = &mut slot.more {
                more.error = None;
            }
            if list.is_some() {
                slot.set_text(list);
            }
        }
        _ => {
            slot.set_text(value);
            match missing {
                Some(error) if slot.error().is_none() || end.reason != Reason::Tool => {
                    slot.more().error = Some(Box::new(error));
                }
                _ => {}
            }
        }
    }
    slot.settle();
    if call.element.is_none() {
        run.release_inputs(call.call);
    }
}

fn count(run: &mut RunData, outcome: Outcome) {
    let counts = &mut run.counts;
    counts.by_outcome[outcome as usize] += 1;
    match outcome {
        Outcome::Succeeded => counts.succeeded += 1,
        Outcome::Failed | Outcome::InDoubt => counts.failed += 1,
        Outcome::Skipped => counts.skipped += 1,
        Outcome::Cancelled | Outcome::Denied => counts.cancelled += 1,
    }
}

/// The results of the elements as one JSON list; null where there is none.
fn list(slot: &Slot) -> JsonText {
    let slots = slot.elements().map_or(&[][..], |elements| &elements.slots);
    let length = slots.iter().map(|slot| slot.result().map_or(4, |result| result.get().len()) + 1).sum::<usize>();
    let mut text = String::with_capacity(length + 2);
    text.push('[');
    for (index, slot) in slots.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(slot.result().map_or("null", |result| result.get()));
    }
    text.push(']');
    // A list of JSON texts is a JSON text.
    RawValue::from_string(text).map_or_else(|_| RawValue::NULL.to_owned().into(), Arc::from)
}

/// Why a call has no result, where no tool said so.
fn missing_error(run: &RunData, end: &CallEnd) -> Option<CallError> {
    let id_of = |call: u32| run.name_of(call);
    let (code, message) = match (end.outcome, end.reason) {
        (Outcome::Succeeded, _) => return None,
        (_, Reason::When) => ("when_false", "its `when` was false".to_owned()),
        (_, Reason::Upstream(call)) => {
            ("upstream_failed", format!("it needs the result of `{}`, which has none", id_of(call)))
        }
        (_, Reason::Stopped(call)) => {
            ("run_stopped", format!("the plan says `on_failure: stop`, and `{}` did not succeed", id_of(call)))
        }
        (Outcome::Denied, Reason::Timeout) => ("denied", "nobody approved it in time".to_owned()),
        (_, Reason::Timeout) => ("timeout", "the attempt lasted longer than its `timeout`".to_owned()),
        (_, Reason::IdleTimeout) => {
            ("idle_timeout", "the attempt was silent for longer than its `idle_timeout`".to_owned())
        }
        (_, Reason::Deadline) => ("deadline_passed", "the `deadline` of the run passed".to_owned()),
        (_, Reason::Cancelled) => ("cancelled", "it was cancelled".to_owned()),
        (_, Reason::Elements(count)) => (
            "elements_failed",
            format!(
                "{count} of its elements have no result; see those that failed, or give `on_failure: {{value: …}}`"
            ),
        ),
        (_, Reason::Lost) => {
            ("in_doubt", "the engine died while it ran; nobody knows whether it took effect".to_owned())
        }
        (_, Reason::Settled) => {
            ("in_doubt", "nobody knew whether it took effect, and it was answered as failed".to_owned())
        }
        (Outcome::InDoubt, _) => ("in_doubt", "nobody knows whether it took effect".to_owned()),
        (_, Reason::Tool | Reason::Unresolved | Reason::Denied | Reason::Reused) => return None,
    };
    let doubt = end.outcome == Outcome::InDoubt && code != "in_doubt";
    let message = if doubt { format!("{message}; nobody knows whether it took effect") } else { message };
    Some(CallError { code: code.into(), message, detail: None })
}

/// Gives the answer that is owed to a call that has ended.
pub(crate) fn answer(run: &mut RunData, tables: &Tables, call: CallRef) {
    let whole = if run.wholes.is_empty() { None } else { run.wholes.remove(&call) };
    if let Some(whole) = &whole {
        run.last_whole = Some((call, whole.clone()));
    }
    if call.element.is_some() || run.owed.is_empty() {
        return;
    }
    let (Some(reply), Some(slot)) = (run.owed.remove(&call.call), run.slot(call)) else { return };
    if reply.is_closed() {
        return;
    }
    let report = call_report(run, tables, call, slot, None, &mut Totals::default());
    // Fails only when nobody waits for it any more.
    let _ = reply.send(Ok(submitted::CallEnd {
        id: report.id,
        outcome: report.outcome,
        value: slot.result().cloned(),
        whole,
        error: report.error.map(|error| *error),
        attempts: report.attempts,
        waits: report.waits,
        after_doubt: report.after_doubt,
        reused: report.reused,
    }));
}

/// The event of a call that has ended.
pub(crate) fn event(run: &RunData, call: CallRef) -> Happened {
    let slot = run.slot(call);
    let end = slot.and_then(|slot| run.end(slot));
    let error = slot.and_then(Slot::error);
    let listed = run.listed_at(call.call);
    let told = |error: &CallError| Box::new(Told { code: error.code.clone(), message: error.message.clone() });
    Happened::Ended {
        call: call.into(),
        outcome: end.map_or(crate::event::Outcome::Cancelled, |end| outcome(end.outcome)),
        error: error.map(told),
        ran_ns: end.map_or(0, |end| end.started().map_or(0, |at| end.ended.0.saturating_sub(at.0))),
        waited_ns: end.map_or(0, |end| end.started().unwrap_or(end.ended).0.saturating_sub(listed.0)),
    }
}

/// A run that has ended, kept until somebody asks for its account.
pub(crate) struct EndedRun {
    pub(crate) run: Box<RunData>,
    pub(crate) outcome: RunOutcome,
    pub(crate) ended: Time,
    pub(crate) tables: Arc<Tables>,
}

impl EndedRun {
    /// The account of the run.
    pub(crate) fn account(self) -> Report {
        let EndedRun { mut run, outcome, ended, tables } = self;
        let wall_ms = run.ms(ended);
        let Paths { chain, length_ns } = critical_path::measured(&run);
        let left = run.later.as_mut().and_then(|later| later.take_left()).map(|left| *left);
        let forgotten = left.as_ref().map(Left::counts);
        let left = left.unwrap_or_default();
        let mut hints = hints::of(&run, &tables, left.costs);
        hints.extend(
            run.journal_error
                .take()
                .map(|error| format!("the run was ended, since it could not be recorded any more: {error}")),
        );
        let output = resolve::output(&run).unwrap_or_else(|error| {
            hints.push(format!("there is no output: {} [{}]", error.message, error.code));
            None
        });
        let mut waits = left.waits;
        let mut ran_ns = left.ran_ns;
        let mut calls = Vec::with_capacity(run.slots.len() + run.counts.elements);
        for place in 0..run.slots.len() {
            for call in run.with_elements(run.serial(place)) {
                // Taken instead of shared, since nobody looks into the run any more.
                let result = run.slot_mut(call).and_then(|slot| slot.take_result());
                let Some(slot) = run.slot(call) else { continue };
                ran_ns = ran_ns.saturating_add(slot.ran_ns);
                calls.push(call_report(&run, &tables, call, slot, result, &mut waits));
            }
        }
        let calls_ms = ms(ran_ns);
        let (id, name) = run.names.clone();
        let cache = cache_report(&run, &tables);
        discard(run);
        Report {
            v: REPORT_VERSION,
            run: id,
            name,
            outcome,
            wall_ms,
            calls_ms,
            critical_path: chain,
            critical_path_ms: ms(length_ns),
            speed_up: if wall_ms > 0.0 { calls_ms / wall_ms } else { 1.0 },
            waits_ms: waits.0.into_iter().map(|(cause, ms)| (Cow::Borrowed(cause), ms)).collect(),
            calls,
            forgotten,
            cache,
            output,
            hints,
        }
    }
}

/// Waiting by kind of cause, in milliseconds. There are few kinds, and mostly it is the one of the call before.
#[derive(Default)]
pub(crate) struct Totals(Vec<(&'static str, f64)>);

impl Totals {
    pub(crate) fn add(&mut self, cause: &'static str, ms: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, total)) => *total += ms,
            None => self.0.push((cause, ms)),
        }
    }
}

/// Frees a run. What a large one leaves takes a while to free, which nobody should wait for.
fn discard(run: Box<RunData>) {
    if run.slots.len() >= LARGE
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn_blocking(move || drop(run));
    }
}

/// Calls of a run that is freed in the background: from here on that takes longer than to start a thread.
const LARGE: usize = 1_024;

impl Report {
    /// The account of a run whose engine is gone: nothing is known of its calls.
    pub(crate) fn of_lost_run(run: Arc<str>, name: Arc<str>) -> Report {
        Report {
            v: REPORT_VERSION,
            run,
            name,
            outcome: RunOutcome::Cancelled,
            wall_ms: 0.0,
            calls_ms: 0.0,
            critical_path: Vec::new(),
            critical_path_ms: 0.0,
            speed_up: 1.0,
            waits_ms: BTreeMap::new(),
            calls: Vec::new(),
            forgotten: None,
            cache: None,
            output: None,
            hints: vec!["the engine ended before the run did, so there is no account of its calls".to_owned()],
        }
    }
}

fn cache_report(run: &RunData, tables: &Tables) -> Option<CacheReport> {
    let mut report = CacheReport::default();
    for (tool, counts) in &run.cache {
        report.total.add(counts);
        report.tools.insert(tables.catalog.tool(*tool).spec.name.clone(), *counts);
    }
    (!report.tools.is_empty()).then_some(report)
}

/// The account of a call, with this as its result.
fn call_report(
    run: &RunData,
    tables: &Tables,
    call: CallRef,
    slot: &Slot,
    result: Option<JsonText>,
    totals: &mut Totals,
) -> CallReport {
    let end = run.end(slot);
    let more = slot.more.as_ref();
    let usage = more.and_then(|more| more.usage);
    let waits = end.map(|end| run.ends.waits(end));
    let waits = waits.map_or_else(Vec::new, |waits| {
        waits.map(|wait| wait_report(run, tables, call, slot, &wait, totals)).collect::<Vec<WaitReport>>()
    });
    let waits = match run.told_waits.get(&call) {
        None => waits,
        // It ended in an earlier life: as it was written down then.
        Some(told) => {
            for wait in told {
                CAUSES.iter().filter(|cause| **cause == wait.cause).for_each(|cause| totals.add(cause, wait.ms));
            }
            told.clone()
        }
    };
    CallReport {
        id: run.call_id(call),
        tool: tables.catalog.tool(run.tool(call)).spec.name.clone(),
        outcome: end.map_or(crate::event::Outcome::Cancelled, |end| outcome(end.outcome)),
        result,
        error: more.and_then(|more| more.error.clone()),
        attempts: end.map_or(0, |end| end.attempts),
        attempt_times: end.map_or_else(Vec::new, |end| attempt_times(run, call, end)),
        started_ms: end.and_then(End::started).map(|at| run.ms(at)),
        ended_ms: end.map_or(0.0, |end| run.ms(end.ended)),
        waits,
        after_doubt: more.is_some_and(|more| more.after_doubt),
        reused: run.reused.contains(&call),
        cpu_ms: usage.map(|usage| usage.cpu.as_secs_f64() * 1e3),
        memory_bytes_max: usage.map(|usage| usage.memory_bytes_max),
    }
}

/// When each attempt ran, where something came between or behind them.
fn attempt_times(run: &RunData, call: CallRef, end: &End) -> Vec<AttemptTimes> {
    let (breaks, Some(mut started)) = (run.breaks.of(call), end.started()) else { return Vec::new() };
    let mut times = Vec::new();
    let mut push = |started: Time, ended: Time, code: Option<Cow<'static, str>>| {
        times.push(AttemptTimes { started_ms: run.ms(started), ended_ms: run.ms(ended), code });
    };
    for one in breaks {
        push(started, one.began, one.code.clone());
        match one.over {
            Some(over) => started = over,
            None => return times,
        }
    }
    if !breaks.is_empty() && breaks.len() < BREAKS_MAX {
        push(started, end.ended, None);
    }
    times
}

fn wait_report(
    run: &RunData,
    tables: &Tables,
    call: CallRef,
    slot: &Slot,
    wait: &Wait,
    totals: &mut Totals,
) -> WaitReport {
    let (cause, on, key) = cause(run, tables, call, slot, wait.cause);
    let ms = ms(wait.ns);
    totals.add(cause, ms);
    WaitReport { cause: Cow::Borrowed(cause), on, key, ms }
}

/// All kinds of causes.
const CAUSES: [&str; 15] = [
    "input",
    "resolve",
    "key",
    "stop",
    "other_run",
    "limit",
    "reserved",
    "rate",
    "backoff",
    "doubt",
    "approval",
    "pause",
    "elements",
    "flight",
    "cache",
];

/// A cause in words: its kind, on what, for which key.
pub(crate) fn cause(
    run: &RunData,
    tables: &Tables,
    call: CallRef,
    slot: &Slot,
    cause: Cause,
) -> (&'static str, Option<Arc<str>>, Option<Arc<str>>) {
    let key = |claim: u16| {
        let keys = slot.keys.as_ref().or_else(|| run.top(call.call)?.keys.as_ref())?;
        keys.names.get(usize::from(claim)).map(|key| key.text.clone())
    };
    // The holder of another run is named by its number; that run may be gone.
    let holder = |holder: CallRef| {
        if holder.run == run.id { run.call_id(holder) } else { Arc::from("another run") }
    };
    let (on, key) = match cause {
        Cause::Input(on) => (Some(run.name_of(on)), None),
        Cause::Key { holder: on, claim } | Cause::OtherRun { holder: on, claim } => (Some(holder(on)), key(claim)),
        Cause::Stop(on) | Cause::Reserved(on) | Cause::Flight(on) => (Some(holder(on)), None),
        Cause::Limit(limit) => (limit_name(run, tables, limit), None),
        Cause::Rate(rate) => (tables.rate_name(rate).cloned(), None),
        Cause::Resolve
        | Cause::Backoff
        | Cause::Doubt
        | Cause::Approval
        | Cause::Pause
        | Cause::Elements
        | Cause::Look => (None, None),
    };
    (kind(run.id, cause), on, key)
}

/// The kind of a cause of waiting in this run.
pub(crate) fn kind(run: RunId, cause: Cause) -> &'static str {
    match cause {
        Cause::Input(_) => "input",
        Cause::Resolve => "resolve",
        Cause::Key { .. } => "key",
        Cause::Stop(_) => "stop",
        // Keys that moved during the run are held by attempts, as against other runs.
        Cause::OtherRun { holder, .. } if holder.run == run => "key",
        Cause::OtherRun { .. } => "other_run",
        Cause::Limit(_) => "limit",
        Cause::Reserved(_) => "reserved",
        Cause::Rate(_) => "rate",
        Cause::Backoff => "backoff",
        Cause::Doubt => "doubt",
        Cause::Approval => "approval",
        Cause::Pause => "pause",
        Cause::Elements => "elements",
        Cause::Flight(_) => "flight",
        Cause::Look => "cache",
    }
}

fn limit_name(run: &RunData, tables: &Tables, limit: fanout_core::LimitId) -> Option<Arc<str>> {
    let own = run.limit_names.iter().find(|(id, _)| *id == limit).map(|(_, name)| name);
    own.or_else(|| tables.limit_name(limit)).cloned()
}
