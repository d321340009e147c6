//! Documents as they come: bytes to a tree of values with places, within bounds.
//! It does not know plans or toolboxes.

use crate::diagnostic::{Diagnostic, Severity, Source, line_starts, place_in};
use crate::node::{Content, Name, Node};
use std::collections::HashSet;
use std::sync::Arc;

/// Larger documents are refused unread.
pub const READ_BYTES_MAX: usize = 16 << 20;
/// Documents nested deeper are refused.
pub const READ_DEPTH_MAX: usize = 64;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Json,
    Yaml,
    Toml,
}

/// Something wrong with the text itself.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) help: Option<&'static str>,
}

impl Bad {
    pub(crate) fn new(code: &'static str, message: impl Into<String>, start: usize, end: usize) -> Bad {
        Bad { code, message: message.into(), start, end, help: None }
    }
}

/// What becomes of numbers that can't be held exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// They are errors: nobody's number is changed.
    Exact,
    /// The nearest that can be held: for documents of others, who mean bounds such as -9223372036854776000.
    Nearest,
}

/// Reads a document.
///
/// # Errors
/// `too_large`, `not_utf8`, `bad_yaml`, `bad_json`, `bad_toml`, `too_deep`, `too_many_aliases`, `duplicate_key`,
/// `number_out_of_range`.
pub(crate) fn document(file_name: &str, bytes: &[u8], syntax: Syntax) -> Result<Arc<Source>, Vec<Diagnostic>> {
    document_with(file_name, bytes, syntax, Numbers::Exact)
}

/// The same, with numbers read so.
pub(crate) fn document_with(
    file_name: &str,
    bytes: &[u8],
    syntax: Syntax,
    numbers: Numbers,
) -> Result<Arc<Source>, Vec<Diagnostic>> {
    let text = text(file_name, bytes)?;
    let read = match syntax {
        Syntax::Json => crate::read_json::read(text, numbers),
        Syntax::Yaml => crate::read_yaml::read(text, numbers),
        Syntax::Toml => crate::read_toml::read(text),
    };
    let name: Arc<str> = file_name.into();
    let wrong = match read {
        Ok(root) => {
            let mut wrong = Vec::new();
            duplicates(&root, &mut wrong);
            if wrong.is_empty() {
                return Ok(Arc::new(Source::new(file_name, text, root)));
            }
            wrong
        }
        Err(wrong) => wrong,
    };
    let lines = line_starts(text);
    let diagnostic = |bad: Bad| Diagnostic {
        code: bad.code,
        severity: Severity::Error,
        message: bad.message,
        place: Some(place_in(&name, text, &lines, bad.start, bad.end)),
        help: bad.help.map(str::to_owned),
        path: String::new(),
    };
    Err(wrong.into_iter().map(diagnostic).collect())
}

/// The bytes as text, without a byte order mark.
fn text<'a>(file_name: &str, bytes: &'a [u8]) -> Result<&'a str, Vec<Diagnostic>> {
    let refuse = |code, message: String, help: &str| Err(vec![Diagnostic::error(code, message).with_help(help)]);
    if bytes.len() > READ_BYTES_MAX {
        // Who reads a file stops there, so how many there are is not known.
        let message = format!("{file_name} has more than {READ_BYTES_MAX} bytes");
        return refuse("too_large", message, "pass large values by file, or build the plan through the library");
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => match text.find('\0') {
            Some(at) => refuse(
                "not_text",
                format!("{file_name} holds a NUL byte at byte {at}"),
                "a plan is text; write \\u0000 inside a quoted string if it is meant",
            ),
            None => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        },
        Err(error) => {
            let message = format!("{file_name} is not UTF-8: the byte at {} is wrong", error.valid_up_to());
            refuse("not_utf8", message, "save the file as UTF-8")
        }
    }
}

/// Notes every name that stands twice in one object.
fn duplicates(node: &Node, wrong: &mut Vec<Bad>) {
    match &node.value {
        Content::List(list) => list.iter().for_each(|node| duplicates(node, wrong)),
        Content::Map(map) => {
            let twice = |name: &Name| {
                Bad::new(
                    "duplicate_key",
                    format!("`{}` stands twice in one object", crate::path::shorten(&name.text, 60)),
                    name.start,
                    name.end,
                )
            };
            if map.len() > 16 {
                let mut seen = HashSet::with_capacity(map.len());
                wrong.extend(
                    map.iter().filter(|(name, _)| !seen.insert(&*name.text)).map(|(name, _)| twice(name)).take(100),
                );
            } else {
                for (at, (name, _)) in map.iter().enumerate() {
                    if map[..at].iter().any(|(before, _)| before.text == name.text) {
                        wrong.push(twice(name));
                    }
                }
            }
            map.iter().for_each(|(_, node)| duplicates(node, wrong));
        }
        _ => {}
    }
}
