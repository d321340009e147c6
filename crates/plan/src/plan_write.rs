//! Writes a plan in the form it is read in, so that it can be kept, sent and compared (`Plan::to_value`).
//! It does not know tools: those a plan carries are not written.

use crate::plan::{Call, CallOnFailure, InputSpec, Plan, PlanOnFailure};
use crate::spec::{Approval, CacheScope, EffectsSpec, InDoubt, Priority, RetrySpec, SettingsSpec};
use serde_json::{Map, Value, json};
use std::time::Duration;

impl Plan {
    /// The plan as a JSON value that [`Plan::from_value`] reads as the same plan. Tools it carries are left out.
    ///
    /// ```
    /// use fanout_plan::{Call, Plan};
    /// let plan = Plan::new("one").call(Call::new("a", "add").args(serde_json::json!({"x": 1})));
    /// let again = Plan::from_value(plan.to_value()).unwrap();
    /// assert_eq!(again.to_value(), plan.to_value());
    /// ```
    pub fn to_value(&self) -> Value {
        let mut plan = Map::new();
        let mut put = |name: &str, value: Option<Value>| value.map(|value| plan.insert(name.to_owned(), value));
        put("name", (!self.name.is_empty()).then(|| json!(self.name)));
        put("description", (!self.description.is_empty()).then(|| json!(self.description)));
        let inputs: Map<String, Value> = self.inputs.iter().map(|(name, spec)| (name.clone(), input(spec))).collect();
        put("inputs", (!inputs.is_empty()).then_some(Value::Object(inputs)));
        put("limits", (!self.limits.is_empty()).then(|| json!(self.limits)));
        put("deadline", self.deadline.map(seconds));
        put("on_failure", (self.on_failure == PlanOnFailure::Stop).then(|| json!("stop")));
        put("calls", Some(self.calls.iter().map(Call::to_value).collect()));
        put("output", self.output.clone());
        Value::Object(plan)
    }
}

impl Call {
    /// The call as one of a plan's `calls`.
    pub fn to_value(&self) -> Value {
        let mut call = Map::new();
        let mut put = |name: &str, value: Option<Value>| value.map(|value| call.insert(name.to_owned(), value));
        put("id", Some(json!(self.id)));
        put("tool", Some(json!(self.tool)));
        let has_args = self.args.as_object().is_none_or(|args| !args.is_empty());
        put("args", has_args.then(|| self.args.clone()));
        put("when", self.when.as_ref().map(|when| json!(when)));
        put("foreach", self.foreach.as_deref().cloned());
        put("after", (!self.after.is_empty()).then(|| json!(self.after)));
        put("effects", self.effects.as_deref().map(effects));
        put(
            "on_failure",
            match &self.on_failure {
                CallOnFailure::Fail => None,
                CallOnFailure::Value(value) => Some(json!({"value": value})),
            },
        );
        if let Some(own) = &self.settings {
            settings(own, &mut call);
        }
        Value::Object(call)
    }
}

fn input(spec: &InputSpec) -> Value {
    let mut input = Map::new();
    let mut put = |name: &str, value: Option<Value>| value.map(|value| input.insert(name.to_owned(), value));
    put("description", (!spec.description.is_empty()).then(|| json!(spec.description)));
    put("schema", spec.schema.clone());
    put("default", spec.default.clone());
    Value::Object(input)
}

pub(crate) fn effects(spec: &EffectsSpec) -> Value {
    let EffectsSpec { reads, writes, idempotent, destructive } = spec;
    json!({"reads": reads, "writes": writes, "idempotent": idempotent, "destructive": destructive})
}

pub(crate) fn settings(own: &SettingsSpec, call: &mut Map<String, Value>) {
    let SettingsSpec {
        timeout,
        idle_timeout,
        retry,
        priority,
        uses,
        expect,
        in_doubt,
        approval,
        approval_timeout,
        cache,
    } = own;
    let mut put = |name: &str, value: Option<Value>| value.map(|value| call.insert(name.to_owned(), value));
    put("timeout", timeout.map(seconds));
    put("idle_timeout", idle_timeout.map(seconds));
    put("retry", retry.as_ref().map(retries));
    put("priority", priority.map(|priority| json!(priority_word(priority))));
    put("uses", (!uses.is_empty()).then(|| json!(uses)));
    put("expect", expect.map(seconds));
    put(
        "in_doubt",
        in_doubt.map(|policy| {
            json!(match policy {
                InDoubt::Fail => "fail",
                InDoubt::Rerun => "rerun",
                InDoubt::Ask => "ask",
            })
        }),
    );
    put(
        "approval",
        approval.map(|approval| {
            json!(match approval {
                Approval::Always => "always",
                Approval::Destructive => "destructive",
                Approval::Never => "never",
            })
        }),
    );
    put("approval_timeout", approval_timeout.map(seconds));
    let scope = |scope| match scope {
        CacheScope::Run => "run",
        CacheScope::Engine => "engine",
        CacheScope::Disk => "disk",
    };
    let written = cache.map(|cache| match (cache.scope, cache.ttl) {
        (None, _) => json!(false),
        (Some(of), None) => json!({"scope": scope(of)}),
        (Some(of), Some(ttl)) => json!({"scope": scope(of), "ttl": seconds(ttl)}),
    });
    put("cache", written);
}

fn retries(spec: &RetrySpec) -> Value {
    let mut retry = Map::new();
    let mut put = |name: &str, value: Option<Value>| value.map(|value| retry.insert(name.to_owned(), value));
    put("attempts", spec.attempts.map(|attempts| json!(attempts)));
    put("backoff", spec.backoff.map(seconds));
    put("factor", spec.factor.map(|factor| json!(factor)));
    put("backoff_max", spec.backoff_max.map(seconds));
    Value::Object(retry)
}

fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::Lowest => "lowest",
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
        Priority::Highest => "highest",
    }
}

fn seconds(duration: Duration) -> Value {
    json!(duration.as_secs_f64())
}
