//! `tools/list`: the tools of the engine as their servers define them, and the gateway's own.
//! It does not call any.

use super::client::Asker;
use super::wire::{self, RpcError};
use super::{Expose, Gateway};
use crate::own::Listed;
use fanout::{CatalogTool, JsonText};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The tool that calls any other, where only few are listed.
pub(super) const CALL_TOOL: &str = "call_tool";

/// So many tools are in one page: many clients never ask for a second one.
const PAGE: usize = 1_000;

/// A page of the tools.
pub(super) fn tools(gateway: &Gateway, params: Option<&JsonText>, asker: &Arc<Asker>) -> Result<JsonText, RpcError> {
    let params: Option<Value> = params.and_then(|params| serde_json::from_str(params.get()).ok());
    let cursor = params.as_ref().and_then(|params| params.get("cursor"));
    let from: usize = match cursor {
        None | Some(Value::Null) => 0,
        Some(cursor) => cursor
            .as_str()
            .and_then(|cursor| cursor.parse().ok())
            .ok_or_else(|| RpcError::params("this cursor is not one that was given here"))?,
    };
    let catalog = gateway.engine.catalog();
    let engine = catalog.tools().iter().filter(|_| !gateway.finds()).filter(|tool| !gateway.is_own(&tool.spec.name));
    let own = gateway.own_tools.iter().map(own);
    let own = own.chain(gateway.finds().then(call_tool));
    let mut all = own.chain(engine.map(|tool| one(tool))).skip(from);
    let mut result = json!({"tools": all.by_ref().take(PAGE).collect::<Vec<_>>()});
    if all.next().is_some() {
        result["nextCursor"] = (from + PAGE).to_string().into();
    }
    if asker.modern {
        result["resultType"] = "complete".into();
        result["ttlMs"] = 0.into();
        result["cacheScope"] = "private".into();
    }
    Ok(wire::text(&result))
}

/// A tool of the engine: as its server wrote it, under the name it has here.
fn one(tool: &CatalogTool) -> Value {
    let spec = &tool.spec;
    if let Some(definition) = &spec.definition
        && let Ok(mut listed) = serde_json::from_str::<Map<String, Value>>(definition.get())
    {
        listed.insert("name".to_owned(), (&*spec.name).into());
        listed.insert("description".to_owned(), spec.description.as_str().into());
        // Tasks are between a client and a server; here is none.
        listed.shift_remove("execution");
        return listed.into();
    }
    let mut listed = json!({
        "name": &*spec.name,
        "description": spec.description,
        "inputSchema": object_schema(&spec.args_schema),
        "annotations": {
            "readOnlyHint": tool.effects.read_only(),
            "destructiveHint": tool.effects.destructive(),
            "idempotentHint": tool.effects.idempotent(),
        },
    });
    // A result that is no object has no place in `structuredContent`.
    if let Some(schema) = spec.result_schema.as_ref().filter(|schema| schema["type"] == "object") {
        listed["outputSchema"] = schema.clone();
    }
    listed
}

fn own(tool: &Listed) -> Value {
    let mut listed = json!({
        "name": &*tool.name,
        "description": tool.description,
        "inputSchema": object_schema(&tool.args_schema),
    });
    if let Some(schema) = &tool.result_schema {
        listed["outputSchema"] = schema.clone();
    }
    if let Some(annotations) = &tool.annotations {
        listed["annotations"] = annotations.clone();
    }
    listed
}

/// MCP wants an object's schema that says so.
fn object_schema(schema: &Value) -> Value {
    match schema {
        Value::Object(map) if map.get("type").is_some_and(|of| of == "object") => schema.clone(),
        Value::Object(map) => {
            let mut map = map.clone();
            map.insert("type".to_owned(), "object".into());
            map.into()
        }
        _ => json!({"type": "object"}),
    }
}

fn call_tool() -> Value {
    json!({
        "name": CALL_TOOL,
        "description": "Calls one tool by its name. Find names and arguments with `find_tools` first; for several calls \
                        that use each other's results, `run_plan` does them at once.\n\
                        Example: {\"name\": \"files.read\", \"arguments\": {\"path\": \"notes.txt\"}}",
        "inputSchema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "The tool, as `find_tools` names it."},
                "arguments": {"type": "object", "description": "Its arguments, by what `find_tools` says."},
            },
            "required": ["name"],
        },
    })
}

impl Gateway {
    /// Whether only few tools are listed, which find and call the others.
    pub(super) fn finds(&self) -> bool {
        self.expose == Expose::Find
    }
}
