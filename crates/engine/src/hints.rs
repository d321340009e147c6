//! What would make the next run faster: tools whose missing declaration made calls run one by one.
//! It does not know how effects are enforced.

use crate::run::RunData;
use crate::tables::Tables;
use fanout_core::{CallRef, Cause};
use fanout_plan::{CatalogTool, ToolId, ToolKind};
use std::collections::BTreeMap;
use std::time::Duration;

/// What an undeclared tool cost.
#[derive(Default)]
struct Cost {
    waits: usize,
    total: Duration,
}

/// What undeclared tools cost a run.
#[derive(Default)]
pub(crate) struct Costs(BTreeMap<u32, Cost>);

impl Costs {
    /// Counts what a call waited for.
    pub(crate) fn note(&mut self, run: &RunData, tables: &Tables, call: CallRef) {
        let undeclared = |tool: ToolId| tables.catalog.tool(tool).undeclared;
        for (holder, duration) in key_waits(run, call) {
            let tools = [Some(run.tool(call)), run.tool_of(holder)];
            let mut blamed = tools.map(|tool| tool.filter(|tool| undeclared(*tool)));
            if blamed[0] == blamed[1] {
                blamed[1] = None;
            }
            for tool in blamed.into_iter().flatten() {
                let cost = self.0.entry(tool.0).or_default();
                cost.waits += 1;
                cost.total += duration;
            }
        }
    }
}

/// The hints of a run, the most costly tool first; `costs` are those of calls that are gone.
pub(crate) fn of(run: &RunData, tables: &Tables, mut costs: Costs) -> Vec<String> {
    if !tables.catalog.tools().iter().any(|tool| tool.undeclared) {
        return Vec::new();
    }
    for call in 0..u32::try_from(run.slots.len()).unwrap_or(u32::MAX) {
        run.with_elements(call).for_each(|call| costs.note(run, tables, call));
    }
    let mut costs: Vec<(u32, Cost)> = costs.0.into_iter().collect();
    costs.sort_by_key(|(_, cost)| std::cmp::Reverse(cost.total));
    costs.iter().map(|(tool, cost)| hint(tables.catalog.tool(ToolId(*tool)), cost)).collect()
}

fn key_waits(run: &RunData, call: CallRef) -> impl Iterator<Item = (CallRef, Duration)> {
    run.slot(call).into_iter().flat_map(|slot| run.waits(slot)).filter_map(move |wait| match wait.cause {
        Cause::Key { holder, .. } | Cause::OtherRun { holder, .. } if holder.run == run.id => {
            Some((holder, Duration::from_nanos(wait.ns)))
        }
        _ => None,
    })
}

fn hint(tool: &CatalogTool, cost: &Cost) -> String {
    let name = &tool.spec.name;
    let key = example_key(tool);
    let write = match tool.spec.kind {
        ToolKind::Http => format!(
            "`effects = \"none\"` if it only asks what nothing here changes, or what it touches, such as `effects = {{ reads = [\"{key}\"] }}`"
        ),
        ToolKind::Process => format!(
            "`effects = \"none\"` if it touches nothing, or what it touches, such as `effects = {{ reads = [\"{key}\"] }}`"
        ),
        ToolKind::Mcp => format!(
            "in `[toolbox.{}.tools.…]` `effects = \"none\"` if it touches nothing, or what it touches, such as `effects = {{ reads = [\"{key}\"] }}`",
            tool.toolbox
        ),
        ToolKind::Native => {
            format!("`.effects_none()` if it touches nothing, or what it touches, such as `.reads(\"{key}\")`")
        }
    };
    let calls = if cost.waits == 1 { "1 call".to_owned() } else { format!("{} calls", cost.waits) };
    format!(
        "`{name}` does not declare its effects, so {calls} waited {:.1?} to run one by one: declare {write}",
        cost.total
    )
}

/// A key that fits the arguments of the tool.
fn example_key(tool: &CatalogTool) -> String {
    let names = tool.spec.args_schema.get("properties").and_then(|properties| properties.as_object());
    let mut names = names.into_iter().flat_map(|names| names.keys());
    let id = names.clone().find(|name| **name == "id" || name.ends_with("_id") || name.ends_with("Id"));
    match names.find(|name| ["path", "file", "dir", "directory"].contains(&name.as_str())) {
        Some(name) => format!("file:${{args.{name}}}"),
        // What a request is about is mostly one thing of many.
        None if tool.spec.kind == ToolKind::Http => match id {
            Some(name) => format!("{}:${{args.{name}}}", tool.toolbox),
            None => tool.toolbox.to_string(),
        },
        None => "db:orders".to_owned(),
    }
}
