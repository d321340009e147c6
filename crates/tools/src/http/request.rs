//! From a tool's description and one attempt's arguments to what is sent.
//! It does not know how it is sent, nor who proves to be asking.

use super::encode::{Stands, encode, one, pairs, text};
use crate::tool::{Reached, ToolError};
use base64::Engine as _;
use fanout_plan::{HttpBody, HttpParam, HttpPart, HttpResponse, HttpSpec, JsonTemplate, PartKind, PathPiece};
use hyper::body::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What is sent, whole, so that it can be sent again.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) cookies: Vec<String>,
    pub(super) content: Content,
}

/// The body of a request.
#[derive(Debug)]
pub(super) enum Content {
    Empty,
    Bytes(Bytes),
    Multipart(Vec<Part>),
}

/// One part of a multipart body.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) data: PartData,
}

#[derive(Clone, Debug)]
pub(super) enum PartData {
    Bytes(Bytes),
    File(PathBuf),
}

/// Fills in the templates; each value is encoded where it stands.
///
/// # Errors
/// `argument_missing`, `argument_unsendable`; nothing has been sent.
pub(super) fn fill(spec: &HttpSpec, method: &Method, fixed: Option<&Url>, args: &Value) -> Result<Outgoing, ToolError> {
    let url = match fixed {
        Some(url) => url.clone(),
        None => url(spec, args)?,
    };
    let mut headers = headers(&spec.headers, args)?;
    let mut cookies = Vec::new();
    for param in &spec.cookies {
        let Some(value) = value_of(param, args)? else { continue };
        cookies.extend(pairs(param, &value, Stands::Pairs).into_iter().map(|(name, value)| format!("{name}={value}")));
    }
    let (content, content_type) = content(spec, args)?;
    if let Some(content_type) = content_type
        && !headers.contains_key(CONTENT_TYPE)
    {
        headers.insert(CONTENT_TYPE, header_value("content-type", &content_type)?);
    }
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static(match spec.response {
        HttpResponse::Json => "application/json",
        HttpResponse::Auto => "application/json, text/*;q=0.9, */*;q=0.8",
        HttpResponse::Text => "text/*, */*;q=0.8",
        HttpResponse::File => "*/*",
    }));
    Ok(Outgoing { method: method.clone(), url, headers, cookies, content })
}

/// The cookies as one header.
///
/// # Errors
/// `argument_unsendable`.
pub(super) fn cookie_header(cookies: &[String]) -> Result<Option<(HeaderName, HeaderValue)>, ToolError> {
    if cookies.is_empty() {
        return Ok(None);
    }
    Ok(Some((COOKIE, header_value("cookie", &cookies.join("; "))?)))
}

/// The URL, where no argument is in it.
pub(super) fn fixed_url(spec: &HttpSpec) -> Option<Url> {
    let mut values = spec.path.iter().filter_map(|piece| match piece {
        PathPiece::Value(param) => Some(param),
        PathPiece::Text(_) => None,
    });
    if values.any(made) || spec.query.iter().any(made) { None } else { url(spec, &Value::Null).ok() }
}

/// The request with this URL, where no argument is in any of it.
pub(super) fn fixed(spec: &HttpSpec, method: &Method, url: &Url) -> Option<Outgoing> {
    let anew = spec.headers.iter().chain(&spec.cookies).any(made)
        || !matches!(spec.body, HttpBody::None)
        || idempotency_header(spec, method).is_some();
    if anew { None } else { fill(spec, method, Some(url), &Value::Null).ok() }
}

/// Whether a parameter is made from arguments.
fn made(param: &HttpParam) -> bool {
    param.value.arguments().next().is_some()
}

/// The header in which a request of this method says which call it is of.
pub(super) fn idempotency_header<'a>(spec: &'a HttpSpec, method: &Method) -> Option<&'a str> {
    spec.idempotency_header.as_deref().filter(|_| !method.is_safe())
}

fn url(spec: &HttpSpec, args: &Value) -> Result<Url, ToolError> {
    let mut path = String::new();
    for piece in &spec.path {
        match piece {
            PathPiece::Text(text) => path.push_str(text),
            PathPiece::Value(param) => {
                let value = value_of(param, args)?.unwrap_or_default();
                let filled = one(param, &value, Stands::Path);
                if filled.is_empty() {
                    let message = format!("`{}` is empty, and so would be its part of the path", param.name);
                    return Err(unsendable(message));
                }
                refuse_nul(&param.name, &value)?;
                path.push_str(&filled);
            }
        }
    }
    // `.` and `..` cannot be escaped: every client and server takes them for steps.
    let dots = |segment: &str| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain == "." || plain == ".."
    };
    if let Some(segment) = path.split('/').find(|segment| dots(segment)) {
        return Err(unsendable(format!(
            "`{segment}` cannot be a part of a path: it means a step, however it is written"
        )));
    }
    let mut query = Vec::new();
    for param in &spec.query {
        let Some(value) = value_of(param, args)? else { continue };
        refuse_nul(&param.name, &value)?;
        query.extend(pairs(param, &value, Stands::Pairs).into_iter().map(|(name, value)| format!("{name}={value}")));
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    Url::parse(&format!("{}{slash}{path}{query}", spec.origin))
        .map_err(|error| unsendable(format!("the URL made from the arguments is none: {error}")))
}

fn headers(params: &[HttpParam], args: &Value) -> Result<HeaderMap, ToolError> {
    let mut headers = HeaderMap::with_capacity(params.len() + 6);
    for param in params {
        let Some(value) = value_of(param, args)? else { continue };
        let name = HeaderName::from_bytes(param.name.as_bytes())
            .map_err(|_| unsendable(format!("`{}` cannot be the name of a header", param.name)))?;
        headers.append(name, header_value(&param.name, &one(param, &value, Stands::Header))?);
    }
    Ok(headers)
}

/// # Errors
/// `argument_unsendable` for what would end the header.
pub(super) fn header_value(name: &str, text: &str) -> Result<HeaderValue, ToolError> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        unsendable(format!("the value of the header `{name}` holds a line end or another control character"))
    })
}

fn content(spec: &HttpSpec, args: &Value) -> Result<(Content, Option<String>), ToolError> {
    Ok(match &spec.body {
        HttpBody::None => (Content::Empty, None),
        HttpBody::Json(template) => {
            let Some(value) = json(template, args) else {
                if spec.body_optional {
                    return Ok((Content::Empty, None));
                }
                return Err(missing("the body is made from an argument that was not given".to_owned()));
            };
            // Made of arguments of which none was given.
            let nothing = matches!(template, JsonTemplate::Object(_)) && value.as_object().is_some_and(Map::is_empty);
            if spec.body_optional && nothing {
                return Ok((Content::Empty, None));
            }
            (Content::Bytes(value.to_string().into()), Some("application/json".into()))
        }
        HttpBody::Form(params) => {
            let mut form = Vec::new();
            for param in params {
                let Some(value) = value_of(param, args)? else { continue };
                let pairs = pairs(param, &value, Stands::Pairs);
                form.extend(pairs.into_iter().map(|(name, value)| format!("{name}={value}")));
            }
            if spec.body_optional && form.is_empty() {
                return Ok((Content::Empty, None));
            }
            (Content::Bytes(form.join("&").into()), Some("application/x-www-form-urlencoded".into()))
        }
        HttpBody::Multipart(declared) => {
            let mut parts = Vec::new();
            for part in declared {
                add_parts(spec, part, args, &mut parts)?;
            }
            match parts.is_empty() {
                false => (Content::Multipart(parts), None),
                true if spec.body_optional => (Content::Empty, None),
                // Nothing but the end of the parts (RFC 2046, 5.1.1).
                true => (Content::Bytes("--none--\r\n".into()), Some("multipart/form-data; boundary=none".into())),
            }
        }
        HttpBody::Text { text, .. } if spec.body_optional && !text.is_complete(args) => (Content::Empty, None),
        HttpBody::Text { text, content_type, base64 } => {
            let text = text.fill(args).map_err(|error| missing(error.message))?;
            let bytes = if *base64 { decoded("the body", &text)? } else { text.into() };
            (Content::Bytes(bytes), Some(content_type.to_string()))
        }
    })
}

fn json(template: &JsonTemplate, args: &Value) -> Option<Value> {
    Some(match template {
        JsonTemplate::Literal(value) => value.clone(),
        JsonTemplate::Text(text) => text.value(args)?,
        JsonTemplate::List(items) => items.iter().filter_map(|item| json(item, args)).collect(),
        JsonTemplate::Object(members) => {
            let members = members.iter().filter_map(|(name, value)| Some((name.clone(), json(value, args)?)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        JsonTemplate::Args => args.clone(),
    })
}

fn add_parts(spec: &HttpSpec, part: &HttpPart, args: &Value, parts: &mut Vec<Part>) -> Result<(), ToolError> {
    let value = match part.value.value(args) {
        None | Some(Value::Null) if part.optional => return Ok(()),
        None | Some(Value::Null) => return Err(not_given(&part.name)),
        Some(value) => value,
    };
    let file_name = match &part.file_name {
        Some(template) => template.value(args).map(|value| text(&value).into_owned()),
        None => None,
    };
    let values = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    for value in values {
        let mut content_type = part.content_type.as_deref().map(str::to_owned);
        let mut file_name = file_name.clone();
        let data = match part.kind {
            PartKind::Text => {
                if content_type.is_none() && (value.is_object() || value.is_array()) {
                    content_type = Some("application/json".to_owned());
                }
                PartData::Bytes(text(&value).into_owned().into())
            }
            PartKind::Base64 => PartData::Bytes(decoded(&format!("the part `{}`", part.name), &text(&value))?),
            PartKind::File => {
                let path = spec.base_dir.join(&*text(&value));
                let own = path.file_name().map(|name| name.to_string_lossy().into_owned());
                file_name = file_name.or(own);
                PartData::File(path)
            }
        };
        if content_type.is_none() && part.kind != PartKind::Text {
            content_type = Some("application/octet-stream".to_owned());
        }
        parts.push(Part { name: part.name.to_string(), file_name, content_type, data });
    }
    Ok(())
}

/// The value of a parameter; `None` where it is left out.
fn value_of(param: &HttpParam, args: &Value) -> Result<Option<Value>, ToolError> {
    match param.value.value(args) {
        None | Some(Value::Null) if param.optional => Ok(None),
        None | Some(Value::Null) => Err(not_given(&param.name)),
        value => Ok(value),
    }
}

fn decoded(what: &str, text: &str) -> Result<Bytes, ToolError> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    match base64::engine::general_purpose::STANDARD.decode(text) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(unsendable(format!("{what} is not base64: {error}"))),
    }
}

/// Most servers end a text at a NUL, or worse.
fn refuse_nul(name: &str, value: &Value) -> Result<(), ToolError> {
    if text(value).contains('\0') {
        return Err(unsendable(format!("`{name}` holds a NUL, which cannot be a part of a URL")));
    }
    Ok(())
}

fn not_given(name: &str) -> ToolError {
    missing(format!("`{name}` is made from an argument that is missing or null"))
}

fn missing(message: String) -> ToolError {
    ToolError::permanent(message).code("argument_missing").reached(Reached::No)
}

/// An argument that cannot be sent where it stands.
pub(super) fn unsendable(message: String) -> ToolError {
    ToolError::permanent(message).code("argument_unsendable").reached(Reached::No)
}

/// One pair, encoded.
pub(super) fn pair(name: &str, value: &str) -> String {
    format!("{}={}", encode(name, Stands::Pairs, false), encode(value, Stands::Pairs, false))
}
