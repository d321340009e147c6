//! Reading what a toolbox file says of an MCP server: how it is reached, which of its tools, what is said of them.
//! It does not know the server; the files of other programs are read in `mcp_servers_read.rs`.

use crate::diagnostic::Problems;
use crate::fields::Fields;
use crate::http_read::{HttpBase, auth, check_header, reach, secret, waits};
use crate::http_spec::{HttpAuth, KeyPlace, SecretName};
use crate::http_url::UrlTemplate;
use crate::mcp_spec::{McpCommand, McpEndpoint, McpOAuth, McpOverride, McpPiece, McpSource, McpText, McpTransport};
use crate::node::{At, Content, Node};
use crate::openapi::Given;
use crate::openapi_read::given;
use crate::settings_read::{LATER, effects, rate, settings};
use crate::toolbox_read::check_variable;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Reads the fields of a toolbox that has `mcp`, but for those that every toolbox has.
pub(crate) fn mcp(
    fields: &mut Fields<'_, '_>,
    at: &At<'_>,
    base_dir: &Path,
    problems: &mut Problems,
) -> Option<McpSource> {
    let mcp_at = at.field("mcp");
    let transport = fields.take("mcp").and_then(|node| transport(node, &mcp_at, base_dir, problems));
    let mut source = McpSource::new(transport?);
    source.prefix = fields.flag("prefix", problems).unwrap_or(source.prefix);
    source.trusted = fields.flag("trusted", problems).unwrap_or(source.trusted);
    source.include = names(fields, "include", at, problems);
    source.exclude = names(fields, "exclude", at, problems);
    source.connect = fields.duration("connect", problems).unwrap_or(source.connect);
    source.output_max = fields.size("output_max", problems).unwrap_or(source.output_max);
    source.inline_max = fields.size("inline_max", problems).unwrap_or(source.inline_max);
    let tools = at.field("tools");
    for (name, node) in fields.map("tools", problems).unwrap_or_default() {
        let at = tools.field(&name.text);
        if let Some(said) = said_of_tool(node, &at, problems) {
            source.overrides.push(given(&name.text, said, &at, problems));
        }
    }
    Some(source)
}

fn names(fields: &mut Fields<'_, '_>, name: &'static str, at: &At<'_>, problems: &mut Problems) -> Vec<Given<()>> {
    let texts = fields.texts(name, true, problems).unwrap_or_default();
    let at = at.field(name);
    texts.iter().enumerate().map(|(index, text)| given(text, (), &at.index(index), problems)).collect()
}

fn transport(node: &Node, at: &At<'_>, base_dir: &Path, problems: &mut Problems) -> Option<McpTransport> {
    let mut fields = Fields::of(node, at, "`mcp`", problems)?;
    let transport = match (fields.has("command"), fields.has("url")) {
        (true, false) => command(&mut fields, at, base_dir, problems).map(|it| McpTransport::Stdio(Box::new(it))),
        (false, true) => endpoint(&mut fields, at, base_dir, problems).map(|it| McpTransport::Http(Box::new(it))),
        (true, true) => {
            problems.error_at_key(&at.field("url"), "bad_value", "a server has a `command` or a `url`, not both");
            return None;
        }
        (false, false) => {
            problems.error(at, "missing_field", "`mcp` has neither `command` nor `url`").help(
                "a program has { command = \"npx\", args = [\"-y\", \"…\"] }, a server elsewhere { url = \"https://…\" }",
            );
            return None;
        }
    };
    fields.done("`mcp`", &[], problems);
    transport
}

fn command(fields: &mut Fields<'_, '_>, at: &At<'_>, base_dir: &Path, problems: &mut Problems) -> Option<McpCommand> {
    let program = fields.text("command", problems);
    let args = fields.texts("args", false, problems).unwrap_or_default();
    let mut command = McpCommand {
        command: McpText::default(),
        args: args.into_iter().map(McpText::literal).collect(),
        pass: Vec::new(),
        set: Vec::new(),
        cwd: fields.text("cwd", problems).map(McpText::literal),
        base_dir: base_dir.to_owned(),
    };
    let env_at = at.field("env");
    match fields.take("env").map(|node| (&node.value, node)) {
        None => {}
        Some((Content::List(list), _)) => {
            for (index, node) in list.iter().enumerate() {
                let at = env_at.index(index);
                match &node.value {
                    Content::Text(name) => {
                        check_variable(name, &at, problems);
                        command.pass.push(name.clone());
                    }
                    _ => _ = problems.error(&at, "wrong_type", "the name of a variable is a text"),
                }
            }
        }
        Some((Content::Map(map), _)) => {
            for (name, node) in map {
                let at = env_at.field(&name.text);
                check_variable(&name.text, &at, problems);
                command.set.extend(value(node, &at, base_dir, problems).map(|value| (name.text.clone(), value)));
            }
        }
        Some((_, node)) => {
            let message = format!("`env` is an object of names and values, or a list of names, not {}", node.kind());
            problems.error(&env_at, "wrong_type", message);
        }
    }
    command.command = McpText::literal(program?);
    Some(command)
}

/// A text; a secret where it is the name of one.
fn value(node: &Node, at: &At<'_>, base_dir: &Path, problems: &mut Problems) -> Option<McpText> {
    let text = match &node.value {
        Content::Text(text) => text.clone(),
        Content::Number(number) => number.to_string(),
        Content::Bool(flag) => flag.to_string(),
        _ => {
            problems.error(at, "wrong_type", format!("this is a text, not {}", node.kind()));
            return None;
        }
    };
    Some(match SecretName::try_from(text.clone()) {
        Ok(SecretName::File(path)) => McpText(vec![McpPiece::Secret(SecretName::File(base_dir.join(path)))]),
        Ok(name) => McpText(vec![McpPiece::Secret(name)]),
        Err(_) => McpText::literal(text),
    })
}

fn endpoint(fields: &mut Fields<'_, '_>, at: &At<'_>, base_dir: &Path, problems: &mut Problems) -> Option<McpEndpoint> {
    let url = fields.text("url", problems);
    let url_at = at.field("url");
    let mut base = HttpBase::new(base_dir).spec;
    // How long a call may take is said by its `timeout`.
    base.waits.first_byte = Duration::from_secs(60 * 60);
    reach(fields, at, &mut base, problems);
    waits(fields, at, &mut base, problems);
    auth(fields, at, &mut base, problems);
    for (index, one) in base.auth.iter().enumerate() {
        if matches!(one, HttpAuth::ApiKey { place, .. } if *place != KeyPlace::Header) {
            let at = at.field("auth");
            problems.error(&at.index(index), "bad_value", "the key of an MCP server goes into a header");
        }
    }
    let mut headers = Vec::new();
    let headers_at = at.field("headers");
    for (name, node) in fields.map("headers", problems).unwrap_or_default() {
        let at = headers_at.field(&name.text);
        check_header(&name.text, &at, problems);
        headers.extend(value(node, &at, base_dir, problems).map(|value| (Arc::from(name.text.as_str()), value)));
    }
    let oauth = fields.take("oauth").and_then(|node| oauth(node, &at.field("oauth"), base_dir, problems));
    let url = url?;
    if let Err(message) = check_url(&url) {
        problems.error(&url_at, "bad_url", message);
        return None;
    }
    Some(McpEndpoint { url: McpText::literal(url), headers, base, oauth: oauth.unwrap_or_default() })
}

/// Whether a text is the whole URL of a server.
pub(crate) fn check_url(text: &str) -> Result<(), String> {
    match UrlTemplate::parse(text)?.origin {
        Some(_) if text.contains("${") => Err("the URL of a server is literal".to_owned()),
        Some(_) => Ok(()),
        None => Err("the URL of a server begins with `https://` and a host".to_owned()),
    }
}

fn oauth(node: &Node, at: &At<'_>, base_dir: &Path, problems: &mut Problems) -> Option<McpOAuth> {
    let mut fields = Fields::of(node, at, "`oauth`", problems)?;
    let read = |fields: &mut Fields<'_, '_>, name: &'static str, problems: &mut Problems| {
        fields.take(name).and_then(|node| secret(node, &at.field(name), base_dir, problems))
    };
    let oauth = McpOAuth {
        client_id: read(&mut fields, "client_id", problems),
        client_secret: read(&mut fields, "client_secret", problems),
        client_metadata: fields.text("client_metadata", problems),
        scopes: fields.texts("scopes", true, problems).unwrap_or_default(),
        port: fields.count("port", 1, problems).and_then(|port| {
            let port = u16::try_from(port);
            port.map_err(|_| problems.error(&at.field("port"), "bad_value", "a port is at most 65535")).ok()
        }),
    };
    fields.done("`oauth`", &[], problems);
    Some(oauth)
}

/// Reads what is said of one tool of a server.
fn said_of_tool(node: &Node, at: &At<'_>, problems: &mut Problems) -> Option<McpOverride> {
    let mut fields = Fields::of(node, at, "a tool", problems)?;
    let said = McpOverride {
        description: fields.text("description", problems),
        effects: effects(&mut fields, at, problems),
        version: fields.text("version", problems).map(Into::into),
        running_max: fields.count32("running", problems),
        rate: rate(&mut fields, at, problems),
        settings: settings(&mut fields, at, problems),
    };
    fields.done("a tool of a server", &LATER, problems);
    Some(said)
}
