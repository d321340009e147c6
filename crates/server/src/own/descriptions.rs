//! What models read of the own tools: descriptions and argument schemas, with one example each.
//! It does not know how the tools do what is said here.

use super::Listed;
use serde_json::{Value, json};

const RUN_PLAN: &str = r#"Runs many tool calls in one go: independent ones in parallel, the others as soon as what they need is there. Use it whenever you want more than one call. The result is what running the calls one by one in the listed order would have given.

A plan is a list of calls. Each has an `id`, a `tool` (by its full name) and `args`. To use a result of another call write "${id}" or a path in it, "${id.items[0].name}", anywhere in `args`; that is also what makes a call wait. Nothing else needs to be said about order: calls that would write the same thing keep the order in which they are listed.
Also: `after: [ids]` waits without using a result; `when: "a.price < 300"` skips the call if false; `foreach: "${a.items}"` makes one call per element, which is "${item}", and gives the list of results; `on_failure: {value: …}` goes on with a value. `output` says what you want back; without it you get every result.

Example: {"plan": {"calls": [
  {"id": "found", "tool": "search", "args": {"query": "tax"}},
  {"id": "pages", "tool": "fetch", "foreach": "${found.urls}", "args": {"url": "${item}"}},
  {"id": "note", "tool": "write_file", "args": {"path": "tax.md", "text": "About ${found.title}: ${pages}"}}],
 "output": {"written": "${note}"}}}"#;

const CHECK_PLAN: &str = "Checks a plan (as for run_plan) without running anything: everything that is wrong with it, with \
the place and how to mend it; or, if it is right, what would run when and what waits for what.";

const RUN_STATUS: &str = "Says how a run of run_plan is doing that had not ended when run_plan answered: what has ended, \
what runs, what waits and for what; once it has ended, its result. Waits up to `wait_seconds` for the end.";

const CANCEL_RUN: &str = "Cancels a run of run_plan: nothing new starts and running calls are ended.";

const FIND_TOOLS: &str = "Finds tools by words about what they do, among all that are there. Gives names, descriptions, \
arguments and what they touch. Use the names in run_plan (or call_tool). Example: {\"query\": \"edit a file\"}";

const READ_RESULT: &str = "Reads more of a result that was cut. `ref` stands where it was cut; with `path` a part of it \
(\".items[3].name\", \".items[*].id\", \"[?@.price < 300]\"), with `from` and `to` a range of characters. \
Example: {\"ref\": \"r4\", \"path\": \".items[0:10]\"}";

/// The own tools, in the order in which they are listed.
pub(super) fn all() -> Vec<Listed> {
    let read_only = || Some(json!({"readOnlyHint": true, "openWorldHint": false}));
    let may_write = Some(json!({"readOnlyHint": false, "destructiveHint": true}));
    let mut tools = vec![
        listed("run_plan", RUN_PLAN, plan_args(true), may_write),
        listed("check_plan", CHECK_PLAN, plan_args(false), read_only()),
        listed("find_tools", FIND_TOOLS, find_args(), read_only()),
    ];
    tools.push(listed("read_result", READ_RESULT, read_args(), read_only()));
    tools.push(listed("run_status", RUN_STATUS, run_args(json!({"wait_seconds": wait_seconds(0)})), read_only()));
    let cancels =
        Some(json!({"readOnlyHint": false, "destructiveHint": true, "idempotentHint": true, "openWorldHint": false}));
    tools.push(listed("cancel_run", CANCEL_RUN, run_args(json!({})), cancels));
    tools
}

fn listed(name: &str, description: &str, args_schema: Value, annotations: Option<Value>) -> Listed {
    Listed { name: name.into(), description: description.into(), args_schema, result_schema: None, annotations }
}

fn wait_seconds(default: u64) -> Value {
    json!({
        "type": "number", "minimum": 0, "maximum": super::plans::WAIT_SECONDS_MAX, "default": default,
        "description": "How long to wait for the end before answering with the run's id."
    })
}

fn plan_args(run: bool) -> Value {
    // The schema that `fanout schema plan` prints is ten times as large; what is not here is still understood.
    let duration = json!({"type": ["string", "number"], "description": "Such as \"30s\" or \"2m\"."});
    let call = json!({
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "Its name in references: letters, digits, _."},
            "tool": {"type": "string", "description": "The tool's full name."},
            "args": {"type": "object", "description": "Its arguments, with references such as ${id.path}."},
            "foreach": {"description": "\"${id.list}\" or a list: one call per element, which is ${item}."},
            "when": {"type": "string", "description": "A condition in Jinja over results: \"a.price < 300\"."},
            "after": {"type": "array", "items": {"type": "string"}, "description": "Calls whose end it waits for."},
            "on_failure": {"description": "{\"value\": …}: what stands for its result if it fails."},
            "timeout": duration.clone(),
            "retry": {"type": "object", "description": "{\"attempts\": 3}"}
        },
        "required": ["id", "tool"]
    });
    let plan = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "calls": {"type": "array", "items": call},
            "output": {"description": "What to give back, with references; every result when absent."},
            "on_failure": {"enum": ["continue", "stop"], "description": "stop: nothing is written after a failure."},
            "deadline": duration
        },
        "required": ["calls"]
    });
    let mut properties = json!({
        "plan": plan,
        "inputs": {"type": "object", "description": "Values for the plan's `inputs`, if it declares any."}
    });
    if run {
        properties["wait_seconds"] = wait_seconds(super::plans::WAIT_SECONDS);
    }
    json!({"type": "object", "properties": properties, "required": ["plan"]})
}

fn find_args() -> Value {
    json!({
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "Words about what the tool should do."},
            "limit": {"type": "integer", "minimum": 1, "maximum": super::FIND_MAX, "default": super::FIND_LIMIT}
        },
        "required": ["query"]
    })
}

fn read_args() -> Value {
    json!({
        "type": "object",
        "properties": {
            "ref": {"type": "string", "description": "The reference, such as r4."},
            "path": {"type": "string", "description": "A path into the value (RFC 9535 without the $)."},
            "from": {"type": "integer", "minimum": 0, "description": "The first character."},
            "to": {"type": "integer", "minimum": 0, "description": "The character behind the last."}
        },
        "required": ["ref"]
    })
}

fn run_args(more: Value) -> Value {
    let mut properties = json!({"run": {"type": "string", "description": "The id that run_plan gave."}});
    if let (Some(properties), Value::Object(more)) = (properties.as_object_mut(), more) {
        properties.extend(more);
    }
    json!({"type": "object", "properties": properties, "required": ["run"]})
}
