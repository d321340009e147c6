//! One operation as a tool: its arguments, the request made from them, what it touches.
//! It does not know which operations were chosen, nor the other tools.

use super::arguments::{Arguments, In, Parameter, parameters};
use super::body::{Body, body, is_json};
use super::document::{Document, short};
use super::schema::{Edges, Schemas, Way};
use super::security::Security;
use super::servers::{Server, encoded, of_operation};
use super::source::{OpenApiSource, ToolOverride};
use crate::diagnostic::Diagnostic;
use crate::http_spec::{HttpBody, HttpParam, HttpSpec, ParamStyle, PathPiece};
use crate::node::{Name, Node};
use crate::process_spec::TextTemplate;
use crate::spec::{EffectsSpec, ToolKind, ToolSpec, ToolboxSpec};
use serde_json::{Value, json};

/// An operation of a document.
pub(super) struct Operation<'n> {
    pub(super) path: &'n Name,
    /// In small letters, as documents write it.
    pub(super) method: &'static str,
    pub(super) item: &'n Node,
    pub(super) node: &'n Node,
    /// The tool's name without the toolbox's.
    pub(super) name: String,
}

/// Makes tools of the operations of one document.
pub(super) struct Maker<'d, 'n> {
    pub(super) doc: &'d Document<'n>,
    pub(super) source: &'d OpenApiSource,
    pub(super) toolbox: &'d ToolboxSpec,
    pub(super) security: Security<'d, 'n>,
    requests: Schemas<'d, 'n>,
    answers: Schemas<'d, 'n>,
    /// How many values the schemas of the tools still to be made may hold.
    room: usize,
}

/// The schemas of all tools of a document hold at most this many values: tools do not share theirs.
const VALUES_MAX: usize = 2_000_000;

/// Why an operation is no tool.
pub(super) enum NoTool {
    /// It alone is left out.
    LeftOut,
    /// The document cannot be used as it was said.
    Wrong(Box<Diagnostic>),
    /// Nor can any other.
    TooLarge(Box<Diagnostic>),
}

impl<'d, 'n> Maker<'d, 'n> {
    pub(super) fn new(doc: &'d Document<'n>, source: &'d OpenApiSource, toolbox: &'d ToolboxSpec) -> Maker<'d, 'n> {
        Maker {
            doc,
            source,
            toolbox,
            security: Security::new(doc, source),
            requests: Schemas::new(doc, Way::Request),
            answers: Schemas::new(doc, Way::Answer),
            room: VALUES_MAX,
        }
    }

    /// The tool, and how it is called.
    pub(super) fn tool(
        &mut self,
        operation: &Operation<'n>,
        said: &ToolOverride,
    ) -> Result<(ToolSpec, HttpSpec), NoTool> {
        let (doc, node) = (self.doc, operation.node);
        let server = of_operation(doc, self.source, operation.item, node, said.server.as_deref());
        let server = server.map_err(NoTool::Wrong)?;
        let mut arguments = Arguments::default();
        let mut http = self.source.base.clone();
        http.method = operation.method.to_ascii_uppercase().into();
        http.origin = server.origin.as_str().into();
        if has_steps(&operation.path.text) {
            let why = "its path has the steps `.` or `..`, which no request can have";
            return Err(self.left_out(operation, node, why));
        }
        let all = parameters(doc, operation.item, node).map_err(|(at, why)| self.left_out(operation, at, &why))?;
        let key = self.target(operation, &server, &all, &mut arguments, &mut http);
        self.rest(&all, &mut arguments, &mut http);
        let sent = body(doc, node, said.content_type.as_deref(), &mut self.requests, &mut arguments);
        let sent = sent.map_err(|(at, why)| self.left_out(operation, at, &why))?;
        self.send(sent, &mut http);
        self.accept(operation, &mut http);
        http.auth.extend(self.security.of(node));
        let effects =
            said.effects.clone().unwrap_or_else(|| effects(operation, key, http.idempotency_header.is_some()));
        let description = said.description.clone().unwrap_or_else(|| self.description(operation, &arguments));
        let args = arguments.schema();
        let Some((args_schema, size)) = self.requests.close(args, &arguments.edges, self.room) else {
            let message = format!("the schemas of the operations hold more than {VALUES_MAX} values in all");
            let wrong = doc.error(node, "openapi_too_large", message);
            return Err(NoTool::TooLarge(Box::new(wrong.with_help("choose operations by `include` and `exclude`"))));
        };
        self.room -= size;
        http.defaults.extend(file_names(&http.body, &args_schema));
        let spec = ToolSpec {
            hints: None,
            definition: None,
            version: None,
            facts: Vec::new(),
            name: format!("{}.{}", self.toolbox.name, operation.name).into(),
            description,
            args_schema,
            result_schema: self.result(operation),
            effects: Some(effects),
            base_dir: None,
            cwd: None,
            kind: ToolKind::Http,
            running_max: said.running_max,
            rate: said.rate,
            settings: said.settings.clone(),
        };
        Ok((spec, http))
    }

    fn left_out(&self, operation: &Operation<'n>, at: &Node, why: &str) -> NoTool {
        let message = format!("`{}` is left out: {why}", operation.label());
        // What many operations share is told for each: another tool is missing.
        let at = if at.start < operation.node.start || at.end > operation.node.end { operation.node } else { at };
        self.doc.warn(at, "openapi_left_out", message);
        NoTool::LeftOut
    }

    /// Fills in the path, with what of the query stands in it; gives the path of the key.
    fn target(
        &mut self,
        operation: &Operation<'n>,
        server: &Server,
        all: &[Parameter<'n>],
        arguments: &mut Arguments,
        http: &mut HttpSpec,
    ) -> String {
        let template = operation.path.text.split('#').next().unwrap_or_default();
        let (template, query) = template.split_once('?').unwrap_or((template, ""));
        let mut literal = server.path.clone();
        let mut key = String::new();
        let mut used: Vec<(&str, HttpParam)> = Vec::new();
        let mut rest = template;
        while let Some((before, name, behind)) = placeholder(rest) {
            literal.push_str(&encoded(before));
            key.push_str(&before.replace("${", "$${"));
            http.path.push(PathPiece::Text(std::mem::take(&mut literal)));
            let param = match used.iter().find(|(known, _)| *known == name) {
                Some((_, param)) => param.clone(),
                None => self.path_parameter(operation, name, all, arguments),
            };
            key.push_str(param.value.source());
            http.path.push(PathPiece::Value(param.clone()));
            used.push((name, param));
            rest = behind;
        }
        literal.push_str(&encoded(rest));
        key.push_str(&rest.replace("${", "$${"));
        http.path.push(PathPiece::Text(literal));
        http.path.retain(|piece| !matches!(piece, PathPiece::Text(text) if text.is_empty()));
        for parameter in all.iter().filter(|parameter| parameter.place == In::Path) {
            if !used.iter().any(|(name, _)| *name == parameter.name) {
                let message = format!("the path `{}` has no `{{{}}}`", short(template), short(parameter.name));
                self.doc.warn(parameter.node, "openapi_ignored", message);
            }
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if placeholder(value).is_some() {
                let message = format!(
                    "`{}` of the path `{}` is sent as it is: a query has parameters of its own",
                    short(pair),
                    short(&operation.path.text)
                );
                self.doc.warn(operation.node, "openapi_ignored", message);
            }
            http.query.push(fixed(name, value));
        }
        resource(&key)
    }

    fn path_parameter(
        &mut self,
        operation: &Operation<'n>,
        name: &str,
        all: &[Parameter<'n>],
        arguments: &mut Arguments,
    ) -> HttpParam {
        let declared = all.iter().find(|parameter| parameter.place == In::Path && parameter.name == name);
        if let Some(parameter) = declared {
            return parameter.add(self.doc, &mut self.requests, arguments);
        }
        let message = format!("`{}` declares no parameter `{}`: it is a text", operation.label(), short(name));
        self.doc.warn(operation.node, "openapi_ignored", message);
        let given = arguments.add(name, "path", json!({"type": "string"}), true);
        HttpParam {
            name: name.into(),
            value: TextTemplate::argument(&given),
            optional: false,
            style: ParamStyle::Simple,
            explode: false,
            reserved: false,
        }
    }

    /// The parameters that do not stand in the path.
    fn rest(&mut self, all: &[Parameter<'n>], arguments: &mut Arguments, http: &mut HttpSpec) {
        for parameter in all.iter().filter(|parameter| parameter.place != In::Path) {
            if parameter.place == In::Header && parameter.name.eq_ignore_ascii_case("idempotency-key") {
                http.idempotency_header = Some(parameter.name.into());
                continue;
            }
            // What the toolbox sends with every request is no argument.
            let base = &self.source.base.headers;
            if parameter.place == In::Header && base.iter().any(|own| own.name.eq_ignore_ascii_case(parameter.name)) {
                continue;
            }
            let param = parameter.add(self.doc, &mut self.requests, arguments);
            match parameter.place {
                In::Header => http.headers.push(param),
                In::Cookie => http.cookies.push(param),
                In::Query | In::Path => http.query.push(param),
            }
        }
    }

    fn send(&self, sent: Option<Body>, http: &mut HttpSpec) {
        let Some(Body { body, content_type, optional }) = sent else { return };
        if matches!(body, HttpBody::Json(_)) && content_type != "application/json" {
            http.headers.push(fixed("Content-Type", &content_type));
        }
        http.body = body;
        http.body_optional = optional;
    }

    /// Asks for what the document says is answered, JSON first.
    fn accept(&self, operation: &Operation<'n>, http: &mut HttpSpec) {
        if http.headers.iter().any(|header| header.name.eq_ignore_ascii_case("accept")) {
            return;
        }
        let mut types: Vec<&str> = Vec::new();
        for (_, answer) in self.successes(operation) {
            for (media, _) in self.doc.map(answer, "content") {
                if media.text.bytes().all(|b| (b' '..0x7f).contains(&b)) && !types.contains(&&*media.text) {
                    types.push(&media.text);
                }
            }
        }
        // A stream of events is not a result as long as there is another.
        if types.iter().any(|media| is_json(media)) {
            types.retain(|media| !media.starts_with("text/event-stream"));
        }
        types.sort_by_key(|media| !is_json(media));
        types.truncate(8);
        if !types.is_empty() {
            http.headers.push(fixed("Accept", &types.join(", ")));
        }
    }

    /// The answers that mean success; `default` where there are no others.
    fn successes(&self, operation: &Operation<'n>) -> Vec<(&'n str, &'n Node)> {
        let answers = self.doc.map(operation.node, "responses");
        let some = |is: &dyn Fn(&str) -> bool| -> Vec<_> {
            let chosen = answers.iter().filter(|(status, _)| is(&status.text));
            chosen.filter_map(|(status, node)| Some((status.text.as_str(), self.doc.follow(node).ok()?))).collect()
        };
        let found = some(&|status| status.len() == 3 && status.starts_with('2'));
        if found.is_empty() { some(&|status| status == "default") } else { found }
    }

    /// The schema of the result, where success has one.
    fn result(&mut self, operation: &Operation<'n>) -> Option<Value> {
        let mut found: Vec<&'n Node> = Vec::new();
        for (_, answer) in self.successes(operation) {
            for (media, node) in self.doc.map(answer, "content") {
                match self.doc.get(node, "schema") {
                    Some(schema) if is_json(&media.text) => found.push(schema),
                    _ if media.text.starts_with("text/event-stream") => {}
                    _ => return None,
                }
            }
        }
        let mut edges = Edges::default();
        let mut made: Vec<Value> = found.into_iter().map(|schema| self.answers.of(schema, &mut edges)).collect();
        made.dedup();
        let [schema] = &mut made[..] else { return None };
        let (schema, size) = self.answers.close(schema.take(), &edges, self.room / 2)?;
        self.room -= size;
        Some(schema)
    }

    fn description(&self, operation: &Operation<'n>, arguments: &Arguments) -> String {
        let text = |node, name| self.doc.text(node, name).map(str::trim).filter(|text| !text.is_empty());
        let either = |name| text(operation.node, name).or_else(|| text(operation.item, name));
        let mut said = match (either("summary"), either("description")) {
            (Some(summary), Some(description)) if !description.starts_with(summary) => {
                format!("{summary}\n\n{description}")
            }
            (summary, description) => description.or(summary).map_or_else(|| operation.label(), str::to_owned),
        };
        if self.doc.flag(operation.node, "deprecated") {
            said.insert_str(0, "Deprecated. ");
        }
        if !arguments.notes.is_empty() {
            said.push_str("\n\n");
            said.push_str(&arguments.notes.join(" "));
        }
        said
    }
}

impl Operation<'_> {
    /// `GET /pets/{id}`.
    pub(super) fn label(&self) -> String {
        format!("{} {}", self.method.to_ascii_uppercase(), short(&self.path.text))
    }
}

/// What stands before the next `{name}`, the name, and what stands behind it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, behind) = text.split_once('{')?;
    let (name, behind) = behind.split_once('}')?;
    (!name.is_empty()).then_some((before, name, behind))
}

/// Whether a path has the steps `.` or `..`, however they are written.
fn has_steps(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    path.split('/').any(|part| matches!(part, "." | ".."))
}

/// A parameter that is always the same.
pub(super) fn fixed(name: &str, value: &str) -> HttpParam {
    HttpParam {
        name: name.into(),
        value: TextTemplate::literal(value),
        optional: false,
        style: ParamStyle::Form,
        explode: true,
        reserved: false,
    }
}

/// The path of the resource: without the format (`.json`) or the verb (`:cancel`) behind it, so that what is done to
/// one thing has one key.
fn resource(path: &str) -> String {
    let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
    let last = last.strip_suffix(".json").or_else(|| last.strip_suffix(".xml")).unwrap_or(last);
    let last = match last.rfind(':') {
        Some(at) if !last[at..].contains('}') => &last[..at],
        _ => last,
    };
    let path = format!("{folder}/{last}");
    // A lone `*` means something else in a key.
    let kept: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).take_while(|part| *part != "*").collect();
    kept.iter().map(|part| format!("/{part}")).collect()
}

/// What an operation touches, by its method. The key is put under the toolbox's by [`under`].
fn effects(operation: &Operation<'_>, key: String, repeats: bool) -> EffectsSpec {
    let reads = matches!(operation.method, "get" | "head" | "options" | "trace");
    let (reads, writes) = if reads { (vec![key], vec![]) } else { (vec![], vec![key]) };
    EffectsSpec {
        reads,
        writes,
        // With an idempotency key the server takes a second attempt for the first.
        idempotent: repeats || matches!(operation.method, "put" | "delete"),
        destructive: operation.method == "delete",
    }
}

/// A path of a document as a key: `petstore:/pets/1`, or under the key that the toolbox was given.
pub(super) fn under(toolbox: &ToolboxSpec, path: &str) -> String {
    match &toolbox.key {
        None => format!("{}:{path}", toolbox.name),
        Some(key) if key == "*" => key.clone(),
        Some(key) => format!("{}{path}", key.trim_end_matches('/')),
    }
}

/// The file names of a multipart body that were not given.
fn file_names(body: &HttpBody, schema: &Value) -> serde_json::Map<String, Value> {
    let HttpBody::Multipart(parts) = body else { return serde_json::Map::new() };
    let names = parts.iter().filter_map(|part| part.file_name.as_ref()?.arguments().next());
    names.filter_map(|name| Some((name.to_owned(), schema["properties"].get(name)?.get("default")?.clone()))).collect()
}
