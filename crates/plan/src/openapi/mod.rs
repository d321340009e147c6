//! OpenAPI documents become toolboxes of HTTP tools: one tool per operation (`import`).
//! It does not know where a document comes from, nor how a request is sent.

mod arguments;
mod body;
mod document;
mod graph;
mod names;
mod operation;
mod schema;
mod security;
mod servers;
mod source;

use crate::diagnostic::Diagnostic;
use crate::node::{Content, Name, Node};
use crate::read::{Numbers, Syntax};
use crate::spec::ToolboxSpec;
use crate::toolbox::{AdapterSpec, DeclaredToolbox};
use document::{Document, short};
use names::{Names, from_path, matches, plain};
use operation::{Maker, NoTool, Operation};
pub use source::*;
use std::path::Path;

/// More operations than this are not made into tools: models and people choose among fewer.
pub const OPERATIONS_MAX: usize = 10_000;

/// The methods an operation can have, as documents write them.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Makes tools of the operations of a document. `toolbox` is what its file says of it; its tools are added.
///
/// What cannot be said as a tool, or not wholly, is among the `warnings` of the toolbox, with its place.
///
/// # Errors
/// The document cannot be read or is not OpenAPI 3.0 or 3.1; what the toolbox says does not fit it.
pub fn import(
    file_name: &str,
    bytes: &[u8],
    toolbox: ToolboxSpec,
    source: &OpenApiSource,
) -> Result<DeclaredToolbox, Vec<Diagnostic>> {
    let read = crate::read::document_with(file_name, bytes, syntax(file_name, bytes), Numbers::Nearest)?;
    let old = version(&read).map_err(|problem| vec![*problem])?;
    let doc = Document::new(&read, old);
    let operations = operations(&doc);
    let mut wrong = check(&doc, source, &operations);
    let chosen: Vec<&Operation<'_>> =
        operations.iter().filter(|operation| is_chosen(&doc, source, operation)).collect();
    if chosen.len() > OPERATIONS_MAX {
        let message = format!("{} operations are chosen; at most {OPERATIONS_MAX} become tools", chosen.len());
        wrong.push(Diagnostic::error("openapi_too_large", message).with_help("choose by `include` and `exclude`"));
    }
    let mut made = DeclaredToolbox { spec: toolbox.clone(), ..DeclaredToolbox::default() };
    {
        let mut maker = Maker::new(&doc, source, &toolbox);
        wrong.extend(maker.security.check());
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let nothing = ToolOverride::default();
        for operation in chosen {
            let said = source.overrides.iter().find(|given| given.name == operation.name);
            match maker.tool(operation, said.map_or(&nothing, |given| &given.value)) {
                Ok((mut spec, http)) => {
                    match said.filter(|given| given.value.effects.is_some()) {
                        Some(given) => wrong.extend(unknown_arguments(given, &spec)),
                        None => put_under(&toolbox, &mut spec),
                    }
                    made.spec.tools.push(spec);
                    made.adapters.push(AdapterSpec::Http(Box::new(http)));
                }
                Err(NoTool::LeftOut) => {}
                Err(NoTool::TooLarge(problem)) => {
                    wrong.push(*problem);
                    break;
                }
                Err(NoTool::Wrong(problem)) if wrong.contains(&*problem) => {}
                Err(NoTool::Wrong(problem)) => wrong.push(*problem),
            }
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    made.spec.warnings.extend(doc.into_warnings());
    Ok(made)
}

fn put_under(toolbox: &ToolboxSpec, spec: &mut crate::spec::ToolSpec) {
    if let Some(effects) = &mut spec.effects {
        for key in effects.reads.iter_mut().chain(&mut effects.writes) {
            *key = operation::under(toolbox, key);
        }
    }
}

/// How a document is written: by its name, or by how it begins.
fn syntax(file_name: &str, bytes: &[u8]) -> Syntax {
    let extension = Path::new(file_name).extension().and_then(|extension| extension.to_str());
    match extension {
        Some("json") => Syntax::Json,
        Some("yaml" | "yml") => Syntax::Yaml,
        _ => match bytes.iter().find(|byte| !byte.is_ascii_whitespace() && **byte < 0x80) {
            Some(b'{') => Syntax::Json,
            _ => Syntax::Yaml,
        },
    }
}

/// Whether the document is of 3.0, or why it is of no version that is read.
fn version(source: &crate::diagnostic::Source) -> Result<bool, Box<Diagnostic>> {
    let doc = Document::new(source, false);
    let root = doc.root();
    let wrong =
        |node, message: String, help: &str| Err(Box::new(doc.error(node, "openapi_version", message).with_help(help)));
    let upgrade = "OpenAPI 3.0 and 3.1 are read; converters from Swagger 2.0 exist";
    if let Some(node) = doc.get(root, "swagger") {
        return wrong(node, "this is Swagger 2.0, not OpenAPI 3".to_owned(), upgrade);
    }
    match doc.get(root, "openapi") {
        None => wrong(root, "this is not an OpenAPI document: it has no `openapi`".to_owned(), upgrade),
        Some(node) => match &node.value {
            Content::Text(version) if version.starts_with("3.0") => Ok(true),
            // Later versions of 3 are meant to be read by readers of earlier ones.
            Content::Text(version) if version.starts_with("3.") => Ok(false),
            // A version without quotes is a number in YAML.
            Content::Number(number) if number.to_string() == "3.0" => Ok(true),
            Content::Number(number) if number.to_string() == "3.1" => Ok(false),
            _ => {
                let version = short(&node.to_value().to_string());
                wrong(node, format!("OpenAPI {version} is not a version that is read"), upgrade)
            }
        },
    }
}

/// All operations with their names, in the order of the document.
fn operations<'n>(doc: &Document<'n>) -> Vec<Operation<'n>> {
    let mut found = Vec::new();
    let mut names = Names::default();
    for (path, item) in doc.map(doc.root(), "paths") {
        if path.text.starts_with("x-") {
            continue;
        }
        if !path.text.starts_with('/') {
            doc.warn(item, "openapi_left_out", format!("`{}` is left out: a path begins with `/`", short(&path.text)));
            continue;
        }
        match path_item(doc, item) {
            Ok(item) => operations_of(doc, path, item, &mut names, &mut found),
            Err(why) => doc.warn(item, "openapi_left_out", format!("`{}` is left out: {why}", short(&path.text))),
        }
    }
    if let Some(hooks) = doc.get(doc.root(), "webhooks") {
        let count = if let Content::Map(map) = &hooks.value { map.len() } else { 0 };
        if count > 0 {
            let message = format!("webhooks are no tools ({count} of them): it is the server that calls there");
            doc.warn(hooks, "openapi_left_out", message);
        }
    }
    found
}

/// A path item, behind its `$ref` unless it has operations of its own.
fn path_item<'n>(doc: &Document<'n>, item: &'n Node) -> Result<&'n Node, String> {
    let own = METHODS.iter().any(|method| doc.get(item, method).is_some());
    if own { Ok(item) } else { doc.follow(item) }
}

fn operations_of<'n>(
    doc: &Document<'n>,
    path: &'n Name,
    item: &'n Node,
    names: &mut Names,
    found: &mut Vec<Operation<'n>>,
) {
    let Content::Map(map) = &item.value else { return };
    for (field, node) in map {
        let Some(method) = METHODS.into_iter().find(|method| *method == field.text) else {
            let known = ["parameters", "servers", "summary", "description", "$ref"];
            if !known.contains(&field.text.as_str()) && !field.text.starts_with("x-") {
                let label = format!("{} of {}", short(&field.text), short(&path.text));
                doc.warn(node, "openapi_left_out", format!("`{label}` is left out: it is no method that is known"));
            }
            continue;
        };
        let mut operation = Operation { path, method, item, node, name: String::new() };
        if !matches!(node.value, Content::Map(_)) {
            let message =
                format!("`{}` is left out: an operation is an object, not {}", operation.label(), node.kind());
            doc.warn(node, "openapi_left_out", message);
            continue;
        }
        let by_path = || from_path(method, &path.text);
        let own = doc.text(node, "operationId").filter(|id| !id.is_empty());
        let wanted = own.map_or_else(by_path, |id| plain(id, "operation"));
        operation.name = names.unique(&wanted);
        if let (true, Some(id)) = (operation.name != wanted, own) {
            let message = format!("the name `{}` is taken: this tool is named `{}`", short(id), operation.name);
            doc.warn(node, "openapi_renamed", message);
        }
        if let Some(callbacks) = doc.get(node, "callbacks") {
            let message =
                format!("the callbacks of `{}` are no tools: it is the server that calls there", operation.label());
            doc.warn(callbacks, "openapi_left_out", message);
        }
        found.push(operation);
    }
}

fn is_chosen<'n>(doc: &Document<'n>, source: &OpenApiSource, operation: &Operation<'n>) -> bool {
    let meets = |filter: &OperationFilter| {
        filter.names.iter().any(|given| matches(&given.name, &operation.name))
            || filter.paths.iter().any(|given| matches(&given.name, &operation.path.text))
            || filter.tags.iter().any(|given| has_tag(doc, operation, &given.name))
    };
    (source.include.is_empty() || meets(&source.include)) && !meets(&source.exclude)
}

fn has_tag<'n>(doc: &Document<'n>, operation: &Operation<'n>, tag: &str) -> bool {
    doc.list(operation.node, "tags").iter().any(|node| matches!(&node.value, Content::Text(text) if text == tag))
}

/// What the toolbox says about things that the document does not have.
fn check<'n>(doc: &Document<'n>, source: &OpenApiSource, operations: &[Operation<'n>]) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    let names = || operations.iter().map(|operation| operation.name.as_str());
    for given in &source.overrides {
        if !names().any(|name| name == given.name) {
            let message = format!("the document has no operation named `{}`", short(&given.name));
            wrong.push(missing(given, "openapi_unknown", message, crate::nearest::nearest(&given.name, names())));
        }
    }
    let variables = servers::variables(doc, operations.iter().map(|operation| (operation.item, operation.node)));
    for given in &source.variables {
        if source.server.is_none() && !variables.contains(&given.name.as_str()) {
            let message = format!("no server of the document has a variable `{}`", short(&given.name));
            let near = crate::nearest::nearest(&given.name, variables.iter().copied());
            wrong.push(missing(given, "openapi_unknown", message, near));
        }
    }
    for filter in [&source.include, &source.exclude] {
        for given in filter.names.iter().filter(|given| !names().any(|name| matches(&given.name, name))) {
            let message = format!("no operation is named `{}`", short(&given.name));
            wrong.push(missing(given, "openapi_unknown", message, crate::nearest::nearest(&given.name, names())));
        }
        let paths = || operations.iter().map(|operation| operation.path.text.as_str());
        for given in filter.paths.iter().filter(|given| !paths().any(|path| matches(&given.name, path))) {
            let message = format!("no operation has a path `{}`", short(&given.name));
            wrong.push(missing(given, "openapi_unknown", message, crate::nearest::nearest(&given.name, paths())));
        }
        for given in &filter.tags {
            if !operations.iter().any(|operation| has_tag(doc, operation, &given.name)) {
                let tags = operations.iter().flat_map(|operation| doc.list(operation.node, "tags"));
                let tags =
                    tags.filter_map(|node| if let Content::Text(tag) = &node.value { Some(&**tag) } else { None });
                let message = format!("no operation has the tag `{}`", short(&given.name));
                wrong.push(missing(given, "openapi_unknown", message, crate::nearest::nearest(&given.name, tags)));
            }
        }
    }
    wrong
}

fn missing<T>(given: &Given<T>, code: &'static str, message: String, near: Option<&str>) -> Diagnostic {
    let problem = Diagnostic { place: given.place.clone(), ..Diagnostic::error(code, message).with_path(&given.path) };
    match near {
        Some(near) => problem.with_help(format!("did you mean `{}`?", short(near))),
        None => problem,
    }
}

/// Keys that somebody gave a tool, made from arguments that it does not have.
fn unknown_arguments(given: &Given<ToolOverride>, spec: &crate::spec::ToolSpec) -> Vec<Diagnostic> {
    let effects = spec.effects.iter().flat_map(|effects| effects.reads.iter().chain(&effects.writes));
    let keys = effects.filter_map(|text| crate::effects::KeyTemplate::parse(text, true).ok());
    let properties = spec.args_schema["properties"].as_object();
    let names = || properties.into_iter().flat_map(|map| map.keys().map(String::as_str));
    let mut wrong = Vec::new();
    for key in keys {
        for name in key.arguments().filter(|name| !names().any(|known| known == *name)) {
            let message = format!(
                "the key `{}` is made from the argument `{name}`, which `{}` does not have",
                key.text, spec.name
            );
            wrong.push(missing(given, "bad_key", message, crate::nearest::nearest(name, names())));
        }
    }
    wrong
}
