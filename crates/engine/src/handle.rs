//! What a program holds: `Engine`, which starts runs, and `RunHandle`, which follows and steers one.
//! It does not know how a run goes on: it sends messages to the driver and reads what the driver leaves.

use crate::approval::Approve;
use crate::attempts::Home;
use crate::builder::EngineBuilder;
use crate::ended::EndedRun;
use crate::event_log::{EventLog, EventStream};
use crate::message::{Message, NewRun};
use crate::report::{CallError, Report};
use crate::schedule::{self, Schedule};
use crate::snapshot::Snapshot;
use crate::submitted::Submitted;
use crate::tables::Tables;
use crate::toolboxes::Toolboxes;
use fanout_core::{AttemptRef, RunId};
use fanout_plan::{Call, Catalog, Diagnostic, Plan, Severity, ValidPlan};
use fanout_store::Journal;
use fanout_tools::Peer;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, oneshot};

tokio::task_local! {
    /// Inside the future of an attempt that has a task: which attempt it is.
    pub(crate) static CURRENT: Current;
    /// Inside the driver, which polls some attempts itself: whose driver it is.
    pub(crate) static DRIVEN: Weak<EngineInner>;
}

thread_local! {
    /// While the driver polls an attempt: which. Cheaper than a task-local, since most such attempts do not ask.
    static INLINE: Cell<Option<AttemptRef>> = const { Cell::new(None) };
}

/// Does what the driver does of an attempt itself; must not unwind.
pub(crate) fn inline<R>(attempt: AttemptRef, work: impl FnOnce() -> R) -> R {
    INLINE.set(Some(attempt));
    let done = work();
    INLINE.set(None);
    done
}

/// Runs plans with the tools it was built with. Cheap to clone; all clones are one engine.
///
/// Dropping the last clone ends everything: running attempts are aborted, and their runs end as cancelled.
/// A tool that starts runs itself should not hold a clone, which would keep the engine alive for ever:
/// [`Engine::current`] gives it the engine it is called by.
///
/// # Example
/// ```
/// use fanout::{Call, Engine, Native, Plan};
/// use serde_json::json;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Add { a: i64, b: i64 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut math = Native::new("math");
/// math.add("add", "Adds two numbers.", |args: Add| async move { Ok(args.a + args.b) }).effects_none();
///
/// let engine = Engine::builder().toolbox(math.into()).build().expect("a good toolbox");
/// let plan = Plan::new("sum")
///     .call(Call::new("three", "math.add").args(json!({"a": 1, "b": 2})))
///     .call(Call::new("six", "math.add").args(json!({"a": "${three}", "b": 3})))
///     .output(json!("${six}"));
/// let valid = engine.validate(plan, Default::default()).expect("a valid plan");
/// let report = engine.run(valid).report().await;
/// assert_eq!(report.output.as_ref().map(|output| output.get()), Some("6"));
/// # }
/// ```
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<EngineInner>,
}

pub(crate) struct EngineInner {
    pub(crate) inbox: UnboundedSender<Message>,
    pub(crate) toolboxes: Toolboxes,
    /// What it was built with.
    pub(crate) amounts: Arc<BTreeMap<String, u64>>,
    pub(crate) seed: u64,
    pub(crate) runs: AtomicU32,
    pub(crate) journal: Option<Arc<Journal>>,
}

impl Drop for EngineInner {
    fn drop(&mut self) {
        // Fails only when the driver is gone, and with it everything that could be ended.
        let _ = self.inbox.send(Message::Shutdown);
    }
}

impl Engine {
    /// Starts building an engine.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::new()
    }

    /// The engine by which the surrounding attempt was started: `Some` only inside the future of a tool.
    pub fn current() -> Option<Engine> {
        let parent = Parent::current()?;
        Some(Engine { inner: parent.engine.upgrade()? })
    }

    /// All tools of the engine as they are now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.tables().catalog.clone()
    }

    pub(crate) fn tables(&self) -> Arc<Tables> {
        self.inner.toolboxes.tables()
    }

    /// The limits of the engine: `running`, `cpu`, `memory` and those it was built with.
    pub fn limits(&self) -> impl Iterator<Item = (&str, u64)> {
        self.inner.amounts.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Checks a plan against the tools and limits of this engine and fills in its inputs.
    ///
    /// # Errors
    /// All that is wrong with the plan, at once, each with its place. Warnings are in `ValidPlan::warnings`.
    pub fn validate(&self, plan: Plan, inputs: Map<String, Value>) -> Result<ValidPlan, Vec<Diagnostic>> {
        plan.validate(&self.catalog(), inputs, &self.inner.amounts)
    }

    /// Starts a run with the usual options. It begins at once, whether or not the handle is kept.
    pub fn run(&self, plan: ValidPlan) -> RunHandle {
        self.start(plan, RunOptions::default())
    }

    /// Starts a run. Inside the future of a tool it is a part of the surrounding attempt, whose keys and
    /// amounts it borrows, so that it can never wait for its own parent.
    pub fn start(&self, plan: ValidPlan, options: RunOptions) -> RunHandle {
        let (handle, mut new) = self.prepare(plan, &options, None);
        let parent = options
            .parent
            .or_else(Parent::current)
            .filter(|parent| std::ptr::eq(parent.engine.as_ptr(), Arc::as_ptr(&self.inner)));
        new.parent = parent.map(|parent| parent.attempt);
        self.begin(new);
        handle
    }

    pub(crate) fn begin(&self, new: NewRun) {
        self.send(Message::Start(Box::new(new)));
    }

    pub(crate) fn send(&self, message: Message) {
        // When the driver is gone, dropping the message marks its run as ended.
        let _ = self.inner.inbox.send(message);
    }

    /// What would run when, if every attempt lasted as long as expected: the real scheduler under a simulated
    /// clock. Nothing is called. A `when` counts as true; a `foreach` over a list not known yet as one element.
    pub fn schedule(&self, plan: &ValidPlan) -> Schedule {
        schedule::simulate(&self.tables(), plan)
    }
}

/// An attempt that has a task.
pub(crate) struct Current {
    pub(crate) home: Arc<Home>,
    pub(crate) attempt: AttemptRef,
}

/// The attempt inside which a run is started.
#[derive(Clone)]
pub struct Parent {
    pub(crate) engine: Weak<EngineInner>,
    pub(crate) attempt: AttemptRef,
}

impl Parent {
    /// The surrounding attempt: `Some` only inside the future of a tool. Needed only to hand it to a task of
    /// the tool's own, which Tokio does not tell where it comes from.
    pub fn current() -> Option<Parent> {
        match INLINE.get() {
            Some(attempt) => Some(Parent { engine: DRIVEN.try_with(Weak::clone).ok()?, attempt }),
            None => {
                let parent =
                    |current: &Current| Parent { engine: current.home.engine.clone(), attempt: current.attempt };
                CURRENT.try_with(parent).ok()
            }
        }
    }
}

/// How a run is started.
#[derive(Clone)]
pub struct RunOptions {
    /// Its share of the engine's limits against other runs; at least 1, which is the default.
    pub weight: u32,
    /// Whether calls may be added until [`RunHandle::close`]; else the run ends with its last call.
    pub open: bool,
    /// Whether calls that are added are forgotten once they have ended, so that a run of a million calls holds no more
    /// than those that are open. An added call then refers only to calls of the plan and to those added in the same
    /// list ([`RunHandle::add_calls`]); [`Report::forgotten`] counts those that are gone. Not for durable runs.
    pub forget: bool,
    /// Whether somebody can answer questions (the default): else a call that has to be approved is denied at once.
    pub attended: bool,
    /// Who is told and asked by tools while they work; questions have no answer without one.
    pub peer: Option<Arc<dyn Peer>>,
    /// Whether results may be handed on where `cache` says so (the default).
    pub cache: bool,
    /// Whether events are kept for [`RunHandle::events`] (the default); without, that stream only ends.
    pub events: bool,
    /// The attempt it is a part of; without one, the surrounding attempt if there is one.
    pub parent: Option<Parent>,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            weight: 1,
            open: false,
            forget: false,
            attended: true,
            peer: None,
            cache: true,
            events: true,
            parent: None,
        }
    }
}

/// How a run is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// Nothing new starts; what runs may end.
    Drain,
    /// Nothing new starts; what runs is aborted.
    Kill,
}

/// What somebody says about an attempt of which nobody knew whether it took effect.
#[derive(Clone, Debug)]
pub enum DoubtAnswer {
    /// Try again.
    Rerun,
    /// Count it as failed.
    Fail,
    /// It did take effect, and this is its result.
    Succeeded(Value),
}

/// A run in progress, or one that has ended. Cheap to clone. Dropping it does not cancel the run.
#[derive(Clone)]
pub struct RunHandle {
    inbox: UnboundedSender<Message>,
    run: RunId,
    shared: Arc<RunShared>,
}

impl RunHandle {
    pub(crate) fn new(inbox: UnboundedSender<Message>, run: RunId, shared: Arc<RunShared>) -> RunHandle {
        RunHandle { inbox, run, shared }
    }

    /// The id of the run, unique everywhere.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The name of its plan.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The events of the run from its first, as far as the buffer (65,536 events) still holds them.
    pub fn events(&self) -> EventStream {
        EventStream::new(self.shared.log.clone())
    }

    /// Adds calls behind those there; they may refer to any of those. For runs started as `open`.
    ///
    /// # Errors
    /// All that is wrong with the calls; then none is added. `run_ended` when the run has ended or was closed.
    pub async fn add_calls(&self, calls: Vec<Call>) -> Result<(), Vec<Diagnostic>> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Add { run: self.run, calls, reply });
        answer.await.unwrap_or_else(|_| Err(vec![run_ended()]))
    }

    /// Adds one call behind those there, and gives its answer when it has ended, whatever becomes of earlier ones.
    /// Calls stand in the order in which this returns; it does not wait. For runs started as `open`.
    ///
    /// The answer is an error, and the call is not added, where [`RunHandle::add_calls`] would refuse it. Dropping the
    /// answer does not cancel the call; [`RunHandle::cancel_call`] does.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use fanout::{Call, Engine, Native, Outcome, Plan, RunOptions};
    /// use serde_json::{Value, json};
    ///
    /// let mut text = Native::new("text");
    /// text.add("same", "Gives what it is given.", |args: Value| async move { Ok(args) }).effects_none();
    /// let engine = Engine::builder().toolbox(text.into()).build().expect("a good toolbox");
    /// let empty = engine.validate(Plan::new("session"), Default::default()).expect("a plan without calls");
    /// let session = engine.start(empty, RunOptions { open: true, ..RunOptions::default() });
    ///
    /// let first = session.submit(Call::new("c1", "text.same").args(json!({"x": 1})));
    /// let second = session.submit(Call::new("c2", "text.sane"));
    /// assert_eq!(second.await.expect_err("there is no such tool")[0].code, "unknown_tool");
    /// let end = first.await.expect("it is there");
    /// assert_eq!(end.outcome, Outcome::Succeeded);
    /// assert_eq!(end.value.as_ref().map(|value| value.get()), Some(r#"{"x":1}"#));
    /// session.close();
    /// # }
    /// ```
    pub fn submit(&self, call: Call) -> Submitted {
        let (reply, submitted) = Submitted::new();
        self.send(Message::Submit { run: self.run, call: Box::new(call), reply });
        submitted
    }

    /// No more calls will be added: the run ends with its last call.
    pub fn close(&self) {
        self.send(Message::Close { run: self.run });
    }

    /// Ends the run early. `Kill` may follow `Drain`.
    pub fn cancel(&self, how: Cancel) {
        self.send(Message::Cancel { run: self.run, call: None, force: how == Cancel::Kill });
    }

    /// Ends one call (with its elements) early, by its id in the plan; a running attempt is aborted.
    /// Unknown ids and calls that have ended are ignored.
    pub fn cancel_call(&self, id: &str) {
        self.send(Message::Cancel { run: self.run, call: Some(id.into()), force: true });
    }

    /// Nothing new starts until [`RunHandle::resume`]; what runs goes on.
    pub fn pause(&self) {
        self.send(Message::Pause { run: self.run });
    }

    /// The opposite of [`RunHandle::pause`].
    pub fn resume(&self) {
        self.send(Message::Resume { run: self.run });
    }

    /// Prepares for the end of the process: nothing new starts, and when this returns all that has happened until now
    /// is on disk, so that [`Engine::resume`] can go on with a durable run. It is paused then; what still runs when
    /// the process ends is lost.
    pub async fn leave(&self) {
        let (reply, left) = oneshot::channel();
        self.send(Message::Leave { run: self.run, reply });
        // An error says that the run has ended, or that nothing can be recorded.
        let _ = left.await;
    }

    /// Answers for a call in doubt, by its id (`fares[3]` for an element). Ignored when it is not in doubt.
    pub fn settle(&self, id: &str, answer: DoubtAnswer) {
        self.send(Message::Settle { run: self.run, call: id.into(), answer });
    }

    /// Answers whether a call may run that has to be approved, by its id (`fares[3]` for an element). Questions are
    /// told as [`What::ApprovalAsked`](crate::What).
    ///
    /// # Errors
    /// `not_asked` when the call does not wait for this; `arguments_invalid` and `key_outside_prefix` for other
    /// arguments that cannot be used. The question then stays open.
    pub async fn approve(&self, id: &str, answer: Approve) -> Result<(), Box<CallError>> {
        let (reply, answered) = oneshot::channel();
        self.send(Message::Approve { run: self.run, call: id.into(), answer, reply });
        answered.await.unwrap_or_else(|_| Err(not_asked(id)))
    }

    /// Whether the run has ended.
    pub fn has_ended(&self) -> bool {
        self.shared.has_ended()
    }

    /// What the run looks like now; `None` when it has ended.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Snapshot { run: self.run, reply });
        answer.await.ok()
    }

    /// Waits for the end of the run and gives the account of it. May be asked for again and by many.
    pub async fn report(&self) -> Arc<Report> {
        loop {
            // Made before looking, so that an end in between wakes it.
            let ended = self.shared.ended.notified();
            if self.shared.has_ended() {
                break;
            }
            ended.await;
        }
        self.shared.report()
    }

    fn send(&self, message: Message) {
        // Fails only when the driver is gone, and then the run has ended.
        let _ = self.inbox.send(message);
    }
}

/// What `approve` answers where nobody asked.
pub(crate) fn not_asked(call: &str) -> Box<CallError> {
    let message = format!("`{call}` does not wait to be approved: it is not there, was answered for, or has ended");
    Box::new(CallError { code: "not_asked".into(), message, detail: None })
}

/// What `add_calls` answers once no calls can be added.
pub(crate) fn run_ended() -> Diagnostic {
    Diagnostic {
        code: "run_ended",
        severity: Severity::Error,
        message: "no calls can be added: the run has ended, was closed, or was not started as open".into(),
        place: None,
        help: Some("start the run with `RunOptions { open: true, .. }` and add calls before `close`".into()),
        path: String::new(),
    }
}

/// What the driver leaves for the handles of a run.
pub(crate) struct RunShared {
    pub(crate) id: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) log: Arc<EventLog>,
    ended: Notify,
    data: Mutex<Stage>,
    report: OnceLock<Arc<Report>>,
}

enum Stage {
    Running,
    /// Ended; the account is made by the first who asks, not by the driver.
    Ended(Box<EndedRun>),
    /// Ended without an account: its driver is gone, or the account was made.
    Gone,
}

impl RunShared {
    pub(crate) fn new(id: Arc<str>, name: Arc<str>, log: Arc<EventLog>) -> RunShared {
        RunShared { id, name, log, ended: Notify::new(), data: Mutex::new(Stage::Running), report: OnceLock::new() }
    }

    /// The run has ended, and this is its account.
    pub(crate) fn end_with(&self, report: Report) {
        self.report.get_or_init(|| Arc::new(report));
        self.end(None);
    }

    /// The run has ended. Only the first call counts.
    pub(crate) fn end(&self, data: Option<Box<EndedRun>>) {
        let mut stage = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        if let Stage::Running = *stage {
            *stage = data.map_or(Stage::Gone, Stage::Ended);
        }
        drop(stage);
        self.log.end();
        self.ended.notify_waiters();
    }

    fn has_ended(&self) -> bool {
        !matches!(*self.data.lock().unwrap_or_else(PoisonError::into_inner), Stage::Running)
    }

    fn report(&self) -> Arc<Report> {
        let make = || {
            let mut stage = self.data.lock().unwrap_or_else(PoisonError::into_inner);
            let stage = std::mem::replace(&mut *stage, Stage::Gone);
            Arc::new(match stage {
                Stage::Ended(data) => data.account(),
                Stage::Running | Stage::Gone => Report::of_lost_run(self.id.clone(), self.name.clone()),
            })
        };
        self.report.get_or_init(make).clone()
    }
}

/// The driver's hold on what it shares with the handles: when it is dropped, the run has ended, however that came.
pub(crate) struct SharedGuard(pub(crate) Arc<RunShared>);

impl Drop for SharedGuard {
    fn drop(&mut self) {
        self.0.end(None);
    }
}
