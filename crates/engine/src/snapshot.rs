//! What a run looks like at one moment, for screens (`RunHandle::snapshot`).
//! It does not know how it is shown.

use crate::defaults::SNAPSHOT_CALLS_MAX;
use crate::ended;
use crate::run::RunData;
use crate::tables::Tables;
use crate::telling::CallProgress;
use fanout_core::{CallState, Core, Time};
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A run at one moment. The lists are bounded (200 each); the counts are not.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// Since the run began.
    pub elapsed: Duration,
    /// Whether it is paused.
    pub paused: bool,
    /// How many calls are in which state, elements included (a `foreach` call counts with its elements).
    pub counts: Counts,
    /// Attempts that run, the longest running first.
    pub running: Vec<RunningCall>,
    /// Calls that wait, the longest waiting first.
    pub waiting: Vec<WaitingCall>,
}

/// How many calls are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All that are known so far, elements included.
    pub total: usize,
    /// Not started, or between two attempts.
    pub waiting: usize,
    /// An attempt is running.
    pub running: usize,
    /// Ended with a result.
    pub succeeded: usize,
    /// Ended with an error or in doubt.
    pub failed: usize,
    /// Skipped.
    pub skipped: usize,
    /// Cancelled or denied.
    pub cancelled: usize,
}

/// A running attempt.
#[derive(Clone, Debug, Serialize)]
pub struct RunningCall {
    /// The call's id, with the index when it is an element.
    pub id: Arc<str>,
    /// Its tool.
    pub tool: Arc<str>,
    /// Which try, from 1.
    pub attempt: u32,
    /// Since the attempt started.
    pub elapsed: Duration,
    /// How far it says it is.
    pub progress: Option<CallProgress>,
}

/// A waiting call.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingCall {
    /// The call's id, with the index when it is an element.
    pub id: Arc<str>,
    /// The kind of cause, as in [`WaitReport::cause`](crate::WaitReport).
    pub cause: Cow<'static, str>,
    /// On which call, limit or rate.
    pub on: Option<Arc<str>>,
    /// For which key.
    pub key: Option<Arc<str>>,
    /// How long it has waited on this.
    pub since: Duration,
}

/// Looks at a run.
pub(crate) fn take(core: &Core, tables: &Tables, run: &RunData, now: Time) -> Snapshot {
    let mut snapshot = Snapshot { elapsed: now.since(run.began), paused: run.paused, ..Snapshot::default() };
    let ended = run.counts;
    let total = run.listed_calls() + ended.elements - ended.expanded;
    let mut running = 0;
    for view in core.view().calls(run.id) {
        let Some(slot) = run.slot(view.call) else { continue };
        match view.state {
            CallState::Running | CallState::Aborting => {
                running += 1;
                snapshot.running.push(RunningCall {
                    id: run.call_id(view.call),
                    tool: tables.catalog.tool(run.tool(view.call)).spec.name.clone(),
                    attempt: view.attempt,
                    elapsed: now.since(view.since),
                    progress: run.telling.as_ref().and_then(|t| t.latest(&run.call_id(view.call), view.attempt)),
                });
            }
            CallState::Waiting => {
                let expanded = view.call.element.is_none() && slot.elements().is_some();
                if let Some(cause) = view.cause.filter(|_| !expanded) {
                    let (cause, on, key) = ended::cause(run, tables, view.call, slot, cause);
                    let since = now.since(view.since);
                    snapshot.waiting.push(WaitingCall {
                        id: run.call_id(view.call),
                        cause: cause.into(),
                        on,
                        key,
                        since,
                    });
                }
            }
            CallState::Ended => {}
        }
    }
    snapshot.running.sort_by_key(|call| std::cmp::Reverse(call.elapsed));
    snapshot.waiting.sort_by_key(|call| std::cmp::Reverse(call.since));
    snapshot.running.truncate(SNAPSHOT_CALLS_MAX);
    snapshot.waiting.truncate(SNAPSHOT_CALLS_MAX);
    let over = ended.succeeded + ended.failed + ended.skipped + ended.cancelled;
    snapshot.counts = Counts {
        total,
        waiting: total.saturating_sub(running + over),
        running,
        succeeded: ended.succeeded,
        failed: ended.failed,
        skipped: ended.skipped,
        cancelled: ended.cancelled,
    };
    snapshot
}
