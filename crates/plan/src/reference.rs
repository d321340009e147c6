//! References `${id…path}`: finding them in texts, and reading one.
//! It does not know what is behind them at run time.

use crate::path::Path;
use std::ops::Range;

/// A piece of a text with references.
pub(crate) enum Scanned<'a> {
    /// Literal text, `$${` already turned into `${`.
    Text(&'a str),
    /// What stands between `${` and `}`, and where the whole reference stands in the text.
    Reference { inner: &'a str, range: Range<usize> },
}

/// Cuts a text into literal pieces and references, in order. A text without `${` is one piece.
///
/// # Errors
/// An unclosed `${`, or what `each` says.
pub(crate) fn scan<'a>(text: &'a str, mut each: impl FnMut(Scanned<'a>) -> Result<(), String>) -> Result<(), String> {
    let mut from = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let open = at + found;
        if open > from && text.as_bytes()[open - 1] == b'$' {
            // `$${` means a literal `${`: the first `$` goes.
            if open - 1 > from {
                each(Scanned::Text(&text[from..open - 1]))?;
            }
            from = open;
            at = open + 2;
            continue;
        }
        if open > from {
            each(Scanned::Text(&text[from..open]))?;
        }
        let Some(len) = inner_len(&text[open + 2..]) else {
            return Err(format!("`{}` is not closed by `}}`", crate::path::shorten(&text[open..], 40)));
        };
        let end = open + 2 + len;
        each(Scanned::Reference { inner: &text[open + 2..end], range: open..end + 1 })?;
        from = end + 1;
        at = from;
    }
    if from < text.len() { each(Scanned::Text(&text[from..])) } else { Ok(()) }
}

/// The length up to the `}` that closes a reference; quoted names and filters may hold `}` themselves.
fn inner_len(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut brackets = 0_u32;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') if brackets > 0 => quote = Some(byte),
            (None, b'[') => brackets += 1,
            (None, b']') => brackets = brackets.saturating_sub(1),
            (None, b'}') => return Some(at),
            (None, _) => {}
        }
    }
    // A quote that never closes must not swallow the `}`: the path itself is then told to be wrong.
    text.find('}')
}

/// What a reference starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The result of the call at this index.
    Call(u32),
    /// The element of a `foreach` call.
    Item,
    /// Its index.
    Index,
}

/// A reference, ready to be followed.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) from: From,
    pub(crate) path: Path,
    /// As it was written, without `${` and `}`.
    pub(crate) text: Box<str>,
}

/// The name that the text of a reference starts with.
pub(crate) fn name_of(text: &str) -> &str {
    split(text).map_or(text, |(name, _)| name)
}

/// What a text refers to when it is one reference to a whole result and nothing else.
pub(crate) fn whole(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}').filter(|inner| is_id(inner))
}

/// The name a reference starts from and the text of the path behind it.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn split(inner: &str) -> Result<(&str, &str), String> {
    let inner = inner.trim();
    let end = inner.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
    let (name, path) = inner.split_at(end);
    if !is_id(name) {
        return Err(format!("`${{{inner}}}` does not start with the id of a call; a literal `${{` is written `$${{`"));
    }
    let path = path.trim_start();
    if path.is_empty() || path.starts_with(['.', '[']) {
        return Ok((name, path));
    }
    Err(format!("`${{{inner}}}`: behind `{name}` a path starts with `.` or `[`"))
}

/// Whether a text can be the id of a call, reserved words aside.
pub(crate) fn is_id(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
        && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

/// Whether no call may be named so.
pub(crate) fn is_reserved(id: &str) -> bool {
    matches!(id, "inputs" | "item" | "index" | "outcome")
}
