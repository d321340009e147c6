//! Validation: a `Plan` and a `Catalog` become a `ValidPlan`, or all problems at once.
//! It does not know how a plan is run.

use crate::catalog::{Catalog, ToolId};
use crate::condition::Condition;
use crate::diagnostic::{Diagnostic, Problems, Severity, Source};
use crate::effects::Effects;
use crate::ids::Ids;
use crate::node::At;
use crate::order::{Cycle, serial_order};
use crate::plan::{Call, InputSpec, Plan, PlanOnFailure};
use crate::spec::SettingsSpec;
use crate::template::Template;
use crate::valid_call::Checker;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A plan has at most this many calls.
pub const CALLS_MAX: usize = 1_000_000;
/// A run that forgets its calls has at most this many in all: they are numbered.
pub const FORGOTTEN_MAX: usize = u32::MAX as usize / 2;
/// A `foreach` over a list that is known before the run has at most this many elements.
pub const ELEMENTS_MAX: usize = 10_000;

/// A plan that can be run.
#[derive(Clone, Debug)]
pub struct ValidPlan {
    /// What it is called.
    pub name: String,
    /// Its inputs, defaults filled in and checked; references to them are already replaced.
    pub inputs: Map<String, Value>,
    /// The calls, as listed.
    pub calls: Vec<ValidCall>,
    /// The serial order: indexes into `calls`.
    pub order: Vec<u32>,
    /// What it gives back.
    pub output: Option<Template>,
    /// Its named amounts.
    pub limits: BTreeMap<String, u64>,
    /// The longest the run may last.
    pub deadline: Option<Duration>,
    /// What a failure does to the rest.
    pub on_failure: PlanOnFailure,
    /// What runs, but hardly as it was meant.
    pub warnings: Vec<Diagnostic>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) ids: Ids,
    pub(crate) amounts: BTreeMap<String, u64>,
    pub(crate) source: Option<Arc<Source>>,
}

/// A call that can be run.
#[derive(Clone, Debug)]
pub struct ValidCall {
    /// Its id.
    pub id: Arc<str>,
    /// Its tool.
    pub tool: ToolId,
    /// Its arguments.
    pub args: Template,
    /// It is skipped when this is false.
    pub when: Option<Condition>,
    /// It becomes a call per element of this list.
    pub foreach: Option<Box<Template>>,
    /// The calls it needs, by index, each once.
    pub inputs: SmallVec<[(u32, Needs); 2]>,
    /// What it touches: its own declaration or its tool's.
    pub effects: Arc<Effects>,
    /// Its settings over its tool's; absent ones are not filled in. Shared by calls with the same.
    pub settings: Arc<SettingsSpec>,
    /// What its dependents see when it fails.
    pub on_failure_value: Option<Arc<RawValue>>,
}

/// What is needed of another call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Its result.
    Result,
    /// That it has ended.
    Outcome,
}

impl Plan {
    /// Checks everything that can be known before the run. `limits_of_engine` are its named amounts; those of the
    /// plan narrow them or add to them.
    ///
    /// # Errors
    /// All problems at once, in the order of their places. Nothing of such a plan may be started.
    pub fn validate(
        self,
        catalog: &Arc<Catalog>,
        inputs: Map<String, Value>,
        limits_of_engine: &BTreeMap<String, u64>,
    ) -> Result<ValidPlan, Vec<Diagnostic>> {
        let mut problems = Problems::new(self.source.clone());
        problems.list = self.problems;
        let root = At::Root;
        let inputs = check_inputs(&self.inputs, inputs, &mut problems);
        let mut amounts = limits_of_engine.clone();
        for (name, amount) in &self.limits {
            if *amount == 0 {
                let at = root.field("limits");
                problems.error(
                    &at.field(name),
                    "bad_value",
                    format!("the limit `{name}` is 0: nothing that needs it could ever start"),
                );
            }
            amounts.entry(name.clone()).and_modify(|known| *known = (*known).min(*amount)).or_insert(*amount);
        }
        if self.calls.len() > CALLS_MAX {
            problems.error(
                &root.field("calls"),
                "too_many_calls",
                format!("the plan has {} calls; at most {CALLS_MAX} are run", self.calls.len()),
            );
            return Err(problems.finish());
        }
        let mut ids = Ids::default();
        ids.reserve(self.calls.len());
        check_ids(&mut ids, &self.calls, &mut problems);
        ids.seal();
        let mut checker = Checker::new(catalog, &ids, &inputs, &amounts, &mut problems, false);
        let first = 0;
        let calls = checker.calls(self.calls, first);
        let output = self.output.map(|output| checker.output(output));
        checker.warn_unused(&self.inputs);
        let order = check_cycles(&calls, &ids, &mut problems);
        if problems.failed() {
            return Err(problems.finish());
        }
        Ok(ValidPlan {
            name: self.name,
            inputs,
            calls,
            order,
            output,
            limits: self.limits,
            deadline: self.deadline,
            on_failure: self.on_failure,
            warnings: problems.finish(),
            catalog: catalog.clone(),
            ids,
            amounts,
            source: self.source,
        })
    }
}

impl ValidPlan {
    /// The tools it was checked against.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Calls that are added from now on are checked against these tools, among which those known so far have the same
    /// numbers.
    pub fn use_catalog(&mut self, catalog: Arc<Catalog>) {
        self.catalog = catalog;
    }

    /// The text it was read from.
    pub fn source(&self) -> Option<&Source> {
        self.source.as_deref()
    }

    /// The ids of `calls`, without those of [`ValidPlan::extend`].
    pub fn ids(&self) -> &Arc<Vec<Arc<str>>> {
        self.ids.planned()
    }

    /// The index of a call, those of [`ValidPlan::extend`] included unless they were forgotten.
    pub fn find(&self, id: &str) -> Option<u32> {
        self.ids.find(id).or_else(|| self.ids.find_earlier(id))
    }

    /// Calls that are added from now on refer only to those known so far and to those added with them, so that each
    /// can be forgotten when it has ended.
    pub fn forget_added(&mut self) {
        self.ids.forget_added();
    }

    /// Forgets a call that was added; its id can be used again.
    pub fn forget(&mut self, id: &str) {
        self.ids.forget(id);
    }

    /// Checks calls that are added while the plan runs. They stand behind those known so far and refer only
    /// backwards (after [`ValidPlan::forget_added`]: to those of the plan and of this list); their indexes go on where the known ones end. Their ids are known from then on; `self.calls`
    /// stays as it is.
    ///
    /// # Errors
    /// All problems at once; then none of the calls is known.
    pub fn extend(&mut self, calls: Vec<Call>) -> Result<Vec<ValidCall>, Vec<Diagnostic>> {
        let mut problems = Problems::new(None);
        let first = self.ids.len();
        let most = if self.ids.forgets() { FORGOTTEN_MAX } else { CALLS_MAX };
        if calls.len() > CALLS_MAX || first + calls.len() > most {
            let message = format!("the run would have {} calls; at most {most} are run", first + calls.len());
            problems.error(&At::Root, "too_many_calls", message);
            return Err(problems.finish());
        }
        check_ids(&mut self.ids, &calls, &mut problems);
        let mut checker = Checker::new(&self.catalog, &self.ids, &self.inputs, &self.amounts, &mut problems, true);
        let valid = checker.calls(calls, first);
        if problems.failed() {
            self.ids.forget_from(first);
            return Err(problems.finish());
        }
        self.ids.accept();
        Ok(valid)
    }
}

fn check_ids(ids: &mut Ids, calls: &[Call], problems: &mut Problems) {
    let list = At::Root.field("calls");
    for (index, call) in calls.iter().enumerate() {
        // What has no id was told when the plan was read.
        let unread = call.id.is_empty() && problems.failed();
        let before = ids.push(&call.id);
        let at = list.index(index);
        let at = at.field("id");
        if !unread && !crate::reference::is_id(&call.id) {
            let message = format!("{:?} cannot be an id", crate::path::shorten(&call.id, 60));
            problems.error(&at, "bad_id", message).help("an id is a letter or `_`, then letters, digits and `_`");
        } else if crate::reference::is_reserved(&call.id) {
            problems
                .error(&at, "reserved_id", format!("`{}` has a meaning of its own in references", call.id))
                .help("choose another id");
        } else if let (Some(before), false) = (before, unread) {
            let message = format!("there is already a call `{}`: the {} in the list", call.id, ordinal(before));
            problems.error(&at, "duplicate_id", message).help("ids are used once, since references name calls by them");
        }
    }
}

fn ordinal(index: u32) -> String {
    let n = u64::from(index) + 1;
    let end = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

/// The inputs with defaults, checked against their schemas.
fn check_inputs(
    declared: &BTreeMap<String, InputSpec>,
    mut given: Map<String, Value>,
    problems: &mut Problems,
) -> Map<String, Value> {
    let list = At::Root.field("inputs");
    for (name, input) in declared {
        let at = list.field(name);
        let schema = match input.schema.as_ref().map(crate::catalog::validator) {
            Some(Err(message)) => {
                problems.error(
                    &at.field("schema"),
                    "bad_schema",
                    format!("the schema of the input `{name}` does not compile: {message}"),
                );
                None
            }
            Some(Ok(validator)) => Some(validator),
            None => None,
        };
        let (value, at, what) = match (given.get(name), &input.default) {
            (Some(value), _) => (value, list.field(name), "the value given for"),
            (None, Some(default)) => (default, at.field("default"), "the default of"),
            (None, None) => {
                problems
                    .error_at_key(&at, "missing_input", format!("no value is given for the input `{name}`"))
                    .help(format!("give it with `--arg {name}=…`, or declare a default"));
                continue;
            }
        };
        for violation in schema.iter().flat_map(|validator| crate::catalog::violations(validator, value)) {
            problems.error(&at, "bad_input", format!("{what} the input `{name}` does not fit its schema: {violation}"));
        }
    }
    let mut inputs = Map::new();
    for (name, input) in declared {
        if let Some(value) = given.shift_remove(name).or_else(|| input.default.clone()) {
            inputs.insert(name.clone(), value);
        }
    }
    for name in given.keys() {
        let near = crate::nearest::nearest(name, declared.keys().map(String::as_str));
        problems
            .error(&list, "unknown_input", format!("a value is given for `{name}`, which is not an input of the plan"))
            .nearest(near);
    }
    inputs
}

/// The serial order, or the circle that forbids one, spelled out.
fn check_cycles(calls: &[ValidCall], ids: &Ids, problems: &mut Problems) -> Vec<u32> {
    let count = u32::try_from(calls.len()).unwrap_or(u32::MAX);
    match serial_order(count, |call| calls[call as usize].inputs.iter().map(|(input, _)| *input)) {
        Ok(order) => order,
        Err(Cycle(circle)) => {
            let name = |call: u32| &**ids.name(call);
            let mut names: Vec<&str> = circle.iter().map(|call| name(*call)).collect();
            if names.len() > 20 {
                names.splice(10..names.len() - 9, ["…"]);
            }
            names.extend(circle.first().map(|call| name(*call)));
            let at = At::Root.field("calls");
            let first = circle.first().copied().unwrap_or(0);
            let message = format!("these calls wait for each other: {}", names.join(" → "));
            problems
                .error(&at.index(first as usize), "cycle", message)
                .help("each call needs the next; one of these references or `after` has to go");
            Vec::new()
        }
    }
}

/// Whether a problem is only a warning, for callers that show both.
impl Diagnostic {
    /// Whether it forbids the run.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
