//! What reaches the driver: the one inbox of an engine.
//! It does not know what the driver makes of it.

use crate::handle::{DoubtAnswer, SharedGuard};
use crate::snapshot::Snapshot;
use crate::translate::Translated;
use fanout_core::{AttemptRef, RunId};
use fanout_plan::{Call, Diagnostic, ValidPlan};
use fanout_tools::ToolResult;
use std::sync::Arc;
use tokio::sync::oneshot;

/// One message to the driver.
pub(crate) enum Message {
    /// Begin a run.
    Start(Box<NewRun>),
    /// Append calls to an open run.
    Add { run: RunId, calls: Vec<Call>, reply: oneshot::Sender<Result<(), Vec<Diagnostic>>> },
    /// No more calls will be added.
    Close { run: RunId },
    /// End a run, or one call of it, early.
    Cancel { run: RunId, call: Option<Arc<str>>, force: bool },
    /// Start nothing new.
    Pause { run: RunId },
    /// Start again.
    Resume { run: RunId },
    /// Answer for a call in doubt.
    Settle { run: RunId, call: Arc<str>, answer: DoubtAnswer },
    /// Say what a run looks like.
    Snapshot { run: RunId, reply: oneshot::Sender<Snapshot> },
    /// The task of an attempt ended.
    Finished { attempt: AttemptRef, result: ToolResult },
    /// An attempt gave a sign of life.
    Progressed { attempt: AttemptRef },
    /// The last engine handle is gone: end everything.
    Shutdown,
}

/// A run to begin.
pub(crate) struct NewRun {
    pub(crate) translated: Translated,
    pub(crate) plan: ValidPlan,
    pub(crate) weight: u32,
    pub(crate) open: bool,
    pub(crate) events: bool,
    pub(crate) seed: u64,
    pub(crate) parent: Option<AttemptRef>,
    pub(crate) shared: SharedGuard,
}
