//! A plan as it was read or built (`Plan`, `Call`); nothing about it is checked but its shape.
//! It does not know any tools.

use crate::diagnostic::{Diagnostic, Source};
use crate::spec::{EffectsSpec, Priority, RetrySpec, SettingsSpec};
use crate::toolbox::DeclaredToolbox;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Calls in a list, and what holds for all of them.
///
/// ```
/// use fanout_plan::{Call, Plan};
/// let plan = Plan::new("sum")
///     .call(Call::new("a", "add").args(serde_json::json!({"x": 1, "y": 2})))
///     .call(Call::new("b", "add").args(serde_json::json!({"x": "${a}", "y": 3})))
///     .output(serde_json::json!("${b}"));
/// assert_eq!(plan.calls.len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What it is called; empty when it has no name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Values it wants from whoever runs it.
    pub inputs: BTreeMap<String, InputSpec>,
    /// The calls.
    pub calls: Vec<Call>,
    /// What it gives back, with references.
    pub output: Option<Value>,
    /// Named amounts: `running`, `cpu`, `memory`, and names of its own.
    pub limits: BTreeMap<String, u64>,
    /// The longest the run may last.
    pub deadline: Option<Duration>,
    /// What a failure does to the rest.
    pub on_failure: PlanOnFailure,
    /// Tools it carries itself. Only a file named by the person may.
    pub tools: Vec<DeclaredToolbox>,
    pub(crate) source: Option<Arc<Source>>,
    /// What is wrong with its shape; told by validation together with everything else.
    pub(crate) problems: Vec<Diagnostic>,
}

/// A value a plan wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputSpec {
    /// What it is for.
    pub description: String,
    /// JSON Schema of it; anything when absent.
    pub schema: Option<Value>,
    /// Its value when none is given; it must be given when absent.
    pub default: Option<Value>,
}

/// What a failure does to the rest of the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlanOnFailure {
    /// Only what needs the result is skipped.
    #[default]
    Continue,
    /// A call that may write starts only when every earlier call did not fail.
    Stop,
}

/// One wanted use of a tool.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its id: `[A-Za-z_][A-Za-z0-9_]*`.
    pub id: Arc<str>,
    /// The name of its tool.
    pub tool: Arc<str>,
    /// Its arguments, an object, with references.
    pub args: Value,
    /// An expression: it is skipped when false.
    pub when: Option<String>,
    /// A list, or a reference to one: it becomes a call per element.
    pub foreach: Option<Box<Value>>,
    /// Calls whose end it waits for.
    pub after: Vec<String>,
    /// Overrides what its tool declares.
    pub effects: Option<Box<EffectsSpec>>,
    /// Overrides its tool's settings.
    pub settings: Option<Box<SettingsSpec>>,
    /// What its failure does.
    pub on_failure: CallOnFailure,
}

/// What the failure of a call does.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum CallOnFailure {
    /// What needs its result is skipped.
    #[default]
    Fail,
    /// What needs its result sees this value.
    Value(Box<Value>),
}

impl Plan {
    /// A plan without calls.
    pub fn new(name: impl Into<String>) -> Plan {
        Plan { name: name.into(), ..Plan::default() }
    }

    /// Adds a call behind those there.
    #[must_use]
    pub fn call(mut self, call: Call) -> Plan {
        self.calls.push(call);
        self
    }

    /// Adds calls behind those there.
    #[must_use]
    pub fn with_calls(mut self, calls: impl IntoIterator<Item = Call>) -> Plan {
        self.calls.extend(calls);
        self
    }

    /// What it gives back.
    #[must_use]
    pub fn output(mut self, output: Value) -> Plan {
        self.output = Some(output);
        self
    }

    /// Declares an input.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>, input: InputSpec) -> Plan {
        self.inputs.insert(name.into(), input);
        self
    }

    /// Sets a named amount.
    #[must_use]
    pub fn limit(mut self, name: impl Into<String>, amount: u64) -> Plan {
        self.limits.insert(name.into(), amount);
        self
    }

    /// The longest the run may last.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Plan {
        self.deadline = Some(deadline);
        self
    }

    /// What a failure does to the rest.
    #[must_use]
    pub fn on_failure(mut self, on_failure: PlanOnFailure) -> Plan {
        self.on_failure = on_failure;
        self
    }

    /// The text it was read from.
    pub fn source(&self) -> Option<&Source> {
        self.source.as_deref()
    }

    /// Reads a plan: JSON when the file is named so or begins with `{`, else YAML.
    ///
    /// # Errors
    /// What keeps it from being read at all: not text, not YAML or JSON, too large, too deep, or tools that cannot
    /// be read. Calls and fields with a wrong shape are told by [`Plan::validate`], together with everything else.
    pub fn read(file_name: &str, bytes: &[u8]) -> Result<Plan, Vec<Diagnostic>> {
        crate::plan_read::read(file_name, bytes)
    }

    /// A plan from a JSON value of the same shape as a file.
    ///
    /// # Errors
    /// As [`Plan::read`], with paths instead of places.
    pub fn from_value(value: Value) -> Result<Plan, Vec<Diagnostic>> {
        crate::plan_read::from_value(value)
    }
}

impl Call {
    /// A call without arguments.
    pub fn new(id: impl Into<Arc<str>>, tool: impl Into<Arc<str>>) -> Call {
        Call {
            id: id.into(),
            tool: tool.into(),
            args: Value::Object(serde_json::Map::new()),
            when: None,
            foreach: None,
            after: Vec::new(),
            effects: None,
            settings: None,
            on_failure: CallOnFailure::Fail,
        }
    }

    /// Its arguments, an object, with references.
    #[must_use]
    pub fn args(mut self, args: Value) -> Call {
        self.args = args;
        self
    }

    /// It is skipped when this expression is false.
    #[must_use]
    pub fn when(mut self, expression: impl Into<String>) -> Call {
        self.when = Some(expression.into());
        self
    }

    /// It becomes a call per element of this list, or of the list this reference finds.
    #[must_use]
    pub fn foreach(mut self, list: impl Into<Value>) -> Call {
        self.foreach = Some(Box::new(list.into()));
        self
    }

    /// It waits for the end of these calls.
    #[must_use]
    pub fn after<S: Into<String>>(mut self, ids: impl IntoIterator<Item = S>) -> Call {
        self.after.extend(ids.into_iter().map(Into::into));
        self
    }

    /// What it touches, instead of what its tool declares.
    #[must_use]
    pub fn effects(mut self, effects: EffectsSpec) -> Call {
        self.effects = Some(Box::new(effects));
        self
    }

    /// What its dependents see when it fails.
    #[must_use]
    pub fn on_failure_value(mut self, value: Value) -> Call {
        self.on_failure = CallOnFailure::Value(Box::new(value));
        self
    }

    /// Its priority class.
    #[must_use]
    pub fn priority(self, priority: Priority) -> Call {
        self.set(|settings| settings.priority = Some(priority))
    }

    /// The longest an attempt may last.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Call {
        self.set(|settings| settings.timeout = Some(timeout))
    }

    /// The longest an attempt may be silent.
    #[must_use]
    pub fn idle_timeout(self, timeout: Duration) -> Call {
        self.set(|settings| settings.idle_timeout = Some(timeout))
    }

    /// How failures are retried.
    #[must_use]
    pub fn retry(self, retry: RetrySpec) -> Call {
        self.set(|settings| settings.retry = Some(retry))
    }

    /// How long an attempt is expected to last.
    #[must_use]
    pub fn expect(self, expect: Duration) -> Call {
        self.set(|settings| settings.expect = Some(expect))
    }

    /// A named amount held during each attempt.
    #[must_use]
    pub fn uses(self, name: impl Into<String>, amount: u64) -> Call {
        self.set(|settings| {
            settings.uses.insert(name.into(), amount);
        })
    }

    /// Any settings at once.
    #[must_use]
    pub fn set(mut self, change: impl FnOnce(&mut SettingsSpec)) -> Call {
        change(self.settings.get_or_insert_default());
        self
    }
}
