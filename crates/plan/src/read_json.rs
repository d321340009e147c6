//! JSON to a tree of values with places, by serde_json: raw values are parts of the text, so their place is known.
//! It does not know what the document is.

use crate::node::{Content, Name, Node};
use crate::read::{Bad, Numbers, READ_DEPTH_MAX};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Reads a JSON text.
pub(crate) fn read(text: &str, numbers: Numbers) -> Result<Node, Vec<Bad>> {
    let root: &RawValue = serde_json::from_str(text).map_err(|error| vec![syntax(text, 0, &error)])?;
    node(text, root, 0, numbers).map_err(|bad| vec![bad])
}

/// The members of an object, in order, duplicates and all.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

fn node(text: &str, raw: &RawValue, depth: usize, numbers: Numbers) -> Result<Node, Bad> {
    let part = raw.get();
    let start = offset(text, part);
    let end = start + part.len();
    let wrong = |error: serde_json::Error| syntax(text, start, &error);
    if depth > READ_DEPTH_MAX {
        return Err(Bad::new("too_deep", format!("nested deeper than {READ_DEPTH_MAX}"), start, start + 1));
    }
    let value = match part.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(part).map_err(wrong)?;
            let mut map = Vec::with_capacity(members.len());
            for (key, value) in members {
                let at = offset(text, key.get());
                let name: String = serde_json::from_str(key.get()).map_err(|error| syntax(text, at, &error))?;
                map.push((
                    Name { text: name, start: at, end: at + key.get().len() },
                    node(text, value, depth + 1, numbers)?,
                ));
            }
            Content::Map(map)
        }
        Some(b'[') => {
            let list: Vec<&RawValue> = serde_json::from_str(part).map_err(wrong)?;
            Content::List(list.into_iter().map(|raw| node(text, raw, depth + 1, numbers)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Content::Text(serde_json::from_str(part).map_err(wrong)?),
        Some(b't' | b'f') => Content::Bool(part == "true"),
        Some(b'n') => Content::Null,
        _ => match crate::units::number_read(part, numbers) {
            Some(number) => Content::Number(number),
            None => return Err(crate::units::out_of_range(part, start, end)),
        },
    };
    Ok(Node { value, start, end })
}

/// Where a part of the text stands in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// What serde_json says about a part of the text that begins at `start`.
fn syntax(text: &str, start: usize, error: &serde_json::Error) -> Bad {
    let part = &text[start..];
    let line = part.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let at = (start + line + error.column().saturating_sub(1)).min(text.len());
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    Bad::new("bad_json", format!("this is not JSON: {message}"), at, at + 1)
}
