//! Arguments against the schema of their tool as far as they are known before the run.
//! It does not know calls; complete arguments are checked again before each attempt where they have references.

use crate::catalog::{CatalogTool, Violation, validator, violations};
use crate::template::Tree;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What is wrong with arguments some of which are not known. Looks at what can be decided: names that are
/// missing or not known, and the parts that are literal.
pub(crate) fn check(tool: &CatalogTool, tree: &Tree) -> Vec<Violation> {
    match tree {
        Tree::Value(value) => tool.violations(value),
        Tree::Object(members) => object(tool, members),
        _ => Vec::new(),
    }
}

fn object(tool: &CatalogTool, members: &[(String, Tree)]) -> Vec<Violation> {
    let schema = &tool.spec.args_schema;
    let mut found = Vec::new();
    let properties = schema.get("properties").and_then(Value::as_object);
    let closed =
        schema.get("additionalProperties") == Some(&Value::Bool(false)) && schema.get("patternProperties").is_none();
    if let Some(required) = schema.get("required").and_then(Value::as_array) {
        for name in required.iter().filter_map(Value::as_str).filter(|name| !members.iter().any(|(key, _)| key == name))
        {
            found.push(Violation {
                at: Vec::new(),
                message: format!("{name:?} is a required property"),
                unknown: Vec::new(),
            });
        }
    }
    let parts =
        tool.parts.get_or_init(|| properties.map_or_else(HashMap::new, |properties| compile_parts(schema, properties)));
    for (name, tree) in members {
        match properties.and_then(|properties| properties.get(name)) {
            None if closed => found.push(Violation {
                at: Vec::new(),
                message: format!("Additional properties are not allowed ('{name}' was unexpected)"),
                unknown: vec![name.clone()],
            }),
            None => {}
            Some(schema) => match tree {
                Tree::Value(value) => {
                    if let Some(Some(validator)) = parts.get(name) {
                        found.extend(violations(validator, value).into_iter().map(|mut violation| {
                            violation.at.insert(0, name.clone());
                            violation
                        }));
                    }
                }
                tree => found.extend(kind(schema, tree).map(|message| Violation {
                    at: vec![name.clone()],
                    message,
                    unknown: Vec::new(),
                })),
            },
        }
    }
    found
}

/// Whether arguments in which [`check`] found nothing fit the schema whatever their references find: their parts
/// are checked, or anything goes for them.
pub(crate) fn fits_whatever_comes(tool: &CatalogTool, tree: &Tree) -> bool {
    const UNDERSTOOD: [&str; 4] = ["type", "properties", "required", "additionalProperties"];
    let (Some(schema), Tree::Object(members)) = (tool.spec.args_schema.as_object(), tree) else { return false };
    let understood = |name: &String| UNDERSTOOD.contains(&name.as_str()) || says_nothing(name);
    let open = match schema.get("additionalProperties") {
        None => true,
        Some(more) => more.is_boolean(),
    };
    let object = schema.get("type").is_none_or(|kind| kind == "object");
    if !open || !object || !schema.keys().all(understood) {
        return false;
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    members.iter().all(|(name, tree)| match properties.and_then(|properties| properties.get(name)) {
        None | Some(Value::Bool(true)) => true,
        Some(Value::Object(schema)) if schema.keys().all(|name| says_nothing(name)) => true,
        Some(_) => {
            let checked = tool.parts.get().and_then(|parts| parts.get(name)).is_some_and(Option::is_some);
            matches!(tree, Tree::Value(_)) && checked
        }
    })
}

/// Whether a keyword of a schema only describes.
fn says_nothing(keyword: &str) -> bool {
    ["$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"]
        .contains(&keyword)
}

/// A validator per property. Those whose schema refers to places this cannot keep are left to the run.
fn compile_parts(root: &Value, properties: &Map<String, Value>) -> HashMap<String, Option<jsonschema::Validator>> {
    let compile = |schema: &Value| {
        if !refers_to_definitions_only(schema)
            || !["$defs", "definitions"].iter().all(|name| root.get(*name).is_none_or(refers_to_definitions_only))
        {
            return None;
        }
        let mut whole = json!({"allOf": [schema]});
        for name in ["$schema", "$defs", "definitions"] {
            if let Some(value) = root.get(name) {
                whole[name] = value.clone();
            }
        }
        validator(&whole).ok()
    };
    properties.iter().map(|(name, schema)| (name.clone(), compile(schema))).collect()
}

fn refers_to_definitions_only(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().all(|(name, value)| match (name.as_str(), value) {
            ("$ref", Value::String(to)) => to.starts_with("#/$defs/") || to.starts_with("#/definitions/"),
            ("$id" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$recursiveRef", _) => false,
            (_, value) => refers_to_definitions_only(value),
        }),
        Value::Array(list) => list.iter().all(refers_to_definitions_only),
        _ => true,
    }
}

/// Whether a value with holes can have the type that is wanted: a text with references in it is a text.
fn kind(schema: &Value, tree: &Tree) -> Option<String> {
    let (is, what) = match tree {
        Tree::Text(_) => ("string", "a text with references in it is always a string"),
        Tree::List(_) => ("array", "this is a list"),
        Tree::Object(_) => ("object", "this is an object"),
        Tree::Value(_) | Tree::Reference(_) => return None,
    };
    let wanted = match schema.get("type")? {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    (!wanted.contains(&is)).then(|| format!("{what}, and {} is wanted", wanted.join(" or ")))
}
