//! TOML to a tree of values with places.
//! It does not know what the document is.

use crate::node::{Content, Name, Node};
use crate::read::{Bad, READ_DEPTH_MAX};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads a TOML text; all syntax errors at once.
pub(crate) fn read(text: &str) -> Result<Node, Vec<Bad>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().map(|error| syntax(text, error)).collect());
    }
    let value = map(table.get_ref(), 0).map_err(|bad| vec![bad])?;
    Ok(Node { value, start: 0, end: text.len() })
}

fn syntax(text: &str, error: &toml::de::Error) -> Bad {
    let span = error.span().unwrap_or(0..text.len().min(1));
    let message = error.message();
    let code = if message.contains("duplicate key") { "duplicate_key" } else { "bad_toml" };
    Bad::new(code, format!("this is not TOML: {}", message.replace('\n', "; ")), span.start, span.end)
}

fn map(table: &DeTable<'_>, depth: usize) -> Result<Content, Bad> {
    let mut map = Vec::with_capacity(table.len());
    for (name, value) in table {
        let span = name.span();
        map.push((
            Name { text: name.get_ref().to_string(), start: span.start, end: span.end },
            node(value, depth + 1)?,
        ));
    }
    // As they stand in the file, not by name.
    map.sort_by_key(|(name, _)| name.start);
    Ok(Content::Map(map))
}

fn node(value: &Spanned<DeValue<'_>>, depth: usize) -> Result<Node, Bad> {
    let span = value.span();
    if depth > READ_DEPTH_MAX {
        return Err(Bad::new("too_deep", format!("nested deeper than {READ_DEPTH_MAX}"), span.start, span.end));
    }
    let content = match value.get_ref() {
        DeValue::String(text) => Content::Text(text.to_string()),
        DeValue::Boolean(b) => Content::Bool(*b),
        DeValue::Datetime(time) => Content::Text(time.to_string()),
        DeValue::Integer(integer) => {
            let read = i64::from_str_radix(integer.as_str(), integer.radix()).map(Into::into);
            let read = read.or_else(|_| u64::from_str_radix(integer.as_str(), integer.radix()).map(Into::into));
            Content::Number(read.map_err(|_| crate::units::out_of_range(integer.as_str(), span.start, span.end))?)
        }
        DeValue::Float(float) => match crate::units::number(float.as_str()) {
            Some(number) => Content::Number(number),
            None => return Err(crate::units::out_of_range(float.as_str(), span.start, span.end)),
        },
        DeValue::Array(list) => {
            Content::List(list.iter().map(|value| node(value, depth + 1)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => map(table, depth)?,
    };
    Ok(Node { value: content, start: span.start, end: span.end })
}
