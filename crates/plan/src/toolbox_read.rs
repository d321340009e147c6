//! Toolboxes from documents: `fanout.toml`, and `tools:` and `toolbox:` of a plan.
//! It does not know how a process is started or a request is sent.

use crate::diagnostic::{Diagnostic, Problems};
use crate::fields::Fields;
use crate::http_read::{HttpBase, http};
use crate::mcp_read::mcp;
use crate::mcp_servers_read::{is_one, may_be_one, servers, without_comments};
use crate::node::{At, Content, Node};
use crate::openapi_read::openapi;
use crate::process_spec::{ArgTemplate, ProcessSpec, Stdin, Stdout, TextTemplate};
use crate::read::Syntax;
use crate::settings_read::{LATER, effects, rate, settings};
use crate::spec::{ToolKind, ToolSpec, ToolboxSpec};
use crate::toolbox::{AdapterSpec, DeclaredToolbox, ToolSource};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;

/// Fields of toolboxes of kinds that are not there yet.
const LATER_KINDS: [&str; 1] = ["command"];

/// Reads a toolbox file. TOML, unless it is named as YAML or JSON.
pub(crate) fn read(file_name: &str, bytes: &[u8]) -> Result<Vec<DeclaredToolbox>, Vec<Diagnostic>> {
    let path = Path::new(file_name);
    let syntax = match path.extension().and_then(|ext| ext.to_str()) {
        Some("yaml" | "yml") => Syntax::Yaml,
        Some("json" | "jsonc") => Syntax::Json,
        _ => Syntax::Toml,
    };
    let plain = (syntax == Syntax::Json && may_be_one(bytes)).then(|| without_comments(bytes));
    let source = crate::read::document(file_name, plain.as_deref().unwrap_or(bytes), syntax)?;
    let mut problems = Problems::new(Some(source.clone()));
    if syntax == Syntax::Json && is_one(&source.root) {
        let mut boxes = servers(&source.root, path, &mut problems);
        if problems.failed() {
            return Err(problems.finish());
        }
        // What is not heeded is said with the first of them.
        if let Some(first) = boxes.first_mut() {
            first.spec.warnings = problems.finish();
        }
        return Ok(boxes);
    }
    let mut boxes = Vec::new();
    if let Some(mut fields) = Fields::of(&source.root, &At::Root, "a toolbox file", &mut problems) {
        boxes = toolboxes(&mut fields, "local", path.parent().unwrap_or(Path::new("")), &mut problems);
        fields.done("the file", &LATER_KINDS, &mut problems);
    }
    if problems.failed() { Err(problems.finish()) } else { Ok(boxes) }
}

/// Reads `tools` (the toolbox `own`) and `toolbox` of an object.
pub(crate) fn toolboxes(
    fields: &mut Fields<'_, '_>,
    own: &str,
    base_dir: &Path,
    problems: &mut Problems,
) -> Vec<DeclaredToolbox> {
    let mut boxes = Vec::new();
    let at = At::Root.field("tools");
    if let Some(tools) = fields.map("tools", problems) {
        let base = HttpBase::new(base_dir);
        let mut toolbox =
            DeclaredToolbox { spec: ToolboxSpec { name: own.into(), ..ToolboxSpec::default() }, ..Default::default() };
        for (name, node) in tools {
            push_tool(&mut toolbox, &name.text, "", node, &at.field(&name.text), &base, problems);
        }
        boxes.push(toolbox);
    }
    let at = At::Root.field("toolbox");
    for (name, node) in fields.map("toolbox", problems).unwrap_or_default() {
        boxes.extend(toolbox(&name.text, node, &at.field(&name.text), base_dir, problems));
    }
    boxes
}

fn toolbox(name: &str, node: &Node, at: &At<'_>, base_dir: &Path, problems: &mut Problems) -> Option<DeclaredToolbox> {
    let mut fields = Fields::of(node, at, "a toolbox", problems)?;
    if !is_tool_name(name) {
        problems
            .error_at_key(at, "bad_name", format!("`{name}` cannot be the name of a toolbox"))
            .help("use letters, digits, `_` and `-`");
    }
    let spec = ToolboxSpec {
        name: name.into(),
        key: fields.text("key", problems),
        running_max: fields.count32("running", problems),
        rate: rate(&mut fields, at, problems),
        ..ToolboxSpec::default()
    };
    if let Some(Err(message)) = spec.key.as_ref().map(|key| crate::effects::KeyTemplate::parse(key, true)) {
        problems.error(&at.field("key"), "bad_key", message);
    }
    let mut toolbox = DeclaredToolbox { spec, ..DeclaredToolbox::default() };
    if fields.has("openapi") {
        let source = openapi(&mut fields, at, base_dir, problems);
        toolbox.source = source.map(|source| ToolSource::OpenApi(Box::new(source)));
        fields.done("a toolbox with `openapi`", &LATER_KINDS, problems);
        return Some(toolbox);
    }
    if fields.has("mcp") {
        let source = mcp(&mut fields, at, base_dir, problems);
        toolbox.source = source.map(|source| ToolSource::Mcp(Box::new(source)));
        fields.done("a toolbox with `mcp`", &LATER_KINDS, problems);
        return Some(toolbox);
    }
    let base = HttpBase::read(&mut fields, at, base_dir, true, problems);
    let tools_at = at.field("tools");
    for (tool, node) in fields.map("tools", problems).unwrap_or_default() {
        push_tool(&mut toolbox, &tool.text, &format!("{name}."), node, &tools_at.field(&tool.text), &base, problems);
    }
    fields.done("the toolbox", &LATER_KINDS, problems);
    Some(toolbox)
}

/// Whether a text can name a tool or toolbox.
pub(crate) fn is_tool_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn push_tool(
    toolbox: &mut DeclaredToolbox,
    name: &str,
    prefix: &str,
    node: &Node,
    at: &At<'_>,
    base: &HttpBase,
    problems: &mut Problems,
) {
    let base_dir = base.spec.base_dir.as_path();
    let Some(mut fields) = Fields::of(node, at, "a tool", problems) else { return };
    let name = format!("{prefix}{name}");
    let what = format!("the tool `{}`", crate::path::shorten(&name, 60));
    if !is_tool_name(&name) {
        problems
            .error_at_key(at, "bad_name", format!("{what} cannot be named so"))
            .help("use letters, digits, `_`, `-` and `.`");
    }
    let args_schema = args_schema(&mut fields, at, problems);
    let has = |name: &str| matches!(&node.value, Content::Map(map) if map.iter().any(|(key, _)| key.text == name));
    let adapter = if has("url") {
        if has("argv") {
            fields.take("argv");
            problems.error_at_key(&at.field("url"), "bad_value", "a tool has `argv` or `url`, not both");
        }
        http(&mut fields, at, base, &args_schema, problems).map(|http| AdapterSpec::Http(Box::new(http)))
    } else {
        process(&mut fields, at, &what, base_dir, &args_schema, problems).map(|it| AdapterSpec::Process(Box::new(it)))
    };
    let process = match &adapter {
        Some(AdapterSpec::Process(process)) => Some(&**process),
        _ => None,
    };
    let spec = ToolSpec {
        hints: None,
        definition: None,
        version: fields.text("version", problems).map(Into::into),
        facts: Vec::new(),
        name: name.into(),
        description: fields.text("description", problems).unwrap_or_default(),
        result_schema: fields.take("result").map(Node::to_value),
        effects: effects(&mut fields, at, problems),
        base_dir: process.map_or_else(|| Some(base_dir.into()), |process| Some(works_in(process))),
        cwd: process.and_then(|process| process.cwd.clone()).filter(depends),
        kind: adapter.as_ref().map_or(ToolKind::Process, AdapterSpec::kind),
        running_max: fields.count32("running", problems),
        rate: rate(&mut fields, at, problems),
        settings: settings(&mut fields, at, problems),
        args_schema,
    };
    fields.done(&what, &[&LATER[..], &LATER_KINDS[..]].concat(), problems);
    check_compiles(&spec, at, problems);
    if let Some(adapter) = adapter {
        toolbox.spec.tools.push(repeatable(spec, &adapter));
        toolbox.adapters.push(adapter);
    }
}

/// A request that carries the call's key may be sent again: that is what the key is for.
fn repeatable(mut spec: ToolSpec, adapter: &AdapterSpec) -> ToolSpec {
    if let (Some(effects), AdapterSpec::Http(http)) = (&mut spec.effects, adapter) {
        effects.idempotent |= http.idempotency_header.is_some();
    }
    spec
}

fn depends(template: &TextTemplate) -> bool {
    template.arguments().next().is_some()
}

/// Where a process works, without what depends on its arguments.
fn works_in(process: &ProcessSpec) -> Arc<Path> {
    match &process.cwd {
        Some(cwd) if !depends(cwd) => process.base_dir.join(cwd.source().replace("$${", "${")).into(),
        _ => process.base_dir.as_path().into(),
    }
}

/// Finds what the catalog would refuse, while the places are known.
fn check_compiles(spec: &ToolSpec, at: &At<'_>, problems: &mut Problems) {
    for (schema, field) in [(Some(&spec.args_schema), "args"), (spec.result_schema.as_ref(), "result")] {
        if let Some(Err(message)) = schema.map(crate::catalog::validator) {
            problems.error(&at.field(field), "bad_schema", format!("this JSON Schema does not compile: {message}"));
        }
    }
    let Some(properties) = spec.args_schema.get("properties").and_then(Value::as_object) else { return };
    let effects = spec.effects.iter().flat_map(|effects| [("reads", &effects.reads), ("writes", &effects.writes)]);
    for (list, texts) in effects {
        for (index, text) in texts.iter().enumerate() {
            let Ok(template) = TextTemplate::parse(text) else { continue };
            check_arguments(&template, properties, &at.field("effects").field(list).index(index), "bad_key", problems);
        }
    }
}

/// Every argument a template uses must be one the tool has.
fn check_arguments(
    template: &TextTemplate,
    properties: &Map<String, Value>,
    at: &At<'_>,
    code: &'static str,
    problems: &mut Problems,
) {
    for name in template.arguments().filter(|name| !properties.contains_key(*name)) {
        let near = crate::nearest::nearest(name, properties.keys().map(String::as_str));
        let message = format!(
            "`{}` uses the argument `{name}`, which the tool does not have",
            crate::path::shorten(template.source(), 60)
        );
        problems
            .error(at, code, message)
            .help(format!("declare it: args = {{ {name} = {{ type = \"string\" }} }}"))
            .nearest(near);
    }
}

/// The JSON Schema of the arguments: `schema` as it is, or made from `args`.
fn args_schema(fields: &mut Fields<'_, '_>, at: &At<'_>, problems: &mut Problems) -> Value {
    let args = fields.map("args", problems);
    if let Some(schema) = fields.take("schema") {
        if args.is_some() {
            problems.error(&at.field("schema"), "bad_value", "a tool has `args` or `schema`, not both");
        }
        return schema.to_value();
    }
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, node) in args.unwrap_or_default() {
        let at = at.field("args");
        let at = at.field(&name.text);
        let Value::Object(mut property) = node.to_value() else {
            problems.error(
                &at,
                "wrong_type",
                format!("an argument is an object such as {{ type = \"string\" }}, not {}", node.kind()),
            );
            continue;
        };
        let optional = match property.shift_remove("optional") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => {
                problems.error(&at.field("optional"), "wrong_type", "`optional` is true or false");
                true
            }
        };
        if !optional && !property.contains_key("default") {
            required.push(Value::String(name.text.clone()));
        }
        properties.insert(name.text.clone(), Value::Object(property));
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn process(
    fields: &mut Fields<'_, '_>,
    at: &At<'_>,
    what: &str,
    base_dir: &Path,
    schema: &Value,
    problems: &mut Problems,
) -> Option<ProcessSpec> {
    let checker = Templates::new(schema.get("properties").and_then(Value::as_object));
    let argv = match fields.take("argv") {
        Some(node) => checker.argv(node, &at.field("argv"), problems),
        None => {
            problems
                .error(at, "missing_field", format!("{what} has neither `argv` nor `url`"))
                .help("a program has `argv = [\"wc\", \"-l\"]`, a request `url = \"https://…\"`");
            None
        }
    };
    let mut process = ProcessSpec::new(Vec::new());
    process.base_dir = base_dir.to_owned();
    process.defaults = crate::catalog::defaults(schema);
    process.stdin = stdin(fields, at, &checker, problems);
    let outs = [("text", Stdout::Text), ("json", Stdout::Json), ("lines", Stdout::Lines)];
    process.stdout = fields.word("stdout", &outs, problems).unwrap_or(process.stdout);
    process.cwd = fields.take("cwd").and_then(|node| checker.text(node, &at.field("cwd"), problems));
    process.env = fields.texts("env", false, problems).unwrap_or(process.env);
    for (index, name) in process.env.iter().enumerate() {
        check_variable(name, &at.field("env").index(index), problems);
    }
    for (name, node) in fields.map("set", problems).unwrap_or_default() {
        let at = at.field("set");
        let at = at.field(&name.text);
        check_variable(&name.text, &at, problems);
        if let Some(text) = checker.text(node, &at, problems) {
            process.set.insert(name.text.clone(), text);
        }
    }
    process.success = codes(fields, "success", at, problems).unwrap_or(process.success);
    process.transient = codes(fields, "transient", at, problems).unwrap_or_default();
    process.output_max = fields.size("output_max", problems).unwrap_or(process.output_max);
    process.inline_max = fields.size("inline_max", problems).unwrap_or(process.inline_max);
    process.grace = fields.duration("grace", problems).unwrap_or(process.grace);
    Some(ProcessSpec { argv: argv?, ..process })
}

fn stdin(fields: &mut Fields<'_, '_>, at: &At<'_>, checker: &Templates<'_>, problems: &mut Problems) -> Stdin {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        None,
        Json,
        Text,
        Lines,
    }
    let kinds = [("none", Kind::None), ("json", Kind::Json), ("text", Kind::Text), ("lines", Kind::Lines)];
    let kind = fields.word("stdin", &kinds, problems).unwrap_or(Kind::None);
    let text_at = at.field("stdin_text");
    let node = fields.take("stdin_text");
    let text = node.and_then(|node| checker.text(node, &text_at, problems));
    match (kind, text) {
        (Kind::Text, Some(text)) => Stdin::Text(text),
        (Kind::Lines, Some(text)) => Stdin::Lines(text),
        (Kind::Text | Kind::Lines, None) => {
            if node.is_none() {
                problems
                    .error(&at.field("stdin"), "missing_field", "`stdin` of this kind needs `stdin_text`")
                    .help("such as stdin_text = \"${args.body}\"");
            }
            Stdin::None
        }
        (kind, text) => {
            if text.is_some() {
                problems.error(&text_at, "bad_value", "`stdin_text` goes with `stdin = \"text\"` or `\"lines\"`");
            }
            if kind == Kind::Json { Stdin::Json } else { Stdin::None }
        }
    }
}

fn codes(fields: &mut Fields<'_, '_>, name: &'static str, at: &At<'_>, problems: &mut Problems) -> Option<Vec<i32>> {
    let node = fields.take(name)?;
    let Content::List(list) = &node.value else { return fields.wrong(name, "a list of exit codes", node, problems) };
    let mut codes = Vec::new();
    for (index, node) in list.iter().enumerate() {
        let code = match &node.value {
            Content::Number(number) => {
                number.as_u64().filter(|code| *code <= 255).and_then(|code| i32::try_from(code).ok())
            }
            _ => None,
        };
        match code {
            Some(code) => codes.push(code),
            None => {
                problems.error(
                    &at.field(name).index(index),
                    "bad_value",
                    "an exit code is a whole number from 0 to 255",
                );
            }
        }
    }
    Some(codes)
}

/// Names of variables must not end the list they are passed in.
/// Whether a name can be that of a variable.
pub(crate) fn check_variable(name: &str, at: &At<'_>, problems: &mut Problems) {
    if name.is_empty() || name.contains(['=', '\0']) {
        problems.error(at, "bad_value", format!("{name:?} cannot be the name of an environment variable"));
    }
}

/// Reads templates over the arguments of one tool.
pub(crate) struct Templates<'s> {
    properties: Option<&'s Map<String, Value>>,
}

impl<'s> Templates<'s> {
    /// Over these arguments; over any when they are not known.
    pub(crate) fn new(properties: Option<&'s Map<String, Value>>) -> Templates<'s> {
        Templates { properties }
    }

    /// Checks that a template uses only these.
    pub(crate) fn check(&self, template: &TextTemplate, at: &At<'_>, problems: &mut Problems) {
        if let Some(properties) = self.properties {
            check_arguments(template, properties, at, "bad_template", problems);
        }
    }

    fn argv(&self, node: &Node, at: &At<'_>, problems: &mut Problems) -> Option<Vec<ArgTemplate>> {
        let Content::List(list) = &node.value else {
            problems
                .error(at, "wrong_type", format!("`argv` is a list such as [\"wc\", \"-l\"], not {}", node.kind()))
                .help("no shell reads it: program and arguments are written apart");
            return None;
        };
        if list.is_empty() || matches!(list[0].value, Content::List(_)) {
            problems.error(at, "bad_value", "`argv` begins with the program");
            return None;
        }
        let mut argv = Vec::with_capacity(list.len());
        for (index, node) in list.iter().enumerate() {
            let at = at.index(index);
            match &node.value {
                Content::List(inner) => {
                    let texts = inner
                        .iter()
                        .enumerate()
                        .filter_map(|(index, node)| self.text(node, &at.index(index), problems));
                    argv.push(ArgTemplate::Optional(texts.collect()));
                }
                _ => argv.extend(self.text(node, &at, problems).map(ArgTemplate::One)),
            }
        }
        Some(argv)
    }

    /// A text, or a number as one.
    pub(crate) fn text(&self, node: &Node, at: &At<'_>, problems: &mut Problems) -> Option<TextTemplate> {
        let source = match &node.value {
            Content::Text(text) => text.clone(),
            Content::Number(number) => number.to_string(),
            _ => {
                problems.error(at, "wrong_type", format!("this is a text, not {}", node.kind()));
                return None;
            }
        };
        match TextTemplate::parse(&source) {
            Ok(template) => {
                self.check(&template, at, problems);
                Some(template)
            }
            Err(message) => {
                problems.error(at, "bad_template", message);
                None
            }
        }
    }
}
