//! Reading HTTP tools, and what the HTTP tools of a toolbox have in common.
//! It does not know how a request is sent, and no secret.

use crate::diagnostic::Problems;
use crate::fields::Fields;
use crate::http_spec::*;
use crate::http_url::UrlTemplate;
use crate::node::{At, Content, Node};
use crate::process_spec::TextTemplate;
use crate::toolbox_read::Templates;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const RESPONSES: [(&str, HttpResponse); 4] = [
    ("auto", HttpResponse::Auto),
    ("json", HttpResponse::Json),
    ("text", HttpResponse::Text),
    ("file", HttpResponse::File),
];
const STYLES: [(&str, ParamStyle); 5] = [
    ("form", ParamStyle::Form),
    ("space_delimited", ParamStyle::SpaceDelimited),
    ("pipe_delimited", ParamStyle::PipeDelimited),
    ("deep_object", ParamStyle::DeepObject),
    ("json", ParamStyle::Json),
];

/// What the HTTP tools of a toolbox have in common.
#[derive(Clone, Debug)]
pub(crate) struct HttpBase {
    /// Everything but where requests go.
    pub(crate) spec: HttpSpec,
    /// What their URLs stand behind.
    pub(crate) url: Option<UrlTemplate>,
}

impl HttpBase {
    /// Nothing in common.
    pub(crate) fn new(base_dir: &Path) -> HttpBase {
        let mut spec = HttpSpec::new("GET", "");
        spec.base_dir = base_dir.to_owned();
        HttpBase { spec, url: None }
    }

    /// Reads `base_url`, and what a tool can say too. `auth` is left alone where `with_auth` is false.
    pub(crate) fn read(
        fields: &mut Fields<'_, '_>,
        at: &At<'_>,
        base_dir: &Path,
        with_auth: bool,
        problems: &mut Problems,
    ) -> HttpBase {
        let mut base = HttpBase::new(base_dir);
        let none = Map::new();
        let checker = Templates::new(Some(&none));
        base.url = fields.text("base_url", problems).and_then(|text| {
            let at = at.field("base_url");
            let url = UrlTemplate::parse(&text).and_then(|url| match (&url.origin, text.contains("${")) {
                (None, _) => Err("a base URL begins with `https://` and a host".to_owned()),
                (_, true) => Err("a base URL is literal".to_owned()),
                _ => Ok(url),
            });
            url.map_err(|message| problems.error(&at, "bad_url", message)).ok()
        });
        common(fields, at, &mut base.spec, &checker, problems);
        if with_auth {
            auth(fields, at, &mut base.spec, problems);
        }
        base
    }
}

/// Reads a tool that has a `url`.
pub(crate) fn http(
    fields: &mut Fields<'_, '_>,
    at: &At<'_>,
    base: &HttpBase,
    schema: &Value,
    problems: &mut Problems,
) -> Option<HttpSpec> {
    let checker = Templates::new(schema.get("properties").and_then(Value::as_object));
    let mut spec = base.spec.clone();
    spec.defaults = crate::catalog::defaults(schema);
    let url = url(fields, at, base, &checker, problems);
    spec.query = params(fields, "query", at, &checker, problems).unwrap_or_default();
    spec.cookies = params(fields, "cookies", at, &checker, problems).unwrap_or_default();
    common(fields, at, &mut spec, &checker, problems);
    auth(fields, at, &mut spec, problems);
    if let Some(body) = body(fields, at, &checker, problems) {
        spec.body = body;
        spec.method = "POST".into();
    }
    if let Some(method) = fields.text("method", problems) {
        let upper = method.to_ascii_uppercase();
        if !METHODS.contains(&upper.as_str()) {
            let near = crate::nearest::nearest(&upper, METHODS);
            let message =
                format!("`method` is one of {}, not `{}`", METHODS.join(", "), crate::path::shorten(&method, 40));
            problems.error(&at.field("method"), "bad_value", message).nearest(near);
        }
        spec.method = upper.into();
    }
    let UrlTemplate { origin, path, query } = url?;
    spec.origin = origin?.into();
    spec.path = path;
    spec.query = query.into_iter().chain(spec.query).collect();
    Some(spec)
}

fn url(
    fields: &mut Fields<'_, '_>,
    at: &At<'_>,
    base: &HttpBase,
    checker: &Templates<'_>,
    problems: &mut Problems,
) -> Option<UrlTemplate> {
    let text = fields.text("url", problems)?;
    let at = at.field("url");
    let url = match UrlTemplate::parse(&text) {
        Ok(url) => url,
        Err(message) => {
            problems.error(&at, "bad_url", message);
            return None;
        }
    };
    let values = url.path.iter().filter_map(|piece| match piece {
        PathPiece::Value(param) => Some(&param.value),
        PathPiece::Text(_) => None,
    });
    for template in values.chain(url.query.iter().map(|param| &param.value)) {
        checker.check(template, &at, problems);
    }
    match (&url.origin, &base.url) {
        (None, Some(base)) => Some(url.behind(base)),
        (None, None) => {
            problems
                .error(
                    &at,
                    "bad_url",
                    "a URL that begins with `/` stands behind the `base_url` of its toolbox, and there is none",
                )
                .help("write the whole URL, or give the toolbox a `base_url`");
            None
        }
        (Some(_), _) => Some(url),
    }
}

/// What a toolbox and its tools can both say.
fn common(
    fields: &mut Fields<'_, '_>,
    at: &At<'_>,
    spec: &mut HttpSpec,
    checker: &Templates<'_>,
    problems: &mut Problems,
) {
    let headers = params(fields, "headers", at, checker, problems).unwrap_or_default();
    for header in headers {
        check_header(&header.name, &at.field("headers").field(&header.name), problems);
        spec.headers.retain(|other| !other.name.eq_ignore_ascii_case(&header.name));
        spec.headers.push(HttpParam { style: ParamStyle::Simple, explode: false, ..header });
    }
    reach(fields, at, spec, problems);
    waits(fields, at, spec, problems);
    spec.success = statuses(fields, "success", at, problems).unwrap_or_else(|| spec.success.clone());
    spec.transient = statuses(fields, "transient", at, problems).unwrap_or_else(|| spec.transient.clone());
    spec.not_reached = statuses(fields, "not_reached", at, problems).unwrap_or_else(|| spec.not_reached.clone());
    spec.response = fields.word("response", &RESPONSES, problems).unwrap_or(spec.response);
    spec.full = fields.flag("full", problems).unwrap_or(spec.full);
    spec.output_max = fields.size("output_max", problems).unwrap_or(spec.output_max);
    spec.inline_max = fields.size("inline_max", problems).unwrap_or(spec.inline_max);
    if let Some(header) = fields.text("idempotency_header", problems) {
        check_header(&header, &at.field("idempotency_header"), problems);
        spec.idempotency_header = Some(header.into());
    }
}

/// Reads where requests may go.
pub(crate) fn reach(fields: &mut Fields<'_, '_>, at: &At<'_>, spec: &mut HttpSpec, problems: &mut Problems) {
    let mut reach = (*spec.reach).clone();
    if let Some(hosts) = fields.texts("hosts", true, problems) {
        for (index, host) in hosts.iter().enumerate() {
            if !is_host_pattern(host) {
                problems
                    .error(
                        &at.field("hosts").index(index),
                        "bad_value",
                        format!("`{}` is not a host", crate::path::shorten(host, 60)),
                    )
                    .help("such as `api.example.com`, `*.example.com` or `example.com:8443`, without scheme and path");
            }
        }
        reach.hosts = hosts;
    }
    if let Some(private) = fields.texts("private", true, problems) {
        for (index, text) in private.iter().enumerate() {
            if !is_network(text) {
                let message = format!("`{}` is neither an address nor a network", crate::path::shorten(text, 60));
                problems
                    .error(&at.field("private").index(index), "bad_value", message)
                    .help("such as `127.0.0.1`, `10.0.0.0/8`, `::1` or `localhost`");
            }
        }
        reach.private = private;
    }
    if let Some(roots) = fields.texts("roots", true, problems) {
        reach.roots = roots.iter().map(|root| spec.base_dir.join(root)).collect();
    }
    if let Some(redirects) = fields.count("redirects", 0, problems) {
        reach.redirects_max = u32::try_from(redirects).unwrap_or(u32::MAX).min(100);
    }
    reach.proxies = fields.flag("proxies", problems).unwrap_or(reach.proxies);
    // What is the same is shared.
    if reach != *spec.reach {
        spec.reach = Arc::new(reach);
    }
}

/// `api.example.com`, `*.example.com`, `[::1]`, each with a port or without.
fn is_host_pattern(text: &str) -> bool {
    // A colon inside brackets belongs to the address.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_address = name.starts_with('[') && name.ends_with(']');
    let is_name = !name.is_empty() && !name.contains(['/', '*', '@', ' ', '[', ']', ':']) && !name.contains("${");
    (is_address || is_name) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let most = match address.parse::<core::net::IpAddr>() {
        Ok(core::net::IpAddr::V4(_)) => 32,
        Ok(core::net::IpAddr::V6(_)) => 128,
        Err(_) => return text == "localhost",
    };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

/// Reads the longest waits.
pub(crate) fn waits(fields: &mut Fields<'_, '_>, at: &At<'_>, spec: &mut HttpSpec, problems: &mut Problems) {
    let Some(node) = fields.take("waits") else { return };
    let at = at.field("waits");
    let Some(mut fields) = Fields::of(node, &at, "`waits`", problems) else { return };
    let waits = &mut spec.waits;
    waits.connect = fields.duration("connect", problems).unwrap_or(waits.connect);
    waits.first_byte = fields.duration("first_byte", problems).unwrap_or(waits.first_byte);
    waits.idle = fields.duration("idle", problems).unwrap_or(waits.idle);
    waits.total = fields.duration("total", problems).or(waits.total);
    fields.done("`waits`", &[], problems);
}

fn statuses(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    at: &At<'_>,
    problems: &mut Problems,
) -> Option<StatusSet> {
    let node = fields.take(name)?;
    let lone = std::slice::from_ref(node);
    let list = if let Content::List(list) = &node.value { list.as_slice() } else { lone };
    let mut ranges = Vec::with_capacity(list.len());
    for (index, node) in list.iter().enumerate() {
        match status(node) {
            Some(range) => ranges.push(range),
            None => {
                let text = crate::path::shorten(&node.to_value().to_string(), 40);
                let message = format!("a status is written as 404, \"404\", \"4xx\" or \"400-499\", not {text}");
                problems.error(&at.field(name).index(index), "bad_value", message);
            }
        }
    }
    Some(StatusSet(ranges))
}

fn status(node: &Node) -> Option<(u16, u16)> {
    let known = |status: u16| (100..=599).contains(&status).then_some(status);
    match &node.value {
        Content::Number(number) => {
            let status = known(u16::try_from(number.as_u64()?).ok()?)?;
            Some((status, status))
        }
        Content::Text(text) => match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(class), _) => {
                let class = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
                Some((class * 100, class * 100 + 99))
            }
            (_, Some((from, to))) => {
                let (from, to) = (known(from.trim().parse().ok()?)?, known(to.trim().parse().ok()?)?);
                (from <= to).then_some((from, to))
            }
            _ => {
                let status = known(text.parse().ok()?)?;
                Some((status, status))
            }
        },
        _ => None,
    }
}

/// A map of names to templates, or to `{value, style, explode}`.
fn params(
    fields: &mut Fields<'_, '_>,
    name: &'static str,
    at: &At<'_>,
    checker: &Templates<'_>,
    problems: &mut Problems,
) -> Option<Vec<HttpParam>> {
    let map = fields.map(name, problems)?;
    let at = at.field(name);
    let mut params = Vec::with_capacity(map.len());
    for (name, node) in map {
        let at = at.field(&name.text);
        let (mut style, mut explode) = (ParamStyle::Form, true);
        let value = match &node.value {
            Content::Map(_) => {
                let Some(mut fields) = Fields::of(node, &at, "a parameter", problems) else { continue };
                style = fields.word("style", &STYLES, problems).unwrap_or(style);
                explode = fields.flag("explode", problems).unwrap_or(style == ParamStyle::Form);
                let value = fields.take("value").map(|node| checker.scalar(node, &at.field("value"), problems));
                if value.is_none() {
                    fields.missing("value", "a parameter", problems);
                }
                fields.done("a parameter", &[], problems);
                value.flatten()
            }
            _ => checker.scalar(node, &at, problems),
        };
        let name = name.text.as_str().into();
        params.extend(value.map(|value| HttpParam { name, value, optional: true, style, explode, reserved: false }));
    }
    Some(params)
}

/// Whether a header can be set.
pub(crate) fn check_header(name: &str, at: &At<'_>, problems: &mut Problems) {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        problems.error_at_key(
            at,
            "bad_value",
            format!("{:?} cannot be the name of a header", crate::path::shorten(name, 60)),
        );
    } else if is_connection_header(name) {
        problems.error_at_key(
            at,
            "bad_value",
            format!("the header `{name}` belongs to the connection and cannot be set"),
        );
    }
}

/// One of `json`, `form`, `multipart`, `text` and `base64`.
fn body(
    fields: &mut Fields<'_, '_>,
    at: &At<'_>,
    checker: &Templates<'_>,
    problems: &mut Problems,
) -> Option<HttpBody> {
    let content_type = fields.text("content_type", problems);
    let mut bodies = Vec::new();
    if let Some(node) = fields.take("json") {
        bodies.push(("json", HttpBody::Json(json(node, &at.field("json"), checker, problems))));
    }
    if let Some(params) = params(fields, "form", at, checker, problems) {
        bodies.push(("form", HttpBody::Form(params)));
    }
    if let Some(map) = fields.map("multipart", problems) {
        let at = at.field("multipart");
        let parts =
            map.iter().filter_map(|(name, node)| part(&name.text, node, &at.field(&name.text), checker, problems));
        bodies.push(("multipart", HttpBody::Multipart(parts.collect())));
    }
    for (name, base64, kind) in
        [("text", false, "text/plain; charset=utf-8"), ("base64", true, "application/octet-stream")]
    {
        let Some(node) = fields.take(name) else { continue };
        if let Some(text) = checker.text(node, &at.field(name), problems) {
            let content_type = content_type.as_deref().unwrap_or(kind).into();
            bodies.push((name, HttpBody::Text { text, content_type, base64 }));
        }
    }
    if content_type.is_some() && !bodies.iter().any(|(name, _)| matches!(*name, "text" | "base64")) {
        let message =
            "`content_type` goes with `text` or `base64`; the others have their own, or a header `Content-Type`";
        problems.error(&at.field("content_type"), "bad_value", message);
    }
    if let [(first, _), (second, _), ..] = &bodies[..] {
        problems.error_at_key(
            &at.field(second),
            "bad_value",
            format!("a request has one body: `{first}` or `{second}`"),
        );
    }
    bodies.into_iter().next().map(|(_, body)| body)
}

fn json(node: &Node, at: &At<'_>, checker: &Templates<'_>, problems: &mut Problems) -> JsonTemplate {
    match &node.value {
        Content::Text(text) if text.trim() == "${args}" => JsonTemplate::Args,
        Content::Text(text) if !text.contains("${") => JsonTemplate::Literal(node.to_value()),
        Content::Text(_) => match checker.text(node, at, problems) {
            Some(text) => JsonTemplate::Text(text),
            None => JsonTemplate::Literal(Value::Null),
        },
        Content::List(list) => {
            let items = list.iter().enumerate().map(|(index, node)| json(node, &at.index(index), checker, problems));
            literal_or(items.collect(), JsonTemplate::List, node)
        }
        Content::Map(map) => {
            let members: Vec<(String, JsonTemplate)> = map
                .iter()
                .map(|(name, node)| (name.text.clone(), json(node, &at.field(&name.text), checker, problems)))
                .collect();
            if members.iter().all(|(_, member)| matches!(member, JsonTemplate::Literal(_))) {
                return JsonTemplate::Literal(node.to_value());
            }
            JsonTemplate::Object(members)
        }
        _ => JsonTemplate::Literal(node.to_value()),
    }
}

fn literal_or(items: Vec<JsonTemplate>, made: impl Fn(Vec<JsonTemplate>) -> JsonTemplate, node: &Node) -> JsonTemplate {
    let literal = items.iter().all(|item| matches!(item, JsonTemplate::Literal(_)));
    if literal { JsonTemplate::Literal(node.to_value()) } else { made(items) }
}

fn part(name: &str, node: &Node, at: &At<'_>, checker: &Templates<'_>, problems: &mut Problems) -> Option<HttpPart> {
    let name: Arc<str> = name.into();
    if !matches!(node.value, Content::Map(_)) {
        let value = checker.scalar(node, at, problems)?;
        return Some(HttpPart {
            name,
            value,
            kind: PartKind::Text,
            content_type: None,
            file_name: None,
            optional: true,
        });
    }
    let mut fields = Fields::of(node, at, "a part", problems)?;
    let mut values = Vec::new();
    for (field, kind) in [("text", PartKind::Text), ("base64", PartKind::Base64), ("file", PartKind::File)] {
        if let Some(node) = fields.take(field) {
            values.push((kind, checker.scalar(node, &at.field(field), problems)));
        }
    }
    if values.len() != 1 {
        problems.error(at, "bad_value", "a part has one of `text`, `base64` and `file`");
    }
    let content_type = fields.text("content_type", problems).map(Into::into);
    let file_name = fields.take("file_name").and_then(|node| checker.text(node, &at.field("file_name"), problems));
    fields.done("a part", &[], problems);
    let (kind, value) = values.into_iter().next()?;
    Some(HttpPart { name, value: value?, kind, content_type, file_name, optional: true })
}

/// Reads `auth`: one, or a list.
/// Reads what proves who is asking.
pub(crate) fn auth(fields: &mut Fields<'_, '_>, at: &At<'_>, spec: &mut HttpSpec, problems: &mut Problems) {
    let Some(node) = fields.take("auth") else { return };
    let at = at.field("auth");
    spec.auth = match &node.value {
        Content::List(list) => list
            .iter()
            .enumerate()
            .filter_map(|(index, node)| one_auth(node, &at.index(index), &spec.base_dir, problems))
            .collect(),
        Content::Text(text) if text == "none" => Vec::new(),
        // It may be the secret itself, so it is not repeated, nor its line shown.
        Content::Text(_) => {
            written(&at, problems);
            Vec::new()
        }
        _ => one_auth(node, &at, &spec.base_dir, problems).into_iter().collect(),
    };
}

fn one_auth(node: &Node, at: &At<'_>, base_dir: &Path, problems: &mut Problems) -> Option<HttpAuth> {
    let mut fields = Fields::of(node, at, "`auth`", problems)?;
    let mut all = Vec::new();
    if let Some(node) = fields.take("bearer") {
        all.push(secret(node, &at.field("bearer"), base_dir, problems).map(HttpAuth::Bearer));
    }
    if let Some(node) = fields.take("basic") {
        all.push(basic(node, &at.field("basic"), base_dir, problems));
    }
    let api_key = fields.take("api_key");
    let places = [("header", KeyPlace::Header), ("query", KeyPlace::Query), ("cookie", KeyPlace::Cookie)];
    let mut named = Vec::new();
    for (field, place) in places {
        named.extend(fields.text(field, problems).map(|name| (field, place, name)));
    }
    if let Some(node) = api_key {
        let secret = secret(node, &at.field("api_key"), base_dir, problems);
        match &named[..] {
            [(_, place, name)] => {
                if *place == KeyPlace::Header {
                    check_header(name, &at.field("header"), problems);
                }
                let name = name.as_str().into();
                all.push(secret.map(|secret| HttpAuth::ApiKey { place: *place, name, secret }));
            }
            _ => {
                let message = "an `api_key` goes into one of: header = \"NAME\", query = \"NAME\", cookie = \"NAME\"";
                problems.error_at_key(&at.field("api_key"), "missing_field", message);
                all.push(None);
            }
        }
    } else if let Some((field, ..)) = named.first() {
        problems.error_at_key(&at.field(field), "bad_value", format!("`{field}` goes with `api_key`"));
    }
    if let Some(node) = fields.take("oauth2") {
        all.push(oauth2(node, &at.field("oauth2"), base_dir, problems));
    }
    fields.done("`auth`", &[], problems);
    if all.len() != 1 {
        problems
            .error(at, "bad_value", "`auth` is one of `bearer`, `basic`, `api_key` and `oauth2`")
            .help("several are a list: auth = [{ … }, { … }]");
    }
    all.into_iter().next().flatten()
}

fn basic(node: &Node, at: &At<'_>, base_dir: &Path, problems: &mut Problems) -> Option<HttpAuth> {
    let mut fields = Fields::of(node, at, "`basic`", problems)?;
    let user = fields.take("user").map(|node| secret(node, &at.field("user"), base_dir, problems));
    if user.is_none() {
        fields.missing("user", "`basic`", problems);
    }
    let password = fields.take("password").map(|node| secret(node, &at.field("password"), base_dir, problems));
    fields.done("`basic`", &[], problems);
    let password = match password {
        Some(None) => return None,
        given => given.flatten(),
    };
    Some(HttpAuth::Basic { user: user??, password })
}

fn oauth2(node: &Node, at: &At<'_>, base_dir: &Path, problems: &mut Problems) -> Option<HttpAuth> {
    let mut fields = Fields::of(node, at, "`oauth2`", problems)?;
    let token_url = fields.text("token_url", problems);
    let mut secrets = ["client_id", "client_secret"].map(|name| {
        let secret = fields.take(name).map(|node| secret(node, &at.field(name), base_dir, problems));
        if secret.is_none() {
            fields.missing(name, "`oauth2`", problems);
        }
        secret.flatten()
    });
    match token_url.as_deref().map(UrlTemplate::parse) {
        None => fields.missing("token_url", "`oauth2`", problems),
        Some(Ok(url)) if url.origin.is_some() => {}
        Some(Ok(_)) => {
            problems.error(&at.field("token_url"), "bad_url", "this is a whole URL, beginning with `https://`");
        }
        Some(Err(message)) => {
            problems.error(&at.field("token_url"), "bad_url", message);
        }
    }
    let scopes = fields.texts("scopes", true, problems).unwrap_or_default();
    let audience = fields.text("audience", problems);
    let in_body = fields.flag("in_body", problems).unwrap_or_default();
    fields.done("`oauth2`", &[], problems);
    let [client_id, client_secret] = [secrets[0].take()?, secrets[1].take()?];
    Some(HttpAuth::OAuth2 { token_url: token_url?.into(), client_id, client_secret, scopes, audience, in_body })
}

/// Reads where a secret is: `env:NAME`, or `file:PATH` from the directory of the file.
pub(crate) fn secret(node: &Node, at: &At<'_>, base_dir: &Path, problems: &mut Problems) -> Option<SecretName> {
    let Content::Text(text) = &node.value else {
        written(at, problems);
        return None;
    };
    match SecretName::try_from(text.clone()) {
        Ok(SecretName::File(path)) => Some(SecretName::File(base_dir.join(path))),
        Ok(name) => Some(name),
        Err(_) => {
            written(at, problems);
            None
        }
    }
}

/// What stands there may be a secret: it is not repeated, nor is its line shown.
fn written(at: &At<'_>, problems: &mut Problems) {
    problems.error_hidden(at, "secret_written", "a secret is named, not written").help(
        "`env:NAME` for a variable of the environment, `file:PATH` for a file; and change a secret that was in a file",
    );
}

impl Templates<'_> {
    /// A template, or a literal number, `true` or `false`.
    fn scalar(&self, node: &Node, at: &At<'_>, problems: &mut Problems) -> Option<TextTemplate> {
        match &node.value {
            Content::Bool(flag) => TextTemplate::parse(if *flag { "true" } else { "false" }).ok(),
            _ => self.text(node, at, problems),
        }
    }
}
