//! What is not what it was when a durable run began: of the plan's file, and of the tools.
//! It does not know whether the run goes on all the same.

use crate::load::{Given, STDIN, read};
use fanout::{Plan, ToolChange};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// All that differs.
pub(crate) struct Changed {
    run: String,
    /// The plan's file.
    file: String,
    plan: Vec<PlanChange>,
    tools: Vec<ToolChange>,
}

/// How the plan's file differs from what was recorded.
#[derive(Debug, PartialEq)]
pub(crate) enum PlanChange {
    /// It is no plan any more.
    Unreadable,
    /// Something that is not about one call.
    Plan { fields: Vec<String> },
    /// A call is gone.
    CallRemoved { call: String },
    /// A call is new.
    CallAdded { call: String },
    /// Something about a call.
    Call { call: String, fields: Vec<String> },
    /// The calls stand in another order.
    Order,
}

impl Changed {
    /// Nothing where nothing differs.
    pub(crate) fn new(run: &str, file: &str, plan: Vec<PlanChange>, tools: Vec<ToolChange>) -> Option<Changed> {
        let changed = Changed { run: run.to_owned(), file: file.to_owned(), plan, tools };
        (!changed.plan.is_empty() || !changed.tools.is_empty()).then_some(changed)
    }

    pub(crate) fn as_json(&self) -> Value {
        let plan: Vec<Value> = self.plan.iter().map(PlanChange::as_json).collect();
        let tools = self.tools.iter().map(|change| json!({"tool": change.tool, "fields": change.fields}));
        let tools: Vec<Value> = tools.collect();
        json!({"code": "run_changed", "run": self.run, "file": self.file, "plan": plan, "tools": tools})
    }
}

impl PlanChange {
    fn as_json(&self) -> Value {
        match self {
            PlanChange::Unreadable => json!({"change": "unreadable"}),
            PlanChange::Plan { fields } => json!({"change": "plan", "fields": fields}),
            PlanChange::CallRemoved { call } => json!({"change": "call_removed", "call": call}),
            PlanChange::CallAdded { call } => json!({"change": "call_added", "call": call}),
            PlanChange::Call { call, fields } => json!({"change": "call", "call": call, "fields": fields}),
            PlanChange::Order => json!({"change": "order"}),
        }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |all: Vec<String>| all.join(", ");
        write!(out, "since the run {} began, ", self.run)?;
        if !self.plan.is_empty() {
            let changes = list(self.plan.iter().map(ToString::to_string).collect());
            write!(out, "the plan `{}` has changed ({changes})", self.file)?;
        }
        if !self.plan.is_empty() && !self.tools.is_empty() {
            out.write_str(", and ")?;
        }
        if !self.tools.is_empty() {
            let tools = list(self.tools.iter().map(ToString::to_string).collect());
            write!(out, "these tools have changed: {tools}")?;
        }
        write!(out, "; `--changed` goes on with the plan as it was and the tools as they are [run_changed]")
    }
}

impl fmt::Display for PlanChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |fields: &[String]| fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
        match self {
            PlanChange::Unreadable => write!(out, "it cannot be read any more"),
            PlanChange::Plan { fields } => write!(out, "its {}", quoted(fields)),
            PlanChange::CallRemoved { call } => write!(out, "the call `{call}` is gone"),
            PlanChange::CallAdded { call } => write!(out, "the call `{call}` is new"),
            PlanChange::Call { call, fields } => write!(out, "{} of the call `{call}`", quoted(fields)),
            PlanChange::Order => write!(out, "the order of its calls"),
        }
    }
}

/// How the plan's file differs from what was recorded; not at all where it says the same, or is gone.
pub(crate) fn of_plan(given: &Given) -> Vec<PlanChange> {
    if given.name == STDIN {
        return Vec::new();
    }
    let Ok((_, now)) = read(Path::new(&given.name)) else { return Vec::new() };
    if now == given.text {
        return Vec::new();
    }
    let (Ok(then), Ok(now)) = (given.plan(&given.text), given.plan(&now)) else {
        return vec![PlanChange::Unreadable];
    };
    changes(&whole(&then), &whole(&now))
}

/// A plan with the tools it carries.
fn whole(plan: &Plan) -> Value {
    let mut value = plan.to_value();
    let tools = plan.tools.iter().flat_map(|toolbox| {
        let called = toolbox.adapters.iter().map(|adapter| serde_json::to_value(adapter).unwrap_or_default());
        toolbox.spec.tools.iter().zip(called).map(|(tool, called)| (tool.name.to_string(), tool.fields(), called))
    });
    let tools: BTreeMap<String, Value> = tools.map(|(name, fields, called)| (name, json!([fields, called]))).collect();
    value["tools"] = json!(tools);
    value
}

fn changes(then: &Value, now: &Value) -> Vec<PlanChange> {
    let mut changes = Vec::new();
    let fields: Vec<String> = changed_fields(then, now).into_iter().filter(|field| field != "calls").collect();
    changes.extend((!fields.is_empty()).then_some(PlanChange::Plan { fields }));
    let by_id = |plan: &Value| -> BTreeMap<String, Value> {
        let calls = plan["calls"].as_array().into_iter().flatten();
        calls.map(|call| (call["id"].as_str().unwrap_or_default().to_owned(), call.clone())).collect()
    };
    let (before, after) = (by_id(then), by_id(now));
    for (id, call) in &before {
        match after.get(id) {
            None => changes.push(PlanChange::CallRemoved { call: id.clone() }),
            Some(other) if other != call => {
                changes.push(PlanChange::Call { call: id.clone(), fields: changed_fields(call, other) });
            }
            Some(_) => {}
        }
    }
    let added = after.keys().filter(|id| !before.contains_key(*id));
    changes.extend(added.map(|id| PlanChange::CallAdded { call: id.clone() }));
    if changes.is_empty() && then != now {
        changes.push(PlanChange::Order);
    }
    changes
}

/// The fields in which two objects differ; `args.n` where both have an object there.
fn changed_fields(then: &Value, now: &Value) -> Vec<String> {
    let mut fields = Vec::new();
    for name in differing(then, now) {
        let (then, now) = (&then[&name], &now[&name]);
        if then.is_object() && now.is_object() {
            fields.extend(differing(then, now).into_iter().map(|part| format!("{name}.{part}")));
        } else {
            fields.push(name);
        }
    }
    fields
}

fn differing(then: &Value, now: &Value) -> Vec<String> {
    let names = [then, now].into_iter().filter_map(Value::as_object).flat_map(|object| object.keys());
    let names: BTreeSet<&String> = names.collect();
    names.into_iter().filter(|name| then.get(name) != now.get(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_by_call_and_field() {
        let then =
            json!({"name": "p", "calls": [{"id": "a", "tool": "t", "args": {"x": 1}}, {"id": "b", "tool": "t"}]});
        let now = json!({"name": "q", "calls": [{"id": "a", "tool": "u", "args": {"x": 2}}, {"id": "c", "tool": "t"}]});
        let said = |then, now| changes(then, now).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            said(&then, &now),
            ["its `name`", "`args.x`, `tool` of the call `a`", "the call `b` is gone", "the call `c` is new"]
        );
        assert!(said(&then, &then).is_empty());
        let turned =
            json!({"name": "p", "calls": [{"id": "b", "tool": "t"}, {"id": "a", "tool": "t", "args": {"x": 1}}]});
        assert_eq!(said(&then, &turned), ["the order of its calls"]);
    }

    #[test]
    fn the_tools_a_plan_carries_are_part_of_it() {
        let plan = |argv: &str, description: &str| {
            let text = format!("{{tools: {{t: {{argv: ['{argv}'], description: '{description}'}}}}, calls: []}}");
            whole(&Plan::read("plan.yaml", text.as_bytes()).unwrap())
        };
        let fields = vec!["tools.t".to_owned()];
        assert_eq!(changes(&plan("true", ""), &plan("false", "")), [PlanChange::Plan { fields }]);
        assert_eq!(changes(&plan("true", ""), &plan("true", "It is true.")), []);
    }
}
