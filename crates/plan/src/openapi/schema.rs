//! Schemas of an OpenAPI document as JSON Schemas that stand alone (`Schemas`): 3.0 upgraded, references as `$defs`.
//! It does not know which operation a schema belongs to. What it gives compiles, whatever the document holds.

use super::document::{Document, address, short};
use super::graph::{Graph, Refused};
use super::names::{Names, plain};
use crate::node::{Content, Name, Node};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// Which way values go: what only the other side may set is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the server.
    Request,
    /// From the server.
    Answer,
}

/// The schemas of a document, made when they are asked for.
pub(super) struct Schemas<'d, 'n> {
    doc: &'d Document<'n>,
    way: Way,
    /// What references name: the `$defs`.
    parts: Vec<Part<'n>>,
    by_address: HashMap<usize, usize>,
    names: Names,
    /// Parts before this are made.
    made: usize,
    patterns: HashMap<&'n str, bool>,
}

struct Part<'n> {
    node: &'n Node,
    name: String,
    value: Value,
    size: usize,
    edges: Edges,
}

/// The parts a schema refers to.
#[derive(Clone, Debug, Default)]
pub(super) struct Edges {
    /// All of them.
    pub(super) all: Vec<usize>,
    /// Those that look at the same value as the schema itself.
    pub(super) same: Vec<usize>,
}

/// What a keyword holds.
#[derive(Clone, Copy)]
enum Holds {
    Anything,
    Text,
    Flag,
    Number,
    Positive,
    Count,
    Names,
    NamesByName,
    List,
    Pattern,
    Types,
    /// A schema of a part of the value.
    Inner,
    /// A schema of the same value.
    Same,
    SameList,
    InnerList,
    Items,
    Properties,
    ByPattern,
    SameByName,
    /// 3.0 has a flag, 3.1 a number.
    Bound,
    /// Taken care of with another.
    Elsewhere,
}

/// The keywords that are known; others have no meaning for what a value may be.
const KEYWORDS: [(&str, Holds); 55] = [
    ("type", Holds::Types),
    ("properties", Holds::Properties),
    ("required", Holds::Names),
    ("items", Holds::Items),
    ("enum", Holds::List),
    ("description", Holds::Text),
    ("title", Holds::Text),
    ("format", Holds::Text),
    ("default", Holds::Anything),
    ("const", Holds::Anything),
    ("nullable", Holds::Elsewhere),
    ("example", Holds::Elsewhere),
    ("$ref", Holds::Elsewhere),
    ("$recursiveRef", Holds::Elsewhere),
    ("examples", Holds::List),
    ("deprecated", Holds::Flag),
    ("readOnly", Holds::Flag),
    ("writeOnly", Holds::Flag),
    ("allOf", Holds::SameList),
    ("anyOf", Holds::SameList),
    ("oneOf", Holds::SameList),
    ("not", Holds::Same),
    ("if", Holds::Same),
    ("then", Holds::Same),
    ("else", Holds::Same),
    ("additionalProperties", Holds::Inner),
    ("unevaluatedProperties", Holds::Inner),
    ("unevaluatedItems", Holds::Inner),
    ("propertyNames", Holds::Inner),
    ("contains", Holds::Inner),
    ("contentSchema", Holds::Inner),
    ("prefixItems", Holds::InnerList),
    ("patternProperties", Holds::ByPattern),
    ("dependentSchemas", Holds::SameByName),
    ("dependentRequired", Holds::NamesByName),
    ("minimum", Holds::Number),
    ("maximum", Holds::Number),
    ("exclusiveMinimum", Holds::Bound),
    ("exclusiveMaximum", Holds::Bound),
    ("multipleOf", Holds::Positive),
    ("minLength", Holds::Count),
    ("maxLength", Holds::Count),
    ("minItems", Holds::Count),
    ("maxItems", Holds::Count),
    ("minProperties", Holds::Count),
    ("maxProperties", Holds::Count),
    ("minContains", Holds::Count),
    ("maxContains", Holds::Count),
    ("uniqueItems", Holds::Flag),
    ("pattern", Holds::Pattern),
    ("contentMediaType", Holds::Text),
    ("contentEncoding", Holds::Text),
    ("$comment", Holds::Elsewhere),
    ("$defs", Holds::Elsewhere),
    ("definitions", Holds::Elsewhere),
];

/// Beside a `$ref`, 3.0 knows nothing else; but what only describes is meant.
const BESIDE_REF: [&str; 8] =
    ["description", "title", "default", "nullable", "deprecated", "readOnly", "writeOnly", "example"];
const TYPES: [&str; 7] = ["string", "object", "array", "integer", "number", "boolean", "null"];

impl<'d, 'n> Schemas<'d, 'n> {
    pub(super) fn new(doc: &'d Document<'n>, way: Way) -> Schemas<'d, 'n> {
        Schemas {
            doc,
            way,
            parts: Vec::new(),
            by_address: HashMap::new(),
            names: Names::default(),
            made: 0,
            patterns: HashMap::new(),
        }
    }

    /// A schema, whose references are to `$defs` that [`Schemas::close`] adds.
    pub(super) fn of(&mut self, node: &'n Node, edges: &mut Edges) -> Value {
        self.schema(node, true, edges, None)
    }

    /// Adds to an object schema the `$defs` it needs. `None`: they hold more than `size_max` values.
    pub(super) fn close(&mut self, mut schema: Value, edges: &Edges, size_max: usize) -> Option<(Value, usize)> {
        self.make();
        let mut wanted = edges.all.clone();
        let mut reached = HashSet::new();
        let mut size = size_of(&schema);
        while let Some(index) = wanted.pop() {
            if reached.insert(index) {
                size += self.parts[index].size;
                if size > size_max {
                    return None;
                }
                wanted.extend(&self.parts[index].edges.all);
            }
        }
        if !reached.is_empty()
            && let Value::Object(map) = &mut schema
        {
            // In the order in which they were first named.
            let mut reached: Vec<usize> = reached.into_iter().collect();
            reached.sort_unstable();
            let parts = reached.into_iter().map(|index| &self.parts[index]);
            map.insert("$defs".into(), parts.map(|part| (part.name.clone(), part.value.clone())).collect());
        }
        Some((schema, size))
    }

    /// Makes the parts that were named since the last time, and cuts what no validator could follow.
    fn make(&mut self) {
        let from = self.made;
        while self.made < self.parts.len() {
            let index = self.made;
            self.made += 1;
            let mut edges = Edges::default();
            let value = self.schema(self.parts[index].node, true, &mut edges, Some(index));
            let part = &mut self.parts[index];
            (part.size, part.value, part.edges) = (size_of(&value), value, edges);
        }
        let graph = Graph { same: self.parts.iter().map(|part| &*part.edges.same).collect() };
        for (index, why) in graph.refused(from) {
            let part = &mut self.parts[index];
            let why = match why {
                Refused::Circle => "refers to itself for the same value",
                Refused::TooWide => "looks at one value too many times",
            };
            let message = format!("the schema `{}` {why}: anything is taken there", short(&part.name));
            self.doc.warn(part.node, "openapi_schema", message);
            (part.value, part.size, part.edges) = (Value::Bool(true), 1, Edges::default());
        }
    }

    /// The part a reference names.
    fn part(&mut self, reference: &str, edges: &mut Edges, same: bool) -> Result<Value, String> {
        let node = self.doc.find(reference)?;
        let index = match self.by_address.get(&address(node)) {
            Some(index) => *index,
            None => {
                let last = reference.rsplit('/').next().unwrap_or_default();
                let name = self.names.unique(&plain(last, "schema"));
                self.by_address.insert(address(node), self.parts.len());
                self.parts.push(Part { node, name, value: Value::Null, size: 1, edges: Edges::default() });
                self.parts.len() - 1
            }
        };
        edges.push(index, same);
        Ok(self.name(index))
    }

    fn name(&self, index: usize) -> Value {
        Value::String(format!("#/$defs/{}", self.parts[index].name))
    }

    /// `same`: it looks at the same value as the part it stands in, which is `own`.
    fn schema(&mut self, node: &'n Node, same: bool, edges: &mut Edges, own: Option<usize>) -> Value {
        let map = match &node.value {
            Content::Map(map) => map,
            Content::Bool(b) => return Value::Bool(*b),
            _ => {
                let message = format!("a schema is an object, not {}: anything is taken there", node.kind());
                self.doc.warn(node, "openapi_schema", message);
                return Value::Bool(true);
            }
        };
        let reference = self.doc.text(node, "$ref");
        let mut out = Map::new();
        if let Some(text) = reference {
            match self.part(text, edges, same) {
                Ok(name) => _ = out.insert("$ref".into(), name),
                Err(why) => self.doc.warn(node, "openapi_reference", format!("{why}: anything is taken there")),
            }
        }
        // The way of 2019-09 to say: the schema this stands in.
        if let (Some("#"), Some(index)) = (self.doc.text(node, "$recursiveRef"), own) {
            edges.push(index, same);
            out.insert("$ref".into(), self.name(index));
        }
        if let Some(at) = self.doc.get(node, "$dynamicRef") {
            self.doc.warn(at, "openapi_reference", "`$dynamicRef` is not followed: anything is taken there");
        }
        for (name, inner) in map {
            let Some((keyword, holds)) = KEYWORDS.iter().find(|(known, _)| *known == name.text) else { continue };
            if reference.is_some() && self.doc.old && !BESIDE_REF.contains(keyword) {
                continue;
            }
            self.keyword(keyword, *holds, inner, &mut out, same, edges, own);
        }
        self.required(node, &mut out);
        upgrade(self.doc, node, &mut out)
    }

    /// What has no place in a request can't be required there.
    fn required(&self, node: &'n Node, out: &mut Map<String, Value>) {
        if let Some(Value::Array(names)) = out.get_mut("required") {
            let properties = self.doc.map(node, "properties");
            let hidden: HashSet<&str> = properties
                .iter()
                .filter(|(_, property)| self.is_hidden(property))
                .map(|(name, _)| name.text.as_str())
                .collect();
            names.retain(|name| name.as_str().is_none_or(|name| !hidden.contains(name)));
        }
    }

    /// Whether a property is for the other side alone.
    pub(super) fn is_hidden(&self, property: &'n Node) -> bool {
        let flag = if self.way == Way::Request { "readOnly" } else { "writeOnly" };
        let is = |node: &'n Node| matches!(self.doc.get(node, flag), Some(Node { value: Content::Bool(true), .. }));
        is(property) || self.doc.get(property, "$ref").is_some() && self.doc.follow(property).is_ok_and(is)
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is where a keyword stands")]
    fn keyword(
        &mut self,
        keyword: &str,
        holds: Holds,
        node: &'n Node,
        out: &mut Map<String, Value>,
        same: bool,
        edges: &mut Edges,
        own: Option<usize>,
    ) {
        let value = match holds {
            Holds::Elsewhere => return,
            Holds::Inner => Some(self.schema(node, false, edges, own)),
            Holds::Same => Some(self.schema(node, same, edges, own)),
            Holds::Items if !matches!(node.value, Content::List(_)) => Some(self.schema(node, false, edges, own)),
            Holds::SameList | Holds::InnerList | Holds::Items => match &node.value {
                Content::List(list) if !list.is_empty() => {
                    let same = same && matches!(holds, Holds::SameList);
                    let list = list.iter().map(|node| self.schema(node, same, edges, own)).collect();
                    // A list of items is how drafts before 2020 wrote tuples.
                    let keyword = if keyword == "items" { "prefixItems" } else { keyword };
                    out.insert(keyword.into(), Value::Array(list));
                    return;
                }
                _ => None,
            },
            Holds::Properties | Holds::ByPattern | Holds::SameByName => match &node.value {
                Content::Map(map) => {
                    let same = same && matches!(holds, Holds::SameByName);
                    let mut all = Map::new();
                    for (name, node) in map {
                        if self.keeps(holds, name, node) {
                            all.insert(name.text.clone(), self.schema(node, same, edges, own));
                        }
                    }
                    Some(Value::Object(all))
                }
                _ => None,
            },
            Holds::Pattern => match &node.value {
                Content::Text(text) if self.compiles(text) => Some(Value::String(text.clone())),
                _ => None,
            },
            Holds::Bound if matches!(node.value, Content::Bool(_)) => return,
            Holds::List if keyword == "examples" && !matches!(node.value, Content::List(_)) => return,
            _ => simple(holds, node),
        };
        match value {
            Some(value) => _ = out.insert(keyword.into(), value),
            None => {
                let value = short(&node.to_value().to_string());
                self.doc.warn(node, "openapi_schema", format!("`{keyword}` of a schema cannot be {value}: not used"));
            }
        }
    }

    fn keeps(&mut self, holds: Holds, name: &'n Name, node: &'n Node) -> bool {
        match holds {
            Holds::Properties => !self.is_hidden(node),
            Holds::ByPattern if !self.compiles(&name.text) => {
                let message = format!("`{}` is not a pattern that can be used: not used", short(&name.text));
                self.doc.warn(node, "openapi_schema", message);
                false
            }
            _ => true,
        }
    }

    /// Whether the validator can read this pattern.
    fn compiles(&mut self, pattern: &'n str) -> bool {
        *self
            .patterns
            .entry(pattern)
            .or_insert_with(|| crate::catalog::validator(&json!({ "pattern": pattern })).is_ok())
    }
}

impl Edges {
    fn push(&mut self, index: usize, same: bool) {
        self.all.push(index);
        if same {
            self.same.push(index);
        }
    }
}

/// A keyword without schemas in it; `None` where its value is of the wrong kind.
fn simple(holds: Holds, node: &Node) -> Option<Value> {
    let is = |fits: bool| fits.then(|| node.to_value());
    match (holds, &node.value) {
        (Holds::Anything, _)
        | (Holds::Text, Content::Text(_))
        | (Holds::Flag, Content::Bool(_))
        | (Holds::List, Content::List(_))
        | (Holds::Number | Holds::Bound, Content::Number(_)) => is(true),
        (Holds::Positive, Content::Number(number)) => is(number.as_f64().is_some_and(|number| number > 0.0)),
        (Holds::Count, Content::Number(number)) => {
            is(number.is_u64() || number.as_f64().is_some_and(|number| number >= 0.0 && number.fract() == 0.0))
        }
        (Holds::Names, _) => names(node),
        (Holds::NamesByName, Content::Map(map)) => {
            map.iter().map(|(name, node)| Some((name.text.clone(), names(node)?))).collect()
        }
        (Holds::Types, Content::Text(text)) => is(TYPES.contains(&text.as_str())),
        (Holds::Types, Content::List(list)) => {
            let known = |node: &Node| matches!(&node.value, Content::Text(text) if TYPES.contains(&text.as_str()));
            names(node).filter(|_| !list.is_empty() && list.iter().all(known))
        }
        _ => None,
    }
}

/// Texts, each once.
fn names(node: &Node) -> Option<Value> {
    let Content::List(list) = &node.value else { return None };
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for node in list {
        let Content::Text(text) = &node.value else { return None };
        if seen.insert(text) {
            names.push(Value::String(text.clone()));
        }
    }
    Some(Value::Array(names))
}

/// What 3.0 says in words of its own. Documents of 3.1 use them too, and mean the same.
fn upgrade<'n>(doc: &Document<'n>, node: &'n Node, out: &mut Map<String, Value>) -> Value {
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(Node { value: Content::Bool(true), .. }) = doc.get(node, exclusive)
            && let Some(value) = out.shift_remove(bound)
        {
            out.insert(exclusive.into(), value);
        }
    }
    if let Some(example) = doc.get(node, "example")
        && !out.contains_key("examples")
    {
        out.insert("examples".into(), Value::Array(vec![example.to_value()]));
    }
    match out.get("format").and_then(Value::as_str) {
        Some("byte") => _ = out.entry("contentEncoding").or_insert_with(|| "base64".into()),
        Some("binary") => {
            out.shift_remove("format");
            out.entry("contentMediaType").or_insert_with(|| "application/octet-stream".into());
        }
        _ => {}
    }
    let schema = std::mem::take(out);
    match doc.get(node, "nullable") {
        Some(Node { value: Content::Bool(true), .. }) => nullable(schema),
        _ => Value::Object(schema),
    }
}

fn nullable(mut schema: Map<String, Value>) -> Value {
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    let chooses = ["$ref", "allOf", "anyOf", "oneOf"].iter().any(|name| schema.contains_key(*name));
    match schema.get_mut("type") {
        Some(Value::Array(types)) if types.iter().any(|of| of == "null") => {}
        Some(Value::Array(types)) => types.push("null".into()),
        Some(of) => *of = json!([of, "null"]),
        None if chooses => {
            let mut outer = Map::new();
            for name in ["title", "description", "default", "deprecated"] {
                if let Some(value) = schema.shift_remove(name) {
                    outer.insert(name.into(), value);
                }
            }
            outer.insert("anyOf".into(), json!([schema, {"type": "null"}]));
            return Value::Object(outer);
        }
        None => {}
    }
    Value::Object(schema)
}

/// How many values a schema holds.
fn size_of(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(size_of).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(size_of).sum::<usize>(),
        _ => 1,
    }
}
