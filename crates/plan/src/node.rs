//! A document as a tree of values that know where they stand (`Node`), and paths into it (`At`).
//! It does not know which syntax the document had.

use serde_json::{Map, Number, Value};
use std::fmt;

/// A value and the bytes it came from.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Content,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Name, Node)>),
}

/// The name of a field and the bytes it came from.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Where something of a document stands: the bytes of its name, if it has one, and of its value.
pub(crate) struct Spot {
    pub(crate) key: Option<(usize, usize)>,
    pub(crate) value: (usize, usize),
}

/// A path into a document, built on the stack while walking down.
#[derive(Clone, Copy)]
pub(crate) enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl Node {
    /// A tree without places.
    pub(crate) fn of(value: Value) -> Node {
        let value = match value {
            Value::Null => Content::Null,
            Value::Bool(b) => Content::Bool(b),
            Value::Number(n) => Content::Number(n),
            Value::String(s) => Content::Text(s),
            Value::Array(list) => Content::List(list.into_iter().map(Node::of).collect()),
            Value::Object(map) => Content::Map(
                map.into_iter().map(|(text, value)| (Name { text, start: 0, end: 0 }, Node::of(value))).collect(),
            ),
        };
        Node { value, start: 0, end: 0 }
    }

    /// The value without places.
    pub(crate) fn to_value(&self) -> Value {
        match &self.value {
            Content::Null => Value::Null,
            Content::Bool(b) => Value::Bool(*b),
            Content::Number(n) => Value::Number(n.clone()),
            Content::Text(s) => Value::String(s.clone()),
            Content::List(list) => Value::Array(list.iter().map(Node::to_value).collect()),
            Content::Map(map) => Value::Object(
                map.iter().map(|(name, node)| (name.text.clone(), node.to_value())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Content::Null => "null",
            Content::Bool(_) => "true or false",
            Content::Number(_) => "a number",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "an object",
        }
    }
}

impl<'a> At<'a> {
    /// The field there.
    pub(crate) fn field(&'a self, name: &'a str) -> At<'a> {
        At::Field(self, name)
    }

    /// The element there.
    pub(crate) fn index(&'a self, index: usize) -> At<'a> {
        At::Index(self, index)
    }

    /// Where this stands in the document; where something is absent, what would hold it.
    pub(crate) fn find(&self, root: &Node) -> Option<Spot> {
        self.node(root).map(|(spot, _)| spot)
    }

    fn node<'n>(&self, root: &'n Node) -> Option<(Spot, Option<&'n Node>)> {
        let (up, found) = match self {
            At::Root => return Some((Spot { key: None, value: (root.start, root.end) }, Some(root))),
            At::Field(up, name) => {
                let (spot, node) = up.node(root)?;
                let found = node.and_then(|node| match &node.value {
                    Content::Map(map) => map.iter().find(|(key, _)| key.text == *name),
                    _ => None,
                });
                (spot, found.map(|(key, node)| (Some((key.start, key.end)), node)))
            }
            At::Index(up, index) => {
                let (spot, node) = up.node(root)?;
                let found = node.and_then(|node| match &node.value {
                    Content::List(list) => list.get(*index),
                    _ => None,
                });
                // A call that was added to a plan that was read has no place.
                if found.is_none() && matches!(up, At::Field(At::Root, "calls")) {
                    return None;
                }
                (spot, found.map(|node| (None, node)))
            }
        };
        Some(match found {
            Some((key, node)) => (Spot { key, value: (node.start, node.end) }, Some(node)),
            None => (up, None),
        })
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Field(At::Root, name) => f.write_str(name),
            At::Field(up, name) if crate::path::is_name(name) => write!(f, "{up}.{name}"),
            At::Field(up, name) => write!(f, "{up}[{name:?}]"),
            At::Index(up, index) => write!(f, "{up}[{index}]"),
        }
    }
}
