//! Arguments against the schema of their tool as far as they are known before the run.
//! It does not know calls; complete arguments are checked again before each attempt where they have references.

use crate::catalog::{CatalogTool, Violation, validator, violations};
use crate::template::Tree;
use hashbrown::HashMap;
use serde_json::{Value, json};

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
    let mut found = Vec::new();
    let parts = Parts::of(tool);
    for name in parts.required.iter().filter(|name| !members.iter().any(|(key, _)| key == *name)) {
        found.push(Violation {
            at: Vec::new(),
            message: format!("{name:?} is a required property"),
            unknown: Vec::new(),
        });
    }
    for (name, tree) in members {
        match (parts.known.get(name), tree) {
            (None, _) if parts.closed => found.push(Violation {
                at: Vec::new(),
                message: format!("Additional properties are not allowed ('{name}' was unexpected)"),
                unknown: vec![name.clone()],
            }),
            (None, _) => {}
            (Some(part), Tree::Value(value)) => {
                if let Some(validator) = &part.validator {
                    found.extend(violations(validator, value).into_iter().map(|mut violation| {
                        violation.at.insert(0, name.clone());
                        violation
                    }));
                }
            }
            (Some(part), tree) => found.extend(part.kind(tree).map(|message| Violation {
                at: vec![name.clone()],
                message,
                unknown: Vec::new(),
            })),
        }
    }
    found
}

/// Whether arguments in which [`check`] found nothing fit the schema whatever their references find: their parts
/// are checked, or anything goes for them.
pub(crate) fn fits_whatever_comes(tool: &CatalogTool, tree: &Tree) -> bool {
    let Tree::Object(members) = tree else { return false };
    let parts = Parts::of(tool);
    parts.alone
        && members.iter().all(|(name, tree)| {
            parts
                .known
                .get(name)
                .is_none_or(|part| part.anything || matches!(tree, Tree::Value(_)) && part.validator.is_some())
        })
}

/// What the schema of a tool says of arguments one by one. Made once for a tool.
pub(crate) struct Parts {
    required: Vec<String>,
    /// Only known names are allowed.
    closed: bool,
    /// The schema says nothing but what is here.
    alone: bool,
    known: HashMap<String, Part>,
}

struct Part {
    /// None where the schema refers to places that cannot be kept; then it is left to the run.
    validator: Option<jsonschema::Validator>,
    /// Anything fits.
    anything: bool,
    /// The types that are wanted; none where any is.
    types: Option<Vec<String>>,
}

impl Parts {
    fn of(tool: &CatalogTool) -> &Parts {
        tool.parts.get_or_init(|| Parts::new(&tool.spec.args_schema))
    }

    fn new(schema: &Value) -> Parts {
        const UNDERSTOOD: [&str; 4] = ["type", "properties", "required", "additionalProperties"];
        let understood = |name: &String| UNDERSTOOD.contains(&name.as_str()) || says_nothing(name);
        let more = schema.get("additionalProperties");
        let object = schema.get("type").is_none_or(|kind| kind == "object");
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let properties = schema.get("properties").and_then(Value::as_object);
        Parts {
            required: required.filter_map(Value::as_str).map(str::to_owned).collect(),
            closed: more == Some(&Value::Bool(false)) && schema.get("patternProperties").is_none(),
            alone: object
                && more.is_none_or(Value::is_boolean)
                && schema.as_object().is_some_and(|schema| schema.keys().all(understood)),
            known: properties
                .into_iter()
                .flatten()
                .map(|(name, part)| (name.clone(), Part::new(schema, part)))
                .collect(),
        }
    }
}

impl Part {
    fn new(root: &Value, schema: &Value) -> Part {
        let anything = match schema {
            Value::Object(schema) => schema.keys().all(|name| says_nothing(name)),
            schema => *schema == Value::Bool(true),
        };
        let types = match schema.get("type") {
            Some(Value::String(one)) => Some(vec![one.clone()]),
            Some(Value::Array(several)) => Some(several.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            _ => None,
        };
        Part { validator: compile(root, schema), anything, types }
    }

    /// Whether a value with holes can have the type that is wanted: a text with references in it is a text.
    fn kind(&self, tree: &Tree) -> Option<String> {
        let (is, what) = match tree {
            Tree::Text(_) => ("string", "a text with references in it is always a string"),
            Tree::List(_) => ("array", "this is a list"),
            Tree::Object(_) => ("object", "this is an object"),
            Tree::Value(_) | Tree::Reference(_) => return None,
        };
        let types = self.types.as_ref()?;
        (!types.iter().any(|wanted| wanted == is)).then(|| format!("{what}, and {} is wanted", types.join(" or ")))
    }
}

/// Whether a keyword of a schema only describes.
fn says_nothing(keyword: &str) -> bool {
    ["$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"]
        .contains(&keyword)
}

/// A validator of one property. None where its schema refers to places this cannot keep.
fn compile(root: &Value, schema: &Value) -> Option<jsonschema::Validator> {
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
