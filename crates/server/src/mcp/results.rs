//! What a call gave, as MCP's `CallToolResult`: the server's own where there is one, word for word.
//! It does not know which request it answers.

use super::wire::{self, RpcError};
use crate::answer::Answer;
use fanout::{CallEnd, Diagnostic, JsonText, Outcome};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How a call of the engine ended.
///
/// # Errors
/// The error its server answered with.
pub(super) fn ended(end: &CallEnd, modern: bool) -> Result<JsonText, RpcError> {
    let code = end.error.as_ref().map_or("", |error| &*error.code);
    match (end.outcome, &end.whole, code) {
        (Outcome::Succeeded, Some(whole), _) | (Outcome::Failed, Some(whole), "mcp_tool_error" | "input_required") => {
            Ok(dated(whole, modern))
        }
        (Outcome::Failed, Some(whole), "mcp_error") => match serde_json::from_str(whole.get()) {
            Ok(error) => Err(error),
            Err(_) => Ok(answered(failure(end), modern)),
        },
        (Outcome::Succeeded, None, _) => Ok(answered(value(end.value.as_ref()), modern)),
        _ => Ok(answered(failure(end), modern)),
    }
}

/// A call that was not begun, as its tool's answer: so the model can mend it.
pub(super) fn refused(problems: &[Diagnostic], modern: bool) -> JsonText {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| {
            // Where it stands in the run says nothing to who made one call.
            let path = problem.path.split_once(".args.").map_or("", |(_, path)| path);
            let at = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
            let help = problem.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
            format!("{at}{} [{}]{help}", problem.message, problem.code)
        })
        .collect();
    answered(Answer::error(lines.join("\n")), modern)
}

/// The result of a tool that does not speak MCP.
fn value(value: Option<&JsonText>) -> Answer {
    let text = value.map_or("null", |value| value.get());
    let parsed: Value = serde_json::from_str(text).unwrap_or_default();
    match parsed {
        Value::String(text) => Answer::text(text),
        Value::Object(_) => Answer { structured: Some(parsed), ..Answer::text(text) },
        _ => Answer::text(text),
    }
}

fn failure(end: &CallEnd) -> Answer {
    let Some(error) = &end.error else { return Answer::error("the call ended without a result") };
    let mut text = format!("{} [{}]", error.message, error.code);
    if let Some(detail) = &error.detail {
        text.push('\n');
        text.push_str(detail);
    }
    if end.outcome == Outcome::Denied {
        text.push_str(
            "\nTools that need an approval are asked for where the client can be asked (elicitation); \
             `approval = \"never\"` in the toolbox file lets one run without.",
        );
    }
    if end.outcome == Outcome::InDoubt {
        text.push_str("\nLook whether it took effect before calling it again.");
    }
    Answer::error(text)
}

/// The answer of a tool that is not a server's.
pub(super) fn answered(answer: Answer, modern: bool) -> JsonText {
    let Answer { content, structured, is_error } = answer;
    let mut result = json!({"content": content});
    if modern {
        result["resultType"] = "complete".into();
    }
    if let Some(structured) = structured {
        result["structuredContent"] = structured;
    }
    if is_error {
        result["isError"] = true.into();
    }
    wire::text(&result)
}

/// A result as the revision of the client has it: the newer one says whether it is complete.
pub(super) fn dated(whole: &JsonText, modern: bool) -> JsonText {
    let said = whole.get().contains("\"resultType\"");
    let fields: &[(&str, &str)] = if modern { &[("resultType", "\"complete\"")] } else { &[] };
    if modern || said { with_fields(whole, fields, !modern) } else { whole.clone() }
}

/// An object with these fields where it has not got them; without the newer revision's for a client of an older one.
pub(super) fn with_fields(whole: &JsonText, fields: &[(&str, &str)], strip: bool) -> JsonText {
    let Ok(mut object) = serde_json::from_str::<BTreeMap<String, &RawValue>>(whole.get()) else { return whole.clone() };
    if strip {
        for name in ["resultType", "ttlMs", "cacheScope"] {
            object.remove(name);
        }
    }
    let added: Vec<(&str, Box<RawValue>)> = fields
        .iter()
        .filter(|(name, _)| !object.contains_key(*name))
        .filter_map(|(name, value)| Some((*name, RawValue::from_string((*value).to_owned()).ok()?)))
        .collect();
    object.extend(added.iter().map(|(name, value)| ((*name).to_owned(), &**value)));
    wire::text(&object)
}
