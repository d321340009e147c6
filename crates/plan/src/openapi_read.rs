//! Reading what a toolbox file says of an OpenAPI document: where it is, which operations, secrets, single tools.
//! It does not know the document.

use crate::diagnostic::Problems;
use crate::fields::Fields;
use crate::http_read::{HttpBase, secret};
use crate::node::{At, Content, Node};
use crate::openapi::{DocumentPlace, Given, OpenApiSource, OperationFilter, SchemeSecret, ToolOverride};
use crate::settings_read::{LATER, effects, rate, settings};
use std::path::Path;

/// Reads the fields of a toolbox that has `openapi`, but for those that every toolbox has.
pub(crate) fn openapi(
    fields: &mut Fields<'_, '_>,
    at: &At<'_>,
    base_dir: &Path,
    problems: &mut Problems,
) -> Option<OpenApiSource> {
    let document = fields.text("openapi", problems).map(|text| place_of(&text, base_dir));
    let base = HttpBase::read(fields, at, base_dir, false, problems);
    if base.url.is_some() {
        problems
            .error_at_key(&at.field("base_url"), "bad_value", "a toolbox with `openapi` has `server`, not `base_url`")
            .help("server = \"https://…\" replaces the servers of the document");
    }
    let mut source = OpenApiSource::new(document?);
    source.base = base.spec;
    source.server = fields.text("server", problems);
    let variables = at.field("variables");
    for (name, node) in fields.map("variables", problems).unwrap_or_default() {
        let at = variables.field(&name.text);
        match &node.value {
            Content::Text(text) => source.variables.push(given(&name.text, text.clone(), &at, problems)),
            Content::Number(number) => source.variables.push(given(&name.text, number.to_string(), &at, problems)),
            _ => _ = problems.error(&at, "wrong_type", format!("this is a text, not {}", node.kind())),
        }
    }
    source.include = filter(fields, "include", at, problems);
    source.exclude = filter(fields, "exclude", at, problems);
    let auth = at.field("auth");
    for (name, node) in fields.map("auth", problems).unwrap_or_default() {
        let at = auth.field(&name.text);
        if let Some(secret) = scheme_secret(node, &at, base_dir, problems) {
            source.auth.push(given(&name.text, secret, &at, problems));
        }
    }
    let tools = at.field("tools");
    for (name, node) in fields.map("tools", problems).unwrap_or_default() {
        let at = tools.field(&name.text);
        if let Some(said) = said_of_tool(node, &at, problems) {
            source.overrides.push(given(&name.text, said, &at, problems));
        }
    }
    Some(source)
}

/// A URL, or a file beside the toolbox file.
fn place_of(text: &str, base_dir: &Path) -> DocumentPlace {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https") => DocumentPlace::Url(text.to_owned()),
        _ => DocumentPlace::File(base_dir.join(text)),
    }
}

/// Something said under a name, with its place.
pub(crate) fn given<T>(name: &str, value: T, at: &At<'_>, problems: &Problems) -> Given<T> {
    Given { name: name.to_owned(), value, place: problems.place_of_key(at), path: at.to_string() }
}

/// Reads `{ tags = […], paths = […], names = […] }`.
fn filter(fields: &mut Fields<'_, '_>, name: &'static str, at: &At<'_>, problems: &mut Problems) -> OperationFilter {
    let Some(node) = fields.take(name) else { return OperationFilter::default() };
    let at = at.field(name);
    let Some(mut fields) = Fields::of(node, &at, &format!("`{name}`"), problems) else {
        return OperationFilter::default();
    };
    let mut list = |field: &'static str, problems: &mut Problems| {
        let texts = fields.texts(field, true, problems).unwrap_or_default();
        let at = at.field(field);
        let one = |(index, text): (usize, String)| given(&text, (), &at.index(index), problems);
        texts.into_iter().enumerate().map(one).collect::<Vec<_>>()
    };
    let filter = OperationFilter {
        tags: list("tags", problems),
        paths: list("paths", problems),
        names: list("names", problems),
    };
    fields.done(&format!("`{name}`"), &[], problems);
    if filter.is_empty() {
        problems
            .error(&at, "bad_value", format!("`{name}` says nothing"))
            .help("choose by `tags`, `paths` or `names`: { paths = [\"/pets/**\"] }");
    }
    filter
}

/// Reads where the secrets of a security scheme are: `"env:TOKEN"`, or an object.
fn scheme_secret(node: &Node, at: &At<'_>, base_dir: &Path, problems: &mut Problems) -> Option<SchemeSecret> {
    if !matches!(node.value, Content::Map(_)) {
        return secret(node, at, base_dir, problems).map(SchemeSecret::Token);
    }
    let mut fields = Fields::of(node, at, "`auth`", problems)?;
    let read = |fields: &mut Fields<'_, '_>, name: &'static str, problems: &mut Problems| {
        fields.take(name).and_then(|node| secret(node, &at.field(name), base_dir, problems))
    };
    let has = |name: &str| matches!(&node.value, Content::Map(map) if map.iter().any(|(key, _)| key.text == name));
    if has("user") || has("password") {
        let user = read(&mut fields, "user", problems);
        let password = read(&mut fields, "password", problems);
        if !has("user") {
            fields.missing("user", "`auth`", problems);
        }
        fields.done("`auth`", &[], problems);
        return Some(SchemeSecret::Basic { user: user?, password });
    }
    let client_id = read(&mut fields, "client_id", problems);
    let client_secret = read(&mut fields, "client_secret", problems);
    for name in ["client_id", "client_secret"].into_iter().filter(|name| !has(name)) {
        problems
            .error(at, "missing_field", format!("`auth` has no `{name}`"))
            .help("a token or key is \"env:NAME\", a user { user = …, password = … }, a client { client_id = …, client_secret = … }");
    }
    let scopes = fields.texts("scopes", true, problems);
    let audience = fields.text("audience", problems);
    let in_body = fields.flag("in_body", problems).unwrap_or_default();
    fields.done("`auth`", &[], problems);
    Some(SchemeSecret::Client { client_id: client_id?, client_secret: client_secret?, scopes, audience, in_body })
}

/// Reads what is said of one tool of a document.
fn said_of_tool(node: &Node, at: &At<'_>, problems: &mut Problems) -> Option<ToolOverride> {
    let mut fields = Fields::of(node, at, "a tool", problems)?;
    let said = ToolOverride {
        description: fields.text("description", problems),
        effects: effects(&mut fields, at, problems),
        content_type: fields.text("content_type", problems),
        server: fields.text("server", problems),
        running_max: fields.count32("running", problems),
        rate: rate(&mut fields, at, problems),
        settings: settings(&mut fields, at, problems),
    };
    fields.done("a tool of a document", &LATER, problems);
    Some(said)
}
