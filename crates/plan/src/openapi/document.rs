//! An OpenAPI document as a tree with places: fields, `$ref`s, and what is noted about it (`Document`).
//! It does not know what an operation is.

use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::node::{Content, Name, Node};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// A chain of references is followed no further.
const CHAIN_MAX: usize = 32;
/// Objects with more fields than this are looked into by an index.
const SCANNED_MAX: usize = 16;
/// At most this many warnings are kept.
const WARNINGS_MAX: usize = 1_000;

/// A document that was read.
pub(super) struct Document<'n> {
    source: &'n Source,
    /// It is of OpenAPI 3.0.
    pub(super) old: bool,
    indexes: RefCell<HashMap<usize, HashMap<&'n str, &'n Node>>>,
    warnings: RefCell<Warnings>,
}

#[derive(Default)]
struct Warnings {
    list: Vec<Diagnostic>,
    /// What is shared by many operations is told once.
    told: HashSet<(usize, &'static str)>,
    left_out: usize,
}

impl<'n> Document<'n> {
    pub(super) fn new(source: &'n Source, old: bool) -> Document<'n> {
        Document { source, old, indexes: RefCell::default(), warnings: RefCell::default() }
    }

    pub(super) fn root(&self) -> &'n Node {
        &self.source.root
    }

    /// A field of an object; nothing for what is no object.
    pub(super) fn get(&self, node: &'n Node, name: &str) -> Option<&'n Node> {
        let Content::Map(map) = &node.value else { return None };
        if map.len() <= SCANNED_MAX {
            return map.iter().find(|(key, _)| key.text == name).map(|(_, node)| node);
        }
        let mut indexes = self.indexes.borrow_mut();
        let index = indexes
            .entry(address(node))
            .or_insert_with(|| map.iter().map(|(key, node)| (key.text.as_str(), node)).collect());
        index.get(name).copied()
    }

    /// A field that is a text.
    pub(super) fn text(&self, node: &'n Node, name: &str) -> Option<&'n str> {
        let found = self.get(node, name)?;
        match &found.value {
            Content::Text(text) => Some(text),
            _ => self.wrong(found, name, "a text"),
        }
    }

    /// A field that is true or false; false when absent.
    pub(super) fn flag(&self, node: &'n Node, name: &str) -> bool {
        self.maybe_flag(node, name).unwrap_or(false)
    }

    /// A field that is true or false.
    pub(super) fn maybe_flag(&self, node: &'n Node, name: &str) -> Option<bool> {
        let found = self.get(node, name)?;
        match &found.value {
            Content::Bool(flag) => Some(*flag),
            _ => self.wrong(found, name, "true or false"),
        }
    }

    /// The elements of a field that is a list; nothing when it is absent.
    pub(super) fn list(&self, node: &'n Node, name: &str) -> &'n [Node] {
        match self.get(node, name) {
            None => &[],
            Some(Node { value: Content::List(list), .. }) => list,
            Some(found) => self.wrong(found, name, "a list").unwrap_or_default(),
        }
    }

    /// The members of a field that is an object; nothing when it is absent.
    pub(super) fn map(&self, node: &'n Node, name: &str) -> &'n [(Name, Node)] {
        match self.get(node, name) {
            None => &[],
            Some(Node { value: Content::Map(map), .. }) => map,
            Some(found) => self.wrong(found, name, "an object").unwrap_or_default(),
        }
    }

    fn wrong<T>(&self, node: &'n Node, name: &str, wanted: &str) -> Option<T> {
        let message = format!("`{name}` is {wanted}, not {}: it is not used", node.kind());
        self.warn(node, "openapi_ignored", message);
        None
    }

    /// The object there, behind its `$ref`s.
    ///
    /// # Errors
    /// Why there is none; for an error or a warning at `node`.
    pub(super) fn follow(&self, node: &'n Node) -> Result<&'n Node, String> {
        let mut found = node;
        for _ in 0..CHAIN_MAX {
            match self.get(found, "$ref").map(|node| &node.value) {
                Some(Content::Text(text)) => found = self.find(text)?,
                Some(_) => return Err("a `$ref` is a text".to_owned()),
                None if matches!(found.value, Content::Map(_)) => return Ok(found),
                None => return Err(format!("this is an object, not {}", found.kind())),
            }
        }
        let text = self.text(node, "$ref").unwrap_or_default();
        Err(format!("`{}` leads in a circle, or through more than {CHAIN_MAX} others", short(text)))
    }

    /// What a `$ref` names.
    ///
    /// # Errors
    /// Why nothing.
    pub(super) fn find(&self, reference: &str) -> Result<&'n Node, String> {
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(format!(
                "`{}` is outside of this document: only references inside of it are followed",
                short(reference)
            ));
        };
        let nothing = || format!("`{}` names nothing in this document", short(reference));
        let pointer = percent_decoded(pointer);
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(nothing());
        }
        let mut found = self.root();
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            found = match &found.value {
                Content::List(list) => part.parse().ok().and_then(|at: usize| list.get(at)).ok_or_else(nothing)?,
                _ => self.get(found, &part).ok_or_else(nothing)?,
            };
        }
        Ok(found)
    }

    /// Notes what is not as the document says.
    pub(super) fn warn(&self, node: &Node, code: &'static str, message: impl Into<String>) {
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.told.insert((node.start, code)) {
            return;
        }
        if warnings.list.len() >= WARNINGS_MAX {
            warnings.left_out += 1;
            return;
        }
        warnings.list.push(self.diagnostic(node, Severity::Warning, code, message.into()));
    }

    /// An error at this place.
    pub(super) fn error(&self, node: &Node, code: &'static str, message: impl Into<String>) -> Diagnostic {
        self.diagnostic(node, Severity::Error, code, message.into())
    }

    fn diagnostic(&self, node: &Node, severity: Severity, code: &'static str, message: String) -> Diagnostic {
        // The first line of a long object is enough.
        let end = self.source.text.get(node.start..node.end).and_then(|text| text.find('\n'));
        let end = end.map_or(node.end, |len| node.start + len);
        let place = Some(self.source.place(node.start, end));
        Diagnostic { code, severity, message, place, help: None, path: String::new() }
    }

    /// All that was noted, in the order of the document.
    pub(super) fn into_warnings(self) -> Vec<Diagnostic> {
        let Warnings { mut list, left_out, .. } = self.warnings.into_inner();
        list.sort_by_key(|warning| warning.place.as_ref().map_or(usize::MAX, |place| place.start));
        if left_out > 0 {
            list.push(Diagnostic {
                severity: Severity::Warning,
                ..Diagnostic::error("too_many_problems", format!("{left_out} more warnings are not shown"))
            });
        }
        list
    }
}

/// What a node is known by, as long as its document lives.
pub(super) fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// A text cut for a message.
pub(super) fn short(text: &str) -> String {
    crate::path::shorten(text, 80)
}

/// `%20` is a space; what is not UTF-8 then stays as it is.
fn percent_decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}
