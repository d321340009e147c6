//! What an operation sends: the media type, and the body's properties among the arguments.
//! It does not know parameters.

use super::arguments::{Arguments, describe, style_of};
use super::document::{Document, address, short};
use super::schema::Schemas;
use crate::http_spec::{HttpBody, HttpParam, HttpPart, JsonTemplate, ParamStyle, PartKind};
use crate::node::{Content, Name, Node};
use crate::process_spec::TextTemplate;
use serde_json::{Value, json};
use std::collections::HashSet;

/// A body with more properties than this is one argument.
const FLAT_MAX: usize = 500;

/// What is sent, and as which media type.
pub(super) struct Body {
    pub(super) body: HttpBody,
    pub(super) content_type: String,
    /// It need not be given.
    pub(super) optional: bool,
}

/// How a media type is written from arguments, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Json,
    JsonLike,
    Form,
    Multipart,
    Text,
    Bytes,
}

/// Reads the body of an operation. `wanted` is a media type that somebody chose.
///
/// # Errors
/// Why it cannot be sent, and where.
pub(super) fn body<'n>(
    doc: &Document<'n>,
    operation: &'n Node,
    wanted: Option<&str>,
    schemas: &mut Schemas<'_, 'n>,
    arguments: &mut Arguments,
) -> Result<Option<Body>, (&'n Node, String)> {
    let Some(node) = doc.get(operation, "requestBody") else { return Ok(None) };
    let found = doc.follow(node).map_err(|why| (node, why))?;
    let content = doc.map(found, "content");
    let Some((media_name, media)) = choose(content, wanted).map_err(|why| (node, why))? else {
        doc.warn(found, "openapi_ignored", "the body has no media type: nothing is sent");
        return Ok(None);
    };
    let kind = kind(&media_name.text);
    if content.len() > 1 {
        let others: Vec<_> = content
            .iter()
            .filter(|(name, _)| name.text != media_name.text)
            .map(|(name, _)| short(&name.text))
            .collect();
        arguments.notes.push(format!("Sent as {}; {} is understood too.", short(&media_name.text), others.join(", ")));
    }
    let writer = Writer { doc, found, media, kind };
    let optional = !doc.flag(found, "required");
    let body = match doc.get(media, "schema").and_then(|schema| flat(doc, schemas, schema)) {
        Some(properties) if kind <= Kind::Multipart => writer.flat(properties, schemas, arguments),
        _ => writer.whole(&media_name.text, schemas, arguments),
    };
    Ok(Some(Body { body, content_type: sent_as(&media_name.text, kind), optional }))
}

/// The best of the media types, or the one that is wanted.
fn choose<'n>(content: &'n [(Name, Node)], wanted: Option<&str>) -> Result<Option<&'n (Name, Node)>, String> {
    let Some(wanted) = wanted else {
        return Ok(content.iter().min_by_key(|(name, _)| kind(&name.text)));
    };
    match content.iter().find(|(name, _)| name.text.eq_ignore_ascii_case(wanted)) {
        Some(found) => Ok(Some(found)),
        None => {
            let all: Vec<_> = content.iter().map(|(name, _)| format!("`{}`", short(&name.text))).collect();
            Err(format!("the body can't be sent as `{}`, only as {}", short(wanted), all.join(", ")))
        }
    }
}

/// A media type without its parameters, in small letters.
fn essence(media: &str) -> String {
    media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a media type is JSON.
pub(super) fn is_json(media: &str) -> bool {
    matches!(kind(media), Kind::Json | Kind::JsonLike)
}

fn kind(media: &str) -> Kind {
    match &*essence(media) {
        "application/json" => Kind::Json,
        "*/*" | "application/*" => Kind::JsonLike,
        "application/x-www-form-urlencoded" => Kind::Form,
        "multipart/form-data" => Kind::Multipart,
        media if media.ends_with("+json") => Kind::JsonLike,
        media if media.starts_with("text/") || media.ends_with("+xml") => Kind::Text,
        "application/xml" | "application/yaml" | "application/sdp" | "application/graphql" => Kind::Text,
        "application/x-ndjson" | "application/jsonl" | "application/javascript" => Kind::Text,
        _ => Kind::Bytes,
    }
}

/// A media type as it can be sent.
fn sent_as(media: &str, kind: Kind) -> String {
    match (kind, &*essence(media)) {
        (_, "*/*" | "application/*") => "application/json".to_owned(),
        (_, "text/*") => "text/plain".to_owned(),
        (Kind::Bytes, essence) if essence.contains('*') => "application/octet-stream".to_owned(),
        _ if media.bytes().all(|b| (b' '..0x7f).contains(&b)) => media.trim().to_owned(),
        _ => "application/octet-stream".to_owned(),
    }
}

/// A property of a body: where it is defined (more than once where schemas are put together) and whether it is needed.
struct Property<'n> {
    name: &'n str,
    nodes: Vec<&'n Node>,
    required: bool,
}

/// The properties of an object schema that says nothing else of consequence.
fn flat<'n>(doc: &Document<'n>, schemas: &Schemas<'_, 'n>, schema: &'n Node) -> Option<Vec<Property<'n>>> {
    let mut properties: Vec<Property<'n>> = Vec::new();
    let mut required: HashSet<&str> = HashSet::new();
    let mut wanted = vec![schema];
    let mut seen = HashSet::new();
    while let Some(node) = wanted.pop() {
        if !seen.insert(address(node)) {
            continue;
        }
        let Content::Map(map) = &node.value else { return None };
        for (name, node) in map {
            match (name.text.as_str(), &node.value) {
                ("type", Content::Text(of)) if of == "object" => {}
                ("type", Content::List(list))
                    if list.iter().any(|of| matches!(&of.value, Content::Text(of) if of == "object")) => {}
                ("additionalProperties", Content::Bool(false)) | ("properties" | "required", _) => {}
                ("allOf", Content::List(list)) => wanted.extend(list.iter().rev()),
                ("$ref", Content::Text(_)) => wanted.push(node_of_ref(doc, node)?),
                (keyword, _) if says_nothing(keyword) => {}
                _ => return None,
            }
        }
        for (name, node) in doc.map(node, "properties") {
            if schemas.is_hidden(node) {
                continue;
            }
            match properties.iter_mut().find(|property| property.name == name.text) {
                Some(property) => property.nodes.push(node),
                None => properties.push(Property { name: &name.text, nodes: vec![node], required: false }),
            }
        }
        if properties.len() > FLAT_MAX || wanted.len() > FLAT_MAX {
            return None;
        }
        required.extend(doc.list(node, "required").iter().filter_map(|name| match &name.value {
            Content::Text(name) => Some(name.as_str()),
            _ => None,
        }));
    }
    for property in &mut properties {
        property.required = required.contains(property.name);
    }
    (!properties.is_empty()).then_some(properties)
}

/// What a `$ref` behind a `$ref` names.
fn node_of_ref<'n>(doc: &Document<'n>, text: &'n Node) -> Option<&'n Node> {
    match &text.value {
        Content::Text(text) => doc.find(text).ok(),
        _ => None,
    }
}

/// Keywords that do not change which bodies are valid.
fn says_nothing(keyword: &str) -> bool {
    keyword.starts_with("x-")
        || matches!(
            keyword,
            "title" | "description" | "example" | "examples" | "deprecated" | "nullable" | "readOnly" | "writeOnly"
        )
        || matches!(keyword, "xml" | "externalDocs" | "default" | "discriminator" | "format" | "$comment" | "$schema")
}

struct Writer<'d, 'n> {
    doc: &'d Document<'n>,
    found: &'n Node,
    media: &'n Node,
    kind: Kind,
}

impl<'n> Writer<'_, 'n> {
    /// Each property is an argument.
    fn flat(
        &self,
        properties: Vec<Property<'n>>,
        schemas: &mut Schemas<'_, 'n>,
        arguments: &mut Arguments,
    ) -> HttpBody {
        let (mut members, mut fields, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for property in properties {
            let mut values: Vec<Value> =
                property.nodes.iter().map(|node| schemas.of(node, &mut arguments.edges)).collect();
            let one = if values.len() == 1 { values.pop() } else { None };
            let mut schema = one.unwrap_or_else(|| json!({ "allOf": values }));
            let node = property.nodes[0];
            let bytes = self.kind == Kind::Multipart && self.is_bytes(node, 3);
            if bytes {
                say_base64(&mut schema);
            }
            let name = arguments.add(property.name, "body", schema, property.required);
            let value = TextTemplate::argument(&name);
            match self.kind {
                Kind::Form => fields.push(self.field(property.name, node, value, !property.required)),
                Kind::Multipart => {
                    parts.push(self.part(property.name, &name, bytes, value, !property.required, arguments));
                }
                _ => members.push((property.name.to_owned(), JsonTemplate::Text(value))),
            }
        }
        match self.kind {
            Kind::Form => HttpBody::Form(fields),
            Kind::Multipart => HttpBody::Multipart(parts),
            _ => HttpBody::Json(JsonTemplate::Object(members)),
        }
    }

    /// All of it is one argument.
    fn whole(&self, media: &str, schemas: &mut Schemas<'_, 'n>, arguments: &mut Arguments) -> HttpBody {
        let schema = self.doc.get(self.media, "schema");
        let mut value = match self.kind {
            Kind::Text => json!({"type": "string"}),
            Kind::Bytes => {
                json!({"type": "string", "contentEncoding": "base64", "description": "Base64 of what is sent."})
            }
            _ => schema.map_or(Value::Bool(true), |schema| schemas.of(schema, &mut arguments.edges)),
        };
        if self.kind != Kind::Bytes {
            describe(&mut value, self.doc, self.found);
        }
        let required = self.doc.flag(self.found, "required");
        let name = arguments.add("body", "request", value, required);
        let argument = TextTemplate::argument(&name);
        let text =
            |base64| HttpBody::Text { text: argument.clone(), content_type: sent_as(media, self.kind).into(), base64 };
        match self.kind {
            Kind::Json | Kind::JsonLike => HttpBody::Json(JsonTemplate::Text(argument)),
            Kind::Text => text(false),
            Kind::Bytes => text(true),
            Kind::Form => HttpBody::Form(vec![HttpParam {
                name: "body".into(),
                value: argument,
                optional: !required,
                style: ParamStyle::Form,
                explode: true,
                reserved: false,
            }]),
            Kind::Multipart => HttpBody::Multipart(vec![HttpPart {
                name: "body".into(),
                value: argument,
                kind: PartKind::Text,
                content_type: None,
                file_name: None,
                optional: !required,
            }]),
        }
    }

    fn encoding(&self, name: &str) -> Option<&'n Node> {
        self.doc.get(self.doc.get(self.media, "encoding")?, name)
    }

    fn field(&self, name: &str, node: &'n Node, value: TextTemplate, optional: bool) -> HttpParam {
        let encoding = self.encoding(name);
        let style = encoding.and_then(|node| self.doc.text(node, "style")).and_then(style_of);
        // Objects are JSON unless a style is given, lists are a pair per element.
        let object = self.doc.follow(node).is_ok_and(|node| self.doc.get(node, "properties").is_some());
        let usual = if object { ParamStyle::Json } else { ParamStyle::Form };
        let style = style.unwrap_or(usual);
        let explode = encoding.and_then(|node| self.doc.maybe_flag(node, "explode"));
        HttpParam {
            name: name.into(),
            value,
            optional,
            style,
            explode: explode.unwrap_or(style == ParamStyle::Form),
            reserved: encoding.is_some_and(|node| self.doc.flag(node, "allowReserved")),
        }
    }

    fn part(
        &self,
        name: &str,
        argument: &str,
        bytes: bool,
        value: TextTemplate,
        optional: bool,
        arguments: &mut Arguments,
    ) -> HttpPart {
        let content_type = self.encoding(name).and_then(|node| self.doc.text(node, "contentType"));
        let content_type = content_type.filter(|text| !text.contains([',', '*']) && text.is_ascii());
        // Servers take a part for a file by its name, and often its kind from the name's ending.
        let file_name = bytes.then(|| {
            let schema = json!({
                "type": "string",
                "description": format!("The file name of `{argument}`, as the server sees it."),
                "default": name,
            });
            TextTemplate::argument(&arguments.add(&format!("{argument}_filename"), "body", schema, false))
        });
        HttpPart {
            name: name.into(),
            value,
            kind: if bytes { PartKind::Base64 } else { PartKind::Text },
            content_type: content_type.map(Into::into),
            file_name,
            optional,
        }
    }

    /// Whether a part is bytes, or may be, or is a list of such.
    fn is_bytes(&self, node: &'n Node, depth: usize) -> bool {
        let Ok(node) = self.doc.follow(node) else { return false };
        let is = |name, wanted: &str| matches!(self.doc.get(node, name), Some(Node { value: Content::Text(text), .. }) if text == wanted);
        if is("format", "binary")
            || is("contentMediaType", "application/octet-stream")
            || is("format", "byte")
            || is("contentEncoding", "base64")
        {
            return true;
        }
        let choices = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|name| match self.doc.get(node, name) {
            Some(Node { value: Content::List(list), .. }) => list.as_slice(),
            _ => &[],
        });
        depth > 0 && choices.chain(self.doc.get(node, "items")).take(32).any(|node| self.is_bytes(node, depth - 1))
    }
}

fn say_base64(schema: &mut Value) {
    if let Value::Object(map) = schema {
        let said = map.get("description").and_then(Value::as_str).unwrap_or_default();
        let said = format!("{said}{}Base64 of what is sent.", if said.is_empty() { "" } else { " " });
        map.insert("description".into(), said.into());
        map.insert("contentEncoding".into(), "base64".into());
    }
}
