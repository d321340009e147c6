//! Tests of plans as people write them: texts in, diagnostics or values out.
//! They do not know how anything inside is made.

mod diagnostics;
mod hostile;
mod http_tools;
mod keys;
mod limits;
mod mcp;
mod openapi;
mod order;
mod properties;
mod references;
mod schemas;
mod smoke;
mod toolboxes;
mod written;

use fanout_plan::{Catalog, Diagnostic, EffectsSpec, Plan, ToolSpec, ToolboxSpec, ValidPlan};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A tool with this schema and these effects.
fn tool(name: &str, args_schema: Value, effects: Option<EffectsSpec>) -> ToolSpec {
    ToolSpec { effects, ..ToolSpec::native(name, args_schema) }
}

/// A few tools of a journey.
fn catalog() -> Arc<Catalog> {
    let none = || Some(EffectsSpec::default());
    let any = || json!({"type": "object"});
    let search = json!({"type": "object", "properties": {
        "from": {"type": "string"}, "to": {"type": "string"}, "nights": {"type": "integer", "minimum": 1},
        "tags": {"type": "array", "items": {"type": "string"}},
    }, "required": ["from"], "additionalProperties": false});
    let path = json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
    let writes = EffectsSpec { writes: vec!["file:${args.path}".into()], ..EffectsSpec::default() };
    let tools =
        vec![tool("any", any(), none()), tool("air.search", search, none()), tool("file.write", path, Some(writes))];
    let toolbox = ToolboxSpec { name: "trip".into(), tools, ..ToolboxSpec::default() };
    let bare = ToolboxSpec { name: "bare".into(), tools: vec![tool("bare.do", any(), None)], ..ToolboxSpec::default() };
    Arc::new(Catalog::new([toolbox, bare]).expect("the tools of the tests compile"))
}

/// Reads and validates a plan as the command does.
fn validate(file: &str, text: &[u8], inputs: Map<String, Value>) -> Result<ValidPlan, Vec<Diagnostic>> {
    let limits = BTreeMap::from([("running".to_owned(), 8), ("cpu".to_owned(), 4)]);
    Plan::read(file, text)?.validate(&catalog(), inputs, &limits)
}

/// All that is said of a plan, one line each.
fn said(text: &str) -> String {
    let diagnostics = match validate("plan.yaml", text.as_bytes(), Map::new()) {
        Ok(plan) => plan.warnings,
        Err(problems) => problems,
    };
    if diagnostics.is_empty() {
        return "fine\n".to_owned();
    }
    diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

/// The codes of what is wrong.
fn codes(result: Result<ValidPlan, Vec<Diagnostic>>) -> Vec<&'static str> {
    result.err().unwrap_or_default().iter().map(|problem| problem.code).collect()
}
