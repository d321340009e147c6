//! The stub tools of the evaluation: each gives back what the stage says and records what it was given.
//! It does not know any set; what the stubs answer is prepared by whoever runs a plan.

use fanout::{
    Attempt, EffectsSpec, Engine, Plan, Report, Tool, ToolFuture, ToolOutput, ToolSpec, Toolbox, ToolboxSpec, ValidPlan,
};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a plan of stubs may run before it counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(20);

/// What the stubs of one engine answer and what they were given, for the plan that runs now.
#[derive(Clone, Default)]
pub struct Stage(Arc<Mutex<Scene>>);

#[derive(Default)]
struct Scene {
    /// By the id of the call; null where nothing is said.
    answers: HashMap<String, Arc<RawValue>>,
    /// By the id of the call, in the order of arrival.
    given: Vec<(String, Value)>,
}

/// A stub: all stubs of a stage behave alike.
struct Stub(Stage);

impl Tool for Stub {
    fn call(&self, attempt: Attempt) -> ToolFuture {
        let mut scene = self.0.lock();
        let args = serde_json::from_str(attempt.args.get()).unwrap_or(Value::Null);
        let answer = scene.answers.get(&*attempt.id.call).cloned().unwrap_or_else(|| RawValue::NULL.to_owned().into());
        scene.given.push((attempt.id.call.to_string(), args));
        Box::pin(async move { Ok(ToolOutput::new(answer)) })
    }
}

impl Stage {
    /// Sets what the calls of the next plan answer, and forgets what was given.
    pub fn set<'a>(&self, answers: impl IntoIterator<Item = (&'a str, &'a Value)>) {
        let mut scene = self.lock();
        scene.given.clear();
        let raw = |value| to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned());
        scene.answers = answers.into_iter().map(|(id, value)| (id.to_owned(), raw(value).into())).collect();
    }

    /// What each call was given, in the order of arrival.
    pub fn given(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.lock().given)
    }

    /// An engine with these tools (name and schema of the arguments), all of them stubs without effects.
    ///
    /// # Errors
    /// Whatever is wrong with the tools.
    pub fn engine(&self, tools: Vec<(String, Value)>) -> Result<Engine, String> {
        let adapters = tools.iter().map(|_| Arc::new(Stub(self.clone())) as Arc<dyn Tool>).collect();
        let tools = tools.into_iter().map(|(name, schema)| spec(&name, schema, Some(EffectsSpec::default()))).collect();
        engine([Toolbox::new(ToolboxSpec { name: "stubs".into(), tools, ..ToolboxSpec::default() }, adapters)])
    }

    fn lock(&self) -> MutexGuard<'_, Scene> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A native tool as a catalog has it.
pub fn spec(name: &str, args_schema: Value, effects: Option<EffectsSpec>) -> ToolSpec {
    ToolSpec { effects, ..ToolSpec::native(name, args_schema) }
}

/// An engine with these toolboxes and defaults for the rest.
///
/// # Errors
/// Whatever is wrong with the toolboxes.
pub fn engine(toolboxes: impl IntoIterator<Item = Toolbox>) -> Result<Engine, String> {
    let builder = toolboxes.into_iter().fold(Engine::builder(), |builder, toolbox| builder.toolbox(toolbox));
    builder.build().map_err(|problems| told(&problems))
}

/// Reads a document with the product's own reader and validates it.
///
/// # Errors
/// Whatever is wrong with it.
pub fn validate(engine: &Engine, document: &Value) -> Result<ValidPlan, Vec<fanout::Diagnostic>> {
    let plan = Plan::read("plan.json", document.to_string().as_bytes())?;
    engine.validate(plan, serde_json::Map::new())
}

/// Runs a plan to its end.
///
/// # Errors
/// When it hangs.
pub async fn run(engine: &Engine, plan: ValidPlan) -> Result<Arc<Report>, String> {
    let run = engine.run(plan);
    tokio::time::timeout(HUNG_AFTER, run.report()).await.map_err(|_| format!("still running after {HUNG_AFTER:?}"))
}

/// Diagnostics in one line.
pub fn told(problems: &[fanout::Diagnostic]) -> String {
    let told: Vec<String> = problems
        .iter()
        .take(3)
        .map(|problem| format!("{} ({}) at {}", problem.message, problem.code, problem.path))
        .collect();
    told.join("; ")
}

/// Whether every call succeeded.
///
/// # Errors
/// The first call that did not.
pub fn all_succeeded(report: &Report) -> Result<(), String> {
    match report.calls.iter().find(|call| call.outcome != fanout::Outcome::Succeeded) {
        None => Ok(()),
        Some(call) => Err(format!("`{}` {:?}: {:?}", call.id, call.outcome, call.error)),
    }
}

/// A text as it stands in a plan when nothing in it is a reference.
pub fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// A value as it stands in a plan when nothing in it is a reference.
pub fn literal_value(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(literal(text)),
        Value::Array(items) => items.iter().map(literal_value).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), literal_value(value))).collect(),
        other => other.clone(),
    }
}

/// A runtime with two workers.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
