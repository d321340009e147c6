//! Durable runs as a program holds them: how one is begun, what was recorded of one, how it goes on.
//! It does not know how records are written, nor what follows from them.

use crate::event_log::EventLog;
use crate::handle::{Engine, RunHandle, RunOptions, RunShared, SharedGuard};
use crate::message::{Message, NewRun, Recovery};
use crate::{defaults, take_over, translate};
use fanout_core::{RunId, Time};
use fanout_plan::{Plan, ValidPlan};
use fanout_store::{
    Begun, Fact, Journal, JsonText, OwnedRun, Reader, Record, RunInfo, RunStarted, StoreError, ToolIdentity, Value,
};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// What a durable run is recorded with.
#[derive(Clone, Debug)]
pub struct Durable {
    key: Option<String>,
    context: Option<Json>,
    plan: Json,
    inputs: Json,
}

impl Durable {
    /// For this plan with these inputs, as they were validated.
    pub fn new(plan: &Plan, inputs: &Map<String, Json>) -> Durable {
        Durable { key: None, context: None, plan: plan.to_value(), inputs: Json::Object(inputs.clone()) }
    }

    /// A run of this key is started once: the same key and plan gives the run there is.
    #[must_use]
    pub fn key(self, key: impl Into<String>) -> Durable {
        Durable { key: Some(key.into()), ..self }
    }

    /// What whoever starts it wants to find again, such as where the plan and the tools came from.
    #[must_use]
    pub fn context(self, context: Json) -> Durable {
        Durable { context: Some(context), ..self }
    }

    fn hash(&self) -> String {
        plan_hash(&self.plan, &self.inputs)
    }

    /// The plan, its inputs and the context, as they are recorded.
    fn texts(&self) -> Result<(JsonText, JsonText, Option<JsonText>), StoreError> {
        Ok((text(&self.plan)?, text(&self.inputs)?, self.context.as_ref().map(text).transpose()?))
    }
}

fn no_text() -> StoreError {
    error("state_io", "the plan could not be made into text".to_owned())
}

/// A hash of a plan and its inputs: the same for the same, however it was written.
pub fn plan_hash(plan: &Json, inputs: &Json) -> String {
    let mut bytes = vec![b'['];
    fanout_store::canonical_json(plan, &mut bytes);
    bytes.push(b',');
    fanout_store::canonical_json(inputs, &mut bytes);
    bytes.push(b']');
    blake3::hash(&bytes).to_hex()[..32].to_owned()
}

/// What became of a durable run that was to be begun.
pub enum Started {
    /// It is new.
    New(RunHandle),
    /// Its key was used before for the same plan: this is that run.
    There(RunInfo),
}

/// What was recorded of a run when it began.
#[derive(Clone, Debug)]
pub struct RecordedRun {
    /// How far it is.
    pub info: RunInfo,
    /// Its plan, in the form that [`Plan::from_value`] reads.
    pub plan: Json,
    /// Its inputs.
    pub inputs: Map<String, Json>,
    /// The context it was begun with.
    pub context: Option<Json>,
    /// The tools it used last, by name: what each was.
    pub tools: BTreeMap<String, ToolIdentity>,
}

/// A tool that is not what it was when a run used it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolChange {
    /// Its name.
    pub tool: String,
    /// In what it differs: `args`, `result` (the schemas), `effects`, `version` (the declared one, else how it is
    /// called), or a setting such as `timeout`. Empty where that was not recorded.
    pub fields: Vec<String>,
}

impl RecordedRun {
    /// Reads what was recorded of a run.
    ///
    /// # Errors
    /// `run_unknown`, `record_damaged`, `blob_damaged`, and what keeps the journal from being read.
    pub fn read(state: &Path, id: &str) -> Result<RecordedRun, StoreError> {
        let reader = Reader::open(state)?;
        let (mut first, mut taken) = (None, None);
        let info = reader.replay(id, |_, record| match record.fact {
            Fact::RunStarted(started) => _ = first.get_or_insert(started),
            Fact::RunTaken { tools } => taken = Some(tools),
            _ => {}
        })?;
        let started = first.ok_or_else(|| match info.records {
            0 => error("run_unknown", format!("nothing of the run {id} is recorded: it begins now, or never did")),
            _ => damaged(id, "it has no beginning"),
        })?;
        let parsed = |value: &Value| -> Result<Json, StoreError> {
            let text = reader.text(value)?;
            serde_json::from_str(text.get()).map_err(|error| damaged(id, &error.to_string()))
        };
        let inputs = started.inputs.as_ref().map(&parsed).transpose()?;
        Ok(RecordedRun {
            info,
            plan: parsed(&started.plan)?,
            inputs: inputs.and_then(|inputs| inputs.as_object().cloned()).unwrap_or_default(),
            context: started.context.as_ref().map(&parsed).transpose()?,
            tools: taken.unwrap_or(started.tools).into_iter().map(|tool| (tool.name.clone(), tool)).collect(),
        })
    }

    /// The account of a run that has ended; `None` while it has not.
    ///
    /// # Errors
    /// As [`RecordedRun::read`].
    pub fn report(state: &Path, id: &str) -> Result<Option<JsonText>, StoreError> {
        let reader = Reader::open(state)?;
        let mut last = None;
        reader.replay(id, |_, record| {
            if let Fact::RunEnded { report, .. } = record.fact {
                last = report;
            }
        })?;
        last.as_ref().map(|report| reader.text(report)).transpose()
    }
}

/// How a run goes on.
#[derive(Clone, Default)]
pub struct Resume {
    /// Go on although tools are not what they were.
    pub changed: bool,
    /// What is said of calls that are in doubt, by id.
    pub in_doubt: BTreeMap<String, crate::DoubtAnswer>,
    /// Whether nobody can answer questions meanwhile.
    pub unattended: bool,
    /// Who is told and asked by tools while they work; questions have no answer without one.
    pub peer: Option<Arc<dyn fanout_tools::Peer>>,
}

impl Engine {
    fn journal(&self) -> Result<Arc<Journal>, StoreError> {
        let none = || error("state_missing", "the engine was built without a state directory".to_owned());
        self.inner.journal.clone().ok_or_else(none)
    }

    /// How many commits the journal of this engine made; none where it has none.
    pub fn commits(&self) -> u64 {
        self.inner.journal.as_ref().map_or(0, |journal| journal.commits())
    }

    /// Starts a run that outlives the process: see [`EngineBuilder::state_dir`](crate::EngineBuilder::state_dir).
    ///
    /// # Errors
    /// `forget_durable` for a run that forgets; `run_key_taken` when the key was used for another plan; what keeps the journal from being written.
    pub async fn start_durable(
        &self,
        plan: ValidPlan,
        options: RunOptions,
        durable: Durable,
    ) -> Result<Started, StoreError> {
        let journal = self.journal()?;
        if options.forget {
            return Err(error("forget_durable", FORGET_DURABLE.to_owned()));
        }
        let id: Arc<str> = uuid::Uuid::now_v7().to_string().into();
        let (weight, open, tools) = (options.weight.max(1), options.open, self.identities(&plan));
        let (of, name, calls, created) = (id.to_string(), plan.name.clone(), plan.calls.len() as u64, wall_clock());
        // What is recorded, and beside it what is run.
        let begun = blocking(move || {
            let key = durable.key.clone();
            let new = |plan_hash| fanout_store::NewRun { id: of, name, key, plan_hash, created, calls };
            // The text is made while the hash is, and while the disk takes that there is a run.
            let (begun, texts) = std::thread::scope(|scope| {
                let texts = scope.spawn(|| durable.texts());
                (journal.begin(new(durable.hash())), texts.join())
            });
            let (plan, inputs, context) = texts.unwrap_or_else(|_| Err(no_text()))?;
            let record = Box::new(RunStarted {
                plan: plan.into(),
                inputs: Some(inputs.into()),
                context: context.map(Value::from),
                weight,
                deadline: None,
                open,
                seed: 0,
                tools,
            });
            // A large plan takes a while to free, which nobody should wait for.
            tokio::task::spawn_blocking(move || drop(durable));
            Ok((begun?, record))
        });
        let (handle, mut new) = self.prepare(plan, &options, Some(id));
        match begun.await? {
            (Begun::New(owned), record) => new.durable = Some((owned, record)),
            (Begun::There(info), _) => return Ok(Started::There(info)),
        }
        self.begin(new);
        Ok(Started::New(handle))
    }

    /// Goes on with a recorded run whose process is gone. `plan` is the recorded plan, validated against this engine.
    ///
    /// # Errors
    /// `run_locked` when a process that lives has it; `run_left` when programs that the one before left behind do not
    /// end although they were killed; `run_ended`; `run_changed` when tools are not what they were,
    /// with what differs; `journal_illegal` when the record cannot have happened; `record_damaged`.
    pub async fn resume(
        &self,
        recorded: &RecordedRun,
        plan: ValidPlan,
        resume: Resume,
    ) -> Result<RunHandle, StoreError> {
        let journal = self.journal()?;
        let now = self.identities(&plan);
        let changed = changed(recorded, &now);
        if !changed.is_empty() && !resume.changed {
            return Err(error("run_changed", told(recorded, &changed)));
        }
        let id = recorded.info.id.clone();
        let (owned, records) = blocking(move || {
            let owned = take_over::take(&journal, &id)?;
            if owned.info.state.is_ended() {
                return Err(error("run_ended", format!("the run {id} has ended; `fanout report {id}` tells how")));
            }
            let records = records(journal.dir(), &id)?;
            Ok((owned, records))
        })
        .await?;
        let weight = records.first().map_or(1, |(record, _)| match &record.fact {
            Fact::RunStarted(started) => started.weight,
            _ => 1,
        });
        let options = RunOptions { attended: !resume.unattended, peer: resume.peer, weight, ..RunOptions::default() };
        let (handle, new) = self.prepare(plan, &options, Some(recorded.info.id.as_str().into()));
        let (reply, answer) = tokio::sync::oneshot::channel();
        let recovery = Recovery { new, owned, records, tools: now, in_doubt: resume.in_doubt, reply };
        self.send(Message::Recover(Box::new(recovery)));
        answer.await.unwrap_or_else(|_| Err(error("state_io", "the engine ended meanwhile".to_owned())))?;
        Ok(handle)
    }

    /// The tools of a recorded run that are not what they were when it used them last. `plan` is its plan, validated
    /// against this engine. [`Engine::resume`] refuses to go on while there are any.
    pub fn changed_tools(&self, recorded: &RecordedRun, plan: &ValidPlan) -> Vec<ToolChange> {
        changed(recorded, &self.identities(plan))
    }

    /// The tools a plan uses, each with a hash of what it is.
    fn identities(&self, plan: &ValidPlan) -> Vec<ToolIdentity> {
        let used: BTreeSet<_> = plan.calls.iter().map(|call| call.tool).collect();
        used.into_iter().map(|tool| identity(self.catalog().tool(tool))).collect()
    }

    pub(crate) fn prepare(&self, plan: ValidPlan, options: &RunOptions, id: Option<Arc<str>>) -> (RunHandle, NewRun) {
        let run = RunId(self.inner.runs.fetch_add(1, Ordering::Relaxed));
        let tables = self.tables();
        let kept = if options.events { defaults::EVENTS_KEPT } else { 0 };
        let id = id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string().into());
        let log = Arc::new(EventLog::new(kept, plan.ids().clone(), tables.catalog.clone()));
        let shared = Arc::new(RunShared::new(id, plan.name.as_str().into(), log));
        let translated = translate::run(&tables, run, &plan, options.cache);
        let handle = RunHandle::new(self.inner.inbox.clone(), run, shared.clone());
        let new = NewRun {
            translated,
            plan,
            weight: options.weight.max(1),
            open: options.open,
            forget: options.forget,
            attended: options.attended,
            peer: options.peer.clone(),
            events: options.events,
            seed: self.inner.seed ^ (u64::from(run.0) << 32),
            parent: None,
            durable: None,
            shared: SharedGuard(shared),
        };
        (handle, new)
    }
}

const FORGET_DURABLE: &str = "a durable run cannot forget its calls: going on with it later needs its whole record; start \
it without `forget`, or not as durable";

/// What a tool is, so that a change is noticed: all of its definition and its version.
pub(crate) fn identity(tool: &fanout_plan::CatalogTool) -> ToolIdentity {
    let hash = |value: &Json| {
        let mut bytes = Vec::new();
        fanout_store::canonical_json(value, &mut bytes);
        blake3::hash(&bytes).to_hex()[..16].to_owned()
    };
    let fields: BTreeMap<String, String> =
        tool.spec.fields().iter().map(|(name, value)| (name.clone(), hash(value))).collect();
    ToolIdentity { name: tool.spec.name.to_string(), hash: hash(&json!(fields)), fields }
}

/// What is not as it was.
fn changed(recorded: &RecordedRun, now: &[ToolIdentity]) -> Vec<ToolChange> {
    let change = |tool: &ToolIdentity| {
        let then = recorded.tools.get(&tool.name);
        if then.is_some_and(|then| then.hash == tool.hash) {
            return None;
        }
        let then = then.map(|then| &then.fields).filter(|fields| !fields.is_empty());
        let fields = then.into_iter().flat_map(|then| {
            let names: BTreeSet<&String> = then.keys().chain(tool.fields.keys()).collect();
            names.into_iter().filter(|name| then.get(*name) != tool.fields.get(*name)).cloned()
        });
        Some(ToolChange { tool: tool.name.clone(), fields: fields.collect() })
    };
    now.iter().filter_map(change).collect()
}

impl fmt::Display for ToolChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}`", self.tool)?;
        if self.fields.is_empty() {
            return Ok(());
        }
        let fields: Vec<String> = self.fields.iter().map(|field| format!("`{field}`")).collect();
        write!(out, " ({})", fields.join(", "))
    }
}

fn told(recorded: &RecordedRun, changed: &[ToolChange]) -> String {
    let tools: Vec<String> = changed.iter().map(ToString::to_string).collect();
    format!(
        "since the run {} began, these tools have changed: {}; to go on with them as they are now, say so",
        recorded.info.id,
        tools.join(", ")
    )
}

/// All records of a run, and for each its values as text.
fn records(dir: &Path, id: &str) -> Result<Vec<(Record, Vec<JsonText>)>, StoreError> {
    let reader = Reader::open(dir)?;
    let mut records = Vec::new();
    let mut wrong = None;
    reader.replay(id, |_, record| {
        let texts: Result<Vec<JsonText>, StoreError> = record.fact.values().map(|value| reader.text(value)).collect();
        match texts {
            Ok(texts) => records.push((record, texts)),
            Err(error) => _ = wrong.get_or_insert(error),
        }
    })?;
    wrong.map_or(Ok(records), Err)
}

/// Begins at once, not when it is waited for.
fn blocking<T: Send + 'static>(
    doing: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> impl Future<Output = Result<T, StoreError>> {
    let doing = tokio::task::spawn_blocking(doing);
    async { doing.await.unwrap_or_else(|_| Err(error("state_io", "the runtime is shutting down".to_owned()))) }
}

pub(crate) fn text(value: &Json) -> Result<JsonText, StoreError> {
    let text = serde_json::value::to_raw_value(value);
    text.map(JsonText::from).map_err(|wrong| error("state_io", wrong.to_string()))
}

pub(crate) fn error(code: &'static str, message: String) -> StoreError {
    StoreError { code, message, place: None }
}

pub(crate) fn damaged(id: &str, what: &str) -> StoreError {
    error("record_damaged", format!("run {id}: {what}"))
}

/// The moment, as the journal counts: nanoseconds since 1970.
pub fn wall_clock() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// A run that this process owns, as the driver keeps it.
pub(crate) type Owned = OwnedRun;
