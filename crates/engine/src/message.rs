//! What reaches the driver: the one inbox of an engine.
//! It does not know what the driver makes of it.

use crate::approval::Approve;
use crate::disk::Answer;
use crate::driver::Accounted;
use crate::durable::Owned;
use crate::handle::{DoubtAnswer, SharedGuard};
use crate::report::CallError;
use crate::snapshot::Snapshot;
use crate::submitted::Reply;
use crate::tables::Tables;
use crate::telling::CallProgress;
use crate::translate::Translated;
use fanout_core::{AttemptRef, Event, RunId};
use fanout_plan::{Call, Diagnostic, ToolId, ValidPlan};
use fanout_store::{Committed, JsonText, Record, RunStarted, StoreError, ToolIdentity};
use fanout_tools::{Tool, ToolResult};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// One message to the driver.
pub(crate) enum Message {
    /// Begin a run.
    Start(Box<NewRun>),
    /// Append calls to an open run.
    Add { run: RunId, calls: Vec<Call>, reply: oneshot::Sender<Result<(), Vec<Diagnostic>>> },
    /// Append one call to an open run, and answer when it has ended.
    Submit { run: RunId, call: Box<Call>, reply: Reply },
    /// The tools are these from now on.
    Tools(Box<NewTools>),
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
    /// Answer whether a call may run.
    Approve { run: RunId, call: Arc<str>, answer: Approve, reply: oneshot::Sender<Result<(), Box<CallError>>> },
    /// Start nothing new, and say when all that happened until now is recorded.
    Leave { run: RunId, reply: oneshot::Sender<()> },
    /// Go on with a recorded run.
    Recover(Box<Recovery>),
    /// The journal tells how far it is.
    Committed(Committed),
    /// What the cache on disk holds for calls that asked.
    LookedUp(Vec<Answer>),
    /// The account of a durable run that has ended was made.
    Accounted(Box<Accounted>),
    /// Say what a run looks like.
    Snapshot { run: RunId, reply: oneshot::Sender<Snapshot> },
    /// The task of an attempt ended.
    Finished { attempt: AttemptRef, result: ToolResult },
    /// An attempt gave a sign of life.
    Progressed { attempt: AttemptRef },
    /// An attempt told how far it is.
    Told { run: RunId, call: Arc<str>, attempt: u32, progress: Box<CallProgress> },
    /// The last engine handle is gone: end everything.
    Shutdown,
}

/// Tools as they are from now on.
pub(crate) struct NewTools {
    pub(crate) tables: Arc<Tables>,
    /// How those of the toolbox that was replaced are called.
    pub(crate) adapters: Vec<(ToolId, Arc<dyn Tool>)>,
    /// What the core has to know of it.
    pub(crate) events: Vec<Event>,
}

/// A run to begin.
pub(crate) struct NewRun {
    pub(crate) translated: Translated,
    pub(crate) plan: ValidPlan,
    pub(crate) weight: u32,
    pub(crate) open: bool,
    pub(crate) forget: bool,
    pub(crate) attended: bool,
    pub(crate) peer: Option<Arc<dyn fanout_tools::Peer>>,
    pub(crate) events: bool,
    pub(crate) seed: u64,
    pub(crate) parent: Option<AttemptRef>,
    /// Of a durable run: that this process owns it, and how its record begins.
    pub(crate) durable: Option<(Owned, Box<RunStarted>)>,
    pub(crate) shared: SharedGuard,
}

/// A recorded run to go on with.
pub(crate) struct Recovery {
    pub(crate) new: NewRun,
    pub(crate) owned: Owned,
    /// Its records, each with its values as text.
    pub(crate) records: Vec<(Record, Vec<JsonText>)>,
    /// The tools as they are now.
    pub(crate) tools: Vec<ToolIdentity>,
    pub(crate) in_doubt: BTreeMap<String, DoubtAnswer>,
    pub(crate) reply: oneshot::Sender<Result<(), StoreError>>,
}
