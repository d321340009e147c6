//! The tools of a server: listed page by page, named, and described as the catalog wants them.
//! It does not know how a tool is called.

use super::ledger::{Caller, owned};
use super::link::{Ended, Link};
use super::server::Server;
use super::words::{bad_answer, refused};
use crate::tool::{JsonText, ToolError};
use fanout_plan::{Diagnostic, Hints, McpTransport, Severity, ToolKind, ToolSpec, ToolboxSpec, check_schema};
use rmcp::model::{ClientRequest, ListToolsRequest, PaginatedRequestParams, ServerPeerInfo, ServerResult};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// A server that lists on and on is not listened to longer than this.
const PAGES_MAX: usize = 1_000;
/// More tools than this are not taken.
const TOOLS_MAX: usize = 10_000;
/// As long as the name of a tool may be.
const NAME_MAX: usize = 128;

/// The tools of a server, and what is to be said of them.
pub(super) struct Listed {
    pub(super) spec: ToolboxSpec,
    /// What the server calls each, in the order of `spec.tools`.
    pub(super) names: Vec<Arc<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    #[serde(borrow, default)]
    tools: Vec<&'a RawValue>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// A tool as a server lists it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    name: String,
    title: Option<String>,
    description: Option<String>,
    #[serde(default)]
    input_schema: Value,
    #[serde(default)]
    output_schema: Option<Value>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

/// What a server hints of a tool.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Annotations {
    title: Option<String>,
    read_only_hint: Option<bool>,
    destructive_hint: Option<bool>,
    idempotent_hint: Option<bool>,
    open_world_hint: Option<bool>,
}

/// Lists all tools, as `spec` begins to describe them.
///
/// # Errors
/// `mcp_lost`, `mcp_error`, `mcp_bad_answer`.
pub(super) async fn list(server: &Server, link: &Arc<Link>, spec: &ToolboxSpec) -> Result<Listed, ToolError> {
    let mut made = Making {
        server,
        link,
        spec: spec.clone(),
        names: Vec::new(),
        taken: HashSet::new(),
        callable: None,
        later: Vec::new(),
        last: false,
    };
    if link.info.capabilities.tools.is_none() && link.is_modern() {
        return Ok(made.end());
    }
    let mut cursor: Option<String> = None;
    let mut seen = HashSet::new();
    for _ in 0..PAGES_MAX {
        let params = cursor.take().map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
        let request = ListToolsRequest { params, ..ListToolsRequest::default() };
        let request = ClientRequest::ListToolsRequest(request);
        let page = link.exchange_list(request, Caller::nobody(&server.name)).await;
        let (page, seen_by_library) = page.map_err(|ended| match ended {
            Ended::Rpc(error) => refused(&server.name, &error),
            Ended::Failed(error) => error,
        })?;
        // What cannot be called by its headers is not in there.
        made.callable = match seen_by_library {
            Some(ServerResult::ListToolsResult(list)) if link.http => {
                Some(list.tools.into_iter().map(|tool| tool.name.into_owned()).collect())
            }
            _ => None,
        };
        let read: Page<'_> = serde_json::from_str(page.get())
            .map_err(|error| bad_answer(&server.name, &format!("its list of tools cannot be read: {error}")))?;
        for tool in read.tools {
            if made.spec.tools.len() >= TOOLS_MAX {
                made.left_out(&format!("all tools behind the first {TOOLS_MAX}"), "there are too many");
                return Ok(made.end());
            }
            made.take(tool);
        }
        match read.next_cursor.filter(|cursor| !cursor.is_empty()) {
            None => return Ok(made.end()),
            Some(next) if !seen.insert(next.clone()) => {
                made.left_out("the rest of its list", "it names the same page again");
                return Ok(made.end());
            }
            Some(next) => cursor = Some(next),
        }
    }
    made.left_out("the rest of its list", &format!("it has more than {PAGES_MAX} pages"));
    Ok(made.end())
}

struct Making<'a> {
    server: &'a Server,
    link: &'a Link,
    spec: ToolboxSpec,
    names: Vec<Arc<str>>,
    /// Names that are given.
    taken: HashSet<String>,
    /// What the server calls those of the page that can be called, where not all can.
    callable: Option<HashSet<String>>,
    /// Tools whose own names cannot be names here.
    later: Vec<Box<RawValue>>,
    /// It is their turn.
    last: bool,
}

impl Making<'_> {
    fn take(&mut self, raw: &RawValue) {
        let tool: Tool = match serde_json::from_str(raw.get()) {
            Ok(tool) => tool,
            Err(error) => {
                #[derive(Deserialize)]
                struct Named {
                    name: String,
                }
                let name = serde_json::from_str::<Named>(raw.get()).map(|named| named.name).unwrap_or_default();
                return self
                    .left_out(&format!("the tool `{name}`"), &format!("it is not described as a tool: {error}"));
            }
        };
        let source = &self.server.source;
        if !source.takes(&tool.name) {
            return;
        }
        let what = format!("the tool `{}`", super::shown(&tool.name, 60));
        if self.callable.as_ref().is_some_and(|callable| !callable.contains(&tool.name)) {
            return self.left_out(&what, "the headers that its arguments shall be sent in cannot be");
        }
        // Those whose own names can stay have them first, wherever they are listed.
        if !self.last && !tool.name.chars().all(fits) {
            return self.later.push(raw.to_owned());
        }
        if !tool.input_schema.is_object() {
            return self.left_out(&what, "the schema of its arguments is not an object");
        }
        for (schema, of) in [(Some(&tool.input_schema), "arguments"), (tool.output_schema.as_ref(), "result")] {
            if let Some(Err(why)) = schema.map(check_schema) {
                return self.left_out(&what, &format!("the schema of its {of} does not compile: {why}"));
            }
        }
        let name = self.named(&tool.name);
        let said = source.said_of(&tool.name);
        let annotations = tool.annotations.unwrap_or_default();
        let hints = source.trusted.then(|| hints(&annotations)).flatten();
        let title = tool.title.or(annotations.title.clone());
        let spec = ToolSpec {
            name: name.into(),
            description: said
                .and_then(|said| said.description.clone())
                .or(tool.description)
                .or(title)
                .unwrap_or_default(),
            args_schema: tool.input_schema,
            result_schema: tool.output_schema,
            effects: said.and_then(|said| said.effects.clone()),
            hints,
            base_dir: base_dir(&source.transport),
            cwd: None,
            version: Some(said.and_then(|said| said.version.clone()).unwrap_or_else(|| version(&self.link.info, raw))),
            facts: facts(self.server, &self.link.info, &tool.name, &annotations),
            definition: Some(definition(raw)),
            kind: ToolKind::Mcp,
            running_max: said.and_then(|said| said.running_max),
            rate: said.and_then(|said| said.rate),
            settings: said.map(|said| said.settings.clone()).unwrap_or_default(),
        };
        self.spec.tools.push(spec);
        self.names.push(tool.name.into());
    }

    /// The name of a tool in plans: the server's own where that is possible.
    fn named(&mut self, own: &str) -> String {
        let prefix = if self.server.source.prefix { format!("{}.", self.server.name) } else { String::new() };
        let plain: String =
            own.chars().map(|c| if fits(c) { c } else { '_' }).take(NAME_MAX - prefix.len().min(64)).collect();
        let plain = if plain.is_empty() { "unnamed".to_owned() } else { plain };
        let mut name = format!("{prefix}{plain}");
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{prefix}{plain}_{number}");
            number += 1;
        }
        if name.strip_prefix(&prefix) != Some(own) {
            let message = format!(
                "the tool that the MCP server `{}` calls `{}` is called `{name}`, since its own name is taken or cannot \
                 be one",
                self.server.name,
                super::shown(own, 60)
            );
            self.warn("mcp_renamed", message);
        }
        name
    }

    fn left_out(&mut self, what: &str, why: &str) {
        let message = format!("{what} of the MCP server `{}` is left out: {why}", self.server.name);
        self.warn("mcp_left_out", message);
    }

    fn warn(&mut self, code: &'static str, message: String) {
        let mut warning = Diagnostic::error(code, message).with_path(format!("toolbox.{}", self.server.name));
        warning.severity = Severity::Warning;
        self.spec.warnings.push(warning);
    }

    /// All of it, and what was said of tools that there are not.
    fn end(mut self) -> Listed {
        (self.last, self.callable) = (true, None);
        for raw in std::mem::take(&mut self.later) {
            self.take(&raw);
        }
        let unknown: Vec<_> = self
            .server
            .source
            .overrides
            .iter()
            .filter(|given| !self.names.iter().any(|name| **name == *given.name))
            .map(|given| (given.name.clone(), given.place.clone(), given.path.clone()))
            .collect();
        for (name, place, path) in unknown {
            let message = format!("the MCP server `{}` has no tool `{name}`", self.server.name);
            let mut warning = Diagnostic::error("mcp_unknown", message).with_path(path);
            warning.severity = Severity::Warning;
            warning.place = place;
            self.spec.warnings.push(warning);
        }
        Listed { spec: self.spec, names: self.names }
    }
}

/// What can stand in a name.
fn fits(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// What is believed of a tool's effects; nothing when nothing is hinted.
fn hints(annotations: &Annotations) -> Option<Hints> {
    let read_only = annotations.read_only_hint == Some(true);
    let said = |hint: Option<bool>| !read_only && hint == Some(true);
    let hints = Hints {
        read_only,
        idempotent: said(annotations.idempotent_hint),
        destructive: said(annotations.destructive_hint),
    };
    (hints != Hints::default()).then_some(hints)
}

/// What a tool is a version of: its server's, and how it is described.
fn version(info: &ServerPeerInfo, raw: &RawValue) -> Arc<str> {
    let mut hash = blake3::Hasher::new();
    let server = info.server_info.as_ref().map(|server| (server.name.as_str(), server.version.as_str()));
    let (name, version) = server.unwrap_or_default();
    for part in [name, version, raw.get()] {
        // With their lengths, so that no two lists of parts are the same bytes.
        hash.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hash.finalize().to_hex()[..16].into()
}

/// What is told of a tool to people.
fn facts(server: &Server, info: &ServerPeerInfo, own: &str, annotations: &Annotations) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    facts.extend(info.server_info.as_ref().map(|info| ("server", format!("{} {}", info.name, info.version))));
    match &server.source.transport {
        McpTransport::Stdio(command) => {
            let words = std::iter::once(&command.command).chain(&command.args).map(fanout_plan::McpText::shown);
            facts.push(("command", words.collect::<Vec<_>>().join(" ")));
        }
        McpTransport::Http(endpoint) => facts.push(("url", endpoint.url.shown())),
    }
    facts.push(("protocol", info.protocol_version.to_string()));
    facts.push(("called", own.to_owned()));
    let hinted = [
        (annotations.read_only_hint, "read-only", "not read-only"),
        (annotations.destructive_hint, "destructive", "not destructive"),
        (annotations.idempotent_hint, "idempotent", "not idempotent"),
        (annotations.open_world_hint, "open world", "closed world"),
    ];
    let hinted =
        hinted.into_iter().filter_map(|(hint, yes, no)| Some(if hint? { yes } else { no })).collect::<Vec<_>>();
    if !hinted.is_empty() {
        let believed = if server.source.trusted { "" } else { " (not believed)" };
        facts.push(("hints", format!("{}{believed}", hinted.join(", "))));
    }
    facts
}

/// Where relative paths in its keys begin.
fn base_dir(transport: &McpTransport) -> Option<Arc<std::path::Path>> {
    let McpTransport::Stdio(command) = transport else { return None };
    match &command.cwd {
        Some(cwd) if cwd.is_literal() => Some(command.base_dir.join(cwd.shown()).into()),
        _ => Some(command.base_dir.as_path().into()),
    }
}

fn definition(raw: &RawValue) -> Arc<RawValue> {
    owned(raw)
}

/// What a server said of itself, as `initialize` answers.
pub(super) fn introduction(info: &ServerPeerInfo) -> JsonText {
    let value = serde_json::to_value(info).unwrap_or_else(|_| json!({}));
    // Written from memory, and of texts and numbers only.
    serde_json::value::to_raw_value(&value).map_or_else(|_| RawValue::NULL.to_owned().into(), Into::into)
}
