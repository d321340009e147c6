//! NESTFUL's own reference form (`$var1.author[0].id$`): reads it, writes it as fanout writes it, and resolves it.
//! It shares no code with the product: what it computes is what the product's results are compared with.

use fanout_benches::stage::literal;
use serde_json::Value;
use std::collections::BTreeMap;

/// One step of a path into a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Field(String),
    Index(usize),
}

/// A reference to a part of the result of the n-th call, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) call: usize,
    pub(crate) path: Vec<Step>,
}

/// A piece of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Reference(Reference),
}

/// Cuts a string into text and references. What looks like a price (`$100-$200`) is text.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let behind = &rest[at + 1..];
        let read = behind.find('$').and_then(|end| Some((reference(&behind[..end])?, end)));
        match read {
            Some((reference, end)) => {
                plain.push_str(&rest[..at]);
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Reference(reference));
                rest = &behind[end + 1..];
            }
            None => {
                plain.push_str(&rest[..=at]);
                rest = behind;
            }
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

/// Reads `var1.author[0].id`; a field may hold blanks (`var1.Exchange Rate`).
fn reference(text: &str) -> Option<Reference> {
    let rest = text.strip_prefix("var")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let call = rest[..digits].parse().ok().filter(|call| *call > 0)?;
    let mut path = Vec::new();
    let mut rest = &rest[digits..];
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix('.') {
            let end = behind.find(['.', '[']).unwrap_or(behind.len());
            path.push(Step::Field(Some(&behind[..end]).filter(|field| !field.is_empty())?.to_string()));
            rest = &behind[end..];
        } else {
            let (index, behind) = rest.strip_prefix('[')?.split_once(']')?;
            path.push(Step::Index(index.parse().ok()?));
            rest = behind;
        }
    }
    Some(Reference { call, path })
}

/// The same value with its references as fanout writes them.
pub(crate) fn converted(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(pieces(text).iter().map(written).collect()),
        Value::Array(items) => items.iter().map(converted).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), converted(value))).collect(),
        other => other.clone(),
    }
}

fn written(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => literal(text),
        Piece::Reference(Reference { call, path }) => {
            let path: String = path
                .iter()
                .map(|step| match step {
                    Step::Field(field) => format!("['{}']", field.replace('\\', "\\\\").replace('\'', "\\'")),
                    Step::Index(index) => format!("[{index}]"),
                })
                .collect();
            format!("${{var{call}{path}}}")
        }
    }
}

/// The same value with its references replaced by what they refer to; `results` by number of the call.
pub(crate) fn resolved(value: &Value, results: &BTreeMap<usize, Value>) -> Result<Value, String> {
    match value {
        Value::String(text) => match &pieces(text)[..] {
            [Piece::Reference(reference)] => found(reference, results).cloned(),
            pieces => {
                let mut whole = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => whole.push_str(text),
                        Piece::Reference(reference) => match found(reference, results)? {
                            Value::String(text) => whole.push_str(text),
                            other => whole.push_str(&other.to_string()),
                        },
                    }
                }
                Ok(Value::String(whole))
            }
        },
        Value::Array(items) => items.iter().map(|item| resolved(item, results)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| Ok((name.clone(), resolved(value, results)?))).collect()
        }
        other => Ok(other.clone()),
    }
}

fn found<'a>(reference: &Reference, results: &'a BTreeMap<usize, Value>) -> Result<&'a Value, String> {
    let mut value = results.get(&reference.call).ok_or_else(|| format!("{reference:?}: no such call"))?;
    for step in &reference.path {
        value = match step {
            Step::Field(field) => value.get(field),
            Step::Index(index) => value.get(index),
        }
        .ok_or_else(|| format!("{reference:?}: nothing there"))?;
    }
    Ok(value)
}

/// All references in a value, in order.
pub(crate) fn references(value: &Value) -> Vec<Reference> {
    match value {
        Value::String(text) => pieces(text)
            .into_iter()
            .filter_map(|piece| if let Piece::Reference(reference) = piece { Some(reference) } else { None })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Object(fields) => fields.values().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_shape_of_the_set_is_read_and_resolved() {
        let results = BTreeMap::from([
            (1, json!({"Exchange Rate": 1.5, "author": [{"id": "a7"}], "n": {"x": null}})),
            (2, json!(["first", {"k": true}])),
        ]);
        let check = |text: &str, fanout: &str, value: Value| {
            assert_eq!(converted(&json!(text)), json!(fanout));
            assert_eq!(resolved(&json!(text), &results), Ok(value));
        };
        check("$var1.author[0].id$", "${var1['author'][0]['id']}", json!("a7"));
        check("5 * $var1.Exchange Rate$", "5 * ${var1['Exchange Rate']}", json!("5 * 1.5"));
        check("$var1.Exchange Rate$", "${var1['Exchange Rate']}", json!(1.5));
        check("$var1.n.x$ - $var2[1]$", "${var1['n']['x']} - ${var2[1]}", json!("null - {\"k\":true}"));
        check("$100-$200", "$100-$200", json!("$100-$200"));
        check("var1.n$", "var1.n$", json!("var1.n$"));
        check("${x} $var2[0]$", "$${x} ${var2[0]}", json!("${x} first"));
        assert!(resolved(&json!("$var3$"), &results).is_err());
    }
}
