//! What a plan from a client may not say, and what models write by mistake (`refused`, `advice`).
//! It does not know how a plan is run.

use fanout::{Approval, Diagnostic, Engine, Plan};
use serde_json::Value;

/// What is in a plan that only a person may say, who writes toolbox files and plans on this machine.
pub(super) fn refused(plan: &Plan, engine: &Engine) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    if !plan.tools.is_empty() {
        let message = "a plan that comes from a client cannot carry tools of its own";
        problems.push(
            Diagnostic::error("plan_tools", message)
                .with_path("tools")
                .with_help("use the tools that are there: find_tools shows them"),
        );
    }
    let catalog = engine.catalog();
    for (at, call) in plan.calls.iter().enumerate() {
        let path = |field: &str| format!("calls[{at}].{field}");
        if call.effects.is_some() {
            let message =
                format!("`{}` says what its tool touches, which a plan that comes from a client cannot", call.id);
            let help = "leave `effects` out: those of the tool count";
            problems.push(Diagnostic::error("plan_policy", message).with_path(path("effects")).with_help(help));
        }
        let Some(settings) = &call.settings else { continue };
        let own = catalog.find(&call.tool).map(|id| &*catalog.tool(id).settings);
        let strict = own.and_then(|settings| settings.approval).map_or(0, strictness);
        if settings.approval.is_some_and(|approval| strictness(approval) < strict) {
            let message = format!("`{}` asks for less approval than its tool `{}`", call.id, call.tool);
            let help = "leave `approval` out: a person decides";
            problems.push(Diagnostic::error("plan_policy", message).with_path(path("approval")).with_help(help));
        }
        let of_tool = own.map(|settings| &settings.uses).into_iter().flatten();
        let less = of_tool.filter(|(name, amount)| settings.uses.get(*name).is_some_and(|used| used < *amount));
        for (name, amount) in less {
            let message =
                format!("`{}` says that it uses less of `{name}` than its tool `{}` does", call.id, call.tool);
            let help = format!("leave `uses` out, or write {amount} or more");
            problems.push(Diagnostic::error("plan_policy", message).with_path(path("uses")).with_help(help));
        }
        if settings.in_doubt.is_some() && own.is_none_or(|own| own.in_doubt != settings.in_doubt) {
            let message = format!("`{}` says what to do when nobody knows whether it took effect", call.id);
            let help = "leave `in_doubt` out: the call is then told to be in doubt";
            problems.push(Diagnostic::error("plan_policy", message).with_path(path("in_doubt")).with_help(help));
        }
    }
    problems
}

fn strictness(approval: Approval) -> u8 {
    match approval {
        Approval::Never => 0,
        Approval::Destructive => 1,
        Approval::Always => 2,
    }
}

/// Fields that other formats have, and what they are called here.
const OTHER_NAMES: &[(&[&str], &str)] = &[
    (&["depends_on", "dependsOn", "dependencies", "needs", "requires", "wait_for"], "after"),
    (&["arguments", "parameters", "params", "input", "inputs", "kwargs"], "args"),
    (&["name", "function", "action", "tool_name", "toolName"], "tool"),
    (&["if", "condition"], "when"),
    (&["for_each", "forEach", "loop", "map", "each"], "foreach"),
];

/// What a model that knows other formats probably meant, in sentences.
pub(super) fn advice(plan: &Value) -> Vec<String> {
    let mut advice = Vec::new();
    let Some(map) = plan.as_object() else {
        if plan.is_array() {
            advice.push("a plan is an object: write {\"calls\": [ … ]} around the list".to_owned());
        }
        return advice;
    };
    let other = ["steps", "tasks", "nodes", "actions", "tool_calls", "plan", "jobs", "stages"];
    let list = map.get("calls").or_else(|| {
        let name = other.into_iter().find(|name| map.contains_key(*name))?;
        advice.push(format!("the list of calls is named `calls`, not `{name}`"));
        map.get(name)
    });
    let calls = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (names, ours) in OTHER_NAMES {
        let wrong = calls.iter().filter_map(Value::as_object).find_map(|call| {
            let name = names.iter().find(|name| call.contains_key(**name))?;
            (!call.contains_key(*ours)).then_some(*name)
        });
        if let Some(wrong) = wrong {
            let why = if *ours == "after" { ", and a reference such as ${id} in `args` waits by itself" } else { "" };
            advice.push(format!("in a call, `{wrong}` is named `{ours}`{why}"));
        }
    }
    if calls
        .iter()
        .any(|call| any_text(call, &|text| text.contains("{{") || text.contains("<node-") || is_dollar(text)))
    {
        advice.push("a result is referred to as ${id} or ${id.path[0]}; nothing else is filled in".to_owned());
    }
    advice
}

/// `$id.path` or `$1`, without the braces.
fn is_dollar(text: &str) -> bool {
    let rest = text.strip_prefix('$').unwrap_or_default();
    rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && rest.chars().all(|c| c.is_ascii_alphanumeric() || "_.[]-".contains(c))
}

/// Whether some text in a value is so. Values that were read are not nested deep.
fn any_text(value: &Value, so: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => so(text),
        Value::Array(list) => list.iter().any(|value| any_text(value, so)),
        Value::Object(map) => map.values().any(|value| any_text(value, so)),
        _ => false,
    }
}
