//! The arguments of one tool: parameters and body in one object (`Arguments`), and the parameters of an operation.
//! It does not know how a request is written from them.

use super::document::{Document, short};
use super::names::{Names, plain};
use super::schema::{Edges, Schemas};
use crate::http_spec::{HttpParam, ParamStyle};
use crate::node::{Content, Node};
use crate::process_spec::TextTemplate;
use serde_json::{Map, Value};

/// The arguments of a tool as they come together.
#[derive(Default)]
pub(super) struct Arguments {
    names: Names,
    pub(super) properties: Map<String, Value>,
    pub(super) required: Vec<Value>,
    pub(super) edges: Edges,
    /// What is to be said about them, a sentence each.
    pub(super) notes: Vec<String>,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum In {
    Path,
    Query,
    Header,
    Cookie,
}

/// A parameter of an operation.
pub(super) struct Parameter<'n> {
    pub(super) name: &'n str,
    pub(super) place: In,
    pub(super) node: &'n Node,
}

/// Headers that are made by other means, and those of the connection.
const NOT_ARGUMENTS: [&str; 11] = [
    "accept",
    "content-type",
    "authorization",
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "te",
    "upgrade",
    "keep-alive",
    "trailer",
];

impl Arguments {
    /// Adds an argument. Where its name is taken, the place goes before it: `query_id`.
    pub(super) fn add(&mut self, name: &str, place: &str, schema: Value, required: bool) -> String {
        let wanted = plain(name, "value");
        let wanted = if self.names.has(&wanted) { format!("{place}_{wanted}") } else { wanted };
        let given = self.names.unique(&wanted);
        if given != name {
            let what = if place == "body" { "field of the body" } else { place };
            let what = if place == "body" { what.to_owned() } else { format!("{what} parameter") };
            self.notes.push(format!("`{given}` is the {what} `{}`.", short(name)));
        }
        self.properties.insert(given.clone(), schema);
        if required {
            self.required.push(Value::String(given.clone()));
        }
        given
    }

    /// The schema of all of them, without `$defs`.
    pub(super) fn schema(&mut self) -> Value {
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        schema.insert("properties".into(), Value::Object(std::mem::take(&mut self.properties)));
        schema.insert("required".into(), Value::Array(std::mem::take(&mut self.required)));
        schema.insert("additionalProperties".into(), Value::Bool(false));
        Value::Object(schema)
    }
}

impl In {
    pub(super) fn word(self) -> &'static str {
        match self {
            In::Path => "path",
            In::Query => "query",
            In::Header => "header",
            In::Cookie => "cookie",
        }
    }

    fn read(word: &str) -> Option<In> {
        [In::Path, In::Query, In::Header, In::Cookie].into_iter().find(|place| place.word() == word)
    }
}

/// The parameters of an operation: its own, and those of its path that it does not have itself.
///
/// # Errors
/// Why it cannot be called without one that cannot be said.
pub(super) fn parameters<'n>(
    doc: &Document<'n>,
    item: &'n Node,
    operation: &'n Node,
) -> Result<Vec<Parameter<'n>>, (&'n Node, String)> {
    let mut found: Vec<Parameter<'n>> = Vec::new();
    for (of, own) in [(operation, true), (item, false)] {
        for node in doc.list(of, "parameters") {
            let parameter = match parameter(doc, node) {
                Ok(Some(parameter)) => parameter,
                Ok(None) => continue,
                Err(why) => return Err((node, why)),
            };
            let same = |other: &&Parameter<'_>| other.name == parameter.name && other.place == parameter.place;
            match found.iter().find(same) {
                Some(_) if own => {
                    let message =
                        format!("the {} parameter `{}` stands twice", parameter.place.word(), short(parameter.name));
                    doc.warn(node, "openapi_ignored", message);
                }
                Some(_) => {}
                None => found.push(parameter),
            }
        }
    }
    found.sort_by_key(|parameter| parameter.place);
    Ok(found)
}

fn parameter<'n>(doc: &Document<'n>, node: &'n Node) -> Result<Option<Parameter<'n>>, String> {
    let found = doc.follow(node)?;
    let name = doc.text(found, "name").ok_or("a parameter has no `name`")?;
    let place = doc.text(found, "in").ok_or_else(|| format!("the parameter `{}` has no `in`", short(name)))?;
    let Some(place) = In::read(place) else {
        return Err(format!(
            "the parameter `{}` is in `{}`, which is no place of a request",
            short(name),
            short(place)
        ));
    };
    if place == In::Header && NOT_ARGUMENTS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        // So it is written in the specification.
        doc.warn(found, "openapi_ignored", format!("the header `{name}` is no argument: it is made by other means"));
        return Ok(None);
    }
    if place == In::Header && !name.bytes().all(is_token) || name.is_empty() {
        return Err(format!("`{}` cannot be the name of a {} parameter", short(name), place.word()));
    }
    Ok(Some(Parameter { name, place, node: found }))
}

/// Whether a byte may stand in the name of a header.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl<'n> Parameter<'n> {
    /// Makes it an argument, and says how its value is written.
    pub(super) fn add(
        &self,
        doc: &Document<'n>,
        schemas: &mut Schemas<'_, 'n>,
        arguments: &mut Arguments,
    ) -> HttpParam {
        let content = doc.map(self.node, "content").first();
        let schema = match (doc.get(self.node, "schema"), content) {
            (Some(schema), _) => Some(schema),
            (None, Some((_, media))) => doc.get(media, "schema"),
            (None, None) => None,
        };
        let mut value = schema.map_or(Value::Bool(true), |schema| schemas.of(schema, &mut arguments.edges));
        describe(&mut value, doc, self.node);
        let required = self.place == In::Path || doc.flag(self.node, "required");
        let name = arguments.add(self.name, self.place.word(), value, required);
        let (style, explode) = match content {
            Some((media, _)) if doc.get(self.node, "schema").is_none() && super::body::is_json(&media.text) => {
                (ParamStyle::Json, false)
            }
            _ => self.style(doc),
        };
        HttpParam {
            name: self.name.into(),
            value: TextTemplate::argument(&name),
            optional: !required,
            style,
            explode,
            reserved: doc.flag(self.node, "allowReserved"),
        }
    }

    fn style(&self, doc: &Document<'n>) -> (ParamStyle, bool) {
        let usual = match self.place {
            In::Path | In::Header => ParamStyle::Simple,
            In::Query | In::Cookie => ParamStyle::Form,
        };
        let style = doc.text(self.node, "style").map(|word| match style_of(word) {
            Some(style) if fits(style, self.place) => style,
            _ => {
                let message = format!("`{}` is no style of a {} parameter", short(word), self.place.word());
                doc.warn(self.node, "openapi_ignored", message);
                usual
            }
        });
        let style = style.unwrap_or(usual);
        (style, doc.maybe_flag(self.node, "explode").unwrap_or(style == ParamStyle::Form))
    }
}

/// The style of this name.
pub(super) fn style_of(word: &str) -> Option<ParamStyle> {
    Some(match word {
        "simple" => ParamStyle::Simple,
        "label" => ParamStyle::Label,
        "matrix" => ParamStyle::Matrix,
        "form" => ParamStyle::Form,
        "spaceDelimited" => ParamStyle::SpaceDelimited,
        "pipeDelimited" => ParamStyle::PipeDelimited,
        "deepObject" => ParamStyle::DeepObject,
        _ => return None,
    })
}

fn fits(style: ParamStyle, place: In) -> bool {
    match place {
        In::Path => matches!(style, ParamStyle::Simple | ParamStyle::Label | ParamStyle::Matrix),
        In::Header => style == ParamStyle::Simple,
        In::Cookie => style == ParamStyle::Form,
        In::Query => !matches!(style, ParamStyle::Simple | ParamStyle::Label | ParamStyle::Matrix),
    }
}

/// Puts what is said of a parameter or body into its schema.
pub(super) fn describe<'n>(schema: &mut Value, doc: &Document<'n>, node: &'n Node) {
    let description = doc.text(node, "description").filter(|text| !text.is_empty());
    let deprecated = matches!(doc.get(node, "deprecated"), Some(Node { value: Content::Bool(true), .. }));
    if *schema == Value::Bool(true) && (description.is_some() || deprecated) {
        *schema = Value::Object(Map::new());
    }
    let Value::Object(map) = schema else { return };
    if let Some(description) = description {
        map.insert("description".into(), description.into());
    }
    if deprecated {
        map.insert("deprecated".into(), Value::Bool(true));
    }
}
