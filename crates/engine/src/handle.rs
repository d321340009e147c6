//! What a program holds: `Engine`, which starts runs, and `RunHandle`, which follows and steers one.
//! It does not know how a run goes on: it sends messages to the driver and reads what the driver leaves.

use crate::builder::EngineBuilder;
use crate::ended::EndedRun;
use crate::event_log::{EventLog, EventStream};
use crate::message::{Message, NewRun};
use crate::report::Report;
use crate::schedule::{self, Schedule};
use crate::snapshot::Snapshot;
use crate::tables::Tables;
use crate::{defaults, translate};
use fanout_core::{AttemptRef, RunId};
use fanout_plan::{Call, Catalog, Diagnostic, Plan, Severity, ValidPlan};
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, oneshot};

tokio::task_local! {
    /// Inside the future of an attempt: which attempt it is.
    pub(crate) static CURRENT: Parent;
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
    pub(crate) tables: Arc<Tables>,
    pub(crate) seed: u64,
    pub(crate) runs: AtomicU32,
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

    /// All tools of the engine.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.inner.tables.catalog
    }

    /// The limits of the engine: `running`, `cpu`, `memory` and those it was built with.
    pub fn limits(&self) -> impl Iterator<Item = (&str, u64)> {
        self.inner.tables.engine_limits.iter().map(|(name, limit)| (name.as_ref(), limit.1))
    }

    /// Checks a plan against the tools and limits of this engine and fills in its inputs.
    ///
    /// # Errors
    /// All that is wrong with the plan, at once, each with its place. Warnings are in `ValidPlan::warnings`.
    pub fn validate(&self, plan: Plan, inputs: Map<String, Value>) -> Result<ValidPlan, Vec<Diagnostic>> {
        plan.validate(self.catalog(), inputs, &self.inner.tables.amounts)
    }

    /// Starts a run with the usual options. It begins at once, whether or not the handle is kept.
    pub fn run(&self, plan: ValidPlan) -> RunHandle {
        self.start(plan, RunOptions::default())
    }

    /// Starts a run. Inside the future of a tool it is a part of the surrounding attempt, whose keys and
    /// amounts it borrows, so that it can never wait for its own parent.
    pub fn start(&self, plan: ValidPlan, options: RunOptions) -> RunHandle {
        let run = RunId(self.inner.runs.fetch_add(1, Ordering::Relaxed));
        let kept = if options.events { defaults::EVENTS_KEPT } else { 0 };
        let shared = Arc::new(RunShared {
            id: uuid::Uuid::now_v7().to_string().into(),
            name: plan.name.as_str().into(),
            log: Arc::new(EventLog::new(kept, plan.ids().clone(), self.catalog().clone())),
            ended: Notify::new(),
            data: Mutex::new(Stage::Running),
            report: OnceLock::new(),
        });
        let parent = options
            .parent
            .or_else(Parent::current)
            .filter(|parent| std::ptr::eq(parent.engine.as_ptr(), Arc::as_ptr(&self.inner)));
        let translated = translate::run(&self.inner.tables, run, &plan);
        let handle = RunHandle { inbox: self.inner.inbox.clone(), run, shared: shared.clone() };
        let new = NewRun {
            translated,
            plan,
            weight: options.weight.max(1),
            open: options.open,
            events: options.events,
            seed: self.inner.seed ^ (u64::from(run.0) << 32),
            parent: parent.map(|parent| parent.attempt),
            shared: SharedGuard(shared),
        };
        // When the driver is gone, dropping the message marks the run as ended.
        let _ = self.inner.inbox.send(Message::Start(Box::new(new)));
        handle
    }

    /// What would run when, if every attempt lasted as long as expected: the real scheduler under a simulated
    /// clock. Nothing is called. A `when` counts as true; a `foreach` over a list not known yet as one element.
    pub fn schedule(&self, plan: &ValidPlan) -> Schedule {
        schedule::simulate(&self.inner.tables, plan)
    }
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
        CURRENT.try_with(Parent::clone).ok()
    }
}

/// How a run is started.
#[derive(Clone)]
pub struct RunOptions {
    /// Its share of the engine's limits against other runs; at least 1, which is the default.
    pub weight: u32,
    /// Whether calls may be added until [`RunHandle::close`]; else the run ends with its last call.
    pub open: bool,
    /// Whether events are kept for [`RunHandle::events`] (the default); without, that stream only ends.
    pub events: bool,
    /// The attempt it is a part of; without one, the surrounding attempt if there is one.
    pub parent: Option<Parent>,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions { weight: 1, open: false, events: true, parent: None }
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

    /// Answers for a call in doubt, by its id (`fares[3]` for an element). Ignored when it is not in doubt.
    pub fn settle(&self, id: &str, answer: DoubtAnswer) {
        self.send(Message::Settle { run: self.run, call: id.into(), answer });
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
