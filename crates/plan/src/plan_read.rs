//! Plans from documents: fields, their types, and names that are not known.
//! It does not know any tools; what needs them is checked by validation.

use crate::diagnostic::{Diagnostic, Problems, Source};
use crate::fields::Fields;
use crate::node::{At, Content, Node};
use crate::plan::{Call, CallOnFailure, InputSpec, Plan, PlanOnFailure};
use crate::read::Syntax;
use crate::settings_read::{LATER, amounts, effects, settings};
use crate::spec::SettingsSpec;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Reads a plan file.
pub(crate) fn read(file_name: &str, bytes: &[u8]) -> Result<Plan, Vec<Diagnostic>> {
    let json = match Path::new(file_name).extension().and_then(|ext| ext.to_str()) {
        Some(ext) if ext.eq_ignore_ascii_case("json") => true,
        Some(ext) if ext.eq_ignore_ascii_case("yaml") || ext.eq_ignore_ascii_case("yml") => false,
        _ => bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{'),
    };
    let source = crate::read::document(file_name, bytes, if json { Syntax::Json } else { Syntax::Yaml })?;
    let base_dir = Path::new(file_name).parent().unwrap_or(Path::new(""));
    plan(&source.root, Some(source.clone()), base_dir)
}

/// Reads a plan from a value.
pub(crate) fn from_value(value: Value) -> Result<Plan, Vec<Diagnostic>> {
    if deeper_than(&value, crate::read::READ_DEPTH_MAX) {
        let message = format!("the plan is nested deeper than {}", crate::read::READ_DEPTH_MAX);
        return Err(vec![Diagnostic::error("too_deep", message)]);
    }
    plan(&Node::of(value), None, Path::new(""))
}

/// Whether a value is nested deeper than this.
pub(crate) fn deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(list) => levels == 0 || list.iter().any(|value| deeper_than(value, levels - 1)),
        Value::Object(map) => levels == 0 || map.values().any(|value| deeper_than(value, levels - 1)),
        _ => false,
    }
}

fn plan(root: &Node, source: Option<Arc<Source>>, base_dir: &Path) -> Result<Plan, Vec<Diagnostic>> {
    let mut problems = Problems::new(source.clone());
    let plan = fields_of_plan(root, base_dir, &mut problems);
    let problems = problems.finish();
    // Tools that cannot be read would make every use of them a problem too: those problems come alone.
    let of_tools = |problem: &Diagnostic| problem.path.starts_with("tools") || problem.path.starts_with("toolbox");
    match plan {
        Some(plan) if !problems.iter().any(of_tools) => Ok(Plan { source, problems, ..plan }),
        _ => Err(problems),
    }
}

fn fields_of_plan(root: &Node, base_dir: &Path, problems: &mut Problems) -> Option<Plan> {
    let at = At::Root;
    let mut fields = Fields::of(root, &at, "a plan", problems)?;
    let mut plan = Plan {
        name: fields.text("name", problems).unwrap_or_default(),
        description: fields.text("description", problems).unwrap_or_default(),
        limits: amounts(&mut fields, "limits", &at, problems),
        deadline: fields.duration("deadline", problems),
        on_failure: fields
            .word("on_failure", &[("continue", PlanOnFailure::Continue), ("stop", PlanOnFailure::Stop)], problems)
            .unwrap_or_default(),
        output: fields.take("output").map(Node::to_value),
        ..Plan::default()
    };
    for (name, node) in fields.map("inputs", problems).unwrap_or_default() {
        if let Some(input) = input(node, &at.field("inputs").field(&name.text), problems) {
            plan.inputs.insert(name.text.clone(), input);
        }
    }
    match fields.take("calls") {
        None => fields.missing("calls", "the plan", problems),
        Some(node) => match &node.value {
            Content::List(list) => {
                let at = at.field("calls");
                plan.calls =
                    list.iter().enumerate().map(|(index, node)| call(node, &at.index(index), problems)).collect();
            }
            _ => {
                problems.error(&at.field("calls"), "wrong_type", format!("`calls` is a list, not {}", node.kind()));
            }
        },
    }
    plan.tools = crate::toolbox_read::toolboxes(&mut fields, "plan", base_dir, problems);
    fields.done("the plan", &LATER, problems);
    Some(plan)
}

fn input(node: &Node, at: &At<'_>, problems: &mut Problems) -> Option<InputSpec> {
    let mut fields = Fields::of(node, at, "an input", problems)?;
    let input = InputSpec {
        description: fields.text("description", problems).unwrap_or_default(),
        schema: fields.take("schema").map(Node::to_value),
        default: fields.take("default").map(Node::to_value),
    };
    fields.done("an input", &["secret"], problems);
    Some(input)
}

/// A call; without an id or tool where those cannot be read, so that those behind it keep their places.
fn call(node: &Node, at: &At<'_>, problems: &mut Problems) -> Call {
    let Some(mut fields) = Fields::of(node, at, "a call", problems) else { return Call::new("", "") };
    let id = fields.text("id", problems);
    let tool = fields.text("tool", problems);
    let name =
        id.as_ref().map_or_else(|| "the call".to_owned(), |id| format!("the call `{}`", crate::path::shorten(id, 60)));
    for (field, value) in [("id", &id), ("tool", &tool)] {
        if value.is_none() && fields.take(field).is_none() {
            fields.missing(field, &name, problems);
        }
    }
    let mut call = Call::new(id.unwrap_or_default(), tool.unwrap_or_default());
    match fields.take("args").map(|node| (node, &node.value)) {
        None | Some((_, Content::Null)) => {}
        Some((node, Content::Map(_))) => call.args = node.to_value(),
        Some((node, _)) => call.args = fields.wrong("args", "an object", node, problems).unwrap_or_default(),
    }
    call.when = when(&mut fields, problems);
    call.foreach = fields.take("foreach").map(|list| Box::new(list.to_value()));
    call.after = fields.texts("after", true, problems).unwrap_or_default();
    call.effects = effects(&mut fields, at, problems).map(Box::new);
    let settings = settings(&mut fields, at, problems);
    call.settings = (settings != SettingsSpec::default()).then(|| Box::new(settings));
    if let Some(node) = fields.take("on_failure") {
        call.on_failure = on_failure(node, &at.field("on_failure"), problems);
    }
    fields.done(&name, &LATER, problems);
    call
}

/// `when: true` is an expression as well.
fn when(fields: &mut Fields<'_, '_>, problems: &mut Problems) -> Option<String> {
    match fields.take("when").map(|node| &node.value) {
        Some(Content::Bool(b)) => Some(b.to_string()),
        _ => fields.text("when", problems),
    }
}

fn on_failure(node: &Node, at: &At<'_>, problems: &mut Problems) -> CallOnFailure {
    match &node.value {
        Content::Text(text) if text == "fail" => CallOnFailure::Fail,
        Content::Map(map) if map.len() == 1 && map[0].0.text == "value" => {
            CallOnFailure::Value(Box::new(map[0].1.to_value()))
        }
        _ => {
            problems.error(at, "bad_value", "`on_failure` of a call is `fail` or `{value: …}`");
            CallOnFailure::Fail
        }
    }
}
