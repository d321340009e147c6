//! Results against what their tool promises: its result schema.
//! It does not know how the tool was called, nor what follows from a broken promise.

use fanout_plan::{CatalogTool, ToolKind};
use fanout_tools::{ToolError, ToolOutput, ToolResult, spilled_to};
use serde_json::Value;
use std::sync::Arc;

/// What has to be checked of the results of a tool, if anything. A native one cannot give anything else.
pub(crate) fn of(tool: &Arc<CatalogTool>) -> Option<Arc<CatalogTool>> {
    (tool.spec.kind != ToolKind::Native && tool.promises_result()).then(|| tool.clone())
}

/// The result, or that it is not what the tool promises. What parses it may take a while.
pub(crate) fn checked(tool: &CatalogTool, result: ToolResult) -> ToolResult {
    let output = result?;
    match wrong(tool, &output) {
        None => Ok(output),
        Some(wrong) => {
            let message = format!(
                "`{}` gave a result that is not what it promises: {wrong}; mend the tool, or the schema of its result",
                tool.spec.name
            );
            Err(ToolError { whole: output.whole, ..ToolError::permanent(message).code("result_invalid") })
        }
    }
}

fn wrong(tool: &CatalogTool, output: &ToolOutput) -> Option<String> {
    let Ok(value) = serde_json::from_str::<Value>(output.value.get()) else {
        return Some("it is nested more than 127 levels deep, so it cannot be checked".to_owned());
    };
    let nothing = value.is_null() && tool.spec.kind == ToolKind::Http;
    // Of an HTTP tool that gives the whole answer, what is elsewhere is its body.
    if nothing || spilled_to(&value).or_else(|| spilled_to(&value["body"])).is_some() {
        return None;
    }
    tool.validate_result(&value).err()
}
